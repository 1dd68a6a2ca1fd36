"""“Why is this not in Xero?”: each cause that rules, schedules and routing know, on its page."""

from __future__ import annotations

import html
import re
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.web.conftest import NOW, Browser
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.selection import Reason
from xtiger.engine import intake
from xtiger.engine.standing import standing
from xtiger.store.models import Connection, Organisation, Profile

#: INV-3 of 3 November, made now, Approved, in NZD, not ticked.
RECORD = "3"


def rule(browser: Browser, **values: Any) -> None:
    with browser.services.database.write() as session:
        row = session.scalars(select(Profile).where(Profile.module == "Invoices")).one()
        for name, value in values.items():
            setattr(row, name, value)


def organisation(browser: Browser, **values: Any) -> None:
    with browser.services.database.write() as session:
        row = session.scalars(select(Organisation)).one()
        for name, value in values.items():
            setattr(row, name, value)


def tick(browser: Browser) -> None:
    ref = RecordRef(Module.INVOICES, RECORD)
    intake.set_flag(browser.services, ref, who="Ana", allow=True)


def undated(browser: Browser) -> None:
    """As a CRM has it in which documents needn't have a date."""
    rule(browser, rule="all", dated_from=date(2026, 11, 1), dated_by="paid_on")


def queued(browser: Browser, **values: Any) -> None:
    tick(browser)
    intake.relay(browser.services)
    organisation(browser, time_zone="NEWZEALANDSTANDARDTIME")
    rule(browser, **values)


def elsewhere(browser: Browser) -> None:
    rule(browser, rule="all", route_field="currency", route_value="EUR")


def unused(browser: Browser) -> None:
    tick(browser)
    organisation(browser, chosen=False)


CAUSES: dict[str, tuple[Any, str, tuple[str, str] | None]] = {
    "not connected": (
        unused,
        "Its organisation isn't connected.",
        ("API details", "/api-details"),
    ),
    "switched off": (
        lambda browser: (tick(browser), rule(browser, enabled=False)),
        "Invoices aren't switched on for Acme NZ.",
        ("What syncs", "/what-syncs"),
    ),
    "too old": (
        lambda browser: (tick(browser), rule(browser, created_from=date(2026, 12, 1))),
        "It was created on 21 Nov 2026; syncing starts with 1 Dec 2026.",
        None,
    ),
    "dated before": (
        lambda browser: (tick(browser), rule(browser, dated_from=date(2026, 11, 4))),
        "It is dated 3 Nov 2026; syncing starts with the date 4 Nov 2026.",
        None,
    ),
    "without a date": (
        undated,
        "It has no date; only invoices dated from 1 Nov 2026 on go over.",
        None,
    ),
    "not ticked": (
        lambda browser: None,
        "Allow Xero Sync isn't ticked.",
        ("Tick it", "/records/Invoices/3#allow"),
    ),
    "status": (
        lambda browser: rule(browser, rule="status", statuses=["Paid", "Sent"]),
        "Its status is Approved; only Paid and Sent go over.",
        None,
    ),
    "no route": (
        elsewhere,
        "No organisation is chosen for it, and no routing rule names one.",
        ("What syncs", "/what-syncs"),
    ),
    "only by Sync": (
        lambda browser: queued(browser, schedule="by sync"),
        "Invoices for Acme NZ go only by Sync.",
        None,
    ),
    "every hour": (
        lambda browser: queued(browser, schedule="every", minutes=120),
        # 03:00 UTC is 16:00 there.
        "Invoices for Acme NZ go every 120 minutes; next on 21 Nov 2026, 17:00.",
        None,
    ),
    "daily": (
        lambda browser: queued(browser, schedule="daily", daily_at="02:00"),
        "Invoices for Acme NZ go daily at 02:00, Auckland time; next on 22 Nov 2026, 02:00.",
        None,
    ),
    "auto-sync off": (
        lambda browser: (queued(browser), organisation(browser, auto_sync=False)),
        "Auto-sync is off for Acme NZ: it goes with the next Sync.",
        None,
    ),
    "paused": (
        lambda browser: (
            queued(browser),
            organisation(browser, paused_at=NOW - timedelta(hours=1), paused_by="Ana"),
        ),
        "Acme NZ is paused since 02:00 UTC by Ana.",
        None,
    ),
    "module paused": (
        lambda browser: queued(browser, paused_at=NOW - timedelta(hours=1), paused_by="Ana"),
        "Invoices for Acme NZ are paused since 02:00 UTC by Ana.",
        None,
    ),
    "not live": (
        lambda browser: (queued(browser), organisation(browser, live_since=None)),
        "Nothing is sent to Acme NZ until it goes live.",
        None,
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_its_sentence_stands_on_the_page_once_with_its_link(browser: Browser, cause: str) -> None:
    bring, sentence, link = CAUSES[cause]
    intake.relay(browser.services)
    bring(browser)
    page = html.unescape(re.sub(r"\s+", " ", browser.get(f"/records/Invoices/{RECORD}").text))
    found = re.findall(
        r'class="why"[^>]*><h3>Why is this not in Xero\?</h3>(.*?)(?:<div|</div)', page
    )
    assert [each.strip() for each in found] == [sentence]
    if link is not None:
        label, path = link
        assert f'href="/xtiger{path}">{label}</a>' in page
        assert browser.get(path).status_code == 200


def test_every_reason_of_selection_is_among_them() -> None:
    said = {Reason.RULE, Reason.NEEDED}  # these are selected
    said |= {Reason(cause) for cause in CAUSES if cause in set(Reason)}
    said |= {Reason.ELSEWHERE}  # "no route"
    assert said == set(Reason)


def test_one_record_has_one_sentence_for_each_organisation(browser: Browser) -> None:
    with browser.services.database.write() as session:
        connection = session.scalars(select(Connection)).one()
        other = Organisation(
            tenant_id="t2", name="Acme UK", chosen=True, connection_id=connection.id
        )
        session.add(other)
        session.flush()
        session.add(Profile(organisation_id=other.id, module="Contacts", rule="all", statuses=[]))
    ref = RecordRef(Module.CONTACTS, "1")
    found = standing(browser.services, ref)
    assert sorted(str(each.organisation and each.organisation.name) for each in found) == [
        "Acme NZ",
        "Acme UK",
    ]

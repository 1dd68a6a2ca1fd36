"""What syncs: each choice of the page, the counts, overlaps, stale forms, the typed confirm."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import select

from tests.web.conftest import Browser
from xtiger.crm.builtin import Invoice
from xtiger.domain.selection import RuleKind, SelectionRule
from xtiger.engine import counting, intake
from xtiger.store import profiles
from xtiger.store.models import Organisation, Profile, QueueItem, Reference

PAGE = "/what-syncs/1/Invoices"


def form(browser: Browser, **changes: Any) -> dict[str, Any]:
    """What the page's form sends, with some entries changed."""
    page = browser.get(PAGE).text
    found = re.search(r'name="seen"[^>]*value="([^"]*)"', page)
    assert found
    return {
        "seen": html.unescape(found[1]),
        "enabled": "y",
        "rule": "ticked",
        "created_from": "",
        "dated_from": "",
        "route_field": "",
        "route_value": "",
        "target_status": "AUTHORISED",
        "add_needed": "1",
        "locked": "hold",
        "deleted": "leave",
        "schedule": "at once",
        "minutes": "15",
        "daily_at": "02:00",
        "order": "normal",
        "retries": "0",
        "do": "save",
    } | changes


def save(browser: Browser, **changes: Any) -> Any:
    return browser.post(PAGE, **form(browser, **changes))


def profile(browser: Browser, organisation: int = 1) -> Profile:
    with browser.services.database.read() as session:
        return session.scalars(
            select(Profile).where(
                Profile.module == "Invoices", Profile.organisation_id == organisation
            )
        ).one()


def said(text: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", text))


def other(browser: Browser, **values: Any) -> int:
    """A second organisation with a profile for invoices."""
    with browser.services.database.write() as session:
        row = Organisation(tenant_id="t2", name="Acme UK", chosen=True)
        session.add(row)
        session.flush()
        session.add(
            Profile(organisation_id=row.id, module="Invoices", rule="all", statuses=[], **values)
        )
        return row.id


@pytest.mark.parametrize(
    ("entry", "value", "column", "kept"),
    [
        ("rule", "all", "rule", "all"),
        ("created_from", "2026-11-01", "created_from", date(2026, 11, 1)),
        ("dated_from", "2026-11-02", "dated_from", date(2026, 11, 2)),
        ("target_status", "DRAFT", "target_status", "DRAFT"),
        ("target_status", "SUBMITTED", "target_status", "SUBMITTED"),
        ("add_needed", "0", "add_needed", False),
        ("locked", "first open day", "locked", "first open day"),
        ("locked", "as draft", "locked", "as draft"),
        ("deleted", "remove", "deleted", "remove"),
        ("schedule", "by sync", "schedule", "by sync"),
        ("schedule", "every", "schedule", "every"),
        ("schedule", "daily", "schedule", "daily"),
        ("order", "strict", "strict", True),
        ("retries", "5", "retries", 5),
    ],
)
def test_each_choice_is_kept_and_shown_again(
    browser: Browser, entry: str, value: str, column: str, kept: Any
) -> None:
    assert save(browser, **{entry: value}).status_code == 303
    row = profile(browser)
    assert getattr(row, column) == kept
    assert (row.changed_by, row.dated_by) == ("Administrator", "date")
    page = browser.get(PAGE).text
    if entry in ("created_from", "dated_from", "retries"):
        assert re.search(rf'name="{entry}"[^>]*value="{value}"', page)
    else:
        assert re.search(rf'<input[^>]*checked[^>]*name="{entry}"[^>]*value="{value}"', page)


def test_the_clock_entries_are_kept_as_they_are_meant(browser: Browser) -> None:
    save(browser, schedule="every", minutes="45")
    assert (profile(browser).schedule, profile(browser).minutes) == ("every", 45)
    save(browser, schedule="daily", daily_at="7:05")
    assert (profile(browser).daily_at, profile(browser).minutes) == ("07:05", 15)
    assert "daily at 07:05" in browser.get("/what-syncs").text


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"schedule": "every", "minutes": ""}, "Choose 1 to 1,440 minutes."),
        ({"schedule": "every", "minutes": "0"}, "Choose 1 to 1,440 minutes."),
        ({"schedule": "every", "minutes": "1441"}, "Choose 1 to 1,440 minutes."),
        ({"schedule": "every", "minutes": "soon"}, "soon isn't a whole number."),
        (
            {"schedule": "daily", "daily_at": "25:00"},
            "25:00 isn't a time of day. Write it like 02:00.",
        ),
        (
            {"schedule": "daily", "daily_at": ""},
            "Give a time of day, such as 02:00.",
        ),
        ({"dated_from": "soon"}, "soon isn't a day. Write it like 2026-11-21."),
        ({"retries": "21"}, "Retries by schedule can't be more than 20."),
    ],
)
def test_faults_are_said_and_entries_kept(
    browser: Browser, entries: dict[str, str], sentence: str
) -> None:
    answer = save(browser, **entries)
    assert answer.status_code == 422
    page = said(answer.text)
    assert sentence in page
    [(name, value)] = list(entries.items())[-1:]
    assert re.search(rf'name="{name}"[^>]*value="{value}"', answer.text)
    assert profile(browser).changed_at is None


def test_what_isnt_asked_for_may_be_nonsense(browser: Browser) -> None:
    """Who saves "at once" needn't mend the minutes of "every" first."""
    assert save(browser, minutes="", daily_at="").status_code == 303


def test_the_count_says_what_saving_moves_and_saves_nothing(browser: Browser) -> None:
    page = said(browser.post(PAGE, **form(browser, rule="all", do="count")).text)
    assert "Selects 3 of 3 invoices; saving brings 1 in and takes 0 out." in page
    page = said(browser.post(PAGE, **form(browser, dated_from="2026-11-02", do="count")).text)
    assert "Selects 1 of 3 invoices; saving brings 0 in and takes 1 out." in page
    assert re.search(r'name="dated_from"[^>]*value="2026-11-02"', page), "entries stay"
    page = said(browser.post(PAGE, **form(browser, enabled="", do="count")).text)
    assert profile(browser).changed_at is None


def test_show_which_names_them_with_the_reason(browser: Browser) -> None:
    entries = form(browser, rule="all", dated_from="2026-11-02", do="which")
    page = said(browser.post(PAGE, **entries).text)
    assert 'Saving brings in <span class="soft">1</span>' in page
    assert 'Saving takes out <span class="soft">1</span>' in page
    assert "INV-3" in page
    assert "It is dated 1 Nov 2026; syncing starts with the date 2 Nov 2026." in page
    page = said(browser.post(PAGE, **form(browser, do="which")).text)
    assert "Saving brings nothing in and takes nothing out." in page


def test_the_live_line_counts_while_somebody_edits(browser: Browser) -> None:
    line = browser.post(f"{PAGE}/_live", **form(browser, rule="all"))
    assert said(line.text).strip() == (
        "<strong>Selects 3 of 3 invoices; saving brings 1 in and takes 0 out.</strong>"
    )
    half = browser.post(f"{PAGE}/_live", **form(browser, dated_from="20"))
    assert said(half.text).strip() == "Not counted yet."


def test_saving_says_how_many_are_selected_now_and_offers_the_queue(browser: Browser) -> None:
    intake.relay(browser.services)  # what was made before
    with browser.services.database.read() as session:
        before = session.query(QueueItem).count()
    answer = save(browser, rule="all")
    page = browser.after(answer)
    assert "Saved. 1 invoice is now selected." in page
    assert "Add them to the Queue" in page
    with browser.services.database.read() as session:
        assert session.query(QueueItem).count() == before, "saving sends nothing"
    added = browser.post("/add-to-queue", module="Invoices", organisation="1")
    page = browser.after(added)
    assert "Added 1 invoice to the Queue" in page, re.findall(r'class="flash[^>]*>.*', page)
    assert "Saved. Nothing was sent" in browser.after(save(browser, rule="all", retries="1"))


def test_an_earlier_first_day_asks_for_the_organisations_name(browser: Browser) -> None:
    save(browser, dated_from="2026-11-03", rule="all")
    asked = save(browser, dated_from="2026-11-01", rule="all")
    assert asked.status_code == 422
    assert (
        "This sends 2 invoices: about 1 call and 1 minute, plus the contacts they need. Xero "
        "can't undo authorised, paid ones. Type “Acme NZ” to go on."
    ) in said(asked.text)
    assert profile(browser).dated_from == date(2026, 11, 3)
    wrong = save(browser, dated_from="2026-11-01", rule="all", typed="Acme")
    assert "Type “Acme NZ” exactly as it stands here. Nothing was saved." in said(wrong.text)
    good = save(browser, dated_from="2026-11-01", rule="all", typed="Acme NZ")
    assert good.status_code == 303
    # None at all is the earliest of days; a later one asks nothing.
    assert save(browser, dated_from="2026-11-02", rule="all").status_code == 303
    assert save(browser, dated_from="", rule="all").status_code == 422


def test_a_stale_form_says_who_saved_what_and_can_be_saved_once_compared(
    browser: Browser,
) -> None:
    stale = form(browser, rule="all", order="strict")
    save(browser, retries="3", order="strict")
    answer = browser.post(PAGE, **stale)
    assert answer.status_code == 409
    page = said(answer.text)
    assert "Administrator saved this at 03:00. Your entries are below, unsaved;" in page
    assert "Sync Records: saved as Enable Xero Sync: only ticked, here All records." in page
    assert "Retries by schedule: saved as 3, here 0." in page
    assert "Order: saved as" not in page
    assert profile(browser).rule == "ticked"
    found = re.search(r'name="seen"[^>]*value="([^"]*)"', answer.text)
    assert found
    again = browser.post(PAGE, **stale | {"seen": html.unescape(found[1])})
    assert again.status_code == 303
    assert (profile(browser).rule, profile(browser).retries) == ("all", 0)


@pytest.mark.parametrize(
    ("theirs", "mine", "sentence"),
    [
        (
            ("currency", "GBP"),
            ("currency", "gbp "),
            "Invoices would go to Acme NZ and to Acme UK: both take Currency = GBP. Give one of "
            "them a condition of its own.",
        ),
        (
            ("reference", "Export"),
            ("currency", "GBP"),
            "Invoices would go to Acme NZ and to Acme UK: one may have Currency = GBP and "
            "Reference = Export. Let both ask for the same field.",
        ),
        (
            (None, None),
            ("", ""),
            "Invoices would go to Acme NZ and to Acme UK: both are the default. Give one of them a "
            "condition of its own.",
        ),
    ],
)
def test_conditions_that_could_both_be_true_are_refused(
    browser: Browser, theirs: tuple[Any, Any], mine: tuple[str, str], sentence: str
) -> None:
    other(browser, route_field=theirs[0], route_value=theirs[1])
    answer = save(browser, route_field=mine[0], route_value=mine[1])
    assert answer.status_code == 422
    assert sentence in said(answer.text)


def test_a_profile_that_is_off_never_overlaps(browser: Browser) -> None:
    other(browser)
    entries = form(browser)
    del entries["enabled"]
    assert browser.post(PAGE, **entries).status_code == 303


def test_copy_from_fills_the_form_in_and_saves_nothing(browser: Browser) -> None:
    there = other(
        browser,
        route_field="currency",
        route_value="GBP",
        schedule="daily",
        daily_at="03:30",
        locked="as draft",
    )
    assert f'<option value="{there}">Acme UK</option>' in browser.get(PAGE).text
    page = browser.get(f"{PAGE}?from={there}").text
    assert "Filled in as Invoices for Acme UK have it, not saved yet." in page
    assert re.search(r'<input[^>]*checked[^>]*name="rule"[^>]*value="all"', page)
    assert re.search(r'name="daily_at"[^>]*value="03:30"', page)
    assert not re.search(r'name="route_value"[^>]*value="GBP"', page), "a condition is its own"
    assert profile(browser).rule == "ticked"


def test_the_page_says_what_is_locked_and_how_old_that_is(browser: Browser) -> None:
    with browser.services.database.write() as session:
        rows = {"organisation": [{"PeriodLockDate": "2026-06-30"}], "accounts": [], "tax_rates": []}
        for kind, data in rows.items():
            at = datetime(2026, 11, 21, 1, 30, tzinfo=UTC)
            session.add(Reference(organisation_id=1, kind=kind, data=data, read_at=at))
    assert "Locked until 30 Jun 2026, as of 01:30." in browser.get(PAGE).text


def test_the_overview_shows_rules_schedules_and_counts(browser: Browser) -> None:
    save(browser, rule="status", statuses=["Paid"], schedule="every", created_from="2026-11-01")
    page = said(browser.get("/what-syncs").text)
    for text in ("by status: Paid", "created 1 Nov 2026", "every 15 minutes", "at once"):
        assert text in page
    assert "0 of 3" in said(browser.get("/what-syncs?count=1").text)


def test_a_removed_module_or_organisation_is_no_page(browser: Browser) -> None:
    assert browser.get("/what-syncs/7/Invoices").status_code == 404
    assert browser.get("/what-syncs/1/Payments").status_code == 404
    with browser.services.database.write() as session:
        session.scalars(select(Organisation)).one().chosen = False
    assert browser.get(PAGE).status_code == 404
    assert browser.post(PAGE, do="save").status_code == 404


def test_other_modules_are_asked_only_what_concerns_them(browser: Browser) -> None:
    page = browser.get("/what-syncs/1/Products").text
    for name in ("dated_from", "locked", "target_status", "route_field", "add_needed"):
        assert f'name="{name}"' not in page
    for name in ("created_from", "schedule", "order", "deleted", "retries"):
        assert f'name="{name}"' in page


def test_counting_reads_each_record_once_however_many_there_are(browser: Browser) -> None:
    with browser.app.app_context():
        session = browser.app.extensions["sqlalchemy"].session
        session.add_all(
            Invoice(
                number=f"N-{number}",
                contact_id=1,
                date=date(2026, 11, 20),
                currency="NZD",
                status="Paid" if number % 2 else "Created",
            )
            for number in range(1_203)
        )
        session.commit()
    with browser.services.database.read() as reading:
        [rule] = [one for one in profiles.profiles(reading) if one.module == "Invoices"]
    wanted = replace(rule, rule=SelectionRule(RuleKind.STATUS, frozenset({"Paid"})))
    found = counting.count(browser.services, wanted)
    assert (found.looked, found.selected, found.brought, found.taken) == (1_206, 601, 601, 2)
    assert found.whole
    assert len(found.brings) == counting.LISTED
    assert len({each.ref for each in found.brings}) == counting.LISTED
    assert not counting.count(browser.services, wanted, seconds=0).whole

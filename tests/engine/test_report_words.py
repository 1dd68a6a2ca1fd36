"""What reports and alerts say of one record, and where their links lead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Engine
from tests.engine.alert_scenes import Watch
from tests.engine.post import html_of, text_of
from tests.engine.scenes import KAURI, ask, hear, invoices, stranger
from tests.engine.test_alerts import revoked
from tests.engine.test_alerts import watch as watch
from xtiger.domain.alerting import Finding
from xtiger.domain.alerting import Kind as Wrong
from xtiger.domain.reporting import Kind, Period
from xtiger.engine.alerting.words import recovery, telling
from xtiger.engine.reporting import words
from xtiger.engine.reporting.figures import Calls, Cause, Report, Tally, Wait
from xtiger.store.models import Subscription
from xtiger.store.sums import Scope

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)
CONNECT, QUEUE = "https://x.nz/api-details", "https://x.nz/queue?state=failed"
CAUSE = Cause("Acme", "Account 200 is archived.", 1, NOW, ("INV-1",), "https://x.nz/queue?cause=1")
EACH = [
    None,
    *(
        Period.of(kind, date(2026, 11, 22))
        for kind in Kind
        if kind in ("daily", "weekly", "monthly")
    ),
]


def report(period: Period | None, **more: Any) -> Report:
    kind = period.kind if period else Kind.AFTER_SYNC
    known: dict[str, Any] = {
        "kind": kind,
        "scope": Scope(NOW - timedelta(days=1), NOW, None, None, None),
        "zone": "UTC",
        "organisations": ("Acme",),
        "tally": Tally(succeeded=1),
        "money": {},
        "need": 0,
        "since": 0,
        "made_at": NOW,
        "period": period,
        "connect_url": CONNECT,
        "queue_url": QUEUE,
    }
    empty = ("lines", "fresh", "still", "troubles", "broken", "went", "waits", "calls")
    return Report(**dict.fromkeys(empty, ()) | known | more)


@pytest.mark.parametrize("period", EACH, ids=lambda one: one.kind if one else "sync")
def test_what_needs_somebody_has_the_link_that_helps(period: Period | None) -> None:
    def links(**more: Any) -> tuple[tuple[str, str], ...]:
        return words.words_of(report(period, **more), language="en").links

    reconnect, queue = ("Reconnect", CONNECT), ("Open the Queue", QUEUE)
    trouble = ("The consent ended. Connect again.",)
    assert links() == ()
    assert links(broken=("Acme",)) == (reconnect,)
    assert links(broken=("Acme",), troubles=trouble) == (reconnect,)
    assert links(fresh=(CAUSE,), need=1) == (queue,)
    assert links(still=(CAUSE,), need=1) == (queue,)
    assert links(since=3) == (queue,)
    assert links(broken=("Acme",), fresh=(CAUSE,), need=1) == (reconnect, queue)
    german = words.words_of(report(period, broken=("Acme",)), language="de")
    assert german.links == (("Neu verbinden", CONNECT),)


def test_a_quiet_report_names_its_zone(engine: Engine) -> None:
    quiet = report(EACH[1], zone="Pacific/Auckland")
    letter = words.written(engine.services, quiet, language="en")
    assert "\n\nAll times are Auckland time." in letter.text
    assert letter.html.count("All times are Auckland time.") == 1


def test_the_mail_of_a_sync_that_lost_its_consent_leads_to_reconnect(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    hear(watch.services, ["bo@example.com"])
    invoices(engine, 1)
    revoked(engine)
    ask(engine, one)
    watch.work()
    [mail] = [each for each in watch.box.taken if each["To"] == "bo@example.com"]
    assert "must be connected again" in mail["Subject"]
    url = engine.settings.public_url
    assert f"Reconnect:\n{url}/api-details\n" in text_of(mail)
    assert f"{url}/api-details" in html_of(mail).links
    assert "Open the Queue" not in text_of(mail)
    assert f"{url}/queue?state=failed" not in html_of(mail).links


def test_the_mail_of_a_sync_with_failures_leads_to_the_queue(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    hear(watch.services, ["bo@example.com"])
    stranger(engine).created("Invoices", stranger(engine).invoice(InvoiceNumber="INV-1"))
    invoices(engine, 1)
    ask(engine, one)
    watch.work()
    [mail] = [each for each in watch.box.taken if each["To"] == "bo@example.com"]
    url = engine.settings.public_url
    # Two organisations may fail for the same cause: the link shows what the mail counts.
    assert f"Open the Queue:\n{url}/queue?state=failed&org={one}\n" in text_of(mail)
    assert f"{url}/queue?state=failed&org={one}" in html_of(mail).links
    [cause] = [link for link in html_of(mail).links if "cause=" in link]
    assert cause.endswith(f"&org={one}")
    assert "api-details" not in text_of(mail)
    assert f"{url}/api-details" not in html_of(mail).links


@pytest.mark.parametrize(
    ("language", "waits", "calls", "change"),
    [
        (
            "en",
            "Acme: 1 record waits, for 4 days. It waits for another record.",
            "Acme: 1 call used today, 0 left.",
            "1 more synced than on 20 Nov.",
        ),
        (
            "de",
            "Acme: 1 Datensatz wartet, seit 4 Tagen. Er wartet auf einen anderen Datensatz.",
            "Acme: heute 1 Aufruf verbraucht, 0 übrig.",
            "1 mehr übertragen als am 20. Nov.",
        ),
    ],
)
def test_a_report_of_one_record_reads_right(
    language: str, waits: str, calls: str, change: str
) -> None:
    said = words.words_of(
        report(
            Period.of(Kind.DAILY, date(2026, 11, 21)),
            waits=(Wait("Acme", 1, 1, NOW - timedelta(days=4), None),),
            calls=(Calls("Acme", 1, 0),),
            before=Tally(),
        ),
        language=language,
    )
    assert said.waits == (waits,)
    assert said.calls == (calls,)
    assert said.before == (change,)


def test_a_length_that_nobody_was_there_stands_in_its_german_case() -> None:
    week = Period.of(Kind.WEEKLY, date(2026, 11, 18))
    asleep = ((week.start, week.start + timedelta(days=3)),)
    said = words.words_of(report(week, asleep=asleep), language="de")
    assert said.notes[0].startswith("XTiger lief 3 Tage davon nicht, ")


# -- alerts ------------------------------------------------------------------------------------


def reader(language: str) -> Subscription:
    return Subscription(id=1, address="ana@acme.nz", language=language, zone="Asia/Kolkata")


def ends(engine: Engine, *findings: Finding, language: str = "de") -> str:
    mail = recovery(engine.services, findings[0].kind, findings, reader(language), now=NOW)
    return " ".join(mail.text.split())


def tells(engine: Engine, *findings: Finding, language: str = "de") -> str:
    mail = telling(
        engine.services,
        findings[0].kind,
        findings,
        reader(language),
        new=len(findings),
        again=NOW + timedelta(days=1),
        now=NOW,
    )
    return " ".join(mail.text.split())


def silent(name: str, number: int = 1) -> Finding:
    since = (NOW - timedelta(days=4)).isoformat()
    details = {"name": name, "since": since, "opened": since, "waiting": 0}
    return Finding(Wrong.WEBHOOKS, number, "", details)


@pytest.mark.parametrize("say", [tells, ends])
@pytest.mark.parametrize("language", ["en", "de"])
def test_an_organisation_whose_name_ends_in_a_full_stop(
    engine: Engine, say: Callable[..., str], language: str
) -> None:
    alone = say(engine, silent("Acme Ltd."), language=language)
    both = say(engine, silent("Acme Ltd."), silent("Acme Ltd.", 2), language=language)
    assert "Acme Ltd." in alone
    assert ".." not in alone.partition("--")[0]
    assert ".." not in both.partition("--")[0]


def test_a_german_alert_is_german_to_its_end(engine: Engine) -> None:
    told = tells(engine, silent("Acme"))
    assert "Ändert sich nichts, hören Sie am 24. Nov., 12:30 wieder davon." in told
    assert "Alle Zeiten: Ortszeit Kolkata." in told
    assert "time" not in told.partition("--")[0]
    assert "All times are Kolkata time." in tells(engine, silent("Acme"), language="en")
    assert "Es dauerte 4 Tage." in ends(engine, silent("Acme"))


def test_a_day_s_limit_with_nothing_left_to_wait(engine: Engine) -> None:
    until = (NOW + timedelta(hours=2)).isoformat()
    details = {"name": "Acme", "waiting": 0, "until": until}
    limit = Finding(Wrong.DAY_LIMIT, 1, "", details)
    told = tells(engine, limit, language="en")
    assert "are used up. No record waits; it goes on at about 14:30." in told
    assert "Kein Datensatz wartet; es geht weiter (etwa 14:30)." in tells(engine, limit)
    one = replace(limit, details=details | {"waiting": 1})
    assert "1 record waits and goes on at about 14:30." in tells(engine, one, language="en")

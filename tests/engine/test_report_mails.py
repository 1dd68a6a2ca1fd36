"""Reports on their way: each kind arrives once and whole, whatever the mail server does."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.conftest import Engine
from tests.engine.post import (
    PASSWORD,
    USER,
    PostOffice,
    both_say_the_same,
    certificate,
    mailing,
    opened,
    text_of,
)
from tests.engine.scenes import KAURI, MiddayClock, invoices, rows_of, stranger, sync, work
from xtiger.engine import scheduler
from xtiger.engine.reporting import letters, reports, subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.store.models import Connection, Mail, ReportPeriod, RunMail


@pytest.fixture
def office() -> PostOffice:
    return PostOffice()


def test_each_kind_arrives_once_over_tls_after_sign_in(
    each_engine: Engine, office: PostOffice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = each_engine
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    server = opened(office, pem=pem)
    try:
        clock = MiddayClock()
        services = mailing(
            engine,
            server.port,
            clock,
            mail_tls=True,
            mail_username=USER,
            mail_password=PASSWORD,
        )
        one = engine.connect(KAURI)[KAURI]
        invoices(engine, 2)
        choices = Choices(
            after_sync=True,
            daily=True,
            weekly=True,
            monthly=True,
            attach_csv=True,
            organisation_id=one,
            zone="Pacific/Auckland",
        )
        subscriptions.subscribe(services, "ana@example.com", choices, who="Ana")
        sync(engine, services)
        for _ in range(40):
            clock.shift += timedelta(days=1)
            reports.report_ended(services)
            reports.report_ended(services)
        assert letters.send_test(services, "ana@example.com").startswith(
            "Test mail sent to ana@example.com at "
        )
    finally:
        server.stop()
    mails = {mail.message_id: mail for mail in rows_of(engine, Mail)}
    assert {mail.state for mail in mails.values()} == {"sent"}
    assert Counter(message["Message-ID"] for _to, message in office.taken) == Counter(mails.keys())
    kinds = Counter(mail.kind for mail in mails.values())
    assert kinds["after_sync"] == kinds["test"] == 1
    assert kinds["daily"] == 40
    assert kinds["weekly"] in {5, 6}
    assert kinds["monthly"] in {1, 2}
    assert office.signed_in == len(mails)
    for message in office.of("ana@example.com"):
        mail = mails[message["Message-ID"]]
        both_say_the_same(message)
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Subject"] == mail.subject
        assert message["References"] == message["In-Reply-To"] == mail.thread
        assert message["List-Unsubscribe"] == f"<{mail.unsubscribe}>"
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert mail.unsubscribe in text_of(message)
        assert "cid:" not in str(message)
        assert "<img" not in str(message)
    [first] = [one for one in mails.values() if one.kind == "after_sync"]
    assert first.subject == "[XTiger] Kauri Trading: 3 synced, nothing to do"
    [told] = [each for _to, each in office.taken if each["Message-ID"] == first.message_id]
    [file] = list(told.iter_attachments())
    content = file.get_content()
    text = content if isinstance(content, str) else content.decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))
    assert [row["Outcome"] for row in rows] == ["succeeded"] * 3
    assert {row["Record"] for row in rows} == {"Ana Lee Ltd", "INV-1", "INV-2"}
    threads = {mail.kind: mail.thread for mail in mails.values()}
    assert len(set(threads.values())) == len(threads)


def test_the_sync_of_a_person_is_told_at_once_and_the_schedules_together(
    each_engine: Engine, office: PostOffice
) -> None:
    engine = each_engine
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        engine.connect(KAURI)
        subscriptions.subscribe(services, "ana@example.com", Choices(after_sync=True), who="Ana")

        def by_schedule(number: int) -> None:
            invoices(engine, first=number)
            scheduler.schedule_due(services)
            work(engine, services)
            reports.report_ended(services)

        for number in range(1, 5):
            by_schedule(number)
            clock.shift += timedelta(minutes=3)
        subjects = [message["Subject"] for _to, message in office.taken]
        assert subjects == ["[XTiger] Kauri Trading: 2 synced, nothing to do"]
        states = Counter(one.mail_id is None for one in rows_of(engine, RunMail))
        assert states == {False: 1, True: 3}
        invoices(engine, first=5)
        sync(engine, services)
        assert len(office.taken) == 2  # a person waits for nothing
        clock.shift += timedelta(minutes=4)
        reports.report_ended(services)
        reports.report_ended(services)
    finally:
        server.stop()
    subjects = [message["Subject"] for _to, message in office.taken]
    assert subjects[1:] == [
        "[XTiger] Kauri Trading: 1 synced, nothing to do",
        "[XTiger] Kauri Trading: 3 synced, nothing to do",
    ]
    both_say_the_same(office.taken[2][1])
    assert [one for one in rows_of(engine, RunMail) if one.mail_id is None] == []


def test_the_same_unsolved_cause_moves_to_still_open(engine: Engine, office: PostOffice) -> None:
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        engine.connect(KAURI)
        stranger(engine).created("Invoices", stranger(engine).invoice(InvoiceNumber="INV-1"))
        asked = Choices(after_sync=True, zone="Pacific/Auckland")
        subscriptions.subscribe(services, "ana@example.com", asked, who="Ana")
        invoices(engine, 2)
        sync(engine, services)
        clock.shift += timedelta(days=1)
        invoices(engine, first=3)
        sync(engine, services)
    finally:
        server.stop()
    first, second = (message for _to, message in office.taken)
    assert first["Subject"] == "[XTiger] Kauri Trading: 2 synced, 1 needs you"
    assert second["Subject"] == "[XTiger] Kauri Trading: 1 synced, 1 needs you"
    began = f"{clock.now() - clock.shift:%-d %b}"
    assert "Needs somebody" in text_of(first)
    assert "Needs somebody" not in text_of(second)
    assert re.search(r"Still open since \d+ \w+", text_of(second)), began
    assert "Failed                  0" in text_of(second)
    for message in (first, second):
        both_say_the_same(message)


def test_only_if_something_failed(engine: Engine, office: PostOffice) -> None:
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        engine.connect(KAURI)
        asked = Choices(after_sync=True, daily=True, only_failed=True)
        subscriptions.subscribe(services, "ana@example.com", asked, who="Ana")
        invoices(engine)
        sync(engine, services)
        clock.shift += timedelta(days=1)
        reports.report_ended(services)
        assert office.taken == []
        [claim] = rows_of(engine, ReportPeriod)
        assert (claim.mail_id, claim.why) == (None, "Nothing failed.")
        stranger(engine).created("Invoices", stranger(engine).invoice(InvoiceNumber="INV-9"))
        invoices(engine, first=9)
        sync(engine, services)
        clock.shift += timedelta(days=1)
        reports.report_ended(services)
    finally:
        server.stop()
    kinds = [mail.kind for mail in rows_of(engine, Mail)]
    assert kinds == ["after_sync", "daily"]
    assert office.taken[1][1]["Subject"].endswith(": 0 synced, 1 needs you")


def test_only_if_something_failed_hears_of_a_consent_that_ended(
    engine: Engine, office: PostOffice
) -> None:
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        engine.connect(KAURI)
        asked = Choices(daily=True, only_failed=True)
        subscriptions.subscribe(services, "ana@example.com", asked, who="Ana")
        with engine.database.write() as session:
            for row in session.scalars(select(Connection)):
                row.broken, row.broken_at = "Its consent was taken away.", clock.now()
        clock.shift += timedelta(days=1)
        reports.report_ended(services)
    finally:
        server.stop()
    [(_to, message)] = office.taken
    assert "must be connected again" in message["Subject"]


def test_modules_that_nobody_asked_for_are_not_counted(engine: Engine, office: PostOffice) -> None:
    server = opened(office)
    try:
        services = mailing(engine, server.port)
        engine.connect(KAURI)
        for address, modules in (
            ("ana@example.com", ["Invoices"]),
            ("bo@example.com", ["Products"]),
        ):
            asked = Choices(after_sync=True, modules=modules)
            subscriptions.subscribe(services, address, asked, who="Ana")
        invoices(engine, 2)
        sync(engine, services)
    finally:
        server.stop()
    [(to, message)] = office.taken
    assert (to, message["Subject"]) == (
        "ana@example.com",
        "[XTiger] Kauri Trading: 2 synced, nothing to do",
    )
    assert "Contacts" not in text_of(message)


def test_a_day_without_anything_is_told_as_it_was(engine: Engine, office: PostOffice) -> None:
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        engine.connect(KAURI)
        subscriptions.subscribe(services, "ana@example.com", Choices(daily=True), who="Ana")
        deutsch = Choices(daily=True, language="de")
        subscriptions.subscribe(services, "bo@example.com", deutsch, who="Ana")
        day = (clock.now() + timedelta(days=2)).date()
        middle = datetime.combine(day, datetime.min.time(), UTC)
        # One day with a tick each quarter of an hour, and one on which XTiger stood still.
        while clock.now() < middle + timedelta(days=2):
            clock.shift += timedelta(minutes=15)
            still = timedelta(hours=33) <= clock.now() - middle < timedelta(hours=38)
            if not still:
                reports.report_ended(services)
        clock.shift = middle + timedelta(days=2, hours=8) - datetime.now(UTC)
        reports.report_ended(services)
    finally:
        server.stop()
    texts = {
        (mail.recipient, mail.subject): " ".join(mail.text.split())
        for mail in rows_of(engine, Mail)
    }
    name = f"{day.day} {day:%b}"
    after = day + timedelta(days=1)
    first = texts["ana@example.com", f"[XTiger] Kauri Trading, {name}: 0 synced, nothing to do"]
    assert f"Nothing was due on {name}. XTiger was running all day." in first
    second = next(text for (_to, subject), text in texts.items() if f", {after.day} " in subject)
    assert f"Nothing was due on {after.day} {after:%b}." in second
    assert "running all day" not in second
    assert re.search(r"XTiger wasn't running for 5 h( \d+ min)? of it, 08:\d\d to 14:\d\d", second)
    german = [text for (to, _subject), text in texts.items() if to == "bo@example.com"]
    assert any("XTiger lief den ganzen Tag." in text for text in german)

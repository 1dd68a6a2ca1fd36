"""Nobody reads what isn't theirs any more: choices that change while a report is on its way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import insert, select

from tests.engine.test_report_claims import NOW, runs
from tests.engine.test_report_year import SetClock, services_of
from tests.store.history import organisations
from xtiger.engine.reporting import figures, reports, subscriptions, words
from xtiger.engine.reporting.figures import Report
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.engine.services import Services
from xtiger.store import logs
from xtiger.store.crypto import KeyRing
from xtiger.store.models import LogEntry, Mail, QueueItem, Run
from xtiger.store.schema import Database

ANA = "ana@example.com"


def services(database: Database) -> Services:
    return services_of(database, SetClock(NOW), KeyRing([Fernet.generate_key().decode()]))


def pass_time(one: Services, **time: float) -> None:
    clock = one.clock
    assert isinstance(clock, SetClock)
    clock.at += timedelta(**time)


def mails(database: Database) -> list[Mail]:
    with database.read() as session:
        return list(session.scalars(select(Mail).order_by(Mail.id)))


def waits(database: Database, homes: Sequence[int], *, first: int = 2, count: int = 4) -> Services:
    """Ana heard of one run a moment ago; those after it wait for her next mail."""
    one = services(database)
    subscriptions.subscribe(one, ANA, Choices(after_sync=True), who="Ana")
    runs(database, list(homes), "scheduled", 1)
    reports.report_ended(one)
    assert len(mails(database)) == 1
    runs(database, list(homes), "scheduled", count, first=first)
    reports.report_ended(one)
    assert len(mails(database)) == 1
    return one


def test_whoever_is_moved_hears_no_more_of_the_other_organisation(database: Database) -> None:
    homes = organisations(database, "Kauri", "Rimu")
    one = waits(database, homes)  # runs 2 and 4 are Kauri's, 3 and 5 Rimu's
    moved = Choices(after_sync=True, organisation_id=homes[1])
    subscriptions.change(one, 1, moved, who="Bo")
    pass_time(one, minutes=16)
    reports.report_ended(one)
    _first, mail = mails(database)
    assert (mail.organisation_id, mail.recipient) == (homes[1], ANA)
    assert "Kauri" not in mail.subject + mail.text + mail.html
    assert "2 synced" in mail.subject
    with database.read() as session:
        assert logs.mail_states(session, [2, 3, 4, 5]) == {
            2: "not due",
            3: "waiting",
            4: "not due",
            5: "waiting",
        }


def test_whoever_is_moved_away_from_all_that_waits_gets_no_mail(database: Database) -> None:
    homes = organisations(database, "Kauri", "Rimu")
    one = waits(database, homes[:1])
    subscriptions.change(one, 1, Choices(after_sync=True, organisation_id=homes[1]), who="Bo")
    pass_time(one, minutes=16)
    reports.report_ended(one)
    assert len(mails(database)) == 1
    with database.read() as session:
        assert set(logs.mail_states(session, [2, 3, 4, 5]).values()) == {"not due"}


def test_runs_without_a_module_that_is_still_chosen_are_not_told(database: Database) -> None:
    homes = organisations(database, "Kauri")
    one = waits(database, homes)
    subscriptions.change(one, 1, Choices(after_sync=True, modules=["Invoices"]), who="Ana")
    pass_time(one, minutes=16)
    reports.report_ended(one)
    assert len(mails(database)) == 1


def test_a_mail_that_was_being_written_for_earlier_choices_is_written_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator limits Ana while her mail about all organisations is being written."""
    homes = organisations(database, "Kauri", "Rimu")
    one = waits(database, homes)
    pass_time(one, minutes=16)
    real = words.written

    def meanwhile(*args: Any, **more: Any) -> Any:
        letter = real(*args, **more)
        monkeypatch.undo()
        moved = Choices(after_sync=True, organisation_id=homes[1])
        subscriptions.change(one, 1, moved, who="Bo")
        return letter

    monkeypatch.setattr(words, "written", meanwhile)
    reports.report_ended(one)
    assert len(mails(database)) == 1
    reports.report_ended(one)
    _first, mail = mails(database)
    assert "Kauri" not in mail.subject + mail.text + mail.html
    assert "2 synced" in mail.subject


def test_a_day_that_was_being_written_for_earlier_choices_is_written_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = organisations(database, "Kauri", "Rimu")
    one = services(database)
    subscriptions.subscribe(one, ANA, Choices(daily=True), who="Ana")
    reports.send_due(one)
    pass_time(one, days=1)
    real = words.written

    def meanwhile(*args: Any, **more: Any) -> Any:
        letter = real(*args, **more)
        monkeypatch.undo()
        pass_time(one, seconds=1)
        subscriptions.change(one, 1, Choices(daily=True, organisation_id=homes[1]), who="Bo")
        return letter

    monkeypatch.setattr(words, "written", meanwhile)
    assert reports.send_due(one) == 0
    assert reports.send_due(one) == 1
    [mail] = mails(database)
    assert mail.organisation_id == homes[1]
    assert "Kauri" not in mail.subject + mail.text + mail.html


def test_readers_who_chose_the_same_share_one_count(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = organisations(database, "Kauri", "Rimu")
    one = services(database)
    both = ["Contacts", "Invoices"]
    for name, choices in {
        "ana": Choices(daily=True, modules=both),
        "bo": Choices(daily=True, modules=both[::-1], language="de"),
        "cy": Choices(daily=True, modules=both[:1]),
        "di": Choices(daily=True, modules=both, organisation_id=homes[0]),
        "ed": Choices(daily=True, modules=both, zone="Asia/Tokyo"),
        "fay": Choices(daily=True),
        "gus": Choices(daily=True, only_failed=True),
    }.items():
        subscriptions.subscribe(one, f"{name}@example.com", choices, who="Ana")
    runs(database, homes, "scheduled", 3)
    reports.send_due(one)
    pass_time(one, days=1)
    counted: list[Report] = []
    real = figures.of_period

    def counting(*args: Any, **more: Any) -> Report:
        counted.append(real(*args, **more))
        return counted[-1]

    monkeypatch.setattr(figures, "of_period", counting)
    assert reports.send_due(one) == 6  # nothing failed: Gus hears nothing
    assert len(counted) == 5
    subjects = {mail.recipient.partition("@")[0]: mail.subject for mail in mails(database)}
    assert {name: "3 synced" in subject for name, subject in subjects.items()} == {
        "ana": True,
        "bo": False,
        "cy": True,
        "di": False,
        "ed": True,
        "fay": True,
    }
    assert "3 übertragen" in subjects["bo"]
    assert "1 synced" in subjects["di"]
    # The next look counts anew.
    pass_time(one, days=1)
    reports.send_due(one)
    assert len(counted) == 10
    with database.read() as session:
        assert len(session.scalars(select(Run)).all()) == 3


def test_a_silent_day_keeps_what_was_left_out_for_the_first_mail(database: Database) -> None:
    """Nobody was awake for eight days; only the last of them has something to tell."""
    [home] = organisations(database, "Kauri")
    one = services(database)
    subscriptions.subscribe(one, ANA, Choices(daily=True, only_failed=True), who="Ana")
    reports.send_due(one)
    pass_time(one, days=8)
    record = {"organisation_id": home, "module": "Contacts", "record_id": "5"}
    at = NOW + timedelta(days=7, hours=8)
    item = {"id": 5, "resource": "Contacts", "rank": 10, "state": "failed", "slot": "5"}
    entry = {"item_id": 5, "action": "Create", "outcome": "failed", "cause": "x", "at": at}
    with database.write() as session:
        session.execute(insert(QueueItem), [record | item | {"added_at": at, "changed_at": at}])
        session.execute(insert(LogEntry), [record | entry])
    assert reports.send_due(one) == 1
    [mail] = mails(database)
    assert "5 earlier reports were due, 21 Nov to 25 Nov" in " ".join(mail.text.split())

"""Each run is told each reader once, however many processes look at it at the same moment."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import insert, select

from tests.engine.test_report_year import SetClock, services_of
from tests.store.history import organisations
from xtiger.domain.errors import PermanentError
from xtiger.domain.reporting import Kind
from xtiger.engine.reporting import letters, reports, subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.engine.services import Services
from xtiger.store import logs, mailbox
from xtiger.store.crypto import KeyRing
from xtiger.store.models import LogEntry, Mail, QueueItem, Run, RunMail, Subscription
from xtiger.store.schema import Database

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def runs(database: Database, homes: list[int], kind: str, count: int, first: int = 1) -> None:
    """Ended runs that nobody has reported, each with one record that went over."""
    with database.write() as session:
        for number in range(first, first + count):
            home = homes[number % len(homes)]
            session.add(
                Run(
                    id=number,
                    organisation_id=home,
                    kind=kind,
                    asked_at=NOW,
                    started_at=NOW,
                    ended_at=NOW,
                    succeeded=1,
                    reported=False,
                )
            )
            session.flush()
            common = {
                "organisation_id": home,
                "module": "Contacts",
                "record_id": str(number),
                "run_id": number,
            }
            item = {"id": number, "resource": "Contacts", "rank": 10, "state": "succeeded"}
            moments = {"added_at": NOW, "changed_at": NOW}
            session.execute(insert(QueueItem), [common | item | moments])
            entry = {"item_id": number, "action": "Create", "outcome": "succeeded", "at": NOW}
            session.execute(insert(LogEntry), [common | entry])


@pytest.mark.parametrize("kind", ["instant", "scheduled"])
def test_three_processes_tell_each_run_once(database: Database, kind: str) -> None:
    homes = organisations(database, "Kauri", "Rimu")
    ring = KeyRing([Fernet.generate_key().decode()])
    clock = SetClock(NOW)
    workers = [services_of(database, clock, ring) for _ in range(3)]
    every = Choices(after_sync=True)
    subscriptions.subscribe(workers[0], "ana@example.com", every, who="Ana")
    subscriptions.subscribe(
        workers[0], "bo@example.com", Choices(after_sync=True, organisation_id=homes[0]), who="Ana"
    )
    # The same mailbox twice hears of one organisation's run once.
    subscriptions.subscribe(
        workers[0], "Ana@example.com", Choices(after_sync=True, organisation_id=homes[0]), who="Ana"
    )
    runs(database, homes, kind, 6)
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(reports.report_ended, workers))
        clock.at += timedelta(minutes=16)
    with database.read() as session:
        told = session.scalars(select(RunMail)).all()
        mails = {mail.id: mail for mail in session.scalars(select(Mail))}
        states = logs.mail_states(session, [1, 2, 3, 4, 5, 6])
    assert Counter(one.mailbox for one in told) == {"ana@example.com": 6, "bo@example.com": 3}
    assert {one.mail_id for one in told} == set(mails)
    assert set(states.values()) == {"waiting"}
    if kind == "instant":
        assert len(mails) == 9
    else:
        # Ana hears by her own row of Kauri, and by the one about all of Rimu.
        assert len(mails) == 3
        assert Counter(mail.recipient.lower() for mail in mails.values()) == {
            "ana@example.com": 2,
            "bo@example.com": 1,
        }


def test_whoever_stops_hears_no_more_of_what_waits(database: Database) -> None:
    homes = organisations(database, "Kauri")
    ring = KeyRing([Fernet.generate_key().decode()])
    clock = SetClock(NOW)
    services = services_of(database, clock, ring)
    one = subscriptions.subscribe(services, "ana@example.com", Choices(after_sync=True), who="Ana")
    runs(database, homes, "scheduled", 1)
    reports.report_ended(services)
    runs(database, homes, "scheduled", 2, first=2)
    reports.report_ended(services)
    with database.read() as session:
        assert logs.mail_states(session, [1, 2, 3]) == {1: "waiting", 2: "waiting", 3: "waiting"}
        assert len(session.scalars(select(Mail)).all()) == 1
    link = subscriptions.unsubscribe_link(services, one)
    assert link.startswith("https://crm.example.com/unsubscribe/")
    assert subscriptions.stop(services, link.rpartition("/")[2]) is not None
    clock.at += timedelta(hours=1)
    reports.report_ended(services)
    with database.read() as session:
        assert len(session.scalars(select(Mail)).all()) == 1
        assert logs.mail_states(session, [2, 3]) == {2: "not due", 3: "not due"}
        assert session.get_one(Subscription, one).stopped_at is not None


@pytest.mark.parametrize(
    "token", ["", "1", "1.", ".x", "x.y", "1.aaaaaaaaaaaaaaaaaaaaaa", "²." * 9]
)
def test_a_link_that_is_not_ours_ends_nothing(database: Database, token: str) -> None:
    ring = KeyRing([Fernet.generate_key().decode()])
    services = services_of(database, SetClock(NOW), ring)
    one = subscriptions.subscribe(services, "ana@example.com", Choices(daily=True), who="Ana")
    assert subscriptions.stop(services, token) is None
    good = subscriptions.unsubscribe_link(services, one).rpartition("/")[2]
    other = services_of(database, SetClock(NOW), KeyRing([Fernet.generate_key().decode()]))
    assert subscriptions.by_token(other, good) is None
    with database.read() as session:
        assert session.get_one(Subscription, one).stopped_at is None
    assert subscriptions.by_token(services, good) is not None


def test_a_link_outlives_the_key_that_made_it(database: Database) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    before = services_of(database, SetClock(NOW), KeyRing([old]))
    one = subscriptions.subscribe(before, "ana@example.com", Choices(daily=True), who="Ana")
    token = subscriptions.unsubscribe_link(before, one).rpartition("/")[2]
    after = services_of(database, SetClock(NOW), KeyRing([new, old]))
    assert subscriptions.unsubscribe_link(after, one).rpartition("/")[2] != token
    assert subscriptions.stop(after, token) is not None
    # A row that is gone has no link, and its number isn't given again.
    subscriptions.remove(after, one, who="Ana")
    assert subscriptions.stop(after, token) is None
    again = subscriptions.subscribe(after, "ana@example.com", Choices(daily=True), who="Ana")
    assert again != one


def test_a_mail_that_waits_is_not_copied(database: Database) -> None:
    organisations(database, "Kauri")
    services = services_of(database, SetClock(NOW), KeyRing([Fernet.generate_key().decode()]))
    subscriptions.subscribe(services, "ana@example.com", Choices(after_sync=True), who="Ana")
    with database.write() as session:
        [row] = session.scalars(select(Subscription))
        letter = letters.Written("s\r\nBcc: x@example.com", "t", "h")
        mail = letters.put(session, services, kind=Kind.DAILY, letter=letter, reader=row, now=NOW)
    assert "\n" not in mail.subject
    with pytest.raises(PermanentError, match="It waits to be sent"):
        letters.send_again(services, mail.id, who="Ana")
    with pytest.raises(PermanentError, match="no longer kept"):
        letters.send_again(services, mail.id + 1, who="Ana")


def sent(database: Database, services: Services) -> int:
    """A mail that went over once."""
    with database.write() as session:
        letter = letters.Written("s", "t", "h")
        to = "ana@example.com"
        mail = letters.put(
            session, services, kind=Kind.DAILY, letter=letter, reader=None, recipient=to, now=NOW
        )
        mail.state = "sent"
        return mail.id


def become(database: Database, mail: int, state: str, sent_at: datetime | None = None) -> None:
    with database.write() as session:
        row = session.get_one(Mail, mail)
        row.state, row.sent_at = state, sent_at


def test_a_report_is_not_sent_again_while_a_repeat_waits_or_has_just_gone(
    database: Database,
) -> None:
    clock = SetClock(NOW)
    services = services_of(database, clock, KeyRing([Fernet.generate_key().decode()]))
    first = sent(database, services)

    def again(mail: int, who: str = "Ana") -> letters.Again:
        return letters.send_again(services, mail, who=who)

    second = again(first)
    assert second == letters.Again(first + 1)
    later = clock.at = NOW + timedelta(hours=3)
    assert again(first, "Bo") == letters.Again(second.mail_id, waits=NOW)
    become(database, second.mail_id, "sent", later)
    clock.at += timedelta(seconds=59)
    for mail in (first, second.mail_id):
        assert again(mail, "Bo") == letters.Again(second.mail_id, went=later)
    clock.at += timedelta(seconds=1)
    third = again(second.mail_id, "Bo")
    # One that went while the clock ran ahead is nobody's double press.
    become(database, third.mail_id, "sent", clock.at + timedelta(days=30))
    fourth = again(third.mail_id)
    # What was given up has reached nobody.
    become(database, fourth.mail_id, "failed")
    assert again(fourth.mail_id, "Cy") == letters.Again(fourth.mail_id + 1)
    with database.read() as session:
        rows = session.execute(select(Mail.again_of, Mail.again_by).order_by(Mail.id)).all()
    assert [tuple(row) for row in rows] == [
        (None, None),
        *((first, who) for who in ("Ana", "Bo", "Ana", "Cy")),
    ]


def test_of_two_presses_at_once_one_sends_it_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mailbox.repeat

    def slow(*given: Any, **more: Any) -> Mail | None:
        """Who looks at the same moment finds the same: only who waits for the other doesn't."""
        found = real(*given, **more)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(mailbox, "repeat", slow)
    services = services_of(database, SetClock(NOW), KeyRing([Fernet.generate_key().decode()]))
    first = sent(database, services)
    ready = threading.Barrier(4)

    def press(_: int) -> letters.Again:
        ready.wait(30)
        return letters.send_again(services, first, who="Ana")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(press, range(4)))
    assert {answer.mail_id for answer in answers} == {first + 1}
    assert [answer.waits for answer in answers].count(None) == 1


@pytest.mark.parametrize("how", ["removed", "stopped"])
def test_whoever_leaves_while_a_run_is_noted_leaves_nothing_that_waits(
    database: Database, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    homes = organisations(database, "Kauri")
    services = services_of(database, SetClock(NOW), KeyRing([Fernet.generate_key().decode()]))
    one = subscriptions.subscribe(services, "ana@example.com", Choices(after_sync=True), who="Ana")
    token = subscriptions.unsubscribe_link(services, one).rpartition("/")[2]
    runs(database, homes, "scheduled", 1)

    def leave() -> None:
        if how == "removed":
            subscriptions.remove(services, one, who="Bo")
        else:
            subscriptions.stop(services, token)

    real, leaving = reports._chosen, threading.Thread(target=leave)

    def meanwhile(rows: Sequence[Subscription]) -> dict[int, Choices]:
        """Who is there has been read, and nothing is noted yet."""
        if leaving.ident is None:
            leaving.start()
            leaving.join(0.5)
        return real(rows)

    monkeypatch.setattr(reports, "_chosen", meanwhile)
    reports.report_run(services, 1)
    leaving.join(30)
    assert not leaving.is_alive()
    with database.read() as session:
        assert session.get_one(Run, 1).reported
        assert session.scalars(select(RunMail)).all() == []

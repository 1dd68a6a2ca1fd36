"""A year of reports in three zones: none twice, none missed, whoever ticks and whoever dies."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import insert, select

from tests.engine.scenes import Death
from tests.store.history import organisations
from xtiger.domain.reporting import PERIODIC, Kind, Period
from xtiger.engine.reporting import letters, reports, subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.engine.services import Services
from xtiger.settings import Settings
from xtiger.store.crypto import KeyRing
from xtiger.store.models import LogEntry, Mail, ReportPeriod, Subscription
from xtiger.store.schema import Database

#: Each with both of its changes; at two o'clock one hour is skipped and one comes twice.
READERS = {"Pacific/Auckland": 2, "Europe/Berlin": 2, "America/New_York": 7}
#: The whole year where there is time for it; else on each database one of the changes of all.
YEAR = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
SPANS = {
    "sqlite": (datetime(2026, 9, 24, tzinfo=UTC), datetime(2026, 11, 4, tzinfo=UTC)),
    "postgresql": (datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 4, 8, tzinfo=UTC)),
}
WHOLE = bool(os.environ.get("XTIGER_PROVE"))


class SetClock:
    """Time as the test sets it."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def services_of(database: Database, clock: SetClock, ring: KeyRing) -> Services:
    """A process: it has a database and a clock, and reports need no more."""
    nobody: Any = SimpleNamespace()
    return Services(
        database=database,
        settings=Settings(public_url="https://crm.example.com"),
        ring=ring,
        crm=nobody,
        xero=nobody,
        mail=None,
        worker="w",
        clock=clock,
    )


def subscribe_all(services: Services) -> None:
    for zone, hour in READERS.items():
        choices = Choices(daily=True, weekly=True, monthly=True, hour=hour, zone=zone)
        name = zone.rpartition("/")[2].lower()
        subscriptions.subscribe(services, f"{name}@example.com", choices, who="Ana")


def dying(monkeypatch: pytest.MonkeyPatch, dice: random.Random) -> Counter[str]:
    """Writing a mail now and then ends the process, before it or after it."""
    real, deaths = letters.put, Counter[str]()

    def put(*args: Any, **more: Any) -> Mail:
        chance = dice.random()
        if chance < 0.03:
            deaths["before"] += 1
            raise Death
        mail = real(*args, **more)
        if chance > 0.97:
            deaths["after"] += 1
            raise Death
        return mail

    monkeypatch.setattr(letters, "put", put)
    return deaths


def tick(services: Services) -> None:
    try:
        reports.send_due(services)
    except Death:
        return


def moments(dice: random.Random, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Ticks up to five hours apart, and sometimes nobody is there for a day or two."""
    now = begin
    while now < end:
        yield now
        if dice.random() < 0.01:
            now += timedelta(hours=dice.uniform(20, 50))
        now += timedelta(minutes=dice.uniform(1, 300))


@pytest.mark.parametrize("seed", [1])
def test_a_year_with_two_schedulers_and_restarts(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    begin, end = YEAR if WHOLE else SPANS[database.engine.dialect.name]
    dice = random.Random(seed)
    ring = KeyRing([Fernet.generate_key().decode()])
    clock = SetClock(begin - timedelta(minutes=1))
    organisations(database, "Kauri")
    subscribe_all(services_of(database, clock, ring))
    deaths = dying(monkeypatch, dice)
    with ThreadPoolExecutor(2) as pool:
        for now in moments(dice, begin, end):
            clock.at = now
            both = [services_of(database, clock, ring) for _ in range(2)]
            list(pool.map(tick, both))
        monkeypatch.undo()
        clock.at = end
        tick(services_of(database, clock, ring))
    assert deaths["before"]
    assert deaths["after"]
    with database.read() as session:
        readers = session.scalars(select(Subscription)).all()
        mails = {mail.id: mail for mail in session.scalars(select(Mail))}
        claims = session.scalars(select(ReportPeriod).order_by(ReportPeriod.starts_on)).all()
    assert len(claims) == len(mails) == len({claim.mail_id for claim in claims})
    for reader in readers:
        for kind in PERIODIC:
            mine = [one for one in claims if (one.subscription_id, one.kind) == (reader.id, kind)]
            _judge(kind, reader, mine, begin, end)
            assert {mails[one.mail_id or 0].recipient for one in mine} == {reader.address}
            assert {mails[one.mail_id or 0].kind for one in mine} == {kind}


def _judge(
    kind: Kind, reader: Subscription, claims: list[ReportPeriod], begin: datetime, end: datetime
) -> None:
    periods = [Period.of(kind, one.starts_on, reader.zone) for one in claims]
    # As many as the calendar has: the first fell due after the beginning, the last by the end.
    first = Period.of(kind, begin.date() - timedelta(days=40), reader.zone)
    wanted = []
    while first.due_at(reader.hour) <= end:
        if first.due_at(reader.hour) > begin - timedelta(minutes=1):
            wanted.append(first)
        first = Period.of(kind, first.behind, reader.zone)
    assert periods == wanted
    if WHOLE:
        assert len(periods) in {Kind.DAILY: {365}, Kind.WEEKLY: {52, 53}, Kind.MONTHLY: {12}}[kind]
    assert all(one.end == two.start for one, two in pairwise(claims))
    assert all(
        claim.made_at >= one.due_at(reader.hour) for claim, one in zip(claims, periods, strict=True)
    )


def test_a_period_that_nobody_was_awake_for_is_caught_up_once(database: Database) -> None:
    ring = KeyRing([Fernet.generate_key().decode()])
    clock = SetClock(datetime(2026, 11, 1, 12, tzinfo=UTC))
    organisations(database, "Kauri")
    services = services_of(database, clock, ring)
    subscriptions.subscribe(services, "ana@example.com", Choices(daily=True), who="Ana")
    assert reports.send_due(services) == 0
    clock.at += timedelta(days=20)
    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(reports.send_due, [services] * 4))
    assert made == 3
    with database.read() as session:
        mails = session.scalars(select(Mail).order_by(Mail.id)).all()
    assert [mail.subject for mail in mails] == [
        f"[XTiger] Kauri, {day} Nov: 0 synced, nothing to do" for day in (18, 19, 20)
    ]
    said = "XTiger wasn't running when 17 earlier reports were due, 1 Nov to 17 Nov."
    text = " ".join(mails[0].text.split())
    assert said in text
    assert "wasn't running when" not in " ".join(mails[1].text.split())


def test_nothing_is_sent_that_fell_due_before_it_was_asked_for(database: Database) -> None:
    ring = KeyRing([Fernet.generate_key().decode()])
    clock = SetClock(datetime(2026, 11, 4, 12, tzinfo=UTC))
    organisations(database, "Kauri")
    services = services_of(database, clock, ring)
    one = subscriptions.subscribe(services, "ana@example.com", Choices(daily=True), who="Ana")
    reports.send_due(services)
    clock.at += timedelta(hours=1)
    every = Choices(daily=True, weekly=True, monthly=True)
    subscriptions.change(services, one, every, who="Ana")
    assert reports.send_due(services) == 0
    clock.at = datetime(2026, 11, 5, 7, tzinfo=UTC)
    assert reports.send_due(services) == 1


def test_a_stopped_one_hears_nothing_and_misses_nothing_once_it_goes_on(
    database: Database,
) -> None:
    ring = KeyRing([Fernet.generate_key().decode()])
    clock = SetClock(datetime(2026, 11, 4, 12, tzinfo=UTC))
    organisations(database, "Kauri")
    services = services_of(database, clock, ring)
    one = subscriptions.subscribe(services, "ana@example.com", Choices(daily=True), who="Ana")
    token = subscriptions.unsubscribe_link(services, one).rpartition("/")[2]
    assert subscriptions.stop(services, token) is not None
    assert subscriptions.stop(services, token[:-1] + "?") is None
    clock.at += timedelta(days=2)
    assert reports.send_due(services) == 0
    subscriptions.change(services, one, Choices(daily=True), who="Ana")
    # What fell due while it was stopped isn't sent afterwards.
    assert reports.send_due(services) == 0
    clock.at += timedelta(days=1)
    assert reports.send_due(services) == 1


@pytest.mark.parametrize("days", [10, 40])
def test_a_clock_that_ran_ahead_for_a_tick_silences_nobody(database: Database, days: int) -> None:
    ring = KeyRing([Fernet.generate_key().decode()])
    clock = SetClock(datetime(2026, 11, 4, 12, tzinfo=UTC))
    organisations(database, "Kauri")
    services = services_of(database, clock, ring)
    every = Choices(daily=True, weekly=True, monthly=True)
    subscriptions.subscribe(services, "ana@example.com", every, who="Ana")
    reports.send_due(services)
    right = clock.at
    clock.at += timedelta(days=days)
    early = reports.send_due(services)
    assert early > 3
    clock.at = right
    made = []
    for _ in range(days + 5):
        clock.at += timedelta(days=1)
        made.append(reports.send_due(services))
        assert reports.send_due(services) == 0
    # Of the days that were told too early nobody hears twice, of all others once.
    assert min(made[:7]) > 0
    with database.read() as session:
        mails = session.scalars(select(Mail).order_by(Mail.id)).all()
        claims = session.scalars(
            select(ReportPeriod)
            .where(ReportPeriod.kind == "daily")
            .order_by(ReportPeriod.starts_on)
        ).all()
    assert [one.starts_on for one in claims] == [
        right.date() + timedelta(days=ahead) for ahead in range(days + 5)
    ]
    assert len({mail.period_id for mail in mails}) == len(mails)
    assert not any("wasn't running when" in " ".join(mail.text.split()) for mail in mails[early:])


def test_what_is_committed_right_after_midnight_is_in_the_report(database: Database) -> None:
    ring = KeyRing([Fernet.generate_key().decode()])
    clock = SetClock(datetime(2026, 11, 20, 12, tzinfo=UTC))
    [home] = organisations(database, "Kauri")
    services = services_of(database, clock, ring)
    subscriptions.subscribe(services, "ana@example.com", Choices(daily=True, hour=0), who="Ana")
    clock.at = datetime(2026, 11, 21, 0, 0, 1, tzinfo=UTC)
    assert reports.send_due(services) == 0
    entry = {"organisation_id": home, "item_id": 1, "module": "Contacts", "record_id": "1"}
    entry |= {"action": "Create", "outcome": "succeeded"}
    with database.write() as session:
        last = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
        session.execute(insert(LogEntry), [entry | {"at": last}])
    clock.at += timedelta(minutes=5)
    assert reports.send_due(services) == 1
    with database.read() as session:
        [mail] = session.scalars(select(Mail))
    assert mail.subject == "[XTiger] Kauri, 20 Nov: 1 synced, nothing to do"

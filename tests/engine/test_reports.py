"""A report's figures are the log's: each is counted anew here, row by row, in plain Python."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import insert, select

from tests.store.history import organisations
from xtiger.domain.reporting import PERIODIC, Kind, Period
from xtiger.engine.reporting import figures
from xtiger.engine.reporting.figures import Cause, Report
from xtiger.engine.reporting.words import words_of
from xtiger.engine.services import Services
from xtiger.settings import Settings
from xtiger.store.crypto import KeyRing
from xtiger.store.models import LogEntry, QueueItem, Run
from xtiger.store.schema import Database

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
ZONE = "Pacific/Auckland"
MODULES = ("Contacts", "Products", "Invoices")
FAILING = ("failed", "check")
CAUSES = ("account archived", "number taken", "period locked")
OUTCOMES = ("succeeded", "unchanged", "failed", "blocked", "check", "pending")


class NowClock:
    def now(self) -> datetime:
        return NOW

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


def services_of(database: Database) -> Services:
    nobody: Any = SimpleNamespace()
    return Services(
        database=database,
        settings=Settings(public_url="https://crm.example.com"),
        ring=KeyRing([Fernet.generate_key().decode()]),
        crm=nobody,
        xero=nobody,
        mail=None,
        worker="w",
        clock=NowClock(),
    )


def history(database: Database, homes: Sequence[int], seed: int) -> None:
    """Forty days of transfers, each with up to four steps, some of them days apart."""
    dice = random.Random(seed)
    steps: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    for number in range(1, 700):
        home = dice.choice(homes)
        module = dice.choice(MODULES)
        at = NOW - timedelta(minutes=dice.uniform(1, 40 * 24 * 60))
        added = at
        document = module == "Invoices"
        # Few records, so that most of them go over several times; some are taken out again.
        record_id = str(dice.randrange(40))
        removes = document and dice.random() < 0.2
        outcome = ""
        for _ in range(dice.randint(1, 4)):
            outcome = dice.choice(OUTCOMES)
            cause = dice.choice(CAUSES) if outcome in FAILING else None
            money = document and not removes and outcome in ("succeeded", *FAILING)
            steps.append(
                {
                    "at": at,
                    "organisation_id": home,
                    "run_id": 1 + dice.randrange(5),
                    "item_id": number,
                    "module": module,
                    "record_id": record_id,
                    "label": f"R-{number}",
                    "action": "Void" if removes else "Create",
                    "outcome": outcome,
                    "cause": cause,
                    "sentence": f"Because of {cause}." if cause else "",
                    "amount": Decimal(dice.randrange(10_000_000)) / 100 if money else None,
                    "currency": dice.choice(("NZD", "EUR", "JPY")) if money else None,
                }
            )
            later = at + timedelta(minutes=dice.choice((1, 90, 3000)))
            if outcome == "succeeded" or later >= NOW:
                break
            at = later
        items.append(
            {
                "id": number,
                "organisation_id": home,
                "module": module,
                "record_id": record_id,
                "resource": "Contacts",
                "rank": 10,
                "state": outcome,
                "slot": f"s{number}"
                if outcome in ("failed", "check", "pending", "blocked")
                else None,
                "blocked_by": 1 if outcome == "blocked" else None,
                "added_at": added,
                "changed_at": at,
            }
        )
    steps.sort(key=lambda row: row["at"])
    with database.write() as session:
        for home in homes:
            session.add(Run(id=home, organisation_id=home, kind="instant", asked_at=NOW))
        session.flush()
        session.execute(insert(QueueItem), items)
        session.execute(insert(LogEntry), steps)


def counted_by_hand(
    log: Sequence[LogEntry], start: datetime, end: datetime, home: int | None, modules: Any
) -> tuple[Counter[str], dict[str, Decimal], Counter[Any]]:
    """Outcomes, sums by currency, and outcomes by organisation and module.

    An outcome is of a transfer; money is of a document, as it went over last.
    """
    last: dict[int, LogEntry] = {}
    documents: dict[tuple[int, str, str], LogEntry] = {}
    for entry in log:
        if not start <= entry.at < end:
            continue
        if home is not None and entry.organisation_id != home:
            continue
        if modules is not None and entry.module not in modules:
            continue
        last[entry.item_id] = entry
        if entry.outcome == "succeeded":
            documents[entry.organisation_id, entry.module, entry.record_id] = entry
    outcomes, lines = Counter[str](), Counter[Any]()
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for entry in last.values():
        word = "failed" if entry.outcome == "check" else entry.outcome
        if word == "pending":
            continue
        outcomes[word] += 1
        lines[entry.organisation_id, entry.module, word] += 1
    for entry in documents.values():
        if entry.currency:
            sums[entry.currency] += entry.amount or 0
    return outcomes, dict(sums), lines


def standing_by_hand(
    log: Sequence[LogEntry], start: datetime, end: datetime, home: int | None, modules: Any
) -> tuple[Counter[Any], Counter[Any]]:
    """Transfers whose last step before the end failed: for the first time in it, and of before."""
    last: dict[int, LogEntry] = {}
    began: dict[Any, datetime] = {}
    for entry in log:
        if entry.outcome in FAILING:
            began.setdefault((entry.item_id, entry.cause), entry.at)
        if entry.at < end:
            last[entry.item_id] = entry
    fresh, still = Counter[Any](), Counter[Any]()
    for entry in last.values():
        if entry.outcome not in FAILING:
            continue
        if home not in (None, entry.organisation_id):
            continue
        if modules is not None and entry.module not in modules:
            continue
        new = began[entry.item_id, entry.cause] >= start
        (fresh if new else still)[entry.organisation_id, entry.sentence] += 1
    return fresh, still


def told(causes: Sequence[Cause], names: dict[int, str]) -> Counter[Any]:
    ids = {name: one for one, name in names.items()}
    return Counter({(ids[one.organisation], one.sentence): one.count for one in causes})


@pytest.mark.parametrize("seed", [1, 2])
def test_the_figures_are_the_logs(database: Database, seed: int) -> None:
    names = dict(zip(organisations(database, "Kauri", "Rimu"), ("Kauri", "Rimu"), strict=True))
    history(database, list(names), seed)
    services = services_of(database)
    with database.read() as session:
        log = session.scalars(select(LogEntry).order_by(LogEntry.id)).all()
    for kind in PERIODIC:
        for day in (date(2026, 11, 20), date(2026, 11, 5), date(2026, 11, 21), date(2026, 1, 1)):
            for home in (None, *names):
                for modules in (None, ["Invoices", "Contacts"]):
                    report = figures.of_period(
                        services, kind, day, zone=ZONE, organisation_id=home, modules=modules
                    )
                    judge(report, log, Period.of(kind, day, ZONE), home, modules, names)


def judge(
    report: Report,
    log: Sequence[LogEntry],
    period: Period,
    home: int | None,
    modules: Any,
    names: dict[int, str],
) -> None:
    start, end = period.start, period.end
    outcomes, sums, lines = counted_by_hand(log, start, end, home, modules)
    tally = report.tally
    assert (
        Counter(
            succeeded=tally.succeeded,
            unchanged=tally.unchanged,
            failed=tally.failed,
            blocked=tally.blocked,
        )
        == outcomes
    )
    assert report.money == sums
    ids = {name: one for one, name in names.items()}
    told_lines = Counter(
        {
            (ids[line.organisation], line.module, word): getattr(line.tally, word)
            for line in report.lines
            for word in ("succeeded", "unchanged", "failed", "blocked")
        }
    )
    assert +told_lines == lines
    by_currency: dict[str, Decimal] = defaultdict(Decimal)
    for line in report.lines:
        for currency, amount in line.money.items():
            by_currency[currency] += amount
    assert by_currency == sums
    fresh, still = standing_by_hand(log, start, end, home, modules)
    assert told(report.fresh, names) == fresh
    assert told(report.still, names) == still
    assert report.need == (fresh + still).total()
    before = period.before
    outcomes, _sums, _lines = counted_by_hand(log, before.start, before.end, home, modules)
    assert report.before is not None
    assert (report.before.succeeded, report.before.failed) == (
        outcomes["succeeded"],
        outcomes["failed"],
    )
    assert sum(part.succeeded for part in report.parts) == tally.succeeded


def test_the_figures_of_runs_are_the_logs(database: Database) -> None:
    names = dict(zip(organisations(database, "Kauri", "Rimu"), ("Kauri", "Rimu"), strict=True))
    history(database, list(names), 3)
    one = min(names)
    with database.write() as session:
        log = session.scalars(
            select(LogEntry).where(LogEntry.run_id == one).order_by(LogEntry.id)
        ).all()
        for entry in log:
            entry.organisation_id = one
    report = figures.of_runs(services_of(database), [one], zone=ZONE)
    ever = datetime(2000, 1, 1, tzinfo=UTC)
    outcomes, sums, _lines = counted_by_hand(log, ever, NOW, None, None)
    tally = report.tally
    assert [tally.succeeded, tally.unchanged, tally.failed, tally.blocked] == [
        outcomes[word] for word in ("succeeded", "unchanged", "failed", "blocked")
    ]
    assert report.money == sums
    assert report.kind is Kind.AFTER_SYNC


def test_the_chart_counts_each_quarter_of_a_long_day(database: Database) -> None:
    """On 5 April 2026 Auckland's clocks go back: the first quarter has seven hours."""
    [home] = organisations(database, "Kauri")
    begin = datetime(2026, 4, 4, 11, tzinfo=UTC)  # midnight in Auckland
    with database.write() as session:
        session.execute(
            insert(LogEntry),
            [
                {
                    "at": begin + timedelta(minutes=30 + 60 * hour),
                    "organisation_id": home,
                    "item_id": hour + 1,
                    "module": "Contacts",
                    "record_id": str(hour),
                    "action": "Create",
                    "outcome": "succeeded",
                }
                for hour in range(25)
            ],
        )
    report = figures.of_period(services_of(database), Kind.DAILY, date(2026, 4, 5), zone=ZONE)
    assert [part.succeeded for part in report.parts] == [7, 6, 6, 6]
    assert report.tally.succeeded == 25


@pytest.mark.parametrize(
    ("language", "kind", "count", "subject", "sentence"),
    [
        (
            "en",
            "daily",
            300,
            "20 Nov: 0 synced, 300 still wait",
            "sent on 20 Nov; 300 records wait.",
        ),
        ("en", "weekly", 1, "week 9–15 Nov: 0 synced, 1 still waits", "; 1 record waits."),
        ("de", "daily", 300, "20. Nov.: 0 übertragen, 300 warten noch", "; 300 Datensätze warten."),
        ("de", "monthly", 1, "0 übertragen, 1 wartet noch", "; 1 Datensatz wartet."),
    ],
)
def test_a_period_in_which_records_waited_is_not_nothing_to_do(
    database: Database, language: str, kind: str, count: int, subject: str, sentence: str
) -> None:
    [home] = organisations(database, "Kauri")
    days = {"daily": date(2026, 11, 20), "weekly": date(2026, 11, 15), "monthly": date(2026, 10, 1)}
    day = days[kind]
    period = Period.of(Kind(kind), day)
    waiting(database, home, count, period.end - timedelta(hours=1))
    services = services_of(database)
    report = figures.of_period(services, Kind(kind), day, zone="UTC")
    words = words_of(report, language=language)
    assert subject in words.subject
    assert sentence in words.sentence
    # What was queued after its end, or waits now, says nothing of an earlier period.
    for earlier in (period.before.first, date(2026, 1, 5)):
        then = figures.of_period(services, Kind(kind), earlier, zone="UTC")
        said = words_of(then, language=language)
        assert said.subject.endswith(("nothing to do", "nichts zu tun"))
        assert said.sentence.startswith("Nothing was due") or "stand nichts an" in said.sentence


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "0 synced, 2 need you since"), ("de", "0 übertragen, 2 warten seither auf Sie")],
)
def test_what_failed_after_a_day_keeps_its_report_from_saying_nothing_is_to_do(
    database: Database, language: str, told: str
) -> None:
    [home] = organisations(database, "Kauri")
    day = date(2026, 11, 20)
    behind = Period.of(Kind.DAILY, day).end + timedelta(hours=1)
    waiting(database, home, 2, behind, state="failed")
    with database.write() as session:
        common = {"organisation_id": home, "module": "Contacts", "action": "create", "at": behind}
        common |= {"outcome": "failed", "cause": "name"}
        session.execute(
            insert(LogEntry),
            [common | {"item_id": one, "record_id": str(one)} for one in (1, 2)],
        )
    services = services_of(database)
    report = figures.of_period(services, Kind.DAILY, day, zone="UTC")
    words = words_of(report, language=language)
    assert words.subject.endswith(told)
    assert words.sentence == f"{told}."
    assert (report.need, report.tally.all) == (0, 0), "its figures are the day's"
    # Of a day that is long over it would say nothing.
    earlier = figures.of_period(services, Kind.DAILY, date(2026, 11, 10), zone="UTC")
    assert words_of(earlier, language=language).subject.endswith(("nothing to do", "nichts zu tun"))


def test_an_old_period_is_not_told_by_what_waits_now(database: Database) -> None:
    [home] = organisations(database, "Kauri")
    waiting(database, home, 2, datetime(2026, 3, 1, tzinfo=UTC))
    services = services_of(database)
    for kind, near, far in (
        (Kind.DAILY, date(2026, 11, 18), date(2026, 11, 16)),
        (Kind.WEEKLY, date(2026, 11, 2), date(2026, 10, 26)),
        (Kind.MONTHLY, date(2026, 9, 30), date(2026, 8, 31)),
    ):
        assert figures.of_period(services, kind, near, zone="UTC").held_up == 2
        assert figures.of_period(services, kind, far, zone="UTC").held_up == 0


def waiting(
    database: Database, home: int, count: int, at: datetime, state: str = "pending"
) -> None:
    """Records that were queued at a moment and still wait."""
    common = {"organisation_id": home, "module": "Contacts", "resource": "Contacts", "rank": 10}
    common |= {"state": state, "added_at": at, "changed_at": at}
    with database.write() as session:
        session.execute(
            insert(QueueItem),
            [
                common | {"id": one, "record_id": str(one), "slot": f"Contacts/{one}"}
                for one in range(1, count + 1)
            ],
        )

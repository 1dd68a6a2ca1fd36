"""What a report adds up is documents, and what it asks is asked of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import event, insert, select

from tests.conftest import Engine
from tests.engine.scenes import KAURI, ask, change_profile, crm, invoices, log_of, runs, work
from tests.engine.test_report_claims import NOW
from tests.engine.test_reports import services_of
from tests.store.history import organisations
from xtiger.crm.builtin import Invoice
from xtiger.domain.reporting import Kind
from xtiger.engine.reporting import figures
from xtiger.engine.reporting.figures import Report
from xtiger.store import sums
from xtiger.store.models import LogEntry, QueueItem, Run
from xtiger.store.schema import Database


def today(engine: Engine, **more: Any) -> Report:
    services = engine.services
    day = services.clock.now().date()
    return figures.of_period(services, Kind.MONTHLY, day, zone="UTC", **more)


def test_a_document_that_is_sent_again_is_added_up_once(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    change_profile(engine, "Invoices", deleted="remove")
    invoices(engine, 2)

    def change(price: int = 100, **values: Any) -> None:
        with crm(engine) as session:
            row = session.scalars(select(Invoice).where(Invoice.number == "INV-1")).one()
            row.lines[0].unit_price = Decimal(price)
            row.count()
            for name, value in values.items():
                setattr(row, name, value)
        ask(engine, one)
        work(engine)

    ask(engine, one)
    work(engine)
    for number in range(2):
        change(reference=f"PO {number}")
    report = today(engine)
    assert (report.tally.succeeded, report.money) == (5, {"NZD": Decimal("230.00")})
    # It is worth what was sent last, and a change that Xero refuses doesn't take that away.
    change(200)
    assert today(engine).money == {"NZD": Decimal("345.00")}
    change(300, currency="XXX")
    assert log_of(engine, "INV-1")[-1].outcome == "failed"
    report = today(engine)
    assert report.money == {"NZD": Decimal("345.00")}
    [line] = [line for line in report.lines if line.module == "Invoices"]
    assert line.money == report.money
    # Each run tells what went over in it.
    first, again, *_rest = runs(engine)
    services = engine.services
    money = [figures.of_runs(services, [run.id], zone="UTC").money for run in (first, again)]
    assert money == [{"NZD": Decimal("230.00")}, {"NZD": Decimal("115.00")}]
    with engine.database.read() as session:  # as the run's own page says it
        assert [sums.money_of_run(session, run) for run in (first, again)] == money
    both = figures.of_runs(services, [first.id, again.id], zone="UTC")
    assert both.money == {"NZD": Decimal("230.00")}
    # What was taken out of Xero in it adds nothing.
    with crm(engine) as session:
        session.delete(session.scalars(select(Invoice).where(Invoice.number == "INV-1")).one())
    ask(engine, one)
    work(engine)
    entry = log_of(engine, "INV-1")[-1]
    assert (entry.action, entry.outcome) == ("Void", "succeeded")
    assert today(engine).money == {"NZD": Decimal("115.00")}


class Ticking:
    """A clock that goes on, however little, each time somebody looks."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


def test_a_report_of_runs_reads_what_failed_and_not_all_that_waits(database: Database) -> None:
    """Whatever waits, a report that ends now needs only what stands failed now."""
    [home] = organisations(database, "Kauri")
    states = ["failed", "pending", "pending", "succeeded"]
    rows = [
        {
            "id": number,
            "organisation_id": home,
            "module": "Invoices",
            "record_id": str(number),
            "label": f"INV-{number}",
        }
        for number in range(1, 5)
    ]
    with database.write() as session:
        session.add(
            Run(
                id=1,
                organisation_id=home,
                kind="scheduled",
                asked_at=NOW - timedelta(minutes=9),
                started_at=NOW - timedelta(minutes=9),
            )
        )
        session.flush()
        session.execute(
            insert(QueueItem),
            [
                row
                | {"resource": "Invoices", "rank": 50, "state": state, "added_at": NOW}
                | {"changed_at": NOW, "slot": None if state == "succeeded" else f"s{row['id']}"}
                for row, state in zip(rows, states, strict=True)
            ],
        )
        session.execute(
            insert(LogEntry),
            [
                {name: value for name, value in row.items() if name != "id"}
                | {"item_id": row["id"], "run_id": 1, "action": "Create", "at": NOW}
                | {"outcome": state, "cause": "locked" if state == "failed" else None}
                for row, state in zip(rows, states, strict=True)
                if state != "pending"
            ],
        )
    asked: list[str] = []

    def keep(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    services = services_of(database)
    services.clock = Ticking()
    event.listen(database.engine, "before_cursor_execute", keep)
    try:
        month = NOW.astimezone(UTC).date()
        reports: Sequence[Report] = (
            figures.of_runs(services, [1], zone="UTC"),
            figures.of_period(services, Kind.MONTHLY, month, zone="UTC"),
        )
    finally:
        event.remove(database.engine, "before_cursor_execute", keep)
    for report in reports:
        assert [(one.count, one.labels) for one in report.fresh] == [(1, ("INV-1",))]
        assert (report.tally.succeeded, report.need) == (1, 1)
    assert reports[0].scope.end == reports[0].made_at
    standing = [one for one in asked if "row_number()" in one]
    assert len(standing) == 2
    assert not [one for one in standing if "UNION" in one or "'pending'" in one]

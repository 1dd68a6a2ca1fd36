"""What reports ask goes by indexes: of a long log the period is read, of the queue what is open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.orm import Session

from tests.store.conftest import NOW, add_organisation
from xtiger.store import mailbox, sums
from xtiger.store.models import LogEntry, Mail, QueueItem, ReportPeriod, Run, RunMail, Subscription
from xtiger.store.schema import Database
from xtiger.store.sums import Scope

DAY = Scope(NOW - timedelta(days=1), NOW)
OLD = Scope(NOW - timedelta(days=3), NOW - timedelta(days=2))
CHOSEN = Scope(DAY.start, DAY.end, None, 1, ("Invoices",))
RUNS = Scope(NOW - timedelta(days=1), NOW, (7,), 1, ("Invoices",))
#: What is asked, and the indexes that serve it.
ASKED: dict[str, tuple[Callable[[Session], object], set[str]]] = {
    "counts": (lambda s: sums.counts(s, DAY), {"ix_xtiger_log_at"}),
    "counts of runs": (lambda s: sums.counts(s, RUNS), {"ix_xtiger_log_run"}),
    "counts of a module": (lambda s: sums.counts(s, CHOSEN), {"ix_xtiger_log_at"}),
    "amounts": (lambda s: sums.amounts(s, DAY), {"ix_xtiger_log_at"}),
    "amounts of a module": (lambda s: sums.amounts(s, CHOSEN), {"ix_xtiger_log_at"}),
    "amounts of runs": (lambda s: sums.amounts(s, RUNS), {"ix_xtiger_log_run"}),
    "went": (lambda s: sums.went(s, DAY, 20), {"ix_xtiger_log_at"}),
    "entries": (lambda s: sums.entries(s, DAY, limit=10), {"ix_xtiger_log_at"}),
    "standing": (
        lambda s: sums.standing(s, DAY, now=NOW),
        {"ix_xtiger_queue_", "ix_xtiger_log_record"},
    ),
    "standing then": (
        lambda s: sums.standing(s, OLD, now=NOW),
        {"ix_xtiger_queue_state", "ix_xtiger_log_at", "ix_xtiger_log_record"},
    ),
    "waiting": (lambda s: sums.waiting(s, [1], None), {"ix_xtiger_queue_state"}),
    "due": (lambda s: mailbox.due_for_period(s, now=NOW), {"ix_xtiger_subscription_next"}),
    "last": (
        lambda s: mailbox.last_period(s, 1, "daily"),
        {"xtiger_report_period_"},
    ),
    "untold": (mailbox.with_runs_waiting, {"ix_xtiger_run_mail_"}),
    "told together": (lambda s: mailbox.waiting_runs(s, 1), {"ix_xtiger_run_mail_waits"}),
    "repeat": (
        lambda s: mailbox.repeat(s, 5, since=NOW - timedelta(minutes=1), now=NOW),
        {"ix_xtiger_mail_again"},
    ),
    "awake": (lambda s: mailbox.noted_lately(s, now=NOW), {"ix_xtiger_awake_last"}),
}


@pytest.fixture
def grown(database: Database) -> Database:
    """A long log and queue, nearly all of it over and older than what is asked for."""
    one = add_organisation(database, "Kauri")
    items, entries = [], []
    for number in range(1, 12_001):
        at = NOW - timedelta(minutes=number * 5)
        failed = number % 400 == 0
        state = "failed" if failed else "succeeded"
        items.append(
            {
                "id": number,
                "organisation_id": one,
                "module": "Invoices",
                "record_id": str(number),
                "resource": "Invoices",
                "rank": 50,
                "state": state,
                "slot": f"s{number}" if failed else None,
                "added_at": at,
                "changed_at": at,
            }
        )
        entries.append(
            {
                "at": at,
                "organisation_id": one,
                "run_id": number // 100 + 1,
                "item_id": number,
                "module": "Invoices",
                "record_id": str(number),
                "action": "Create",
                "outcome": state,
                "cause": "why" if failed else None,
                "sentence": "",
            }
        )
    with database.write() as session:
        session.add(Run(id=1, organisation_id=one, kind="instant", asked_at=NOW))
        session.flush()
        session.execute(insert(QueueItem), items)
        session.execute(insert(LogEntry), list(reversed(entries)))
        _letters(session)
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    return database


def _letters(session: Session) -> None:
    rows: list[dict[str, Any]] = [
        {"subscription_id": n % 50, "kind": "daily", "zone": "UTC", "start": NOW, "end": NOW}
        | {"starts_on": (NOW - timedelta(days=n)).date(), "ends_on": NOW.date(), "made_at": NOW}
        for n in range(3000)
    ]
    session.execute(insert(ReportPeriod), rows)
    session.execute(
        insert(Subscription),
        [
            {"address": f"m{n}@x.org", "mailbox": f"m{n}@x.org", "made_by": "A", "made_at": NOW}
            | {"next_at": NOW + timedelta(hours=n + 1)}
            for n in range(2000)
        ],
    )
    mail = {"recipient": "a@x.org", "subject": "", "text": "", "html": "", "message_id": "<1>"}
    mail |= {"made_at": NOW, "sent_at": NOW, "state": "sent"}
    repeats = [mail | {"id": n, "again_of": n // 2} for n in range(2, 3000)]
    session.execute(insert(Mail), [mail | {"id": 1, "again_of": None}, *repeats])
    told = [{"run_id": 1, "mailbox": f"m{n}", "mail_id": 1} for n in range(3000)]
    session.execute(insert(RunMail), told)


def plans(session: Session, ask: Callable[[Session], object]) -> str:
    """The plans of all statements of a question, as they really go out."""
    connection = session.connection()
    on_postgres = connection.dialect.name == "postgresql"
    explain = "EXPLAIN " if on_postgres else "EXPLAIN QUERY PLAN "
    sent: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", keep)
    ask(session)
    event.remove(connection, "before_cursor_execute", keep)
    rows = [
        str(row[0 if on_postgres else 3])
        for statement, parameters in sent
        for row in connection.exec_driver_sql(explain + statement, parameters)
    ]
    return "\n".join(rows)


def test_reports_read_no_table_as_a_whole(grown: Database) -> None:
    on_postgres = grown.engine.dialect.name == "postgresql"
    with grown.read() as session:
        if on_postgres:
            # It rightly reads what is small as a whole: only where nothing else serves it does.
            session.execute(text("SET LOCAL enable_seqscan = off"))
        for name, (ask, indexes) in ASKED.items():
            plan = plans(session, ask)
            said = f"{name}\n{plan}"
            assert "Seq Scan" not in plan, said
            for table in ("xtiger_log", "xtiger_queue", "xtiger_subscription", "xtiger_run_mail"):
                assert f"SCAN {table}\n" not in f"{plan}\n", said
            assert on_postgres or not [one for one in indexes if one not in plan], said


def test_a_span_without_anybody_is_told_from_one_with_a_beat(database: Database) -> None:
    start = datetime(2026, 11, 20, tzinfo=UTC)
    end = start + timedelta(days=1)

    def asleep() -> Any:
        with database.read() as session:
            return mailbox.asleep(session, start, end)

    def awake(begin: datetime, until: datetime) -> None:
        while begin <= until:
            with database.write() as session:
                mailbox.note_awake(session, now=begin)
            begin += timedelta(minutes=20)

    assert asleep() is None
    awake(start + timedelta(hours=1), start + timedelta(hours=2))
    assert asleep() is None  # nobody knows what was before the first beat
    awake(start - timedelta(hours=1), start - timedelta(hours=1))
    with database.write() as session:
        session.execute(text("DELETE FROM xtiger_awake"))
    awake(start - timedelta(hours=1), start + timedelta(hours=9))
    awake(start + timedelta(hours=13, minutes=40), end + timedelta(hours=1))
    assert asleep() == [(start + timedelta(hours=9), start + timedelta(hours=13, minutes=40))]

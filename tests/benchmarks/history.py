"""(d) What a million ended items cost a drain, and what the queue's own rules cost an enqueue."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, insert, text

from tests.benchmarks.stage import SQLITE, Books, Stage, analyse, database, median, stage, verdict
from xtiger.domain.queueing import State
from xtiger.domain.records import Module, RecordRef
from xtiger.engine import drain, intake
from xtiger.store import queue
from xtiger.store.models import Moment, Organisation, QueueItem
from xtiger.store.schema import Database

LEAST_DRAIN, LEAST_ENQUEUE = 0.95, 0.5
#: Elements of a call that ended long ago.
BATCH = 50


def measure(
    ended: int = 1_000_000, added: int = 100_000, chunk: int = 1000, rounds: int = 7
) -> dict[str, Any]:
    """Two figures, each with a bound of its own."""
    drained, enqueued = draining(ended, chunk, rounds), enqueueing(added)
    return {
        "drain": drained,
        "enqueue": enqueued,
        "holds": drained["holds"] and enqueued["holds"],
    }


def draining(ended: int, chunk: int, rounds: int, kind: str = SQLITE) -> dict[str, Any]:
    """Records per second of CPU, with so many ended items and with none, turn by turn.

    Contacts against the local Xero's plain mode: the less a record costs otherwise, the more
    the history would show. The two databases take turns, so both meet the machine as it is.
    """
    books = Books(contacts=chunk * (rounds + 1))
    options = ("--plain", "--minute-limit", "1000000", "--day-limit", "1000000")
    with ExitStack() as both:
        empty = both.enter_context(stage(books, kind=kind, options=options))
        full = both.enter_context(stage(books, kind=kind, options=options))
        for made in (empty, full):
            intake.add_selected(
                made.services, organisation_id=None, modules=[Module.CONTACTS], who="Bench"
            )
        write_history(full.database, full.organisation_id, ended)
        for made in (empty, full):
            analyse(made.database)
        speeds: dict[str, list[float]] = {"none": [], "ended": []}
        walls: dict[str, list[float]] = {"none": [], "ended": []}
        for turn in range(rounds + 1):
            for name, made in (("none", empty), ("ended", full)):
                cpu, wall = _drained(made, chunk)
                if turn:  # the first one warms up
                    speeds[name].append(chunk / cpu)
                    walls[name].append(chunk / wall)
    ratio = median(speeds["ended"]) / median(speeds["none"])
    return {
        "what": "drain speed with ended items / with none",
        "database": kind,
        "ended items, log entries": ended,
        "ended calls": ended // BATCH,
        "records per CPU second with them": round(median(speeds["ended"])),
        "records per CPU second without": round(median(speeds["none"])),
        "the same by the clock": round(median(walls["ended"]) / median(walls["none"]), 3),
        "ratio": round(ratio, 3),
        "bound": f">= {LEAST_DRAIN}",
        "holds": verdict(ratio, least=LEAST_DRAIN),
    }


def _drained(made: Stage, chunk: int) -> tuple[float, float]:
    """Seconds of CPU and of the clock that one drain of so many items takes."""
    first = "SELECT id FROM xtiger_queue WHERE state = 'pending' ORDER BY id LIMIT 1 OFFSET :chunk"
    with made.database.write() as session:
        session.execute(text("UPDATE xtiger_queue SET not_before = NULL WHERE state = 'pending'"))
        bound = session.scalar(text(first), {"chunk": chunk})
        if bound is not None:
            session.execute(
                text(
                    "UPDATE xtiger_queue SET not_before = '2999-01-01 00:00:00' "
                    "WHERE state = 'pending' AND id >= :bound"
                ),
                {"bound": bound},
            )
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    ended = drain.drain(made.services, made.organisation_id)
    assert ended.done, ended.sentence
    return time.process_time() - cpu, time.perf_counter() - wall


#: The numbers from :first to :last, on both databases.
_NUMBERS = """
    WITH RECURSIVE n(i) AS (
        SELECT CAST(:first AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i < :last
    )
"""
_ITEMS = """
    INSERT INTO xtiger_queue (organisation_id, module, record_id, label, resource, rank, action,
        state, tries, doubts, changes, needed, urgent, run_id, added_at, changed_at) {numbers}
    SELECT :one, 'Contacts', 'old' || i, 'Old ' || i, 'Contacts', 10, 'Create',
        'succeeded', 0, 0, 1, false, false, 0, :at, :at FROM n
"""
_ENTRIES = """
    INSERT INTO xtiger_log (at, organisation_id, run_id, item_id, module, record_id, label,
        action, outcome, sentence) {numbers}
    SELECT :at, :one, 0, i, 'Contacts', 'old' || i, 'Old ' || i,
        'Create', 'succeeded', 'Created in Xero and read back.' FROM n
"""
_CALLS = """
    INSERT INTO xtiger_attempt (organisation_id, fence, resource, verb, idempotency_key,
        body_hash, opened_at, closed_at, sends, outcome) {numbers}
    SELECT :one, 0, 'Contacts', 'PUT', 'old-' || i, '', :at, :at, 1, 'settled' FROM n
"""
#: Rows that one transaction of these writes.
_ROWS = 50_000


def write_history(made: Database, organisation_id: int, count: int) -> None:
    """So many ended items, a log entry for each, and the journal of their calls."""
    for statement, rows in ((_ITEMS, count), (_ENTRIES, count), (_CALLS, count // BATCH)):
        ready = text(statement.format(numbers=_NUMBERS)).bindparams(bindparam("at", type_=Moment))
        for first in range(1, rows + 1, _ROWS):
            known = {"first": first, "last": min(rows, first + _ROWS - 1)}
            with made.write() as session:
                session.execute(
                    ready, known | {"one": organisation_id, "at": datetime(2026, 10, 1, tzinfo=UTC)}
                )


def enqueueing(added: int, kind: str = SQLITE) -> dict[str, Any]:
    """`store.queue.enqueue` of so many new records beside a bare executemany of the same rows.

    Each in one transaction, into an empty queue with all its indexes and triggers.
    """
    now = datetime.now(UTC)
    with database(kind) as ours, database(kind) as bare:
        for made in (ours, bare):
            with made.write() as session:
                session.add(Organisation(id=1, tenant_id="t", name="Bench", chosen=True))
        entries = _entries(added)
        gc.collect()
        began = time.perf_counter()
        with ours.write() as session:
            queue.enqueue(session, entries, now=now)
        own = time.perf_counter() - began
        with ours.read() as session:
            assert session.scalar(text("SELECT count(*) FROM xtiger_queue")) == added
        rows = list(_rows(entries, now))
        table: Any = QueueItem.__table__
        gc.collect()
        began = time.perf_counter()
        with bare.write() as session:
            session.connection().execute(insert(table), rows)
        least = time.perf_counter() - began
    ratio = least / own
    return {
        "what": "speed of an enqueue / of a bare executemany of the same rows",
        "database": kind,
        "records": added,
        "records per second": round(added / own),
        "rows per second of the executemany": round(added / least),
        "ratio": round(ratio, 3),
        "bound": f">= {LEAST_ENQUEUE}",
        "holds": verdict(ratio, least=LEAST_ENQUEUE),
    }


def _entries(count: int) -> list[queue.Entry]:
    return [
        queue.Entry(1, RecordRef(Module.CONTACTS, str(one)), label=f"Harbour Cafe {one}")
        for one in range(count)
    ]


def _rows(entries: Sequence[queue.Entry], now: datetime) -> Iterator[dict[str, Any]]:
    for entry in entries:
        yield {
            "organisation_id": 1,
            "module": entry.ref.module.value,
            "record_id": entry.ref.id,
            "label": entry.label,
            "resource": "Contacts",
            "rank": 10,
            "action": "Create",
            "state": State.PENDING.value,
            "slot": str(entry.ref),
            "tries": 0,
            "doubts": 0,
            "changes": 1,
            "needed": False,
            "urgent": False,
            "added_at": now,
            "changed_at": now,
        }

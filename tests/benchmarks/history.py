"""(d) What a million ended items cost a drain, and what the queue's own rules cost an enqueue."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from operator import truediv
from typing import Any

from sqlalchemy import bindparam, insert, text
from sqlalchemy.orm import Session

from tests.benchmarks.stage import (
    POSTGRES,
    SQLITE,
    Books,
    analyse,
    database,
    drained,
    median,
    stage,
    verdict,
)
from xtiger.domain.queueing import State
from xtiger.domain.records import Module, RecordRef
from xtiger.engine import intake
from xtiger.store import queue
from xtiger.store.models import Binding, Moment, Organisation, QueueItem
from xtiger.store.schema import Database

LEAST_DRAIN, LEAST_ENQUEUE = 0.95, 0.5
#: Elements of a call that ended long ago.
BATCH = 50


def measure(
    ended: int = 1_000_000,
    added: int = 100_000,
    chunk: int = 1000,
    rounds: int = 7,
    kind: str = SQLITE,
) -> dict[str, Any]:
    """Two figures, each with a bound of its own."""
    drain = draining(ended, chunk, rounds, kind)
    enqueued = enqueueing(added, min(rounds, 3), kind)
    return {
        "drain": drain,
        "enqueue": enqueued,
        "holds": drain["holds"] and enqueued["holds"],
    }


def draining(ended: int, chunk: int, rounds: int, kind: str = SQLITE) -> dict[str, Any]:
    """Records per second of CPU, with so many ended items and with none, turn by turn.

    Contacts against the local Xero's plain mode: the less a record costs otherwise, the more
    the history would show. The two databases take turns, so both meet the machine as it is.
    SQLite never counts its rows (ANALYZE) by itself, so it doesn't here; PostgreSQL does.
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
        if kind == POSTGRES:
            for made in (empty, full):
                analyse(made.database)
        speeds: dict[str, list[float]] = {"none": [], "ended": []}
        walls: dict[str, list[float]] = {"none": [], "ended": []}
        for turn in range(rounds + 1):
            for name, made in (("none", empty), ("ended", full)):
                cpu, wall = drained(made, chunk)
                if turn:  # the first one warms up
                    speeds[name].append(chunk / cpu)
                    walls[name].append(chunk / wall)
    # Of each turn, and the middle one: what slows a whole turn down is in both of its halves.
    ratio = median(map(truediv, speeds["ended"], speeds["none"]))
    return {
        "what": "drain speed with ended items / with none",
        "database": kind,
        "ended items, with log entry, journal and binding": ended,
        "ended calls": ended // BATCH,
        "records per CPU second with them": round(median(speeds["ended"])),
        "records per CPU second without": round(median(speeds["none"])),
        "the same by the clock": round(median(map(truediv, walls["ended"], walls["none"])), 3),
        "ratio": round(ratio, 3),
        "bound": f">= {LEAST_DRAIN}",
        "holds": verdict(ratio, least=LEAST_DRAIN),
    }


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
_ELEMENTS = """
    INSERT INTO xtiger_attempt_element (attempt_id, place, item_id, meant, label, record_version)
        {numbers}
    SELECT (i - 1) / 50 + 1, (i - 1) % 50, i, '{{}}', 'Old ' || i, '' FROM n
"""
#: Rows that one transaction of these writes.
_ROWS = 50_000


def write_history(made: Database, organisation_id: int, count: int) -> None:
    """So many ended items; of each its log entry, its place in a call, and what it is bound to."""
    at = datetime(2026, 10, 1, tzinfo=UTC)
    table: Any = Binding.__table__
    for statement, rows in (
        (_ITEMS, count),
        (_ENTRIES, count),
        (_CALLS, count // BATCH),
        (_ELEMENTS, count),
    ):
        ready = text(statement.format(numbers=_NUMBERS))
        known: dict[str, Any] = {}
        if statement is not _ELEMENTS:
            ready = ready.bindparams(bindparam("at", type_=Moment))
            known = {"one": organisation_id, "at": at}
        for first in range(1, rows + 1, _ROWS):
            known |= {"first": first, "last": min(rows, first + _ROWS - 1)}
            with made.write() as session:
                session.execute(ready, known)
    for first in range(1, count + 1, _ROWS):
        numbers = range(first, min(count, first + _ROWS - 1) + 1)
        with made.write() as session:
            session.connection().execute(insert(table), list(_bindings(organisation_id, numbers)))


def _bindings(organisation_id: int, numbers: range) -> Iterator[dict[str, Any]]:
    at = datetime(2026, 10, 1, tzinfo=UTC)
    for number in numbers:
        yield {
            "organisation_id": organisation_id,
            "module": "Contacts",
            "record_id": f"old{number}",
            "resource": "Contacts",
            # Scattered as Xero's ids are, so that new ones fall between them.
            "xero_id": f"{number * 2_654_435_761 % 2**32:08x}-0000-4000-8000-{number:012}",
            "needed": False,
            "written_back": True,
            "bound_at": at,
            "agreed_at": at,
        }


def enqueueing(added: int, rounds: int = 3, kind: str = SQLITE) -> dict[str, Any]:
    """`store.queue.enqueue` of so many new records beside a bare executemany of the same rows.

    Each in one transaction, into an empty queue with all its indexes and triggers, turn by turn.
    SQLite works in this process, so its CPU is the whole of it, whoever else keeps the machine
    busy; PostgreSQL has a process of its own, and the clock is what both have in common.
    """
    now = datetime.now(UTC)
    entries = _entries(added)
    rows = list(_rows(entries, now))
    table: Any = QueueItem.__table__

    def bare(session: Session) -> None:
        session.connection().execute(insert(table), rows)

    spent: dict[str, list[tuple[float, float]]] = {"own": [], "bare": []}
    for _ in range(rounds):
        spent["own"].append(
            _filled(kind, added, lambda session: queue.enqueue(session, entries, now=now))
        )
        spent["bare"].append(_filled(kind, added, bare))
    cpu = {name: median(one[0] for one in each) for name, each in spent.items()}
    wall = {name: median(one[1] for one in each) for name, each in spent.items()}
    took = cpu if kind == SQLITE else wall
    ratio = took["bare"] / took["own"]
    return {
        "what": "speed of an enqueue / of a bare executemany of the same rows",
        "database": kind,
        "records": added,
        "records per second": round(added / took["own"]),
        "rows per second of the executemany": round(added / took["bare"]),
        "counted by": "CPU" if took is cpu else "the clock",
        "by CPU": round(cpu["bare"] / cpu["own"], 3),
        "by the clock": round(wall["bare"] / wall["own"], 3),
        "ratio": round(ratio, 3),
        "bound": f">= {LEAST_ENQUEUE}",
        "holds": verdict(ratio, least=LEAST_ENQUEUE),
    }


def _filled(kind: str, added: int, write: Callable[[Session], object]) -> tuple[float, float]:
    """Seconds of CPU and of the clock of one transaction into an empty queue."""
    with database(kind) as made:
        with made.write() as session:
            session.add(Organisation(id=1, tenant_id="t", name="Bench", chosen=True))
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        with made.write() as session:
            write(session)
        spent = time.process_time() - cpu, time.perf_counter() - wall
        with made.read() as session:
            assert session.scalar(text("SELECT count(*) FROM xtiger_queue")) == added
    return spent


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

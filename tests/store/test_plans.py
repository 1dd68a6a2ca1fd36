"""The hot queries use their partial indexes, and ended rows cost a claim nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.orm import Session

from tests.store.conftest import NOW, add_organisation, ref, undone
from xtiger.domain.records import Module
from xtiger.engine import needed
from xtiger.store import bindings, claims, inbox, journal, logs, queue
from xtiger.store.models import QueueItem
from xtiger.store.schema import Database, migrate


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database whose queue has 50,000 ended rows and a few waiting ones."""
    database = _with_ended_rows(tmp_path_factory.mktemp("grown"), 50_000)
    with database.engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    yield database
    database.close()


@pytest.fixture(scope="module")
def uncounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The same where ANALYZE never ran: plans don't depend on how many rows there are then."""
    database = _with_ended_rows(tmp_path_factory.mktemp("uncounted"), 500)
    yield database
    database.close()


def _with_ended_rows(folder: Path, ended_rows: int) -> Database:
    database = Database(f"sqlite:///{folder / 'x.sqlite'}")
    migrate(database)
    one, two = add_organisation(database, "Kauri"), add_organisation(database, "Thames")
    ended = [
        {
            "organisation_id": one if number % 2 else two,
            "module": "Invoices",
            "record_id": str(number % 9000),
            "resource": "Invoices",
            "rank": 50,
            "state": "succeeded",
            "added_at": NOW,
            "changed_at": NOW,
        }
        for number in range(ended_rows)
    ]
    with database.write() as session:
        session.execute(insert(QueueItem), ended)
    with database.write() as session:
        queue.enqueue(session, [queue.Entry(one, ref(n)) for n in range(400)], now=NOW)
    return database


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """The query plan of each statement as it really goes out."""
    found: list[str] = []
    asking = False

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        nonlocal asking
        if asking or not statement.lstrip().startswith(("SELECT", "UPDATE")):
            return
        asking = True
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        found.append(f"{statement}\n  " + " | ".join(str(row[3]) for row in rows))
        asking = False

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)


HOT: dict[str, tuple[Callable[[Session], object], str]] = {
    "claim": (
        lambda session: claims.claim(
            session, 1, rank=50, up_to=10**9, after=0, limit=200, now=NOW, run_id=None
        ),
        "ix_xtiger_queue_due",
    ),
    "due_ranks": (
        lambda session: claims.due_ranks(session, 1, up_to=10**9, now=NOW),
        "ix_xtiger_queue_due",
    ),
    "due_count": (lambda session: claims.due_count(session, 1, now=NOW), "ix_xtiger_queue_due"),
    "any_due": (lambda session: claims.any_due(session, 1, now=NOW), "ix_xtiger_queue_due"),
    "retry_by_schedule": (
        lambda session: queue.retry_by_schedule(
            session, 1, Module.INVOICES, most=3, now=NOW, before=NOW
        ),
        "ix_xtiger_queue_",
    ),
    "running": (lambda session: queue.running(session, 1), "ix_xtiger_queue_"),
    "release": (lambda session: queue.release_children(session, [1]), "ix_xtiger_queue_blocked"),
    "stranded": (lambda session: queue.release_stranded(session, 1), "ix_xtiger_queue_"),
    "still_open": (lambda session: journal.still_open(session, 1), "ix_xtiger_attempt_open"),
    "unwritten": (lambda session: bindings.unwritten(session, 1), "ix_xtiger_binding_unwritten"),
    "mails": (lambda session: logs.waiting_mails(session, now=NOW), "ix_xtiger_mail_waiting"),
    "runs": (lambda session: logs.unended_runs(session, 1), "ix_xtiger_run_asked"),
    "open_items": (
        lambda session: queue.open_items(session, 1, [ref(1), ref(2)]),
        "ix_xtiger_queue_record",
    ),
    "webhooks": (lambda session: inbox.waiting(session, limit=5), "ix_xtiger_webhook_handled"),
    "old_webhooks": (
        lambda session: inbox.forget(session, before=NOW, limit=5),
        "ix_xtiger_webhook_handled",
    ),
    "inbox": (
        lambda session: inbox.take(session, 1, limit=5),
        "sqlite_autoindex_xtiger_xero_change",
    ),
}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_query_uses_its_index(grown: Database, name: str) -> None:
    ask, index = HOT[name]
    with plans(grown) as found, undone(grown) as session:
        ask(session)
    assert index in found[0], found[0]
    assert "SCAN xtiger_queue" not in found[0].replace("USING INDEX", "#")
    if name == "claim":
        assert "USE TEMP B-TREE" not in found[0]


NARROW = claims.Narrow(
    paused=frozenset({"Quotes"}),
    only_run=1,
    caps={"Invoices": 5},
    wanted_below=50,
    since={"Contacts": NOW, "Products": None},
)
URGENT = replace(NARROW, urgent=True)


@pytest.mark.parametrize("counted", ["uncounted", "grown"])
@pytest.mark.parametrize(
    ("narrow", "index"),
    [
        (claims.ALL, "ix_xtiger_queue_due"),
        (NARROW, "ix_xtiger_queue_due"),
        (URGENT, "ix_xtiger_queue_urgent"),
    ],
    ids=["all", "narrow", "urgent"],
)
def test_a_claim_meets_only_what_waits_in_its_own_organisation_and_turn(
    request: pytest.FixtureRequest, counted: str, narrow: claims.Narrow, index: str
) -> None:
    database: Database = request.getfixturevalue(counted)
    known: dict[str, Any] = {"up_to": 10**9, "now": NOW, "narrow": narrow}
    with plans(database) as found, undone(database) as session:
        claims.due_ranks(session, 1, **known)
        claims.claim(session, 1, rank=50, after=0, limit=200, run_id=None, **known)
    ranks, claim = found[:2]
    assert f"INDEX {index} (organisation_id=?" in ranks, ranks
    assert f"INDEX {index} (organisation_id=? AND rank=?" in claim, claim
    assert "USE TEMP B-TREE" not in ranks + claim


@pytest.mark.parametrize("counted", ["uncounted", "grown"])
def test_what_waits_for_needed_records_is_read_in_its_order(
    request: pytest.FixtureRequest, counted: str
) -> None:
    """Neither what failed for other causes nor what was read before is met again."""
    database: Database = request.getfixturevalue(counted)
    with plans(database) as found, database.read() as session:
        needed.some(session, [1, 2], cause="parent-not-selected:Contacts", after=7)
    assert "INDEX ix_xtiger_queue_cause (cause=? AND id>?)" in found[0], found[0]
    assert "TEMP B-TREE" not in found[0], found[0]


def test_the_last_position_is_found_without_counting(grown: Database) -> None:
    with plans(grown) as found, grown.read() as session:
        claims.mark(session)
    assert "SEARCH xtiger_queue" in found[0]


def test_a_claim_stays_fast_beside_fifty_thousand_ended_rows(grown: Database) -> None:
    seconds = []
    for _ in range(5):
        with undone(grown) as session:
            began = time.perf_counter()
            claimed = HOT["claim"][0](session)
            claims.due_ranks(session, 1, up_to=claims.mark(session), now=NOW)
            seconds.append(time.perf_counter() - began)
            assert len(claimed) == 200  # type: ignore[arg-type]
    assert min(seconds) < 0.1

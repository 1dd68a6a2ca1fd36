"""Several machines: tokens wake whoever is free, and a machine that dies takes nothing along."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from tests.conftest import free_port
from tests.fleet.yard import SMALL_CALLS, Hand, Yard, until
from xtiger import fleet as fleets
from xtiger.domain.errors import PermanentError
from xtiger.migrations import include_name
from xtiger.store.models import Attempt, Worker
from xtiger.store.schema import Database


@pytest.fixture
def shared(migrated_postgresql_url: str) -> Any:
    """A database with room for tokens."""
    database = Database(migrated_postgresql_url)
    fleets.prepare(database)
    yield database
    database.close()


@contextmanager
def among_tokens(database: Database) -> Iterator[Any]:
    """A transaction that sees the tables for tokens."""
    with database.write() as session:
        session.execute(text(f"SET LOCAL search_path TO {fleets.schema_name()}, public"))
        yield session


def tokens(database: Database) -> list[tuple[str, str]]:
    """(organisation, status) of each token, oldest first."""
    with among_tokens(database) as session:
        found = session.execute(
            text("SELECT queueing_lock, status::text FROM procrastinate_jobs ORDER BY id")
        )
        return [(lock, status) for lock, status in found]


def test_one_token_waits_for_each_organisation(shared: Database) -> None:
    waker = fleets.Tokens(shared)
    assert not waker.waiting()
    for organisation in (1, 2, 1, 2, 1):
        waker.wake(organisation)
    assert tokens(shared) == [("1", "todo"), ("2", "todo")]
    assert waker.waiting()


def test_a_token_that_died_with_its_worker_keeps_no_other_one_out(shared: Database) -> None:
    waker = fleets.Tokens(shared)
    waker.wake(1)
    with among_tokens(shared) as session:
        session.execute(text("UPDATE procrastinate_jobs SET status = 'doing'"))
    waker.wake(1)
    assert tokens(shared) == [("1", "doing"), ("1", "todo")]


def test_a_wake_that_fails_is_left_to_the_workers_ticks(postgres_url: str, capfd: Any) -> None:
    database = Database(postgres_url)
    fleets.Tokens(database).wake(1)  # there are no tables
    database.close()
    assert "Traceback" not in capfd.readouterr().err


def test_processes_that_start_together_make_the_tables_once(
    postgres_url: str, threads: Callable[..., Any]
) -> None:
    databases = [Database(postgres_url) for _ in range(4)]
    started = [threads(fleets.prepare, each) for each in databases]
    for thread in started:
        thread.join()
    fleets.Tokens(databases[0]).wake(7)
    assert tokens(databases[0]) == [("7", "todo")]
    for each in databases:
        each.close()


def test_tables_of_older_versions_go_once_their_workers_have(shared: Database) -> None:
    made = "CREATE SCHEMA {0}; CREATE TABLE {0}.procrastinate_workers (last_heartbeat timestamptz)"
    with shared.write() as session:
        for name in ("xtiger_fleet_010000", "xtiger_fleet_020000", "xtiger_fleet_990000"):
            session.execute(text(made.format(name)))
        session.execute(
            text("INSERT INTO xtiger_fleet_020000.procrastinate_workers VALUES (now())")
        )
    fleets.prepare(shared)
    with shared.read() as session:
        left = session.scalars(
            text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'xtiger%' ORDER BY 1")
        ).all()
    # A newer version's, and one in use: their machines still work with them.
    assert left == ["xtiger_fleet_020000", fleets.schema_name(), "xtiger_fleet_990000"]


def test_nothing_of_it_lies_where_a_host_keeps_its_own(shared: Database) -> None:
    with shared.read() as session:
        found = session.scalars(
            text(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename ~ 'pro'"
            )
        ).all()
    assert [name for name in found if name.startswith("procrastinate")] == []
    assert not include_name(fleets.schema_name(), "schema", {})
    assert include_name("public", "schema", {})


def test_without_postgresql_a_sentence_says_what_to_do(tmp_path: Any) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with pytest.raises(PermanentError, match="needs PostgreSQL.*without --fleet"):
        fleets.prepare(database)
    database.close()


def test_a_database_user_without_the_right_is_told_which(shared: Database) -> None:
    with shared.write() as session:
        session.execute(text(f"DROP SCHEMA {fleets.schema_name()} CASCADE"))
        session.execute(text("CREATE ROLE guest LOGIN"))
    guest = Database(shared.url.set(username="guest"))
    try:
        with pytest.raises(PermanentError, match="GRANT CREATE ON DATABASE"):
            fleets.prepare(guest)
    finally:
        guest.close()
        with shared.write() as session:
            session.execute(text("DROP ROLE guest"))


def test_three_machines_share_the_work_and_a_dead_one_loses_and_doubles_nothing(
    fleet: Yard,
) -> None:
    hands = fleet.start_several(3, "worker", "--fleet", first=SMALL_CALLS)
    kauri, thames = fleet.organisations
    fleet.invoices(kauri, 150)
    fleet.invoices(thames, 60)
    fleet.slow(0.4)
    fleet.sync()
    until(lambda: fleet.created().total() > 10 and fleet.holder(kauri))
    doomed = fleet.hand_of(kauri)
    doomed.kill()
    killed = time.monotonic()
    assert fleet.holder(kauri) == doomed.name, "its lease is still its own"

    until(lambda: fleet.holder(kauri) not in (None, doomed.name))
    assert time.monotonic() - killed < 9 + 6, "its lease lasts 9 s; a tick or two find it"
    until(fleet.all_over)
    assert set(fleet.created().values()) == {1}, "none is doubled"
    assert len(fleet.created()) == 210, "none is lost"
    until(lambda: fleet.scalar("SELECT count(*) FROM xtiger_run WHERE ended_at IS NULL") == 0)
    assert all(hand.process.poll() is None for hand in hands if hand is not doomed)


def test_one_that_is_told_to_end_hands_over_between_two_calls(fleet: Yard) -> None:
    fleet.start_several(2, "worker", "--fleet", first=SMALL_CALLS)
    kauri = fleet.organisations[0]
    fleet.invoices(kauri, 120)
    fleet.slow(0.3)
    fleet.sync()
    until(lambda: fleet.created().total() >= 10)
    leaving = fleet.hand_of(kauri)
    assert leaving.tell_to_end() == 0
    assert fleet.scalar("SELECT count(*) FROM xtiger_attempt WHERE sends > 1") == 0
    until(fleet.all_over)
    assert set(fleet.created().values()) == {1}
    with fleet.stage.services.database.read() as session:
        assert [row.name for row in session.query(Worker)] == [
            hand.name for hand in fleet.hands if hand is not leaving
        ]
        outcomes = {row.outcome for row in session.query(Attempt)}
    assert outcomes == {"settled"}, "no call was cut off"
    assert "Traceback" not in fleet.said(leaving)


def freeze_at_rest(worker: Hand, database: Database) -> None:
    """Stops a worker that is in no transaction: whoever holds a lock would stop others too."""
    asked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    )
    for _look in range(200):
        worker.freeze()
        time.sleep(0.05)  # what others had under way is over by then
        with database.read() as session:
            if not session.scalar(asked):
                return
        worker.process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError("it never rests")


def test_a_server_apart_only_wakes_the_fleet(fleet: Yard) -> None:
    worker = fleet.start("worker", "--fleet")
    fleet.more["XTIGER_FLEET"] = "yes"
    port = str(free_port())
    fleet.start("serve", "--port", port)
    kauri = fleet.organisations[0]
    fleet.invoices(kauri, 3)
    freeze_at_rest(worker, fleet.stage.services.database)
    fleet.sync()
    time.sleep(1.5)
    assert fleet.created().total() == 0, "the server itself sends nothing"
    worker.process.send_signal(signal.SIGCONT)
    until(lambda: fleet.created().total() == 3)


def test_a_worker_without_postgresql_ends_with_a_sentence(yard: Yard) -> None:
    if "sqlite" not in yard.stage.database_url:
        pytest.skip("it is there")
    told = yard.call("worker", "--fleet")
    assert told.returncode == 1
    assert told.stderr.startswith("Error: A fleet needs PostgreSQL")
    yard.more["XTIGER_FLEET"] = "yes"
    told = yard.call("serve")
    assert told.returncode == 1
    assert told.stderr.startswith("Error: XTIGER_FLEET is set. A fleet needs PostgreSQL")


def test_tokens_of_killed_workers_are_taken_out(fleet: Yard) -> None:
    """They block nobody, but they'd stay for ever."""
    fleet.start("worker", "--fleet").tell_to_end()
    with among_tokens(fleet.stage.services.database) as session:
        session.execute(
            text(
                "WITH gone AS (INSERT INTO procrastinate_workers (last_heartbeat)"
                " VALUES (now() - interval '10 minutes') RETURNING id)"
                " INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, status,"
                " worker_id) SELECT 'xtiger', 'drain', '99', 'doing', id FROM gone"
            )
        )
    fleet.start("worker", "--fleet")
    until(lambda: tokens(fleet.stage.services.database) == [])

"""Heartbeats in the database, and the schedule's beat that all processes share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

from tests.locks import until_waiting
from tests.store.conftest import NOW
from xtiger.store import profiles, workers
from xtiger.store.schema import Database

INTERVAL = timedelta(seconds=300)


def beat(database: Database, name: str, after: timedelta = timedelta()) -> None:
    with database.write() as session:
        workers.beat(session, name, kind="worker", now=NOW + after)


def known(database: Database, after: timedelta = timedelta()) -> list[tuple[str, float]]:
    """Names and seconds since their heartbeat."""
    with database.read() as session:
        return [
            (row.name, (NOW + after - row.beat_at).total_seconds())
            for row in workers.known(session, now=NOW + after)
        ]


def take(database: Database, after: timedelta) -> bool:
    with database.write() as session:
        return workers.take_schedule(session, now=NOW + after, every=INTERVAL)


def due(database: Database, after: timedelta) -> bool:
    with database.read() as session:
        return workers.schedule_is_due(session, now=NOW + after, every=INTERVAL)


def test_a_heartbeat_is_one_row_a_process(database: Database) -> None:
    for seconds in (0, 10, 20):
        beat(database, "one", timedelta(seconds=seconds))
    beat(database, "two", timedelta(seconds=20))
    assert known(database, timedelta(seconds=25)) == [("one", 5), ("two", 5)]
    with database.write() as session:
        workers.leave(session, "one")
    assert known(database, timedelta(seconds=25)) == [("two", 5)]


def test_who_was_silent_for_an_hour_is_forgotten(database: Database) -> None:
    beat(database, "gone")
    later = timedelta(hours=1, seconds=1)
    assert known(database, later) == []
    beat(database, "new", later)
    with database.read() as session:
        assert [row.name for row in session.query(workers.Worker)] == ["new"]


def test_the_schedule_beats_once_an_interval_however_many_ask(
    database: Database, second: Database
) -> None:
    assert not take(database, timedelta()), "the first only notes when"
    assert not due(second, timedelta(seconds=299))
    assert not take(second, timedelta(seconds=299))
    assert due(second, timedelta(seconds=300))
    assert take(second, timedelta(seconds=300))
    assert not take(database, timedelta(seconds=310)), "a machine that started later waits too"
    assert take(database, timedelta(seconds=600))


def test_of_processes_that_ask_at_once_one_gets_the_beat(
    database: Database, threads: Callable[..., threading.Thread]
) -> None:
    take(database, timedelta())
    taken: list[bool] = []
    started = threading.Barrier(4)

    def ask() -> None:
        started.wait()
        taken.append(take(database, INTERVAL))

    for thread in [threads(ask) for _ in range(4)]:
        thread.join()
    assert sorted(taken) == [False, False, False, True]


def test_two_that_come_first_at_once_dont_break_each_other(
    database: Database, threads: Callable[..., threading.Thread]
) -> None:
    ends: list[bool] = []
    with database.write() as session:
        assert not workers.take_schedule(session, now=NOW, every=INTERVAL)
        other = threads(lambda: ends.append(take(database, timedelta())))
        until_waiting(database)
    other.join()
    assert ends == [False]


def test_a_clock_that_was_put_back_doesnt_stop_the_schedule(database: Database) -> None:
    take(database, timedelta())
    assert due(database, -2 * INTERVAL)
    with database.write() as session:
        profiles.put_setting(session, workers.SCHEDULED, "nonsense", who="", now=NOW)
    assert take(database, timedelta())

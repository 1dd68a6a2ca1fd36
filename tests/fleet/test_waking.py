"""A run that is asked for begins at once, whichever process asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from sqlalchemy import text

from tests.conftest import Engine
from tests.engine.scenes import KAURI
from tests.fleet.yard import Yard, until
from tests.store.conftest import NOW, add_organisation, undone
from xtiger.domain.errors import TransientError
from xtiger.engine import beats
from xtiger.engine.services import Services
from xtiger.store import logs, wakes
from xtiger.store.models import Run
from xtiger.store.schema import Database

#: Seconds between two ticks of a worker: what is faster wasn't one.
TICK = beats.TICK
#: Seconds within which a run begins where nobody else needs the machine.
AT_ONCE = 0.6


def ask(services: Services, organisation_id: int) -> int:
    """Asks for a run and wakes nobody in this process."""
    with services.database.write() as session:
        now = services.clock.now()
        return logs.ask_run(
            session, organisation_id, kind="instant", requested_by="Ana", now=now
        ).id


def delay(
    services: Services, organisation_id: int, then: Callable[[int], object] = lambda _one: None
) -> float:
    """Seconds from the commit of an asked run to its start by a worker."""
    run_id = ask(services, organisation_id)
    committed = services.clock.now()
    then(organisation_id)

    def run() -> Run:
        with services.database.read() as session:
            return session.get_one(Run, run_id)

    until(lambda: run().ended_at)
    started = run().started_at
    assert started is not None
    return (started - committed).total_seconds()


def delays(yard: Yard, times: int = 8) -> list[float]:
    """The same again and again, at any moment between two ticks."""
    found = []
    for number in range(times):
        time.sleep(0.13 * number % 0.7)
        found.append(delay(yard.stage.services, yard.organisations[0]))
    return found


def test_another_process_hears_of_it_long_before_its_tick(yard: Yard) -> None:
    yard.start("worker")
    found = delays(yard)
    print("seconds to start, by a worker:", sorted(round(one, 3) for one in found))
    assert median(found) < AT_ONCE
    assert max(found) < TICK, "each by itself, too"


def test_the_fleet_hears_of_it_too(fleet: Yard) -> None:
    fleet.more["XTIGER_TIME_FACTOR"] = "1"
    fleet.start("worker", "--fleet")
    found = delays(fleet)
    print("seconds to start, by the fleet:", sorted(round(one, 3) for one in found))
    assert median(found) < AT_ONCE


def test_nobody_hears_of_what_is_rolled_back(
    database: Database, second: Database, threads: Callable[..., threading.Thread]
) -> None:
    one, two = add_organisation(database, "One"), add_organisation(database, "Two")
    heard: list[int] = []
    ending = threading.Event()
    threads(wakes.listen, second, heard.append, ending)
    time.sleep(0.7)
    with undone(database) as session:
        _ask(session, one)
    with database.write() as session:
        _ask(session, two)
    until(lambda: heard, 10)
    time.sleep(0.3)
    ending.set()
    assert heard == [two]


def _ask(session: Any, organisation_id: int) -> None:
    logs.ask_run(session, organisation_id, kind="instant", requested_by="Ana", now=NOW)


def test_a_listener_whose_database_goes_away_says_so(postgres_url: str) -> None:
    database = Database(postgres_url)
    ending = threading.Event()
    told: list[str] = []

    def listen() -> None:
        try:
            wakes.listen(database, lambda _one: None, ending)
        except TransientError as failure:
            told.append(failure.sentence)

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(1)
    other = Database(postgres_url)
    with other.read() as session:
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    thread.join(10)
    assert not thread.is_alive()
    assert told[0].startswith("The database doesn't answer")
    database.close()
    other.close()


def test_an_ask_in_the_same_process_needs_no_listener(sqlite_engine: Engine) -> None:
    """The dispatcher is told directly."""
    one = sqlite_engine.connect(KAURI)[KAURI]
    services = sqlite_engine.worker("embedded")
    services.dispatcher = embedded = beats.Embedded(services)
    embedded.start()
    try:
        time.sleep(0.5)
        found = [delay(services, one, embedded.wake) for _ in range(5)]
    finally:
        embedded.stop()
    print("seconds to start, in the same process:", sorted(round(each, 3) for each in found))
    assert median(found) < AT_ONCE / 3

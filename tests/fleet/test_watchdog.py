"""A process that can't show that it lives ends itself, long before its leases do."""

from __future__ import annotations

import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, update

from tests.conftest import Engine
from tests.engine.scenes import KAURI
from tests.fleet.conftest import yard_on
from tests.fleet.yard import Yard, until
from xtiger.engine.upkeep.watchdog import ENDED, Watchdog
from xtiger.store.models import Organisation, Worker

#: Seconds of silence that end the processes here: more than a third of their leases of 9 s.
SILENCE = 4.0
IMPATIENT = f"from xtiger.engine.upkeep import watchdog; watchdog.LEAST = {SILENCE}"


class Line:
    """A line to a database's socket, which can be cut: nothing passes, nobody is told."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._cut = threading.Event()
        self._ending = threading.Event()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        threading.Thread(target=self._answer, daemon=True).start()

    def cut(self) -> None:
        self._cut.set()

    def close(self) -> None:
        self._ending.set()
        self._door.close()

    def _answer(self) -> None:
        while not self._ending.is_set():
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        while not self._ending.is_set():
            ready, _, _ = select.select([one], [], [], 0.1)
            if self._cut.is_set() or not ready:
                continue
            try:
                got = one.recv(65536)
                other.sendall(got)
            except OSError:
                got = b""
            if not got:
                other.close()
                return


@pytest.fixture
def lined(migrated_postgresql_url: str, tmp_path: Path) -> Iterator[tuple[Yard, Line]]:
    """A yard whose workers reach the database through a line."""
    url = make_url(migrated_postgresql_url)
    line = Line(f"{url.query['host']}/.s.PGSQL.{url.port or 5432}")
    with yard_on(migrated_postgresql_url, tmp_path / "yard", 0.05) as yard:
        through = url.set(host="127.0.0.1", port=line.port, query={})
        yard.more["XTIGER_DATABASE_URL"] = through.render_as_string(hide_password=False)
        yield yard, line
    line.close()


@pytest.mark.parametrize("kind", [("worker",), ("worker", "--fleet")])
def test_a_worker_that_is_cut_off_from_its_database_ends_at_once(
    lined: tuple[Yard, Line], kind: tuple[str, ...]
) -> None:
    yard, line = lined
    hand = yard.start(*kind, first=IMPATIENT)
    until(lambda: yard.scalar("SELECT count(*) FROM xtiger_worker") == 1)
    line.cut()
    cut = time.monotonic()
    assert hand.process.wait(SILENCE * 2 + 10) == ENDED
    assert SILENCE / 2 < time.monotonic() - cut < SILENCE + SILENCE / 3 + 3
    said = yard.said(hand)
    assert "The database hasn't taken a heartbeat for" in said
    assert "Traceback" not in said


def test_a_frozen_machine_that_wakes_up_later_ends_too(fleet: Yard) -> None:
    hand = fleet.start("worker", "--fleet", first=IMPATIENT)
    hand.freeze()
    time.sleep(SILENCE + 2)
    hand.process.send_signal(signal.SIGCONT)
    assert hand.process.wait(5) == ENDED


def test_a_worker_that_is_well_lives_on(sqlite_engine: Engine) -> None:
    bitten: list[int] = []
    dog = Watchdog(sqlite_engine.services, "worker", end=bitten.append)
    dog.start()
    until(lambda: worker_names(sqlite_engine) == ["first"])
    time.sleep(1.5)
    dog.stop()
    assert worker_names(sqlite_engine) == []
    assert bitten == []


def worker_names(engine: Engine) -> list[str]:
    with engine.database.read() as session:
        return [row.name for row in session.query(Worker)]


@pytest.mark.parametrize("holder", ["first", "another"])
def test_a_drain_that_hangs_beyond_its_lease_ends_the_process(
    database: object, local_xero: object, holder: str, request: pytest.FixtureRequest
) -> None:
    """Whether or not another worker has gone on meanwhile."""
    engine = hanging(request)
    one = engine.connect(KAURI)[KAURI]
    services = engine.services
    lease(engine, one, holder, -1 if holder == "first" else 60)
    bitten: list[int] = []
    services.under_way[threading.get_ident()] = (one, time.monotonic() - 100)
    dog = Watchdog(services, "worker", end=bitten.append)
    dog.start()
    until(lambda: bitten, 20)
    dog.stop()
    assert set(bitten) == {ENDED}


def test_a_drain_that_lasts_long_and_renews_its_lease_is_well(
    database: object, local_xero: object, request: pytest.FixtureRequest
) -> None:
    engine = hanging(request)
    one = engine.connect(KAURI)[KAURI]
    lease(engine, one, "first", 60)
    bitten: list[int] = []
    engine.services.under_way[threading.get_ident()] = (one, time.monotonic() - 100)
    dog = Watchdog(engine.services, "worker", end=bitten.append)
    dog.start()
    time.sleep(4)
    dog.stop()
    assert bitten == []


def hanging(request: pytest.FixtureRequest) -> Engine:
    """An engine whose leases last two seconds."""
    engine = Engine(
        request.getfixturevalue("database"), request.getfixturevalue("local_xero"), time_factor=0.01
    )
    request.addfinalizer(engine.close)
    return engine


def lease(engine: Engine, organisation_id: int, holder: str, seconds: float) -> None:
    with engine.database.write() as session:
        session.execute(
            update(Organisation)
            .where(Organisation.id == organisation_id)
            .values(
                holder=holder,
                lease_until=engine.services.clock.now() + timedelta(seconds=seconds),
            )
        )

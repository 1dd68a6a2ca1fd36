"""Yards: worker processes on each kind of database and a local Xero of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.stage import Stage, local_xero
from tests.fleet.yard import Yard
from xtiger.store.schema import Database


@contextmanager
def yard_on(url: str, folder: Path, factor: float) -> Iterator[Yard]:
    """A yard with both organisations connected and live; its processes end with it."""
    folder.mkdir()
    with local_xero(folder, factor) as xero:
        yard = Yard(Stage("fleet", folder, factor, xero, url))
        yard.stage.open()
        try:
            yield yard
        finally:
            yard.close()
            yard.stage.services.database.close()
            with yard.stage.app.app_context():
                yard.stage.app.extensions["sqlalchemy"].engine.dispose()


@pytest.fixture
def fleet(migrated_postgresql_url: str, tmp_path: Path) -> Iterator[Yard]:
    """Where several machines share PostgreSQL; a lease lasts 9 s."""
    with yard_on(migrated_postgresql_url, tmp_path / "yard", 0.05) as yard:
        yield yard


@pytest.fixture
def yard(migrated_url: str, tmp_path: Path) -> Iterator[Yard]:
    """On each kind of database; time runs as it does in life."""
    with yard_on(migrated_url, tmp_path / "yard", 1.0) as yard:
        yield yard


@pytest.fixture
def threads() -> Iterator[Callable[..., threading.Thread]]:
    """Starts threads that have ended when the test does."""
    started: list[threading.Thread] = []

    def start(target: Callable[..., Any], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        started.append(thread)
        thread.start()
        return thread

    yield start
    for thread in started:
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def second(database: Database) -> Iterator[Database]:
    """The same database as another process sees it."""
    other = Database(database.url)
    yield other
    other.close()

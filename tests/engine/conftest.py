"""Engines of the flow's tests: SQLite for what is said in Python, both for what SQL promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Engine
from xtiger.store.schema import Database


@pytest.fixture
def each_engine(database: Database, local_xero: Any) -> Iterator[Engine]:
    """An engine on each kind of database."""
    engine = Engine(database, local_xero)
    yield engine
    engine.close()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    """An engine on SQLite alone."""
    found: Engine = request.getfixturevalue("sqlite_engine")
    return found


@pytest.fixture
def engine_on_postgres(migrated_postgresql_url: str, local_xero: Any) -> Iterator[Engine]:
    """An engine on PostgreSQL alone, for what SQLite's single writer rules out."""
    database = Database(migrated_postgresql_url)
    engine = Engine(database, local_xero)
    yield engine
    engine.close()
    database.close()

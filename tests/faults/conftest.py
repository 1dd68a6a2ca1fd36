"""Engines of the fault tests: SQLite for what is said in Python, both for what SQL promises."""

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

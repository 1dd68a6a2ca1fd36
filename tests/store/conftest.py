"""Shared parts of the store's tests: an organisation, the small CRM's sessions, a fixed moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from xtiger.crm.builtin import crm_of
from xtiger.domain.records import Module, RecordRef
from xtiger.store.models import Organisation
from xtiger.store.schema import Database

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def ref(number: int, module: Module = Module.INVOICES) -> RecordRef:
    return RecordRef(module, str(number))


@contextmanager
def refused(database: Database, error: type[BaseException]) -> Iterator[Session]:
    """A transaction that must end with this error."""
    with pytest.raises(error), database.write() as session:
        yield session


@contextmanager
def undone(database: Database) -> Iterator[Session]:
    """A transaction that is rolled back: what follows finds all as it was."""
    with refused(database, InterruptedError) as session:
        yield session
        raise InterruptedError


@pytest.fixture
def organisation(database: Database) -> int:
    """A chosen organisation that nobody works on."""
    return add_organisation(database, "Kauri Trading")


def add_organisation(database: Database, name: str) -> int:
    with database.write() as session:
        row = Organisation(tenant_id=name, name=name, chosen=True)
        session.add(row)
        session.flush()
        return int(row.id)


@pytest.fixture
def host(database: Database) -> Iterator[Any]:
    """The CRM's own sessions, watched, on an engine of the CRM's own."""
    engine = create_engine(database.url)
    sessions = sessionmaker(engine, expire_on_commit=False)
    crm_of(sessions).watch(sessions, lambda: NOW)
    yield sessions
    engine.dispose()

"""A healthy database, ways to break it, and looks at what changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import create_engine, select, text
from sqlalchemy.pool import NullPool

from tests.engine.test_housekeeping import services_on
from tests.store.history import fill, organisations
from xtiger.domain.records import Module, RecordRef
from xtiger.engine.services import Services
from xtiger.engine.upkeep import doctor
from xtiger.store import queue
from xtiger.store.models import (
    Base,
    Connection,
    Organisation,
)
from xtiger.store.schema import Database

KAURI, THAMES = 1, 2
#: Items that wait, behind 100 ended ones.
FIRST, SECOND = 101, 102


def healthy(database: Database) -> Services:
    """Two connected organisations with a history; for the first one five invoices wait."""
    services = services_on(database)
    now = services.clock.now()
    assert organisations(database, "Kauri", "Thames") == [KAURI, THAMES]
    begin = now - timedelta(days=9)
    assert fill(database, [KAURI, THAMES], begin=begin, runs=5) == FIRST - 1
    with database.write() as session:
        consent = Connection(connected_at=now)
        session.add(consent)
        session.flush()
        for row in session.scalars(select(Organisation)):
            row.connection_id = consent.id
        entries = [
            queue.Entry(KAURI, RecordRef(Module.INVOICES, f"w{number}")) for number in range(5)
        ]
        assert min(queue.enqueue(session, entries, now=now).values()) == FIRST
    return services


def lease(services: Services, organisation_id: int, *, seconds: float) -> None:
    with services.database.write() as session:
        row = session.get_one(Organisation, organisation_id)
        row.holder = "other"
        row.lease_until = services.clock.now() + timedelta(seconds=seconds)


def checks(services: Services) -> set[str]:
    """The names of what the doctor finds; every finding is whole sentences."""
    found = doctor.examine(services).findings
    for one in found:
        assert one.sentence.endswith(".")
        assert one.action
        assert one.rows > 0
    return {one.check for one in found}


@contextmanager
def lawless(database: Database) -> Iterator[Any]:
    """A connection on which the database's rules don't hold; they are back afterwards."""
    engine = create_engine(database.url, poolclass=NullPool)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection
            return
        triggers = connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        ).all()
        for name, _sql in triggers:
            connection.execute(text(f"DROP TRIGGER {name}"))
        yield connection
        for _name, sql in triggers:
            connection.exec_driver_sql(sql)


def breaks(services: Services, *statements: str, **values: int) -> None:
    values = {"first": FIRST, "second": SECOND, **values}
    with lawless(services.database) as connection:
        for statement in statements:
            connection.execute(text(statement), values)


def contents(database: Database) -> dict[str, dict[Any, tuple[Any, ...]]]:
    """All rows of all tables by their keys."""
    with database.read() as session:
        return {
            table.name: {
                row[: len(table.primary_key)]: row
                for row in (
                    tuple(each)
                    for each in session.execute(
                        select(*table.primary_key, *table.columns)  # keys first
                    )
                )
            }
            for table in Base.metadata.sorted_tables
        }


def changed(before: Any, after: Any) -> dict[str, list[Any]]:
    """The keys of the rows that differ, by table; leases alone don't count."""
    return {
        name: sorted(
            key[0]
            for key in {**before[name], **after[name]}
            if before[name].get(key) != after[name].get(key)
        )
        for name in before
        if before[name] != after[name] and name != "xtiger_organisation"
    }


def is_mended(services: Services, check: str, *, touched: dict[str, list[Any]]) -> None:
    """The repair changes these rows and nothing else, and all is well afterwards."""
    assert checks(services) == {check}
    before = contents(services.database)
    diagnosis = doctor.repair(services)
    assert diagnosis.well, diagnosis.findings
    assert [one.check for one in diagnosis.mended] == [check]
    assert changed(before, contents(services.database)) == touched
    with services.database.read() as session:
        for row in session.scalars(select(Organisation)):
            assert (row.holder, row.lease_until) == (None, None)
    assert doctor.repair(services).mended == ()

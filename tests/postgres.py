"""A migrated PostgreSQL database that one test after the other has for its own.

To make one from a template takes ten times as long as to empty it again. It is made anew wherever
a test left more behind than rows: other tables or indexes, a planner's figures, or its size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

#: How much a database may have grown by and is still emptied, in bytes.
_GROWN = 2_000_000
#: What tells that nobody changed more than rows: a change gives these a new number or a new row.
_CATALOGUES = (
    "pg_class",
    "pg_attribute",
    "pg_attrdef",
    "pg_constraint",
    "pg_index",
    "pg_trigger",
    "pg_proc",
    "pg_namespace",
    "pg_statistic",
    "pg_db_role_setting",
)
_COUNTED = "(SELECT count(*) || ':' || coalesce(max(xmin::text::bigint), 0) FROM {})"
_LEFT = text(
    "SELECT pg_database_size(current_database()) AS size, "
    + " || ',' || ".join(_COUNTED.format(name) for name in _CATALOGUES)
    + " AS shape"
)
_OTHERS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_WITH_ROWS = text(
    "SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' "
    "AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0"
)
_COUNTERS_BACK = text(
    "SELECT setval(quote_ident(schemaname) || '.' || quote_ident(sequencename), start_value, false)"
    " FROM pg_sequences WHERE last_value IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class _State:
    """How a database was right after it was made."""

    size: int
    shape: str
    #: What its tables held, by name.
    rows: dict[str, str]


class Lent:
    """The database; `server` is the URL of one that isn't lent, `template` a database's name."""

    def __init__(self, server: str, template: str) -> None:
        self._admin = create_engine(server, isolation_level="AUTOCOMMIT")
        self._template = template
        self._name = f"lent{os.urandom(6).hex()}"
        self._made: _State | None = None

    @contextmanager
    def use(self) -> Iterator[str]:
        """Its URL, as if it had just been made; whoever is connected in the end is sent away."""
        if self._made is None:
            self._make()
        yield self._admin.url.set(database=self._name).render_as_string(hide_password=False)
        try:
            clean = self._emptied()
        except DBAPIError:
            clean = False
        if not clean:
            self._drop()

    def close(self) -> None:
        """Drops it."""
        self._drop()
        self._admin.dispose()

    def _make(self) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {self._name} TEMPLATE {self._template}"))
        with self._inside() as connection:
            size, shape = connection.execute(_LEFT).one()
            self._made = _State(size, shape, _rows(connection))

    def _drop(self) -> None:
        self._made = None
        with self._admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)"))

    @contextmanager
    def _inside(self) -> Iterator[Connection]:
        engine: Engine = create_engine(self._admin.url.set(database=self._name))
        with engine.begin() as connection:
            yield connection
        engine.dispose()

    def _emptied(self) -> bool:
        """Whether it is as it was when it was made."""
        made = self._made
        if made is None:
            return False
        with self._inside() as connection:
            connection.execute(_OTHERS)
            size, shape = connection.execute(_LEFT).one()
            if shape != made.shape or size > made.size + _GROWN:
                return False
            # Rows go without asking whom they refer to.
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            for table in connection.scalars(_WITH_ROWS).all():
                if table not in made.rows:
                    connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608
            connection.execute(_COUNTERS_BACK)
            return _rows(connection) == made.rows


def _rows(connection: Connection) -> dict[str, str]:
    """What the tables hold that hold anything."""
    found = {
        table: connection.scalar(
            text(f"SELECT md5(string_agg(one::text, ',' ORDER BY one::text)) FROM {table} one")  # noqa: S608
        )
        for table in connection.scalars(_WITH_ROWS)
    }
    return {table: rows for table, rows in found.items() if rows}

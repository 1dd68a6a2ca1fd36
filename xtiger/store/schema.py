"""XTiger's own engine on a database: transactions that begin right, and migrations."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from xtiger.domain.errors import PermanentError, TransientError, XTigerError

#: Seconds a writer waits for another one on SQLite.
BUSY_SECONDS = 30
#: Seconds for which PostgreSQL lets a transaction wait for its own program.
IDLE_SECONDS = 120
#: The most rows one write transaction should touch, so that others get their turn.
MOST_ROWS = 500

BRANCHES = ("core", "crm", "accounts")
#: What a database says of a file, or of rights, that somebody has to put right.
_REFUSALS = ("unable to open", "readonly", "not a database", "permission denied")
#: PostgreSQL's advisory lock of whoever migrates: "XTiger" in ASCII.
MIGRATING = 0x585469676572


class Database:
    """Sessions on one database. A host's engine and pragmas stay untouched: this is our own."""

    def __init__(self, url: str | URL, *, max_pages: int | None = None) -> None:
        """`max_pages` bounds a SQLite file (PRAGMA max_page_count); tests use it."""
        self.url = make_url(url)
        self.engine = _engine(self.url, max_pages)
        self._reading = sessionmaker(self.engine, expire_on_commit=False)
        self._writing = sessionmaker(
            self.engine.execution_options(xtiger_write=True), expire_on_commit=False
        )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads; it never waits for a writer."""
        with plain_faults(), self._reading() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction that writes: committed at the end, rolled back on any error.

        On SQLite it takes the write lock at its beginning, so that it can't fail half-way
        because somebody else wrote in between.
        """
        with plain_faults(), self._writing.begin() as session:
            yield session

    def close(self) -> None:
        """Gives the connections back."""
        self.engine.dispose()


@contextmanager
def plain_faults(onward: str = "XTiger tries again by itself.") -> Iterator[None]:
    """Turns what a database says into one sentence; nothing above catches SQLAlchemy errors.

    `onward` says what happens next where the database is away.
    """
    try:
        yield
    except DBAPIError as error:
        told = _told(error, onward)
        if told is None:
            raise
        raise told from error


def _told(error: DBAPIError, onward: str) -> XTigerError | None:
    """What an error of the driver means, None where it is a fault of ours."""
    if isinstance(error, IntegrityError | DataError):
        return None
    said = str(error.orig).splitlines()[0] if error.orig else type(error).__name__
    lowered = said.lower()
    if "no such table" in lowered or ("relation" in lowered and "does not exist" in lowered):
        return PermanentError("The database lacks XTiger's tables. Run: xtiger migrate")
    if "is full" in lowered or "no space" in lowered:
        return TransientError(
            "The database is full: nothing was saved, nothing was sent. Make room on its "
            "disk or raise its limit; XTiger goes on by itself."
        )
    away = error.connection_invalidated or any(
        word in lowered
        for word in ("locked", "deadlock", "connection", "connect to", "timeout", "resolve host")
    )
    if away:
        return TransientError(f"The database doesn't answer ({said}). {onward}")
    if any(word in lowered for word in _REFUSALS):
        return PermanentError(f"The database can't be used ({said}).")
    return None


def hide_values(engine: Engine) -> None:
    """What an error says goes to the log: never the names and sums of a row.

    PostgreSQL tells them below its first line, as DETAIL.
    """

    @event.listens_for(engine, "handle_error")
    def _first_line(context: ExceptionContext) -> None:
        if context.sqlalchemy_exception is None:
            return  # nothing that the database said
        for error in (context.original_exception, context.sqlalchemy_exception):
            error.args = tuple(str(each).partition("\n")[0] for each in error.args)


def _engine(url: URL, max_pages: int | None) -> Engine:
    # What an error says goes to the log: never the bodies, names and sums of a statement.
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
        hide_values(engine)

        @event.listens_for(engine, "connect")
        def _impatient(connection: Any, _record: Any) -> None:
            # A machine that is suspended within a transaction would hold up all others.
            connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
            connection.commit()

        return engine
    # The last connection goes out first: its pages are still the newest, those of one that
    # lay longer must be read again after every write of another.
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_SECONDS},
        pool_use_lifo=True,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN comes too late (before the first write): we begin ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-16000")
        if max_pages:
            cursor.execute(f"PRAGMA max_page_count={int(max_pages)}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("xtiger_write", False)
        begin = "BEGIN IMMEDIATE" if write else "BEGIN"
        try:
            connection.connection.cursor().execute(begin)
        except sqlite3.OperationalError as error:
            raise OperationalError(begin, None, error) from error

    return engine


def is_empty(database: Database) -> bool:
    """Whether the database holds no table at all."""
    return not inspect(database.engine).get_table_names()


def migrate(database: Database, *, branches: tuple[str, ...] = BRANCHES) -> None:
    """Brings the named branches of the schema to their newest version.

    Processes that start together take turns, and the later ones find nothing to do. Raises
    XTigerError where the database is away or can't be used.
    """
    away = plain_faults("Once it answers, run this again.")
    with away, as_file(files("xtiger.migrations")) as folder:
        config = _config(folder)
        config.attributes["url"] = database.url
        engine = database.engine.execution_options(xtiger_write=True)
        with engine.connect() as connection, _unchecked(connection), connection.begin():
            config.attributes["connection"] = connection
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATING)))
            for branch in branches:
                command.upgrade(config, f"{branch}@head")


@contextmanager
def _unchecked(connection: Connection) -> Iterator[None]:
    """Foreign keys rest on SQLite while tables are made anew.

    Else dropping a table would delete, row by row, what refers to it. It takes effect outside of
    transactions only.
    """
    driver: Any = connection.connection.driver_connection
    on_sqlite = connection.dialect.name == "sqlite"
    if on_sqlite:
        driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        if on_sqlite:
            driver.execute("PRAGMA foreign_keys=ON")


def _config(folder: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    folders = os.pathsep.join(str(folder / branch) for branch in BRANCHES)
    config.set_main_option("version_locations", folders)
    return config


def outdated(connection: Connection) -> list[str]:
    """The branches of a database's schema that aren't at this program's version.

    A branch that was never made isn't outdated, but for the core's.
    """
    with as_file(files("xtiger.migrations")) as folder:
        scripts = ScriptDirectory.from_config(_config(folder))
        newest = {branch: scripts.get_revision(f"{branch}@head").revision for branch in BRANCHES}
    options = {"version_table": import_module("xtiger.migrations").VERSION_TABLE}
    at = MigrationContext.configure(connection, opts=options).get_current_heads()
    made = {branch for branch in BRANCHES for one in at if one.startswith(branch)} | {"core"}
    return [branch for branch in BRANCHES if branch in made and newest[branch] not in at]

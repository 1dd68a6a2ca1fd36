"""How a process learns at once that a run was asked for, whichever process asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xtiger.domain.errors import TransientError
from xtiger.store.schema import Database, plain_faults

#: PostgreSQL's channel; the payload is the organisation's id.
CHANNEL = "xtiger_wake"
#: Seconds between two looks whether a SQLite file has changed.
LOOK = 0.2
#: Seconds a listener on PostgreSQL waits before it looks whether it should end.
_LISTEN = 0.5

_ASKED = (
    "SELECT id, organisation_id FROM xtiger_run"
    " WHERE ended_at IS NULL AND started_at IS NULL AND id > ? ORDER BY id"
)


def announce(session: Session, organisation_id: int) -> None:
    """Tells every listening worker once this transaction commits; never before, nor without.

    SQLite has no such thing: workers watch the file.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_notify(CHANNEL, str(organisation_id))))


def listen(database: Database, heard: Callable[[int], None], ending: threading.Event) -> None:
    """Calls `heard` with the organisation of each run that is asked for, until `ending` is set.

    Raises TransientError where the database is away; whoever calls begins again. What is missed
    meanwhile, the next tick finds.
    """
    hear = _hear if database.url.get_backend_name() == "postgresql" else _watch
    dialect = database.engine.dialect
    with plain_faults():
        connection = database.engine.raw_connection()
    # A connection of its own: what listens must not serve anybody else afterwards.
    connection.detach()
    try:
        hear(connection.dbapi_connection, heard, ending)
    except dialect.loaded_dbapi.Error as error:
        said = str(error).partition("\n")[0]
        raise TransientError(f"The database doesn't answer ({said}).") from None
    finally:
        connection.close()


def _hear(driver: Any, heard: Callable[[int], None], ending: threading.Event) -> None:
    driver.autocommit = True
    driver.execute(f"LISTEN {CHANNEL}")
    while not ending.is_set():
        for note in driver.notifies(timeout=_LISTEN):
            heard(int(note.payload))
            if ending.is_set():
                break
        # A connection that broke says so here.
        driver.execute("SELECT 1")


def _watch(driver: Any, heard: Callable[[int], None], ending: threading.Event) -> None:
    """A number of SQLite's own changes with every commit of another connection."""
    version: Any = None
    newest = 0
    while not ending.wait(LOOK):
        now = driver.execute("PRAGMA data_version").fetchone()
        if now == version:
            continue
        version = now
        for run_id, organisation_id in driver.execute(_ASKED, (newest,)).fetchall():
            newest = run_id
            heard(organisation_id)

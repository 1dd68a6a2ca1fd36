"""Races that are forced: a test goes on once others wait for what it holds."""

from __future__ import annotations

import time

from sqlalchemy import text

from xtiger.store.schema import Database

_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def until_waiting(database: Database, count: int = 1) -> None:
    """Until so many sessions wait for a lock; SQLite, which doesn't tell, gets a moment."""
    if database.engine.dialect.name != "postgresql":
        time.sleep(0.2)
        return
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with database.read() as session:
            if session.scalar(_WAITING) == count:
                return
        time.sleep(0.02)
    raise AssertionError(f"not {count} wait")

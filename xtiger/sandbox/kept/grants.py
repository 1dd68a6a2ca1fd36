"""Tokens, codes, consents and connections: what was granted, and until when."""

from __future__ import annotations

import sqlite3
import threading

from xtiger.sandbox.wire import Json, dumps, loads

SCHEMA = """
CREATE TABLE IF NOT EXISTS grants (
    kind TEXT NOT NULL, token TEXT NOT NULL, expires REAL NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, token)) WITHOUT ROWID;
"""


class Grants:
    """Works on the state's own connection, so it is part of the same transaction."""

    def __init__(self, database: sqlite3.Connection, lock: threading.RLock) -> None:
        self._db = database
        self._lock = lock

    def keep(self, kind: str, token: str, expires: float, body: Json) -> None:
        """Keeps a token, code, consent or connection until `expires` (Unix seconds)."""
        self._db.execute(
            "INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?)",
            (kind, token, expires, dumps(body).decode()),
        )

    def get(self, kind: str, token: str) -> tuple[float, Json] | None:
        """When it expires, and what was kept with it."""
        with self._lock:
            row = self._db.execute(
                "SELECT expires, body FROM grants WHERE kind = ? AND token = ?", (kind, token)
            ).fetchone()
        return None if row is None else (row[0], loads(row[1]))

    def end(self, kind: str, token: str) -> None:
        self._db.execute("DELETE FROM grants WHERE kind = ? AND token = ?", (kind, token))

    def of(self, kind: str) -> list[tuple[str, float, Json]]:
        """Every grant of a kind: token, when it expires, what was kept with it."""
        with self._lock:
            rows = self._db.execute(
                "SELECT token, expires, body FROM grants WHERE kind = ?", (kind,)
            ).fetchall()
        return [(row[0], row[1], loads(row[2])) for row in rows]

    def expire(self, kind: str, now: float) -> None:
        """Lets every grant of a kind end now (a test's wish)."""
        self._db.execute("UPDATE grants SET expires = ? WHERE kind = ?", (now, kind))

"""The first answers to idempotency keys, and the log of accounting calls."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from typing import Any

from xtiger.sandbox.wire import Json, dumps, loads

#: beyond every sequence
_LAST = 1 << 62
SCHEMA = """
CREATE TABLE IF NOT EXISTS replays (
    scope TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, expires REAL NOT NULL,
    status INTEGER NOT NULL, type TEXT NOT NULL, answer BLOB NOT NULL, elements TEXT NOT NULL,
    PRIMARY KEY (scope, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS replays_expires ON replays (expires);
CREATE TABLE IF NOT EXISTS requests (sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The first answer to an Idempotency-Key."""

    fingerprint: str
    status: int
    type: str
    answer: bytes
    elements: list[Json]


class Diary:
    """Works on the state's own connection, so it is part of the same transaction."""

    def __init__(self, database: sqlite3.Connection, lock: threading.RLock) -> None:
        self._db = database
        self._lock = lock

    def remember(
        self, scope: str, key: str, first: Remembered, *, now: float, expires: float
    ) -> None:
        """Keeps a first answer until `expires`; forgets those whose time is over `now`."""
        self._db.execute("DELETE FROM replays WHERE expires <= ?", (now,))
        self._db.execute(
            "INSERT OR REPLACE INTO replays VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                scope,
                key,
                first.fingerprint,
                expires,
                first.status,
                first.type,
                first.answer,
                dumps(first.elements).decode(),
            ),
        )

    def recall(self, scope: str, key: str, now: float) -> Remembered | None:
        """The first answer to a key, unless its time is over."""
        row = self._db.execute(
            "SELECT fingerprint, status, type, answer, elements FROM replays"
            " WHERE scope = ? AND key = ? AND expires > ?",
            (scope, key, now),
        ).fetchone()
        return row and Remembered(row[0], row[1], row[2], row[3], loads(row[4]))

    def log(self, entry: Json) -> int:
        """Adds one call. Returns its sequence."""
        cursor = self._db.execute(
            "INSERT INTO requests (body) VALUES (?)", (dumps(entry).decode(),)
        )
        return int(cursor.lastrowid or 0)

    def logged(self, after: int) -> list[Json]:
        """Requests in order, each with its `sequence`, those after the given one."""
        with self._lock:
            rows: list[Any] = self._db.execute(
                "SELECT sequence, body FROM requests WHERE sequence > ? ORDER BY sequence",
                (max(0, min(after, _LAST)),),
            ).fetchall()
        return [{"sequence": row[0]} | loads(row[1]) for row in rows]

    def calls(self, before: int, limit: int) -> list[Json]:
        """Requests newest first, each with its `sequence`, those before the given one, 0 all."""
        with self._lock:
            rows: list[Any] = self._db.execute(
                "SELECT sequence, body FROM requests WHERE sequence < ?"
                " ORDER BY sequence DESC LIMIT ?",
                (max(0, min(before or _LAST, _LAST)), limit),
            ).fetchall()
        return [{"sequence": row[0]} | loads(row[1]) for row in rows]

    def forget_log(self) -> None:
        with self._lock:
            self._db.execute("DELETE FROM requests")

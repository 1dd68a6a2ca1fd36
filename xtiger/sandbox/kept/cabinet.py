"""Files attached to objects and the notes of their history, kept beside the objects themselves."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL, kind TEXT NOT NULL, owner TEXT NOT NULL, id TEXT NOT NULL,
    folded TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, online INTEGER NOT NULL,
    data BLOB NOT NULL, UNIQUE (tenant, kind, owner, folded));
CREATE TABLE IF NOT EXISTS notes (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL, kind TEXT NOT NULL, owner TEXT NOT NULL, time INTEGER NOT NULL,
    changes TEXT NOT NULL, author TEXT NOT NULL, details TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS notes_owner ON notes (tenant, kind, owner);
"""


#: the author of what no person wrote (Xero OpenAPI, example of HistoryRecords)
SYSTEM = "System Generated"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a change came from, as the history says it (own words)."""

    author: str
    details: str


API = Source(SYSTEM, "Received through the Xero API from Local Xero")


@dataclass(frozen=True, slots=True)
class Place:
    """Which object something is kept with."""

    tenant: str
    kind: str
    owner: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.tenant, self.kind, self.owner


@dataclass(frozen=True, slots=True)
class File:
    """An attached file without its bytes."""

    id: str
    name: str
    type: str  #: its mime type
    online: bool  #: whether the customer sees it with the online invoice
    size: int  #: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """One line of an object's history."""

    time: int  #: ms since 1970 UTC
    changes: str
    author: str
    details: str


class Cabinet:
    """Works on the state's own connection, so it is part of the same transaction."""

    def __init__(self, database: sqlite3.Connection, lock: threading.RLock) -> None:
        self._db = database
        self._lock = lock

    def attach(self, place: Place, file: File, data: bytes) -> None:
        """Keeps a file; one of the same name, in any case, is replaced and keeps its id."""
        self._db.execute(
            "INSERT INTO files (tenant, kind, owner, id, folded, name, type, online, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, kind, owner, folded)"
            " DO UPDATE SET name = excluded.name, type = excluded.type,"
            " online = excluded.online, data = excluded.data",
            (
                *place.key,
                file.id,
                file.name.casefold(),
                file.name,
                file.type,
                int(file.online),
                data,
            ),
        )

    def files(self, place: Place) -> list[File]:
        """In the order they were attached."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, name, type, online, length(data) FROM files"
                " WHERE tenant = ? AND kind = ? AND owner = ? ORDER BY position",
                place.key,
            ).fetchall()
        return [File(row[0], row[1], row[2], bool(row[3]), row[4]) for row in rows]

    def data(self, place: Place, file: str) -> bytes:
        with self._lock:
            row = self._db.execute(
                "SELECT data FROM files WHERE tenant = ? AND kind = ? AND owner = ? AND id = ?",
                (*place.key, file),
            ).fetchone()
        return bytes(row[0])

    def holds(self, place: Place) -> bool:
        """Whether any file is attached."""
        with self._lock:
            row = self._db.execute(
                "SELECT 1 FROM files WHERE tenant = ? AND kind = ? AND owner = ? LIMIT 1", place.key
            ).fetchone()
        return row is not None

    def counts(self, tenant: str) -> dict[str, int]:
        """How many `attachments` and `historyrecords` an organisation has."""
        tables = {"attachments": "files", "historyrecords": "notes"}
        with self._lock:
            return {
                name: self._db.execute(
                    f"SELECT count(*) FROM {table} WHERE tenant = ?",  # noqa: S608
                    (tenant,),
                ).fetchone()[0]
                for name, table in tables.items()
            }

    def note(self, place: Place, note: Note) -> None:
        self._db.execute(
            "INSERT INTO notes (tenant, kind, owner, time, changes, author, details)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*place.key, note.time, note.changes, note.author, note.details),
        )

    def notes(self, place: Place) -> list[Note]:
        """Newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT time, changes, author, details FROM notes"
                " WHERE tenant = ? AND kind = ? AND owner = ? ORDER BY position DESC",
                place.key,
            ).fetchall()
        return [Note(*row) for row in rows]

"""Everything the sandbox remembers, in one SQLite database that is committed before each answer."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from xtiger.sandbox.kept import cabinet, currencies, diary, founding, grants
from xtiger.sandbox.kept.countries import COUNTRIES, DEFAULT, Country, organisation_body
from xtiger.sandbox.wire import Json, dumps, loads

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (
    tenant TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS organisations (
    position INTEGER PRIMARY KEY, tenant TEXT NOT NULL UNIQUE, zone TEXT NOT NULL,
    rates TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
    name TEXT NOT NULL, number TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL,
    contact TEXT NOT NULL, date TEXT NOT NULL, app TEXT NOT NULL, updated INTEGER NOT NULL,
    body TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS objects_id ON objects (tenant, kind, id);
CREATE INDEX IF NOT EXISTS objects_name ON objects (tenant, kind, name);
CREATE INDEX IF NOT EXISTS objects_number ON objects (tenant, kind, number);
CREATE INDEX IF NOT EXISTS objects_contact ON objects (tenant, kind, contact);
CREATE INDEX IF NOT EXISTS objects_updated ON objects (tenant, kind, updated);
"""


def fold(value: str) -> str:
    """The form in which names, codes and numbers are compared: case doesn't count in Xero."""
    return value.strip().casefold()


@dataclass(frozen=True, slots=True)
class Keys:
    """What an object can be found by; `name` and `number` are kept folded."""

    name: str = ""  #: contact name, item code, invoice number
    number: str = ""  #: contact number
    type: str = ""
    status: str = "ACTIVE"
    contact: str = ""
    date: str = ""  #: `YYYY-MM-DD`
    app: str = ""  #: client id of the app that created it


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as kept: dates as `YYYY-MM-DD`, numbers as Decimal, `updated` in ms UTC."""

    position: int
    id: str
    updated: int
    status: str
    body: Json


@dataclass(frozen=True, slots=True)
class Organisation:
    """A tenant; `rates` maps each subscribed currency to its rate for one unit of the base."""

    tenant: str
    zone: str
    rates: dict[str, str]
    body: Json

    @property
    def name(self) -> str:
        return str(self.body["Name"])

    @property
    def currency(self) -> str:
        return str(self.body["BaseCurrency"])

    @property
    def short_code(self) -> str:
        return str(self.body["ShortCode"])


@dataclass(frozen=True, slots=True)
class Touched:
    """One object that a committed transaction made or changed."""

    tenant: str
    kind: str
    id: str
    created: bool
    body: Json


class Unusable(ValueError):
    """The file of a state can't be used; the text is one sentence for people."""


class State:
    """One store for one sandbox; `path` None keeps it in memory.

    All of a request's reads and writes happen inside one `transaction()`, so they are one after
    another, all or nothing, and on disk (safe against the end of the process) when it returns.
    `clock` gives seconds since 1970; everything in the sandbox that dates or expires asks it.
    A file belongs to one state at a time. Raises Unusable for one that can't be had.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        clock: Callable[[], float] = time.time,
        countries: Sequence[str] = (),
    ) -> None:
        unknown = set(countries) - COUNTRIES.keys()
        if unknown:
            raise ValueError(f"no organisation for {', '.join(sorted(unknown))}")
        self.now = clock
        self._lock = threading.RLock()
        self._depth = 0
        #: told of each committed transaction that touched objects
        self.listeners: list[Callable[[list[Touched]], None]] = []
        self._touched: dict[tuple[str, str, str], Touched] = {}
        self._lease = _leased(Path(path)) if path else -1
        try:
            self._db = _opened(path)
        except BaseException:
            self._release()
            raise
        self.cabinet = cabinet.Cabinet(self._db, self._lock)
        self.grants = grants.Grants(self._db, self._lock)
        self.diary = diary.Diary(self._db, self._lock)
        try:
            self._complete(countries)
        except sqlite3.Error as error:
            self.close()
            raise Unusable(f"The state file {path} can't be used: {error}.") from None

    def _complete(self, countries: Sequence[str]) -> None:
        """Founds the organisations that lack; those of an older version get what they lack."""
        with self.transaction():
            there = {str(one.body["CountryCode"]) for one in self.organisations()}
            for code in dict.fromkeys(countries or (() if there else DEFAULT)):
                if code not in there:
                    self._found(COUNTRIES[code])
            for one in self.organisations():
                self._furnish(one)
            self._touched.clear()  # what an organisation begins with has no history

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._release()

    def _release(self) -> None:
        """Lets another state have the file."""
        if self._lease >= 0:
            os.close(self._lease)
            self._lease = -1

    @contextmanager
    def transaction(self, source: cabinet.Source = cabinet.API) -> Iterator[None]:
        """One at a time; commits at the end, rolls back on any exception. May be nested.

        `source` is what the history of each touched object says that it came from.
        """
        with self._lock:
            if self._depth:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            self._touched.clear()
            try:
                yield
                self._note(source)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            else:
                self._db.execute("COMMIT")
                touched = list(self._touched.values())
            finally:
                self._depth -= 1
        if touched:
            for listener in self.listeners:
                listener(touched)

    def _note(self, source: cabinet.Source) -> None:
        """Writes what the transaction made and changed into the history of each object."""
        for one in self._touched.values():
            self.cabinet.note(
                cabinet.Place(one.tenant, one.kind, one.id),
                cabinet.Note(
                    time=int(self.now() * 1000),
                    changes="Created" if one.created else "Updated",
                    author=source.author,
                    details=source.details,
                ),
            )

    def _touch(self, touched: Touched) -> None:
        key = (touched.tenant, touched.kind, touched.id)
        before = self._touched.get(key)
        created = touched.created or bool(before and before.created)
        self._touched[key] = Touched(*key, created, touched.body)

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """A part of a transaction that is taken back by itself on `undo()` and on any exception."""
        self._db.execute("SAVEPOINT attempt")
        attempt = Attempt()
        touched = dict(self._touched)
        try:
            yield attempt
        except BaseException:
            attempt.undo()
            raise
        finally:
            if attempt.undone:
                self._db.execute("ROLLBACK TO attempt")
                self._touched = touched
            self._db.execute("RELEASE attempt")

    # settings, organisations

    def setting(self, name: str) -> str | None:
        with self._lock:
            row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, name: str, value: str) -> None:
        with self.transaction():
            self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def secret(self, name: str, size: int = 24) -> str:
        """A random value made once per state."""
        with self.transaction():
            if (value := self.setting(name)) is None:
                value = secrets.token_hex(size)
                self.set(name, value)
            return value

    def _found(self, country: Country) -> None:
        tenant = str(uuid4())
        body = organisation_body(country) | {
            "OrganisationID": tenant,
            "CreatedDateUTC": int(self.now() * 1000),
        }
        rates = {country.currency: "1.000000"} | country.rates
        self._db.execute(
            "INSERT INTO organisations (tenant, zone, rates, body) VALUES (?, ?, ?, ?)",
            (tenant, country.zone, dumps(rates).decode(), dumps(body).decode()),
        )
        self._begin(tenant, founding.books(country))

    def _furnish(self, one: Organisation) -> None:
        """A state of an older version gets what it lacks when it is opened."""
        things = list(founding.furniture(one.name, one.rates, int(self.now() * 1000)))
        kinds = {thing.kind for thing in things}
        lacking = {kind for kind in kinds if not self.count(one.tenant, kind)}
        self._begin(one.tenant, (thing for thing in things if thing.kind in lacking))

    def _begin(self, tenant: str, things: Iterable[founding.Begun]) -> None:
        for one in things:
            self.save(tenant, one.kind, one.id, one.body, Keys(name=one.name, status=one.status))

    def subscribe(self, tenant: str, code: str) -> None:
        """Lets an organisation's documents have a further currency, at a day rate of ours."""
        found = self.organisation(tenant)
        assert found is not None
        rates = found.rates | {code: currencies.day_rate(found.currency, code)}
        self._db.execute(
            "UPDATE organisations SET rates = ? WHERE tenant = ?", (dumps(rates).decode(), tenant)
        )
        self._begin(tenant, [founding.currency(code)])

    def organisations(self) -> list[Organisation]:
        return self._organisations_where("1")

    def _organisations_where(self, condition: str, *values: str) -> list[Organisation]:
        with self._lock:
            rows = self._db.execute(
                "SELECT tenant, zone, rates, body FROM organisations"  # noqa: S608
                f" WHERE {condition} ORDER BY position",
                values,
            ).fetchall()
        return [Organisation(row[0], row[1], loads(row[2]), loads(row[3])) for row in rows]

    def organisation(self, tenant: str) -> Organisation | None:
        return next(iter(self._organisations_where("tenant = ?", tenant)), None)

    def change_organisation(self, tenant: str, changes: Json) -> None:
        """Merges into an organisation's body (a test sets PeriodLockDate this way)."""
        with self.transaction():
            found = self.organisation(tenant)
            assert found is not None
            body = found.body | changes
            self._db.execute(
                "UPDATE organisations SET body = ? WHERE tenant = ?", (dumps(body).decode(), tenant)
            )

    def count_up(self, tenant: str, name: str) -> int:
        """Adds one to a counter and returns it; the first is 1."""
        row = self._db.execute(
            "INSERT INTO counters VALUES (?, ?, 1) ON CONFLICT (tenant, name)"
            " DO UPDATE SET value = value + 1 RETURNING value",
            (tenant, name),
        ).fetchone()
        return int(row[0])

    def counters(self, tenant: str) -> dict[str, int]:
        with self._lock:
            return dict(
                self._db.execute("SELECT name, value FROM counters WHERE tenant = ?", (tenant,))
            )

    # objects

    def save(
        self, tenant: str, kind: str, identifier: str, body: Json, keys: Keys, *, touch: bool = True
    ) -> int:
        """Inserts or replaces one object; `touch` False leaves its UpdatedDateUTC. Returns it."""
        now = int(self.now() * 1000)
        created = self.count(tenant, kind, "id = ?", (identifier,)) == 0
        row = self._db.execute(
            "INSERT INTO objects (tenant, kind, id, name, number, type, status, contact,"  # noqa: S608
            " date, app,"
            " updated, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (tenant, kind, id) DO UPDATE SET name = excluded.name,"
            " number = excluded.number, type = excluded.type, status = excluded.status,"
            " contact = excluded.contact, date = excluded.date, body = excluded.body,"
            f" updated = {'excluded' if touch else 'objects'}.updated"
            " RETURNING updated",
            (
                tenant,
                kind,
                identifier,
                fold(keys.name),
                fold(keys.number),
                keys.type,
                keys.status,
                keys.contact,
                keys.date,
                keys.app,
                now,
                dumps(body).decode(),
            ),
        ).fetchone()
        if touch:
            self._touch(Touched(tenant, kind, identifier, created, body))
        return int(row[0])

    def remove(self, tenant: str, kind: str, identifier: str) -> None:
        self._db.execute(
            "DELETE FROM objects WHERE tenant = ? AND kind = ? AND id = ?",
            (tenant, kind, identifier),
        )

    def objects(
        self,
        tenant: str,
        kind: str,
        condition: str = "1",
        values: Sequence[object] = (),
        *,
        order: str = "position",
        limit: int = -1,
        offset: int = 0,
    ) -> list[Stored]:
        """The matching objects. `condition` and `order` are SQL made by this package alone."""
        with self._lock:
            rows = self._db.execute(
                "SELECT position, id, updated, status, body FROM objects"  # noqa: S608
                f" WHERE tenant = ? AND kind = ? AND ({condition})"
                f" ORDER BY {order} LIMIT ? OFFSET ?",
                (tenant, kind, *values, limit, offset),
            ).fetchall()
        return [Stored(row[0], row[1], row[2], row[3], loads(row[4])) for row in rows]

    def count(
        self, tenant: str, kind: str, condition: str = "1", values: Sequence[object] = ()
    ) -> int:
        with self._lock:
            row = self._db.execute(
                "SELECT count(*) FROM objects"  # noqa: S608
                f" WHERE tenant = ? AND kind = ? AND ({condition})",
                (tenant, kind, *values),
            ).fetchone()
        return int(row[0])

    def mentioning(
        self, tenant: str, field: str, identifier: str, *, besides: str
    ) -> list[tuple[str, Stored]]:
        """Kind and object of whatever holds that id in a field so named, at any depth."""
        with self._lock:
            rows = self._db.execute(
                "SELECT kind, position, id, updated, status, body FROM objects"
                " WHERE tenant = ? AND kind <> ? AND instr(body, ?) > 0 ORDER BY position",
                (tenant, besides, f'"{field}":"{identifier}"'),
            ).fetchall()
        return [(one[0], Stored(one[1], one[2], one[3], one[4], loads(one[5]))) for one in rows]

    def reword(self, tenant: str, kind: str, identifier: str, body: Json) -> None:
        """Replaces a body whose object stays what it is: something it mentions was renamed."""
        self._db.execute(
            "UPDATE objects SET body = ? WHERE tenant = ? AND kind = ? AND id = ?",
            (dumps(body).decode(), tenant, kind, identifier),
        )

    def get(self, tenant: str, kind: str, identifier: str) -> Stored | None:
        found = self.objects(tenant, kind, "id = ?", (identifier,), limit=1)
        return found[0] if found else None


def _leased(path: Path) -> int:
    """An open file beside the state's own, locked for as long as it is open.

    The system ends the lock with the process, however that ends. The database itself isn't locked
    this way: closing a second handle of it would end SQLite's own locks. Raises Unusable.
    """
    whole = Path(os.path.realpath(path))  # two names of one file are one file
    try:
        found = os.open(f"{whole}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        raise Unusable(f"The folder of the state file {path} doesn't exist.") from None
    except OSError as error:
        raise Unusable(f"The state file {path} can't be used: {error.strerror}.") from None
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        whole.touch(mode=0o600)  # it holds tokens: for its owner only
    except BlockingIOError:
        os.close(found)
        raise Unusable(f"Another local Xero is using the state file {path}.") from None
    except OSError as error:
        os.close(found)
        raise Unusable(f"The state file {path} can't be used: {error.strerror}.") from None
    return found


def _opened(path: str | Path | None) -> sqlite3.Connection:
    """The database with its tables; one of another make stays as it is. Raises Unusable."""
    db: sqlite3.Connection | None = None
    try:
        db = sqlite3.connect(
            str(path) if path else ":memory:", check_same_thread=False, isolation_level=None
        )
        db.execute("PRAGMA busy_timeout=5000")
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        if tables and not tables >= {"settings", "organisations", "objects"}:
            raise Unusable(f"The state file {path} is a database, but not of a local Xero.")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.create_function("fold", 1, lambda v: fold(str(v)) if v is not None else None)
        tables_made = _SCHEMA + cabinet.SCHEMA + grants.SCHEMA + diary.SCHEMA
        db.executescript(f"BEGIN; {tables_made} COMMIT;")
    except BaseException as error:
        if db is not None:
            db.close()
        if not isinstance(error, sqlite3.Error):
            raise
        if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
            raise Unusable(f"The state file {path} is no database.") from None
        raise Unusable(f"The state file {path} can't be used: {error}.") from None
    return db


@dataclass(slots=True)
class Attempt:
    """Whether a part of a transaction is to be taken back."""

    undone: bool = False

    def undo(self) -> None:
        self.undone = True

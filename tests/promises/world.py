"""One world of the state machine: database, clock, model CRM, model Xero, and workers that die."""

from __future__ import annotations

import copy
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cryptography.fernet import Fernet
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from tests.promises.model_crm import ModelCrm
from tests.promises.model_xero import Consent, ModelXero
from xtiger.domain.errors import UnknownOutcome, XTigerError
from xtiger.engine import scheduler
from xtiger.engine.connection import connect
from xtiger.engine.services import Services, unseen
from xtiger.ports import Access, Answer, Call
from xtiger.settings import Settings
from xtiger.store.crypto import KeyRing
from xtiger.store.models import Organisation
from xtiger.store.schema import Database, migrate

BEGAN = datetime(2026, 11, 20, 9, tzinfo=UTC)
#: Longer than a lease lives.
STALLED = 200

#: Two organisations; documents in the second one's currency go there.
TENANTS = {
    str(uuid5(NAMESPACE_URL, name)): currency for name, currency in (("one", "NZD"), ("two", "AUD"))
}

_AUDIT = (
    "CREATE TABLE audit (id {key}, item BIGINT, before TEXT, after TEXT,"
    " tries_before INTEGER, tries_after INTEGER, paused INTEGER)"
)
_NOTED = (
    "INSERT INTO audit (item, before, after, tries_before, tries_after, paused)"
    " VALUES (NEW.id, OLD.state, NEW.state, OLD.tries, NEW.tries, (SELECT count(*)"
    " FROM xtiger_profile WHERE organisation_id = NEW.organisation_id AND module = NEW.module"
    " AND paused_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM xtiger_organisation AS its"
    " WHERE its.id = NEW.organisation_id AND its.holder LIKE '%, a person')))"
)
_CHANGED = "OLD.state <> NEW.state OR OLD.tries <> NEW.tries"


class Death(BaseException):
    """The process ends here: nothing of ours may catch it."""


class BrokenPromise(AssertionError):
    """One of the queue's promises doesn't hold."""


@dataclass(slots=True)
class SimClock:
    """Time that only passes where somebody waits."""

    at: datetime = BEGAN

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        # Whoever sleeps briefly again and again waits for something: let it come soon.
        self.at += timedelta(seconds=max(seconds, 5))


#: What happens in the middle of a worker's work.
Action = Callable[["Life"], None]


@dataclass(slots=True)
class Life:
    """One worker process from its start to its end, counted in moments.

    Moments are the engine's own named steps, each transaction before it begins ("write"),
    before it is committed ("commit") and after ("written"), and each call to Xero before it
    leaves ("sending") and once it came back ("sent"). `plan` says what happens at one of them.
    """

    name: str
    seen: Counter[str] = field(default_factory=Counter)
    #: (moment, how often it comes before, what happens then)
    plan: tuple[str, int, Action] | None = None
    dead: bool = False
    #: It lost its lease in the middle of its work and goes on without knowing it.
    stale: bool = False
    #: Several calls under way live through moments at once.
    lock: Any = field(default_factory=threading.Lock)
    #: Calls that left and didn't come back yet; none leaves once it stands still.
    away: int = 0
    still: bool = False
    landed: Any = field(default_factory=threading.Condition)

    def moment(self, what: str) -> None:
        """Lives through a moment; a dead process reaches none."""
        self.breathe()
        with self.lock:
            self.seen[what] += 1
            plan = self.plan
            comes = plan is not None and plan[0] == what and self.seen[what] > plan[1]
            if comes:
                self.plan = None
        if plan is not None and comes:
            plan[2](self)
        self.breathe()

    def breathe(self) -> None:
        if self.dead:
            raise Death

    def die(self) -> None:
        self.dead = True

    @contextmanager
    def calling(self) -> Iterator[None]:
        """A call on its way; one of another thread that stood still for long never arrives."""
        with self.landed:
            if self.still:
                raise UnknownOutcome("The connection broke.")
            self.away += 1
        try:
            yield
        finally:
            with self.landed:
                self.away -= 1
                self.landed.notify_all()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """No call leaves meanwhile; those that left arrive before time goes on."""
        with self.landed:
            self.still = True
            self.landed.wait_for(lambda: not self.away)
        try:
            yield
        finally:
            self.still = False


class MortalDatabase(Database):
    """A process's way to the database, which ends with it."""

    def __init__(self, other: Database, life: Life) -> None:
        self.__dict__.update(other.__dict__)
        self.life = life

    @contextmanager
    def read(self) -> Iterator[Session]:
        self.life.breathe()
        with Database.read(self) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        self.life.moment("write")
        with Database.write(self) as session:
            yield session
            self.life.moment("commit")
        self.life.moment("written")


class Line:
    """A process's way to Xero, which ends with it."""

    def __init__(self, xero: ModelXero, life: Life) -> None:
        self._xero = xero
        self._life = life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xero, name)

    def save_many(self, access: Access, call: Call) -> Answer:
        self._life.moment("sending")
        try:
            with self._life.calling():
                return self._xero.save_many(access, call)
        finally:
            self._life.moment("sent")


@dataclass(frozen=True, slots=True)
class Seed:
    """A migrated database with two organisations that are live; copied for every world."""

    url: str
    ring: KeyRing
    consent: Consent
    settings: Settings

    @classmethod
    def planted(cls, url: str) -> Seed:
        """Migrates the database and connects it through the real consent flow."""
        database, clock = Database(url), SimClock()
        migrate(database)
        ring = KeyRing([Fernet.generate_key().decode()])
        xero = ModelXero(clock, TENANTS)
        settings = Settings(
            database_url=url,
            public_url="https://crm.example.com",
            xero_client_id="client",
            xero_client_secret="secret",
        )
        seed = cls(url, ring, xero.consent, settings)
        crm = ModelCrm(database, clock)
        services = seed.services("founder", database=database, crm=crm, xero=xero, clock=clock)
        begun = connect.begin(services, who="Ana")
        args = {"state": begun.state, "code": "code"}
        connect.finish(services, sealed=begun.sealed, args=args, who="Ana")
        for row in connect.choose(services, list(TENANTS), who="Ana"):
            connect.go_live(services, row.id, who="Ana")
        _audit(database)
        database.close()
        return seed

    def services(self, worker: str, **parts: Any) -> Services:
        """Services as a process has them; one call in flight unless `in_flight` says more."""
        in_flight = parts.pop("in_flight", 1)
        if "in_flight" in {each.name for each in fields(Services)}:
            parts["in_flight"] = in_flight
        return Services(settings=self.settings, ring=self.ring, mail=None, worker=worker, **parts)


def _audit(database: Database) -> None:
    """Lets the database itself note every step of every item."""
    postgres = database.url.get_backend_name() == "postgresql"
    key = "BIGSERIAL PRIMARY KEY" if postgres else "INTEGER PRIMARY KEY AUTOINCREMENT"
    with database.write() as session:
        session.execute(text(_AUDIT.format(key=key)))
        if postgres:
            session.execute(
                text(
                    "CREATE FUNCTION audit_queue() RETURNS trigger LANGUAGE plpgsql AS"
                    f" $$ BEGIN {_NOTED}; RETURN NULL; END $$"
                )
            )
            session.execute(
                text(
                    "CREATE TRIGGER audit_queue AFTER UPDATE ON xtiger_queue FOR EACH ROW"
                    f" WHEN ({_CHANGED}) EXECUTE FUNCTION audit_queue()"
                )
            )
            return
        session.execute(
            text(
                f"CREATE TRIGGER audit_queue AFTER UPDATE ON xtiger_queue WHEN {_CHANGED}"
                f" BEGIN {_NOTED}; END"
            )
        )


@dataclass(slots=True)
class World:
    """Everything one example of the state machine has, and what it does with it."""

    seed: Seed
    database: Database
    in_flight: int = 1
    clock: SimClock = field(default_factory=SimClock)
    figures: Counter[str] = field(default_factory=Counter)
    xero: ModelXero = field(init=False)
    crm: ModelCrm = field(init=False)
    #: For people's own doings: pages, not workers.
    page: Services = field(init=False)
    tenants: dict[int, str] = field(init=False)
    #: Hears of every named step of the engine, before anything else happens there.
    heard: Callable[[str], None] = unseen
    #: What broke a promise, noticed in the middle of something.
    broken: list[str] = field(default_factory=list)
    _workers: int = 0

    def __post_init__(self) -> None:
        consent = copy.deepcopy(self.seed.consent)
        self.xero = ModelXero(self.clock, TENANTS, consent=consent, broken=self.broken)
        self.crm = ModelCrm(self.database, self.clock)
        self.page = self.services(Life("page"))
        with self.database.read() as session:
            self.tenants = {
                row.id: row.tenant_id
                for row in session.scalars(select(Organisation).order_by(Organisation.id))
            }

    def services(self, life: Life) -> Services:
        """What a process works with."""
        return self.seed.services(
            life.name,
            database=MortalDatabase(self.database, life),
            crm=self.crm,
            xero=Line(self.xero, life),
            clock=self.clock,
            observe=partial(self._observed, life),
            in_flight=self.in_flight,
        )

    def _observed(self, life: Life, step: str) -> None:
        self.heard(step)
        life.moment(step)

    def life(self) -> Life:
        """A new process."""
        self._workers += 1
        return Life(f"worker {self._workers}")

    def beat(self, life: Life | None = None, *, asks: bool = True) -> Life:
        """A worker looks for work once and does it, unless it dies over it.

        `asks`: the schedule's hour has come too.
        """
        life = life or self.life()
        services = self.services(life)
        try:
            with self._told():
                due = scheduler.schedule_due(services) if asks else []
                for one in dict.fromkeys([*due, *scheduler.waiting(services)]):
                    with self._told():
                        scheduler.work(services, one)
        except Death:
            self.figures["crashes"] += 1
        return life

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A worker's log takes the sentences of the four errors, and the worker goes on."""
        try:
            yield
        except XTigerError as told:
            self.figures["told"] += 1
            if not told.sentence.strip():
                self.broken.append(f"an error says nothing: {told!r}")
        except BrokenPromise:
            raise
        except Exception as fault:
            raise BrokenPromise(f"the engine broke: {fault!r}") from fault

    def overtakes(self, life: Life) -> None:
        """While a worker stands still its lease runs out, and another one takes its work over."""
        before = self._fences(life.name)
        with life.standing_still():
            self.clock.at += timedelta(seconds=STALLED)
            self.beat()
        after = self._fences(None)
        life.stale = life.stale or any(after[one] > fence for one, fence in before.items())
        # Of several calls some had looked at the clock before: they are too late by minutes.
        life.still = life.stale and self.in_flight > 1
        self.figures["stalls"] += 1

    def _fences(self, holder: str | None) -> dict[int, int]:
        with self.database.read() as session:
            rows = session.execute(select(Organisation.id, Organisation.fence, Organisation.holder))
            return {one: fence for one, fence, held_by in rows if holder in (None, held_by)}


# -- making worlds --------------------------------------------------------------------------------


def fast_folder() -> Path:
    """A folder in memory where there is one: what is tried here is order, not disks."""
    memory = Path("/dev/shm")
    where = str(memory) if memory.is_dir() else None
    return Path(tempfile.mkdtemp(prefix="xtiger-promises-", dir=where))


class SqliteWorlds:
    """Worlds on SQLite, one after the other in the same file: each begins as the planted one."""

    def __init__(self) -> None:
        self.folder = fast_folder()
        self._planted = self.folder / "seed.sqlite"
        self._file = self.folder / "world.sqlite"
        self.seed = Seed.planted(f"sqlite:///{self._planted}")
        # One engine for all of them: it has compiled its statements once.
        self._database = Database(f"sqlite:///{self._file}")

    def make(self, **more: Any) -> World:
        self._database.close()
        for file in self.folder.glob(f"{self._file.name}-*"):
            file.unlink()
        shutil.copy(self._planted, self._file)
        return World(self.seed, self._database, **more)

    def close(self) -> None:
        self._database.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresWorlds:
    """Worlds on PostgreSQL, one after the other under one name, each made from a template."""

    def __init__(self, server_url: str) -> None:
        self._admin = Database(server_url)
        self._planted, self._name = f"planted{id(self)}", f"world{id(self)}"
        self._run(f"CREATE DATABASE {self._planted}")
        self.seed = Seed.planted(self._url(self._planted))
        self._database = Database(self._url(self._name))

    def make(self, **more: Any) -> World:
        self._gone()
        self._run(f"CREATE DATABASE {self._name} TEMPLATE {self._planted}")
        return World(self.seed, self._database, **more)

    def close(self) -> None:
        self._gone()
        self._run(f"DROP DATABASE {self._planted} WITH (FORCE)")
        self._admin.close()

    def _gone(self) -> None:
        self._database.close()
        self._run(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")

    def _url(self, name: str) -> str:
        return self._admin.url.set(database=name).render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        engine = self._admin.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))


Worlds = SqliteWorlds | PostgresWorlds

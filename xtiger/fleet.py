"""Many machines: a dispatcher and workers on procrastinate, whose tokens lie in PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from xtiger.domain.errors import PermanentError, XTigerError
from xtiger.engine.beats import Beats
from xtiger.engine.scheduler import work
from xtiger.engine.services import Services
from xtiger.engine.turns import SLICE, Turns
from xtiger.store.schema import MIGRATING, Database
from xtiger.telemetry import logger

#: Every schema of ours begins so; the rest is the version of procrastinate's tables in it.
PREFIX = "xtiger_fleet_"
#: procrastinate's queue and task; a host's own procrastinate has others, in a schema of its own.
QUEUE, TASK = "xtiger", "drain"
#: Seconds between two looks for tokens that no notification told of.
_LOOK = 5.0
#: Seconds without procrastinate's heartbeat after which a worker's tokens are taken out.
_STALLED = 300
#: Seconds between two such tidyings, and until a worker that lost the database tries again.
_TIDY, _AGAIN = 60.0, 1.0

log = logger("fleet")


def needed(database: Database) -> None:
    """Raises PermanentError where there can be no fleet, with what to do."""
    if database.url.get_backend_name() != "postgresql":
        raise PermanentError(
            "A fleet needs PostgreSQL, which several machines can share. Name one in "
            "XTIGER_DATABASE_URL, or run “xtiger worker” without --fleet on this machine alone."
        )
    if database.url.get_driver_name() != "psycopg":
        raise PermanentError(
            "A fleet needs the driver psycopg: write postgresql+psycopg:// in XTIGER_DATABASE_URL."
        )
    try:
        import procrastinate  # noqa: F401
    except ImportError:
        raise PermanentError(
            "A fleet needs procrastinate. Run: pip install 'xtiger[postgres]'"
        ) from None


def schema_name() -> str:
    """The schema of the installed procrastinate's tables.

    Each version of its tables has a schema of its own: machines with different versions don't
    share tables then, and nothing is ever migrated. What waits is in XTiger's own queue.
    """
    versions = [
        tuple(int(part) for part in found[1].split("."))
        for file in files("procrastinate").joinpath("sql/migrations").iterdir()
        if (found := re.match(r"(\d+\.\d+\.\d+)_", file.name))
    ]
    return PREFIX + "".join(f"{part:02}" for part in max(versions))


def prepare(database: Database) -> None:
    """Makes the tables for tokens if they aren't there; any number of processes may ask at once.

    Tables of older versions go once no worker has used them for a day. Raises PermanentError
    where there can be no fleet or the database's user may not make a schema.
    """
    needed(database)
    from procrastinate.schema import SchemaManager

    name = schema_name()
    try:
        with database.write() as session:
            session.execute(select(func.pg_advisory_xact_lock(MIGRATING)))
            if session.scalar(select(func.to_regnamespace(name))) is None:
                session.execute(text(f"CREATE SCHEMA {name}"))
                _look_in(session, name)
                # Several statements, and signs of per cent: the driver takes them as they are.
                _driver(session).execute(SchemaManager.get_schema())
            for old in _older(session, name):
                session.execute(text(f"DROP SCHEMA {old} CASCADE"))
    except PermanentError as refusal:
        if "permission denied" not in refusal.sentence:
            raise
        raise PermanentError(
            f"The database's user may not make the schema {name}. As the database's owner run: "
            f'GRANT CREATE ON DATABASE "{database.url.database}" TO "{database.url.username}"'
        ) from None


def _older(session: Session, name: str) -> list[str]:
    """Schemas of older versions whose workers are gone."""
    there = session.scalars(
        text("SELECT nspname FROM pg_namespace WHERE nspname LIKE :ours AND nspname < :name"),
        {"ours": PREFIX.replace("_", r"\_") + "%", "name": name},
    ).all()
    return [
        old
        for old in there
        if re.fullmatch(PREFIX + r"\d+", old)
        and not session.scalar(
            text(
                f"SELECT count(*) FROM {old}.procrastinate_workers"  # noqa: S608 - matched above
                " WHERE last_heartbeat > now() - interval '1 day'"
            )
        )
    ]


def _look_in(session: Session, name: str) -> None:
    """procrastinate names its tables without a schema: for this transaction they're ours."""
    session.execute(text(f"SET LOCAL search_path TO {name}, public"))


def _driver(session: Session) -> Any:
    return session.connection().connection.driver_connection


def _engine_of(database: Database, name: str) -> Any:
    """procrastinate's App on our database; it opens nothing by itself."""
    from procrastinate import App, PsycopgConnector

    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    connector = PsycopgConnector(
        conninfo=url,
        kwargs={"options": f"-c search_path={name},public", "application_name": "xtiger fleet"},
        min_size=1,
        max_size=4,
    )
    return App(connector=connector)


class Tokens:
    """Dispatcher: wakes whichever worker of the fleet is free.

    A token says only “drain this organisation”; while one waits, another one of the same
    organisation isn't added. Losing or doubling one is harmless: the organisation's lease decides
    who works, and the workers' ticks find what nobody was woken for.
    """

    def __init__(self, database: Database) -> None:
        needed(database)
        self._database = database
        self._schema = schema_name()
        self._app = _engine_of(database, self._schema)

    def wake(self, organisation_id: int) -> None:
        """Leaves a token; where that fails the next tick of a worker does it, so nothing raises."""
        from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

        try:
            with self._database.write() as session:
                _look_in(session, self._schema)
                self._app.configure_task(
                    TASK,
                    queue=QUEUE,
                    queueing_lock=str(organisation_id),
                    connection=_driver(session),
                ).defer(organisation_id=organisation_id)
        except AlreadyEnqueued:
            return
        except ConnectorException as error:
            log.warning("nobody woken", organisation=organisation_id, why=str(error.__cause__))
        except XTigerError as failure:
            log.warning("nobody woken", organisation=organisation_id, why=failure.sentence)

    def waiting(self) -> bool:
        """Whether any token waits for a worker."""
        asked = "SELECT 1 FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = :queue"
        with self._database.read() as session:
            _look_in(session, self._schema)
            return bool(session.scalar(text(f"{asked} LIMIT 1"), {"queue": QUEUE}))


class Worker(Beats):
    """One process of the fleet: takes tokens and drains in threads; its beats only dispatch."""

    def __init__(self, services: Services) -> None:
        prepare(services.database)
        super().__init__(services, "fleet")
        self._tokens = Tokens(services.database)
        services.dispatcher = self._tokens
        self._slots = services.settings.organisations_at_once
        self._pool = ThreadPoolExecutor(self._slots, thread_name_prefix="xtiger-drain")
        factor = min(1, services.settings.time_factor)
        self._turns = Turns(SLICE * factor, self._others_wait)
        services.crowded = self._turns.crowded
        #: What takes tokens while the database is there.
        self._taker: Any = None

    def run(self, ready: Callable[[], None]) -> None:
        """Works until SIGTERM or SIGINT; calls under way come to their end first.

        `ready` is called once it listens for both.
        """
        _one_line_each("procrastinate", "psycopg", "asyncio")
        asyncio.run(self._run(ready))

    async def _run(self, ready: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        leaving = asyncio.Event()

        def leave() -> None:
            self.hush()
            leaving.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, leave)
        working = asyncio.ensure_future(self._work_on())
        self.start()
        ready()
        told = asyncio.ensure_future(leaving.wait())
        try:
            await asyncio.wait({told, working}, return_when=asyncio.FIRST_COMPLETED)
            await self._leave(working)
            told.cancel()
            if not working.cancelled():
                working.result()  # a fault of ours is told, never kept
        finally:
            self._pool.shutdown(wait=True)
            self.stop()

    async def _leave(self, working: asyncio.Future[None]) -> None:
        """Comes to the end: told, not cancelled, since a cancellation that meets the end of a
        query is lost. Only who can't even reach the database is cancelled."""
        first = True
        while not working.done():
            if self._taker is not None:
                self._taker.stop()
            elif not first:
                working.cancel()
            await asyncio.wait({working}, timeout=_AGAIN)
            first = False

    async def _work_on(self) -> None:
        """Takes tokens; begins again wherever the database was away. The watchdog ends it all."""
        from procrastinate.worker import Worker as Taker

        while not self._ending.is_set():
            app = _engine_of(self._services.database, self._tokens._schema)
            app.task(name=TASK, queue=QUEUE)(self._take)
            try:
                async with app.open_async():
                    tidying = asyncio.ensure_future(self._tidy(app))
                    self._taker = Taker(
                        app=app,
                        queues=[QUEUE],
                        name=self._services.worker,
                        concurrency=self._slots,
                        fetch_job_polling_interval=_LOOK,
                        delete_jobs="always",
                        install_signal_handlers=False,
                    )
                    try:
                        if not self._ending.is_set():
                            await self._taker.run()
                    finally:
                        self._taker = None
                        await _cancelled(tidying)
            except Exception as error:
                log.warning("no tokens", why=str(error.__cause__ or error))
            if not self._ending.is_set():
                await asyncio.sleep(_AGAIN)

    async def _take(self, organisation_id: int) -> None:
        """One token: the drain runs in a thread, since it waits for Xero."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, self._carry_out, organisation_id)

    def _carry_out(self, organisation_id: int) -> None:
        if not self._turns.begin(organisation_id):
            return
        try:
            if not self._ending.is_set():
                work(self._services, organisation_id)
        except XTigerError as failure:
            log.warning("drain stopped", organisation=organisation_id, why=failure.sentence)
        except Exception:
            # A fault of ours must not end the worker; the lease expires and recovery repairs.
            log.exception("drain broke", organisation=organisation_id)
        finally:
            if self._turns.end(organisation_id):
                self.wake(organisation_id)

    def _others_wait(self) -> bool:
        """Tokens wait, and this process has no free place for them."""
        return len(self._turns) >= self._slots and self._tokens.waiting()

    async def _tidy(self, app: Any) -> None:
        """Takes out tokens of workers that were killed: they'd stay for ever, though they block
        nobody."""
        from procrastinate.jobs import Status

        while True:
            try:
                for job in await app.job_manager.get_stalled_jobs(
                    queue=QUEUE, seconds_since_heartbeat=_STALLED
                ):
                    await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
            except Exception as error:
                # Another worker took it out first, or the database is away: the next tidying.
                log.warning("tokens not tidied", why=str(error.__cause__ or error))
            await asyncio.sleep(_TIDY)


async def _cancelled(task: asyncio.Future[None]) -> None:
    """Cancels a task until it has ended: a cancellation that meets the end of a query is lost."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN)


class _OneLine(logging.Handler):
    """What libraries log as tracebacks becomes one line of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        why = {} if failure is None else {"why": str(failure.__cause__ or failure)}
        log.warning(record.getMessage().splitlines()[0], **why)


def _one_line_each(*names: str) -> None:
    """Warnings of these libraries go through our own log, which hides secrets."""
    for name in names:
        library = logging.getLogger(name)
        library.propagate = False
        library.setLevel(logging.WARNING)
        if not any(isinstance(each, _OneLine) for each in library.handlers):
            library.addHandler(_OneLine())

"""When work starts: runs that were asked for, the schedule, and a thread pool that drains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from xtiger.domain.errors import PermanentError, XTigerError
from xtiger.domain.records import Module, RecordRef
from xtiger.engine import intake, reports, tokens, webhooks
from xtiger.engine.drain import drain
from xtiger.engine.services import Services
from xtiger.store import journal, leases, logs, profiles, queue
from xtiger.store.models import Attempt, Organisation, Run
from xtiger.telemetry import logger

#: Seconds between two looks for asked runs, parked ones and waiting mails.
TICK = 2
#: Organisations drained at once by one process.
POOL = 4
#: Seconds between two looks for connections that were quiet for a day.
KEEP = 3600

log = logger("scheduler")


def sync_now(
    services: Services,
    *,
    organisation_id: int | None,
    modules: Sequence[Module] | None,
    who: str,
) -> list[int]:
    """**Sync**: enqueues what is selected and asks for a run at once; answers with run ids.

    An organisation without anything due gets no run. Raises PermanentError where an
    organisation isn't live yet.
    """
    chosen = _chosen(services, organisation_id)
    sleeping = [row.name for row in chosen if row.live_since is None]
    if sleeping and (organisation_id is not None or len(sleeping) == len(chosen)):
        raise PermanentError(
            f"{' and '.join(sleeping)} isn't live yet. Press Go live under API details first."
        )
    awake = [row for row in chosen if row.live_since is not None]
    if not awake:
        raise PermanentError("No organisation is connected. Connect one under API details.")
    intake.add_selected(services, organisation_id=organisation_id, modules=modules, who=who)
    now = services.clock.now()
    with services.database.read() as session:
        due = [row.id for row in awake if _has_work(session, row.id, now)]
    return _ask(services, due, who=who)


def sync_records(services: Services, refs: Sequence[RecordRef], *, who: str) -> list[int]:
    """**Sync now** of single records: enqueued with what they need, and a run at once."""
    added = intake.add_records(services, refs, who=who)
    if added.count == 0:
        raise PermanentError("Nothing of it is selected; the record page says why.")
    with services.database.read() as session:
        waiting = {
            row.id
            for row in profiles.organisations(session)
            if queue.open_items(session, row.id, refs)
        }
    records = services.crm.fetch_many(refs).values()
    needed = dict.fromkeys(parent for record in records for parent in record.parents())
    return _ask(services, sorted(waiting), who=who, refs=[*refs, *needed])


def _chosen(services: Services, organisation_id: int | None) -> list[Organisation]:
    with services.database.read() as session:
        rows = profiles.organisations(session)
    return [row for row in rows if organisation_id in (None, row.id)]


def _has_work(session: Session, organisation_id: int, now: datetime) -> bool:
    """Whether something is due, or a call whose outcome nobody knows yet waits to be found out.

    A run that ends while it asks Xero about such a call (a scope is missing, say) leaves it open.
    """
    due = queue.due_count(session, organisation_id, now=now)
    return bool(due or journal.still_open(session, organisation_id))


def _ask(
    services: Services, organisation_ids: Sequence[int], *, who: str, refs: Sequence[RecordRef] = ()
) -> list[int]:
    """Asks for an instant run of each; `refs` may go even where an organisation isn't live."""
    now = services.clock.now()
    with services.database.write() as session:
        leases.lock(session, organisation_ids)
        runs = [
            logs.ask_run(session, one, kind="instant", requested_by=who, now=now).id
            for one in organisation_ids
        ]
        for one, run_id in zip(organisation_ids, runs, strict=True):
            queue.reserve(session, one, refs, run_id=run_id)
            # A person who asks doesn't wait for the back-off; Xero's own limits still hold.
            row = session.get_one(Organisation, one)
            if not row.held_by_xero:
                row.held_until = None
    for one in organisation_ids:
        services.dispatcher.wake(one)
    return runs


def schedule_due(services: Services) -> list[int]:
    """Asks for a run of every live organisation that has something due; answers with their ids."""
    intake.relay(services)
    now = services.clock.now()
    woken = []
    with services.database.write() as session:
        rules = profiles.profiles(session)
        broken = profiles.broken_connections(session)
        for row in profiles.organisations(session):
            if not row.live_since or not row.auto_sync or row.paused_at:
                continue
            if row.held_until and row.held_until > now:
                continue
            if row.removed or row.connection_id in broken:
                continue  # it goes on by itself once a person has connected again
            for rule in rules:
                if rule.organisation_id == row.id and rule.retries:
                    queue.retry_by_schedule(
                        session, row.id, rule.module, most=rule.retries, now=now
                    )
            if _has_work(session, row.id, now):
                # A run that was parked takes what is due along.
                if not logs.unended_runs(session, row.id):
                    logs.ask_run(
                        session, row.id, kind="scheduled", requested_by="schedule", now=now
                    )
                woken.append(row.id)
    return woken


def work(services: Services, organisation_id: int) -> None:
    """Carries out the runs that wait for an organisation, one after the other."""
    while (run_id := _start(services, organisation_id)) is not None:
        outcome = drain(services, organisation_id, run_id=run_id)
        if outcome.parked:
            if not outcome.elsewhere:
                _note(services, run_id, outcome.sentence)
            return
        if not _end(services, run_id, outcome.sentence):
            continue  # another worker came to its end first, and reports it
        reports.report_ended(services)


def _start(services: Services, organisation_id: int) -> int | None:
    """The oldest run that isn't over, marked as started; None if there is none or it must wait."""
    now = services.clock.now()
    with services.database.write() as session:
        row = session.get_one(Organisation, organisation_id)
        if row.paused_at or (row.held_until and row.held_until > now):
            return None
        if row.lease_until and row.lease_until > now:
            return None
        runs = logs.unended_runs(session, organisation_id)
        if not runs:
            return None
        run = runs[0]
        if run.started_at is None:
            run.started_at = now
            run.due = queue.due_count(session, organisation_id, now=now)
        run.sentence = None
        return run.id


def _note(services: Services, run_id: int, sentence: str | None) -> None:
    with services.database.write() as session:
        session.get_one(Run, run_id).sentence = sentence


def _end(services: Services, run_id: int, sentence: str | None) -> bool:
    """Ends a run; False if it had ended already."""
    now = services.clock.now()
    with services.database.write() as session:
        run = session.get_one(Run, run_id, with_for_update=True)
        if run.ended_at is not None:
            return False
        seconds = max(0, round((now - (run.started_at or run.asked_at)).total_seconds()))
        logs.sum_up(session, run)
        run.ended_at = now
        run.trouble = sentence is not None
        run.sentence = sentence or (
            f"Finished in {seconds} s: {run.succeeded} succeeded, {run.unchanged} unchanged, "
            f"{run.failed} failed, {run.blocked} blocked."
        )
        return True


def waiting(services: Services) -> list[int]:
    """Organisations with work to carry on: asked or parked runs, or calls left open."""
    now = services.clock.now()
    with services.database.read() as session:
        asked = {run.organisation_id for run in logs.unended_runs(session)}
        left_open = set(
            session.scalars(
                select(Attempt.organisation_id).where(text("closed_at IS NULL")).distinct()
            )
        )
        broken = profiles.broken_connections(session)
        ready = []
        for row in profiles.organisations(session):
            if row.id not in asked | left_open or row.paused_at:
                continue
            if row.id not in asked and (row.removed or row.connection_id in broken):
                continue  # nothing can be found out before a person has connected again
            if row.held_until and row.held_until > now:
                continue
            if row.lease_until and row.lease_until > now:
                continue
            ready.append((row.id, row.id in asked))
    orphans = [one for one, has_run in ready if not has_run]
    if orphans:
        with services.database.write() as session:
            for one in orphans:
                logs.ask_run(session, one, kind="scheduled", requested_by="recovery", now=now)
    return [one for one, _has_run in ready]


def once(services: Services, *, due_only: bool = True) -> None:
    """One pass for hosts that only have cron: relay, ask, drain, mail, in this process."""
    tokens.keep_alive(services)
    webhooks.handle(services)
    for organisation_id in dict.fromkeys([*schedule_due(services), *waiting(services)]):
        work(services, organisation_id)
    webhooks.forget(services)
    tokens.count_usage(services)
    reports.report_ended(services)


class Embedded:
    """The dispatcher of one process: a thread pool, and APScheduler that only ticks."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pool = ThreadPoolExecutor(POOL, thread_name_prefix="xtiger-drain")
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        self._ending = threading.Event()
        services.stopping = self._ending.is_set
        self._again: set[int] = set()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def wake(self, organisation_id: int) -> None:
        """Drains an organisation in the pool; one that is busy is looked at again after."""
        with self._lock:
            if organisation_id in self._busy:
                self._again.add(organisation_id)
                return
            self._busy.add(organisation_id)
        self._pool.submit(self._carry_out, organisation_id)

    def _carry_out(self, organisation_id: int) -> None:
        try:
            work(self._services, organisation_id)
        except XTigerError as failure:
            log.warning("drain stopped", organisation=organisation_id, why=failure.sentence)
        except Exception:
            # A fault of ours must not end the worker; the lease expires and recovery repairs.
            log.exception("drain broke", organisation=organisation_id)
        finally:
            with self._lock:
                self._busy.discard(organisation_id)
                again = organisation_id in self._again
                self._again.discard(organisation_id)
            if again and not self._ending.is_set():
                self.wake(organisation_id)

    def tick(self) -> None:
        """Relays changes and wakes what waits."""
        self._safely(self._tick)

    def _tick(self) -> None:
        intake.relay(self._services)
        for organisation_id in waiting(self._services):
            self.wake(organisation_id)

    def receive(self) -> None:
        """Puts what Xero's webhooks told into the inbox, and counts what calls took."""
        self._safely(lambda: webhooks.handle(self._services))
        self._safely(lambda: webhooks.forget(self._services))
        self._safely(lambda: tokens.count_usage(self._services))

    def keep(self) -> None:
        """Keeps quiet connections alive."""
        self._safely(lambda: tokens.keep_alive(self._services))

    def post(self) -> None:
        """Writes the mails of ended runs and sends what waits; a slow server delays only these."""
        self._safely(lambda: reports.report_ended(self._services))

    def due(self) -> None:
        """The schedule's own beat."""
        self._safely(self._due)

    def _due(self) -> None:
        for organisation_id in schedule_due(self._services):
            self.wake(organisation_id)

    def _safely(self, beat: Callable[[], object]) -> None:
        try:
            beat()
        except XTigerError as failure:
            log.warning("beat missed", why=failure.sentence)

    def start(self) -> None:
        """Starts ticking; nothing runs before this is called."""
        factor = self._services.settings.time_factor
        self._scheduler.add_job(
            self.tick,
            "interval",
            seconds=max(0.2, TICK * min(1, factor)),
            id="tick",
            next_run_time=datetime.now(UTC),
        )
        self._scheduler.add_job(
            self.post, "interval", seconds=max(0.2, TICK * min(1, factor)), id="post"
        )
        self._scheduler.add_job(
            self.receive, "interval", seconds=max(0.2, TICK * min(1, factor)), id="receive"
        )
        self._scheduler.add_job(
            self.keep,
            "interval",
            seconds=max(1, KEEP * min(1, factor)),
            id="keep",
            next_run_time=datetime.now(UTC) + timedelta(seconds=TICK),
        )
        interval = self._services.settings.sync_interval
        self._scheduler.add_job(
            self.due,
            "interval",
            seconds=interval,
            id="due",
            next_run_time=datetime.now(UTC) + timedelta(seconds=interval),
        )
        self._scheduler.start()

    def stop(self) -> None:
        """Stops ticking and waits for the calls under way, not for the rest of the queue."""
        self._ending.set()
        self._scheduler.shutdown(wait=False)
        self._pool.shutdown(wait=True, cancel_futures=True)

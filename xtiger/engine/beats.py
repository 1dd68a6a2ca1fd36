"""The beats of a working process: APScheduler that only ticks, ears, heartbeat, and a pool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from xtiger.domain.errors import XTigerError
from xtiger.engine import intake
from xtiger.engine.alerting import alerts
from xtiger.engine.connection import reference, tokens, webhooks
from xtiger.engine.reporting import reports
from xtiger.engine.scheduler import schedule_due, waiting, work
from xtiger.engine.services import Services
from xtiger.engine.turns import SLICE, Turns
from xtiger.engine.upkeep import housekeeping, keys
from xtiger.engine.upkeep.watchdog import Watchdog
from xtiger.store import wakes, workers
from xtiger.telemetry import logger

#: Seconds between two looks for asked runs, parked ones, waiting mails and the schedule.
TICK = 2
#: Seconds until failed items are taken again that the schedule may retry.
RETRY = 300
#: Seconds between two looks for connections that were quiet for a day.
KEEP = 3600
#: Seconds between two looks whether the day's housekeeping is due.
TIDY = 600
#: Seconds until a listener that lost the database tries again.
_DEAF = 1.0

log = logger("scheduler")


class Beats:
    """What every working process does besides draining; a beat only dispatches.

    `kind` is serve, worker or fleet. `wake` is for subclasses: by default it asks the services'
    dispatcher.
    """

    def __init__(self, services: Services, kind: str) -> None:
        self._services = services
        self._ending = threading.Event()
        services.stopping = self._ending.is_set
        self._watchdog = Watchdog(services, kind)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def wake(self, organisation_id: int) -> None:
        """Starts work on an organisation, soon."""
        self._services.dispatcher.wake(organisation_id)

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

    def tidy(self) -> None:
        """Seals anew what an older key sealed. Once a day, wherever it is asked first: takes
        what is old, reads what Xero changed.
        """
        self._safely(lambda: keys.seal_anew(self._services))
        self._safely(lambda: housekeeping.when_due(self._services))
        self._safely(lambda: reference.nightly(self._services))

    def post(self) -> None:
        """Writes the mails of ended runs and sends what waits; a slow server delays only these.

        Once a minute some process looks what is wrong; the next beat sends what it wrote.
        """
        self._safely(lambda: reports.report_ended(self._services))
        self._safely(lambda: alerts.look(self._services))

    def due(self) -> None:
        """The schedule's own beat: one an interval, however many processes there are."""
        self._safely(self._due)

    def _due(self) -> None:
        database, now = self._services.database, self._services.clock.now()
        settings = self._services.settings
        every = timedelta(seconds=settings.sync_interval)
        with database.read() as session:
            if not workers.schedule_is_due(session, now=now, every=every):
                return
        with database.write() as session:
            if not workers.take_schedule(session, now=now, every=every):
                return
            again = max(every, timedelta(seconds=RETRY * min(1, settings.time_factor)))
            retries = workers.take_schedule(session, now=now, every=again, name=workers.RETRIED)
        for organisation_id in schedule_due(self._services, retries=retries):
            self.wake(organisation_id)

    def _safely(self, beat: Callable[[], object]) -> None:
        try:
            beat()
        except XTigerError as failure:
            log.warning("beat missed", why=failure.sentence)
        except Exception:
            # What comes after it in the same beat has nothing to do with it.
            log.exception("beat broke")

    def _listen(self) -> None:
        while not self._ending.is_set():
            try:
                wakes.listen(self._services.database, self.wake, self._ending)
            except XTigerError as failure:
                log.warning("not listening", why=failure.sentence)
            except Exception:
                # The ticks go on finding what it would have heard.
                log.exception("listening broke")
            self._ending.wait(_DEAF)

    def start(self) -> None:
        """Starts ticking, listening and beating; nothing runs before this is called."""
        factor = min(1, self._services.settings.time_factor)
        often = max(0.2, TICK * factor)
        now = datetime.now(UTC)
        soon = now + timedelta(seconds=TICK)
        for beat, seconds, first in (
            (self.tick, often, now),
            (self.post, often, now + timedelta(seconds=often)),
            (self.receive, often, now + timedelta(seconds=often)),
            (self.due, often, now),
            (self.keep, max(1, KEEP * factor), soon),
            (self.tidy, TIDY, now + timedelta(seconds=TIDY)),
        ):
            self._scheduler.add_job(
                beat, "interval", seconds=seconds, id=beat.__name__, next_run_time=first
            )
        self._watchdog.start()
        threading.Thread(target=self._listen, name="xtiger-ears", daemon=True).start()
        self._scheduler.start()

    def hush(self) -> None:
        """From now on nothing new begins: drains stop between two calls."""
        self._ending.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def stop(self) -> None:
        """Ends it all, the heartbeat last."""
        self.hush()
        self._watchdog.stop()


class Embedded(Beats):
    """The dispatcher of one process: a pool of threads that drains.

    Places are given in the order in which organisations were woken. While others wait, a drain
    gives its place away after a while and comes again behind them.
    """

    def __init__(self, services: Services, kind: str = "worker") -> None:
        super().__init__(services, kind)
        self._pool = ThreadPoolExecutor(
            services.settings.organisations_at_once, thread_name_prefix="xtiger-drain"
        )
        self._lock = threading.Lock()
        self._queued: set[int] = set()
        factor = min(1, services.settings.time_factor)
        self._turns = Turns(SLICE * factor, lambda: bool(self._queued))
        services.crowded = self._turns.crowded

    def wake(self, organisation_id: int) -> None:
        """Drains an organisation in the pool; one that is busy is looked at again after."""
        with self._lock:
            if organisation_id in self._queued or self._ending.is_set():
                return
            if self._turns.busy(organisation_id):
                return
            self._queued.add(organisation_id)
            self._pool.submit(self._carry_out, organisation_id)

    def _carry_out(self, organisation_id: int) -> None:
        with self._lock:
            self._queued.discard(organisation_id)
            begun = self._turns.begin(organisation_id)
        if not begun:
            return
        try:
            work(self._services, organisation_id)
        except XTigerError as failure:
            log.warning("drain stopped", organisation=organisation_id, why=failure.sentence)
        except Exception:
            # A fault of ours must not end the worker; the lease expires and recovery repairs.
            log.exception("drain broke", organisation=organisation_id)
        finally:
            if self._turns.end(organisation_id) and not self._ending.is_set():
                self.wake(organisation_id)

    def stop(self) -> None:
        """Stops ticking and waits for the calls under way, not for the rest of the queue."""
        self.hush()
        with self._lock:
            pass  # whoever wakes now knows that it ends
        self._pool.shutdown(wait=True, cancel_futures=True)
        super().stop()

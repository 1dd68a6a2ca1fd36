"""Ends a process that can no longer show that it lives, before a successor works beside it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from xtiger.domain.errors import XTigerError
from xtiger.engine.services import Services
from xtiger.store import workers
from xtiger.store.models import Organisation
from xtiger.telemetry import logger

#: The exit code of a process that ended itself: EX_TEMPFAIL, start it again.
ENDED = 75
#: The least seconds of silence that end a process, however fast a rehearsal's time runs.
LEAST = 10.0

log = logger("watchdog")


class Watchdog:
    """Beats in the database from one thread, and judges from another.

    1. A thread writes the heartbeat six times within the patience, a third of a lease. A database
       that is cut off may never answer it, so this thread can't judge.
    2. The judge asks nothing of anybody: once the last heartbeat is older than the patience, the
       process ends at once, without clearing up. The organisations' leases expire, others go on.
    3. With each heartbeat it looks at the drains that have worked for longer than a lease: one
       whose lease has run out or has gone to somebody else, and that hasn't noticed for the time
       of one more call, hangs; that ends the process too.

    A full database still answers, and nobody else could work on it either: that is no reason to
    end. A server of pages (`kind` serve) stays while the database refuses, since it tells people
    so; silence ends it as well.
    """

    def __init__(
        self, services: Services, kind: str, *, end: Callable[[int], object] = os._exit
    ) -> None:
        self._services = services
        self._kind = kind
        self._end = end
        patience = services.patience
        #: Seconds of silence that end the process.
        self.silence = max(LEAST, patience.lease / 3)
        self._ending = threading.Event()
        self._last = time.monotonic()
        self._lost: dict[tuple[int, float], float] = {}

    def start(self) -> None:
        """Begins to beat and to judge."""
        self._last = time.monotonic()
        for name, target in (("xtiger-beat", self._beat_on), ("xtiger-watchdog", self._judge)):
            threading.Thread(target=target, name=name, daemon=True).start()

    def stop(self) -> None:
        """The process ends as it was told to: others needn't wait for its heartbeat."""
        self._ending.set()
        try:
            with self._services.database.write() as session:
                workers.leave(session, self._services.worker)
        except XTigerError as failure:
            log.warning("not signed off", why=failure.sentence)

    def _beat_on(self) -> None:
        while True:
            try:
                self._beat()
                self._last = time.monotonic()
            except XTigerError as failure:
                log.warning("no heartbeat", why=failure.sentence)
                if self._kind == "serve" or failure.sentence.startswith("The database is full"):
                    self._last = time.monotonic()
            except Exception:
                log.exception("heartbeat broke")
            if self._ending.wait(self.silence / 6):
                return

    def _beat(self) -> None:
        services = self._services
        now = services.clock.now()
        with services.database.write() as session:
            workers.beat(session, services.worker, kind=self._kind, now=now)
        lease = services.patience.lease
        drains = [
            each for each in services.under_way.values() if time.monotonic() - each[1] > lease
        ]
        lost: dict[tuple[int, float], float] = {}
        if drains:
            with services.database.read() as session:
                for drain in drains:
                    row = session.get(Organisation, drain[0])
                    ours = row is not None and row.holder == services.worker
                    if not (ours and row and row.lease_until and row.lease_until > now):
                        lost[drain] = self._lost.get(drain, time.monotonic())
        self._lost = lost

    def _judge(self) -> None:
        while not self._ending.wait(min(1.0, self.silence / 10)):
            silent = time.monotonic() - self._last
            if silent > self.silence:
                self._bite(f"The database hasn't taken a heartbeat for {silent:.0f} s.")
            for (organisation_id, began), since in list(self._lost.items()):
                # What ended meanwhile doesn't hang.
                if (organisation_id, began) not in self._services.under_way.values():
                    continue
                if time.monotonic() - since > self._services.patience.call:
                    self._bite(f"The drain of organisation {organisation_id} hangs.")

    def _bite(self, why: str) -> None:
        log.error("worker ended", why=why, worker=self._services.worker)
        sys.stderr.flush()
        self._end(ENDED)

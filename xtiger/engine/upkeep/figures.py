"""The figures of queue and workers for Prometheus, read from the database when they're asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from xtiger.domain.errors import XTigerError
from xtiger.domain.queueing import State
from xtiger.engine.services import Services
from xtiger.store import profiles, workers
from xtiger.store.models import Attempt, Mail, Organisation, QueueItem
from xtiger.telemetry import FIGURES, may_read_figures

#: Prometheus's own text format.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: The states whose depth is told; ended items are history, and many.
OPEN = (State.PENDING, State.RUNNING, State.BLOCKED, State.FAILED, State.CHECK)
#: What Xero says of the day's calls is forgotten with the day.
_DAY = timedelta(days=1)
#: Headers by which a proxy says that it passes a request on.
_PASSED_ON = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_VIA")


def exposition(services: Services) -> bytes:
    """All figures in Prometheus's text format, all named `xtiger_…`.

    Organisations appear by their id: names may be people's. Where the database is away, the
    process's own figures come alone, and `xtiger_up` is 0.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Queue(services))
    return generate_latest(registry) + generate_latest(FIGURES)


def wsgi(services: Services) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """The figures alone as a WSGI app, for workers, which have no pages."""

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/metrics":
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"The figures are at /metrics.\n"]
        # This port is the figures' own: nobody reaches pages by it, so no proxy stands before it.
        if not permitted(services, environ, site="localhost"):
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"Send the token of XTIGER_METRICS_TOKEN, or ask on this machine itself.\n"]
        start("200 OK", [("Content-Type", CONTENT_TYPE), ("Cache-Control", "no-store")])
        return [exposition(services)]

    return answer


def permitted(services: Services, environ: dict[str, Any], *, site: str) -> bool:
    """Whether a WSGI request may read the figures of a server that people reach as `site`."""
    return may_read_figures(
        services.settings.metrics_token,
        authorization=environ.get("HTTP_AUTHORIZATION", ""),
        address=environ.get("REMOTE_ADDR", ""),
        host=environ.get("HTTP_HOST", ""),
        forwarded=any(name in environ for name in _PASSED_ON),
        site=site,
    )


class _Queue(Collector):
    """Asks the database at each scrape; every query goes by an index of open rows."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterable[GaugeMetricFamily]:
        up = GaugeMetricFamily("xtiger_up", "Whether the database answers.")
        try:
            with self._services.database.read() as session:
                found = list(self._read(session))
        except XTigerError:
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        return [up, *found]

    def _read(self, session: Session) -> Iterable[GaugeMetricFamily]:
        now = self._services.clock.now()
        organisations = profiles.organisations(session)
        yield self._depth(session, organisations)

        age = GaugeMetricFamily(
            "xtiger_queue_oldest_due_seconds",
            "Age of the oldest item whose turn has come.",
            labels=["organisation"],
        )
        oldest: Any = session.execute(
            select(QueueItem.organisation_id, func.min(QueueItem.added_at))
            .where(
                text("state = 'pending'"),
                or_(QueueItem.not_before.is_(None), QueueItem.not_before <= now),
            )
            .group_by(QueueItem.organisation_id)
        )
        since = dict(oldest.all())
        for one in organisations:
            began = since.get(one.id)
            seconds = max(0.0, (now - began).total_seconds()) if began else 0.0
            age.add_metric([str(one.id)], seconds)
        yield age

        left = GaugeMetricFamily(
            "xtiger_calls_left_today",
            "Calls that Xero said are left today.",
            labels=["organisation"],
        )
        held = GaugeMetricFamily(
            "xtiger_organisation_waits",
            "Whether an organisation is held, paused or needs to be connected again.",
            labels=["organisation"],
        )
        broken = profiles.broken_connections(session)
        for one in organisations:
            if one.day_left is not None and one.day_left_at and one.day_left_at > now - _DAY:
                left.add_metric([str(one.id)], one.day_left)
            parked = one.held_until is not None and one.held_until > now
            waits = parked or one.paused_at or one.removed or one.connection_id in broken
            held.add_metric([str(one.id)], int(bool(waits)))
        yield left
        yield held

        running = sum(1 for one in organisations if one.lease_until and one.lease_until > now)
        yield _one("xtiger_drains_running", "Organisations that a worker works on now.", running)

        yield _per_organisation(
            session,
            "xtiger_attempts_open",
            "Calls whose outcome isn't known yet.",
            organisations,
            select(Attempt.organisation_id, func.count())
            .where(text("closed_at IS NULL"))
            .group_by(Attempt.organisation_id),
        )
        mails = session.scalar(
            select(func.count()).select_from(Mail).where(text("state = 'waiting'"))
        )
        yield _one("xtiger_mails_waiting", "Mails that aren't sent yet.", mails or 0)

        beats = GaugeMetricFamily(
            "xtiger_worker_beat_age_seconds",
            "Seconds since a process last showed that it lives.",
            labels=["worker", "kind"],
        )
        for row in workers.known(session, now=now):
            beats.add_metric([row.name, row.kind], (now - row.beat_at).total_seconds())
        yield beats

    def _depth(self, session: Session, organisations: list[Organisation]) -> GaugeMetricFamily:
        depth = GaugeMetricFamily(
            "xtiger_queue_items", "Open items by state.", labels=["organisation", "state"]
        )
        rows: Any = session.execute(
            select(QueueItem.organisation_id, QueueItem.state, func.count())
            .where(QueueItem.state.in_([state.value for state in OPEN]))
            .group_by(QueueItem.organisation_id, QueueItem.state)
        )
        found = {(organisation_id, state): count for organisation_id, state, count in rows}
        for one in organisations:
            for state in OPEN:
                depth.add_metric([str(one.id), state.value], found.get((one.id, state.value), 0))
        return depth


def _one(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning)
    family.add_metric([], value)
    return family


def _per_organisation(
    session: Session, name: str, meaning: str, organisations: list[Organisation], statement: Any
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=["organisation"])
    rows: Any = session.execute(statement).all()
    found = dict(rows)
    for one in organisations:
        family.add_metric([str(one.id)], found.get(one.id, 0))
    return family

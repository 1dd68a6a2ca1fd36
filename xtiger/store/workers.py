"""Who works on the queue: heartbeats of processes, and whose turn the schedule is."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from xtiger.store import profiles
from xtiger.store.models import Setting, Worker

#: A process that was silent for so long is forgotten.
FORGOTTEN = timedelta(hours=1)
#: One that was silent for so long has ended: it beats six times as often, or its watchdog ends it.
SILENT = timedelta(minutes=1)
#: The settings that say when the schedule's beat, and the one that takes failed items again,
#: last came: ISO moments, UTC.
SCHEDULED, RETRIED = "schedule.beat", "schedule.retries"


def beat(session: Session, name: str, *, kind: str, now: datetime) -> None:
    """Notes that a process lives; the first time it also forgets those that ended long ago.

    `name` is the process's own (at most 80 signs), `kind` one of serve, worker, fleet.
    """
    row = session.get(Worker, name)
    if row is None:
        session.execute(delete(Worker).where(Worker.beat_at < now - FORGOTTEN))
        session.add(Worker(name=name, kind=kind, started_at=now, beat_at=now))
    else:
        row.beat_at = now


def leave(session: Session, name: str) -> None:
    """Takes out a process that ends as it was told to."""
    session.execute(delete(Worker).where(Worker.name == name))


def known(session: Session, *, now: datetime) -> list[Worker]:
    """Processes heard of within the hour, oldest first."""
    return list(
        session.scalars(
            select(Worker)
            .where(Worker.beat_at >= now - FORGOTTEN)
            .order_by(Worker.started_at, Worker.name)
        )
    )


def ended_at(session: Session, name: str | None, *, now: datetime) -> datetime | None:
    """The last heartbeat of a process that has surely ended; None: it lives, or nobody knows."""
    row = session.get(Worker, name) if name else None
    return row.beat_at if row is not None and now - row.beat_at > SILENT else None


def schedule_is_due(
    session: Session, *, now: datetime, every: timedelta, name: str = SCHEDULED
) -> bool:
    """Whether the schedule's beat is due: one beat an interval, however many processes ask."""
    row = session.get(Setting, name)
    return row is None or _overdue(row, now, every)


def take_schedule(
    session: Session, *, now: datetime, every: timedelta, name: str = SCHEDULED
) -> bool:
    """Takes the schedule's beat if it is due and nobody else took it; the first only notes when.

    It belongs into a transaction that writes.
    """
    row = profiles.hold_setting(session, name)
    first = not row.value
    if not first and not _overdue(row, now, every):
        return False
    row.value = now.isoformat()
    return not first


def _overdue(row: Setting, now: datetime, every: timedelta) -> bool:
    try:
        last = datetime.fromisoformat(str(row.value))
    except ValueError:
        return True
    # A clock that was put back must not stop the schedule.
    return not now - every < last <= now + every

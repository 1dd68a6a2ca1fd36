"""What tells that something is wrong: facts of the database, each found by an index.

Whoever works may ask each minute, beside a million rows of the queue and of the log. Counts of
records end at `EXACT` + 1, which is printed as "10,000+".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import exists, func, or_, select, text
from sqlalchemy.orm import Session, aliased

from xtiger.domain.queueing import State, turn
from xtiger.domain.resources import CATALOGUE
from xtiger.store.models import (
    Alert,
    Connection,
    LogEntry,
    Mail,
    OutboxRow,
    QueueItem,
    Run,
    Subscription,
    Webhook,
    Worker,
)

#: Counts are exact up to here.
EXACT = 10_000
#: Rows looked through where no index gives the answer itself.
_WINDOW = 200
#: Deliveries of webhooks by which their usual distance is judged.
_DELIVERIES = 50

#: The WHERE of partial indexes, which SQLite uses only if it stands in the query.
_PENDING = text("state = 'pending'")
_NOT_PENDING = text("state <> 'pending'")
_WAITS = text("state = 'waiting'")
_GIVEN_UP = text("state = 'failed'")
#: For so long a mail that was given up is told of.
_OF_LATE = timedelta(days=1)

#: Turns in which items may wait, those of removals too.
_RANKS = tuple(
    sorted({turn(info.rank, removes=gone) for info in CATALOGUE.values() for gone in (False, True)})
)


# -- alerts ------------------------------------------------------------------------------------


def standing(session: Session) -> list[Alert]:
    """The alerts that are open, oldest first."""
    return list(session.scalars(select(Alert).where(Alert.closed_at.is_(None)).order_by(Alert.id)))


def closed_since(session: Session, moment: datetime) -> list[Alert]:
    """The alerts that were over at a moment or later."""
    return list(session.scalars(select(Alert).where(Alert.closed_at >= moment).order_by(Alert.id)))


def listeners(session: Session) -> list[Subscription]:
    """Subscriptions with alerts on that nobody stopped."""
    return list(
        session.scalars(
            select(Subscription)
            .where(Subscription.alerts.is_(True), Subscription.stopped_at.is_(None))
            .order_by(Subscription.id)
        )
    )


# -- what waits --------------------------------------------------------------------------------


def _counted(session: Session, *tests: Any, key: Any = QueueItem.id) -> int:
    inner = select(key).where(*tests).order_by(key).limit(EXACT + 1).subquery()
    return session.scalar(select(func.count()).select_from(inner)) or 0


def waiting(session: Session, organisation_id: int) -> int:
    """How many records of an organisation go by themselves once nothing holds it.

    What a failed record blocks doesn't: that needs a person first.
    """
    parent = aliased(QueueItem)
    stuck = exists().where(
        parent.id == QueueItem.blocked_by,
        parent.state.in_((State.FAILED.value, State.CHECK.value)),
    )
    mine = QueueItem.organisation_id == organisation_id
    total = _counted(session, mine, _PENDING, key=QueueItem.rank)
    for state in (State.RUNNING, State.BLOCKED):
        if total <= EXACT:
            total += _counted(session, mine, _NOT_PENDING, QueueItem.state == state.value, ~stuck)
    return min(total, EXACT + 1)


def waiting_of(session: Session, organisation_id: int, module: str, rank: int) -> int:
    """How many records of a module wait their turn."""
    return _counted(
        session,
        QueueItem.organisation_id == organisation_id,
        _PENDING,
        QueueItem.rank == rank,
        QueueItem.module == module,
        key=QueueItem.rank,
    )


def changes_waiting(session: Session) -> tuple[int, datetime | None]:
    """How many records changed in the CRM and nobody has looked; and when the oldest change was."""
    newest = select(OutboxRow.module, OutboxRow.record_id).order_by(OutboxRow.id).limit(EXACT + 1)
    records = newest.subquery().select().distinct().subquery()
    number = session.scalar(select(func.count()).select_from(records)) or 0
    return number, session.scalar(select(OutboxRow.at).order_by(OutboxRow.id).limit(1))


def waits_since(
    session: Session,
    organisation_id: int,
    *,
    now: datetime,
    cut: datetime,
    turns: Mapping[str, datetime | None],
    left_alone: Collection[str] = (),
    caps: Mapping[str, int] | None = None,
) -> datetime | None:
    """Since when the oldest record waits that might have gone before `cut`; None: there is none.

    `turns` are the newest turns before `cut` of modules with a schedule (None: never by itself);
    a record came in time for it, or for `cut`. `left_alone` are modules of which nothing goes,
    `caps` places behind which nothing of a module goes. Only the oldest of each turn are looked
    at: places are given in the order of time.
    """
    oldest: datetime | None = None
    for rank in _RANKS:
        rows = session.execute(
            select(
                QueueItem.id,
                QueueItem.module,
                QueueItem.tries,
                QueueItem.not_before,
                QueueItem.added_at,
                QueueItem.changed_at,
            )
            .where(QueueItem.organisation_id == organisation_id, _PENDING, QueueItem.rank == rank)
            .order_by(QueueItem.id)
            .limit(_WINDOW)
        )
        for row in rows:
            turn = turns.get(row.module, cut)
            # What was refused and is tried again waits since then, at its old place.
            since = max(row.added_at, row.changed_at) if row.tries else row.added_at
            late = turn is not None and since <= turn
            held = row.module in left_alone or row.id > (caps or {}).get(row.module, row.id)
            if late and not held and (row.not_before is None or row.not_before <= now):
                oldest = since if oldest is None else min(oldest, since)
    return oldest


def asked_before(session: Session, organisation_id: int, moment: datetime) -> bool:
    """Whether a run that was asked for before a moment isn't over."""
    found = select(Run.id).where(
        text("ended_at IS NULL"), Run.organisation_id == organisation_id, Run.asked_at <= moment
    )
    return session.scalar(found.limit(1)) is not None


# -- who works, who tells ----------------------------------------------------------------------


def newest_beat(session: Session) -> datetime | None:
    """When a worker process last showed that it lives; None where all that were signed off."""
    return session.scalar(select(func.max(Worker.beat_at)))


def broken(session: Session) -> dict[int, tuple[str, datetime | None]]:
    """The consents for which a person must connect again: why, and since when."""
    rows: Iterable[Any] = session.execute(
        select(Connection.id, Connection.broken, Connection.broken_at).where(
            Connection.broken.is_not(None)
        )
    )
    return {one: (why, at) for one, why, at in rows}


def longest_gap(session: Session) -> timedelta | None:
    """The longest time between two of the last deliveries of webhooks that are kept."""
    moments: Sequence[datetime] = session.scalars(
        select(Webhook.received_at).order_by(Webhook.id.desc()).limit(_DELIVERIES)
    ).all()
    gaps = [later - earlier for later, earlier in pairwise(moments)]
    return max(gaps, default=None)


def written_between(
    session: Session,
    organisation_id: int,
    modules: Collection[str],
    *,
    after: datetime,
    before: datetime,
) -> bool:
    """Whether the log's newest entries say that Xero took a record of a module in that time."""
    rows = session.execute(
        select(LogEntry.at, LogEntry.outcome, LogEntry.module)
        .where(LogEntry.organisation_id == organisation_id)
        .order_by(LogEntry.id.desc())
        .limit(_WINDOW)
    )
    return any(
        after < row.at <= before and row.outcome == State.SUCCEEDED.value and row.module in modules
        for row in rows
    )


class Unsent(NamedTuple):
    """How many mails wait in vain and how many were given up of late; the oldest of them all."""

    waiting: int
    failed: int
    oldest: Mail | None


def unsent(session: Session, *, before: datetime) -> Unsent:
    """Mails that didn't go: written before a moment and waiting in vain, or given up since a day.

    Those wait in vain that were tried, or that have a `why`. A test mail that failed was told to
    who sent it.
    """
    waits = (
        _WAITS,
        or_(Mail.tries > 0, Mail.why.is_not(None)),
        Mail.made_at <= before,
    )
    failed = (_GIVEN_UP, Mail.not_before > before - _OF_LATE, Mail.kind != "test")
    counts = [
        _counted(session, *waits, key=Mail.id),
        _counted(session, *failed, key=Mail.not_before),
    ]
    first = [
        session.scalar(select(Mail).where(*waits).order_by(Mail.id).limit(1)),
        session.scalar(select(Mail).where(*failed).order_by(Mail.not_before).limit(1)),
    ]
    oldest = min(filter(None, first), key=lambda mail: mail.made_at, default=None)
    return Unsent(counts[0], counts[1], oldest)

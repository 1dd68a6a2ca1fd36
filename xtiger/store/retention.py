"""Which rows of the history retention takes, and taking them by slices.

Every table is walked by its key, oldest rows first: what is old has a low number, so a walk
ends where the young begins and no table is read as a whole. Only the bytes of calls have an
index of their own, because the calls themselves stay long after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Exists,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.orm import Session, aliased

from xtiger.domain.queueing import ENDED, OPEN
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Awake,
    LogEntry,
    Mail,
    Moment,
    QueueItem,
    ReportPeriod,
    Run,
    Setting,
    Subscription,
)
from xtiger.store.prepared import insert_into
from xtiger.store.schema import MOST_ROWS

_QUIET = {"synchronize_session": False}
_OPEN = [state.value for state in OPEN]
_ENDED = [state.value for state in ENDED]


class Kind(StrEnum):
    """What retention takes, in the order in which it does: a run goes after its entries."""

    BYTES = "bytes"  #: bodies and answers of calls; the calls, their hashes and ids stay
    LOG = "log entries"
    CALLS = "calls"
    ITEMS = "queue items"
    MAILS = "mails"
    RUNS = "runs"
    PERIODS = "report periods"  #: but the newest of each kind and reader: by it the next is told
    AWAKE = "times at work"


@dataclass(frozen=True, slots=True)
class Seen:
    """One look along a kind's rows.

    `ids` may go, and each touches as many rows as `weights` says. `after` is where the next
    look begins, None where nothing old lies behind.
    """

    ids: Sequence[int]
    weights: Mapping[int, int]
    after: Any


_MODEL: Mapping[Kind, Any] = {
    Kind.BYTES: Attempt,
    Kind.LOG: LogEntry,
    Kind.CALLS: Attempt,
    Kind.ITEMS: QueueItem,
    Kind.MAILS: Mail,
    Kind.RUNS: Run,
    Kind.PERIODS: ReportPeriod,
    Kind.AWAKE: Awake,
}
#: When a row was made: it grows with the key. And when it had its end.
_MADE: Mapping[Kind, Any] = {
    Kind.LOG: LogEntry.at,
    Kind.CALLS: Attempt.opened_at,
    Kind.ITEMS: QueueItem.added_at,
    Kind.MAILS: Mail.made_at,
    Kind.RUNS: Run.asked_at,
    Kind.PERIODS: ReportPeriod.made_at,
    Kind.AWAKE: Awake.began_at,
}


def look(
    session: Session,
    kind: Kind,
    *,
    before: datetime,
    after: Any = None,
    needed_runs: frozenset[int] = frozenset(),
    limit: int = MOST_ROWS,
) -> Seen:
    """What of the next `limit` rows behind `after` may go; only reads.

    `needed_runs` stay (`runs_of_open_items`).
    """
    model = _MODEL[kind]
    if kind is Kind.BYTES:
        passed, after = _kept_bytes(session, before, after, limit)
    else:
        made = _MADE[kind]
        rows = session.execute(
            select(model.id, made).where(model.id > (after or 0)).order_by(model.id).limit(limit)
        ).all()
        passed = [id for id, at in rows if at < before]
        after = rows[-1][0] if passed and len(rows) == limit else None
    # SQLite would give the number of a deleted newest row to the next one.
    newest = session.scalar(select(func.max(model.id))) or 0
    passed = [id for id in passed if id < newest or kind is Kind.BYTES]
    if kind is Kind.RUNS:
        passed = [id for id in passed if id not in needed_runs]
    ids = _free(session, kind, passed, before)
    return Seen(ids, _weights(session, kind, ids), after)


def _kept_bytes(
    session: Session, before: datetime, after: Any, limit: int
) -> tuple[list[int], Any]:
    """Closed calls whose bytes are kept, the longest closed first."""
    statement = (
        select(Attempt.id, Attempt.closed_at)
        # The literal WHERE of the partial index.
        .where(text("closed_at IS NOT NULL AND body IS NOT NULL"), Attempt.closed_at < before)
        .order_by(Attempt.closed_at, Attempt.id)
        .limit(limit)
    )
    if after is not None:
        here = tuple_(literal(after[0], Moment), literal(after[1]))
        statement = statement.where(tuple_(Attempt.closed_at, Attempt.id) > here)
    rows = session.execute(statement).all()
    last = (rows[-1][1], rows[-1][0]) if len(rows) == limit else None
    return [id for id, _closed in rows], last


def _free(
    session: Session, kind: Kind, ids: Sequence[int], before: datetime, *, lock: bool = False
) -> list[int]:
    """Those of the rows that ended long ago and that nothing open refers to."""
    if not ids:
        return []
    model = _MODEL[kind]
    statement = (
        select(model.id)
        .where(model.id.in_(ids), *_ended_and_unneeded(kind, before))
        .order_by(model.id)
    )
    if lock:
        # A second housekeeper leaves to the first what that one is taking.
        statement = statement.with_for_update(skip_locked=True)
    return list(session.scalars(statement))


def _ended_and_unneeded(kind: Kind, before: datetime) -> list[ColumnElement[bool]]:
    if kind in (Kind.BYTES, Kind.CALLS):
        tests = [Attempt.closed_at < before, ~_has_open_item(), ~_unfinished(Attempt.run_id)]
        return [Attempt.body.is_not(None), *tests] if kind is Kind.BYTES else tests
    if kind is Kind.LOG:
        open_item = select(QueueItem.id).where(
            QueueItem.id == LogEntry.item_id, QueueItem.state.in_(_OPEN)
        )
        return [LogEntry.at < before, ~open_item.exists(), ~_unfinished(LogEntry.run_id)]
    if kind is Kind.ITEMS:
        return [
            QueueItem.state.in_(_ENDED),
            QueueItem.changed_at < before,
            ~_lately_logged(before),
            ~_waited_for(),
            ~_in_open_call(),
            ~_unfinished(QueueItem.run_id),
        ]
    if kind is Kind.MAILS:
        return [Mail.made_at < before, Mail.state != "waiting", ~_unfinished(Mail.run_id)]
    if kind is Kind.PERIODS:
        mail = select(Mail.id).where(Mail.id == ReportPeriod.mail_id)
        reader = select(Subscription.id).where(Subscription.id == ReportPeriod.subscription_id)
        unneeded = or_(_told_later(), ~reader.exists())
        return [ReportPeriod.made_at < before, unneeded, ~mail.exists()]
    if kind is Kind.AWAKE:
        return [Awake.last_at < before]
    entries = select(LogEntry.id).where(LogEntry.run_id == Run.id)
    mails = select(Mail.id).where(Mail.run_id == Run.id)
    return [
        Run.ended_at < before,
        Run.reported.is_(True),
        ~entries.exists(),
        ~mails.exists(),
    ]


def _has_open_item() -> Exists:
    """A record of the call is still open: its bytes tell what was sent of it."""
    return (
        select(AttemptElement.id)
        .join(QueueItem, QueueItem.id == AttemptElement.item_id)
        .where(AttemptElement.attempt_id == Attempt.id, QueueItem.state.in_(_OPEN))
        .exists()
    )


def _unfinished(run_id: Any) -> Exists:
    """The run isn't over, or nobody has reported it yet."""
    run = aliased(Run)
    return (
        select(run.id)
        .where(run.id == run_id, or_(run.ended_at.is_(None), run.reported.is_(False)))
        .exists()
    )


def _told_later() -> Exists:
    """A later period of the kind was claimed for the same reader: what is due begins behind it."""
    later = aliased(ReportPeriod)
    return (
        select(later.id)
        .where(
            later.subscription_id == ReportPeriod.subscription_id,
            later.kind == ReportPeriod.kind,
            later.starts_on > ReportPeriod.starts_on,
        )
        .exists()
    )


def _lately_logged(before: datetime) -> Exists:
    """The item ended lately: no column says when, its log does."""
    return (
        select(LogEntry.id)
        .where(
            # The index on records leads to the entries of one item.
            LogEntry.module == QueueItem.module,
            LogEntry.record_id == QueueItem.record_id,
            LogEntry.item_id == QueueItem.id,
            LogEntry.at >= before,
        )
        .exists()
    )


def _waited_for() -> Exists:
    child = aliased(QueueItem, name="child")
    return (
        select(child.id).where(text("child.state = 'blocked'"), child.blocked_by == QueueItem.id)
    ).exists()


def _in_open_call() -> Exists:
    return (
        select(AttemptElement.id)
        .join(Attempt, Attempt.id == AttemptElement.attempt_id)
        .where(AttemptElement.item_id == QueueItem.id, Attempt.closed_at.is_(None))
        .exists()
    )


def _weights(session: Session, kind: Kind, ids: Sequence[int]) -> dict[int, int]:
    if kind not in (Kind.BYTES, Kind.CALLS) or not ids:
        return dict.fromkeys(ids, 1)
    counted = session.execute(
        select(AttemptElement.attempt_id, func.count())
        .where(AttemptElement.attempt_id.in_(ids))
        .group_by(AttemptElement.attempt_id)
    )
    elements: dict[int, int] = {int(id): int(number) for id, number in counted}
    return {id: 1 + elements.get(id, 0) for id in ids}


def runs_of_open_items(session: Session) -> frozenset[int]:
    """The runs that open items name; asked once, for no item comes to name an old run anew."""
    found = session.scalars(
        select(QueueItem.run_id)
        .where(QueueItem.state.in_(_OPEN), QueueItem.run_id.is_not(None))
        .distinct()
    )
    return frozenset(int(run_id) for run_id in found if run_id is not None)


def take(session: Session, kind: Kind, ids: Sequence[int], *, before: datetime) -> int:
    """Takes those of the rows that still may go; answers with how many of the kind.

    The caller's transaction writes; `ids` touch at most MOST_ROWS rows (`Seen.weights`).
    """
    going = _free(session, kind, ids, before, lock=True)
    if not going:
        return 0
    if kind is Kind.BYTES:
        _strip(session, going)
        return len(going)
    if kind is Kind.CALLS:
        session.execute(
            delete(AttemptElement)
            .where(AttemptElement.attempt_id.in_(going))
            .execution_options(**_QUIET)
        )
    model = _MODEL[kind]
    session.execute(delete(model).where(model.id.in_(going)).execution_options(**_QUIET))
    return len(going)


def _strip(session: Session, ids: Sequence[int]) -> None:
    """Takes from calls what names people and sums; hashes, ids and outcome stay."""
    session.execute(
        update(AttemptElement)
        .where(AttemptElement.attempt_id.in_(ids))
        .values(meant={}, label="", amount=None, currency=None)
        .execution_options(**_QUIET)
    )
    session.execute(
        update(Attempt)
        .where(Attempt.id.in_(ids))
        .values(body=None, answer=None, answer_headers=None)
        .execution_options(**_QUIET)
    )


#: The setting that says when housekeeping last began and ended.
_TURN = "housekeeping"


@dataclass(frozen=True, slots=True)
class Turn:
    """When housekeeping last began (None: never) and ended (None: it runs, or was cut off)."""

    began: datetime | None = None
    ended: datetime | None = None

    def as_value(self) -> dict[str, str | None]:
        """As it is stored."""
        return {
            "began": self.began.isoformat() if self.began else None,
            "ended": self.ended.isoformat() if self.ended else None,
        }


def last_turn(session: Session) -> Turn:
    """The last turn anybody took."""
    row = session.get(Setting, _TURN)
    if row is None:
        return Turn()
    began, ended = row.value.get("began"), row.value.get("ended")
    return Turn(
        datetime.fromisoformat(began) if began else None,
        datetime.fromisoformat(ended) if ended else None,
    )


def put_turn(session: Session, turn: Turn, *, after: Turn) -> bool:
    """Puts a turn down if the last one is still `after`; False if somebody else was faster."""
    values = {
        "value": turn.as_value(),
        "changed_by": "XTiger",
        "changed_at": turn.ended or turn.began,
    }
    statement = insert_into(Setting, session).values(name=_TURN, sealed=False, **values)
    done = session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_=values,
            where=and_(Setting.value == after.as_value(), Setting.name == _TURN),
        ).returning(Setting.name)
    )
    return done.first() is not None

"""What a report counts: the log of some runs or of a time, summed up in the database.

What counts of a record's transfer is the last of its entries there: a transfer that failed twice
and then went over went over once. Amounts are of documents, not of transfers: each counts once,
with what it was last sent as, exactly and by currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Subquery,
    Text,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    text,
    type_coerce,
    union,
)
from sqlalchemy.orm import Session, aliased

from xtiger.domain.queueing import REMOVE, State
from xtiger.store.models import LogEntry, Organisation, QueueItem, Run

FAILING = (State.FAILED.value, State.CHECK.value)
#: How many records a cause names.
_NAMED = 3
_FAILING = text("state IN ('failed', 'check')")
_OPEN = text("state IN ('pending', 'running', 'blocked', 'failed', 'check')")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which entries are counted: those of a time (UTC, `start` <= at < `end`), or of some runs.

    With `runs` the time says only since when a failure is new, and until when it stands.
    """

    start: datetime
    end: datetime
    runs: tuple[int, ...] | None = None
    organisation_id: int | None = None
    modules: tuple[str, ...] | None = None

    def chosen(self, entries: Any = LogEntry) -> list[ColumnElement[bool]]:
        """The conditions on organisation and module."""
        tests: list[ColumnElement[bool]] = []
        if self.organisation_id is not None:
            # Not the organisation's own index: the time's, or the runs', gives fewer.
            tests.append(entries.organisation_id + 0 == self.organisation_id)
        if self.modules is not None:
            # Nor the module's.
            tests.append((entries.module + "").in_(self.modules))
        return tests

    def entries(self) -> list[ColumnElement[bool]]:
        """The conditions on an entry that is counted."""
        if self.runs is not None:
            return [LogEntry.run_id.in_(self.runs), *self.chosen()]
        return [LogEntry.at >= self.start, LogEntry.at < self.end, *self.chosen()]


#: The newest entry of what a statement groups by.
_NEWEST = func.max(LogEntry.id).label("id")


def _last(scope: Scope) -> Subquery:
    """The last entry of each transfer: what became of it, whatever came between.

    It is joined, never asked with IN: there PostgreSQL takes a group for one in two hundred, and
    looks through all of them for each entry of a long time.
    """
    return select(_NEWEST).where(*scope.entries()).group_by(LogEntry.item_id).subquery("newest")


@dataclass(frozen=True, slots=True)
class Count:
    """So many transfers of a module came to an outcome, within one part of the time."""

    organisation_id: int
    module: str
    outcome: str
    part: int
    count: int


def counts(session: Session, scope: Scope, parts: Sequence[datetime] = ()) -> list[Count]:
    """What became of each transfer, summed up.

    `parts` are the moments (UTC, ascending) at which the second part of the time and those
    behind it begin; without any all is part 0.
    """
    part: ColumnElement[int] = literal(0)
    if parts:
        place = {number: LogEntry.at < moment for number, moment in enumerate(parts)}
        part = case(*((test, number) for number, test in place.items()), else_=len(parts))
    last = _last(scope)
    rows = session.execute(
        select(
            LogEntry.organisation_id,
            LogEntry.module,
            LogEntry.outcome,
            part.label("part"),
            func.count(),
        )
        .join(last, LogEntry.id == last.c.id)
        .group_by(LogEntry.organisation_id, LogEntry.module, LogEntry.outcome, "part")
    )
    return [Count(*row) for row in rows]


def amounts(session: Session, scope: Scope) -> dict[tuple[int, str, str], Decimal]:
    """What the documents that went over came to, by organisation, module and currency.

    A document that went over several times counts once, as it went last; one that was taken out
    of Xero last (`REMOVE` says no amount) counts nothing. Text is added up here: the database
    would make floats of it.
    """
    written = type_coerce(LogEntry.amount, Text)
    went_last = (
        select(_NEWEST)
        .where(
            *scope.entries(),
            # Not the outcome's own index: nearly all that ever was has this one.
            LogEntry.outcome + "" == State.SUCCEEDED.value,
            # Records without money need no last entry.
            or_(LogEntry.currency.is_not(None), LogEntry.action == REMOVE),
        )
        .group_by(LogEntry.organisation_id, LogEntry.module, LogEntry.record_id)
        .subquery("newest")
    )
    rows = session.execute(
        select(LogEntry.organisation_id, LogEntry.module, LogEntry.currency, written, func.count())
        .join(went_last, LogEntry.id == went_last.c.id)
        .where(
            LogEntry.currency.is_not(None),
            LogEntry.amount.is_not(None),
        )
        .group_by(LogEntry.organisation_id, LogEntry.module, LogEntry.currency, LogEntry.amount)
        .execution_options(yield_per=5_000)
    )
    sums: dict[tuple[int, str, str], Decimal] = {}
    for organisation_id, module, currency, amount, times in rows:
        key = (organisation_id, module, str(currency))
        sums[key] = sums.get(key, Decimal(0)) + Decimal(amount) * times
    return sums


def money_of_run(session: Session, run: Run) -> dict[str, Decimal]:
    """What the documents of a run came to, by currency, never summed across."""
    scope = Scope(run.asked_at, run.ended_at or run.asked_at, runs=(run.id,))
    found: dict[str, Decimal] = {}
    for (_organisation, _module, currency), amount in amounts(session, scope).items():
        found[currency] = found.get(currency, Decimal(0)) + amount
    return found


def went(session: Session, scope: Scope, limit: int) -> list[LogEntry]:
    """The first transfers that went over, oldest first."""
    last = _last(scope)
    return list(
        session.scalars(
            select(LogEntry)
            .join(last, LogEntry.id == last.c.id)
            .where(LogEntry.outcome + "" == State.SUCCEEDED.value)
            .order_by(LogEntry.id)
            .limit(limit)
        )
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """A cause for which transfers stood failed when the time ended.

    `since` is the moment (UTC) at which the first of them failed for it. `fresh`: they failed
    for it within the time, and not before.
    """

    organisation_id: int
    cause: str
    fresh: bool
    sentence: str
    count: int
    since: datetime
    labels: tuple[str, ...] = ()


def standing(session: Session, scope: Scope, *, now: datetime) -> list[Standing]:
    """What stood failed when the time ended, by cause, most frequent first.

    1. Transfers come into question that are open, and those with an entry behind the time;
       what a person took out since, nobody needs to mend.
    2. Of each its last entry before the end says whether it stood failed then,
    3. and its first failure for the same cause, since when.
    """
    mine = and_(
        LogEntry.module == QueueItem.module,
        LogEntry.record_id == QueueItem.record_id,
        LogEntry.item_id == QueueItem.id,
    )
    if scope.end >= now:
        candidates: Any = select(QueueItem.id).where(_FAILING)
    else:
        later = select(LogEntry.item_id).where(LogEntry.at >= scope.end)
        candidates = union(select(QueueItem.id).where(_OPEN), later)
    if scope.end >= now and scope.organisation_id is not None:
        candidates = candidates.where(QueueItem.organisation_id + 0 == scope.organisation_id)
    last = (
        select(_NEWEST)
        .select_from(QueueItem)
        .join(LogEntry, mine)
        .where(QueueItem.id.in_(candidates), LogEntry.at < scope.end)
        .group_by(QueueItem.id)
        .subquery("newest")
    )
    first = aliased(LogEntry)
    began = (
        select(func.min(first.at))
        .where(
            first.module == LogEntry.module,
            first.record_id == LogEntry.record_id,
            first.item_id == LogEntry.item_id,
            first.cause == LogEntry.cause,
            first.outcome.in_(FAILING),
        )
        .scalar_subquery()
    )
    each = (
        select(
            LogEntry.id.label("entry_id"),
            LogEntry.organisation_id,
            func.coalesce(LogEntry.cause, "").label("cause"),
            LogEntry.sentence,
            LogEntry.label,
            func.coalesce(began, LogEntry.at).label("began"),
        )
        .join(last, LogEntry.id == last.c.id)
        .join(QueueItem, QueueItem.id == LogEntry.item_id)
        .where(
            LogEntry.outcome.in_(FAILING),
            # Taken out, or on its way again, since before the end.
            or_(QueueItem.changed_at >= scope.end, QueueItem.state.in_(FAILING)),
            *scope.chosen(),
        )
        .subquery()
    )
    fresh = each.c.began >= scope.start
    alike = (each.c.organisation_id, each.c.cause, fresh)
    told = select(
        each.c.organisation_id,
        each.c.cause,
        fresh.label("fresh"),
        func.min(each.c.sentence).over(partition_by=alike).label("sentence"),
        func.count().over(partition_by=alike).label("number"),
        func.min(each.c.began, type_=LogEntry.at.type).over(partition_by=alike).label("since"),
        each.c.label,
        func.row_number().over(partition_by=alike, order_by=each.c.entry_id).label("place"),
    ).subquery()
    rows: Any = session.execute(
        select(told)
        .where(told.c.place <= _NAMED)
        .order_by(told.c.number.desc(), told.c.organisation_id, told.c.cause, told.c.place)
    )
    found: dict[tuple[int, str, bool], Standing] = {}
    for home, cause, new, sentence, number, since, label, _place in rows:
        key = (home, cause, bool(new))
        had = found.get(key) or Standing(home, cause, bool(new), sentence, number, since)
        found[key] = replace(had, labels=(*had.labels, label) if label else had.labels)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in one organisation's queue, how much of it for another record; since when."""

    organisation_id: int
    count: int
    blocked: int
    oldest: datetime


def waiting(
    session: Session, organisation_ids: Sequence[int], modules: Sequence[str] | None
) -> list[Waiting]:
    """What waits in the queues of some organisations now; those without anything are left out."""
    # Of what waits there is little, whatever an organisation has behind it.
    chosen: list[ColumnElement[bool]] = [(QueueItem.organisation_id + 0).in_(organisation_ids)]
    if modules is not None:
        chosen.append(QueueItem.module.in_(modules))
    blocked = func.sum(case((QueueItem.state == State.BLOCKED.value, 1), else_=0))
    rows = session.execute(
        select(QueueItem.organisation_id, func.count(), blocked, func.min(QueueItem.added_at))
        .where(
            QueueItem.state.in_([State.PENDING.value, State.RUNNING.value, State.BLOCKED.value]),
            *chosen,
        )
        .group_by(QueueItem.organisation_id)
        .order_by(QueueItem.organisation_id)
    )
    return [Waiting(*row) for row in rows]


def entries(session: Session, scope: Scope, *, limit: int) -> tuple[list[LogEntry], int]:
    """The entries themselves, oldest first, at most `limit`; and how many there are."""
    rows = session.scalars(
        select(LogEntry).where(*scope.entries()).order_by(LogEntry.id).limit(limit)
    ).all()
    if len(rows) < limit:
        return list(rows), len(rows)
    total = session.scalar(select(func.count()).select_from(LogEntry).where(*scope.entries()))
    return list(rows), total or 0


def runs(session: Session, run_ids: Sequence[int]) -> list[Run]:
    """Some runs, oldest first."""
    return list(session.scalars(select(Run).where(Run.id.in_(run_ids)).order_by(Run.id)))


def names(session: Session) -> dict[int, str]:
    """The names of all organisations, those that were disconnected included."""
    return {row.id: row.name for row in session.scalars(select(Organisation))}

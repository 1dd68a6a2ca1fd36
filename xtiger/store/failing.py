"""What fails and for which causes, as alerts ask: each fact found by an index.

Counts of records end at `EXACT` + 1, as in `store.alerts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, func, not_, or_, select, text
from sqlalchemy.orm import Session

from xtiger.domain.queueing import State
from xtiger.store.alerts import EXACT
from xtiger.store.models import LogEntry, Mail, QueueItem, RunMail, Subscription

#: The WHERE of partial indexes, which SQLite uses only if it stands in the query.
_REFUSED = text("xtiger_queue.state IN ('failed', 'check')")
_NOT_PENDING = text("xtiger_queue.state <> 'pending'")
_CAUSED = text("xtiger_log.cause IS NOT NULL")
#: Not as plain columns: indexes would be taken for them that have years of entries.
_FAILED = func.coalesce(LogEntry.outcome, "").in_([State.FAILED.value, State.CHECK.value])
_LOGGED_OF = func.coalesce(LogEntry.organisation_id, 0)
_LOGGED_MODULE = func.coalesce(LogEntry.module, "")
_MODULE = func.coalesce(QueueItem.module, "")
#: Numbers in one statement.
_CHUNK = 500
#: What failed and was neither settled nor refused again.
_UNDER_WAY = (State.PENDING.value, State.RUNNING.value, State.BLOCKED.value)


def family(cause: str) -> str:
    """What stands before the value in a cause, with its colon: "account-unusable:"; else empty."""
    head, colon, _value = cause.partition(":")
    return head + colon if colon else ""


@dataclass(frozen=True, slots=True)
class Causes:
    """Which causes of one organisation an alert is about.

    `key` is one cause; with a colon at its end all of that family; empty all there are. What has
    a key in `without` has an alert of its own.
    """

    organisation_id: int
    key: str
    without: frozenset[str] = frozenset()

    def cover(self, cause: str | None) -> bool:
        """Whether a cause is one of them."""
        if cause is None or not _fits(self.key, cause):
            return False
        return not any(_fits(key, cause) for key in self.without)

    def tests(self, column: Any) -> list[Any]:
        """The same as SQL."""
        found = [] if not self.key else [_matches(column, self.key)]
        alone = sorted(key for key in self.without if not key.endswith(":"))
        if alone:
            found.append(column.not_in(alone))
        found += [not_(_matches(column, key)) for key in sorted(self.without - set(alone))]
        return found


def _fits(key: str, cause: str) -> bool:
    return key in ("", cause) or (key.endswith(":") and cause.startswith(key))


def _matches(column: Any, key: str) -> Any:
    # Not LIKE: what stands in a cause may hold its signs.
    return func.substr(column, 1, len(key)) == key if key.endswith(":") else column == key


def failed_since(session: Session, moment: datetime) -> dict[tuple[int, str], int]:
    """How many records failed since then, by organisation and cause; each counts once."""
    rows: Iterable[Any] = session.execute(
        select(
            LogEntry.organisation_id, LogEntry.cause, func.count(func.distinct(LogEntry.item_id))
        )
        .where(_CAUSED, LogEntry.at > moment, _FAILED)
        .group_by(LogEntry.organisation_id, LogEntry.cause)
    )
    return {(one, cause): number for one, cause, number in rows}


class Failing(NamedTuple):
    """Records that fail now: how many, of which causes (the largest first), runs and modules."""

    number: int
    by_cause: Mapping[str, int]
    where: frozenset[tuple[int | None, str]]


def _refused(causes: Causes, modules: Collection[str] | None) -> list[Any]:
    tests = [_REFUSED, QueueItem.organisation_id == causes.organisation_id]
    if not causes.key:
        tests += [_NOT_PENDING, QueueItem.cause.is_not(None)]
    tests += causes.tests(QueueItem.cause)
    if modules is not None:
        tests.append(_MODULE.in_(sorted(modules)))
    return tests


def failing(session: Session, causes: Causes, *, modules: Collection[str] | None = None) -> Failing:
    """What fails for these causes, of some modules or (None) of all."""
    inner = (
        select(QueueItem.cause, QueueItem.run_id, QueueItem.module)
        .where(*_refused(causes, modules))
        .order_by(QueueItem.id)
        .limit(EXACT + 1)
        .subquery()
    )
    rows: Iterable[Any] = session.execute(select(*inner.c, func.count()).group_by(*inner.c)).all()
    by_cause: Counter[str] = Counter()
    where: set[tuple[int | None, str]] = set()
    for cause, run, module, number in rows:
        by_cause[cause] += number
        where.add((run, module))
    largest = sorted(by_cause.items(), key=lambda one: (-one[1], one[0]))
    return Failing(by_cause.total(), dict(largest), frozenset(where))


def first(
    session: Session,
    organisation_id: int,
    cause: str,
    *,
    modules: Collection[str] | None = None,
    limit: int,
) -> list[QueueItem]:
    """The first records that fail for one cause, by their places."""
    tests = _refused(Causes(organisation_id, cause), modules)
    return list(
        session.scalars(select(QueueItem).where(*tests).order_by(QueueItem.id).limit(limit))
    )


class Fate(NamedTuple):
    """What became of records that failed.

    `open`: some wait to be tried again, are being tried, or fail still; the numbers aren't counted
    to their end then. `taken_out` were cancelled, `other` went over or fail for something else.
    """

    open: bool
    taken_out: int = 0
    other: int = 0


def fate(
    session: Session,
    causes: Causes,
    *,
    since: datetime,
    modules: Collection[str] | None = None,
) -> Fate:
    """What became of the records that failed for these causes since a moment, by the log.

    Of more than `EXACT` the newest are looked at.
    """
    tests: list[Any] = [_CAUSED, LogEntry.at > since, causes.organisation_id == _LOGGED_OF, _FAILED]
    tests += causes.tests(LogEntry.cause)
    if modules is not None:
        tests.append(_LOGGED_MODULE.in_(sorted(modules)))
    newest = func.max(LogEntry.id)
    ids = session.scalars(
        select(LogEntry.item_id)
        .where(*tests)
        .group_by(LogEntry.item_id)
        .order_by(newest.desc())
        .limit(EXACT)
    ).all()
    taken_out = other = 0
    for start in range(0, len(ids), _CHUNK):
        rows = session.execute(
            select(
                QueueItem.id,
                QueueItem.state,
                QueueItem.cause,
                QueueItem.module,
                QueueItem.record_id,
            ).where(QueueItem.id.in_(ids[start : start + _CHUNK]))
        )
        for row in rows:
            stands = row.state in (State.FAILED.value, State.CHECK.value)
            if stands and causes.cover(row.cause):
                return Fate(open=True)
            if row.state in _UNDER_WAY and causes.cover(_last_cause(session, row)):
                return Fate(open=True)
            taken_out += row.state == State.CANCELLED.value
            other += row.state != State.CANCELLED.value
    return Fate(False, taken_out, other)


def _last_cause(session: Session, row: Any) -> str | None:
    """For what an item failed last: while it waits for another record, its own cause is that."""
    return session.scalar(
        select(LogEntry.cause)
        .where(
            LogEntry.module == row.module,
            LogEntry.record_id == row.record_id,
            LogEntry.item_id == row.id,
            _FAILED,
        )
        .order_by(LogEntry.id.desc())
        .limit(1)
    )


# -- what reports told -------------------------------------------------------------------------

#: A mail that wasn't given up.
_GOES = or_(RunMail.mail_id.is_(None), Mail.state != "failed")


def reports_of(
    session: Session, where: Collection[tuple[int | None, str]], mailbox: str
) -> list[int]:
    """The `RunMail` rows by which a mailbox hears of all these runs and modules; else none.

    Each pair must be told by a report, sent or about to be, of a subscription that covers the
    module: what a report left out isn't told.
    """
    runs = {run for run, _module in where if run is not None}
    if not where or len(runs) > _CHUNK:
        return []
    rows = session.execute(
        select(
            RunMail.id,
            RunMail.run_id,
            Subscription.modules,
            Subscription.changed_at,
            Mail.made_at,
        )
        .join(Subscription, Subscription.id == RunMail.subscription_id)
        .outerjoin(Mail, Mail.id == RunMail.mail_id)
        .where(
            RunMail.run_id.in_(sorted(runs)),
            RunMail.mailbox == mailbox,
            _GOES,
            # What waits is dropped where nobody wants it any more.
            or_(
                RunMail.mail_id.is_not(None),
                and_(Subscription.after_sync.is_(True), Subscription.stopped_at.is_(None)),
            ),
        )
    )
    by_run = {
        row.run_id: row
        for row in rows
        # Whether it covered the module then, nobody knows of one that was changed since.
        if row.made_at is None or row.changed_at is None or row.changed_at <= row.made_at
    }
    for run, module in where:
        told = by_run.get(run) if run is not None else None
        if told is None or (told.modules is not None and module not in told.modules):
            return []
    return sorted(row.id for row in by_run.values())


def reports_stand(session: Session, ids: Collection[int]) -> bool:
    """Whether reports that told something are sent, or still go: none was given up or dropped."""
    number = session.scalar(
        select(func.count(RunMail.id))
        .outerjoin(Mail, Mail.id == RunMail.mail_id)
        .where(RunMail.id.in_(sorted(ids)), _GOES)
    )
    return number == len(set(ids))

"""Lists by keyset: 50 rows a page, "Newer" and "Older" instead of page numbers.

No page costs more than its window, however many rows there are: what an index serves is found
at once; what none serves is looked for in `WINDOW` rows from where the page begins, and the page
says so and goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from flask import request
from sqlalchemy import ColumnElement, Select, TextClause, func, select, text
from sqlalchemy.orm import Session

from xtiger.domain.queueing import State
from xtiger.store.models import QueueItem
from xtiger.store.schema import Database
from xtiger.web import filters
from xtiger.web.routes import GREATEST

ROWS = 50
#: Counts are exact up to here; beyond, pages print "10,000+".
EXACT = 10_000
#: The most rows that one page looks through for what no index serves, and the first part of it.
WINDOW = 10_000
_FIRST = 500

T = TypeVar("T")
Test = ColumnElement[bool] | TextClause

#: The WHERE of the queue's partial indexes, which SQLite uses only if it stands in the query.
PENDING = text("state = 'pending'")
NOT_PENDING = text("state <> 'pending'")
REFUSED = text("state IN ('failed', 'check')")


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """Some rows of a list; `onward` and `back` are the keys behind and before them, or None.

    `looked` is how many rows were looked through where that ended before the page was full.
    """

    rows: list[T]
    onward: str | None = None
    back: str | None = None
    looked: int | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows there are; `more` says that there are more than were counted."""

    number: int
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.number or self.more)

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.more else ''}"


def wanted() -> tuple[int | None, int | None]:
    """The query's `after` and `before`, as row ids."""
    after, before = request.args.get("after"), request.args.get("before")
    return filters.number("place", after), filters.number("place", before)


def whole(name: str) -> int | None:
    """A whole number of the query, None where there is none."""
    given = request.args.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None


def plainly(column: Any) -> ColumnElement[Any]:
    """A column that the planner takes for no index: it only narrows what another one finds."""
    return func.coalesce(column, column)


def take(
    session: Session,
    statement: Select[Any],
    key: Any,
    *,
    newest_first: bool,
    narrow: Sequence[Test] = (),
    rows: int = ROWS,
) -> Slice[Any]:
    """The part of a list that the query asks for; `key` is the sort key, unique.

    An index must serve `statement` in the order of `key`. What `narrow` says no index serves:
    it is looked for in the next `WINDOW` rows of the statement only.
    """
    after, before = wanted()
    backwards = before is not None
    page = _Page(session, statement, key, descending=newest_first is not backwards)
    found, end = page.read(before if backwards else after, narrow, rows + 1)
    more = len(found) > rows
    found = found[:rows]
    if backwards:
        found.reverse()
    # Where the looking ended, and the key from which the page before this one is seen again.
    step = 1 if newest_first else -1
    first, last = (found[0].id, found[-1].id) if found else (None, None)
    if backwards:
        assert before is not None
        onward = last if last is not None else before + step
        back = first if more else end
    else:
        onward = last if more else end
        back = None if after is None else first if first is not None else after - step
    return Slice(found, _key(onward), _key(back), None if more or end is None else WINDOW)


def _key(value: int | None) -> str | None:
    return None if value is None or value < 0 else str(value)


@dataclass(frozen=True, slots=True)
class _Page:
    """One page's way through a statement, in one direction."""

    session: Session
    statement: Select[Any]
    key: Any
    descending: bool

    def read(
        self, start: int | None, narrow: Sequence[Test], most: int
    ) -> tuple[list[Any], int | None]:
        """So many rows behind `start`, and where the looking ended if more may follow."""
        if start is None:
            start = GREATEST if self.descending else -1
        if not narrow:
            return self._rows(self._behind(self.statement, start), most), None
        found: list[Any] = []
        for size in (min(_FIRST, WINDOW), max(0, WINDOW - _FIRST)):
            end = self.end(start, size) if size else start
            part = self._behind(self.statement, start)
            if end is not None:
                part = part.where(self.key >= end if self.descending else self.key <= end)
            found += self._rows(part.where(*narrow), most - len(found))
            if end is None or len(found) == most:
                return found, None
            start = end
        return found, start

    def end(self, start: int, size: int) -> int | None:
        """The key of the last of the next so many rows; None where there are fewer."""
        keys = self._behind(self.statement, start).with_only_columns(self.key)
        found: int | None = self.session.scalar(self._ordered(keys).limit(1).offset(size - 1))
        return found

    def _behind(self, statement: Select[Any], start: int) -> Select[Any]:
        return statement.where(self.key < start if self.descending else self.key > start)

    def _ordered(self, statement: Select[Any]) -> Select[Any]:
        return statement.order_by(self.key.desc() if self.descending else self.key.asc())

    def _rows(self, statement: Select[Any], most: int) -> list[Any]:
        return list(self.session.scalars(self._ordered(statement).limit(most)))


def count(session: Session, statement: Select[Any], key: Any = QueueItem.id) -> Count:
    """How many rows a statement has that an index serves, counted up to `EXACT`."""
    # In the index's own order: no planner then prefers to read the table.
    inner = statement.with_only_columns(key).order_by(key).limit(EXACT + 1).subquery()
    number = session.scalar(select(func.count()).select_from(inner)) or 0
    return Count(min(number, EXACT), number > EXACT)


def count_narrow(
    session: Session, statement: Select[Any], narrow: Sequence[Test], key: Any = QueueItem.id
) -> Count:
    """How many rows `narrow` leaves of the first `WINDOW` of a statement."""
    page = _Page(session, statement, key, descending=False)
    end = page.end(-1, WINDOW)
    part = statement if end is None else statement.where(key <= end)
    counted = count(session, part.where(key > -1, *narrow), key)
    return replace(counted, more=counted.more or end is not None)


@dataclass(frozen=True, slots=True)
class InQueue:
    """What organisations have in the Queue, each figure counted up to one beyond `EXACT`."""

    pending: int = 0
    running: int = 0
    blocked: int = 0
    failed: int = 0
    unclear: int = 0

    @property
    def waiting(self) -> int:
        """What goes by itself once nothing holds it."""
        return self.pending + self.running + self.blocked

    @property
    def tab(self) -> str:
        """The state under which the Queue lists what waits; the first that has any."""
        found = {State.RUNNING: self.running, State.BLOCKED: self.blocked}
        others = [state.value for state, number in found.items() if number]
        return State.PENDING.value if self.pending or not others else others[0]

    @property
    def needs(self) -> int:
        """What a person must look at first: it isn't counted as in the Queue."""
        return self.failed + self.unclear


def in_queue(session: Session, organisations: Sequence[int]) -> InQueue:
    """The one count behind the menu, the Dashboard's cards and every sentence of what waits.

    It takes the same few statements for many organisations as for one.
    """

    def total(state: State) -> int:
        counted = _counted(session, state, organisations)
        return counted.number + counted.more

    return InQueue(
        pending=total(State.PENDING),
        running=total(State.RUNNING),
        blocked=total(State.BLOCKED),
        failed=total(State.FAILED),
        unclear=total(State.CHECK),
    )


def _counted(session: Session, state: State, organisations: Sequence[int]) -> Count:
    if len(organisations) == 1:
        return count_state(session, state.value, organisations[0])
    among = in_state(state.value).where(QueueItem.organisation_id.in_(organisations))
    return count(session, among, QueueItem.id)


def count_state(session: Session, state: str, organisation_id: int | None = None) -> Count:
    """How many items are in a state, of one organisation or all, counted up to `EXACT`."""
    by_rank = state == State.PENDING and organisation_id is not None
    key = QueueItem.rank if by_rank else QueueItem.id
    return count(session, in_state(state, organisation_id), key)


def in_state(state: str, organisation_id: int | None = None) -> Select[Any]:
    """The items of a state, of one organisation or all; its index gives them in any order.

    Only what is pending in one organisation has no index that gives it by place: to list it,
    the organisation must narrow what is pending in all of them.
    """
    if organisation_id is None:
        return select(QueueItem).where(QueueItem.state == state)
    mine = select(QueueItem).where(QueueItem.organisation_id == organisation_id)
    if state == State.PENDING:
        return mine.where(PENDING)
    return mine.where(NOT_PENDING, QueueItem.state == state)


def printed(number: int) -> str:
    """A count as pages print it."""
    return f"{EXACT:,}+" if number > EXACT else f"{number:,}"


def every(
    database: Database,
    statement: Select[Any],
    key: Any,
    convert: Callable[[Session, list[Any]], Iterator[list[Any]]],
) -> Iterator[list[Any]]:
    """All rows of a filter, newest first, read in steps so that no transaction stays open."""
    last: int = GREATEST
    while True:
        with database.read() as session:
            found = list(
                session.scalars(statement.where(key < last).order_by(key.desc()).limit(500))
            )
            if not found:
                return
            ready = list(convert(session, found))
        yield from ready
        last = found[-1].id

"""Lists by keyset: 50 rows a page, "Newer" and "Older" instead of page numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask import request
from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session

from xtiger.domain.queueing import State
from xtiger.store.models import QueueItem
from xtiger.store.schema import Database

ROWS = 50
#: Counts are exact up to here; beyond, pages print "10,000+".
EXACT = 10_000

T = TypeVar("T")

#: The WHERE of the queue's partial indexes.
_PENDING = text("state = 'pending'")
_HOT = text("state IN ('running', 'blocked', 'failed', 'check')")


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """Some rows of a list; `onward` and `back` are the keys behind and before them, or None."""

    rows: list[T]
    onward: str | None = None
    back: str | None = None


def wanted() -> tuple[int | None, int | None]:
    """The query's `after` and `before`, as row ids."""
    return whole("after"), whole("before")


def whole(name: str) -> int | None:
    """A whole number of the query, None where there is none."""
    given = request.args.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None


def take(
    session: Session, statement: Select[Any], key: Any, *, newest_first: bool, rows: int = ROWS
) -> Slice[Any]:
    """The part of a list that the query asks for; `key` is the sort key, unique."""
    after, before = wanted()
    backwards = before is not None
    if backwards:
        statement = statement.where(key > before if newest_first else key < before)
    elif after is not None:
        statement = statement.where(key < after if newest_first else key > after)
    descending = newest_first is not backwards
    found = list(
        session.scalars(statement.order_by(key.desc() if descending else key.asc()).limit(rows + 1))
    )
    more = len(found) > rows
    found = found[:rows]
    if backwards:
        found.reverse()
    if not found:
        return Slice([])
    first, last = str(found[0].id), str(found[-1].id)
    return Slice(
        found,
        onward=last if backwards or more else None,
        back=first if (more if backwards else after is not None) else None,
    )


def count(session: Session, statement: Select[Any]) -> int:
    """How many rows a filter matches, counted no further than one beyond `EXACT`."""
    inner = statement.limit(EXACT + 1).subquery()
    return session.scalar(select(func.count()).select_from(inner)) or 0


def open_items(session: Session, *states: State, organisation_id: int | None = None) -> int:
    """How many items are in some open states, counted like `count`.

    The partial indexes on the hot states are used only if their WHERE stands literally in
    the query.
    """
    total = 0
    for state in states:
        statement = select(QueueItem.id).where(
            _PENDING if state is State.PENDING else _HOT, QueueItem.state == state.value
        )
        if organisation_id is not None:
            statement = statement.where(QueueItem.organisation_id == organisation_id)
        total += count(session, statement)
    return total


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
    last: int | None = None
    while True:
        step = statement if last is None else statement.where(key < last)
        with database.read() as session:
            found = list(session.scalars(step.order_by(key.desc()).limit(500)))
            if not found:
                return
            ready = list(convert(session, found))
        yield from ready
        last = found[-1].id

"""Claiming: what of an organisation's queue is due, and taking it for a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    TextClause,
    bindparam,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from xtiger.domain.queueing import State
from xtiger.domain.records import Module, RecordRef
from xtiger.store.models import QueueItem
from xtiger.store.prepared import Prepared

_QUIET = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Narrow:
    """What a claim leaves alone although it is due.

    `paused` modules. `only_run`: all that isn't reserved for that run. `caps`: in a strict lane
    (a module) all behind a position. `wanted_below`: of lower turns all that nobody waits for,
    while the day's last calls are kept for documents. `since`: of a module with a schedule what
    came after its newest turn began (None: it has none) and nobody waits for.
    """

    paused: frozenset[str] = frozenset()
    only_run: int | None = None
    urgent: bool = False
    caps: Mapping[str, int] = field(default_factory=dict)
    wanted_below: int | None = None
    since: Mapping[str, datetime | None] = field(default_factory=dict)


#: Whatever is due.
ALL = Narrow()


#: The literal WHERE of the partial index: SQLite uses it only if it stands in the query.
_PENDING = text("state = 'pending'")
_URGENT = text("state = 'pending' AND urgent = true")
#: A position as a sum: bounds of the bare column would draw a SQLite that never counted its rows
#: (ANALYZE) to the index of states, and so past what waits in every organisation.
_position = QueueItem.__table__.c.id + 0


def mark(session: Session) -> int:
    """The last position of the queue now: what a pass that begins now covers."""
    return session.scalar(select(func.max(QueueItem.id))) or 0


class Claimed(NamedTuple):
    """A running item as its drain sees it: what a row says, without the row."""

    id: int
    organisation_id: int
    module: str
    record_id: str
    label: str
    resource: str
    rank: int
    action: str
    needed: bool
    tries: int
    doubts: int
    cause: str | None
    changed_at: datetime
    run_id: int | None

    @property
    def ref(self) -> RecordRef:
        """The record it transfers."""
        return RecordRef(Module(self.module), self.record_id)


_ROW = QueueItem.__table__.c
_CLAIMED = [_ROW[name] for name in Claimed._fields]
_place = attrgetter("id")
_TAKE = Prepared(
    update(QueueItem.__table__)  # type: ignore[arg-type]
    .where(_ROW.id.in_(bindparam("ids", expanding=True)))
    .values(state=State.RUNNING.value, slot=None, run_id=bindparam("by"), not_before=None)
    .returning(*_CLAIMED)
)


def by_ids(session: Session, ids: Sequence[int]) -> dict[int, Claimed]:
    """Items by position, as a drain sees them."""
    rows = session.execute(select(*_CLAIMED).where(QueueItem.id.in_(ids)))
    return {row[0]: Claimed(*row) for row in rows}


def claim(
    session: Session,
    organisation_id: int,
    *,
    rank: int,
    up_to: int,
    after: int,
    limit: int,
    now: datetime,
    run_id: int | None,
    narrow: Narrow = ALL,
) -> list[Claimed]:
    """Claims the oldest due items of a turn behind position `after`: they run, without a slot.

    From here on a change of the record opens an item of its own, so what is read next is
    what this item sends.
    """
    due = (
        select(_ROW.id)
        .where(*_due(organisation_id, up_to, now, narrow), _ROW.rank == rank, _position > after)
        .order_by(_ROW.id)
        .limit(limit)
        # Somebody may take an item out meanwhile: what is locked is looked at again.
        .with_for_update()
    )
    ids = session.connection().execute(due).scalars().all()
    if not ids:
        return []
    taken = _TAKE.rows(session, {"ids": ids, "by": run_id})
    return sorted((Claimed(*row) for row in taken), key=_place)


def _due(
    organisation_id: int, up_to: int | None, now: datetime, narrow: Narrow
) -> list[ColumnElement[bool] | TextClause]:
    """What makes an item due in a pass."""
    tests: list[ColumnElement[bool] | TextClause] = [
        _ROW.organisation_id == organisation_id,
        _URGENT if narrow.urgent else _PENDING,
        (_ROW.not_before.is_(None)) | (_ROW.not_before <= now),
    ]
    if up_to is not None:
        tests.append(_position <= up_to)
    if narrow.only_run is not None:
        tests.append(_ROW.run_id == narrow.only_run)
    if narrow.paused:
        tests.append(_ROW.module.not_in(sorted(narrow.paused)))
    for module, cap in sorted(narrow.caps.items()):
        tests.append((_ROW.module != module) | (_ROW.id <= cap))
    if narrow.wanted_below is not None:
        tests.append((_ROW.rank >= narrow.wanted_below) | _wanted())
    for module, turn in sorted(narrow.since.items()):
        others = _ROW.module != module
        came = others if turn is None else others | (_ROW.added_at <= turn)
        tests.append(came | _wanted())
    return tests


def _wanted() -> ColumnElement[bool]:
    """Whether another item waits for this one."""
    child = QueueItem.__table__.alias().c
    return (
        select(child.id)
        .where(child.state == literal_column("'blocked'"), child.blocked_by == _ROW.id)
        .exists()
    )


def due_ranks(
    session: Session,
    organisation_id: int,
    *,
    up_to: int,
    now: datetime,
    narrow: Narrow = ALL,
) -> list[int]:
    """The turns that have due items, first one first."""
    return list(
        session.scalars(
            select(QueueItem.rank)
            .where(*_due(organisation_id, up_to, now, narrow))
            .distinct()
            .order_by(QueueItem.rank)
        )
    )


def held_caps(session: Session, organisation_id: int, modules: Iterable[str]) -> dict[str, int]:
    """By strict module the place of its first item that failed or waits: what is behind stays.

    One that waits for another of its own module holds nothing: that one has to go first.
    """
    caps: dict[str, int] = {}
    for module in modules:
        above = QueueItem.__table__.alias()
        parent = select(above.c.id).where(
            above.c.id == QueueItem.blocked_by, above.c.module == module
        )
        first = session.scalar(
            select(func.min(QueueItem.id)).where(
                QueueItem.organisation_id == organisation_id,
                text("xtiger_queue.state IN ('blocked', 'failed', 'check')"),
                QueueItem.module == module,
                ~parent.exists(),
            )
        )
        if first is not None:
            caps[module] = first
    return caps


def reserve(
    session: Session,
    organisation_id: int,
    refs: Iterable[RecordRef],
    *,
    run_id: int,
    urgent: bool = False,
) -> None:
    """Names the run that may send these records' waiting items ahead of others."""
    slots = [str(ref) for ref in refs]
    for start in range(0, len(slots), 500):
        session.execute(
            update(QueueItem)
            .where(
                QueueItem.organisation_id == organisation_id,
                QueueItem.slot.in_(slots[start : start + 500]),
            )
            .values(run_id=run_id, urgent=urgent)
            .execution_options(**_QUIET)
        )


def due_count(
    session: Session, organisation_id: int, *, now: datetime, narrow: Narrow = ALL
) -> int:
    """How many items could go now."""
    tests = _due(organisation_id, None, now, narrow)
    return session.scalar(select(func.count()).select_from(QueueItem).where(*tests)) or 0


def any_due(session: Session, organisation_id: int, *, now: datetime, narrow: Narrow = ALL) -> bool:
    """Whether an item could go now; it looks no further than the first."""
    tests = _due(organisation_id, None, now, narrow)
    return session.execute(select(_ROW.id).where(*tests).limit(1)).first() is not None

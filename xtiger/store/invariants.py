"""What must always hold in the tables, as questions to which the right answer is: no rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from xtiger.domain.queueing import ENDED, OPEN, REMOVE, WAITING, State, turn
from xtiger.domain.records import Module
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.store import logs, queue
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Binding,
    Organisation,
    OutboxRow,
    QueueItem,
    Run,
    Worker,
)
from xtiger.store.models import Connection as Consent

_QUIET = {"synchronize_session": False}
_OPEN = [state.value for state in OPEN]
_WAITING = [state.value for state in WAITING]
_ENDED = [state.value for state in ENDED]


@dataclass(frozen=True, slots=True)
class Row:
    """One row that breaks a rule: its number, and its organisation where it has one."""

    id: int
    organisation_id: int | None = None


def snapshot(session: Session) -> None:
    """Makes all that the session reads one moment's; to be called first."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def _rows(session: Session, statement: Any) -> list[Row]:
    return [Row(int(id), organisation) for id, organisation in session.execute(statement)]


def _unleased(now: datetime) -> ColumnElement[bool]:
    return or_(Organisation.lease_until.is_(None), Organisation.lease_until <= now)


# -- items -------------------------------------------------------------------------------------


def homeless(session: Session) -> list[Row]:
    """Open items of no organisation: no drain ever reaches them."""
    return _rows(
        session,
        select(QueueItem.id, QueueItem.organisation_id)
        .outerjoin(Organisation, Organisation.id == QueueItem.organisation_id)
        .where(QueueItem.state.in_(_OPEN), Organisation.id.is_(None))
        .order_by(QueueItem.id),
    )


def strange(session: Session) -> list[Row]:
    """Open items of a module or a resource that this version doesn't know."""
    return _rows(
        session,
        select(QueueItem.id, QueueItem.organisation_id)
        .where(
            QueueItem.state.in_(_OPEN),
            or_(
                QueueItem.module.not_in([module.value for module in Module]),
                QueueItem.resource.not_in([resource.value for resource in CATALOGUE]),
            ),
        )
        .order_by(QueueItem.id),
    )


def _turns() -> list[tuple[ColumnElement[bool], int]]:
    """Each kind of item with the turn that it must have."""
    return [
        (
            (QueueItem.resource == resource.value)
            & ((QueueItem.action == REMOVE) if removes else (QueueItem.action != REMOVE)),
            turn(info.rank, removes=removes),
        )
        for resource, info in CATALOGUE.items()
        for removes in (False, True)
    ]


def misplaced(session: Session) -> list[Row]:
    """Open items whose turn in a pass isn't their resource's."""
    kinds = session.execute(
        select(QueueItem.resource, QueueItem.action, QueueItem.rank)
        .where(QueueItem.state.in_(_OPEN))
        .distinct()
    ).all()
    known = {resource.value for resource in CATALOGUE}
    wrong = [
        (QueueItem.resource == resource) & (QueueItem.action == action) & (QueueItem.rank == rank)
        for resource, action, rank in kinds
        if resource in known
        and rank != turn(CATALOGUE[Resource(resource)].rank, removes=action == REMOVE)
    ]
    if not wrong:
        return []
    return _rows(
        session,
        select(QueueItem.id, QueueItem.organisation_id)
        .where(QueueItem.state.in_(_OPEN), or_(*wrong))
        .order_by(QueueItem.id),
    )


def place(session: Session, ids: Sequence[int]) -> int:
    """Gives open items the turn of their resource; answers with how many had another."""
    total = 0
    for kind, rank in _turns():
        done = session.execute(
            update(QueueItem)
            .where(QueueItem.id.in_(ids), QueueItem.state.in_(_OPEN), kind, QueueItem.rank != rank)
            .values(rank=rank)
            .execution_options(**_QUIET)
        )
        total += int(done.rowcount)  # type: ignore[attr-defined]
    return total


def _in_open_call() -> Any:
    return (
        select(AttemptElement.id)
        .join(Attempt, Attempt.id == AttemptElement.attempt_id)
        .where(AttemptElement.item_id == QueueItem.id, Attempt.closed_at.is_(None))
        .exists()
    )


def claimed_by_nobody(
    session: Session, *, now: datetime, organisation_id: int | None = None
) -> list[Row]:
    """Running items in no open call. Named, the organisation is one whose lease the caller has."""
    statement = (
        select(QueueItem.id, QueueItem.organisation_id)
        .join(Organisation, Organisation.id == QueueItem.organisation_id)
        .where(QueueItem.state == State.RUNNING.value, ~_in_open_call())
        .order_by(QueueItem.id)
    )
    return _rows(session, _of(statement, organisation_id, now))


def _of(statement: Any, organisation_id: int | None, now: datetime) -> Any:
    if organisation_id is None:
        return statement.where(_unleased(now))
    return statement.where(Organisation.id == organisation_id)


def stranded(session: Session, *, now: datetime, organisation_id: int | None = None) -> list[Row]:
    """Blocked items whose parent has ended or is gone, where no worker is just parking them."""
    parent = aliased(QueueItem)
    statement = (
        select(QueueItem.id, QueueItem.organisation_id)
        .join(Organisation, Organisation.id == QueueItem.organisation_id)
        .outerjoin(parent, parent.id == QueueItem.blocked_by)
        .where(
            text("xtiger_queue.state = 'blocked'"),
            or_(parent.id.is_(None), parent.state.in_(_ENDED)),
        )
        .order_by(QueueItem.id)
    )
    return _rows(session, _of(statement, organisation_id, now))


def let_go(session: Session, ids: Sequence[int]) -> None:
    """Releases blocked items by way of the parents they name."""
    parents = session.scalars(
        select(QueueItem.blocked_by).where(
            QueueItem.id.in_(ids), text("state = 'blocked'"), QueueItem.blocked_by.is_not(None)
        )
    )
    queue.release_children(session, sorted({int(one) for one in parents if one is not None}))


def circles(session: Session) -> list[Row]:
    """Blocked items that wait for each other in a circle."""
    parent = aliased(QueueItem)
    rows = session.execute(
        select(QueueItem.id, QueueItem.organisation_id, QueueItem.blocked_by)
        .join(parent, parent.id == QueueItem.blocked_by)
        .where(text("xtiger_queue.state = 'blocked'"), parent.state == State.BLOCKED.value)
    ).all()
    waits_for = {int(id): int(other or 0) for id, _organisation, other in rows}
    home = {int(id): organisation for id, organisation, _other in rows}
    found: set[int] = set()
    done: set[int] = set()
    for start in sorted(waits_for):
        path: dict[int, None] = {}
        here: int | None = start
        while here is not None and here not in done and here not in path:
            path[here] = None
            here = waits_for.get(here)
        if here is not None and here in path:
            walked = list(path)
            found.update(walked[walked.index(here) :])
        done.update(path)
    return [Row(id, home[id]) for id in sorted(found)]


def wrong_slots(session: Session) -> list[Row]:
    """Waiting items without their record's slot, and others that still have one."""
    right = QueueItem.module + ":" + QueueItem.record_id
    waiting = select(QueueItem.id, QueueItem.organisation_id).where(
        QueueItem.state.in_(_WAITING), or_(QueueItem.slot.is_(None), QueueItem.slot != right)
    )
    found = _rows(session, waiting)
    # By organisation: only so the index on slots serves.
    for organisation_id in session.scalars(select(Organisation.id)).all():
        found += _rows(
            session,
            select(QueueItem.id, QueueItem.organisation_id).where(
                QueueItem.organisation_id == organisation_id,
                QueueItem.slot.is_not(None),
                QueueItem.state.in_([*_ENDED, State.RUNNING.value]),
            ),
        )
    return sorted(found, key=lambda row: row.id)


def waiting_twice(session: Session) -> list[Row]:
    """Records of which two items wait for the same organisation; the younger items."""
    counted = session.execute(
        select(QueueItem.organisation_id, func.max(QueueItem.id))
        .where(QueueItem.state.in_(_WAITING))
        .group_by(QueueItem.organisation_id, QueueItem.module, QueueItem.record_id)
        .having(func.count() > 1)
    )
    return sorted((Row(int(id), one) for one, id in counted), key=lambda row: row.id)


# -- calls -------------------------------------------------------------------------------------


def open_calls(
    session: Session, *, now: datetime, young: datetime, old: datetime
) -> tuple[list[Row], list[Row]]:
    """Open calls on which nobody works, and those that stay open although somebody does.

    What a pause, a hold, a broken consent or a removal keeps isn't among them. The first were
    opened, or left, before `young`; the second were opened before `old`.
    """
    rows = session.execute(
        select(Attempt.id, Attempt.opened_at, Organisation)
        .join(Organisation, Organisation.id == Attempt.organisation_id)
        .outerjoin(Consent, Consent.id == Organisation.connection_id)
        .where(
            text("closed_at IS NULL"),
            Organisation.chosen.is_(True),
            Organisation.paused_at.is_(None),
            Organisation.removed.is_(None),
            Consent.id.is_not(None),
            Consent.broken.is_(None),
        )
        .order_by(Attempt.id)
    ).all()
    left: list[Row] = []
    stuck: list[Row] = []
    for id, opened_at, row in rows:
        if row.held_until and row.held_until > now:
            continue
        leased = row.lease_until is not None and row.lease_until > now
        last = max(filter(None, (opened_at, row.lease_until, row.held_until)))
        if not leased and last < young:
            left.append(Row(int(id), row.id))
        elif leased and opened_at < old:
            stuck.append(Row(int(id), row.id))
    return left, stuck


def out_of_step(session: Session) -> list[Row]:
    """Items that are in an open call and not claimed, or in two: they could be sent twice."""
    rows = session.execute(
        select(AttemptElement.item_id, Attempt.organisation_id, QueueItem.state, func.count())
        .join(Attempt, Attempt.id == AttemptElement.attempt_id)
        .outerjoin(QueueItem, QueueItem.id == AttemptElement.item_id)
        .where(text("closed_at IS NULL"))
        .group_by(AttemptElement.item_id, Attempt.organisation_id, QueueItem.state)
        .order_by(AttemptElement.item_id)
    )
    return [
        Row(int(id), organisation)
        for id, organisation, state, times in rows
        if state != State.RUNNING.value or times > 1
    ]


def without_bytes(session: Session) -> list[Row]:
    """Open calls whose bytes are gone: they can't be sent again as they were."""
    return _rows(
        session,
        select(Attempt.id, Attempt.organisation_id)
        .where(text("closed_at IS NULL"), Attempt.body.is_(None))
        .order_by(Attempt.id),
    )


# -- bindings, runs, outbox --------------------------------------------------------------------


def bound_twice(session: Session) -> list[Row]:
    """Bindings that share a record, or a Xero object, with an older one."""
    found: set[Row] = set()
    for keys in (
        (Binding.organisation_id, Binding.module, Binding.record_id),
        (Binding.organisation_id, Binding.resource, Binding.xero_id),
    ):
        for id, organisation_id in session.execute(
            select(func.max(Binding.id), Binding.organisation_id)
            .group_by(*keys)
            .having(func.count() > 1)
        ):
            found.add(Row(int(id), organisation_id))
    return sorted(found, key=lambda row: row.id)


def bound_nowhere(session: Session) -> list[Row]:
    """Bindings to an organisation that doesn't exist."""
    return _rows(
        session,
        select(Binding.id, Binding.organisation_id)
        .outerjoin(Organisation, Organisation.id == Binding.organisation_id)
        .where(Organisation.id.is_(None))
        .order_by(Binding.id),
    )


def idle_runs(
    session: Session, *, now: datetime, asked_before: datetime, organisation_id: int | None = None
) -> list[Row]:
    """Runs that aren't over although their organisation has nothing to send or to find out.

    What holds or pauses an organisation holds its runs too. One that isn't chosen any more has
    nobody who would carry them out.
    """
    open_item = select(QueueItem.id).where(
        QueueItem.organisation_id == Organisation.id,
        QueueItem.state.in_([State.PENDING.value, State.RUNNING.value]),
    )
    open_call = select(Attempt.id).where(
        Attempt.organisation_id == Organisation.id, Attempt.closed_at.is_(None)
    )
    idle = (
        ~open_item.exists()
        & ~open_call.exists()
        & Organisation.paused_at.is_(None)
        & or_(Organisation.held_until.is_(None), Organisation.held_until <= now)
    )
    statement = (
        select(Run.id, Run.organisation_id)
        .join(Organisation, Organisation.id == Run.organisation_id)
        .where(
            text("ended_at IS NULL"),
            Run.asked_at < asked_before,
            or_(Organisation.chosen.is_(False), idle),
        )
        .order_by(Run.id)
    )
    return _rows(session, _of(statement, organisation_id, now))


def end_run(session: Session, run_id: int, *, sentence: str, now: datetime) -> None:
    """Ends a run with the figures of what it did."""
    run = session.get_one(Run, run_id, with_for_update=True)
    if run.ended_at is None:
        logs.sum_up(session, run)
        run.ended_at, run.sentence, run.trouble = now, sentence, True


def late_changes(session: Session, *, before: datetime) -> int:
    """How many changes of the CRM wait in the outbox since before a moment."""
    return (
        session.scalar(select(func.count()).select_from(OutboxRow).where(OutboxRow.at < before))
        or 0
    )


# -- clocks ------------------------------------------------------------------------------------


def database_clock(session: Session) -> datetime | None:
    """What time it is for a database server; None for a file, which has no clock of its own."""
    if session.get_bind().dialect.name != "postgresql":
        return None
    found: datetime | None = session.scalar(text("SELECT clock_timestamp()"))
    return found


def last_answer(session: Session) -> tuple[str, datetime] | None:
    """Xero's own Date in the newest answer that carried one, and when we had it."""
    newest = session.execute(
        select(Attempt.answer_headers, Attempt.closed_at)
        .where(text("closed_at IS NOT NULL AND body IS NOT NULL"))
        .order_by(Attempt.closed_at.desc())
        .limit(5)
    )
    for headers, closed_at in newest:
        for name, value in (headers or {}).items():
            if name.lower() == "date":
                return str(value), closed_at
    return None


def beats_ahead(session: Session, *, after: datetime) -> list[str]:
    """Workers whose last beat lies behind a moment that is still to come."""
    return list(
        session.scalars(select(Worker.name).where(Worker.beat_at > after).order_by(Worker.name))
    )


def leases_ahead(session: Session, *, after: datetime) -> list[Row]:
    """Organisations leased for longer than any worker takes a lease."""
    return _rows(
        session,
        select(Organisation.id, Organisation.id)
        .where(Organisation.lease_until > after)
        .order_by(Organisation.id),
    )

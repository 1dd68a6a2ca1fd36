"""The queue table is the truth: every way an item may change is a function here.

Its id is the position. `slot` is unique with the organisation while an item waits, so that a
newer change of the record merges into it; an item in a call gives its slot up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Insert,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from xtiger.domain.errors import TransientError
from xtiger.domain.queueing import ENDED, OPEN, REMOVE, TRANSITIONS, WAITING, State, turn
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import CATALOGUE, RESOURCE_OF
from xtiger.store.claims import Claimed
from xtiger.store.models import Organisation, QueueItem
from xtiger.store.prepared import Prepared, insert_into

_QUIET = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Entry:
    """What is asked to be transferred: one record to one organisation.

    `removes`: the record is gone from the CRM, and its object is to go from Xero.
    """

    organisation_id: int
    ref: RecordRef
    label: str = ""
    action: str = "Create"
    needed: bool = False
    requested_by: str | None = None
    removes: bool = False


def slot_of(ref: RecordRef) -> str:
    """The slot of a record."""
    return str(ref)


#: Records asked for in one statement.
_SLOTS = 500


def enqueue(session: Session, entries: Iterable[Entry], *, now: datetime) -> dict[RecordRef, int]:
    """Adds or merges entries of one organisation, in their order; each record's position.

    A record that already waits keeps its position. A failed or blocked one waits again from
    its old place, since its record changed; an unclear (`check`) one stays what it is.
    """
    rows: dict[str, dict[str, object]] = {}
    refs: dict[str, RecordRef] = {}
    for entry in entries:
        slot = slot_of(entry.ref)
        before = rows.pop(slot, None) if slot not in refs else rows[slot]
        refs[slot] = entry.ref
        resource = RESOURCE_OF[entry.ref.module]
        rows[slot] = {
            "organisation_id": entry.organisation_id,
            "module": entry.ref.module.value,
            "record_id": entry.ref.id,
            "label": entry.label[:255],
            "resource": resource.value,
            "rank": turn(CATALOGUE[resource].rank, removes=entry.removes),
            "action": REMOVE if entry.removes else entry.action,
            "slot": slot,
            "needed": entry.needed and (before is None or bool(before["needed"])),
            "requested_by": entry.requested_by,
            "changes": 1 if before is None else int(str(before["changes"])) + 1,
            "added_at": now,
            "changed_at": now,
        }
    if not rows:
        return {}
    _ADD.many(session, list(rows.values()))
    # Asked for afterwards: with RETURNING a driver would parse thousands of values as text.
    where = next(iter(rows.values()))["organisation_id"]
    slots = list(rows)
    places: dict[RecordRef, int] = {}
    for start in range(0, len(slots), _SLOTS):
        asked = {"one": where, "slots": slots[start : start + _SLOTS]}
        for position, slot in _AT.rows(session, asked):
            places[refs[slot]] = position
    return places


def _upsert(dialect: str) -> Insert:
    """The statement that adds or merges one row, for as many as there are."""
    statement = insert_into(QueueItem.__table__, dialect).values(
        state=State.PENDING.value, tries=0, doubts=0, urgent=False
    )
    new = statement.excluded
    again = (QueueItem.state == State.FAILED.value) | (QueueItem.state == State.BLOCKED.value)
    return statement.on_conflict_do_update(
        index_elements=["organisation_id", "slot"],
        set_={
            "changes": QueueItem.changes + new.changes,
            "changed_at": new.changed_at,
            "label": new.label,
            "action": new.action,
            "rank": new.rank,
            "state": _when(again, State.PENDING.value, QueueItem.state),
            "not_before": _when(again, None, QueueItem.not_before),
            "sentence": _when(again, None, QueueItem.sentence),
            "blocked_by": None,
            "tries": _when(again, 0, QueueItem.tries),
            "doubts": 0,
            # Selection's own choice outlives the need of a document.
            "needed": and_(QueueItem.needed, new.needed),
        },
    )


def _when(condition: object, then: object, otherwise: object) -> object:
    return case((condition, then), else_=otherwise)  # type: ignore[arg-type]


def _sources(after: State) -> list[str]:
    return [before.value for before, then in TRANSITIONS.items() if after in then]


_ROW = QueueItem.__table__.c
_ADD = Prepared(
    _upsert,
    sets=(
        "organisation_id",
        "module",
        "record_id",
        "label",
        "resource",
        "rank",
        "action",
        "slot",
        "needed",
        "requested_by",
        "changes",
        "added_at",
        "changed_at",
    ),
)
_AT = Prepared(
    select(_ROW.id, _ROW.slot).where(
        _ROW.organisation_id == bindparam("one"),
        _ROW.slot.in_(bindparam("slots", expanding=True)),
    )
)
_IDS: BindParameter[int] = bindparam("ids", expanding=True)
_END = {
    state: Prepared(
        update(QueueItem.__table__)  # type: ignore[arg-type]
        .where(_ROW.id.in_(_IDS), or_(*(_ROW.state == one for one in _sources(state))))
        .values(
            state=state.value,
            slot=None,
            blocked_by=None,
            not_before=None,
            cause=None,
            sentence=None,
        )
    )
    for state in ENDED
}
_RELEASE = Prepared(
    update(QueueItem.__table__)  # type: ignore[arg-type]
    .where(text("state = 'blocked'"), _ROW.blocked_by.in_(_IDS))
    .values(state=State.PENDING.value, blocked_by=None, sentence=None, cause=None)
)


def end(session: Session, item_ids: Sequence[int], state: State) -> None:
    """Ends items (succeeded, unchanged, superseded, cancelled) and releases their children."""
    if not item_ids:
        return
    _END[state].run(session, {"ids": item_ids})
    release_children(session, item_ids)


def release_children(session: Session, item_ids: Sequence[int]) -> None:
    """Lets what waited for these items go on, at its own old places."""
    _RELEASE.run(session, {"ids": item_ids})


def waits_for(session: Session, item_id: int) -> int | None:
    """What an item is blocked by as the database has it now, None where by nothing."""
    found = session.connection().execute(select(_ROW.blocked_by).where(_ROW.id == item_id))
    return found.scalar()


def release_stranded(session: Session, organisation_id: int) -> None:
    """Lets go what waits for a parent that ended while the child was being parked."""
    parent = aliased(QueueItem)
    ended = select(parent.id).where(
        parent.id == QueueItem.blocked_by, parent.state.in_([state.value for state in ENDED])
    )
    session.execute(
        update(QueueItem)
        .where(
            text("xtiger_queue.state = 'blocked'"),
            QueueItem.organisation_id == organisation_id,
            ended.exists(),
        )
        .values(state=State.PENDING.value, blocked_by=None, sentence=None, cause=None)
        .execution_options(**_QUIET)
    )


def park(
    session: Session,
    item: QueueItem | Claimed,
    state: State,
    *,
    cause: str | None,
    sentence: str,
    blocked_by: int | None = None,
    counts: bool = False,
) -> None:
    """Puts a running item aside in its old place: failed, check, or blocked by a parent.

    `counts`: the record itself was refused.

    If the record changed while the item was in its call, a second item waits already: this
    one takes the newest version over, goes back to pending, and the second is superseded. So it
    takes over that the record was deleted: from then on it is a removal, at its turn.
    """
    assert state in WAITING
    slot = slot_of(RecordRef(Module(item.module), item.record_id))
    newer = 0
    becomes: dict[str, object] = {}
    for _taken in range(5):
        younger = _supersede(session, item.organisation_id, slot, by=item.id)
        if younger is not None:
            newer += younger.changes
            becomes = {"action": younger.action, "rank": younger.rank}
        if newer and state is State.FAILED:
            state, counts = State.PENDING, False
        try:
            with session.begin_nested():
                session.execute(
                    update(QueueItem)
                    .where(QueueItem.id == item.id, QueueItem.state.in_(_sources(state)))
                    .values(
                        state=state.value,
                        slot=slot,
                        blocked_by=blocked_by if state is State.BLOCKED else None,
                        cause=cause,
                        sentence=sentence,
                        tries=QueueItem.tries + (1 if counts else 0),
                        changes=QueueItem.changes + newer,
                        **becomes,
                    )
                    .execution_options(**_QUIET)
                )
        except IntegrityError:
            continue  # a change took the slot between the two statements: it is superseded too
        return
    raise TransientError("The record keeps changing; XTiger puts it back in a moment.")


def _supersede(session: Session, organisation_id: int, slot: str, *, by: int) -> Any:
    """Ends a younger item that holds the slot; answers with its changes, action and rank."""
    younger = session.execute(
        select(QueueItem.id, QueueItem.changes, QueueItem.action, QueueItem.rank).where(
            QueueItem.organisation_id == organisation_id,
            QueueItem.slot == slot,
            QueueItem.id != by,
        )
    ).first()
    if younger is None:
        return None
    session.execute(
        update(QueueItem)
        .where(text("state = 'blocked'"), QueueItem.blocked_by == younger.id)
        .values(blocked_by=by)
        .execution_options(**_QUIET)
    )
    end(session, [younger.id], State.SUPERSEDED)
    return younger


def put_back(
    session: Session,
    items: Sequence[QueueItem | Claimed],
    *,
    sentence: str | None = None,
) -> None:
    """Returns running items to pending at their places: their call did nothing.

    The cause of a try before stays: by it one that differed goes with amounts of its own.
    """
    for item in items:
        park(session, item, State.PENDING, cause=item.cause, sentence=sentence or "")


def doubt(session: Session, item_ids: Sequence[int]) -> None:
    """Notes that a call with these running items failed as a whole: the next ones are smaller."""
    session.execute(
        update(QueueItem)
        .where(QueueItem.id.in_(item_ids), QueueItem.state == State.RUNNING.value)
        .values(doubts=QueueItem.doubts + 1)
        .execution_options(**_QUIET)
    )


def say(session: Session, item_ids: Sequence[int], sentence: str) -> None:
    """Leaves a sentence on items that ended without a call."""
    session.execute(
        update(QueueItem)
        .where(QueueItem.id.in_(item_ids))
        .values(sentence=sentence)
        .execution_options(**_QUIET)
    )


def retry(
    session: Session,
    item_ids: Sequence[int],
    *,
    now: datetime,
    organisation_id: int | None = None,
) -> int:
    """Lets failed items go again at their old places; answers with how many."""
    statement = update(QueueItem).where(
        QueueItem.id.in_(item_ids), QueueItem.state == State.FAILED.value
    )
    if organisation_id is not None:
        statement = statement.where(QueueItem.organisation_id == organisation_id)
    done = session.execute(
        statement.values(
            state=State.PENDING.value, not_before=None, sentence=None, changed_at=now
        ).execution_options(**_QUIET)
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


def cancel(session: Session, item_ids: Sequence[int], *, who: str) -> int:
    """Takes waiting items out; ones in a call can't be. Answers with how many."""
    chosen = QueueItem.id.in_(item_ids)
    return len(_take_out(session, chosen, sentence=f"Taken out by {who}."))


def drop(
    session: Session, organisation_id: int | None, ref: RecordRef, *, sentence: str
) -> list[int]:
    """Takes out what waits for a record, in one organisation or in all; answers with the ids."""
    chosen = QueueItem.slot == slot_of(ref)
    # The index on records serves the search across organisations.
    chosen &= (QueueItem.module == ref.module.value) & (QueueItem.record_id == ref.id)
    if organisation_id is not None:
        chosen &= QueueItem.organisation_id == organisation_id
    return _take_out(session, chosen, sentence=sentence)


def _take_out(session: Session, chosen: ColumnElement[bool], *, sentence: str) -> list[int]:
    """Cancels waiting items. They are locked first: a claim may be taking them just now."""
    states = [s.value for s in (State.PENDING, State.BLOCKED, State.FAILED)]
    waiting = session.scalars(
        select(QueueItem.id)
        .where(chosen, QueueItem.state.in_(states))
        .order_by(QueueItem.id)
        .with_for_update()
    ).all()
    if waiting:
        end(session, waiting, State.CANCELLED)
        say(session, waiting, sentence)
    return list(waiting)


def open_items(
    session: Session, organisation_id: int, refs: Iterable[RecordRef]
) -> dict[RecordRef, QueueItem]:
    """The oldest open item of each of these records."""
    wanted = list(refs)
    found: dict[RecordRef, QueueItem] = {}
    by_module: dict[Module, list[str]] = {}
    for ref in wanted:
        by_module.setdefault(ref.module, []).append(ref.id)
    for module, ids in by_module.items():
        for start in range(0, len(ids), 500):
            rows = session.scalars(
                select(QueueItem)
                .where(
                    QueueItem.module == module.value,
                    QueueItem.record_id.in_(ids[start : start + 500]),
                    QueueItem.organisation_id == organisation_id,
                    QueueItem.state.in_([state.value for state in OPEN]),
                )
                .order_by(QueueItem.id)
            )
            for row in rows:
                found.setdefault(RecordRef(module, row.record_id), row)
    return found


def running(session: Session, organisation_id: int) -> list[QueueItem]:
    """Items that are claimed; outside a drain there should be none without an open attempt."""
    return list(
        session.scalars(
            select(QueueItem)
            .where(QueueItem.organisation_id == organisation_id, text("state = 'running'"))
            .order_by(QueueItem.id)
        )
    )


def failed_with(session: Session, cause: str, *, limit: int) -> list[tuple[QueueItem, str]]:
    """Failed items of one cause with the names of their organisations, the oldest first."""
    rows = session.execute(
        select(QueueItem, Organisation.name)
        .join(Organisation, Organisation.id == QueueItem.organisation_id)
        .where(text("state = 'failed'"), QueueItem.cause == cause)
        .order_by(QueueItem.id)
        .limit(limit)
    )
    return [(item, name) for item, name in rows]


def by_ids(session: Session, ids: Sequence[int]) -> dict[int, QueueItem]:
    """Items by position."""
    return {row.id: row for row in session.scalars(select(QueueItem).where(QueueItem.id.in_(ids)))}


def retry_by_schedule(
    session: Session,
    organisation_id: int,
    module: Module,
    *,
    most: int,
    now: datetime,
    before: datetime | None = None,
) -> None:
    """Takes failed items again that were refused fewer than `most` + 1 times, in their places.

    `before`: only those that didn't change and weren't retried since then.
    """
    older = [] if before is None else [QueueItem.changed_at <= before]
    session.execute(
        update(QueueItem)
        .where(
            QueueItem.organisation_id == organisation_id,
            text("state = 'failed'"),
            QueueItem.module == module.value,
            QueueItem.tries <= most,
            *older,
        )
        .values(state=State.PENDING.value, not_before=None, sentence=None, changed_at=now)
        .execution_options(**_QUIET)
    )


def counts(session: Session, organisation_id: int | None = None) -> Mapping[State, int]:
    """How many items are in each state."""
    statement = select(QueueItem.state, func.count()).group_by(QueueItem.state)
    if organisation_id is not None:
        statement = statement.where(QueueItem.organisation_id == organisation_id)
    found = {State(state): count for state, count in session.execute(statement)}
    return {state: found.get(state, 0) for state in State}


def take_up(session: Session, item_id: int, *, cause: str | None) -> None:
    """Takes an unclear item up, to be settled in this same transaction by what a person found."""
    _out_of_check(session, item_id, cause=cause, sentence=None)
    session.execute(
        update(QueueItem)
        .where(QueueItem.id == item_id, text("state = 'pending'"))
        .values(state=State.RUNNING.value, slot=None)
        .execution_options(**_QUIET)
    )


def go_again(session: Session, item_id: int, *, now: datetime) -> None:
    """Lets an unclear item go again from its old place: a person saw that it never arrived."""
    _out_of_check(session, item_id, cause=None, sentence=None, not_before=None, changed_at=now)


def _out_of_check(session: Session, item_id: int, **values: object) -> None:
    session.execute(
        update(QueueItem)
        .where(QueueItem.id == item_id, QueueItem.state == State.CHECK.value)
        .values(state=State.PENDING.value, **values)
        .execution_options(**_QUIET)
    )

"""The outbox: changes captured in the CRM's own transaction, read by the relay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, event, insert, select
from sqlalchemy.orm import Session

from xtiger.domain.records import Change, ChangeKind, Module, RecordRef
from xtiger.store.models import OutboxRow

#: Set in a CRM session's `info` while XTiger writes ids back, so that it doesn't echo.
QUIET = "xtiger_quiet"

#: Names the record a changed object belongs to (a line belongs to its document), None: not ours.
Namer = Callable[[Any], RecordRef | None]


def add(session: Session, changes: Iterable[Change]) -> None:
    """Writes changes into the session's transaction."""
    rows = [
        {
            "module": change.ref.module.value,
            "record_id": change.ref.id,
            "kind": change.kind.value,
            "at": change.at,
        }
        for change in changes
    ]
    if rows:
        session.execute(insert(OutboxRow), rows)


def watch(session_class: Any, namers: Mapping[type, Namer], now: Callable[[], datetime]) -> None:
    """Captures every saved or deleted CRM object in the transaction that saves it.

    `session_class` is the CRM's session, sessionmaker or scoped session. Statements that go
    around the ORM's unit of work don't fire this; a scan of the CRM closes that gap.
    """

    def capture(session: Session, _context: Any) -> None:
        if session.info.get(QUIET):
            return
        changes: dict[RecordRef, Change] = {}

        def note(objects: Iterable[Any], kind: ChangeKind) -> None:
            for thing in objects:
                namer = namers.get(type(thing))
                ref = namer(thing) if namer else None
                if ref is None:
                    continue
                # A deleted line is a saved document; only the document's own end is a deletion.
                gone = kind is ChangeKind.DELETED and _is_record(thing, ref)
                what = ChangeKind.DELETED if gone else ChangeKind.SAVED
                if ref not in changes or gone:
                    changes[ref] = Change(ref, what, now())

        note(session.new, ChangeKind.SAVED)
        note(
            (one for one in session.dirty if session.is_modified(one)),
            ChangeKind.SAVED,
        )
        note(session.deleted, ChangeKind.DELETED)
        if changes:
            rows = [
                {
                    "module": c.ref.module.value,
                    "record_id": c.ref.id,
                    "kind": c.kind.value,
                    "at": c.at,
                }
                for c in changes.values()
            ]
            # The connection of the CRM's own transaction: both are kept or neither.
            session.connection().execute(insert(OutboxRow.__table__), rows)  # type: ignore[arg-type]

    event.listen(session_class, "after_flush", capture)


def _is_record(thing: Any, ref: RecordRef) -> bool:
    """Whether the object is the record itself, not a part of it."""
    return getattr(type(thing), "xtiger_module", None) is ref.module


def take(session: Session, *, limit: int) -> tuple[list[OutboxRow], list[Change]]:
    """The oldest changes, not yet deleted: their rows, and one Change a record.

    A later deletion wins over an earlier save.
    """
    rows = session.scalars(select(OutboxRow).order_by(OutboxRow.id).limit(limit)).all()
    latest: dict[RecordRef, Change] = {}
    for row in rows:
        ref = RecordRef(Module(row.module), row.record_id)
        latest.setdefault(ref, Change(ref, ChangeKind(row.kind), row.at))
        if row.kind != ChangeKind.FLAGGED:
            latest[ref] = Change(ref, ChangeKind(row.kind), row.at)
    return list(rows), list(latest.values())


def still_there(session: Session, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
    """Those of the rows that nobody else has relayed, locked until the transaction ends.

    A row with the id of one that was read may be another change: SQLite gives the number of a
    deleted last row to the next one.
    """
    now = {
        row.id: row
        for row in session.scalars(
            select(OutboxRow)
            .where(OutboxRow.id.in_([row.id for row in rows]))
            .order_by(OutboxRow.id)
            .with_for_update()
        )
    }
    return [now[row.id] for row in rows if row.id in now and _same(row, now[row.id])]


def _same(one: OutboxRow, other: OutboxRow) -> bool:
    return (one.module, one.record_id, one.kind, one.at) == (
        other.module,
        other.record_id,
        other.kind,
        other.at,
    )


def refs_of(rows: Iterable[OutboxRow]) -> set[RecordRef]:
    """The records that rows are about."""
    return {RecordRef(Module(row.module), row.record_id) for row in rows}


def forget(session: Session, rows: Sequence[OutboxRow]) -> None:
    """Deletes relayed rows, in the transaction that enqueues what they said.

    They come from `still_there` in the same transaction.
    """
    session.execute(
        delete(OutboxRow)
        .where(OutboxRow.id.in_([row.id for row in rows]))
        .execution_options(synchronize_session=False)
    )

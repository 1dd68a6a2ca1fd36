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


def take(session: Session, *, limit: int) -> tuple[list[int], list[Change]]:
    """The oldest changes, not yet deleted: their row ids, and one Change a record.

    A later deletion wins over an earlier save.
    """
    rows = session.execute(select(OutboxRow).order_by(OutboxRow.id).limit(limit)).scalars().all()
    latest: dict[RecordRef, Change] = {}
    for row in rows:
        ref = RecordRef(Module(row.module), row.record_id)
        latest.setdefault(ref, Change(ref, ChangeKind(row.kind), row.at))
        if row.kind != ChangeKind.FLAGGED:
            latest[ref] = Change(ref, ChangeKind(row.kind), row.at)
    return [row.id for row in rows], list(latest.values())


def forget(session: Session, ids: Sequence[int]) -> None:
    """Deletes relayed rows, in the transaction that enqueues what they said."""
    session.execute(delete(OutboxRow).where(OutboxRow.id.in_(ids)))

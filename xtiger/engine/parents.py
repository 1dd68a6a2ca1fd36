"""What a record needs in Xero first: sent ahead of it, waited for, or the reason it can't go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from xtiger.domain.queueing import State
from xtiger.domain.records import Module, Record, RecordRef
from xtiger.engine import intake
from xtiger.store import claims, logs, queue
from xtiger.store.claims import Claimed
from xtiger.store.models import QueueItem

if TYPE_CHECKING:
    from xtiger.engine.build import Builder, Sheet


def is_blocked(
    builder: Builder, session: Session, item: Claimed, record: Record, sheet: Sheet
) -> bool:
    """Parks a child whose parents aren't all in Xero, or wait there with a newer version.

    All that are missing are enqueued at once; the first one that waits is what blocks.
    """
    waits_for: QueueItem | None = None
    for ref in sheet.needs[record.ref]:
        waiting = sheet.open_parents.get(ref)
        if waiting is not None and (waiting.id <= sheet.mark or ref not in sheet.bound):
            if waits_for_it(session, waiting, item):
                sentence = (
                    f"It needs {ref.module.singular} {waiting.label} in Xero first, and that "
                    "needs this one. Take one of the two links out in the CRM."
                )
                builder.fail(session, item, "cycle", sentence)
                return True
            _hurry(builder, session, ref)
            waits_for = waits_for or waiting
            continue
        if ref in sheet.bound:
            continue
        parent = sheet.parents.get(ref)
        if parent is None:
            sentence = f"The {ref.module.singular} it names is gone from the CRM. Choose another."
            builder.fail(session, item, "parent-gone", sentence)
            return True
        entry = _entry_for(builder, record, parent)
        if isinstance(entry, str):
            builder.fail(session, item, f"parent-not-selected:{ref.module.value}", entry)
            return True
        place = queue.enqueue(session, [entry], now=builder.services.clock.now())[ref]
        builder.added.last = max(builder.added.last, place)
        _hurry(builder, session, ref)
        added = queue.by_ids(session, [place])[place]
        sheet.open_parents[ref] = added
        waits_for = waits_for or added
    if waits_for is not None:
        block(builder, session, item, waits_for)
    return waits_for is not None


def _hurry(builder: Builder, session: Session, ref: RecordRef) -> None:
    """What a run's own records need goes in that run, wherever it stands in the queue."""
    if builder.only_run:
        claims.reserve(
            session,
            builder.lease.organisation_id,
            [ref],
            run_id=builder.only_run,
            urgent=builder.urgent,
        )


def waits_for_it(session: Session, parent: QueueItem, item: Claimed) -> bool:
    """Whether a parent waits, through whatever chain, for the very item that needs it."""
    seen: set[int] = set()
    above: int | None = parent.id
    while above is not None and above not in seen:
        if above == item.id:
            return True
        seen.add(above)
        # Read anew: this very build may have blocked it.
        above = queue.waits_for(session, above)
    return False


def _entry_for(builder: Builder, record: Record, parent: Record) -> queue.Entry | str:
    rule = builder.own_rules.get(record.ref.module)
    if rule is not None and not rule.add_needed:
        return (
            f"It needs {parent.ref.module.singular} {parent.label} in Xero first. Tick "
            "Allow Xero Sync there, or let What syncs add needed records."
        )
    return intake.needed_entry(builder.rules, builder.lease.organisation_id, parent)


def block(builder: Builder, session: Session, item: Claimed, parent: QueueItem) -> None:
    """Parks an item until another one has ended well, and says which it waits for."""
    what = f"{Module(parent.module).singular} {parent.label}"
    sentence = f"Waits for #{parent.id} {what}"
    if parent.state == State.FAILED:
        sentence += f", which failed: {parent.sentence or ''}".rstrip()
    elif parent.state == State.CHECK:
        sentence += ", of which nobody knows yet whether it arrived"
    queue.park(
        session,
        item,
        State.BLOCKED,
        cause="blocked",
        sentence=sentence if sentence.endswith(".") else sentence + ".",
        blocked_by=parent.id,
    )
    builder.log(session, item, State.BLOCKED, sentence, cause="blocked")
    logs.count(session, builder.run_id, blocked=1)

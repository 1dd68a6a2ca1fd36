"""Item codes: Xero takes each once, and products and services are items alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xtiger.domain.meeting import fold
from xtiger.domain.queueing import State
from xtiger.domain.records import Module, Record, RecordRef
from xtiger.domain.resources import Resource
from xtiger.engine.elements import Ready
from xtiger.store.bindings import Bound
from xtiger.store.models import Binding, QueueItem

#: The cause of what can't go since another record has its code.
SHARED = "code-shared"


def new_codes(ready: Sequence[Ready], bound: Mapping[RecordRef, Bound]) -> dict[RecordRef, str]:
    """The codes that items would get and don't have yet, in the order of the queue."""
    found: dict[RecordRef, str] = {}
    for one in ready:
        code = one.expected.get("Code") if one.item.resource == Resource.ITEMS.value else None
        there = bound.get(one.item.ref)
        if code and (there is None or fold(there.number) != fold(code)):
            found[one.item.ref] = str(code)
    return found


class Holder(NamedTuple):
    """The record that has a code; `in_xero`: it has it there, else it only comes first."""

    ref: RecordRef
    in_xero: bool


def holders(
    session: Session, organisation_id: int, wanted: Mapping[RecordRef, str]
) -> dict[RecordRef, Holder]:
    """Which other record has the code that one wants; those that get theirs are absent.

    Who has a code in Xero keeps it; of those that want one together the first gets it. Case
    doesn't count, as it doesn't for Xero.
    """
    first: dict[str, Holder] = {}
    folded = {fold(code) for code in wanted.values()}
    rows = session.execute(
        select(Binding.module, Binding.record_id, Binding.number)
        .where(
            Binding.organisation_id == organisation_id,
            Binding.resource == Resource.ITEMS.value,
            func.lower(Binding.number).in_(sorted(folded)),
        )
        .order_by(Binding.id)
    )
    for module, record_id, number in rows:
        first.setdefault(fold(number), Holder(RecordRef(Module(module), record_id), in_xero=True))
    held = {
        ref: first.setdefault(fold(code), Holder(ref, in_xero=False))
        for ref, code in wanted.items()
    }
    return {ref: holder for ref, holder in held.items() if holder.ref != ref}


def gives_up(holder: Holder, code: str, ready: Sequence[Ready], waiting: QueueItem | None) -> bool:
    """Whether who has a code in Xero may be about to give it up: an update of it is on its way."""
    if not holder.in_xero or waiting is None:
        return False
    own = next((one for one in ready if one.item.ref == holder.ref), None)
    if own is not None:
        return fold(own.expected.get("Code")) != fold(code)
    return waiting.state in (State.PENDING, State.RUNNING)


def sentence(holder: Record, code: str, *, in_xero: bool) -> str:
    """Why a record can't have a code, and what to do."""
    what = f"{holder.ref.module.singular} {holder.label}"
    has = "in Xero" if in_xero and fold(holder.label) != fold(code) else "too"
    return (
        f"The {what} has the item code {code} {has}, and Xero takes each once. Give one of the "
        "two another part number."
    )

"""Settling: what an answer means for items, bindings and the log, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.comparing import without_empties
from xtiger.domain.hints import explain
from xtiger.domain.queueing import REMOVE, State
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import CATALOGUE, XERO_TYPE, Resource, Verb
from xtiger.ports import Element
from xtiger.store import bindings, journal, logs, queue
from xtiger.store.models import Attempt, AttemptElement, QueueItem

#: What the log says of an object that went from Xero with its record.
_REMOVED = "Its record was deleted in the CRM; it is out of use in Xero now."
_KIND_OF = {xero: kind.value for kind, xero in XERO_TYPE.items()}

#: The cause of what is in Xero with other figures than were meant.
DIFFERS = "differs"

#: A status that Xero reached by itself is as good as the one that was meant.
_AS_GOOD = {"AUTHORISED": {"AUTHORISED", "PAID"}}


def comparable(resource: Resource, payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload without what tells a create from an update: what both sides agree on."""
    info = CATALOGUE[resource]
    left_out = {info.id_field} | ({info.key_field} if resource is Resource.CONTACTS else set())
    kept = {name: value for name, value in payload.items() if name not in left_out}
    # An update says "" where a create says nothing: for Xero both are empty.
    return without_empties(kept)


def sent_elements(attempt: Attempt) -> list[dict[str, Any]]:
    """The payloads of a journalled call, in order."""
    return journal.payloads_of(attempt)


def settle(
    session: Session,
    attempt: Attempt,
    elements: Sequence[AttemptElement],
    answers: Sequence[Element],
    *,
    now: datetime,
    duration_ms: int | None = None,
    payloads: Sequence[Mapping[str, Any]] | None = None,
    run_id: int | None = None,
) -> None:
    """Gives each element of a call its end; the caller has the fence and closes the attempt.

    A stored element is bound first and then compared with what was meant: one that differs
    is bound and failed, so that its retry is an update and never a second document. A document
    that differs for the first time goes once more by itself, with amounts that leave Xero
    nothing to round. `run_id` is the run it counts for, by default the attempt's own.
    """
    run_id = run_id or attempt.run_id
    payloads = sent_elements(attempt) if payloads is None else payloads
    items = queue.by_ids(session, [element.item_id for element in elements])
    ended: list[int] = []
    failed = 0
    for element, payload, answer in zip(elements, payloads, answers, strict=True):
        item = items[element.item_id]
        entry = _Entry(session, attempt, element, item, now, duration_ms, run_id)
        if answer.stored and answer.earlier:
            # Nobody knows whether it says what this call says: it goes over as an update.
            _bind(session, attempt, element, payload, answer, item, False, now)
            queue.park(session, item, State.PENDING, cause=None, sentence="")
            continue
        if answer.stored and item.action == REMOVE:
            bindings.unbind(session, attempt.organisation_id, _ref(item))
            ended.append(item.id)
            entry.write(State.SUCCEEDED, _REMOVED, xero_id=answer.xero_id, action=REMOVE)
            continue
        if answer.stored:
            differs = difference(element.meant, answer.data)
            _bind(session, attempt, element, payload, answer, item, differs is None, now)
            if differs is None:
                ended.append(item.id)
                entry.write(State.SUCCEEDED, _succeeded(attempt), xero_id=answer.xero_id)
                continue
            sentence = f"It is in Xero, but differs: {differs}."
            again = attempt.resource == Resource.INVOICES and item.cause != DIFFERS
            state = State.PENDING if again else State.FAILED
            queue.park(session, item, state, cause=DIFFERS, sentence=sentence, counts=True)
            entry.write(State.FAILED, sentence, cause=DIFFERS, xero_id=answer.xero_id)
        else:
            hint = explain(answer.faults, label=element.label)
            queue.park(
                session,
                item,
                State.FAILED,
                cause=hint.fingerprint[:120],
                sentence=hint.sentence,
                counts=True,
            )
            entry.write(
                State.FAILED,
                hint.sentence,
                cause=hint.fingerprint[:120],
                quoted=(*answer.faults, *answer.beside),
            )
        failed += 1
    queue.end(session, ended, State.SUCCEEDED)
    logs.count(session, run_id, succeeded=len(ended), failed=failed)


def _ref(item: QueueItem) -> RecordRef:
    return RecordRef(Module(item.module), item.record_id)


@dataclass(frozen=True, slots=True)
class _Entry:
    """The log entry of one element, short of what came of it."""

    session: Session
    attempt: Attempt
    element: AttemptElement
    item: QueueItem
    now: datetime
    duration_ms: int | None
    run_id: int | None

    def write(
        self,
        outcome: State,
        sentence: str,
        *,
        cause: str | None = None,
        xero_id: str | None = None,
        quoted: Sequence[str] = (),
        action: str | None = None,
    ) -> None:
        made = "Create" if self.attempt.verb == Verb.CREATE else "Update"
        logs.append(
            self.session,
            self.item,
            now=self.now,
            outcome=outcome,
            sentence=sentence,
            action=action or made,
            run_id=self.run_id,
            cause=cause,
            quoted=quoted,
            xero_id=xero_id,
            attempt_id=self.attempt.id,
            place=self.element.place,
            amount=self.element.amount,
            currency=self.element.currency,
            duration_ms=self.duration_ms,
        )


def _succeeded(attempt: Attempt) -> str:
    made = "Created" if attempt.verb == Verb.CREATE else "Updated"
    return f"{made} in Xero and read back."


def _bind(
    session: Session,
    attempt: Attempt,
    element: AttemptElement,
    payload: Mapping[str, Any],
    answer: Element,
    item: QueueItem,
    agreed: bool,
    now: datetime,
) -> None:
    resource = Resource(attempt.resource)
    info = CATALOGUE[resource]
    if answer.xero_id is None or (resource is Resource.CONTACTS and attempt.owner_resource):
        return  # a note has no id, and a contact put into a group is bound as itself
    same = comparable(resource, payload)
    status = answer.data.get(info.status_field) if info.status_field else None
    number = answer.data.get(info.label_field)
    bindings.bind(
        session,
        organisation_id=attempt.organisation_id,
        ref=_ref(item),
        resource=resource,
        xero_id=str(answer.xero_id),
        number=str(number) if number else None,
        status=str(status) if status else None,
        document_type=_KIND_OF.get(str(payload.get("Type"))),
        agreed=same,
        agreed_hash=exactjson.digest(same) if agreed else None,
        record_version=element.record_version,
        template_id=element.template_id,
        needed=item.needed,
        now=now,
    )


def difference(meant: Mapping[str, Any], data: Mapping[str, Any]) -> str | None:
    """In what the read-back differs from what was meant, as a clause; None if in nothing."""
    for name, wanted in meant.items():
        found = data.get(name)
        if isinstance(wanted, (Decimal, int)) and not isinstance(wanted, bool):
            if found is None:
                return f"Xero's answer has no {name}"
            amount = Decimal(str(found))
            if amount != wanted:
                return f"{name} is {amount:,.2f} in Xero and {wanted:,.2f} in the CRM"
        elif found != wanted and found not in _AS_GOOD.get(str(wanted), set()):
            return f"{name} is “{found}” in Xero and “{wanted}” was meant"
    return None

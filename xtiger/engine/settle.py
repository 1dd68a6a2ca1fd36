"""Settling: what an answer means for items, bindings and the log, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.comparing import updated, without_empties
from xtiger.domain.exactjson import Written
from xtiger.domain.hints import explain
from xtiger.domain.queueing import REMOVE, State
from xtiger.domain.records import RecordRef
from xtiger.domain.resources import CATALOGUE, XERO_TYPE, Resource, Verb
from xtiger.ports import Element
from xtiger.store import bindings, claims, journal, logs, queue, seen
from xtiger.store.claims import Claimed
from xtiger.store.models import Attempt, AttemptElement

#: What the log says of an object that went from Xero with its record.
_REMOVED = "Its record was deleted in the CRM; it is out of use in Xero now."
_KIND_OF = {xero: kind.value for kind, xero in XERO_TYPE.items()}

#: The cause of what is in Xero with other figures than were meant.
DIFFERS = "differs"

#: A status that Xero reached by itself is as good as the one that was meant.
_AS_GOOD = {"AUTHORISED": {"AUTHORISED", "PAID"}}


class Journalled(Protocol):
    """A call as settling sees it: its row in the journal, or what was just written there."""

    @property
    def id(self) -> int: ...
    @property
    def organisation_id(self) -> int: ...
    @property
    def run_id(self) -> int | None: ...
    @property
    def resource(self) -> str: ...
    @property
    def verb(self) -> str: ...
    @property
    def owner_resource(self) -> str | None: ...


class Agreed(NamedTuple):
    """What both sides have once a payload is stored: JSON with sorted keys, and its hash.

    `whole`: that is the payload's own JSON, with nothing left out.
    """

    text: Written
    digest: str
    document_type: str | None
    whole: bool = False


#: What of a payload tells a create from an update: no part of what is agreed on.
_LEFT_OUT = {
    resource: frozenset(
        {info.id_field, info.key_field} if resource is Resource.CONTACTS else {info.id_field}
    )
    for resource, info in CATALOGUE.items()
}
#: How emptiness looks in JSON; `without_empties` also sorts phones and addresses.
_EMPTIES = (b'""', b"null", b"{}", b"[]", b'"Phones"', b'"Addresses"')


def agreed_of(resource: Resource, payload: Mapping[str, Any]) -> Agreed:
    """The agreement that a payload makes, whether it is a create's or an update's."""
    data = exactjson.dumps(payload, sort=True)
    # A create of a document that leaves nothing empty is what both sides agree on, as it is.
    left_out = _LEFT_OUT[resource]
    whole = left_out.isdisjoint(payload) and not any(sign in data for sign in _EMPTIES)
    if not whole:
        data = exactjson.dumps(comparable(resource, payload), sort=True)
    kind = _KIND_OF.get(str(payload.get("Type")))
    return Agreed(Written(data.decode()), sha256(data).hexdigest(), kind, whole)


def comparable(resource: Resource, payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload without what tells a create from an update: what both sides agree on."""
    left_out = _LEFT_OUT[resource]
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
    payloads: Sequence[Mapping[str, Any]] | None = None,
    run_id: int | None = None,
) -> None:
    """Settles elements of a call that is read from the journal again: see `settle_sent`.

    `run_id` is the run it counts for, by default the attempt's own.
    """
    if not elements:
        return
    resource = Resource(attempt.resource)
    payloads = sent_elements(attempt) if payloads is None else payloads
    items = claims.by_ids(session, [element.item_id for element in elements])
    if attempt.verb == Verb.UPDATE:
        # An update leaves what it doesn't name: fields that a mapping keeps from overwriting.
        where = attempt.organisation_id
        refs = [items[element.item_id].ref for element in elements]
        bound = bindings.agreed_of(session, where, dict.fromkeys(refs))
        payloads = [
            updated(bound[ref].agreed if ref in bound else None, payload)
            for ref, payload in zip(refs, payloads, strict=True)
        ]
    settle_sent(
        session,
        attempt,
        elements,
        answers,
        items=items,
        agreed=[agreed_of(resource, payload) for payload in payloads],
        run_id=run_id or attempt.run_id,
        now=now,
    )


def settle_sent(
    session: Session,
    attempt: Journalled,
    elements: Sequence[AttemptElement | journal.Meant],
    answers: Sequence[Element],
    *,
    items: Mapping[int, Claimed],
    agreed: Sequence[Agreed],
    run_id: int | None,
    now: datetime,
    duration_ms: int | None = None,
) -> None:
    """Gives each element of a call its end; the caller has the fence and closes the attempt.

    A stored element is bound first and then compared with what was meant: one that differs
    is bound and failed, so that its retry is an update and never a second document. A document
    that differs for the first time goes once more by itself, with amounts that leave Xero
    nothing to round.
    """
    work = _Settling(session, attempt, now, duration_ms, run_id)
    for element, answer, one in zip(elements, answers, agreed, strict=True):
        work.take(element, answer, items[element.item_id], one)
    work.write()


@dataclass(slots=True)
class _Settling:
    """One call being settled: what is gathered here is written in a few statements."""

    session: Session
    attempt: Journalled
    now: datetime
    duration_ms: int | None
    run_id: int | None
    _ended: list[int] = field(default_factory=list)
    _bound: list[dict[str, Any]] = field(default_factory=list)
    _gone: list[tuple[RecordRef, str]] = field(default_factory=list)
    _entries: list[dict[str, Any]] = field(default_factory=list)
    _parked: list[tuple[Claimed, dict[str, Any]]] = field(default_factory=list)
    _failed: int = 0

    def take(
        self,
        element: AttemptElement | journal.Meant,
        answer: Element,
        item: Claimed,
        agreed: Agreed,
    ) -> None:
        """Decides what becomes of one element."""
        if not answer.stored:
            hint = explain(answer.faults, label=element.label)
            cause = hint.fingerprint[:120]
            self._fail(item, State.FAILED, cause, hint.sentence)
            quoted = (*answer.faults, *answer.beside)
            self._say(element, item, State.FAILED, hint.sentence, cause=cause, quoted=quoted)
            return
        xero_id = answer.xero_id
        deleted = item.action == REMOVE
        if deleted and self.attempt.verb != Verb.CREATE:
            self._gone.append((item.ref, str(xero_id or "")))
            self._ended.append(item.id)
            self._say(element, item, State.SUCCEEDED, _REMOVED, xero_id=xero_id, action=REMOVE)
            return
        if answer.earlier or deleted:
            # Nobody knows whether it says what this call says: it goes over as an update. One
            # whose record was deleted before it was found goes from there again.
            self._bind(element, answer, item, agreed, same=False)
            why = {"state": State.PENDING, "cause": None, "sentence": ""}
            self._parked.append((item, why))
            return
        differs = difference(element.meant, answer.data)
        self._bind(element, answer, item, agreed, same=differs is None)
        if differs is None:
            made = "Created" if self.attempt.verb == Verb.CREATE else "Updated"
            self._ended.append(item.id)
            sentence = f"{made} in Xero and read back."
            if element.note:
                sentence += f" {element.note}"
            self._say(element, item, State.SUCCEEDED, sentence, xero_id=xero_id)
            return
        sentence = f"It is in Xero, but differs: {differs}."
        again = self.attempt.resource == Resource.INVOICES and item.cause != DIFFERS
        self._fail(item, State.PENDING if again else State.FAILED, DIFFERS, sentence)
        self._say(element, item, State.FAILED, sentence, cause=DIFFERS, xero_id=xero_id)

    def write(self) -> None:
        """Writes all of it, in the order that unique keys and children need."""
        for item, why in self._parked:
            queue.park(self.session, item, **why)
        bindings.bind_many(self.session, self._bound)
        where = self.attempt.organisation_id
        for ref, xero_id in self._gone:
            bindings.unbind(self.session, where, ref)
            seen.forget(self.session, where, Resource(self.attempt.resource), [xero_id])
        queue.end(self.session, self._ended, State.SUCCEEDED)
        logs.append_many(self.session, self._entries)
        logs.count(self.session, self.run_id, succeeded=len(self._ended), failed=self._failed)

    def _fail(self, item: Claimed, state: State, cause: str, sentence: str) -> None:
        why = {"state": state, "cause": cause, "sentence": sentence, "counts": True}
        self._parked.append((item, why))
        self._failed += 1

    def _say(
        self,
        element: AttemptElement | journal.Meant,
        item: Claimed,
        outcome: State,
        sentence: str,
        *,
        cause: str | None = None,
        xero_id: str | None = None,
        quoted: Sequence[str] = (),
        action: str | None = None,
    ) -> None:
        made = "Create" if self.attempt.verb == Verb.CREATE else "Update"
        self._entries.append(
            logs.entry(
                item,
                now=self.now,
                outcome=outcome,
                sentence=sentence,
                action=action or made,
                run_id=self.run_id,
                cause=cause,
                quoted=quoted,
                xero_id=xero_id,
                attempt_id=self.attempt.id,
                place=element.place,
                amount=element.amount,
                currency=element.currency,
                duration_ms=self.duration_ms,
            )
        )

    def _bind(
        self,
        element: AttemptElement | journal.Meant,
        answer: Element,
        item: Claimed,
        agreed: Agreed,
        *,
        same: bool,
    ) -> None:
        info = CATALOGUE[Resource(self.attempt.resource)]
        member = info.resource is Resource.CONTACTS and self.attempt.owner_resource
        if answer.xero_id is None or member:
            return  # a note has no id, and a contact put into a group is bound as itself
        status = answer.data.get(info.status_field) if info.status_field else None
        number = answer.data.get(info.label_field)
        self._bound.append(
            bindings.row(
                organisation_id=self.attempt.organisation_id,
                ref=item.ref,
                resource=info.resource,
                xero_id=str(answer.xero_id),
                number=str(number) if number else None,
                status=str(status) if status else None,
                document_type=agreed.document_type,
                agreed=agreed.text,
                agreed_hash=agreed.digest if same else None,
                record_version=element.record_version,
                template_id=element.template_id,
                needed=item.needed,
                now=self.now,
            )
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

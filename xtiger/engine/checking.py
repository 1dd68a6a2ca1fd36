"""What nobody can tell by program: a person looks in Xero and says whether a write arrived."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain.errors import PermanentError, TransientError
from xtiger.domain.identity import Sought, day_of, id_of, is_gone, portrait
from xtiger.domain.queueing import State
from xtiger.domain.records import Change, ChangeKind, Module, RecordRef
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.engine import lookup
from xtiger.engine.connection import tokens
from xtiger.engine.services import Services
from xtiger.engine.settle import DIFFERS, settle
from xtiger.ports import Element
from xtiger.store import bindings, claims, journal, leases, logs, outbox, queue
from xtiger.store.leases import Lease
from xtiger.store.models import Attempt, AttemptElement, Organisation, QueueItem, Run

#: How an entry's quotes begin that tell the two sides (recovery writes them the same way).
SENT, IN_XERO = "Sent: ", "In Xero: "
#: The most objects of Xero's that one look shows.
_MOST = 10
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Case:
    """The write of an unclear item, as the journal keeps it; `payload` is this record's part."""

    attempt: Attempt
    element: AttemptElement
    payload: Mapping[str, Any]

    @property
    def resource(self) -> Resource:
        """What was written."""
        return Resource(self.attempt.resource)

    def facts(self) -> list[tuple[str, str]]:
        """What a person compares by: number, contact, date, total and marks, each if there is."""
        info = CATALOGUE[self.resource]
        told = {**self.element.meant, **self.payload}
        contact = told.get("Contact")
        contact = contact if isinstance(contact, Mapping) else {}
        amount = next((told[one] for one in ("Total", "Amount") if told.get(one) is not None), None)
        currency = self.element.currency or told.get("CurrencyCode") or ""
        found = [
            ("Type", told.get("Type")),
            (info.label_field, told.get(info.label_field)),
            ("Contact", contact.get("Name") or contact.get("ContactID")),
            ("Date", day_of(told.get("Date"))),
            ("Total", None if amount is None else f"{currency} {amount:,.2f}".strip()),
            ("Reference", told.get("Reference")),
            ("Url", told.get("Url")),
        ]
        return [(label, str(value)) for label, value in found if value]


def case_of(session: Session, item: QueueItem) -> Case | None:
    """The last write of an item; None where it was never sent, or its bytes are gone."""
    row = session.execute(
        select(Attempt, AttemptElement)
        .join(AttemptElement, AttemptElement.attempt_id == Attempt.id)
        .where(AttemptElement.item_id == item.id)
        .order_by(Attempt.id.desc())
        .limit(1)
    ).first()
    if row is None or not row[0].body:
        return None
    attempt, element = row
    return Case(attempt, element, journal.payloads_of(attempt)[element.place])


def xero_id_in(text: str) -> str | None:
    """The last id of Xero's in a text: an id itself, or a link to an object."""
    found = _ID.findall(text)
    return found[-1].lower() if found else None


def look(services: Services, item_id: int, who: str) -> int:
    """Asks Xero for what comes near an unclear item, and logs it; answers with how many do.

    One call, as long as less than a thousand objects changed since. Raises TransientError while
    a worker has the organisation, PermanentError where the item isn't unclear, and what calls
    raise.
    """
    with _alone(services, item_id) as (lease, case):
        rows = lookup.candidates(
            services, lease, case.attempt, [Sought(case.payload, case.element.meant)]
        )
        ids = {one for row in rows if (one := id_of(case.resource, row))}
        with services.database.write() as session:
            leases.guard(session, lease)
            item = _unclear(session, item_id)
            bound = bindings.known(session, lease.organisation_id, case.resource, ids)
            free = [row for row in rows if id_of(case.resource, row) not in bound]
            near = sorted(
                (row for row in free if _likeness(case, row)),
                key=lambda row: -_likeness(case, row),
            )
            texts = [f"{SENT}{portrait(case.resource, case.payload, case.element.meant)}"]
            texts += [f"{IN_XERO}{portrait(case.resource, row)}" for row in near[:_MOST]]
            if len(near) > _MOST:
                texts.append(f"{IN_XERO}{len(near) - _MOST} more")
            found = "nothing comes near it" if not near else f"{len(near)} come near it"
            if len(near) == 1:
                found = "one comes near it"
            _log(session, services, item, case, f"{who} looked in Xero: {found}.", quoted=texts)
    return len(near)


def there(services: Services, item_id: int, xero_id: str, who: str) -> State:
    """A person says that it arrived as this object: it is read, compared and bound.

    `xero_id` is Xero's id or a link that holds it. Answers with what became of the item:
    succeeded, failed because it differs from what was meant (nothing is then sent by itself), or
    pending because its record was deleted meanwhile and its removal comes next.
    Raises PermanentError with its sentence where it can't be that object, TransientError while
    a worker has the organisation, and what calls raise.
    """
    wanted = xero_id_in(xero_id)
    if wanted is None:
        raise PermanentError("Paste the object's Xero id, or the link to it in Xero.")
    with _alone(services, item_id) as (lease, case):
        info = CATALOGUE[case.resource]
        named = {info.id_field: wanted}
        row = lookup.objects(services, lease, case.attempt, [named]).get(wanted)
        with services.database.write() as session:
            leases.guard(session, lease)
            item = _unclear(session, item_id)
            _acceptable(session, lease, case, item, wanted, row)
            assert row is not None
            told = portrait(case.resource, row)
            _log(session, services, item, case, f"{who} said “It is there”: {told}.", wanted)
            # One that differs waits for a person: the object may be the wrong one.
            queue.take_up(session, item.id, cause=DIFFERS)
            session.refresh(item)
            settle(
                session,
                case.attempt,
                [case.element],
                [Element(stored=True, xero_id=str(id_of(case.resource, row)), data=row)],
                now=services.clock.now(),
                payloads=[case.payload],
            )
            run = session.get(Run, case.attempt.run_id) if case.attempt.run_id else None
            if run is not None and run.ended_at is not None:
                session.flush()
                logs.sum_up(session, run)
            session.refresh(item)
            state = State(item.state)
            if state is State.SUCCEEDED and item.changes > 1:
                # What changed since it was sent merged into it, and isn't in Xero yet.
                ref = RecordRef(Module(item.module), item.record_id)
                changed = Change(ref, ChangeKind.SAVED, services.clock.now())
                outbox.add(session, [changed])
    _go_on(services, lease.organisation_id, who)
    return state


def not_there(services: Services, item_id: int, who: str) -> None:
    """A person says that it never arrived: it goes again, at its old place.

    Raises TransientError while a worker has the organisation, PermanentError where the item
    isn't unclear.
    """
    with _alone(services, item_id) as (lease, case), services.database.write() as session:
        leases.guard(session, lease)
        item = _unclear(session, item_id)
        sentence = f"{who} said “It isn't”: it goes again, in its old place #{item.id}."
        _log(session, services, item, case, sentence)
        queue.go_again(session, item.id, now=services.clock.now())
    _go_on(services, lease.organisation_id, who)


@contextmanager
def _alone(services: Services, item_id: int) -> Iterator[tuple[Lease, Case]]:
    """An unclear item's write, with the organisation's lease: no drain works on it meanwhile."""
    with services.database.read() as session:
        item = _unclear(session, item_id)
        case = case_of(session, item)
        row = session.get_one(Organisation, item.organisation_id)
    if case is None:
        raise PermanentError(f"What #{item_id} sent is no longer kept. Look in the CRM and Xero.")
    lease = leases.take(
        services.database,
        row.id,
        holder=f"{services.worker[:60]}, a person",
        now=services.clock.now(),
        seconds=services.patience.lease,
    )
    if lease is None:
        raise TransientError(
            f"XTiger is working on {row.name} just now. Nothing was done; press again in a moment.",
            counts=False,
        )
    try:
        yield lease, case
    finally:
        leases.release(services.database, lease)


def _unclear(session: Session, item_id: int) -> QueueItem:
    item = session.get(QueueItem, item_id, with_for_update=True)
    if item is None or item.state != State.CHECK:
        raise PermanentError(f"#{item_id} isn't unclear any more. Nothing was done.")
    return item


def _acceptable(
    session: Session,
    lease: Lease,
    case: Case,
    item: QueueItem,
    wanted: str,
    row: Mapping[str, Any] | None,
) -> None:
    """Raises PermanentError where an object can't be what the item sent."""
    kind = case.resource.value.lower()
    if row is None:
        raise PermanentError(f"Xero has nothing under {wanted} among its {kind}.")
    if is_gone(case.resource, row):
        raise PermanentError("It was deleted, voided or archived in Xero. Say “It isn't” instead.")
    if case.payload.get("Type") and row.get("Type") != case.payload["Type"]:
        raise PermanentError(
            f"It is of another type in Xero: {row.get('Type')}; {case.payload['Type']} was sent."
        )
    found = bindings.by_xero_id(session, lease.organisation_id, case.resource, wanted)
    if found is not None and (found.module, found.record_id) != (item.module, item.record_id):
        raise PermanentError(
            f"{found.number or wanted} belongs to another record of the CRM already."
        )


def _likeness(case: Case, row: Mapping[str, Any]) -> int:
    """How many of the facts people compare by are equal."""
    info = CATALOGUE[case.resource]
    sent = {**case.element.meant, **case.payload}
    if sent.get("Type") and row.get("Type") != sent["Type"]:
        return 0
    contact, other = sent.get("Contact") or {}, row.get("Contact") or {}
    pairs = [(sent.get(name), row.get(name)) for name in (info.label_field, "Reference", "Url")]
    pairs += [(sent.get(name), row.get(name)) for name in ("Total", "Amount")]
    pairs += [(day_of(sent.get("Date")), day_of(row.get("Date")))]
    pairs += [(contact.get(name), other.get(name)) for name in ("ContactID", "Name")]
    return sum(1 for one, has in pairs if one not in (None, "") and str(one) == str(has))


def _log(
    session: Session,
    services: Services,
    item: QueueItem,
    case: Case,
    sentence: str,
    xero_id: str | None = None,
    *,
    quoted: list[str] | None = None,
) -> None:
    """What a person did; it counts for no run."""
    logs.append(
        session,
        item,
        now=services.clock.now(),
        outcome=State.CHECK,
        sentence=sentence,
        action=item.action,
        run_id=None,
        cause="check",
        quoted=quoted or (),
        xero_id=xero_id,
        attempt_id=case.attempt.id,
        place=case.element.place,
        amount=case.element.amount,
        currency=case.element.currency,
    )
    session.flush()


def _go_on(services: Services, organisation_id: int, who: str) -> None:
    """Asks for a run of what waits now, where Auto-sync is on."""
    now = services.clock.now()
    with services.database.write() as session:
        row = session.get_one(Organisation, organisation_id)
        if row.auto_sync and claims.due_count(session, organisation_id, now=now):
            tokens.carry_on(session, row, who, now)
    services.dispatcher.wake(organisation_id)

"""Calls whose answer never came: find out what Xero did before anything is sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy.orm import Session

from xtiger.domain.errors import PermanentError, TransientError, UnknownOutcome
from xtiger.domain.hints import explain
from xtiger.domain.queueing import State
from xtiger.domain.resources import CATALOGUE, Resource, Verb, unique_key
from xtiger.engine import tokens
from xtiger.engine.services import Services
from xtiger.engine.settle import sent_elements, settle
from xtiger.ports import Answer, Element
from xtiger.store import bindings, journal, leases, logs, queue, usage
from xtiger.store.leases import Lease
from xtiger.store.models import Attempt, AttemptElement, Organisation

#: How much earlier than an attempt Xero's own clock may date what it stored.
CLOCKS_APART = timedelta(minutes=5)


def settle_open(services: Services, lease: Lease, *, run_id: int | None = None) -> None:
    """Settles every call of an organisation that was left open, oldest first.

    1. Items that were claimed and never sent go back to their places.
    2. A call younger than Xero's memory of its key is sent again, byte for byte, with the
       same key: Xero answers what it answered then.
    3. An older one waits until Xero has surely forgotten the key and ended the call; then an
       update is simply due again, and a create is looked for (`_look_up`).

    What comes of them counts for the run that finds it out. Raises TransientError while it
    is too early, and whatever the calls raise.
    """
    with services.database.write() as session:
        leases.guard(session, lease)
        open_calls = return_unsent(session, lease.organisation_id)
    for attempt in open_calls:
        age = (services.clock.now() - attempt.opened_at).total_seconds()
        if age < services.patience.replay:
            replay(services, lease, attempt.id, run_id=run_id)
        elif age < services.patience.look_up:
            raise TransientError(
                "Xero's answer was lost. XTiger asks Xero whether it arrived before it sends "
                "anything again.",
                retry_after=services.patience.look_up - age,
                counts=False,
            )
        else:
            _look_up(services, lease, attempt.id, run_id)


def return_unsent(session: Session, organisation_id: int) -> list[Attempt]:
    """Puts claimed items that are in no open call back in place; answers with the open calls."""
    open_calls = journal.still_open(session, organisation_id)
    sent = {
        element.item_id
        for attempt in open_calls
        for element in journal.elements_of(session, attempt.id)
    }
    running = queue.running(session, organisation_id)
    queue.put_back(session, [item for item in running if item.id not in sent])
    return open_calls


def replay(services: Services, lease: Lease, attempt_id: int, *, run_id: int | None = None) -> None:
    """Sends a journalled call again, byte for byte, and settles it by its answer.

    Only an answer about each record settles it. Whatever else comes back now, a refusal of the
    whole call included, says nothing about what the first one did: the call stays open.
    """
    renewed = services.clock.now()
    with services.database.write() as session:
        leases.renew(session, lease, now=renewed, seconds=services.patience.lease)
        attempt = session.get_one(Attempt, attempt_id)
        attempt.sends += 1
        logs.count(session, run_id or attempt.run_id, calls=1)
        elements = journal.elements_of(session, attempt_id)
        replay_until = attempt.opened_at + timedelta(seconds=services.patience.replay)
        call = journal.call_of(attempt, len(elements))
    services.observe("replaying")
    try:
        answer = tokens.call(
            services,
            lease,
            lambda access: believable(services.xero.save_many(access, call)),
            until=min(replay_until, services.patience.start_until(renewed)),
        )
    except PermanentError as refusal:
        raise UnknownOutcome(
            f"Xero's first answer was lost, and it says now: {refusal.sentence}"
        ) from refusal
    answered = claimed(services, lease, attempt_id, answer)
    with services.database.write() as session:
        leases.guard(session, lease)
        attempt = session.get_one(Attempt, attempt_id)
        now = services.clock.now()
        settle(
            session,
            attempt,
            journal.elements_of(session, attempt_id),
            answered,
            now=now,
            run_id=run_id,
        )
        journal.close(
            attempt,
            outcome="settled",
            now=now,
            status=answer.status,
            headers=answer.headers,
            answer=answer.body,
        )
        logs.touch_success(session, lease.organisation_id, now=now)
        usage.learn(
            session.get_one(Organisation, lease.organisation_id),
            day_left=answer.day_left,
            minute=answer.minute,
            now=now,
        )


def believable(answer: Answer) -> Answer:
    """The answer, if it says of each element whether it is stored. Raises UnknownOutcome."""
    if any(element.stored is None for element in answer.elements):
        raise UnknownOutcome(
            "Xero's answer doesn't say of every record whether it arrived. XTiger asks Xero "
            "before it sends anything again."
        )
    return answer


def claimed(services: Services, lease: Lease, attempt_id: int, answer: Answer) -> Sequence[Element]:
    """The answer's elements; a create refused over its key is ours where Xero has it from us.

    So it is after a database was put back to an older state, or when Xero once left an object
    out of a list. One look-up for all of them; a stranger's stays refused.
    """
    with services.database.read() as session:
        attempt = session.get_one(Attempt, attempt_id)
    payloads = sent_elements(attempt)
    places = [place for place, one in enumerate(answer.elements) if _over_its_key(one)]
    if attempt.verb != Verb.CREATE or not places:
        return answer.elements
    resource = Resource(attempt.resource)
    found = _find(services, lease, attempt, [payloads[place] for place in places])
    with services.database.read() as session:
        taken = _bound(session, lease, resource, found)
    elements = list(answer.elements)
    for place in places:
        verdict = _verdict(resource, payloads[place], found, taken)
        if verdict is not None and verdict.stored:
            elements[place] = replace(verdict, earlier=True)
    return elements


#: Causes that say: an object with this key is there.
_KEY_TAKEN = frozenset({"number-taken", "contact-number-taken", "code-taken"})


def _over_its_key(element: Element) -> bool:
    causes = {explain([fault]).fingerprint.partition(":")[0] for fault in element.faults}
    return element.stored is False and bool(causes & _KEY_TAKEN)


def refuse(services: Services, lease: Lease, attempt_id: int, refusal: PermanentError) -> None:
    """Closes a call that Xero refused as a whole: each of its records failed with the reason."""
    with services.database.write() as session:
        leases.guard(session, lease)
        attempt = session.get_one(Attempt, attempt_id)
        elements = journal.elements_of(session, attempt_id)
        now = services.clock.now()
        refused = [Element(stored=False, faults=(refusal.sentence,)) for _ in elements]
        settle(session, attempt, elements, refused, now=now)
        journal.close(attempt, outcome="refused", now=now)


def _look_up(services: Services, lease: Lease, attempt_id: int, run_id: int | None) -> None:
    """Finds out by natural key or mark what an old create did, and settles it by that.

    Found with our mark or our content: ours, bound. Found with another's content: failed,
    the number is taken. Not found: it never arrived and is due again. Nothing to find it
    by: `check`, a person decides.
    """
    with services.database.write() as session:
        leases.renew(session, lease, now=services.clock.now(), seconds=services.patience.lease)
        attempt = session.get_one(Attempt, attempt_id)
        elements = journal.elements_of(session, attempt_id)
    if attempt.verb == Verb.UPDATE:
        _due_again(services, lease, attempt_id)
        return
    payloads = sent_elements(attempt)
    found = _find(services, lease, attempt, payloads)
    with services.database.write() as session:
        leases.guard(session, lease)
        attempt = session.get_one(Attempt, attempt_id)
        now = services.clock.now()
        known: list[tuple[AttemptElement, Element]] = []
        resource = Resource(attempt.resource)
        taken = _bound(session, lease, resource, found)
        for element, payload in zip(elements, payloads, strict=True):
            answer = _verdict(resource, payload, found, taken)
            if answer is not None:
                known.append((element, answer))
                continue
            item = queue.by_ids(session, [element.item_id])[element.item_id]
            if _can_be_found(attempt, payload):
                queue.put_back(session, [item])
            else:
                _check(session, attempt, element, now=services.clock.now())
        _settle_some(session, attempt, known, now=now, run_id=run_id)
        journal.close(attempt, outcome="looked up", now=now)


def _settle_some(
    session: Session,
    attempt: Attempt,
    known: Sequence[tuple[AttemptElement, Element]],
    *,
    now: datetime,
    run_id: int | None,
) -> None:
    """Settles the elements about which something is known, each beside its own payload."""
    payloads = sent_elements(attempt)
    for element, answer in known:
        settle(
            session,
            attempt,
            [element],
            [answer],
            now=now,
            payloads=[payloads[element.place]],
            run_id=run_id,
        )


def _check(session: Session, attempt: Attempt, element: AttemptElement, *, now: Any) -> None:
    item = queue.by_ids(session, [element.item_id])[element.item_id]
    sentence = (
        "It was sent and Xero's answer was lost; nothing in Xero tells whether it arrived. Look "
        "in Xero, then say “It is there” or “It isn't”."
    )
    queue.park(session, item, State.CHECK, cause="check", sentence=sentence)
    logs.append(
        session,
        item,
        now=now,
        outcome=State.CHECK,
        sentence=sentence,
        action="Create",
        run_id=attempt.run_id,
        cause="check",
        attempt_id=attempt.id,
        place=element.place,
    )


def _due_again(services: Services, lease: Lease, attempt_id: int) -> None:
    """An update of a bound object may go twice without harm: it is due again."""
    with services.database.write() as session:
        leases.guard(session, lease)
        attempt = session.get_one(Attempt, attempt_id)
        ids = [element.item_id for element in journal.elements_of(session, attempt_id)]
        items = queue.by_ids(session, ids)
        queue.put_back(session, [items[each] for each in ids])
        journal.close(attempt, outcome="due again", now=services.clock.now())


def _find(
    services: Services, lease: Lease, attempt: Attempt, payloads: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    resource = Resource(attempt.resource)
    keys = [key for payload in payloads if (key := unique_key(resource, payload))]
    found: list[Mapping[str, Any]] = []
    if keys:
        found.extend(
            tokens.call(services, lease, lambda access: services.xero.find(access, resource, keys))
        )
    if len(keys) < len(payloads):
        since = attempt.opened_at - CLOCKS_APART
        found.extend(
            tokens.call(
                services,
                lease,
                lambda access: list(
                    services.xero.changes(access, resource, since=since, mine=True)
                ),
            )
        )
    return found


def _can_be_found(attempt: Attempt, payload: Mapping[str, Any]) -> bool:
    """Whether not finding it proves that it never arrived."""
    return unique_key(Resource(attempt.resource), payload) is not None or bool(payload.get("Url"))


def _bound(
    session: Session, lease: Lease, resource: Resource, found: Sequence[Mapping[str, Any]]
) -> set[str]:
    """Which of the found objects belong to a record already: none of them was lost."""
    ids = {str(each.get(CATALOGUE[resource].id_field)) for each in found}
    return {
        one
        for one in ids
        if bindings.by_xero_id(session, lease.organisation_id, resource, one) is not None
    }


def _verdict(
    resource: Resource,
    payload: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    taken: set[str],
) -> Element | None:
    """Whether one of the found objects is this payload's, somebody else's, or none."""
    info = CATALOGUE[resource]
    key = unique_key(resource, payload)
    for candidate in found:
        named = key is not None and str(candidate.get(info.key_field)) == key
        if named and resource is Resource.INVOICES:
            named = candidate.get("Type") == payload.get("Type") and candidate.get(
                "Status"
            ) not in {"DELETED", "VOIDED"}
        ours = is_ours(resource, payload, candidate) and str(candidate[info.id_field]) not in taken
        if not named and not (key is None and ours):
            continue
        if ours:
            return Element(stored=True, xero_id=str(candidate[info.id_field]), data=candidate)
        return Element(
            stored=False,
            faults=(f"{info.label_field} {key} is taken by another one in Xero.",),
        )
    return None


def is_ours(resource: Resource, payload: Mapping[str, Any], candidate: Mapping[str, Any]) -> bool:
    """Whether a found object carries our mark, or equals the journalled body.

    Contacts carry our number, documents our link in Url. Items have no room for a mark and
    must equal what was sent, in all that was sent.
    """
    if resource is Resource.CONTACTS:
        return bool(candidate.get("ContactNumber") == payload.get("ContactNumber"))
    if resource is Resource.INVOICES:
        return bool(payload.get("Url")) and candidate.get("Url") == payload["Url"]
    return all(_same(candidate.get(name), sent) for name, sent in payload.items())


def _same(one: Any, other: Any) -> bool:
    if one in (None, "", {}) and other in (None, "", {}):
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one.get(name), sent) for name, sent in other.items())
    if isinstance(one, (int, Decimal)) and not isinstance(one, bool) and other is not None:
        try:
            return Decimal(one) == Decimal(str(other))
        except InvalidOperation:
            return False
    return bool(one == other)

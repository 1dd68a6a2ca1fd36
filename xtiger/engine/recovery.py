"""Calls whose answer never came: find out what Xero did before anything is sent again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from xtiger.domain.errors import PermanentError, TransientError, UnknownOutcome
from xtiger.domain.hints import hint
from xtiger.domain.identity import (
    Fate,
    Finding,
    Sought,
    id_of,
    is_gone,
    judge,
    portrait,
    removes,
)
from xtiger.domain.queueing import State
from xtiger.domain.resources import CATALOGUE, Resource, Verb, unique_key
from xtiger.engine import lookup
from xtiger.engine.connection import tokens
from xtiger.engine.services import Services
from xtiger.engine.settle import settle
from xtiger.ports import Answer, Element
from xtiger.store import bindings, journal, leases, logs, queue, usage
from xtiger.store.leases import Lease
from xtiger.store.models import Attempt, AttemptElement, Organisation

#: Seconds after which a look-up that Xero refuses is left to a person.
IN_VAIN = 3600
#: Calls with a record that Xero answered with a fault of its own, until the record fails: halved
#: each time it stands alone after six, and then has one more try.
MOST_DOUBTS = 8
_STUMBLES = (
    "Xero answered with a fault of its own each time this record was sent, at last alone, and "
    "nothing of it arrived. Change it in the CRM, or retry it once Xero has mended its fault."
)
#: The most objects that an entry of the log shows beside what was sent.
MOST_SHOWN = 10

Row = Mapping[str, Any]


def settle_open(services: Services, lease: Lease, *, run_id: int | None = None) -> None:
    """Settles every call of an organisation that was left open, oldest first.

    1. Items that were claimed and never sent go back to their places.
    2. A call younger than Xero's memory of its key is sent again, byte for byte, with the
       same key: Xero answers what it answered then.
    3. An older one waits until Xero has surely forgotten the key and ended the call; then it is
       looked for (`_look_up`).
    4. One that must wait, or whose outcome stays unknown, doesn't keep the younger ones from
       being settled: up to four calls were under way together, in no order among them, and a
       replay or a look-up sends nothing that wasn't sent before. Only a call about the same
       record, or below the same owner, waits with it.
    5. While any call stays open this raises, so nothing new is sent and no order is lost.

    What comes of them counts for the run that finds it out. Raises TransientError while it
    is too early, UnknownOutcome where Xero didn't tell, and whatever else the calls raise.
    """
    with services.database.write() as session:
        leases.guard(session, lease)
        open_calls = return_unsent(session, lease.organisation_id)
        touched = _touched(session, open_calls)
    unsettled: set[str] = set()
    waits: list[float] = []
    unknown: UnknownOutcome | None = None
    for attempt in open_calls:
        if unsettled & touched[attempt.id]:
            unsettled |= touched[attempt.id]
            continue
        age = (services.clock.now() - attempt.opened_at).total_seconds()
        if services.patience.replay <= age < services.patience.look_up:
            waits.append(services.patience.look_up - age)
            unsettled |= touched[attempt.id]
            continue
        try:
            if age < services.patience.replay:
                replay(services, lease, attempt.id, run_id=run_id)
            else:
                _look_up(services, lease, attempt.id, run_id)
        except UnknownOutcome as open_still:
            unknown = unknown or open_still
            unsettled |= touched[attempt.id]
    if unknown is not None:
        raise unknown
    if waits:
        raise TransientError(
            "Xero's answer was lost. XTiger asks Xero whether it arrived before it sends "
            "anything again.",
            retry_after=min(waits),
            counts=False,
        )


def return_unsent(
    session: Session, organisation_id: int, *, but: Set[int] = frozenset()
) -> list[Attempt]:
    """Puts claimed items that are in no open call back in place; answers with the open calls."""
    open_calls = journal.still_open(session, organisation_id)
    sent = {item for items in journal.items_of(session, open_calls).values() for item in items}
    running = queue.running(session, organisation_id)
    queue.put_back(session, [item for item in running if item.id not in sent | but])
    return open_calls


def _touched(session: Session, attempts: Sequence[Attempt]) -> dict[int, set[str]]:
    """What each call is about: its records, and the object below which it writes."""
    by_call = journal.items_of(session, attempts)
    items = queue.by_ids(session, [item for ids in by_call.values() for item in ids])
    about: dict[int, set[str]] = {}
    for attempt in attempts:
        found = [items[one] for one in by_call[attempt.id] if one in items]
        about[attempt.id] = {f"{item.module}:{item.record_id}" for item in found}
        if attempt.owner_id:
            about[attempt.id].add(f"below {attempt.owner_id}")
    return about


def replay(services: Services, lease: Lease, attempt_id: int, *, run_id: int | None = None) -> None:
    """Sends a journalled call again, byte for byte, and settles it by its answer.

    Only an answer about each record settles it. Whatever else comes back now, a refusal of the
    whole call included, says nothing about what the first one did: the call stays open. A
    DELETE has no key in Xero; going twice does no harm, and what it then refuses is looked at.
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


# -- what was refused because it is there already, or gone already --------------------------------


def claimed(services: Services, lease: Lease, attempt_id: int, answer: Answer) -> Sequence[Element]:
    """The answer's elements; a create refused over its key is ours where Xero has it from us.

    So it is after a database was put back to an older state, or when Xero once left an object
    out of a list. A removal that is refused worked earlier where the object is gone. One
    look-up for all of them; what is a stranger's stays refused, with both sides shown.

    Raises UnknownOutcome where Xero refuses the look-up: the call stays open until it is known.
    """
    if all(one.stored is not False for one in answer.elements):
        return answer.elements
    with services.database.read() as session:
        attempt = session.get_one(Attempt, attempt_id)
        sent = _sought(session, attempt)
    resource, verb = Resource(attempt.resource), Verb(attempt.verb)
    places = [
        place
        for place, (one, element) in enumerate(zip(sent, answer.elements, strict=True))
        if element.stored is False
        and (
            _over_its_key(element) if verb is Verb.CREATE else removes(resource, verb, one.payload)
        )
    ]
    if not places:
        return answer.elements
    doubted = [sent[place] for place in places]
    elements = list(answer.elements)
    if verb is not Verb.CREATE:
        gone = _removed(services, lease, attempt, doubted)
        for place, known in zip(places, gone, strict=True):
            elements[place] = known or elements[place]
        return elements
    findings = _find(services, lease, attempt, doubted)
    for place, finding in zip(places, findings, strict=True):
        if finding.fate is Fate.ARRIVED:
            # Nobody knows whether it says what this call says, so where it can it goes over once
            # more as an update.
            earlier = Verb.UPDATE in CATALOGUE[resource].verbs
            elements[place] = replace(_arrived(resource, finding), earlier=earlier)
        else:
            beside = _both_sides(resource, sent[place], finding.found)
            elements[place] = replace(elements[place], beside=beside)
    return elements


#: Words by which Xero says that an object with this key is there (docs of its clients).
_THERE = re.compile(r"\b(unique|already)\b", re.IGNORECASE)


def _over_its_key(element: Element) -> bool:
    return any(_THERE.search(fault) for fault in element.faults)


# -- looking for what was lost --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    """What the look-up found out about one element: its answer, or what it is parked as."""

    answer: Element | None = None
    state: State = State.PENDING
    cause: str | None = None
    sentence: str = ""
    quoted: tuple[str, ...] = ()


def _look_up(services: Services, lease: Lease, attempt_id: int, run_id: int | None) -> None:
    """Finds out what an old call did, and settles it by that; nothing is sent.

    | a call | is |
    | --- | --- |
    | a create | judged by what Xero has now (`domain.identity.judge`) |
    | a removal | done if the object is gone, else due again |
    | any other update | due again: it says all of what it changes, so it may go twice |

    A look-up that Xero refuses is tried again for an hour; then a person decides.
    """
    with services.database.write() as session:
        leases.renew(session, lease, now=services.clock.now(), seconds=services.patience.lease)
        attempt = session.get_one(Attempt, attempt_id)
        sent = _sought(session, attempt)
    try:
        known = _all_known(services, lease, attempt, sent)
        again = attempt.verb != Verb.CREATE and all(one == _Known() for one in known)
        outcome = "due again" if again else "looked up"
    except lookup.Refused as refused:
        age = (services.clock.now() - attempt.opened_at).total_seconds()
        if age < IN_VAIN * services.settings.time_factor:
            raise
        outcome = "asked in vain"
        known = [_in_vain(attempt, one, refused.why) for one in sent]
    with services.database.write() as session:
        leases.guard(session, lease)
        _settle_known(
            session,
            session.get_one(Attempt, attempt_id),
            known,
            outcome=outcome,
            now=services.clock.now(),
            run_id=run_id,
        )


def _all_known(
    services: Services, lease: Lease, attempt: Attempt, sent: Sequence[Sought]
) -> list[_Known]:
    resource, verb = Resource(attempt.resource), Verb(attempt.verb)
    if verb is Verb.CREATE:
        findings = _find(services, lease, attempt, sent)
        return [_known(resource, one, finding) for one, finding in zip(sent, findings, strict=True)]
    places = [place for place, one in enumerate(sent) if removes(resource, verb, one.payload)]
    known = [_Known() for _ in sent]
    if places:
        gone = _removed(services, lease, attempt, [sent[place] for place in places])
        for place, answer in zip(places, gone, strict=True):
            known[place] = _Known(answer)
    return known


def _find(
    services: Services, lease: Lease, attempt: Attempt, sent: Sequence[Sought]
) -> list[Finding]:
    """What became of each element of a create, by what Xero has now."""
    resource = Resource(attempt.resource)
    found = lookup.candidates(services, lease, attempt, sent)
    ids = {one for row in found if (one := id_of(resource, row))}
    with services.database.read() as session:
        bound = bindings.known(session, lease.organisation_id, resource, ids)
    since = attempt.opened_at - lookup.CLOCKS_APART
    return judge(resource, sent, found, bound=bound, since=since)


def _removed(
    services: Services, lease: Lease, attempt: Attempt, sent: Sequence[Sought]
) -> list[Element | None]:
    """The answer of each removal that worked; None where the object is still there."""
    resource = Resource(attempt.resource)
    rows = lookup.objects(services, lease, attempt, [one.payload for one in sent])
    answers: list[Element | None] = []
    for one in sent:
        xero_id = id_of(resource, one.payload)
        row = rows.get(xero_id or "")
        data = dict(one.payload) if row is None else row
        gone = Element(stored=True, xero_id=xero_id, data=data)
        answers.append(gone if is_gone(resource, row) else None)
    return answers


def _sought(session: Session, attempt: Attempt) -> list[Sought]:
    """The elements of a call as they were sent, with what is kept beside each."""
    rows = journal.elements_of(session, attempt.id)
    payloads = journal.payloads_of(attempt)
    return [
        Sought(payload, row.meant, row.equal_before)
        for row, payload in zip(rows, payloads, strict=True)
    ]


def _arrived(resource: Resource, finding: Finding) -> Element:
    row = finding.found[0]
    return Element(stored=True, xero_id=id_of(resource, row), data=row)


def _known(resource: Resource, one: Sought, finding: Finding) -> _Known:
    """What a judgement means for the item."""
    if finding.fate is Fate.ARRIVED:
        return _Known(_arrived(resource, finding))
    if finding.fate is Fate.ABSENT:
        return _Known()
    both = _both_sides(resource, one, finding.found)
    if finding.fate is Fate.TAKEN:
        return _Known(None, State.FAILED, *_taken(resource, one), both)
    alike = len(finding.found)
    told = "one that looks" if alike == 1 else f"{alike} that look"
    return _Known(None, State.CHECK, "check", f"{_LOST}. Xero has {told} like it. {_LOOK}", both)


_LOST = "It was sent and Xero's answer was lost"
_LOOK = "Look in Xero, then say “It is there” or “It isn't”."
_TAKEN = {Resource.CONTACTS: "contact-number-taken", Resource.ITEMS: "code-taken"}


def _taken(resource: Resource, one: Sought) -> tuple[str, str]:
    """Cause and sentence where a stranger's object has our key."""
    key = unique_key(resource, one.payload) or ""
    said = hint(_TAKEN.get(resource, "number-taken"), label=key, code=key)
    return said.fingerprint, said.sentence


def _in_vain(attempt: Attempt, one: Sought, why: str) -> _Known:
    resource, verb = Resource(attempt.resource), Verb(attempt.verb)
    if verb is not Verb.CREATE:
        return _Known()  # it may go twice, and its answer then tells
    sentence = f"{_LOST}, and Xero doesn't tell whether it arrived: {why} {_LOOK}"
    return _Known(None, State.CHECK, "check", sentence, _both_sides(resource, one, ()))


def _both_sides(resource: Resource, one: Sought, found: Sequence[Row]) -> tuple[str, ...]:
    """What was sent and what Xero has, each in a few words."""
    texts = [f"Sent: {portrait(resource, one.payload, one.meant)}"]
    texts += [f"In Xero: {portrait(resource, row)}" for row in found[:MOST_SHOWN]]
    if len(found) > MOST_SHOWN:
        texts.append(f"In Xero: {len(found) - MOST_SHOWN} more")
    return tuple(texts)


def _settle_known(
    session: Session,
    attempt: Attempt,
    known: Sequence[_Known],
    *,
    outcome: str,
    now: datetime,
    run_id: int | None,
) -> None:
    """Gives each element the end that was found out, and closes the call."""
    elements = journal.elements_of(session, attempt.id)
    payloads = journal.payloads_of(attempt)
    items = queue.by_ids(session, [element.item_id for element in elements])
    arrived: list[tuple[AttemptElement, Row, Element]] = []
    for element, payload, one in zip(elements, payloads, known, strict=True):
        item = items[element.item_id]
        if one.answer is not None:
            arrived.append((element, payload, one.answer))
        elif one.state is State.PENDING and (len(known) > 1 or item.doubts < MOST_DOUBTS):
            queue.put_back(session, [item])
        else:
            if one.state is State.PENDING:
                # Alone, and again nothing but a fault of Xero's: others must not wait for ever.
                one = _Known(None, State.FAILED, "xero-trouble", _STUMBLES)
            refused = one.state is State.FAILED
            cause = (one.cause or "")[:120]
            queue.park(session, item, one.state, cause=cause, sentence=one.sentence, counts=refused)
            logs.append(
                session,
                item,
                now=now,
                outcome=one.state,
                sentence=one.sentence,
                action="Create",
                run_id=run_id or attempt.run_id,
                cause=cause,
                quoted=one.quoted,
                attempt_id=attempt.id,
                place=element.place,
                amount=element.amount,
                currency=element.currency,
            )
            logs.count(session, run_id or attempt.run_id, failed=1)
    settle(
        session,
        attempt,
        [element for element, _, _ in arrived],
        [answer for _, _, answer in arrived],
        now=now,
        payloads=[payload for _, payload, _ in arrived],
        run_id=run_id,
    )
    journal.close(attempt, outcome=outcome, now=now)

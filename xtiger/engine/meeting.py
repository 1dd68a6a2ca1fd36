"""First meeting: contacts and items that Xero has already are found before any is created."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.errors import PermanentError
from xtiger.domain.identity import changed_at
from xtiger.domain.meeting import MET, Met, Rung, Side, fold, meet, side
from xtiger.domain.queueing import State
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import Resource
from xtiger.engine.connection import tokens
from xtiger.engine.elements import Ready
from xtiger.engine.lookup import CLOCKS_APART
from xtiger.engine.services import Services
from xtiger.engine.settle import agreed_of
from xtiger.store import bindings, leases, logs, queue, seen
from xtiger.store.claims import Claimed
from xtiger.store.leases import Lease
from xtiger.store.models import QueueItem

#: How long what Xero holds is taken to be known before a new record makes XTiger look again.
KNOWN_FOR = timedelta(hours=1)
#: After so long what is found is read once more before it is linked.
SURE_FOR = timedelta(minutes=10)
#: What Xero said of a create whose name or code is taken.
TAKEN = ("name-taken", "code-taken")
#: Rows written at once.
_SOME = 500
#: The cause of what waits for a person's word; the objects it may be are looked up anew.
UNCERTAIN = "met-already"


def look_around(
    services: Services, lease: Lease, claimed: Sequence[Claimed]
) -> frozenset[Resource]:
    """Reads what Xero holds if records that it never got are about to be created there.

    All contacts are read once (a call for each 1,000), later what changed since, at most once an
    hour; items, which Xero lists whole, in one call. A record that is tried again makes XTiger
    look in any case: somebody may have mended it in Xero. Answers with the resources that are
    known now; raises what calls raise.
    """
    known: set[Resource] = set()
    now = services.clock.now()
    for resource in MET:
        items = [item for item in claimed if item.resource == resource.value]
        if not items:
            continue
        refs = [item.ref for item in items]
        with services.database.read() as session:
            until = seen.known_until(session, lease.organisation_id, resource)
            fresh = until is not None and now - until < KNOWN_FOR * services.settings.time_factor
            fresh = fresh and not any(item.tries for item in items)
            bound = {} if fresh else bindings.agreed_of(session, lease.organisation_id, refs)
            if not fresh and len(bound) == len(set(refs)):
                continue  # updates only
        if not fresh:
            _read(services, lease, resource)
        known.add(resource)
    return frozenset(known)


def _read(services: Services, lease: Lease, resource: Resource) -> None:
    """Takes in what changed in Xero since the last look, all of it at the first."""
    where, began = lease.organisation_id, services.clock.now()
    dated = resource is Resource.CONTACTS
    with services.database.read() as session:
        since = seen.known_until(session, where, resource) if dated else None
    listed = tokens.call(
        services,
        lease,
        lambda access: _take_in(
            services, lease, resource, iter(services.xero.changes(access, resource, since=since))
        ),
    )
    with services.database.write() as session:
        leases.guard(session, lease)
        if not dated:  # what isn't in a whole list is gone
            seen.keep_only(session, where, resource, listed)
        seen.known_now(session, where, resource, began - CLOCKS_APART)
    tokens.count_usage(services)


def _take_in(
    services: Services, lease: Lease, resource: Resource, rows: Iterator[Mapping[str, Any]]
) -> set[str]:
    """Keeps the rows as they come, and how far it got; answers with the ids."""
    listed: set[str] = set()
    while some := list(islice(rows, _SOME)):
        sides = [side(resource, one) for one in some]
        listed.update(one.xero_id for one in sides)
        last = changed_at(some[-1]) if resource is Resource.CONTACTS else None
        with services.database.write() as session:
            now = services.clock.now()
            leases.renew(session, lease, now=now, seconds=services.patience.lease)
            seen.put(session, lease.organisation_id, resource, sides)
            if last is not None and len(some) == _SOME:
                # Contacts come by the moment of their change: a look that breaks goes on there,
                # and isn't taken for one that is over.
                until = min(last, now - 2 * KNOWN_FOR)
                seen.known_now(session, lease.organisation_id, resource, until)
    return listed


def read_back(
    services: Services, lease: Lease, found: Mapping[RecordRef, Met], resource: Resource
) -> None:
    """Reads once more what is about to be linked, unless everything was read a moment ago.

    What Xero has no more is forgotten; what it has is known as it is now.
    """
    where = lease.organisation_id
    ids = sorted({met.certain.xero_id for met in found.values() if met.certain is not None})
    with services.database.read() as session:
        until = seen.known_until(session, where, resource)
    sure = SURE_FOR * services.settings.time_factor + CLOCKS_APART
    if not ids or (until is not None and services.clock.now() - until < sure):
        return
    rows = tokens.call(
        services, lease, lambda access: list(services.xero.get_many(access, resource, ids))
    )
    sides = [side(resource, row) for row in rows]
    with services.database.write() as session:
        leases.renew(session, lease, now=services.clock.now(), seconds=services.patience.lease)
        seen.put(session, where, resource, sides)
        seen.forget(session, where, resource, set(ids) - {one.xero_id for one in sides})


def find(
    session: Session, organisation_id: int, resource: Resource, ours: Mapping[RecordRef, Side]
) -> dict[RecordRef, Met]:
    """What each record is in Xero; those that are nothing there are absent.

    An object that is one record's for certain isn't another's any more: the one that is most
    certain has it, of equal ones the first.
    """
    if not ours or not seen.any_of(session, organisation_id, resource):
        return {}
    said = seen.said(session, organisation_id, list(ours))
    chosen = {ref: xero_id for ref, word in said.items() for xero_id, same in word.items() if same}
    near = seen.near(session, organisation_id, resource, list(ours.values()))
    more = seen.by_ids(session, organisation_id, resource, chosen.values())
    theirs = list({one.xero_id: one for one in (*near, *more.values())}.values())
    if not theirs:
        return {}
    by_id = {one.xero_id: one for one in theirs}
    taken = bindings.known(session, organisation_id, resource, [one.xero_id for one in theirs])
    by_key: dict[tuple[str, str], list[Side]] = {}
    for one in theirs:
        for key in _keys(one):
            by_key.setdefault(key, []).append(one)

    def met_by(ref: RecordRef) -> Met:
        mine, word = ours[ref], chosen.get(ref)
        like = {one.xero_id: one for key in _keys(mine) for one in by_key.get(key, ())}
        if word in by_id:
            like[word] = by_id[word]
        apart = {xero_id for xero_id, same in said.get(ref, {}).items() if not same}
        return meet(resource, mine, list(like.values()), taken=taken, apart=apart, chosen=word)

    first = {ref: met.by for ref in ours if (met := met_by(ref)).by is not None}
    rungs = list(Rung)
    order = sorted(ours, key=lambda ref: rungs.index(first[ref]) if ref in first else len(rungs))
    found: dict[RecordRef, Met] = {}
    for ref in order:
        met = met_by(ref)
        if met.certain is not None:
            taken.add(met.certain.xero_id)
        if met.certain is not None or met.maybe:
            found[ref] = met
    return found


def _keys(one: Side) -> list[tuple[str, str]]:
    folded = {
        "id": one.xero_id.lower(),
        "number": fold(one.number),
        "account": fold(one.account_number),
        "name": fold(one.name),
    }
    return [(name, text) for name, text in folded.items() if text]


def _holders(
    session: Session, organisation_id: int, resource: Resource, xero_ids: Sequence[str]
) -> dict[str, str]:
    """The records that objects belong to already, for people, by the objects' ids."""
    return {
        xero_id: f"{ref.module.singular} {number or ref.id}"
        for xero_id, (ref, number) in bindings.holders(
            session, organisation_id, resource, xero_ids
        ).items()
    }


def bind(session: Session, ready: Ready, found: Side, *, services: Services) -> None:
    """Makes a record that was about to be created and an object of Xero one and the same.

    Nothing is agreed on yet. The record's payload of now is kept, so that what Xero had before
    stays until it changes in the CRM.
    """
    item, resource = ready.item, Resource(ready.item.resource)
    nothing = agreed_of(resource, {})
    bindings.bind_many(
        session,
        [
            bindings.row(
                organisation_id=item.organisation_id,
                ref=item.ref,
                resource=resource,
                xero_id=found.xero_id,
                number=found.label or None,
                status=found.status,
                document_type=None,
                agreed=nothing.text,
                agreed_hash=nothing.digest,
                record_version=None,
                template_id=ready.template_id,
                needed=item.needed,
                now=services.clock.now(),
                met=exactjson.Written(ready.data.decode()),
            )
        ],
    )


# -- a person's word --------------------------------------------------------------------------


class Waiting(NamedTuple):
    """A record that waits for somebody to say which object it is, and those it may be."""

    item: QueueItem
    organisation: str
    maybe: list[Side]


def waiting(services: Services, *, limit: int = 200) -> list[Waiting]:
    """Everything that waits for a person's word, the oldest first."""
    with services.database.read() as session:
        return [
            Waiting(item, name, seen.asked(session, item.organisation_id, _ref(item)))
            for item, name in queue.failed_with(session, UNCERTAIN, limit=limit)
        ]


def link(services: Services, item_id: int, xero_id: str, *, who: str) -> str:
    """A person says which object a record is; it goes on at its old place, as an update.

    Answers with the object's name. Raises PermanentError with its sentence where that can't be.
    """
    with services.database.write() as session:
        item = _uncertain(session, item_id)
        where = item.organisation_id
        found = next(
            (s for s in seen.asked(session, where, _ref(item)) if s.xero_id == xero_id), None
        )
        if found is None:
            raise PermanentError("That isn't one of those it may be any more. Look again.")
        holders = _holders(session, where, Resource(item.resource), [xero_id])
        if held := holders.get(xero_id):
            raise PermanentError(f"{found.label} is linked with {held} already. Choose another.")
        if found.status == "ARCHIVED":
            raise PermanentError(
                f"{found.label} is archived in Xero. Restore it there, then press Retry."
            )
        seen.say(session, where, _ref(item), same=xero_id, who=who, now=services.clock.now())
        _go_on(session, services, item, f"{who} linked it with Xero's {found.label}.")
    services.dispatcher.wake(where)
    return found.label


def create_new(services: Services, item_id: int, *, who: str) -> None:
    """A person says that a record is none of the objects it may be: it is created beside them."""
    with services.database.write() as session:
        item = _uncertain(session, item_id)
        where = item.organisation_id
        seen.say(session, where, _ref(item), same=None, who=who, now=services.clock.now())
        _go_on(session, services, item, f"{who} said that it is none of those in Xero.")
    services.dispatcher.wake(where)


def _ref(item: QueueItem) -> RecordRef:
    return RecordRef(Module(item.module), item.record_id)


def _uncertain(session: Session, item_id: int) -> QueueItem:
    item = session.get(QueueItem, item_id)
    if item is None or item.state != State.FAILED or item.cause != UNCERTAIN:
        raise PermanentError(f"#{item_id} doesn't wait for that any more. Look again.")
    return item


def _go_on(session: Session, services: Services, item: QueueItem, sentence: str) -> None:
    now = services.clock.now()
    logs.append(
        session,
        item,
        now=now,
        outcome=State.PENDING,
        sentence=sentence,
        action=item.action,
        run_id=None,
    )
    queue.retry(session, [item.id], now=now)

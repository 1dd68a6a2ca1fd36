"""Xero's webhooks: kept raw before they are answered, put into the inbox afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from xtiger.domain.errors import XTigerError
from xtiger.domain.resources import Resource
from xtiger.engine.services import Delivery, Services
from xtiger.store import inbox, leases, profiles
from xtiger.store.inbox import Changed
from xtiger.store.models import Organisation, Webhook
from xtiger.store.schema import MOST_ROWS
from xtiger.telemetry import logger

#: About the app's own plan in Xero's app store, not about anybody's books.
_IGNORED = "SUBSCRIPTION"
#: An id of Xero's has 36 signs; what is longer has no room.
_LONGEST_ID = 40
#: Deliveries read at a time: a body may hold a megabyte.
_CLAIM = 5
#: How long a handled delivery is kept, and how many go at a time.
_KEPT = timedelta(days=7)
_SLICE = 200
#: The setting that says up to which event all deliveries came.
_SEEN = "xero_webhook_seen"

log = logger("webhooks")


class Refusal(StrEnum):
    """Why a delivery wasn't taken in."""

    NO_KEY = "no_key"  #: nobody has set the key it should be signed with
    UNSIGNED = "unsigned"  #: it carries no signature
    SIGNATURE = "signature"  #: its signature isn't the key's
    SIZE = "size"  #: it is larger than any of Xero's


@dataclass(frozen=True, slots=True)
class State:
    """What the page tells of webhooks."""

    key_set: bool
    locked: bool
    #: When the last delivery came, None where none is kept.
    last_at: datetime | None
    #: When one was last refused and noted, and why; None where none ever was.
    refused_at: datetime | None = None
    refused_why: Refusal | None = None


def state(services: Services, session: Session) -> State:
    """Whether a key is set, when the last delivery came, and when one was last refused."""
    locked = bool(services.settings.xero_webhook_key)
    newest = inbox.last(session)
    refused = inbox.refused(session)
    return State(
        key_set=locked or profiles.has_setting(session, "xero_webhook_key"),
        locked=locked,
        last_at=newest.received_at if newest else None,
        refused_at=datetime.fromisoformat(refused["at"]) if refused else None,
        refused_why=Refusal(refused["why"]) if refused else None,
    )


def refuse(services: Services, why: Refusal) -> None:
    """Notes that a delivery was refused, at most once a minute. Raises XTigerError."""
    now = services.clock.now()
    with services.database.read() as session:
        if not inbox.may_note(session, now=now):
            return
    with services.database.write() as session:
        inbox.note(session, why, now=now)


def key(services: Services) -> str | None:
    """What Xero signs with; None where nobody has set it. Raises XTigerError."""
    if services.settings.xero_webhook_key:
        return services.settings.xero_webhook_key
    with services.database.read() as session:
        found = profiles.setting(session, "xero_webhook_key", services.ring)
    return str(found) if found else None


def save_key(services: Services, given: str, *, who: str) -> None:
    """Stores the key, sealed. A new key is a new webhook, whose events Xero numbers anew."""
    if services.settings.xero_webhook_key:
        return
    with services.database.write() as session:
        profiles.put_setting(
            session,
            "xero_webhook_key",
            given.strip(),
            who=who,
            now=services.clock.now(),
            ring=services.ring,
        )
        profiles.drop_setting(session, _SEEN)


def receive(services: Services, body: bytes) -> None:
    """Stores a delivery whose signature was good. It is committed when this returns."""
    with services.database.write() as session:
        inbox.keep(session, body, now=services.clock.now())


def handle(services: Services) -> int:
    """Puts all waiting deliveries into the inbox, in their order; answers with their number.

    One that can't be read is marked with its fault and doesn't stop the others. Two workers
    at once are harmless: a delivery is marked by one of them alone.
    """
    total = 0
    while True:
        with services.database.read() as session:
            rows = inbox.waiting(session, limit=_CLAIM)
        if not rows:
            return total
        for row in rows:
            total += _handle(services, row)


def forget(services: Services) -> int:
    """Deletes a slice of the deliveries that were handled a week ago; answers with its size."""
    before = services.clock.now() - _KEPT
    with services.database.read() as session:
        if not inbox.has_older(session, before=before):
            return 0
    with services.database.write() as session:
        return inbox.forget(session, before=before, limit=_SLICE)


def _handle(services: Services, row: Webhook) -> bool:
    """Puts one delivery into the inbox and marks it.

    1. Read it, and merge what it says of each object of an organisation in use.
    2. Put that in by slices; a repeat of all but the last one, after a kill, does no harm.
    3. With the last slice mark the delivery and note up to which event all came.
    """
    fault: str | None = None
    delivery: Delivery | None = None
    try:
        delivery = services.read_delivery(row.body)
    except XTigerError as error:
        fault = error.sentence
    except Exception as error:
        # Whatever it holds, it must not keep the deliveries behind it from being handled.
        log.warning("webhook not read", webhook=row.id, error=type(error).__name__)
        fault = f"This delivery can't be read ({type(error).__name__})."
    sorted_out = _sort(services, delivery, row.received_at)
    slices = list(_slices(sorted_out.changes))
    for slice_ in slices[:-1]:
        with services.database.write() as session:
            leases.lock_all(session)
            inbox.put(session, slice_, now=row.received_at)
    with services.database.write() as session:
        leases.lock_all(session)
        kept = session.get(Webhook, row.id, with_for_update=True, populate_existing=True)
        if kept is None or kept.handled_at is not None:
            return False
        inbox.put(session, slices[-1] if slices else [], now=row.received_at)
        kept.handled_at = services.clock.now()
        kept.taken, kept.dropped, kept.fault = sorted_out.taken, sorted_out.dropped, fault
        for one in sorted({change.organisation_id for change in sorted_out.changes}):
            organisation = session.get_one(Organisation, one)
            organisation.webhook_at = max(
                organisation.webhook_at or row.received_at, row.received_at
            )
        if delivery is not None and delivery.events:
            _number(services, session, delivery, row.received_at)
    return True


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The objects a delivery is about, and how many of its events were ours and weren't."""

    changes: list[Changed]
    taken: int = 0
    dropped: int = 0


def _sort(services: Services, delivery: Delivery | None, received_at: datetime) -> _Sorted:
    if delivery is None or not delivery.events:
        return _Sorted([])
    with services.database.read() as session:
        ours = {row.tenant_id.lower(): row.id for row in profiles.organisations(session)}
    merged: dict[tuple[int, Resource, str], Changed] = {}
    taken = dropped = 0
    for event in delivery.events:
        if event.category == _IGNORED:
            continue
        organisation_id = ours.get(event.tenant_id.lower())
        resource = event.resource
        if organisation_id is None or resource is None or not _is_id(event.resource_id):
            dropped += 1
            continue
        taken += 1
        at = event.at or received_at
        change = Changed(organisation_id, resource, event.resource_id.lower(), at)
        place = (organisation_id, resource, change.xero_id)
        before = merged.get(place)
        if before is not None:
            change = replace(change, at=max(before.at, change.at), times=before.times + 1)
        merged[place] = change
    return _Sorted(list(merged.values()), taken, dropped)


def _is_id(said: str) -> bool:
    """Whether it can be one of Xero's ids; no database takes every sign that JSON can write."""
    return len(said) <= _LONGEST_ID and said.isascii() and said.isprintable()


def _slices(changes: list[Changed]) -> Iterator[list[Changed]]:
    for start in range(0, len(changes), MOST_ROWS):
        yield changes[start : start + MOST_ROWS]


def _number(
    services: Services, session: Session, delivery: Delivery, received_at: datetime
) -> None:
    """Notes up to which event all came, and a gap before this delivery.

    Events are numbered for the whole app, so nobody knows whose were missed: every
    organisation in use is to be polled from when all was last known. A repeat, or one that was
    late, changes nothing: a gap that fills itself was polled once too often.
    """
    seen = profiles.setting(session, _SEEN) or {}
    last = int(seen.get("last", 0))
    if last and delivery.first > last + 1:
        since = datetime.fromisoformat(str(seen["at"]))
        log.warning("webhooks missed", first=last + 1, last=delivery.first - 1)
        for row in profiles.organisations(session):
            row.poll_from = min(row.poll_from or since, since)
    if delivery.last > last:
        at = min(received_at, max(event.at or received_at for event in delivery.events))
        profiles.put_setting(
            session,
            _SEEN,
            {"last": delivery.last, "at": at.isoformat()},
            who="Xero",
            now=services.clock.now(),
        )

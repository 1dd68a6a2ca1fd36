"""Asking Xero what a write whose answer was lost left there; where to ask is catalogue data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from xtiger.domain.errors import PermanentError, UnknownOutcome
from xtiger.domain.identity import Sought, changed_at, equal_ones, id_of, may_be
from xtiger.domain.resources import CATALOGUE, Resource, unique_key
from xtiger.engine.connection import tokens
from xtiger.engine.services import Services
from xtiger.ports import Access, Owner
from xtiger.store import journal
from xtiger.store.leases import Lease
from xtiger.store.models import Attempt

#: How much earlier than an attempt Xero's own clock may date what it stored.
CLOCKS_APART = timedelta(minutes=5)

Row = Mapping[str, Any]
T = TypeVar("T")


class Refused(UnknownOutcome):
    """Xero refuses the look-up itself: `why` in its words. What became of the write stays open."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"Xero's answer was lost, and Xero doesn't tell what became of the call: {why} "
            "XTiger asks again before it sends anything."
        )
        self.why = why


def candidates(
    services: Services, lease: Lease, attempt: Attempt, sought: Sequence[Sought]
) -> list[Row]:
    """The objects among which those of a lost create are, if it arrived.

    By their keys where Xero keeps keys unique, else what changed since the attempt; a part
    among those of its owner. Raises `Refused` and what calls raise.
    """
    resource = Resource(attempt.resource)
    services.observe("looking up")
    owner = journal.owner_of(attempt)
    if owner is not None and resource is not Resource.TRACKING_OPTIONS:
        rows = _below(services, lease, resource, owner)
        if resource is Resource.HISTORY:
            # A note has no id: one of before the attempt isn't it.
            return [row for row in rows if _since(attempt, row)]
        return rows
    keys = [key for one in sought if (key := unique_key(resource, one.payload))]
    found: list[Row] = []
    if keys:
        found.extend(
            _ask(services, lease, lambda access: services.xero.find(access, resource, keys))
        )
    if len(keys) < len(sought):
        found.extend(_changed(services, lease, attempt, sought))
    if owner is not None:
        # Options of every category come together.
        above = CATALOGUE[owner.resource].id_field
        found = [row for row in found if str(row.get(above)) == owner.xero_id]
    return found


def _changed(
    services: Services, lease: Lease, attempt: Attempt, sought: Sequence[Sought]
) -> list[Row]:
    """What changed since an attempt, only what this app made where Xero can tell.

    Only pages of documents carry their lines (FACTS section 3): of a list without pages, those
    that may be sought are read one by one.
    """
    resource = Resource(attempt.resource)
    since = attempt.opened_at - CLOCKS_APART
    rows = _ask(
        services,
        lease,
        lambda access: list(services.xero.changes(access, resource, since=since, mine=True)),
    )
    if CATALOGUE[resource].paged:
        return rows
    near = [row for row in rows if any(may_be(resource, one, row) for one in sought)]
    ids = [found for row in near if (found := id_of(resource, row))]
    return [*_ask(services, lease, lambda access: services.xero.get_many(access, resource, ids))]


def objects(
    services: Services, lease: Lease, attempt: Attempt, payloads: Sequence[Row]
) -> dict[str, Row]:
    """The objects that a write names, by their ids; those that Xero has no more are absent.

    Raises `Refused` and what calls raise.
    """
    resource = Resource(attempt.resource)
    services.observe("looking up")
    wanted = [found for payload in payloads if (found := id_of(resource, payload))]
    owner = journal.owner_of(attempt)
    if owner is not None and resource is not Resource.TRACKING_OPTIONS:
        rows: Sequence[Row] = _below(services, lease, resource, owner)
    else:
        rows = _ask(
            services, lease, lambda access: services.xero.get_many(access, resource, wanted)
        )
    by_id = {str(id_of(resource, row)).lower(): row for row in rows}
    return {one: by_id[one.lower()] for one in wanted if one.lower() in by_id}


def equal_before(
    services: Services,
    lease: Lease,
    resource: Resource,
    payloads: Sequence[Row],
    *,
    owner: Owner,
) -> list[tuple[str, ...]]:
    """Which parts of an owner equal each element that is about to be sent (`Meant.equal_before`).

    Asked before the attempt is opened, for resources that are `counted`: only what is there
    beyond these can be what the call made. So no two such calls below one owner may be under
    way at once. Raises PermanentError and what calls raise.
    """
    rows = tokens.call(
        services, lease, lambda access: _read_below(services, access, resource, owner)
    )
    return [equal_ones(resource, payload, rows) for payload in payloads]


def _below(services: Services, lease: Lease, resource: Resource, owner: Owner) -> list[Row]:
    return _ask(services, lease, lambda access: _read_below(services, access, resource, owner))


def _read_below(services: Services, access: Access, resource: Resource, owner: Owner) -> list[Row]:
    """The parts of one object. Files and notes have an address; others stand in the object."""
    path = f"{owner.resource.value}/{quote(owner.xero_id, safe='')}"
    if resource is Resource.ATTACHMENTS:
        return list(services.xero.read(access, f"{path}/{resource.value}"))
    if resource is Resource.HISTORY:
        return list(services.xero.read(access, f"{path}/History"))
    held = services.xero.get_many(access, owner.resource, [owner.xero_id])
    return [part for one in held for part in one.get(resource.value) or ()]


def _since(attempt: Attempt, row: Row) -> bool:
    changed = changed_at(row)
    return changed is None or changed >= attempt.opened_at - CLOCKS_APART


def _ask(services: Services, lease: Lease, send: Callable[[Access], T]) -> T:
    try:
        return tokens.call(services, lease, send)
    except PermanentError as refusal:
        raise Refused(refusal.sentence) from refusal

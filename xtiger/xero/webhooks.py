"""Xero's webhooks: whether a delivery is Xero's, and what it says has changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from xtiger.domain import exactjson
from xtiger.domain.resources import Resource

#: The categories XTiger can act on (FACTS section 8); SUBSCRIPTION is the app's own business.
_RESOURCES: Mapping[str, Resource] = {
    "CONTACT": Resource.CONTACTS,
    "INVOICE": Resource.INVOICES,
    "CREDITNOTE": Resource.CREDIT_NOTES,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One object that changed; it carries none of its data.

    `resource` is None for a category XTiger doesn't know. `category` and `type` are Xero's words
    (INVOICE, UPDATE), `at` is UTC and None where it can't be read.
    """

    resource: Resource | None
    resource_id: str
    tenant_id: str
    category: str
    type: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST of Xero's: its events in their order, and the numbers of the first and last.

    Without events it is Xero's intent to receive: it only tests the signature.
    """

    events: tuple[Event, ...]
    first: int
    last: int


def signed(body: bytes, signature: str, key: str) -> bool:
    """Whether `signature` (the header x-xero-signature) was made over the raw body with our key.

    Base64 of HMAC-SHA256; compared in constant time (Xero: configuring your server).
    """
    try:
        given = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    wanted = hmac.digest(key.encode(), body, hashlib.sha256)
    return bool(key) and hmac.compare_digest(given, wanted)


def read(body: bytes) -> Delivery:
    """What a delivery says; an event without an object or organisation is left out.

    Raises ValueError if the body is no JSON object.
    """
    try:
        told = exactjson.loads(body)
    except RecursionError:
        told = None
    if not isinstance(told, dict):
        raise ValueError("the delivery is no JSON object")
    events = told.get("events")
    rows = [one for one in events if isinstance(one, dict)] if isinstance(events, list) else []
    return Delivery(
        events=tuple(_event(one) for one in rows if one.get("resourceId") and one.get("tenantId")),
        first=_number(told.get("firstEventSequence")),
        last=_number(told.get("lastEventSequence")),
    )


def _event(row: Mapping[str, Any]) -> Event:
    category = str(row.get("eventCategory") or "").upper()
    return Event(
        resource=_RESOURCES.get(category),
        resource_id=str(row["resourceId"]).lower(),
        tenant_id=str(row["tenantId"]).lower(),
        category=category,
        type=str(row.get("eventType") or "").upper(),
        at=_moment(row.get("eventDateUtc")),
    )


def _moment(said: object) -> datetime | None:
    """Xero writes UTC without a zone."""
    try:
        moment = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _number(said: object) -> int:
    return said if isinstance(said, int) and not isinstance(said, bool) else 0

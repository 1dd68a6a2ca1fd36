"""The journal: every call is written down and committed before it is sent, closed after."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from xtiger.domain.resources import Resource, Verb
from xtiger.ports import Call
from xtiger.store.leases import Lease
from xtiger.store.models import Attempt, AttemptElement

#: Headers of an answer that are kept; nothing else of them is.
KEPT_HEADERS = frozenset(
    {
        "content-type",
        "date",
        "retry-after",
        "x-rate-limit-problem",
        "x-daylimit-remaining",
        "x-minlimit-remaining",
        "x-appminlimit-remaining",
        "xero-correlation-id",
    }
)


@dataclass(frozen=True, slots=True)
class Meant:
    """One element as it goes out: for which item, and what the answer must equal."""

    item_id: int
    label: str
    record_version: str
    template_id: int | None
    meant: Mapping[str, Any]
    amount: Decimal | None = None
    currency: str | None = None


def open_attempt(
    session: Session,
    lease: Lease,
    *,
    resource: Resource,
    verb: Verb,
    body: bytes,
    elements: Sequence[Meant],
    run_id: int | None,
    now: datetime,
) -> int:
    """Writes the exact bytes with a new Idempotency-Key; the caller commits, then sends."""
    attempt = Attempt(
        organisation_id=lease.organisation_id,
        run_id=run_id,
        fence=lease.fence,
        resource=resource.value,
        verb=verb.value,
        idempotency_key=uuid4().hex,
        body=zlib.compress(body),
        body_hash=hashlib.sha256(body).hexdigest(),
        opened_at=now,
        sends=1,
    )
    session.add(attempt)
    session.flush()
    session.add_all(
        AttemptElement(
            attempt_id=attempt.id,
            place=place,
            item_id=element.item_id,
            label=element.label[:255],
            record_version=element.record_version,
            template_id=element.template_id,
            meant=dict(element.meant),
            amount=element.amount,
            currency=element.currency,
        )
        for place, element in enumerate(elements)
    )
    session.flush()
    return attempt.id


def call_of(attempt: Attempt, count: int) -> Call:
    """The call exactly as it was journalled, for the first send and for any replay."""
    return Call(
        resource=Resource(attempt.resource),
        verb=Verb(attempt.verb),
        body=body_of(attempt),
        idempotency_key=attempt.idempotency_key,
        count=count,
    )


def body_of(attempt: Attempt) -> bytes:
    """The bytes as they went out; empty once retention has taken them."""
    return zlib.decompress(attempt.body) if attempt.body else b""


def answer_of(attempt: Attempt) -> bytes:
    """The bytes as they came back; empty where none came or retention has taken them."""
    return zlib.decompress(attempt.answer) if attempt.answer else b""


def elements_of(session: Session, attempt_id: int) -> list[AttemptElement]:
    """The elements of a call, in the order of its body."""
    return list(
        session.scalars(
            select(AttemptElement)
            .where(AttemptElement.attempt_id == attempt_id)
            .order_by(AttemptElement.place)
        )
    )


def close(
    attempt: Attempt,
    *,
    outcome: str,
    now: datetime,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    answer: bytes = b"",
) -> None:
    """Closes a call with what came of it."""
    attempt.closed_at = now
    attempt.outcome = outcome
    attempt.status = status
    attempt.answer_headers = {
        name: value for name, value in (headers or {}).items() if name.lower() in KEPT_HEADERS
    }
    attempt.answer = zlib.compress(answer) if answer else None


def still_open(session: Session, organisation_id: int) -> list[Attempt]:
    """Calls whose answer never came, oldest first."""
    return list(
        session.scalars(
            select(Attempt)
            .where(Attempt.organisation_id == organisation_id, text("closed_at IS NULL"))
            .order_by(Attempt.id)
        )
    )

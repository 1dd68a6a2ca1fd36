"""The journal: every call is written down and committed before it is sent, closed after."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.ports import Call, Owner
from xtiger.store.leases import Lease
from xtiger.store.models import Attempt, AttemptElement
from xtiger.store.prepared import Prepared

JSON = "application/json"
#: Bodies are repetitive: zlib's quickest level takes a third of the time for a tenth more bytes.
_LEVEL = 1
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


_OPEN = Prepared(
    insert(Attempt.__table__).returning(Attempt.__table__.c.id),  # type: ignore[arg-type]
    sets=(
        "organisation_id",
        "run_id",
        "fence",
        "resource",
        "verb",
        "xero_id",
        "owner_resource",
        "owner_id",
        "content_type",
        "idempotency_key",
        "body",
        "body_hash",
        "opened_at",
        "sends",
    ),
)
_ELEMENTS = Prepared(
    insert(AttemptElement.__table__),  # type: ignore[arg-type]
    sets=[column.name for column in AttemptElement.__table__.columns if column.name != "id"],
)
_CLOSE = Prepared(
    update(Attempt.__table__).where(  # type: ignore[arg-type]
        Attempt.__table__.c.id == bindparam("this_attempt")
    ),
    sets=("closed_at", "outcome", "status", "answer_headers", "answer"),
)


class Meant(NamedTuple):
    """One element as it goes out: for which item, and what the answer must equal."""

    item_id: int
    label: str
    record_version: str
    template_id: int | None
    meant: Mapping[str, Any]
    amount: Decimal | None = None
    currency: str | None = None
    #: Where it stands in the body; `open_attempt` counts for itself.
    place: int = 0
    #: Which objects in Xero equalled it before it was sent (`identity.key_of`), None where
    #: nobody looked.
    equal_before: Sequence[str] | None = None
    #: What the log says besides once Xero has it.
    note: str | None = None


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
    xero_id: str | None = None,
    owner: Owner | None = None,
    content_type: str | None = None,
    key: str | None = None,
) -> int:
    """Writes the exact call with a new Idempotency-Key; the caller commits, then sends.

    `xero_id`, `owner` and `content_type` are those of the `Call`; a file's `body` is the file.
    Answers with the attempt's id.
    """
    ((opened,),) = _OPEN.rows(
        session,
        {
            "organisation_id": lease.organisation_id,
            "run_id": run_id,
            "fence": lease.fence,
            "resource": resource.value,
            "verb": verb.value,
            "xero_id": xero_id,
            "owner_resource": owner.resource.value if owner else None,
            "owner_id": owner.xero_id if owner else None,
            "content_type": content_type if content_type != JSON else None,
            "idempotency_key": key or new_key(),
            "body": zlib.compress(body, _LEVEL),
            "body_hash": hashlib.sha256(body).hexdigest(),
            "opened_at": now,
            "sends": 1,
        },
    )
    _ELEMENTS.many(
        session,
        [
            {
                "attempt_id": opened,
                "place": place,
                "item_id": element.item_id,
                "label": element.label[:255],
                "record_version": element.record_version,
                "template_id": element.template_id,
                "meant": dict(element.meant),
                "amount": element.amount,
                "currency": element.currency,
                "equal_before": (
                    None if element.equal_before is None else list(element.equal_before)
                ),
                "note": element.note,
            }
            for place, element in enumerate(elements)
        ],
    )
    return int(opened)


def new_key() -> str:
    """An Idempotency-Key that no other call has."""
    return uuid4().hex


def call_of(attempt: Attempt, count: int) -> Call:
    """The call exactly as it was journalled, for the first send and for any replay."""
    return Call(
        resource=Resource(attempt.resource),
        verb=Verb(attempt.verb),
        body=body_of(attempt),
        idempotency_key=attempt.idempotency_key,
        count=count,
        xero_id=attempt.xero_id,
        owner=owner_of(attempt),
        content_type=attempt.content_type or JSON,
    )


def owner_of(attempt: Attempt) -> Owner | None:
    """The object below which the call writes."""
    if attempt.owner_resource is None or attempt.owner_id is None:
        return None
    return Owner(Resource(attempt.owner_resource), attempt.owner_id)


def payloads_of(attempt: Attempt) -> list[dict[str, Any]]:
    """The elements of a journalled call, in order, each as a dict of Xero's fields.

    A call to one object's own address names it there: its id is put in. A file is told by its
    name, size in bytes and kind. Raises ValueError once retention has taken the body.
    """
    resource = Resource(attempt.resource)
    id_field = CATALOGUE[resource].id_field
    data = body_of(attempt)
    if resource is Resource.ATTACHMENTS:
        return [
            {
                "FileName": attempt.xero_id,
                "ContentLength": len(data),
                "MimeType": attempt.content_type,
            }
        ]
    if attempt.verb == Verb.DELETE:
        return [{id_field: attempt.xero_id}]
    body = exactjson.loads(data)
    rows = body.get(resource.value) if isinstance(body, dict) else body
    # Xero takes one object also by itself, without a list around it.
    payloads = [dict(row) for row in rows] if isinstance(rows, list) else [dict(body)]
    if attempt.xero_id:
        payloads = [{id_field: attempt.xero_id, **row} for row in payloads]
    return payloads


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


def items_of(session: Session, attempts: Sequence[Attempt]) -> dict[int, list[int]]:
    """The items of each of these calls, in the order of its body."""
    found: dict[int, list[int]] = {attempt.id: [] for attempt in attempts}
    rows = session.execute(
        select(AttemptElement.attempt_id, AttemptElement.item_id)
        .where(AttemptElement.attempt_id.in_(list(found)))
        .order_by(AttemptElement.attempt_id, AttemptElement.place)
    )
    for attempt_id, item_id in rows:
        found[attempt_id].append(item_id)
    return found


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
    for name, value in _closing(outcome, now, status, headers, answer).items():
        setattr(attempt, name, value)


def close_by_id(
    session: Session,
    attempt_id: int,
    *,
    outcome: str,
    now: datetime,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    answer: bytes = b"",
) -> None:
    """Closes a call whose row nobody has read."""
    values = _closing(outcome, now, status, headers, answer)
    _CLOSE.run(session, {"this_attempt": attempt_id, **values})


def _closing(
    outcome: str,
    now: datetime,
    status: int | None,
    headers: Mapping[str, str] | None,
    answer: bytes,
) -> dict[str, Any]:
    kept = {name: value for name, value in (headers or {}).items() if name.lower() in KEPT_HEADERS}
    return {
        "closed_at": now,
        "outcome": outcome,
        "status": status,
        "answer_headers": kept,
        "answer": zlib.compress(answer, _LEVEL) if answer else None,
    }


def still_open(session: Session, organisation_id: int) -> list[Attempt]:
    """Calls whose answer never came, oldest first."""
    return list(
        session.scalars(
            select(Attempt)
            .where(Attempt.organisation_id == organisation_id, text("closed_at IS NULL"))
            .order_by(Attempt.id)
        )
    )

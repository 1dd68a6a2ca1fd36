"""What came from Xero by itself: raw deliveries, and the objects that changed and wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, delete, or_, select
from sqlalchemy.orm import Session

from xtiger.domain.resources import Resource
from xtiger.store.models import Setting, Webhook, XeroChange
from xtiger.store.prepared import insert_into

#: The setting that keeps the last delivery that was refused: {"at": ISO moment, "why": a word}.
REFUSED = "xero_webhook_refused"
#: One of these is noted in so long a time: whoever likes may send what is refused.
_SELDOM = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Changed:
    """That an object changed `times` times, the last time at `at` (UTC, Xero's own clock)."""

    organisation_id: int
    resource: Resource
    xero_id: str
    at: datetime
    times: int = 1


def keep(session: Session, body: bytes, *, now: datetime) -> None:
    """Stores a delivery raw; the caller commits before it answers Xero."""
    session.add(Webhook(body=body, received_at=now, taken=0, dropped=0))


def waiting(session: Session, *, limit: int) -> list[Webhook]:
    """Deliveries that nobody has handled, in the order in which they came."""
    return list(
        session.scalars(
            select(Webhook).where(Webhook.handled_at.is_(None)).order_by(Webhook.id).limit(limit)
        )
    )


def last(session: Session) -> Webhook | None:
    """The newest delivery that is still kept."""
    return session.scalar(select(Webhook).order_by(Webhook.id.desc()).limit(1))


def refused(session: Session) -> Mapping[str, str] | None:
    """The last delivery that was refused and noted, None where there is none."""
    row = session.get(Setting, REFUSED)
    return None if row is None else row.value


def may_note(session: Session, *, now: datetime) -> bool:
    """Whether a refusal is to be noted: asked first, for it takes no write lock."""
    row = session.get(Setting, REFUSED)
    return row is None or row.changed_at is None or not now - _SELDOM < row.changed_at <= now


def note(session: Session, why: str, *, now: datetime) -> None:
    """Notes a refusal unless somebody noted one within the minute; any number may do so at once."""
    statement = insert_into(Setting, session).values(
        name=REFUSED,
        value={"at": now.isoformat(), "why": why},
        sealed=False,
        changed_by="Xero",
        changed_at=now,
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"value": statement.excluded.value, "changed_at": now},
            where=or_(Setting.changed_at <= now - _SELDOM, Setting.changed_at > now),
        )
    )


def has_older(session: Session, *, before: datetime) -> bool:
    """Whether a delivery was handled before a moment: asked first, for it takes no write lock."""
    query = select(Webhook.id).where(Webhook.handled_at < before).limit(1)
    return session.scalar(query) is not None


def forget(session: Session, *, before: datetime, limit: int) -> int:
    """Deletes so many handled deliveries, the oldest first; answers with their number."""
    old = session.scalars(
        select(Webhook.id)
        .where(Webhook.handled_at < before)
        .order_by(Webhook.handled_at, Webhook.id)
        .limit(limit)
    ).all()
    if old:
        session.execute(delete(Webhook).where(Webhook.id.in_(old)))
    return len(old)


def put(session: Session, changes: Iterable[Changed], *, now: datetime) -> None:
    """Puts changed objects into the inbox: one row for each, which a repeat only renews."""
    # Always in the same order: two workers then never wait for each other in a circle.
    rows = [
        {
            "organisation_id": each.organisation_id,
            "resource": each.resource.value,
            "xero_id": each.xero_id,
            "changes": each.times,
            "changed_at": each.at,
            "noticed_at": now,
        }
        for each in sorted(
            changes, key=lambda one: (one.organisation_id, one.resource, one.xero_id)
        )
    ]
    if not rows:
        return
    statement = insert_into(XeroChange, session)
    newer = statement.excluded.changed_at > XeroChange.changed_at
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["organisation_id", "resource", "xero_id"],
            set_={
                "changes": XeroChange.changes + statement.excluded.changes,
                "changed_at": case(
                    (newer, statement.excluded.changed_at), else_=XeroChange.changed_at
                ),
            },
        ),
        rows,
    )


def take(session: Session, organisation_id: int, *, limit: int) -> list[XeroChange]:
    """What changed in an organisation and wasn't read yet, as it was noticed."""
    return list(
        session.scalars(
            select(XeroChange)
            .where(XeroChange.organisation_id == organisation_id)
            .order_by(XeroChange.id)
            .limit(limit)
        )
    )


def done(session: Session, rows: Sequence[XeroChange]) -> None:
    """Takes out what was read; what changed once more since it was taken stays."""
    for row in rows:
        session.execute(
            delete(XeroChange)
            .where(XeroChange.id == row.id, XeroChange.changes == row.changes)
            .execution_options(synchronize_session=False)
        )

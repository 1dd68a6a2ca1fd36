"""What calls cost: Xero's limits as it last told them, and calls and bytes by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Protocol

from sqlalchemy import bindparam, case, or_, select
from sqlalchemy.orm import Session

from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.ports import Minute, Usage
from xtiger.store import leases
from xtiger.store.leases import Lease
from xtiger.store.models import Organisation, UsageDay
from xtiger.store.prepared import Prepared, insert_into
from xtiger.store.schema import Database

#: Calls a day and organisation: Xero's Starter tier, and all others (FACTS section 2).
DAY_LIMITS = (1000, 5000)
#: Xero's day begins at another moment for each organisation; after this one it surely began.
_DAY = timedelta(days=1)
_RECENT = timedelta(minutes=1)


def learn(row: Organisation, *, day_left: int | None, minute: Minute | None, now: datetime) -> None:
    """Keeps what an answer's headers said, in the transaction that settles it.

    More calls left than the day was thought to have: then it has more.
    """
    if day_left is not None:
        row.day_left, row.day_left_at = day_left, now
        if day_left > row.day_limit:
            row.day_limit = next((one for one in DAY_LIMITS if one >= day_left), row.day_limit)
    if minute is not None and (row.minute_began is None or minute.began >= row.minute_began):
        row.minute_began, row.minute_left = minute.began, minute.left


_TABLE = Organisation.__table__.c
_NEWEST = bindparam("newest", type_=_TABLE.minute_began.type)
_NEWER = or_(_TABLE.minute_began.is_(None), _TABLE.minute_began <= _NEWEST)
_DAY_TOLD = {
    "day_limit": case(
        (_TABLE.day_limit < bindparam("more_than"), bindparam("then")), else_=_TABLE.day_limit
    )
}
_MINUTE_TOLD = {
    "minute_began": case((_NEWER, _NEWEST), else_=_TABLE.minute_began),
    "minute_left": case((_NEWER, bindparam("still")), else_=_TABLE.minute_left),
}
_TAKEN = ("last_success_at", "held_until", "held_why", "held_times")
#: By whether an answer told of the day and of the minute what else it sets.
_TOLD = {
    (day, minute): Prepared(
        leases.GUARDED.values((_DAY_TOLD if day else {}) | (_MINUTE_TOLD if minute else {})),
        sets=("holder", *_TAKEN, *(("day_left", "day_left_at") if day else ())),
    )
    for day in (False, True)
    for minute in (False, True)
}


def guard(
    session: Session, lease: Lease, *, day_left: int | None, minute: Minute | None, now: datetime
) -> None:
    """`leases.guard`, with what `learn` and `logs.touch_success` say of a settled call."""
    values: dict[str, object] = dict(zip(_TAKEN, (now, None, None, 0), strict=True))
    if day_left is not None:
        more = next((one for one in DAY_LIMITS if one >= day_left), None)
        values |= {"day_left": day_left, "day_left_at": now}
        values |= {"more_than": -1 if more is None else day_left, "then": more or 0}
    if minute is not None:
        values |= {"newest": minute.began, "still": minute.left}
    told = _TOLD[day_left is not None, minute is not None]
    leases.guard(session, lease, told, **values)


class Told(Protocol):
    """What of an organisation tells Xero's minute."""

    @property
    def minute_began(self) -> datetime | None: ...
    @property
    def minute_left(self) -> int | None: ...


def minute_of(row: Told) -> Minute | None:
    """The window of a minute as the last worker knew it."""
    if row.minute_began is None or row.minute_left is None:
        return None
    return Minute(row.minute_began, row.minute_left)


def left(row: Organisation, now: datetime) -> int | None:
    """Calls left today; None where Xero has never said. What it said yesterday is used up."""
    if row.day_left is None:
        return None
    old = row.day_left_at is not None and now - row.day_left_at >= _DAY
    return row.day_limit if old else row.day_left


#: Calls of a day, in percent of its limit, that are left to people's own look-ups.
_PEOPLE = 2
#: How long a figure is believed when it keeps something back: then one call finds out anew.
_BELIEVED = timedelta(hours=1)
#: Why an organisation waits although a few calls are left.
FOR_PEOPLE = (
    "Today's calls are used up but for a few that people's own look-ups may need. "
    "XTiger goes on once Xero allows more."
)
#: The turn of invoices and bills: contacts, items and orders come before it.
_DOCUMENTS = CATALOGUE[Resource.INVOICES].rank


def _short(row: Organisation, now: datetime, percent: int) -> bool:
    """Whether Xero has said lately that no more than such a share of the day is left."""
    if row.day_left is None or row.day_left_at is None or now - row.day_left_at >= _BELIEVED:
        return False
    return row.day_left * 100 <= row.day_limit * percent


def only_for_people(row: Organisation, now: datetime) -> bool:
    """Whether the queue must leave alone what is left of the day."""
    return _short(row, now, _PEOPLE)


def kept_below(row: Organisation, now: datetime, percent: int) -> int | None:
    """The turn below which only what a document waits for goes, None while calls abound.

    The day's last `percent` of calls are kept for invoices, credit notes and payments.
    """
    return _DOCUMENTS if _short(row, now, percent) else None


def kept_sentence(count: int) -> str:
    """Why records wait that aren't documents."""
    records = "1 record waits" if count == 1 else f"{count:,} records wait"
    return (
        f"{records}: today's last calls are kept for invoices and payments. They go once Xero "
        "allows more calls."
    )


def flush(database: Database, taken: Sequence[Usage], *, now: datetime) -> None:
    """Adds what calls took to today's figures (UTC); calls to strangers count for nobody."""
    if not taken:
        return
    with database.write() as session:
        add(session, taken, now=now)


def add(session: Session, taken: Sequence[Usage], *, now: datetime) -> None:
    """Adds up in the database itself: any number of workers may do so at once.

    What the calls told of Xero's limits is kept beside it, so that reads are learned from too.
    """
    tenants = [each.tenant_id for each in taken]
    rows = session.scalars(
        select(Organisation)
        .where(Organisation.tenant_id.in_(tenants))
        .order_by(Organisation.id)
        .with_for_update()
    )
    known = {row.tenant_id: row for row in rows}
    # Always in the same order: two workers then never wait for each other in a circle.
    for each in sorted(taken, key=lambda one: one.tenant_id):
        row = known.get(each.tenant_id)
        if row is None:
            continue
        # a write that settled meanwhile knew it better
        if row.day_left_at is None or now - row.day_left_at > _RECENT:
            learn(row, day_left=each.day_left, minute=each.minute, now=now)
        statement = insert_into(UsageDay, session).values(
            organisation_id=row.id,
            day=now.date(),
            calls=each.calls,
            bytes_out=each.bytes_out,
            bytes_in=each.bytes_in,
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["organisation_id", "day"],
                set_={
                    name: getattr(UsageDay, name) + statement.excluded[name]
                    for name in ("calls", "bytes_out", "bytes_in")
                },
            )
        )


def of_day(session: Session, day: date) -> dict[int, UsageDay]:
    """The figures of a day, by organisation."""
    return {
        row.organisation_id: row
        for row in session.scalars(select(UsageDay).where(UsageDay.day == day))
    }

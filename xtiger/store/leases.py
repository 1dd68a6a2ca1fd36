"""Fenced leases: one worker per organisation, one refresher per consent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Update, bindparam, or_, select, update
from sqlalchemy.orm import Session

from xtiger.domain.errors import LeaseLost
from xtiger.store.models import Connection, Organisation
from xtiger.store.prepared import Prepared
from xtiger.store.schema import Database


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one organisation; `fence` is larger for each later holder."""

    organisation_id: int
    holder: str
    fence: int


def take(
    database: Database, organisation_id: int, *, holder: str, now: datetime, seconds: float
) -> Lease | None:
    """Takes the organisation's lease if nobody holds it; None if somebody does."""
    with database.write() as session:
        fence = session.scalar(
            update(Organisation)
            .where(
                Organisation.id == organisation_id,
                or_(Organisation.lease_until.is_(None), Organisation.lease_until <= now),
            )
            .values(
                holder=holder,
                fence=Organisation.fence + 1,
                lease_until=now + timedelta(seconds=seconds),
            )
            .returning(Organisation.fence)
            .execution_options(synchronize_session=False)
        )
    return None if fence is None else Lease(organisation_id, holder, fence)


def lock(session: Session, organisation_ids: Iterable[int]) -> None:
    """Locks organisations' rows for the rest of the transaction, always in the same order.

    Whoever enqueues or routes takes them first: a drain writes under the same lock, so what is
    read after it is how things stand until the transaction ends (SQLite has one writer anyway).
    """
    wanted = sorted(set(organisation_ids))
    if wanted:
        session.execute(
            select(Organisation.id)
            .where(Organisation.id.in_(wanted))
            .order_by(Organisation.id)
            .with_for_update()
        )


def lock_all(session: Session) -> None:
    """Locks every organisation's row: before consents are locked or changed, never after.

    Whoever joins organisations with a consent holds both; one order for all rules out that two
    of them wait for each other.
    """
    lock(session, session.scalars(select(Organisation.id)))


_TABLE = Organisation.__table__
#: Finds an organisation's row while the lease on it is ours.
GUARDED: Update = update(_TABLE).where(  # type: ignore[arg-type]
    _TABLE.c.id == bindparam("leased"), _TABLE.c.fence == bindparam("with_fence")
)
_GUARD = Prepared(GUARDED, sets=("holder",))
_RENEW = Prepared(GUARDED, sets=("holder", "lease_until"))


def guard(session: Session, lease: Lease, statement: Prepared = _GUARD, **values: Any) -> None:
    """Locks the lease row for the rest of the transaction. Raises LeaseLost if it's not ours.

    `statement` is `GUARDED` with what else it sets to `values`.

    Expiry alone doesn't lose a lease: only a later holder, who has a larger fence, does.
    """
    named = {"leased": lease.organisation_id, "with_fence": lease.fence, "holder": lease.holder}
    if statement.run(session, named | values).rowcount != 1:
        raise LeaseLost("Another worker has taken over this organisation.")


def renew(session: Session, lease: Lease, *, now: datetime, seconds: float) -> None:
    """Puts the expiry off, inside a transaction that is guarded by it."""
    guard(session, lease, _RENEW, lease_until=now + timedelta(seconds=seconds))


def release(database: Database, lease: Lease) -> None:
    """Gives the lease back; harmless if it was lost meanwhile."""
    with database.write() as session:
        session.execute(
            update(Organisation)
            .where(Organisation.id == lease.organisation_id, Organisation.fence == lease.fence)
            .values(holder=None, lease_until=None)
            .execution_options(synchronize_session=False)
        )


def take_refresh(
    database: Database, connection_id: int, *, holder: str, now: datetime, seconds: float
) -> int | None:
    """The fence of the refresh lease of a consent, None if somebody else refreshes now."""
    with database.write() as session:
        return session.scalar(
            update(Connection)
            .where(
                Connection.id == connection_id,
                or_(Connection.refresh_until.is_(None), Connection.refresh_until <= now),
            )
            .values(
                refresher=holder,
                refresh_fence=Connection.refresh_fence + 1,
                refresh_until=now + timedelta(seconds=seconds),
            )
            .returning(Connection.refresh_fence)
            .execution_options(synchronize_session=False)
        )


def held_refresh(session: Session, connection_id: int, fence: int) -> Connection:
    """The consent's row for storing new tokens. Raises LeaseLost if another one refreshed."""
    row = session.scalar(
        select(Connection)
        .where(Connection.id == connection_id, Connection.refresh_fence == fence)
        .with_for_update()
    )
    if row is None:
        raise LeaseLost("Another worker has refreshed this connection.")
    return row

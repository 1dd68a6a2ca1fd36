"""Products and services of the small CRM put on another account, many at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from xtiger.crm.models import Product, Service
from xtiger.domain.errors import TransientError
from xtiger.domain.records import Module
from xtiger.store.schema import MOST_ROWS, plain_faults

#: The fields that say on which account a product or service is booked.
BOOKED = ("sales_account", "purchase_account")
#: Whoever saves a product at the very moment is let go first so many times.
_TRIES = 3
#: What somebody does where it stopped half-way.
_ONWARD = "Press Replace once more."
_MODELS: dict[Module, Any] = {Module.PRODUCTS: Product, Module.SERVICES: Service}


def booked(session: Session, module: Module, names: Collection[str], code: str) -> int:
    """How many records of a module say `code` in one of the fields `names` of `BOOKED`.

    Raises XTigerError where the database doesn't answer.
    """
    if not (columns := _columns(module, names)):
        return 0
    with plain_faults(_ONWARD):
        counted = select(func.count()).select_from(_MODELS[module]).where(_meant(columns, code))
        return session.scalar(counted) or 0


def rebook(
    session: Session,
    module: Module,
    names: Collection[str],
    old: str,
    new: str,
    *,
    who: str,
    now: datetime,
) -> Iterator[int]:
    """Puts `new` where the fields `names` of a module say `old`; yields how many are committed.

    At most 500 records a transaction, each through its own object: the outbox captures what
    changed in the same transaction. Fields other than `BOOKED` are left alone. Raises
    XTigerError where others keep saving the same records or the database doesn't answer; what was
    yielded before stays changed.
    """
    columns = _columns(module, names)
    tries = 0
    while columns:
        try:
            with plain_faults(_ONWARD):
                changed = _slice(session, module, columns, old, new, who=who, now=now)
        except StaleDataError:
            session.rollback()
            tries += 1
            if tries < _TRIES:
                continue
            raise TransientError(
                f"Somebody is changing the same {module.value.lower()} now. {_ONWARD}"
            ) from None
        except BaseException:
            session.rollback()
            raise
        if not changed:
            break
        tries = 0
        yield changed


def _slice(
    session: Session,
    module: Module,
    columns: list[Any],
    old: str,
    new: str,
    *,
    who: str,
    now: datetime,
) -> int:
    """One transaction of it; answers how many records it changed."""
    chosen = select(_MODELS[module]).where(_meant(columns, old)).limit(MOST_ROWS)
    things = session.scalars(chosen).all()
    for thing in things:
        for column in columns:
            if getattr(thing, column.key) == old:
                setattr(thing, column.key, new)
        thing.changed_by, thing.changed_at = who[:255], now
    session.commit()
    return len(things)


def _columns(module: Module, names: Collection[str]) -> list[Any]:
    return [getattr(_MODELS[module], name) for name in names if name in BOOKED]


def _meant(columns: list[Any], code: str) -> ColumnElement[bool]:
    return or_(*(column == code for column in columns))

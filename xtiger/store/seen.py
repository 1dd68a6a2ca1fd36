"""What Xero held before the CRM met it: contacts and items by the keys that a record may share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Insert, and_, delete, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from xtiger.domain.meeting import Side, fold
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import RESOURCE_OF, Resource
from xtiger.store.models import Likeness, Look, Seen
from xtiger.store.prepared import Prepared, insert_into

#: Keys in one statement.
_MOST = 400
_TEXTS = ("number", "account_number", "email", "name")


def _put(dialect: str) -> Insert:
    statement = insert_into(Seen.__table__, dialect)
    keys = ["organisation_id", "resource", "xero_id"]
    rest = [column.name for column in Seen.__table__.columns if column.name not in keys]
    return statement.on_conflict_do_update(
        index_elements=keys, set_={name: statement.excluded[name] for name in rest}
    )


_PUT = Prepared(_put, sets=[column.name for column in Seen.__table__.columns])


def put(session: Session, organisation_id: int, resource: Resource, sides: Iterable[Side]) -> None:
    """Keeps objects as Xero has them now."""
    rows: dict[str, Mapping[str, Any]] = {}
    for side in sides:
        texts = {name: getattr(side, name)[:255] for name in _TEXTS}
        rows[side.xero_id] = {
            "organisation_id": organisation_id,
            "resource": resource.value,
            "xero_id": side.xero_id,
            **texts,
            "status": side.status[:20],
            "number_key": _key(side.number),
            "account_key": _key(side.account_number),
            "name_key": _key(side.name),
        }
    _PUT.many(session, list(rows.values()))


def _key(text: str) -> str | None:
    return fold(text)[:255] or None


def forget(
    session: Session, organisation_id: int, resource: Resource, xero_ids: Iterable[str]
) -> None:
    """Drops objects that Xero has no more."""
    ids = list(xero_ids)
    for start in range(0, len(ids), _MOST):
        session.execute(
            delete(Seen)
            .where(Seen.organisation_id == organisation_id, Seen.resource == resource.value)
            .where(Seen.xero_id.in_(ids[start : start + _MOST]))
            .execution_options(synchronize_session=False)
        )


def keep_only(
    session: Session, organisation_id: int, resource: Resource, xero_ids: Collection[str]
) -> None:
    """Drops everything that isn't among these."""
    known = session.scalars(
        select(Seen.xero_id).where(
            Seen.organisation_id == organisation_id, Seen.resource == resource.value
        )
    ).all()
    forget(session, organisation_id, resource, [one for one in known if one not in xero_ids])


def known_until(session: Session, organisation_id: int, resource: Resource) -> datetime | None:
    """The moment up to which Xero's objects of a resource are known; None: never read."""
    look = session.get(Look, (organisation_id, resource.value))
    return look.until if look else None


def known_now(session: Session, organisation_id: int, resource: Resource, until: datetime) -> None:
    """Notes that everything that changed before a moment is known."""
    session.merge(Look(organisation_id=organisation_id, resource=resource.value, until=until))


def any_of(session: Session, organisation_id: int, resource: Resource) -> bool:
    """Whether Xero held anything of a resource at all."""
    found = exists().where(Seen.organisation_id == organisation_id, Seen.resource == resource.value)
    return bool(session.scalar(select(found)))


def near(
    session: Session, organisation_id: int, resource: Resource, sides: Sequence[Side]
) -> list[Side]:
    """The objects that share an id, a number, an account number or a name with one of these."""
    found: dict[str, Side] = {}
    wanted: tuple[tuple[InstrumentedAttribute[Any], set[str | None]], ...] = (
        (Seen.xero_id, {side.xero_id or None for side in sides}),
        (Seen.number_key, {_key(side.number) for side in sides}),
        (Seen.account_key, {_key(side.account_number) for side in sides}),
        (Seen.name_key, {_key(side.name) for side in sides}),
    )
    for column, values in wanted:
        keys = sorted(value for value in values if value)
        for start in range(0, len(keys), _MOST):
            for row in session.scalars(
                _of(organisation_id, resource, column.in_(keys[start : start + _MOST]))
            ):
                found[row.xero_id] = _side(row)
    return list(found.values())


def by_ids(
    session: Session, organisation_id: int, resource: Resource, xero_ids: Iterable[str]
) -> dict[str, Side]:
    """Objects by their ids, as they were when they were last read."""
    chosen = _of(organisation_id, resource, Seen.xero_id.in_(list(xero_ids)))
    return {row.xero_id: _side(row) for row in session.scalars(chosen)}


def _of(organisation_id: int, resource: Resource, which: ColumnElement[bool]) -> Any:
    return (
        select(Seen)
        .where(Seen.organisation_id == organisation_id, Seen.resource == resource.value, which)
        .order_by(Seen.xero_id)
    )


def _side(row: Seen) -> Side:
    return Side(
        xero_id=row.xero_id,
        number=row.number,
        account_number=row.account_number,
        email=row.email,
        name=row.name,
        status=row.status,
        # An item is called by its code, and lines name it so.
        label=row.number if row.resource == Resource.ITEMS else row.name,
    )


# -- what only a person can say ---------------------------------------------------------------


def ask(
    session: Session,
    organisation_id: int,
    ref: RecordRef,
    xero_ids: Iterable[str],
    *,
    now: datetime,
) -> None:
    """Asks whether a record is one of these objects; what was asked before and isn't said falls."""
    session.execute(delete(Likeness).where(*_about(organisation_id, ref), Likeness.same.is_(None)))
    said = set(session.scalars(select(Likeness.xero_id).where(*_about(organisation_id, ref))))
    session.add_all(
        Likeness(
            organisation_id=organisation_id,
            module=ref.module.value,
            record_id=ref.id,
            xero_id=xero_id,
            at=now,
        )
        for xero_id in dict.fromkeys(xero_ids)
        if xero_id not in said
    )


def ask_again(session: Session, organisation_id: int, refs: Iterable[RecordRef]) -> None:
    """Takes back that records are none of Xero's: creating them was refused for their names."""
    for ref in refs:
        session.execute(
            delete(Likeness)
            .where(*_about(organisation_id, ref), Likeness.same.is_(False))
            .execution_options(synchronize_session=False)
        )


def asked(session: Session, organisation_id: int, ref: RecordRef) -> list[Side]:
    """The objects that a record may be, as they were when they were last read."""
    return [
        _side(row)
        for row in session.scalars(
            select(Seen)
            .join(Likeness, _SAME_OBJECT)
            .where(*_about(organisation_id, ref), Likeness.same.is_(None))
            .where(Seen.resource == RESOURCE_OF[ref.module].value)
            .order_by(Seen.status, Seen.name, Seen.xero_id)
        )
    ]


def say(
    session: Session,
    organisation_id: int,
    ref: RecordRef,
    *,
    same: str | None,
    who: str,
    now: datetime,
) -> None:
    """Notes a person's word: the record is the object `same`, and none of the others asked of."""
    for row in session.scalars(
        select(Likeness).where(*_about(organisation_id, ref), Likeness.same.is_(None))
    ):
        row.same, row.who, row.at = row.xero_id == same, who[:255], now


def said(
    session: Session, organisation_id: int, refs: Sequence[RecordRef]
) -> dict[RecordRef, dict[str, bool]]:
    """What people said of these records: by record and object, whether they are the same."""
    found: dict[RecordRef, dict[str, bool]] = {}
    by_module: dict[Module, list[str]] = {}
    for ref in refs:
        by_module.setdefault(ref.module, []).append(ref.id)
    for module, ids in by_module.items():
        for start in range(0, len(ids), _MOST):
            for row in session.scalars(
                select(Likeness).where(
                    Likeness.organisation_id == organisation_id,
                    Likeness.module == module.value,
                    Likeness.record_id.in_(ids[start : start + _MOST]),
                    Likeness.same.is_not(None),
                )
            ):
                found.setdefault(RecordRef(module, row.record_id), {})[row.xero_id] = bool(row.same)
    return found


def _about(organisation_id: int, ref: RecordRef) -> tuple[ColumnElement[bool], ...]:
    return (
        Likeness.organisation_id == organisation_id,
        Likeness.module == ref.module.value,
        Likeness.record_id == ref.id,
    )


_SAME_OBJECT = and_(
    Seen.organisation_id == Likeness.organisation_id, Seen.xero_id == Likeness.xero_id
)

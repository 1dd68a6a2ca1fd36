"""Bindings: which CRM record and which Xero object are the same thing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Insert, Text, and_, bindparam, delete, select, text, type_coerce, update
from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.records import Module, RecordRef, XeroLink
from xtiger.domain.resources import Resource
from xtiger.store.models import Binding
from xtiger.store.prepared import Prepared, insert_into


def of_records(
    session: Session, organisation_id: int, refs: Iterable[RecordRef]
) -> dict[RecordRef, Binding]:
    """The bindings of these records in one organisation."""
    by_module: dict[Module, list[str]] = {}
    for ref in dict.fromkeys(refs):
        by_module.setdefault(ref.module, []).append(ref.id)
    found: dict[RecordRef, Binding] = {}
    for module, ids in by_module.items():
        for start in range(0, len(ids), 500):
            for row in session.scalars(
                select(Binding).where(
                    Binding.organisation_id == organisation_id,
                    Binding.module == module.value,
                    Binding.record_id.in_(ids[start : start + 500]),
                )
            ):
                found[RecordRef(module, row.record_id)] = row
    return found


def of_record(session: Session, ref: RecordRef) -> list[Binding]:
    """Where one record is in Xero: a binding for each organisation that has it."""
    return list(
        session.scalars(
            select(Binding)
            .where(Binding.module == ref.module.value, Binding.record_id == ref.id)
            .order_by(Binding.organisation_id)
        )
    )


def by_xero_id(
    session: Session, organisation_id: int, resource: Resource, xero_id: str
) -> Binding | None:
    """The binding of a Xero object."""
    return session.scalar(
        select(Binding).where(
            Binding.organisation_id == organisation_id,
            Binding.resource == resource.value,
            Binding.xero_id == xero_id,
        )
    )


def known(
    session: Session, organisation_id: int, resource: Resource, xero_ids: Iterable[str]
) -> set[str]:
    """Which of these Xero objects belong to a record already."""
    ids = list(xero_ids)
    found: set[str] = set()
    for start in range(0, len(ids), 500):
        found.update(
            session.scalars(
                select(Binding.xero_id).where(
                    Binding.organisation_id == organisation_id,
                    Binding.resource == resource.value,
                    Binding.xero_id.in_(ids[start : start + 500]),
                )
            )
        )
    return found


def holders(
    session: Session, organisation_id: int, resource: Resource, xero_ids: Iterable[str]
) -> dict[str, tuple[RecordRef, str | None]]:
    """The records that these Xero objects belong to, and what Xero calls them."""
    ids = list(xero_ids)
    found: dict[str, tuple[RecordRef, str | None]] = {}
    for start in range(0, len(ids), 500):
        for row in session.scalars(
            select(Binding).where(
                Binding.organisation_id == organisation_id,
                Binding.resource == resource.value,
                Binding.xero_id.in_(ids[start : start + 500]),
            )
        ):
            found[row.xero_id] = RecordRef(Module(row.module), row.record_id), row.number
    return found


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding as building needs it; `agreed` is parsed only where it is looked at."""

    id: int
    xero_id: str
    number: str | None
    xero_status: str | None
    agreed_hash: str | None
    text: str | None
    met_text: str | None = None

    @property
    def met(self) -> Any:
        """The record's payload when it met an object that was in Xero before it, else None."""
        return exactjson.loads(self.met_text) if self.met_text else None

    @property
    def agreed(self) -> Any:
        """What both sides last agreed on."""
        return exactjson.loads(self.text) if self.text else None


_ROW = Binding.__table__.c
_AGREED = Prepared(
    select(
        _ROW.record_id,
        _ROW.id,
        _ROW.xero_id,
        _ROW.number,
        _ROW.xero_status,
        _ROW.agreed_hash,
        type_coerce(_ROW.agreed, Text),
        type_coerce(_ROW.met, Text),
    ).where(
        _ROW.organisation_id == bindparam("of"),
        _ROW.module == bindparam("kind"),
        _ROW.record_id.in_(bindparam("ids", expanding=True)),
    )
)
_UNWRITTEN = Prepared(
    select(
        _ROW.id,
        _ROW.module,
        _ROW.record_id,
        _ROW.xero_id,
        _ROW.number,
        _ROW.xero_status,
        _ROW.agreed_at,
    )
    .where(_ROW.organisation_id == bindparam("of"), text("written_back = false"))
    .order_by(_ROW.id)
    .limit(bindparam("most"))
)
_WRITTEN = Prepared(
    update(Binding.__table__)  # type: ignore[arg-type]
    .where(
        _ROW.id.in_(bindparam("ids", expanding=True)), _ROW.agreed_at == bindparam("agreed_then")
    )
    .values(written_back=True)
)


def agreed_of(
    session: Session, organisation_id: int, refs: Iterable[RecordRef]
) -> dict[RecordRef, Bound]:
    """Like `of_records`, without rows of its own: for the many records of a drain."""
    by_module: dict[Module, list[str]] = {}
    for ref in refs:
        by_module.setdefault(ref.module, []).append(ref.id)
    found: dict[RecordRef, Bound] = {}
    for module, ids in by_module.items():
        for start in range(0, len(ids), 500):
            some = {"of": organisation_id, "kind": module.value, "ids": ids[start : start + 500]}
            for row in _AGREED.rows(session, some):
                found[RecordRef(module, row[0])] = Bound(*row[1:])
    return found


def row(
    *,
    organisation_id: int,
    ref: RecordRef,
    resource: Resource,
    xero_id: str,
    number: str | None,
    status: str | None,
    document_type: str | None,
    agreed: Any,
    agreed_hash: str | None,
    record_version: str | None,
    template_id: int | None,
    needed: bool,
    now: datetime,
    met: Any = None,
) -> dict[str, Any]:
    """What `bind_many` writes of one record. `agreed_hash` None: both sides differ.

    `met` is the payload of a record whose object was in Xero before it; a later write keeps it.
    """
    return {
        "organisation_id": organisation_id,
        "module": ref.module.value,
        "record_id": ref.id,
        "resource": resource.value,
        "xero_id": xero_id,
        "number": number,
        "xero_status": status,
        "document_type": document_type,
        "agreed": agreed,
        "agreed_hash": agreed_hash,
        "record_version": record_version if agreed_hash else None,
        "template_id": template_id,
        "needed": needed,
        "written_back": False,
        "bound_at": now,
        "agreed_at": now,
        "met": met,
    }


def _bind(dialect: str) -> Insert:
    statement = insert_into(Binding.__table__, dialect)
    new = statement.excluded
    changed = (
        "number",
        "xero_status",
        "agreed",
        "agreed_hash",
        "record_version",
        "template_id",
        "written_back",
        "agreed_at",
    )
    return statement.on_conflict_do_update(
        index_elements=["organisation_id", "module", "record_id"],
        set_={**{name: new[name] for name in changed}, "needed": and_(_ROW.needed, new.needed)},
    )


_BIND = Prepared(_bind, sets=[column.name for column in _ROW if column.name != "id"])


def bind_many(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Binds records, or brings their bindings up to date: many `row`s in one statement.

    A binding keeps its object's id and when it was made.
    """
    if not rows:
        return
    _BIND.many(session, rows)


def still_same(session: Session, rows: Sequence[tuple[int, str, int | None]]) -> None:
    """Notes the CRM version and template by which bound records were found unchanged."""
    if rows:
        session.connection().execute(
            update(Binding.__table__)  # type: ignore[arg-type]
            .where(Binding.__table__.c.id == bindparam("binding"))
            .values(record_version=bindparam("version"), template_id=bindparam("template")),
            [{"binding": one, "version": version, "template": at} for one, version, at in rows],
        )


def unbind(session: Session, organisation_id: int, ref: RecordRef) -> None:
    """Forgets that a record is in an organisation: its object is out of use there."""
    session.execute(
        delete(Binding)
        .where(
            Binding.organisation_id == organisation_id,
            Binding.module == ref.module.value,
            Binding.record_id == ref.id,
        )
        .execution_options(synchronize_session=False)
    )


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A binding of which the CRM's record doesn't know yet."""

    id: int
    ref: RecordRef
    link: XeroLink
    agreed_at: datetime


def unwritten(session: Session, organisation_id: int, *, limit: int = 500) -> list[Unwritten]:
    """Bindings whose CRM records don't carry Xero's id and number yet."""
    rows = _UNWRITTEN.rows(session, {"of": organisation_id, "most": limit})
    return [
        Unwritten(one, RecordRef(Module(module), record_id), XeroLink(xero_id, number, status), at)
        for one, module, record_id, xero_id, number, status, at in rows
    ]


def written(session: Session, rows: Iterable[Unwritten]) -> None:
    """Notes that the CRM has them; a binding agreed anew meanwhile stays to be written."""
    at: dict[datetime, list[int]] = {}
    for row in rows:
        at.setdefault(row.agreed_at, []).append(row.id)
    for agreed_at, ids in at.items():
        _WRITTEN.run(session, {"ids": ids, "agreed_then": agreed_at})

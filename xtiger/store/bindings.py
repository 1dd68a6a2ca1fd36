"""Bindings: which CRM record and which Xero object are the same thing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import Resource
from xtiger.store.models import Binding


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


def bind(
    session: Session,
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
) -> Binding:
    """Binds a record, or brings its binding up to date. `agreed_hash` None: they differ."""
    row = of_records(session, organisation_id, [ref]).get(ref)
    if row is None:
        row = Binding(
            organisation_id=organisation_id,
            module=ref.module.value,
            record_id=ref.id,
            resource=resource.value,
            xero_id=xero_id,
            document_type=document_type,
            needed=needed,
            bound_at=now,
            agreed_at=now,
        )
        session.add(row)
    row.number = number
    row.xero_status = status
    row.agreed = agreed
    row.agreed_hash = agreed_hash
    row.record_version = record_version if agreed_hash else None
    row.template_id = template_id
    row.needed = row.needed and needed
    row.written_back = False
    row.agreed_at = now
    session.flush()
    return row


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


def unwritten(session: Session, organisation_id: int, *, limit: int = 500) -> list[Binding]:
    """Bindings whose CRM records don't carry Xero's id and number yet."""
    return list(
        session.scalars(
            select(Binding)
            .where(Binding.organisation_id == organisation_id, text("written_back = false"))
            .order_by(Binding.id)
            .limit(limit)
        )
    )


def written(session: Session, rows: Iterable[Binding]) -> None:
    """Notes that the CRM has them; a binding agreed anew meanwhile stays to be written."""
    for row in rows:
        session.execute(
            update(Binding)
            .where(Binding.id == row.id, Binding.agreed_at == row.agreed_at)
            .values(written_back=True)
            .execution_options(synchronize_session=False)
        )

"""Records for tests, made through the small CRM's own models."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from xtiger.crm.builtin import Contact, Invoice, InvoiceLine, Product, Service
from xtiger.domain.records import Change, ChangeKind, Module, RecordRef
from xtiger.engine.services import Services
from xtiger.store import leases, outbox, profiles


def contact(session: Session, name: str = "Ana Lee Ltd", **fields: Any) -> Contact:
    row = Contact(name=name, **fields)
    session.add(row)
    session.flush()
    return row


def product(session: Session, code: str = "W-1", price: str = "100.00", **fields: Any) -> Product:
    return _sold(session, Product, code, price, {"name": f"Widget {code}"} | fields)


def service(session: Session, code: str = "S-1", price: str = "80.00", **fields: Any) -> Service:
    return _sold(session, Service, code, price, {"name": f"Work {code}"} | fields)


def _sold(session: Session, model: Any, code: str, price: str, fields: dict[str, Any]) -> Any:
    row = model(code=code, price=Decimal(price), tax_rate=Decimal(15), **fields)
    session.add(row)
    session.flush()
    return row


def invoice(
    session: Session, number: str, buyer: Contact, *lines: tuple[Any, ...], **fields: Any
) -> Invoice:
    """Lines are (product, service or None, quantity, price[, discount[, tax]])."""
    row = Invoice(
        number=number,
        contact_id=buyer.id,
        date=fields.pop("date", date(2026, 11, 20)),
        due_date=date(2026, 12, 20),
        currency=fields.pop("currency", "NZD"),
        amounts=fields.pop("amounts", "exclusive"),
        status=fields.pop("status", "Approved"),
        **fields,
    )
    for place, (what, quantity, price, *rest) in enumerate(lines or [(None, "1", "100.00")]):
        row.lines.append(
            InvoiceLine(
                place=place,
                **({what.line_column: what.id} if what else {}),
                description=what.name if what else "Work",
                quantity=Decimal(quantity),
                unit_price=Decimal(price),
                discount=Decimal(rest[0]) if rest else Decimal(0),
                tax_rate=Decimal(rest[1]) if len(rest) > 1 else Decimal(15),
            )
        )
    row.count()
    session.add(row)
    session.flush()
    return row


def ref(row: Any) -> RecordRef:
    return RecordRef(Module(row.xtiger_module), str(row.id))


def allow_all(services: Services, rows: Iterable[Any], organisation_id: int | None = None) -> None:
    """Allow Xero Sync of many records in one transaction; a person ticks them one by one."""
    now = services.clock.now()
    refs = [ref(row) for row in rows]
    with services.database.write() as session:
        # Workers lock in this order too.
        leases.lock(session, [row.id for row in profiles.organisations(session, chosen=None)])
        for one in refs:
            profiles.set_flag(
                session,
                one,
                now=now,
                who="Ana",
                allow=True,
                document_type=None,
                organisation_id=organisation_id,
            )
        outbox.add(session, [Change(one, ChangeKind.FLAGGED, now) for one in refs])

"""A CRM in memory: contacts, products, invoices and bills, their edits, links and deletions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from xtiger.crm.builtin import CONTACTS, INVOICES, PRODUCTS
from xtiger.domain.errors import TransientError
from xtiger.domain.records import (
    Change,
    ChangeKind,
    Module,
    ModuleInfo,
    Record,
    RecordRef,
    XeroLink,
)
from xtiger.ports import Clock
from xtiger.store import outbox
from xtiger.store.schema import Database

_CREATED = datetime(2026, 11, 1, 8, tzinfo=UTC)
#: What keeps a record of a module from going: Xero refuses its element, or building it fails.
SPOILS = {
    Module.CONTACTS: "email",
    Module.PRODUCTS: "code",
    Module.INVOICES: "total",
}


@dataclass(slots=True)
class Row:
    """One record; `version` counts its saves and goes to Xero inside a text of its own."""

    ref: RecordRef
    name: str
    version: int = 1
    links: tuple[RecordRef, ...] = ()
    bill: bool = False
    currency: str = "NZD"
    price: int = 100
    #: A word that makes Xero refuse every call the record is in, or what else is wrong with it.
    poison: str = ""
    spoiled: bool = False


@dataclass(slots=True)
class ModelCrm:
    """A CrmPort whose changes are captured in the outbox in the same transaction."""

    database: Database
    clock: Clock
    key: str = "XT"
    rows: dict[RecordRef, Row] = field(default_factory=dict)
    links: dict[RecordRef, XeroLink] = field(default_factory=dict)
    #: How many of the next readings and writings fail because the CRM is away.
    away: int = 0
    _last: int = 0

    # -- what people do in it ---------------------------------------------------------------------

    def add(self, module: Module, **fields: Any) -> Row:
        """A new record, its name unlike any other."""
        self._last += 1
        ref = RecordRef(module, str(self._last))
        words = {Module.CONTACTS: "Buyer", Module.PRODUCTS: "W", Module.INVOICES: "INV"}
        row = Row(ref, f"{words[module]}-{self._last}", **fields)
        with self._saved(ref, ChangeKind.SAVED):
            self.rows[ref] = row
        return row

    def edit(self, row: Row, **fields: Any) -> None:
        """Saves a record anew."""
        with self._saved(row.ref, ChangeKind.SAVED):
            for name, value in fields.items():
                setattr(row, name, value)
            row.version += 1

    def delete(self, row: Row) -> None:
        """Takes a record out; documents that name it keep naming it."""
        with self._saved(row.ref, ChangeKind.DELETED):
            del self.rows[row.ref]

    @contextmanager
    def _saved(self, ref: RecordRef, kind: ChangeKind) -> Iterator[None]:
        with self.database.write() as session:
            outbox.add(session, [Change(ref, kind, self.clock.now())])
            yield

    # -- the port ---------------------------------------------------------------------------------

    def modules(self) -> Mapping[Module, ModuleInfo]:
        return {
            Module.CONTACTS: CONTACTS,
            Module.PRODUCTS: PRODUCTS,
            Module.INVOICES: INVOICES,
        }

    def fetch_many(self, refs: Sequence[RecordRef]) -> dict[RecordRef, Record]:
        self._answer()
        return {ref: record_of(self.rows[ref]) for ref in refs if ref in self.rows}

    def scan(self, module: Module, *, after: str | None, limit: int) -> Sequence[Record]:
        self._answer()
        behind = [
            row
            for ref, row in sorted(self.rows.items(), key=lambda each: int(each[0].id))
            if ref.module is module and int(ref.id) > int(after or 0)
        ]
        return [record_of(row) for row in behind[:limit]]

    def browse(
        self,
        module: Module,
        *,
        text: str | None,
        status: str | None,
        before: str | None,
        limit: int,
    ) -> Sequence[Record]:
        found = [
            record_of(row)
            for ref, row in sorted(self.rows.items(), key=lambda each: -int(each[0].id))
            if ref.module is module
            and (before is None or int(ref.id) < int(before))
            and (not text or text.lower() in row.name.lower())
        ]
        return [record for record in found if status in (None, record.status)][:limit]

    def write_back(self, links: Mapping[RecordRef, XeroLink]) -> None:
        self._answer()
        self.links |= {ref: link for ref, link in links.items() if ref in self.rows}

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise TransientError("The CRM doesn't answer. XTiger tries again by itself.")


def record_of(row: Row) -> Record:
    """The record as the engine reads it."""
    build = {
        Module.CONTACTS: _contact,
        Module.PRODUCTS: _product,
        Module.INVOICES: _invoice,
    }[row.ref.module]
    fields, lines = build(row)
    return Record(
        ref=row.ref,
        label=row.name,
        version=str(row.version),
        created_at=_CREATED,
        fields=fields,
        lines=lines,
        status="Approved",
    )


_Built = tuple[dict[str, Any], tuple[dict[str, Any], ...]]


def _contact(row: Row) -> _Built:
    fields = {
        "name": row.name,
        "first_name": row.poison or None,
        "email": "nobody" if row.spoiled else f"buyer{row.ref.id}@example.com",
        "account_number": f"v{row.version}",
    }
    return fields, ()


def _product(row: Row) -> _Built:
    fields = {
        "code": None if row.spoiled else row.name,
        "name": f"Widget {row.poison}",
        "description": f"v{row.version}",
        "price": Decimal(row.price),
        "cost": Decimal(row.price) / 2,
        "tax_rate": Decimal(15),
    }
    return fields, ()


def _invoice(row: Row) -> _Built:
    buyer, *goods = row.links
    net = Decimal(row.price) * max(1, len(goods))
    total = net * Decimal("1.15") + (7 if row.spoiled else 0)
    fields = {
        "number": row.name,
        "contact": buyer,
        "date": date(2026, 11, 20),
        "due_date": date(2026, 12, 20),
        "reference": None,
        "currency": row.currency,
        "amounts": "exclusive",
        "subtotal": net,
        "tax_total": net * Decimal("0.15"),
        "total": total,
    }
    lines = tuple(
        {
            "product": product,
            "description": f"Work {row.poison} v{row.version}",
            "quantity": Decimal(1),
            "unit_price": Decimal(row.price),
            "discount": Decimal(0),
            "tax_rate": Decimal(15),
            "amount": Decimal(row.price),
        }
        for product in goods or [None]
    )
    return fields, lines

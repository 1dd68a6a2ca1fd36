"""XTiger's own small CRM behind the CrmPort: its modules, and how their rows are read.

Nothing here is special to XTiger: a host hooks its models up in the same way (`crm_of`).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, bindparam, case, func, literal_column, or_, select
from sqlalchemy.orm import Session

from xtiger.crm.models import Contact as Contact
from xtiger.crm.models import CrmBase as CrmBase
from xtiger.crm.models import Invoice as Invoice
from xtiger.crm.models import InvoiceLine as InvoiceLine
from xtiger.crm.models import Product as Product
from xtiger.crm.models import Service as Service
from xtiger.crm.sql import Snapshot, SqlCrm, SqlModule
from xtiger.domain.records import (
    SOLD,
    Field,
    FieldKind,
    Module,
    ModuleInfo,
    RecordRef,
    XeroLink,
)
from xtiger.store.prepared import Prepared
from xtiger.store.schema import MOST_ROWS


def _fields(*specifications: tuple[str, str, FieldKind]) -> tuple[Field, ...]:
    return tuple(Field(name, label, kind) for name, label, kind in specifications)


_TEXT, _NUMBER, _DATE = FieldKind.TEXT, FieldKind.NUMBER, FieldKind.DATE

CONTACTS = ModuleInfo(
    Module.CONTACTS,
    _fields(
        ("name", "Name", _TEXT),
        ("first_name", "First name", _TEXT),
        ("last_name", "Last name", _TEXT),
        ("email", "E-mail", _TEXT),
        ("phone", "Phone", _TEXT),
        ("street", "Street", _TEXT),
        ("city", "City", _TEXT),
        ("region", "Region", _TEXT),
        ("postal_code", "Postal code", _TEXT),
        ("country", "Country", _TEXT),
        ("tax_number", "Tax number", _TEXT),
        ("account_number", "Account number", _TEXT),
        ("is_supplier", "Supplier", FieldKind.YES_NO),
    ),
    statuses=("Active", "Former"),
)


def _sold(module: Module) -> ModuleInfo:
    """Products and services differ by nothing but what they are."""
    return ModuleInfo(
        module,
        _fields(
            ("code", "Part number", _TEXT),
            ("name", "Name", _TEXT),
            ("description", "Description", _TEXT),
            ("price", "Price", _NUMBER),
            ("cost", "Cost", _NUMBER),
            ("tax_rate", "Tax %", _NUMBER),
            ("sales_account", "Sales account", _TEXT),
            ("purchase_account", "Purchase account", _TEXT),
        ),
        statuses=("Active", "Discontinued"),
    )


PRODUCTS, SERVICES = _sold(Module.PRODUCTS), _sold(Module.SERVICES)
INVOICES = ModuleInfo(
    Module.INVOICES,
    _fields(
        ("number", "Number", _TEXT),
        ("contact", "Contact", FieldKind.LINK),
        ("date", "Date", _DATE),
        ("due_date", "Due date", _DATE),
        ("reference", "Reference", _TEXT),
        ("currency", "Currency", _TEXT),
        ("amounts", "Amounts are", _TEXT),
        ("tax_mode", "Tax is counted", _TEXT),
        ("header_discount", "Discount on all, %", _NUMBER),
        ("header_discount_amount", "Discount on all", _NUMBER),
        ("charges", "Charges", FieldKind.LIST),
        ("adjustment", "Adjustment", _NUMBER),
        ("withheld", "Tax withheld", _NUMBER),
        ("subtotal", "Subtotal", _NUMBER),
        ("tax_total", "Tax", _NUMBER),
        ("total", "Total", _NUMBER),
    ),
    (
        Field("product", "Product or service", FieldKind.LINK, leads_to=SOLD),
        *_fields(
            ("description", "Description", _TEXT),
            ("quantity", "Quantity", _NUMBER),
            ("unit_price", "Unit price", _NUMBER),
            ("discount", "Discount %", _NUMBER),
            ("discount_amount", "Discount", _NUMBER),
            ("tax_rate", "Tax %", _NUMBER),
            ("taxes", "Several taxes", FieldKind.LIST),
            ("amount", "Amount", _NUMBER),
        ),
    ),
    statuses=Invoice.STATUSES,
)


#: Reads the rows of some ids.
Rows = Callable[[Session, Sequence[int]], Iterable[Any]]


class _Plain(NamedTuple):
    """A record without lines: its columns in the order of the module's fields."""

    id: int
    status: str
    created_at: datetime
    label: str
    values: Sequence[Any]
    xero_id: str | None
    stamp: object


def _read_plain(info: ModuleInfo) -> Callable[[Any], Snapshot]:
    names = [field.name for field in info.fields]

    def read(thing: _Plain) -> Snapshot:
        fields = dict(zip(names, thing.values, strict=True))
        label, made_at, status = thing.label, thing.created_at, thing.status
        return Snapshot(label, fields, made_at, (), status, thing.stamp, thing.xero_id)

    return read


def _read_invoice(invoice: _Document) -> Snapshot:
    values = {
        "number": invoice.number,
        "date": invoice.date,
        "due_date": invoice.due_date,
        "reference": invoice.reference,
        "currency": invoice.currency,
        "amounts": invoice.amounts,
        "subtotal": invoice.subtotal,
        "tax_total": invoice.tax_total,
        "total": invoice.total,
        "contact": RecordRef(Module.CONTACTS, str(invoice.contact_id)),
    }
    lines = tuple(
        {
            "product": _sold_as(sold) if sold else None,
            # Without words of its own a line is called what its product or service is called.
            "description": description or name or "",
            "quantity": quantity,
            "unit_price": unit_price,
            "discount": discount,
            "tax_rate": tax_rate,
            "amount": amount,
        }
        for _, sold, description, name, quantity, unit_price, discount, tax_rate, amount, _ in (
            invoice.lines
        )
    )
    if invoice.more is not None:
        values |= invoice.more
    if invoice.lines_more:
        keys = [line[-1] for line in invoice.lines]
        none: Mapping[str, Any] = {}
        lines = tuple(
            {**line, **invoice.lines_more.get(key, none)}
            for line, key in zip(lines, keys, strict=True)
        )
    made_at, status = invoice.created_at, invoice.status
    return Snapshot(invoice.number, values, made_at, lines, status, invoice.stamp)


@lru_cache(maxsize=10_000)
def _sold_as(number: int) -> RecordRef:
    """The product or service that `_LINES` gives in one number; most lines name one of a few."""
    if number > 0:
        return RecordRef(Module.PRODUCTS, str(number))
    return RecordRef(Module.SERVICES, str(-number))


class _Document(NamedTuple):
    """An invoice's columns, and the rows of its lines as `_LINES` selects them."""

    id: int
    number: str
    contact_id: int
    date: dt.date
    due_date: dt.date | None
    reference: str | None
    currency: str
    amounts: str
    subtotal: Decimal
    tax_total: Decimal
    total: Decimal
    status: str
    created_at: datetime
    lines: Sequence[Any]
    #: What it has besides its lines, and by line what that has besides the usual; mostly nothing.
    more: Mapping[str, Any] | None
    lines_more: Mapping[int, Mapping[str, Any]]
    #: All of it as the driver gave it, which is quickest to tell from another.
    stamp: object


_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
#: What most documents and lines have nothing in: read only of those that have something.
_MORE = (
    Invoice.tax_mode,
    Invoice.header_discount,
    Invoice.header_discount_amount,
    Invoice.charges,
    Invoice.adjustment,
    Invoice.withheld,
)
_LINE_MORE = (InvoiceLine.discount_amount, InvoiceLine.taxes)
_has_more = or_(
    Invoice.tax_mode != literal_column("'group'"), *(one.is_not(None) for one in _MORE[1:])
)
_line_has_more = or_(*(one.is_not(None) for one in _LINE_MORE))
_DOCUMENTS = Prepared(
    select(
        *(Invoice.__table__.c[name] for name in _Document._fields[:-4]),
        case((_has_more, Invoice.id)),
    ).where(Invoice.__table__.c.id.in_(_IDS))
)
_SERVICE_NAME = select(Service.name).where(Service.id == InvoiceLine.service_id).scalar_subquery()
_LINES = Prepared(
    select(
        InvoiceLine.invoice_id,
        # A service's number is the one below zero: one column for both is quicker to read, and a
        # line of a product is told by the same row as before there were services.
        func.coalesce(InvoiceLine.product_id, -InvoiceLine.service_id),
        InvoiceLine.description,
        # Looked up where there is no product's: most lines name one.
        func.coalesce(Product.name, _SERVICE_NAME),
        InvoiceLine.quantity,
        InvoiceLine.unit_price,
        InvoiceLine.discount,
        InvoiceLine.tax_rate,
        InvoiceLine.amount,
        case((_line_has_more, InvoiceLine.id)),
    )
    .outerjoin(Product, Product.id == InvoiceLine.product_id)
    .where(InvoiceLine.invoice_id.in_(_IDS))
    .order_by(InvoiceLine.invoice_id, InvoiceLine.place, InvoiceLine.id)
)
_MORE_OF = Prepared(select(Invoice.id, *_MORE).where(Invoice.id.in_(_IDS)))
_LINES_MORE_OF = Prepared(select(InvoiceLine.id, *_LINE_MORE).where(InvoiceLine.id.in_(_IDS)))


def _documents(session: Session, ids: Sequence[int]) -> Iterator[_Document]:
    """Invoices with their lines, by two statements, and what few of them have by two more."""
    chosen = {"ids": ids}
    raws, typed = _LINES.both(session, chosen)
    raws = [tuple(raw) for raw in raws]
    lines: dict[int, Sequence[Any]] = {}
    stamps: dict[int, Sequence[Any]] = {}
    after = 0
    # They come invoice by invoice.
    for one, count in Counter([line[0] for line in typed]).items():
        own = slice(after, after := after + count)
        lines[one], stamps[one] = typed[own], raws[own]
    lines_with = [line[-1] for line in typed if line[-1] is not None]
    found = list(zip(*_DOCUMENTS.both(session, chosen), strict=True))
    lines_more = _more(session, _LINES_MORE_OF, _LINE_MORE, lines_with)
    more = _more(session, _MORE_OF, _MORE, [row[-1] for _, row in found if row[-1] is not None])
    for raw, row in found:
        one = row[0]
        of = lines.get(one, ())
        stamp: Any = tuple(raw), stamps.get(one)
        extra, of_lines = more.get(one), {}
        if lines_with:
            of_lines = {line[-1]: lines_more[line[-1]] for line in of if line[-1] in lines_more}
        if extra is not None or of_lines:
            stamp = *stamp, extra, of_lines
        yield _Document._make((*row[:-1], of, extra, of_lines, stamp))


def _more(
    session: Session, statement: Prepared, columns: Sequence[Any], ids: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """Rarely used columns of these rows, by id and name."""
    names = [column.key for column in columns]
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(ids), MOST_ROWS):
        rows = statement.rows(session, {"ids": ids[start : start + MOST_ROWS]})
        found |= {one: dict(zip(names, values, strict=True)) for one, *values in rows}
    return found


def _rows_of(model: Any, info: ModuleInfo, label: Any) -> Rows:
    """Reads a module without lines by one statement; `label` is what people call a record."""
    names = ("id", "status", "created_at", *(field.name for field in info.fields), "xero_id")
    columns = [getattr(model, name) for name in names]
    columns.insert(3, label.label("label"))
    statement = Prepared(select(*columns).where(model.id.in_(_IDS)))

    def rows(session: Session, ids: Sequence[int]) -> Iterable[_Plain]:
        for raw, row in zip(*statement.both(session, {"ids": ids}), strict=True):
            one, status, created_at, label, *values, xero_id = row
            # What XTiger writes back is no change of the record.
            yield _Plain(one, status, created_at, label, values, xero_id, tuple(raw)[:-1])

    return rows


def _keep_id(link: XeroLink) -> dict[str, Any]:
    return {"xero_id": link.xero_id}


def _keep_number(link: XeroLink) -> dict[str, Any]:
    return {"xero_id": link.xero_id, "xero_number": link.number, "xero_status": link.status}


def _sold_module(info: ModuleInfo, model: type[Product] | type[Service]) -> SqlModule:
    return SqlModule(
        info,
        model,
        _read_plain(info),
        rows=_rows_of(model, info, func.coalesce(func.nullif(model.code, ""), model.name)),
        columns=_keep_id,
        search=(model.code, model.name),
        status=model.status,
    )


def crm_of(sessions: Callable[[], AbstractContextManager[Session]], *, key: str = "XT") -> SqlCrm:
    """The small CRM behind the CrmPort; a host writes the like for its own models."""
    return SqlCrm(
        [
            SqlModule(
                CONTACTS,
                Contact,
                _read_plain(CONTACTS),
                rows=_rows_of(Contact, CONTACTS, Contact.name),
                columns=_keep_id,
                search=(Contact.name, Contact.email),
                status=Contact.status,
            ),
            _sold_module(PRODUCTS, Product),
            _sold_module(SERVICES, Service),
            SqlModule(
                INVOICES,
                Invoice,
                _read_invoice,
                parts={InvoiceLine: "invoice_id"},
                rows=_documents,
                columns=_keep_number,
                search=(Invoice.number, Invoice.reference),
                status=Invoice.status,
            ),
        ],
        sessions=sessions,
        key=key,
    )

"""XTiger's own small CRM: contacts, products and invoices, as a Flask CRM could have them.

Nothing here is special to XTiger: a host hooks its models up in the same way (`crm_of`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Date,
    DateTime,
    ForeignKey,
    String,
    Text,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
)

from xtiger.crm.columns import Money, Parts
from xtiger.crm.sql import Snapshot, SqlCrm, SqlModule
from xtiger.crm.totals import count_lines
from xtiger.domain.counting import DocumentTotals
from xtiger.domain.records import Field, FieldKind, Module, ModuleInfo, RecordRef, XeroLink
from xtiger.store.prepared import Prepared
from xtiger.store.schema import MOST_ROWS


def _now() -> datetime:
    return datetime.now(UTC)


class CrmBase(DeclarativeBase):
    """The small CRM's tables, a migration branch of their own."""


#: A deleted record's number is never given to another, which would meet its place in Xero.
_NEVER_AGAIN = {"sqlite_autoincrement": True}


class Contact(CrmBase):
    """Somebody who buys from us or sells to us."""

    __tablename__ = "crm_contact"
    __table_args__ = _NEVER_AGAIN
    xtiger_module = Module.CONTACTS
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), index=True)
    first_name: Mapped[str | None] = mapped_column(String(255))
    last_name: Mapped[str | None] = mapped_column(String(255))
    email: Mapped[str | None] = mapped_column(String(255))
    phone: Mapped[str | None] = mapped_column(String(60))
    street: Mapped[str | None] = mapped_column(String(500))
    city: Mapped[str | None] = mapped_column(String(255))
    region: Mapped[str | None] = mapped_column(String(255))
    postal_code: Mapped[str | None] = mapped_column(String(50))
    country: Mapped[str | None] = mapped_column(String(60))
    tax_number: Mapped[str | None] = mapped_column(String(60))
    account_number: Mapped[str | None] = mapped_column(String(60))
    is_supplier: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(String(30), default="Active")
    xero_id: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name


class Product(CrmBase):
    """Something that is sold or bought."""

    __tablename__ = "crm_product"
    __table_args__ = _NEVER_AGAIN
    xtiger_module = Module.PRODUCTS
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str | None] = mapped_column(String(60), index=True)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Money)
    cost: Mapped[Decimal | None] = mapped_column(Money)
    tax_rate: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    sales_account: Mapped[str | None] = mapped_column(String(10))
    purchase_account: Mapped[str | None] = mapped_column(String(10))
    status: Mapped[str] = mapped_column(String(30), default="Active")
    xero_id: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)

    @property
    def label(self) -> str:
        """What people call it."""
        return self.code or self.name


class Invoice(CrmBase):
    """A document with lines: an invoice we send, or a bill we get."""

    __tablename__ = "crm_invoice"
    __table_args__ = _NEVER_AGAIN
    xtiger_module = Module.INVOICES
    STATUSES = ("Created", "Approved", "Sent", "Paid", "Cancelled")
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(255), unique=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("crm_contact.id"), index=True)
    date: Mapped[dt.date] = mapped_column(Date)
    due_date: Mapped[dt.date | None] = mapped_column(Date)
    reference: Mapped[str | None] = mapped_column(String(255))
    currency: Mapped[str] = mapped_column(String(3))
    #: exclusive, inclusive or no tax: what line amounts mean.
    amounts: Mapped[str] = mapped_column(String(12), default="exclusive")
    #: group: tax is counted once a rate on the document; individual: on each line.
    tax_mode: Mapped[str] = mapped_column(String(10), default="group", server_default="group")
    #: Off the whole document, in percent or as an amount: before tax in group mode, else after.
    header_discount: Mapped[Decimal | None] = mapped_column(Money)
    header_discount_amount: Mapped[Decimal | None] = mapped_column(Money)
    #: [{"description": …, "amount": …, "taxes": [{"name", "rate", "compound"}, …]}, …].
    charges: Mapped[Sequence[Mapping[str, Any]] | None] = mapped_column(Parts)
    adjustment: Mapped[Decimal | None] = mapped_column(Money)
    #: Tax that the customer keeps back.
    withheld: Mapped[Decimal | None] = mapped_column(Money)
    #: Without tax: lines and charges less the header discount.
    subtotal: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    tax_total: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    total: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    status: Mapped[str] = mapped_column(String(30), default="Created")
    xero_id: Mapped[str | None] = mapped_column(String(40))
    xero_number: Mapped[str | None] = mapped_column(String(255))
    xero_status: Mapped[str | None] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)
    contact: Mapped[Contact] = relationship()
    lines: Mapped[list[InvoiceLine]] = relationship(
        cascade="all, delete-orphan", order_by="InvoiceLine.place"
    )

    @property
    def label(self) -> str:
        """What people call it."""
        return self.number

    def count(self) -> DocumentTotals:
        """Counts amounts, tax and totals anew and keeps them; called before every save."""
        totals = count_lines(
            self.lines,
            self.amounts,
            tax_mode=self.tax_mode or "group",
            header_discount=self.header_discount,
            header_discount_amount=self.header_discount_amount,
            charges=self.charges or (),
            adjustment=self.adjustment,
            withheld=self.withheld,
        )
        for line, amount in zip(self.lines, totals.nets, strict=True):
            line.amount = amount
        self.subtotal, self.tax_total = totals.subtotal, totals.total_tax
        self.total = totals.total
        return totals


class InvoiceLine(CrmBase):
    """One line of an invoice; `discount` and `tax_rate` in percent.

    With several taxes `tax_rate` is what they come to together.
    """

    __tablename__ = "crm_invoice_line"
    __table_args__ = _NEVER_AGAIN
    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(
        ForeignKey("crm_invoice.id", ondelete="CASCADE"), index=True
    )
    place: Mapped[int] = mapped_column(default=0)
    product_id: Mapped[int | None] = mapped_column(ForeignKey("crm_product.id"))
    description: Mapped[str | None] = mapped_column(Text)
    quantity: Mapped[Decimal] = mapped_column(Money, default=Decimal(1))
    unit_price: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    discount: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    discount_amount: Mapped[Decimal | None] = mapped_column(Money)
    tax_rate: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    #: Where there are several: [{"name": …, "rate": …, "compound": …}, …].
    taxes: Mapped[Sequence[Mapping[str, Any]] | None] = mapped_column(Parts)
    amount: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    product: Mapped[Product | None] = relationship()


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
PRODUCTS = ModuleInfo(
    Module.PRODUCTS,
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
        ("adjustment", "Adjustment", _NUMBER),
        ("withheld", "Tax withheld", _NUMBER),
        ("subtotal", "Subtotal", _NUMBER),
        ("tax_total", "Tax", _NUMBER),
        ("total", "Total", _NUMBER),
    ),
    _fields(
        ("product", "Product", FieldKind.LINK),
        ("description", "Description", _TEXT),
        ("quantity", "Quantity", _NUMBER),
        ("unit_price", "Unit price", _NUMBER),
        ("discount", "Discount %", _NUMBER),
        ("discount_amount", "Discount", _NUMBER),
        ("tax_rate", "Tax %", _NUMBER),
        ("amount", "Amount", _NUMBER),
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
            "product": RecordRef(Module.PRODUCTS, str(product)) if product else None,
            # Without words of its own a line is called what its product is called.
            "description": description or name or "",
            "quantity": quantity,
            "unit_price": unit_price,
            "discount": discount,
            "tax_rate": tax_rate,
            "amount": amount,
        }
        for _, product, description, name, quantity, unit_price, discount, tax_rate, amount, _ in (
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
    lines: list[Any]
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
_LINES = Prepared(
    select(
        InvoiceLine.invoice_id,
        InvoiceLine.product_id,
        InvoiceLine.description,
        Product.name,
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
    lines: dict[int, list[Any]] = {}
    stamps: dict[int, list[Any]] = {}
    lines_with: list[int] = []
    for raw, line in zip(*_LINES.both(session, chosen), strict=True):
        lines.setdefault(line[0], []).append(line)
        stamps.setdefault(line[0], []).append(tuple(raw))
        if line[-1] is not None:
            lines_with.append(line[-1])
    found = list(zip(*_DOCUMENTS.both(session, chosen), strict=True))
    lines_more = _more(session, _LINES_MORE_OF, _LINE_MORE, lines_with)
    more = _more(session, _MORE_OF, _MORE, [row[-1] for _, row in found if row[-1] is not None])
    for raw, row in found:
        one = row[0]
        own = lines.get(one, [])
        stamp: Any = tuple(raw), stamps.get(one)
        extra, of_lines = more.get(one), {}
        if lines_with:
            of_lines = {line[-1]: lines_more[line[-1]] for line in own if line[-1] in lines_more}
        if extra is not None or of_lines:
            stamp = *stamp, extra, of_lines
        yield _Document._make((*row[:-1], own, extra, of_lines, stamp))


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
            SqlModule(
                PRODUCTS,
                Product,
                _read_plain(PRODUCTS),
                rows=_rows_of(
                    Product, PRODUCTS, func.coalesce(func.nullif(Product.code, ""), Product.name)
                ),
                columns=_keep_id,
                search=(Product.code, Product.name),
                status=Product.status,
            ),
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

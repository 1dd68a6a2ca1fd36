"""The small CRM's tables: contacts, products, services, and invoices with their lines."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Date, DateTime, ForeignKey, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

from xtiger.crm.columns import Money, Parts
from xtiger.crm.totals import count_lines
from xtiger.domain.counting import DocumentTotals
from xtiger.domain.records import Module


def _now() -> datetime:
    return datetime.now(UTC)


class CrmBase(DeclarativeBase):
    """The small CRM's tables, a migration branch of their own."""


class _Edited:
    """What tells one saved state from the next, and who saved it through a form.

    Whoever saves an older state than the one that stands there gets SQLAlchemy's StaleDataError.
    What XTiger writes back is no new state.
    """

    edition: Mapped[int] = mapped_column(default=1, server_default="1")
    changed_by: Mapped[str | None] = mapped_column(String(255))
    changed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.edition}


#: A deleted record's number is never given to another, which would meet its place in Xero.
_NEVER_AGAIN = {"sqlite_autoincrement": True}


class Contact(_Edited, CrmBase):
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


class _Sold(_Edited):
    """What is sold or bought by its part number: a product or a service."""

    #: Where a line names it.
    line_column: ClassVar[str]
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


class Product(_Sold, CrmBase):
    """A thing that is sold or bought."""

    __tablename__ = "crm_product"
    __table_args__ = _NEVER_AGAIN
    xtiger_module = Module.PRODUCTS
    line_column = "product_id"


class Service(_Sold, CrmBase):
    """Work that is sold or bought: nothing of it lies in stock."""

    __tablename__ = "crm_service"
    __table_args__ = _NEVER_AGAIN
    xtiger_module = Module.SERVICES
    line_column = "service_id"


class Invoice(_Edited, CrmBase):
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
    """One line of an invoice, of a product or a service or neither.

    `discount` and `tax_rate` are in percent; with several taxes `tax_rate` is what they come to
    together.
    """

    __tablename__ = "crm_invoice_line"
    __table_args__ = (
        CheckConstraint("product_id IS NULL OR service_id IS NULL", "ck_crm_invoice_line_one"),
        _NEVER_AGAIN,
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(
        ForeignKey("crm_invoice.id", ondelete="CASCADE"), index=True
    )
    place: Mapped[int] = mapped_column(default=0)
    product_id: Mapped[int | None] = mapped_column(ForeignKey("crm_product.id"))
    service_id: Mapped[int | None] = mapped_column(
        ForeignKey("crm_service.id", name="fk_crm_invoice_line_service_id")
    )
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
    service: Mapped[Service | None] = relationship()

"""An invoice's entries as lines and charges, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from flask import current_app

from xtiger.crm.builtin import InvoiceLine, Product, Service
from xtiger.crm.totals import count_lines
from xtiger.domain.counting import DocumentTotals
from xtiger.domain.records import Module
from xtiger.web.forms import ExactField, InvoiceForm, clean

#: What stands before the number of each kind in a line's list of products and services.
SIGNS = {Module.PRODUCTS: "", Module.SERVICES: "s"}
#: What an invoice has besides its lines, as its form and its model name it.
MORE = (
    "tax_mode",
    "header_discount",
    "header_discount_amount",
    "adjustment",
    "withheld",
)


def crm_session() -> Any:
    """The CRM's own session, whose changes the outbox captures."""
    return current_app.extensions["sqlalchemy"].session


def sold_by(text: str | None) -> Product | Service | None:
    """The product or service that a line names; None for neither."""
    sign = SIGNS[Module.SERVICES]
    number = (text or "").removeprefix(sign)
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        return None
    model = Service if text != number else Product
    found: Product | Service | None = crm_session().get(model, int(number))
    return found


def lines_of(form: InvoiceForm) -> list[InvoiceLine]:
    """The entered lines; empty ones are left out."""
    found: list[InvoiceLine] = []
    for entry in form.lines.entries:
        line = entry.form
        if line.blank():
            continue
        sold = sold_by(line.product.data)
        found.append(
            InvoiceLine(
                place=len(found),
                **({sold.line_column: sold.id} if sold else {}),
                description=clean(line.description.data),
                quantity=Decimal(1) if line.quantity.data is None else line.quantity.data,
                unit_price=line.unit_price.data or Decimal(0),
                discount=line.discount.data or Decimal(0),
                discount_amount=line.discount_amount.data or None,
                tax_rate=line.tax_rate.data or Decimal(0),
                taxes=line.tax_rate.taxes,
            )
        )
    return found


def charges_of(form: InvoiceForm) -> list[dict[str, Any]]:
    """The entered charges; empty ones are left out."""
    found: list[dict[str, Any]] = []
    for entry in form.charges.entries:
        one = entry.form
        if not one.amount.data:
            continue
        rate = one.tax_rate.data
        taxes = one.tax_rate.taxes or (
            [{"name": f"{format(rate, 'f')} %", "rate": rate, "compound": False}] if rate else []
        )
        said = clean(one.description.data) or "Charge"
        found.append({"description": said, "amount": one.amount.data, "taxes": taxes})
    return found


def totals_of(form: InvoiceForm) -> tuple[DocumentTotals | None, Sequence[Decimal | None]]:
    """What the form adds up to now, and each entry's amount, in the arithmetic of a save.

    Nothing at all where an entry that counts is wrong: no sum may stand beside a fault in it.
    """
    rows = [entry.form for entry in (*form.lines.entries, *form.charges.entries)]
    numbers = [field for part in (form, *rows) for field in part if isinstance(field, ExactField)]
    if any(field.errors for field in (*numbers, form.amounts, form.tax_mode)):
        return None, [None] * len(form.lines.entries)
    more = {each: getattr(form, each).data for each in MORE}
    more["tax_mode"] = more["tax_mode"] if more["tax_mode"] == "individual" else "group"
    amounts = form.amounts.data or "exclusive"
    totals = count_lines(lines_of(form), amounts, charges=charges_of(form), **more)
    nets = iter(totals.nets)
    return totals, [None if e.form.blank() else next(nets) for e in form.lines.entries]

"""What a document of the small CRM comes to, by this CRM's own arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from xtiger.domain.counting import DocumentTotals, document_totals
from xtiger.domain.money import (
    Amounts,
    Charge,
    DocumentLine,
    HeaderDiscount,
    Tax,
    TaxMode,
    combined_rate,
)

if TYPE_CHECKING:
    from xtiger.crm.models import InvoiceLine

_AMOUNTS = {
    "exclusive": Amounts.EXCLUSIVE,
    "inclusive": Amounts.INCLUSIVE,
    "no tax": Amounts.NO_TAX,
}


def count_lines(
    lines: Iterable[InvoiceLine],
    amounts: str,
    *,
    tax_mode: str = "group",
    header_discount: Decimal | None = None,
    header_discount_amount: Decimal | None = None,
    charges: Iterable[Mapping[str, Any]] = (),
    adjustment: Decimal | None = None,
    withheld: Decimal | None = None,
) -> DocumentTotals:
    """Amounts, tax per rate and totals of a document, as this CRM counts: each step in cents."""
    mode = TaxMode(tax_mode)
    discount = None
    if header_discount or header_discount_amount:
        # As in other CRMs: counted line by line, tax is no matter of the whole document.
        after = mode is TaxMode.INDIVIDUAL
        discount = HeaderDiscount(header_discount, header_discount_amount, after)
    return document_totals(
        [
            DocumentLine(
                quantity=line.quantity,
                unit_price=line.unit_price,
                discount_rate=(not line.discount_amount and line.discount) or None,
                discount_amount=line.discount_amount or None,
                tax_set=_tax_set(line.taxes, line.tax_rate),
            )
            for line in lines
        ],
        amounts=_AMOUNTS[amounts],
        tax_mode=mode,
        header_discount=discount,
        charges=[
            Charge(Decimal(one["amount"]), _tax_set(one.get("taxes"), None)) for one in charges
        ],
        adjustment=adjustment or Decimal(0),
        deducted=withheld or Decimal(0),
    )


def _tax_set(taxes: Sequence[Mapping[str, Any]] | None, rate: Decimal | None) -> tuple[Tax, ...]:
    """The taxes of a line or charge: those listed, else the one of that percentage."""
    if taxes:
        return tuple(
            Tax(one["name"], Decimal(one["rate"]), bool(one.get("compound"))) for one in taxes
        )
    return (Tax(f"{rate} %", rate),) if rate else ()


def taxes_together(taxes: Sequence[Mapping[str, Any]]) -> Decimal:
    """What a line's taxes come to together, in percent."""
    return combined_rate(_tax_set(taxes, None))

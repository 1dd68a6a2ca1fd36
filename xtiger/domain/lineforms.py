"""How one line is written so that Xero's own arithmetic gives its amount to the cent."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from xtiger.domain.apportion import (
    CENT,
    HUNDRED,
    ONE,
    DocumentLine,
    Entry,
    Kind,
    LineKind,
    Tax,
    TaxType,
    cents,
    fits_unit,
    to_unit,
)

#: Xero's largest line amount, and its longest quantity in characters.
LARGEST_AMOUNT = Decimal("9999999999.99")
LONGEST_QUANTITY = 13
#: Quantities of four places below it can't be longer.
_SHORT = Decimal(10) ** 7


class Form(StrEnum):
    """How a line is written so that Xero's arithmetic gives its amount."""

    AS_ENTERED = "a"  #: quantity and price as the CRM has them
    DISCOUNT_RATE = "b"  #: with Xero's own DiscountRate, where nothing is rounded
    FITTED_PRICE = "c"  #: a price of four places that gives the amount
    SINGLE = "d"  #: quantity 1; the real quantity and price go into the description
    CORRECTED = "d'"  #: stock-tracked: the real quantity (to four places), and a correction line


class PlannedLine(NamedTuple):
    """One line to send, with unitdp=4. LineAmount and DiscountAmount are never sent."""

    kind: LineKind
    form: Form
    quantity: Decimal
    unit_amount: Decimal
    discount_rate: Decimal | None
    #: What Xero will make of it; for checking and showing, not for sending.
    line_amount: Decimal
    tax_type: TaxType
    #: Sent as TaxAmount; None when the line bears no tax, and then it isn't sent.
    tax_amount: Decimal | None
    tax_set: tuple[Tax, ...]
    #: Place among the document's lines (or charges, for a charge); None for other lines.
    source: int | None
    description: str
    #: What the description must say besides, such as "10.00 less 5 %"; empty if nothing.
    note: str
    item_code: str | None
    key: object


class Written(NamedTuple):
    """A line's form and the numbers Xero is sent in it."""

    form: Form
    quantity: Decimal
    unit_amount: Decimal
    discount_rate: Decimal | None = None


def write(line: DocumentLine, net: Decimal, kind: Kind, pinned: bool) -> Written:
    """The first form in which Xero's own arithmetic makes `net` of the line."""
    quantity, price, rate = line.quantity, line.unit_price, line.discount_rate
    if sendable(quantity) and not pinned:
        gross = quantity * price
        if fits_unit(price) and not line.discount_amount:
            if not rate and cents(gross) == net:
                return Written(Form.AS_ENTERED, quantity, price)
            if kind in (Kind.INVOICE, Kind.QUOTE) and _exact_discount(gross, rate, net):
                return Written(Form.DISCOUNT_RATE, quantity, price, rate)
        if quantity:
            unit = to_unit(net / quantity)
            if cents(quantity * unit) == net:
                return Written(Form.FITTED_PRICE, quantity, unit)
    if line.stock_tracked:
        quantity = to_unit(quantity)
        unit = to_unit(net / quantity if quantity else price)
        return Written(Form.CORRECTED, quantity, unit)
    return Written(Form.SINGLE, ONE, net)


def less_percent(
    quantity: Decimal, price: Decimal, rate: Decimal, exact: Decimal, net: Decimal, sells: bool
) -> tuple[Decimal, Decimal | None, str] | None:
    """The price, discount rate and note of a plain line less a percentage, in form b or c.

    What `write` and `note_of` give for numbers of four places and a quantity that Xero takes;
    None: ask those. `exact` is the amount before it was rounded to `net`.
    """
    if sells and exact == net and 0 < rate < HUNDRED and exact > 0 and rate == cents(rate):
        unit, sent = price, rate
    elif quantity and rate:
        unit, sent = to_unit(net / quantity), None
        if cents(quantity * unit) != net:
            return None
    else:
        return None
    return unit, sent, f"{_price(price)} less {short(rate)} %"


def _exact_discount(gross: Decimal, rate: Decimal | None, net: Decimal) -> bool:
    """Whether Xero's DiscountRate gives `net` without any rounding: it is kept to two places."""
    if not rate or not 0 < rate < HUNDRED or rate != cents(rate):
        return False
    return gross > 0 and gross * (HUNDRED - rate) * CENT == net


def planned(
    entry: Entry,
    written: Written,
    net: Decimal,
    tax: Decimal | None,
    tax_type: TaxType,
    *,
    note: str = "",
    item: str | None = None,
) -> PlannedLine:
    """The line that an entry becomes in that form."""
    return PlannedLine(
        kind=entry.kind,
        form=written.form,
        quantity=written.quantity,
        unit_amount=written.unit_amount,
        discount_rate=written.discount_rate,
        line_amount=net,
        tax_type=tax_type,
        tax_amount=tax,
        tax_set=entry.tax_set,
        source=entry.source,
        description=entry.description,
        note=note,
        item_code=item,
        key=entry.key,
    )


def note_of(line: DocumentLine, form: Form) -> str:
    """What the numbers sent no longer say: "10.00 less 5 %", "1000 × 0.061171"."""
    if form is Form.AS_ENTERED:
        return ""
    said, rate = _price(line.unit_price), line.discount_rate
    if rate and form in (Form.DISCOUNT_RATE, Form.FITTED_PRICE) and not line.discount_amount:
        return f"{said} less {short(rate)} %"
    said = f"{short(line.quantity)} × {said}"
    if line.discount_amount:
        return f"{said} less {_price(line.discount_amount)}"
    return f"{said} less {short(rate)} %" if rate else said


def _price(value: Decimal) -> str:
    return f"{value:.2f}" if value == cents(value) else short(value)


def short(value: Decimal) -> str:
    """`value` without trailing zeros and without an exponent."""
    return f"{value.normalize():f}"


def sendable(quantity: Decimal) -> bool:
    """Whether Xero takes a quantity as it is: four places, and not too long."""
    if not fits_unit(quantity):
        return False
    return -_SHORT < quantity < _SHORT or len(short(quantity)) <= LONGEST_QUANTITY

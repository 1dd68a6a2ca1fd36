"""Xero's money arithmetic: unit prices, line amounts, tax per line, and what a document totals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum

_CENT = Decimal("0.01")
_FOUR = Decimal("0.0001")
_HUNDRED = Decimal(100)
#: the largest numbers that can be sent, multiplied, still round; they are refused only then
_WIDE = Context(prec=64)
_ZERO = Decimal("0.00")


class AmountTypes(StrEnum):
    """How line amounts relate to tax."""

    EXCLUSIVE = "Exclusive"  #: tax comes on top
    INCLUSIVE = "Inclusive"  #: tax is inside the amount
    NO_TAX = "NoTax"  #: no tax at all

    @classmethod
    def read(cls, sent: str) -> AmountTypes | None:
        """In any case, as Xero accepts it; None if unknown."""
        return next((kind for kind in cls if kind.lower() == sent.lower()), None)


class LineTotalMismatch(Exception):
    """A LineAmount was sent along that Quantity, UnitAmount and discount don't make."""

    def __init__(self, given: Decimal, expected: Decimal) -> None:
        super().__init__(given, expected)
        self.given, self.expected = given, expected


@dataclass(frozen=True, slots=True)
class Amounts:
    """One line's figures. `line_amount` has 2 decimals, `quantity` 4, `unit_amount` 2 or 4."""

    quantity: Decimal | None
    unit_amount: Decimal | None
    line_amount: Decimal
    discount: Decimal  #: what the discount took off, 2 decimals


@dataclass(frozen=True, slots=True)
class Totals:
    """A document's totals, each with 2 decimals."""

    sub_total: Decimal
    total_tax: Decimal
    total: Decimal


def cents(value: Decimal) -> Decimal:
    """To 2 decimals, half away from zero (Xero: rounding guide, "half up")."""
    return value.quantize(_CENT, ROUND_HALF_UP, _WIDE)


def four(value: Decimal) -> Decimal:
    """To 4 decimals, half away from zero."""
    return value.quantize(_FOUR, ROUND_HALF_UP, _WIDE)


def unit(value: Decimal, *, four_places: bool) -> Decimal:
    """A unit amount at the precision of the call: 4 decimals with `unitdp=4`, else 2.

    The rounding happens before multiplying (Xero: rounding guide).
    """
    return four(value) if four_places else cents(value)


def line(
    *,
    quantity: Decimal | None,
    unit_amount: Decimal | None,
    line_amount: Decimal | None,
    discount_rate: Decimal | None,
    discount_amount: Decimal | None,
    four_places: bool,
) -> Amounts:
    """Works out one line (Xero OpenAPI LineItem; Xero: rounding guide).

    1. Quantity is kept to 4 decimals, the unit amount is rounded to the call's precision.
    2. Of quantity, unit amount and line amount any two give the third; a unit amount alone
       means quantity 1, a line amount alone means quantity 1 at that price.
    3. Expected line amount = quantity x unit amount x (100 - rate) / 100, or less the discount
       amount, rounded half up to cents.
    4. A line amount that was sent along must equal it, else LineTotalMismatch.
    """
    quantity = None if quantity is None else four(quantity)
    if unit_amount is not None:
        unit_amount = unit(unit_amount, four_places=four_places)
    factor = Decimal(1) if discount_rate is None else (_HUNDRED - discount_rate) / _HUNDRED
    off = discount_amount or _ZERO
    if line_amount is not None and (quantity is None or unit_amount is None):
        given = cents(line_amount)
        gross = _ratio(given + off, factor)
        if gross is None:
            raise LineTotalMismatch(given, _ZERO)
        if unit_amount:
            quantity = four(gross / unit_amount)
        else:
            quantity = Decimal("1.0000") if quantity is None else quantity
            price = _ratio(gross, quantity)
            if price is None:
                raise LineTotalMismatch(given, _ZERO)
            unit_amount = unit(price, four_places=four_places)
        return Amounts(quantity, unit_amount, given, cents(gross - given))
    if unit_amount is None:
        return Amounts(quantity, None, _ZERO, _ZERO)
    quantity = Decimal("1.0000") if quantity is None else quantity
    gross = quantity * unit_amount
    expected = cents(gross * factor - off)
    if line_amount is not None and cents(line_amount) != expected:
        raise LineTotalMismatch(cents(line_amount), expected)
    return Amounts(quantity, unit_amount, expected, cents(cents(gross) - expected))


def _ratio(dividend: Decimal, divisor: Decimal) -> Decimal | None:
    if divisor:
        return dividend / divisor
    return None if dividend else _ZERO


def tax(line_amount: Decimal, *, rate: Decimal, amounts: AmountTypes) -> Decimal:
    """Tax of one line, 2 decimals half up; `rate` in percent.

    On top: amount x rate / 100. Inside: amount x rate / (100 + rate), measured on live Xero
    (541.25 at 15 % holds 70.60).
    """
    if amounts is AmountTypes.NO_TAX:
        return _ZERO
    if amounts is AmountTypes.INCLUSIVE:
        return cents(line_amount * rate / (_HUNDRED + rate))
    return cents(line_amount * rate / _HUNDRED)


def totals(lines: Iterable[tuple[Decimal, Decimal]], amounts: AmountTypes) -> Totals:
    """Sums (line amount, tax) pairs: tax is summed per line, never taken of the subtotal."""
    net = total_tax = _ZERO
    for line_amount, line_tax in lines:
        net += line_amount
        total_tax += line_tax
    if amounts is AmountTypes.INCLUSIVE:
        return Totals(net - total_tax, total_tax, net)
    return Totals(net, total_tax, net + total_tax)

"""A CRM document as amounts: what each of its parts, and the tax on it, is worth in cents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    getcontext,
    setcontext,
)
from enum import StrEnum
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

ZERO = Decimal("0.00")
ONE = Decimal(1)
HUNDRED = Decimal(100)
CENT = Decimal("0.01")
#: Half a cent: the most by which one rounded amount differs from its exact value.
HALF_CENT = Decimal("0.005")
#: The places Xero keeps of a unit amount when a call says unitdp=4, and of a quantity always.
UNIT = Decimal("0.0001")

_EXACT = Context(
    prec=60, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow]
)


def exactly(function: Callable[P, T]) -> Callable[P, T]:
    """Run `function` with 60 digits and its own traps, whatever the thread's context says."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        # Not localcontext: that copies the context each time. Nobody looks at this one's flags.
        before = getcontext()
        setcontext(_EXACT)
        try:
            return function(*args, **kwargs)
        finally:
            setcontext(before)

    return inner


def cents(value: Decimal) -> Decimal:
    """`value` rounded half up, away from zero, to two places; never minus zero."""
    return value.quantize(CENT, ROUND_HALF_UP) or ZERO


def to_unit(value: Decimal) -> Decimal:
    """`value` rounded half up, away from zero, to four places."""
    return value.quantize(UNIT, ROUND_HALF_UP)


def to_places(value: Decimal, quantum: Decimal) -> Decimal:
    """`value` rounded half up, away from zero, to the places of `quantum`."""
    return value.quantize(quantum, ROUND_HALF_UP)


def fits_unit(value: Decimal) -> bool:
    """Whether `value` has four places or fewer, trailing zeros aside."""
    return value == value.quantize(UNIT, ROUND_HALF_UP)


def apportion(
    exact: Sequence[Decimal], target: Decimal, *, movable: Sequence[bool], rounds: int = 1
) -> list[Decimal]:
    """`exact` in cents, moved towards the sum `target` by largest remainder.

    1. Round every value to cents.
    2. Order the movable ones by how far rounding went the wrong way:
       smallest `(rounded - exact) * sign of what is missing` first, ties in their given order.
    3. Give each one cent in that order until the sum is `target`, at most `rounds` times over.

    What can't be placed is left over: compare the sum of the answer with `target`.
    """
    rounded = [cents(value) for value in exact]
    missing = target - sum(rounded, ZERO)
    if not missing:
        return rounded
    sign = ONE if missing > 0 else -ONE
    places = [place for place, free in enumerate(movable) if free]
    places.sort(key=lambda place: (rounded[place] - exact[place]) * sign)
    count = min(int(abs(missing) / CENT), rounds * len(places))
    for turn in range(count):
        rounded[places[turn % len(places)]] += CENT * sign
    return rounded


class Kind(StrEnum):
    """What the document becomes in Xero."""

    INVOICE = "invoice"
    QUOTE = "quote"
    CREDIT_NOTE = "credit note"
    BILL = "bill"
    SUPPLIER_CREDIT = "supplier credit note"
    PURCHASE_ORDER = "purchase order"


class Amounts(StrEnum):
    """What line amounts mean, in Xero's words (LineAmountTypes)."""

    EXCLUSIVE = "Exclusive"
    INCLUSIVE = "Inclusive"
    NO_TAX = "NoTax"


class TaxMode(StrEnum):
    """Where the CRM counts and rounds tax."""

    GROUP = "group"  #: once per tax on the document
    INDIVIDUAL = "individual"  #: per tax on every line


class LineKind(StrEnum):
    """Which part of the document a planned line stands for."""

    LINE = "line"
    CORRECTION = "correction"  #: what a stock-tracked line's price can't say in four places
    DISCOUNT = "discount"
    CHARGE = "charge"
    ADJUSTMENT = "adjustment"
    WITHHELD = "withheld"
    ROUNDING = "rounding"


class Tax(NamedTuple):
    """One tax of the CRM; `rate` in percent. A compound one also taxes the others."""

    name: str
    rate: Decimal
    compound: bool = False


class TaxType(NamedTuple):
    """One tax rate of the organisation: its TaxType code and effective rate in percent."""

    code: str
    rate: Decimal


#: Xero's own type for lines without tax; every organisation has it.
UNTAXED = TaxType("NONE", Decimal(0))


# Nobody changes one; frozen, though, a document of dozens would take three times as long to make.
@dataclass(slots=True)
class DocumentLine:
    """One line as the CRM has it; a discount is a rate in percent or an amount off the line."""

    quantity: Decimal
    unit_price: Decimal
    tax_set: tuple[Tax, ...] = ()
    discount_rate: Decimal | None = None
    discount_amount: Decimal | None = None
    description: str = ""
    item_code: str | None = None
    #: Xero counts this item's stock, so the quantity sent must be the real one.
    stock_tracked: bool = False
    #: Passed through to the planned line: the account, or whatever the caller wants there.
    key: object = None

    def __post_init__(self) -> None:
        if self.discount_rate and self.discount_amount:
            raise ValueError("a line's discount is a rate or an amount, not both")


@dataclass(frozen=True, slots=True)
class HeaderDiscount:
    """A discount on the whole document; `after_tax` lowers the total and leaves tax alone."""

    rate: Decimal | None = None
    amount: Decimal | None = None
    after_tax: bool = False


@dataclass(frozen=True, slots=True)
class Charge:
    """Shipping, handling and the like, with taxes of its own."""

    amount: Decimal
    tax_set: tuple[Tax, ...] = ()
    description: str = ""
    key: object = None


@dataclass(slots=True)
class Document:
    """The money of one CRM document; all amounts in its own currency.

    `pre_tax_total` is the CRM's own figure for lines, charges and header discount without
    tax, before `adjustment` and `deducted`; without it the subtotal is worked out from the
    lines, and `amounts` Inclusive leaves tax as Xero counts it.
    `deducted` is tax withheld by the customer, as a positive number.
    `decimals` are the places the CRM rounds to when it rounds every step.
    `rounded_taxes` is how many tax amounts the CRM rounded; None derives it from `tax_mode`.
    """

    kind: Kind
    lines: tuple[DocumentLine, ...]
    total: Decimal
    pre_tax_total: Decimal | None = None
    tax_mode: TaxMode = TaxMode.GROUP
    amounts: Amounts = Amounts.EXCLUSIVE
    header_discount: HeaderDiscount | None = None
    charges: tuple[Charge, ...] = ()
    adjustment: Decimal = ZERO
    deducted: Decimal = ZERO
    decimals: int = 2
    rounded_taxes: int | None = None


def combined_rate(tax_set: Sequence[Tax]) -> Decimal:
    """One rate in percent for a tax set; compound taxes are taken on 100 + the plain ones."""
    if len(tax_set) == 1:
        return tax_set[0].rate
    plain = sum((tax.rate for tax in tax_set if not tax.compound), Decimal(0))
    compound = sum((tax.rate for tax in tax_set if tax.compound), Decimal(0))
    return plain + compound * (HUNDRED + plain) / HUNDRED if compound else plain


def tax_of(amount: Decimal, rate: Decimal, *, amounts: Amounts) -> Decimal:
    """The exact tax on (exclusive) or inside (inclusive) an amount; `rate` in percent."""
    if not rate or amounts is Amounts.NO_TAX:
        return ZERO
    if amounts is Amounts.INCLUSIVE:
        return amount * rate / (HUNDRED + rate)
    return amount * rate * CENT


class Rate(NamedTuple):
    """A tax set's rate in the CRM, and the TaxType that stands for it."""

    crm: Decimal
    tax_type: TaxType


#: Every tax set of a document; the empty one is always among them.
Rates = dict[tuple[Tax, ...], Rate]


class Entry(NamedTuple):
    """One amount of the document, exact, before it is a line."""

    kind: LineKind
    exact: Decimal
    tax_set: tuple[Tax, ...] = ()
    source: int | None = None
    description: str = ""
    key: object = None


#: How the CRM rounds between two steps of its arithmetic.
Step = Callable[[Decimal], Decimal]
#: Amounts the CRM states as they are: they are rounded, never moved.
STATED = (LineKind.ADJUSTMENT, LineKind.WITHHELD)


def net_of(line: DocumentLine, step: Step) -> Decimal:
    """A line's amount after its own discount, `step` applied wherever a form rounds."""
    gross = step(line.quantity * line.unit_price)
    if line.discount_rate:
        return step(gross - step(gross * line.discount_rate * CENT))
    if line.discount_amount:
        return step(gross - step(line.discount_amount))
    return gross


def entries(document: Document, step: Step) -> list[Entry]:
    """Everything that makes up the document's amount, in document order."""
    lines = [
        Entry(LineKind.LINE, net_of(line, step), line.tax_set, place, line.description, line.key)
        for place, line in enumerate(document.lines)
    ]
    extra: list[Entry] = []
    if document.header_discount is not None:
        extra += _discounts(document, document.header_discount, lines, step)
    for place, charge in enumerate(document.charges):
        key = charge.key
        amount = step(charge.amount)
        extra.append(Entry(LineKind.CHARGE, amount, charge.tax_set, place, charge.description, key))
    extra.append(Entry(LineKind.ADJUSTMENT, document.adjustment, description="Adjustment"))
    extra.append(Entry(LineKind.WITHHELD, -document.deducted, description="Tax withheld"))
    return lines + [entry for entry in extra if entry.exact]


def _discounts(
    document: Document, discount: HeaderDiscount, lines: list[Entry], step: Step
) -> list[Entry]:
    """The header discount: before tax one entry per tax set, after tax one untaxed entry."""
    base = sum((line.exact for line in lines), ZERO)
    if discount.after_tax and document.amounts is Amounts.EXCLUSIVE:
        base += sum((_line_tax(line, step) for line in lines), ZERO)
    whole = step(discount.amount or base * (discount.rate or ZERO) / HUNDRED)
    if discount.after_tax or document.amounts is Amounts.NO_TAX or not base:
        return [Entry(LineKind.DISCOUNT, -whole, description="Discount")]
    nets: dict[tuple[Tax, ...], Decimal] = {}
    for line in lines:
        nets[line.tax_set] = nets.get(line.tax_set, ZERO) + line.exact
    shares = [(tax_set, -whole * net / base) for tax_set, net in nets.items()]
    return [
        Entry(LineKind.DISCOUNT, share, tax_set, description="Discount")
        for tax_set, share in shares
    ]


def _line_tax(line: Entry, step: Step) -> Decimal:
    """A line's tax as a CRM adds it up, tax by tax."""
    tax = ZERO
    for simple in (one for one in line.tax_set if not one.compound):
        tax += step(line.exact * simple.rate / HUNDRED)
    base = line.exact + tax
    for compound in (one for one in line.tax_set if one.compound):
        tax += step(base * compound.rate / HUNDRED)
    return tax


def entries_and_subtotal(
    document: Document, rates: Rates, total: Decimal
) -> tuple[list[Entry], Decimal]:
    """The entries whose rounded sum is nearest the document's subtotal, and that subtotal.

    Rounding nothing is tried first and wins a tie. Its sum may be rounded once or entry by
    entry: CRMs do either. A document without a subtotal is held against its tax instead.
    """
    given = _given_subtotal(document, total)
    places = ONE.scaleb(-document.decimals)
    best: tuple[Decimal, list[Entry], Decimal] | None = None
    for step in (unrounded, lambda value: to_places(value, places)):
        found = entries(document, step)
        exact = [entry.exact for entry in found]
        for rounded in (cents(sum(exact, ZERO)), sum(map(cents, exact), ZERO)):
            subtotal = rounded if given is None else given
            off = abs(rounded - subtotal)
            if given is None:
                off = abs(total - subtotal - _exact_tax(document, found, exact, rates))
            if best is None or off < best[0]:
                best = off, found, subtotal
            if not off:
                return found, subtotal
    assert best is not None
    return best[1], best[2]


def unrounded(value: Decimal) -> Decimal:
    return value


def _net_of_tax(document: Document) -> Decimal | None:
    """The subtotal that the document itself states, adjustment and withheld tax included."""
    if document.pre_tax_total is None:
        return None
    stated = cents(document.pre_tax_total) + cents(document.adjustment)
    return stated - cents(document.deducted)


def _given_subtotal(document: Document, total: Decimal) -> Decimal | None:
    """What the entries must sum to, or None where only tax can tell."""
    if document.amounts is Amounts.INCLUSIVE:
        return total
    if document.amounts is Amounts.NO_TAX and document.pre_tax_total is None:
        return total
    return _net_of_tax(document)


def _exact_tax(
    document: Document, entries: list[Entry], nets: list[Decimal], rates: Rates
) -> Decimal:
    """The unrounded tax on `nets` at the CRM's own rates."""
    sums: dict[tuple[Tax, ...], Decimal] = {}
    for entry, net in zip(entries, nets, strict=True):
        sums[entry.tax_set] = sums.get(entry.tax_set, ZERO) + net
    taxes = (tax_of(net, rates[of].crm, amounts=document.amounts) for of, net in sums.items())
    return sum(taxes, ZERO)


def meant_tax(document: Document, total: Decimal, target: Decimal) -> Decimal | None:
    """The CRM's total tax; None for inclusive amounts whose net isn't stated."""
    if document.amounts is not Amounts.INCLUSIVE:
        return total - target
    stated = _net_of_tax(document)
    return None if stated is None else total - stated


def _rounded_taxes(document: Document) -> int:
    """How many tax amounts the CRM rounded on its way to the total."""
    if document.rounded_taxes is not None:
        return document.rounded_taxes
    sets = [line.tax_set for line in document.lines]
    if document.tax_mode is TaxMode.GROUP:
        sets = list(dict.fromkeys(sets))
    return sum(map(len, sets)) + sum(len(charge.tax_set) for charge in document.charges)


def taxes_of(
    document: Document,
    entries: list[Entry],
    nets: list[Decimal],
    rates: Rates,
    meant: Decimal | None,
) -> list[Decimal | None]:
    """The TaxAmount of every entry, None for untaxed ones.

    1. Xero's own: each net at the TaxType's rate, in cents.
    2. `meant` must follow from the rates, on the exact entries or on the rounded nets, give
       or take half a cent for every tax the CRM rounded and one for its total. If it
       doesn't, Xero's own stand and the rest is left over.
    3. Where the document is taxed as a whole and tax rounded per tax set gives `meant`, each
       set gets its own; else the cents go over all taxed entries alike.
    """
    of_entry = [rates[entry.tax_set].tax_type.rate for entry in entries]
    exact = [
        tax_of(net, rate, amounts=document.amounts)
        for net, rate in zip(nets, of_entry, strict=True)
    ]
    movable = [bool(tax) for tax in exact]
    taxes = [cents(tax) for tax in exact]
    if meant is not None:
        slack = HALF_CENT * (_rounded_taxes(document) + 1)
        readings = ([entry.exact for entry in entries], nets)
        if any(
            abs(meant - _exact_tax(document, entries, reading, rates)) <= slack
            for reading in readings
        ):
            taxes = _shared_by_set(document, entries, nets, rates, meant) or apportion(
                exact, meant, movable=movable, rounds=2
            )
    return [tax if rate else None for tax, rate in zip(taxes, of_entry, strict=True)]


def _shared_by_set(
    document: Document, entries: list[Entry], nets: list[Decimal], rates: Rates, meant: Decimal
) -> list[Decimal] | None:
    """Taxes that add up for each tax set and to `meant`, or None if there are none such."""
    if document.tax_mode is not TaxMode.GROUP:
        return None
    members: dict[tuple[Tax, ...], list[int]] = {}
    for place, entry in enumerate(entries):
        members.setdefault(entry.tax_set, []).append(place)
    taxes = [ZERO] * len(entries)
    for of, places in members.items():
        rate = rates[of].tax_type.rate
        exact = [tax_of(nets[place], rate, amounts=document.amounts) for place in places]
        # Tax inside an amount is a quotient: tax the sum, a sum of quotients can miss a half.
        whole = sum((nets[place] for place in places), ZERO)
        target = cents(tax_of(whole, rate, amounts=document.amounts))
        shared = apportion(exact, target, movable=[bool(tax) for tax in exact], rounds=2)
        for place, tax in zip(places, shared, strict=True):
            taxes[place] = tax
    return taxes if sum(taxes, ZERO) == meant else None

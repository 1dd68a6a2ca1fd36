"""Lays out a CRM document as the lines from which Xero counts the very same total."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from xtiger.domain.apportion import (
    CENT,
    HALF_CENT,
    HUNDRED,
    ONE,
    STATED,
    UNTAXED,
    ZERO,
    Amounts,
    Charge,
    Document,
    DocumentLine,
    DocumentTotals,
    Entry,
    HeaderDiscount,
    Kind,
    LineKind,
    Rate,
    Rates,
    RateTax,
    Tax,
    TaxMode,
    TaxType,
    apportion,
    cents,
    combined_rate,
    document_totals,
    entries_and_subtotal,
    exactly,
    fits_unit,
    meant_tax,
    tax_of,
    taxes_of,
    to_unit,
)

__all__ = [
    "UNTAXED",
    "Amounts",
    "Charge",
    "Document",
    "DocumentLine",
    "DocumentTotals",
    "Form",
    "HeaderDiscount",
    "Kind",
    "LineKind",
    "MoneyPlan",
    "PlannedLine",
    "RateTax",
    "Refusal",
    "RefusalCode",
    "Tax",
    "TaxMode",
    "TaxType",
    "XeroTotals",
    "combined_rate",
    "document_totals",
    "plan",
    "xero_totals",
]

#: Xero's largest line amount, and its longest quantity in characters.
LARGEST_AMOUNT = Decimal("9999999999.99")
LONGEST_QUANTITY = 13
#: More than this moved from Xero's own tax in one document raises an alert in Xero's editor.
MOVED_TAX_ALERT = Decimal("0.05")
#: By how much a CRM's tax rate, in percent, may differ from Xero's.
RATE_TOLERANCE = Decimal("0.0001")
#: Quantities and prices from here on are refused before they are multiplied.
_ABSURD = Decimal(10) ** 13

#: What a document with a negative total should be instead.
_OPPOSITE = {
    Kind.INVOICE: Kind.CREDIT_NOTE,
    Kind.QUOTE: Kind.CREDIT_NOTE,
    Kind.CREDIT_NOTE: Kind.INVOICE,
    Kind.BILL: Kind.SUPPLIER_CREDIT,
    Kind.PURCHASE_ORDER: Kind.SUPPLIER_CREDIT,
    Kind.SUPPLIER_CREDIT: Kind.BILL,
}

#: Answers the one TaxType with the same components as a tax set of the CRM, or None.
#: A callable is given the combined rate in percent too.
TaxTypes = Mapping[tuple[Tax, ...], TaxType] | Callable[[tuple[Tax, ...], Decimal], TaxType | None]


class Form(StrEnum):
    """How a line is written so that Xero's arithmetic gives its amount."""

    AS_ENTERED = "a"  #: quantity and price as the CRM has them
    DISCOUNT_RATE = "b"  #: with Xero's own DiscountRate, where nothing is rounded
    FITTED_PRICE = "c"  #: a price of four places that gives the amount
    SINGLE = "d"  #: quantity 1; the real quantity and price go into the description
    CORRECTED = "d'"  #: stock-tracked: the real quantity (to four places), and a correction line


class RefusalCode(StrEnum):
    """Why a document isn't sent."""

    NO_TAX_TYPE = "no tax type"
    TAX_RATE_DIFFERS = "tax rate differs"
    TOO_LARGE = "too large"
    NEGATIVE_TOTAL = "negative total"
    NO_WITHHELD_ACCOUNT = "no account for withheld tax"
    SUBTOTAL_DIFFERS = "subtotal differs"
    TOTAL_DIFFERS = "total differs"
    NO_ROUNDING_ACCOUNT = "no rounding account"
    NOT_PROVED = "not proved"


@dataclass(frozen=True, slots=True)
class PlannedLine:
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


@dataclass(frozen=True, slots=True)
class MoneyPlan:
    """Lines from which Xero counts exactly these totals."""

    lines: tuple[PlannedLine, ...]
    subtotal: Decimal
    total_tax: Decimal
    total: Decimal
    #: Sum of what was moved from Xero's own tax amounts, line by line, without sign.
    moved_tax: Decimal

    @property
    def raises_alert(self) -> bool:
        """Whether Xero's editor will remark on the tax amounts."""
        return self.moved_tax > MOVED_TAX_ALERT


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the document can't be sent to the cent, in words for a person."""

    code: RefusalCode
    sentence: str


@dataclass(frozen=True, slots=True)
class XeroTotals:
    """A document as Xero counts it; `moved_tax` is how far TaxAmounts are from its own."""

    line_amounts: tuple[Decimal, ...]
    tax_amounts: tuple[Decimal, ...]
    subtotal: Decimal
    total_tax: Decimal
    total: Decimal
    moved_tax: Decimal


@exactly
def xero_totals(lines: Iterable[PlannedLine], *, amounts: Amounts) -> XeroTotals:
    """Count `lines` as Xero does with unitdp=4 (developer.xero.com, "Rounding in Xero").

    1. Line amount = quantity * unit amount * (100 - discount rate) / 100, half up to cents.
    2. Tax per line, half up to cents, on (or inside) the line amount; a TaxAmount replaces it.
    3. Subtotal and tax are sums; inclusive amounts contain their tax.
    """
    made: list[Decimal] = []
    taxes: list[Decimal] = []
    moved = ZERO
    for line in lines:
        amount = line.quantity * to_unit(line.unit_amount)
        if line.discount_rate:
            amount = amount * (HUNDRED - line.discount_rate) / HUNDRED
        amount = cents(amount)
        own = cents(tax_of(amount, line.tax_type.rate, amounts=amounts))
        given = None if amounts is Amounts.NO_TAX else line.tax_amount
        tax = own if given is None else cents(given)
        moved += abs(tax - own)
        made.append(amount)
        taxes.append(tax)
    total_tax = sum(taxes, ZERO)
    subtotal = sum(made, ZERO)
    if amounts is Amounts.INCLUSIVE:
        subtotal -= total_tax
    return XeroTotals(tuple(made), tuple(taxes), subtotal, total_tax, subtotal + total_tax, moved)


@exactly
def plan(
    document: Document,
    *,
    tax_types: TaxTypes,
    rounding_account: str | None = None,
    withheld_account: str | None = None,
    rounding_limit: Decimal = Decimal("0.05"),
    pinned: bool = False,
) -> MoneyPlan | Refusal:
    """Lines whose total in Xero is the CRM's total in cents, or the reason there are none.

    1. Map every tax set to its TaxType; refuse without one, or if the rates differ.
    2. Take the document apart into exact entries, both ways a CRM counts: rounding nothing,
       and rounding every step. Keep the way that gives the document's own subtotal.
    3. Round the entries; the cents missing from the subtotal go by largest remainder, at
       most one an entry.
    4. Tax them as Xero would; share the CRM's total tax out over them if it follows from
       the rates, one cent a line, twice at most.
    5. Write each line in the first form that gives its amount: a, b, c, then d or d'.
    6. Close what is left, up to `rounding_limit`, by one untaxed line; refuse above it.
    7. Count the lines as Xero will: anything but the total meant is refused.

    Discount and adjustment lines carry no key: the caller gives them accounts by their kind.
    `withheld_account` and `rounding_account` (Xero's SystemAccount ROUNDING) become keys.
    `pinned` writes every line in form d or d', for a second try after Xero rounded a half
    cent the other way. The caller puts `note` into the description.
    """
    if not all(number.is_finite() and abs(number) < _ABSURD for number in _numbers(document)):
        return _too_large(_ABSURD)
    rates = _rates(document, tax_types)
    if isinstance(rates, Refusal):
        return rates
    total = cents(document.total)
    if refusal := _unfit(document, total, withheld_account):
        return refusal
    entries, target = entries_and_subtotal(document, rates, total)
    off = target - sum(entry.exact for entry in entries)
    if abs(off) > HALF_CENT * (2 * len(document.lines) + 3):
        if document.amounts is not Amounts.INCLUSIVE and document.pre_tax_total is not None:
            return _subtotal_differs(target, off)
        target = sum((cents(entry.exact) for entry in entries), ZERO)
    movable = [bool(entry.exact) and entry.kind not in STATED for entry in entries]
    nets = apportion([entry.exact for entry in entries], target, movable=movable)
    if any(abs(net) > LARGEST_AMOUNT for net in nets):
        return _too_large(LARGEST_AMOUNT)
    meant = meant_tax(document, total, target)
    taxes = taxes_of(document, entries, nets, rates, meant)
    lines: list[PlannedLine] = []
    for entry, net, tax in zip(entries, nets, taxes, strict=True):
        if entry.kind is LineKind.WITHHELD:
            entry = entry._replace(key=withheld_account)
        if net or entry.kind is LineKind.LINE:
            lines += _lines(document, entry, net, tax, rates[entry.tax_set].tax_type, pinned)
    return _closed(document, lines, total, rounding_account, rounding_limit)


def _numbers(document: Document) -> Iterator[Decimal]:
    """Every number of the document, for the one check that must come before arithmetic."""
    yield from (document.total, document.adjustment, document.deducted)
    yield document.pre_tax_total or ZERO
    yield from (charge.amount for charge in document.charges)
    if document.header_discount is not None:
        yield from (document.header_discount.rate or ZERO, document.header_discount.amount or ZERO)
    for line in document.lines:
        yield from (line.quantity, line.unit_price)
        yield from (line.discount_rate or ZERO, line.discount_amount or ZERO)


def _rates(document: Document, tax_types: TaxTypes) -> Rates | Refusal:
    """Every tax set of the document with its rate and TaxType; () is always there."""
    parts: tuple[DocumentLine | Charge, ...] = (*document.lines, *document.charges)
    sets = dict.fromkeys(part.tax_set for part in parts)
    rates: Rates = {(): Rate(Decimal(0), UNTAXED)}
    for tax_set in sets:
        if document.amounts is Amounts.NO_TAX:
            rates[tax_set] = rates[()]
            continue
        rate = combined_rate(tax_set)
        if isinstance(tax_types, Mapping):
            found = tax_types.get(tax_set)
        else:
            found = tax_types(tax_set, rate)
        if found is None and tax_set:
            names = " + ".join(tax.name for tax in tax_set)
            return Refusal(
                RefusalCode.NO_TAX_TYPE,
                f"No tax rate of Xero is chosen for {names} ({_short(rate)} %). Choose one with "
                "the same parts in the tax mapping, or add it in Xero first.",
            )
        found = found or UNTAXED
        if abs(rate - found.rate) > RATE_TOLERANCE:
            names = " + ".join(tax.name for tax in tax_set) or "no tax"
            return Refusal(
                RefusalCode.TAX_RATE_DIFFERS,
                f"The CRM's {names} is {_short(rate)} %, Xero's {found.code} is "
                f"{_short(found.rate)} %. Choose another in the tax mapping.",
            )
        rates[tax_set] = Rate(rate, found)
    return rates


def _unfit(document: Document, total: Decimal, withheld_account: str | None) -> Refusal | None:
    """The reasons that need no arithmetic."""
    for line in document.lines:
        if line.stock_tracked and not _sendable(to_unit(line.quantity)):
            return Refusal(
                RefusalCode.TOO_LARGE,
                f"The quantity {_short(line.quantity)} is longer than the {LONGEST_QUANTITY} "
                "characters Xero takes. Split the line.",
            )
    if total < 0:
        other = _OPPOSITE[document.kind]
        article = "an" if other is Kind.INVOICE else "a"
        return Refusal(
            RefusalCode.NEGATIVE_TOTAL,
            f"The total is {total}, and Xero takes no negative {document.kind}: "
            f"send it as {article} {other}.",
        )
    if document.deducted and withheld_account is None:
        return Refusal(
            RefusalCode.NO_WITHHELD_ACCOUNT,
            f"{cents(document.deducted)} of tax is withheld, and no account is named for it. "
            "Name the account for withheld tax in the sync profile.",
        )
    return None


def _too_large(limit: Decimal) -> Refusal:
    return Refusal(
        RefusalCode.TOO_LARGE,
        f"A number is above {limit:,f}, more than Xero takes, or isn't a number at all. "
        "Correct the document.",
    )


def _subtotal_differs(target: Decimal, off: Decimal) -> Refusal:
    return Refusal(
        RefusalCode.SUBTOTAL_DIFFERS,
        f"The subtotal {target} does not follow from the lines, it differs by {cents(off)}. "
        "Open the document in the CRM and save it, so that its totals are counted again.",
    )


class _Written(NamedTuple):
    """A line's form and the numbers Xero is sent in it."""

    form: Form
    quantity: Decimal
    unit_amount: Decimal
    discount_rate: Decimal | None = None


def _write(line: DocumentLine, net: Decimal, kind: Kind, pinned: bool) -> _Written:
    """The first form in which Xero's own arithmetic makes `net` of the line."""
    quantity, price, rate = line.quantity, line.unit_price, line.discount_rate
    if _sendable(quantity) and not pinned:
        gross = quantity * price
        if fits_unit(price) and not line.discount_amount:
            if not rate and cents(gross) == net:
                return _Written(Form.AS_ENTERED, quantity, price)
            if kind in (Kind.INVOICE, Kind.QUOTE) and _exact_discount(gross, rate, net):
                return _Written(Form.DISCOUNT_RATE, quantity, price, rate)
        if quantity:
            unit = to_unit(net / quantity)
            if cents(quantity * unit) == net:
                return _Written(Form.FITTED_PRICE, quantity, unit)
    if line.stock_tracked:
        quantity = to_unit(quantity)
        unit = to_unit(net / quantity if quantity else price)
        return _Written(Form.CORRECTED, quantity, unit)
    return _Written(Form.SINGLE, ONE, net)


def _exact_discount(gross: Decimal, rate: Decimal | None, net: Decimal) -> bool:
    """Whether Xero's DiscountRate gives `net` without any rounding: it is kept to two places."""
    if not rate or not 0 < rate < HUNDRED or rate != cents(rate):
        return False
    return gross > 0 and gross * (HUNDRED - rate) / HUNDRED == net


def _lines(
    document: Document,
    entry: Entry,
    net: Decimal,
    tax: Decimal | None,
    tax_type: TaxType,
    pinned: bool,
) -> list[PlannedLine]:
    """The line, or two, that an entry becomes."""
    if entry.kind is not LineKind.LINE or entry.source is None:
        return [_planned(entry, _Written(Form.AS_ENTERED, ONE, net), net, tax, tax_type)]
    line = document.lines[entry.source]
    written = _write(line, net, document.kind, pinned)
    note = _note(line, written.form)
    if written.form is not Form.CORRECTED:
        return [_planned(entry, written, net, tax, tax_type, note=note, item=line.item_code)]
    made = cents(written.quantity * written.unit_amount)
    rest = net - made
    rest_tax = None
    if tax is not None:
        rest_tax = cents(tax_of(rest, tax_type.rate, amounts=document.amounts))
        own = cents(tax_of(made, tax_type.rate, amounts=document.amounts))
        # Two roundings meet here: keep the main line, too, within two cents of Xero's tax.
        main_tax = max(own - 2 * CENT, min(own + 2 * CENT, tax - rest_tax))
        tax, rest_tax = main_tax, tax - main_tax
    main = _planned(entry, written, made, tax, tax_type, note=note, item=line.item_code)
    if not rest and not rest_tax:
        return [main]
    entry = entry._replace(kind=LineKind.CORRECTION)
    written = _Written(Form.CORRECTED, ONE, rest)
    return [main, _planned(entry, written, rest, rest_tax, tax_type, note=f"correction: {note}")]


def _planned(
    entry: Entry,
    written: _Written,
    net: Decimal,
    tax: Decimal | None,
    tax_type: TaxType,
    *,
    note: str = "",
    item: str | None = None,
) -> PlannedLine:
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


def _note(line: DocumentLine, form: Form) -> str:
    """What the numbers sent no longer say: "10.00 less 5 %", "1000 × 0.061171"."""
    if form is Form.AS_ENTERED:
        return ""
    price = _price(line.unit_price)
    times = f"{_short(line.quantity)} × {price}"
    if line.discount_amount:
        return f"{times} less {_price(line.discount_amount)}"
    if not line.discount_rate:
        return times
    said = price if form in (Form.DISCOUNT_RATE, Form.FITTED_PRICE) else times
    return f"{said} less {_short(line.discount_rate)} %"


def _price(value: Decimal) -> str:
    return f"{value:.2f}" if value == cents(value) else _short(value)


def _short(value: Decimal) -> str:
    """`value` without trailing zeros and without an exponent."""
    return f"{value.normalize():f}"


def _sendable(quantity: Decimal) -> bool:
    return fits_unit(quantity) and len(_short(quantity)) <= LONGEST_QUANTITY


def _closed(
    document: Document,
    lines: list[PlannedLine],
    total: Decimal,
    rounding_account: str | None,
    rounding_limit: Decimal,
) -> MoneyPlan | Refusal:
    """The plan with its rounding line, counted as Xero will count it."""
    counted = xero_totals(lines, amounts=document.amounts)
    if rest := total - counted.total:
        if abs(rest) > rounding_limit:
            return _total_differs(document, lines, total, counted.total)
        if rounding_account is None:
            return Refusal(
                RefusalCode.NO_ROUNDING_ACCOUNT,
                f"{rest} is left over by rounding, and Xero's rounding account isn't known. "
                "Read the accounts from Xero again, or name the account in the sync profile.",
            )
        entry = Entry(LineKind.ROUNDING, rest, description="Rounding", key=rounding_account)
        written = _Written(Form.AS_ENTERED, ONE, rest)
        lines = [*lines, _planned(entry, written, rest, None, UNTAXED)]
        counted = xero_totals(lines, amounts=document.amounts)
    made = tuple(line.line_amount for line in lines)
    if counted.total != total or counted.line_amounts != made:
        return Refusal(
            RefusalCode.NOT_PROVED,
            f"Xero would count {counted.total} instead of {total}. This is a fault of the "
            "program: report it with the document's numbers.",
        )
    return MoneyPlan(tuple(lines), counted.subtotal, counted.total_tax, total, counted.moved_tax)


def _total_differs(
    document: Document, lines: list[PlannedLine], total: Decimal, made: Decimal
) -> Refusal:
    return Refusal(
        RefusalCode.TOTAL_DIFFERS,
        f"The total {total} differs from what the lines make, {made}, by {total - made}. "
        + _cause(document, lines, total - made),
    )


def _cause(document: Document, lines: list[PlannedLine], off: Decimal) -> str:
    """The CRM's own fault that explains `off`, with what to do about it."""

    def explains(fault: Decimal) -> bool:
        return bool(fault) and abs(off - fault) <= 5 * CENT

    negative = [line for line in lines if line.line_amount < 0 and line.source is not None]
    added = -2 * sum((line.tax_amount or ZERO for line in negative), ZERO)
    compound = [line for line in lines if any(tax.compound for tax in line.tax_set)]
    left_out, simple = ZERO, ZERO
    for line in compound:
        plain = [tax.rate for tax in line.tax_set if not tax.compound]
        every = [tax.rate for tax in line.tax_set]
        rate = combined_rate(line.tax_set)
        left_out += line.line_amount * (sum(plain, ZERO) - rate) / HUNDRED
        simple += line.line_amount * (sum(every, ZERO) - rate) / HUNDRED
    individual = document.tax_mode is TaxMode.INDIVIDUAL
    if individual and explains(added):
        return (
            "The CRM added the tax of a negative line instead of taking it off. "
            "Split the document: put the negative line on a document of its own."
        )
    if individual and (explains(left_out) or explains(simple)):
        return (
            "The CRM left the compound tax out of its total. "
            "Open the document in the CRM and save it, then it is counted."
        )
    if explains(document.deducted):
        return (
            "The CRM didn't take the withheld tax off its total. "
            "Open the document in the CRM and save it, then it is."
        )
    return (
        "Open the document in the CRM and save it, so that its totals are counted again; "
        "if they still differ, correct them there."
    )

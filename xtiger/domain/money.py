"""Lays out a CRM document as the lines from which Xero counts the very same total."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

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
    Entry,
    HeaderDiscount,
    Kind,
    LineKind,
    Rate,
    Rates,
    Tax,
    TaxMode,
    TaxType,
    apportion,
    cents,
    combined_rate,
    entries,
    entries_and_subtotal,
    exactly,
    meant_tax,
    tax_of,
    taxes_of,
    to_unit,
    unrounded,
)
from xtiger.domain.counting import DocumentTotals, RateTax, document_totals
from xtiger.domain.lineforms import (
    LARGEST_AMOUNT,
    LONGEST_QUANTITY,
    Form,
    PlannedLine,
    Written,
    note_of,
    planned,
    sendable,
    short,
    write,
)
from xtiger.domain.straight import straight

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

#: More than this moved from Xero's own tax in one document raises an alert in Xero's editor.
MOVED_TAX_ALERT = Decimal("0.05")
#: By how much a CRM's tax rate, in percent, may differ from Xero's.
RATE_TOLERANCE = Decimal("0.0001")
#: Quantities and prices from here on are refused before they are multiplied.
_ABSURD = Decimal(10) ** 13

#: The most that a rounding line is, unless the caller says otherwise.
_ROUNDING_LIMIT = Decimal("0.05")

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
    #: What would have been sent, where the reason came up only then.
    lines: tuple[PlannedLine, ...] = ()


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
            amount = amount * (HUNDRED - line.discount_rate) * CENT
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
    rounding_limit: Decimal = _ROUNDING_LIMIT,
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
    `withheld_account` and `rounding_account` (as a rule Xero's own) become keys.
    `pinned` writes every line in form d or d', for a second try after Xero rounded a half
    cent the other way. The caller puts `note` into the description.
    """
    for number in _numbers(document):
        if not (number.is_finite() and -_ABSURD < number < _ABSURD):
            return _too_large(_ABSURD)
    rates = _rates(document, tax_types)
    if isinstance(rates, Refusal):
        return rates
    total = cents(document.total)
    if refusal := _unfit(document, total, withheld_account):
        return refusal
    if not pinned and (short_way := straight(document, rates, total)) is not None:
        made, moved = short_way
        subtotal = sum((line.line_amount for line in made), ZERO)
        return MoneyPlan(tuple(made), subtotal, total - subtotal, total, moved)
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


@exactly
def crm_entries(document: Document, tax_types: TaxTypes) -> list[Entry]:
    """The document's parts as the CRM counts them, exact; lines first, in their order.

    Of the two ways a CRM counts, the one that is nearer to the document's own subtotal.
    """
    rates = _rates(document, tax_types)
    if isinstance(rates, Refusal):
        return entries(document, unrounded)
    return entries_and_subtotal(document, rates, cents(document.total))[0]


def _numbers(document: Document) -> list[Decimal]:
    """Every number of the document, for the one check that must come before arithmetic."""
    found = [document.total, document.adjustment, document.deducted]
    found += [document.pre_tax_total or ZERO, *(charge.amount for charge in document.charges)]
    if document.header_discount is not None:
        found += [document.header_discount.rate or ZERO, document.header_discount.amount or ZERO]
    for line in document.lines:
        found += (line.quantity, line.unit_price)
        if line.discount_rate is not None:
            found.append(line.discount_rate)
        if line.discount_amount is not None:
            found.append(line.discount_amount)
    return found


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
                f"No tax rate of Xero is chosen for {names} ({short(rate)} %). Choose one with "
                "the same parts in the tax mapping, or add it in Xero first.",
            )
        found = found or UNTAXED
        if abs(rate - found.rate) > RATE_TOLERANCE:
            names = " + ".join(tax.name for tax in tax_set) or "no tax"
            return Refusal(
                RefusalCode.TAX_RATE_DIFFERS,
                f"The CRM's {names} is {short(rate)} %, Xero's {found.code} is "
                f"{short(found.rate)} %. Choose another in the tax mapping.",
            )
        rates[tax_set] = Rate(rate, found)
    return rates


def _unfit(document: Document, total: Decimal, withheld_account: str | None) -> Refusal | None:
    """The reasons that need no arithmetic."""
    for line in document.lines:
        if line.stock_tracked and not sendable(to_unit(line.quantity)):
            return Refusal(
                RefusalCode.TOO_LARGE,
                f"The quantity {short(line.quantity)} is longer than the {LONGEST_QUANTITY} "
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
            "Name the account for withheld tax in the mapping, under Amounts and taxes.",
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
        return [planned(entry, Written(Form.AS_ENTERED, ONE, net), net, tax, tax_type)]
    line = document.lines[entry.source]
    written = write(line, net, document.kind, pinned)
    note = note_of(line, written.form)
    if written.form is not Form.CORRECTED:
        return [planned(entry, written, net, tax, tax_type, note=note, item=line.item_code)]
    made = cents(written.quantity * written.unit_amount)
    rest = net - made
    rest_tax = None
    if tax is not None:
        rest_tax = cents(tax_of(rest, tax_type.rate, amounts=document.amounts))
        own = cents(tax_of(made, tax_type.rate, amounts=document.amounts))
        # Two roundings meet here: keep the main line, too, within two cents of Xero's tax.
        main_tax = max(own - 2 * CENT, min(own + 2 * CENT, tax - rest_tax))
        tax, rest_tax = main_tax, tax - main_tax
    main = planned(entry, written, made, tax, tax_type, note=note, item=line.item_code)
    if not rest and not rest_tax:
        return [main]
    entry = entry._replace(kind=LineKind.CORRECTION)
    written = Written(Form.CORRECTED, ONE, rest)
    return [main, planned(entry, written, rest, rest_tax, tax_type, note=f"correction: {note}")]


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
                "Read the accounts from Xero again, or name one in the mapping, under Amounts "
                "and taxes.",
                tuple(lines),
            )
        entry = Entry(LineKind.ROUNDING, rest, description="Rounding", key=rounding_account)
        written = Written(Form.AS_ENTERED, ONE, rest)
        lines = [*lines, planned(entry, written, rest, None, UNTAXED)]
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
        tuple(lines),
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

"""Documents as Xero takes them: header, lines booked and taxed, and totals equal to the CRM's."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from xtiger.domain.apportion import CENT, UNIT, ZERO, cents, exactly
from xtiger.domain.hints import Fault
from xtiger.domain.lineforms import LARGEST_AMOUNT, note_of, write
from xtiger.domain.money import (
    Amounts,
    Document,
    DocumentLine,
    Kind,
    PlannedLine,
    Refusal,
    Tax,
    plan,
)
from xtiger.domain.payloads import Booking, Built
from xtiger.domain.preflight import LINE_TARGETS
from xtiger.domain.records import DocumentType
from xtiger.domain.resources import XERO_TYPE
from xtiger.domain.straight import shared_taxes
from xtiger.domain.transforms import as_text, plain

if TYPE_CHECKING:
    from xtiger.domain.mapping import Build

#: What CRMs call the three ways of amounts, and Xero's own words.
_AMOUNTS = {
    "": Amounts.EXCLUSIVE,
    "exclusive": Amounts.EXCLUSIVE,
    "inclusive": Amounts.INCLUSIVE,
    "no tax": Amounts.NO_TAX,
    "notax": Amounts.NO_TAX,
}
#: The rate of a line without tax.
_NO_RATE = Decimal(0)
_LONGEST = LINE_TARGETS["Description"].longest
#: Quantities below it are short enough for Xero in four places: see `lineforms.sendable`.
_SHORT = Decimal(10) ** 7


class _Lines(NamedTuple):
    """A document's lines as Xero takes them, and the totals that Xero makes of them."""

    items: list[dict[str, Any]]
    subtotal: Decimal
    total_tax: Decimal
    total: Decimal


def document(build: Build) -> Built | None:
    """An invoice or a bill, whose lines come from the money rules; None: faults were noted."""
    context, record, money = build.context, build.record, build.template.money
    if build.waits_for_parents():
        return None
    made = build.run(build.mapper.steps, build.values(record.fields))
    word = as_text(record.fields.get(money.amounts)).strip().lower()
    amounts = _AMOUNTS.get(word)
    total = build.number(record.fields, money.total, "")
    subtotal = build.number(record.fields, money.subtotal, "")
    if amounts is None:
        build.fault("LineAmountTypes", "amounts-unknown", word=word)
    if total is None and not build.faults:
        build.fault("Total", "total-missing")
    if not record.lines:
        build.fault("LineItems", "lines-missing")
    if amounts is None or total is None:
        # Everything that is wrong is told at once.
        for place in range(len(record.lines)):
            _line(build, place, amounts)
        return None
    lines = None
    if amounts is Amounts.EXCLUSIVE and subtotal is not None and not context.pinned:
        lines = _at_once(build, total, subtotal)
    if lines is None:
        lines = _planned(build, total, subtotal, amounts)
    if lines is None or build.faults:
        return None
    xero_type = XERO_TYPE[build.kind]
    payload: dict[str, Any] = {"Type": xero_type}
    if context.xero_id:
        payload["InvoiceID"] = context.xero_id
    payload |= made
    if context.record_url and context.record_url.lower().startswith(("http://", "https://")):
        payload["Url"] = context.record_url
    payload["Status"] = context.target_status
    payload["LineAmountTypes"] = amounts.value
    payload["LineItems"] = lines.items
    meant = {
        "Type": xero_type,
        "Status": context.target_status,
        "SubTotal": lines.subtotal,
        "TotalTax": lines.total_tax,
        "Total": lines.total,
    }
    currency = payload.get("CurrencyCode") or build.facts.currency or None
    return Built(payload, meant, lines.total, currency)


# -- the long way: any document ---------------------------------------------------------------


def _planned(
    build: Build, total: Decimal, subtotal: Decimal | None, amounts: Amounts
) -> _Lines | None:
    """The lines that the money rules plan, or a fault in their own words.

    The plan only needs a rate's TaxType to know its percentage; which one each line is
    booked on depends on the line's account too, and travels in the line's key.
    """
    lines = [_line(build, place, amounts) for place in range(len(build.record.lines))]
    if build.faults:
        return None
    known = tuple(line for line in lines if line is not None)
    found = plan(
        Document(
            kind=Kind.INVOICE if build.kind is DocumentType.INVOICE else Kind.BILL,
            lines=known,
            total=total,
            pre_tax_total=subtotal,
            amounts=amounts,
        ),
        tax_types={line.tax_set: line.key.tax for line in known if isinstance(line.key, Booking)},
        rounding_account=build.facts.rounding_account,
        pinned=build.context.pinned,
    )
    if isinstance(found, Refusal):
        code = found.code.value.replace(" ", "-")
        build.faults.append(Fault("LineItems", found.sentence, f"money:{code}"))
        return None
    items = [_line_item(line) for line in found.lines]
    return _Lines(items, found.subtotal, found.total_tax, found.total)


def _line(build: Build, place: int, amounts: Amounts | None) -> DocumentLine | None:
    """One line for the money rules, with its account and tax rate."""
    values, money = build.record.lines[place], build.template.money
    where, before = f"Line {place + 1}, ", len(build.faults)
    made = build.run(build.mapper.line_steps, build.values(values), "LineItems.")
    quantity = build.number(values, money.quantity, where)
    price = build.number(values, money.unit_price, where)
    discount = build.number(values, money.discount, where)
    percent = build.number(values, money.tax_rate, where)
    if len(build.faults) > before:
        return None
    if quantity is None or price is None:
        what = "quantity" if quantity is None else "price"
        build.fault("LineItems", "number-missing", line=str(place + 1), what=what)
        return None
    rate = (percent if amounts is not Amounts.NO_TAX else None) or _NO_RATE
    booking = build.booking(made["AccountCode"], rate, made.get("TaxType"), amounts)
    if booking is None:
        return None
    parent = build.parent_of(values)
    return DocumentLine(
        quantity,
        price,
        (Tax("CRM tax", rate),) if rate else (),
        discount or None,
        None,
        made.get("Description") or (parent.label if parent else "") or build.record.label,
        made.get("ItemCode"),
        bool(parent and parent.stock_tracked),
        booking,
    )


def _line_item(line: PlannedLine) -> dict[str, Any]:
    """A planned line as Xero takes it: never LineAmount, never DiscountAmount."""
    note = f" ({line.note})" if line.note else ""
    item: dict[str, Any] = {
        "Description": line.description[: _LONGEST - len(note)] + note,
        "Quantity": plain(line.quantity),
        "UnitAmount": plain(line.unit_amount),
    }
    if line.discount_rate:
        item["DiscountRate"] = plain(line.discount_rate)
    if line.item_code:
        item["ItemCode"] = line.item_code
    booking = line.key
    if isinstance(booking, Booking):
        item["AccountCode"], item["TaxType"] = booking.account, booking.tax.code
    else:
        item["AccountCode"], item["TaxType"] = str(booking), line.tax_type.code
    if line.tax_amount is not None:
        item["TaxAmount"] = line.tax_amount
    return item


# -- the short way: a document whose own figures agree, as nearly all do ----------------------


@exactly
def _at_once(build: Build, total: Decimal, stated: Decimal) -> _Lines | None:
    """The very lines that the long way makes, without its stops; None: go the long way.

    It takes exclusive lines whose amounts in cents make the document's own subtotal and whose
    taxes, set by set, its own tax, as `straight` does. Anything else, a fault too, is left to
    the long way, which has the words for it; a test holds the two ways against each other.
    """
    before = len(build.faults)
    try:
        lines = _short_lines(build, total, stated)
    except InvalidOperation:  # a number that is none
        lines = None
    if lines is None or len(build.faults) > before:
        del build.faults[before:]
        return None
    return lines


def _short_lines(build: Build, total: Decimal, stated: Decimal) -> _Lines | None:
    names = build.template.money
    quantity_in, price_in, discount_in = names.quantity, names.unit_price, names.discount
    rate_in, sells = names.tax_rate, build.kind is DocumentType.INVOICE
    bookings, label = build.memory.bookings, build.record.label
    items: list[dict[str, Any]] = []
    nets: list[Decimal] = []
    sets: dict[Decimal, list[int]] = {}
    subtotal = ZERO
    for place, values in enumerate(build.record.lines):
        quantity, price = values.get(quantity_in), values.get(price_in)
        less, rate = values.get(discount_in), values.get(rate_in) or _NO_RATE
        if (
            type(quantity) is not Decimal
            or type(price) is not Decimal
            or type(rate) is not Decimal
            or not -_SHORT < quantity < _SHORT
            or not -LARGEST_AMOUNT < price < LARGEST_AMOUNT
        ):
            return None
        net = quantity * price
        if less:
            if type(less) is not Decimal:
                return None
            net -= net * less * CENT
        net = net.quantize(CENT, ROUND_HALF_UP) or ZERO
        if not -LARGEST_AMOUNT <= net <= LARGEST_AMOUNT:
            return None
        made = build.line(values)
        if (code := made.get("AccountCode")) is None:
            return None
        key = code, rate, made.get("TaxType"), False
        booking = bookings.get(key) or build.booking(code, rate, key[2], Amounts.EXCLUSIVE)
        parent = build.parent_of(values)
        if booking is None or booking.tax.rate != rate or (parent and parent.stock_tracked):
            return None
        said = made.get("Description") or (parent.label if parent else "") or label
        percent = None
        if (
            less
            or quantity.quantize(UNIT, ROUND_HALF_UP) != quantity
            or price.quantize(UNIT, ROUND_HALF_UP) != price
        ):
            line = DocumentLine(quantity, price, (), less or None)
            form, quantity, price, percent = write(
                line, net, Kind.INVOICE if sells else Kind.BILL, False
            )
            if note := note_of(line, form):
                said = f"{said[: _LONGEST - len(note) - 3]} ({note})"
        item: dict[str, Any] = {
            "Description": said[:_LONGEST],
            "Quantity": plain(quantity),
            "UnitAmount": plain(price),
        }
        if percent:
            item["DiscountRate"] = plain(percent)
        if item_code := made.get("ItemCode"):
            item["ItemCode"] = item_code
        item["AccountCode"] = booking.account
        item["TaxType"] = booking.tax.code
        items.append(item)
        nets.append(net)
        subtotal += net
        if rate:
            if rate in sets:
                sets[rate].append(place)
            else:
                sets[rate] = [place]
    total = cents(total)
    if not items or total < 0 or subtotal != cents(stated):
        return None
    total_tax = ZERO
    for rate, places in sets.items():
        shared = shared_taxes([nets[place] for place in places], rate)
        if shared is None:
            return None
        taxes, _, whole = shared
        total_tax += whole
        for place, tax in zip(places, taxes, strict=True):
            items[place]["TaxAmount"] = tax
    if subtotal + total_tax != total:
        return None
    return _Lines(items, subtotal, total_tax, total)

"""Documents as Xero takes them: header, lines booked and taxed, and totals equal to the CRM's."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from xtiger.domain.apportion import CENT, UNIT, ZERO, cents, exactly
from xtiger.domain.extras import (
    Extras,
    extras_of,
    known_parts,
    plain_document,
    same_discount,
    tax_set_of,
)
from xtiger.domain.hints import Fault
from xtiger.domain.lineforms import LARGEST_AMOUNT, Form, less_percent, note_of, short, write
from xtiger.domain.money import (
    Amounts,
    Charge,
    Document,
    DocumentLine,
    Kind,
    LineKind,
    MoneyPlan,
    PlannedLine,
    Refusal,
    Tax,
    TaxType,
    combined_rate,
    plan,
)
from xtiger.domain.payloads import Booking, Built, Tracking
from xtiger.domain.records import DocumentType, RecordRef
from xtiger.domain.resources import XERO_TYPE
from xtiger.domain.straight import shared_taxes
from xtiger.domain.targets import LINE_TARGETS
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
#: The most places that a CRM rounds to.
_MOST_DECIMALS = 8
#: Quantities below it are short enough for Xero in four places: see `lineforms.sendable`.
_SHORT = Decimal(10) ** 7
_LEAST, _LEAST_AMOUNT = -_SHORT, -LARGEST_AMOUNT


class _Lines(NamedTuple):
    """A document's lines as Xero takes them, and the totals that Xero makes of them."""

    items: list[dict[str, Any]]
    subtotal: Decimal
    total_tax: Decimal
    total: Decimal


def document(build: Build) -> Built | None:
    """An invoice or a bill, whose lines come from the money rules; None: faults were noted."""
    context, record = build.context, build.record
    if build.waits_for_parents():
        return None
    made = build.run(build.mapper.steps, build.values(record.fields))
    amounts, total, subtotal = stated(build)
    if amounts is None or total is None:
        # Everything that is wrong is told at once.
        for place in range(len(record.lines)):
            _line(build, place, amounts)
        return None
    lines = None
    at_once = amounts is Amounts.EXCLUSIVE and not context.pinned and plain_document(build)
    if at_once and subtotal is not None:
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


def stated(build: Build) -> tuple[Amounts | None, Decimal | None, Decimal | None]:
    """What the record says of itself: what its amounts are, its total, and that without tax.

    A fault is noted where one of the first two isn't known, or where it has no lines.
    """
    record, money = build.record, build.template.money
    word = record.fields.get(money.amounts)
    amounts = _AMOUNTS.get(word) if type(word) is str else None
    if amounts is None:
        amounts = _AMOUNTS.get(as_text(word).strip().lower())
    total = build.number(record.fields, money.total, "")
    subtotal = build.number(record.fields, money.subtotal, "")
    if amounts is None:
        word = as_text(word).strip().lower()
        build.fault("LineAmountTypes", "amounts-unknown", word=word)
    if total is None and not build.faults:
        build.fault("Total", "total-missing")
    if not record.lines:
        build.fault("LineItems", "lines-missing")
    return amounts, total, subtotal


# -- the long way: any document ---------------------------------------------------------------


def _planned(
    build: Build, total: Decimal, subtotal: Decimal | None, amounts: Amounts
) -> _Lines | None:
    """The lines that the money rules plan, or a fault in their own words."""
    reading = read(build, total, subtotal, amounts)
    if reading is None:
        return None
    found = reading.plan(build)
    if isinstance(found, Refusal):
        code = found.code.value.replace(" ", "-")
        build.faults.append(Fault("LineItems", found.sentence, f"money:{code}"))
        return None
    items = [_line_item(build, line, reading.extras) for line in found.lines]
    return _Lines(items, found.subtotal, found.total_tax, found.total)


class Reading(NamedTuple):
    """A record as the money rules read it, with what its parts are booked on."""

    document: Document
    extras: Extras
    tax_types: Mapping[tuple[Tax, ...], TaxType]

    def plan(self, build: Build) -> MoneyPlan | Refusal:
        """The lines to send, or why there are none."""
        money = build.template.money
        return plan(
            self.document,
            tax_types=self.tax_types,
            rounding_account=money.rounding_account or build.facts.rounding_account,
            withheld_account=self.extras.withheld_account,
            rounding_limit=money.most_rounded,
            pinned=build.context.pinned,
        )


def read(
    build: Build, total: Decimal, subtotal: Decimal | None, amounts: Amounts
) -> Reading | None:
    """The record's money, whole; None: faults were noted.

    The plan only needs a rate's TaxType to know its percentage; which one each line is
    booked on depends on the line's account too, and travels in the line's key.
    """
    lines = [_line(build, place, amounts) for place in range(len(build.record.lines))]
    if build.faults:
        return None
    known = tuple(line for line in lines if line is not None)
    extras = extras_of(build, known, amounts)
    decimals = _decimals(build)
    if extras is None or decimals is None:
        return None
    parts: list[DocumentLine | Charge] = [*known, *extras.charges]
    document = Document(
        kind=Kind.INVOICE if build.kind is DocumentType.INVOICE else Kind.BILL,
        lines=known,
        total=total,
        pre_tax_total=subtotal,
        tax_mode=extras.tax_mode,
        amounts=amounts,
        header_discount=extras.header_discount,
        charges=extras.charges,
        adjustment=extras.adjustment,
        deducted=extras.withheld,
        decimals=decimals,
    )
    types = {part.tax_set: part.key.tax for part in parts if isinstance(part.key, Booking)}
    return Reading(document, extras, types)


def _decimals(build: Build) -> int | None:
    """To how many places the CRM rounds; None: a fault was noted."""
    value = build.record.fields.get(build.template.money.decimals)
    if value is None or value == "":
        return 2
    text = as_text(value).strip()
    if text.isdecimal() and len(text) == 1 and int(text) <= _MOST_DECIMALS:
        return int(text)
    build.fault("LineItems", "decimals-wrong", value=text)
    return None


def _line(build: Build, place: int, amounts: Amounts | None) -> DocumentLine | None:
    """One line for the money rules, with its account and tax rate."""
    values, money = build.record.lines[place], build.template.money
    where, before = f"Line {place + 1}, ", len(build.faults)
    made = build.run(build.mapper.line_steps, build.values(values), "LineItems.")
    quantity = build.number(values, money.quantity, where)
    price = build.number(values, money.unit_price, where)
    discount = build.number(values, money.discount, where)
    off = build.number(values, money.discount_amount, where)
    taxes = tax_set_of(build, values, where, amounts)
    if len(build.faults) > before:
        return None
    if quantity is None or price is None:
        what = "quantity" if quantity is None else "price"
        build.fault("LineItems", "number-missing", line=str(place + 1), what=what)
        return None
    if discount and off:
        if not same_discount(quantity * price, discount, off):
            build.fault("LineItems", "discount-twice", line=str(place + 1))
            return None
        off = None
    rate = combined_rate(taxes)
    tracking = build.tracking(made)
    booking = build.booking(
        made["AccountCode"], rate, made.get("TaxType"), amounts, known_parts(taxes)
    )
    if booking is None or len(build.faults) > before:
        return None
    if tracking:
        booking = booking._replace(tracking=tracking)
    parent = build.parent_of(values)
    return DocumentLine(
        quantity,
        price,
        taxes,
        discount or None,
        off or None,
        made.get("Description") or (parent.label if parent else "") or build.record.label,
        made.get("ItemCode"),
        bool(parent and parent.stock_tracked),
        booking,
    )


def _line_item(build: Build, line: PlannedLine, extras: Extras) -> dict[str, Any]:
    """A planned line as Xero takes it: never LineAmount, never DiscountAmount."""
    note = f" ({line.note})" if line.note else ""
    booking = line.key
    if line.kind is LineKind.DISCOUNT:
        booking = extras.discounts.get(line.tax_set)
        if extras.header_discount is not None and extras.header_discount.rate:
            note = f" {short(extras.header_discount.rate)} %"
    elif line.kind is LineKind.ADJUSTMENT:
        booking = extras.adjusted
    item: dict[str, Any] = {
        "Description": line.description[: _LONGEST - len(note)] + note,
        "Quantity": plain(line.quantity),
        "UnitAmount": plain(line.unit_amount),
    }
    if line.discount_rate:
        item["DiscountRate"] = plain(line.discount_rate)
    if line.item_code:
        item["ItemCode"] = line.item_code
    tracking: Tracking = ()
    if isinstance(booking, Booking):
        item["AccountCode"], item["TaxType"] = booking.account, booking.tax.code
        tracking = booking.tracking
    else:
        item["AccountCode"], item["TaxType"] = str(booking), build.facts.untaxed.code
    if line.tax_amount is not None:
        item["TaxAmount"] = line.tax_amount
    if tracking:
        item["Tracking"] = list(tracking)
    return item


# -- the short way: a document whose own figures agree, as nearly all do ----------------------


@exactly
def _at_once(build: Build, total: Decimal, stated: Decimal) -> _Lines | None:
    """The very lines that the long way makes, without its stops; None: go the long way.

    It takes a plain document's exclusive lines, each of one tax, whose amounts in cents make the
    document's own subtotal and whose taxes, set by set, its own tax, as `straight` does.
    Anything else, a fault too, is left to the long way, which has the words for it; a test holds
    the two ways against each other.
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
    kind = Kind.INVOICE if sells else Kind.BILL
    off_in, taxes_in = names.discount_amount, names.taxes
    label, parents = build.record.label, build.context.parents
    items: list[dict[str, Any]] = []
    nets: list[Decimal] = []
    # By search, not by hash: a document has one rate or two, and hashing a Decimal takes long.
    sets: list[tuple[Decimal, list[int]]] = []
    booked, tracks = build.memory.booked, bool(build.mapper.tracked)
    tracked: list[tuple[dict[str, Any], Tracking]] = []
    subtotal = ZERO
    for place, values in enumerate(build.record.lines):
        get = values.get
        quantity, price = get(quantity_in), get(price_in)
        less, rate = get(discount_in), get(rate_in) or _NO_RATE
        if (
            get(off_in)
            or get(taxes_in)
            or type(quantity) is not Decimal
            or type(price) is not Decimal
            or type(rate) is not Decimal
            or not _LEAST < quantity < _SHORT
            or not _LEAST_AMOUNT < price < LARGEST_AMOUNT
        ):
            return None
        exact = quantity * price
        if less:
            if type(less) is not Decimal:
                return None
            exact -= exact * less * CENT
        net = exact.quantize(CENT, ROUND_HALF_UP) or ZERO
        if not _LEAST_AMOUNT <= net <= LARGEST_AMOUNT:
            return None
        made = build.line(values)
        code, named = made.get("AccountCode"), made.get("TaxType")
        if code is None:
            return None
        booking = None
        for at, tax, found in booked.get(code, ()):
            if at == rate and tax == named:
                booking = found
                break
        else:
            booking = build.booking(code, rate, named, Amounts.EXCLUSIVE)
            if booking is None or booking.tax.rate != rate:
                return None
            booked.setdefault(code, []).append((rate, named, booking))
        link = next(iter(values.values()), None)
        parent = parents.get(link) if type(link) is RecordRef else build.parent_of(values)
        said = made.get("Description") or (parent.label if parent else "") or label
        percent = None
        fits = (
            quantity.quantize(UNIT, ROUND_HALF_UP) == quantity
            and price.quantize(UNIT, ROUND_HALF_UP) == price
        )
        if less or not fits:
            formed = None
            if less and fits:
                formed = less_percent(quantity, price, less, exact, net, sells)
            if formed is not None:
                price, percent, note = formed
            else:
                line = DocumentLine(quantity, price, (), less or None)
                line.stock_tracked = bool(parent and parent.stock_tracked)
                form, quantity, price, percent = write(line, net, kind, False)
                if form is Form.CORRECTED:
                    return None
                note = note_of(line, form)
            if note:
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
        if tracks:
            tracking = build.tracking(made)
            if tracking:
                tracked.append((item, tracking))
        items.append(item)
        nets.append(net)
        subtotal += net
        if rate:
            for known, places in sets:
                if known == rate:
                    places.append(place)
                    break
            else:
                sets.append((rate, [place]))
    total = cents(total)
    if not items or total < 0 or subtotal != cents(stated):
        return None
    total_tax = ZERO
    for rate, places in sets:
        shared = shared_taxes([nets[place] for place in places], rate)
        if shared is None:
            return None
        taxes, _, sum_of = shared
        total_tax += sum_of
        for place, amount in zip(places, taxes, strict=True):
            items[place]["TaxAmount"] = amount
    if subtotal + total_tax != total:
        return None
    for item, tracking in tracked:
        item["Tracking"] = list(tracking)
    return _Lines(items, subtotal, total_tax, total)

"""The short way to a plan: a document whose own figures agree line by line, as nearly all do."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from xtiger.domain.apportion import (
    CENT,
    ZERO,
    Amounts,
    Document,
    LineKind,
    Rates,
    Tax,
    TaxMode,
    apportion,
    cents,
    fits_unit,
)
from xtiger.domain.lineforms import (
    LARGEST_AMOUNT,
    Form,
    PlannedLine,
    note_of,
    sendable,
    write,
)


def straight(
    document: Document, rates: Rates, total: Decimal
) -> tuple[list[PlannedLine], Decimal] | None:
    """The lines that `money.plan` would come to, and how far their tax was moved; None: go its way.

    1. Only exclusive lines, with nothing on the document besides them, taxed as a whole.
    2. Their amounts in cents make the document's own subtotal: no cent has to be moved.
    3. The tax of each tax set, in cents, makes the document's own tax: each set gets its own.
    4. A line without a discount whose numbers Xero takes goes as it was entered.

    Every line is in a form that gives its amount, and their sums are the document's own: what
    Xero will count is known without counting it again. `total` is in cents. The caller has
    checked the numbers and runs it with exact arithmetic.
    """
    stated = document.pre_tax_total
    if (
        stated is None
        or document.amounts is not Amounts.EXCLUSIVE
        or document.tax_mode is not TaxMode.GROUP
        or document.rounded_taxes is not None
        or document.header_discount is not None
        or document.charges
        or document.adjustment
        or document.deducted
    ):
        return None
    nets: list[Decimal] = []
    sets: dict[tuple[Tax, ...], list[int]] = {}
    subtotal = ZERO
    for place, line in enumerate(document.lines):
        if line.discount_amount:
            return None
        amount = line.quantity * line.unit_price
        if line.discount_rate:
            amount -= amount * line.discount_rate * CENT
        net = amount.quantize(CENT, ROUND_HALF_UP) or ZERO
        if not -LARGEST_AMOUNT <= net <= LARGEST_AMOUNT:
            return None
        nets.append(net)
        subtotal += net
        sets.setdefault(line.tax_set, []).append(place)
    if subtotal != cents(stated):
        return None
    taxes = _taxes(sets, nets, rates, total - subtotal)
    if taxes is None:
        return None
    lines: list[PlannedLine] = []
    moved = ZERO
    for place, line in enumerate(document.lines):
        quantity, price, less, form = line.quantity, line.unit_price, None, Form.AS_ENTERED
        if line.discount_rate or not fits_unit(price) or not sendable(quantity):
            form, quantity, price, less = write(line, nets[place], document.kind, False)
            if form is Form.CORRECTED:
                return None
        tax, own = taxes[place]
        if tax is not None and tax != own:
            moved += abs(tax - own)
        lines.append(
            PlannedLine(
                LineKind.LINE,
                form,
                quantity,
                price,
                less,
                nets[place],
                rates[line.tax_set].tax_type,
                tax,
                line.tax_set,
                place,
                line.description,
                note_of(line, form),
                line.item_code,
                line.key,
            )
        )
    return lines, moved


def _taxes(
    sets: dict[tuple[Tax, ...], list[int]], nets: list[Decimal], rates: Rates, meant: Decimal
) -> list[tuple[Decimal | None, Decimal]] | None:
    """Each line's tax and Xero's own, by place; None where the sets' taxes don't make `meant`."""
    taxes: list[tuple[Decimal | None, Decimal]] = [(None, ZERO)] * len(nets)
    counted = ZERO
    for tax_set, places in sets.items():
        crm, tax_type = rates[tax_set]
        rate = tax_type.rate
        if crm != rate:
            return None
        if not rate:
            continue
        found = shared_taxes([nets[place] for place in places], rate)
        if found is None:
            return None
        shared, own, whole = found
        counted += whole
        for place, tax, before in zip(places, shared, own, strict=True):
            taxes[place] = tax, before
    return taxes if counted == meant else None


def shared_taxes(
    nets: list[Decimal], rate: Decimal
) -> tuple[list[Decimal], list[Decimal], Decimal] | None:
    """The tax of lines of one rate: as shared, as Xero counts each alone, and in sum, in cents.

    The sum is that of the exact taxes; None where no sharing of cents comes to it.
    """
    percent = rate * CENT
    exact = [net * percent for net in nets]
    own = [value.quantize(CENT, ROUND_HALF_UP) or ZERO for value in exact]
    whole = sum(exact, ZERO).quantize(CENT, ROUND_HALF_UP) or ZERO
    missing = whole - sum(own, ZERO)
    if not missing:
        return own, own, whole
    # As `apportion` does it, which would round them all again.
    step = CENT if missing > 0 else -CENT
    off = [one - value for one, value in zip(own, exact, strict=True)]
    places = [place for place, value in enumerate(exact) if value]
    places.sort(key=off.__getitem__, reverse=missing < 0)
    count = int(missing / step)
    if count > len(places):
        shared = apportion(exact, whole, movable=[bool(tax) for tax in exact], rounds=2)
        return (shared, own, whole) if sum(shared, ZERO) == whole else None
    shared = own.copy()
    for place in places[:count]:
        shared[place] += step
    return shared, own, whole

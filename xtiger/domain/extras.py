"""What a document has besides plain lines: several taxes, discounts, charges, what is withheld."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from xtiger.domain.apportion import (
    CENT,
    ZERO,
    Amounts,
    Charge,
    DocumentLine,
    HeaderDiscount,
    Tax,
    TaxMode,
    cents,
    combined_rate,
    exactly,
)
from xtiger.domain.payloads import Booking, Tracking
from xtiger.domain.transforms import ValueFault, as_number, as_text, as_yes_no

if TYPE_CHECKING:
    from xtiger.domain.mapping import Build

#: What CRMs call the two ways of counting tax.
_MODES = {"": TaxMode.GROUP, "group": TaxMode.GROUP, "individual": TaxMode.INDIVIDUAL}
#: What a tax is called of which the CRM tells only the percentage.
_PERCENTAGE = "CRM tax"
#: The most taxes of a line, and charges of a document.
_MOST_TAXES, _MOST_CHARGES = 20, 100


class Extras(NamedTuple):
    """A document's parts that aren't lines, and where each is booked.

    `discounts` is where the share of the header discount goes that lowers lines of a tax set.
    """

    tax_mode: TaxMode = TaxMode.GROUP
    header_discount: HeaderDiscount | None = None
    discounts: Mapping[tuple[Tax, ...], Booking] = {}
    charges: tuple[Charge, ...] = ()
    adjustment: Decimal = ZERO
    adjusted: Booking | None = None
    withheld: Decimal = ZERO
    withheld_account: str | None = None


def plain_document(build: Build) -> bool:
    """Whether a document has lines alone, taxed as a whole, and is rounded to two places.

    What lines have of their own isn't looked at.
    """
    values, money = build.record.fields, build.template.money
    return not (
        values.get(money.header_discount)
        or values.get(money.header_discount_amount)
        or values.get(money.charges)
        or values.get(money.adjustment)
        or values.get(money.withheld)
    ) and (
        values.get(money.tax_mode) in (None, "", "group")
        and values.get(money.decimals) in (None, "", 2)
    )


def extras_of(
    build: Build, lines: Sequence[DocumentLine], amounts: Amounts | None
) -> Extras | None:
    """What a document has besides its lines; None: faults were noted.

    1. In group mode the header discount comes before tax and lowers it, in individual mode after
       tax; an amount counts before a percentage, which is what it was counted from.
    2. A discount is booked, and tracked, as the first line with the same taxes is; a charge or an
       adjustment as a line without a product would be; unless the mapping names an account.
    3. Tax withheld goes only to an account that the mapping names.
    """
    if plain_document(build):
        return Extras()
    values, money, before = build.record.fields, build.template.money, len(build.faults)
    word = as_text(values.get(money.tax_mode)).strip().lower()
    mode = _MODES.get(word)
    if mode is None:
        build.fault("LineAmountTypes", "tax-mode-unknown", word=word)
    rate = build.number(values, money.header_discount, "")
    amount = build.number(values, money.header_discount_amount, "")
    adjustment = build.number(values, money.adjustment, "") or ZERO
    withheld = build.number(values, money.withheld, "") or ZERO
    charges = _charges(build, values.get(money.charges), amounts)
    adjusted = _untaxed(build, money.adjustment_account, "adjustments") if adjustment else None
    if withheld and money.withheld_account:
        build.account(money.withheld_account, "LineItems.AccountCode")
    discount = None
    discounts: Mapping[tuple[Tax, ...], Booking] = {}
    if rate or amount:
        after = mode is TaxMode.INDIVIDUAL
        discount = HeaderDiscount(None if amount else rate, amount or None, after)
        discounts = _discounts(build, lines, amounts, after)
    if mode is None or len(build.faults) > before:
        return None
    account = money.withheld_account or None
    return Extras(mode, discount, discounts, charges, adjustment, adjusted, withheld, account)


def known_parts(tax_set: tuple[Tax, ...]) -> tuple[Tax, ...]:
    """The taxes of a set as the CRM told them, () where it told a percentage alone."""
    return () if len(tax_set) == 1 and tax_set[0].name == _PERCENTAGE else tax_set


def tax_set_of(
    build: Build, values: Mapping[str, Any], where: str, amounts: Amounts | None
) -> tuple[Tax, ...]:
    """The taxes of a line or charge: those listed, else the one of its percentage.

    What isn't one is a fault, and without tax there are none.
    """
    money = build.template.money
    percent = build.number(values, money.tax_rate, where)
    if amounts is Amounts.NO_TAX:
        return ()
    listed = values.get(money.taxes)
    if not listed:
        return (Tax(_PERCENTAGE, percent),) if percent else ()
    found: list[Tax] = []
    try:
        if not isinstance(listed, Sequence) or len(listed) > _MOST_TAXES:
            raise TypeError
        for each in listed:
            rate = as_number(each["rate"])
            name = as_text(each.get("name")) or f"{as_text(rate)} %"
            found.append(Tax(name, rate, bool(as_yes_no(each.get("compound") or False))))
    except (ValueFault, TypeError, KeyError, AttributeError):
        build.fault("LineItems.TaxType", "taxes-unread", where=where.rstrip(", ") or "A charge")
        return ()
    return tuple(tax for tax in found if tax.rate)


@exactly
def same_discount(gross: Decimal, rate: Decimal, amount: Decimal) -> bool:
    """Whether an amount off a line is what its percentage comes to."""
    return cents(gross * rate * CENT) == cents(amount)


def _charges(build: Build, listed: Any, amounts: Amounts | None) -> tuple[Charge, ...]:
    """The document's charges, each with its taxes and the place it is booked to."""
    if not listed:
        return ()
    if (
        isinstance(listed, str)
        or not isinstance(listed, Sequence)
        or len(listed) > _MOST_CHARGES
        or not all(isinstance(each, Mapping) for each in listed)
    ):
        build.fault("LineItems", "charges-unread")
        return ()
    found: list[Charge] = []
    for place, each in enumerate(listed, 1):
        amount = build.number(each, "amount", f"Charge {place}, ")
        taxes = tax_set_of(build, each, f"Charge {place}, ", amounts)
        if not amount:
            continue
        named = as_text(each.get("account")) or build.template.money.charge_account
        code = named or _as_a_line(build, each, "charges")
        if code is None:
            continue
        booking = build.booking(code, combined_rate(taxes), None, amounts, known_parts(taxes))
        if booking is not None:
            said = as_text(each.get("description")).strip() or "Charge"
            booking = booking._replace(tracking=_tracking(build, each))
            found.append(Charge(amount, taxes, said, booking))
    return tuple(found)


def _discounts(
    build: Build, lines: Sequence[DocumentLine], amounts: Amounts | None, after_tax: bool
) -> dict[tuple[Tax, ...], Booking]:
    """Where the header discount is booked, by the taxes of the lines it lowers."""
    named = build.template.money.discount_account
    found: dict[tuple[Tax, ...], Booking] = {}
    for line in lines:
        if not isinstance(line.key, Booking) or line.tax_set in found:
            continue
        code = named or line.key.account
        if not after_tax and code == line.key.account:
            found[line.tax_set] = line.key
        elif not after_tax:
            rate, parts = combined_rate(line.tax_set), known_parts(line.tax_set)
            booking = build.booking(code, rate, None, amounts, parts)
            if booking is not None:
                found[line.tax_set] = booking._replace(tracking=line.key.tracking)
        elif () not in found and (account := build.account(code, "LineItems.AccountCode")):
            found[()] = Booking(account.code, build.facts.untaxed, line.key.tracking)
    if () not in found and found:
        first = next(iter(found.values()))
        found[()] = first._replace(tax=build.facts.untaxed)
    return found


def _untaxed(build: Build, named: str, what: str) -> Booking | None:
    """An account for an amount without tax; a fault was noted if there is none."""
    code = named or _as_a_line(build, {}, what)
    if code is None:
        return None
    account = build.account(code, "LineItems.AccountCode")
    if account is None:
        return None
    return Booking(account.code, build.facts.untaxed, _tracking(build, {}))


def _tracking(build: Build, values: Mapping[str, Any]) -> Tracking:
    """What the mapping tracks a line of these values under; a row that needs more isn't one."""
    rows = {to for to, _ in build.mapper.tracked}
    if not rows:
        return ()
    steps = [step for step in build.mapper.line_steps if step.to in rows]
    before = len(build.faults)
    made = build.run(steps, build.values(values), "LineItems.")
    # What only lines can have, a charge needn't.
    del build.faults[before:]
    return build.tracking(made)


def _as_a_line(build: Build, values: Mapping[str, Any], what: str) -> str | None:
    """The account that the mapping gives a line without a product."""
    before = len(build.faults)
    steps = [step for step in build.mapper.line_steps if step.to == "AccountCode"]
    made: dict[str, Any] = build.run(steps, build.values(values), "LineItems.")
    if len(build.faults) > before or not made.get("AccountCode"):
        del build.faults[before:]
        build.fault("LineItems.AccountCode", "money-account-missing", what=what)
        return None
    return str(made["AccountCode"])

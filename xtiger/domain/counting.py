"""A CRM's own arithmetic: what a document of the small CRM comes to, each step in cents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from xtiger.domain.apportion import (
    HUNDRED,
    ZERO,
    Amounts,
    Charge,
    DocumentLine,
    HeaderDiscount,
    Step,
    Tax,
    TaxMode,
    apportion,
    cents,
    combined_rate,
    exactly,
    net_of,
    tax_of,
    unrounded,
)


class RateTax(NamedTuple):
    """The part of a document taxed at one rate; `net` as entered, so with tax if inclusive."""

    rate: Decimal
    net: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class DocumentTotals:
    """A document counted as most CRMs do; all in cents.

    `subtotal` is without tax: lines less `discount`, the header's, with charges; adjustment and
    withheld tax come after it.
    """

    nets: tuple[Decimal, ...]
    taxes: tuple[RateTax, ...]
    subtotal: Decimal
    total_tax: Decimal
    total: Decimal
    discount: Decimal = ZERO


@exactly
def document_totals(
    lines: Sequence[DocumentLine],
    *,
    amounts: Amounts,
    tax_mode: TaxMode = TaxMode.GROUP,
    header_discount: HeaderDiscount | None = None,
    charges: Sequence[Charge] = (),
    adjustment: Decimal = ZERO,
    deducted: Decimal = ZERO,
) -> DocumentTotals:
    """Count a document, every amount half up to cents. `money.plan` reproduces it in Xero.

    1. Each line less its discount.
    2. The header discount: of the lines, or where it comes after tax of the lines with their
       tax. Before tax it is shared by the tax sets in proportion, to the cent.
    3. Tax: in group mode of the lines of a tax set together, less their share; in individual
       mode line by line. Each tax of a set is rounded; compound ones are taken on the others.
    4. Charges with their own taxes; then the totals, with adjustment and less what is withheld.
    """
    nets = tuple(cents(net_of(line, unrounded)) for line in lines)
    members: dict[tuple[Tax, ...], list[Decimal]] = {}
    for line, net in zip(lines, nets, strict=True):
        members.setdefault(line.tax_set, []).append(net)
    tally = _Tally(amounts)
    whole = sum(nets, ZERO)
    after = header_discount is not None and header_discount.after_tax
    if tax_mode is TaxMode.INDIVIDUAL:
        for line, net in zip(lines, nets, strict=True):
            tally.add(line.tax_set, net)
    base = whole
    if after and amounts is Amounts.EXCLUSIVE:
        if tax_mode is TaxMode.GROUP:
            base += sum((sum(tally.of(of, sum(some, ZERO))) for of, some in members.items()), ZERO)
        else:
            base += tally.total
    off = _discount(header_discount, base)
    if tax_mode is TaxMode.GROUP:
        sums = [sum(each, ZERO) for each in members.values()]
        shares = [ZERO] * len(sums)
        if off and not after and whole:
            exact = [off * each / whole for each in sums]
            shares = apportion(exact, off, movable=[bool(each) for each in exact])
        for of, net, share in zip(members, sums, shares, strict=True):
            tally.add(of, net - share)
    extra = ZERO
    for charge in charges:
        extra += cents(charge.amount)
        tally.add(charge.tax_set, cents(charge.amount))
    subtotal = whole - off + extra
    if amounts is Amounts.INCLUSIVE:
        subtotal -= tally.total
    total = subtotal + tally.total + cents(adjustment) - cents(deducted)
    return DocumentTotals(nets, tally.taxes(), subtotal, tally.total, total, off)


def _discount(discount: HeaderDiscount | None, base: Decimal) -> Decimal:
    if discount is None:
        return ZERO
    return cents(discount.amount or base * (discount.rate or ZERO) / HUNDRED)


class _Tally:
    """Taxes as they add up, tax by tax."""

    def __init__(self, amounts: Amounts) -> None:
        self.amounts = amounts
        self.total = ZERO
        self._found: dict[tuple[Decimal, bool], tuple[Decimal, Decimal]] = {}

    def of(self, tax_set: tuple[Tax, ...], net: Decimal) -> list[Decimal]:
        """Each tax of a set on, or inside, a net amount, in the order of the set."""
        if self.amounts is Amounts.NO_TAX:
            return [ZERO for _ in tax_set]
        if self.amounts is Amounts.INCLUSIVE:
            rate = combined_rate(tax_set)
            inside = cents(tax_of(net, rate, amounts=self.amounts))
            before = net - net * rate / (HUNDRED + rate)
            exact = _each(tax_set, before, unrounded)
            return apportion(exact, inside, movable=[bool(each) for each in exact], rounds=2)
        return _each(tax_set, net, cents)

    def add(self, tax_set: tuple[Tax, ...], net: Decimal) -> None:
        if self.amounts is Amounts.NO_TAX:
            return
        for tax, amount in zip(tax_set, self.of(tax_set, net), strict=True):
            if tax.rate:
                before = self._found.get((tax.rate, tax.compound), (ZERO, ZERO))
                self._found[tax.rate, tax.compound] = before[0] + net, before[1] + amount
                self.total += amount

    def taxes(self) -> tuple[RateTax, ...]:
        """By rate, in order of first use."""
        return tuple(RateTax(rate, *found) for (rate, _), found in self._found.items())


def _each(tax_set: tuple[Tax, ...], net: Decimal, step: Step) -> list[Decimal]:
    plain = [step(net * tax.rate / HUNDRED) for tax in tax_set if not tax.compound]
    base = net + sum(plain, ZERO)
    rest = iter(plain)
    return [step(base * tax.rate / HUNDRED) if tax.compound else next(rest) for tax in tax_set]

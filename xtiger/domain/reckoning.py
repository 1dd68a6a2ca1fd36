"""A document line by line: what the CRM counts, what Xero will, and the difference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from xtiger.domain.apportion import ZERO, Entry, LineKind, cents
from xtiger.domain.documents import Reading, read, stated
from xtiger.domain.lineforms import short
from xtiger.domain.mapping import Build, BuildContext, CompiledMapper, Fault
from xtiger.domain.money import MoneyPlan, PlannedLine, Refusal, crm_entries, xero_totals
from xtiger.domain.records import Record


class Part(NamedTuple):
    """One line of the document, or a part of it that is no line; amounts in its currency.

    `source` is the line's place, `tax` what Xero will count on it; None: there is none.
    """

    kind: LineKind
    label: str
    crm: Decimal | None
    xero: Decimal | None = None
    tax: Decimal | None = None
    source: int | None = None
    #: How the line is written where Xero can't take its own numbers: "1000 × 0.061171".
    note: str = ""

    @property
    def difference(self) -> Decimal | None:
        """By how much Xero's amount is more, in cents."""
        return None if self.crm is None or self.xero is None else self.xero - cents(self.crm)


class Sum(NamedTuple):
    """The subtotal, the tax or the total; None: not known."""

    crm: Decimal | None = None
    xero: Decimal | None = None

    @property
    def difference(self) -> Decimal | None:
        """By how much Xero's is more, in cents."""
        return None if self.crm is None or self.xero is None else self.xero - cents(self.crm)


_UNKNOWN = Sum()


@dataclass(frozen=True, slots=True)
class Reckoning:
    """A document on both sides; where it can't be sent, `refusal` says why.

    Xero's side is empty where nothing could be laid out for it.
    """

    parts: tuple[Part, ...] = ()
    subtotal: Sum = _UNKNOWN
    tax: Sum = _UNKNOWN
    total: Sum = _UNKNOWN
    refusal: str = ""
    #: Xero's editor will remark on tax amounts that aren't its own.
    alert: bool = False


def reckon(mapper: CompiledMapper, record: Record, context: BuildContext) -> Reckoning:
    """Lays a document out for Xero and counts it on both sides; nothing is sent.

    Parents that aren't in Xero yet must be in `context.parents` all the same.
    """
    build = Build(mapper, record, context)
    amounts, total, subtotal = stated(build)
    if amounts is None or total is None or build.faults:
        return Reckoning(refusal=_said(build.faults))
    reading = read(build, total, subtotal, amounts)
    if reading is None:
        return Reckoning(total=Sum(total), refusal=_said(build.faults))
    found = reading.plan(build)
    lines = found.lines
    counted = xero_totals(lines, amounts=amounts) if lines else None
    refused = found if isinstance(found, Refusal) else None
    document = reading.document
    without_tax = None
    if subtotal is not None:
        without_tax = cents(subtotal) + cents(document.adjustment) - cents(document.deducted)
    return Reckoning(
        parts=_parts(reading, lines, counted.tax_amounts if counted else ()),
        subtotal=Sum(without_tax, counted.subtotal if counted else None),
        tax=Sum(
            None if without_tax is None else cents(total) - without_tax,
            counted.total_tax if counted else None,
        ),
        total=Sum(total, counted.total if counted else None),
        refusal=refused.sentence if refused else "",
        alert=isinstance(found, MoneyPlan) and found.raises_alert,
    )


def _said(faults: Iterable[Fault]) -> str:
    return " ".join(dict.fromkeys(each.sentence for each in faults))


def _parts(
    reading: Reading, lines: Sequence[PlannedLine], taxes: Sequence[Decimal]
) -> tuple[Part, ...]:
    """Lines and the rest in document order; shares of one discount stand as one."""
    found: dict[tuple[LineKind, int | None], Part] = {}
    for entry in crm_entries(reading.document, reading.tax_types):
        key = _key(entry)
        before = found.get(key)
        crm = entry.exact + (before.crm or ZERO if before else ZERO)
        found[key] = Part(entry.kind, _label(reading, entry), crm, source=entry.source)
    for place, line in enumerate(lines):
        key = _key(line)
        part = found.get(key) or Part(line.kind, line.description, None)
        tax = taxes[place] if line.tax_type.rate else None
        found[key] = part._replace(
            xero=(part.xero or ZERO) + line.line_amount,
            tax=tax if part.tax is None else part.tax + (tax or ZERO),
            note=part.note or line.note,
        )
    return tuple(found.values())


def _label(reading: Reading, entry: Entry) -> str:
    discount = reading.document.header_discount
    if entry.kind is LineKind.DISCOUNT and discount is not None and discount.rate:
        return f"{entry.description} {short(discount.rate)} %"
    return entry.description


def _key(part: Entry | PlannedLine) -> tuple[LineKind, int | None]:
    """What belongs together: a line with its correction, a discount with its shares."""
    if part.kind is LineKind.CORRECTION:
        return LineKind.LINE, part.source
    return part.kind, part.source

"""What a mapping would send: one record's request and totals, and what saving would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from xtiger.domain import exactjson
from xtiger.domain.apportion import Amounts, cents, tax_of, to_unit
from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.hints import Fault
from xtiger.domain.mapping import Built, CompiledMapper, Faults, compile_template
from xtiger.domain.records import Record, RecordRef
from xtiger.engine.elements import Element, element_of
from xtiger.engine.mapping.mappings import Bench, Subject, subjects
from xtiger.engine.services import Services
from xtiger.store import templates

#: Records read at once while counting.
_SLICE = 500


class CountedLine(NamedTuple):
    """A line as Xero counts it."""

    description: str
    quantity: Decimal
    unit_amount: Decimal
    discount_rate: Decimal | None
    amount: Decimal
    tax_type: str
    tax: Decimal


@dataclass(frozen=True, slots=True)
class Counted:
    """A document as Xero counts it, and the CRM's own total."""

    lines: tuple[CountedLine, ...]
    subtotal: Decimal
    total_tax: Decimal
    total: Decimal
    crm_total: Decimal | None

    @property
    def difference(self) -> Decimal | None:
        """By how much Xero's total is more than the CRM's, in cents rounded half up."""
        return None if self.crm_total is None else self.total - cents(self.crm_total)


@dataclass(frozen=True, slots=True)
class Trial:
    """What would happen to one record: its request, preflight's verdict, its totals."""

    subject: Subject
    #: "create", "update", or "none" where Xero has exactly this already.
    action: str = "none"
    #: The element as it would be sent, JSON for people; empty where there is none.
    request: str = ""
    faults: tuple[str, ...] = ()
    counted: Counted | None = None
    #: What is changed of the record's own on its way, a sentence; empty: nothing.
    note: str = ""

    @property
    def label(self) -> str:
        """What people call the record."""
        return self.subject.record.label


def _outcome(
    services: Services, on: Bench, mapper: CompiledMapper, subject: Subject
) -> Element | Faults:
    """What a drain would make of a record that waits for nothing."""
    if subject.record.fault:
        return Faults((Fault("", subject.record.fault, "unreadable"),))
    context = subject.context(services, on)
    return element_of(
        mapper, subject.record, context, facts=on.facts, rule=on.rule, bound=subject.bound
    )


def trial(services: Services, on: Bench, template: MappingTemplate, subject: Subject) -> Trial:
    """Builds a record as a drain would, checks it, counts it; nothing is sent.

    Raises TemplateFault for a template that can't be used.
    """
    found = _outcome(services, on, compile_template(template, on.info), subject)
    sentences = tuple(dict.fromkeys(one.sentence for one in found.faults))
    if isinstance(found, Faults):
        return Trial(subject, faults=sentences)
    bound = subject.bound
    return Trial(
        subject,
        action="none" if found.same(bound) else "update" if bound else "create",
        request=_pretty({on.resource.value: [found.sent(bound)]}),
        faults=sentences,
        counted=_counted(on, template, subject.record, found.built),
        note=found.built.note,
    )


def _pretty(value: Any, depth: int = 0) -> str:
    """JSON for people, indented, each number with exactly its digits."""
    inside, outside = "  " * (depth + 1), "  " * depth
    if isinstance(value, Mapping):
        parts = [
            f"{inside}{exactjson.dumps(key).decode()}: {_pretty(each, depth + 1)}"
            for key, each in value.items()
        ]
        return "{\n" + ",\n".join(parts) + f"\n{outside}}}" if parts else "{}"
    if isinstance(value, list | tuple):
        parts = [f"{inside}{_pretty(each, depth + 1)}" for each in value]
        return "[\n" + ",\n".join(parts) + f"\n{outside}]" if parts else "[]"
    return exactjson.dumps(value).decode()


def _counted(on: Bench, template: MappingTemplate, record: Record, built: Built) -> Counted | None:
    """Counts the lines of a payload by Xero's own arithmetic, apart from the plan that made it.

    1. A line's amount is quantity x unit amount, less its discount rate, half up to cents.
    2. Its tax is the TaxAmount sent, else its rate's on (or inside) the amount.
    3. Subtotal and tax are sums; inclusive amounts contain their tax.
    """
    items = built.payload.get("LineItems")
    if items is None:
        return None
    amounts = Amounts(built.payload["LineAmountTypes"])
    lines = tuple(_line(on, item, amounts) for item in items)
    tax = sum((line.tax for line in lines), Decimal(0))
    subtotal = sum((line.amount for line in lines), Decimal(0))
    if amounts is Amounts.INCLUSIVE:
        subtotal -= tax
    total = record.fields.get(template.money.total)
    return Counted(
        lines, subtotal, tax, subtotal + tax, total if isinstance(total, Decimal) else None
    )


def _line(on: Bench, item: Mapping[str, Any], amounts: Amounts) -> CountedLine:
    quantity, unit = Decimal(item["Quantity"]), Decimal(item["UnitAmount"])
    discount = item.get("DiscountRate")
    amount = quantity * to_unit(unit)
    if discount:
        amount = amount * (100 - Decimal(discount)) / 100
    amount = cents(amount)
    tax = item.get("TaxAmount")
    if tax is None:
        rate = on.facts.by_tax_type.get(str(item.get("TaxType", "")).upper())
        tax = cents(tax_of(amount, rate.rate if rate else Decimal(0), amounts=amounts))
    return CountedLine(
        str(item.get("Description", "")),
        quantity,
        unit,
        discount,
        amount,
        str(item.get("TaxType", "")),
        tax,
    )


# -- what saving would change -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """Records in Xero whose payload would be another, and those that couldn't be sent any more."""

    refs: tuple[RecordRef, ...] = ()
    broken: tuple[RecordRef, ...] = ()
    #: One of the broken and why, for people.
    example: tuple[str, str] | None = None
    #: How many records were looked at, and whether those are all.
    looked: int = 0
    whole: bool = True


def would_change(services: Services, on: Bench, template: MappingTemplate, *, most: int) -> Change:
    """Builds records that are in Xero, at most so many, and compares with what was agreed.

    Raises TemplateFault for a template that can't be used.
    """
    mapper = compile_template(template, on.info)
    refs: list[RecordRef] = []
    broken: list[RecordRef] = []
    example: tuple[str, str] | None = None
    looked, after = 0, None
    while looked < most:
        with services.database.read() as session:
            rows = templates.bound(session, on.place, after=after, limit=min(_SLICE, most - looked))
        if not rows:
            return Change(tuple(refs), tuple(broken), example, looked)
        after, looked = rows[-1].record_id, looked + len(rows)
        for subject in _of_ids(services, on, [row.record_id for row in rows]):
            found = _outcome(services, on, mapper, subject)
            if isinstance(found, Faults) or found.faults:
                broken.append(subject.record.ref)
                example = example or (subject.record.label, found.faults[0].sentence)
            elif not found.same(subject.bound):
                refs.append(subject.record.ref)
    with services.database.read() as session:
        rest = templates.bound(session, on.place, after=after, limit=1)
    return Change(tuple(refs), tuple(broken), example, looked, whole=not rest)


def _of_ids(services: Services, on: Bench, ids: Sequence[str]) -> list[Subject]:
    refs = [RecordRef(on.place.module, one) for one in ids]
    found = services.crm.fetch_many(refs)
    return subjects(services, on, [found[ref] for ref in refs if ref in found])

"""A mapping template, compiled: turns a CRM record into the payload that Xero takes, or faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from xtiger.domain import transforms
from xtiger.domain.defaults import MappingTemplate as MappingTemplate
from xtiger.domain.defaults import Row, TooLong
from xtiger.domain.documents import document
from xtiger.domain.facts import Account as Account
from xtiger.domain.facts import OrganisationFacts as OrganisationFacts
from xtiger.domain.facts import TaxRate as TaxRate
from xtiger.domain.facts import account_fault, tax_fault, tracking_fault
from xtiger.domain.hints import Fault as Fault
from xtiger.domain.hints import Faults as Faults
from xtiger.domain.hints import fault
from xtiger.domain.money import Amounts, Tax, TaxType
from xtiger.domain.payloads import Booking, Memory, Tracking
from xtiger.domain.payloads import BuildContext as BuildContext
from xtiger.domain.payloads import Built as Built
from xtiger.domain.payloads import Parent as Parent
from xtiger.domain.records import (
    DocumentType,
    Field,
    Module,
    ModuleInfo,
    Record,
    RecordRef,
)
from xtiger.domain.resources import RESOURCE_OF
from xtiger.domain.targets import LINE_TARGETS, TARGETS, Target, TargetKind, long_fault, put
from xtiger.domain.transforms import (
    Compiled,
    ValueFault,
    as_number,
    as_text,
)
from xtiger.domain.transforms import TemplateFault as TemplateFault

#: The most tax rates that a sentence names.
_MOST_NAMED = 5


class _Step(NamedTuple):
    """One compiled row; `source` names the CRM fields it reads, for people."""

    get: Compiled
    #: What the target makes of a value that isn't empty; None for links.
    shape: Callable[[Any], Any] | None
    path: tuple[str, ...]
    #: The most characters Xero takes; 0: no limit known.
    longest: int
    to: str
    target: Target
    required: bool
    source: str
    #: The field that is the value wherever it holds text, and what the target makes of it.
    first: tuple[str, Callable[[Any], Any]] | None

    def linked(self, value: Any, context: BuildContext) -> Any:
        """A link as Xero takes it: the id of a contact, the code of an item."""
        parent = context.parents.get(value) if isinstance(value, RecordRef) else None
        if self.to == "Contact":
            return {"ContactID": parent.xero_id if parent else as_text(value)}
        return parent.key if parent else as_text(value)


@dataclass(frozen=True, eq=False)
class CompiledMapper:
    """A template turned into closures; one serves every record of a drain."""

    template: MappingTemplate
    steps: tuple[_Step, ...]
    line_steps: tuple[_Step, ...]
    #: The links whose own fields are read, under their dotted names:
    #: {"product": (("product.sales_account", "sales_account"),)}.
    links: Mapping[str, tuple[tuple[str, str], ...]]
    #: The link by whose record all of `linked_steps` go: what they make of it is kept.
    link: str | None
    linked_steps: tuple[_Step, ...]
    own_steps: tuple[_Step, ...]
    #: The rows by which lines are tracked, with their categories, in the categories' order.
    tracked: tuple[tuple[str, str], ...] = ()

    def build(self, record: Record, context: BuildContext) -> Built | Faults:
        """The record's payload, or everything that keeps it from having one."""
        build = Build(self, record, context)
        built = _BUILDERS[self.template.module](build)
        if built is None or build.faults:
            return Faults(tuple(dict.fromkeys(build.faults)))
        return built


class Build:
    """One record on its way to a payload, and the faults met on it."""

    def __init__(self, mapper: CompiledMapper, record: Record, context: BuildContext) -> None:
        self.template = mapper.template
        self.mapper = mapper
        self.record = record
        self.context = context
        self.facts = context.organisation
        self.kind = context.document_type or mapper.template.document_type or DocumentType.INVOICE
        self.faults: list[Fault] = []
        self.memory = context.memory or Memory()

    def waits_for_parents(self) -> bool:
        """Whether a linked record isn't in Xero yet; each is a fault."""
        for ref in self.record.parents():
            if ref not in self.context.parents:
                self.fault(
                    ref.module.value, "parent-missing", parent=f"{ref.module.singular} {ref.id}"
                )
        return bool(self.faults)

    def fault(self, to: str, code: str, /, **known: str) -> None:
        self.faults.append(fault(to, code, **known))

    def values(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """A record's or line's values, and those of linked records under dotted names."""
        more: dict[str, Any] | None = None
        for link, names in self.mapper.links.items():
            ref = values.get(link)
            parent = self.context.parents.get(ref) if isinstance(ref, RecordRef) else None
            if parent is not None:
                more = dict(values) if more is None else more
                for dotted, name in names:
                    more[dotted] = parent.fields.get(name)
        return values if more is None else more

    def run(
        self, steps: Iterable[_Step], values: Mapping[str, Any], prefix: str = ""
    ) -> dict[str, Any]:
        """What the steps make of the values, by path; faults are noted.

        Xero keeps what an update leaves out (Xero: contacts page), so an update says ""
        for nothing.
        """
        made: dict[str, Any] = {}
        for step in steps:
            get, shape, path, longest = step[:4]
            try:
                value = get(values)
                if value is None or value == "":
                    value = None
                elif shape is None:
                    value = step.linked(value, self.context)
                else:
                    value = shape(value)
            except ValueFault as wrong:
                to = prefix + step.to
                self.faults.append(Fault(to, f"{to}: {wrong.sentence}", f"value:{to}"))
                continue
            if value is None:
                if step.required:
                    known = {"field": step.to, "source": step.source}
                    self.fault(prefix + step.to, step.target.missing, **known)
                elif self.context.xero_id and step.target.clears:
                    put(made, path, "")
                continue
            if longest and type(value) is str and len(value) > longest:
                self.faults += long_fault(step.to, value, longest, self.record.label)
            elif len(path) == 1:
                made[path[0]] = value
            else:
                put(made, path, value)
        return made

    def line(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the line steps make of one line, by the name of the Xero field.

        What depends on the linked record alone is made once for all lines that name it.
        """
        mapper = self.mapper
        link = values.get(mapper.link) if mapper.link else None
        # An update says "" where a create says nothing.
        fresh = self.context.xero_id is None
        key = (link, fresh) if link is None or type(link) is RecordRef else None
        made = self.memory.linked.get(key) if key is not None else None
        if made is None:
            before = len(self.faults)
            made = self.run(mapper.linked_steps, self.values(values), "LineItems.")
            if key is not None and len(self.faults) == before:
                self.memory.linked[key] = made
        made = made.copy()
        for step in mapper.own_steps:
            if step.first is not None:
                name, shape = step.first
                value = values.get(name)
                if type(value) is str and value:
                    value = shape(value)
                    if value and len(value) <= (step.longest or len(value)):
                        made[step.to] = value
                        continue
            made |= self.run((step,), self.values(values), "LineItems.")
        return made

    def parent_of(self, values: Mapping[str, Any]) -> Parent | None:
        """The record that a line's first link names."""
        for value in values.values():
            if type(value) is RecordRef:
                return self.context.parents.get(value)
        return None

    def account(self, code: str, to: str) -> Account | None:
        """The account of that code, if lines may use it; else a fault."""
        if (known := self.facts.usable.get(code)) is not None:
            return known
        if not self.facts.accounts or not self.facts.tax_rates:
            self.fault("AccountCode", "accounts-unread")
            return None
        wrong = account_fault(self.facts, code, to)
        if wrong is not None:
            self.faults.append(wrong)
            return None
        return self.facts.by_code[code.upper()]

    def tracking(self, made: Mapping[str, Any]) -> Tracking:
        """What a line is tracked under, by what its steps made; what Xero hasn't is a fault."""
        found = []
        for to, category in self.mapper.tracked:
            option = made.get(to)
            if not option:
                continue
            known = self.memory.tracked.get((to, option))
            if known is None:
                names = self.facts.tracked(category, option)
                if names is None:
                    wrong = tracking_fault(self.facts, category, option, "LineItems.Tracking")
                    self.faults += [wrong] if wrong else []
                    continue
                known = self.memory.tracked[to, option] = {"Name": names[0], "Option": names[1]}
            found.append(known)
        return tuple(found)

    def tax(
        self,
        rate: Decimal,
        account: Account,
        kind: DocumentType,
        to: str,
        named: str | None = None,
        parts: tuple[Tax, ...] = (),
    ) -> TaxRate | None:
        """The tax rate for a percentage: the one `named`, the template's, else a fitting one.

        `parts` are the CRM's taxes that make the percentage, () where it doesn't say.
        """
        named = named or self.template.tax_types.get(rate)
        if named is None:
            fitting = self.facts.taxes_for(rate, account, kind, parts)
            if len(fitting) == 1:
                return fitting[0]
            known = {"rate": as_text(rate), "code": account.code}
            if fitting:
                names = ", ".join(f"{one.tax_type} ({one.name})" for one in fitting[:_MOST_NAMED])
                self.fault(to, "tax-rate-several", names=names, **known)
            elif parts and self.facts.taxes_for(rate, account, kind):
                each = " + ".join(f"{one.name} {as_text(one.rate)} %" for one in parts)
                self.fault(to, "tax-parts-missing", parts=each, **known)
            else:
                self.fault(to, "tax-rate-missing", **known)
            return None
        wrong = tax_fault(self.facts, named, account, to)
        if wrong is not None:
            self.faults.append(wrong)
            return None
        found = self.facts.by_tax_type[named.upper()]
        if not found.fits(rate):
            rates = {"rate": as_text(rate), "theirs": as_text(found.rate)}
            self.fault(to, "tax-rate-differs", tax=named, **rates)
            return None
        return found

    def booking(
        self,
        code: str,
        rate: Decimal,
        named: str | None,
        amounts: Amounts | None,
        parts: tuple[Tax, ...] = (),
    ) -> Booking | None:
        """Where a line of that account, percentage and parts is booked, else a fault."""
        key = code, rate, parts, named, amounts is Amounts.NO_TAX
        if (known := self.memory.bookings.get(key)) is not None:
            return known
        account = self.account(code, "LineItems.AccountCode")
        if account is None:
            return None
        tax = self.facts.untaxed
        if amounts is not Amounts.NO_TAX:
            found = self.tax(rate, account, self.kind, "LineItems.TaxType", named, parts)
            if found is None:
                return None
            tax = TaxType(found.tax_type, found.rate)
        self.memory.bookings[key] = made = Booking(account.code, tax)
        return made

    def number(self, values: Mapping[str, Any], name: str, where: str) -> Decimal | None:
        """A money field; an empty one is None, anything but a number a fault."""
        value = values.get(name)
        if type(value) is Decimal and value.is_finite() and -30 < value.adjusted() < 18:
            return value
        if value is None or value == "":
            return None
        try:
            return as_number(value)
        except ValueFault as wrong:
            self.faults.append(Fault(name, f"{where}{name}: {wrong.sentence}", f"value:{name}"))
            return None


def _contact(build: Build) -> Built | None:
    """A contact; its ContactNumber is set once, on creating, and never overwritten.

    Xero takes no < or > in its name and no doubled blanks: the blanks go, since
    nobody sees them, and without the signs it is another name, which the note says.
    """
    context = build.context
    payload = build.run(build.mapper.steps, build.values(build.record.fields))
    given = " ".join(payload.get("Name", "").split())
    name = " ".join(given.replace("<", "").replace(">", "").split())
    if not name:
        build.fault("Name", "name-missing")
        return None
    payload["Name"] = name
    note = ""
    if name != given:
        note = f"Xero takes no < or > in a name: “{given}” is “{name}” there."
    if context.xero_id:
        payload = {"ContactID": context.xero_id, **payload}
    elif context.marker:
        payload["ContactNumber"] = context.marker
    return Built(payload, {"Name": name}, note=note)


def _item(build: Build) -> Built | None:
    """An item; a side without a price isn't there, and the item isn't sold or bought."""
    payload = build.run(build.mapper.steps, build.values(build.record.fields))
    rate = build.number(build.record.fields, build.template.money.tax_rate, "")
    for side, kind in (
        ("SalesDetails", DocumentType.INVOICE),
        ("PurchaseDetails", DocumentType.BILL),
    ):
        details = payload.get(side, {})
        if "UnitPrice" not in details:
            payload.pop(side, None)
            continue
        account = None
        if "AccountCode" in details:
            account = build.account(details["AccountCode"], f"{side}.AccountCode")
        if account is not None and rate is not None:
            to = f"{side}.TaxType"
            tax = build.tax(rate, account, kind, to, details.get("TaxType"))
            details["TaxType"] = tax.tax_type if tax else ""
    if build.faults:
        return None
    payload["IsSold"] = "SalesDetails" in payload
    payload["IsPurchased"] = "PurchaseDetails" in payload
    if build.context.xero_id:
        payload = {"ItemID": build.context.xero_id, **payload}
    return Built(payload, {"Code": payload["Code"]})


_BUILDERS: Mapping[Module, Callable[[Build], Built | None]] = {
    Module.CONTACTS: _contact,
    Module.PRODUCTS: _item,
    Module.SERVICES: _item,
    Module.INVOICES: document,
}

# -- compiling --------------------------------------------------------------------------------


def compile_template(template: MappingTemplate, info: ModuleInfo | None = None) -> CompiledMapper:
    """Turns a template into closures; `info` describes the module in this CRM, if known.

    Raises TemplateFault with everything that `template.problems(info)` finds.
    """
    if problems := template.problems(info):
        sentences = dict.fromkeys(sentence for _, sentence in problems)
        raise TemplateFault(" ".join(sentences), problems)
    targets = TARGETS[RESOURCE_OF[template.module]]
    lines = _steps(template.lines, LINE_TARGETS, info.line_fields if info else ())
    link = _link(template.lines)
    by_link = [link is not None and _of_link(row, link) for row in template.lines]
    links: dict[str, dict[str, None]] = {}
    for row in (*template.fields, *template.lines):
        for name in row.source.reads():
            of, dot, inner = name.partition(".")
            if dot:
                links.setdefault(of, {})[inner] = None
    return CompiledMapper(
        template,
        _steps(template.fields, targets, info.fields if info else ()),
        lines,
        {link: tuple((f"{link}.{name}", name) for name in names) for link, names in links.items()},
        link,
        tuple(step for step, linked in zip(lines, by_link, strict=True) if linked),
        tuple(step for step, linked in zip(lines, by_link, strict=True) if not linked),
        tuple(
            (row.to, row.category)
            for row in sorted(template.lines, key=lambda row: row.category.casefold())
            if row.category
        ),
    )


def _link(rows: Sequence[Row]) -> str | None:
    """The link that most of a line's rows read."""
    read = Counter(
        name.partition(".")[0]
        for row in rows
        for name in row.source.reads()
        if "." in name or LINE_TARGETS[row.to].kind is TargetKind.LINK
    )
    return max(read, key=lambda name: read[name], default=None)


def _of_link(row: Row, link: str) -> bool:
    """Whether a row reads nothing but that link and the fields of its record."""
    return all(name.partition(".")[0] == link for name in row.source.reads())


def _first(row: Row, shape: Callable[[Any], Any] | None) -> tuple[str, Callable[[Any], Any]] | None:
    """The record's own field that a row takes unless it is empty."""
    source = row.source
    while isinstance(source, transforms.Default):
        source = source.of[0]
    if shape is None or not isinstance(source, transforms.Field):
        return None
    return None if "." in source.field or "." in row.to else (source.field, shape)


def _steps(
    rows: Sequence[Row], targets: Mapping[str, Target], known: Sequence[Field]
) -> tuple[_Step, ...]:
    labels = {each.name: each.label for each in known}
    return tuple(
        _Step(
            to=row.to,
            path=tuple(row.to.split(".")),
            longest=targets[row.to].longest,
            target=targets[row.to],
            get=row.source.compile(),
            shape=shape,
            required=row.required or targets[row.to].required,
            source=" or ".join(labels.get(name, name) for name in row.source.reads()),
            first=_first(row, shape),
        )
        for row in rows
        for shape in [targets[row.to].shaper(cut=row.too_long is TooLong.CUT)]
    )

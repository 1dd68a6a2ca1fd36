"""A mapping template, compiled: turns a CRM record into the payload that Xero takes, or faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from xtiger.domain.defaults import MappingTemplate as MappingTemplate
from xtiger.domain.defaults import Row, TooLong
from xtiger.domain.hints import Fault as Fault
from xtiger.domain.hints import Faults as Faults
from xtiger.domain.hints import fault
from xtiger.domain.money import (
    UNTAXED,
    Amounts,
    Document,
    DocumentLine,
    Kind,
    MoneyPlan,
    PlannedLine,
    Refusal,
    Tax,
    TaxType,
    plan,
)
from xtiger.domain.preflight import (
    LINE_TARGETS,
    TARGETS,
    Target,
    account_fault,
    long_fault,
    put,
    tax_fault,
)
from xtiger.domain.preflight import Account as Account
from xtiger.domain.preflight import OrganisationFacts as OrganisationFacts
from xtiger.domain.preflight import TaxRate as TaxRate
from xtiger.domain.records import (
    DocumentType,
    Field,
    Module,
    ModuleInfo,
    Record,
    RecordRef,
)
from xtiger.domain.resources import RESOURCE_OF, XERO_TYPE
from xtiger.domain.transforms import (
    Compiled,
    ValueFault,
    as_number,
    as_text,
    plain,
)
from xtiger.domain.transforms import TemplateFault as TemplateFault


@dataclass(frozen=True, slots=True)
class Parent:
    """A linked record that is in Xero. `key` is an item's code; `fields` are the CRM's own."""

    xero_id: str
    key: str | None = None
    label: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    stock_tracked: bool = False


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a record's payload depends on besides the record.

    `xero_id` is the bound id: with it the payload is an update, which empties in Xero what is
    empty in the CRM. `marker` is the ContactNumber
    that a new contact gets. `pinned` asks for lines that leave Xero nothing to round.
    """

    organisation: OrganisationFacts
    parents: Mapping[RecordRef, Parent] = field(default_factory=dict)
    document_type: DocumentType | None = None
    target_status: str = "AUTHORISED"
    record_url: str | None = None
    marker: str | None = None
    xero_id: str | None = None
    pinned: bool = False


class Built(NamedTuple):
    """A payload, and what Xero's answer must equal."""

    payload: dict[str, Any]
    meant: Mapping[str, Any]
    amount: Decimal | None = None
    currency: str | None = None


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

    def linked(self, value: Any, context: BuildContext) -> Any:
        """A link as Xero takes it: the id of a contact, the code of an item."""
        parent = context.parents.get(value) if isinstance(value, RecordRef) else None
        if self.to == "Contact":
            return {"ContactID": parent.xero_id if parent else as_text(value)}
        return parent.key if parent else as_text(value)


@dataclass(frozen=True)
class CompiledMapper:
    """A template turned into closures; one serves every record of a drain."""

    template: MappingTemplate
    steps: tuple[_Step, ...]
    line_steps: tuple[_Step, ...]
    #: The links whose own fields are read, under their dotted names:
    #: {"product": (("product.sales_account", "sales_account"),)}.
    links: Mapping[str, tuple[tuple[str, str], ...]]

    def build(self, record: Record, context: BuildContext) -> Built | Faults:
        """The record's payload, or everything that keeps it from having one."""
        build = _Build(self, record, context)
        built = _BUILDERS[self.template.module](build)
        if built is None or build.faults:
            return Faults(tuple(dict.fromkeys(build.faults)))
        return built


class _Build:
    """One record on its way to a payload, and the faults met on it."""

    def __init__(self, mapper: CompiledMapper, record: Record, context: BuildContext) -> None:
        self.template = mapper.template
        self.mapper = mapper
        self.record = record
        self.context = context
        self.facts = context.organisation
        self.kind = context.document_type or mapper.template.document_type or DocumentType.INVOICE
        self.faults: list[Fault] = []
        #: What lines with these accounts and rates are booked on.
        self.bookings: dict[tuple[str, Decimal, str | None, bool], _Booking] = {}

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

    def tax(
        self, rate: Decimal, account: Account, kind: DocumentType, to: str, named: str | None = None
    ) -> TaxRate | None:
        """The tax rate for a percentage: the one `named`, the template's, else a fitting one."""
        named = named or self.template.tax_types.get(rate)
        if named is None:
            found = self.facts.tax_for(rate, account, kind)
            if found is None:
                self.fault(to, "tax-rate-missing", rate=as_text(rate), code=account.code)
            return found
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
        self, code: str, rate: Decimal, named: str | None, amounts: Amounts | None
    ) -> _Booking | None:
        """Where a line of that account and percentage is booked, else a fault."""
        key = code, rate, named, amounts is Amounts.NO_TAX
        if (known := self.bookings.get(key)) is not None:
            return known
        account = self.account(code, "LineItems.AccountCode")
        if account is None:
            return None
        tax = UNTAXED
        if amounts is not Amounts.NO_TAX:
            found = self.tax(rate, account, self.kind, "LineItems.TaxType", named)
            if found is None:
                return None
            tax = TaxType(found.tax_type, found.rate)
        self.bookings[key] = made = _Booking(account.code, tax)
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


def _contact(build: _Build) -> Built | None:
    """A contact; its ContactNumber is set once, on creating, and never overwritten."""
    context = build.context
    payload = build.run(build.mapper.steps, build.values(build.record.fields))
    name = " ".join(payload.get("Name", "").replace("<", "").replace(">", "").split())
    if not name:
        build.fault("Name", "name-missing")
        return None
    payload["Name"] = name
    if context.xero_id:
        payload = {"ContactID": context.xero_id, **payload}
    elif context.marker:
        payload["ContactNumber"] = context.marker
    return Built(payload, {"Name": name})


def _item(build: _Build) -> Built | None:
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


#: What CRMs call the three ways of amounts, and Xero's own words.
_AMOUNTS = {
    "": Amounts.EXCLUSIVE,
    "exclusive": Amounts.EXCLUSIVE,
    "inclusive": Amounts.INCLUSIVE,
    "no tax": Amounts.NO_TAX,
    "notax": Amounts.NO_TAX,
}


class _Booking(NamedTuple):
    """Where a line is booked; the money rules pass it through."""

    account: str
    tax: TaxType


def _invoice(build: _Build) -> Built | None:
    """An invoice or a bill, whose lines come from the money rules."""
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
    lines = [_line(build, place, amounts) for place in range(len(record.lines))]
    if build.faults or total is None or amounts is None:
        return None
    planned = _planned(build, [line for line in lines if line], total, subtotal, amounts)
    if planned is None:
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
    payload["LineItems"] = [_line_item(line) for line in planned.lines]
    meant = {
        "Type": xero_type,
        "Status": context.target_status,
        "SubTotal": planned.subtotal,
        "TotalTax": planned.total_tax,
        "Total": planned.total,
    }
    currency = payload.get("CurrencyCode") or build.facts.currency or None
    return Built(payload, meant, planned.total, currency)


def _planned(
    build: _Build,
    lines: Sequence[DocumentLine],
    total: Decimal,
    subtotal: Decimal | None,
    amounts: Amounts,
) -> MoneyPlan | None:
    """The money plan of a document, or a fault in its own words.

    The plan only needs a rate's TaxType to know its percentage; which one each line is
    booked on depends on the line's account too, and travels in the line's key.
    """
    document = Document(
        kind=Kind.INVOICE if build.kind is DocumentType.INVOICE else Kind.BILL,
        lines=tuple(lines),
        total=total,
        pre_tax_total=subtotal,
        amounts=amounts,
    )
    by_set = {line.tax_set: line.key.tax for line in lines if isinstance(line.key, _Booking)}
    found = plan(
        document,
        tax_types=by_set,
        rounding_account=build.facts.rounding_account,
        pinned=build.context.pinned,
    )
    if isinstance(found, Refusal):
        code = found.code.value.replace(" ", "-")
        build.faults.append(Fault("LineItems", found.sentence, f"money:{code}"))
        return None
    return found


def _line(build: _Build, place: int, amounts: Amounts | None) -> DocumentLine | None:
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
    parent = None
    for value in values.values():
        if type(value) is RecordRef:
            parent = build.context.parents.get(value)
            break
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
    longest = LINE_TARGETS["Description"].longest
    note = f" ({line.note})" if line.note else ""
    item: dict[str, Any] = {
        "Description": line.description[: longest - len(note)] + note,
        "Quantity": plain(line.quantity),
        "UnitAmount": plain(line.unit_amount),
    }
    if line.discount_rate:
        item["DiscountRate"] = plain(line.discount_rate)
    if line.item_code:
        item["ItemCode"] = line.item_code
    booking = line.key
    if isinstance(booking, _Booking):
        item["AccountCode"], item["TaxType"] = booking.account, booking.tax.code
    else:
        item["AccountCode"], item["TaxType"] = str(booking), line.tax_type.code
    if line.tax_amount is not None:
        item["TaxAmount"] = line.tax_amount
    return item


#: The rate of a line without tax.
_NO_RATE = Decimal(0)

_BUILDERS: Mapping[Module, Callable[[_Build], Built | None]] = {
    Module.CONTACTS: _contact,
    Module.PRODUCTS: _item,
    Module.INVOICES: _invoice,
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
    links: dict[str, dict[str, None]] = {}
    for row in (*template.fields, *template.lines):
        for name in row.source.reads():
            link, dot, inner = name.partition(".")
            if dot:
                links.setdefault(link, {})[inner] = None
    return CompiledMapper(
        template,
        _steps(template.fields, targets, info.fields if info else ()),
        _steps(template.lines, LINE_TARGETS, info.line_fields if info else ()),
        {link: tuple((f"{link}.{name}", name) for name in names) for link, names in links.items()},
    )


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
            shape=targets[row.to].shaper(cut=row.too_long is TooLong.CUT),
            required=row.required or targets[row.to].required,
            source=" or ".join(labels.get(name, name) for name in row.source.reads()),
        )
        for row in rows
    )

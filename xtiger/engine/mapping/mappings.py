"""Mappings tried on real records: results, the request as it would go, what saving would change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from xtiger.domain.apportion import cents
from xtiger.domain.defaults import DEFAULTS, MAY_LACK, MappingTemplate, Row, TooLong
from xtiger.domain.errors import PermanentError
from xtiger.domain.facts import tracking_fault
from xtiger.domain.hints import fault
from xtiger.domain.mapping import (
    BuildContext,
    OrganisationFacts,
    Parent,
)
from xtiger.domain.payloads import counts_stock
from xtiger.domain.records import (
    SOLD,
    Field,
    FieldKind,
    Module,
    ModuleInfo,
    Record,
    RecordRef,
    SyncFlag,
)
from xtiger.domain.resources import RESOURCE_OF, Resource
from xtiger.domain.selection import SyncProfile, plain_day, route
from xtiger.domain.targets import LINE_TARGETS, TARGETS, Target, TargetKind, long_fault
from xtiger.domain.transforms import Compiled, TemplateFault, ValueFault, as_day, as_text, empty
from xtiger.engine.connection import reference
from xtiger.engine.services import Services
from xtiger.store import bindings, profiles, templates
from xtiger.store.bindings import Bound
from xtiger.store.models import Organisation, Template
from xtiger.store.templates import Place

#: The id that stands for an object which isn't in Xero yet.
STAND_IN = "00000000-0000-0000-0000-000000000000"
#: The most lines of a document whose values are shown, and the most values shown of them.
_LINES, _VALUES = 20, 3
#: Records read at once while counting.
_SLICE = 500


@dataclass(frozen=True, slots=True)
class Bench:
    """What a mapping is judged by: where it belongs, the CRM's module, the organisation."""

    place: Place
    organisation: str
    currency: str
    info: ModuleInfo
    #: How the CRM describes all of its modules, for the fields of linked records.
    modules: Mapping[Module, ModuleInfo]
    facts: OrganisationFacts
    #: When accounts and tax rates were read from Xero, None: never.
    read_at: datetime | None
    #: How the module goes to the organisation.
    rule: SyncProfile | None
    #: The version in use, None where there is none yet.
    latest: Template | None

    @property
    def resource(self) -> Resource:
        """What the module's records become in Xero."""
        return RESOURCE_OF[self.place.module]

    @property
    def seen(self) -> int:
        """The number of the version in use, 0 for none."""
        return self.latest.version if self.latest else 0


def bench(services: Services, place: Place) -> Bench:
    """Reads what judging a mapping needs. Raises PermanentError for a module the CRM hasn't."""
    modules = services.crm.modules()
    info = modules.get(place.module)
    if info is None:
        raise PermanentError(f"This CRM has no {place.module.value}.")
    with services.database.read() as session:
        row = session.get_one(Organisation, place.organisation_id)
        known = reference.facts(session, row.id)
        rule = next(
            (
                one
                for one in profiles.profiles(session)
                if one.organisation_id == row.id and one.module is place.module
            ),
            None,
        )
        latest = templates.newest(session, row.id, place.module, place.document_type)
        return Bench(
            place,
            row.name,
            row.currency or "",
            info,
            modules,
            known.facts if known else OrganisationFacts(row.name, row.currency or ""),
            known.read_at if known else None,
            rule,
            latest,
        )


# -- records to try it on ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subject:
    """A record with all that its payload depends on."""

    record: Record
    parents: Mapping[RecordRef, Parent]
    bound: Bound | None = None
    #: Linked records that aren't in Xero yet: their ids are stand-ins.
    missing: tuple[str, ...] = ()
    #: Nobody's: the CRM has no record of the module yet.
    invented: bool = False

    def context(self, services: Services, on: Bench) -> BuildContext:
        """What building needs besides the record, as a drain would hand it in."""
        return BuildContext(
            organisation=on.facts,
            parents=self.parents,
            document_type=on.place.document_type,
            target_status=on.rule.target_status if on.rule else "AUTHORISED",
            record_url=services.links.record(self.record.ref),
            marker=services.marker(self.record.ref),
            xero_id=self.bound.xero_id if self.bound else None,
        )


def subjects(services: Services, on: Bench, records: Sequence[Record]) -> list[Subject]:
    """These records with what they link to, in their order."""
    refs = [record.ref for record in records]
    linked = sorted({ref for record in records for ref in record.parents()}, key=str)
    parents = services.crm.fetch_many(linked) if linked else {}
    with services.database.read() as session:
        bound = bindings.agreed_of(session, on.place.organisation_id, [*refs, *linked])
        codes = _codes(session, on)
    made = []
    known: dict[RecordRef, Parent] = {}
    for ref in linked:
        there, parent = bound.get(ref), parents.get(ref)
        known[ref] = Parent(
            xero_id=there.xero_id if there else STAND_IN,
            key=there.number if there else codes(parent),
            label=parent.label if parent else "",
            fields=parent.fields if parent else {},
            stock_tracked=bool(there and there.xero_id in on.facts.stock_items)
            or bool(parent and counts_stock(parent.fields)),
        )
    for record in records:
        own = record.parents()
        missing = tuple(
            f"{ref.module.singular} {known[ref].label or ref.id}" for ref in own if ref not in bound
        )
        made.append(
            Subject(record, {ref: known[ref] for ref in own}, bound.get(record.ref), missing)
        )
    return made


def _codes(session: Session, on: Bench) -> Callable[[Record | None], str | None]:
    """Gives a product or service that isn't in Xero the code it will have, by its own mapping."""
    codes = {module: _code_of(session, on, module) for module in SOLD if module in on.modules}

    def code(parent: Record | None) -> str | None:
        get = codes.get(parent.ref.module) if parent is not None else None
        if parent is None or get is None:
            return None
        try:
            return as_text(get(parent.fields)) or None
        except ValueFault:
            return None

    return code


def _code_of(session: Session, on: Bench, module: Module) -> Compiled | None:
    """What makes an item's code of a record of that module; None where its mapping doesn't."""
    row = templates.newest(session, on.place.organisation_id, module, None)
    try:
        body = row.body if row is not None else DEFAULTS[module, None]
        rows = MappingTemplate.from_json(body).fields
        return next(one.source.compile() for one in rows if one.to == "Code")
    except (TemplateFault, StopIteration):
        return None


def records_here(services: Services, on: Bench, *, look: int = 200) -> list[Record]:
    """Those of the newest records that this mapping builds, the newest first.

    Documents of another type, or that go to another organisation, are none of them. `look` is
    how many records are looked at.
    """
    found = services.crm.browse(on.place.module, text=None, status=None, before=None, limit=look)
    if on.place.document_type is None:
        return list(found)
    with services.database.read() as session:
        rules = [one for one in profiles.profiles(session) if one.module is on.place.module]
        flags = profiles.sync_flags(session, [record.ref for record in found])
    here = []
    for record in found:
        flag = flags.get(record.ref, SyncFlag())
        rule = route(record, flag, rules)
        if flag.document_type is on.place.document_type and (
            rule is None or rule.organisation_id == on.place.organisation_id
        ):
            here.append(record)
    return here


def find_record(services: Services, on: Bench, words: str) -> Record | None:
    """The record of that number, name or CRM id; the nearest that a search finds, or None."""
    words = words.strip()
    if not words:
        return None
    found = services.crm.browse(on.place.module, text=words, status=None, before=None, limit=25)
    exact = next((one for one in found if one.label.lower() == words.lower()), None)
    if exact is None:
        ref = RecordRef(on.place.module, words)
        exact = services.crm.fetch_many([ref]).get(ref)
    return exact or next(iter(found), None)


#: What an invented record holds, by the names that fields have in most CRMs.
_INVENTED: Mapping[str, Any] = {
    "number": "INV-1",
    "code": "W-1",
    "name": "Example Ltd",
    "first_name": "Ana",
    "last_name": "Lee",
    "email": "office@example.com",
    "country": "New Zealand",
    "status": "Approved",
    "reference": "Order 7",
}


def invented(on: Bench, today: date) -> Subject:
    """A record that could be: for a CRM that has none of the module yet."""
    money = _template_of(on).money
    rate = _common_rate(on.facts)
    price = Decimal(100)
    values: dict[str, Any] = {
        money.quantity: Decimal(1),
        money.unit_price: price,
        money.discount: Decimal(0),
        money.tax_rate: rate,
        money.subtotal: price,
        money.total: price + cents(price * rate / 100),
        money.amounts: "exclusive",
        "currency": on.currency or "NZD",
        "price": price,
        "sales_account": None,
        "purchase_account": None,
    } | dict(_INVENTED)
    values |= {getattr(money, name): None for name in MAY_LACK}
    parents: dict[RecordRef, Parent] = {}

    def value(one: Any) -> Any:
        if one.kind is FieldKind.LINK:
            module = next(iter(linked_modules(one, on.modules)), Module.CONTACTS)
            ref = RecordRef(module, "0")
            info = on.modules.get(module)
            inner = {each.name: values.get(each.name) for each in info.fields} if info else {}
            parents[ref] = Parent(STAND_IN, "W-1", "Example Ltd", inner)
            return ref
        if one.kind is FieldKind.LIST:
            return None
        if one.name in values:
            return values[one.name]
        if one.kind is FieldKind.DATE:
            return today + timedelta(days=14 if "due" in one.name else 0)
        if one.kind is FieldKind.NUMBER:
            return Decimal(1)
        if one.kind is FieldKind.YES_NO:
            return True
        return f"{one.label} 1"

    record = Record(
        ref=RecordRef(on.place.module, "0"),
        label="INV-1" if on.info.line_fields else str(values["name"]),
        version="",
        created_at=datetime(today.year, today.month, today.day, tzinfo=UTC),
        fields={one.name: value(one) for one in on.info.fields},
        lines=({one.name: value(one) for one in on.info.line_fields},)
        if on.info.line_fields
        else (),
        status=on.info.statuses[0] if on.info.statuses else None,
    )
    return Subject(record, parents, invented=True)


def _common_rate(facts: OrganisationFacts) -> Decimal:
    """The highest percentage that sales and purchases both have, 0 without any."""

    def rates(side: str) -> set[Decimal]:
        known = (one for one in facts.tax_rates if one.status == "ACTIVE")
        return {one.rate for one in known if side in one.applies_to}

    return max(rates("REVENUE") & rates("EXPENSE"), default=Decimal(0))


def _template_of(on: Bench) -> MappingTemplate:
    empty_one = MappingTemplate(on.place.module, on.place.document_type)
    if on.latest is None:
        return empty_one
    try:
        return MappingTemplate.from_json(on.latest.body)
    except TemplateFault:
        return empty_one


def linked_modules(link: Field, modules: Mapping[Module, ModuleInfo]) -> list[Module]:
    """Where a link may lead: what the CRM says, else by its name: `contact`, `contact_id`."""
    if link.leads_to:
        return [one for one in link.leads_to if one in modules]
    return [one for one in modules if link.name.startswith(one.singular)][:1]


# -- one row at a time ------------------------------------------------------------------------


class Result(NamedTuple):
    """What a row makes of a record, in words; `fault` says why it makes nothing."""

    text: str
    fault: str | None = None


#: Results by where a row stands ("fields" or "lines") and the Xero field it fills.
Results = Mapping[tuple[str, str], Result]


def results(on: Bench, subject: Subject, rows: Mapping[str, Sequence[Row]]) -> Results:
    """What each row makes of a record by itself, whatever the others do.

    `rows` are those of "fields" and "lines". A row of lines shows the values of the first
    lines, each once.
    """
    made: dict[tuple[str, str], Result] = {}
    for row in rows.get("fields", ()):
        target = TARGETS[on.resource].get(row.to)
        if target is not None:
            made["fields", row.to] = _result(on, subject, row, target, subject.record.fields)
    for row in rows.get("lines", ()):
        target = LINE_TARGETS.get(row.to)
        if target is not None:
            lines = subject.record.lines[:_LINES]
            each = [_result(on, subject, row, target, line) for line in lines]
            made["lines", row.to] = _together(each)
    return made


def _together(each: Sequence[Result]) -> Result:
    wrong = next((one for one in each if one.fault), None)
    if wrong is not None:
        place = each.index(wrong) + 1
        return Result("", f"Line {place}: {wrong.fault}")
    texts = list(dict.fromkeys(one.text for one in each if one.text))
    more = len(texts) - _VALUES
    shown = " · ".join(texts[:_VALUES])
    return Result(f"{shown} and {more} more" if more > 0 else shown)


def _result(
    on: Bench, subject: Subject, row: Row, target: Target, values: Mapping[str, Any]
) -> Result:
    try:
        value = row.source.compile()(with_links(subject, row, values))
        if empty(value):
            shaped = None
        elif target.kind is TargetKind.LINK:
            return Result(_link_text(subject, row, value))
        else:
            shape = target.shaper(cut=row.too_long is TooLong.CUT)
            shaped = shape(value) if shape else None
    except ValueFault as wrong:
        return Result("", wrong.sentence)
    if shaped is None:
        if row.required or target.required:
            source = " or ".join(_labels(on, row))
            known = {"field": row.to, "source": source}
            return Result("", fault(row.to, target.missing, **known).sentence)
        return Result("")
    if target.longest and isinstance(shaped, str) and len(shaped) > target.longest:
        found = next(iter(long_fault(row.to, shaped, target.longest, subject.record.label)))
        return Result("", found.sentence)
    return _said(on, row, target, shaped)


def with_links(subject: Subject, row: Row, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values with those of linked records that a row reads, under their dotted names."""
    more: dict[str, Any] = {}
    for name in row.source.reads():
        link, dot, inner = name.partition(".")
        ref = values.get(link)
        if dot and isinstance(ref, RecordRef) and ref in subject.parents:
            more[name] = subject.parents[ref].fields.get(inner)
    return {**values, **more} if more else values


def _labels(on: Bench, row: Row) -> list[str]:
    known = {one.name: one.label for one in (*on.info.fields, *on.info.line_fields)}
    return [known.get(name, name) for name in row.source.reads()] or ["a value"]


def _link_text(subject: Subject, row: Row, value: Any) -> str:
    parent = subject.parents.get(value) if isinstance(value, RecordRef) else None
    if parent is None:
        return as_text(value)
    return parent.label if row.to == "Contact" else parent.key or parent.label


def _said(on: Bench, row: Row, target: Target, value: Any) -> Result:
    """A value as people read it: 5 Dec 2026, 200 Sales, OUTPUT2 15 %."""
    text = as_text(value)
    if target.kind is TargetKind.DATE:
        day = as_day(value)
        return Result(plain_day(day) if day else text)
    if row.to.endswith("AccountCode"):
        account = on.facts.by_code.get(text.upper())
        if account is not None and account.status == "ARCHIVED":
            return Result("", fault(row.to, "account-archived", code=text).sentence)
        if account is None and on.facts.accounts:
            return Result("", fault(row.to, "account-unusable", code=text).sentence)
        return Result(f"{account.code} {account.name}" if account else text)
    if row.to.endswith("TaxType"):
        rate = on.facts.by_tax_type.get(text.upper())
        if rate is None and on.facts.tax_rates:
            return Result("", fault(row.to, "tax-unknown", tax=text).sentence)
        return Result(f"{text} {as_text(rate.rate)} %" if rate else text)
    if target.tracks and row.category:
        names = on.facts.tracked(row.category, text)
        if names is None:
            wrong = tracking_fault(on.facts, row.category, text, row.to)
            return Result("", wrong.sentence if wrong else None)
        return Result(f"{names[0]}: {names[1]}")
    return Result(text)

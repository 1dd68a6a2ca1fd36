"""What is wrong with a mapping, found when it is edited and saved instead of at midnight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, NamedTuple

from xtiger.domain.defaults import DEFAULTS, MappingTemplate, Row
from xtiger.domain.facts import Account, account_fault, folded, tax_fault, tracking_fault
from xtiger.domain.hints import fault
from xtiger.domain.records import (
    DOCUMENTS,
    SOLD,
    Field,
    FieldKind,
    Module,
    ModuleInfo,
    Record,
    RecordRef,
)
from xtiger.domain.resources import RESOURCE_OF
from xtiger.domain.targets import LINE_TARGETS, TARGETS, Target
from xtiger.domain.transforms import (
    Constant,
    TemplateFault,
    ValueFault,
    as_text,
    did_you_mean,
    empty,
)
from xtiger.engine.mapping import mappings
from xtiger.engine.mapping.mappings import Bench
from xtiger.engine.services import Services
from xtiger.store import templates

#: The newest records that checks look at: of the module, and of one it links to.
MOST, MOST_LINKED = 200, 500
#: The most examples that a check names.
_EXAMPLES = 10


class Problem(NamedTuple):
    """Something that keeps a mapping from being saved: where it stands, and a sentence.

    `where` is "fields", "lines", "taxes" or "money"; `to` the Xero field, percentage or "".
    """

    where: str
    to: str
    sentence: str


def problems(on: Bench, template: MappingTemplate) -> tuple[Problem, ...]:
    """Everything that keeps a template from being saved in this organisation, each once."""
    known = template.problems(_with_linked(on))
    found = [_placed(template, to, sentence) for to, sentence in known]
    found += [Problem("fields", *one) for one in _unknown(on, on.info.fields, template.fields)]
    found += [Problem("lines", *one) for one in _unknown(on, on.info.line_fields, template.lines)]
    targets = TARGETS[on.resource]
    found += [Problem("fields", *one) for one in _fixed(on, template.fields, targets)]
    found += [Problem("lines", *one) for one in _fixed(on, template.lines, LINE_TARGETS)]
    found += [Problem("taxes", *one) for one in _named_taxes(on, template)]
    found += [Problem("lines", *one) for one in _tracked(on, template.lines)]
    found += [Problem("money", "", one) for one in _accounts_of_money(on, template)]
    return tuple(dict.fromkeys(found))


def _with_linked(on: Bench) -> ModuleInfo:
    """The module with the fields of the records it links to, under their dotted names."""
    own, lines = on.info.fields, on.info.line_fields
    return replace(
        on.info, fields=(*own, *_linked(on, own)), line_fields=(*lines, *_linked(on, lines))
    )


def _linked(on: Bench, known: Sequence[Field]) -> Iterator[Field]:
    """The fields of linked records; one of which the linked modules differ is of any kind."""
    for name, kinds in _linked_kinds(on, known).items():
        if len(kinds) == 1:
            yield Field(name, name, next(iter(kinds)))


def _linked_kinds(on: Bench, known: Sequence[Field]) -> dict[str, set[FieldKind]]:
    found: dict[str, set[FieldKind]] = {}
    for link in (one for one in known if one.kind is FieldKind.LINK):
        for module in mappings.linked_modules(link, on.modules):
            for one in on.modules[module].fields:
                found.setdefault(f"{link.name}.{one.name}", set()).add(one.kind)
    return found


def _unknown(on: Bench, known: Sequence[Field], rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Rows that read a field which no record has that the link leads to."""
    names = _linked_kinds(on, known)
    links = {name.partition(".")[0] for name in names}
    for row in rows:
        for name in row.source.reads():
            if name not in names and name.partition(".")[0] in links and "." in name:
                yield row.to, f"There is no field '{name}'{did_you_mean(name, names)}"


def _placed(template: MappingTemplate, to: str, sentence: str) -> Problem:
    if to == "money":
        return Problem("money", "", sentence)
    of_lines = template.module in DOCUMENTS and (
        to in LINE_TARGETS or any(row.to == to for row in template.lines)
    )
    return Problem("lines" if of_lines else "fields", to, sentence)


def _fixed(
    on: Bench, rows: Sequence[Row], targets: Mapping[str, Target]
) -> Iterator[tuple[str, str]]:
    """Faults of the accounts and tax rates that are written into rows."""
    if not on.facts.accounts or not on.facts.tax_rates:
        return
    named = {row.to: row.source for row in rows}
    for row in rows:
        for value in dict.fromkeys(as_text(one) for one in row.source.fixed()):
            wrong = None
            if not value or row.to not in targets:
                continue
            if row.to.endswith("AccountCode"):
                wrong = account_fault(on.facts, value, row.to)
            elif row.to.endswith("TaxType"):
                beside = named.get(row.to.removesuffix("TaxType") + "AccountCode")
                wrong = tax_fault(on.facts, value, _account(on, beside), row.to)
            elif row.to == "CurrencyCode" and not _subscribed(on, value):
                known = {"organisation": on.organisation, "currency": value}
                wrong = fault(row.to, "currency-missing", **known)
            if wrong is not None:
                yield row.to, wrong.sentence


def _tracked(on: Bench, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Faults of tracking categories, and of options that are written into rows."""
    for row in (row for row in rows if row.category):
        known = on.facts.categories
        wrong = tracking_fault(on.facts, row.category, "", row.to)
        category = known.get(folded(row.category))
        if wrong is not None:
            names = [each.name for each in known.values()]
            yield row.to, _guessed(wrong.sentence, row.category, names if on.facts.tracking else ())
            continue
        active = [name for name, usable in category.options if usable] if category else []
        for option in dict.fromkeys(as_text(one) for one in row.source.fixed()):
            wrong = tracking_fault(on.facts, row.category, option, row.to)
            if wrong is not None:
                yield row.to, _guessed(wrong.sentence, option, active)


def _guessed(sentence: str, word: str, possible: Sequence[str]) -> str:
    """A sentence, with what may be meant behind it."""
    by_fold = {folded(each): each for each in possible}
    near = get_close_matches(folded(word), list(by_fold), n=1)
    return f"{sentence} Did you mean “{by_fold[near[0]]}”?" if near else sentence


def _accounts_of_money(on: Bench, template: MappingTemplate) -> Iterator[str]:
    """Faults of the accounts that are named for what isn't a line."""
    if not on.facts.accounts or not on.facts.tax_rates:
        return
    named = (each.name for each in fields(template.money) if each.name.endswith("_account"))
    for code in dict.fromkeys(getattr(template.money, name) for name in named):
        wrong = account_fault(on.facts, code, "AccountCode") if code else None
        if wrong is not None:
            yield wrong.sentence


def _subscribed(on: Bench, currency: str) -> bool:
    """Whether the organisation has a currency, as far as its currencies were read."""
    known = on.facts.currencies
    return not known or currency.upper() in {on.facts.currency, *known}


def _account(on: Bench, source: Any) -> Account | None:
    """The account a line is always booked on, None where that depends on the record."""
    if isinstance(source, Constant):
        return on.facts.by_code.get(as_text(source.value).upper())
    return None


def _named_taxes(on: Bench, template: MappingTemplate) -> Iterator[tuple[str, str]]:
    if not on.facts.tax_rates:
        return
    for rate, name in template.tax_types.items():
        to = as_text(rate)
        wrong = tax_fault(on.facts, name, None, to)
        if wrong is not None:
            yield to, wrong.sentence
        elif not (found := on.facts.by_tax_type[name.upper()]).fits(rate):
            known = {"rate": to, "tax": name, "theirs": as_text(found.rate)}
            yield to, fault(to, "tax-rate-differs", **known).sentence


# -- the line of checks at the top ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `code` and `values` are those of its sentence in the catalogue of words."""

    code: str
    good: bool
    values: Mapping[str, str] = field(default_factory=dict)
    #: Records it is about, by their labels, and how many more there are.
    examples: tuple[tuple[str, RecordRef], ...] = ()
    more: int = 0


def checks(
    services: Services,
    on: Bench,
    template: MappingTemplate,
    records: Sequence[Record] | None = None,
) -> list[Check]:
    """What is well and what isn't: required fields, taxes, rates, accounts, empty values.

    Looks at the newest records only (`records`, where they were read already), and at Xero as
    it was last read.
    """
    if records is None:
        records = mappings.records_here(services, on, look=MOST)
    lacking = [one for one in template.problems(None) if one[1].endswith("or a fixed value.")]
    made = [Check("required", not lacking, {"count": str(len(lacking))})]
    if on.read_at is None:
        return [*made, Check("unread", False)]
    if on.place.module in DOCUMENTS or on.place.module in SOLD:
        lines = on.info.line_fields if on.place.module in DOCUMENTS else on.info.fields
        mapped = template.money.tax_rate in {one.name for one in lines}
        made.append(Check("taxes", mapped))
        if mapped:
            made.append(_rates(on, template, records))
        made.append(_accounts(services, on, template, records))
    made += _blanks(services, on, template, records)
    return made


def rates_in_use(on: Bench, template: MappingTemplate, records: Sequence[Record]) -> list[Decimal]:
    """The tax percentages of some records, the lowest first."""
    name, found = template.money.tax_rate, set()
    for record in records:
        for values in record.lines or (record.fields,):
            value = values.get(name)
            if isinstance(value, Decimal) and value.is_finite() and value:
                found.add(value.normalize())
    return sorted(found)


def _rates(on: Bench, template: MappingTemplate, records: Sequence[Record]) -> Check:
    """Whether each percentage has a tax rate in Xero: the one chosen, else one that fits."""
    for rate in rates_in_use(on, template, records):
        known = {"label": _label(on, template.money.tax_rate), "rate": as_text(rate)}
        name = template.tax_types.get(rate)
        if name is not None:
            found = on.facts.by_tax_type.get(name.upper())
            if found is None or not found.fits(rate):
                theirs = as_text(found.rate) if found else "–"
                return Check("rates.differ", False, known | {"tax": name, "theirs": theirs})
        elif not any(one.status == "ACTIVE" and one.fits(rate) for one in on.facts.tax_rates):
            return Check("rates.none", False, known)
    return Check("rates", True)


def _label(on: Bench, name: str) -> str:
    for one in (*on.info.line_fields, *on.info.fields):
        if one.name == name:
            return one.label
    return name


def _accounts(
    services: Services, on: Bench, template: MappingTemplate, records: Sequence[Record]
) -> Check:
    """Whether the accounts that rows name, or make of the newest records, can be used."""
    rows = [row for row in (*template.fields, *template.lines) if row.to.endswith("AccountCode")]
    codes = {as_text(value) for row in rows for value in row.source.fixed()}
    wrong: dict[str, list[Record]] = {code: [] for code in codes if code}
    of_lines = {row.to for row in template.lines}
    for subject in mappings.subjects(services, on, records):
        for row in rows:
            over = subject.record.lines if row.to in of_lines else (subject.record.fields,)
            get = row.source.compile()
            for values in over:
                try:
                    value = get(mappings.with_links(subject, row, values))
                except ValueFault:
                    continue
                if not empty(value):
                    wrong.setdefault(as_text(value), []).append(subject.record)
    for code, used in wrong.items():
        fault_of = account_fault(on.facts, code, "")
        if fault_of is not None:
            known = {"sentence": fault_of.sentence}
            return Check("accounts.wrong", False, known, *_named(used))
    return Check("accounts", True)


def _blanks(
    services: Services, on: Bench, template: MappingTemplate, records: Sequence[Record]
) -> Iterator[Check]:
    """Records without a value that Xero needs: the module's own, and those it links to."""
    yield from _blanks_of(on, template, on.place.module, records, MOST)
    names = {name for row in (*template.fields, *template.lines) for name in row.source.reads()}
    read = {name.partition(".")[0] for name in names}
    linked = {
        module
        for field in (*on.info.fields, *on.info.line_fields)
        if field.kind is FieldKind.LINK and field.name in read
        for module in mappings.linked_modules(field, on.modules)
    }
    for module in (one for one in on.modules if one in linked and one is not on.place.module):
        others = services.crm.browse(module, text=None, status=None, before=None, limit=MOST_LINKED)
        with services.database.read() as session:
            row = templates.newest(session, on.place.organisation_id, module, None)
        try:
            body = row.body if row is not None else DEFAULTS.get((module, None))
            used = MappingTemplate.from_json(body)
        except TemplateFault:
            continue
        yield from _blanks_of(on, used, module, others, MOST_LINKED)


def _blanks_of(
    on: Bench, template: MappingTemplate, module: Module, records: Sequence[Record], most: int
) -> Iterator[Check]:
    targets = TARGETS[RESOURCE_OF[module]]
    info = on.modules[module]
    links = {one.name for one in info.fields if one.kind == "link"}
    for row in template.fields:
        target = targets.get(row.to)
        if target is None or not (target.required or row.required):
            continue
        if set(row.source.reads()) & links or any("." in one for one in row.source.reads()):
            continue
        get = row.source.compile()
        lacking = [one for one in records if not one.fault and _is_blank(get, one)]
        if not lacking:
            continue
        labels = {one.name: one.label for one in info.fields}
        what = " or ".join(labels.get(name, name).lower() for name in row.source.reads())
        count = len(lacking)
        word = module.singular if count == 1 else module.value.lower()
        known = {
            "count": f"{count} {word}",
            "has": "has" if count == 1 else "have",
            "what": what or row.to,
        }
        part = "blank.part" if len(records) >= most else "blank"
        yield Check(part, False, known | {"most": f"{most:,}"}, *_named(lacking))


def _is_blank(get: Any, record: Record) -> bool:
    try:
        return empty(get(record.fields)) or not as_text(get(record.fields)).strip()
    except ValueFault:
        return False


def _named(records: Sequence[Record]) -> tuple[tuple[tuple[str, RecordRef], ...], int]:
    each = list({record.ref: record for record in records}.values())
    shown = tuple((record.label, record.ref) for record in each[:_EXAMPLES])
    return shown, max(0, len(each) - len(shown))

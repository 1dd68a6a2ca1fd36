"""The mapping page as it is drawn: entries with their results, checks, tests, and what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import url_for

from xtiger.domain.defaults import LISTS, MAY_LACK, MappingTemplate
from xtiger.domain.records import DOCUMENTS, SOLD, DocumentType, FieldKind, RecordRef
from xtiger.domain.transforms import REGISTRY, TemplateFault
from xtiger.domain.values import written_out
from xtiger.engine.mapping import checks, kept_tests, mappings
from xtiger.engine.mapping.checks import Check
from xtiger.engine.mapping.kept_tests import Ran
from xtiger.engine.mapping.mappings import Bench, Subject
from xtiger.engine.mapping.trials import Change, Trial
from xtiger.store import templates
from xtiger.web import formats, mapping_form, mapping_reading
from xtiger.web.frame import load, now, page, xt
from xtiger.web.mapping_form import Draft
from xtiger.web.mapping_words import HOWS, LIMITS, MONEY, NO_ACCOUNT, Changed
from xtiger.web.words import say

#: The most records of one test, and those that the page offers for it.
MOST_TESTED, _OFFERED = 5, 10
#: The records that “Show on record” lists; any other may be typed.
_CHOICE = 25


@dataclass(slots=True)
class Said:
    """What a press of a button brought, shown on the page that answers it."""

    status: int = 200
    #: Sentences at the top: those of what was done, and those of what wasn't.
    done: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    change: Change | None = None
    #: What somebody saved meanwhile against these entries.
    beside: tuple[Changed, ...] = ()
    beside_who: str = ""


def place_values(on: Bench) -> dict[str, Any]:
    """The address of a mapping, for url_for."""
    values: dict[str, Any] = {"org": on.place.organisation_id, "module": on.place.module.value}
    return values | ({"type": on.place.kind} if on.place.kind else {})


def shown(on: Bench, draft: Draft, said: Said) -> Any:
    """The page with these entries and what a button brought."""
    services = xt().services
    records = mappings.records_here(services, on)
    offered = records[:_CHOICE]
    subject = _subject(on, draft, offered, said)
    partly = partly_of(on, draft)
    rows = {"fields": partly.fields, "lines": partly.lines}
    mapping_reading.show(on, draft, mappings.results(on, subject, rows))
    if not said.faults and said.status == 200:
        mapping_reading.note(draft, checks.problems(on, partly))
    with services.database.read() as session:
        frame = load(session)
        tests = templates.tests(session, on.place)
        organisation = frame.organisation(on.place.organisation_id)
    chosen = draft.chosen or [subject.record.ref.id]
    return page(
        "xtiger/mapping.html",
        status=said.status,
        on=on,
        place=place_values(on),
        draft=draft,
        said=said,
        organisation=organisation,
        others=[one for one in frame.organisations if one.id != on.place.organisation_id],
        crumbs=[("Mapping", url_for("xtiger.mapping"))],
        module=on.place.module,
        modules=list(on.modules),
        types=list(DocumentType) if on.place.document_type else [],
        subject=subject,
        offered=offered,
        testable=_testable(offered, subject),
        chosen=chosen,
        checks=[_sentence(one) for one in checks.checks(services, on, partly, records)],
        sources={where: mapping_form.sources(on, where) for where in ("fields", "lines")},
        hows=[(one, words) for one, words in HOWS.items() if one in REGISTRY]
        + [(one, one) for one in REGISTRY if one not in (*HOWS, "field", "constant")],
        form=mapping_form,
        money=_money(on, draft),
        rates=_rates(on, partly, draft, offered),
        tax_rates=[one for one in on.facts.tax_rates if one.status == "ACTIVE"],
        unsent=mapping_reading.unread(on, draft),
        tests=_tests(on, partly, tests),
        change=_change_sentence(said),
        most_tested=MOST_TESTED,
    )


def _subject(on: Bench, draft: Draft, offered: Sequence[Any], said: Said) -> Subject:
    """The record to show results for: the one asked for, the newest, an invented one."""
    services = xt().services
    found = mappings.find_record(services, on, draft.record)
    if found is None and not offered:
        said.done.append(say("mapping.no_record", singular=on.place.module.singular))
        draft.record = ""
        return mappings.invented(on, now().date())
    record = found or offered[0]
    if draft.record and found is None:
        said.faults.append(
            say(
                "mapping.not_found",
                singular=on.place.module.singular,
                words=draft.record[:80],
                label=record.label,
            )
        )
    draft.record = record.label
    return mappings.subjects(services, on, [record])[0]


def chosen_subjects(on: Bench, draft: Draft) -> list[Subject]:
    """The records to test; without any ticked the one that is shown, or an invented one."""
    services = xt().services
    if not draft.chosen:
        found = mappings.find_record(services, on, draft.record)
        records = [found] if found else mappings.records_here(services, on)[:1]
    else:
        refs = [RecordRef(on.place.module, one) for one in draft.chosen[: MOST_TESTED + 1]]
        known = services.crm.fetch_many(refs)
        records = [known[ref] for ref in refs if ref in known]
    if not records and not mappings.records_here(services, on):
        return [mappings.invented(on, now().date())]
    return mappings.subjects(services, on, records)


def _testable(offered: Sequence[Any], subject: Subject) -> list[Any]:
    """The records that can be ticked for a test, the shown one first."""
    others = [one for one in offered if one.ref != subject.record.ref]
    return [subject.record, *others][:_OFFERED]


@dataclass(frozen=True, slots=True)
class Line:
    """One check as the page says it."""

    good: bool
    sentence: str
    examples: tuple[tuple[str, RecordRef], ...]
    more: int
    #: It is about tax rates, which are chosen under Amounts and taxes.
    of_taxes: bool = False


def _sentence(one: Check) -> Line:
    key = f"check.map.{one.code}" if one.good else f"check.map.{one.code}.no"
    values = dict(one.values)
    if one.code == "unread":
        key = "check.map.unread"
    if one.code == "required":
        values["count"] = formats.counted(int(values["count"]), "field")
    of_taxes = not one.good and one.code.startswith(("rates", "taxes"))
    return Line(one.good, say(key, **values), one.examples, one.more, of_taxes)


def _money(on: Bench, draft: Draft) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """(name, label, chosen field, the fields to choose from) of each money field."""
    if on.place.module not in DOCUMENTS and on.place.module not in SOLD:
        return []
    wanted = MONEY if on.place.module in DOCUMENTS else {"tax_rate": MONEY["tax_rate"]}
    found = []
    for key, chosen in draft.money.items():
        if key not in wanted:
            continue
        words, of_line = wanted[key]
        known = on.info.line_fields if of_line and on.info.line_fields else on.info.fields
        options = [
            (one.name, mapping_form.label(one))
            for one in known
            if (one.kind is FieldKind.LIST) == (key in LISTS)
        ]
        if key in NO_ACCOUNT:
            usable = sorted(on.facts.usable.items())
            options = [("", NO_ACCOUNT[key])]
            options += [(code, f"{code} {one.name}") for code, one in usable]
            if chosen not in {value for value, _ in options}:
                options.append((chosen, f"{chosen} (not in Xero)"))
        elif key == "rounding_limit":
            options = list(LIMITS.items())
            if chosen not in LIMITS:
                options.append((chosen, chosen))
        elif key in MAY_LACK and chosen not in {value for value, _ in options}:
            options.insert(0, (chosen, "–"))
        if chosen not in {value for value, _ in options}:
            options.append((chosen, f"{chosen} (not in the CRM)"))
        found.append((key, words, chosen, options))
    return found


def _rates(
    on: Bench, template: MappingTemplate, draft: Draft, offered: Sequence[Any]
) -> list[tuple[str, str]]:
    """Percentages in use or chosen for, each with its TaxType or "", and one to fill in."""
    if on.place.module not in DOCUMENTS and on.place.module not in SOLD:
        return []
    in_use = checks.rates_in_use(on, template, offered)
    typed = dict(draft.taxes)
    rates = [written_out(rate) for rate in in_use]
    return [(rate, typed.pop(rate, "")) for rate in rates] + list(typed.items()) + [("", "")]


@dataclass(frozen=True, slots=True)
class KeptTest:
    """A kept test as the page shows it."""

    row: Any
    passed: bool
    sentences: list[str]


def _tests(on: Bench, template: MappingTemplate, rows: Sequence[Any]) -> list[KeptTest]:
    try:
        ran = kept_tests.run(xt().services, on, template, rows)
    except TemplateFault as wrong:
        return [KeptTest(row, False, [wrong.sentence]) for row in rows]
    return [
        KeptTest(row, one.passed, [] if one.passed else why(one))
        for row, one in zip(rows, ran, strict=True)
    ]


def _change_sentence(said: Said) -> str:
    """How many records in Xero would change, in the words for a test or after saving."""
    found = said.change
    if found is None:
        return ""
    count = formats.counted(len(found.refs), "record")
    looked = formats.counted(found.looked, "record")
    kind = "mapping.change.test" if said.trials else "mapping.change"
    if not found.refs:
        return "" if found.broken else say("mapping.change.none")
    return say(kind if found.whole else f"{kind}.part", count=count, looked=looked)


def why(ran: Ran) -> list[str]:
    """The sentences of a kept test that fails."""
    if ran.faults:
        return [say("mapping.kept.fault", name=ran.name, why=" ".join(ran.faults))]
    nothing = say("mapping.kept.nothing")
    said = [
        say(
            "mapping.kept.differs",
            name=ran.name,
            field=one.field,
            made=one.made or nothing,
            expected=one.expected or nothing,
        )
        for one in ran.differs[:3]
    ]
    if len(ran.differs) > len(said):
        said.append(say("mapping.kept.more", count=len(ran.differs) - len(said)))
    return said


def partly_of(on: Bench, draft: Draft) -> MappingTemplate:
    """A template of the rows that can be read."""
    rows = mapping_reading.readable_rows(draft)
    made = mapping_reading.settled(draft)
    return MappingTemplate(
        on.place.module,
        on.place.document_type,
        fields=tuple(rows["fields"]),
        lines=tuple(rows["lines"]),
        money=made.money,
        tax_types=made.tax_types,
    )

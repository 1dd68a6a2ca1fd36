"""Mapping: where each Xero field's value comes from, proved on a real record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import abort, redirect, request, url_for
from sqlalchemy.orm import Session

from xtiger.domain.automap import proposals
from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.records import DOCUMENTS, DocumentType, Module
from xtiger.domain.transforms import TemplateFault
from xtiger.engine.mapping import checks, kept_tests, mappings, trials, uses
from xtiger.engine.mapping.mappings import Bench
from xtiger.engine.mapping.trials import Change
from xtiger.engine.mapping.versions import Carried, Refused, read_version, save
from xtiger.engine.mapping.versions import imported as read_import
from xtiger.store import profiles, templates
from xtiger.store.models import Organisation, Template
from xtiger.store.templates import MOST_TESTS, Place, Stale, TooManyTests
from xtiger.web import formats, mapping_form, mapping_reading
from xtiger.web.access import needs
from xtiger.web.actions import done, module_of, name, whole
from xtiger.web.frame import Frame, clock_time, load, now, page, xt
from xtiger.web.mapping_form import Draft
from xtiger.web.mapping_page import (
    MOST_TESTED,
    Said,
    chosen_subjects,
    partly_of,
    place_values,
    shown,
    why,
)
from xtiger.web.mapping_words import changed
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()
#: The most records in Xero that one page builds anew to count what would change.
MOST = 2_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One mapping of the overview: its address, its version, and what is wrong with it."""

    name: str
    address: str
    enabled: bool
    latest: Template | None
    faults: list[str]


@routes.get("/mapping")
@needs("setup")
def mapping() -> Any:
    """Every mapping with its version and its faults; `?module=` and `?type=` open one of them."""
    with xt().services.database.read() as session:
        frame = load(session)
        if not frame.organisations:
            return page("xtiger/mapping_none.html", module=Module.INVOICES)
        if not request.args.get("module"):
            return page(
                "xtiger/mappings.html",
                groups=[(each, _entries(session, frame, each)) for each in frame.shown],
            )
    module = module_of(request.args["module"])
    kept: dict[str, Any] = {
        one: request.args[one] for one in ("type", "record") if request.args.get(one)
    }
    if module not in DOCUMENTS:
        kept.pop("type", None)
    org = frame.shown[0].id
    return redirect(url_for("xtiger.mapping_of", org=org, module=module.value, **kept), 302)


def _entries(session: Session, frame: Frame, organisation: Organisation) -> list[Entry]:
    on = {
        one.module: one.enabled
        for one in profiles.profiles(session)
        if one.organisation_id == organisation.id
    }
    found = []
    for module in xt().services.crm.modules():
        for kind in list(DocumentType) if module in DOCUMENTS else [None]:
            row = templates.newest(session, organisation.id, module, kind)
            name = uses.named(module, kind)
            values: dict[str, Any] = {"org": organisation.id, "module": module.value}
            address = url_for("xtiger.mapping_of", **values, type=kind.value if kind else None)
            gone = [
                each.cause
                for each in frame.warnings.get(organisation.id, ())
                if name in each.use.mappings
            ]
            found.append(Entry(name, address, on.get(module, False), row, [*_unusable(row), *gone]))
    return found


def _unusable(row: Template | None) -> list[str]:
    """What keeps a version from being used at all."""
    if row is None:
        return []
    try:
        lacking = MappingTemplate.from_json(row.body).problems()
    except TemplateFault as wrong:
        return [wrong.sentence]
    return [sentence for _to, sentence in lacking]


@routes.get("/mapping/<int:org>/<module>")
@needs("setup")
def mapping_of(org: int, module: str) -> Any:
    """The version in use, with its results for a record."""
    on = bench_of(org, module, request.args.get("type"))
    said = Said()
    template = MappingTemplate(on.place.module, on.place.document_type)
    if on.latest is not None:
        try:
            template = MappingTemplate.from_json(on.latest.body)
        except TemplateFault as wrong:
            said.faults.append(wrong.sentence)
    else:
        said.done.append(say("mapping.unmade"))
    draft = mapping_form.draft_of(on, template, seen=on.seen)
    draft.record = request.args.get("record", "")
    saved = whole(request.args.get("saved"))
    if saved and on.latest is not None and saved == on.latest.version and not said.faults:
        said.change = _change(on, template, said)
        said.done.append(say("mapping.saved", version=saved))
    return shown(on, draft, said)


@routes.post("/mapping/<int:org>/<module>")
@needs("setup")
def mapping_act(org: int, module: str) -> Any:
    """One of the page's buttons. Only Save and the tests' own change anything."""
    on = bench_of(org, module, request.form.get("type"))
    draft = mapping_form.draft_from(on, request.form)
    said = Said()
    act, _, value = request.form.get("act", "show").partition(":")
    acts = {"automap": _auto_map, "test": _test, "keep": _keep, "drop": _drop}
    if act == "save":
        return _save(on, draft, said)
    if act in acts:
        acts[act](on, draft, said, value)
    return shown(on, draft, said)


def bench_of(org: int, module: str, kind: str | None) -> Bench:
    """What the address names, or 404."""
    chosen = module_of(module)
    with xt().services.database.read() as session:
        if load(session).organisation(org) is None:
            abort(404)
    if chosen not in xt().services.crm.modules():
        abort(404)
    found = None
    if chosen in DOCUMENTS:
        found = next((one for one in DocumentType if one.value == kind), DocumentType.INVOICE)
    return mappings.bench(xt().services, Place(org, chosen, found))


# -- the buttons ------------------------------------------------------------------------------


def _auto_map(on: Bench, draft: Draft, said: Said, _value: str) -> None:
    """Proposes a source for each empty row; nothing filled is touched."""
    rows = mapping_reading.readable_rows(draft)
    template = partly_of(on, draft)
    proposed = dict(zip(("fields", "lines"), proposals(template, on.info), strict=True))
    count = 0
    for place, row in enumerate(draft.rows):
        found = next((one for one in proposed[row.where] if one.to == row.to), None)
        if found is not None and not row.sent and found not in rows[row.where]:
            draft.rows[place] = mapping_form.row_form(row.where, row.to, row.target, found)
            draft.rows[place].proposed = True
            count += 1
    if count:
        said.done.append(say("mapping.proposed", count=formats.counted(count, "field")))
    else:
        said.done.append(say("mapping.proposed.none"))


def _test(on: Bench, draft: Draft, said: Said, _value: str) -> None:
    """Builds one to five records as they would be sent."""
    template = _whole(on, draft, said)
    if template is None:
        return
    chosen = chosen_subjects(on, draft)
    if not 1 <= len(chosen) <= MOST_TESTED:
        said.faults.append(say("mapping.test.choose"))
        said.status = 422
        return
    said.trials = [trials.trial(xt().services, on, template, one) for one in chosen]
    said.change = _change(on, template, said)


def _keep(on: Bench, draft: Draft, said: Said, value: str) -> None:
    """Keeps what a record makes now as a test."""
    template = _whole(on, draft, said)
    if template is None:
        return
    draft.chosen = draft.chosen or [value]
    services = xt().services
    for subject in chosen_subjects(on, draft):
        if subject.record.ref.id != value:
            continue
        sample = kept_tests.sample_of(subject)
        expected = kept_tests.worth_keeping(services, on, template, sample)
        if not expected:
            said.faults += trials.trial(services, on, template, subject).faults
            continue
        label = subject.record.label[:255]
        try:
            with services.database.write() as session:
                templates.keep_test(
                    session,
                    on.place,
                    label,
                    sample=sample,
                    expected=expected,
                    who=name(),
                    now=now(),
                )
        except TooManyTests:
            said.faults.append(say("mapping.kept.full", most=MOST_TESTS))
        else:
            said.done.append(say("mapping.kept", name=label))


def _drop(on: Bench, draft: Draft, said: Said, value: str) -> None:
    """Removes a kept test; the entries stay."""
    with xt().services.database.write() as session:
        dropped = templates.drop_test(session, on.place, whole(value) or 0)
    if dropped is not None:
        said.done.append(say("mapping.kept.dropped", name=dropped))


def _save(on: Bench, draft: Draft, said: Said) -> Any:
    """Saves the entries as the next version, or shows them again with what keeps them from it."""
    template = _whole(on, draft, said)
    if template is None:
        return shown(on, draft, said)
    return keep(on, draft, template, said, seen=draft.seen, carried=_carried(on, draft))


def keep(
    on: Bench,
    draft: Draft,
    template: MappingTemplate,
    said: Said,
    *,
    seen: int,
    carried: Sequence[Carried] = (),
    words: str = "",
    same: str = "",
) -> Any:
    """Saves a template, or shows its entries with the reasons.

    `words` say what was done, with {version} in them; `same` that nothing was different.
    """
    try:
        saved = save(xt().services, on, template, seen=seen, who=name(), carried=carried)
    except Stale as stale:
        return _stale(on, draft, template, stale.latest, said)
    except TooManyTests:
        said.faults.append(say("mapping.kept.full", most=MOST_TESTS))
    except Refused as refused:
        mapping_reading.note(draft, refused.problems)
        said.faults += [sentence for one in refused.failed for sentence in why(one)]
        if refused.failed:
            said.faults.append(say("mapping.kept.help"))
    else:
        if not saved.new:
            done(same or say("mapping.saved.same", version=saved.version))
            return redirect(url_for("xtiger.mapping_of", **place_values(on)), 303)
        if words:
            done(words.replace("{version}", str(saved.version)))
        kept: dict[str, Any] = {"record": draft.record} if draft.record else {}
        return redirect(
            url_for("xtiger.mapping_of", **place_values(on), saved=saved.version, **kept), 303
        )
    said.status = 422
    return shown(on, draft, said)


def _stale(on: Bench, draft: Draft, template: MappingTemplate, latest: Template, said: Said) -> Any:
    """The entries again, beside what somebody else saved; the next Save goes over it."""
    said.status = 409
    said.faults.append(say("mapping.stale", who=latest.author, time=clock_time(latest.made_at)))
    theirs = read_version(latest)
    said.beside = changed(on, theirs.differences(template))
    said.beside_who = f"v{latest.version}, {latest.author}"
    draft.seen = latest.version
    return shown(mappings.bench(xt().services, on.place), draft, said)


def _carried(on: Bench, draft: Draft) -> list[Carried]:
    """The tests that an import brought, read again: a form proves nothing."""
    if not draft.carried:
        return []
    try:
        return read_import(on, draft.carried.encode("utf-8", "replace"))[1]
    except TemplateFault:
        return []


def _whole(on: Bench, draft: Draft, said: Said) -> MappingTemplate | None:
    """The entries as a template that can be used, None with the faults noted."""
    template = mapping_reading.read(on, draft)
    if template is not None:
        mapping_reading.note(draft, checks.problems(on, template))
    if template is None or draft.faults or any(row.faults for row in draft.rows):
        said.status = 422
        return None
    return template


def _change(on: Bench, template: MappingTemplate, said: Said) -> Change | None:
    try:
        return trials.would_change(xt().services, on, template, most=MOST)
    except TemplateFault as wrong:
        said.faults.append(wrong.sentence)
        return None

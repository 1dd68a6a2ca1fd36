"""Versions of a mapping: compared, restored, exported, imported, copied, and what they change."""

from __future__ import annotations

from typing import Any

from flask import abort, make_response, request, url_for

from xtiger.domain.errors import PermanentError
from xtiger.domain.transforms import TemplateFault
from xtiger.engine import intake
from xtiger.engine.intake import Added
from xtiger.engine.mapping.mappings import Bench
from xtiger.engine.mapping.trials import Change, would_change
from xtiger.engine.mapping.versions import (
    LARGEST,
    carried_from,
    exported,
    imported,
    packed,
    read_version,
)
from xtiger.store import templates
from xtiger.store.schema import MOST_ROWS
from xtiger.web import adding, formats, mapping_form
from xtiger.web.access import needs
from xtiger.web.actions import fault, go, name, say_added, spoken, whole
from xtiger.web.frame import load, page, xt
from xtiger.web.mapping import MOST, bench_of, keep
from xtiger.web.mapping_page import Said, place_values, shown
from xtiger.web.mapping_words import changed
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()
#: Versions on one page.
_PAGE = 50


@routes.get("/mapping/<int:org>/<module>/versions")
@needs("setup")
def mapping_versions(org: int, module: str) -> Any:
    """Every version with who made it and when; two of them compared."""
    on = bench_of(org, module, request.args.get("type"))
    before = whole(request.args.get("before"))
    with xt().services.database.read() as session:
        frame = load(session)
        rows = list(templates.versions(session, on.place, before=before, limit=_PAGE + 1))
        old = _asked(session, on, "old")
        new = _asked(session, on, "new") or on.latest
    compared = None
    if old is not None and new is not None:
        with spoken():
            found = read_version(old).differences(read_version(new))
            compared = (old, new, changed(on, found))
    return page(
        "xtiger/mapping_versions.html",
        on=on,
        place=place_values(on),
        organisation=frame.organisation(org),
        module=on.place.module,
        versions=rows[:_PAGE],
        older=rows[_PAGE - 1].version if len(rows) > _PAGE else None,
        compared=compared,
        crumbs=_crumbs(on),
    )


def _asked(session: Any, on: Any, which: str) -> Any:
    number = whole(request.args.get(which))
    return templates.version(session, on.place, number) if number else None


@routes.post("/mapping/<int:org>/<module>/restore")
@needs("setup")
def mapping_restore(org: int, module: str) -> Any:
    """Makes an old version the one in use, as a new version; its kept tests must pass."""
    on = bench_of(org, module, request.form.get("type"))
    number = whole(request.form.get("version")) or 0
    with xt().services.database.read() as session:
        row = templates.version(session, on.place, number)
    if row is None:
        fault(say("mapping.versions.gone", number=number))
        return go("mapping_versions", **place_values(on))
    with spoken():
        template = read_version(row)
        draft = mapping_form.draft_of(on, template, seen=whole(request.form.get("seen")) or 0)
        words = say("mapping.restored", old=number, version="{version}")
        return keep(on, draft, template, Said(), seen=draft.seen, words=words)
    return go("mapping_versions", **place_values(on))


@routes.get("/mapping/<int:org>/<module>.json")
@needs("setup")
def mapping_json(org: int, module: str) -> Any:
    """A version with its tests as a file, the one in use unless `version` names another."""
    on = bench_of(org, module, request.args.get("type"))
    with xt().services.database.read() as session:
        row = _asked(session, on, "version") or on.latest
    if row is None:
        abort(404)
    answer = make_response(exported(xt().services, on, row))
    answer.mimetype = "application/json"
    title = f"mapping-{on.place.kind or on.place.module.value}-v{row.version}.json".lower()
    answer.headers["Content-Disposition"] = f'attachment; filename="{title}"'
    return answer


@routes.post("/mapping/<int:org>/<module>/import")
@needs("setup")
def mapping_import(org: int, module: str) -> Any:
    """Shows a file's mapping as entries; nothing is saved by it."""
    on = bench_of(org, module, request.form.get("type"))
    file = request.files.get("file")
    data = file.read(LARGEST + 1) if file else b""
    data = data or request.form.get("text", "").encode("utf-8", "replace")
    said = Said()
    if not data.strip():
        fault(say("mapping.import.none"))
        return go("mapping_of", **place_values(on))
    try:
        template, tests = imported(on, data)
    except TemplateFault as wrong:
        fault(wrong.sentence[:1000])
        return go("mapping_of", **place_values(on))
    draft = mapping_form.draft_of(on, template, seen=on.seen)
    draft.carried = packed(template.to_json(), tests).decode() if tests else ""
    said.done.append(say("mapping.imported"))
    if tests:
        count = formats.counted(len(tests), "test")
        said.done.append(say("mapping.imported.tests", count=count))
    return shown(on, draft, said)


@routes.post("/mapping/<int:org>/<module>/copy")
@needs("setup")
def mapping_copy(org: int, module: str) -> Any:
    """Makes this version the next one of another organisation, with its tests.

    What doesn't fit there isn't saved: the other organisation's page opens with the entries.
    """
    on = bench_of(org, module, request.form.get("type"))
    other = whole(request.form.get("to"))
    if on.latest is None or other is None or other == org:
        abort(404)
    there = bench_of(other, module, on.place.kind)
    try:
        template = read_version(on.latest)
    except PermanentError as wrong:
        fault(wrong.sentence)
        return go("mapping_of", **place_values(on))
    tests = carried_from(xt().services, on)
    draft = mapping_form.draft_of(there, template, seen=there.seen)
    draft.carried = packed(template.to_json(), tests).decode() if tests else ""
    words = say("mapping.copied", organisation=on.organisation, version="{version}")
    return keep(
        there,
        draft,
        template,
        Said(done=[say("mapping.copied.faults", organisation=on.organisation)]),
        seen=there.seen,
        carried=tests,
        words=words,
        same=say("mapping.copied.same", organisation=there.organisation),
    )


@routes.get("/mapping/<int:org>/<module>/add")
@needs("setup")
def mapping_add_ask(org: int, module: str) -> Any:
    """Asks before more than a few records are added: how many now, and the calls they take."""
    on = bench_of(org, module, request.args.get("type"))
    found = _changed(on)
    if found is None or not found.refs:
        return go("mapping_of", **place_values(on), saved=on.seen)
    with xt().services.database.read() as session:
        organisation = load(session).organisation(org) or abort(404)
    return adding.ask(
        organisation,
        on.place.module,
        len(found.refs),
        whole=found.whole,
        action=url_for("xtiger.mapping_add", org=org, module=module),
        back=url_for("xtiger.mapping_of", **place_values(on), saved=on.seen),
        hidden={"type": on.place.kind, "asked": "1"},
        crumbs=_crumbs(on),
    )


@routes.post("/mapping/<int:org>/<module>/add")
@needs("setup")
def mapping_add(org: int, module: str) -> Any:
    """Adds what the version in use would change in Xero to the Queue, if it is still as much."""
    on = bench_of(org, module, request.form.get("type"))
    found = _changed(on)
    if found is None:
        return go("mapping_of", **place_values(on))
    many = len(found.refs) > adding.UNASKED
    if adding.moved(len(found.refs), whole(request.form.get("count")) or 0):
        if many:
            return go("mapping_add_ask", **place_values(on))
        return go("mapping_of", **place_values(on), saved=on.seen)
    if many and not request.form.get("asked"):
        return go("mapping_add_ask", **place_values(on))
    with spoken():
        added = Added()
        for start in range(0, len(found.refs), MOST_ROWS):
            refs = found.refs[start : start + MOST_ROWS]
            more = intake.add_records(xt().services, refs, who=name())
            added = Added(
                added.count + more.count, added.first or more.first, more.last or added.last
            )
        what = formats.counted(added.count, on.place.module.singular)
        say_added(added.count, added.first, added.last, what)
    return go("mapping_of", **place_values(on))


def _changed(on: Bench) -> Change | None:
    """What the version in use would change in Xero; None, and why is said, where it can't be."""
    if on.latest is None:
        abort(404)
    with spoken():
        return would_change(xt().services, on, read_version(on.latest), most=MOST)
    return None


def _crumbs(on: Bench) -> list[tuple[str, str]]:
    return [
        ("Mapping", url_for("xtiger.mapping")),
        (
            f"{on.place.kind or on.place.module.value} for {on.organisation}",
            url_for("xtiger.mapping_of", **place_values(on)),
        ),
    ]

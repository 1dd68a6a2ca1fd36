"""What syncs: for each organisation and module which records go, what becomes of them, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from flask import abort, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain import selection
from xtiger.domain.records import DOCUMENTS, Module, ModuleInfo
from xtiger.domain.resources import CATALOGUE, RESOURCE_OF
from xtiger.domain.selection import SyncProfile
from xtiger.domain.zones import city, zone_name
from xtiger.engine import counting, intake
from xtiger.engine.connection import reference
from xtiger.engine.counting import Count
from xtiger.store import leases, profiles
from xtiger.store.models import Organisation, Profile
from xtiger.web import adding, formats
from xtiger.web.access import can, needs
from xtiger.web.actions import done, go, module_of, name, say_added, spoken
from xtiger.web.actions import whole as parsed
from xtiger.web.frame import clock_time, load, now, page, xt
from xtiger.web.lists import whole
from xtiger.web.routes import Routes
from xtiger.web.what_forms import ProfileForm, data_of, dated_by, fit, keep, removal_of, seen_of
from xtiger.web.what_forms import wanted as profile_in
from xtiger.web.words import say

routes = Routes()

#: Seconds for which the overview counts each module, and a page while somebody edits it.
_GLANCE, _EDITING = 1.0, 2.0


@dataclass(frozen=True, slots=True)
class _Place:
    """One profile: its row, and what it belongs to."""

    row: Profile
    profile: SyncProfile
    organisation: Organisation
    info: ModuleInfo


@routes.get("/what-syncs")
@needs("setup")
def what_syncs() -> Any:
    """Every module of every organisation with its rule; `?count=1` counts what each selects."""
    with xt().services.database.read() as session:
        frame = load(session)
        found = profiles.profiles(session)
        paused = {row.id: profiles.paused_modules(session, row.id) for row in frame.organisations}
    if frame.chosen:
        found = [one for one in found if one.organisation_id == frame.chosen.id]
    known = xt().services.crm.modules()
    counts = {}
    if request.args.get("count"):
        counts = {
            (one.organisation_id, one.module): counting.count(xt().services, one, seconds=_GLANCE)
            for one in found
            if one.enabled and one.module in known
        }
    labels = {
        module: {field.name: field.label for field in info.fields} for module, info in known.items()
    }
    return page(
        "xtiger/what_syncs.html",
        profiles=found,
        documents=DOCUMENTS,
        paused=paused,
        counts=counts,
        labels=labels,
    )


@routes.get("/what-syncs/<int:org>/<module>")
@needs("setup")
def what_profile(org: int, module: str) -> Any:
    """One profile's form; `?from=` fills it in as another organisation has it, unsaved."""
    place = _place(org, module)
    given = data_of(place.row)
    note = None
    other = whole("from")
    if other is not None and other != org:
        theirs = _place(other, module)
        routes_of = ("route_field", "route_value")
        given |= {key: value for key, value in data_of(theirs.row).items() if key not in routes_of}
        what = {"module": place.info.module.value, "organisation": theirs.organisation.name}
        note = say("what.copied", **what)
    form = ProfileForm(formdata=None, data=given | {"seen": seen_of(place.row)})
    fit(form, place.info)
    counted = _counted(place, place.profile) if request.args.get("count") else None
    return _page(form, place, counted=counted, note=note)


@routes.post("/what-syncs/<int:org>/<module>")
@needs("setup")
def what_save(org: int, module: str) -> Any:
    """Saves a profile, or with `do` only counts what it would select; nothing is sent by it."""
    place = _place(org, module)
    form = ProfileForm()
    fit(form, place.info)
    if not form.validate():
        return _page(form, place, status=422)
    wanted = profile_in(form, place.profile, place.info)
    asked = request.form.get("do", "")
    if asked in ("count", "which"):
        counted = _counted(place, wanted)
        return _page(form, place, counted=counted, which=asked == "which")
    if form.seen.data != seen_of(place.row):
        return _stale(form, place)
    with xt().services.database.read() as session:
        clash = _overlap(session, wanted, place.info)
    if clash is not None:
        return _page(form, place, status=422, clash=clash)
    counted = counting.count(xt().services, wanted)
    if confirm := _confirm(form, place, wanted, counted):
        form.typed.render_kw = {"autofocus": True, "autocomplete": "off"}
        return _page(form, place, status=422, counted=counted, confirm=confirm)
    with xt().services.database.write() as session:
        # Two may save at one moment, of this organisation or of two that would overlap: the
        # second waits here, and then looks again at what the first has left.
        leases.lock_all(session)
        row = _row(session, org, place.info.module)
        changed = form.seen.data != seen_of(row)
        clash = None if changed else _overlap(session, wanted, place.info)
        if not changed and clash is None:
            keep(wanted, row)
            row.changed_by, row.changed_at = name()[:255], now()
    if changed:
        return _stale(form, _place(org, module))
    if clash is not None:
        return _page(form, place, status=422, clash=clash)
    if counted.brought:
        what = _are(counted.brought, place.info.module.singular)
        done(say("what.saved", what=what))
    else:
        done(say("what.saved.none"))
    brought = 1 if counted.brought else None
    return go("what_profile", org=org, module=place.info.module.value, brought=brought)


@routes.get("/what-syncs/<int:org>/<module>/add")
@needs("run")
def what_add_ask(org: int, module: str) -> Any:
    """Asks before more than a few records are added: how many now, and the calls they take."""
    place = _place(org, module)
    where, count = place.info.module, 0
    with spoken():
        count, exact = _to_add(place)
    if not count:
        done(say("added.none"))
        return go("what_profile", org=org, module=where.value)
    return adding.ask(
        place.organisation,
        where,
        count,
        whole=exact,
        action=url_for("xtiger.what_add", org=org, module=where.value),
        back=url_for("xtiger.what_profile", org=org, module=where.value, brought=1),
        hidden={},
        crumbs=[
            ("What syncs", url_for("xtiger.what_syncs")),
            (
                say("what.title", module=where.value, organisation=place.organisation.name),
                url_for("xtiger.what_profile", org=org, module=where.value),
            ),
        ],
    )


@routes.post("/what-syncs/<int:org>/<module>/add")
@needs("run")
def what_add(org: int, module: str) -> Any:
    """Adds what the profile selects and Xero hasn't as it is; many only once they were counted."""
    place = _place(org, module)
    where = place.info.module
    seen = parsed(request.form.get("count"))
    with spoken():
        count, exact = _to_add(place)
        # A count that was broken off says nothing of what changed.
        if (exact and adding.moved(count, seen)) or (seen is None and count > adding.UNASKED):
            back = "what_add_ask" if count else "what_profile"
            return go(back, org=org, module=where.value)
        added = intake.add_selected(xt().services, organisation_id=org, modules=[where], who=name())
        what = formats.counted(added.count, where.singular)
        say_added(added.count, added.first, added.last, what)
    return go("what_profile", org=org, module=where.value)


def _to_add(place: _Place) -> tuple[int, bool]:
    return intake.would_add(
        xt().services,
        organisation_id=place.organisation.id,
        module=place.info.module,
        most=adding.MOST,
    )


@routes.post("/what-syncs/<int:org>/<module>/_live")
@needs("setup")
def what_live(org: int, module: str) -> Any:
    """The count's line while somebody edits; what can't be read yet counts nothing."""
    place = _place(org, module)
    form = ProfileForm()
    fit(form, place.info)
    counted = None
    if form.validate():
        wanted = profile_in(form, place.profile, place.info)
        counted = _counted(place, wanted, seconds=_EDITING)
    return render_template("xtiger/_what_count.html", counted=counted, **_count_words(place))


def _place(org: int, module: str) -> _Place:
    chosen = module_of(module)
    info = xt().services.crm.modules().get(chosen)
    with xt().services.database.read() as session:
        row = _row(session, org, chosen)
        organisation = session.get_one(Organisation, org)
        profile = profiles.profile_of(row, organisation)
    if info is None or not organisation.chosen:
        abort(404)
    return _Place(row, profile, organisation, info)


def _row(session: Session, org: int, module: Module) -> Profile:
    row = session.scalar(
        select(Profile).where(Profile.organisation_id == org, Profile.module == module.value)
    )
    if row is None:
        abort(404)
    return row


def _overlap(session: Session, wanted: SyncProfile, info: ModuleInfo) -> str | None:
    """The sentence that refuses profiles by which one document could go to two places."""
    found = profiles.profiles(session)
    mine = (wanted.organisation_id, wanted.module)
    others = [wanted if (one.organisation_id, one.module) == mine else one for one in found]
    return selection.overlaps(others, {field.name: field.label for field in info.fields})


def _stale(form: ProfileForm, place: _Place) -> Any:
    """Somebody saved meanwhile: what was entered is kept, and what differs is listed."""
    row = place.row
    who, when = row.changed_by or "Somebody", clock_time(row.changed_at)
    clash = say("what.changed", who=who, time=when)
    theirs = ProfileForm(formdata=None, data=data_of(row))
    fit(theirs, place.info)
    differs = [
        say("what.changed.line", label=mine.label.text, theirs=_said(other), mine=_said(mine))
        for mine in form
        if mine.name in data_of(row) and mine.name in theirs
        for other in (theirs[mine.name],)
        if _said(other) != _said(mine)
    ]
    # Whoever has compared may save over it.
    form.seen.data = form.seen.raw_data = seen_of(row)
    return _page(form, place, status=409, clash=clash, differs=differs)


def _said(field: Any) -> str:
    """A field's value as the page prints it."""
    value = field.data
    choices: Mapping[Any, Any] = {}
    if getattr(field, "choices", None):
        choices = (
            {str(each.data): each.label.text for each in field}
            if field.type in ("RadioField",)
            else {str(each.value): each.label for each in field.choices if hasattr(each, "label")}
        )
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(sorted(map(str, value))) or "–"
    if isinstance(value, date):
        return formats.day(value)
    return str(choices.get(str(value), value) if value not in (None, "") else "–")


def _confirm(form: ProfileForm, place: _Place, wanted: SyncProfile, counted: Count) -> str | None:
    """The sentence that asks for the organisation's name; None where nothing need be typed."""
    old, new = place.profile.rule, wanted.rule
    earlier = _earlier(new.created_from, old.created_from) or _earlier(
        new.dated_from, old.dated_from
    )
    if place.info.module not in DOCUMENTS or not earlier or not counted.brought:
        return None
    if (form.typed.data or "").strip() == place.organisation.name:
        return None
    if form.typed.data:
        form.typed.errors = [say("what.confirm.wrong", organisation=place.organisation.name)]
    batch = CATALOGUE[RESOURCE_OF[place.info.module]].batch_size
    calls = -(-counted.brought // batch)
    return say(
        "what.confirm",
        what=formats.counted(counted.brought, place.info.module.singular),
        calls=formats.counted(calls, "call"),
        minutes=formats.counted(-(-calls // 60), "minute"),
        organisation=place.organisation.name,
    )


def _earlier(new: date | None, old: date | None) -> bool:
    """Whether a cut-off lets older records in than before."""
    return old is not None and (new is None or new < old)


def _counted(
    place: _Place, wanted: SyncProfile, *, seconds: float = counting.SECONDS
) -> Count | None:
    return counting.count(xt().services, wanted, seconds=seconds) if wanted.enabled else Count()


def _are(number: int, noun: str) -> str:
    """37 invoices are, 1 invoice is."""
    return f"{formats.counted(number, noun)} {'is' if number == 1 else 'are'}"


def _count_words(place: _Place) -> dict[str, Any]:
    return {"module": place.info.module, "organisation": place.organisation}


def _locks(place: _Place) -> str | None:
    """What Xero has locked, as last read."""
    with xt().services.database.read() as session:
        facts = reference.facts(session, place.organisation.id)
    if facts is None:
        return None
    until, at = facts.facts.locked_until, clock_time(facts.read_at)
    if until is None:
        return say("what.locked.none", time=at)
    return say("what.locked.until", day=formats.day(until), time=at)


def _page(
    form: ProfileForm,
    place: _Place,
    *,
    status: int = 200,
    clash: str | None = None,
    differs: Sequence[str] = (),
    counted: Count | None = None,
    which: bool = False,
    confirm: str | None = None,
    note: str | None = None,
) -> Any:
    row, module = place.row, place.info.module
    with xt().services.database.read() as session:
        frame = load(session)
        pause = profiles.paused_modules(session, row.organisation_id).get(module)
    documents = module in DOCUMENTS
    return page(
        "xtiger/what_profile.html",
        status=status,
        form=form,
        info=place.info,
        **_count_words(place),
        documents=documents,
        dated=documents and dated_by(place.info) is not None,
        clash=clash,
        differs=differs,
        counted=counted,
        which=which,
        confirm=confirm,
        note=note,
        brought=bool(request.args.get("brought")) and can("run"),
        removal=removal_of(module).value,
        zone=city(zone_name(place.organisation.time_zone)),
        locks=_locks(place) if documents else None,
        others=[one for one in frame.organisations if one.id != row.organisation_id],
        pause=pause,
        crumbs=[("What syncs", url_for("xtiger.what_syncs"))],
        modules=list(xt().services.crm.modules()),
    )

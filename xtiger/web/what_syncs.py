"""What syncs: for each organisation and module which records go, and when they count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import abort, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session
from wtforms import SelectChoice

from xtiger.domain import selection
from xtiger.domain.records import DOCUMENTS, FieldKind, Module, ModuleInfo
from xtiger.domain.resources import CATALOGUE, RESOURCE_OF, Removal
from xtiger.domain.selection import RuleKind, SelectionRule, SyncProfile
from xtiger.engine.intake import decide_many
from xtiger.store import profiles
from xtiger.store.models import Profile
from xtiger.web import formats
from xtiger.web.access import needs
from xtiger.web.actions import done, go, module_of
from xtiger.web.forms import ProfileForm, clean
from xtiger.web.frame import load, page, xt
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()
#: The most records that [Count again] looks at.
MOST = 5_000


@routes.get("/what-syncs")
@needs("setup")
def what_syncs() -> Any:
    """Every module of every organisation with its rule."""
    with xt().services.database.read() as session:
        frame = load(session)
        found = profiles.profiles(session)
        paused = {row.id: profiles.paused_modules(session, row.id) for row in frame.organisations}
    if frame.chosen:
        found = [one for one in found if one.organisation_id == frame.chosen.id]
    return page("xtiger/what_syncs.html", profiles=found, documents=DOCUMENTS, paused=paused)


@routes.get("/what-syncs/<int:org>/<module>")
@needs("setup")
def what_profile(org: int, module: str) -> Any:
    """One profile's form."""
    chosen = module_of(module)
    with xt().services.database.read() as session:
        row = _row(session, org, chosen)
    form = ProfileForm(formdata=None, data=_data(row))
    counted = _count(row) if request.args.get("count") else None
    return _page(form, row, chosen, counted=counted)


@routes.post("/what-syncs/<int:org>/<module>")
@needs("setup")
def what_save(org: int, module: str) -> Any:
    """Saves a profile; nothing is sent by it. Overlapping profiles are refused."""
    chosen = module_of(module)
    form = ProfileForm()
    with xt().services.database.read() as session:
        before = _row(session, org, chosen)
    info = _choices(form, chosen)
    if not form.validate():
        return _page(form, before, chosen, status=422)
    with xt().services.database.write() as session:
        row = _row(session, org, chosen)
        if form.seen.data != _seen(row):
            clash: str | None = say("what.changed", who="Somebody")
            status = 409
        else:
            clash = _overlap(session, form, row, info)
            status = 422
        if clash is None:
            _keep(form, row, info)
    if clash is not None:
        return _page(form, before, chosen, status=status, clash=clash)
    done(say("what.saved"))
    return go("what_profile", org=org, module=chosen.value)


def _row(session: Session, org: int, module: Module) -> Profile:
    row = session.scalar(
        select(Profile).where(Profile.organisation_id == org, Profile.module == module.value)
    )
    if row is None:
        abort(404)
    return row


def _data(row: Profile) -> dict[str, Any]:
    return {
        "seen": _seen(row),
        "enabled": row.enabled,
        "rule": row.rule,
        "statuses": list(row.statuses or ()),
        "created_from": row.created_from,
        "target_status": row.target_status,
        "add_needed": "1" if row.add_needed else "0",
        "route_field": row.route_field or "",
        "route_value": row.route_value or "",
        "retries": row.retries,
        "order": "strict" if row.strict else "normal",
        "deleted": row.deleted,
    }


def _seen(row: Profile) -> str:
    """What the form was made from, so that a stale one is noticed."""
    parts = (
        row.enabled,
        row.rule,
        sorted(row.statuses or ()),
        row.created_from,
        row.target_status,
        row.add_needed,
        row.route_field,
        row.route_value,
        row.retries,
        row.strict,
        row.deleted,
    )
    return "|".join(str(part) for part in parts)


#: What only a document's profile has.
_OF_DOCUMENTS = ("target_status", "add_needed", "route_field", "route_value")


def _choices(form: ProfileForm, module: Module) -> ModuleInfo:
    """Gives the form what the CRM has: statuses, and fields a condition can ask for."""
    info = xt().services.crm.modules().get(module)
    if info is None:
        abort(404)
    form.statuses.choices = list(info.statuses)
    if module in DOCUMENTS:
        form.route_field.choices = [
            SelectChoice("", "–"),
            *(
                SelectChoice(field.name, field.label)
                for field in info.fields
                if field.kind in (FieldKind.TEXT, FieldKind.YES_NO)
            ),
        ]
    if module not in DOCUMENTS:
        # Its page doesn't show them, so nobody can answer them.
        for name in _OF_DOCUMENTS:
            if name in form:
                del form[name]
    label = say(f"what.deleted.{removal_of(module).value}.label")
    form.deleted.choices = [SelectChoice("leave", "leave"), SelectChoice("remove", label)]
    return info


def removal_of(module: Module) -> Removal:
    """What deleting means in Xero for what a module's records become there."""
    return CATALOGUE[RESOURCE_OF[module]].removal


def _overlap(session: Session, form: ProfileForm, row: Profile, info: ModuleInfo) -> str | None:
    """The sentence that refuses profiles by which one document could go to two places."""
    found = profiles.profiles(session)
    changed = [
        _wanted(form, one, info)
        if one.organisation_id == row.organisation_id and one.module.value == row.module
        else one
        for one in found
    ]
    return selection.overlaps(changed)


def _wanted(form: ProfileForm, profile: SyncProfile, info: ModuleInfo) -> SyncProfile:
    document = info.module in DOCUMENTS
    return replace(
        profile,
        enabled=bool(form.enabled.data),
        rule=SelectionRule(
            RuleKind(form.rule.data), frozenset(form.statuses.data or ()), form.created_from.data
        ),
        route_field=(form.route_field.data or None) if document else None,
        route_value=clean(form.route_value.data) if document else None,
    )


def _keep(form: ProfileForm, row: Profile, info: ModuleInfo) -> None:
    row.enabled = bool(form.enabled.data)
    row.rule = form.rule.data
    row.statuses = list(form.statuses.data or ())
    row.created_from = form.created_from.data
    row.retries = form.retries.data or 0
    row.strict = form.order.data == "strict"
    if removal_of(info.module) is not Removal.NONE:
        row.deleted = form.deleted.data
    if info.module in DOCUMENTS:
        row.target_status = form.target_status.data
        row.add_needed = form.add_needed.data == "1"
        row.route_field = form.route_field.data or None
        row.route_value = clean(form.route_value.data)


def _count(row: Profile) -> str:
    """How many of the newest records the saved rule selects."""
    services = xt().services
    chosen = Module(row.module)
    selected = total = 0
    before: str | None = None
    while total < MOST:
        found = list(services.crm.browse(chosen, text=None, status=None, before=before, limit=500))
        if not found:
            break
        before = found[-1].ref.id
        total += len(found)
        for decisions in decide_many(services, found).values():
            selected += any(
                one.selected and one.organisation_id == row.organisation_id for one in decisions
            )
    key = "what.count" if total < MOST else "what.count.part"
    return say(key, selected=f"{selected:,}", all=formats.counted(total, chosen.singular))


def _page(
    form: ProfileForm,
    row: Profile,
    module: Module,
    *,
    status: int = 200,
    clash: str | None = None,
    counted: str | None = None,
) -> Any:
    info = _choices(form, module)
    with xt().services.database.read() as session:
        frame = load(session)
        pause = profiles.paused_modules(session, row.organisation_id).get(module)
    organisation = frame.organisation(row.organisation_id)
    if organisation is None:
        abort(404)
    return page(
        "xtiger/what_profile.html",
        status=status,
        form=form,
        info=info,
        module=module,
        organisation=organisation,
        documents=module in DOCUMENTS,
        clash=clash,
        counted=counted,
        removal=removal_of(module).value,
        pause=pause,
        crumbs=[("What syncs", url_for("xtiger.what_syncs"))],
        modules=list(xt().services.crm.modules()),
    )

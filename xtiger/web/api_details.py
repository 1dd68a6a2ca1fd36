"""API details: the Xero app, the consent, and the organisations in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import abort, redirect, request
from flask import session as browser
from sqlalchemy import select

from xtiger.engine.connection import connect, permissions, tokens, webhooks
from xtiger.store import profiles, usage
from xtiger.store.models import Connection, Organisation
from xtiger.web import lists
from xtiger.web.access import needs
from xtiger.web.actions import done, fault, go, name, spoken, whole
from xtiger.web.email_notification import welcome_administrator
from xtiger.web.forms import AppForm, WebhookForm
from xtiger.web.frame import load, now, page, waiting, xt
from xtiger.web.routes import Routes
from xtiger.web.words import all_of, say
from xtiger.web.xero_accounts import read_again, refresh_calls

routes = Routes()
#: Where the browser keeps a started Connect.
_CONSENT = "xtiger_consent"


@routes.get("/api-details")
@needs("setup")
def api_details() -> Any:
    """The whole page."""
    details = connect.app_details(xt().services)
    shown = {"client_id": details.client_id, "kind": details.kind, "extras": list(details.extras)}
    return _page(_boxed(AppForm(formdata=None, data=shown)), WebhookForm(formdata=None))


@routes.post("/api-details")
@needs("setup")
def api_save() -> Any:
    """Stores the app's id and secret, its kind, and what it asks for."""
    form = _boxed(AppForm())
    if not form.validate():
        return _page(form, WebhookForm(formdata=None), status=422)
    with spoken():
        connect.save_app(
            xt().services,
            client_id=(form.client_id.data or "").strip(),
            secret=(form.client_secret.data or "").strip() or None,
            who=name(),
            kind=form.kind.data,
            extras=form.extras.data if "boxes" in request.form else None,
        )
        done(say("api.saved"))
    return go("api_details")


@routes.post("/api-details/webhook-key")
@needs("setup")
def api_webhook_key() -> Any:
    """Stores the key that Xero signs its webhooks with."""
    form = WebhookForm()
    if not form.validate():
        details = connect.app_details(xt().services)
        shown = {"client_id": details.client_id, "kind": details.kind}
        app = _boxed(AppForm(formdata=None, data=shown | {"extras": list(details.extras)}))
        return _page(app, form, status=422)
    with spoken():
        webhooks.save_key(xt().services, form.key.data or "", who=name())
        done(say("api.webhook.saved"))
    return go("api_details")


def _boxed(form: AppForm) -> AppForm:
    form.extras.choices = [
        (each.name, each.label) for each in permissions.PERMISSIONS if each.extra
    ]
    return form


@dataclass(frozen=True, slots=True)
class Asked:
    """One permission as the page shows it; `granted` is None before a consent."""

    label: str
    scope: str
    granted: bool | None


def _asked(details: connect.AppDetails, consents: Sequence[Connection]) -> list[Asked]:
    """What is asked for, and whether every living consent has it."""
    scopes = [each.scope for each in consents if each.scope and not each.broken]
    lacking = {one for scope in scopes for one in permissions.lacking(scope, details.extras)}
    return [
        Asked(
            each.label,
            each.broad if details.broad else each.scope,
            each not in lacking if scopes else None,
        )
        for each in permissions.wanted(details.extras)
    ]


def _lacks(details: connect.AppDetails, consents: Sequence[Connection]) -> list[str]:
    """A sentence for each permission that a living consent lacks."""
    lacking = [
        one
        for each in consents
        if not each.broken
        for one in permissions.lacking(each.scope, details.extras)
    ]
    return [
        say(
            "api.lacks",
            what=say(f"api.lacks.{one.name}"),
            scope=one.broad if details.broad else one.scope,
        )
        for one in dict.fromkeys(lacking)
    ]


def _page(form: AppForm, keyform: WebhookForm, *, status: int = 200) -> Any:
    services = xt().services
    details = connect.app_details(services)
    with services.database.read() as session:
        frame = load(session)
        everything = profiles.organisations(session, chosen=None)
        connections = session.scalars(select(Connection).order_by(Connection.id.desc())).all()
        references = {each.id: profiles.reference(session, each.id) for each in frame.organisations}
        spent = usage.of_day(session, now().date())
        hooks = webhooks.state(services, session)
    used = {each.connection_id for each in everything if each.connection_id is not None}
    consents = [one for one in connections if one.id in used]
    return page(
        "xtiger/api_details.html",
        status=status,
        form=form,
        keyform=keyform,
        details=details,
        redirect_url=services.links.callback(),
        webhook_url=services.links.webhooks(),
        hooks=hooks,
        needed=[each for each in permissions.PERMISSIONS if not each.extra],
        asked=_asked(details, consents),
        lacks=_lacks(details, consents),
        day_limits=usage.DAY_LIMITS,
        spent=spent,
        offered=[one for one in everything if not one.chosen and one.connection_id is not None],
        consents=consents,
        references=references,
        refresh_calls=refresh_calls(),
    )


@routes.post("/api-details/connect")
@needs("setup")
def api_connect() -> Any:
    """Sends the person to Xero; state and verifier wait, sealed, in the session.

    A custom connection has no page of Xero: it is connected at once.
    """
    with spoken():
        if connect.app_details(xt().services).kind == tokens.CUSTOM:
            _say_connected(connect.connect_custom(xt().services, who=name()))
            return go("api_details")
        begun = connect.begin(xt().services, who=name())
        browser[_CONSENT] = begun.sealed
        return redirect(begun.url, 303)
    return go("api_details")


@routes.get("/connection/callback")
@needs("setup")
def connection_callback() -> Any:
    """Where Xero sends the person back."""
    sealed = browser.pop(_CONSENT, None)
    with spoken():
        offered = connect.finish(
            xt().services, sealed=sealed, args=request.args.to_dict(), who=name()
        )
        _say_connected(offered)
        welcome_administrator()
    return go("api_details")


def _say_connected(offered: Sequence[Organisation]) -> None:
    new = any(not one.chosen for one in offered)
    done(say("api.connected" if new else "api.connected.again"))
    with xt().services.database.read() as session:
        frame = load(session)
    if left := [each.name for each in frame.organisations if frame.broken(each)]:
        fault(say("api.connected.without", organisations=all_of(left)))


@routes.post("/api-details/choose")
@needs("setup")
def api_choose() -> Any:
    """Takes the ticked organisations into use."""
    tenants = request.form.getlist("tenants")
    if not tenants:
        fault(say("api.chosen.none"))
        return go("api_details")
    with spoken():
        for each in connect.choose(xt().services, tenants, who=name()):
            done(say("api.chosen", organisation=each.name))
    return go("api_details")


@routes.post("/api-details/<int:organisation_id>/go-live")
@needs("setup")
def api_go_live(organisation_id: int) -> Any:
    """From now on selected records are sent."""
    row = _organisation(organisation_id)
    with spoken():
        connect.go_live(xt().services, organisation_id, who=name())
        done(say("api.live", organisation=row.name))
    return go("api_details")


@routes.post("/api-details/<int:organisation_id>/auto-sync")
@needs("setup")
def api_auto_sync(organisation_id: int) -> Any:
    """Schedule and changes send, or only Sync does."""
    row = _organisation(organisation_id)
    on = request.form.get("on") == "1"
    with spoken():
        connect.set_auto_sync(xt().services, organisation_id, on)
        done(say("api.auto.on" if on else "api.auto.off", organisation=row.name))
    return go("api_details")


@routes.post("/api-details/<int:organisation_id>/day-limit")
@needs("setup")
def api_day_limit(organisation_id: int) -> Any:
    """How many calls a day the app's tier allows."""
    row = _organisation(organisation_id)
    limit = whole(request.form.get("day_limit"))
    if limit not in usage.DAY_LIMITS:
        fault(say("form.limit"))
        return go("api_details")
    with spoken():
        connect.set_day_limit(xt().services, organisation_id, limit)
        done(say("api.day_limit", organisation=row.name, limit=f"{limit:,}"))
    return go("api_details")


@routes.post("/api-details/<int:organisation_id>/refresh")
@needs("setup")
def api_refresh(organisation_id: int) -> Any:
    """Reads everything from Xero again, as Xero Accounts does."""
    read_again(_organisation(organisation_id))
    return go("api_details")


@routes.get("/api-details/<int:organisation_id>/disconnect")
@needs("setup")
def api_disconnect_ask(organisation_id: int) -> Any:
    """Says what disconnecting does before it is done."""
    row = _organisation(organisation_id)
    with xt().services.database.read() as session:
        load(session)
        queued = lists.in_queue(session, [organisation_id]).waiting
    consequence = say("api.disconnect.help", waiting=waiting(queued))
    return page("xtiger/disconnect.html", organisation=row, consequence=consequence)


@routes.post("/api-details/<int:organisation_id>/disconnect")
@needs("setup")
def api_disconnect(organisation_id: int) -> Any:
    """Takes the organisation out of the consent; nothing is deleted."""
    row = _organisation(organisation_id)
    with spoken():
        connect.disconnect(xt().services, organisation_id, who=name())
        done(say("api.disconnected", organisation=row.name))
    return go("api_details")


def _organisation(organisation_id: int) -> Organisation:
    with xt().services.database.read() as session:
        row = session.get(Organisation, organisation_id)
    if row is None:
        abort(404)
    return row

"""API details: the Xero app, the consent, and the organisations in use."""

from __future__ import annotations

from typing import Any

from flask import abort, redirect, request
from flask import session as browser
from sqlalchemy import select

from xtiger.domain.queueing import OPEN
from xtiger.engine import connect
from xtiger.store import profiles, queue
from xtiger.store.models import Connection, Organisation
from xtiger.web.access import needs
from xtiger.web.actions import done, fault, go, name, spoken
from xtiger.web.forms import AppForm
from xtiger.web.frame import load, page, waiting, xt
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()
#: Where the browser keeps a started Connect.
_CONSENT = "xtiger_consent"


@routes.get("/api-details")
@needs("setup")
def api_details() -> Any:
    """The whole page."""
    details = connect.app_details(xt().services)
    return _page(AppForm(formdata=None, data={"client_id": details.client_id}))


@routes.post("/api-details")
@needs("setup")
def api_save() -> Any:
    """Stores the app's id and secret."""
    form = AppForm()
    if not form.validate():
        return _page(form, status=422)
    with spoken():
        connect.save_app(
            xt().services,
            client_id=(form.client_id.data or "").strip(),
            secret=(form.client_secret.data or "").strip() or None,
            who=name(),
        )
        done(say("api.saved"))
    return go("api_details")


def _page(form: AppForm, *, status: int = 200) -> Any:
    services = xt().services
    details = connect.app_details(services)
    with services.database.read() as session:
        frame = load(session)
        everything = profiles.organisations(session, chosen=None)
        connections = session.scalars(select(Connection).order_by(Connection.id.desc())).all()
        references = {each.id: profiles.reference(session, each.id) for each in frame.organisations}
    used = {each.connection_id for each in everything if each.connection_id is not None}
    return page(
        "xtiger/api_details.html",
        status=status,
        form=form,
        details=details,
        redirect_url=services.links.callback(),
        scopes=connect.SCOPES.split(),
        offered=[one for one in everything if not one.chosen and one.connection_id is not None],
        consents=[one for one in connections if one.id in used],
        references=references,
    )


@routes.post("/api-details/connect")
@needs("setup")
def api_connect() -> Any:
    """Sends the person to Xero; state and verifier wait, sealed, in the session."""
    with spoken():
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
        if any(not one.chosen for one in offered):
            done(say("api.connected"))
        else:
            done(say("api.connected.again"))
    return go("api_details")


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


@routes.post("/api-details/<int:organisation_id>/refresh")
@needs("setup")
def api_refresh(organisation_id: int) -> Any:
    """Reads accounts and tax rates from Xero again."""
    row = _organisation(organisation_id)
    with spoken():
        connect.refresh_reference(xt().services, organisation_id)
        done(say("api.refreshed", organisation=row.name))
    return go("api_details")


@routes.get("/api-details/<int:organisation_id>/disconnect")
@needs("setup")
def api_disconnect_ask(organisation_id: int) -> Any:
    """Says what disconnecting does before it is done."""
    row = _organisation(organisation_id)
    with xt().services.database.read() as session:
        load(session)
        queued = sum(
            number
            for state, number in queue.counts(session, organisation_id).items()
            if state in OPEN
        )
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

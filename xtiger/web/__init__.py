"""The blueprint: XTiger's pages, mounted at `/` alone or at a prefix inside a host."""

from __future__ import annotations

from importlib.resources import files

from flask import Blueprint

from xtiger.web import (
    access,
    api_details,
    assets,
    checking,
    crm_forms,
    dashboard,
    email_notification,
    errors,
    logs,
    mapping,
    mapping_versions,
    meeting,
    metrics,
    minding,
    pausing,
    queue,
    records,
    reports,
    reports_figures,
    runs,
    search,
    settings,
    ui,
    unsubscribe,
    webhooks,
    what_syncs,
    xero_accounts,
    xero_replacing,
)

#: What is open without a sign-in: the pages' own files, what Xero signs, figures by a token, and
#: what the signed link in a mail opens.
PUBLIC = (
    *("static", "bootstrap_css", "icons", "xero_webhook", "metrics"),
    *("unsubscribe", "unsubscribe_stop", "unsubscribe_again"),
)
#: Whose POSTs need no token of a session: there is none. Xero signs its own, the link of a mail
#: is signed by us, and mail programs press it by themselves (RFC 8058).
TOKENLESS = ("xero_webhook", "unsubscribe_stop", "unsubscribe_again")

_PAGES = (
    dashboard,
    search,
    records,
    queue,
    checking,
    meeting,
    pausing,
    runs,
    logs,
    api_details,
    what_syncs,
    mapping,
    mapping_versions,
    xero_accounts,
    xero_replacing,
    email_notification,
    reports,
    reports_figures,
    settings,
    unsubscribe,
    webhooks,
    metrics,
)


def create_blueprint() -> Blueprint:
    """All pages but the small CRM's forms; every route refuses unless it says what it needs."""
    blueprint = Blueprint(
        "xtiger",
        __name__,
        template_folder=str(files("xtiger.templates")),
        static_folder=str(files("xtiger") / "static"),
        static_url_path="/static/xtiger",
    )
    access.guard(blueprint, public=PUBLIC, tokenless=TOKENLESS)
    assets.put_on(blueprint)
    errors.put_on(blueprint)
    minding.put_on(blueprint)
    blueprint.record_once(lambda state: ui.put_on(state.app.jinja_env))
    for page in _PAGES:
        page.routes.put_on(blueprint)
    return blueprint


def create_crm_blueprint() -> Blueprint:
    """The forms of the small built-in CRM; only the standalone server has them."""
    blueprint = Blueprint("xtiger_crm", __name__)
    access.guard(blueprint)
    blueprint.after_request(assets.secure)
    errors.put_on(blueprint)
    crm_forms.routes.put_on(blueprint)
    return blueprint


__all__ = ["create_blueprint", "create_crm_blueprint"]

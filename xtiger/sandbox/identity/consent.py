"""The consent pages of OAuth2: what the app asks for, and what a person allows."""

from __future__ import annotations

import hmac
import re
import secrets
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as Answer

from xtiger.sandbox.identity import callers
from xtiger.sandbox.shared import current
from xtiger.sandbox.wire import Json

_CODE_LIFE = 300.0
_ASKED = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "nonce",
)

blueprint = Blueprint("consent", __name__)


@blueprint.get("/identity/connect/authorize")
def authorise() -> Answer:
    """The consent page; with auto-consent it agrees at once to every organisation."""
    asked = {name: request.args.get(name, "") for name in _ASKED}
    scopes = asked["scope"].split()
    sandbox = current()
    if not hmac.compare_digest(asked["client_id"].encode(), sandbox.client_id.encode()):
        return _fault("unauthorized_client", "Unknown client or client not enabled")
    if not _redirectable(asked["redirect_uri"]):
        return _fault("unauthorized_client", "Invalid redirect_uri")
    askable = callers.askable(broad=sandbox.broad_scopes)
    if not scopes or not set(scopes) <= askable:
        unknown = " ".join(scope for scope in scopes if scope not in askable)
        return _fault("invalid_scope", f"Not a scope this app may ask: {unknown or '(none)'}")
    if asked["response_type"] != "code":
        return _back(asked, error="unsupported_response_type")
    if asked["code_challenge"] and asked["code_challenge_method"] != "S256":
        return _back(asked, error="invalid_request")
    state = sandbox.state
    if sandbox.auto_consent:
        return _agreed(asked, [one.tenant for one in state.organisations()])
    ticket = secrets.token_urlsafe(24)
    with state.transaction():
        state.grants.keep("ticket", ticket, state.now() + 3600, asked)
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(asked["redirect_uri"]))
    page = make_response(
        render_template(
            "consent.html",
            ticket=ticket,
            scopes=[(scope, callers.meaning(scope)) for scope in scopes],
            organisations=state.organisations(),
        )
    )
    # browsers apply form-action to the redirect that follows the form as well
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {origin};"
        " frame-ancestors 'none'; base-uri 'none'"
    )
    return page


@blueprint.post("/identity/connect/authorize")
def decide() -> Answer:
    """The consent page's two buttons."""
    state = current().state
    ticket = request.form.get("ticket", "")
    with state.transaction():
        found = state.grants.get("ticket", ticket)
        state.grants.end("ticket", ticket)
    if found is None or found[0] <= state.now():
        return _fault("invalid_request", "This page is no longer valid")
    chosen = [one for one in request.form.getlist("organisation") if state.organisation(one)]
    if request.form.get("decision") != "allow" or not chosen:
        return _back(found[1], error="access_denied")
    return _agreed(found[1], chosen)


def _agreed(asked: Json, tenants: list[str]) -> Answer:
    state = current().state
    code = secrets.token_urlsafe(32)
    now = state.now()
    with state.transaction():
        event = str(uuid4())
        for tenant in tenants:
            callers.connect(state, tenant, event)
        body = asked | {"event": event, "tenants": tenants}
        state.grants.keep("code", code, now + _CODE_LIFE, body)
    return _back(asked, code=code, scope=asked["scope"], session_state=secrets.token_urlsafe(24))


def _redirectable(uri: str) -> bool:
    """Plain http goes to the own machine only, as in Xero."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    if not re.fullmatch(r"[A-Za-z0-9.-]+(:\d+)?", parts.netloc):  # it goes into a header
        return False
    local = parts.hostname in {"localhost", "127.0.0.1"}
    return not parts.fragment and (
        (parts.scheme == "https" and bool(parts.hostname)) or (parts.scheme == "http" and local)
    )


def _fault(error: str, description: str) -> Answer:
    page = render_template("fault.html", error=error, description=description)
    return Response(page, 400, content_type="text/html; charset=utf-8")


def _back(asked: Json, **answer: str) -> Answer:
    if asked["state"]:
        answer["state"] = asked["state"]
    glue = "&" if urlsplit(asked["redirect_uri"]).query else "?"
    return redirect(f"{asked['redirect_uri']}{glue}{urlencode(answer)}", 302)

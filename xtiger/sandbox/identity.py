"""OAuth2 as Xero's: consent, codes with PKCE, rotating refresh tokens, connections."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from flask import Blueprint, Response, current_app, redirect, render_template, request
from werkzeug.wrappers import Response as Answer

from xtiger.sandbox.state import State
from xtiger.sandbox.wire import Json, dumps, identifier

_CODE_LIFE = 300.0
_ACCESS_LIFE = 1800.0
_REFRESH_LIFE = 60 * 86400.0
_GRACE = 1800.0  #: how long a replaced refresh token still works (Xero developer forum 105714701)
_FOREVER = 4_000_000_000.0

_ACCOUNTING = (
    "accounting.invoices",
    "accounting.payments",
    "accounting.banktransactions",
    "accounting.manualjournals",
    "accounting.classicexpenses",
    "accounting.settings",
    "accounting.contacts",
    "accounting.attachments",
)
#: only the granular scopes of 2026; the broad ones are refused as for any new app
SCOPES = frozenset(
    {"openid", "profile", "email", "offline_access"}
    | set(_ACCOUNTING)
    | {f"{scope}.read" for scope in _ACCOUNTING}
    | {"accounting.journals.read", "accounting.budgets.read"}
    | {
        f"accounting.reports.{report}.read"
        for report in (
            "aged",
            "balancesheet",
            "banksummary",
            "budgetsummary",
            "executivesummary",
            "profitandloss",
            "trialbalance",
            "taxreports",
        )
    }
)
#: what the scopes of apps made before March 2026 cover; they end in September 2027
_TRANSACTIONS = (
    "accounting.invoices",
    "accounting.payments",
    "accounting.banktransactions",
    "accounting.manualjournals",
    "accounting.classicexpenses",
)
BROAD = {
    "accounting.transactions": frozenset(_TRANSACTIONS),
    "accounting.transactions.read": frozenset(f"{scope}.read" for scope in _TRANSACTIONS),
    "accounting.reports.read": frozenset(
        scope for scope in SCOPES if scope.startswith("accounting.reports.")
    ),
}
_WORDS = {
    "openid": "your sign-in",
    "profile": "your name",
    "email": "your e-mail address",
    "offline_access": "access while you are away",
    "accounting.invoices": "invoices, bills, credit notes, quotes, purchase orders and items",
    "accounting.payments": "payments, prepayments and overpayments",
    "accounting.banktransactions": "bank transactions and transfers",
    "accounting.manualjournals": "manual journals",
    "accounting.classicexpenses": "expense claims and receipts",
    "accounting.settings": "the organisation, its accounts, tax rates and items",
    "accounting.contacts": "contacts and contact groups",
    "accounting.attachments": "files attached to documents",
}

blueprint = Blueprint("identity", __name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who stands behind a good access token; `tenants` are the organisations it reaches."""

    client: str
    scopes: frozenset[str]
    tenants: frozenset[str]
    sole: str | None  #: the organisation of a custom connection, which needs no tenant header


class Refused(Exception):
    """A bad access token; the text is Xero's Detail."""


def caller(state: State, header: str | None) -> Caller:
    """Reads an Authorization header. Raises Refused."""
    kind, _, token = (header or "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise Refused("AuthenticationUnsuccessful")
    found = state.granted("access", token.strip())
    if found is None:
        raise Refused("AuthenticationUnsuccessful")
    expires, body = found
    if expires <= state.now():
        when = datetime.fromtimestamp(expires, UTC).strftime("%m/%d/%Y %H:%M:%S")
        raise Refused(f"TokenExpired: token expired at {when}")
    tenants = frozenset(one["tenantId"] for _, _, one in state.grants("connection"))
    sole = body.get("tenant")
    return Caller(
        client=body["client"],
        scopes=frozenset(body["scopes"]),
        tenants=frozenset({sole}) & tenants if sole else tenants,
        sole=sole,
    )


def unauthorised(detail: str, status: int = 401) -> Response:
    """Xero's problem document for 401 and 403 (quoted in pyxero issue 337)."""
    title = "Unauthorized" if status == 401 else "Forbidden"
    body: Json = {"Type": None, "Title": title, "Status": status, "Detail": detail}
    return _json(body | {"Instance": str(uuid4()), "Extensions": {}}, status)


def _json(body: object, status: int = 200) -> Response:
    return Response(dumps(body), status, content_type="application/json; charset=utf-8")


def _state() -> State:
    state: State = current_app.extensions["xero_sandbox"].state
    return state


def _client() -> tuple[str, str]:
    sandbox = current_app.extensions["xero_sandbox"]
    return sandbox.client_id, sandbox.client_secret


# consent


@blueprint.get("/identity/connect/authorize")
def authorise() -> Answer:
    """The consent page; with auto-consent it agrees at once to every organisation."""
    asked = {name: request.args.get(name, "") for name in _ASKED}
    scopes = asked["scope"].split()
    if not hmac.compare_digest(asked["client_id"].encode(), _client()[0].encode()):
        return _fault("unauthorized_client", "Unknown client or client not enabled")
    if not _redirectable(asked["redirect_uri"]):
        return _fault("unauthorized_client", "Invalid redirect_uri")
    if not scopes or not set(scopes) <= SCOPES:
        unknown = " ".join(scope for scope in scopes if scope not in SCOPES)
        return _fault("invalid_scope", f"Not a granular scope: {unknown or '(none)'}")
    if asked["response_type"] != "code":
        return _back(asked, error="unsupported_response_type")
    if asked["code_challenge"] and asked["code_challenge_method"] != "S256":
        return _back(asked, error="invalid_request")
    state = _state()
    if current_app.extensions["xero_sandbox"].auto_consent:
        return _agreed(asked, [one.tenant for one in state.organisations()])
    ticket = secrets.token_urlsafe(24)
    with state.transaction():
        state.grant("ticket", ticket, state.now() + 3600, asked)
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(asked["redirect_uri"]))
    page = current_app.make_response(
        render_template(
            "consent.html",
            ticket=ticket,
            scopes=[(scope, _meaning(scope)) for scope in scopes],
            organisations=state.organisations(),
        )
    )
    # browsers apply form-action to the redirect that follows the form as well
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {origin};"
        " frame-ancestors 'none'; base-uri 'none'"
    )
    return page


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


@blueprint.post("/identity/connect/authorize")
def decide() -> Answer:
    """The consent page's two buttons."""
    state = _state()
    ticket = request.form.get("ticket", "")
    with state.transaction():
        found = state.granted("ticket", ticket)
        state.revoke("ticket", ticket)
    if found is None or found[0] <= state.now():
        return _fault("invalid_request", "This page is no longer valid")
    chosen = [one for one in request.form.getlist("organisation") if state.organisation(one)]
    if request.form.get("decision") != "allow" or not chosen:
        return _back(found[1], error="access_denied")
    return _agreed(found[1], chosen)


def _agreed(asked: Json, tenants: list[str]) -> Answer:
    state = _state()
    code = secrets.token_urlsafe(32)
    now = state.now()
    with state.transaction():
        event = str(uuid4())
        for tenant in tenants:
            _connect(state, tenant, event)
        body = asked | {"event": event, "tenants": tenants}
        state.grant("code", code, now + _CODE_LIFE, body)
    return _back(asked, code=code, scope=asked["scope"], session_state=secrets.token_urlsafe(24))


def _connect(state: State, tenant: str, event: str) -> None:
    """A second consent for the same organisation renews its connection."""
    moment = datetime.fromtimestamp(state.now(), UTC).replace(tzinfo=None)
    now = moment.isoformat(timespec="microseconds") + "0"
    for token, _, body in state.grants("connection"):
        if body["tenantId"] == tenant:
            state.grant(
                "connection", token, _FOREVER, body | {"authEventId": event, "updatedDateUtc": now}
            )
            return
    organisation = state.organisation(tenant)
    assert organisation is not None
    connection = str(uuid4())
    state.grant(
        "connection",
        connection,
        _FOREVER,
        {
            "id": connection,
            "authEventId": event,
            "tenantId": tenant,
            "tenantType": "ORGANISATION",
            "tenantName": organisation.name,
            "createdDateUtc": now,
            "updatedDateUtc": now,
        },
    )


def _meaning(scope: str) -> str:
    plain = scope.removesuffix(".read")
    words = _WORDS.get(plain) or plain.removeprefix("accounting.").replace(".", ": ")
    return f"{words} (read only)" if scope.endswith(".read") else words


def _redirectable(uri: str) -> bool:
    """Plain http goes to the own machine only, as in Xero."""
    try:
        parts = urlsplit(uri)
    except ValueError:
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


# tokens


@blueprint.post("/connect/token")
@blueprint.post("/identity/connect/token")
def token() -> Response:
    """authorization_code, refresh_token and client_credentials."""
    form = request.form
    public = form.get("grant_type") == "authorization_code" and form.get("code_verifier")
    if not _authenticated(may_be_public=bool(public)):
        return _json({"error": "invalid_client"}, 400)
    state = _state()
    with state.transaction():
        match form.get("grant_type"):
            case "authorization_code":
                return _from_code(state)
            case "refresh_token":
                return _from_refresh(state)
            case "client_credentials":
                return _from_client(state)
    return _json({"error": "unsupported_grant_type"}, 400)


def _authenticated(*, may_be_public: bool) -> bool:
    """Basic or both in the form; a public client with PKCE sends no secret."""
    given = request.authorization
    if given and given.type == "basic":
        name, secret = given.username or "", given.password or ""
    else:
        name, secret = request.form.get("client_id", ""), request.form.get("client_secret", "")
        if may_be_public and "client_secret" not in request.form:
            secret = _client()[1]
    own_name, own_secret = _client()
    named = hmac.compare_digest(name.encode(), own_name.encode())
    return hmac.compare_digest(secret.encode(), own_secret.encode()) and named


def _from_code(state: State) -> Response:
    code = request.form.get("code", "")
    found = state.granted("code", code)
    state.revoke("code", code)
    if found is None or found[0] <= state.now():
        return _json({"error": "invalid_grant"}, 400)
    body = found[1]
    if request.form.get("redirect_uri", "") != body["redirect_uri"]:
        return _json({"error": "invalid_grant"}, 400)
    if body["code_challenge"]:
        digest = hashlib.sha256(request.form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=")
        if not hmac.compare_digest(challenge, body["code_challenge"].encode()):
            return _json({"error": "invalid_grant"}, 400)
    elif request.authorization is None and "client_secret" not in request.form:
        return _json({"error": "invalid_client"}, 400)
    consent: Json = {"event": body["event"], "scopes": body["scope"].split()}
    return _tokens(state, consent | {"nonce": body["nonce"]})


def _from_refresh(state: State) -> Response:
    """Rotation with grace.

    A refresh token that was replaced works again while its successor is unused and the grace
    lasts: the answer that carried the successor may have been lost. The unused successor dies.
    """
    presented = request.form.get("refresh_token", "")
    found = state.granted("refresh", presented)
    now = state.now()
    if found is None or found[0] <= now:
        return _json({"error": "invalid_grant"}, 400)
    expires, body = found
    if body.get("replaced"):
        grace = _GRACE * current_app.extensions["xero_sandbox"].time_factor
        successor = state.granted("refresh", body["successor"])
        unused = successor is not None and not successor[1].get("replaced")
        if not unused or now > float(body["replaced"]) + grace:
            return _json({"error": "invalid_grant"}, 400)
        state.revoke("refresh", body["successor"])
    consent = {"event": body["event"], "scopes": body["scopes"], "nonce": ""}
    answer, successor_token = _issue(state, consent)
    replaced = body | {"replaced": str(now), "successor": successor_token}
    state.grant("refresh", presented, expires, replaced)
    return _json(answer)


def _from_client(state: State) -> Response:
    """A custom connection: the first organisation, no refresh token."""
    scopes = (request.form.get("scope") or " ".join(sorted(SCOPES))).split()
    if not set(scopes) <= SCOPES:
        return _json(
            {
                "error": "invalid_scope",
                "error_description": "Client credentials scope validation failed",
            },
            400,
        )
    tenant = state.organisations()[0].tenant
    event = str(uuid4())
    if all(body["tenantId"] != tenant for _, _, body in state.grants("connection")):
        _connect(state, tenant, event)
    scopes = [scope for scope in scopes if scope.startswith("accounting.")]
    answer, _ = _issue(state, {"event": event, "scopes": scopes, "nonce": "", "tenant": tenant})
    return _json(answer)


def _tokens(state: State, consent: Json) -> Response:
    answer, _ = _issue(state, consent)
    return _json(answer)


def _issue(state: State, consent: Json) -> tuple[Json, str]:
    """The token answer, and the refresh token in it (empty without offline_access)."""
    now = state.now()
    client, secret = _client()
    scopes: list[str] = consent["scopes"]
    claims: Json = {
        "nbf": int(now),
        "exp": int(now + _ACCESS_LIFE),
        "iss": "https://identity.xero.com",
        "client_id": client,
        "jti": secrets.token_hex(16),
        "authentication_event_id": consent["event"],
        "scope": scopes,
    }
    access = _signed(claims | {"aud": "https://identity.xero.com/resources"}, secret)
    state.grant(
        "access",
        access,
        now + _ACCESS_LIFE,
        {
            "client": client,
            "scopes": scopes,
            "event": consent["event"],
            "tenant": consent.get("tenant"),
        },
    )
    answer: Json = {
        "access_token": access,
        "expires_in": int(_ACCESS_LIFE),
        "token_type": "Bearer",
        "scope": " ".join(scopes),
    }
    if "openid" in scopes:
        about: Json = {"aud": client, "iat": int(now), "sub": _USER, "auth_time": int(now)}
        if consent["nonce"]:
            about["nonce"] = consent["nonce"]
        if "email" in scopes:
            about["email"] = "ana@example.com"
        if "profile" in scopes:
            about |= {"given_name": "Ana", "family_name": "Example", "name": "Ana Example"}
            about |= {"preferred_username": "ana@example.com", "xero_userid": _USER}
        answer["id_token"] = _signed(claims | about, secret)
    refresh = ""
    if "offline_access" in scopes:
        refresh = secrets.token_urlsafe(32)
        body = {"scopes": scopes, "event": consent["event"]}
        state.grant("refresh", refresh, now + _REFRESH_LIFE, body)
        answer["refresh_token"] = refresh
    return answer, refresh


_USER = "5b1c5e0a-9d67-4f5b-8c0e-3f2d1b7a6c90"


def _signed(claims: Json, secret: str) -> str:
    """A compact JWT, HS256 with the client secret (Xero's own is RS256; nobody here checks)."""

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    head = part(dumps({"alg": "HS256", "typ": "JWT"})) + b"." + part(dumps(claims))
    return (head + b"." + part(hmac.digest(secret.encode(), head, "sha256"))).decode()


@blueprint.post("/connect/revocation")
@blueprint.post("/identity/connect/revocation")
def revocation() -> Response:
    """Ends a refresh token, its access tokens and the connections of its consent."""
    if not _authenticated(may_be_public=False):
        return _json({"error": "invalid_client"}, 400)
    state = _state()
    presented = request.form.get("token", "")
    with state.transaction():
        found = state.granted("refresh", presented)
        if found is not None:
            event = found[1]["event"]
            for kind, field in (("refresh", "event"), ("access", "event")):
                for value, _, body in state.grants(kind):
                    if body[field] == event:
                        state.revoke(kind, value)
            for value, _, body in state.grants("connection"):
                if body["authEventId"] == event:
                    state.revoke("connection", value)
    return Response(b"", 200, content_type="text/plain")


# connections


@blueprint.get("/connections")
def connections() -> Response:
    """A plain JSON array (Xero OpenAPI identity)."""
    state = _state()
    try:
        who = caller(state, request.headers.get("Authorization"))
    except Refused as refused:
        return unauthorised(str(refused))
    event = request.args.get("authEventId")
    return _json(
        [
            body
            for _, _, body in state.grants("connection")
            if body["tenantId"] in who.tenants and (not event or body["authEventId"] == event)
        ]
    )


@blueprint.delete("/connections/<connection>")
def disconnect(connection: str) -> Response:
    """`connection` is the connection's id, not the organisation's."""
    state = _state()
    try:
        caller(state, request.headers.get("Authorization"))
    except Refused as refused:
        return unauthorised(str(refused))
    with state.transaction():
        wanted = identifier(connection) or ""
        if state.granted("connection", wanted) is None:
            return Response(b"", 404, content_type="text/html; charset=utf-8")
        state.revoke("connection", wanted)
    return Response(b"", 204)

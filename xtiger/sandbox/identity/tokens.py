"""The token endpoints of OAuth2: codes with PKCE, rotating refresh tokens, revocation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from uuid import uuid4

from flask import Blueprint, Response, request

from xtiger.sandbox.identity import callers
from xtiger.sandbox.kept.state import State
from xtiger.sandbox.shared import current
from xtiger.sandbox.wire import Json, dumps

_ACCESS_LIFE = 1800.0
_REFRESH_LIFE = 60 * 86400.0
_GRACE = 1800.0  #: how long a replaced refresh token still works (Xero developer forum 105714701)
#: the one person who consents here
_USER = "5b1c5e0a-9d67-4f5b-8c0e-3f2d1b7a6c90"

blueprint = Blueprint("tokens", __name__)


@blueprint.post("/connect/token")
@blueprint.post("/identity/connect/token")
def token() -> Response:
    """authorization_code, refresh_token and client_credentials."""
    form = request.form
    public = form.get("grant_type") == "authorization_code" and form.get("code_verifier")
    if not _authenticated(may_be_public=bool(public)):
        return callers.as_json({"error": "invalid_client"}, 400)
    state = current().state
    with state.transaction():
        match form.get("grant_type"):
            case "authorization_code":
                return _from_code(state)
            case "refresh_token":
                return _from_refresh(state)
            case "client_credentials":
                return _from_client(state)
    return callers.as_json({"error": "unsupported_grant_type"}, 400)


def _authenticated(*, may_be_public: bool) -> bool:
    """Basic or both in the form; a public client with PKCE sends no secret."""
    sandbox, given = current(), request.authorization
    if given and given.type == "basic":
        name, secret = given.username or "", given.password or ""
    else:
        name, secret = request.form.get("client_id", ""), request.form.get("client_secret", "")
        if may_be_public and "client_secret" not in request.form:
            secret = sandbox.client_secret
    named = hmac.compare_digest(name.encode(), sandbox.client_id.encode())
    return hmac.compare_digest(secret.encode(), sandbox.client_secret.encode()) and named


def _from_code(state: State) -> Response:
    code = request.form.get("code", "")
    found = state.grants.get("code", code)
    state.grants.end("code", code)
    if found is None or found[0] <= state.now():
        return callers.as_json({"error": "invalid_grant"}, 400)
    body = found[1]
    if request.form.get("redirect_uri", "") != body["redirect_uri"]:
        return callers.as_json({"error": "invalid_grant"}, 400)
    if body["code_challenge"]:
        digest = hashlib.sha256(request.form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=")
        if not hmac.compare_digest(challenge, body["code_challenge"].encode()):
            return callers.as_json({"error": "invalid_grant"}, 400)
    elif request.authorization is None and "client_secret" not in request.form:
        return callers.as_json({"error": "invalid_client"}, 400)
    consent: Json = {"event": body["event"], "scopes": body["scope"].split()}
    return _tokens(state, consent | {"nonce": body["nonce"]})


def _from_refresh(state: State) -> Response:
    """Rotation with grace.

    A refresh token that was replaced works again while its successor is unused and the grace
    lasts: the answer that carried the successor may have been lost. The unused successor dies.
    """
    presented = request.form.get("refresh_token", "")
    found = state.grants.get("refresh", presented)
    now = state.now()
    if found is None or found[0] <= now:
        return callers.as_json({"error": "invalid_grant"}, 400)
    expires, body = found
    if body.get("replaced"):
        grace = _GRACE * current().time_factor
        successor = state.grants.get("refresh", body["successor"])
        unused = successor is not None and not successor[1].get("replaced")
        if not unused or now > float(body["replaced"]) + grace:
            return callers.as_json({"error": "invalid_grant"}, 400)
        state.grants.end("refresh", body["successor"])
    consent = {"event": body["event"], "scopes": body["scopes"], "nonce": ""}
    answer, successor_token = _issue(state, consent)
    replaced = body | {"replaced": str(now), "successor": successor_token}
    state.grants.keep("refresh", presented, expires, replaced)
    return callers.as_json(answer)


def _from_client(state: State) -> Response:
    """A custom connection: one organisation, no refresh token."""
    askable = callers.askable(broad=current().broad_scopes)
    scopes = (request.form.get("scope") or " ".join(sorted(askable))).split()
    if not set(scopes) <= askable:
        return callers.as_json(
            {
                "error": "invalid_scope",
                "error_description": "Client credentials scope validation failed",
            },
            400,
        )
    tenant = current().custom_organisation().tenant
    event = str(uuid4())
    if all(body["tenantId"] != tenant for _, _, body in state.grants.of("connection")):
        callers.connect(state, tenant, event)
    scopes = [scope for scope in scopes if scope.startswith("accounting.")]
    answer, _ = _issue(state, {"event": event, "scopes": scopes, "nonce": "", "tenant": tenant})
    return callers.as_json(answer)


def _tokens(state: State, consent: Json) -> Response:
    answer, _ = _issue(state, consent)
    return callers.as_json(answer)


def _issue(state: State, consent: Json) -> tuple[Json, str]:
    """The token answer, and the refresh token in it (empty without offline_access)."""
    now = state.now()
    client, secret = current().client_id, current().client_secret
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
    state.grants.keep(
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
        state.grants.keep("refresh", refresh, now + _REFRESH_LIFE, body)
        answer["refresh_token"] = refresh
    return answer, refresh


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
        return callers.as_json({"error": "invalid_client"}, 400)
    state = current().state
    presented = request.form.get("token", "")
    with state.transaction():
        found = state.grants.get("refresh", presented)
        if found is not None:
            callers.end_consent(state, found[1]["event"])
    return Response(b"", 200, content_type="text/plain")

"""Consent and tokens: the ways to get, renew and end them, sessions that bear one, refusals."""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error, WebApplicationClient
from requests import Response
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from xtiger import __version__
from xtiger.domain.errors import (
    AuthorisationError,
    PermanentError,
    TransientError,
    XTigerError,
)
from xtiger.ports import Clock, TokenSet
from xtiger.xero.limits import limited
from xtiger.xero.transport import (
    CALL_FAILURES,
    CALL_SECONDS,
    CONNECT_SECONDS,
    TRIES_AGAIN,
    TimedAdapter,
    broken,
    spending,
)

#: Seconds an access token lives where the answer doesn't say.
_TOKEN_SECONDS = 1800
_CONSENT_ENDED = "Xero ended this consent. Connect again; what is queued waits in order."
_CODE_ENDED = "Xero doesn't take this consent any more: it was used or is too old. Connect again."
_SCOPES_REFUSED = (
    "Xero doesn't grant this app the permissions XTiger asked for (“invalid_scope”). Apps made"
    " since March 2026 get only the granular ones, older apps may need the broad ones: change"
    " that under API details, then connect again."
)
_MISMATCH = "Client ID and secret don't belong together. Make a new secret in Xero and paste it."


def checked_url(name: str, url: str) -> str:
    """One of Xero's base addresses without its last slash; ValueError if tokens aren't safe there.

    Plain http carries tokens in the clear, so only a Xero on this very machine may be reached so.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or parts.query or parts.fragment:
        raise ValueError(f"{name} must be an address that begins with https://.")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{name} must not hold a user name or password.")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError(
            f"{name} must begin with https://: over http:// anybody on the way to {host}"
            " could read the tokens."
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _no_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


class _Session(OAuth2Session):
    """Follows no redirect: a token goes to the address it was meant for and nowhere else."""

    def get_redirect_target(self, resp: Response) -> str | None:
        return None


def _session(adapter: TimedAdapter, **options: Any) -> OAuth2Session:
    # At DEBUG the library writes tokens, codes and secrets to its log.
    logging.getLogger("requests_oauthlib.oauth2_session").addFilter(_no_debug)
    session = _Session(**options)
    session.trust_env = False  # no proxy and no .netrc from the machine's environment
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = f"XTiger/{__version__}"
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class BearerSessions:
    """One session per organisation, whose connections outlive its access tokens.

    A session is never given another token: a thread still using it goes on with its own.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, TimedAdapter, OAuth2Session]] = {}
        self._lock = threading.Lock()

    def get(self, key: str, access_token: str) -> OAuth2Session:
        """The session of an organisation (or of "" for what concerns none)."""
        with self._lock:
            kept = self._kept.get(key)
            if kept and kept[0] == access_token:
                return kept[2]
            adapter = kept[1] if kept else TimedAdapter()
            token = {"access_token": access_token, "token_type": "Bearer"}
            session = _session(adapter, token=token)
            self._kept[key] = (access_token, adapter, session)
            return session

    def close(self) -> None:
        with self._lock:
            for _, adapter, _ in self._kept.values():
                adapter.close()
            self._kept.clear()


class Consents:
    """Xero's authorise page, token endpoint and revocation.

    The app's secret goes in the Authorization header (Basic), or in the body where
    `secret_in_body` says so; Xero takes both (FACTS section 1).
    """

    def __init__(
        self,
        *,
        login_url: str,
        identity_url: str,
        clock: Clock,
        time_factor: float,
        secret_in_body: bool,
    ) -> None:
        self._authorise_url = f"{login_url}/identity/connect/authorize"
        self._token_url = f"{identity_url}/connect/token"
        self._revocation_url = f"{identity_url}/connect/revocation"
        self._secret_in_body = secret_in_body
        self._identity_host = urlsplit(identity_url).hostname or ""
        self._clock = clock
        self._factor = time_factor

    def authorise_url(
        self, *, client_id: str, redirect_uri: str, scopes: str, state: str, verifier: str
    ) -> str:
        """Where a person gives consent. `verifier` is kept back; only its S256 hash is shown."""
        client = WebApplicationClient(client_id)
        options = {"client": client, "redirect_uri": redirect_uri, "scope": scopes.split()}
        with _session(TimedAdapter(), **options) as session:
            challenge = client.create_code_challenge(verifier, "S256")
            try:
                url, _ = session.authorization_url(
                    self._authorise_url,
                    state,
                    code_challenge=challenge,
                    code_challenge_method="S256",
                )
            except OAuth2Error:
                pass
            else:
                return str(url)
        raise PermanentError(
            "XTiger sends people to Xero by https only. A Xero on this machine for trying out"
            " needs OAUTHLIB_INSECURE_TRANSPORT=1."
        )

    def exchange(
        self, *, client_id: str, secret: str, redirect_uri: str, code: str, verifier: str
    ) -> TokenSet:
        """Turns a consent's code into tokens."""

        def fetch(session: OAuth2Session, timeout: Any) -> Mapping[str, Any]:
            session.redirect_uri = redirect_uri
            return session.fetch_token(
                self._token_url,
                code=code,
                code_verifier=verifier,
                timeout=timeout,
                **self._fetching(client_id, secret),
            )

        return self._tokens(WebApplicationClient(client_id), fetch, ended=_CODE_ENDED)

    def refresh(self, *, client_id: str, secret: str, refresh_token: str) -> TokenSet:
        """Rotates the tokens. After a lost answer the old refresh token works 30 min more."""

        def fetch(session: OAuth2Session, timeout: Any) -> Mapping[str, Any]:
            return session.refresh_token(
                self._token_url,
                refresh_token=refresh_token,
                timeout=timeout,
                **self._form(client_id, secret),
                auth=self._basic(client_id, secret),
            )

        return self._tokens(WebApplicationClient(client_id), fetch, ended=_CONSENT_ENDED)

    def client_credentials(self, *, client_id: str, secret: str, scopes: str) -> TokenSet:
        """Tokens of a custom connection; there is no refresh token, new ones are asked for."""

        def fetch(session: OAuth2Session, timeout: Any) -> Mapping[str, Any]:
            return session.fetch_token(
                self._token_url,
                scope=scopes.split(),
                timeout=timeout,
                **self._fetching(client_id, secret),
            )

        return self._tokens(BackendApplicationClient(client_id), fetch, ended=_CONSENT_ENDED)

    def revoke(self, *, client_id: str, secret: str, refresh_token: str) -> None:
        """Ends a consent with all of its tokens and connections; one already ended is fine."""
        seconds = CALL_SECONDS * self._factor
        with _session(TimedAdapter()) as session, spending(seconds) as budget:
            try:
                response = session.request(
                    "POST",
                    self._revocation_url,
                    data={"token": refresh_token, **self._form(client_id, secret)},
                    auth=self._basic(client_id, secret),
                    timeout=(CONNECT_SECONDS * self._factor, seconds),
                    withhold_token=True,
                )
            except UnicodeError:
                failure: XTigerError = AuthorisationError(_MISMATCH)
            except CALL_FAILURES as error:
                failure = broken(error, budget, self._identity_host, writing=False)
            else:
                status, code, _ = _said(response)
                if status < 300 or code in ("invalid_grant", "invalid_token"):
                    return
                failure = self._fault(response, _CONSENT_ENDED) or _refused(code)
        raise failure

    def _basic(self, client_id: str, secret: str) -> HTTPBasicAuth | None:
        return None if self._secret_in_body else HTTPBasicAuth(client_id, secret)

    def _form(self, client_id: str, secret: str) -> dict[str, Any]:
        """What of the app's own name goes into the body."""
        if not self._secret_in_body:
            return {}
        return {"client_id": client_id, "client_secret": secret}

    def _fetching(self, client_id: str, secret: str) -> dict[str, Any]:
        """The same, as requests-oauthlib wants it said when tokens are fetched."""
        if self._secret_in_body:
            return {"include_client_id": True, "client_secret": secret}
        return {"include_client_id": False, "auth": HTTPBasicAuth(client_id, secret)}

    def _tokens(
        self,
        client: WebApplicationClient | BackendApplicationClient,
        fetch: Callable[[OAuth2Session, Any], Mapping[str, Any]],
        *,
        ended: str,
    ) -> TokenSet:
        asked = self._clock.now()

        def check(response: Response) -> Response:
            fault = self._fault(response, ended)
            if fault is not None:
                raise fault
            return response

        # The session isn't told the scopes: oauthlib raises when Xero grants others than asked.
        seconds = CALL_SECONDS * self._factor
        with (
            _session(TimedAdapter(), client=client) as session,
            spending(seconds) as budget,
        ):
            session.register_compliance_hook("access_token_response", check)
            session.register_compliance_hook("refresh_token_response", check)
            try:
                token = fetch(session, (CONNECT_SECONDS * self._factor, seconds))
            except UnicodeError:
                failure: XTigerError = AuthorisationError(_MISMATCH)
            except CALL_FAILURES as error:
                failure = broken(error, budget, self._identity_host, writing=False)
            else:
                lifetime = timedelta(seconds=_whole(token.get("expires_in"), _TOKEN_SECONDS))
                scope = token.get("scope") or ""
                return TokenSet(
                    access_token=str(token["access_token"]),
                    expires_at=asked + lifetime,
                    scope=scope if isinstance(scope, str) else " ".join(scope),
                    refresh_token=token.get("refresh_token"),
                    email=_email(token.get("id_token")),
                )
        # Raised out here, the failure doesn't hang on to an error that holds the secrets.
        raise failure

    def _fault(self, response: Response, ended: str) -> XTigerError | None:
        """The table of the token endpoint's answers; None where tokens came."""
        status, code, told = _said(response)
        if code == "invalid_grant":
            return AuthorisationError(ended)
        if code == "invalid_scope":
            return PermanentError(_SCOPES_REFUSED)
        if code in ("invalid_client", "unauthorized_client") or (status == 401 and not code):
            return AuthorisationError(_MISMATCH)
        if status == 429:
            return limited(response.headers, self._clock.now(), self._factor)
        if 300 <= status < 400:
            return PermanentError(moved(self._identity_host))
        if status < 300 and not code and isinstance(told.get("access_token"), str):
            return None
        if status >= 500 or (not code and (status < 300 or status == 400)):
            return TransientError(
                f"Xero ({self._identity_host}) gave no tokens just now. {TRIES_AGAIN}"
            )
        return _refused(code)


def _said(response: Response) -> tuple[int, str, Mapping[str, Any]]:
    """Status, OAuth's word for the fault (empty where there is none) and the whole answer."""
    try:
        told = json.loads(response.content)
    except (ValueError, RecursionError):
        told = None
    told = told if isinstance(told, dict) else {}
    return response.status_code, str(told.get("error") or ""), told


def _refused(code: str) -> PermanentError:
    code = code if re.fullmatch(r"[\w.-]{1,60}", code) else "refused"
    return PermanentError(
        f"Xero gave no tokens and answered “{code}”. Check the app's settings in Xero,"
        " then connect again."
    )


def moved(host: str) -> str:
    """The sentence for a redirect, which is never followed."""
    return (
        f"{host} sends XTiger to another address, and tokens don't go there."
        " Check Xero's address in the settings."
    )


def _whole(value: object, otherwise: int) -> int:
    try:
        return max(0, min(int(str(value)), 86_400))
    except ValueError:
        return otherwise


def _email(id_token: object) -> str | None:
    """The e-mail claim; unverified, since the token came from Xero itself over TLS."""
    try:
        payload = str(id_token).split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        email = claims["email"]
    except (ValueError, LookupError, TypeError):
        return None
    return email if isinstance(email, str) and email else None


def no_access(
    status: int, told: Mapping[str, Any], *, scopes: Sequence[str] = ()
) -> AuthorisationError:
    """What a 401 or 403 means; `told` is its body, any of `scopes` would have done.

    | status | Detail | means |
    | --- | --- | --- |
    | 401 | AuthorizationUnsuccessful | the consent lacks the scope |
    | 401 | TokenExpired, anything else, no body | a fresh access token may be all |
    | 403 | any | the organisation is no longer in the consent |
    """
    if status == 403:
        return AuthorisationError(
            "Xero no longer lets XTiger into this organisation. Connect again and tick it."
        )
    detail = str(told.get("Detail") or "")
    if detail.startswith("AuthorizationUnsuccessful"):
        lacking = " or ".join(f"“{one}”" for one in scopes) or "a permission XTiger needs"
        return AuthorisationError(f"The connection lacks {lacking}. Connect again and allow it.")
    return AuthorisationError(
        "Xero's permission has run out. XTiger asks for a fresh one by itself.", expired=True
    )

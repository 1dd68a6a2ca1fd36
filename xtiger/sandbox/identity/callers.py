"""Who calls: scopes, access tokens, and which organisations a consent connected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from flask import Response

from xtiger.sandbox.kept.state import State
from xtiger.sandbox.wire import Json, dumps

#: when a connection ends by itself
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
#: the granular scopes of 2026, all that a new app may ask for
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
    "accounting.transactions": "invoices, bills, credit notes, payments and bank transactions",
    "accounting.reports": "reports",
    "accounting.invoices": "invoices, bills, credit notes, quotes, purchase orders and items",
    "accounting.payments": "payments, prepayments and overpayments",
    "accounting.banktransactions": "bank transactions and transfers",
    "accounting.manualjournals": "manual journals",
    "accounting.classicexpenses": "expense claims and receipts",
    "accounting.settings": "the organisation, its accounts, tax rates and items",
    "accounting.contacts": "contacts and contact groups",
    "accounting.attachments": "files attached to documents",
}


def askable(*, broad: bool) -> frozenset[str]:
    """The scopes an app may ask for; an app made before March 2026 may ask the broad ones too."""
    return SCOPES | BROAD.keys() if broad else SCOPES


def meaning(scope: str) -> str:
    """A scope in words for people."""
    plain = scope.removesuffix(".read")
    words = _WORDS.get(plain) or plain.removeprefix("accounting.").replace(".", ": ")
    return f"{words} (read only)" if scope.endswith(".read") else words


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
    found = state.grants.get("access", token.strip())
    if found is None:
        raise Refused("AuthenticationUnsuccessful")
    expires, body = found
    if expires <= state.now():
        when = datetime.fromtimestamp(expires, UTC).strftime("%m/%d/%Y %H:%M:%S")
        raise Refused(f"TokenExpired: token expired at {when}")
    tenants = frozenset(one["tenantId"] for _, _, one in state.grants.of("connection"))
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
    return as_json(body | {"Instance": str(uuid4()), "Extensions": {}}, status)


def as_json(body: object, status: int = 200) -> Response:
    """An answer of the identity endpoints; tokens are for nobody's cache."""
    answer = Response(dumps(body), status, content_type="application/json; charset=utf-8")
    answer.headers["Cache-Control"] = "no-store"
    return answer


# what a consent connected


def connect(state: State, tenant: str, event: str) -> None:
    """Within a transaction. A second consent for the same organisation renews its connection."""
    moment = datetime.fromtimestamp(state.now(), UTC).replace(tzinfo=None)
    now = moment.isoformat(timespec="microseconds") + "0"
    for token, _, body in state.grants.of("connection"):
        if body["tenantId"] == tenant:
            state.grants.keep(
                "connection", token, _FOREVER, body | {"authEventId": event, "updatedDateUtc": now}
            )
            return
    organisation = state.organisation(tenant)
    assert organisation is not None
    connection = str(uuid4())
    state.grants.keep(
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


def disconnect(state: State, tenant: str) -> None:
    """Within a transaction: the app no longer reaches the organisation."""
    for connection, _, body in state.grants.of("connection"):
        if body["tenantId"] == tenant:
            state.grants.end("connection", connection)


def end_consent(state: State, event: str) -> None:
    """Within a transaction: ends a consent's tokens and the connections it made or renewed."""
    for kind, field in (("refresh", "event"), ("access", "event"), ("connection", "authEventId")):
        for token, _, body in state.grants.of(kind):
            if body[field] == event:
                state.grants.end(kind, token)

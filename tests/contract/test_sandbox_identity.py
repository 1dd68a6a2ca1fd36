"""Scopes old and new, the life of tokens by the clock, and custom connections of the local Xero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from xtiger.sandbox import Running, start
from xtiger.sandbox.identity.callers import BROAD, SCOPES

from .conftest import SandboxClient

BACK = "http://localhost:5999/xero/callback"
LATER = 1_800_000_000.0


class Clock:
    """A clock that tests turn on."""

    def __init__(self) -> None:
        self.now = LATER

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(clock: Clock) -> Iterator[Running]:
    with start(auto_consent=True, clock=clock) as running:
        yield running


def ask(running: Running, **form: str) -> requests.Response:
    secrets = {"client_id": running.client_id, "client_secret": running.client_secret}
    return requests.post(f"{running.identity_url}/connect/token", data=secrets | form, timeout=10)


def authorised(running: Running, scope: str) -> requests.Response:
    return requests.get(
        f"{running.identity_url}/identity/connect/authorize",
        params={
            "response_type": "code",
            "client_id": running.client_id,
            "redirect_uri": BACK,
            "scope": scope,
        },
        allow_redirects=False,
        timeout=10,
    )


def code_of(running: Running, scope: str = "offline_access accounting.contacts") -> str:
    location = authorised(running, scope).headers["Location"]
    return parse_qs(urlsplit(location).query)["code"][0]


def exchanged(running: Running, code: str) -> requests.Response:
    return ask(running, grant_type="authorization_code", code=code, redirect_uri=BACK)


def tokens(running: Running, scope: str = "offline_access accounting.contacts") -> dict[str, Any]:
    found: dict[str, Any] = exchanged(running, code_of(running, scope)).json()
    return found


def refreshed(running: Running, token: str) -> requests.Response:
    return ask(running, grant_type="refresh_token", refresh_token=token)


def read(running: Running, path: str, token: str, tenant: str = "") -> requests.Response:
    headers = {
        "Authorization": f"Bearer {token}",
        "xero-tenant-id": tenant or running.organisations[0]["tenant_id"],
    }
    return requests.get(f"{running.api_url}/api.xro/2.0/{path}", headers=headers, timeout=10)


# scopes


@pytest.mark.parametrize(
    ("scope", "path", "method", "status"),
    [
        ("accounting.invoices", "Invoices", "GET", 200),
        ("accounting.invoices", "CreditNotes", "GET", 200),
        ("accounting.invoices", "Quotes", "GET", 200),
        ("accounting.invoices", "PurchaseOrders", "GET", 200),
        ("accounting.invoices", "Items", "GET", 200),
        ("accounting.invoices", "Payments", "GET", 401),
        ("accounting.invoices", "Contacts", "GET", 401),
        ("accounting.invoices.read", "Invoices", "GET", 200),
        ("accounting.invoices.read", "Invoices", "PUT", 401),
        ("accounting.invoices.read", "Invoices", "POST", 401),
        ("accounting.payments", "Payments", "GET", 200),
        ("accounting.payments", "Prepayments", "GET", 200),
        ("accounting.payments", "Overpayments", "GET", 200),
        ("accounting.payments", "Invoices", "GET", 401),
        ("accounting.payments.read", "Payments", "PUT", 401),
        ("accounting.banktransactions", "BankTransactions", "GET", 200),
        ("accounting.banktransactions", "Payments", "GET", 401),
        ("accounting.settings", "Accounts", "GET", 200),
        ("accounting.settings", "TaxRates", "GET", 200),
        ("accounting.settings", "Organisation", "GET", 200),
        ("accounting.settings", "Users", "GET", 200),
        ("accounting.settings", "TrackingCategories", "GET", 200),
        ("accounting.settings", "Items", "GET", 200),
        ("accounting.settings.read", "Accounts", "PUT", 401),
        ("accounting.contacts", "Contacts", "GET", 200),
        ("accounting.contacts", "ContactGroups", "GET", 200),
        ("accounting.contacts.read", "Contacts", "POST", 401),
        ("accounting.attachments", "Invoices", "GET", 401),
    ],
)
def test_granular_scopes_are_enforced(
    sandbox: Running, scope: str, path: str, method: str, status: int
) -> None:
    token = ask(sandbox, grant_type="client_credentials", scope=scope).json()["access_token"]
    answer = requests.request(
        method,
        f"{sandbox.api_url}/api.xro/2.0/{path}",
        headers={"Authorization": f"Bearer {token}"},
        json={} if method != "GET" else None,
        timeout=10,
    )
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["Detail"] == "AuthorizationUnsuccessful"


@pytest.mark.parametrize("scope", sorted(BROAD))
def test_new_apps_may_not_ask_broad_scopes(own: Running, scope: str) -> None:
    answer = authorised(own, scope)
    assert answer.status_code == 400
    assert "<code>invalid_scope</code>" in answer.text
    assert ask(own, grant_type="client_credentials", scope=scope).status_code == 400


@pytest.mark.parametrize("scope", sorted(BROAD))
def test_older_apps_may_ask_broad_and_granular_scopes(scope: str) -> None:
    with start(auto_consent=True, broad_scopes=True) as running:
        assert authorised(running, f"{scope} accounting.contacts").status_code == 302
        answer = ask(running, grant_type="client_credentials", scope=scope)
        assert answer.json()["scope"] == scope
        assert authorised(running, "accounting.everything").status_code == 400


@pytest.mark.parametrize(
    ("scope", "path", "method", "status"),
    [
        ("accounting.transactions", "Invoices", "GET", 200),
        ("accounting.transactions", "Payments", "GET", 200),
        ("accounting.transactions", "BankTransactions", "GET", 200),
        ("accounting.transactions", "Invoices", "PUT", 400),
        ("accounting.transactions", "Contacts", "GET", 401),
        ("accounting.transactions.read", "Payments", "GET", 200),
        ("accounting.transactions.read", "Invoices", "PUT", 401),
        ("accounting.reports.read", "Invoices", "GET", 401),
    ],
)
def test_broad_scopes_cover_what_was_shared_out(
    scope: str, path: str, method: str, status: int
) -> None:
    with start(broad_scopes=True) as running:
        client = SandboxClient(running)
        bearer = {"Authorization": f"Bearer {client.token(scope=scope)['access_token']}"}
        body = None if method == "GET" else {}
        assert client.call(method, path, body, headers=bearer).status_code == status


def test_the_switch_can_be_turned_while_it_runs(own: Running) -> None:
    url = f"{own.api_url}/_control/identity"
    told = requests.post(url, json={"broad_scopes": True}, timeout=5).json()
    assert told["broad_scopes"] is True
    assert authorised(own, "accounting.transactions").status_code == 302
    requests.post(url, json={"broad_scopes": False}, timeout=5)
    assert authorised(own, "accounting.transactions").status_code == 400


def test_every_scope_has_words_on_the_consent_page(sandbox: Running) -> None:
    answer = authorised(sandbox, " ".join(sorted(SCOPES)))
    assert answer.status_code == 200
    assert "invoices, bills, credit notes, quotes, purchase orders and items" in answer.text
    assert "(read only)" in answer.text


# the life of tokens


def test_access_token_lives_half_an_hour(own: Running, clock: Clock) -> None:
    token = tokens(own)["access_token"]
    clock.now += 1799
    assert read(own, "Contacts", token).status_code == 200
    clock.now += 1
    answer = read(own, "Contacts", token)
    assert answer.status_code == 401
    assert answer.json()["Detail"] == "TokenExpired: token expired at 01/15/2027 08:30:00"


def test_code_lives_five_minutes(own: Running, clock: Clock) -> None:
    code = code_of(own)
    clock.now += 300
    assert exchanged(own, code).json() == {"error": "invalid_grant"}


def test_refresh_token_lives_sixty_days_unless_used(own: Running, clock: Clock) -> None:
    token = tokens(own)["refresh_token"]
    clock.now += 60 * 86400 - 1
    token = refreshed(own, token).json()["refresh_token"]
    clock.now += 60 * 86400
    answer = refreshed(own, token)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})


def test_replaced_refresh_token_works_for_half_an_hour(own: Running, clock: Clock) -> None:
    token = tokens(own)["refresh_token"]
    refreshed(own, token)
    clock.now += 1800
    second = refreshed(own, token)
    assert second.status_code == 200
    clock.now += 1801
    assert refreshed(own, token).json() == {"error": "invalid_grant"}
    assert refreshed(own, second.json()["refresh_token"]).status_code == 200


def test_refreshing_keeps_the_scopes_of_the_consent(own: Running) -> None:
    token = tokens(own)
    found = refreshed(own, token["refresh_token"]).json()
    assert found["scope"] == "offline_access accounting.contacts"
    assert read(own, "Items", found["access_token"]).status_code == 401


def test_without_offline_access_nothing_can_be_refreshed(own: Running) -> None:
    assert "refresh_token" not in tokens(own, "accounting.contacts")


def test_tokens_are_for_no_cache(own: Running) -> None:
    assert exchanged(own, code_of(own)).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("grant", ["password", "", "implicit"])
def test_other_grants_are_refused(own: Running, grant: str) -> None:
    answer = ask(own, grant_type=grant)
    assert (answer.status_code, answer.json()) == (400, {"error": "unsupported_grant_type"})


# consents and connections


def test_a_second_consent_renews_the_connection(own: Running, clock: Clock) -> None:
    def connections(token: str) -> list[dict[str, Any]]:
        bearer = {"Authorization": f"Bearer {token}"}
        found = requests.get(f"{own.api_url}/connections", headers=bearer, timeout=5)
        listed: list[dict[str, Any]] = found.json()
        return sorted(listed, key=lambda one: str(one["tenantName"]))

    before = connections(tokens(own)["access_token"])
    clock.now += 60
    after = connections(tokens(own)["access_token"])
    assert [one["id"] for one in before] == [one["id"] for one in after]
    assert before[0]["authEventId"] != after[0]["authEventId"]
    assert before[0]["createdDateUtc"] == after[0]["createdDateUtc"] < after[0]["updatedDateUtc"]
    assert after[0]["createdDateUtc"] == "2027-01-15T08:00:00.0000000"


def test_revoking_leaves_another_consent_alone(own: Running) -> None:
    first = tokens(own)
    second = tokens(own)
    answer = requests.post(
        f"{own.identity_url}/connect/revocation",
        data={"token": first["refresh_token"]},
        auth=(own.client_id, own.client_secret),
        timeout=5,
    )
    assert (answer.status_code, answer.content) == (200, b"")
    assert refreshed(own, first["refresh_token"]).json() == {"error": "invalid_grant"}
    assert refreshed(own, second["refresh_token"]).status_code == 200
    assert read(own, "Contacts", second["access_token"]).status_code == 200


def test_an_unknown_organisation_is_forbidden(own: Running) -> None:
    token = tokens(own)["access_token"]
    for tenant in ("nobody", "00000000-0000-0000-0000-000000000000"):
        answer = read(own, "Contacts", token, tenant)
        assert answer.status_code == 403
        assert answer.json()["Title"] == "Forbidden"


# custom connections


@pytest.mark.parametrize("by", ["name", "tenant_id"])
def test_custom_connection_can_be_of_another_organisation(own: Running, by: str) -> None:
    url = f"{own.api_url}/_control/identity"
    requests.post(url, json={"custom": own.organisations[1][by]}, timeout=5)
    token = ask(own, grant_type="client_credentials").json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    answer = requests.get(f"{own.api_url}/api.xro/2.0/Organisation", headers=bearer, timeout=5)
    assert answer.json()["Organisations"][0]["Name"] == "Thames Supplies"
    listed = requests.get(f"{own.api_url}/connections", headers=bearer, timeout=5).json()
    assert [one["tenantName"] for one in listed] == ["Thames Supplies"]


def test_custom_connection_chosen_at_the_start() -> None:
    with start(custom="Thames Supplies") as running:
        client = SandboxClient(running)
        del client.session.headers["xero-tenant-id"]
        assert client.get("Organisation").json()["Organisations"][0]["BaseCurrency"] == "GBP"


def test_custom_connection_to_nobody_is_refused(own: Running) -> None:
    with pytest.raises(ValueError, match="no organisation is called Nobody"):
        start(custom="Nobody")
    url = f"{own.api_url}/_control/identity"
    assert requests.post(url, json={"custom": "Nobody"}, timeout=5).status_code == 404


def test_token_of_a_custom_connection_ends_with_its_half_hour(own: Running, clock: Clock) -> None:
    token = ask(own, grant_type="client_credentials").json()
    assert (token["expires_in"], "refresh_token" in token) == (1800, False)
    clock.now += 1800
    assert read(own, "Contacts", token["access_token"]).status_code == 401

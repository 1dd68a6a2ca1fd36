"""OAuth2 of the local Xero, through requests-oauthlib and through plain HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests_oauthlib import OAuth2Session

from xtiger.sandbox import Running, start

BACK = "http://localhost:5999/xero/callback"
SCOPES = ["openid", "profile", "email", "offline_access"]
SCOPES += ["accounting.contacts", "accounting.settings"]


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture(scope="module")
def willing() -> Iterator[Running]:
    """A sandbox that consents by itself."""
    with start(auto_consent=True) as running:
        yield running


def consent(running: Running, session: OAuth2Session) -> str:
    url, _ = session.authorization_url(f"{running.identity_url}/identity/connect/authorize")
    answer = requests.get(url, allow_redirects=False, timeout=10)
    assert answer.status_code == 302
    return answer.headers["Location"]


def signed_in(running: Running) -> tuple[OAuth2Session, dict[str, Any]]:
    session = OAuth2Session(running.client_id, redirect_uri=BACK, scope=SCOPES, pkce="S256")
    token = session.fetch_token(
        f"{running.identity_url}/connect/token",
        authorization_response=consent(running, session),
        client_secret=running.client_secret,
    )
    return session, token


def ask(running: Running, **form: str) -> requests.Response:
    secrets = {"client_id": running.client_id, "client_secret": running.client_secret}
    return requests.post(f"{running.identity_url}/connect/token", data=secrets | form, timeout=10)


def refresh(running: Running, token: str) -> requests.Response:
    return ask(running, grant_type="refresh_token", refresh_token=token)


def claims(jwt: str) -> dict[str, Any]:
    part = jwt.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def code_of(running: Running, **more: str) -> str:
    verifier = hashlib.sha256(b"verifier").digest()
    asked = {
        "response_type": "code",
        "client_id": running.client_id,
        "redirect_uri": BACK,
        "scope": "offline_access accounting.contacts",
        "state": "s1",
        "code_challenge": base64.urlsafe_b64encode(verifier).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    answer = requests.get(
        f"{running.identity_url}/identity/connect/authorize",
        params=asked | more,
        allow_redirects=False,
        timeout=10,
    )
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def exchange(running: Running, code: str, **more: str) -> requests.Response:
    form = {"code": code, "redirect_uri": BACK, "code_verifier": "verifier"} | more
    return ask(running, grant_type="authorization_code", **form)


def test_code_flow_with_pkce_gives_all_tokens(willing: Running) -> None:
    session, token = signed_in(willing)
    assert token["expires_in"] == 1800
    assert token["token_type"] == "Bearer"
    assert claims(token["id_token"])["email"] == "ana@example.com"
    found = session.get(f"{willing.api_url}/connections").json()
    assert {one["tenantName"] for one in found} == {"Kauri Trading", "Thames Supplies"}
    assert {one["authEventId"] for one in found} == {
        claims(token["access_token"])["authentication_event_id"]
    }
    again = session.get(f"{willing.api_url}/Connections").json()
    assert again == found


def test_code_works_once(willing: Running) -> None:
    code = code_of(willing)
    assert exchange(willing, code).status_code == 200
    answer = exchange(willing, code)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})


def test_wrong_verifier_is_refused(willing: Running) -> None:
    answer = exchange(willing, code_of(willing), code_verifier="another")
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})


def test_redirect_uri_must_match_byte_for_byte(willing: Running) -> None:
    answer = exchange(willing, code_of(willing), redirect_uri=BACK + "/")
    assert answer.json() == {"error": "invalid_grant"}


def test_wrong_secret_is_invalid_client(willing: Running) -> None:
    answer = exchange(willing, code_of(willing), client_secret="no")
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client"})


def test_public_client_needs_no_secret_with_pkce(willing: Running) -> None:
    answer = requests.post(
        f"{willing.identity_url}/connect/token",
        data={
            "grant_type": "authorization_code",
            "client_id": willing.client_id,
            "code": code_of(willing),
            "redirect_uri": BACK,
            "code_verifier": "verifier",
        },
        timeout=10,
    )
    assert answer.status_code == 200


def test_refresh_rotates_and_the_old_one_dies_when_the_new_one_is_used(willing: Running) -> None:
    _, token = signed_in(willing)
    second = refresh(willing, token["refresh_token"]).json()
    assert second["refresh_token"] != token["refresh_token"]
    third = refresh(willing, second["refresh_token"])
    assert third.status_code == 200
    answer = refresh(willing, token["refresh_token"])
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})


def test_refresh_whose_answer_was_lost_may_be_repeated(willing: Running) -> None:
    _, token = signed_in(willing)
    lost = refresh(willing, token["refresh_token"]).json()
    again = refresh(willing, token["refresh_token"])
    assert again.status_code == 200
    assert refresh(willing, lost["refresh_token"]).json() == {"error": "invalid_grant"}
    assert refresh(willing, again.json()["refresh_token"]).status_code == 200


def test_grace_of_a_replaced_refresh_token_ends() -> None:
    with start(auto_consent=True, time_factor=0.00001) as hasty:
        _, token = signed_in(hasty)
        refresh(hasty, token["refresh_token"])
        time.sleep(0.05)
        assert refresh(hasty, token["refresh_token"]).json() == {"error": "invalid_grant"}


def test_revocation_ends_tokens_and_connections() -> None:
    with start(auto_consent=True) as running:
        session, token = signed_in(running)
        answer = requests.post(
            f"{running.identity_url}/connect/revocation",
            data={"token": token["refresh_token"]},
            auth=(running.client_id, running.client_secret),
            timeout=10,
        )
        assert answer.status_code == 200
        assert refresh(running, token["refresh_token"]).json() == {"error": "invalid_grant"}
        assert session.get(f"{running.api_url}/connections").status_code == 401


def test_disconnected_organisation_is_forbidden() -> None:
    with start(auto_consent=True) as running:
        session, _ = signed_in(running)
        first = session.get(f"{running.api_url}/connections").json()[0]
        url = f"{running.api_url}/connections"
        assert session.delete(f"{url}/{first['tenantId']}").status_code == 404
        assert session.delete(f"{url}/{first['id']}").status_code == 204
        answer = session.get(
            f"{running.api_url}/api.xro/2.0/Organisation",
            headers={"xero-tenant-id": first["tenantId"]},
        )
        assert answer.status_code == 403
        assert answer.json()["Detail"] == "AuthenticationUnsuccessful"
        assert answer.json()["Title"] == "Forbidden"


def test_custom_connection_reaches_the_first_organisation_without_a_header(
    sandbox: Running,
) -> None:
    token = ask(sandbox, grant_type="client_credentials").json()
    assert "refresh_token" not in token
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    answer = requests.get(f"{sandbox.api_url}/api.xro/2.0/Organisation", headers=bearer, timeout=10)
    assert answer.json()["Organisations"][0]["Name"] == "Kauri Trading"
    other = bearer | {"xero-tenant-id": sandbox.organisations[1]["tenant_id"]}
    answer = requests.get(f"{sandbox.api_url}/api.xro/2.0/Organisation", headers=other, timeout=10)
    assert answer.status_code == 403


def test_broad_scope_is_refused_for_a_custom_connection(sandbox: Running) -> None:
    answer = ask(sandbox, grant_type="client_credentials", scope="accounting.transactions")
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid_scope",
        "error_description": "Client credentials scope validation failed",
    }


def test_missing_scope_is_unsuccessful_authorisation(sandbox: Running) -> None:
    scope = "accounting.contacts.read"
    token = ask(sandbox, grant_type="client_credentials", scope=scope).json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    base = f"{sandbox.api_url}/api.xro/2.0"
    assert requests.get(f"{base}/Contacts", headers=headers, timeout=10).status_code == 200
    for answer in (
        requests.get(f"{base}/Invoices", headers=headers, timeout=10),
        requests.put(f"{base}/Contacts", headers=headers, json={"Name": "A"}, timeout=10),
    ):
        assert answer.status_code == 401
        assert answer.json()["Detail"] == "AuthorizationUnsuccessful"


def test_unknown_token_and_expired_token_are_told_apart() -> None:
    with start() as running:
        base = f"{running.api_url}/api.xro/2.0/Organisation"
        answer = requests.get(base, headers={"Authorization": "Bearer nonsense"}, timeout=10)
        assert answer.status_code == 401
        assert answer.json()["Detail"] == "AuthenticationUnsuccessful"
        token = ask(running, grant_type="client_credentials").json()["access_token"]
        requests.post(f"{running.api_url}/_control/tokens/expire", json={}, timeout=10)
        answer = requests.get(base, headers={"Authorization": f"Bearer {token}"}, timeout=10)
        body = answer.json()
        assert answer.status_code == 401
        assert re.fullmatch(
            r"TokenExpired: token expired at \d\d/\d\d/\d{4} \d\d:\d\d:\d\d", body.pop("Detail")
        )
        assert body.pop("Instance")
        assert body == {"Type": None, "Title": "Unauthorized", "Status": 401, "Extensions": {}}


def page(running: Running, **changed: str) -> requests.Response:
    asked = {
        "response_type": "code",
        "client_id": running.client_id,
        "redirect_uri": BACK,
        "scope": "offline_access accounting.contacts",
        "state": "s&1",
    }
    url = f"{running.identity_url}/identity/connect/authorize"
    return requests.get(url, params=asked | changed, allow_redirects=False, timeout=10)


def test_consent_page_lets_a_person_choose_one_organisation(sandbox: Running) -> None:
    shown = page(sandbox)
    assert "XTiger wants access to:" in shown.text
    assert "contacts and contact groups" in shown.text
    assert "'unsafe-inline'" not in shown.headers["Content-Security-Policy"]
    assert "form-action 'self' http://localhost:5999" in shown.headers["Content-Security-Policy"]
    ticket = re.findall(r'name="ticket" value="([^"]+)"', shown.text)[0]
    chosen = sandbox.organisations[1]["tenant_id"]
    url = f"{sandbox.identity_url}/identity/connect/authorize"
    form = {"ticket": ticket, "decision": "allow", "organisation": chosen}
    answer = requests.post(url, data=form, allow_redirects=False, timeout=10)
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert query["state"] == ["s&1"]
    token = ask(
        sandbox, grant_type="authorization_code", code=query["code"][0], redirect_uri=BACK
    ).json()
    event = claims(token["access_token"])["authentication_event_id"]
    found = requests.get(
        f"{sandbox.api_url}/connections",
        params={"authEventId": event},
        headers={"Authorization": f"Bearer {token['access_token']}"},
        timeout=10,
    ).json()
    assert [one["tenantId"] for one in found] == [chosen]
    again = requests.post(url, data=form, allow_redirects=False, timeout=10)
    assert again.status_code == 400


def test_cancel_leads_back_with_access_denied(sandbox: Running) -> None:
    ticket = re.findall(r'name="ticket" value="([^"]+)"', page(sandbox).text)[0]
    answer = requests.post(
        f"{sandbox.identity_url}/identity/connect/authorize",
        data={"ticket": ticket, "decision": "cancel"},
        allow_redirects=False,
        timeout=10,
    )
    assert answer.headers["Location"] == f"{BACK}?error=access_denied&state=s%261"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"client_id": "someone"}, "unauthorized_client"),
        ({"redirect_uri": "http://example.com/back"}, "unauthorized_client"),
        ({"redirect_uri": "https://a.example;script-src *"}, "unauthorized_client"),
        ({"scope": "accounting.transactions"}, "invalid_scope"),
        ({"scope": "accounting.everything"}, "invalid_scope"),
    ],
)
def test_bad_request_for_consent_gets_an_error_page(
    sandbox: Running, changed: dict[str, str], error: str
) -> None:
    answer = page(sandbox, **changed)
    assert answer.status_code == 400
    assert f"<code>{error}</code>" in answer.text

"""XeroClient against a local Xero over real HTTP, and against servers that misbehave."""

from __future__ import annotations

import base64
import gzip
import hashlib
import inspect
import json
import logging
import re
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import requests

from tests.contract.played import (
    Act,
    StillClock,
    answers,
    hangs_up,
    playing,
    resets,
    trickles,
)
from xtiger.domain import exactjson
from xtiger.domain.defaults import DEFAULTS
from xtiger.domain.errors import (
    AuthorisationError,
    PermanentError,
    TransientError,
    UnknownOutcome,
    XTigerError,
)
from xtiger.domain.mapping import (
    BuildContext,
    Built,
    MappingTemplate,
    OrganisationFacts,
    Parent,
    compile_template,
)
from xtiger.domain.records import DocumentType, Module, Record, RecordRef
from xtiger.domain.resources import RESOURCE_OF, Resource, Verb
from xtiger.engine.connection.connect import SCOPES
from xtiger.ports import Access, Answer, Call, Clock, TokenSet, XeroPort
from xtiger.sandbox import Running, start
from xtiger.xero.answers import read_element
from xtiger.xero.client import XeroClient

REDIRECT = "http://localhost:5999/xero/callback"
VERIFIER = "verifier-" + "v" * 50
TOKEN = "token-that-nobody-may-see"
SECRET = "secret-that-nobody-may-see"
REAL_ID = "5f3a9b1e-5d8c-4a7e-9a55-0c4a7d2f1b11"
ZERO_ID = "00000000-0000-0000-0000-000000000000"
NOT_USED = (
    "error occurred",
    "something went wrong",
    "invalid",
    "oops",
    "please",
    "successfully",
    "try again later",
    "unknown error",
)


@pytest.fixture(autouse=True)
def _http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture
def xero() -> Iterator[Running]:
    """One for each test: a shared one's 60 calls a minute would be used up by other tests."""
    with start(auto_consent=True) as running:
        yield running


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


def client_for(url: str, clock: Clock, time_factor: float = 1.0) -> XeroClient:
    return XeroClient(
        login_url=url, identity_url=url, api_url=url, clock=clock, time_factor=time_factor
    )


@pytest.fixture
def client(xero: Running, clock: StillClock) -> Iterator[XeroClient]:
    with closing(client_for(xero.api_url, clock)) as made:
        yield made


def code_of(client: XeroClient, xero: Running, scopes: str = SCOPES) -> str:
    url = client.authorise_url(
        client_id=xero.client_id,
        redirect_uri=REDIRECT,
        scopes=scopes,
        state="the-state",
        verifier=VERIFIER,
    )
    back = requests.get(url, allow_redirects=False, timeout=60).headers["Location"]
    answer = parse_qs(urlsplit(back).query)
    assert answer["state"] == ["the-state"]
    return answer["code"][0]


def consent(client: XeroClient, xero: Running, scopes: str = SCOPES) -> TokenSet:
    return client.exchange(
        client_id=xero.client_id,
        secret=xero.client_secret,
        redirect_uri=REDIRECT,
        code=code_of(client, xero, scopes),
        verifier=VERIFIER,
    )


@pytest.fixture
def access(client: XeroClient, xero: Running) -> Access:
    tokens = consent(client, xero)
    return Access(tokens.access_token, xero.organisations[0]["tenant_id"])


def tell(xero: Running, path: str, body: object = None) -> Any:
    answer = requests.post(f"{xero.api_url}/_control/{path}", json=body or {}, timeout=60)
    assert answer.ok, answer.text
    return answer.json()


def call(
    resource: Resource, elements: list[dict[str, Any]], verb: Verb = Verb.CREATE, key: str = ""
) -> Call:
    body = exactjson.dumps({resource.value: elements})
    return Call(resource, verb, body, key or str(uuid4()), len(elements))


def contact(**more: Any) -> dict[str, Any]:
    unique = uuid4().hex[:12]
    return {"Name": f"Contact {unique}", "ContactNumber": f"demo:Contacts:{unique}", **more}


def invoice(contact_id: str, **more: Any) -> dict[str, Any]:
    line = {"Description": "Work", "Quantity": 1, "UnitAmount": Decimal("25.0625")}
    return {
        "Type": "ACCREC",
        "Contact": {"ContactID": contact_id},
        "InvoiceNumber": f"INV-{uuid4().hex[:10]}",
        "Date": "2026-11-21",
        "DueDate": "2026-12-21",
        "LineItems": [line | {"AccountCode": "200"}],
        **more,
    }


def contact_id(client: XeroClient, access: Access) -> str:
    answer = client.save_many(access, call(Resource.CONTACTS, [contact()]))
    assert answer.elements[0].xero_id
    return answer.elements[0].xero_id


def whole_text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))


@contextmanager
def refuses(kind: type[XTigerError], *secrets: str) -> Iterator[list[Any]]:
    """Expects an error of exactly this kind; it must not show secrets nor words not used."""
    caught: list[Any] = []
    with pytest.raises(XTigerError) as found:
        yield caught
    caught.append(found.value)
    assert type(found.value) is kind, found.value.sentence
    shown = whole_text(found.value)
    for secret in (TOKEN, SECRET, VERIFIER, *secrets):
        assert secret not in shown
    assert found.value.__context__ is None or isinstance(found.value.__context__, XTigerError)
    own_words = re.sub("“[^”]*”", "", found.value.sentence).lower()
    assert not [word for word in NOT_USED if word in own_words]


HERE = Access(TOKEN, REAL_ID)


def save(url: str, *, count: int = 1, factor: float = 1.0, clock: Clock | None = None) -> Answer:
    elements = [{"Name": f"A{place}"} for place in range(count)]
    with closing(client_for(url, clock or StillClock(), factor)) as client:
        return client.save_many(HERE, call(Resource.CONTACTS, elements))


def read(url: str, *, factor: float = 1.0) -> Any:
    with closing(client_for(url, StillClock(), factor)) as client:
        return client.read(HERE, "Accounts")


def refresh(url: str, secret: str = SECRET) -> TokenSet:
    with closing(client_for(url, StillClock())) as client:
        return client.refresh(client_id="ID", secret=secret, refresh_token=TOKEN)


# addresses and shape


def test_the_client_has_exactly_the_methods_of_the_port() -> None:
    for name, wanted in inspect.getmembers(XeroPort, inspect.isfunction):
        if not name.startswith("_"):
            got = inspect.signature(getattr(XeroClient, name))
            assert got.parameters == inspect.signature(wanted).parameters, name


@pytest.mark.parametrize(
    "url",
    [
        "http://api.xero.com",
        "http://10.0.0.1",
        "http://localhost.evil.example",
        "ftp://api.xero.com",
        "api.xero.com",
        "https://me:word@api.xero.com",
    ],
)
def test_an_address_where_tokens_are_not_safe_is_refused_at_once(url: str) -> None:
    for name in ("login_url", "identity_url", "api_url"):
        addresses: dict[str, Any] = {name: url}
        with pytest.raises(ValueError, match="must"):
            XeroClient(clock=StillClock(), **addresses)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "[::1]"])
def test_plain_http_to_this_machine_is_allowed(host: str) -> None:
    client_for(f"http://{host}:8080", StillClock())


# consent


def test_the_authorise_address_carries_state_scopes_and_only_the_hash_of_the_verifier() -> None:
    client = XeroClient(clock=StillClock())
    url = client.authorise_url(
        client_id="ID",
        redirect_uri=REDIRECT,
        scopes=SCOPES,
        state="S",
        verifier=VERIFIER,
    )
    assert url.startswith("https://login.xero.com/identity/connect/authorize?")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    assert asked == {
        "response_type": "code",
        "client_id": "ID",
        "redirect_uri": REDIRECT,
        "scope": SCOPES,
        "state": "S",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    assert VERIFIER not in url


def test_a_consent_gives_tokens_that_name_the_person(
    client: XeroClient, xero: Running, clock: StillClock
) -> None:
    tokens = consent(client, xero)
    assert tokens.email == "ana@example.com"
    assert set(tokens.scope.split()) == set(SCOPES.split())
    assert tokens.refresh_token
    left = (tokens.expires_at - clock.now()).total_seconds()
    assert 1700 < left <= 1800
    assert tokens.access_token not in repr(tokens)
    assert tokens.refresh_token not in repr(tokens)


def test_a_code_without_its_verifier_is_worth_nothing(client: XeroClient, xero: Running) -> None:
    code = code_of(client, xero)
    with refuses(AuthorisationError, code, xero.client_secret):
        client.exchange(
            client_id=xero.client_id,
            secret=xero.client_secret,
            redirect_uri=REDIRECT,
            code=code,
            verifier="w" * 50,
        )


def test_a_narrower_or_wider_scope_than_asked_raises_nothing() -> None:
    granted = {"access_token": "a", "expires_in": 1800, "scope": "openid", "token_type": "Bearer"}
    with playing(answers(200, granted)) as server:
        client = client_for(server.url, StillClock())
        tokens = client.exchange(
            client_id="ID", secret=SECRET, redirect_uri=REDIRECT, code="c", verifier=VERIFIER
        )
    assert tokens.scope == "openid"
    assert tokens.email is None
    sent = server.requests[0]
    assert b"code_verifier=" + VERIFIER.encode() in sent
    assert b"Basic " + base64.b64encode(f"ID:{SECRET}".encode()) in sent
    assert SECRET.encode() not in sent


def test_refreshing_rotates_the_tokens_and_the_old_one_gets_its_grace(
    client: XeroClient, xero: Running
) -> None:
    first = consent(client, xero)
    who = {"client_id": xero.client_id, "secret": xero.client_secret}
    assert first.refresh_token
    second = client.refresh(**who, refresh_token=first.refresh_token)
    again = client.refresh(**who, refresh_token=first.refresh_token)
    assert len({one.refresh_token for one in (first, second, again)}) == 3
    assert second.access_token != first.access_token


def test_an_ended_consent_asks_for_a_new_one(client: XeroClient, xero: Running) -> None:
    with refuses(AuthorisationError, xero.client_secret, "dead-token") as caught:
        client.refresh(
            client_id=xero.client_id, secret=xero.client_secret, refresh_token="dead-token"
        )
    assert caught[0].sentence == (
        "Xero ended this consent. Connect again; what is queued waits in order."
    )
    assert not caught[0].expired


@pytest.mark.parametrize("secret", ["wrong-secret", "schlüssel-\u200b"])
def test_a_wrong_secret_is_named(client: XeroClient, xero: Running, secret: str) -> None:
    with refuses(AuthorisationError, secret) as caught:
        client.refresh(client_id=xero.client_id, secret=secret, refresh_token="r")
    assert caught[0].sentence == (
        "Client ID and secret don't belong together. Make a new secret in Xero and paste it."
    )


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (answers(400, {"error": "unauthorized_client"}), AuthorisationError),
        (answers(401), AuthorisationError),
        (answers(400, {"error": "invalid_scope", "error_description": TOKEN}), PermanentError),
        (answers(400, {"error": f"<b>{TOKEN}</b>"}), PermanentError),
        (answers(302, Location="https://elsewhere.example/"), PermanentError),
        (answers(404, "<html>"), PermanentError),
        (answers(200, "<html>"), TransientError),
        (answers(200, {"token_type": "Bearer"}), TransientError),
        (answers(200, [1]), TransientError),
        (answers(503, "away"), TransientError),
        (answers(429, Retry_After="7"), TransientError),
        (resets, TransientError),
        (hangs_up(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), TransientError),
    ],
)
def test_the_token_endpoints_answers_are_told_apart(act: Act, kind: type[XTigerError]) -> None:
    with playing(act) as server, refuses(kind):
        refresh(server.url)
    assert len(server.requests) == 1


def test_xeros_own_word_for_a_refused_token_is_quoted() -> None:
    with (
        playing(answers(400, {"error": "invalid_scope"})) as server,
        pytest.raises(PermanentError, match="“invalid_scope”"),
    ):
        refresh(server.url)


def test_a_lost_token_endpoint_is_worth_another_try() -> None:
    with playing(resets) as server:
        pass
    with refuses(TransientError) as caught:
        refresh(server.url)
    assert "Xero can't be reached (localhost)." in caught[0].sentence


def test_no_token_or_secret_reaches_the_logs_even_at_debug(
    client: XeroClient, xero: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        tokens = consent(client, xero)
        assert tokens.refresh_token
        client.refresh(
            client_id=xero.client_id,
            secret=xero.client_secret,
            refresh_token=tokens.refresh_token,
        )
        client.tenants(tokens.access_token)
        app = {"client_id": xero.client_id, "secret": xero.client_secret}
        own = client.client_credentials(**app, scopes="accounting.settings").access_token
        client.revoke(**app, refresh_token=tokens.refresh_token)
    secrets = (tokens.access_token, tokens.refresh_token, own, xero.client_secret, VERIFIER)
    for secret in secrets:
        assert secret not in caplog.text


# organisations


def test_the_organisations_of_a_consent_are_listed(client: XeroClient, xero: Running) -> None:
    found = client.tenants(consent(client, xero).access_token)
    assert {one.tenant_id for one in found} == {one["tenant_id"] for one in xero.organisations}
    assert all(one.connection_id != one.tenant_id and one.auth_event_id for one in found)


def test_a_practice_is_no_organisation() -> None:
    listed = [
        {"id": "1", "tenantId": "a", "tenantType": "PRACTICE", "tenantName": "P"},
        {"id": "2", "tenantId": "b", "tenantType": "ORGANISATION", "tenantName": "O"},
        {"tenantType": "ORGANISATION"},
    ]
    with playing(answers(200, listed)) as server:
        found = client_for(server.url, StillClock()).tenants(TOKEN)
    assert [one.tenant_id for one in found] == ["b"]
    assert b"xero-tenant-id" not in server.requests[0].lower()


def test_disconnecting_takes_one_organisation_out_and_may_be_repeated(clock: StillClock) -> None:
    with start(auto_consent=True) as xero, closing(client_for(xero.api_url, clock)) as client:
        token = consent(client, xero).access_token
        before = client.tenants(token)
        client.disconnect(access_token=token, connection_id=before[0].connection_id)
        client.disconnect(access_token=token, connection_id=before[0].connection_id)
        assert [one.tenant_id for one in client.tenants(token)] == [
            one.tenant_id for one in before[1:]
        ]
        with refuses(AuthorisationError, token) as caught:
            client.read(Access(token, before[0].tenant_id), "Organisation")
        assert caught[0].sentence == (
            "Xero no longer lets XTiger into this organisation. Connect again and tick it."
        )


# saving


def test_a_batch_is_created_and_answered_in_order(client: XeroClient, access: Access) -> None:
    wanted = [contact() for _ in range(3)]
    answer = client.save_many(access, call(Resource.CONTACTS, wanted))
    assert [one.stored for one in answer.elements] == [True] * 3
    assert [one.data["Name"] for one in answer.elements] == [one["Name"] for one in wanted]
    assert all(one.xero_id == one.data["ContactID"] for one in answer.elements)
    assert answer.status == 200
    assert json.loads(answer.body)["Contacts"][0]["Name"] == wanted[0]["Name"]
    assert answer.day_left is not None
    assert answer.minute is not None


def test_money_keeps_its_digits_both_ways(client: XeroClient, access: Access) -> None:
    one = invoice(contact_id(client, access), Status="AUTHORISED")
    answer = client.save_many(access, call(Resource.INVOICES, [one]))
    (element,) = answer.elements
    assert element.stored
    assert element.data["LineItems"][0]["UnitAmount"] == Decimal("25.0625")
    assert isinstance(element.data["Total"], Decimal | int)


def test_an_update_goes_to_the_object_it_names(client: XeroClient, access: Access) -> None:
    known = contact_id(client, access)
    change = {"ContactID": known, "EmailAddress": "new@example.com"}
    answer = client.save_many(access, call(Resource.CONTACTS, [change], Verb.UPDATE))
    assert answer.elements[0].xero_id == known
    assert answer.elements[0].data["EmailAddress"] == "new@example.com"


def test_one_refused_element_leaves_the_others_stored(client: XeroClient, access: Access) -> None:
    first, good = contact(), contact()
    taken = contact(Name=first["Name"], EmailAddress="no address")
    answer = client.save_many(access, call(Resource.CONTACTS, [first, taken, good]))
    assert [one.stored for one in answer.elements] == [True, False, True]
    assert answer.elements[1].xero_id is None
    assert "Email address must be valid." in answer.elements[1].faults
    assert any("is already assigned" in words for words in answer.elements[1].faults)


def test_the_message_of_a_line_names_the_line(client: XeroClient, access: Access) -> None:
    one = invoice(contact_id(client, access), Status="AUTHORISED")
    one["LineItems"].append({"Description": "x", "Quantity": 1, "AccountCode": "nope"})
    (element,) = client.save_many(access, call(Resource.INVOICES, [one])).elements
    words = "Account code 'nope' is not a valid code for this document."
    assert element.stored is False
    assert f"Line 2: {words}" in element.faults
    assert words not in element.faults


def test_the_same_call_sent_again_is_answered_the_same_and_stored_once(
    client: XeroClient, access: Access
) -> None:
    once = call(Resource.CONTACTS, [contact()])
    first, second = client.save_many(access, once), client.save_many(access, once)
    assert first.body == second.body
    number = first.elements[0].data["ContactNumber"]
    assert len(client.find(access, Resource.CONTACTS, [number])) == 1


def test_a_key_used_for_another_call_is_an_open_question(
    client: XeroClient, access: Access
) -> None:
    client.save_many(access, call(Resource.CONTACTS, [contact()], key="one-key"))
    with refuses(UnknownOutcome, access.access_token):
        client.save_many(access, call(Resource.CONTACTS, [contact()], key="one-key"))


def test_a_body_xero_cannot_read_is_refused_in_its_words(
    client: XeroClient, access: Access
) -> None:
    broken = Call(Resource.CONTACTS, Verb.CREATE, b'{"Contacts":[', str(uuid4()), 1)
    with refuses(PermanentError, access.access_token) as caught:
        client.save_many(access, broken)
    assert "PostDataInvalidException 14" in caught[0].sentence
    assert "Nothing of it was stored." in caught[0].sentence


def test_a_missing_scope_is_named(client: XeroClient, xero: Running) -> None:
    narrow = "offline_access accounting.contacts"
    token = consent(client, xero, narrow).access_token
    access = Access(token, xero.organisations[0]["tenant_id"])
    with refuses(AuthorisationError, token) as caught:
        client.save_many(access, call(Resource.INVOICES, [invoice(REAL_ID)]))
    assert caught[0].sentence == (
        "The connection lacks “accounting.invoices”. Connect again and allow it."
    )
    assert not caught[0].expired
    with refuses(AuthorisationError, token) as caught:
        client.read(access, "Accounts")
    assert "“accounting.settings”" in caught[0].sentence


def test_an_expired_token_needs_only_a_fresh_one(clock: StillClock) -> None:
    with start(auto_consent=True) as xero, closing(client_for(xero.api_url, clock)) as client:
        tokens = consent(client, xero)
        tenant = xero.organisations[0]["tenant_id"]
        client.read(Access(tokens.access_token, tenant), "Organisation")
        tell(xero, "tokens/expire")
        with refuses(AuthorisationError, tokens.access_token) as caught:
            client.read(Access(tokens.access_token, tenant), "Organisation")
        assert caught[0].expired
        assert tokens.refresh_token
        fresh = client.refresh(
            client_id=xero.client_id,
            secret=xero.client_secret,
            refresh_token=tokens.refresh_token,
        )
        assert client.read(Access(fresh.access_token, tenant), "Organisation")


# reading and finding


def test_small_collections_are_read_whole(
    client: XeroClient, access: Access, xero: Running
) -> None:
    (organisation,) = client.read(access, "Organisation")
    assert organisation["Name"] == xero.organisations[0]["name"]
    assert {"200"} <= {one.get("Code") for one in client.read(access, "Accounts")}
    assert client.read(access, "TaxRates")


def test_invoices_are_found_by_number_with_their_lines(client: XeroClient, access: Access) -> None:
    whose = contact_id(client, access)
    wanted = [invoice(whose), invoice(whose, InvoiceNumber=f"A,B & C {uuid4().hex[:6]}")]
    client.save_many(access, call(Resource.INVOICES, wanted))
    numbers = [one["InvoiceNumber"] for one in wanted]
    found = client.find(access, Resource.INVOICES, [*numbers, "not there", ""])
    assert {one["InvoiceNumber"] for one in found} == set(numbers)
    assert all(one["LineItems"][0]["UnitAmount"] == Decimal("25.0625") for one in found)


def test_a_number_that_differs_in_case_is_another_number(
    client: XeroClient, access: Access
) -> None:
    one = invoice(contact_id(client, access))
    client.save_many(access, call(Resource.INVOICES, [one]))
    assert not client.find(access, Resource.INVOICES, [one["InvoiceNumber"].lower()])


def test_archived_contacts_are_found_too(client: XeroClient, access: Access) -> None:
    one = contact()
    known = client.save_many(access, call(Resource.CONTACTS, [one])).elements[0].xero_id
    gone = {"ContactID": known, "ContactStatus": "ARCHIVED"}
    client.save_many(access, call(Resource.CONTACTS, [gone], Verb.UPDATE))
    (found,) = client.find(access, Resource.CONTACTS, [one["ContactNumber"]])
    assert found["ContactStatus"] == "ARCHIVED"


def test_items_with_awkward_codes_are_found(client: XeroClient, access: Access) -> None:
    end = uuid4().hex[:6]
    codes = [f'12" {end}', f"a\\b {end}", f"x, y+z/{end}", f"ü&=#% {end}"]
    items = [{"Code": code, "Name": "Thing"} for code in codes]
    assert all(one.stored for one in client.save_many(access, call(Resource.ITEMS, items)).elements)
    found = client.find(access, Resource.ITEMS, [*codes, 'none"', "none"])
    assert {one["Code"] for one in found} == set(codes)


def test_many_keys_go_in_few_calls_whose_addresses_fit() -> None:
    keys = [f"demo:Contacts:{place:06}" for place in range(100)]
    with playing(answers(200, {"Contacts": [], "Invoices": []})) as server:
        client = client_for(server.url, StillClock())
        client.find(HERE, Resource.CONTACTS, keys)
        contacts, server.requests = server.requests, []
        client.find(HERE, Resource.INVOICES, [f"INV-{place:06}" for place in range(100)])
    addresses = [request.split(b" ")[1].decode() for request in contacts]
    assert 1 < len(addresses) <= 5
    assert all(len(server.url + address) <= 1900 for address in addresses)
    asked = " ".join(parse_qs(urlsplit(one).query)["where"][0] for one in addresses)
    assert all(f'ContactNumber=="{key}"' in asked for key in keys)
    assert len(server.requests) == 1


@pytest.mark.parametrize("resource", [Resource.INVOICES, Resource.CONTACTS])
def test_many_ids_go_in_few_calls_whose_addresses_fit(resource: Resource) -> None:
    ids = [str(uuid4()) for _ in range(100)]
    name = f"{resource.value[:-1]}ID"
    every = {"pagination": {"pageCount": 1}, resource.value: [{name: one} for one in ids]}
    with playing(answers(200, every)) as server:
        found = client_for(server.url, StillClock()).get_many(HERE, resource, ids)
    assert [one[name] for one in found] == ids
    addresses = [request.split(b" ")[1].decode() for request in server.requests]
    assert len(addresses) <= 3
    assert all(len(server.url + address) <= 1900 for address in addresses)
    asked = [parse_qs(urlsplit(one).query)["IDs"][0].split(",") for one in addresses]
    assert [one for some in asked for one in some] == ids


def test_two_of_a_short_list_cost_one_call_and_one_its_own() -> None:
    rows = [{"AccountID": "a"}, {"AccountID": "b"}, {"AccountID": "c"}]
    with playing(answers(200, {"Accounts": rows})) as server:
        client = client_for(server.url, StillClock())
        assert len(client.get_many(HERE, Resource.ACCOUNTS, ["b", "a"])) == 2
        client.get_many(HERE, Resource.ACCOUNTS, ["a"])
    paths = [request.split(b" ")[1].decode() for request in server.requests]
    assert paths == ["/api.xro/2.0/Accounts", "/api.xro/2.0/Accounts/a"]


def test_a_list_that_ignores_page_numbers_ends() -> None:
    rows = [{"InvoiceID": str(one), "InvoiceNumber": "N"} for one in range(100)]
    with playing(answers(200, {"Invoices": rows})) as server:
        found = client_for(server.url, StillClock()).find(HERE, Resource.INVOICES, ["N"])
    assert len(found) == 100
    assert len(server.requests) == 2


def test_what_is_not_there_is_absent_and_what_is_broken_is_an_error() -> None:
    with playing(answers(404, "<html>")) as server:
        client = client_for(server.url, StillClock())
        assert not client.get_many(HERE, Resource.ITEMS, ["a", "b"])
        assert not client.find(HERE, Resource.PURCHASE_ORDERS, ["PO-1"])
    with playing(answers(500)) as server, refuses(TransientError):
        client_for(server.url, StillClock()).get_many(HERE, Resource.ITEMS, ["a", "b"])


# what goes over the wire


def test_a_write_goes_out_exactly_as_it_is_with_the_headers_xero_needs() -> None:
    stored = {"Contacts": [{"ContactID": REAL_ID}]}
    sent = Call(Resource.CONTACTS, Verb.CREATE, b'{"Contacts":[ {"Name":"\xc3\xbc"}]}', "k-1", 1)
    with playing(answers(200, stored, Set_Cookie="a=b")) as server:
        client = client_for(server.url, StillClock())
        answer = client.save_many(HERE, sent)
        client.save_many(HERE, sent)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "PUT /api.xro/2.0/Contacts?summarizeErrors=false HTTP/1.1"
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert headers["authorization"] == f"bearer {TOKEN}"
    assert headers["xero-tenant-id"] == REAL_ID
    assert headers["accept"] == headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == "k-1"
    assert body == sent.body
    assert "Set-Cookie" not in answer.headers
    assert b"cookie" not in server.requests[1].lower()
    assert server.connections == 1


def test_a_fresh_token_keeps_the_connection_and_no_environment_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://localhost:9")
    with playing(answers(200, {"Accounts": []})) as server:
        client = client_for(server.url, StillClock())
        client.read(HERE, "Accounts")
        client.read(Access("fresh", HERE.tenant_id), "Accounts")
    assert server.connections == 1
    assert b"Bearer fresh" in server.requests[1]


def test_threads_with_an_old_and_a_new_token_each_send_their_own() -> None:
    with playing(answers(200, {"Accounts": []})) as server:
        client = client_for(server.url, StillClock())

        def work(token: str) -> None:
            for _ in range(10):
                client.read(Access(token, token), "Accounts")
                client.read(Access(token, HERE.tenant_id), "Accounts")

        threads = [threading.Thread(target=work, args=(f"t{one}",)) for one in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert len(server.requests) == 80
    for request in server.requests:
        head = request.decode()
        tenant = head.split("xero-tenant-id: ")[1].split("\r\n")[0]
        assert tenant == REAL_ID or f"Bearer {tenant}\r\n" in head


# the whole call's fate


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (302, b"", PermanentError, "another address"),
        (400, b"", UnknownOutcome, "XTiger asks Xero"),
        (400, "<html>", UnknownOutcome, "XTiger asks Xero"),
        (400, {"Elements": []}, UnknownOutcome, "XTiger asks Xero"),
        (400, {"Message": "Bad  thing\n"}, PermanentError, "“Bad thing”"),
        (401, {"Detail": "TokenExpired: at 04/09/2023"}, AuthorisationError, "fresh one"),
        (401, {"Detail": "AuthorizationUnsuccessful"}, AuthorisationError, "accounting.contacts"),
        (401, {"Detail": "TokenInvalidSignature"}, AuthorisationError, "fresh one"),
        (401, b"", AuthorisationError, "fresh one"),
        (403, {"Detail": "AuthenticationUnsuccessful"}, AuthorisationError, "tick it"),
        (404, "<html>", PermanentError, "nothing at the address"),
        (405, b"", PermanentError, "doesn't offer"),
        (412, b"", PermanentError, "condition"),
        (413, b"", PermanentError, "larger than Xero takes"),
        (418, b"", PermanentError, "without a word"),
        (408, b"", UnknownOutcome, "XTiger asks Xero"),
        (500, "<html>500</html>", UnknownOutcome, "XTiger asks Xero"),
        (501, b"", PermanentError, "doesn't offer"),
        (502, b"", UnknownOutcome, "XTiger asks Xero"),
        (503, "API is currently unavailable", UnknownOutcome, "XTiger asks Xero"),
        (504, {"Message": "late"}, UnknownOutcome, "XTiger asks Xero"),
        (200, "<html>", UnknownOutcome, "can't be read"),
        (200, b"\xff\xfe\x00", UnknownOutcome, "can't be read"),
        (200, "[" * 100_000, UnknownOutcome, "can't be read"),
        (200, {"Contacts": []}, UnknownOutcome, "0 of 1"),
        (200, {"Contacts": [{}, {}]}, UnknownOutcome, "2 of 1"),
        (200, {"Contacts": ["a"]}, UnknownOutcome, "can't be read"),
        (200, {"Invoices": [{}]}, UnknownOutcome, "can't be read"),
        (204, b"", UnknownOutcome, "can't be read"),
    ],
)
def test_every_status_of_a_write_has_its_meaning(
    status: int, body: Any, kind: type[XTigerError], words: str
) -> None:
    act = answers(status, body, Location="https://elsewhere.example/")
    with playing(act) as server:
        with refuses(kind) as caught:
            save(server.url)
        assert words in caught[0].sentence
        assert len(server.requests) == 1


def test_only_a_lost_or_expired_token_is_called_expired() -> None:
    for detail, expired in (
        ("TokenExpired", True),
        ("AuthenticationUnsuccessful", True),
        ("AuthorizationUnsuccessful", False),
    ):
        with playing(answers(401, {"Detail": detail})) as server:
            with refuses(AuthorisationError) as caught:
                save(server.url)
            assert caught[0].expired is expired
    with refuses(AuthorisationError) as caught:
        client_for("http://localhost:9", StillClock()).read(Access("", REAL_ID), "Accounts")
    assert caught[0].expired


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (302, b"", PermanentError),
        (400, {"Message": "QueryParse", "Type": "QueryParseException"}, PermanentError),
        (404, "<html>", PermanentError),
        (500, "<html>", TransientError),
        (503, b"", TransientError),
        (200, "<html>", TransientError),
        (200, {"Other": []}, TransientError),
        (200, [], TransientError),
        (200, {"Accounts": 3}, TransientError),
    ],
)
def test_a_read_that_fails_is_never_an_open_question(
    status: int, body: Any, kind: type[XTigerError]
) -> None:
    with playing(answers(status, body)) as server:
        with refuses(kind) as caught:
            read(server.url)
        assert "stored" not in caught[0].sentence


@pytest.mark.parametrize(
    ("problem", "given", "low", "high", "words"),
    [
        ("minute", "26", 26, 26, "60 calls a minute"),
        ("minute", None, 60, 60, "60 calls a minute"),
        ("", None, 60, 60, "60 calls a minute"),
        ("day", "4000", 4000, 4000, "Today's calls are used up."),
        ("day", None, 3600, 3600, "Today's calls are used up."),
        ("concurrent", None, 1, 1, "5 calls at once"),
        ("appminute", None, 60, 60, "10,000 calls a minute"),
        ("App-Minute", "3", 3, 3, "10,000 calls a minute"),
        ("minute", "date", 20, 31, "60 calls a minute"),
        ("minute", "Wed, 21 Oct 2015 07:28:00 GMT", 0, 0, "60 calls a minute"),
        ("minute", "soon", 60, 60, "60 calls a minute"),
    ],
)
def test_a_limit_says_how_long_to_wait_and_never_counts(
    problem: str, given: str | None, low: float, high: float, words: str
) -> None:
    if given == "date":
        given = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"X_Rate_Limit_Problem": problem} | ({"Retry_After": given} if given else {})
    with playing(answers(429, **headers)) as server:
        with refuses(TransientError) as caught:
            save(server.url)
        assert not caught[0].counts
        assert low <= caught[0].retry_after <= high
        assert words in caught[0].sentence


# elements


def elements_of(*rows: dict[str, Any], status: int = 200) -> Any:
    body: dict[str, Any] = {"Contacts": list(rows)}
    if status == 400:
        body = {"ErrorNumber": 10, "Type": "ValidationException", "Message": "A validation"}
        body["Elements"] = list(rows)
    with playing(answers(status, body)) as server:
        return save(server.url, count=2).elements


FAULTY = {"ContactID": ZERO_ID, "ValidationErrors": [{"Message": "No."}]}


def test_a_400_with_a_fault_for_each_element_refuses_them_all() -> None:
    found = elements_of(FAULTY, FAULTY | {"ContactID": REAL_ID}, status=400)
    assert [(one.stored, one.faults) for one in found] == [(False, ("No.",))] * 2


def test_a_400_that_faults_only_some_elements_leaves_the_question_open() -> None:
    with refuses(UnknownOutcome):
        elements_of(FAULTY, {"ContactID": REAL_ID, "Name": "fine"}, status=400)
    with refuses(UnknownOutcome):
        elements_of(FAULTY, status=400)


@pytest.mark.parametrize(
    ("row", "stored", "faults"),
    [
        ({"ContactID": REAL_ID, "StatusAttributeString": "OK"}, True, ()),
        ({"ContactID": REAL_ID, "HasValidationErrors": False, "ValidationErrors": []}, True, ()),
        ({"ContactID": REAL_ID, "Warnings": [{"Message": "W"}]}, True, ()),
        ({"ContactID": ZERO_ID}, False, ()),
        ({"ContactID": REAL_ID, "StatusAttributeString": "ERROR"}, False, ()),
        ({"ContactID": REAL_ID, "HasErrors": True}, False, ()),
        ({"ContactID": REAL_ID, "HasValidationErrors": True}, False, ()),
        ({"ContactID": REAL_ID, "ValidationErrors": [{"Message": "a"}]}, False, ("a",)),
        ({}, None, ()),
        ({"ContactID": "nonsense"}, None, ()),
        (
            {"ContactID": REAL_ID, "Phones": [{"ValidationErrors": [{"Message": "p"}]}]},
            None,
            ("p",),
        ),
    ],
)
def test_an_element_is_believed_only_as_far_as_it_goes(
    row: dict[str, Any], stored: bool | None, faults: tuple[str, ...]
) -> None:
    found = read_element(Resource.CONTACTS, row)
    assert (found.stored, found.faults) == (stored, faults)
    assert found.xero_id == (REAL_ID if row.get("ContactID") == REAL_ID else None)


def test_all_messages_come_once_and_in_order_without_warnings() -> None:
    def said(*words: str) -> list[dict[str, str]]:
        return [{"Message": one} for one in words]

    row = {
        "InvoiceID": ZERO_ID,
        "ValidationErrors": said("own", "own", "bad account"),
        "Warnings": said("warned"),
        "Contact": {
            "ValidationErrors": said("contact"),
            "Addresses": [{"ValidationErrors": said("address", "contact")}],
        },
        "LineItems": [
            {"ValidationErrors": []},
            {
                "ValidationErrors": said("bad account"),
                "Tracking": [{"ValidationErrors": said("tracking"), "Warnings": said("w")}],
            },
        ],
    }
    assert read_element(Resource.INVOICES, row).faults == (
        "own",
        "contact",
        "address",
        "Line 2: bad account",
        "Line 2: tracking",
    )


# transport


def test_a_server_that_is_not_there_got_nothing() -> None:
    with playing(resets) as server:
        pass
    with refuses(TransientError) as caught:
        save(server.url)
    assert caught[0].sentence == (
        "Xero can't be reached (localhost). XTiger tries again by itself."
    )
    assert caught[0].counts


def test_a_host_without_address_got_nothing() -> None:
    client = XeroClient(api_url="https://no-such-host.example", clock=StillClock())
    with refuses(TransientError) as caught:
        client.save_many(HERE, call(Resource.CONTACTS, [contact()]))
    assert "(no-such-host.example)" in caught[0].sentence


def test_a_connection_that_is_never_made_in_time_carried_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        began = time.monotonic()
        with refuses(TransientError):
            save(f"http://127.0.0.1:{address[1]}", factor=0.02)
        assert time.monotonic() - began < 3
        for one in waiting:
            one.close()


def test_a_server_that_cannot_prove_its_name_gets_nothing(tmp_path: Path) -> None:
    with playing(answers(200), context=own_certificate(tmp_path)) as server:
        with refuses(TransientError) as caught:
            save(server.url)
        assert "can't prove that it is Xero" in caught[0].sentence
        assert not server.requests


def test_over_tls_a_call_is_answered_and_keeps_to_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = own_certificate(tmp_path)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "pem"))
    monkeypatch.delenv("OAUTHLIB_INSECURE_TRANSPORT")
    stored = answers(200, {"Contacts": [{"ContactID": REAL_ID}]})
    with playing(stored, stored, trickles(b"HTTP/1.1 "), context=context) as server:
        client = client_for(server.url, StillClock(), 0.05)
        large = exactjson.dumps({"Contacts": [{"Name": "x" * 2_000_000}]})
        for body in (b"{}", large):
            sent = Call(Resource.CONTACTS, Verb.CREATE, body, "k", 1)
            assert client.save_many(HERE, sent).elements[0].stored
        assert server.requests[1].endswith(large)
        assert server.connections == 1
        began = time.monotonic()
        with refuses(UnknownOutcome):
            client.save_many(HERE, sent)
        assert 2.5 < time.monotonic() - began < 6


def own_certificate(folder: Path) -> ssl.SSLContext:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.mark.parametrize(
    "act",
    [
        resets,
        hangs_up(),
        hangs_up(b"HTTP/1.1 200 OK\r\nContent-Le"),
        hangs_up(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"Contacts":['),
        hangs_up(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\r\n"),
        hangs_up(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"Contacts":['),
        hangs_up(b"nonsense\r\n\r\n"),
        answers(200, b"not gzip", Content_Encoding="gzip"),
    ],
)
def test_a_write_whose_answer_is_lost_is_an_open_question_and_goes_out_once(act: Act) -> None:
    with playing(act) as server:
        with refuses(UnknownOutcome) as caught:
            save(server.url)
        assert "XTiger asks Xero before it sends anything again." in caught[0].sentence
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{"Contacts":',
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_server_that_trickles_cannot_stretch_the_call(head: bytes) -> None:
    with playing(trickles(head)) as server:
        began = time.monotonic()
        with refuses(UnknownOutcome) as caught:
            save(server.url, factor=0.02)
        assert 1.0 < time.monotonic() - began < 4
        assert "took too long" in caught[0].sentence
        began = time.monotonic()
        with refuses(TransientError):
            read(server.url, factor=0.02)
        assert time.monotonic() - began < 4
    assert len(server.requests) == 2


def test_a_server_that_never_reads_cannot_stretch_the_call() -> None:
    release = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def deaf() -> None:
            connection, _ = listener.accept()
            with connection:
                release.wait(20)

        threading.Thread(target=deaf, daemon=True).start()
        body = b" " * 30_000_000
        client = client_for(f"http://127.0.0.1:{listener.getsockname()[1]}", StillClock(), 0.02)
        began = time.monotonic()
        with refuses(UnknownOutcome):
            client.save_many(HERE, Call(Resource.CONTACTS, Verb.CREATE, body, "k", 1))
        assert time.monotonic() - began < 4
        release.set()


def test_tokens_are_not_waited_for_longer_than_a_call_may_take() -> None:
    with playing(trickles(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")) as server:
        client = client_for(server.url, StillClock(), 0.02)
        began = time.monotonic()
        with refuses(TransientError):
            client.refresh(client_id="ID", secret=SECRET, refresh_token=TOKEN)
        assert time.monotonic() - began < 4


def test_an_answer_that_unpacks_to_far_too_much_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xtiger.xero.transport.MOST_ANSWER_BYTES", 1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    with playing(answers(200, bomb, Content_Encoding="gzip")) as server, refuses(UnknownOutcome):
        save(server.url)


def test_a_packed_answer_is_unpacked() -> None:
    body = gzip.compress(json.dumps({"Contacts": [{"ContactID": REAL_ID}]}).encode())
    with playing(answers(200, body, Content_Encoding="gzip")) as server:
        assert save(server.url).elements[0].stored


def test_a_read_that_was_dropped_goes_once_more() -> None:
    with playing(hangs_up(), answers(200, {"Accounts": [{"Code": "200"}]})) as server:
        assert read(server.url) == [{"Code": "200"}]
    with playing(hangs_up()) as server:
        with refuses(TransientError):
            read(server.url)
        assert len(server.requests) == 2


def test_a_token_that_fits_no_header_is_not_shown() -> None:
    client = client_for("http://localhost:9", StillClock())
    token = "-".join(("half", "of", "it"))
    with refuses(PermanentError, token):
        client.save_many(Access(f"{token}\r\nX: y", REAL_ID), call(Resource.CONTACTS, [{}]))


def test_without_leave_for_plain_http_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OAUTHLIB_INSECURE_TRANSPORT")
    with playing(answers(200)) as server:
        with refuses(PermanentError):
            save(server.url)
        with refuses(PermanentError):
            refresh(server.url)
        with refuses(PermanentError):
            client_for(server.url, StillClock()).authorise_url(
                client_id="ID", redirect_uri=REDIRECT, scopes="openid", state="s", verifier="v"
            )
        assert not server.requests


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "reset", "after_store": True}, UnknownOutcome),
        ({"kind": "reset"}, UnknownOutcome),
        ({"kind": "half"}, UnknownOutcome),
        ({"kind": "malformed"}, UnknownOutcome),
        ({"kind": "status", "status": 503, "after_store": True}, UnknownOutcome),
        ({"kind": "limit", "problem": "minute", "retry_after": 9}, TransientError),
        ({"kind": "limit", "problem": "concurrent"}, TransientError),
    ],
)
def test_a_call_that_failed_is_replayed_and_stored_once(
    client: XeroClient,
    access: Access,
    xero: Running,
    clock: StillClock,
    fault: dict[str, Any],
    kind: type[XTigerError],
) -> None:
    once = call(Resource.CONTACTS, [contact()])
    number = json.loads(once.body)["Contacts"][0]["ContactNumber"]
    tell(xero, "faults", fault | {"method": "PUT", "resource": "Contacts"})
    with refuses(kind, access.access_token):
        client.save_many(access, once)
    clock.sleep(fault.get("retry_after", 0))
    assert client.save_many(access, once).elements[0].stored
    assert len(client.find(access, Resource.CONTACTS, [number])) == 1


# emptying


def rebuilt(
    client: XeroClient, access: Access, key: str, one: Record, context: BuildContext
) -> dict[str, Any]:
    """What Xero has after a record was built by its default mapping and written."""
    resource = RESOURCE_OF[one.ref.module]
    kind = DocumentType.INVOICE if one.ref.module is Module.INVOICES else None
    template = MappingTemplate.from_json(DEFAULTS[one.ref.module, kind])
    made = compile_template(template).build(one, context)
    assert isinstance(made, Built), made
    verb = Verb.UPDATE if context.xero_id else Verb.CREATE
    answer = client.save_many(access, call(resource, [made.payload], verb))
    assert answer.elements[0].stored, answer.elements[0].faults
    return dict(client.find(access, resource, [key])[0])


@pytest.fixture
def facts(client: XeroClient, access: Access) -> OrganisationFacts:
    read = [client.read(access, path) for path in ("Organisation", "Accounts", "TaxRates")]
    return OrganisationFacts.from_xero(read[0][0], read[1], read[2])


def crm_record(module: Module, fields: dict[str, Any], *lines: dict[str, Any]) -> Record:
    return Record(RecordRef(module, "1"), "One", "1", datetime.now(UTC), fields, lines)


def test_what_was_emptied_of_a_contact_is_empty_in_xero(
    client: XeroClient, access: Access, facts: OrganisationFacts
) -> None:
    mark = uuid4().hex[:12]
    full = {
        "name": f"Contact {mark}",
        "first_name": "Ana",
        "last_name": "Lee",
        "email": "ana@lee.nz",
        "account_number": mark,
        "tax_number": "12-345-678",
        "phone": "04 123 456",
        "street": "1 Cuba St",
        "city": "Wellington",
        "region": "Te Aro",
        "postal_code": "6011",
        "country": "New Zealand",
    }
    context = BuildContext(organisation=facts, marker=mark)
    created = rebuilt(client, access, mark, crm_record(Module.CONTACTS, full), context)
    assert (created["EmailAddress"], created["TaxNumber"]) == ("ana@lee.nz", "12-345-678")

    bound = replace(context, xero_id=created["ContactID"])
    emptied = dict.fromkeys(full, "") | {"name": full["name"]}
    now = rebuilt(client, access, mark, crm_record(Module.CONTACTS, emptied), bound)
    for name in ("FirstName", "LastName", "EmailAddress", "AccountNumber", "TaxNumber"):
        assert not now.get(name), name
    (phone,) = (one for one in now["Phones"] if one["PhoneType"] == "DEFAULT")
    assert not phone["PhoneNumber"]
    (address,) = (one for one in now["Addresses"] if one["AddressType"] == "POBOX")
    assert not [name for name, value in address.items() if value and name != "AddressType"]
    assert (now["Name"], now["ContactNumber"]) == (full["name"], mark)


def test_what_was_emptied_of_an_item_is_empty_in_xero(
    client: XeroClient, access: Access, facts: OrganisationFacts
) -> None:
    code = uuid4().hex[:12]
    full = {"code": code, "name": "Widget", "description": "Blue", "price": Decimal(5)}
    full["cost"] = Decimal(3)
    context = BuildContext(organisation=facts)
    created = rebuilt(client, access, code, crm_record(Module.PRODUCTS, full), context)
    assert (created["Name"], created["PurchaseDetails"]["UnitPrice"]) == ("Widget", 3)

    bound = replace(context, xero_id=created["ItemID"])
    emptied = full | {"name": "", "description": "", "cost": None}
    now = rebuilt(client, access, code, crm_record(Module.PRODUCTS, emptied), bound)
    assert not now.get("Name")
    assert not now.get("Description")
    assert not now.get("PurchaseDetails")
    assert now["SalesDetails"]["UnitPrice"] == 5


def test_an_emptied_reference_is_empty_in_xero(
    client: XeroClient, access: Access, facts: OrganisationFacts
) -> None:
    number = f"INV-{uuid4().hex[:10]}"
    ana = RecordRef(Module.CONTACTS, "7")
    line = {"description": "Work", "quantity": Decimal(1), "unit_price": Decimal(10)}
    full = {"number": number, "contact": ana, "reference": "PO 4711", "total": Decimal(10)}
    full |= {"date": date(2026, 11, 21), "due_date": date(2026, 12, 5), "amounts": "no tax"}
    context = BuildContext(
        organisation=facts, parents={ana: Parent(contact_id(client, access))}, target_status="DRAFT"
    )
    created = rebuilt(client, access, number, crm_record(Module.INVOICES, full, line), context)
    assert created["Reference"] == "PO 4711"
    bound = replace(context, xero_id=created["InvoiceID"])
    emptied = crm_record(Module.INVOICES, full | {"reference": None}, line)
    assert not rebuilt(client, access, number, emptied, bound).get("Reference")

"""Where each write goes, what its answer means, and what the connection must allow for it."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import pytest

from tests.contract.played import StillClock, answers, hangs_up, playing
from tests.contract.test_xero_client import (
    HERE,
    REAL_ID,
    SECRET,
    TOKEN,
    ZERO_ID,
    client_for,
    refuses,
)
from xtiger.domain import exactjson
from xtiger.domain.errors import (
    AuthorisationError,
    PermanentError,
    TransientError,
    UnknownOutcome,
    XTigerError,
)
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.ports import Answer, Call, Owner, TokenSet
from xtiger.xero.answers import read_element
from xtiger.xero.client import XeroClient

OWNER_ID = "aaaa1111-5d8c-4a7e-9a55-0c4a7d2f1b22"
EACH = "?summarizeErrors=false"
FOUR = "?unitdp=4"
BOTH = "?summarizeErrors=false&unitdp=4"


@pytest.fixture(autouse=True)
def _http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def stored(resource: Resource, count: int = 1) -> dict[str, Any]:
    """An answer in which everything was stored."""
    rows: list[dict[str, Any]] = []
    for place in range(1, count + 1):
        row: dict[str, Any] = {"Details": "A note"}
        if name := CATALOGUE[resource].id_field:
            row[name] = str(UUID(int=place))
        rows.append(row)
    return {resource.value: rows}


def written(resource: Resource, verb: Verb, **more: Any) -> Call:
    body = b"" if verb is Verb.DELETE else exactjson.dumps({resource.value: [{"Name": "x"}]})
    return Call(resource, verb, body, "key-1", 1, **more)


def owned(resource: Resource, verb: Verb, by: Resource, **more: Any) -> Call:
    return written(resource, verb, owner=Owner(by, OWNER_ID), **more)


def sent(call: Call, status: int = 200, body: object | None = None) -> tuple[Answer, bytes]:
    body = stored(call.resource, call.count) if body is None else body
    with playing(answers(status, body)) as server, closing(made(server.url)) as client:
        return client.save_many(HERE, call), server.requests[0]


def made(url: str) -> XeroClient:
    return client_for(url, StillClock())


CREATE, UPDATE, DELETE = Verb.CREATE, Verb.UPDATE, Verb.DELETE
R = Resource


@pytest.mark.parametrize(
    ("call", "line"),
    [
        # batches, at the collection
        (written(R.CONTACTS, CREATE), f"PUT Contacts{EACH}"),
        (written(R.CONTACTS, UPDATE), f"POST Contacts{EACH}"),
        (written(R.ITEMS, CREATE), f"PUT Items{BOTH}"),
        (written(R.ITEMS, UPDATE), f"POST Items{BOTH}"),
        (written(R.INVOICES, CREATE), f"PUT Invoices{BOTH}"),
        (written(R.INVOICES, UPDATE), f"POST Invoices{BOTH}"),
        (written(R.CREDIT_NOTES, CREATE), f"PUT CreditNotes{BOTH}"),
        (written(R.BANK_TRANSACTIONS, UPDATE), f"POST BankTransactions{BOTH}"),
        (written(R.RECEIPTS, CREATE), f"PUT Receipts{FOUR}"),
        (written(R.RECEIPTS, UPDATE, xero_id=REAL_ID), f"POST Receipts/{REAL_ID}{FOUR}"),
        (written(R.QUOTES, CREATE), f"PUT Quotes{EACH}"),
        (written(R.PURCHASE_ORDERS, UPDATE), f"POST PurchaseOrders{EACH}"),
        (written(R.PAYMENTS, CREATE), f"PUT Payments{EACH}"),
        (written(R.TAX_RATES, CREATE), f"PUT TaxRates{EACH}"),
        (written(R.TAX_RATES, UPDATE), f"POST TaxRates{EACH}"),
        (written(R.CURRENCIES, CREATE), "PUT Currencies"),
        (written(R.ACCOUNTS, CREATE), "PUT Accounts"),
        (written(R.TRACKING_CATEGORIES, CREATE), "PUT TrackingCategories"),
        (written(R.CONTACT_GROUPS, CREATE), "PUT ContactGroups"),
        # one object, at its own address
        (written(R.ACCOUNTS, UPDATE, xero_id=REAL_ID), f"POST Accounts/{REAL_ID}"),
        (written(R.CONTACT_GROUPS, UPDATE, xero_id=REAL_ID), f"POST ContactGroups/{REAL_ID}"),
        (written(R.PAYMENTS, UPDATE, xero_id=REAL_ID), f"POST Payments/{REAL_ID}"),
        (written(R.INVOICES, UPDATE, xero_id=REAL_ID), f"POST Invoices/{REAL_ID}{FOUR}"),
        (
            written(R.TRACKING_CATEGORIES, UPDATE, xero_id=REAL_ID),
            f"POST TrackingCategories/{REAL_ID}",
        ),
        (written(R.ITEMS, DELETE, xero_id=REAL_ID), f"DELETE Items/{REAL_ID}"),
        (written(R.ACCOUNTS, DELETE, xero_id=REAL_ID), f"DELETE Accounts/{REAL_ID}"),
        (
            written(R.TRACKING_CATEGORIES, DELETE, xero_id=REAL_ID),
            f"DELETE TrackingCategories/{REAL_ID}",
        ),
        # parts, below their owner
        (
            owned(R.TRACKING_OPTIONS, CREATE, R.TRACKING_CATEGORIES),
            f"PUT TrackingCategories/{OWNER_ID}/Options",
        ),
        (
            owned(R.TRACKING_OPTIONS, UPDATE, R.TRACKING_CATEGORIES, xero_id=REAL_ID),
            f"POST TrackingCategories/{OWNER_ID}/Options/{REAL_ID}",
        ),
        (
            owned(R.TRACKING_OPTIONS, DELETE, R.TRACKING_CATEGORIES, xero_id=REAL_ID),
            f"DELETE TrackingCategories/{OWNER_ID}/Options/{REAL_ID}",
        ),
        (
            owned(R.CONTACTS, CREATE, R.CONTACT_GROUPS),
            f"PUT ContactGroups/{OWNER_ID}/Contacts",
        ),
        (
            owned(R.CONTACTS, DELETE, R.CONTACT_GROUPS, xero_id=REAL_ID),
            f"DELETE ContactGroups/{OWNER_ID}/Contacts/{REAL_ID}",
        ),
        (
            owned(R.ALLOCATIONS, CREATE, R.CREDIT_NOTES),
            f"PUT CreditNotes/{OWNER_ID}/Allocations{EACH}",
        ),
        (
            owned(R.ALLOCATIONS, CREATE, R.OVERPAYMENTS),
            f"PUT Overpayments/{OWNER_ID}/Allocations{EACH}",
        ),
        (
            owned(R.ALLOCATIONS, DELETE, R.PREPAYMENTS, xero_id=REAL_ID),
            f"DELETE Prepayments/{OWNER_ID}/Allocations/{REAL_ID}",
        ),
        (owned(R.HISTORY, CREATE, R.INVOICES), f"PUT Invoices/{OWNER_ID}/History"),
        (
            owned(R.ATTACHMENTS, CREATE, R.INVOICES, xero_id="a b&c.pdf"),
            f"PUT Invoices/{OWNER_ID}/Attachments/a%20b%26c.pdf",
        ),
        (
            owned(R.ATTACHMENTS, UPDATE, R.QUOTES, xero_id="x/y?ü.png"),
            f"POST Quotes/{OWNER_ID}/Attachments/x%2Fy%3F%C3%BC.png",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_write_has_its_address(call: Call, line: str) -> None:
    answer, request = sent(call)
    method, path = line.split(" ", 1)
    head = request.decode().split("\r\n")
    assert head[0] == f"{method} /api.xro/2.0/{path} HTTP/1.1"
    assert [one.stored for one in answer.elements] == [True]
    keyed = any(one.lower() == "idempotency-key: key-1" for one in head)
    assert keyed is (call.verb is not DELETE)
    assert request.partition(b"\r\n\r\n")[2] == call.body


def test_every_verb_of_the_catalogue_has_an_address() -> None:
    parts = {
        R.ALLOCATIONS: R.CREDIT_NOTES,
        R.ATTACHMENTS: R.INVOICES,
        R.HISTORY: R.CONTACTS,
        R.TRACKING_OPTIONS: R.TRACKING_CATEGORIES,
    }
    for resource, info in CATALOGUE.items():
        for verb in info.verbs:
            alone = verb is DELETE or (verb is UPDATE and info.alone)
            names = {"xero_id": REAL_ID} if alone or resource is R.ATTACHMENTS else {}
            above = {"owner": Owner(parts[resource], OWNER_ID)} if resource in parts else {}
            answer, _ = sent(written(resource, verb, **names, **above))
            assert answer.elements[0].stored, (resource, verb)


def test_a_file_goes_out_as_it_is_and_with_its_kind() -> None:
    data = bytes(range(256)) * 50
    owner = Owner(R.INVOICES, OWNER_ID)
    file = Call(R.ATTACHMENTS, CREATE, data, "k", 1, "a.pdf", owner, "application/pdf")
    answer, request = sent(file)
    head, _, body = request.partition(b"\r\n\r\n")
    assert body == data
    assert b"Content-Type: application/pdf" in head
    assert answer.elements[0].xero_id == str(UUID(int=1))


@pytest.mark.parametrize(
    "call",
    [
        written(R.ITEMS, DELETE),
        owned(R.CONTACTS, DELETE, R.CONTACT_GROUPS),
        written(R.ITEMS, DELETE, xero_id=""),
        written(R.ITEMS, DELETE, xero_id=".."),
        owned(R.ATTACHMENTS, CREATE, R.INVOICES, xero_id=".."),
    ],
)
def test_a_write_that_would_hit_something_else_is_never_sent(call: Call) -> None:
    with playing(answers(204)) as server, refuses(PermanentError):
        made(server.url).save_many(HERE, call)
    assert not server.requests


# what became of a delete


ACCOUNT = {"Accounts": [{"AccountID": REAL_ID, "Status": "DELETED"}]}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (204, b""),
        (200, ACCOUNT),
        (200, {"AllocationId": REAL_ID, "IsDeleted": True}),
        (404, "<html>"),
    ],
)
def test_a_delete_that_worked_says_what_it_deleted(status: int, body: Any) -> None:
    answer, _ = sent(written(R.ACCOUNTS, DELETE, xero_id=REAL_ID), status, body)
    (element,) = answer.elements
    assert (element.stored, element.xero_id, element.faults) == (True, REAL_ID, ())


@pytest.mark.parametrize("status", [200, 400])
def test_a_refused_delete_says_why(status: int) -> None:
    row = {"AccountID": REAL_ID, "ValidationErrors": [{"Message": "It is used."}]}
    body = {"Accounts" if status == 200 else "Elements": [row], "Message": "A validation"}
    answer, _ = sent(written(R.ACCOUNTS, DELETE, xero_id=REAL_ID), status, body)
    (element,) = answer.elements
    assert (element.stored, element.faults) == (False, ("It is used.",))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"", UnknownOutcome),
        (200, "<html>", UnknownOutcome),
        (200, [], UnknownOutcome),
        (500, b"", UnknownOutcome),
        (405, b"", PermanentError),
        (400, {"Message": "Not allowed"}, PermanentError),
    ],
)
def test_a_delete_without_a_proper_answer_is_no_success(
    status: int, body: Any, kind: type[XTigerError]
) -> None:
    with refuses(kind):
        sent(written(R.ACCOUNTS, DELETE, xero_id=REAL_ID), status, body)


def test_a_delete_whose_answer_is_lost_is_an_open_question_and_goes_once() -> None:
    with playing(hangs_up()) as server:
        with refuses(UnknownOutcome):
            made(server.url).save_many(HERE, written(R.ITEMS, DELETE, xero_id=REAL_ID))
        assert len(server.requests) == 1


# elements


@pytest.mark.parametrize(
    ("resource", "row", "believed", "xero_id"),
    [
        (R.CURRENCIES, {"Code": "EUR"}, True, "EUR"),
        (R.CURRENCIES, {}, None, None),
        (R.TAX_RATES, {"Name": "GST", "TaxType": "TAX002"}, True, "TAX002"),
        (R.TAX_RATES, {"Name": "GST"}, None, None),
        (R.TAX_RATES, {"TaxType": "X", "ValidationErrors": [{"Message": "n"}]}, False, "X"),
        (R.HISTORY, {"Details": "Sent"}, True, None),
        (R.HISTORY, {"Details": ""}, None, None),
        (R.HISTORY, {"Details": "S", "ValidationErrors": [{"Message": "n"}]}, False, None),
        (R.ALLOCATIONS, {"AllocationID": REAL_ID}, True, REAL_ID),
        (R.ALLOCATIONS, {"AllocationId": REAL_ID}, True, REAL_ID),
        (R.ALLOCATIONS, {"Amount": 1}, None, None),
        (R.PAYMENTS, {"PaymentID": ZERO_ID}, False, None),
        (R.TRACKING_OPTIONS, {"TrackingOptionID": REAL_ID}, True, REAL_ID),
        (R.CONTACT_GROUPS, {"ContactGroupID": "Code"}, None, None),
    ],
)
def test_each_resource_has_an_id_of_its_own_kind(
    resource: Resource, row: dict[str, Any], believed: bool | None, xero_id: str | None
) -> None:
    found = read_element(resource, row)
    assert (found.stored, found.xero_id) == (believed, xero_id)


@pytest.mark.parametrize("resource", sorted(set(CATALOGUE) - {R.ATTACHMENTS}))
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, "<html>"), (200, {}), (204, b""), (200, b"{"), (201, "[]"), (200, {"Message": "ok"})],
)
def test_a_2xx_that_tells_of_nothing_is_never_a_success(
    resource: Resource, status: int, body: Any
) -> None:
    with refuses(UnknownOutcome):
        sent(written(resource, CREATE), status, body)
    with refuses(UnknownOutcome):
        sent(written(resource, CREATE), 200, {resource.value: []})


# scopes


@pytest.mark.parametrize(
    ("call", "lacking"),
    [
        (written(R.PAYMENTS, CREATE), "“accounting.payments”"),
        (written(R.ACCOUNTS, CREATE), "“accounting.settings”"),
        (written(R.ITEMS, CREATE), "“accounting.settings” or “accounting.invoices”"),
        (owned(R.ALLOCATIONS, CREATE, R.CREDIT_NOTES), "“accounting.invoices”"),
        (owned(R.ALLOCATIONS, CREATE, R.OVERPAYMENTS), "“accounting.payments”"),
        (owned(R.HISTORY, CREATE, R.CONTACTS), "“accounting.contacts”"),
        (
            owned(R.ATTACHMENTS, CREATE, R.INVOICES, xero_id="a.pdf"),
            "“accounting.attachments”",
        ),
        (owned(R.CONTACTS, CREATE, R.CONTACT_GROUPS), "“accounting.contacts”"),
    ],
)
def test_a_write_names_the_permission_it_lacks(call: Call, lacking: str) -> None:
    with refuses(AuthorisationError) as caught:
        sent(call, 401, {"Detail": "AuthorizationUnsuccessful"})
    assert caught[0].sentence == f"The connection lacks {lacking}. Connect again and allow it."
    assert not caught[0].expired


@pytest.mark.parametrize(
    ("path", "lacking"),
    [
        ("Organisation", "“accounting.settings”"),
        ("Organisation/Actions", "“accounting.settings”"),
        ("Contacts", "“accounting.contacts”"),
        (f"Invoices/{REAL_ID}/History", "“accounting.invoices”"),
        (f"Payments/{REAL_ID}/History", "“accounting.payments”"),
        (f"Invoices/{REAL_ID}/Attachments", "“accounting.attachments”"),
        ("BankTransactions?page=1", "“accounting.banktransactions”"),
    ],
)
def test_a_read_names_the_permission_it_lacks(path: str, lacking: str) -> None:
    with playing(answers(401, {"Detail": "AuthorizationUnsuccessful"})) as server:
        with refuses(AuthorisationError) as caught:
            made(server.url).read(HERE, path)
        assert caught[0].sentence == f"The connection lacks {lacking}. Connect again and allow it."


# reading parts


def test_history_and_files_of_an_object_are_read() -> None:
    with playing(answers(200, {"HistoryRecords": [{"Details": "d"}]})) as server:
        assert made(server.url).read(HERE, f"Invoices/{REAL_ID}/History") == [{"Details": "d"}]
    with playing(answers(200, {"Attachments": [{"FileName": "f"}]})) as server:
        assert made(server.url).read(HERE, f"/Contacts/{REAL_ID}/Attachments")
    with playing(answers(200, {"CreditNotes": [{"Allocations": []}]})) as server:
        assert made(server.url).read(HERE, f"CreditNotes/{REAL_ID}")


# tokens


def credentials(url: str, *, in_body: bool = False) -> TokenSet:
    client = XeroClient(identity_url=url, clock=StillClock(), secret_in_body=in_body)
    return client.client_credentials(
        client_id="ID", secret=SECRET, scopes="accounting.contacts accounting.settings"
    )


def revoke(url: str, *, in_body: bool = False) -> None:
    client = XeroClient(identity_url=url, clock=StillClock(), secret_in_body=in_body)
    client.revoke(client_id="ID", secret=SECRET, refresh_token=TOKEN)


GRANTED = {"access_token": "a", "expires_in": 1800, "token_type": "Bearer", "scope": "x"}


@pytest.mark.parametrize("in_body", [False, True])
def test_a_custom_connection_gets_tokens_without_a_person(in_body: bool) -> None:
    with playing(answers(200, GRANTED)) as server:
        tokens = credentials(server.url, in_body=in_body)
    assert (tokens.access_token, tokens.refresh_token, tokens.scope) == ("a", None, "x")
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    form = {name: values[0] for name, values in parse_qs(body).items()}
    assert form.pop("grant_type") == "client_credentials"
    assert form.pop("scope") == "accounting.contacts accounting.settings"
    check_secret(head, form, in_body)


def check_secret(head: str, form: dict[str, str], in_body: bool) -> None:
    basic = base64.b64encode(f"ID:{SECRET}".encode()).decode()
    assert (f"Authorization: Basic {basic}" in head) is not in_body
    assert ("Authorization" in head) is not in_body
    assert form == ({"client_id": "ID", "client_secret": SECRET} if in_body else {})


@pytest.mark.parametrize("in_body", [False, True])
def test_the_secret_goes_where_it_is_said_in_every_token_call(in_body: bool) -> None:
    with playing(answers(200, GRANTED)) as server:
        client = XeroClient(identity_url=server.url, clock=StillClock(), secret_in_body=in_body)
        client.refresh(client_id="ID", secret=SECRET, refresh_token="r")
        client.exchange(
            client_id="ID", secret=SECRET, redirect_uri="http://x", code="c", verifier="v"
        )
        client.revoke(client_id="ID", secret=SECRET, refresh_token="r")
    own = {"grant_type", "refresh_token", "code", "code_verifier", "redirect_uri", "token"}
    for request in server.requests:
        head, _, body = request.decode().partition("\r\n\r\n")
        form = {name: values[0] for name, values in parse_qs(body).items() if name not in own}
        check_secret(head, form, in_body)


def test_revoking_ends_the_consent() -> None:
    with playing(answers(200)) as server:
        revoke(server.url)
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    assert head.startswith("POST /connect/revocation ")
    assert parse_qs(body) == {"token": [TOKEN]}


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b""), (200, "<html>"), (204, b""), (400, {"error": "invalid_grant"})],
)
def test_a_consent_that_has_ended_already_is_fine(status: int, body: Any) -> None:
    with playing(answers(status, body)) as server:
        revoke(server.url)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_client"}, AuthorisationError),
        (401, b"", AuthorisationError),
        (302, b"", PermanentError),
        (400, {"error": "unsupported_token_type"}, PermanentError),
        (404, b"", PermanentError),
        (429, b"", TransientError),
        (503, b"", TransientError),
    ],
)
def test_a_refused_revocation_is_told_apart(status: int, body: Any, kind: type) -> None:
    with playing(answers(status, body, Location="https://elsewhere.example/")) as server:
        with refuses(kind):
            revoke(server.url)
        assert len(server.requests) == 1
    with refuses(TransientError):
        revoke(server.url)


def test_permissions_xero_does_not_grant_are_told_with_what_to_do() -> None:
    told = {"error": "invalid_scope", "error_description": "Client credentials scope validation"}
    with playing(answers(400, told)) as server, refuses(PermanentError) as caught:
        credentials(server.url)
    assert "doesn't grant this app the permissions" in caught[0].sentence
    assert "broad" in caught[0].sentence
    assert "granular" in caught[0].sentence


def test_an_answer_to_a_write_is_kept_as_it_came() -> None:
    body = stored(R.CONTACTS)
    answer, _ = sent(written(R.CONTACTS, CREATE), 200, body)
    assert json.loads(answer.body) == body
    assert answer.minute is None

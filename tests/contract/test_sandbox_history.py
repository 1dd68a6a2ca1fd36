# ruff: noqa: F811
"""History notes of the local Xero, and what can be done with one sales invoice."""

from __future__ import annotations

from typing import Any

import pytest

from . import test_sandbox_schema as schema
from .conftest import SandboxClient
from .test_sandbox_attachments import owner
from .test_sandbox_sdk import accounting, api, api_client, tenant  # noqa: F401

NOBODY = "11111111-1111-4111-8111-111111111111"
UNKNOWN = "The document with the supplied id was not found for this endpoint."
DATED = {"Status": "AUTHORISED", "Date": "2026-09-14", "DueDate": "2026-10-14"}
#: endpoints whose history takes notes, with the SDK's word for it
WRITABLE = {
    "BankTransactions": "bank_transaction",
    "Contacts": "contact",
    "CreditNotes": "credit_note",
    "Invoices": "invoice",
    "Items": "item",
    "PurchaseOrders": "purchase_order",
    "Quotes": "quote",
}
READ_ONLY = {
    "Overpayments": "overpayment",
    "Payments": "payment",
    "Prepayments": "prepayment",
    "Receipts": "receipt",
}


def made(client: SandboxClient, plural: str) -> str:
    """The id of a new object of that endpoint."""
    if plural == "Items":
        return str(client.created("Items", {"Code": client.name("H")})["ItemID"])
    if plural == "Payments":
        invoice = client.created("Invoices", client.invoice(**DATED))
        body = {
            "Invoice": {"InvoiceID": invoice["InvoiceID"]},
            "Account": {"Code": "090"},
            "Date": "2026-09-15",
            "Amount": 1,
        }
        return str(client.created("Payments", body)["PaymentID"])
    if plural in ("Prepayments", "Overpayments"):
        account = "200" if plural == "Prepayments" else "610"
        kind = plural[:-1].upper()
        body = {
            "Type": f"RECEIVE-{kind}",
            "Contact": {"Name": client.name()},
            "BankAccount": {"Code": "090"},
            "Date": "2026-09-14",
            "LineItems": [{"Description": "x", "UnitAmount": 1, "AccountCode": account}],
        }
        return str(client.created("BankTransactions", body)[f"{plural[:-1]}ID"])
    return owner(client, plural)


def notes(*details: str | None) -> dict[str, Any]:
    return {"HistoryRecords": [{"Details": one} for one in details]}


def records(client: SandboxClient, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"{path}/History").json()["HistoryRecords"]
    return found


def told(answer: Any) -> list[list[str]]:
    assert answer.status_code == 400, answer.text
    elements = answer.json()["Elements"]
    return [[each["Message"] for each in one["ValidationErrors"]] for one in elements]


@pytest.mark.parametrize("plural", WRITABLE)
def test_a_note_is_added_and_shown_first(sandbox_client: SandboxClient, plural: str) -> None:
    path = f"{plural}/{made(sandbox_client, plural)}"
    answer = sandbox_client.put(f"{path}/History", notes("Called the customer"))
    assert answer.status_code == 200
    written = answer.json()["HistoryRecords"][0]
    assert written["Details"] == "Called the customer"
    assert written["ValidationErrors"] == []
    assert len(written["DateUTCString"]) == len("2026-09-14T01:02:03")
    newest = records(sandbox_client, path)[0]
    assert newest["Details"] == "Called the customer"
    assert newest["Changes"] == "Note"
    assert newest["User"] == "System Generated"
    assert newest["DateUTC"].endswith("+0000)/")


@pytest.mark.parametrize("plural", READ_ONLY)
def test_some_histories_can_only_be_read(sandbox_client: SandboxClient, plural: str) -> None:
    path = f"{plural}/{made(sandbox_client, plural)}"
    assert [one["Changes"] for one in records(sandbox_client, path)] == ["Created"]
    assert told(sandbox_client.put(f"{path}/History", notes("x"))) == [[UNKNOWN]]
    assert len(records(sandbox_client, path)) == 1


def test_creation_and_changes_are_noted(sandbox_client: SandboxClient) -> None:
    path = f"Invoices/{made(sandbox_client, 'Invoices')}"
    sandbox_client.post(path, {"Reference": "a"})
    sandbox_client.post(path, {"LineItems": []})
    sandbox_client.post(path, {"Status": "DELETED"})
    found = [one["Changes"] for one in records(sandbox_client, path)]
    assert found == ["Updated", "Updated", "Created"]


def test_a_refused_batch_leaves_no_history(sandbox_client: SandboxClient) -> None:
    path = f"Invoices/{made(sandbox_client, 'Invoices')}"
    good = {"InvoiceID": path.split("/")[1], "Reference": "a"}
    batch = {"Invoices": [good, {"Type": "ACCREC"}]}
    assert sandbox_client.post("Invoices", batch).status_code == 400
    assert [one["Changes"] for one in records(sandbox_client, path)] == ["Created"]


def test_a_contact_made_by_a_document_has_a_history(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.invoice(Contact={"Name": sandbox_client.name("Silent")})
    contact = sandbox_client.created("Invoices", body)["Contact"]["ContactID"]
    found = [one["Changes"] for one in records(sandbox_client, f"Contacts/{contact}")]
    assert found == ["Created"]


def test_a_note_does_not_touch_its_object(sandbox_client: SandboxClient) -> None:
    path = f"Invoices/{made(sandbox_client, 'Invoices')}"
    before = sandbox_client.get(path).json()["Invoices"][0]
    sandbox_client.put(f"{path}/History", notes("x"))
    assert sandbox_client.get(path).json()["Invoices"][0] == before


def test_histories_do_not_mix(sandbox_client: SandboxClient) -> None:
    one, other = (f"Contacts/{made(sandbox_client, 'Contacts')}" for _ in range(2))
    sandbox_client.put(f"{one}/History", notes("mine"))
    assert "mine" not in {each["Details"] for each in records(sandbox_client, other)}


@pytest.mark.parametrize(
    ("details", "messages"),
    [
        ([None], [["The Details of a history record must be specified"]]),
        ([" "], [["The Details of a history record must be specified"]]),
        (["x" * 451], [["The Details must not exceed 450 characters"]]),
        (["fine", ""], [[], ["The Details of a history record must be specified"]]),
    ],
)
def test_note_is_refused(
    sandbox_client: SandboxClient, details: list[str | None], messages: list[list[str]]
) -> None:
    path = f"Contacts/{made(sandbox_client, 'Contacts')}"
    answer = sandbox_client.put(f"{path}/History", notes(*details))
    assert told(answer) == messages
    assert answer.json()["Type"] == "ValidationException"
    assert [one["Changes"] for one in records(sandbox_client, path)] == ["Created"]


def test_longest_note_and_several_at_once(sandbox_client: SandboxClient) -> None:
    path = f"Contacts/{made(sandbox_client, 'Contacts')}"
    answer = sandbox_client.put(f"{path}/History", notes("x" * 450, "second"))
    assert [len(one["Details"]) for one in answer.json()["HistoryRecords"]] == [450, 6]
    assert [one["Details"][:6] for one in records(sandbox_client, path)][:2] == [
        "second",
        "xxxxxx",
    ]


@pytest.mark.parametrize("plural", WRITABLE)
def test_unknown_document_is_refused_in_words(sandbox_client: SandboxClient, plural: str) -> None:
    path = f"{plural}/{NOBODY}/History"
    answer = sandbox_client.put(path, notes("Hello World"))
    assert told(answer) == [[UNKNOWN]]
    assert answer.json()["Elements"][0]["Details"] == "Hello World"
    assert sandbox_client.get(path).status_code == 404


@pytest.mark.parametrize("body", ["null", "[]", "{", '"x"', '{"HistoryRecords": "x"}'])
def test_unreadable_note(sandbox_client: SandboxClient, body: str) -> None:
    path = f"Contacts/{made(sandbox_client, 'Contacts')}/History"
    answer = sandbox_client.call("PUT", path, data=body)
    assert answer.status_code == 400
    assert answer.json()["Type"] == "PostDataInvalidException"


@pytest.mark.parametrize(
    ("method", "tail", "status"),
    [("POST", "", 405), ("DELETE", "", 405), ("GET", "/1", 404), ("PUT", "/1", 404)],
)
def test_other_methods(sandbox_client: SandboxClient, method: str, tail: str, status: int) -> None:
    path = f"Contacts/{made(sandbox_client, 'Contacts')}/History{tail}"
    body = notes("x") if method != "GET" else None
    assert sandbox_client.call(method, path, body).status_code == status


@pytest.mark.parametrize("plural", ["Accounts", "TaxRates", "Users"])
def test_some_resources_have_no_history(sandbox_client: SandboxClient, plural: str) -> None:
    assert sandbox_client.get(f"{plural}/200/History").status_code in (404, 405)


@pytest.mark.parametrize(
    ("plural", "scope", "read", "write"),
    [
        ("Contacts", "accounting.contacts", 200, 200),
        ("Contacts", "accounting.contacts.read", 200, 401),
        ("Contacts", "accounting.attachments", 401, 401),
        ("Invoices", "accounting.invoices", 200, 200),
        ("Invoices", "accounting.contacts", 401, 401),
    ],
)
def test_scope_is_the_owners(
    sandbox_client: SandboxClient, plural: str, scope: str, read: int, write: int
) -> None:
    path = f"{plural}/{made(sandbox_client, plural)}/History"
    headers = {"Authorization": f"Bearer {sandbox_client.token(scope=scope)['access_token']}"}
    assert sandbox_client.get(path, headers=headers).status_code == read
    assert sandbox_client.put(path, notes("x"), headers=headers).status_code == write


@schema.pytestmark
def test_answers_fit_the_description(sandbox_client: SandboxClient) -> None:
    path = f"Contacts/{made(sandbox_client, 'Contacts')}/History"
    schema.check(sandbox_client.put(path, notes("x")).json(), "HistoryRecords")
    body = sandbox_client.get(path).json()
    schema.check(body, "HistoryRecords")
    # DateUTCString stands in the description's own examples
    shown = {k: v for k, v in body["HistoryRecords"][0].items() if k != "DateUTCString"}
    schema.known_fields(shown, "HistoryRecord")
    schema.check(sandbox_client.put(path, notes(None)).json(), "Error")


@pytest.mark.parametrize("plural", WRITABLE)
def test_sdk_drives_history(
    api: Any, tenant: str, sandbox_client: SandboxClient, plural: str
) -> None:
    one, word = made(sandbox_client, plural), WRITABLE[plural]
    body = accounting.HistoryRecords(
        history_records=[accounting.HistoryRecord(details="From the SDK")]
    )
    if plural == "BankTransactions":
        create, read = api.create_bank_transaction_history_record, api.get_bank_transactions_history
    else:
        create = getattr(api, f"create_{word}_history")
        read = getattr(api, f"get_{word}_history")
    assert create(tenant, one, body).history_records[0].details == "From the SDK"
    assert read(tenant, one).history_records[0].details == "From the SDK"


@pytest.mark.parametrize("plural", READ_ONLY)
def test_sdk_reads_history(
    api: Any, tenant: str, sandbox_client: SandboxClient, plural: str
) -> None:
    found = getattr(api, f"get_{READ_ONLY[plural]}_history")(tenant, made(sandbox_client, plural))
    assert found.history_records[0].changes == "Created"


# one invoice: e-mail and the customer's link


def approved(client: SandboxClient, **fields: Any) -> dict[str, Any]:
    contact = {"Name": client.name("Mail"), "EmailAddress": "ana@example.com"}
    whom = {"ContactID": client.created("Contacts", contact)["ContactID"]}
    return client.created("Invoices", client.invoice(Contact=whom, **DATED) | fields)


def test_sending_an_invoice_marks_it(sandbox_client: SandboxClient) -> None:
    invoice = approved(sandbox_client)
    assert invoice["SentToContact"] is False
    path = f"Invoices/{invoice['InvoiceID']}"
    answer = sandbox_client.post(f"{path}/Email", {})
    assert (answer.status_code, answer.text) == (204, "")
    assert sandbox_client.get(path).json()["Invoices"][0]["SentToContact"] is True
    assert "Invoice Sent" in {one["Changes"] for one in records(sandbox_client, path)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Status": "DRAFT"}, "Only approved sales invoices can be sent by email"),
        ({"Status": "SUBMITTED"}, "Only approved sales invoices can be sent by email"),
        (
            {
                "Type": "ACCPAY",
                "LineItems": [{"Description": "x", "UnitAmount": 1, "AccountCode": "300"}],
            },
            "Only approved sales invoices can be sent by email",
        ),
        ({"Contact": {"Name": "No Address"}}, "The contact of the invoice has no email address"),
    ],
)
def test_sending_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], message: str
) -> None:
    invoice = approved(sandbox_client, **fields)
    path = f"Invoices/{invoice['InvoiceID']}"
    assert told(sandbox_client.post(f"{path}/Email", {})) == [[message]]
    assert sandbox_client.get(path).json()["Invoices"][0]["SentToContact"] is False


def test_voided_invoice_is_not_sent(sandbox_client: SandboxClient) -> None:
    path = f"Invoices/{approved(sandbox_client)['InvoiceID']}"
    sandbox_client.post(path, {"Status": "VOIDED"})
    assert len(told(sandbox_client.post(f"{path}/Email", {}))) == 1


def test_online_invoice_is_a_link_that_opens(sandbox_client: SandboxClient) -> None:
    path = f"Invoices/{approved(sandbox_client)['InvoiceID']}"
    found = sandbox_client.get(f"{path}/OnlineInvoice").json()["OnlineInvoices"]
    assert len(found) == 1
    page = sandbox_client.session.get(found[0]["OnlineInvoiceUrl"], timeout=30)
    assert page.status_code == 200
    assert "text/html" in page.headers["Content-Type"]


@pytest.mark.parametrize(
    "fields",
    [
        {"Status": "DRAFT"},
        {
            "Type": "ACCPAY",
            "LineItems": [{"Description": "x", "UnitAmount": 1, "AccountCode": "300"}],
        },
    ],
)
def test_no_online_invoice(sandbox_client: SandboxClient, fields: dict[str, Any]) -> None:
    path = f"Invoices/{approved(sandbox_client, **fields)['InvoiceID']}"
    answer = sandbox_client.get(f"{path}/OnlineInvoice")
    assert told(answer) == [["There is no online invoice for a bill or a draft"]]


@pytest.mark.parametrize(
    ("method", "tail", "status"),
    [
        ("GET", "Email", 405),
        ("PUT", "Email", 405),
        ("POST", "Email/x", 404),
        ("POST", "OnlineInvoice", 405),
        ("GET", "OnlineInvoice/x", 404),
    ],
)
def test_invoice_parts_know_their_methods(
    sandbox_client: SandboxClient, method: str, tail: str, status: int
) -> None:
    path = f"Invoices/{approved(sandbox_client)['InvoiceID']}/{tail}"
    assert sandbox_client.call(method, path).status_code == status


@pytest.mark.parametrize("tail", ["Email", "OnlineInvoice"])
def test_parts_of_an_unknown_invoice(sandbox_client: SandboxClient, tail: str) -> None:
    method = "POST" if tail == "Email" else "GET"
    assert sandbox_client.call(method, f"Invoices/{NOBODY}/{tail}").status_code == 404


def test_sdk_sends_and_links(api: Any, tenant: str, sandbox_client: SandboxClient) -> None:
    invoice = approved(sandbox_client)["InvoiceID"]
    api.email_invoice(tenant, invoice, accounting.RequestEmpty())
    assert api.get_invoice(tenant, invoice).invoices[0].sent_to_contact is True
    found = api.get_online_invoice(tenant, invoice).online_invoices
    assert found[0].online_invoice_url.startswith("http")


@schema.pytestmark
def test_online_invoice_fits_the_description(sandbox_client: SandboxClient) -> None:
    path = f"Invoices/{approved(sandbox_client)['InvoiceID']}"
    schema.check(sandbox_client.get(f"{path}/OnlineInvoice").json(), "OnlineInvoices")
    draft = f"Invoices/{approved(sandbox_client, Status='DRAFT')['InvoiceID']}"
    schema.check(sandbox_client.get(f"{draft}/OnlineInvoice").json(), "Error")

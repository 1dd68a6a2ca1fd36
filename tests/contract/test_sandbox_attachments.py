# ruff: noqa: F811
"""Files attached to objects of the local Xero."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import Any

import pytest

from . import test_sandbox_schema as schema
from .conftest import SandboxClient
from .test_sandbox_sdk import accounting, api, api_client, tenant  # noqa: F401

PDF = b"%PDF-1.4\x00\xff\r\nnot text"
#: what a document needs beside its contact
_DATED = {"Date": "2026-09-14", "DueDate": "2026-10-14"}
_BUY = {"LineItems": [{"Description": "x", "UnitAmount": 1, "AccountCode": "300"}]}
_SELL = {"LineItems": [{"Description": "x", "UnitAmount": 1, "AccountCode": "200"}]}
OWNERS = [
    "Accounts",
    "BankTransactions",
    "Contacts",
    "CreditNotes",
    "Invoices",
    "PurchaseOrders",
    "Quotes",
    "Receipts",
]
IDS = {one: f"{one[:-1]}ID" for one in OWNERS}


def owner(client: SandboxClient, plural: str) -> str:
    """The id of a new object of that endpoint."""
    contact = {"Name": client.name("Owner")}
    if plural == "Contacts":
        return str(client.created("Contacts", contact)["ContactID"])
    if plural == "Accounts":
        account = {"Code": client.name("A")[-10:].strip(), "Name": client.name()}
        return str(client.created("Accounts", account | {"Type": "EXPENSE"})["AccountID"])
    whom = {"ContactID": client.created("Contacts", contact)["ContactID"]}
    bodies: dict[str, dict[str, Any]] = {
        "BankTransactions": {"Type": "SPEND", "BankAccount": {"Code": "090"}} | _BUY,
        "CreditNotes": {"Type": "ACCRECCREDIT"} | _SELL,
        "Invoices": {"Type": "ACCREC"} | _SELL,
        "PurchaseOrders": _BUY,
        "Quotes": _SELL,
        "Receipts": {"User": {}} | _BUY,
    }
    body: dict[str, Any] = bodies[plural] | {"Contact": whom} | _DATED
    if plural == "Receipts":
        client.control(f"organisations/{client.tenant}", {"ClassicExpenses": True})
        body["User"] = {"UserID": client.get("Users").json()["Users"][0]["UserID"]}
    return str(client.created(plural, body)[IDS[plural]])


@pytest.fixture
def invoice(sandbox_client: SandboxClient) -> str:
    return f"Invoices/{owner(sandbox_client, 'Invoices')}"


def upload(
    client: SandboxClient,
    path: str,
    name: str,
    data: bytes = PDF,
    kind: str = "application/pdf",
    method: str = "PUT",
    status: int = 200,
) -> dict[str, Any]:
    url = f"{path}/Attachments/{name}"
    answer = client.call(method, url, data=data, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body["Attachments"][0] if status == 200 else body


def listed(client: SandboxClient, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"{path}/Attachments").json()["Attachments"]
    return found


@pytest.mark.parametrize("plural", OWNERS)
def test_owner_keeps_files_and_says_so(sandbox_client: SandboxClient, plural: str) -> None:
    path = f"{plural}/{owner(sandbox_client, plural)}"
    before = sandbox_client.get(path).json()[plural][0]
    assert before.get("HasAttachments", False) is False
    assert listed(sandbox_client, path) == []
    made = upload(sandbox_client, path, "a.pdf")
    assert set(made) == {"AttachmentID", "FileName", "Url", "MimeType", "ContentLength"}
    assert (made["FileName"], made["MimeType"]) == ("a.pdf", "application/pdf")
    assert made["ContentLength"] == len(PDF)
    assert [one["AttachmentID"] for one in listed(sandbox_client, path)] == [made["AttachmentID"]]
    after = sandbox_client.get(path).json()[plural][0]
    if plural != "Quotes":  # Quotes have no such field (Xero OpenAPI Quote)
        assert after["HasAttachments"] is True


@pytest.mark.parametrize("plural", ["Invoices", "PurchaseOrders", "Receipts"])
def test_document_lists_its_files(sandbox_client: SandboxClient, plural: str) -> None:
    path = f"{plural}/{owner(sandbox_client, plural)}"
    upload(sandbox_client, path, "a.pdf")
    upload(sandbox_client, path, "b.pdf")
    found = sandbox_client.get(path).json()[plural][0]["Attachments"]
    assert found == listed(sandbox_client, path)
    assert [one["FileName"] for one in found] == ["a.pdf", "b.pdf"]


def test_bytes_come_back_as_they_went(sandbox_client: SandboxClient, invoice: str) -> None:
    made = upload(sandbox_client, invoice, "a.pdf")
    for key in ("a.pdf", "A.PDF", made["AttachmentID"]):
        answer = sandbox_client.get(f"{invoice}/Attachments/{key}")
        assert answer.content == PDF
        assert answer.headers["Content-Type"] == "application/pdf"
    by_url = sandbox_client.session.get(made["Url"], timeout=30)
    assert by_url.content == PDF


@pytest.mark.parametrize("key", ["b.pdf", "11111111-1111-4111-8111-111111111111", "a.pdf/x"])
def test_unknown_file_is_not_found(sandbox_client: SandboxClient, invoice: str, key: str) -> None:
    upload(sandbox_client, invoice, "a.pdf")
    answer = sandbox_client.get(f"{invoice}/Attachments/{key}")
    assert (answer.status_code, answer.text) == (404, "")


def test_files_of_others_are_not_found(sandbox_client: SandboxClient, invoice: str) -> None:
    made = upload(sandbox_client, invoice, "a.pdf")
    other = f"Invoices/{owner(sandbox_client, 'Invoices')}"
    for key in ("a.pdf", made["AttachmentID"]):
        assert sandbox_client.get(f"{other}/Attachments/{key}").status_code == 404


def test_unknown_owner_is_not_found(sandbox_client: SandboxClient) -> None:
    path = "Invoices/11111111-1111-4111-8111-111111111111/Attachments"
    assert sandbox_client.get(path).status_code == 404
    assert sandbox_client.call("PUT", f"{path}/a.pdf", data=PDF).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_same_name_replaces(sandbox_client: SandboxClient, invoice: str, method: str) -> None:
    first = upload(sandbox_client, invoice, "a.pdf", method=method)
    second = upload(sandbox_client, invoice, "A.pdf", b"new", "text/plain", method)
    assert second["AttachmentID"] == first["AttachmentID"]
    assert [one["ContentLength"] for one in listed(sandbox_client, invoice)] == [3]
    answer = sandbox_client.get(f"{invoice}/Attachments/a.pdf")
    assert (answer.content, answer.headers["Content-Type"]) == (b"new", "text/plain")


def test_ten_files_are_the_most(sandbox_client: SandboxClient, invoice: str) -> None:
    for index in range(10):
        upload(sandbox_client, invoice, f"{index}.pdf")
    body = upload(sandbox_client, invoice, "eleventh.pdf", status=400)
    assert body["Type"] == "ValidationException"
    assert body["Elements"][0]["ValidationErrors"] == [
        {"Message": "A document can have no more than 10 attachments"}
    ]
    upload(sandbox_client, invoice, "9.pdf", b"replaced")
    assert len(listed(sandbox_client, invoice)) == 10


def test_largest_file(sandbox_client: SandboxClient, invoice: str) -> None:
    most = b"\x01" * (25 * 1024 * 1024)
    assert upload(sandbox_client, invoice, "a.bin", most)["ContentLength"] == len(most)
    back = sandbox_client.get(f"{invoice}/Attachments/a.bin").content
    assert hashlib.sha256(back).digest() == hashlib.sha256(most).digest()
    body = upload(sandbox_client, invoice, "b.bin", most + b"\x01", status=400)
    found = body["Elements"][0]["ValidationErrors"][0]["Message"]
    assert found == "An attachment can be no larger than 25 MB"
    huge = sandbox_client.call(
        "PUT", f"{invoice}/Attachments/c.bin", data=BytesIO(most + b"\x01" * 2**21)
    )
    assert huge.status_code == 413
    assert len(listed(sandbox_client, invoice)) == 1


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.pdf", b"", "The attached file is empty"),
        ("a%5Cb.pdf", PDF, "The file name holds characters that are not allowed"),
        ("a%09b.pdf", PDF, "The file name holds characters that are not allowed"),
        ("x" * 256, PDF, "The FileName must not exceed 255 characters"),
    ],
)
def test_file_is_refused(
    sandbox_client: SandboxClient, invoice: str, name: str, data: bytes, message: str
) -> None:
    body = upload(sandbox_client, invoice, name, data, status=400)
    assert body["Elements"][0]["ValidationErrors"] == [{"Message": message}]


def test_name_may_hold_blanks_and_umlauts(sandbox_client: SandboxClient, invoice: str) -> None:
    made = upload(sandbox_client, invoice, "R%C3%BCck%20schein%231.pdf")
    assert made["FileName"] == "Rück schein#1.pdf"
    assert made["Url"].endswith("/Attachments/R%C3%BCck%20schein%231.pdf")
    assert sandbox_client.session.get(made["Url"], timeout=30).content == PDF


@pytest.mark.parametrize(
    ("sent", "name", "shown"),
    [
        ("image/png; charset=x", "a.bin", "image/png"),
        ("application/octet-stream", "a.png", "image/png"),
        ("application/octet-stream", "a.unknown", "application/octet-stream"),
        ("", "a.txt", "text/plain"),
    ],
)
def test_mime_type(
    sandbox_client: SandboxClient, invoice: str, sent: str, name: str, shown: str
) -> None:
    assert upload(sandbox_client, invoice, name, PDF, sent)["MimeType"] == shown


@pytest.mark.parametrize(("plural", "kept"), [("Invoices", True), ("CreditNotes", True)])
@pytest.mark.parametrize("sent", ["true", "True", "false", None])
def test_include_online(
    sandbox_client: SandboxClient, plural: str, kept: bool, sent: str | None
) -> None:
    path = f"{plural}/{owner(sandbox_client, plural)}"
    query = f"?IncludeOnline={sent}" if sent else ""
    upload(sandbox_client, path, f"a.pdf{query}")
    wanted = kept and (sent or "").lower() == "true"
    assert listed(sandbox_client, path)[0]["IncludeOnline"] is wanted
    upload(sandbox_client, path, "a.pdf", b"new")
    assert listed(sandbox_client, path)[0]["IncludeOnline"] is wanted


def test_others_know_no_online_invoice(sandbox_client: SandboxClient) -> None:
    path = f"Contacts/{owner(sandbox_client, 'Contacts')}"
    upload(sandbox_client, path, "a.pdf?IncludeOnline=true")
    assert "IncludeOnline" not in listed(sandbox_client, path)[0]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "Attachments", 405),
        ("POST", "Attachments", 405),
        ("DELETE", "Attachments/a.pdf", 405),
        ("DELETE", "Attachments", 405),
    ],
)
def test_method_is_not_allowed(
    sandbox_client: SandboxClient, invoice: str, method: str, path: str, status: int
) -> None:
    upload(sandbox_client, invoice, "a.pdf")
    answer = sandbox_client.call(method, f"{invoice}/{path}", data=PDF)
    assert answer.status_code == status


@pytest.mark.parametrize("plural", ["Items", "TaxRates", "Payments"])
def test_some_resources_take_no_files(sandbox_client: SandboxClient, plural: str) -> None:
    answer = sandbox_client.call("PUT", f"{plural}/x/Attachments/a.pdf", data=PDF)
    assert answer.status_code in (404, 405)


@pytest.mark.parametrize(
    ("scope", "read", "write"),
    [
        ("accounting.attachments", 200, 200),
        ("accounting.attachments.read", 200, 401),
        ("accounting.invoices", 401, 401),
    ],
)
def test_scope_is_their_own(
    sandbox_client: SandboxClient, invoice: str, scope: str, read: int, write: int
) -> None:
    headers = {"Authorization": f"Bearer {sandbox_client.token(scope=scope)['access_token']}"}
    path = f"{invoice}/Attachments"
    assert sandbox_client.get(path, headers=headers).status_code == read
    answer = sandbox_client.call("PUT", f"{path}/a.pdf", data=PDF, headers=headers)
    assert answer.status_code == write


def test_idempotency_key_replays_the_first_answer(
    sandbox_client: SandboxClient, invoice: str
) -> None:
    headers = {"Idempotency-Key": sandbox_client.name("key"), "Content-Type": "application/pdf"}
    path = f"{invoice}/Attachments/a.pdf"
    first = sandbox_client.call("PUT", path, data=PDF, headers=headers)
    assert sandbox_client.call("PUT", path, data=PDF, headers=headers).text == first.text
    other = sandbox_client.call("PUT", path, data=PDF + b".", headers=headers)
    assert other.status_code == 400


def test_attaching_is_noted_in_the_history(sandbox_client: SandboxClient, invoice: str) -> None:
    upload(sandbox_client, invoice, "a.pdf")
    newest = sandbox_client.get(f"{invoice}/History").json()["HistoryRecords"][0]
    assert newest["Changes"] == "Attached a file"
    assert newest["Details"] == "Attached the file a.pdf through the Xero API using Local Xero"


@schema.pytestmark
def test_answers_fit_the_description(sandbox_client: SandboxClient, invoice: str) -> None:
    path = f"{invoice}/Attachments/a.pdf"
    schema.check(sandbox_client.call("PUT", path, data=PDF).json(), "Attachments")
    body = sandbox_client.get(f"{invoice}/Attachments").json()
    schema.check(body, "Attachments")
    schema.known_fields(body["Attachments"][0], "Attachment")
    schema.check(sandbox_client.call("PUT", path, data=b"").json(), "Error")
    schema.check(sandbox_client.get(invoice).json(), "Invoices")


_STEMS = {
    "Accounts": "account",
    "BankTransactions": "bank_transaction",
    "Contacts": "contact",
    "CreditNotes": "credit_note",
    "Invoices": "invoice",
    "PurchaseOrders": "purchase_order",
    "Quotes": "quote",
    "Receipts": "receipt",
}


@pytest.mark.parametrize("plural", OWNERS)
def test_sdk_drives_attachments(
    api: Any, tenant: str, sandbox_client: SandboxClient, plural: str
) -> None:
    one, stem = owner(sandbox_client, plural), _STEMS[plural]
    made = getattr(api, f"create_{stem}_attachment_by_file_name")(tenant, one, "a.pdf", PDF)
    file = made.attachments[0]
    assert (file.mime_type, file.content_length) == ("application/pdf", len(PDF))
    again = getattr(api, f"update_{stem}_attachment_by_file_name")(tenant, one, "a.pdf", b"new")
    assert again.attachments[0].attachment_id == file.attachment_id
    found = getattr(api, f"get_{stem}_attachments")(tenant, one).attachments
    assert [each.file_name for each in found] == ["a.pdf"]
    by_name = getattr(api, f"get_{stem}_attachment_by_file_name")
    by_id = getattr(api, f"get_{stem}_attachment_by_id")
    for path in (
        by_name(tenant, one, "a.pdf", "application/pdf"),
        by_id(tenant, one, file.attachment_id, "application/pdf"),
    ):
        with open(path, "rb") as read:
            assert read.read() == b"new"

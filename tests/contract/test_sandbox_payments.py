"""Payments in the local Xero: made, taken back, listed, and every refusal."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from .conftest import SandboxClient, exact
from .moneyflow import (
    BANK,
    DAY,
    NOBODY,
    again,
    archive,
    bank,
    banked,
    bill,
    credit,
    invoice,
    line,
    locked,
    note,
    pay,
    payment,
    supplier_credit,
    undo,
)

ZERO = "00000000-0000-0000-0000-000000000000"
TOO_BIG = "Payment amount exceeds the amount outstanding on this document"
NOT_AUTHORISED = "Payments can only be made against Authorised documents"


def test_a_payment_is_answered_with_its_invoice(sandbox_client: SandboxClient) -> None:
    due = invoice(sandbox_client, 100)
    made = pay(sandbox_client, due, 40, Reference="CRM-7", IsReconciled=True)
    assert made["PaymentID"] != ZERO
    assert (made["Amount"], made["BankAmount"], made["CurrencyRate"]) == (40, 40, 1)
    assert (made["PaymentType"], made["Status"]) == ("ACCRECPAYMENT", "AUTHORISED")
    assert (made["Reference"], made["IsReconciled"]) == ("CRM-7", True)
    assert made["Date"] == "/Date(1791158400000+0000)/"
    assert made["HasAccount"] is True
    assert (made["Account"]["Code"], made["Account"]["Name"]) == ("090", "Business Bank Account")
    shown = made["Invoice"]
    assert (shown["InvoiceID"], shown["Type"]) == (due["InvoiceID"], "ACCREC")
    assert (shown["AmountDue"], shown["AmountPaid"], shown["Status"]) == (60, 40, "AUTHORISED")
    assert shown["LineItems"]
    assert made["UpdatedDateUTCString"].endswith("Z")


def test_single_get_shows_the_invoice_in_full_and_a_list_names_it(
    sandbox_client: SandboxClient,
) -> None:
    due = invoice(sandbox_client, 100)
    made = pay(sandbox_client, due, 40)
    assert again(sandbox_client, made) == made
    listed = sandbox_client.get(
        "Payments", params={"where": f'Invoice.InvoiceID==Guid("{due["InvoiceID"]}")'}
    )
    (one,) = exact(listed)["Payments"]
    assert one["Account"] == {"AccountID": made["Account"]["AccountID"], "Code": "090"}
    assert one["Invoice"]["Contact"]["Name"] == "Harbour Cafe"
    assert one["Invoice"]["InvoiceNumber"] == due["InvoiceNumber"]
    assert (one["Invoice"]["LineItems"], one["Invoice"]["Payments"]) == ([], [])
    assert "AmountDue" not in one["Invoice"]


def test_payment_type_follows_the_document(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    documents = {
        "ACCRECPAYMENT": invoice(client),
        "ACCPAYPAYMENT": bill(client),
        "ARCREDITPAYMENT": credit(client),
        "APCREDITPAYMENT": supplier_credit(client),
    }
    for kind, side in (("RECEIVE", "AR"), ("SPEND", "AP")):
        for what in ("PREPAYMENT", "OVERPAYMENT"):
            made = banked(client, f"{kind}-{what}")
            key = f"{what.capitalize()}ID"
            documents[f"{side}{what}PAYMENT"] = {key: made[key]}
    for kind, document in documents.items():
        made = pay(client, document, 1)
        assert made["PaymentType"] == kind
        assert again(client, made)["PaymentType"] == kind
        assert made["Invoice"]["AmountDue"] == 99
    types = {"ARPREPAYMENTPAYMENT": "ARPREPAYMENT", "APOVERPAYMENTPAYMENT": "APOVERPAYMENT"}
    for kind, shown in types.items():
        made = pay(client, documents[kind], 1)
        assert made["Invoice"]["Type"] == shown


def test_documents_and_accounts_are_named_by_number_and_code_too(
    sandbox_client: SandboxClient,
) -> None:
    client = sandbox_client
    due, owed, back = invoice(client), bill(client), credit(client)
    ways: list[tuple[dict[str, Any], str]] = [
        ({"Invoice": {"InvoiceNumber": due["InvoiceNumber"].lower()}}, due["InvoiceID"]),
        ({"InvoiceNumber": due["InvoiceNumber"]}, due["InvoiceID"]),
        ({"Invoice": {"InvoiceNumber": owed["InvoiceNumber"]}}, owed["InvoiceID"]),
        ({"CreditNote": {"CreditNoteNumber": back["CreditNoteNumber"]}}, back["CreditNoteID"]),
        ({"CreditNoteNumber": back["CreditNoteNumber"]}, back["CreditNoteID"]),
        ({"InvoiceNumber": back["CreditNoteNumber"]}, back["CreditNoteID"]),
    ]
    for way, meant in ways:
        made = client.created("Payments", way | {"Account": BANK, "Date": DAY, "Amount": 1})
        assert made["Invoice"]["InvoiceID"] == meant
    account = made["Account"]["AccountID"]
    sent = {"Invoice": {"InvoiceID": due["InvoiceID"]}, "Date": DAY, "Amount": 1}
    assert client.created("Payments", sent | {"Account": {"AccountID": account}})["HasAccount"]
    assert client.created("Payments", sent | {"Code": "090"})["HasAccount"]
    # open to payments without being a bank account
    assert client.created("Payments", sent | {"Account": {"Code": "880"}})["HasAccount"]


def test_a_bill_number_that_two_bills_have_names_neither(sandbox_client: SandboxClient) -> None:
    number = sandbox_client.name("B")
    for _ in range(2):
        bill(sandbox_client, InvoiceNumber=number)
    sent = {"Invoice": {"InvoiceNumber": number}, "Account": BANK, "Date": DAY, "Amount": 1}
    messages = sandbox_client.errors("PUT", "Payments", sent)
    assert messages == ["More than one bill has this number; name it by its InvoiceID"]


def test_a_sales_number_comes_before_a_bills(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due = invoice(client)
    bill(client, InvoiceNumber=due["InvoiceNumber"])
    sent = {"InvoiceNumber": due["InvoiceNumber"], "Account": BANK, "Date": DAY, "Amount": 1}
    assert client.created("Payments", sent)["Invoice"]["InvoiceID"] == due["InvoiceID"]


def test_a_voided_bill_does_not_hold_its_number(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    gone = bill(client)
    assert client.post(f"Invoices/{gone['InvoiceID']}", {"Status": "VOIDED"}).ok
    owed = bill(client, InvoiceNumber=gone["InvoiceNumber"])
    sent = {"InvoiceNumber": owed["InvoiceNumber"], "Account": BANK, "Date": DAY, "Amount": 1}
    assert client.created("Payments", sent)["Invoice"]["InvoiceID"] == owed["InvoiceID"]


def test_an_archived_account_takes_no_payments(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    account, due = bank(client), invoice(client)
    by_id = {"Account": {"AccountID": account["AccountID"]}}
    made = pay(client, due, 1, **by_id)
    assert made["Account"]["Code"] == account["Code"]
    archive(client, account)
    assert client.errors("PUT", "Payments", payment(due, 1, **by_id)) == [
        "Account could not be found"
    ]
    undo(client, made)


def test_currency_of_the_bank_account(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    account = {"Account": {"Code": bank(client, CurrencyCode="AUD")["Code"]}}
    made = pay(client, invoice(client, CurrencyCode="AUD"), 45, CurrencyRate="0.8", **account)
    assert (made["Amount"], made["BankAmount"]) == (45, 45)
    assert client.errors("PUT", "Payments", payment(invoice(client), 1, **account)) == [
        "The account's currency is neither the document's nor the base currency"
    ]


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"Amount": "100.01"}, [TOO_BIG]),
    ({"Amount": 0}, ["The Amount must be greater than zero"]),
    ({"Amount": -1}, ["The Amount must be greater than zero"]),
    ({"Amount": "0.004"}, ["The Amount must be greater than zero"]),
    ({"Amount": None}, ["The Amount must be specified"]),
    ({"Date": None}, ["The Date must be specified"]),
    ({"Account": None}, ["Account could not be found"]),
    ({"Account": {}}, ["Account could not be found"]),
    ({"Account": {"Code": "999"}}, ["Account could not be found"]),
    ({"Account": {"AccountID": NOBODY}}, ["Account could not be found"]),
    ({"Account": {"Code": "200"}}, ["Account could not be found"]),
    ({"Account": {"Code": "490"}}, ["Account could not be found"]),
    (
        {"Invoice": {"InvoiceID": NOBODY}},
        ["An existing Invoice with the specified InvoiceID could not be found"],
    ),
    (
        {"Invoice": None, "CreditNote": {"CreditNoteID": NOBODY}},
        ["An existing Credit Note with the specified CreditNoteID could not be found"],
    ),
    (
        {"Invoice": None, "Prepayment": {"PrepaymentID": NOBODY}},
        ["An existing Prepayment with the specified PrepaymentID could not be found"],
    ),
    (
        {"Invoice": None, "Overpayment": {"OverpaymentID": NOBODY}},
        ["An existing Overpayment with the specified OverpaymentID could not be found"],
    ),
    (
        {"Invoice": None},
        ["A payment must name exactly one of Invoice, CreditNote, Prepayment and Overpayment"],
    ),
    (
        {"CreditNote": {"CreditNoteID": NOBODY}},
        ["A payment must name exactly one of Invoice, CreditNote, Prepayment and Overpayment"],
    ),
    ({"Reference": "r" * 256}, ["The Reference must not exceed 255 characters"]),
    ({"Status": "DELETED"}, ["A payment cannot be created with that status"]),
    ({"Amount": 101, "Account": None}, ["Account could not be found", TOO_BIG]),
]


@pytest.mark.parametrize(("fields", "messages"), REFUSED)
def test_payment_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], messages: list[str]
) -> None:
    due = invoice(sandbox_client, 100)
    body = payment(due, 10, **fields)
    assert sandbox_client.errors("PUT", "Payments", body) == messages
    assert again(sandbox_client, due) == due


@pytest.mark.parametrize("status", ["DRAFT", "SUBMITTED", "DELETED", "VOIDED", "PAID"])
def test_only_authorised_documents_take_payments(
    sandbox_client: SandboxClient, status: str
) -> None:
    client = sandbox_client
    if status in ("VOIDED", "PAID"):
        due = invoice(client, 100)
    else:
        due = client.created("Invoices", client.invoice(Status="SUBMITTED"))
    if status == "PAID":
        pay(client, due, 100)
    elif status != "SUBMITTED":
        answer = client.post(f"Invoices/{due['InvoiceID']}", {"Status": status})
        assert answer.status_code == 200, answer.text
    assert client.errors("PUT", "Payments", payment(due, 1)) == [TOO_BIG, NOT_AUTHORISED]


def test_a_draft_credit_note_takes_no_refund(sandbox_client: SandboxClient) -> None:
    back = credit(sandbox_client, Status="DRAFT")
    messages = sandbox_client.errors("PUT", "Payments", payment(back, 1))
    assert messages == [TOO_BIG, NOT_AUTHORISED]


def test_refused_payment_has_the_form_of_a_refusal(sandbox_client: SandboxClient) -> None:
    answer = sandbox_client.put("Payments", payment(invoice(sandbox_client), 101, Account=None))
    (element,) = exact(answer)["Elements"]
    assert element["HasValidationErrors"] is True
    assert element["PaymentID"] == ZERO
    assert element["HasAccount"] is False
    assert element["Amount"] == 101


def test_amounts_of_one_batch_add_up(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due = invoice(client, 100)
    batch = {"Payments": [payment(due, 60), payment(due, 60)]}
    answer = client.put("Payments", batch)
    assert answer.status_code == 400
    assert [len(one["ValidationErrors"]) for one in exact(answer)["Elements"]] == [0, 1]
    assert again(client, due)["AmountDue"] == 100
    answer = client.put("Payments?summarizeErrors=false", batch)
    assert answer.status_code == 200
    first, second = exact(answer)["Payments"]
    assert (first["StatusAttributeString"], second["StatusAttributeString"]) == ("OK", "ERROR")
    assert second["ValidationErrors"] == [{"Message": TOO_BIG}]
    assert again(client, due)["AmountDue"] == 40


def test_post_without_an_id_makes_a_payment(sandbox_client: SandboxClient) -> None:
    due = invoice(sandbox_client, 100)
    answer = sandbox_client.post("Payments", payment(due, 10))
    assert exact(answer)["Payments"][0]["Invoice"]["AmountDue"] == 90


@pytest.mark.parametrize("wrapped", [True, False])
def test_delete_at_its_own_address(sandbox_client: SandboxClient, wrapped: bool) -> None:
    due = invoice(sandbox_client, 100)
    made = pay(sandbox_client, due, 100)
    assert again(sandbox_client, due)["Status"] == "PAID"
    body: object = {"Status": "DELETED"}
    if wrapped:
        body = {"Payments": [body]}
    answer = sandbox_client.post(f"Payments/{made['PaymentID']}", body)
    (gone,) = exact(answer)["Payments"]
    assert (gone["PaymentID"], gone["Status"]) == (made["PaymentID"], "DELETED")
    assert (gone["Invoice"]["AmountDue"], gone["Invoice"]["Status"]) == (100, "AUTHORISED")
    assert again(sandbox_client, made)["Status"] == "DELETED"


def test_delete_by_a_post_that_names_it(sandbox_client: SandboxClient) -> None:
    due = invoice(sandbox_client, 100)
    made = pay(sandbox_client, due, 100)
    body = {"PaymentID": made["PaymentID"], "Status": "deleted"}
    answer = sandbox_client.post("Payments", body)
    assert exact(answer)["Payments"][0]["Status"] == "DELETED"
    assert again(sandbox_client, due)["AmountDue"] == 100


CHANGES: list[dict[str, Any]] = [
    {"Amount": 5},
    {"Reference": "new"},
    {"Status": "AUTHORISED"},
    {"Date": "2026-10-06"},
    {"IsReconciled": True},
    {},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_payment_cannot_be_changed(sandbox_client: SandboxClient, change: Any) -> None:
    made = pay(sandbox_client, invoice(sandbox_client, 100), 10)
    path = f"Payments/{made['PaymentID']}"
    assert sandbox_client.errors("POST", path, change) == [
        "A payment cannot be changed, only deleted"
    ]
    assert again(sandbox_client, made) == made


def test_a_payment_is_deleted_once(sandbox_client: SandboxClient) -> None:
    made = pay(sandbox_client, invoice(sandbox_client, 100), 10)
    undo(sandbox_client, made)
    path = f"Payments/{made['PaymentID']}"
    assert sandbox_client.errors("POST", path, {"Status": "DELETED"}) == [
        "This payment has already been deleted"
    ]
    unknown = {"PaymentID": NOBODY, "Status": "DELETED"}
    assert sandbox_client.errors("POST", "Payments", unknown) == [
        "An existing Payment with the specified PaymentID could not be found"
    ]


def test_what_is_not_offered_is_404_or_405(sandbox_client: SandboxClient) -> None:
    made = pay(sandbox_client, invoice(sandbox_client, 100), 10)
    path = f"Payments/{made['PaymentID']}"
    assert sandbox_client.call("DELETE", path).status_code == 405
    assert sandbox_client.put(path, {"Status": "DELETED"}).status_code == 405
    assert sandbox_client.get(f"Payments/{NOBODY}").status_code == 404
    assert sandbox_client.post(f"Payments/{NOBODY}", {"Status": "DELETED"}).status_code == 404


def test_lock_date_stops_payments_and_their_deletion(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due = invoice(client, 100)
    made = pay(client, due, 10)
    refused = ["The document date cannot be before the period lock date"]
    with locked(client, DAY):
        assert client.errors("PUT", "Payments", payment(due, 1)) == refused
        # a payment after the lock date settles a document from before it
        later = pay(client, due, 1, Date="2026-10-06")
        path = f"Payments/{made['PaymentID']}"
        assert client.errors("POST", path, {"Status": "DELETED"}) == refused
        undo(client, later)
    undo(client, made)


def test_foreign_documents_are_paid_in_their_own_currency(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due = invoice(client, 100, CurrencyCode="AUD", CurrencyRate="0.9")
    made = pay(client, due, 45, CurrencyRate="0.8")
    # the bank account holds the base currency: 45 AUD at 0.8 AUD for one NZD
    assert (made["Amount"], made["BankAmount"]) == (45, D("56.25"))
    assert made["CurrencyRate"] == D("0.8")
    assert made["Invoice"]["CurrencyCode"] == "AUD"
    assert again(client, due)["AmountDue"] == 55
    day_rate = pay(client, due, 9, CurrencyRate=None)
    assert day_rate["CurrencyRate"] == D("0.91")
    assert day_rate["BankAmount"] == D("9.89")
    assert client.errors("PUT", "Payments", payment(due, 1, CurrencyRate=0)) == [
        "The CurrencyRate must be greater than zero"
    ]


def test_base_currency_has_the_rate_one(sandbox_client: SandboxClient) -> None:
    made = pay(sandbox_client, invoice(sandbox_client, 100), 40, CurrencyRate="0.5")
    assert (made["CurrencyRate"], made["BankAmount"]) == (1, 40)


def test_lists_are_filtered_ordered_and_paged(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    reference = client.name("Batch")
    who = client.name("Payer")
    due = invoice(client, 100, Contact={"Name": who})
    made = [
        pay(client, due, amount, Reference=reference, Date=f"2026-10-{amount:02}")
        for amount in (5, 15, 25)
    ]
    undo(client, made[2])

    def found(where: str, **more: Any) -> list[D]:
        scope = f'Reference=="{reference}" AND ({where})'
        answer = client.get("Payments", params={"where": scope, "order": "Amount DESC"} | more)
        assert answer.status_code == 200, answer.text
        return [one["Amount"] for one in exact(answer)["Payments"]]

    assert found("Amount>0") == [25, 15, 5]
    assert found('Status=="AUTHORISED"') == [15, 5]
    assert found('Status=="DELETED"') == [25]
    assert found("Date>=DateTime(2026,10,15)") == [25, 15]
    assert found("Amount<=15") == [15, 5]
    assert found('PaymentType=="ACCRECPAYMENT"') == [25, 15, 5]
    assert found('PaymentType=="ACCPAYPAYMENT"') == []
    assert found(f'Invoice.InvoiceNumber=="{due["InvoiceNumber"]}"') == [25, 15, 5]
    contact = due["Contact"]["ContactID"]
    assert found(f'Invoice.Contact.ContactID==Guid("{contact}")') == [25, 15, 5]
    assert found(f'PaymentID==Guid("{made[0]["PaymentID"]}")') == [5]
    assert found('Account.Code=="090"') == [25, 15, 5]
    assert found("IsReconciled==true") == []
    assert found("Amount>0", page=2, pageSize=2) == [5]
    assert found('Reference.StartsWith("batch")', order="Date") == [5, 15, 25]
    assert client.get("Payments", params={"where": "Nonsense==1"}).status_code == 400


def test_the_payments_scope_is_needed(sandbox_client: SandboxClient) -> None:
    due = invoice(sandbox_client, 100)
    token = sandbox_client.token(scope="accounting.invoices accounting.payments.read")
    header = {"Authorization": f"Bearer {token['access_token']}"}
    assert sandbox_client.get("Payments", headers=header).status_code == 200
    assert sandbox_client.put("Payments", payment(due, 1), headers=header).status_code == 401
    assert sandbox_client.put("CreditNotes", note(sandbox_client), headers=header).ok
    assert sandbox_client.get("BankTransactions", headers=header).status_code == 401
    assert sandbox_client.get("Prepayments", headers=header).status_code == 200


def test_lines_of_cents_leave_nothing_behind(sandbox_client: SandboxClient) -> None:
    due = sandbox_client.created(
        "Invoices",
        sandbox_client.invoice(
            Status="AUTHORISED",
            DueDate="2026-11-01",
            LineItems=[line("25.06"), line("25.61"), line("25.63")],
        ),
    )
    assert due["AmountDue"] == D("87.74")
    pay(sandbox_client, due, "87.73")
    assert again(sandbox_client, due)["AmountDue"] == D("0.01")
    pay(sandbox_client, due, "0.01")
    found = again(sandbox_client, due)
    assert (found["AmountDue"], found["Status"]) == (0, "PAID")

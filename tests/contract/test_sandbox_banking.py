"""Bank transactions of the local Xero: money spent and received, and every refusal."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from .conftest import SandboxClient, exact
from .moneyflow import (
    BANK,
    NOBODY,
    again,
    allocate,
    archive,
    bank,
    banked,
    invoice,
    line,
    locked,
    transaction,
)

CONTACT = (
    "The Contact must contain at least 1 of the following elements to identify the contact:"
    " Name, ContactID, ContactNumber"
)
ACCOUNT = "The BankAccount must be an active account of type BANK"
TYPE = (
    "The Type of a bank transaction must be RECEIVE or SPEND, or one of their prepayments and"
    " overpayments"
)


def changed(client: SandboxClient, made: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"BankTransactions/{made['BankTransactionID']}", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = exact(answer)["BankTransactions"][0]
    return found


def test_money_spent(sandbox_client: SandboxClient) -> None:
    made = banked(
        sandbox_client,
        "SPEND",
        10,
        LineAmountTypes="Exclusive",
        Reference="receipt 7",
        Url="https://crm.example.com/7",
    )
    assert (made["Type"], made["Status"], made["IsReconciled"]) == ("SPEND", "AUTHORISED", False)
    assert (made["SubTotal"], made["TotalTax"], made["Total"]) == (10, D("1.5"), D("11.5"))
    assert made["LineItems"][0]["TaxType"] == "INPUT2"
    assert made["BankAccount"]["Code"] == "090"
    assert made["BankAccount"]["Name"] == "Business Bank Account"
    assert (made["Reference"], made["Url"]) == ("receipt 7", "https://crm.example.com/7")
    assert (made["DateString"], made["CurrencyCode"]) == ("2026-10-03T00:00:00", "NZD")
    assert "PrepaymentID" not in made
    assert again(sandbox_client, made) == made


def test_sides_of_an_item_and_of_tax(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    code = client.name("I")
    client.created(
        "Items",
        {
            "Code": code,
            "PurchaseDetails": {"UnitPrice": 7, "AccountCode": "300"},
            "SalesDetails": {"UnitPrice": 9, "AccountCode": "200"},
        },
    )
    lines = [{"ItemCode": code, "Description": "x", "Quantity": 1}]
    found = []
    for kind in ("SPEND", "RECEIVE", "SPEND-PREPAYMENT", "RECEIVE-PREPAYMENT"):
        made = banked(client, kind, LineItems=lines, LineAmountTypes="Exclusive")
        found.append((made["SubTotal"], made["LineItems"][0]["TaxType"]))
    assert found == [(7, "INPUT2"), (9, "OUTPUT2")] * 2


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"Type": "RECEIVE-TRANSFER"}, [TYPE]),
    ({"Type": "SPEND-TRANSFER"}, [TYPE]),
    ({"Type": None}, [TYPE]),
    ({"Type": "NOPE"}, [TYPE]),
    ({"BankAccount": None}, [ACCOUNT]),
    ({"BankAccount": {}}, [ACCOUNT]),
    ({"BankAccount": {"Code": "200"}}, [ACCOUNT]),
    ({"BankAccount": {"Code": "880"}}, [ACCOUNT]),
    ({"BankAccount": {"AccountID": NOBODY}}, [ACCOUNT]),
    ({"Contact": None}, [CONTACT]),
    ({"Contact": {}}, [CONTACT]),
    ({"LineItems": []}, ["One or more line items must be specified"]),
    (
        {"LineItems": [line(1, AccountCode=None)]},
        ["An account code must be specified for each line of an approved invoice"],
    ),
    (
        {"LineItems": [line(1, AccountCode="090")]},
        ["Account code '090' is not a valid code for this document."],
    ),
    (
        {"LineItems": [line(1, AccountCode="429", DiscountRate=1)]},
        ["Discounts can only be applied to ACCREC invoices"],
    ),
    ({"Status": "DELETED"}, ["Bank transaction not of valid status for creation"]),
    ({"Status": "DRAFT"}, ["Bank transaction not of valid status for creation"]),
    ({"CurrencyCode": "AUD"}, ["The currency of a bank transaction is that of its bank account"]),
    ({"Url": "nonsense"}, ["The Url must be a valid absolute URL"]),
    ({"Reference": "r" * 256}, ["The Reference must not exceed 255 characters"]),
    (
        {"LineItems": [line(-1, AccountCode="429")]},
        ["The total of a bank transaction must not be negative"],
    ),
]


@pytest.mark.parametrize(("fields", "messages"), REFUSED)
def test_bank_transaction_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], messages: list[str]
) -> None:
    body = transaction(sandbox_client, "SPEND", 10, **fields)
    assert sandbox_client.errors("PUT", "BankTransactions", body) == messages


def test_bank_account_by_id(sandbox_client: SandboxClient) -> None:
    account = banked(sandbox_client, "SPEND")["BankAccount"]["AccountID"]
    made = banked(sandbox_client, "SPEND", BankAccount={"AccountID": account})
    assert made["BankAccount"]["Code"] == "090"


def test_an_archived_bank_account_takes_no_more(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    account = bank(client)
    code = {"BankAccount": {"Code": account["Code"]}}
    made = banked(client, "SPEND", **code)
    archive(client, account)
    body = transaction(client, "SPEND", **code)
    assert client.errors("PUT", "BankTransactions", body) == [ACCOUNT]
    assert changed(client, made, {"Reference": "still"})["Reference"] == "still"


def test_a_foreign_bank_account_gives_its_currency(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    code = {"BankAccount": {"Code": bank(client, CurrencyCode="AUD")["Code"]}}
    made = banked(client, "SPEND", **code)
    assert (made["CurrencyCode"], made["CurrencyRate"]) == ("AUD", D("0.91"))
    made = banked(client, "SPEND", CurrencyRate="0.8", **code)
    assert made["CurrencyRate"] == D("0.8")
    assert changed(client, made, {"Reference": "R"})["CurrencyRate"] == D("0.8")


def test_contact_is_created_by_name(sandbox_client: SandboxClient) -> None:
    name = sandbox_client.name("Taxi")
    made = banked(sandbox_client, "SPEND", Contact={"Name": name})
    assert made["Contact"]["Name"] == name


def test_date_is_today_where_none_is_sent(sandbox_client: SandboxClient) -> None:
    made = banked(sandbox_client, "SPEND", Date=None)
    due = sandbox_client.created("Invoices", sandbox_client.invoice())
    assert made["DateString"] == due["DateString"]


def test_updates_by_id(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    made = banked(client, "SPEND", 10)
    found = changed(client, made, {"LineItems": [line(7, AccountCode="429")], "Reference": "R"})
    assert (found["Total"], found["Reference"], found["Type"]) == (7, "R", "SPEND")
    body = {"BankTransactionID": made["BankTransactionID"], "IsReconciled": True}
    (found,) = exact(client.post("BankTransactions", body))["BankTransactions"]
    assert (found["IsReconciled"], found["Total"]) == (True, 7)
    unknown = {"BankTransactionID": NOBODY, "Type": "SPEND"}
    assert (
        "An existing Bank Transaction with the specified BankTransactionID"
        in (client.errors("POST", "BankTransactions", unknown)[0])
    )
    assert client.errors(
        "POST", f"BankTransactions/{made['BankTransactionID']}", {"Type": "RECEIVE"}
    )


def test_a_reconciled_one_is_left_alone(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    made = banked(client, "SPEND", 10, IsReconciled=True)
    path = f"BankTransactions/{made['BankTransactionID']}"
    for body in ({"Reference": "new"}, {"Status": "DELETED"}):
        assert client.errors("POST", path, body) == [
            "A reconciled bank transaction cannot be edited"
        ]
    assert changed(client, made, {"IsReconciled": False})["IsReconciled"] is False
    assert changed(client, made, {"Status": "DELETED"})["Status"] == "DELETED"


def test_deleting_is_final(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    made = banked(client, "SPEND", 10)
    assert changed(client, made, {"Status": "DELETED"})["Status"] == "DELETED"
    path = f"BankTransactions/{made['BankTransactionID']}"
    for body in ({"Status": "AUTHORISED"}, {"Reference": "new"}):
        messages = client.errors("POST", path, body)
        assert messages == ["Bank transaction not of valid status for modification"]
    assert again(client, made)["Status"] == "DELETED"
    assert client.call("DELETE", path).status_code == 405


def test_lock_date_stops_bank_transactions(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    made = banked(client, "SPEND", 10)
    refused = ["The document date cannot be before the period lock date"]
    with locked(client, "2026-10-03"):
        body = transaction(client, "SPEND", 10)
        assert client.errors("PUT", "BankTransactions", body) == refused
        path = f"BankTransactions/{made['BankTransactionID']}"
        assert client.errors("POST", path, {"Status": "DELETED"}) == refused


def test_lists_are_filtered_and_paged(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    who = client.name("Taxi")
    one = banked(client, "SPEND", 10, Contact={"Name": who}, Reference="A", Url="https://a.b/1")
    two = banked(client, "RECEIVE", 20, Contact={"Name": who}, Reference="B", IsReconciled=True)
    three = banked(client, "RECEIVE-PREPAYMENT", 30, Contact={"Name": who})
    changed(client, three, {"Status": "DELETED"})

    def found(where: str = "Total>0", **more: Any) -> list[str]:
        scope = f'Contact.Name=="{who}" AND ({where})'
        answer = client.get("BankTransactions", params={"where": scope} | more)
        assert answer.status_code == 200, answer.text
        return [one["BankTransactionID"] for one in answer.json()["BankTransactions"]]

    ids = [made["BankTransactionID"] for made in (one, two, three)]
    assert found() == ids
    assert found('Type=="SPEND"') == ids[:1]
    assert found('Url=="https://a.b/1"') == ids[:1]
    assert found('Status=="DELETED"') == ids[2:]
    assert found("IsReconciled==true") == ids[1:2]
    assert found('BankAccount.Code=="090"') == ids
    account = one["BankAccount"]["AccountID"]
    assert found(f'BankAccount.AccountID==Guid("{account}")') == ids
    assert found(f'PrepaymentID==Guid("{three["PrepaymentID"]}")') == ids[2:]
    assert found(References="a,c") == ids[:1]
    assert found(order="Total DESC", page=1, pageSize=2) == [ids[2], ids[1]]
    whole = client.get("BankTransactions").json()["BankTransactions"]
    assert all(one["LineItems"] == [] for one in whole)
    page = client.get("BankTransactions", params={"page": 1}).json()
    assert page["pagination"]["itemCount"] == len(whole)
    assert page["BankTransactions"][0]["LineItems"]


def test_the_bank_transactions_scope_is_needed(sandbox_client: SandboxClient) -> None:
    body = transaction(sandbox_client, "SPEND", 10)
    for scope, status in (
        ("accounting.payments accounting.invoices", 401),
        ("accounting.banktransactions.read", 401),
        ("accounting.banktransactions", 200),
    ):
        token = sandbox_client.token(scope=scope)
        header = {"Authorization": f"Bearer {token['access_token']}"}
        answer = sandbox_client.put("BankTransactions", body, headers=header)
        assert answer.status_code == status


def test_overpayments_go_to_receivables_and_payables(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    for kind, code in (("RECEIVE-OVERPAYMENT", "610"), ("SPEND-OVERPAYMENT", "800")):
        made = banked(client, kind, 50, LineAmountTypes="Exclusive")
        assert (made["LineAmountTypes"], made["TotalTax"], made["Total"]) == ("NoTax", 0, 50)
        assert made["LineItems"][0]["AccountCode"] == code
        again_sent = {"LineItems": [{"LineItemID": made["LineItems"][0]["LineItemID"]}]}
        found = changed(client, made, again_sent)["LineItems"]
        assert found == made["LineItems"]
        named = banked(client, kind, LineItems=[line(1, AccountCode=code)])
        assert named["Total"] == 1
        body = transaction(client, kind, LineItems=[line(1)])
        assert client.errors("PUT", "BankTransactions", body) == [
            "An overpayment can only go to accounts receivable or payable"
        ]


def test_only_overpayments_take_a_currency(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    made = banked(client, "RECEIVE-OVERPAYMENT", 50, CurrencyCode="AUD", CurrencyRate="0.9")
    assert (made["CurrencyCode"], made["CurrencyRate"]) == ("AUD", D("0.9"))
    due = invoice(client, 50, CurrencyCode="AUD")
    allocate(client, {"OverpaymentID": made["OverpaymentID"]}, due, 50)
    assert again(client, due)["Status"] == "PAID"
    body = transaction(client, "RECEIVE-PREPAYMENT", CurrencyCode="AUD", BankAccount=BANK)
    assert client.errors("PUT", "BankTransactions", body)
    body = transaction(client, "RECEIVE-OVERPAYMENT", CurrencyCode="AUD", CurrencyRate=0)
    assert client.errors("PUT", "BankTransactions", body) == [
        "The CurrencyRate must be greater than zero"
    ]

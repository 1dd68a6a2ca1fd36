"""Prepayments and overpayments of the local Xero: from the bank transaction to the last cent."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import SandboxClient, exact
from .moneyflow import (
    NOBODY,
    again,
    allocate,
    banked,
    bill,
    invoice,
    line,
    pay,
    payment,
    place,
    undo,
)

KINDS = ("RECEIVE-PREPAYMENT", "SPEND-PREPAYMENT", "RECEIVE-OVERPAYMENT", "SPEND-OVERPAYMENT")
SETTLED = "This document cannot be edited as it has a payment or credit note allocated to it."
BLOCKED = (
    "The status DELETED cannot be applied to the invoice because it has payments or credit"
    " notes allocated to it."
)


def of(made: dict[str, Any]) -> dict[str, Any]:
    """The credit that a bank transaction stands for, by its id alone."""
    return {key: made[key] for key in ("PrepaymentID", "OverpaymentID") if key in made}


def fitting(client: SandboxClient, kind: str, amount: object) -> dict[str, Any]:
    return invoice(client, amount) if kind.startswith("RECEIVE") else bill(client, amount)


def update(client: SandboxClient, made: dict[str, Any], body: dict[str, Any]) -> Any:
    answer = client.post(f"BankTransactions/{made['BankTransactionID']}", body)
    assert answer.status_code == 200, answer.text
    return exact(answer)["BankTransactions"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bank_transaction_makes_one(sandbox_client: SandboxClient, kind: str) -> None:
    made = banked(sandbox_client, kind, 50, Reference="CRM-3")
    found = again(sandbox_client, of(made))
    assert found["ID"] == next(iter(of(made).values()))
    assert (found["Type"], found["Status"]) == (kind, "AUTHORISED")
    assert (found["Total"], found["RemainingCredit"], found["AppliedAmount"]) == (50, 50, 0)
    assert (found["Allocations"], found["Payments"]) == ([], [])
    assert (found["Date"], found["CurrencyCode"]) == (made["Date"], made["CurrencyCode"])
    assert found["LineItems"] == made["LineItems"]
    assert found["Contact"] == made["Contact"]
    assert found["Reference"] == "CRM-3"
    assert ("InvoiceNumber" in found) == (kind == "RECEIVE-PREPAYMENT")


@pytest.mark.parametrize("kind", ["RECEIVE", "SPEND"])
def test_plain_money_makes_none(sandbox_client: SandboxClient, kind: str) -> None:
    assert of(banked(sandbox_client, kind)) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_allocated_refunded_and_paid(sandbox_client: SandboxClient, kind: str) -> None:
    client = sandbox_client
    source = of(banked(client, kind, 50))
    due = fitting(client, kind, 100)
    made = allocate(client, source, due, 30)
    back = pay(client, source, 20)
    found = again(client, source)
    assert (found["RemainingCredit"], found["AppliedAmount"], found["Status"]) == (0, 30, "PAID")
    assert [one["AllocationID"] for one in found["Allocations"]] == [made["AllocationID"]]
    assert [one["PaymentID"] for one in found["Payments"]] == [back["PaymentID"]]
    assert client.errors("PUT", "Payments", payment(source, 1)) == [
        "Payment amount exceeds the amount outstanding on this document",
        "Payments can only be made against Authorised documents",
    ]
    undo(client, back)
    assert client.errors("PUT", "Payments", payment(source, "20.01")) == [
        "Payment amount exceeds the amount outstanding on this document"
    ]
    assert client.call("DELETE", f"{place(source)}/{made['AllocationID']}").json()["IsDeleted"]
    found = again(client, source)
    assert (found["RemainingCredit"], found["Status"]) == (50, "AUTHORISED")
    assert again(client, due)["AmountDue"] == 100


@pytest.mark.parametrize("kind", KINDS)
def test_deleting_the_bank_transaction_voids_it(sandbox_client: SandboxClient, kind: str) -> None:
    client = sandbox_client
    made = banked(client, kind, 50)
    due = fitting(client, kind, 100)
    used = allocate(client, of(made), due, 30)
    path = f"BankTransactions/{made['BankTransactionID']}"
    assert client.errors("POST", path, {"Status": "DELETED"}) == [BLOCKED]
    assert client.errors("POST", path, {"Url": "https://a.b/c"}) == [SETTLED]
    assert again(client, of(made))["Status"] == "AUTHORISED"
    client.call("DELETE", f"{place(of(made))}/{used['AllocationID']}")
    update(client, made, {"Status": "DELETED"})
    found = again(client, of(made))
    assert (found["Status"], found["RemainingCredit"]) == ("VOIDED", 0)
    body = {"Invoice": {"InvoiceID": due["InvoiceID"]}, "Amount": 1, "Date": "2026-10-05"}
    assert client.errors("PUT", place(of(made)), body)


@pytest.mark.parametrize("kind", KINDS)
def test_refunded_ones_hold_their_bank_transaction(
    sandbox_client: SandboxClient, kind: str
) -> None:
    client = sandbox_client
    made = banked(client, kind, 50)
    pay(client, of(made), 50)
    path = f"BankTransactions/{made['BankTransactionID']}"
    assert client.errors("POST", path, {"Status": "DELETED"}) == [BLOCKED]


@pytest.mark.parametrize("kind", KINDS)
def test_editing_the_bank_transaction_edits_it(sandbox_client: SandboxClient, kind: str) -> None:
    client = sandbox_client
    made = banked(client, kind, 50)
    code = made["LineItems"][0]["AccountCode"]
    changed = update(client, made, {"LineItems": [line(70, AccountCode=code)]})
    assert of(changed) == of(made)
    assert again(client, of(made))["RemainingCredit"] == 70


@pytest.mark.parametrize(
    ("plural", "kind"),
    [("Prepayments", "RECEIVE-PREPAYMENT"), ("Overpayments", "RECEIVE-OVERPAYMENT")],
)
def test_lists(sandbox_client: SandboxClient, plural: str, kind: str) -> None:
    client = sandbox_client
    who, reference = client.name("Payer"), client.name("Ref")
    one = of(banked(client, kind, 50, Contact={"Name": who}, Reference=reference))
    two = of(banked(client, kind, 60, Contact={"Name": who}))
    pay(client, two, 60)
    ids = [next(iter(made.values())) for made in (one, two)]

    def found(where: str = "Total>0", **more: Any) -> list[str]:
        params = {"where": f'Contact.Name=="{who}" AND ({where})'} | more
        answer = client.get(plural, params=params)
        assert answer.status_code == 200, answer.text
        return [one["ID"] for one in answer.json()[plural]]

    assert found() == ids
    assert found("RemainingCredit>0") == ids[:1]
    assert found('Status=="PAID"') == ids[1:]
    assert found(order="Total DESC", page=1, pageSize=1) == ids[1:]
    assert found(References=f'"{reference}"') == ids[:1]
    if plural == "Prepayments":
        assert found(InvoiceNumbers=reference) == ids[:1]
    whole = client.get(plural).json()
    assert all(member["LineItems"] == [] for member in whole[plural])
    page = client.get(plural, params={"page": 1}).json()
    assert page["pagination"]["itemCount"] == len(whole[plural])
    assert page[plural][0]["LineItems"]


@pytest.mark.parametrize("plural", ["Prepayments", "Overpayments"])
def test_they_are_only_read_at_their_own_address(
    sandbox_client: SandboxClient, plural: str
) -> None:
    assert sandbox_client.put(plural, {}).status_code == 405
    assert sandbox_client.post(plural, {}).status_code == 405
    assert sandbox_client.get(f"{plural}/{NOBODY}").status_code == 404


def test_tax_of_a_prepayment_is_kept(sandbox_client: SandboxClient) -> None:
    made = banked(sandbox_client, "RECEIVE-PREPAYMENT", 100, LineAmountTypes="Exclusive")
    found = again(sandbox_client, of(made))
    assert (found["SubTotal"], found["TotalTax"], found["RemainingCredit"]) == (100, 15, 115)
    assert found["LineItems"][0]["TaxType"] == "OUTPUT2"

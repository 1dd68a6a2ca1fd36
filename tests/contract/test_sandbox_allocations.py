"""Setting credit off against invoices in the local Xero, taking it back, and every refusal."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from .conftest import SandboxClient, exact
from .moneyflow import (
    DAY,
    NOBODY,
    again,
    allocate,
    allocation,
    banked,
    bill,
    credit,
    invoice,
    locked,
    pay,
    place,
    supplier_credit,
)

ZERO = "00000000-0000-0000-0000-000000000000"
SIDE = "Credit can only be allocated to an invoice of its own side"
STATUS = "Credit can only be allocated between Authorised documents"
CREDIT = "The amount exceeds the remaining credit"
DUE = "The amount exceeds the amount outstanding on the invoice"


def test_answer_names_both_sides(sandbox_client: SandboxClient) -> None:
    back, due = credit(sandbox_client, 100), invoice(sandbox_client, 100)
    made = allocate(sandbox_client, back, due, "60.5")
    assert made["AllocationID"] != ZERO
    assert made["Amount"] == D("60.5")
    assert made["Date"] == "/Date(1791158400000+0000)/"
    assert made["Invoice"]["InvoiceID"] == due["InvoiceID"]
    assert made["Invoice"]["InvoiceNumber"] == due["InvoiceNumber"]
    assert made["CreditNote"]["CreditNoteID"] == back["CreditNoteID"]
    assert made["ValidationErrors"] == []


@pytest.mark.parametrize("wrapped", [True, False])
def test_one_note_settles_several_invoices(sandbox_client: SandboxClient, wrapped: bool) -> None:
    client = sandbox_client
    back, dues = credit(client, 100), [invoice(client, 30), invoice(client, 50)]
    several: Any = [allocation(dues[0], 30), allocation(dues[1], 20), allocation(dues[1], 5)]
    answer = client.put(place(back), {"Allocations": several} if wrapped else several)
    assert answer.status_code == 200, answer.text
    assert [one["Amount"] for one in answer.json()["Allocations"]] == [30, 20, 5]
    assert [again(client, one)["AmountDue"] for one in dues] == [0, 25]
    found = again(client, back)
    assert (found["RemainingCredit"], found["AppliedAmount"]) == (45, 55)
    assert len(found["Allocations"]) == 3


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"Amount": None}, ["The Amount must be specified"]),
    ({"Amount": 0}, ["The Amount must be greater than zero"]),
    ({"Amount": "-5"}, ["The Amount must be greater than zero"]),
    ({"Date": None}, ["The Date must be specified"]),
    ({"Invoice": None}, ["An allocation must name the Invoice by its InvoiceID"]),
    ({"Invoice": {}}, ["An allocation must name the Invoice by its InvoiceID"]),
    (
        {"Invoice": {"InvoiceID": NOBODY}},
        ["An existing Invoice with the specified InvoiceID could not be found"],
    ),
    ({"Amount": "50.01"}, [DUE]),
    ({"Amount": "80.01"}, [DUE, CREDIT]),
]


@pytest.mark.parametrize(("fields", "messages"), REFUSED)
def test_allocation_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], messages: list[str]
) -> None:
    back, due = credit(sandbox_client, 80), invoice(sandbox_client, 50)
    body = allocation(due, 10) | fields
    assert sandbox_client.errors("PUT", place(back), body) == messages
    assert again(sandbox_client, due) == due
    assert again(sandbox_client, back) == back


def test_more_than_the_credit_is_refused(sandbox_client: SandboxClient) -> None:
    back, due = credit(sandbox_client, 30), invoice(sandbox_client, 50)
    assert sandbox_client.errors("PUT", place(back), allocation(due, 31)) == [CREDIT]
    pay(sandbox_client, back, 20)
    assert sandbox_client.errors("PUT", place(back), allocation(due, 11)) == [CREDIT]
    allocate(sandbox_client, back, due, 10)


def test_only_the_same_contact(sandbox_client: SandboxClient) -> None:
    other = {"Name": sandbox_client.name("Other")}
    back, due = credit(sandbox_client), invoice(sandbox_client, Contact=other)
    assert sandbox_client.errors("PUT", place(back), allocation(due, 1)) == [
        "Credit can only be allocated to an invoice of the same contact"
    ]


def test_only_the_same_currency(sandbox_client: SandboxClient) -> None:
    back, due = credit(sandbox_client), invoice(sandbox_client, CurrencyCode="AUD")
    assert sandbox_client.errors("PUT", place(back), allocation(due, 1)) == [
        "Credit can only be allocated to an invoice in the same currency"
    ]


def test_only_the_same_side(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    assert client.errors("PUT", place(credit(client)), allocation(bill(client), 1)) == [SIDE]
    owed = supplier_credit(client)
    assert client.errors("PUT", place(owed), allocation(invoice(client), 1)) == [SIDE]
    pre = {"PrepaymentID": banked(client, "SPEND-PREPAYMENT")["PrepaymentID"]}
    assert client.errors("PUT", place(pre), allocation(invoice(client), 1)) == [SIDE]
    over = {"OverpaymentID": banked(client, "RECEIVE-OVERPAYMENT")["OverpaymentID"]}
    assert client.errors("PUT", place(over), allocation(bill(client), 1)) == [SIDE]


@pytest.mark.parametrize("status", ["DRAFT", "SUBMITTED"])
def test_both_must_be_authorised(sandbox_client: SandboxClient, status: str) -> None:
    client = sandbox_client
    back, draft = credit(client, Status=status), invoice(client)
    assert client.errors("PUT", place(back), allocation(draft, 1)) == [STATUS, CREDIT]
    draft = client.created("Invoices", client.invoice(Status=status))
    assert client.errors("PUT", place(credit(client)), allocation(draft, 1)) == [STATUS, DUE]


def test_a_paid_invoice_and_a_used_note_take_none(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    back, due = credit(client, 100), invoice(client, 100)
    allocate(client, back, due, 100)
    assert client.errors("PUT", place(credit(client)), allocation(due, 1)) == [STATUS, DUE]
    more = invoice(client)
    assert client.errors("PUT", place(back), allocation(more, 1)) == [STATUS, CREDIT]


def test_all_or_none_unless_asked_otherwise(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    back, due = credit(client, 50), invoice(client, 100)
    batch = {"Allocations": [allocation(due, 30), allocation(due, 30)]}
    answer = client.put(place(back), batch)
    assert answer.status_code == 400
    first, second = answer.json()["Elements"]
    assert (first["AllocationID"], first["ValidationErrors"]) == (ZERO, [])
    assert second["ValidationErrors"] == [{"Message": CREDIT}]
    assert again(client, due)["AmountDue"] == 100
    answer = client.put(f"{place(back)}?summarizeErrors=False", batch)
    assert answer.status_code == 200
    first, second = answer.json()["Allocations"]
    assert (first["StatusAttributeString"], second["StatusAttributeString"]) == ("OK", "ERROR")
    assert again(client, due)["AmountDue"] == 70


def test_taking_one_back_answers_the_allocation_itself(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    back, due = credit(client, 100), invoice(client, 100)
    kept, gone = allocate(client, back, due, 40), allocate(client, back, due, 60)
    assert again(client, due)["Status"] == "PAID"
    answer = client.call("DELETE", f"{place(back)}/{gone['AllocationID']}")
    assert answer.status_code == 200
    body = exact(answer)
    assert (body["AllocationID"], body["IsDeleted"], body["Amount"]) == (
        gone["AllocationID"],
        True,
        60,
    )
    assert body["Invoice"]["InvoiceID"] == due["InvoiceID"]
    found = again(client, due)
    assert (found["AmountDue"], found["Status"]) == (60, "AUTHORISED")
    found = again(client, back)
    assert (found["RemainingCredit"], found["Status"]) == (60, "AUTHORISED")
    assert [one["AllocationID"] for one in found["Allocations"]] == [kept["AllocationID"]]


def test_what_is_not_there_is_404_or_405(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    back, due = credit(client), invoice(client)
    made = allocate(client, back, due, 1)
    path = f"{place(back)}/{made['AllocationID']}"
    assert client.call("DELETE", f"{place(credit(client))}/{made['AllocationID']}").status_code == (
        404
    )
    assert client.call("DELETE", f"{place(back)}/{NOBODY}").status_code == 404
    assert client.call("DELETE", f"{place(back)}/nonsense").status_code == 404
    assert client.call("DELETE", place(back)).status_code == 405
    assert client.get(place(back)).status_code == 405
    assert client.post(place(back), allocation(due, 1)).status_code == 405
    assert client.put(path, allocation(due, 1)).status_code == 405
    unknown = {"CreditNoteID": NOBODY}
    assert client.put(place(unknown), allocation(due, 1)).status_code == 404
    assert client.call("DELETE", path).status_code == 200
    assert client.call("DELETE", path).status_code == 404


def test_lock_date_counts_by_the_date_of_the_allocation(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    back, due = credit(client), invoice(client)
    made = allocate(client, back, due, 1)
    path = f"{place(back)}/{made['AllocationID']}"
    refused = ["The document date cannot be before the period lock date"]
    with locked(client, DAY):
        assert client.errors("PUT", place(back), allocation(due, 1)) == refused
        assert client.errors("DELETE", path, None) == refused
        late = allocation(due, 1, Date="2026-10-06")
        assert client.put(place(back), late).status_code == 200
    assert client.call("DELETE", path).status_code == 200


def test_the_same_key_allocates_once(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    back, due = credit(client), invoice(client)
    key = {"Idempotency-Key": client.name("key")}
    first = client.put(place(back), allocation(due, 10), headers=key)
    second = client.put(place(back), allocation(due, 10), headers=key)
    assert first.content == second.content
    assert again(client, due)["AmountDue"] == 90


def test_body_that_cannot_be_read_is_refused_whole(sandbox_client: SandboxClient) -> None:
    path = place(credit(sandbox_client))
    unreadable: list[object] = [{"Allocations": []}, [], "text", {"Allocations": "text"}]
    for body in unreadable:
        answer = sandbox_client.put(path, body)
        assert answer.status_code == 400
        assert answer.json()["Type"] == "PostDataInvalidException"

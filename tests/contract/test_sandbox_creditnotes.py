"""Credit notes of the local Xero: life, numbers, what they show and what they refuse."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from .conftest import SandboxClient, exact
from .moneyflow import (
    NOBODY,
    again,
    allocate,
    bill,
    credit,
    invoice,
    line,
    locked,
    note,
    pay,
    supplier_credit,
    undo,
)

SETTLED = "This document cannot be edited as it has a payment or credit note allocated to it."
BLOCKED = (
    "The status VOIDED cannot be applied to the invoice because it has payments or credit"
    " notes allocated to it."
)


def changed(client: SandboxClient, made: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"CreditNotes/{made['CreditNoteID']}", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = exact(answer)["CreditNotes"][0]
    return found


def test_a_credit_note_is_worked_out_like_an_invoice(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created(
        "CreditNotes",
        note(
            sandbox_client,
            Status="DRAFT",
            LineAmountTypes="Exclusive",
            LineItems=[line("25.06"), line("25.61"), line("25.63")],
            Reference="CRM-1",
        ),
    )
    assert (made["SubTotal"], made["TotalTax"], made["Total"]) == (
        D("76.30"),
        D("11.44"),
        D("87.74"),
    )
    assert made["RemainingCredit"] == D("87.74")
    assert (made["AppliedAmount"], made["Allocations"], made["Payments"]) == (0, [], [])
    assert made["LineItems"][0]["TaxType"] == "OUTPUT2"
    assert (made["Status"], made["Reference"], made["CurrencyCode"]) == ("DRAFT", "CRM-1", "NZD")
    assert made["DateString"] == "2026-10-02T00:00:00"
    assert made["HasErrors"] is False
    assert made["ID"] == made["CreditNoteID"]
    found = again(sandbox_client, made)
    assert found == made
    by_number = exact(sandbox_client.get(f"CreditNotes/{made['CreditNoteNumber'].lower()}"))
    assert by_number["CreditNotes"] == [found]


def test_suppliers_credit_takes_the_purchase_side(sandbox_client: SandboxClient) -> None:
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
    both = []
    for kind in ("ACCPAYCREDIT", "ACCRECCREDIT"):
        lines = [{"ItemCode": code, "Description": "x", "Quantity": 1}]
        made = credit(client, Type=kind, LineItems=lines, LineAmountTypes="Exclusive")
        both.append((made["SubTotal"], made["LineItems"][0]["TaxType"]))
    assert both == [(7, "INPUT2"), (9, "OUTPUT2")]


def test_number_is_given_to_customers_credit_notes(sandbox_client: SandboxClient) -> None:
    first = credit(sandbox_client, CreditNoteNumber=None)["CreditNoteNumber"]
    second = credit(sandbox_client, CreditNoteNumber=None)["CreditNoteNumber"]
    assert first.startswith("CN-")
    assert int(second[3:]) == int(first[3:]) + 1
    assert supplier_credit(sandbox_client, CreditNoteNumber=None)["CreditNoteNumber"] == ""


def test_number_is_unique_for_customers_only(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    made = credit(client)
    number = made["CreditNoteNumber"]
    taken = ["Credit Note # must be unique."]
    assert client.errors("PUT", "CreditNotes", note(client, CreditNoteNumber=number)) == taken
    updated = exact(client.post("CreditNotes", note(client, 50, CreditNoteNumber=number)))
    assert updated["CreditNotes"][0]["CreditNoteID"] == made["CreditNoteID"]
    assert updated["CreditNotes"][0]["RemainingCredit"] == 50
    supplier_credit(client, CreditNoteNumber=number)
    supplier_credit(client, CreditNoteNumber=number)
    # an invoice's numbers are another matter
    client.created("Invoices", client.invoice(InvoiceNumber=number))


def test_reference_belongs_to_customers(sandbox_client: SandboxClient) -> None:
    assert credit(sandbox_client, Reference="R")["Reference"] == "R"
    assert supplier_credit(sandbox_client, Reference="R")["Reference"] == ""


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"Type": "ACCREC"}, "The Type of a credit note must be ACCRECCREDIT or ACCPAYCREDIT"),
    ({"Type": None}, "The Type of a credit note must be ACCRECCREDIT or ACCPAYCREDIT"),
    ({"Status": "PAID"}, "Credit Note not of valid status for creation"),
    ({"Status": "VOIDED"}, "Credit Note not of valid status for creation"),
    ({"LineItems": []}, "One or more line items must be specified"),
    ({"Contact": None}, "A Contact must be specified for this type of transaction"),
    (
        {"LineItems": [line(10, DiscountRate=5)]},
        "Discounts can only be applied to ACCREC invoices",
    ),
    (
        {"LineItems": [line(10, AccountCode="999")]},
        "Account code '999' is not a valid code for this document.",
    ),
    (
        {"LineItems": [line(10, AccountCode=None)]},
        "An account code must be specified for each line of an approved invoice",
    ),
    ({"CurrencyCode": "EUR"}, "Organisation is not subscribed to currency EUR"),
    ({"CreditNoteNumber": "n" * 256}, "The CreditNoteNumber must not exceed 255 characters"),
    ({"Reference": "n" * 256}, "The Reference must not exceed 255 characters"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_credit_note_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], message: str
) -> None:
    body = note(sandbox_client, **fields)
    assert sandbox_client.errors("PUT", "CreditNotes", body) == [message]


def test_unknown_id_has_xeros_words(sandbox_client: SandboxClient) -> None:
    body = note(sandbox_client, CreditNoteID=NOBODY)
    assert sandbox_client.errors("POST", "CreditNotes", body) == [
        "An existing Credit Note with the specified CreditNoteID could not be found"
    ]
    assert sandbox_client.get(f"CreditNotes/{NOBODY}").status_code == 404


LEGAL = {
    "DRAFT": {"DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"},
    "SUBMITTED": {"DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"},
    "AUTHORISED": {"AUTHORISED", "VOIDED"},
    "DELETED": set(),
    "VOIDED": set(),
}
STATES = ("DRAFT", "SUBMITTED", "AUTHORISED", "PAID", "DELETED", "VOIDED")


@pytest.mark.parametrize("before", LEGAL)
@pytest.mark.parametrize("after", STATES)
def test_changes_of_status(sandbox_client: SandboxClient, before: str, after: str) -> None:
    start = {"DELETED": "DRAFT", "VOIDED": "AUTHORISED"}.get(before, before)
    made = credit(sandbox_client, Status=start)
    if start != before:
        changed(sandbox_client, made, {"Status": before})
    if after in LEGAL[before]:
        assert changed(sandbox_client, made, {"Status": after})["Status"] == after
    else:
        path = f"CreditNotes/{made['CreditNoteID']}"
        assert sandbox_client.errors("POST", path, {"Status": after}) == [
            "Credit Note not of valid status for modification"
        ]


def test_a_voided_one_has_no_credit_left(sandbox_client: SandboxClient) -> None:
    made = credit(sandbox_client, 100)
    assert changed(sandbox_client, made, {"Status": "VOIDED"})["RemainingCredit"] == 0


def test_an_unused_one_may_be_edited(sandbox_client: SandboxClient) -> None:
    made = credit(sandbox_client, 100)
    found = changed(sandbox_client, made, {"LineItems": [line(70)], "SentToContact": True})
    assert (found["RemainingCredit"], found["Total"]) == (70, 70)
    assert found["SentToContact"] is True


@pytest.mark.parametrize("amount", [40, 100])
@pytest.mark.parametrize("how", ["allocated", "refunded"])
def test_a_used_one_is_neither_edited_nor_voided(
    sandbox_client: SandboxClient, amount: int, how: str
) -> None:
    client = sandbox_client
    made = credit(client, 100)
    if how == "allocated":
        allocate(client, made, invoice(client, 100), amount)
    else:
        back = pay(client, made, amount)
    found = again(client, made)
    assert found["RemainingCredit"] == 100 - amount
    assert found["Status"] == ("PAID" if amount == 100 else "AUTHORISED")
    assert ("FullyPaidOnDate" in found) == (amount == 100)
    path = f"CreditNotes/{made['CreditNoteID']}"
    for body in ({"Reference": "new"}, {"LineItems": [line(70)]}, {}):
        assert client.errors("POST", path, body) == [SETTLED]
    assert client.errors("POST", path, {"Status": "VOIDED"}) == [BLOCKED]
    assert again(client, made) == found
    if how == "refunded":
        undo(client, back)
        assert changed(client, made, {"Status": "VOIDED"})["Status"] == "VOIDED"


def test_it_shows_what_became_of_it(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    made, due = credit(client, 100), invoice(client, 100)
    part = allocate(client, made, due, 60)
    back = pay(client, made, 40, Reference="refund")
    found = again(client, made)
    assert (found["RemainingCredit"], found["AppliedAmount"], found["Status"]) == (0, 60, "PAID")
    (one,) = found["Allocations"]
    assert (one["AllocationID"], one["Amount"]) == (part["AllocationID"], 60)
    assert one["Date"] == "/Date(1791158400000+0000)/"
    assert one["Invoice"]["InvoiceNumber"] == due["InvoiceNumber"]
    (two,) = found["Payments"]
    assert (two["PaymentID"], two["Amount"], two["Reference"]) == (back["PaymentID"], 40, "refund")


def test_lists_leave_out_lines_and_take_filters(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    who = client.name("Creditor")
    used, unused = (credit(client, 100, Contact={"Name": who}) for _ in range(2))
    pay(client, used, 100)
    draft = credit(client, 20, Contact={"Name": who}, Status="DRAFT")
    owed = supplier_credit(client, 30, Contact={"Name": who})

    def found(where: str = "Total>0", **more: Any) -> list[str]:
        scope = f'Contact.Name=="{who}" AND ({where})'
        answer = client.get("CreditNotes", params={"where": scope} | more)
        assert answer.status_code == 200, answer.text
        return [one["CreditNoteID"] for one in answer.json()["CreditNotes"]]

    ids = [one["CreditNoteID"] for one in (used, unused, draft, owed)]
    assert found() == ids
    assert found("RemainingCredit>0") == ids[1:]
    assert found('Status=="PAID"') == ids[:1]
    assert found('Type=="ACCPAYCREDIT"') == ids[3:]
    assert found(f'CreditNoteNumber=="{unused["CreditNoteNumber"]}"') == ids[1:2]
    assert found(order="Total ASC", page=1, pageSize=2) == [ids[2], ids[3]]
    whole = client.get("CreditNotes").json()
    assert "pagination" not in whole
    assert all(one["LineItems"] == [] for one in whole["CreditNotes"])
    page = client.get("CreditNotes", params={"page": 1}).json()
    assert page["pagination"]["itemCount"] == len(whole["CreditNotes"])
    assert all(one["LineItems"] for one in page["CreditNotes"])


def test_good_ones_of_a_mixed_batch_are_kept_on_request(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    batch = {"CreditNotes": [note(client), note(client, Status="PAID")]}
    answer = client.put("CreditNotes", batch)
    assert answer.status_code == 400
    assert [one["HasErrors"] for one in answer.json()["Elements"]] == [False, True]
    answer = client.put("CreditNotes?summarizeErrors=false", batch)
    assert [one["StatusAttributeString"] for one in answer.json()["CreditNotes"]] == [
        "OK",
        "ERROR",
    ]


def test_lock_date_stops_credit_notes(sandbox_client: SandboxClient) -> None:
    made = credit(sandbox_client)
    refused = ["The document date cannot be before the period lock date"]
    with locked(sandbox_client, "2026-10-02"):
        assert sandbox_client.errors("PUT", "CreditNotes", note(sandbox_client)) == refused
        path = f"CreditNotes/{made['CreditNoteID']}"
        assert sandbox_client.errors("POST", path, {"Status": "VOIDED"}) == refused


def test_the_invoices_scope_is_needed(sandbox_client: SandboxClient) -> None:
    token = sandbox_client.token(scope="accounting.payments accounting.contacts")
    header = {"Authorization": f"Bearer {token['access_token']}"}
    assert sandbox_client.get("CreditNotes", headers=header).status_code == 401
    made, due = credit(sandbox_client), invoice(sandbox_client)
    path = f"CreditNotes/{made['CreditNoteID']}/Allocations"
    body = {"Invoice": {"InvoiceID": due["InvoiceID"]}, "Amount": 1, "Date": "2026-10-05"}
    assert sandbox_client.put(path, body, headers=header).status_code == 401
    assert sandbox_client.put(path, body).status_code == 200


def test_suppliers_credit_goes_to_a_bill(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    made, owed = supplier_credit(client, 60), bill(client, 60)
    allocate(client, made, owed, 60)
    assert again(client, owed)["Status"] == "PAID"
    assert again(client, made)["Status"] == "PAID"

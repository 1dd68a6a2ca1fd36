"""What payments and credit do to documents in the local Xero, and what these then refuse."""

from __future__ import annotations

import time
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import SandboxClient, exact
from .moneyflow import (
    DAY,
    again,
    allocate,
    allocation,
    banked,
    bill,
    credit,
    invoice,
    line,
    locked,
    pay,
    payment,
    place,
    undo,
)

SETTLED = "This document cannot be edited as it has a payment or credit note allocated to it."


def blocked(status: str) -> str:
    return (
        f"The status {status} cannot be applied to the invoice because it has payments or credit"
        " notes allocated to it."
    )


def figures(document: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(document[f] for f in ("AmountDue", "AmountPaid", "AmountCredited", "Status"))


# figures


def test_new_invoice_owes_its_total(sandbox_client: SandboxClient) -> None:
    due = invoice(sandbox_client, 100)
    assert figures(due) == (100, 0, 0, "AUTHORISED")
    draft = sandbox_client.created("Invoices", sandbox_client.invoice())
    assert figures(draft) == (D("11.50"), 0, 0, "DRAFT")
    assert (due["Payments"], due["CreditNotes"]) == ([], [])
    assert "FullyPaidOnDate" not in due


def test_part_payments_lead_to_paid_and_back(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due = invoice(client, 100)
    first = pay(client, due, 30, Date="2026-10-20", Reference="one")
    assert figures(again(client, due)) == (70, 30, 0, "AUTHORISED")
    second = pay(client, due, 70, Date="2026-10-10")
    found = again(client, due)
    assert figures(found) == (0, 100, 0, "PAID")
    # dated by the latest payment, not by the one made last
    assert found["FullyPaidOnDate"] == "/Date(1792454400000+0000)/"
    assert [one["PaymentID"] for one in found["Payments"]] == [
        first["PaymentID"],
        second["PaymentID"],
    ]
    assert found["Payments"][0] == {
        "PaymentID": first["PaymentID"],
        "Date": first["Date"],
        "Amount": 30,
        "Reference": "one",
        "CurrencyRate": 1,
        "HasAccount": False,
        "HasValidationErrors": False,
    }
    undo(client, first)
    found = again(client, due)
    assert figures(found) == (30, 70, 0, "AUTHORISED")
    assert "FullyPaidOnDate" not in found
    assert [one["PaymentID"] for one in found["Payments"]] == [second["PaymentID"]]


def test_bills_are_settled_alike(sandbox_client: SandboxClient) -> None:
    owed = bill(sandbox_client, 80)
    pay(sandbox_client, owed, 80)
    assert figures(again(sandbox_client, owed)) == (0, 80, 0, "PAID")


def test_credit_counts_apart_from_payments(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due, back = invoice(client, 100), credit(client, 50)
    pre, over = banked(client, "RECEIVE-PREPAYMENT", 20), banked(client, "RECEIVE-OVERPAYMENT", 10)
    allocate(client, back, due, 50)
    allocate(client, {"PrepaymentID": pre["PrepaymentID"]}, due, 20)
    allocate(client, {"OverpaymentID": over["OverpaymentID"]}, due, 5)
    pay(client, due, 5)
    found = again(client, due)
    assert figures(found) == (20, 5, 75, "AUTHORISED")
    (one,) = found["CreditNotes"]
    assert one == {
        "CreditNoteID": back["CreditNoteID"],
        "ID": back["CreditNoteID"],
        "CreditNoteNumber": back["CreditNoteNumber"],
        "HasErrors": False,
        "AppliedAmount": 50,
        "DateString": f"{DAY}T00:00:00",
        "Date": "/Date(1791158400000+0000)/",
        "LineItems": [],
        "Total": 50,
    }
    assert [one["AppliedAmount"] for one in found["Prepayments"]] == [20]
    assert found["Prepayments"][0]["PrepaymentID"] == pre["PrepaymentID"]
    assert [one["AppliedAmount"] for one in found["Overpayments"]] == [5]


def test_nothing_to_pay_is_not_paid(sandbox_client: SandboxClient) -> None:
    due = invoice(sandbox_client, 0)
    assert figures(due) == (0, 0, 0, "AUTHORISED")
    assert "FullyPaidOnDate" not in due


def test_a_voided_invoice_owes_nothing(sandbox_client: SandboxClient) -> None:
    due = invoice(sandbox_client, 100)
    path = f"Invoices/{due['InvoiceID']}"
    found = exact(sandbox_client.post(path, {"Status": "VOIDED"}))["Invoices"][0]
    assert figures(found) == (0, 0, 0, "VOIDED")


def test_figures_can_be_asked_for(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    who = client.name("Debtor")
    part, full, none = (invoice(client, 100, Contact={"Name": who}) for _ in range(3))
    pay(client, part, "0.10")
    pay(client, full, 100)

    def found(where: str) -> list[str]:
        where = f'Contact.Name=="{who}" AND {where}'
        answer = client.get("Invoices", params={"where": where})
        assert answer.status_code == 200, answer.text
        return [one["InvoiceID"] for one in answer.json()["Invoices"]]

    ids = [one["InvoiceID"] for one in (part, full, none)]
    assert found("AmountDue>0") == [ids[0], ids[2]]
    assert found("AmountDue==99.90") == [ids[0]]
    assert found("AmountDue==0") == [ids[1]]
    assert found("AmountPaid>0") == ids[:2]
    assert found("AmountPaid==0.1") == [ids[0]]
    assert found("AmountCredited>0") == []
    assert found('Status=="PAID"') == [ids[1]]
    assert found("FullyPaidOnDate==DateTime(2026,10,5)") == [ids[1]]


def test_summary_leaves_out_what_has_to_be_gathered(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due = invoice(client, 100)
    pay(client, due, 40)
    query = {"IDs": due["InvoiceID"], "summaryOnly": "true"}
    (one,) = exact(client.get("Invoices", params=query))["Invoices"]
    assert (one["LineItems"], one["Payments"]) == ([], [])
    assert one["AmountDue"] == 60
    (one,) = exact(client.get("Invoices", params=query | {"summaryOnly": "false"}))["Invoices"]
    assert len(one["Payments"]) == 1


def test_a_payment_touches_its_document(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due, back = invoice(client, 100), credit(client, 100)
    for act in (
        lambda: pay(client, due, 10),
        lambda: allocate(client, back, due, 10),
        lambda: undo(client, pay(client, due, 10)),
    ):
        before = again(client, due)["UpdatedDateUTC"]
        time.sleep(0.002)
        act()
        assert again(client, due)["UpdatedDateUTC"] != before
    assert again(client, back)["UpdatedDateUTC"] != back["UpdatedDateUTC"]


def test_foreign_invoice_is_settled_in_its_currency(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due = invoice(client, 100, CurrencyCode="AUD", CurrencyRate="0.9")
    back = credit(client, 30, CurrencyCode="AUD")
    allocate(client, back, due, 30)
    pay(client, due, 70, CurrencyRate="0.5")
    assert figures(again(client, due)) == (0, 70, 30, "PAID")


# edit rules


def change(client: SandboxClient, document: dict[str, Any], body: dict[str, Any]) -> Any:
    answer = client.post(f"Invoices/{document['InvoiceID']}", body)
    assert answer.status_code == 200, answer.text
    return exact(answer)["Invoices"][0]


@pytest.mark.parametrize("make", [invoice, bill])
def test_unpaid_invoices_may_be_edited(sandbox_client: SandboxClient, make: Any) -> None:
    due = make(sandbox_client, 100)
    code = due["LineItems"][0]["AccountCode"]
    found = change(
        sandbox_client,
        due,
        {"Date": "2026-10-02", "LineItems": [line(55, AccountCode=code)], "Url": "https://a.b/c"},
    )
    assert (found["AmountDue"], found["Total"]) == (55, 55)


def settled_invoice(client: SandboxClient, how: str) -> dict[str, Any]:
    due = invoice(client, 100, Reference="old")
    if how == "credited":
        allocate(client, credit(client, 50), due, 40)
    else:
        pay(client, due, 100 if how == "paid" else 40)
    return again(client, due)


FREE: list[dict[str, Any]] = [
    {"Reference": "new"},
    {"DueDate": "2026-12-24"},
    {"Url": "https://crm.example.com/1"},
    {"SentToContact": True},
    {},
    {"Type": "ACCREC", "Date": "2026-10-01", "CurrencyCode": "NZD", "LineAmountTypes": "NoTax"},
    {"Status": "AUTHORISED"},
]


@pytest.mark.parametrize("how", ["part", "paid", "credited"])
@pytest.mark.parametrize("body", FREE)
def test_a_settled_sales_invoice_still_takes(
    sandbox_client: SandboxClient, how: str, body: dict[str, Any]
) -> None:
    due = settled_invoice(sandbox_client, how)
    found = change(sandbox_client, due, body)
    assert figures(found) == figures(due)
    for field, value in body.items():
        if field in ("Reference", "Url", "SentToContact"):
            assert found[field] == value
    if "DueDate" in body:
        assert found["DueDateString"] == "2026-12-24T00:00:00"
    assert found["Payments"] == due["Payments"]


def test_a_settled_sales_invoice_takes_a_new_number_and_contact(
    sandbox_client: SandboxClient,
) -> None:
    client = sandbox_client
    due = settled_invoice(client, "part")
    number, who = client.name("R"), client.name("Someone")
    found = change(client, due, {"InvoiceNumber": number, "Contact": {"Name": who}})
    assert (found["InvoiceNumber"], found["Contact"]["Name"]) == (number, who)
    theme = client.get("BrandingThemes").json()["BrandingThemes"][0]["BrandingThemeID"]
    assert change(client, due, {"BrandingThemeID": theme})["BrandingThemeID"] == theme
    taken = invoice(client)["InvoiceNumber"]
    path = f"Invoices/{due['InvoiceID']}"
    assert client.errors("POST", path, {"InvoiceNumber": taken}) == ["Invoice # must be unique."]


def test_a_settled_foreign_invoice_keeps_its_rate(sandbox_client: SandboxClient) -> None:
    due = invoice(sandbox_client, CurrencyCode="AUD", CurrencyRate="0.9")
    pay(sandbox_client, due, 1)
    found = change(sandbox_client, due, {"CurrencyCode": "AUD", "Reference": "new"})
    assert found["CurrencyRate"] == D("0.9")
    path = f"Invoices/{due['InvoiceID']}"
    assert sandbox_client.errors("POST", path, {"CurrencyRate": "0.8"}) == [SETTLED]


def test_a_credited_invoice_keeps_its_contact(sandbox_client: SandboxClient) -> None:
    due = settled_invoice(sandbox_client, "credited")
    path = f"Invoices/{due['InvoiceID']}"
    for name in (sandbox_client.name("Nobody"), "Harbour Cafe 2"):
        body = {"Contact": {"Name": name}}
        assert sandbox_client.errors("POST", path, body) == [SETTLED]
    same = {"Contact": {"ContactID": due["Contact"]["ContactID"]}}
    assert change(sandbox_client, due, same)["Contact"]["Name"] == "Harbour Cafe"


@pytest.mark.parametrize("how", ["part", "paid", "credited"])
def test_lines_of_a_settled_invoice_take_words_account_and_tracking(
    sandbox_client: SandboxClient, how: str
) -> None:
    due = settled_invoice(sandbox_client, how)
    (old,) = due["LineItems"]
    sent = {
        "LineItemID": old["LineItemID"],
        "Description": "Better words",
        "AccountCode": "260",
    }
    (found,) = change(sandbox_client, due, {"LineItems": [sent]})["LineItems"]
    assert (found["Description"], found["AccountCode"]) == ("Better words", "260")
    for field in ("Quantity", "UnitAmount", "LineAmount", "TaxAmount", "TaxType"):
        assert found[field] == old[field]


def test_what_was_read_of_a_paid_invoice_can_be_sent_back(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    made = client.created(
        "Invoices?unitdp=4",
        client.invoice(
            Status="AUTHORISED",
            DueDate="2026-11-01",
            LineItems=[
                line("1.2345", Quantity="3.5", TaxAmount="0.77"),
                line(10, DiscountRate="12.5"),
                line(10, DiscountAmount="2"),
            ],
        ),
    )
    pay(client, made, 1)
    due = again(client, made)
    answer = client.call(
        "POST",
        f"Invoices/{due['InvoiceID']}?unitdp=4",
        data=client.get(f"Invoices/{due['InvoiceID']}?unitdp=4").text.replace("Coffee", "Tea"),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    found = exact(client.get(f"Invoices/{due['InvoiceID']}?unitdp=4"))["Invoices"][0]
    assert {one["Description"] for one in found["LineItems"]} == {"Tea"}
    assert found["LineItems"][0]["UnitAmount"] == D("1.2345")
    assert found["LineItems"][0]["TaxAmount"] == D("0.77")
    assert (found["Total"], found["AmountDue"]) == (due["Total"], due["AmountDue"])


FIXED: list[dict[str, Any]] = [
    {"Date": "2026-10-02"},
    {"LineAmountTypes": "Exclusive"},
    {"CurrencyCode": "AUD"},
    {"ExpectedPaymentDate": "2026-12-01"},
    {"LineItems": [line(100)]},
    {"LineItems": [line(99)]},
]


@pytest.mark.parametrize("how", ["part", "paid", "credited"])
@pytest.mark.parametrize("body", FIXED)
def test_a_settled_sales_invoice_refuses(
    sandbox_client: SandboxClient, how: str, body: dict[str, Any]
) -> None:
    due = settled_invoice(sandbox_client, how)
    path = f"Invoices/{due['InvoiceID']}"
    assert sandbox_client.errors("POST", path, body) == [SETTLED]
    assert again(sandbox_client, due) == due


@pytest.mark.parametrize(
    "part",
    [
        {"UnitAmount": 99},
        {"Quantity": 2},
        {"LineAmount": 100, "UnitAmount": 50, "Quantity": 2},
        {"TaxType": "ZERORATED"},
        {"DiscountRate": 10},
        {"TaxAmount": 1},
    ],
)
def test_lines_of_a_settled_invoice_refuse_other_figures(
    sandbox_client: SandboxClient, part: dict[str, Any]
) -> None:
    due = settled_invoice(sandbox_client, "part")
    sent = {"LineItemID": due["LineItems"][0]["LineItemID"]} | part
    path = f"Invoices/{due['InvoiceID']}"
    assert sandbox_client.errors("POST", path, {"LineItems": [sent]}) == [SETTLED]
    two = [{"LineItemID": sent["LineItemID"]}, line(0)]
    assert sandbox_client.errors("POST", path, {"LineItems": two}) == [SETTLED]


@pytest.mark.parametrize("body", [*FREE, *FIXED])
@pytest.mark.parametrize("amount", [40, 100])
def test_a_settled_bill_refuses_everything(
    sandbox_client: SandboxClient, amount: int, body: dict[str, Any]
) -> None:
    owed = bill(sandbox_client, 100)
    pay(sandbox_client, owed, amount)
    path = f"Invoices/{owed['InvoiceID']}"
    assert SETTLED in sandbox_client.errors("POST", path, body)


@pytest.mark.parametrize("make", [invoice, bill])
@pytest.mark.parametrize("amount", [40, 100])
def test_settled_invoices_are_not_voided(
    sandbox_client: SandboxClient, make: Any, amount: int
) -> None:
    client = sandbox_client
    due = make(client, 100)
    made = pay(client, due, amount)
    path = f"Invoices/{due['InvoiceID']}"
    assert client.errors("POST", path, {"Status": "VOIDED"}) == [blocked("VOIDED")]
    for status in ("DELETED", "DRAFT", "SUBMITTED"):
        assert blocked(status) in client.errors("POST", path, {"Status": status})
    undo(client, made)
    assert change(client, due, {"Status": "VOIDED"})["Status"] == "VOIDED"


def test_credited_invoices_are_not_voided(sandbox_client: SandboxClient) -> None:
    due = settled_invoice(sandbox_client, "credited")
    path = f"Invoices/{due['InvoiceID']}"
    assert sandbox_client.errors("POST", path, {"Status": "VOIDED"}) == [blocked("VOIDED")]


def test_nobody_can_say_that_an_invoice_is_paid(sandbox_client: SandboxClient) -> None:
    due = invoice(sandbox_client, 100)
    pay(sandbox_client, due, 40)
    path = f"Invoices/{due['InvoiceID']}"
    assert sandbox_client.errors("POST", path, {"Status": "PAID"}) == [
        "Invoice not of valid status for modification"
    ]


def test_in_a_locked_period_nothing_may_be_edited(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due = settled_invoice(client, "part")
    path = f"Invoices/{due['InvoiceID']}"
    with locked(client, "2026-10-01"):
        assert client.errors("POST", path, {"Reference": "new"}) == [
            "The document date cannot be before the period lock date"
        ]


def test_due_date_of_a_part_paid_invoice_leaves_the_time_of_change(
    sandbox_client: SandboxClient,
) -> None:
    client = sandbox_client
    due = settled_invoice(client, "part")
    time.sleep(0.002)
    found = change(client, due, {"DueDate": "2026-12-01", "SentToContact": True})
    assert found["UpdatedDateUTC"] == due["UpdatedDateUTC"]
    found = change(client, due, {"DueDate": "2026-12-02", "Reference": "touched"})
    assert found["UpdatedDateUTC"] != due["UpdatedDateUTC"]
    unpaid = invoice(client)
    time.sleep(0.002)
    found = change(client, unpaid, {"DueDate": "2026-12-01"})
    assert found["UpdatedDateUTC"] != unpaid["UpdatedDateUTC"]


# whatever happens, the figures agree

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pay", "refund", "credit", "take back", "undo", "edit", "void"]),
        st.integers(0, 1),
        st.decimals("0.01", "60", places=2),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_figures_agree_after_any_sequence(
    sandbox_client: SandboxClient, steps: list[tuple[str, int, D]]
) -> None:
    client = sandbox_client
    dues = [invoice(client, "60.00"), invoice(client, "33.33")]
    back = credit(client, "50.00")
    payments: list[tuple[dict[str, Any], D]] = []
    allocations: list[tuple[str, int, D]] = []
    paid, credited, refunded = [D(0), D(0)], [D(0), D(0)], D(0)

    def left(which: int) -> D:
        total: D = dues[which]["Total"] - paid[which] - credited[which]
        return total

    for step, which, amount in steps:
        due = dues[which]
        credit_left = D(50) - refunded - sum(credited)
        if step == "pay":
            answer = client.put("Payments", payment(due, str(amount)))
            assert answer.ok == (amount <= left(which))
            if answer.ok:
                paid[which] += amount
                payments.append((exact(answer)["Payments"][0], amount))
        elif step == "refund":
            answer = client.put("Payments", payment(back, str(amount)))
            assert answer.ok == (amount <= credit_left)
            if answer.ok:
                refunded += amount
                payments.append((exact(answer)["Payments"][0], amount))
        elif step == "credit":
            answer = client.put(place(back), allocation(due, str(amount)))
            assert answer.ok == (amount <= min(left(which), credit_left))
            if answer.ok:
                credited[which] += amount
                made = exact(answer)["Allocations"][0]["AllocationID"]
                allocations.append((made, which, amount))
        elif step == "take back" and allocations:
            gone, at, taken = allocations.pop()
            assert client.call("DELETE", f"{place(back)}/{gone}").ok
            credited[at] -= taken
        elif step == "undo" and payments:
            last, taken = payments.pop(0)
            undo(client, last)
            document = last["Invoice"]["InvoiceID"]
            if document == back["CreditNoteID"]:
                refunded -= taken
            else:
                paid[[one["InvoiceID"] for one in dues].index(document)] -= taken
        elif step == "edit":
            body = {"LineItems": [line(str(due["Total"]))]}
            answer = client.post(f"Invoices/{due['InvoiceID']}", body)
            assert answer.ok == (paid[which] + credited[which] == 0)
        elif step == "void" and paid[which] + credited[which]:
            assert not client.post(f"Invoices/{due['InvoiceID']}", {"Status": "VOIDED"}).ok

        for at, one in enumerate(dues):
            found = again(client, one)
            assert (
                found["AmountDue"]
                == found["Total"] - found["AmountPaid"] - (found["AmountCredited"])
            )
            assert (found["AmountPaid"], found["AmountCredited"]) == (paid[at], credited[at])
            assert found["AmountDue"] >= 0
            assert (found["Status"] == "PAID") == (found["AmountDue"] == 0)
            assert ("FullyPaidOnDate" in found) == (found["Status"] == "PAID")
            assert sum(p["Amount"] for p in found["Payments"]) == paid[at]
            assert sum(c["AppliedAmount"] for c in found["CreditNotes"]) == credited[at]
        found = again(client, back)
        assert found["RemainingCredit"] == found["Total"] - refunded - sum(credited) >= 0
        assert found["AppliedAmount"] == sum(credited)
        assert sum(a["Amount"] for a in found["Allocations"]) == sum(credited)
        assert sum(p["Amount"] for p in found["Payments"]) == refunded
        assert (found["Status"] == "PAID") == (found["RemainingCredit"] == 0)

"""Xero's own SDK and Xero's own description on everything that moves money in the local Xero."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D
from typing import Any
from uuid import uuid4

import pytest

from . import test_sandbox_schema as schema
from .conftest import SandboxClient
from .moneyflow import (
    allocate,
    allocation,
    banked,
    bill,
    credit,
    invoice,
    note,
    pay,
    payment,
    place,
    transaction,
)
from .test_sandbox_sdk import accounting, api, api_client, tenant  # noqa: F401

DAY = dt.date(2026, 10, 5)


def _line(amount: int, code: str = "200") -> Any:
    return accounting.LineItem(
        description="Coffee", quantity=1, unit_amount=amount, account_code=code, tax_type="NONE"
    )


def _due(api: Any, tenant: str, contact: Any, amount: int) -> Any:  # noqa: F811
    made = accounting.Invoice(
        type="ACCREC",
        contact=contact,
        date=dt.date(2026, 10, 1),
        due_date=dt.date(2026, 11, 1),
        status="AUTHORISED",
        line_items=[_line(amount)],
    )
    return api.create_invoices(tenant, accounting.Invoices(invoices=[made])).invoices[0]


def test_payments(api: Any, tenant: str) -> None:  # noqa: F811
    due = _due(api, tenant, accounting.Contact(name=f"SDK {uuid4()}"), 100)

    def body(amount: float) -> Any:
        return accounting.Payment(
            invoice=accounting.Invoice(invoice_id=due.invoice_id),
            account=accounting.Account(code="090"),
            date=DAY,
            amount=amount,
            reference="SDK",
        )

    one = api.create_payment(tenant, body(30)).payments[0]
    assert one.payment_type == "ACCRECPAYMENT"
    assert (one.date, one.amount, one.bank_amount) == (DAY, D(30), D(30))
    assert (one.invoice.amount_due, one.invoice.invoice_id) == (70, due.invoice_id)
    several = accounting.Payments(payments=[body(60), body(10)])
    two, three = api.create_payments(tenant, several, idempotency_key=str(uuid4())).payments
    found = api.get_invoice(tenant, due.invoice_id).invoices[0]
    assert (found.status, found.amount_due, found.amount_paid) == ("PAID", 0, 100)
    assert found.fully_paid_on_date == DAY
    assert [p.payment_id for p in found.payments] == [p.payment_id for p in (one, two, three)]
    gone = api.delete_payment(
        tenant, two.payment_id, accounting.PaymentDelete(status="DELETED")
    ).payments[0]
    assert gone.status == "DELETED"
    read = api.get_payment(tenant, one.payment_id).payments[0]
    assert (read.reference, read.account.code) == ("SDK", "090")
    where = f'Invoice.InvoiceID==Guid("{due.invoice_id}")'
    listed = api.get_payments(tenant, where=where, order="Amount DESC", page=1)
    assert [p.amount for p in listed.payments] == [60, 30, 10]
    since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    assert api.get_payments(tenant, if_modified_since=since, where=where).payments


def test_credit_notes_and_allocations(api: Any, tenant: str) -> None:  # noqa: F811
    contact = accounting.Contact(name=f"SDK {uuid4()}")
    due = _due(api, tenant, contact, 100)
    body = accounting.CreditNote(
        type="ACCRECCREDIT", contact=contact, date=DAY, line_items=[_line(40)]
    )
    made = api.create_credit_notes(
        tenant, accounting.CreditNotes(credit_notes=[body])
    ).credit_notes[0]
    assert (made.status, made.remaining_credit) == ("DRAFT", 40)
    approved = accounting.CreditNote(status="AUTHORISED")
    made = api.update_credit_note(
        tenant, made.credit_note_id, accounting.CreditNotes(credit_notes=[approved])
    ).credit_notes[0]
    assert made.status == "AUTHORISED"
    named = accounting.CreditNote(
        credit_note_id=made.credit_note_id, type="ACCRECCREDIT", reference="SDK"
    )
    api.update_or_create_credit_notes(tenant, accounting.CreditNotes(credit_notes=[named]))
    wanted = accounting.Allocation(
        invoice=accounting.Invoice(invoice_id=due.invoice_id), amount=40, date=DAY
    )
    allocated = api.create_credit_note_allocation(
        tenant, made.credit_note_id, accounting.Allocations(allocations=[wanted])
    ).allocations[0]
    found = api.get_credit_note(tenant, made.credit_note_id).credit_notes[0]
    assert (found.status, found.remaining_credit, found.reference) == ("PAID", 0, "SDK")
    assert found.allocations[0].allocation_id == allocated.allocation_id
    assert api.get_invoice(tenant, due.invoice_id).invoices[0].amount_credited == 40
    gone = api.delete_credit_note_allocations(tenant, made.credit_note_id, allocated.allocation_id)
    assert gone.is_deleted is True
    assert gone.allocation_id == allocated.allocation_id
    listed = api.get_credit_notes(tenant, where='Status=="AUTHORISED"', page=1).credit_notes
    assert made.credit_note_id in {one.credit_note_id for one in listed}


@pytest.mark.parametrize("word", ["prepayment", "overpayment"])
def test_bank_transactions_and_what_they_make(api: Any, tenant: str, word: str) -> None:  # noqa: F811
    contact = accounting.Contact(name=f"SDK {uuid4()}")
    due = _due(api, tenant, contact, 100)
    body = accounting.BankTransaction(
        type=f"RECEIVE-{word.upper()}",
        contact=contact,
        bank_account=accounting.Account(code="090"),
        date=DAY,
        line_items=[_line(40) if word == "prepayment" else _line(40, "610")],
    )
    made = api.create_bank_transactions(
        tenant, accounting.BankTransactions(bank_transactions=[body])
    ).bank_transactions[0]
    source = getattr(made, f"{word}_id")
    wanted = accounting.Allocation(
        invoice=accounting.Invoice(invoice_id=due.invoice_id), amount=15, date=DAY
    )
    allocated = getattr(api, f"create_{word}_allocations")(
        tenant, source, accounting.Allocations(allocations=[wanted])
    ).allocations[0]
    found = getattr(getattr(api, f"get_{word}")(tenant, source), f"{word}s")[0]
    assert (found.remaining_credit, found.applied_amount) == (25, 15)
    assert found.allocations[0].allocation_id == allocated.allocation_id
    refund = accounting.Payment(
        account=accounting.Account(code="090"), date=DAY, amount=25, **{word: found}
    )
    assert api.create_payment(tenant, refund).payments[0].payment_type == (
        f"AR{word.upper()}PAYMENT"
    )
    listed = getattr(getattr(api, f"get_{word}s")(tenant, page=1), f"{word}s")
    assert {getattr(one, f"{word}_id"): one.status for one in listed}[source] == "PAID"
    gone = getattr(api, f"delete_{word}_allocations")(tenant, source, allocated.allocation_id)
    assert gone.is_deleted is True
    assert api.get_bank_transaction(tenant, made.bank_transaction_id).bank_transactions


def test_bank_transactions_change(api: Any, tenant: str) -> None:  # noqa: F811
    body = accounting.BankTransaction(
        type="SPEND",
        contact=accounting.Contact(name=f"SDK {uuid4()}"),
        bank_account=accounting.Account(code="090"),
        line_items=[_line(40, "429")],
    )
    made = api.update_or_create_bank_transactions(
        tenant, accounting.BankTransactions(bank_transactions=[body])
    ).bank_transactions[0]
    change = accounting.BankTransaction(
        type="SPEND",
        status="DELETED",
        line_items=made.line_items,
        bank_account=accounting.Account(account_id=made.bank_account.account_id),
    )
    gone = api.update_bank_transaction(
        tenant,
        made.bank_transaction_id,
        accounting.BankTransactions(bank_transactions=[change]),
    ).bank_transactions[0]
    assert gone.status == "DELETED"
    where = f'BankTransactionID==Guid("{made.bank_transaction_id}")'
    listed = api.get_bank_transactions(tenant, where=where).bank_transactions
    assert [one.status for one in listed] == ["DELETED"]


# Xero's description


def fits(client: SandboxClient, body: Any, plural: str) -> None:
    schema.check(body, plural)
    for one in body[plural]:
        # ID is in the description's examples, not in its schemas
        known = {name: value for name, value in one.items() if name != "ID"}
        schema.known_fields(known, plural.removesuffix("s"))


@schema.pytestmark
def test_answers_fit_the_description(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due, owed, back = invoice(client), bill(client), credit(client)
    for kind in ("RECEIVE-PREPAYMENT", "SPEND-OVERPAYMENT"):
        source = banked(client, kind, Reference="R", Url="https://a.b/c", IsReconciled=True)
        fit = due if kind.startswith("RECEIVE") else owed
        allocate(
            client,
            {k: source[k] for k in source if k in ("PrepaymentID", "OverpaymentID")},
            fit,
            10,
        )
    body = client.put(place(back), [allocation(due, 10), allocation(due, 1)]).json()
    fits(client, body, "Allocations")
    schema.known_fields(body["Allocations"][0], "Allocation")
    gone = client.call("DELETE", f"{place(back)}/{body['Allocations'][0]['AllocationID']}").json()
    schema.check(gone, "Allocation")
    schema.known_fields(gone, "Allocation")
    pay(client, back, 5, Reference="refund")
    fits(client, client.put("Payments", payment(due, 1, Particulars="p")).json(), "Payments")
    fits(
        client, client.put("CreditNotes?summarizeErrors=false", note(client)).json(), "CreditNotes"
    )
    made = client.put("BankTransactions", transaction(client, "SPEND", 3)).json()
    fits(client, made, "BankTransactions")
    for plural in ("Payments", "CreditNotes", "Prepayments", "Overpayments", "BankTransactions"):
        for query in ("", "?page=1"):
            body = client.get(f"{plural}{query}").json()
            assert body[plural]
            fits(client, body, plural)
        identifier = body[plural][-1][f"{plural.removesuffix('s')}ID"]
        fits(client, client.get(f"{plural}/{identifier}").json(), plural)
    body = client.get(f"Invoices/{due['InvoiceID']}").json()
    assert body["Invoices"][0]["CreditNotes"]
    fits(client, body, "Invoices")


@schema.pytestmark
def test_refusals_fit_the_description(sandbox_client: SandboxClient) -> None:
    client = sandbox_client
    due, back = invoice(client), credit(client)
    for plural, body in (
        ("Payments", payment(due, 101, Account=None)),
        ("CreditNotes", note(client, Status="PAID")),
        (place(back), allocation(due, 101)),
        ("BankTransactions", transaction(client, "SPEND", BankAccount=None)),
    ):
        answer = client.put(plural, body)
        assert answer.status_code == 400
        schema.check(answer.json(), "Error")

"""Short ways to the documents that the tests of payments and credits begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .conftest import SandboxClient, exact

NOBODY = "11111111-1111-4111-8111-111111111111"
DAY = "2026-10-05"
BANK = {"Code": "090"}


def line(amount: object = 100, **more: Any) -> dict[str, Any]:
    return {"Description": "Coffee", "Quantity": 1, "UnitAmount": amount, "AccountCode": "200"} | (
        more
    )


def invoice(client: SandboxClient, amount: object = 100, **fields: Any) -> dict[str, Any]:
    """An authorised sales invoice of that total."""
    body = client.invoice(
        Status="AUTHORISED",
        Date="2026-10-01",
        DueDate="2026-11-01",
        LineAmountTypes="NoTax",
        LineItems=[line(amount)],
        **fields,
    )
    return client.created("Invoices", body)


def bill(client: SandboxClient, amount: object = 100, **fields: Any) -> dict[str, Any]:
    lines = {"Type": "ACCPAY", "LineItems": [line(amount, AccountCode="300")]}
    body = client.invoice(
        Status="AUTHORISED", Date="2026-10-01", DueDate="2026-11-01", LineAmountTypes="NoTax"
    )
    return client.created("Invoices", body | lines | fields)


def note(client: SandboxClient, amount: object = 100, **fields: Any) -> dict[str, Any]:
    """An acceptable credit note to a customer, authorised."""
    return {
        "Type": "ACCRECCREDIT",
        "Status": "AUTHORISED",
        "CreditNoteNumber": client.name("C"),
        "Contact": {"Name": "Harbour Cafe"},
        "Date": "2026-10-02",
        "LineAmountTypes": "NoTax",
        "LineItems": [line(amount)],
    } | fields


def credit(client: SandboxClient, amount: object = 100, **fields: Any) -> dict[str, Any]:
    return client.created("CreditNotes", note(client, amount, **fields))


def supplier_credit(client: SandboxClient, amount: object = 100, **more: Any) -> dict[str, Any]:
    lines = [line(amount, AccountCode="300")]
    return credit(client, amount, Type="ACCPAYCREDIT", LineItems=lines, **more)


def transaction(client: SandboxClient, kind: str, amount: object = 100, **f: Any) -> dict[str, Any]:
    """An acceptable bank transaction."""
    code = "200" if kind.startswith("RECEIVE") else "429"
    account = None if kind.endswith("OVERPAYMENT") else code
    return {
        "Type": kind,
        "Contact": {"Name": "Harbour Cafe"},
        "BankAccount": BANK,
        "Date": "2026-10-03",
        "LineAmountTypes": "NoTax",
        "LineItems": [line(amount, AccountCode=account)],
    } | f


def banked(client: SandboxClient, kind: str, amount: object = 100, **f: Any) -> dict[str, Any]:
    return client.created("BankTransactions", transaction(client, kind, amount, **f))


def payment(document: dict[str, Any], amount: object, **fields: Any) -> dict[str, Any]:
    """An acceptable payment of a document as it was answered."""
    for name in ("Invoice", "CreditNote", "Prepayment", "Overpayment"):
        key = f"{name}ID"
        if key in document:
            sent = {name: {key: document[key]}, "Account": BANK, "Date": DAY, "Amount": amount}
            return sent | fields
    raise AssertionError(document)


def pay(client: SandboxClient, document: dict[str, Any], amount: object, **f: Any) -> Any:
    return client.created("Payments", payment(document, amount, **f))


def allocation(to: dict[str, Any], amount: object, **fields: Any) -> dict[str, Any]:
    return {"Invoice": {"InvoiceID": to["InvoiceID"]}, "Amount": amount, "Date": DAY} | fields


def place(source: dict[str, Any]) -> str:
    """The address of a credit note's, prepayment's or overpayment's allocations."""
    for plural in ("CreditNote", "Prepayment", "Overpayment"):
        if f"{plural}ID" in source:
            return f"{plural}s/{source[f'{plural}ID']}/Allocations"
    raise AssertionError(source)


def allocate(
    client: SandboxClient, source: dict[str, Any], to: dict[str, Any], amount: object
) -> dict[str, Any]:
    answer = client.put(place(source), allocation(to, amount))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = exact(answer)["Allocations"][0]
    return found


def again(client: SandboxClient, document: dict[str, Any]) -> dict[str, Any]:
    """The document as a GET shows it now."""
    plurals = ("Payment", "BankTransaction", "Invoice", "CreditNote", "Prepayment", "Overpayment")
    plural = next(name for name in plurals if f"{name}ID" in document)
    answer = client.get(f"{plural}s/{document[f'{plural}ID']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = exact(answer)[f"{plural}s"][0]
    return found


def undo(client: SandboxClient, made: dict[str, Any]) -> dict[str, Any]:
    """Deletes a payment."""
    answer = client.post(f"Payments/{made['PaymentID']}", {"Status": "DELETED"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = exact(answer)["Payments"][0]
    return found


def bank(client: SandboxClient, **fields: Any) -> dict[str, Any]:
    """A new bank account."""
    code = client.name("B")
    number = {"BankAccountNumber": f"12-3456-{code}", "Type": "BANK"}
    return client.created("Accounts", {"Code": code, "Name": f"Bank {code}"} | number | fields)


def archive(client: SandboxClient, account: dict[str, Any]) -> None:
    answer = client.post(f"Accounts/{account['AccountID']}", {"Status": "ARCHIVED"})
    assert answer.status_code == 200, answer.text


@contextmanager
def locked(client: SandboxClient, day: str) -> Iterator[None]:
    """Locks the books up to a day, for a while."""
    path = f"organisations/{client.tenant}"
    client.control(path, {"PeriodLockDate": day})
    try:
        yield
    finally:
        client.control(path, {"PeriodLockDate": None})

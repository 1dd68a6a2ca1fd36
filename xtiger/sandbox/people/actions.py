"""What a person may do to an object on its page; each goes through the resource's own rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from xtiger.sandbox.accounting.api import RESOURCES
from xtiger.sandbox.accounting.books import Books, Resource
from xtiger.sandbox.kept.state import Stored
from xtiger.sandbox.wire import Json, Malformed


@dataclass(frozen=True, slots=True)
class Input:
    """One field of a form; with options it is a choice."""

    name: str
    label: str
    type: str = "text"
    value: str = ""
    options: tuple[tuple[str, str], ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """One form; without inputs only its button."""

    name: str
    title: str
    inputs: tuple[Input, ...] = ()
    final: bool = False  #: can't be taken back


#: a status that a document may be given, in a person's words
_MOVES = {
    "SUBMITTED": "Submit for approval",
    "AUTHORISED": "Approve",
    "SENT": "Mark as sent",
    "ACCEPTED": "Mark as accepted",
    "DECLINED": "Mark as declined",
    "INVOICED": "Mark as invoiced",
    "BILLED": "Mark as billed",
    "DRAFT": "Back to draft",
    "VOIDED": "Void",
    "DELETED": "Delete",
}
_FINAL = ("VOIDED", "DELETED")
#: what a payment may be for, and the field that says how much is left of it
_PAYABLE = {
    "invoice": ("Invoice", "AmountDue"),
    "creditnote": ("CreditNote", "RemainingCredit"),
    "prepayment": ("Prepayment", "RemainingCredit"),
    "overpayment": ("Overpayment", "RemainingCredit"),
}


def offered(books: Books, known: Resource, stored: Stored, shown: Json) -> list[Action]:
    """The forms of one object's page."""
    found: list[Action] = []
    if known.kind == "contact" and stored.status == "ACTIVE":
        found.append(_contact(shown))
        found.append(Action("archive", "Archive", final=True))
    if known.kind == "account" and stored.status == "ACTIVE" and "POST/id" in known.methods:
        found.append(Action("archive", "Archive", final=True))
    if known.kind == "payment" and stored.status != "DELETED":
        found.append(Action("status-DELETED", "Remove payment", final=True))
    if (pay := _payment(books, known, shown)) is not None:
        found.append(pay)
    found += _moves(known, shown)
    if known.kind == "item" and "DELETE/id" in known.methods:
        found.append(Action("remove", "Delete", final=True))
    return found


def _contact(shown: Json) -> Action:
    phones = {one["PhoneType"]: one for one in shown.get("Phones", [])}
    return Action(
        "edit",
        "Save",
        (
            Input("Name", "Name", value=str(shown.get("Name") or ""), required=True),
            Input("EmailAddress", "E-mail", value=str(shown.get("EmailAddress") or "")),
            Input("Phone", "Phone", value=str(phones.get("DEFAULT", {}).get("PhoneNumber") or "")),
        ),
    )


def _moves(known: Resource, shown: Json) -> list[Action]:
    """A document's status may become what its kind's table of changes says."""
    changes: Mapping[str, tuple[str, ...]] = getattr(known, "changes", {})
    now = str(shown.get("Status") or "")
    if now == "PAID" or "POST/id" not in known.methods:
        return []
    found = []
    for status, words in _MOVES.items():
        if status != now and status in changes.get(now, ()):
            due = known.kind == "invoice" and status == "AUTHORISED" and not shown.get("DueDate")
            ask = (Input("DueDate", "Due date", "date", required=True),) if due else ()
            found.append(Action(f"status-{status}", words, ask, final=status in _FINAL))
    return found


def _payment(books: Books, known: Resource, shown: Json) -> Action | None:
    _, left = _PAYABLE.get(known.kind, ("", ""))
    due = shown.get(left)
    if "payments" not in RESOURCES or not due or shown.get("Status") not in ("AUTHORISED", "PAID"):
        return None
    accounts = [
        (str(one.body["AccountID"]), f"{one.body.get('Code') or ''} {one.body['Name']}".strip())
        for one in books.state.objects(books.tenant, "account", "status = 'ACTIVE'")
        if one.body.get("Type") == "BANK" or one.body.get("EnablePaymentsToAccount")
    ]
    return Action(
        "pay",
        "Record payment" if known.kind == "invoice" else "Record refund",
        (
            Input("Amount", "Amount", value=format(Decimal(due), "f"), required=True),
            Input("Date", "Date", "date", value=books.today().isoformat(), required=True),
            Input("Account", "Account", options=tuple(accounts), required=True),
            Input("Reference", "Reference"),
        ),
    )


def perform(
    books: Books, known: Resource, stored: Stored, name: str, form: Mapping[str, str]
) -> list[str]:
    """Carries out what a form asks, all or nothing. Returns Xero's messages if it is refused.

    What isn't offered any more is asked all the same: the resource's own rules say why not.
    """
    state = books.state
    try:
        with state.transaction(), state.attempt() as attempt:
            if name == "remove":
                outcome = known.remove(books, stored)
            elif name == "pay":
                element = _paid(known, stored, form)
                payments = RESOURCES["payments"]
                outcome = payments.write(books, element, create_only=True, target=None)
            else:
                element = {known.id_field: stored.id} | _changes(known, name, form)
                outcome = known.write(books, element, create_only=False, target=stored.id)
            if outcome and outcome.errors:
                attempt.undo()
    except Malformed as error:
        return [str(error)]
    return outcome.errors if outcome else []


def _changes(known: Resource, name: str, form: Mapping[str, str]) -> Json:
    if name == "archive":
        return {"ContactStatus" if known.kind == "contact" else "Status": "ARCHIVED"}
    if name == "edit":
        phone = {"PhoneType": "DEFAULT", "PhoneNumber": form.get("Phone", "")}
        return {
            "Name": form.get("Name", ""),
            "EmailAddress": form.get("EmailAddress", ""),
            "Phones": [phone],
        }
    found: Json = {"Status": name.removeprefix("status-")}
    return found | ({"DueDate": form["DueDate"]} if form.get("DueDate") else {})


def _paid(known: Resource, stored: Stored, form: Mapping[str, str]) -> Json:
    what, _ = _PAYABLE[known.kind]
    return {
        what: {known.id_field: stored.id},
        "Account": {"AccountID": form.get("Account", "")},
        "Date": form.get("Date", ""),
        "Amount": form.get("Amount", ""),
        "Reference": form.get("Reference", ""),
    }

"""What a person may do to an object on its page; each goes through the resource's own rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from xtiger.sandbox import bounds
from xtiger.sandbox.accounting.api import RESOURCES
from xtiger.sandbox.accounting.books import Books, Resource
from xtiger.sandbox.kept.cabinet import SYSTEM, Source
from xtiger.sandbox.kept.state import Stored
from xtiger.sandbox.people.portrait import plain
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


_FOREVER = "It can't be undone."


@dataclass(frozen=True, slots=True)
class Action:
    """One form; without inputs only its button."""

    name: str
    title: str
    done: str  #: what is said once it is carried out
    inputs: tuple[Input, ...] = ()
    asked: bool = False  #: a second step asks whether that is meant
    warning: str = _FOREVER  #: what the second step says of it


#: a status that a document may be given: the button, and what is said afterwards
_MOVES = {
    "SUBMITTED": ("Submit for approval", "Submitted for approval."),
    "AUTHORISED": ("Approve", "Approved."),
    "SENT": ("Mark as sent", "Marked as sent."),
    "ACCEPTED": ("Mark as accepted", "Marked as accepted."),
    "DECLINED": ("Mark as declined", "Marked as declined."),
    "INVOICED": ("Mark as invoiced", "Marked as invoiced."),
    "BILLED": ("Mark as billed", "Marked as billed."),
    "DRAFT": ("Back to draft", "Back to draft."),
    "VOIDED": ("Void", "Voided."),
    "DELETED": ("Delete", "Deleted."),
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
        found.append(Action("archive", "Archive", "Archived.", asked=True))
    if known.kind == "account" and "POST/id" in known.methods:
        found.append(_account(stored))
    if known.kind == "payment" and stored.status != "DELETED":
        found.append(Action("status-DELETED", "Remove payment", "Payment removed.", asked=True))
    if (pay := _payment(books, known, shown)) is not None:
        found.append(pay)
    found += _moves(known, shown)
    if known.kind == "item" and "DELETE/id" in known.methods:
        found.append(Action("remove", "Delete", "Deleted.", asked=True))
    return found


def meant(books: Books, known: Resource, stored: Stored, shown: Json, name: str) -> Action | None:
    """The action that a form names. A document's change of status that is no longer offered is
    one too: its own rules say why not. What ends a document asks in either case."""
    for one in offered(books, known, stored, shown):
        if one.name == name:
            return one
    status = name.removeprefix("status-")
    if name == status or status not in _MOVES or "POST/id" not in known.methods:
        return None
    title, done = _MOVES[status]
    return Action(name, title, done, asked=status in _FINAL)


def remark(known: Resource, stored: Stored) -> str:
    """What a person should know of an object's state, if anything."""
    if known.kind == "contact" and stored.status == "ARCHIVED":
        return "This contact stays archived: Xero doesn't let archived contacts be edited."
    return ""


def _account(stored: Stored) -> Action:
    if stored.status == "ARCHIVED":
        return Action("restore", "Restore", "Restored.")
    warning = "Nothing can be booked to it until it is restored."
    return Action("archive", "Archive", "Archived.", asked=True, warning=warning)


def _contact(shown: Json) -> Action:
    phones = {one["PhoneType"]: one for one in shown.get("Phones", [])}
    return Action(
        "edit",
        "Save",
        "Saved.",
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
    for status, (words, done) in _MOVES.items():
        if status != now and status in changes.get(now, ()):
            due = known.kind == "invoice" and status == "AUTHORISED" and not shown.get("DueDate")
            ask = (Input("DueDate", "Due date", "date", required=True),) if due else ()
            found.append(Action(f"status-{status}", words, done, ask, asked=status in _FINAL))
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
    what = "payment" if known.kind == "invoice" else "refund"
    return Action(
        "pay",
        f"Record {what}",
        f"{what.capitalize()} recorded.",
        (
            Input("Amount", "Amount", value=plain(Decimal(due), "Amount"), required=True),
            Input("Date", "Date", "date", value=books.today().isoformat(), required=True),
            Input("Account", "Account", options=tuple(accounts), required=True),
            Input("Reference", "Reference"),
        ),
    )


def perform(
    books: Books, known: Resource, stored: Stored, name: str, form: Mapping[str, str]
) -> list[str]:
    """Carries out what a form asks, all or nothing. Returns the messages if it is refused."""
    state = books.state
    try:
        with state.transaction(_source(books)), state.attempt() as attempt:
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
    except (Malformed, ValueError) as error:
        return [str(error)]
    return outcome.errors if outcome else []


def _source(books: Books) -> Source:
    """Who the history says did it: the pages have no sign-in, so it is the subscriber."""
    people = (one.body for one in books.state.objects(books.tenant, "user"))
    names = [f"{one['FirstName']} {one['LastName']}" for one in people if one["IsSubscriber"]]
    return Source(names[0] if names else SYSTEM, "Changed on the page")


def _changes(known: Resource, name: str, form: Mapping[str, str]) -> Json:
    if name in ("archive", "restore"):
        field = "ContactStatus" if known.kind == "contact" else "Status"
        return {field: "ARCHIVED" if name == "archive" else "ACTIVE"}
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
    """Raises ValueError for an amount that isn't one; Xero says what it thinks of a missing one."""
    what, _ = _PAYABLE[known.kind]
    given = form.get("Amount", "").strip()
    return {
        what: {known.id_field: stored.id},
        "Account": {"AccountID": form.get("Account", "")},
        "Date": form.get("Date", ""),
        "Amount": bounds.typed_amount(given, "Amount") if given else "",
        "Reference": form.get("Reference", ""),
    }

"""What can be done with one sales invoice: send it by e-mail, and get the customer's link to it."""

from __future__ import annotations

from collections.abc import Mapping

from flask import request

from xtiger.sandbox.accounting import validation
from xtiger.sandbox.accounting.answers import (
    enveloped,
    not_allowed,
    not_found,
    trace,
    validation_exception,
)
from xtiger.sandbox.accounting.books import Books, Outcome, Part, PartCall
from xtiger.sandbox.accounting.invoices import Invoices
from xtiger.sandbox.kept.cabinet import SYSTEM, Note, Place
from xtiger.sandbox.kept.state import Stored
from xtiger.sandbox.wire import JSON, Reply

INVOICES = Invoices()
#: an invoice in one of these has been approved
_APPROVED = ("AUTHORISED", "PAID")


def _refused(books: Books, owner: Stored, message: str) -> Reply:
    shown = INVOICES.show_alone(books, owner)
    return validation_exception(INVOICES, [Outcome(owner.id, shown, [message], False)])


class Email:
    """POST /Invoices/{id}/Email; nothing leaves this machine, the invoice is marked as sent."""

    plural = "Email"
    scopes: tuple[str, ...] | None = None

    def call(self, books: Books, owner: Stored, call: PartCall) -> Reply:
        """Answers 204. Sales invoices only, approved, and the contact needs an address."""
        if call.key is not None:
            return not_found()
        if call.method != "POST":
            return not_allowed()
        body = owner.body
        if body["Type"] != "ACCREC" or owner.status not in _APPROVED:
            return _refused(books, owner, validation.EMAIL_NOT_APPROVED)
        contact = books.get("contact", body["ContactID"])
        address = str(contact.body.get("EmailAddress") or "") if contact else ""
        if not address:
            return _refused(books, owner, validation.EMAIL_NO_ADDRESS)
        INVOICES.save(books, owner.id, body | {"SentToContact": True})
        now = int(books.state.now() * 1000)
        note = Note(now, "Invoice Sent", SYSTEM, f"This invoice has been sent to {address}")
        books.state.cabinet.note(Place(books.tenant, INVOICES.kind, owner.id), note)
        trail = {"number": body.get("InvoiceNumber", "")}
        return Reply(204, b"", JSON, [trace(0, Outcome(owner.id, {}, [], False, trail))])


class OnlineInvoice:
    """GET /Invoices/{id}/OnlineInvoice (Xero OpenAPI OnlineInvoice)."""

    plural = "OnlineInvoices"
    scopes: tuple[str, ...] | None = None

    def call(self, books: Books, owner: Stored, call: PartCall) -> Reply:
        """The link leads to this server's own page of the invoice. Not for drafts."""
        if call.key is not None:
            return not_found()
        if call.method not in ("GET", "HEAD"):
            return not_allowed()
        if owner.body["Type"] != "ACCREC" or owner.status in ("DRAFT", "DELETED", "VOIDED"):
            return _refused(books, owner, validation.ONLINE_INVOICE_MISSING)
        link = f"{request.host_url}organisations/{books.tenant}/invoices/{owner.id}"
        return enveloped(books.state.now(), self.plural, [{"OnlineInvoiceUrl": link}])


#: below one invoice, by their lower-case word
INVOICE_PARTS: Mapping[str, Part] = {"email": Email(), "onlineinvoice": OnlineInvoice()}

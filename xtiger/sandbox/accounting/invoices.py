"""Invoices and bills: numbers, legal changes of status, what was paid, and what is still due."""

from __future__ import annotations

from xtiger.sandbox.accounting import arithmetic, ledger, lines, validation
from xtiger.sandbox.accounting.annexes import Attachments
from xtiger.sandbox.accounting.arithmetic import AmountTypes
from xtiger.sandbox.accounting.books import Books
from xtiger.sandbox.accounting.documents import FIELDS, ZERO, Documents, View, mark_contact
from xtiger.sandbox.accounting.queries import Query
from xtiger.sandbox.kept.state import Stored, fold
from xtiger.sandbox.wire import Json, flag, iso_instant, net_day, net_instant, number, text

_FILES = Attachments("Invoices", "invoice", online=True)
#: what may still change on a sales invoice that holds payments (Xero: invoices page; SentToContact
#: is told by the same page's list of changes that leave UpdatedDateUTC alone)
_FREE = {
    "Reference",
    "DueDate",
    "InvoiceNumber",
    "BrandingThemeID",
    "Url",
    "SentToContact",
    "LineItems",
} | ledger.FIGURES
#: of a line, the same
_LABELS = ("Description", "AccountCode", "AccountID", "Tracking")
_LINE_FIGURES = (
    "Quantity",
    "UnitAmount",
    "LineAmount",
    "TaxAmount",
    "DiscountRate",
    "DiscountAmount",
)
#: changes that leave UpdatedDateUTC alone on an invoice that holds payments (same page)
_QUIET = {"DueDate", "SentToContact"}


class Invoices(Documents):
    """PUT and POST /Invoices (Xero OpenAPI Invoice), ACCREC and ACCPAY."""

    plural = "Invoices"
    kind = "invoice"
    id_field = "InvoiceID"
    number = "InvoiceNumber"
    auto = "INV-"
    types = ("ACCREC", "ACCPAY")
    texts = {"InvoiceNumber": 255, "Reference": 255, "Url": 2000, "BrandingThemeID": 50}
    days = ("Date", "DueDate", "ExpectedPaymentDate", "PlannedPaymentDate")
    #: Xero: invoices page, "status changes"; PAID comes from payments only, and what a paid one
    #: still takes is told by `check`
    changes = {
        "DRAFT": ("DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"),
        "SUBMITTED": ("SUBMITTED", "DRAFT", "AUTHORISED", "DELETED"),
        "AUTHORISED": ("AUTHORISED", "VOIDED"),
        "PAID": ("PAID", "AUTHORISED", "VOIDED"),
    }
    unknown = validation.INVOICE_UNKNOWN
    fields = FIELDS | {
        "InvoiceID": "id",
        "InvoiceNumber": "name",
        "DueDate": "json_extract(body, '$.DueDate')",
        "Url": "fold(json_extract(body, '$.Url'))",
        "AmountDue": "json_extract(body, '$.AmountDue')",
        "AmountPaid": "json_extract(body, '$.AmountPaid')",
        "AmountCredited": "json_extract(body, '$.AmountCredited')",
        "FullyPaidOnDate": "json_extract(body, '$.FullyPaidOnDate')",
    }

    def unique(self, body: Json) -> bool:
        return body.get("Type") == "ACCREC"

    def stocks(self, body: Json) -> int:
        if body["Status"] not in self.approved:
            return 0
        return 1 if body.get("Type") == "ACCPAY" else -1

    def terms(self, body: Json) -> lines.Terms:
        return lines.Terms(
            sales=body["Type"] != "ACCPAY",
            discounts=body["Type"] != "ACCPAY",
            approved=body["Status"] in self.approved,
            amounts=AmountTypes(body["LineAmountTypes"]),
        )

    def merge(self, books: Books, old: Json | None, element: Json, body: Json) -> list[str]:
        # Reference belongs to sales invoices; a bill's number is shown as its reference
        if body["Type"] == "ACCPAY":
            body.pop("Reference", None)
        sent = flag(element.get("SentToContact"))
        if sent is not None:
            body["SentToContact"] = sent and body["Status"] in self.approved
        return []

    def check(self, books: Books, body: Json, stored: Stored | None, element: Json) -> list[str]:
        errors: list[str] = []
        if body["Status"] == "AUTHORISED" and not body.get("DueDate"):
            errors.append(validation.DUE_DATE_MISSING)
        if body["Type"] == "ACCREC":
            errors += validation.printable(str(body.get("InvoiceNumber") or ""))
        if stored and ledger.settled(stored.body):
            errors += _settled(books, body, stored.body, element)
        return errors

    def kept(self, books: Books, identifier: str, body: Json, before: Json | None) -> None:
        mark_contact(books, body["ContactID"], sales=body["Type"] == "ACCREC")
        ledger.work_out(books, self.kind, identifier, body)

    def save(self, books: Books, document: str, body: Json, *, touch: bool = True) -> int:
        before = books.get(self.kind, document)
        if touch and before and ledger.settled(before.body):
            changed = _changed(before.body, body)
            touch = not changed or not changed <= _QUIET
        return super().save(books, document, body, touch=touch)

    def members(self, books: Books, query: Query, *, detail: bool) -> list[Json]:
        """`summaryOnly` leaves out what has to be gathered (Xero OpenAPI; which is our reading)."""
        shown = super().members(books, query, detail=detail)
        if query.brief:
            for one in shown:
                one |= {"Payments": [], "CreditNotes": [], "Prepayments": [], "Overpayments": []}
        return shown

    def shown(self, view: View) -> Json:
        shown: Json = {
            "Type": view.body.get("Type", ""),
            "InvoiceID": view.id,
            "InvoiceNumber": view.body.get("InvoiceNumber", ""),
            "Reference": view.body.get("Reference", ""),
        }
        if view.body.get("Url"):
            shown["Url"] = view.body["Url"]
        shown["Payments"] = ledger.payments_shown(view.books, view.id, view.body)
        shown |= ledger.credits_shown(view.books, view.id, view.body)
        shown |= {
            # a refused new one has no figures yet
            "AmountDue": view.body.get("AmountDue", view.body["Total"]),
            "AmountPaid": view.body.get("AmountPaid", ZERO),
            "AmountCredited": view.body.get("AmountCredited", ZERO),
            "SentToContact": bool(view.body.get("SentToContact")),
            "CurrencyRate": view.body["CurrencyRate"],
            "IsDiscounted": any(line["Discount"] for line in view.body["LineItems"]),
            "HasAttachments": view.books.has_files(self.kind, view.id),
            "HasErrors": False,
            "Attachments": _FILES.shown(view.books, view.id) if view.detail else [],
            "InvoiceAddresses": [],
            "Contact": view.contact,
        }
        shown |= self.days_shown(view.body)
        if view.body.get("BrandingThemeID"):
            shown["BrandingThemeID"] = view.body["BrandingThemeID"]
        shown |= {"Status": view.body["Status"], "LineAmountTypes": view.body["LineAmountTypes"]}
        shown["LineItems"] = self.lines_shown(view)
        shown |= {field: view.body[field] for field in ("SubTotal", "TotalTax", "Total")}
        off = sum((line["Discount"] for line in view.body["LineItems"]), ZERO)
        if off:
            shown["TotalDiscount"] = off
        if view.updated is not None:
            shown["UpdatedDateUTC"] = net_instant(view.updated)
            shown["UpdatedDateUTCString"] = iso_instant(view.updated)
        shown["CurrencyCode"] = view.body["CurrencyCode"]
        if view.body.get("FullyPaidOnDate"):
            shown["FullyPaidOnDate"] = net_day(view.body["FullyPaidOnDate"])
        return shown


def _changed(before: Json, after: Json) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _settled(books: Books, body: Json, before: Json, element: Json) -> list[str]:
    """What an invoice that holds payments or credit refuses (Xero: invoices page, edit rules).

    A bill takes nothing any more, a sales invoice only what doesn't move money. Its status
    follows from the money, so AUTHORISED sent for a paid one changes nothing (our reading).
    """
    if body["Status"] not in ("AUTHORISED", "PAID"):
        return [validation.status_blocked(str(body["Status"]))]
    body["Status"] = before["Status"]
    if before["Type"] == "ACCPAY":
        return [validation.DOCUMENT_SETTLED]
    relabelled = _relabelled(books, body["LineItems"], before["LineItems"], element)
    if relabelled is None:
        return [validation.DOCUMENT_SETTLED]
    body["LineItems"] = relabelled
    body |= {field: before[field] for field in ("SubTotal", "TotalTax", "Total")}
    if number(element.get("CurrencyRate"), "CurrencyRate") is None:
        body["CurrencyRate"] = before["CurrencyRate"]
    free = _FREE if before["AmountCredited"] else _FREE | {"ContactID"}
    return [validation.DOCUMENT_SETTLED] if _changed(before, body) - free else []


def _relabelled(
    books: Books, new: list[Json], before: list[Json], element: Json
) -> list[Json] | None:
    """The old lines with new words, accounts and tracking; None if any figure would change.

    A figure is compared at the precision of the call, so that what was read can be sent back.
    """
    sent_lines = element.get("LineItems")
    if sent_lines is None:
        return before if new == before else None
    old = {str(line["LineItemID"]): line for line in before}
    if sorted(str(line["LineItemID"]) for line in new) != sorted(old):
        return None
    found = []
    for line, sent in zip(new, sent_lines, strict=True):
        was = old[str(line["LineItemID"])]
        for field in _LINE_FIGURES:
            value, kept = number(sent.get(field), field), was.get(field) or ZERO
            if field == "UnitAmount":
                kept = arithmetic.unit(kept, four_places=books.four)
                value = value if value is None else arithmetic.unit(value, four_places=books.four)
            if value is not None and value != kept:
                return None
        for field in ("ItemCode", "TaxType"):
            value_sent = text(sent.get(field), field)
            if value_sent is not None and fold(value_sent) != fold(str(was.get(field) or "")):
                return None
        found.append(was | {field: line[field] for field in _LABELS if field in line})
    return found

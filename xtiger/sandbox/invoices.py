"""Invoices and bills: numbers, legal changes of status, what was paid, and what is still due."""

from __future__ import annotations

from xtiger.sandbox import lines, validation
from xtiger.sandbox.arithmetic import AmountTypes
from xtiger.sandbox.books import Books
from xtiger.sandbox.documents import FIELDS, ZERO, Documents, mark_contact
from xtiger.sandbox.state import Stored
from xtiger.sandbox.wire import Json, flag, iso_instant, net_instant


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
    #: Xero: invoices page, "status changes"; PAID comes from payments only
    changes = {
        "DRAFT": ("DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"),
        "SUBMITTED": ("SUBMITTED", "DRAFT", "AUTHORISED", "DELETED"),
        "AUTHORISED": ("AUTHORISED", "VOIDED"),
    }
    unknown = validation.INVOICE_UNKNOWN
    fields = FIELDS | {
        "InvoiceID": "id",
        "InvoiceNumber": "name",
        "DueDate": "json_extract(body, '$.DueDate')",
        "Url": "fold(json_extract(body, '$.Url'))",
        "AmountDue": "CASE WHEN status IN ('DELETED', 'VOIDED') THEN 0"
        " ELSE json_extract(body, '$.Total') END",
        "AmountPaid": "0",
    }

    def unique(self, body: Json) -> bool:
        return body.get("Type") == "ACCREC"

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
        return errors

    def kept(self, books: Books, identifier: str, body: Json, before: Json | None) -> None:
        mark_contact(books, body["ContactID"], sales=body["Type"] == "ACCREC")

    def shown(
        self,
        books: Books,
        document: str,
        body: Json,
        contact: Json,
        updated: int | None,
        *,
        detail: bool,
        messages: list[list[str]] | None = None,
    ) -> Json:
        closed = body["Status"] in self.closed
        shown: Json = {
            "Type": body.get("Type", ""),
            "InvoiceID": document,
            "InvoiceNumber": body.get("InvoiceNumber", ""),
            "Reference": body.get("Reference", ""),
        }
        if body.get("Url"):
            shown["Url"] = body["Url"]
        shown |= {
            "Payments": [],
            "CreditNotes": [],
            "Prepayments": [],
            "Overpayments": [],
            "AmountDue": ZERO if closed else body["Total"],
            "AmountPaid": ZERO,
            "AmountCredited": ZERO,
            "SentToContact": bool(body.get("SentToContact")),
            "CurrencyRate": body["CurrencyRate"],
            "IsDiscounted": any(line["Discount"] for line in body["LineItems"]),
            "HasAttachments": False,
            "HasErrors": False,
            "Attachments": [],
            "InvoiceAddresses": [],
            "Contact": contact,
        }
        shown |= self.days_shown(body)
        if body.get("BrandingThemeID"):
            shown["BrandingThemeID"] = body["BrandingThemeID"]
        shown |= {"Status": body["Status"], "LineAmountTypes": body["LineAmountTypes"]}
        shown["LineItems"] = self.lines_shown(books, body, messages, detail=detail)
        shown |= {field: body[field] for field in ("SubTotal", "TotalTax", "Total")}
        off = sum((line["Discount"] for line in body["LineItems"]), ZERO)
        if off:
            shown["TotalDiscount"] = off
        if updated is not None:
            shown["UpdatedDateUTC"] = net_instant(updated)
            shown["UpdatedDateUTCString"] = iso_instant(updated)
        shown["CurrencyCode"] = body["CurrencyCode"]
        return shown

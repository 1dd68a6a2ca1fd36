"""Credit notes: numbers, legal changes of status, and how much of each is still to be used."""

from __future__ import annotations

from collections.abc import Mapping

from xtiger.sandbox.accounting import ledger, lines, validation
from xtiger.sandbox.accounting.allocations import AllocationsOf
from xtiger.sandbox.accounting.arithmetic import AmountTypes
from xtiger.sandbox.accounting.books import Books, Part
from xtiger.sandbox.accounting.documents import FIELDS, ZERO, Documents, View
from xtiger.sandbox.kept.state import Stored
from xtiger.sandbox.wire import Json, flag, iso_instant, net_day, net_instant


class CreditNotes(Documents):
    """PUT and POST /CreditNotes (Xero OpenAPI CreditNote), ACCRECCREDIT and ACCPAYCREDIT."""

    plural = "CreditNotes"
    kind = "creditnote"
    id_field = "CreditNoteID"
    number = "CreditNoteNumber"
    auto = "CN-"
    types = ("ACCRECCREDIT", "ACCPAYCREDIT")
    texts = {"CreditNoteNumber": 255, "Reference": 255, "BrandingThemeID": 50}
    #: as for invoices; PAID comes from allocations and refunds, and `check` refuses the rest
    changes = {
        "DRAFT": ("DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"),
        "SUBMITTED": ("SUBMITTED", "DRAFT", "AUTHORISED", "DELETED"),
        "AUTHORISED": ("AUTHORISED", "VOIDED"),
        "PAID": ("PAID", "AUTHORISED", "VOIDED"),
    }
    unknown = validation.CREDIT_NOTE_UNKNOWN
    bad_create = validation.CREDIT_NOTE_CREATE
    bad_change = validation.CREDIT_NOTE_CHANGE
    bad_type = validation.CREDIT_NOTE_TYPE
    number_taken = validation.CREDIT_NOTE_NUMBER
    parts: Mapping[str, Part] = {"allocations": AllocationsOf("creditnote")}
    fields = FIELDS | {
        "CreditNoteID": "id",
        "CreditNoteNumber": "name",
        "DueDate": "json_extract(body, '$.DueDate')",
        "RemainingCredit": "json_extract(body, '$.RemainingCredit')",
        "AppliedAmount": "json_extract(body, '$.AppliedAmount')",
        "FullyPaidOnDate": "json_extract(body, '$.FullyPaidOnDate')",
    }

    def unique(self, body: Json) -> bool:
        return body.get("Type") == "ACCRECCREDIT"

    def stocks(self, body: Json) -> int:
        if body["Status"] not in self.approved:
            return 0
        return -1 if body.get("Type") == "ACCPAYCREDIT" else 1

    def terms(self, body: Json) -> lines.Terms:
        return lines.Terms(
            sales=body["Type"] != "ACCPAYCREDIT",
            discounts=False,
            approved=body["Status"] in self.approved,
            amounts=AmountTypes(body["LineAmountTypes"]),
        )

    def merge(self, books: Books, old: Json | None, element: Json, body: Json) -> list[str]:
        # Reference belongs to customers' credit notes (Xero OpenAPI CreditNote)
        if body["Type"] == "ACCPAYCREDIT":
            body.pop("Reference", None)
        sent = flag(element.get("SentToContact"))
        if sent is not None:
            body["SentToContact"] = sent and body["Status"] in self.approved
        return []

    def check(self, books: Books, body: Json, stored: Stored | None, element: Json) -> list[str]:
        if stored is None or not ledger.settled(stored.body):
            return []
        if body["Status"] not in ("AUTHORISED", "PAID"):
            return [validation.status_blocked(str(body["Status"]))]
        return [validation.DOCUMENT_SETTLED]

    def kept(self, books: Books, identifier: str, body: Json, before: Json | None) -> None:
        ledger.work_out(books, self.kind, identifier, body)

    def shown(self, view: View) -> Json:
        shown: Json = {
            "CreditNoteID": view.id,
            "CreditNoteNumber": view.body.get("CreditNoteNumber", ""),
            "Payments": ledger.payments_shown(view.books, view.id, view.body),
            "ID": view.id,
            "SentToContact": bool(view.body.get("SentToContact")),
            "HasErrors": False,
            "CurrencyRate": view.body["CurrencyRate"],
            "Type": view.body.get("Type", ""),
            "Reference": view.body.get("Reference", ""),
            # a refused new one has no figures yet
            "RemainingCredit": view.body.get("RemainingCredit", view.body["Total"]),
            "AppliedAmount": view.body.get("AppliedAmount", ZERO),
            "Allocations": ledger.allocations_shown(view.books, view.id, view.body),
            "HasAttachments": view.books.has_files(self.kind, view.id),
            "InvoiceAddresses": [],
            "Contact": view.contact,
        }
        shown |= self.days_shown(view.body)
        if view.body.get("BrandingThemeID"):
            shown["BrandingThemeID"] = view.body["BrandingThemeID"]
        shown |= {"Status": view.body["Status"], "LineAmountTypes": view.body["LineAmountTypes"]}
        shown["LineItems"] = self.lines_shown(view)
        shown |= {field: view.body[field] for field in ("SubTotal", "TotalTax", "Total")}
        if view.updated is not None:
            shown["UpdatedDateUTC"] = net_instant(view.updated)
            shown["UpdatedDateUTCString"] = iso_instant(view.updated)
        shown["CurrencyCode"] = view.body["CurrencyCode"]
        if view.body.get("FullyPaidOnDate"):
            shown["FullyPaidOnDate"] = net_day(view.body["FullyPaidOnDate"])
        return shown

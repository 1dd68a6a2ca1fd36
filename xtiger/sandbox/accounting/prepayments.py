"""Prepayments and overpayments: what their bank transaction leaves to be set off or refunded."""

from __future__ import annotations

from collections.abc import Mapping

from xtiger.sandbox.accounting import ledger
from xtiger.sandbox.accounting.allocations import AllocationsOf
from xtiger.sandbox.accounting.books import READ, Books, Part
from xtiger.sandbox.accounting.documents import FIELDS, Documents, View
from xtiger.sandbox.accounting.queries import Query
from xtiger.sandbox.kept.state import fold
from xtiger.sandbox.wire import Json, iso_instant, net_instant

#: what they take over from the bank transaction that made them
_TAKEN = (
    "Type",
    "ContactID",
    "Date",
    "CurrencyCode",
    "CurrencyRate",
    "LineAmountTypes",
    "LineItems",
    "SubTotal",
    "TotalTax",
    "Total",
    "Reference",
)


def by_reference(query: Query, asked: Mapping[str, str]) -> None:
    """The parameter `References`, a comma list."""
    if asked.get("references"):
        wanted = [fold(one.strip().strip('"')) for one in asked["references"].split(",")]
        marks = ", ".join("?" * len(wanted))
        query.narrow(f"fold(json_extract(body, '$.Reference')) IN ({marks})", *wanted)


class _Credits(Documents):
    """GET only; a bank transaction makes, changes and voids them (FACTS section 6)."""

    methods = READ
    scopes: tuple[str, ...] = ("accounting.payments",)

    def make(self, books: Books, identifier: str, transaction: Json) -> None:
        """Puts what the bank transaction says into the credit it stands for."""
        body: Json = {field: transaction[field] for field in _TAKEN if field in transaction}
        body["Status"] = "VOIDED" if transaction["Status"] == "DELETED" else "AUTHORISED"
        if self.number and body["Type"] == "RECEIVE-PREPAYMENT":
            body[self.number] = body.get("Reference", "")
        ledger.work_out(books, self.kind, identifier, body)
        self.save(books, identifier, body)

    def narrow(self, books: Books, query: Query, asked: Mapping[str, str]) -> None:
        by_reference(query, asked)

    def shown(self, view: View) -> Json:
        shown: Json = {
            self.id_field: view.id,
            "ID": view.id,
            "Type": view.body["Type"],
            "Reference": view.body.get("Reference", ""),
        }
        if self.number and view.body.get(self.number):
            shown[self.number] = view.body[self.number]
        shown |= {
            "CurrencyRate": view.body["CurrencyRate"],
            "RemainingCredit": view.body["RemainingCredit"],
            "AppliedAmount": view.body["AppliedAmount"],
            "Allocations": ledger.allocations_shown(view.books, view.id, view.body),
            "Payments": ledger.payments_shown(view.books, view.id, view.body),
            "HasAttachments": view.books.has_files(self.kind, view.id),
            "Contact": view.contact,
        }
        shown |= self.days_shown(view.body)
        shown |= {"Status": view.body["Status"], "LineAmountTypes": view.body["LineAmountTypes"]}
        shown["LineItems"] = self.lines_shown(view)
        shown |= {field: view.body[field] for field in ("SubTotal", "TotalTax", "Total")}
        if view.updated is not None:
            shown["UpdatedDateUTC"] = net_instant(view.updated)
            shown["UpdatedDateUTCString"] = iso_instant(view.updated)
        return shown | {"CurrencyCode": view.body["CurrencyCode"]}


class Prepayments(_Credits):
    """GET /Prepayments (Xero OpenAPI Prepayment)."""

    plural = "Prepayments"
    kind = "prepayment"
    id_field = "PrepaymentID"
    number = "InvoiceNumber"
    parts: Mapping[str, Part] = {"allocations": AllocationsOf("prepayment")}
    fields = FIELDS | {
        "PrepaymentID": "id",
        "InvoiceNumber": "name",
        "RemainingCredit": "json_extract(body, '$.RemainingCredit')",
    }


class Overpayments(_Credits):
    """GET /Overpayments (Xero OpenAPI Overpayment)."""

    plural = "Overpayments"
    kind = "overpayment"
    id_field = "OverpaymentID"
    parts: Mapping[str, Part] = {"allocations": AllocationsOf("overpayment")}
    fields = FIELDS | {
        "OverpaymentID": "id",
        "RemainingCredit": "json_extract(body, '$.RemainingCredit')",
    }

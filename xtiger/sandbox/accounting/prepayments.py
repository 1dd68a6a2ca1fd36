"""Prepayments and overpayments: what their bank transaction leaves to be set off or refunded."""

from __future__ import annotations

from collections.abc import Mapping

from xtiger.sandbox.accounting import ledger
from xtiger.sandbox.accounting.allocations import AllocationsOf
from xtiger.sandbox.accounting.books import READ, Books, Part
from xtiger.sandbox.accounting.documents import FIELDS, Documents
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
        shown: Json = {
            self.id_field: document,
            "ID": document,
            "Type": body["Type"],
            "Reference": body.get("Reference", ""),
        }
        if self.number and body.get(self.number):
            shown[self.number] = body[self.number]
        shown |= {
            "CurrencyRate": body["CurrencyRate"],
            "RemainingCredit": body["RemainingCredit"],
            "AppliedAmount": body["AppliedAmount"],
            "Allocations": ledger.allocations_shown(books, document, body),
            "Payments": ledger.payments_shown(books, document, body),
            "HasAttachments": books.has_files(self.kind, document),
            "Contact": contact,
        }
        shown |= self.days_shown(body)
        shown |= {"Status": body["Status"], "LineAmountTypes": body["LineAmountTypes"]}
        shown["LineItems"] = self.lines_shown(books, body, messages, detail=detail)
        shown |= {field: body[field] for field in ("SubTotal", "TotalTax", "Total")}
        if updated is not None:
            shown["UpdatedDateUTC"] = net_instant(updated)
            shown["UpdatedDateUTCString"] = iso_instant(updated)
        return shown | {"CurrencyCode": body["CurrencyCode"]}


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

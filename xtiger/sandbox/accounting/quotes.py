"""Quotes, which Xero shows unlike other documents.

Upper-case amount types, dates without offset, a contact of three fields, StatusAttributeString
on each, SummarizeErrors in the envelope, a content type without charset, pages that don't tell
their count (all measured on live Xero).
"""

from __future__ import annotations

from collections.abc import Mapping

from xtiger.sandbox.accounting import lines, queries, validation
from xtiger.sandbox.accounting.arithmetic import AmountTypes
from xtiger.sandbox.accounting.books import Books
from xtiger.sandbox.accounting.documents import FIELDS, ZERO, Documents, View
from xtiger.sandbox.accounting.queries import Query
from xtiger.sandbox.kept.state import Stored, fold
from xtiger.sandbox.wire import (
    JSON,
    Json,
    Reply,
    day,
    dumps,
    identifier,
    loads,
    net_day,
    net_instant,
)

_CONTACT = ("ContactID", "Name", "EmailAddress")


class Quotes(Documents):
    """PUT and POST /Quotes (Xero OpenAPI Quote)."""

    plural = "Quotes"
    kind = "quote"
    id_field = "QuoteID"
    error_flag = ""
    number = "QuoteNumber"
    auto = "QU-"
    texts = {
        "QuoteNumber": 255,
        "Reference": 4000,
        "Terms": 4000,
        "Title": 100,
        "Summary": 3000,
        "BrandingThemeID": 50,
    }
    days = ("Date", "ExpiryDate")
    creatable = ("DRAFT", "SENT", "DECLINED", "ACCEPTED", "INVOICED")
    #: SENT, ACCEPTED and deleting an ACCEPTED one are measured, the rest our own choice
    changes = {
        "DRAFT": ("DRAFT", "SENT", "DECLINED", "ACCEPTED", "INVOICED", "DELETED"),
        "SENT": ("SENT", "DRAFT", "DECLINED", "ACCEPTED", "INVOICED", "DELETED"),
        "DECLINED": ("DECLINED", "DRAFT", "SENT", "ACCEPTED", "DELETED"),
        "ACCEPTED": ("ACCEPTED", "DRAFT", "SENT", "DECLINED", "INVOICED", "DELETED"),
        "INVOICED": ("INVOICED", "DRAFT", "SENT", "ACCEPTED", "DELETED"),
    }
    approved = ()
    always_four = True
    locks = False
    sized = False
    filtered = False
    unknown = validation.QUOTE_UNKNOWN
    bad_create = validation.QUOTE_STATUS
    bad_change = validation.QUOTE_STATUS
    number_taken = validation.QUOTE_NUMBER_TAKEN
    fields = FIELDS | {
        "QuoteID": "id",
        "QuoteNumber": "name",
        "ExpiryDate": "json_extract(body, '$.ExpiryDate')",
        "Title": "fold(json_extract(body, '$.Title'))",
    }

    def dressed(self, reply: Reply, *, together: bool) -> Reply:
        """Measured: SummarizeErrors leads the envelope, and the content type has no charset."""
        if reply.type == JSON and reply.body:
            if reply.status == 200:
                reply.body = dumps({"SummarizeErrors": together} | loads(reply.body))
            reply.type = "application/json"
        return reply

    def terms(self, body: Json) -> lines.Terms:
        return lines.Terms(
            sales=True, discounts=True, approved=False, amounts=AmountTypes(body["LineAmountTypes"])
        )

    def narrow(self, books: Books, query: Query, asked: Mapping[str, str]) -> None:
        """Status, dates, ContactID and QuoteNumber (Xero OpenAPI getQuotes)."""
        if status := asked.get("status", "").strip().upper():
            query.narrow("status = ?", status)
        if contact := asked.get("contactid"):
            query.narrow("contact = ?", identifier(contact) or "")
        if own := asked.get("quotenumber"):
            query.narrow("name = ?", fold(own))
        queries.between(query, "date", asked, "datefrom", "dateto")
        expiry = self.fields["ExpiryDate"]
        queries.between(query, expiry, asked, "expirydatefrom", "expirydateto")

    def check(self, books: Books, body: Json, stored: Stored | None, element: Json) -> list[str]:
        errors: list[str] = []
        if stored is None and day(element.get("Date"), "Date") is None:
            errors.append(validation.QUOTE_DATELESS)
        if body.get("ExpiryDate") and body["ExpiryDate"] < body["Date"]:
            errors.append(validation.QUOTE_EXPIRED)
        return errors

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return self.show_alone(books, stored)

    def shown(self, view: View) -> Json:
        shown: Json = {
            "QuoteID": view.id,
            "QuoteNumber": view.body.get("QuoteNumber", ""),
            "Reference": view.body.get("Reference", ""),
            "Terms": view.body.get("Terms", ""),
            "Contact": {field: view.contact[field] for field in _CONTACT if field in view.contact},
            "LineItems": self.lines_shown(view),
        }
        for field in self.days:
            if view.body.get(field):
                shown[field] = net_day(view.body[field], offset=False)
                shown[f"{field}String"] = f"{view.body[field]}T00:00:00"
        shown |= {
            field: view.body[field]
            for field in ("Status", "CurrencyRate", "CurrencyCode", "SubTotal", "TotalTax", "Total")
        }
        off = sum((line["Discount"] for line in view.body["LineItems"]), ZERO)
        if off:
            shown["TotalDiscount"] = off
        shown |= {
            field: view.body[field]
            for field in ("Title", "Summary", "BrandingThemeID")
            if view.body.get(field)
        }
        if view.updated is not None:
            shown["UpdatedDateUTC"] = net_instant(view.updated, offset=False)
        shown["LineAmountTypes"] = str(view.body["LineAmountTypes"]).upper()
        # measured: there in every answer, not only beside errors
        return shown | {"StatusAttributeString": "OK" if view.updated is not None else "ERROR"}

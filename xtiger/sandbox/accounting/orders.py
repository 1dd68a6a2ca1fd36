"""Purchase orders: numbers that live orders share, statuses up to BILLED, and the sent mark."""

from __future__ import annotations

from collections.abc import Mapping

from xtiger.sandbox.accounting import lines, queries, validation
from xtiger.sandbox.accounting.annexes import Attachments
from xtiger.sandbox.accounting.arithmetic import AmountTypes
from xtiger.sandbox.accounting.books import Books, Outcome
from xtiger.sandbox.accounting.documents import FIELDS, ZERO, Documents, View
from xtiger.sandbox.accounting.queries import Query
from xtiger.sandbox.kept.state import Stored
from xtiger.sandbox.wire import Json, flag, net_instant, number

_FILES = Attachments("PurchaseOrders", "purchaseorder", online=False)
#: shown where the order has them, in this order
_TOLD = ("DeliveryAddress", "AttentionTo", "Telephone", "DeliveryInstructions")


class PurchaseOrders(Documents):
    """PUT and POST /PurchaseOrders (Xero OpenAPI PurchaseOrder)."""

    plural = "PurchaseOrders"
    kind = "purchaseorder"
    id_field = "PurchaseOrderID"
    number = "PurchaseOrderNumber"
    auto = "PO-"
    #: the longest instructions are Xero's (OpenAPI), the other lengths our own choice
    texts = {
        "PurchaseOrderNumber": 255,
        "Reference": 255,
        "DeliveryAddress": 4000,
        "AttentionTo": 255,
        "Telephone": 50,
        "DeliveryInstructions": 500,
        "BrandingThemeID": 50,
    }
    days = ("Date", "DeliveryDate", "ExpectedArrivalDate")
    creatable = ("DRAFT", "SUBMITTED", "AUTHORISED", "BILLED")
    #: that BILLED can become DELETED and DELETED is final is measured, the rest our own choice
    changes = {
        "DRAFT": ("DRAFT", "SUBMITTED", "AUTHORISED", "BILLED", "DELETED"),
        "SUBMITTED": ("SUBMITTED", "DRAFT", "AUTHORISED", "BILLED", "DELETED"),
        "AUTHORISED": ("AUTHORISED", "BILLED", "DELETED"),
        "BILLED": ("BILLED", "AUTHORISED", "DELETED"),
        "DELETED": ("DELETED",),
    }
    approved = ()
    creates_contacts = False
    always_four = True
    locks = False
    filtered = False
    unknown = validation.ORDER_UNKNOWN
    bad_create = validation.ORDER_STATUS
    bad_change = validation.ORDER_STATUS
    number_taken = validation.ORDER_NUMBER_TAKEN
    fields = FIELDS | {
        "PurchaseOrderID": "id",
        "PurchaseOrderNumber": "name",
        "DeliveryDate": "json_extract(body, '$.DeliveryDate')",
    }

    def terms(self, body: Json) -> lines.Terms:
        return lines.Terms(
            sales=False,
            discounts=True,
            approved=False,
            amounts=AmountTypes(body["LineAmountTypes"]),
        )

    def narrow(self, books: Books, query: Query, asked: Mapping[str, str]) -> None:
        """Status, DateFrom and DateTo; lists always come in pages (Xero: purchase orders page)."""
        query.page = query.page or 1
        if status := asked.get("status", "").strip().upper():
            query.narrow("status = ?", status)
        queries.between(query, "date", asked, "datefrom", "dateto")

    def taken(self, holder: Stored, stored: Stored | None, *, create_only: bool) -> list[str]:
        """The number of a deleted order can't be had again by POST (measured: both messages)."""
        if holder.status == "DELETED" and stored is None and not create_only:
            return [validation.ORDER_STATUS, validation.ORDER_DELETED]
        return [self.number_taken]

    def _meant(
        self, books: Books, element: Json, own: str, wanted: str | None, *, create_only: bool
    ) -> Stored | None:
        """A number alone never means a deleted order (measured: the answer has the zero id)."""
        found = super()._meant(books, element, own, wanted, create_only=create_only)
        return None if found and not wanted and found.status == "DELETED" else found

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """As all documents; marking one as sent that isn't approved is only warned about."""
        outcome = super().write(books, element, create_only=create_only, target=target)
        sent = flag(element.get("SentToContact"))
        if sent and outcome.body["Status"] not in ("AUTHORISED", "BILLED"):
            outcome.body["Warnings"] = [{"Message": validation.ORDER_SENT}]
        return outcome

    def merge(self, books: Books, old: Json | None, element: Json, body: Json) -> list[str]:
        sent = flag(element.get("SentToContact"))
        if sent is not None and body["Status"] in ("AUTHORISED", "BILLED"):
            body["SentToContact"] = sent
        return []

    def check(self, books: Books, body: Json, stored: Stored | None, element: Json) -> list[str]:
        errors: list[str] = []
        if stored and stored.status == "DELETED":
            errors.append(validation.ORDER_DELETED)
        for one in element.get("LineItems") or []:
            if number(one.get("DiscountAmount"), "DiscountAmount"):
                errors.append(validation.ORDER_DISCOUNT_AMOUNT)
        return errors

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        """Lists show the contact in full too (Xero OpenAPI, example of GET /PurchaseOrders)."""
        return self.show_alone(books, stored)

    def shown(self, view: View) -> Json:
        shown: Json = {
            "PurchaseOrderID": view.id,
            "PurchaseOrderNumber": view.body.get("PurchaseOrderNumber", ""),
        }
        shown |= self.days_shown(view.body, strings=self.days)
        shown |= {field: view.body[field] for field in _TOLD if view.body.get(field)}
        off = sum((line["Discount"] for line in view.body["LineItems"]), ZERO)
        shown |= {
            "HasErrors": False,
            "IsDiscounted": bool(off),
            "TotalDiscount": off,
            "SentToContact": bool(view.body.get("SentToContact")),
            "Reference": view.body.get("Reference", ""),
            "Type": "PURCHASEORDER",
            "CurrencyRate": view.body["CurrencyRate"],
            "CurrencyCode": view.body["CurrencyCode"],
            "Contact": view.contact,
        }
        if view.body.get("BrandingThemeID"):
            shown["BrandingThemeID"] = view.body["BrandingThemeID"]
        shown |= {"Status": view.body["Status"], "LineAmountTypes": view.body["LineAmountTypes"]}
        shown["LineItems"] = self.lines_shown(view)
        shown |= {field: view.body[field] for field in ("SubTotal", "TotalTax", "Total")}
        if view.updated is not None:
            shown["UpdatedDateUTC"] = net_instant(view.updated)
        files = _FILES.shown(view.books, view.id)
        return shown | {"HasAttachments": bool(files), "Attachments": files}

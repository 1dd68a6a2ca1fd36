"""Receipts of classic expenses, which only organisations have that used them before July 2018."""

from __future__ import annotations

from xtiger.sandbox.accounting import lines, validation
from xtiger.sandbox.accounting.annexes import Attachments
from xtiger.sandbox.accounting.arithmetic import AmountTypes
from xtiger.sandbox.accounting.books import Books
from xtiger.sandbox.accounting.documents import FIELDS, Documents, View
from xtiger.sandbox.kept.state import State, Stored
from xtiger.sandbox.wire import Json, day, identifier, net_day, net_instant

_FILES = Attachments("Receipts", "receipt", online=False)


def classic(state: State, tenant: str) -> bool:
    """Whether the organisation has classic expenses."""
    return state.setting(f"classic expenses {tenant}") == "yes"


def set_classic(state: State, tenant: str, *, has: bool) -> None:
    state.set(f"classic expenses {tenant}", "yes" if has else "no")


class Receipts(Documents):
    """PUT and POST /Receipts (Xero OpenAPI Receipt)."""

    plural = "Receipts"
    kind = "receipt"
    id_field = "ReceiptID"
    error_flag = ""
    scopes: tuple[str, ...] = ("accounting.classicexpenses",)
    paged = False
    sized = False
    texts = {"Reference": 255}
    days = ("Date",)
    creatable = ("DRAFT", "SUBMITTED")
    #: the other statuses come from the approval of expense claims (own choice)
    changes = {
        "DRAFT": ("DRAFT", "SUBMITTED"),
        "SUBMITTED": ("SUBMITTED", "DRAFT"),
    }
    approved = ("SUBMITTED", "AUTHORISED")
    spared: frozenset[str] = frozenset()
    unknown = validation.RECEIPT_UNKNOWN
    bad_create = validation.RECEIPT_STATUS
    bad_change = validation.RECEIPT_STATUS
    fields = FIELDS | {
        "ReceiptID": "id",
        "ReceiptNumber": "CAST(json_extract(body, '$.ReceiptNumber') AS INTEGER)",
        "User.UserID": "json_extract(body, '$.UserID')",
    }

    def offered(self, books: Books) -> bool:
        return classic(books.state, books.tenant)

    def terms(self, body: Json) -> lines.Terms:
        return lines.Terms(
            sales=False,
            discounts=False,
            approved=body["Status"] in self.approved,
            amounts=AmountTypes(body["LineAmountTypes"]),
        )

    def merge(self, books: Books, old: Json | None, element: Json, body: Json) -> list[str]:
        """Receipts are in the base currency and belong to a user."""
        body["CurrencyCode"] = books.organisation.currency
        user = element.get("User")
        if isinstance(user, dict):
            known = books.get("user", identifier(user.get("UserID")) or "")
            if known is None:
                return [validation.RECEIPT_USER]
            body["UserID"] = known.id
        return [] if body.get("UserID") else [validation.RECEIPT_USER]

    def check(self, books: Books, body: Json, stored: Stored | None, element: Json) -> list[str]:
        dated = stored is not None or day(element.get("Date"), "Date") is not None
        return [] if dated else [validation.RECEIPT_DATELESS]

    def kept(self, books: Books, identifier: str, body: Json, before: Json | None) -> None:
        """Numbers count up per user (Xero OpenAPI Receipt.ReceiptNumber)."""
        if not body.get("ReceiptNumber"):
            counter = f"receipt number {body['UserID']}"
            body["ReceiptNumber"] = str(books.state.count_up(books.tenant, counter))

    def shown(self, view: View) -> Json:
        shown: Json = {
            "ReceiptID": view.id,
            "ReceiptNumber": view.body.get("ReceiptNumber", ""),
            "Status": view.body["Status"],
            "User": _user(view.books, str(view.body.get("UserID") or "")),
            "Contact": view.contact,
            "Date": net_day(view.body["Date"]),
        }
        if view.updated is not None:
            shown["UpdatedDateUTC"] = net_instant(view.updated)
        shown |= {
            "Reference": view.body.get("Reference", ""),
            "LineAmountTypes": view.body["LineAmountTypes"],
            "LineItems": self.lines_shown(view),
        }
        shown |= {field: view.body[field] for field in ("SubTotal", "TotalTax", "Total")}
        files = _FILES.shown(view.books, view.id)
        shown |= {"ID": view.id, "HasAttachments": bool(files)}
        if files and view.detail:
            shown["Attachments"] = files
        return shown


def _user(books: Books, user: str) -> Json:
    """Who spent the money, as far as a receipt tells (Xero OpenAPI, example of GET /Receipts)."""
    stored = books.get("user", user)
    if stored is None:
        return {}
    told = ("FirstName", "LastName")
    return {"UserID": stored.id} | {one: stored.body[one] for one in told if one in stored.body}

"""Items: the price list, unique by code, whose details take their tax from the account."""

from __future__ import annotations

from uuid import uuid4

from xtiger.sandbox import arithmetic, validation
from xtiger.sandbox.books import READ_WRITE, Books, Endpoint, Outcome
from xtiger.sandbox.state import Keys, Stored, fold
from xtiger.sandbox.wire import (
    ZERO_ID,
    Json,
    Malformed,
    flag,
    identifier,
    net_instant,
    number,
    text,
)

#: lengths from Xero OpenAPI Item
_LENGTHS = {"Code": 30, "Name": 50, "Description": 4000, "PurchaseDescription": 4000}


class Items(Endpoint):
    """PUT and POST /Items (Xero OpenAPI Item)."""

    plural = "Items"
    kind = "item"
    id_field = "ItemID"
    error_flag = "HasErrors"
    paged = False
    scopes: tuple[str, ...] = ("accounting.settings", "accounting.invoices")
    methods = READ_WRITE | {"DELETE/id"}
    fields = {
        "ItemID": "id",
        "Code": "name",
        "Name": "fold(json_extract(body, '$.Name'))",
        "UpdatedDateUTC": "updated",
        "IsSold": "json_extract(body, '$.IsSold')",
        "IsPurchased": "json_extract(body, '$.IsPurchased')",
    }

    def find(self, books: Books, key: str) -> Stored | None:
        if wanted := identifier(key):
            return books.get("item", wanted)
        found = books.named("item", key)
        return found[0] if found else None

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return self._shown(books, stored.id, stored.body, stored.updated)

    def _shown(self, books: Books, item: str, body: Json, updated: int | None) -> Json:
        shown: Json = {"ItemID": item, "Code": body.get("Code", "")}
        for field in ("Name", "Description", "PurchaseDescription"):
            if body.get(field):
                shown[field] = body[field]
        if updated is not None:
            shown["UpdatedDateUTC"] = net_instant(updated, offset=False)
        for side in ("PurchaseDetails", "SalesDetails"):
            details = dict(body.get(side) or {})
            if "UnitPrice" in details:
                details["UnitPrice"] = arithmetic.unit(details["UnitPrice"], four_places=books.four)
            shown[side] = details
        return shown | {
            "IsTrackedAsInventory": False,
            "IsSold": body["IsSold"],
            "IsPurchased": body["IsPurchased"],
        }

    def remove(self, books: Books, stored: Stored) -> Outcome | None:
        books.state.remove(books.tenant, "item", stored.id)
        return None

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """PUT refuses a code in use; POST updates by id, else by code (measured), else creates."""
        errors: list[str] = []
        code = (text(element.get("Code"), "Code") or "").strip()
        stored: Stored | None = None
        wanted = target or (None if create_only else identifier(element.get("ItemID")))
        if wanted:
            stored = books.get("item", wanted)
            if stored is None:
                errors.append(validation.ITEM_UNKNOWN)
        elif not create_only and code:
            stored = next(iter(books.named("item", code)), None)

        body: Json = dict(stored.body) if stored else {"IsSold": True, "IsPurchased": True}
        for field in _LENGTHS:
            if element.get(field) is not None:
                body[field] = text(element[field], field) or ""
        if code:
            body["Code"] = code
        for side, use in (("SalesDetails", "IsSold"), ("PurchaseDetails", "IsPurchased")):
            used = flag(element.get(use))
            if used is not None:
                body[use] = used
            body[side] = (
                self._details(books, body.get(side) or {}, element.get(side), errors)
                if body[use]
                else {}
            )
        if not body.get("Code"):
            errors.append(validation.ITEM_CODELESS)
        else:
            for holder in books.named("item", str(body["Code"])):
                if stored is None or holder.id != stored.id:
                    errors.append(validation.item_code_taken(str(body["Code"])))
        errors += validation.lengths(body, _LENGTHS)

        trace = {"code": body.get("Code", ""), "name": body.get("Name", "")}
        item = stored.id if stored else ZERO_ID
        if errors:
            shown = self._shown(books, item, body, None)
            return Outcome(item, shown, list(dict.fromkeys(errors)), False, trace)
        item = stored.id if stored else str(uuid4())
        keys = Keys(name=str(body["Code"]), app=books.app)
        updated = books.state.save(books.tenant, "item", item, body, keys)
        shown = self._shown(books, item, body, updated)
        return Outcome(item, shown, [], stored is None, trace)

    def _details(self, books: Books, old: Json, sent: object, errors: list[str]) -> Json:
        details = dict(old)
        if sent is None:
            return details
        if not isinstance(sent, dict):
            raise Malformed("The details of an item must be an object.")
        price = number(sent.get("UnitPrice"), "UnitPrice")
        if price is not None:
            details["UnitPrice"] = arithmetic.unit(price, four_places=books.four)
        for field in ("AccountCode", "TaxType"):
            if sent.get(field):
                details[field] = text(sent[field], field)
        code = str(details.get("AccountCode") or "")
        account = books.account(code) if code else None
        if code and (account is None or account["Type"] == "BANK"):
            errors.append(validation.account_invalid(code))
        elif account and account["Status"] != "ACTIVE":
            errors.append(validation.account_archived(code))
        elif account and (not sent.get("TaxType") and (sent.get("AccountCode") or not old)):
            changed = fold(code) != fold(str(old.get("AccountCode") or ""))
            if changed or not details.get("TaxType"):
                details["TaxType"] = account["TaxType"]
        tax = str(details.get("TaxType") or "")
        rate = books.tax_rate(tax) if tax else None
        if tax and (rate is None or rate["Status"] != "ACTIVE"):
            errors.append(validation.tax_type_unknown(tax))
        return details

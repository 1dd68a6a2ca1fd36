"""Items: the price list, unique by code, whose details take their tax from the account.

A tracked item has an inventory account and holds a stock, which documents move.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

from xtiger.sandbox.accounting import arithmetic, stock, validation
from xtiger.sandbox.accounting.books import READ_WRITE, Books, Endpoint, Outcome
from xtiger.sandbox.kept.state import Keys, Stored, fold
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


#: a side of an item, the flag that opens it, and the words that go with it
_SIDES = (
    ("SalesDetails", "IsSold", "Description"),
    ("PurchaseDetails", "IsPurchased", "PurchaseDescription"),
)


#: documents that move stock, and all that can name an item
_MOVING = ("invoice", "creditnote", "banktransaction")
_NAMING = (*_MOVING, "prepayment", "overpayment", "purchaseorder", "quote", "receipt")
#: whether a document's lines name an item by its folded code
_NAMES_IT = (
    "EXISTS (SELECT 1 FROM json_each(body, '$.LineItems') line"
    " WHERE fold(json_extract(line.value, '$.ItemCode')) = ?)"
)


def _used(books: Books, item: Stored) -> bool:
    """Whether any document that can move stock names the item."""
    name = fold(str(item.body["Code"]))
    return any(books.state.count(books.tenant, kind, _NAMES_IT, (name,)) for kind in _MOVING)


def _recode(books: Books, old: str, new: str) -> None:
    """Documents follow an item whose code changes."""
    for kind in _NAMING:
        for found in books.state.objects(books.tenant, kind, _NAMES_IT, (fold(old),)):
            lines = [
                line | {"ItemCode": new} if fold(line.get("ItemCode") or "") == fold(old) else line
                for line in found.body["LineItems"]
            ]
            books.state.reword(books.tenant, kind, found.id, found.body | {"LineItems": lines})


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
        "IsTrackedAsInventory": "coalesce(json_extract(body, '$.IsTrackedAsInventory'), 0)",
        "Description": "fold(json_extract(body, '$.Description'))",
        "InventoryAssetAccountCode": "json_extract(body, '$.InventoryAssetAccountCode')",
        "SalesDetails.AccountCode": "json_extract(body, '$.SalesDetails.AccountCode')",
        "SalesDetails.UnitPrice": "json_extract(body, '$.SalesDetails.UnitPrice')",
        "PurchaseDetails.AccountCode": "json_extract(body, '$.PurchaseDetails.AccountCode')",
        "PurchaseDetails.UnitPrice": "json_extract(body, '$.PurchaseDetails.UnitPrice')",
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
        tracked = bool(body.get("IsTrackedAsInventory"))
        if tracked:
            shown["InventoryAssetAccountCode"] = body["InventoryAssetAccountCode"]
            shown["TotalCostPool"] = body["TotalCostPool"]
            shown["QuantityOnHand"] = stock.on_hand(body)
        return shown | {
            "IsTrackedAsInventory": tracked,
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
        self._track(books, body, element, stored, errors)
        for side, use, words in _SIDES:
            used = flag(element.get(use))
            if used is not None:
                body[use] = used
            body[side] = (
                self._details(books, body, side, element.get(side), errors) if body[use] else {}
            )
            if not body[use]:
                body.pop(words, None)
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
        if stored and stored.body["Code"] != body["Code"]:
            _recode(books, str(stored.body["Code"]), str(body["Code"]))
        shown = self._shown(books, item, body, updated)
        return Outcome(item, shown, [], stored is None, trace)

    def _track(
        self, books: Books, body: Json, element: Json, stored: Stored | None, errors: list[str]
    ) -> None:
        """Both accounts make an item tracked (Xero OpenAPI Item.IsTrackedAsInventory)."""
        asset = text(element.get("InventoryAssetAccountCode"), "InventoryAssetAccountCode")
        if asset:
            account = books.account(asset)
            if account is None or account["Type"] != "INVENTORY":
                errors.append(validation.ITEM_ASSET_ACCOUNT)
            elif account["Status"] != "ACTIVE":
                errors.append(validation.account_archived(asset))
            body["InventoryAssetAccountCode"] = account["Code"] if account else asset
        if not body.get("InventoryAssetAccountCode"):
            return
        if stored and not stored.body.get("IsTrackedAsInventory") and _used(books, stored):
            errors.append(validation.ITEM_STAYS_TRACKED)
        body["IsTrackedAsInventory"] = True
        body.setdefault("QuantityOnHand", Decimal("0.0000"))
        body.setdefault("TotalCostPool", Decimal("0.00"))
        sent = element.get("PurchaseDetails")
        old = body.get("PurchaseDetails") or {}
        if not ((sent if isinstance(sent, dict) else {}) | old).get("COGSAccountCode"):
            errors.append(validation.ITEM_COGS_MISSING)

    def _details(
        self, books: Books, body: Json, side: str, sent: object, errors: list[str]
    ) -> Json:
        """One side of the item; a tracked one is bought to a cost account of its own."""
        old: Json = body.get(side) or {}
        details = dict(old)
        if sent is None:
            return details
        if not isinstance(sent, dict):
            raise Malformed("The details of an item must be an object.")
        price = number(sent.get("UnitPrice"), "UnitPrice")
        if price is not None:
            details["UnitPrice"] = arithmetic.unit(price, four_places=books.four)
        for field in ("AccountCode", "COGSAccountCode", "TaxType"):
            if sent.get(field):
                details[field] = text(sent[field], field)
        field = "AccountCode"
        if side == "PurchaseDetails" and body.get("IsTrackedAsInventory"):
            field = "COGSAccountCode"
            details.pop("AccountCode", None)  # "not applicable" to tracked items (Xero OpenAPI)
        elif details.pop("COGSAccountCode", None):
            errors.append(validation.ITEM_COGS_UNTRACKED)
        code = str(details.get(field) or "")
        account = books.account(code) if code else None
        if code and (account is None or account["Type"] == "BANK"):
            errors.append(validation.account_invalid(code))
        elif account and account["Status"] != "ACTIVE":
            errors.append(validation.account_archived(code))
        elif account and (not sent.get("TaxType") and (sent.get(field) or not old)):
            changed = fold(code) != fold(str(old.get(field) or ""))
            if changed or not details.get("TaxType"):
                details["TaxType"] = account["TaxType"]
        tax = str(details.get("TaxType") or "")
        rate = books.tax_rate(tax) if tax else None
        if tax and (rate is None or rate["Status"] != "ACTIVE"):
            errors.append(validation.tax_type_unknown(tax))
        return details

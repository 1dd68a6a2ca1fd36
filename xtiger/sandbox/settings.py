"""Organisation, Accounts and TaxRates: what a client reads before it writes anything."""

from __future__ import annotations

from xtiger.sandbox.books import Books, Endpoint
from xtiger.sandbox.queries import Query
from xtiger.sandbox.state import Stored
from xtiger.sandbox.wire import Json, identifier, net_day, net_instant


class Organisations(Endpoint):
    """GET /Organisation: the one that the call is about (Xero OpenAPI Organisation)."""

    plural = "Organisations"
    kind = "organisation"
    id_field = "OrganisationID"
    fields: dict[str, str] = {}
    methods = frozenset({"GET"})

    def find(self, books: Books, key: str) -> Stored | None:
        return None

    def members(self, books: Books, query: Query, *, detail: bool) -> list[Json]:
        shown = dict(books.organisation.body)
        shown["CreatedDateUTC"] = net_instant(int(shown["CreatedDateUTC"]), offset=False)
        for field in ("PeriodLockDate", "EndOfYearLockDate"):
            if value := shown.pop(field, None):
                shown[field] = net_day(value)
        return [shown]


class Accounts(Endpoint):
    """GET /Accounts (Xero OpenAPI Account)."""

    plural = "Accounts"
    kind = "account"
    id_field = "AccountID"
    fields = {
        "AccountID": "id",
        "Code": "name",
        "Status": "status",
        "Type": "json_extract(body, '$.Type')",
        "Class": "json_extract(body, '$.Class')",
        "TaxType": "json_extract(body, '$.TaxType')",
        "Name": "fold(json_extract(body, '$.Name'))",
        "SystemAccount": "json_extract(body, '$.SystemAccount')",
        "UpdatedDateUTC": "updated",
    }

    def find(self, books: Books, key: str) -> Stored | None:
        if wanted := identifier(key):
            return books.get("account", wanted)
        return next(iter(books.named("account", key)), None)

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return stored.body | {"UpdatedDateUTC": net_instant(stored.updated)}


class TaxRates(Accounts):
    """GET /TaxRates (Xero OpenAPI TaxRate); deleted ones are listed too (measured)."""

    plural = "TaxRates"
    kind = "taxrate"
    id_field = "TaxType"
    fields = {
        "TaxType": "name",
        "Status": "status",
        "Name": "fold(json_extract(body, '$.Name'))",
    }

    def find(self, books: Books, key: str) -> Stored | None:
        return next(iter(books.named("taxrate", key)), None)

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return stored.body

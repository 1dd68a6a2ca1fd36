"""What a client reads before it writes anything: organisation, currencies, themes and users."""

from __future__ import annotations

from uuid import uuid4

from xtiger.sandbox.accounting import validation
from xtiger.sandbox.accounting.books import READ, Books, Endpoint, Outcome
from xtiger.sandbox.accounting.queries import Query
from xtiger.sandbox.kept import currencies
from xtiger.sandbox.kept.state import Stored
from xtiger.sandbox.wire import Json, identifier, net_day, net_instant, text


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


#: what a token may do, in the words of Xero's OpenAPI example -> what only some may
_ACTIONS = (
    "CreateApprovedInvoice",
    "CreateDraftPurchaseOrder",
    "CreateApprovedBill",
    "AttachFilesIntoInvoice",
    "UseMulticurrency",
    "CreateDraftInvoice",
    "CreateRepeatingInvoice",
    "CreateRepeatingBill",
    "CreateSentQuote",
    "CreateInvoicePayment",
    "CreateApprovedPurchaseOrder",
    "CreateDraftQuote",
    "CreateDraftBill",
)


class Actions(Organisations):
    """GET /Organisation/Actions: what may be done (Xero OpenAPI Action)."""

    plural = "Actions"
    id_field = "Name"

    def members(self, books: Books, query: Query, *, detail: bool) -> list[Json]:
        many = len(books.organisation.rates) > 1
        return [
            {
                "Name": name,
                "Status": "NOT-ALLOWED" if name == "UseMulticurrency" and not many else "ALLOWED",
            }
            for name in _ACTIONS
        ]


class Currencies(Endpoint):
    """PUT /Currencies subscribes one (Xero OpenAPI Currency)."""

    plural = "Currencies"
    kind = "currency"
    id_field = ""  # the code is no id
    error_flag = ""
    methods = frozenset({"GET", "PUT"})
    fields = {"Code": "name", "Description": "fold(json_extract(body, '$.Description'))"}

    def find(self, books: Books, key: str) -> Stored | None:
        return None

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return stored.body

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        code = (text(element.get("Code"), "Code") or "").strip().upper()
        shown: Json = {"Code": code, "Description": currencies.name(code)}
        errors: list[str] = []
        if code not in currencies.CODES:
            errors.append(validation.currency_unknown(code))
        elif books.named("currency", code):
            errors.append(validation.currency_subscribed(code))
        trace = {"code": code}
        if errors:
            return Outcome("", shown, errors, False, trace)
        books.state.subscribe(books.tenant, code)
        return Outcome(str(uuid4()), shown, [], True, trace)


class BrandingThemes(Endpoint):
    """GET /BrandingThemes (Xero OpenAPI BrandingTheme); the default one has SortOrder 0."""

    plural = "BrandingThemes"
    kind = "brandingtheme"
    id_field = "BrandingThemeID"
    methods = READ
    fields: dict[str, str] = {}

    def find(self, books: Books, key: str) -> Stored | None:
        wanted = identifier(key)
        return books.get("brandingtheme", wanted) if wanted else None

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        shown: Json = {"BrandingThemeID": stored.id} | stored.body
        return shown | {"CreatedDateUTC": net_instant(int(stored.body["CreatedDateUTC"]))}


class Users(Endpoint):
    """GET /Users (Xero OpenAPI User)."""

    plural = "Users"
    kind = "user"
    id_field = "UserID"
    methods = READ
    fields = {
        "UserID": "id",
        "EmailAddress": "name",
        "FirstName": "fold(json_extract(body, '$.FirstName'))",
        "LastName": "fold(json_extract(body, '$.LastName'))",
        "IsSubscriber": "json_extract(body, '$.IsSubscriber')",
        "OrganisationRole": "json_extract(body, '$.OrganisationRole')",
        "UpdatedDateUTC": "updated",
    }

    def find(self, books: Books, key: str) -> Stored | None:
        wanted = identifier(key)
        return books.get("user", wanted) if wanted else None

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        shown: Json = {"UserID": stored.id} | stored.body
        return shown | {"UpdatedDateUTC": net_instant(stored.updated)}

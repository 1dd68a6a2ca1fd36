"""Contacts: unique names and numbers, phones and addresses that merge, archiving for good."""

from __future__ import annotations

import re
from uuid import uuid4

from xtiger.sandbox.accounting import validation
from xtiger.sandbox.accounting.books import READ_WRITE, Books, Endpoint, Outcome
from xtiger.sandbox.kept.state import Keys, Stored, fold
from xtiger.sandbox.wire import ZERO_ID, Json, Malformed, flag, identifier, net_instant, text

#: lengths from Xero OpenAPI Contact
LENGTHS = {
    "Name": 255,
    "FirstName": 255,
    "LastName": 255,
    "EmailAddress": 255,
    "ContactNumber": 50,
    "AccountNumber": 50,
    "CompanyNumber": 50,
    "TaxNumber": 50,
}
_TEXTS = (
    *LENGTHS,
    "BankAccountDetails",
    "TaxNumberType",
    "AccountsReceivableTaxType",
    "AccountsPayableTaxType",
    "SalesDefaultAccountCode",
    "PurchasesDefaultAccountCode",
    "SalesDefaultLineAmountType",
    "PurchasesDefaultLineAmountType",
    "XeroNetworkKey",
)
#: shown even when empty (measured on live Xero)
_ALWAYS = ("FirstName", "LastName", "EmailAddress", "BankAccountDetails")
_PHONES = ("DDI", "DEFAULT", "FAX", "MOBILE")
_PHONE_LENGTHS = {"PhoneNumber": 50, "PhoneAreaCode": 10, "PhoneCountryCode": 20}
_ADDRESSES = ("STREET", "POBOX")
_ADDRESS_LENGTHS = {
    "AddressLine1": 500,
    "AddressLine2": 500,
    "AddressLine3": 500,
    "AddressLine4": 500,
    "City": 255,
    "Region": 255,
    "PostalCode": 50,
    "Country": 50,
    "AttentionTo": 255,
}
_ADDRESS_ALWAYS = ("City", "Region", "PostalCode", "Country")


def keys_of(body: Json) -> Keys:
    return Keys(
        name=str(body["Name"]),
        number=str(body.get("ContactNumber") or ""),
        status=str(body["ContactStatus"]),
    )


def active_named(books: Books, name: str) -> Stored | None:
    """The active contact of that name; archived ones don't hold theirs."""
    return next((one for one in books.named("contact", name) if one.status == "ACTIVE"), None)


def new_contact(books: Books, name: str, contact_number: str = "") -> str:
    """Creates a contact as a document does that names an unknown one. Returns its id."""
    body: Json = {"Name": name, "ContactStatus": "ACTIVE", "App": books.app}
    if contact_number:
        body["ContactNumber"] = contact_number
    found = str(uuid4())
    Contacts().save(books, found, body)
    return found


class Contacts(Endpoint):
    """PUT and POST /Contacts (Xero OpenAPI Contact)."""

    plural = "Contacts"
    kind = "contact"
    id_field = "ContactID"
    error_flag = "HasValidationErrors"
    paged = True
    sized = True
    scopes: tuple[str, ...] = ("accounting.contacts",)
    methods = READ_WRITE
    fields = {
        "ContactID": "id",
        "Name": "name",
        "ContactNumber": "number",
        "ContactStatus": "status",
        "UpdatedDateUTC": "updated",
        "EmailAddress": "fold(json_extract(body, '$.EmailAddress'))",
        "FirstName": "fold(json_extract(body, '$.FirstName'))",
        "LastName": "fold(json_extract(body, '$.LastName'))",
        "AccountNumber": "fold(json_extract(body, '$.AccountNumber'))",
        "CompanyNumber": "fold(json_extract(body, '$.CompanyNumber'))",
        "TaxNumber": "fold(json_extract(body, '$.TaxNumber'))",
        "IsCustomer": "coalesce(json_extract(body, '$.IsCustomer'), 0)",
        "IsSupplier": "coalesce(json_extract(body, '$.IsSupplier'), 0)",
    }

    def find(self, books: Books, key: str) -> Stored | None:
        if wanted := identifier(key):
            return books.get("contact", wanted)
        found = books.numbered("contact", key) if key else []
        return found[0] if found else None

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return self._shown(books, stored.id, stored.body, stored.updated)

    def brief(self, books: Books, contact: str, *, detail: bool) -> Json:
        """How a document shows its contact: in full, or id and name only (measured)."""
        stored = books.get("contact", contact)
        if stored is None:
            return {}
        if detail:
            return self._shown(books, stored.id, stored.body, stored.updated)
        return {
            "ContactID": stored.id,
            "Name": stored.body["Name"],
            "Addresses": [],
            "Phones": [],
            "ContactGroups": [],
            "ContactPersons": [],
            "HasValidationErrors": False,
        }

    def _shown(self, books: Books, contact: str, body: Json, updated: int | None) -> Json:
        shown: Json = {"ContactID": contact}
        if body.get("ContactNumber"):
            shown["ContactNumber"] = body["ContactNumber"]
        shown["ContactStatus"] = body["ContactStatus"]
        for name in ("Name", *_TEXTS):
            if name != "ContactNumber" and (body.get(name) or name in _ALWAYS or name == "Name"):
                shown[name] = body.get(name) or ""
        addresses = body.get("Addresses") or {}
        shown["Addresses"] = [
            {"AddressType": kind} | dict.fromkeys(_ADDRESS_ALWAYS, "") | addresses.get(kind, {})
            for kind in _ADDRESSES
        ]
        phones = body.get("Phones") or {}
        shown["Phones"] = [
            {"PhoneType": kind} | dict.fromkeys(_PHONE_LENGTHS, "") | phones.get(kind, {})
            for kind in _PHONES
        ]
        if updated is not None:
            shown["UpdatedDateUTC"] = net_instant(updated)
        shown["ContactGroups"] = [
            {"ContactGroupID": group, "Name": name, "Status": "ACTIVE", "Contacts": []}
            | {"HasValidationErrors": False}
            for group, name in books.groups_of(contact)
        ]
        shown["IsSupplier"] = bool(body.get("IsSupplier"))
        shown["IsCustomer"] = bool(body.get("IsCustomer"))
        for name in ("DefaultCurrency", "PaymentTerms"):
            if body.get(name):
                shown[name] = body[name]
        shown["SalesTrackingCategories"] = []
        shown["PurchasesTrackingCategories"] = []
        shown["ContactPersons"] = body.get("ContactPersons") or []
        shown["HasAttachments"] = books.has_files("contact", contact)
        shown["HasValidationErrors"] = False
        return shown

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """Steps: find the contact meant, merge what was sent, check all, store.

        PUT only creates. POST updates the contact with the id, else the one with the
        ContactNumber, else the active one with the Name, else creates (Xero: contacts page).
        """
        name = " ".join((text(element.get("Name"), "Name") or "").split())
        own = text(element.get("ContactNumber"), "ContactNumber") or ""
        errors: list[str] = []
        stored: Stored | None = None
        wanted = target or (None if create_only else identifier(element.get("ContactID")))
        if wanted:
            stored = books.get("contact", wanted)
            if stored is None:
                errors.append(validation.CONTACT_UNKNOWN)
        elif not create_only:
            stored = next(iter(books.numbered("contact", own)), None) if own else None
            stored = stored or (active_named(books, name) if name else None)
        if stored and stored.status != "ACTIVE":
            errors.append(validation.CONTACT_ARCHIVED)

        body = self._merged(stored.body if stored else {"ContactStatus": "ACTIVE"}, element, name)
        if stored is None:
            body["App"] = books.app
        errors += self._checked(books, body, element, stored)
        trace = {"name": body.get("Name", ""), "contact_number": body.get("ContactNumber", "")}
        contact = stored.id if stored else ZERO_ID
        if errors:
            return Outcome(contact, self._shown(books, contact, body, None), errors, False, trace)
        contact = stored.id if stored else str(uuid4())
        updated = self.save(books, contact, body)
        shown = self._shown(books, contact, body, updated)
        return Outcome(contact, shown, [], stored is None, trace)

    def save(self, books: Books, contact: str, body: Json, *, touch: bool = True) -> int:
        """Stores a body under what it can be found by. Returns its UpdatedDateUTC in ms."""
        return books.state.save(books.tenant, "contact", contact, body, keys_of(body), touch=touch)

    def _merged(self, old: Json, element: Json, name: str) -> Json:
        body = dict(old)
        for field in _TEXTS:
            if element.get(field) is not None:
                body[field] = text(element[field], field) or ""
        if element.get("Name") is not None:
            body["Name"] = name
        if element.get("DefaultCurrency"):
            body["DefaultCurrency"] = str(element["DefaultCurrency"]).upper()
        if isinstance(element.get("PaymentTerms"), dict):
            body["PaymentTerms"] = element["PaymentTerms"]
        status = str(element.get("ContactStatus") or "").upper()
        if old.get("Name") and status in {"ARCHIVED", "GDPRREQUEST"}:
            body["ContactStatus"] = status
        body["Phones"] = _merge_typed(
            body.get("Phones"), element.get("Phones"), "PhoneType", _PHONES, _PHONE_LENGTHS
        )
        body["Addresses"] = _merge_typed(
            body.get("Addresses"),
            element.get("Addresses"),
            "AddressType",
            _ADDRESSES,
            _ADDRESS_LENGTHS,
        )
        if element.get("ContactPersons") is not None:
            body["ContactPersons"] = [
                {
                    "FirstName": text(one.get("FirstName"), "FirstName") or "",
                    "LastName": text(one.get("LastName"), "LastName") or "",
                    "EmailAddress": text(one.get("EmailAddress"), "EmailAddress") or "",
                    "IncludeInEmails": bool(flag(one.get("IncludeInEmails"))),
                }
                for one in _members(element["ContactPersons"], "ContactPersons")
            ]
        return body

    def _checked(self, books: Books, body: Json, element: Json, stored: Stored | None) -> list[str]:
        errors: list[str] = []
        name, own = str(body.get("Name") or ""), str(body.get("ContactNumber") or "")
        if not name:
            errors.append(validation.CONTACT_NAMELESS)
        elif re.search("[<>]", name):
            errors.append(validation.NAME_CHARACTERS)
        errors += validation.lengths(body, LENGTHS)
        if name and (stored is None or fold(name) != fold(str(stored.body["Name"]))):
            holder = active_named(books, name)
            if holder and (stored is None or holder.id != stored.id):
                errors.append(validation.contact_name_taken(name))
        for holder in books.numbered("contact", own) if own else []:
            if stored is None or holder.id != stored.id:
                errors.append(
                    validation.CONTACT_NUMBER_TAKEN
                    if holder.status == "ACTIVE"
                    else validation.CONTACT_ARCHIVED
                )
                break
        errors += validation.email(str(body.get("EmailAddress") or ""))
        for person in body.get("ContactPersons") or []:
            errors += validation.email(person["EmailAddress"])
        for kind, phone in body["Phones"].items():
            errors += validation.lengths(phone, _PHONE_LENGTHS, f"{kind} ")
        for kind, address in body["Addresses"].items():
            errors += validation.lengths(address, _ADDRESS_LENGTHS, f"{kind} ")
            if not re.fullmatch(r"[^\W\d_]*([ .,'()&-]+[^\W\d_]*)*", address.get("Country", "")):
                errors.append(validation.COUNTRY_LETTERS)
        for field in ("AccountsReceivableTaxType", "AccountsPayableTaxType"):
            if (code := body.get(field)) and books.tax_rate(str(code)) is None:
                errors.append(validation.tax_type_unknown(str(code)))
        for field in ("SalesDefaultAccountCode", "PurchasesDefaultAccountCode"):
            if (code := body.get(field)) and books.account(str(code)) is None:
                errors.append(validation.account_invalid(str(code)))
        currency = body.get("DefaultCurrency")
        if currency and currency not in books.organisation.rates:
            errors.append(validation.currency_not_subscribed(str(currency)))
        return list(dict.fromkeys(errors))


def _members(value: object, field: str) -> list[Json]:
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return value
    raise Malformed(f"{field} must be a list of objects.")


def _merge_typed(
    old: Json | None, sent: object, type_field: str, types: tuple[str, ...], parts: dict[str, int]
) -> Json:
    """Phones and addresses merge by their type; parts that weren't sent keep their value."""
    merged = {kind: dict(value) for kind, value in (old or {}).items()}
    for one in _members(sent, type_field) if sent is not None else []:
        kind = str(one.get(type_field) or types[0]).upper()
        if kind in types:
            given = {
                part: text(one[part], part) or "" for part in parts if one.get(part) is not None
            }
            merged[kind] = merged.get(kind, {}) | given
    return merged

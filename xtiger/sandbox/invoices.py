"""Invoices and bills: numbers, legal changes of status, lock dates, and totals."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

from xtiger.sandbox import arithmetic, lines, validation
from xtiger.sandbox.arithmetic import AmountTypes
from xtiger.sandbox.books import Books, Outcome
from xtiger.sandbox.contacts import Contacts, active_named, keys_of, new_contact
from xtiger.sandbox.state import Keys, Stored
from xtiger.sandbox.wire import (
    ZERO_ID,
    Json,
    day,
    flag,
    identifier,
    iso_instant,
    net_day,
    net_instant,
    number,
    text,
)

_LENGTHS = {"InvoiceNumber": 255, "Reference": 255, "Url": 2000}
_CREATABLE = ("DRAFT", "SUBMITTED", "AUTHORISED")
#: Xero: invoices page, "status changes"; PAID comes from payments only
_CHANGES = {
    "DRAFT": ("DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"),
    "SUBMITTED": ("SUBMITTED", "DRAFT", "AUTHORISED", "DELETED"),
    "AUTHORISED": ("AUTHORISED", "VOIDED"),
}
_ZERO = Decimal("0.00")
_CONTACTS = Contacts()


class Invoices:
    """PUT and POST /Invoices (Xero OpenAPI Invoice), ACCREC and ACCPAY."""

    plural = "Invoices"
    kind = "invoice"
    id_field = "InvoiceID"
    error_flag = "HasErrors"
    paged = True
    scopes: tuple[str, ...] = ("accounting.invoices",)
    writable = True
    _contact = "(SELECT {} FROM objects c WHERE c.tenant = objects.tenant AND c.kind = 'contact'"
    _contact += " AND c.id = objects.contact)"
    fields = {
        "InvoiceID": "id",
        "InvoiceNumber": "name",
        "Type": "type",
        "Status": "status",
        "Date": "date",
        "UpdatedDateUTC": "updated",
        "DueDate": "json_extract(body, '$.DueDate')",
        "Reference": "fold(json_extract(body, '$.Reference'))",
        "Url": "fold(json_extract(body, '$.Url'))",
        "CurrencyCode": "json_extract(body, '$.CurrencyCode')",
        "Total": "json_extract(body, '$.Total')",
        "SubTotal": "json_extract(body, '$.SubTotal')",
        "TotalTax": "json_extract(body, '$.TotalTax')",
        "AmountDue": "CASE WHEN status IN ('DELETED', 'VOIDED') THEN 0"
        " ELSE json_extract(body, '$.Total') END",
        "AmountPaid": "0",
        "Contact.ContactID": "contact",
        "Contact.Name": _contact.format("name"),
        "Contact.ContactNumber": _contact.format("number"),
    }

    def find(self, books: Books, key: str) -> Stored | None:
        if wanted := identifier(key):
            return books.get("invoice", wanted)
        return next(iter(reversed(books.named("invoice", key))), None) if key else None

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        contact = _CONTACTS.brief(books, stored.body["ContactID"], detail=False)
        return self._shown(books, stored.id, stored.body, contact, stored.updated, detail=detail)

    def show_alone(self, books: Books, stored: Stored) -> Json:
        """A single GET shows the contact in full."""
        contact = _CONTACTS.brief(books, stored.body["ContactID"], detail=True)
        return self._shown(books, stored.id, stored.body, contact, stored.updated, detail=True)

    def _shown(
        self,
        books: Books,
        invoice: str,
        body: Json,
        contact: Json,
        updated: int | None,
        *,
        detail: bool,
        messages: list[list[str]] | None = None,
    ) -> Json:
        closed = body["Status"] in ("DELETED", "VOIDED")
        shown: Json = {
            "Type": body.get("Type", ""),
            "InvoiceID": invoice,
            "InvoiceNumber": body.get("InvoiceNumber", ""),
            "Reference": body.get("Reference", ""),
        }
        if body.get("Url"):
            shown["Url"] = body["Url"]
        shown |= {
            "Payments": [],
            "CreditNotes": [],
            "Prepayments": [],
            "Overpayments": [],
            "AmountDue": _ZERO if closed else body["Total"],
            "AmountPaid": _ZERO,
            "AmountCredited": _ZERO,
            "SentToContact": bool(body.get("SentToContact")),
            "CurrencyRate": body.get("CurrencyRate", Decimal("1.000000")),
            "IsDiscounted": any(line["Discount"] for line in body["LineItems"]),
            "HasAttachments": False,
            "HasErrors": False,
            "Attachments": [],
            "InvoiceAddresses": [],
            "Contact": contact,
        }
        for field in ("Date", "DueDate", "ExpectedPaymentDate", "PlannedPaymentDate"):
            if body.get(field):
                if field in ("Date", "DueDate"):
                    shown[f"{field}String"] = f"{body[field]}T00:00:00"
                shown[field] = net_day(body[field])
        if body.get("BrandingThemeID"):
            shown["BrandingThemeID"] = body["BrandingThemeID"]
        shown |= {"Status": body["Status"], "LineAmountTypes": body["LineAmountTypes"]}
        shown["LineItems"] = (
            lines.shown(body["LineItems"], messages, four=books.four) if detail else []
        )
        shown |= {field: body[field] for field in ("SubTotal", "TotalTax", "Total")}
        off = sum((line["Discount"] for line in body["LineItems"]), _ZERO)
        if off:
            shown["TotalDiscount"] = off
        if updated is not None:
            shown["UpdatedDateUTC"] = net_instant(updated)
            shown["UpdatedDateUTCString"] = iso_instant(updated)
        shown["CurrencyCode"] = body["CurrencyCode"]
        return shown

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """Steps: find the document meant, merge, work out the lines, check all, store.

        PUT only creates. POST updates the document with the id, else the ACCREC one that holds
        the number, else creates (Xero: invoices page).
        """
        errors: list[str] = []
        own = text(element.get("InvoiceNumber"), "InvoiceNumber") or ""
        kind = (text(element.get("Type"), "Type") or "").upper()
        stored: Stored | None = None
        wanted = target or (None if create_only else identifier(element.get("InvoiceID")))
        if wanted:
            stored = books.get("invoice", wanted)
            if stored is None:
                errors.append(validation.INVOICE_UNKNOWN)
        elif not create_only and own and kind in ("ACCREC", ""):
            stored = _sales_numbered(books, own)

        body = self._merged(books, stored.body if stored else None, element, errors)
        if own and body.get("Type") == "ACCREC":
            holder = _sales_numbered(books, own)
            if holder and (stored is None or holder.id != stored.id):
                errors.append(validation.NUMBER_TAKEN)
        contact = self._contact_meant(books, element, body, errors)
        messages = self._lines(books, element, body, stored, errors)
        errors += self._checked(books, body, stored)
        for found in messages:
            errors += found
        errors = list(dict.fromkeys(errors))

        invoice = stored.id if stored else ZERO_ID
        trace = {"number": body.get("InvoiceNumber", ""), "url": body.get("Url", "")}
        trace |= {"type": body.get("Type", ""), "contact_id": body.get("ContactID", "")}
        if errors:
            known = str(body.get("ContactID") or "")
            whom = _CONTACTS.brief(books, known, detail=True) if known else {}
            whom = whom or {k: v for k, v in (contact or {}).items() if isinstance(v, str)}
            shown = self._shown(books, invoice, body, whom, None, detail=True, messages=messages)
            return Outcome(invoice, shown, errors, False, trace)
        return self._stored(books, body, stored, contact, trace)

    def _stored(
        self, books: Books, body: Json, stored: Stored | None, contact: Json | None, trace: Json
    ) -> Outcome:
        if not body.get("ContactID") and contact is not None:
            body["ContactID"] = new_contact(
                books, str(contact["Name"]), str(contact.get("ContactNumber") or "")
            )
        if not body.get("InvoiceNumber") and body["Type"] == "ACCREC":
            body["InvoiceNumber"] = _next_number(books)
        _mark_contact(books, body["ContactID"], body["Type"])
        invoice = stored.id if stored else str(uuid4())
        keys = Keys(
            name=str(body.get("InvoiceNumber") or ""),
            type=body["Type"],
            status=body["Status"],
            contact=body["ContactID"],
            date=body["Date"],
            app=books.app,
        )
        updated = books.state.save(books.tenant, "invoice", invoice, body, keys)
        whom = _CONTACTS.brief(books, body["ContactID"], detail=True)
        shown = self._shown(books, invoice, body, whom, updated, detail=True)
        trace = trace | {"number": body.get("InvoiceNumber", ""), "contact_id": body["ContactID"]}
        return Outcome(invoice, shown, [], stored is None, trace)

    def _merged(self, books: Books, old: Json | None, element: Json, errors: list[str]) -> Json:
        base = books.organisation.currency
        today = books.today().isoformat()
        body: Json = dict(old) if old else {"Status": "DRAFT", "Date": today, "CurrencyCode": base}
        kind = (text(element.get("Type"), "Type") or "").upper()
        if old and kind and kind != old["Type"]:
            errors.append(validation.TYPE_FIXED)
        elif not old:
            body["Type"] = kind
            if kind not in ("ACCREC", "ACCPAY"):
                errors.append(validation.TYPE_INVALID)
        for field in ("InvoiceNumber", "Reference", "Url", "BrandingThemeID"):
            # Reference belongs to sales invoices; a bill's number is shown as its reference
            if element.get(field) is not None and not (
                field == "Reference" and body["Type"] == "ACCPAY"
            ):
                body[field] = text(element[field], field) or ""
        for field in ("Date", "DueDate", "ExpectedPaymentDate", "PlannedPaymentDate"):
            if found := day(element.get(field), field):
                body[field] = found.isoformat()
        if code := text(element.get("CurrencyCode"), "CurrencyCode"):
            body["CurrencyCode"] = code.upper()
        rate = number(element.get("CurrencyRate"), "CurrencyRate")
        if body["CurrencyCode"] == base:
            body["CurrencyRate"] = Decimal("1.000000")
        elif rate is not None:
            body["CurrencyRate"] = rate.quantize(Decimal("0.000001"))
        elif "CurrencyRate" not in body or element.get("CurrencyCode"):
            day_rate = books.organisation.rates.get(body["CurrencyCode"], "1.000000")
            body["CurrencyRate"] = Decimal(day_rate)
        amounts = text(element.get("LineAmountTypes"), "LineAmountTypes") or ""
        body["LineAmountTypes"] = str(
            AmountTypes.read(amounts) or body.get("LineAmountTypes") or AmountTypes.EXCLUSIVE
        )
        if status := (text(element.get("Status"), "Status") or "").upper():
            body["Status"] = status
        sent = flag(element.get("SentToContact"))
        if sent is not None:
            body["SentToContact"] = sent and body["Status"] in ("AUTHORISED", "PAID")
        return body

    def _contact_meant(
        self, books: Books, element: Json, body: Json, errors: list[str]
    ) -> Json | None:
        """Sets ContactID if the contact is known; returns what was sent if one must be created."""
        sent = element.get("Contact")
        if not isinstance(sent, dict):
            if not body.get("ContactID"):
                errors.append(validation.NO_CONTACT)
            return None
        name = " ".join((text(sent.get("Name"), "Name") or "").split())
        own = text(sent.get("ContactNumber"), "ContactNumber") or ""
        found: Stored | None = None
        if wanted := identifier(sent.get("ContactID")):
            found = books.get("contact", wanted)
            if found is None:
                errors.append(validation.CONTACT_UNKNOWN)
                return sent
        else:
            found = next(iter(books.numbered("contact", own)), None) if own else None
            found = found or (active_named(books, name) if name else None)
        if found is None:
            body.pop("ContactID", None)
            if not name:
                errors.append(validation.NO_CONTACT)
            elif any(sign in name for sign in "<>"):
                errors.append(validation.NAME_CHARACTERS)
            errors += validation.lengths({"Name": name, "ContactNumber": own}, {"Name": 255})
            return {"Name": name, "ContactNumber": own}
        if found.status != "ACTIVE" and found.id != body.get("ContactID"):
            errors.append(validation.CONTACT_ARCHIVED)
        body["ContactID"] = found.id
        return None

    def _lines(
        self, books: Books, element: Json, body: Json, stored: Stored | None, errors: list[str]
    ) -> list[list[str]]:
        """Works out the lines and totals. Lines that nothing touches keep their figures."""
        old = stored.body["LineItems"] if stored else []
        approved = body["Status"] in ("AUTHORISED", "PAID")
        terms = lines.Terms(
            sales=body["Type"] != "ACCPAY",
            discounts=body["Type"] != "ACCPAY",
            approved=approved,
            amounts=AmountTypes(body["LineAmountTypes"]),
        )
        messages: list[list[str]] = []
        if element.get("LineItems") is not None:
            body["LineItems"], messages = lines.build(books, element["LineItems"], old, terms)
        elif stored and body["LineAmountTypes"] != stored.body["LineAmountTypes"]:
            body["LineItems"], messages = lines.again(books, old, terms)
        elif approved and any("AccountCode" not in line for line in old):
            errors.append(validation.ACCOUNT_MISSING)
        body.setdefault("LineItems", [])
        if not body["LineItems"]:
            errors.append(validation.NO_LINES)
        totals = arithmetic.totals(
            ((line["LineAmount"], line["TaxAmount"]) for line in body["LineItems"]), terms.amounts
        )
        body |= {
            "SubTotal": totals.sub_total,
            "TotalTax": totals.total_tax,
            "Total": totals.total,
        }
        return messages

    def _checked(self, books: Books, body: Json, stored: Stored | None) -> list[str]:
        errors: list[str] = []
        if stored is None:
            if body["Status"] not in _CREATABLE:
                errors.append(validation.INVALID_CREATE_STATUS)
        elif body["Status"] not in _CHANGES.get(stored.body["Status"], ()):
            errors.append(validation.INVALID_DOCUMENT_STATUS)
        if body["Status"] == "AUTHORISED" and not body.get("DueDate"):
            errors.append(validation.DUE_DATE_MISSING)
        lock = books.system_lock()
        if lock and (body["Date"] <= lock or (stored and stored.body["Date"] <= lock)):
            errors.append(validation.LOCKED)
        if body["CurrencyCode"] not in books.organisation.rates:
            errors.append(validation.currency_not_subscribed(body["CurrencyCode"]))
        errors += validation.lengths(body, _LENGTHS)
        if body["Type"] == "ACCREC":
            errors += validation.printable(str(body.get("InvoiceNumber") or ""))
        if body.get("Url"):
            errors += validation.url(str(body["Url"]))
        return errors


def _sales_numbered(books: Books, invoice_number: str) -> Stored | None:
    """The sales invoice with that number, deleted and voided ones included."""
    return next(
        (one for one in books.named("invoice", invoice_number) if one.body["Type"] == "ACCREC"),
        None,
    )


def _next_number(books: Books) -> str:
    while True:
        candidate = f"INV-{books.state.count_up(books.tenant, 'invoice number'):04d}"
        if _sales_numbered(books, candidate) is None:
            return candidate


def _mark_contact(books: Books, contact: str, kind: str) -> None:
    """IsCustomer and IsSupplier follow from documents and don't touch UpdatedDateUTC."""
    role = "IsCustomer" if kind == "ACCREC" else "IsSupplier"
    stored = books.get("contact", contact)
    if stored and not stored.body.get(role):
        body = stored.body | {role: True}
        books.state.save(books.tenant, "contact", contact, body, keys_of(body), touch=False)

"""Payments: money against an invoice, or refunding a credit; made and deleted, never changed."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

from xtiger.sandbox.accounting import arithmetic, ledger, queries, validation
from xtiger.sandbox.accounting.books import READ_WRITE, Books, Endpoint, Outcome
from xtiger.sandbox.accounting.documents import CONTACTS
from xtiger.sandbox.accounting.ledger import KINDS
from xtiger.sandbox.accounting.lines import shown as lines_shown
from xtiger.sandbox.kept.state import Keys, Stored
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

_ONE = Decimal("1.000000")
#: PaymentType and the Type under which Xero shows the document, by the document's own Type
_TYPES = {
    "ACCREC": ("ACCRECPAYMENT", "ACCREC"),
    "ACCPAY": ("ACCPAYPAYMENT", "ACCPAY"),
    "ACCRECCREDIT": ("ARCREDITPAYMENT", "ACCRECCREDIT"),
    "ACCPAYCREDIT": ("APCREDITPAYMENT", "ACCPAYCREDIT"),
    "RECEIVE-PREPAYMENT": ("ARPREPAYMENTPAYMENT", "ARPREPAYMENT"),
    "SPEND-PREPAYMENT": ("APPREPAYMENTPAYMENT", "APPREPAYMENT"),
    "RECEIVE-OVERPAYMENT": ("AROVERPAYMENTPAYMENT", "AROVERPAYMENT"),
    "SPEND-OVERPAYMENT": ("APOVERPAYMENTPAYMENT", "APOVERPAYMENT"),
}
#: own choice of lengths: Xero's description gives none
_TEXTS = {"Reference": 255, "BankAccountNumber": 255, "Particulars": 255, "Details": 255}
_UNKNOWN = {
    "invoice": validation.INVOICE_UNKNOWN,
    "creditnote": validation.CREDIT_NOTE_UNKNOWN,
    "prepayment": validation.PREPAYMENT_UNKNOWN,
    "overpayment": validation.OVERPAYMENT_UNKNOWN,
}
_document = "(SELECT {} FROM objects d WHERE d.tenant = objects.tenant"
_document += " AND d.kind = json_extract(objects.body, '$.Kind') AND d.id = objects.number)"


class Payments(Endpoint):
    """PUT and POST /Payments (Xero OpenAPI Payment)."""

    plural = "Payments"
    kind = "payment"
    id_field = "PaymentID"
    error_flag = "HasValidationErrors"
    paged = True
    sized = True
    scopes: tuple[str, ...] = ("accounting.payments",)
    methods = READ_WRITE
    fields = {
        "PaymentID": "id",
        "PaymentType": "type",
        "Status": "status",
        "Date": "date",
        "UpdatedDateUTC": "updated",
        "Amount": "json_extract(body, '$.Amount')",
        "BankAmount": "json_extract(body, '$.BankAmount')",
        "CurrencyRate": "json_extract(body, '$.CurrencyRate')",
        "Reference": "fold(json_extract(body, '$.Reference'))",
        "IsReconciled": "coalesce(json_extract(body, '$.IsReconciled'), 0)",
        "Account.AccountID": "json_extract(body, '$.AccountID')",
        "Account.Code": queries.account_code("AccountID"),
        "Invoice.InvoiceID": "number",
        "CreditNote.CreditNoteID": "number",
        "Prepayment.PrepaymentID": "number",
        "Overpayment.OverpaymentID": "number",
        "Invoice.InvoiceNumber": _document.format("d.name"),
        "Invoice.Type": _document.format("d.type"),
        "Invoice.Contact.ContactID": _document.format("d.contact"),
    }

    def find(self, books: Books, key: str) -> Stored | None:
        wanted = identifier(key)
        return books.get(self.kind, wanted) if wanted else None

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return self._shown(books, stored.id, stored.body, stored.updated, full=False)

    def show_alone(self, books: Books, stored: Stored) -> Json:
        return self._shown(books, stored.id, stored.body, stored.updated, full=True)

    def _shown(
        self, books: Books, payment: str, body: Json, updated: int | None, *, full: bool
    ) -> Json:
        """A refused one lacks what couldn't be found."""
        shown: Json = {"PaymentID": payment}
        if body.get("Date"):
            shown["Date"] = net_day(body["Date"])
        for field in ("BankAmount", "Amount", *_TEXTS, "CurrencyRate"):
            if field in body:
                shown[field] = body[field]
        if body.get("PaymentType"):
            shown["PaymentType"] = body["PaymentType"]
        shown["Status"] = body["Status"]
        if updated is not None:
            shown["UpdatedDateUTC"] = net_instant(updated)
            shown["UpdatedDateUTCString"] = iso_instant(updated)
        account = books.account_of(body["AccountID"]) if body.get("AccountID") else None
        shown |= {"HasAccount": account is not None, "IsReconciled": bool(body["IsReconciled"])}
        if account is not None:
            shown["Account"] = {"AccountID": account["AccountID"]}
            fields = ("Code", "Name") if full else ("Code",)
            shown["Account"] |= {field: account[field] for field in fields if account.get(field)}
        document = books.get(body["Kind"], body["Document"]) if body.get("Document") else None
        if document is not None:
            # whatever it settles is shown as Invoice (Xero OpenAPI, examples of GET /Payments)
            shown["Invoice"] = _document_shown(books, body["Kind"], document, full=full)
        return shown | {"HasValidationErrors": False}

    # writing

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """PUT creates; POST creates too, or deletes where it names a payment (FACTS section 6)."""
        wanted = target or (None if create_only else identifier(element.get("PaymentID")))
        return self._deleted(books, element, wanted) if wanted else self._made(books, element)

    def _deleted(self, books: Books, element: Json, payment: str) -> Outcome:
        stored = books.get(self.kind, payment)
        if stored is None:
            body: Json = {"Status": "AUTHORISED", "IsReconciled": False}
            shown = self._shown(books, payment, body, None, full=True)
            return Outcome(payment, shown, [validation.PAYMENT_UNKNOWN], False)
        errors: list[str] = []
        lock = books.system_lock()
        if (text(element.get("Status"), "Status") or "").upper() != "DELETED":
            errors.append(validation.PAYMENT_FIXED)
        elif stored.status == "DELETED":
            errors.append(validation.PAYMENT_DELETED)
        elif lock and stored.body["Date"] <= lock:
            errors.append(validation.LOCKED)
        body, updated = stored.body, stored.updated
        if not errors:
            body = body | {"Status": "DELETED"}
            updated = self._save(books, payment, body)
            ledger.settle(books, body["Kind"], body["Document"])
        shown = self._shown(books, payment, body, updated, full=True)
        return Outcome(payment, shown, errors, False, _trace(body))

    def _made(self, books: Books, element: Json) -> Outcome:
        """Steps: the document, the account, the day, the amount; then store and settle."""
        errors: list[str] = []
        body: Json = {
            "Status": "AUTHORISED",
            "IsReconciled": bool(flag(element.get("IsReconciled"))),
        }
        if (text(element.get("Status"), "Status") or "AUTHORISED").upper() != "AUTHORISED":
            errors.append(validation.PAYMENT_STATUS)
        for field in _TEXTS:
            if element.get(field) is not None:
                body[field] = text(element[field], field) or ""
        errors += validation.lengths(body, _TEXTS)
        kind, document = _document_meant(books, element, errors)
        if document is not None:
            body |= {
                "Kind": kind,
                "Document": document.id,
                "PaymentType": _TYPES[document.body["Type"]][0],
            }
        account = _account_meant(books, element)
        if account is None:
            errors.append(validation.PAYMENT_ACCOUNT)
        else:
            body["AccountID"] = account["AccountID"]
        when = day(element.get("Date"), "Date")
        lock = books.system_lock()
        if when is None:
            errors.append(validation.DATE_MISSING)
        else:
            body["Date"] = when.isoformat()
            if lock and body["Date"] <= lock:
                errors.append(validation.LOCKED)
        amount = number(element.get("Amount"), "Amount")
        if amount is None:
            errors.append(validation.AMOUNT_MISSING)
        else:
            amount = body["Amount"] = arithmetic.cents(amount)
            if amount <= 0:
                errors.append(validation.AMOUNT_POSITIVE)
            if document is not None and amount > ledger.outstanding(document.body):
                errors.append(validation.PAYMENT_TOO_BIG)
        if document is not None and document.status != "AUTHORISED":
            errors.append(validation.PAYMENT_NOT_AUTHORISED)
        if document is not None and account is not None:
            errors += _exchanged(books, element, document.body, account, body)
        if errors or document is None:
            shown = self._shown(books, ZERO_ID, body, None, full=True)
            return Outcome(ZERO_ID, shown, list(dict.fromkeys(errors)), False, _trace(body))
        payment = str(uuid4())
        updated = self._save(books, payment, body)
        ledger.settle(books, kind, document.id)
        shown = self._shown(books, payment, body, updated, full=True)
        return Outcome(payment, shown, [], True, _trace(body))

    def _save(self, books: Books, payment: str, body: Json) -> int:
        keys = Keys(
            number=body["Document"],
            type=body["PaymentType"],
            status=body["Status"],
            date=body["Date"],
            app=books.app,
        )
        return books.state.save(books.tenant, self.kind, payment, body, keys)


def _trace(body: Json) -> Json:
    return {"reference": body.get("Reference", ""), "document": body.get("Document", "")}


def _document_meant(books: Books, element: Json, errors: list[str]) -> tuple[str, Stored | None]:
    """The one document that a payment names, by id or by number.

    `InvoiceNumber` beside the payment may be a credit note's too (Xero OpenAPI Payment).
    """
    named: list[tuple[str, str, bool]] = []
    for kind, known in KINDS.items():
        sent = element.get(known.name)
        if not isinstance(sent, dict):
            continue
        wanted = identifier(sent.get(known.id_field))
        own = text(sent.get(known.number), known.number) if known.number else None
        if wanted:
            named.append((kind, wanted, True))
        elif own and kind in ("invoice", "creditnote"):
            named.append((kind, own, False))
    if not named:
        for kind in ("invoice", "creditnote"):
            own = text(element.get(KINDS[kind].number), KINDS[kind].number)
            if own:
                named.append((kind, own, False))
    if len(named) != 1:
        errors.append(validation.PAYMENT_DOCUMENT)
        return "", None
    kind, key, by_id = named[0]
    if by_id:
        found = [one] if (one := books.get(kind, key)) else []
    else:
        found = _numbered(books, kind, key)
        if not found and kind == "invoice" and not isinstance(element.get("Invoice"), dict):
            kind, found = "creditnote", _numbered(books, "creditnote", key)
    if not found:
        errors.append(_UNKNOWN[kind])
    elif len(found) > 1:
        errors.append(validation.PAYMENT_AMBIGUOUS)
    return kind, found[0] if len(found) == 1 else None


def _numbered(books: Books, kind: str, key: str) -> list[Stored]:
    """Sales numbers are unique and come first; of bills only those that still count."""
    found = books.named(kind, key)
    own = [one for one in found if str(one.body["Type"]).startswith("ACCREC")]
    return own or [one for one in found if one.status not in ("DELETED", "VOIDED")] or found[:1]


def _account_meant(books: Books, element: Json) -> Json | None:
    """By id or code: a bank account, or one that is open to payments (Xero: payments page)."""
    sent = element.get("Account")
    sent = sent if isinstance(sent, dict) else {}
    by_id = identifier(sent.get("AccountID"))
    code = text(sent.get("Code"), "Code") or text(element.get("Code"), "Code") or ""
    account = books.account_of(by_id) if by_id else books.account(code) if code else None
    if account is None or account["Status"] != "ACTIVE":
        return None
    return account if account["Type"] == "BANK" or account["EnablePaymentsToAccount"] else None


def _exchanged(books: Books, element: Json, document: Json, account: Json, body: Json) -> list[str]:
    """Sets CurrencyRate and BankAmount: a payment is in its document's currency.

    A rate is what one unit of the base currency buys; the day's where none is sent. The bank
    account holds the document's currency, or the base currency at that rate.
    """
    base, currency = books.organisation.currency, document["CurrencyCode"]
    rate = _ONE
    if currency != base:
        sent = number(element.get("CurrencyRate"), "CurrencyRate")
        rate = Decimal(books.organisation.rates.get(currency, "1.000000")) if sent is None else sent
        rate = rate.quantize(_ONE)
    body["CurrencyRate"] = rate
    if rate <= 0:
        return [validation.RATE_POSITIVE]
    held = account.get("CurrencyCode") or base
    if "Amount" in body:
        if held == currency:
            body["BankAmount"] = body["Amount"]
        elif held == base:
            body["BankAmount"] = arithmetic.cents(body["Amount"] / rate)
    return [] if held in (currency, base) else [validation.PAYMENT_CURRENCY]


def _document_shown(books: Books, kind: str, document: Stored, *, full: bool) -> Json:
    """The document as a payment shows it: named only in lists (Xero OpenAPI, examples)."""
    body = document.body
    own = KINDS[kind].number
    shown: Json = {"Type": _TYPES[body["Type"]][1]}
    shown |= ledger.invoice_brief(document.id, str(body.get(own) or "") if own else "")
    contact = CONTACTS.brief(books, body["ContactID"], detail=False)
    if not full:
        return shown | {"Contact": contact, "CurrencyCode": body["CurrencyCode"]}
    shown["Reference"] = body.get("Reference", "")
    shown["Payments"] = ledger.payments_shown(books, document.id, body)
    if kind == "invoice":
        shown |= ledger.credits_shown(books, document.id, body)
    left = body["RemainingCredit"] if KINDS[kind].credit else body["AmountDue"]
    shown |= {"AmountDue": left, "AmountPaid": body["AmountPaid"]}
    if kind == "invoice":
        shown["AmountCredited"] = body["AmountCredited"]
    shown |= {
        "SentToContact": bool(body.get("SentToContact")),
        "CurrencyRate": body["CurrencyRate"],
        "IsDiscounted": any(line["Discount"] for line in body["LineItems"]),
        "Contact": contact,
    }
    shown |= ledger.day_shown(body["Date"])
    if body.get("DueDate"):
        shown["DueDateString"] = f"{body['DueDate']}T00:00:00"
        shown["DueDate"] = net_day(body["DueDate"])
    shown |= {"Status": body["Status"], "LineAmountTypes": body["LineAmountTypes"]}
    shown["LineItems"] = lines_shown(body["LineItems"], four=books.four)
    shown |= {field: body[field] for field in ("SubTotal", "TotalTax", "Total")}
    shown["UpdatedDateUTC"] = net_instant(document.updated)
    shown["UpdatedDateUTCString"] = iso_instant(document.updated)
    shown["CurrencyCode"] = body["CurrencyCode"]
    if body.get("FullyPaidOnDate"):
        shown["FullyPaidOnDate"] = net_day(body["FullyPaidOnDate"])
    return shown

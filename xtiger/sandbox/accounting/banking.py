"""Bank transactions: money spent and received, and the credits that some of them stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

from xtiger.sandbox.accounting import ledger, lines, queries, validation
from xtiger.sandbox.accounting.arithmetic import AmountTypes
from xtiger.sandbox.accounting.books import Books
from xtiger.sandbox.accounting.documents import FIELDS, Documents, View
from xtiger.sandbox.accounting.prepayments import Overpayments, Prepayments, by_reference
from xtiger.sandbox.accounting.queries import Query
from xtiger.sandbox.kept.state import Stored, fold
from xtiger.sandbox.wire import Json, flag, identifier, net_instant, text

_CREDITS: dict[str, Prepayments | Overpayments] = {
    "PREPAYMENT": Prepayments(),
    "OVERPAYMENT": Overpayments(),
}
#: what the line of an overpayment can't say: its money goes to receivables or payables, untaxed
_NOT_OWN = {"AccountCode", "AccountID", "TaxType", "TaxAmount", "ItemCode"}


class BankTransactions(Documents):
    """PUT and POST /BankTransactions (Xero OpenAPI BankTransaction)."""

    plural = "BankTransactions"
    kind = "banktransaction"
    id_field = "BankTransactionID"
    error_flag = ""
    scopes: tuple[str, ...] = ("accounting.banktransactions",)
    #: transfers are shown by Xero under types of their own, but made elsewhere
    types = (
        "RECEIVE",
        "SPEND",
        "RECEIVE-PREPAYMENT",
        "SPEND-PREPAYMENT",
        "RECEIVE-OVERPAYMENT",
        "SPEND-OVERPAYMENT",
    )
    texts = {"Reference": 255, "Url": 2000}
    days = ("Date",)
    creatable = ("AUTHORISED",)
    changes = {"AUTHORISED": ("AUTHORISED", "DELETED")}
    unknown = validation.BANK_UNKNOWN
    bad_create = validation.BANK_CREATE
    bad_change = validation.BANK_CHANGE
    bad_type = validation.BANK_TYPE
    no_contact = validation.BANK_CONTACT
    fields = FIELDS | {
        "BankTransactionID": "id",
        "Url": "fold(json_extract(body, '$.Url'))",
        "IsReconciled": "json_extract(body, '$.IsReconciled')",
        "BankAccount.AccountID": "json_extract(body, '$.BankAccountID')",
        "BankAccount.Code": queries.account_code("BankAccountID"),
        "PrepaymentID": "json_extract(body, '$.PrepaymentID')",
        "OverpaymentID": "json_extract(body, '$.OverpaymentID')",
    }

    def narrow(self, books: Books, query: Query, asked: Mapping[str, str]) -> None:
        by_reference(query, asked)

    def stocks(self, body: Json) -> int:
        if body["Status"] != "AUTHORISED":
            return 0
        return {"SPEND": 1, "RECEIVE": -1}.get(str(body.get("Type")), 0)

    def terms(self, body: Json) -> lines.Terms:
        return lines.Terms(
            sales=str(body["Type"]).startswith("RECEIVE"),
            discounts=False,
            approved=not _overpaid(body),
            amounts=AmountTypes(body["LineAmountTypes"]),
        )

    def merge(self, books: Books, old: Json | None, element: Json, body: Json) -> list[str]:
        errors: list[str] = []
        if _overpaid(body):
            body["LineAmountTypes"] = str(AmountTypes.NO_TAX)
        reconciled = flag(element.get("IsReconciled"))
        body["IsReconciled"] = bool(body.get("IsReconciled")) if reconciled is None else reconciled
        account = _bank_account(books, element, body)
        if account is None:
            return [validation.BANK_ACCOUNT]
        body["BankAccountID"] = account["AccountID"]
        held = account.get("CurrencyCode") or books.organisation.currency
        # "Setting currency is only supported on overpayments" (Xero OpenAPI BankTransaction)
        if not _overpaid(body):
            wanted = (text(element.get("CurrencyCode"), "CurrencyCode") or held).upper()
            if wanted != held:
                errors.append(validation.BANK_CURRENCY)
            if body["CurrencyCode"] != held or (element.get("CurrencyCode") is None and not old):
                self._currency(books, element | {"CurrencyCode": held}, body)
        return errors

    def check(self, books: Books, body: Json, stored: Stored | None, element: Json) -> list[str]:
        errors: list[str] = []
        if body["Total"] < 0:
            errors.append(validation.BANK_POSITIVE)
        if stored is None:
            return errors
        # what Xero allows of a reconciled one isn't in its public pages: our choice
        if stored.body["IsReconciled"] and body["IsReconciled"]:
            errors.append(validation.BANK_RECONCILED)
        credit = _credit(stored.body)
        found = books.get(credit.kind, stored.body[credit.id_field]) if credit else None
        if found and ledger.settled(found.body):
            errors.append(
                validation.DOCUMENT_SETTLED
                if body["Status"] == "AUTHORISED"
                else validation.status_blocked(str(body["Status"]))
            )
        return errors

    def kept(self, books: Books, identifier: str, body: Json, before: Json | None) -> None:
        """A prepayment or overpayment lives and ends with its bank transaction."""
        if credit := _credit(body):
            body.setdefault(credit.id_field, str(uuid4()))
            credit.make(books, body[credit.id_field], body)

    def _lines(
        self, books: Books, element: Json, body: Json, stored: Stored | None, errors: list[str]
    ) -> list[list[str]]:
        sent = element.get("LineItems")
        if not _overpaid(body) or not isinstance(sent, list):
            return super()._lines(books, element, body, stored, errors)
        control = _control(books, body)
        plain = []
        for one in sent:
            if isinstance(one, dict):
                code = text(one.get("AccountCode"), "AccountCode")
                if code and control and fold(code) != fold(str(control["Code"])):
                    errors.append(validation.OVERPAYMENT_ACCOUNT)
                one = _plain(one)
            plain.append(one)
        if stored is not None:
            old = [_plain(line) for line in stored.body["LineItems"]]
            stored = replace(stored, body=stored.body | {"LineItems": old})
        messages = super()._lines(books, element | {"LineItems": plain}, body, stored, errors)
        if control is None:
            return messages
        for line in body["LineItems"]:
            line |= {"AccountCode": control["Code"], "AccountID": control["AccountID"]}
        return messages

    def shown(self, view: View) -> Json:
        shown: Json = {"BankTransactionID": view.id}
        account = (
            view.books.account_of(view.body["BankAccountID"])
            if view.body.get("BankAccountID")
            else None
        )
        if account is not None:
            fields = ("AccountID", "Code", "Name")
            shown["BankAccount"] = {one: account[one] for one in fields if account.get(one)}
        shown["Type"] = view.body.get("Type", "")
        if view.body.get("Reference"):
            shown["Reference"] = view.body["Reference"]
        if view.body.get("Url"):
            shown["Url"] = view.body["Url"]
        shown |= {
            "IsReconciled": view.body["IsReconciled"],
            "CurrencyRate": view.body["CurrencyRate"],
        }
        for field in ("PrepaymentID", "OverpaymentID"):
            if view.body.get(field):
                shown[field] = view.body[field]
        shown |= {
            "HasAttachments": view.books.has_files(self.kind, view.id),
            "Contact": view.contact,
        }
        shown |= self.days_shown(view.body)
        shown |= {"Status": view.body["Status"], "LineAmountTypes": view.body["LineAmountTypes"]}
        shown["LineItems"] = self.lines_shown(view)
        shown |= {field: view.body[field] for field in ("SubTotal", "TotalTax", "Total")}
        if view.updated is not None:
            shown["UpdatedDateUTC"] = net_instant(view.updated)
        return shown | {"CurrencyCode": view.body["CurrencyCode"]}


def _plain(line: Json) -> Json:
    return {field: value for field, value in line.items() if field not in _NOT_OWN}


def _overpaid(body: Json) -> bool:
    return str(body["Type"]).endswith("-OVERPAYMENT")


def _credit(body: Json) -> Prepayments | Overpayments | None:
    return _CREDITS.get(str(body["Type"]).partition("-")[2])


def _bank_account(books: Books, element: Json, body: Json) -> Json | None:
    """The one sent, by id or code, else the one it has; active and of type BANK."""
    sent = element.get("BankAccount")
    known = body.get("BankAccountID")
    if isinstance(sent, dict):
        by_id = identifier(sent.get("AccountID"))
        code = text(sent.get("Code"), "Code") or ""
        account = books.account_of(by_id) if by_id else books.account(code) if code else None
    else:
        account = books.account_of(str(known)) if known else None
    if account is None or account["Type"] != "BANK":
        return None
    return account if account["Status"] == "ACTIVE" or account["AccountID"] == known else None


def _control(books: Books, body: Json) -> Json | None:
    """Accounts receivable for money received, accounts payable for money spent."""
    word = "DEBTORS" if str(body["Type"]).startswith("RECEIVE") else "CREDITORS"
    found = books.state.objects(
        books.tenant, "account", "json_extract(body, '$.SystemAccount') = ?", (word,), limit=1
    )
    return found[0].body if found else None

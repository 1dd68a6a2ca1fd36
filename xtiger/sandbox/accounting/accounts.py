"""The chart of accounts: unique codes and names, what a type allows, archiving, deletion."""

from __future__ import annotations

from uuid import uuid4

from xtiger.sandbox.accounting import validation
from xtiger.sandbox.accounting.books import READ, Books, Endpoint, Outcome
from xtiger.sandbox.kept import charts
from xtiger.sandbox.kept.countries import COUNTRIES
from xtiger.sandbox.kept.state import Keys, Stored, fold
from xtiger.sandbox.wire import ZERO_ID, Json, flag, identifier, net_instant, text

#: lengths from Xero OpenAPI Account; that of the code has a message of its own
_LENGTHS = {"Name": 150, "Description": 4000}
_LONGEST_CODE = 10
_FLAGS = ("EnablePaymentsToAccount", "ShowInExpenseClaims", "AddToWatchlist")
_BANK_TYPES = ("BANK", "CREDITCARD", "PAYPAL")
#: what clients send back as they read it; never a change
_READ_ONLY = {
    "AccountID",
    "Class",
    "HasAttachments",
    "ReportingCodeName",
    "SystemAccount",
    "UpdatedDateUTC",
    "ValidationErrors",
}


def _inside(field: str) -> str:
    return f"json_extract(body, '$.{field}')"


class Accounts(Endpoint):
    """PUT and POST /Accounts, one at a time (Xero OpenAPI Account; Xero: accounts page)."""

    plural = "Accounts"
    kind = "account"
    id_field = "AccountID"
    error_flag = ""
    single = True
    methods = READ | {"PUT", "POST/id", "DELETE/id"}
    fields = {
        "AccountID": "id",
        "Code": "name",
        "Status": "status",
        "Name": f"fold({_inside('Name')})",
        "UpdatedDateUTC": "updated",
    } | {
        field: _inside(field)
        for field in (
            "Type",
            "Class",
            "TaxType",
            "Description",
            "SystemAccount",
            "BankAccountNumber",
            "BankAccountType",
            "CurrencyCode",
            "ReportingCode",
            *_FLAGS,
        )
    }

    def find(self, books: Books, key: str) -> Stored | None:
        if wanted := identifier(key):
            return books.get("account", wanted)
        return next(iter(books.named("account", key)), None)

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return self._shown(books, stored.id, stored.body, stored.updated)

    def _shown(self, books: Books, account: str, body: Json, updated: int | None) -> Json:
        shown = body | {"AccountID": account}
        shown["HasAttachments"] = books.has_files("account", account)
        if updated is not None:
            shown["UpdatedDateUTC"] = net_instant(updated)
        return shown

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """PUT creates; POST at the account's address changes either its status or its details."""
        stored = books.get("account", target) if target else None
        errors: list[str] = []
        if stored is None:
            body = self._merged(books, self._blank(), element, errors)
            status = (text(element.get("Status"), "Status") or "ACTIVE").upper()
            if status != "ACTIVE":
                errors.append(validation.ACCOUNT_STATUS)
        else:
            body = self._changed(books, stored, element, errors)
        errors = list(dict.fromkeys(errors))
        trace = {"code": body.get("Code", ""), "name": body.get("Name", "")}
        account = stored.id if stored else ZERO_ID
        if errors:
            return Outcome(account, self._shown(books, account, body, None), errors, False, trace)
        account = stored.id if stored else str(uuid4())
        body["AccountID"] = account
        updated = self._save(books, account, body)
        if stored and stored.body["Code"] != body["Code"]:
            _recode(books, account, str(stored.body["Code"]), str(body["Code"]))
        shown = self._shown(books, account, body, updated)
        return Outcome(account, shown, [], stored is None, trace)

    def _save(self, books: Books, account: str, body: Json) -> int:
        keys = Keys(name=body["Code"], status=body["Status"], app=books.app)
        return books.state.save(books.tenant, "account", account, body, keys)

    def _blank(self) -> Json:
        return {"Status": "ACTIVE"} | dict.fromkeys(_FLAGS, False)

    def _changed(self, books: Books, stored: Stored, element: Json, errors: list[str]) -> Json:
        """Status and details never change in one request (Xero: accounts page)."""
        sent = {name for name, value in element.items() if value is not None} - _READ_ONLY
        old = stored.body
        if "Status" in sent:
            if len(sent) > 1:
                errors.append(validation.ACCOUNT_MIXED)
                return old
            status = (text(element["Status"], "Status") or "").upper()
            if status not in ("ACTIVE", "ARCHIVED"):
                errors.append(validation.ACCOUNT_STATUS)
            elif status == "ARCHIVED" and old.get("SystemAccount"):
                errors.append(validation.ACCOUNT_SYSTEM_ARCHIVE)
            elif status == stored.status == "ARCHIVED":
                errors.append(validation.ACCOUNT_ARCHIVED_AGAIN)
            return old if errors else old | {"Status": status}
        if stored.status != "ACTIVE":
            errors.append(validation.ACCOUNT_STATUS_ONLY)
        elif old["Type"] == "BANK":
            errors.append(validation.ACCOUNT_BANK_FIXED)
        return old if errors else self._merged(books, old, element, errors)

    def _merged(self, books: Books, old: Json, element: Json, errors: list[str]) -> Json:
        body = dict(old)
        for field in ("Code", "Name", "Description", "ReportingCode"):
            if element.get(field) is not None:
                body[field] = (text(element[field], field) or "").strip()
        for field in _FLAGS:
            if (sent := flag(element.get(field))) is not None:
                body[field] = sent
        self._type(body, element, errors)
        if not errors:
            body["Class"] = charts.CLASSES[body["Type"]]
            if body["Type"] == "BANK":
                self._bank(books, body, element, errors)
            else:
                body.setdefault("Description", "")
            self._tax(books, body, element, errors)
        errors += self._names(books, body)
        errors += validation.lengths(body, _LENGTHS)
        return body

    def _type(self, body: Json, element: Json, errors: list[str]) -> None:
        sent = (text(element.get("Type"), "Type") or "").upper()
        old = body.get("Type", "")
        if not sent and not old:
            errors.append(validation.ACCOUNT_TYPELESS)
        elif sent and sent not in charts.CLASSES:
            errors.append(validation.account_type_unknown(sent))
        elif sent and sent != old:
            if old and sent == "INVENTORY":
                errors.append(validation.ACCOUNT_TO_INVENTORY)
            elif old and (body.get("SystemAccount") or "BANK" in (sent, old)):
                errors.append(validation.ACCOUNT_TYPE_FIXED)
            else:
                body["Type"] = sent

    def _bank(self, books: Books, body: Json, element: Json, errors: list[str]) -> None:
        body["BankAccountNumber"] = (
            text(element.get("BankAccountNumber"), "BankAccountNumber") or ""
        )
        if not body["BankAccountNumber"]:
            errors.append(validation.ACCOUNT_BANK_NUMBER)
        body["BankAccountType"] = (
            text(element.get("BankAccountType"), "BankAccountType") or "BANK"
        ).upper()
        if body["BankAccountType"] not in _BANK_TYPES:
            errors.append(validation.ACCOUNT_BANK_TYPE)
        if body.pop("Description", ""):
            errors.append(validation.ACCOUNT_BANK_DESCRIPTION)
        code = (text(element.get("CurrencyCode"), "CurrencyCode") or "").upper()
        body["CurrencyCode"] = code or books.organisation.currency
        if body["CurrencyCode"] not in books.organisation.rates:
            errors.append(validation.currency_not_subscribed(body["CurrencyCode"]))

    def _tax(self, books: Books, body: Json, element: Json, errors: list[str]) -> None:
        """Where none is sent, what suits the class (Xero OpenAPI: example of PUT /Accounts)."""
        country = COUNTRIES[books.organisation.body["CountryCode"]]
        code = text(element.get("TaxType"), "TaxType") or str(body.get("TaxType") or "")
        if not code:
            suits = {"REVENUE": country.sales_tax, "EXPENSE": country.purchase_tax}
            code = suits.get(body["Class"], country.no_tax)
        rate = books.tax_rate(books.tax_code(code, body["Class"]))
        body["TaxType"] = rate["TaxType"] if rate else code
        if rate is None or rate["Status"] != "ACTIVE":
            errors.append(validation.tax_type_unknown(code))
        elif not rate[charts.CAN_APPLY[body["Class"]]]:
            errors.append(validation.tax_type_unfit(code, str(body.get("Code") or "")))

    def _names(self, books: Books, body: Json) -> list[str]:
        """Codes and names are unique among all accounts, archived ones included."""
        errors: list[str] = []
        own = body.get("AccountID")
        code, name = str(body.get("Code") or ""), str(body.get("Name") or "")
        if not code:
            errors.append(validation.ACCOUNT_CODELESS)
        elif len(code) > _LONGEST_CODE:
            errors.append(validation.ACCOUNT_CODE_LONG)
        elif any(one.id != own for one in books.named("account", code)):
            errors.append(validation.ACCOUNT_CODE_TAKEN)
        if not name:
            errors.append(validation.ACCOUNT_NAMELESS)
        else:
            same = books.state.objects(
                books.tenant, "account", f"{self.fields['Name']} = ?", (fold(name),)
            )
            if any(one.id != own for one in same):
                errors.append(validation.ACCOUNT_NAME_TAKEN)
        return errors

    def remove(self, books: Books, stored: Stored) -> Outcome | None:
        """For accounts that nothing refers to; others can be archived (Xero: accounts page)."""
        errors: list[str] = []
        if stored.body.get("SystemAccount"):
            errors.append(validation.ACCOUNT_SYSTEM_DELETE)
        elif _used(books, stored):
            errors.append(validation.ACCOUNT_USED)
        trace = {"code": stored.body["Code"], "name": stored.body["Name"]}
        shown = self._shown(books, stored.id, stored.body, stored.updated)
        if errors:
            return Outcome(stored.id, shown, errors, False, trace)
        books.state.remove(books.tenant, "account", stored.id)
        return Outcome(stored.id, shown | {"Status": "DELETED"}, [], False, trace)


def _used(books: Books, stored: Stored) -> bool:
    code = str(stored.body["Code"])
    return bool(
        books.state.mentioning(books.tenant, "AccountID", stored.id, besides="account")
        or any(_with_code(books, kind, code) for kind in ("item", "contact"))
    )


#: where items and contacts name an account by its code alone
_BY_CODE = {
    "item": (
        ("SalesDetails", "AccountCode"),
        ("PurchaseDetails", "AccountCode"),
        ("PurchaseDetails", "COGSAccountCode"),
        ("", "InventoryAssetAccountCode"),
    ),
    "contact": (("", "SalesDefaultAccountCode"), ("", "PurchasesDefaultAccountCode")),
}


def _with_code(books: Books, kind: str, code: str) -> list[Stored]:
    tests = [
        f"fold(json_extract(body, '$.{'.'.join(filter(None, path))}')) = ?"
        for path in _BY_CODE[kind]
    ]
    values = (fold(code),) * len(tests)
    return books.state.objects(books.tenant, kind, " OR ".join(tests), values)


def _recode(books: Books, account: str, old: str, new: str) -> None:
    """Documents, items and contacts follow an account whose code changes."""
    for kind, found in books.state.mentioning(
        books.tenant, "AccountID", account, besides="account"
    ):
        body: Json = {name: _worded(one, account, new) for name, one in found.body.items()}
        books.state.reword(books.tenant, kind, found.id, body)
    for kind, paths in _BY_CODE.items():
        for found in _with_code(books, kind, old):
            body = dict(found.body)
            for side, field in paths:
                details = body.get(side) if side else body
                if isinstance(details, dict) and fold(str(details.get(field) or "")) == fold(old):
                    if side:
                        body[side] = details | {field: new}
                    else:
                        body[field] = new
            books.state.reword(books.tenant, kind, found.id, body)


def _worded(value: object, account: str, code: str) -> object:
    if isinstance(value, list):
        return [_worded(one, account, code) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _worded(one, account, code) for name, one in value.items()}
    if found.get("AccountID") == account:
        found |= {name: code for name in ("AccountCode", "Code") if name in found}
    return found

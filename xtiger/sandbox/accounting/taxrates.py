"""Tax rates: those of the country, which stay as they are, and those an organisation makes."""

from __future__ import annotations

import re
from decimal import Decimal
from uuid import uuid4

from xtiger.sandbox.accounting import validation
from xtiger.sandbox.accounting.books import READ, Books, Endpoint, Outcome
from xtiger.sandbox.kept import charts
from xtiger.sandbox.kept.countries import COUNTRIES
from xtiger.sandbox.kept.state import Keys, Stored, fold
from xtiger.sandbox.wire import Json, Malformed, flag, number, text

#: TaxTypes that Xero gives to rates made by an organisation
_MADE = re.compile(r"TAX\d{3,}")
_FOUR = Decimal("0.0001")
#: accounts that a rate made here can't be applied to, by what it is reported as
_NOT_EXPENSES = {
    "OUTPUT",
    "EXEMPTOUTPUT",
    "EXEMPTEXPORT",
    "ECOUTPUT",
    "ECOUTPUTSERVICES",
    "CAPITALSALESOUTPUT",
    "MOSSSALES",
}
_NOT_REVENUE = {
    "INPUT",
    "EXEMPTINPUT",
    "EXEMPTEXPENSES",
    "EXEMPTCAPITAL",
    "CAPITALEXINPUT",
    "CAPITALEXPENSESINPUT",
    "ECINPUT",
    "ECACQUISITIONS",
    "REVERSECHARGES",
}
_ONLY_LIABILITIES = {"GSTONIMPORTS", "GSTONCAPIMPORTS"}


class TaxRates(Endpoint):
    """PUT and POST /TaxRates (Xero OpenAPI TaxRate); deleted ones are listed too (measured)."""

    plural = "TaxRates"
    kind = "taxrate"
    id_field = ""  # a TaxType is no id
    error_flag = ""
    methods = READ | {"PUT", "POST"}
    fields = {
        "TaxType": "name",
        "Status": "status",
        "Name": "fold(json_extract(body, '$.Name'))",
    } | {
        field: f"json_extract(body, '$.{field}')"
        for field in ("ReportTaxType", "DisplayTaxRate", "EffectiveRate", *charts.APPLIES)
    }

    def find(self, books: Books, key: str) -> Stored | None:
        return next(iter(books.named("taxrate", key)), None)

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return stored.body

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """PUT creates; POST updates the rate with the TaxType, else the one of that name.

        A rate that is deleted keeps its TaxType for good and gives its name free.
        """
        errors: list[str] = []
        name = (text(element.get("Name"), "Name") or "").strip()
        type = (text(element.get("TaxType"), "TaxType") or "").strip()
        stored: Stored | None = None
        if not create_only and type:
            stored = self.find(books, type)
            if stored is None:
                errors.append(validation.tax_rate_unknown(type))
        elif not create_only and name:
            stored = self._holder(books, name)
        body: Json = dict(stored.body) if stored else {"Status": "ACTIVE"}
        before = len(errors)
        if stored and not _MADE.fullmatch(str(body["TaxType"])):
            errors.append(validation.TAX_RATE_SYSTEM)
        elif stored and stored.status == "DELETED":
            errors.append(validation.TAX_RATE_DELETED)
        if len(errors) == before:
            self._merge(books, stored, element, name, body, errors)
        errors = list(dict.fromkeys(errors))
        trace = {"name": body.get("Name", ""), "code": body.get("TaxType", "")}
        if errors:
            return Outcome(stored.id if stored else "", body, errors, False, trace)
        rate = stored.id if stored else str(uuid4())
        body = {"Name": body["Name"], "TaxType": body.get("TaxType") or _next(books)} | body
        keys = Keys(name=body["TaxType"], status=body["Status"], app=books.app)
        books.state.save(books.tenant, "taxrate", rate, body, keys)
        return Outcome(rate, body, [], stored is None, trace | {"code": body["TaxType"]})

    def _holder(self, books: Books, name: str) -> Stored | None:
        """The rate that has the name; deleted ones have given theirs free."""
        condition = f"{self.fields['Name']} = ? AND status <> 'DELETED'"
        found = books.state.objects(books.tenant, "taxrate", condition, (fold(name),))
        return next(iter(found), None)

    def _merge(
        self,
        books: Books,
        stored: Stored | None,
        element: Json,
        name: str,
        body: Json,
        errors: list[str],
    ) -> None:
        if name:
            body["Name"] = name
        if not body.get("Name"):
            errors.append(validation.TAX_RATE_NAMELESS)
        else:
            holder = self._holder(books, str(body["Name"]))
            if holder and (stored is None or holder.id != stored.id):
                errors.append(validation.tax_rate_name_taken(str(body["Name"])))
        self._components(element.get("TaxComponents"), body, errors)
        self._report(books, element, body, errors)
        status = (text(element.get("Status"), "Status") or "").upper()
        if status == "DELETED" and stored:
            if _used(books, str(body["TaxType"])):
                errors.append(validation.TAX_RATE_USED)
            body["Status"] = status
        elif status not in ("", "ACTIVE"):
            errors.append(validation.TAX_RATE_STATUS)

    def _components(self, sent: object, body: Json, errors: list[str]) -> None:
        if sent is None and body.get("TaxComponents"):
            return
        if sent is not None and (
            not isinstance(sent, list) or not all(isinstance(one, dict) for one in sent)
        ):
            raise Malformed("TaxComponents must be a list of objects.")
        if not sent:
            errors.append(validation.TAX_RATE_EMPTY)
            return
        parts = [_component(one, errors) for one in sent]
        names = [fold(one.name) for one in parts]
        if len(set(names)) < len(names):
            errors.append(validation.TAX_COMPONENT_TWICE)
        if sum(one.compound for one in parts) > 1 or all(one.compound for one in parts):
            errors.append(validation.TAX_COMPONENT_COMPOUND)
        body["DisplayTaxRate"] = charts.display_rate(parts)
        body["EffectiveRate"] = charts.effective_rate(parts)
        body["TaxComponents"] = [one.body() for one in parts]

    def _report(self, books: Books, element: Json, body: Json, errors: list[str]) -> None:
        """Required in AU, NZ and GB; versions US and Global have none (Xero: tax rates page)."""
        known = COUNTRIES[books.organisation.body["CountryCode"]].reports
        report = ""
        if known:
            sent = text(element.get("ReportTaxType"), "ReportTaxType")
            report = (sent or str(body.get("ReportTaxType") or "")).upper()
            if not report:
                errors.append(validation.TAX_RATE_REPORT_MISSING)
            elif report not in known:
                errors.append(validation.tax_rate_report_unknown(report))
            else:
                body["ReportTaxType"] = report
        applies = "AQELR"
        if report in _ONLY_LIABILITIES:
            applies = "L"
        elif report in _NOT_EXPENSES:
            applies = "AQLR"
        elif report in _NOT_REVENUE:
            applies = "AQEL"
        body |= {field: letter in applies for field, letter in charts.APPLIES.items()}


def _component(sent: Json, errors: list[str]) -> charts.Component:
    name = (text(sent.get("Name"), "Name") or "").strip()
    rate = number(sent.get("Rate"), "Rate")
    if not name:
        errors.append(validation.TAX_COMPONENT_NAMELESS)
    if rate is None or not 0 <= rate <= 100 or rate != rate.quantize(_FOUR):
        errors.append(validation.TAX_COMPONENT_RATE)
        rate = Decimal(0)
    if flag(sent.get("IsNonRecoverable")):
        errors.append(validation.TAX_COMPONENT_RECOVERABLE)
    return charts.Component(name, rate.quantize(_FOUR), bool(flag(sent.get("IsCompound"))))


def _next(books: Books) -> str:
    while True:
        candidate = f"TAX{books.state.count_up(books.tenant, 'tax type'):03d}"
        if not books.named("taxrate", candidate):
            return candidate


def _used(books: Books, type: str) -> bool:
    """Whether an account, item or contact has it as its default."""
    places = {
        "account": ("TaxType",),
        "item": ("SalesDetails.TaxType", "PurchaseDetails.TaxType"),
        "contact": ("AccountsReceivableTaxType", "AccountsPayableTaxType"),
    }
    for kind, paths in places.items():
        tests = " OR ".join(f"fold(json_extract(body, '$.{path}')) = ?" for path in paths)
        condition = f"({tests}) AND status <> 'ARCHIVED'"
        if books.state.count(books.tenant, kind, condition, (fold(type),) * len(paths)):
            return True
    return False

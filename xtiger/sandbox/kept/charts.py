"""Charts of accounts and tax rates, after what Xero gives a new organisation of each country."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from xtiger.sandbox.wire import Json

#: which class each type belongs to (Xero: accounts page; types from Xero OpenAPI AccountType)
CLASSES = {
    "BANK": "ASSET",
    "CURRENT": "ASSET",
    "INVENTORY": "ASSET",
    "FIXED": "ASSET",
    "NONCURRENT": "ASSET",
    "PREPAYMENT": "ASSET",
    "CURRLIAB": "LIABILITY",
    "LIABILITY": "LIABILITY",
    "TERMLIAB": "LIABILITY",
    "PAYG": "LIABILITY",
    "EQUITY": "EQUITY",
    "REVENUE": "REVENUE",
    "SALES": "REVENUE",
    "OTHERINCOME": "REVENUE",
    "DIRECTCOSTS": "EXPENSE",
    "EXPENSE": "EXPENSE",
    "OVERHEADS": "EXPENSE",
    "DEPRECIATN": "EXPENSE",
}
#: what a tax rate may be applied to, as field -> letter of the account class
APPLIES = {
    "CanApplyToAssets": "A",
    "CanApplyToEquity": "Q",
    "CanApplyToExpenses": "E",
    "CanApplyToLiabilities": "L",
    "CanApplyToRevenue": "R",
}
#: the same by class
CAN_APPLY = {
    "ASSET": "CanApplyToAssets",
    "EQUITY": "CanApplyToEquity",
    "EXPENSE": "CanApplyToExpenses",
    "LIABILITY": "CanApplyToLiabilities",
    "REVENUE": "CanApplyToRevenue",
}
_FOUR = Decimal("0.0001")
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Account:
    """One line of a chart (Xero OpenAPI Account)."""

    code: str
    name: str
    type: str
    tax: str = "NONE"
    system: str = ""
    status: str = "ACTIVE"
    payable: bool = False  #: EnablePaymentsToAccount
    description: str = ""
    bank_number: str = ""

    def body(self, currency: str) -> Json:
        body: Json = {
            "Code": self.code,
            "Name": self.name,
            "Status": self.status,
            "Type": self.type,
            "TaxType": self.tax,
            "Class": CLASSES[self.type],
            "EnablePaymentsToAccount": self.payable,
            "ShowInExpenseClaims": False,
        }
        if self.type == "BANK":
            body |= {
                "BankAccountNumber": self.bank_number,
                "BankAccountType": "BANK",
                "CurrencyCode": currency,
            }
        else:
            body["Description"] = self.description
        if self.system:
            body["SystemAccount"] = self.system
        return body | {"ReportingCode": "", "HasAttachments": False, "AddToWatchlist": False}


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a combined rate; `rate` in percent."""

    name: str
    rate: Decimal
    compound: bool = False  #: taken of the amount and the plain components together

    def body(self) -> Json:
        return {
            "Name": self.name,
            "Rate": self.rate,
            "IsCompound": self.compound,
            "IsNonRecoverable": False,
        }


def display_rate(components: Iterable[Component]) -> Decimal:
    """The sum of all components, 4 decimals."""
    return sum((one.rate for one in components), Decimal(0)).quantize(_FOUR, ROUND_HALF_UP)


def effective_rate(components: Iterable[Component]) -> Decimal:
    """What a combined rate takes of an amount, in percent with 4 decimals, half up.

    Plain components add up; a compound one is taken of the amount with the plain ones on top:
    a + b x (100 + a) / 100.
    """
    components = list(components)
    plain = sum((one.rate for one in components if not one.compound), Decimal(0))
    rate = plain
    for one in components:
        if one.compound:
            rate += one.rate * (_HUNDRED + plain) / _HUNDRED
    return rate.quantize(_FOUR, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class TaxRate:
    """One tax rate (Xero OpenAPI TaxRate); `applies` holds the letters of the account classes."""

    type: str
    name: str
    rate: str = "0"  #: that of its one component
    report: str = ""  #: ReportTaxType; versions US and Global have none
    applies: str = "AQELR"  #: A assets, Q equity, E expenses, L liabilities, R revenue
    status: str = "ACTIVE"
    component: str = "GST"
    components: tuple[Component, ...] = ()  #: of a combined rate

    def body(self) -> Json:
        parts = self.components or (Component(self.component, Decimal(self.rate).quantize(_FOUR)),)
        body: Json = {"Name": self.name, "TaxType": self.type}
        if self.report:
            body["ReportTaxType"] = self.report
        body |= {field: letter in self.applies for field, letter in APPLIES.items()}
        return body | {
            "DisplayTaxRate": display_rate(parts),
            "EffectiveRate": effective_rate(parts),
            "Status": self.status,
            "TaxComponents": [one.body() for one in parts],
        }


def shared_chart(
    *, sales: str, purchases: str, wages: str, tax: str, bank: str
) -> tuple[Account, ...]:
    """The chart of NZ and GB; only default tax types and the bank number differ."""
    return (
        Account("090", "Business Bank Account", "BANK", bank_number=bank),
        Account("200", "Sales", "REVENUE", sales, description="Income from normal business"),
        Account("260", "Other Revenue", "REVENUE", sales, description="Any other income"),
        Account("270", "Interest Income", "REVENUE", description="Interest earned"),
        Account("300", "Purchases", "DIRECTCOSTS", purchases, description="Goods for resale"),
        Account("310", "Cost of Goods Sold", "DIRECTCOSTS", purchases, description="Cost of sales"),
        Account("400", "Advertising", "EXPENSE", purchases, description="Advertising costs"),
        Account("404", "Bank Fees", "EXPENSE", description="Fees charged by the bank"),
        Account("412", "Consulting & Accounting", "EXPENSE", purchases),
        Account("425", "Freight & Courier", "EXPENSE", purchases),
        Account("429", "General Expenses", "EXPENSE", purchases),
        Account("445", "Light, Power, Heating", "EXPENSE", purchases),
        Account("453", "Office Expenses", "EXPENSE", purchases),
        Account("461", "Printing & Stationery", "EXPENSE", purchases),
        Account("469", "Rent", "EXPENSE", purchases),
        Account("477", wages, "EXPENSE"),
        Account("489", "Telephone & Internet", "EXPENSE", purchases),
        Account("490", "Fax & Telegrams", "EXPENSE", purchases, status="ARCHIVED"),
        Account("493", "Travel", "EXPENSE", purchases),
        Account("610", "Accounts Receivable", "CURRENT", system="DEBTORS"),
        Account("620", "Prepayments", "CURRENT", purchases),
        Account("630", "Inventory", "INVENTORY", description="Value of tracked inventory"),
        Account("710", "Office Equipment", "FIXED", purchases),
        Account("800", "Accounts Payable", "CURRLIAB", system="CREDITORS"),
        Account("820", tax, "CURRLIAB", system="GST"),
        Account("840", "Historical Adjustment", "CURRLIAB", system="HISTORICAL"),
        Account("850", "Suspense", "CURRLIAB"),
        Account("860", "Rounding", "CURRLIAB", system="ROUNDING"),
        Account("877", "Tracking Transfers", "CURRLIAB", system="TRACKINGTRANSFERS"),
        Account("880", "Owner Drawings", "EQUITY", payable=True),
        Account("960", "Retained Earnings", "EQUITY", system="RETAINEDEARNINGS"),
    )


#: after the tax rates of Xero's NZ demo company (measured on live Xero)
NZ_RATES = (
    TaxRate("INPUT", "12.5% GST on Expenses", "12.5", "INPUT", "AQEL", "DELETED"),
    TaxRate("OUTPUT", "12.5% GST on Income", "12.5", "OUTPUT", "AQLR", "DELETED"),
    TaxRate("INPUT2", "15% GST on Expenses", "15", "INPUT", "AQEL"),
    TaxRate("OUTPUT2", "15% GST on Income", "15", "OUTPUT", "AQLR"),
    TaxRate("GSTONIMPORTS", "GST on Imports", "0", "GSTONIMPORTS", "L"),
    TaxRate("NONE", "No GST", "0", "NONE"),
    TaxRate("ZERORATED", "Zero Rated", "0", "OUTPUT", "LR"),
)

GB_RATES = (
    TaxRate("INPUT2", "20% (VAT on Expenses)", "20", "INPUT", "AQEL", component="VAT"),
    TaxRate("OUTPUT2", "20% (VAT on Income)", "20", "OUTPUT", "AQLR", component="VAT"),
    TaxRate("RRINPUT", "5% (VAT on Expenses)", "5", "INPUT", "AQEL", component="VAT"),
    TaxRate("RROUTPUT", "5% (VAT on Income)", "5", "OUTPUT", "AQLR", component="VAT"),
    TaxRate("ZERORATEDINPUT", "Zero Rated Expenses", "0", "INPUT", "AQEL", component="VAT"),
    TaxRate("ZERORATEDOUTPUT", "Zero Rated Income", "0", "OUTPUT", "AQLR", component="VAT"),
    TaxRate("EXEMPTINPUT", "Exempt Expenses", "0", "INPUT", "AQEL", component="VAT"),
    TaxRate("EXEMPTOUTPUT", "Exempt Income", "0", "OUTPUT", "AQLR", component="VAT"),
    TaxRate("SRINPUT", "17.5% (VAT on Expenses)", "17.5", "INPUT", "AQEL", "DELETED", "VAT"),
    TaxRate("SROUTPUT", "17.5% (VAT on Income)", "17.5", "OUTPUT", "AQLR", "DELETED", "VAT"),
    TaxRate("NONE", "No VAT", "0", "NONE", component="VAT"),
)


def _au_account(code: str, name: str, type: str, tax: str = "", **more: Any) -> Account:
    return Account(code, name, type, tax or "BASEXCLUDED", **more)


AU_CHART = (
    _au_account("090", "Business Bank Account", "BANK", bank_number="062000 12345678"),
    _au_account("200", "Sales", "REVENUE", "OUTPUT", description="Income from normal business"),
    _au_account("260", "Other Revenue", "REVENUE", "OUTPUT", description="Any other income"),
    _au_account("270", "Interest Income", "REVENUE", "EXEMPTOUTPUT"),
    _au_account("300", "Purchases", "DIRECTCOSTS", "INPUT", description="Goods for resale"),
    _au_account("310", "Cost of Goods Sold", "DIRECTCOSTS", "INPUT", description="Cost of sales"),
    _au_account("400", "Advertising", "EXPENSE", "INPUT", description="Advertising costs"),
    _au_account("404", "Bank Fees", "EXPENSE", "EXEMPTEXPENSES"),
    _au_account("412", "Consulting & Accounting", "EXPENSE", "INPUT"),
    _au_account("425", "Freight & Courier", "EXPENSE", "INPUT"),
    _au_account("429", "General Expenses", "EXPENSE", "INPUT"),
    _au_account("445", "Light, Power, Heating", "EXPENSE", "INPUT"),
    _au_account("453", "Office Expenses", "EXPENSE", "INPUT"),
    _au_account("469", "Rent", "EXPENSE", "INPUT"),
    _au_account("477", "Wages and Salaries", "EXPENSE"),
    _au_account("478", "Superannuation", "EXPENSE"),
    _au_account("489", "Telephone & Internet", "EXPENSE", "INPUT"),
    _au_account("490", "Fax & Telegrams", "EXPENSE", "INPUT", status="ARCHIVED"),
    _au_account("493", "Travel - National", "EXPENSE", "INPUT"),
    _au_account("494", "Travel - International", "EXPENSE", "EXEMPTEXPENSES"),
    _au_account("610", "Accounts Receivable", "CURRENT", system="DEBTORS"),
    _au_account("620", "Prepayments", "CURRENT"),
    _au_account("630", "Inventory", "INVENTORY", description="Value of tracked inventory"),
    _au_account("710", "Office Equipment", "FIXED", "CAPEXINPUT"),
    _au_account("800", "Accounts Payable", "CURRLIAB", system="CREDITORS"),
    _au_account("801", "Unpaid Expense Claims", "CURRLIAB", system="UNPAIDEXPCLM"),
    _au_account("820", "GST", "CURRLIAB", system="GST"),
    _au_account("825", "PAYG Withholdings Payable", "CURRLIAB"),
    _au_account("826", "Superannuation Payable", "CURRLIAB"),
    _au_account("840", "Historical Adjustment", "CURRLIAB", system="HISTORICAL"),
    _au_account("850", "Suspense", "CURRLIAB"),
    _au_account("860", "Rounding", "CURRLIAB", system="ROUNDING"),
    _au_account("877", "Tracking Transfers", "CURRLIAB", system="TRACKINGTRANSFERS"),
    _au_account("880", "Owner Drawings", "EQUITY", payable=True),
    _au_account("960", "Retained Earnings", "EQUITY", system="RETAINEDEARNINGS"),
)

#: names and rates: Xero help for Australia; what they apply to: Xero's own list of rates for an
#: Australian organisation, kept in public code
AU_RATES = (
    TaxRate("BASEXCLUDED", "BAS Excluded", report="BASEXCLUDED"),
    TaxRate("EXEMPTCAPITAL", "GST Free Capital", report="EXEMPTCAPITAL", applies="AQEL"),
    TaxRate("EXEMPTEXPENSES", "GST Free Expenses", report="EXEMPTEXPENSES", applies="AQEL"),
    TaxRate("EXEMPTEXPORT", "GST Free Exports", report="EXEMPTEXPORT", applies="AQLR"),
    TaxRate("EXEMPTOUTPUT", "GST Free Income", report="EXEMPTOUTPUT", applies="AQLR"),
    TaxRate("CAPEXINPUT", "GST on Capital", "10", "CAPITALEXINPUT", "AQEL"),
    TaxRate("GSTONCAPIMPORTS", "GST on Capital Imports", report="GSTONCAPIMPORTS", applies="L"),
    TaxRate("INPUT", "GST on Expenses", "10", "INPUT", "AQEL"),
    TaxRate("GSTONIMPORTS", "GST on Imports", report="GSTONIMPORTS", applies="L"),
    TaxRate("OUTPUT", "GST on Income", "10", "OUTPUT", "AQLR"),
    TaxRate("INPUTTAXED", "Input Taxed", report="INPUTTAXED"),
)

#: the US chart has numbers of its own: sales are 400, and 200 is what is owed to suppliers
US_CHART = (
    Account("090", "Checking Account", "BANK", bank_number="1234567890"),
    Account("120", "Accounts Receivable", "CURRENT", system="DEBTORS"),
    Account("130", "Prepayments", "CURRENT"),
    Account("140", "Inventory", "INVENTORY", description="Value of tracked inventory"),
    Account("150", "Office Equipment", "FIXED"),
    Account("200", "Accounts Payable", "CURRLIAB", system="CREDITORS"),
    Account("210", "Unpaid Expense Claims", "CURRLIAB", system="UNPAIDEXPCLM"),
    Account("215", "Wages Payable", "CURRLIAB"),
    Account("220", "Sales Tax", "CURRLIAB", system="GST"),
    Account("255", "Historical Adjustment", "CURRLIAB", system="HISTORICAL"),
    Account("260", "Rounding", "CURRLIAB", system="ROUNDING"),
    Account("265", "Tracking Transfers", "CURRLIAB", system="TRACKINGTRANSFERS"),
    Account("310", "Owner's Draw", "EQUITY", payable=True),
    Account("320", "Retained Earnings", "EQUITY", system="RETAINEDEARNINGS"),
    Account("400", "Sales", "REVENUE", "TAX001", description="Income from normal business"),
    Account("460", "Interest Income", "REVENUE", description="Interest earned"),
    Account("470", "Other Revenue", "REVENUE", description="Any other income"),
    Account("500", "Cost of Goods Sold", "DIRECTCOSTS", description="Cost of sales"),
    Account("600", "Advertising", "EXPENSE", description="Advertising costs"),
    Account("604", "Bank Service Charges", "EXPENSE"),
    Account("612", "Consulting & Accounting", "EXPENSE"),
    Account("624", "Postage & Delivery", "EXPENSE"),
    Account("628", "General Expenses", "EXPENSE"),
    Account("644", "Utilities", "EXPENSE"),
    Account("652", "Office Expenses", "EXPENSE"),
    Account("660", "Rent", "EXPENSE"),
    Account("668", "Salaries", "EXPENSE"),
    Account("676", "Telephone & Internet", "EXPENSE"),
    Account("677", "Fax & Telegrams", "EXPENSE", status="ARCHIVED"),
    Account("680", "Travel", "EXPENSE"),
)


def _percent(name: str, rate: str, *, compound: bool = False) -> Component:
    return Component(name, Decimal(rate).quantize(_FOUR), compound)


#: the four system rates of version US and two made by the organisation, as every seller needs
US_RATES = (
    TaxRate("INPUT", "Tax on Purchases", component="Tax"),
    TaxRate("OUTPUT", "Tax on Sales", component="Tax"),
    TaxRate("GSTONIMPORTS", "Sales Tax on Imports", applies="L", component="Tax"),
    TaxRate("NONE", "Tax Exempt", component="No Tax"),
    TaxRate(
        "TAX001",
        "State and County Sales Tax",
        components=(_percent("State", "6.25"), _percent("County", "1.125")),
    ),
    TaxRate(
        "TAX002",
        "Downtown Sales Tax",
        components=(
            _percent("State", "6.25"),
            _percent("County", "1.125"),
            _percent("District", "2", compound=True),
        ),
    ),
)

"""The two organisations a new sandbox has: their country, chart of accounts and tax rates."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from xtiger.sandbox.wire import Json

_CLASSES = {
    "BANK": "ASSET",
    "CURRENT": "ASSET",
    "INVENTORY": "ASSET",
    "FIXED": "ASSET",
    "CURRLIAB": "LIABILITY",
    "TERMLIAB": "LIABILITY",
    "EQUITY": "EQUITY",
    "REVENUE": "REVENUE",
    "OTHERINCOME": "REVENUE",
    "DIRECTCOSTS": "EXPENSE",
    "EXPENSE": "EXPENSE",
    "OVERHEADS": "EXPENSE",
}


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
            "Class": _CLASSES[self.type],
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
class TaxRate:
    """One tax rate (Xero OpenAPI TaxRate); `applies` holds the letters of the account classes."""

    type: str
    name: str
    rate: str
    report: str
    applies: str = "AQELR"  #: A assets, Q equity, E expenses, L liabilities, R revenue
    status: str = "ACTIVE"
    component: str = "GST"

    def body(self) -> Json:
        rate = Decimal(self.rate).quantize(Decimal("0.0001"))
        return {
            "Name": self.name,
            "TaxType": self.type,
            "ReportTaxType": self.report,
            "CanApplyToAssets": "A" in self.applies,
            "CanApplyToEquity": "Q" in self.applies,
            "CanApplyToExpenses": "E" in self.applies,
            "CanApplyToLiabilities": "L" in self.applies,
            "CanApplyToRevenue": "R" in self.applies,
            "DisplayTaxRate": rate,
            "EffectiveRate": rate,
            "Status": self.status,
            "TaxComponents": [
                {
                    "Name": self.component,
                    "Rate": rate,
                    "IsCompound": False,
                    "IsNonRecoverable": False,
                }
            ],
        }


@dataclass(frozen=True, slots=True)
class Country:
    """An organisation to begin with."""

    name: str
    country: str
    version: str
    currency: str
    other_currency: str
    rate: str  #: units of the other currency for one of its own, used when no rate is sent
    timezone: str  #: Xero's word
    zone: str  #: the IANA name of the same zone
    short_code: str
    tax_number: str
    year_end: tuple[int, int]  #: day, month
    accounts: tuple[Account, ...]
    tax_rates: tuple[TaxRate, ...]


def _chart(*, sales: str, purchases: str, wages: str, bank: str) -> tuple[Account, ...]:
    """The chart both countries share; only default tax types and the bank number differ."""
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
        Account("820", "GST" if sales == "OUTPUT2" else "VAT", "CURRLIAB", system="GST"),
        Account("840", "Historical Adjustment", "CURRLIAB", system="HISTORICAL"),
        Account("850", "Suspense", "CURRLIAB"),
        Account("860", "Rounding", "CURRLIAB", system="ROUNDING"),
        Account("877", "Tracking Transfers", "CURRLIAB", system="TRACKINGTRANSFERS"),
        Account("880", "Owner Drawings", "EQUITY", payable=True),
        Account("960", "Retained Earnings", "EQUITY", system="RETAINEDEARNINGS"),
    )


#: after the tax rates of Xero's NZ demo company (measured on live Xero)
_NZ_RATES = (
    TaxRate("INPUT", "12.5% GST on Expenses", "12.5", "INPUT", "AQEL", "DELETED"),
    TaxRate("OUTPUT", "12.5% GST on Income", "12.5", "OUTPUT", "AQLR", "DELETED"),
    TaxRate("INPUT2", "15% GST on Expenses", "15", "INPUT", "AQEL"),
    TaxRate("OUTPUT2", "15% GST on Income", "15", "OUTPUT", "AQLR"),
    TaxRate("GSTONIMPORTS", "GST on Imports", "0", "GSTONIMPORTS", "L"),
    TaxRate("NONE", "No GST", "0", "NONE"),
    TaxRate("ZERORATED", "Zero Rated", "0", "OUTPUT", "LR"),
)

_GB_RATES = (
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

COUNTRIES = (
    Country(
        name="Kauri Trading",
        country="NZ",
        version="NZ",
        currency="NZD",
        other_currency="AUD",
        rate="0.910000",
        timezone="NEWZEALANDSTANDARDTIME",
        zone="Pacific/Auckland",
        short_code="!kAur1",
        tax_number="101-202-303",
        year_end=(31, 3),
        accounts=_chart(
            sales="OUTPUT2",
            purchases="INPUT2",
            wages="Salaries",
            bank="12-3456-7890123-00",
        ),
        tax_rates=_NZ_RATES,
    ),
    Country(
        name="Thames Supplies",
        country="GB",
        version="UK",
        currency="GBP",
        other_currency="EUR",
        rate="1.150000",
        timezone="GMTSTANDARDTIME",
        zone="Europe/London",
        short_code="!tHam5",
        tax_number="GB 123456789",
        year_end=(5, 4),
        accounts=_chart(
            sales="OUTPUT2",
            purchases="INPUT2",
            wages="Wages and Salaries",
            bank="40-47-84 12345678",
        ),
        tax_rates=_GB_RATES,
    ),
)


def organisation_body(country: Country) -> Json:
    """The Organisation object (Xero OpenAPI Organisation), without its ids and lock dates."""
    day, month = country.year_end
    return {
        "Name": country.name,
        "LegalName": f"{country.name} Limited",
        "PaysTax": True,
        "Version": country.version,
        "OrganisationType": "COMPANY",
        "BaseCurrency": country.currency,
        "CountryCode": country.country,
        "IsDemoCompany": False,
        "OrganisationStatus": "ACTIVE",
        "TaxNumber": country.tax_number,
        "FinancialYearEndDay": day,
        "FinancialYearEndMonth": month,
        "SalesTaxBasis": "PAYMENTS" if country.country == "NZ" else "ACCRUAL",
        "SalesTaxPeriod": "TWOMONTHS" if country.country == "NZ" else "QUARTERLY",
        "DefaultSalesTax": "Tax Exclusive",
        "DefaultPurchasesTax": "Tax Exclusive",
        "Timezone": country.timezone,
        "OrganisationEntityType": "COMPANY",
        "ShortCode": country.short_code,
        "Class": "PREMIUM",
        "Edition": "BUSINESS",
        "LineOfBusiness": "Wholesale trade",
        "Addresses": [],
        "Phones": [],
        "ExternalLinks": [],
        "PaymentTerms": {},
    }

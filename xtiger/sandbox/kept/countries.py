"""The organisations a new sandbox can have: one for each country, with its books to begin with."""

from __future__ import annotations

from dataclasses import dataclass

from xtiger.sandbox.kept import charts
from xtiger.sandbox.kept.charts import Account, TaxRate
from xtiger.sandbox.wire import Json

#: founded where nobody asks for others
DEFAULT = ("NZ", "GB")


@dataclass(frozen=True, slots=True)
class Country:
    """An organisation to begin with."""

    name: str
    legal_name: str
    country: str
    version: str
    currency: str
    #: further subscribed currencies: units of each for one of its own, used when no rate is sent
    rates: dict[str, str]
    timezone: str  #: Xero's word
    zone: str  #: the IANA name of the same zone
    short_code: str
    tax_number: str
    year_end: tuple[int, int]  #: day, month
    tax_basis: str
    tax_period: str
    sales_tax: str  #: TaxType of a new income account where none is sent
    purchase_tax: str
    no_tax: str
    accounts: tuple[Account, ...]
    tax_rates: tuple[TaxRate, ...]
    #: what a tax rate made here may be reported as; empty where Xero has no ReportTaxType
    reports: frozenset[str] = frozenset()


#: ReportTaxTypes by country: Xero's types page, as public documentation copies it
_AU_REPORTS = frozenset(
    {
        "BASEXCLUDED",
        "CAPITALEXINPUT",
        "EXEMPTCAPITAL",
        "EXEMPTEXPENSES",
        "EXEMPTEXPORT",
        "EXEMPTOUTPUT",
        "GSTONCAPIMPORTS",
        "GSTONIMPORTS",
        "INPUT",
        "INPUTTAXED",
        "OUTPUT",
    }
)
_NZ_REPORTS = frozenset({"EXEMPTINPUT", "EXEMPTOUTPUT", "GSTONIMPORTS", "INPUT", "NONE", "OUTPUT"})
_GB_REPORTS = frozenset(
    {
        "CAPITALEXPENSESINPUT",
        "CAPITALSALESOUTPUT",
        "ECACQUISITIONS",
        "ECINPUT",
        "ECOUTPUT",
        "ECOUTPUTSERVICES",
        "EXEMPTINPUT",
        "EXEMPTOUTPUT",
        "GSTONIMPORTS",
        "INPUT",
        "MOSSSALES",
        "NONE",
        "OUTPUT",
        "REVERSECHARGES",
    }
)

_ALL = (
    Country(
        name="Kauri Trading",
        legal_name="Kauri Trading Limited",
        country="NZ",
        version="NZ",
        currency="NZD",
        rates={"AUD": "0.910000"},
        timezone="NEWZEALANDSTANDARDTIME",
        zone="Pacific/Auckland",
        short_code="!kAur1",
        tax_number="101-202-303",
        year_end=(31, 3),
        tax_basis="PAYMENTS",
        tax_period="TWOMONTHS",
        sales_tax="OUTPUT2",
        purchase_tax="INPUT2",
        no_tax="NONE",
        accounts=charts.shared_chart(
            sales="OUTPUT2",
            purchases="INPUT2",
            wages="Salaries",
            tax="GST",
            bank="12-3456-7890123-00",
        ),
        tax_rates=charts.NZ_RATES,
        reports=_NZ_REPORTS,
    ),
    Country(
        name="Thames Supplies",
        legal_name="Thames Supplies Limited",
        country="GB",
        version="UK",
        currency="GBP",
        rates={"EUR": "1.150000"},
        timezone="GMTSTANDARDTIME",
        zone="Europe/London",
        short_code="!tHam5",
        tax_number="GB 123456789",
        year_end=(5, 4),
        tax_basis="ACCRUAL",
        tax_period="QUARTERLY",
        sales_tax="OUTPUT2",
        purchase_tax="INPUT2",
        no_tax="NONE",
        accounts=charts.shared_chart(
            sales="OUTPUT2",
            purchases="INPUT2",
            wages="Wages and Salaries",
            tax="VAT",
            bank="40-47-84 12345678",
        ),
        tax_rates=charts.GB_RATES,
        reports=_GB_REPORTS,
    ),
    Country(
        name="Wattle Homewares",
        legal_name="Wattle Homewares Pty Ltd",
        country="AU",
        version="AU",
        currency="AUD",
        rates={"NZD": "1.100000", "USD": "0.660000"},
        timezone="AUSEASTERNSTANDARDTIME",
        zone="Australia/Sydney",
        short_code="!wAtt3",
        tax_number="11 222 333 444",
        year_end=(30, 6),
        tax_basis="ACCRUALS",
        tax_period="QUARTERLY1",
        sales_tax="OUTPUT",
        purchase_tax="INPUT",
        no_tax="BASEXCLUDED",
        accounts=charts.AU_CHART,
        tax_rates=charts.AU_RATES,
        reports=_AU_REPORTS,
    ),
    Country(
        name="Redwood Outfitters",
        legal_name="Redwood Outfitters Inc.",
        country="US",
        version="US",
        currency="USD",
        rates={"CAD": "1.370000", "EUR": "0.920000"},
        timezone="PACIFICSTANDARDTIME",
        zone="America/Los_Angeles",
        short_code="!rEdw4",
        tax_number="12-3456789",
        year_end=(31, 12),
        tax_basis="ACCRUALS",
        tax_period="QUARTERLY",
        sales_tax="OUTPUT",
        purchase_tax="INPUT",
        no_tax="NONE",
        accounts=charts.US_CHART,
        tax_rates=charts.US_RATES,
    ),
)
COUNTRIES = {one.country: one for one in _ALL}


def organisation_body(country: Country) -> Json:
    """The Organisation object (Xero OpenAPI Organisation), without its ids and lock dates."""
    day, month = country.year_end
    return {
        "Name": country.name,
        "LegalName": country.legal_name,
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
        "SalesTaxBasis": country.tax_basis,
        "SalesTaxPeriod": country.tax_period,
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

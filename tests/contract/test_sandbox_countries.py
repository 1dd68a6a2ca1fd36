"""The organisations of the local Xero: four countries, each with books of its own kind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from xtiger.sandbox import start
from xtiger.sandbox.accounting.books import Books
from xtiger.sandbox.kept.charts import APPLIES, CAN_APPLY, Component, effective_rate
from xtiger.sandbox.kept.countries import COUNTRIES
from xtiger.sandbox.kept.state import State

from .conftest import SandboxClient, exact
from .test_sandbox_server import Process


@pytest.fixture(scope="module")
def australia() -> Iterator[SandboxClient]:
    with start(countries=("AU",)) as running:
        yield SandboxClient(running)


@pytest.fixture(scope="module")
def states() -> Iterator[SandboxClient]:
    with start(countries=("US",)) as running:
        yield SandboxClient(running)


def test_nobody_asking_there_are_two() -> None:
    with start() as running:
        assert [one["country"] for one in running.organisations] == ["NZ", "GB"]


def test_four_can_be_asked_for_in_any_order() -> None:
    with start(countries=("US", "NZ", "AU", "GB", "US")) as running:
        assert [(one["country"], one["currency"]) for one in running.organisations] == [
            ("US", "USD"),
            ("NZ", "NZD"),
            ("AU", "AUD"),
            ("GB", "GBP"),
        ]


def test_a_country_without_organisation_is_refused() -> None:
    with pytest.raises(ValueError, match="no organisation for FR"):
        start(countries=("NZ", "FR"))


def test_a_state_keeps_its_organisations_and_gets_those_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "xero.db"
    with start(0, path, countries=("AU",)) as running:
        first = running.organisations
    with start(0, path) as running:
        assert running.organisations == first
    with start(0, path, countries=("US", "AU")) as running:
        assert running.organisations[0] == first[0]
        assert [one["country"] for one in running.organisations] == ["AU", "US"]


def test_the_command_takes_countries() -> None:
    process = Process("--country", "AU", "--country", "us")
    assert [one["name"] for one in process.organisations] == [
        "Wattle Homewares",
        "Redwood Outfitters",
    ]
    process.end(signal.SIGTERM)


def test_an_older_state_gets_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "xero.db"
    state = State(path)
    for kind in ("currency", "brandingtheme", "user"):
        state._db.execute("DELETE FROM objects WHERE kind = ?", (kind,))
    state.close()
    with start(0, path) as running:
        client = SandboxClient(running)
        assert {one["Code"] for one in client.get("Currencies").json()["Currencies"]} == {
            "NZD",
            "AUD",
        }
        assert len(client.get("Users").json()["Users"]) == 2
        assert len(client.get("BrandingThemes").json()["BrandingThemes"]) == 2


def test_opening_a_state_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "xero.db"
    for _ in range(2):
        state = State(path)
        tenant = state.organisations()[0].tenant
        counts = [state.count(tenant, kind) for kind in ("account", "user", "brandingtheme")]
        state.close()
    assert counts == [31, 2, 2]


@pytest.mark.parametrize(
    ("country", "expected"),
    [
        ("NZ", ("NZ", "NZD", "NEWZEALANDSTANDARDTIME", 31, 3)),
        ("GB", ("UK", "GBP", "GMTSTANDARDTIME", 5, 4)),
        ("AU", ("AU", "AUD", "AUSEASTERNSTANDARDTIME", 30, 6)),
        ("US", ("US", "USD", "PACIFICSTANDARDTIME", 31, 12)),
    ],
)
def test_organisation_tells_version_zone_and_year_end(
    country: str, expected: tuple[Any, ...]
) -> None:
    with start(countries=(country,)) as running:
        found = SandboxClient(running).get("Organisation").json()["Organisations"][0]
    fields = ("Version", "BaseCurrency", "Timezone", "FinancialYearEndDay", "FinancialYearEndMonth")
    assert tuple(found[field] for field in fields) == expected
    assert found["CountryCode"] == country


@pytest.mark.parametrize(
    ("country", "day"),
    [("NZ", "2026-07-01"), ("AU", "2026-06-30"), ("GB", "2026-06-30"), ("US", "2026-06-30")],
)
def test_today_is_the_organisations_own(country: str, day: str) -> None:
    moment = datetime(2026, 6, 30, 13, 0, tzinfo=UTC).timestamp()
    with start(countries=(country,), clock=lambda: moment) as running:
        client = SandboxClient(running)
        income = "400" if country == "US" else "200"
        line = {"Description": "x", "UnitAmount": 1, "AccountCode": income}
        made = client.created("Invoices", client.invoice(LineItems=[line]))
    assert made["DateString"] == f"{day}T00:00:00"


@pytest.mark.parametrize("country", COUNTRIES)
def test_charts_hold_together(country: str) -> None:
    known = COUNTRIES[country]
    rates = {one.type: one.body() for one in known.tax_rates}
    codes = [one.code for one in known.accounts]
    assert len(set(codes)) == len(codes)
    assert len({one.name.lower() for one in known.accounts}) == len(codes)
    for account in known.accounts:
        body = account.body(known.currency)
        assert rates[account.tax]["Status"] == "ACTIVE", account
        assert rates[account.tax][CAN_APPLY[body["Class"]]], account
    system = [one.system for one in known.accounts if one.system]
    assert len(set(system)) == len(system)
    assert {"DEBTORS", "CREDITORS", "GST", "ROUNDING", "RETAINEDEARNINGS"} <= set(system)
    for default in (known.sales_tax, known.purchase_tax, known.no_tax):
        assert rates[default]["Status"] == "ACTIVE"
    for rate in rates.values():
        assert known.reports == frozenset() or rate["ReportTaxType"]


@pytest.mark.parametrize("country", ["AU", "US"])
def test_two_further_currencies_are_subscribed(country: str) -> None:
    state = State(countries=(country,))
    found = state.organisations()[0]
    assert len(found.rates) == 3
    assert next(iter(found.rates)) == found.currency
    state.close()


AU_RATES = [
    ("BASEXCLUDED", 0, "AQELR"),
    ("EXEMPTCAPITAL", 0, "AQEL"),
    ("EXEMPTEXPENSES", 0, "AQEL"),
    ("EXEMPTEXPORT", 0, "AQLR"),
    ("EXEMPTOUTPUT", 0, "AQLR"),
    ("CAPEXINPUT", 10, "AQEL"),
    ("GSTONCAPIMPORTS", 0, "L"),
    ("INPUT", 10, "AQEL"),
    ("GSTONIMPORTS", 0, "L"),
    ("OUTPUT", 10, "AQLR"),
    ("INPUTTAXED", 0, "AQELR"),
]


@pytest.mark.parametrize(("type", "rate", "applies"), AU_RATES)
def test_australian_rates(australia: SandboxClient, type: str, rate: int, applies: str) -> None:
    found = exact(australia.get(f"TaxRates/{type}"))["TaxRates"][0]
    assert (found["EffectiveRate"], found["DisplayTaxRate"]) == (rate, rate)
    assert {field for field in APPLIES if found[field]} == {
        field for field, letter in APPLIES.items() if letter in applies
    }


def test_australia_has_no_other_rates(australia: SandboxClient) -> None:
    found = australia.get("TaxRates").json()["TaxRates"]
    assert {one["TaxType"] for one in found} == {type for type, _, _ in AU_RATES}


def line(**fields: Any) -> dict[str, Any]:
    return {
        "Description": "x",
        "Quantity": 1,
        "UnitAmount": "100.00",
        "AccountCode": "200",
    } | fields


def test_australian_sale_carries_ten_percent(australia: SandboxClient) -> None:
    made = australia.created("Invoices", australia.invoice(LineItems=[line()]))
    assert (made["LineItems"][0]["TaxType"], made["TotalTax"], made["Total"]) == ("OUTPUT", 10, 110)


@pytest.mark.parametrize(
    ("type", "account", "sent", "kept"),
    [
        ("ACCREC", "200", "NONE", "BASEXCLUDED"),
        ("ACCREC", "200", "EXEMPTINPUT", "BASEXCLUDED"),
        ("ACCPAY", "400", "NONE", "EXEMPTEXPENSES"),
        ("ACCPAY", "400", "EXEMPTINPUT", "BASEXCLUDED"),
        ("ACCPAY", "710", "NONE", "BASEXCLUDED"),
        ("ACCREC", "200", "EXEMPTOUTPUT", "EXEMPTOUTPUT"),
    ],
)
def test_older_australian_tax_types_stand_for_newer_ones(
    australia: SandboxClient, type: str, account: str, sent: str, kept: str
) -> None:
    lines = [line(AccountCode=account, TaxType=sent)]
    made = australia.created("Invoices", australia.invoice(Type=type, LineItems=lines))
    assert (made["LineItems"][0]["TaxType"], made["TotalTax"]) == (kept, 0)


def test_untaxed_australian_document_is_bas_excluded(australia: SandboxClient) -> None:
    body = australia.invoice(LineItems=[line()], LineAmountTypes="NoTax")
    assert australia.created("Invoices", body)["LineItems"][0]["TaxType"] == "BASEXCLUDED"


def test_expense_rate_is_refused_on_australian_income(australia: SandboxClient) -> None:
    body = australia.invoice(LineItems=[line(TaxType="INPUT")])
    assert australia.errors("PUT", "Invoices", body) == [
        "The TaxType code 'INPUT' cannot be used with account code '200'."
    ]


def test_american_chart_numbers_sales_400(states: SandboxClient) -> None:
    accounts = {one["Code"]: one for one in states.get("Accounts").json()["Accounts"]}
    assert accounts["400"]["Type"] == "REVENUE"
    assert accounts["200"]["SystemAccount"] == "CREDITORS"


def test_american_rates_have_no_report_tax_type(states: SandboxClient) -> None:
    found = states.get("TaxRates").json()["TaxRates"]
    assert {one["TaxType"] for one in found} == {
        "INPUT",
        "OUTPUT",
        "GSTONIMPORTS",
        "NONE",
        "TAX001",
        "TAX002",
    }
    assert not any("ReportTaxType" in one for one in found)


@pytest.mark.parametrize(
    ("type", "display", "effective", "tax"),
    [
        ("TAX001", "7.3750", "7.3750", "7.38"),
        # 2 % of the amount with 7.375 % on it is 2.1475 % of the amount
        ("TAX002", "9.3750", "9.5225", "9.52"),
        ("NONE", "0.0000", "0.0000", "0.00"),
    ],
)
def test_american_combined_rates(
    states: SandboxClient, type: str, display: str, effective: str, tax: str
) -> None:
    rate = exact(states.get(f"TaxRates/{type}"))["TaxRates"][0]
    assert (rate["DisplayTaxRate"], rate["EffectiveRate"]) == (D(display), D(effective))
    lines = [line(AccountCode="400", TaxType=type)]
    made = states.created("Invoices", states.invoice(LineItems=lines))
    assert (made["TotalTax"], made["Total"]) == (D(tax), 100 + D(tax))


def test_american_sale_is_taxed_by_state_and_county_unless_said(states: SandboxClient) -> None:
    made = states.created("Invoices", states.invoice(LineItems=[line(AccountCode="400")]))
    assert made["LineItems"][0]["TaxType"] == "TAX001"


def test_inclusive_amount_holds_the_combined_rate(states: SandboxClient) -> None:
    lines = [line(AccountCode="400", UnitAmount="109.52", TaxType="TAX002")]
    body = states.invoice(LineItems=lines, LineAmountTypes="Inclusive")
    made = states.created("Invoices", body)
    # 109.52 x 9.5225 / 109.5225 = 9.52219...
    assert (made["TotalTax"], made["SubTotal"]) == (D("9.52"), 100)


@pytest.mark.parametrize(
    ("parts", "rate"),
    [
        ([("10", False)], "10.0000"),
        ([("4.5", False), ("10", False)], "14.5000"),
        ([("10", False), ("5", True)], "15.5000"),
        ([("5", True), ("10", False)], "15.5000"),
        ([("6.25", False), ("1.125", False), ("0.3333", True)], "7.7329"),
        ([("0.0001", False), ("0.0001", True)], "0.0002"),
        ([], "0.0000"),
    ],
)
def test_effective_rate(parts: list[tuple[str, bool]], rate: str) -> None:
    components = [Component("x", D(percent), compound) for percent, compound in parts]
    assert str(effective_rate(components)) == rate


def test_lock_dates_hold_in_every_country(australia: SandboxClient) -> None:
    australia.control(f"organisations/{australia.tenant}", {"PeriodLockDate": "2026-06-30"})
    try:
        body = australia.invoice(
            LineItems=[line()], Date="2026-06-30", DueDate="2026-07-30", Status="AUTHORISED"
        )
        message = australia.errors("PUT", "Invoices", body)[0]
        assert message.startswith("The document date cannot be before the period lock date")
        shown = australia.get("Organisation").json()["Organisations"][0]
        assert shown["PeriodLockDate"] == "/Date(1782777600000+0000)/"
    finally:
        australia.control(f"organisations/{australia.tenant}", {"PeriodLockDate": None})


def test_currency_rates_follow_the_subscription() -> None:
    state = State(countries=("AU",))
    organisation = state.organisations()[0]
    with state.transaction():
        state.subscribe(organisation.tenant, "GBP")
    found = state.organisation(organisation.tenant)
    assert found is not None
    assert found.rates["GBP"] == "0.523179"  # 0.79 / 1.51
    assert Books(state, found, "app", four=False).named("currency", "gbp")
    state.close()

"""Organisation, actions, currencies, branding themes and users of the local Xero."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any
from uuid import uuid4

import pytest

from xtiger.sandbox import start
from xtiger.sandbox.kept.currencies import CODES, day_rate, name

from .conftest import SandboxClient, exact
from .test_sandbox_schema import check, known_fields, registry
from .test_sandbox_schema import pytestmark as needs_description
from .test_sandbox_sdk import api, api_client, tenant  # noqa: F401

accounting = pytest.importorskip("xero_python.accounting")


@pytest.fixture
def books() -> Iterator[SandboxClient]:
    with start() as running:
        yield SandboxClient(running)


def codes(client: SandboxClient, **params: Any) -> list[str]:
    found = client.get("Currencies", params=params).json()["Currencies"]
    return [one["Code"] for one in found]


@pytest.mark.parametrize("address", ["Organisation", "organisation", "Organisations"])
def test_organisation_answers_under_either_name(
    sandbox_client: SandboxClient, address: str
) -> None:
    found = sandbox_client.get(address).json()["Organisations"]
    assert [one["Name"] for one in found] == ["Kauri Trading"]


@pytest.mark.parametrize("address", ["Organisation/Actions", "organisation/actions"])
def test_actions_are_told(sandbox_client: SandboxClient, address: str) -> None:
    body = sandbox_client.get(address).json()
    assert list(body)[-1] == "Actions"
    actions = {one["Name"]: one["Status"] for one in body["Actions"]}
    assert actions["CreateApprovedInvoice"] == actions["UseMulticurrency"] == "ALLOWED"
    assert sandbox_client.post(address, {}).status_code == 405


def test_a_currency_is_subscribed(books: SandboxClient) -> None:
    assert codes(books) == ["NZD", "AUD"]
    refused = books.invoice(CurrencyCode="EUR")
    assert books.errors("PUT", "Invoices", refused) == [
        "Organisation is not subscribed to currency EUR"
    ]
    made = books.created("Currencies", {"Code": "eur", "Description": "ignored"})
    assert made == {"Code": "EUR", "Description": "Euro"}
    assert codes(books, order="Code") == ["AUD", "EUR", "NZD"]
    invoice = books.created("Invoices", refused)
    assert (invoice["CurrencyCode"], invoice["CurrencyRate"]) == ("EUR", D("0.554217"))


def test_a_subscribed_currency_outlives_the_process(tmp_path: Any) -> None:
    path = tmp_path / "xero.db"
    with start(0, path) as running:
        SandboxClient(running).created("Currencies", {"Code": "SGD"})
    with start(0, path) as running:
        client = SandboxClient(running)
        assert codes(client) == ["NZD", "AUD", "SGD"]
        client.created("Invoices", client.invoice(CurrencyCode="SGD"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("XXX", "'XXX' is not a currency code"),
        ("", "'' is not a currency code"),
        ("NZD", "Organisation is already subscribed to currency NZD"),
        ("aud", "Organisation is already subscribed to currency AUD"),
    ],
)
def test_a_currency_is_refused(books: SandboxClient, code: str, message: str) -> None:
    assert books.errors("PUT", "Currencies", {"Code": code}) == [message]
    assert codes(books) == ["NZD", "AUD"]


def test_a_refused_batch_subscribes_nothing(books: SandboxClient) -> None:
    batch = {"Currencies": [{"Code": "USD"}, {"Code": "USD"}]}
    assert books.put("Currencies", batch).status_code == 400
    assert codes(books) == ["NZD", "AUD"]
    body = books.invoice(CurrencyCode="USD")
    assert books.errors("PUT", "Invoices", body) == [
        "Organisation is not subscribed to currency USD"
    ]


def test_currencies_are_filtered(books: SandboxClient) -> None:
    assert codes(books, where='Code=="AUD"') == ["AUD"]
    assert codes(books, where='Description.Contains("zealand")') == ["NZD"]


def test_currencies_have_no_address_of_their_own(books: SandboxClient) -> None:
    assert books.get("Currencies/NZD").status_code == 405
    assert books.post("Currencies", {"Code": "EUR"}).status_code == 405


def test_other_organisation_is_not_subscribed_along(books: SandboxClient) -> None:
    books.created("Currencies", {"Code": "JPY"})
    with start() as other:
        assert "JPY" not in codes(SandboxClient(other))


@pytest.mark.parametrize(
    ("base", "code", "rate"),
    [
        ("USD", "EUR", "0.920000"),
        ("GBP", "USD", "1.265823"),
        ("NZD", "NZD", "1.000000"),
        ("NZD", "ZWD", "1.000000"),
    ],
)
def test_day_rates(base: str, code: str, rate: str) -> None:
    assert day_rate(base, code) == rate


@needs_description
def test_codes_are_those_of_the_description() -> None:
    contents = registry()["xero:"].contents["components"]["schemas"]
    assert set(contents["CurrencyCode"]["enum"]) == CODES


def test_every_code_has_a_name() -> None:
    assert name("NZD") == "New Zealand Dollar"
    assert all(name(code) for code in CODES)


def test_branding_themes(sandbox_client: SandboxClient) -> None:
    found = sandbox_client.get("BrandingThemes").json()["BrandingThemes"]
    assert [(one["Name"], one["SortOrder"]) for one in found] == [("Standard", 0), ("Wholesale", 1)]
    one = found[1]
    path = f"BrandingThemes/{one['BrandingThemeID']}"
    assert sandbox_client.get(path).json()["BrandingThemes"] == [one]
    assert sandbox_client.get(f"BrandingThemes/{uuid4()}").status_code == 404
    assert sandbox_client.get("BrandingThemes/Standard").status_code == 404
    assert sandbox_client.put("BrandingThemes", {"Name": "x"}).status_code == 405


@pytest.mark.parametrize("resource", ["Invoices", "CreditNotes", "PurchaseOrders", "Quotes"])
def test_documents_name_a_theme_that_exists(sandbox_client: SandboxClient, resource: str) -> None:
    contact = sandbox_client.created("Contacts", {"Name": sandbox_client.name()})["ContactID"]
    theme = sandbox_client.get("BrandingThemes").json()["BrandingThemes"][1]["BrandingThemeID"]
    types = {"Invoices": {"Type": "ACCREC"}, "CreditNotes": {"Type": "ACCRECCREDIT"}}
    body: dict[str, Any] = {
        "Contact": {"ContactID": contact},
        "Date": "2026-09-14",
        "LineItems": [{"Description": "x", "UnitAmount": 1, "AccountCode": "200"}],
    } | types.get(resource, {})
    made = sandbox_client.created(resource, body | {"BrandingThemeID": theme})
    assert made["BrandingThemeID"] == theme
    for wrong in (str(uuid4()), "Standard"):
        assert sandbox_client.errors("PUT", resource, body | {"BrandingThemeID": wrong}) == [
            "A BrandingTheme with the specified BrandingThemeID could not be found"
        ]


def test_users(sandbox_client: SandboxClient) -> None:
    found = sandbox_client.get("Users").json()["Users"]
    assert [(one["FirstName"], one["IsSubscriber"]) for one in found] == [
        ("Rowan", True),
        ("Kim", False),
    ]
    assert found[1]["EmailAddress"] == "kim.marlow@kauritrading.example.com"
    path = f"Users/{found[0]['UserID']}"
    assert sandbox_client.get(path).json()["Users"] == [found[0]]
    assert sandbox_client.get(f"Users/{uuid4()}").status_code == 404
    assert sandbox_client.put("Users", {}).status_code == 405


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ('FirstName=="kim"', ["Kim"]),
        ("IsSubscriber==true", ["Rowan"]),
        ('OrganisationRole=="STANDARD"', ["Kim"]),
        ('EmailAddress.EndsWith("example.com")', ["Kim", "Rowan"]),
    ],
)
def test_users_are_filtered(sandbox_client: SandboxClient, where: str, names: list[str]) -> None:
    found = sandbox_client.get("Users", params={"where": where, "order": "FirstName"}).json()
    assert [one["FirstName"] for one in found["Users"]] == names


def test_users_changed_since(sandbox_client: SandboxClient) -> None:
    headers = {"If-Modified-Since": "2099-01-01T00:00:00"}
    assert sandbox_client.get("Users", headers=headers).json()["Users"] == []


@pytest.mark.parametrize(
    "address",
    ["Organisation", "Organisation/Actions", "Currencies", "BrandingThemes", "Users", "TaxRates"],
)
def test_settings_need_their_scope(sandbox_client: SandboxClient, address: str) -> None:
    for scope, status in (
        ("accounting.contacts", 401),
        ("accounting.settings.read", 200),
        ("accounting.settings", 200),
    ):
        token = sandbox_client.token(scope=scope)["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert sandbox_client.get(address, headers=headers).status_code == status


def test_currencies_as_decimal(books: SandboxClient) -> None:
    books.created("Currencies", {"Code": "FJD"})
    found = exact(books.put("Invoices", books.invoice(CurrencyCode="FJD", CurrencyRate="1.5")))
    assert found["Invoices"][0]["CurrencyRate"] == D("1.5")


def test_sdk_drives_settings(books: SandboxClient, api: Any, tenant: str) -> None:  # noqa: F811
    assert api.get_organisation_actions(tenant).actions
    users = api.get_users(tenant, order="FirstName ASC").users
    assert api.get_user(tenant, users[0].user_id).users[0].first_name == "Kim"
    themes = api.get_branding_themes(tenant).branding_themes
    one = api.get_branding_theme(tenant, themes[0].branding_theme_id).branding_themes[0]
    assert (one.name, one.sort_order) == ("Standard", 0)
    known = {one.code.value for one in api.get_currencies(tenant).currencies}
    assert {"NZD", "AUD"} <= known


@needs_description
@pytest.mark.parametrize(
    ("address", "schema", "member"),
    [
        ("Organisation/Actions", "Actions", "Action"),
        ("Currencies", "Currencies", "Currency"),
        ("BrandingThemes", "BrandingThemes", "BrandingTheme"),
        ("Users", "Users", "User"),
    ],
)
def test_lists_fit_the_description(
    sandbox_client: SandboxClient, address: str, schema: str, member: str
) -> None:
    body = sandbox_client.get(address).json()
    check(body, schema)
    assert body[schema]
    for one in body[schema]:
        known_fields(one, member)


@needs_description
@pytest.mark.parametrize("country", ["NZ", "GB", "AU", "US"])
def test_founding_data_fits_the_description(country: str) -> None:
    with start(countries=(country,)) as running:
        client = SandboxClient(running)
        for address, schema in (
            ("Organisation", "Organisations"),
            ("Accounts", "Accounts"),
            ("TaxRates", "TaxRates"),
            ("Currencies", "Currencies"),
        ):
            check(client.get(address).json(), schema)


@needs_description
def test_writes_fit_the_description(books: SandboxClient) -> None:
    check(books.put("Currencies", {"Code": "EUR"}).json(), "Currencies")
    check(books.put("Currencies", {"Code": "EUR"}).json(), "Error")

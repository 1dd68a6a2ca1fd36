"""Xero's own Python SDK as an independent client of the local Xero."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import uuid4

import pytest

from xtiger.sandbox import Running

accounting = pytest.importorskip("xero_python.accounting")
identity = pytest.importorskip("xero_python.identity")
from xero_python.api_client import ApiClient, Configuration  # noqa: E402
from xero_python.api_client.oauth2 import OAuth2Token, TokenApi  # noqa: E402


@pytest.fixture
def api_client(sandbox: Running, monkeypatch: pytest.MonkeyPatch) -> Any:
    url = f"{sandbox.identity_url}/connect/token"
    monkeypatch.setattr(TokenApi, "client_credentials_token_url", url)
    kept: dict[str, Any] = {}
    # The SDK would give everybody the first configuration that was ever made.
    Configuration.set_default(None)
    client = ApiClient(
        Configuration(
            oauth2_token=OAuth2Token(
                client_id=sandbox.client_id, client_secret=sandbox.client_secret
            )
        ),
        oauth2_token_getter=lambda: kept,
        oauth2_token_saver=kept.update,
    )
    client.get_client_credentials_token()
    return client


@pytest.fixture
def api(sandbox: Running, api_client: Any) -> Any:
    return accounting.AccountingApi(api_client, base_url=f"{sandbox.api_url}/api.xro/2.0")


@pytest.fixture
def tenant(sandbox: Running) -> str:
    return sandbox.organisations[0]["tenant_id"]


def test_connections(sandbox: Running, api_client: Any, tenant: str) -> None:
    found = identity.IdentityApi(api_client, base_url=sandbox.api_url).get_connections()
    assert [one.tenant_id for one in found] == [tenant]
    assert found[0].tenant_type == "ORGANISATION"
    assert isinstance(found[0].created_date_utc, dt.datetime)


def test_organisation_accounts_and_tax_rates(api: Any, tenant: str) -> None:
    organisation = api.get_organisations(tenant).organisations[0]
    assert organisation.name == "Kauri Trading"
    assert organisation.base_currency.value == "NZD"
    accounts = {one.code: one for one in api.get_accounts(tenant).accounts}
    assert accounts["200"].tax_type == "OUTPUT2"
    assert accounts["300"].tax_type == "INPUT2"
    assert accounts["860"].system_account == "ROUNDING"
    assert accounts["490"].status == "ARCHIVED"
    rates = {one.tax_type: one for one in api.get_tax_rates(tenant).tax_rates}
    assert rates["OUTPUT2"].effective_rate == 15
    assert rates["OUTPUT"].status == "DELETED"


def test_create_and_read_back(api: Any, tenant: str) -> None:
    name = f"SDK {uuid4()}"
    contact = api.create_contacts(
        tenant,
        accounting.Contacts(
            contacts=[
                accounting.Contact(
                    name=name,
                    email_address="ana@example.com",
                    phones=[accounting.Phone(phone_type="MOBILE", phone_number="021 555 0101")],
                )
            ]
        ),
        idempotency_key=str(uuid4()),
    ).contacts[0]
    code = uuid4().hex[:20]
    item = api.create_items(
        tenant,
        accounting.Items(
            items=[
                accounting.Item(
                    code=code,
                    name="Beans",
                    sales_details=accounting.Purchase(unit_price=12.5, account_code="200"),
                )
            ]
        ),
    ).items[0]
    assert item.sales_details.tax_type == "OUTPUT2"
    number = f"SDK-{uuid4()}"
    invoices = accounting.Invoices(
        invoices=[
            accounting.Invoice(
                type="ACCREC",
                invoice_number=number,
                contact=accounting.Contact(contact_id=contact.contact_id),
                date=dt.date(2026, 9, 14),
                due_date=dt.date(2026, 10, 14),
                status="AUTHORISED",
                line_items=[accounting.LineItem(item_code=code, quantity=2)],
            )
        ]
    )
    key = str(uuid4())
    first = api.create_invoices(tenant, invoices, idempotency_key=key).invoices[0]
    again = api.create_invoices(tenant, invoices, idempotency_key=key).invoices[0]
    assert again.invoice_id == first.invoice_id
    read = api.get_invoice(tenant, first.invoice_id).invoices[0]
    assert (read.sub_total, read.total_tax, read.total) == (25, 3.75, 28.75)
    assert (read.date, read.due_date) == (dt.date(2026, 9, 14), dt.date(2026, 10, 14))
    assert read.contact.name == name
    assert read.line_items[0].account_code == "200"
    listed = api.get_invoices(tenant, invoice_numbers=[number], page=1)
    assert [one.invoice_id for one in listed.invoices] == [first.invoice_id]
    since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    assert api.get_contacts(tenant, if_modified_since=since, i_ds=[contact.contact_id]).contacts

"""The pages of the local Xero, as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests

from xtiger.sandbox import start

from .conftest import SandboxClient


@pytest.fixture(scope="module")
def shop() -> Iterator[SandboxClient]:
    with start() as running:
        client = SandboxClient(running)
        client.created("Contacts", {"Name": "Anchor Ltd", "EmailAddress": "a@x.co"})
        client.created("Items", {"Code": "B-1", "Name": "Beans <b>& Co"})
        client.put("Invoices", [client.invoice(InvoiceNumber=f"P-{n:03}") for n in range(105)])
        yield client


def page(client: SandboxClient, path: str) -> requests.Response:
    answer = requests.get(f"{client.running.api_url}{path}", timeout=10)
    assert answer.status_code == 200, answer.text
    return answer


def test_home_counts_each_organisation(shop: SandboxClient) -> None:
    text = page(shop, "/").text
    assert "Kauri Trading" in text
    assert "Thames Supplies" in text
    assert "<dd>105</dd>" in text


def test_pages_are_strict_and_cookieless(shop: SandboxClient) -> None:
    answer = page(shop, "/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style=" not in answer.text
    assert "<script" not in answer.text
    assert "Set-Cookie" not in answer.headers
    css = page(shop, "/_static/sandbox.css")
    assert css.headers["Content-Type"].startswith("text/css")


def test_invoices_are_listed_newest_first_by_hundreds(shop: SandboxClient) -> None:
    text = page(shop, f"/organisations/{shop.tenant}/invoices").text
    assert text.index("P-104") < text.index("P-103")
    assert "P-004" not in text
    assert "Page 1 of 2" in text
    text = page(shop, f"/organisations/{shop.tenant}/invoices?page=2").text
    assert "P-004" in text
    assert "11.50" in text
    assert "Harbour Cafe" in text


def test_contacts_and_items_are_listed_and_escaped(shop: SandboxClient) -> None:
    text = page(shop, f"/organisations/{shop.tenant}/contacts").text
    assert "a@x.co" in text
    text = page(shop, f"/organisations/{shop.tenant}/items").text
    assert "Beans &lt;b&gt;&amp; Co" in text


def test_addresses_of_xero_lead_to_the_same_objects(shop: SandboxClient) -> None:
    invoice = shop.get("Invoices/P-007").json()["Invoices"][0]
    code = quote(shop.get("Organisation").json()["Organisations"][0]["ShortCode"])
    text = page(shop, f"/app/{code}/invoicing/view/{invoice['InvoiceID']}").text
    assert "P-007" in text
    assert "Coffee" in text
    assert "11.50" in text
    contact = invoice["Contact"]["ContactID"]
    text = page(shop, f"/app/{code}/contacts/contact/{contact}").text
    assert "Harbour Cafe" in text
    answer = requests.get(f"{shop.running.api_url}/app/nowhere/invoicing/view/x", timeout=5)
    assert answer.status_code == 404

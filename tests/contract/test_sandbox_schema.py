"""Answers of the local Xero against Xero's published OpenAPI description, where it is at hand."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from tests.witness.openapi import described_in

from .conftest import SandboxClient

jsonschema = pytest.importorskip("jsonschema")
referencing = pytest.importorskip("referencing")
yaml = pytest.importorskip("yaml")

_FILE = described_in()

pytestmark = pytest.mark.skipif(
    _FILE is None, reason="no xero_accounting.yaml; XTIGER_XERO_OPENAPI names it or its folder"
)


@cache
def registry() -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(_FILE.read_text(), Loader=loader)
    resource = referencing.Resource(contents=document, specification=referencing.jsonschema.DRAFT4)
    return referencing.Registry().with_resource("xero:", resource)


def check(body: object, schema: str) -> None:
    validator = jsonschema.Draft4Validator(
        {"$ref": f"xero:#/components/schemas/{schema}"}, registry=registry()
    )
    problems = [f"{list(one.path)}: {one.message[:200]}" for one in validator.iter_errors(body)]
    assert problems == []


def known_fields(body: dict[str, Any], schema: str) -> None:
    """No field is made up: each is in the published schema."""
    contents = registry()["xero:"].contents["components"]["schemas"]
    assert set(body) - set(contents[schema]["properties"]) <= {
        # measured on live Xero, missing from the description
        "DateString",
        "DueDateString",
        "TotalDiscount",
        # on lines, in the description's own examples
        "ValidationErrors",
    }


@pytest.mark.parametrize(
    ("path", "schema", "member"),
    [
        ("Organisation", "Organisations", "Organisation"),
        ("Accounts", "Accounts", "Account"),
        ("TaxRates", "TaxRates", "TaxRate"),
        ("Contacts?page=1", "Contacts", "Contact"),
        ("Items", "Items", "Item"),
        ("Invoices?page=1", "Invoices", "Invoice"),
    ],
)
def test_lists_fit_the_description(
    sandbox_client: SandboxClient, path: str, schema: str, member: str
) -> None:
    sandbox_client.created("Invoices", sandbox_client.invoice())
    sandbox_client.created("Items", {"Code": sandbox_client.name("I")})
    body = sandbox_client.get(path).json()
    check(body, schema)
    assert body[schema]
    for one in body[schema]:
        known_fields(one, member)


def test_writes_fit_the_description(sandbox_client: SandboxClient) -> None:
    line = {"Description": "x", "Quantity": 2, "UnitAmount": "9.99", "AccountCode": "200"}
    full = sandbox_client.invoice(
        Status="AUTHORISED",
        DueDate="2026-12-01",
        Url="https://crm.example.com/1",
        Reference="R",
        LineItems=[line, line | {"DiscountRate": 10}],
    )
    batch = {"Invoices": [full, sandbox_client.invoice(CurrencyCode="EUR")]}
    body = sandbox_client.put("Invoices?summarizeErrors=false", batch).json()
    check(body, "Invoices")
    known_fields(body["Invoices"][0], "Invoice")
    known_fields(body["Invoices"][0]["LineItems"][1], "LineItem")
    contact = {
        "Name": sandbox_client.name(),
        "ContactNumber": sandbox_client.name("K"),
        "Phones": [{"PhoneType": "MOBILE", "PhoneNumber": "1"}],
        "ContactPersons": [{"FirstName": "Ana", "EmailAddress": "a@example.com"}],
    }
    body = sandbox_client.put("Contacts", contact).json()
    check(body, "Contacts")
    known_fields(body["Contacts"][0], "Contact")


def test_refusal_fits_the_description(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.put("Invoices", sandbox_client.invoice(CurrencyCode="EUR")).json()
    check(body, "Error")

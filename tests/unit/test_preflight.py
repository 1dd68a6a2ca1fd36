"""What Xero would refuse, found before the call, in the words used for Xero's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from xtiger.domain.facts import Account, OrganisationFacts, TaxRate, xero_day
from xtiger.domain.hints import explain
from xtiger.domain.preflight import check
from xtiger.domain.records import DocumentType
from xtiger.domain.resources import Resource

ALL = frozenset({"ASSET", "EQUITY", "EXPENSE", "LIABILITY", "REVENUE"})
SALES = Account("200", "Sales", "REVENUE", "REVENUE", tax_type="OUTPUT2")
COSTS = Account("400", "Advertising", "EXPENSE", "EXPENSE", tax_type="INPUT2")
OLD = Account("260", "Old sales", "REVENUE", "REVENUE", status="ARCHIVED")
DEBTORS = Account("610", "Receivable", "CURRENT", "ASSET", system_account="DEBTORS")
ACME_NZ = OrganisationFacts(
    name="Acme NZ",
    currency="NZD",
    accounts=(SALES, COSTS, OLD, DEBTORS),
    tax_rates=(
        TaxRate("OUTPUT2", "15% GST on Income", Decimal(15), applies_to=ALL - {"EXPENSE"}),
        TaxRate("INPUT2", "15% GST on Expenses", Decimal(15), applies_to=ALL - {"REVENUE"}),
        TaxRate("NONE", "No GST", Decimal(0), applies_to=ALL),
        TaxRate("OUTPUT", "12.5% GST", Decimal("12.5"), status="DELETED", applies_to=ALL),
    ),
    period_lock_date=date(2026, 6, 30),
    currencies=frozenset({"NZD", "AUD"}),
)


def line(**more: Any) -> dict[str, Any]:
    return {"Description": "Work", "AccountCode": "200", "TaxType": "OUTPUT2"} | more


def invoice(**more: Any) -> dict[str, Any]:
    good = {
        "Type": "ACCREC",
        "Contact": {"ContactID": "0a1b"},
        "Date": "2026-11-21",
        "DueDate": "2026-12-05",
        "InvoiceNumber": "INV-17",
        "CurrencyCode": "NZD",
        "Status": "AUTHORISED",
        "LineItems": [line()],
    }
    return good | more


def said(payload: dict[str, Any], resource: Resource = Resource.INVOICES, **more: Any) -> list[str]:
    return [fault.sentence for fault in check(payload, resource, ACME_NZ, **more)]


def test_a_good_invoice_has_no_fault() -> None:
    assert said(invoice()) == []
    assert said(invoice(CurrencyCode="AUD")) == []


def test_a_date_in_a_locked_period_names_both_days() -> None:
    assert said(invoice(Date="2026-06-03")) == [
        "Its date, 3 Jun 2026, is in a period locked until 30 Jun 2026. "
        "Unlock the period in Xero or choose another date."
    ]
    assert len(said(invoice(Date="2026-06-30"))) == 1
    assert said(invoice(Date="2026-07-01")) == []


def test_the_later_of_two_lock_dates_counts_and_a_draft_is_free() -> None:
    later = replace(ACME_NZ, end_of_year_lock_date=date(2026, 12, 31))
    assert check(invoice(), Resource.INVOICES, later)[0].fingerprint == "period-locked"
    assert not check(invoice(Status="DRAFT"), Resource.INVOICES, later)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"LineItems": [line(AccountCode="260")]},
            "Account code '260' has been archived, or has been deleted. Each line item must "
            "reference a valid account.",
        ),
        (
            {"LineItems": [line(AccountCode="999")]},
            "Account code '999' is not a valid code for this document.",
        ),
        (
            {"LineItems": [line(AccountCode="610", TaxType="NONE")]},
            "Account code '610' is not a valid code for this document.",
        ),
        (
            {"LineItems": [line(TaxType="OUTPUT")]},
            "The TaxType code 'OUTPUT' does not exist or cannot be used for this type of "
            "transaction.",
        ),
        ({"LineItems": []}, "One or more line items must be specified"),
        ({"Contact": {}}, "A Contact must be specified for this type of transaction"),
        ({"CurrencyCode": "EUR"}, "Organisation is not subscribed to currency EUR"),
    ],
)
def test_the_words_are_those_for_xeros_own_message(change: dict[str, Any], message: str) -> None:
    faults = check(invoice(**change), Resource.INVOICES, ACME_NZ)
    hint = explain([message], organisation="Acme NZ")
    assert [(f.sentence, f.fingerprint) for f in faults] == [(hint.sentence, hint.fingerprint)]


def test_a_tax_that_an_account_cannot_carry_names_the_legal_ones() -> None:
    faults = check(invoice(LineItems=[line(AccountCode="400")]), Resource.INVOICES, ACME_NZ)
    assert [fault.sentence for fault in faults] == [
        "OUTPUT2 can't be used with account 400. Legal for it: INPUT2, NONE."
    ]
    words = "The TaxType code 'OUTPUT2' cannot be used with account code '400'."
    assert faults[0].fingerprint == explain([words]).fingerprint


def test_an_authorised_invoice_needs_its_due_date_and_a_draft_does_not() -> None:
    assert "no due date" in said(invoice(DueDate=None))[0]
    assert said(invoice(DueDate=None, Status="DRAFT")) == []


def test_a_new_invoice_cannot_be_paid_or_voided_and_a_bound_one_can_be_voided() -> None:
    assert said(invoice(Status="PAID")) == [
        "Xero creates no document as Paid. Choose Draft or Authorised."
    ]
    assert said(invoice(Status="VOIDED")) != []
    assert said(invoice(Status="VOIDED", InvoiceID="i-1")) == []


def test_a_number_that_is_taken_is_told_before_xero_does() -> None:
    known = frozenset({"INV-17"})
    assert said(invoice(), known_numbers=known) == [
        "INV-17 exists in Xero. Same total and contact: link it; else give a new number."
    ]
    assert said(invoice(InvoiceID="i-1"), known_numbers=known) == []
    assert said(invoice(Type="ACCPAY"), known_numbers=known) == []


def test_a_number_holds_printable_ascii_only() -> None:
    assert "“INV–17”" in said(invoice(InvoiceNumber="INV–17"))[0]
    assert len(said(invoice(InvoiceNumber="INV\t17"))) == 1


def test_every_line_needs_words_and_an_account() -> None:
    assert said(invoice(LineItems=[line(Description=" ")])) == [
        "A line has no description. Fill it in."
    ]
    assert said(invoice(LineItems=[{"Description": "Work"}])) == [
        "A line has no account. Choose one in the mapping."
    ]


def test_lengths_are_counted_down_to_phones_and_lines() -> None:
    contact = {
        "Name": "Ana Lee Ltd",
        "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": "1" * 51}],
        "Addresses": [{"AddressType": "POBOX", "PostalCode": "6" * 51}],
    }
    faults = check(contact, Resource.CONTACTS, ACME_NZ)
    fields = [fault.field for fault in faults]
    assert fields == ["Phones.DEFAULT.PhoneNumber", "Addresses.POBOX.PostalCode"]
    assert said(invoice(LineItems=[line(Description="x" * 4001)])) == [
        "Xero takes 4,000 characters in Description; INV-17 has 4,001. "
        "Cut it or choose another field."
    ]


def test_contacts_need_a_plain_name_and_a_country_in_letters() -> None:
    assert said({}, Resource.CONTACTS) == ["The contact has no name. Fill it in: Xero needs one."]
    assert said({"Name": "Ana <Lee>"}, Resource.CONTACTS)[0].startswith("The contact's name holds")
    for country in ("New Zealand", "Côte d'Ivoire", "Bosnia and Herzegovina", ""):
        address = {"AddressType": "POBOX", "Country": country}
        assert said({"Name": "Ana", "Addresses": [address]}, Resource.CONTACTS) == []
    address = {"AddressType": "POBOX", "Country": "NZ 1"}
    assert "“NZ 1”" in said({"Name": "Ana", "Addresses": [address]}, Resource.CONTACTS)[0]


def test_an_e_mail_address_is_left_to_xero() -> None:
    assert said({"Name": "Ana", "EmailAddress": "not an address"}, Resource.CONTACTS) == []


def test_an_item_needs_a_code_and_accounts_that_exist() -> None:
    assert said({"Name": "Widget"}, Resource.ITEMS) == [
        "Give a part number: Xero needs an item code of up to 30 characters."
    ]
    item = {"Code": "W-1", "SalesDetails": {"AccountCode": "260", "TaxType": "OUTPUT2"}}
    faults = check(item, Resource.ITEMS, ACME_NZ)
    assert [(f.field, f.fingerprint) for f in faults] == [
        ("SalesDetails.AccountCode", "account-archived:260")
    ]


def test_the_tax_rate_for_a_percentage_fits_the_side_and_the_account() -> None:
    rates = {
        kind.value: ACME_NZ.taxes_for(
            Decimal(15), Account("850", "Suspense", "CURRLIAB", "LIABILITY"), kind
        )
        for kind in DocumentType
    }
    assert {kind: [rate.tax_type for rate in found] for kind, found in rates.items()} == {
        "Invoice": ["OUTPUT2"],
        "Bill": ["INPUT2"],
    }
    assert ACME_NZ.taxes_for(Decimal(15), COSTS, DocumentType.INVOICE) == ()
    assert ACME_NZ.taxes_for(Decimal("12.5"), SALES, DocumentType.INVOICE) == ()


def test_xeros_dates_are_days() -> None:
    assert xero_day("/Date(1546214400000+0000)/") == date(2018, 12, 31)
    assert xero_day("/Date(1546214400000)/") == date(2018, 12, 31)
    assert xero_day("/Date(-86400000+0000)/") == date(1969, 12, 31)
    assert xero_day("2026-06-30T00:00:00") == date(2026, 6, 30)
    assert xero_day(None) is None

"""Lists, filters, pages and single objects of the local Xero."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from xtiger.sandbox import start

from .conftest import SandboxClient


@pytest.fixture(scope="module")
def shop() -> Iterator[SandboxClient]:
    """Books of their own: 12 contacts, one archived, 25 invoices and 2 bills."""
    with start() as running:
        client = SandboxClient(running)
        contacts = [
            {"Name": f"Shop {n:02}", "ContactNumber": f"CRM-{n}", "EmailAddress": f"s{n}@x.co"}
            for n in range(12)
        ]
        made = client.put("Contacts", {"Contacts": contacts}).json()["Contacts"]
        archive = {"ContactID": made[11]["ContactID"], "ContactStatus": "ARCHIVED"}
        client.post("Contacts", archive)
        client.put(
            "Invoices",
            [
                client.invoice(
                    InvoiceNumber=f"S-{n:02}",
                    Contact={"Name": f"Shop {n % 5:02}"},
                    Date=f"2026-08-{n + 1:02}",
                    DueDate="2026-10-01",
                    Status="AUTHORISED" if n % 2 else "DRAFT",
                    Reference=f"Ref {n}",
                )
                for n in range(25)
            ],
        )
        bill = {"Description": "x", "UnitAmount": 5, "AccountCode": "300"}
        client.put("Invoices", [client.invoice(Type="ACCPAY", LineItems=[bill]) for _ in range(2)])
        yield client


def numbers(client: SandboxClient, **params: Any) -> list[str]:
    answer = client.get("Invoices", params=params)
    assert answer.status_code == 200, answer.text
    return [one["InvoiceNumber"] for one in answer.json()["Invoices"]]


def test_envelope_has_the_measured_order(shop: SandboxClient) -> None:
    body = shop.get("Contacts", params={"page": 1}).json()
    assert list(body) == [
        "Id",
        "Status",
        "ProviderName",
        "DateTimeUTC",
        "pagination",
        "Contacts",
    ]
    assert body["Status"] == "OK"


def test_pages(shop: SandboxClient) -> None:
    body = shop.get("Invoices", params={"page": 3, "pageSize": 10}).json()
    assert body["pagination"] == {"page": 3, "pageSize": 10, "pageCount": 3, "itemCount": 27}
    assert len(body["Invoices"]) == 7
    assert body["Invoices"][0]["LineItems"]
    assert body["Invoices"][0]["Contact"]["Phones"] == []
    beyond = shop.get("Invoices", params={"page": 4, "pageSize": 10}).json()
    assert beyond["Invoices"] == []


def test_unpaged_list_and_summary_have_no_lines(shop: SandboxClient) -> None:
    body = shop.get("Invoices").json()
    assert "pagination" not in body
    assert len(body["Invoices"]) == 27
    assert body["Invoices"][0]["LineItems"] == []
    body = shop.get("Invoices", params={"summaryOnly": "True"}).json()
    assert body["pagination"]["itemCount"] == 27
    assert body["Invoices"][0]["LineItems"] == []


def test_single_by_id_or_number(shop: SandboxClient) -> None:
    found = shop.get("invoices/S-03").json()["Invoices"][0]
    assert found["LineItems"]
    assert len(found["Contact"]["Phones"]) == 4
    again = shop.get(f"Invoices/{found['InvoiceID']}").json()["Invoices"][0]
    assert again == found
    assert shop.get("Contacts/CRM-3").json()["Contacts"][0]["Name"] == "Shop 03"


def test_unknown_is_404_in_html_without_a_body(shop: SandboxClient) -> None:
    answer = shop.get("Invoices/11111111-1111-4111-8111-111111111111")
    assert (answer.status_code, answer.text) == (404, "")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ('Type=="ACCPAY"', 2),
        ('InvoiceNumber=="s-03"', 1),
        ('InvoiceNumber="S-03"', 1),
        ('Status=="AUTHORISED" AND Type=="ACCREC"', 12),
        ('Status=="AUTHORISED" OR Type=="ACCPAY"', 14),
        ('(Status=="AUTHORISED" OR Type=="ACCPAY") && Reference=="ref 3"', 1),
        ('Contact.Name=="SHOP 01"', 5),
        ('Contact.ContactNumber=="CRM-1"', 5),
        ("Date>=DateTime(2026,8,20) AND Date<DateTime(2026, 08, 23)", 3),
        ("Date>=DateTime(2026,8,20)", 8),
        ("AmountDue>6", 25),
        ("Total == 11.50", 25),
        ('Type!="ACCPAY"', 25),
        ("Reference==null", 2),
        ('Reference!=null AND Reference.Contains("F 1")', 11),
        ('InvoiceNumber.StartsWith("s-0")', 10),
        ('InvoiceNumber.EndsWith("-07") == true', 1),
        ('InvoiceNumber.ToLower()=="s-07"', 1),
        ("UpdatedDateUTC>=DateTime(2020,1,1)", 27),
        ('InvoiceID==Guid("11111111-1111-4111-8111-111111111111")', 0),
    ],
)
def test_where(shop: SandboxClient, where: str, count: int) -> None:
    assert len(numbers(shop, where=where)) == count


def test_where_by_ids(shop: SandboxClient) -> None:
    found = shop.get("Invoices/S-03").json()["Invoices"][0]
    assert numbers(shop, where=f'InvoiceID==Guid("{found["InvoiceID"]}")') == ["S-03"]
    contact = found["Contact"]["ContactID"]
    assert len(numbers(shop, where=f'Contact.ContactID=guid("{contact}")')) == 5
    assert len(numbers(shop, ContactIDs=contact)) == 5
    assert numbers(shop, IDs=f"{found['InvoiceID']},nonsense") == ["S-03"]


@pytest.mark.parametrize("where", ["Nonsense==1", "Status==", 'Status "x"', "(", 'Total~"1"'])
def test_unreadable_where_is_query_parse(shop: SandboxClient, where: str) -> None:
    answer = shop.get("Invoices", params={"where": where})
    assert answer.status_code == 400
    assert (answer.json()["ErrorNumber"], answer.json()["Type"]) == (16, "QueryParseException")


def test_other_filters(shop: SandboxClient) -> None:
    assert numbers(shop, InvoiceNumbers="S-02,S-01") == ["S-01", "S-02"]
    assert len(numbers(shop, Statuses="AUTHORISED,SUBMITTED")) == 12
    assert len(numbers(shop, searchTerm="ref 1")) == 11
    assert len(numbers(shop, createdByMyApp="true")) == 27


def test_order(shop: SandboxClient) -> None:
    assert numbers(shop, order="Date DESC", where='Type=="ACCREC"')[:2] == ["S-24", "S-23"]
    found = numbers(shop, order="Contact.Name ASC, InvoiceNumber DESC", where='Type=="ACCREC"')
    assert found[:2] == ["S-20", "S-15"]
    assert shop.get("Invoices", params={"order": "Nonsense"}).status_code == 400


def test_archived_contacts_are_hidden_unless_asked_for(shop: SandboxClient) -> None:
    def names(**params: Any) -> list[str]:
        return [one["Name"] for one in shop.get("Contacts", params=params).json()["Contacts"]]

    assert "Shop 11" not in names()
    assert "Shop 11" in names(includeArchived="true")
    assert names(searchTerm="S7@X") == ["Shop 07"]
    assert names(where='EmailAddress=="S7@x.CO"') == ["Shop 07"]
    assert names(where="IsSupplier==true") == ["Harbour Cafe"]


@pytest.mark.parametrize("form", ["iso", "rfc"])
def test_if_modified_since(shop: SandboxClient, form: str) -> None:
    def since(moment: datetime) -> list[str]:
        value = (
            moment.strftime("%Y-%m-%dT%H:%M:%S")
            if form == "iso"
            else format_datetime(moment, usegmt=True)
        )
        answer = shop.get("Invoices", headers={"If-Modified-Since": value})
        assert answer.status_code == 200
        return [one["InvoiceNumber"] for one in answer.json()["Invoices"]]

    now = datetime.now(UTC)
    assert len(since(now - timedelta(minutes=5))) == 27
    assert since(now + timedelta(minutes=5)) == []


def test_items_accounts_and_tax_rates_filter_too(shop: SandboxClient) -> None:
    accounts = shop.get("Accounts", params={"where": 'Type=="BANK"'}).json()["Accounts"]
    assert [one["Code"] for one in accounts] == ["090"]
    rates = shop.get("TaxRates", params={"where": 'Status=="DELETED"'}).json()["TaxRates"]
    assert [one["TaxType"] for one in rates] == ["INPUT", "OUTPUT"]


def test_fifty_thousand_invoices_are_no_burden() -> None:
    """Look-ups use indexes: SQLite's plan says so, and a dozen calls stay fast."""
    with start() as running:
        client = SandboxClient(running)
        made = client.created("Invoices", client.invoice(InvoiceNumber="first"))
        state = running.app.extensions["xero_sandbox"].state
        with state.transaction():
            state._db.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
                " INSERT INTO objects (tenant, kind, id, name, number, type, status, contact, date,"
                " app, updated, body) SELECT tenant, kind, 'x' || i, 'n' || i, number, type,"
                " status, contact, date, app, 0, body FROM n, objects WHERE id = ?",
                (made["InvoiceID"],),
            )
            for column in ("name", "number", "contact", "id"):
                plan = state._db.execute(
                    "EXPLAIN QUERY PLAN SELECT body FROM objects"  # noqa: S608
                    " WHERE tenant = ? AND kind = ?"
                    f" AND ({column} = ?) ORDER BY position LIMIT -1",
                    ("t", "invoice", "x"),
                ).fetchall()
                assert f"USING INDEX objects_{column} " in plan[0][3]
        began = time.process_time()
        assert len(numbers(client, InvoiceNumbers="first,n77,n49999")) == 3
        assert client.get("Invoices/n40000").status_code == 200
        for n in range(10):
            client.created("Invoices", client.invoice(InvoiceNumber=f"late {n}"))
        assert time.process_time() - began < 1


def test_what_is_absent_differs_from_every_value(shop: SandboxClient) -> None:
    found = numbers(shop, where='Reference!="Ref 3"')
    assert len(found) == 26  # the bills have no reference at all
    assert "S-03" not in found


def test_methods_can_follow_one_another_and_be_denied(shop: SandboxClient) -> None:
    assert len(numbers(shop, where='Reference.ToLower().Contains("ref 1")')) == 11
    assert len(numbers(shop, where='Reference.Contains("ref 1")==true')) == 11
    assert len(numbers(shop, where='Reference.Contains("ref 1")==false')) == 16
    assert len(numbers(shop, where='Reference.Contains("ref 1")!=true')) == 16
    for wrong in ('Reference.ToLower().Length("x")', 'Reference.Contains("x")==1'):
        assert shop.get("Invoices", params={"where": wrong}).status_code == 400


def test_invoices_asked_for_by_status_always_come_in_pages(shop: SandboxClient) -> None:
    body = shop.get("Invoices", params={"Statuses": "AUTHORISED,DRAFT", "pageSize": 5}).json()
    assert body["pagination"] == {"page": 1, "pageSize": 5, "pageCount": 6, "itemCount": 27}
    assert len(body["Invoices"]) == 5
    assert all(one["LineItems"] for one in body["Invoices"])


def test_a_page_beyond_all_numbers_is_refused(shop: SandboxClient) -> None:
    answer = shop.get("Invoices", params={"page": "9" * 20})
    assert (answer.status_code, answer.json()["ErrorNumber"]) == (400, 16)

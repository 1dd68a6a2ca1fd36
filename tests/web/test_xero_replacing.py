"""An account that was archived in Xero is replaced wherever it is used, and what failed goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
import requests
from sqlalchemy import select

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    THAMES,
    change_organisation,
    crm,
    in_xero,
    organisation,
    stranger,
    sync,
)
from tests.web.conftest import Browser, People
from tests.web.replacing_scenes import (
    SALES,
    archive,
    begin,
    booked,
    newest,
    page_of,
    press,
    text_of,
)
from xtiger.crm import rebooking
from xtiger.crm.builtin import Product
from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.records import DocumentType, Module
from xtiger.engine.connection import reference, tokens
from xtiger.engine.mapping import checks, kept_tests, mappings, replacing, uses, versions
from xtiger.store import templates
from xtiger.store.templates import Place

#: What a new organisation's mappings name 200 in.
NAMING = {"Products", "Services", "Invoice"}


@pytest.fixture
def kauri(sqlite_engine: Engine) -> Engine:
    """Kauri, as `begin` leaves it."""
    begin(sqlite_engine)
    return sqlite_engine


def test_it_is_replaced_in_mappings_and_on_products_and_what_failed_goes(
    kauri: Engine, empty: Browser
) -> None:
    listed = empty.get("/xero-accounts").text
    assert (
        "Account 200 is archived in Xero, used by 3 mappings, 2 products, 1 failed record."
        in text_of(listed)
    )
    link = re.search(r'href="/xtiger(/xero-accounts/[0-9]+/replace[^"]+)"', listed)
    assert link
    page = empty.get(unescape(link[1])).text
    assert "Invoice, v1: AccountCode" in text_of(page)
    assert "2 products: the account on them is changed too." in text_of(page)
    choices = page.split('id="new"', 1)[1].split("</select>", 1)[0]
    assert 'value="200"' not in choices, "the archived one"
    assert 'value="610"' not in choices, "what lines can't use"
    assert choices.index("260") < choices.index("</optgroup>") < choices.index("400")

    after = empty.after(press(empty, kauri, "260", page))
    assert "Account 200 is replaced by 260 in " in text_of(after)
    assert "Invoice (v2)" in text_of(after)
    assert "and on 2 products." in text_of(after)
    assert "1 record still fails for it. Retry 1?" in text_of(after)
    assert "Account 200 is archived" not in text_of(after)
    made = newest(kauri)
    assert {name for name, row in made.items() if row.version == 2} == NAMING
    assert {made[name].author for name in NAMING} == {"Administrator"}
    assert "'200'" not in str([made[name].body for name in NAMING])
    with crm(kauri) as session:
        rows = session.scalars(select(Product).order_by(Product.id)).all()
        booked = [(row.sales_account, row.purchase_account) for row in rows]
    assert booked == [("260", None), ("260", "310"), ("260", None)]

    retry = re.search(r'href="/xtiger(/queue/retry[^"]+)">Retry 1\?', after)
    assert retry
    asked = empty.get(unescape(retry[1])).text
    form = re.findall(r'name="(org|cause|count)" value="([^"]*)"', asked)
    assert empty.post("/queue/retry", **dict(form)).status_code == 303
    sync(kauri)
    [sent] = in_xero(kauri, "Invoices")
    assert [line["AccountCode"] for line in sent["LineItems"]] == ["260"]


def test_a_mapping_saved_meanwhile_is_asked_about_again(kauri: Engine, empty: Browser) -> None:
    page = empty.get(page_of(kauri), query_string=SALES).text
    place = Place(organisation(kauri).id, Module.PRODUCTS, None)
    on = mappings.bench(kauri.services, place)
    assert on.latest
    old = replacing.Old(organisation(kauri).id, "accounts", "200")
    theirs = replacing.replaced(old, versions.read_version(on.latest), "260")
    versions.save(kauri.services, on, theirs, seen=1, who="Bo")
    answer = press(empty, kauri, "270", page)
    assert answer.status_code == 409
    assert "Somebody changed the mapping Products meanwhile" in text_of(answer.text)
    assert {row.version for name, row in newest(kauri).items() if name != "Products"} == {1}
    again = empty.after(press(empty, kauri, "270", answer.text))
    assert "Products (v" not in text_of(again), "Bo's choice stays"
    assert newest(kauri)["Invoice"].version == 2


def test_a_kept_test_that_expects_it_keeps_all_as_it_is(kauri: Engine, empty: Browser) -> None:
    place = Place(organisation(kauri).id, Module.INVOICES, DocumentType.INVOICE)
    on = mappings.bench(kauri.services, place)
    subject = mappings.subjects(kauri.services, on, mappings.records_here(kauri.services, on))[0]
    with kauri.database.write() as session:
        templates.keep_test(
            session,
            place,
            "Sales go on 200",
            sample=kept_tests.sample_of(subject),
            expected={"LineItems[1].AccountCode": "200"},
            who="Bo",
            now=kauri.services.clock.now(),
        )
    answer = press(empty, kauri, "260")
    assert answer.status_code == 422
    assert "Invoice can't take it: " in text_of(answer.text)
    assert "Sales go on 200" in text_of(answer.text)
    assert {row.version for row in newest(kauri).values()} == {1}


@pytest.mark.parametrize("new", ["", "200", "610", "nonsense"])
def test_only_what_is_listed_can_stand_instead(kauri: Engine, empty: Browser, new: str) -> None:
    answer = press(empty, kauri, new)
    assert answer.status_code == 422
    assert "Choose what stands instead from the list." in text_of(answer.text)
    assert {row.version for row in newest(kauri).values()} == {1}


def test_another_fault_of_a_mapping_doesnt_stand_in_the_way(kauri: Engine, empty: Browser) -> None:
    archive(kauri, "310")
    assert "Invoice (v2)" in text_of(empty.after(press(empty, kauri, "260")))
    listed = text_of(empty.get("/xero-accounts").text)
    assert "Account 310 is archived in Xero" in listed
    assert "Account 200 is archived in Xero" not in listed


def test_what_nobody_names_and_what_isnt_a_kind_has_nothing_to_replace(
    kauri: Engine, empty: Browser, people: People
) -> None:
    page = empty.get(page_of(kauri), query_string=SALES | {"code": "260x"})
    assert "Nothing of Kauri Trading names it any more." in text_of(page.text)
    assert (
        empty.get(page_of(kauri), query_string={"kind": "items", "code": "W-1"}).status_code == 404
    )
    assert empty.get(page_of(kauri), query_string={"kind": "accounts"}).status_code == 404
    people.be("user")
    assert empty.get(page_of(kauri), query_string=SALES).status_code == 403
    assert empty.post(page_of(kauri), **SALES, new="260").status_code in (400, 403)


def test_an_option_and_a_tax_rate_are_replaced_where_a_mapping_names_them(
    kauri: Engine, empty: Browser
) -> None:
    one, client = organisation(kauri).id, stranger(kauri)
    options = [{"Name": name} for name in ("North", "South")]
    made = client.created("TrackingCategories", {"Name": "Region", "Options": options})
    reference.refresh_reference(kauri.services, one, whole=True)
    on = mappings.bench(kauri.services, Place(one, Module.INVOICES, DocumentType.INVOICE))
    assert on.latest
    lookup = {
        "transform": "lookup",
        "of": {"transform": "field", "field": "description"},
        "table": {"Work": "north", "Freight": "South"},
        "unmatched": "default",
        "default": "North",
    }
    body = {**on.latest.body, "tax_types": {"15": "OUTPUT2"}}
    row = {"to": "Tracking1", "from": lookup, "category": "Region"}
    body["lines"] = [*body["lines"], row]
    standing = checks.problems(on, versions.read_version(on.latest))
    template = MappingTemplate.from_json(body)
    versions.save(kauri.services, on, template, seen=1, who="Ana", standing=standing)
    [north] = [each for each in made["Options"] if each["Name"] == "North"]
    path = f"TrackingCategories/{made['TrackingCategoryID']}/Options/{north['TrackingOptionID']}"
    assert client.post(path, {"Name": "North", "Status": "ARCHIVED"}).status_code == 200
    reference.refresh_reference(kauri.services, one, whole=True)

    link = re.search(r'href="([^"]+kind=tracking[^"]+)"', empty.get("/xero-accounts").text)
    assert link
    page = empty.client.get(unescape(link[1])).text
    assert "Invoice, v2: Tracking1" in text_of(page)
    after = text_of(empty.after(press(empty, kauri, "South", page)))
    assert "Option North is replaced by South in Invoice (v3)." in after
    saved = newest(kauri)["Invoice"].body
    [tracked] = [each["from"] for each in saved["lines"] if each["to"] == "Tracking1"]
    assert (tracked["table"], tracked["default"]) == (
        {"Work": "South", "Freight": "South"},
        "South",
    )

    rate = {"kind": "tax_rates", "code": "output2"}
    page = empty.get(page_of(kauri), query_string=rate).text
    assert "Invoice, v3: 15 %" in text_of(page)
    choices = page.split('id="new"', 1)[1].split("</select>", 1)[0]
    assert 'value="ZERORATEDOUTPUT"' not in choices, "another percentage"


# -- organisations ----------------------------------------------------------------------------


def test_an_organisation_no_longer_in_use_keeps_what_it_has(kauri: Engine, empty: Browser) -> None:
    page = empty.get(page_of(kauri), query_string=SALES).text
    change_organisation(kauri, chosen=False)
    assert press(empty, kauri, "260", page).status_code == 404
    assert empty.get(page_of(kauri), query_string=SALES).status_code == 404
    assert {row.version for row in newest(kauri).values()} == {1}
    assert booked(kauri)["W-1"] == "200"


def change_account(engine: Engine, name: str, code: str, change: dict[str, str]) -> None:
    """An account of another organisation is changed in Xero, and XTiger reads it."""
    row = organisation(engine, name)

    def change_it(access: Any) -> None:
        headers = {
            "Authorization": f"Bearer {access.access_token}",
            "xero-tenant-id": access.tenant_id,
            "Accept": "application/json",
        }
        url = f"{engine.xero.api_url}/api.xro/2.0/Accounts"
        accounts = requests.get(url, headers=headers, timeout=30).json()["Accounts"]
        [found] = [one for one in accounts if one.get("Code") == code]
        answer = requests.post(
            f"{url}/{found['AccountID']}", headers=headers, json=change, timeout=30
        )
        assert answer.status_code == 200, answer.text

    tokens.with_access(engine.services, row, change_it)
    reference.refresh_reference(engine.services, row.id, whole=True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"Status": "ARCHIVED"}, "which can't use 260: Account 260 is archived."),
        ({"Code": "260", "Name": "Wages paid"}, "where account 260 is “Wages paid”."),
    ],
    ids=["archived", "named otherwise"],
)
def test_products_that_another_organisation_shares_change_once_it_was_read_what_becomes_there(
    kauri: Engine, empty: Browser, change: dict[str, str], why: str
) -> None:
    kauri.connect(KAURI, THAMES)
    change_account(kauri, THAMES, "260", change)
    page = empty.get(page_of(kauri), query_string=SALES).text
    assert "They go to Thames Supplies too, with the same account." in text_of(page)
    assert (
        "Sending them again takes at most 1 call for Kauri Trading and 1 call for Thames Supplies."
        in text_of(page)
    )
    answer = press(empty, kauri, "260", page)
    assert answer.status_code == 422
    assert f"2 products go to Thames Supplies too, {why}" in text_of(answer.text)
    assert "press Replace once more to do it all the same." in text_of(answer.text)
    assert {row.version for row in newest(kauri).values()} == {1}
    assert press(empty, kauri, "260", answer.text.replace('"260">', '"270">')).status_code == 422, (
        "it was asked about another one"
    )
    after = text_of(empty.after(press(empty, kauri, "260", answer.text)))
    assert "and on 2 products." in after
    with kauri.database.read() as session:
        counted = uses.uses(session, organisation(kauri, THAMES).id)["accounts"]
    assert (counted["200"].products, counted["260"].products) == (0, 3)


def test_another_organisation_that_can_use_it_isnt_asked_about(
    kauri: Engine, empty: Browser
) -> None:
    kauri.connect(KAURI, THAMES)
    reference.refresh_reference(kauri.services, organisation(kauri, THAMES).id, whole=True)
    assert "and on 2 products." in text_of(empty.after(press(empty, kauri, "260")))


# -- what mappings and records name ------------------------------------------------------------


def field(name: str) -> dict[str, Any]:
    return {"transform": "field", "field": name}


def lookup(of: Any, table: dict[str, str], **more: str) -> dict[str, Any]:
    return {"transform": "lookup", "of": of, "table": table, **more}


@pytest.mark.parametrize(
    ("more", "table", "inner"),
    [
        ({}, {"200": "400"}, "200"),
        ({"unmatched": "default", "default": "400"}, {"200": "400"}, "200"),
        ({"unmatched": "keep"}, {"200": "400"}, "200"),
        ({"unmatched": "keep"}, {"310": "400"}, "260"),
    ],
    ids=["fault", "default", "keep a word of the table", "keep"],
)
def test_what_a_lookup_looks_up_is_no_account(
    kauri: Engine, more: dict[str, str], table: dict[str, str], inner: str
) -> None:
    one = organisation(kauri).id
    on = mappings.bench(kauri.services, Place(one, Module.INVOICES, DocumentType.INVOICE))
    assert on.latest
    chained = lookup(lookup(field("description"), {"Work": "200"}), table, **more)
    lines = [row for row in on.latest.body["lines"] if row["to"] != "AccountCode"]
    body = {**on.latest.body, "lines": [*lines, {"to": "AccountCode", "from": chained}]}
    template = MappingTemplate.from_json(body)
    changed = replacing.replaced(replacing.Old(one, "accounts", "200"), template, "260").to_json()
    [row] = [row["from"] for row in changed["lines"] if row["to"] == "AccountCode"]
    assert row["of"]["table"] == {"Work": inner}
    assert row["table"] == table
    with kauri.database.write() as session:
        templates.add(session, on.place, body, seen=1, who="Ana", now=kauri.services.clock.now())
    with kauri.database.read() as session:
        named = uses.uses(session, one)["accounts"]
    assert ("Invoice" in named["200"].mappings) == (inner == "260")


def saved_mapping(engine: Engine, place: Place, change: Callable[[Any], Any]) -> None:
    """Ana saves a mapping changed; what was wrong with it before stays."""
    on = mappings.bench(engine.services, place)
    assert on.latest
    standing = checks.problems(on, versions.read_version(on.latest))
    template = MappingTemplate.from_json(change(on.latest.body))
    versions.save(engine.services, on, template, seen=on.seen, who="Ana", standing=standing)


def test_products_behind_a_lookup_are_told_to_be_the_mappings(
    kauri: Engine, empty: Browser
) -> None:
    one = organisation(kauri).id
    by_table = lookup(field("sales_account"), {"200": "260"}, unmatched="keep")

    def looked_up(body: Any) -> Any:
        rows = [row for row in body["fields"] if not row["to"].endswith("AccountCode")]
        return {**body, "fields": [*rows, {"to": "SalesDetails.AccountCode", "from": by_table}]}

    for module in (Module.PRODUCTS, Module.SERVICES):
        saved_mapping(kauri, Place(one, module, None), looked_up)
    saved_mapping(
        kauri,
        Place(one, Module.INVOICES, DocumentType.INVOICE),
        lambda body: {
            **body,
            "lines": [
                {**row, "from": {"transform": "constant", "value": "260"}}
                if row["to"] == "AccountCode"
                else row
                for row in body["lines"]
            ],
        },
    )
    uses.take_stock(kauri.services, one)
    page = empty.get(page_of(kauri), query_string=SALES).text
    assert "a lookup in the mapping decides the account of these; change it in" in text_of(page)
    assert "belong to your CRM" not in text_of(page)
    assert "1 record failed for it. Once it is replaced, they can be retried." in text_of(page)
    assert f'href="/xtiger/xero-accounts?org={one}&amp;tab=accounts">Back</a>' in page
    assert 'name="new"' not in page


def test_services_and_accounts_of_what_isnt_a_line_are_replaced(
    kauri: Engine, empty: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebooking, "MOST_ROWS", 1)
    one = organisation(kauri).id
    with crm(kauri) as session:
        for number in range(3):
            books.service(session, f"S-{number}", sales_account="200")
    with kauri.database.write() as session:
        on = mappings.bench(kauri.services, Place(one, Module.INVOICES, DocumentType.INVOICE))
        assert on.latest
        money = {"charge_account": "200", "rounding_account": "860"}
        body = {**on.latest.body, "money": money}
        templates.add(session, on.place, body, seen=1, who="Ana", now=kauri.services.clock.now())
    page = empty.get(page_of(kauri), query_string=SALES).text
    assert "Invoice, v2: AccountCode, charge_account" in text_of(page)
    assert "2 products and 3 services: the account on them is changed too." in text_of(page)
    after = text_of(empty.after(press(empty, kauri, "260", page)))
    assert "and on 2 products and 3 services." in after
    assert set(booked(kauri).values()) == {"260"}
    money = newest(kauri)["Invoice"].body["money"]
    assert (money["charge_account"], money["rounding_account"]) == ("260", "860")


def test_a_tax_rate_is_replaced_by_percentage_and_where_it_is_written(
    kauri: Engine, empty: Browser
) -> None:
    one, client = organisation(kauri).id, stranger(kauri)
    component = {"Name": "GST", "Rate": "15"}
    rate = {"Name": "Sales at 15", "ReportTaxType": "OUTPUT", "TaxComponents": [component]}
    new = client.created("TaxRates", rate)["TaxType"]
    reference.refresh_reference(kauri.services, one, whole=True)
    fixed = {"to": "TaxType", "from": {"transform": "constant", "value": "OUTPUT2"}}
    saved_mapping(
        kauri,
        Place(one, Module.INVOICES, DocumentType.INVOICE),
        lambda body: {
            **body,
            "tax_types": {"15": "OUTPUT2"},
            "lines": [*(row for row in body["lines"] if row["to"] != "TaxType"), fixed],
        },
    )
    page = empty.get(page_of(kauri), query_string={"kind": "tax_rates", "code": "OUTPUT2"}).text
    assert "Invoice, v2: TaxType, 15 %" in text_of(page)
    after = text_of(empty.after(press(empty, kauri, new, page)))
    assert f"Tax rate OUTPUT2 is replaced by {new} in Invoice (v3)." in after
    body = newest(kauri)["Invoice"].body
    assert body["tax_types"] == {"15": new}
    [row] = [row for row in body["lines"] if row["to"] == "TaxType"]
    assert row["from"]["value"] == new
    assert booked(kauri)["W-1"] == "200", "products have no TaxType of their own"

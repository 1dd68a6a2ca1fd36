"""The mapping page without a script: what it shows, entries, results, checks, who may."""

from __future__ import annotations

import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select

from tests.web.conftest import NOW, Browser, People
from tests.web.mapping_client import (
    AT,
    PAGE,
    entries,
    newest,
    press,
    read_reference,
    result_of,
    row,
    text_of,
    versions,
)
from xtiger.crm.builtin import Contact, Invoice
from xtiger.domain import exactjson
from xtiger.domain.defaults import DEFAULTS, MappingTemplate
from xtiger.domain.records import DocumentType, Module
from xtiger.domain.transforms import REGISTRY
from xtiger.store import templates
from xtiger.store.models import Organisation
from xtiger.store.templates import Place


@pytest.fixture
def read(browser: Browser) -> Browser:
    """An organisation whose accounts and tax rates were read."""
    return read_reference(browser)


# -- what it shows ----------------------------------------------------------------------------


def test_the_page_shows_each_field_with_its_result_on_the_newest_record(read: Browser) -> None:
    page = read.get(PAGE).text
    assert "v1, XTiger" in page
    assert "INV-3" in result_of(page, "fields-InvoiceNumber")
    assert "3 Nov 2026" in result_of(page, "fields-Date")
    assert "200 Sales" in result_of(page, "lines-AccountCode")
    for said in ("tax fields mapped", "rates equal Xero's", "accounts exist"):
        assert said in unescape(page)
    assert "CRM fields not sent (" in page


def test_another_record_is_shown_by_its_number(read: Browser) -> None:
    page = press(read, "show", record="INV-2").text
    assert "INV-2" in result_of(page, "fields-InvoiceNumber")
    page = press(read, "show", record="zebra").text
    assert "No invoice is called “zebra”. Results are those of INV-3." in unescape(page)


def test_without_records_an_invented_one_is_shown(empty: Browser) -> None:
    with empty.services.database.write() as session:
        session.add(Organisation(tenant_id="t", name="Acme NZ", currency="NZD", chosen=True))
    page = unescape(empty.get(PAGE).text)
    assert "No invoice to show yet; results use an invented one." in page
    assert "No mapping for this yet: Auto-map proposes one, Save makes it v1." in page


def test_before_xero_was_read_the_checks_say_so(browser: Browser) -> None:
    assert "accounts and tax rates haven't been read yet" in unescape(browser.get(PAGE).text)


def test_products_without_a_part_number_are_named_with_links(read: Browser) -> None:
    with read.app.app_context():
        session = read.app.extensions["sqlalchemy"].session
        from xtiger.crm.builtin import Product

        session.add_all([Product(name=f"Loose {n}", price=1) for n in range(4)])
        session.commit()
    page = unescape(read.get(PAGE).text)
    assert "4 products have no part number" in page
    assert 'href="/xtiger/records/Products/' in page


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("/mapping?module=Contacts", "/xtiger/mapping/1/Contacts"),
        ("/mapping?module=Invoices&type=Bill", "/xtiger/mapping/1/Invoices?type=Bill"),
        ("/mapping?module=Contacts&type=Bill", "/xtiger/mapping/1/Contacts"),
    ],
)
def test_module_and_type_are_chosen_by_address(browser: Browser, path: str, leads: str) -> None:
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (302, leads)


@pytest.mark.parametrize(
    "path", ["/mapping/9/Invoices", "/mapping/1/Cars", "/mapping/1/x/versions"]
)
def test_an_address_that_is_none_is_404(browser: Browser, path: str) -> None:
    assert browser.get(path).status_code == 404


# -- editing ----------------------------------------------------------------------------------


def test_saving_the_page_as_it_is_changes_nothing(read: Browser) -> None:
    """Every default template goes through the form and comes back the same."""
    for (module, kind), body in DEFAULTS.items():
        path = f"/mapping/1/{module.value}" + (f"?type={kind.value}" if kind else "")
        page = read.after(press(read, "save", path=path))
        assert "Nothing is different from v1; it stays in use." in unescape(page), path
        at = Place(1, module, kind)
        assert MappingTemplate.from_json(body).differences(newest(read, at)) == ()


def field(name: str) -> dict[str, Any]:
    return {"transform": "field", "field": name}


def nested(depth: int) -> dict[str, Any]:
    """A value so many transforms deep."""
    value = field("reference")
    for number in range(depth):
        value = {"transform": "replace", "of": value, "find": str(number), "by": "a b"}
    return value


#: Each transform with settings that aren't its own defaults.
EVERY: dict[str, dict[str, Any]] = {
    "date": {"of": field("reference"), "add_days": -3},
    "text": {"of": field("reference"), "trim": False, "case": "lower", "length": 7},
    "phone": {"of": field("reference"), "country_code": "64", "part": "country code"},
    "country": {"of": field("reference"), "form": "code", "unknown": "keep"},
    "keep": {"of": field("reference"), "what": "letters"},
    "part": {"of": field("reference"), "separator": " | ", "number": -1},
    "replace": {"of": field("reference"), "find": " ", "by": "|"},
    "number": {"of": field("total"), "times": Decimal("0.01"), "rounding": "up", "places": 3},
    "yes_no": {"of": field("reference"), "yes": "Y", "no": ""},
    "default": {"of": [field("reference"), field("number"), nested(2)]},
    "concat": {"parts": [field("reference"), nested(1)], "separator": " ", "skip_empty": False},
    "lookup": {
        "of": field("reference"),
        "table": {"": "none", " a=b ": "c|d", 'é"<': "'&"},
        "unmatched": "default",
        "default": "x",
    },
    "when": {
        "condition": "reference = 'a'\nor total > 1",
        "then": nested(1),
        "otherwise": {"transform": "constant", "value": "no"},
    },
    "formula": {"formula": "reference & ' ' & number"},
}


@pytest.mark.parametrize("name", [one for one in REGISTRY if one not in ("field", "constant")])
def test_every_transform_goes_through_the_form_and_comes_back_the_same(
    read: Browser, name: str
) -> None:
    """By itself, inside another one, and with a value for what is empty."""
    source = {"transform": name, **EVERY[name]}
    inside = {"transform": "text", "of": source, "case": "upper"}
    first = {"transform": "default", "of": [source, {"transform": "constant", "value": "e"}]}
    for one in (source, inside, first):
        body = exactjson.loads(exactjson.dumps(DEFAULTS[Module.INVOICES, DocumentType.INVOICE]))
        body["fields"] = [row for row in body["fields"] if row["to"] != "Reference"]
        body["fields"].append({"to": "Reference", "from": one, "too_long": "cut"})
        with read.services.database.write() as session:
            seen = len(templates.versions(session, AT))
            templates.add(session, AT, body, seen=seen, who="Ana", now=NOW)
        before = newest(read)
        page = press(read, "show").text
        answer = press(read, "save", page)
        assert answer.status_code == 303, text_of(answer)
        assert "saved=" not in answer.headers["Location"]
        assert newest(read).differences(before) == ()


def test_what_lies_too_deep_to_be_drawn_is_kept(read: Browser) -> None:
    body = exactjson.loads(exactjson.dumps(DEFAULTS[Module.INVOICES, DocumentType.INVOICE]))
    body["fields"][-1]["from"] = nested(15)
    with read.services.database.write() as session:
        templates.add(session, AT, body, seen=1, who="Ana", now=NOW)
    page = press(read, "show").text
    assert "as imported" in page
    read.after(press(read, "save", page))
    assert row(newest(read), "CurrencyCode") == nested(15)
    assert len(versions(read)) == 2


def test_a_lookup_is_chosen_filled_in_tested_and_saved(read: Browser) -> None:
    page = press(read, "show", fields_CurrencyCode="x", **{"fields:Reference|how": "lookup"}).text
    assert "Replaces a value by the one that a table gives for it." in page
    chosen = {
        "fields:Reference|src": "field:currency",
        "fields:Reference|how": "lookup",
    }
    page = press(read, "show", page, **chosen).text
    filled = chosen | {
        "fields:Reference|table|key": ["NZD", ""],
        "fields:Reference|table|value": ["domestic", ""],
    }
    page = press(read, "show", page, **filled).text
    assert "domestic" in result_of(page, "fields-Reference")
    page = press(read, "test", page).text
    assert '"Reference": "domestic"' in unescape(page)
    assert "Nothing was sent." in page
    answer = press(read, "save", page)
    assert answer.status_code == 303
    assert "saved=2" in answer.headers["Location"]
    assert row(newest(read), "Reference") == {
        "transform": "lookup",
        "of": {"transform": "field", "field": "currency"},
        "table": {"NZD": "domestic"},
    }
    assert versions(read)[0].author == "Administrator"


def test_a_transform_that_puts_values_together_begins_with_the_chosen_field(read: Browser) -> None:
    page = press(read, "show", **{"fields:Reference|how": "concat"}).text
    form = entries(page)
    assert form["fields:Reference|src"] == ["made"]
    assert form["fields:Reference|parts|0|src"] == ["field:reference"]
    more = {"fields:Reference|parts|1|src": "fixed", "fields:Reference|parts|1|fixed": "#7",
            "fields:Reference|separator": " "}  # fmt: skip
    page = press(read, "show", page, **more).text
    assert "#7" in result_of(page, "fields-Reference")
    assert entries(page)["fields:Reference|parts|1|fixed"] == ["#7"]
    gone = press(read, "show", page, **{"fields:Reference|src": ""}).text
    assert "–" in result_of(gone, "fields-Reference")
    assert "fields:Reference|parts|0|src" not in entries(gone)


def test_parts_taken_out_close_up(read: Browser) -> None:
    page = press(read, "show", **{"fields:Reference|how": "concat"}).text
    parts = {f"fields:Reference|parts|{n}|src": "fixed" for n in (1,)}
    page = press(read, "show", page, **parts, **{"fields:Reference|parts|1|fixed": "b"}).text
    page = press(read, "show", page, **{"fields:Reference|parts|0|src": ""}).text
    form = entries(page)
    assert form["fields:Reference|parts|0|fixed"] == ["b"]


def test_a_fixed_value_and_one_for_what_is_empty(read: Browser) -> None:
    changes = {
        "lines:AccountCode|src": "fixed",
        "lines:AccountCode|fixed": "300",
        "lines:AccountCode|empty": "",
        "fields:Reference|empty": "none",
    }
    read.after(press(read, "save", **changes))
    saved = newest(read)
    assert row(saved, "AccountCode") == {"transform": "constant", "value": "300"}
    assert row(saved, "Reference")["of"][1] == {"transform": "constant", "value": "none"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fields:Contact|src": ""}, "Required by Xero: choose a field or a fixed value."),
        ({"lines:AccountCode|src": "fixed", "lines:AccountCode|fixed": "245",
          "lines:AccountCode|empty": ""}, "Account 245 is archived. Choose another account."),
        ({"lines:AccountCode|empty": "999"}, "Xero has no account 999 that this record can use."),
        ({"fields:DueDate|src": "field:duedate"}, "There is no field 'duedate'; did you mean"),
        ({"tax|rate": ["15"], "tax|name": ["NONE"]},
         "CRM tax is 15 %, Xero's NONE is 0 %. Choose another."),
        ({"tax|rate": ["x"], "tax|name": ["NONE"]}, "x isn't a number."),
        ({"money|total": "totall"}, "There is no field 'totall'; did you mean 'total'?"),
    ],
)  # fmt: skip
def test_what_keeps_a_mapping_from_being_saved_is_said_and_entries_stay(
    read: Browser, changes: dict[str, Any], sentence: str
) -> None:
    answer = press(read, "save", **changes, **{"fields:Reference|empty": "my entry"})
    assert answer.status_code == 422
    page = text_of(answer)
    assert sentence in page
    assert "1 entry to correct. Nothing was saved." in page
    assert entries(answer.text)["fields:Reference|empty"] == ["my entry"]
    assert len(versions(read)) == 1


def test_a_setting_that_isnt_a_whole_number_is_said_at_its_row(read: Browser) -> None:
    page = press(read, "show", **{"fields:DueDate|how": "date"}).text
    answer = press(read, "save", page, **{"fields:DueDate|add_days": "15.5"})
    assert answer.status_code == 422
    assert "15.5 isn't a whole number." in result_of(answer.text, "fields-DueDate")
    moved = press(read, "show", answer.text, **{"fields:DueDate|add_days": "14",
                                               "fields:DueDate|src": "field:date"})  # fmt: skip
    assert "17 Nov 2026" in result_of(moved.text, "fields-DueDate")


def test_a_value_too_long_for_xero_is_said_with_its_length(read: Browser) -> None:
    with read.app.app_context():
        session = read.app.extensions["sqlalchemy"].session
        session.scalar(select(Invoice).where(Invoice.number == "INV-3")).reference = "x" * 255
        session.commit()
    page = press(read, "show", **{"fields:Reference|how": "concat"}).text
    more = {"fields:Reference|parts|1|src": "fixed", "fields:Reference|parts|1|fixed": "y" * 45,
            "fields:Reference|cut": ""}  # fmt: skip
    page = press(read, "show", page, **more).text
    said = "Xero takes 255 characters in Reference; INV-3 has 300. Cut it or choose another field."
    assert said in result_of(page, "fields-Reference")


def test_auto_map_proposes_only_for_empty_rows(read: Browser) -> None:
    changes = {"fields:Reference|src": "", "fields:DueDate|src": "fixed",
               "fields:DueDate|fixed": "2026-12-24"}  # fmt: skip
    page = press(read, "automap", **changes).text
    assert "1 field proposed. Look at the results, then Save." in unescape(page)
    form = entries(page)
    assert form["fields:Reference|src"] == ["field:reference"]
    assert form["fields:Reference|proposed"] == ["1"]
    assert form["fields:DueDate|fixed"] == ["2026-12-24"]
    assert page.count("</svg>proposed<") == 1
    assert len(versions(read)) == 1, "nothing is saved by it"
    assert "Nothing to propose" in press(read, "automap").text


def test_hostile_records_are_text_in_results_and_requests(read: Browser) -> None:
    page = press(read, "test").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"seen": "x" * 50, "fields:Reference|how": "nope", "fields:Reference|src": "field:a|b"},
        {"fields:Name|how": "lookup", "fields:Reference|src": "kept",
         "fields:Reference|fixed": "[" * 9_000},
        {"fields:Reference|src": "kept", "fields:Reference|fixed": '{"transform": 7}'},
        {"fields:Reference|src": "made", "fields:Reference|how": "concat",
         "fields:Reference|parts|count": "9" * 30},
        {"fields:Reference|src": "made", "fields:Reference|how": "concat",
         "fields:Reference|parts|count": "9999"},
        {"fields:Reference|src": "made"},
        {"fields:Reference|src": "fixed", "fields:Reference|fixed": "a\0b"},
        {"fields:Reference|src": "fixed", "fields:Reference|fixed": "x" * 9_000},
        {"fields:Reference|overwrite": "maybe", "fields:Reference|src": "field:reference"},
        {"money|total": "x" * 999}, {"tax|rate": "sNaN", "tax|name": "NONE"},
        {"record": "\0", "on": ["1", "x", "-1", "9" * 40]},
        {"carried": "{", "act": "save"}, {"act": "keep:nope"}, {"act": "drop:x"},
        {"act": "drop:99999999999999999999"}, {"act": "nope:nope"}, {"type": "Nope"},
    ],
)  # fmt: skip
def test_a_form_that_no_page_made_is_answered_in_words(read: Browser, form: dict[str, Any]) -> None:
    for act in {"show", "automap", "test", "save", form.get("act", "show")}:
        answer = read.post(PAGE, **(form | {"act": act}))
        assert answer.status_code in {200, 303, 422, 409}, (act, answer.text[:500])
        assert "Traceback" not in answer.text
        assert "This page broke" not in answer.text


# -- who may ----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["user", "manager"])
def test_only_administrators_map(read: Browser, people: People, role: str) -> None:
    people.be(role)
    answer = read.get(PAGE)
    assert answer.status_code == 403
    assert "Only administrators can open Mapping." in answer.text
    for path in ("", "/restore", "/import", "/copy", "/add"):
        assert read.post(f"{PAGE}{path}", act="save").status_code == 403
    assert len(versions(read)) == 1


def test_without_its_token_a_form_does_nothing(read: Browser) -> None:
    form = entries(read.get(PAGE).text) | {"act": ["save"], "fields:Reference|empty": ["x"]}
    form.pop("csrf_token")
    assert read.client.post(f"/xtiger{PAGE}", data=form).status_code == 400
    assert len(versions(read)) == 1


def test_contacts_have_fields_alone_and_say_what_isnt_mapped(read: Browser) -> None:
    page = read.get("/mapping/1/Contacts").text
    assert "Fields of each line" not in page
    assert "Xero fields without a value" in page
    with read.app.app_context():
        session = read.app.extensions["sqlalchemy"].session
        session.scalars(select(Contact)).one().country = "N.Z. 7"
        session.commit()
    tested = text_of(press(read, "test", path="/mapping/1/Contacts"))
    assert "Xero takes only letters in a country, not “N.Z. 7”." in tested


def test_lists_are_offered_where_amounts_are_counted_from_and_nowhere_else(read: Browser) -> None:
    page = read.get(PAGE).text

    def offered(name: str) -> list[str]:
        part = page.split(f'name="{name}"', 1)[1].split("</select>", 1)[0]
        return re.findall(r'<option value="([^"]*)"', part)

    assert (offered("money|taxes"), offered("money|charges")) == (["taxes"], ["charges"])
    assert "charges" not in offered("money|total")
    assert "field:charges" not in offered("fields:Reference|src")
    assert "field:taxes" not in offered("lines:Description|src")
    assert "Several taxes of a line, a list" in unescape(page)
    assert "Charges, a list" in unescape(page)
    unsent = page.split("CRM fields not sent (", 1)[1].split("</div>", 1)[0]
    assert "harges" not in unsent


def test_a_wrong_kind_through_a_link_is_said_at_its_row(read: Browser) -> None:
    answer = press(read, "save", **{"fields:DueDate|src": "field:contact.is_supplier"})
    assert answer.status_code == 422
    said = "The field 'contact.is_supplier' gives yes or no; a day is needed here."
    assert text_of(answer).count(said) == 2, "at the top, and in its row"


def test_the_overview_lists_every_mapping_with_its_version(read: Browser) -> None:
    page = unescape(read.get("/mapping").text)
    for name in ("Contacts", "Products", "Invoice", "Bill"):
        assert f">{name}</a></th>" in page
    assert 'href="/xtiger/mapping/1/Invoices?type=Bill"' in page
    assert "v1, XTiger, " in page
    assert 'aria-label="Breadcrumb"' in read.get(PAGE).text

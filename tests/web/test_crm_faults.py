"""What can't be read in a form: said at its field and in the summary, and never counted with."""

from __future__ import annotations

import re

import pytest

from tests.web.conftest import Browser, Tags
from tests.web.test_crm_forms import HEAD, line, saved
from xtiger.crm.builtin import Invoice


def summary(page: str) -> list[tuple[str, str]]:
    """The faults listed on top: the id each leads to, and its sentence."""
    [box] = re.findall(r'id="faults".*?</div>', page, re.DOTALL) or [""]
    found = re.findall(r'<li><a href="#([^"]+)">([^<]*)</a>', box)
    return [(id_, said.replace("&#39;", "'")) for id_, said in found]


def test_a_sentence_that_names_its_entry_is_told_its_line_alone(browser: Browser) -> None:
    lines = line(0, description="Work", unit_price="40", tax_rate="120")
    answer = browser.post("/crm/Invoices/new", **HEAD, **lines, step="count")
    said = [("lines-0-tax_rate", "Line 1: Tax % can't be more than 100.")]
    assert summary(answer.text) == said


def totals(page: str) -> str:
    """What stands below the lines, where the sums are."""
    return page.partition('<dl class="totals">')[2].partition("</dl>")[0]


@pytest.mark.parametrize("step", ["count", "add", ""])
def test_a_decimal_comma_is_a_fault_and_nothing_is_counted_with_it(
    browser: Browser, step: str
) -> None:
    lines = line(0, description="Work", quantity="2,5", unit_price="40")
    answer = browser.post("/crm/Invoices/new", **HEAD, **lines, step=step)
    assert answer.status_code == 422
    said = "2,5 isn't a number. Write it like 1150.00, without commas."
    assert summary(answer.text) == [("lines-0-quantity", f"Line 1, Qty: {said}")]
    page = answer.text.replace("&#39;", "'")
    assert f'id="lines-0-quantity-fault">{said}</p>' in page
    assert 'value="2,5"' in page
    assert "40.00" not in page
    assert "Totals are counted once what is marked is corrected." in page
    assert not totals(page)
    assert saved(browser, Invoice).number == "INV-3"


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("lines-0-unit_price", "1.150,00"),
        ("lines-0-discount", "120"),
        ("lines-0-tax_rate", "15 %"),
        ("lines-0-discount_amount", "1,5"),
        ("header_discount", "101"),
        ("header_discount_amount", "ten"),
        ("adjustment", "0,5"),
        ("withheld", "-1"),
        ("charges-0-amount", "4,00"),
        ("charges-0-tax_rate", "fifteen"),
    ],
)
def test_no_total_is_counted_with_any_other_entry_that_is_wrong(
    browser: Browser, name: str, typed: str
) -> None:
    lines = line(0, description="Work", quantity="2", unit_price="40")
    entries = HEAD | lines | {"charges-0-description": "Post", "charges-0-amount": "4"}
    page = browser.post("/crm/Invoices/new", **entries | {name: typed}, step="count").text
    assert [id_ for id_, _said in summary(page)] == [name]
    assert not totals(page)


def test_counting_asks_for_nothing_that_isnt_filled_in_yet(browser: Browser) -> None:
    empty = HEAD | {"number": "", "contact": "", "currency": "", "date": ""}
    lines = line(0, description="Work", quantity="2", unit_price="40")
    answer = browser.post("/crm/Invoices/new", **empty, **lines, step="count")
    assert answer.status_code == 200
    assert not summary(answer.text)
    assert "80.00" in totals(answer.text)


def test_a_currency_that_is_none_stands_before_no_total(browser: Browser) -> None:
    lines = line(0, description="Work", unit_price="40")
    page = browser.post(
        "/crm/Invoices/new", **HEAD | {"currency": "dollars"}, **lines, step="count"
    ).text
    assert [id_ for id_, _said in summary(page)] == ["currency"]
    assert "DOLLARS" not in page
    assert "40.00" in totals(page)


def test_the_summary_has_every_fault_and_leads_to_each(browser: Browser) -> None:
    answer = browser.post(
        "/crm/Invoices/new",
        **HEAD | {"contact": "77", "currency": "dollars", "status": "Nonsense"},
        **line(0, quantity="2,5"),
        **line(1, description="Parts", quantity="2,5", unit_price="1,50", discount="5"),
        **{"lines-1-discount_amount": "1", "charges-0-description": "Post"},
    )
    found = summary(answer.text)
    assert [id_ for id_, _said in found] == [
        "contact",
        "currency",
        "status",
        "lines-0-quantity",
        "lines-1-quantity",
        "lines-1-unit_price",
        "lines-1-discount_amount",
        "charges-0-amount",
    ]
    assert len({said for _id, said in found}) == len(found), "each can be told from the others"
    assert "8 entries to correct. Nothing was saved." in answer.text
    ids = {each.get("id") for each in Tags(answer.text).all("input", "select")}
    assert {id_ for id_, _said in found} <= ids
    for id_, _said in found:
        assert f'id="{id_}-fault"' in answer.text, id_


def test_without_any_line_the_summary_leads_to_the_lines(browser: Browser) -> None:
    answer = browser.post("/crm/Invoices/new", **HEAD, **line(0, quantity="1"))
    assert summary(answer.text) == [("lines", "Add at least one line.")]
    assert 'id="lines-fault">Add at least one line.</p>' in answer.text


def test_a_price_that_cant_be_read_isnt_replaced_by_the_products(browser: Browser) -> None:
    lines = line(0, product="1", unit_price="1,50")
    page = browser.post("/crm/Invoices/new", **HEAD, **lines, step="count").text
    assert [id_ for id_, _said in summary(page)] == ["lines-0-unit_price"]
    assert 'value="1,50"' in page


@pytest.mark.parametrize("odd", ["²", "9" * 5000, "-1", ""])
def test_odd_digits_of_nobodys_form_are_no_place_and_no_contact(browser: Browser, odd: str) -> None:
    entries = {**HEAD, **line(0, description="Work", quantity="1", unit_price="40")}
    assert browser.post("/crm/Invoices/new", **entries, step=f"remove:{odd}").status_code == 200
    refused = browser.post("/crm/Invoices/new", **{**entries, "contact": odd})
    assert (refused.status_code, summary(refused.text)[0][0]) == (422, "contact")

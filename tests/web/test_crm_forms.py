"""The small CRM's forms: lines come and go by round trips, totals equal what is saved."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.datastructures import MultiDict
from wtforms import Form

from tests.web.conftest import Browser, People
from xtiger.crm.builtin import Contact, Invoice, Product
from xtiger.domain.records import Module, RecordRef
from xtiger.store.models import Flag, OutboxRow, QueueItem
from xtiger.web.forms import ExactField, TaxesField


class Typed(Form):  # type: ignore[misc]
    """The two fields that take numbers."""

    number = ExactField("Number")
    taxes = TaxesField("Tax %")


HEAD = {
    "number": "INV-9",
    "contact": "1",
    "date": "2026-11-21",
    "due_date": "",
    "reference": "",
    "currency": "nzd",
    "status": "Approved",
    "amounts": "exclusive",
}


def line(place: int, **values: str) -> dict[str, str]:
    """One line as the form names it."""
    empty = dict.fromkeys(
        ("product", "description", "quantity", "unit_price", "discount", "tax_rate"), ""
    )
    return {f"lines-{place}-{name}": value for name, value in (empty | values).items()}


def saved(browser: Browser, model: Any) -> Any:
    """The newest record of a kind."""
    with browser.app.app_context():
        session = browser.app.extensions["sqlalchemy"].session
        found = session.scalars(select(model).order_by(model.id.desc()).limit(1)).one()
        if isinstance(found, Invoice):
            assert found.lines is not None
        return found


def test_a_new_invoice_is_saved_with_its_totals(browser: Browser) -> None:
    answer = browser.post(
        "/crm/Invoices/new",
        **HEAD,
        **line(0, product="1", quantity="3", unit_price="19.99", discount="10", tax_rate="15"),
        **line(1),
        **line(2, description="Travel", quantity="0.5", unit_price="12"),
    )
    assert "INV-9 is saved." in browser.after(answer)
    invoice = saved(browser, Invoice)
    assert invoice.currency == "NZD"
    assert [each.amount for each in invoice.lines] == [Decimal("53.97"), Decimal("6.00")]
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (
        Decimal("59.97"),
        Decimal("8.10"),
        Decimal("68.07"),
    )
    with browser.services.database.read() as session:
        captured = session.scalars(select(OutboxRow.record_id)).all()
        assert str(invoice.id) in captured


def test_a_line_is_added_and_removed_without_losing_what_was_entered(browser: Browser) -> None:
    lines = {
        **line(0, description="First", unit_price="1"),
        **line(1, description="Second", unit_price="2", tax_rate="15"),
    }
    page = browser.post("/crm/Invoices/new", **HEAD, **lines, step="add").text
    assert 'name="lines-2-description"' in page
    assert 'value="First"' in page
    page = browser.post("/crm/Invoices/new", **HEAD, **lines, step="remove:0").text
    assert 'value="First"' not in page
    assert 'value="Second"' in page
    assert 'name="lines-1-description"' not in page
    assert 'name="lines-0-tax_rate" type="text" value="15"' in page or 'value="15"' in page
    assert "NZD 2.30" in page


def test_a_chosen_product_brings_its_price_and_tax(browser: Browser) -> None:
    page = browser.post(
        "/crm/Invoices/new", **HEAD, **line(0, product="1", quantity="2"), step="count"
    ).text
    assert "NZD 115.00" in page
    browser.post("/crm/Invoices/new", **HEAD, **line(0, product="1", quantity="2"))
    assert saved(browser, Invoice).total == Decimal("115.00")


def test_an_edited_invoice_keeps_its_id_and_counts_anew(browser: Browser) -> None:
    page = browser.get("/crm/Invoices/3/edit").text
    assert 'value="INV-3"' in page
    head = HEAD | {"number": "INV-3", "edition": "1"}
    browser.post("/crm/Invoices/3/edit", **head, **line(0, unit_price="10"))
    invoice = saved(browser, Invoice)
    assert (invoice.id, invoice.total) == (3, Decimal("10.00"))


def test_faults_are_named_and_nothing_is_saved(browser: Browser) -> None:
    answer = browser.post(
        "/crm/Invoices/new",
        **HEAD | {"number": "INV-1", "currency": "dollars", "date": "today", "contact": "77"},
        **line(0, unit_price="1,150.00", discount="120"),
    )
    assert answer.status_code == 422
    page = answer.text.replace("&#39;", "'")
    for sentence in (
        "INV-1 is taken. Choose another number.",
        "A currency is three letters, such as NZD.",
        "today isn't a day.",
        "Choose one of the list.",
        "1,150.00 isn't a number. Write it like 1150.00, without commas.",
        "Discount % can't be more than 100.",
    ):
        assert sentence in page, sentence
    assert 'value="1,150.00"' in page
    assert saved(browser, Invoice).number == "INV-3"


def test_an_invoice_needs_a_line(browser: Browser) -> None:
    answer = browser.post("/crm/Invoices/new", **HEAD, **line(0, quantity="1"))
    assert answer.status_code == 422
    assert "Add at least one line." in answer.text


def test_save_and_sync_ticks_and_enqueues_with_what_it_needs(browser: Browser) -> None:
    answer = browser.post(
        "/crm/Invoices/new", **HEAD, **line(0, product="1", unit_price="5"), then="sync"
    )
    assert answer.headers["Location"] == "/xtiger/runs/2"
    with browser.services.database.read() as session:
        assert session.scalar(select(Flag.allow).where(Flag.record_id == "4"))
        waiting = session.scalars(select(QueueItem.module).where(QueueItem.state == "pending"))
        assert set(waiting) == {"Contacts", "Products", "Invoices"}


def test_contacts_and_products_are_kept(browser: Browser) -> None:
    browser.post("/crm/Contacts/new", name=" Bo Tan ", email="bo@tan.nz", status="Active")
    contact = saved(browser, Contact)
    assert (contact.name, contact.phone) == ("Bo Tan", None)
    browser.post(
        f"/crm/Contacts/{contact.id}/edit",
        edition="1",
        name="Bo Tan Ltd",
        email="",
        is_supplier="y",
        status="Former",
    )
    contact = saved(browser, Contact)
    assert (contact.name, contact.email, contact.is_supplier) == ("Bo Tan Ltd", None, True)
    browser.post("/crm/Products/new", code="W-2", name="Cable", price="0.0950", status="Active")
    product = saved(browser, Product)
    assert (product.code, product.price, product.tax_rate) == ("W-2", Decimal("0.0950"), 0)
    again = browser.post("/crm/Products/new", code="W-2", name="Other", price="1", status="Active")
    assert "Another product has the part number W-2." in again.text


def test_numbers_a_database_couldnt_hold_are_refused(browser: Browser) -> None:
    for price in ("NaN", "Infinity", "1e40", "0.123456789", "1e-400000"):
        answer = browser.post("/crm/Products/new", name="X", price=price, status="Active")
        assert answer.status_code == 422, price


def test_records_link_to_forms_only_where_the_small_crm_is_theirs(
    browser: Browser, people: People
) -> None:
    assert "New invoice" in browser.get("/records/Invoices").text
    people.be("manager")
    assert "New invoice" not in browser.get("/records/Invoices").text
    assert "/crm/Invoices/2/edit" not in browser.get("/records/Invoices/2").text


def test_what_an_invoice_has_besides_its_lines_is_counted_and_kept(browser: Browser) -> None:
    more = {
        **line(0, description="Work", quantity="2", unit_price="50", tax_rate="10 + 5 compound"),
        **line(1, description="Parts", unit_price="20", tax_rate="10"),
        "lines-1-discount_amount": "3.33",
        "header_discount": "10",
        "charges-0-description": "Shipping",
        "charges-0-amount": "12.35",
        "charges-0-tax_rate": "12.5",
        "adjustment": "-0.50",
        "withheld": "2",
    }
    page = browser.post("/crm/Invoices/new", **HEAD, **more, step="count").text
    assert '<details class="more fold" id="more" open>' in page
    assert 'value="10 + 5 compound"' in page
    assert "INV-9 is saved." in browser.after(browser.post("/crm/Invoices/new", **HEAD, **more))
    invoice = saved(browser, Invoice)
    # 116.67 less 11.67 and 12.35 of shipping; 90.00 at 10 and 5 on top, 15.00 at 10, 1.54.
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (
        Decimal("117.35"),
        Decimal("16.99"),
        Decimal("131.84"),
    )
    assert [each["rate"] for each in invoice.lines[0].taxes] == [10, 5]
    assert invoice.lines[0].tax_rate == Decimal("15.5")
    page = browser.get(f"/crm/Invoices/{invoice.id}/edit").text
    for kept in ("10 + 5 compound", "3.33", "Shipping", "12.35", "-0.50", "131.84"):
        assert kept in page, kept
    record = browser.services.crm.fetch_many([RecordRef(Module.INVOICES, str(invoice.id))])
    [found] = record.values()
    assert found.fields["charges"][0]["amount"] == Decimal("12.35")
    assert found.lines[0]["taxes"][1]["compound"] is True


def test_counted_on_each_line_the_discount_comes_after_tax(browser: Browser) -> None:
    """A worked example: two lines, 5 % off the sum with its tax."""
    browser.post(
        "/crm/Invoices/new",
        **HEAD,
        **line(0, description="One", quantity="1", unit_price="100", tax_rate="10"),
        **line(1, description="Two", quantity="2", unit_price="33.35", tax_rate="20"),
        tax_mode="individual",
        header_discount="5",
    )
    invoice = saved(browser, Invoice)
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (
        Decimal("157.20"),
        Decimal("23.34"),
        Decimal("180.54"),
    )


def test_charges_come_and_go_and_an_empty_part_is_folded_away(browser: Browser) -> None:
    lines = line(0, description="Work", unit_price="10")
    page = browser.get("/crm/Invoices/new").text
    assert '<details class="more fold" id="more">' in page
    page = browser.post("/crm/Invoices/new", **HEAD, **lines, step="charge").text
    assert 'name="charges-0-amount"' in page
    charges = {
        "charges-0-description": "Post",
        "charges-0-amount": "4",
        "charges-1-description": "Packing",
        "charges-1-amount": "5",
    }
    page = browser.post("/crm/Invoices/new", **HEAD, **lines, **charges, step="uncharge:0").text
    assert 'value="Post"' not in page
    assert 'value="Packing"' in page
    assert "NZD 15.00" in page


def test_what_cannot_be_both_or_is_no_tax_is_said(browser: Browser) -> None:
    answer = browser.post(
        "/crm/Invoices/new",
        **HEAD,
        **line(0, description="Work", unit_price="10", discount="5", tax_rate="10 + five"),
        **{"lines-0-discount_amount": "1", "charges-0-description": "Post"},
        header_discount="5",
        header_discount_amount="1",
    )
    assert answer.status_code == 422
    page = answer.text.replace("&#39;", "'")
    assert page.count("A discount is in percent or an amount: leave one of the two empty.") >= 2
    assert "10 + five isn't a tax." in page
    assert "Fill in Amount." in page


@pytest.mark.parametrize("nothing", ["0e-99999999", "0e99999999", "-0e-21", f"0.{'0' * 500}"])
def test_nothing_is_kept_in_a_few_digits_however_it_is_typed(
    browser: Browser, nothing: str
) -> None:
    """Written out to its last place the first would have a hundred million."""
    lines = line(0, quantity=nothing, unit_price="10", discount=nothing, tax_rate=nothing)
    answer = browser.post("/crm/Invoices/new", **HEAD, **lines)
    assert "INV-9 is saved." in browser.after(answer)
    [kept] = saved(browser, Invoice).lines
    for number in (kept.quantity, kept.discount, kept.tax_rate):
        assert number == 0
        assert len(f"{number:f}") < 12


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("1.500", "1.500"), ("1e3", "1000"), ("0.00000001", "0.00000001"),
     (f"2.5{'0' * 500}", "2.50000000"), ("0.00", "0.00")],
)  # fmt: skip
def test_what_is_typed_keeps_the_places_that_say_something(typed: str, kept: str) -> None:
    form = Typed(MultiDict({"number": typed, "taxes": "5 + 10"}))
    assert form.validate()
    assert f"{form.number.data:f}" == kept


@pytest.mark.parametrize("typed", ["1e-9999999", "1e9999999", "1e15", "0.000000001", "NaN", "1e"])
def test_what_no_number_field_takes_is_refused(typed: str) -> None:
    form = Typed(MultiDict({"number": typed, "taxes": f"5 + {typed}"}))
    assert not form.validate()
    assert set(form.errors) == {"number", "taxes"}

"""The small CRM's forms: lines come and go by round trips, totals equal what is saved."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import select

from tests.web.conftest import Browser, People
from xtiger.crm.builtin import Contact, Invoice, Product
from xtiger.store.models import Flag, OutboxRow, QueueItem

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
    browser.post("/crm/Invoices/3/edit", **HEAD | {"number": "INV-3"}, **line(0, unit_price="10"))
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
        "1,150.00 isn't a number. Write it like 1150.00.",
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

"""Services on the pages: their records and forms, lines that name one, mapping and rules."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from tests import books
from tests.web.conftest import Browser
from tests.web.test_crm_forms import HEAD, line, saved
from xtiger.crm.builtin import Invoice, Product, Service
from xtiger.domain.records import Module, RecordRef
from xtiger.store.models import Flag, Template


@pytest.fixture
def work(browser: Browser) -> None:
    """The service S-1, with the number that a product has too."""
    with browser.app.app_context():
        session = browser.app.extensions["sqlalchemy"].session
        row = books.service(session, "S-1", name="Fitting", price="80.00")
        assert row.id == 1
        session.commit()


def test_a_service_is_made_and_changed(browser: Browser) -> None:
    page = browser.get("/crm/Services/new").text
    assert "New service" in page
    assert "Its item code in Xero, up to 30 characters; without one it isn&#39;t sent." in page
    assert "Give a part number" not in page, "that is a fault's sentence"
    answer = browser.post(
        "/crm/Services/new",
        code="S-2",
        name="Repair",
        price="72.50",
        tax_rate="15",
        sales_account="210",
        status="Active",
    )
    assert "S-2 is saved." in browser.after(answer)
    service = saved(browser, Service)
    assert (service.code, service.price, service.sales_account) == ("S-2", Decimal("72.50"), "210")
    form = browser.get(f"/crm/Services/{service.id}/edit").text
    assert 'value="Repair"' in form
    assert saved(browser, Product).code == "W-1"


@pytest.mark.usefixtures("work")
def test_a_part_number_is_one_products_or_one_services(browser: Browser) -> None:
    taken = browser.post("/crm/Services/new", code="W-1", name="X", price="1", status="Active")
    assert taken.status_code == 422
    said = "A product has the part number W-1. In Xero both would be one item: choose another."
    assert said in taken.text
    taken = browser.post("/crm/Products/new", code="S-1", name="X", price="1", status="Active")
    assert "A service has the part number S-1. In Xero both would be one item" in taken.text
    taken = browser.post("/crm/Services/new", code="S-1", name="X", price="1", status="Active")
    assert "Another service has the part number S-1." in taken.text
    own = {"name": "Fitting more", "price": "81", "status": "Active"}
    form = browser.get("/crm/Services/1/edit").text
    edition = re.search(r'name="edition"[^>]*value="(\d+)"', form)
    own |= {"edition": edition[1]} if edition else {}
    assert browser.post("/crm/Services/1/edit", code="S-1", **own).status_code == 303
    assert saved(browser, Service).name == "Fitting more"


@pytest.mark.usefixtures("work")
def test_a_line_names_a_product_or_a_service(browser: Browser) -> None:
    form = browser.get("/crm/Invoices/new").text
    products, services = form.index('label="Products"'), form.index('label="Services"')
    assert products < form.index("W-1 · Widget") < services < form.index("S-1 · Fitting")
    lines = {**line(0, product="1", quantity="1"), **line(1, product="s1", quantity="1.5")}
    counted = browser.post("/crm/Invoices/new", **HEAD, **lines, step="count").text
    assert "NZD 195.50" in counted
    browser.post("/crm/Invoices/new", **HEAD, **lines)
    invoice = saved(browser, Invoice)
    named = [(each.product_id, each.service_id, each.unit_price) for each in invoice.lines]
    assert named == [(1, None, Decimal(50)), (None, 1, Decimal(80))]
    edit = browser.get(f"/crm/Invoices/{invoice.id}/edit").text
    assert 'selected value="s1"' in edit


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("chosen", ["s99", "s", "sx", "s1 ", "ss1", "1s", "s-1", "s" + "9" * 12])
def test_what_names_nothing_is_no_line(browser: Browser, chosen: str) -> None:
    answer = browser.post(
        "/crm/Invoices/new", **HEAD, **line(0, product=chosen, description="Work", unit_price="5")
    )
    assert answer.status_code == 303
    [only] = saved(browser, Invoice).lines
    assert (only.product_id, only.service_id) == (None, None)


@pytest.mark.usefixtures("work")
def test_the_records_page_lists_and_ticks_services(browser: Browser) -> None:
    page = browser.get("/records/Services").text
    for text in ("Part number", "S-1", "Fitting", "80.00", "Discontinued"):
        assert text in page
    assert 'aria-current="page">Services</a>' in page
    browser.post("/records/Services/bulk", ids=["1"], action="tick")
    with browser.services.database.read() as session:
        flags = {(row.module, row.record_id): row.allow for row in session.query(Flag)}
    assert flags["Services", "1"] is True
    assert ("Products", "1") not in flags
    record = browser.get("/records/Services/1").text
    assert "Allow Xero Sync" in record
    assert "Xero document type" not in record
    assert "<dt>Price</dt>" in record


@pytest.mark.usefixtures("work")
def test_an_invoices_page_leads_to_its_service(browser: Browser) -> None:
    browser.post("/crm/Invoices/new", **HEAD, **line(0, product="s1", quantity="1"))
    page = browser.get(f"/records/Invoices/{saved(browser, Invoice).id}").text
    assert '/records/Services/1">S-1</a>' in page


@pytest.mark.usefixtures("work")
def test_search_finds_a_service_by_its_code(browser: Browser) -> None:
    assert browser.get("/search?q=S-1").headers["Location"].endswith("/records/Services/1")
    assert "Services" in browser.get("/search?q=Fitt").text


@pytest.mark.usefixtures("work")
def test_services_have_rules_and_a_mapping_of_their_own(browser: Browser) -> None:
    page = browser.get("/what-syncs/1/Services").text
    assert 'name="deleted"' in page
    assert 'name="locked"' not in page
    assert "Services" in browser.get("/what-syncs").text
    page = browser.get("/mapping/1/Services").text
    assert "SalesDetails.UnitPrice" in page
    assert "Tax %" in page
    with browser.services.database.read() as session:
        assert session.query(Template).filter_by(module="Services").count() == 1
    invoices = browser.get("/mapping/1/Invoices?type=Invoice").text
    assert "Product or service: its own fields" in invoices
    assert "field:product.sales_account" in invoices


def test_a_host_without_services_sees_none(browser: Browser) -> None:
    crm = browser.services.crm
    gone = crm._modules.pop(Module.SERVICES)  # type: ignore[attr-defined]
    try:
        assert "/records/Services" not in browser.get("/records/Products").text
        assert browser.get("/records/Services").status_code == 404
        assert browser.get("/records/Services/1").status_code == 404
        assert browser.get("/search?q=nothing").status_code == 200
        assert crm.fetch_many([RecordRef(Module.PRODUCTS, "1")])
    finally:
        crm._modules[Module.SERVICES] = gone  # type: ignore[attr-defined]

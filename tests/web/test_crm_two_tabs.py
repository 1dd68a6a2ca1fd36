"""Two tabs that edit one record of the small CRM, and what is pasted into a form."""

from __future__ import annotations

import re
import threading
from html import unescape
from typing import Any

import pytest

from tests.web.conftest import NOW, Browser, Tags
from tests.web.test_crm_forms import HEAD, line, saved
from xtiger.crm.builtin import Contact, Invoice, Product
from xtiger.domain.records import Module, RecordRef, XeroLink

CONTACT = {"name": "Ana Lee Ltd", "email": "ana@lee.test", "status": "Active"}
STALE = (
    "Administrator saved this at 03:00. Your entries are below, unsaved; compare and save again."
)


def edition(page: str) -> str:
    found = re.search(r'<input[^>]*name="edition"[^>]*value="(\d+)"', page)
    assert found, "the form doesn't say what it was made from"
    return found[1]


def value_of(page: str, name: str) -> str | None:
    return next(each.get("value") for each in Tags(page).all("input") if each.get("name") == name)


def test_the_second_of_two_tabs_gets_the_words_and_loses_nothing(browser: Browser) -> None:
    path = "/crm/Contacts/1/edit"
    seen = edition(browser.get(path).text)
    first = browser.post(path, **CONTACT, edition=seen, phone="04 123")
    assert first.status_code == 303
    late = {**CONTACT, "email": "office@lee.test", "city": "Nelson", "phone": ""}
    second = browser.post(path, **late, edition=seen)
    assert second.status_code == 409
    page = unescape(second.text)
    assert STALE in page
    assert "E-mail: saved as ana@lee.test, here office@lee.test." in page
    assert "Phone: saved as 04 123, here –." in page
    assert "City: saved as –, here Nelson." in page
    assert "Name: saved" not in page
    assert (value_of(page, "email"), value_of(page, "city")) == ("office@lee.test", "Nelson")
    assert saved(browser, Contact).email == "ana@lee.test", "nothing was written over"
    again = browser.post(path, **late, edition=edition(second.text))
    assert again.status_code == 303
    assert (saved(browser, Contact).email, saved(browser, Contact).city) == (
        "office@lee.test",
        "Nelson",
    )


def test_lines_of_an_invoice_are_compared_one_by_one(browser: Browser) -> None:
    path = "/crm/Invoices/3/edit"
    head = HEAD | {"number": "INV-3"}
    seen = edition(browser.get(path).text)
    lines = {**line(0, description="Work", quantity="1", unit_price="10")}
    assert browser.post(path, **head, **lines, edition=seen).status_code == 303
    mine = {
        **line(0, description="Work", quantity="1", unit_price="12.50"),
        **line(1, description="Travel", quantity="2", unit_price="3"),
    }
    late = browser.post(path, **head, **mine, edition=seen)
    assert late.status_code == 409
    page = unescape(late.text)
    assert "Line 1, Price: saved as 10, here 12.5." in page
    assert "Line 2, Description: saved as –, here Travel." in page
    assert saved(browser, Invoice).total == 10
    assert value_of(page, "lines-1-description") == "Travel"
    assert browser.post(path, **head, **mine, edition=edition(late.text)).status_code == 303
    assert (saved(browser, Invoice).total, len(saved(browser, Invoice).lines)) == (18.5, 2)


def test_a_form_that_was_only_redrawn_is_held_to_what_it_was_made_from(browser: Browser) -> None:
    path = "/crm/Invoices/3/edit"
    head = HEAD | {"number": "INV-3"}
    seen = edition(browser.get(path).text)
    assert browser.post(path, **head, **line(0, unit_price="10"), edition=seen).status_code == 303
    redrawn = browser.post(path, **head, **line(0, unit_price="11"), edition=seen, step="add")
    assert redrawn.status_code == 200
    assert edition(redrawn.text) == seen
    late = browser.post(path, **head, **line(0, unit_price="11"), edition=edition(redrawn.text))
    assert late.status_code == 409


def test_two_who_save_at_the_very_same_moment(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has looked before the first has saved: the database itself tells them apart."""
    path = "/crm/Products/1/edit"
    form = {"name": "Widget", "code": "W-1", "price": "50", "status": "Active"}
    seen = edition(browser.get(path).text)
    from xtiger.web import crm_forms

    check, answers = crm_forms._check_code, list[int]()

    def first() -> None:
        other = Browser(browser.app.test_client(), browser.people, browser.app)
        answers.append(other.post(path, **form | {"price": "60"}, edition=seen).status_code)

    def meanwhile(*given: Any) -> bool:
        monkeypatch.setattr(crm_forms, "_check_code", check)
        thread = threading.Thread(target=first)
        thread.start()
        thread.join()
        return check(*given)

    monkeypatch.setattr(crm_forms, "_check_code", meanwhile)
    late = browser.post(path, **form | {"price": "70"}, edition=seen)
    assert (answers, late.status_code) == ([303], 409)
    assert "Price: saved as 60, here 70." in unescape(late.text)
    assert saved(browser, Product).price == 60


def test_what_xtiger_writes_back_is_no_edit(browser: Browser) -> None:
    path = "/crm/Contacts/1/edit"
    seen = edition(browser.get(path).text)
    ref = RecordRef(Module.CONTACTS, "1")
    browser.services.crm.write_back({ref: XeroLink("9c1f6b1e-0000-4000-8000-00000000000c")})
    assert browser.post(path, **CONTACT, edition=seen).status_code == 303
    contact = saved(browser, Contact)
    assert (contact.changed_by, contact.xero_id is not None) == ("Administrator", True)
    assert contact.changed_at.replace(tzinfo=NOW.tzinfo) == NOW


def test_a_record_that_no_form_has_saved_names_nobody(browser: Browser) -> None:
    path = "/crm/Contacts/1/edit"
    seen = edition(browser.get(path).text)
    with browser.app.app_context():
        session = browser.app.extensions["sqlalchemy"].session
        session.get(Contact, 1).phone = "09 999"
        session.commit()
    late = browser.post(path, **CONTACT, edition=seen)
    assert late.status_code == 409
    assert "Somebody saved this meanwhile. Your entries are below, unsaved" in late.text


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Ana\x00 Lee", "Ana Lee"),
        ("Ana\x0bLee", "Ana Lee"),
        ("Ana\r\nLee", "Ana Lee"),
        ("Ana\tLee", "Ana Lee"),
        ("Ana\u2028Lee", "Ana Lee"),
        ("\x1bAna\x07 Lee\x9f", "Ana Lee"),
        ("Ana‍Ⅶ 李 عمر", "Ana‍Ⅶ 李 عمر"),
    ],
)
def test_control_characters_are_left_out_of_one_line(
    browser: Browser, typed: str, kept: str
) -> None:
    answer = browser.post("/crm/Contacts/new", name=typed, status="Active")
    assert answer.status_code == 303
    assert saved(browser, Contact).name == kept


def test_texts_of_several_lines_keep_their_lines(browser: Browser) -> None:
    browser.post(
        "/crm/Products/new",
        name="Cable",
        description="One\r\nTwo\x0b\x00Three\tfour",
        price="1",
        status="Active",
    )
    assert saved(browser, Product).description == "One\nTwo\nThree\tfour"


def test_nothing_but_control_characters_is_nothing(browser: Browser) -> None:
    answer = browser.post("/crm/Contacts/new", name="\x00\x01\x02", status="Active")
    assert answer.status_code == 422
    assert "Fill in Name." in answer.text


def test_an_invoices_texts_and_charges_are_cleaned_too(browser: Browser) -> None:
    answer = browser.post(
        "/crm/Invoices/new",
        **HEAD | {"number": "INV\x00-9", "reference": "PO\x071"},
        **line(0, description="Work\x00", quantity="1", unit_price="10"),
        **{"charges-0-description": "Ship\x1fping", "charges-0-amount": "2"},
    )
    assert answer.status_code == 303
    invoice = saved(browser, Invoice)
    assert (invoice.number, invoice.reference) == ("INV-9", "PO1")
    assert (invoice.lines[0].description, invoice.charges[0]["description"]) == ("Work", "Shipping")

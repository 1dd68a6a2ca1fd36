"""Adding many records to the Queue asks first: how many, what it costs, and whether it moved."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from html import unescape

import pytest
from sqlalchemy import delete, select

from tests.web.conftest import NOW, Browser, People
from tests.web.mapping_client import PAGE, press, read_reference
from tests.web.test_what_syncs import form, save
from xtiger.crm.builtin import Contact, Invoice, InvoiceLine
from xtiger.domain.records import Module
from xtiger.engine import intake
from xtiger.store.models import Binding, Flag, Organisation, QueueItem

MANY = 57
ADD = "/what-syncs/1/Invoices/add"


def invoices(browser: Browser, *numbers: int) -> None:
    """More invoices, ticked, that no change was captured for: as a CRM that was there before."""
    with browser.app.app_context():
        session = browser.app.extensions["sqlalchemy"].session
        contact = session.scalars(select(Contact.id).limit(1)).one()
        for number in numbers:
            invoice = Invoice(
                id=number,
                number=f"INV-{number}",
                contact_id=contact,
                date=date(2026, 11, 20),
                currency="NZD",
                amounts="exclusive",
                status="Approved",
                created_at=NOW,
                lines=[
                    InvoiceLine(
                        place=0,
                        description="Work",
                        quantity=Decimal(1),
                        unit_price=Decimal(number),
                        discount=Decimal(0),
                        tax_rate=Decimal(15),
                    )
                ],
            )
            invoice.count()
            session.add(invoice)
        session.commit()
    with browser.services.database.write() as session:
        for number in numbers:
            session.add(Flag(module="Invoices", record_id=str(number), allow=True))


def bound(browser: Browser, *numbers: int) -> None:
    """These are in Xero, with something else than the mapping makes of them."""
    with browser.services.database.write() as session:
        for number in numbers:
            session.add(
                Binding(organisation_id=1, module="Invoices", record_id=str(number),
                        resource="Invoices", document_type="Invoice", xero_id=f"x-{number}",
                        agreed_hash="h", agreed={}, bound_at=NOW, agreed_at=NOW)
            )  # fmt: skip


def waiting(browser: Browser) -> int:
    with browser.services.database.read() as session:
        found = session.scalars(
            select(QueueItem.id).where(QueueItem.state == "pending", QueueItem.module == "Invoices")
        )
        return len(found.all())


def emptied(browser: Browser) -> None:
    """Nothing waits: what was captured is in the Queue and taken out of it."""
    intake.relay(browser.services)
    with browser.services.database.write() as session:
        session.execute(delete(QueueItem).where(QueueItem.state == "pending"))


def count_of(page: str) -> str:
    found = re.search(r'name="count" value="(\d+)"', page)
    assert found, page
    return found[1]


# -- what a mapping changes -------------------------------------------------------------------


@pytest.fixture
def changed(browser: Browser) -> Browser:
    """A mapping saved, by which 58 invoices in Xero would change."""
    read_reference(browser)
    numbers = range(101, 101 + MANY)
    invoices(browser, *numbers)
    bound(browser, *numbers)
    emptied(browser)
    said = unescape(browser.after(press(browser, "save", **{"fields:DueDate|src": "field:date"})))
    assert "Saved as v2. 58 records in Xero would change; they aren't sent until you add" in said
    return browser


def test_many_changed_records_are_added_only_after_a_page_has_asked(changed: Browser) -> None:
    asked = changed.post(f"{PAGE}/add", type="Invoice", count="58")
    page = unescape(changed.after(asked))
    assert asked.headers["Location"].endswith("/mapping/1/Invoices/add?type=Invoice")
    assert (
        "Add 58 invoices to the Queue? The schedule sends them: about 2 calls of 812 left." in page
    )
    assert "The contacts and items they need go first" in page
    assert "Add 58</button>" in page
    assert 'href="/xtiger/mapping/1/Invoices?type=Invoice&saved=2">Back</a>' in page
    assert waiting(changed) == 0, "asking does nothing"
    sent = changed.post(f"{PAGE}/add", type="Invoice", count=count_of(page), asked="1")
    assert "Added 58 invoices to the Queue, places #" in changed.after(sent)
    assert waiting(changed) == 58


def test_a_count_that_moved_adds_nothing_and_asks_again(changed: Browser) -> None:
    page = unescape(changed.get(f"{PAGE}/add?type=Invoice").text)
    seen = count_of(page)
    invoices(changed, 201)
    bound(changed, 201)
    moved = changed.post(f"{PAGE}/add", type="Invoice", count=seen, asked="1")
    page = unescape(changed.after(moved))
    assert "There are now 59. Nothing was done; look again." in page
    assert "Add 59</button>" in page
    assert waiting(changed) == 0


def test_a_form_without_a_count_adds_nothing(changed: Browser) -> None:
    page = unescape(changed.after(changed.post(f"{PAGE}/add", type="Invoice", asked="1")))
    assert "There are now 58. Nothing was done; look again." in page
    assert waiting(changed) == 0


def test_more_calls_than_are_left_is_said(changed: Browser) -> None:
    with changed.services.database.write() as session:
        session.get_one(Organisation, 1).day_left = 1
    page = unescape(changed.get(f"{PAGE}/add?type=Invoice").text)
    assert "about 2 calls of 1 left." in page
    assert "That is more than today's calls. What is left goes on tomorrow, in order." in page


def test_asking_about_nothing_leads_back(browser: Browser) -> None:
    read_reference(browser)
    answer = browser.get("/mapping/1/Contacts/add")
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        "/xtiger/mapping/1/Contacts?saved=1",
    )


# -- what a profile selects -------------------------------------------------------------------


def test_a_few_are_added_at_once(browser: Browser) -> None:
    emptied(browser)
    assert "Added 2 invoices to the Queue, places #" in browser.after(browser.post(ADD))
    assert waiting(browser) == 2


def test_many_selected_records_are_added_only_after_a_page_has_asked(browser: Browser) -> None:
    invoices(browser, *range(101, 101 + MANY))
    emptied(browser)
    saved = browser.after(save(browser, rule="all"))
    assert 'action="/xtiger/what-syncs/1/Invoices/add"' in saved
    asked = browser.post(ADD)
    page = unescape(browser.after(asked))
    assert asked.headers["Location"].endswith(ADD)
    expected = intake.would_add(
        browser.services, organisation_id=1, module=Module.INVOICES, most=10_000
    )
    assert expected[1]
    assert f"Add {expected[0]} invoices to the Queue? The schedule sends them: about 2 calls of " \
        "812 left." in page  # fmt: skip
    assert waiting(browser) == 0
    invoices(browser, 201)
    emptied(browser)
    moved = unescape(browser.after(browser.post(ADD, count=count_of(page))))
    assert f"There are now {expected[0] + 1}. Nothing was done; look again." in moved
    assert waiting(browser) == 0
    sent = browser.after(browser.post(ADD, count=count_of(moved)))
    assert f"Added {expected[0] + 1} invoices to the Queue, places #" in sent
    assert waiting(browser) == expected[0] + 1
    # A double press finds them there.
    again = unescape(browser.after(browser.post(ADD, count=count_of(moved))))
    assert "There are now 0. Nothing was done; look again." in again


def test_what_would_be_added_is_what_is_added(browser: Browser) -> None:
    invoices(browser, *range(101, 111))
    emptied(browser)
    for module in (Module.CONTACTS, Module.PRODUCTS, Module.INVOICES):
        count, whole = intake.would_add(
            browser.services, organisation_id=1, module=module, most=10_000
        )
        added = intake.add_selected(
            browser.services, organisation_id=1, modules=[module], who="Ana"
        )
        assert (added.count, whole) == (count, True), module
    count, whole = intake.would_add(
        browser.services, organisation_id=1, module=Module.INVOICES, most=3
    )
    assert (count, whole) == (0, True)


def test_a_count_stops_at_the_most_it_is_asked_for(browser: Browser) -> None:
    invoices(browser, *range(101, 111))
    emptied(browser)
    assert intake.would_add(
        browser.services, organisation_id=1, module=Module.INVOICES, most=3
    ) == (3, False)


def test_a_count_that_takes_too_long_says_that_it_isnt_whole(browser: Browser) -> None:
    invoices(browser, *range(101, 111))
    emptied(browser)
    count, whole = intake.would_add(
        browser.services, organisation_id=1, module=Module.INVOICES, most=10_000, seconds=0
    )
    assert count
    assert not whole


def test_only_administrators_are_asked(browser: Browser, people: People) -> None:
    form(browser)
    people.be("user")
    assert browser.get(ADD).status_code == 403
    assert browser.post(ADD).status_code == 403
    assert browser.get(f"{PAGE}/add?type=Invoice").status_code == 403

"""A contact that Xero may have already: a person says which one it is, and nothing is doubled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.browser.looking import fits
from tests.browser.test_main_job import chromium as chromium
from tests.browser.test_main_job import signed_in
from xtiger.crm.builtin import Contact, Invoice, InvoiceLine
from xtiger.demo.books import consent_token, read_books
from xtiger.demo.instance import Instance, Ports, free_port
from xtiger.domain.records import Module, RecordRef
from xtiger.engine import intake

pytestmark = pytest.mark.browser

NAME, RENAMED = "Ana Lee Ltd", "Bo Tan Trading"
OURS, THEIRS = "ana@lee.example", "books@lee.example"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A demo whose organisations hold customers of the CRM's already."""
    instance = Instance.at(tmp_path_factory.mktemp("met"), sync_interval=3600)
    instance.ports = Ports(free_port(), free_port(), free_port())
    try:
        instance.start_xero()
        instance.start_mail()
        instance.prepare()
        hold(instance, {"Name": NAME, "FirstName": "Ana Maria", "EmailAddress": THEIRS})
        hold(instance, {"Name": "Bo Tan", "EmailAddress": "bo@theirs.example"})
        seed(instance)
        instance.start_server()
        instance.connect(instance.sign_in())
        instance.wait_idle()
        yield instance
    finally:
        instance.stop()


def tenant(instance: Instance) -> str:
    return next(
        str(each["tenant_id"])
        for each in instance.xero["organisations"]
        if each["name"] == "Kauri Trading"
    )


def hold(instance: Instance, contact: dict[str, Any]) -> None:
    """A contact that somebody made in Xero, long before XTiger."""
    answer = requests.put(
        f"{instance.xero['api_url']}/api.xro/2.0/Contacts",
        json={"Contacts": [contact]},
        headers={
            "Authorization": f"Bearer {consent_token(instance.xero)}",
            "xero-tenant-id": tenant(instance),
            "Accept": "application/json",
        },
        timeout=30,
    )
    answer.raise_for_status()


def seed(instance: Instance) -> None:
    """The same customers in the CRM, with e-mails of their own, and an invoice for each."""
    with instance.app.app_context():
        session = instance.db.session
        for number, name, email in ((1, NAME, OURS), (2, "Bo Tan", "bo@ours.example")):
            contact = Contact(name=name, email=email, phone="04 555 0100", city="Nelson")
            session.add(contact)
            session.flush()
            line = InvoiceLine(
                place=0,
                description="Work",
                quantity=Decimal(2),
                unit_price=Decimal("50.00"),
                discount=Decimal(0),
                tax_rate=Decimal(15),
            )
            invoice = Invoice(
                number=f"MET-{number}",
                contact_id=contact.id,
                date=date(2026, 11, 20),
                due_date=date(2026, 12, 4),
                currency="NZD",
                amounts="exclusive",
                status="Approved",
                lines=[line],
            )
            invoice.count()
            session.add(invoice)
        session.commit()


def in_kauri(instance: Instance, resource: str) -> list[dict[str, Any]]:
    found = getattr(read_books(instance.xero), resource)
    return [row for row in found if row["_tenant"] == tenant(instance)]


def sync(ana: Page, instance: Instance) -> None:
    ana.goto(f"{instance.url}/")
    ana.get_by_role("button", name="Sync", exact=True).click()
    ana.wait_for_url(re.compile(r"/runs/\d+"))
    instance.wait_idle()


def opened(ana: Page, instance: Instance, name: str) -> str:
    """Opens the failed contact's own page by the Queue, as somebody who looks for what failed."""
    ana.goto(f"{instance.url}/queue?state=failed")
    row = ana.get_by_role("row").filter(has=ana.get_by_role("link", name=name, exact=True))
    expect(row).to_contain_text(f"Another contact in Xero is called {name}.")
    row.get_by_role("link", name=re.compile(r"^#\d+$")).click()
    expect(ana.get_by_role("heading", name="Which one is it?")).to_be_visible()
    return ana.url.rpartition("/")[2]


def test_an_uncertain_contact_is_linked_by_a_person_and_goes_on_without_a_double(
    instance: Instance, chromium: Browser
) -> None:
    for number in (1, 2):
        intake.set_flag(
            instance.services, RecordRef(Module.INVOICES, str(number)), who="Bo", allow=True
        )
    ana = signed_in(chromium, instance, "ana@example.com")
    said: list[str] = []
    ana.on("console", lambda one: said.append(one.text))
    ana.on("pageerror", lambda error: said.append(str(error)))
    sync(ana, instance)
    place = opened(ana, instance, NAME)
    panel = ana.locator("section").filter(has_text="Which one is it?")
    for text in (OURS, THEIRS, "In the CRM", "What Xero has"):
        expect(panel.get_by_text(text, exact=True)).to_be_visible()
    fits(ana, "which-one")
    assert [row["Name"] for row in in_kauri(instance, "contacts")].count(NAME) == 1

    # A manager sees both sides, and may not choose.
    mia = signed_in(chromium, instance, "mia@example.com")
    mia.goto(f"{instance.url}/queue/{place}")
    expect(mia.get_by_text(THEIRS, exact=True)).to_be_visible()
    expect(mia.get_by_role("button", name="Link them")).to_have_count(0)
    fits(mia, "which-one-manager")

    panel.get_by_role("button", name="Link them").click()
    done = f"It is linked with Xero's {NAME} and goes on in its old place, #{place}."
    expect(ana.get_by_text(done)).to_be_visible()
    expect(ana.get_by_role("heading", name="Which one is it?")).to_have_count(0)
    sync(ana, instance)
    ana.goto(f"{instance.url}/queue/{place}")
    expect(ana.get_by_role("heading", level=1)).to_contain_text(f"#{place}")
    expect(ana.locator(".badge-state").first).to_contain_text("Succeeded")

    [met] = [row for row in in_kauri(instance, "contacts") if row["Name"] == NAME]
    # What wasn't listed stays as Xero had it; the listed e-mail is the CRM's now.
    assert (met["FirstName"], met["EmailAddress"]) == ("Ana Maria", OURS)
    invoices = {row["InvoiceNumber"]: row for row in in_kauri(instance, "invoices")}
    assert invoices["MET-1"]["Contact"]["ContactID"] == met["ContactID"]
    ana.goto(f"{instance.url}/records/Invoices/1")
    expect(ana.get_by_text("It is in Xero as MET-1 since").first).to_be_visible()
    assert said == []


def test_a_new_one_is_made_once_its_name_is_its_own(instance: Instance, chromium: Browser) -> None:
    ana = signed_in(chromium, instance, "ana@example.com")
    place = opened(ana, instance, "Bo Tan")
    contact = ana.get_by_role("link", name="Contacts Bo Tan")
    contact.click()
    ana.get_by_role("link", name="Edit").click()
    ana.get_by_label("Name (required)").fill(RENAMED)
    ana.get_by_role("button", name="Save", exact=True).click()
    expect(ana.get_by_text(f"{RENAMED} is saved.")).to_be_visible()
    sync(ana, instance)
    theirs = sorted(row["Name"] for row in in_kauri(instance, "contacts"))
    assert theirs.count("Bo Tan") == theirs.count(RENAMED) == 1
    ana.goto(f"{instance.url}/queue/{place}")
    expect(ana.locator(".badge-state").first).to_contain_text("Succeeded")
    ana.goto(f"{instance.url}/records/Invoices/2")
    expect(ana.get_by_text("It is in Xero as MET-2 since").first).to_be_visible()

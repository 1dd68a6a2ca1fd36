"""Reports in Chromium: subscribe, try the address, open a mail, and leave by its own link."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.browser.looking import faults as faults
from tests.browser.looking import fits, watched
from tests.browser.test_main_job import chromium as chromium
from tests.browser.test_main_job import instance as instance
from tests.browser.test_main_job import signed_in
from xtiger.demo.instance import Instance
from xtiger.engine.reporting import letters, reports

pytestmark = pytest.mark.browser

OFFICE = "office@example.com"


def letter(instance: Instance) -> EmailMessage:
    """The newest letter that the mail server took."""
    raw = instance.mails[-1].read_bytes()
    found: Any = email.message_from_bytes(raw, policy=email.policy.default)
    return found


def subscribe(page: Page, instance: Instance, address: str) -> None:
    """Adds an address as an administrator would."""
    page.goto(f"{instance.url}/")
    page.get_by_role("link", name="Email notification").first.click()
    page.get_by_role("link", name="Add an address").click()
    page.get_by_role("textbox", name="Address").fill(address)
    page.get_by_label("weekly, Mon").check()
    page.get_by_label("only if something failed").check()
    page.get_by_label("Hour").select_option("06:00")
    page.get_by_label("Time zone").fill("Pacific/Auckland")


def test_an_administrator_subscribes_tries_reads_and_a_reader_leaves(
    instance: Instance, chromium: Browser, faults: list[str]
) -> None:
    ana = watched(signed_in(chromium, instance, "ana@example.com"), faults)
    subscribe(ana, instance, OFFICE)
    fits(ana, "new")
    ana.get_by_role("button", name="Add", exact=True).click()
    expect(ana.get_by_text(f"{OFFICE} gets it: Daily 06:00, Weekly Mon 06:00")).to_be_visible()

    before = len(instance.mails)
    ana.get_by_role("button", name=f"Send test mail to {OFFICE}").click()
    said = ana.get_by_text(re.compile(rf"Test mail sent to {OFFICE} at \d\d:\d\d by localhost\."))
    expect(said).to_be_visible()
    assert len(instance.mails) == before + 1
    arrived = letter(instance)
    assert arrived["To"] == OFFICE
    fits(ana, "list")

    ana.get_by_role("link", name="Reports", exact=True).first.click()
    row = ana.get_by_role("row").filter(has_text=OFFICE).first
    expect(row).to_contain_text("Sent")
    fits(ana, "reports")
    row.get_by_role("link", name=re.compile("^Open mail")).click()
    shown = ana.frame_locator("iframe")
    expect(shown.get_by_text("This address gets XTiger's mails.").first).to_be_visible()
    fits(ana, "report")
    ana.get_by_role("button", name=f"Send again to {OFFICE}").click()
    expect(ana.get_by_text(f"A new mail to {OFFICE} is on its way.")).to_be_visible()
    letters.send_waiting(instance.services)  # if the server hasn't taken it up already
    for _ in range(100):
        if len(instance.mails) == before + 2:
            break
        ana.wait_for_timeout(100)
    assert len(instance.mails) == before + 2
    again = letter(instance)
    assert (again["To"], again["Subject"]) == (OFFICE, arrived["Subject"])
    assert again["Message-ID"] != arrived["Message-ID"]

    # The reader has no account here: the link of the mail is enough.
    link = arrived["List-Unsubscribe"].strip().strip("<>")
    reader = watched(chromium.new_context().new_page(), faults)
    reader.goto(link)
    expect(reader.get_by_text(f"Stop XTiger's mails to {OFFICE}?")).to_be_visible()
    fits(reader, "unsubscribe")
    reader.get_by_role("button", name="Stop these mails").click()
    expect(reader.get_by_text(f"{OFFICE} gets no more of XTiger's mails")).to_be_visible()
    fits(reader, "unsubscribed")
    ana.goto(f"{instance.url}/email-notification")
    row = ana.get_by_role("row").filter(has_text=OFFICE)
    expect(row).to_contain_text("Stopped by the reader")
    reader.get_by_role("button", name="Subscribe again").click()
    expect(reader.get_by_text("again.")).to_be_visible()
    ana.reload()
    expect(row).not_to_contain_text("Stopped by the reader")
    # What a mail program does by itself when its own button is pressed.
    answer = requests.post(
        link, data={"List-Unsubscribe": "One-Click"}, timeout=30, allow_redirects=False
    )
    assert answer.status_code == 200
    ana.reload()
    expect(row).to_contain_text("Stopped by the reader")


def test_the_same_without_script(instance: Instance, chromium: Browser, faults: list[str]) -> None:
    address = "plain@example.com"
    ana = watched(
        signed_in(chromium, instance, "ana@example.com", java_script_enabled=False), faults
    )
    subscribe(ana, instance, address)
    ana.get_by_label("Time zone").fill("Auckland")
    ana.get_by_role("button", name="Add", exact=True).click()
    expect(ana.get_by_text("Auckland isn't a time zone.").first).to_be_visible()
    expect(ana.get_by_label("weekly, Mon")).to_be_checked()
    ana.get_by_label("Time zone").fill("Pacific/Auckland")
    ana.get_by_role("button", name="Add", exact=True).click()
    ana.get_by_role("button", name=f"Send test mail to {address}").click()
    expect(ana.get_by_text(f"Test mail sent to {address}")).to_be_visible()
    ana.get_by_role("link", name=f"Change {address}").click()
    ana.get_by_label("monthly, 1st").check()
    ana.get_by_role("button", name="Save", exact=True).click()
    expect(ana.get_by_text(f"Saved for {address}")).to_be_visible()
    ana.get_by_role("link", name="Reports", exact=True).first.click()
    ana.get_by_role("link", name=re.compile("^Open mail")).first.click()
    shown = ana.frame_locator("iframe")
    expect(shown.get_by_text("This address gets XTiger's mails.").first).to_be_visible()
    reader = chromium.new_context(java_script_enabled=False).new_page()
    reader.goto(letter(instance)["List-Unsubscribe"].strip().strip("<>"))
    reader.get_by_role("button", name="Stop these mails").click()
    expect(reader.get_by_text(f"{address} gets no more of XTiger's mails")).to_be_visible()
    ana.goto(f"{instance.url}/email-notification")
    ana.get_by_role("button", name=f"Remove {address}").click()
    expect(ana.get_by_text(f"{address} gets no more of it.")).to_be_visible()


def test_a_sync_is_mailed_and_its_figures_are_the_pages(
    instance: Instance, chromium: Browser, faults: list[str]
) -> None:
    ana = watched(signed_in(chromium, instance, "ana@example.com"), faults)
    ana.goto(f"{instance.url}/what-syncs/1/Contacts")
    ana.get_by_label("All records").check()
    ana.get_by_role("button", name="Save", exact=True).click()
    ana.goto(f"{instance.url}/")
    ana.get_by_role("button", name="Sync", exact=True).click()
    ana.wait_for_url(re.compile(r"/runs/\d+"))
    instance.wait_idle()
    reports.report_ended(instance.services)
    ana.goto(f"{instance.url}/reports?kind=after_sync")
    ana.get_by_role("link", name=re.compile("^Open mail")).first.click()
    shown = ana.frame_locator("iframe")
    expect(shown.get_by_role("heading").first).to_contain_text("synced")
    fits(ana, "after-sync")
    sentence = shown.get_by_role("heading").first.inner_text()
    number = sentence.split()[0]
    ana.get_by_role("link", name="Reports", exact=True).first.click()
    today = ana.evaluate("new Date().toISOString().slice(0, 10)")
    ana.get_by_label("Day in it").fill(today)
    ana.get_by_label("Period", exact=True).select_option("Month")
    ana.get_by_label("Time zone").select_option("UTC")
    ana.get_by_role("button", name="Show", exact=True).click()
    expect(ana.get_by_text("It isn't over: counted up to")).to_be_visible()
    expect(ana.locator(".figures")).to_contain_text(number)
    fits(ana, "figures")


def test_the_settings_are_locked_by_the_environment_and_can_be_tried(
    instance: Instance, chromium: Browser, faults: list[str]
) -> None:
    ana = watched(signed_in(chromium, instance, "ana@example.com"), faults)
    ana.goto(f"{instance.url}/settings")
    expect(ana.get_by_text("Set by XTIGER_MAIL_SERVER.")).to_be_visible()
    ana.get_by_role("button", name="Test connection").click()
    expect(ana.get_by_text(f"localhost:{instance.ports.mail} answered at")).to_be_visible()
    fits(ana, "settings")

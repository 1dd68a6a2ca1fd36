"""What syncs and Xero Accounts in Chromium: change the rule, read the counts, look at the lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select

from tests.browser.looking import faults as faults
from tests.browser.looking import fits, watched
from tests.browser.test_main_job import chromium as chromium
from tests.browser.test_main_job import instance as instance
from tests.browser.test_main_job import signed_in
from xtiger.demo.instance import Instance
from xtiger.store.models import Organisation, Profile, QueueItem, Reference

pytestmark = pytest.mark.browser


def kauri(instance: Instance) -> int:
    with instance.services.database.read() as session:
        return session.scalars(
            select(Organisation.id).where(Organisation.name == "Kauri Trading")
        ).one()


def test_an_administrator_changes_what_syncs_and_reads_the_counts(
    instance: Instance, chromium: Browser, faults: list[str]
) -> None:
    one = kauri(instance)
    ana = watched(signed_in(chromium, instance, "ana@example.com"), faults)
    ana.goto(f"{instance.url}/what-syncs")
    ana.get_by_role("link", name="Count", exact=True).click()
    fits(ana, "overview")
    ana.goto(f"{instance.url}/what-syncs/{one}/Invoices")
    line = ana.locator("#what-count")
    expect(line).to_have_text("Selects 0 of 20 invoices; saving changes nothing about that.")
    ana.get_by_label("All records").check()
    # With script the count follows by itself.
    expect(line).to_contain_text("saving brings")
    before = line.inner_text()
    ana.get_by_label("By status").check()
    ana.get_by_label("Approved").check()
    expect(line).not_to_have_text(before)
    expect(line).to_contain_text("saving brings")
    ana.get_by_label("daily at").check()
    ana.get_by_label("Time of day").fill("02:30")
    ana.get_by_label("first open day").check()
    ana.get_by_role("button", name="Show which").click()
    expect(ana.get_by_role("heading", name="Saving brings in")).to_be_visible()
    fits(ana, "profile")
    ana.get_by_role("button", name="Save", exact=True).click()
    expect(ana.get_by_text("now selected.")).to_be_visible()
    fits(ana, "saved")
    with instance.services.database.read() as session:
        row = session.scalars(
            select(Profile).where(Profile.organisation_id == one, Profile.module == "Invoices")
        ).one()
        assert (row.rule, row.statuses) == ("status", ["Approved"])
        assert (row.schedule, row.daily_at, row.locked) == ("daily", "02:30", "first open day")
        assert list(session.scalars(select(QueueItem.id))) == [], "saving sends nothing"
    # An earlier first day lets old documents in: that takes the organisation's name.
    ana.get_by_label("Created from").fill(f"{datetime.now(UTC) + timedelta(days=60):%Y-%m-%d}")
    ana.get_by_role("button", name="Save", exact=True).click()
    expect(ana.get_by_text("Saved.")).to_be_visible()
    ana.get_by_label("Created from").fill("")
    ana.get_by_role("button", name="Save", exact=True).click()
    expect(ana.get_by_text("Type “Kauri Trading” to go on.")).to_be_visible()
    fits(ana, "confirm")
    ana.get_by_role("textbox", name="Organisation's name").fill("Kauri Trading")
    ana.get_by_role("button", name="Save", exact=True).click()
    expect(ana.get_by_text("now selected.")).to_be_visible()
    ana.get_by_role("button", name="Add them to the Queue").click()
    expect(ana.get_by_text("to the Queue, places")).to_be_visible()
    with instance.services.database.read() as session:
        assert list(session.scalars(select(QueueItem.id)))


def test_the_same_without_script(instance: Instance, chromium: Browser, faults: list[str]) -> None:
    one = kauri(instance)
    ana = watched(
        signed_in(chromium, instance, "ana@example.com", java_script_enabled=False), faults
    )
    ana.goto(f"{instance.url}/what-syncs/{one}/Contacts")
    ana.get_by_label("All records").check()
    ana.get_by_role("button", name="Count again").click()
    expect(ana.locator("#what-count")).to_contain_text("saving brings")
    expect(ana.get_by_label("All records")).to_be_checked()
    ana.get_by_role("button", name="Save", exact=True).click()
    expect(ana.get_by_text("Saved.")).to_be_visible()


def test_xero_accounts_show_what_was_read_and_its_age(
    instance: Instance, chromium: Browser, faults: list[str]
) -> None:
    ana = watched(signed_in(chromium, instance, "ana@example.com"), faults)
    ana.goto(f"{instance.url}/")
    ana.get_by_role("link", name="Xero Accounts").first.click()
    sales: Any = ana.get_by_role("row", name="200")
    expect(sales).to_contain_text("Sales")
    expect(sales).to_contain_text("mapping")
    fits(ana, "accounts")
    for tab in ("Tax rates", "Tracking", "Currencies", "Branding themes"):
        ana.get_by_role("link", name=tab).click()
        expect(ana.get_by_text("as of")).to_be_visible()
        fits(ana, tab.replace(" ", "-").lower())
    with instance.services.database.write() as session:
        row = session.scalars(
            select(Reference).where(
                Reference.organisation_id == kauri(instance), Reference.kind == "accounts"
            )
        ).one()
        row.data = [
            each | {"Status": "ARCHIVED"} if each.get("Code") == "300" else each
            for each in row.data
        ]
    ana.goto(f"{instance.url}/xero-accounts?org={kauri(instance)}")
    warning = ana.get_by_text("Account 300 is archived in Xero, used by 3 mappings.")
    expect(warning).to_be_visible()
    fits(ana, "warned")
    ana.get_by_role("button", name="Refresh, 7 calls").click()
    expect(ana.get_by_text("was read from Xero (7 calls):")).to_be_visible()
    expect(warning).to_have_count(0)

"""Narrow screens: nothing is cut off at their edge, and no bar stands before what is read."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest
from flask import Flask
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page
from werkzeug.serving import make_server

from tests.browser.looking import look
from tests.browser.test_main_job import chromium as chromium
from tests.web.conftest import NOW, Browser
from tests.web.conftest import app as app
from tests.web.conftest import browser as browser
from tests.web.conftest import empty as empty
from tests.web.conftest import filled_file as filled_file
from tests.web.conftest import people as people
from tests.web.test_queue_pages import add
from xtiger.store.models import Mail, Organisation, Subscription

pytestmark = pytest.mark.browser

#: 31 signs without a place to break, as an account's code may be.
CODE = "ACCOUNTSRECEIVABLESOUTHERN2026X"
ADDRESS = f"{CODE.lower()}.{'x' * 30}@mail.example.com"
#: What stands out of the list that holds it, or of the screen. A table's heads on a phone are
#: for readers aloud alone, and the bar for ticked rows scrolls.
CUT = """() => [...document.querySelectorAll("main *")].filter((each) => {
    const box = each.getBoundingClientRect();
    const head = each.closest("thead"), list = each.parentElement.closest(".scroll, pre");
    const edge = (list || document.documentElement).getBoundingClientRect().right;
    const aloud = head && getComputedStyle(head).position === "absolute";
    return !aloud && !each.parentElement.closest(".bulk") && box.width > 2
      && box.right > Math.min(edge, innerWidth) + 1;
  }).map((each) => `${each.tagName}.${each.className}: ${each.textContent.trim().slice(0, 60)}`)"""
#: The cards that the bar for ticked rows stands before.
COVERED = """() => {
    const bar = document.querySelector(".bulk").getBoundingClientRect();
    return [...document.querySelectorAll("table.list tbody tr")].filter((each) => {
        const box = each.getBoundingClientRect();
        return box.bottom > bar.top + 1 && box.top < bar.bottom - 1;
      }).map((each) => each.querySelector("th").textContent);
  }"""


@pytest.fixture
def page(browser: Browser, app: Flask, chromium: Chromium) -> Iterator[Page]:
    """A phone on the host's pages, with names as long as they come."""
    for number in range(12):
        add(
            browser,
            f"{CODE}{number}",
            "failed",
            cause=f"account archived {number % 2}",
            sentence=f"Account {CODE}{CODE} is archived in Xero. Choose another account.",
        )
    with browser.services.database.write() as session:
        session.add_all(
            [
                Organisation(tenant_id="t2", name=f"Acme {CODE}", chosen=True, connection_id=1),
                Subscription(
                    address=ADDRESS,
                    daily=True,
                    alerts=True,
                    attach_csv=True,
                    zone="America/Argentina/ComodRivadavia",
                    refused_since=NOW,
                    refused_why=f"mail.example.com refused {ADDRESS}: 550 5.1.1 no such user.",
                    made_by="Ana",
                    made_at=NOW,
                ),
                Mail(
                    kind="daily",
                    recipient=ADDRESS,
                    subject=f"[XTiger] Acme {CODE}, 20 Nov: 412 synced, 3 need you",
                    text="412 synced",
                    html="<p>412 synced</p>",
                    message_id=f"<{'x' * 50}@{ADDRESS}>",
                    state="failed",
                    why=f"mail.example.com refused {ADDRESS}: 550 5.1.1 no such user.",
                    again_of=1,
                    again_by=ADDRESS,
                    made_at=NOW,
                ),
            ]
        )
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    context = chromium.new_context(viewport={"width": 375, "height": 800}, reduced_motion="reduce")
    phone = context.new_page()
    phone.goto(f"http://127.0.0.1:{server.port}/xtiger/")
    yield phone
    context.close()
    server.shutdown()
    thread.join(10)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("dashboard", ""),
        ("queue", "queue"),
        ("email-notification", "email-notification"),
        ("email-edit", "email-notification/2"),
        ("reports", "reports"),
        ("report", "reports/2"),
        ("figures", "reports/figures?day=2026-11-21"),
    ],
)
def test_nothing_is_cut_off_at_the_right_edge(page: Page, name: str, path: str) -> None:
    page.goto(f"{page.url}{path}")
    for width in (375, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        look(page, f"phone-{name}-{width}")
        assert page.evaluate(CUT) == [], width


def test_the_bar_for_ticked_rows_stands_before_no_card_until_one_is_ticked(page: Page) -> None:
    page.goto(f"{page.url}queue")
    for part in (0, 0.5, 1):
        page.evaluate(f"scrollTo(0, document.documentElement.scrollHeight * {part})")
        assert page.evaluate(COVERED) == [], part
    buttons = page.locator(".bulk .btn").all()
    assert len(buttons) > 3
    for button in buttons:
        box = button.bounding_box()
        assert box
        assert box["x"] + box["width"] <= 375
    # Where one is ticked it is at hand all the time, and at the end the last card is free.
    page.get_by_role("checkbox").first.check()
    page.evaluate("scrollTo(0, 0)")
    assert page.evaluate("document.querySelector('.bulk').getBoundingClientRect().bottom") <= 800
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    assert page.evaluate(COVERED) == []

"""The main job in Chromium: a user ticks, an administrator syncs, everybody sees it arrive."""

from __future__ import annotations

import email
import email.policy
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import select

from tests.browser.looking import for_readme, too_wide
from xtiger.crm.builtin import Invoice
from xtiger.demo import samples
from xtiger.demo.instance import Instance, Ports, free_port

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Every process of a demo, sample records, connected through the pages."""
    from datetime import date

    instance = Instance.at(tmp_path_factory.mktemp("demo"), sync_interval=3600)
    instance.ports = Ports(free_port(), free_port(), free_port())
    try:
        instance.start_xero()
        instance.start_mail()
        instance.prepare()
        with instance.app.app_context():
            samples.seed(instance.db.session, invoices=20, today=date(2026, 11, 21))
            instance.db.session.commit()
        instance.start_server()
        instance.connect(instance.sign_in())
        instance.wait_idle()
        yield instance
    finally:
        instance.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    assert path, "Install Debian's chromium: apt-get install chromium"
    # Beside other tests on two cores an answer may take longer than the five seconds of Playwright.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        yield browser
        browser.close()


def signed_in(chromium: Browser, instance: Instance, who: str, **context: Any) -> Page:
    """A page of a fresh browser in which somebody signed in through the form."""
    page = chromium.new_context(viewport={"width": 1280, "height": 860}, **context).new_page()
    page.goto(f"{instance.url}/sign-in")
    page.get_by_label("E-mail").fill(who)
    page.get_by_label("Password", exact=True).fill(instance.passwords[who])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("navigation").first).to_be_visible()
    return page


def record_id(instance: Instance, number: str) -> int:
    with instance.app.app_context():
        found = instance.db.session.scalar(select(Invoice.id).where(Invoice.number == number))
    assert found
    return int(found)


def total_of(instance: Instance, number: str) -> str:
    with instance.app.app_context():
        row = instance.db.session.scalar(select(Invoice).where(Invoice.number == number))
        return f"{row.total:,.2f}"


def main_path(
    instance: Instance, chromium: Browser, number: str, *, pictures: bool = False, **context: Any
) -> None:
    """Tick as Bo, Sync as Ana, then Xero's own page, Queue, Logs and the mail."""
    picture = for_readme if pictures else lambda *_: None
    before = len(instance.mails)
    bo = signed_in(chromium, instance, "bo@example.com", **context)
    bo.goto(f"{instance.url}/records/Invoices/{record_id(instance, number)}")
    expect(bo.get_by_text("Allow Xero Sync isn't ticked.")).to_be_visible()
    bo.get_by_label("Allow Xero Sync").check()
    bo.get_by_role("button", name="Save", exact=True).click()
    expect(bo.get_by_label("Allow Xero Sync")).to_be_checked()

    ana = signed_in(chromium, instance, "ana@example.com", **context)
    ana.goto(f"{instance.url}/")
    ana.get_by_role("button", name="Sync", exact=True).click()
    ana.wait_for_url(re.compile(r"/runs/\d+"))
    instance.wait_idle()
    ana.reload()
    expect(ana.get_by_text(re.compile("Finished in")).first).to_be_visible()
    picture(ana, "run")

    ana.goto(f"{instance.url}/records/Invoices/{record_id(instance, number)}")
    expect(ana.get_by_text(f"It is in Xero as {number} since").first).to_be_visible()
    picture(ana, "record")
    ana.get_by_role("link", name=f"Open {number} in Xero").click()
    expect(ana.get_by_text(total_of(instance, number), exact=True).last).to_be_visible()
    assert ana.url.startswith(instance.xero["api_url"])

    ana.goto(instance.xero["api_url"] + "/")
    expect(ana.get_by_text(number, exact=True).first).to_be_visible()
    picture(ana, "local-xero")

    ana.goto(f"{instance.url}/queue?state=succeeded")
    expect(ana.get_by_role("row").filter(has_text=number).first).to_contain_text("Succeeded")
    picture(ana, "queue")

    # The run's mail goes a moment after its end; without script the page must be asked again.
    for _ in range(60):
        ana.goto(f"{instance.url}/logs")
        row = ana.get_by_role("row").filter(has_text=number).first
        expect(row).to_contain_text("Succeeded")
        if re.search("sent", row.inner_text(), re.I):
            break
        ana.wait_for_timeout(500)
    expect(row).to_contain_text(re.compile("sent", re.I))
    row.get_by_role("link").first.click()
    instance_log = ana.get_by_text("LineItems").first
    if instance_log.count():
        expect(instance_log).to_be_attached()
    picture(ana, "log")

    assert len(instance.mails) == before + 1
    letter: Any = email.message_from_bytes(
        instance.mails[-1].read_bytes(), policy=email.policy.default
    )
    assert letter["Subject"].startswith("[XTiger] ")
    text = letter.get_body(("plain",)).get_content()
    html = letter.get_body(("html",)).get_content()
    assert number in text
    assert number in html
    assert total_of(instance, number) in text
    shown = chromium.new_context(viewport={"width": 680, "height": 860}).new_page()
    shown.set_content(html)
    picture(shown, "mail")


def test_a_ticked_invoice_is_seen_in_xero_queue_logs_and_mail(
    instance: Instance, chromium: Browser
) -> None:
    main_path(instance, chromium, "INV-0001", pictures=True)


def test_the_same_without_javascript(instance: Instance, chromium: Browser) -> None:
    main_path(instance, chromium, "INV-0003", java_script_enabled=False)


PAGES = (
    "/",
    "/records/Invoices",
    "/records/Contacts",
    "/records/Invoices/1",
    "/crm/Invoices/new",
    "/queue?state=all",
    "/queue/1",
    "/runs",
    "/logs",
    "/logs/1",
    "/api-details",
    "/what-syncs",
    "/what-syncs/1/Invoices",
    "/what-syncs/1/Contacts",
    "/mapping",
    "/mapping/1/Invoices",
    "/mapping/1/Invoices?type=Bill",
    "/mapping/1/Invoices/versions?old=1",
    "/xero-accounts",
    "/xero-accounts?tab=tax_rates",
    "/crm/Invoices/1/edit",
    "/email-notification",
    "/email-notification/new",
    "/reports",
    "/reports/figures",
    "/settings",
    "/no-such-page",
)


@pytest.mark.parametrize(
    ("width", "scheme"), [(375, "light"), (375, "dark"), (768, "light"), (1280, "light")]
)
def test_every_page_fits_and_stays_quiet(
    instance: Instance, chromium: Browser, width: int, scheme: Any
) -> None:
    """No sideways scrolling, no console message, no policy report, no request to elsewhere."""
    page = signed_in(chromium, instance, "ana@example.com", color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((instance.url, "data:"))
            else said.append(f"{page.url} asks {request.url}")
        ),
    )
    for path in PAGES:
        page.goto(instance.url + path)
        assert too_wide(page) == [], f"{path} at {width}"
        assert page.evaluate("document.documentElement.dataset.bsTheme") == scheme
        # A header that fills the screen leaves nothing to read on it.
        assert page.locator("header.top").bounding_box()["height"] <= 150, path  # type: ignore[index]
        assert page.locator("h1").count() == 1, path
    said = [line for line in said if "no-such-page" not in line or "404" not in line]
    assert not said


def test_on_a_phone_several_rows_are_seen_and_the_buttons_stay(
    instance: Instance, chromium: Browser
) -> None:
    page = signed_in(chromium, instance, "ana@example.com")
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(f"{instance.url}/records/Invoices")
    for scroll in (300, 1_200):
        page.evaluate(f"scrollTo(0, {scroll})")
        box = page.locator(".bulk").bounding_box()
        assert box is not None
        assert 799 <= box["y"] + box["height"] <= 801, scroll
    heights = page.locator("tbody tr").evaluate_all("all => all.map(one => one.offsetHeight)")
    assert max(heights) <= 210
    page.goto(f"{instance.url}/queue?state=all")
    assert page.locator("tbody tr").first.bounding_box()["height"] <= 150  # type: ignore[index]


def test_on_a_desk_a_runs_sentences_have_the_room(instance: Instance, chromium: Browser) -> None:
    page = signed_in(chromium, instance, "ana@example.com")
    page.goto(f"{instance.url}/runs/1")
    widths = page.locator("table.rows thead th").evaluate_all(
        "all => Object.fromEntries(all.map(one => [one.textContent, one.offsetWidth]))"
    )
    assert widths["Sentence"] == max(widths.values())
    assert widths["Sentence"] > 2 * widths["Record"]

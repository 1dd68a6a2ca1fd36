"""Mails as Chromium draws them, on a phone and beside a desk: nothing sticks out or is fetched."""

from __future__ import annotations

from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.looking import for_readme, too_wide
from tests.browser.test_main_job import chromium as chromium
from tests.conftest import Engine
from tests.engine.alert_scenes import html_of
from tests.engine.post import PostOffice, mailing, opened
from tests.engine.scenes import KAURI, MiddayClock, invoices, rows_of, stranger, sync
from xtiger.engine.alerting import alerts
from xtiger.engine.reporting import letters, reports, subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.engine.services import Services
from xtiger.store.models import Mail, Organisation

pytestmark = pytest.mark.browser

#: A phone, and the column that mail programs give a letter on a desk.
WIDTHS = (375, 800)
ANA, KLAUS = "ana@example.com", "klaus@example.com"


def written(engine: Engine, office: PostOffice) -> dict[str, EmailMessage]:
    """One mail of each kind, by kind: work, failures and days go by, and a consent ends."""
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        engine.connect(KAURI)
        for address, language in ((ANA, "en"), (KLAUS, "de")):
            choices = Choices(
                after_sync=True,
                daily=True,
                weekly=True,
                monthly=True,
                alerts=True,
                language=language,
            )
            subscriptions.subscribe(services, address, choices, who="Ana")
        for number in (31, 32):
            stranger(engine).created(
                "Invoices", stranger(engine).invoice(InvoiceNumber=f"INV-{number}")
            )
        for first in (1, 21):
            invoices(engine, 12, first=first)
            sync(engine, services)
            reports.report_ended(services)
            clock.shift += timedelta(days=1)
        for _day in range(33):
            clock.shift += timedelta(days=1)
            reports.report_ended(services)
        letters.send_test(services, ANA)
        _forgotten(engine, services, clock)
    finally:
        server.stop()
    kinds = {mail.message_id: mail.kind for mail in rows_of(engine, Mail)}
    found = {kinds[message["Message-ID"]]: message for message in reversed(office.of(ANA))}
    german = [one for one in office.of(KLAUS) if kinds[one["Message-ID"]] == "after_sync"]
    return {**found, "german": german[-1]}


def _forgotten(engine: Engine, services: Services, clock: MiddayClock) -> None:
    """An organisation is paused and forgotten."""
    with engine.database.write() as session:
        for row in session.query(Organisation).filter_by(chosen=True):
            row.paused_at, row.paused_by = services.clock.now(), "Bo"
    invoices(engine, 2, first=50)
    for _look in range(12):
        alerts.look(services)
        letters.send_waiting(services)
        clock.shift += timedelta(hours=6)


def test_each_kind_of_mail_fits_a_phone_and_a_desk(
    sqlite_engine: Engine, chromium: Browser
) -> None:
    mails = written(sqlite_engine, PostOffice())
    kinds = {"after_sync", "daily", "weekly", "monthly", "test", "alert", "german"}
    assert set(mails) == kinds
    fetched: list[Any] = []
    for kind, message in mails.items():
        page = chromium.new_context().new_page()
        page.on("request", lambda request: fetched.append(request.url))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.set_content(html_of(message))
            assert too_wide(page) == [], f"{kind} at {width}"
            for_readme(page, f"mails/{kind}-{width}", whole=True)
        page.context.close()
    assert fetched == []

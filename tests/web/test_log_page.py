"""One log entry's page: the call as it went, and what it says where there is nothing to print."""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.web.conftest import NOW, Browser
from xtiger.engine.upkeep import housekeeping
from xtiger.store import queue
from xtiger.store.models import Attempt, QueueItem, Run

PDF = b"%PDF-1.7\n\xe2\xe3\xcf\xd3\n" + bytes(range(256)) * 50


class LaterClock:
    """The clock port on a day after the bytes' retention."""

    def now(self) -> datetime:
        return NOW + timedelta(days=131)

    def sleep(self, seconds: float) -> None:
        """Housekeeping rests between two slices; here nobody waits for it."""


def attempt(browser: Browser, number: int, **values: Any) -> None:
    with browser.services.database.write() as session:
        row = session.get_one(Attempt, number)
        for name, value in values.items():
            setattr(row, name, value)


def entry(browser: Browser, number: int) -> str:
    return browser.get(f"/logs/{number}").text.replace("&#39;", "'").replace("&#34;", '"')


@pytest.fixture
def old(browser: Browser) -> Browser:
    """Months later: the first call was answered, the second one never was; nothing is open."""
    attempt(browser, 2, status=None, answer=None, answer_headers={}, outcome="lost")
    with browser.services.database.write() as session:
        # Bytes stay while an item of theirs is open or their run isn't reported.
        session.get_one(Run, 1).reported = True
        session.flush()
        assert queue.cancel(session, [session.get_one(QueueItem, 2).id], who="Ana") == 1
    browser.services.clock = LaterClock()
    return browser


def test_a_call_is_shown_as_it_went(browser: Browser) -> None:
    page = entry(browser, 1)
    assert '"InvoiceNumber": "INV-1"' in page
    assert "PUT https://api.xero.com/api.xro/2.0/Invoices<" in page
    assert "no longer kept" not in page
    assert "never came" not in page


def test_once_retention_took_the_bytes_the_page_says_so(old: Browser) -> None:
    assert '"InvoiceNumber": "INV-1"' in entry(old, 1)
    housekeeping.clean(old.services)
    page = entry(old, 1)
    assert page.count("Its bytes are no longer kept.") == 2
    assert "Their hash is abababababababab." in page
    assert "never came" not in page
    assert '"InvoiceNumber"' not in page
    assert "key-1" in page


def test_an_answer_that_never_came_is_still_told_from_one_that_went(old: Browser) -> None:
    housekeeping.clean(old.services)
    page = entry(old, 2)
    assert page.count("Its bytes are no longer kept.") == 1
    assert "Xero's answer never came." in page


def test_a_refused_call_was_answered(browser: Browser) -> None:
    attempt(browser, 2, status=None, answer=None, answer_headers={}, outcome="refused")
    page = entry(browser, 2)
    assert "Xero refused the call as a whole; its words stand above." in page
    assert "“Account code '200' is archived.”" in page
    assert "never came" not in page


def test_a_file_is_named_by_kind_and_size_and_never_printed(browser: Browser) -> None:
    attempt(
        browser,
        1,
        resource="Attachments",
        xero_id="contract 1.pdf",
        owner_resource="Invoices",
        owner_id="9c1f6b1e-0000-4000-8000-000000000001",
        content_type="application/pdf",
        body=zlib.compress(PDF),
    )
    page = entry(browser, 1)
    assert "A file: application/pdf, 13 kB." in page
    assert "%PDF" not in page
    assert "<code>application/pdf</code>" in page
    where = "Invoices/9c1f6b1e-0000-4000-8000-000000000001/Attachments/contract%201.pdf"
    assert f"PUT https://api.xero.com/api.xro/2.0/{where}<" in page


def test_even_a_file_of_text_is_not_printed(browser: Browser) -> None:
    attempt(
        browser,
        1,
        resource="Attachments",
        xero_id="lines.json",
        owner_resource="Invoices",
        owner_id="9c1f6b1e-0000-4000-8000-000000000001",
        body=zlib.compress(b'{"Attachments": [{"secret": 1}]}'),
    )
    page = entry(browser, 1)
    assert "A file: application/json, 32 bytes." in page
    assert "secret" not in page


def test_a_call_without_a_body_says_that_it_had_none(browser: Browser) -> None:
    xero_id = "9c1f6b1e-0000-4000-8000-000000000001"
    attempt(browser, 1, resource="Items", verb="DELETE", xero_id=xero_id, body=zlib.compress(b""))
    page = entry(browser, 1)
    assert f"DELETE https://api.xero.com/api.xro/2.0/Items/{xero_id}<" in page
    assert "It has no body: its address says all." in page
    assert "no longer kept" not in page

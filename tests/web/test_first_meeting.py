"""The page on which a person says which contact of Xero a record is."""

from __future__ import annotations

import html
import re

import pytest
from sqlalchemy import select

from tests.web.conftest import HOSTILE, NOW, Browser, People
from tests.web.test_queue_pages import add
from xtiger.domain.meeting import Side
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import Resource
from xtiger.engine import meeting
from xtiger.store import seen
from xtiger.store.models import Likeness, LogEntry, Profile, QueueItem

REF = RecordRef(Module.CONTACTS, "1")


@pytest.fixture
def place(browser: Browser) -> int:
    """A contact that may be one of two in Xero, one of them archived."""
    with browser.services.database.write() as session:
        seen.put(
            session,
            1,
            Resource.CONTACTS,
            [
                Side("id-1", name=HOSTILE, email="other@example.com", account_number="C-1"),
                Side("id-2", name=HOSTILE, status="ARCHIVED"),
            ],
        )
        seen.ask(session, 1, REF, ["id-1", "id-2"], now=NOW)
    sentence = f"Another contact in Xero is called {HOSTILE}. Link them or rename one."
    return add(
        browser, HOSTILE, "failed", record_id="1", cause=meeting.UNCERTAIN, sentence=sentence
    )


def said(browser: Browser) -> dict[str, bool | None]:
    with browser.services.database.read() as session:
        return {row.xero_id: row.same for row in session.scalars(select(Likeness))}


def state_of(browser: Browser, place: int) -> str:
    with browser.services.database.read() as session:
        return session.get_one(QueueItem, place).state


def test_both_sides_stand_beside_each_other_and_a_person_links_them(
    browser: Browser, place: int
) -> None:
    page = browser.get(f"/queue/{place}").text
    assert "Which one is it?" in page
    assert HOSTILE not in page  # escaped wherever it stands
    for text in ("other@example.com", "office@example.com", "C-1", "Archived", "Link them"):
        assert text in page
    assert 'value="id-1" checked' not in page  # two: nobody chooses for them
    answer = browser.after(browser.post(f"/queue/{place}/met", said="same"))
    assert "Choose one of those Xero has" in answer
    answer = browser.after(browser.post(f"/queue/{place}/met", said="same", xero_id="id-2"))
    assert "is archived in Xero" in answer
    assert state_of(browser, place) == "failed"
    answer = browser.after(browser.post(f"/queue/{place}/met", said="same", xero_id="id-1"))
    assert f"goes on in its old place, #{place}." in answer
    assert (state_of(browser, place), said(browser)) == ("pending", {"id-1": True, "id-2": False})
    with browser.services.database.read() as session:
        entry = session.scalars(select(LogEntry).order_by(LogEntry.id.desc())).first()
        assert str(entry.sentence if entry else "").startswith("Administrator linked it with Xero")
    again = browser.after(browser.post(f"/queue/{place}/met", said="same", xero_id="id-1"))
    assert "wait for that any more" in again
    assert "Which one is it?" not in browser.get(f"/queue/{place}").text


def test_or_says_that_it_is_a_new_one(browser: Browser, place: int, people: People) -> None:
    answer = browser.after(browser.post(f"/queue/{place}/met", said="new"))
    assert f"It is created as a new one, in its old place, #{place}." in answer
    assert (state_of(browser, place), said(browser)) == ("pending", {"id-1": False, "id-2": False})


def test_a_manager_sees_it_and_a_stranger_id_is_refused(
    browser: Browser, place: int, people: People
) -> None:
    answer = browser.after(browser.post(f"/queue/{place}/met", said="same", xero_id="id-9"))
    assert "isn&#39;t one of those it may be any more" in answer
    people.be("manager")
    page = browser.get(f"/queue/{place}").text
    assert "Which one is it?" in page
    assert ">Link them<" not in page
    assert browser.post(f"/queue/{place}/met", said="new").status_code == 403
    assert said(browser) == {"id-1": None, "id-2": None}


def test_what_syncs_lists_what_goes_over_a_matched_contacts_own(browser: Browser) -> None:
    def saved() -> list[str] | None:
        with browser.services.database.read() as session:
            row = session.scalars(select(Profile).where(Profile.module == "Contacts")).one()
            return row.overwrites

    def ticked() -> list[str]:
        page = browser.get("/what-syncs/1/Contacts").text
        return re.findall(r'<input[^>]*checked[^>]*name="overwrites"[^>]*value="([^"]*)"', page)

    assert (saved(), ticked()) == (None, ["EmailAddress", "Phones.DEFAULT"])
    page = browser.get("/what-syncs/1/Contacts").text
    assert "Postal address" in page
    found = re.search(r'name="seen"[^>]*value="([^"]*)"', page)
    assert found
    given = {
        "seen": html.unescape(found[1]),
        "enabled": "y",
        "rule": "ticked",
        "created_from": "",
        "deleted": "leave",
        "schedule": "at once",
        "minutes": "15",
        "daily_at": "02:00",
        "order": "normal",
        "retries": "0",
        "do": "save",
        "overwrites": ["Name", "Addresses.POBOX"],
    }
    assert browser.post("/what-syncs/1/Contacts", **given).status_code == 303
    assert saved() == ticked() == ["Name", "Addresses.POBOX"]
    # From a page of before: nothing is lost of what was saved meanwhile.
    assert browser.post("/what-syncs/1/Contacts", **given).status_code == 409
    assert "Postal address" not in browser.get("/what-syncs/1/Invoices").text

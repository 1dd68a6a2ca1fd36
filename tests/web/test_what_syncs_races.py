"""Two administrators save What syncs at one moment, on a database with more than one writer."""

from __future__ import annotations

import html
import threading
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.locks import until_waiting
from tests.web.conftest import Browser, People
from tests.web.test_what_syncs import form, other, profile, said
from xtiger.store.models import Profile


@pytest.fixture
def migrated_sqlite_url(migrated_postgresql_url: str) -> str:
    """The pages' host on PostgreSQL: SQLite's single writer rules such races out."""
    return migrated_postgresql_url


def two_at_once(
    browser: Browser, people: People, *saves: tuple[str, dict[str, Any]]
) -> list[tuple[int, str]]:
    """What each is answered where both have come as far as they can before either has written."""
    database = browser.services.database
    answers: dict[int, tuple[int, str]] = {}

    def save(place: int, path: str, entries: dict[str, Any], one: Browser) -> None:
        answer = one.post(path, **entries)
        answers[place] = answer.status_code, said(answer.text)

    threads = []
    with database.write() as session:
        session.execute(select(Profile.id).with_for_update())  # nobody's change gets through
        for place, (path, entries) in enumerate(saves):
            one = Browser(browser.app.test_client(), people, browser.app)
            threads.append(threading.Thread(target=save, args=(place, path, entries, one)))
            threads[-1].start()
            until_waiting(database, place + 1)
    for thread in threads:
        thread.join(60)
    return [answers[place] for place in range(len(saves))]


def test_the_second_of_two_who_save_one_profile_is_told_of_the_first(
    browser: Browser, people: People
) -> None:
    path = "/what-syncs/1/Invoices"
    first = form(browser, target_status="DRAFT")
    second = form(browser, retries="7")
    answers = two_at_once(browser, people, (path, first), (path, second))
    assert [status for status, _page in answers] == [303, 409]
    row = profile(browser)
    assert (row.target_status, row.retries) == ("DRAFT", 0), "all of the first, nothing else"
    assert "Administrator" in answers[1][1]


def test_two_organisations_cant_be_made_to_overlap_at_one_moment(
    browser: Browser, people: People
) -> None:
    there = other(browser, enabled=False)
    with browser.services.database.write() as session:
        session.execute(update(Profile).values(enabled=False))  # none is the default yet
    mine, theirs = form(browser), form(browser)
    page = html.unescape(browser.get(f"/what-syncs/{there}/Invoices").text)
    theirs["seen"] = page.split('name="seen"', 1)[1].split('value="', 1)[1].split('"', 1)[0]
    answers = two_at_once(
        browser,
        people,
        ("/what-syncs/1/Invoices", mine),
        (f"/what-syncs/{there}/Invoices", theirs),
    )
    assert [status for status, _page in answers] == [303, 422]
    assert "Invoices would go to Acme NZ and to Acme UK: both are the default." in answers[1][1]
    assert (profile(browser).enabled, profile(browser, there).enabled) == (True, False)

"""Unsubscribe: the signed link of a mail ends its subscription, without sign-in, by POST alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.web.conftest import NOW, Browser, People, Tags
from xtiger.engine.reporting import subscriptions
from xtiger.store import alerts
from xtiger.store.crypto import KeyRing, keys_of
from xtiger.store.models import Mail, Subscription


@pytest.fixture
def link(browser: Browser, people: People) -> str:
    """The path of the link in subscription 1's mails; nobody is signed in."""
    people.be(None)
    return subscriptions.unsubscribe_link(browser.services, 1).removeprefix("http://localhost")


@pytest.fixture
def reader(browser: Browser) -> FlaskClient:
    """A reader's browser, which has no session."""
    return browser.app.test_client()


def stopped(browser: Browser) -> bool:
    with browser.services.database.read() as session:
        return session.get_one(Subscription, 1).stopped_at is not None


def test_looking_at_the_link_shows_a_button_and_changes_nothing(
    browser: Browser, link: str, reader: FlaskClient
) -> None:
    for method in (reader.get, reader.head):
        assert method(link).status_code == 200
    page = reader.get(link).text
    assert "Stop XTiger&#39;s mails to manager@example.com?" in page
    assert "They are about all organisations: After each sync." in page
    [form] = Tags(page).all("form")
    assert (form["method"], form["action"]) == ("post", link)
    assert not stopped(browser)


def test_the_button_stops_it_and_the_page_can_take_that_back(
    browser: Browser, link: str, reader: FlaskClient
) -> None:
    answer = reader.post(link)
    assert answer.status_code == 200
    assert (
        "manager@example.com gets no more of XTiger&#39;s mails about all organisations."
        in answer.text
    )
    assert stopped(browser)
    # Opened again, it says so; pressed again, it does nothing more.
    assert "Subscribe again" in reader.get(link).text
    assert reader.post(link).status_code == 200
    [form] = Tags(answer.text).all("form")
    assert form["action"] == f"{link}/again"
    again = reader.post(f"{link}/again")
    assert "gets XTiger&#39;s mails about all organisations again." in again.text
    assert not stopped(browser)
    assert reader.post(f"{link}/again").status_code == 200


def test_a_mail_programs_one_click_stops_it(
    browser: Browser, link: str, reader: FlaskClient
) -> None:
    """RFC 8058: a POST of this body, no cookie, no redirect."""
    answer = reader.post(
        link,
        data="List-Unsubscribe=One-Click",
        content_type="application/x-www-form-urlencoded",
    )
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert stopped(browser)


def test_what_waited_for_a_reader_who_left_isnt_sent_any_more(
    browser: Browser, link: str, reader: FlaskClient
) -> None:
    with browser.services.database.write() as session:
        made = session.scalars(select(Mail)).one()
        values = {
            column.name: getattr(made, column.name)
            for column in Mail.__table__.columns
            if column.name not in ("id", "run_id")
        }
        for kind, state in (("daily", "waiting"), ("test", "waiting"), ("daily", "sent")):
            session.add(
                Mail(**values | {"kind": kind, "state": state, "message_id": f"{kind}{state}"})
            )
    assert reader.post(link).status_code in (200, 303)
    with browser.services.database.read() as session:
        found = [(mail.kind, mail.state, mail.why) for mail in session.scalars(select(Mail))][1:]
        trouble = alerts.unsent(session, before=NOW + timedelta(days=1))
    gone = "Its reader wants no more mails."
    assert found == [
        ("daily", "failed", gone),
        ("test", "waiting", None),
        ("daily", "sent", None),
    ]
    assert trouble.failed == 0, "it is no trouble of the mail server's"


def test_only_its_own_subscription_is_stopped(
    browser: Browser, link: str, reader: FlaskClient
) -> None:
    other = subscriptions.subscribe(
        browser.services, "o@acme.nz", subscriptions.Choices(daily=True), who="Ana"
    )
    reader.post(link)
    with browser.services.database.read() as session:
        assert session.get_one(Subscription, other).stopped_at is None
    moved = link.replace("/1.", f"/{other}.")
    assert reader.post(moved).status_code == 404
    with browser.services.database.read() as session:
        assert session.get_one(Subscription, other).stopped_at is None


@pytest.mark.parametrize("path", ["1", "1.", "1.x", "x.y", ".", "١.x", "99999999999999999999.x"])
def test_a_link_that_isnt_ours_is_told_plainly(
    browser: Browser, link: str, reader: FlaskClient, path: str
) -> None:
    wrong = f"/xtiger/unsubscribe/{path}"
    for answer in (reader.get(wrong), reader.post(wrong), reader.post(f"{wrong}/again")):
        assert answer.status_code == 404
        assert "This link leads to no subscription, so nothing was changed" in answer.text
    assert not stopped(browser)


def test_each_altered_letter_of_the_link_is_noticed(
    browser: Browser, link: str, reader: FlaskClient
) -> None:
    start = link.rindex(".") + 1
    for place in range(start, len(link) - 1):  # the last letter's lowest bits say nothing
        letter = "A" if link[place] != "A" else "B"
        altered = f"{link[:place]}{letter}{link[place + 1 :]}"
        assert reader.post(altered).status_code == 404, place
    for cut in (link[:-1], link[:-2], f"{link}A"):
        assert reader.post(cut).status_code == 404
    assert not stopped(browser)


def test_a_removed_subscription_has_no_link(
    browser: Browser, link: str, reader: FlaskClient
) -> None:
    subscriptions.remove(browser.services, 1, who="Ana")
    assert reader.get(link).status_code == 404
    assert reader.post(link).status_code == 404


def test_the_link_outlives_a_new_key(browser: Browser, link: str, reader: FlaskClient) -> None:
    old = keys_of(Path(browser.app.instance_path) / "keys")
    browser.services.ring = KeyRing([Fernet.generate_key().decode(), *old])
    assert reader.post(link).status_code == 200
    assert stopped(browser)


def test_the_page_is_strict_and_tells_nobody_its_address(
    browser: Browser, link: str, reader: FlaskClient
) -> None:
    for answer in (reader.get(link), reader.post(link)):
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Robots-Tag"] == "noindex"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        for tag, attributes in Tags(answer.text).tags:
            assert tag != "style"
            assert "style" not in attributes

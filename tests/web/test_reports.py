"""Reports: the mails as they were sent, and the figures of any period."""

from __future__ import annotations

import csv
import html
import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.web.conftest import HOSTILE, LINK, NOW, Browser, People, Tags
from tests.web.test_subscriptions import Postbox
from tests.web.test_subscriptions import postbox as postbox
from xtiger.domain.reporting import Kind
from xtiger.engine.reporting import letters, subscriptions
from xtiger.engine.reporting.asked import Asked, by_hand
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.store.models import LogEntry, Mail, Organisation

SHOWN = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"


def add(browser: Browser, **values: Any) -> int:
    """A mail as the queue keeps it."""
    with browser.services.database.write() as session:
        mail = Mail(
            **{
                "recipient": "bo@acme.nz",
                "subject": "[XTiger] Acme NZ, 20 Nov: 412 synced, 3 need you",
                "text": "412 synced",
                "html": "<p>412 synced</p>",
                "message_id": "<x@localhost>",
                "state": "sent",
                "kind": "daily",
                "made_at": NOW,
                "sent_at": NOW,
            }
            | values
        )
        session.add(mail)
        session.flush()
        return mail.id


def subjects(page: str) -> list[str]:
    """The mails of a list, as their links name them."""
    return [
        (one.get("href") or "").rpartition("/")[2]
        for one in Tags(page).all("a")
        if (one.get("aria-label") or "").startswith("Open mail")
    ]


def test_without_any_mail_the_page_says_when_the_first_comes(empty: Browser) -> None:
    page = empty.get("/reports").text
    assert "No report yet; the first comes after the next run." in page
    assert "Figures" in page


def test_the_list_says_subject_to_when_and_status(browser: Browser) -> None:
    add(browser, state="failed", why="mail.acme.nz refused bo@acme.nz: 550 no", sent_at=None)
    page = browser.get("/reports").text
    assert subjects(page) == ["2", "1"]
    for words in ("412 synced, 3 need you", "bo@acme.nz", "Couldn&#39;t be sent", "550 no"):
        assert words in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("kind=daily", ["3", "2"]),
        ("kind=after_sync", ["1"]),
        ("state=failed", ["3"]),
        ("state=sent", ["2", "1"]),
        ("state=waiting", []),
        ("to=BO%40acme", ["3", "2"]),
        ("org=1", ["2", "1"]),
        ("org=2", ["3"]),
        ("until=2026-11-20", ["2"]),
        ("from=2026-11-21", ["3", "1"]),
        ("from=2026-11-20&until=2026-11-20", ["2"]),
        ("kind=daily&state=failed", ["3"]),
        ("kind=nonsense&from=x", ["3", "2", "1"]),
        ("kind=weekly", []),
    ],
)
def test_filters_by_kind_status_organisation_recipient_and_days(
    browser: Browser, query: str, found: list[str]
) -> None:
    with browser.services.database.write() as session:
        session.add(Organisation(tenant_id="t2", name="Acme UK", chosen=True, connection_id=1))
    add(browser, organisation_id=1, made_at=NOW - timedelta(days=1))
    add(browser, organisation_id=2, state="failed", why="no")
    page = browser.get(f"/reports?{query}").text
    assert subjects(page) == found
    if not found:
        assert "No mail matches these filters." in page
    rows = list(
        csv.DictReader(StringIO(browser.get(f"/reports.csv?{query}").text.lstrip("\ufeff")))
    )
    assert len(rows) == len(found), "the file has what the filter shows"


def test_fifty_a_page_older_and_newer(browser: Browser) -> None:
    for _ in range(60):
        add(browser)
    first = browser.get("/reports")
    assert len(subjects(first.text)) == 50
    older = next(one["href"] for one in Tags(first.text).all("a") if one.get("rel") == "next")
    assert subjects(browser.client.get(older or "").text) == [str(n) for n in range(11, 0, -1)]


def test_a_mail_is_shown_in_a_frame_that_can_do_nothing(browser: Browser) -> None:
    page = browser.get("/reports/1").text
    [frame] = Tags(page).all("iframe")
    assert frame["src"] == "/xtiger/reports/1/shown"
    assert frame["sandbox"] in ("", None)
    assert frame["title"]
    shown = browser.get("/reports/1/shown")
    assert shown.headers["Content-Security-Policy"] == SHOWN
    assert shown.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert shown.headers["Cache-Control"] == "no-store"
    assert '<p style="color:red">1 synced</p>' in shown.text


def test_the_readers_own_link_is_shown_to_nobody_else(browser: Browser, people: People) -> None:
    """Who holds it could stop the reader's mails."""
    for role in ("administrator", "manager"):
        people.be(role)
        for path in ("/reports", "/reports/1", "/reports/1/shown", "/reports.csv"):
            assert LINK not in browser.get(path).text, path
    assert "[hidden]" in browser.get("/reports/1").text


def test_the_text_part_and_the_file_are_there(browser: Browser) -> None:
    number = add(browser, text=f"412 synced {HOSTILE}")
    page = browser.get(f"/reports/{number}").text
    assert "412 synced" in page
    assert HOSTILE not in page
    file = browser.get("/reports/1/file")
    assert file.data == b"Time\r\n"
    assert file.headers["Content-Disposition"] == "attachment; filename=acme.csv"
    assert browser.get(f"/reports/{number}/file").status_code == 404
    assert browser.get("/reports/99").status_code == 404
    assert browser.get("/reports/99/shown").status_code == 404


def test_send_again_is_a_new_mail_to_the_same_recipient_only(
    browser: Browser, postbox: Postbox
) -> None:
    answer = browser.post("/reports/1/again", recipient="evil@example.com")
    assert "A new mail to ana@example.com is on its way." in browser.after(answer)
    assert answer.headers["Location"].endswith("/reports/2")
    assert letters.send_waiting(browser.services) == 1
    [(to, message)] = postbox.taken
    assert to == ["ana@example.com"]
    assert message["Subject"] == "[XTiger] Acme NZ: 1 synced, 1 needs you"
    with browser.services.database.read() as session:
        first, second = session.scalars(select(Mail).order_by(Mail.id)).all()
        assert second.message_id != first.message_id
        assert message["Message-ID"].strip() == second.message_id
        assert (first.state, second.state) == ("sent", "sent")


def test_pressed_twice_it_goes_again_once_and_is_marked(browser: Browser, postbox: Postbox) -> None:
    first, twice = (browser.post("/reports/1/again") for _ in range(2))
    assert first.headers["Location"] == twice.headers["Location"]
    page = browser.after(twice)
    assert "A repeat of it waits to be sent since 03:00." in page
    assert letters.send_waiting(browser.services) == 1
    assert len(postbox.taken) == 1
    assert "It was sent again at 03:00." in browser.after(browser.post("/reports/2/again"))
    page = browser.get("/reports").text
    assert subjects(page) == ["2", "1"]
    assert page.count("repeat, asked for by Administrator") == 1
    facts = browser.get("/reports/2").text
    assert '<dt>Repeat</dt><dd>Asked for by Administrator. <a href="/xtiger/reports/1">' in facts
    assert "Repeat</dt>" not in browser.get("/reports/1").text
    rows = csv.DictReader(StringIO(browser.get("/reports.csv").text.lstrip("\ufeff")))
    assert [row["Repeat asked for by"] for row in rows] == ["Administrator", ""]


def test_what_waits_isnt_sent_twice(browser: Browser) -> None:
    number = add(browser, state="waiting", sent_at=None)
    assert "Send again" not in browser.get(f"/reports/{number}").text
    said = browser.after(browser.post(f"/reports/{number}/again"))
    assert "It waits to be sent; XTiger goes on trying by itself." in said
    with browser.services.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Mail)) == 2


# -- figures -----------------------------------------------------------------------------------


def figures(page: str) -> dict[str, str]:
    """The figures as the page prints them."""
    return dict(re.findall(r"<dt>(\w+)</dt><dd>([\d,]+)</dd>", page))


def entry(browser: Browser, number: int, **values: Any) -> None:
    """One more line of the log."""
    with browser.services.database.write() as session:
        session.add(
            LogEntry(
                **{
                    "at": NOW,
                    "organisation_id": 1,
                    "item_id": 1000 + number,
                    "module": "Invoices",
                    "record_id": str(number),
                    "label": f"INV-{number}",
                    "action": "Create",
                    "outcome": "succeeded",
                    "sentence": "Is in Xero and was read back.",
                    "amount": Decimal("10.10"),
                    "currency": "NZD",
                }
                | values
            )
        )


def counted(browser: Browser, start: Any, end: Any) -> dict[str, int]:
    """Counted without anything of ours: the last entry of each item, by outcome."""
    with browser.services.database.read() as session:
        rows = session.execute(
            select(LogEntry.item_id, LogEntry.outcome)
            .where(LogEntry.at >= start, LogEntry.at < end)
            .order_by(LogEntry.id)
        )
        last = dict([tuple(row) for row in rows])
    return {
        outcome.capitalize(): sum(one == outcome for one in last.values())
        for outcome in ("succeeded", "unchanged", "failed", "blocked")
    }


def test_the_figures_are_those_of_the_log_by_the_organisations_days(browser: Browser) -> None:
    midnight = NOW.replace(hour=11)  # in Auckland 22 November begins
    for number, hours in enumerate((-30, -25, -24, -1, 0, 1)):
        entry(browser, 50 + number, at=midnight + timedelta(hours=hours))
    entry(browser, 60, outcome="unchanged", amount=None, at=midnight - timedelta(hours=2))
    entry(browser, 61, currency="USD", at=midnight - timedelta(hours=2))
    with browser.services.database.write() as session:
        session.get_one(Organisation, 1).time_zone = "NEWZEALANDSTANDARDTIME"
    for day, start in (
        ("2026-11-21", midnight - timedelta(days=1)),
        ("2026-11-20", midnight - timedelta(days=2)),
    ):
        answer = browser.get(f"/reports/figures?of=daily&day={day}")
        assert answer.status_code == 200
        wanted = counted(browser, start, start + timedelta(days=1))
        assert {name: int(value) for name, value in figures(answer.text).items()} == wanted, day
    page = browser.get("/reports/figures?of=daily&day=2026-11-21").text
    assert "Figures, 21 Nov" in page
    # Never summed across currencies.
    assert "NZD 77.70" in page
    assert "USD 10.10" in page


def test_the_page_and_the_command_count_by_one_zone_until_somebody_chooses(
    browser: Browser,
) -> None:
    for number, name, word in ((1, "Acme NZ", "NEWZEALAND"), (2, "Acme UK", "GMT")):
        with browser.services.database.write() as session:
            row = session.get(Organisation, number) or Organisation(id=2, tenant_id="t2")
            row.name, row.time_zone, row.chosen = name, f"{word}STANDARDTIME", True
            session.add(row)
    for one in (1, 2):  # on the 20th in Auckland, on the 19th in London
        entry(browser, 50 + one, at=NOW.replace(day=19, hour=12), organisation_id=one)
    browser.client.set_cookie("xtiger_zone", "Asia/Manila", path="/")
    for query, asked, zone in (
        ("", {}, "Pacific/Auckland"),
        ("&org=1", {"organisation": "Acme NZ"}, "Pacific/Auckland"),
        ("&org=2", {"organisation": "Acme UK"}, "Europe/London"),
        ("&zone=", {}, "Pacific/Auckland"),
        ("&zone=Asia/Manila", {"zone": "Asia/Manila"}, "Asia/Manila"),
        ("&org=2&zone=America/Lima", {"organisation": "2", "zone": "America/Lima"}, "America/Lima"),
    ):
        for day in (19, 20):
            page = browser.get(f"/reports/figures?day=2026-11-{day}{query}").text
            wanted = asked_by_hand(browser, date(2026, 11, day), **asked)
            assert figures(page)["Succeeded"] == wanted, (query, day)
            assert f"Days and times by {zone}." in page
            rows = csv.DictReader(
                StringIO(
                    browser.get(f"/reports/figures.csv?day=2026-11-{day}{query}").text.lstrip(
                        "\ufeff"
                    )
                )
            )
            assert {row["Zone"] for row in rows} <= {zone}


def asked_by_hand(browser: Browser, day: date, **asked: Any) -> str:
    """How many went over, as `xtiger report` tells it."""
    letter = by_hand(browser.services, Asked(Kind.DAILY, day, **asked))
    return letter.subject.partition(": ")[2].partition(" ")[0]


def test_the_log_entries_behind_the_figures_are_those_of_the_same_days(browser: Browser) -> None:
    with browser.services.database.write() as session:
        session.get_one(Organisation, 1).time_zone = "NEWZEALANDSTANDARDTIME"
    for number, hour in ((50, 10), (51, 11)):  # around Auckland's midnight
        entry(browser, number, at=NOW.replace(hour=hour) - timedelta(days=1))
    page = browser.get("/reports/figures?day=2026-11-20").text
    [link] = [one["href"] or "" for one in Tags(page).all("a") if "/logs?" in (one["href"] or "")]
    entries = browser.client.get(link).text
    assert "INV-50" in entries
    assert "INV-51" not in entries
    assert "Days by Pacific/Auckland" in entries
    own = browser.get("/reports/figures?day=2026-11-20&zone=UTC").text
    assert "/logs?from=2026-11-20&amp;to=2026-11-20" in own
    assert "zone=" not in own.partition("/logs?")[2].partition('"')[0]


def test_each_zone_that_the_command_knows_is_known_here_and_the_readers_are_offered(
    browser: Browser,
) -> None:
    choices = Choices(daily=True, zone="Asia/Kolkata")
    subscriptions.subscribe(browser.services, "bo@example.com", choices, who="Ana")
    page = browser.get("/reports/figures?day=2026-11-20&zone=NZ").text
    assert "Days and times by NZ." in page
    assert '<option value="NZ" selected>' in page
    assert '<option value="Asia/Kolkata">' in page


def test_an_unknown_zone_is_told(browser: Browser) -> None:
    answer = browser.get("/reports/figures?day=2026-11-20&zone=Mars/Base")
    assert answer.status_code == 422
    assert "Mars/Base isn&#39;t a time zone." in answer.text
    assert browser.get("/reports/figures.csv?zone=Mars/Base").status_code == 400


def test_the_file_has_each_currency_apart_and_counts_each_record_once(browser: Browser) -> None:
    entry(browser, 61, currency="USD", at=NOW - timedelta(hours=1))
    entry(browser, 62, at=NOW - timedelta(hours=1))
    answer = browser.get("/reports/figures.csv?of=weekly&day=2026-11-18")
    assert 'filename="xtiger-weekly-2026-11-16.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(StringIO(answer.text.lstrip("\ufeff"))))
    assert {row["Currency"]: row["Amount"] for row in rows} == {"NZD": "67.60", "USD": "10.10"}
    assert sum(int(row["Succeeded"] or 0) for row in rows) == 3
    assert sum(int(row["Failed"] or 0) for row in rows) == 1
    assert {(row["From"], row["Until"]) for row in rows} == {("2026-11-16", "2026-11-22")}


def test_a_period_that_isnt_over_says_so_and_leads_to_those_beside_it(browser: Browser) -> None:
    page = browser.get("/reports/figures?of=monthly&day=2026-11-30").text
    assert "It isn&#39;t over: counted up to 03:00." in page
    beside = {one.get("rel"): one["href"] for one in Tags(page).all("a") if one.get("rel")}
    assert "day=2026-10-01" in (beside["prev"] or "")
    assert "next" not in beside
    page = browser.get("/reports/figures?of=monthly&day=2026-10-01").text
    assert "Nothing was due in October 2026." in page
    beside = {one.get("rel"): one["href"] for one in Tags(page).all("a") if one.get("rel")}
    assert "day=2026-11-01" in (beside["next"] or "")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("of=yearly", "Choose day, week or month."),
        ("day=tomorrow", "tomorrow isn&#39;t a day. Write it like 2026-11-21."),
        ("day=0001-01-01", "0001-01-01 isn&#39;t a day."),
        ("day=2026-11-22", "22 Nov 2026 hasn&#39;t begun yet."),
        ("day=9999-12-31&of=monthly", "31 Dec 9999 hasn&#39;t begun yet."),
    ],
)
def test_what_is_no_period_is_told(browser: Browser, query: str, sentence: str) -> None:
    answer = browser.get(f"/reports/figures?{query}")
    assert answer.status_code == 422
    assert sentence in answer.text
    assert browser.get(f"/reports/figures.csv?{query}").status_code == 400


def test_a_week_that_has_begun_is_shown_by_any_of_its_days(browser: Browser) -> None:
    assert browser.get("/reports/figures?of=weekly&day=2026-11-22").status_code == 200


def again_buttons(page: str) -> list[str]:
    """To whom the page offers to send a mail once more."""
    names = (one.get("aria-label") or "" for one in Tags(page).all("button"))
    return [name.rpartition(" to ")[2] for name in names if "again to" in name]


@pytest.mark.parametrize(
    ("role", "own", "foreign"), [("manager", True, False), ("administrator", True, True)]
)
def test_a_manager_sends_again_only_what_was_their_own(
    browser: Browser, people: People, role: str, own: bool, foreign: bool
) -> None:
    """As on Email notification: managers change only their own row."""
    mine = add(browser, recipient="Manager@Example.com")
    people.be(role)
    sendable = ["Manager@Example.com"] * own + ["ana@example.com"] * foreign
    assert again_buttons(browser.get("/reports").text) == sendable
    for number, allowed in ((mine, own), (1, foreign)):
        assert bool(again_buttons(browser.get(f"/reports/{number}").text)) is allowed
        answer = browser.post(f"/reports/{number}/again")
        assert answer.status_code == (303 if allowed else 403)
        if not allowed:
            said = html.unescape(answer.text)
            assert "Only administrators can send it again to ana@example.com." in said
            assert "You may send again what went to manager@example.com." in said
            assert "Ask Ana or Bea." in said
    with browser.services.database.read() as session:
        waiting = session.scalars(select(Mail.recipient).where(Mail.state == "waiting")).all()
    assert sorted(waiting) == sorted(sendable)


def test_whoever_has_no_address_sends_nothing_again(browser: Browser, people: People) -> None:
    people.be("manager")
    people.current = replace(people.current, email="")
    add(browser, recipient="")
    assert again_buttons(browser.get("/reports").text) == []
    answer = browser.post("/reports/1/again")
    assert answer.status_code == 403
    assert "You may send again" not in answer.text

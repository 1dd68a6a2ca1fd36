"""Email notification: one row a subscription, each changed on its own form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from flask import Flask
from sqlalchemy import select

from tests.conftest import free_port
from tests.web.conftest import NOW, Browser, People, Tags
from xtiger.domain.alerting import Kind
from xtiger.engine.alerting import words
from xtiger.engine.reporting import subscriptions
from xtiger.engine.reporting.subscriptions import Choices, choices_of
from xtiger.mail import FlaskMail
from xtiger.store.models import Mail, Organisation, Subscription

#: A row's form as a browser sends it, nothing chosen beyond what stands there.
FORM = {
    "organisation": "",
    "hour": "7",
    "zone": "Pacific/Auckland",
    "language": "en",
    "modules": ["Contacts", "Products", "Services", "Invoices"],
}


class Postbox:
    """A real mail server: what it took, and whom it refuses."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], Message]] = []
        self.refused: str | None = None

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address == self.refused:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.taken.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 taken"


def mailing(browser: Browser, port: int, **more: Any) -> None:
    """The installation's mail server is set in its environment."""
    services = browser.services
    services.settings = replace(services.settings, mail_server="localhost", mail_port=port, **more)
    services.mail = FlaskMail(Flask("host"), services.settings)


@pytest.fixture
def postbox(browser: Browser) -> Iterator[Postbox]:
    box = Postbox()
    server = Controller(box, hostname="localhost", port=free_port())
    server.start()
    mailing(browser, server.port)
    yield box
    server.stop()


def rows(browser: Browser) -> list[Subscription]:
    """All but the one that an administrator gets by opening the Dashboard."""
    with browser.services.database.read() as session:
        found = session.scalars(select(Subscription).order_by(Subscription.id)).all()
    return [row for row in found if row.mailbox != "administrator@example.com"]


def seen(page: str) -> str:
    """What the form says that the person saw."""
    [field] = [one for one in Tags(page).all("input") if one.get("name") == "seen"]
    return field["value"] or ""


def test_an_administrator_adds_an_address(browser: Browser) -> None:
    answer = browser.post(
        "/email-notification/new",
        **FORM | {"address": " office@acme.nz ", "organisation": "1", "hour": "6"},
        daily="y",
        weekly="y",
        only_failed="y",
        attach_csv="y",
    )
    page = browser.after(answer)
    assert "office@acme.nz gets it: Daily 06:00, Weekly Mon 06:00." in page
    row = rows(browser)[-1]
    assert row.address == "office@acme.nz"
    assert choices_of(row) == Choices(
        daily=True,
        weekly=True,
        hour=6,
        organisation_id=1,
        only_failed=True,
        attach_csv=True,
        zone="Pacific/Auckland",
    )
    assert (row.made_by, row.modules) == ("Administrator", None)
    for word in ("Acme NZ", "Daily 06:00", "Only if something failed", "CSV attached", "never"):
        assert word in page


def test_alerts_are_ticked_for_administrators_to_begin_with(
    browser: Browser, people: People
) -> None:
    def ticked(page: str) -> set[str | None]:
        return {one.get("name") for one in Tags(page).all("input") if "checked" in one}

    assert ticked(browser.get("/email-notification/new").text) == {"daily", "alerts", "modules"}
    people.be("manager")
    assert ticked(browser.get("/email-notification/new").text) == {"daily", "modules"}


@pytest.mark.parametrize(
    "address",
    ["any text", "ana@", "@acme.nz", "ana@acme.nz, bo@acme.nz", "Ana <ana@acme.nz>", "a b@acme.nz"],
)
def test_what_is_no_address_is_told_at_the_field(browser: Browser, address: str) -> None:
    answer = browser.post("/email-notification/new", **FORM | {"address": address}, daily="y")
    assert answer.status_code == 422
    assert "an e-mail address. Write it like ana@acme.nz." in answer.text
    assert len(rows(browser)) == 1
    kept = [one for one in Tags(answer.text).all("input") if one.get("name") == "address"]
    assert kept[0]["value"] == address, "what was typed is kept"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"address": ""}, "Fill in Address."),
        ({"zone": "Auckland"}, "Auckland isn&#39;t a time zone. Choose one of the list, such as"),
        ({"modules": []}, "Tick at least one module."),
        ({"address": "MANAGER@example.com"}, "is on the list already. Change it there."),
    ],
)
def test_other_faults_are_told_and_nothing_is_added(
    browser: Browser, change: dict[str, Any], sentence: str
) -> None:
    form = FORM | {"address": "office@acme.nz", "daily": "y"} | change
    answer = browser.post("/email-notification/new", **form)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert len(rows(browser)) == 1


@pytest.mark.parametrize("sign", ["\0", "\x1b", "\u2028", "ä"])
def test_an_address_of_signs_that_no_mail_server_takes_is_refused(
    browser: Browser, sign: str
) -> None:
    answer = browser.post("/email-notification/new", **FORM, address=f"a{sign}b@example.com")
    assert answer.status_code == 422
    assert len(rows(browser)) == 1


def test_fewer_modules_are_kept_as_they_were_ticked(browser: Browser) -> None:
    page = browser.get("/email-notification/1").text
    form = FORM | {"seen": seen(page), "modules": ["Invoices"], "after_sync": "y"}
    browser.after(browser.post("/email-notification/1", **form))
    assert rows(browser)[0].modules == ["Invoices"]
    again = browser.get("/email-notification/1").text
    ticked = [
        one["value"]
        for one in Tags(again).all("input")
        if one.get("name") == "modules" and "checked" in one
    ]
    assert ticked == ["Invoices"]


def test_two_people_who_change_one_row_lose_nothing(browser: Browser, people: People) -> None:
    ours = seen(browser.get("/email-notification/1").text)
    form = FORM | {"seen": ours, "monthly": "y", "hour": "9"}
    people.be("manager")
    theirs = FORM | {"seen": ours, "after_sync": "y", "daily": "y"}
    browser.after(browser.post("/email-notification/1", **theirs))
    people.be("administrator")
    answer = browser.post("/email-notification/1", **form)
    assert answer.status_code == 409
    assert (
        "Manager saved this at 03:00. Your entries are below, unsaved; compare and save again."
        in answer.text
    )
    assert "Daily: saved as ticked, here not ticked." in answer.text
    assert "Hour: saved as “07:00”, here “09:00”." in answer.text
    assert choices_of(rows(browser)[0]).daily, "the first one's is still there"
    page = browser.after(
        browser.post("/email-notification/1", **form | {"seen": seen(answer.text)})
    )
    assert "Saved for manager@example.com: Monthly 1st 09:00." in page
    assert rows(browser)[0].hour == 9


def test_a_save_between_look_and_save_isnt_overwritten(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one saves when the page has compared already: the row's lock has the last word."""
    services = browser.services
    real = subscriptions.change

    def slower(*given: Any, **more: Any) -> bool:
        monkeypatch.setattr(subscriptions, "change", real)
        row = rows(browser)[0]
        real(services, 1, replace(choices_of(row), hour=5), who="Bo")
        return real(*given, **more)

    monkeypatch.setattr(subscriptions, "change", slower)
    form = FORM | {"seen": seen(browser.get("/email-notification/1").text), "daily": "y"}
    answer = browser.post("/email-notification/1", **form)
    assert answer.status_code == 409
    assert "Bo saved this at 03:00." in answer.text
    assert (rows(browser)[0].hour, rows(browser)[0].daily) == (5, False)


def test_a_row_that_was_removed_meanwhile_says_so(browser: Browser) -> None:
    form = FORM | {"seen": seen(browser.get("/email-notification/1").text), "daily": "y"}
    page = browser.after(browser.post("/email-notification/1/remove"))
    assert "manager@example.com gets no more of it." in page
    assert rows(browser) == []
    assert "This row was removed. Nothing was saved." in browser.after(
        browser.post("/email-notification/1", **form)
    )
    assert browser.post("/email-notification/1/remove").status_code == 303, "twice is harmless"


def test_without_any_row_the_page_says_so(empty: Browser, people: People) -> None:
    assert "Nobody gets a mail yet." in empty.get("/email-notification").text
    people.be("manager")
    assert "You get no mail yet." in empty.get("/email-notification").text


def test_alerts_are_on_for_an_administrator_from_the_first_time_they_are_seen(
    empty: Browser, people: People
) -> None:
    people.be("manager")
    empty.get("/")
    assert subscriptions.subscriptions(empty.services) == []
    people.be("administrator")
    for _ in range(2):
        empty.client.set_cookie("xtiger_zone", "Pacific/Auckland", path="/")
        empty.get("/")
    [row] = subscriptions.subscriptions(empty.services)
    assert choices_of(row) == Choices(alerts=True, person="Administrator", zone="Pacific/Auckland")
    # Taken out it stays out.
    empty.after(empty.post(f"/email-notification/{row.id}/remove"))
    empty.get("/")
    assert subscriptions.subscriptions(empty.services) == []


def test_an_administrator_chooses_when_alerts_are_sent(browser: Browser, people: People) -> None:
    page = browser.after(browser.post("/email-notification/alerts", hours="48", failures="25"))
    assert "Saved: hours 24 → 48, failures 10 → 25." in page
    shown = {one.get("name"): one.get("value") for one in Tags(page).all("input")}
    assert (shown["hours"], shown["failures"]) == ("48", "25")
    # What is counted is what docs/alerts.md says.
    assert "Records that failed within an hour and still fail" in page
    assert "or of one organisation altogether." in page
    said = browser.after(browser.post("/email-notification/alerts", hours="48", failures="25"))
    assert "Nothing was changed." in said
    answer = browser.post("/email-notification/alerts", hours="0", failures="x")
    assert answer.status_code == 422
    assert "be less than 1." in answer.text
    assert "x isn&#39;t a whole number." in answer.text
    assert answer.text.index('id="faults"') < answer.text.index('aria-label="Who gets which mail"')
    people.be("manager")
    assert "hours" not in {
        one.get("name") for one in Tags(browser.get("/email-notification").text).all("input")
    }


def test_a_manager_sees_and_changes_only_their_own(browser: Browser, people: People) -> None:
    other = subscriptions.subscribe(
        browser.services, "office@acme.nz", Choices(daily=True), who="Ana"
    )
    people.be("manager")
    page = browser.get("/email-notification").text
    assert "manager@example.com" in page
    assert "office@acme.nz" not in page
    before = choices_of(rows(browser)[-1])
    for path in (f"/email-notification/{other}", f"/email-notification/{other}/remove"):
        assert browser.post(path, **FORM, seen="x").status_code == 404
    assert browser.get(f"/email-notification/{other}").status_code == 404
    assert browser.post(f"/email-notification/{other}/test").status_code == 404
    assert choices_of(rows(browser)[-1]) == before
    own = browser.get("/email-notification/1").text
    form = FORM | {"seen": seen(own), "address": "office@acme.nz", "weekly": "y"}
    browser.after(browser.post("/email-notification/1", **form))
    assert rows(browser)[0].address == "manager@example.com", "an address isn't changed"


def test_an_address_that_nothing_would_go_to_is_not_added(browser: Browser) -> None:
    form = FORM | {"address": "office@example.com"}
    answer = browser.post("/email-notification/new", **form)
    assert answer.status_code == 422
    assert "Tick at least one mail: nothing would go to this address." in answer.text
    assert "office@example.com" not in browser.get("/email-notification").text


def test_a_manager_adds_no_address_but_their_own(browser: Browser, people: People) -> None:
    people.be("manager")
    form = FORM | {"address": "office@acme.nz", "daily": "y", "organisation": "1"}
    answer = browser.post("/email-notification/new", **form)
    assert answer.status_code == 422
    assert "You can add your own address only: manager@example.com." in answer.text
    browser.after(
        browser.post("/email-notification/new", **form | {"address": "Manager@example.com"})
    )
    assert [row.organisation_id for row in rows(browser)] == [None, 1]


def test_nobody_without_an_address_adds_one(browser: Browser, people: People) -> None:
    people.be("manager")
    people.current = replace(people.current, email="")
    page = browser.get("/email-notification").text
    assert "Your account has no e-mail address." in page
    assert "manager@example.com" not in page
    answer = browser.post("/email-notification/new", **FORM | {"address": "", "daily": "y"})
    assert answer.status_code == 422
    assert len(rows(browser)) == 1


def test_a_test_mail_arrives_and_says_so(browser: Browser, postbox: Postbox) -> None:
    browser.client.set_cookie("xtiger_zone", "Pacific/Auckland", path="/")
    page = browser.after(browser.post("/email-notification/1/test"))
    # By the clock of whoever sees the page: 3:00 UTC is 16:00 in Auckland.
    assert "Test mail sent to manager@example.com at 16:00 by localhost." in page
    [(to, message)] = postbox.taken
    assert to == ["manager@example.com"]
    assert message["Subject"] == "[XTiger] Test mail: this address works"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = subscriptions.unsubscribe_link(browser.services, 1)
    assert message["List-Unsubscribe"].strip() == f"<{link}>"


def test_a_test_mail_that_is_refused_leads_to_the_settings(browser: Browser) -> None:
    server = Controller(
        Postbox(),
        hostname="localhost",
        port=free_port(),
        auth_require_tls=False,
        auth_required=True,
        authenticator=lambda *_: AuthResult(success=False, handled=False),
    )
    server.start()
    try:
        mailing(browser, server.port, mail_username="xtiger", mail_password="wrong")
        page = browser.after(browser.post("/email-notification/1/test"))
    finally:
        server.stop()
    assert "localhost refused it: 535 authentication. Check the mail settings." in page
    assert '<a href="/xtiger/settings">Settings</a>' in page
    with browser.services.database.read() as session:
        mail = session.scalars(select(Mail).where(Mail.kind == "test")).one()
        assert mail.state == "failed"


def test_without_a_mail_server_the_page_says_so(browser: Browser, people: People) -> None:
    page = browser.get("/email-notification").text
    assert "No mail server is set, so no mail goes out." in page
    assert 'href="/xtiger/settings"' in page
    assert "No mail server is set." in browser.after(browser.post("/email-notification/1/test"))
    people.be("manager")
    page = browser.get("/email-notification").text
    assert "An administrator sets it." in page
    assert 'href="/xtiger/settings"' not in page


def test_a_refused_address_is_shown_with_its_reason_and_tried_again(
    browser: Browser, postbox: Postbox
) -> None:
    postbox.refused = "manager@example.com"
    said = browser.after(browser.post("/email-notification/1/test"))
    assert "Check the mail settings." not in said
    page = browser.get("/email-notification").text
    assert "Refused since" in page
    assert "localhost refused manager@example.com: 550 5.1.1 no such mailbox" in page
    assert "Try again to manager@example.com" in page
    postbox.refused = None
    page = browser.after(browser.post("/email-notification/1/test"))
    assert "Refused since" not in page
    assert len(postbox.taken) == 1


def test_a_stopped_row_says_so_and_starts_again(browser: Browser) -> None:
    link = subscriptions.unsubscribe_link(browser.services, 1)
    subscriptions.stop(browser.services, link.rpartition("/")[2])
    page = browser.get("/email-notification").text
    assert "Stopped by the reader" in page
    assert "Send test mail to manager@example.com" not in page
    for path in ("/email-notification/1/test", "/reports/1/again"):
        said = browser.after(browser.post(path))
        assert "stopped these mails by their link, so nothing was sent." in said
    with browser.services.database.read() as session:
        assert len(session.scalars(select(Mail)).all()) == 1
    page = browser.get("/email-notification/1").text
    assert "Start again" in page
    # Nothing is changed but that.
    form = FORM | {"seen": seen(page), "after_sync": "y"}
    said = browser.after(browser.post("/email-notification/1", **form))
    assert "manager@example.com is written to again." in said
    assert rows(browser)[0].stopped_at is None


def test_the_list_says_when_the_last_mail_went(browser: Browser) -> None:
    with browser.services.database.read() as session:
        mail = session.get_one(Mail, 1)
        assert mail.sent_at == NOW
    assert Tags(browser.get("/email-notification").text).all("time")


def test_a_row_about_an_organisation_that_left_can_still_be_changed(browser: Browser) -> None:
    number = subscriptions.subscribe(
        browser.services, "a@acme.nz", Choices(daily=True, organisation_id=1), who="Ana"
    )
    with browser.services.database.write() as session:
        session.get_one(Organisation, 1).chosen = False
    page = browser.get(f"/email-notification/{number}").text
    form = FORM | {"seen": seen(page), "weekly": "y", "organisation": "1"}
    browser.after(browser.post(f"/email-notification/{number}", **form))
    assert choices_of(rows(browser)[-1]).weekly


def test_the_dashboard_says_that_mails_dont_go_out(browser: Browser, people: People) -> None:
    """No mail can tell that: whoever may read reports sees it there."""
    with browser.services.database.write() as session:
        for number in range(2):
            session.add(
                Mail(
                    recipient="bo@acme.nz",
                    subject="s",
                    text="t",
                    html="h",
                    message_id=f"<{number}@x>",
                    state="waiting",
                    tries=3,
                    why="The mail server mail.acme.nz:587 can't be reached: it broke off.",
                    made_at=NOW - timedelta(minutes=17 - number),
                )
            )
    for role, link in (("administrator", True), ("manager", False)):
        people.be(role)
        for path in ("/", "/_live"):
            page = browser.get(path).text
            assert (
                "Mails have not gone out since 02:43: The mail server mail.acme.nz:587 "
                "can&#39;t be reached: it broke off. 2 mails wait and go by themselves once it "
                "works." in page
            )
        # The fragment has no menu: the link is the line's own.
        assert ('href="/xtiger/settings"' in browser.get("/_live").text) is link
    people.be("user")
    assert "gone out" not in browser.get("/").text
    with browser.services.database.write() as session:
        for mail in session.scalars(select(Mail).where(Mail.state == "waiting")):
            mail.made_at = NOW - timedelta(minutes=14)
    people.be("manager")
    assert "gone out" not in browser.get("/").text


def test_the_dashboard_says_which_mails_were_given_up(browser: Browser, people: People) -> None:
    def put(state: str, why: str, minutes: int) -> None:
        with browser.services.database.write() as session:
            at = NOW - timedelta(minutes=minutes)
            mail = Mail(recipient="bo@acme.nz", subject="s", text="t", html="h", state=state)
            mail.message_id, mail.tries, mail.why = f"<{minutes}@x>", 1, why
            mail.made_at = mail.not_before = at
            session.add(mail)

    people.be("manager")
    put("failed", "mail.acme.nz refused bo@acme.nz: 550 5.1.1 no such mailbox", 5)
    put("failed", "It is told by another one.", 4)
    page = browser.get("/").text
    assert (
        "Some mails could not be sent since 02:55: mail.acme.nz refused bo@acme.nz: 550 5.1.1 no "
        "such mailbox. 2 mails were given up and can be sent again under Reports." in page
    )
    put("waiting", "It is the oldest.", 20)
    page = browser.get("/").text
    assert "Mails have not gone out since 02:40: It is the oldest. " in page
    assert (
        "1 mail waits and goes by itself once it works, 2 mails were given up and can be sent "
        "again under Reports." in page
    )


def test_the_page_that_an_alert_about_mails_names_shows_those_that_wait(
    browser: Browser, people: People
) -> None:
    for state in ("sent", "waiting"):
        with browser.services.database.write() as session:
            mail = Mail(recipient=f"{state}@acme.nz", subject="s", text="t", html="h", state=state)
            mail.message_id, mail.tries, mail.made_at = f"<{state}@x>", 1, NOW
            session.add(mail)
    people.be("manager")
    page = browser.get(f"/{words.PATHS[Kind.MAIL]}").text
    assert "waiting@acme.nz" in page
    assert "sent@acme.nz" not in page


def test_a_log_entry_names_its_mails(browser: Browser) -> None:
    page = browser.get("/logs/2").text
    assert 'href="/xtiger/reports/1">Mail 1</a> to ana@example.com, sent' in page

"""Settings: the mail server, kept sealed, tried on the spot, and used without a restart."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import flask_mail
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography.fernet import Fernet
from flask import Flask

from tests.conftest import free_port
from tests.web.conftest import NOW, Browser, Tags
from tests.web.test_mail_server import certificate as certificate
from tests.web.test_subscriptions import Postbox
from xtiger.engine.reporting import letters
from xtiger.mail import FlaskMail
from xtiger.ports import MailServer
from xtiger.store.crypto import KeyRing
from xtiger.store.models import Setting
from xtiger.web import settings as page_of_settings

PASSWORD = "corr3ct-h0rse"
FORM = {
    "host": "mail.acme.nz",
    "port": "587",
    "security": "starttls",
    "username": "xtiger",
    "password": PASSWORD,
    "sender": "xtiger@acme.nz",
    "do": "save",
}


class Moving:
    """A clock that goes on by a second whenever it is read."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a page never sleeps")


def seen(page: str) -> str:
    [field] = [one for one in Tags(page).all("input") if one.get("name") == "seen"]
    return field["value"] or ""


def save(browser: Browser, **changes: Any) -> Any:
    """The form as it stands, with these entries."""
    form = FORM | {"seen": seen(browser.get("/settings").text)} | changes
    return browser.post("/settings", **form)


def stored(browser: Browser) -> MailServer | None:
    return letters.mail_server(browser.services)


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificate of the server below, vouched for on this machine."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


@pytest.fixture
def server(certificate: Path) -> Iterator[Controller]:
    """A real mail server: STARTTLS, then a user and a password."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def right(
        _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any
    ) -> AuthResult:
        known = (data.login, data.password) == (b"xtiger", PASSWORD.encode())
        return AuthResult(success=known, handled=known)

    controller = Controller(
        Postbox(),
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=right,
    )
    controller.start()
    yield controller
    controller.stop()


def test_what_is_saved_is_listed_and_the_password_is_sealed(browser: Browser) -> None:
    page = browser.after(save(browser))
    assert (
        "Saved: server mail.acme.nz, port 587, TLS STARTTLS, user xtiger, sender xtiger@acme.nz, "
        "password replaced." in page
    )
    assert PASSWORD not in page
    assert "Set. Leave it empty to keep it." in page
    with browser.services.database.read() as session:
        row = session.get_one(Setting, "mail_server")
        assert row.sealed
        assert PASSWORD not in str(row.value)
        assert "mail.acme.nz" not in str(row.value)
    again = browser.after(save(browser, password="", port="465", security="tls"))
    assert "Saved: port 465 (was 587), TLS TLS (was STARTTLS)." in again
    kept = stored(browser)
    assert kept is not None
    assert kept.password == PASSWORD
    assert "Nothing was changed." in browser.after(
        save(browser, password="", port="465", security="tls")
    )
    assert "Saved: user empty (was xtiger), password taken out." in browser.after(
        save(browser, password="", username="", port="465", security="tls")
    )


def test_the_stored_password_goes_to_no_other_server(browser: Browser) -> None:
    browser.after(save(browser))
    for do in ("save", "test"):
        answer = save(browser, password="", host="evil.example.com", do=do)
        assert answer.status_code == 422
        assert "The password was given to mail.acme.nz. Give it again for" in answer.text
    kept = stored(browser)
    assert kept is not None
    assert kept.host == "mail.acme.nz"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"host": ""}, "Fill in Server."),
        ({"host": "https://mail.acme.nz"}, "isn&#39;t a server&#39;s name."),
        ({"host": "mail acme"}, "isn&#39;t a server&#39;s name."),
        ({"host": "mail.acme.nz:587"}, "isn&#39;t a server&#39;s name."),
        ({"host": "10.0.0.256"}, "isn&#39;t a server&#39;s name."),
        ({"host": "-a.nz"}, "isn&#39;t a server&#39;s name."),
        ({"host": "a..nz"}, "isn&#39;t a server&#39;s name."),
        ({"host": "a\r\nb.nz"}, "isn&#39;t a server&#39;s name."),
        ({"port": "0"}, "Port can&#39;t be less than 1."),
        ({"port": "65536"}, "Port can&#39;t be more than 65,535."),
        ({"port": "smtp"}, "smtp isn&#39;t a whole number."),
        ({"port": ""}, "Fill in Port."),
        ({"sender": "XTiger"}, "XTiger isn&#39;t an e-mail address."),
        ({"password": ""}, "Give the password of xtiger."),
        ({"security": "none"}, "Without TLS the password would cross the network readably."),
    ],
)
def test_faults_are_told_at_their_field_and_nothing_is_saved(
    browser: Browser, change: dict[str, str], sentence: str
) -> None:
    answer = save(browser, **change)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert PASSWORD not in answer.text
    assert stored(browser) is None


@pytest.mark.parametrize(
    "host", ["mail.acme.nz", "localhost", "192.0.2.7", "2001:db8::1", "smtp_1"]
)
def test_names_and_numbers_of_servers_are_taken(browser: Browser, host: str) -> None:
    browser.after(save(browser, host=host))
    kept = stored(browser)
    assert kept is not None
    assert kept.host == host


def test_a_connection_that_works_says_how(
    browser: Browser, server: Controller, trusted: Path
) -> None:
    answer = save(browser, host="127.0.0.1", port=str(server.port), do="test")
    assert answer.status_code == 200
    assert (
        f"127.0.0.1:{server.port} answered at 03:00: STARTTLS works and its certificate is good, "
        "signed in as xtiger. No mail was sent. These entries aren&#39;t saved yet." in answer.text
    )
    assert stored(browser) is None, "trying saves nothing"
    assert server.handler.taken == []
    browser.after(save(browser, host="127.0.0.1", port=str(server.port)))
    answer = save(browser, host="127.0.0.1", port=str(server.port), password="", do="test")
    assert "No mail was sent." in answer.text
    assert "saved yet" not in answer.text


@pytest.mark.parametrize(
    ("field", "given"),
    [("username", "jörg"), ("password", "geheimß9"), ("password", "a\x00b"), ("username", "a\tb")],
)
def test_what_sign_in_can_not_carry_is_refused(browser: Browser, field: str, given: str) -> None:
    answer = save(browser, **{field: given})
    assert answer.status_code == 422
    assert "Mail servers take no characters such as ä or ß here. Choose others." in answer.text
    assert given not in answer.text or field == "username"
    assert stored(browser) is None


@pytest.mark.parametrize("host", ["smtp..example.com", "a" * 64 + ".nz", "fe80::1%ß", "müller.de"])
def test_a_name_that_no_server_can_have_is_refused(browser: Browser, host: str) -> None:
    answer = save(browser, host=host)
    assert answer.status_code == 422
    assert "a server&#39;s name. Write it like mail.acme.nz." in answer.text
    assert stored(browser) is None


def test_a_connection_that_doesnt_says_why(browser: Browser, server: Controller) -> None:
    place = {"host": "127.0.0.1", "port": str(server.port), "do": "test"}
    # Nobody vouches for its certificate here: the password isn't sent.
    assert "can&#39;t be trusted" in save(browser, **place).text
    away = f"The mail server 127.0.0.1:{(port := free_port())} can&#39;t be reached: nobody answers"
    assert away in save(browser, **place | {"port": str(port)}).text
    assert "it doesn&#39;t speak TLS there" in save(browser, **place | {"security": "tls"}).text
    nowhere = save(browser, **place | {"host": "nowhere.invalid"}).text
    assert "nowhere.invalid:" in nowhere
    assert "no server is found by that name" in nowhere


def test_a_wrong_password_says_so(browser: Browser, server: Controller, trusted: Path) -> None:
    place = {"host": "127.0.0.1", "port": str(server.port), "do": "test"}
    text = save(browser, **place, password="wrong").text
    assert "127.0.0.1 refused it: 535 authentication." in text
    assert "wrong" not in text


def test_a_server_that_says_nothing_is_told_in_time(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_of_settings, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        text = save(browser, host="127.0.0.1", port=str(port), do="test").text
    assert f"127.0.0.1:{port} gave no full answer within 0 s." in text


def test_what_is_saved_is_used_at_once(browser: Browser, server: Controller, trusted: Path) -> None:
    browser.after(save(browser, host="127.0.0.1", port=str(server.port)))
    page = browser.after(browser.post("/email-notification/1/test"))
    assert "Test mail sent to manager@example.com at 03:00 by 127.0.0.1." in page
    [(_to, message)] = server.handler.taken
    assert message["From"] == "xtiger@acme.nz"
    assert "No mail server is set" not in browser.get("/email-notification").text


def test_the_environments_server_is_locked(browser: Browser) -> None:
    services = browser.services
    services.settings = replace(
        services.settings,
        mail_server="mail.env.nz",
        mail_port=587,
        mail_tls=True,
        mail_username="env",
        mail_password=PASSWORD,
    )
    services.mail = FlaskMail(Flask("host"), services.settings)
    page = browser.get("/settings").text
    assert "Set by XTIGER_MAIL_SERVER." in page
    assert "mail.env.nz" in page
    assert PASSWORD not in page
    assert not [one for one in Tags(page).all("input") if one.get("name") == "host"]
    answer = browser.post("/settings", **FORM)
    assert answer.status_code == 200
    with services.database.read() as session:
        assert session.get(Setting, "mail_server") is None


def test_a_hosts_own_mail_is_locked_and_tried(
    browser: Browser, server: Controller, trusted: Path
) -> None:
    browser.app.config.update(
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=server.port,
        MAIL_USE_TLS=True,
        MAIL_USERNAME="xtiger",
        MAIL_PASSWORD=PASSWORD,
    )
    flask_mail.Mail(browser.app)
    browser.services.mail = FlaskMail(browser.app, browser.services.settings)
    page = browser.get("/settings").text
    assert "The server this XTiger runs in has its own mail settings; they are used." in page
    assert not [one for one in Tags(page).all("input") if one.get("name") == "host"]
    tried = browser.post("/settings", do="test").text
    assert "The mail server answered at 03:00: the connection works. No mail was sent." in tried


def test_two_people_who_save_at_once_lose_nothing(browser: Browser) -> None:
    browser.services.clock = Moving()
    browser.after(save(browser))
    ours = seen(browser.get("/settings").text)
    browser.after(save(browser, password="", sender="office@acme.nz"))
    answer = save(browser, password="", port="25", seen=ours)
    assert answer.status_code == 409
    assert (
        "Administrator saved this at 03:00. Your entries are below, unsaved; compare and save "
        "again." in answer.text
    )
    assert "sender xtiger@acme.nz (was office@acme.nz)" in answer.text
    kept = stored(browser)
    assert kept is not None
    assert (kept.port, kept.sender) == (587, "office@acme.nz")
    browser.after(save(browser, password="", port="25", seen=seen(answer.text)))
    kept = stored(browser)
    assert kept is not None
    assert kept.port == 25


def test_what_no_key_opens_is_asked_for_anew(browser: Browser) -> None:
    browser.after(save(browser))
    browser.services.ring = KeyRing([Fernet.generate_key().decode()])
    assert browser.get("/settings").status_code == 200
    assert "No mail server is set" in browser.get("/email-notification").text
    browser.after(save(browser))
    kept = stored(browser)
    assert kept is not None
    assert kept.host == "mail.acme.nz"

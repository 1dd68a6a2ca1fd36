"""Test connection: each thing that goes wrong is a sentence of what happened and what to do."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.conftest import free_port
from tests.engine.post import Scripted
from tests.web.conftest import Browser
from tests.web.test_mail_server import Box
from tests.web.test_mail_server import certificate as certificate
from tests.web.test_mail_settings import PASSWORD, save
from tests.web.test_mail_settings import server as server
from tests.web.test_mail_settings import trusted as trusted
from xtiger import mail as adapter
from xtiger.web import settings as page_of_settings

USUAL = "Check server, port and TLS: usual are 465 with TLS from the first byte, 587 with STARTTLS."


def tried(browser: Browser, port: int, host: str = "127.0.0.1", **entries: str) -> str:
    """What the page says of these entries; never the password, nor the words of a library."""
    answer = save(browser, host=host, port=str(port), do="test", **entries)
    assert answer.status_code == 200
    text = unescape(answer.text)
    assert PASSWORD not in text
    assert "extension" not in text
    sentence = text.partition('role="status"')[2].partition("<span>")[2].partition("</span>")[0]
    return sentence.removesuffix(" These entries aren't saved yet.")


@contextmanager
def running(**more: Any) -> Iterator[int]:
    controller = Controller(Box(), hostname="127.0.0.1", port=free_port(), **more)
    controller.start()
    yield controller.port
    controller.stop()


@contextmanager
def scripted(greeting: str = "220 here", **answers: str) -> Iterator[int]:
    server = Scripted(greeting, **answers)
    yield server.port
    server.stop()


def context(certificate: Path) -> ssl.SSLContext:
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(certificate)
    return found


def test_a_port_at_which_nobody_answers(browser: Browser) -> None:
    port = free_port()
    assert tried(browser, port) == (
        f"The mail server 127.0.0.1:{port} can't be reached: nobody answers at that port. "
        "Check server and port."
    )


def test_a_name_that_is_not_found(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # Not every machine's resolver answers at once.
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    assert tried(browser, 587, "nowhere.invalid") == (
        "The mail server nowhere.invalid:587 can't be reached: no server is found by that name. "
        "Check its spelling, and that this machine can look up names."
    )


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_a_server_that_says_nothing(
    browser: Browser, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "TRYING", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert tried(browser, port, security=security) == (
            f"The mail server 127.0.0.1:{port} can't be reached: it said nothing for 0.3 s. {USUAL}"
        )


def test_a_machine_that_takes_no_more_lines(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "TRYING", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        lines = [socket.socket() for _ in range(4)]
        for line in lines:
            line.setblocking(False)
            with suppress(BlockingIOError):
                line.connect(("127.0.0.1", port))
        said = tried(browser, port)
        for line in lines:
            line.close()
    assert said == (
        f"The mail server 127.0.0.1:{port} can't be reached: it said nothing for 0.3 s. {USUAL}"
    )


def test_whoever_waits_reads_the_reason_before_the_page_s_patience_ends() -> None:
    assert adapter.TRYING < page_of_settings.PATIENCE


def test_a_server_that_breaks_off(browser: Browser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        threading.Thread(target=lambda: listening.accept()[0].close(), daemon=True).start()
        assert tried(browser, port) == (
            f"The mail server 127.0.0.1:{port} can't be reached: it broke off. {USUAL}"
        )


def test_tls_where_the_server_begins_plainly(browser: Browser) -> None:
    with running() as port:
        assert tried(browser, port, security="tls") == (
            f"The mail server 127.0.0.1:{port} can't be reached: it doesn't speak TLS there, or "
            f"another kind of it. {USUAL}"
        )


@pytest.mark.parametrize("security", ["none", "starttls"])
def test_a_plain_beginning_where_the_server_wants_tls(
    browser: Browser, security: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "TRYING", 0.3)
    with running(ssl_context=context(certificate)) as port:
        assert tried(browser, port, security=security) == (
            f"The mail server 127.0.0.1:{port} can't be reached: it said nothing for 0.3 s. {USUAL}"
        )


def test_starttls_where_it_is_not_offered(browser: Browser) -> None:
    with running() as port:
        assert tried(browser, port) == f"127.0.0.1:{port} doesn't offer STARTTLS. {USUAL}"


def test_a_certificate_that_nobody_vouches_for(browser: Browser, server: Controller) -> None:
    said = tried(browser, server.port)
    assert said.startswith(f"The mail server 127.0.0.1:{server.port} can't be trusted: self")
    assert said.endswith(
        "Check its name. If an authority of your own vouches for it, name that in SSL_CERT_FILE."
    )


def test_a_user_where_no_sign_in_is_offered(
    browser: Browser, certificate: Path, trusted: Path
) -> None:
    with running() as port:
        assert tried(browser, port, security="none") == (
            f"127.0.0.1:{port} offers no sign-in, but a user is set. Choose STARTTLS or TLS, "
            "behind which it may, or take the user out."
        )
    nothing = {"auth_exclude_mechanism": ["LOGIN", "PLAIN"]}
    with running(tls_context=context(certificate), **nothing) as port:
        assert tried(browser, port) == (
            f"127.0.0.1:{port} offers no sign-in, but a user is set. Take the user out, or check "
            "server and port: usual are 587 and 465."
        )
    with scripted(EHLO="250-here\r\n250 AUTH XOAUTH2 OAUTHBEARER") as port:
        assert tried(browser, port, security="none") == (
            f"127.0.0.1:{port} takes no user and password, only XOAUTH2, OAUTHBEARER. Ask whoever "
            "runs it for a way in for programs that have a password."
        )


def test_a_wrong_password(browser: Browser, server: Controller, trusted: Path) -> None:
    assert tried(browser, server.port, password="wrong-h0rse") == (
        "127.0.0.1 refused it: 535 authentication. Check user and password."
    )


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        ("454 4.7.0 busy", "It may pass: test it again in some minutes."),
        (
            "534 5.7.9 application-specific password required",
            "It wants another kind of password: ask whoever runs it for one that programs may use.",
        ),
        ("538 5.7.11", "Choose STARTTLS or TLS: it takes a password on a sealed line only."),
    ],
)
def test_a_sign_in_that_is_refused_for_another_reason(
    browser: Browser, answer: str, advice: str
) -> None:
    with scripted(EHLO="250-here\r\n250 AUTH PLAIN", AUTH=answer) as port:
        said = tried(browser, port, security="none")
    assert said == f"127.0.0.1 refused it: {answer[:3]} authentication. {advice}"


def test_what_is_no_mail_server(browser: Browser) -> None:
    with scripted("SSH-2.0-OpenSSH_9.6") as port:
        assert tried(browser, port) == (
            f"What answers at 127.0.0.1:{port} isn't a mail server, or speaks TLS alone. {USUAL}"
        )


def test_a_server_that_turns_us_away(browser: Browser) -> None:
    with scripted("554 5.7.1 Your address is blocked") as port:
        assert tried(browser, port) == (
            "127.0.0.1 refused us: 554 5.7.1 Your address is blocked. Ask whoever runs it whether "
            "this machine may send by it."
        )
    with scripted("421 busy") as port:
        assert tried(browser, port).endswith("It may pass: test it again in some minutes.")

"""Who a mail says it is from: an address, or a name with it, as the mail server gets it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.utils import parseaddr
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from flask import Flask

from tests.conftest import free_port
from tests.web.conftest import Browser, Tags
from tests.web.test_mail_settings import save, stored
from xtiger.mail import FlaskMail, sender_of
from xtiger.ports import Letter, MailServer, ServerAway
from xtiger.settings import Settings

LETTER = Letter("ana@example.com", "Größe", "t", "<p>h</p>", "<1@x>")


@dataclass
class Box:
    """Keeps envelopes as they come."""

    port: int = 0
    taken: list[tuple[str, bytes]] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.taken.append((envelope.mail_from, bytes(envelope.original_content)))
        return "250 kept"


@contextmanager
def opened() -> Iterator[Box]:
    box = Box()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()


@pytest.fixture
def box() -> Iterator[Box]:
    with opened() as found:
        yield found


def header(raw: bytes) -> str:
    """The From header as it stands on the line, with its folds."""
    lines = raw.partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")
    [begin] = [place for place, line in enumerate(lines) if line.lower().startswith("from:")]
    end = begin + 1
    while end < len(lines) and lines[end][:1] in (" ", "\t"):
        end += 1
    return "\r\n".join(lines[begin:end])


@pytest.mark.parametrize(
    ("given", "name", "address"),
    [
        ("books@acme.nz", "", "books@acme.nz"),
        ("<books@acme.nz>", "", "books@acme.nz"),
        ("xtiger@localhost", "", "xtiger@localhost"),
        ("Acme books <books@acme.nz>", "Acme books", "books@acme.nz"),
        ("  Acme \u00a0 books<books+x@acme.nz> ", "Acme books", "books+x@acme.nz"),
        ('"Acme, books" <books@acme.nz>', "Acme, books", "books@acme.nz"),
        ("Acme, books (NZ); 100% <books@acme.nz>", "Acme, books (NZ); 100%", "books@acme.nz"),
        ('Acme "the" books <books@acme.nz>', 'Acme "the" books', "books@acme.nz"),
        ('"Acme" books "NZ" <books@acme.nz>', '"Acme" books "NZ"', "books@acme.nz"),
        (r'"Acme \"the\" books" <books@acme.nz>', 'Acme "the" books', "books@acme.nz"),
        ("back\\slash <books@acme.nz>", "back\\slash", "books@acme.nz"),
        ("other@evil.nz <books@acme.nz>", "other@evil.nz", "books@acme.nz"),
        ("=?utf-8?q?Bank?= <books@acme.nz>", "=?utf-8?q?Bank?=", "books@acme.nz"),
        ("Müller & Söhne, Bücher <books@acme.nz>", "Müller & Söhne, Bücher", "books@acme.nz"),
        ("日本語の会社 📚 <books@acme.nz>", "日本語の会社 📚", "books@acme.nz"),
        ("Übertragungen für Ärzte " * 8 + "<books@acme.nz>", None, "books@acme.nz"),
        ("Plain words " * 18 + "<books@acme.nz>", None, "books@acme.nz"),
        ("Bücher <books@bücher.example>", "Bücher", "books@xn--bcher-kva.example"),
    ],
)
def test_name_and_address_arrive_as_they_were_meant(
    box: Box, given: str, name: str | None, address: str
) -> None:
    wanted = " ".join(given.partition("<")[0].split()) if name is None else name
    assert sender_of(given) == (wanted, address)
    FlaskMail(Flask("host"), Settings()).send(
        LETTER, MailServer("127.0.0.1", box.port, sender=given)
    )
    FlaskMail(
        Flask("host"),
        Settings(mail_server="127.0.0.1", mail_port=box.port, mail_sender=given),
    ).send(LETTER)
    for envelope, raw in box.taken:
        assert envelope == address
        assert raw.isascii()
        line = header(raw)
        # RFC 2047, section 2: a line with an encoded word has at most 76 columns.
        assert all(len(each) <= 76 for each in line.split("\r\n") if "=?" in each)
        message = message_from_bytes(raw, policy=policy.default)
        [found] = message["From"].addresses
        assert found.addr_spec == address
        # Between two encoded words of a name Python's newer reader leaves a blank.
        assert "\r\n" in line or found.display_name == wanted
        by_hand, mailbox = parseaddr(line.partition(":")[2].replace("\r\n", ""))
        assert mailbox == address
        assert str(make_header(decode_header(by_hand))) == wanted
        assert str(message["Subject"]) == "Größe"
        assert message["Bcc"] is None
    assert len(box.taken) == 2


@pytest.mark.parametrize(
    "given",
    [
        *("", "XTiger", "Acme books", "Acme books <>", "Acme books <books>", "books@", "@acme.nz"),
        *("a@b.nz, c@d.nz", "Acme <a@b.nz>, Bo <c@d.nz>", "Acme <a@b.nz> <c@d.nz>", "<a@b.nz> x"),
        *("Acme\r\nBcc: x@evil.nz <a@b.nz>", "Acme\n <a@b.nz>", "Acme\x00 <a@b.nz>"),
        *("Acme <a@b.nz\r\nBcc: x@evil.nz>", "Acme\x85 <a@b.nz>", "Acme\u2028 <a@b.nz>"),
        *("Acme \u202e <a@b.nz>", "Acme \ud800 <a@b.nz>", "Acme <bücher@b.nz>", "bücher@b.nz"),
        *("a@b\uff20c.nz", "a@b\uff1c.nz", "a@b\u3000c.nz", "a b@c.nz", "a@b c.nz", "a@b..nz"),
    ],
    ids=ascii,
)
def test_what_could_end_a_header_or_name_somebody_else_is_refused(box: Box, given: str) -> None:
    with pytest.raises(ValueError):
        sender_of(given)
    port = FlaskMail(Flask("host"), Settings())
    server = MailServer("127.0.0.1", box.port, sender=given)
    for call in (lambda: port.send(LETTER, server), lambda: port.check(server)):
        # The setting is to be mended: until then mails wait.
        with pytest.raises(ServerAway) as caught:
            call()
        assert caught.value.sentence == f"The sender {given!r} isn't an e-mail address."
    assert box.taken == []


def test_settings_takes_a_sender_with_a_name_and_mails_have_it(browser: Browser, box: Box) -> None:
    page = browser.get("/settings").text
    [entry] = [one for one in Tags(page).all("input") if one.get("name") == "sender"]
    assert entry["type"] == "text", "a browser takes no name in an entry for an address"
    place = {"host": "127.0.0.1", "port": str(box.port), "security": "none"}
    given = "Müller, books <books@acme.nz>"
    saved = browser.after(save(browser, username="", password="", sender=given, **place))
    assert "sender Müller, books &lt;books@acme.nz&gt;" in saved
    assert 'value="Müller, books &lt;books@acme.nz&gt;"' in saved
    kept = stored(browser)
    assert kept is not None
    assert kept.sender == given
    browser.after(browser.post("/email-notification/1/test"))
    [(envelope, raw)] = box.taken
    assert envelope == "books@acme.nz"
    [found] = message_from_bytes(raw, policy=policy.default)["From"].addresses
    assert (found.display_name, found.addr_spec) == ("Müller, books", "books@acme.nz")


@pytest.mark.parametrize("given", ["Acme books", "Acme <a@b.nz>, <c@d.nz>", "A\r\nBcc: x <a@b.nz>"])
def test_settings_refuses_what_is_no_sender_at_its_field(browser: Browser, given: str) -> None:
    answer = save(browser, sender=given)
    assert answer.status_code == 422
    assert (
        "isn&#39;t an e-mail address. Write it like books@acme.nz or Acme books "
        "&lt;books@acme.nz&gt;." in answer.text
    )
    assert stored(browser) is None


def test_the_environment_may_name_one_too(box: Box) -> None:
    settings = Settings.read(
        {
            "XTIGER_MAIL_SERVER": "127.0.0.1",
            "XTIGER_MAIL_PORT": str(box.port),
            "XTIGER_MAIL_SENDER": "Acme, books <books@acme.nz>",
        }
    )
    FlaskMail(Flask("host"), settings).send(LETTER)
    [(envelope, raw)] = box.taken
    assert envelope == "books@acme.nz"
    assert header(raw) == 'From: "Acme, books" <books@acme.nz>'

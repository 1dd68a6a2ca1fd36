"""The line to the mail server: whom it trusts, what stands on it, and how long it may take."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask

from tests.conftest import free_port
from tests.engine.post import Slow
from xtiger import mail as adapter
from xtiger.domain.errors import TransientError
from xtiger.engine.reporting import letters
from xtiger.mail import FlaskMail
from xtiger.ports import Attachment, Letter, MailServer, ServerAway
from xtiger.settings import Settings


class Box:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.letters.append(envelope.content)
        return "250 kept"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "mail.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture
def server(certificate: Path) -> Iterator[Controller]:
    """A mail server that takes letters over TLS only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    controller = Controller(
        Box(),
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
    )
    controller.start()
    yield controller
    controller.stop()


def send(server: Controller) -> None:
    settings = Settings(mail_server="127.0.0.1", mail_port=server.port, mail_tls=True)
    letter = Letter(
        recipient="ana@example.com",
        subject="Run",
        text="t",
        html="<p>t</p>",
        message_id="<1@x>",
    )
    FlaskMail(Flask("host"), settings).send(letter)


def test_a_server_nobody_vouches_for_gets_no_letter(server: Controller) -> None:
    with pytest.raises(TransientError, match="can't be trusted: self.signed certificate"):
        send(server)
    assert server.handler.letters == []


def test_a_server_that_is_vouched_for_gets_it(
    server: Controller, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    send(server)
    assert len(server.handler.letters) == 1


# -- what stands on the line -------------------------------------------------------------------


def arrived(letter: Letter) -> bytes:
    """A letter as a server without TLS gets it."""
    controller = Controller(Box(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        FlaskMail(Flask("host"), Settings()).send(letter, MailServer("127.0.0.1", controller.port))
    finally:
        controller.stop()
    [content] = controller.handler.letters
    return bytes(content)


@pytest.mark.parametrize(
    "subject",
    [
        "[XTiger] Acme NZ, 20 Nov: 412 synced, 3 need you",
        "[XTiger] Kauri Handel: 409 übertragen, 12 fehlgeschlagen, 3 brauchen Aufträge",
        "[XTiger] Täglicher Bericht von gestern, 412 übertragene Aufträge, 3 warten",
        "[XTiger] Größe und Maß der Übertragung — übermäßig viele Änderungen für Müller & Söhne",
        "[XTiger] " + "Übertragung für Ärzte " * 20 + "Ende",
        "[XTiger] " + "a plain subject that is long " * 30 + "end",
    ],
)
def test_links_ids_and_subjects_arrive_as_they_were_meant(subject: str) -> None:
    host = "finance-sync.accounting.some-rather-long-company-name.co.nz"
    thread = f"<xtiger.daily.12@{host}>"
    link = f"https://{host}/xtiger/unsubscribe/12.AbCdEfGhIjKlMnOpQrStUv"
    ident = f"<179.4242.8675309@{host}>"
    raw = arrived(Letter("ana@example.com", subject, "t", "<p>h</p>", ident, thread, link))
    lines = raw.partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")
    assert {
        f"List-Unsubscribe: <{link}>",
        f"References: {thread}",
        f"In-Reply-To: {thread}",
        f"Message-ID: {ident}",
    } <= set(lines)
    assert max(map(len, raw.split(b"\r\n"))) < 998
    # RFC 2047, section 2: a line with an encoded word has at most 76 columns.
    assert max(len(line) for line in [*lines, ""] if "=?" in line or not line) <= 76
    message = message_from_bytes(raw, policy=policy.default)
    assert str(message["Subject"]) == " ".join(subject.split())
    by_hand = message_from_bytes(raw)["Subject"].replace("\r\n", "")
    assert str(make_header(decode_header(by_hand))) == subject


@pytest.mark.parametrize("words", ["a long reason ", "ein übler Grund = "])
def test_a_text_of_one_long_line_arrives_whole(words: str) -> None:
    text, html = words * 200 + "end\n", f"<p>{words * 300}</p>\n"
    raw = arrived(Letter("ana@example.com", "s", text, html, "<1@x>"))
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    got = [part.get_content() for part in message.walk() if not part.is_multipart()]
    assert [each.replace("\r\n", "\n") for each in got] == [text, html]


# -- what can't be written on it ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "password"), [("xtiger", "geheimß9"), ("jörg", "a secret of nobody")]
)
def test_a_sign_in_that_smtp_can_not_carry_is_told_without_its_letters(
    username: str, password: str
) -> None:
    controller = Controller(
        Box(), hostname="127.0.0.1", port=free_port(), auth_require_tls=False, authenticator=print
    )
    controller.start()
    named = MailServer("127.0.0.1", controller.port, "none", username, password)
    letter = Letter("ana@example.com", "s", "t", "h", "<1@x>")
    port = FlaskMail(Flask("host"), Settings())
    try:
        for call in (lambda: port.send(letter, named), lambda: port.check(named)):
            with pytest.raises(ServerAway) as caught:
                call()
            assert caught.value.sentence == (
                f"XTiger can't sign in to 127.0.0.1:{controller.port}: the user or the password "
                "has a character such as ä or ß. Choose others for the mail server."
            )
    finally:
        controller.stop()


@pytest.mark.parametrize("host", ["smtp..example.com", "a" * 64 + ".example.com"])
@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_name_that_no_server_can_have_keeps_mails_waiting(host: str, security: str) -> None:
    letter = Letter("ana@example.com", "s", "t", "h", "<1@x>")
    with pytest.raises(ServerAway) as caught:
        FlaskMail(Flask("host"), Settings()).send(letter, MailServer(host, 25, security))
    assert caught.value.sentence == (
        f"The mail server's name {host} can't be used. Check its spelling."
    )


# -- how long it takes -------------------------------------------------------------------------


@contextmanager
def slow(rate: int) -> Iterator[Slow]:
    server = Slow(rate)
    yield server
    server.stop()


def long_letter() -> Letter:
    """More than the machine keeps for a reader that is behind."""
    file = Attachment("report.csv", b"x" * 10_000_000)
    return Letter("ana@example.com", "s", "t", "h", "<1@x>", attachment=file)


def test_a_slow_server_gets_a_long_letter_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "TIME_OUT", 0.6)
    with slow(6_000_000) as server:
        FlaskMail(Flask("host"), Settings()).send(
            long_letter(), MailServer("127.0.0.1", server.port)
        )
    assert server.taken > 13_000_000


def test_a_letter_that_takes_too_long_is_broken_off_and_keeps_nobody_else_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter, "LONGEST", 0.3)
    with slow(3_000_000) as server, pytest.raises(TransientError) as caught:
        FlaskMail(Flask("host"), Settings()).send(
            long_letter(), MailServer("127.0.0.1", server.port)
        )
    assert caught.type is TransientError
    assert caught.value.sentence == (
        f"127.0.0.1:{server.port} didn't take the whole mail within 0.3 s."
    )


def test_a_claim_holds_for_longer_than_a_sending_can_take() -> None:
    assert adapter.LONGEST + 2 * adapter.TIME_OUT < letters.LONGEST_SENDING

"""Real mail servers for the tests, and the reading of what they took."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask

from tests.conftest import Engine, free_port
from tests.engine.scenes import MiddayClock
from xtiger.engine.services import Services
from xtiger.mail import FlaskMail

USER, PASSWORD = "xtiger", "a secret of nobody"


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "mail.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@dataclass
class PostOffice:
    """Keeps what it takes, and answers as it is told."""

    taken: list[tuple[str, EmailMessage]] = field(default_factory=list)
    #: What it answers to every letter, and to the letters of some recipients.
    refuse: str | None = None
    unknown: frozenset[str] = frozenset()
    #: It takes so many letters and breaks off before it says so.
    silent: int = 0
    #: How often somebody signed in.
    signed_in: int = 0

    def of(self, recipient: str) -> list[EmailMessage]:
        return [message for to, message in self.taken if to == recipient]

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.unknown:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:
        if self.refuse:
            return self.refuse
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        [recipient] = envelope.rcpt_tos
        self.taken.append((recipient, message))
        if self.silent:
            self.silent -= 1
            server.transport.abort()
        return "250 taken"


def opened(office: PostOffice, *, pem: Path | None = None, port: int | None = None) -> Controller:
    """The office on a port of its own; with a certificate it asks for TLS and sign-in."""
    more: dict[str, Any] = {}
    if pem is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)

        def sign_in(_server: Any, _session: Any, _envelope: Any, _how: str, data: Any) -> Any:
            good = data == LoginPassword(USER.encode(), PASSWORD.encode())
            office.signed_in += good
            return AuthResult(success=good, handled=good)

        more = {
            "tls_context": context,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": sign_in,
        }
    controller = Controller(office, hostname="127.0.0.1", port=port or free_port(), **more)
    controller.start()
    return controller


class Breaking:
    """A mail server that breaks off in the middle of every letter."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.begun = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._socket.accept()
                with line, suppress(OSError):
                    self._talk(line)

    def _talk(self, line: socket.socket) -> None:
        line.sendall(b"220 here\r\n")
        while said := line.recv(1024):
            if said.upper().startswith(b"DATA"):
                line.sendall(b"354 go on\r\n")
                line.recv(100)
                self.begun += 1
                return
            line.sendall(b"250 fine\r\n")

    def stop(self) -> None:
        self._socket.close()


class Scripted:
    """A mail server that says what it is told to: at its greeting, or to a command."""

    def __init__(self, greeting: str = "220 here", **answers: str) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.greeting = greeting
        #: What it says to EHLO, MAIL, RCPT, …; LETTER is the end of a letter.
        self.answers = answers
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._socket.accept()
                with line, suppress(OSError):
                    self._talk(line)

    def _talk(self, line: socket.socket) -> None:
        line.sendall(f"{self.greeting}\r\n".encode())
        said, letter = line.makefile("rb"), False
        for each in said:
            command = each[:4].decode().upper().strip()
            if letter and each != b".\r\n":
                continue
            answer = self.answers.get("LETTER" if letter else command)
            letter = not letter and command == "DATA" and answer is None
            usual = "354 go on" if letter else "250 fine"
            line.sendall(f"{answer or usual}\r\n".encode())

    def stop(self) -> None:
        self._socket.close()


class Slow(Scripted):
    """A mail server that takes letters steadily, some `rate` bytes a second."""

    def __init__(self, rate: int) -> None:
        self.rate, self.taken = rate, 0
        super().__init__()

    def _talk(self, line: socket.socket) -> None:
        line.sendall(b"220 here\r\n")
        while said := line.recv(1024):
            if not said.upper().startswith(b"DATA"):
                line.sendall(b"250 fine\r\n")
                continue
            line.sendall(b"354 go on\r\n")
            end = b""
            while not end.endswith(b"\r\n.\r\n") and (piece := line.recv(65_536)):
                self.taken += len(piece)
                end = (end + piece)[-5:]
                time.sleep(len(piece) / self.rate)
            line.sendall(b"250 taken\r\n")


def mailing(engine: Engine, port: int, clock: MiddayClock | None = None, **more: Any) -> Services:
    services = engine.worker("mailing", clock=clock or MiddayClock())
    services.settings = replace(
        engine.settings,
        mail_server="127.0.0.1",
        mail_port=port,
        mail_sender="xtiger@example.com",
        **more,
    )
    services.mail = FlaskMail(Flask("host"), services.settings)
    return services


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self._silent = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent = tag == "title"
        self.links += [value or "" for name, value in attrs if (tag, name) == ("a", "href")]

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words += data.split()


def html_of(message: EmailMessage) -> _Words:
    part = message.get_body(("html",))
    assert part is not None
    read = _Words()
    read.feed(str(part.get_content()))
    return read


def both_say_the_same(message: EmailMessage) -> None:
    """Each number, word and link of the text is in the HTML, too, and no line is too long."""
    text = text_of(message)
    too_long = [line for line in text.splitlines() if len(line) > 72 and "://" not in line]
    assert not too_long
    html = html_of(message)
    words = {word.strip(":") for word in html.words}
    for word in text.split():
        if word.startswith("http"):
            assert word in html.links
        elif not re.fullmatch(r"[-#:·]+", word):
            assert word.strip(":") in words, word

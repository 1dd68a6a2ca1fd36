"""Sends letters through Flask-Mail, with the time-out and the checks it leaves out."""

from __future__ import annotations

import errno
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import policy
from email.charset import QP, Charset
from email.errors import MessageError
from email.header import Header
from email.mime.text import MIMEText
from email.utils import formataddr
from typing import Any

import flask_mail
from flask import Flask

from xtiger.domain import phrases
from xtiger.domain.errors import PermanentError, TransientError, UnknownOutcome
from xtiger.ports import AddressRefused, Letter, MailServer, ServerAway
from xtiger.settings import Settings
from xtiger.telemetry import logger

#: Seconds that connecting, any one answer of the mail server, or taking one PIECE may take.
TIME_OUT = 20
#: The same where somebody waits to read what came of it.
TRYING = 15
#: Bytes that go out at once: Python counts the time-out for all that it is given together.
PIECE = 65_536
#: Seconds after which nothing more of a letter goes out, however steadily the server takes it.
LONGEST = 300
#: Bytes of the longest line; SMTP takes 998.
_LINE = 900
#: Lines of 78 columns would have Python fold links and ids into encoded words, which no mail
#: program reads there.
_UNFOLDED = policy.SMTP.clone(max_line_length=_LINE)
#: For texts with longer lines, which a server refuses.
_BROKEN = Charset("utf-8")
_BROKEN.body_encoding = QP
#: What a server says of an address whose mailbox it hasn't: by RFC 3463, or in the words of those
#: that don't use its codes.
_NO_MAILBOX = re.compile(
    r"(?<![\d.])5\.(?:1\.(?:[0-36]|10)|2\.1)(?!\d|\.\d)"
    r"|no such (?:user|mailbox|recipient|address|person)"
    r"|(?:user|recipient|mailbox) (?:is )?(?:unknown|not found|doesn't exist|does not exist)"
    r"|unknown (?:user|recipient|mailbox)|unrouteable address",
    re.IGNORECASE,
)
#: What is about who sends, whatever else stands beside it: for the settings to mend.
_OURS = re.compile(r"(?<![\d.])5\.7\.\d|relay|sender", re.IGNORECASE)
#: What it says of a letter that it would never take: too long, or made of what it doesn't read.
_LETTER = re.compile(r"(?<![\d.])5\.(?:2\.3|3\.4|6\.\d+)(?!\d|\.\d)")

#: A sender: an address, or a name and the address in brackets. What else would begin a second
#: address or end the header is in neither.
_ADDRESS = r"[^\s@<>()\[\],;:\"\\]+@[^\s@<>()\[\],;:\"\\]+"
_SENDER = re.compile(rf"(?P<name>[^<>]*)<\s*(?P<named>{_ADDRESS})\s*>|(?P<plain>{_ADDRESS})")
#: What to do where nobody speaks as was expected.
_TLS = "Check server, port and TLS: usual are 465 with TLS from the first byte, 587 with STARTTLS."
_PASSES = "It may pass: test it again in some minutes."
#: What to do where a sign-in was refused, by the server's code (RFC 4954).
_SIGN_IN = {
    530: "Choose STARTTLS or TLS: it takes a password on a sealed line only.",
    534: "It wants another kind of password: ask whoever runs it for one that programs may use.",
    538: "Choose STARTTLS or TLS: it takes a password on a sealed line only.",
}

log = logger("mail")


def _away(sentence: str, advice: str) -> ServerAway:
    """What to look at goes along as a note: mails that wait are tried again without it."""
    away = ServerAway(sentence)
    away.add_note(advice)
    return away


def sender_of(text: str) -> tuple[str, str]:
    """A sender's name, which may be empty, and its address in ASCII.

    Acme books <books@acme.nz>, "Acme, books" <books@acme.nz>, books@acme.nz. Raises ValueError
    where it isn't one.
    """
    text = text.strip().replace("\N{NO-BREAK SPACE}", " ")
    found = _SENDER.fullmatch(text)
    if not found or not text.isprintable():
        raise ValueError(text)
    local, _, host = (found["named"] or found["plain"]).partition("@")
    # A UnicodeError is a ValueError; and some letters stand for an @ or a blank there.
    address = f"{local}@{host.encode('idna').decode()}"
    if not (address.isascii() and re.fullmatch(_ADDRESS, address)):
        raise ValueError(text)
    name = " ".join((found["name"] or "").split())
    if re.fullmatch(r'"(?:[^"\\]|\\.)*"', name):
        name = re.sub(r"\\(.)", r"\1", name[1:-1]).strip()
    return name, address


class _TooSlow(TimeoutError):
    """The server took what it got, but not all of it within LONGEST."""


class _Noticing:
    """An SMTP line that sends in pieces, and notices when the whole of a letter has gone out."""

    whole = False
    taken = False

    def __init__(self, *args: Any, **more: Any) -> None:
        self._until = time.monotonic() + LONGEST
        super().__init__(*args, **more)

    def send(self, s: Any) -> None:
        for begin in range(0, len(s), PIECE):
            if time.monotonic() > self._until:
                # What would follow on this line, a QUIT, would be read as the letter's.
                self.close()  # type: ignore[attr-defined]
                raise _TooSlow
            super().send(s[begin : begin + PIECE])  # type: ignore[misc]
        if isinstance(s, bytes) and s.endswith(b"\r\n.\r\n"):
            self.whole = True

    def data(self, msg: Any) -> Any:
        answer = super().data(msg)  # type: ignore[misc]
        self.taken = answer[0] == 250
        return answer


class _Plain(_Noticing, smtplib.SMTP):
    pass


class _Sealed(_Noticing, smtplib.SMTP_SSL):
    pass


@contextmanager
def _usable(otherwise: str) -> Iterator[None]:
    """Tells what can't even be written on the line; Python's own words would show the password."""
    try:
        yield
    except OSError:  # some of TLS are ValueErrors, too
        raise
    except (ValueError, OverflowError):
        raise ServerAway(otherwise) from None


class _Connection(flask_mail.Connection):
    """Flask-Mail's connection, but one that gives up, and that knows whom it talks to."""

    def __init__(self, mail: Any, time_out: float) -> None:
        super().__init__(mail)
        self._time_out = time_out

    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        kind = _Sealed if self.mail.use_ssl else _Plain
        checked = ssl.create_default_context()
        more: dict[str, Any] = {"context": checked} if self.mail.use_ssl else {}
        with _usable(
            f"The mail server's name {self.mail.server} can't be used. Check its spelling."
        ):
            host: Any = kind(self.mail.server, self.mail.port, timeout=self._time_out, **more)
        try:
            host.set_debuglevel(int(self.mail.debug))
            if self.mail.use_tls:
                host.ehlo_or_helo_if_needed()
                if not host.has_extn("starttls"):
                    raise _away(f"{_name(self.mail)} doesn't offer STARTTLS.", _TLS)
                host.starttls(context=checked)
            if self.mail.username and self.mail.password:
                self._must_sign_in(host)
                with _usable(
                    f"XTiger can't sign in to {_name(self.mail)}: the user or the password has a "
                    "character such as ä or ß. Choose others for the mail server."
                ):
                    host.login(self.mail.username, self.mail.password)
        except BaseException:
            host.close()
            raise
        found: smtplib.SMTP | smtplib.SMTP_SSL = host
        return found

    def _must_sign_in(self, host: Any) -> None:
        """Raises ServerAway where the server has no sign-in that takes a user and a password."""
        host.ehlo_or_helo_if_needed()
        offered = host.esmtp_features.get("auth", "").split()
        if not offered:
            advice = "Choose STARTTLS or TLS, behind which it may, or take the user out."
            if self.mail.use_ssl or self.mail.use_tls:
                advice = "Take the user out, or check server and port: usual are 587 and 465."
            raise _away(f"{_name(self.mail)} offers no sign-in, but a user is set.", advice)
        if not {"CRAM-MD5", "PLAIN", "LOGIN"}.intersection(offered):
            raise _away(
                f"{_name(self.mail)} takes no user and password, only {', '.join(offered)}.",
                "Ask whoever runs it for a way in for programs that have a password.",
            )

    def __exit__(self, *_: Any) -> None:
        # What was taken stays taken, and what went wrong is told, however the line ends.
        if self.host is not None:
            with suppress(smtplib.SMTPException, OSError):
                self.host.quit()
            self.host.close()

    @property
    def in_doubt(self) -> bool:
        """Whether a whole letter went out on it."""
        return bool(getattr(self.host, "whole", False))

    @property
    def taken(self) -> bool:
        """Whether the server said that it took the last letter."""
        return bool(getattr(self.host, "taken", False))


class FlaskMail:
    """A MailPort on the host's Flask-Mail, or on one of our own that touches nobody else's."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        # Flask-Mail looks itself up in the current app; where the host has none, an app that
        # serves no page holds ours, so that the host's place for it stays free.
        self._app = app if "mail" in app.extensions else _own(_server(settings))
        self._sender = settings.mail_sender

    def has_server(self) -> bool:
        return bool(self._app.extensions["mail"].server)

    def send(self, letter: Letter, server: MailServer | None = None) -> None:
        app = self._app if server is None else _own(server)
        mail: Any = app.extensions["mail"]
        with app.app_context(), _told(mail, letter.recipient, TIME_OUT):
            message = _message(letter, self._sender if server is None else server.sender)
            with _Connection(mail, TIME_OUT) as connection:
                try:
                    connection.send(message)
                except Exception as failure:
                    if connection.taken:
                        # A host hears of each mail by Flask-Mail's signal, and may break over it.
                        log.exception("a mail that went broke its host", to=letter.recipient)
                        return
                    if isinstance(failure, _TooSlow):
                        # It is there, and others' letters may be shorter.
                        raise TransientError(
                            f"{_name(mail)} didn't take the whole mail within {LONGEST} s."
                        ) from failure
                    answered = isinstance(failure, smtplib.SMTPResponseException)
                    if answered or not isinstance(failure, OSError) or not connection.in_doubt:
                        raise
                    raise UnknownOutcome(
                        f"{_name(mail)} broke off before it said whether it took the mail."
                    ) from failure

    def check(self, server: MailServer | None = None) -> None:
        app = self._app if server is None else _own(server)
        mail: Any = app.extensions["mail"]
        with app.app_context(), _told(mail, "", TRYING):
            _known_sender(self._sender if server is None else server.sender)
            with _Connection(mail, TRYING) as connection:
                if connection.host is not None:
                    connection.host.noop()


class _Message(flask_mail.Message):
    """Flask-Mail's message, with headers and lines that arrive as they were meant."""

    #: The sender's name, for the header alone: the envelope has the bare address.
    sender_name = ""

    def _mimetext(self, text: str | None, subtype: str = "plain") -> MIMEText:
        if any(len(line.encode()) > _LINE for line in (text or "").split("\n")):
            return MIMEText(text or "", subtype, _BROKEN)  # type: ignore[arg-type]
        plain: MIMEText = super()._mimetext(text, subtype)
        return plain

    def _message(self) -> Any:
        made = super()._message()
        made.policy = policy.compat32  # the others take no header that is broken already
        if not self.subject.isascii():
            made.replace_header("Subject", _encoded("Subject", self.subject).encode())
        if self.sender_name:
            made.replace_header("From", _from(self.sender_name, str(self.sender)))
        made.policy = _UNFOLDED
        return made


def _encoded(header: str, text: str) -> Header:
    """A header's text in encoded words.

    Broken where it stands, so that nobody breaks it anew and loses a blank. Python goes two
    columns over what it is told, and 76 is the most (RFC 2047, section 2).
    """
    return Header(text, "utf-8", 74, header)


def _from(name: str, address: str) -> str:
    # What looks like an encoded word would be read as one.
    if name.isascii() and "=?" not in name:
        return formataddr((name, address))
    header = _encoded("From", name)
    header.append(f"<{address}>", "us-ascii")
    return header.encode()


def _known_sender(text: str) -> tuple[str, str]:
    try:
        return sender_of(text)
    except ValueError:
        raise _away(
            f"The sender {text!r} isn't an e-mail address.",
            "Write it like books@acme.nz or Acme books <books@acme.nz>.",
        ) from None


def _message(letter: Letter, sender: str) -> flask_mail.Message:
    name, address = _known_sender(sender)
    headers = {"Auto-Submitted": "auto-generated"}
    if letter.thread:
        headers |= {"References": letter.thread, "In-Reply-To": letter.thread}
    if letter.unsubscribe:
        headers |= {
            "List-Unsubscribe": f"<{letter.unsubscribe}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
    message = _Message(
        subject=letter.subject,
        recipients=[letter.recipient],
        body=letter.text,
        html=letter.html,
        sender=address,
        extra_headers=headers,
    )
    message.sender_name = name
    message.msgId = letter.message_id
    if letter.attachment is not None:
        file = letter.attachment
        message.attach(file.name, file.media_type, file.content)
    return message


@contextmanager
def _told(mail: Any, recipient: str, time_out: float) -> Iterator[None]:
    """Turns what smtplib says into one sentence and one of the errors."""
    server, place = mail.server, _name(mail)
    try:
        yield
    except smtplib.SMTPAuthenticationError as refusal:
        code = refusal.smtp_code
        advice = _PASSES if code < 500 else _SIGN_IN.get(code, "Check user and password.")
        raise _away(f"{server} refused it: {code} authentication.", advice) from None
    except smtplib.SMTPRecipientsRefused as refusal:
        code, said = next(iter(refusal.recipients.values()))
        text = phrases.ended(f"{server} refused {recipient}: {code} {_said(said)}")
        raise _kind(code, _said(said))(text) from refusal
    except smtplib.SMTPSenderRefused as refusal:
        words = _said(refusal.smtp_error)
        # Here it hears how long the letter is; all else it says is about us.
        whole = refusal.smtp_code >= 500 and _LETTER.search(words)
        text = phrases.ended(f"{server} refused the sender: {refusal.smtp_code} {words}")
        raise (PermanentError if whole else TransientError)(text) from refusal
    except smtplib.SMTPDataError as refusal:
        words = _said(refusal.smtp_error)
        text = phrases.ended(f"{server} refused it: {refusal.smtp_code} {words}")
        raise _kind(refusal.smtp_code, words)(text) from refusal
    except smtplib.SMTPResponseException as refusal:
        # At its greeting, at ours or at STARTTLS: it hasn't heard of any letter yet.
        code = refusal.smtp_code
        if code < 0:
            text = f"What answers at {place} isn't a mail server, or speaks TLS alone."
            raise _away(text, _TLS) from refusal
        advice = "Ask whoever runs it whether this machine may send by it."
        raise _away(
            phrases.ended(f"{server} refused us: {code} {_said(refusal.smtp_error)}"),
            _PASSES if code < 500 else advice,
        ) from refusal
    except ssl.SSLCertVerificationError as failure:
        raise _away(
            f"The mail server {place} can't be trusted: {failure.verify_message}.",
            "Check its name. If an authority of your own vouches for it, name that in "
            "SSL_CERT_FILE.",
        ) from failure
    except OSError as failure:  # smtplib's own are some, too
        why, advice = _reason(failure, time_out)
        raise _away(f"The mail server {place} can't be reached: {why}.", advice) from failure
    except (flask_mail.BadHeaderError, MessageError, ValueError) as fault:
        raise PermanentError(f"The mail to {recipient} can't be written: {fault}") from fault


def _kind(code: int, words: str) -> type[AddressRefused | PermanentError | TransientError]:
    """What a refusal of a recipient or of a whole letter comes to.

    It is for good only where the answer says so of the letter or the address. Policies, limits
    and full mailboxes pass, and a mail that is given up for them would be lost.
    """
    if code < 500 or _OURS.search(words):
        return TransientError
    if _NO_MAILBOX.search(words):
        return AddressRefused
    return PermanentError if _LETTER.search(words) else TransientError


def _reason(failure: OSError, time_out: float) -> tuple[str, str]:
    """What happened on the line, in words, and what to look at."""
    if isinstance(failure, socket.gaierror):
        return (
            "no server is found by that name",
            "Check its spelling, and that this machine can look up names.",
        )
    if isinstance(failure, ConnectionRefusedError):
        return "nobody answers at that port", "Check server and port."
    if isinstance(failure, _TooSlow):
        return f"it took more than {LONGEST} s", _PASSES
    # smtplib says of a line that fell silent that it ended.
    if isinstance(failure, TimeoutError) or isinstance(failure.__context__, TimeoutError):
        return f"it said nothing for {time_out:g} s", _TLS
    if isinstance(failure, ssl.SSLError):
        return "it doesn't speak TLS there, or another kind of it", _TLS
    if isinstance(failure, smtplib.SMTPServerDisconnected | ConnectionError):
        return "it broke off", _TLS
    if failure.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return (
            "no way leads there from this machine",
            "Check the server and this machine's network.",
        )
    return f"“{failure.strerror or failure}”", "Check server, port and TLS."


def _name(mail: Any) -> str:
    return f"{mail.server}:{mail.port}"


def _said(answer: bytes | str) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer


def _server(settings: Settings) -> MailServer:
    return MailServer(
        host=settings.mail_server,
        port=settings.mail_port,
        security="starttls" if settings.mail_tls else "none",
        username=settings.mail_username,
        password=settings.mail_password,
        sender=settings.mail_sender,
    )


def _own(server: MailServer) -> Flask:
    app = Flask("xtiger.mail")
    app.config.update(
        MAIL_SERVER=server.host,
        MAIL_PORT=server.port,
        MAIL_USE_TLS=server.security == "starttls",
        MAIL_USE_SSL=server.security == "tls",
        MAIL_USERNAME=server.username or None,
        MAIL_PASSWORD=server.password or None,
        MAIL_DEFAULT_SENDER=server.sender,
    )
    flask_mail.Mail(app)
    return app

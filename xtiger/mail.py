"""Sends letters through Flask-Mail, with the time-out and the checks it leaves out."""

from __future__ import annotations

import smtplib
import socket
import ssl
from email.errors import MessageError
from typing import Any

import flask_mail
from flask import Flask

from xtiger.domain.errors import PermanentError, TransientError
from xtiger.ports import Letter
from xtiger.settings import Settings

#: Seconds that connecting, or any one answer of the mail server, may take.
TIME_OUT = 20


class _Connection(flask_mail.Connection):
    """Flask-Mail's connection, but one that gives up, and that knows whom it talks to."""

    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        kind = smtplib.SMTP_SSL if self.mail.use_ssl else smtplib.SMTP
        checked = ssl.create_default_context()
        more: dict[str, Any] = {"context": checked} if self.mail.use_ssl else {}
        host = kind(self.mail.server, self.mail.port, timeout=TIME_OUT, **more)
        host.set_debuglevel(int(self.mail.debug))
        if self.mail.use_tls:
            host.starttls(context=checked)
        if self.mail.username and self.mail.password:
            host.login(self.mail.username, self.mail.password)
        return host


class FlaskMail:
    """A MailPort on the host's Flask-Mail, or on one of our own that touches nobody else's."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        # Flask-Mail looks itself up in the current app; where the host has none, an app that
        # serves no page holds ours, so that the host's place for it stays free.
        self._app = app if "mail" in app.extensions else _own(settings)
        self._sender = settings.mail_sender
        self._mail: Any = self._app.extensions["mail"]

    def send(self, letter: Letter) -> None:
        message = flask_mail.Message(
            subject=letter.subject,
            recipients=[letter.recipient],
            body=letter.text,
            html=letter.html,
            sender=self._sender,
            extra_headers={"Auto-Submitted": "auto-generated"},
        )
        message.msgId = letter.message_id
        server = f"{self._mail.server}:{self._mail.port}"
        try:
            with self._app.app_context(), _Connection(self._mail) as connection:
                connection.send(message)
        except smtplib.SMTPAuthenticationError as refusal:
            text = f"{server} refused it: {refusal.smtp_code} authentication."
            raise TransientError(text) from None
        except smtplib.SMTPRecipientsRefused as refusal:
            code, said = next(iter(refusal.recipients.values()))
            text = f"{server} refused {letter.recipient}: {code} {_said(said)}"
            raise (PermanentError if code >= 500 else TransientError)(text) from refusal
        except smtplib.SMTPResponseException as refusal:
            text = f"{server} refused it: {refusal.smtp_code} {_said(refusal.smtp_error)}"
            kind = PermanentError if refusal.smtp_code >= 550 else TransientError
            raise kind(text) from refusal
        except ssl.SSLCertVerificationError as failure:
            raise TransientError(
                f"The mail server {server} can't be trusted: {failure.verify_message}."
            ) from failure
        except (smtplib.SMTPException, TimeoutError, socket.gaierror, OSError) as failure:
            raise TransientError(
                f"The mail server {server} can't be reached ({type(failure).__name__})."
            ) from failure
        except (flask_mail.BadHeaderError, MessageError, ValueError) as fault:
            text = f"The mail to {letter.recipient} can't be written: {fault}"
            raise PermanentError(text) from fault


def _said(answer: bytes | str) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer


def _own(settings: Settings) -> Flask:
    app = Flask("xtiger.mail")
    app.config.update(
        MAIL_SERVER=settings.mail_server,
        MAIL_PORT=settings.mail_port,
        MAIL_USE_TLS=settings.mail_tls,
        MAIL_USERNAME=settings.mail_username or None,
        MAIL_PASSWORD=settings.mail_password or None,
        MAIL_DEFAULT_SENDER=settings.mail_sender,
    )
    flask_mail.Mail(app)
    return app

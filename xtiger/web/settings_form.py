"""The form of the mail server, its rules in the pages' own words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

from flask_wtf import FlaskForm
from wtforms import Field, HiddenField, PasswordField, RadioField, SelectChoice, StringField
from wtforms.validators import ValidationError

from xtiger.mail import sender_of
from xtiger.ports import MailServer
from xtiger.web.forms import WholeField, at_most, between, required
from xtiger.web.words import say

#: One label of a host's name (RFC 1123, section 2.1).
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_PLAIN = {"autocomplete": "off", "spellcheck": "false"}
#: What each field is called where a sentence lists what changed.
_LABELS = {
    "host": "server",
    "port": "port",
    "security": "TLS",
    "username": "user",
    "sender": "sender",
}


def _host(_form: Any, field: Field) -> None:
    """A server's name or number, without scheme, port or path."""
    field.data = (field.data or "").strip().rstrip(".")
    if not _is_host(field.data):
        raise ValidationError(say("settings.host.bad", value=field.data))


def _plain(_form: Any, field: Field) -> None:
    """What sign-in can carry: SMTP has no other letters."""
    given = field.data or ""
    if not (given.isascii() and given.isprintable()):
        raise ValidationError(say("settings.plain"))


def _sender(_form: Any, field: Field) -> None:
    """An address, with or without a name before it."""
    field.data = (field.data or "").strip()
    try:
        sender_of(field.data)
    except ValueError:
        raise ValidationError(say("settings.sender.bad", value=field.data)) from None


def _is_host(text: str) -> bool:
    if not text.isascii():  # ip_address takes any letter behind a %
        return False
    try:
        ip_address(text)
    except ValueError:
        labels = text.split(".")
        # A last part of digits alone is an address that isn't one: 10.0.0.256
        return all(_LABEL.fullmatch(one) for one in labels) and not labels[-1].isdigit()
    return True


class MailServerForm(FlaskForm):  # type: ignore[misc]
    """How letters are handed over; an empty password keeps the one that is stored."""

    seen = HiddenField()
    host = StringField("Server", [required, at_most(253), _host], render_kw=_PLAIN)
    port = WholeField("Port", [required, between(Decimal(1), Decimal(65_535))])
    security = RadioField(
        "TLS",
        choices=[
            SelectChoice(each, say(f"settings.security.{each}"))
            for each in ("starttls", "tls", "none")
        ],
    )
    username = StringField("User", [at_most(255), _plain], render_kw=_PLAIN)
    password = PasswordField(
        "Password", [at_most(500), _plain], render_kw={"autocomplete": "new-password"}
    )
    sender = StringField("Sender", [required, at_most(255), _sender], render_kw=_PLAIN)

    def fits(self, stored: MailServer | None) -> bool:
        """Whether it can be used; a stored password goes to no server but the one it is for."""
        if not self.validate():
            return False
        username = (self.username.data or "").strip()
        kept = stored is not None and bool(stored.password) and not self.password.data
        if username and kept and stored and stored.host.lower() != self.host.data.lower():
            words = {"host": stored.host, "new": self.host.data}
            self.password.errors = [say("settings.password.again", **words)]
        elif username and not self.password.data and not kept:
            self.password.errors = [say("settings.password.needed", username=username)]
        elif username and self.security.data == "none" and not _is_here(self.host.data):
            self.security.errors = [say("settings.password.open")]
        return not (self.password.errors or self.security.errors)

    def server(self, stored: MailServer | None) -> MailServer:
        """What it asks for, with the stored password where none was given."""
        username = (self.username.data or "").strip()
        kept = stored.password if stored else ""
        return MailServer(
            host=self.host.data,
            port=self.port.data or 0,
            security=self.security.data,
            username=username,
            password=(self.password.data or kept) if username else "",
            sender=self.sender.data,
        )


def _is_here(host: str) -> bool:
    """Whether a name or number is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def data_of(server: MailServer) -> dict[str, Any]:
    """A server as the form shows it; its password never leaves the store."""
    return {each.name: getattr(server, each.name) for each in fields(server)} | {"password": ""}


def changes(before: MailServer | None, after: MailServer) -> Iterator[str]:
    """What saving changed, a few words each; of a password only that."""
    for name, label in _LABELS.items():
        new, old = getattr(after, name), getattr(before, name) if before else None
        if new == old:
            continue
        shown = _shown(name, new)
        if before is None:
            if new:
                yield say("settings.change.first", label=label, new=shown)
        else:
            yield say("settings.change", label=label, new=shown, old=_shown(name, old))
    if after.password != (before.password if before else ""):
        yield say("settings.change.secret" if after.password else "settings.change.no_secret")


def _shown(name: str, value: Any) -> str:
    if name == "security":
        return {"none": "none", "starttls": "STARTTLS", "tls": "TLS"}[value]
    return str(value) if value else say("settings.empty")

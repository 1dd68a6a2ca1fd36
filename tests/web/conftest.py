"""A host Flask app with XTiger's pages at a prefix, its own people, and some records."""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import sessionmaker
from werkzeug.test import TestResponse

from xtiger.crm.builtin import Contact, Invoice, InvoiceLine, Product, crm_of
from xtiger.domain.defaults import DEFAULTS
from xtiger.domain.records import Module
from xtiger.engine.services import Services
from xtiger.extension import XTiger
from xtiger.settings import Settings
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Binding,
    Connection,
    Flag,
    LogEntry,
    Mail,
    Organisation,
    Profile,
    QueueItem,
    Run,
    RunMail,
    Subscription,
    Template,
)
from xtiger.web.access import NOBODY, ROLES, Person

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
XERO_ID = "9c1f6b1e-0000-4000-8000-000000000001"
#: The link in a mail that ends its reader's subscription.
LINK = "http://localhost/xtiger/unsubscribe/1.secret"
#: A customer whose name is markup; pages must show it as text.
HOSTILE = '<script>alert("1")</script> Ltd'


class FixedClock:
    """The clock port at one moment."""

    def now(self) -> datetime:
        return NOW

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a page never sleeps")


class People:
    """The access port of a host: whoever the test says is signed in."""

    def __init__(self) -> None:
        self.current = NOBODY

    def be(self, role: str | None) -> None:
        self.current = (
            Person(role.capitalize(), f"{role}@example.com", role, ROLES[role], True)
            if role
            else NOBODY
        )

    def person(self) -> Person:
        return self.current

    def sign_in_url(self, next: str) -> str:
        return f"/host/sign-in?next={next}"

    def sign_out_url(self) -> str | None:
        return None

    def administrators(self) -> list[str]:
        return ["Ana", "Bea"]


class Browser:
    """A client that follows the pages' own forms."""

    def __init__(self, client: FlaskClient, people: People, app: Flask) -> None:
        self.client, self.people, self.app = client, people, app
        self.services: Services = app.extensions["xtiger"].services

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.client.get(f"/xtiger{path}", **more)

    def token(self) -> str:
        """The session's token, as every page carries it."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get("/").text)
        assert found
        return found[1]

    def post(self, path: str, **form: Any) -> TestResponse:
        return self.client.post(f"/xtiger{path}", data={"csrf_token": self.token(), **form})

    def after(self, answer: TestResponse) -> str:
        """The page a 303 leads to."""
        assert answer.status_code == 303, answer.text
        return self.client.get(answer.headers["Location"]).text


class Tags(HTMLParser):
    """All start tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
def app(migrated_sqlite_url: str, tmp_path: Path, people: People) -> Iterator[Flask]:
    """A host with its own database file; nothing in it yet."""
    url = migrated_sqlite_url
    app = Flask("host", instance_path=str(tmp_path / "instance"))
    app.config.update(
        SECRET_KEY="a host's own key",
        SQLALCHEMY_DATABASE_URI=url,
        XTIGER_SETTINGS=Settings(
            database_url=url,
            public_url="http://localhost/xtiger",
            xero_login_url="https://login.xero.test",
        ),
    )
    db = SQLAlchemy(app)
    with app.app_context():
        sessions = sessionmaker(db.engine, expire_on_commit=False)
    XTiger(app, db=db, crm=crm_of(sessions), access=people, small_crm=True, clock=FixedClock())
    yield app
    app.extensions["xtiger"].services.database.close()


@pytest.fixture
def empty(app: Flask, people: People) -> Browser:
    """An administrator's browser on an installation without anything."""
    people.be("administrator")
    return Browser(app.test_client(), people, app)


@pytest.fixture(scope="session")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the filled database is kept once the first test has filled one."""
    return tmp_path_factory.mktemp("filled") / "xtiger.sqlite"


def _copied(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as full, closing(sqlite3.connect(target)) as copy:
        full.backup(copy)


@pytest.fixture
def browser(empty: Browser, filled_file: Path) -> Browser:
    """An administrator's browser; one organisation, three invoices, one failed, one in Xero."""
    if empty.services.database.url.get_backend_name() != "sqlite":
        # The tests of two writers at once have PostgreSQL below the pages.
        _fill_crm(empty)
        _fill(empty.services)
        return empty
    own = Path(str(empty.services.database.url.database))
    if filled_file.exists():
        _copied(filled_file, own)
        return empty
    _fill_crm(empty)
    _fill(empty.services)
    _copied(own, filled_file)
    return empty


def _fill_crm(empty: Browser) -> None:
    with empty.app.app_context():
        session = empty.app.extensions["sqlalchemy"].session
        contact = Contact(name=HOSTILE, email="office@example.com")
        product = Product(code="W-1", name="Widget", price=Decimal("50"), tax_rate=Decimal(15))
        session.add_all([contact, product])
        session.flush()
        for number in range(1, 4):
            invoice = Invoice(
                number=f"INV-{number}",
                contact_id=contact.id,
                date=date(2026, 11, number),
                currency="NZD",
                amounts="exclusive",
                status="Approved",
                created_at=NOW,
                lines=[
                    InvoiceLine(
                        place=0,
                        product_id=product.id,
                        quantity=Decimal(number),
                        unit_price=Decimal("50.00"),
                        discount=Decimal(0),
                        tax_rate=Decimal(15),
                    )
                ],
            )
            invoice.count()
            session.add(invoice)
        session.commit()


def _fill(services: Services) -> None:
    with services.database.write() as session:
        connection = Connection(email="ana@acme.test", scope="", connected_at=NOW)
        session.add(connection)
        session.flush()
        acme = Organisation(
            connection_id=connection.id,
            tenant_id="3f2b7c10-9a43-4a65-9f50-1d0f6d0a1111",
            name="Acme NZ",
            country="NZ",
            currency="NZD",
            short_code="!aBc1",
            chosen=True,
            live_since=NOW - timedelta(days=1),
            auto_sync=True,
            day_left=812,
        )
        session.add(acme)
        session.flush()
        for module in Module:
            session.add(
                Profile(organisation_id=acme.id, module=module.value, rule="ticked", statuses=[])
            )
        for (module, kind), body in DEFAULTS.items():
            session.add(
                Template(
                    organisation_id=acme.id,
                    module=module.value,
                    document_type=kind.value if kind else "",
                    body=body,
                    made_at=NOW,
                )
            )
        run = Run(
            organisation_id=acme.id,
            kind="instant",
            requested_by="Ana",
            asked_at=NOW - timedelta(minutes=5),
            started_at=NOW - timedelta(minutes=5),
            ended_at=NOW - timedelta(minutes=4),
            due=2,
            succeeded=1,
            failed=1,
            calls=2,
        )
        session.add(run)
        session.flush()
        version = services.crm.scan(Module.INVOICES, after=None, limit=1)[0].version
        _step(session, acme, run, 1, "succeeded", version)
        _step(session, acme, run, 2, "failed", version)
        reader = Subscription(
            address="manager@example.com",
            after_sync=True,
            zone="Pacific/Auckland",
            made_by="Ana",
            made_at=NOW,
        )
        session.add(reader)
        session.flush()
        mail = Mail(
            run_id=run.id,
            subscription_id=reader.id,
            organisation_id=acme.id,
            recipient="ana@example.com",
            subject="[XTiger] Acme NZ: 1 synced, 1 needs you",
            text=f"{LINK}\n",
            html=f'<p style="color:red">1 synced</p><a href="{LINK}">Stop</a>',
            attachment=zlib.compress(b"Time\r\n"),
            attachment_name="acme.csv",
            unsubscribe=LINK,
            message_id="m",
            state="sent",
            made_at=NOW,
            sent_at=NOW,
        )
        session.add(mail)
        session.flush()
        session.add(RunMail(run_id=run.id, mailbox="ana@example.com", mail_id=mail.id))


def _step(
    session: Any, acme: Organisation, run: Run, number: int, state: str, version: str
) -> None:
    """One settled item with its call, its log entry, and its binding if it is in Xero."""
    good = state == "succeeded"
    label = f"INV-{number}"
    item = QueueItem(
        organisation_id=acme.id,
        module="Invoices",
        record_id=str(number),
        label=label,
        resource="Invoices",
        rank=50,
        state=state,
        slot=None if good else f"Invoices:{number}",
        cause=None if good else "account archived 200",
        sentence=None if good else "Account 200 is archived in Xero. Choose another account.",
        tries=0 if good else 1,
        run_id=run.id,
        added_at=NOW - timedelta(minutes=6),
        changed_at=NOW - timedelta(minutes=5),
    )
    sent = {"Invoices": [{"InvoiceNumber": label, "Reference": HOSTILE}]}
    came = {"Invoices": [{"InvoiceID": XERO_ID, "Status": "AUTHORISED", "InvoiceNumber": label}]}
    attempt = Attempt(
        organisation_id=acme.id,
        run_id=run.id,
        fence=1,
        resource="Invoices",
        verb="PUT",
        idempotency_key=f"key-{number}",
        body=zlib.compress(json.dumps(sent).encode()),
        body_hash="ab" * 32,
        opened_at=NOW,
        closed_at=NOW,
        status=200,
        answer_headers={"content-type": "application/json"},
        answer=zlib.compress(json.dumps(came).encode()),
        outcome="settled",
    )
    session.add_all([item, attempt, Flag(module="Invoices", record_id=str(number), allow=True)])
    session.flush()
    session.add(
        AttemptElement(
            attempt_id=attempt.id,
            place=0,
            item_id=item.id,
            meant={"Status": "AUTHORISED"},
            label=label,
        )
    )
    session.add(
        LogEntry(
            at=NOW - timedelta(minutes=4),
            organisation_id=acme.id,
            run_id=run.id,
            item_id=item.id,
            attempt_id=attempt.id,
            place=0,
            module="Invoices",
            record_id=str(number),
            label=label,
            xero_id=XERO_ID if good else None,
            action="Create",
            outcome=state,
            cause=item.cause,
            sentence=item.sentence or "Is in Xero and was read back.",
            quoted=[] if good else ["Account code '200' is archived."],
            amount=Decimal("57.50"),
            currency="NZD",
            duration_ms=420,
        )
    )
    if good:
        session.add(
            Binding(
                organisation_id=acme.id,
                module="Invoices",
                record_id=str(number),
                resource="Invoices",
                document_type="Invoice",
                xero_id=XERO_ID,
                number=label,
                xero_status="AUTHORISED",
                agreed_hash="h",
                agreed={},
                record_version=version,
                bound_at=NOW,
                agreed_at=NOW,
            )
        )


#: Every page that shows something, with an address that exists in `browser`.
ADDRESSES = {
    "dashboard": "/",
    "dashboard_live": "/_live",
    "search": "/search?q=INV",
    "records_home": "/records",
    "records": "/records/Invoices",
    "record": "/records/Invoices/2",
    "record_live": "/records/Invoices/2/_live",
    "queue": "/queue?state=all",
    "queue_live": "/queue/_live",
    "queue_csv": "/queue.csv",
    "queue_item": "/queue/2",
    "queue_confirm": "/queue/retry",
    "queue_say_ask": "/queue/2/say?said=not-there",
    "runs": "/runs",
    "runs_live": "/runs/_live",
    "run": "/runs/1",
    "run_live": "/runs/1/_live",
    "logs": "/logs",
    "logs_csv": "/logs.csv",
    "log": "/logs/2",
    "api_details": "/api-details",
    "api_disconnect_ask": "/api-details/1/disconnect",
    "connection_callback": "/connection/callback",
    "what_syncs": "/what-syncs",
    "what_profile": "/what-syncs/1/Invoices",
    "what_add_ask": "/what-syncs/1/Invoices/add",
    "mapping": "/mapping",
    "mapping_of": "/mapping/1/Invoices",
    "mapping_add_ask": "/mapping/1/Invoices/add",
    "mapping_versions": "/mapping/1/Invoices/versions?old=1",
    "mapping_json": "/mapping/1/Invoices.json",
    "xero_accounts": "/xero-accounts",
    "xero_accounts_replace": "/xero-accounts/1/replace?kind=accounts&code=200",
    "email_notification": "/email-notification",
    "email_new": "/email-notification/new",
    "email_edit": "/email-notification/1",
    "reports": "/reports",
    "reports_csv": "/reports.csv",
    "reports_figures": "/reports/figures?of=daily&day=2026-11-20",
    "reports_figures_csv": "/reports/figures.csv?of=daily&day=2026-11-20",
    "report": "/reports/1",
    "report_shown": "/reports/1/shown",
    "report_file": "/reports/1/file",
    "settings": "/settings",
    "crm_new": "/crm/Invoices/new",
    "crm_edit": "/crm/Invoices/2/edit",
}

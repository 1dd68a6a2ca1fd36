"""Mapping in Chromium: a CRM's custom field, looked up, tried, saved, sent, and taken back."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import Engine as SqlEngine
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from werkzeug.serving import make_server

from tests.browser.looking import look
from tests.contract.conftest import SandboxClient
from tests.web.conftest import People
from xtiger.crm.builtin import CONTACTS
from xtiger.crm.sql import Snapshot, SqlCrm, SqlModule
from xtiger.domain.records import Field, Module, ModuleInfo, RecordRef
from xtiger.engine import intake, scheduler
from xtiger.engine.connection import connect
from xtiger.extension import XTiger
from xtiger.settings import Settings
from xtiger.store.schema import Database, migrate

pytestmark = pytest.mark.browser

BRANCH = Field("cf_branch", "Branch", custom=True)
#: The host's contacts: those of the small CRM, and a field that its people added.
CLIENTS = ModuleInfo(Module.CONTACTS, (*CONTACTS.fields, BRANCH), statuses=("Active",))
AREA = "Phones.DDI.PhoneAreaCode"


class HostBase(DeclarativeBase):
    """The host's own tables."""


class Client(HostBase):
    """A contact as the host CRM keeps it."""

    __tablename__ = "client"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    email: Mapped[str | None] = mapped_column(String(255))
    branch: Mapped[str | None] = mapped_column(String(20))


def read(client: Client) -> Snapshot:
    fields: dict[str, Any] = {one.name: None for one in CONTACTS.fields}
    fields |= {"name": client.name, "email": client.email, "cf_branch": client.branch}
    return Snapshot(client.name, fields, datetime(2026, 11, 1, tzinfo=UTC), status="Active")


class Host:
    """A CRM with XTiger in it, served on loopback and connected with a local Xero."""

    def __init__(self, folder: Path, xero: Any) -> None:
        url = f"sqlite:///{folder / 'host.sqlite'}"
        migrated = Database(url)
        migrate(migrated)
        migrated.close()
        self.app = Flask("host", instance_path=str(folder / "instance"))
        self.people = People()
        self.people.be("administrator")
        self.server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self.url = f"http://localhost:{self.server.server_port}"
        self.app.config.update(
            SECRET_KEY="a host's own key",
            SQLALCHEMY_DATABASE_URI=url,
            XTIGER_SETTINGS=Settings(
                database_url=url,
                public_url=f"{self.url}/xtiger",
                xero_login_url=xero.identity_url,
                xero_identity_url=xero.identity_url,
                xero_api_url=xero.api_url,
                xero_app_url=xero.api_url,
                xero_client_id=xero.client_id,
                xero_client_secret=xero.client_secret,
            ),
        )
        db = SQLAlchemy(self.app)
        with self.app.app_context():
            engine: SqlEngine = db.engine
        HostBase.metadata.create_all(engine)
        sessions = sessionmaker(engine, expire_on_commit=False)
        with sessions.begin() as session:
            session.add(Client(name="Ana Lee Ltd", email="ana@lee.test", branch="AKL"))
            session.add(Client(name="Bo Tan", branch="WLG"))
        crm = SqlCrm(
            [SqlModule(CLIENTS, Client, read, search=(Client.name,))], sessions=sessions, key="H"
        )
        self.xero = xero
        self.services = XTiger(self.app, db=db, crm=crm, access=self.people).services
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def connect(self) -> int:
        """The consent flow, one organisation, both contacts in Xero."""
        begun = connect.begin(self.services, who="Ana")
        answer = requests.get(begun.url, allow_redirects=False, timeout=10)
        query = parse_qs(urlsplit(answer.headers["Location"]).query)
        args = {key: values[0] for key, values in query.items()}
        offered = connect.finish(self.services, sealed=begun.sealed, args=args, who="Ana")
        kauri = next(row for row in offered if row.name == "Kauri Trading")
        (chosen,) = connect.choose(self.services, [kauri.tenant_id], who="Ana")
        connect.go_live(self.services, chosen.id, who="Ana")
        for one in ("1", "2"):
            intake.set_flag(self.services, RecordRef(Module.CONTACTS, one), who="Ana", allow=True)
        self.sync(int(chosen.id))
        return int(chosen.id)

    def sync(self, organisation: int) -> None:
        scheduler.sync_now(self.services, organisation_id=None, modules=None, who="Ana")
        scheduler.work(self.services, organisation)

    def area_codes(self) -> dict[str, str]:
        """What Xero has, as another client of it sees."""
        rows = SandboxClient(self.xero).get("Contacts?page=1").json()["Contacts"]
        return {
            row["Name"]: next(
                (one["PhoneAreaCode"] for one in row["Phones"] if one["PhoneType"] == "DDI"), ""
            )
            for row in rows
        }

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join(10)
        self.services.database.close()


@pytest.fixture
def host(tmp_path: Path, local_xero: Any) -> Iterator[Host]:
    host = Host(tmp_path, local_xero)
    yield host
    host.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    assert path, "Install Debian's chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update"],
        )  # fmt: skip
        yield browser
        browser.close()


def opened(chromium: Browser, **context: Any) -> tuple[Page, list[str]]:
    """A page of a fresh browser, and whatever its console will say."""
    page = chromium.new_context(viewport={"width": 1280, "height": 860}, **context).new_page()
    page.set_default_timeout(15_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    return page, said


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_custom_field_is_mapped_with_a_lookup_tested_saved_sent_and_restored(
    host: Host, chromium: Browser, script: bool
) -> None:
    organisation = host.connect()
    page, said = opened(chromium, java_script_enabled=script)
    page.goto(f"{host.url}/xtiger/mapping/{organisation}/Contacts?record=Ana Lee Ltd")
    page.get_by_text(re.compile(r"CRM fields not sent \(\d+\)")).click()
    expect(page.locator(".chips").get_by_text("Branch (custom)")).to_be_visible()

    def show() -> None:
        if not script:
            page.get_by_role("button", name="Show", exact=True).last.click()

    # the custom field, and its result as it is
    page.get_by_text(re.compile(r"Xero fields without a value")).click()
    page.get_by_label(f"CRM field or value for {AREA}").select_option("Branch (custom)")
    show()
    row = page.get_by_role("row").filter(has=page.get_by_text(AREA, exact=True))
    expect(row.get_by_text("AKL", exact=True)).to_be_visible()

    # a lookup, whose form comes by itself, and its result while it is filled in
    page.get_by_label(f"Transform for {AREA}").select_option("looked up in a table")
    show()
    for place, (code, name) in enumerate((("AKL", "09"), ("WLG", "04")), 1):
        page.get_by_label(f"From, entry {place} of {AREA}").fill(code)
        page.get_by_label(f"To, entry {place} of {AREA}").fill(name)
    show()
    expect(row.get_by_text("09", exact=True)).to_be_visible()
    look(page, "mapping-lookup")

    # Test shows the request; nothing is sent
    calls = host.area_codes()
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_text('"PhoneAreaCode": "09"')).to_be_visible()
    expect(page.get_by_text("Nothing was sent.")).to_be_visible()
    expect(page.get_by_text("Saving this, 2 records in Xero would change.")).to_be_visible()
    assert host.area_codes() == calls == {"Ana Lee Ltd": "", "Bo Tan": ""}
    page.get_by_role("button", name="Keep Ana Lee Ltd as a test").click()
    expect(
        page.get_by_text("Kept as the test “Ana Lee Ltd”. It runs on each save.")
    ).to_be_visible()
    look(page, "mapping-test")

    # Save, and the Queue on demand
    page.get_by_role("button", name="Save", exact=True).click()
    saved = "Saved as v2. 2 records in Xero would change; they aren't sent until you add them."
    expect(page.get_by_text(saved)).to_be_visible()
    look(page, "mapping-saved")
    page.get_by_role("button", name="Add to Queue").click()
    expect(page.get_by_text("Added 2 contacts to the Queue, places #")).to_be_visible()
    host.sync(organisation)
    assert host.area_codes() == {"Ana Lee Ltd": "09", "Bo Tan": "04"}

    # its test stops a restore of the old version until it is removed
    page.get_by_role("link", name="Versions").click()
    page.get_by_role("link", name="What v2 changed").click()
    expect(page.get_by_role("row").filter(has_text=AREA)).to_contain_text("AKL = 09")
    look(page, "mapping-versions")
    page.get_by_role("button", name="Restore v1").click()
    fails = f"The test “Ana Lee Ltd” fails: {AREA} is empty, 09 is expected."
    expect(page.get_by_text(fails).first).to_be_visible()
    page.get_by_role("button", name="Remove the test Ana Lee Ltd").click()
    expect(page.get_by_text("The test “Ana Lee Ltd” is removed.")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved as v3.")).to_be_visible()
    expect(page.get_by_label(f"CRM field or value for {AREA}")).to_have_value("")
    assert [line for line in said if "422" not in line] == []


def test_the_old_version_is_restored_in_one_click(host: Host, chromium: Browser) -> None:
    organisation = host.connect()
    page, said = opened(chromium)
    page.goto(f"{host.url}/xtiger/mapping/{organisation}/Contacts")
    page.get_by_label("CRM field or value for EmailAddress").select_option("not sent")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved as v2.")).to_be_visible()
    page.get_by_role("link", name="Versions").click()
    page.get_by_role("button", name="Restore v1").click()
    expect(page.get_by_text("v1 is in use again, as v3.")).to_be_visible()
    chosen = page.get_by_label("CRM field or value for EmailAddress")
    expect(chosen).to_have_value("field:email")
    assert said == []


def test_choosing_a_transform_changes_no_field_behind_ones_back(
    host: Host, chromium: Browser
) -> None:
    """A formula names its fields itself: the list says so, and names no other field."""
    organisation = host.connect()
    page, said = opened(chromium)
    page.goto(f"{host.url}/xtiger/mapping/{organisation}/Contacts")
    chosen = page.get_by_label("CRM field or value for EmailAddress")
    transform = page.get_by_label("Transform for EmailAddress")
    expect(chosen).to_have_value("field:email")
    transform.select_option("formula")
    expect(chosen).to_have_value("made")
    transform.select_option("text")
    expect(chosen).not_to_have_value(re.compile("field:(?!email)"))
    assert said == []


@pytest.mark.parametrize("width", [375, 1280])
def test_the_pages_fit_and_stay_quiet(host: Host, chromium: Browser, width: int) -> None:
    organisation = host.connect()
    page, said = opened(chromium)
    page.set_viewport_size({"width": width, "height": 800})
    at = f"{host.url}/xtiger/mapping/{organisation}/Contacts"
    page.goto(at)
    for fold in page.locator("main details").all():
        fold.evaluate("each => { each.open = true }")
    page.get_by_label(f"CRM field or value for {AREA}").select_option("Branch (custom)")
    page.get_by_label(f"Transform for {AREA}").select_option("joined")
    expect(page.get_by_text("Joins several values to one text").last).to_be_visible()
    for name in ("page", "tested"):
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is {wide} px too wide at {width}"
        look(page, f"mapping-{name}-{width}")
        page.get_by_role("button", name="Test", exact=True).click()
        expect(page.get_by_text("The request as JSON").first).to_be_visible()
    page.goto(f"{at}/versions?old=1")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert said == []

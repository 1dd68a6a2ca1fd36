"""API details: the kind of app, its permissions, limits, and what connections lack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from tests.web.conftest import NOW, Browser, Tags
from tests.web.test_queue_pages import add
from xtiger.engine.connection import connect, permissions
from xtiger.ports import Tenant, TokenSet, Usage
from xtiger.store import usage
from xtiger.store.models import Connection, Organisation

APP = {"client_id": "MYAPP", "client_secret": "very-secret-4f2a", "kind": "web", "boxes": "1"}


def consent(browser: Browser, **values: Any) -> None:
    with browser.services.database.write() as session:
        row = session.scalars(select(Connection)).one()
        for name, value in values.items():
            setattr(row, name, value)


def text(page: str) -> str:
    return page.replace("&#39;", "'")


def test_what_was_ticked_is_asked_for_and_stays_ticked(browser: Browser) -> None:
    page = browser.after(browser.post("/api-details", **APP, extras=["bank"]))
    ticked = {
        each["value"]
        for each in Tags(page).all("input")
        if each.get("name") == "extras" and "checked" in each
    }
    assert ticked == {"bank"}
    url = browser.post("/api-details/connect").headers["Location"]
    [scope] = parse_qs(urlsplit(url).query)["scope"]
    assert scope.endswith("accounting.attachments accounting.banktransactions")
    page = browser.after(browser.post("/api-details", **APP))
    assert "accounting.banktransactions" not in page


def test_a_missing_permission_is_a_sentence_with_its_button(browser: Browser) -> None:
    browser.post("/api-details", **APP)
    granted = permissions.scopes()
    consent(browser, scope=granted)
    assert "the connection lacks" not in browser.get("/api-details").text
    consent(browser, scope=granted.replace(" accounting.payments", ""))
    page = text(browser.get("/api-details").text)
    assert "Payments can't sync: the connection lacks “accounting.payments”." in page
    assert "Connect again" in page
    assert page.count("not granted") == 1
    consent(browser, scope=permissions.scopes(broad=True))
    assert "the connection lacks" not in browser.get("/api-details").text


def test_an_old_app_is_asked_for_the_broad_scopes(browser: Browser) -> None:
    settings = replace(browser.services.settings, xero_scopes="broad")
    browser.services.settings = settings
    browser.post("/api-details", **APP)
    page = browser.get("/api-details").text
    assert "accounting.transactions" in page
    assert "XTIGER_XERO_SCOPES" in page
    assert "accounting.invoices" not in page


class OneOrganisation:
    """What a custom connection needs of Xero."""

    def client_credentials(self, *, client_id: str, secret: str, scopes: str) -> TokenSet:
        assert (client_id, secret) == ("MYAPP", "very-secret-4f2a")
        return TokenSet("token", NOW, scopes)

    def tenants(self, access_token: str) -> list[Tenant]:
        return [Tenant("link", "tenant", "Kea Ltd")]


def test_a_custom_connection_connects_without_a_page_of_xero(browser: Browser) -> None:
    page = browser.after(browser.post("/api-details", **{**APP, "kind": "custom"}))
    assert "A custom connection needs no consent page" in page
    assert "offline_access" not in page
    browser.services.xero = OneOrganisation()  # type: ignore[assignment]
    page = browser.after(browser.post("/api-details/connect"))
    assert "Connected. Choose the organisations to sync." in page
    assert "Kea Ltd" in page


def test_what_the_environment_fixes_is_shown_locked(browser: Browser) -> None:
    browser.services.settings = replace(
        browser.services.settings, xero_app_kind="custom", xero_webhook_key="hush-hush"
    )
    page = browser.get("/api-details").text
    assert "Set by XTIGER_XERO_APP_KIND." in page
    assert "Set by XTIGER_XERO_WEBHOOK_KEY." in page
    assert "hush-hush" not in page
    assert not [one for one in Tags(page).all("input") if one.get("name") in ("kind", "key")]
    browser.post("/api-details", **APP)
    assert connect.app_details(browser.services).kind == "custom"


def test_a_kind_of_app_that_there_isnt_is_not_kept(browser: Browser) -> None:
    browser.post("/api-details", **{**APP, "kind": "desktop"})
    assert connect.app_details(browser.services).kind == "web"


def test_calls_left_and_data_used_today_are_shown(browser: Browser) -> None:
    page = browser.get("/api-details").text
    assert "812 of 1,000" in page
    assert "no call today" in page
    with browser.services.database.write() as session:
        row = session.scalars(select(Organisation)).one()
        row.day_left, row.day_left_at = 786, NOW
        taken = Usage(row.tenant_id, 214, 1_200_000, 3_400_000)
        usage.add(session, [taken], now=NOW)
    page = browser.get("/api-details").text
    assert "786 of 1,000" in page
    assert "today 214 calls, 1.2 MB out, 3.4 MB in" in page


@pytest.mark.parametrize(
    ("given", "said", "kept"),
    [
        ("5000", "Acme NZ may take 5,000 calls a day.", 5000),
        ("60", "Xero allows 1,000 or 5,000 calls a day; choose one of them.", 1000),
        ("", "Xero allows 1,000 or 5,000 calls a day; choose one of them.", 1000),
    ],
)
def test_the_day_limit_is_one_of_xeros(browser: Browser, given: str, said: str, kept: int) -> None:
    page = browser.after(browser.post("/api-details/1/day-limit", day_limit=given))
    assert said in page
    with browser.services.database.read() as session:
        assert session.get_one(Organisation, 1).day_limit == kept


def test_an_organisation_taken_out_in_xero_says_so_on_every_page(browser: Browser) -> None:
    with browser.services.database.write() as session:
        row = session.get_one(Organisation, 1)
        row.removed, row.removed_at = "Acme NZ was taken out of the connection in Xero.", NOW
    assert "Acme NZ is disconnected since 03:00: Acme NZ was taken out" in browser.get("/logs").text
    assert "XTiger can&#39;t reach Acme NZ" in browser.get("/").text
    assert "Disconnected" in browser.get("/api-details").text


def test_who_was_taken_out_before_the_consent_ended_is_told_so_and_named_after_a_new_one(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new consent without it changes nothing about it: neither cause nor remedy."""
    with browser.services.database.write() as session:
        row = session.get_one(Organisation, 1)
        row.removed, row.removed_at = "It was taken out of the connection.", NOW
        connection = session.get_one(Connection, row.connection_id)
        connection.broken, connection.broken_at = "Xero ended this consent.", NOW
    page = browser.get("/logs").text
    assert "It was taken out of the connection." in page
    assert "Xero ended this consent." not in page
    monkeypatch.setattr(connect, "finish", lambda *_, **__: [])
    page = browser.after(browser.get("/connection/callback?code=x&state=x"))
    assert "Connected. What waited goes on by itself, in order." in page
    assert "This consent is without Acme NZ: nothing is sent there." in page


@pytest.mark.parametrize(
    ("pending", "said"),
    [
        (0, "No record waits for that."),
        (1, "1 record waits and goes by itself once reconnected."),
        (2, "2 records wait in order and go by themselves once reconnected."),
    ],
)
def test_what_a_failed_record_blocks_isnt_said_to_go_once_reconnected(
    browser: Browser, pending: int, said: str
) -> None:
    with browser.services.database.write() as session:
        gone = {"removed": "It is out.", "removed_at": NOW}
        session.add(Organisation(id=2, tenant_id="uk", name="Acme UK", chosen=True, **gone))
    failed = add(browser, "C-1", "failed", organisation_id=2)
    add(browser, "INV-90", "blocked", organisation_id=2, blocked_by=failed)
    for number in range(pending):
        add(browser, f"C-{number + 2}", "pending", organisation_id=2)
    assert said in browser.get("/logs").text
    waits = f"{pending} record{'s wait' if pending != 1 else ' waits'}."
    assert f"its consent ended 03:00. {waits}" in browser.get("/").text

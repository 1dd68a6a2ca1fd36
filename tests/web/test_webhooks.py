"""Xero's webhooks over HTTP: signed, kept before they are answered, answered with nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask_wtf import CSRFProtect
from sqlalchemy import select
from waitress.server import create_server
from werkzeug.test import TestResponse

from tests.web.conftest import NOW, Browser, People
from xtiger.app import create_app
from xtiger.domain.errors import TransientError
from xtiger.engine.connection import webhooks
from xtiger.extension import XTiger
from xtiger.store import inbox
from xtiger.store.models import Organisation, Setting, Webhook, XeroChange
from xtiger.store.schema import migrate
from xtiger.web.webhooks import MOST_BYTES

KEY = "a key of Xero's, 0123456789+/=="
ACME = "3f2b7c10-9a43-4a65-9f50-1d0f6d0a1111"


def event(number: int = 1, **more: Any) -> dict[str, Any]:
    xero_id = f"00000000-0000-4000-8000-{number:012d}"
    return {
        "resourceUrl": f"https://api.xero.com/api.xro/2.0/Invoices/{xero_id}",
        "resourceId": xero_id,
        "tenantId": ACME,
        "tenantType": "ORGANISATION",
        "eventCategory": "INVOICE",
        "eventType": "UPDATE",
        "eventDateUtc": "2026-11-21T02:58:00.123",
        **more,
    }


def delivery(*events: dict[str, Any], first: int | None = None) -> bytes:
    """As Xero writes one: numbered, spaced in its own way."""
    start = first if first is not None else (1 if events else 0)
    last = start + len(events) - 1 if events else start
    body = {"events": list(events), "lastEventSequence": last, "firstEventSequence": start}
    return json.dumps({**body, "entropy": "XWQJLTFZPQBIBUDGTEOF"}, indent=1).encode()


def signature(body: bytes, key: str = KEY) -> str:
    return base64.b64encode(hmac.digest(key.encode(), body, hashlib.sha256)).decode()


@pytest.fixture
def keyed(browser: Browser, people: People) -> Browser:
    """A browser on an installation that knows the key; nobody is signed in."""
    webhooks.save_key(browser.services, KEY, who="Ana")
    people.be(None)
    return browser


def post(browser: Browser, body: bytes, *, signed: str | None = None, **more: Any) -> TestResponse:
    headers = {"x-xero-signature": signature(body) if signed is None else signed}
    return browser.client.post(
        "/xtiger/webhooks/xero",
        data=body,
        headers={name: value for name, value in headers.items() if value},
        content_type="application/json",
        **more,
    )


def kept(browser: Browser) -> list[Webhook]:
    with browser.services.database.read() as session:
        return list(session.scalars(select(Webhook).order_by(Webhook.id)))


def test_a_signed_delivery_is_kept_as_it_came_and_answered_with_nothing(keyed: Browser) -> None:
    body = delivery(event())
    answer = post(keyed, body)
    assert (answer.status_code, answer.data) == (200, b"")
    assert "Set-Cookie" not in answer.headers
    [row] = kept(keyed)
    assert (row.body, row.received_at, row.handled_at) == (body, NOW, None)


@pytest.mark.parametrize("given", ["", "no base64!", signature(b"other"), "c2lnbmF0dXJl"])
def test_another_signature_is_refused_and_nothing_is_kept(keyed: Browser, given: str) -> None:
    answer = post(keyed, delivery(event()), signed=given)
    assert (answer.status_code, answer.data) == (401, b"")
    assert "Set-Cookie" not in answer.headers
    assert kept(keyed) == []


def test_a_body_that_was_touched_is_refused(keyed: Browser) -> None:
    body = delivery(event())
    for touched in (
        body + b"\n",
        body.replace(b"INVOICE", b"CONTACT"),
        json.dumps(json.loads(body)),
    ):
        raw = touched if isinstance(touched, bytes) else touched.encode()
        assert post(keyed, raw, signed=signature(body)).status_code == 401
    assert kept(keyed) == []


def test_intent_to_receive_is_answered_by_its_signature_alone(keyed: Browser) -> None:
    body = delivery()
    assert post(keyed, body).status_code == 200
    assert post(keyed, body, signed=signature(body, "another key")).status_code == 401


def test_without_a_key_nothing_is_taken(browser: Browser) -> None:
    body = delivery(event())
    assert post(browser, body, signed=signature(body, "")).status_code == 401
    assert kept(browser) == []


def test_the_environments_key_is_the_one_that_counts(keyed: Browser) -> None:
    keyed.services.settings = replace(keyed.services.settings, xero_webhook_key="locked")
    body = delivery(event())
    assert post(keyed, body).status_code == 401
    assert post(keyed, body, signed=signature(body, "locked")).status_code == 200
    webhooks.save_key(keyed.services, "another", who="Ana")
    assert webhooks.key(keyed.services) == "locked"


def test_a_body_beyond_all_bounds_is_not_read(keyed: Browser) -> None:
    body = b" " * (MOST_BYTES + 1)
    answer = post(keyed, body)
    assert (answer.status_code, answer.data) == (413, b"")
    assert kept(keyed) == []


def test_a_thousand_events_are_taken_within_a_second(keyed: Browser) -> None:
    """Of the processor's time: the machine may have more to do."""
    body = delivery(*(event(number) for number in range(1000)))
    assert len(body) < MOST_BYTES
    began = time.thread_time()
    assert post(keyed, body).status_code == 200
    assert time.thread_time() - began < 1
    began = time.thread_time()
    assert webhooks.handle(keyed.services) == 1
    assert time.thread_time() - began < 5
    with keyed.services.database.read() as session:
        assert len(session.scalars(select(XeroChange.id)).all()) == 1000


def test_a_database_that_is_away_lets_xero_send_again(
    keyed: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise TransientError("The database doesn't answer.")

    monkeypatch.setattr(webhooks, "receive", away)
    answer = post(keyed, delivery(event()))
    assert (answer.status_code, answer.data) == (503, b"")


def test_a_page_is_never_read_at_this_address(keyed: Browser) -> None:
    assert keyed.get("/webhooks/xero").status_code in {403, 404, 405}


@pytest.mark.parametrize("first", ["host", "xtiger"])
def test_a_hosts_own_csrf_protection_lets_xero_in(keyed: Browser, app: Flask, first: str) -> None:
    host = Flask("second", instance_path=app.instance_path)
    host.config.update(app.config)
    if first == "host":
        CSRFProtect(host)
    host.extensions["sqlalchemy"] = app.extensions["sqlalchemy"]
    old: XTiger = app.extensions["xtiger"]
    with app.app_context():
        db, crm = app.extensions["sqlalchemy"], old.services.crm
        url = db.engine.url
    fresh = XTiger(db=_Db(url), crm=_Unwatched(crm), access=old.access)
    fresh.init_app(host)
    if first == "xtiger":
        CSRFProtect(host)
    fresh.services.ring = old.services.ring
    body = delivery(event())
    answer = host.test_client().post(
        "/xtiger/webhooks/xero", data=body, headers={"x-xero-signature": signature(body)}
    )
    assert answer.status_code == 200
    assert host.test_client().post("/xtiger/api-details").status_code == 400
    fresh.services.database.close()


class _Db:
    """What XTiger asks of a host's Flask-SQLAlchemy."""

    def __init__(self, url: Any) -> None:
        self.engine = type("Engine", (), {"url": url})
        self.session = None


class _Unwatched:
    """The CRM port alone; its sessions are the first app's."""

    def __init__(self, crm: Any) -> None:
        self.key = crm.key


@pytest.fixture
def served(keyed: Browser) -> Iterator[str]:
    """The host behind the real web server."""
    server: Any = create_server(keyed.app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}/xtiger/webhooks/xero"
    server.close()
    thread.join(5)


def test_over_a_real_connection(served: str, keyed: Browser) -> None:
    body = delivery(*(event(number) for number in range(1000)))
    good = requests.post(
        served, data=body, headers={"x-xero-signature": signature(body)}, timeout=5
    )
    assert (good.status_code, good.content, good.headers.get("Set-Cookie")) == (200, b"", None)
    bad = requests.post(served, data=body, headers={"x-xero-signature": "x"}, timeout=5)
    assert (bad.status_code, bad.content, bad.headers.get("Set-Cookie")) == (401, b"", None)
    huge = requests.post(served, data=b" " * (MOST_BYTES + 1), timeout=5)
    assert huge.status_code == 413
    chunks = (part for part in (body[:100], body[100:]))
    streamed = requests.post(
        served, data=chunks, headers={"x-xero-signature": signature(body)}, timeout=5
    )
    assert streamed.status_code == 200
    assert [row.body for row in kept(keyed)] == [body, body]


def test_the_standalone_server_takes_them_without_a_cookie(tmp_path: Path) -> None:
    app = create_app(
        instance=tmp_path / "instance",
        environment={
            "XTIGER_DATABASE_URL": f"sqlite:///{tmp_path / 'x.sqlite'}",
            "XTIGER_XERO_WEBHOOK_KEY": KEY,
        },
    )
    services = app.extensions["xtiger"].services
    migrate(services.database)
    body = delivery(event())
    for good in (True, False):
        headers = {"x-xero-signature": signature(body) if good else "x"}
        answer = app.test_client().post("/webhooks/xero", data=body, headers=headers)
        assert (answer.status_code, answer.data) == (200 if good else 401, b"")
        assert "Set-Cookie" not in answer.headers
    assert webhooks.handle(services) == 1
    services.database.close()


def test_the_page_sets_the_key_and_never_shows_it(browser: Browser) -> None:
    page = browser.get("/api-details").text
    assert "http://localhost/xtiger/webhooks/xero" in page
    assert "Not set" in page
    answer = browser.post("/api-details/webhook-key", key=KEY)
    assert "The webhook key is saved." in browser.after(answer)
    assert KEY not in browser.get("/api-details").text
    with browser.services.database.read() as session:
        row = session.get_one(Setting, "xero_webhook_key")
        assert row.sealed
        assert KEY not in str(row.value)
    assert browser.post("/api-details/webhook-key", key=" ").status_code == 422


def test_the_page_says_when_the_last_one_came_and_what_was_missed(keyed: Browser) -> None:
    post(keyed, delivery(event(), first=1))
    webhooks.handle(keyed.services)
    post(keyed, delivery(event(2), first=9))
    webhooks.handle(keyed.services)
    keyed.people.be("administrator")
    page = keyed.get("/api-details").text
    assert "last 03:00" in page
    assert "Xero&#39;s webhooks since 02:58 didn&#39;t all arrive." in page
    with keyed.services.database.read() as session:
        assert session.scalars(select(Organisation.webhook_at)).one() == NOW


class Hands:
    """A clock that is moved on by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        raise AssertionError("no delivery sleeps")


def refusals(browser: Browser) -> list[tuple[str, datetime | None]]:
    with browser.services.database.read() as session:
        rows = session.scalars(select(Setting).where(Setting.name == inbox.REFUSED)).all()
        return [(row.value["why"], row.changed_at) for row in rows]


def told(browser: Browser) -> str:
    browser.people.be("administrator")
    page = browser.get("/api-details").text.replace("&#39;", "'")
    browser.people.be(None)
    return page


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "Refused 03:00: it wasn't signed, so it wasn't Xero's."),
        ("c2lnbmF0dXJl", "Refused 03:00: its signature isn't that of the key set here."),
    ],
)
def test_the_page_says_when_and_why_one_was_refused(
    keyed: Browser, given: str, sentence: str
) -> None:
    assert "Refused" not in told(keyed)
    post(keyed, delivery(event()), signed=given)
    assert sentence in told(keyed)


def test_the_page_says_that_one_came_before_there_was_a_key(browser: Browser) -> None:
    browser.people.be(None)
    post(browser, delivery(event()))
    assert "Refused 03:00: no key was set here. Paste the webhook's key" in told(browser)


def test_the_page_says_that_one_was_too_large(keyed: Browser) -> None:
    post(keyed, b" " * (MOST_BYTES + 1))
    assert "Refused 03:00: it was larger than any of Xero's webhooks." in told(keyed)


def test_a_good_delivery_leaves_no_such_note(keyed: Browser) -> None:
    post(keyed, delivery(event()))
    assert refusals(keyed) == []


def test_whoever_sends_many_makes_one_note_a_minute(keyed: Browser) -> None:
    keyed.services.clock = clock = Hands()
    for second in range(0, 150, 10):
        clock.at = NOW + timedelta(seconds=second)
        assert post(keyed, b"x", signed="" if second else "x").status_code == 401
        at = NOW + timedelta(minutes=second // 60)
        assert refusals(keyed) == [("unsigned" if second >= 60 else "signature", at)]


def test_a_clock_that_was_put_back_holds_no_note_back(keyed: Browser) -> None:
    keyed.services.clock = clock = Hands()
    post(keyed, b"x", signed="x")
    clock.at = NOW - timedelta(days=1)
    post(keyed, b"x", signed="")
    assert refusals(keyed) == [("unsigned", NOW - timedelta(days=1))]


def test_a_note_that_can_not_be_kept_changes_no_answer(
    keyed: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise TransientError("The database doesn't answer.")

    monkeypatch.setattr(webhooks, "refuse", away)
    answer = post(keyed, delivery(event()), signed="x")
    assert (answer.status_code, answer.data) == (401, b"")

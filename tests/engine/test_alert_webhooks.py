"""Webhooks of the local Xero that fall silent are noticed by what XTiger itself writes there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waitress.server import create_server

from tests.benchmarks import pages
from tests.conftest import Engine
from tests.engine.alert_scenes import DAY, HOUR, MINUTE, Watch, looked_at, watching
from tests.engine.scenes import KAURI, all_ended, control, invoices, organisation, rows_of
from xtiger.engine import scheduler
from xtiger.engine.connection import webhooks
from xtiger.store.models import Webhook
from xtiger.xero.webhooks import read

KEY = "a key of Xero's, 0123456789"


@pytest.fixture
def watch(engine: Engine) -> Iterator[Watch]:
    with watching(engine) as found:
        found.services.read_delivery = read
        engine.connect(KAURI)
        yield found


@pytest.fixture
def served(watch: Watch, tmp_path: Path) -> Iterator[str]:
    """The pages on the same database, behind the real web server: where Xero delivers."""
    app = pages.app_on(watch.engine.database, tmp_path)
    webhooks.save_key(app.extensions["xtiger"].services, KEY, who="Ana")
    # The page's process and the worker share the time, and the keys that seal what is stored.
    app.extensions["xtiger"].services.clock = watch.clock
    watch.services.ring = app.extensions["xtiger"].services.ring
    watch.engine.ring = watch.services.ring
    server: Any = create_server(app, host="127.0.0.1", port=0, threads=2)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://localhost:{server.effective_port}/xtiger/webhooks/xero"
    server.close()
    thread.join(5)
    app.extensions["xtiger"].services.database.close()


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def told(watch: Watch) -> int:
    """How many deliveries with events are in, once they are handled."""
    webhooks.handle(watch.services)
    return sum(row.taken > 0 for row in rows_of(watch.engine, Webhook))


def write(watch: Watch, number: int) -> None:
    """An invoice goes to Xero, which tells of it by webhook."""
    invoices(watch.engine, 1, first=number)
    scheduler.sync_now(watch.services, organisation_id=None, modules=None, who="Ana")
    watch.work()
    assert all_ended(watch.engine)


def subscribe(watch: Watch, url: str) -> None:
    control(watch.engine, "webhooks", {"url": url, "key": KEY})
    if url:
        wait_for(lambda: control(watch.engine, "webhooks")["subscriptions"][0]["status"] == "OK")


def reconnect(watch: Watch) -> None:
    """The consent again, sealed with the key that is in use now."""
    watch.engine.services = watch.services
    watch.engine.connect(KAURI)


def test_webhooks_that_fall_silent_although_records_changed_are_told(
    watch: Watch, served: str
) -> None:
    reconnect(watch)
    subscribe(watch, served)
    write(watch, 1)
    wait_for(lambda: told(watch) > 0)
    assert organisation(watch.engine).webhook_at is not None
    # Muted at Xero; for days nothing changes, so nothing was to be told.
    subscribe(watch, "")
    assert watch.pass_time(3 * DAY, 6 * HOUR) == []
    write(watch, 2)
    assert watch.pass_time(50 * MINUTE) == []
    [subject] = watch.pass_time(30 * MINUTE)
    assert subject == "[XTiger] No webhook from Xero for 3 days: Kauri Trading"
    text = " ".join(looked_at(watch.box.taken[-1]).split())
    assert "Xero's webhooks told of Kauri Trading until" in text
    assert "intent to receive" in text
    # Until one comes; what is in the log by then doesn't matter.
    assert watch.pass_time(23 * HOUR, HOUR) == []
    assert len(watch.pass_time(2 * HOUR, HOUR)) == 1
    before = told(watch)
    subscribe(watch, served)
    write(watch, 3)
    wait_for(lambda: told(watch) > before)
    with watch.engine.database.write() as session:
        # The pages keep the real time, the worker the test's.
        row = session.query(type(organisation(watch.engine))).filter_by(name=KAURI).one()
        row.webhook_at = watch.clock.now()
    assert watch.look() == ["[XTiger] Xero's webhooks come again: Kauri Trading"]
    assert watch.pass_time(HOUR) == []


def test_where_webhooks_never_came_or_have_no_key_nobody_is_told(watch: Watch) -> None:
    write(watch, 1)
    assert watch.pass_time(3 * DAY, 6 * HOUR) == []
    assert watch.alerts() == []

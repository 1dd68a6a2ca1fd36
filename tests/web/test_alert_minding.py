"""Pages inside a host look now and then whether anybody works, and never wait for it."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select, text

from tests.web.conftest import Browser
from xtiger.accounts import add_user
from xtiger.app import create_app
from xtiger.engine.alerting import alerts
from xtiger.engine.reporting import subscriptions
from xtiger.store.models import Alert, Setting, Subscription
from xtiger.store.schema import migrate
from xtiger.web import minding


def looked(browser: Browser) -> bool:
    with browser.services.database.read() as session:
        return session.get(Setting, alerts.BEAT) is not None


def ended() -> None:
    for thread in threading.enumerate():
        if thread.name == "xtiger-minding":
            thread.join(10)


def test_a_page_is_answered_and_then_somebody_looks_once_a_minute(browser: Browser) -> None:
    browser.get("/")
    ended()
    assert not looked(browser)  # the process has just begun
    browser.app.extensions["xtiger_minded"] = time.monotonic() - minding.EVERY
    began = time.monotonic()
    browser.get("/")
    assert time.monotonic() - began < 5
    ended()
    assert looked(browser)
    kept = browser.app.extensions["xtiger_minded"]
    browser.get("/")
    assert browser.app.extensions["xtiger_minded"] == kept


def test_a_look_that_breaks_costs_the_page_nothing(browser: Browser) -> None:
    """A table is gone: behind the answer, that is a line of the log."""
    with browser.services.database.write() as session:
        session.add(Setting(name=alerts.BEAT, value="2026-01-01T00:00:00+00:00"))
        session.execute(text("DROP TABLE xtiger_alert"))
    browser.app.extensions["xtiger_minded"] = time.monotonic() - minding.EVERY
    assert browser.get("/queue").status_code == 200
    ended()
    assert browser.get("/queue").status_code == 200


def test_what_stands_is_on_the_dashboard(browser: Browser) -> None:
    """Once it has stood for longer than what mends itself, with the page that helps."""
    sentence = "Nothing was sent for 26 h although 14 records wait."
    seen = browser.services.clock.now() - timedelta(hours=2)
    with browser.services.database.write() as session:
        for kind, words in (("nothing", sentence), ("failures", "Told by its cause.")):
            session.add(Alert(kind=kind, key="", sentence=words, opened_at=seen, last_seen_at=seen))
    page = browser.get("/").text
    assert sentence in page
    assert "for 2 h" in page
    assert f"Open: {sentence}" in page
    assert "Told by its cause." not in page
    with browser.services.database.write() as session:
        for row in session.scalars(select(Alert)):
            row.closed_at = seen
    assert sentence not in browser.get("/").text


def test_an_administrator_hears_of_alerts_from_the_first_day(tmp_path: Path) -> None:
    """Users and managers don't; nor does an administrator who took the row out get it again."""
    app = create_app(
        instance=tmp_path / "instance",
        environment={"XTIGER_DATABASE_URL": f"sqlite:///{tmp_path / 'x.sqlite'}"},
    )
    services = app.extensions["xtiger"].services
    migrate(services.database)
    db = app.extensions["sqlalchemy"]
    for role in ("user", "manager", "administrator", "administrator"):
        add_user(app, db, email=f"{role}@example.com", name="N", password="secret 123", role=role)
    with services.database.read() as session:
        [row] = session.query(Subscription)
    assert (row.address, row.person, row.alerts) == ("administrator@example.com", "N", True)
    subscriptions.remove(services, row.id, who="N")
    add_user(app, db, email=row.address, name="N", password="secret 456", role="administrator")
    with services.database.read() as session:
        assert session.query(Subscription).count() == 0
    services.database.close()

"""Real processes: workers that are killed are told of by whoever is left, and by nobody twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.conftest import free_port
from tests.engine.alert_scenes import ANA, Postbox, looked_at, mail_server
from tests.fleet.yard import Yard, until
from xtiger.engine.alerting import alerts
from xtiger.store.models import Alert, Worker


def mailing(yard: Yard, box: Postbox) -> None:
    """All processes send by this server; an administrator hears of alerts."""
    yard.more |= {
        "XTIGER_MAIL_SERVER": "127.0.0.1",
        "XTIGER_MAIL_PORT": str(box.port),
        "XTIGER_MAIL_SENDER": "xtiger@example.com",
    }
    assert alerts.welcome(yard.stage.services, ANA)


def later(yard: Yard, model: Any, column: str, minutes: float) -> None:
    """So many minutes pass for what a row remembers."""
    with yard.stage.services.database.write() as session:
        for row in session.scalars(select(model)):
            setattr(row, column, getattr(row, column) - timedelta(minutes=minutes))


def there(yard: Yard, model: Any) -> Callable[[], bool]:
    def ask() -> bool:
        with yard.stage.services.database.read() as session:
            return session.scalars(select(model)).first() is not None

    return ask


@pytest.mark.parametrize("end", ["killed", "told"])
def test_pages_alone_tell_that_the_last_worker_was_killed(fleet: Yard, end: str) -> None:
    with mail_server() as box:
        mailing(fleet, box)
        worker = fleet.start("worker", "--fleet")
        until(there(fleet, Worker))
        fleet.more["XTIGER_FLEET"] = "yes"
        pages = fleet.start("serve", "--port", str(free_port()))
        fleet.invoices(fleet.organisations[0], 2)
        if end == "told":
            # It signs off: somebody wanted it so.
            assert worker.tell_to_end() == 0
            time.sleep(12)
            assert not there(fleet, Alert)()
            assert not there(fleet, Worker)()
            return
        worker.kill()
        later(fleet, Worker, "beat_at", 20)
        until(there(fleet, Alert))
        later(fleet, Alert, "opened_at", 5)
        until(lambda: bool(box.taken))
        [message] = box.taken
        assert "No worker is running: 3 records wait" in str(message["Subject"])
        looked_at(message)
        fleet.start("worker", "--fleet")
        until(lambda: len(box.taken) > 1)
        time.sleep(5)
        assert [str(one["Subject"]).strip()[:34] for one in box.taken[1:]] == [
            "[XTiger] A worker is running again"
        ]
        assert pages.tell_to_end() == 0

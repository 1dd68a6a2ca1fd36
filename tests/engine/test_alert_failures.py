"""Many failures of one cause are one alert: grouped, told beside no report, over when all is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Engine
from tests.engine.alert_scenes import ANA, HOUR, MINUTE, Watch, html_of, looked_at, watching
from tests.engine.scenes import KAURI, ask, invoices
from xtiger.domain.alerting import Kind
from xtiger.engine.reporting import subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.store import queue
from xtiger.store.models import QueueItem


@pytest.fixture
def watch(engine: Engine) -> Iterator[Watch]:
    with watching(engine) as found:
        yield found


def bad_invoices(watch: Watch, count: int) -> None:
    """Ticked invoices that fail for one cause: a currency that the books don't have."""
    invoices(watch.engine, count, currency="EUR")


def cancel_all(watch: Watch) -> None:
    """A person takes all that failed out of the queue."""
    with watch.engine.database.write() as session:
        ids = [row.id for row in session.query(QueueItem) if row.state == "failed"]
        queue.cancel(session, ids, who="Ana")


def test_many_failures_of_one_cause_are_told_grouped_and_as_gone(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    bad_invoices(watch, 12)
    ask(engine, one)
    watch.work()
    assert watch.look() == []  # gathers for ten minutes
    [subject] = watch.pass_time(15 * MINUTE)
    assert subject == "[XTiger] Kauri Trading: 12 records fail for one cause"
    message = watch.box.taken[-1]
    text = " ".join(looked_at(message).split())
    first = ", ".join(f"INV-{number}" for number in range(1, 11))
    assert f"- 12 records {KAURI} has no EUR." in text
    assert f"First: {first} and 2 more" in text
    assert "cause=currency-missing" in text
    assert "12 records" in html_of(message)
    [row] = watch.alerts()
    assert row.kind == Kind.FAILURES
    assert watch.pass_time(50 * MINUTE) == []
    assert len(watch.pass_time(15 * MINUTE)) == 1
    cancel_all(watch)
    # It might be a retry: for a while that isn't the end of it.
    assert watch.look() == []
    assert watch.pass_time(15 * MINUTE) == [
        "[XTiger] Kauri Trading: what failed for one cause was taken out of the queue"
    ]


def test_a_few_failures_are_the_report_s_news(watch: Watch) -> None:
    one = watch.engine.connect(KAURI)[KAURI]
    bad_invoices(watch, 9)
    ask(watch.engine, one)
    watch.work()
    assert watch.pass_time(HOUR) == []
    assert watch.alerts() == []


def test_who_reads_of_failures_in_the_report_is_not_told_the_same_again(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    choices = Choices(after_sync=True, alerts=True)
    subscriptions.subscribe(watch.services, "bo@example.com", choices, who="Ana")
    bad_invoices(watch, 12)
    ask(engine, one)
    watch.work()
    watch.pass_time(30 * MINUTE)
    got = [(str(m["To"]), str(m["Subject"])) for m in watch.box.taken]
    assert [subject for to, subject in got if to == ANA] == [
        "[XTiger] Kauri Trading: 12 records fail for one cause"
    ]
    assert ["need you" in subject for to, subject in got if to != ANA] == [True]
    # A day later it still stands: then they hear of it, too.
    watch.pass_time(25 * HOUR, HOUR)
    got = [str(m["Subject"]) for m in watch.box.taken if str(m["To"]) != ANA]
    assert got[1:] == ["[XTiger] Kauri Trading: 12 records fail for one cause"]

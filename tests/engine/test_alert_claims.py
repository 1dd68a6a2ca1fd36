"""However many processes look, whichever dies, each alert is one row and one mail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.conftest import Engine
from tests.engine.alert_scenes import HOUR, MINUTE, Watch, watching
from tests.engine.scenes import KAURI, THAMES, Death, ShiftedClock, rows_of
from xtiger.engine.alerting import alerts
from xtiger.engine.reporting import letters
from xtiger.store.models import Alert, Connection, Mail
from xtiger.store.schema import Database


@pytest.fixture
def watch(each_engine: Engine) -> Iterator[Watch]:
    with watching(each_engine) as found:
        each_engine.connect(KAURI, THAMES)
        yield found


def breaks(watch: Watch, why: str | None = "The consent ended.") -> None:
    with watch.engine.database.write() as session:
        row = session.query(Connection).one()
        row.broken, row.broken_at = why, watch.clock.now()


def test_eight_schedulers_at_once_mail_once(watch: Watch) -> None:
    """Each with its own connections, as eight processes have them, for six hours and two breaks."""
    databases = [Database(watch.engine.database.url) for _ in range(8)]
    workers = [watch.another(f"w{number}") for number in range(8)]
    for worker, database in zip(workers, databases, strict=True):
        worker.database = database
    with ThreadPoolExecutor(8) as pool:
        for turn in range(12):
            if turn % 6 == 0:
                breaks(watch)
            if turn % 6 == 4:
                breaks(watch, None)
            watch.clock.sleep(30 * MINUTE)
            start = threading.Barrier(8)

            def one(worker: Any, start: threading.Barrier = start) -> int:
                start.wait()
                return alerts.look(worker)

            written = list(pool.map(one, workers))
            assert sum(map(bool, written)) <= 1, written
            list(pool.map(letters.send_waiting, workers[:2]))
    for database in databases:
        database.close()
    assert watch.came() == _of_both(watch, 2)
    assert len(rows_of(watch.engine, Alert)) == 4
    assert {row.times_mailed for row in rows_of(watch.engine, Alert)} == {1}


def _of_both(watch: Watch, times: int) -> list[str]:
    """What is mailed of two organisations that break and are mended so often."""
    first = rows_of(watch.engine, Alert)[0].details["name"]
    return [
        f"[XTiger] {first} and 1 more are disconnected: no record waits",
        f"[XTiger] {first} and 1 more are connected again; nothing was held up",
    ] * times


class Slow:
    """A process that took its minute, and stops as it looks, until it is let go on."""

    def __init__(self, watch: Watch, name: str) -> None:
        self._stands, self._goes_on = threading.Event(), threading.Event()
        self._watch = watch
        self._asked = 0
        self._answers: list[int] = []
        self._services = watch.another(name)
        self._services.database = Database(watch.engine.database.url)
        self._services.clock = self
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        assert self._stands.wait(20)

    def _look(self) -> None:
        self._answers.append(alerts.look(self._services))

    def now(self) -> datetime:
        """The second question for the time, behind the claim, waits."""
        self._asked += 1
        found = self._watch.clock.now()
        if self._asked == 2:
            self._stands.set()
            assert self._goes_on.wait(20)
        return found

    def sleep(self, seconds: float) -> None: ...

    def end(self) -> int:
        """Goes on, and answers with the number of mails that it wrote."""
        self._goes_on.set()
        self._thread.join(20)
        self._services.database.close()
        return self._answers[0]


def test_a_process_that_looks_too_long_writes_nothing(watch: Watch) -> None:
    """It took its minute, and stops there; meanwhile another looks and ends."""
    breaks(watch)
    watch.clock.sleep(2 * MINUTE)
    slow = Slow(watch, "slow")
    assert len(watch.look()) == 1
    assert slow.end() == 0
    assert len(rows_of(watch.engine, Mail)) == 1
    assert len(rows_of(watch.engine, Alert)) == 2


def test_a_process_that_looks_too_long_tells_nothing_that_is_mended(watch: Watch) -> None:
    """Meanwhile another looked and found nothing wrong: what the first knows is outdated."""
    breaks(watch)
    watch.clock.sleep(2 * MINUTE)
    slow = Slow(watch, "slow")
    breaks(watch, None)
    assert watch.look() == []
    breaks(watch)
    assert slow.end() == 0
    assert rows_of(watch.engine, Alert) == []


def test_where_each_look_is_overtaken_the_first_that_ends_is_written(watch: Watch) -> None:
    """Two processes on a slow database: each look takes longer than a minute, for ten minutes."""
    breaks(watch)
    watch.clock.sleep(2 * MINUTE)
    under_way = Slow(watch, "w0")
    written = []
    for turn in range(1, 10):
        watch.clock.sleep(MINUTE + 1)
        later = Slow(watch, f"w{turn}")
        written.append(under_way.end())
        under_way = later
    written.append(under_way.end())
    letters.send_waiting(watch.services)
    assert written == [1, *[0] * 9]
    assert watch.came() == _of_both(watch, 1)[:1]
    # And what is over is told as well.
    breaks(watch, None)
    watch.clock.sleep(2 * MINUTE)
    first = Slow(watch, "one")
    watch.clock.sleep(MINUTE + 1)
    second = Slow(watch, "two")
    assert (first.end(), second.end()) == (1, 0)
    letters.send_waiting(watch.services)
    assert watch.came() == _of_both(watch, 1)[1:]


def test_a_process_killed_between_alert_and_mail_leaves_neither(watch: Watch) -> None:
    """Both are one transaction: the next look tells it, once."""
    breaks(watch)
    watch.clock.sleep(2 * MINUTE)
    engine = watch.engine.database.engine

    def die(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith("INSERT INTO xtiger_mail"):
            raise Death

    event.listen(engine, "before_cursor_execute", die)
    with pytest.raises(Death):
        alerts.look(watch.services)
    event.remove(engine, "before_cursor_execute", die)
    assert rows_of(watch.engine, Alert) == []
    assert len(watch.look()) == 1
    assert watch.pass_time(HOUR) == []
    assert len(rows_of(watch.engine, Alert)) == 2


def test_what_was_told_is_known_after_a_restart(watch: Watch) -> None:
    breaks(watch)
    assert len(watch.look()) == 1
    for _ in range(5):
        watch.services = watch.another("restarted")
        watch.clock.sleep(HOUR)
        assert watch.look() == []
    watch.clock.sleep(20 * HOUR)
    assert len(watch.look()) == 1


def test_a_clock_that_was_put_back_stops_nobody(watch: Watch) -> None:
    watch.look(5 * HOUR)
    watch.clock.shift -= timedelta(hours=4)
    breaks(watch)
    assert len(watch.look()) == 1


def test_a_clock_that_ran_ahead_once_silences_nothing(watch: Watch) -> None:
    """One look 400 days ahead: what stands is told a day later, what is mended at once."""
    breaks(watch)
    assert len(watch.look()) == 1
    watch.clock.shift += timedelta(days=400)
    assert len(watch.look()) == 1
    watch.clock.shift -= timedelta(days=400)
    assert watch.pass_time(23 * HOUR, HOUR) == []
    assert len(watch.pass_time(2 * HOUR, HOUR)) == 1
    watch.clock.shift += timedelta(days=400)
    assert len(watch.look()) == 1
    watch.clock.shift -= timedelta(days=400)
    breaks(watch, None)
    assert len(watch.look()) == 1
    assert all(row.closed_at is not None for row in rows_of(watch.engine, Alert))
    # What it left of alerts that are over holds up no new one.
    watch.clock.sleep(4 * HOUR)
    breaks(watch)
    assert len(watch.look()) == 1


def test_one_that_is_open_can_not_be_opened_twice(watch: Watch) -> None:
    """The database itself refuses it, of an organisation and of the whole installation."""
    from xtiger.domain.errors import XTigerError

    breaks(watch)
    watch.look()
    [one, *_rest] = rows_of(watch.engine, Alert)
    for which in (one.organisation_id, None):
        now = ShiftedClock().now()
        values = {
            "kind": "disconnected",
            "organisation_id": which,
            "key": "",
            "sentence": "x",
            "opened_at": now,
            "last_seen_at": now,
            "times_mailed": 0,
        }
        if which is None:
            with watch.engine.database.write() as session:
                session.add(Alert(**values))
        with (
            pytest.raises((XTigerError, Exception), match=r"(?i)unique|refused|exists|already"),
            watch.engine.database.write() as session,
        ):
            session.add(Alert(**values))
            session.flush()
    with watch.engine.database.read() as session:
        found = session.execute(text("SELECT count(*) FROM xtiger_alert")).scalar()
    assert found == 3

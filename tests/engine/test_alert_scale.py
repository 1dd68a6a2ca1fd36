"""A first load that goes wrong is one small mail; looking costs little beside a million rows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from tests.benchmarks import pages
from tests.conftest import Engine
from tests.engine.alert_scenes import MINUTE, Watch, html_of, looked_at, watching
from tests.engine.scenes import KAURI, ShiftedClock, ask, invoices, items
from xtiger.domain.alerting import Kind, Limits
from xtiger.engine.alerting import trouble
from xtiger.engine.alerting.trouble import View
from xtiger.store import alerts as facts
from xtiger.store import failing
from xtiger.store.models import Connection, LogEntry, Organisation
from xtiger.store.schema import Database, migrate

PROVE = bool(os.environ.get("XTIGER_PROVE"))
FAILURES = 10_000 if PROVE else 300
ROWS = 1_000_000 if PROVE else 50_000
pytestmark = pytest.mark.timeout(3600 if PROVE else 300)
#: Seconds that one look may take beside so many rows.
QUICK = 0.5


def test_a_first_load_that_fails_for_one_cause_is_one_small_mail(engine: Engine) -> None:
    with watching(engine) as watch:
        one = engine.connect(KAURI)[KAURI]
        invoices(engine, FAILURES, currency="EUR")
        ask(engine, one)
        watch.work()
        assert sum(item.state == "failed" for item in items(engine)) == FAILURES
        [subject] = watch.pass_time(20 * MINUTE)
        assert subject == f"[XTiger] Kauri Trading: {FAILURES:,} records fail for one cause"
        message = watch.box.taken[-1]
        text_ = " ".join(looked_at(message).split())
        assert "Kauri Trading has no EUR. Add the currency in Xero" in text_
        first = ", ".join(f"INV-{number}" for number in range(1, 11))
        assert f"First: {first} and {FAILURES - 10:,} more" in text_
        assert f"{FAILURES:,} records" in html_of(message)
        assert int(str(message["X-Size"])) < 20_000
        assert watch.pass_time(30 * MINUTE) == []


def test_a_first_load_with_thirty_causes_is_one_mail_of_ten_of_them(engine: Engine) -> None:
    """The log and the queue as a load leaves them that fails for thirty causes in ten minutes."""
    with watching(engine) as watch:
        one = engine.connect(KAURI)[KAURI]
        came: list[str] = []
        for turn in range(10):
            _fails(watch, one, causes=range(3 * turn, 3 * turn + 3), each=20)
            came += watch.look()
        came += watch.pass_time(40 * MINUTE)
        assert came == ["[XTiger] Kauri Trading: 600 records fail for 30 causes"]
        text_ = looked_at(watch.box.taken[-1])
        assert text_.count("- 20 records") == 10
        assert "and 20 more." in text_


def _fails(watch: Watch, one: int, *, causes: range, each: int) -> None:
    now = watch.clock.now()
    with watch.engine.database.write() as session:
        for cause in causes:
            rows = [
                {
                    "organisation_id": one,
                    "module": "Invoices",
                    "record_id": f"{cause}-{number}",
                    "label": f"INV-{cause}-{number}",
                    "resource": "Invoices",
                    "rank": 50,
                    "state": "failed",
                    "slot": f"Invoices:{cause}-{number}",
                    "cause": f"cause {cause}",
                    "sentence": f"Account {cause} is archived in Xero. " * 12,
                    "run_id": 1,
                    "added_at": now,
                    "changed_at": now,
                }
                for number in range(each)
            ]
            places = session.execute(
                insert(facts.QueueItem).returning(facts.QueueItem.id), rows
            ).scalars()
            session.execute(
                insert(LogEntry),
                [
                    {
                        "at": now,
                        "organisation_id": one,
                        "run_id": 1,
                        "item_id": place,
                        "module": "Invoices",
                        "record_id": "x",
                        "action": "Create",
                        "outcome": "failed",
                        "cause": f"cause {cause}",
                        "sentence": "",
                        "quoted": [],
                    }
                    for place in places
                ],
            )


# -- what looking costs ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def grown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A database with many rows of everything, half an hour after the last of them."""
    folder = tmp_path_factory.mktemp("grown")
    url = f"sqlite:///{folder / 'x.sqlite'}"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("module_postgres_url"))
    database = Database(url)
    migrate(database)
    pages.fill(database, ROWS, waiting=5_000)
    with database.write() as session:
        session.add(Connection(id=1, connected_at=pages.START))
        session.flush()
        for row in session.query(Organisation):
            row.connection_id = 1
    yield database, folder
    database.close()


@pytest.fixture(scope="module")
def module_postgres_url(postgres_server: str) -> Iterator[str]:
    from sqlalchemy import create_engine

    admin = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS alert_plans WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE alert_plans"))
    yield admin.url.set(database="alert_plans").render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE alert_plans WITH (FORCE)"))
    admin.dispose()


class At(ShiftedClock):
    """A clock that stands still."""

    def __init__(self, moment: Any) -> None:
        self._moment = moment

    def now(self) -> Any:
        return self._moment


def services_on(database: Database, folder: Path, *, hours: float = 0.5) -> Any:
    """The services of an app there, so long after its newest rows."""
    app = pages.app_on(database, folder)
    services = app.extensions["xtiger"].services
    services.database.close()
    services.database = database
    services.clock = At(pages.START + timedelta(seconds=20 * ROWS, hours=hours))
    return services


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """The plan of each SELECT as it really goes out, behind the statement itself."""
    found: list[str] = []
    asking = False
    word = "EXPLAIN" if database.url.get_backend_name() == "postgresql" else "EXPLAIN QUERY PLAN"

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        nonlocal asking
        if asking or not statement.lstrip().startswith("SELECT"):
            return
        asking = True
        rows = connection.exec_driver_sql(f"{word} {statement}", parameters).all()
        found.append("\n".join([statement, *(str(row[-1]) for row in rows)]))
        asking = False

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)


#: The tables that grow for ever.
BIG = ("xtiger_queue", "xtiger_log", "xtiger_mail", "xtiger_run", "xtiger_alert")


def test_a_look_reads_no_big_table_without_an_index(grown: Any) -> None:
    database, folder = grown
    wrong: set[Kind] = set()
    with plans(database) as found, database.read() as session:
        for hours in (0.5, 48):
            services = services_on(database, folder, hours=hours)
            view = View.of(services, session, Limits(failures=1))
            wrong |= {each.kind for each in trouble.findings(view)}
        what = failing.Causes(1, "account archived 3")
        for causes in (
            what,
            failing.Causes(1, "account:"),
            failing.Causes(1, "", frozenset({what.key})),
        ):
            failing.failing(session, causes, modules=["Invoices"])
            failing.fate(session, causes, since=pages.START)
            failing.fate(session, causes, since=pages.START, modules=["Invoices"])
        failing.first(session, 1, what.key, modules=["Invoices"], limit=10)
        where = [(run, "Invoices") for run in (1, 2, 3)]
        assert failing.reports_of(session, where, "ana@example.com") == []
        assert failing.reports_stand(session, [])
        facts.closed_since(session, services.clock.now())
        now = services.clock.now()
        facts.written_between(session, 1, ("Invoices",), after=pages.START, before=now)
        facts.waiting_of(session, 1, "Invoices", 50)
        facts.asked_before(session, 1, now)
    assert wrong == {Kind.NOTHING, Kind.FAILURES}
    log_reads = [plan for plan in found if "FROM xtiger_log" in plan and "GROUP BY" in plan]
    assert any("ix_xtiger_log_failed" in plan for plan in log_reads), log_reads
    on_postgres = database.url.get_backend_name() == "postgresql"
    for plan in found:
        for line in plan.splitlines()[1:]:
            for table in BIG[:2]:
                if on_postgres:
                    assert f"Seq Scan on {table} " not in line, plan
                else:
                    scans = line.startswith("SCAN") and f"SCAN {table}" in line
                    assert not scans or "USING" in line, plan


def test_a_look_beside_many_rows_takes_no_time(grown: Any) -> None:
    database, folder = grown
    services = services_on(database, folder)
    took = []
    for _ in range(5):
        began = time.process_time()
        with database.read() as session:
            trouble.findings(View.of(services, session, Limits()))
        took.append(time.process_time() - began)
    print(f"{ROWS:,} rows: {min(took) * 1000:.1f} ms of CPU")
    assert min(took) < QUICK

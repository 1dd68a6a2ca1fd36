"""Retention takes what is old, by slices, and never what anything open refers to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import event, func, select, text, update

from tests.conftest import Engine
from tests.engine.scenes import Death, ShiftedClock
from tests.store.history import fill, organisations
from xtiger.domain import reporting as report
from xtiger.domain.reporting import Period
from xtiger.engine import scheduler
from xtiger.engine.reporting import reports, subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.engine.services import Services, SystemClock
from xtiger.engine.upkeep import housekeeping
from xtiger.engine.upkeep.housekeeping import clean, when_due
from xtiger.settings import Settings
from xtiger.store import mailbox, retention
from xtiger.store.crypto import KeyRing
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Awake,
    Binding,
    LogEntry,
    Mail,
    QueueItem,
    ReportPeriod,
    Run,
    Subscription,
)
from xtiger.store.retention import Kind
from xtiger.store.schema import MOST_ROWS, Database, migrate

NOW = datetime.now(UTC)
#: A history of 60 runs, a day apart, that ended yesterday: one call of ten records each.
RUNS = 60
BEGIN = NOW - timedelta(days=RUNS + 1) + timedelta(hours=12)
KEPT: dict[str, Any] = {"keep_bytes_days": 10, "keep_queue_days": 20, "keep_log_days": 30}


def services_on(database: Database, **settings: Any) -> Services:
    return Services(
        database=database,
        settings=Settings(**{**KEPT, **settings}),
        ring=KeyRing([Fernet.generate_key().decode()]),
        crm=None,  # type: ignore[arg-type]
        xero=None,  # type: ignore[arg-type]
        mail=None,
        worker="first",
        clock=ShiftedClock(),
    )


@pytest.fixture
def old(database: Database) -> Services:
    """Services on a database with the history above."""
    fill(database, organisations(database, "Kauri", "Thames"), begin=BEGIN, runs=RUNS, calls=1)
    return services_on(database)


def ids(database: Database, model: Any, *tests: Any) -> list[int]:
    with database.read() as session:
        return list(session.scalars(select(model.id).where(*tests).order_by(model.id)))


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of what retention is about."""
    models = (Attempt, AttemptElement, Binding, LogEntry, Mail, QueueItem, Run)
    with database.read() as session:
        return {
            model.__tablename__: [
                tuple(row) for row in session.execute(select(model.__table__).order_by(text("id")))
            ]
            for model in models
        }


def test_what_is_old_goes_and_what_is_young_stays(old: Services) -> None:
    before = contents(old.database)
    kept = clean(old)
    assert not kept.more
    # The run of day n was 61 - n days ago, less half a day.
    assert kept.taken == {
        Kind.BYTES: 50,
        Kind.LOG: 300,
        Kind.CALLS: 30,
        Kind.ITEMS: 400,
        Kind.MAILS: 30,
        Kind.RUNS: 30,
        Kind.PERIODS: 0,
        Kind.AWAKE: 0,
    }
    database = old.database
    assert ids(database, Run) == ids(database, Attempt) == list(range(31, 61))
    assert ids(database, QueueItem) == list(range(401, 601))
    assert ids(database, LogEntry) == list(range(301, 601))
    assert ids(database, AttemptElement) == list(range(301, 601))
    after = contents(database)
    assert after["xtiger_binding"] == before["xtiger_binding"]
    for table in ("xtiger_queue", "xtiger_log", "xtiger_mail", "xtiger_run"):
        assert set(after[table]) <= set(before[table])
    assert clean(old).taken == dict.fromkeys(Kind, 0)


def test_what_was_told_long_ago_goes_and_is_never_told_again(database: Database) -> None:
    """Ana got 60 daily reports, Bo his last one long ago; the log of times at work is as old."""
    organisations(database, "Kauri")
    services = services_on(database)
    daily = Choices(daily=True, zone="UTC")
    ana = subscriptions.subscribe(services, "ana@example.com", daily, who="Cy")
    bo = subscriptions.subscribe(services, "bo@example.com", daily, who="Cy")
    today = NOW.date()
    with database.write() as session:
        for back in range(60, 0, -1):
            at = NOW - timedelta(days=back - 1)
            session.add(Awake(began_at=at - timedelta(hours=20), last_at=at - timedelta(hours=1)))
            for reader in (ana, bo)[: 2 if back > 50 else 1]:
                period = Period.of(report.Kind.DAILY, today - timedelta(days=back), "UTC")
                session.add(claim_of(reader, period, at))
                session.flush()  # one after the other, as they were made
    kept = clean(services)
    assert (kept.taken[Kind.PERIODS], kept.taken[Kind.AWAKE]) == (30 + 9, 30)
    with database.read() as session:
        rows = session.execute(select(ReportPeriod.subscription_id, ReportPeriod.starts_on)).all()
        told = {reader: sorted(day for one, day in rows if one == reader) for reader in (ana, bo)}
        # Nobody knows of a time before what is kept.
        long_ago = NOW - timedelta(days=40)
        assert mailbox.asleep(session, long_ago, NOW - timedelta(days=35)) is None
        assert mailbox.asleep(session, NOW - timedelta(days=5), NOW)
    assert told == {
        ana: [today - timedelta(days=back) for back in range(30, 0, -1)],
        bo: [today - timedelta(days=51)],
    }
    with database.write() as session:
        for row in session.scalars(select(Subscription)):
            row.made_at = row.daily_from = NOW - timedelta(days=60)
            row.next_at = NOW - timedelta(days=1)
    reports.send_due(services)
    with database.read() as session:
        made = session.scalars(select(Mail.subscription_id)).all()
    assert set(made) == {bo}, "Ana has had all of hers"
    assert clean(services).taken[Kind.PERIODS] == 1, "Bo's old one: newer ones stand for it now"
    subscriptions.remove(services, ana, who="Cy")
    services.clock.sleep(40 * 86_400)
    clean(services)
    with database.read() as session:
        assert set(session.scalars(select(ReportPeriod.subscription_id))) == {bo}


def claim_of(reader: int, period: Period, at: datetime) -> ReportPeriod:
    return ReportPeriod(
        subscription_id=reader,
        kind=period.kind.value,
        starts_on=period.first,
        ends_on=period.behind,
        start=period.start,
        end=period.end,
        zone=period.zone,
        why="Nothing failed.",
        made_at=at,
    )


def test_of_a_call_whose_bytes_go_hash_and_ids_stay(old: Services) -> None:
    with old.database.read() as session:
        before = session.get_one(Attempt, 45)
        session.expunge_all()
    clean(old)
    with old.database.read() as session:
        call = session.get_one(Attempt, 45)
        assert (call.body, call.answer, call.answer_headers) == (None, None, None)
        assert call.body_hash == before.body_hash
        assert call.idempotency_key == before.idempotency_key
        assert (call.status, call.outcome, call.closed_at) == (200, "settled", before.closed_at)
        elements = session.scalars(
            select(AttemptElement).where(AttemptElement.attempt_id == 45)
        ).all()
        assert [each.item_id for each in elements] == list(range(441, 451))
        assert {(str(each.meant), each.label) for each in elements} == {("{}", "")}
        young = session.get_one(Attempt, 52)
        assert None not in (young.body, young.answer, young.answer_headers)
    assert ids(old.database, Attempt, Attempt.body.is_not(None)) == list(range(51, 61))


def test_what_anything_open_refers_to_stays_as_it_was(old: Services) -> None:
    """An item that never got its end, a call that was left open, a run that isn't over."""
    database = old.database
    with database.engine.begin() as connection:
        for trigger in ("xtiger_queue_step", "xtiger_queue_shape", "xtiger_queue_new"):
            _drop_trigger(connection, trigger)
        connection.execute(
            text("UPDATE xtiger_queue SET state = 'failed', slot = 'Invoices:15' WHERE id = 15")
        )
        connection.execute(
            text(
                "UPDATE xtiger_queue SET state = 'blocked', slot = 'Invoices:25', blocked_by = 31"
                " WHERE id = 25"
            )
        )
        connection.execute(text("UPDATE xtiger_attempt SET closed_at = NULL WHERE id = 5"))
        connection.execute(text("UPDATE xtiger_run SET ended_at = NULL WHERE id = 7"))
        connection.execute(text("UPDATE xtiger_run SET reported = false WHERE id = 8"))
        connection.execute(text("UPDATE xtiger_mail SET state = 'waiting' WHERE run_id = 10"))
    before = contents(database)
    clean(old)
    after = contents(database)

    def changed(table: str) -> set[int]:
        return {row[0] for row in before[table]} - {
            row[0] for row in after[table] if row in before[table]
        }

    # The failed item of call 2, the blocked one of call 3, the open call, the runs' own.
    assert changed("xtiger_attempt") == set(range(1, 51)) - {2, 3, 5, 7, 8}
    gone = set(range(1, 401))
    assert changed("xtiger_queue") == gone - {15, 25, 31} - _tens(5) - _tens(7) - _tens(8)
    assert changed("xtiger_log") == set(range(1, 301)) - {15, 25} - _tens(7) - _tens(8)
    assert changed("xtiger_mail") == set(range(1, 31)) - {7, 8, 10}
    # A run stays as long as an entry or a mail of it, or an open item that names it.
    assert changed("xtiger_run") == set(range(1, 31)) - {2, 3, 7, 8, 10}


def _tens(call: int) -> set[int]:
    """The items of one call."""
    return set(range(call * 10 - 9, call * 10 + 1))


def _drop_trigger(connection: Any, name: str) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(text(f"DROP TRIGGER {name}"))
    elif name == "xtiger_queue_step":
        connection.execute(text(f"DROP TRIGGER {name} ON xtiger_queue"))


def test_an_item_that_ended_lately_stays_however_long_it_waited(old: Services) -> None:
    with old.database.write() as session:
        session.execute(
            update(LogEntry).where(LogEntry.item_id == 5).values(at=NOW - timedelta(days=1))
        )
    clean(old)
    assert 5 in ids(old.database, QueueItem)
    assert 4 not in ids(old.database, QueueItem)


def test_retention_0_keeps_for_ever(old: Services) -> None:
    before = contents(old.database)
    services = services_on(old.database, keep_bytes_days=0, keep_queue_days=0, keep_log_days=0)
    assert not any(clean(services).taken.values())
    assert contents(old.database) == before


def test_the_newest_row_stays_so_that_its_number_isnt_given_again(old: Services) -> None:
    services = services_on(old.database, keep_bytes_days=1, keep_queue_days=1, keep_log_days=1)
    services.clock = ShiftedClock(100 * 86_400)
    clean(services)
    database = old.database
    assert ids(database, QueueItem) == ids(database, LogEntry) == [600]
    assert ids(database, Attempt) == ids(database, Run) == [60]


@contextmanager
def transactions(database: Database) -> Iterator[list[int]]:
    """How many rows each committed transaction changed."""
    done: list[int] = []
    rows: dict[int, int] = {}

    def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("DELETE", "UPDATE")):
            key = id(connection.connection.dbapi_connection)
            rows[key] = rows.get(key, 0) + cursor.rowcount

    def commit(connection: Any) -> None:
        if changed := rows.pop(id(connection.connection.dbapi_connection), 0):
            done.append(changed)

    event.listen(database.engine, "after_cursor_execute", count)
    event.listen(database.engine, "commit", commit)
    try:
        yield done
    finally:
        event.remove(database.engine, "after_cursor_execute", count)
        event.remove(database.engine, "commit", commit)


def test_no_transaction_changes_more_rows_than_it_should(database: Database) -> None:
    homes = organisations(database, "Kauri")
    fill(database, homes, begin=BEGIN, runs=RUNS, calls=2, batch=50)
    services = services_on(database)
    with transactions(database) as done:
        kept = clean(services)
    assert max(done) <= MOST_ROWS
    # And slices are well filled: few transactions for many rows.
    assert sum(done) == 50 * 2 * 51 + 30 * (2 * (50 + 51) + 2) + 40 * 100
    assert len(done) < 1.5 * sum(done) / MOST_ROWS + 6
    assert kept.taken[Kind.ITEMS] == 4000


def test_a_turn_that_is_cut_off_goes_on_where_it_was(old: Services) -> None:
    class Mortal(ShiftedClock):
        left = 4

        def sleep(self, seconds: float) -> None:
            self.left -= 1
            if not self.left:
                raise Death

    services = services_on(old.database)
    services.clock = Mortal()
    with pytest.raises(Death):
        when_due(services)
    some = len(ids(old.database, LogEntry))
    assert some < 600
    assert when_due(old) is None  # it may still be running
    old.clock = ShiftedClock(3601)
    kept = when_due(old)
    assert kept is not None
    assert not kept.more
    assert ids(old.database, LogEntry) == list(range(301, 601))
    assert ids(old.database, QueueItem) == list(range(401, 601))
    assert ids(old.database, Run) == list(range(31, 61))


def test_the_turn_comes_once_a_day(old: Services) -> None:
    assert when_due(old) is not None
    assert when_due(old) is None
    old.clock = ShiftedClock(86_400 - 60)
    assert when_due(old) is None
    old.clock = ShiftedClock(86_400 + 60)
    assert when_due(old) is not None


def test_a_host_that_only_has_cron_keeps_house_too(engine: Engine) -> None:
    scheduler.once(engine.services)
    with engine.database.read() as session:
        turn = retention.last_turn(session)
    assert turn.began is not None
    assert turn.ended is not None


def test_one_turn_takes_so_much_and_the_next_ones_catch_up(database: Database) -> None:
    homes = organisations(database, "Kauri")
    fill(database, homes, begin=BEGIN, runs=RUNS, calls=1, batch=50)
    services = services_on(database)
    first = clean(services, most=1)
    assert first.more
    assert first.taken[Kind.BYTES] == first.taken[Kind.CALLS] == 9  # calls of 51 rows
    assert first.taken[Kind.LOG] == first.taken[Kind.ITEMS] == MOST_ROWS
    turns = 1
    while clean(services, most=1).more:
        turns += 1
    assert turns == 5
    assert ids(database, LogEntry) == list(range(1501, 3001))
    assert ids(database, QueueItem) == list(range(2001, 3001))
    assert ids(database, Attempt, Attempt.body.is_not(None)) == list(range(51, 61))
    assert ids(database, Run) == ids(database, Attempt) == list(range(31, 61))


def test_a_worker_that_ends_stops_between_two_slices(old: Services) -> None:
    slept: list[float] = []
    old.clock = ShiftedClock()
    old.clock.sleep = slept.append  # type: ignore[method-assign]
    old.stopping = lambda: len(slept) >= 2
    assert clean(old).more
    assert len(slept) == 2


def test_two_schedulers_at_once_are_harmless(database: Database) -> None:
    fill(database, organisations(database, "Kauri"), begin=BEGIN, runs=RUNS, calls=2, batch=25)
    expected = {
        Kind.BYTES: 100,
        Kind.LOG: 1500,
        Kind.CALLS: 60,
        Kind.ITEMS: 2000,
        Kind.MAILS: 30,
        Kind.RUNS: 30,
        Kind.PERIODS: 0,
        Kind.AWAKE: 0,
    }
    both = [services_on(database), services_on(database)]
    found: list[Any] = []
    start = threading.Barrier(2)

    def go(services: Services, work: Callable[[Services], Any]) -> None:
        start.wait()
        found.append(work(services))

    _together(lambda one: go(one, clean), both)
    for kind, number in expected.items():
        assert sum(kept.taken[kind] for kept in found) <= number
    # What one left to the other because it was locked goes the next time.
    last = clean(both[0])
    assert {kind: sum(kept.taken[kind] for kept in [*found, last]) for kind in expected} == expected

    found.clear()
    _together(lambda one: go(one, when_due), both)
    assert [one is None for one in found].count(False) == 1


def _together(work: Callable[[Services], None], both: list[Services]) -> None:
    threads = [threading.Thread(target=work, args=(one,)) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_other_writers_get_their_turn_meanwhile(
    database: Database, record_property: Callable[[str, object], None]
) -> None:
    homes = organisations(database, "Kauri")
    fill(database, homes, begin=BEGIN, runs=RUNS, calls=4, batch=50)
    services = services_on(database)
    services.clock = SystemClock()
    other = Database(database.url)
    waits: list[float] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            began = time.monotonic()
            with other.write() as session:
                session.execute(text("UPDATE xtiger_organisation SET fence = fence + 1"))
            waits.append(time.monotonic() - began)
            time.sleep(0.01)

    thread = threading.Thread(target=write)
    thread.start()
    began = time.monotonic()
    kept = clean(services)
    seconds = time.monotonic() - began
    over.set()
    thread.join()
    other.close()
    rows = sum(kept.taken.values())
    record_property(
        "figure",
        f"housekeeping on {database.engine.dialect.name}: {rows} taken in {seconds:.1f} s, "
        f"{len(waits)} writes of another meanwhile, the longest {max(waits):.3f} s",
    )
    assert kept.taken[Kind.ITEMS] == 8000
    assert max(waits) < 1
    assert len(waits) > seconds * 5


# -- plans ------------------------------------------------------------------------------------

BIG = 2_500


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def grown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """50,000 items, log entries and elements, of which 200 of each are old."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('grown') / 'x.sqlite'}"
    else:
        url = _database_of_its_own(request.getfixturevalue("postgres_server"))
    database = Database(url)
    migrate(database)
    homes = organisations(database, "Kauri", "Thames")
    begin = NOW - timedelta(days=100)
    fill(database, homes, begin=begin, runs=10, step=timedelta(days=1))
    _fill_young(database, homes)
    with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("ANALYZE"))
    yield database
    database.close()


def _database_of_its_own(server: str) -> str:
    from sqlalchemy import create_engine

    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE grown_house"))
    url = admin.url.set(database="grown_house").render_as_string(hide_password=False)
    admin.dispose()
    return str(url)


def _fill_young(database: Database, homes: list[int]) -> None:
    """The same history again and again, but of yesterday."""
    fill(
        database,
        homes,
        begin=NOW - timedelta(days=1),
        runs=BIG,
        step=timedelta(seconds=10),
        first=11,
    )


def test_no_statement_reads_a_large_table_as_a_whole(grown: Database) -> None:
    services = services_on(grown)
    on_postgres = grown.engine.dialect.name == "postgresql"
    found: list[tuple[str, str]] = []
    asking = False

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        nonlocal asking
        if asking or not statement.startswith(("SELECT", "UPDATE", "DELETE")):
            return
        asking = True
        how = "EXPLAIN" if on_postgres else "EXPLAIN QUERY PLAN"
        rows = connection.exec_driver_sql(f"{how} {statement}", parameters).all()
        found.append((statement, "\n".join(str(row[0 if on_postgres else 3]) for row in rows)))
        asking = False

    event.listen(grown.engine, "before_cursor_execute", explain)
    try:
        kept = clean(services)
    finally:
        event.remove(grown.engine, "before_cursor_execute", explain)
    assert kept.taken == {
        Kind.BYTES: 20,
        Kind.LOG: 200,
        Kind.CALLS: 20,
        Kind.ITEMS: 200,
        Kind.MAILS: 10,
        Kind.RUNS: 10,
        Kind.PERIODS: 0,
        Kind.AWAKE: 0,
    }
    assert len(found) > 30
    big = ("xtiger_queue", "xtiger_log", "xtiger_attempt", "xtiger_attempt_element")
    for statement, plan in found:
        for line in plan.splitlines():
            words = line.replace("_1", "").split()
            if on_postgres:
                scanned = "Seq Scan on " in line and words[words.index("on") + 1] in big
            else:
                scanned = words[0] == "SCAN" and words[1] in big and "USING INDEX" not in line
            assert not scanned, f"{statement}\n{plan}"
    bytes_of = next(plan for statement, plan in found if "body IS NOT NULL" in statement)
    assert "ix_xtiger_attempt_bytes" in bytes_of
    with grown.read() as session:
        assert session.scalar(select(func.count()).select_from(QueueItem)) == BIG * 20


def test_a_night_without_anything_old_costs_a_few_statements(grown: Database) -> None:
    clean(services_on(grown))
    counted = 0

    def count(*_: Any) -> None:
        nonlocal counted
        counted += 1

    event.listen(grown.engine, "before_cursor_execute", count)
    try:
        clean(services_on(grown))
    finally:
        event.remove(grown.engine, "before_cursor_execute", count)
    assert counted < 40


def test_the_defaults_keep_a_quarter_of_bytes_and_eight_years_of_log() -> None:
    settings = Settings.read({})
    assert settings.keep_bytes_days == 130
    assert settings.keep_queue_days == 400
    assert settings.keep_log_days == 2922
    assert housekeeping.MOST_A_TURN == 2_000_000

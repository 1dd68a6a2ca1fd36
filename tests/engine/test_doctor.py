"""The doctor finds what is broken, names it plainly, mends what is safe and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.pool import NullPool

from tests.conftest import Engine
from tests.engine.scenes import ShiftedClock, fault, invoices, sync
from tests.engine.test_housekeeping import services_on
from tests.store.history import BODY, fill, organisations
from xtiger.domain.records import Module, RecordRef
from xtiger.engine import doctor
from xtiger.engine.services import Services
from xtiger.store import profiles, queue, structure
from xtiger.store.crypto import KeyRing
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Base,
    Connection,
    Organisation,
    OutboxRow,
    QueueItem,
    Run,
    Worker,
)
from xtiger.store.schema import Database

KAURI, THAMES = 1, 2
#: Items that wait, behind 100 ended ones.
FIRST, SECOND = 101, 102


@pytest.fixture
def well(database: Database) -> Services:
    """Two connected organisations with a history; for the first one five invoices wait."""
    services = services_on(database)
    now = services.clock.now()
    assert organisations(database, "Kauri", "Thames") == [KAURI, THAMES]
    begin = now - timedelta(days=9)
    assert fill(database, [KAURI, THAMES], begin=begin, runs=5) == FIRST - 1
    with database.write() as session:
        consent = Connection(connected_at=now)
        session.add(consent)
        session.flush()
        for row in session.scalars(select(Organisation)):
            row.connection_id = consent.id
        entries = [
            queue.Entry(KAURI, RecordRef(Module.INVOICES, f"w{number}")) for number in range(5)
        ]
        assert min(queue.enqueue(session, entries, now=now).values()) == FIRST
    return services


def checks(services: Services) -> set[str]:
    """The names of what the doctor finds; every finding is whole sentences."""
    found = doctor.examine(services).findings
    for one in found:
        assert one.sentence.endswith(".")
        assert one.action
        assert one.rows > 0
    return {one.check for one in found}


@contextmanager
def lawless(database: Database) -> Iterator[Any]:
    """A connection on which the database's rules don't hold; they are back afterwards."""
    engine = create_engine(database.url, poolclass=NullPool)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection
            return
        triggers = connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        ).all()
        for name, _sql in triggers:
            connection.execute(text(f"DROP TRIGGER {name}"))
        yield connection
        for _name, sql in triggers:
            connection.exec_driver_sql(sql)


def breaks(services: Services, *statements: str) -> None:
    with lawless(services.database) as connection:
        for statement in statements:
            connection.execute(text(statement))


def contents(database: Database) -> dict[str, dict[Any, tuple[Any, ...]]]:
    """All rows of all tables by their keys."""
    with database.read() as session:
        return {
            table.name: {
                row[: len(table.primary_key)]: row
                for row in (
                    tuple(each)
                    for each in session.execute(
                        select(*table.primary_key, *table.columns)  # keys first
                    )
                )
            }
            for table in Base.metadata.sorted_tables
        }


def changed(before: Any, after: Any) -> dict[str, list[Any]]:
    """The keys of the rows that differ, by table; leases alone don't count."""
    return {
        name: sorted(
            key[0]
            for key in {**before[name], **after[name]}
            if before[name].get(key) != after[name].get(key)
        )
        for name in before
        if before[name] != after[name] and name != "xtiger_organisation"
    }


def is_mended(services: Services, check: str, *, touched: dict[str, list[Any]]) -> None:
    """The repair changes these rows and nothing else, and all is well afterwards."""
    assert checks(services) == {check}
    before = contents(services.database)
    diagnosis = doctor.repair(services)
    assert diagnosis.well, diagnosis.findings
    assert [one.check for one in diagnosis.mended] == [check]
    assert changed(before, contents(services.database)) == touched
    with services.database.read() as session:
        for row in session.scalars(select(Organisation)):
            assert (row.holder, row.lease_until) == (None, None)
    assert doctor.repair(services).mended == ()


def test_a_healthy_database_has_no_finding(well: Services) -> None:
    diagnosis = doctor.examine(well)
    assert diagnosis.well, diagnosis.findings
    assert diagnosis.checks >= 18
    before = contents(well.database)
    assert doctor.repair(well).well
    assert contents(well.database) == before


# -- items ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "statements"),
    [
        ("organisation", [f"UPDATE xtiger_queue SET organisation_id = 99 WHERE id = {FIRST}"]),
        (
            "module",
            [f"UPDATE xtiger_queue SET module = 'Dreams', slot = 'Dreams:w0' WHERE id = {FIRST}"],
        ),
        ("module", [f"UPDATE xtiger_queue SET resource = 'Dreams' WHERE id = {FIRST}"]),
        (
            "circles",
            [
                f"UPDATE xtiger_queue SET state = 'blocked', blocked_by = {SECOND}"
                f" WHERE id = {FIRST}",
                f"UPDATE xtiger_queue SET state = 'blocked', blocked_by = {FIRST}"
                f" WHERE id = {SECOND}",
            ],
        ),
        ("slots", [f"UPDATE xtiger_queue SET slot = 'Invoices:x' WHERE id = {FIRST}"]),
        (
            "bound nowhere",
            ["UPDATE xtiger_binding SET organisation_id = 99 WHERE id = 1"],
        ),
    ],
)
def test_what_nobody_can_mend_by_program_is_named(
    well: Services, check: str, statements: list[str]
) -> None:
    breaks(well, *statements)
    assert checks(well) == {check}
    finding = doctor.examine(well).findings[0]
    assert not finding.repairable
    before = contents(well.database)
    diagnosis = doctor.repair(well)
    assert diagnosis.mended == ()
    assert [one.check for one in diagnosis.findings] == [check]
    assert contents(well.database) == before


def test_both_items_of_a_circle_are_named_and_what_waits_for_them_isnt(well: Services) -> None:
    for child, parent in ((FIRST, SECOND), (SECOND, FIRST + 2), (FIRST + 2, SECOND)):
        breaks(
            well,
            f"UPDATE xtiger_queue SET state = 'blocked', blocked_by = {parent} WHERE id = {child}",
        )
    (finding,) = doctor.examine(well).findings
    assert finding.named == (f"#{SECOND}", f"#{FIRST + 2}")


def test_a_record_that_waits_twice_is_found_by_its_younger_item(well: Services) -> None:
    breaks(
        well,
        f"UPDATE xtiger_queue SET record_id = 'w0' WHERE id = {SECOND}",
    )
    assert checks(well) == {"slots", "waiting twice"}
    twice = next(one for one in doctor.examine(well).findings if one.check == "waiting twice")
    assert twice.named == (f"#{SECOND}",)


def test_a_wrong_turn_is_put_right(well: Services) -> None:
    breaks(well, f"UPDATE xtiger_queue SET rank = 7 WHERE id IN ({FIRST}, {SECOND})")
    breaks(well, "UPDATE xtiger_queue SET rank = 7 WHERE id = 50")  # it ended: nobody cares
    is_mended(well, "rank", touched={"xtiger_queue": [FIRST, SECOND]})
    with well.database.read() as session:
        assert session.get_one(QueueItem, FIRST).rank == 50


def test_a_claimed_item_of_a_gone_worker_goes_back(well: Services) -> None:
    breaks(well, f"UPDATE xtiger_queue SET state = 'running', slot = NULL WHERE id = {FIRST}")
    is_mended(well, "running", touched={"xtiger_queue": [FIRST]})
    with well.database.read() as session:
        item = session.get_one(QueueItem, FIRST)
        assert (item.state, item.slot, item.tries) == ("pending", "Invoices:w0", 0)


def test_what_a_worker_has_just_claimed_is_left_alone(well: Services) -> None:
    breaks(well, f"UPDATE xtiger_queue SET state = 'running', slot = NULL WHERE id = {FIRST}")
    lease(well, KAURI, seconds=90)
    before = contents(well.database)
    assert doctor.repair(well).well
    assert contents(well.database) == before


def test_what_a_worker_takes_between_look_and_repair_is_left_to_it(
    well: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(well, f"UPDATE xtiger_queue SET state = 'running', slot = NULL WHERE id = {FIRST}")
    found = doctor.examine(well)
    lease(well, KAURI, seconds=90)
    before = contents(well.database)
    looks = iter([found])
    examine = doctor.examine
    monkeypatch.setattr(doctor, "examine", lambda one: next(looks, None) or examine(one))
    # The repair's own look finds it leased, so that there is nothing to mend.
    assert doctor.repair(well).mended == ()
    assert contents(well.database) == before


@pytest.mark.parametrize("parent", [3, 1_000_000])
def test_a_child_of_an_ended_or_missing_parent_goes_on(well: Services, parent: int) -> None:
    breaks(
        well,
        f"UPDATE xtiger_queue SET state = 'blocked', blocked_by = {parent}"
        f" WHERE id IN ({FIRST}, {SECOND})",
    )
    is_mended(well, "parents", touched={"xtiger_queue": [FIRST, SECOND]})


def test_more_rows_than_one_transaction_takes_are_mended_by_slices(database: Database) -> None:
    services = services_on(database)
    organisations(database, "Kauri")
    with database.write() as session:
        refs = [RecordRef(Module.INVOICES, str(number)) for number in range(1203)]
        queue.enqueue(session, [queue.Entry(KAURI, ref) for ref in refs], now=services.clock.now())
    breaks(services, "UPDATE xtiger_queue SET state = 'running', slot = NULL WHERE id > 1")
    (finding,) = doctor.examine(services).findings
    assert finding.rows == 1202
    assert finding.sentence.startswith("1,202 items were claimed")
    diagnosis = doctor.repair(services)
    assert diagnosis.well
    assert diagnosis.mended[0].rows == 1202


# -- calls, runs, outbox ----------------------------------------------------------------------


def lease(services: Services, organisation_id: int, *, seconds: float) -> None:
    with services.database.write() as session:
        row = session.get_one(Organisation, organisation_id)
        row.holder = "other"
        row.lease_until = services.clock.now() + timedelta(seconds=seconds)


def open_call(services: Services, *, ago: float, state: str = "running", body: Any = BODY) -> None:
    """The first waiting item is in a call that was opened so many seconds ago."""
    with services.database.write() as session:
        call = Attempt(
            organisation_id=KAURI,
            fence=1,
            resource="Invoices",
            verb="PUT",
            idempotency_key=f"open-{ago}",
            body=body,
            body_hash="0" * 64,
            opened_at=services.clock.now() - timedelta(seconds=ago),
        )
        session.add(call)
        session.flush()
        session.add(AttemptElement(attempt_id=call.id, place=0, item_id=FIRST, meant={}))
    if state == "running":
        breaks(
            services, f"UPDATE xtiger_queue SET state = 'running', slot = NULL WHERE id = {FIRST}"
        )


def test_a_call_that_nobody_settles_is_found(well: Services) -> None:
    open_call(well, ago=3600)
    assert checks(well) == {"calls left"}


def test_an_open_call_is_well_while_somebody_or_something_has_it(well: Services) -> None:
    open_call(well, ago=30)
    assert checks(well) == set()
    lease(well, KAURI, seconds=90)
    assert checks(well) == set()
    well.clock = ShiftedClock(400)  # the lease ended 310 s ago
    assert "calls left" in checks(well)
    for column in ("held_until", "paused_at"):
        with well.database.write() as session:
            row = session.get_one(Organisation, KAURI)
            setattr(row, column, well.clock.now() + timedelta(seconds=600))
        assert "calls left" not in checks(well)
        with well.database.write() as session:
            setattr(session.get_one(Organisation, KAURI), column, None)
    with well.database.write() as session:
        profiles.put_setting(
            session,
            profiles.PAUSED,
            {"at": well.clock.now().isoformat(), "by": "Ana"},
            who="Ana",
            now=well.clock.now(),
        )
    assert "calls left" not in checks(well)


def test_a_call_that_stays_open_beside_a_worker_is_found(well: Services) -> None:
    open_call(well, ago=3600)
    lease(well, KAURI, seconds=90)
    assert checks(well) == {"calls stuck"}


def test_an_item_that_waits_while_it_is_in_a_call_is_found(well: Services) -> None:
    open_call(well, ago=5, state="pending")
    assert checks(well) == {"sent and waiting"}


def test_an_item_in_two_open_calls_is_found(well: Services) -> None:
    open_call(well, ago=5)
    open_call(well, ago=4)
    assert checks(well) == {"sent and waiting"}


def test_an_open_call_without_its_bytes_is_found(well: Services) -> None:
    open_call(well, ago=5, body=None)
    assert checks(well) == {"bytes"}


def ask_run(services: Services, organisation_id: int, *, ago: float) -> int:
    with services.database.write() as session:
        run = Run(
            organisation_id=organisation_id,
            kind="instant",
            asked_at=services.clock.now() - timedelta(seconds=ago),
        )
        session.add(run)
        session.flush()
        return run.id


def test_a_run_without_work_is_ended(well: Services) -> None:
    ask_run(well, KAURI, ago=3600)  # it has work
    ask_run(well, THAMES, ago=10)  # a worker may just be coming
    idle = ask_run(well, THAMES, ago=3600)
    is_mended(well, "runs", touched={"xtiger_run": [idle]})
    with well.database.read() as session:
        run = session.get_one(Run, idle)
        assert run.ended_at is not None
        assert run.sentence == "The doctor ended it: nothing was left to send."


def test_changes_that_nobody_relays_are_found(well: Services) -> None:
    for ago, found in ((60, set()), (3600, {"outbox"})):
        with well.database.write() as session:
            at = well.clock.now() - timedelta(seconds=ago)
            session.add(OutboxRow(module="Contacts", record_id="1", kind="saved", at=at))
        assert checks(well) == found


# -- the database -----------------------------------------------------------------------------


def test_two_bindings_of_one_object_are_found(well: Services) -> None:
    with lawless(well.database) as connection:
        if connection.dialect.name == "postgresql":
            for rule in ("record", "xero"):
                connection.execute(
                    text(f"ALTER TABLE xtiger_binding DROP CONSTRAINT uq_xtiger_binding_{rule}")
                )
        else:
            connection.execute(text("CREATE TABLE other AS SELECT * FROM xtiger_binding"))
            connection.execute(text("DROP TABLE xtiger_binding"))
            connection.execute(text("ALTER TABLE other RENAME TO xtiger_binding"))
        connection.execute(
            text(
                "UPDATE xtiger_binding SET xero_id = 'same', organisation_id = 1 WHERE id IN (1, 2)"
            )
        )
        connection.execute(
            text(
                "UPDATE xtiger_binding SET record_id = '5', organisation_id = 1 WHERE id IN (4, 5)"
            )
        )
    assert {"bound twice", "unique rules"} <= checks(well)
    twice = next(one for one in doctor.examine(well).findings if one.check == "bound twice")
    assert twice.named == ("binding 2", "binding 5")


def test_a_counter_that_stays_behind_is_moved_on(well: Services) -> None:
    if well.database.engine.dialect.name == "postgresql":
        breaks(well, "SELECT setval('xtiger_queue_id_seq', 7)")
    else:
        breaks(well, "UPDATE sqlite_sequence SET seq = 7 WHERE name = 'xtiger_queue'")
    is_mended(well, "positions", touched={})
    with well.database.write() as session:
        ref = RecordRef(Module.INVOICES, "new")
        entry = queue.Entry(KAURI, ref)
        assert queue.enqueue(session, [entry], now=well.clock.now())[ref] > FIRST + 4


def test_a_place_that_only_the_journal_remembers_isnt_given_again(well: Services) -> None:
    breaks(well, "DELETE FROM xtiger_queue WHERE id > 90")
    if well.database.engine.dialect.name == "postgresql":
        breaks(well, "SELECT setval('xtiger_queue_id_seq', 90)")
    else:
        breaks(well, "DELETE FROM sqlite_sequence WHERE name = 'xtiger_queue'")
    is_mended(well, "positions", touched={})
    with well.database.read() as session:
        assert structure.used_positions(session) == (100, 100)


@pytest.mark.parametrize("rule", ["xtiger_queue_step", "shape"])
def test_a_rule_that_is_gone_is_found(well: Services, rule: str) -> None:
    with well.database.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            what = (
                "DROP TRIGGER xtiger_queue_step ON xtiger_queue"
                if rule == "xtiger_queue_step"
                else "ALTER TABLE xtiger_queue DROP CONSTRAINT ck_xtiger_queue_shape"
            )
        else:
            what = "DROP TRIGGER " + ("xtiger_queue_shape" if rule == "shape" else rule)
        connection.execute(text(what))
    assert checks(well) == {"rules"}


@pytest.mark.parametrize(
    "index", ["ix_xtiger_queue_due", "ix_xtiger_attempt_bytes", "ix_xtiger_log_record"]
)
def test_an_index_that_is_gone_is_made_anew(well: Services, index: str) -> None:
    with well.database.engine.begin() as connection:
        connection.execute(text(f"DROP INDEX {index}"))
    is_mended(well, "indexes", touched={})


def test_an_index_with_another_condition_is_made_anew(well: Services) -> None:
    with well.database.engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_xtiger_queue_due"))
        connection.execute(
            text("CREATE INDEX ix_xtiger_queue_due ON xtiger_queue (organisation_id, rank, id)")
        )
    is_mended(well, "indexes", touched={})


def test_an_index_that_postgresql_doesnt_trust_is_made_anew(
    request: pytest.FixtureRequest, well: Services
) -> None:
    if well.database.engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has indexes that aren't valid")
    breaks(
        well,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_xtiger_queue_due'::regclass",
    )
    is_mended(well, "indexes", touched={})


def test_a_unique_index_that_is_gone_is_named(well: Services) -> None:
    with well.database.engine.begin() as connection:
        connection.execute(text("DROP INDEX uq_xtiger_queue_slot"))
    assert checks(well) == {"unique indexes"}
    assert not doctor.repair(well).well


def test_a_question_without_an_index_is_found(
    well: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = select(QueueItem.id).where(QueueItem.label == "x")
    monkeypatch.setattr(
        structure, "HOT", {**structure.HOT, "labels": (lambda session: session.scalar(asked), "ix")}
    )
    (finding,) = doctor.examine(well).findings
    assert (finding.check, finding.named) == ("plans", ("labels",))


def test_another_version_of_the_database_is_named_alone(well: Services) -> None:
    with well.database.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE xtiger_alembic_version SET version_num = 'core0002'"
                " WHERE version_num LIKE 'core%'"
            )
        )
    (finding,) = doctor.examine(well).findings
    assert (finding.check, finding.action) == ("version", "Run: xtiger migrate")


# -- keys and clocks --------------------------------------------------------------------------


def test_tokens_and_settings_that_no_key_opens_are_found(well: Services) -> None:
    stranger = KeyRing([Fernet.generate_key().decode()])
    now = well.clock.now()
    with well.database.write() as session:
        consent = session.scalars(select(Connection)).one()
        consent.tokens = well.ring.seal({"access_token": "a"})
        profiles.put_setting(session, "mine", "x", who="Ana", now=now, ring=well.ring)
    assert checks(well) == set()
    with well.database.write() as session:
        session.get_one(Connection, consent.id).tokens = stranger.seal({"access_token": "a"})
        profiles.put_setting(session, "theirs", "x", who="Ana", now=now, ring=stranger)
    (finding,) = doctor.examine(well).findings
    assert finding.named == (f"connection {consent.id}", "setting theirs")


def test_clocks_that_differ_are_found(well: Services) -> None:
    now = well.clock.now()
    late = {"Date": format_datetime(now - timedelta(seconds=300), usegmt=True)}
    with well.database.write() as session:
        newest = session.scalars(select(Attempt).order_by(Attempt.closed_at.desc())).first()
        assert newest is not None
        newest.closed_at, newest.answer_headers = now, late
    (finding,) = doctor.examine(well).findings
    assert finding.sentence == "This machine's clock is 300 s ahead of Xero's."
    with well.database.write() as session:
        session.get_one(Attempt, newest.id).answer_headers = {
            "Date": format_datetime(now, usegmt=True)
        }
        ahead = now + timedelta(seconds=600)
        session.add(Worker(name="fast", kind="worker", started_at=now, beat_at=ahead))
    (finding,) = doctor.examine(well).findings
    assert (finding.check, finding.named) == ("clocks", ("fast",))


def test_the_database_servers_clock_is_compared(well: Services) -> None:
    if well.database.engine.dialect.name != "postgresql":
        pytest.skip("a file has no clock of its own")
    well.clock = ShiftedClock(-120)
    assert "This machine's clock is 120 s behind the database's." in {
        one.sentence for one in doctor.examine(well).findings
    }


def test_a_lease_that_lasts_too_long_is_found(well: Services) -> None:
    lease(well, KAURI, seconds=86_400)
    assert checks(well) == {"leases"}


# -- healthy engines --------------------------------------------------------------------------


def test_an_engine_is_well_after_real_syncs(each_engine: Engine) -> None:
    """Created, updated, failed and waiting records, a lost answer, and a worker that ended."""
    engine = each_engine
    engine.connect("Kauri Trading")
    invoices(engine, 4, goods=True)
    sync(engine)
    assert doctor.examine(engine.services).findings == ()
    fault(engine, "lose_answer", resource="Invoices", times=1)
    invoices(engine, 3, first=10)
    sync(engine)
    later = engine.worker("later", clock=ShiftedClock(30))
    assert doctor.examine(later).findings == ()
    assert doctor.repair(later).mended == ()


def test_a_long_random_history_is_well(
    database: Database, record_property: Callable[[str, object], None]
) -> None:
    services = services_on(database)
    homes = organisations(database, "Kauri", "Thames", "Rimu")
    now = services.clock.now()
    begin = now - timedelta(days=400)
    items = fill(database, homes, begin=begin, runs=390, calls=3, batch=20, seed=7)
    with database.write() as session:
        structure.analyse(session)
        for home in homes:
            refs = [RecordRef(Module.CONTACTS, f"c{number}") for number in range(50)]
            refs += [RecordRef(Module.INVOICES, f"i{number}") for number in range(200)]
            queue.enqueue(session, [queue.Entry(home, ref) for ref in refs], now=now)
    database.close()  # figures are read by new connections
    began = datetime.now(UTC)
    diagnosis = doctor.examine(services)
    seconds = (datetime.now(UTC) - began).total_seconds()
    record_property(
        "figure",
        f"doctor on {database.engine.dialect.name}: {diagnosis.checks} checks beside {items} "
        f"ended items in {seconds:.2f} s",
    )
    assert diagnosis.findings == ()


# -- the command ------------------------------------------------------------------------------


def test_the_command_says_all_and_ends_with_what_it_found(well: Services, tmp_path: Path) -> None:
    url = well.database.url.render_as_string(hide_password=False)
    environment = {
        **os.environ,
        "XTIGER_DATABASE_URL": url,
        "XTIGER_INSTANCE": str(tmp_path / "instance"),
        "COLUMNS": "200",
    }

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "xtiger", "doctor", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout

    assert run()[0] == 0
    breaks(well, f"UPDATE xtiger_queue SET rank = 7 WHERE id = {FIRST}")
    code, said = run()
    assert code == 1
    assert "One open item has another record's turn in a pass." in said
    code, said = run("--json")
    found = json.loads(said)
    assert (code, found["well"]) == (1, False)
    assert found["findings"][0]["check"] == "rank"
    assert found["findings"][0]["repairable"] is True
    code, said = run("--repair")
    assert code == 0, said
    assert "1 items have their own turn again." in said
    code, said = run("--json")
    assert (code, json.loads(said)["well"]) == (0, True)
    assert inspect(well.database.engine).has_table("xtiger_queue")

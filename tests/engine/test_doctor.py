"""The doctor finds what is broken in the queue, mends what is safe and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet
from sqlalchemy import inspect

from tests.conftest import Engine
from tests.engine.doctoring import (
    FIRST,
    KAURI,
    SECOND,
    THAMES,
    breaks,
    checks,
    contents,
    healthy,
    is_mended,
    lease,
)
from tests.engine.scenes import (
    ShiftedClock,
    all_ended,
    attempts,
    fault,
    invoices,
    sync,
    work,
)
from tests.engine.test_housekeeping import services_on
from tests.store.history import BODY, fill, organisations
from xtiger.cli import main
from xtiger.domain.records import Module, RecordRef
from xtiger.engine.services import Services
from xtiger.engine.upkeep import doctor
from xtiger.store import profiles, queue, structure
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Organisation,
    OutboxRow,
    QueueItem,
    Run,
)
from xtiger.store.schema import Database


@pytest.fixture
def well(database: Database) -> Services:
    """Two connected organisations with a history; for the first one five invoices wait."""
    return healthy(database)


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
        ("organisation", ["UPDATE xtiger_queue SET organisation_id = 99 WHERE id = :first"]),
        (
            "module",
            ["UPDATE xtiger_queue SET module = 'Dreams', slot = 'Dreams:w0' WHERE id = :first"],
        ),
        ("module", ["UPDATE xtiger_queue SET resource = 'Dreams' WHERE id = :first"]),
        (
            "circles",
            [
                "UPDATE xtiger_queue SET state = 'blocked', blocked_by = :second WHERE id = :first",
                "UPDATE xtiger_queue SET state = 'blocked', blocked_by = :first WHERE id = :second",
            ],
        ),
        ("slots", ["UPDATE xtiger_queue SET slot = 'Invoices:x' WHERE id = :first"]),
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
            "UPDATE xtiger_queue SET state = 'blocked', blocked_by = :parent WHERE id = :child",
            child=child,
            parent=parent,
        )
    (finding,) = doctor.examine(well).findings
    assert finding.named == (f"#{SECOND}", f"#{FIRST + 2}")


def test_a_record_that_waits_twice_is_found_by_its_younger_item(well: Services) -> None:
    breaks(
        well,
        "UPDATE xtiger_queue SET record_id = 'w0' WHERE id = :second",
    )
    assert checks(well) == {"slots", "waiting twice"}
    twice = next(one for one in doctor.examine(well).findings if one.check == "waiting twice")
    assert twice.named == (f"#{SECOND}",)


def test_a_wrong_turn_is_put_right(well: Services) -> None:
    breaks(well, "UPDATE xtiger_queue SET rank = 7 WHERE id IN (:first, :second)")
    breaks(well, "UPDATE xtiger_queue SET rank = 7 WHERE id = 50")  # it ended: nobody cares
    is_mended(well, "rank", touched={"xtiger_queue": [FIRST, SECOND]})
    with well.database.read() as session:
        assert session.get_one(QueueItem, FIRST).rank == 50


def test_a_claimed_item_of_a_gone_worker_goes_back(well: Services) -> None:
    breaks(well, "UPDATE xtiger_queue SET state = 'running', slot = NULL WHERE id = :first")
    is_mended(well, "running", touched={"xtiger_queue": [FIRST]})
    with well.database.read() as session:
        item = session.get_one(QueueItem, FIRST)
        assert (item.state, item.slot, item.tries) == ("pending", "Invoices:w0", 0)


def test_what_a_worker_has_just_claimed_is_left_alone(well: Services) -> None:
    breaks(well, "UPDATE xtiger_queue SET state = 'running', slot = NULL WHERE id = :first")
    lease(well, KAURI, seconds=90)
    before = contents(well.database)
    assert doctor.repair(well).well
    assert contents(well.database) == before


def test_what_a_worker_takes_between_look_and_repair_is_left_to_it(
    well: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(well, "UPDATE xtiger_queue SET state = 'running', slot = NULL WHERE id = :first")
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
        "UPDATE xtiger_queue SET state = 'blocked', blocked_by = :parent"
        " WHERE id IN (:first, :second)",
        parent=parent,
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
        breaks(services, "UPDATE xtiger_queue SET state = 'running', slot = NULL WHERE id = :first")


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


# -- healthy engines --------------------------------------------------------------------------


def test_an_engine_is_well_after_real_syncs(each_engine: Engine) -> None:
    """Also while a lost answer waits to be found out, and after it was."""
    engine = each_engine
    engine.connect("Kauri Trading")
    invoices(engine, 4, goods=True)
    sync(engine)
    assert doctor.examine(engine.services).findings == ()
    fault(engine, "reset", resource="Invoices", method="PUT", after_store=True)
    invoices(engine, 3, first=10)
    sync(engine)
    assert len(attempts(engine)) > len([one for one in attempts(engine) if one.closed_at])
    later = engine.worker("later", clock=ShiftedClock(20))
    assert doctor.examine(later).findings == ()
    work(engine, later)
    assert all_ended(engine)
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
    (tmp_path / "keys").write_text(Fernet.generate_key().decode())
    environment = {
        "XTIGER_DATABASE_URL": url,
        "XTIGER_INSTANCE": str(tmp_path),
        "COLUMNS": "200",
    }

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["doctor", *arguments], env=environment)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.stdout

    process = subprocess.run(
        [sys.executable, "-m", "xtiger", "doctor"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    breaks(well, "UPDATE xtiger_queue SET rank = 7 WHERE id = :first")
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
    assert "Items that have their own turn again: 1." in said
    code, said = run("--json")
    assert (code, json.loads(said)["well"]) == (0, True)
    assert inspect(well.database.engine).has_table("xtiger_queue")

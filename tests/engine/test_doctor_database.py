"""The doctor looks at the database itself, at keys and at clocks."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select, text

from tests.engine.doctoring import (
    FIRST,
    KAURI,
    breaks,
    checks,
    healthy,
    is_mended,
    lawless,
    lease,
)
from tests.engine.scenes import (
    ShiftedClock,
)
from tests.engine.test_housekeeping import services_on
from tests.store.history import fill, organisations
from xtiger.domain.records import Module, RecordRef
from xtiger.engine.services import Services
from xtiger.engine.upkeep import doctor
from xtiger.store import profiles, queue, structure
from xtiger.store.crypto import KeyRing
from xtiger.store.models import (
    Attempt,
    Connection,
    QueueItem,
    Worker,
)
from xtiger.store.schema import Database


@pytest.fixture
def well(database: Database) -> Services:
    """Two connected organisations with a history; for the first one five invoices wait."""
    return healthy(database)


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
    question = (lambda session: session.scalar(asked), "ix_xtiger_queue_label")
    monkeypatch.setattr(structure, "HOT", {"labels": question})
    monkeypatch.setattr(structure, "MANY", 100)
    (finding,) = doctor.examine(well).findings
    assert (finding.check, finding.named) == ("plans", ("labels",))


def test_a_large_database_without_figures_is_given_them(database: Database) -> None:
    """SQLite, left to guess, walks the items of all organisations for each claim."""
    services = services_on(database)
    homes = organisations(database, "Kauri", "Thames")
    begin = services.clock.now() - timedelta(days=90)
    fill(database, homes, begin=begin, runs=60, calls=4, batch=50)
    with database.write() as session:
        entries = [queue.Entry(KAURI, RecordRef(Module.INVOICES, f"w{n}")) for n in range(200)]
        queue.enqueue(session, entries, now=services.clock.now())
    assert checks(services) <= {"plans"}
    with database.write() as session:
        structure.analyse(session)
    database.close()  # a connection of before keeps the figures of before
    plans = []
    with database.read() as session:
        for ask, _index in structure.HOT.values():
            seen = structure._statement(session, ask)
            if database.engine.dialect.name == "sqlite":
                how = "EXPLAIN QUERY PLAN "
                plans.append(structure._plan(session.connection(), how, seen, 3))
        assert structure.slow_questions(session) == []
    assert not plans or "ix_xtiger_queue_due" in plans[0]
    assert checks(services) == set()


def test_another_version_of_the_database_is_named_alone(well: Services) -> None:
    with well.database.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE xtiger_alembic_version SET version_num = 'core0002'"
                " WHERE version_num LIKE 'core%'"
            )
        )
    found = doctor.examine(well)
    assert found.sentence == "1 check, 1 found."
    assert (found.findings[0].check, found.findings[0].action) == ("version", "Run: xtiger migrate")


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
    now = well.clock.now().replace(microsecond=0)
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

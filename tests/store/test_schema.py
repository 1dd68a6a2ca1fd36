"""Migrations make exactly the models' tables, and a failing database is told in one sentence."""

from __future__ import annotations

import os
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, Table, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.store.conftest import NOW, add_organisation, refused
from xtiger import migrations
from xtiger.accounts import AccountsBase
from xtiger.crm.builtin import Contact, CrmBase, Invoice
from xtiger.domain.errors import PermanentError, TransientError
from xtiger.migrations import VERSION_TABLE, include_name
from xtiger.store.models import Base, Connection, Flag, Organisation, OutboxRow
from xtiger.store.schema import Database, is_empty, migrate

BRANCHES = {"core": Base.metadata, "crm": CrmBase.metadata, "accounts": AccountsBase.metadata}


@pytest.mark.parametrize("branch", BRANCHES)
def test_migrations_make_exactly_the_models_tables(database: Database, branch: str) -> None:
    """Autogenerate, which sees all tables but those of the other branches, has nothing to do."""
    others = {VERSION_TABLE}.union(
        *(metadata.tables for name, metadata in BRANCHES.items() if name != branch)
    )

    def include(name: str | None, kind: str, _parents: Any) -> bool:
        return kind != "table" or name not in others

    with database.engine.connect() as connection:
        options = {"include_name": include, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, BRANCHES[branch]) == []


def test_partial_indexes_have_the_same_condition_as_in_the_models(database: Database) -> None:
    """Autogenerate doesn't compare conditions; a wrong one makes an index useless."""
    wanted = {
        index.name: str(index.dialect_options[database.engine.dialect.name]["where"])
        for table in Base.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options[database.engine.dialect.name]["where"] is not None
    }
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
        if database.engine.dialect.name == "sqlite"
        else "SELECT indexname, indexdef FROM pg_indexes"
    )
    with database.engine.connect() as connection:
        made = {name: sql or "" for name, sql in connection.execute(text(query))}
    assert len(wanted) >= 7
    for name, condition in wanted.items():
        assert "WHERE" in made[str(name)], name
        if database.engine.dialect.name == "sqlite":
            assert made[str(name)].endswith(condition)


def test_migrating_again_changes_nothing(database: Database) -> None:
    migrate(database)
    assert not is_empty(database)


def test_the_core_alone_can_be_migrated_into_a_hosts_database(database_url: str) -> None:
    database = Database(database_url)
    try:
        assert is_empty(database)
        Table("deals", hosts := MetaData(), Column("id", Integer, primary_key=True))
        hosts.create_all(database.engine)
        migrate(database, branches=("core",))
        with database.engine.connect() as connection:
            names = connection.dialect.get_table_names(connection)
        assert "deals" in names
        assert not [name for name in names if name.startswith("crm_")]
    finally:
        database.close()


def test_a_hosts_autogenerate_leaves_our_tables_alone(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": include_name})
        proposed = compare_metadata(context, CrmBase.metadata)
    dropped = {str(step[1]) for step in proposed if step[0] == "remove_table"}
    assert not [name for name in dropped if name.startswith("xtiger_")]
    assert include_name("deals", "table", {})
    assert not include_name("xtiger_queue", "table", {})
    assert include_name("ix_anything", "index", {})


def test_an_unmigrated_database_is_told_with_the_command_that_helps(database_url: str) -> None:
    database = Database(database_url)
    try:
        for table in (Connection, OutboxRow):
            with pytest.raises(PermanentError, match="Run: xtiger migrate"), database.read() as s:
                s.scalars(select(table)).all()
    finally:
        database.close()


def test_a_full_database_is_one_clear_sentence_and_goes_on_after_room_was_made(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    roomy = Database(url)
    migrate(roomy)
    with roomy.read() as session:
        pages = session.execute(text("PRAGMA page_count")).scalar_one()
    tight = Database(url, max_pages=pages + 2)
    with pytest.raises(TransientError, match=r"^The database is full: nothing was saved"):
        _fill(tight)
    tight.close()
    assert add_organisation(roomy, "after") > 0
    roomy.close()


def _fill(database: Database) -> None:
    for number in range(1000):
        with database.write() as session:
            session.add(Organisation(tenant_id=str(number), name="n" * 250))


def test_a_broken_rule_of_ours_is_not_taken_for_a_lost_connection(database: Database) -> None:
    """Names of our own tables hold the word "connection"."""
    with refused(database, IntegrityError) as session:
        session.add(Organisation(tenant_id="t", name="n", connection_id=4711))


def test_what_a_broken_rule_says_tells_no_values(database: Database) -> None:
    """PostgreSQL tells the row below its first line; it would stand in the log."""
    with database.write() as session:
        session.add(Organisation(tenant_id="t", name="Kauri Trading"))
    told = []
    try:
        with database.write() as session:
            session.add(Organisation(tenant_id="t", name="Rimu Secret"))
            session.add(Organisation(tenant_id="t", name="Rimu Secret"))
    except IntegrityError:
        told = traceback.format_exc().splitlines()
    assert any("tenant" in line.casefold() for line in told)
    assert not [line for line in told if "DETAIL" in line or line.endswith("Rimu Secret")]


def test_a_database_that_is_away_is_transient(postgres_url: str) -> None:
    gone = Database(postgres_url.replace("/t", "/missing_t"))
    with pytest.raises(TransientError, match="doesn't answer"), gone.read() as session:
        session.execute(text("SELECT 1"))
    gone.close()


def test_writers_wait_for_each_other_and_no_write_is_lost(database: Database) -> None:
    organisation = add_organisation(database, "counted")

    def step(_n: int) -> None:
        with database.write() as session:
            row = session.get_one(Organisation, organisation, with_for_update=True)
            row.fence += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(step, range(40)))
    with database.read() as session:
        assert session.get_one(Organisation, organisation).fence == 40


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    with refused(database, ZeroDivisionError) as session:
        session.add(OutboxRow(module="Contacts", record_id="1", kind="saved", at=NOW))
        session.flush()
        raise ZeroDivisionError
    with database.read() as session:
        assert session.scalars(select(OutboxRow)).all() == []


def test_rows_of_the_version_before_are_kept_and_get_what_they_lack(database_url: str) -> None:
    """Up from core0001 with rows in it, and down again."""
    database = Database(database_url)
    try:
        _step(database, "upgrade", "core0001")
        with database.write() as session:
            session.execute(
                text(
                    "INSERT INTO xtiger_connection (id, scope, connected_at, refresh_fence) "
                    "VALUES (1, '', '2026-11-01 00:00:00', 0)"
                )
            )
            session.execute(
                text(
                    "INSERT INTO xtiger_organisation (id, connection_id, tenant_id, name, chosen, "
                    "auto_sync, held_times, held_by_xero, fence) "
                    "VALUES (1, 1, 't', 'Kauri', true, false, 0, false, 0)"
                )
            )
        migrate(database, branches=("core",))
        with database.read() as session:
            assert session.get_one(Connection, 1).kind == "web"
            assert session.get_one(Organisation, 1).day_limit == 1000
        _step(database, "downgrade", "core0001")
        with database.read() as session:
            assert session.scalar(text("SELECT name FROM xtiger_organisation")) == "Kauri"
    finally:
        database.close()


def _first_contact(session: Session, name: str) -> int:
    """A contact as the first version of the small CRM kept it; answers with its number."""
    made = session.execute(
        text(
            "INSERT INTO crm_contact (name, is_supplier, status, created_at)"
            " VALUES (:name, false, 'Active', :now) RETURNING id"
        ),
        {"name": name, "now": NOW},
    )
    return int(made.scalar_one())


def _first_invoice(session: Session, contact_id: int) -> None:
    """An invoice of one line as the first version of the small CRM kept it."""
    session.execute(
        text(
            "INSERT INTO crm_invoice (id, number, contact_id, date, currency, amounts, subtotal,"
            " tax_total, total, status, created_at)"
            " VALUES (1, '1', :id, :day, 'NZD', 'exclusive', 0, 0, 0, 'Created', :now)"
        ),
        {"id": contact_id, "day": NOW.date().isoformat(), "now": NOW},
    )
    session.execute(
        text(
            "INSERT INTO crm_invoice_line (invoice_id, place, quantity, unit_price, discount,"
            " tax_rate, amount) VALUES (1, 1, 1, 5, 0, 0, 5)"
        )
    )


def test_a_deleted_records_number_is_never_given_again(database_url: str) -> None:
    """A new contact with an old one's number would meet its place in Xero."""
    database = Database(database_url)
    try:
        migrate(database, branches=("core",))
        _step(database, "upgrade", "crm0001")
        with database.write() as session:
            ann, ben = _first_contact(session, "Ann"), _first_contact(session, "Ben")
            _first_invoice(session, ann)
        with database.write() as session:
            session.execute(text("DELETE FROM crm_contact WHERE id = :id"), {"id": ben})
            # Of one deleted long ago only its flag is left.
            session.add(Flag(module="Contacts", record_id="41", allow=True))
        migrate(database, branches=("crm",))
        with database.write() as session:
            old = session.scalars(select(Invoice)).one()
            assert (old.number, old.contact_id, len(old.lines)) == ("1", ann, 1)
            for _each in range(2):
                new = Contact(name="Cleo")
                session.add(new)
                session.flush()
                on_sqlite = database.engine.dialect.name == "sqlite"
                assert new.id > (41 if on_sqlite else ben)
                last = new.id
                session.delete(new)
                session.flush()
        with database.write() as session:
            again = Contact(name="Dora")
            session.add(again)
            session.flush()
            assert again.id > last
    finally:
        database.close()


#: What somebody added to the small CRM's file by hand.
_THEIRS = (
    "CREATE VIEW buyers AS SELECT id, name FROM crm_contact",
    "CREATE VIEW first_buyers AS SELECT name FROM buyers WHERE id < 10",
    "CREATE TRIGGER rename_buyer INSTEAD OF UPDATE ON buyers BEGIN"
    " UPDATE crm_contact SET name = NEW.name WHERE id = OLD.id; END",
    "CREATE TABLE crm_note (id INTEGER PRIMARY KEY, words TEXT, contact_id INTEGER"
    " REFERENCES crm_contact (id) ON DELETE CASCADE)",
    "CREATE INDEX ix_crm_note_contact ON crm_note (contact_id)",
    "CREATE TRIGGER noted AFTER INSERT ON crm_note BEGIN"
    " UPDATE crm_contact SET city = NEW.words WHERE id = NEW.contact_id; END",
    "CREATE INDEX ix_their_city ON crm_contact (city)",
    "CREATE TRIGGER moved AFTER UPDATE OF city ON crm_contact BEGIN"
    " UPDATE crm_invoice SET reference = NEW.city WHERE contact_id = NEW.id; END",
)


def test_what_somebody_added_beside_the_small_crms_tables_is_kept(tmp_path: Path) -> None:
    """Views, triggers, indexes and tables of their own, and what refers to what."""
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    made = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name = :name"
    try:
        migrate(database, branches=("core",))
        _step(database, "upgrade", "crm0001")
        with database.write() as session:
            ann = _first_contact(session, "Ann")
            _first_invoice(session, ann)
            for statement in _THEIRS:
                session.execute(text(statement))
            session.execute(
                text("INSERT INTO crm_note (words, contact_id) VALUES ('Rome', :id)"),
                {"id": ann},
            )
            names = [statement.split()[2] for statement in _THEIRS]
            before = [session.execute(text(made), {"name": name}).all() for name in names]
        migrate(database, branches=("crm",))
        with database.write() as session:
            assert [session.execute(text(made), {"name": name}).all() for name in names] == before
            assert session.scalar(text("PRAGMA foreign_keys")) == 1
            assert session.scalar(text("PRAGMA integrity_check")) == "ok"
            assert session.execute(text("PRAGMA foreign_key_check")).all() == []
            assert session.scalar(text("SELECT words FROM crm_note")) == "Rome"
            assert session.scalar(text("SELECT name FROM first_buyers")) == "Ann"
            session.execute(text("UPDATE buyers SET name = 'Anna'"))
            session.execute(text("INSERT INTO crm_note (words, contact_id) VALUES ('Oslo', 1)"))
            ours = "SELECT name, city, reference FROM crm_contact, crm_invoice"
            assert session.execute(text(ours)).all() == [("Anna", "Oslo", "Oslo")]
        with refused(database, IntegrityError) as session:
            session.execute(text("DELETE FROM crm_contact"))  # its invoice refers to it
        with database.write() as session:
            session.execute(text("DELETE FROM crm_invoice"))
            assert session.scalar(text("SELECT count(*) FROM crm_invoice_line")) == 0
            session.execute(text("DELETE FROM crm_contact"))
            assert session.scalar(text("SELECT count(*) FROM crm_note")) == 0
    finally:
        database.close()


def test_ended_items_are_left_as_they_lie_by_the_queues_new_rules(database_url: str) -> None:
    """A long history is read once, not written; what names a parent in vain lets go of it."""
    database = Database(database_url)
    try:
        _step(database, "upgrade", "core0002")
        item = (
            "INSERT INTO xtiger_queue (id, organisation_id, module, record_id, label, resource,"
            " rank, action, state, slot, blocked_by, tries, changes, needed, added_at, changed_at)"
            " VALUES (:id, 1, 'Contacts', :record, '', 'Contacts', 20, 'Create', :state, :slot,"
            " :by, 0, 1, false, '2026-11-01 00:00:00', '2026-11-01 00:00:00')"
        )
        rows = (
            {"id": 1, "state": "succeeded", "slot": None, "by": None},
            {"id": 2, "state": "failed", "slot": "Contacts:2", "by": 1},
            {"id": 3, "state": "blocked", "slot": "Contacts:3", "by": 2},
        )
        guard = (
            (
                "CREATE TRIGGER untouched BEFORE UPDATE ON xtiger_queue WHEN OLD.id <> 2"
                " BEGIN SELECT RAISE(ABORT, 'touched'); END",
            )
            if database.engine.dialect.name == "sqlite"
            else (
                "CREATE FUNCTION untouched() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'touched'; END $$",
                "CREATE TRIGGER untouched BEFORE UPDATE ON xtiger_queue FOR EACH ROW"
                " WHEN (OLD.id <> 2) EXECUTE FUNCTION untouched()",
            )
        )
        with database.write() as session:
            session.execute(
                text(
                    "INSERT INTO xtiger_organisation (id, tenant_id, name, chosen, auto_sync,"
                    " held_times, held_by_xero, fence, day_limit)"
                    " VALUES (1, 't', 'Kauri', true, false, 0, false, 0, 1000)"
                )
            )
            for row in rows:
                session.execute(text(item), row | {"record": str(row["id"])})
            for statement in guard:
                session.execute(text(statement))
        migrate(database, branches=("core",))
        with database.read() as session:
            found = session.execute(text("SELECT id, blocked_by FROM xtiger_queue ORDER BY id"))
            assert found.all() == [(1, None), (2, None), (3, 2)]
    finally:
        database.close()


def _step(database: Database, way: str, revision: str) -> None:
    """One step of Alembic's, up or down, on one branch."""
    folder = Path(migrations.__file__).parent
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    config.set_main_option(
        "version_locations", os.pathsep.join(str(folder / each) for each in BRANCHES)
    )
    with database.engine.execution_options(xtiger_write=True).begin() as connection:
        config.attributes["connection"] = connection
        getattr(command, way)(config, revision)

"""Services come to a database that was in use before there were any."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

import pytest
from alembic import command
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests import books
from tests.store.conftest import NOW
from tests.store.test_schema import _step
from xtiger.crm.builtin import Invoice, Service, crm_of
from xtiger.domain.defaults import DEFAULTS
from xtiger.domain.mapping import MappingTemplate
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.selection import RuleKind
from xtiger.store import profiles, schema
from xtiger.store.models import Organisation, Profile, Template
from xtiger.store.schema import Database, migrate

INVOICE = RecordRef(Module.INVOICES, "1")


def _up_to(database: Database, revision: str) -> None:
    """What `migrate` does, but not to the newest version."""
    engine = database.engine.execution_options(xtiger_write=True)
    with as_file(files("xtiger.migrations")) as folder, engine.connect() as connection:
        config = schema._config(folder)
        config.attributes["connection"] = connection
        with schema._unchecked(connection), connection.begin():
            command.upgrade(config, revision)


def _in_use(database: Database) -> None:
    """Two organisations with rules for products, one without any, and an invoice of a product."""
    migrate(database, branches=("core",))
    _up_to(database, "crm0003")
    with database.write() as session:
        for number in range(1, 4):
            session.add(Organisation(tenant_id=f"t{number}", name=f"O{number}", chosen=True))
        session.flush()
        for one in (1, 2):
            for module in ("Contacts", "Products", "Invoices"):
                session.add(Profile(organisation_id=one, module=module, rule="all", enabled=False))
            for version in (1, 2):
                session.add(
                    Template(
                        organisation_id=one,
                        module="Products",
                        version=version,
                        body=DEFAULTS[Module.PRODUCTS, None],
                        made_at=NOW,
                    )
                )
        session.flush()
        for statement in (
            "INSERT INTO crm_contact (id, name, is_supplier, status, created_at)"
            " VALUES (1, 'Ann', false, 'Active', '2026-11-01 00:00:00')",
            "INSERT INTO crm_product (id, code, name, price, tax_rate, status, created_at)"
            " VALUES (1, 'W-1', 'Widget', 5, 15, 'Active', '2026-11-01 00:00:00')",
            "INSERT INTO crm_invoice (id, number, contact_id, date, currency, amounts, subtotal,"
            " tax_total, total, status, created_at)"
            " VALUES (1, 'INV-1', 1, '2026-11-01', 'NZD', 'exclusive', 5, 0.75, 5.75, 'Created',"
            " '2026-11-01 00:00:00')",
            "INSERT INTO crm_invoice_line (invoice_id, place, product_id, quantity, unit_price,"
            " discount, tax_rate, amount) VALUES (1, 1, 1, 1, 5, 0, 15, 5)",
        ):
            session.execute(text(statement))


def _rows(session: Session, model: Any) -> list[Any]:
    chosen = select(model).where(model.module == "Services").order_by(model.organisation_id)
    return list(session.scalars(chosen))


def test_an_installation_gets_the_table_the_rules_and_the_mapping(database_url: str) -> None:
    database = Database(database_url)
    try:
        _in_use(database)
        migrate(database)
        with database.write() as session:
            made = _rows(session, Profile)
            # The organisation that was never set up gets nothing; it is set up as a new one.
            assert [row.organisation_id for row in made] == [1, 2]
            rules = [one for one in profiles.profiles(session) if one.module is Module.SERVICES]
            assert [(one.enabled, one.rule.kind) for one in rules] == [(True, RuleKind.TICKED)] * 2
            assert all(one.add_needed and one.target_status == "AUTHORISED" for one in rules)
            templates = _rows(session, Template)
            assert [(row.organisation_id, row.version) for row in templates] == [(1, 1), (2, 1)]
            assert templates[0].made_at.tzinfo is not None
            begun = MappingTemplate.from_json(DEFAULTS[Module.SERVICES, None])
            assert MappingTemplate.from_json(templates[0].body) == begun
        # What is there stays as it was, and goes with the new.
        with database.write() as session:
            old = session.get_one(Invoice, 1)
            assert [line.product.code for line in old.lines if line.product] == ["W-1"]
            old.lines[0].product_id, old.lines[0].service_id = None, books.service(session).id
        found = crm_of(database.read).fetch_many([INVOICE])[INVOICE]
        assert found.parents()[1:] == (RecordRef(Module.SERVICES, "1"),)
        with pytest.raises(IntegrityError), database.write() as session:
            session.execute(text("DELETE FROM crm_service"))  # a line names it
        with pytest.raises(IntegrityError), database.write() as session:
            session.execute(text("UPDATE crm_invoice_line SET product_id = 1"))
    finally:
        database.close()


def test_a_number_of_a_service_is_never_given_again(database: Database) -> None:
    with database.write() as session:
        first = books.service(session, "S-1")
        session.delete(first)
        session.flush()
        assert books.service(session, "S-2").id > first.id


def test_back_again_an_older_program_meets_no_services(database_url: str) -> None:
    database = Database(database_url)
    try:
        _in_use(database)
        migrate(database)
        with database.write() as session:
            session.add(Service(name="Fitting", price=1, tax_rate=0))
            line = session.get_one(Invoice, 1).lines[0]
            session.flush()
            line.product_id, line.service_id = None, 1
            session.execute(
                text(
                    "INSERT INTO xtiger_queue (id, organisation_id, module, record_id, label,"
                    " resource, rank, action, state, slot, tries, changes, needed, added_at,"
                    " changed_at) VALUES (1, 1, 'Services', '1', '', 'Items', 30, 'Create',"
                    " 'pending', 'Services:1', 0, 1, false, '2026-11-01 00:00:00',"
                    " '2026-11-01 00:00:00')"
                )
            )
        _step(database, "downgrade", "crm@crm0003")
        with database.read() as session:
            assert not inspect(database.engine).has_table("crm_service")
            assert _rows(session, Profile) == _rows(session, Template) == []
            assert session.execute(text("SELECT state, slot FROM xtiger_queue")).all() == [
                ("cancelled", None)
            ]
            assert session.execute(text("SELECT product_id FROM crm_invoice_line")).all() == [
                (None,)
            ]
        migrate(database)
        with database.read() as session:
            assert len(_rows(session, Profile)) == 2
    finally:
        database.close()


def test_the_small_crm_alone_has_services_without_anything_to_set_up(database_url: str) -> None:
    """Its tables may lie in a database that the core isn't in."""
    database = Database(database_url)
    try:
        migrate(database, branches=("crm",))
        with database.write() as session:
            assert books.service(session).id == 1
    finally:
        database.close()

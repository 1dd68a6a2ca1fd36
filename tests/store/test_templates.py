"""Mapping templates as they are kept: versions for good, one save at a time, tests beside them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.store.conftest import NOW, add_organisation, ref, refused
from xtiger.domain.defaults import DEFAULTS
from xtiger.domain.records import DocumentType, Module
from xtiger.domain.resources import Resource
from xtiger.store import bindings, templates
from xtiger.store.models import Template
from xtiger.store.schema import Database
from xtiger.store.templates import Place, Stale, TooManyTests

INVOICE = DocumentType.INVOICE
BODY = dict(DEFAULTS[Module.INVOICES, INVOICE])


def place(organisation: int, kind: DocumentType | None = INVOICE) -> Place:
    return Place(organisation, Module.INVOICES if kind else Module.CONTACTS, kind)


def add(database: Database, at: Place, seen: int, who: str = "Ana", **more: object) -> int:
    with database.write() as session:
        body = {**BODY, **more}
        return templates.add(session, at, body, seen=seen, who=who, now=NOW).version


def test_the_newest_version_is_in_use_and_the_others_stay(
    database: Database, organisation: int
) -> None:
    at = place(organisation)
    assert add(database, at, 0) == 1
    assert add(database, at, 1, "Bo", tax_types={"12.5": "OUTPUT2"}) == 2
    with database.read() as session:
        newest = templates.newest(session, organisation, at.module, INVOICE)
        assert newest
        assert (newest.version, newest.author, newest.made_at) == (2, "Bo", NOW)
        assert newest.body["version"] == 2
        first = templates.version(session, at, 1)
        assert first
        assert "tax_types" not in first.body
        assert [row.version for row in templates.versions(session, at)] == [2, 1]
        assert [row.version for row in templates.versions(session, at, before=2)] == [1]
        assert templates.version(session, at, 3) is None


def test_each_organisation_module_and_type_has_versions_of_its_own(
    database: Database, organisation: int
) -> None:
    other = add_organisation(database, "Thames Supplies")
    assert add(database, place(organisation), 0) == 1
    assert add(database, place(organisation, DocumentType.BILL), 0) == 1
    assert add(database, place(organisation, None), 0) == 1
    assert add(database, place(other), 0) == 1
    with database.read() as session:
        assert templates.newest(session, other, Module.CONTACTS, None) is None


def test_a_version_made_from_an_old_one_is_refused_and_says_whose_is_new(
    database: Database, organisation: int
) -> None:
    at = place(organisation)
    add(database, at, 0)
    add(database, at, 1, "Bo")
    with database.write() as session:
        with pytest.raises(Stale) as stale:
            templates.add(session, at, BODY, seen=1, who="Ana", now=NOW)
        assert (stale.value.latest.version, stale.value.latest.author) == (2, "Bo")
    with refused(database, Stale) as session:
        templates.add(session, at, BODY, seen=0, who="Ana", now=NOW)


def test_of_two_who_save_at_once_one_wins(database: Database, organisation: int) -> None:
    at = place(organisation)
    add(database, at, 0)
    begin = Barrier(4)

    def save(who: str) -> int | None:
        begin.wait(10)
        try:
            return add(database, at, 1, who)
        except Stale:
            return None

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(save, ("Ana", "Bo", "Cy", "Di")))
    assert sorted(made, key=str) == [2, None, None, None]
    with database.read() as session:
        assert len(templates.versions(session, at)) == 2


def test_numbers_in_a_version_keep_every_digit(database: Database, organisation: int) -> None:
    exact = Decimal("0.12345678901234567890")
    add(database, place(organisation), 0, note=exact)
    with database.read() as session:
        row = session.query(Template).one()
        assert row.body["note"] == exact


# -- kept tests -------------------------------------------------------------------------------


def keep(database: Database, at: Place, name: str, **expected: str) -> int:
    with database.write() as session:
        row = templates.keep_test(
            session, at, name, sample={"label": name}, expected=expected, who="Ana", now=NOW
        )
        return int(row.id)


def names(database: Database, at: Place) -> list[str]:
    with database.read() as session:
        return [row.name for row in templates.tests(session, at)]


def test_tests_are_kept_by_name_and_replaced_by_name(database: Database, organisation: int) -> None:
    at = place(organisation)
    first = keep(database, at, "INV-2", DueDate="2026-12-05")
    keep(database, at, "INV-1", DueDate="2026-12-04")
    assert keep(database, at, "INV-2", DueDate="2026-12-06") == first
    assert names(database, at) == ["INV-1", "INV-2"]
    assert names(database, place(organisation, DocumentType.BILL)) == []
    with database.read() as session:
        row = templates.tests(session, at)[1]
        assert row.expected == {"DueDate": "2026-12-06"}
        assert (row.author, row.made_at) == ("Ana", NOW)


def test_a_mapping_keeps_only_so_many_tests(
    database: Database, organisation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "MOST_TESTS", 2)
    at = place(organisation)
    keep(database, at, "a", X="1")
    keep(database, at, "b", X="1")
    with refused(database, TooManyTests) as session:
        templates.keep_test(session, at, "c", sample={}, expected={}, who="Ana", now=NOW)
    keep(database, at, "b", X="2")
    assert names(database, at) == ["a", "b"]


def test_a_test_is_removed_only_where_it_belongs(database: Database, organisation: int) -> None:
    at, other = place(organisation), place(organisation, DocumentType.BILL)
    one = keep(database, at, "INV-1", X="1")
    with database.write() as session:
        assert templates.drop_test(session, other, one) is None
    assert names(database, at) == ["INV-1"]
    with database.write() as session:
        assert templates.drop_test(session, at, one) == "INV-1"
        assert templates.drop_test(session, at, one) is None
    assert names(database, at) == []


# -- what is in Xero by a mapping -------------------------------------------------------------


def bind(database: Database, organisation: int, *numbers: int, kind: str = "Invoice") -> None:
    with database.write() as session:
        bindings.bind_many(
            session,
            [
                bindings.row(
                    organisation_id=organisation,
                    ref=ref(number),
                    resource=Resource.INVOICES,
                    xero_id=f"x-{number}",
                    number=None,
                    status=None,
                    document_type=kind,
                    agreed={},
                    agreed_hash="h",
                    record_version="1",
                    template_id=None,
                    needed=False,
                    now=NOW,
                )
                for number in numbers
            ],
        )


def test_bound_records_come_in_pages_each_once(database: Database, organisation: int) -> None:
    bind(database, organisation, *range(1, 26))
    bind(database, organisation, 99, kind="Bill")
    at, found, after = place(organisation), [], None
    with database.read() as session:
        while rows := templates.bound(session, at, after=after, limit=10):
            found += [row.record_id for row in rows]
            after = rows[-1].record_id
        assert sorted(found, key=int) == [str(one) for one in range(1, 26)]
        bills = templates.bound(session, place(organisation, DocumentType.BILL), limit=10)
        assert [row.record_id for row in bills] == ["99"]


def test_pages_of_bound_records_go_by_their_index(database: Database, organisation: int) -> None:
    bind(database, organisation, *range(1, 400))
    on_postgres = database.engine.dialect.name == "postgresql"
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "xtiger_binding" in statement:
            asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    at = place(organisation)
    with database.read() as session:
        templates.bound(session, at, after="5", limit=10)
    with database.read() as session:
        if on_postgres:
            session.execute(text("SET LOCAL enable_seqscan = off"))
            session.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
            ready = asked[0]
            for place_, name in enumerate(re.findall(r"%\((\w+)\)s(?:::\w+)?", ready), 1):
                ready = re.sub(rf"%\({name}\)s", f"${place_}", ready)
            session.connection().exec_driver_sql(f"PREPARE p AS {ready}")
            values = "1, 'Invoices', 'Invoice', '5', 10"
            plan = session.connection().exec_driver_sql(f"EXPLAIN EXECUTE p({values})").all()
        else:
            explain = f"EXPLAIN QUERY PLAN {asked[0]}"
            values_ = (1, "Invoices", "Invoice", "5", 10, 0)
            plan = session.connection().exec_driver_sql(explain, values_).all()
    found = " ".join(str(row) for row in plan)
    assert ("uq_xtiger_binding_record" if on_postgres else "record_id>?") in found, found
    assert "Sort" not in found
    assert "TEMP B-TREE" not in found

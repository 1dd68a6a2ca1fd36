"""A record and a Xero object are bound once, and the CRM is told once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from tests.store.conftest import NOW, add_organisation, ref
from xtiger.domain.records import RecordRef
from xtiger.domain.resources import Resource
from xtiger.store import bindings
from xtiger.store.models import Binding
from xtiger.store.schema import Database


def bind(database: Database, organisation: int, record: RecordRef, **more: Any) -> Binding:
    values: dict[str, Any] = {
        "xero_id": "x-1",
        "number": "INV-1",
        "status": "AUTHORISED",
        "document_type": "Invoice",
        "agreed": {"Total": Decimal("1.10")},
        "agreed_hash": "h",
        "record_version": "v1",
        "template_id": None,
        "needed": False,
        "now": NOW,
    } | more
    made = bindings.row(
        organisation_id=organisation, ref=record, resource=Resource.INVOICES, **values
    )
    with database.write() as session:
        bindings.bind_many(session, [made])
        return bindings.of_records(session, organisation, [record])[record]


def test_a_record_is_bound_once_in_an_organisation(database: Database, organisation: int) -> None:
    first = bind(database, organisation, ref(1))
    again = bind(database, organisation, ref(1), number="INV-1b", agreed_hash="h2")
    assert first.id == again.id
    assert (again.xero_id, again.number, again.agreed_hash) == ("x-1", "INV-1b", "h2")
    with database.read() as session:
        [only] = bindings.of_record(session, ref(1))
    assert only.agreed == {"Total": Decimal("1.10")}


def test_a_xero_object_belongs_to_one_record(database: Database, organisation: int) -> None:
    bind(database, organisation, ref(1))
    with pytest.raises(IntegrityError):
        bind(database, organisation, ref(2))


def test_the_same_record_may_be_in_two_organisations(database: Database, organisation: int) -> None:
    other = add_organisation(database, "Thames Supplies")
    bind(database, organisation, ref(1))
    bind(database, other, ref(1))
    with database.read() as session:
        assert len(bindings.of_record(session, ref(1))) == 2
        found = bindings.by_xero_id(session, other, Resource.INVOICES, "x-1")
    assert found is not None
    assert found.organisation_id == other


def test_a_binding_that_differs_agrees_on_no_version(database: Database, organisation: int) -> None:
    row = bind(database, organisation, ref(1), agreed_hash=None)
    assert (row.agreed_hash, row.record_version) == (None, None)


def test_a_binding_agreed_anew_while_it_was_written_back_is_written_again(
    database: Database, organisation: int
) -> None:
    bind(database, organisation, ref(1))
    with database.read() as session:
        rows = bindings.unwritten(session, organisation)
    bind(database, organisation, ref(1), number="INV-9", now=NOW + timedelta(seconds=5))
    with database.write() as session:
        bindings.written(session, rows)
    with database.read() as session:
        [left] = bindings.unwritten(session, organisation)
    assert left.link.number == "INV-9"
    with database.write() as session:
        bindings.written(session, [left])
    with database.read() as session:
        assert bindings.unwritten(session, organisation) == []


def test_what_was_once_chosen_is_no_longer_only_needed(
    database: Database, organisation: int
) -> None:
    assert bind(database, organisation, ref(1), needed=True).needed is True
    assert bind(database, organisation, ref(1), needed=False).needed is False
    assert bind(database, organisation, ref(1), needed=True).needed is False

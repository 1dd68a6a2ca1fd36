"""Unclear items: a person looks, says it is there or it isn't, and nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    bindings_of,
    change_organisation,
    change_profile,
    created,
    crm,
    in_xero,
    item_of,
    kept,
    log_of,
    stranger,
    sync,
    tick,
    work,
)
from xtiger.crm.builtin import Invoice
from xtiger.domain.errors import PermanentError, TransientError
from xtiger.domain.queueing import State
from xtiger.domain.records import DocumentType, Module, RecordRef
from xtiger.engine import checking, intake
from xtiger.store import bindings, queue
from xtiger.store.models import AttemptElement, LogEntry, QueueItem


@pytest.fixture
def unclear(each_engine: Engine) -> Callable[[bool], QueueItem]:
    """A bill that was sent and of which nobody can tell whether it arrived."""
    engine = each_engine

    def make(arrived: bool) -> QueueItem:
        engine.connect(KAURI)
        with crm(engine) as session:
            row = books.invoice(session, "B-1", books.contact(session), (None, "1", "100.00"))
        tick(engine, row, document_type=DocumentType.BILL)
        sync(engine)
        item = item_of(engine, "B-1")
        assert item.state == "succeeded"
        return _forget(engine, item, arrived)

    return make


def _forget(engine: Engine, item: QueueItem, arrived: bool) -> QueueItem:
    """The same call, as if its answer had been lost: unbound, and open to doubt."""
    [bill] = [row for row in in_xero(engine, "Invoices") if row["InvoiceNumber"] == "B-1"]
    if not arrived:
        stranger(engine).post(
            f"Invoices/{bill['InvoiceID']}", {"InvoiceID": bill["InvoiceID"], "Status": "VOIDED"}
        )
    with engine.database.write() as session:
        ref = RecordRef(Module(item.module), item.record_id)
        bindings.unbind(session, item.organisation_id, ref)
        session.execute(delete(LogEntry).where(LogEntry.item_id == item.id))
        [new] = queue.enqueue(
            session,
            [queue.Entry(item.organisation_id, ref, "B-1")],
            now=engine.services.clock.now(),
        ).values()
        element = session.scalars(
            select(AttemptElement).where(AttemptElement.item_id == item.id)
        ).one()
        element.item_id = new
        session.flush()
        row = session.get_one(QueueItem, new)
        row.state, row.slot = "running", None
        session.flush()
        row.state, row.slot, row.cause = "check", str(ref), "check"
        row.sentence = "It was sent and Xero's answer was lost."
    return item_of(engine, "B-1")


def test_looking_shows_what_comes_near_and_logs_it(
    each_engine: Engine, unclear: Callable[[bool], QueueItem]
) -> None:
    item = unclear(True)
    assert checking.look(each_engine.services, item.id, "Ana") == 1
    [entry] = log_of(each_engine, "B-1")
    assert entry.sentence == "Ana looked in Xero: one comes near it."
    assert entry.quoted[0].startswith("Sent: B-1")
    [bill] = [row for row in in_xero(each_engine, "Invoices") if row["InvoiceNumber"] == "B-1"]
    assert checking.xero_id_in(entry.quoted[1]) == bill["InvoiceID"]
    assert item_of(each_engine, "B-1").state == "check"
    with each_engine.database.read() as session:
        case = checking.case_of(session, session.get_one(QueueItem, item.id))
        assert case is not None
        facts = dict(case.facts())
    assert facts["Type"] == "ACCPAY"
    assert facts["InvoiceNumber"] == "B-1"
    assert facts["Total"] == "NZD 115.00"


def test_it_is_there_binds_it_and_sends_nothing(
    each_engine: Engine, unclear: Callable[[bool], QueueItem]
) -> None:
    engine, item = each_engine, unclear(True)
    [bill] = [row for row in in_xero(engine, "Invoices") if row["InvoiceNumber"] == "B-1"]
    link = f"https://go.xero.com/app/!x/invoicing/view/{bill['InvoiceID'].upper()}"
    assert checking.there(engine.services, item.id, link, "Ana") is State.SUCCEEDED
    assert item_of(engine, "B-1").state == "succeeded"
    assert bindings_of(engine)[f"Invoices:{item.record_id}"].xero_id == bill["InvoiceID"]
    said, settled = log_of(engine, "B-1")
    assert said.sentence.startswith("Ana said “It is there”: B-1")
    assert settled.outcome == "succeeded"
    work(engine)
    assert created(engine) == ["B-1"]
    with pytest.raises(PermanentError, match="isn't unclear"):
        checking.there(engine.services, item.id, link, "Bo")


def test_one_that_differs_is_bound_and_failed_and_nothing_goes_by_itself(
    each_engine: Engine, unclear: Callable[[bool], QueueItem]
) -> None:
    engine, item = each_engine, unclear(True)
    other = stranger(engine).created(
        "Invoices", stranger(engine).invoice(Type="ACCPAY", InvoiceNumber="B-9")
    )
    xero_id = other["InvoiceID"]
    assert checking.there(engine.services, item.id, xero_id, "Ana") is State.FAILED
    found = item_of(engine, "B-1")
    assert (found.state, found.cause) == ("failed", "differs")
    assert "It is in Xero, but differs:" in str(found.sentence)
    work(engine)
    assert item_of(engine, "B-1").state == "failed"


def test_one_that_was_deleted_in_the_crm_meanwhile_goes_from_xero(
    each_engine: Engine, unclear: Callable[[bool], QueueItem]
) -> None:
    """The call that got lost created it: saying that it is there removes nothing."""
    engine, item = each_engine, unclear(True)
    change_profile(engine, "Invoices", deleted="remove")
    with crm(engine) as session:
        session.delete(session.get(Invoice, int(item.record_id)))
    intake.relay(engine.services)
    [bill] = in_xero(engine, "Invoices")
    assert checking.there(engine.services, item.id, bill["InvoiceID"], "Ana") is State.PENDING
    assert bindings_of(engine)[f"Invoices:{item.record_id}"].xero_id == bill["InvoiceID"]
    work(engine)
    assert [row["Status"] for row in in_xero(engine, "Invoices")] == ["VOIDED"]
    assert item_of(engine, "B-1").state == "succeeded"
    assert f"Invoices:{item.record_id}" not in bindings_of(engine)


def test_what_cant_be_it_is_refused_with_the_reason(
    each_engine: Engine, unclear: Callable[[bool], QueueItem]
) -> None:
    engine, item = each_engine, unclear(True)
    services = engine.services
    sale = stranger(engine).created("Invoices", stranger(engine).invoice(Type="ACCREC"))
    for given, why in (
        ("B-1", "Paste the object's Xero id"),
        ("00000000-0000-4000-8000-000000000000", "Xero has nothing under"),
        (sale["InvoiceID"], "another type"),
    ):
        with pytest.raises(PermanentError, match=why):
            checking.there(services, item.id, given, "Ana")
    until = services.clock.now() + timedelta(minutes=2)
    change_organisation(engine, holder="somebody", lease_until=until)
    with pytest.raises(TransientError, match="is working on"):
        checking.not_there(services, item.id, "Ana")
    assert item_of(engine, "B-1").state == "check"
    assert log_of(engine, "B-1") == []


def test_it_isnt_sends_it_again_from_its_old_place(
    each_engine: Engine, unclear: Callable[[bool], QueueItem]
) -> None:
    engine, item = each_engine, unclear(False)
    checking.not_there(engine.services, item.id, "Ana")
    assert item_of(engine, "B-1").state == "pending"
    assert log_of(engine, "B-1")[0].sentence == (
        f"Ana said “It isn't”: it goes again, in its old place #{item.id}."
    )
    work(engine)
    found = item_of(engine, "B-1")
    assert (found.id, found.state) == (item.id, "succeeded")
    assert kept(engine)["invoices"] == 2, "the voided one and the new one"
    living: list[dict[str, Any]] = [
        row for row in in_xero(engine, "Invoices") if row["Status"] != "VOIDED"
    ]
    assert len(living) == 1


def test_an_edit_while_nobody_knew_goes_over_once_it_is_known(
    each_engine: Engine, unclear: Callable[[bool], QueueItem]
) -> None:
    engine = each_engine
    item = unclear(True)
    with crm(engine) as session:
        row = session.get_one(Invoice, int(item.record_id))
        row.lines[0].unit_price *= 3
        row.count()
        total = row.total
    intake.relay(engine.services)
    assert item_of(engine, "B-1").state == "check"
    [bill] = [row for row in in_xero(engine, "Invoices") if row["InvoiceNumber"] == "B-1"]
    checking.there(engine.services, item.id, bill["InvoiceID"], "Ana")
    sync(engine)
    [bill] = [row for row in in_xero(engine, "Invoices") if row["InvoiceNumber"] == "B-1"]
    assert float(bill["Total"]) == float(total) == 345.0

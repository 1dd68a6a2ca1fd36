"""One record that can't be read, built or judged keeps no other from going."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ask,
    created,
    crm,
    invoices,
    item_of,
    kept,
    log_of,
    queue_of,
    runs,
    sync,
    work,
)
from xtiger.crm.builtin import InvoiceLine
from xtiger.domain.mapping import CompiledMapper
from xtiger.engine import scheduler, standing


def unreadable(engine: Engine, row: Any) -> None:
    """Its line names a product that is gone: the CRM's own code stumbles over it."""
    with crm(engine) as session:
        session.execute(text("PRAGMA foreign_keys = OFF"))
        [line] = session.query(InvoiceLine).filter_by(invoice_id=row.id)
        line.product_id, line.description = 999, None


def test_a_record_whose_building_breaks_fails_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 5)
    real = CompiledMapper.build

    def build(self: CompiledMapper, record: Any, context: Any) -> Any:
        if record.label == "INV-3":
            raise OverflowError
        return real(self, record, context)

    monkeypatch.setattr(CompiledMapper, "build", build)
    ask(engine, one)
    work(engine)
    assert created(engine) == ["INV-1", "INV-2", "INV-4", "INV-5"]
    item = item_of(engine, "INV-3")
    assert (item.state, item.cause) == ("failed", "our-fault:OverflowError")
    assert item.sentence == "XTiger can't build it (OverflowError). The log says more."
    [run] = runs(engine)
    assert (run.succeeded, run.failed) == (5, 1)
    monkeypatch.undo()
    with engine.database.write() as session:
        session.execute(text("UPDATE xtiger_queue SET state = 'pending' WHERE state = 'failed'"))
    ask(engine, one)
    work(engine)
    assert kept(engine)["invoices"] == 5


def test_a_record_that_its_crm_cannot_read_stops_neither_the_relay_nor_the_others(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    made = invoices(engine, 3)
    unreadable(engine, made[1])
    scheduler.once(engine.services)
    assert created(engine) == ["INV-1", "INV-3"]
    item = item_of(engine, f"invoice {made[1].id}")
    assert (item.state, item.cause) == ("failed", "unreadable")
    assert item.sentence == "The CRM can't read it (AttributeError). The log says more."
    [told] = standing.standing(engine.services, books.ref(made[1]))
    assert told.state == "Failed"
    sync(engine)
    with crm(engine) as session:
        [line] = session.query(InvoiceLine).filter_by(invoice_id=made[1].id)
        line.product_id, line.description = None, "Work"
    ask(engine, one)
    work(engine)
    assert created(engine) == ["INV-1", "INV-3", "INV-2"]
    assert {state for _label, state in queue_of(engine)} == {"succeeded"}
    assert [entry.outcome for entry in log_of(engine, "INV-2")] == ["succeeded"]


def test_a_record_that_turns_unreadable_while_it_waits_fails_alone(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    made = invoices(engine, 3)
    ask(engine, one)
    unreadable(engine, made[0])
    work(engine)
    assert created(engine) == ["INV-2", "INV-3"]
    assert [state for _label, state in queue_of(engine)].count("failed") == 1



"""One record that can't be read, built or judged keeps no other from going."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ask,
    created,
    invoices,
    item_of,
    kept,
    queue_of,
    retry,
    runs,
    sync,
    tick,
    work,
)
from xtiger.crm import builtin
from xtiger.crm.builtin import Invoice
from xtiger.crm.sql import Snapshot
from xtiger.domain.mapping import CompiledMapper
from xtiger.engine import scheduler, standing
from xtiger.engine.services import Services


def stumbling(engine: Engine, monkeypatch: pytest.MonkeyPatch, number: str) -> Services:
    """A worker whose CRM's own code breaks over one invoice."""
    real = builtin._read_invoice

    def read(row: Invoice) -> Snapshot:
        if row.number == number:
            raise KeyError("amounts")
        return real(row)

    with monkeypatch.context() as patched:
        patched.setattr(builtin, "_read_invoice", read)
        crm = builtin.crm_of(engine.crm_sessions)
    return replace(engine.services, crm=crm)


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
    retry(engine, "INV-3")
    assert kept(engine)["invoices"] == 5


def test_a_record_that_its_crm_cannot_read_stops_neither_the_relay_nor_the_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine.connect(KAURI)[KAURI]
    made = invoices(engine, 3)
    services = stumbling(engine, monkeypatch, "INV-2")
    scheduler.once(services)
    assert created(engine) == ["INV-1", "INV-3"]
    item = item_of(engine, f"invoice {made[1].id}")
    assert (item.state, item.cause) == ("failed", "unreadable")
    assert item.sentence == "The CRM can't read it (KeyError). The log says more."
    [told] = standing.standing(services, books.ref(made[1]))
    assert (told.state, told.sentence) == ("Failed", item.sentence)
    tick(engine, made[1])
    ask(engine, one)
    work(engine)
    assert created(engine) == ["INV-1", "INV-3", "INV-2"]
    assert {state for _label, state in queue_of(engine)} == {"succeeded"}


def test_a_record_that_turns_unreadable_while_it_waits_fails_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3)
    ask(engine, one)
    scheduler.work(stumbling(engine, monkeypatch, "INV-1"), one)
    assert created(engine) == ["INV-2", "INV-3"]
    assert item_of(engine, "INV-1").cause == "unreadable"
    retry(engine, "INV-1")
    assert created(engine) == ["INV-2", "INV-3", "INV-1"]


def test_adding_all_that_is_selected_goes_past_a_record_that_cannot_be_read(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.connect(KAURI)
    invoices(engine, 3)
    sync(engine, stumbling(engine, monkeypatch, "INV-1"))
    assert created(engine) == ["INV-2", "INV-3"]
    assert item_of(engine, "invoice 1").cause == "unreadable"

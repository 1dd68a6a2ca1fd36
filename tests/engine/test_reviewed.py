"""Faults that readers of the code found, each by itself."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ask,
    attempts,
    change_profile,
    control,
    crm,
    fault,
    invoices,
    item_of,
    items,
    kept,
    organisation,
    queue_of,
    retry,
    sync,
    tick,
    work,
    writes,
)
from tests.engine.test_lanes import Linked
from xtiger.crm.builtin import Invoice
from xtiger.domain.records import Module
from xtiger.engine import flight, intake, pausing, standing
from xtiger.engine.settle import DIFFERS
from xtiger.store import claims, queue
from xtiger.store.models import QueueItem


def test_two_that_need_each_other_are_seen_within_one_chunk(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    with crm(engine) as session:
        made = [books.contact(session, f"Link {number}") for number in range(2)]
    one, other = (books.ref(row) for row in made)
    engine.services.crm = Linked(engine.services.crm, {one: [other], other: [one]})
    tick(engine, *made)
    sync(engine)
    assert sorted(item.state for item in items(engine)) == ["blocked", "failed"]
    [failed] = [item for item in items(engine) if item.state == "failed"]
    assert failed.cause == "cycle"


def test_innocent_records_go_when_what_failed_is_retried_together(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine, 50)
    for number in (5, 10, 15, 20):
        spoilt = {"resource": "Invoices", "method": "PUT", "status": 413}
        fault(engine, "status", count=1000, text=f'"INV-{number}"', **spoilt)
    sync(engine)
    failed = [item.label for item in items(engine, "Invoices") if item.state == "failed"]
    retry(engine, *failed)
    failed = [item.label for item in items(engine, "Invoices") if item.state == "failed"]
    assert failed == ["INV-5", "INV-10", "INV-15", "INV-20"]
    assert kept(engine)["invoices"] == 46
    control(engine, "faults", [])


def test_a_module_that_is_paused_sends_no_further_call(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 150)

    def pause(step: str) -> None:
        if step == "settled" and len(writes(engine, "Invoices")) == 1:
            pausing.pause(services, organisation_id=one, module=Module.INVOICES, who="Ana")

    services = engine.worker("w", observe=pause)
    services.in_flight = 1
    sync(engine, services)
    assert kept(engine)["invoices"] == 50
    assert len(writes(engine, "Invoices")) == 1


def test_a_fault_of_ours_in_a_call_is_told_although_the_worker_is_ending(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.connect(KAURI)
    invoices(engine, 120)
    settle = flight.settle_sent

    def broken(session: Any, sent: Any, *more: Any, **named: Any) -> None:
        if sent.resource == "Invoices":
            time.sleep(0.5)
            raise RuntimeError("a fault of ours")
        settle(session, sent, *more, **named)

    monkeypatch.setattr(flight, "settle_sent", broken)
    services = engine.services
    services.stopping = lambda: any(one.resource == "Invoices" for one in attempts(engine))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        sync(engine)
    assert "a fault of its own" in str(organisation(engine).held_why)


def test_reference_data_that_was_just_read_is_believed_whatever_the_clocks_say(
    each_engine: Engine,
) -> None:
    engine = each_engine
    engine.connect(KAURI)
    _good, bad = invoices(engine, 2)
    with crm(engine) as session:
        row = session.get_one(Invoice, bad.id)
        row.lines[0].tax_rate = 77
        row.count()
    intake.relay(engine.services)
    with engine.database.write() as session:
        later = engine.services.clock.now() + timedelta(hours=1)
        session.execute(update(QueueItem).values(changed_at=later))
    sync(engine)
    assert item_of(engine, "INV-1").state == "succeeded"
    assert item_of(engine, "INV-2").state == "failed"


def test_a_strict_lane_lets_go_what_one_of_its_own_waits_for(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    change_profile(engine, "Contacts", strict=True)
    with crm(engine) as session:
        made = [books.contact(session, f"Link {number}") for number in range(2)]
    one, other = (books.ref(row) for row in made)
    engine.services.crm = Linked(engine.services.crm, {one: [other]})
    tick(engine, *made)
    sync(engine)
    sync(engine)
    assert {item.state for item in items(engine)} == {"succeeded"}


def test_what_goes_again_no_longer_says_why_it_failed(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    _good, bad = invoices(engine, 2)
    with crm(engine) as session:
        row = session.get_one(Invoice, bad.id)
        row.lines[0].tax_rate = 77
        row.count()
    sync(engine)
    assert "77" in str(item_of(engine, "INV-2").sentence)
    with crm(engine) as session:
        row = session.get_one(Invoice, bad.id)
        row.lines[0].tax_rate = 15
        row.count()
    intake.relay(engine.services)
    ask(engine, one)
    item = item_of(engine, "INV-2")
    assert item.state == "pending"
    with engine.database.read() as session:
        now = engine.services.clock.now()
        (why,) = standing.reasons(session, [item], now, reserve=10).values()
    assert "77" not in why


def test_one_that_differed_keeps_its_amounts_when_its_call_did_nothing(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 1)
    intake.relay(engine.services)
    with engine.database.write() as session:
        session.execute(update(QueueItem).values(cause=DIFFERS))
        now = engine.services.clock.now()
        [claimed] = claims.claim(
            session, one, rank=claims.due_ranks(session, one, up_to=99, now=now)[0], up_to=99,
            after=0, limit=9, now=now, run_id=None,
        )  # fmt: skip
        queue.put_back(session, [claimed])
    assert item_of(engine, claimed.label).cause == DIFFERS
    work(engine)
    assert queue_of(engine)

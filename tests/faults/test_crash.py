"""A worker killed at any named step loses nothing and doubles nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ShiftedClock,
    all_ended,
    ask,
    attempts,
    created,
    crm,
    die_at,
    invoices,
    item_of,
    items,
    kept,
    log_of,
    organisation,
    queue_of,
    runs,
    stranger,
    survive,
    tick,
    writes,
)
from xtiger.crm.builtin import Invoice
from xtiger.domain.records import DocumentType
from xtiger.engine import scheduler
from xtiger.store.models import Attempt, Organisation

#: Seconds after the death: Xero still knows the key, and Xero has surely forgotten it.
REPLAYED, LOOKED_UP = 200, 500
#: The third call is the invoices'.
INVOICES = 3


def arrived_once(engine: Engine) -> None:
    assert kept(engine) == {"contacts": 1, "items": 1, "invoices": 3}
    assert created(engine) == ["INV-1", "INV-2", "INV-3"]
    assert all_ended(engine, ["succeeded"])
    assert [run.ended_at is not None for run in runs(engine)] == [True]
    for label in ("Ana Lee Ltd", "W-1", "INV-1", "INV-2", "INV-3"):
        assert [entry.outcome for entry in log_of(engine, label)] == ["succeeded"]
    with engine.crm_sessions() as session:
        assert all(row.xero_id for row in session.query(Invoice))


@pytest.mark.parametrize(("nth", "seconds"), [(1, LOOKED_UP), (3, REPLAYED), (3, LOOKED_UP)])
@pytest.mark.parametrize("step", ["claimed", "journalled", "answered", "settled"])
def test_a_death_at_any_step_is_made_good(
    each_engine: Engine, step: str, nth: int, seconds: int
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3, goods=True)
    ask(engine, one)
    die_at(engine, one, step, nth=nth)
    survive(engine, one, seconds)
    arrived_once(engine)


def test_a_lost_answer_is_replayed_with_the_same_key_and_xero_creates_nothing_twice(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3, goods=True)
    ask(engine, one)
    die_at(engine, one, "answered", nth=INVOICES)
    survive(engine, one, REPLAYED)
    first, replay = writes(engine, "Invoices")
    assert first["idempotency_key"] == replay["idempotency_key"]
    assert (first["replayed"], replay["replayed"]) == (False, True)
    assert attempts(engine)[-1].sends == 2
    arrived_once(engine)


def test_after_xeros_memory_nothing_is_sent_before_it_was_looked_for(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3, goods=True)
    ask(engine, one)
    die_at(engine, one, "answered", nth=INVOICES)
    survive(engine, one, LOOKED_UP)
    assert len(writes(engine, "Invoices")) == 1
    assert attempts(engine)[-1].outcome == "looked up"
    arrived_once(engine)


def test_between_replay_and_look_up_it_waits_and_says_why(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3, goods=True)
    ask(engine, one)
    die_at(engine, one, "answered", nth=INVOICES)
    survive(engine, one, 350)
    row = organisation(engine)
    assert "asks Xero whether it arrived before it sends anything again" in str(row.held_why)
    assert len(writes(engine, "Invoices")) == 1
    assert item_of(engine, "INV-1").state == "running"
    survive(engine, one, 430)
    arrived_once(engine)
    assert organisation(engine).held_why is None


def test_a_death_while_replaying_is_made_good_too(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3, goods=True)
    ask(engine, one)
    die_at(engine, one, "journalled", nth=INVOICES)
    die_at(engine, one, "replaying", clock=ShiftedClock(185))
    survive(engine, one, 500)
    arrived_once(engine)


@pytest.mark.parametrize("seconds", [REPLAYED, LOOKED_UP])
@pytest.mark.parametrize("step", ["journalled", "answered"])
def test_bills_are_found_by_their_link_since_their_numbers_are_not_unique(
    each_engine: Engine, step: str, seconds: int
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    for _ in range(2):
        stranger(engine).created(
            "Invoices", stranger(engine).invoice(Type="ACCPAY", InvoiceNumber="B-1")
        )
    with crm(engine) as session:
        row = books.invoice(session, "B-1", books.contact(session))
    tick(engine, row, document_type=DocumentType.BILL)
    ask(engine, one)
    die_at(engine, one, step, nth=2)
    survive(engine, one, seconds)
    assert kept(engine)["invoices"] == 3
    assert all_ended(engine, ["succeeded"])


def test_a_number_taken_by_a_stranger_meanwhile_is_not_mistaken_for_ours(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 2)
    ask(engine, one)
    die_at(engine, one, "journalled", nth=2)
    stranger(engine).created("Invoices", stranger(engine).invoice(InvoiceNumber="INV-1"))
    survive(engine, one, LOOKED_UP)
    item = item_of(engine, "INV-1")
    assert item.state == "failed"
    assert "taken" in str(item.cause) + str(item.sentence) or "exists" in str(item.sentence)
    assert item_of(engine, "INV-2").state == "succeeded"
    assert kept(engine)["invoices"] == 2


def test_a_lost_update_is_simply_made_again(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    [document] = invoices(engine)
    ask(engine, one)
    survive(engine, one, 0)
    with crm(engine) as session:
        session.get(Invoice, document.id).reference = "later"
    ask(engine, one)
    die_at(engine, one, "answered")
    survive(engine, one, LOOKED_UP)
    assert [call["method"] for call in writes(engine, "Invoices")] == ["PUT", "POST", "POST"]
    assert all_ended(engine, ["succeeded"])


def test_a_change_made_while_nobody_knew_goes_after_what_was_lost(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    [document] = invoices(engine)
    ask(engine, one)
    die_at(engine, one, "answered", nth=2)
    with crm(engine) as session:
        session.get(Invoice, document.id).reference = "later"
    survive(engine, one, LOOKED_UP)
    assert [call["method"] for call in writes(engine, "Invoices")] == ["PUT", "POST"]
    assert kept(engine)["invoices"] == 1


def test_the_old_holder_that_wakes_up_writes_nothing(each_engine: Engine) -> None:
    """It was only asleep: meanwhile another one took over and settled its call."""
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3, goods=True)
    ask(engine, one)

    def sleep(step: str) -> None:
        if step == "answered" and created(engine) and not slept:
            slept.append(step)
            with engine.database.write() as session:
                session.execute(
                    update(Organisation).values(lease_until=engine.services.clock.now())
                )
            survive(engine, one, REPLAYED)

    slept: list[str] = []
    scheduler.work(engine.worker("sleeper", observe=sleep), one)
    arrived_once(engine)


def test_a_call_that_the_lease_might_not_outlive_is_not_started(engine: Engine) -> None:
    """Somebody else could be looking for it already."""
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)
    clock = ShiftedClock()

    def doze(step: str) -> None:
        if step == "journalled" and not dozed:
            dozed.append(step)
            clock.sleep(150)

    dozed: list[str] = []
    scheduler.work(engine.worker("slow", clock=clock, observe=doze), one)
    assert writes(engine) == []
    assert [attempt.outcome for attempt in attempts(engine)] == ["not sent"]
    assert queue_of(engine) == [("Ana Lee Ltd", "pending"), ("INV-1", "pending")]
    scheduler.work(engine.worker("slow", clock=clock), one)
    assert all_ended(engine)


def test_nothing_is_sent_that_is_not_in_the_journal(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3, goods=True)
    ask(engine, one)
    survive(engine, one, 0)
    journalled = {attempt.idempotency_key for attempt in attempts(engine)}
    assert {call["idempotency_key"] for call in writes(engine)} == journalled
    with engine.database.read() as session:
        assert session.query(Attempt).filter(Attempt.closed_at.is_(None)).count() == 0
    assert len(items(engine)) == 5

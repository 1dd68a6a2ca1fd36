"""A lost call is sent again only while Xero surely knows its key, and only an answer settles it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ShiftedClock,
    all_ended,
    ask,
    attempts,
    created,
    fault,
    invoices,
    item_of,
    kept,
    organisation,
    queue_of,
    runs,
    tick,
    work,
    writes,
)
from xtiger.domain.errors import TransientError
from xtiger.domain.records import DocumentType
from xtiger.engine import scheduler
from xtiger.engine.connection import connect
from xtiger.engine.services import Services
from xtiger.ports import Access, Answer, Call, TokenSet
from xtiger.store.models import Connection

#: Seconds after the loss: replayed, too late for a replay and too early to look, looked up.
REPLAYED, BETWEEN, LOOKED_UP = 30, 350, 500


class SlowClock(ShiftedClock):
    """A clock on which whoever waits a moment waits five seconds."""

    def sleep(self, seconds: float) -> None:
        super().sleep(max(seconds, 5))


class Watched:
    """The real Xero, slow to renew tokens; notes when each write left."""

    def __init__(self, services: Services, engine: Engine, *, renewing: float) -> None:
        self._inner, self._clock, self._engine = services.xero, services.clock, engine
        self._renewing = renewing
        #: Seconds that the lease still had when the write left.
        self.lease_left: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def refresh(self, **details: Any) -> TokenSet:
        self._clock.sleep(self._renewing)
        tokens: TokenSet = self._inner.refresh(**details)
        return tokens

    def save_many(self, access: Access, call: Call) -> Answer:
        until = organisation(self._engine).lease_until
        assert until is not None
        self.lease_left.append((until - self._clock.now()).total_seconds())
        answer: Answer = self._inner.save_many(access, call)
        return answer


def lose_a_bill(engine: Engine) -> int:
    """A bill that Xero stored and whose answer was lost: nothing but our mark tells it apart."""
    one = engine.connect(KAURI)[KAURI]
    [document] = invoices(engine)
    tick(engine, document, document_type=DocumentType.BILL)
    fault(engine, "reset", resource="Invoices", method="PUT", after_store=True)
    ask(engine, one)
    work(engine)
    assert kept(engine)["invoices"] == 1
    return one


def refreshed_elsewhere(engine: Engine, clock: ShiftedClock, seconds: float) -> None:
    """The token ends now, and somebody else is renewing it for so many seconds."""
    with engine.database.write() as session:
        session.execute(
            update(Connection).values(
                expires_at=clock.now(), refresh_until=clock.now() + timedelta(seconds=seconds)
            )
        )


def use_up_the_minute(engine: Engine, services: Services, one: int, seconds: int) -> None:
    """Xero told this worker, on a call of another kind, to wait so many seconds."""
    fault(engine, "limit", resource="Organisation", problem="minute", retry_after=seconds)
    with pytest.raises(TransientError):
        connect.refresh_reference(services, one)


def found_out_once(engine: Engine) -> None:
    assert kept(engine)["invoices"] == 1
    assert created(engine) == ["INV-1"]
    assert all_ended(engine, ["succeeded"])
    assert attempts(engine)[-1].outcome == "looked up"
    assert [run.ended_at is not None for run in runs(engine)] == [True]


@pytest.mark.parametrize("status", [404, 405, 413])
def test_a_replay_that_is_refused_says_nothing_about_the_first_call(
    engine: Engine, status: int
) -> None:
    """A maintenance page in between: were the bill failed by it, its retry would make a second."""
    lose_a_bill(engine)
    fault(engine, "status", resource="Invoices", method="PUT", status=status)
    work(engine, engine.worker("later", clock=ShiftedClock(REPLAYED)))
    assert item_of(engine, "INV-1").state == "running"
    attempt = attempts(engine)[-1]
    assert (attempt.closed_at, attempt.sends) == (None, 2)
    assert "Xero's first answer was lost, and it says now" in str(organisation(engine).held_why)
    work(engine, engine.worker("late", clock=ShiftedClock(LOOKED_UP)))
    found_out_once(engine)


def test_a_replay_does_not_start_after_its_time_however_long_the_token_took(
    engine: Engine,
) -> None:
    one = lose_a_bill(engine)
    clock = SlowClock(280)
    refreshed_elsewhere(engine, clock, 40)
    scheduler.work(engine.worker("later", clock=clock), one)
    assert clock.shift > timedelta(seconds=300)
    assert len(writes(engine, "Invoices")) == 1
    assert attempts(engine)[-1].closed_at is None
    work(engine, engine.worker("late", clock=ShiftedClock(LOOKED_UP)))
    assert len(writes(engine, "Invoices")) == 1
    found_out_once(engine)


def test_a_replay_that_must_wait_for_xeros_minute_is_given_up_for_the_look_up(
    engine: Engine,
) -> None:
    one = lose_a_bill(engine)
    clock = ShiftedClock(280)
    later = engine.worker("later", clock=clock)
    use_up_the_minute(engine, later, one, 50)
    scheduler.work(later, one)
    assert clock.shift < timedelta(seconds=282)
    assert attempts(engine)[-1].closed_at is None
    clock.sleep(BETWEEN - 280)
    scheduler.work(later, one)
    assert "asks Xero whether it arrived" in str(organisation(engine).held_why)
    clock.sleep(LOOKED_UP - BETWEEN)
    scheduler.work(later, one)
    assert len(writes(engine, "Invoices")) == 1
    found_out_once(engine)


@pytest.mark.parametrize(("renewing", "leaves"), [(20, True), (40, False)])
def test_a_call_leaves_only_while_its_lease_outlives_it(
    engine: Engine, renewing: float, leaves: bool
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)
    clock = SlowClock()
    worker = engine.worker("slow", clock=clock)
    watched = Watched(worker, engine, renewing=renewing)
    refreshed_elsewhere(engine, clock, 90)
    scheduler.work(replace(worker, xero=watched), one)
    assert clock.shift >= timedelta(seconds=90 + renewing)
    assert bool(watched.lease_left) == leaves
    assert all(left >= 60 for left in watched.lease_left)
    work(engine, engine.worker("later", clock=ShiftedClock(200)))
    assert created(engine) == ["INV-1"]
    assert all_ended(engine)


def test_a_write_gives_its_lease_back_instead_of_waiting_out_xeros_minute(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)
    clock = ShiftedClock()
    worker = engine.worker("w", clock=clock)
    use_up_the_minute(engine, worker, one, 50)
    scheduler.work(worker, one)
    assert clock.shift < timedelta(seconds=2)
    assert writes(engine) == []
    row = organisation(engine)
    assert row.held_until is not None
    assert 40 < (row.held_until - clock.now()).total_seconds() <= 50.5
    assert (row.held_times, row.lease_until, row.held_by_xero) == (0, None, True)
    assert queue_of(engine) == [("Ana Lee Ltd", "pending"), ("INV-1", "pending")]
    clock.sleep(51)
    scheduler.work(worker, one)
    assert all_ended(engine)

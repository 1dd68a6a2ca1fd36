"""What goes wrong with one call: nothing is lost, order is kept, people are told once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import Engine, free_port
from tests.engine.scenes import (
    KAURI,
    ShiftedClock,
    all_ended,
    ask,
    attempts,
    change_organisation,
    created,
    fault,
    invoices,
    item_of,
    items,
    kept,
    organisation,
    queue_of,
    ref_of,
    runs,
    work,
    writes,
)
from xtiger.crm.builtin import Invoice
from xtiger.domain.errors import TransientError
from xtiger.engine import scheduler, standing
from xtiger.engine.services import Services
from xtiger.xero.client import XeroClient


def go(engine: Engine, seconds: float = 0, *, in_flight: int = 4) -> None:
    """A worker so many seconds later."""
    services = engine.worker("worker", clock=ShiftedClock(seconds))
    services.in_flight = in_flight
    work(engine, services)


class CutOff:
    """The real Xero, whose writes never leave."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def save_many(self, *_: Any) -> Any:
        raise TransientError("Xero can't be reached (x). XTiger tries again by itself.")


def cut_off(services: Services) -> Services:
    """The same worker without a line to Xero."""
    return replace(services, xero=CutOff(services.xero))


@pytest.mark.parametrize(
    "how",
    [
        {"kind": "reset", "after_store": True},
        {"kind": "half"},
        {"kind": "malformed"},
        {"kind": "status", "status": 500, "after_store": True},
        {"kind": "status", "status": 500},
        {"kind": "reset"},
        {"kind": "status", "status": 503},
    ],
    ids=["reset", "half", "malformed", "500", "500 unstored", "reset unstored", "503 unstored"],
)
@pytest.mark.parametrize("seconds", [60, 500], ids=["replayed", "looked up"])
def test_an_unknown_outcome_is_found_out_and_nothing_is_doubled(
    engine: Engine, how: dict[str, Any], seconds: int
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3)
    fault(engine, resource="Invoices", method="PUT", **how)
    ask(engine, one)
    go(engine)
    assert [item.state for item in items(engine, "Invoices")] == ["running"] * 3
    row = organisation(engine)
    assert row.held_until is not None
    assert "asks Xero" in str(row.held_why)
    go(engine, seconds)
    assert kept(engine)["invoices"] == 3
    assert created(engine) == ["INV-1", "INV-2", "INV-3"]
    assert all_ended(engine, ["succeeded"])
    assert all(item.tries == 0 for item in items(engine))
    assert organisation(engine).held_why is None
    assert len(runs(engine)) == 1


def test_a_limit_holds_the_organisation_and_keeps_order_and_tries(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 60)
    fault(engine, "limit", resource="Invoices", problem="minute", retry_after=26)
    ask(engine, one)
    go(engine, in_flight=1)  # what is under way beside it would arrive
    row = organisation(engine)
    assert "60 calls a minute" in str(row.held_why)
    assert row.held_until is not None
    assert 20 < (row.held_until - engine.services.clock.now()).total_seconds() <= 26
    assert (row.held_times, row.lease_until) == (0, None)
    assert {(item.state, item.tries) for item in items(engine, "Invoices")} == {("pending", 0)}
    go(engine, 10)
    assert created(engine) == []
    go(engine, 30)
    assert created(engine) == [f"INV-{number}" for number in range(1, 61)]
    row = organisation(engine)
    assert (row.held_why, row.held_until) == (None, None)
    assert [run.sentence is not None and run.failed == 0 for run in runs(engine)] == [True]


def test_a_xero_that_cannot_be_reached_is_one_clear_sentence_and_later_it_goes(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    [document] = invoices(engine)
    ask(engine, one)
    away = engine.worker("away")
    nowhere = f"http://localhost:{free_port()}"
    away.xero = XeroClient(
        login_url=nowhere, identity_url=nowhere, api_url=nowhere, clock=away.clock
    )
    for times in (1, 2, 3):
        scheduler.work(away, one)
        row = organisation(engine)
        assert row.held_why == "Xero can't be reached (localhost). XTiger tries again by itself."
        assert row.held_times == times
        change_organisation(engine, held_until=None)
    assert queue_of(engine) == [("Ana Lee Ltd", "pending"), ("INV-1", "pending")]
    assert [item.tries for item in items(engine)] == [0, 0]
    [run] = runs(engine)
    assert (run.ended_at, run.sentence) == (None, row.held_why)
    assert {attempt.outcome for attempt in attempts(engine)} == {"not sent"}
    change_organisation(engine, held_until=row.held_until)
    [told] = standing.standing(engine.services, ref_of(document))
    assert "Xero can't be reached" in told.sentence
    go(engine, 30)
    assert all_ended(engine)


def test_the_wait_grows_with_each_failure_by_chance_within_a_bound_that_doubles(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)
    waits = []
    clock = ShiftedClock()
    services = engine.worker("w", clock=clock)
    for _ in range(10):
        scheduler.work(cut_off(services), one)
        row = organisation(engine)
        assert row.held_until
        waits.append((row.held_until - clock.now()).total_seconds())
        clock.sleep(max(0, waits[-1]) + 1)
    bounds = [min(900, 5 * 2**times) for times in range(10)]
    assert all(-1 < wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    # That ten chances all stay below a sixteenth of their bounds has no chance worth naming.
    assert any(wait > bound / 16 for wait, bound in zip(waits, bounds, strict=True))
    assert organisation(engine).held_times == 10


def test_a_day_without_calls_left_waits_as_long_as_xero_says(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    fault(engine, "limit", problem="day", retry_after=7200)
    ask(engine, one)
    go(engine)
    row = organisation(engine)
    assert row.held_until
    assert (row.held_until - engine.services.clock.now()).total_seconds() > 7000
    assert "Today's calls are used up" in str(row.held_why)


def test_a_person_who_asks_does_not_wait_for_the_back_off(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)
    scheduler.work(cut_off(engine.services), one)
    assert organisation(engine).held_until is not None
    scheduler.sync_now(engine.services, organisation_id=one, modules=None, who="Ana")
    work(engine)
    assert all_ended(engine)


def test_a_fault_of_ours_holds_the_organisation_instead_of_coming_at_once_again(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)

    def broken(step: str) -> None:
        if step == "claimed":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        scheduler.work(engine.worker("w", observe=broken), one)
    row = organisation(engine)
    assert "a fault of its own" in str(row.held_why)
    assert row.held_until is not None
    assert row.lease_until is None
    go(engine, 60)
    assert all_ended(engine)


def test_a_write_back_that_fails_stops_nothing_and_is_made_good(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 2)
    ask(engine, one)

    class Deaf:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine.crm, name)

        def write_back(self, _links: Any) -> None:
            raise TransientError("The CRM doesn't answer.")

    scheduler.work(replace(engine.services, crm=Deaf()), one)
    assert all_ended(engine)
    ask(engine, one)
    work(engine)
    with engine.crm_sessions() as session:
        assert all(row.xero_id for row in session.query(Invoice))
    assert len(writes(engine, "Invoices")) == 1
    assert item_of(engine, "INV-1").state == "succeeded"

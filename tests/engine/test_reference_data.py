"""What was read of Xero's accounts, taxes and locks is read again before it refuses anything."""

from __future__ import annotations

from datetime import timedelta

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ShiftedClock,
    all_ended,
    ask,
    control,
    created,
    invoices,
    item_of,
    items,
    organisation,
    queue_of,
    retry,
    rows_of,
    sync,
    work,
    writes,
)
from xtiger.engine.connection import connect
from xtiger.engine.connection.reference import RULES
from xtiger.engine.drain import REFERENCE_AGE
from xtiger.store.models import Reference


def lock_until(engine: Engine, day: str | None) -> None:
    """Somebody locks or unlocks the books in Xero."""
    tenant = organisation(engine).tenant_id
    control(engine, f"organisations/{tenant}", {"PeriodLockDate": day})


def locked(engine: Engine) -> int:
    """An organisation whose lock was read from Xero: XTiger refuses by it without a call."""
    one = engine.connect(KAURI)[KAURI]
    lock_until(engine, "2026-12-31")
    connect.refresh_reference(engine.services, one)
    return one


def reads(engine: Engine) -> int:
    return len(engine.requests(method="GET", resource="Organisation"))


def test_a_period_unlocked_in_xero_lets_the_record_go_at_retry(engine: Engine) -> None:
    locked(engine)
    invoices(engine)
    sync(engine)
    item = item_of(engine, "INV-1")
    assert item.state == "failed"
    assert writes(engine, "Invoices") == []
    lock_until(engine, None)
    retry(engine, "INV-1")
    assert item_of(engine, "INV-1").state == "succeeded"
    assert created(engine) == ["INV-1"]


def test_a_period_that_is_still_locked_fails_again_and_is_asked_once_a_retry(
    engine: Engine,
) -> None:
    locked(engine)
    invoices(engine, 3)
    before = reads(engine)
    sync(engine)
    assert [state for _label, state in queue_of(engine)] == ["succeeded"] + ["failed"] * 3
    for _ in range(2):
        retry(engine, "INV-1", "INV-2", "INV-3")
        assert {item.state for item in items(engine, "Invoices")} == {"failed"}
    assert reads(engine) - before <= 3
    assert writes(engine, "Invoices") == []


def test_what_was_put_aside_for_fresh_data_keeps_its_place(engine: Engine) -> None:
    one = locked(engine)
    invoices(engine, 1)
    sync(engine)
    lock_until(engine, None)
    invoices(engine, 4, first=2)
    ask(engine, one)
    work(engine)
    retry(engine, "INV-1")
    assert all_ended(engine)
    assert created(engine) == ["INV-2", "INV-3", "INV-4", "INV-5", "INV-1"]
    places = [item.label for item in items(engine, "Invoices")]
    assert places == ["INV-1", "INV-2", "INV-3", "INV-4", "INV-5"]


def test_old_reference_data_is_read_again_before_anything_is_built(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)
    clock = ShiftedClock(REFERENCE_AGE.total_seconds() + 60)
    work(engine, engine.worker("later", clock=clock))
    assert all_ended(engine)
    read_at = min(row.read_at for row in rows_of(engine, Reference) if row.kind in RULES)
    assert clock.now() - read_at < timedelta(minutes=1)

"""Documents of a period that Xero has locked: held, given the first open day, sent as drafts."""

from __future__ import annotations

from datetime import date
from typing import Any

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ShiftedClock,
    change_profile,
    control,
    crm,
    fault,
    in_xero,
    invoices,
    item_of,
    log_of,
    organisation,
    retry,
    sync,
    writes,
)
from xtiger.crm.builtin import Invoice
from xtiger.engine.connection import connect

JUNE = "2026-06-30"


def lock_until(engine: Engine, day: str | None) -> None:
    tenant = organisation(engine).tenant_id
    control(engine, f"organisations/{tenant}", {"PeriodLockDate": day})
    connect.refresh_reference(engine.services, organisation(engine).id)


def begin(engine: Engine, locked: str) -> Invoice:
    """An invoice of 3 June, and books that are locked until the end of it."""
    engine.connect(KAURI)
    change_profile(engine, "Invoices", locked=locked)
    lock_until(engine, JUNE)
    [row] = invoices(engine, date=date(2026, 6, 3))
    return row


def there(engine: Engine) -> dict[str, Any]:
    [found] = in_xero(engine, "Invoices")
    return {"date": found["DateString"][:10], "status": found["Status"]}


def change(engine: Engine, row: Invoice, **values: Any) -> None:
    with crm(engine) as session:
        kept = session.get(Invoice, row.id)
        for name, value in values.items():
            setattr(kept, name, value)


def test_held_it_fails_with_its_day_and_goes_once_the_period_is_open(engine: Engine) -> None:
    begin(engine, "hold")
    sync(engine)
    assert item_of(engine, "INV-1").sentence == (
        "Its date, 3 Jun 2026, is in a period locked until 30 Jun 2026. "
        "Unlock the period in Xero or choose another date."
    )
    assert writes(engine, "Invoices") == []
    lock_until(engine, None)
    retry(engine, "INV-1")
    assert there(engine) == {"date": "2026-06-03", "status": "AUTHORISED"}


def test_it_is_dated_the_first_open_day_and_stays_there_when_the_lock_moves_on(
    engine: Engine,
) -> None:
    row = begin(engine, "first open day")
    sync(engine)
    assert there(engine) == {"date": "2026-07-01", "status": "AUTHORISED"}
    change(engine, row, reference="PO 7")
    sync(engine)
    assert item_of(engine, "INV-1").state == "succeeded"
    assert there(engine)["date"] == "2026-07-01"
    lock_until(engine, "2026-07-31")
    calls = len(writes(engine))
    change(engine, row, reference="PO 8")
    sync(engine)
    assert item_of(engine, "INV-1").state == "failed"
    assert "Its date, 1 Jul 2026, is in a period locked until 31 Jul 2026." in str(
        item_of(engine, "INV-1").sentence
    )
    assert len(writes(engine)) == calls
    # Back as Xero has it, there's nothing to send that a lock could refuse.
    change(engine, row, reference="PO 7")
    sync(engine)
    assert item_of(engine, "INV-1").state == "unchanged"
    assert len(writes(engine)) == calls


def test_as_a_draft_it_keeps_its_day_and_is_authorised_once_the_period_is_open(
    engine: Engine,
) -> None:
    row = begin(engine, "as draft")
    sync(engine)
    assert item_of(engine, "INV-1").state == "succeeded"
    assert there(engine) == {"date": "2026-06-03", "status": "DRAFT"}
    change(engine, row, reference="PO 7")
    sync(engine)
    assert there(engine) == {"date": "2026-06-03", "status": "DRAFT"}
    lock_until(engine, None)
    change(engine, row, reference="PO 8")
    sync(engine)
    assert there(engine) == {"date": "2026-06-03", "status": "AUTHORISED"}


def test_a_document_saved_anew_in_a_locked_period_is_unchanged_not_refused(
    engine: Engine,
) -> None:
    row = begin(engine, "hold")
    lock_until(engine, None)
    sync(engine)
    lock_until(engine, JUNE)
    change(engine, row, status="Sent")  # which no mapping sends
    sync(engine)
    assert item_of(engine, "INV-1").state == "unchanged"


def test_the_log_says_from_when_to_when_a_date_was_moved(engine: Engine) -> None:
    row = begin(engine, "first open day")
    change(engine, row, due_date=date(2026, 6, 20))
    sync(engine)
    [found] = in_xero(engine, "Invoices")
    days = found["DateString"][:10], found["DueDateString"][:10]
    assert days == ("2026-07-01", "2026-07-18")
    said = [one.sentence for one in log_of(engine, "INV-1")]
    assert said == [
        "Created in Xero and read back. Its date went from 3 Jun 2026 to 1 Jul 2026, its due date "
        "from 20 Jun 2026 to 18 Jul 2026: the period up to 30 Jun 2026 is locked in Xero.",
    ]
    # What is unchanged says nothing, and a later due day stays as it was agreed.
    change(engine, row, status="Sent")
    sync(engine)
    assert item_of(engine, "INV-1").state == "unchanged"
    assert len([one for one in log_of(engine, "INV-1") if "went from" in one.sentence]) == 1
    change(engine, row, due_date=date(2026, 7, 20))
    sync(engine)
    [found] = in_xero(engine, "Invoices")
    assert (found["DateString"][:10], found["DueDateString"][:10]) == ("2026-07-01", "2026-07-20")
    assert log_of(engine, "INV-1")[-1].sentence == (
        "Updated in Xero and read back. Its date went from 3 Jun 2026 to 1 Jul 2026: the period up "
        "to 30 Jun 2026 is locked in Xero."
    )


def test_a_moved_date_is_told_once_when_xero_has_it(each_engine: Engine) -> None:
    """Not at each try of a call that Xero doesn't take, and also where its answer was lost."""
    engine = each_engine
    begin(engine, "first open day")
    fault(engine, "status", status=503, count=1, resource="Invoices", method="PUT")
    sync(engine)
    assert log_of(engine, "INV-1") == []
    fault(engine, "reset", method="PUT", resource="Invoices", after_store=True)
    sync(engine, engine.worker("second", clock=ShiftedClock(4000)))
    sync(engine, engine.worker("third", clock=ShiftedClock(8000)))
    assert item_of(engine, "INV-1").state == "succeeded"
    said = [one.sentence for one in log_of(engine, "INV-1") if "went from" in one.sentence]
    assert said == [
        "Created in Xero and read back. Its date went from 3 Jun 2026 to 1 Jul 2026: the period up "
        "to 30 Jun 2026 is locked in Xero."
    ]

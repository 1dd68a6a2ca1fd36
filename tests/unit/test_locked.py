"""Documents of a locked period, by what their profile says."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from xtiger.domain.locked import in_open_period
from xtiger.domain.payloads import Built
from xtiger.domain.selection import Locked

JUNE = date(2026, 6, 30)


def built(day: str = "2026-06-03", status: str = "AUTHORISED") -> Built:
    payload = {"InvoiceNumber": "INV-1", "Date": day, "DueDate": "2026-06-20", "Status": status}
    return Built(payload, {"Status": status, "Total": 1})


def there(day: str, status: str = "AUTHORISED") -> dict[str, Any]:
    return {"Date": day, "Status": status}


@pytest.mark.parametrize(
    ("how", "agreed", "day", "status"),
    [
        (Locked.HOLD, None, "2026-06-03", "AUTHORISED"),
        (Locked.FIRST_OPEN_DAY, None, "2026-07-01", "AUTHORISED"),
        (Locked.AS_DRAFT, None, "2026-06-03", "DRAFT"),
        # A draft that waits in Xero may still get its day, or stay a draft.
        (Locked.FIRST_OPEN_DAY, there("2026-06-03", "DRAFT"), "2026-07-01", "AUTHORISED"),
        (Locked.AS_DRAFT, there("2026-06-03", "DRAFT"), "2026-06-03", "DRAFT"),
        # What is authorised there stays what it is, on the day it was given.
        (Locked.FIRST_OPEN_DAY, there("2026-05-01"), "2026-06-03", "AUTHORISED"),
        (Locked.FIRST_OPEN_DAY, there("2026-06-10"), "2026-06-10", "AUTHORISED"),
        (Locked.FIRST_OPEN_DAY, there("2026-07-01"), "2026-07-01", "AUTHORISED"),
        (Locked.AS_DRAFT, there("2026-06-03"), "2026-06-03", "AUTHORISED"),
    ],
)
def test_a_locked_day(how: Locked, agreed: Any, day: str, status: str) -> None:
    made = in_open_period(built(), how, JUNE, agreed)
    assert (made.payload["Date"], made.payload["Status"], made.meant["Status"]) == (
        day,
        status,
        status,
    )
    assert made.meant["Total"] == 1


@pytest.mark.parametrize(
    ("due", "agreed", "went", "note"),
    [
        # Due before the day it is dated now: as many days later.
        (
            "2026-06-20",
            None,
            ("2026-07-01", "2026-07-18"),
            "Its date went from 3 Jun 2026 to 1 Jul 2026, its due date from 20 Jun 2026 to "
            "18 Jul 2026: the period up to 30 Jun 2026 is locked in Xero.",
        ),
        (
            "2026-06-20",
            there("2026-06-10"),
            ("2026-06-10", "2026-06-20"),
            "Its date went from 3 Jun 2026 to 10 Jun 2026: the period up to 30 Jun 2026 is "
            "locked in Xero.",
        ),
        # A later day was agreed with somebody and stays; the new date itself is late enough.
        (
            "2026-07-01",
            None,
            ("2026-07-01", "2026-07-01"),
            "Its date went from 3 Jun 2026 to 1 Jul 2026: the period up to 30 Jun 2026 is "
            "locked in Xero.",
        ),
        (
            None,
            None,
            ("2026-07-01", None),
            "Its date went from 3 Jun 2026 to 1 Jul 2026: the period up to 30 Jun 2026 is "
            "locked in Xero.",
        ),
    ],
)
def test_a_due_day_never_comes_before_the_day_a_document_is_given(
    due: str | None, agreed: Any, went: tuple[str, str | None], note: str
) -> None:
    one = built()
    one = one._replace(payload={**one.payload, "DueDate": due})
    made = in_open_period(one, Locked.FIRST_OPEN_DAY, JUNE, agreed)
    assert (made.payload["Date"], made.payload["DueDate"]) == went
    assert made.note == note


@pytest.mark.parametrize("how", Locked)
@pytest.mark.parametrize(
    ("day", "status", "until"),
    [
        ("2026-07-01", "AUTHORISED", JUNE),
        ("2026-06-03", "DRAFT", JUNE),
        ("2026-06-03", "SUBMITTED", JUNE),
        ("2026-06-03", "AUTHORISED", None),
    ],
)
def test_what_isnt_locked_stays_as_it_is(
    how: Locked, day: str, status: str, until: date | None
) -> None:
    made = built(day, status)
    assert in_open_period(made, how, until, None) is made

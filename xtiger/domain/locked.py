"""Documents of a locked period: held, dated the first open day, or sent as drafts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from xtiger.domain.facts import xero_day
from xtiger.domain.payloads import Built
from xtiger.domain.selection import Locked, plain_day

_AUTHORISED, _DRAFT = "AUTHORISED", "DRAFT"


def in_open_period(
    built: Built, how: Locked, until: date | None, agreed: Mapping[str, Any] | None
) -> Built:
    """A built document as its profile wants it where its date is `until` (locked) or before.

    `agreed` is what Xero has of it, None for a new one. Xero takes drafts of any day, so only
    what would be authorised is touched. What is authorised in Xero already can't become a draft
    and keeps the day that it was once given there: a lock that moves on moves no document.

    A due day that would come before the new date moves by the same number of days; any other
    stays, for it was agreed with somebody. What was moved is said in `note`.
    """
    payload = built.payload
    day = xero_day(payload.get("Date"))
    if until is None or day is None or day > until or payload.get("Status") != _AUTHORISED:
        return built
    there = agreed if agreed and agreed.get("Status") == _AUTHORISED else None
    if how is Locked.AS_DRAFT and there is None:
        status = {"Status": _DRAFT}
        return built._replace(payload={**payload, **status}, meant={**built.meant, **status})
    if how is Locked.FIRST_OPEN_DAY:
        given = xero_day(there.get("Date")) if there else until + timedelta(days=1)
        if given is not None and given > day:
            moved = {"Date": given.isoformat()}
            said = f"Its date went from {plain_day(day)} to {plain_day(given)}"
            due = xero_day(payload.get("DueDate"))
            if due is not None and due < given:
                later = due + (given - day)
                moved["DueDate"] = later.isoformat()
                said += f", its due date from {plain_day(due)} to {plain_day(later)}"
            said += f": the period up to {plain_day(until)} is locked in Xero."
            return built._replace(payload={**payload, **moved}, note=said)
    return built

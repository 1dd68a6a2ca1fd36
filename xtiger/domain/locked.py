"""Documents of a locked period: held, dated the first open day, or sent as drafts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from xtiger.domain.payloads import Built
from xtiger.domain.preflight import xero_day
from xtiger.domain.selection import Locked

_AUTHORISED, _DRAFT = "AUTHORISED", "DRAFT"


def in_open_period(
    built: Built, how: Locked, until: date | None, agreed: Mapping[str, Any] | None
) -> Built:
    """A built document as its profile wants it where its date is `until` (locked) or before.

    `agreed` is what Xero has of it, None for a new one. Xero takes drafts of any day, so only
    what would be authorised is touched. What is authorised in Xero already can't become a draft
    and keeps the day that it was once given there: a lock that moves on moves no document.
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
            return built._replace(payload={**payload, "Date": given.isoformat()})
    return built

"""What a query's filters ask for: what is known narrows a list, anything else is told.

A page that left something out silently would pass off a whole list as a part of it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from flask import g, request

from xtiger.web import formats
from xtiger.web.words import say

#: Characters of a value that its sentence shows.
_SHOWN = 60


def told() -> list[str]:
    """The sentences of this request, each once, for the page to say."""
    return list(g.get("xtiger_unknown", ()))


def unknown(kind: str, value: str, **words: str) -> None:
    """Notes that a filter's value is none: `kind` names its sentence in the catalogue."""
    text = "".join(one if one.isprintable() else " " for one in value)
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    g.setdefault("xtiger_unknown", {})[say(f"filter.{kind}", value=short, **words)] = True


def one_of(kind: str, value: str | None, known: Collection[str], **words: str) -> str | None:
    """The value where it is known; None where there is none or no such."""
    if not value or value in known:
        return value or None
    unknown(kind, value, **words)
    return None


def number(kind: str, value: str | None) -> int | None:
    """A whole number of at most 18 digits; None where there is none or it is something else."""
    if not value:
        return None
    if value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    unknown(kind, value)
    return None


def clock() -> str | None:
    """Whose days the query asks for, where they aren't the reader's: a report's list of entries."""
    name = request.args.get("zone", "")
    if not name or name == formats.zone_name(formats.zone_of(name)):
        return name or None
    unknown("zone", name)
    return None


def day(kind: str, value: str | None, zone: tzinfo, *, later: int = 0) -> datetime | None:
    """Midnight of a day, or some days later, in the reader's zone or the query's, as UTC.

    None where there is no day, or one at the end of all time, which bounds nothing.
    """
    if not value:
        return None
    try:
        found = date.fromisoformat(value)
    except ValueError:
        unknown(kind, value)
        return None
    try:
        named = clock()
        whose = formats.zone_of(named) if named else zone
        start = datetime.combine(found + timedelta(days=later), time(), whose)
        return start.astimezone(UTC)
    except OverflowError:
        return None

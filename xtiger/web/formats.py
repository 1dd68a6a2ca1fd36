"""How money, moments, ages and days are printed, once for all pages."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup, escape

from xtiger.domain import phrases
from xtiger.domain.selection import plain_day
from xtiger.domain.values import absurd


def zone_of(name: str | None) -> tzinfo:
    """A time zone by its name, UTC where none or no such."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def zone_name(zone: tzinfo) -> str:
    """What people call a zone."""
    return getattr(zone, "key", None) or "UTC"


def money(value: Any, currency: str | None = None) -> str:
    """NZD 1,150.00; digits beyond the cent are kept, a value that isn't there is a dash."""
    if value is None or value == "":
        return "–"
    number = Decimal(value)
    if absurd(number):
        text = str(number)
    else:
        whole = number == number.to_integral_value()
        text = f"{number:,.{2 if whole else max(2, -int(number.as_tuple().exponent))}f}"
    return f"{currency} {text}" if currency else text


def quantity(value: Any) -> str:
    """A plain number without idle zeros: 1.5, 12."""
    if value is None:
        return "–"
    number = Decimal(value)
    if absurd(number):
        return str(number)
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def day(value: date | None) -> str:
    """21 Nov 2026; plain days are never shifted by a zone."""
    return plain_day(value) if value else "–"


def moment(value: datetime | None, zone: tzinfo, now: datetime) -> Markup:
    """A `<time>`: the hour for today, else day and hour; the title adds UTC."""
    if value is None:
        return Markup("–")
    local, today = value.astimezone(zone), now.astimezone(zone).date()
    hour = f"{local:%H:%M}"
    if local.date() == today:
        text = hour
    elif local.year == today.year:
        text = f"{local.day} {local:%b}, {hour}"
    else:
        text = f"{plain_day(local.date())}, {hour}"
    return _time(value, text)


def exact(value: datetime | None, zone: tzinfo) -> Markup:
    """A `<time>` with its seconds, for logs."""
    if value is None:
        return Markup("–")
    local = value.astimezone(zone)
    return _time(value, f"{plain_day(local.date())}, {local:%H:%M:%S}")


def _time(value: datetime, text: str) -> Markup:
    stamp = value.astimezone(UTC)
    title = f"{plain_day(stamp.date())}, {stamp:%H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        stamp.isoformat(timespec="seconds"), title, text
    )


def age(value: datetime | None, now: datetime) -> str:
    """How long ago: 40 s, 6 min, 4 h 53 min, 3 days."""
    if value is None:
        return "–"
    return span(now - value)


def span(length: timedelta | float | None) -> str:
    """A length of time in at most two units."""
    if length is None:
        return "–"
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    return phrases.span("en", seconds)


def lasted(start: datetime | None, end: datetime) -> str:
    """What something took, as its report and its own sentence say it."""
    if start is None:
        return "–"
    return phrases.lasted("en", (end - start).total_seconds())


def milliseconds(value: int | None) -> str:
    """A call's duration."""
    if value is None:
        return "–"
    return f"{value} ms" if value < 1000 else f"{value / 1000:.1f} s"


def size(count: int) -> str:
    """Bytes as people say them: 812 bytes, 12 kB, 1.2 MB."""
    if count < 1000:
        return counted(count, "byte")
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    if count < 1_000_000_000:
        return f"{count / 1_000_000:.1f} MB"
    return f"{count / 1_000_000_000:,.1f} GB"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """1 record, 2 records, 1,204 records."""
    word = singular if number == 1 else plural or f"{singular}s"
    return f"{number:,} {word}"


def short_id(value: str | None) -> Markup:
    """The first part of a long id; the whole stands in the title and is what Copy takes."""
    if not value:
        return Markup("–")
    text = value if len(value) <= 12 else f"{value[:8]}…"
    return Markup('<code title="{}">{}</code>').format(value, escape(text))


def cell(value: Any) -> str:
    """Any CRM value as text: days, decimals, yes and no."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, datetime):
        return f"{plain_day(value.date())}, {value:%H:%M}"
    if isinstance(value, date):
        return plain_day(value)
    if isinstance(value, Decimal):
        return str(value) if absurd(value) else f"{value:,f}"
    return str(value)

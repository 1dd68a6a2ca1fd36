"""What Xero's JSON looks like on the wire: exact numbers, its date forms, its booleans."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import orjson

Json = dict[str, Any]

#: the id Xero gives an element that it refused to create (measured on live Xero)
ZERO_ID = "00000000-0000-0000-0000-000000000000"

_NET_DATE = re.compile(r"^/Date\((-?\d+)(?:[+-]\d{4})?\)/$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(slots=True)
class Reply:
    """An answer before it leaves; `elements` is what the log says about a write."""

    status: int
    body: bytes = b""
    type: str = JSON
    elements: list[Json] = field(default_factory=list)


class Malformed(Exception):
    """A request body or value that can't be read at all; the text is meant for the caller."""


def _exact(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def dumps(value: object, *, indented: bool = False) -> bytes:
    """JSON bytes; a Decimal leaves with exactly its own digits, never through a float."""
    return orjson.dumps(value, default=_exact, option=orjson.OPT_INDENT_2 if indented else None)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def loads(data: bytes | str) -> Any:
    """Reads JSON with every fraction as Decimal. Raises Malformed."""
    try:
        return json.loads(data, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"The JSON could not be read: {error}") from None


def number(value: object, field: str) -> Decimal | None:
    """A number sent as a JSON number or as text; empty counts as absent. Raises Malformed."""
    if value is None or value == "":
        return None
    if not isinstance(value, bool) and isinstance(value, int | Decimal | str):
        try:
            # Decimal alone would take digits of any script, and 1_000
            plain = not isinstance(value, str) or (value.isascii() and "_" not in value)
            found = Decimal(value if plain else "NaN")
        except InvalidOperation:
            found = Decimal("NaN")
        if found.is_finite() and abs(found.adjusted()) <= 18:
            return found
    raise Malformed(f"'{value}' is not a number that {field} can hold.")


def text(value: object, field: str) -> str | None:
    """Text; numbers are taken as written, null stays absent. Raises Malformed."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    raise Malformed(f"{field} must be text.")


def flag(value: object) -> bool | None:
    """A yes or no: JSON boolean, or text in any case (clients in Python send True and False)."""
    if isinstance(value, bool) or value is None:
        return value
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).strip().lower())


def identifier(value: object) -> str | None:
    """A GUID in its usual spelling; None for anything else and for the all-zero GUID."""
    if not value:
        return None
    try:
        found = str(UUID(str(value)))
    except ValueError:
        return None
    return None if found == ZERO_ID else found


def day(value: object, field: str) -> date | None:
    """A document's day from `YYYY-MM-DD`, an ISO date-time or `/Date(ms)/`. Raises Malformed."""
    if value is None or value == "":
        return None
    sent = str(value)
    try:
        if found := _NET_DATE.match(sent):
            return (_EPOCH + timedelta(milliseconds=int(found[1]))).date()
        return date.fromisoformat(sent[:10])
    except (ValueError, OverflowError):
        raise Malformed(f"'{sent}' is not a date that {field} can hold.") from None


def net_day(iso: str, *, offset: bool = True) -> str:
    """A stored `YYYY-MM-DD` as Xero shows a document date: midnight UTC in milliseconds.

    Quotes leave the offset out.
    """
    seconds = int(datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp())
    return net_instant(seconds * 1000, offset=offset)


def net_instant(milliseconds: int, *, offset: bool = True) -> str:
    """An instant in milliseconds since 1970 UTC; envelopes and items leave the offset out."""
    return f"/Date({milliseconds}{'+0000' if offset else ''})/"


def iso_instant(milliseconds: int) -> str:
    """`2026-09-14T09:29:59Z`, as in UpdatedDateUTCString (measured on live Xero)."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

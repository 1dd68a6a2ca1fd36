"""JSON with exact decimals both ways: a cent never passes through a float."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import orjson

from xtiger.domain.values import written_out


class Written(str):
    """JSON text that was made already: it is stored as it is."""

    __slots__ = ()


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        text = str(value)
        return orjson.Fragment(text if "E" not in text else written_out(value))
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def dumps(value: Any, *, sort: bool = False) -> bytes:
    """UTF-8 bytes; each Decimal becomes a JSON number with exactly its digits."""
    option = orjson.OPT_SORT_KEYS if sort else 0
    return orjson.dumps(value, default=_exact, option=option)


def loads(data: bytes | str) -> Any:
    """The value; JSON numbers with a point become Decimal. Raises ValueError on bad JSON."""
    try:
        return json.loads(data, parse_float=Decimal)
    except ArithmeticError:
        raise ValueError("a number's exponent is too large") from None


def digest(value: Any) -> str:
    """A hash that is equal for equal values, whatever the order of their keys."""
    return hashlib.sha256(dumps(value, sort=True)).hexdigest()

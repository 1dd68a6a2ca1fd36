"""Column types of the small CRM: exact decimals, and short lists of parts, on both databases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Dialect, Numeric, String, Text, TypeDecorator

from xtiger.domain import exactjson


class Money(TypeDecorator[Decimal]):
    """Exact decimals everywhere: SQLite has no decimal type and would round through a float."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        kind: Any = String(40) if dialect.name == "sqlite" else Numeric(24, 8)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return format(value, "f")

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        # PostgreSQL pads to the column's places; a price of 5.00 should stay 5.00.
        return Decimal(value) if dialect.name == "sqlite" else _trim(Decimal(value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """The same as `process_result_value`; a document has dozens of numbers."""
        if dialect.name != "sqlite":
            return lambda value: None if value is None else _trim(value)
        return lambda value: None if value is None else Decimal(value)


def _trim(number: Decimal) -> Decimal:
    cut = number.normalize()
    return cut.quantize(Decimal("0.01")) if cut == cut.quantize(Decimal("0.01")) else cut


class Parts(TypeDecorator[Sequence[Mapping[str, Any]]]):
    """A few small objects with exact numbers, such as a document's charges; none is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(
        self, value: Sequence[Mapping[str, Any]] | None, dialect: Dialect
    ) -> str | None:
        return exactjson.dumps(list(value)).decode() if value else None

    def process_result_value(
        self, value: str | None, dialect: Dialect
    ) -> tuple[Mapping[str, Any], ...] | None:
        if value is None:
            return None
        # Whole numbers too: everything that counts money takes Decimal.
        return tuple(json.loads(value, parse_float=Decimal, parse_int=Decimal))

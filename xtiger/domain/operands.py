"""What formulas compute with: their arithmetic, their functions, and how fields are read.

A closure that reads a field takes what the CRM really gives and raises ValueFault, with the
field's name, for what can't be read as the operator needs it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from typing import Any, NamedTuple

from xtiger.domain.records import FieldKind
from xtiger.domain.values import (
    KIND_WORDS,
    ValueFault,
    absurd,
    as_day,
    as_text,
    as_yes_no,
    empty,
)

#: The most characters of a joined text, and decimal places of round().
LONGEST_TEXT = 4_000
MOST_PLACES = 12

TEXT, NUMBER, DATE = FieldKind.TEXT, FieldKind.NUMBER, FieldKind.DATE
YES_NO, LINK = FieldKind.YES_NO, FieldKind.LINK

#: Used explicitly everywhere: the thread's own context is neither read nor changed.
CONTEXT = Context(
    prec=34,
    rounding=ROUND_HALF_UP,
    Emin=-40,
    Emax=40,
    traps=[InvalidOperation, DivisionByZero, Overflow],
)

Run = Callable[[Mapping[str, Any]], Any]

COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
ARITHMETIC: Mapping[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": CONTEXT.add,
    "-": CONTEXT.subtract,
    "*": CONTEXT.multiply,
    "/": CONTEXT.divide,
}

# -- reading --------------------------------------------------------------------------------

#: Only what Decimal() takes without asking any context.
_PLAIN = re.compile(r"[-+]?[0-9]{1,18}(?:\.[0-9]{1,30})?")


def _wrong(value: Any, name: str, kind: FieldKind) -> ValueFault:
    if empty(value):
        return ValueFault(f"The field '{name}' is empty.")
    shown = str(value)[:40]
    return ValueFault(f"The field '{name}' holds “{shown}”, which isn't {KIND_WORDS[kind]}.")


def numeric(value: Any, name: str) -> Decimal:
    if type(value) is Decimal and value.is_finite():
        return value
    if type(value) is int or (isinstance(value, str) and _PLAIN.fullmatch(value)):
        return Decimal(value)
    raise _wrong(value, name, NUMBER)


def textual(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal) and value and absurd(value):
        raise _wrong(value, name, NUMBER)  # written out it could be very long
    return as_text(value)


def _daily(value: Any, name: str) -> date:
    with suppress(ValueFault):
        if (day := as_day(value)) is not None:
            return day
    raise _wrong(value, name, DATE)


def _either(value: Any, name: str) -> bool:
    try:
        return as_yes_no(value)
    except ValueFault:
        raise _wrong(value, name, YES_NO) from None


READERS: Mapping[FieldKind, Callable[[Any, str], Any]] = {
    NUMBER: numeric,
    TEXT: textual,
    DATE: _daily,
    YES_NO: _either,
}


def _kind_of(value: Any) -> FieldKind:
    """The kind of a value that isn't empty."""
    if isinstance(value, bool):
        return YES_NO
    if isinstance(value, Decimal | int):
        return NUMBER
    return DATE if isinstance(value, date) else TEXT


def as_read(left: Any, right: Any, names: tuple[str, str]) -> tuple[Any, Any]:
    """Two raw values made comparable: nothing equals nothing, and is "" beside a text."""
    if type(left) is type(right) and type(left) in (str, date):
        return left, right
    if empty(left) and empty(right):
        return "", ""
    kinds = [_kind_of(value) for value in (left, right) if not empty(value)]
    read = READERS[next((kind for kind in kinds if kind is not TEXT), TEXT)]
    return read(left, names[0]), read(right, names[1])


# -- functions ------------------------------------------------------------------------------


def _round(run: Run, places: int = 0) -> Run:
    smallest = Decimal((0, (1,), -places))

    def rounded(values: Mapping[str, Any]) -> Decimal:
        value: Decimal = run(values)
        try:
            return CONTEXT.quantize(value, smallest)
        except InvalidOperation:  # it has so many digits that there is nothing to round
            return CONTEXT.plus(value)

    return rounded


def _best(choose: Callable[[Decimal, Decimal], Decimal]) -> Callable[..., Run]:
    def make(first: Run, *more: Run) -> Run:
        def best(values: Mapping[str, Any]) -> Decimal:
            found: Decimal = first(values)
            for run in more:
                found = choose(found, run(values))
            return found

        return best

    return make


def _applied(function: Callable[[Any], Any]) -> Callable[[Run], Run]:
    return lambda run: lambda values: function(run(values))


class _Function(NamedTuple):
    """What a function takes (None: anything; a range: a number written out), gives and does."""

    takes: tuple[FieldKind | range | None, ...]
    gives: FieldKind
    make: Callable[..., Run]
    least: int = 0  #: 0: all
    many: bool = False  #: the last may be repeated


FUNCTIONS: Mapping[str, _Function] = {
    "round": _Function((NUMBER, range(MOST_PLACES + 1)), NUMBER, _round, least=1),
    "abs": _Function((NUMBER,), NUMBER, _applied(CONTEXT.abs)),
    "min": _Function((NUMBER,), NUMBER, _best(CONTEXT.min), least=2, many=True),
    "max": _Function((NUMBER,), NUMBER, _best(CONTEXT.max), least=2, many=True),
    "text": _Function((None,), TEXT, lambda run: run),
    "trim": _Function((TEXT,), TEXT, _applied(str.strip)),
    "upper": _Function((TEXT,), TEXT, _applied(str.upper)),
    "lower": _Function((TEXT,), TEXT, _applied(str.lower)),
    "left": _Function(
        (TEXT, range(LONGEST_TEXT + 1)), TEXT, lambda run, n: lambda values: run(values)[:n]
    ),
    "empty": _Function((None,), YES_NO, _applied(empty)),
}

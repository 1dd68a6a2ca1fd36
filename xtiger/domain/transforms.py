"""Named transforms: how a mapping makes one value out of a CRM record's fields.

A transform is a frozen dataclass under `@transform("name")`; its fields are its parameters and
its `compile()` gives the closure that a drain runs. That is all a new one needs.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from xtiger.domain.records import RecordRef

#: Turns the values of a record (or of a line) into one value; None or "" means nothing.
Compiled = Callable[[Mapping[str, Any]], Any]

#: Transforms inside transforms, counted from the outermost.
DEEPEST = 20


class TemplateFault(ValueError):
    """A mapping that can't be used: one sentence, and which Xero field each part is about."""

    def __init__(self, sentence: str, faults: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        #: (Xero field or "", sentence) for every fault found.
        self.faults = faults or (("", sentence),)


class ValueFault(ValueError):
    """One record's value that a transform can't take, in one sentence for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def did_you_mean(word: str, possible: Iterable[str]) -> str:
    """ "; did you mean 'price'?" for the nearest possible word, else nothing."""
    near = difflib.get_close_matches(word, list(possible), n=1)
    return f"; did you mean '{near[0]}'?" if near else "."


def empty(value: Any) -> bool:
    """Whether a value counts as nothing; 0 and no don't."""
    return value is None or value == ""


def as_text(value: Any) -> str:
    """Any field's value as plain text: numbers without trailing zeros, days as 2026-11-21."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, RecordRef):
        return value.id
    return str(value)


def as_day(value: Any) -> date | None:
    """A plain day out of a day, a moment or ISO text. Raises ValueFault."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if empty(value):
        return None
    try:
        return date.fromisoformat(as_text(value).strip()[:10])
    except ValueError:
        raise ValueFault(f"“{as_text(value)[:40]}” isn't a day such as 2026-11-21.") from None


def as_number(value: Any) -> Decimal:
    """A number as Decimal. Raises ValueFault, for floats too: they have lost cents."""
    if type(value) is Decimal and value.is_finite() and -30 < value.adjusted() < 18:
        return value
    if type(value) is int or isinstance(value, str):
        with suppress(ArithmeticError):
            return as_number(Decimal(value))
    raise ValueFault(f"“{as_text(value)[:40]}” isn't a number that Xero takes.")


def plain(number: Decimal) -> Decimal:
    """The same number without trailing zeros, so that equal payloads have equal bytes."""
    whole = number.to_integral_value()
    return (whole or _ZERO) if whole == number else number.normalize()


_ZERO = Decimal(0)


class Transform:
    """What all transforms share: their help, their JSON form, and the fields they read."""

    name: ClassVar[str]
    help: ClassVar[str]

    def compile(self) -> Compiled:
        """The closure that makes the value. It may raise ValueFault."""
        raise NotImplementedError

    def inner(self) -> Iterator[Transform]:
        """The transforms directly inside this one."""
        for _, value in self._parameters():
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, Transform):
                    yield one

    def reads(self) -> tuple[str, ...]:
        """The names of the CRM fields it reads, each once."""
        return tuple(dict.fromkeys(name for one in self.inner() for name in one.reads()))

    def to_json(self) -> dict[str, Any]:
        """The form that `from_json` reads; parameters left at their default stay out."""
        return {"transform": self.name} | {
            parameter: _to_json(value) for parameter, value in self._parameters()
        }

    def _parameters(self) -> Iterator[tuple[str, Any]]:
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if each.default is MISSING or value != each.default:
                yield each.name, value


T = TypeVar("T", bound=Transform)

REGISTRY: dict[str, type[Transform]] = {}


def transform(name: str) -> Callable[[type[T]], type[T]]:
    """Enters a frozen dataclass into the registry under `name`."""

    def enter(cls: type[T]) -> type[T]:
        cls.name = name
        REGISTRY[name] = cls
        return cls

    return enter


def from_json(data: Any, *, depth: int = 1) -> Transform:
    """The transform that JSON data describes. Raises TemplateFault."""
    if not isinstance(data, Mapping) or not isinstance(data.get("transform"), str):
        raise TemplateFault('A transform is an object such as {"transform": "field", …}.')
    if depth > DEEPEST:
        raise TemplateFault(f"Transforms go at most {DEEPEST} deep.")
    name = data["transform"]
    cls = REGISTRY.get(name)
    if cls is None:
        raise TemplateFault(f"There is no transform '{name}'{did_you_mean(name, REGISTRY)}")
    parameters = _types(name)
    given: dict[str, Any] = {}
    for key, value in data.items():
        if key == "transform":
            continue
        if key not in parameters:
            guess = did_you_mean(str(key), parameters)
            raise TemplateFault(f"The transform '{name}' has no parameter '{key}'{guess}")
        given[key] = _parse(value, parameters[key], f"'{key}' of the transform '{name}'", depth)
    for each in fields(cls):  # type: ignore[arg-type]
        if each.name not in given and each.default is MISSING:
            raise TemplateFault(f"The transform '{name}' needs the parameter '{each.name}'.")
    return cls(**given)


@cache
def _types(name: str) -> dict[str, Any]:
    cls = REGISTRY[name]
    hints = get_type_hints(cls)
    return {each.name: hints[each.name] for each in fields(cls)}  # type: ignore[arg-type]


def _parse(value: Any, hint: Any, where: str, depth: int) -> Any:
    """A parameter's value out of JSON, by the parameter's type."""
    if hint is Transform:
        return from_json(value, depth=depth + 1)
    origin = get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list) or not value:
            raise TemplateFault(f"{where} is a list with at least one member.")
        return tuple(_parse(one, get_args(hint)[0], where, depth) for one in value)
    if origin is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise TemplateFault(f"{where} is a table of texts.")
        return types.MappingProxyType({str(k): v for k, v in value.items()})
    if hint is Scalar:
        if isinstance(value, str | bool | int | Decimal):
            return Decimal(value) if type(value) is int else value
        raise TemplateFault(f"{where} is a text, a number, true or false.")
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if value not in list(hint):
            raise TemplateFault(f"{where} is one of {', '.join(hint)}.")
        return hint(value)
    if type(value) is not hint:
        words = {str: "a text", int: "a whole number", bool: "true or false"}
        raise TemplateFault(f"{where} is {words[hint]}.")
    return value


def _to_json(value: Any) -> Any:
    if isinstance(value, Transform):
        return value.to_json()
    if isinstance(value, tuple):
        return [_to_json(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, StrEnum):
        return value.value
    return value


#: What a constant may be.
Scalar = str | bool | Decimal


@transform("field")
@dataclass(frozen=True, slots=True)
class Field(Transform):
    """A field of the record; `product.sales_account` reads a field of the linked record."""

    help = "Takes the value of one CRM field."
    field: str

    def compile(self) -> Compiled:
        name = self.field
        return lambda values: values.get(name)

    def reads(self) -> tuple[str, ...]:
        return (self.field,)


@transform("constant")
@dataclass(frozen=True, slots=True)
class Constant(Transform):
    """The same value for every record."""

    help = "Gives every record the same fixed value."
    value: Scalar

    def compile(self) -> Compiled:
        value = self.value
        return lambda values: value


@transform("default")
@dataclass(frozen=True, slots=True)
class Default(Transform):
    """The first of several that isn't empty."""

    help = "Takes the first of several values that isn't empty."
    of: tuple[Transform, ...]

    def compile(self) -> Compiled:
        parts = tuple(part.compile() for part in self.of)

        def first(values: Mapping[str, Any]) -> Any:
            for part in parts:
                value = part(values)
                if not empty(value):
                    return value
            return None

        return first


@transform("concat")
@dataclass(frozen=True, slots=True)
class Concat(Transform):
    """Several values as one text."""

    help = "Joins several values to one text, with a separator between them."
    parts: tuple[Transform, ...]
    separator: str = ""
    skip_empty: bool = True

    def compile(self) -> Compiled:
        parts = tuple(part.compile() for part in self.parts)
        separator, skip = self.separator, self.skip_empty

        def join(values: Mapping[str, Any]) -> str:
            texts = (as_text(part(values)) for part in parts)
            return separator.join(text for text in texts if text or not skip)

        return join


class Unmatched(StrEnum):
    """What a lookup does with a value that isn't in its table."""

    FAULT = "fault"  #: the record isn't sent
    DEFAULT = "default"  #: `default` is used
    KEEP = "keep"  #: the value stays as it is


@transform("lookup")
@dataclass(frozen=True, slots=True)
class Lookup(Transform):
    """Replaces a value by what a table says; an empty one stays empty."""

    help = "Replaces a value by the one that a table gives for it."
    of: Transform
    table: Mapping[str, str]
    unmatched: Unmatched = Unmatched.FAULT
    default: str = ""

    def compile(self) -> Compiled:
        source, table, unmatched = self.of.compile(), self.table, self.unmatched
        default = self.default

        def look_up(values: Mapping[str, Any]) -> Any:
            value = source(values)
            if empty(value) and "" not in table:
                return default if unmatched is Unmatched.DEFAULT else None
            word = as_text(value)
            if word in table:
                return table[word]
            if unmatched is Unmatched.DEFAULT:
                return default
            if unmatched is Unmatched.KEEP:
                return value
            raise ValueFault(f"“{word[:40]}” isn't in the mapping's table. Add it there.")

        return look_up


@transform("date")
@dataclass(frozen=True, slots=True)
class Date(Transform):
    """A plain day, moved by whole days."""

    help = "Takes a day and adds a number of days to it."
    of: Transform
    add_days: int = 0

    def __post_init__(self) -> None:
        if abs(self.add_days) > 36_500:
            raise TemplateFault("'add_days' of the transform 'date' is at most 36500.")

    def compile(self) -> Compiled:
        source, moved = self.of.compile(), timedelta(days=self.add_days)

        def day(values: Mapping[str, Any]) -> date | None:
            found = as_day(source(values))
            try:
                return found and found + moved
            except OverflowError:
                raise ValueFault(f"{found} is too far away for a day to be added.") from None

        return day


class Case(StrEnum):
    """How letters are written."""

    KEEP = "keep"
    UPPER = "upper"
    LOWER = "lower"


@transform("text")
@dataclass(frozen=True, slots=True)
class Text(Transform):
    """A text, trimmed, in one case, cut; `length` 0 cuts nothing."""

    help = "Trims a text, changes its letters to upper or lower case, or cuts it to a length."
    of: Transform
    trim: bool = True
    case: Case = Case.KEEP
    length: int = 0

    def __post_init__(self) -> None:
        if self.length < 0:
            raise TemplateFault("'length' of the transform 'text' is 0 or more.")

    def compile(self) -> Compiled:
        source, trim, case, length = self.of.compile(), self.trim, self.case, self.length

        def shaped(values: Mapping[str, Any]) -> str:
            text = as_text(source(values))
            if trim:
                text = text.strip()
            if case is Case.UPPER:
                text = text.upper()
            elif case is Case.LOWER:
                text = text.lower()
            return text[:length] if length else text

        return shaped

"""How a transform is described, entered under its name, checked, and read from JSON."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, NamedTuple, TypeVar, get_args, get_origin
from typing import get_type_hints as hints_of

from xtiger.domain.records import FieldKind
from xtiger.domain.values import (
    KIND_WORDS,
    Fields,
    TemplateFault,
    ValueFault,
    as_day,
    as_number,
    as_yes_no,
    did_you_mean,
    empty,
)

#: Turns the values of a record (or of a line) into one value; None or "" means nothing.
Compiled = Callable[[Mapping[str, Any]], Any]

#: Transforms inside transforms, counted from the outermost.
DEEPEST = 20
#: The most characters of a text, transforms of a list, and entries of a table in a parameter.
LONGEST = 4_000
MOST = 100
LARGEST = 2_000
#: Longer texts are no result: transforms inside transforms could grow one without end.
LONGEST_MADE = 100_000

#: What a constant may be.
Scalar = str | bool | Decimal


class Label(NamedTuple):
    """What people call a parameter; `kind` where its type doesn't tell what to show."""

    text: str
    kind: str = ""


class Parameter(NamedTuple):
    """One parameter as a form shows it.

    `kind` is "field", "text", "long text", "whole number", "number", "yes/no", "choice",
    "table", "transform", "transforms", "constant" or "formula". `default` is as JSON has it,
    None where a value must be given. `choices` are the words that JSON takes, for a choice.
    """

    name: str
    label: str
    kind: str
    default: Any
    choices: tuple[str, ...] = ()


class Checked(NamedTuple):
    """What a transform makes, None where the record decides, and what is wrong with it."""

    kind: FieldKind | None
    faults: tuple[str, ...] = ()


#: What each kind of value can be read as; a text is read when its record comes.
_READ_AS: Mapping[FieldKind, frozenset[FieldKind]] = {
    FieldKind.TEXT: frozenset(FieldKind),
    FieldKind.NUMBER: frozenset({FieldKind.NUMBER, FieldKind.TEXT, FieldKind.LINK}),
    FieldKind.DATE: frozenset({FieldKind.DATE, FieldKind.TEXT}),
    FieldKind.YES_NO: frozenset({FieldKind.YES_NO, FieldKind.TEXT}),
    FieldKind.LINK: frozenset({FieldKind.LINK, FieldKind.TEXT}),
    FieldKind.LIST: frozenset({FieldKind.LIST}),
}


def misfit(what: str, kind: FieldKind | None, wanted: FieldKind | None) -> tuple[str, ...]:
    """A sentence if a value of that kind can't be read as the one wanted, else nothing."""
    if kind is None or wanted is None or wanted in _READ_AS[kind]:
        return ()
    return (f"{what} gives {KIND_WORDS[kind]}; {KIND_WORDS[wanted]} is needed here.",)


def _unread(value: str | bool | Decimal, wanted: FieldKind | None) -> tuple[str, ...]:
    """A sentence if a fixed value can't be read as the kind wanted, else nothing."""
    readers: Mapping[Any, Callable[[Any], Any]] = {
        FieldKind.NUMBER: as_number,
        FieldKind.DATE: as_day,
        FieldKind.YES_NO: as_yes_no,
    }
    try:
        if not empty(value) and wanted in readers:
            readers[wanted](value)
    except ValueFault as wrong:
        return (wrong.sentence,)
    return ()


class Transform:
    """What all transforms share: their help, their form, their check, and their JSON form."""

    name: ClassVar[str]
    help: ClassVar[str]
    #: What it makes, and what it reads its inner transforms as; None: it passes them on.
    gives: ClassVar[FieldKind | None] = None
    takes: ClassVar[FieldKind | None] = None

    def compile(self) -> Compiled:
        """The closure that makes the value. It may raise ValueFault."""
        raise NotImplementedError

    def check(self, known: Fields, wanted: FieldKind | None = None) -> Checked:
        """What it makes out of those fields, and every fault; `wanted` is what Xero takes."""
        inner = [one.check(known, self.takes if self.gives else wanted) for one in self.inner()]
        faults = tuple(fault for one in inner for fault in one.faults)
        faults += tuple(fault for value in self.fixed() for fault in _unread(value, wanted))
        kinds = {one.kind for one in inner}
        kind = self.gives or (kinds.pop() if len(kinds) == 1 else None)
        if self.gives:
            faults += misfit(f"The transform '{self.name}'", kind, wanted)
        return Checked(kind, tuple(dict.fromkeys(faults)))

    def inner(self) -> Iterator[Transform]:
        """The transforms directly inside this one."""
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, Transform):
                    yield one

    def reads(self) -> tuple[str, ...]:
        """The names of the CRM fields it reads, each once."""
        return tuple(dict.fromkeys(name for one in self.inner() for name in one.reads()))

    def fixed(self) -> tuple[str | bool | Decimal, ...]:
        """The values written in it that it may give, whatever the record holds."""
        return () if self.gives else tuple(one for each in self.inner() for one in each.fixed())

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Its parameters in the order in which a form shows them."""
        return _parameters(cls.name)

    def to_json(self) -> dict[str, Any]:
        """The form that `from_json` reads; parameters left at their default stay out."""
        data: dict[str, Any] = {"transform": self.name}
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if each.default is MISSING or value != each.default:
                data[each.name] = _to_json(value)
        return data


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
        raise TemplateFault(f"There is no transform '{name[:40]}'{did_you_mean(name, REGISTRY)}")
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
    """The type of each parameter."""
    cls = REGISTRY[name]
    hints = hints_of(cls)
    return {each.name: hints[each.name] for each in fields(cls)}  # type: ignore[arg-type]


_KINDS: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    Decimal: "number",
    bool: "yes/no",
    Scalar: "constant",
    Transform: "transform",
    tuple: "transforms",
    Mapping: "table",
}


@cache
def _parameters(name: str) -> tuple[Parameter, ...]:
    made, cls = [], REGISTRY[name]
    labelled = hints_of(cls, include_extras=True)
    for each in fields(cls):  # type: ignore[arg-type]
        hint, label = get_args(labelled[each.name])
        choices: tuple[str, ...] = ()
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            kind, choices = "choice", tuple(one.value for one in hint)
        else:
            kind = label.kind or _KINDS[hint if hint in _KINDS else get_origin(hint)]
        default = None if each.default is MISSING else _to_json(each.default)
        made.append(Parameter(each.name, label.text, kind, default, choices))
    return tuple(made)


def _parse(value: Any, hint: Any, where: str, depth: int) -> Any:
    """A parameter's value out of JSON, by the parameter's type."""
    if hint is Transform:
        return from_json(value, depth=depth + 1)
    origin = get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list) or not value:
            raise TemplateFault(f"{where} is a list with at least one member.")
        _at_most(value, MOST, "members", where)
        return tuple(_parse(one, get_args(hint)[0], where, depth) for one in value)
    if origin is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise TemplateFault(f"{where} is a table of texts.")
        _at_most(value, LARGEST, "entries", where)
        return types.MappingProxyType(
            {_storable(str(k), where): _storable(v, where) for k, v in value.items()}
        )
    if hint in (Scalar, Decimal) and type(value) in (int, Decimal):
        return _bounded(Decimal(value), where)
    if hint == Scalar:
        if isinstance(value, str | bool):
            return _storable(value, where) if isinstance(value, str) else value
        raise TemplateFault(f"{where} is a text, a number, true or false.")
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if value not in list(hint):
            raise TemplateFault(f"{where} is one of {', '.join(hint)}.")
        return hint(value)
    if type(value) is not hint:
        words = {str: "a text", int: "a whole number", bool: "true or false", Decimal: "a number"}
        raise TemplateFault(f"{where} is {words[hint]}.")
    return _storable(value, where) if isinstance(value, str) else value


def _at_most(value: Any, most: int, what: str, where: str) -> None:
    if len(value) > most:
        raise TemplateFault(f"{where} has at most {most} {what}.")


def _storable(text: str, where: str) -> str:
    """The text, if every database keeps it and it is short enough. Raises TemplateFault."""
    _at_most(text, LONGEST, "characters", where)
    if "\0" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise TemplateFault(f"{where} holds a character that can't be stored.")
    return text


def _bounded(number: Decimal, where: str) -> Decimal:
    """The number, if it is one that Xero could take. Raises TemplateFault."""
    if not number.is_finite() or not -13 < number.adjusted() < 18:
        raise TemplateFault(f"{where} is a number of at most 18 digits and 12 decimal places.")
    return number


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

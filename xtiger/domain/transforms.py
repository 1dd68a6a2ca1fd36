"""Named transforms: how a mapping makes one value out of a CRM record's fields.

A transform is a frozen dataclass under `@transform("name")`; its fields are its parameters, each
with the label that its form shows, and its `compile()` gives the closure that a drain runs. That
is all a new one needs. Those here choose and combine values; `shapes` has those that change one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from xtiger.domain import formula as language
from xtiger.domain import shapes as shapes
from xtiger.domain.records import FieldKind
from xtiger.domain.registry import DEEPEST as DEEPEST
from xtiger.domain.registry import LONGEST_MADE, Label, misfit
from xtiger.domain.registry import REGISTRY as REGISTRY
from xtiger.domain.registry import Checked as Checked
from xtiger.domain.registry import Compiled as Compiled
from xtiger.domain.registry import Parameter as Parameter
from xtiger.domain.registry import Scalar as Scalar
from xtiger.domain.registry import Transform as Transform
from xtiger.domain.registry import from_json as from_json
from xtiger.domain.registry import transform as transform
from xtiger.domain.values import KIND_WORDS, plain_text
from xtiger.domain.values import Fields as Fields
from xtiger.domain.values import TemplateFault as TemplateFault
from xtiger.domain.values import ValueFault as ValueFault
from xtiger.domain.values import as_day as as_day
from xtiger.domain.values import as_number as as_number
from xtiger.domain.values import as_text as as_text
from xtiger.domain.values import as_yes_no as as_yes_no
from xtiger.domain.values import did_you_mean as did_you_mean
from xtiger.domain.values import empty as empty
from xtiger.domain.values import plain as plain


@transform("field")
@dataclass(frozen=True, slots=True)
class Field(Transform):
    """A field of the record; `product.sales_account` reads a field of the linked record."""

    help = "Takes the value of one CRM field."
    field: Annotated[str, Label("CRM field", "field")]

    def compile(self) -> Compiled:
        name = self.field
        return lambda values: values.get(name)

    def check(self, known: Fields, wanted: FieldKind | None = None) -> Checked:
        if fault := known.fault(self.field):
            return Checked(None, (fault,))
        kind = known.kind(self.field)
        return Checked(kind, misfit(f"The field '{self.field}'", kind, wanted))

    def reads(self) -> tuple[str, ...]:
        return (self.field,)


@transform("constant")
@dataclass(frozen=True, slots=True)
class Constant(Transform):
    """The same value for every record."""

    help = "Gives every record the same fixed value."
    value: Annotated[Scalar, Label("Fixed value")]

    def compile(self) -> Compiled:
        value = self.value
        return lambda values: value

    def fixed(self) -> tuple[str | bool | Decimal, ...]:
        return (self.value,)


@transform("default")
@dataclass(frozen=True, slots=True)
class Default(Transform):
    """The first of several that isn't empty."""

    help = "Takes the first of several values that isn't empty."
    of: Annotated[tuple[Transform, ...], Label("Values, the first choice first")]

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
    gives = takes = FieldKind.TEXT
    parts: Annotated[tuple[Transform, ...], Label("Values, in order")]
    separator: Annotated[str, Label("Separator")] = ""
    skip_empty: Annotated[bool, Label("Leave out what is empty")] = True

    def compile(self) -> Compiled:
        parts = tuple(part.compile() for part in self.parts)
        separator, skip = self.separator, self.skip_empty

        def join(values: Mapping[str, Any]) -> str:
            texts = (plain_text(part(values))[:LONGEST_MADE] for part in parts)
            return separator.join(text for text in texts if text or not skip)[:LONGEST_MADE]

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
    gives = takes = FieldKind.TEXT
    of: Annotated[Transform, Label("Value")]
    table: Annotated[Mapping[str, str], Label("Table")]
    unmatched: Annotated[Unmatched, Label("What isn't in the table")] = Unmatched.FAULT
    default: Annotated[str, Label("Default")] = ""

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

    def fixed(self) -> tuple[str | bool | Decimal, ...]:
        default = (self.default,) if self.unmatched is Unmatched.DEFAULT else ()
        return (*self.table.values(), *default)


def _understood(source: str, part: str, known: Fields | None = None) -> language.Parsed:
    """The formula, parsed. Raises TemplateFault saying which part of the transform is wrong."""
    try:
        return language.parse(source, known, condition=part == "condition")
    except language.FormulaFault as wrong:
        raise TemplateFault(f"In the {part}, {wrong.sentence}") from None


@transform("when")
@dataclass(frozen=True, slots=True)
class When(Transform):
    """One of two values; the condition is a formula that gives yes or no."""

    help = "Takes one value where a condition holds, and another where it doesn't."
    condition: Annotated[str, Label("Condition, such as status = 'Sent'", "formula")]
    then: Annotated[Transform, Label("Then")]
    otherwise: Annotated[Transform, Label("Else")] = Constant("")

    def __post_init__(self) -> None:
        _understood(self.condition, "condition")

    def compile(self) -> Compiled:
        holds = language.parse(self.condition, condition=True).run
        then, otherwise = self.then.compile(), self.otherwise.compile()
        return lambda values: then(values) if holds(values) else otherwise(values)

    def check(self, known: Fields, wanted: FieldKind | None = None) -> Checked:
        kind, faults = Transform.check(self, known, wanted)
        try:
            _understood(self.condition, "condition", known)
        except TemplateFault as wrong:
            faults = (wrong.sentence, *faults)
        return Checked(kind, faults)

    def reads(self) -> tuple[str, ...]:
        mine = language.parse(self.condition).reads
        return tuple(dict.fromkeys((*mine, *Transform.reads(self))))


@transform("formula")
@dataclass(frozen=True, slots=True)
class Formula(Transform):
    """A formula of the small language: `qty * price * (100 - discount) / 100`."""

    help = "Works a value out by a formula, such as qty * price or first & ' ' & last."
    formula: Annotated[str, Label("Formula", "formula")]

    def __post_init__(self) -> None:
        _understood(self.formula, "formula")

    def compile(self) -> Compiled:
        return language.parse(self.formula).run

    def check(self, known: Fields, wanted: FieldKind | None = None) -> Checked:
        try:
            kind = _understood(self.formula, "formula", known).kind
        except TemplateFault as wrong:
            return Checked(None, (wrong.sentence,))
        if kind is FieldKind.TEXT and wanted not in (None, FieldKind.TEXT, FieldKind.LINK):
            # A field's text may hold a number; one that is written by a formula is meant as text.
            return Checked(
                kind, (f"The formula gives a text; {KIND_WORDS[wanted]} is needed here.",)
            )
        return Checked(kind, misfit("The formula", kind, wanted))

    def reads(self) -> tuple[str, ...]:
        return language.parse(self.formula).reads

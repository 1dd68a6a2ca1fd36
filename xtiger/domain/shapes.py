"""Transforms that change one value: days, texts, phones, countries, pieces, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal
from enum import StrEnum
from typing import Annotated, Any

from xtiger.domain.countries import country_of
from xtiger.domain.operands import CONTEXT, MOST_PLACES
from xtiger.domain.records import FieldKind
from xtiger.domain.registry import LONGEST_MADE, Compiled, Label, Transform, transform
from xtiger.domain.values import (
    TemplateFault,
    ValueFault,
    as_day,
    as_number,
    as_text,
    as_yes_no,
    empty,
    plain_text,
)


@transform("date")
@dataclass(frozen=True, slots=True)
class Date(Transform):
    """A plain day, moved by whole days."""

    help = "Takes a day and adds a number of days to it."
    gives = takes = FieldKind.DATE
    of: Annotated[Transform, Label("Day")]
    add_days: Annotated[int, Label("Days to add")] = 0

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
    gives = takes = FieldKind.TEXT
    of: Annotated[Transform, Label("Text")]
    trim: Annotated[bool, Label("Take blanks off both ends")] = True
    case: Annotated[Case, Label("Letters")] = Case.KEEP
    length: Annotated[int, Label("Cut to so many characters (0: don't cut)")] = 0

    def __post_init__(self) -> None:
        if self.length < 0:
            raise TemplateFault("'length' of the transform 'text' is 0 or more.")

    def compile(self) -> Compiled:
        source, trim, case, length = self.of.compile(), self.trim, self.case, self.length

        def shaped(values: Mapping[str, Any]) -> str:
            text = plain_text(source(values))
            if trim:
                text = text.strip()
            if case is Case.UPPER:
                text = text.upper()
            elif case is Case.LOWER:
                text = text.lower()
            return text[:length] if length else text

        return shaped


class PhonePart(StrEnum):
    """Which part of a phone number is taken; Xero has a field for each."""

    WHOLE = "whole number"
    COUNTRY = "country code"
    REST = "without country code"


@transform("phone")
@dataclass(frozen=True, slots=True)
class Phone(Transform):
    """A phone number in digits and blanks: "(09) 123-4567" is "09 123 4567".

    With a country code, numbers that have none get it: "+64 9 123 4567". What follows the first
    letter, such as "ext 12", stays as it is.
    """

    help = "Writes a phone number in digits and blanks, with its country code if you name one."
    gives = takes = FieldKind.TEXT
    of: Annotated[Transform, Label("Phone number")]
    country_code: Annotated[str, Label("Country code of numbers without one, such as 64")] = ""
    part: Annotated[PhonePart, Label("Take")] = PhonePart.WHOLE

    def __post_init__(self) -> None:
        code = self.country_code
        if code and _calling_code(code) != code:
            raise TemplateFault(
                "'country_code' of the transform 'phone' is a country's code in digits, such as 64."
            )

    def compile(self) -> Compiled:
        source, code, part = self.of.compile(), self.country_code, self.part

        def number(values: Mapping[str, Any]) -> str:
            country, rest, more = _phone(plain_text(source(values)).strip(), code)
            if part is PhonePart.COUNTRY:
                return country
            whole = f"+{country} {rest}" if country and part is PhonePart.WHOLE else rest
            return f"{whole} {more}".strip()

        return number


#: Codes of countries that have one or two digits (ITU-T E.164); all others have three.
_SHORT_CODES = frozenset(
    str(code)
    for code in (
        *(1, 7, 20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59)),
        *(*range(60, 67), 81, 82, 84, 86, *range(90, 96), 98),
    )
)
#: Countries in which a leading 0 belongs to the number.
_KEEP_ZERO = frozenset({"39", "378", "379"})
#: Shorter numbers, such as 111, belong to no country.
_SHORTEST = 6


def _calling_code(digits: str) -> str:
    """The country code that the digits of a number begin with; "" if there is none."""
    for length in (1, 2):
        if digits[:length] in _SHORT_CODES:
            return digits[:length]
    known = len(digits) >= 3 and digits[0] in "2345689" and digits.isascii() and digits.isdigit()
    return digits[:3] if known else ""


def _phone(text: str, country_code: str) -> tuple[str, str, str]:
    """Country code, number, and what follows it, out of a number as people write it."""
    end = next((place for place, one in enumerate(text) if one.isalpha()), len(text))
    written, more = text[:end], text[end:]
    groups = "".join(one if one.isdecimal() else " " for one in written).split()
    digits = "".join(groups)
    if len(digits) < _SHORTEST:
        return "", "", text
    abroad = written.lstrip(" (").startswith("+")
    if not abroad and digits.startswith("00"):
        abroad, groups = True, _without(groups, 2)
    if abroad:
        code = _calling_code("".join(groups))
        rest = _without(groups, len(code))
        if code not in _KEEP_ZERO and code and rest and rest[0] == "0":
            del rest[0]  # "+64 (0)9 123 4567"
        return (code, " ".join(rest), more) if code else ("", f"+{' '.join(groups)}", more)
    if not country_code:
        return "", " ".join(groups), more
    if digits[0] == "0" and country_code not in _KEEP_ZERO:
        groups = _without(groups, 1)
    return country_code, " ".join(groups), more


def _without(groups: list[str], count: int) -> list[str]:
    """The groups of digits without the first `count` digits."""
    kept = []
    for group in groups:
        kept.append(group[count:])
        count = max(0, count - len(group))
    return [group for group in kept if group]


class CountryForm(StrEnum):
    """How a country is written."""

    NAME = "name"
    CODE = "code"


class UnknownCountry(StrEnum):
    """What happens to a text that is no known country."""

    FAULT = "fault"  #: the record isn't sent
    KEEP = "keep"  #: it stays as it is


@transform("country")
@dataclass(frozen=True, slots=True)
class Country(Transform):
    """A country's name in letters, or its code, out of either."""

    help = "Writes a country as its English name or its two-letter code."
    gives = takes = FieldKind.TEXT
    of: Annotated[Transform, Label("Country")]
    form: Annotated[CountryForm, Label("Write its")] = CountryForm.NAME
    unknown: Annotated[UnknownCountry, Label("What isn't known")] = UnknownCountry.FAULT

    def compile(self) -> Compiled:
        source, keep = self.of.compile(), self.unknown is UnknownCountry.KEEP
        by_code = self.form is CountryForm.CODE

        def written(values: Mapping[str, Any]) -> str:
            text = plain_text(source(values)).strip()
            found = country_of(text)
            if found is not None:
                return found.code if by_code else found.name
            if keep or not text:
                return text
            raise ValueFault(
                f"“{text[:40]}” isn't a country known here. Write its English name or its "
                "two-letter code."
            )

        return written


class Kept(StrEnum):
    """Which characters stay."""

    DIGITS = "digits"
    LETTERS = "letters"
    BOTH = "digits and letters"


@transform("keep")
@dataclass(frozen=True, slots=True)
class Keep(Transform):
    """Only some characters of a text: "NZ 123-456" is "123456"; digits become 0 to 9."""

    help = "Keeps only the digits or only the letters of a text."
    gives = takes = FieldKind.TEXT
    of: Annotated[Transform, Label("Text")]
    what: Annotated[Kept, Label("Keep")] = Kept.DIGITS

    def compile(self) -> Compiled:
        source = self.of.compile()
        digits, letters = self.what is not Kept.LETTERS, self.what is not Kept.DIGITS

        def kept(values: Mapping[str, Any]) -> str:
            stay = []
            for one in plain_text(source(values)):
                if digits and one.isdecimal():
                    stay.append(str(int(one)))
                elif letters and one.isalpha():
                    stay.append(one)
            return "".join(stay)

        return kept


@transform("part")
@dataclass(frozen=True, slots=True)
class Part(Transform):
    """One piece of a text; `number` counts from 1, or from the end with -1.

    Blanks around a piece go, and several blanks separate like one. A piece that isn't there is
    nothing.
    """

    help = "Cuts a text at a separator and takes one of the pieces."
    gives = takes = FieldKind.TEXT
    of: Annotated[Transform, Label("Text")]
    separator: Annotated[str, Label("Separator")]
    number: Annotated[int, Label("Which piece (1: the first, -1: the last)")] = 1

    def __post_init__(self) -> None:
        if not self.separator:
            raise TemplateFault("'separator' of the transform 'part' is at least one character.")
        if not 1 <= abs(self.number) <= 1_000:
            raise TemplateFault("'number' of the transform 'part' is 1 to 1000, or -1 to -1000.")

    def compile(self) -> Compiled:
        source, number = self.of.compile(), self.number
        separator = self.separator if self.separator.strip(" ") else None
        place = number - 1 if number > 0 else number

        def piece(values: Mapping[str, Any]) -> str:
            pieces = plain_text(source(values)).split(separator)
            return pieces[place].strip() if -len(pieces) <= place < len(pieces) else ""

        return piece


@transform("replace")
@dataclass(frozen=True, slots=True)
class Replace(Transform):
    """Every occurrence of one text by another; nothing in them has a special meaning."""

    help = "Replaces one text by another wherever it occurs."
    gives = takes = FieldKind.TEXT
    of: Annotated[Transform, Label("Text")]
    find: Annotated[str, Label("Replace")]
    by: Annotated[str, Label("By")] = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.find) <= 200 or len(self.by) > 200:
            raise TemplateFault(
                "'find' of the transform 'replace' has 1 to 200 characters, 'by' at most 200."
            )

    def compile(self) -> Compiled:
        source, find, by = self.of.compile(), self.find, self.by
        more = len(by) - len(find)

        def replaced(values: Mapping[str, Any]) -> str:
            text = plain_text(source(values))
            if len(text) + more * text.count(find) > LONGEST_MADE:
                raise ValueFault("The text gets too long by what is replaced.")
            return text.replace(find, by)

        return replaced


class Rounding(StrEnum):
    """How a number is rounded."""

    NONE = "not"
    HALF_UP = "half up"
    UP = "up"
    DOWN = "down"


_ROUNDINGS = {
    Rounding.HALF_UP: ROUND_HALF_UP,
    Rounding.UP: ROUND_UP,
    Rounding.DOWN: ROUND_DOWN,
}


@transform("number")
@dataclass(frozen=True, slots=True)
class Number(Transform):
    """A number, multiplied and rounded; nothing stays nothing. Up and down are from and to 0."""

    help = "Multiplies a number, as cents by a hundredth, and rounds it."
    gives = takes = FieldKind.NUMBER
    of: Annotated[Transform, Label("Number")]
    times: Annotated[Decimal, Label("Multiply by")] = Decimal(1)
    rounding: Annotated[Rounding, Label("Round")] = Rounding.NONE
    places: Annotated[int, Label("Decimal places")] = 2

    def __post_init__(self) -> None:
        if not 0 <= self.places <= MOST_PLACES:
            raise TemplateFault(f"'places' of the transform 'number' is 0 to {MOST_PLACES}.")

    def compile(self) -> Compiled:
        source, times = self.of.compile(), self.times
        way = _ROUNDINGS.get(self.rounding)
        last = Decimal((0, (1,), -self.places))

        def number(values: Mapping[str, Any]) -> Decimal | None:
            value = source(values)
            if empty(value):
                return None
            try:
                found = CONTEXT.multiply(as_number(value), times)
                return found if way is None else found.quantize(last, way, CONTEXT)
            except ArithmeticError:
                raise ValueFault(f"“{as_text(value)[:40]}” is too large a number.") from None

        return number


@transform("yes_no")
@dataclass(frozen=True, slots=True)
class YesNo(Transform):
    """One text for yes and one for no; a box that was never ticked is no."""

    help = "Gives one text for yes and another for no."
    gives = FieldKind.TEXT
    takes = FieldKind.YES_NO
    of: Annotated[Transform, Label("Yes or no")]
    yes: Annotated[str, Label("Text for yes")] = "yes"
    no: Annotated[str, Label("Text for no")] = "no"

    def compile(self) -> Compiled:
        source, yes, no = self.of.compile(), self.yes, self.no
        return lambda values: yes if as_yes_no(source(values)) else no

    def fixed(self) -> tuple[str | bool | Decimal, ...]:
        return (self.yes, self.no)

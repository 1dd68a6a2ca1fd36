"""What a CRM's values are to rules: their kinds, how each is read, and faults in plain words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from xtiger.domain.records import Field, FieldKind, RecordRef

#: A kind of value inside a sentence.
KIND_WORDS = {
    FieldKind.TEXT: "a text",
    FieldKind.NUMBER: "a number",
    FieldKind.DATE: "a day",
    FieldKind.YES_NO: "yes or no",
    FieldKind.LINK: "a link",
    FieldKind.LIST: "a list",
}

#: Texts that mean yes and no, in small letters; nothing means no, as a box left unticked.
_YES = frozenset({"yes", "y", "true", "t", "on", "1", "x"})
_NO = frozenset({"", "no", "n", "false", "f", "off", "0"})

_ZERO = Decimal(0)

#: Digits before the point, or noughts behind it, up to which a number is written out: a short
#: text such as 1e999999999 would fill the memory else.
_WRITTEN_OUT = 40


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
    """ "; did you mean 'price'?" for the nearest possible word, else "."."""
    near = difflib.get_close_matches(word, list(possible), n=1)
    return f"; did you mean '{near[0]}'?" if near else "."


def empty(value: Any) -> bool:
    """Whether a value counts as nothing; 0 and no don't."""
    return value is None or value == ""


def absurd(number: Decimal) -> bool:
    """Whether no amount, rate or quantity can be meant: over 40 digits away from the point."""
    return not number.is_finite() or abs(number.adjusted()) > _WRITTEN_OUT


def written_out(number: Decimal) -> str:
    """A number with exactly its digits, without an exponent unless it is absurd."""
    return str(number) if absurd(number) else f"{number:f}"


def as_text(value: Any) -> str:
    """Any field's value as plain text: numbers without trailing zeros, days as 2026-11-21."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        # Not normalize(): that rounds to whatever precision this thread happens to have.
        text = written_out(value) if value else "0"
        return text.rstrip("0").rstrip(".") if "." in text and "E" not in text else text
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, RecordRef):
        return value.id
    return str(value)


def plain_text(value: Any) -> str:
    """A value as the text that Xero gets: `as_text`, but no number without end.

    Raises ValueFault for a number that can't be written out.
    """
    if type(value) is Decimal and value and absurd(value):
        raise ValueFault(f"“{as_text(value)[:40]}” isn't a number that Xero takes.")
    return as_text(value)


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
    if type(value) is Decimal and value.is_finite():
        if -30 < value.adjusted() < 18:
            return value
        if not value:  # of however many places
            return _ZERO
    if type(value) is int or isinstance(value, str):
        with suppress(ArithmeticError):
            return as_number(Decimal(value))
    raise ValueFault(f"“{as_text(value)[:40]}” isn't a number that Xero takes.")


def as_yes_no(value: Any) -> bool:
    """Yes or no out of a ticked box, 1 and 0, or a word; nothing is no. Raises ValueFault."""
    if isinstance(value, bool):
        return value
    word = as_text(value).strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueFault(f"“{as_text(value)[:40]}” is neither yes nor no.")


def plain(number: Decimal) -> Decimal:
    """The same number without trailing zeros, so that equal payloads have equal bytes."""
    whole = number.to_integral_value()
    return (whole or _ZERO) if whole == number else number.normalize()


class Fields:
    """The fields that a record or a line has in this CRM; what names in a mapping are held to."""

    def __init__(self, known: Iterable[Field]) -> None:
        self._kinds = {each.name: each.kind for each in known}

    def kind(self, name: str) -> FieldKind | None:
        """The field's kind; None for one of a linked record, which isn't described here."""
        return self._kinds.get(name)

    def fault(self, name: str) -> str | None:
        """What is wrong with the name; `product.name`, of a linked record, needs its link."""
        link, dot, _ = name.partition(".")
        if name in self._kinds or (dot and self._kinds.get(link) is FieldKind.LINK):
            return None
        if link in self._kinds:
            return f"The field '{link}' isn't a link, so '{name}' can't be read."
        return f"There is no field '{link}'{did_you_mean(link, self._kinds)}"

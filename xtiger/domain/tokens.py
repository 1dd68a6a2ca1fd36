"""The words of a formula: numbers, texts in quotes, names, names in braces, signs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from xtiger.domain.values import TemplateFault

#: The most characters of a name.
LONGEST_NAME = 100


class FormulaFault(TemplateFault):
    """A formula that can't be used; `at` counts characters from 1."""

    def __init__(self, what: str, at: int) -> None:
        end = "" if what.endswith("?") else "."
        super().__init__(f"{what} (at character {at}){end}")
        self.at = at


class Token(NamedTuple):
    """One word of a formula; `start` and `end` count characters from 0."""

    kind: str
    text: str
    start: int
    end: int


_WORDS = re.compile(
    r"(?P<blank>[ \t\r\n\u00a0]+)"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?)"
    r"|(?P<text>'(?:[^']|'')*')"
    r"|(?P<braced>\{[^{}]*\})"
    r"|(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)"
    r"|(?P<wrong>\*\*|==|!=|&&|\|\|)"
    r"|(?P<sign><>|<=|>=|[-+*/&=<>(),])"
)
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,12})?")

#: What people write that isn't in the language, and what to write instead.
_INSTEAD = {
    "==": "write = for equal",
    "!=": "write <> for not equal",
    "!": "write not, or <> for not equal",
    "&&": "write and",
    "||": "write or",
    "**": "there is no power",
    "^": "there is no power",
    "%": "there is no %: divide by 100",
    ";": "values are separated by commas",
    "'": "this text isn't closed: a ' is missing",
    "{": "this name isn't closed: a } is missing",
    **dict.fromkeys('"“”„‘’‚`', "texts stand in straight single quotes, such as 'Sent'"),
}


def tokens(source: str) -> Iterator[Token]:
    """The words of a formula, then one of the kind "end"."""
    place = 0
    while place < len(source):
        found = _WORDS.match(source, place)
        kind = found.lastgroup if found else None
        if found is None or kind is None or kind == "wrong":
            raise FormulaFault(_no_word(source, place), place + 1)
        word = found.group()
        if kind == "number" and not _NUMBER.fullmatch(word):
            what = "a number has at most 18 digits and 12 decimal places"
            raise FormulaFault(what, place + 1)
        if kind in ("name", "braced") and len(word) > LONGEST_NAME:
            what = f"a name has at most {LONGEST_NAME} characters"
            raise FormulaFault(what, place + 1)
        if kind in ("text", "braced"):
            _refuse_hidden(word, place)
        if kind != "blank":
            yield Token(kind, word, place, found.end())
        place = found.end()
    yield Token("end", "", place, place)


def _no_word(source: str, place: int) -> str:
    """Why nothing of the language begins there."""
    for length in (2, 1):
        if hint := _INSTEAD.get(source[place : place + length]):
            return hint
    one = source[place]
    shown = f"'{one}'" if one.isprintable() else f"the hidden character U+{ord(one):04X}"
    return f"{shown} can't stand in a formula"


def _refuse_hidden(word: str, place: int) -> None:
    """Control characters, and those that make a text look other than it is, are refused."""
    for offset, one in enumerate(word):
        if one.isprintable() or one in "\n\t\r\u00a0\u200c\u200d":
            continue  # the last two join letters in Persian and emoji
        if unicodedata.category(one) in ("Zs", "Cn"):
            continue  # blanks of other widths; letters younger than this Python
        what = f"the hidden character U+{ord(one):04X} can't stand in a formula"
        raise FormulaFault(what, place + offset + 1)

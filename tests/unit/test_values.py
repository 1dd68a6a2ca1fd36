"""Values of a CRM read and shown: an absurd number costs no more than its own text."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from xtiger.domain import exactjson
from xtiger.domain.transforms import from_json
from xtiger.domain.values import (
    ValueFault,
    absurd,
    as_day,
    as_number,
    as_text,
    as_yes_no,
    plain_text,
)
from xtiger.web import formats
from xtiger.web.sheets import disarm

#: Ten million digits if it were written out; a CRM's text can ask for a thousand million.
HUGE = "1E+9999999"
TINY = "-2.5E-9999999"
NOTHING = "0E-9999999"
#: Transforms that make a text of a number.
OF = {"transform": "field", "field": "of"}
TEXTS: list[dict[str, Any]] = [
    {"transform": "concat", "parts": [OF]},
    {"transform": "text", "of": OF},
    {"transform": "phone", "of": OF},
    {"transform": "keep", "of": OF},
    {"transform": "part", "of": OF, "separator": "-"},
    {"transform": "replace", "of": OF, "find": "-", "by": ""},
    {"transform": "country", "of": OF, "unknown": "keep"},
    {"transform": "formula", "formula": "text(of)"},
]


@pytest.mark.parametrize("text", [HUGE, TINY, "NaN", "-Infinity", "1E+41", "1E-41"])
def test_an_absurd_number_is_shown_with_its_exponent(text: str) -> None:
    number = Decimal(text)
    assert absurd(number)
    assert as_text(number) == text
    assert formats.cell(number) == formats.quantity(number) == formats.money(number) == text
    assert disarm(number) == text


def test_any_other_number_is_written_out() -> None:
    assert as_text(Decimal("1E+40")) == f"1{'0' * 40}"
    assert as_text(Decimal("1E-40")) == f"0.{'0' * 39}1"
    assert as_text(Decimal(NOTHING)) == "0"
    assert formats.money(Decimal("1E+30")) == f"1{',000' * 10}.00"
    assert disarm(Decimal("1E+3")) == "1000"


@pytest.mark.parametrize("text", [HUGE, TINY])
def test_an_absurd_number_is_refused_in_its_own_words(text: str) -> None:
    for value in (text, Decimal(text)):
        with pytest.raises(ValueFault) as wrong:
            as_number(value)
        assert wrong.value.sentence == f"“{text}” isn't a number that Xero takes."
    with pytest.raises(ValueFault) as wrong:
        as_day(Decimal(text))
    assert wrong.value.sentence == f"“{text}” isn't a day such as 2026-11-21."
    with pytest.raises(ValueFault) as wrong:
        as_yes_no(Decimal(text))
    assert wrong.value.sentence == f"“{text}” is neither yes nor no."


@pytest.mark.parametrize("text", [HUGE, TINY, "NaN", "1E+41"])
def test_an_absurd_number_is_no_text_for_xero(text: str) -> None:
    """Written out it has no end, and nobody means 1E+9999999."""
    with pytest.raises(ValueFault) as wrong:
        plain_text(Decimal(text))
    assert wrong.value.sentence == f"“{text}” isn't a number that Xero takes."
    for source in TEXTS:
        get = from_json(source).compile()
        assert get({"of": Decimal("1E+20")})
        with pytest.raises(ValueFault):
            get({"of": Decimal(text)})


def test_other_numbers_become_texts_in_plain_digits() -> None:
    assert plain_text(Decimal("1E+20")) == f"1{'0' * 20}"
    assert plain_text(Decimal("1.50")) == "1.5"
    assert plain_text(Decimal("0E+9999999")) == plain_text(Decimal(NOTHING)) == "0"
    assert plain_text("1E+9999999") == "1E+9999999", "a text stays what somebody typed"


@pytest.mark.parametrize("text", [NOTHING, "0E+9999999", "0.0000000000000000000000000000000000"])
def test_nothing_is_nothing_with_however_many_places(text: str) -> None:
    for value in (text, Decimal(text)):
        assert as_number(value) == 0
        assert len(as_text(as_number(value))) == 1


def test_json_holds_an_absurd_number_as_short_as_it_came() -> None:
    """Wherever it stands: in a document's charges, say, which come nested."""
    kept = {"charges": [{"amount": Decimal(HUGE), "rate": Decimal(TINY)}]}
    text = exactjson.dumps(kept)
    assert text == b'{"charges":[{"amount":1E+9999999,"rate":-2.5E-9999999}]}'
    assert exactjson.loads(text) == kept
    with pytest.raises(ValueError, match="exponent"):
        exactjson.loads("[1e99999999999999999999]")


def test_days_and_numbers_are_read_as_before() -> None:
    assert as_day("2026-11-21") == date(2026, 11, 21)
    assert as_number("1e17") == Decimal("1e17")
    assert as_number(7) == 7

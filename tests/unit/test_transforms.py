"""Named transforms: what each makes of a record, and what a wrong one is told."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from xtiger.domain import exactjson
from xtiger.domain.transforms import REGISTRY, TemplateFault, ValueFault, as_text, from_json

ANA = {
    "name": "Ana Lee Ltd",
    "first_name": "Ana",
    "middle_name": "",
    "last_name": "Lee",
    "date": date(2026, 11, 21),
    "total": Decimal("87.750"),
    "category": "Goods",
}


def field(name: str) -> dict[str, Any]:
    return {"transform": "field", "field": name}


def result(data: dict[str, Any], values: dict[str, Any] = ANA) -> Any:
    return from_json(data).compile()(values)


def test_a_field_gives_its_value_and_nothing_where_it_is_absent() -> None:
    assert result(field("name")) == "Ana Lee Ltd"
    assert result(field("mobile")) is None


def test_a_constant_is_the_same_for_every_record() -> None:
    assert result({"transform": "constant", "value": "200"}) == "200"
    assert result({"transform": "constant", "value": 14}) == Decimal(14)


def test_default_takes_the_first_that_is_not_empty_and_zero_counts() -> None:
    of = [field("middle_name"), field("mobile"), field("last_name")]
    assert result({"transform": "default", "of": of}) == "Lee"
    zero = {"transform": "default", "of": [field("cost"), field("name")]}
    assert result(zero, {"cost": Decimal(0), "name": "W"}) == Decimal(0)


def test_concat_joins_and_skips_what_is_empty() -> None:
    parts = [field("first_name"), field("middle_name"), field("last_name")]
    assert result({"transform": "concat", "parts": parts, "separator": " "}) == "Ana Lee"
    kept = {"transform": "concat", "parts": parts, "separator": "|", "skip_empty": False}
    assert result(kept) == "Ana||Lee"


def test_lookup_replaces_by_its_table() -> None:
    data = {"transform": "lookup", "of": field("category"), "table": {"Goods": "200"}}
    assert result(data) == "200"
    assert result(data, {"category": ""}) is None


def test_a_lookup_says_what_its_table_lacks_or_uses_its_default_or_keeps() -> None:
    data = {"transform": "lookup", "of": field("category"), "table": {"Service": "260"}}
    with pytest.raises(ValueFault, match="“Goods” isn't in the mapping's table"):
        result(data)
    assert result({**data, "unmatched": "default", "default": "200"}) == "200"
    assert result({**data, "unmatched": "keep"}) == "Goods"


def test_a_date_moves_by_days_and_reads_text() -> None:
    data = {"transform": "date", "of": field("date"), "add_days": 14}
    assert result(data) == date(2026, 12, 5)
    assert result(data, {"date": "2026-12-25"}) == date(2027, 1, 8)
    assert result(data, {"date": datetime(2026, 11, 21, 23, 59, tzinfo=UTC)}) == date(2026, 12, 5)
    assert result(data, {}) is None
    with pytest.raises(ValueFault, match=r"“25\.12\.” isn't a day such as 2026-11-21"):
        result(data, {"date": "25.12."})
    with pytest.raises(ValueFault, match="too far away"):
        result(data, {"date": date.max})


def test_text_trims_changes_case_and_cuts() -> None:
    data = {"transform": "text", "of": field("name"), "case": "upper", "length": 7}
    assert result(data, {"name": "  Ana Lee Ltd"}) == "ANA LEE"


def test_values_read_as_people_write_them() -> None:
    assert as_text(Decimal("87.750")) == "87.75"
    assert as_text(Decimal("1E+3")) == "1000"
    assert as_text(date(2026, 11, 21)) == "2026-11-21"
    assert as_text(None) == ""


def test_every_transform_explains_itself_in_one_sentence() -> None:
    for name, cls in REGISTRY.items():
        assert cls.name == name
        assert cls.help.endswith(".")
        assert cls.help.count(".") == 1


def test_a_transform_survives_json() -> None:
    data = {
        "transform": "lookup",
        "of": {"transform": "text", "of": field("category"), "case": "lower"},
        "table": {"goods": "200"},
        "unmatched": "default",
        "default": "260",
    }
    made = from_json(data)
    assert made.to_json() == data
    assert from_json(exactjson.loads(exactjson.dumps(made.to_json()))) == made


def test_a_transform_knows_the_fields_it_reads() -> None:
    parts = [field("first_name"), field("last_name"), field("first_name")]
    made = from_json({"transform": "concat", "parts": parts})
    assert made.reads() == ("first_name", "last_name")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"transform": "feild", "field": "name"}, "There is no transform 'feild'; did you mean"),
        ({"transform": "field", "name": "x"}, "The transform 'field' has no parameter 'name'."),
        ({"transform": "text", "of": field("a"), "lenght": 3}, "did you mean 'length'?"),
        ({"transform": "field"}, "The transform 'field' needs the parameter 'field'."),
        ({"transform": "date", "of": field("a"), "add_days": "3"}, "is a whole number."),
        ({"transform": "date", "of": field("a"), "add_days": True}, "is a whole number."),
        ({"transform": "date", "of": field("a"), "add_days": 99999999}, "is at most 36500."),
        ({"transform": "text", "of": field("a"), "case": "title"}, "one of keep, upper, lower."),
        ({"transform": "default", "of": []}, "a list with at least one member."),
        ({"transform": "constant", "value": None}, "is a text, a number, true or false."),
        ({"transform": "lookup", "of": field("a"), "table": {"a": 1}}, "is a table of texts."),
        ("name", "A transform is an object"),
    ],
)
def test_a_wrong_transform_is_told_what_is_wrong(data: Any, sentence: str) -> None:
    with pytest.raises(TemplateFault) as told:
        from_json(data)
    assert sentence in told.value.sentence


def test_transforms_cannot_be_nested_without_end() -> None:
    data = field("name")
    for _ in range(30):
        data = {"transform": "text", "of": data}
    with pytest.raises(TemplateFault, match="at most 20 deep"):
        from_json(data)

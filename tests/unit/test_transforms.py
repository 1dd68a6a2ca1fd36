"""Named transforms: what each makes of a record, and what a wrong one is told."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Context, Decimal, localcontext
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest

from xtiger.domain import exactjson
from xtiger.domain.countries import country_of
from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.operands import FUNCTIONS
from xtiger.domain.records import Field, FieldKind, Module, ModuleInfo, RecordRef
from xtiger.domain.transforms import (
    REGISTRY,
    Fields,
    Parameter,
    TemplateFault,
    ValueFault,
    as_text,
    as_yes_no,
    from_json,
)

ROOT = Path(__file__).parents[2]

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


def shaped(name: str, value: Any, **parameters: Any) -> Any:
    """What one transform makes of one value."""
    return result({"transform": name, "of": field("x"), **parameters}, {"x": value})


@pytest.mark.parametrize(
    ("written", "whole", "country", "rest"),
    [
        ("(09) 123-4567", "+64 9 123 4567", "64", "9 123 4567"),
        ("021.555.123", "+64 21 555 123", "64", "21 555 123"),
        ("+64 (0)9 123 4567", "+64 9 123 4567", "64", "9 123 4567"),
        ("0064 9 123 4567", "+64 9 123 4567", "64", "9 123 4567"),
        ("+1 (415) 555-0100", "+1 415 555 0100", "1", "415 555 0100"),
        ("+3531234 5678", "+353 1234 5678", "353", "1234 5678"),
        ("+39 06 1234567", "+39 06 1234567", "39", "06 1234567"),
        ("09 123 4567 ext 12", "+64 9 123 4567 ext 12", "64", "9 123 4567 ext 12"),
        ("+0 12345678", "+0 12345678", "", "+0 12345678"),
        ("111", "111", "", "111"),
        ("0800 FLOWERS", "0800 FLOWERS", "", "0800 FLOWERS"),
        ("ask Ana", "ask Ana", "", "ask Ana"),
        ("", "", "", ""),
        (None, "", "", ""),
    ],
)
def test_phones_are_written_in_digits_and_blanks(
    written: str | None, whole: str, country: str, rest: str
) -> None:
    assert shaped("phone", written, country_code="64") == whole
    assert shaped("phone", written, country_code="64", part="country code") == country
    assert shaped("phone", written, country_code="64", part="without country code") == rest


def test_a_phone_without_a_country_code_stays_at_home() -> None:
    assert shaped("phone", "(09) 123-4567") == "09 123 4567"
    assert shaped("phone", "06 1234 567", country_code="39") == "+39 06 1234 567"
    assert shaped("phone", Decimal(95551234), country_code="64") == "+64 95551234"


@pytest.mark.parametrize(
    ("written", "name", "code"),
    [
        ("NZ", "New Zealand", "NZ"),
        (" new zealand ", "New Zealand", "NZ"),
        ("deu", "Germany", "DE"),
        ("Deutschland", "Germany", "DE"),
        ("Österreich", "Austria", "AT"),
        ("U.K.", "United Kingdom", "GB"),
        ("the Netherlands", "Netherlands", "NL"),
        ("St. Kitts & Nevis", "Saint Kitts and Nevis", "KN"),
        ("Côte d’Ivoire", "Ivory Coast", "CI"),
        ("Türkiye", "Turkey", "TR"),
        ("United States of America", "United States", "US"),
        ("", "", ""),
        (None, "", ""),
    ],
)
def test_a_country_is_written_as_its_name_or_its_code(
    written: str | None, name: str, code: str
) -> None:
    assert shaped("country", written) == name
    assert shaped("country", written, form="code") == code


def test_a_country_that_is_not_known_is_a_fault_or_stays() -> None:
    with pytest.raises(ValueFault, match="“Wakanda” isn't a country known here"):
        shaped("country", "Wakanda")
    assert shaped("country", "Wakanda", unknown="keep") == "Wakanda"


def test_every_country_name_is_one_that_xero_takes() -> None:
    """Xero's addresses: letters only, at most 50 (Xero: contacts page)."""
    codes = [a + b for a in ascii_uppercase for b in ascii_uppercase]
    known = [found for found in map(country_of, codes) if found]
    assert len({country.code for country in known}) == 249  # ISO 3166-1
    for country in known:
        assert country.name.replace(" ", "").isascii()
        assert country.name.replace(" ", "").isalpha()
        assert len(country.name) <= 50
        assert country_of(country.name) == country


def test_keep_leaves_digits_or_letters() -> None:
    assert shaped("keep", "NZ 123-456") == "123456"
    assert shaped("keep", "١٢ 3") == "123"
    assert shaped("keep", "NZ-12 é", what="letters") == "NZé"
    assert shaped("keep", "NZ-12", what="digits and letters") == "NZ12"
    assert shaped("keep", None) == ""


def test_part_takes_a_piece() -> None:
    assert shaped("part", "INV/2026/17", separator="/", number=2) == "2026"
    assert shaped("part", "INV/2026/17", separator="/", number=-1) == "17"
    assert shaped("part", "INV/2026/17", separator="/", number=4) == ""
    assert shaped("part", "INV/2026/17", separator="/", number=-4) == ""
    assert shaped("part", "  Ana   Lee ", separator=" ", number=2) == "Lee"
    assert shaped("part", "1 High St\nAuckland", separator="\n", number=2) == "Auckland"
    assert shaped("part", None, separator="/") == ""


def test_replace_takes_texts_as_they_are() -> None:
    assert shaped("replace", "a.b.c", find=".", by="-") == "a-b-c"
    assert shaped("replace", "(a+)+$", find="a+", by="\\1") == "(\\1)+$"
    assert shaped("replace", "a b", find=" ") == "ab"


def test_number_multiplies_and_rounds() -> None:
    assert shaped("number", "1999", times=Decimal("0.01")) == Decimal("19.99")
    assert shaped("number", Decimal("2.345"), rounding="half up") == Decimal("2.35")
    assert shaped("number", Decimal("-2.345"), rounding="half up") == Decimal("-2.35")
    assert shaped("number", Decimal("2.341"), rounding="up") == Decimal("2.35")
    assert shaped("number", Decimal("2.349"), rounding="down", places=1) == Decimal("2.3")
    assert shaped("number", Decimal("0.1"), times=3) == Decimal("0.3")
    assert shaped("number", None) is None
    with pytest.raises(ValueFault, match="“two” isn't a number"):
        shaped("number", "two")
    with pytest.raises(ValueFault, match="“99999999999999999” is too large a number"):
        shaped("number", 99999999999999999, times=10**17, rounding="half up", places=12)


def test_number_and_text_do_not_ask_the_threads_decimal_context() -> None:
    with localcontext(Context(prec=2)):
        assert shaped("number", "1234.565", rounding="half up") == Decimal("1234.57")
        assert shaped("text", Decimal("1234.5600")) == "1234.56"


def test_yes_no_gives_a_text_for_each() -> None:
    for yes in (True, Decimal(1), 1, "Yes", " on ", "x"):
        assert shaped("yes_no", yes, yes="T", no="F") == "T"
    for no in (False, Decimal(0), 0, "No", "off", "", None):
        assert shaped("yes_no", no, yes="T", no="F") == "F"
    with pytest.raises(ValueFault, match="“maybe” is neither yes nor no"):
        as_yes_no("maybe")


def test_when_takes_one_of_two_values() -> None:
    data = {
        "transform": "when",
        "condition": "total > 50 and category = 'Goods'",
        "then": field("name"),
        "otherwise": {"transform": "constant", "value": "200"},
    }
    assert result(data) == "Ana Lee Ltd"
    assert result(data, {**ANA, "category": None}) == "200"
    assert from_json(data).reads() == ("total", "category", "name")
    del data["otherwise"]
    assert result(data, {**ANA, "category": None}) == ""
    ticked = {"transform": "when", "condition": "ticked", "then": field("name")}
    assert result(ticked, {"ticked": Decimal(1), "name": "Ana"}) == "Ana"


def test_a_formula_is_worked_out() -> None:
    data = {"transform": "formula", "formula": "first_name & ' ' & upper(last_name)"}
    assert result(data) == "Ana LEE"
    assert from_json(data).reads() == ("first_name", "last_name")
    with pytest.raises(ValueFault, match="The field 'total' is empty"):
        result({"transform": "formula", "formula": "total * 2"}, {})


def test_values_read_as_people_write_them() -> None:
    assert as_text(Decimal("87.750")) == "87.75"
    assert as_text(Decimal("1E+3")) == "1000"
    assert as_text(date(2026, 11, 21)) == "2026-11-21"
    assert as_text(None) == ""
    assert as_text(Decimal("-0.00")) == "0"
    assert as_text(True) == "yes"


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


#: One of each, with every parameter away from its default.
EACH: list[dict[str, Any]] = [
    field("name"),
    {"transform": "constant", "value": "200"},
    {"transform": "default", "of": [field("name"), field("first_name")]},
    {"transform": "concat", "parts": [field("name")], "separator": "-", "skip_empty": False},
    {"transform": "lookup", "of": field("name"), "table": {"a": "b"}, "unmatched": "default",
     "default": "c"},
    {"transform": "date", "of": field("date"), "add_days": 14},
    {"transform": "text", "of": field("name"), "trim": False, "case": "upper", "length": 5},
    {"transform": "phone", "of": field("name"), "country_code": "64", "part": "country code"},
    {"transform": "country", "of": field("name"), "form": "code", "unknown": "keep"},
    {"transform": "keep", "of": field("name"), "what": "letters"},
    {"transform": "part", "of": field("name"), "separator": "/", "number": -1},
    {"transform": "replace", "of": field("name"), "find": "a", "by": "b"},
    {"transform": "number", "of": field("total"), "times": Decimal("0.01"), "rounding": "up",
     "places": 3},
    {"transform": "yes_no", "of": field("ticked"), "yes": "1", "no": "0"},
    {"transform": "when", "condition": "ticked", "then": field("name"),
     "otherwise": field("first_name")},
    {"transform": "formula", "formula": "total * 2"},
]  # fmt: skip


def test_every_transform_survives_json_and_describes_its_parameters() -> None:
    assert {data["transform"] for data in EACH} == set(REGISTRY)
    kinds = {
        *("field", "text", "long text", "whole number", "number", "yes/no", "choice", "table"),
        *("transform", "transforms", "constant", "formula"),
    }
    for data in EACH:
        made = from_json(data)
        assert from_json(exactjson.loads(exactjson.dumps(made.to_json()))) == made
        assert made.to_json() == data
        parameters = REGISTRY[data["transform"]].parameters()
        assert [each.name for each in parameters] == [key for key in data if key != "transform"]
        for each in parameters:
            assert each.kind in kinds
            assert each.label[0].isupper()
            assert bool(each.choices) is (each.kind == "choice")
            assert each.default is None or each.default != data[each.name]


def test_the_parameters_of_a_lookup() -> None:
    assert REGISTRY["lookup"].parameters() == (
        Parameter("of", "Value", "transform", None),
        Parameter("table", "Table", "table", None),
        Parameter(
            "unmatched", "What isn't in the table", "choice", "fault", ("fault", "default", "keep")
        ),
        Parameter("default", "Default", "text", ""),
    )


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
        ({"transform": "constant", "value": "a\0b"}, "a character that can't be stored."),
        ({"transform": "constant", "value": "\ud800"}, "a character that can't be stored."),
        ({"transform": "constant", "value": "x" * 4_001}, "at most 4000 characters."),
        ({"transform": "constant", "value": Decimal("NaN")}, "at most 18 digits"),
        ({"transform": "constant", "value": 10**18}, "at most 18 digits"),
        ({"transform": "constant", "value": 1.5}, "is a text, a number, true or false."),
        ({"transform": "default", "of": [field("a")] * 101}, "at most 100 members."),
        (
            {
                "transform": "lookup",
                "of": field("a"),
                "table": dict.fromkeys(map(str, range(2_001)), ""),
            },
            "at most 2000 entries.",
        ),
        ({"transform": "number", "of": field("a"), "times": "2"}, "is a number."),
        ({"transform": "number", "of": field("a"), "places": 13}, "is 0 to 12."),
        ({"transform": "text", "of": field("a"), "length": -1}, "is 0 or more."),
        ({"transform": "phone", "of": field("a"), "country_code": "+64"}, "in digits, such as 64"),
        ({"transform": "phone", "of": field("a"), "country_code": "6"}, "in digits, such as 64."),
        ({"transform": "part", "of": field("a"), "separator": ""}, "at least one character."),
        ({"transform": "part", "of": field("a"), "separator": "/", "number": 0}, "is 1 to 1000"),
        ({"transform": "replace", "of": field("a"), "find": ""}, "has 1 to 200 characters"),
        (
            {"transform": "formula", "formula": "total *"},
            "In the formula, a value is missing at the end (at character 8).",
        ),
        (
            {"transform": "when", "condition": "1 + 1", "then": field("a")},
            "In the condition, a condition needs yes or no, and '1 + 1' is a number",
        ),
    ],
)
def test_a_wrong_transform_is_told_what_is_wrong(data: Any, sentence: str) -> None:
    with pytest.raises(TemplateFault) as told:
        from_json(data)
    assert sentence in told.value.sentence


# -- checked against a module's fields ---------------------------------------------------------

KNOWN = Fields(
    [
        Field("name", "Name"),
        Field("total", "Total", FieldKind.NUMBER),
        Field("date", "Date", FieldKind.DATE),
        Field("ticked", "Ticked", FieldKind.YES_NO),
        Field("product", "Product", FieldKind.LINK),
    ]
)


@pytest.mark.parametrize(
    ("data", "wanted", "faults"),
    [
        (field("naem"), "text", ["There is no field 'naem'; did you mean 'name'?"]),
        (field("name.x"), "text", ["The field 'name' isn't a link, so 'name.x' can't be read."]),
        (field("product.price"), "number", []),
        (field("name"), "number", []),  # a text may hold a number; each record is asked
        (field("total"), "text", []),
        (field("date"), "number", ["The field 'date' gives a day; a number is needed here."]),
        (field("ticked"), "date", ["The field 'ticked' gives yes or no; a day is needed here."]),
        (field("product"), "date", ["The field 'product' gives a link; a day is needed here."]),
        ({"transform": "date", "of": field("date")}, "number",
         ["The transform 'date' gives a day; a number is needed here."]),
        ({"transform": "date", "of": field("total")}, "date",
         ["The field 'total' gives a number; a day is needed here."]),
        ({"transform": "number", "of": field("date")}, "number",
         ["The field 'date' gives a day; a number is needed here."]),
        ({"transform": "yes_no", "of": field("date")}, "text",
         ["The field 'date' gives a day; yes or no is needed here."]),
        ({"transform": "default", "of": [field("total"), field("date"), field("naem")]}, "number",
         ["The field 'date' gives a day; a number is needed here.",
          "There is no field 'naem'; did you mean 'name'?"]),
        ({"transform": "constant", "value": "200"}, "number", []),
        ({"transform": "constant", "value": "20O"}, "number",
         ["“20O” isn't a number that Xero takes."]),
        ({"transform": "constant", "value": "soon"}, "date",
         ["“soon” isn't a day such as 2026-11-21."]),
        ({"transform": "lookup", "of": field("date"), "table": {"a": "1", "b": "two"}}, "number",
         ["“two” isn't a number that Xero takes."]),
        ({"transform": "formula", "formula": "totl * 2"}, "number",
         ["In the formula, there is no field 'totl'; did you mean 'total'? (at character 1)"]),
        ({"transform": "formula", "formula": "name * 2"}, "number",
         ["In the formula, '*' needs a number, and 'name' is a text (at character 1)."]),
        ({"transform": "formula", "formula": "name & ''"}, "number",
         ["The formula gives a text; a number is needed here."]),
        ({"transform": "formula", "formula": "total > 1"}, "date",
         ["The formula gives yes or no; a day is needed here."]),
        ({"transform": "formula", "formula": "total * 2"}, "text", []),
        ({"transform": "when", "condition": "totl > 1", "then": field("date"),
          "otherwise": field("total")}, "number",
         ["In the condition, there is no field 'totl'; did you mean 'total'? (at character 1)",
          "The field 'date' gives a day; a number is needed here."]),
        ({"transform": "when", "condition": "total", "then": field("name")}, "text",
         ["In the condition, a condition needs yes or no, and 'total' is a number"
          " (at character 1)."]),
    ],
)  # fmt: skip
def test_faults_are_found_when_a_mapping_is_saved(
    data: dict[str, Any], wanted: str, faults: list[str]
) -> None:
    assert list(from_json(data).check(KNOWN, FieldKind(wanted)).faults) == faults


def test_a_transform_says_what_it_makes() -> None:
    kinds = {data["transform"]: from_json(data).check(KNOWN).kind for data in EACH}
    assert kinds["field"] is kinds["text"] is kinds["yes_no"] is FieldKind.TEXT
    assert kinds["number"] is kinds["formula"] is FieldKind.NUMBER
    assert kinds["date"] is FieldKind.DATE
    both = {"transform": "default", "of": [field("total"), field("total")]}
    assert from_json(both).check(KNOWN).kind is FieldKind.NUMBER
    assert from_json({**both, "of": [field("total"), field("name")]}).check(KNOWN).kind is None


def test_a_transform_knows_its_fixed_values() -> None:
    table = {"transform": "lookup", "of": field("name"), "table": {"a": "200"}, "default": "260"}
    assert from_json(table).fixed() == ("200",)
    data = {
        "transform": "default",
        "of": [{**table, "unmatched": "default"}, {"transform": "constant", "value": "300"}],
    }
    assert from_json(data).fixed() == ("200", "260", "300")
    assert from_json({"transform": "text", "of": data}).fixed() == ()


def test_a_mapping_shows_each_fault_at_its_row() -> None:
    info = ModuleInfo(
        Module.PRODUCTS,
        (
            Field("code", "Code"),
            Field("price", "Price", FieldKind.NUMBER),
            Field("tax_rate", "Tax rate", FieldKind.NUMBER),
            Field("made_on", "Made on", FieldKind.DATE),
        ),
    )
    template = MappingTemplate.from_json(
        {
            "module": "Products",
            "fields": [
                {"to": "Code", "from": field("code")},
                {"to": "Name", "from": {"transform": "constant", "value": "n" * 51}},
                {"to": "Description", "from": field("made_on")},
                {"to": "SalesDetails.UnitPrice", "from": field("made_on")},
                {
                    "to": "PurchaseDetails.UnitPrice",
                    "from": {"transform": "formula", "formula": "prise * 0.8"},
                },
            ],
        }
    )
    assert template.problems(info) == (
        (
            "Name",
            f"Xero takes 50 characters; “{'n' * 40}” has 51. Cut it or choose another value.",
        ),
        ("SalesDetails.UnitPrice", "The field 'made_on' gives a day; a number is needed here."),
        (
            "PurchaseDetails.UnitPrice",
            "In the formula, there is no field 'prise'; did you mean 'price'? (at character 1)",
        ),
    )


# -- the page that explains them ---------------------------------------------------------------


def test_the_page_for_administrators_knows_every_transform_and_function() -> None:
    page = (ROOT / "docs" / "transforms.md").read_text()
    for name in REGISTRY:
        assert f"| `{name}` |" in page
    for name in FUNCTIONS:
        assert f"`{name}(" in page


def test_the_formulas_on_that_page_give_what_it_says() -> None:
    page = (ROOT / "docs" / "transforms.md").read_text()
    values = {
        "qty": Decimal(3),
        "price": Decimal("19.99"),
        "discount": Decimal(10),
        "status": "Sent",
        "first": "Ana",
        "last": "Lee",
        "date": date(2026, 11, 21),
        "due_date": None,
        "paid": False,
        "shipping_&_handling": Decimal("4.50"),
        "product": RecordRef(Module.PRODUCTS, "7"),
        "product.unit": "hour",
    }
    examples = re.findall(r"^\| `(.+)` \| (.+) \|$", page.split("### Examples")[1], re.M)
    assert len(examples) == 10
    for source, said in examples:
        assert as_text(result({"transform": "formula", "formula": source}, values)) == said


def test_no_text_grows_without_end() -> None:
    data = field("x")
    for _ in range(18):
        data = {"transform": "replace", "of": data, "find": "a", "by": "a" * 200}
    with pytest.raises(ValueFault, match="The text gets too long by what is replaced"):
        result(data, {"x": "a"})
    joined = field("x")
    for _ in range(4):
        joined = {"transform": "concat", "parts": [joined] * 100}
    assert len(result(joined["parts"][0]["parts"][0], {"x": "a" * 5_000})) == 100_000


def test_transforms_cannot_be_nested_without_end() -> None:
    data = field("name")
    for _ in range(30):
        data = {"transform": "text", "of": data}
    with pytest.raises(TemplateFault, match="at most 20 deep"):
        from_json(data)

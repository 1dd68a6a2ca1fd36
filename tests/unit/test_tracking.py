"""Lines are tracked under the categories that a mapping names, with options that Xero has."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.test_mapping import (
    CONTEXT,
    WIDGET,
    built,
    default_template,
    invoice,
    line,
    refused,
)
from xtiger.domain.automap import proposals
from xtiger.domain.defaults import MappingTemplate, MoneyFields, Row
from xtiger.domain.facts import TrackingCategory
from xtiger.domain.hints import explain
from xtiger.domain.identity import is_ours
from xtiger.domain.mapping import BuildContext, Parent, compile_template
from xtiger.domain.payloads import Memory
from xtiger.domain.preflight import check
from xtiger.domain.records import DocumentType, Field, Module, ModuleInfo, Record
from xtiger.domain.resources import Resource
from xtiger.domain.transforms import TemplateFault

D = Decimal
REGION = TrackingCategory("Region", True, (("North", True), ("South Island", True), ("Old", False)))
CAMPAIGN = TrackingCategory("Campaign", True, (("Spring", True),))
FORMER = TrackingCategory("Former", False, (("Any", True),))
FACTS = replace(CONTEXT.organisation, tracking=(REGION, CAMPAIGN, FORMER))
GOODS = Parent("item", key="W-1", label="Widget", fields={"region": "south  island"})
ON = replace(CONTEXT, organisation=FACTS, parents={**CONTEXT.parents, WIDGET: GOODS})
NORTH = {"Name": "Region", "Option": "North"}
SOUTH = {"Name": "Region", "Option": "South Island"}
SPRING = {"Name": "Campaign", "Option": "Spring"}

Json = dict[str, Any]


def field(name: str) -> Json:
    return {"transform": "field", "field": name}


def constant(value: str) -> Json:
    return {"transform": "constant", "value": value}


def row(number: int, category: str, source: Json, **how: Any) -> Row:
    data = {"to": f"Tracking{number}", "from": source, "category": category, **how}
    return Row.from_json(data)


def template(*rows: Row, **money: str) -> MappingTemplate:
    plain = default_template(Module.INVOICES)
    return replace(plain, lines=(*plain.lines, *rows), money=MoneyFields(**money))


BY_REGION = template(row(1, "region", field("region")))


def tracked(
    record: Record, of: MappingTemplate = BY_REGION, context: BuildContext = ON
) -> list[Any]:
    """What each line is tracked under; nothing of it is for preflight to find."""
    made = built(record, context, of)
    assert check(made.payload, Resource.INVOICES, context.organisation) == ()
    return [item.get("Tracking") for item in made.payload["LineItems"]]


def test_an_option_goes_as_xero_writes_it_and_a_line_without_one_has_none() -> None:
    lines = (line("10", region=" NORTH "), line("20", region=None), line("30"))
    one = invoice("60", "9", "69", *lines)
    assert tracked(one) == [[NORTH], None, None]


def test_two_categories_come_in_the_same_order_whichever_row_names_them() -> None:
    one = invoice("10", "1.50", "11.50", line("10", region="North"))
    first = template(row(1, "Region", field("region")), row(2, "Campaign", constant("Spring")))
    other = template(row(1, "Campaign", constant("spring")), row(2, "REGION", field("region")))
    assert tracked(one, first) == tracked(one, other) == [[SPRING, NORTH]]


def test_an_option_may_come_from_a_lookup_or_from_the_product() -> None:
    lookup = {
        "transform": "lookup",
        "of": field("branch"),
        "table": {"AKL": "North", "CHC": "South Island"},
        "unmatched": "default",
    }
    one = invoice("10", "1.50", "11.50", line("10", branch="CHC"))
    assert tracked(one, template(row(2, "Region", lookup))) == [[SOUTH]]
    one = invoice("20", "3", "23", line("10", product=WIDGET), line("10"))
    assert tracked(one, template(row(1, "Region", field("product.region")))) == [[SOUTH], None]


def test_a_discount_follows_its_lines_and_a_charge_is_tracked_as_a_line_would_be() -> None:
    both = template(row(1, "Region", field("region")), row(2, "Campaign", constant("Spring")))
    charge = ({"description": "Shipping", "amount": D(10), "tax_rate": D(15)},)
    one = invoice(
        "100",
        "15",
        "114.50",
        line("100", region="North"),
        header_discount=D(10),
        charges=charge,
        adjustment=D("-0.50"),
    )
    assert tracked(one, both) == [[SPRING, NORTH], [SPRING, NORTH], [SPRING], [SPRING]]
    named = replace(both, money=MoneyFields(discount_account="210"))
    assert tracked(one, named)[1] == [SPRING, NORTH]


def test_a_charge_may_name_the_option_itself_and_what_only_lines_have_it_needn_t() -> None:
    needed = template(row(1, "Region", field("region"), required=True))
    charges = ({"amount": D(4)}, {"amount": D(6), "region": "South Island"})
    one = invoice("110", "15", "125", line("100", region="North"), charges=charges)
    assert tracked(one, needed) == [[NORTH], None, [SOUTH]]
    bare = invoice("100", "15", "115", line("100"))
    assert refused(bare, ON, needed).fingerprint == "required:Tracking1"


def test_the_rounding_line_is_tracked_under_nothing() -> None:
    one = invoice("10.01", "1.50", "11.55", line("10.01", region="North"))
    assert tracked(one) == [[NORTH], None]


def test_a_line_in_two_parts_is_tracked_in_both() -> None:
    goods = {**ON.parents, WIDGET: GOODS._replace(stock_tracked=True)}
    one = invoice(
        "61.171",
        "9.18",
        "70.34665",
        line("0.061171", "1000", product=WIDGET, region="North"),
    )
    context = replace(ON, parents=goods)
    assert tracked(one, BY_REGION, context) == [[NORTH], [NORTH]]


@pytest.mark.parametrize(
    ("category", "option", "message", "sentence"),
    [
        (
            "Region",
            "West",
            "There is no ACTIVE tracking option 'West' in the tracking category 'Region'",
            "Xero's tracking category “Region” has no active option “West”. "
            "Choose another, or add it in Xero.",
        ),
        (
            "Region",
            "Old",
            "There is no ACTIVE tracking option 'Old' in the tracking category 'Region'",
            "Xero's tracking category “Region” has no active option “Old”. "
            "Choose another, or add it in Xero.",
        ),
        (
            "Former",
            "Any",
            "There is no ACTIVE tracking category with the name 'Former'",
            "Xero has no active tracking category “Former”. "
            "Choose another in the mapping, or restore it in Xero.",
        ),
    ],
)
def test_what_xero_hasnt_is_refused_in_the_words_for_xero_s_own_refusal(
    category: str, option: str, message: str, sentence: str
) -> None:
    one = invoice("10", "1.50", "11.50", line("10"), line("0"))
    found = refused(one, ON, template(row(1, category, constant(option))))
    assert found.sentence == sentence
    assert explain([message]).sentence == sentence
    assert explain([message]).fingerprint == found.fingerprint
    payload = {
        "Type": "ACCREC",
        "Contact": {"ContactID": "1"},
        "LineItems": [{"Description": "x", "Tracking": [{"Name": category, "Option": option}]}],
    }
    assert [one.sentence for one in check(payload, Resource.INVOICES, FACTS)] == [sentence]


def test_preflight_finds_a_category_twice_and_a_third_one() -> None:
    again = {**NORTH, "Name": "regioN"}
    payload = {
        "Type": "ACCREC",
        "Contact": {"ContactID": "1"},
        "LineItems": [{"Description": "x", "Tracking": [NORTH, SPRING, again]}],
    }
    found = [one.fingerprint for one in check(payload, Resource.INVOICES, FACTS)]
    assert found == ["tracking-many", "tracking-twice"]
    for message, code in (
        ("A line item can have at most 2 tracking categories", "tracking-many"),
        ("A line item can have a tracking category only once", "tracking-twice"),
    ):
        assert explain([message]).fingerprint == code


def test_categories_that_were_never_read_refuse_the_line_and_say_where_to_read_them() -> None:
    context = replace(ON, organisation=replace(FACTS, tracking=None))
    one = invoice("10", "1.50", "11.50", line("10", region="North"))
    assert refused(one, context, BY_REGION).sentence == (
        "The tracking categories of Xero aren't read yet. Read them on Xero Accounts."
    )


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([(1, "", "North")], "Choose the tracking category that Tracking1 is of."),
        (
            [(1, "Region", "North"), (2, "region", "North")],
            "Lines have the tracking category “region” already: choose another.",
        ),
    ],
)
def test_a_mapping_that_tracks_wrongly_can_t_be_used(rows: Any, sentence: str) -> None:
    made = template(*(row(number, category, constant(to)) for number, category, to in rows))
    with pytest.raises(TemplateFault) as wrong:
        compile_template(made)
    assert sentence in wrong.value.sentence


def test_only_rows_that_track_have_a_category_and_it_is_kept_as_json() -> None:
    made = BY_REGION.lines[-1].to_json()
    assert made == {"to": "Tracking1", "from": field("region"), "category": "region"}
    assert MappingTemplate.from_json(BY_REGION.to_json()) == BY_REGION
    with pytest.raises(TemplateFault) as wrong:
        account = {"to": "AccountCode", "from": constant("200"), "category": "Region"}
        compile_template(replace(BY_REGION, lines=(Row.from_json(account),)))
    assert "AccountCode isn't tracked: leave the category out." in wrong.value.sentence
    with pytest.raises(TemplateFault, match="'category' names a tracking category"):
        Row.from_json({"to": "Tracking1", "from": constant("x"), "category": 7})


def test_records_share_what_was_looked_up_and_a_fault_of_one_isn_t_the_next_one_s() -> None:
    memory = Memory()
    context = replace(ON, memory=memory)
    good = invoice("10", "1.50", "11.50", line("10", region="North"))
    bad = invoice("10", "1.50", "11.50", line("10", region="West"))
    assert tracked(good, BY_REGION, context) == [[NORTH]]
    assert refused(bad, context, BY_REGION).fingerprint == "tracking-option:Region:West"
    assert tracked(good, BY_REGION, context) == [[NORTH]]
    assert list(memory.tracked) == [("Tracking1", "North")]


def test_a_document_in_xero_equals_what_was_sent_in_whatever_order_it_tells_its_tracking() -> None:
    day, total = "2026-11-21", D("11.50")
    sent = {
        "Type": "ACCPAY",
        "Contact": {"ContactID": "c"},
        "Date": day,
        "Total": total,
        "LineItems": [{"Description": "x", "Tracking": [SPRING, NORTH]}],
    }
    told = [
        {**NORTH, "TrackingCategoryID": "1", "TrackingOptionID": "2"},
        {**SPRING, "TrackingCategoryID": "3", "TrackingOptionID": "4"},
    ]
    xero = {**sent, "LineItems": [{"Description": "x", "LineItemID": "9", "Tracking": told}]}
    assert is_ours(Resource.INVOICES, sent, xero)
    autumn = {**told[1], "Option": "Autumn"}
    for other in (told[:1], [told[0], autumn], [told[0], told[0], told[1]]):
        lines = [{"Description": "x", "Tracking": other}]
        assert not is_ours(Resource.INVOICES, sent, {**xero, "LineItems": lines})


def test_auto_map_leaves_tracking_to_people() -> None:
    """A field of the same name says nothing of the category, and without one nothing is saved."""
    info = ModuleInfo(Module.INVOICES, (), (Field("tracking1", "Tracking 1"),))
    _, lines = proposals(MappingTemplate(Module.INVOICES, DocumentType.INVOICE), info)
    assert "Tracking1" not in {row.to for row in lines}

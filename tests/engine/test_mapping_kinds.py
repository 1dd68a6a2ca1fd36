"""Kinds of fields that a save holds a mapping to: those of linked records, and lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import Engine
from tests.engine import scenes
from tests.engine.mapping_scenes import bench, changed, constant, field, in_use
from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.records import Field, FieldKind, Module
from xtiger.engine.mapping import checks
from xtiger.engine.mapping.mappings import Bench
from xtiger.engine.mapping.versions import Refused, save


@pytest.fixture
def on(engine: Engine) -> Bench:
    return bench(engine, engine.connect(scenes.KAURI)[scenes.KAURI])


def sentences(on: Bench, template: MappingTemplate) -> list[str]:
    return [one.sentence for one in checks.problems(on, template)]


def formula(text: str) -> dict[str, Any]:
    return {"transform": "formula", "formula": text}


@pytest.mark.parametrize(
    ("to", "source", "sentence"),
    [
        (
            "DueDate",
            field("contact.is_supplier"),
            "The field 'contact.is_supplier' gives yes or no; a day is needed here.",
        ),
        (
            "Reference",
            field("contact.nmae"),
            "There is no field 'contact.nmae'; did you mean 'contact.name'?",
        ),
        (
            "Description",
            field("product.nam"),
            "There is no field 'product.nam'; did you mean 'product.name'?",
        ),
        (
            "Description",
            {"transform": "date", "of": field("product.price"), "add_days": 1},
            "The field 'product.price' gives a number; a day is needed here.",
        ),
        (
            "Description",
            formula("{product.name} * 2"),
            "In the formula, '*' needs a number, and 'product.name' is a text",
        ),
        (
            "Reference",
            field("reference.name"),
            "The field 'reference' isn't a link, so 'reference.name' can't be read.",
        ),
        (
            "Reference",
            field("charges"),
            "The field 'charges' gives a list; a text is needed here.",
        ),
        (
            "Description",
            {"transform": "concat", "parts": [field("taxes"), field("description")]},
            "The field 'taxes' gives a list; a text is needed here.",
        ),
    ],
)
def test_a_wrong_kind_is_found_on_saving(
    engine: Engine, on: Bench, to: str, source: Any, sentence: str
) -> None:
    with pytest.raises(Refused) as refused:
        save(engine.services, on, changed(in_use(on), to, source), seen=1, who="Ana")
    (problem,) = refused.value.problems
    assert problem.to == to
    assert sentence in problem.sentence
    assert bench(engine, on.place.organisation_id).seen == 1


@pytest.mark.parametrize(
    ("to", "source"),
    [
        ("Reference", field("contact.tax_number")),
        ("Reference", formula("if({contact.is_supplier}, {contact.name}, reference)")),
        ("Description", formula("{product.name} & ' ' & {product.price} * 2")),
        ("AccountCode", {"transform": "default", "of": [field("product.cost"), constant("200")]}),
    ],
)
def test_what_fits_through_a_link_is_saved(engine: Engine, on: Bench, to: str, source: Any) -> None:
    saved = save(engine.services, on, changed(in_use(on), to, source), seen=1, who="Ana")
    assert saved.version == 2


def test_where_a_link_leads_to_two_modules_either_may_have_the_field(on: Bench) -> None:
    services = on.modules[Module.SERVICES]
    hours = Field("hours", "Hours", FieldKind.NUMBER)
    of_day = Field("cost", "Cost", FieldKind.DATE)
    others = tuple(of_day if one.name == "cost" else one for one in services.fields)
    at = replace(
        on,
        modules={**on.modules, Module.SERVICES: replace(services, fields=(*others, hours))},
    )
    day = {"transform": "date", "of": field("product.hours")}
    assert sentences(at, changed(in_use(on), "Description", field("product.hours"))) == []
    assert sentences(at, changed(in_use(on), "Description", day)) == [
        "The field 'product.hours' gives a number; a day is needed here."
    ]
    # A number with products and a day with services: which of them it is, the record decides.
    day = {"transform": "date", "of": field("product.cost")}
    assert sentences(at, changed(in_use(on), "Description", day)) == []


def test_lists_are_held_to_the_crms_lists(on: Bench) -> None:
    template = in_use(on)
    assert sentences(on, template) == []

    def named(**names: str) -> list[str]:
        return sentences(on, replace(template, money=replace(template.money, **names)))

    assert named(taxes="taxs") == ["There is no field 'taxs'; did you mean 'taxes'?"]
    assert named(charges="total") == ["The field 'total' isn't a list of charges."]
    assert named(charges="amount") == ["There is no field 'amount'; did you mean 'amounts'?"]
    assert named(taxes="description") == ["The field 'description' isn't a list of taxes."]


def test_a_crm_without_lists_needs_none(on: Bench) -> None:
    plain = [one for one in on.info.fields if one.kind is not FieldKind.LIST]
    lines = [one for one in on.info.line_fields if one.kind is not FieldKind.LIST]
    info = replace(on.info, fields=tuple(plain), line_fields=tuple(lines))
    at = replace(on, info=info, modules={**on.modules, Module.INVOICES: info})
    assert sentences(at, in_use(on)) == []
    template = in_use(on)
    named = replace(template, money=replace(template.money, charges="extras"))
    assert sentences(at, named) == ["There is no field 'extras'."]

"""Services in the domain: the same items as products, told apart by nothing but their module."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.unit.test_mapping import (
    CONTEXT,
    built,
    default_template,
    invoice,
    line,
    product,
    refused,
)
from xtiger.crm.builtin import INVOICES, PRODUCTS, SERVICES
from xtiger.domain.automap import proposals
from xtiger.domain.defaults import DEFAULTS, MappingTemplate
from xtiger.domain.mapping import Parent
from xtiger.domain.meeting import MET
from xtiger.domain.records import SOLD, Field, FieldKind, Module, Record, RecordRef
from xtiger.domain.resources import RESOURCE_OF, Resource

D = Decimal
WORK = RecordRef(Module.SERVICES, "3")


def service(**fields: Any) -> Record:
    """What makes a product makes a service too."""
    made = product(**fields)
    made.ref = WORK
    return made


def test_a_service_makes_the_item_that_a_product_would() -> None:
    for fields in ({}, {"cost": D(3)}, {"price": None, "cost": D(3)}, {"sales_account": "210"}):
        sold = built(service(**fields)).payload
        assert sold == built(product(**fields)).payload
        assert "IsTrackedAsInventory" not in sold
        assert "QuantityOnHand" not in sold


def test_a_service_without_a_code_asks_for_a_part_number() -> None:
    assert refused(service(code="")).fingerprint == "code-missing"


def test_both_go_to_items_and_are_met_there() -> None:
    assert {RESOURCE_OF[module] for module in SOLD} == {Resource.ITEMS}
    assert Resource.ITEMS in MET


def test_their_default_mappings_differ_by_the_module_alone() -> None:
    one, other = (DEFAULTS[module, None] for module in SOLD)
    assert {**one, "module": "Services"} == other
    template = default_template(Module.SERVICES)
    assert template.problems(SERVICES) == ()
    assert MappingTemplate.from_json(template.to_json()) == template


def test_a_tax_field_that_services_lack_is_a_fault_as_with_products() -> None:
    wrong = dict(DEFAULTS[Module.SERVICES, None]) | {"money": {"tax_rate": "vat"}}
    [(where, sentence)] = MappingTemplate.from_json(wrong).problems(SERVICES)
    assert where == "money"
    assert sentence.startswith("There is no field 'vat'")


def test_the_small_crm_describes_both_alike() -> None:
    assert (PRODUCTS.fields, PRODUCTS.statuses) == (SERVICES.fields, SERVICES.statuses)
    link = next(one for one in INVOICES.line_fields if one.name == "product")
    assert link == Field("product", "Product or service", FieldKind.LINK, leads_to=SOLD)


def test_a_line_takes_code_and_account_of_the_service_it_names() -> None:
    """A product of the same number in the same document keeps its own."""
    goods = RecordRef(Module.PRODUCTS, "3")
    work = Parent(
        "s-id", key="S-1", label="S-1", fields={"name": "Fitting", "sales_account": "210"}
    )
    parents = {**CONTEXT.parents, WORK: work}
    lines = (
        line("10", product=WORK, description=None, tax_rate=D(0)),
        line("10", product=goods, description=None),
        line("10", product=WORK, description="With words", tax_rate=D(0)),
    )
    made = built(invoice("30.00", "1.50", "31.50", *lines), replace(CONTEXT, parents=parents))
    told = [
        (one["ItemCode"], one["AccountCode"], one["Description"])
        for one in made.payload["LineItems"]
    ]
    assert told[0] == ("S-1", "210", "Fitting")
    assert told[1][0] == "W-1"
    assert told[1][1] != "210"
    assert told[2] == ("S-1", "210", "With words")


def test_auto_map_fills_an_empty_mapping_of_services_as_it_began() -> None:
    empty = MappingTemplate(Module.SERVICES)
    rows, lines = proposals(empty, SERVICES)
    wanted = default_template(Module.SERVICES).fields
    assert {row.to: row for row in wanted}.items() <= {row.to: row for row in rows}.items()
    assert lines == ()


def test_people_read_of_a_service() -> None:
    assert Module.SERVICES.singular == "service"

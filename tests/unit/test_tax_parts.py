"""Which tax rate of Xero a line takes: one with the same parts, the mapped one, or nobody knows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.test_mapping import CONTEXT, built, default_template, invoice, line, refused
from xtiger.domain.defaults import MoneyFields
from xtiger.domain.facts import OrganisationFacts
from xtiger.domain.mapping import BuildContext, MappingTemplate
from xtiger.domain.preflight import check
from xtiger.domain.records import Module, Record
from xtiger.domain.resources import Resource

D = Decimal
Parts = tuple[tuple[str, str, bool], ...]
GST, PST = ("GST", "10", False), ("PST", "5", True)


def rate(code: str, effective: str, *parts: tuple[str, str, bool], name: str = "") -> Any:
    """A tax rate as Xero's JSON has it, for revenue and expenses."""
    return {
        "TaxType": code,
        "Name": name or code.title(),
        "EffectiveRate": D(effective),
        "Status": "ACTIVE",
        "CanApplyToRevenue": True,
        "CanApplyToExpenses": True,
        "CanApplyToLiabilities": True,
        "TaxComponents": [
            {"Name": name, "Rate": D(percent), "IsCompound": compound}
            for name, percent, compound in parts
        ],
    }


def on(*rates: Any, default: str = "NONE") -> BuildContext:
    accounts = [{"Code": "200", "Class": "REVENUE", "Type": "REVENUE", "TaxType": default}]
    none = rate("NONE", "0", ("No tax", "0", False))
    facts = OrganisationFacts.from_xero({"BaseCurrency": "NZD"}, accounts, [none, *rates])
    return replace(CONTEXT, organisation=facts)


def mapped(**tax_types: str) -> MappingTemplate:
    plain = default_template(Module.INVOICES)
    percents = {name: D(name.removeprefix("p").replace("_", ".")) for name in tax_types}
    chosen = {percents[name]: to for name, to in tax_types.items()}
    return replace(plain, tax_types=chosen)


def sold(tax: str, total: str, *taxes: tuple[str, str, bool]) -> Record:
    """100.00 with the taxes as a list, or with a percentage alone."""
    if not taxes:
        return invoice("100", tax, total, line("100", tax_rate=D(tax)))
    listed = [{"name": name, "rate": D(percent), "compound": c} for name, percent, c in taxes]
    return invoice("100", tax, total, line("100", tax_rate=None, taxes=listed))


def chosen(one: Record, context: BuildContext, template: MappingTemplate | None = None) -> str:
    [item] = built(one, context, template).payload["LineItems"]
    return str(item["TaxType"])


SIMPLE = rate("TAX001", "15.5", ("VAT", "15.5", False))
COMPOUND = rate("TAX002", "15.5", GST, PST)
PLAIN_PAIR = rate("TAX003", "15", GST, ("PST", "5", False))


@pytest.mark.parametrize(
    ("taxes", "total", "code"),
    [
        ((GST, PST), "115.50", "TAX002"),
        ((PST, GST), "115.50", "TAX002"),
        ((("One", "10", False), ("Two", "5", True)), "115.50", "TAX002"),
        ((("VAT", "15.5", False),), "115.50", "TAX001"),
        # A tax that stands alone has nothing to be compound on.
        ((("VAT", "15.5", True),), "115.50", "TAX001"),
        ((GST, ("PST", "5", False)), "115.00", "TAX003"),
    ],
)
def test_a_tax_rate_has_the_same_parts_whatever_they_are_called(
    taxes: Parts, total: str, code: str
) -> None:
    one = sold(str(D(total) - 100), total, *taxes)
    assert chosen(one, on(SIMPLE, COMPOUND, PLAIN_PAIR)) == code


def test_a_percentage_alone_is_one_tax_and_several_only_where_no_rate_is_one() -> None:
    one = sold("15.5", "115.50")
    assert chosen(one, on(SIMPLE, COMPOUND)) == "TAX001"
    assert chosen(one, on(COMPOUND)) == "TAX002"


def test_parts_differ_by_no_more_than_a_ten_thousandth() -> None:
    thirds = rate("TAX009", "6.6667", ("A", "3.3333", False), ("B", "3.3334", False))
    taxes = (("A", "3.33333", False), ("B", "3.33333", False))
    assert chosen(sold("6.67", "106.67", *taxes), on(thirds)) == "TAX009"
    other = rate("TAX009", "6.6667", ("A", "3.3300", False), ("B", "3.3367", False))
    assert refused(sold("6.67", "106.67", *taxes), on(other)).fingerprint.startswith(
        "tax-parts-missing"
    )


def test_an_equal_percentage_of_other_parts_is_refused_unless_the_mapping_names_it() -> None:
    one = sold("15.5", "115.50", GST, PST)
    found = refused(one, on(SIMPLE))
    assert found.sentence == (
        "CRM tax 15.5 % is GST 10 % + PST 5 %; no tax rate in Xero that account 200 can take is "
        "made so. Add one in Xero, or choose one of 15.5 % in the mapping, under Amounts and "
        "taxes."
    )
    assert chosen(one, on(SIMPLE), mapped(p15_5="TAX001")) == "TAX001"


def test_a_mapped_rate_goes_before_one_with_the_same_parts_but_never_with_another_percentage() -> (
    None
):
    one = sold("15.5", "115.50", GST, PST)
    assert chosen(one, on(SIMPLE, COMPOUND), mapped(p15_5="tax001")) == "TAX001"
    wrong = refused(one, on(SIMPLE, COMPOUND, PLAIN_PAIR), mapped(p15_5="TAX003"))
    assert wrong.sentence == "CRM tax is 15.5 %, Xero's TAX003 is 15 %. Choose another."


def test_no_rate_of_the_percentage_is_said_as_such() -> None:
    one = sold("15.5", "115.50", GST, PST)
    assert refused(one, on(PLAIN_PAIR)).sentence == (
        "CRM tax 15.5 % has no tax rate in Xero that account 200 can take. "
        "Choose one in the mapping, or add it in Xero."
    )


def test_of_several_nobody_can_tell_and_the_mapping_decides() -> None:
    twin = rate("TAX008", "15.5", ("Levy", "15.5", False), name="Levy")
    one = sold("15.5", "115.50")
    found = refused(one, on(SIMPLE, twin))
    assert found.sentence == (
        "CRM tax 15.5 % has several tax rates in Xero that account 200 can take: "
        "TAX001 (Tax001), TAX008 (Levy). "
        "Choose one for 15.5 % in the mapping, under Amounts and taxes."
    )
    assert found.fingerprint == "tax-rate-several:15.5:200"
    assert chosen(one, on(SIMPLE, twin), mapped(p15_5="TAX008")) == "TAX008"


@pytest.mark.parametrize(
    ("rates", "default", "code"),
    [
        # the account's own default
        (("TAX001", "TAX008"), "TAX008", "TAX008"),
        (("OUTPUT2", "TAX001"), "TAX001", "TAX001"),
        # Xero's own for sales
        (("INPUT2", "OUTPUT2", "TAX001"), "NONE", "OUTPUT2"),
    ],
)
def test_of_several_the_account_s_own_then_xero_s_own_is_meant(
    rates: tuple[str, ...], default: str, code: str
) -> None:
    able = [rate(one, "15.5", ("VAT", "15.5", False)) for one in rates]
    assert chosen(sold("15.5", "115.50"), on(*able, default=default)) == code


def test_of_several_the_one_is_meant_whose_parts_are_called_alike() -> None:
    able = [rate(f"TAX00{n}", "15.5", (n, "10", False), ("PST", "5", True)) for n in "12"]
    taxes = (("2", "10", False), PST)
    assert chosen(sold("15.5", "115.50", *taxes), on(*able)) == "TAX002"


def test_nothing_is_untaxed_where_several_rates_are_of_0_percent() -> None:
    zero = [rate(one, "0", ("Zero", "0", False)) for one in ("ZERORATED", "EXEMPTOUTPUT")]
    one = invoice("100", "0", "100", line("100", tax_rate=D(0)))
    assert chosen(one, on(*zero, default="TAX001")) == "NONE"
    assert chosen(one, on(*zero, default="ZERORATED")) == "ZERORATED"


def test_a_discount_on_an_account_of_its_own_keeps_the_parts_of_the_lines_it_lowers() -> None:
    one = sold("15.5", "103.95", GST, PST)
    fields = {**one.fields, "header_discount": D(10), "subtotal": D(90)}
    template = replace(default_template(Module.INVOICES), money=MoneyFields(discount_account="210"))
    context = on(SIMPLE, COMPOUND)
    accounts = (*context.organisation.accounts,)
    more = replace(accounts[0], code="210")
    context = replace(
        context, organisation=replace(context.organisation, accounts=(*accounts, more))
    )
    items = built(replace(one, fields=fields), context, template).payload["LineItems"]
    assert [(item["AccountCode"], item["TaxType"]) for item in items] == [
        ("200", "TAX002"),
        ("210", "TAX002"),
    ]


def test_where_xero_has_no_tax_rate_called_none_what_has_no_tax_is_excluded() -> None:
    """Australia: an adjustment, withheld tax and rounding stand outside its tax return."""
    excluded = rate("BASEXCLUDED", "0", ("BAS Excluded", "0", False))
    ten = rate("OUTPUT", "10", ("GST", "10", False))
    accounts = [
        {"Code": "200", "Class": "REVENUE", "Type": "REVENUE", "TaxType": "OUTPUT"},
        {"Code": "860", "Class": "LIABILITY", "Type": "CURRLIAB", "SystemAccount": "ROUNDING"},
    ]
    facts = OrganisationFacts.from_xero({"BaseCurrency": "AUD"}, accounts, [ten, excluded])
    context = replace(CONTEXT, organisation=facts)
    template = replace(default_template(Module.INVOICES), money=MoneyFields(withheld_account="860"))
    one = invoice(
        "100",
        "10",
        "106.53",
        line("100", tax_rate=D(10)),
        adjustment=D("-0.50"),
        withheld=D(3),
        currency="AUD",
    )
    made = built(one, context, template)
    assert check(made.payload, Resource.INVOICES, facts) == ()
    assert [item["TaxType"] for item in made.payload["LineItems"]] == [
        "OUTPUT",
        "BASEXCLUDED",
        "BASEXCLUDED",
        "BASEXCLUDED",
    ]
    plain = {"amounts": "no tax", "subtotal": None, "total": D(100)}
    bare = replace(one, fields={**one.fields, **plain})
    bare = replace(bare, fields={**bare.fields, "adjustment": None, "withheld": None})
    [item] = built(bare, context, template).payload["LineItems"]
    assert item["TaxType"] == "BASEXCLUDED"

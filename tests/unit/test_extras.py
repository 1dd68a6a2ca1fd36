"""What a document has besides plain lines reaches Xero, on the accounts it belongs to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.test_mapping import (
    ACME_NZ,
    CONTEXT,
    WIDGET,
    built,
    default_template,
    invoice,
    refused,
)
from tests.unit.test_mapping import line as work
from xtiger.crm.builtin import INVOICES
from xtiger.domain import exactjson
from xtiger.domain.defaults import MappingTemplate, MoneyFields
from xtiger.domain.facts import TaxRate
from xtiger.domain.mapping import BuildContext, Parent
from xtiger.domain.preflight import check
from xtiger.domain.records import DocumentType, Module, Record
from xtiger.domain.resources import Resource
from xtiger.engine.mapping.kept_tests import sample_of, subject_of
from xtiger.engine.mapping.mappings import Subject

D = Decimal
#: Rates of 10, 12.5 and 15.5 besides those of the organisation.
RATES = tuple(
    TaxRate(
        f"TAX{number:03}",
        f"TAX{number:03}",
        D(rate),
        applies_to=frozenset({"ASSET", "EQUITY", "EXPENSE", "LIABILITY", "REVENUE"}),
    )
    for number, rate in enumerate(("10", "12.5", "15.5", "20"), 1)
)
PARENTS = {
    **CONTEXT.parents,
    WIDGET: Parent("item", key="W-1", label="Widget", fields={"sales_account": "210"}),
}
ON = replace(
    CONTEXT,
    organisation=replace(ACME_NZ, tax_rates=ACME_NZ.tax_rates + RATES),
    parents=PARENTS,
)


def template(**accounts: str) -> MappingTemplate:
    return replace(default_template(Module.INVOICES), money=MoneyFields(**accounts))


def sent(
    record: Record, context: BuildContext = ON, template: MappingTemplate | None = None
) -> list[tuple[str, ...]]:
    """(description, quantity, price, account, TaxType, TaxAmount) of each line."""
    made = built(record, context, template)
    assert check(made.payload, Resource.INVOICES, context.organisation) == ()
    names = ("Description", "Quantity", "UnitAmount", "AccountCode", "TaxType", "TaxAmount")
    return [tuple(str(item.get(name, "")) for name in names) for item in made.payload["LineItems"]]


def test_a_line_of_several_taxes_goes_on_the_one_rate_that_they_make() -> None:
    taxes = (
        {"name": "GST", "rate": D(10), "compound": False},
        {"name": "PST", "rate": D(5), "compound": True},
    )
    one = invoice("99.99", "15.50", "115.49", work("99.99", taxes=taxes, tax_rate=D("15.5")))
    assert sent(one) == [("Work", "1", "99.99", "200", "TAX003", "15.50")]


def test_a_set_of_taxes_without_a_rate_in_xero_is_refused_with_its_percentage() -> None:
    taxes = [{"name": "GST", "rate": D("4.5")}, {"name": "PST", "rate": "10"}]
    one = invoice("10", "1.45", "11.45", work("10", taxes=taxes))
    assert "CRM tax 14.5 % has no tax rate in Xero" in refused(one, ON).sentence


@pytest.mark.parametrize("taxes", ["GST", [{"name": "GST"}], [{"rate": "ten"}], [5], {"rate": 5}])
def test_taxes_of_another_shape_are_refused(taxes: Any) -> None:
    made = refused(invoice("10", "1", "11", work("10", taxes=taxes)), ON)
    assert made.sentence == "Line 1 has taxes that can't be read. Correct them in the CRM."


def test_a_discount_as_an_amount_is_taken_off_the_line() -> None:
    one = invoice("36.65", "4.58", "41.23", work("19.99", "2", tax_rate=D("12.5")))
    lines = ({**one.lines[0], "discount_amount": D("3.33")},)
    one = replace(one, lines=lines, fields={**one.fields, "tax_mode": "individual"})
    assert sent(one) == [("Work (2 × 19.99 less 3.33)", "2", "18.325", "200", "TAX002", "4.58")]


def test_a_percentage_and_the_amount_that_it_makes_are_one_discount() -> None:
    both = {"discount": D(10), "discount_amount": D("5.00"), "tax_rate": D(10)}
    one = invoice("45", "4.50", "49.50", work("12.50", "4", **both))
    item = built(one, ON).payload["LineItems"][0]
    assert (item["UnitAmount"], item["DiscountRate"]) == (D("12.5"), 10)
    two = invoice("45", "4.50", "49.50", work("12.50", "4", **both | {"discount_amount": D(4)}))
    assert refused(two, ON).sentence == (
        "Line 1 has a discount in percent and another one as an amount. Take one of the two out."
    )


def test_a_discount_on_all_is_booked_where_the_lines_are_that_it_lowers() -> None:
    lines = [work("100"), work("50", product=WIDGET, tax_rate=None), work("20", tax_rate=D(20))]
    one = invoice("153", "17.10", "170.10", *lines, header_discount=D(10))
    assert sent(one)[3:] == [
        ("Discount 10 %", "1", "-10", "200", "OUTPUT2", "-1.50"),
        ("Discount 10 %", "1", "-5", "210", "ZERORATED", ""),
        ("Discount 10 %", "1", "-2", "200", "TAX004", "-0.40"),
    ]
    named = sent(one, ON, template(discount_account="210"))[3:]
    assert {line[3] for line in named} == {"210"}


def test_after_tax_a_discount_is_one_line_without_tax() -> None:
    lines = [work("100", tax_rate=D(10)), work("33.35", "2", tax_rate=D(20))]
    one = invoice("157.20", "23.34", "180.54", *lines, tax_mode="individual", header_discount=D(5))
    assert sent(one)[2:] == [("Discount 5 %", "1", "-9.5", "200", "NONE", "")]


def test_charges_and_an_adjustment_are_booked_as_a_line_without_a_product() -> None:
    shipping = {"description": "Shipping", "amount": D("12.35"), "tax_rate": D("12.5")}
    one = invoice(
        "92.35", "9.54", "101.39",
        work("80", product=WIDGET, tax_rate=D(10)), charges=[shipping], adjustment=D("-0.50"),
    )  # fmt: skip
    assert sent(one)[1:] == [
        ("Shipping", "1", "12.35", "200", "TAX002", "1.54"),
        ("Adjustment", "1", "-0.5", "200", "NONE", ""),
    ]
    named = template(charge_account="210", adjustment_account="860")
    assert [line[3] for line in sent(one, ON, named)] == ["210", "210", "860"]
    own = {**shipping, "account": "210"}
    assert sent(replace(one, fields={**one.fields, "charges": [own]}))[1][3] == "210"


def test_where_the_mapping_gives_no_account_it_is_asked_for() -> None:
    rows = default_template(Module.INVOICES).to_json()
    for row in rows["lines"]:
        if row["to"] == "AccountCode":
            row["from"] = {"transform": "field", "field": "product.sales_account"}
    chosen = MappingTemplate.from_json(rows)
    lines = [work("80", product=WIDGET, tax_rate=D(10))]
    one = invoice("90", "8", "98", *lines, charges=[{"amount": D(10)}])
    assert refused(one, ON, chosen).sentence == (
        "No account is named for charges. Name one in the mapping, under Amounts and taxes."
    )
    chosen = replace(chosen, money=MoneyFields(charge_account="200"))
    assert len(sent(one, ON, chosen)) == 2


def test_withheld_tax_needs_an_account_of_its_own() -> None:
    one = invoice("200", "20", "200", work("200", tax_rate=D(10)), withheld=D(20))
    made = refused(one, ON)
    assert made.fingerprint == "money:no-account-for-withheld-tax"
    assert made.sentence == (
        "20.00 of tax is withheld, and no account is named for it. Name the account for withheld "
        "tax in the mapping, under Amounts and taxes."
    )
    assert sent(one, ON, template(withheld_account="850"))[1:] == [
        ("Tax withheld", "1", "-20", "850", "NONE", "")
    ]
    assert "account 999" in refused(one, ON, template(withheld_account="999")).sentence


def test_without_tax_nothing_bears_any() -> None:
    one = invoice(
        "101", "0", "101", work("100"),
        amounts="no tax", header_discount=D(10), charges=[{"amount": D(11), "tax_rate": D(15)}],
    )  # fmt: skip
    assert [line[4:] for line in sent(one)] == [("NONE", "")] * 3


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"tax_mode": "per line"}, "How its tax is counted can't be told from “per line”."),
        ({"charges": "Shipping 5"}, "Its charges can't be read. Correct them in the CRM."),
        ({"charges": [5]}, "Its charges can't be read. Correct them in the CRM."),
        ({"charges": [{"amount": "five"}]}, "Charge 1, amount: “five” isn't a number"),
        ({"header_discount": "some"}, "header_discount: “some” isn't a number"),
    ],
)
def test_what_cannot_be_read_is_said(fields: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(invoice("10", "1.50", "11.50", work("10"), **fields), ON).sentence


def test_bills_take_them_too() -> None:
    bill = replace(ON, document_type=DocumentType.BILL)
    lines = [work("100"), work("50", tax_rate=None)]
    one = invoice("140", "14.25", "154.25", *lines, header_discount_amount=D(15),
                  charges=[{"amount": D(5), "tax_rate": D(15)}])  # fmt: skip
    made = sent(one, bill)
    assert [line[3] for line in made] == ["300"] * 5
    assert made[2] == ("Discount", "1", "-10", "300", "INPUT2", "-1.50")


def test_fields_that_a_crm_lacks_are_no_fault_unless_somebody_chose_them() -> None:
    bare = replace(
        INVOICES,
        fields=tuple(one for one in INVOICES.fields if one.name not in ("adjustment", "withheld")),
    )
    assert default_template(Module.INVOICES).problems(bare) == ()
    chosen = template(adjustment="rounding_off")
    [(where, sentence)] = chosen.problems(bare)
    assert (where, sentence) == ("money", "There is no field 'rounding_off'.")
    assert MappingTemplate.from_json(chosen.to_json()) == chosen


def test_a_kept_test_keeps_lists_of_taxes_and_charges() -> None:
    taxes = ({"name": "GST", "rate": D(10), "compound": False}, {"name": "PST", "rate": D(5)})
    charges = ({"description": "Shipping", "amount": D("12.35"), "taxes": taxes},)
    one = invoice("22.35", "3.35", "25.70", work("10", taxes=taxes), charges=charges)
    sample = exactjson.loads(exactjson.dumps(sample_of(Subject(one, PARENTS))))
    again = subject_of(sample)
    assert again.record.fields == one.fields
    assert again.record.lines == one.lines
    assert sent(again.record, replace(ON, parents=again.parents)) == sent(one)


def rounded(**named: str) -> tuple[Record, MappingTemplate]:
    """10.01 with 15 % tax, rounded to 11.60 by the CRM: 0.09 are left over."""
    return invoice("10.01", "1.50", "11.60", work("10.01")), template(**named)


def test_the_mapping_says_how_large_a_rounding_line_may_be_and_where_it_is_booked() -> None:
    one, usual = rounded()
    assert refused(one, ON, usual).fingerprint == "money:total-differs"
    one, wider = rounded(rounding_limit="0.10")
    assert sent(one, ON, wider)[1] == ("Rounding", "1", "0.09", "860", "NONE", "")
    one, elsewhere = rounded(rounding_limit="0.10", rounding_account="850")
    assert sent(one, ON, elsewhere)[1][3] == "850"
    small = invoice("10.01", "1.50", "11.55", work("10.01"))
    assert sent(small, ON, usual)[1][2] == "0.04"
    assert refused(small, ON, template(rounding_limit="0")).fingerprint == "money:total-differs"
    assert refused(small, ON, template(rounding_limit="0.03")).fingerprint == "money:total-differs"


def test_without_an_account_of_xero_s_own_rounding_goes_where_the_mapping_says() -> None:
    facts = ON.organisation
    bare = tuple(each for each in facts.accounts if each.system_account != "ROUNDING")
    context = replace(ON, organisation=replace(facts, accounts=bare))
    small = invoice("10.01", "1.50", "11.55", work("10.01"))
    assert refused(small, context).sentence == (
        "0.04 is left over by rounding, and Xero's rounding account isn't known. Read the "
        "accounts from Xero again, or name one in the mapping, under Amounts and taxes."
    )
    assert sent(small, context, template(rounding_account="850"))[1][3] == "850"
    archived = built(small, context, template(rounding_account="260"))
    found = check(archived.payload, Resource.INVOICES, facts)
    assert [each.fingerprint for each in found] == ["account-archived:260"]


@pytest.mark.parametrize("limit", ["-0.01", "1.01", "0.005", "five", "NaN", "1E+9"])
def test_a_rounding_limit_is_cents_up_to_one(limit: str) -> None:
    found = template(rounding_limit=limit).problems()
    assert ("money", "A rounding line is at most 0.00 to 1.00, in whole cents.") in found
    assert not template(rounding_limit="1.00").problems()


def test_a_crm_that_rounds_to_three_places_is_followed() -> None:
    """Three times 0.3345 are 1.005 there and 1.01 in Xero, where its third place tells which."""
    one = invoice("1.005", "0", "1.005", *[work("0.3345", tax_rate=D(0))] * 3)
    three = replace(one, fields={**one.fields, "decimals": D(3)})
    prices = [
        [item["UnitAmount"] for item in built(each, ON).payload["LineItems"]]
        for each in (one, three)
    ]
    assert prices == [[D("0.34"), D("0.34"), D("0.3345")], [D("0.3345"), D("0.34"), D("0.34")]]
    assert built(three, ON).meant["Total"] == D("1.01")
    for value, sentence in (
        ("three", "To how many places the CRM rounds can't be told from “three”. "),
        (D("2.5"), "To how many places the CRM rounds can't be told from “2.5”. "),
        (9, "To how many places the CRM rounds can't be told from “9”. "),
    ):
        wrong = replace(one, fields={**one.fields, "decimals": value})
        assert refused(wrong, ON).sentence == sentence + "Write a whole number from 0 to 8."


def test_a_kept_test_keeps_that_stock_is_counted() -> None:
    one = invoice("61.171", "9.18", "70.34665", work("0.061171", "1000", product=WIDGET))
    parents = {WIDGET: Parent("item", key="W-1", label="Widget", stock_tracked=True)}
    kept = subject_of(exactjson.loads(exactjson.dumps(sample_of(Subject(one, parents)))))
    assert kept.parents[WIDGET].stock_tracked
    assert (
        not subject_of(sample_of(Subject(one, {WIDGET: Parent("item")})))
        .parents[WIDGET]
        .stock_tracked
    )

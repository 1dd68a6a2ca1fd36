"""A document on both sides, line by line: what the record page's Money box shows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import Phase, given

from tests.conftest import trying
from tests.unit import test_document_ways as ways
from tests.unit.test_mapping import CONTEXT, default_template, invoice, line
from xtiger.domain.mapping import Built, Parent, compile_template
from xtiger.domain.reckoning import Reckoning, reckon
from xtiger.domain.records import Module, Record

D = Decimal
MAPPER = compile_template(default_template(Module.INVOICES))


def reckoned(record: Record, **changes: Any) -> Reckoning:
    return reckon(MAPPER, record, replace(CONTEXT, **changes))


def shown(found: Reckoning) -> list[tuple[Any, ...]]:
    return [(part.label, part.crm, part.xero, part.difference) for part in found.parts]


def test_each_line_stands_beside_what_xero_counts() -> None:
    found = reckoned(invoice("76.30", "11.45", "87.75", *map(line, ("25.06", "25.61", "25.63"))))
    assert shown(found) == [
        ("Work", D("25.06"), D("25.06"), 0),
        ("Work", D("25.61"), D("25.61"), 0),
        ("Work", D("25.63"), D("25.63"), 0),
    ]
    assert [part.tax for part in found.parts] == [D("3.76"), D("3.84"), D("3.85")]
    sums = [(each.crm, each.xero) for each in (found.subtotal, found.tax, found.total)]
    assert sums == [(D("76.30"), D("76.30")), (D("11.45"), D("11.45")), (D("87.75"), D("87.75"))]
    assert (found.refusal, found.alert) == ("", False)


def test_a_line_that_xero_cannot_take_as_it_is_says_how_it_goes() -> None:
    [part] = reckoned(invoice("61.171", "9.17565", "70.34665", line("0.061171", "1000"))).parts
    assert (part.crm, part.xero, part.difference) == (D("61.171"), D("61.17"), 0)
    assert part.note == "1000 × 0.061171"


def test_a_stock_tracked_line_and_its_correction_are_one() -> None:
    item = {"product": next(ref for ref in CONTEXT.parents if ref.module is Module.PRODUCTS)}
    stock = {**CONTEXT.parents, item["product"]: Parent("i", key="W-1", stock_tracked=True)}
    one = invoice("61.171", "9.17565", "70.34665", line("0.061171", "1000", **item))
    [part] = reckoned(one, parents=stock).parts
    assert (part.xero, part.tax) == (D("61.17"), D("9.18"))


def test_discount_charge_adjustment_and_rounding_have_rows_of_their_own() -> None:
    lines = [line("19.99", "3"), line("5.05"), line("10", tax_rate=None)]
    shipping = {"description": "Shipping", "amount": D("12.35"), "tax_rate": D(15)}
    one = invoice(
        "79.87", "10.63", "90.05", *lines,
        header_discount=D(10), charges=(shipping,), adjustment=D("-0.50"),
    )  # fmt: skip
    found = reckoned(one)
    assert [(part.kind.value, part.label, part.xero, part.difference) for part in found.parts] == [
        ("line", "Work", D("59.97"), 0),
        ("line", "Work", D("5.05"), 0),
        ("line", "Work", D("10.00"), 0),
        ("discount", "Discount 10 %", D("-7.50"), 0),
        ("charge", "Shipping", D("12.35"), 0),
        ("adjustment", "Adjustment", D("-0.50"), 0),
        ("rounding", "Rounding", D("0.05"), None),
    ]
    assert found.total == (D("90.05"), D("90.05"))
    made = MAPPER.build(one, CONTEXT)
    assert isinstance(made, Built), made
    assert made.meant["Total"] == D("90.05")


def test_a_refused_document_shows_what_its_lines_would_make() -> None:
    found = reckoned(invoice("100", "21", "121", line("100")))
    assert found.refusal.startswith("The total 121")
    assert shown(found) == [("Work", D(100), D("100.00"), 0)]
    assert (found.total.xero, found.total.difference) == (D("115.00"), D("-6.00"))


def test_a_refusal_before_any_line_leaves_xero_s_side_empty() -> None:
    found = reckoned(invoice("-50", "-7.5", "-57.5", line("-50")))
    assert "send it as a credit note" in found.refusal
    assert shown(found) == [("Work", D(-50), None, None)]
    assert (found.total.xero, found.total.difference) == (None, None)


def test_faults_of_lines_are_all_said() -> None:
    found = reckoned(
        invoice("10", "1", "11", line("10", tax_rate=D(10)), line("1", unit_price="ten"))
    )
    assert "CRM tax 10 % has no tax rate in Xero" in found.refusal
    assert "“ten” isn't a number" in found.refusal
    assert found.parts == ()


@trying(max_examples=400, phases=(Phase.generate, Phase.shrink))
@given(ways.records, ways.extras, ways.line_extras)
def test_whatever_a_crm_holds_the_box_says_what_sending_would(
    record: Record, header: dict[str, Any], of_line: dict[str, Any]
) -> None:
    record = ways.with_extras(record, header, of_line)
    found = reckon(MAPPER, record, ways.CONTEXTS)
    made = MAPPER.build(record, ways.CONTEXTS)
    for part in (*found.parts, found.subtotal, found.tax, found.total):
        assert part.difference is None or part.difference == part.difference.quantize(D("0.01"))
    if not isinstance(made, Built):
        faults = {fault.field for fault in made}
        assert found.refusal or faults <= {"InvoiceNumber", "Reference"}
        return
    assert found.refusal == ""
    sums = (found.subtotal.xero, found.tax.xero, found.total.xero)
    assert sums == tuple(made.meant[name] for name in ("SubTotal", "TotalTax", "Total"))
    assert found.total.difference == 0
    within = found.subtotal if made.payload["LineAmountTypes"] != "Inclusive" else found.total
    assert sum(part.xero or 0 for part in found.parts) == within.xero

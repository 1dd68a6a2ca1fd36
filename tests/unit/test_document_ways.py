"""Documents have a short way and a long way through the money rules: both must say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st

from tests.conftest import trying
from tests.unit.test_mapping import ACME_NZ, ANA, ANA_ID, CONTEXT, default_template, invoice
from xtiger.domain import documents
from xtiger.domain.defaults import Row
from xtiger.domain.facts import TrackingCategory
from xtiger.domain.mapping import Built, CompiledMapper, Parent, compile_template
from xtiger.domain.payloads import Memory
from xtiger.domain.records import DocumentType, Module, Record, RecordRef

Note = Callable[[str, object], None]

D = Decimal
CENT = D("0.01")
GOODS = [RecordRef(Module.PRODUCTS, str(one)) for one in range(1, 6)]
PARENTS = {
    ANA: Parent(ANA_ID, label="Ana Lee Ltd"),
    GOODS[0]: Parent("i1", key="W-1", label="Widget", fields={"name": "Widget"}),
    GOODS[1]: Parent("i2", key="W-2", label="Blue", fields={"sales_account": "210"}),
    GOODS[2]: Parent("i3", key="W-3", label="Old", fields={"sales_account": "260", "name": "O"}),
    GOODS[3]: Parent("i4", key="W-4", label="Stock", stock_tracked=True, fields={"region": "x"}),
    GOODS[4]: Parent("i5", key=None, label="", fields={"name": "", "sales_account": " 200 "}),
}
REGIONS = TrackingCategory("Region", True, (("North", True), ("South", False)))
FACTS = replace(ACME_NZ, tracking=(REGIONS,))
CONTEXTS = replace(CONTEXT, organisation=FACTS, parents=PARENTS)
BY_REGION = Row.from_json(
    {
        "to": "Tracking1",
        "from": {"transform": "field", "field": "region"},
        "category": "Region",
    }
)


def mapper_of(kind: DocumentType, tracks: bool) -> CompiledMapper:
    template = default_template(Module.INVOICES, kind)
    if tracks:
        template = replace(template, lines=(*template.lines, BY_REGION))
    return compile_template(template)


MAPPERS = {
    (kind, tracks): mapper_of(kind, tracks) for kind in DocumentType for tracks in (False, True)
}

prices = st.one_of(
    st.decimals(D("0.01"), D("900"), places=2),
    st.decimals(D("0.01"), D("900"), places=2),
    st.decimals(D("-900"), D("900"), places=4),
    st.decimals(D("0"), D("99"), places=8),
    st.sampled_from([D(0), D("1E+3"), D("0E-9"), D("9999999999.99"), D("NaN"), "12.50", None, ""]),
)
quantities = st.one_of(
    st.integers(1, 30).map(D),
    st.decimals(D("0.25"), D("40"), places=2),
    st.decimals(D("-5"), D("5"), places=6),
    st.sampled_from([D(0), D("1E+2"), D("99999999.1234"), D("12345678901234"), D("Infinity"), 3]),
)
lines = st.fixed_dictionaries(
    {
        "product": st.sampled_from([None, *GOODS, GOODS[0], GOODS[0], GOODS[1]]),
        "description": st.sampled_from(["Work", "  two\t words ", "", None, "x" * 4001, 7, "-"]),
        "quantity": quantities,
        "unit_price": prices,
        "discount": st.sampled_from([None, D(0), D(0), D(10), D("12.5"), D("3.333"), D(100), ""]),
        "tax_rate": st.sampled_from([D(15), D(15), D(15), D("15.00"), D(0), None, D("12.5")]),
        "region": st.sampled_from([None, "North", "  north", "", "South", 7]),
    }
)
PLAIN = {"description": "Work", "discount": D(0), "tax_rate": D(15), "product": None}
plain_lines = st.fixed_dictionaries(
    {
        **{name: st.just(value) for name, value in PLAIN.items()},
        "product": st.sampled_from([None, *GOODS[:2], GOODS[3]]),
        "region": st.sampled_from([None, "North", "NORTH "]),
        "quantity": st.integers(1, 30).map(D),
        "unit_price": st.decimals(D("0.01"), D("900"), places=2),
    }
)


def made_of(found: list[dict[str, Any]], *, off: Decimal, header: dict[str, Any]) -> Record:
    """A document whose totals follow from its lines as a CRM counts them, but for `off`."""
    subtotal = tax = D(0)
    for line in found:
        numbers = [line["quantity"], line["unit_price"]]
        if not all(type(one) is D and one.is_finite() for one in numbers):
            continue
        less = line["discount"] if type(line["discount"]) is D else D(0)
        net = (numbers[0] * numbers[1] * (100 - less) / 100).quantize(CENT, ROUND_HALF_UP)
        subtotal += net
        tax += net * (line["tax_rate"] or D(0)) / 100
    tax = tax.quantize(CENT, ROUND_HALF_UP)
    record = invoice(str(subtotal), str(tax), str(subtotal + tax + off), *found)
    return replace(record, fields={**record.fields, **header})


#: What a document may have besides its lines; empty ones leave it plain.
EXTRAS: dict[str, list[Any]] = {
    "tax_mode": ["group", "", None, "individual", "Group", "odd"],
    "header_discount": [None, D(0), D(5), "7.5", D("NaN")],
    "header_discount_amount": [None, D(0), D("0.01"), "ten"],
    "charges": [
        None,
        (),
        ({"description": "Shipping", "amount": D("12.35"), "tax_rate": D(15)},),
        ({"amount": D(4), "taxes": ({"name": "a", "rate": D(10)}, {"name": "b", "rate": D(5)})},),
        ({"amount": "x"}, "y"),
    ],
    "adjustment": [None, D(0), D("-0.50"), D("0.01")],
    "withheld": [None, D(0), D(2)],
    "decimals": [None, "", D(2), 3, "3", D("2.5"), "two"],
}
#: How a document is counted, no part of it.
NOT_PARTS = ("tax_mode", "decimals")
extras = st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in EXTRAS.items()})
LINE_EXTRAS: dict[str, list[Any]] = {
    "discount_amount": [None, D(0), D("1.10"), D("NaN"), ""],
    "taxes": [
        None,
        (),
        ({"name": "GST", "rate": D(15)},),
        ({"name": "GST", "rate": D(10)}, {"name": "PST", "rate": D(5), "compound": True}),
        ({"name": "GST", "rate": D(10)}, {"name": "PST", "rate": D(5)}),
        "15 %",
        ({},),
    ],
}
line_extras = st.fixed_dictionaries(
    {}, optional={k: st.sampled_from(v) for k, v in LINE_EXTRAS.items()}
)


def with_extras(record: Record, header: dict[str, Any], of_line: dict[str, Any]) -> Record:
    """The record with parts that its totals don't know of; the first line gets `of_line`."""
    first, rest = record.lines[:1], record.lines[1:]
    lines = (*({**one, **of_line} for one in first), *rest)
    return replace(record, fields={**record.fields, **header}, lines=lines)


def plain(record: Record) -> bool:
    """Whether it has lines alone, with one tax each, taxed as a whole."""
    return (
        record.fields.get("tax_mode") in (None, "", "group")
        and record.fields.get("decimals") in (None, "", 2)
        and not any(record.fields.get(name) for name in EXTRAS if name not in NOT_PARTS)
        and not any(line.get(name) for line in record.lines for name in LINE_EXTRAS)
    )


records = st.builds(
    made_of,
    st.one_of(
        st.lists(plain_lines, min_size=1, max_size=6),
        st.lists(plain_lines, min_size=1, max_size=3).flatmap(
            lambda some: lines.map(lambda one: [*some, one])
        ),
        st.lists(lines, max_size=6),
    ),
    off=st.sampled_from([D(0)] * 8 + [CENT, -CENT, D(5)]),
    header=st.sampled_from(
        [{}] * 8
        + [{"amounts": "inclusive"}, {"amounts": "no tax"}, {"amounts": "odd"}, {"subtotal": None}]
        + [{"total": None}, {"number": "9" * 300}, {"reference": ""}]
    ),
)


def both_ways(
    record: Record, memory: Memory, *, tracks: bool = False, **changes: Any
) -> tuple[Any, Any, bool]:
    """What the two ways make of a record, and whether the short one went to its end."""
    context = replace(CONTEXTS, **changes)
    mapper = MAPPERS[context.document_type or DocumentType.INVOICE, tracks]
    found = mapper.build(record, replace(context, memory=memory))
    short = documents._at_once
    took: list[bool] = []

    def counted(*given: Any) -> Any:
        took.append(short(*given) is not None)
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "_at_once", counted)
        return found, mapper.build(record, context), any(took)


def test_both_ways_say_the_same(record_property: Note) -> None:
    ways: Counter[str] = Counter()

    @trying(max_examples=600, phases=(Phase.generate, Phase.shrink))
    @given(
        some=st.lists(records, min_size=1, max_size=3),
        kind=st.sampled_from(list(DocumentType)),
        xero_id=st.sampled_from([None, "id"]),
        pinned=st.sampled_from([False, False, False, True]),
        tracks=st.booleans(),
    )
    def check(
        some: list[Record], kind: DocumentType, xero_id: str | None, pinned: bool, tracks: bool
    ) -> None:
        memory = Memory()
        for record in [*some, some[0]]:
            short, long, took = both_ways(
                record, memory, tracks=tracks, document_type=kind, xero_id=xero_id, pinned=pinned
            )
            assert short == long
            assert repr(short) == repr(long)  # 1.5 and 1.50 are equal, their bytes aren't
            ways["at once" if took else "the long way"] += 1
            ways["refused"] += not isinstance(short, Built)
            if took and isinstance(short, Built):
                items = short.payload["LineItems"]
                ways["at once, tracked"] += any("Tracking" in item for item in items)
                ways["at once, of stock"] += any(item.get("ItemCode") == "W-4" for item in items)

    check()
    record_property("figure", f"documents built both ways: {dict(ways)}")
    assert min(ways["at once"], ways["the long way"], ways["refused"]) > 100
    assert min(ways["at once, tracked"], ways["at once, of stock"]) > 50


def test_whatever_a_document_has_besides_plain_lines_it_goes_the_long_way(
    record_property: Note,
) -> None:
    ways: Counter[str] = Counter()

    @trying(max_examples=600, phases=(Phase.generate, Phase.shrink))
    @given(records, extras, line_extras, st.sampled_from(list(DocumentType)))
    def check(
        record: Record, header: dict[str, Any], of_line: dict[str, Any], kind: DocumentType
    ) -> None:
        record = with_extras(record, header, of_line)
        short, long, took = both_ways(record, Memory(), document_type=kind)
        assert short == long
        assert repr(short) == repr(long)
        assert plain(record) or not took
        ways["at once" if took else "the long way"] += 1
        ways["refused"] += not isinstance(short, Built)

    check()
    record_property("figure", f"documents with more than lines, built both ways: {dict(ways)}")
    assert min(ways["at once"], ways["the long way"], ways["refused"]) > 30


@pytest.mark.parametrize("name", [name for name in EXTRAS if name not in NOT_PARTS])
def test_the_smallest_of_these_parts_counts(name: str) -> None:
    """Where the totals know of it, too: a document isn't sent without a part of it."""
    one = made_of([{**PLAIN, "quantity": D(1), "unit_price": D(10)}], off=D(0), header={})
    smallest: dict[str, Any] = {"charges": ({"amount": D("0.01")},), "header_discount": D("0.1")}
    part = smallest.get(name, D("0.01"))
    assert isinstance(both_ways(one, Memory())[0], Built)
    short, long, took = both_ways(with_extras(one, {name: part}, {}), Memory())
    assert short == long
    assert not took
    if isinstance(short, Built):
        assert len(short.payload["LineItems"]) > 1


def test_what_is_remembered_stays_with_its_record() -> None:
    """One line's description must not become another's."""
    found = [
        {"product": GOODS[0], "quantity": D(1), "unit_price": D(1), **PLAIN} | {"description": one}
        for one in ("first", "", "third")
    ]
    for line in found:
        line["product"] = GOODS[0]
    record = made_of(found, off=D(0), header={})
    short, long, took = both_ways(record, Memory())
    assert took
    assert short == long
    said = [each["Description"] for each in short.payload["LineItems"]]
    assert said == ["first", "Widget", "third"]

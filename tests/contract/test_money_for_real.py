"""Random invoices of a CRM, each really sent: what the local Xero counts is the CRM's own total.

The CRM's arithmetic here and the local Xero's are written apart from XTiger's: neither uses a
line of it.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Any

import pytest

from tests.contract.conftest import SandboxClient
from xtiger.domain import exactjson
from xtiger.domain.defaults import DEFAULTS, Row
from xtiger.domain.mapping import (
    BuildContext,
    Built,
    MappingTemplate,
    OrganisationFacts,
    Parent,
    compile_template,
)
from xtiger.domain.payloads import Memory
from xtiger.domain.preflight import check
from xtiger.domain.records import DocumentType, Module, Record, RecordRef
from xtiger.domain.resources import Resource
from xtiger.sandbox import start

Note = Callable[[str, object], None]
D = Decimal
PROVE = bool(os.environ.get("XTIGER_PROVE"))
DOCUMENTS, BATCH = (20_000 if PROVE else 1_000), 50
CENT, NOTHING = D("0.01"), D(0)
BUYER = RecordRef(Module.CONTACTS, "1")
CURRENCIES = ("NZD", "NZD", "NZD", "EUR", "GBP", "AUD")

#: One tax of the CRM: its name, its percentage, whether it is taken on the others too.
Tax = tuple[str, Decimal, bool]
TAX_SETS: tuple[tuple[Tax, ...], ...] = (
    (),
    (("GST", D(15), False),),
    (("VAT", D("12.5"), False),),
    (("VAT", D(20), False),),
    (("Sales tax", D("8.875"), False),),
    (("State", D("4.5"), False), ("City", D(10), False)),
    (("GST", D(10), False), ("PST", D(5), True)),
    # Of an equal percentage as others, and made of other parts.
    (("GST", D(10), False), ("PST", D(5), False)),
    (("VAT", D("15.5"), False),),
)
#: What lines are tracked by: the CRM's word, and the option of Xero that it is.
REGIONS = {None: None, "": None, "North": "North", " south ISLAND": "South Island"}
TRACKED = (
    Row.from_json(
        {
            "to": "Tracking1",
            "from": {"transform": "field", "field": "region"},
            "category": "Region",
        }
    ),
    Row.from_json(
        {
            "to": "Tracking2",
            "from": {"transform": "constant", "value": "spring"},
            "category": "Campaign",
        }
    ),
)

#: How many documents of a hundred are of which kind.
KINDS = {
    "2 decimals": 50,
    "4 decimals": 25,
    "8 decimals": 15,
    "cash rounding": 3,
    "withheld tax": 3,
    "total of another day": 2,
    "negative line's tax added": 1,
    "credit": 1,
}


@dataclass
class Line:
    """One line as somebody typed it."""

    quantity: Decimal
    price: Decimal
    taxes: tuple[Tax, ...]
    percent: Decimal = NOTHING
    off: Decimal = NOTHING


@dataclass
class Typed:
    """A document as somebody typed it; `places` None: its CRM rounds nothing."""

    kind: str
    places: int | None
    amounts: str
    individual: bool
    lines: list[Line]
    percent: Decimal = NOTHING
    off: Decimal = NOTHING
    charges: list[tuple[Decimal, tuple[Tax, ...]]] = field(default_factory=list)
    adjustment: Decimal = NOTHING
    withheld: Decimal = NOTHING


# -- the CRM's arithmetic ---------------------------------------------------------------------


def counted(one: Typed) -> tuple[Decimal, Decimal]:
    """(total without tax, before adjustment and withheld tax; total) as the CRM comes to them."""

    def step(value: Decimal) -> Decimal:
        if one.places is None:
            return value
        return value.quantize(D(1).scaleb(-one.places), ROUND_HALF_UP)

    def tax(net: Decimal, taxes: Sequence[Tax]) -> Decimal:
        plain = [rate for _, rate, compound in taxes if not compound]
        compounds = [rate for _, rate, compound in taxes if compound]
        if one.amounts == "no tax":
            return D(0)
        if one.amounts == "inclusive":
            whole = sum(plain, D(0))
            whole += sum((rate * (100 + whole) / 100 for rate in compounds), D(0))
            return step(net * whole / (100 + whole))
        found = sum((step(net * rate / 100) for rate in plain), D(0))
        return found + sum((step((net + found) * rate / 100) for rate in compounds), D(0))

    nets = []
    for line in one.lines:
        gross = step(line.quantity * line.price)
        off = step(gross * line.percent / 100) if line.percent else step(line.off)
        nets.append(step(gross - off))
    whole = sum(nets, D(0))
    if one.individual:
        added = one.kind == "negative line's tax added"
        taxed = sum(
            (
                abs(tax(net, line.taxes)) if added else tax(net, line.taxes)
                for line, net in zip(one.lines, nets, strict=True)
            ),
            D(0),
        )
        base = whole + (taxed if one.amounts == "exclusive" else 0)
        off = step(base * one.percent / 100) if one.percent else step(one.off)
    else:
        off = step(whole * one.percent / 100) if one.percent else step(one.off)
        sums: dict[tuple[Tax, ...], Decimal] = {}
        for line, net in zip(one.lines, nets, strict=True):
            sums[line.taxes] = sums.get(line.taxes, D(0)) + net
        taxed = sum(
            (
                tax(net - (off * net / whole if off and whole else 0), of)
                for of, net in sums.items()
            ),
            D(0),
        )
    before = whole - off
    for amount, taxes in one.charges:
        before += amount
        taxed += tax(amount, taxes)
    if one.amounts == "inclusive":
        before -= taxed
    total = before + taxed + one.adjustment - one.withheld
    if one.kind == "cash rounding":
        total = (total / D("0.05")).quantize(D(1), ROUND_HALF_UP) * D("0.05")
    if one.kind == "total of another day":
        total += D("17.31")
    stored = D(1).scaleb(-8 if one.places is None else -one.places)
    return before.quantize(stored, ROUND_HALF_UP), total.quantize(stored, ROUND_HALF_UP)


# -- documents --------------------------------------------------------------------------------


def typed(chance: random.Random, kind: str) -> Typed:
    """A document of a kind, as all sorts of people type them."""
    places = {"4 decimals": 4, "8 decimals": 8}.get(kind, 2)
    sets = [chance.choice(TAX_SETS) for _ in range(chance.choice((1, 1, 2, 3)))]
    one = Typed(
        kind,
        chance.choice((2,) * 12 + (None,) * 7 + (3,)),
        chance.choice(("exclusive",) * 7 + ("inclusive",) * 2 + ("no tax",)),
        chance.random() < 0.4,
        [_line(chance, places, chance.choice(sets)) for _ in range(chance.randrange(1, 10))],
    )
    if chance.random() < 0.3:
        one.percent = D(chance.choice(("5", "10", "7.5", "33.33")))
    elif chance.random() < 0.1:
        one.off = _number(chance, 0, 3, 2)
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        one.charges.append((_number(chance, 1, 40, 2), chance.choice((*sets, ()))))
    if chance.random() < 0.15:
        one.adjustment = _number(chance, -2, 2, 2)
    if kind == "withheld tax":
        one.withheld = _number(chance, 1, 5, 2)
    if kind == "credit":
        one.lines = [replace(each, quantity=-abs(each.quantity), off=D(0)) for each in one.lines]
        one.charges, one.adjustment, one.off = [], D(0), D(0)
        if counted(one)[1] > -CENT:
            return typed(chance, kind)
    if kind == "negative line's tax added":
        one.places, one.amounts, one.individual = 2, "exclusive", True
        one.percent, one.off = D(0), D(0)
        one.lines = [Line(D(5), D(100), TAX_SETS[1]), Line(D(-2), D(50), TAX_SETS[1])]
    if kind != "credit" and counted(one)[1] < 0:
        return typed(chance, kind)
    return one


def _line(chance: random.Random, places: int, taxes: tuple[Tax, ...]) -> Line:
    quantity = D(chance.randrange(1, 30))
    if chance.random() < 0.3:
        quantity = _number(chance, 0, 20, chance.choice((1, 2, 3)))
    if chance.random() < 0.05:
        quantity = D(chance.randrange(100, 5000))
    if chance.random() < 0.03:
        quantity = -quantity
    top = chance.choice((1, 30, 500)) if places > 2 else 500
    line = Line(quantity, _number(chance, 0, top, chance.choice((2, places))), taxes)
    dice = chance.random()
    if dice < 0.25:
        line.percent = D(chance.choice(("5", "10", "12.5", "33.333", "100")))
    elif dice < 0.35 and quantity * line.price > 3:
        line.off = _number(chance, 0, 3, 2)
    return line


def _number(chance: random.Random, low: int, high: int, places: int) -> Decimal:
    scale = 10**places
    return D(chance.randrange(low * scale + 1, high * scale)) / scale


def record(one: Typed, number: int, chance: random.Random) -> Record:
    """The document as a CRM hands it to XTiger."""
    subtotal, total = counted(one)
    lines = tuple(
        {
            "product": None,
            "description": f"Work {place}",
            "quantity": line.quantity,
            "unit_price": line.price,
            "discount": line.percent,
            "discount_amount": line.off,
            "region": chance.choice(list(REGIONS)),
            **_taxes(line.taxes),
        }
        for place, line in enumerate(one.lines, 1)
    )
    header = {
        "number": f"REAL-{number}",
        "contact": BUYER,
        "date": date(2026, 11, 21),
        "due_date": date(2026, 12, 5),
        "reference": one.kind,
        "currency": chance.choice(CURRENCIES),
        "amounts": one.amounts,
        "tax_mode": "individual" if one.individual else "group",
        "header_discount": one.percent,
        "header_discount_amount": one.off,
        "charges": tuple(
            {"description": "Shipping", "amount": amount, **_taxes(taxes)}
            for amount, taxes in one.charges
        ),
        "adjustment": one.adjustment,
        "withheld": one.withheld,
        "subtotal": subtotal,
        "total": total,
    }
    if one.amounts == "inclusive" and chance.random() < 0.5:
        header["subtotal"] = None  # many CRMs don't know it
    ref = RecordRef(Module.INVOICES, str(number))
    return Record(ref, header["number"], "1", datetime(2026, 11, 21, tzinfo=UTC), header, lines)


def _taxes(taxes: Sequence[Tax]) -> dict[str, Any]:
    """One tax is a percentage, several are a list."""
    if len(taxes) < 2:
        return {"tax_rate": taxes[0][1] if taxes else None}
    listed = [{"name": name, "rate": rate, "compound": c} for name, rate, c in taxes]
    return {"tax_rate": None, "taxes": listed}


def _parts(record: Record, line: Mapping[str, Any]) -> list[tuple[Decimal, bool]]:
    """The taxes of a line, as those of a tax rate are told."""
    if record.fields["amounts"] == "no tax":
        return []
    if listed := line.get("taxes"):
        return sorted((tax["rate"], tax["compound"]) for tax in listed)
    return [(line["tax_rate"], False)] if line["tax_rate"] else []


# -- Xero -------------------------------------------------------------------------------------


class Books:
    """An organisation of the local Xero with every tax rate and currency of the documents."""

    def __init__(self, client: SandboxClient) -> None:
        self.client = client
        for taxes in TAX_SETS:
            for side in ("OUTPUT", "INPUT"):
                parts = [
                    {"Name": name, "Rate": str(rate), "IsCompound": compound}
                    for name, rate, compound in taxes
                ]
                if parts:
                    words = (f"{rate}{' compound' if late else ''}" for _, rate, late in taxes)
                    name = f"{side} {' + '.join(words)}"
                    rate = {"Name": name, "ReportTaxType": side, "TaxComponents": parts}
                    client.created("TaxRates", rate)
        for code in sorted(set(CURRENCIES) - {"NZD"}):
            client.put("Currencies", {"Code": code})
        for category, options in (("Region", ("North", "South Island")), ("Campaign", ("Spring",))):
            made = client.created("TrackingCategories", {"Name": category})
            for option in options:
                path = f"TrackingCategories/{made['TrackingCategoryID']}/Options"
                assert client.put(path, {"Name": option}).status_code == 200
        buyer = client.created("Contacts", {"Name": "Ana Lee Ltd"})
        read = {
            name: exactjson.loads(client.get(name).content)[name]
            for name in ("Accounts", "TaxRates", "Currencies", "TrackingCategories")
        }
        self.parts = {
            each["TaxType"]: sorted(
                (part["Rate"], part["IsCompound"] is True)
                for part in each["TaxComponents"]
                if part["Rate"]
            )
            for each in read["TaxRates"]
        }
        organisation = exactjson.loads(client.get("Organisation").content)["Organisations"][0]
        facts = OrganisationFacts.from_xero(
            organisation,
            read["Accounts"],
            read["TaxRates"],
            read["Currencies"],
            tracking=read["TrackingCategories"],
        )
        self.context = BuildContext(facts, {BUYER: Parent(buyer["ContactID"])})
        plain = {
            kind: MappingTemplate.from_json(DEFAULTS[Module.INVOICES, kind])
            for kind in DocumentType
        }
        self.mappers = {
            kind: compile_template(replace(one, lines=(*one.lines, *TRACKED)))
            for kind, one in plain.items()
        }
        self.memories = {kind: Memory() for kind in DocumentType}

    def built(self, record: Record, kind: DocumentType) -> Built | str:
        """The payload, or the class of its refusal; preflight finds nothing in a payload."""
        context = replace(self.context, document_type=kind, memory=self.memories[kind])
        made = self.mappers[kind].build(record, context)
        if not isinstance(made, Built):
            assert made.sentence
            return made.fingerprint
        assert check(made.payload, Resource.INVOICES, context.organisation) == ()
        return made

    def send(self, batch: Sequence[Built]) -> list[dict[str, Any]]:
        """Xero's answer to one call, element by element."""
        answer = self.client.call(
            "PUT",
            "Invoices?summarizeErrors=false&unitdp=4",
            data=exactjson.dumps({"Invoices": [one.payload for one in batch]}),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 200, answer.text
        elements: list[dict[str, Any]] = exactjson.loads(answer.content)["Invoices"]
        return elements


@pytest.fixture(scope="module")
def books() -> Iterator[Books]:
    """A local Xero of its own: thousands of documents would be in other tests' way."""
    with start() as running:
        yield Books(SandboxClient(running))


def test_xero_counts_the_crm_s_total_or_the_document_is_refused_with_its_class(
    books: Books, record_property: Note
) -> None:
    seed = int.from_bytes(os.urandom(4), "big") if PROVE else 7
    chance = random.Random(seed)
    tried: Counter[str] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    waiting: list[tuple[Record, Built]] = []
    sent = 0

    def send() -> None:
        nonlocal sent
        for (record, built), element in zip(
            waiting, books.send([built for _, built in waiting]), strict=True
        ):
            said = f"seed {seed}: {record.fields} {record.lines} {built.payload} {element}"
            assert element["StatusAttributeString"] == "OK", said
            total = D(record.fields["total"]).quantize(CENT, ROUND_HALF_UP)
            assert element["Total"] == total, said
            for name in ("SubTotal", "TotalTax", "Total"):
                assert element[name] == built.meant[name], said
            # Every line of the document is one line in Xero, before discounts and charges.
            for line, item in zip(record.lines, element["LineItems"], strict=False):
                assert books.parts[item["TaxType"]] == _parts(record, line), said
                wanted = {"Campaign": "Spring", "Region": REGIONS[line["region"]]}
                tracked = {one["Name"]: one["Option"] for one in item["Tracking"]}
                assert tracked == {name: of for name, of in wanted.items() if of}, said
            sent += 1
        waiting.clear()

    with localcontext(Context(prec=60)):
        for number in range(DOCUMENTS):
            [kind] = chance.choices(list(KINDS), list(KINDS.values()))
            document = record(typed(chance, kind), number, chance)
            built = books.built(document, chance.choice(list(DocumentType)))
            tried[kind] += 1
            if isinstance(built, str):
                refused[kind, built] += 1
                continue
            waiting.append((document, built))
            if len(waiting) == BATCH:
                send()
        if waiting:
            send()
    causes = {
        kind: {
            "tried": count,
            "refused": {cause: many for (of, cause), many in refused.items() if of == kind},
        }
        for kind, count in tried.items()
    }
    record_property(
        "figure",
        f"{DOCUMENTS} documents (seed {seed}), {sent} sent in calls of {BATCH}, 0 cents apart; "
        f"causes: {causes}",
    )
    by_kind = Counter(dict.fromkeys(KINDS, 0))
    for (kind, cause), many in refused.items():
        assert cause.startswith("money:"), cause
        by_kind[kind] += many
    assert by_kind["2 decimals"] == 0, f"seed {seed}: {causes}"
    assert by_kind["4 decimals"] <= tried["4 decimals"] / 100, f"seed {seed}: {causes}"
    for kind, cause in (
        ("withheld tax", "money:no-account-for-withheld-tax"),
        ("total of another day", "money:total-differs"),
        ("negative line's tax added", "money:total-differs"),
        ("credit", "money:negative-total"),
    ):
        assert refused[kind, cause] == tried[kind] > 0, f"seed {seed}: {kind} {causes}"
    assert sent > DOCUMENTS * 0.85

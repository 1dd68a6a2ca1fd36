"""`--scenario money`: documents whose cents are awkward, through the whole product.

The first are those at which naive programs are a cent off or more; the rest are typed at random.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import requests
from sqlalchemy import select

from xtiger.crm.builtin import Contact, Invoice, InvoiceLine
from xtiger.crm.totals import taxes_together
from xtiger.demo.books import consent_token, read_books
from xtiger.demo.instance import Instance
from xtiger.demo.stage import Figures, Stage
from xtiger.domain.records import DocumentType, Module, RecordRef
from xtiger.store.models import QueueItem

D = Decimal
#: A tax of the CRM: its percentage, and whether it is taken on the others too.
Rates = tuple[tuple[str, bool], ...]
_CENT = D("0.01")
#: Every set of taxes that the documents bear; the local Xero gets a rate for each.
_SETS: tuple[Rates, ...] = (
    (("10", False),),
    (("12.5", False),),
    (("20", False),),
    (("4.5", False), ("10", False)),
    (("10", False), ("5", True)),
    (("8.875", False),),
)


@dataclass(frozen=True, slots=True)
class _Line:
    quantity: str
    price: str
    taxes: str = ""  #: "10", "4.5 + 10", "10 + 5 compound"
    percent: str = "0"
    off: str = ""


@dataclass(frozen=True, slots=True)
class _Example:
    """A document with the totals that its CRM stored; `refused` is the cause it must meet."""

    name: str
    lines: tuple[_Line, ...]
    subtotal: str
    total: str
    amounts: str = "exclusive"
    mode: str = "group"
    kind: DocumentType = DocumentType.INVOICE
    refused: str = ""
    more: dict[str, Any] = field(default_factory=dict)


def _three(*prices: str, quantity: str = "1", taxes: str) -> tuple[_Line, ...]:
    return tuple(_Line(quantity, price, taxes) for price in prices)


_HALVES = (_Line("1.5", "79.86", "10"), _Line("1", "99.45", "10", percent="5"))
_BELOW_A_CENT = (_Line("1000", "0.061171", "15"),)
_SHIPPING = {"description": "Shipping", "amount": D("12.35"), "taxes": "12.5"}

#: Each stands for one way to be a cent off, or to be refused.
EXAMPLES: tuple[_Example, ...] = (
    _Example(
        "tax on the document", _three("25.06", "25.61", "25.63", taxes="15"), "76.30", "87.75"
    ),
    _Example("nothing rounded", _HALVES, "214.2675", "235.69425", mode="individual"),
    _Example("price too fine", _BELOW_A_CENT, "61.171", "70.34665"),
    _Example("a third", (_Line("3", "3.33333333", "20"),), "9.99999999", "11.99999999"),
    _Example("discount", (_Line("4", "12.50", "10", percent="10"),), "45.00", "49.50"),
    _Example(
        "discount on a bill",
        (_Line("4", "12.50", "10", percent="10"),),
        "45.00",
        "49.50",
        kind=DocumentType.BILL,
    ),
    _Example(
        "discount that rounds", (_Line("1", "2120.44", "20", percent="10"),), "1908.40", "2290.08"
    ),
    _Example(
        "discount as an amount",
        (_Line("2", "19.99", "12.5", off="3.33"),),
        "36.65",
        "41.23",
        mode="individual",
    ),
    _Example(
        "discount on all",
        (_Line("3", "19.99", "15"), _Line("1", "5.05", "15")),
        "58.52",
        "67.30",
        more={"header_discount": D(10)},
    ),
    _Example(
        "discount after tax",
        (_Line("1", "100", "10"), _Line("2", "33.35", "20")),
        "157.20",
        "180.54",
        mode="individual",
        more={"header_discount": D(5)},
    ),
    _Example(
        "shipping, adjustment",
        (_Line("1", "80", "10"),),
        "92.35",
        "101.39",
        more={"charges": [_SHIPPING], "adjustment": D("-0.50")},
    ),
    _Example("two taxes", _three("33.33", "16.67", taxes="4.5 + 10"), "50.00", "57.25"),
    _Example("compound tax", (_Line("1", "99.99", "10 + 5 compound"),), "99.99", "115.49"),
    _Example("total rounds up", (_Line("1", "10.124", "10"),), "10.124", "11.1364"),
    _Example(
        "a cent no line has",
        _three("10.00", "10.01", "10.02", quantity="0.333", taxes="10"),
        "9.99999",
        "10.999989",
    ),
    _Example(
        "tax inside", _three("541.25", "500.00", taxes="15"), "905.43", "1041.25", "inclusive"
    ),
    _Example(
        "tax inside, discount",
        (_Line("3", "33.35", "20"),),
        "75.0375",
        "90.045",
        "inclusive",
        more={"header_discount": D(10)},
    ),
    _Example("five cents", (_Line("1", "10.01", "10"),), "10.01", "11.05"),
    _Example(
        "tax withheld",
        (_Line("1", "200", "10"),),
        "200.00",
        "200.00",
        refused="money:no-account-for-withheld-tax",
        more={"withheld": D("20.00")},
    ),
    _Example(
        "stale total",
        (_Line("1", "100", "10"),),
        "100.00",
        "121.00",
        refused="money:total-differs",
    ),
    _Example(
        "tax of a negative line",
        (_Line("2", "50", "10"), _Line("-1", "50", "10")),
        "50.00",
        "65.00",
        mode="individual",
        refused="money:total-differs",
    ),
    _Example(
        "credit", (_Line("-1", "50", "10"),), "-50.00", "-45.00", refused="money:negative-total"
    ),
    _Example(
        "unknown tax",
        (_Line("1", "50", "7.7"),),
        "50.00",
        "53.85",
        refused="tax-rate-missing:7.7:200",
    ),
)


def money(instance: Instance, records: int) -> tuple[Figures, bool]:
    """All examples and `records` random documents, one Sync; every total asked of Xero."""
    stage = Stage(instance)
    add_tax_rates(instance)
    refs: dict[DocumentType, list[RecordRef]] = {kind: [] for kind in DocumentType}
    expected: Counter[str] = Counter()
    stage.edit(lambda session: _documents(session, records, refs, expected))
    stage.open()
    for kind, some in refs.items():
        stage.tick(some, kind)
    stage.sync()
    ticked = [ref for some in refs.values() for ref in some]
    wanted = {
        url: total.quantize(_CENT, ROUND_HALF_UP) for url, total in stage.totals(ticked).items()
    }
    found = {str(one.get("Url")): D(one["Total"]) for one in read_books(instance.xero).invoices}
    refused = _refused(stage)
    apart = sum(int(abs(wanted[url] - total) * 100) for url, total in found.items())
    figures: Figures = {
        "scenario": "money",
        "documents": len(ticked),
        "sent": len(found),
        "differing_cents": apart,
        "refused": dict(sorted(refused.items())),
    }
    holds = not apart and refused == expected and len(found) == len(ticked) - refused.total()
    return figures, holds


def _refused(stage: Stage) -> Counter[str]:
    """How many records failed, by their cause."""
    with stage.instance.services.database.read() as session:
        return Counter(session.scalars(select(QueueItem.cause).where(QueueItem.state == "failed")))


def add_tax_rates(instance: Instance) -> None:
    """Gives every organisation of the local Xero the rates that the documents bear."""
    api, token = instance.xero["api_url"], consent_token(instance.xero)
    for organisation in instance.xero["organisations"]:
        for taxes in _SETS:
            parts = [
                {"Name": f"Part {place}", "Rate": rate, "IsCompound": compound}
                for place, (rate, compound) in enumerate(taxes, 1)
            ]
            for side in ("OUTPUT", "INPUT"):
                name = f"{side} {' + '.join(rate for rate, _ in taxes)}"
                answer = requests.put(
                    f"{api}/api.xro/2.0/TaxRates",
                    json={"Name": name, "ReportTaxType": side, "TaxComponents": parts},
                    headers={
                        "Authorization": f"Bearer {token}",
                        "xero-tenant-id": organisation["tenant_id"],
                        "Accept": "application/json",
                    },
                    timeout=60,
                )
                answer.raise_for_status()


def _documents(
    session: Any,
    records: int,
    refs: dict[DocumentType, list[RecordRef]],
    expected: Counter[str],
) -> None:
    buyer = Contact(name="Awkward Cents Ltd", email="cents@example.com")
    session.add(buyer)
    session.flush()
    today = datetime.now(UTC).date()
    for place, example in enumerate(EXAMPLES, 1):
        made = _invoice(example, f"CENT-{place:02}", buyer, today)
        made.subtotal, made.total = D(example.subtotal), D(example.total)
        made.tax_total = made.total - made.subtotal
        session.add(made)
        session.flush()
        refs[example.kind].append(RecordRef(Module.INVOICES, str(made.id)))
        if example.refused:
            expected[example.refused] += 1
    for place, example in enumerate(random_examples(records), 1):
        made = _invoice(example, f"RANDOM-{place:05}", buyer, today)
        made.count()
        session.add(made)
        session.flush()
        refs[example.kind].append(RecordRef(Module.INVOICES, str(made.id)))


def _invoice(example: _Example, number: str, buyer: Contact, today: date) -> Invoice:
    more = dict(example.more)
    if "charges" in more:
        more["charges"] = [
            {**one, "taxes": _listed(one["taxes"])} for one in example.more["charges"]
        ]
    made = Invoice(
        number=number,
        contact_id=buyer.id,
        date=today,
        due_date=today + timedelta(days=20),
        reference=example.name,
        currency="NZD",
        amounts=example.amounts,
        tax_mode=example.mode,
        status="Approved",
        **more,
    )
    for place, line in enumerate(example.lines):
        taxes = _listed(line.taxes)
        made.lines.append(
            InvoiceLine(
                place=place,
                description=f"{example.name.capitalize()}, line {place + 1}",
                quantity=D(line.quantity),
                unit_price=D(line.price),
                discount=D(line.percent),
                discount_amount=D(line.off) if line.off else None,
                tax_rate=taxes_together(taxes),
                taxes=taxes if len(taxes) > 1 else None,
            )
        )
    return made


def _listed(text: str) -> list[dict[str, Any]]:
    """ "10 + 5 compound" as the CRM keeps it."""
    found = []
    for part in filter(None, text.split(" + ")):
        rate, _, compound = part.partition(" ")
        found.append({"name": f"{rate} %", "rate": D(rate), "compound": bool(compound)})
    return found


def random_examples(count: int, seed: int = 7) -> Iterator[_Example]:
    """So many documents, none of which may be refused; the same seed makes the same."""
    chance = random.Random(seed)
    texts = ("", "15", "10", "12.5", "20", "8.875", "4.5 + 10", "10 + 5 compound")
    for _ in range(count):
        sets = [chance.choice(texts) for _ in range(chance.choice((1, 1, 2, 3)))]
        lines = [_random_line(chance, sets) for _ in range(chance.randrange(1, 9))]
        more: dict[str, Any] = {}
        dice = chance.random()
        if dice < 0.25:
            more["header_discount"] = D(chance.choice(("5", "10", "7.5", "33.33")))
        elif dice < 0.35:
            more["header_discount_amount"] = _number(chance, 2, 2)
        if chance.random() < 0.3:
            taxes = chance.choice(sets)
            more["charges"] = [
                {"description": "Shipping", "amount": _number(chance, 40, 2), "taxes": taxes}
            ]
        if chance.random() < 0.15:
            more["adjustment"] = _number(chance, 1, 2) - D("0.50")
        yield _Example(
            "random",
            (*lines, _Line("1", "20.00", sets[0])),
            "",
            "",
            chance.choice(("exclusive",) * 6 + ("inclusive",) * 3 + ("no tax",)),
            chance.choice(("group", "group", "individual")),
            chance.choice((DocumentType.INVOICE,) * 3 + (DocumentType.BILL,)),
            more=more,
        )


def _random_line(chance: random.Random, sets: Sequence[str]) -> _Line:
    quantity = chance.choice((str(chance.randrange(1, 30)), "0.333", "7.5", "2.25", "1000"))
    places = chance.choice((2, 2, 2, 4, 8))
    price = _number(chance, 1 if quantity == "1000" else 400, places)
    line = _Line(quantity, str(price), chance.choice(list(sets)))
    dice = chance.random()
    if dice < 0.25:
        return replace(line, percent=chance.choice(("5", "10", "12.5", "33.333")))
    if dice < 0.35 and D(quantity) * price > 2:
        return replace(line, off=str(_number(chance, 1, 2)))
    return line


def _number(chance: random.Random, most: int, places: int) -> Decimal:
    return D(chance.randrange(1, most * 10**places)).scaleb(-places)

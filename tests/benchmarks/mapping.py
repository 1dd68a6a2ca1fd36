"""(h) What a batch of 50 invoices costs to map, beside the same payloads written by hand."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.benchmarks.stage import TODAY, lines_of, median, verdict
from xtiger.crm.builtin import INVOICES, InvoiceLine
from xtiger.crm.totals import count_lines
from xtiger.domain import exactjson
from xtiger.domain.defaults import DEFAULTS
from xtiger.domain.mapping import (
    BuildContext,
    Built,
    CompiledMapper,
    MappingTemplate,
    OrganisationFacts,
    Parent,
    compile_template,
)
from xtiger.domain.payloads import Memory
from xtiger.domain.preflight import check
from xtiger.domain.records import DocumentType, Module, Record, RecordRef
from xtiger.domain.resources import Resource

BATCH, LINES, MOST = 50, 5, 3.0
CENT, UNIT = Decimal("0.01"), Decimal("0.0001")
PRODUCTS = 20
CONTACT_ID = "0a1b2c3d-0000-4000-8000-000000000007"
CRM = "https://crm.example.com/xtiger/records/Invoices/"


def measure(rounds: int = 60) -> dict[str, Any]:
    """Medians of process CPU a batch, in turns.

    The compiled default template makes payloads of records in memory, with all that may go wrong
    with them. By hand: one function that knows these records, makes the very same bytes of them,
    and could nothing else. Preflight comes on top of the first for the milliseconds beside.
    """
    records, context = _records(), _context()
    kind = DocumentType.INVOICE
    template = MappingTemplate.from_json(DEFAULTS[Module.INVOICES, kind])
    mapper = compile_template(template, INVOICES)
    made = _mapped(mapper, records, context)
    hand = [_by_hand(record, context.parents) for record in records]
    for one, (payload, meant) in zip(made, hand, strict=True):
        assert exactjson.dumps(one.payload) == exactjson.dumps(payload)
        assert one.meant == meant
        assert not check(one.payload, Resource.INVOICES, context.organisation)

    def whole() -> None:
        for one in _mapped(mapper, records, context):
            check(one.payload, Resource.INVOICES, context.organisation)

    turns: dict[str, Callable[[], object]] = {
        "compiled": lambda: _mapped(mapper, records, context),
        "by hand": lambda: [_by_hand(record, context.parents) for record in records],
        "whole": whole,
    }
    spent: dict[str, list[float]] = {name: [] for name in turns}
    gc.collect()
    for _ in range(rounds):
        for name, turn in turns.items():
            before = time.process_time()
            turn()
            spent[name].append(time.process_time() - before)
    ms = {name: median(found) * 1000 for name, found in spent.items()}
    ratio = ms["compiled"] / ms["by hand"]
    return {
        "what": "CPU of the compiled default template over 50 invoices x 5 lines / CPU of the "
        "same payloads made by hand",
        "rounds": rounds,
        "ms a batch, compiled": round(ms["compiled"], 2),
        "ms a batch, by hand": round(ms["by hand"], 2),
        "ms a batch, map + money + preflight": round(ms["whole"], 2),
        "ratio": round(ratio, 2),
        "bound": f"<= {MOST}",
        "holds": verdict(ratio, most=MOST),
    }


def _mapped(
    mapper: CompiledMapper, records: Sequence[Record], context: BuildContext
) -> list[Built]:
    """One batch, with the memory that a batch has."""
    context.memory = Memory()
    made = []
    for record in records:
        context.record_url = CRM + record.ref.id
        built = mapper.build(record, context)
        assert isinstance(built, Built), built
        made.append(built)
    return made


def _records() -> list[Record]:
    """Fifty invoices as the small CRM reads them."""
    records = []
    for number in range(1, BATCH + 1):
        rows = lines_of(number, PRODUCTS)[:LINES]
        totals = count_lines([InvoiceLine(**row) for row in rows], "exclusive")
        fields = {
            "number": f"INV-{number:06}",
            "date": TODAY,
            "due_date": TODAY + timedelta(days=30),
            "reference": f"PO {number}",
            "currency": "NZD",
            "amounts": "exclusive",
            "tax_mode": "group",
            "header_discount": None,
            "header_discount_amount": None,
            "charges": None,
            "adjustment": None,
            "withheld": None,
            "subtotal": totals.subtotal,
            "tax_total": totals.total_tax,
            "total": totals.total,
            "contact": RecordRef(Module.CONTACTS, "7"),
        }
        lines = tuple(
            {
                "product": RecordRef(Module.PRODUCTS, str(row["product_id"]))
                if row["product_id"]
                else None,
                "description": row["description"],
                "quantity": row["quantity"],
                "unit_price": row["unit_price"],
                "discount": row["discount"],
                "discount_amount": None,
                "tax_rate": row["tax_rate"],
                "taxes": None,
                "amount": net,
            }
            for row, net in zip(rows, totals.nets, strict=True)
        )
        ref = RecordRef(Module.INVOICES, str(number))
        now = datetime.now(UTC)
        records.append(Record(ref, str(fields["number"]), "1", now, fields, lines))
    return records


def _context() -> BuildContext:
    able = {"CanApplyToRevenue": True, "CanApplyToExpenses": True, "CanApplyToLiabilities": True}
    rates = [
        {"TaxType": "OUTPUT2", "EffectiveRate": Decimal(15), **able},
        {"TaxType": "NONE", "EffectiveRate": Decimal(0), **able},
    ]
    accounts = [
        {"Code": code, "Type": "REVENUE", "Class": "REVENUE", "TaxType": "OUTPUT2"}
        for code in ("200", "210")
    ]
    parents = {
        RecordRef(Module.PRODUCTS, str(one)): Parent(
            xero_id=f"item-{one}",
            key=f"BEAN-{one}",
            label=f"BEAN-{one}",
            fields={"name": f"Beans {one}", "sales_account": "210" if one % 3 else None},
        )
        for one in range(1, PRODUCTS + 1)
    }
    parents[RecordRef(Module.CONTACTS, "7")] = Parent(CONTACT_ID, label="Harbour Cafe")
    facts = OrganisationFacts.from_xero({"BaseCurrency": "NZD"}, accounts, rates)
    return BuildContext(facts, parents, DocumentType.INVOICE)


# -- by hand ----------------------------------------------------------------------------------


def _by_hand(
    record: Record, parents: Mapping[RecordRef, Parent]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The payload of one invoice of these, and what Xero's answer must equal.

    As somebody would write it who has only these: nothing is looked at twice, nothing refused
    but a total that Xero would count otherwise.
    """
    fields = record.fields
    subtotal = total_tax = Decimal("0.00")
    items: list[dict[str, Any]] = []
    taxed: dict[Decimal, list[tuple[dict[str, Any], Decimal]]] = {}
    for line in record.lines:
        product = parents[line["product"]] if line["product"] else None
        quantity, price, less = line["quantity"], line["unit_price"], line["discount"]
        description, rate = line["description"], None
        gross = quantity * price
        net = exact = gross * (100 - less) / 100
        net = net.quantize(CENT, ROUND_HALF_UP)
        if less:
            description = f"{description} ({price:.2f} less {less.normalize():f} %)"
            if exact == net:
                rate = _number(less)
            else:
                price = (net / quantity).quantize(UNIT, ROUND_HALF_UP)
        item = {
            "Description": description,
            "Quantity": _number(quantity),
            "UnitAmount": _number(price),
        }
        if rate:
            item["DiscountRate"] = rate
        if product and product.key:
            item["ItemCode"] = product.key
        account = product.fields.get("sales_account") if product else None
        item["AccountCode"] = account or "200"
        tax = line["tax_rate"]
        item["TaxType"] = "OUTPUT2" if tax else "NONE"
        if tax:
            taxed.setdefault(tax, []).append((item, net))
        items.append(item)
        subtotal += net
    for tax, some in taxed.items():
        exacts = [net * tax / 100 for _, net in some]
        taxes = [one.quantize(CENT, ROUND_HALF_UP) for one in exacts]
        missing = sum(exacts).quantize(CENT, ROUND_HALF_UP) - sum(taxes)  # type: ignore[union-attr]
        if missing:
            step = CENT if missing > 0 else -CENT
            order = sorted(range(len(some)), key=lambda at: (taxes[at] - exacts[at]) * step)
            for at in order[: int(abs(missing) / CENT)]:
                taxes[at] += step
        for (item, _), amount in zip(some, taxes, strict=True):
            item["TaxAmount"] = amount
            total_tax += amount
    if subtotal + total_tax != fields["total"]:
        raise ValueError(f"{record.label}: the total isn't what the lines make")
    meant = {
        "Type": "ACCREC",
        "Status": "AUTHORISED",
        "SubTotal": subtotal,
        "TotalTax": total_tax,
        "Total": subtotal + total_tax,
    }
    payload = {
        "Type": "ACCREC",
        "Contact": {"ContactID": parents[fields["contact"]].xero_id},
        "Date": fields["date"].isoformat(),
        "DueDate": fields["due_date"].isoformat(),
        "InvoiceNumber": fields["number"],
        "Reference": fields["reference"],
        "CurrencyCode": fields["currency"].upper(),
        "Url": CRM + record.ref.id,
        "Status": "AUTHORISED",
        "LineAmountTypes": "Exclusive",
        "LineItems": items,
    }
    return payload, meant


def _number(value: Decimal) -> Decimal:
    """Without trailing zeros, so that equal payloads have equal bytes."""
    whole = value.to_integral_value()
    return whole if whole == value else value.normalize()

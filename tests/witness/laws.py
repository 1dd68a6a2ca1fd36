"""What must hold inside any answer of Xero's, whatever its shape: sums, dates, flags, pages.

The sources are Xero's rounding guide and the answers measured on live Xero. Written without a
look at the local Xero's own arithmetic, so that one checks the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_MILLISECONDS = re.compile(r"/Date\((-?\d+)(?:\+0000)?\)/")
_CENT = Decimal("0.01")
_ZERO_ID = "00000000-0000-0000-0000-000000000000"


def broken(answer: Mapping[str, Any]) -> list[str]:
    """Every law that an envelope breaks, one line each."""
    return [*_envelope(answer), *_inside(answer, "")]


def _envelope(answer: Mapping[str, Any]) -> Iterator[str]:
    if "ErrorNumber" in answer:
        if str(answer.get("Message")).startswith("A validation") and not answer.get("Elements"):
            yield "a validation exception names no element"
        return
    if "IsDeleted" in answer or "Title" in answer:
        return  # an allocation taken back and a problem with the token have no envelope
    if answer.get("Status") != "OK":
        yield "an envelope's Status isn't OK"
    pages = answer.get("pagination")
    if isinstance(pages, dict):
        page, size, count = (pages.get(name) for name in ("page", "pageSize", "itemCount"))
        if not (isinstance(page, int) and isinstance(size, int) and isinstance(count, int)):
            yield "pagination doesn't count"
        elif size <= 0 or pages.get("pageCount") != -(-count // size):
            yield "pageCount isn't itemCount by pageSize"
        else:
            rows = next((v for k, v in answer.items() if isinstance(v, list)), [])
            left = max(0, min(size, count - size * (page - 1)))
            if len(rows) != left:
                yield f"a page of {left} holds {len(rows)}"


def _inside(part: Any, where: str) -> Iterator[str]:
    if isinstance(part, list):
        for place, one in enumerate(part):
            yield from _inside(one, f"{where}[{place}]")
    elif isinstance(part, dict):
        for fault in (*_dates(part), *_flags(part), *_sums(part), *_settled(part)):
            yield f"{where}: {fault}"
        for name, one in part.items():
            yield from _inside(one, f"{where}/{name}")


def moment(text: object) -> datetime | None:
    """The instant of `/Date(ms)/`, None for anything else."""
    found = _MILLISECONDS.fullmatch(str(text))
    return datetime.fromtimestamp(int(found[1]) / 1000, UTC) if found else None


def _dates(part: Mapping[str, Any]) -> Iterator[str]:
    for name, value in part.items():
        twin = part.get(name.removesuffix("String"))
        if not name.endswith("String") or twin is None:
            continue
        instant = moment(twin)
        told = str(value).rstrip("Z")
        if instant is None or instant.strftime("%Y-%m-%dT%H:%M:%S") != told:
            yield f"{name} isn't {name.removesuffix('String')}"


def _flags(part: Mapping[str, Any]) -> Iterator[str]:
    for name in ("HasErrors", "HasValidationErrors"):
        if name in part and part[name] is not bool(part.get("ValidationErrors")):
            yield f"{name} doesn't say whether there are messages"
    told = part.get("StatusAttributeString")
    if told is not None and (told == "ERROR") is not bool(part.get("ValidationErrors")):
        yield "StatusAttributeString doesn't say whether there are messages"
    messages = part.get("ValidationErrors")
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict) or not str(message.get("Message") or ""):
            yield "a message without words"


def _number(part: Mapping[str, Any], name: str) -> Decimal | None:
    value = part.get(name)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Decimal(value)


def _sums(part: Mapping[str, Any]) -> Iterator[str]:
    """SubTotal is net; Total = SubTotal + TotalTax; both follow from the lines, tax per line."""
    sub, tax, total = (_number(part, name) for name in ("SubTotal", "TotalTax", "Total"))
    if sub is None or tax is None or total is None or part.get("ValidationErrors"):
        return
    if sub + tax != total:
        yield f"{sub} + {tax} isn't {total}"
    for value in (sub, tax, total):
        if value != value.quantize(_CENT):
            yield f"{value} has more than two decimals"
    lines = part.get("LineItems")
    if not isinstance(lines, list) or not lines:
        return
    if not all(isinstance(line, dict) for line in lines):
        yield "a line is no object"
        return
    amounts = [_number(line, "LineAmount") for line in lines]
    taxes = [_number(line, "TaxAmount") for line in lines]
    if None in amounts or None in taxes:
        yield "a line without its amount or its tax"
        return
    net, of_lines = sum(filter(None, amounts), Decimal(0)), sum(filter(None, taxes), Decimal(0))
    if of_lines != tax:
        yield f"the lines' tax is {of_lines}, not {tax}"
    inside = str(part.get("LineAmountTypes")).upper() == "INCLUSIVE"
    if net != (total if inside else sub):
        yield f"the lines come to {net}"
    for line in lines:
        yield from _line(line)


def _line(line: Mapping[str, Any]) -> Iterator[str]:
    quantity, unit = _number(line, "Quantity"), _number(line, "UnitAmount")
    amount = _number(line, "LineAmount")
    if quantity is None or unit is None or amount is None:
        return
    rate = _number(line, "DiscountRate") or Decimal(0)
    off = _number(line, "DiscountAmount") or Decimal(0)
    expected = quantity * unit * (100 - rate) / 100 - (0 if rate else off)
    # a line given by its amount has a rounded price, and one read with 2 decimals a shown one
    slack = _CENT / 2 + abs(quantity) * _CENT / 2
    if abs(expected - amount) > slack:
        yield f"{quantity} x {unit} less its discount isn't {amount}"


def _settled(part: Mapping[str, Any]) -> Iterator[str]:
    due, total = _number(part, "AmountDue"), _number(part, "Total")
    paid, credited = _number(part, "AmountPaid"), _number(part, "AmountCredited")
    whole = due is not None and total is not None and paid is not None and credited is not None
    if whole and not part.get("ValidationErrors"):
        closed = part.get("Status") in ("DELETED", "VOIDED")
        if due != (0 if closed else total - paid - credited):
            yield f"{due} is due of {total}, {paid} paid and {credited} credited"
        if (part.get("Status") == "PAID") and due:
            yield f"it is PAID and {due} is due"
    for name in ("RemainingCredit", "AmountDue", "AmountPaid", "AmountCredited"):
        value = _number(part, name)
        # whether Xero takes a document of less than nothing isn't known
        if value is not None and value < 0 <= (total or 0):
            yield f"{name} is negative"

"""Small damages to valid answers, one at a time: what a check worth its name must notice."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

#: Where a value stands: the object or list that holds it, and its name or place in it.
Spot = tuple[Any, str | int]
Damage = Callable[[random.Random, Spot], bool]


def _spots(part: Any) -> Iterator[Spot]:
    pairs = part.items() if isinstance(part, dict) else enumerate(part)
    for name, value in pairs:
        yield part, name
        if isinstance(value, dict | list):
            yield from _spots(value)


def _lost(_: random.Random, spot: Spot) -> bool:
    holder, name = spot
    if isinstance(holder, dict):
        del holder[name]
    return isinstance(holder, dict)


def _renamed(_: random.Random, spot: Spot) -> bool:
    holder, name = spot
    if isinstance(holder, dict):
        holder[f"{name}s"] = holder.pop(name)
    return isinstance(holder, dict)


def _nothing(_: random.Random, spot: Spot) -> bool:
    holder, name = spot
    known = holder[name] is not None
    holder[name] = None
    return known


def _other_sort(chance: random.Random, spot: Spot) -> bool:
    """Text for a number, a number for text, a list for an object …"""
    holder, name = spot
    value = holder[name]
    others: list[Any] = [Decimal("17.5"), "seventeen", True, {"a": 1}, ["a"]]
    sorts = (Decimal | int, str, bool, dict, list)
    fitting = [
        other
        for other, sort in zip(others, sorts, strict=True)
        if not isinstance(value, sort) or isinstance(value, bool) is not (sort is bool)
    ]
    holder[name] = chance.choice([one for one in fitting if type(one) is not type(value)])
    return True


def _off_by_a_cent(_: random.Random, spot: Spot) -> bool:
    holder, name = spot
    value = holder[name]
    money = isinstance(value, Decimal) and isinstance(holder, dict) and name in _MONEY
    if money:
        holder[name] = value + Decimal("0.01")
    return money


_MONEY = {"SubTotal", "TotalTax", "Total", "AmountDue", "AmountPaid", "AmountCredited"}
_MONEY |= {"LineAmount", "TaxAmount"}


def _broken_text(_: random.Random, spot: Spot) -> bool:
    """Ids, dates and Xero's own words that are spelled wrong."""
    holder, name = spot
    value = holder[name]
    if not isinstance(value, str) or not isinstance(holder, dict):
        return False
    formed = name.endswith(("ID", "UTC", "Date", "DateString")) and len(value) > 8
    word = name in ("Status", "Type", "LineAmountTypes", "ContactStatus", "PhoneType")
    if not value or not (formed or word):
        return False
    holder[name] = value[:-2] if formed else f"{value}X"
    return True


def _short_list(_: random.Random, spot: Spot) -> bool:
    """An element of a document's lines or of a page is gone."""
    holder, name = spot
    value = holder[name]
    counted = name == "LineItems" or "pagination" in holder if isinstance(holder, dict) else False
    if not counted or not isinstance(value, list) or not value:
        return False
    if not (isinstance(value[-1], dict) and (name != "LineItems" or value[-1].get("LineAmount"))):
        return False
    value.pop()
    return True


DAMAGES: Mapping[str, Damage] = {
    "a field is lost": _lost,
    "a field is renamed": _renamed,
    "a value is null": _nothing,
    "a value of another sort": _other_sort,
    "a cent too much": _off_by_a_cent,
    "an id, date or word misspelled": _broken_text,
    "an element is gone": _short_list,
}


def damaged(answer: Mapping[str, Any], kind: str, chance: random.Random) -> Any | None:
    """A copy with one damage of that kind, None where the answer has no place for it."""
    for _ in range(8):
        copied = copy.deepcopy(answer)
        spots = list(_spots(copied))
        if spots and DAMAGES[kind](chance, chance.choice(spots)) and copied != answer:
            return copied
    return None

"""Tracked inventory: what approved documents put into stock and take out of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from xtiger.sandbox.accounting import arithmetic, validation
from xtiger.sandbox.accounting.books import Books
from xtiger.sandbox.kept.state import Keys, Stored, fold
from xtiger.sandbox.wire import Json

_NONE = Decimal("0.0000")
_NOTHING = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class Movement:
    """What one document does to one item; purchases have a value in base currency, sales none."""

    quantity: Decimal = _NONE
    value: Decimal = _NOTHING
    bought: bool = False


def movements(body: Json, sign: int, *, bought: bool) -> dict[str, Movement]:
    """By folded item code; `sign` 1 for what comes in, -1 for what goes out, 0 for neither."""
    found: dict[str, Movement] = {}
    for line in body["LineItems"] if sign else []:
        if not line.get("ItemCode") or not line.get("Quantity"):
            continue
        net = line["LineAmount"]
        if body["LineAmountTypes"] == arithmetic.AmountTypes.INCLUSIVE:
            net -= line["TaxAmount"]
        value = arithmetic.cents(net / (body["CurrencyRate"] or 1)) if bought else _NOTHING
        code = fold(line["ItemCode"])
        before = found.get(code, Movement())
        found[code] = Movement(
            before.quantity + sign * line["Quantity"], before.value + sign * value, bought
        )
    return found


def shortages(books: Books, before: dict[str, Movement], after: dict[str, Movement]) -> list[str]:
    """Messages for the items of which there wouldn't be enough (Xero: items page).

    Nothing is short where the call allows back orders.
    """
    errors: list[str] = []
    for code, change in _changes(before, after).items():
        item = _tracked(books, code)
        if item is None or change.quantity >= 0 or books.backorders:
            continue
        if item.body["QuantityOnHand"] + change.quantity < 0:
            shown = str(item.body["Code"])
            errors.append(validation.out_of_stock(shown, on_hand(item.body)))
    return errors


def move(books: Books, before: dict[str, Movement], after: dict[str, Movement]) -> None:
    """Books what changed: purchases at their price, sales at the average cost of that moment.

    A sale that is taken back returns at the average cost too (Xero: average cost; the order of
    events is our simplification).
    """
    for code, change in _changes(before, after).items():
        item = _tracked(books, code)
        if item is None:
            continue
        body = dict(item.body)
        held = body["QuantityOnHand"]
        average = body["TotalCostPool"] / held if held > 0 else body.get("AverageCost", _NOTHING)
        value = change.value if change.bought else arithmetic.cents(average * change.quantity)
        body["QuantityOnHand"] = held + change.quantity
        body["TotalCostPool"] = body["TotalCostPool"] + value
        if body["QuantityOnHand"] > 0:
            cost = body["TotalCostPool"] / body["QuantityOnHand"]
            body["AverageCost"] = arithmetic.four(cost)
        else:
            body["TotalCostPool"] = _NOTHING
        keys = Keys(name=str(body["Code"]), app=books.app)
        books.state.save(books.tenant, "item", item.id, body, keys, touch=False)


def on_hand(body: Json) -> Decimal:
    """What is there to be sold; back orders don't show as less than nothing."""
    found: Decimal = body["QuantityOnHand"]
    return max(found, _NONE)


def _changes(before: dict[str, Movement], after: dict[str, Movement]) -> dict[str, Movement]:
    """What the second does beyond the first."""
    found: dict[str, Movement] = {}
    for code in before.keys() | after.keys():
        old, new = before.get(code, Movement()), after.get(code, Movement())
        if old != new:
            found[code] = Movement(
                new.quantity - old.quantity, new.value - old.value, old.bought or new.bought
            )
    return found


def _tracked(books: Books, code: str) -> Stored | None:
    item = next(iter(books.named("item", code)), None)
    return item if item and item.body.get("IsTrackedAsInventory") else None

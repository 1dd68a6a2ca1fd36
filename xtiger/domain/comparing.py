"""What two payloads of one record say, compared: emptied fields, and fields left out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from xtiger.domain.targets import TYPE_FIELDS
from xtiger.domain.transforms import empty

_TYPES = frozenset(TYPE_FIELDS.values())


def without_empties(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What a payload says of a record, however it says that a field is empty.

    A create leaves empty fields out and an update sends "" for them. Here both lose them, and
    phones and addresses that hold nothing besides their type. Phones and addresses are put in
    the order of their types, for the first field that isn't empty decides it in a payload.
    """
    kept = {}
    for name, value in payload.items():
        # Nearly all values are texts and numbers: they are told apart without a call.
        if type(value) is str or type(value) is Decimal:
            if value != "":
                kept[name] = value
        elif (inner := _kept(value)) is not None:
            kept[name] = inner
    return kept


def _kept(value: Any) -> Any:
    """The value without its empty parts, None for nothing."""
    if isinstance(value, dict | Mapping):
        inner = without_empties(value)
        return inner if inner.keys() - _TYPES else None
    if isinstance(value, list):
        members = [one for each in value if (one := _kept(each)) is not None]
        return sorted(members, key=_type_of) or None
    return None if empty(value) else value


def _type_of(member: Any) -> str:
    """The type of a phone or address; "" for all else, which keeps its order."""
    if not isinstance(member, dict | Mapping):
        return ""
    for name in _TYPES:
        if name in member:
            return str(member[name])
    return ""


def updated(agreed: Mapping[str, Any] | None, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What both sides agree on after an update: what it says, and for the rest what they did.

    Phones and addresses are told apart by their type; any other list is replaced whole.
    """
    made = dict(agreed or {})
    for name, value in payload.items():
        before = made.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            made[name] = updated(before, value)
        elif name in TYPE_FIELDS and isinstance(value, list):
            members = {_type_of(one): one for one in before or ()}
            for one in value:
                members[_type_of(one)] = updated(members.get(_type_of(one)), one)
            made[name] = list(members.values())
        else:
            made[name] = value
    return made


def only_emptied(payload: Mapping[str, Any], agreed: Mapping[str, Any] | None) -> dict[str, Any]:
    """An update's payload that empties what the CRM emptied, and nothing else.

    A "" goes over only where both sides last agreed on a value: what somebody typed into Xero
    alone, beside a field the CRM never filled, stays there. Lines are always replaced whole.
    """
    known = agreed or {}
    kept: dict[str, Any] = {}
    for name, value in payload.items():
        before = known.get(name)
        if isinstance(value, str) and empty(value):
            if not empty(before):
                kept[name] = value
        elif isinstance(value, Mapping):
            kept[name] = only_emptied(value, before)
        elif name in TYPE_FIELDS and isinstance(value, list):
            matched = {_type_of(one): one for one in before or ()}
            members = [only_emptied(one, matched.get(_type_of(one))) for one in value]
            kept[name] = [one for one in members if one.keys() - _TYPES]
        else:
            kept[name] = value
    return {name: value for name, value in kept.items() if value != []}

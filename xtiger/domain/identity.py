"""Which objects in Xero are those of a write whose answer was lost: ours, a stranger's, unclear."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from xtiger.domain import exactjson
from xtiger.domain.resources import CATALOGUE, GONE, Resource, ResourceInfo, Verb, unique_key

Row = Mapping[str, Any]

_NET_DATE = re.compile(r"/Date\((-?\d+)")
#: What a payment may settle. Xero shows each of them as the payment's Invoice (OpenAPI, examples
#: of GET /Payments).
_SETTLED = ("Invoice", "CreditNote", "Prepayment", "Overpayment")
#: The longest text about one object, in characters.
_LONGEST = 250


class Fate(StrEnum):
    """What became of one element of a create whose answer was lost."""

    ARRIVED = "arrived"  #: an object in Xero is this one
    ABSENT = "absent"  #: none is: it never arrived
    TAKEN = "taken"  #: its key belongs to another object
    UNCLEAR = "unclear"  #: some may be this one, and nothing tells


@dataclass(frozen=True, slots=True)
class Sought:
    """One element as it was sent, what its answer had to equal, and equal ones of before.

    `before` names the objects that equalled it before it was sent (`key_of`), None where
    nobody looked.
    """

    payload: Row
    meant: Row = field(default_factory=dict)
    before: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one element, and the objects by which that was decided."""

    fate: Fate
    found: tuple[Row, ...] = ()


def judge(
    resource: Resource,
    sought: Sequence[Sought],
    candidates: Sequence[Row],
    *,
    bound: Collection[str] = (),
    since: datetime | None = None,
) -> list[Finding]:
    """What became of each element of a lost create, by the objects that Xero has now.

    1. An element that names an object (a currency, a contact put into a group) arrived if that
       object is among them.
    2. One with a key that Xero keeps unique is the object with this key, if that is ours
       (`is_ours`). One removed since counts only if it changed after `since`, for it has given
       its key free. Any other holder makes the key taken, or unclear where all that identifies
       a document is equal and only the rest isn't.
    3. Of the others, elements that say the same are one group: they can be told apart neither
       here nor in Xero. As many arrived as there are objects of ours, without those of before;
       more of them than were sent make all unclear, and so does an object of two groups.
    4. Where equal ones of before were to be counted and weren't, an equal one proves nothing.

    `bound` are the ids of objects that belong to a record already: none of them was lost.
    """
    info = CATALOGUE[resource]
    by_key = {key_of(resource, row, place): row for place, row in enumerate(candidates)}
    rows = list(by_key.values())
    findings: dict[int, Finding] = {}
    groups: dict[bytes, list[int]] = {}
    taken = set(bound)
    for place, one in enumerate(sought):
        key = unique_key(resource, one.payload)
        own = one.payload.get(info.id_field) if info.id_field else None
        if own and (key is None or info.id_field == info.key_field):
            named = tuple(row for row in rows if _same(row.get(info.id_field), own))
            findings[place] = Finding(Fate.ARRIVED if named else Fate.ABSENT, named[:1])
        elif key is not None:
            findings[place] = _keyed(info, key, one, rows, taken, since)
            if findings[place].fate is Fate.ARRIVED:
                taken.add(id_of(resource, findings[place].found[0]) or "")
        else:
            groups.setdefault(_saying(info, one), []).append(place)
    free = [row for row in rows if id_of(resource, row) not in taken]
    findings |= _grouped(info, sought, list(groups.values()), free)
    return [findings[place] for place in range(len(sought))]


def _keyed(
    info: ResourceInfo,
    key: str,
    one: Sought,
    rows: Sequence[Row],
    bound: Collection[str],
    since: datetime | None,
) -> Finding:
    named = [row for row in rows if str(row.get(info.key_field)) == key and _is_kind(info, row)]
    held = [row for row in named if row.get(info.status_field or "") not in info.freed]
    lately = [row for row in named if row not in held and _changed_after(row, since)]
    for row in (*held, *lately):
        if id_of(info.resource, row) not in bound and is_ours(
            info.resource, one.payload, row, one.meant
        ):
            return Finding(Fate.ARRIVED, (row,))
    if not held:
        return Finding(Fate.ABSENT)
    unclear = any(id_of(info.resource, row) not in bound and _alike(info, one, row) for row in held)
    return Finding(Fate.UNCLEAR if unclear else Fate.TAKEN, tuple(held))


def _changed_after(row: Row, since: datetime | None) -> bool:
    changed = changed_at(row)
    return since is not None and changed is not None and changed >= since


def _grouped(
    info: ResourceInfo, sought: Sequence[Sought], groups: Sequence[Sequence[int]], rows: list[Row]
) -> dict[int, Finding]:
    """Step 3 and 4 of `judge`: as many of a group arrived as there are objects of it."""
    resource = info.resource
    findings: dict[int, Finding] = {}
    ours: list[list[Row]] = []
    for places in groups:
        one = sought[places[0]]
        mine = [row for row in rows if is_ours(resource, one.payload, row, one.meant)]
        ours.append(_without(resource, mine, one.before))
    claims = Counter(one for mine in ours for one in {id(row) for row in mine})
    for places, mine in zip(groups, ours, strict=True):
        one = sought[places[0]]
        blind = info.counted and one.before is None
        if mine and (blind or len(mine) > len(places) or any(claims[id(row)] > 1 for row in mine)):
            findings |= dict.fromkeys(places, Finding(Fate.UNCLEAR, tuple(mine)))
            continue
        alike = () if mine else tuple(row for row in rows if _alike(info, one, row))
        alike = tuple(_without(resource, alike, one.before))
        for place, row in zip(places, mine, strict=False):
            findings[place] = Finding(Fate.ARRIVED, (row,))
        for place in places[len(mine) :]:
            findings[place] = Finding(Fate.UNCLEAR if alike else Fate.ABSENT, alike)
    return findings


def _without(resource: Resource, rows: Sequence[Row], before: Sequence[str] | None) -> list[Row]:
    """The objects that weren't there before, each known one taken out once."""
    known = Counter(before or ())
    new: list[Row] = []
    for row in rows:
        key = key_of(resource, row)
        if known[key]:
            known[key] -= 1
        else:
            new.append(row)
    return new


def is_ours(resource: Resource, payload: Row, candidate: Row, meant: Row | None = None) -> bool:
    """Whether an object in Xero carries our mark, or else equals what was sent.

    1. Where a mark was sent it decides: an object made by that write has it. Of what can never
       be changed the content must be the same too, for people write references as well.
    2. Without a mark all that was sent must be equal. Of documents contact, day and total must
       have been sent or meant: what Xero fills in by itself would prove nothing.
    """
    info = CATALOGUE[resource]
    mark = _mark(info, payload)
    if mark is not None:
        if candidate.get(mark) != payload[mark]:
            return False
        return not info.fixed or _equals(info, payload, candidate, meant or {})
    return _equals(info, payload, candidate, meant or {})


def _mark(info: ResourceInfo, payload: Row) -> str | None:
    return next((name for name in info.marks if payload.get(name)), None)


def _equals(info: ResourceInfo, payload: Row, candidate: Row, meant: Row) -> bool:
    sent, found = _plain(info, payload), _plain(info, candidate)
    if any(name not in {**sent, **meant} for name in info.content):
        return False
    left_out = {info.status_field, info.id_field, *_WITHHELD.get(info.resource, ())}
    if not all(
        _same(found.get(name), value, name) for name, value in sent.items() if name not in left_out
    ):
        return False
    return all(
        _same(found.get(name), meant[name], name)
        for name in info.content
        if name not in sent and name in meant
    )


#: What is written and never shown again: it can't be compared.
_WITHHELD: Mapping[Resource, tuple[str, ...]] = {Resource.RECEIPTS: ("Url",)}


def may_be(resource: Resource, one: Sought, candidate: Row) -> bool:
    """Whether an object is worth a closer look: ours, or alike in what identifies it."""
    return is_ours(resource, one.payload, candidate, one.meant) or _alike(
        CATALOGUE[resource], one, candidate
    )


def _alike(info: ResourceInfo, one: Sought, candidate: Row) -> bool:
    """Whether it may be this one after all: all that is known of its content is equal.

    Where nothing of it is known everything may be.
    """
    if _mark(info, one.payload) is not None:
        return False
    if not info.content:
        return False
    sent = {**one.meant, **_plain(info, one.payload)}
    found = _plain(info, candidate)
    return all(_same(found.get(name), sent[name], name) for name in info.content if name in sent)


def _plain(info: ResourceInfo, row: Row) -> dict[str, Any]:
    """A row in the one form in which both sides are compared."""
    plain = dict(row)
    if info.resource is Resource.PAYMENTS:
        what: dict[str, Any] = {}
        for name in _SETTLED:
            told = plain.pop(name, None)
            told = told if isinstance(told, Mapping) else {}
            number = plain.pop(f"{name}Number", None) or told.get(f"{name}Number")
            xero_id = told.get(f"{name}ID")
            what |= {"ID": xero_id} if xero_id else {}
            what |= {"Number": number} if number else {}
        if what:
            plain["Invoice"] = what
        if (code := plain.pop("Code", None)) and "Account" not in plain:
            plain["Account"] = {"Code": code}
    return plain


def _is_kind(info: ResourceInfo, row: Row) -> bool:
    return not info.keyed or row.get("Type") in info.keyed


def _saying(info: ResourceInfo, one: Sought) -> bytes:
    """Equal for elements that can't be told apart in Xero."""
    mark = _mark(info, one.payload)
    if mark is not None and not info.fixed:
        return exactjson.dumps({mark: one.payload[mark]})
    return exactjson.dumps([_plain(info, one.payload), list(one.before or ())], sort=True)


def _same(found: Any, sent: Any, name: str = "") -> bool:
    """Whether Xero's value says what was sent; fields that Xero adds don't matter."""
    if _nothing(found) or _nothing(sent):
        return _nothing(found) and _nothing(sent)
    if isinstance(sent, Mapping):
        return isinstance(found, Mapping) and all(
            _same(found.get(inner), value, inner) for inner, value in sent.items()
        )
    if isinstance(sent, (list, tuple)):
        if name == "Tracking" and isinstance(found, (list, tuple)):  # Xero orders it as it likes
            return len(found) == len(sent) and all(
                any(_same(one, other) for one in found) for other in sent
            )
        return (
            isinstance(found, (list, tuple))
            and len(found) == len(sent)
            and all(_same(one, other, name) for one, other in zip(found, sent, strict=True))
        )
    if isinstance(sent, bool) or isinstance(found, bool):
        return str(found).lower() == str(sent).lower()
    if isinstance(sent, (int, Decimal)) or isinstance(found, (int, Decimal)):
        try:
            return Decimal(str(found)) == Decimal(str(sent))
        except InvalidOperation:
            return False
    if name.endswith("Date") and (day := day_of(sent)) is not None:
        return day_of(found) == day
    return " ".join(str(found).split()).casefold() == " ".join(str(sent).split()).casefold()


def _nothing(value: Any) -> bool:
    """Xero leaves out, or says with an empty value, what nobody filled in."""
    return value is None or value is False or value in ("", 0, {}, [], ())


def day_of(value: Any) -> str | None:
    """A day of Xero's in any of its forms as `YYYY-MM-DD`, None for anything else."""
    text = str(value or "")
    if found := _NET_DATE.match(text):
        return datetime.fromtimestamp(int(found[1]) / 1000, UTC).date().isoformat()
    return text[:10] if re.match(r"\d{4}-\d\d-\d\d", text) else None


def changed_at(row: Row) -> datetime | None:
    """When an object, or a note, last changed by Xero's clock (UTC); None if it doesn't say."""
    text = str(row.get("UpdatedDateUTC") or row.get("DateUTC") or "")
    if found := _NET_DATE.match(text):
        return datetime.fromtimestamp(int(found[1]) / 1000, UTC)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.replace(tzinfo=parsed.tzinfo or UTC)


def id_of(resource: Resource, row: Row) -> str | None:
    """An object's id; Xero's own example of an allocation spells it AllocationId."""
    name = CATALOGUE[resource].id_field
    found = (row.get(name) or row.get(f"{name[:-1]}d")) if name else None
    return str(found) if found else None


def key_of(resource: Resource, row: Row, place: int | None = None) -> str:
    """What names an object among equal ones: its id, of a note its moment and words.

    `place` tells rows without an id apart that are otherwise equal.
    """
    found = id_of(resource, row)
    if found:
        return found
    return f"{row.get('DateUTC')}|{row.get('Details')}" + ("" if place is None else f"|{place}")


def equal_ones(resource: Resource, payload: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    """Which of these objects equal an element that is yet to be sent (`Sought.before`)."""
    return tuple(key_of(resource, row) for row in rows if is_ours(resource, payload, row))


def removes(resource: Resource, verb: Verb, payload: Row) -> bool:
    """Whether an element takes an object away: by the DELETE verb, or by a status."""
    field_name = CATALOGUE[resource].status_field
    return verb is Verb.DELETE or (
        verb is Verb.UPDATE and bool(field_name) and payload.get(field_name or "") in GONE
    )


def is_gone(resource: Resource, row: Row | None) -> bool:
    """Whether an object was removed: Xero has it no more, or in a status that says so."""
    if row is None:
        return True
    field_name = CATALOGUE[resource].status_field
    return bool(field_name) and row.get(field_name or "") in GONE


def portrait(resource: Resource, row: Row, meant: Row | None = None) -> str:
    """An object in a few words for people: number or name, contact, day, total, id."""
    info = CATALOGUE[resource]
    told = {**(meant or {}), **_plain(info, row)}
    contact = told.get("Contact")
    contact = contact if isinstance(contact, Mapping) else {}
    what = told.get("Invoice")
    what = what if isinstance(what, Mapping) else {}
    of = what.get("Number") or what.get("InvoiceNumber") or what.get("ID") or what.get("InvoiceID")
    amount = next((told[name] for name in ("Total", "Amount") if told.get(name) is not None), None)
    names = dict.fromkeys((info.key_field, info.label_field, "Name", "Reference", "Details"))
    size = told.get("ContentLength")
    parts = [
        *dict.fromkeys(str(told[name]) for name in names if name and told.get(name)),
        contact.get("Name") or (contact.get("ContactID") and f"contact {contact['ContactID']}"),
        f"for {of}" if of else None,
        day_of(told.get("Date")),
        None if amount is None else f"{_money(amount)} {told.get('CurrencyCode') or ''}".strip(),
        f"{size} bytes" if size else None,
        told.get(info.status_field or ""),
        f"id {found}" if (found := id_of(resource, row)) else None,
    ]
    text = ", ".join(dict.fromkeys(str(part) for part in parts if part))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _money(value: Any) -> str:
    try:
        return f"{Decimal(str(value)):,.2f}"
    except InvalidOperation:
        return str(value)

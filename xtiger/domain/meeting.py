"""First meeting: which contact or item that Xero has already is the CRM's record, and what stays.

The ladder, from certain to uncertain: Xero's id that the CRM keeps, our own number, the account
number, e-mail and name together, the exact name. What isn't certain waits for a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.domain.targets import TYPE_FIELDS

#: The resources whose objects may have been in Xero before the CRM met it.
MET = (Resource.CONTACTS, Resource.ITEMS)

#: What goes over a matched object's own values when the CRM has some, unless a profile says else.
OVERWRITES: Mapping[Resource, tuple[str, ...]] = {
    Resource.CONTACTS: ("EmailAddress", "Phones.DEFAULT"),
    Resource.ITEMS: (),
}


#: What a profile may list, by the name in payloads, and what people call it.
PARTS: Mapping[Resource, Mapping[str, str]] = {
    Resource.CONTACTS: {
        "Name": "Name",
        "FirstName": "First name",
        "LastName": "Last name",
        "EmailAddress": "E-mail",
        "Phones.DEFAULT": "Phone",
        "Phones.DDI": "Direct dial",
        "Phones.MOBILE": "Mobile",
        "Phones.FAX": "Fax",
        "Addresses.POBOX": "Postal address",
        "Addresses.STREET": "Street address",
        "AccountNumber": "Account number",
        "TaxNumber": "Tax number",
        "CompanyNumber": "Company number",
    },
    Resource.ITEMS: {
        "Name": "Name",
        "Description": "Description",
        "PurchaseDescription": "Description on purchases",
        "SalesDetails": "Price, account and tax of sales",
        "PurchaseDetails": "Cost, account and tax of purchases",
    },
}


class Rung(StrEnum):
    """By what two sides are found to be the same."""

    PERSON = "a person’s word"
    ID = "its Xero id"
    NUMBER = "our number"
    ACCOUNT_NUMBER = "its account number"
    EMAIL_AND_NAME = "its e-mail and name"
    NAME = "its name"


class Side(NamedTuple):
    """What tells a contact or an item from others, on either side; "" for nothing.

    `number` is a contact's ContactNumber or an item's Code. `label` is for people.
    """

    xero_id: str = ""
    number: str = ""
    account_number: str = ""
    email: str = ""
    name: str = ""
    status: str = "ACTIVE"
    label: str = ""


class Met(NamedTuple):
    """What the ladder finds: one object for certain, some that a person must choose from, none."""

    certain: Side | None = None
    by: Rung | None = None
    #: Those it may be; the likeliest first.
    maybe: tuple[Side, ...] = ()
    #: Why a person has to decide, and what to do; "" where nobody has.
    sentence: str = ""


def fold(text: object) -> str:
    """A text as it is compared: case and blanks don't count."""
    return " ".join(str(text or "").split()).casefold()


def side(resource: Resource, row: Mapping[str, Any]) -> Side:
    """Xero's row of a contact or item, or a payload of one."""
    info = CATALOGUE[resource]
    key = row.get("ContactNumber" if resource is Resource.CONTACTS else "Code")
    return Side(
        xero_id=str(row.get(info.id_field) or ""),
        number=str(key or ""),
        account_number=str(row.get("AccountNumber") or ""),
        email=str(row.get("EmailAddress") or ""),
        name=str(row.get("Name") or ""),
        status=str(row.get(info.status_field or "") or "ACTIVE"),
        label=str(row.get(info.label_field) or key or ""),
    )


def meet(
    resource: Resource,
    ours: Side,
    theirs: Sequence[Side],
    *,
    taken: Collection[str],
    apart: Collection[str] = (),
    chosen: str | None = None,
) -> Met:
    """Which of Xero's objects is ours.

    `ours.xero_id` is the id that the CRM keeps, `ours.number` our marker or the item's code.
    `taken` are the ids of objects that belong to other records already: the CRM itself says that
    those are others. `apart` are the ids of objects that a person said it isn't, `chosen` the one
    that it is.

    1. The object that a person, our id or our number names is it, whatever else it says.
    2. The others come by account number, by e-mail and name, by name. If the rungs name more
       than one object, a person chooses.
    3. The one that is left is it, unless it is archived, or has another e-mail or account number
       than ours: then a person decides.
    """
    free = [one for one in theirs if one.xero_id not in taken and one.xero_id not in apart]
    sure = [(Rung.PERSON, one) for one in free if one.xero_id == chosen]
    sure += [
        (rung, one)
        for rung, named in ((Rung.ID, _by_id), (Rung.NUMBER, _by_number))
        for one in free
        if named(resource, ours, one)
    ]
    if sure:
        return Met(certain=sure[0][1], by=sure[0][0])
    # Items have a code that Xero keeps unique; two of one name are two.
    alike = _rungs(ours, free) if resource is Resource.CONTACTS else ()
    found = {one.xero_id: (rung, one) for rung, one in reversed(list(alike))}
    if not found:
        return Met()
    maybe = [found[key] for key in reversed(found)]
    rung, one = maybe[0]
    what = "contact" if resource is Resource.CONTACTS else "item"
    live = [each for each in maybe if each[1].status != "ARCHIVED"]
    sides = tuple(each for _, each in maybe)
    if len(live) > 1:
        named = " and ".join(f"{each.label} ({by})" for by, each in live[:3])
        sentence = f"More than one {what} in Xero may be it: {named}. Link one of them."
        return Met(maybe=tuple(each for _, each in live), sentence=sentence)
    rung, one = (live or maybe)[0]
    if not live:
        return Met(
            maybe=sides,
            sentence=f"This {what} is archived in Xero. Restore it there and press Retry, or link "
            "another.",
        )
    if rung is Rung.NAME and _contradicts(ours, one):
        sentence = f"Another {what} in Xero is called {one.label}. Link them or rename one."
        return Met(maybe=sides, sentence=sentence)
    return Met(certain=one, by=rung)


def _by_id(_: Resource, ours: Side, one: Side) -> bool:
    return bool(ours.xero_id) and one.xero_id.lower() == ours.xero_id.lower()


def _by_number(resource: Resource, ours: Side, one: Side) -> bool:
    if not ours.number:
        return False
    if resource is Resource.CONTACTS:  # our marker: nobody else writes the like
        return one.number == ours.number
    return fold(one.number) == fold(ours.number)


def _rungs(ours: Side, theirs: Sequence[Side]) -> Iterator[tuple[Rung, Side]]:
    account, email, name = fold(ours.account_number), fold(ours.email), fold(ours.name)
    for one in theirs:
        if account and fold(one.account_number) == account:
            yield Rung.ACCOUNT_NUMBER, one
    for one in theirs:
        if name and email and (fold(one.email), fold(one.name)) == (email, name):
            yield Rung.EMAIL_AND_NAME, one
    for one in theirs:
        if name and fold(one.name) == name:
            yield Rung.NAME, one


def _contradicts(ours: Side, one: Side) -> bool:
    """Whether a name is all that two sides share although they could share more."""
    pairs = ((ours.email, one.email), (ours.account_number, one.account_number))
    return any(fold(a) and fold(b) and fold(a) != fold(b) for a, b in pairs)


# -- what a matched object keeps --------------------------------------------------------------


def left_to_xero(
    resource: Resource,
    payload: Mapping[str, Any],
    met: Mapping[str, Any],
    agreed: Mapping[str, Any],
    overwrites: Collection[str],
) -> dict[str, Any]:
    """The payload of an update of an object that Xero had before the CRM met it.

    It keeps the ids, the fields of `overwrites` that aren't empty, what changed in the CRM since
    they met, and what ever went over: `met` is the payload of then, `agreed` what both sides have
    agreed on since. Everything else stays as Xero has it: it keeps what a call leaves out (Xero:
    contacts page).
    """
    info = CATALOGUE[resource]
    before, went = dict(_parts(met)), dict(_parts(agreed))
    kept = {
        name
        for name, value in _parts(payload)
        if name == info.id_field
        or name in went
        or (_listed(name, overwrites) and not _blank(value))
        or _told(value) != _told(before.get(name))
    }
    made: dict[str, Any] = {}
    for name, value in payload.items():
        if name in TYPE_FIELDS:
            kind = TYPE_FIELDS[name]
            value = [one for one in value if f"{name}.{one.get(kind)}" in kept]
        elif isinstance(value, Mapping):
            value = {inner: each for inner, each in value.items() if f"{name}.{inner}" in kept}
        elif name not in kept:
            continue
        if name in kept or value:
            made[name] = value
    return made


def _listed(name: str, overwrites: Collection[str]) -> bool:
    return name in overwrites or name.partition(".")[0] in overwrites


def _parts(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields by name; members of lists such as Phones, and of parts of items, one by one."""
    for name, value in payload.items():
        if name in TYPE_FIELDS:
            for one in value:
                yield f"{name}.{one.get(TYPE_FIELDS[name])}", one
        elif isinstance(value, Mapping):
            for inner, each in value.items():
                yield f"{name}.{inner}", each
        else:
            yield name, value


def _told(value: Any) -> Any:
    """A value without what is empty in it: for Xero "" and nothing are the same."""
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if not _blank(v) and k not in TYPE_FIELDS.values()}
        return kept or None
    return None if _blank(value) else value


def _blank(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _told(value) is None
    return value is None or value == ""

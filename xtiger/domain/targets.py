"""The fields of Xero that a mapping may fill: what each takes, and where it stands in a payload."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any

from xtiger.domain.hints import Fault, fault
from xtiger.domain.resources import Resource
from xtiger.domain.transforms import as_day, as_number, plain
from xtiger.domain.values import plain_text

#: The places of a price with unitdp=4.
_UNIT = Decimal("0.0001")


class TargetKind(StrEnum):
    """What a Xero field takes."""

    TEXT = "text"
    LINE = "line"  #: one line of text: blanks are collapsed
    DATE = "date"
    NUMBER = "number"  #: four places at most
    LINK = "link"  #: another Xero object


@dataclass(frozen=True, slots=True)
class Target:
    """One Xero field that a mapping may fill.

    `longest` is in characters, 0: no limit known. `clears` says that Xero takes "" for nothing;
    without it an emptied field keeps what Xero has. `missing` is the cause that hints names
    where a required value is empty. `tracks`: its value is an option of a tracking category.
    """

    kind: TargetKind = TargetKind.LINE
    longest: int = 0
    required: bool = False
    sales_only: bool = False
    clears: bool = False
    missing: str = "required"
    tracks: bool = False

    def shaper(self, *, cut: bool) -> Callable[[Any], Any] | None:
        """The closure that makes a value as JSON has it, None for nothing; None for links.

        It may raise ValueFault.
        """
        longest = self.longest if cut else 0
        if self.kind is TargetKind.LINK:
            return None
        if self.kind is TargetKind.DATE:
            return _iso_day
        if self.kind is TargetKind.NUMBER:
            return _four_places
        inside = self.kind is TargetKind.LINE

        def text(value: Any) -> str | None:
            made = value if type(value) is str else plain_text(value)
            made = " ".join(made.split()) if inside else made.strip()
            if longest and len(made) > longest:
                made = made[:longest].rstrip()
            return made or None

        return text


def _iso_day(value: Any) -> str | None:
    day = as_day(value)
    return None if day is None else day.isoformat()


def _four_places(value: Any) -> Decimal:
    return plain(as_number(value).quantize(_UNIT, ROUND_HALF_UP))


def _texts(**longest: int) -> dict[str, Target]:
    return {name: Target(longest=length, clears=True) for name, length in longest.items()}


def _parts(*groups: str, **longest: int) -> dict[str, Target]:
    parts = _texts(**longest)
    return {f"{group}.{name}": target for group in groups for name, target in parts.items()}


#: Fields of each resource by dotted name, lengths from the OpenAPI schemas. What XTiger sets
#: itself (ids, ContactNumber, Type, Status, Url, LineAmountTypes) isn't among them.
#: Only free text is emptied by "": days, prices, numbers and codes of accounts, taxes and
#: currencies have no empty value that Xero is known to take. A side of an item that lost its
#: price is cleared by IsSold or IsPurchased being false (Xero: items page).
TARGETS: Mapping[Resource, Mapping[str, Target]] = {
    Resource.CONTACTS: {
        "Name": Target(longest=255, required=True, missing="name-missing"),
        **_texts(FirstName=255, LastName=255, EmailAddress=255, AccountNumber=50),
        **_texts(TaxNumber=50, CompanyNumber=50),
        **_parts(
            *(f"Phones.{kind}" for kind in ("DEFAULT", "DDI", "FAX", "MOBILE")),
            PhoneNumber=50,
            PhoneAreaCode=10,
            PhoneCountryCode=20,
        ),
        **_parts(
            *(f"Addresses.{kind}" for kind in ("POBOX", "STREET")),
            **{f"AddressLine{number}": 500 for number in range(1, 5)},
            City=255,
            Region=255,
            PostalCode=50,
            Country=50,
            AttentionTo=255,
        ),
    },
    Resource.ITEMS: {
        "Code": Target(longest=30, required=True, missing="code-missing"),
        "Name": Target(longest=50, clears=True),
        "Description": Target(TargetKind.TEXT, 4000, clears=True),
        "PurchaseDescription": Target(TargetKind.TEXT, 4000, clears=True),
        **{
            f"{side}.{name}": target
            for side in ("SalesDetails", "PurchaseDetails")
            for name, target in {
                "UnitPrice": Target(TargetKind.NUMBER),
                "AccountCode": Target(longest=10),
                "TaxType": Target(longest=50),
            }.items()
        },
    },
    Resource.INVOICES: {
        "InvoiceNumber": Target(longest=255),
        "Contact": Target(TargetKind.LINK, required=True, missing="contact-missing"),
        "Date": Target(TargetKind.DATE, missing="date-missing"),
        "DueDate": Target(TargetKind.DATE, missing="due-date-missing"),
        "Reference": Target(longest=255, sales_only=True, clears=True),
        "CurrencyCode": Target(longest=3),
    },
}

#: Fields of a line; amounts and taxes come from the money rules.
LINE_TARGETS: Mapping[str, Target] = {
    "Description": Target(TargetKind.TEXT, 4000),
    "ItemCode": Target(TargetKind.LINK, 30),
    "AccountCode": Target(longest=10, required=True, missing="account-missing"),
    "TaxType": Target(longest=50),
    # Xero takes two categories a line; which two they are, the mapping's rows say.
    "Tracking1": Target(longest=100, tracks=True),
    "Tracking2": Target(longest=100, tracks=True),
}


def long_fault(name: str, value: str, longest: int, label: str) -> Iterator[Fault]:
    """The fault of a text longer than Xero takes, if it is."""
    if len(value) > longest:
        short = label if len(label) <= 40 else label[:39] + "…"
        known = {"longest": f"{longest:,}", "length": f"{len(value):,}", "label": short or "it"}
        yield fault(name, "too-long", field=name, **known)


#: Lists whose members are told apart by their type, and the field that holds it.
TYPE_FIELDS: Mapping[str, str] = {"Phones": "PhoneType", "Addresses": "AddressType"}


def put(payload: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Sets a dotted field: `SalesDetails.UnitPrice`, or `Phones.DEFAULT.PhoneNumber` in a list."""
    if len(path) == 1:
        payload[path[0]] = value
    elif len(path) == 2:
        payload.setdefault(path[0], {})[path[1]] = value
    else:
        group, kind, name = path
        kind_field = TYPE_FIELDS[group]
        members: list[dict[str, Any]] = payload.setdefault(group, [])
        for member in members:
            if member[kind_field] == kind:
                member[name] = value
                return
        members.append({kind_field: kind, name: value})

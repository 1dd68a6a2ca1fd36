"""The shape of every answer, field by field, as learned from the local Xero and then kept.

`shapes.json` is a lock: a new field, a lost one or another kind of value in an answer is a fault
until somebody looks at the change and learns it (`XTIGER_LEARN_SHAPES=1 make test` widens the
lock by what the run saw; without the file it is made anew).
A shape belongs to a place: the envelope's word, then the fields on the way down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("shapes.json")

_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("id", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")),
    ("instant", re.compile(r"/Date\(-?\d{1,14}\+0000\)/")),
    ("instant bare", re.compile(r"/Date\(-?\d{1,14}\)/")),
    ("day", re.compile(r"\d{4}-\d\d-\d\dT00:00:00")),
    ("moment", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?")),
    ("address", re.compile(r"https?://\S+")),
)
#: Fields whose words are Xero's own, so that any other word is a fault.
_WORDS = re.compile(r"[A-Z][A-Z0-9/-]{1,40}")
_WORD_FIELDS = frozenset(
    {
        "Type",
        "Status",
        "ContactStatus",
        "LineAmountTypes",
        "PaymentType",
        "PhoneType",
        "AddressType",
        "Class",
        "BankAccountType",
        "SystemAccount",
        "ReportTaxType",
        "OrganisationRole",
        "CountryCode",
        "Version",
        "OrganisationType",
        "OrganisationStatus",
        "SalesTaxBasis",
        "SalesTaxPeriod",
        "Timezone",
        "OrganisationEntityType",
        "Edition",
        "StatusAttributeString",
    }
)


def kind(name: str, value: object) -> str:
    """What sort of value a field holds; for Xero's own words the word itself."""
    match value:
        case None:
            return "null"
        case bool():
            return "flag"
        case int() | Decimal():
            return "number"
        case dict():
            return "object"
        case list():
            return "list"
    text = str(value)
    if name in _WORD_FIELDS and _WORDS.fullmatch(text.upper()):
        return f"={text}"
    for found, pattern in _KINDS:
        if pattern.fullmatch(text):
            return found
    return "text"


def places(part: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object of an answer with its place."""
    if isinstance(part, list):
        for one in part:
            yield from places(one, place)
    elif isinstance(part, dict):
        yield place, part
        for name, value in part.items():
            if isinstance(value, dict | list):
                yield from places(value, f"{place}/{name}" if place else name)


def fields(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """An object's fields and what they hold; `name[]` is what a list holds."""
    for name, value in part.items():
        yield name, kind(name, value)
        if isinstance(value, list):
            for found in {kind(name, one) for one in value}:
                yield f"{name}[]", found


Shapes = dict[str, dict[str, Any]]


def learn(shapes: Shapes, answer: Mapping[str, Any], place: str) -> None:
    """Widens the shapes by one answer."""
    for where, part in places(answer, place):
        known = shapes.setdefault(where, {"seen": 0, "fields": {}})
        known["seen"] += 1
        for name, found in fields(part):
            field = known["fields"].setdefault(name, {"seen": 0, "kinds": []})
            field["seen"] += not name.endswith("[]")
            if found not in field["kinds"]:
                field["kinds"].append(found)


def kept(shapes: Shapes) -> Shapes:
    """As the lock keeps them: for each place its fields, `!` for those that are always there."""
    return {
        where: {
            ("!" if field["seen"] == known["seen"] else "") + name: sorted(field["kinds"])
            for name, field in sorted(known["fields"].items())
        }
        for where, known in sorted(shapes.items())
    }


def load() -> Shapes:
    """The lock, in the form in which it is asked."""
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    return {
        where: {
            name.lstrip("!"): {"always": name.startswith("!"), "kinds": set(kinds)}
            for name, kinds in fields.items()
        }
        for where, fields in found.items()
    }


def strange(shapes: Shapes, answer: Mapping[str, Any], place: str) -> list[str]:
    """Everything in an answer that the shapes don't know, one line each."""
    faults = []
    for where, part in places(answer, place):
        known = shapes.get(where)
        if known is None:
            faults.append(f"{where}: nobody has seen such an object")
            continue
        for name, found in fields(part):
            if name not in known:
                faults.append(f"{where}: {name} is new")
                continue
            kinds = known[name]["kinds"]
            word = found.startswith("=") and ("text" in kinds or where.startswith("refused"))
            if found not in kinds and not word:
                faults.append(f"{where}/{name}: {found} instead of {' or '.join(sorted(kinds))}")
        faults += [
            f"{where}: {name} is missing"
            for name, field in known.items()
            if field["always"] and name not in part
        ]
    return faults


def save(shapes: Shapes) -> None:
    """Widens the lock: what it knew stays, and only what was always there in both is a must."""
    found, before = kept(shapes), load()
    for where, known in before.items():
        fields = {name.lstrip("!"): (name, kinds) for name, kinds in found.get(where, {}).items()}
        merged = {}
        for name in sorted(known.keys() | fields.keys()):
            told, kinds = fields.get(name, (name, []))
            always = told.startswith("!") or where not in found
            if name in known:
                always = always and known[name]["always"]
                kinds = sorted(known[name]["kinds"] | set(kinds))
            else:
                always = False
            merged[("!" if always else "") + name] = kinds
        found[where] = merged
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")

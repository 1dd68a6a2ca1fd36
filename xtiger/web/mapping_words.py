"""A mapping in words: its transforms, its rows, and what two versions have otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xtiger.domain.defaults import Difference, Overwrite, Row, TooLong
from xtiger.domain.transforms import REGISTRY, as_text
from xtiger.engine.mapping.mappings import Bench

#: Transforms by what people call them.
HOWS: Mapping[str, str] = {
    "default": "first that isn't empty",
    "concat": "joined",
    "lookup": "looked up in a table",
    "date": "day, plus days",
    "text": "trimmed, cased or cut",
    "phone": "phone number",
    "country": "country",
    "keep": "only digits or letters",
    "part": "one part of it",
    "replace": "text replaced",
    "number": "number, scaled or rounded",
    "yes_no": "yes or no",
    "when": "if … then … else",
    "formula": "formula",
}
#: What the money rules read, in words, and whether it is a field of a line.
MONEY: Mapping[str, tuple[str, bool]] = {
    "quantity": ("Quantity of a line", True),
    "unit_price": ("Price of a line", True),
    "discount": ("Discount of a line, %", True),
    "tax_rate": ("Tax, %", True),
    "subtotal": ("Total without tax", False),
    "total": ("Total", False),
    "amounts": ("Amounts are with or without tax", False),
    "discount_amount": ("Discount of a line, as an amount", True),
    "tax_mode": ("Tax is counted once a rate or on each line", False),
    "header_discount": ("Discount on all, %", False),
    "header_discount_amount": ("Discount on all, as an amount", False),
    "taxes": ("Several taxes of a line, a list", True),
    "charges": ("Charges, a list", False),
    "adjustment": ("Adjustment", False),
    "withheld": ("Tax withheld", False),
    "discount_account": ("Account of discounts on all", False),
    "charge_account": ("Account of charges", False),
    "adjustment_account": ("Account of adjustments", False),
    "withheld_account": ("Account of withheld tax", False),
    "rounding_account": ("Account of rounding", False),
    "rounding_limit": ("Most that rounding may be", False),
    "decimals": ("Decimal places the CRM rounds to", False),
}
#: What an account's choice says where none is chosen.
NO_ACCOUNT: Mapping[str, str] = {
    "discount_account": "that of the lines it lowers",
    "charge_account": "that of a line without a product",
    "adjustment_account": "that of a line without a product",
    "withheld_account": "none: such documents aren't sent",
    "rounding_account": "the one that Xero itself rounds to",
}
#: How large a line “Rounding” may be.
LIMITS: Mapping[str, str] = {
    "0": "0.00: such documents aren't sent",
    "0.01": "0.01",
    "0.02": "0.02",
    "0.05": "0.05, as a rule",
    "0.10": "0.10",
    "0.50": "0.50",
    "1": "1.00",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """One difference in words; an empty side has nothing there."""

    where: str
    to: str
    before: str
    after: str


def changed(on: Bench, found: Sequence[Difference]) -> tuple[Changed, ...]:
    """Differences in words."""
    titles = {"fields": "", "lines": "Line: ", "money": "", "taxes": "Tax "}
    return tuple(
        Changed(
            one.where,
            titles[one.where] + _name(one),
            _side(on, one, one.before),
            _side(on, one, one.after),
        )
        for one in found
    )


def _name(one: Difference) -> str:
    if one.where == "money":
        return MONEY.get(one.to, (one.to, False))[0]
    return f"{one.to} %" if one.where == "taxes" else one.to


def _side(on: Bench, one: Difference, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Row):
        return row_words(on, value)
    return _field(on, str(value)) if one.where == "money" else str(value)


def row_words(on: Bench, row: Row) -> str:
    """A row's source and all of its settings in one line."""
    said = [words(on, row.source.to_json())]
    if row.required:
        said.append("required")
    if row.too_long is TooLong.CUT:
        said.append("cut if too long")
    if row.overwrite is Overwrite.BLANK:
        said.append("only while empty in Xero")
    if row.overwrite is Overwrite.NEVER:
        said.append("only when created")
    if row.category:
        said.append(f"an option of {row.category}")
    return " · ".join(said)


def words(on: Bench, data: Mapping[str, Any], *, inside: bool = False) -> str:
    """A transform's JSON as people read it: Branch, looked up in a table (AKL = 200)."""
    name = data["transform"]
    if name == "field":
        return _field(on, data["field"])
    if name == "constant":
        return f"“{as_text(data['value'])}”"
    inner: list[str] = []
    settings: list[str] = []
    for each in REGISTRY[name].parameters():
        value = data.get(each.name)
        if value is None:
            continue
        if each.kind == "transform":
            if each.name == "of":
                inner.append(words(on, value, inside=True))
            else:
                settings.append(f"{each.label.lower()}: {words(on, value, inside=True)}")
        elif each.kind == "transforms":
            inner += [words(on, one, inside=True) for one in value]
        elif each.kind == "table":
            settings += [f"{key or 'empty'} = {to or 'empty'}" for key, to in value.items()]
        elif each.kind == "formula":
            settings.append(str(value))
        elif each.kind == "text":
            settings.append(f"{each.label.lower()}: “{value}”")
        else:
            settings.append(f"{each.label.lower()}: {as_text(value)}")
    how = HOWS.get(name, name)
    said = f"{', '.join(inner)}, {how}" if inner else how
    said = f"{said} ({'; '.join(settings)})" if settings else said
    return f"[{said}]" if inside else said


def _field(on: Bench, name: str) -> str:
    known = {one.name: one.label for one in (*on.info.line_fields, *on.info.fields)}
    link, dot, inner = name.partition(".")
    if not dot:
        return known.get(name, name)
    of_link = next(
        (
            one.label
            for info in on.modules.values()
            for one in info.fields
            if one.name == inner and link.startswith(info.module.singular)
        ),
        inner.replace("_", " "),
    )
    return f"{known.get(link, link)}: {of_link}"

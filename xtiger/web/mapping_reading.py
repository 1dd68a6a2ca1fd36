"""The mapping page's entries read: a template out of them, faults and results put to their rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from xtiger.domain import exactjson
from xtiger.domain.defaults import MappingTemplate, MoneyFields, Row
from xtiger.domain.records import Module
from xtiger.domain.transforms import REGISTRY, Parameter, TemplateFault
from xtiger.engine.mapping.checks import Problem
from xtiger.engine.mapping.mappings import Bench, Results
from xtiger.web.mapping_form import FIXED, KEPT, NOTHING, Draft, Node, RowForm, is_own, label
from xtiger.web.mapping_words import words
from xtiger.web.words import say


def read(on: Bench, draft: Draft) -> MappingTemplate | None:
    """The template that the entries make; faults are noted at their rows, and then it is None."""
    rows: dict[str, list[Row]] = {"fields": [], "lines": []}
    for row in draft.rows:
        try:
            made = read_row(row)
        except TemplateFault as wrong:
            row.faults.append(wrong.sentence)
            continue
        if made is not None:
            rows[row.where].append(made)
    taxes = _read_taxes(draft)
    if draft.faults or any(row.faults for row in draft.rows):
        return None
    return MappingTemplate(
        on.place.module,
        on.place.document_type,
        fields=tuple(rows["fields"]),
        lines=tuple(rows["lines"]),
        money=MoneyFields(**draft.money),
        tax_types=taxes,
    )


def readable_rows(draft: Draft) -> dict[str, list[Row]]:
    """The rows that can be read, for their results; the others show their fault."""
    rows: dict[str, list[Row]] = {"fields": [], "lines": []}
    for row in draft.rows:
        try:
            made = read_row(row)
        except TemplateFault as wrong:
            if wrong.sentence not in row.faults:
                row.faults.append(wrong.sentence)
            continue
        if made is not None:
            rows[row.where].append(made)
    return rows


def settled(draft: Draft) -> MappingTemplate:
    """The money fields and tax rates as far as they can be read."""
    taxes = {}
    for rate, name in draft.taxes:
        try:
            percent = Decimal(rate.strip().removesuffix("%").strip())
        except InvalidOperation:
            continue
        if percent.is_finite() and 0 <= percent <= 100:
            taxes[percent] = name.strip()
    return MappingTemplate(Module.CONTACTS, money=MoneyFields(**draft.money), tax_types=taxes)


def read_row(row: RowForm) -> Row | None:
    """The row of a Xero field, None where it isn't sent. Raises TemplateFault."""
    source = _read_node(row.node)
    if source is None:
        return None
    if row.empty:
        constant = {"transform": "constant", "value": row.empty}
        source = {"transform": "default", "of": [source, constant]}
    data = {
        "to": row.to,
        "from": source,
        "required": row.required,
        "too_long": "cut" if row.cut else "fault",
        "overwrite": row.overwrite,
        "category": row.category,
    }
    return Row.from_json(data)


def _read_node(node: Node) -> dict[str, Any] | None:
    """The JSON of a node, None for nothing. Raises TemplateFault."""
    if node.src == NOTHING:
        return None
    leaf: dict[str, Any] | None = None
    if node.src == KEPT:
        try:
            kept: dict[str, Any] = exactjson.loads(node.fixed)
        except (ValueError, RecursionError):
            raise TemplateFault(say("mapping.several.none")) from None
        return kept
    if node.src == FIXED:
        leaf = {"transform": "constant", "value": node.fixed}
    elif node.src.startswith("field:"):
        leaf = {"transform": "field", "field": node.src.removeprefix("field:")}
    if not node.how:
        if leaf is None:
            raise TemplateFault(say("mapping.several.none"))
        return leaf
    data: dict[str, Any] = {"transform": node.how}
    for each in REGISTRY[node.how].parameters():
        if is_own(each) and leaf is not None:
            data[each.name] = leaf
            continue
        value = _read_setting(each, node.settings.get(each.name))
        if value is None and each.default is None:
            raise TemplateFault(say("mapping.setting.none", label=each.label))
        if value is not None:
            data[each.name] = value
    return data


def _read_setting(parameter: Parameter, value: Any) -> Any:
    """A setting as JSON has it, None for nothing. Raises TemplateFault."""
    if parameter.kind == "transform":
        return _read_node(value) if isinstance(value, Node) else None
    if parameter.kind == "transforms":
        return [one for node in value or () if (one := _read_node(node)) is not None] or None
    if parameter.kind == "table":
        keys = [key for key, _ in value or ()]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise TemplateFault(say("mapping.table.twice", value=twice))
        return dict(value or ()) or None
    text = value or ""
    if parameter.kind in ("whole number", "number"):
        return _number(text.strip(), parameter.kind)
    if parameter.kind == "yes/no":
        return text == "yes"
    if parameter.kind in ("choice", "field", "formula"):
        return text.strip() or None
    return text if text or parameter.default is not None or parameter.kind == "constant" else None


def _number(text: str, kind: str) -> int | Decimal | None:
    if not text:
        return None
    if kind == "whole number":
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
            raise TemplateFault(say("form.whole", value=text[:40]))
        return int(text)
    try:
        return Decimal(text)
    except InvalidOperation:
        raise TemplateFault(say("form.number", value=text[:40])) from None


def _read_taxes(draft: Draft) -> dict[Decimal, str]:
    found: dict[Decimal, str] = {}
    for rate, name in draft.taxes:
        try:
            percent = Decimal(rate.strip().removesuffix("%").strip())
            if not 0 <= percent <= 100:
                raise InvalidOperation
        except InvalidOperation:
            draft.faults.append(say("form.number", value=rate[:40]))
            continue
        found[percent] = name.strip()
    return found


def note(draft: Draft, found: Sequence[Problem]) -> None:
    """Puts problems to their rows; those of no row stand at the top."""
    by_row = {(row.where, row.to): row for row in draft.rows}
    for each in found:
        row = by_row.get((each.where, each.to))
        if row is not None:
            missing = row.target.required and not row.sent
            row.faults.append(say("mapping.required") if missing else each.sentence)
        else:
            draft.faults.append(each.sentence)


def show(on: Bench, draft: Draft, results: Results) -> None:
    """Puts results and words to their rows."""
    for row in draft.rows:
        row.result = results.get((row.where, row.to))
        with suppress(TemplateFault):
            made = read_row(row) if row.node.how else None
            row.summary = words(on, made.source.to_json()) if made else ""


def unread(on: Bench, draft: Draft) -> list[tuple[str, str]]:
    """(CRM field, its name) of the fields that nothing reads: of the record, then its lines."""
    rows = readable_rows(draft)
    money = set(draft.money.values())
    found = []
    for where, known in (("fields", on.info.fields), ("lines", on.info.line_fields)):
        names = {name.partition(".")[0] for row in rows[where] for name in row.source.reads()}
        found += [
            (label(one) if where == "fields" else f"Line: {label(one)}", one.name)
            for one in known
            if one.name not in names | money
        ]
    return found

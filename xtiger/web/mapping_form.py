"""The mapping page's form: rows of a template as inputs, and inputs as rows again.

Every value a row makes is a node: a source (a CRM field, a fixed value, or several) and a
transform with its settings, among which may be further nodes. A node's inputs are named by its
path, `fields:DueDate` or `fields:Name|parts|1`; what a transform asks for comes from its own
`parameters()`, so a new one needs nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from werkzeug.datastructures import MultiDict

from xtiger.domain import exactjson
from xtiger.domain.defaults import MappingTemplate, MoneyFields, Overwrite, Row, TooLong
from xtiger.domain.facts import folded
from xtiger.domain.records import DOCUMENTS, DocumentType, FieldKind, ModuleInfo
from xtiger.domain.records import Field as CrmField
from xtiger.domain.targets import LINE_TARGETS, TARGETS, Target
from xtiger.domain.transforms import REGISTRY, Parameter, as_text
from xtiger.engine.mapping.mappings import Bench, Result, linked_modules
from xtiger.web.words import say

#: Sources that are no field: nothing, one value for all, and whatever the transform puts together.
NOTHING, FIXED, MADE = "", "fixed", "made"
#: What lies too deep to be drawn: it is carried as JSON.
KEPT = "kept"
#: Nodes inside nodes that a page draws.
DEEPEST = 6
#: Empty pairs and parts that a form offers beside the filled ones.
_SPARE_PAIRS, _FIRST_PARTS = 2, 2
_MOST_PARTS = 200

Form = MultiDict[str, str]


@dataclass(slots=True)
class Node:
    """One value: where it comes from and what happens to it."""

    path: str
    src: str = NOTHING
    fixed: str = ""
    how: str = ""
    #: Its transform was chosen just now: nobody has seen its settings yet.
    fresh: bool = False
    #: By parameter: text, a Node, a list of Nodes, or a list of pairs.
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def ident(self) -> str:
        """The path as an id of HTML."""
        return "".join(one if one.isalnum() else "-" for one in self.path)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What its transform asks for, besides the value that it works on."""
        if not self.how:
            return ()
        return tuple(
            one for one in REGISTRY[self.how].parameters() if not (is_own(one) and self.src != MADE)
        )

    @property
    def help(self) -> str:
        """One sentence on its transform."""
        return REGISTRY[self.how].help if self.how else ""


@dataclass(slots=True)
class RowForm:
    """One Xero field with its inputs, its result and what is wrong with it."""

    where: str
    to: str
    target: Target
    node: Node
    empty: str = ""
    cut: bool = False
    required: bool = False
    overwrite: str = Overwrite.ALWAYS.value
    #: The tracking category that its value is an option of.
    category: str = ""
    proposed: bool = False
    faults: list[str] = field(default_factory=list)
    result: Result | None = None
    #: Its source and transform with all settings, in words.
    summary: str = ""

    @property
    def sent(self) -> bool:
        """Whether it has a value."""
        return self.node.src != NOTHING

    @property
    def shown(self) -> bool:
        """Whether it stands among the mapped ones: it has a value, or needs one."""
        return self.sent or self.target.required or bool(self.faults)

    @property
    def more(self) -> str:
        """What is set behind “More”, in a few words."""
        said = [f"if empty “{self.empty}”"] if self.empty else []
        said += ["cut if too long"] if self.cut else []
        said += {"blank": ["only while empty in Xero"], "never": ["only when created"]}.get(
            self.overwrite, []
        )
        return ", ".join(said)


@dataclass(slots=True)
class Draft:
    """All entries of the page, saved or not."""

    seen: int
    rows: list[RowForm]
    money: dict[str, str]
    #: Percentage and TaxType as typed.
    taxes: list[tuple[str, str]]
    #: What to show results for, and the ids of the records to test.
    record: str = ""
    chosen: list[str] = field(default_factory=list)
    #: Tests that an import brought, as the JSON they came in.
    carried: str = ""
    #: Faults of no row.
    faults: list[str] = field(default_factory=list)

    def of(self, where: str) -> list[RowForm]:
        """The rows of "fields" or "lines"."""
        return [row for row in self.rows if row.where == where]

    @property
    def has_lines(self) -> bool:
        """Whether lines are mapped too."""
        return any(row.where == "lines" for row in self.rows)


def targets_of(on: Bench, where: str) -> Mapping[str, Target]:
    """The Xero fields that rows of "fields" or "lines" may fill."""
    if where == "fields":
        return TARGETS[on.resource]
    return LINE_TARGETS if on.place.module in DOCUMENTS else {}


# -- from a template --------------------------------------------------------------------------


def draft_of(on: Bench, template: MappingTemplate, *, seen: int) -> Draft:
    """A template's entries, with a row for every Xero field."""
    rows = []
    bill = on.place.document_type is DocumentType.BILL
    for where, mapped in (("fields", template.fields), ("lines", template.lines)):
        by_target = {row.to: row for row in mapped}
        for to, target in targets_of(on, where).items():
            if to in by_target or not (bill and target.sales_only):
                rows.append(row_form(where, to, target, by_target.get(to)))
    money = {one.name: getattr(template.money, one.name) for one in fields(MoneyFields)}
    taxes = [(as_text(rate), name) for rate, name in template.tax_types.items()]
    return Draft(seen, rows, money, taxes)


def row_form(where: str, to: str, target: Target, row: Row | None) -> RowForm:
    """A row's inputs; those of None are empty."""
    path = f"{where}:{to}"
    if row is None:
        return RowForm(where, to, target, Node(path))
    data, empty = row.source.to_json(), ""
    # A first choice with one fixed value behind it is shown as that value "if empty".
    parts = data.get("of") if data["transform"] == "default" else None
    if parts and len(parts) == 2 and parts[1]["transform"] == "constant":
        data, empty = parts[0], as_text(parts[1]["value"])
    return RowForm(
        where,
        to,
        target,
        _node_of(path, data),
        empty=empty,
        cut=row.too_long is TooLong.CUT,
        required=row.required,
        overwrite=row.overwrite.value,
        category=row.category,
    )


def _node_of(path: str, data: Mapping[str, Any], depth: int = 1) -> Node:
    name = data["transform"]
    if depth > DEEPEST:
        return Node(path, src=KEPT, fixed=exactjson.dumps(data).decode())
    if name == "field":
        return Node(path, src=f"field:{data['field']}")
    if name == "constant":
        return Node(path, src=FIXED, fixed=as_text(data["value"]))
    node = Node(path, src=MADE, how=name)
    for each in REGISTRY[name].parameters():
        value = data.get(each.name, each.default)
        inside = f"{path}|{each.name}"
        if each.kind == "transform":
            inner = _node_of(inside, value, depth + 1) if value else Node(inside)
            if is_own(each) and not inner.how and inner.src not in (NOTHING, KEPT):
                node.src, node.fixed, inner = inner.src, inner.fixed, Node(inside)
            node.settings[each.name] = inner
        elif each.kind == "transforms":
            node.settings[each.name] = [
                _node_of(f"{inside}|{place}", one, depth + 1)
                for place, one in enumerate(value or ())
            ]
        elif each.kind == "table":
            node.settings[each.name] = list((value or {}).items())
        else:
            node.settings[each.name] = as_text(value)
    return node


def is_own(parameter: Parameter) -> bool:
    """Whether a parameter is the value that its transform works on."""
    return parameter.kind == "transform" and parameter.name == "of"


# -- from a form ------------------------------------------------------------------------------


def draft_from(on: Bench, form: Form) -> Draft:
    """What a person entered; nothing of it is judged yet."""
    bill = on.place.document_type is DocumentType.BILL
    rows = []
    for where in ("fields", "lines"):
        for to, target in targets_of(on, where).items():
            path = f"{where}:{to}"
            if f"{path}|src" not in form and bill and target.sales_only:
                continue
            node = _node_from(path, form)
            rows.append(
                RowForm(
                    where,
                    to,
                    target,
                    node,
                    empty=_text(form, f"{path}|empty").strip(),
                    cut=_text(form, f"{path}|cut") == "cut",
                    required=f"{path}|required" in form,
                    overwrite=_text(form, f"{path}|overwrite") or Overwrite.ALWAYS.value,
                    category=_text(form, f"{path}|category") if target.tracks else "",
                    proposed=f"{path}|proposed" in form and bool(node.src),
                )
            )
    money = {
        one.name: _text(form, f"money|{one.name}") or str(one.default)
        for one in fields(MoneyFields)
    }
    rates = [_clean(one) for one in form.getlist("tax|rate")]
    names = [_clean(one) for one in form.getlist("tax|name")]
    return Draft(
        int(seen) if (seen := _text(form, "seen")).isdecimal() and len(seen) < 10 else 0,
        rows,
        money,
        [(rate, name) for rate, name in zip(rates, names, strict=False) if rate and name],
        record=_text(form, "record").strip(),
        chosen=list(dict.fromkeys(form.getlist("on"))),
        carried=_text(form, "carried"),
    )


def _node_from(path: str, form: Form, depth: int = 1) -> Node:
    node = Node(path, _text(form, f"{path}|src"), _text(form, f"{path}|fixed"))
    how = _text(form, f"{path}|how")
    before, was = _text(form, f"{path}|how_was"), _text(form, f"{path}|src_was")
    if how not in REGISTRY or depth > DEEPEST or node.src == KEPT or (not node.src and was):
        return node
    asked = REGISTRY[how].parameters()
    node.how, node.fresh = how, before != how
    for each in asked:
        inside = f"{path}|{each.name}"
        known = before == how
        if each.kind == "transform":
            node.settings[each.name] = _node_from(inside, form, depth + 1)
        elif each.kind == "transforms":
            node.settings[each.name] = _nodes_from(inside, form, depth + 1)
        elif each.kind == "table":
            keys, values = form.getlist(f"{inside}|key"), form.getlist(f"{inside}|value")
            pairs = [(_clean(k), _clean(v)) for k, v in zip(keys, values, strict=False)]
            node.settings[each.name] = [pair for pair in pairs if any(pair)]
        else:
            default = as_text(each.default)
            node.settings[each.name] = _text(form, inside) if known else default
    if not any(is_own(each) for each in asked):
        _gather(node, asked)
    return node


def _gather(node: Node, asked: Sequence[Parameter]) -> None:
    """A transform that puts values together takes a source chosen before as its first one."""
    leaf = replace(node, how="", settings={}) if node.src not in (NOTHING, MADE) else None
    node.src, node.fixed = MADE, ""
    if leaf is None:
        return
    for one in asked:
        inside, value = f"{node.path}|{one.name}", node.settings[one.name]
        if one.kind == "transforms" and not value:
            leaf.path = f"{inside}|0"
            node.settings[one.name] = [leaf]
            return
        if one.kind == "transform" and not value.src:
            leaf.path = inside
            node.settings[one.name] = leaf
            return


def _nodes_from(path: str, form: Form, depth: int) -> list[Node]:
    count = _text(form, f"{path}|count")
    most = min(int(count), _MOST_PARTS) if count.isdecimal() and len(count) < 5 else 0
    found = [_node_from(f"{path}|{place}", form, depth) for place in range(most)]
    kept = [one for one in found if one.src]
    for place, node in enumerate(kept):
        _move(node, f"{path}|{place}")
    return kept


def _move(node: Node, path: str) -> None:
    """Gives a node another path, and its inner ones with it."""
    old, node.path = node.path, path
    if old == path:
        return
    for name, value in node.settings.items():
        if isinstance(value, Node):
            _move(value, f"{path}|{name}")
        elif value and isinstance(value, list) and isinstance(value[0], Node):
            for place, inner in enumerate(value):
                _move(inner, f"{path}|{name}|{place}")


def _text(form: Form, name: str) -> str:
    return _clean(form.get(name, ""))


def _clean(text: str) -> str:
    """A text without the character that no database keeps."""
    return text.replace("\0", "").replace("\r\n", "\n")


# -- what a form offers -----------------------------------------------------------------------

#: A group of choices: its title, and (value, words) for each.
Group = tuple[str, list[tuple[str, str]]]


def sources(on: Bench, where: str) -> list[Group]:
    """The CRM fields a row may take, those of linked records behind."""
    own = on.info.fields if where == "fields" else on.info.line_fields
    title = say(
        "mapping.fields.of" if where == "fields" else "mapping.fields.line",
        what=on.place.module.singular.capitalize(),
    )
    # Only amounts are counted from lists: no Xero field takes one.
    plain = [one for one in own if one.kind is not FieldKind.LIST]
    groups: list[Group] = [(title, [(f"field:{one.name}", label(one)) for one in plain])]
    for link in own:
        if link.kind is not FieldKind.LINK:
            continue
        found = [on.modules[one] for one in linked_modules(link, on.modules)]
        if found:
            groups.append((f"{link.label}: its own fields", _linked(link, found)))
    return groups


def _linked(link: CrmField, found: Sequence[ModuleInfo]) -> list[tuple[str, str]]:
    """The fields of all the modules that a link may lead to, each name once."""
    fields = {one.name: one for info in reversed(found) for one in info.fields}
    named = dict.fromkeys(one.name for info in found for one in info.fields)
    return [
        (f"field:{link.name}.{name}", f"{link.label}: {label(fields[name])}")
        for name in named
        if fields[name].kind not in (FieldKind.LINK, FieldKind.LIST)
    ]


def categories(on: Bench, chosen: str) -> list[tuple[str, str]]:
    """The tracking categories that a row may be of; one that Xero hasn't is still shown."""
    names = [each.name for each in on.facts.categories.values()]
    found = [("", say("mapping.category.none")), *((name, name) for name in names)]
    known = {folded(name): name for name in names}
    if chosen and known.get(folded(chosen)) != chosen:
        found.append((chosen, say("mapping.category.gone", name=chosen)))
    return found


def label(one: CrmField) -> str:
    """A field as people call it; their own ones are marked."""
    return f"{one.label} (custom)" if one.custom else one.label


def spare_pairs(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """A table's pairs, and empty ones to fill in."""
    return [*pairs, *[("", "")] * _SPARE_PAIRS]


def spare_parts(node: Node, name: str) -> list[Node]:
    """A list's nodes, and empty ones to fill in."""
    parts = list(node.settings.get(name) or ())
    room = max(1, _FIRST_PARTS - len(parts))
    return parts + [
        Node(f"{node.path}|{name}|{place}") for place in range(len(parts), len(parts) + room)
    ]

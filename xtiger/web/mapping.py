"""Mapping: where each Xero field's value comes from, as the templates in use have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import abort, redirect, url_for

from xtiger.domain.defaults import MappingTemplate, Row
from xtiger.domain.preflight import LINE_TARGETS, TARGETS, Target
from xtiger.domain.records import DOCUMENTS, DocumentType, Module, ModuleInfo
from xtiger.domain.resources import RESOURCE_OF
from xtiger.domain.transforms import Constant, Field, TemplateFault, Transform, as_text
from xtiger.store import profiles
from xtiger.store.models import Template
from xtiger.web.access import needs
from xtiger.web.actions import module_of
from xtiger.web.frame import load, page, xt
from xtiger.web.routes import Routes

routes = Routes()

#: Transforms by what people call them here.
STEPS: Mapping[str, str] = {
    "default": "first that isn't empty",
    "concat": "joined",
    "lookup": "looked up",
    "date": "as a day",
    "text": "as text",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One row: the Xero field and the steps of its value in words."""

    target: str
    required: bool
    source: str
    transform: str


@dataclass(frozen=True, slots=True)
class Table:
    """One template in use."""

    kind: str
    template: Template
    rows: tuple[Shown, ...]
    line_rows: tuple[Shown, ...]
    fault: str | None = None


@routes.get("/mapping")
@needs("setup")
def mapping() -> Any:
    """The first organisation's invoices, or the page that says what is missing."""
    with xt().services.database.read() as session:
        frame = load(session)
    first = frame.chosen or (frame.organisations[0] if frame.organisations else None)
    if first is not None:
        return redirect(
            url_for("xtiger.mapping_of", org=first.id, module=Module.INVOICES.value), 302
        )
    return page("xtiger/mapping.html", organisation=None, tables=[], module=Module.INVOICES)


@routes.get("/mapping/<int:org>/<module>")
@needs("setup")
def mapping_of(org: int, module: str) -> Any:
    """The templates in use for one module of one organisation."""
    chosen = module_of(module)
    info = xt().services.crm.modules().get(chosen)
    with xt().services.database.read() as session:
        frame = load(session)
        organisation = frame.organisation(org)
        if organisation is None:
            abort(404)
        kinds: list[DocumentType | None] = list(DocumentType) if chosen in DOCUMENTS else [None]
        found = [(kind, profiles.template(session, org, chosen, kind)) for kind in kinds]
    return page(
        "xtiger/mapping.html",
        organisation=organisation,
        module=chosen,
        modules=list(Module),
        tables=[_table(kind, row, info) for kind, row in found if row is not None],
    )


def _table(kind: DocumentType | None, row: Template, info: ModuleInfo | None) -> Table:
    try:
        template = MappingTemplate.from_json(row.body)
    except TemplateFault as wrong:
        return Table(kind.value if kind else "", row, (), (), wrong.sentence)
    fields = {field.name: field.label for field in (info.fields if info else ())}
    line_fields = {field.name: field.label for field in (info.line_fields if info else ())}
    return Table(
        kind.value if kind else "",
        row,
        tuple(
            _shown(each, fields, TARGETS[RESOURCE_OF[template.module]]) for each in template.fields
        ),
        tuple(_shown(each, line_fields, LINE_TARGETS) for each in template.lines),
    )


def _shown(row: Row, labels: Mapping[str, str], targets: Mapping[str, Target]) -> Shown:
    target = targets.get(row.to)
    return Shown(
        target=row.to,
        required=row.required or bool(target and target.required),
        source=" · ".join(_sources(row.source, labels)) or "–",
        transform=", ".join(dict.fromkeys(_steps(row.source))) or "–",
    )


def _sources(source: Transform, labels: Mapping[str, str]) -> list[str]:
    """The fields and fixed values a transform draws on, as people call them."""
    if isinstance(source, Constant):
        return [f"“{as_text(source.value)}”"]
    if isinstance(source, Field):
        link, dot, name = source.field.partition(".")
        label = labels.get(link, link)
        return [f"{label}: {name.replace('_', ' ')}" if dot else label]
    return [found for part in source.inner() for found in _sources(part, labels)]


def _steps(source: Transform) -> list[str]:
    """What happens to the value; a plain field or fixed value is no step."""
    own = [] if isinstance(source, Constant | Field) else [STEPS.get(source.name, source.name)]
    return own + [step for part in source.inner() for step in _steps(part)]

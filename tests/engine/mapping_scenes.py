"""What the tests of mappings share: templates changed by a row, benches, records to try."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.conftest import Engine
from xtiger.domain.defaults import MappingTemplate, Row
from xtiger.domain.records import DocumentType, Module, Record
from xtiger.domain.targets import LINE_TARGETS
from xtiger.engine.mapping import mappings
from xtiger.engine.mapping.mappings import Bench, Subject
from xtiger.store.templates import Place

INVOICE = DocumentType.INVOICE


def field(name: str) -> dict[str, Any]:
    return {"transform": "field", "field": name}


def constant(value: str) -> dict[str, Any]:
    return {"transform": "constant", "value": value}


def changed(template: MappingTemplate, to: str, source: dict[str, Any] | None, **how: Any) -> Any:
    """The template with one row of its fields, or of its lines, made anew; None takes it out."""
    made = [] if source is None else [Row.from_json({"to": to, "from": source, **how})]
    part = "lines" if to in LINE_TARGETS else "fields"
    rows = [row for row in getattr(template, part) if row.to != to]
    return replace(template, **{part: tuple(rows + made)})


def bench(engine: Engine, organisation: int, module: Module = Module.INVOICES) -> Bench:
    kind = INVOICE if module is Module.INVOICES else None
    return mappings.bench(engine.services, Place(organisation, module, kind))


def in_use(on: Bench) -> MappingTemplate:
    assert on.latest
    return MappingTemplate.from_json(on.latest.body)


def subject_of(engine: Engine, on: Bench, record: Record) -> Subject:
    return mappings.subjects(engine.services, on, [record])[0]


def newest(engine: Engine, on: Bench) -> Subject:
    return subject_of(engine, on, mappings.records_here(engine.services, on)[0])


def results(on: Bench, subject: Subject, template: MappingTemplate) -> dict[str, mappings.Result]:
    found = mappings.results(on, subject, {"fields": template.fields, "lines": template.lines})
    return {to: one for (_, to), one in found.items()}

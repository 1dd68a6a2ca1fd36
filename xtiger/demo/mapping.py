"""`--scenario mapping`: a template is changed, tested and saved; only what it changes is sent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from xtiger.crm.builtin import Invoice
from xtiger.demo.instance import Instance
from xtiger.demo.samples import seed
from xtiger.demo.stage import Figures, Stage
from xtiger.domain.defaults import MappingTemplate, Row
from xtiger.domain.records import DocumentType, Module, RecordRef
from xtiger.domain.transforms import Constant, Default, Field
from xtiger.engine.mapping import kept_tests, mappings, trials, versions
from xtiger.engine.mapping.mappings import Bench
from xtiger.store.models import LogEntry, Organisation
from xtiger.store.templates import Place

#: What an invoice without a reference of its own gets by the new template.
_MARK = "No order"


def mapping(instance: Instance, records: int) -> tuple[Figures, bool]:
    """Invoices of one organisation, a third of them without a reference, all in Xero.

    A new template gives those one. It is tested and saved, another one is refused by the kept
    test; the next Sync sends exactly the invoices whose payload changed and calls for no other. A
    third version, by which no payload changes, sends nothing.
    """
    stage = Stage(instance)
    refs: list[RecordRef] = []
    stage.edit(lambda session: refs.extend(_invoices(session, records)))
    stage.open()
    stage.tick(refs, DocumentType.INVOICE)
    stage.sync()
    on = _bench(stage)
    old = versions.read_version(_used(on))
    new = _with_reference(old, Default((Field("reference"), Constant(_MARK))))
    subject = mappings.subjects(
        instance.services, on, [instance.services.crm.fetch_many(refs[:1])[refs[0]]]
    )[0]
    trial = trials.trial(instance.services, on, new, subject)
    change = trials.would_change(instance.services, on, new, most=len(refs) + 1)
    test = versions.Carried(
        "The first invoice", kept_tests.sample_of(subject), {"Reference": _MARK}
    )
    saved = versions.save(instance.services, on, new, seen=on.seen, who="Ana", carried=[test])
    refused = _refuses(stage, _with_reference(new, Constant("Another")))
    there = _synced(stage)
    back = versions.save(
        instance.services,
        _bench(stage),
        _with_reference(old, Default((Field("reference"), Constant(_MARK), Constant("-")))),
        seen=saved.version,
        who="Ana",
    )
    same = _synced(stage)
    wanted = len([ref for ref in refs if ref in _blank(stage, refs)])
    figures: Figures = {
        "scenario": "mapping",
        "in_xero": len(refs),
        "tested": [trial.action, f'"Reference": "{_MARK}"' in trial.request],
        "said_it_would_change": len(change.refs),
        "sent": there["succeeded"],
        "unchanged": there["unchanged"],
        "write_calls": there["calls"],
        "minimum_write_calls": math.ceil(wanted / 50),
        "refused_by_the_kept_test": refused,
        "sent_after_a_template_that_changes_nothing": same["succeeded"],
        "versions": back.version,
    }
    holds = (
        figures["tested"] == ["update", True]
        and len(change.refs) == there["succeeded"] == wanted
        and there["unchanged"] == len(refs) - wanted
        and there["calls"] == figures["minimum_write_calls"]
        and not there["failed"]
        and refused
        and not same["succeeded"]
        and not same["calls"]
        and set(change.refs) == _blank(stage, refs)
    )
    return figures, holds


def _invoices(session: Any, count: int) -> Sequence[RecordRef]:
    """Plain invoices in the first organisation's currency; each third has no reference."""
    seed(session, invoices=count, today=datetime.now(UTC).date())
    rows = session.scalars(
        select(Invoice).where(Invoice.currency == "NZD").order_by(Invoice.id)
    ).all()
    for number, row in enumerate(rows):
        row.reference = None if number % 3 == 0 else f"Order {row.number}"
    session.flush()
    return [RecordRef(Module.INVOICES, str(row.id)) for row in rows]


def _blank(stage: Stage, refs: Sequence[RecordRef]) -> set[RecordRef]:
    found = stage.instance.services.crm.fetch_many(refs)
    return {ref for ref, record in found.items() if not record.fields.get("reference")}


def _bench(stage: Stage) -> Bench:
    with stage.instance.services.database.read() as session:
        one = session.scalars(select(Organisation).where(Organisation.currency == "NZD")).first()
        assert one is not None
        place = Place(one.id, Module.INVOICES, DocumentType.INVOICE)
    return mappings.bench(stage.instance.services, place)


def _used(on: Bench) -> Any:
    assert on.latest is not None
    return on.latest


def _with_reference(template: MappingTemplate, source: Any) -> MappingTemplate:
    rows: list[Row] = [
        replace(row, source=source) if row.to == "Reference" else row for row in template.fields
    ]
    return replace(template, fields=tuple(rows))


def _refuses(stage: Stage, template: MappingTemplate) -> bool:
    on = _bench(stage)
    try:
        versions.save(stage.instance.services, on, template, seen=on.seen, who="Bo")
    except versions.Refused as refused:
        return bool(refused.failed)
    return False


def _synced(stage: Stage) -> Counter[str]:
    """One Sync: what became of the invoices, and how many calls wrote."""
    last, calls = stage.log_entries(), stage.calls()[0]
    stage.sync()
    with stage.instance.services.database.read() as session:
        found = Counter(
            session.scalars(
                select(LogEntry.outcome)
                .where(LogEntry.module == Module.INVOICES.value)
                .where(LogEntry.id > last)
            )
        )
    found["calls"] = stage.calls()[0] - calls
    return found

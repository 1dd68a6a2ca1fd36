"""Records: the CRM's records with their state in Xero, where to tick them, and one record's why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import abort, redirect, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain.errors import XTigerError
from xtiger.domain.reckoning import Reckoning
from xtiger.domain.records import (
    DOCUMENTS,
    DocumentType,
    Field,
    FieldKind,
    Module,
    ModuleInfo,
    Record,
    RecordRef,
    SyncFlag,
)
from xtiger.domain.selection import RuleKind
from xtiger.engine import intake, scheduler
from xtiger.engine.mapping.reckoning import reckoned
from xtiger.engine.standing import Standing, standing, standings
from xtiger.store import profiles
from xtiger.store.models import LogEntry
from xtiger.web import filters, formats, lists
from xtiger.web.access import can, needs
from xtiger.web.actions import (
    back,
    done,
    fault,
    go,
    module_of,
    name,
    say_added,
    spoken,
    ticked,
    whole,
)
from xtiger.web.errors import no_record
from xtiger.web.frame import Frame, load, page, xt
from xtiger.web.lists import Slice
from xtiger.web.queue import again
from xtiger.web.routes import Routes
from xtiger.web.ui import fragment
from xtiger.web.words import COLUMNS, article, say

routes = Routes()
#: What the bar below the list does with the ticked rows.
_BULK = frozenset({"tick", "untick", "type", "sync", "queue"})


@dataclass(frozen=True, slots=True)
class Row:
    """One record of the list."""

    record: Record
    cells: tuple[tuple[Field, Any], ...]
    flag: SyncFlag
    standing: Standing | None


def find(ref: RecordRef) -> Record | None:
    """A record as it is now; an id of a shape this CRM never gives is simply not there."""
    try:
        return xt().services.crm.fetch_many([ref]).get(ref)
    except ValueError:
        return None


def _known(module: str, record_id: str) -> Record:
    record = find(RecordRef(module_of(module), record_id))
    if record is None:
        no_record()
    return record


@routes.get("/records")
@needs("records.read")
def records_home() -> Any:
    """The first tab."""
    org = request.args.get("org")
    return redirect(url_for("xtiger.records", module=Module.INVOICES.value, org=org), 302)


@routes.get("/records/<module>")
@needs("records.read")
def records(module: str = Module.INVOICES.value) -> Any:
    """One module's records, newest first."""
    chosen = module_of(module)
    info = xt().services.crm.modules().get(chosen)
    if info is None:
        no_record()
    text = request.args.get("q", "").strip()[:200]
    status = request.args.get("status", "")
    if info.statuses:
        status = filters.one_of("status", status, info.statuses, module=chosen.value) or ""
    found = _browse(chosen, text or None, status or None)
    with xt().services.database.read() as session:
        frame = load(session)
        rows = _rows(session, info, found.rows)
        rule = _rule_note(session, chosen, frame)
    return page(
        "xtiger/records.html",
        module=chosen,
        modules=[one for one in Module if one in xt().services.crm.modules()],
        info=info,
        columns=_columns(info),
        rows=rows,
        slice=found,
        text=text,
        chosen_status=status,
        filtered=bool(text or status),
        documents=chosen in DOCUMENTS,
        types=list(DocumentType),
        rule_note=rule,
        statuses=[(one, one) for one in info.statuses],
    )


def _browse(module: Module, text: str | None, status: str | None) -> Slice[Record]:
    """Fifty records behind the query's `after`; the port reads in one direction only."""
    after = request.args.get("after") or None
    if after is not None and not after.isprintable():
        after = None
    try:
        found = list(
            xt().services.crm.browse(
                module, text=text, status=status, before=after, limit=lists.ROWS + 1
            )
        )
    except ValueError:
        found = []
    more = len(found) > lists.ROWS
    found = found[: lists.ROWS]
    return Slice(found, onward=found[-1].ref.id if more else None)


def _columns(info: ModuleInfo) -> list[Field]:
    known = {field.name: field for field in info.fields}
    return [known[one] for one in COLUMNS.get(info.module, ()) if one in known]


def _rows(session: Session, info: ModuleInfo, found: Sequence[Record]) -> list[Row]:
    services = xt().services
    flags = profiles.flags(session, [record.ref for record in found])
    where = standings(services, found) if found else {}
    columns = _columns(info)
    links = {
        value
        for record in found
        for field in columns
        if isinstance(value := record.fields.get(field.name), RecordRef)
    }
    linked = services.crm.fetch_many(sorted(links, key=str)) if links else {}
    return [
        Row(
            record,
            tuple((field, _cell(record, field, linked)) for field in columns),
            profiles.flag_of(flags.get(record.ref)),
            where.get(record.ref),
        )
        for record in found
    ]


def _cell(record: Record, field: Field, linked: dict[RecordRef, Record]) -> Any:
    value = record.fields.get(field.name)
    if isinstance(value, RecordRef):
        return linked.get(value)
    if field.kind is FieldKind.NUMBER and value is not None:
        return formats.money(value, record.fields.get("currency"))
    return value


def _rule_note(session: Session, module: Module, frame: Frame) -> str | None:
    """Says so where ticking doesn't decide."""
    rules = {
        profile.rule.kind
        for profile in profiles.profiles(session)
        if profile.module is module
        and profile.enabled
        and (frame.chosen is None or frame.chosen.id == profile.organisation_id)
    }
    if len(rules) != 1 or RuleKind.TICKED in rules:
        return None
    rule = next(iter(rules))
    return say("records.rule", module=module.value, rule=say(f"rule.{rule.value}"))


@routes.post("/records/<module>/bulk")
@needs("records.read")
def records_bulk(module: str) -> Any:
    """Tick, untick, set the type of, send or enqueue the ticked rows."""
    chosen = module_of(module)
    refs = [RecordRef(chosen, one) for one in ticked()]
    action, _, value = request.form.get("action", "").partition(":")
    if not can("flag" if action in {"tick", "untick", "type"} else "sync.one"):
        abort(403)
    if action not in _BULK:
        abort(400)
    if not refs:
        fault(say("records.none_ticked"))
        return back("records", module=chosen.value)
    if action == "sync":
        return _send(refs, formats.counted(len(refs), chosen.singular))
    with spoken():
        if action == "queue":
            added = intake.add_records(xt().services, refs, who=name())
            what = formats.counted(added.count, chosen.singular)
            say_added(added.count, added.first, added.last, what)
        else:
            _flag_many(refs, action, value)
    return back("records", module=chosen.value)


def _flag_many(refs: Sequence[RecordRef], action: str, value: str) -> None:
    """Ticks, unticks or types each; one that refuses is named, the others go on."""
    allow = {"tick": True, "untick": False}.get(action)
    kind = _kind(value) if action == "type" else None
    changed = 0
    known = xt().services.crm.fetch_many(refs)
    for ref in known:
        try:
            intake.set_flag(xt().services, ref, who=name(), allow=allow, document_type=kind)
            changed += 1
        except XTigerError as error:
            fault(f"{known[ref].label}: {error.sentence}")
    if not changed:
        return
    count = formats.counted(changed, refs[0].module.singular)
    if kind is not None:
        done(say("flag.typed.many", count=count, type=kind.value))
    else:
        done(say("flag.ticked.many" if allow else "flag.unticked.many", count=count))


@routes.get("/records/<module>/<record_id>")
@needs("records.read")
def record(module: str, record_id: str) -> Any:
    """One record: its fields, its lines, and the Xero Information block."""
    found = _known(module, record_id)
    with xt().services.database.read() as session:
        load(session)
        values = _standing_values(session, found)
    info = xt().services.crm.modules()[found.ref.module]
    counted, where = _counted(found, values["standings"], values["flag"])
    parents = xt().services.crm.fetch_many(found.parents())
    return page(
        "xtiger/record.html",
        record=found,
        info=info,
        parents=parents,
        currency=found.fields.get("currency"),
        documents=found.ref.module in DOCUMENTS,
        types=list(DocumentType),
        counted=counted,
        counted_for=where,
        **values,
    )


def _counted(
    found: Record, standings: Sequence[Standing], flag: SyncFlag
) -> tuple[Reckoning | None, str]:
    """A document as the CRM and as Xero count it, and in which organisation."""
    row = next((one.organisation for one in standings if one.organisation is not None), None)
    if row is None or not found.lines:
        return None, ""
    try:
        return reckoned(xt().services, found, row.id, flag.document_type), row.name
    except XTigerError as error:
        return Reckoning(refusal=error.sentence), row.name


@routes.get("/records/<module>/<record_id>/_live")
@needs("records.read")
def record_live(module: str, record_id: str) -> Any:
    """Where it stands now."""
    found = _known(module, record_id)
    with xt().services.database.read() as session:
        frame = load(session)
        values = _standing_values(session, found)
    answer = fragment("xtiger/_standing.html", frame=frame, record=found, **values)
    answer.headers["X-Every"] = "1" if values["moving"] else "10"
    return answer


def _standing_values(session: Session, found: Record) -> dict[str, Any]:
    flag = profiles.flag_of(profiles.flags(session, [found.ref]).get(found.ref))
    where = standing(xt().services, found.ref)
    history = session.scalars(
        select(LogEntry)
        .where(LogEntry.module == found.ref.module.value, LogEntry.record_id == found.ref.id)
        .order_by(LogEntry.id.desc())
        .limit(20)
    ).all()
    return {
        "flag": flag,
        "standings": where,
        "fixed_type": next(
            (
                say(
                    "type.fixed",
                    label=found.label,
                    article=article(each.binding.document_type),
                    type=each.binding.document_type,
                )
                for each in where
                if each.binding is not None and each.binding.document_type
            ),
            None,
        ),
        "history": history,
        "moving": any(each.state == "In Queue" for each in where),
    }


@routes.post("/records/<module>/<record_id>/flag")
@needs("flag")
def record_flag(module: str, record_id: str) -> Any:
    """Saves what the form carries of Allow Xero Sync, document type and organisation."""
    found = _known(module, record_id)
    form = request.form
    # A form with the tick box names it in `fields`, since an empty box isn't sent.
    allow = form.get("allow") == "1" if "allow" in form.get("fields", "").split() else None
    kind = form.get("document_type")
    with spoken():
        with xt().services.database.read() as session:
            before = profiles.flag_of(profiles.flags(session, [found.ref]).get(found.ref))
            known = {row.id for row in profiles.organisations(session)} | {0, None}
        organisation = whole(form.get("organisation"))
        intake.set_flag(
            xt().services,
            found.ref,
            who=name(),
            allow=allow,
            document_type=_kind(kind),
            organisation_id=organisation if organisation in known else None,
        )
        done(_flag_sentence(found, before, allow))
    return back("record", module=found.ref.module.value, record_id=found.ref.id)


def _kind(text: str | None) -> DocumentType | None:
    return next((one for one in DocumentType if one.value == text), None)


def _flag_sentence(found: Record, before: SyncFlag, allow: bool | None) -> str:
    if allow is None or allow is before.allow or (not allow and not before.allow):
        return say("flag.saved", label=found.label)
    if allow:
        return say("flag.ticked", label=found.label)
    where = standing(xt().services, found.ref)
    bound = any(each.binding is not None for each in where)
    return say("flag.unticked.bound" if bound else "flag.unticked", label=found.label)


@routes.post("/records/<module>/<record_id>/sync")
@needs("sync.one")
def record_sync(module: str, record_id: str) -> Any:
    """Sends this record and what it needs now."""
    found = _known(module, record_id)
    return _send([found.ref], found.label)


@routes.post("/records/<module>/<record_id>/add-to-queue")
@needs("sync.one")
def record_add(module: str, record_id: str) -> Any:
    """Adds this record and what it needs to the Queue."""
    found = _known(module, record_id)
    with spoken():
        added = intake.add_records(xt().services, [found.ref], who=name())
        if added.count:
            say_added(added.count, added.first, added.last, found.label)
        else:
            fault(say("record.not_sent", label=found.label))
    return back("record", module=found.ref.module.value, record_id=found.ref.id)


@routes.post("/records/<module>/<record_id>/retry")
@needs("sync.one")
def record_retry(module: str, record_id: str) -> Any:
    """Lets this record's failed items go again, each in its old place."""
    found = _known(module, record_id)
    items = [each.item.id for each in standing(xt().services, found.ref) if each.item is not None]
    with spoken():
        retried = again(items, who=name())
        if retried:
            done(say("record.retried", label=found.label, position=items[0]))
        else:
            fault(say("record.not_retried", label=found.label))
    return back("record", module=found.ref.module.value, record_id=found.ref.id)


def _send(refs: Sequence[RecordRef], label: str) -> Any:
    """Sync now: to the run where the person may read runs, else to the record."""
    ref = refs[0]
    runs: list[int] = []
    with spoken():
        runs = scheduler.sync_records(xt().services, refs, who=name())
        if runs:
            done(say("record.sent", label=label))
    if runs and can("queue.read"):
        return go("run", run_id=runs[0])
    if len(refs) == 1:
        return back("record", module=ref.module.value, record_id=ref.id)
    return back("records", module=ref.module.value)

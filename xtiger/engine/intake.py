"""What reaches the queue: changed records and chosen ones, through selection and routing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from xtiger.domain.errors import PermanentError
from xtiger.domain.queueing import State
from xtiger.domain.records import (
    DOCUMENTS,
    Change,
    ChangeKind,
    DocumentType,
    Module,
    Record,
    RecordRef,
)
from xtiger.domain.selection import Decision, Reason, SyncProfile, select
from xtiger.engine.services import Services
from xtiger.store import bindings, leases, outbox, profiles, queue, templates
from xtiger.store.models import Binding, Flag, Organisation, QueueItem
from xtiger.store.schema import MOST_ROWS

#: States in which Xero may have a record before it is bound.
_AT_XERO = frozenset({State.RUNNING.value, State.CHECK.value})
#: Seconds that somebody may wait for a count of what would be added.
COUNTING = 8.0


@dataclass(frozen=True, slots=True)
class Added:
    """What was enqueued: how many selected records, and their first and last positions."""

    count: int = 0
    first: int | None = None
    last: int | None = None


@dataclass(slots=True)
class _Sheet:
    """What one intake has looked up so far."""

    profiles: list[SyncProfile]
    flags: Mapping[RecordRef, Flag] = field(default_factory=dict)

    def profile(self, organisation_id: int, module: Module) -> SyncProfile | None:
        return next(
            (
                one
                for one in self.profiles
                if one.organisation_id == organisation_id and one.module is module
            ),
            None,
        )


def set_flag(
    services: Services,
    ref: RecordRef,
    *,
    who: str,
    allow: bool | None = None,
    document_type: DocumentType | None = None,
    organisation_id: int | None = None,
) -> None:
    """Changes a record's sync flag and notes the change, in one transaction.

    Raises PermanentError where the record is in Xero already and type or organisation
    would change: Xero can change neither.
    """
    now = services.clock.now()
    with services.database.write() as session:
        flag = profiles.flag_of(profiles.flags(session, [ref]).get(ref))
        rows = profiles.organisations(session, chosen=None)
        leases.lock(session, [row.id for row in rows])
        bound = bindings.of_record(session, ref) if ref.module in DOCUMENTS else []
        there = DocumentType(bound[0].document_type or flag.document_type) if bound else None
        if there and document_type and document_type is not there:
            raise PermanentError(
                f"It is {'an Invoice' if there is DocumentType.INVOICE else 'a Bill'} "
                "in Xero; the type can't change. Void it there first."
            )
        changes = (document_type and document_type is not flag.document_type) or (
            organisation_id is not None and (organisation_id or None) != flag.organisation_id
        )
        if changes and ref.module in DOCUMENTS and _at_xero(session, rows, ref):
            raise PermanentError(
                "It is at Xero now; type and organisation can't change until Xero has answered."
            )
        if bound and organisation_id and organisation_id != bound[0].organisation_id:
            raise PermanentError(
                "It is in Xero already; the organisation can't change. Void it there first."
            )
        profiles.set_flag(
            session,
            ref,
            now=now,
            who=who,
            allow=allow,
            document_type=document_type,
            organisation_id=organisation_id,
        )
        outbox.add(session, [Change(ref, ChangeKind.FLAGGED, now)])


def _at_xero(session: Session, rows: Iterable[Organisation], ref: RecordRef) -> bool:
    """Whether a record is in a call, or nobody knows yet what came of one."""
    for row in rows:
        item = queue.open_items(session, row.id, [ref]).get(ref)
        if item is not None and item.state in _AT_XERO:
            return True
    return False


def relay(services: Services) -> int:
    """Moves captured changes into the queue; answers with how many changes it read.

    1. Read the oldest changes, and the records as they are now.
    2. Decide for each: selection, routing, and the records a document needs first.
    3. In one transaction lock what was read, enqueue what is selected, keep the reasons of
       the others, and delete what was read. A change made meanwhile has a row of its own;
       one that somebody else relayed meanwhile is theirs.
    """
    total = 0
    while True:
        with services.database.read() as session:
            rows, changes = outbox.take(session, limit=MOST_ROWS)
        if not rows:
            return total
        records = services.crm.fetch_many([change.ref for change in changes])
        parents = _parents(services, records.values())
        with services.database.write() as session:
            mine = outbox.still_there(session, rows)
            refs = outbox.refs_of(mine)
            leases.lock(session, [row.id for row in profiles.organisations(session, chosen=None)])
            _take_out(session, services, sorted(refs - records.keys(), key=str))
            # Places are given in the order of the changes, not in that of reading.
            in_order = [change.ref for change in changes if change.ref in refs & records.keys()]
            _take_in(session, services, [records[ref] for ref in in_order], parents, who=None)
            outbox.forget(session, mine)
        total += len(rows)


def _take_out(session: Session, services: Services, gone: Sequence[RecordRef]) -> None:
    """What becomes of records that were deleted in the CRM.

    What was never sent leaves the queue without a call. What is in Xero, or may just be
    arriving there, stays, or goes from there too where the profile says so.
    """
    rules = {(rule.organisation_id, rule.module): rule for rule in profiles.profiles(session)}
    for ref in gone:
        sentence = "It was deleted in the CRM before this was sent."
        for one in _everywhere(session):
            rule = rules.get((one, ref.module))
            bound = bindings.of_records(session, one, [ref]).get(ref)
            item = queue.open_items(session, one, [ref]).get(ref)
            there = bound is not None or (item is not None and item.state in _AT_XERO)
            removes = rule is not None and rule.removes and there
            if removes or (item is not None and item.state == State.RUNNING):
                # Behind a call it waits as any change does: if that fails, this one goes on.
                label = item.label if item else (bound.number if bound else None)
                label = label or f"{ref.module.singular} {ref.id}"
                entry = queue.Entry(one, ref, label=label, removes=removes)
                queue.enqueue(session, [entry], now=services.clock.now())
            else:
                queue.drop(session, one, ref, sentence=sentence)


def add_records(services: Services, refs: Sequence[RecordRef], *, who: str) -> Added:
    """Enqueues these records if they are selected, with what they need first."""
    relay(services)
    records = services.crm.fetch_many(refs)
    parents = _parents(services, records.values())
    ordered = [records[ref] for ref in refs if ref in records]
    with services.database.write() as session:
        return _take_in(session, services, ordered, parents, who=who)


def add_selected(
    services: Services,
    *,
    organisation_id: int | None,
    modules: Sequence[Module] | None,
    who: str,
) -> Added:
    """Enqueues every selected record that isn't in Xero as it is now.

    It reads the whole CRM in slices, so it also finds what no change was captured for.
    """
    relay(services)
    added = Added()
    for module in modules or list(services.crm.modules()):
        after: str | None = None
        while True:
            records = list(services.crm.scan(module, after=after, limit=MOST_ROWS))
            if not records:
                break
            after = records[-1].ref.id
            parents = _parents(services, records)
            with services.database.write() as session:
                more = _take_in(
                    session,
                    services,
                    records,
                    parents,
                    who=who,
                    only=organisation_id,
                    skip_agreed=True,
                )
            added = Added(
                added.count + more.count, added.first or more.first, more.last or added.last
            )
    return added


def would_add(
    services: Services,
    *,
    organisation_id: int,
    module: Module,
    most: int,
    seconds: float = COUNTING,
) -> tuple[int, bool]:
    """How many records `add_selected` would enqueue now; True: all were looked at.

    Counted up to `most`, and for about so many seconds: a person waits for it.
    """
    relay(services)
    count, after = 0, None
    ends = time.monotonic() + seconds
    with services.database.read() as session:
        rules = profiles.profiles(session)
    while records := list(services.crm.scan(module, after=after, limit=MOST_ROWS)):
        after = records[-1].ref.id
        refs = [record.ref for record in records]
        decided = decide_by(services, records, rules)[0]
        with services.database.read() as session:
            bound = bindings.of_records(session, organisation_id, refs)
            waiting = queue.open_items(session, organisation_id, refs)
            for record in records:
                going = any(
                    one.selected and one.organisation_id == organisation_id
                    for one in decided[record.ref]
                )
                there, item = bound.get(record.ref), waiting.get(record.ref)
                if going and not _settled(session, record, there, item):
                    count += 1
        if count > most or time.monotonic() > ends:
            return min(count, most), False
    return count, True


def decide_many(services: Services, records: Sequence[Record]) -> dict[RecordRef, list[Decision]]:
    """Selection's answer for some records, as things stand now."""
    with services.database.read() as session:
        rules = profiles.profiles(session)
    return decide_by(services, records, rules)[0]


def decide_by(
    services: Services, records: Sequence[Record], *rules: Sequence[SyncProfile]
) -> list[dict[RecordRef, list[Decision]]]:
    """Selection's answers for some records by one set of profiles, and by another."""
    refs = [record.ref for record in records]
    with services.database.read() as session:
        flags = profiles.flags(session, refs)
        where = _everywhere(session)
        bound = {one: bindings.of_records(session, one, refs) for one in where}
    there = {ref: {one: bound[one][ref] for one in where if ref in bound[one]} for ref in refs}
    return [
        {
            record.ref: _decisions(record, _Sheet(list(each), flags), there[record.ref])
            for record in records
        }
        for each in rules
    ]


def needed_entry(
    sheet_profiles: Sequence[SyncProfile], organisation_id: int, parent: Record
) -> queue.Entry | str:
    """How a parent that a document needs reaches the queue, or the sentence why it can't."""
    profile = _Sheet(list(sheet_profiles)).profile(organisation_id, parent.ref.module)
    kind = parent.ref.module
    if profile is None or not profile.enabled:
        return (
            f"It needs {kind.singular} {parent.label} in Xero first, but {kind.value} aren't "
            "switched on. Switch them on in What syncs."
        )
    return queue.Entry(organisation_id, parent.ref, label=parent.label, needed=True)


def _everywhere(session: Session) -> list[int]:
    """Every organisation there is or was: a document stays where it went, connected or not."""
    return [row.id for row in profiles.organisations(session, chosen=None)]


def _parents(services: Services, records: Iterable[Record]) -> dict[RecordRef, Record]:
    refs = {ref for record in records if record.ref.module in DOCUMENTS for ref in record.parents()}
    return services.crm.fetch_many(sorted(refs, key=str)) if refs else {}


def _decisions(
    record: Record, sheet: _Sheet, bound: Mapping[int, Binding], at_xero: Iterable[int] = ()
) -> list[Decision]:
    """Selection's answer. A document stays where it is or is being sent, whatever changed.

    `at_xero` are the organisations that it is in a call to, or may have reached.
    """
    flag = profiles.flag_of(sheet.flags.get(record.ref))
    if record.ref.module in DOCUMENTS and (there := [*bound, *at_xero]):
        flag = replace(flag, organisation_id=there[0])
    return select(
        record,
        flag,
        sheet.profiles,
        needed_by=frozenset(where for where, row in bound.items() if row.needed),
    )


def _take_in(
    session: Session,
    services: Services,
    records: Sequence[Record],
    parents: Mapping[RecordRef, Record],
    *,
    who: str | None,
    only: int | None = None,
    skip_agreed: bool = False,
) -> Added:
    """Decides and enqueues inside the caller's transaction, parents before their documents."""
    now = services.clock.now()
    refs = [record.ref for record in records]
    rules = profiles.profiles(session)
    where = _everywhere(session)
    in_use = {profile.organisation_id for profile in rules}
    leases.lock(session, where)
    sheet = _Sheet(rules, profiles.flags(session, refs))
    bound = {one: bindings.of_records(session, one, [*refs, *parents]) for one in where}
    waiting = {one: queue.open_items(session, one, [*refs, *parents]) for one in where}
    entries: dict[tuple[int, RecordRef], queue.Entry] = {}
    chosen: list[tuple[int, RecordRef]] = []
    reasons: dict[RecordRef, str | None] = {}
    for record in records:
        mine = {one: bound[one][record.ref] for one in where if record.ref in bound[one]}
        items = {one: waiting[one][record.ref] for one in where if record.ref in waiting[one]}
        # What waits for an organisation that is disconnected goes there once it is back.
        at_xero = [
            one for one, item in items.items() if item.state in _AT_XERO or one not in in_use
        ]
        decisions = _decisions(record, sheet, mine, at_xero)
        going = {one.organisation_id for one in decisions if one.selected}
        # Chosen for a document's sake alone: so it stays, and its next change goes too.
        by_need = {
            one.organisation_id for one in decisions if one.selected and one.reason is Reason.NEEDED
        }
        reasons[record.ref] = None if going else decisions[0].sentence
        for one, item in items.items():
            # Adding all that is selected changes nothing about what a document needs.
            if one not in going and one in in_use and not (skip_agreed and item.needed):
                _reconsider(session, item, record, _why_not(one, decisions, sheet), entries)
        for one in sorted(each for each in going if each is not None):
            binding = bound[one].get(record.ref)
            if only not in (None, one):
                continue
            if skip_agreed and _settled(session, record, binding, items.get(one)):
                continue
            needed = _needed(record, one, sheet, bound[one], waiting[one], parents)
            entries.update(
                {(one, entry.ref): entry for entry in needed if (one, entry.ref) not in entries}
            )
            key = (one, record.ref)
            entries[key] = queue.Entry(
                one,
                record.ref,
                label=record.label,
                action="Update" if binding else "Create",
                requested_by=who,
                needed=one in by_need,
            )
            chosen.append(key)
    places: dict[tuple[int, RecordRef], int] = {}
    for one in dict.fromkeys(entry.organisation_id for entry in entries.values()):
        its = [entry for entry in entries.values() if entry.organisation_id == one]
        for ref, place in queue.enqueue(session, its, now=now).items():
            places[one, ref] = place
    profiles.keep_reasons(session, reasons, now)
    positions = [places[key] for key in chosen]
    return Added(len(positions), min(positions, default=None), max(positions, default=None))


def _needed(
    record: Record,
    organisation_id: int,
    sheet: _Sheet,
    bound: Mapping[RecordRef, Binding],
    waiting: Mapping[RecordRef, QueueItem],
    parents: Mapping[RecordRef, Record],
) -> list[queue.Entry]:
    """The entries of parents that aren't in Xero and don't wait already."""
    profile = sheet.profile(organisation_id, record.ref.module)
    if record.ref.module not in DOCUMENTS or profile is None or not profile.add_needed:
        return []
    entries = []
    for ref in record.parents():
        if ref in bound or ref in waiting or ref not in parents:
            continue
        entry = needed_entry(sheet.profiles, organisation_id, parents[ref])
        if isinstance(entry, queue.Entry):
            entries.append(entry)
    return entries


def _reconsider(
    session: Session,
    item: QueueItem,
    record: Record,
    sentence: str,
    entries: dict[tuple[int, RecordRef], queue.Entry],
) -> None:
    """An item whose record isn't selected any more: kept if a document needs it, else ended.

    What is in a call stays; a later change that waits behind it goes.
    """
    if item.needed:
        key = (item.organisation_id, record.ref)
        entries[key] = queue.Entry(
            item.organisation_id, record.ref, label=record.label, action=item.action, needed=True
        )
    else:
        queue.drop(session, item.organisation_id, record.ref, sentence=sentence)


def _why_not(organisation_id: int, decisions: Sequence[Decision], sheet: _Sheet) -> str:
    """Why a record doesn't go to an organisation, though it may go to another one."""
    own = next((one for one in decisions if one.organisation_id == organisation_id), None)
    other = next((one.organisation_id for one in decisions if one.selected), None)
    if own is None and other is not None:
        name = next(one.organisation for one in sheet.profiles if one.organisation_id == other)
        return f"It goes to {name} now."
    return (own or decisions[0]).sentence


def _settled(
    session: Session, record: Record, binding: Binding | None, item: QueueItem | None
) -> bool:
    """Whether adding all that is selected has nothing to do for a record.

    It has a place already (a failed one is retried by whoever mended its cause, not by every
    Sync), or Xero has it exactly as it is, by the template in use.
    """
    if item is not None:
        return not (item.needed and item.state == State.PENDING)
    if binding is None or binding.agreed_hash is None or binding.record_version != record.version:
        return False
    kind = DocumentType(binding.document_type) if binding.document_type else None
    template = templates.newest(session, binding.organisation_id, record.ref.module, kind)
    return template is not None and template.id == binding.template_id

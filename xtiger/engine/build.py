"""Building: queue items become payloads, or are settled without a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.errors import PermanentError
from xtiger.domain.mapping import (
    BuildContext,
    CompiledMapper,
    Fault,
    Faults,
    MappingTemplate,
    OrganisationFacts,
    Parent,
    TemplateFault,
    compile_template,
)
from xtiger.domain.meeting import MET, Met, Side, side
from xtiger.domain.payloads import Memory, counts_stock
from xtiger.domain.queueing import REMOVE, State
from xtiger.domain.records import (
    DOCUMENTS,
    DocumentType,
    Module,
    ModuleInfo,
    Record,
    RecordRef,
    SyncFlag,
)
from xtiger.domain.resources import Resource, Verb, removal
from xtiger.domain.selection import SyncProfile
from xtiger.engine import codes, meeting
from xtiger.engine.connection import reference
from xtiger.engine.elements import Ready, element_of
from xtiger.engine.parents import block, is_blocked, waits_for_it
from xtiger.engine.services import Services
from xtiger.engine.settle import DIFFERS, agreed_of
from xtiger.store import bindings, leases, logs, profiles, queue, seen
from xtiger.store.bindings import Bound
from xtiger.store.claims import Claimed
from xtiger.store.leases import Lease
from xtiger.store.models import Organisation, QueueItem
from xtiger.store.templates import newest
from xtiger.telemetry import logger

log = logger("build")


@dataclass(slots=True)
class Added:
    """The last place of the parents that building added."""

    last: int = 0


class TurnsAway(Exception):
    """The drain leaves what it is at, although nothing failed."""


class StaleReference(TurnsAway):
    """A record was refused by accounts, taxes or locks that were read before it last changed."""


#: Causes that may be gone in Xero although our copy of its reference data still shows them.
_REFERENCE_CAUSES = ("account", "tax", "tracking", "period", "currency")


def _by_reference(faults: Sequence[Fault]) -> bool:
    return any(each.fingerprint.startswith(_REFERENCE_CAUSES) for each in faults) or any(
        "tax" in each.fingerprint for each in faults
    )


@dataclass(frozen=True, slots=True)
class Builder:
    """Rules, templates and reference data of one organisation, read once a drain."""

    services: Services
    lease: Lease
    run_id: int | None
    #: Before Go live only what its run was asked for may be sent.
    only_run: int | None
    facts: OrganisationFacts
    #: When `facts` were read from Xero.
    read_at: datetime
    rules: Sequence[SyncProfile]
    #: Those of this organisation.
    own_rules: Mapping[Module, SyncProfile]
    mappers: Mapping[int, CompiledMapper]
    templates: Mapping[tuple[Module, DocumentType | None], int]
    #: It was asked for single records: what they need goes ahead of others too.
    urgent: bool = False
    #: `facts` were read a moment ago for this very turn: whatever the clocks say, they hold.
    just_read: bool = False
    added: Added = field(default_factory=Added)

    @classmethod
    def of(
        cls,
        services: Services,
        lease: Lease,
        *,
        run_id: int | None,
        only_run: int | None,
        urgent: bool = False,
    ) -> Builder:
        """Reads what building needs; mappers are compiled here. Raises PermanentError."""
        mappers: dict[int, CompiledMapper] = {}
        templates: dict[tuple[Module, DocumentType | None], int] = {}
        with services.database.read() as session:
            row = session.get_one(Organisation, lease.organisation_id)
            known = reference.facts(session, row.id)
            rules = profiles.profiles(session)
            if known is None:
                raise PermanentError(f"Nothing was read from {row.name} yet. Choose it again.")
            described = services.crm.modules()
            for module in described:
                for kind in list(DocumentType) if module in DOCUMENTS else [None]:
                    found = newest(session, row.id, module, kind)
                    if found is not None:
                        templates[module, kind] = found.id
                        mappers[found.id] = _compiled(found.body, described[module])
        return cls(
            services=services,
            lease=lease,
            run_id=run_id,
            only_run=only_run,
            facts=known.facts,
            read_at=known.read_at,
            rules=rules,
            own_rules={rule.module: rule for rule in rules if rule.organisation_id == row.id},
            mappers=mappers,
            templates=templates,
            urgent=urgent,
        )

    def build(self, items: Sequence[Claimed], *, mark: int) -> list[Ready]:
        """Payloads of what can go; what is gone, blocked, unchanged or at fault is settled here.

        `mark` is the last place of the pass: a parent's change behind it is the next pass's.
        """
        refs = {item.id: item.ref for item in items}
        records = self.services.crm.fetch_many(list(refs.values()))
        needs = {ref: record.parents() for ref, record in records.items()}
        linked = sorted({parent for found in needs.values() for parent in found}, key=str)
        parents = self.services.crm.fetch_many(linked) if linked else {}
        ready: list[Ready] = []
        where = self.lease.organisation_id
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            sheet = Sheet(
                mark=mark,
                bound=bindings.agreed_of(session, where, dict.fromkeys([*refs.values(), *linked])),
                open_parents=queue.open_items(session, where, linked),
                flags=profiles.sync_flags(session, refs.values()),
                parents=parents,
                needs=needs,
                stock_items=self.facts.stock_items,
            )
            for item in items:
                record = records.get(refs[item.id])
                if record is None:
                    removal = self._removal(session, item, sheet.bound.get(refs[item.id]))
                    if removal is not None:
                        ready.append(removal)
                elif record.fault is not None:
                    self.fail(session, item, "unreadable", record.fault)
                elif not is_blocked(self, session, item, record, sheet):
                    built = self._build_one(session, item, record, sheet)
                    if built is not None:
                        ready.append(built)
            self._note_unchanged(session, sheet)
        for resource in MET:
            ours = {
                one.item.ref: side(resource, exactjson.loads(one.data))._replace(
                    xero_id=records[one.item.ref].xero_id or ""
                )
                for one in ready
                if one.item.resource == resource.value and one.verb is Verb.CREATE
            }
            if ours:
                ready = self._meet(resource, ours, ready, records, sheet)
        wanted = codes.new_codes(ready, sheet.bound)
        return self._without_shared(ready, wanted) if wanted else ready

    def _without_shared(self, ready: list[Ready], wanted: Mapping[RecordRef, str]) -> list[Ready]:
        """Leaves out items whose code another record has: they wait for it to go, or fail."""
        where = self.lease.organisation_id
        with self.services.database.read() as session:
            held = codes.holders(session, where, wanted)
        # Of what was deleted in the CRM only Xero can say whether its code is free.
        refs = [holder.ref for holder in held.values()]
        others = self.services.crm.fetch_many(refs) if held else {}
        held = {ref: holder for ref, holder in held.items() if holder.ref in others}
        if not held:
            return ready
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            waiting = queue.open_items(session, where, refs)
            for one in ready:
                if (holder := held.get(one.item.ref)) is None:
                    continue
                code, first = wanted[one.item.ref], waiting.get(holder.ref)
                renamed = codes.gives_up(holder, code, ready, first)
                if renamed and first and not waits_for_it(session, first, one.item):
                    block(self, session, one.item, first)
                    continue
                why = codes.sentence(others[holder.ref], code, in_xero=holder.in_xero)
                self.fail(session, one.item, codes.SHARED, why)
        return [one for one in ready if one.item.ref not in held]

    def _meet(
        self,
        resource: Resource,
        ours: Mapping[RecordRef, Side],
        ready: list[Ready],
        records: Mapping[RecordRef, Record],
        sheet: Sheet,
    ) -> list[Ready]:
        """What Xero had before the CRM met it isn't created again: linked, or left to a person."""
        where, now = self.lease.organisation_id, self.services.clock.now()
        refused = [one.item.ref for one in ready if str(one.item.cause).startswith(meeting.TAKEN)]
        with self.services.database.read() as session:
            if not refused and not meeting.find(session, where, resource, ours):
                return ready
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            # Xero has something of that name after all: a person's word against it is over.
            seen.ask_again(session, where, refused)
            met = meeting.find(session, where, resource, ours)
        meeting.read_back(self.services, self.lease, met, resource)
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            met = meeting.find(session, where, resource, ours)
            left = self._met(session, met, ready, records, sheet, now)
            self._note_unchanged(session, sheet)
        return left

    def _met(
        self,
        session: Session,
        met: Mapping[RecordRef, Met],
        ready: list[Ready],
        records: Mapping[RecordRef, Record],
        sheet: Sheet,
        now: datetime,
    ) -> list[Ready]:
        left: list[Ready] = []
        for one in ready:
            item = one.item
            found = met.get(item.ref)
            if found is None:
                left.append(one)
            elif found.certain is None:
                ids = [each.xero_id for each in found.maybe]
                seen.ask(session, item.organisation_id, item.ref, ids, now=now)
                self.fail(session, item, meeting.UNCERTAIN, found.sentence)
            else:
                sentence = f"Linked with Xero's {found.certain.label} by {found.by}."
                meeting.bind(session, one, found.certain, services=self.services)
                self.log(session, item, State.PENDING, sentence, xero_id=found.certain.xero_id)
                sheet.bound |= bindings.agreed_of(session, item.organisation_id, [item.ref])
                again = self._build_one(session, item, records[item.ref], sheet)
                if again is not None:
                    left.append(again)
        return left

    def _note_unchanged(self, session: Session, sheet: Sheet) -> None:
        """Ends what Xero has already exactly so."""
        if not sheet.same:
            return
        now = self.services.clock.now()
        queue.end(session, [item.id for item, *_ in sheet.same], State.UNCHANGED)
        bindings.still_same(
            session, [(bound.id, version, at) for _, bound, version, at in sheet.same]
        )
        logs.append_many(
            session,
            [
                logs.entry(
                    item,
                    now=now,
                    outcome=State.UNCHANGED,
                    sentence="Xero already had the same.",
                    action=item.action,
                    run_id=self.run_id,
                    xero_id=bound.xero_id,
                )
                for item, bound, *_ in sheet.same
            ],
        )
        logs.count(session, self.run_id, unchanged=len(sheet.same))
        sheet.same.clear()

    def _removal(self, session: Session, item: Claimed, bound: Bound | None) -> Ready | None:
        """What takes the object of a deleted record out of Xero, where that is asked for."""
        if item.action != REMOVE or bound is None:
            why = "It was deleted in the CRM before this was sent."
            if item.action == REMOVE:
                why = "It was deleted in the CRM and never was in Xero."
            queue.end(session, [item.id], State.CANCELLED)
            queue.say(session, [item.id], why)
            return None
        removed = removal(Resource(item.resource), bound.xero_id, bound.xero_status)
        if removed is None:
            sentence = f"Xero keeps {item.resource} for good; take it out there by hand."
            self.fail(session, item, "cannot-be-removed", sentence)
            return None
        return Ready(
            item=item,
            verb=removed.verb,
            data=exactjson.dumps(removed.payload),
            expected=removed.meant,
            agreed=agreed_of(Resource(item.resource), removed.payload),
            label=item.label,
            xero_id=bound.xero_id,
        )

    def fail(self, session: Session, item: Claimed, cause: str, sentence: str) -> None:
        """Ends an item's try here: nothing of it goes, and the log says why."""
        queue.park(session, item, State.FAILED, cause=cause[:120], sentence=sentence, counts=True)
        self.log(session, item, State.FAILED, sentence, cause=cause[:120])
        logs.count(session, self.run_id, failed=1)

    def log(
        self,
        session: Session,
        item: Claimed,
        outcome: State,
        sentence: str,
        *,
        cause: str | None = None,
        xero_id: str | None = None,
    ) -> None:
        """An entry of the log about an item of this drain."""
        logs.append(
            session,
            item,
            now=self.services.clock.now(),
            outcome=outcome,
            sentence=sentence,
            action=item.action,
            run_id=self.run_id,
            cause=cause,
            xero_id=xero_id,
        )

    def _build_one(
        self, session: Session, item: Claimed, record: Record, sheet: Sheet
    ) -> Ready | None:
        flag = sheet.flags.get(record.ref, SyncFlag())
        kind = flag.document_type if record.ref.module in DOCUMENTS else None
        bound = sheet.bound.get(record.ref)
        template_id = self.templates.get((record.ref.module, kind))
        if template_id is None:
            self.fail(session, item, "no-template", "There is no mapping for it. Open Mapping.")
            return None
        context = self._context(record, kind, bound, sheet, item.cause == DIFFERS)
        try:
            made = element_of(
                self.mappers[template_id],
                record,
                context,
                facts=self.facts,
                rule=self.own_rules.get(record.ref.module),
                bound=bound,
            )
        except Exception as fault:
            # A fault of ours over one record must not keep the others from going.
            log.exception("build broke", record=str(record.ref))
            sentence = f"XTiger can't build it ({type(fault).__name__}). The log says more."
            self.fail(session, item, f"our-fault:{type(fault).__name__}", sentence)
            return None
        if isinstance(made, Faults) or made.faults:
            stale = self.read_at < item.changed_at and not self.just_read
            if stale and _by_reference(made.faults):
                raise StaleReference
            sentence = " ".join(dict.fromkeys(each.sentence for each in made.faults))
            self.fail(session, item, made.faults[0].fingerprint, sentence)
            return None
        if bound is not None and made.same(bound):
            sheet.same.append((item, bound, record.version, template_id))
            return None
        return Ready(
            item=item,
            label=record.label,
            version=record.version,
            expected=made.expected,
            agreed=made.agreed,
            amount=made.built.amount,
            currency=made.built.currency,
            verb=Verb.UPDATE if bound else Verb.CREATE,
            data=made.data(bound),
            template_id=template_id,
            note=made.built.note or None,
        )

    def _context(
        self,
        record: Record,
        kind: DocumentType | None,
        bound: Bound | None,
        sheet: Sheet,
        pinned: bool,
    ) -> BuildContext:
        rule = self.own_rules.get(record.ref.module)
        memory = sheet.memories.get((record.ref.module, kind))
        if memory is None:
            memory = sheet.memories[record.ref.module, kind] = Memory()
        return BuildContext(
            organisation=self.facts,
            parents={ref: sheet.parent(ref) for ref in sheet.needs[record.ref]},
            document_type=kind,
            target_status=rule.target_status if rule else "AUTHORISED",
            record_url=self.services.links.record(record.ref),
            marker=self.services.marker(record.ref),
            xero_id=bound.xero_id if bound else None,
            pinned=pinned,
            memory=memory,
        )


def _compiled(body: Any, described: ModuleInfo) -> CompiledMapper:
    try:
        return compile_template(MappingTemplate.from_json(body), described)
    except TemplateFault as fault:
        raise PermanentError(
            f"The mapping of {described.module.value} can't be used: {fault.sentence}"
        ) from fault


@dataclass(slots=True)
class Sheet:
    """What building one chunk has looked up."""

    mark: int
    bound: dict[RecordRef, Bound]
    open_parents: dict[RecordRef, QueueItem]
    flags: Mapping[RecordRef, SyncFlag]
    parents: Mapping[RecordRef, Record]
    #: By record what it needs in Xero first.
    needs: Mapping[RecordRef, tuple[RecordRef, ...]]
    #: The ids of items whose stock Xero counts.
    stock_items: frozenset[str] = frozenset()
    #: What Xero has already: item, binding, the CRM's version and the template.
    same: list[tuple[Claimed, Bound, str, int]] = field(default_factory=list)
    #: What records of one module and document type share while they are built.
    memories: dict[tuple[Module, DocumentType | None], Memory] = field(default_factory=dict)
    _known: dict[RecordRef, Parent] = field(default_factory=dict)

    def parent(self, ref: RecordRef) -> Parent:
        """A bound parent as mapping sees it; most are many records' own."""
        known = self._known.get(ref)
        if known is None:
            binding, parent = self.bound[ref], self.parents.get(ref)
            known = self._known[ref] = Parent(
                xero_id=binding.xero_id,
                key=binding.number,
                label=parent.label if parent else "",
                fields=parent.fields if parent else {},
                stock_tracked=binding.xero_id in self.stock_items
                or bool(parent and counts_stock(parent.fields)),
            )
        return known

"""Draining one organisation: lease, plan, build, journal, send, settle, and again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.errors import (
    AuthorisationError,
    LeaseLost,
    PermanentError,
    TransientError,
    UnknownOutcome,
    XTigerError,
)
from xtiger.domain.mapping import (
    BuildContext,
    Built,
    CompiledMapper,
    Faults,
    MappingTemplate,
    OrganisationFacts,
    Parent,
    TemplateFault,
    compile_template,
)
from xtiger.domain.preflight import check
from xtiger.domain.queueing import Planned, State, batches, full
from xtiger.domain.records import (
    DOCUMENTS,
    DocumentType,
    Module,
    ModuleInfo,
    Record,
    RecordRef,
    XeroLink,
)
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.domain.selection import SyncProfile
from xtiger.engine import connect, intake, recovery
from xtiger.engine.services import Services
from xtiger.engine.settle import comparable, settle
from xtiger.ports import Answer
from xtiger.store import bindings, journal, leases, logs, profiles, queue
from xtiger.store.leases import Lease
from xtiger.store.models import Attempt, Binding, Organisation, QueueItem
from xtiger.telemetry import logger

#: Items claimed at a time: a few full batches, so that memory and transactions stay small.
CLAIM = 200
#: The most passes one run makes; what comes later is the next run's.
PASSES = 5
#: Longest wait between two tries of an organisation that Xero doesn't answer, in seconds.
LONGEST_HOLD = 900

log = logger("drain")


@dataclass(frozen=True, slots=True)
class Drained:
    """How a drain ended. `done`: nothing is due any more. `sentence`: why it stopped if not.

    `parked`: its run goes on later. `elsewhere`: another worker does the work.
    """

    done: bool
    sentence: str | None = None
    parked: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class _Ready:
    """One element that was built and waits for its call."""

    item: QueueItem
    record: Record
    built: Built
    verb: Verb
    data: bytes
    template_id: int


def drain(services: Services, organisation_id: int, *, run_id: int | None = None) -> Drained:
    """Sends what is due of one organisation, in order; returns when nothing is, or why not.

    1. Take the lease; somebody else's means they do the work.
    2. Settle calls that were left open.
    3. Pass by pass: what was in the queue when the pass began, rank by rank.
    4. A whole-call failure puts everything back in place and holds the organisation.
    """
    lease = leases.take(
        services.database,
        organisation_id,
        holder=services.worker,
        now=services.clock.now(),
        seconds=services.patience.lease,
    )
    if lease is None:
        sentence = "Another worker is sending for this organisation now."
        return Drained(False, sentence, parked=True, elsewhere=True)
    work = _Drain(services, lease, run_id)
    try:
        return work.run_safely()
    except LeaseLost as lost:
        log.warning("lease lost", organisation=organisation_id)
        return Drained(False, lost.sentence, parked=True, elsewhere=True)
    finally:
        leases.release(services.database, lease)


@dataclass(slots=True)
class _Drain:
    """One organisation's drain while it holds the lease."""

    services: Services
    lease: Lease
    run_id: int | None
    facts: OrganisationFacts = field(default_factory=OrganisationFacts)
    rules: list[SyncProfile] = field(default_factory=list)
    mappers: dict[int, CompiledMapper] = field(default_factory=dict)
    templates: dict[tuple[Module, DocumentType | None], int] = field(default_factory=dict)
    mark: int = 0
    #: Before Go live only what its run was asked for may be sent.
    only_run: int | None = None

    @property
    def organisation_id(self) -> int:
        return self.lease.organisation_id

    # -- the passes ---------------------------------------------------------------------------

    def run_safely(self) -> Drained:
        """Runs, and turns each of the four errors into how the drain ended."""
        try:
            return self.run()
        except LeaseLost:
            raise
        except UnknownOutcome as unknown:
            return self.hold(unknown.sentence, None, counts=True)
        except TransientError as failure:
            return self.hold(failure.sentence, failure.retry_after, counts=failure.counts)
        except (AuthorisationError, PermanentError) as refusal:
            self.stop(refusal.sentence)
            return Drained(False, refusal.sentence)
        except Exception:
            # A fault of ours is told by whoever called; the hold keeps it from coming at once.
            sentence = (
                "XTiger met a fault of its own; its log says which. It tries again by itself."
            )
            self.hold(sentence, None, counts=True)
            raise

    def run(self) -> Drained:
        if (why := self._held()) is not None:
            return why
        recovery.settle_open(self.services, self.lease)
        self._write_back()
        self._prepare()
        for _pass in range(PASSES):
            intake.relay(self.services)
            ranks = self._begin_pass()
            if not ranks:
                self._forget_hold()
                return Drained(True)
            for rank in ranks:
                if (why := self._held()) is not None:
                    return why
                self._rank(rank)
        return Drained(True)

    def _begin_pass(self) -> list[int]:
        """Marks what the pass covers; answers with the ranks that have something due in it."""
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            queue.release_stranded(session, self.organisation_id)
            self.mark = queue.mark(session)
            return queue.due_ranks(
                session,
                self.organisation_id,
                up_to=self.mark,
                now=self.services.clock.now(),
                only_run=self.only_run,
            )

    def _forget_hold(self) -> None:
        """Nothing is due any more, so nothing holds the organisation either."""
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            row = session.get_one(Organisation, self.organisation_id)
            row.held_until = row.held_why = None
            row.held_times = 0

    def _held(self) -> Drained | None:
        """Why nothing may be sent now, asked before each rank."""
        with self.services.database.read() as session:
            row = session.get_one(Organisation, self.organisation_id)
        if row.paused_at:
            return Drained(False, f"{row.name} is paused.", parked=True)
        if not row.chosen or row.connection_id is None:
            return Drained(False, f"{row.name} isn't connected. Connect it under API details.")
        return None

    def _prepare(self) -> None:
        """Reads rules, templates and reference data once a drain; mappers are compiled once."""
        with self.services.database.read() as session:
            row = session.get_one(Organisation, self.organisation_id)
            self.only_run = None if row.live_since else self.run_id or 0
            known = profiles.reference(session, self.organisation_id)
            self.rules = profiles.profiles(session)
            if "organisation" not in known:
                raise PermanentError(f"Nothing was read from {row.name} yet. Choose it again.")
            self.facts = OrganisationFacts.from_xero(
                known["organisation"].data[0], known["accounts"].data, known["tax_rates"].data
            )
            described = self.services.crm.modules()
            for module in described:
                kinds = list(DocumentType) if module in DOCUMENTS else [None]
                for kind in kinds:
                    found = profiles.template(session, self.organisation_id, module, kind)
                    if found is not None:
                        self.templates[module, kind] = found.id
                        self.mappers[found.id] = _compiled(found.body, described[module])

    def _rank(self, rank: int) -> None:
        """Claims the rank's items chunk by chunk, builds them, sends whenever a call is full."""
        ready: list[_Ready] = []
        after = 0
        try:
            while claimed := self._claim(rank, after):
                after = claimed[-1].id
                ready = self._send_ready(ready + self._build(claimed), everything=False)
            self._send_ready(ready, everything=True)
        except (TransientError, AuthorisationError, UnknownOutcome, PermanentError):
            self._return_unsent()
            raise

    def _claim(self, rank: int, after: int) -> list[QueueItem]:
        now = self.services.clock.now()
        with self.services.database.write() as session:
            leases.renew(session, self.lease, now=now, seconds=self.services.patience.lease)
            claimed = queue.claim(
                session,
                self.organisation_id,
                rank=rank,
                up_to=self.mark,
                after=after,
                limit=CLAIM,
                now=now,
                run_id=self.run_id,
                only_run=self.only_run,
            )
        self.services.observe("claimed")
        return claimed

    def _return_unsent(self) -> None:
        """Puts what was claimed and isn't in an open call back in its place."""
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            recovery.return_unsent(session, self.organisation_id)

    # -- building -----------------------------------------------------------------------------

    def _build(self, items: Sequence[QueueItem]) -> list[_Ready]:
        """Payloads of what can go; what is gone, blocked, unchanged or at fault is settled here."""
        refs = {item.id: RecordRef(Module(item.module), item.record_id) for item in items}
        records = self.services.crm.fetch_many(list(refs.values()))
        linked = sorted(
            {parent for record in records.values() for parent in record.parents()}, key=str
        )
        parents = self.services.crm.fetch_many(linked) if linked else {}
        ready: list[_Ready] = []
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            sheet = _Sheet(
                bound=bindings.of_records(session, self.organisation_id, [*refs.values(), *linked]),
                open_parents=queue.open_items(session, self.organisation_id, linked),
                flags=profiles.flags(session, refs.values()),
                parents=parents,
            )
            for item in items:
                record = records.get(refs[item.id])
                if record is None:
                    queue.end(session, [item.id], State.CANCELLED)
                    queue.say(session, [item.id], "It was deleted in the CRM before this was sent.")
                elif not self._blocked(session, item, record, sheet):
                    built = self._build_one(session, item, record, sheet)
                    if built is not None:
                        ready.append(built)
        return ready

    def _blocked(self, session: Session, item: QueueItem, record: Record, sheet: _Sheet) -> bool:
        """Parks a child whose parents aren't all in Xero, or wait there with a newer version.

        All that are missing are enqueued at once; the first one that waits is what blocks.
        """
        waits_for: QueueItem | None = None
        for ref in record.parents():
            waiting = sheet.open_parents.get(ref)
            if waiting is not None and (waiting.id <= self.mark or ref not in sheet.bound):
                waits_for = waits_for or waiting
                continue
            if ref in sheet.bound:
                continue
            parent = sheet.parents.get(ref)
            if parent is None:
                sentence = (
                    f"The {ref.module.singular} it names is gone from the CRM. Choose another."
                )
                self._fail(session, item, "parent-gone", sentence)
                return True
            entry = self._entry_for(record, parent)
            if isinstance(entry, str):
                self._fail(session, item, f"parent-not-selected:{ref.module.value}", entry)
                return True
            place = queue.enqueue(session, [entry], now=self.services.clock.now())[ref]
            if self.only_run:
                queue.reserve(session, self.organisation_id, [ref], run_id=self.only_run)
            added = queue.by_ids(session, [place])[place]
            sheet.open_parents[ref] = added
            waits_for = waits_for or added
        if waits_for is not None:
            self._block(session, item, waits_for)
        return waits_for is not None

    def _entry_for(self, record: Record, parent: Record) -> queue.Entry | str:
        rule = self._rule(record.ref.module)
        if rule is not None and not rule.add_needed:
            return (
                f"It needs {parent.ref.module.singular} {parent.label} in Xero first. Tick "
                "Allow Xero Sync there, or let What syncs add needed records."
            )
        return intake.needed_entry(self.rules, self.organisation_id, parent)

    def _block(self, session: Session, item: QueueItem, parent: QueueItem) -> None:
        what = f"{Module(parent.module).singular} {parent.label}"
        sentence = f"Waits for #{parent.id} {what}"
        if parent.state in (State.FAILED, State.CHECK):
            sentence += f", which failed: {parent.sentence or ''}".rstrip()
        queue.park(
            session,
            item,
            State.BLOCKED,
            cause="blocked",
            sentence=sentence if sentence.endswith(".") else sentence + ".",
            blocked_by=parent.id,
        )
        self._log(session, item, State.BLOCKED, sentence, cause="blocked")
        logs.count(session, self.run_id, blocked=1)

    def _fail(self, session: Session, item: QueueItem, cause: str, sentence: str) -> None:
        queue.park(session, item, State.FAILED, cause=cause[:120], sentence=sentence, counts=True)
        self._log(session, item, State.FAILED, sentence, cause=cause[:120])
        logs.count(session, self.run_id, failed=1)

    def _log(
        self,
        session: Session,
        item: QueueItem,
        outcome: State,
        sentence: str,
        *,
        cause: str | None = None,
        xero_id: str | None = None,
    ) -> None:
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
        self, session: Session, item: QueueItem, record: Record, sheet: _Sheet
    ) -> _Ready | None:
        flag = profiles.flag_of(sheet.flags.get(record.ref))
        kind = flag.document_type if record.ref.module in DOCUMENTS else None
        resource = Resource(item.resource)
        bound = sheet.bound.get(record.ref)
        template_id = self.templates.get((record.ref.module, kind))
        if template_id is None:
            self._fail(session, item, "no-template", "There is no mapping for it. Open Mapping.")
            return None
        outcome = self.mappers[template_id].build(record, self._context(record, kind, bound, sheet))
        faults = (
            outcome.faults
            if isinstance(outcome, Faults)
            else check(outcome.payload, resource, self.facts)
        )
        if isinstance(outcome, Faults) or faults:
            sentence = " ".join(dict.fromkeys(each.sentence for each in faults))
            self._fail(session, item, faults[0].fingerprint, sentence)
            return None
        agreed = exactjson.digest(comparable(resource, outcome.payload))
        if bound is not None and bound.agreed_hash == agreed:
            bound.record_version, bound.template_id = record.version, template_id
            queue.end(session, [item.id], State.UNCHANGED)
            self._log(
                session, item, State.UNCHANGED, "Xero already had the same.", xero_id=bound.xero_id
            )
            logs.count(session, self.run_id, unchanged=1)
            return None
        return _Ready(
            item=item,
            record=record,
            built=outcome,
            verb=Verb.UPDATE if bound else Verb.CREATE,
            data=exactjson.dumps(outcome.payload),
            template_id=template_id,
        )

    def _context(
        self,
        record: Record,
        kind: DocumentType | None,
        bound: Binding | None,
        sheet: _Sheet,
    ) -> BuildContext:
        rule = self._rule(record.ref.module)
        parents = {}
        for ref in record.parents():
            binding, parent = sheet.bound[ref], sheet.parents.get(ref)
            parents[ref] = Parent(
                xero_id=binding.xero_id,
                key=binding.number,
                label=parent.label if parent else "",
                fields=parent.fields if parent else {},
            )
        return BuildContext(
            organisation=self.facts,
            parents=parents,
            document_type=kind,
            target_status=rule.target_status if rule else "AUTHORISED",
            record_url=self.services.links.record(record.ref),
            marker=self.services.marker(record.ref),
            xero_id=bound.xero_id if bound else None,
        )

    def _rule(self, module: Module) -> SyncProfile | None:
        return next(
            (
                rule
                for rule in self.rules
                if rule.organisation_id == self.organisation_id and rule.module is module
            ),
            None,
        )

    # -- sending ------------------------------------------------------------------------------

    def _send_ready(self, ready: list[_Ready], *, everything: bool) -> list[_Ready]:
        """Sends full calls, or all of them; answers with what still waits to fill one."""
        if not ready:
            return ready
        resource = Resource(ready[0].item.resource)
        most = CATALOGUE[resource].batch_size
        by_position = {each.item.id: each for each in ready}
        planned = [Planned(each.item.id, each.verb, len(each.data)) for each in ready]
        if not everything and not full(planned, most=most):
            return ready
        for batch in batches(planned, most=most):
            if not everything and len(batch.positions) < most:
                continue
            if self._pausing():
                raise TransientError("The organisation was paused.", retry_after=0, counts=False)
            self._send(resource, batch.verb, [by_position.pop(each) for each in batch.positions])
        return list(by_position.values())

    def _pausing(self) -> bool:
        with self.services.database.read() as session:
            return session.get_one(Organisation, self.organisation_id).paused_at is not None

    def _send(self, resource: Resource, verb: Verb, ready: Sequence[_Ready]) -> None:
        """One call: journalled and committed, sent with no transaction open, settled."""
        body = b'{"%s":[%s]}' % (resource.value.encode(), b",".join(each.data for each in ready))
        now = self.services.clock.now()
        with self.services.database.write() as session:
            leases.renew(session, self.lease, now=now, seconds=self.services.patience.lease)
            attempt_id = journal.open_attempt(
                session,
                self.lease,
                resource=resource,
                verb=verb,
                body=body,
                elements=[
                    journal.Meant(
                        item_id=each.item.id,
                        label=each.record.label,
                        record_version=each.record.version,
                        template_id=each.template_id,
                        meant=each.built.meant,
                        amount=each.built.amount,
                        currency=each.built.currency,
                    )
                    for each in ready
                ],
                run_id=self.run_id,
                now=now,
            )
            logs.count(session, self.run_id, calls=1)
            call = journal.call_of(session.get_one(Attempt, attempt_id), len(ready))
        self.services.observe("journalled")
        began = time.monotonic()
        try:
            answer = connect.call(
                self.services,
                self.lease,
                lambda access: self.services.xero.save_many(access, call),
                renewed=now,
            )
        except PermanentError as refusal:
            recovery.refuse(self.services, self.lease, attempt_id, refusal)
            return
        except (TransientError, AuthorisationError):
            self._not_sent(attempt_id)
            raise
        self.services.observe("answered")
        self._settle(
            attempt_id, recovery.believable(answer), round((time.monotonic() - began) * 1000)
        )
        self.services.observe("settled")
        self._write_back()

    def _not_sent(self, attempt_id: int) -> None:
        """Closes a call that did nothing; its items go back when the drain stops."""
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            attempt = session.get_one(Attempt, attempt_id)
            journal.close(attempt, outcome="not sent", now=self.services.clock.now())

    def _settle(self, attempt_id: int, answer: Answer, duration_ms: int) -> None:
        now = self.services.clock.now()
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            attempt = session.get_one(Attempt, attempt_id)
            settle(
                session,
                attempt,
                journal.elements_of(session, attempt_id),
                answer.elements,
                now=now,
                duration_ms=duration_ms,
            )
            journal.close(
                attempt,
                outcome="settled",
                now=now,
                status=answer.status,
                headers=answer.headers,
                answer=answer.body,
            )
            logs.touch_success(session, self.organisation_id, now=now)
            session.get_one(Organisation, self.organisation_id).day_left = answer.day_left

    def _write_back(self) -> None:
        """Gives the CRM the ids and numbers that were agreed; a repeat is harmless."""
        while True:
            with self.services.database.read() as session:
                rows = bindings.unwritten(session, self.organisation_id)
            if not rows:
                return
            links = {
                RecordRef(Module(row.module), row.record_id): XeroLink(
                    row.xero_id, row.number, row.xero_status
                )
                for row in rows
            }
            try:
                self.services.crm.write_back(links)
            except XTigerError as failure:
                # What is in Xero stays bound; the next drain tells the CRM.
                log.warning("not written back", count=len(links), why=failure.sentence)
                return
            with self.services.database.write() as session:
                bindings.written(session, rows)

    # -- stopping -----------------------------------------------------------------------------

    def hold(self, sentence: str, retry_after: float | None, *, counts: bool) -> Drained:
        """Holds the organisation: everything keeps its place, nothing is sent until then.

        Without a time from Xero the wait doubles with each failure, up to a quarter hour.
        """
        now = self.services.clock.now()
        factor = self.services.settings.time_factor
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            row = session.get_one(Organisation, self.organisation_id)
            if counts:
                row.held_times += 1
            wait = retry_after
            if wait is None:
                wait = min(LONGEST_HOLD, 5 * 2 ** max(0, row.held_times - 1)) * factor
            row.held_until = now + timedelta(seconds=wait)
            row.held_why = sentence
        return Drained(False, sentence, parked=True)

    def stop(self, sentence: str) -> None:
        """Notes why nothing more is sent until somebody acts."""
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            row = session.get_one(Organisation, self.organisation_id)
            row.held_why = sentence
            wait = LONGEST_HOLD * self.services.settings.time_factor
            row.held_until = self.services.clock.now() + timedelta(seconds=wait)
            # A person who mended the cause and presses Sync doesn't wait for that.
            row.held_times += 1
        log.warning("stopped", organisation=self.organisation_id, why=sentence)


def _compiled(body: Any, described: ModuleInfo) -> CompiledMapper:
    try:
        return compile_template(MappingTemplate.from_json(body), described)
    except TemplateFault as fault:
        raise PermanentError(
            f"The mapping of {described.module.value} can't be used: {fault.sentence}"
        ) from fault


@dataclass(slots=True)
class _Sheet:
    """What building one chunk has looked up."""

    bound: Mapping[RecordRef, Binding]
    open_parents: dict[RecordRef, QueueItem]
    flags: Mapping[RecordRef, Any]
    parents: Mapping[RecordRef, Record]

"""Draining one organisation: lease, plan, build, journal, send, settle, and again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from xtiger.domain.errors import (
    AuthorisationError,
    LeaseLost,
    PermanentError,
    TransientError,
    UnknownOutcome,
    XTigerError,
)
from xtiger.domain.queueing import Planned, batches, full
from xtiger.domain.records import (
    Module,
    RecordRef,
    XeroLink,
)
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.engine import connect, intake, recovery, tokens
from xtiger.engine.build import Builder, Ready, StaleReference
from xtiger.engine.services import Services
from xtiger.engine.settle import settle
from xtiger.ports import Answer
from xtiger.store import bindings, journal, leases, logs, queue, usage
from xtiger.store.leases import Lease
from xtiger.store.models import Attempt, Organisation, QueueItem
from xtiger.telemetry import logger

#: Items claimed at a time: a few full batches, so that memory and transactions stay small.
CLAIM = 200
#: The most passes one run makes; what comes later is the next run's.
PASSES = 5
#: Reference data older than this is read again before anything is built by it.
REFERENCE_AGE = timedelta(hours=1)
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
        tokens.count_usage(services)


@dataclass(slots=True)
class _Drain:
    """One organisation's drain while it holds the lease."""

    services: Services
    lease: Lease
    run_id: int | None
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
        recovery.settle_open(self.services, self.lease, run_id=self.run_id)
        self._write_back()
        builder = self._prepare()
        for _pass in range(PASSES):
            intake.relay(self.services)
            ranks = self._begin_pass()
            if not ranks:
                self._forget_hold()
                return Drained(True)
            if self.services.clock.now() - builder.read_at > REFERENCE_AGE:
                builder = self._prepare_anew()
            for rank in ranks:
                if (why := self._held()) is not None:
                    return why
                builder = self._rank(rank, builder)
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
        if row.removed:
            return Drained(False, row.removed)
        return None

    def _prepare(self) -> Builder:
        with self.services.database.read() as session:
            row = session.get_one(Organisation, self.organisation_id)
            self.only_run = None if row.live_since else self.run_id or 0
        return Builder.of(self.services, self.lease, run_id=self.run_id, only_run=self.only_run)

    def _prepare_anew(self) -> Builder:
        """Reads organisation, accounts and tax rates from Xero again (3 calls)."""
        with self.services.database.write() as session:
            now = self.services.clock.now()
            leases.renew(session, self.lease, now=now, seconds=self.services.patience.lease)
        connect.refresh_reference(self.services, self.organisation_id)
        return self._prepare()

    def _rank(self, rank: int, builder: Builder) -> Builder:
        """Sends one rank; answers with the builder to go on with, which may be a fresh one."""
        try:
            try:
                self._go_through(rank, builder)
            except StaleReference:
                # Nothing is lost: what was claimed goes back, and again with fresh data.
                self._return_unsent()
                builder = self._prepare_anew()
                self._go_through(rank, builder)
        except (TransientError, AuthorisationError, UnknownOutcome, PermanentError):
            self._return_unsent()
            raise
        return builder

    def _go_through(self, rank: int, builder: Builder) -> None:
        """Claims the rank's items chunk by chunk, builds them, sends whenever a call is full."""
        ready: list[Ready] = []
        after = 0
        while claimed := self._claim(rank, after):
            after = claimed[-1].id
            ready += builder.build(claimed, mark=self.mark)
            ready = self._send_ready(ready, everything=False)
        self._send_ready(ready, everything=True)

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

    # -- sending ------------------------------------------------------------------------------

    def _send_ready(self, ready: list[Ready], *, everything: bool) -> list[Ready]:
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
            if self.services.stopping():
                raise TransientError(
                    "The worker stopped; XTiger goes on with the next.", retry_after=0, counts=False
                )
            if self._pausing():
                raise TransientError("The organisation was paused.", retry_after=0, counts=False)
            self._send(resource, batch.verb, [by_position.pop(each) for each in batch.positions])
        return list(by_position.values())

    def _pausing(self) -> bool:
        with self.services.database.read() as session:
            return session.get_one(Organisation, self.organisation_id).paused_at is not None

    def _send(self, resource: Resource, verb: Verb, ready: Sequence[Ready]) -> None:
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
            answer = tokens.call(
                self.services,
                self.lease,
                lambda access: self.services.xero.save_many(access, call),
                until=self.services.patience.start_until(now),
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
        elements = recovery.claimed(self.services, self.lease, attempt_id, answer)
        now = self.services.clock.now()
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            attempt = session.get_one(Attempt, attempt_id)
            settle(
                session,
                attempt,
                journal.elements_of(session, attempt_id),
                elements,
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
            usage.learn(
                session.get_one(Organisation, self.organisation_id),
                day_left=answer.day_left,
                minute=answer.minute,
                now=now,
            )

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
            # Our own back-off ends when a person asks; a limit of Xero's doesn't.
            row.held_by_xero = retry_after is not None and not counts
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
            row.held_by_xero = False
            row.held_times += 1
        log.warning("stopped", organisation=self.organisation_id, why=sentence)

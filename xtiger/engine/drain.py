"""Draining one organisation: lease, plan, build, journal, send, settle, and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from xtiger.domain.errors import (
    AuthorisationError,
    LeaseLost,
    PermanentError,
    TransientError,
    UnknownOutcome,
    XTigerError,
)
from xtiger.domain.meeting import MET
from xtiger.domain.queueing import REMOVE, Planned, backoff, batches
from xtiger.domain.records import Module
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.domain.schedules import Schedule
from xtiger.engine import intake, meeting, recovery
from xtiger.engine.build import Builder, StaleReference, TurnsAway
from xtiger.engine.connection import connect, tokens
from xtiger.engine.elements import Ready
from xtiger.engine.flight import Flight
from xtiger.engine.services import Services
from xtiger.store import bindings, claims, leases, logs, profiles, queue, usage
from xtiger.store.claims import Claimed
from xtiger.store.leases import Lease
from xtiger.store.models import Organisation, Run
from xtiger.telemetry import logger

#: Items claimed at a time: a few full batches, so that memory and transactions stay small.
CLAIM = 200
#: After so many passes a run takes in nothing more that comes meanwhile: it must end.
PASSES = 5
#: A bound for what waits for what through ever deeper chains, and for a fault of ours.
MOST_PASSES = 200
#: The urgency of a run that was asked for single records (`store.logs.ask_run`).
URGENT = 2
#: Reference data older than this is read again before anything is built by it.
REFERENCE_AGE = timedelta(hours=1)
#: Longest wait until a person is asked for, in seconds.
LONGEST_HOLD = 900

log = logger("drain")


@dataclass(frozen=True, slots=True)
class Drained:
    """How a drain ended. `done`: nothing is due any more. `sentence`: why it stopped if not.

    `parked`: its run goes on later. `elsewhere`: another worker does the work. `gave_way`: it
    let others go first, and may go on at once.
    """

    done: bool
    sentence: str | None = None
    parked: bool = False
    elsewhere: bool = False
    gave_way: bool = False


class GivesWay(TurnsAway):
    """The drain stops between two calls so that others get their turn."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


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


def left_alone(
    session: Session, organisation_id: int, now: datetime, reserve: int
) -> claims.Narrow:
    """What nothing of an organisation's queue goes at present, although it is due.

    `reserve` is the share of the day in percent that is kept for documents.
    """
    strict = profiles.strict_modules(session, organisation_id)
    row = session.get_one(Organisation, organisation_id)
    return claims.Narrow(
        paused=frozenset(profiles.paused_modules(session, organisation_id)),
        caps=claims.held_caps(session, organisation_id, strict),
        wanted_below=usage.kept_below(row, now, reserve),
    )


@dataclass(slots=True)
class _Drain:
    """One organisation's drain while it holds the lease."""

    services: Services
    lease: Lease
    run_id: int | None
    mark: int = 0
    #: How soon its run goes, and which items alone it may send.
    urgency: int = 0
    only_run: int | None = None
    strict: frozenset[str] = frozenset()
    #: Of a run that the schedule asked for: the modules that don't go at once.
    schedules: Mapping[Module, Schedule] = field(default_factory=dict)
    #: It has sent something: before that it lets nobody pass, or it might never come to it.
    moved: bool = False
    #: The resources whose objects in Xero are known: see `meeting.look_around`.
    seen: frozenset[str] = frozenset()

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
        except GivesWay as turn:
            return Drained(False, turn.sentence, parked=True, gave_way=True)
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
        last = 0
        for passes in range(1, MOST_PASSES):
            intake.relay(self.services)
            ranks = self._begin_pass(last)
            if not ranks:
                return self._ended()
            if passes >= PASSES:
                # From here on only what was there; what came later is the next run's.
                last = last or self.mark
            if self.services.clock.now() - builder.read_at > REFERENCE_AGE:
                builder = self._prepare_anew()
            for rank in ranks:
                if (why := self._held()) is not None:
                    return why
                builder = self._turn(rank, builder)
            last = max(last, builder.added.last) if last else 0
        return self._ended()

    def _begin_pass(self, last: int) -> list[int]:
        """Marks what the pass covers; answers with the turns that have something due in it."""
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            queue.release_stranded(session, self.organisation_id)
            self.mark = last or claims.mark(session)
            now = self.services.clock.now()
            narrow = self._narrow(session, now)
            return claims.due_ranks(
                session, self.organisation_id, up_to=self.mark, now=now, narrow=narrow
            )

    def _narrow(self, session: Session, now: datetime) -> claims.Narrow:
        """What this drain leaves alone at present."""
        reserve = self.services.settings.day_reserve
        return replace(
            left_alone(session, self.organisation_id, now, reserve),
            only_run=self.only_run,
            urgent=self.urgency == URGENT and bool(self.only_run),
            since={each.value: one.last_turn(now) for each, one in self.schedules.items()},
        )

    def _ended(self) -> Drained:
        """Nothing is due any more, so nothing holds the organisation either."""
        now = self.services.clock.now()
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            row = session.get_one(Organisation, self.organisation_id)
            row.held_until = row.held_why = None
            row.held_times = 0
            narrow = self._narrow(session, now)
            if narrow.wanted_below is None:
                return Drained(True)
            kept = replace(narrow, wanted_below=None)
            rest = claims.due_count(session, self.organisation_id, now=now, narrow=kept)
        return Drained(True, usage.kept_sentence(rest) if rest else None)

    def _held(self) -> Drained | None:
        """Why nothing may be sent now, asked before each turn."""
        with self.services.database.read() as session:
            row = session.get_one(Organisation, self.organisation_id)
            everything = profiles.pause_of_all(session)
        if everything:
            return Drained(False, f"Everything is paused by {everything.by}.", parked=True)
        if row.paused_at:
            return Drained(False, f"{row.name} is paused.", parked=True)
        if not row.chosen or row.connection_id is None:
            return Drained(False, f"{row.name} isn't connected. Connect it under API details.")
        if row.removed:
            return Drained(False, row.removed)
        if row.held_by_xero and row.held_until and row.held_until > self.services.clock.now():
            # Another worker met a limit between our look at it and our taking the lease.
            return Drained(False, row.held_why, parked=True)
        if usage.only_for_people(row, self.services.clock.now()):
            hour = 3600 * self.services.settings.time_factor
            return self.hold(usage.FOR_PEOPLE, hour, counts=False)
        return None

    def _prepare(self) -> Builder:
        with self.services.database.read() as session:
            row = session.get_one(Organisation, self.organisation_id)
            run = session.get(Run, self.run_id) if self.run_id else None
            self.urgency = run.urgency if run else 0
            alone = row.live_since is None or self.urgency == URGENT
            self.only_run = (self.run_id or 0) if alone else None
            self.strict = frozenset(profiles.strict_modules(session, row.id))
            self.schedules = {} if self.urgency else profiles.schedules(session, row.id)
        return Builder.of(
            self.services,
            self.lease,
            run_id=self.run_id,
            only_run=self.only_run,
            urgent=self.urgency == URGENT,
        )

    def _prepare_anew(self) -> Builder:
        """Reads organisation, accounts, tax rates and currencies from Xero again (4 calls)."""
        with self.services.database.write() as session:
            now = self.services.clock.now()
            leases.renew(session, self.lease, now=now, seconds=self.services.patience.lease)
        connect.refresh_reference(self.services, self.organisation_id)
        return self._prepare()

    def _turn(self, rank: int, builder: Builder) -> Builder:
        """Sends one turn; answers with the builder to go on with, which may be a fresh one."""
        try:
            try:
                self._go_through(rank, builder)
            except StaleReference:
                # Nothing is lost: what was claimed goes back, and again with fresh data.
                self._return_unsent()
                builder = self._prepare_anew()
                self._go_through(rank, replace(builder, just_read=True))
        except (TransientError, AuthorisationError, UnknownOutcome, PermanentError, GivesWay):
            self._return_unsent()
            raise
        return builder

    def _go_through(self, rank: int, builder: Builder) -> None:
        """Claims the turn's items chunk by chunk, builds them, sends whenever a call is full.

        The next chunk is read and built while calls of the last are under way; the turn ends
        once all have landed.
        """
        ready: list[Ready] = []
        after = 0
        with self._flight(strict=False) as flight:
            while claimed := self._next(flight, rank, after):
                after = claimed[-1].id
                self._look_around(claimed)
                ready += builder.build(claimed, mark=self.mark)
                if self.strict.intersection(item.module for item in claimed):
                    flight.land()
                    ready = self._ahead(ready)
                    with self._flight(strict=True) as single:
                        ready = self._send_ready(single, ready, everything=True, strict=True)
                        single.land()
                else:
                    ready = self._send_ready(flight, ready, everything=False, strict=False)
                self._write_back()
            self._send_ready(flight, ready, everything=True, strict=False)
            flight.land()
        self._write_back()

    def _look_around(self, claimed: Sequence[Claimed]) -> None:
        """What Xero has already is known before records that may be it are built."""
        new = [item for item in claimed if item.action != REMOVE and item.resource not in self.seen]
        if any(item.resource in MET for item in new):
            self.seen |= meeting.look_around(self.services, self.lease, new)

    def _next(self, flight: Flight, rank: int, after: int) -> list[Claimed]:
        """The turn's next items, unless others go first; the first ones of a drain never wait."""
        if self.moved and (others := self._others_first()):
            flight.land()
            raise GivesWay(others)
        claimed = self._claim(rank, after)
        self.moved = self.moved or bool(claimed)
        return claimed

    def _others_first(self) -> str | None:
        """Who goes before this drain goes on, as a sentence."""
        with self.services.database.read() as session:
            if logs.more_urgent(session, self.organisation_id, self.urgency):
                return "What a person asked for goes first; then this goes on."
        if self.services.crowded():
            return "Other organisations have their turn; then this goes on."
        return None

    def _flight(self, *, strict: bool) -> Flight:
        most = 1 if strict else self.services.in_flight
        return Flight(self.services, self.lease, self.run_id, most)

    def _claim(self, rank: int, after: int) -> list[Claimed]:
        now = self.services.clock.now()
        with self.services.database.write() as session:
            leases.renew(session, self.lease, now=now, seconds=self.services.patience.lease)
            claimed = claims.claim(
                session,
                self.organisation_id,
                rank=rank,
                up_to=self.mark,
                after=after,
                limit=CLAIM,
                now=now,
                run_id=self.run_id,
                narrow=self._narrow(session, now),
            )
        self.services.observe("claimed")
        return claimed

    def _return_unsent(self, but: Set[int] = frozenset()) -> None:
        """Puts what was claimed and isn't in an open call back in its place."""
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            recovery.return_unsent(session, self.organisation_id, but=but)

    # -- sending ------------------------------------------------------------------------------

    def _send_ready(
        self, flight: Flight, ready: list[Ready], *, everything: bool, strict: bool
    ) -> list[Ready]:
        """Sends full calls, or all of them; answers with what still waits to fill one."""
        by_position = {each.item.id: each for each in ready}
        for resource in dict.fromkeys(Resource(each.item.resource) for each in ready):
            most = CATALOGUE[resource].batch_size
            planned = [
                Planned(each.item.id, each.verb, len(each.data), each.item.doubts)
                for each in ready
                if each.item.resource == resource
            ]
            for batch in batches(planned, most=most, in_order=strict):
                if not everything and not batch.full:
                    continue
                self._check({by_position[one].item.module for one in batch.positions})
                if strict and not self._ahead([by_position[batch.positions[0]]]):
                    return []
                flight.send(resource, batch.verb, [by_position.pop(one) for one in batch.positions])
        return list(by_position.values())

    def _ahead(self, ready: list[Ready]) -> list[Ready]:
        """Of a strict lane what nothing that failed or waits stands ahead of; the rest goes back.

        Nothing may be under way: whatever is claimed and in no open call is put back.
        """
        with self.services.database.read() as session:
            caps = claims.held_caps(session, self.organisation_id, self.strict)
        kept = [each for each in ready if each.item.id <= caps.get(each.item.module, each.item.id)]
        if len(kept) < len(ready):
            self._return_unsent(but={each.item.id for each in kept})
        return kept

    def _check(self, modules: Set[str]) -> None:
        """Raises TransientError where no call may be started: the worker ends, or a pause."""
        if self.services.stopping():
            raise TransientError(
                "The worker stopped; XTiger goes on with the next.", retry_after=0, counts=False
            )
        with self.services.database.read() as session:
            if not profiles.is_paused(session, self.organisation_id, modules):
                return
        raise TransientError("It was paused.", retry_after=0, counts=False)

    def _write_back(self) -> None:
        """Gives the CRM the ids and numbers that were agreed; a repeat is harmless."""
        while True:
            with self.services.database.read() as session:
                rows = bindings.unwritten(session, self.organisation_id)
            if not rows:
                return
            links = {row.ref: row.link for row in rows}
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

        Without a time from Xero it waits as `backoff` says, a little longer each time.
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
                wait = backoff(row.held_times, chance=self.services.chance()) * factor
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

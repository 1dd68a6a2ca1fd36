"""When work starts: runs that were asked for, the schedule, and one pass for hosts with cron."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from xtiger.domain import phrases
from xtiger.domain.errors import PermanentError, XTigerError
from xtiger.domain.queueing import State
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.schedules import When
from xtiger.domain.selection import SyncProfile
from xtiger.engine import intake, needed
from xtiger.engine.alerting import alerts
from xtiger.engine.connection import reference, tokens, webhooks
from xtiger.engine.drain import URGENT, drain, left_alone
from xtiger.engine.reporting import letters, reports
from xtiger.engine.services import Services
from xtiger.engine.standing import held_sentence, schedule_sentence
from xtiger.engine.upkeep import housekeeping, keys
from xtiger.store import claims, journal, leases, logs, profiles, queue
from xtiger.store.models import Attempt, Organisation, QueueItem, Run
from xtiger.telemetry import logger

log = logger("scheduler")


def sync_now(
    services: Services,
    *,
    organisation_id: int | None,
    modules: Sequence[Module] | None,
    who: str,
) -> list[int]:
    """**Sync**: enqueues what is selected and asks for a run at once; answers with run ids.

    An organisation without anything due gets no run. Raises PermanentError where an
    organisation isn't live yet.
    """
    chosen = _chosen(services, organisation_id)
    sleeping = [row.name for row in chosen if row.live_since is None]
    if sleeping and (organisation_id is not None or len(sleeping) == len(chosen)):
        raise PermanentError(
            f"{' and '.join(sleeping)} isn't live yet. Press Go live under API details first."
        )
    awake = [row for row in chosen if row.live_since is not None]
    if not awake:
        raise PermanentError("No organisation is connected. Connect one under API details.")
    intake.add_selected(services, organisation_id=organisation_id, modules=modules, who=who)
    now = services.clock.now()
    with services.database.read() as session:
        due = [
            row.id
            for row in awake
            if _has_work(session, row.id, now, services.settings.day_reserve)
        ]
    return _ask(services, due, who=who)


def sync_records(services: Services, refs: Sequence[RecordRef], *, who: str) -> list[int]:
    """**Sync now** of single records: enqueued with what they need, and a run at once."""
    added = intake.add_records(services, refs, who=who)
    if added.count == 0:
        raise PermanentError("Nothing of it is selected; the record page says why.")
    with services.database.read() as session:
        waiting = {
            row.id
            for row in profiles.organisations(session)
            if queue.open_items(session, row.id, refs)
        }
    records = services.crm.fetch_many(refs).values()
    wanted = dict.fromkeys(parent for record in records for parent in record.parents())
    return _ask(services, sorted(waiting), who=who, refs=[*refs, *wanted])


def _chosen(services: Services, organisation_id: int | None) -> list[Organisation]:
    with services.database.read() as session:
        rows = profiles.organisations(session)
    return [row for row in rows if organisation_id in (None, row.id)]


def _has_work(session: Session, organisation_id: int, now: datetime, reserve: int) -> bool:
    """Whether something is due, or a call whose outcome nobody knows yet waits to be found out.

    A run that ends while it asks Xero about such a call (a scope is missing, say) leaves it open.
    """
    due = claims.due_count(
        session, organisation_id, now=now, narrow=left_alone(session, organisation_id, now, reserve)
    )
    return bool(due or journal.still_open(session, organisation_id))


def _ask(
    services: Services, organisation_ids: Sequence[int], *, who: str, refs: Sequence[RecordRef] = ()
) -> list[int]:
    """Asks for an instant run of each; `refs` may go even where an organisation isn't live."""
    now = services.clock.now()
    with services.database.write() as session:
        leases.lock(session, organisation_ids)
        runs = [
            logs.ask_run(
                session, one, kind="instant", requested_by=who, now=now, single=bool(refs)
            ).id
            for one in organisation_ids
        ]
        for one, run_id in zip(organisation_ids, runs, strict=True):
            claims.reserve(session, one, refs, run_id=run_id, urgent=True)
            # A person who asks doesn't wait for the back-off; Xero's own limits still hold.
            row = session.get_one(Organisation, one)
            if not row.held_by_xero:
                row.held_until = None
    for one in organisation_ids:
        services.dispatcher.wake(one)
    return runs


def schedule_due(services: Services, *, retries: bool = True) -> list[int]:
    """Asks for a run of every organisation that has something due by its profiles' schedules.

    Answers with the organisations that have a run now. `retries`: failed items are taken again
    too, as often as their profiles say; those of a module with a schedule once each turn.
    """
    intake.relay(services)
    now = services.clock.now()
    with services.database.read() as session:
        going = _by_themselves(session, now)
        rules = [one for one in profiles.profiles(session) if one.organisation_id in going]
    if retries:
        _retry_failed(services, [one for one in rules if one.retries], now)
    needed.let_go(services, going)
    found, fresh = [], []
    with services.database.read() as session:
        for one in going:
            if logs.unended_runs(session, one):
                found.append(one)  # a run that was parked takes what is due along
            elif _due_by_schedule(session, one, now, services.settings.day_reserve):
                found.append(one)
                fresh.append(one)
    if fresh:
        with services.database.write() as session:
            leases.lock(session, fresh)
            for one in fresh:
                if not logs.unended_runs(session, one):
                    logs.ask_run(session, one, kind="scheduled", requested_by="schedule", now=now)
    return found


def _by_themselves(session: Session, now: datetime) -> list[int]:
    """The organisations to which something is sent without anybody asking, at present."""
    if profiles.pause_of_all(session) is not None:
        return []
    broken = profiles.broken_connections(session)
    return [
        row.id
        for row in profiles.organisations(session)
        if row.live_since
        and row.auto_sync
        and not row.paused_at
        and not (row.held_until and row.held_until > now)
        # What lost its consent goes on by itself once a person has connected again.
        and not (row.removed or row.connection_id in broken)
    ]


def _due_by_schedule(session: Session, organisation_id: int, now: datetime, reserve: int) -> bool:
    narrow = _since(
        session, organisation_id, now, left_alone(session, organisation_id, now, reserve)
    )
    return claims.any_due(session, organisation_id, now=now, narrow=narrow) or bool(
        journal.still_open(session, organisation_id)
    )


def _since(
    session: Session, organisation_id: int, now: datetime, narrow: claims.Narrow
) -> claims.Narrow:
    """The same for a run of the schedule: what its module's newest turn doesn't cover stays."""
    schedules = profiles.schedules(session, organisation_id)
    return replace(
        narrow, since={each.value: one.last_turn(now) for each, one in schedules.items()}
    )


def _retry_failed(services: Services, rules: Sequence[SyncProfile], now: datetime) -> None:
    """Takes failed items again that were refused less often than their profile allows."""
    if not rules:
        return
    with services.database.write() as session:
        for rule in rules:
            turn = rule.schedule.last_turn(now)
            if turn is not None:
                queue.retry_by_schedule(
                    session,
                    rule.organisation_id,
                    rule.module,
                    most=rule.retries,
                    now=now,
                    before=None if rule.schedule.when is When.AT_ONCE else turn,
                )


def work(services: Services, organisation_id: int) -> None:
    """Carries out the runs that wait for an organisation, one after the other.

    Their mails are left to `reports.report_ended`, which whoever works asks by itself: no mail
    server and no report keeps an organisation's records waiting.

    A run that gave way has its turn again after the one that went first, whoever came since:
    so a steady stream of urgent runs starves nobody.
    """
    waits: int | None = None
    turn: int | None = None
    while (run_id := _start(services, organisation_id, turn)) is not None:
        services.under_way[threading.get_ident()] = (organisation_id, time.monotonic())
        try:
            outcome = drain(services, organisation_id, run_id=run_id)
        finally:
            services.under_way.pop(threading.get_ident(), None)
        turn, waits = waits, None
        if outcome.gave_way and not services.crowded():
            turn, waits = None, run_id
            continue
        if outcome.parked:
            if not outcome.elsewhere:
                _note(services, run_id, outcome.sentence)
            return
        _end(services, run_id, outcome.sentence)


def _start(services: Services, organisation_id: int, turn: int | None = None) -> int | None:
    """The run whose turn it is, marked as started; None if there is none or it must wait.

    That is `turn` if it isn't over, else the most urgent, else the oldest.
    """
    now = services.clock.now()
    with services.database.write() as session:
        row = session.get_one(Organisation, organisation_id)
        if row.paused_at or (row.held_until and row.held_until > now):
            return None
        if profiles.pause_of_all(session) is not None:
            return None
        if row.lease_until and row.lease_until > now:
            return None
        runs = logs.unended_runs(session, organisation_id)
        if not runs:
            return None
        run = next((one for one in runs if one.id == turn), runs[0])
        if run.started_at is None:
            run.started_at = now
            narrow = claims.ALL
            if run.urgency == URGENT:
                narrow = replace(narrow, only_run=run.id, urgent=True)
            elif not run.urgency:
                narrow = _since(session, organisation_id, now, narrow)
            run.due = claims.due_count(session, organisation_id, now=now, narrow=narrow)
        run.sentence = None
        return run.id


def _note(services: Services, run_id: int, sentence: str | None) -> None:
    with services.database.write() as session:
        session.get_one(Run, run_id).sentence = sentence


def _end(services: Services, run_id: int, sentence: str | None) -> None:
    """Ends a run, unless another worker came to its end first."""
    now = services.clock.now()
    with services.database.write() as session:
        run = session.get_one(Run, run_id, with_for_update=True)
        if run.ended_at is not None:
            return
        took = phrases.lasted("en", (now - (run.started_at or run.asked_at)).total_seconds())
        logs.sum_up(session, run)
        run.ended_at = now
        run.trouble = sentence is not None
        run.sentence = sentence or (
            f"Finished in {took}: {run.succeeded} succeeded, {run.unchanged} unchanged, "
            f"{run.failed} failed, {run.blocked} blocked."
        )


def waiting(services: Services) -> list[int]:
    """Organisations with work to carry on: asked or parked runs, or calls left open.

    None while everything is paused.
    """
    now = services.clock.now()
    with services.database.read() as session:
        if profiles.pause_of_all(session) is not None:
            return []
        asked = {run.organisation_id for run in logs.unended_runs(session)}
        left_open = set(
            session.scalars(
                select(Attempt.organisation_id).where(text("closed_at IS NULL")).distinct()
            )
        )
        broken = profiles.broken_connections(session)
        ready = []
        for row in profiles.organisations(session):
            if row.id not in asked | left_open or row.paused_at:
                continue
            if row.id not in asked and (row.removed or row.connection_id in broken):
                continue  # nothing can be found out before a person has connected again
            if row.held_until and row.held_until > now:
                continue
            if row.lease_until and row.lease_until > now:
                continue
            ready.append((row.id, row.id in asked))
    orphans = [one for one, has_run in ready if not has_run]
    if orphans:
        with services.database.write() as session:
            for one in orphans:
                logs.ask_run(session, one, kind="scheduled", requested_by="recovery", now=now)
    return [one for one, _has_run in ready]


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did: elements by what became of them, and what still waits, with its why."""

    sent: int = 0
    unchanged: int = 0
    failed: int = 0
    waiting: int = 0
    why: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """`3 sent, 1 unchanged, 0 failed, 2 waiting.` and why they wait."""
        counts = (
            f"{self.sent} sent, {self.unchanged} unchanged, "
            f"{self.failed} failed, {self.waiting} waiting."
        )
        return " ".join((counts, *self.why))


def once(services: Services) -> Pass:
    """One pass for hosts that only have cron: relay, ask, drain, mail, in this process.

    Passes may overlap: an organisation that another one works on is left to it. An organisation
    that can't be worked on doesn't keep the others from it; `Pass.why` says so. Raises XTigerError
    where nothing at all can be done (the database is away).
    """
    before = _figures(services)
    tokens.keep_alive(services)
    webhooks.handle(services)
    why: list[str] = []
    for organisation_id in dict.fromkeys([*schedule_due(services), *waiting(services)]):
        if services.stopping():
            break
        try:
            work(services, organisation_id)
        except XTigerError as failure:
            log.warning("drain stopped", organisation=organisation_id, why=failure.sentence)
            why.append(failure.sentence)
    webhooks.forget(services)
    tokens.count_usage(services)
    reports.report_ended(services)
    if alerts.look(services):
        letters.send_waiting(services)
    keys.seal_anew(services)
    housekeeping.when_due(services)
    reference.nightly(services)
    return _told(services, before, why)


def _figures(services: Services, after: int | None = None) -> tuple[int, list[int]]:
    """What runs came to by now: all behind the last one that ended before nothing was open."""
    with services.database.read() as session:
        if after is None:
            unended = session.scalar(select(func.min(Run.id)).where(text("ended_at IS NULL")))
            newest = session.scalar(select(func.max(Run.id)))
            after = unended - 1 if unended is not None else newest or 0
        runs = session.scalars(select(Run).where(Run.id > after)).all()
    sums = [sum(getattr(run, name) for run in runs) for name in _COUNTED]
    return after, sums


_COUNTED = ("succeeded", "unchanged", "failed")


def _elsewhere(row: Organisation, now: datetime) -> str | None:
    """Who has it while this pass is over, None where nobody does."""
    if row.lease_until is None or row.lease_until <= now:
        return None
    return f"a worker has it until {row.lease_until:%H:%M} UTC at the latest."


def _scheduled(session: Session, row: Organisation, now: datetime) -> list[str]:
    """When what waits for its schedule goes, a sentence for each module of it."""
    schedules = profiles.schedules(session, row.id)
    if not schedules:
        return []
    waiting = set(
        session.scalars(
            select(QueueItem.module)
            .where(QueueItem.organisation_id == row.id, text("state = 'pending'"))
            .distinct()
        )
    )
    return [
        schedule_sentence(row.name, module, schedule, now)
        for module, schedule in schedules.items()
        if module.value in waiting
    ]


def _told(services: Services, before: tuple[int, list[int]], why: Sequence[str]) -> Pass:
    """What runs came to during the pass, and what the queue holds now with why it waits."""
    now = services.clock.now()
    _, sums = _figures(services, before[0])
    sent, unchanged, failed = (max(0, one - had) for one, had in zip(sums, before[1], strict=True))
    with services.database.read() as session:
        left = session.scalar(
            select(func.count())
            .select_from(QueueItem)
            .where(QueueItem.state.in_([State.PENDING, State.RUNNING, State.BLOCKED]))
        )
        held = []
        for row in profiles.organisations(session) if left else ():
            if sentence := held_sentence(session, row, now) or _elsewhere(row, now):
                held.append(f"{row.name} waits: {sentence}")
            else:
                held += _scheduled(session, row, now)
    return Pass(
        sent=sent,
        unchanged=unchanged,
        failed=failed,
        waiting=left or 0,
        why=tuple(dict.fromkeys((*held, *why))),
    )

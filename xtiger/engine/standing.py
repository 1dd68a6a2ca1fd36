"""Where one record stands in Xero, and the one sentence that says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from xtiger.domain.queueing import OPEN, SENTENCES, State
from xtiger.domain.records import Module, Record, RecordRef
from xtiger.domain.resources import RESOURCE_OF
from xtiger.domain.schedules import Schedule
from xtiger.domain.selection import Decision, Reason, plain_day
from xtiger.domain.zones import zone
from xtiger.engine.intake import decide_many
from xtiger.engine.services import Services
from xtiger.store import bindings, claims, logs, profiles, queue, usage, workers
from xtiger.store.models import Attempt, AttemptElement, Binding, Organisation, QueueItem

#: A link that mends the cause: its words and its path.
Fix = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """One record in one organisation."""

    organisation: Organisation | None
    state: str
    sentence: str
    fix: Fix | None = None
    item: QueueItem | None = None
    binding: Binding | None = None
    xero_url: str | None = None


def standing(services: Services, ref: RecordRef) -> list[Standing]:
    """Where a record stands, a Standing for each organisation that comes into question."""
    record = services.crm.fetch_many([ref]).get(ref)
    return _standings(services, [record])[ref] if record else []


def standings(services: Services, records: Sequence[Record]) -> dict[RecordRef, Standing]:
    """The first standing of each of some records, for lists."""
    return {ref: found[0] for ref, found in _standings(services, records).items()}


def _standings(services: Services, records: Sequence[Record]) -> dict[RecordRef, list[Standing]]:
    decisions = decide_many(services, records)
    refs = [record.ref for record in records]
    found: dict[RecordRef, list[Standing]] = {ref: [] for ref in refs}
    with services.database.read() as session:
        chosen = profiles.organisations(session)
        for row in chosen:
            bound = bindings.of_records(session, row.id, refs)
            waiting = queue.open_items(session, row.id, refs)
            for record in records:
                decision = _of(decisions[record.ref], row.id)
                binding, item = bound.get(record.ref), waiting.get(record.ref)
                if binding or item or decision is not None:
                    found[record.ref].append(
                        _judge(services, session, row, record, decision, item, binding)
                    )
    for record in records:
        if not found[record.ref]:
            first = decisions[record.ref][0]
            found[record.ref].append(
                Standing(None, "Not selected", first.sentence, _fix(first, record.ref))
            )
        found[record.ref].sort(key=lambda each: each.binding is None and each.item is None)
    return found


def _of(decisions: Sequence[Decision], organisation_id: int) -> Decision | None:
    return next((each for each in decisions if each.organisation_id == organisation_id), None)


def _fix(decision: Decision, ref: RecordRef) -> Fix | None:
    paths: dict[Reason, Fix] = {
        Reason.NOT_CONNECTED: ("API details", "/api-details"),
        Reason.SWITCHED_OFF: ("What syncs", "/what-syncs"),
        Reason.ELSEWHERE: ("What syncs", "/what-syncs"),
        Reason.NOT_TICKED: ("Tick it", f"/records/{ref.module.value}/{ref.id}#allow"),
    }
    return paths.get(decision.reason)


def _judge(
    services: Services,
    session: Session,
    row: Organisation,
    record: Record,
    decision: Decision | None,
    item: QueueItem | None,
    binding: Binding | None,
) -> Standing:
    """The first cause that applies; a bound record is in Xero, whatever waits."""
    resource = RESOURCE_OF[record.ref.module]
    url = services.links.xero(row, resource, binding.xero_id) if binding else None

    def say(state: str, sentence: str, fix: Fix | None = None) -> Standing:
        if binding is not None and state != "In Xero":
            sentence = (
                f"It is in Xero as {binding.number or record.label}; its latest change isn't "
                f"yet: {sentence}"
            )
        return Standing(row, state, sentence, fix, item, binding, url)

    if item is not None:
        state, why = _waiting(services, session, row, item)
        decide = ("Decide", f"/queue/{item.id}") if item.state == State.CHECK else None
        return say(state, why, decide)
    if binding is not None and binding.record_version == record.version:
        when = f"{plain_day(binding.bound_at.date())}, {binding.bound_at:%H:%M} UTC"
        return say("In Xero", f"It is in Xero as {binding.number or record.label} since {when}.")
    if decision is not None and not decision.selected:
        return say("Not selected", decision.sentence, _fix(decision, record.ref))
    return say("Changed, not sent", "It is selected; Sync or Add to Queue takes it over.")


def held_sentence(session: Session, row: Organisation, now: datetime) -> str | None:
    """Why nothing of an organisation is sent at present, None where nothing holds it."""
    if row.connection_id is None:
        return "Its organisation isn't connected."
    if pause := profiles.pause_of_all(session):
        return f"Everything is paused since {pause.at:%H:%M} UTC by {pause.by}."
    if row.paused_at:
        by = f" by {row.paused_by}" if row.paused_by else ""
        return f"{row.name} is paused since {row.paused_at:%H:%M} UTC{by}."
    if row.removed:
        return row.removed
    if row.connection_id in profiles.broken_connections(session):
        return row.held_why or "Its organisation must be connected again."
    if row.held_until and row.held_until > now:
        return f"{row.held_why} It goes on at about {row.held_until:%H:%M} UTC."
    return None


def schedule_sentence(name: str, module: Module, schedule: Schedule, now: datetime) -> str:
    """When the records of a module go to an organisation of this name by themselves."""
    what = f"{module.value} for {name} go {schedule.words}"
    then = schedule.next_turn(now)
    if then is None:
        return f"{what}."
    local = then.astimezone(zone(schedule.zone))
    return f"{what}; next on {plain_day(local.date())}, {local:%H:%M}."


def reasons(
    session: Session, items: Sequence[QueueItem], now: datetime, *, reserve: int
) -> dict[int, str]:
    """Why each of some items isn't in Xero, by position; what has ended isn't among them.

    `reserve` is the share of a day's calls, in percent, that is kept for documents. It
    reads as much for fifty items as for one.
    """
    waiting = [item for item in items if State(item.state) in OPEN]
    ids = {item.organisation_id for item in waiting}
    rows = session.scalars(select(Organisation).where(Organisation.id.in_(ids))).all()
    holds = {row.id: _Hold.of(session, row, now, reserve) for row in rows}
    parents = _parents(session, waiting)
    sent = _in_open_calls(session, waiting)
    found: dict[int, str] = {}
    for item in waiting:
        hold = holds[item.organisation_id]
        match State(item.state):
            case State.BLOCKED:
                why: str | None = blocked_sentence(item, parents, hold)
            case State.RUNNING:
                why = hold.of_running(item.id in sent)
            case State.PENDING:
                why = hold.of_pending(item) or item.sentence
            case _:
                why = item.sentence
        found[item.id] = why or SENTENCES[State(item.state)]
    return found


@dataclass(frozen=True, slots=True)
class _Hold:
    """What keeps all items of an organisation, or all of a module, from going."""

    name: str
    #: What holds all that is pending, None where nothing does.
    why: str | None
    #: Until when a worker has it, and since when nothing was heard of that worker if it ended.
    leased_until: datetime | None
    ended_at: datetime | None
    held_why: str | None
    paused: Mapping[Module, profiles.Pause]
    live: bool
    #: Nobody sends by itself: Auto-sync is off and no run waits.
    idle: bool
    #: By module with a strict order: what is behind this place waits for what stands there.
    caps: Mapping[str, int]
    #: Of lower turns goes only what a document waits for.
    kept_below: int | None
    #: The modules that don't go at once; none while a run that somebody asked for waits.
    schedules: Mapping[Module, Schedule]
    now: datetime

    @classmethod
    def of(cls, session: Session, row: Organisation, now: datetime, reserve: int) -> _Hold:
        asked = logs.unended_runs(session, row.id)
        leased_until = row.lease_until if row.lease_until and row.lease_until > now else None
        return cls(
            row.name,
            held_sentence(session, row, now),
            leased_until,
            workers.ended_at(session, row.holder, now=now) if leased_until else None,
            row.held_why,
            profiles.paused_modules(session, row.id),
            row.live_since is not None,
            not row.auto_sync and not asked,
            claims.held_caps(session, row.id, profiles.strict_modules(session, row.id)),
            usage.kept_below(row, now, reserve),
            {} if any(run.urgency for run in asked) else profiles.schedules(session, row.id),
            now,
        )

    def of_pending(self, item: QueueItem) -> str | None:
        if self.why:
            return self.why
        pause = self.paused.get(Module(item.module))
        if pause is not None:
            what = f"{item.module} for {self.name} are paused"
            return f"{what} since {pause.at:%H:%M} UTC by {pause.by}."
        cap = self.caps.get(item.module, item.id)
        if item.id > cap:
            return f"{item.module} go in strict order: it waits for #{cap}, which isn't in Xero."
        if self.kept_below is not None and item.rank < self.kept_below:
            return "Today's last calls to Xero are kept for invoices and payments."
        if not self.live and item.run_id is None:
            return f"Nothing is sent to {self.name} until it goes live."
        if self.live and self.idle:
            return f"Auto-sync is off for {self.name}: it goes with the next Sync."
        return self._by_schedule(item)

    def _by_schedule(self, item: QueueItem) -> str | None:
        schedule = self.schedules.get(Module(item.module))
        if schedule is None:
            return None
        turn = schedule.last_turn(self.now)
        if turn is not None and item.added_at <= turn:
            return None
        return schedule_sentence(self.name, Module(item.module), schedule, self.now)

    def of_running(self, sent: bool) -> str:
        if self.leased_until and self.ended_at:
            onward = "is asked whether it arrived" if sent else "gets it from its old place"
            return (
                f"Its worker has ended, last heard of at {self.ended_at:%H:%M} UTC. From "
                f"{self.leased_until:%H:%M} UTC on Xero {onward}."
            )
        if self.leased_until:
            return "It is at Xero now." if sent else "It is on its way to Xero."
        if not sent:
            return "It was taken out to be sent and wasn't; it goes from its old place."
        return self.held_why or (
            "Its answer hasn't come; XTiger asks Xero before it sends anything again."
        )


def _in_open_calls(session: Session, items: Sequence[QueueItem]) -> set[int]:
    """Which of the running items are in a call whose outcome nobody knows yet."""
    ids = [item.id for item in items if item.state == State.RUNNING]
    if not ids:
        return set()
    return set(
        session.scalars(
            select(AttemptElement.item_id)
            .join(Attempt, Attempt.id == AttemptElement.attempt_id)
            .where(AttemptElement.item_id.in_(ids), Attempt.closed_at.is_(None))
        )
    )


#: How many parents of parents a sentence follows.
_DEEP = 5


def _parents(session: Session, items: Sequence[QueueItem]) -> dict[int, QueueItem]:
    """What blocked items wait for, and what that waits for, by position."""
    found: dict[int, QueueItem] = {}
    asked = {item.blocked_by for item in items if item.blocked_by is not None}
    for _level in range(_DEEP):
        if not asked:
            break
        found |= queue.by_ids(session, sorted(asked))
        asked = {row.blocked_by for row in found.values() if row.blocked_by} - found.keys()
    return found


def _waiting(
    services: Services, session: Session, row: Organisation, item: QueueItem
) -> tuple[str, str]:
    """State and sentence of an open item."""
    state = State(item.state)
    if state in (State.FAILED, State.CHECK):
        return state.value.capitalize(), item.sentence or SENTENCES[state]
    now, reserve = services.clock.now(), services.settings.day_reserve
    why = reasons(session, [item], now, reserve=reserve)[item.id]
    if state is not State.PENDING or why != SENTENCES[State.PENDING]:
        return "Blocked" if state is State.BLOCKED else "In Queue", why
    if row.held_why and row.last_success_at is None:
        return "In Queue", row.held_why
    before = session.scalar(
        select(func.count())
        .select_from(QueueItem)
        .where(
            QueueItem.organisation_id == row.id,
            text("state = 'pending'"),
            QueueItem.rank <= item.rank,
            QueueItem.id < item.id,
        )
    )
    return "In Queue", f"It waits its turn: {before} before it." if before else "It goes next."


def blocked_sentence(
    item: QueueItem, parents: Mapping[int, QueueItem], hold: _Hold | None = None
) -> str:
    """What a blocked item waits for: its parents up to the first that isn't blocked itself."""
    said: list[str] = []
    seen = {item.id}
    at = item
    while at.blocked_by is not None and at.blocked_by in parents and at.blocked_by not in seen:
        at = parents[at.blocked_by]
        seen.add(at.id)
        what = f"#{at.id} ({Module(at.module).singular} {at.label or at.record_id}"
        if at.state in (State.FAILED, State.CHECK):
            why = at.sentence or SENTENCES[State(at.state)]
            said.append(f"{what}, {at.state}: {why.rstrip('.')})")
        else:
            held = hold.of_pending(at) if hold and at.state == State.PENDING else None
            said.append(f"{what}, {at.state}{': ' + held.rstrip('.') if held else ''})")
    if not said:
        return item.sentence or SENTENCES[State.BLOCKED]
    return f"It waits for {', which waits for '.join(said)}."

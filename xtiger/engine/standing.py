"""Where one record stands in Xero, and the one sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from xtiger.domain.queueing import State
from xtiger.domain.records import Record, RecordRef
from xtiger.domain.resources import RESOURCE_OF
from xtiger.domain.selection import Decision, Reason, plain_day
from xtiger.engine.intake import decide_many
from xtiger.engine.services import Services
from xtiger.store import bindings, profiles, queue
from xtiger.store.models import Binding, Organisation, QueueItem

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
        state, why = _waiting(session, row, item, services.clock.now())
        return say(state, why)
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
    if row.paused_at:
        return f"{row.name} is paused since {row.paused_at:%H:%M} UTC."
    if row.removed:
        return row.removed
    if row.connection_id in profiles.broken_connections(session):
        return row.held_why or "Its organisation must be connected again."
    if row.held_until and row.held_until > now:
        return f"{row.held_why} It goes on at about {row.held_until:%H:%M} UTC."
    return None


def reason(session: Session, row: Organisation, item: QueueItem, now: datetime) -> str | None:
    """Why an open item isn't in Xero, where it has no sentence of its own."""
    match State(item.state):
        case State.BLOCKED:
            return blocked_sentence(session, item)
        case State.RUNNING:
            return row.held_why or "It is at Xero now."
        case State.PENDING:
            return held_sentence(session, row, now)
    return None


def _waiting(
    session: Session, row: Organisation, item: QueueItem, now: datetime
) -> tuple[str, str]:
    """State and sentence of an open item."""
    state = State(item.state)
    if state is State.FAILED:
        return "Failed", item.sentence or "It was refused."
    if state is State.CHECK:
        return "Check", item.sentence or "It was sent and Xero's answer was lost."
    if why := reason(session, row, item, now):
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


def blocked_sentence(session: Session, item: QueueItem) -> str:
    """What a blocked item waits for, with the parent's state as it is now."""
    parent = session.get(QueueItem, item.blocked_by) if item.blocked_by else None
    if parent is None:
        return item.sentence or "It waits for another record."
    what = f"It waits for {parent.module.lower().removesuffix('s')} {parent.label} (#{parent.id})"
    if parent.state in (State.FAILED, State.CHECK):
        return f"{what}, which failed: {parent.sentence}"
    return f"{what}."

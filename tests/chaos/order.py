"""In which order it went: the journal's attempts by pass, and Xero's own log of what it stored."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from tests.chaos.writer import number_in
from xtiger.domain.identity import removes
from xtiger.domain.queueing import State, turn
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.store import journal
from xtiger.store.models import Attempt, AttemptElement, Organisation, QueueItem

Payload = Mapping[str, Any]
#: The items of each attempt, in the order of its body.
Sent = Mapping[int, Sequence[QueueItem]]
#: Calls of one organisation at once (DESIGN section 8).
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Pass:
    """In which pass of which worker an attempt was opened; `mark` is the last place it covers."""

    worker: int
    number: int
    mark: int


@dataclass(frozen=True, slots=True)
class Ordered:
    """Sentences about what went out of turn, and how much could have."""

    violations: list[str]
    attempts: int
    #: The most calls of one organisation that were open at once.
    in_flight: int
    #: Changes that came while an earlier version of their record was in a call.
    mid_call: int
    #: The records that were in any call.
    sent: frozenset[RecordRef]


def ordered(folder: Path, session: Session, calls: Sequence[Mapping[str, Any]]) -> Ordered:
    """Judges by the journal, by what workers noted of their passes, and by Xero's own log."""
    attempts = list(session.scalars(select(Attempt).order_by(Attempt.id)))
    sent: dict[int, list[QueueItem]] = defaultdict(list)
    rows = session.execute(
        select(AttemptElement.attempt_id, QueueItem)
        .join(QueueItem, QueueItem.id == AttemptElement.item_id)
        .order_by(AttemptElement.attempt_id, AttemptElement.place)
    )
    for attempt_id, item in rows:
        sent[attempt_id].append(item)
    tenants = {row.id: row.tenant_id for row in session.scalars(select(Organisation))}
    crowds = list(_together(attempts))
    violations = [
        *unjournalled(calls, attempts),
        *out_of_turn(attempts, sent, passes_in(folder / "passes.jsonl")),
        *sent_while_open(attempts, sent),
        *crowded(crowds),
        *overtaken(calls, attempts, sent, tenants),
    ]
    most = max((len(others) + 1 for _, others in crowds), default=0)
    went = frozenset(
        RecordRef(Module(item.module), item.record_id) for items in sent.values() for item in items
    )
    return Ordered(violations, len(attempts), most, _mid_call(session, attempts, sent), went)


def given_away(session: Session) -> list[str]:
    """Items that wait to be sent, or ended, although nobody knows yet what their call did."""
    found = session.execute(
        select(QueueItem.id, QueueItem.state, Attempt.id)
        .join(AttemptElement, AttemptElement.item_id == QueueItem.id)
        .join(Attempt, Attempt.id == AttemptElement.attempt_id)
        .where(text("closed_at IS NULL"), QueueItem.state != State.RUNNING.value)
    )
    return [f"#{item} was {state} while attempt {call} was open" for item, state, call in found]


def passes_in(file: Path) -> dict[int, Pass]:
    """The pass of each attempt; the last word on an id holds.

    A transaction that was rolled back may leave its attempt's id to another one.
    """
    told = [json.loads(line) for line in file.read_text().splitlines()]
    return {one["attempt"]: Pass(one["worker"], one["pass"], one["mark"]) for one in told}


def unjournalled(calls: Iterable[Mapping[str, Any]], attempts: Iterable[Attempt]) -> Iterator[str]:
    """Writes that the journal knows nothing of. A DELETE has no key, but names its object."""
    keys: set[str] = set()
    removed: set[str | None] = set()
    for attempt in attempts:
        keys.add(attempt.idempotency_key)
        if attempt.verb == Verb.DELETE:
            removed.add(attempt.xero_id)
    for call in calls:
        wrote = call["method"] in ("PUT", "POST") and call["idempotency_key"] not in keys
        if wrote or (call["method"] == "DELETE" and call["key"] not in removed):
            yield f"call {call['sequence']} ({call['resource']}) isn't in the journal"


def turn_of(attempt: Attempt) -> int:
    """An attempt's turn in a pass: by what it sends, whatever its items became since."""
    resource, verb = Resource(attempt.resource), Verb(attempt.verb)
    first = journal.payloads_of(attempt)[0]
    return turn(CATALOGUE[resource].rank, removes=removes(resource, verb, first))


def out_of_turn(
    attempts: Sequence[Attempt], sent: Sent, passes: Mapping[int, Pass]
) -> Iterator[str]:
    """Within a pass a turn never comes after a later one, and places of a verb rise.

    What was opened before in the same pass goes again ahead of what is younger: halves of a call
    that Xero refused. Nothing goes that came behind the pass.
    """
    turns: dict[Any, tuple[int, int]] = {}
    last: dict[Any, tuple[int, int]] = {}
    seen: set[Any] = set()
    for attempt in attempts:
        if attempt.id not in passes:
            yield f"attempt {attempt.id} was opened outside of any pass"
            continue
        own = passes[attempt.id]
        here = (attempt.run_id, attempt.fence, attempt.organisation_id, own)
        rank = turn_of(attempt)
        highest, other = turns.get(here, (rank, attempt.id))
        if rank < highest:
            yield f"attempt {attempt.id} ({attempt.resource}) came after attempt {other}"
        turns[here] = max((highest, other), (rank, attempt.id))
        for item in sent[attempt.id]:
            if item.id > own.mark:
                yield f"#{item.id} went in attempt {attempt.id}, whose pass ends at #{own.mark}"
            if (here, item.id) in seen:
                continue
            seen.add((here, item.id))
            before, other = last.get((here, rank, attempt.verb), (0, 0))
            if item.id <= before:
                yield (
                    f"#{item.id} went in attempt {attempt.id} after #{before} in attempt {other}, "
                    f"in one pass of run {attempt.run_id}"
                )
            last[here, rank, attempt.verb] = max((before, other), (item.id, attempt.id))


def sent_while_open(attempts: Sequence[Attempt], sent: Sent) -> Iterator[str]:
    """Records that went again while an earlier call of theirs was open."""
    before: dict[tuple[int, str, str], Attempt] = {}
    for attempt in attempts:
        for item in sent[attempt.id]:
            key = (item.organisation_id, item.module, item.record_id)
            earlier = before.get(key)
            if earlier is not None and _open_at(earlier, attempt):
                yield (
                    f"{item.module} {item.record_id} went in attempt {attempt.id} while attempt "
                    f"{earlier.id} was open"
                )
            before[key] = attempt


def _open_at(earlier: Attempt, later: Attempt) -> bool:
    """Whether one was open when the other was opened."""
    return earlier.closed_at is None or earlier.closed_at > later.opened_at


def _together(attempts: Sequence[Attempt]) -> Iterator[tuple[Attempt, list[Attempt]]]:
    """Each attempt with those of its organisation that were open when it was opened."""
    under_way: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        others = [one for one in under_way[attempt.organisation_id] if _open_at(one, attempt)]
        yield attempt, others
        under_way[attempt.organisation_id] = [*others, attempt]


def crowded(crowds: Iterable[tuple[Attempt, list[Attempt]]]) -> Iterator[str]:
    """No more than four at once, all of one turn and under one lease."""
    for attempt, others in crowds:
        if len(others) >= AT_ONCE:
            yield f"attempt {attempt.id} was opened while {len(others)} others were open"
        for other in others:
            if other.fence != attempt.fence:
                yield f"attempt {attempt.id} was opened before {other.id} of an earlier lease ended"
            elif turn_of(other) != turn_of(attempt):
                yield (
                    f"attempt {attempt.id} ({attempt.resource}) was opened before {other.id} "
                    f"({other.resource}) ended"
                )


def version_in(body: Payload) -> int:
    """How often the record had been changed when this was sent, 0 where it isn't said."""
    words = [body.get("Description"), *_inner(body, "Addresses", "AddressLine1")]
    words += _inner(body, "LineItems", "Description")[:1]
    return max((number_in(one) for one in words), default=0)


def _inner(body: Payload, part: str, name: str) -> list[Any]:
    return [one.get(name) for one in body.get(part) or ()]


def overtaken(
    calls: Iterable[Mapping[str, Any]],
    attempts: Iterable[Attempt],
    sent: Sent,
    tenants: Mapping[int, str],
) -> Iterator[str]:
    """What Xero stored: an older version after a newer one, a child before what it names.

    And whatever of a record it stored after the record's removal.
    """
    by_key: dict[Any, Attempt] = {}
    for attempt in attempts:
        by_key[attempt.idempotency_key] = attempt
        if attempt.verb == Verb.DELETE:
            by_key[tenants[attempt.organisation_id], attempt.xero_id] = attempt
    newest: dict[tuple[str, str, str], int] = {}
    gone: dict[tuple[str, str, str], int] = {}
    there: Counter[tuple[str, str]] = Counter()
    for call in calls:
        tenant = call["tenant"]
        if call["method"] == "DELETE":
            removal = by_key.get((tenant, call["key"]))
            if removal is not None and call["status"] < 300:
                [item] = sent[removal.id]
                gone[tenant, item.module, item.record_id] = call["sequence"]
            continue
        found = by_key.get(call["idempotency_key"])
        if found is None or call["replayed"] or not call["elements"]:
            continue
        resource, verb = Resource(found.resource), Verb(found.verb)
        payloads = journal.payloads_of(found)
        for element, payload, item in zip(call["elements"], payloads, sent[found.id], strict=True):
            if not element["ok"]:
                continue
            record = (tenant, item.module, item.record_id)
            if record in gone:
                yield (
                    f"call {call['sequence']} stored {item.module} {item.record_id} after call "
                    f"{gone[record]} had removed it (attempt {found.id})"
                )
            if removes(resource, verb, payload):
                gone[record] = call["sequence"]
                continue
            version = version_in(payload)
            if version < newest.get(record, 0):
                yield (
                    f"call {call['sequence']} stored version {version} of {item.module} "
                    f"{item.record_id} after version {newest[record]} (attempt {found.id})"
                )
            newest[record] = max(version, newest.get(record, 0))
            needs = [str((payload.get("Contact") or {}).get("ContactID") or "")]
            needs += [str(line.get("ItemCode") or "") for line in payload.get("LineItems") or ()]
            for need in needs:
                if need and not there[tenant, need]:
                    yield f"call {call['sequence']} stored #{item.id} before {need} that it names"
            there[tenant, str(element.get("id"))] += 1
            there[tenant, str(payload.get("Code"))] += 1


def _mid_call(session: Session, attempts: Iterable[Attempt], sent: Sent) -> int:
    """How many items were added while another one of their record was in a call."""
    added: dict[Any, list[QueueItem]] = defaultdict(list)
    for item in session.scalars(select(QueueItem)):
        added[item.organisation_id, item.module, item.record_id].append(item)
    meanwhile: set[int] = set()
    for attempt in attempts:
        for item in sent[attempt.id]:
            for other in added[item.organisation_id, item.module, item.record_id]:
                ends = attempt.closed_at or other.added_at
                if other.id > item.id and attempt.opened_at <= other.added_at <= ends:
                    meanwhile.add(other.id)
    return len(meanwhile)

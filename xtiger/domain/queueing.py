"""States of a queue item, which may follow which, and the order of a pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from xtiger.domain.resources import MOST_BYTES, Verb


class State(StrEnum):
    """Where a queue item stands."""

    PENDING = "pending"  #: waits its turn; with `not_before` a retry
    RUNNING = "running"  #: claimed for a call to Xero
    BLOCKED = "blocked"  #: waits for another record
    FAILED = "failed"  #: a cause must go first
    CHECK = "check"  #: sent, and no way to tell by program whether it arrived
    SUCCEEDED = "succeeded"  #: is in Xero and was read back
    UNCHANGED = "unchanged"  #: Xero already had the same; no call
    SUPERSEDED = "superseded"  #: a newer change of the record took over
    CANCELLED = "cancelled"  #: taken out by a person


#: Open states; the first four hold the record's slot, so that newer changes merge into them.
WAITING = (State.PENDING, State.BLOCKED, State.FAILED, State.CHECK)
OPEN = (*WAITING, State.RUNNING)
ENDED = (State.SUCCEEDED, State.UNCHANGED, State.SUPERSEDED, State.CANCELLED)

#: Each state in one sentence, where an item has none of its own.
SENTENCES: dict[State, str] = {
    State.PENDING: "It waits its turn.",
    State.RUNNING: "It is on its way to Xero.",
    State.BLOCKED: "It waits for another record.",
    State.FAILED: "It was refused. Mend the cause, then retry it: it goes in its old place.",
    State.CHECK: "It was sent and Xero's answer was lost. Look in Xero, then say what you found.",
    State.SUCCEEDED: "Xero took it, and its answer equals what was meant.",
    State.UNCHANGED: "Xero already had the same; nothing was sent.",
    State.SUPERSEDED: "A newer change of the record took its place.",
    State.CANCELLED: "It was taken out of the queue.",
}

#: What may follow what. An ended item never changes again. The database keeps the same list
#: (migration core0003), so that no other hand can leave it.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.RUNNING, State.SUPERSEDED, State.CANCELLED}),
    State.RUNNING: frozenset(
        {
            State.PENDING,
            State.BLOCKED,
            State.FAILED,
            State.CHECK,
            State.SUCCEEDED,
            State.UNCHANGED,
            State.SUPERSEDED,
            State.CANCELLED,
        }
    ),
    State.BLOCKED: frozenset({State.PENDING, State.SUPERSEDED, State.CANCELLED}),
    State.FAILED: frozenset({State.PENDING, State.SUPERSEDED, State.CANCELLED}),
    State.CHECK: frozenset({State.PENDING, State.SUCCEEDED, State.CANCELLED}),
    **{state: frozenset() for state in ENDED},
}


def allowed(before: State, after: State) -> bool:
    """Whether an item may go from one state to the other."""
    return after in TRANSITIONS[before]


#: Where the phase of destructive operations begins: behind every rank, in their reverse order.
LAST = 1000


def turn(rank: int, *, removes: bool) -> int:
    """An item's turn in a pass: creates and updates by rank, then removals by rank reversed.

    So a payment goes before the invoice it pays is voided, and that before its contact is
    archived.
    """
    return LAST - rank if removes else rank


@dataclass(frozen=True, slots=True)
class Planned:
    """One built element that is ready to be sent."""

    position: int
    verb: Verb
    size: int  #: bytes of its JSON


@dataclass(frozen=True, slots=True)
class Batch:
    """Positions that go out in one call, in order."""

    verb: Verb
    positions: tuple[int, ...]


def batches(planned: Sequence[Planned], *, most: int, most_bytes: int = MOST_BYTES) -> list[Batch]:
    """Groups the elements of one resource into as few calls as the limits allow.

    1. Creates and updates are gathered apart, each in the order of positions.
    2. A group is cut when it holds `most` elements or would pass `most_bytes`.
    3. The calls go out in the order of their oldest elements.
    """
    ready: list[Batch] = []
    for verb in Verb:
        group: list[int] = []
        size = 0
        for element in sorted(planned, key=lambda each: each.position):
            if element.verb is not verb:
                continue
            if group and (len(group) == most or size + element.size > most_bytes):
                ready.append(Batch(verb, tuple(group)))
                group, size = [], 0
            group.append(element.position)
            size += element.size + 1
        if group:
            ready.append(Batch(verb, tuple(group)))
    return sorted(ready, key=lambda batch: batch.positions[0])


def full(planned: Iterable[Planned], *, most: int) -> bool:
    """Whether some verb has enough elements for a full call."""
    counts = dict.fromkeys(Verb, 0)
    for element in planned:
        counts[element.verb] += 1
    return any(count >= most for count in counts.values())

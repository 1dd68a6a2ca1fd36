"""States of a queue item, which may follow which, and the order of a pass."""

from __future__ import annotations

from collections.abc import Sequence
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


#: The action of an item that takes its object out of Xero.
REMOVE = "Void"

#: Where the phase of destructive operations begins: behind every rank, in their reverse order.
LAST = 1000


def turn(rank: int, *, removes: bool) -> int:
    """An item's turn in a pass: creates and updates by rank, then removals by rank reversed.

    So a payment goes before the invoice it pays is voided, and that before its contact is
    archived.
    """
    return LAST - rank if removes else rank


#: Seconds that the first failed try is followed by at most, and any.
SHORTEST_HOLD, LONGEST_HOLD = 5.0, 900.0


def backoff(times: int, *, chance: float) -> float:
    """Seconds until the next try after so many failures in a row.

    Exponential with full jitter: anything from 0 to a bound that doubles each time, so that
    many workers and organisations don't come back at the same moment. `chance` is in [0, 1).
    """
    return chance * min(LONGEST_HOLD, SHORTEST_HOLD * 2.0 ** max(0, min(times, 30) - 1))


@dataclass(frozen=True, slots=True)
class Planned:
    """One built element that is ready to be sent."""

    position: int
    verb: Verb
    size: int  #: bytes of its JSON
    doubts: int = 0  #: calls with it that failed as a whole


@dataclass(frozen=True, slots=True)
class Batch:
    """Positions that go out in one call, in order. `full`: no more will fit, so none is awaited."""

    verb: Verb
    positions: tuple[int, ...]
    full: bool = True


def batches(
    planned: Sequence[Planned],
    *,
    most: int,
    most_bytes: int = MOST_BYTES,
    in_order: bool = False,
) -> list[Batch]:
    """Groups the elements of one resource into as few calls as the limits allow.

    1. Creates, updates and deletes are gathered apart, each in the order of positions.
    2. A group is cut when it holds `most` elements or would pass `most_bytes`, and where the next
       one's calls failed as a whole more or less often: for each such failure it holds half as
       many, so that what spoils a call comes to stand alone. A DELETE names one object.
    3. The calls go out in the order of their oldest elements. The last one of a verb isn't full
       and may wait for more, unless its elements were doubted: nobody younger passes these.

    `in_order` (strict) gathers only what stands side by side: no element overtakes another.
    """
    ready: list[Batch] = []
    groups: dict[tuple[Verb, int], list[int]] = {}
    sizes: dict[tuple[Verb, int], int] = {}
    for element in sorted(planned, key=lambda each: each.position):
        kind = (element.verb, element.doubts)
        room = 1 if element.verb is Verb.DELETE else max(1, most >> element.doubts)
        others = [each for each in groups if each != kind and (in_order or each[0] is element.verb)]
        group = groups.get(kind, [])
        if group and (len(group) == room or sizes[kind] + element.size > most_bytes):
            others.append(kind)
        for each in others:
            ready.append(Batch(each[0], tuple(groups.pop(each))))
        groups.setdefault(kind, []).append(element.position)
        sizes[kind] = (sizes[kind] if len(groups[kind]) > 1 else 0) + element.size + 1
    for (verb, doubts), group in groups.items():
        room = 1 if verb is Verb.DELETE else most
        ready.append(Batch(verb, tuple(group), full=bool(doubts) or len(group) == room))
    return sorted(ready, key=lambda batch: batch.positions[0])

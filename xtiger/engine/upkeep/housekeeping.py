"""Once a day what is older than its retention goes, so gently that nobody waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from xtiger.engine.services import Services
from xtiger.store import retention, structure
from xtiger.store.retention import Kind, Seen, Turn
from xtiger.store.schema import MOST_ROWS
from xtiger.telemetry import logger

#: The most rows that one turn touches for one kind, give or take a slice; the rest waits for the
#: next day's.
MOST_A_TURN = 2_000_000
#: Hours between two turns, and after which one that didn't end may be taken up again.
EVERY, CUT_OFF = timedelta(hours=24), timedelta(hours=1)
#: Seconds between two slices at least: else as long as the slice took, so that others get at
#: least half of the time (SQLite's waiting writers look every tenth of a second).
PAUSE = 0.05

log = logger("housekeeping")


@dataclass(frozen=True, slots=True)
class Kept:
    """What one turn did: rows taken of each kind, and whether more waits for the next."""

    taken: Mapping[Kind, int]
    more: bool


def when_due(services: Services) -> Kept | None:
    """Takes the day's turn if it's due and nobody else has it; None if not.

    Any number of schedulers may ask at any time: one of them gets the turn. A turn that was
    cut off is taken up again after an hour; what it took is gone, and the rest goes then. At
    its end the database's figures are renewed, by which it chooses its indexes.
    """
    now = services.clock.now()
    with services.database.read() as session:
        last = retention.last_turn(session)
    if not _due(last, now):
        return None
    turn = Turn(began=now)
    with services.database.write() as session:
        if not retention.put_turn(session, turn, after=last):
            return None
    kept = clean(services)
    if not services.stopping():
        with services.database.write() as session:
            structure.analyse(session)
        ended = Turn(began=turn.began, ended=services.clock.now())
        with services.database.write() as session:
            retention.put_turn(session, ended, after=turn)
    return kept


def _due(last: Turn, now: datetime) -> bool:
    if last.began is None:
        return True
    return now - last.began >= (EVERY if last.ended else CUT_OFF)


def clean(services: Services, *, most: int = MOST_A_TURN) -> Kept:
    """Takes what is older than its retention, about `most` rows of each kind.

    1. Kind by kind, the oldest first: look at some rows, with no write transaction open.
    2. Take those that nothing open refers to, at most MOST_ROWS rows in one transaction, which
       looks again whether they may go.
    3. Give everybody else a turn, then the next slice. A worker that ends stops here.

    Retention 0 keeps a kind for ever.
    """
    started = services.clock.now()
    taken: dict[Kind, int] = {}
    more = False
    for kind, days in _retention(services).items():
        taken[kind] = 0
        if days == 0:
            continue
        before = started - timedelta(days=days)
        touched = 0
        for ids, rows in _slices(services, kind, before):
            if touched >= most or services.stopping():
                more = True
                break
            taken[kind] += _take(services, kind, ids, before)
            touched += rows
    if any(taken.values()):
        figures = {kind.name.lower(): number for kind, number in taken.items() if number}
        log.info("house kept", more=more, **figures)
    return Kept(taken, more)


def _retention(services: Services) -> dict[Kind, int]:
    """Days for which each kind is kept, in the order in which they are taken."""
    settings = services.settings
    return {
        Kind.BYTES: settings.keep_bytes_days,
        Kind.LOG: settings.keep_log_days,
        Kind.CALLS: settings.keep_log_days,
        Kind.ITEMS: settings.keep_queue_days,
        Kind.MAILS: settings.keep_log_days,
        Kind.RUNS: settings.keep_log_days,
        Kind.PERIODS: settings.keep_log_days,
        Kind.AWAKE: settings.keep_log_days,
    }


def _slices(
    services: Services, kind: Kind, before: datetime
) -> Iterator[tuple[Sequence[int], int]]:
    """Ids that may go and how many rows they touch: no more than one transaction should."""
    with services.database.read() as session:
        needed = retention.runs_of_open_items(session) if kind is Kind.RUNS else frozenset()
    after = None
    while True:
        with services.database.read() as session:
            seen = retention.look(session, kind, before=before, after=after, needed_runs=needed)
        yield from _parts(seen)
        after = seen.after
        if after is None:
            return


def _parts(seen: Seen) -> Iterator[tuple[Sequence[int], int]]:
    part: list[int] = []
    rows = 0
    for each in seen.ids:
        if part and rows + seen.weights[each] > MOST_ROWS:
            yield part, rows
            part, rows = [], 0
        part.append(each)
        rows += seen.weights[each]
    if part:
        yield part, rows


def _take(services: Services, kind: Kind, ids: Sequence[int], before: datetime) -> int:
    began = time.monotonic()
    with services.database.write() as session:
        taken = retention.take(session, kind, ids, before=before)
    services.clock.sleep(max(PAUSE, time.monotonic() - began))
    return taken

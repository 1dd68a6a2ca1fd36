"""What the doctor mends: each repair looks once more and changes only what is still wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from xtiger.engine.services import Services
from xtiger.engine.upkeep.findings import GRACE
from xtiger.store import invariants, leases, queue, structure
from xtiger.store.invariants import Row
from xtiger.store.schema import MOST_ROWS


@dataclass(frozen=True, slots=True)
class Mended:
    """What a repair did, or why it did nothing, in one sentence."""

    check: str
    sentence: str
    rows: int


@contextmanager
def _leased(services: Services, organisation_id: int) -> Iterator[leases.Lease | None]:
    """The organisation's lease, None while a worker has it."""
    lease = leases.take(
        services.database,
        organisation_id,
        holder=f"doctor {services.worker}"[:80],
        now=services.clock.now(),
        seconds=services.patience.lease,
    )
    try:
        yield lease
    finally:
        if lease is not None:
            leases.release(services.database, lease)


def _by_organisation(
    services: Services,
    check: str,
    look: Callable[[Session, int | None], Sequence[Row]],
    mend: Callable[[Session, Sequence[int]], object],
    sentence: str,
) -> Iterator[Mended]:
    """Mends rows organisation by organisation, each under its lease, by slices.

    Each slice looks anew in the transaction that mends it: who was faster leaves nothing.
    """
    with services.database.read() as session:
        rows = look(session, None)
    broken = sorted({row.organisation_id for row in rows if row.organisation_id is not None})
    for organisation_id in broken:
        with _leased(services, organisation_id) as lease:
            if lease is None:
                yield Mended(
                    check,
                    f"A worker has organisation {organisation_id} now: it was left to it.",
                    0,
                )
                continue
            total = 0
            ids: list[int] = []
            while True:
                before = ids
                with services.database.write() as session:
                    leases.renew(
                        session,
                        lease,
                        now=services.clock.now(),
                        seconds=services.patience.lease,
                    )
                    ids = [row.id for row in look(session, organisation_id)][:MOST_ROWS]
                    if ids == before:
                        break  # nothing is left, or nothing helps
                    mend(session, ids)
                total += len(ids)
            yield Mended(check, sentence.format(f"{total:,}"), total)


def _mend_claimed(services: Services) -> Iterator[Mended]:
    def mend(session: Session, ids: Sequence[int]) -> None:
        found = queue.by_ids(session, ids)
        queue.put_back(session, [found[one] for one in sorted(found)])

    return _by_organisation(
        services,
        "running",
        lambda session, one: invariants.claimed_by_nobody(
            session, now=services.clock.now(), organisation_id=one
        ),
        mend,
        "Claimed items that went back to their places: {}.",
    )


def _mend_stranded(services: Services) -> Iterator[Mended]:
    return _by_organisation(
        services,
        "parents",
        lambda session, one: invariants.stranded(
            session, now=services.clock.now(), organisation_id=one
        ),
        invariants.let_go,
        "Items that waited for nothing and go on at their places: {}.",
    )


def _mend_misplaced(services: Services) -> Iterator[Mended]:
    def look(session: Session, one: int | None) -> list[Row]:
        rows = invariants.misplaced(session)
        return [row for row in rows if one in (None, row.organisation_id)]

    return _by_organisation(
        services, "rank", look, invariants.place, "Items that have their own turn again: {}."
    )


def _mend_runs(services: Services) -> Iterator[Mended]:
    def mend(session: Session, ids: Sequence[int]) -> None:
        for run_id in ids:
            invariants.end_run(
                session,
                run_id,
                sentence="The doctor ended it: nothing was left to send.",
                now=services.clock.now(),
            )

    def look(session: Session, one: int | None) -> list[Row]:
        now = services.clock.now()
        before = now - timedelta(seconds=GRACE)
        return invariants.idle_runs(session, now=now, asked_before=before, organisation_id=one)

    return _by_organisation(services, "runs", look, mend, "Runs without work that were ended: {}.")


def _mend_positions(services: Services) -> Iterator[Mended]:
    with services.database.write() as session:
        structure.move_counter(session)
        highest, _counter = structure.used_positions(session)
    yield Mended("positions", f"The next place is behind #{highest}.", 1)


def _mend_indexes(services: Services) -> Iterator[Mended]:
    with services.database.read() as session:
        names = [str(one.name) for one in structure.lost_indexes(session)[0] if not one.unique]
    for name in names:
        with services.database.write() as session:
            for index in structure.lost_indexes(session)[0]:
                if index.name == name:
                    structure.make_index(session, index)
        yield Mended("indexes", f"The index {name} was made anew.", 1)


def _mend_plans(services: Services) -> Iterator[Mended]:
    with services.database.write() as session:
        structure.analyse(session)
    # A connection of before would go on with the figures of before.
    services.database.close()
    yield Mended("plans", "The database's figures were renewed.", 1)


#: How each repairable check is mended.
REPAIRS: dict[str, Callable[[Services], Iterator[Mended]]] = {
    "running": _mend_claimed,
    "parents": _mend_stranded,
    "rank": _mend_misplaced,
    "runs": _mend_runs,
    "positions": _mend_positions,
    "indexes": _mend_indexes,
    "plans": _mend_plans,
}

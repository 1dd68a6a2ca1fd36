"""Documents that wait until somebody sends the records they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from xtiger.domain.queueing import State
from xtiger.domain.records import Module, RecordRef
from xtiger.engine.services import Services
from xtiger.store import bindings, leases, profiles, queue
from xtiger.store.models import QueueItem
from xtiger.store.schema import MOST_ROWS

#: The most documents that one beat looks at; the next one goes on where it stopped.
_MOST = 5_000
#: The setting that says where it stopped: {"cause": …, "after": position}; none: at the end.
_STOPPED = "needed.looked_at"
#: What keeps such a document, in the order in which they are looked through.
_CAUSES = tuple(sorted(f"parent-not-selected:{module.value}" for module in Module))


def let_go(services: Services, going: Sequence[int]) -> None:
    """Lets documents of these organisations go once all that they need is in Xero.

    However many wait, each is looked at in its turn: one beat looks at 5,000, slice by slice,
    and the next one at those behind them.
    """
    if not going:
        return
    with services.database.read() as session:
        began = stopped = _stopped(session)
    for _slice in range(_MOST // MOST_ROWS):
        cause, after = stopped or (_CAUSES[0], 0)
        with services.database.read() as session:
            waiting = some(session, going, cause=cause, after=after)
        _retry(services, waiting)
        stopped = _next(cause, waiting)
        if stopped is None:
            break
    if stopped != began:
        _keep(services, stopped)


def some(session: Session, going: Sequence[int], *, cause: str, after: int) -> Sequence[Any]:
    """Documents of these organisations that wait for one cause, by position behind `after`.

    At most MOST_ROWS, as (id, organisation_id, module, record_id).
    """
    return session.execute(
        select(QueueItem.id, QueueItem.organisation_id, QueueItem.module, QueueItem.record_id)
        .where(
            # The words of the index on causes; that the state isn't asked for by itself keeps
            # the database from taking the one on states, which holds all that ever failed.
            text("state IN ('failed', 'check')"),
            QueueItem.state != State.CHECK.value,
            QueueItem.cause == cause,
            QueueItem.organisation_id.in_(going),
            QueueItem.id > after,
        )
        .order_by(QueueItem.id)
        .limit(MOST_ROWS)
    ).all()


def _next(cause: str, waiting: Sequence[Any]) -> tuple[str, int] | None:
    """Where to look on after some; None where that was the last."""
    if len(waiting) == MOST_ROWS:
        return cause, int(waiting[-1].id)
    later = _CAUSES[_CAUSES.index(cause) + 1 :]
    return (later[0], 0) if later else None


def _stopped(session: Session) -> tuple[str, int] | None:
    found = profiles.setting(session, _STOPPED)
    if not isinstance(found, dict) or found.get("cause") not in _CAUSES:
        return None
    return str(found["cause"]), int(found["after"])


def _keep(services: Services, stopped: tuple[str, int] | None) -> None:
    now = services.clock.now()
    with services.database.write() as session:
        if stopped is None:
            profiles.drop_setting(session, _STOPPED)
            return
        value = {"cause": stopped[0], "after": stopped[1]}
        profiles.put_setting(session, _STOPPED, value, who="schedule", now=now)


def _retry(services: Services, waiting: Sequence[Any]) -> None:
    ready = _complete(services, waiting) if waiting else []
    if ready:
        now = services.clock.now()
        with services.database.write() as session:
            leases.lock(session, sorted({row.organisation_id for row in ready}))
            queue.retry(session, [row.id for row in ready], now=now)


def _complete(services: Services, waiting: Sequence[Any]) -> list[Any]:
    """Those of some waiting documents whose parents are all in Xero."""
    records = services.crm.fetch_many(
        [RecordRef(Module(row.module), row.record_id) for row in waiting]
    )
    needs = {ref: record.parents() for ref, record in records.items()}
    parents = list(dict.fromkeys(parent for found in needs.values() for parent in found))
    with services.database.read() as session:
        bound = {
            one: bindings.of_records(session, one, parents)
            for one in {row.organisation_id for row in waiting}
        }
    ready = []
    for row in waiting:
        needed = needs.get(RecordRef(Module(row.module), row.record_id))
        if needed is not None and all(ref in bound[row.organisation_id] for ref in needed):
            ready.append(row)
    return ready

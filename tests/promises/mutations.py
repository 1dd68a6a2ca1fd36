"""Faults put into the engine on purpose: each must be seen, or the machine proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain.errors import TransientError, UnknownOutcome
from xtiger.domain.queueing import State
from xtiger.engine import drain, flight, intake, recovery
from xtiger.engine.services import Patience
from xtiger.store import journal, leases, logs, queue
from xtiger.store.models import Organisation

#: What happens to a machine.
History = Callable[[Any], None]


# -- short histories in which faults show --------------------------------------------------------


def _lost_for_good(machine: Any) -> None:
    machine.loses_an_answer(loss="lost after", bill=True, seconds=1000)


def _late(machine: Any) -> None:
    machine.loses_an_answer(loss="late", bill=True, seconds=10)


def _unanswered(machine: Any) -> None:
    machine.loses_an_answer(loss="500 after", bill=True, seconds=310)
    machine.promises_hold()
    machine.world.clock.at += timedelta(seconds=60)
    machine.world.beat()


def _overtaken(machine: Any) -> None:
    machine.is_interrupted(moment="answered", nth=0, what="overtaken", which=0, luck=[])


def _edited_before_it_goes(machine: Any) -> None:
    machine._sync_one(0)
    machine.a_user_saves("edits", 0)
    machine._sync_one(0)


def _edited_in_a_call(machine: Any) -> None:
    life = machine.world.life()

    def edited(_life: Any) -> None:
        machine.a_user_saves("edits", 0)
        machine._sync_one(0)

    life.plan = ("sending", 2, edited)
    machine.world.beat(life)


def _limited(machine: Any) -> None:
    machine.works(asks=True, luck=["minute"])


def _many(machine: Any) -> None:
    machine.adds_many(buyer=0, count=7, bill=False)
    machine.works(asks=True, luck=[])


def _spoiled_parent(machine: Any) -> None:
    machine._edit(next(iter(machine.world.crm.rows.values())), spoiled=True)
    machine.works(asks=True, luck=[])


HISTORIES = (
    _many,
    _limited,
    _edited_before_it_goes,
    _edited_in_a_call,
    _overtaken,
    _spoiled_parent,
    _lost_for_good,
    _late,
    _unanswered,
)


def lived(kind: Any, history: History) -> None:
    """Lives through one of them on a machine's class."""
    machine = kind()
    try:
        machine.begins_with_documents(count=2, bill=True, goods=True)
        history(machine)
        machine.promises_hold()
    finally:
        machine.teardown()


# -- the faults -----------------------------------------------------------------------------------

#: Puts one fault in, until the test ends.
Mutation = Callable[[pytest.MonkeyPatch], None]

#: By the sentence that says what is wrong then.
MUTATIONS: dict[str, tuple[Mutation, History]] = {}


def mutation(history: History) -> Callable[[Mutation], Mutation]:
    """Adds a fault to the list under its function's name, with the history in which it shows."""

    def add(make: Mutation) -> Mutation:
        MUTATIONS[make.__name__.replace("_", " ")] = make, history
        return make

    return add


@mutation(_overtaken)
def a_replay_has_a_new_key(patch: pytest.MonkeyPatch) -> None:
    true = journal.call_of
    patch.setattr(
        journal,
        "call_of",
        lambda attempt, count: replace(true(attempt, count), idempotency_key=uuid4().hex),
    )


@mutation(_many)
def a_call_goes_out_that_nobody_wrote_down(patch: pytest.MonkeyPatch) -> None:
    true = flight.Flight._open

    def unwritten(self: flight.Flight, *parts: Any) -> Any:
        sent = true(self, *parts)
        return replace(sent, call=replace(sent.call, idempotency_key=uuid4().hex))

    patch.setattr(flight.Flight, "_open", unwritten)


@mutation(_lost_for_good)
def what_was_lost_is_sent_again_without_a_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        recovery,
        "_all_known",
        lambda _services, _lease, _attempt, sent: [recovery._Known()] * len(sent),
    )


@mutation(_lost_for_good)
def replays_go_on_after_xero_has_forgotten(patch: pytest.MonkeyPatch) -> None:
    true = Patience.scaled
    patch.setattr(Patience, "scaled", lambda factor: replace(true(factor), replay=3600))


@mutation(_late)
def the_look_up_comes_while_the_call_is_on_its_way(patch: pytest.MonkeyPatch) -> None:
    true = Patience.scaled
    patch.setattr(Patience, "scaled", lambda factor: replace(true(factor), replay=0, look_up=0))


@mutation(_overtaken)
def what_is_in_an_open_call_is_put_back(patch: pytest.MonkeyPatch) -> None:
    def careless(session: Session, organisation_id: int, **_but: Any) -> Sequence[Any]:
        queue.put_back(session, queue.running(session, organisation_id))
        return journal.still_open(session, organisation_id)

    patch.setattr(recovery, "return_unsent", careless)


@mutation(_lost_for_good)
def an_unknown_outcome_counts_as_not_sent(patch: pytest.MonkeyPatch) -> None:
    true = flight.Flight._call

    def hopeful(self: flight.Flight, sent: Any, entered: Any) -> None:
        try:
            true(self, sent, entered)
        except UnknownOutcome as unknown:
            self._close(sent.id, "not sent")
            raise TransientError(unknown.sentence) from unknown

    patch.setattr(flight.Flight, "_call", hopeful)


@mutation(_overtaken)
def nobody_looks_at_the_fence(patch: pytest.MonkeyPatch) -> None:
    true = leases.guard

    def anybody(session: Session, lease: leases.Lease, *more: Any, **values: Any) -> None:
        fence, holder = session.execute(
            select(Organisation.fence, Organisation.holder).where(
                Organisation.id == lease.organisation_id
            )
        ).one()
        true(session, replace(lease, fence=fence, holder=holder), *more, **values)

    patch.setattr(leases, "guard", anybody)


@mutation(_many)
def the_youngest_call_goes_first(patch: pytest.MonkeyPatch) -> None:
    true = drain.batches
    patch.setattr(drain, "batches", lambda planned, **more: true(planned, **more)[::-1])


@mutation(_edited_before_it_goes)
def changes_do_not_merge(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(queue, "slot_of", lambda ref: f"{ref}/{uuid4().hex}")


@mutation(_spoiled_parent)
def children_are_not_released(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(queue, "release_children", lambda _session, _ids: None)
    patch.setattr(queue, "release_stranded", lambda _session, _organisation_id: None)


@mutation(_many)
def the_log_tells_it_twice(patch: pytest.MonkeyPatch) -> None:
    true = logs.append_many

    def twice(session: Session, entries: Sequence[dict[str, Any]]) -> None:
        true(session, [dict(one) for one in entries])
        true(session, [dict(one) for one in entries])

    patch.setattr(logs, "append_many", twice)


@mutation(_limited)
def limits_count_as_tries(patch: pytest.MonkeyPatch) -> None:
    def counted(session: Session, items: Sequence[Any], **more: Any) -> None:
        for item in items:
            queue.park(session, item, State.PENDING, cause=None, sentence="", counts=True)

    patch.setattr(queue, "put_back", counted)


@mutation(_edited_in_a_call)
def a_change_during_a_call_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    true = intake._take_in

    def forgetful(
        session: Session, services: Any, records: Sequence[Any], *more: Any, **how: Any
    ) -> Any:
        going = [
            f"{item.module}:{item.record_id}"
            for one in intake._everywhere(session)
            for item in queue.running(session, one)
        ]
        rest = [record for record in records if str(record.ref) not in going]
        return true(session, services, rest, *more, **how)

    patch.setattr(intake, "_take_in", forgetful)


@mutation(_many)
def an_answer_is_given_to_the_wrong_record(patch: pytest.MonkeyPatch) -> None:
    true = flight.settle_sent
    patch.setattr(
        flight,
        "settle_sent",
        lambda session, sent, elements, answers, **more: true(
            session, sent, elements, list(answers)[::-1], **more
        ),
    )

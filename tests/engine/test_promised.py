"""Faults that the histories of tests/promises found, each by itself."""

from __future__ import annotations

from datetime import timedelta

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ask,
    change_organisation,
    created,
    crm,
    invoices,
    items,
    log_of,
    organisation,
    stranger,
    tick,
    work,
    writes,
)
from xtiger.crm.builtin import Contact
from xtiger.engine import intake
from xtiger.engine.drain import drain


def test_a_record_deleted_during_a_call_that_is_refused_leaves_the_queue(
    each_engine: Engine,
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    stranger(engine).created("Contacts", {"Name": "Taken Ltd"})
    with crm(engine) as session:
        made = books.contact(session, "Taken Ltd")
    tick(engine, made)
    ask(engine, one)
    done: list[str] = []

    def delete(step: str) -> None:
        if step == "answered" and writes(engine, "Contacts")[1:] and not done:
            done.append(step)
            with crm(engine) as session:
                session.delete(session.get_one(Contact, made.id))
            intake.relay(engine.services)

    work(engine, engine.worker("w", observe=delete))
    work(engine)
    assert done
    assert [entry.outcome for entry in log_of(engine, "Taken Ltd")] == ["failed"]
    assert [(item.state, item.sentence) for item in items(engine)] == [
        ("cancelled", "It was deleted in the CRM before this was sent."),
        ("superseded", None),
    ]


def test_a_worker_that_takes_the_lease_after_another_met_a_limit_waits_too(
    each_engine: Engine,
) -> None:
    """It looked whether the organisation is held before it took the lease."""
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)
    until = engine.services.clock.now() + timedelta(seconds=60)
    change_organisation(engine, held_until=until, held_by_xero=True, held_why="It is full.")
    ended = drain(engine.services, one)
    assert (ended.done, ended.parked, ended.sentence) == (False, True, "It is full.")
    assert created(engine) == []
    assert organisation(engine).held_until == until

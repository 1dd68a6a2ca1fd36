"""Runs begin, wait, go on and end; one worker at a time, and nothing before Go live."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    all_ended,
    ask,
    change_organisation,
    change_profile,
    created,
    crm,
    invoices,
    items,
    kept,
    organisation,
    queue_of,
    rows_of,
    runs,
    sync,
    tick,
    work,
    writes,
)
from xtiger.crm.builtin import Invoice
from xtiger.domain.errors import PermanentError
from xtiger.engine import beats, intake, pausing, scheduler
from xtiger.engine.connection import connect
from xtiger.store.models import OutboxRow, Template


def test_a_pause_in_the_middle_of_a_run_stops_after_the_call_and_goes_on_in_order(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 120)

    def pause(step: str) -> None:
        if step == "settled" and created(engine):
            pausing.pause(engine.services, organisation_id=one, who="Ana")

    ask(engine, one)
    first = engine.worker("first", observe=pause)
    first.in_flight = 1
    work(engine, first)
    assert len(created(engine)) == 50
    assert [state for _label, state in queue_of(engine)[51:]] == ["pending"] * 70
    [run] = runs(engine)
    assert run.ended_at is None
    work(engine)
    assert len(created(engine)) == 50
    pausing.resume(engine.services, organisation_id=one, who="Ana")
    assert len(runs(engine)) == 1
    work(engine)
    assert created(engine) == [f"INV-{number}" for number in range(1, 121)]
    assert organisation(engine).held_why is None
    assert [run.succeeded for run in runs(engine)] == [121]


def test_of_two_drains_at_once_one_sends(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 60, goods=True)
    ask(engine, one)
    workers = [engine.worker(f"w{number}") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda services: scheduler.work(services, one), workers))
    work(engine)
    assert all_ended(engine, ["succeeded"])
    assert kept(engine) == {"contacts": 1, "items": 1, "invoices": 60}
    assert [len(call["elements"]) for call in writes(engine, "Invoices")] == [50, 10]
    [run] = runs(engine)
    assert str(run.sentence).startswith("Finished in ")


def test_changes_relayed_by_many_at_once_are_queued_once(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    with crm(engine) as session:
        buyer = books.contact(session)
        made = [books.invoice(session, f"INV-{n}", buyer) for n in range(30)]
    tick(engine, *made[:20])
    workers = [engine.worker(f"w{number}") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(intake.relay, workers))
    assert len(items(engine, "Invoices")) == 20
    assert all(item.changes == 1 for item in items(engine, "Invoices"))
    assert rows_of(engine, OutboxRow) == []


def test_before_go_live_sync_is_refused(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    change_organisation(engine, live_since=None, auto_sync=False)
    invoices(engine)
    with pytest.raises(PermanentError, match="isn't live yet"):
        sync(engine)
    scheduler.schedule_due(engine.services)
    assert runs(engine) == []
    assert scheduler.waiting(engine.services) == []
    assert one


def test_before_go_live_a_single_record_goes_with_what_it_needs_and_nothing_else(
    each_engine: Engine,
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    change_organisation(engine, live_since=None, auto_sync=False)
    first, second, third = invoices(engine, 3, goods=True)
    scheduler.sync_records(engine.services, [books.ref(second)], who="Ana")
    scheduler.work(engine.services, one)
    assert created(engine) == [second.number]
    assert kept(engine) == {"contacts": 1, "items": 1, "invoices": 1}
    waiting = [label for label, state in queue_of(engine) if state == "pending"]
    assert waiting == [first.number, third.number]
    connect.go_live(engine.services, one, who="Ana")
    sync(engine)
    assert all_ended(engine)


def test_the_schedule_asks_only_where_something_is_due_and_no_run_goes_on_already(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    assert scheduler.schedule_due(engine.services) == []
    invoices(engine)
    assert scheduler.schedule_due(engine.services) == [one]
    assert scheduler.schedule_due(engine.services) == [one]
    assert len(runs(engine)) == 1
    work(engine)
    assert scheduler.schedule_due(engine.services) == []
    assert scheduler.waiting(engine.services) == []


def test_what_is_switched_off_stays_and_what_auto_sync_is_off_for_waits_for_a_person(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    connect.set_auto_sync(engine.services, one, False)
    invoices(engine)
    assert scheduler.schedule_due(engine.services) == []
    change_profile(engine, "Invoices", enabled=False)
    sync(engine)
    assert created(engine) == []


def test_a_mapping_that_cannot_be_used_stops_with_its_sentence_and_sync_goes_once_it_is_mended(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    invoices(engine)
    with engine.database.write() as session:
        row = session.query(Template).filter_by(module="Contacts").one()
        good, row.body = row.body, {**row.body, "fields": [{"to": "Nam", "from": "x"}]}
    sync(engine)
    assert "mapping of Contacts can't be used" in str(organisation(engine).held_why)
    assert {state for _label, state in queue_of(engine)} == {"pending"}
    with engine.database.write() as session:
        session.query(Template).filter_by(module="Contacts").one().body = good
    sync(engine)
    assert all_ended(engine)


def test_cron_makes_one_pass_and_leaves_nothing(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine, 2)
    scheduler.once(engine.services)
    assert all_ended(engine)
    assert [run.ended_at is not None for run in runs(engine)] == [True]


def test_the_embedded_worker_sends_what_is_asked_and_stops_cleanly(engine: Engine) -> None:
    import time

    engine.connect(KAURI)
    invoices(engine, 2)
    services = engine.worker("embedded")
    services.dispatcher = embedded = beats.Embedded(services)
    embedded.start()
    try:
        scheduler.sync_now(services, organisation_id=None, modules=None, who="Ana")
        ends = time.monotonic() + 15
        while not (items(engine) and all_ended(engine)) and time.monotonic() < ends:
            time.sleep(0.05)
    finally:
        embedded.stop()
    assert all_ended(engine)
    assert created(engine) == ["INV-1", "INV-2"]


def test_a_disconnected_organisation_is_not_sent_to_and_its_queue_stays(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    [document] = invoices(engine)
    intake.relay(engine.services)
    connect.disconnect(engine.services, one, who="Ana")
    ask(engine, one)
    work(engine)
    assert writes(engine) == []
    assert len(items(engine)) == 2
    with engine.crm_sessions() as session:
        assert session.get(Invoice, document.id).xero_id is None

"""Order beyond the plain pass: urgent runs, strict lanes, removals, pauses, chains, the reserve."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    THAMES,
    ShiftedClock,
    all_ended,
    ask,
    attempts,
    bindings_of,
    change_organisation,
    change_profile,
    created,
    crm,
    die_at,
    fault,
    in_xero,
    invoices,
    item_of,
    items,
    kept,
    log_of,
    queue_of,
    ref_of,
    retry,
    runs,
    stranger,
    survive,
    sync,
    tick,
    work,
    writes,
)
from xtiger.crm.builtin import Contact, Invoice, Product
from xtiger.domain.records import Module, Record, RecordRef
from xtiger.engine import intake, pausing, scheduler
from xtiger.engine.standing import standing
from xtiger.ports import Access, Answer, Call
from xtiger.store.models import Organisation, QueueItem, Run

# urgent


def test_a_record_somebody_waits_for_goes_ahead_of_a_long_run(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 450)
    ask(engine, one)
    [late] = invoices(engine, first=900)
    pressed: list[int] = []

    def press(step: str) -> None:
        if step == "settled" and created(engine) and not pressed:
            pressed.append(1)
            scheduler.sync_records(engine.services, [ref_of(late)], who="Ana")

    first = engine.worker("first", observe=press)
    first.in_flight = 1
    work(engine, first)
    order = created(engine)
    assert sorted(order, key=order.index) == order
    # After the chunk under way it goes; then the others, in order, none twice.
    assert order.index("INV-900") <= 200
    rest = [number for number in order if number != "INV-900"]
    assert rest == [f"INV-{number}" for number in range(1, 451)]
    scheduled, single = runs(engine)
    assert (single.kind, single.urgency, single.succeeded) == ("instant", 2, 1)
    assert single.ended_at
    assert scheduled.ended_at
    assert single.ended_at < scheduled.ended_at
    assert scheduled.succeeded == 451


def test_urgent_work_takes_along_what_it_needs_from_anywhere_in_the_queue(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        buyers = [books.contact(session, f"Buyer {number}") for number in range(260)]
        last = books.invoice(session, "INV-1", buyers[-1])
    tick(engine, *buyers)
    intake.relay(engine.services)
    tick(engine, last)
    scheduler.sync_records(engine.services, [ref_of(last)], who="Ana")
    work(engine)
    assert created(engine, "Contacts") == ["Buyer 259"]
    assert created(engine) == ["INV-1"]
    ask(engine, one)
    work(engine)
    assert len(created(engine, "Contacts")) == 260


def test_a_steady_stream_of_urgent_runs_starves_nobody(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 600)
    stream = invoices(engine, 8, first=900)
    ask(engine, one)
    pressed: list[int] = []

    def press(step: str) -> None:
        if step == "claimed" and len(pressed) < len(stream):
            scheduler.sync_records(engine.services, [ref_of(stream[len(pressed)])], who="Ana")
            pressed.append(1)

    work(engine, engine.worker("busy", observe=press))
    work(engine)
    assert all_ended(engine)
    # While the stream lasted the long run went on too: its oldest came before its last guests.
    order = created(engine)
    assert order.index("INV-1") < order.index("INV-907")


# strict


def test_a_strict_lane_stops_at_what_fails_and_goes_on_in_order(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    change_profile(engine, "Invoices", strict=True)
    invoices(engine, 30)
    untaxable(engine, "INV-11", 77)
    sync(engine)
    assert created(engine) == [f"INV-{number}" for number in range(1, 11)]
    states = dict(queue_of(engine))
    assert states["INV-11"] == "failed"
    assert {states[f"INV-{number}"] for number in range(12, 31)} == {"pending"}
    failed = item_of(engine, "INV-11")
    [told] = standing(
        engine.services, RecordRef(Module.INVOICES, item_of(engine, "INV-20").record_id)
    )
    assert f"#{failed.id}" in told.sentence
    assert "order" in told.sentence.lower()
    # The schedule makes no empty runs over it.
    before = len(runs(engine))
    assert scheduler.schedule_due(engine.services) == []
    assert len(runs(engine)) == before
    untaxable(engine, "INV-11", 15)
    ask(engine, one)
    work(engine)
    assert created(engine) == [f"INV-{number}" for number in range(1, 31)]


def untaxable(engine: Engine, number: str, rate: int) -> None:
    """Gives an invoice's line a tax rate; 77 % is none of Xero's."""
    with crm(engine) as session:
        found = session.scalars(select(Invoice).where(Invoice.number == number)).one()
        found.lines[0].tax_rate = Decimal(rate)


def test_in_a_strict_lane_one_call_is_under_way_and_a_refusal_holds_the_next(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Contacts", strict=True)
    stranger(engine).created("Contacts", {"Name": "Buyer 20"})
    with crm(engine) as session:
        buyers = [books.contact(session, f"Buyer {number}") for number in range(1, 121)]
    tick(engine, *buyers)
    sync(engine)
    # The call that held it was under way; the next ones weren't started.
    ours = created(engine, "Contacts")[1:]
    assert ours == [f"Buyer {n}" for n in range(1, 51) if n != 20]
    assert [state for _label, state in queue_of(engine)[50:]] == ["pending"] * 70


def test_a_strict_lane_keeps_creates_and_updates_in_the_order_of_their_places(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Contacts", strict=True)
    with crm(engine) as session:
        old = [books.contact(session, f"Old {number}") for number in range(3)]
    tick(engine, *old)
    sync(engine)
    for number in range(3):
        with crm(engine) as session:
            session.get_one(Contact, old[number].id).city = "Napier"
            fresh = books.contact(session, f"New {number}")
        tick(engine, fresh)
        intake.relay(engine.services)
    sync(engine)
    assert all_ended(engine)
    assert [call["method"] for call in writes(engine, "Contacts")[1:]] == ["PUT", "POST"] * 3


# removals


def deleted(engine: Engine, model: Any, *ids: int) -> None:
    with crm(engine) as session:
        for one in ids:
            session.delete(session.get_one(model, one))


def test_what_is_deleted_in_the_crm_stays_in_xero_unless_the_profile_says_otherwise(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    [bill] = invoices(engine)
    sync(engine)
    deleted(engine, Invoice, bill.id)
    sync(engine)
    assert [row["Status"] for row in in_xero(engine, "Invoices")] == ["AUTHORISED"]


def test_removals_go_last_and_in_the_reverse_order_of_ranks(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    for module in ("Contacts", "Products", "Invoices"):
        change_profile(engine, module, deleted="remove")
    made = invoices(engine, 3, goods=True)
    sync(engine)
    assert kept(engine) == {"contacts": 1, "items": 1, "invoices": 3}
    before = len(engine.requests())
    # Made before the others go: SQLite gives the number of a deleted last row again.
    with crm(engine) as session:
        other = books.contact(session, "Somebody Else")
    deleted(engine, Invoice, *(each.id for each in made))
    deleted(engine, Contact, 1)
    deleted(engine, Product, 1)
    tick(engine, other)
    intake.relay(engine.services)
    ask(engine, one)
    work(engine)
    assert all_ended(engine)
    calls = [
        (call["method"], call["resource"])
        for call in engine.requests()[before:]
        if call["method"] != "GET"
    ]
    assert calls == [
        ("PUT", "Contacts"),
        ("POST", "Invoices"),
        ("DELETE", "Items"),
        ("POST", "Contacts"),
    ]
    assert {row["Status"] for row in in_xero(engine, "Invoices")} == {"VOIDED"}
    assert in_xero(engine, "Items") == []
    assert list(bindings_of(engine)) == [f"Contacts:{other.id}"]
    entry = log_of(engine, "INV-1")[-1]
    assert (entry.action, entry.outcome) == ("Void", "succeeded")
    assert "deleted in the CRM" in entry.sentence


def test_created_and_deleted_before_it_was_sent_leaves_no_call(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    change_profile(engine, "Invoices", deleted="remove")
    made = invoices(engine, 2)
    intake.relay(engine.services)
    deleted(engine, Invoice, made[0].id)
    ask(engine, one)
    work(engine)
    assert created(engine) == ["INV-2"]
    gone = item_of(engine, "INV-1")
    assert (gone.state, gone.sentence) == (
        "cancelled",
        "It was deleted in the CRM before this was sent.",
    )


def test_a_record_deleted_while_it_is_at_xero_is_removed_after_it(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    change_profile(engine, "Invoices", deleted="remove")
    [made] = invoices(engine)
    ask(engine, one)
    done: list[str] = []

    def delete(step: str) -> None:
        if step == "answered" and created(engine) and not done:
            done.append(step)
            deleted(engine, Invoice, made.id)
            intake.relay(engine.services)

    work(engine, engine.worker("w", observe=delete))
    work(engine)
    assert [row["Status"] for row in in_xero(engine, "Invoices")] == ["VOIDED"]
    assert all_ended(engine)


def test_a_record_deleted_during_a_call_that_did_nothing_is_removed(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    change_profile(engine, "Invoices", deleted="remove")
    [made] = invoices(engine)
    sync(engine)
    with crm(engine) as session:
        row = session.get(Invoice, made.id)
        assert row is not None
        row.lines[0].description = "Other work"
    ask(engine, one)
    fault(engine, "minute", method="POST")
    done: list[str] = []

    def delete(step: str) -> None:
        if step == "journalled" and not done:
            done.append(step)
            deleted(engine, Invoice, made.id)
            intake.relay(engine.services)

    work(engine, engine.worker("w", observe=delete))
    assert [row["Status"] for row in in_xero(engine, "Invoices")] == ["AUTHORISED"]
    change_organisation(engine, held_until=None)
    ask(engine, one)
    work(engine)
    assert [row["Status"] for row in in_xero(engine, "Invoices")] == ["VOIDED"]
    assert all_ended(engine, ["succeeded", "superseded"])


@pytest.mark.parametrize("after", [30, 1000])
@pytest.mark.parametrize("step", ["journalled", "answered", "settled"])
def test_a_removal_that_dies_is_carried_out_once(engine: Engine, step: str, after: int) -> None:
    one = engine.connect(KAURI)[KAURI]
    for module in ("Products", "Invoices"):
        change_profile(engine, module, deleted="remove")
    [made] = invoices(engine, goods=True)
    sync(engine)
    deleted(engine, Invoice, made.id)
    deleted(engine, Product, 1)
    ask(engine, one)
    clock = ShiftedClock()
    for nth in (1, 1):
        die_at(engine, one, step, nth=nth, clock=clock)
        clock.sleep(after)
        change_organisation(engine, lease_until=None, held_until=None)
    survive(engine, one, clock.shift.total_seconds() + 2000)
    survive(engine, one, clock.shift.total_seconds() + 4000)
    assert [row["Status"] for row in in_xero(engine, "Invoices")] == ["VOIDED"]
    assert in_xero(engine, "Items") == []
    assert all_ended(engine)


# pauses


def test_a_paused_module_waits_and_what_depends_on_it_says_so(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    pausing.pause(engine.services, organisation_id=one, module=Module.CONTACTS, who="Ana")
    made = invoices(engine, 2, goods=True)
    sync(engine)
    assert created(engine, "Items") == ["W-1"]
    assert created(engine) == []
    assert dict(queue_of(engine))["INV-1"] == "blocked"
    [told] = standing(engine.services, ref_of(made[0]))
    assert "paused" in told.sentence
    assert scheduler.schedule_due(engine.services) == []
    pausing.resume(engine.services, organisation_id=one, module=Module.CONTACTS, who="Ana")
    work(engine)
    assert created(engine) == ["INV-1", "INV-2"]


def test_a_pause_of_everything_holds_every_organisation(engine: Engine) -> None:
    ones = engine.connect(KAURI, THAMES)
    invoices(engine)
    pausing.pause(engine.services, who="Ana")
    for one in ones.values():
        ask(engine, one)
    work(engine)
    assert writes(engine) == []
    assert {state for _label, state in queue_of(engine)} == {"pending"}
    pausing.resume(engine.services, who="Ana")
    work(engine)
    assert all_ended(engine)


# chains


class Linked:
    """The small CRM, with links of ours between its records."""

    def __init__(self, inner: Any, links: Mapping[RecordRef, Sequence[RecordRef]]) -> None:
        self._inner = inner
        self.links = dict(links)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def fetch_many(self, refs: Sequence[RecordRef]) -> dict[RecordRef, Record]:
        found = self._inner.fetch_many(refs)
        return {ref: self._linked(record) for ref, record in found.items()}

    def _linked(self, record: Record) -> Record:
        more = {f"link {n}": to for n, to in enumerate(self.links.get(record.ref, ()))}
        return replace(record, fields={**record.fields, **more})


def chain(engine: Engine, length: int) -> list[Contact]:
    """Contacts of which each needs the next, and only the first is ticked."""
    with crm(engine) as session:
        made = [books.contact(session, f"Link {number}") for number in range(length)]
    refs = [ref_of(each) for each in made]
    links = {one: [other] for one, other in itertools.pairwise(refs)}
    engine.services.crm = Linked(engine.services.crm, links)
    tick(engine, made[0])
    return made


def test_a_chain_of_any_depth_goes_from_its_end_in_one_run(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    chain(engine, 12)
    sync(engine)
    assert all_ended(engine)
    assert created(engine, "Contacts") == [f"Link {number}" for number in reversed(range(12))]
    [run] = runs(engine)
    assert (run.succeeded, run.trouble) == (12, False)


def test_a_chain_with_a_failed_end_waits_as_a_whole_and_says_for_what(engine: Engine) -> None:
    engine.connect(KAURI)
    made = chain(engine, 4)
    stranger(engine).created("Contacts", {"Name": "Link 3"})
    sync(engine)
    assert [item.state for item in items(engine)] == ["blocked", "blocked", "blocked", "failed"]
    [told] = standing(engine.services, ref_of(made[2]))
    assert f"#{item_of(engine, 'Link 3').id}" in told.sentence
    assert "failed" in told.sentence
    with crm(engine) as session:
        session.get_one(Contact, made[3].id).name = "Link 3b"
    sync(engine)
    assert all_ended(engine)


def test_records_that_need_each_other_are_refused_and_say_so(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    made = chain(engine, 3)
    linked: Any = engine.services.crm
    linked.links[ref_of(made[2])] = [ref_of(made[0])]
    sync(engine)
    states = [item.state for item in items(engine)]
    assert "failed" in states
    assert set(states) <= {"failed", "blocked"}
    [cycle] = [item for item in items(engine) if item.cause == "cycle"]
    assert "Take one of the two links out" in str(cycle.sentence)
    del linked.links[ref_of(made[2])]
    retry(engine, cycle.label)
    assert all_ended(engine)


# the day's reserve


def test_the_days_last_calls_are_kept_for_documents_and_what_they_need(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        idle = [books.contact(session, f"Idle {number}") for number in range(3)]
        buyer = books.contact(session, "Buyer")
        document = books.invoice(session, "INV-1", buyer)
    tick(engine, *idle, buyer, document)
    intake.relay(engine.services)
    change_organisation(engine, day_limit=5000, day_left=450, day_left_at=datetime.now(UTC))
    clock = ShiftedClock()
    services = engine.worker("w", clock=clock)
    ask(engine, one)

    def spend(step: str) -> None:
        change_organisation(engine, day_left=450, day_left_at=clock.now())

    services.observe = spend
    work(engine, services)
    assert created(engine) == ["INV-1"]
    assert created(engine, "Contacts") == ["Buyer"]
    assert [state for label, state in queue_of(engine) if label.startswith("Idle")] == [
        "pending"
    ] * 3
    [run] = runs(engine)
    assert "kept for invoices and payments" in str(run.sentence)
    clock.sleep(3700)
    services.observe = lambda _step: None
    ask(engine, one)
    work(engine, services)
    assert all_ended(engine)


def test_the_very_last_calls_of_a_day_are_left_to_people(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)
    change_organisation(engine, day_limit=1000, day_left=20, day_left_at=datetime.now(UTC))
    work(engine)
    assert writes(engine) == []
    with engine.database.read() as session:
        row = session.get_one(Organisation, one)
    assert "used up" in str(row.held_why)


# several at once


def test_four_calls_at_once_keep_the_order_of_their_attempts(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    control_held(engine)
    heard: Any = Heard(engine.services.xero)
    engine.services.xero = heard
    invoices(engine, 400)
    sync(engine)
    assert all_ended(engine)
    opened = [attempt for attempt in attempts(engine) if attempt.resource == "Invoices"]
    assert len(opened) == 8
    times = [(attempt.opened_at, attempt.closed_at) for attempt in opened]
    overlapping = sum(
        1 for (_, closed), (later, _) in itertools.pairwise(times) if closed and later < closed
    )
    assert overlapping >= 4
    assert heard.keys[-8:] == [attempt.idempotency_key for attempt in opened]


class Heard:
    """Xero's client, and the order in which its calls had their places with the limits."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.keys: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def save_many(self, access: Access, call: Call) -> Answer:
        def entered() -> None:
            self.keys.append(call.idempotency_key)
            access.entered()

        found: Answer = self._inner.save_many(replace(access, entered=entered), call)
        return found


def control_held(engine: Engine) -> None:
    """Each call takes a while, so that several are under way."""
    fault(engine, "slow", resource="Invoices", method="PUT", seconds=0.3, count=8)


def test_a_lost_answer_among_four_is_found_out_and_nothing_doubled(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 400)
    fault(engine, "reset", resource="Invoices", method="PUT", after_store=True, count=3)
    sync(engine)
    for _ in range(8):
        change_organisation(engine, held_until=None)
        ask(engine, one)
        work(engine)
    assert all_ended(engine)
    assert kept(engine)["invoices"] == 400
    assert len(created(engine)) == 400


def test_runs_and_items_tell_what_they_waited_for(engine: Engine) -> None:
    """A run that gives way keeps its own figures."""
    engine.connect(KAURI)
    invoices(engine, 3)
    sync(engine)
    with engine.database.read() as session:
        assert session.query(QueueItem).filter(QueueItem.urgent.is_(True)).count() == 0
        assert session.query(Run).filter(Run.urgency == 1).count() == 1

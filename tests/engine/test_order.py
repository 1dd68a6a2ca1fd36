"""Parents go first, everything in the queue's order, in calls as full as Xero takes them."""

from __future__ import annotations

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    all_ended,
    ask,
    attempts,
    bindings_of,
    change_profile,
    created,
    crm,
    invoices,
    items,
    kept,
    queue_of,
    retry,
    rows_of,
    runs,
    stranger,
    sync,
    tick,
    work,
    writes,
)
from xtiger.crm.builtin import Contact, Invoice
from xtiger.engine import intake, scheduler
from xtiger.store import queue
from xtiger.store.models import Organisation, QueueItem


def test_an_invoice_arrives_once_after_the_contact_and_the_item_it_needs(
    each_engine: Engine,
) -> None:
    engine = each_engine
    engine.connect(KAURI)
    [document] = invoices(engine, goods=True)
    sync(engine)
    assert [call["resource"] for call in writes(engine)] == ["Contacts", "Items", "Invoices"]
    assert queue_of(engine) == [
        ("Ana Lee Ltd", "succeeded"),
        ("W-1", "succeeded"),
        ("INV-1", "succeeded"),
    ]
    assert kept(engine) == {"contacts": 1, "items": 1, "invoices": 1}
    with engine.crm_sessions() as session:
        row = session.get(Invoice, document.id)
        bound = bindings_of(engine)[f"Invoices:{document.id}"]
        assert (row.xero_id, row.xero_number, row.xero_status) == (
            bound.xero_id,
            "INV-1",
            "AUTHORISED",
        )


def test_needed_records_go_without_a_tick_and_others_stay(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    with crm(engine) as session:
        books.contact(session, "Nobody's buyer")
        books.product(session, "W-9")
    invoices(engine)
    with crm(engine) as session:
        books.contact(session, "Another one")
    sync(engine)
    assert created(engine, "Contacts") == ["Nobody's buyer"]  # the first contact is the buyer
    assert created(engine, "Items") == []


def test_documents_go_in_the_order_of_the_queue_in_batches_of_fifty(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine, 120)
    sync(engine)
    calls = writes(engine, "Invoices")
    assert [len(call["elements"]) for call in calls] == [50, 50, 20]
    assert created(engine) == [f"INV-{number}" for number in range(1, 121)]
    assert [each.resource for each in attempts(engine)] == ["Contacts"] + ["Invoices"] * 3
    assert all_ended(engine)
    [run] = runs(engine)
    assert (run.succeeded, run.failed, run.calls) == (121, 0, 4)
    assert run.ended_at is not None


def test_creates_and_updates_of_one_pass_go_in_calls_of_their_own(engine: Engine) -> None:
    engine.connect(KAURI)
    old = invoices(engine, 2)
    sync(engine)
    invoices(engine, 2, first=3)
    with crm(engine) as session:
        for row in old:
            session.get(Invoice, row.id).reference = "changed"
    sync(engine)
    later = writes(engine, "Invoices")[1:]
    assert [(call["method"], len(call["elements"])) for call in later] == [("PUT", 2), ("POST", 2)]


def test_a_document_waits_for_a_parent_that_failed_and_says_so(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    stranger(engine).created("Contacts", {"Name": "Taken Ltd"})
    with crm(engine) as session:
        buyer = books.contact(session, "Taken Ltd")
        document = books.invoice(session, "INV-1", buyer)
    tick(engine, document)
    sync(engine)
    parent, child = items(engine)
    assert (parent.state, child.state, child.blocked_by) == ("failed", "blocked", parent.id)
    assert "which failed" in str(child.sentence)
    with crm(engine) as session:
        session.get(Contact, buyer.id).name = "Good name"
    sync(engine)
    assert [item.state for item in items(engine)] == ["succeeded", "succeeded"]
    assert [item.id for item in items(engine)] == [parent.id, child.id]


def test_all_missing_parents_are_added_at_once(engine: Engine) -> None:
    """Five passes must do for a document whose every parent was taken out of the queue."""
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        goods = [(books.product(session, f"W-{n}"), "1", "5") for n in range(8)]
        document = books.invoice(session, "INV-1", books.contact(session), *goods)
    tick(engine, document)
    intake.relay(engine.services)
    with engine.database.write() as session:
        queue.cancel(session, [item.id for item in items(engine)][:-1], who="Ana")
    ask(engine, one)
    work(engine)
    assert created(engine) == ["INV-1"]
    assert len(created(engine, "Items")) == 8


def test_a_needed_parent_that_may_not_be_added_fails_the_document_with_what_to_do(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Invoices", add_needed=False)
    invoices(engine)
    sync(engine)
    [item] = items(engine)
    assert item.state == "failed"
    assert str(item.sentence).startswith("It needs contact Ana Lee Ltd in Xero first.")
    with engine.crm_sessions() as session:
        tick(engine, session.get(Contact, 1))
    retry(engine, "INV-1")
    assert all_ended(engine)


def test_a_run_asked_twice_is_one_run(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine)
    first = scheduler.sync_now(engine.services, organisation_id=None, modules=None, who="Ana")
    second = scheduler.sync_now(engine.services, organisation_id=None, modules=None, who="Ben")
    assert first == second
    work(engine)
    assert len(runs(engine)) == 1


def test_places_are_given_in_the_order_of_the_changes(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    with crm(engine) as session:
        buyer = books.contact(session)
        made = [books.invoice(session, f"INV-{number}", buyer) for number in (1, 2, 3)]
    with engine.crm_sessions() as session:
        tick(engine, session.get(Contact, buyer.id))
    intake.relay(engine.services)
    tick(engine, made[2], made[0], made[1])
    intake.relay(engine.services)
    assert [item.label for item in items(engine, "Invoices")] == ["INV-3", "INV-1", "INV-2"]


def test_every_item_of_a_record_of_another_organisation_stays_there(engine: Engine) -> None:
    ids = engine.connect()
    invoices(engine)
    sync(engine)
    for item in rows_of(engine, QueueItem):
        assert item.organisation_id == ids[KAURI]
    assert {row.name for row in rows_of(engine, Organisation)} == set(ids)

"""A refused record parks itself, its later changes and what depends on it, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ShiftedClock,
    all_ended,
    ask,
    attempts,
    change_profile,
    control,
    created,
    crm,
    fault,
    in_xero,
    invoices,
    item_of,
    items,
    kept,
    log_of,
    retry,
    runs,
    stranger,
    sync,
    tick,
    work,
    writes,
)
from xtiger.crm.builtin import Contact, Invoice, InvoiceLine
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.engine import intake, recovery, scheduler
from xtiger.store import journal, queue


def refused_buyer(engine: Engine) -> tuple[Contact, Invoice]:
    """A contact whose name a stranger has in Xero, and an invoice that needs it."""
    stranger(engine).created("Contacts", {"Name": "Taken Ltd", "EmailAddress": "a@taken.nz"})
    with crm(engine) as session:
        # Not the same e-mail: tried again, it still isn't linked with the stranger's.
        buyer = books.contact(session, "Taken Ltd", email="b@taken.nz")
        document = books.invoice(session, "INV-900", buyer)
    tick(engine, document)
    return buyer, document


def mend(engine: Engine, buyer: Contact) -> None:
    with crm(engine) as session:
        session.get(Contact, buyer.id).name = "Own name Ltd"


def test_one_refused_element_parks_only_itself_with_xeros_reason(engine: Engine) -> None:
    engine.connect(KAURI)
    refused_buyer(engine)
    with crm(engine) as session:
        others = [books.contact(session, f"Other {n}") for n in range(3)]
    tick(engine, *others)
    sync(engine)
    assert created(engine, "Contacts")[1:] == ["Other 0", "Other 1", "Other 2"]
    parent, child = item_of(engine, "Taken Ltd"), item_of(engine, "INV-900")
    assert (parent.state, parent.cause, parent.tries) == ("failed", "name-taken:Taken Ltd", 1)
    assert "Another contact in Xero is called Taken Ltd" in str(parent.sentence)
    assert (child.state, child.blocked_by, child.tries) == ("blocked", parent.id, 0)
    [entry] = log_of(engine, "Taken Ltd")
    assert "already assigned to another contact" in entry.quoted[0]
    [run] = runs(engine)
    assert (run.succeeded, run.failed, run.blocked) == (3, 1, 1)


def test_after_mending_and_retry_it_goes_in_its_old_place_ahead_of_ten_younger_ones(
    each_engine: Engine,
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    buyer, _document = refused_buyer(engine)
    sync(engine)
    with crm(engine) as session:
        younger = [books.contact(session, f"Younger {n}") for n in range(10)]
        rest = [books.invoice(session, f"INV-{n}", younger[n]) for n in range(10)]
    tick(engine, *younger, *rest)
    with engine.database.write() as session:
        queue.retry(session, [item_of(engine, "Taken Ltd").id], now=engine.services.clock.now())
    mend(engine, buyer)
    ask(engine, one)
    work(engine)
    wanted = ["Own name Ltd", *(f"Younger {n}" for n in range(10))]
    assert created(engine, "Contacts")[1:] == wanted
    assert created(engine) == ["INV-900", *(f"INV-{n}" for n in range(10))]
    assert all_ended(engine)


def test_a_failed_record_that_changes_goes_again_by_itself_in_its_old_place(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    buyer, _document = refused_buyer(engine)
    sync(engine)
    place = item_of(engine, "Taken Ltd").id
    mend(engine, buyer)
    ask(engine, one)
    work(engine)
    assert item_of(engine, "Own name Ltd").id == place
    assert all_ended(engine)


def test_the_schedule_takes_a_failed_record_again_as_often_as_the_profile_says(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    refused_buyer(engine)
    change_profile(engine, "Contacts", retries=2)
    for tries in (1, 2, 3, 3):
        for one in scheduler.schedule_due(engine.services):
            scheduler.work(engine.services, one)
        assert item_of(engine, "Taken Ltd").tries == tries


def test_a_change_during_the_call_that_fails_is_taken_over_and_sent(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    buyer, _document = refused_buyer(engine)

    def change(step: str) -> None:
        if step == "answered" and not changed:
            changed.append(step)
            mend(engine, buyer)
            intake.relay(engine.services)

    changed: list[str] = []
    ask(engine, one)
    work(engine, engine.worker("first", observe=change))
    older, second = items(engine, "Contacts")
    assert (older.state, older.tries, second.state) == ("succeeded", 0, "superseded")
    assert created(engine, "Contacts")[1:] == ["Own name Ltd"]
    assert created(engine) == ["INV-900"]


def test_a_change_during_a_call_that_succeeds_goes_as_an_update_after(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    [document] = invoices(engine)

    def change(step: str) -> None:
        if step == "answered" and created(engine) and not changed:
            changed.append(step)
            with crm(engine) as session:
                session.get(Invoice, document.id).reference = "newer"
            intake.relay(engine.services)

    changed: list[str] = []
    ask(engine, one)
    work(engine, engine.worker("first", observe=change))
    assert [call["method"] for call in writes(engine, "Invoices")] == ["PUT", "POST"]
    assert [item.state for item in items(engine, "Invoices")] == ["succeeded", "succeeded"]
    assert in_xero(engine, "Invoices")[0]["Reference"] == "newer"
    assert kept(engine)["invoices"] == 1


def test_what_the_mapping_can_not_send_fails_before_any_call(engine: Engine) -> None:
    engine.connect(KAURI)
    good, bad = invoices(engine, 2)
    with crm(engine) as session:
        row = session.get(Invoice, bad.id)
        row.due_date = None
        row.lines[0].tax_rate = 77
        row.count()
    sync(engine)
    assert created(engine) == [good.number]
    item = item_of(engine, bad.number)
    assert (item.state, item.tries) == ("failed", 1)
    assert "77" in str(item.sentence)
    with crm(engine) as session:
        session.query(InvoiceLine).filter_by(invoice_id=bad.id).one().tax_rate = 15
        session.get(Invoice, bad.id).count()
    with crm(engine) as session:
        session.get(Invoice, bad.id).due_date = good.due_date
    sync(engine)
    assert all_ended(engine)


def test_a_record_that_spoils_its_call_is_found_by_halving_and_fails_alone(
    each_engine: Engine,
) -> None:
    engine = each_engine
    engine.connect(KAURI)
    invoices(engine, 50)
    spoilt = {"resource": "Invoices", "method": "PUT", "status": 413, "text": '"INV-17"'}
    fault(engine, "status", count=100, **spoilt)
    sync(engine)
    control(engine, "faults", [])
    failed = [item.label for item in items(engine, "Invoices") if item.state == "failed"]
    assert failed == ["INV-17"]
    assert "larger than Xero takes" in str(item_of(engine, "INV-17").sentence)
    assert kept(engine)["invoices"] == 49
    # 50, then its halves down to the one: no more than two calls for each halving.
    assert len(attempts(engine)) <= 1 + 1 + 2 * 6
    assert {attempt.outcome for attempt in attempts(engine)} == {"settled", "refused"}
    retry(engine, "INV-17")
    assert all_ended(engine)
    assert kept(engine)["invoices"] == 50


def test_a_refusal_that_is_about_every_record_is_not_halved_to_the_last(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine, 120)
    fault(engine, "status", count=300, resource="Invoices", method="PUT", status=413)
    sync(engine)
    control(engine, "faults", [])
    assert {item.state for item in items(engine, "Invoices")} == {"failed"}
    assert "larger than Xero takes" in str(item_of(engine, "INV-1").sentence)
    assert len(writes(engine, "Invoices")) < 40
    retry(engine, *(f"INV-{number}" for number in range(1, 121)))
    assert all_ended(engine)
    assert kept(engine)["invoices"] == 120


def test_the_child_of_a_cancelled_parent_does_not_wait_for_ever(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    buyer, _document = refused_buyer(engine)
    sync(engine)
    with engine.database.write() as session:
        queue.cancel(session, [item_of(engine, "Taken Ltd").id], who="Ana")
    assert item_of(engine, "INV-900").state == "pending"
    mend(engine, buyer)
    ask(engine, one)
    work(engine)
    assert created(engine) == ["INV-900"]


def test_a_document_whose_bound_contact_has_a_failed_change_waits_for_it(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine)
    sync(engine)
    stranger(engine).created("Contacts", {"Name": "Taken Ltd"})
    with crm(engine) as session:
        session.get(Contact, 1).name = "Taken Ltd"
    sync(engine)
    invoices(engine, first=2)
    sync(engine)
    child = item_of(engine, "INV-2")
    assert (child.state, child.blocked_by) == ("blocked", item_of(engine, "Taken Ltd").id)
    with crm(engine) as session:
        session.get(Contact, 1).name = "Another name Ltd"
    sync(engine)
    assert item_of(engine, "INV-2").state == "succeeded"


@pytest.mark.parametrize("state", ["failed", "blocked"])
def test_sync_leaves_what_failed_or_waits_at_its_place(engine: Engine, state: str) -> None:
    engine.connect(KAURI)
    refused_buyer(engine)
    sync(engine)
    before = {item.label: item.id for item in items(engine)}
    label = {"failed": "Taken Ltd", "blocked": "INV-900"}[state]
    sync(engine)
    assert {item.label: item.id for item in items(engine)} == before
    assert (item_of(engine, label).state, len(log_of(engine, label))) == (state, 1)


def test_a_record_over_which_xero_stumbles_comes_to_stand_alone_and_fails(
    each_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 500 for one record must not keep the others waiting for ever."""
    engine = each_engine
    monkeypatch.setattr(recovery, "MOST_DOUBTS", 3)
    small = replace(CATALOGUE[Resource.INVOICES], batch_size=4)
    monkeypatch.setitem(CATALOGUE, Resource.INVOICES, small)  # type: ignore[arg-type]
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 6)
    fault(
        engine, "status", count=500, resource="Invoices", method="PUT", status=500, text='"INV-3"'
    )
    clock = ShiftedClock()
    services = engine.worker("patient", clock=clock)
    sync(engine, services)
    for _round in range(30):
        clock.sleep(450)
        ask(engine, one)
        work(engine, services)
        if not [item for item in items(engine) if item.state in ("pending", "running")]:
            break
    stumbled = item_of(engine, "INV-3")
    assert (stumbled.state, stumbled.cause, stumbled.doubts) == ("failed", "xero-trouble", 3)
    assert "a fault of its own" in str(stumbled.sentence)
    assert kept(engine)["invoices"] == 5
    # In a call of four, then of two, then alone; each is sent again while Xero knows its key.
    with engine.database.read() as session:
        calls = journal.items_of(session, attempts(engine)).values()
    assert [len(call) for call in calls if stumbled.id in call] == [4, 2, 1]
    control(engine, "faults", [])
    retry(engine, "INV-3")
    ask(engine, one)
    work(engine, services)
    assert all_ended(engine)
    assert kept(engine)["invoices"] == 6

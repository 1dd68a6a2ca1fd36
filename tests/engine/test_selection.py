"""What goes and where: rules, cut-off, routing; and what is taken back before it was sent."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    THAMES,
    ask,
    change_profile,
    created,
    crm,
    fault,
    in_xero,
    invoices,
    item_of,
    items,
    kept,
    organisation,
    queue_of,
    ref_of,
    rows_of,
    sync,
    tick,
    work,
    writes,
)
from xtiger.crm.builtin import Contact, Invoice
from xtiger.domain.errors import PermanentError
from xtiger.domain.records import DocumentType, Module
from xtiger.domain.selection import overlaps
from xtiger.engine import intake, standing
from xtiger.store import profiles
from xtiger.store.models import Flag


def reason(engine: Engine, row: object) -> str | None:
    with engine.database.read() as session:
        flag = profiles.flags(session, [ref_of(row)]).get(ref_of(row))
    return flag.reason if flag else None


def test_an_unticked_record_stays_and_its_reason_is_kept(engine: Engine) -> None:
    engine.connect(KAURI)
    with crm(engine) as session:
        row = books.invoice(session, "INV-1", books.contact(session))
    sync(engine)
    assert items(engine) == []
    assert reason(engine, row) == "Allow Xero Sync isn't ticked."


def test_the_rule_all_needs_no_tick(engine: Engine) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Contacts", rule="all")
    with crm(engine) as session:
        books.contact(session)
    sync(engine)
    assert created(engine, "Contacts") == ["Ana Lee Ltd"]


def test_the_rule_by_status_takes_the_chosen_ones(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    change_profile(engine, "Invoices", rule="status", statuses=["Approved", "Sent"])
    with crm(engine) as session:
        buyer = books.contact(session)
        books.invoice(session, "INV-1", buyer, status="Sent")
        other = books.invoice(session, "INV-2", buyer, status="Created")
    sync(engine)
    assert created(engine) == ["INV-1"]
    assert reason(engine, other) == "Its status is Created; only Approved and Sent go over."


def test_what_is_older_than_the_first_day_stays(engine: Engine) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Invoices", created_from=date(2026, 10, 1))
    with crm(engine) as session:
        buyer = books.contact(session)
        old = books.invoice(
            session, "INV-1", buyer, created_at=datetime(2026, 9, 30, 10, 59, tzinfo=UTC)
        )
        # Midnight in New Zealand, where the organisation is.
        new = books.invoice(
            session, "INV-2", buyer, created_at=datetime(2026, 9, 30, 11, tzinfo=UTC)
        )
    tick(engine, old, new)
    sync(engine)
    assert created(engine) == ["INV-2"]
    assert "syncing starts with 1 Oct 2026" in str(reason(engine, old))


def test_documents_go_by_currency_to_the_right_one_of_two_organisations(
    each_engine: Engine,
) -> None:
    engine = each_engine
    engine.connect()
    with crm(engine) as session:
        buyer = books.contact(session)
        here = books.invoice(session, "INV-1", buyer, currency="NZD")
        there = books.invoice(session, "INV-2", buyer, (None, "1", "10", "0", "20"), currency="GBP")
    tick(engine, here, there)
    sync(engine)
    assert kept(engine, KAURI) == {"contacts": 1, "items": 0, "invoices": 1}
    assert kept(engine, THAMES) == {"contacts": 1, "items": 0, "invoices": 1}
    assert {item.label: item.organisation_id for item in items(engine, "Invoices")} == {
        "INV-1": organisation(engine, KAURI).id,
        "INV-2": organisation(engine, THAMES).id,
    }


@pytest.mark.parametrize("status", ["DRAFT", "SUBMITTED", "AUTHORISED"])
def test_a_document_is_made_in_the_status_that_the_profile_says(
    engine: Engine, status: str
) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Invoices", target_status=status)
    invoices(engine)
    sync(engine)
    assert item_of(engine, "INV-1").state == "succeeded"
    assert [row["Status"] for row in in_xero(engine, "Invoices")] == [status]


def test_conditions_look_past_capitals_on_the_way_too(engine: Engine) -> None:
    ids = engine.connect()
    change_profile(engine, "Invoices", THAMES, route_value=" gbp ")
    invoices(engine, currency="GBP")
    intake.relay(engine.services)
    assert [item.organisation_id for item in items(engine, "Invoices")] == [ids[THAMES]]


def test_a_document_goes_past_an_organisation_that_is_switched_off(engine: Engine) -> None:
    ids = engine.connect()
    change_profile(engine, "Invoices", KAURI, enabled=False)
    change_profile(engine, "Invoices", THAMES, route_field=None, route_value=None)
    invoices(engine)
    intake.relay(engine.services)
    assert [item.organisation_id for item in items(engine, "Invoices")] == [ids[THAMES]]


def test_a_records_own_choice_of_organisation_wins(engine: Engine) -> None:
    ids = engine.connect()
    [row] = invoices(engine, currency="GBP")
    tick(engine, row, organisation_id=ids[KAURI])
    intake.relay(engine.services)
    assert [item.organisation_id for item in items(engine, "Invoices")] == [ids[KAURI]]


def test_a_document_that_is_routed_elsewhere_before_it_was_sent_says_where_it_goes(
    engine: Engine,
) -> None:
    ids = engine.connect()
    [row] = invoices(engine)
    intake.relay(engine.services)
    tick(engine, row, organisation_id=ids[THAMES])
    intake.relay(engine.services)
    old, new = items(engine, "Invoices")
    assert (old.state, old.sentence) == ("cancelled", f"It goes to {THAMES} now.")
    assert (new.state, new.organisation_id) == ("pending", ids[THAMES])


def test_a_document_in_xero_stays_in_its_organisation_whatever_its_currency_becomes(
    engine: Engine,
) -> None:
    engine.connect()
    [row] = invoices(engine)
    sync(engine)
    with crm(engine) as session:
        session.get(Invoice, row.id).currency = "GBP"
    sync(engine)
    assert kept(engine, THAMES)["invoices"] == 0
    assert {item.organisation_id for item in items(engine, "Invoices")} == {
        organisation(engine, KAURI).id
    }


def test_a_document_in_xero_changes_neither_type_nor_organisation(engine: Engine) -> None:
    ids = engine.connect()
    [row] = invoices(engine)
    sync(engine)
    with pytest.raises(PermanentError, match="the type can't change"):
        tick(engine, row, document_type=DocumentType.BILL)
    with pytest.raises(PermanentError, match="the organisation can't change"):
        tick(engine, row, organisation_id=ids[THAMES])


def test_profiles_by_which_a_document_could_go_to_two_places_are_refused(
    engine: Engine,
) -> None:
    engine.connect()
    with engine.database.read() as session:
        assert overlaps(profiles.profiles(session)) is None
    for name in (KAURI, THAMES):
        change_profile(engine, "Invoices", name, route_field=None, route_value=None)
    with engine.database.read() as session:
        sentence = overlaps(profiles.profiles(session))
    assert sentence in {
        f"Invoices would go to {one} and to {other}: both are the default. Give one of them a "
        "condition of its own."
        for one, other in ((KAURI, THAMES), (THAMES, KAURI))
    }


def test_a_record_unticked_before_it_was_sent_is_taken_out_with_the_reason(
    each_engine: Engine,
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    [row] = invoices(engine)
    intake.relay(engine.services)
    tick(engine, row, allow=False)
    ask(engine, one)
    work(engine)
    item = item_of(engine, "INV-1")
    assert (item.state, item.sentence) == ("cancelled", "Allow Xero Sync isn't ticked.")
    assert created(engine) == []


def test_a_record_deleted_before_it_was_sent_costs_no_call(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        row = books.contact(session)
    tick(engine, row)
    intake.relay(engine.services)
    with crm(engine) as session:
        session.delete(session.get(Contact, row.id))
    ask(engine, one)
    work(engine)
    assert writes(engine) == []
    [item] = items(engine)
    assert (item.state, item.sentence) == (
        "cancelled",
        "It was deleted in the CRM before this was sent.",
    )


def test_a_record_made_and_deleted_between_two_relays_never_reaches_the_queue(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    with crm(engine) as session:
        row = books.contact(session)
    tick(engine, row)
    with crm(engine) as session:
        session.delete(session.get(Contact, row.id))
    sync(engine)
    assert items(engine) == []


def test_unticking_takes_out_what_waits_behind_a_call_under_way(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    [row] = invoices(engine)
    fault(engine, "reset", resource="Invoices", method="PUT", after_store=True)
    ask(engine, one)
    work(engine)  # the answer is lost: the item stays at Xero
    with crm(engine) as session:
        session.get(Invoice, row.id).reference = "later"
    intake.relay(engine.services)
    assert [state for label, state in queue_of(engine) if label == "INV-1"] == [
        "running",
        "pending",
    ]
    tick(engine, row, allow=False)
    intake.relay(engine.services)
    assert [state for label, state in queue_of(engine) if label == "INV-1"] == [
        "running",
        "cancelled",
    ]


def test_a_contact_of_a_document_keeps_up_without_a_tick_unless_it_is_taken_away(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    invoices(engine)
    sync(engine)
    with crm(engine) as session:
        session.get(Contact, 1).phone = "123"
    sync(engine)
    assert [call["method"] for call in writes(engine, "Contacts")] == ["PUT", "POST"]
    with engine.crm_sessions() as session:
        tick(engine, session.get(Contact, 1), allow=False)
    with crm(engine) as session:
        session.get(Contact, 1).phone = "456"
    sync(engine)
    assert len(writes(engine, "Contacts")) == 2


def test_the_record_page_says_why_it_is_not_in_xero_and_when_it_is(engine: Engine) -> None:
    engine.connect(KAURI)
    with crm(engine) as session:
        row = books.invoice(session, "INV-1", books.contact(session))
    [before] = standing.standing(engine.services, ref_of(row))
    assert (before.state, before.sentence) == ("Not selected", "Allow Xero Sync isn't ticked.")
    tick(engine, row)
    intake.relay(engine.services)
    [waiting] = standing.standing(engine.services, ref_of(row))
    assert waiting.state == "In Queue"
    sync(engine)
    [there] = standing.standing(engine.services, ref_of(row))
    assert there.state == "In Xero"
    assert there.sentence.startswith("It is in Xero as INV-1 since ")


def test_flags_are_kept_once_a_record(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    with crm(engine) as session:
        row = books.contact(session)
    for _ in range(3):
        intake.relay(engine.services)
        tick(engine, row)
    assert [(flag.module, flag.allow) for flag in rows_of(engine, Flag)] == [
        (Module.CONTACTS.value, True)
    ]

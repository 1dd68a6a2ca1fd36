"""What is lost besides creates, several lost calls at once, and look-ups that Xero refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import Engine
from tests.contract.test_xero_port import BARE
from tests.engine.lost_calls import BETWEEN, LOOKED_UP, REPLAYED, Lost
from tests.engine.scenes import bindings_of, fault
from xtiger.domain import exactjson
from xtiger.domain.errors import TransientError, UnknownOutcome
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.engine import recovery
from xtiger.ports import Owner
from xtiger.store import journal
from xtiger.store.models import Attempt

R = Resource


@pytest.fixture
def lost(engine: Engine) -> Lost:
    return Lost.of(engine)


# removals


def removal(lost: Lost, resource: Resource, status: str | None) -> tuple[int, str]:
    """The attempt that takes a fresh object away (by DELETE without a status), and its id."""
    xero_id = str(lost.books.made(resource).xero_id)
    owner = lost.books.owner(resource)
    if status is None:
        return lost.journalled(
            resource, verb=Verb.DELETE, owner=owner, xero_id=xero_id, removes=True
        ), xero_id
    info = CATALOGUE[resource]
    alone = info.alone or resource is R.PAYMENTS
    row: dict[str, Any] = {info.status_field or "": status}
    body = row if resource in BARE else {resource.value: [row | {info.id_field: xero_id}]}
    attempt_id = lost.journalled(
        resource,
        verb=Verb.UPDATE,
        body=exactjson.dumps(body),
        owner=owner,
        xero_id=xero_id if alone else None,
        removes=True,
    )
    return attempt_id, xero_id


REMOVALS: list[tuple[Resource, str | None]] = [
    (R.ITEMS, None),
    (R.ACCOUNTS, None),
    (R.ACCOUNTS, "ARCHIVED"),
    (R.TRACKING_CATEGORIES, None),
    (R.TRACKING_CATEGORIES, "ARCHIVED"),
    (R.TRACKING_OPTIONS, None),
    (R.TRACKING_OPTIONS, "ARCHIVED"),
    (R.ALLOCATIONS, None),
    (R.TAX_RATES, "DELETED"),
    (R.CONTACTS, "ARCHIVED"),
    (R.CONTACT_GROUPS, "DELETED"),
    (R.QUOTES, "DELETED"),
    (R.PURCHASE_ORDERS, "DELETED"),
    (R.INVOICES, "VOIDED"),
    (R.BANK_TRANSACTIONS, "DELETED"),
    (R.CREDIT_NOTES, "VOIDED"),
    (R.PAYMENTS, "DELETED"),
]


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize(("resource", "status"), REMOVALS)
def test_a_removal_is_told_by_what_became_of_the_object(
    lost: Lost, resource: Resource, status: str | None, arrived: bool
) -> None:
    attempt_id, _ = removal(lost, resource, status)
    if arrived:
        lost.send(attempt_id)
    sent = len(lost.writes())
    lost.recover(LOOKED_UP)
    assert lost.states() == ["succeeded" if arrived else "pending"]
    assert lost.outcomes() == ["looked up" if arrived else "due again"]
    assert len(lost.writes()) == sent


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize(("resource", "status"), REMOVALS)
def test_a_removal_that_goes_twice_inside_the_keys_life_ends_well(
    lost: Lost, resource: Resource, status: str | None, arrived: bool
) -> None:
    attempt_id, _ = removal(lost, resource, status)
    if arrived:
        lost.send(attempt_id)
    lost.recover(REPLAYED)
    assert (lost.states(), lost.outcomes()) == (["succeeded"], ["settled"])


@pytest.mark.parametrize(
    ("resource", "status"),
    [(R.INVOICES, "VOIDED"), (R.CONTACTS, "ARCHIVED"), (R.PAYMENTS, "DELETED")],
)
def test_a_removal_that_is_refused_since_the_object_is_gone_worked(
    lost: Lost, resource: Resource, status: str
) -> None:
    """Somebody removed it in Xero first: it is out of use, which is all that was wanted."""
    attempt_id, _ = removal(lost, resource, status)
    with lost.engine.database.read() as session:
        call = journal.call_of(session.get_one(Attempt, attempt_id), 1)
    [theirs] = lost.books.send(replace(call, idempotency_key="theirs")).elements
    assert theirs.stored
    lost.recover(REPLAYED)
    assert (lost.states(), lost.outcomes()) == (["succeeded"], ["settled"])
    assert lost.steps == ["replaying", "looking up"]


def test_a_removal_that_xero_refuses_stays_refused(lost: Lost) -> None:
    """The invoice has a payment: it can't be voided, and isn't."""
    attempt_id, xero_id = removal(lost, R.INVOICES, "VOIDED")
    paid = lost.books.element(R.PAYMENTS) | {"Invoice": {"InvoiceID": xero_id}}
    del paid["Reference"]
    lost.books.send(lost.books.create(R.PAYMENTS, paid))
    lost.recover(REPLAYED)
    assert attempt_id
    [item] = lost.items()
    assert item.state == "failed"


# updates, and a contact put into a group


@pytest.mark.parametrize("arrived", [True, False])
def test_an_update_says_all_it_changes_and_may_go_twice(lost: Lost, arrived: bool) -> None:
    xero_id = str(lost.books.made(R.ITEMS).xero_id)
    body = exactjson.dumps({"Items": [{"ItemID": xero_id, "Code": "NEW", "Name": "New"}]})
    attempt_id = lost.journalled(R.ITEMS, verb=Verb.UPDATE, body=body)
    if arrived:
        lost.send(attempt_id)
    sent = len(lost.writes())
    lost.recover(LOOKED_UP)
    assert (lost.states(), lost.outcomes()) == (["pending"], ["due again"])
    assert len(lost.writes()) == sent
    assert lost.steps == []


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.DELETE])
def test_a_contact_in_a_group_is_there_or_not_and_stays_bound_as_itself(
    lost: Lost, verb: Verb, arrived: bool
) -> None:
    member = lost.books.contact()
    group = Owner(R.CONTACT_GROUPS, str(lost.books.made(R.CONTACT_GROUPS).xero_id))
    body = exactjson.dumps({"Contacts": [member]})
    adding = lost.journalled(R.CONTACTS, body=body, owner=group)
    if verb is Verb.DELETE:
        lost.send(adding)
        lost.recover(LOOKED_UP)
        attempt_id = lost.journalled(
            R.CONTACTS, verb=verb, owner=group, xero_id=member["ContactID"], removes=True
        )
    else:
        attempt_id = adding
    if arrived:
        lost.send(attempt_id)
    lost.recover(LOOKED_UP)
    assert lost.states()[-1] == ("succeeded" if arrived else "pending")
    assert bindings_of(lost.engine) == {}


# money that nothing but ours tells


@pytest.mark.parametrize(
    "differs",
    [{"Reference": "theirs"}, {"Amount": Decimal("10.49")}, {"Date": "2026-11-20"}],
)
def test_another_payment_of_the_invoice_is_not_ours(lost: Lost, differs: dict[str, Any]) -> None:
    element = lost.books.element(R.PAYMENTS)
    lost.journalled(R.PAYMENTS, element)
    lost.books.send(lost.books.create(R.PAYMENTS, {**element, **differs}))
    lost.recover(LOOKED_UP)
    assert (lost.states(), bindings_of(lost.engine)) == (["pending"], {})


def test_two_equal_payments_without_a_reference_are_for_a_person(lost: Lost) -> None:
    element = lost.books.element(R.PAYMENTS)
    del element["Reference"]
    attempt_id = lost.journalled(R.PAYMENTS, element)
    lost.send(attempt_id)
    lost.books.send(lost.books.create(R.PAYMENTS, element))
    lost.recover(LOOKED_UP)
    [item], [entry] = lost.items(), lost.entries()
    assert item.state == "check"
    assert "Xero has 2 that look like it" in str(item.sentence)
    assert len(entry.quoted) == 3
    assert all("10.50" in text for text in entry.quoted)


def test_what_belongs_to_another_record_is_not_taken_for_the_lost_one(lost: Lost) -> None:
    """Two records with the same payment, one in Xero already: the other never arrived."""
    element = lost.books.element(R.PAYMENTS)
    del element["Reference"]
    lost.send(lost.journalled(R.PAYMENTS, element))
    lost.recover(LOOKED_UP)
    lost.journalled(R.PAYMENTS, element)
    lost.recover(LOOKED_UP)
    assert lost.states() == ["succeeded", "pending"]
    assert len(bindings_of(lost.engine)) == 1


def test_an_allocation_is_the_one_more_than_there_was_before(lost: Lost) -> None:
    """Two that are equal in all, one of before: counted, neither is mistaken for the other."""
    element = lost.books.element(R.ALLOCATIONS)
    [first] = lost.books.send(lost.books.create(R.ALLOCATIONS, element)).elements
    lost.journalled(R.ALLOCATIONS, element)
    lost.recover(LOOKED_UP)
    assert lost.states() == ["pending"]
    attempt_id = lost.journalled(R.ALLOCATIONS, element)
    [second] = lost.send(attempt_id).elements
    lost.recover(LOOKED_UP)
    assert lost.states() == ["pending", "succeeded"]
    [bound] = bindings_of(lost.engine).values()
    assert bound.xero_id == second.xero_id != first.xero_id


def test_payments_go_the_whole_way_on_each_database(each_engine: Engine) -> None:
    """Journalled, sent, every answer lost: half of them found, half of them made again once."""
    lost = Lost.of(each_engine)
    rows = [lost.books.element(R.PAYMENTS) for _ in range(6)]
    calls = [lost.journalled(R.PAYMENTS, row) for row in rows]
    for attempt_id in calls[::2]:
        lost.send(attempt_id)
    lost.recover(LOOKED_UP)
    assert lost.states() == ["succeeded", "pending"] * 3
    for row in rows[1::2]:
        attempt_id = lost.journalled(R.PAYMENTS, row)
        lost.send(attempt_id)
        lost.recover(REPLAYED)
    assert lost.total(R.PAYMENTS) == 6
    assert len(bindings_of(each_engine)) == 6


# several at once


def test_one_that_must_wait_keeps_no_other_from_being_settled(lost: Lost) -> None:
    quotes = [lost.books.element(R.QUOTES) for _ in range(3)]
    old = lost.journalled(R.QUOTES, quotes[0], ago=LOOKED_UP)
    lost.journalled(R.QUOTES, quotes[1], ago=BETWEEN)
    young = lost.journalled(R.QUOTES, quotes[2], ago=REPLAYED)
    for attempt_id in (old, young):
        lost.send(attempt_id)
    with pytest.raises(TransientError) as waits:
        lost.recover(0)
    assert lost.states() == ["succeeded", "running", "succeeded"]
    assert lost.outcomes() == ["looked up", None, "settled"]
    assert waits.value.retry_after == pytest.approx(420 - BETWEEN, abs=10)
    assert not waits.value.counts
    lost.recover(100)
    assert lost.states() == ["succeeded", "pending", "succeeded"]


def test_a_younger_call_about_the_same_record_waits_with_the_older_one(lost: Lost) -> None:
    quotes = [lost.books.element(R.QUOTES) for _ in range(2)]
    lost.journalled(R.QUOTES, quotes[0], ago=BETWEEN, records=["7"])
    lost.send(lost.journalled(R.QUOTES, quotes[1], ago=REPLAYED, records=["7"]))
    sent = len(lost.writes())
    with pytest.raises(TransientError):
        lost.recover(0)
    assert (lost.states(), len(lost.writes())) == (["running", "running"], sent)


def test_one_that_xero_answers_badly_keeps_no_other_from_being_settled(lost: Lost) -> None:
    first, second = (lost.journalled(R.QUOTES, lost.books.element(R.QUOTES)) for _ in range(2))
    for attempt_id in (first, second):
        lost.send(attempt_id)
    fault(lost.engine, "status", resource="Quotes", method="PUT", status=500)
    with pytest.raises(UnknownOutcome):
        lost.recover(REPLAYED)
    assert lost.states() == ["running", "succeeded"]
    lost.recover(REPLAYED)
    assert lost.states() == ["succeeded", "succeeded"]


# what must never happen


@pytest.mark.parametrize("seconds", [301, BETWEEN, 419, 421, LOOKED_UP, 4000])
@pytest.mark.parametrize("resource", [R.INVOICES, R.PAYMENTS])
def test_past_the_keys_life_nothing_is_ever_sent(
    lost: Lost, resource: Resource, seconds: float
) -> None:
    """Xero would have forgotten the key and made a second one."""
    lost.send(lost.journalled(resource, lost.books.element(resource)))
    sent, before = len(lost.writes()), lost.total(resource)
    if seconds < 420:
        with pytest.raises(TransientError, match="asks Xero whether it arrived"):
            lost.recover(seconds)
        assert lost.states() == ["running"]
    else:
        lost.recover(seconds)
        assert lost.states() == ["succeeded"]
    assert (len(lost.writes()), lost.total(resource)) == (sent, before)


def test_items_of_an_open_call_never_go_back_on_a_guess(lost: Lost) -> None:
    """Put back they would go again by a new key while Xero may have them."""
    rows = [lost.books.element(R.QUOTES) for _ in range(2)]
    lost.journalled(R.QUOTES, *rows, records=["1", "2"])
    unsent = lost.item(R.QUOTES)
    kept = lost.item(R.QUOTES)
    with lost.engine.database.write() as session:
        [call] = recovery.return_unsent(session, lost.one, but={kept})
        assert call.closed_at is None
    assert lost.states() == ["running", "running", "pending", "running"]
    assert [item.id for item in lost.items() if item.state == "pending"] == [unsent]
    with pytest.raises(TransientError):
        lost.recover(BETWEEN)
    assert lost.states() == ["running", "running", "pending", "pending"]


# look-ups that Xero refuses


def refuse_look_ups(lost: Lost, resource: Resource) -> None:
    """The next one."""
    fault(lost.engine, "status", resource=resource.value, method="GET", status=405)


def test_a_refused_look_up_leaves_the_call_open_and_is_tried_again(lost: Lost) -> None:
    attempt_id = lost.journalled(R.PAYMENTS, lost.books.element(R.PAYMENTS))
    lost.send(attempt_id)
    refuse_look_ups(lost, R.PAYMENTS)
    with pytest.raises(UnknownOutcome, match="Xero doesn't tell what became of the call"):
        lost.recover(LOOKED_UP)
    assert (lost.states(), lost.outcomes()) == (["running"], [None])
    lost.recover(LOOKED_UP + 60)
    assert (lost.states(), lost.outcomes()) == (["succeeded"], ["looked up"])


@pytest.mark.parametrize(("verb", "state"), [(Verb.CREATE, "check"), (Verb.DELETE, "pending")])
def test_after_an_hour_of_refusals_a_person_decides_what_may_not_go_twice(
    lost: Lost, verb: Verb, state: str
) -> None:
    if verb is Verb.CREATE:
        lost.send(lost.journalled(R.ITEMS, lost.books.element(R.ITEMS)))
    else:
        removal(lost, R.ITEMS, None)
    sent = len(lost.writes())
    refuse_look_ups(lost, R.ITEMS)
    lost.recover(3700)
    [item] = lost.items()
    assert (item.state, lost.outcomes()) == (state, ["asked in vain"])
    assert len(lost.writes()) == sent
    if verb is Verb.CREATE:
        assert "Xero doesn't tell whether it arrived" in str(item.sentence)
        assert "“It is there” or “It isn't”" in str(item.sentence)
        [entry] = lost.entries()
        assert entry.quoted[0].startswith("Sent: ")


def test_a_refused_look_up_of_what_was_refused_over_its_key_is_never_lost(lost: Lost) -> None:
    """Xero says that the code is taken and then doesn't show by what: it stays open until known."""
    element = lost.books.element(R.ITEMS)
    lost.books.send(lost.books.create(R.ITEMS, {**element, "Name": "A stranger's"}))
    lost.journalled(R.ITEMS, element)
    refuse_look_ups(lost, R.ITEMS)
    with pytest.raises(UnknownOutcome):
        lost.recover(REPLAYED)
    assert (lost.states(), lost.outcomes()) == (["running"], [None])
    lost.recover(REPLAYED + 10)
    [item], [entry] = lost.items(), lost.entries()
    assert (item.state, lost.outcomes()) == ("failed", ["settled"])
    assert str(item.cause).startswith("code-taken")
    assert any("A stranger's" in text for text in entry.quoted)
    assert any(text.startswith("Sent: ") for text in entry.quoted)


def test_the_whole_call_is_in_the_journal_and_its_opening_dates_it(lost: Lost) -> None:
    attempt_id = lost.journalled(R.ATTACHMENTS)
    lost.send(attempt_id)
    with lost.engine.database.read() as session:
        attempt = session.get_one(Attempt, attempt_id)
    assert (attempt.owner_resource, attempt.content_type) == ("Invoices", "text/plain")
    assert attempt.opened_at > lost.engine.services.clock.now() - timedelta(minutes=1)
    lost.recover(LOOKED_UP)
    assert lost.states() == ["succeeded"]

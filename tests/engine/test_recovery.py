"""A lost create of every resource: arrived or not, replayed or looked for, never there twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Engine
from tests.contract.test_xero_port import WRITTEN
from tests.engine.lost_calls import LOOKED_UP, REPLAYED, Lost
from tests.engine.scenes import bindings_of
from xtiger.domain.resources import Resource

R = Resource


@pytest.fixture
def lost(engine: Engine) -> Lost:
    return Lost.of(engine)


def prepared(lost: Lost, resource: Resource) -> tuple[int, int]:
    """An attempt that is yet to be sent, and how many of its kind Xero has before it."""
    elements = [] if resource is R.ATTACHMENTS else [lost.books.element(resource)]
    attempt_id = lost.journalled(resource, *elements)
    return attempt_id, lost.total(resource)


@pytest.mark.parametrize("resource", WRITTEN)
def test_what_arrived_is_found_and_not_sent_again(lost: Lost, resource: Resource) -> None:
    attempt_id, before = prepared(lost, resource)
    xero_id = lost.send(attempt_id).elements[0].xero_id
    sent = len(lost.writes())
    lost.recover(LOOKED_UP)
    assert (lost.states(), lost.outcomes()) == (["succeeded"], ["looked up"])
    assert len(lost.writes()) == sent
    assert lost.total(resource) == before + 1
    assert [row.xero_id for row in bindings_of(lost.engine).values()] == (
        [] if resource is R.HISTORY else [xero_id]
    )
    assert [entry.outcome for entry in lost.entries()] == ["succeeded"]
    assert lost.steps == ["looking up"]


@pytest.mark.parametrize("resource", WRITTEN)
def test_what_never_arrived_is_due_again(lost: Lost, resource: Resource) -> None:
    _, before = prepared(lost, resource)
    sent = len(lost.writes())
    lost.recover(LOOKED_UP)
    assert (lost.states(), lost.outcomes()) == (["pending"], ["looked up"])
    assert len(lost.writes()) == sent
    assert lost.total(resource) == before
    assert bindings_of(lost.engine) == {}


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("resource", WRITTEN)
def test_inside_the_keys_life_the_same_bytes_with_the_same_key_make_one(
    lost: Lost, resource: Resource, arrived: bool
) -> None:
    attempt_id, before = prepared(lost, resource)
    if arrived:
        lost.send(attempt_id)
    lost.recover(REPLAYED)
    assert (lost.states(), lost.outcomes()) == (["succeeded"], ["settled"])
    assert lost.total(resource) == before + 1
    last = lost.writes()[-1]
    assert last["replayed"] is arrived
    assert lost.steps == ["replaying"]


def altered(lost: Lost, resource: Resource, element: dict[str, Any]) -> dict[str, Any]:
    """The same key with a stranger's content."""
    match resource:
        case R.ITEMS | R.ACCOUNTS:
            return {**element, "Name": "A stranger's"}
        case R.TAX_RATES:
            return {**element, "TaxComponents": [{"Name": "Other", "Rate": 9}]}
    line = {"Description": "Theirs", "Quantity": 1, "UnitAmount": 7, "AccountCode": "200"}
    return {**element, "LineItems": [line]}


STRANGERS = [R.ITEMS, R.ACCOUNTS, R.TAX_RATES, R.QUOTES, R.PURCHASE_ORDERS, R.INVOICES]
STRANGERS += [R.CREDIT_NOTES]


@pytest.mark.parametrize("resource", STRANGERS)
def test_a_strangers_key_is_taken_and_both_are_shown(lost: Lost, resource: Resource) -> None:
    element = lost.books.element(resource)
    lost.journalled(resource, element)
    theirs = altered(lost, resource, element)
    [made] = lost.books.send(lost.books.create(resource, theirs)).elements
    assert made.stored
    lost.recover(LOOKED_UP)
    [item], [entry] = lost.items(), lost.entries()
    assert (item.state, item.tries) == ("failed", 1)
    assert str(item.cause).startswith(("number-taken", "code-taken"))
    assert "in Xero" in str(item.sentence)
    ours, stranger = entry.quoted
    assert ours.startswith("Sent: ")
    assert stranger.startswith("In Xero: ")
    assert f"id {made.xero_id}" in stranger
    assert bindings_of(lost.engine) == {}


@pytest.mark.parametrize(
    "resource", [R.QUOTES, R.PURCHASE_ORDERS, R.INVOICES, R.CREDIT_NOTES, R.BANK_TRANSACTIONS]
)
def test_what_looks_like_it_and_differs_in_a_line_is_for_a_person(
    lost: Lost, resource: Resource
) -> None:
    """Same number, contact, day and total, and no mark of ours was sent."""
    element = lost.books.element(resource)
    lost.journalled(resource, element)
    [line] = element["LineItems"]
    theirs = {**element, "LineItems": [{**line, "Description": "Theirs"}]}
    [made] = lost.books.send(lost.books.create(resource, theirs)).elements
    lost.recover(LOOKED_UP)
    [item], [entry] = lost.items(), lost.entries()
    assert (item.state, item.cause) == ("check", "check")
    assert "Xero has one that looks like it. Look in Xero" in str(item.sentence)
    assert [text.partition(":")[0] for text in entry.quoted] == ["Sent", "In Xero"]
    assert f"id {made.xero_id}" in entry.quoted[1]
    assert "57.64" in entry.quoted[0]
    assert "57.64" in entry.quoted[1]
    assert bindings_of(lost.engine) == {}


@pytest.mark.parametrize(
    "resource", [R.TRACKING_CATEGORIES, R.TRACKING_OPTIONS, R.CONTACT_GROUPS, R.CURRENCIES]
)
def test_what_is_nothing_but_its_name_is_the_same_whoever_made_it(
    lost: Lost, resource: Resource
) -> None:
    element = lost.books.element(resource)
    lost.journalled(resource, element)
    [made] = lost.books.send(lost.books.create(resource, element)).elements
    lost.recover(LOOKED_UP)
    assert lost.states() == ["succeeded"]
    assert [row.xero_id for row in bindings_of(lost.engine).values()] == [made.xero_id]


def test_a_contact_with_our_number_is_ours_whatever_its_name_became(lost: Lost) -> None:
    element = lost.books.element(R.CONTACTS)
    attempt_id = lost.journalled(R.CONTACTS, element)
    [made] = lost.send(attempt_id).elements
    lost.books.changed(R.CONTACTS, str(made.xero_id), Name="Renamed meanwhile")
    lost.recover(LOOKED_UP)
    assert [row.xero_id for row in bindings_of(lost.engine).values()] == [made.xero_id]


UNKEYED: list[tuple[Resource, dict[str, Any]]] = [
    (R.INVOICES, {"Type": "ACCPAY", "Url": "https://crm.example.com/records/1"}),
    (R.INVOICES, {"Type": "ACCPAY"}),
    (R.CREDIT_NOTES, {"Type": "ACCPAYCREDIT"}),
    (R.BANK_TRANSACTIONS, {"Url": "https://crm.example.com/records/1"}),
]


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize(("resource", "fields"), UNKEYED)
def test_where_numbers_are_not_unique_a_strangers_of_our_number_is_in_nobodys_way(
    lost: Lost, resource: Resource, fields: dict[str, Any], arrived: bool
) -> None:
    """Bills, suppliers' credit notes, money spent: by our link, or else by all that was sent."""
    [line] = lost.books.element(resource)["LineItems"]
    ours = {**lost.books.element(resource), "LineItems": [{**line, "AccountCode": "429"}], **fields}
    theirs = {**ours, "Url": None, "LineItems": [{**line, "AccountCode": "429", "Quantity": 3}]}
    [other] = lost.books.send(lost.books.create(resource, theirs)).elements
    assert other.stored
    attempt_id = lost.journalled(resource, ours)
    xero_id = lost.send(attempt_id).elements[0].xero_id if arrived else None
    before = lost.total(resource)
    lost.recover(LOOKED_UP)
    assert lost.states() == ["succeeded" if arrived else "pending"]
    assert [row.xero_id for row in bindings_of(lost.engine).values()] == (
        [xero_id] if arrived else []
    )
    assert lost.total(resource) == before


def test_of_a_batch_that_came_in_part_only_the_rest_is_due_again(lost: Lost) -> None:
    """Quotes, where Xero keeps a number unique, and payments, where nothing but ours tells."""
    for resource in (R.QUOTES, R.PAYMENTS):
        rows = [lost.books.element(resource) for _ in range(3)]
        lost.journalled(resource, *rows, records=[f"{resource.value}{n}" for n in range(3)])
        call = lost.books.create(resource, rows[0], rows[2])
        assert [one.stored for one in lost.books.send(call).elements] == [True, True]
    lost.recover(LOOKED_UP)
    assert lost.states() == ["succeeded", "pending", "succeeded"] * 2

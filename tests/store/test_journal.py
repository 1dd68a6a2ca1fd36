"""The journal keeps every call byte for byte, and of an answer only what is no secret."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from tests.store.conftest import NOW, refused
from xtiger.domain.resources import Resource, Verb
from xtiger.ports import Call, Owner
from xtiger.store import journal, leases
from xtiger.store.models import Attempt, AttemptElement
from xtiger.store.schema import Database

BODY = b'{"Invoices":[{"InvoiceNumber":"INV-1","Total":0.10},{"InvoiceNumber":"INV-2"}]}'


@pytest.fixture
def attempt_id(database: Database, organisation: int) -> int:
    lease = leases.take(database, organisation, holder="w", now=NOW, seconds=180)
    assert lease
    elements = [
        journal.Meant(place, f"INV-{place}", "v1", None, {"Total": Decimal("0.10")}, Decimal("0.1"))
        for place in (1, 2)
    ]
    with database.write() as session:
        return journal.open_attempt(
            session,
            lease,
            resource=Resource.INVOICES,
            verb=Verb.CREATE,
            body=BODY,
            elements=elements,
            run_id=None,
            now=NOW,
        )


def test_the_call_is_the_same_byte_for_byte_each_time(database: Database, attempt_id: int) -> None:
    with database.read() as session:
        attempt = session.get_one(Attempt, attempt_id)
        first, again = journal.call_of(attempt, 2), journal.call_of(attempt, 2)
    assert first == again
    assert first.body == BODY
    assert attempt.body_hash == hashlib.sha256(BODY).hexdigest()
    assert (first.verb, first.resource) == (Verb.CREATE, Resource.INVOICES)


def opened(database: Database, organisation: int, **call: Any) -> Attempt:
    """A call of any kind with one element, written down."""
    lease = leases.take(database, organisation, holder="w", now=NOW, seconds=180)
    assert lease
    more = {"verb": Verb.CREATE, "body": b"", "run_id": None, "now": NOW} | call
    before = more.pop("equal_before", None)
    with database.write() as session:
        meant = journal.Meant(1, "x", "v1", None, {}, equal_before=before)
        attempt_id = journal.open_attempt(session, lease, elements=[meant], **more)
    leases.release(database, lease)
    with database.read() as session:
        return session.get_one(Attempt, attempt_id)


OWNER = Owner(Resource.INVOICES, "0e0e0e0e-5d8c-4a7e-9a55-0c4a7d2f1b11")


@pytest.mark.parametrize(
    "call",
    [
        {"resource": Resource.ITEMS, "verb": Verb.DELETE, "xero_id": "i1"},
        {"resource": Resource.PAYMENTS, "verb": Verb.UPDATE, "body": b"{}", "xero_id": "p1"},
        {"resource": Resource.HISTORY, "body": b'{"HistoryRecords":[{}]}', "owner": OWNER},
        {
            "resource": Resource.ATTACHMENTS,
            "body": bytes(range(256)) * 400,
            "owner": OWNER,
            "xero_id": "Rechnung ü & co.pdf",
            "content_type": "application/pdf",
        },
    ],
    ids=lambda call: call["resource"].value,
)
def test_every_kind_of_call_comes_back_as_it_was(
    database: Database, organisation: int, call: dict[str, Any]
) -> None:
    attempt = opened(database, organisation, **call)
    wanted = {"verb": Verb.CREATE, "body": b"", "content_type": "application/json"} | call
    again = journal.call_of(attempt, 1)
    assert again == Call(count=1, idempotency_key=attempt.idempotency_key, **wanted)


@pytest.mark.parametrize(
    ("call", "payloads"),
    [
        (
            {"resource": Resource.QUOTES, "body": b'{"Quotes":[{"Total":0.10},{"Total":1}]}'},
            [{"Total": Decimal("0.10")}, {"Total": 1}],
        ),
        # one object by itself
        ({"resource": Resource.ACCOUNTS, "body": b'{"Code":"1"}'}, [{"Code": "1"}]),
        (
            {
                "resource": Resource.PAYMENTS,
                "verb": Verb.UPDATE,
                "body": b'{"Status":"DELETED"}',
                "xero_id": "p1",
            },
            [{"PaymentID": "p1", "Status": "DELETED"}],
        ),
        (
            {"resource": Resource.ITEMS, "verb": Verb.DELETE, "xero_id": "i1"},
            [{"ItemID": "i1"}],
        ),
        (
            {
                "resource": Resource.ATTACHMENTS,
                "body": b"\x00\x01\x02",
                "xero_id": "a.pdf",
                "owner": OWNER,
                "content_type": "application/pdf",
            },
            [{"FileName": "a.pdf", "ContentLength": 3, "MimeType": "application/pdf"}],
        ),
    ],
)
def test_its_elements_are_told_whatever_form_they_went_out_in(
    database: Database, organisation: int, call: dict[str, Any], payloads: list[dict[str, Any]]
) -> None:
    found = journal.payloads_of(opened(database, organisation, **call))
    assert found == payloads
    assert str(found) == str(payloads)  # a Decimal stays the same to the digit


def test_what_equalled_an_element_before_is_kept_and_nobody_looked_is_another_thing(
    database: Database, organisation: int
) -> None:
    kept = []
    for before in (None, (), ("a", "b")):
        attempt = opened(database, organisation, resource=Resource.ALLOCATIONS, equal_before=before)
        with database.read() as session:
            kept.append(journal.elements_of(session, attempt.id)[0].equal_before)
    assert kept == [None, [], ["a", "b"]]


def test_elements_keep_the_order_of_the_body_and_exact_amounts(
    database: Database, attempt_id: int
) -> None:
    with database.read() as session:
        elements = journal.elements_of(session, attempt_id)
    assert [one.label for one in elements] == ["INV-1", "INV-2"]
    assert elements[0].meant == {"Total": Decimal("0.10")}
    assert str(elements[0].meant["Total"]) == "0.10"


def test_an_open_call_is_found_until_it_is_closed(
    database: Database, organisation: int, attempt_id: int
) -> None:
    with database.write() as session:
        [attempt] = journal.still_open(session, organisation)
        headers = {
            "Content-Type": "application/json",
            "Set-Cookie": "secret",
            "Authorization": "Bearer abc",
            "xero-correlation-id": "42",
        }
        journal.close(
            attempt, outcome="settled", now=NOW, status=200, headers=headers, answer=b"{}"
        )
    with database.read() as session:
        assert journal.still_open(session, organisation) == []
        kept = session.get_one(Attempt, attempt_id)
    assert kept.answer_headers == {"Content-Type": "application/json", "xero-correlation-id": "42"}
    assert journal.answer_of(kept) == b"{}"


def test_a_key_is_used_for_one_call_only(database: Database, attempt_id: int) -> None:
    with refused(database, IntegrityError) as session:
        first = session.get_one(Attempt, attempt_id)
        session.add(
            Attempt(
                organisation_id=first.organisation_id,
                fence=1,
                resource="Contacts",
                verb="PUT",
                idempotency_key=first.idempotency_key,
                body_hash="",
                opened_at=NOW,
            )
        )


def test_a_place_in_a_call_is_taken_once(database: Database, attempt_id: int) -> None:
    with refused(database, IntegrityError) as session:
        first = session.scalars(select(AttemptElement)).first()
        assert first
        session.add(AttemptElement(attempt_id=attempt_id, place=first.place, item_id=9, meant={}))

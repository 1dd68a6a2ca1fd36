"""Xero's webhooks: signatures and events."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from xtiger.domain.resources import Resource
from xtiger.xero.webhooks import Delivery, Event, read, signed

KEY = "the-webhook-key"
CONTACT = "717f2bfc-c6d4-41fd-b238-3f2f0c0cf777"
TENANT = "c2cc9b6e-9458-4c7d-93cc-f02b81b0594f"


def signature(body: bytes, key: str = KEY) -> str:
    return base64.b64encode(hmac.digest(key.encode(), body, hashlib.sha256)).decode()


def event(**more: Any) -> dict[str, Any]:
    return {
        "resourceUrl": f"https://api.xero.com/api.xro/2.0/Contacts/{CONTACT}",
        "resourceId": CONTACT,
        "tenantId": TENANT,
        "tenantType": "ORGANISATION",
        "eventCategory": "CONTACT",
        "eventType": "UPDATE",
        "eventDateUtc": "2026-11-21T01:15:39.902",
        **more,
    }


def delivery(*events: Any, **more: Any) -> bytes:
    told = {"events": list(events), "firstEventSequence": 7, "lastEventSequence": 8, **more}
    return json.dumps(told | {"entropy": "S0m3r4Nd0mt3xt"}).encode()


def test_a_body_signed_with_the_key_is_xeros() -> None:
    body = delivery(event())
    assert signed(body, signature(body), KEY)


def test_the_known_example_of_the_algorithm_holds() -> None:
    # RFC 4231, test case 2.
    wanted = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert signed(b"what do ya want for nothing?", base64.b64encode(wanted).decode(), "Jefe")


@pytest.mark.parametrize(
    "given",
    [
        "",
        "not base64!",
        "AAAA",
        "ü",
        signature(delivery(event()), "another key"),
        signature(delivery(event()) + b" "),
        signature(delivery(event()))[:-4],
        signature(delivery(event())) + "\n",
    ],
)
def test_any_other_signature_is_not(given: str) -> None:
    assert not signed(delivery(event()), given, KEY)


def test_without_a_key_nothing_is_xeros() -> None:
    assert not signed(b"", signature(b"", ""), "")


def test_an_event_names_what_changed_where_and_when() -> None:
    found = read(delivery(event(resourceId=CONTACT.upper())))
    assert found == Delivery(
        events=(
            Event(
                resource=Resource.CONTACTS,
                resource_id=CONTACT,
                tenant_id=TENANT,
                category="CONTACT",
                type="UPDATE",
                at=datetime(2026, 11, 21, 1, 15, 39, 902000, tzinfo=UTC),
            ),
        ),
        first=7,
        last=8,
    )


def test_events_keep_their_order_and_what_is_unknown_is_told_as_it_came() -> None:
    categories = ["INVOICE", "SUBSCRIPTION", "CREDITNOTE", "CONTACT", "SOMETHINGNEW"]
    found = read(delivery(*(event(eventCategory=one) for one in categories)))
    assert [one.category for one in found.events] == categories
    assert [one.resource for one in found.events] == [
        Resource.INVOICES,
        None,
        Resource.CREDIT_NOTES,
        Resource.CONTACTS,
        None,
    ]


def test_the_intent_to_receive_has_no_events() -> None:
    assert read(delivery(firstEventSequence=0, lastEventSequence=0)) == Delivery((), 0, 0)


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2025-12-02T00:44:09.923", datetime(2025, 12, 2, 0, 44, 9, 923000, tzinfo=UTC)),
        ("2025-12-02T00:44:09Z", datetime(2025, 12, 2, 0, 44, 9, tzinfo=UTC)),
        ("2025-12-02T13:44:09+13:00", datetime(2025, 12, 2, 0, 44, 9, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
    ],
)
def test_moments_are_utc(said: object, at: datetime | None) -> None:
    assert read(delivery(event(eventDateUtc=said))).events[0].at == at


def test_what_names_no_object_is_left_out() -> None:
    odd = ["text", None, event(resourceId=None), event(tenantId=""), {}]
    assert read(delivery(*odd, event())).events == read(delivery(event())).events
    assert read(b'{"events":{"a":1},"firstEventSequence":"7"}') == Delivery((), 0, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read(body)

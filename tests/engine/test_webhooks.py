"""What Xero tells by webhook reaches the inbox once, and what it failed to tell is noticed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Engine
from tests.engine.scenes import KAURI, THAMES, ShiftedClock, organisation, rows_of
from xtiger.engine import beats, scheduler
from xtiger.engine.connection import webhooks
from xtiger.engine.services import Services
from xtiger.store import inbox
from xtiger.store.models import Organisation, Setting, Webhook, XeroChange
from xtiger.xero.webhooks import read


def xero_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def event(number: int = 1, *, tenant: str = KAURI, minute: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "resourceUrl": "https://api.xero.com/api.xro/2.0/Invoices/x",
        "resourceId": xero_id(number),
        "tenantId": tenant,
        "tenantType": "ORGANISATION",
        "eventCategory": "INVOICE",
        "eventType": "UPDATE",
        "eventDateUtc": f"2026-11-21T02:{minute:02d}:00.000",
        **more,
    }


def delivery(*events: dict[str, Any], first: int = 1) -> bytes:
    last = first + len(events) - 1 if events else 0
    return json.dumps(
        {
            "events": list(events),
            "firstEventSequence": first if events else 0,
            "lastEventSequence": last,
            "entropy": "X",
        }
    ).encode()


@pytest.fixture
def hooked(each_engine: Engine) -> Engine:
    """Two organisations in use; their ids at Xero are their names. Nothing is sent."""
    with each_engine.database.write() as session:
        for name in (KAURI, THAMES):
            session.add(Organisation(tenant_id=name.lower(), name=name, chosen=True))
        session.add(Organisation(tenant_id="offered", name="Offered"))
    return each_engine


def worker(engine: Engine, name: str = "w", **more: Any) -> Services:
    return engine.worker(name, read_delivery=read, **more)


def receive(engine: Engine, *bodies: bytes) -> Services:
    """They come in, and the scheduler handles them."""
    services = worker(engine)
    for body in bodies:
        webhooks.receive(services, body)
    webhooks.handle(services)
    return services


def changes(engine: Engine) -> list[tuple[str, str, int]]:
    return [(row.resource, row.xero_id[-2:], row.changes) for row in rows_of(engine, XeroChange)]


def deliveries(engine: Engine) -> list[tuple[int, int]]:
    """(taken, dropped) of each; all are handled."""
    rows = rows_of(engine, Webhook)
    assert all(row.handled_at for row in rows)
    return [(row.taken, row.dropped) for row in rows]


def test_each_object_that_changed_waits_once(hooked: Engine) -> None:
    receive(
        hooked,
        delivery(
            event(1, minute=5),
            event(1, minute=3),
            event(2, eventCategory="CONTACT"),
            event(3, eventCategory="CREDITNOTE", data={"Type": "ACCRECCREDIT", "Status": "PAID"}),
        ),
    )
    assert changes(hooked) == [
        ("Contacts", "02", 1),
        ("CreditNotes", "03", 1),
        ("Invoices", "01", 2),
    ]
    assert deliveries(hooked) == [(4, 0)]
    newest = rows_of(hooked, XeroChange)[-1]
    assert newest.changed_at == datetime(2026, 11, 21, 2, 5, tzinfo=UTC)
    assert organisation(hooked).webhook_at is not None
    assert organisation(hooked, THAMES).webhook_at is None


def test_the_same_delivery_twice_is_one_change_and_no_gap(hooked: Engine) -> None:
    body = delivery(event(1), event(2), first=7)
    receive(hooked, body, body)
    receive(hooked, body)
    assert [(resource, one) for resource, one, _times in changes(hooked)] == [
        ("Invoices", "01"),
        ("Invoices", "02"),
    ]
    assert organisation(hooked).poll_from is None


def test_what_is_of_nobody_here_is_counted_and_dropped(hooked: Engine) -> None:
    receive(
        hooked,
        delivery(
            event(1, tenant="stranger"),
            event(2, tenant="offered"),
            event(3, eventCategory="PAYSLIP"),
            event(4, eventCategory="SUBSCRIPTION", tenantType="APPLICATION"),
            event(5, tenant=KAURI.upper()),
            event(6, resourceId="x" * 4000),
        ),
    )
    assert changes(hooked) == [("Invoices", "05", 1)]
    assert deliveries(hooked) == [(1, 4)], "the app's own subscription isn't even counted"


@pytest.mark.parametrize(
    "body",
    [b"", b"not JSON", b"[]", b"null", b'{"events": 7}', b"\xff\xfe", b"[" * 100_000, b'{"a":NaN}'],
)
def test_a_delivery_that_cant_be_read_never_blocks_the_others(hooked: Engine, body: bytes) -> None:
    receive(hooked, body, delivery(event(1)))
    assert changes(hooked) == [("Invoices", "01", 1)]
    rows = rows_of(hooked, Webhook)
    assert all(row.handled_at for row in rows)
    assert rows[1].fault is None
    if body not in (b'{"events": 7}', b'{"a":NaN}'):
        assert "can't be read" in str(rows[0].fault)


def test_intent_to_receive_changes_nothing(hooked: Engine) -> None:
    receive(hooked, delivery(event(1), first=3), delivery(), delivery(event(2), first=4))
    assert organisation(hooked).poll_from is None
    assert deliveries(hooked) == [(1, 0), (0, 0), (1, 0)]


def test_a_gap_is_noticed_for_every_organisation_and_stays(hooked: Engine) -> None:
    receive(hooked, delivery(event(1, minute=10), first=5))
    receive(hooked, delivery(event(2, minute=50), first=9))
    known = datetime(2026, 11, 21, 2, 10, tzinfo=UTC)
    assert organisation(hooked).poll_from == known
    assert organisation(hooked, THAMES).poll_from == known, "nobody knows whose were missed"
    # A second gap doesn't move it forward, and the late ones take nothing away.
    receive(hooked, delivery(event(3, minute=55), first=20))
    receive(hooked, delivery(*(event(n) for n in range(6, 9)), first=6))
    assert organisation(hooked).poll_from == known


def test_deliveries_that_follow_each_other_leave_no_gap(hooked: Engine) -> None:
    receive(hooked, delivery(event(1), event(2), first=5))
    receive(hooked, delivery(event(3), first=7))
    assert organisation(hooked).poll_from is None


def test_a_new_key_is_a_new_webhook_that_counts_anew(hooked: Engine) -> None:
    services = receive(hooked, delivery(event(1), first=5_000))
    webhooks.save_key(services, "new", who="Ana")
    receive(hooked, delivery(event(2), first=1))
    receive(hooked, delivery(event(3), first=4))
    assert organisation(hooked).poll_from is not None


def test_more_than_a_slice_of_objects_reaches_the_inbox(hooked: Engine) -> None:
    receive(hooked, delivery(*(event(number) for number in range(1200))))
    assert len(changes(hooked)) == 1200
    assert deliveries(hooked) == [(1200, 0)]


def test_two_workers_handle_each_delivery_once(hooked: Engine) -> None:
    services = worker(hooked)
    for number in range(20):
        webhooks.receive(services, delivery(event(1), first=number + 1))
    workers = [worker(hooked, name) for name in ("one", "two")]
    with ThreadPoolExecutor(2) as pool:
        handled = list(pool.map(webhooks.handle, workers))
    assert sum(handled) == 20
    assert organisation(hooked).poll_from is None
    assert deliveries(hooked) == [(1, 0)] * 20


def test_a_worker_that_dies_half_way_leaves_the_delivery_to_the_next(hooked: Engine) -> None:
    services = worker(hooked)
    webhooks.receive(services, delivery(*(event(number) for number in range(600))))

    class Dying:
        def now(self) -> datetime:
            raise KeyboardInterrupt  # between the first slice and the last

    services.clock = Dying()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        webhooks.handle(services)
    assert rows_of(hooked, Webhook)[0].handled_at is None
    assert webhooks.handle(worker(hooked)) == 1
    assert len(changes(hooked)) == 600


def test_handled_ones_are_forgotten_after_a_week(hooked: Engine) -> None:
    services = receive(hooked, *(delivery(event(n), first=n) for n in range(1, 4)))
    assert webhooks.forget(services) == 0
    later = worker(hooked, clock=ShiftedClock(timedelta(days=7, minutes=1).total_seconds()))
    webhooks.receive(later, delivery(event(4), first=4))
    assert webhooks.forget(later) == 3
    assert webhooks.forget(later) == 0
    assert len(rows_of(hooked, Webhook)) == 1, "what waits is kept, however old"


def test_one_pass_of_a_host_without_a_scheduler_handles_them_too(hooked: Engine) -> None:
    services = worker(hooked)
    webhooks.receive(services, delivery(event(1)))
    scheduler.once(services)
    assert changes(hooked) == [("Invoices", "01", 1)]


def test_the_workers_beat_handles_them(hooked: Engine) -> None:
    services = worker(hooked)
    webhooks.receive(services, delivery(event(1)))
    beat = beats.Embedded(services)
    beat.receive()
    beat.keep()
    assert changes(hooked) == [("Invoices", "01", 1)]


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800", "é", "x" * 41])
def test_an_id_that_can_be_none_keeps_nothing_behind_it_from_being_handled(
    hooked: Engine, odd: str
) -> None:
    services = worker(hooked)
    webhooks.receive(services, delivery(event(resourceId=odd), event(2)))
    webhooks.receive(services, delivery(event(3), first=3))
    assert webhooks.handle(services) == 2
    assert [(row.taken, row.dropped) for row in rows_of(hooked, Webhook)] == [(1, 1), (1, 0)]
    assert [row.xero_id for row in rows_of(hooked, XeroChange)] == [xero_id(2), xero_id(3)]


def test_two_servers_that_refuse_at_once_leave_one_note(hooked: Engine) -> None:
    servers = [worker(hooked, name) for name in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: webhooks.refuse(one, webhooks.Refusal.SIGNATURE), servers))
    with hooked.database.read() as session:
        first = session.get_one(Setting, inbox.REFUSED).changed_at
    with hooked.database.write() as session:
        inbox.note(session, webhooks.Refusal.UNSIGNED, now=first + timedelta(seconds=59))
    with hooked.database.read() as session:
        assert inbox.refused(session)["why"] == "signature"
    with hooked.database.write() as session:
        inbox.note(session, webhooks.Refusal.UNSIGNED, now=first + timedelta(seconds=60))
    with hooked.database.read() as session:
        assert inbox.refused(session)["why"] == "unsigned"

"""Webhooks of the local Xero, received over real HTTP and checked as Xero tells receivers to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from xtiger.sandbox import start
from xtiger.sandbox.webhooks import _signature

from .conftest import SandboxClient

KEY = "a key of the webhook"


class Receiver:
    """A server of the app: 200 for a true signature, else 401, as Xero wants it."""

    def __init__(self) -> None:
        self.posts: list[tuple[bool, dict[str, Any]]] = []
        self.codes: list[int] = []  # answers to give instead, first first
        self.body = b""
        self.cookie = False
        self.pause = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                digest = hmac.new(KEY.encode(), data, hashlib.sha256).digest()
                true = base64.b64encode(digest).decode() == self.headers["x-xero-signature"]
                receiver.posts.append((true, json.loads(data)))
                time.sleep(receiver.pause)
                code = receiver.codes.pop(0) if receiver.codes else 200 if true else 401
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                if receiver.cookie:
                    self.send_header("Set-Cookie", "a=b")
                self.send_header("Content-Length", str(len(receiver.body)))
                self.end_headers()
                self.wfile.write(receiver.body)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_address[1]}/hook?from=xero"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [one for _, body in list(self.posts) for one in body["events"]]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.stop()


@pytest.fixture
def own() -> Iterator[SandboxClient]:
    with start(time_factor=0.0005) as running:  # a gap of 15 s lasts 7.5 ms
        yield SandboxClient(running)


def wait_for(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends, "waited ten seconds in vain"
        time.sleep(0.01)


def status(client: SandboxClient) -> str:
    return str(client.control("webhooks")["subscriptions"][0]["status"])


def subscribed(client: SandboxClient, receiver: Receiver, **more: Any) -> None:
    told = client.control("webhooks", {"url": receiver.url, "key": KEY} | more)
    assert told["status"] == "INTENT", told
    wait_for(lambda: status(client) != "INTENT")
    assert status(client) == "OK"
    receiver.posts.clear()


# intent to receive


def test_intent_is_asked_with_true_and_false_signatures(
    own: SandboxClient, receiver: Receiver
) -> None:
    own.control("webhooks", {"url": receiver.url, "key": KEY})
    wait_for(lambda: status(own) == "OK")
    assert len(receiver.posts) >= 2
    assert {true for true, _ in receiver.posts} == {True, False}
    for _, body in receiver.posts:
        assert body["events"] == []
        assert (body["firstEventSequence"], body["lastEventSequence"]) == (0, 0)
        assert len(body["entropy"]) == 20


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda one: one.codes.extend([200] * 4), "a false signature was answered 200"),
        (lambda one: one.codes.extend([401] * 4), "a true signature was answered 401"),
        (lambda one: one.codes.extend([500] * 4), "answered 500"),
        (lambda one: setattr(one, "body", b"ok"), "with a body"),
        (lambda one: setattr(one, "cookie", True), "with a cookie"),
    ],
)
def test_intent_answered_wrongly_fails(
    own: SandboxClient, receiver: Receiver, spoil: Callable[[Receiver], None], why: str
) -> None:
    spoil(receiver)
    own.control("webhooks", {"url": receiver.url, "key": KEY})
    wait_for(lambda: status(own) == "FAILED")
    assert why in own.control("webhooks")["subscriptions"][0]["reason"]
    own.created("Contacts", {"Name": "A"})
    time.sleep(0.2)
    assert receiver.events == []
    receiver.codes.clear()
    receiver.body, receiver.cookie = b"", False
    subscribed(own, receiver)
    assert own.control("webhooks")["subscriptions"][0]["reason"] == ""


def test_intent_is_asked_again_while_nobody_listens(own: SandboxClient, receiver: Receiver) -> None:
    receiver.server.server_close()
    told = own.control("webhooks", {"url": receiver.url, "key": KEY})
    assert told["status"] == "INTENT"
    wait_for(lambda: len(own.control("webhooks")["history"]) > 2)
    assert status(own) == "INTENT"
    assert own.control("webhooks")["history"][0]["status"] == 0
    assert own.control("webhooks")["history"][0]["problem"].startswith("no answer")


# events


def test_created_and_updated_objects_are_told(own: SandboxClient, receiver: Receiver) -> None:
    subscribed(own, receiver)
    contact = own.created("Contacts", {"Name": "A"})
    wait_for(lambda: len(receiver.events) == 1)
    own.post("Contacts", {"ContactID": contact["ContactID"], "ContactStatus": "ARCHIVED"})
    wait_for(lambda: len(receiver.events) == 2)
    first, second = receiver.events
    moment = datetime.fromisoformat(first.pop("eventDateUtc"))
    assert moment.tzinfo is None
    assert first == {
        "resourceUrl": f"{own.running.api_url}/api.xro/2.0/Contacts/{contact['ContactID']}",
        "resourceId": contact["ContactID"],
        "tenantId": own.tenant,
        "tenantType": "ORGANISATION",
        "eventCategory": "CONTACT",
        "eventType": "CREATE",
    }
    assert (second["eventCategory"], second["eventType"]) == ("CONTACT", "UPDATE")
    assert all(true for true, _ in receiver.posts)
    assert [
        (body["firstEventSequence"], body["lastEventSequence"]) for _, body in receiver.posts
    ] == [(1, 1), (2, 2)]


def test_many_changes_come_in_few_calls(own: SandboxClient, receiver: Receiver) -> None:
    subscribed(own, receiver)
    own.put("Invoices", [own.invoice(Contact={"Name": f"C {n}"}) for n in range(60)])
    wait_for(lambda: len(receiver.events) == 120)
    assert len(receiver.posts) == 3
    assert [len(body["events"]) for _, body in receiver.posts] == [50, 50, 20]
    ends = [(body["firstEventSequence"], body["lastEventSequence"]) for _, body in receiver.posts]
    assert ends == [(1, 50), (51, 100), (101, 120)]
    assert {one["eventCategory"] for one in receiver.events} == {"CONTACT", "INVOICE"}
    assert len({body["entropy"] for _, body in receiver.posts}) == 3


def test_refused_writes_are_not_told(own: SandboxClient, receiver: Receiver) -> None:
    subscribed(own, receiver)
    own.put("Invoices", own.invoice(CurrencyCode="EUR", Contact={"Name": "Nobody"}))
    own.put("Invoices", [own.invoice(), own.invoice(CurrencyCode="EUR")])
    own.created("Contacts", {"Name": "B"})
    wait_for(lambda: receiver.events)
    time.sleep(0.1)
    assert [one["eventCategory"] for one in receiver.events] == ["CONTACT"]


def test_a_replay_is_not_told_again(own: SandboxClient, receiver: Receiver) -> None:
    subscribed(own, receiver)
    for _ in range(2):
        own.call(
            "PUT",
            "Contacts",
            data=json.dumps({"Name": "Once"}),
            headers={"Idempotency-Key": "k"},
        )
    wait_for(lambda: receiver.events)
    time.sleep(0.1)
    assert len(receiver.events) == 1


def test_credit_notes_carry_type_and_status(own: SandboxClient, receiver: Receiver) -> None:
    subscribed(own, receiver, categories=["CREDITNOTE"])
    line = {"Description": "x", "Quantity": 1, "UnitAmount": 3, "AccountCode": "200"}
    note = own.created(
        "CreditNotes",
        {"Type": "ACCRECCREDIT", "Contact": {"Name": "A"}, "LineItems": [line]},
    )
    wait_for(lambda: receiver.events)
    event = receiver.events[0]
    assert event["eventCategory"] == "CREDITNOTE"
    assert event["resourceId"] == note["CreditNoteID"]
    assert event["data"] == {"Type": "ACCRECCREDIT", "Status": "DRAFT"}
    own.post("CreditNotes", {"CreditNoteID": note["CreditNoteID"], "Status": "AUTHORISED"})
    wait_for(lambda: len(receiver.events) == 2)
    assert receiver.events[1]["data"]["Status"] == "AUTHORISED"
    assert receiver.events[1]["eventType"] == "UPDATE"


def test_a_payment_updates_its_invoice(own: SandboxClient, receiver: Receiver) -> None:
    subscribed(own, receiver, categories=["INVOICE"])
    invoice = own.created("Invoices", own.invoice(Status="AUTHORISED", DueDate="2026-12-20"))
    wait_for(lambda: len(receiver.events) == 1)
    own.created(
        "Payments",
        {
            "Invoice": {"InvoiceID": invoice["InvoiceID"]},
            "Account": {"Code": "090"},
            "Date": invoice["DateString"][:10],
            "Amount": 1,
        },
    )
    wait_for(lambda: len(receiver.events) == 2)
    told = receiver.events[1]
    assert (told["resourceId"], told["eventType"]) == (invoice["InvoiceID"], "UPDATE")


def test_other_kinds_have_no_events(own: SandboxClient, receiver: Receiver) -> None:
    subscribed(own, receiver)
    own.created("Items", {"Code": "I"})
    own.created("Contacts", {"Name": "A"})
    wait_for(lambda: receiver.events)
    assert {one["eventCategory"] for one in receiver.events} == {"CONTACT"}


def test_only_wanted_categories_and_connected_organisations(
    own: SandboxClient, receiver: Receiver
) -> None:
    subscribed(own, receiver, categories=["invoice"])
    own.created("Invoices", own.invoice(Contact={"Name": "New"}))
    wait_for(lambda: receiver.events)
    assert [one["eventCategory"] for one in receiver.events] == ["INVOICE"]
    own.control("identity", {"custom": own.running.organisations[1]["name"]})
    first = own.session.get(f"{own.running.api_url}/connections").json()[0]
    bearer = {"Authorization": f"Bearer {own.token()['access_token']}"}
    own.session.delete(f"{own.running.api_url}/connections/{first['id']}")
    other = bearer | {"xero-tenant-id": own.running.organisations[1]["tenant_id"]}
    own.created("Invoices", own.invoice(), headers=other)
    wait_for(lambda: len(receiver.events) == 2)
    assert receiver.events[1]["tenantId"] == own.running.organisations[1]["tenant_id"]


def test_an_organisations_own_receiver_comes_first(own: SandboxClient, receiver: Receiver) -> None:
    second = Receiver()
    subscribed(own, receiver)
    own.control(f"webhooks/{own.tenant}", {"url": second.url, "key": KEY})
    wait_for(lambda: all(one["status"] == "OK" for one in own.control("webhooks")["subscriptions"]))
    second.posts.clear()
    own.created("Contacts", {"Name": "A"})
    wait_for(lambda: second.events)
    assert receiver.events == []
    assert own.control(f"webhooks/{own.tenant}", {"url": ""}) == {"ended": True}
    own.created("Contacts", {"Name": "B"})
    wait_for(lambda: receiver.events)
    second.stop()


# deliveries that fail


@pytest.mark.parametrize("code", [500, 401, 302, 204, 404])
def test_anything_but_200_is_repeated(own: SandboxClient, receiver: Receiver, code: int) -> None:
    subscribed(own, receiver)
    receiver.codes += [code, code]
    own.created("Contacts", {"Name": "A"})
    wait_for(lambda: len(receiver.posts) == 3)
    bodies = [body["events"] for _, body in receiver.posts]
    assert bodies[0] == bodies[1] == bodies[2]
    wait_for(lambda: own.control("webhooks")["subscriptions"][0]["waiting"] == 0)
    history = own.control("webhooks")["history"][:3]
    assert [one["good"] for one in history] == [True, False, False]
    time.sleep(0.1)
    assert len(receiver.posts) == 3


def test_gaps_grow_until_the_webhook_is_disabled(receiver: Receiver) -> None:
    moment = [1_800_000_000.0]
    with start(clock=lambda: moment[0]) as running:
        client = SandboxClient(running)
        subscribed(client, receiver)
        receiver.codes += [500] * 99
        client.created("Contacts", {"Name": "A"})
        wait_for(lambda: len(receiver.posts) == 1)
        gaps, queue = [], running._sandbox.webhooks._queue.pending
        while status(client) == "OK":
            wait_for(lambda: not queue or queue[0].due > moment[0])
            if not queue:
                break
            gaps.append(queue[0].due - moment[0])
            before = len(receiver.posts)
            moment[0] = queue[0].due - 1
            time.sleep(0.06)  # the sender looks at the clock twenty times a second
            assert len(receiver.posts) == before
            moment[0] += 1
            wait_for(lambda: len(receiver.posts) > before)  # noqa: B023
        assert gaps[:4] == [15, 30, 60, 120]
        assert gaps == sorted(gaps)
        assert 86400 <= sum(gaps) < 86400 + 7200
        wait_for(lambda: status(client) == "DISABLED")
        assert "no good answer for 24 hours" in str(client.control("webhooks"))
        count = len(receiver.posts)
        client = SandboxClient(running)  # a day later, with another token
        client.created("Contacts", {"Name": "B"})
        time.sleep(0.2)
        assert len(receiver.posts) == count
        receiver.codes.clear()
        subscribed(client, receiver)
        client.created("Contacts", {"Name": "C"})
        wait_for(lambda: receiver.events)


def test_a_slow_receiver_is_given_up_after_five_seconds(
    own: SandboxClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xtiger.sandbox.webhooks._PATIENCE", 0.2)
    subscribed(own, receiver)
    receiver.pause = 0.4
    own.created("Contacts", {"Name": "A"})
    wait_for(lambda: not own.control("webhooks")["history"][0]["good"])
    assert own.control("webhooks")["history"][0]["status"] == 0
    receiver.pause = 0.0
    wait_for(lambda: own.control("webhooks")["history"][0]["good"])


def test_writing_does_not_wait_for_a_slow_receiver(own: SandboxClient, receiver: Receiver) -> None:
    subscribed(own, receiver)
    receiver.pause = 1.0
    began = time.monotonic()
    for name in ("A", "B", "C"):
        own.created("Contacts", {"Name": name})
    assert time.monotonic() - began < 0.8


def test_deliveries_can_be_doubled_lost_and_forged(own: SandboxClient, receiver: Receiver) -> None:
    subscribed(own, receiver)
    assert own.control("webhooks/mishaps", {"duplicate": 1}) == {
        "duplicate": 1,
        "drop": 0,
        "forge": 0,
    }
    own.created("Contacts", {"Name": "A"})
    wait_for(lambda: len(receiver.posts) == 2)
    assert receiver.posts[0] == receiver.posts[1]
    own.control("webhooks/mishaps", {"drop": 1})
    own.created("Contacts", {"Name": "B"})
    wait_for(lambda: own.control("webhooks")["history"][0]["problem"] == "dropped on purpose")
    own.created("Contacts", {"Name": "C"})
    wait_for(lambda: len(receiver.posts) == 3)
    assert [body["lastEventSequence"] for _, body in receiver.posts] == [1, 1, 3]
    own.control("webhooks/mishaps", {"forge": 1})
    own.created("Contacts", {"Name": "D"})
    wait_for(lambda: len(receiver.posts) == 5)
    assert [true for true, _ in receiver.posts[3:]] == [False, True]


# subscriptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://example.com/hook"},
        {"url": "http://10.0.0.1/hook"},
        {"url": "http://localhost.example.com/hook"},
        {"url": "http://user@example.com/"},
        {"url": "ftp://localhost/hook"},
        {"url": "hook"},
        {"url": 5},
        {"url": "http://localhost:99999/"},
        {"url": "http://localhost/", "categories": ["ITEM"]},
        {"url": "http://localhost/", "categories": ["SUBSCRIPTION"]},
        {"url": "http://localhost/", "key": "clé"},
        {},
    ],
)
def test_only_receivers_of_this_machine_can_be_told(
    own: SandboxClient, wrong: dict[str, Any]
) -> None:
    assert own.control("webhooks", wrong)["error"].startswith("not a subscription: ")
    assert own.control("webhooks")["subscriptions"] == []


def test_unknown_organisation_cannot_be_subscribed(own: SandboxClient) -> None:
    assert "error" in own.control("webhooks/nobody", {"url": "http://localhost:1/"})


def test_subscription_and_numbers_survive_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    path = tmp_path / "xero.db"
    with start(state=path) as running:
        client = SandboxClient(running)
        subscribed(client, receiver)
        client.created("Contacts", {"Name": "A"})
        wait_for(lambda: receiver.events)
    with start(state=path) as running:
        client = SandboxClient(running)
        assert status(client) == "OK"
        client.created("Contacts", {"Name": "B"})
        wait_for(lambda: len(receiver.events) == 2)
        assert receiver.posts[-1][1]["firstEventSequence"] == 2


def test_an_intent_that_nobody_answered_is_asked_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    nobody = "http://localhost:9/"
    for _again in range(2):
        with start(state=path, webhook_url=nobody) as running:
            told = SandboxClient(running).control("webhooks")["subscriptions"]
            assert [one["status"] for one in told] == ["INTENT"]


def test_start_subscribes_and_tells_the_key(receiver: Receiver) -> None:
    with start(webhook_url=receiver.url, webhook_key=KEY) as running:
        client = SandboxClient(running)
        wait_for(lambda: status(client) == "OK")
        assert running.webhook_key == running.described()["webhook_key"] == KEY
    with start() as running:
        assert running.webhook_key == ""
        assert "webhook_key" not in running.described()


def test_a_bad_receiver_stops_the_start() -> None:
    with pytest.raises(ValueError, match="only http addresses of this machine"):
        start(webhook_url="http://example.com/")


def test_a_key_is_made_where_none_is_given(own: SandboxClient) -> None:
    first = own.control("webhooks", {"url": "http://localhost:1/"})["key"]
    assert len(base64.b64decode(first)) == 64
    assert own.control("webhooks", {"url": "http://localhost:1/"})["key"] == first


def test_signature_is_the_documented_one() -> None:
    """base64(HMAC-SHA256(raw body, key)); worked out with OpenSSL."""
    # printf '{"events":[]}' | openssl dgst -sha256 -hmac key -binary | base64
    assert _signature(b'{"events":[]}', "key") == "Qrz9n8NSnnBLDlKIZEhYxzL4J+L5wKUqtKk3FuhGKW0="

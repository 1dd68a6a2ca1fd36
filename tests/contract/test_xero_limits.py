"""Xero's limits as the client keeps to them: the minute, the day, five at once, the whole app."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest

from tests.contract.played import Act, StillClock, answers, hangs_up, playing
from tests.contract.test_xero_client import (
    HERE,
    REAL_ID,
    TOKEN,
    call,
    client_for,
    contact,
    refuses,
)
from xtiger.domain.errors import TransientError, UnknownOutcome
from xtiger.domain.resources import Resource, Verb
from xtiger.ports import Access, Answer, Minute
from xtiger.sandbox import Running, start
from xtiger.store import leases, usage
from xtiger.store.models import Organisation
from xtiger.store.schema import Database
from xtiger.xero.client import XeroClient
from xtiger.xero.limits import Pacer, Turn

STORED = {"Contacts": [{"ContactID": REAL_ID}]}
BEGAN = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


class SimulatedClock:
    """Time that passes only when somebody waits; the client and the sandbox share it."""

    def __init__(self) -> None:
        self._now = BEGAN

    def now(self) -> datetime:
        return self._now

    def seconds(self) -> float:
        return self._now.timestamp()

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def xero(clock: SimulatedClock) -> Iterator[Running]:
    with start(auto_consent=True, enforce_limits=True, clock=clock.seconds) as running:
        yield running


def access_to(xero: Running, client: XeroClient) -> Access:
    tokens = client.client_credentials(
        client_id=xero.client_id,
        secret=xero.client_secret,
        scopes="accounting.contacts accounting.settings",
    )
    return Access(tokens.access_token, xero.organisations[0]["tenant_id"])


def one_contact() -> list[dict[str, object]]:
    return [contact()]


def until_it_goes(
    clock: SimulatedClock, client: XeroClient, access: Access, refused: list[TransientError]
) -> Answer:
    """What a worker does: waits as long as it is told to and sends the same again."""
    batch = call(Resource.CONTACTS, one_contact())
    while True:
        try:
            return client.save_many(access, batch)
        except TransientError as limit:
            refused.append(limit)
            clock.sleep(limit.retry_after or 0.01)


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The 429s that came over the wire, as the client notes them."""
    seen: list[str] = []
    note = Pacer.note

    def noting(self: Pacer, turn: Turn, status: int, headers: dict[str, str]) -> Minute | None:
        if status == 429:
            seen.append(headers.get("X-Rate-Limit-Problem", ""))
        return note(self, turn, status, headers)

    monkeypatch.setattr(Pacer, "note", noting)
    return seen


# how fast a queue goes


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two taking turns"])
@pytest.mark.parametrize("seconds", [0, 0.2], ids=["instant calls", "calls of 0.2 s"])
@pytest.mark.parametrize("count", [200, 1000])
def test_batches_take_hardly_longer_than_the_limit_allows(
    xero: Running,
    clock: SimulatedClock,
    refusals: list[str],
    count: int,
    seconds: float,
    workers: int,
) -> None:
    clients = [client_for(xero.api_url, clock) for _ in range(workers)]
    access = access_to(xero, clients[0])
    began = clock.now()
    minute: Minute | None = None
    waits: list[TransientError] = []
    for place in range(count):
        client = clients[place // 7 % workers]
        answer = until_it_goes(clock, client, replace(access, minute=minute), waits)
        assert answer.elements[0].stored
        minute = answer.minute
        clock.sleep(seconds)
    for client in clients:
        client.close()
    assert all(not one.counts and one.retry_after for one in waits)
    took = (clock.now() - began).total_seconds() - seconds
    assert took <= 1.05 * (ceil(count / 60) - 1) * 60
    assert len(refusals) <= 1


@pytest.mark.parametrize("count", [200, 1000])
def test_two_workers_sharing_an_organisation_by_lease_keep_the_same_time(
    xero: Running, clock: SimulatedClock, refusals: list[str], database: Database, count: int
) -> None:
    """Each holds the real lease for seven calls; the window goes over through the database."""
    clients = [client_for(xero.api_url, clock) for _ in range(2)]
    access = access_to(xero, clients[0])
    with database.write() as session:
        row = Organisation(tenant_id=access.tenant_id, name="Kauri Trading")
        session.add(row)
        session.flush()
        one = row.id
    began = clock.now()
    waits: list[TransientError] = []
    for place in range(0, count, 7):
        worker = place // 7 % 2
        lease = leases.take(database, one, holder=f"w{worker}", now=clock.now(), seconds=180)
        assert lease is not None
        with database.read() as session:
            minute = usage.minute_of(session.get_one(Organisation, one))
        for _ in range(place, min(place + 7, count)):
            given = replace(access, minute=minute)
            answer = until_it_goes(clock, clients[worker], given, waits)
            minute = answer.minute
        with database.write() as session:
            leases.guard(session, lease)
            kept = session.get_one(Organisation, one)
            usage.learn(kept, day_left=answer.day_left, minute=minute, now=clock.now())
        leases.release(database, lease)
    for client in clients:
        client.close()
    took = (clock.now() - began).total_seconds()
    assert took <= 1.05 * (ceil(count / 60) - 1) * 60
    assert len(refusals) <= 1


def test_a_worker_that_knows_nothing_is_refused_once_and_then_keeps_time(
    xero: Running, clock: SimulatedClock, refusals: list[str]
) -> None:
    first, second = client_for(xero.api_url, clock), client_for(xero.api_url, clock)
    access = access_to(xero, first)
    waits: list[TransientError] = []
    for _ in range(60):
        until_it_goes(clock, first, access, waits)
    clock.sleep(20)
    assert not waits
    for _ in range(120):
        until_it_goes(clock, second, access, waits)
    assert refusals == ["minute"]
    assert (clock.now() - BEGAN).total_seconds() <= 1.05 * 120


def test_four_at_once_never_overdraw_the_minute(refusals: list[str]) -> None:
    factor = 0.02
    with start(enforce_limits=True, time_factor=factor) as xero:
        real = RealClock()
        with closing(client_for(xero.api_url, real, 1.0)) as client:
            access = access_to(xero, client)
            client._pacer = Pacer(real, factor)  # the windows are short, the calls' time is not
            left = list(range(150))

            def work() -> None:
                while left:
                    left.pop()
                    while True:
                        try:
                            client.save_many(access, call(Resource.CONTACTS, one_contact()))
                            break
                        except TransientError as limit:
                            real.sleep(limit.retry_after or 0.01)

            threads = [threading.Thread(target=work) for _ in range(4)]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
    assert len(refusals) <= 1


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


# the minute


def test_a_write_after_the_last_of_a_minute_is_not_sent_and_says_when() -> None:
    clock = SimulatedClock()
    used_up = answers(200, STORED, X_MinLimit_Remaining="0", X_DayLimit_Remaining="77")
    fresh = answers(200, STORED, X_MinLimit_Remaining="59")
    with playing(used_up, fresh, fresh) as server:
        client = client_for(server.url, clock)
        one = call(Resource.CONTACTS, [{}])
        first = client.save_many(HERE, one)
        assert (first.day_left, first.minute) == (77, Minute(BEGAN, 0))
        client.save_many(Access(TOKEN, "another"), one)
        with refuses(TransientError) as caught:
            client.save_many(HERE, one)
        assert caught[0].sentence == (
            "Xero takes no more than 60 calls a minute for this organisation;"
            " XTiger goes on as soon as it may."
        )
        assert not caught[0].counts
        assert 60 <= caught[0].retry_after <= 60.5
        assert clock.now() == BEGAN
        assert len(server.requests) == 2
        clock.sleep(caught[0].retry_after)
        answer = client.save_many(HERE, one)
        assert (answer.day_left, answer.minute) == (None, Minute(clock.now(), 59))


def test_a_write_waits_a_second_at_most() -> None:
    clock = SimulatedClock()
    with playing(answers(200, STORED, X_MinLimit_Remaining="0")) as server:
        client = client_for(server.url, clock)
        client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        clock.sleep(59.5)
        client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        assert len(server.requests) == 2
    assert timedelta(seconds=60) <= clock.now() - BEGAN < timedelta(seconds=60.5)


def test_a_read_after_the_last_of_a_minute_waits_for_the_next() -> None:
    clock = SimulatedClock()
    used_up = answers(200, {"Accounts": []}, X_MinLimit_Remaining="0")
    fresh = answers(200, {"Accounts": []}, X_MinLimit_Remaining="59")
    with playing(used_up, fresh) as server:
        client = client_for(server.url, clock)
        for _ in range(3):
            client.read(HERE, "Accounts")
    assert timedelta(seconds=60) <= clock.now() - BEGAN < timedelta(seconds=60.5)


def test_a_read_gives_up_when_every_minute_is_used_up_by_others() -> None:
    clock = SimulatedClock()
    with playing(answers(200, {"Accounts": []}, X_MinLimit_Remaining="0")) as server:
        client = client_for(server.url, clock)
        client.read(HERE, "Accounts")
        client.read(HERE, "Accounts")
        assert clock.now() - BEGAN < timedelta(seconds=61)
    with playing(limit("minute", "60")) as server:
        client = client_for(server.url, clock)
        for _ in range(2):
            with refuses(TransientError) as caught:
                client.read(HERE, "Accounts")
            assert not caught[0].counts


def limit(problem: str, wait: str | None = None, **more: str) -> Act:
    given = {"Retry_After": wait} if wait else {}
    return answers(429, X_Rate_Limit_Problem=problem, **given, **more)


def test_a_429_of_the_minute_tells_the_windows_end() -> None:
    clock = SimulatedClock()
    fresh = answers(200, STORED, X_MinLimit_Remaining="59")
    with playing(limit("minute", "26", X_MinLimit_Remaining="0"), fresh) as server:
        client = client_for(server.url, clock)
        with refuses(TransientError) as caught:
            client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        assert caught[0].retry_after == 26
        clock.sleep(20)
        with refuses(TransientError) as caught:
            client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        assert 6 <= caught[0].retry_after <= 6.5
        assert len(server.requests) == 1
        clock.sleep(6)
        assert client.save_many(HERE, call(Resource.CONTACTS, [{}])).minute


def test_a_wait_that_no_minute_can_have_is_not_believed() -> None:
    clock = SimulatedClock()
    fresh = answers(200, {"Accounts": []})
    with playing(limit("minute", "99999999"), fresh) as server:
        client = client_for(server.url, clock)
        with refuses(TransientError) as caught:
            client.read(HERE, "Accounts")
        client.read(HERE, "Accounts")
    assert clock.now() - BEGAN < timedelta(seconds=61)
    assert caught[0].retry_after == 60


def test_a_wait_that_no_day_can_have_is_not_believed() -> None:
    clock = SimulatedClock()
    with playing(limit("day", "99999999"), answers(200, {"Accounts": []})) as server:
        client = client_for(server.url, clock)
        with refuses(TransientError) as caught:
            client.read(HERE, "Accounts")
        clock.sleep(86_400)
        assert client.read(HERE, "Accounts") == []
    assert caught[0].retry_after == 86_400


@pytest.mark.parametrize(
    ("given", "left", "ends"),
    [
        (Minute(BEGAN - timedelta(seconds=20), 0), None, 40),
        (Minute(BEGAN - timedelta(seconds=59), 0), None, 1),
        (Minute(BEGAN - timedelta(seconds=61), 0), None, None),
        (Minute(BEGAN + timedelta(seconds=9), 0), None, 60),
        (Minute(BEGAN - timedelta(seconds=5), 30), 0, 55),
        (Minute(BEGAN - timedelta(seconds=5), 0), 30, 55),
        (Minute(BEGAN - timedelta(seconds=55), 3), 0, 5),
    ],
    ids=[
        "used up",
        "nearly over",
        "over",
        "of a clock that is ahead",
        "the earlier beginning counts",
        "the fewer calls count",
        "a later one with fewer calls is the same",
    ],
)
def test_what_another_worker_knew_is_taken_over(
    given: Minute, left: int | None, ends: float | None
) -> None:
    clock = SimulatedClock()
    own = answers(200, STORED, **({} if left is None else {"X_MinLimit_Remaining": str(left)}))
    with playing(own) as server:
        client = client_for(server.url, clock)
        if left is not None:
            client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        sent = len(server.requests)
        access = replace(HERE, minute=given)
        if ends is None:
            assert client.save_many(access, call(Resource.CONTACTS, [{}]))
            return
        with refuses(TransientError) as caught:
            client.save_many(access, call(Resource.CONTACTS, [{}]))
        assert ends <= caught[0].retry_after <= ends + 0.5
        assert len(server.requests) == sent


def test_a_newer_window_with_more_calls_replaces_an_old_one() -> None:
    clock = SimulatedClock()
    with playing(answers(200, STORED, X_MinLimit_Remaining="0"), answers(200, STORED)) as server:
        client = client_for(server.url, clock)
        client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        clock.sleep(55)
        newer = Minute(clock.now() - timedelta(seconds=3), 41)
        answer = client.save_many(replace(HERE, minute=newer), call(Resource.CONTACTS, [{}]))
    assert answer.minute == replace(newer, left=41)


def test_a_window_begins_when_an_answer_names_more_calls_left_than_before() -> None:
    clock = SimulatedClock()
    pacer = Pacer(clock, 0.5)
    for left, pause in (("3", 10), ("59", 20), ("1", 4), ("0", 0)):
        with pacer.turn(HERE, writing=False) as turn:
            pacer.note(turn, 200, {"X-MinLimit-Remaining": left})
        clock.sleep(pause)
    before = clock.now()
    with pacer.turn(HERE, writing=False) as turn:
        pacer.note(turn, 429, {"X-Rate-Limit-Problem": "minute", "Retry-After": "4"})
    assert timedelta(seconds=6) <= clock.now() - before < timedelta(seconds=6.5)
    before = clock.now()
    with pacer.turn(HERE, writing=False):
        pass
    assert timedelta(seconds=4) <= clock.now() - before < timedelta(seconds=4.5)


def test_answers_that_overtake_each_other_begin_no_new_window() -> None:
    clock = SimulatedClock()
    pacer = Pacer(clock, 1)

    def note(turn: Turn, left: int) -> Minute:
        found = pacer.note(turn, 200, {"X-MinLimit-Remaining": str(left)})
        assert found
        return found

    with pacer.turn(HERE, writing=True) as turn:
        note(turn, 50)
    with pacer.turn(HERE, writing=True) as first, pacer.turn(HERE, writing=True) as second:
        clock.sleep(3)
        assert note(second, 48) == Minute(BEGAN, 48)
        assert note(first, 49) == Minute(BEGAN, 48)
    with pacer.turn(HERE, writing=True) as slow:
        with pacer.turn(HERE, writing=True) as turn:
            clock.sleep(57)
            note(turn, 59)
        assert note(slow, 2).left == 59


def test_a_clock_that_is_put_back_stretches_no_wait() -> None:
    clock = SimulatedClock()
    with playing(answers(200, STORED, X_MinLimit_Remaining="0")) as server:
        client = client_for(server.url, clock)
        client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        clock.sleep(-86_400)
        with refuses(TransientError) as caught:
            client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        assert caught[0].retry_after < 61
        clock.sleep(caught[0].retry_after)
        assert client.save_many(HERE, call(Resource.CONTACTS, [{}])), "and it waits once"


def test_a_worker_whose_clock_was_far_ahead_stops_nobody() -> None:
    clock = SimulatedClock()
    ahead = Minute(clock.now() + timedelta(days=1), 0)
    with playing(answers(200, STORED, X_MinLimit_Remaining="40")) as server:
        client = client_for(server.url, clock)
        answer = client.save_many(replace(HERE, minute=ahead), call(Resource.CONTACTS, [{}]))
    assert answer.minute == Minute(BEGAN, 40)


def test_calls_without_an_answer_count_as_used() -> None:
    clock = SimulatedClock()
    one = call(Resource.CONTACTS, [{}])
    last_but_one = answers(200, STORED, X_MinLimit_Remaining="1")
    with playing(last_but_one, hangs_up(), last_but_one) as server:
        client = client_for(server.url, clock)
        client.save_many(HERE, one)
        with refuses(UnknownOutcome):
            client.save_many(HERE, one)
        with refuses(TransientError):
            client.save_many(HERE, one)
        assert len(server.requests) == 2


# five at once


def test_no_more_than_five_are_under_way_at_once() -> None:
    free = threading.Event()
    running, most = 0, 0
    counted = threading.Lock()

    def slow(connection: object) -> None:
        nonlocal running, most
        with counted:
            running += 1
            most = max(most, running)
        free.wait(10)
        with counted:
            running -= 1
        answers(200, {"Accounts": []})(connection)  # type: ignore[arg-type]

    with playing(slow) as server, closing(client_for(server.url, StillClock())) as client:
        reads = [threading.Thread(target=client.read, args=(HERE, "Accounts")) for _ in range(7)]
        for one in reads:
            one.start()
        wait_until(lambda: len(server.requests) == 5)
        with refuses(TransientError) as caught:
            client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        assert "5 calls at once" in caught[0].sentence
        assert (caught[0].counts, caught[0].retry_after) == (False, 1)
        assert len(server.requests) == 5
        other = threading.Thread(target=client.read, args=(Access(TOKEN, "other"), "Accounts"))
        other.start()
        wait_until(lambda: len(server.requests) == 6)
        free.set()
        for one in [*reads, other]:
            one.join()
        assert len(server.requests) == 8
        assert most == 6


def test_as_many_go_at_once_as_the_minute_has_left() -> None:
    free = threading.Event()

    def slow(connection: object) -> None:
        free.wait(10)
        answers(200, STORED, X_MinLimit_Remaining="0")(connection)  # type: ignore[arg-type]

    first = answers(200, STORED, X_MinLimit_Remaining="1")
    with playing(first, slow) as server, closing(client_for(server.url, StillClock())) as client:
        one = call(Resource.CONTACTS, [{}])
        client.save_many(HERE, one)
        last = threading.Thread(target=client.save_many, args=(HERE, one))
        last.start()
        wait_until(lambda: len(server.requests) == 2)
        with refuses(TransientError):
            client.save_many(HERE, one)
        free.set()
        last.join()
        with refuses(TransientError) as caught:
            client.save_many(HERE, one)
        assert "60 calls a minute" in caught[0].sentence
        assert len(server.requests) == 2


def wait_until(come: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not come():
        assert time.monotonic() < until
        time.sleep(0.005)


# the app and the day


def test_the_minute_of_the_app_holds_every_organisation() -> None:
    clock = SimulatedClock()
    last = answers(200, STORED, X_MinLimit_Remaining="50", X_AppMinLimit_Remaining="0")
    fresh = answers(200, STORED, X_AppMinLimit_Remaining="9999")
    with playing(last, fresh) as server:
        client = client_for(server.url, clock)
        client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        with refuses(TransientError) as caught:
            client.save_many(Access(TOKEN, "another"), call(Resource.CONTACTS, [{}]))
        assert "10,000 calls a minute" in caught[0].sentence
        assert 60 <= caught[0].retry_after <= 60.5
        clock.sleep(caught[0].retry_after)
        client.save_many(Access(TOKEN, "another"), call(Resource.CONTACTS, [{}]))


def test_a_429_of_the_app_holds_every_organisation() -> None:
    clock = SimulatedClock()
    with playing(limit("appminute"), answers(200, STORED)) as server:
        client = client_for(server.url, clock)
        with refuses(TransientError):
            client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        with refuses(TransientError) as caught:
            client.save_many(Access(TOKEN, "another"), call(Resource.CONTACTS, [{}]))
        assert len(server.requests) == 1
        clock.sleep(caught[0].retry_after)
        client.save_many(HERE, call(Resource.CONTACTS, [{}]))


@pytest.mark.parametrize("writing", [True, False])
@pytest.mark.parametrize(
    ("act", "seconds"),
    [(limit("day", "4000"), 4000), (limit("day"), 3600), (None, 3600)],
    ids=["429 with Retry-After", "429 without", "none left"],
)
def test_a_day_that_is_used_up_costs_no_further_calls(
    act: Act | None, seconds: float, writing: bool
) -> None:
    clock = SimulatedClock()
    body = {**STORED, "Accounts": []}
    last = act or answers(200, body, X_DayLimit_Remaining="0")
    fresh = answers(200, body, X_DayLimit_Remaining="4999")

    def go(access: Access = HERE) -> object:
        if writing:
            return client.save_many(access, call(Resource.CONTACTS, [{}]))
        return client.read(access, "Accounts")

    with playing(last, fresh) as server:
        client = client_for(server.url, clock)
        if act:
            with refuses(TransientError):
                go()
        else:
            go()
        clock.sleep(1000)
        with refuses(TransientError) as caught:
            go()
        assert caught[0].sentence == (
            "Today's calls are used up. XTiger goes on as soon as Xero takes calls again."
        )
        assert (caught[0].counts, caught[0].retry_after) == (False, seconds - 1000)
        assert len(server.requests) == 1
        go(Access(TOKEN, "another"))
        clock.sleep(caught[0].retry_after)
        go()
        go()


def test_a_concurrent_429_closes_nothing() -> None:
    clock = SimulatedClock()
    left = {"X_MinLimit_Remaining": "0", "X_DayLimit_Remaining": "0"}
    with playing(limit("concurrent", **left), answers(200, STORED)) as server:
        client = client_for(server.url, clock)
        with refuses(TransientError):
            client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        assert len(server.requests) == 2


# what it cost


def test_calls_and_bytes_are_counted_for_each_organisation() -> None:
    body = b'{"Contacts":[{"Name":"x"}]}'
    sent = call(Resource.CONTACTS, [{}])
    sent = replace(sent, body=body, verb=Verb.CREATE)
    reply = answers(200, STORED)
    with playing(reply) as server, closing(client_for(server.url, StillClock())) as client:
        client.save_many(HERE, sent)
        client.save_many(HERE, sent)
        client.save_many(Access(TOKEN, "another"), sent)
        first, second = sorted(client.usage(), key=lambda one: -one.calls)
        assert (first.tenant_id, first.calls) == (REAL_ID, 2)
        assert (second.tenant_id, second.calls) == ("another", 1)
        assert first.bytes_out == sum(map(len, server.requests[:2]))
        assert second.bytes_out == len(server.requests[2])
        assert first.bytes_in == 2 * second.bytes_in
        assert second.bytes_in == len(whole(reply))
        assert not client.usage()


def test_a_call_that_broke_is_counted_too_and_one_that_never_left_is_not() -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"
    with playing(hangs_up(half), hangs_up()) as server:
        client = client_for(server.url, StillClock())
        with refuses(UnknownOutcome):
            client.save_many(HERE, call(Resource.CONTACTS, [{}]))
        (used,) = client.usage()
        assert (used.calls, used.bytes_in) == (1, len(half))
        with refuses(TransientError):
            client.read(HERE, "Accounts")
        assert client.usage()[0].calls == 2
    client = client_for(server.url, StillClock())
    with refuses(TransientError):
        client.read(HERE, "Accounts")
    assert not client.usage()


def whole(act: Act) -> bytes:
    """The bytes an act sends."""

    class Kept:
        sent = b""

        def sendall(self, data: bytes) -> None:
            self.sent += data

    kept = Kept()
    act(kept)  # type: ignore[arg-type]
    return kept.sent

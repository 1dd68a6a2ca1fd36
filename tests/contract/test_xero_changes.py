"""Reading what changed: nothing is missed while Xero goes on changing, and memory holds a page."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract.played import Act, StillClock, answers, playing
from tests.contract.test_xero_client import HERE, client_for, refuses
from xtiger.domain.errors import PermanentError, TransientError
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.xero.changes import changed, moment
from xtiger.xero.endpoints import DATED, PARTS

BEGAN = 1_790_000_000  # seconds since 1970
MOMENT = datetime(2026, 9, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


class Row(dict[str, Any]):
    """A dict that can be watched."""


class Books:
    """A list of Xero's, ordered by its changes; `meanwhile` happens before each page is given."""

    def __init__(self, moments: Sequence[int], *, size: int = 5, counted: bool = True) -> None:
        self.rows = {f"id{place}": at for place, at in enumerate(moments)}
        self.size = size
        self.counted = counted
        self.asked: list[tuple[int | None, int]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        #: Whether Xero counts the second it is asked for itself.
        self.inclusive = True
        self.ordered = True

    def touch(self, one: str, now: int) -> None:
        self.rows.pop(one, None)
        self.rows[one] = now

    def fetch(self, since: int | None, page: int) -> tuple[list[Row], int | None]:
        self.meanwhile()
        self.asked.append((since, page))
        found = sorted(self.rows.items(), key=lambda one: one[1]) if self.ordered else None
        listed = [
            (one, at)
            for one, at in found or self.rows.items()
            if since is None or (at >= since * 1000 if self.inclusive else at > since * 1000)
        ]
        part = listed[(page - 1) * self.size : page * self.size]
        rows = [Row(InvoiceID=one, UpdatedDateUTC=f"/Date({at}+0000)/") for one, at in part]
        return rows, -(-len(listed) // self.size) if self.counted else None

    def read(self, since: int | None = None) -> list[str]:
        return [row["InvoiceID"] for row in changed(self.fetch, "InvoiceID", since)]


def seconds(*counts: int) -> list[int]:
    """So many changes in each second, in milliseconds since 1970."""
    return [
        (BEGAN + second) * 1000 + place * 1000 // count
        for second, count in enumerate(counts)
        for place in range(count)
    ]


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize(
    "counts", [(), (1,), (5,), (6,), (3, 3, 3), (1,) * 23, (17,), (4, 13, 0, 1, 9), (0, 5, 5, 5)]
)
def test_each_row_comes_once_in_the_order_of_the_changes(
    counts: tuple[int, ...], inclusive: bool
) -> None:
    books = Books(seconds(*counts))
    books.inclusive = inclusive
    assert books.read() == list(books.rows)
    assert books.read(BEGAN) == list(books.rows)


def test_what_changed_before_the_moment_is_left_out() -> None:
    books = Books(seconds(4, 4, 4))
    assert books.read(BEGAN + 1) == list(books.rows)[4:]
    assert not books.read(BEGAN + 9)


def test_a_moving_moment_needs_hardly_more_pages_than_there_are() -> None:
    books = Books(seconds(*[1] * 100), size=20)
    books.read()
    assert len(books.asked) <= 7
    assert {page for _, page in books.asked} == {1}


def test_nothing_is_asked_twice_where_one_page_tells_all() -> None:
    books = Books(seconds(2, 2))
    books.read(BEGAN)
    assert books.asked == [(BEGAN - 1, 1)]


@pytest.mark.parametrize("counts", [(1,) * 40, (40,), (15, 1, 30, 2)])
@pytest.mark.parametrize("seed", range(25))
def test_none_that_stays_is_missed_while_others_change(counts: tuple[int, ...], seed: int) -> None:
    chance = random.Random(seed)
    books = Books(seconds(*counts))
    began = set(books.rows)
    now = (BEGAN + 1000) * 1000
    moved: set[str] = set()

    def meanwhile() -> None:
        nonlocal now
        for _ in range(chance.randint(0, 4) if len(books.asked) < 60 else 0):
            now += chance.choice([1, 700, 3000])
            one = chance.choice([*books.rows, f"new{now}"])
            books.touch(one, now)
            moved.add(one)

    books.meanwhile = meanwhile
    found = books.read()
    assert began - moved <= set(found)
    later = Books([])
    later.rows = books.rows
    again = set(later.read(BEGAN + 1000))
    assert moved <= again | set(found)


def test_a_row_that_changes_meanwhile_comes_again_as_it_is_now() -> None:
    books = Books(seconds(*[1] * 12))

    def meanwhile() -> None:
        if len(books.asked) == 1:
            books.touch("id0", (BEGAN + 100) * 1000)

    books.meanwhile = meanwhile
    assert books.read() == [*(f"id{place}" for place in range(12)), "id0"]


@pytest.mark.parametrize("ordered", [True, False])
def test_rows_without_moments_or_order_are_read_page_by_page(ordered: bool) -> None:
    books = Books(list(reversed(seconds(*[1] * 17))))
    books.ordered = ordered
    if ordered:
        books.fetch = without_moments(books.fetch)  # type: ignore[method-assign]
    assert sorted(books.read()) == sorted(books.rows)


def without_moments(fetch: Callable[..., Any]) -> Callable[..., Any]:
    def bare(since: int | None, page: int) -> tuple[list[Row], int | None]:
        rows, pages = fetch(since, page)
        return [Row(InvoiceID=row["InvoiceID"]) for row in rows], pages

    return bare


@pytest.mark.parametrize("counts", [(99,), (100,), (101,), (1,) * 250, (250,), (150, 150)])
def test_pages_that_are_not_counted_end_with_a_short_one(counts: tuple[int, ...]) -> None:
    books = Books(seconds(*counts), size=100, counted=False)
    assert books.read() == list(books.rows)


def test_a_list_that_ignores_page_numbers_ends() -> None:
    books = Books(seconds(300), size=300, counted=False)
    fetch = books.fetch
    found = changed(lambda since, page: fetch(since, 1), "InvoiceID", None)
    assert len(list(found)) == 300


def test_memory_holds_one_page() -> None:
    books = Books(seconds(*[1] * 60, 30), size=10)
    alive: list[weakref.ref[Row]] = []
    fetch = books.fetch

    def watched(since: int | None, page: int) -> tuple[list[Row], int | None]:
        gc.collect()
        assert sum(one() is not None for one in alive) <= 1  # the one last given
        rows, pages = fetch(since, page)
        alive.extend(weakref.ref(row) for row in rows)
        return rows, pages

    assert sum(1 for _ in changed(watched, "InvoiceID", None)) == 90


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("/Date(1518685950940+0000)/", 1518685950940),
        ("/Date(1789378209473)/", 1789378209473),
        ("2026-09-14T09:29:59Z", 1789378199000),
        ("2026-09-14T09:29:59.5", 1789378199500),
        ("soon", None),
        (None, None),
    ],
)
def test_moments_are_read_as_xero_writes_them(said: object, at: int | None) -> None:
    assert moment({"UpdatedDateUTC": said}) == at


# over the wire


def page_of(resource: Resource, *ids: str, pages: int | None = 1) -> Act:
    rows = [
        {CATALOGUE[resource].id_field: one, "UpdatedDateUTC": f"/Date({BEGAN + place}000+0000)/"}
        for place, one in enumerate(ids)
    ]
    counted = {"pagination": {"pageCount": pages}} if pages is not None else {}
    return answers(200, {**counted, resource.value: rows})


def test_the_moment_goes_out_in_utc_a_second_early() -> None:
    with playing(page_of(Resource.INVOICES)) as server:
        client = client_for(server.url, StillClock())
        since = datetime.fromisoformat("2026-11-21T14:03:04.9+13:00")
        assert not list(client.changes(HERE, Resource.INVOICES, since=since, mine=True))
        assert not list(client.changes(HERE, Resource.INVOICES))
    first, second = server.requests
    assert b"If-Modified-Since: 2026-11-21T01:03:03\r\n" in first
    assert b"createdByMyApp=true" in first
    assert b"order=UpdatedDateUTC%20ASC" in first
    assert b"page=1&pageSize=1000" in first
    assert b"If-Modified-Since" not in second
    assert b"createdByMyApp" not in second


@pytest.mark.parametrize("resource", sorted(DATED))
def test_every_dated_list_is_asked_for_changes(resource: Resource) -> None:
    info = CATALOGUE[resource]
    ids = ["a", "b"]
    with playing(page_of(resource, *ids)) as server, closing(client_of(server.url)) as client:
        found = client.changes(HERE, resource, since=MOMENT)
        assert [row[info.id_field] for row in found] == ids
    (request,) = server.requests
    address = request.split(b" ")[1].decode()
    assert address.startswith(f"/api.xro/2.0/{resource.value}")
    assert b"If-Modified-Since: 2026-09-01T02:03:03" in request
    assert ("page=1" in address) is info.paged
    assert ("pageSize=1000" in address) is info.page_size
    assert ("includeArchived" in address) is (resource in (Resource.CONTACTS, Resource.INVOICES))


@pytest.mark.parametrize("resource", sorted(set(Resource) - DATED - PARTS))
def test_a_list_without_dates_comes_whole(resource: Resource) -> None:
    info = CATALOGUE[resource]
    above = Resource.TRACKING_CATEGORIES
    part: dict[str, Any] = {info.id_field: "a"}
    body = {above.value: [{"TrackingCategoryID": "c", "Options": [part]}], resource.value: [part]}
    if resource is Resource.TRACKING_OPTIONS:
        del body[resource.value]
    with playing(answers(200, body)) as server, closing(client_of(server.url)) as client:
        (found,) = client.changes(HERE, resource, since=MOMENT)
        assert found[info.id_field] == "a"
    assert len(server.requests) == 1


def client_of(url: str) -> Any:
    return client_for(url, StillClock())


@pytest.mark.parametrize("resource", sorted(PARTS))
def test_parts_have_no_list_of_their_own(resource: Resource) -> None:
    client = client_for("http://localhost:9", StillClock())
    with refuses(PermanentError):
        client.changes(HERE, resource)
    with refuses(PermanentError):
        client.get_many(HERE, resource, ["a"])
    with refuses(PermanentError):
        client.find(HERE, resource, ["a"])


def test_pages_are_only_fetched_as_they_are_wanted() -> None:
    first = page_of(Resource.CONTACTS, "a", "b", pages=2)
    with playing(first, answers(503)) as server:
        client = client_for(server.url, StillClock())
        found = client.changes(HERE, Resource.CONTACTS)
        assert not server.requests
        assert [next(found)["ContactID"], next(found)["ContactID"]] == ["a", "b"]
        assert len(server.requests) == 1
        with refuses(TransientError):
            next(found)
    moved_to = datetime.fromtimestamp(BEGAN + 1, UTC) - timedelta(seconds=1)
    assert f"If-Modified-Since: {moved_to:%Y-%m-%dT%H:%M:%S}".encode() in server.requests[1]


def test_every_page_of_a_search_is_read() -> None:
    rows = [{"QuoteID": f"q{one}", "QuoteNumber": "Q-1"} for one in range(130)]

    def paged() -> Iterator[Act]:
        yield answers(200, {"Quotes": rows[:100]})
        yield answers(200, {"Quotes": rows[100:]})

    with playing(*paged()) as server:
        found = client_for(server.url, StillClock()).find(HERE, Resource.QUOTES, ["Q-1"])
    assert len(found) == 130
    assert b"QuoteNumber=Q-1&page=2 " in server.requests[1]

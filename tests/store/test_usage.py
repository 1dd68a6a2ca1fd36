"""Limits as Xero last told them, and what calls took, added up by the database itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from tests.store.conftest import NOW, add_organisation
from xtiger.ports import Minute, Usage
from xtiger.store import usage
from xtiger.store.models import Organisation
from xtiger.store.schema import Database

TODAY = date(2026, 11, 20)


def test_what_calls_took_is_added_up_by_day_and_organisation(database: Database) -> None:
    kauri, thames = add_organisation(database, "Kauri"), add_organisation(database, "Thames")
    usage.flush(database, [Usage("Kauri", 2, 100, 900), Usage("Thames", 1, 10, 20)], now=NOW)
    usage.flush(database, [Usage("Kauri", 3, 50, 100)], now=NOW)
    usage.flush(database, [Usage("Kauri", 1, 1, 1)], now=NOW + timedelta(days=1))
    with database.read() as session:
        rows = usage.of_day(session, TODAY)
        assert (rows[kauri].calls, rows[kauri].bytes_out, rows[kauri].bytes_in) == (5, 150, 1000)
        assert rows[thames].calls == 1
        assert usage.of_day(session, TODAY + timedelta(days=1))[kauri].calls == 1


def test_calls_that_belong_to_no_organisation_count_for_nobody(database: Database) -> None:
    add_organisation(database, "Kauri")
    usage.flush(database, [Usage("", 4, 1, 1), Usage("stranger", 4, 1, 1)], now=NOW)
    with database.read() as session:
        assert usage.of_day(session, TODAY) == {}


def test_workers_that_count_at_the_same_time_lose_nothing(database: Database) -> None:
    one = add_organisation(database, "Kauri")
    with ThreadPoolExecutor(4) as pool:
        each = [Usage("Kauri", 1, 2, 3)]
        list(pool.map(lambda _: usage.flush(database, each, now=NOW), range(40)))
    with database.read() as session:
        row = usage.of_day(session, TODAY)[one]
        assert (row.calls, row.bytes_out, row.bytes_in) == (40, 80, 120)


def test_more_than_four_gigabytes_a_day_are_counted(database: Database) -> None:
    one = add_organisation(database, "Kauri")
    for _ in range(2):
        usage.flush(database, [Usage("Kauri", 1, 3_000_000_000, 1)], now=NOW)
    with database.read() as session:
        assert usage.of_day(session, TODAY)[one].bytes_out == 6_000_000_000


def row(**values: object) -> Organisation:
    return Organisation(name="Kauri", tenant_id="k", **{"day_limit": 1000, **values})


def test_an_answer_without_a_count_leaves_the_one_before() -> None:
    kept = row(day_left=812, day_left_at=NOW)
    usage.learn(kept, day_left=None, minute=None, now=NOW + timedelta(hours=1))
    assert (kept.day_left, kept.day_left_at) == (812, NOW)


def test_more_calls_left_than_the_day_was_thought_to_have_raise_the_limit() -> None:
    kept = row()
    usage.learn(kept, day_left=4_999, minute=None, now=NOW)
    assert kept.day_limit == 5_000
    usage.learn(kept, day_left=3, minute=None, now=NOW)
    assert kept.day_limit == 5_000
    usage.learn(kept, day_left=70_000, minute=None, now=NOW)
    assert kept.day_limit == 5_000


def test_what_xero_said_a_day_ago_is_used_up() -> None:
    kept = row(day_left=3, day_left_at=NOW)
    assert usage.left(kept, NOW + timedelta(hours=23)) == 3
    assert usage.left(kept, NOW + timedelta(hours=24)) == 1000
    assert usage.left(row(), NOW) is None


def test_a_window_of_a_minute_is_handed_on_and_never_goes_back() -> None:
    kept = row()
    assert usage.minute_of(kept) is None
    newer, older = Minute(NOW, 12), Minute(NOW - timedelta(seconds=60), 3)
    usage.learn(kept, day_left=None, minute=newer, now=NOW)
    usage.learn(kept, day_left=None, minute=older, now=NOW)
    assert usage.minute_of(kept) == newer

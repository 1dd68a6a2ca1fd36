"""Schedules: when a turn begins, by the organisation's clocks, whatever the season."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtiger.domain.schedules import Schedule, When, clock_time
from xtiger.domain.zones import ZONES, city, zone, zone_name

AUCKLAND, LONDON, LORD_HOWE = "Pacific/Auckland", "Europe/London", "Australia/Lord_Howe"
NOW = datetime(2026, 11, 21, 3, 7, 30, tzinfo=UTC)


def daily(at: str, zone: str = AUCKLAND) -> Schedule:
    found = clock_time(at)
    assert found is not None
    return Schedule(When.DAILY, daily=found, zone=zone)


def test_at_once_is_always_and_only_by_sync_never() -> None:
    assert Schedule().last_turn(NOW) == NOW
    assert Schedule(When.BY_SYNC).last_turn(NOW) is None
    assert Schedule(When.BY_SYNC).next_turn(NOW) is None


@pytest.mark.parametrize(
    ("minutes", "last", "then"),
    [(15, "03:00", "03:15"), (1, "03:07", "03:08"), (60, "03:00", "04:00"), (5, "03:05", "03:10")],
)
def test_every_so_often_goes_with_the_clock(minutes: int, last: str, then: str) -> None:
    schedule = Schedule(When.EVERY, minutes)
    before, after = schedule.last_turn(NOW), schedule.next_turn(NOW)
    assert before is not None
    assert after is not None
    assert (f"{before:%H:%M}", f"{after:%H:%M}") == (last, then)


def test_daily_is_the_organisations_own_time() -> None:
    schedule = daily("02:00")
    # 16:07 in Auckland, thirteen hours ahead.
    assert schedule.last_turn(NOW) == datetime(2026, 11, 20, 13, tzinfo=UTC)
    assert schedule.next_turn(NOW) == datetime(2026, 11, 21, 13, tzinfo=UTC)


@pytest.mark.parametrize("name", [AUCKLAND, LONDON, LORD_HOWE, "America/New_York", "UTC"])
@pytest.mark.parametrize("at", ["00:00", "01:30", "02:00", "02:15", "02:30", "23:59"])
def test_a_year_has_one_turn_for_each_of_its_days(name: str, at: str) -> None:
    """Asked each twenty minutes, as somebody who looks from time to time would."""
    schedule, seen = daily(at, name), []
    now, end = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2027, 1, 1, 12, tzinfo=UTC)
    while now < end:
        turn = schedule.last_turn(now)
        assert turn is not None
        assert turn <= now < turn + timedelta(hours=26)
        if not seen or turn != seen[-1]:
            assert not seen or turn > seen[-1], "turns never go back"
            seen.append(turn)
        now += timedelta(minutes=20)
    days = [turn.astimezone(ZoneInfo(name)).date() for turn in seen[1:]]
    assert len(days) == len(set(days)) == 365


@pytest.mark.parametrize(
    ("name", "at", "noon", "expected"),
    [
        # Clocks go on an hour: half past is what they would have shown, an hour later.
        (AUCKLAND, "02:30", "2026-09-27T00:00Z", "2026-09-26T14:30Z"),
        (LONDON, "01:30", "2026-03-29T12:00Z", "2026-03-29T01:30Z"),
        # Clocks go back an hour: half past comes twice, and the first one counts.
        (AUCKLAND, "02:30", "2026-04-05T00:00Z", "2026-04-04T13:30Z"),
        (LONDON, "01:30", "2026-10-25T12:00Z", "2026-10-25T00:30Z"),
    ],
)
def test_nights_without_or_with_two_of_an_hour(
    name: str, at: str, noon: str, expected: str
) -> None:
    turn = datetime.fromisoformat(expected)
    assert daily(at, name).last_turn(datetime.fromisoformat(noon)) == turn
    # The hour that comes again opens no second turn.
    assert daily(at, name).last_turn(turn + timedelta(hours=1, minutes=1)) == turn


@given(
    days=st.floats(0, 5_000),
    minutes=st.integers(1, 1440),
    at=st.times(),
    name=st.sampled_from(sorted(set(ZONES.values()))),
)
def test_the_last_turn_is_over_and_the_next_one_is_the_last_once_it_came(
    days: float, minutes: int, at: time, name: str
) -> None:
    now = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=days)
    for schedule in (
        Schedule(When.EVERY, minutes),
        Schedule(When.DAILY, daily=at.replace(second=0, microsecond=0, tzinfo=None), zone=name),
    ):
        last, then = schedule.last_turn(now), schedule.next_turn(now)
        assert last is not None
        assert then is not None
        assert last <= now < then
        assert schedule.last_turn(then) == then
        assert schedule.last_turn(then - timedelta(microseconds=1)) == last


@pytest.mark.parametrize(
    ("text", "found"),
    [("02:00", time(2)), ("7:05", time(7, 5)), ("23.59", time(23, 59)), (" 0:00 ", time(0))]
    + [(bad, None) for bad in ("24:00", "2", "2:60", "noon", "", "02:00:00", "٠٢:٠٠x")],
)
def test_a_time_of_day_is_read_or_it_is_none(text: str, found: time | None) -> None:
    assert clock_time(text) == found


def test_schedules_are_said_in_words() -> None:
    assert Schedule().words == "at once"
    assert Schedule(When.EVERY, 15).words == "every 15 minutes"
    assert Schedule(When.EVERY, 1).words == "every minute"
    assert daily("2:00").words == "daily at 02:00, Auckland time"
    assert Schedule(When.BY_SYNC).words == "only by Sync"


def test_xeros_zones_are_all_real_ones() -> None:
    assert len(ZONES) == 141
    for name in ZONES.values():
        ZoneInfo(name)
    assert zone_name("NEWZEALANDSTANDARDTIME") == AUCKLAND
    assert zone_name("CENTRALSTANDARDTIME(MEXICO)") == "America/Mexico_City"
    assert zone_name(None) == zone_name("MARSSTANDARDTIME") == "UTC"
    assert zone("Nowhere/Land") is UTC
    assert city("America/New_York") == "New York time"

"""What is due when: days, weeks and months by the reader's clock, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtiger.domain import phrases
from xtiger.domain.reporting import PERIODIC, Kind, Period, due, newest, next_due

ZONES = ("Pacific/Auckland", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC")
HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Pacific/Auckland", date(2026, 4, 5), 25),
        ("Pacific/Auckland", date(2026, 9, 27), 23),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Asia/Beirut", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 6, 1), 24),
    ],
)
def test_a_day_is_as_long_as_its_clocks_say(zone: str, day: date, hours: float) -> None:
    period = Period.of(Kind.DAILY, day, zone)
    assert (period.end - period.start) / HOUR == hours
    assert period.before.end == period.start


def test_a_day_whose_midnight_is_skipped_begins_with_its_first_moment() -> None:
    """Beirut's clocks go from 24:00 to 1:00."""
    period = Period.of(Kind.DAILY, date(2026, 3, 29), "Asia/Beirut")
    assert period.start == at("2026-03-29T01:00:00+03:00")


def test_a_week_is_monday_to_sunday_and_a_month_its_days() -> None:
    week = Period.of(Kind.WEEKLY, date(2026, 11, 22))
    assert (week.first, week.last) == (date(2026, 11, 16), date(2026, 11, 22))
    month = Period.of(Kind.MONTHLY, date(2028, 2, 29))
    assert (month.first, month.last) == (date(2028, 2, 1), date(2028, 2, 29))
    with pytest.raises(ValueError, match="no period"):
        Period.of(Kind.ALERT, date(2026, 1, 1))


@pytest.mark.parametrize(
    ("zone", "day", "moment"),
    [
        # 2:00 is skipped: the clock shows 3:00 then.
        ("Europe/Berlin", date(2026, 3, 28), "2026-03-29T03:00:00+02:00"),
        # 2:00 comes twice: the first of the two.
        ("Europe/Berlin", date(2026, 10, 24), "2026-10-25T02:00:00+02:00"),
        ("Pacific/Auckland", date(2026, 9, 26), "2026-09-27T03:00:00+13:00"),
        ("Pacific/Auckland", date(2026, 4, 4), "2026-04-05T02:00:00+13:00"),
    ],
)
def test_an_hour_that_is_skipped_or_comes_twice_is_one_moment(
    zone: str, day: date, moment: str
) -> None:
    assert Period.of(Kind.DAILY, day, zone).due_at(2) == at(moment)


def test_what_is_due_at_seven_is_not_due_a_second_before() -> None:
    zone = "Pacific/Auckland"
    seven = at("2026-11-21T07:00:00+13:00")
    assert newest(Kind.DAILY, seven, hour=7, zone=zone).first == date(2026, 11, 20)
    before = seven - timedelta(seconds=1)
    assert newest(Kind.DAILY, before, hour=7, zone=zone).first == date(2026, 11, 19)
    assert next_due(Kind.DAILY, before, hour=7, zone=zone) == seven


def test_weekly_comes_on_monday_and_monthly_on_the_first() -> None:
    monday, first = at("2026-11-23T07:00:00+00:00"), at("2026-12-01T07:00:00+00:00")
    week = newest(Kind.WEEKLY, monday, hour=7, zone="UTC")
    assert (week.first, week.due_at(7)) == (date(2026, 11, 16), monday)
    month = newest(Kind.MONTHLY, first, hour=7, zone="UTC")
    assert (month.first, month.due_at(7)) == (date(2026, 11, 1), first)


def test_a_missed_period_is_caught_up_and_after_weeks_only_the_newest_are() -> None:
    now = at("2026-11-21T12:00:00+00:00")
    long_ago = now - timedelta(days=300)

    def ask(kind: Kind, last: date | None, since: datetime = long_ago) -> list[int]:
        found = due(kind, now, hour=7, zone="UTC", last=last, since=since)
        assert not set(found.periods) & set(found.left_out)
        return [len(found.periods), len(found.left_out)]

    assert ask(Kind.DAILY, date(2026, 11, 20)) == [0, 0]
    assert ask(Kind.DAILY, date(2026, 11, 18)) == [2, 0]
    assert ask(Kind.DAILY, date(2026, 10, 31)) == [3, 17]
    assert ask(Kind.WEEKLY, date(2026, 10, 5)) == [2, 3]
    assert ask(Kind.MONTHLY, date(2026, 5, 1)) == [2, 3]
    # Nothing is due that fell due before anybody asked for it.
    assert ask(Kind.DAILY, None, now - timedelta(hours=4)) == [0, 0]
    assert ask(Kind.DAILY, None, now - timedelta(hours=6)) == [1, 0]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", PERIODIC)
@pytest.mark.parametrize("hour", [0, 2, 7, 23])
def test_a_year_of_looks_finds_each_period_once(zone: str, kind: Kind, hour: int) -> None:
    now, end = at("2026-01-01T00:00:00+00:00"), at("2027-01-01T00:00:00+00:00")
    since, last = now - timedelta(seconds=1), None
    found: list[Period] = []
    while now < end:
        for period in due(kind, now, hour=hour, zone=zone, last=last, since=since).periods:
            assert timedelta(0) <= now - period.due_at(hour) < timedelta(minutes=20)
            found.append(period)
            last = period.first
        now += timedelta(minutes=20)
    assert len(found) in {Kind.DAILY: {365}, Kind.WEEKLY: {52, 53}, Kind.MONTHLY: {12}}[kind]
    assert all(one.end == two.start for one, two in pairwise(found))


@given(
    st.sampled_from(PERIODIC),
    st.integers(0, 6 * 365 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds)),
    st.sampled_from(ZONES),
    st.integers(0, 23),
)
def test_the_newest_is_over_and_the_next_is_not(
    kind: Kind, now: datetime, zone: str, hour: int
) -> None:
    period = newest(kind, now, hour=hour, zone=zone)
    assert period.due_at(hour) <= now < next_due(kind, now, hour=hour, zone=zone)


@given(st.sampled_from(PERIODIC), st.dates(date(2024, 1, 1), date(2030, 1, 1)))
def test_the_parts_of_a_period_are_all_of_it(kind: Kind, day: date) -> None:
    for zone in ZONES:
        period = Period.of(kind, day, zone)
        parts = period.parts()
        assert (parts[0][1], parts[-1][2]) == (period.start, period.end)
        assert all(one[2] == two[1] for one, two in pairwise(parts))
        assert len(parts) in {Kind.DAILY: {4}, Kind.WEEKLY: {7}, Kind.MONTHLY: {4, 5, 6}}[kind]


@pytest.mark.parametrize(
    ("kind", "day", "english", "german"),
    [
        (Kind.DAILY, date(2026, 11, 20), "20 Nov", "20. Nov."),
        (Kind.WEEKLY, date(2026, 11, 20), "week 16–22 Nov", "Woche 16.–22. Nov."),
        (Kind.WEEKLY, date(2026, 12, 1), "week 30 Nov – 6 Dec", "Woche 30. Nov. – 6. Dez."),
        (Kind.MONTHLY, date(2026, 11, 20), "November 2026", "November 2026"),
    ],
)
def test_a_period_in_words(kind: Kind, day: date, english: str, german: str) -> None:
    period = Period.of(kind, day)
    assert phrases.period_words("en", period) == english
    assert phrases.period_words("de", period) == german


def test_every_language_says_every_phrase_with_the_same_values() -> None:
    said = phrases._SAID
    fields = {
        language: {
            name: {part.split("}")[0] for part in phrase.split("{")[1:]}
            for name, phrase in known.items()
        }
        for language, known in said.items()
    }
    assert set(said) == set(phrases.LANGUAGES)
    assert fields["de"] == fields["en"]


@pytest.mark.parametrize("zone", ZONES)
def test_a_report_at_midnight_waits_for_what_is_committed_a_little_late(zone: str) -> None:
    period = Period.of(Kind.DAILY, date(2026, 11, 20), zone)
    assert period.due_at(0) == period.end + timedelta(minutes=5)
    assert period.due_at(1) == period.end + HOUR
    early = period.end + timedelta(minutes=4, seconds=59)
    assert newest(Kind.DAILY, early, hour=0, zone=zone) == period.before
    assert next_due(Kind.DAILY, early, hour=0, zone=zone) == period.due_at(0)

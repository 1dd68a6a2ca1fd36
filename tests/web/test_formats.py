"""How money, moments and ages read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from xtiger.web import formats

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (Decimal("1150"), "NZD 1,150.00"),
        (Decimal("-0.5"), "NZD -0.50"),
        (Decimal("0.1234"), "NZD 0.1234"),
        (Decimal("1E+3"), "NZD 1,000.00"),
        (None, "–"),
    ],
)
def test_money_has_its_code_its_commas_and_every_digit(value: Decimal, printed: str) -> None:
    assert formats.money(value, "NZD") == printed


def test_a_moment_is_in_the_readers_zone_and_says_utc() -> None:
    zone = ZoneInfo("Pacific/Auckland")
    today = str(formats.moment(NOW, zone, NOW))
    assert ">16:00</time>" in today
    assert 'title="21 Nov 2026, 03:00:00 UTC"' in today
    assert ">20 Nov, 16:00</time>" in str(formats.moment(NOW - timedelta(days=1), zone, NOW))


@pytest.mark.parametrize("name", [None, "", "Nowhere/City", "../../etc/passwd", "/etc/passwd"])
def test_a_zone_that_isnt_one_is_utc(name: str | None) -> None:
    assert formats.zone_of(name) is UTC


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [(5, "5 s"), (360, "6 min"), (17_580, "4 h 53 min"), (86_400, "1 day"), (-3, "0 s")],
)
def test_ages_have_at_most_two_units(seconds: int, printed: str) -> None:
    assert formats.span(seconds) == printed


def test_a_count_agrees_with_its_noun() -> None:
    assert formats.counted(1, "record") == "1 record"
    assert formats.counted(1204, "record") == "1,204 records"


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [(-1, "under 1 s"), (0, "under 1 s"), (0.4, "under 1 s"), (0.6, "1 s"), (1.4, "1 s"),
     (59.7, "1 min"), (125, "2 min"), (17_580, "4 h 53 min")],
)  # fmt: skip
def test_what_something_took_is_never_nothing(seconds: float, printed: str) -> None:
    assert formats.lasted(NOW, NOW + timedelta(seconds=seconds)) == printed


def test_what_hasnt_begun_took_no_time() -> None:
    assert formats.lasted(None, NOW) == "–"

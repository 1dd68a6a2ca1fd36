"""However many alerts stand, a reader gets few mails, each about all there is to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.conftest import Engine
from tests.engine.alert_scenes import ANA, HOUR, MINUTE, Watch, looked_at, watching
from tests.engine.scenes import KAURI
from tests.engine.test_alert_readers import becomes, fails, to


@pytest.fixture
def watch(engine: Engine) -> Iterator[Watch]:
    with watching(engine) as found:
        yield found


def test_a_new_cause_each_day_that_nobody_solves_stays_three_mails_a_day(watch: Watch) -> None:
    """Each mail names the new cause, however many older ones have more records."""
    one = watch.engine.connect(KAURI)[KAURI]
    mails: Counter[int] = Counter()
    for day in range(12):
        fails(watch, one, [f"xero:{day}"] * (30 - day))
        mails[day] += len(watch.pass_time(25 * MINUTE))
        assert mails[day] == 1
        text = " ".join(looked_at(watch.box.taken[-1]).split())
        assert f"Invoices fail for xero:{day}." in text
        assert ("and 1 more." in text) is (day == 10)
        mails[day] += len(watch.pass_time(24 * HOUR - 25 * MINUTE, 2 * HOUR))
    assert set(mails.values()) == {3}, mails
    assert to(watch, ANA)[-3].endswith("fail for 12 causes")
    assert len(watch.alerts()) == 12
    # Without news all go together, once a day.
    for _day in range(3):
        assert len(watch.pass_time(24 * HOUR, 2 * HOUR)) == 1
    assert to(watch, ANA)[-1].endswith("fail for 12 causes")


def test_what_a_mail_took_along_still_counts_as_mails_before(watch: Watch) -> None:
    """The pace is known by all mails of the day, not by the last one of each alert alone."""
    one = watch.engine.connect(KAURI)[KAURI]
    total = 0
    for turn in range(23):
        fails(watch, one, [f"xero:{turn}"] * 10)
        total += len(watch.pass_time(HOUR, 20 * MINUTE))
    assert 6 <= total <= 8
    told = [row.details["told"].get(ANA, {}) for row in watch.alerts()]
    assert max(len(each.get("earlier", ())) for each in told) + 1 == total


def test_what_ends_is_told_at_once_though_the_pace_holds_the_rest(watch: Watch) -> None:
    one = watch.engine.connect(KAURI)[KAURI]
    places = []
    for turn in range(3):
        places += fails(watch, one, [f"xero:{turn}"] * 10)
        watch.pass_time(80 * MINUTE)
    watch.pass_time(5 * HOUR, 20 * MINUTE)
    assert len(to(watch, ANA)) >= 3
    becomes(watch, places, "pending", "running", "succeeded")
    [over] = watch.pass_time(20 * MINUTE)
    assert over == "[XTiger] Kauri Trading: no record fails any more for 3 causes"

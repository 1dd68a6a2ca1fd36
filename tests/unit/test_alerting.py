"""When an alert is mailed, when again, and when it is over: pure rules on moments."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from xtiger.domain import alert_phrases
from xtiger.domain.alerting import (
    ORDER,
    RULES,
    Finding,
    Kind,
    Limits,
    Told,
    due_at,
    judge,
    over,
    together,
    within_a_day,
)

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: Mails about what stands for a month, looked at each minute.
MONTH = 30


def mails(kind: Kind, stands: timedelta, every: timedelta = MINUTE) -> list[timedelta]:
    """When one reader is mailed of an alert that stands for so long, since its opening."""
    told: Told | None = None
    sent: list[timedelta] = []
    at = NOW
    while at - NOW < stands:
        due = due_at(kind, opened_at=NOW, told=told)
        if due is not None and due <= at:
            told = told.again(at) if told else Told(1, at)
            sent.append(at - NOW)
        at += every
    return sent


def test_a_lost_consent_is_mailed_at_once_then_daily() -> None:
    assert mails(Kind.DISCONNECTED, 4 * DAY) == [0 * DAY, DAY, 2 * DAY, 3 * DAY]


def test_what_needs_repair_is_mailed_after_an_hour_four_more_then_daily() -> None:
    patience = RULES[Kind.NOTHING].patience
    sent = [each - patience for each in mails(Kind.NOTHING, 4 * DAY)]
    assert sent == [0 * HOUR, HOUR, 5 * HOUR, 29 * HOUR, 53 * HOUR, 77 * HOUR]


@pytest.mark.parametrize("kind", list(Kind))
def test_nothing_that_stands_for_a_month_is_mailed_more_than_daily_and_twice(kind: Kind) -> None:
    sent = mails(kind, MONTH * DAY, 5 * MINUTE)
    assert len(sent) <= MONTH + 2
    assert bool(sent) is RULES[kind].mailed
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert gaps == sorted(gaps)


def test_mail_that_fails_is_never_mailed() -> None:
    assert due_at(Kind.MAIL, opened_at=NOW, told=None) is None


def test_who_read_it_in_the_report_hears_again_after_a_day() -> None:
    told = Told(1, NOW, by_report=True)
    assert due_at(Kind.FAILURES, opened_at=NOW, told=told) == NOW + DAY
    assert due_at(Kind.FAILURES, opened_at=NOW, told=Told(1, NOW)) == NOW + HOUR
    assert told.again(NOW + DAY) == Told(2, NOW + DAY)


@pytest.mark.parametrize(
    ("before", "wait"),
    [
        ([], timedelta(0)),
        ([5], 15 * MINUTE),
        ([60, 5], HOUR),
        ([300, 60, 5], 4 * HOUR),
        ([900, 300, 60, 5], 4 * HOUR),
    ],
)
def test_new_ones_of_a_kind_come_at_growing_distance(before: list[int], wait: timedelta) -> None:
    recent = [NOW - each * MINUTE for each in before]
    due = due_at(Kind.DISCONNECTED, opened_at=NOW, told=None, recent=recent)
    assert due == max(NOW, NOW - 5 * MINUTE + wait)


class Reader:
    """One mailbox that hears of alerts of one kind, as a look decides it each few minutes."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.opened: dict[int, datetime] = {}
        self.told: dict[int, Told] = {}
        self.sent: list[datetime] = []
        self.heard: dict[int, list[datetime]] = {}

    def look(self, now: datetime) -> None:
        """Mails what goes together now."""
        recent = within_a_day(self.sent, now)
        names = list(self.opened)
        standing = [(self.opened[name], self.told.get(name)) for name in names]
        mailed = together(self.kind, standing, recent=recent, now=now)
        for place in mailed:
            name = names[place]
            had = self.told.get(name)
            self.told[name] = had.again(now, recent) if had else Told(1, now)
            self.heard.setdefault(name, []).append(now)
        if mailed:
            self.sent.append(now)

    def live(self, openings: dict[int, int], ends: dict[int, int], minutes: int) -> None:
        """Alerts open and end at their minutes."""
        for minute in range(0, minutes, 10):
            now = NOW + minute * MINUTE
            opens = {
                n: NOW + at * MINUTE for n, at in openings.items() if minute - 10 < at <= minute
            }
            self.opened |= opens
            for name in [n for n in self.opened if ends.get(n, minutes) <= minute]:
                del self.opened[name]
            self.look(now)

    def most_within_a_day(self) -> int:
        """Mails in the fullest 24 hours."""
        return max((len(within_a_day(self.sent, each)) for each in self.sent), default=0)


MAILED = [kind for kind in Kind if RULES[kind].mailed]


@pytest.mark.parametrize("kind", MAILED)
def test_one_new_alert_a_day_for_a_month_is_four_mails_a_day_at_most(kind: Kind) -> None:
    """None is ever solved, and each comes at an hour of its own."""
    reader = Reader(kind)
    openings = {day: (day * 24 * 60) + (day * 437) % 1_440 for day in range(MONTH)}
    reader.live(openings, {}, (MONTH + 1) * 1_440)
    assert len(reader.heard) == MONTH
    assert len(reader.sent) <= 4 * MONTH
    assert reader.most_within_a_day() <= 7
    for heard in reader.heard.values():
        assert all(later - one <= DAY + 4 * HOUR for one, later in pairwise(heard))


@pytest.mark.parametrize("kind", MAILED)
def test_whatever_stands_without_news_is_one_mail_a_day_soon(kind: Kind) -> None:
    """Forty alerts that came one after the other, and then nothing new for weeks."""
    reader = Reader(kind)
    reader.live({n: 71 * n for n in range(40)}, {}, MONTH * 1_440)
    assert len(reader.heard) == 40
    late = [at for at in reader.sent if at >= NOW + 5 * DAY]
    assert MONTH - 6 <= len(late) <= MONTH - 4
    assert all(set(heard) >= set(late) for heard in reader.heard.values())


@settings(max_examples=40, deadline=None)
@given(
    some.sampled_from(MAILED),
    some.lists(
        some.tuples(
            some.integers(min_value=0, max_value=4 * 1_440),
            some.integers(min_value=10, max_value=4 * 1_440),
        ),
        max_size=60,
    ),
)
def test_however_many_come_stand_and_go_any_day_brings_eight_mails_at_most(
    kind: Kind, spans: list[tuple[int, int]]
) -> None:
    """And nothing is told later than the pace allows: what is due waits four hours at the most."""
    reader = Reader(kind)
    openings = {n: begin for n, (begin, _length) in enumerate(spans)}
    ends = {n: begin + length for n, (begin, length) in enumerate(spans)}
    reader.live(openings, ends, 5 * 1_440)
    assert reader.most_within_a_day() <= 8
    for name, begin in openings.items():
        first = NOW + begin * MINUTE + RULES[kind].patience + 4 * HOUR + 20 * MINUTE
        if NOW + ends[name] * MINUTE > first and first < NOW + 5 * DAY:
            assert reader.heard[name][0] <= first
        heard = reader.heard.get(name, [])
        assert all(later - one <= DAY + 4 * HOUR + 20 * MINUTE for one, later in pairwise(heard))


def test_a_mail_takes_along_what_is_past_half_its_distance() -> None:
    """New first, then what is due, then what goes along; what was told just now stays."""
    told = [
        Told(3, NOW - 11 * HOUR),
        Told(3, NOW - 12 * HOUR),
        Told(3, NOW - DAY),
        Told(1, NOW - 29 * MINUTE),
        Told(1, NOW - 30 * MINUTE),
        Told(2, NOW - 2 * HOUR),
        None,
    ]
    standing = [(NOW - 3 * DAY, each) for each in told]
    assert together(Kind.NOTHING, standing, recent=[], now=NOW) == [6, 2, 1, 4, 5]
    assert together(Kind.NOTHING, standing[:2], recent=[], now=NOW) == []
    just_now = [NOW - MINUTE]
    assert together(Kind.NOTHING, standing, recent=just_now, now=NOW) == []


def test_a_repeat_keeps_to_the_pace_too() -> None:
    told, recent = Told(3, NOW - DAY), [NOW - 3 * HOUR, NOW - 2 * HOUR, NOW - HOUR]
    due = due_at(Kind.FAILURES, opened_at=NOW - 2 * DAY, told=told, recent=recent)
    assert due == NOW + 3 * HOUR


def test_a_moment_from_a_clock_that_ran_ahead_counts_as_now() -> None:
    """So the next mail comes after its pause, and not in a year."""
    ahead = NOW + 400 * DAY
    told = Told(2, ahead, earlier=(NOW - HOUR, ahead), gone_at=ahead).righted(NOW)
    assert told == Told(2, NOW, earlier=(NOW - HOUR,), gone_at=NOW)
    assert due_at(Kind.DISCONNECTED, opened_at=NOW, told=told) == NOW + DAY
    usual = Told(2, NOW - HOUR)
    assert usual.righted(NOW) is usual
    assert within_a_day([ahead, NOW, NOW - HOUR, NOW - DAY], NOW) == [NOW, NOW - HOUR]


def test_what_was_told_is_kept_with_the_mails_before_it() -> None:
    told = Told(1, NOW - HOUR).again(NOW, [NOW - 2 * HOUR, NOW - HOUR])
    assert told == Told(2, NOW, earlier=(NOW - 2 * HOUR, NOW - HOUR))
    assert Told.of(told.kept()) == told
    assert Told.of({"times": 1, "at": NOW.isoformat(), "by_report": False}) == Told(1, NOW)


def test_what_is_found_is_told_from_what_stands_and_what_is_gone() -> None:
    one = Finding(Kind.DISCONNECTED, 1)
    two = Finding(Kind.FAILURES, 1, "account-archived", {"failing": 12})
    again = Finding(Kind.FAILURES, 1, "account-archived", {"failing": 13})
    gone = (Kind.WORKER, None, "")
    judged = judge([two.name, gone], [one, again])
    assert judged.opened == (one,)
    assert judged.seen == {two.name: again}
    assert judged.unseen == (gone,)
    assert judge([], []).opened == ()


def test_the_same_cause_of_two_organisations_is_two_alerts() -> None:
    both = [Finding(Kind.FAILURES, one, "account-archived") for one in (1, 2)]
    assert len(judge([], both).opened) == 2


def test_what_is_out_of_sight_for_a_moment_is_not_over() -> None:
    assert over(Kind.DISCONNECTED, last_seen_at=NOW, now=NOW)
    assert not over(Kind.DAY_LIMIT, last_seen_at=NOW - 5 * MINUTE, now=NOW)
    assert over(Kind.DAY_LIMIT, last_seen_at=NOW - 10 * MINUTE, now=NOW)


def test_every_kind_has_its_rule_and_its_place() -> None:
    assert set(RULES) == set(Kind) == set(ORDER)
    assert min(ORDER, key=ORDER.__getitem__) is Kind.DISCONNECTED
    assert Limits().silence == DAY


def test_each_phrase_stands_in_each_language_with_the_same_values() -> None:
    english, german = alert_phrases.SAID["en"], alert_phrases.SAID["de"]
    assert set(english) == set(german)
    for key, text in english.items():
        assert values(text) == values(german[key]), key
    # Of one alone the number needn't be said.
    assert alert_phrases.say("en", "waits", count=1) == "1 record waits"
    assert alert_phrases.say("de", "waits", count=10_001) == "10.001 Datensätze warten"
    assert alert_phrases.say("fr", "waits", count=0) == "no record waits"


def values(text: str) -> set[str]:
    """The names between the braces, a capital or not."""
    return {name.lower() for _text, name, *_rest in string.Formatter().parse(text) if name}

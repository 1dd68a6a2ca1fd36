"""When a module's records go by themselves: at once, every so often, daily, or only by Sync."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from xtiger.domain import zones

#: Minutes between two turns: at least one, at most a day.
LEAST_MINUTES, MOST_MINUTES = 1, 1_440
_DAY = timedelta(days=1)
_EPOCH = datetime(2000, 1, 3, tzinfo=UTC)  # a Monday, so that turns begin with the hour


class When(StrEnum):
    """How a profile's records are sent."""

    AT_ONCE = "at once"
    EVERY = "every"
    DAILY = "daily"
    BY_SYNC = "by sync"


def clock_time(text: str) -> time | None:
    """The time of day in `02:00` or `2:00`, None where there is none."""
    found = re.fullmatch(r"([01]?\d|2[0-3])[:.]([0-5]\d)", text.strip())
    return time(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A profile's schedule. It remembers nothing: what is due follows from the clock alone.

    A record goes by the schedule once a turn has begun since it was put into the queue. So a
    turn that nobody was awake for is caught up, and none comes twice, whoever asks how often.
    `zone` is the organisation's, by the tz database's name: `daily` is its time of day.
    """

    when: When = When.AT_ONCE
    minutes: int = 15
    daily: time = time(2, 0)
    zone: str = zones.UNKNOWN

    def last_turn(self, now: datetime) -> datetime | None:
        """When the newest turn began (UTC, never after `now`); None: there is never one."""
        if self.when is When.AT_ONCE:
            return now
        if self.when is When.BY_SYNC:
            return None
        if self.when is When.EVERY:
            step = timedelta(minutes=self.minutes)
            return now - (now - _EPOCH) % step
        turn = self._daily(now, 0)
        return turn if turn <= now else self._daily(now, -1)

    def next_turn(self, now: datetime) -> datetime | None:
        """When the next turn begins (UTC, after `now`); None: at once, or never."""
        if self.when in (When.AT_ONCE, When.BY_SYNC):
            return None
        if self.when is When.EVERY:
            return (
                now
                - (now - _EPOCH) % timedelta(minutes=self.minutes)
                + timedelta(minutes=self.minutes)
            )
        turn = self._daily(now, 0)
        return turn if turn > now else self._daily(now, 1)

    def _daily(self, now: datetime, days: int) -> datetime:
        """The turn of the organisation's own day, so many days on.

        A time that is skipped in spring is taken for what the clock would have shown, an hour
        on; one that comes twice in autumn is the first of the two.
        """
        zone = zones.zone(self.zone)
        day = now.astimezone(zone).date() + days * _DAY
        return datetime.combine(day, self.daily, zone).astimezone(UTC)

    @property
    def words(self) -> str:
        """at once; every 15 minutes; daily at 02:00, Auckland time; only by Sync."""
        if self.when is When.EVERY:
            return "every minute" if self.minutes == 1 else f"every {self.minutes} minutes"
        if self.when is When.DAILY:
            return f"daily at {self.daily:%H:%M}, {zones.city(self.zone)}"
        return "only by Sync" if self.when is When.BY_SYNC else "at once"


#: What nobody has set otherwise.
AT_ONCE = Schedule()

"""Which report is due when: days, weeks and months by the reader's own clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from xtiger.domain import zones

_DAY = timedelta(days=1)


class Kind(StrEnum):
    """The kinds of mail."""

    AFTER_SYNC = "after_sync"
    DAILY = "daily"
    WEEKLY = "weekly"  #: Monday to Sunday
    MONTHLY = "monthly"
    ALERT = "alert"
    TEST = "test"


#: The kinds that tell of a period.
PERIODIC = (Kind.DAILY, Kind.WEEKLY, Kind.MONTHLY)
#: How many missed periods of a kind are still sent one by one: the newest.
MOST_MISSED = {Kind.DAILY: 3, Kind.WEEKLY: 2, Kind.MONTHLY: 2}
#: What was logged in a period's last seconds may be committed a little after its end, and other
#: machines' clocks run a little behind: a report that doesn't wait for them would miss it for good.
SETTLED = timedelta(minutes=5)
#: No report is older: Xero began in that year.
FIRST = date(2006, 1, 1)


def instant(day: date, hour: int, zone: str) -> datetime:
    """The moment (UTC) at which the clocks of a zone show a full hour of a day.

    An hour that is skipped in spring is taken for what the clock would have shown, an hour on;
    one that comes twice in autumn is the first of the two. Midnight is the day's first moment.
    """
    return datetime.combine(day, time(hour), zones.zone(zone)).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """Some whole days by the clock of one zone: from `first` to the day before `behind`."""

    kind: Kind
    first: date
    behind: date
    zone: str = zones.UNKNOWN

    @classmethod
    def of(cls, kind: Kind, day: date, zone: str = zones.UNKNOWN) -> Period:
        """The period of a kind that holds a day. Raises ValueError for kinds that have none."""
        if kind is Kind.DAILY:
            return cls(kind, day, day + _DAY, zone)
        if kind is Kind.WEEKLY:
            monday = day - day.weekday() * _DAY
            return cls(kind, monday, monday + 7 * _DAY, zone)
        if kind is Kind.MONTHLY:
            first = day.replace(day=1)
            return cls(kind, first, (first + 31 * _DAY).replace(day=1), zone)
        raise ValueError(f"{kind} has no period")

    @property
    def start(self) -> datetime:
        """Its first moment, UTC."""
        return instant(self.first, 0, self.zone)

    @property
    def end(self) -> datetime:
        """The first moment behind it, UTC: 23, 24 or 25 hours after a day's start."""
        return instant(self.behind, 0, self.zone)

    @property
    def last(self) -> date:
        """Its last day."""
        return self.behind - _DAY

    @property
    def before(self) -> Period:
        """The one before it."""
        return Period.of(self.kind, self.first - _DAY, self.zone)

    def due_at(self, hour: int) -> datetime:
        """When its report is due (UTC): at that hour of the first day behind it, and settled."""
        return max(instant(self.behind, hour, self.zone), self.end + SETTLED)

    def parts(self) -> list[tuple[date, datetime, datetime]]:
        """What its chart tells apart: day, start, end of six hours, of days, of weeks.

        The first and the last week of a month may be shorter. The moments are UTC.
        """
        if self.kind is Kind.DAILY:
            hours = [instant(self.first, hour, self.zone) for hour in (0, 6, 12, 18)]
            return [
                (self.first, start, end)
                for start, end in zip(hours, [*hours[1:], self.end], strict=True)
            ]
        found = []
        day = self.first
        while day < self.behind:
            step = _DAY if self.kind is Kind.WEEKLY else (7 - day.weekday()) * _DAY
            after = min(day + step, self.behind)
            found.append((day, instant(day, 0, self.zone), instant(after, 0, self.zone)))
            day = after
        return found


def newest(kind: Kind, now: datetime, *, hour: int, zone: str) -> Period:
    """The newest period whose report is due by now."""
    period = Period.of(kind, now.astimezone(zones.zone(zone)).date(), zone).before
    return period if period.due_at(hour) <= now else period.before


def next_due(kind: Kind, now: datetime, *, hour: int, zone: str) -> datetime:
    """The next moment (UTC, after now) at which a report of the kind falls due."""
    period = newest(kind, now, hour=hour, zone=zone)
    return Period.of(kind, period.behind, zone).due_at(hour)


@dataclass(frozen=True, slots=True)
class Due:
    """The periods whose reports are due, oldest first, and the older ones that nobody gets."""

    periods: tuple[Period, ...] = ()
    left_out: tuple[Period, ...] = ()


def due(
    kind: Kind, now: datetime, *, hour: int, zone: str, last: date | None, since: datetime
) -> Due:
    """What is due of a kind and not yet claimed.

    1. The newest period whose hour has come, and all before it,
    2. that begin after `last`, the first day of the newest one that is over and claimed (None:
       none is); one that isn't over was claimed by a clock that ran ahead, and holds up nothing,
    3. and whose hour came after `since` (UTC), the moment from which the kind is asked for.
    4. Of these the newest few (MOST_MISSED): after weeks of silence nobody wants thirty mails.
    """
    found: list[Period] = []
    period = newest(kind, now, hour=hour, zone=zone)
    while (last is None or period.first > last) and period.due_at(hour) > since:
        found.append(period)
        period = period.before
    most = MOST_MISSED[kind]
    return Due(tuple(reversed(found[:most])), tuple(reversed(found[most:])))

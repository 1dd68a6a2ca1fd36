"""Xero's limits on calls: when the next one may go, what a 429 means, what calls have taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from xtiger.domain.errors import TransientError
from xtiger.ports import Access, Clock, Minute, Usage

#: Xero's fixed window, in seconds (FACTS section 2).
MINUTE = 60.0
#: Calls at once for one organisation (FACTS section 2).
AT_ONCE = 5
#: Seconds that are left to pass after a window's end: clocks and roundings differ by less.
_MARGIN = 0.2
#: The most seconds a write waits for its place: a lease counts on the call alone.
_WRITE_WAITS = 1.0
#: The most seconds a read waits until one of the calls under way has ended.
_READ_WAITS = 20.0
#: How many minutes a read lets pass before it gives up.
_READ_MINUTES = 2
#: Seconds to wait where Xero names none, by X-Rate-Limit-Problem.
_WAITS = {"minute": MINUTE, "appminute": MINUTE, "concurrent": 1.0, "day": 3600.0}
#: No wait for a new day is longer, in seconds.
_DAY = 86_400.0
_SENTENCES = {
    "minute": "Xero takes no more than 60 calls a minute for this organisation;"
    " XTiger goes on as soon as it may.",
    "appminute": "Xero takes no more than 10,000 calls a minute from one app;"
    " XTiger goes on as soon as it may.",
    "concurrent": "Xero takes no more than 5 calls at once for this organisation;"
    " XTiger goes on as soon as one has ended.",
    "day": "Today's calls are used up. XTiger goes on as soon as Xero takes calls again.",
}


def remaining(headers: Mapping[str, str], name: str) -> int | None:
    """A header such as X-DayLimit-Remaining, None where Xero didn't say."""
    try:
        return int(headers.get(name, ""))
    except ValueError:
        return None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Retry-After in seconds from `now` (UTC), given as seconds or as an HTTP date."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 9:
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _problem(headers: Mapping[str, str]) -> str:
    """Which limit a 429 names; one that isn't known is taken for the minute's."""
    problem = headers.get("X-Rate-Limit-Problem", "").strip().lower()
    if problem in _WAITS:
        return problem
    return "appminute" if problem.startswith("app") else "minute"


def limited(headers: Mapping[str, str], now: datetime, time_factor: float) -> TransientError:
    """What a 429 means, by X-Rate-Limit-Problem; it never counts as a try."""
    problem = _problem(headers)
    wait = retry_after(headers, now)
    if wait is None:
        return _refused(problem, _WAITS[problem] * time_factor)
    # A longer one would hold the organisation, and no person could lift it.
    return _refused(problem, min(wait, _DAY if problem == "day" else MINUTE * time_factor))


def _refused(problem: str, seconds: float) -> TransientError:
    return TransientError(_SENTENCES[problem], retry_after=seconds, counts=False)


@dataclass(slots=True)
class _Window:
    """`left` is what an answer of this window last named; `lost` calls came back without one."""

    began: datetime
    left: int
    lost: int = 0


@dataclass(slots=True)
class _Ticket:
    """What was known of the window when a call went out."""

    window: _Window | None = None
    left: int = 0


class _Windows:
    """Follows one of Xero's fixed windows from outside; its lock is the Pacer's.

    1. A window begins unseen. In one window each call leaves fewer than the one before; so an
       answer that names as many calls left as were known before its call went out, or more,
       comes from a new one.
    2. Its beginning is taken to be the moment of that answer: a minute from then is never too
       early, and too late by the time of one call at most.
    3. Calls under way count as used until their answer says more, so that several at once never
       overdraw it.
    4. Answers overtake each other: one whose call went out in an older window says nothing.
    5. A 429 with Retry-After tells the window's end, and so its beginning.
    6. What another worker knew is taken over. If both saw the same window, the earlier beginning
       and the fewer calls are nearer to the truth.
    """

    def __init__(self, problem: str, length: float, margin: float) -> None:
        self.problem = problem
        self.flying = 0
        self._length = length
        self._margin = margin
        self._window: _Window | None = None

    def closed(self, now: datetime) -> float:
        """Seconds until the next window, 0 while this one has calls left or none is known."""
        window = self._current(now)
        if window is None or window.left > window.lost:
            return 0.0
        return (self._ends(window) - now).total_seconds()

    def full(self, now: datetime) -> bool:
        """Whether the calls under way may take all that is left."""
        window = self._current(now)
        return window is not None and window.left - window.lost <= self.flying

    def take(self, now: datetime) -> _Ticket:
        self.flying += 1
        window = self._current(now)
        return _Ticket(window, window.left if window else 0)

    def give_back(self, ticket: _Ticket, *, lost: int) -> None:
        """A call has ended; `lost` tries of it may have been counted without an answer."""
        self.flying -= 1
        if ticket.window is not None:
            ticket.window.lost += lost

    def note(self, ticket: _Ticket, left: int, now: datetime) -> None:
        """What an answer said is left (steps 1, 2 and 4)."""
        window = self._current(now)
        if window is None or (ticket.window is window and left >= ticket.left):
            self._window = _Window(began=now, left=left)
        elif ticket.window is window:
            window.left = min(window.left, left)
            window.lost = 0

    def exhaust(self, now: datetime, wait: float | None) -> None:
        """A 429 of this limit; `wait` is its Retry-After in seconds (step 5), a minute at most."""
        window = self._current(now)
        began = window.began if window else now
        if wait is not None:
            began = now + timedelta(seconds=min(wait, self._length) - self._length)
        self._window = _Window(began, 0)

    def learn(self, given: Minute, now: datetime) -> None:
        """What another worker knew (step 6); what lies ahead by a minute comes of a wrong clock."""
        other = _Window(min(given.began, now), given.left)
        if now >= self._ends(other) or (given.began - now).total_seconds() > self._length:
            return
        own = self._current(now)
        if own is None:
            self._window = other
            return
        first, second = sorted((own, other), key=lambda one: one.began)
        apart = (second.began - first.began).total_seconds()
        if apart > self._length / 2 and second.left > first.left:
            self._window = second
        else:
            own.began, own.left = first.began, min(own.left, other.left)

    def known(self, now: datetime) -> Minute | None:
        window = self._current(now)
        return Minute(window.began, window.left) if window else None

    def _ends(self, window: _Window) -> datetime:
        return window.began + timedelta(seconds=self._length + self._margin)

    def _current(self, now: datetime) -> _Window | None:
        if self._window is not None and now >= self._ends(self._window):
            self._window = None
        if self._window is not None:
            # None began later than now: the clock was put back meanwhile.
            self._window.began = min(self._window.began, now)
        return self._window


@dataclass(slots=True)
class Turn:
    """One call's place: `sent` counts its requests that left, `answered` those with an answer."""

    tenant_id: str = ""
    minute: _Ticket = field(default_factory=_Ticket)
    app: _Ticket = field(default_factory=_Ticket)
    sent: int = 0
    answered: int = 0


class Pacer:
    """Lets an organisation's next call go, or says until when it must wait.

    Holds to 60 calls a minute and 5 at once for an organisation, its day, and the minute of the
    whole app; safe to use from several threads.
    """

    def __init__(self, clock: Clock, time_factor: float) -> None:
        self._clock = clock
        self._factor = time_factor
        self._changed = threading.Condition()
        self._minutes: dict[str, _Windows] = {}
        self._app = self._windows("appminute")
        self._day_until: dict[str, datetime] = {}

    def _windows(self, problem: str) -> _Windows:
        return _Windows(problem, MINUTE * self._factor, _MARGIN * self._factor)

    @contextmanager
    def turn(self, access: Access, *, writing: bool) -> Iterator[Turn]:
        """A call's place, for as long as it is under way.

        1. Nothing goes while the day is used up.
        2. While a minute's calls are used up, a read sleeps until the next one begins. A write
           doesn't wait longer than a second.
        3. While 5 calls are under way, or as many as are left, both wait for one to end.

        Raises TransientError that doesn't count where the waiting would be too long.
        """
        turn = self._enter(access, writing=writing)
        try:
            yield turn
        finally:
            with self._changed:
                lost = max(0, turn.sent - turn.answered)
                self._minutes[turn.tenant_id].give_back(turn.minute, lost=lost)
                self._app.give_back(turn.app, lost=lost)
                self._changed.notify_all()

    def _enter(self, access: Access, *, writing: bool) -> Turn:
        minutes_left = 0 if writing else _READ_MINUTES
        most = (_WRITE_WAITS if writing else _READ_WAITS) * self._factor
        patience = time.monotonic() + most
        while True:
            with self._changed:
                now = self._clock.now()
                minute = self._minutes.setdefault(access.tenant_id, self._windows("minute"))
                if access.minute is not None:
                    minute.learn(access.minute, now)
                self._check_day(access.tenant_id, now)
                closed = [(each.closed(now), each.problem) for each in (minute, self._app)]
                seconds, problem = max(closed)
                if seconds <= 0:
                    if minute.flying < AT_ONCE and not minute.full(now) and not self._app.full(now):
                        return Turn(access.tenant_id, minute.take(now), self._app.take(now))
                    if not self._changed.wait(max(0.0, patience - time.monotonic())):
                        raise _refused("concurrent", _WAITS["concurrent"] * self._factor)
                    continue
            if seconds > _WRITE_WAITS * self._factor:
                if minutes_left == 0:
                    raise _refused(problem, seconds)
                minutes_left -= 1
            self._clock.sleep(seconds)

    def _check_day(self, tenant_id: str, now: datetime) -> None:
        until = self._day_until.get(tenant_id, now)
        if now < until:
            raise _refused("day", (until - now).total_seconds())

    def note(self, turn: Turn, status: int, headers: Mapping[str, str]) -> Minute | None:
        """Remembers what an answer said; the minute as it is known then."""
        now = self._clock.now()
        day = remaining(headers, "X-DayLimit-Remaining")
        left = remaining(headers, "X-MinLimit-Remaining")
        app_left = remaining(headers, "X-AppMinLimit-Remaining")
        with self._changed:
            turn.answered += 1
            minute = self._minutes[turn.tenant_id]
            if status == 429:
                self._note_refusal(turn.tenant_id, minute, headers, now)
                return minute.known(now)
            if day == 0:
                self._end_day(turn.tenant_id, now, None)
            elif day is not None:
                self._day_until.pop(turn.tenant_id, None)
            if left is not None:
                minute.note(turn.minute, left, now)
            if app_left is not None:
                self._app.note(turn.app, app_left, now)
            return minute.known(now)

    def _note_refusal(
        self, tenant_id: str, minute: _Windows, headers: Mapping[str, str], now: datetime
    ) -> None:
        problem, wait = _problem(headers), retry_after(headers, now)
        if problem == "day":
            self._end_day(tenant_id, now, wait)
        elif problem == "appminute":
            self._app.exhaust(now, wait)
        elif problem == "minute":
            minute.exhaust(now, wait)

    def _end_day(self, tenant_id: str, now: datetime, wait: float | None) -> None:
        """Without Retry-After nobody knows when the day ends: one call an hour finds out."""
        seconds = _WAITS["day"] * self._factor if wait is None else min(wait, _DAY)
        self._day_until[tenant_id] = now + timedelta(seconds=seconds)


class Tally:
    """What calls took, by organisation, since it was last asked for."""

    def __init__(self) -> None:
        self._used: dict[str, Usage] = {}
        self._lock = threading.Lock()

    def add(self, tenant_id: str, calls: int, bytes_out: int, bytes_in: int) -> None:
        if not calls:
            return
        with self._lock:
            used = self._used.get(tenant_id, Usage(tenant_id, 0, 0, 0))
            self._used[tenant_id] = replace(
                used,
                calls=used.calls + calls,
                bytes_out=used.bytes_out + bytes_out,
                bytes_in=used.bytes_in + bytes_in,
            )

    def learn(self, tenant_id: str, day_left: int | None, minute: Minute | None) -> None:
        """What the last answer told of the limits."""
        with self._lock:
            used = self._used.get(tenant_id)
            if used is not None:
                left = used.day_left if day_left is None else day_left
                self._used[tenant_id] = replace(used, day_left=left, minute=minute or used.minute)

    def take(self) -> tuple[Usage, ...]:
        """All of it; counting begins anew."""
        with self._lock:
            used, self._used = tuple(self._used.values()), {}
        return used

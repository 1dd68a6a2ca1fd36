"""Xero's call limits: counted always, enforced when asked to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from xtiger.sandbox import bounds

#: calls at once per organisation and app (Xero: limits page)
_AT_ONCE = 5
_APP_MINUTE = 10_000


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A refused call; `retry_after` in seconds, sent for minute and day only."""

    problem: str
    retry_after: int | None


class Limits:
    """Fixed windows per organisation: a minute and a day, both scaled by the time factor."""

    def __init__(
        self,
        *,
        enforced: bool,
        day: int = 5000,
        minute: int = 60,
        time_factor: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.enforced = enforced
        self._clock = clock
        self._sizes = {"minute": minute, "day": day, "appminute": _APP_MINUTE}
        self._lengths = {
            "minute": 60 * time_factor,
            "day": 86400 * time_factor,
            "appminute": 60 * time_factor,
        }
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}
        self._running: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def running(self, tenant: str) -> Iterator[Exceeded | None]:
        """Marks a call as under way; yields the limit it breaks by that, if any."""
        with self._lock:
            self._running[tenant] = self._running.get(tenant, 0) + 1
            many = self._running[tenant] > _AT_ONCE
        try:
            yield Exceeded("concurrent", None) if self.enforced and many else None
        finally:
            with self._lock:
                self._running[tenant] -= 1

    def count(self, tenant: str) -> Exceeded | None:
        """Counts one call, unless it is refused."""
        now = self._clock()
        keys = [("day", tenant), ("minute", tenant), ("appminute", "")]
        with self._lock:
            for key in keys:
                began, used = self._windows.get(key, (now, 0))
                ends = began + self._lengths[key[0]]
                if now >= ends:
                    self._windows[key] = (now, 0)
                elif self.enforced and used >= self._sizes[key[0]]:
                    wait = None if key[0] == "appminute" else max(1, ceil(ends - now))
                    return Exceeded(key[0], wait)
            for key in keys:
                began, used = self._windows.get(key, (now, 0))
                self._windows[key] = (began, used + 1)
        return None

    def left(self, tenant: str) -> dict[str, int]:
        """How many calls the windows of this moment still allow."""
        now = self._clock()
        with self._lock:
            found = {}
            for name, whose in (("day", tenant), ("minute", tenant), ("appminute", "")):
                began, used = self._windows.get((name, whose), (now, 0))
                over = now >= began + self._lengths[name]
                found[name] = self._sizes[name] if over else max(0, self._sizes[name] - used)
        return found

    def change(
        self, enforced: bool | None = None, *, day: int | None = None, minute: int | None = None
    ) -> None:
        """Sets what isn't None; what was used stays counted. Raises ValueError."""
        for name, size in (("day", day), ("minute", minute)):
            if size is not None:
                bounds.whole(size, name, 1)
        if enforced is not None and not isinstance(enforced, bool):
            raise ValueError("enforced must be true or false.")
        with self._lock:
            self.enforced = self.enforced if enforced is None else enforced
            self._sizes["day"] = day or self._sizes["day"]
            self._sizes["minute"] = minute or self._sizes["minute"]

    def reset(self) -> None:
        """Begins all windows anew."""
        with self._lock:
            self._windows.clear()

    def told(self) -> dict[str, object]:
        """The switch and the sizes."""
        return {"enforced": self.enforced, **self._sizes}

    def headers(self, tenant: str) -> dict[str, str]:
        """What is left, as Xero tells on each answer."""
        left = self.left(tenant)
        return {
            "X-DayLimit-Remaining": str(left["day"]),
            "X-MinLimit-Remaining": str(left["minute"]),
            "X-AppMinLimit-Remaining": str(left["appminute"]),
        }

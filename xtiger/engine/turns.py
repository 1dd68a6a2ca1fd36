"""Fairness between organisations: who is at work in this process, and who must give its turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Seconds an organisation may work while others wait for a place.
SLICE = 10.0


class Turns:
    """The organisations that this process works on; each is worked on once at a time.

    `seconds` is the length of a turn, `others_wait` whether anybody waits for a place. A turn
    ends between two calls, never within one.
    """

    def __init__(self, seconds: float, others_wait: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._others_wait = others_wait
        self._lock = threading.Lock()
        self._began: dict[int, float] = {}
        self._again: set[int] = set()
        self._of_thread: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._began)

    def busy(self, organisation_id: int) -> bool:
        """Whether its turn lasts; if so there is one more after it."""
        with self._lock:
            if organisation_id in self._began:
                self._again.add(organisation_id)
                return True
            return False

    def begin(self, organisation_id: int) -> bool:
        """Begins a turn in this thread; False while another one lasts: there is one more after."""
        with self._lock:
            if organisation_id in self._began:
                self._again.add(organisation_id)
                return False
            self._began[organisation_id] = time.monotonic()
            self._of_thread[threading.get_ident()] = organisation_id
            return True

    def crowded(self) -> bool:
        """Whether this thread's turn is over because others wait; it gets another one."""
        with self._lock:
            organisation_id = self._of_thread.get(threading.get_ident())
            if organisation_id is None:
                return False
            began = self._began[organisation_id]
        if time.monotonic() - began < self._seconds or not self._others_wait():
            return False
        with self._lock:
            self._again.add(organisation_id)
        return True

    def end(self, organisation_id: int) -> bool:
        """Ends this thread's turn; whether there is to be one more."""
        with self._lock:
            self._of_thread.pop(threading.get_ident(), None)
            self._began.pop(organisation_id, None)
            again = organisation_id in self._again
            self._again.discard(organisation_id)
            return again

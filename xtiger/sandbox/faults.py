"""What can go wrong with a call, by order and by chance, and the answers being held back."""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import StrEnum

from xtiger.sandbox import bounds
from xtiger.sandbox.wire import Json

#: seconds
LONGEST_HOLD = 300.0


class Kind(StrEnum):
    """What can go wrong with one call."""

    HOLD = "hold"  #: the answer waits for a release or for the client to go away
    STATUS = "status"  #: a page with that status, 500 or 503; HTML, or plain text
    LIMIT = "limit"  #: 429 with that problem: minute, day, concurrent, appminute
    RESET = "reset"  #: the connection is reset
    HALF = "half"  #: the body breaks off in the middle
    SLOW = "slow"  #: the answer comes so many seconds late
    MALFORMED = "malformed"  #: 200, but the JSON is cut short
    EMPTY = "empty"  #: that status, 200 or 400, and nothing in the body
    ELEMENTS = "elements"  #: 400, a validation exception that names no element
    EXPIRED = "expired"  #: the access token ends now
    REVOKED = "revoked"  #: the consent's tokens end now, for good: invalid_grant at refresh
    SCOPE = "scope"  #: 401 as if the scope were withdrawn
    REMOVED = "removed"  #: the organisation is disconnected now, for good: 403
    OFFLINE = "offline"  #: 503 in plain text: the organisation can't be reached
    LOCKED = "locked"  #: the organisation's period is locked, for good, before the call is read
    DIFFERS = "differs"  #: the answer tells something else than what was kept


#: these spoil a true answer, so the call is always carried out first
_SPOILING = frozenset({Kind.HALF, Kind.MALFORMED, Kind.DIFFERS})
_LATE = _SPOILING | {Kind.HOLD, Kind.SLOW}
#: these change what the sandbox keeps, beyond the call they strike
LASTING = frozenset({Kind.REVOKED, Kind.REMOVED, Kind.LOCKED})
PROBLEMS = ("minute", "day", "concurrent", "appminute")
DIFFERENCES = ("total", "status", "missing")
#: the lowest and the highest status that a fault of that kind may answer
_STATUSES = {Kind.STATUS: (400, 599)}
_ANY_STATUS = (100, 599)
_EMPTY_STATUSES = (200, 400)
_LONGEST_WORD = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault for the next `count` matching calls; empty method or resource match any."""

    kind: Kind
    method: str = ""
    resource: str = ""  #: as in the address, or `token`, `connections`, `revocation`
    tenant: str = ""
    count: int = 1
    after_store: bool = False  #: the call is carried out and kept, then the fault strikes
    status: int = 503
    plain: bool = False  #: STATUS: plain text in place of HTML
    problem: str = "minute"
    retry_after: int | None = None  #: LIMIT: seconds; without it 1 for minute and day
    silent: bool = False  #: LIMIT: no Retry-After at all
    seconds: float = 0.1
    differs: str = "total"  #: DIFFERS: total (by 0.01), status, missing (the last element)
    text: str = ""  #: only calls whose body holds it
    until: str = ""  #: LOCKED: `YYYY-MM-DD`, today where empty

    @classmethod
    def read(cls, body: Json) -> Fault:
        """From JSON; `kind` may also be a name of the CATALOGUE. Raises ValueError."""
        if not isinstance(body, dict):
            raise ValueError("it must be an object.")
        if "kind" not in body:
            raise ValueError("kind is missing.")
        if unknown := sorted(body.keys() - {one.name for one in fields(cls)}):
            raise ValueError(f"no field is called {unknown[0]!r}.")
        word = str(body["kind"])
        if word not in CATALOGUE and word not in set(Kind):
            raise ValueError(f"no fault is called {word!r}.")
        if word in CATALOGUE and word not in set(Kind):
            ready = CATALOGUE[word].fault
            given = {one.name: getattr(ready, one.name) for one in fields(cls)}
        else:
            given = {"kind": Kind(word), "after_store": Kind(word) in _LATE}
            if given["kind"] is Kind.EMPTY:
                given["status"] = 200
        found = cls(**given | body | {"kind": given["kind"]})
        kind = found.kind
        if kind in _SPOILING:
            found = replace(found, after_store=True)
        _checked(found)
        return found

    def fits(self, method: str, resource: str, tenant: str, body: bytes) -> bool:
        """A fault without a resource leaves the pages of identity alone."""
        any_resource = self.resource == "" and resource not in ("authorize", "revocation")
        return (
            self.method.upper() in ("", method)
            and (any_resource or self.resource.lower() == resource)
            and self.tenant.lower() in ("", tenant)
            and self.text.encode() in body
        )


def _checked(fault: Fault) -> None:
    """Raises ValueError with a sentence that names the field."""
    for name in ("method", "resource", "tenant", "problem", "differs", "text", "until"):
        value = getattr(fault, name)
        if not isinstance(value, str) or len(value) > _LONGEST_WORD or not value.isprintable():
            raise ValueError(f"{name} must be text of at most {_LONGEST_WORD} characters.")
    for name in ("after_store", "plain", "silent"):
        if not isinstance(getattr(fault, name), bool):
            raise ValueError(f"{name} must be true or false.")
    bounds.whole(fault.count, "count", 1)
    bounds.whole(fault.status, "status", *_STATUSES.get(fault.kind, _ANY_STATUS))
    if fault.kind is Kind.EMPTY and fault.status not in _EMPTY_STATUSES:
        raise ValueError("status must be 200 or 400.")
    if fault.retry_after is not None:
        bounds.whole(fault.retry_after, "retry_after", 0)
    bounds.real(fault.seconds, "seconds", 0, LONGEST_HOLD)
    if fault.problem not in PROBLEMS:
        raise ValueError(f"problem must be one of {', '.join(PROBLEMS)}.")
    if fault.differs not in DIFFERENCES:
        raise ValueError(f"differs must be one of {', '.join(DIFFERENCES)}.")
    if fault.until:
        try:
            date.fromisoformat(fault.until)
        except ValueError:
            raise ValueError("until must be a day such as 2026-06-30.") from None


@dataclass(frozen=True, slots=True)
class Named:
    """A ready-made fault; `words` tell people what happens."""

    words: str
    fault: Fault


def _limit(problem: str, *, silent: bool = False) -> Fault:
    return Fault(Kind.LIMIT, problem=problem, retry_after=None if silent else 2, silent=silent)


def _differing(what: str) -> Fault:
    return Fault(Kind.DIFFERS, after_store=True, differs=what)


#: what pages, the dial and the command line offer by name
CATALOGUE: dict[str, Named] = {
    "hold-after": Named(
        "No answer until released; what was sent is kept", Fault(Kind.HOLD, after_store=True)
    ),
    "hold-before": Named("No answer until released; read only then", Fault(Kind.HOLD)),
    "reset-before": Named("Connection reset, nothing kept", Fault(Kind.RESET)),
    "reset-after": Named(
        "Connection reset, what was sent is kept", Fault(Kind.RESET, after_store=True)
    ),
    "minute": Named("429, calls of this minute used up", _limit("minute")),
    "minute-silent": Named("429 for the minute without Retry-After", _limit("minute", silent=True)),
    "day": Named("429, calls of this day used up", _limit("day")),
    "day-silent": Named("429 for the day without Retry-After", _limit("day", silent=True)),
    "concurrent": Named("429, too many calls at once", _limit("concurrent", silent=True)),
    "appminute": Named("429, the app's calls of this minute used up", _limit("appminute")),
    "500": Named("500 with an HTML page", Fault(Kind.STATUS, status=500)),
    "500-after": Named(
        "500 with an HTML page, though what was sent is kept",
        Fault(Kind.STATUS, status=500, after_store=True),
    ),
    "500-text": Named("500 in plain text", Fault(Kind.STATUS, status=500, plain=True)),
    "503": Named("503 with an HTML page", Fault(Kind.STATUS)),
    "503-text": Named("503 in plain text", Fault(Kind.STATUS, plain=True)),
    "offline": Named("503, the organisation can't be reached", Fault(Kind.OFFLINE)),
    "slow": Named("The answer comes late", Fault(Kind.SLOW, after_store=True, seconds=2)),
    "half": Named("Half an answer, then the end", Fault(Kind.HALF, after_store=True)),
    "malformed": Named("200 with broken JSON", Fault(Kind.MALFORMED, after_store=True)),
    "empty-200": Named("200 with nothing in it", Fault(Kind.EMPTY, status=200, after_store=True)),
    "empty-400": Named("400 with nothing in it", Fault(Kind.EMPTY, status=400)),
    "elements": Named("400 that names no element", Fault(Kind.ELEMENTS)),
    "wrong-total": Named("The answer's total is off by 0.01", _differing("total")),
    "wrong-status": Named("The answer tells another status", _differing("status")),
    "missing-element": Named("The answer leaves an element out", _differing("missing")),
    "expired": Named("The access token ends", Fault(Kind.EXPIRED)),
    "scope": Named("401, the scope is withdrawn", Fault(Kind.SCOPE)),
    "revoked": Named("The consent is revoked, for good", Fault(Kind.REVOKED)),
    "removed": Named("The organisation is disconnected, for good", Fault(Kind.REMOVED)),
    "locked": Named("The period is locked up to today, for good", Fault(Kind.LOCKED)),
}

#: what the dial strikes with where nobody chose
DIAL_KINDS = ("reset-before", "reset-after", "minute", "concurrent", "500", "503-text", "half")


class Dial:
    """Faults by chance: so many per cent of the accounting calls, in a sequence its seed fixes.

    Steps, for each call: draw twice; the first number says whether, the second says which. So the
    n-th call of two runs with the same seed, per cent and kinds meets the same fault.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.set(0)

    def set(self, percent: float, kinds: Iterable[str] = (), seed: int = 0) -> None:
        """Begins the sequence anew. Raises ValueError."""
        chosen = tuple(kinds) or DIAL_KINDS
        percent = bounds.real(percent, "percent", 0, 100)
        bounds.whole(seed, "seed", 0, bounds.LARGEST_SEED)
        for name in chosen:
            if name not in CATALOGUE:
                raise ValueError(f"no fault is called {name}")
            if CATALOGUE[name].fault.kind in LASTING:
                raise ValueError(f"{name} lasts, so chance may not choose it")
        with self._lock:
            self.percent, self.kinds, self.seed = percent, chosen, seed
            self.strikes = 0
            self._random = random.Random(seed)  # noqa: S311 - chance, not a secret

    def strike(self) -> Fault | None:
        with self._lock:
            if not self.percent:
                return None
            whether, which = self._random.random(), self._random.random()
            if whether * 100 >= self.percent:
                return None
            self.strikes += 1
            return CATALOGUE[self.kinds[int(which * len(self.kinds))]].fault

    def told(self) -> Json:
        return {
            "percent": self.percent,
            "kinds": list(self.kinds),
            "seed": self.seed,
            "strikes": self.strikes,
        }


@dataclass(slots=True)
class Faults:
    """The faults still to come, and the answers being held now."""

    coming: list[Fault] = field(default_factory=list)
    held: dict[int, Json] = field(default_factory=dict)
    _released: int = 0
    _next: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, faults: list[Fault]) -> None:
        with self._changed:
            self.coming += faults

    def clear(self) -> None:
        with self._changed:
            self.coming.clear()

    def reads_bodies(self) -> bool:
        """Whether a fault that is to come asks what a body holds."""
        with self._changed:
            return any(fault.text for fault in self.coming)

    def take(self, method: str, resource: str, tenant: str, body: bytes) -> Fault | None:
        with self._changed:
            for index, fault in enumerate(self.coming):
                if fault.fits(method, resource, tenant, body):
                    if fault.count > 1:
                        self.coming[index] = replace(fault, count=fault.count - 1)
                    else:
                        del self.coming[index]
                    return fault
        return None

    def hold(self, what: Json, connection: socket.socket | None) -> bool:
        """Waits for `release`. False if the client went away meanwhile."""
        ends = time.monotonic() + LONGEST_HOLD
        with self._changed:
            self._next += 1
            mine = self._next
            self.held[mine] = what
            try:
                while self._released < mine and time.monotonic() < ends:
                    self._changed.wait(0.02)
                    if connection is not None and _gone(connection):
                        return False
                return True
            finally:
                del self.held[mine]

    def holding(self) -> list[Json]:
        with self._changed:
            return list(self.held.values())

    def release(self) -> int:
        with self._changed:
            self._released = self._next
            self._changed.notify_all()
            return len(self.held)


def _gone(connection: socket.socket) -> bool:
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True

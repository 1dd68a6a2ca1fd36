"""Webhooks as Xero sends them: what changed, signed, in batches, repeated until received."""

from __future__ import annotations

import base64
import contextlib
import hmac
import http.client
import logging
import secrets
import socket
import string
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlsplit

from xtiger.sandbox.kept.state import State, Touched
from xtiger.sandbox.wire import Json, dumps, loads

logger = logging.getLogger(__name__)

#: which resources have events (Xero OpenAPI webhooks); SUBSCRIPTION is about apps, not books
CATEGORIES = {"Contacts": "CONTACT", "Invoices": "INVOICE", "CreditNotes": "CREDITNOTE"}
#: whose subscription counts for every organisation that has none of its own
EVERY = "*"
#: seconds within which an answer must come (Xero: configuring your server)
_PATIENCE = 5.0
#: seconds for which changes are gathered into one call  # own choice
_GATHER = 0.05
_MOST = 50  # events in one call; own choice
_FIRST_GAP, _LONGEST_GAP = 15.0, 7200.0  # own choice: Xero says only that gaps grow
#: seconds after which a webhook that fails is disabled (Xero: configuring your server)
_GIVEN_UP = 86400.0
#: signatures of the intent to receive, true and false ones mixed  # own choice of how many
_INTENT = (True, False, True, False)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HISTORY = 100


class Status(StrEnum):
    """Where a subscription stands."""

    INTENT = "INTENT"  #: asked whether it receives; no events yet
    OK = "OK"
    FAILED = "FAILED"  #: answered the intent to receive wrongly
    DISABLED = "DISABLED"  #: failed for 24 hours


@dataclass(slots=True)
class Subscription:
    """Where one organisation's events go; `sequence` is the number of the last event."""

    owner: str  #: tenant, or EVERY
    url: str
    key: str
    categories: list[str]
    status: Status = Status.INTENT
    reason: str = ""
    sequence: int = 0


@dataclass(slots=True, eq=False)
class _Delivery:
    """One call still to be made; without events an intent to receive."""

    owner: str
    events: list[Json]
    due: float
    began: float
    first: int = 0
    last: int = 0
    tries: int = 0
    ready: float = 0.0  #: on the machine's own clock: until then it gathers


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a receiver said; `status` 0 where it said nothing."""

    status: int
    problem: str = ""


@dataclass(slots=True)
class Mishaps:
    """How many of the next deliveries go wrong on purpose."""

    duplicate: int = 0
    drop: int = 0
    forge: int = 0  #: signed with another key


@dataclass(slots=True)
class _Queue:
    pending: list[_Delivery] = field(default_factory=list)
    history: deque[Json] = field(default_factory=lambda: deque(maxlen=_HISTORY))


class Webhooks:
    """Subscriptions, kept with the state, and a thread that delivers, started when needed.

    What waits for delivery is kept in memory only.
    """

    def __init__(self, state: State, kinds: Mapping[str, str], *, time_factor: float = 1.0) -> None:
        """`kinds` maps an object's kind in the state to its plural in addresses."""
        self.base = "https://api.xero.com"  #: where the events say that their objects are
        self.mishaps = Mishaps()
        self._state = state
        self._plurals = {kind: one for kind, one in kinds.items() if one in CATEGORIES}
        self._factor = time_factor
        self._queue = _Queue()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._talking: http.client.HTTPConnection | None = None
        self._subscriptions: dict[str, Subscription] = {}
        for body in loads(state.setting("webhooks") or "[]"):
            found = Subscription(**body | {"status": Status(body["status"])})
            self._subscriptions[found.owner] = found
        state.listeners.append(self._heard)
        with self._changed:
            for owner, found in self._subscriptions.items():
                if found.status is Status.INTENT:
                    self._ask(owner)

    # what people and tests set

    def subscribe(
        self, owner: str, url: str, key: str = "", categories: Iterable[str] = ()
    ) -> Subscription:
        """Begins with the intent to receive, also for one that was there. Raises ValueError."""
        chosen = [one.upper() for one in categories] or list(CATEGORIES.values())
        if unknown := set(chosen) - set(CATEGORIES.values()):
            raise ValueError(f"no category is called {', '.join(sorted(unknown))}")
        _target(url)
        if not key.isascii():
            raise ValueError("the key must be ASCII")
        with self._changed:
            old = self._subscriptions.get(owner)
            key = key or (old.key if old else base64.b64encode(secrets.token_bytes(64)).decode())
            found = Subscription(owner, url, key, chosen, sequence=old.sequence if old else 0)
            self._subscriptions[owner] = found
            self._forget(owner)
            self._keep()
            self._ask(owner)
            return found

    def unsubscribe(self, owner: str) -> bool:
        with self._changed:
            found = self._subscriptions.pop(owner, None)
            self._forget(owner)
            self._keep()
            return found is not None

    def subscriptions(self) -> list[Subscription]:
        with self._changed:
            return list(self._subscriptions.values())

    def waiting(self, owner: str) -> int:
        """Calls to that receiver that are still to be made or repeated."""
        with self._changed:
            return sum(one.owner == owner for one in self._queue.pending)

    def history(self) -> list[Json]:
        """The last calls made, newest first."""
        with self._changed:
            return list(self._queue.history)

    def told(self, subscription: Subscription) -> Json:
        return asdict(subscription) | {"waiting": self.waiting(subscription.owner)}

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            thread, talking = self._thread, self._talking
        if talking is not None and talking.sock is not None:
            with contextlib.suppress(OSError):
                talking.sock.shutdown(socket.SHUT_RDWR)
        if thread is not None:
            thread.join(1)

    # what happened in the books

    def _heard(self, touched: list[Touched]) -> None:
        if not self._subscriptions:
            return
        connected = {body["tenantId"] for _, _, body in self._state.grants.of("connection")}
        now = self._state.now()
        concern = [one for one in touched if one.kind in self._plurals and one.tenant in connected]
        with self._changed:
            told = [self._tell(one, now) for one in concern]
            if any(told):
                self._keep()
                self._begin()

    def _tell(self, touched: Touched, now: float) -> bool:
        whose = touched.tenant if touched.tenant in self._subscriptions else EVERY
        found = self._subscriptions.get(whose)
        if found is None or found.status is not Status.OK:
            return False
        event = self._event(touched, now)
        if event["eventCategory"] not in found.categories:
            return False
        found.sequence += 1
        self._append(found, event, now)
        return True

    def _event(self, touched: Touched, now: float) -> Json:
        plural = self._plurals[touched.kind]
        moment = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
        event: Json = {
            "resourceUrl": f"{self.base}/api.xro/2.0/{plural}/{touched.id}",
            "resourceId": touched.id,
            "tenantId": touched.tenant,
            "tenantType": "ORGANISATION",
            "eventCategory": CATEGORIES[plural],
            "eventType": "CREATE" if touched.created else "UPDATE",
            "eventDateUtc": moment.isoformat(timespec="milliseconds"),
        }
        if plural == "CreditNotes":
            event["data"] = {field: touched.body[field] for field in ("Type", "Status")}
        return event

    def _append(self, found: Subscription, event: Json, now: float) -> None:
        """To the delivery that still gathers, else to a new one."""
        for one in self._queue.pending:
            gathering = one.owner == found.owner and one.ready > time.monotonic()
            if gathering and 0 < len(one.events) < _MOST:
                break
        else:
            one = _Delivery(found.owner, [], now, now, first=found.sequence)
            one.ready = time.monotonic() + _GATHER
            self._queue.pending.append(one)
        one.events.append(event)
        one.last = found.sequence

    def _ask(self, owner: str) -> None:
        now = self._state.now()
        self._queue.pending.append(_Delivery(owner, [], now, now))
        self._begin()

    def _forget(self, owner: str) -> None:
        self._queue.pending[:] = [one for one in self._queue.pending if one.owner != owner]

    def _keep(self) -> None:
        self._state.set(
            "webhooks", dumps([asdict(one) for one in self._subscriptions.values()]).decode()
        )

    # delivering

    def _begin(self) -> None:
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._deliver, daemon=True, name="webhooks")
            self._thread.start()
        self._changed.notify_all()

    def _deliver(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                due = self._due()
                if due is None:
                    # the clock may be a test's own, so it is asked again and again
                    self._changed.wait(_GATHER if self._queue.pending else None)
                    continue
                found = self._subscriptions[due.owner]
            try:
                if due.events:
                    self._send(found, due)
                else:
                    self._intend(found, due)
            except Exception:
                logger.exception("a webhook to %s", found.url)
                self._again(found, due, _Answer(0, "the sandbox failed"))

    def _due(self) -> _Delivery | None:
        now, ready = self._state.now(), time.monotonic()
        return next(
            (one for one in self._queue.pending if one.due <= now and one.ready <= ready), None
        )

    def _send(self, found: Subscription, due: _Delivery) -> None:
        body = self._body(due.events, due.first, due.last)
        with self._changed:
            drop = self._mishap("drop")
            key = secrets.token_hex() if self._mishap("forge") else found.key
            times = 2 if self._mishap("duplicate") else 1
        if drop:
            self._record(found, due, _Answer(0, "dropped on purpose"), good=False)
            self._done(due)
            return
        for _ in range(times):
            answer = self._post(found.url, body, _signature(body, key))
            self._record(found, due, answer, good=_received(answer))
        if _received(answer):
            self._done(due)
        else:
            self._again(found, due, answer)

    def _intend(self, found: Subscription, due: _Delivery) -> None:
        """True signatures must be answered 200 and false ones 401, each time."""
        order = list(_INTENT)
        secrets.SystemRandom().shuffle(order)
        wrong = ""
        for true in order:
            body = self._body([], 0, 0)
            key = found.key if true else secrets.token_hex()
            answer = self._post(found.url, body, _signature(body, key))
            good = _received(answer) if true else answer.status == 401
            self._record(found, due, answer, good=good)
            if not answer.status:  # nobody listens yet: asked again later
                self._again(found, due, answer)
                return
            if not good:
                kind = "a true" if true else "a false"
                wrong = wrong or f"{kind} signature was answered {answer.status} {answer.problem}"
        with self._changed:
            if self._stopped or due not in self._queue.pending:
                return  # meanwhile somebody subscribed anew
            found.status = Status.FAILED if wrong else Status.OK
            found.reason = wrong.strip()
            self._keep()
            self._queue.pending.remove(due)

    def _done(self, due: _Delivery) -> None:
        with self._changed:
            if due in self._queue.pending:
                self._queue.pending.remove(due)

    def _again(self, found: Subscription, due: _Delivery, answer: _Answer) -> None:
        """Repeats with growing gaps; after 24 hours the webhook is disabled."""
        now = self._state.now()
        gap = min(_FIRST_GAP * 2**due.tries, _LONGEST_GAP) * self._factor
        with self._changed:
            if self._stopped or due not in self._queue.pending:
                return
            due.tries += 1
            due.due = now + gap
            if now >= due.began + _GIVEN_UP * self._factor:
                found.status = Status.DISABLED
                found.reason = f"no good answer for 24 hours: {answer.status} {answer.problem}"
                self._forget(found.owner)
                self._keep()

    def _mishap(self, name: str) -> bool:
        left = int(getattr(self.mishaps, name))
        if left:
            setattr(self.mishaps, name, left - 1)
        return left > 0

    def _body(self, events: list[Json], first: int, last: int) -> bytes:
        entropy = "".join(secrets.choice(string.ascii_uppercase) for _ in range(20))
        return dumps(
            {
                "events": events,
                "firstEventSequence": first,
                "lastEventSequence": last,
                "entropy": entropy,
            }
        )

    def _record(self, found: Subscription, due: _Delivery, answer: _Answer, *, good: bool) -> None:
        with self._changed:
            self._queue.history.appendleft(
                {
                    "time": datetime.fromtimestamp(self._state.now(), UTC).isoformat(),
                    "owner": found.owner,
                    "url": found.url,
                    "events": len(due.events),
                    "first": due.first,
                    "last": due.last,
                    "status": answer.status,
                    "problem": answer.problem,
                    "good": good,
                }
            )

    def _post(self, url: str, body: bytes, signature: str) -> _Answer:
        """One call; a redirect is an answer like any other and isn't followed."""
        host, port, path = _target(url)
        began = time.monotonic()
        connection = self._talking = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
        headers = {"Content-Type": "application/json", "x-xero-signature": signature}
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            said = answer.read(1)
        except (OSError, http.client.HTTPException) as error:
            return _Answer(0, f"no answer: {error or type(error).__name__}")
        finally:
            self._talking = None
            connection.close()
        if time.monotonic() - began > _PATIENCE:
            return _Answer(0, f"no answer within {_PATIENCE:.0f} s")
        if said:
            return _Answer(answer.status, "with a body")
        if answer.getheader("Set-Cookie"):
            return _Answer(answer.status, "with a cookie")
        return _Answer(answer.status)


def _signature(body: bytes, key: str) -> str:
    """Base64 of HMAC-SHA256 over the raw body (Xero: configuring your server)."""
    return base64.b64encode(hmac.digest(key.encode(), body, "sha256")).decode()


def _target(url: str) -> tuple[str, int, str]:
    """Host, port and path of a receiver on this machine. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in _LOOPBACK:
        raise ValueError("only http addresses of this machine can be told")
    path = parts.path or "/"
    return parts.hostname, parts.port or 80, f"{path}?{parts.query}" if parts.query else path


def _received(answer: _Answer) -> bool:
    return answer.status == 200 and not answer.problem

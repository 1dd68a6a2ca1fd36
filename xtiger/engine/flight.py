"""Calls under way: opened in order, up to four of one resource at once, halved when refused."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType

from xtiger.domain.errors import (
    AuthorisationError,
    LeaseLost,
    PermanentError,
    TransientError,
    UnknownOutcome,
)
from xtiger.domain.resources import Resource, Verb
from xtiger.engine import recovery
from xtiger.engine.build import TurnsAway
from xtiger.engine.connection import tokens
from xtiger.engine.elements import Ready
from xtiger.engine.services import Services
from xtiger.engine.settle import settle_sent
from xtiger.ports import Answer, Call
from xtiger.store import journal, leases, logs, queue, usage
from xtiger.store.leases import Lease
from xtiger.telemetry import logger

#: Records refused alone with one sentence after which it is taken to be about all of them.
ALIKE = 3
#: What several calls raised is told by the first of these.
_WORST = (LeaseLost, AuthorisationError, UnknownOutcome, TransientError)

log = logger("flight")


@dataclass(frozen=True, slots=True)
class _Sent:
    """One journalled call on its way; for `settle_sent` it is the journal's own row."""

    id: int
    organisation_id: int
    run_id: int | None
    ready: Sequence[Ready]
    elements: Sequence[journal.Meant]
    call: Call
    #: When the lease was renewed for it.
    renewed: datetime

    @property
    def resource(self) -> str:
        return self.call.resource.value

    @property
    def verb(self) -> str:
        return self.call.verb.value

    @property
    def owner_resource(self) -> str | None:
        return self.call.owner.resource.value if self.call.owner else None


@dataclass(slots=True)
class Flight:
    """The calls of one resource of one organisation, while the lease is held.

    1. A call is journalled and committed, then it goes; the next is journalled only once this
       one has its place with Xero's limits. So attempts are opened, and take their places, in
       order; on the wire two calls that are under way may still overtake each other.
    2. Each is settled by its own answer, in a transaction that the fence guards.
    3. A call that Xero refuses as a whole is sent again in two halves, at once and ahead of
       everything younger, until the records that spoil it stand alone. Once three were refused
       alone with the same sentence, and Xero took nothing meanwhile, it is about all of them, and
       nothing is halved any more.
    4. After a failure of another kind no call is started; those under way are waited for. What
       Xero answered with a fault of its own is noted, so that the same comes in halves too.
    """

    services: Services
    lease: Lease
    run_id: int | None
    #: Calls at once.
    most: int
    _pool: ThreadPoolExecutor | None = None
    _flying: set[Future[None]] = field(default_factory=set)
    #: Halves of refused calls; the oldest goes first.
    _halves: list[tuple[Resource, Verb, Sequence[Ready]]] = field(default_factory=list)
    _alone: Counter[str] = field(default_factory=Counter)
    #: Xero took at least one record: what it refuses isn't about all.
    _took: bool = False
    _failures: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Flight:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Waits for what is under way; the worst of all that failed is what ends the drain."""
        if self._flying:
            wait(self._flying)
            self._reap()
        if self._pool is not None:
            self._pool.shutdown()
        failures = [*self._failures, *([error] if error is not None else [])]
        worst = min(failures, key=_weight, default=None)
        for each in self._failures:
            if each is not worst and each is not error:
                log.warning("a call failed besides", exc_info=each)
        if worst is not None and worst is not error:
            raise worst from error

    def send(self, resource: Resource, verb: Verb, ready: Sequence[Ready]) -> None:
        """Starts one call as soon as a place is free. Raises what an earlier one failed with."""
        self._make_room()
        self._send_halves()
        self._start(resource, verb, ready)
        self._send_halves()

    def land(self) -> None:
        """Waits until nothing is under way. Raises what a call failed with."""
        while True:
            if self._flying:
                wait(self._flying)
            self._reap()
            self._raise()
            if not self._halves:
                return
            self._send_halves()

    # -- starting -----------------------------------------------------------------------------

    def _make_room(self) -> None:
        while len(self._flying) >= self.most:
            wait(self._flying, return_when=FIRST_COMPLETED)
            self._reap()
        self._reap()
        self._raise()

    def _send_halves(self) -> None:
        """One after the other, the oldest first: so the fewest calls find what spoils them."""
        while self._halves:
            self._halves.sort(key=lambda half: half[2][0].item.id, reverse=True)
            self._start(*self._halves.pop())
            if self._flying:
                wait(self._flying)
            self._reap()
            self._raise()

    def _start(self, resource: Resource, verb: Verb, ready: Sequence[Ready]) -> None:
        sent = self._open(resource, verb, ready)
        self.services.observe("journalled")
        if self.most == 1:
            self._carry(sent, threading.Event())
            self._raise()
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.most, thread_name_prefix="xtiger-call")
        entered = threading.Event()
        self._flying.add(self._pool.submit(self._carry, sent, entered))
        entered.wait()

    def _open(self, resource: Resource, verb: Verb, ready: Sequence[Ready]) -> _Sent:
        """Writes the call down and commits it."""
        body = b""
        if verb is not Verb.DELETE:
            joined = b",".join(each.data for each in ready)
            body = b'{"%s":[%s]}' % (resource.value.encode(), joined)
        elements = [each.meant(place) for place, each in enumerate(ready)]
        call = Call(
            resource=resource,
            verb=verb,
            body=body,
            idempotency_key=journal.new_key(),
            count=len(ready),
            xero_id=ready[0].xero_id if verb is Verb.DELETE else None,
        )
        now = self.services.clock.now()
        with self.services.database.write() as session:
            leases.renew(session, self.lease, now=now, seconds=self.services.patience.lease)
            attempt_id = journal.open_attempt(
                session,
                self.lease,
                resource=resource,
                verb=verb,
                body=body,
                elements=elements,
                run_id=self.run_id,
                now=now,
                xero_id=call.xero_id,
                key=call.idempotency_key,
            )
            logs.count(session, self.run_id, calls=1)
        where = self.lease.organisation_id
        return _Sent(attempt_id, where, self.run_id, ready, elements, call, now)

    # -- one call, in its own thread where several are under way ----------------------------------

    def _carry(self, sent: _Sent, entered: threading.Event) -> None:
        """Sends and settles one call; what it failed with is kept for whoever started it."""
        try:
            self._call(sent, entered)
        except BaseException as failure:
            self._failures.append(failure)
        finally:
            entered.set()

    def _call(self, sent: _Sent, entered: threading.Event) -> None:
        began = time.monotonic()
        try:
            answer = tokens.call(
                self.services,
                self.lease,
                lambda access: self.services.xero.save_many(
                    replace(access, entered=entered.set), sent.call
                ),
                until=self.services.patience.start_until(sent.renewed),
            )
        except PermanentError as refusal:
            self._refused(sent, refusal)
            return
        except (TransientError, AuthorisationError):
            self._close(sent.id, "not sent")
            raise
        except UnknownOutcome as unknown:
            if unknown.answered:
                self._doubt(sent)
            raise
        self.services.observe("answered")
        self._settle(sent, recovery.believable(answer), round((time.monotonic() - began) * 1000))
        self.services.observe("settled")

    def _refused(self, sent: _Sent, refusal: PermanentError) -> None:
        """Halves a refused call, or fails its records where that can't tell more."""
        if len(sent.ready) == 1:
            self._alone[refusal.sentence] += 1
        about_all = not self._took and self._alone[refusal.sentence] >= ALIKE
        if len(sent.ready) == 1 or about_all:
            recovery.refuse(self.services, self.lease, sent.id, refusal)
            return
        self._close(sent.id, "refused")
        middle = (len(sent.ready) + 1) // 2
        for half in (sent.ready[:middle], sent.ready[middle:]):
            self._halves.append((sent.call.resource, sent.call.verb, half))

    def _doubt(self, sent: _Sent) -> None:
        """Should none of it be found, its records go in calls of half the size next time."""
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            queue.doubt(session, [each.item.id for each in sent.ready])

    def _close(self, attempt_id: int, outcome: str) -> None:
        """Closes a call that did nothing; its items go back when the drain stops."""
        now = self.services.clock.now()
        with self.services.database.write() as session:
            leases.guard(session, self.lease)
            journal.close_by_id(session, attempt_id, outcome=outcome, now=now)

    def _settle(self, sent: _Sent, answer: Answer, duration_ms: int) -> None:
        answers = recovery.claimed(self.services, self.lease, sent.id, answer)
        self._took = self._took or any(each.stored for each in answers)
        now = self.services.clock.now()
        with self.services.database.write() as session:
            usage.guard(
                session, self.lease, day_left=answer.day_left, minute=answer.minute, now=now
            )
            settle_sent(
                session,
                sent,
                sent.elements,
                answers,
                items={each.item.id: each.item for each in sent.ready},
                agreed=[each.agreed for each in sent.ready],
                run_id=self.run_id,
                now=now,
                duration_ms=duration_ms,
            )
            journal.close_by_id(
                session,
                sent.id,
                outcome="settled",
                now=now,
                status=answer.status,
                headers=answer.headers,
                answer=answer.body,
            )

    # -- ending -------------------------------------------------------------------------------

    def _reap(self) -> None:
        self._flying = {one for one in self._flying if not one.done()}

    def _raise(self) -> None:
        """Raises the worst that a call failed with, once none is under way any more."""
        if not self._failures:
            return
        if self._flying:
            wait(self._flying)
            self._reap()
        raise min(self._failures, key=_weight)


def _weight(failure: BaseException) -> int:
    """The smaller, the more it outweighs what else failed; a fault of ours comes first."""
    if isinstance(failure, TurnsAway):
        return len(_WORST) + 1
    kinds = enumerate(_WORST, 1)
    return next((place for place, kind in kinds if isinstance(failure, kind)), 0)

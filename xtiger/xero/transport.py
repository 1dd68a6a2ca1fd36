"""The way to Xero and back: one call's time in all, its bytes, and what a broken call means."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any

from oauthlib.oauth2 import InsecureTransportError, OAuth2Error
from requests import Response
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException, SSLError
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from xtiger.domain import exactjson
from xtiger.domain.errors import PermanentError, TransientError, UnknownOutcome, XTigerError

#: Seconds to reach Xero, and for a whole call from the first byte to the last.
CONNECT_SECONDS = 5.0
CALL_SECONDS = 60.0
#: The largest answer that is read; a page of 1,000 invoices is a tenth of it.
MOST_ANSWER_BYTES = 100_000_000
ASKS_FIRST = "XTiger asks Xero before it sends anything again."
TRIES_AGAIN = "XTiger tries again by itself."


#: All that requests, urllib3, oauthlib and the socket raise when a call fails.
CALL_FAILURES = (RequestException, HTTPError, HTTPException, OAuth2Error, OSError, ValueError)


class TooLarge(OSError):
    """The answer is larger than any that Xero has reason to send."""


@dataclass(slots=True)
class Budget:
    """What a call has left. `until` is in seconds of `time.monotonic()`.

    `sent` turns True just before the first byte of the request leaves: from then on nobody but
    Xero knows what became of it. `bytes_out` and `bytes_in` are headers and bodies as they go
    over the wire, TLS's own part left out.
    """

    until: float
    sent: bool = False
    bytes_out: int = 0
    bytes_in: int = 0

    def seconds_left(self) -> float:
        """More than 0. Raises TimeoutError once the time is over."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the whole call's time is over")
        return left

    @property
    def late(self) -> bool:
        """Whether time, and not the other side, ended the call."""
        return time.monotonic() >= self.until - 0.001


# The libraries between a call and its socket have no place for a budget; a context variable
# reaches through them, and each thread has its own.
_BUDGET: ContextVar[Budget | None] = ContextVar("xtiger_call_budget", default=None)


@contextmanager
def spending(seconds: float) -> Iterator[Budget]:
    """Whatever is sent and received inside has this many seconds in all."""
    budget = Budget(until=time.monotonic() + seconds)
    mark = _BUDGET.set(budget)
    try:
        yield budget
    finally:
        _BUDGET.reset(mark)


class _TimedReader(io.RawIOBase):
    """A socket's bytes; each read gets only what the call has left of time and size.

    A time-out of requests starts anew with each packet, so a server that trickles could hold a
    call for ever.
    """

    def __init__(self, inner: io.RawIOBase, sock: socket.socket, budget: Budget) -> None:
        self._inner = inner
        self._sock = sock
        self._budget = budget

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._inner.fileno()

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._budget.seconds_left())
        count: int | None = self._inner.readinto(buffer)
        self._budget.bytes_in += count or 0
        if self._budget.bytes_in > MOST_ANSWER_BYTES:
            raise TooLarge("the answer is too large")
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()


class _TimedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        budget = _BUDGET.get()
        if budget is not None:
            inner = self.fp.detach()
            self.fp = io.BufferedReader(_TimedReader(inner, sock, budget))


def _before_sending(connection: HTTPConnection, data: Any) -> None:
    """Connects first, so that a failure to connect never counts as sent."""
    budget = _BUDGET.get()
    if budget is None:
        return
    if connection.sock is None:
        connection.connect()
    seconds = budget.seconds_left()
    budget.sent = True
    budget.bytes_out += len(data)  # urllib3 hands over bytes only: it encodes and cuts up before
    if connection.sock is not None:
        connection.sock.settimeout(seconds)


class _TimedConnection(HTTPConnection):
    response_class = _TimedResponse

    def send(self, data: Any) -> None:
        _before_sending(self, data)
        super().send(data)


class _TimedTLSConnection(HTTPSConnection):
    response_class = _TimedResponse

    def send(self, data: Any) -> None:
        _before_sending(self, data)
        super().send(data)


class _TimedPool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TimedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLSConnection


class TimedAdapter(HTTPAdapter):
    """Kept connections (5: Xero takes no more at once) that obey the call's budget.

    Nothing is ever sent twice by itself: a repeated write is recovery's decision.
    """

    def __init__(self) -> None:
        super().__init__(pool_connections=2, pool_maxsize=5, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _TimedPool, "https": _TimedTLSPool}


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, whatever its status. `headers` ignore case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body, None if it is no JSON."""
        try:
            return exactjson.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def told(self) -> Mapping[str, Any]:
        """The body if it is a JSON object, else nothing."""
        body = self.json()
        return body if isinstance(body, dict) else {}


def received(response: Response) -> Reply:
    """Reads the whole body; a small one that unpacks to a huge one is given up."""
    parts: list[bytes] = []
    size = 0
    for part in response.iter_content(65_536):
        size += len(part)
        if size > MOST_ANSWER_BYTES:
            raise TooLarge("the answer is too large")
        parts.append(part)
    return Reply(response.status_code, response.headers, b"".join(parts))


def broken(error: Exception, budget: Budget, host: str, *, writing: bool) -> XTigerError:
    """What a call without a whole answer means; says nothing of the error's own text.

    | the request | write | read |
    | --- | --- | --- |
    | could not be put together | PermanentError | PermanentError |
    | never left: refused, no such host, no connection in time | TransientError | TransientError |
    | left, and the answer is late, cut off or missing | UnknownOutcome | TransientError |
    """
    if not budget.sent:
        if isinstance(error, SSLError):
            return TransientError(
                f"{host} can't prove that it is Xero, so nothing was sent. {TRIES_AGAIN}"
            )
        if isinstance(error, InsecureTransportError):
            return PermanentError(
                f"XTiger calls Xero by https only. The local Xero ({host}) needs the environment"
                " variable OAUTHLIB_INSECURE_TRANSPORT=1; set it nowhere else."
            )
        if isinstance(error, OAuth2Error | ValueError):
            return PermanentError(
                f"The call to Xero ({host}) could not be put together, so nothing was sent."
                " Check Xero's address and the connection on the settings page."
            )
        return TransientError(f"Xero can't be reached ({host}). {TRIES_AGAIN}")
    what = (
        f"Xero ({host}) took too long to answer."
        if budget.late
        else f"The connection to Xero ({host}) broke off before its answer was whole."
    )
    if writing:
        return UnknownOutcome(f"{what} {ASKS_FIRST}")
    return TransientError(f"{what} {TRIES_AGAIN}")

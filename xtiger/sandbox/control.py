"""What tests may ask of the sandbox: hold or spoil answers, and tell what it was sent."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app, request
from werkzeug.wrappers import Response as Answer

from xtiger.sandbox.accounting import refused_by
from xtiger.sandbox.limits import Exceeded
from xtiger.sandbox.wire import Json, day, dumps

if TYPE_CHECKING:
    from xtiger.sandbox.server import Sandbox

_LONGEST_HOLD = 300.0
_HTML = "text/html; charset=utf-8"
blueprint = Blueprint("control", __name__, url_prefix="/_control")


class Kind(StrEnum):
    """What can go wrong with one call."""

    HOLD = "hold"  #: the answer waits for a release or for the client to go away
    STATUS = "status"  #: an HTML page with that status, 500 or 503
    LIMIT = "limit"  #: 429 with that problem: minute, day, concurrent, appminute
    RESET = "reset"  #: the connection is reset
    HALF = "half"  #: the body breaks off in the middle
    SLOW = "slow"  #: the answer comes so many seconds late
    MALFORMED = "malformed"  #: 200, but the JSON is cut short


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault for the next `count` matching calls; empty method or resource match any."""

    kind: Kind
    method: str = ""
    resource: str = ""  #: as in the address, or `token`, `connections`
    tenant: str = ""
    count: int = 1
    after_store: bool = False  #: the call is carried out and kept, then the fault strikes
    status: int = 503
    problem: str = "minute"
    retry_after: int | None = None
    seconds: float = 0.1

    @classmethod
    def read(cls, body: Json) -> Fault:
        """From a test's JSON. Raises ValueError or TypeError."""
        kind = Kind(body["kind"])
        late = kind in (Kind.HOLD, Kind.HALF, Kind.SLOW, Kind.MALFORMED)
        fields: Json = {"after_store": late} | body | {"kind": kind}
        return cls(**fields)

    def fits(self, method: str, resource: str, tenant: str) -> bool:
        return (
            self.method.upper() in ("", method)
            and self.resource.lower() in ("", resource)
            and self.tenant.lower() in ("", tenant)
        )


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

    def take(self, method: str, resource: str, tenant: str) -> Fault | None:
        with self._changed:
            for index, fault in enumerate(self.coming):
                if fault.fits(method, resource, tenant):
                    if fault.count > 1:
                        self.coming[index] = replace(fault, count=fault.count - 1)
                    else:
                        del self.coming[index]
                    return fault
        return None

    def hold(self, what: Json, connection: socket.socket | None) -> bool:
        """Waits for `release`. False if the client went away meanwhile."""
        ends = time.monotonic() + _LONGEST_HOLD
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


class Disturbance:
    """The outermost layer: refuses foreign hosts and plays the faults."""

    def __init__(self, app: Callable[..., Iterable[bytes]], sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "").rpartition(":")
        name = host[0] if host[2].isdigit() else environ.get("HTTP_HOST", "")
        if name.lower() not in ("localhost", "127.0.0.1"):
            refused = Response("This server answers to localhost only.\n", 400)
            return refused(environ, start_response)
        if environ["PATH_INFO"].lower().startswith("/connections"):
            environ["PATH_INFO"] = "/connections" + environ["PATH_INFO"][12:]
        resource = _resource(environ["PATH_INFO"])
        if resource is None:
            return self._app(environ, start_response)
        tenant = environ.get("HTTP_XERO_TENANT_ID", "").strip().lower()
        fault = self._sandbox.faults.take(environ["REQUEST_METHOD"], resource, tenant)
        if resource in ("token", "connections") or not tenant:
            return self._played(fault, environ, start_response, resource)
        with self._sandbox.limits.running(tenant) as exceeded:
            if exceeded:
                environ["sandbox.exceeded"] = exceeded
            return self._played(fault, environ, start_response, resource)

    def _played(
        self, fault: Fault | None, environ: dict[str, Any], start_response: Any, resource: str
    ) -> Iterable[bytes]:
        if fault is None:
            return list(self._app(environ, start_response))
        if not fault.after_store:
            if fault.kind is not Kind.HOLD and fault.kind is not Kind.SLOW:
                self._log(fault, environ, resource)
            if struck := self._struck(fault, environ, resource):
                return struck(environ, start_response)
        answer = Answer.from_app(self._app, environ, buffered=True)
        if fault.after_store:
            if fault.kind is Kind.MALFORMED:
                answer.set_data(answer.get_data()[:-7])
            elif fault.kind is Kind.HALF:
                _break_off(answer, environ)
            elif spoiled := self._struck(fault, environ, resource):
                return spoiled(environ, start_response)
        return answer(environ, start_response)

    def _struck(self, fault: Fault, environ: dict[str, Any], resource: str) -> Response | None:
        """The answer the fault puts in place of the true one, if any."""
        connection: socket.socket | None = environ.get("werkzeug.socket")
        match fault.kind:
            case Kind.HOLD:
                what: Json = {
                    "method": environ["REQUEST_METHOD"],
                    "resource": resource,
                    "stored": fault.after_store,
                    "idempotency_key": environ.get("HTTP_IDEMPOTENCY_KEY"),
                }
                if not self._sandbox.faults.hold(what, connection):
                    raise ConnectionAbortedError("the client went away")
            case Kind.SLOW:
                time.sleep(fault.seconds)
            case Kind.RESET:
                if connection is not None:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                raise ConnectionAbortedError("reset on request")
            case Kind.STATUS:
                text = f"<html><body><h1>{fault.status}</h1></body></html>"
                return Response(text, fault.status, content_type=_HTML)
            case Kind.LIMIT:
                tenant = environ.get("HTTP_XERO_TENANT_ID", "").strip().lower()
                wait = fault.retry_after
                if wait is None and fault.problem in ("minute", "day"):
                    wait = 1
                exceeded = Exceeded(fault.problem, wait)
                return refused_by(exceeded, self._sandbox.limits, tenant)
        return None

    def _log(self, fault: Fault, environ: dict[str, Any], resource: str) -> None:
        status = {Kind.STATUS: fault.status, Kind.LIMIT: 429}.get(fault.kind, 0)
        with self._sandbox.state.transaction():
            self._sandbox.state.log(
                {
                    "time": datetime.fromtimestamp(self._sandbox.state.now(), UTC).isoformat(),
                    "method": environ["REQUEST_METHOD"],
                    "resource": resource,
                    "key": None,
                    "tenant": environ.get("HTTP_XERO_TENANT_ID"),
                    "status": status,
                    "idempotency_key": environ.get("HTTP_IDEMPOTENCY_KEY"),
                    "replayed": False,
                    "elements": [],
                    "fault": fault.kind,
                }
            )


def _break_off(answer: Answer, environ: dict[str, Any]) -> None:
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is not None:
        data = answer.get_data()
        head = f"HTTP/1.1 {answer.status}\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in answer.headers.items()
        )
        connection.sendall(head.encode("latin-1") + b"\r\n" + data[: len(data) // 2])
    raise ConnectionAbortedError("broken off on request")


def _resource(path: str) -> str | None:
    """The resource a fault can name; None for pages and this control itself."""
    parts = path.lower().strip("/").split("/")
    if parts[:2] == ["api.xro", "2.0"] and len(parts) > 2:
        return parts[2]
    if parts[-2:] == ["connect", "token"]:
        return "token"
    return "connections" if parts[0] == "connections" else None


def _sandbox() -> Sandbox:
    sandbox: Sandbox = current_app.extensions["xero_sandbox"]
    return sandbox


def _json(body: object, status: int = 200) -> Response:
    return Response(dumps(body), status, content_type="application/json")


def _asked() -> Any:
    """The JSON sent; other content types are refused, so no foreign web page can send any."""
    return request.get_json()


@blueprint.post("/hold")
def hold() -> Response:
    """`{"method", "resource", "count", "after_store"}`: holds back the next matching answer."""
    return _add([{"kind": "hold"} | _asked()])


@blueprint.post("/faults")
def faults() -> Response:
    """One fault or a list of them: the fields of Fault. An empty list clears what is coming."""
    asked = _asked()
    if asked == []:
        _sandbox().faults.clear()
    return _add(asked if isinstance(asked, list) else [asked])


def _add(asked: list[Json]) -> Response:
    try:
        found = [Fault.read(one) for one in asked]
    except (KeyError, TypeError, ValueError) as error:
        return _json({"error": f"not a fault: {error}"}, 400)
    _sandbox().faults.add(found)
    return _json({"coming": len(_sandbox().faults.coming)})


@blueprint.get("/held")
def held() -> Response:
    """Which answers are being held at this moment."""
    found = list(_sandbox().faults.held.values())
    return _json({"count": len(found), "held": found})


@blueprint.post("/release")
def release() -> Response:
    """Lets all held answers go."""
    return _json({"released": _sandbox().faults.release()})


@blueprint.get("/requests")
def requests() -> Response:
    """The ordered log of accounting calls after sequence `after`."""
    return _json({"requests": _sandbox().state.logged(request.args.get("after", 0, int))})


@blueprint.post("/requests/clear")
def clear_requests() -> Response:
    _sandbox().state.forget_log()
    return _json({})


@blueprint.get("/counts")
def counts() -> Response:
    """Per organisation: objects kept, write calls, replays among further calls, read calls."""
    state = _sandbox().state
    found: Json = {}
    for organisation in state.organisations():
        tenant = organisation.tenant
        calls = state.counters(tenant)
        found[tenant] = {
            "name": organisation.name,
            "contacts": state.count(tenant, "contact"),
            "items": state.count(tenant, "item"),
            "invoices": state.count(tenant, "invoice"),
            "write_calls": calls.get("write_calls", 0),
            "write_replays": calls.get("write_replays", 0),
            "read_calls": calls.get("read_calls", 0),
        }
    return _json(found)


@blueprint.post("/organisations/<tenant>")
def organisation(tenant: str) -> Response:
    """Sets or clears lock dates: `{"PeriodLockDate": "2026-06-30"}` or null."""
    state = _sandbox().state
    if state.organisation(tenant) is None:
        return _json({"error": "no such organisation"}, 404)
    changes: Json = {}
    for name in ("PeriodLockDate", "EndOfYearLockDate"):
        if name in (asked := _asked()):
            found = day(asked[name], name)
            changes[name] = found.isoformat() if found else None
    state.change_organisation(tenant, changes)
    return _json(changes)


@blueprint.post("/tokens/expire")
def expire_tokens() -> Response:
    """Lets every access token end now; with `{"refresh": true}` the refresh tokens too."""
    state = _sandbox().state
    with state.transaction():
        state.expire("access", state.now())
        if (request.get_json(silent=True) or {}).get("refresh"):
            state.expire("refresh", state.now())
    return _json({})

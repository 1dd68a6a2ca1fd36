"""The outermost layer: refuses foreign hosts, plays faults, keeps what went over the wire."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any, NoReturn
from urllib.parse import parse_qs

from flask import Response

from xtiger.sandbox.accounting.api import RESOURCES, refused_by
from xtiger.sandbox.faults import Fault, Kind
from xtiger.sandbox.identity import callers
from xtiger.sandbox.limits import Exceeded
from xtiger.sandbox.records import Exchange
from xtiger.sandbox.shared import Sandbox
from xtiger.sandbox.wire import HTML, JSON, Json, Malformed, dumps, loads

_TEXT = "text/plain; charset=utf-8"
_OFFLINE = "The organisation temporarily cannot be connected to. Try again later."  # own words
_UNAVAILABLE = "The API is currently unavailable. Try again later."  # own words
_CENT = Decimal("0.01")
#: a test strikes its own call by this header, with a fault as JSON or by its name
HEADER = "HTTP_X_SANDBOX_FAULT"
_Environment = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Target:
    """What a call is about; accounting calls have limits and a log."""

    resource: str  #: as in the address, lower case
    key: str | None
    accounting: bool
    tenant: str


@dataclass(slots=True)
class _Told:
    """An answer on its way out."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def code(self) -> int:
        return int(self.status.split(" ", 1)[0])

    def rewrite(self, body: bytes) -> None:
        self.body = body
        self.headers = [one for one in self.headers if one[0].lower() != "content-length"]


class _Gone(ConnectionAbortedError):
    """The connection ends without an answer, or after half of one."""

    def __init__(self, reason: str, code: int = 0, body: bytes = b"") -> None:
        super().__init__(reason)
        self.code, self.body = code, body


class Disturbance:
    """Wraps the application; a call that isn't Xero's passes untouched."""

    def __init__(self, app: Callable[..., Iterable[bytes]], sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    def __call__(self, environ: _Environment, start_response: Any) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "").rpartition(":")
        name = host[0] if host[2].isdigit() else environ.get("HTTP_HOST", "")
        if name.lower() not in ("localhost", "127.0.0.1"):
            refused = Response("This server answers to localhost only.\n", 400)
            return refused(environ, start_response)
        if environ["PATH_INFO"].lower().startswith("/connections"):
            environ["PATH_INFO"] = "/connections" + environ["PATH_INFO"][12:]
        target = _target(environ)
        if target is None:
            return self._app(environ, start_response)
        try:
            told = self._answered(environ, target)
        except _Gone as gone:
            self._kept(environ, target, _Told(str(gone.code), [], gone.body))
            raise
        self._kept(environ, target, told)
        start_response(told.status, told.headers)
        return [told.body]

    # one call

    def _answered(self, environ: _Environment, target: _Target) -> _Told:
        try:
            fault, by = self._meant(environ, target)
        except ValueError as error:
            return _asked(Response(f"not a fault: {error}\n", 400, content_type=_TEXT), environ)
        if fault is not None:
            environ["sandbox.fault"] = {
                "kind": fault.kind,
                "by": by,
                "after_store": fault.after_store,
            }
        tenant = self._whose(environ, target)
        running = self._sandbox.limits.running(tenant) if tenant else nullcontext(None)
        with running as exceeded:
            if exceeded:
                environ["sandbox.exceeded"] = exceeded
            return self._played(fault, environ, target)

    def _whose(self, environ: _Environment, target: _Target) -> str:
        """Whose calls at once it adds to; a custom connection may leave the header out."""
        if not target.accounting:
            return ""
        if target.tenant:
            return target.tenant
        token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")[2].strip()
        found = self._sandbox.state.grants.get("access", token)
        return str(found[1].get("tenant") or "") if found else ""

    def _meant(self, environ: _Environment, target: _Target) -> tuple[Fault | None, str]:
        """The fault that strikes this call, and who wanted it. Raises for a header unread."""
        if given := environ.get(HEADER, "").strip():
            return Fault.read(json.loads(given) if given[0] == "{" else {"kind": given}), "header"
        method = environ["REQUEST_METHOD"]
        body = b""
        if self._sandbox.faults.reads_bodies():
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
        if fault := self._sandbox.faults.take(method, target.resource, target.tenant, body):
            return fault, "order"
        return (self._sandbox.dial.strike() if target.accounting else None), "dial"

    def _played(self, fault: Fault | None, environ: _Environment, target: _Target) -> _Told:
        if fault is None:
            return _asked(self._app, environ)
        if not fault.after_store:
            struck = self._struck(fault, environ, target)
            return struck or _asked(self._app, environ)
        told = _asked(self._app, environ)
        match fault.kind:
            case Kind.MALFORMED:
                told.rewrite(told.body[:-7])
            case Kind.HALF:
                self._break_off(told, environ)
            case Kind.DIFFERS:
                told.rewrite(_differing(told.body, fault.differs))
        return self._struck(fault, environ, target) or told

    def _struck(self, fault: Fault, environ: _Environment, target: _Target) -> _Told | None:
        """The answer that the fault puts in place of the true one, if any."""
        answer: Response | None = None
        match fault.kind:
            case Kind.HOLD:
                self._hold(fault, environ, target)
            case Kind.SLOW:
                time.sleep(fault.seconds)
            case Kind.RESET:
                self._reset(environ)
            case Kind.STATUS if fault.plain:
                words = _UNAVAILABLE if fault.status == 503 else "An error occurred in Xero."
                answer = Response(words, fault.status, content_type=_TEXT)
            case Kind.STATUS:
                page = f"<html><body><h1>{fault.status}</h1></body></html>"
                answer = Response(page, fault.status, content_type=HTML)
            case Kind.OFFLINE:
                answer = Response(_OFFLINE, 503, content_type=_TEXT)
            case Kind.EMPTY:
                kind = JSON if fault.status == 200 else HTML
                answer = Response(b"", fault.status, content_type=kind)
            case Kind.ELEMENTS:
                answer = Response(dumps(_NO_ELEMENTS), 400, content_type=JSON)
            case Kind.SCOPE:
                answer = callers.unauthorised("AuthorizationUnsuccessful")
            case Kind.LIMIT:
                wait = fault.retry_after
                if wait is None and fault.problem in ("minute", "day"):
                    wait = 1
                exceeded = Exceeded(fault.problem, None if fault.silent else wait)
                answer = refused_by(exceeded, self._sandbox.limits, target.tenant)
            case Kind.EXPIRED | Kind.REVOKED | Kind.REMOVED | Kind.LOCKED:
                self._changed(fault, environ, target)
        return None if answer is None else _asked(answer, environ)

    def _changed(self, fault: Fault, environ: _Environment, target: _Target) -> None:
        """Changes what the sandbox keeps; the application then answers by itself."""
        state = self._sandbox.state
        token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")[2].strip()
        kind = "access"
        if target.resource == "token":
            form = parse_qs(_body(environ).decode("utf-8", "replace"))
            kind, token = "refresh", form.get("refresh_token", [""])[0]
        with state.transaction():
            found = state.grants.get(kind, token)
            tenant = target.tenant or str((found[1] if found else {}).get("tenant") or "")
            if fault.kind is Kind.LOCKED and state.organisation(tenant):
                today = datetime.fromtimestamp(state.now(), UTC).date().isoformat()
                state.change_organisation(tenant, {"PeriodLockDate": fault.until or today})
            elif fault.kind is Kind.REMOVED:
                callers.disconnect(state, tenant)
            elif found and fault.kind is Kind.REVOKED:
                callers.end_consent(state, found[1]["event"])
            elif found and fault.kind is Kind.EXPIRED:
                state.grants.keep(kind, token, min(found[0], state.now()), found[1])

    def _hold(self, fault: Fault, environ: _Environment, target: _Target) -> None:
        what: Json = {
            "method": environ["REQUEST_METHOD"],
            "resource": target.resource,
            "stored": fault.after_store,
            "idempotency_key": environ.get("HTTP_IDEMPOTENCY_KEY"),
        }
        if not self._sandbox.faults.hold(what, environ.get("werkzeug.socket")):
            raise _Gone("the client went away")

    @staticmethod
    def _reset(environ: _Environment) -> NoReturn:
        connection: socket.socket | None = environ.get("werkzeug.socket")
        if connection is not None:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise _Gone("reset on request")

    @staticmethod
    def _break_off(told: _Told, environ: _Environment) -> NoReturn:
        connection: socket.socket | None = environ.get("werkzeug.socket")
        half = told.body[: len(told.body) // 2]
        if connection is not None:
            names = {name.lower() for name, _ in told.headers}
            headers = list(told.headers)
            if "content-length" not in names:
                headers.append(("Content-Length", str(len(told.body))))
            head = "".join(f"{name}: {value}\r\n" for name, value in headers)
            connection.sendall(f"HTTP/1.1 {told.status}\r\n{head}\r\n".encode("latin-1") + half)
        raise _Gone("broken off on request", told.code, half)

    # what is kept of it

    def _kept(self, environ: _Environment, target: _Target, told: _Told) -> None:
        state, fault = self._sandbox.state, environ.get("sandbox.fault")
        if target.accounting and "sandbox.sequence" not in environ:
            with state.transaction():
                environ["sandbox.sequence"] = state.diary.log(
                    self._entry(environ, target, told.code)
                )
        recorder = self._sandbox.recorder
        if not target.accounting and recorder is None:
            return
        exchange = Exchange(
            time=datetime.fromtimestamp(state.now(), UTC).isoformat(),
            method=environ["REQUEST_METHOD"],
            path=environ.get("RAW_URI") or environ["PATH_INFO"],
            request_headers=tuple(_headers(environ)),
            request=_body(environ),
            status=told.code,
            answer_headers=tuple(told.headers),
            answer=told.body,
            fault=fault and str(fault["kind"]),
            private=target.resource in _PRIVATE and not target.accounting,
        )
        if target.accounting:
            self._sandbox.shelf.keep(environ["sandbox.sequence"], exchange)
        if recorder is not None:
            recorder.keep(exchange)

    def _entry(self, environ: _Environment, target: _Target, status: int) -> Json:
        """The log's line of a call that the Accounting API didn't come to answer."""
        fault = environ.get("sandbox.fault") or {}
        return {
            "time": datetime.fromtimestamp(self._sandbox.state.now(), UTC).isoformat(),
            "method": environ["REQUEST_METHOD"],
            "resource": _plural(target.resource),
            "key": target.key,
            "tenant": target.tenant or None,
            "status": status,
            "idempotency_key": environ.get("HTTP_IDEMPOTENCY_KEY"),
            "replayed": False,
            "elements": [],
            "fault": fault.get("kind"),
            "struck": fault or None,
        }


_NO_ELEMENTS = {
    "ErrorNumber": 10,
    "Type": "ValidationException",
    "Message": "A validation exception occurred",
    "Elements": [],
}
_PRIVATE = frozenset({"token", "revocation", "authorize"})


def _asked(app: Callable[..., Iterable[bytes]], environ: _Environment) -> _Told:
    caught: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
        caught[:] = [status, headers]
        return lambda data: None

    parts = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    return _Told(caught[0], list(caught[1]), body)


def _target(environ: _Environment) -> _Target | None:
    """What a fault or a record can name; None for pages and the control."""
    parts = environ["PATH_INFO"].lower().strip("/").split("/")
    tenant = environ.get("HTTP_XERO_TENANT_ID", "").strip().lower()
    if parts[:2] == ["api.xro", "2.0"] and len(parts) > 2:
        key = "/".join(environ["PATH_INFO"].strip("/").split("/")[3:])
        return _Target(parts[2], key or None, True, tenant)
    if parts[-2:-1] == ["connect"] and parts[-1] in _PRIVATE:
        return _Target(parts[-1], None, False, tenant)
    return _Target("connections", None, False, tenant) if parts[0] == "connections" else None


def _plural(resource: str) -> str:
    known = RESOURCES.get(resource)
    return known.plural if known else resource


def _body(environ: _Environment) -> bytes:
    """What was sent; the server has read all of it."""
    stream = environ["wsgi.input"]
    return stream.getvalue() if isinstance(stream, BytesIO) else b""


def _headers(environ: _Environment) -> Iterable[tuple[str, str]]:
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            yield name[5:].replace("_", "-").title(), value
        elif name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield name.replace("_", "-").title(), value


def _differing(body: bytes, how: str) -> bytes:
    """The answer with its first element's total off by a cent, with another status, or without
    its last element. Bodies of another shape stay as they are."""
    try:
        found = loads(body)
    except Malformed:
        return body
    if not isinstance(found, dict):
        return body
    members = next((v for v in found.values() if isinstance(v, list) and v), None)
    if members is None or not isinstance(members[0], dict):
        return body
    first = members[0]
    if how == "missing":
        members.pop()
    elif how == "status":
        name = next((one for one in ("Status", "ContactStatus") if one in first), None)
        if name:
            first[name] = "DRAFT" if first[name] != "DRAFT" else "SUBMITTED"
    else:
        name = next((one for one in ("Total", "Amount") if one in first), None)
        if name:
            first[name] = Decimal(first[name]) + _CENT
    return dumps(found)

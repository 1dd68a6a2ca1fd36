"""The sandbox as a process or thread: one HTTP server on the loopback interface."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from xtiger.sandbox import control
from xtiger.sandbox.accounting import api
from xtiger.sandbox.disturbance import Disturbance
from xtiger.sandbox.identity import connections, consent, tokens
from xtiger.sandbox.kept.state import State
from xtiger.sandbox.limits import Limits
from xtiger.sandbox.people import calls, pages, panel
from xtiger.sandbox.records import Recorder
from xtiger.sandbox.shared import Sandbox, named
from xtiger.sandbox.webhooks import EVERY, Webhooks

_PARTS = (consent, tokens, connections, api, control, pages, panel, calls)
logger = logging.getLogger(__name__)


def create_app(
    state: State,
    *,
    client_id: str | None = None,
    client_secret: str | None = None,
    time_factor: float = 1.0,
    auto_consent: bool = False,
    enforce_limits: bool = False,
    day_limit: int = 5000,
    minute_limit: int = 60,
    broad_scopes: bool = False,
    custom: str = "",
    plain: bool = False,
    record: str | Path | None = None,
) -> Flask:
    """The WSGI application. `time_factor` scales the memory of idempotency keys, the grace of
    replaced refresh tokens, the windows of limits and the gaps between deliveries of webhooks;
    tokens and codes keep their life."""
    app = Flask(__name__, static_folder="people/static", static_url_path="/_static")
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.config["MAX_CONTENT_LENGTH"] = 26 * 1024 * 1024
    sandbox = Sandbox(
        state=state,
        client_id=client_id or state.secret("client id", 16).upper(),
        client_secret=client_secret or state.secret("client secret"),
        limits=Limits(
            enforced=enforce_limits,
            day=day_limit,
            minute=minute_limit,
            time_factor=time_factor,
            clock=state.now,
        ),
        webhooks=Webhooks(
            state,
            {one.kind: one.plural for one in api.RESOURCES.values()},
            time_factor=time_factor,
        ),
        time_factor=time_factor,
        auto_consent=auto_consent,
        broad_scopes=broad_scopes,
        custom=custom,
        plain=plain,
        recorder=Recorder(record) if record else None,
    )
    app.extensions["xero_sandbox"] = sandbox
    for part in _PARTS:
        app.register_blueprint(part.blueprint)
    app.after_request(pages.guarded)
    app.wsgi_app = Disturbance(app.wsgi_app, sandbox)  # type: ignore[method-assign]
    return app


class _Handler(WSGIRequestHandler):
    """HTTP/1.1 with keep-alive; headers and body leave in one send.

    Two writes would stall a keep-alive client for 40 ms each time: its delayed ACK waits for the
    second segment, which waits for the ACK.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def run_wsgi(self) -> None:
        if self.headers.get("Expect", "").lower().strip() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.environ = environ = self.make_environ()
        self._take_body(environ)
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            answer[:] = [status, headers]
            return lambda data: None

        try:
            parts = self.server.app(environ, start_response)
            body = b"".join(parts)
            if hasattr(parts, "close"):
                parts.close()
        except ConnectionError:
            self.close_connection = True
            return
        except Exception:
            logger.exception("%s %s", self.command, self.path)
            answer[:] = ["500 INTERNAL SERVER ERROR", [("Content-Type", "text/html")]]
            body = b"<html><body><h1>500</h1></body></html>"
        self._send(answer[0], answer[1], body)

    def _take_body(self, environ: dict[str, Any]) -> None:
        """Reads the whole body, so that the next request on this connection starts clean."""
        if environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read()
            environ["CONTENT_LENGTH"] = str(len(body))
        else:
            try:
                body = self.rfile.read(max(0, int(environ.get("CONTENT_LENGTH") or 0)))
            except ValueError:
                body, self.close_connection = b"", True
        environ["wsgi.input"] = io.BytesIO(body)

    def _send(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        code = int(status.split(" ", 1)[0])
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
        names = {name.lower() for name, _ in headers}
        if "content-length" not in names and code not in (204, 304):
            lines.append(f"Content-Length: {len(body)}")
        lines.append(f"Date: {formatdate(usegmt=True)}")
        if self.close_connection:
            lines.append("Connection: close")
        if self.command == "HEAD":
            body = b""
        self.log_request(code, len(body))
        self.wfile.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if self.server.verbose:
            sys.stderr.write(f"{self.command} {self.path} {code} {size}\n")

    def log(self, type: str, message: str, *args: Any) -> None:
        logger.warning(message, *args)


class _Server(ThreadedWSGIServer):
    """A thread per connection; knows its open connections so that it can end them."""

    def __init__(self, port: int, app: Flask, *, verbose: bool) -> None:
        self.verbose = verbose
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        # bound here because the base class ends the process when the port is taken
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
            super().__init__(
                "127.0.0.1", listener.getsockname()[1], app, _Handler, fd=listener.fileno()
            )

    def opened(self, connection: socket.socket) -> None:
        with self._guard:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._guard:
            self._open.discard(connection)

    def end_connections(self) -> None:
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Running:
    """A sandbox that is listening, in a thread of this process. Also a context manager."""

    def __init__(self, app: Flask, port: int, *, verbose: bool = False) -> None:
        self.app = app
        self._sandbox: Sandbox = app.extensions["xero_sandbox"]
        self._server = _Server(port, app, verbose=verbose)
        self.port = int(self._server.server_address[1])
        self.identity_url = self.api_url = f"http://localhost:{self.port}"
        self._sandbox.webhooks.base = self.api_url
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    @property
    def client_id(self) -> str:
        return self._sandbox.client_id

    @property
    def client_secret(self) -> str:
        return self._sandbox.client_secret

    @property
    def organisations(self) -> list[dict[str, str]]:
        """`tenant_id`, `name`, `country`, `currency` of each organisation."""
        return [
            {
                "tenant_id": one.tenant,
                "name": one.name,
                "country": str(one.body["CountryCode"]),
                "currency": one.currency,
            }
            for one in self._sandbox.state.organisations()
        ]

    def described(self) -> dict[str, object]:
        """What `--json` prints."""
        told: dict[str, object] = {
            "identity_url": self.identity_url,
            "api_url": self.api_url,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "organisations": self.organisations,
        }
        return told | ({"webhook_key": self.webhook_key} if self.webhook_key else {})

    @property
    def webhook_key(self) -> str:
        """The key of the subscription to every organisation, empty without one."""
        found = self._sandbox.webhooks.subscriptions()
        return next((one.key for one in found if one.owner == EVERY), "")

    def stop(self) -> None:
        """Stops listening, ends open connections and closes the state."""
        self._sandbox.faults.release()
        self._sandbox.webhooks.stop()
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join(5)
        with self._sandbox.state.transaction():
            pass  # waits for a request that is still being stored
        self._sandbox.state.close()
        if self._sandbox.recorder is not None:
            self._sandbox.recorder.close()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start(
    port: int = 0,
    state: str | Path | None = None,
    time_factor: float = 1.0,
    *,
    client_id: str | None = None,
    client_secret: str | None = None,
    auto_consent: bool = False,
    enforce_limits: bool = False,
    day_limit: int = 5000,
    minute_limit: int = 60,
    clock: Callable[[], float] = time.time,
    countries: Sequence[str] = (),
    broad_scopes: bool = False,
    custom: str = "",
    plain: bool = False,
    record: str | Path | None = None,
    dial: float = 0,
    dial_kinds: Iterable[str] = (),
    dial_seed: int = 0,
    webhook_url: str = "",
    webhook_key: str = "",
    verbose: bool = False,
) -> Running:
    """Starts a sandbox in a thread; it listens when this returns.

    `port` 0 takes any free one; `state` is the path of its database, None keeps it in memory.
    `clock` gives seconds since 1970: all that expires, dates or is counted by the minute follows
    it. `countries` (NZ, GB, AU, US) are the organisations that a new state begins with and that an
    older one gets besides its own; nobody asking, a new one has NZ and GB.

    `broad_scopes` is for an app made before March 2026; `custom` names the organisation of a
    custom connection. `dial` is the per cent of accounting calls that meet a fault. A receiver
    at `webhook_url` is told about every organisation. `plain` keeps and answers writes unread.
    `record` is a folder for all that goes over the wire; without it the environment's
    XTIGER_SANDBOX_RECORD counts.

    Raises OSError if the port is taken, ValueError for what can't be set or used.
    """
    store = State(state, clock, countries)
    if custom and not any(custom in named(one) for one in store.organisations()):
        store.close()
        raise ValueError(f"no organisation is called {custom}")
    try:
        app = create_app(
            store,
            client_id=client_id,
            client_secret=client_secret,
            time_factor=time_factor,
            auto_consent=auto_consent,
            enforce_limits=enforce_limits,
            day_limit=day_limit,
            minute_limit=minute_limit,
            broad_scopes=broad_scopes,
            custom=custom,
            plain=plain,
            # what plain mode answers is no evidence of anything, so only who asks gets it recorded
            record=record or (None if plain else os.environ.get("XTIGER_SANDBOX_RECORD")),
        )
    except OSError as error:
        store.close()
        raise ValueError(f"The folder {error.filename} can't be used: {error.strerror}.") from None
    except BaseException:
        store.close()
        raise
    sandbox: Sandbox = app.extensions["xero_sandbox"]
    try:
        sandbox.dial.set(dial, dial_kinds, dial_seed)
        running = Running(app, port, verbose=verbose)
    except BaseException:
        sandbox.webhooks.stop()
        store.close()
        raise
    try:
        # events name the port, so the receiver is asked only now
        if webhook_url:
            sandbox.webhooks.subscribe(EVERY, webhook_url, webhook_key)
    except BaseException:
        running.stop()
        raise
    return running


def told_to_end() -> threading.Event:
    """Set from now on by SIGTERM or SIGINT."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    return told

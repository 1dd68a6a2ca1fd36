"""Structured logs without secrets, and the figures of this process for Prometheus."""

from __future__ import annotations

import hmac
import logging
import re
import sys
import time
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

_SECRET_NAMES = re.compile(
    r"(token|secret|password|authorization|cookie|code_verifier|keys?$)", re.I
)
_BEARER = re.compile(r"(Bearer|Basic)\s+[\w.~+/=-]+", re.I)
#: The logger above all of ours.
_ROOT = "xtiger"


def hide(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blanks whatever is named or looks like a secret, in every log line."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = "[hidden]"
        elif isinstance(value, str):
            event[name] = _BEARER.sub(r"\1 [hidden]", value)
    return event


class _Line(logging.Formatter):
    """One line an event, whoever wrote it: in standalone Flask's own log is ours, too."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        return _BEARER.sub(r"\1 [hidden]", super().format(record)).replace("\n", "\\n")


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment, whoever redirected it meanwhile."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure(*, verbose: bool = False) -> None:
    """Standalone logging: one line an event on stderr. A host keeps its own."""
    # A tick that comes while the last one still works is left out; that is as it should be.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    lines = _Stderr()
    lines.setFormatter(_Line())
    ours = logging.getLogger(_ROOT)
    ours.handlers = [lines]
    ours.setLevel(logging.DEBUG if verbose else logging.INFO)
    ours.propagate = False


class _Part(structlog.stdlib.BoundLogger):
    """Says what was raised within its own line; Python's logging would add it unhidden."""

    def exception(self, event: str | None = None, *args: Any, **values: Any) -> None:
        self.error(event, *args, **{"exc_info": True, **values})


def configure_if_unset() -> None:
    """The standalone way for a process of a host that has set up no logging at all.

    Python's own last resort prints warnings alone, without time and part.
    """
    if not logging.getLogger(_ROOT).hasHandlers():
        configure()


def logger(name: str) -> Any:
    """The log of one part of the program: one line an event, in Python's own logging.

    What is written doesn't hang on how a host has set up structlog, whose own way to print an
    exception shows the values of variables, tokens among them.
    """
    return structlog.wrap_logger(
        logging.getLogger(f"{_ROOT}.{name}"),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            hide,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=_Part,
        context_class=dict,
        cache_logger_on_first_use=True,
    )


#: The counters of this process, apart from those a host may have.
FIGURES = CollectorRegistry()
_CALLS = Counter(
    "xtiger_calls",
    "Calls to Xero of this process, by the answer's status; lost: none came.",
    ("kind", "outcome"),
    registry=FIGURES,
)
_CALL_SECONDS = Histogram(
    "xtiger_call_seconds",
    "Seconds from a call to Xero to its whole answer.",
    ("kind",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60),
    registry=FIGURES,
)


def count_call(kind: str, outcome: str, seconds: float) -> None:
    """Counts one call that went out; `kind` is write or read, `outcome` a status or `lost`."""
    _CALLS.labels(kind, outcome).inc()
    _CALL_SECONDS.labels(kind).observe(seconds)


def may_read_figures(
    token: str, *, authorization: str, address: str, host: str, forwarded: bool, site: str
) -> bool:
    """Whether somebody may read the figures: by the token, or without one from this machine.

    `address` is the peer's, `host` the request's Host header, `forwarded` whether a proxy passed
    the request on, `site` the host that people reach the server under: a proxy on this machine,
    which may say nothing of itself, must not open them to the world.
    """
    if token:
        return hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())
    names = {"127.0.0.1", "::1", "localhost"}
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    here = address in {"127.0.0.1", "::1"} and name.strip("[]") in names
    return here and site in names and not forwarded

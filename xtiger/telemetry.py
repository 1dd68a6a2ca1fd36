"""Structured logs without secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(
    r"(token|secret|password|authorization|cookie|code_verifier|keys?$)", re.I
)
_BEARER = re.compile(r"(Bearer|Basic)\s+[\w.~+/=-]+", re.I)


def hide(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blanks whatever is named or looks like a secret, in every log line."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = "[hidden]"
        elif isinstance(value, str):
            event[name] = _BEARER.sub(r"\1 [hidden]", value)
    return event


def configure(*, verbose: bool = False) -> None:
    """Standalone logging: one line an event on stderr. A host keeps its own."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            hide,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def logger(name: str) -> Any:
    """The log of one part of the program."""
    return structlog.get_logger(part=name)

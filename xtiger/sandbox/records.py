"""What went over the wire: the last calls for people, and on request every call in a file."""

from __future__ import annotations

import base64
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from xtiger.sandbox.wire import Json, Malformed, dumps, loads

#: an exchange larger than this is recorded by its sizes alone
_LARGEST = 2_000_000
#: bytes of bodies that are kept for people, newest calls first
_SHELF = 16_000_000
_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-xero-signature"}
)
#: form and JSON fields of the token endpoints
_SECRETS = frozenset(
    {
        "access_token",
        "client_secret",
        "code",
        "code_verifier",
        "id_token",
        "refresh_token",
        "ticket",
        "token",
    }
)
_HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call and its answer; `status` 0 where there was none."""

    time: str
    method: str
    path: str  #: with its query, as it was sent
    request_headers: tuple[tuple[str, str], ...]
    request: bytes
    status: int
    answer_headers: tuple[tuple[str, str], ...]
    answer: bytes
    fault: str | None
    private: bool  #: it may carry tokens


class Shelf:
    """The bodies of the last accounting calls, by their number in the log, in memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Exchange] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def keep(self, sequence: int, exchange: Exchange) -> None:
        with self._lock:
            self._kept[sequence] = exchange
            self._size += _size(exchange)
            while self._size > _SHELF and self._kept:
                _, gone = self._kept.popitem(last=False)
                self._size -= _size(gone)

    def get(self, sequence: int) -> Exchange | None:
        with self._lock:
            return self._kept.get(sequence)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._size = 0


def _size(exchange: Exchange) -> int:
    return len(exchange.request) + len(exchange.answer) + 1000


class Recorder:
    """Appends every exchange as a JSON line to this process's own file in a folder."""

    def __init__(self, folder: str | Path) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.path = Path(folder) / f"{os.getpid()}.jsonl"
        # one write per line to a file opened for appending: sandboxes may share it
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()

    def keep(self, exchange: Exchange) -> None:
        line = dumps(described(exchange)) + b"\n"
        with self._lock:
            if self._file >= 0:
                os.write(self._file, line)

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


def described(exchange: Exchange) -> Json:
    """An exchange as a line of the record: no tokens, text as text, other bytes as base64."""
    found: Json = {
        "time": exchange.time,
        "pid": os.getpid(),
        "method": exchange.method,
        "path": exchange.path,
        "request_headers": _headers(exchange.request_headers),
        "request_size": len(exchange.request),
        "status": exchange.status,
        "answer_headers": _headers(exchange.answer_headers),
        "answer_size": len(exchange.answer),
        "fault": exchange.fault,
    }
    if len(exchange.request) + len(exchange.answer) > _LARGEST:
        return found
    bodies = (("request", exchange.request), ("answer", exchange.answer))
    for name, data in bodies:
        if exchange.private:
            found[name] = _without_secrets(data)
            continue
        try:
            found[name] = data.decode()
        except UnicodeDecodeError:
            found[f"{name}_base64"] = base64.b64encode(data).decode()
    return found


def _headers(headers: Iterable[tuple[str, str]]) -> Json:
    shown: Json = {}
    for name, value in headers:
        if name.lower() in _SECRET_HEADERS:
            continue
        if name.lower() == "location":
            value = re.sub(r"\bcode=[^&]*", f"code={_HIDDEN}", value)
        shown[name.lower()] = value
    return shown


def _without_secrets(data: bytes) -> str | None:
    """Forms and JSON with their secrets hidden; a page isn't shown at all."""
    words = data.decode("utf-8", "replace")
    if not words.strip():
        return words
    if words.lstrip().startswith(("{", "[")):
        try:
            found = loads(words)
        except Malformed:
            return None
        if isinstance(found, dict):
            found = {k: _HIDDEN if k.lower() in _SECRETS else v for k, v in found.items()}
        return dumps(found).decode()
    if words.lstrip().startswith("<"):
        return None
    return urlencode(
        [
            (name, _HIDDEN if name.lower() in _SECRETS else value)
            for name, value in parse_qsl(words, keep_blank_values=True)
        ]
    )

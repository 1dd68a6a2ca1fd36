"""A server that does with each request what a test wants, and a clock that only notes its waits."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import BinaryIO


class StillClock:
    """The machine's time; sleeping is only noted, and time moves on by it."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=sum(self.slept))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


Act = Callable[[socket.socket], None]


class Played:
    """Takes connections on loopback; each request gets the next act, the last one for ever."""

    def __init__(self, *acts: Act, context: ssl.SSLContext | None = None) -> None:
        self.acts = list(acts)
        self.requests: list[bytes] = []
        self.connections = 0
        self._context = context
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"http{'s' if context else ''}://localhost:{port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            connection.settimeout(20)
            with connection, connection.makefile("rb") as stream:
                while request := self._read(stream):
                    self.requests.append(request)
                    act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
                    act(connection)
        except OSError:
            return

    @staticmethod
    def _read(stream: BinaryIO) -> bytes:
        head, length = b"", 0
        while line := stream.readline():
            head += line
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            if line == b"\r\n":
                return head + stream.read(length)
        return b""

    def stop(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # closing alone leaves accept() waiting
        self._listener.close()


@contextmanager
def playing(*acts: Act, context: ssl.SSLContext | None = None) -> Iterator[Played]:
    server = Played(*acts, context=context)
    try:
        yield server
    finally:
        server.stop()


def answers(status: int, body: bytes | str | object = b"", **headers: str) -> Act:
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return sends("\r\n".join(lines).encode() + b"\r\n\r\n" + data)


def sends(data: bytes) -> Act:
    return lambda connection: connection.sendall(data)


def hangs_up(after: bytes = b"") -> Act:
    def act(connection: socket.socket) -> None:
        connection.sendall(after)
        raise ConnectionAbortedError

    return act


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionAbortedError


def trickles(head: bytes, *, step: float = 0.05) -> Act:
    """Never lets a read time out: a byte each moment, for ever."""

    def act(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(400):
            time.sleep(step)
            connection.sendall(b"x")

    return act

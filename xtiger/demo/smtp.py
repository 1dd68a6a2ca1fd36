"""A mail server that keeps every letter as a file and sends none; for demo and checks only."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click
from aiosmtpd.controller import Controller


class Sink:
    """Writes each letter to the folder, numbered in the order of arrival."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        with self._lock:
            number = len(list(self._folder.glob("*.eml"))) + 1
            # Whoever looks meanwhile sees whole letters only.
            part = self._folder / f"{number:05}.part"
            part.write_bytes(envelope.content)
            part.rename(part.with_suffix(".eml"))
        return "250 kept"


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
def main(port: int, folder: Path) -> None:
    """Listens on loopback until it is told to end; prints one JSON line when ready."""
    controller = Controller(Sink(folder), hostname="127.0.0.1", port=port)
    controller.start()
    print(json.dumps({"port": port, "folder": str(folder)}), flush=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    controller.stop()
    sys.exit(0)


if __name__ == "__main__":
    main()

"""`make bench`: one JSON document of ratios, each measured in this run, and what it is made of."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from typing import Any

#: Letter, module, and the sizes of a quick look.
PARTS: dict[str, tuple[str, dict[str, int]]] = {
    "a": ("writes", {"records": 400}),
    "b": ("pacing", {"records": 4000}),
    "c": ("percall", {"calls": 6, "repeats": 2}),
    "d": ("history", {"ended": 20_000, "added": 5000, "chunk": 200, "rounds": 3}),
    "e": ("peers", {"records": 200, "batched": 100, "alone": 10, "turns": 1, "jobs": 500}),
    "f": ("memory", {"records": 2000}),
    "g": ("pages", {"rows": 20_000}),
    "h": ("mapping", {"rounds": 10}),
}


def main(arguments: list[str] | None = None) -> int:
    """Measures the named parts, all without a name; 1 where a bound is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all without one")
    parser.add_argument("--small", action="store_true", help="sizes of a quick look")
    parser.add_argument(
        "--set",
        dest="sizes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one size of the named parts, such as records=1000 or kind=postgresql",
    )
    given = parser.parse_args(arguments)
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"There is no part {', '.join(unknown)}; choose of {', '.join(PARTS)}.")
    sizes = dict(one.split("=", 1) for one in given.sizes)
    figures: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}"
    }
    holds = True
    for part in given.parts or PARTS:
        name, small = PARTS[part]
        began = time.monotonic()
        print(f"{part}: {name} …", file=sys.stderr, flush=True)
        found = measured(name, (small if given.small else {}) | _typed(sizes))
        found["took seconds"] = round(time.monotonic() - began, 1)
        figures[part] = found
        holds = holds and bool(found["holds"])
    figures["holds"] = holds
    print(json.dumps(figures, indent=2, ensure_ascii=False))
    return 0 if holds else 1


def measured(name: str, sizes: dict[str, Any]) -> dict[str, Any]:
    """The figures of one part."""
    part = importlib.import_module(f"tests.benchmarks.{name}")
    found: dict[str, Any] = part.measure(**sizes)
    return found


def _typed(sizes: dict[str, str]) -> dict[str, Any]:
    return {name: int(value) if value.isdigit() else value for name, value in sizes.items()}


if __name__ == "__main__":
    sys.exit(main())

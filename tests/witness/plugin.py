"""Collects the exchanges of a whole run, checks them at its end, and prints the figures.

Every local Xero of the run, in this process or another, writes what it was asked and answered
into one folder. At the end each exchange is held against our own shapes and laws, and against
Xero's OpenAPI description where `XTIGER_XERO_OPENAPI` names it. A fault fails the run.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.witness import laws, openapi, shapes

_FOLDER = "XTIGER_SANDBOX_RECORD"
_SHOWN = 20


class Exchange:
    """One call and its answer as the local Xero recorded them."""

    def __init__(self, line: str) -> None:
        told = json.loads(line)
        self.method: str = told["method"]
        self.path: str = told["path"].partition("?")[0]
        self.status: int = told["status"]
        self.fault: str = told.get("fault") or ""
        self.ours = str(told["request_headers"].get("user-agent", "")).startswith("XTiger/")
        self.asked = _json(told.get("request") or "")
        self.text: str = told.get("answer") or ""
        self.answered = _json(self.text)

    @property
    def place(self) -> str:
        """Which of the shapes it belongs to."""
        if self.status >= 400:
            return "refused"
        return "read" if self.method in ("GET", "HEAD") else "written"


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError:
        return None


def exchanges(folder: Path) -> Iterator[Exchange]:
    """Everything recorded so far; an exchange that a killed process cut short is left out."""
    for file in sorted(folder.glob("*.jsonl")):
        with file.open() as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield Exchange(line)


class Verdict:
    """What the exchanges of a run came to."""

    def __init__(self) -> None:
        self.answers = self.described = self.bodies = 0
        self.schemas: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def judge(
        self,
        one: Exchange,
        known: shapes.Shapes,
        description: openapi.Description | None,
    ) -> None:
        """Holds one exchange against all there is to hold it against."""
        where = f"{one.method} {one.path} {one.status}"
        if description:
            self._by_description(one, description, where)
        if one.fault or not isinstance(one.answered, dict) or "/api.xro/" not in one.path:
            return
        self.answers += 1
        for fault in (*shapes.strange(known, one.answered, one.place), *laws.broken(one.answered)):
            self.faults[f"{_general(where)}: {fault}"] += 1

    def _by_description(self, one: Exchange, description: openapi.Description, where: str) -> None:
        operation = description.operation(one.method, one.path)
        if operation is None:
            return
        # what was refused is shown back as it was sent, whatever it was
        echoed = '"ERROR"' in one.text
        answer = operation.answers.get(str(one.status))
        if answer is not None and one.answered is not None and not one.fault:
            self.described += 1
            self.schemas[str(answer.get("$ref", "")).rsplit("/", 1)[-1]] += 1
            for fault in () if echoed else description.faults(one.answered, answer):
                self.faults[f"{_general(where)} against Xero's description: {fault}"] += 1
        # what tests send by hand may be anything; what the client sends fits, or is refused
        if operation.request is not None and one.asked is not None and one.ours:
            self.bodies += 1
            refused = echoed or one.status >= 400
            for fault in () if refused else description.faults(one.asked, operation.request):
                self.faults[f"{_general(where)} asked with what doesn't fit: {fault}"] += 1


def _general(where: str) -> str:
    words = where.split("/")
    return "/".join("{}" if len(word) > 30 else word for word in words)


def pytest_configure(config: pytest.Config) -> None:
    """One folder for the run; the workers find it in their environment."""
    if hasattr(config, "workerinput") or os.environ.get(_FOLDER):
        return
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="xtiger-witness-")
    config.stash[_OURS] = True


_OURS = pytest.StashKey[bool]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Judges the run once, where it was started."""
    config = session.config
    if not config.stash.get(_OURS, False):
        return
    folder = Path(os.environ.pop(_FOLDER))
    try:
        if os.environ.get("XTIGER_LEARN_SHAPES"):
            _learn(folder)
        config.stash[_VERDICT] = verdict = _judged(folder)
        if verdict.faults and exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_VERDICT = pytest.StashKey[Verdict]()


def _judged(folder: Path) -> Verdict:
    path = openapi.described_in()
    description = openapi.Description(path) if path else None
    known, verdict = shapes.load(), Verdict()
    for one in exchanges(folder):
        verdict.judge(one, known, description)
    return verdict


def _learn(folder: Path) -> None:
    learned: shapes.Shapes = {}
    for one in exchanges(folder):
        if not one.fault and isinstance(one.answered, dict) and "/api.xro/" in one.path:
            shapes.learn(learned, one.answered, one.place)
    shapes.save(learned)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The figures that tests noted, and the verdict on the exchanges."""
    figures = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "figure" and getattr(report, "when", "") == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.write_line(str(figure))
    verdict = config.stash.get(_VERDICT, None)
    if verdict is None or not verdict.answers:
        return
    terminalreporter.section("exchanges with the local Xero")
    terminalreporter.write_line(f"{verdict.answers} answers fit our own shapes and laws")
    if openapi.described_in():
        terminalreporter.write_line(
            f"{verdict.described} answers and {verdict.bodies} bodies held against Xero's"
            f" OpenAPI description, {len(verdict.schemas)} schemas touched"
        )
    else:
        terminalreporter.write_line(
            "Xero's OpenAPI description isn't at hand; XTIGER_XERO_OPENAPI=path holds them"
            " against it too"
        )
    for fault, count in verdict.faults.most_common(_SHOWN):
        terminalreporter.write_line(f"FAULT {count} x {fault}")
    if len(verdict.faults) > _SHOWN:
        terminalreporter.write_line(f"and {len(verdict.faults) - _SHOWN} more")

"""Every fault of the local Xero against every kind of call: what XTiger does and people read.

The rows are played with a real engine and written into docs/faults.md; the page is checked, and
`XTIGER_DOCS=1` writes it anew. Time is one clock on both sides that only stands and is moved on,
and back-offs last as long as they may: no row depends on luck or on how busy the machine is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ask,
    bindings_of,
    control,
    created,
    fault,
    invoices,
    items,
    kept,
    organisation,
    queue_of,
    retry,
    work,
    writes,
)
from xtiger import sandbox
from xtiger.engine import scheduler, standing
from xtiger.sandbox.faults import CATALOGUE
from xtiger.store.models import Connection
from xtiger.store.schema import Database, migrate

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
#: Held answers run into the time-out, which is 60 real seconds at factor 1.
_HELD_FACTOR = 0.02
_COUNT = 2

#: Faults that a kind of call can't meet, each with why.
_NOWHERE = {
    "write": {"revoked": "meets the next token, below"},
    "look-up": {
        "revoked": "meets the next token, below",
        "locked": "a lock date stops writing only",
        "elements": "Xero names elements in answers to writes only",
    },
    "token": dict.fromkeys(
        (
            "day",
            "day-silent",
            "concurrent",
            "appminute",
            "offline",
            "elements",
            "wrong-total",
            "wrong-status",
            "missing-element",
            "expired",
            "scope",
            "removed",
            "locked",
        ),
        "it belongs to an organisation's calls",
    ),
}
CALLS = ("write", "look-up", "token")


@dataclass(frozen=True)
class Row:
    """What one fault did to one kind of call."""

    fault: str
    call: str
    meets: str
    again: str
    reads: str
    ends: str

    def line(self) -> str:
        cells = (CATALOGUE[self.fault].words, self.meets, self.again, self.reads, self.ends)
        return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


class StillClock:
    """Time stands until it is moved on; sleeping moves it."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Scene:
    """An engine and a local Xero on one clock."""

    def __init__(self, folder: Path, *, held: bool) -> None:
        self.factor = _HELD_FACTOR if held else 1.0
        self.clock = StillClock()
        self.held_before = 0
        #: How often a back-off was left to chance since the fault was set.
        self.drawn = 0
        self.xero = sandbox.start(
            auto_consent=True, time_factor=self.factor, clock=lambda: self.clock.now().timestamp()
        )
        self.database = Database(f"sqlite:///{folder / 'xtiger.sqlite'}")
        migrate(self.database)
        self.engine = Engine(self.database, self.xero, time_factor=self.factor)
        self.engine.services = self.services = self.engine.worker(
            "first", clock=self.clock, chance=self.longest
        )
        self.one = self.engine.connect(KAURI)[KAURI]
        self.rows = invoices(self.engine, _COUNT)

    def close(self) -> None:
        control(self.engine, "release", {})
        self.engine.close()
        self.database.close()
        self.xero.stop()

    def longest(self) -> float:
        """The chance by which a back-off lasts as long as it may."""
        self.drawn += 1
        return 1.0

    def go(self, seconds: float = 0) -> None:
        """So many seconds later: the schedule's tick, and a worker."""
        self.clock.sleep(seconds)
        scheduler.schedule_due(self.services)
        work(self.engine, self.services)

    def play(self, name: str, call: str) -> None:
        """Brings the engine to the moment in which the fault strikes, and lets it strike."""
        ask(self.engine, self.one)
        if call == "write":
            fault(self.engine, name, resource="Invoices", method="PUT")
        elif call == "look-up":
            # a lost answer whose key is forgotten by the time anybody asks
            fault(self.engine, "reset-after", resource="Invoices", method="PUT")
            self.go()
            self.held_before, self.drawn = organisation(self.engine).held_times, 0
            fault(self.engine, name, resource="Invoices", method="GET")
            self.go(500 * self.factor)
            return
        else:
            control(self.engine, "tokens/expire", {})
            fault(self.engine, name, resource="token")
        self.go()

    def sentence(self) -> str:
        """What the record's page says."""
        return standing.standing(self.services, books.ref(self.rows[0]))[0].sentence

    def broken(self) -> bool:
        with self.database.read() as session:
            return any(row.broken for row in session.query(Connection))

    def wait(self) -> timedelta | None:
        until: datetime | None = organisation(self.engine).held_until
        return None if until is None else until - self.clock.now()

    def finish(self) -> str:
        """Goes on as a worker would, then as a person would; says what it took."""
        for _ in range(12):
            if self.done():
                return "by itself"
            pause = self.wait()
            self.go(max(1.0, pause.total_seconds() + 1) if pause else 1)
        control(self.engine, f"organisations/{self.xero.organisations[0]['tenant_id']}", _UNLOCK)
        if self.broken() or not self.connected():
            self.engine.connect(KAURI)
            self.go()
            if self.done():
                return "after a person connected again"
        failed = [label for label, state in queue_of(self.engine) if state == "failed"]
        if failed:
            retry(self.engine, *failed)
            self.go()
            if self.done():
                return "after a person removed the cause and pressed Retry"
        raise AssertionError((queue_of(self.engine), organisation(self.engine).held_why))

    def connected(self) -> bool:
        row = organisation(self.engine)
        return row.connection_id is not None and not row.removed

    def calls_refused(self, elements: list[dict[str, Any]]) -> bool:
        return any(not element["ok"] for element in elements)

    def done(self) -> bool:
        ended = {item.state for item in items(self.engine)} <= {"succeeded", "unchanged"}
        return bool(items(self.engine)) and ended


_UNLOCK = {"PeriodLockDate": None}
_MOMENT = re.compile(r"(\d{1,2} \w{3} \d{4}, )?\d\d:\d\d UTC")


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    found = Scene(tmp_path, held=str(request.param).startswith("hold"))
    yield found
    found.close()


def _cases() -> Iterator[Any]:
    for call in CALLS:
        for name in CATALOGUE:
            if name not in _NOWHERE[call]:
                yield pytest.param(name, name, call, id=f"{call}-{name}")


def _again(scene: Scene) -> str:
    """When, from what the organisation is held by."""
    if scene.done():
        return "at once, in the same run"
    if scene.broken() or not scene.connected():
        return "when a person has connected again"
    pause = scene.wait()
    if pause is not None:
        seconds = round(pause.total_seconds() / scene.factor, 2)
        # What is left to chance was played at its longest.
        when = "within" if scene.drawn else "after"
        return f"{when} {seconds:g} s" if seconds < 600 else f"{when} {seconds / 60:g} min"
    return "when the cause is gone"


def _meets(scene: Scene) -> str:
    states = sorted({item.state for item in items(scene.engine, "Invoices")})
    tries = max(item.tries for item in items(scene.engine, "Invoices"))
    words = {
        "pending": "nothing was sent; they keep their places",
        "running": "it may have arrived; nothing is sent again until that is known",
        "failed": "those records fail, one by one",
        "succeeded": "all are in Xero",
    }
    told = " and ".join(words[state] for state in states)
    counted = organisation(scene.engine).held_times > scene.held_before
    extra = ["a try counts"] if tries else []
    extra += ["the next wait is longer"] if counted else []
    return "; ".join([told, *extra])


def _found(scene: Scene) -> str:
    calls = writes(scene.engine, "Invoices")
    if any(call["replayed"] for call in calls):
        return "the same bytes went again and Xero answered as before"
    told = [call["elements"] for call in calls if call["elements"]]
    updated = calls[-1]["method"] == "POST"
    if updated and any(scene.calls_refused(elements) for elements in told):
        return "sent again, refused over its number, found to be the same, and updated"
    if len(told) > 1:
        return "sent again, as an update" if updated else "sent again"
    looked = [row for row in scene.engine.requests() if row["method"] == "GET"]
    if any(row["resource"] == "Invoices" for row in looked):
        return "found in Xero, not sent again"
    return "sent once"


_ROWS: dict[tuple[str, str], Row] = {}


@pytest.mark.parametrize(("scene", "name", "call"), list(_cases()), indirect=["scene"])
def test_nothing_is_lost_or_doubled(scene: Scene, name: str, call: str) -> None:
    scene.play(name, call)
    meets, again, reads = _meets(scene), _again(scene), scene.sentence()
    ends = scene.finish()
    assert kept(scene.engine)["invoices"] == _COUNT
    assert created(scene.engine) == [f"INV-{place}" for place in range(1, _COUNT + 1)]
    assert len({row.xero_id for row in bindings_of(scene.engine).values()}) == _COUNT + 1
    assert reads
    assert "Traceback" not in reads
    reads = _MOMENT.sub("{moment}", reads)
    _ROWS[call, name] = Row(name, call, meets, again, reads, f"{ends}; {_found(scene)}")


_HEAD = {
    "write": "A write: creating or updating up to 50 records",
    "look-up": "A look-up: asking what became of a write whose answer was lost",
    "token": "A token: the access token ran out and a new one is asked for",
}


def _page() -> str:
    text = [
        "# What XTiger does when Xero doesn't answer as it should",
        "",
        "Each row was played by `tests/faults/test_fault_table.py` with a real engine against the"
        " local Xero, which can play every one of these faults; the test writes this page. In"
        " every row both invoices end in Xero once, in order. “People read” is the sentence on"
        " the record's page meanwhile. “Within” so many seconds: how long XTiger waits by itself"
        " is left to chance, so that not all organisations come back at one moment. Where a fault"
        " counts, the next wait may last twice as long, up to a quarter of an hour. Each fault"
        " struck once, unless it is said to be for good; a call that Xero refuses as a whole is"
        " sent again in halves, until the records that spoil it stand alone.",
        "",
    ]
    for call in CALLS:
        text += [f"## {_HEAD[call]}", "", "| Fault | Meanwhile | Again | People read | Ends |"]
        text.append("| --- | --- | --- | --- | --- |")
        for name in CATALOGUE:
            if name in _NOWHERE[call]:
                why = _NOWHERE[call][name]
                text.append(f"| {CATALOGUE[name].words} | can't happen here: {why} | – | – | – |")
            else:
                text.append(_ROWS[call, name].line())
        text.append("")
    return "\n".join(text)


def test_the_page_says_what_was_seen(record_property: Callable[[str, object], None]) -> None:
    """Runs last in this file. No cell is empty: a fault is played or can't happen there."""
    wanted = {(call, name) for call in CALLS for name in CATALOGUE if name not in _NOWHERE[call]}
    if not _ROWS:
        pytest.skip("the rows weren't played")
    assert set(_ROWS) == wanted
    page = _page()
    assert "|  |" not in page
    if os.environ.get("XTIGER_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page
    record_property("figure", f"faults x calls played: {len(_ROWS)} of {3 * len(CATALOGUE)}")


def test_the_clock_is_one_on_both_sides(tmp_path: Path) -> None:
    scene = Scene(tmp_path, held=False)
    try:
        scene.clock.sleep(3 * 86_400)
        told = scene.xero.app.extensions["xero_sandbox"].state.now()
        assert told == scene.clock.now().timestamp()
    finally:
        scene.close()

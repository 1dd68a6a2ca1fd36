"""150 random histories of a queue (2,000 in `make prove`), and no promise is broken."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as trying
from hypothesis.stateful import run_state_machine_as_test

from tests.promises.machine import Promises, described
from tests.promises.mutations import HISTORIES, MUTATIONS, History, lived
from tests.promises.world import BrokenPromise, PostgresWorlds, SqliteWorlds, Worlds
from xtiger.domain.queueing import State
from xtiger.domain.resources import CATALOGUE
from xtiger.engine import build, drain

PROVE = bool(os.environ.get("XTIGER_PROVE"))
RUNS, STEPS = (2000, 60) if PROVE else (150, 6)
ON_POSTGRES, IN_FLIGHT = RUNS // 20, RUNS // 12

Record = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def nobody_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers of this world stand in the way of our names; a meeting would link them.

    What is linked at a first meeting has tests of its own: tests/engine/test_first_meeting.py.
    """
    monkeypatch.setattr(drain, "MET", ())
    monkeypatch.setattr(build, "MET", ())


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of three elements and claims of five: what fills them stays small."""
    for resource, info in CATALOGUE.items():
        if info.batch_size > 3:
            monkeypatch.setitem(CATALOGUE, resource, replace(info, batch_size=3))  # type: ignore[arg-type]
    monkeypatch.setattr(drain, "CLAIM", 5)


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Worlds]:
    worlds = SqliteWorlds()
    yield worlds
    worlds.close()


@pytest.fixture(scope="module")
def postgres(postgres_server: str) -> Iterator[Worlds]:
    worlds = PostgresWorlds(postgres_server)
    yield worlds
    worlds.close()


def machine_of(worlds: Worlds, figures: Counter[str], *, in_flight: int = 1) -> Any:
    """The state machine on some worlds."""
    parts = {"worlds": worlds, "figures": figures, "in_flight": in_flight}
    return type("Ours", (Promises,), parts)


def tried(
    worlds: Worlds,
    *,
    runs: int,
    steps: int = STEPS,
    in_flight: int = 1,
    shrinks: bool = True,
    figures: Counter[str] | None = None,
) -> Counter[str]:
    """Runs the machine; answers with what happened in it."""
    figures = Counter() if figures is None else figures
    ours: Any = machine_of(worlds, figures, in_flight=in_flight)
    phases = (Phase.generate, Phase.shrink) if shrinks else (Phase.generate,)
    run_state_machine_as_test(
        ours,
        settings=trying(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            # Nothing may depend on what an earlier run left in a folder.
            database=None,
            report_multiple_bugs=False,
        ),
    )
    return figures


# On a busy machine it takes minutes; hypothesis would call the end of patience a flaky failure.
@pytest.mark.timeout(3600 if PROVE else 900)
def test_no_history_breaks_a_promise(sqlite: Worlds, record_property: Record) -> None:
    figures = tried(sqlite, runs=RUNS)
    record_property("figure", f"the queue's promises on SQLite: {described(figures)}")
    assert figures["crashes"] > RUNS / 4
    assert figures["faults"] > RUNS / 2
    if PROVE:
        never = [state for state in State if not figures[f"became {state}"]]
        assert not never, f"no item ever became {never}"


def test_nor_on_postgresql(postgres: Worlds, record_property: Record) -> None:
    figures = tried(postgres, runs=ON_POSTGRES)
    record_property("figure", f"the queue's promises on PostgreSQL: {described(figures)}")
    assert figures["calls"]


def test_nor_with_four_calls_at_once(sqlite: Worlds, record_property: Record) -> None:
    """Which call Xero sees first is left to the machine, so no two runs are alike."""
    figures = tried(sqlite, runs=IN_FLIGHT, in_flight=4, shrinks=False)
    record_property("figure", f"with four calls in flight: {described(figures)}")
    assert figures["calls"]


@pytest.mark.parametrize("history", HISTORIES, ids=lambda each: each.__name__.strip("_"))
def test_short_histories_break_no_promise(history: History, sqlite: Worlds) -> None:
    """The ones by which the faults below are seen."""
    lived(machine_of(sqlite, Counter()), history)


@pytest.mark.parametrize("fault", MUTATIONS)
def test_a_fault_in_the_engine_is_seen(
    fault: str, sqlite: Worlds, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    mutation, history = MUTATIONS[fault]
    mutation(monkeypatch)
    with pytest.raises(BrokenPromise) as seen:
        lived(machine_of(sqlite, Counter()), history)
    first = str(seen.value).splitlines()[0][:90]
    assert not first.startswith("the engine broke"), first
    record_property("figure", f"“{fault}” was seen: {first}")

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
from tests.promises.world import PostgresWorlds, SqliteWorlds, Worlds
from xtiger.domain.resources import CATALOGUE
from xtiger.engine import drain

PROVE = bool(os.environ.get("XTIGER_PROVE"))
RUNS, STEPS = (2000, 60) if PROVE else (150, 30)
ON_POSTGRES = RUNS // 10

Record = Callable[[str, object], None]


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


def tried(worlds: Worlds, *, runs: int, steps: int = STEPS, in_flight: int = 1) -> Counter[str]:
    """Runs the machine; answers with what happened in it."""
    figures: Counter[str] = Counter()
    ours: Any = type(
        "Ours", (Promises,), {"worlds": worlds, "figures": figures, "in_flight": in_flight}
    )
    phases = tuple(Phase) if PROVE else (Phase.explicit, Phase.generate, Phase.shrink)
    run_state_machine_as_test(
        ours,
        settings=trying(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    return figures


def test_no_history_breaks_a_promise(sqlite: Worlds, record_property: Record) -> None:
    figures = tried(sqlite, runs=RUNS)
    record_property("figure", f"the queue's promises on SQLite: {described(figures)}")
    assert figures["crashes"] > RUNS / 4
    assert figures["faults"] > RUNS / 2

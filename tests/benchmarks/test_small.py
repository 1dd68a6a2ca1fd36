"""Each part of `make bench` runs at a tiny size and says what it says at the full one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.benchmarks import history, mapping, memory, pacing, peers, percall, writes
from tests.benchmarks.__main__ import main


def _says(found: dict[str, Any], *names: str) -> None:
    assert {"what", "ratio", "bound", "holds", *names} <= found.keys()
    assert found["ratio"] > 0


def test_calls_of_a_first_load_are_the_fewest_and_of_a_repeat_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["a", "--set", "records=120"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] is True
    found = told["a"]
    _says(found, "read calls", "read calls' formula")
    assert found["write calls"] == found["fewest possible"] == 4
    assert found["second sync"]["writes"] == 0
    assert found["sync after every record was saved"] == {
        "writes": 0,
        "reads": 0,
        "records sent": 0,
        "records looked at, unchanged": 120,
    }


def test_a_broken_bound_is_told_by_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(writes, "measure", lambda: {"holds": False})
    assert main(["a"]) == 1
    assert json.loads(capsys.readouterr().out)["holds"] is False


def test_a_load_on_the_shared_clock_ends_and_counts_its_calls() -> None:
    found = pacing.measure(records=200)
    _says(found, "refused by the limit", "seconds", "least seconds")
    assert found["calls"] >= 200 / 50


def test_a_calls_cpu_is_told_with_its_steps() -> None:
    found = percall.measure(calls=1, repeats=1)
    _says(found, "ms a call", "least ms a call")
    assert {"crm: read", "mapping and money", "xero: send, read the answer"} <= found[
        "steps, ms a call under the profiler"
    ].keys()


def test_history_and_enqueue_are_measured() -> None:
    found = history.measure(ended=200, added=100, chunk=50, rounds=1)
    _says(found["drain"], "ended items, with log entry, journal and binding")
    _says(found["enqueue"], "records")


def test_memory_is_sampled_while_records_arrive() -> None:
    found = memory.measure(records=100)
    _says(found, "peak MB", "slope MB a minute, second half")
    assert found["sent"] == 100


def test_payloads_made_by_hand_are_those_of_the_compiled_template() -> None:
    found = mapping.measure(rounds=3)
    _says(found, "ms a batch, compiled", "ms a batch, by hand")
    assert found["ms a batch, map + money + preflight"] > 0


def test_documents_reach_xero_by_each_of_the_ways() -> None:
    found = peers.sending(records=50, batched=50, alone=1, turns=1, waits=(0.05,))
    assert found["ratio to one by one"] > 0
    assert found["ratio to batches"] > 0


def test_the_queue_runs_beside_another_one() -> None:
    pytest.importorskip("huey", reason="make bench installs it")
    found = peers.queueing(jobs=60, rounds=1, kinds=(peers.SQLITE,))
    assert found["ratio to huey"] > 0
    assert found["XTiger on sqlite"] > 0

"""The kill test itself: at a tiny size it comes to its end and counts what it should."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.chaos import worker

COUNTS = ("duplicates", "lost", "order_violations", "stuck", "check")


def chaos(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
    """Runs the program; answers with its exit code, its lines, and what else it said."""
    alone = ("--database", "sqlite", "--fleet", "0", "--control", "0")
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *alone, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_five_kills_lose_nothing_and_double_nothing() -> None:
    code, lines, said = chaos("--records", "16", "--kills", "5", "--at-least", "5")
    assert code == 0, said
    [line] = lines
    assert list(line)[:8] == ["database", "records", "kills", *COUNTS]
    assert line["database"] == "sqlite"
    assert line["records"]
    assert line["kills"] == 5
    assert [line[name] for name in COUNTS] == [0] * 5
    assert not {"control", "fleet"} & set(line)


def test_it_fails_with_fewer_kills_than_were_asked_for() -> None:
    code, [line], said = chaos("--records", "8", "--kills", "1")
    assert line["kills"] == 1
    assert "Only 1 kills" in said
    assert code == 1


def test_it_knows_every_step_that_the_engine_names() -> None:
    known = {"claimed", "journalled", "answered", "settled", "replaying", "looking up"}
    assert known <= set(worker.named_steps())

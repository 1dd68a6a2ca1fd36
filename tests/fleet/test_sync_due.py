"""`xtiger sync --due`, for hosts that only have cron: one pass, one line, an exit code."""

from __future__ import annotations

import signal
import subprocess
import time

from tests.fleet.yard import PATIENCE, SMALL_CALLS, Yard, command, until
from xtiger.store.models import Organisation


def start(yard: Yard) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("sync", "--due", first=SMALL_CALLS),
        env=yard.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_pass_says_in_one_line_what_it_did(yard: Yard) -> None:
    told = yard.call("sync", "--due")
    assert (told.returncode, told.stdout) == (0, "0 sent, 0 unchanged, 0 failed, 0 waiting.\n")
    yard.invoices(yard.organisations[0], 3)
    told = yard.call("sync", "--due")
    assert (told.returncode, told.stdout) == (0, "4 sent, 0 unchanged, 0 failed, 0 waiting.\n")
    assert told.stderr == ""
    assert set(yard.created().values()) == {1}
    told = yard.call("sync", "--due")
    assert told.stdout == "0 sent, 0 unchanged, 0 failed, 0 waiting.\n"


def test_what_waits_is_told_with_its_why(yard: Yard) -> None:
    yard.invoices(yard.organisations[0], 3)
    with yard.stage.services.database.read() as session:
        name = session.get_one(Organisation, yard.organisations[0]).name
    yard.stage.ask_xero("faults", kind="limit", problem="day", retry_after=500)
    told = yard.call("sync", "--due")
    assert told.returncode == 0
    assert f"0 sent, 0 unchanged, 0 failed, 4 waiting. {name} waits: Today's" in told.stdout
    assert told.stdout.count("\n") == 1


def test_passes_that_overlap_send_nothing_twice(yard: Yard) -> None:
    for one in yard.organisations:
        yard.invoices(one, 30)
    yard.slow(0.3)
    passes = [start(yard) for _ in range(3)]
    outcomes = [each.communicate(timeout=PATIENCE) for each in passes]
    assert [each.returncode for each in passes] == [0, 0, 0], outcomes
    assert set(yard.created().values()) == {1}
    assert len(yard.created()) == 60
    assert yard.states() == {"succeeded": 62}


def test_a_pass_that_is_told_to_end_leaves_nothing_open(yard: Yard) -> None:
    yard.invoices(yard.organisations[0], 100)
    yard.slow(0.5)
    going = start(yard)
    until(lambda: yard.created())
    going.send_signal(signal.SIGTERM)
    out, err = going.communicate(timeout=PATIENCE)
    assert going.returncode == 0, err
    assert yard.scalar("SELECT count(*) FROM xtiger_attempt WHERE closed_at IS NULL") == 0
    assert yard.states()["pending"] > 0
    assert " waiting." in out
    time.sleep(0.1)
    told = yard.call("sync", "--due")
    assert told.returncode == 0
    assert yard.states() == {"succeeded": 101}
    assert set(yard.created().values()) == {1}


def test_a_database_that_is_away_ends_it_with_one(yard: Yard) -> None:
    yard.more["XTIGER_DATABASE_URL"] = "sqlite:////nowhere/at/all.sqlite"
    told = yard.call("sync", "--due")
    assert told.returncode == 1
    assert told.stderr.startswith("Error: The database")
    assert told.stderr.count("\n") == 1

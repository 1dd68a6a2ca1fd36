"""The list of runs and a run's own page tell of each run the same."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.conftest import Engine
from tests.engine.scenes import KAURI, ask, work
from tests.web.conftest import NOW, Browser
from xtiger.engine.services import SystemClock
from xtiger.store.models import Run


def took(browser: Browser, run_id: int) -> str:
    """What the list says of the time a run took."""
    page = browser.get("/runs").text
    [row] = re.findall(rf'data-key="run-{run_id}".*?</tr>', page, re.DOTALL)
    [found] = re.findall(r'data-label="Took">([^<]*)<', row)
    return str(found)


@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.4, 125.0])
def test_list_and_page_say_one_length_of_time(browser: Browser, seconds: float) -> None:
    with browser.services.database.write() as session:
        run = session.get_one(Run, 1)
        run.started_at, run.ended_at = NOW, NOW + timedelta(seconds=seconds)
    assert f"Finished in {took(browser, 1)}: 1 succeeded" in browser.get("/runs/1").text


def test_a_run_that_a_worker_ended_is_told_in_the_same_words(
    empty: Browser, sqlite_engine: Engine
) -> None:
    one = sqlite_engine.connect(KAURI)[KAURI]
    ask(sqlite_engine, one)
    with sqlite_engine.database.write() as session:
        session.get_one(Run, 1).started_at = SystemClock().now() - timedelta(seconds=125)
    work(sqlite_engine)
    empty.app.extensions["xtiger"].services = sqlite_engine.services
    said = took(empty, 1)
    assert said == "2 min"
    assert f"Finished in {said}: 0 succeeded" in empty.get("/runs/1").text

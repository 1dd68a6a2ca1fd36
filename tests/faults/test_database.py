"""A database that is full: one clear sentence, nothing lost, and on it goes once there is room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ShiftedClock,
    all_ended,
    ask,
    created,
    invoices,
    kept,
    organisation,
)
from xtiger.domain.errors import TransientError
from xtiger.engine import scheduler
from xtiger.store.schema import Database, migrate


@pytest.mark.parametrize("room", [0, 2, 4, 6, 8, 12])
def test_a_full_database_loses_nothing_and_doubles_nothing(
    tmp_path: Path, local_xero: Any, room: int
) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    roomy = Database(url)
    migrate(roomy)
    engine = Engine(roomy, local_xero)
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 60, goods=True)
    ask(engine, one)
    with roomy.read() as session:
        pages = session.execute(text("PRAGMA page_count")).scalar_one()
    tight = Database(url, max_pages=pages + room)
    full = engine.worker("full")
    full.database = tight
    told = ""
    try:
        scheduler.work(full, one)
        told = str(organisation(engine).held_why)
    except TransientError as failure:
        told = failure.sentence
    assert told.startswith("The database is full: nothing was saved")
    tight.close()
    later = engine.worker("later", clock=ShiftedClock(200))
    scheduler.work(later, one)
    assert all_ended(engine, ["succeeded"])
    assert kept(engine)["invoices"] == 60
    assert created(engine) == [f"INV-{number}" for number in range(1, 61)]
    assert organisation(engine).held_why is None
    engine.close()
    roomy.close()

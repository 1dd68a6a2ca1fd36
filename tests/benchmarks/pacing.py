"""(b) How long a first load takes against Xero's 60 calls a minute, in time that is simulated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from sqlalchemy import update

from tests.benchmarks.stage import SQLITE, Books, database, fill, verdict
from tests.conftest import Engine
from xtiger import sandbox
from xtiger.engine import scheduler
from xtiger.store.models import Organisation, Profile, Run
from xtiger.xero.client import XeroClient

MOST = 1.05
#: Simulated seconds that a drain waits before it looks again where nothing says how long.
LOOK = 1.0


class SharedClock:
    """Time that passes only when somebody waits; XTiger and the local Xero share it."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def seconds(self) -> float:
        return self._now.timestamp()

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=max(0.0, seconds))


@contextmanager
def _engine(books: Books, clock: SharedClock) -> Iterator[tuple[Engine, int]]:
    """XTiger and a local Xero that keeps to Xero's limits, both by the shared clock."""
    with (
        database(SQLITE) as made,
        sandbox.start(
            auto_consent=True, enforce_limits=True, day_limit=100_000, clock=clock.seconds
        ) as xero,
    ):
        fill(made.url, books)
        engine = Engine(made, xero)
        client = XeroClient(
            login_url=xero.identity_url,
            identity_url=xero.identity_url,
            api_url=xero.api_url,
            clock=clock,
        )
        engine.services = replace(engine.services, clock=clock, xero=client)
        try:
            one = engine.connect("Kauri Trading")["Kauri Trading"]
            with made.write() as session:
                session.execute(update(Profile).values(rule="all"))
            yield engine, one
        finally:
            client.close()
            engine.close()


def measure(records: int = 10_000) -> dict[str, Any]:
    """One Sync of everything; a calls' own time is 0 on the shared clock, waiting alone counts."""
    clock = SharedClock()
    with _engine(Books.of(records), clock) as (engine, one):
        clock.sleep(60)  # what connecting used of the minute is over
        seen = len(engine.requests())
        began = clock.now()
        [run_id] = scheduler.sync_now(engine.services, organisation_id=one, modules=None, who="B")
        rounds = 0
        while True:
            scheduler.work(engine.services, one)
            with engine.database.read() as session:
                run = session.get_one(Run, run_id)
                row = session.get_one(Organisation, one)
            if run.ended_at is not None:
                break
            rounds += 1
            assert rounds < 100 + records, run.sentence
            until = row.held_until or clock.now()
            clock.sleep((until - clock.now()).total_seconds() or LOOK)
        took = (clock.now() - began).total_seconds()
        calls = len(engine.requests()) - seen
        refused = sum(call["status"] == 429 for call in engine.requests())
        assert run.succeeded == records, run.sentence
    least = (ceil(calls / 60) - 1) * 60
    ratio = took / least if least else 1.0
    return {
        "what": "simulated time of a first load / what the 60-a-minute window allows at best",
        "records": records,
        "calls": calls,
        "refused by the limit": refused,
        "seconds": round(took, 1),
        "least seconds": least,
        "ratio": round(ratio, 4),
        "bound": f"<= {MOST}",
        "holds": verdict(ratio, most=MOST),
    }

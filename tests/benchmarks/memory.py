"""(f) What memory a first load takes: a process of its own, looked at from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import psutil
from sqlalchemy.orm import sessionmaker

from tests.benchmarks.stage import SQLITE, Books, stage, verdict

MOST_MB = 200
#: Growth over the second half of the load, in per cent of its mean, that still counts as flat.
FLAT = 5.0
#: Seconds between two looks.
EVERY = 0.25
_MB = 1_000_000


def measure(records: int = 100_000, kind: str = SQLITE) -> dict[str, Any]:
    """Resident memory of a worker that adds everything and drains it, sampled while it does.

    Mostly contacts and items, a fifth documents of five lines: the local Xero is to be done in
    time. Its own memory isn't counted.
    """
    documents = records // 5
    parents = (records - documents) // 2
    books = Books(
        parents, records - documents - parents, documents - documents // 5, documents // 5
    )
    with stage(books, kind=kind) as made:
        url = made.database.url.render_as_string(hide_password=False)
        told = json.dumps(
            {
                "database": url,
                "xero": made.xero.told,
                "key": made.key,
                "organisation": made.organisation_id,
            }
        )
        began = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.memory"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(told + "\n")
            child.stdin.close()
            watched = psutil.Process(child.pid)
            samples: list[tuple[float, float]] = []
            while child.poll() is None:
                try:
                    size = watched.memory_info().rss / _MB
                except psutil.NoSuchProcess:
                    break
                samples.append((time.monotonic() - began, size))
                time.sleep(EVERY)
            ended = json.loads(child.stdout.read())
    peak = max(size for _, size in samples)
    half = [one for one in samples if one[0] >= samples[-1][0] / 2]
    slope = _slope(half)
    mean = sum(size for _, size in half) / len(half)
    growth = slope * (half[-1][0] - half[0][0]) / mean * 100
    ratio = peak / MOST_MB
    return {
        "what": "peak memory of a first load / what it may be",
        "database": kind,
        "records": records,
        "sent": ended["succeeded"],
        "seconds": round(samples[-1][0], 1),
        "peak MB": round(peak, 1),
        "may be MB": MOST_MB,
        "mean MB of the second half": round(mean, 1),
        "slope MB a minute, second half": round(slope * 60, 2),
        "growth over the second half, per cent": round(growth, 2),
        "ratio": round(ratio, 3),
        "bound": f"<= 1, and growth <= {FLAT} per cent",
        "holds": verdict(ratio, most=1.0) and growth <= FLAT and ended["succeeded"] == records,
    }


def _slope(samples: list[tuple[float, float]]) -> float:
    """MB a second, by least squares."""
    count = len(samples)
    middle = sum(at for at, _ in samples) / count
    mean = sum(size for _, size in samples) / count
    spread = sum((at - middle) ** 2 for at, _ in samples)
    if not spread:
        return 0.0
    return sum((at - middle) * (size - mean) for at, size in samples) / spread


def load(told: dict[str, Any]) -> int:
    """The first load itself, in the process that is watched; answers with what arrived."""
    from sqlalchemy import create_engine, func, select, text

    from xtiger.crm.builtin import crm_of
    from xtiger.engine import drain, intake
    from xtiger.engine.services import Services, SystemClock
    from xtiger.settings import Settings
    from xtiger.store.crypto import KeyRing
    from xtiger.store.models import QueueItem
    from xtiger.store.schema import Database
    from xtiger.xero.client import XeroClient

    made, xero = Database(told["database"]), told["xero"]
    settings = Settings(
        database_url=told["database"],
        public_url="http://localhost:5999",
        xero_login_url=xero["identity_url"],
        xero_identity_url=xero["identity_url"],
        xero_api_url=xero["api_url"],
        xero_app_url=xero["api_url"],
        xero_client_id=xero["client_id"],
        xero_client_secret=xero["client_secret"],
    )
    sessions = sessionmaker(create_engine(made.url), expire_on_commit=False)
    services = Services(
        database=made,
        settings=settings,
        ring=KeyRing([told["key"]]),
        crm=crm_of(sessions),
        xero=XeroClient(
            login_url=xero["identity_url"],
            identity_url=xero["identity_url"],
            api_url=xero["api_url"],
            clock=SystemClock(),
        ),
        mail=None,
        worker="memory",
    )
    one = int(told["organisation"])
    intake.add_selected(services, organisation_id=one, modules=None, who="Bench")
    ended = drain.drain(services, one)
    assert ended.done, ended.sentence
    with made.read() as session:
        arrived = session.scalar(
            select(func.count()).select_from(QueueItem).where(text("state = 'succeeded'"))
        )
    made.close()
    return int(arrived or 0)


if __name__ == "__main__":
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the local Xero speaks http on loopback
    print(json.dumps({"succeeded": load(json.loads(sys.stdin.readline()))}))

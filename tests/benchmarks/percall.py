"""(c) What one call of 50 invoices costs in CPU, all that XTiger does for it, beside the least."""

from __future__ import annotations

import cProfile
import gc
import hashlib
import pstats
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import requests
from sqlalchemy import text

from tests.benchmarks.stage import SQLITE, Books, Stage, database, median, stage, verdict
from xtiger.domain.records import Module
from xtiger.engine import drain, intake
from xtiger.store.models import Attempt
from xtiger.store.schema import Database

BATCH, GOAL, MOST = 50, 3.0, 4.0
#: Contacts and products that the documents share: those of a small wholesaler.
PARENTS = 200

#: The steps of a call, each by a function that does it whole; none contains another.
_STEPS = {
    "queue: claim": ("store/claims", "claim"),
    "crm: read": ("crm/sql", "fetch_many"),
    "bindings: read": ("store/bindings", "agreed_of"),
    "queue: open parents": ("store/queue", "open_items"),
    "flags: read": ("store/profiles", "flags"),
    "mapping and money": ("domain/mapping", "build"),
    "preflight": ("domain/preflight", "check"),
    "agreement: compare, hash": ("engine/settle", "agreed_of"),
    "journal: open": ("store/journal", "open_attempt"),
    "journal: close": ("store/journal", "close_by_id"),
    "journal: body": ("store/journal", "packed"),
    "tokens: ready": ("engine/connection/tokens", "_fresh"),
    "xero: send, read the answer": ("xero/client", "save_many"),
    "settle: decide": ("engine/settle", "take"),
    "settle: write": ("engine/settle", "write"),
    "lease": ("store/leases", "guard"),
    "crm: write back": ("crm/sql", "write_back"),
    "bindings: written back": ("store/bindings", "written"),
    "bindings: not written back": ("store/bindings", "unwritten"),
}


def measure(calls: int = 40, repeats: int = 5, kind: str = SQLITE) -> dict[str, Any]:
    """Medians of process CPU a call, with everything on; the local Xero is another process.

    XTiger: a whole drain, from the claim to the last write-back. The least: orjson, one POST on
    a kept connection of the very bytes that XTiger journalled, orjson again for the answer, and
    two commits of one row each, on the same kind of database with the same care for the disk.
    """
    books = Books(PARENTS, PARENTS, calls * BATCH * (repeats + 2), 0)
    ours: list[float] = []
    least: list[float] = []
    with stage(books, kind=kind) as made, database(kind) as beside:
        _drain(made, [Module.CONTACTS, Module.PRODUCTS])
        intake.add_selected(
            made.services, organisation_id=None, modules=[Module.INVOICES], who="Bench"
        )
        for turn in range(repeats + 1):
            spent = _part(made, calls, lambda: None)
            bare = _bare(made, beside, calls)
            if turn:  # the first one warms up
                ours.append(spent / calls)
                least.append(bare / calls)
        # CPU alone, waiting left out; a profiler sees one thread.
        profile = cProfile.Profile(time.process_time)
        made.services.in_flight = 1
        _part(made, calls, profile.enable)
        profile.disable()
    ratio = median(ours) / median(least)
    return {
        "what": "CPU of a whole call of 50 invoices x 5 lines / CPU of the least that one takes",
        "database": kind,
        "calls": calls * repeats,
        "ms a call": round(median(ours) * 1000, 2),
        "least ms a call": round(median(least) * 1000, 2),
        "steps, ms a call under the profiler": _by_step(profile, calls),
        "functions, ms of own time a call": _by_function(profile, calls),
        "ratio": round(ratio, 2),
        "bound": f"<= {MOST}, goal {GOAL}",
        "holds": verdict(ratio, most=MOST),
        "goal reached": verdict(ratio, most=GOAL),
    }


def _drain(made: Stage, modules: list[Module]) -> None:
    intake.add_selected(made.services, organisation_id=None, modules=modules, who="Bench")
    assert drain.drain(made.services, made.organisation_id).done


def _part(made: Stage, calls: int, begin: Callable[[], None]) -> float:
    """CPU seconds of draining so many full calls; the rest of the queue waits meanwhile."""
    with made.database.write() as session:
        session.execute(
            text(
                "UPDATE xtiger_queue SET not_before = NULL WHERE id IN "
                "(SELECT id FROM xtiger_queue WHERE state = 'pending' ORDER BY id LIMIT :most)"
            ),
            {"most": calls * BATCH},
        )
        session.execute(
            text(
                "UPDATE xtiger_queue SET not_before = '2999-01-01' WHERE id NOT IN "
                "(SELECT id FROM xtiger_queue WHERE state = 'pending' ORDER BY id LIMIT :most) "
                "AND state = 'pending'"
            ),
            {"most": calls * BATCH},
        )
    gc.collect()
    gc.freeze()  # what stands before is no part of a call
    before = time.process_time()
    begin()
    ended = drain.drain(made.services, made.organisation_id)
    spent = time.process_time() - before
    assert ended.done, ended.sentence
    return spent


def _bare(made: Stage, beside: Database, calls: int) -> float:
    """CPU seconds of so many calls with nothing but sending, reading and two commits."""
    access = made.xero.access()
    with requests.Session() as kept, made.database.read() as session:
        kept.trust_env = False
        attempts = session.query(Attempt).order_by(Attempt.id.desc()).limit(calls).all()
        bodies = [_renumbered(attempt) for attempt in attempts]
        url = f"{made.xero.told['api_url']}/api.xro/2.0/Invoices?summarizeErrors=false&unitdp=4"
        headers = {
            "Authorization": f"Bearer {access.access_token}",
            "xero-tenant-id": access.tenant_id,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        raw = beside.engine.raw_connection()
        cursor = raw.cursor()
        mark = "?" if beside.engine.dialect.name == "sqlite" else "%s"
        blob = "BLOB" if mark == "?" else "BYTEA"
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS bare (id TEXT PRIMARY KEY, body {blob}, answer {blob})"
        )
        raw.commit()
        before = time.process_time()
        for body in bodies:
            key = uuid4().hex
            data = orjson.dumps(body)
            if mark == "?":
                cursor.execute("BEGIN IMMEDIATE")
            cursor.execute(f"INSERT INTO bare (id, body) VALUES ({mark}, {mark})", (key, data))  # noqa: S608
            raw.commit()
            answer = kept.put(url, data=data, headers={**headers, "Idempotency-Key": key})
            found = orjson.loads(answer.content)
            assert found["Invoices"][0]["InvoiceID"]
            if mark == "?":
                cursor.execute("BEGIN IMMEDIATE")
            cursor.execute(
                f"UPDATE bare SET answer = {mark} WHERE id = {mark}",  # noqa: S608
                (answer.content, key),
            )
            raw.commit()
        spent = time.process_time() - before
        raw.close()
    return spent


def _renumbered(attempt: Attempt) -> Any:
    """The very body that XTiger sent, under numbers that aren't taken yet."""
    from xtiger.store import journal

    body = orjson.loads(journal.body_of(attempt))
    for one in body["Invoices"]:
        one["InvoiceNumber"] = hashlib.sha256(uuid4().bytes).hexdigest()[:10]
    return body


def _is(place: tuple[str, int, str], module: str, name: str) -> bool:
    return place[2] == name and place[0].endswith(f"/xtiger/{module}.py")


def _by_step(profile: cProfile.Profile, calls: int) -> dict[str, float]:
    """Milliseconds a call of each step with all that it calls, and what is left beside them."""
    rows = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    steps: dict[str, float] = {}
    for step, (module, name) in _STEPS.items():
        spent = sum(row[3] for place, row in rows.items() if _is(place, module, name))
        if spent:
            steps[step] = spent
    whole = max(row[3] for row in rows.values())
    steps["all else (commits, reads of one row, the flow itself)"] = whole - sum(steps.values())
    ordered = sorted(steps.items(), key=lambda step: -step[1])
    return {name: round(spent * 1000 / calls, 2) for name, spent in ordered}


def _by_function(profile: cProfile.Profile, calls: int) -> list[str]:
    rows = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    ordered = sorted(rows, key=lambda row: -row[1][2])[:15]
    return [
        f"{own * 1000 / calls:.2f} ms {'/'.join(Path(place[0]).parts[-2:])} {place[2]} "
        f"x {count / calls:.0f}"
        for place, (_, count, own, _, _) in ordered
    ]

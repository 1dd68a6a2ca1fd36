"""(e) Records per second beside other ways to send them, and beside other queues."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from operator import truediv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xero_python.accounting import (
    AccountingApi,
    Contact,
    Invoice,
    Invoices,
    LineAmountTypes,
    LineItem,
)
from xero_python.api_client import ApiClient
from xero_python.api_client.configuration import Configuration
from xero_python.api_client.oauth2 import OAuth2Token

from tests.benchmarks.stage import (
    POSTGRES,
    SQLITE,
    TODAY,
    Books,
    Stage,
    database,
    drained,
    lines_of,
    median,
    postgres,
    stage,
    verdict,
)
from xtiger.domain.queueing import State
from xtiger.domain.records import Module, RecordRef
from xtiger.engine import drain, intake
from xtiger.store import claims, queue
from xtiger.store.models import Organisation

LEAST_ALONE, LEAST_BATCHED, LEAST_QUEUE = 20.0, 2.0, 1.0
BATCH = 50
#: Seconds that an answer takes beside the local Xero's own work: the way to Xero and back.
WAITS = (0.25,)


def measure(
    records: int = 1000, batched: int = 500, alone: int = 40, turns: int = 3, jobs: int = 2000
) -> dict[str, Any]:
    """Two comparisons: sending documents to Xero, and the queue alone."""
    sent, queued = sending(records, batched, alone, turns), queueing(jobs)
    return {"sending": sent, "queue": queued, "holds": sent["holds"] and queued["holds"]}


# -- sending ----------------------------------------------------------------------------------


def sending(
    records: int, batched: int, alone: int, turns: int, waits: tuple[float, ...] = WAITS
) -> dict[str, Any]:
    """Invoices of five lines per second; so many each turn, against a local Xero that takes time.

    The minute's limit is raised, or all would be bound by it: 60 records a minute one by one,
    3,000 in batches. XTiger reads its CRM, works out amounts, journals, settles and logs on the
    way, with four calls at once; xero-python is given lists that are ready in memory, and sends
    one call after the other, as its examples do. They take turns, so both meet the machine as it
    is; of the turns' ratios the middle one counts, where answers take the last of `waits`.
    """
    sent = 0
    found: dict[str, dict[str, Any]] = {}
    with stage(Books(200, 200, records * turns * len(waits), 0)) as made:
        _add(made, [Module.CONTACTS, Module.PRODUCTS])
        assert drain.drain(made.services, made.organisation_id).done
        api = _api(made)
        tenant = made.xero.told["organisations"][0]["tenant_id"]
        began = time.perf_counter()
        _add(made, [Module.INVOICES])
        adding = (time.perf_counter() - began) / (turns * len(waits))
        _answers_take(made, waits[0])
        one_by_one = alone / _alone(api, tenant, alone)
        for wait in waits:
            _answers_take(made, wait)
            ours, by_hand = [], []
            cpu = {"own": 0.0, "Xero's": 0.0}
            for _ in range(turns):
                by_hand.append(batched / _batched(api, tenant, range(sent, sent + batched)))
                sent += batched
                before = made.xero.cpu()
                own, took = drained(made, records)
                ours.append(records / (took + adding))
                cpu["own"] += own
                cpu["Xero's"] += made.xero.cpu() - before
            calls = turns * records / BATCH
            found[f"{wait} s"] = {
                "XTiger": round(median(ours), 1),
                "xero-python in batches of 50": round(median(by_hand), 1),
                "ratio": round(median(map(truediv, ours, by_hand)), 2),
                "ratios of the turns": [round(each, 2) for each in map(truediv, ours, by_hand)],
                "ms of CPU a call, XTiger": round(cpu["own"] / calls * 1000, 1),
                "ms of CPU a call, local Xero": round(cpu["Xero's"] / calls * 1000, 1),
            }
    last = found[f"{waits[-1]} s"]
    ratios = found[f"{waits[0]} s"]["XTiger"] / one_by_one, last["ratio"]
    return {
        "what": "records per second of XTiger / of xero-python",
        "what bounds it": "the wait, four at once; else CPU, XTiger's and the local Xero's",
        "where an answer takes so long": found,
        "xero-python one by one, at the shortest": round(one_by_one, 1),
        "ratio to one by one": round(ratios[0], 1),
        "ratio to batches": ratios[1],
        "bound": f">= {LEAST_ALONE} one by one, and >= {LEAST_BATCHED} where answers take "
        f"{waits[-1]} s",
        "holds": verdict(ratios[0], least=LEAST_ALONE) and verdict(ratios[1], least=LEAST_BATCHED),
    }


def _answers_take(made: Stage, seconds: float) -> None:
    made.control("faults", [])
    made.control("faults", {"kind": "slow", "seconds": seconds, "count": 1_000_000})


def _add(made: Stage, modules: list[Module]) -> None:
    intake.add_selected(made.services, organisation_id=None, modules=modules, who="Bench")


def _api(made: Stage) -> AccountingApi:
    """xero-python as its own documentation sets it up, at the local Xero's address."""
    # The SDK would give everybody the first configuration that was ever made.
    Configuration.set_default(None)
    configuration = Configuration(oauth2_token=OAuth2Token(client_id="b", client_secret="b"))
    configuration.host = made.xero.told["api_url"]
    kept: dict[str, Any] = {}
    client = ApiClient(
        configuration,
        oauth2_token_getter=lambda: kept,
        oauth2_token_saver=lambda token: kept.update(token),
    )
    client.set_oauth2_token(
        {
            "access_token": made.xero.access().access_token,
            "token_type": "Bearer",
            "expires_in": 1800,
            "expires_at": time.time() + 1800,
            "refresh_token": "none",
            "scope": ["accounting.invoices"],
        }
    )
    api = AccountingApi(client)
    api.base_url = f"{made.xero.told['api_url']}/api.xro/2.0"
    return api


def _document(number: str, pattern: int) -> Invoice:
    return Invoice(
        type="ACCREC",
        invoice_number=number,
        contact=Contact(name=f"Harbour Cafe {pattern % 200 + 1}"),
        date=TODAY,
        due_date=TODAY + timedelta(days=30),
        status="AUTHORISED",
        line_amount_types=LineAmountTypes.EXCLUSIVE,
        line_items=[
            LineItem(
                description=line["description"],
                quantity=float(line["quantity"]),
                unit_amount=float(line["unit_price"]),
                discount_rate=float(line["discount"]) or None,
                account_code="200",
                tax_type="OUTPUT2" if line["tax_rate"] else "NONE",
            )
            for line in lines_of(pattern, 0)
        ],
    )


def _batched(api: AccountingApi, tenant: str, numbers: range) -> float:
    """Seconds that these documents take in calls of 50."""
    began = time.perf_counter()
    for first in numbers[::BATCH]:
        some = [_document(f"B-{first + one}", first + one) for one in range(BATCH)]
        made = api.create_invoices(tenant, Invoices(invoices=some), summarize_errors=False)
        assert len(made.invoices) == BATCH
        assert made.invoices[-1].invoice_id
    return time.perf_counter() - began


def _alone(api: AccountingApi, tenant: str, count: int) -> float:
    """Seconds that so many documents take in calls of one."""
    began = time.perf_counter()
    for one in range(count):
        made = api.create_invoices(tenant, Invoices(invoices=[_document(f"A-{one}", one)]))
        assert made.invoices[0].invoice_id
    return time.perf_counter() - began


# -- queues -----------------------------------------------------------------------------------


def queueing(
    jobs: int, rounds: int = 3, kinds: tuple[str, ...] = (SQLITE, POSTGRES)
) -> dict[str, Any]:
    """Jobs per second, added and carried out, where carrying out does nothing.

    Each on the database that it shares with XTiger, one job a record: so they would be used.
    Both take turns; how fast the disk commits at the moment decides much of it.
    """
    peers = {SQLITE: ("huey", _huey), POSTGRES: ("procrastinate", _procrastinate)}
    figures: dict[str, Any] = {}
    holds = True
    for kind in kinds:
        name, peer = peers[kind]
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(_ours(kind, jobs))
            theirs.append(peer(jobs))
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        figures[f"XTiger on {kind}"] = round(median(ours))
        figures[f"{name} on {kind}"] = round(median(theirs))
        figures[f"ratio to {name}"] = round(median(ratios), 1)
        figures[f"ratios to {name} of the turns"] = [round(ratio, 1) for ratio in ratios]
        holds = holds and verdict(median(ratios), least=LEAST_QUEUE)
    return {
        "what": "records per second through the queue alone",
        "records": jobs,
        **figures,
        "bound": f">= {LEAST_QUEUE} each",
        "holds": holds,
    }


def _ours(kind: str, jobs: int) -> float:
    """Enqueues in one pass, claims in the chunks of a drain and ends them."""
    now = datetime.now(UTC)
    with database(kind) as made:
        with made.write() as session:
            session.add(Organisation(id=1, tenant_id="t", name="Bench", chosen=True))
        entries = [
            queue.Entry(1, RecordRef(Module.CONTACTS, str(one)), label="x") for one in range(jobs)
        ]
        began = time.perf_counter()
        for first in range(0, jobs, 500):
            with made.write() as session:
                queue.enqueue(session, entries[first : first + 500], now=now)
        ended, after = 0, 0
        with made.read() as session:
            [rank] = claims.due_ranks(session, 1, up_to=jobs + 1, now=now)
        while True:
            with made.write() as session:
                some = claims.claim(
                    session,
                    1,
                    rank=rank,
                    up_to=jobs + 1,
                    after=after,
                    limit=drain.CLAIM,
                    now=now,
                    run_id=None,
                )
            if not some:
                break
            after = some[-1].id
            for first in range(0, len(some), BATCH):
                ids = [item.id for item in some[first : first + BATCH]]
                with made.write() as session:
                    queue.end(session, ids, State.SUCCEEDED)
                ended += len(ids)
        took = time.perf_counter() - began
    assert ended == jobs
    return jobs / took


def _huey(jobs: int) -> float:
    """SqliteHuey with its own synchronous setting at the care for the disk that XTiger takes."""
    from huey import SqliteHuey

    with TemporaryDirectory(prefix="xtiger-bench-") as folder:
        kept = SqliteHuey(filename=str(Path(folder) / "huey.db"), fsync=True, results=False)
        done: list[int] = []

        def record(one: int) -> None:
            done.append(one)

        job = kept.task()(record)
        began = time.perf_counter()
        for one in range(jobs):
            job(one)
        while (waiting := kept.dequeue()) is not None:
            kept.execute(waiting)
        took = time.perf_counter() - began
        kept.storage.close()
    assert len(done) == jobs
    return jobs / took


def _procrastinate(jobs: int) -> float:
    """Deferred in one call for all; one worker that takes what is there and ends."""
    import procrastinate

    async def carry_out(url: str) -> float:
        app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
        done: list[int] = []

        @app.task(name="record")
        async def record(one: int) -> None:
            done.append(one)

        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            began = time.perf_counter()
            await record.batch_defer_async(*({"one": one} for one in range(jobs)))
            await app.run_worker_async(
                wait=False, concurrency=4, install_signal_handlers=False, listen_notify=False
            )
            took = time.perf_counter() - began
        assert len(done) == jobs
        return jobs / took

    with postgres() as url:
        return asyncio.run(carry_out(url.replace("postgresql+psycopg://", "postgresql://", 1)))

"""(e) Records per second beside other ways to send them, and beside other queues."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
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
    _lines,
    database,
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
#: Seconds that Xero takes for an answer beside its own work, on the way to it and back.
WAIT = 0.25


def measure(
    records: int = 4000, batched: int = 2000, alone: int = 60, jobs: int = 5000
) -> dict[str, Any]:
    """Two comparisons: sending documents to Xero, and the queue alone."""
    sent, queued = sending(records, batched, alone), queueing(jobs)
    return {"sending": sent, "queue": queued, "holds": sent["holds"] and queued["holds"]}


# -- sending ----------------------------------------------------------------------------------


def sending(records: int, batched: int, alone: int) -> dict[str, Any]:
    """Invoices of five lines per second, against a local Xero that answers as late as Xero does.

    The minute's limit is raised, or all would be bound by it: 60 records a minute one by one,
    3,000 in batches. XTiger reads its CRM, works out amounts, journals, settles and logs on the
    way, with four calls at once; xero-python is given lists that are ready in memory, and sends
    one call after the other, as its examples do.
    """
    with stage(Books(200, 200, records, 0), wait=WAIT) as made:
        _add(made, [Module.CONTACTS, Module.PRODUCTS])
        assert drain.drain(made.services, made.organisation_id).done
        began = time.perf_counter()
        _add(made, [Module.INVOICES])
        added = time.perf_counter() - began
        ended = drain.drain(made.services, made.organisation_id)
        took = time.perf_counter() - began
        assert ended.done, ended.sentence
        api = _api(made)
        tenant = made.xero.told["organisations"][0]["tenant_id"]
        at_once = _batched(api, tenant, batched)
        one_by_one = _alone(api, tenant, alone)
    ours = records / took
    ratios = ours / one_by_one, ours / at_once
    return {
        "what": "records per second of XTiger / of xero-python",
        "seconds an answer takes on its way": WAIT,
        "what bounds it": "the local Xero's own work and the wait; XTiger has four calls at once",
        "XTiger": round(ours, 1),
        "of its time, adding to the queue": round(added / took, 3),
        "xero-python in batches of 50": round(at_once, 1),
        "xero-python one by one": round(one_by_one, 1),
        "ratio to one by one": round(ratios[0], 1),
        "ratio to batches": round(ratios[1], 2),
        "bound": f">= {LEAST_ALONE} and >= {LEAST_BATCHED}",
        "holds": verdict(ratios[0], least=LEAST_ALONE) and verdict(ratios[1], least=LEAST_BATCHED),
    }


def _add(made: Stage, modules: list[Module]) -> None:
    intake.add_selected(made.services, organisation_id=None, modules=modules, who="Bench")


def _api(made: Stage) -> AccountingApi:
    """xero-python as its own documentation sets it up, at the local Xero's address."""
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
            for line in _lines(pattern, 0)
        ],
    )


def _batched(api: AccountingApi, tenant: str, count: int) -> float:
    began = time.perf_counter()
    for first in range(0, count, BATCH):
        some = [_document(f"B-{first + one}", first + one) for one in range(BATCH)]
        made = api.create_invoices(tenant, Invoices(invoices=some), summarize_errors=False)
        assert len(made.invoices) == BATCH
        assert made.invoices[-1].invoice_id
    return count / (time.perf_counter() - began)


def _alone(api: AccountingApi, tenant: str, count: int) -> float:
    began = time.perf_counter()
    for one in range(count):
        made = api.create_invoices(tenant, Invoices(invoices=[_document(f"A-{one}", one)]))
        assert made.invoices[0].invoice_id
    return count / (time.perf_counter() - began)


# -- queues -----------------------------------------------------------------------------------


def queueing(jobs: int) -> dict[str, Any]:
    """Jobs per second, added and carried out, where carrying out does nothing.

    Each on the database that it shares with XTiger, one job a record: so they would be used.
    """
    figures = {
        "XTiger on SQLite": _ours(SQLITE, jobs),
        "huey on SQLite": _huey(jobs),
        "XTiger on PostgreSQL": _ours(POSTGRES, jobs),
        "procrastinate on PostgreSQL": _procrastinate(min(jobs, 2000)),
    }
    ratios = (
        figures["XTiger on SQLite"] / figures["huey on SQLite"],
        figures["XTiger on PostgreSQL"] / figures["procrastinate on PostgreSQL"],
    )
    return {
        "what": "records per second through the queue alone",
        "records": jobs,
        **{name: round(figure) for name, figure in figures.items()},
        "ratio to huey": round(ratios[0], 1),
        "ratio to procrastinate": round(ratios[1], 1),
        "bound": f">= {LEAST_QUEUE} each",
        "holds": all(verdict(ratio, least=LEAST_QUEUE) for ratio in ratios),
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

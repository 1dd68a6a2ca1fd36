"""Reading an organisation of any size: memory holds one page, and nothing is missed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from xtiger import sandbox
from xtiger.domain.resources import Resource
from xtiger.engine.services import SystemClock
from xtiger.ports import Access
from xtiger.sandbox.kept.state import Keys, State, Stored
from xtiger.xero.client import XeroClient

COUNT = 100_000 if os.environ.get("XTIGER_PROVE") else 6_000
PAGE = 1_000


def _model(path: Path) -> tuple[str, Stored]:
    """One invoice made through the API, to be copied: tenant and how it is stored."""
    with sandbox.start(state=path) as running:
        answer = requests.post(
            f"{running.identity_url}/connect/token",
            data={"grant_type": "client_credentials"},
            auth=(running.client_id, running.client_secret),
            timeout=30,
        )
        tenant = running.organisations[0]["tenant_id"]
        line = {"Description": "Beans", "Quantity": 2, "UnitAmount": 9.99, "AccountCode": "200"}
        body = {"Type": "ACCREC", "Contact": {"Name": "Harbour Cafe"}, "LineItems": [line] * 5}
        requests.put(
            f"{running.api_url}/api.xro/2.0/Invoices",
            json=body,
            headers={
                "Authorization": f"Bearer {answer.json()['access_token']}",
                "xero-tenant-id": tenant,
            },
            timeout=30,
        ).raise_for_status()
    state = State(path)
    model = state.objects(tenant, "invoice")[0]
    state.close()
    return tenant, model


@pytest.fixture
def large(tmp_path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """A local Xero in a process of its own whose first organisation has COUNT invoices."""
    path = tmp_path / "large.sqlite"
    tenant, model = _model(path)
    # a hundred in a second, as when people and imports work side by side for a long time
    moments = count(time.time() - COUNT / 100, 0.01)
    state = State(path, clock=lambda: next(moments))
    with state.transaction():
        for place in range(COUNT - 1):
            body = model.body | {"InvoiceNumber": f"L-{place:06d}"}
            keys = Keys(
                name=str(body["InvoiceNumber"]),
                type="ACCREC",
                status=model.status,
                contact=body["ContactID"],
                date=body["Date"],
            )
            state.save(tenant, "invoice", str(uuid4()), body, keys)
    state.close()
    command = [sys.executable, "-m", "xtiger.sandbox", "--json", "--state", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield json.loads(child.stdout.readline()), tenant
        finally:
            child.terminate()


def test_memory_does_not_grow_with_the_organisation(
    large: tuple[dict[str, Any], str], record_property: Callable[[str, object], None]
) -> None:
    told, tenant = large
    answer = requests.post(
        f"{told['identity_url']}/connect/token",
        data={"grant_type": "client_credentials"},
        auth=(told["client_id"], told["client_secret"]),
        timeout=30,
    )
    access = Access(str(answer.json()["access_token"]), tenant)
    client = XeroClient(
        login_url=told["identity_url"],
        identity_url=told["identity_url"],
        api_url=told["api_url"],
        clock=SystemClock(),
    )
    peaks, numbers, read = [], 0, 0
    first = last = ""
    tracemalloc.start()
    try:
        for invoice in client.changes(access, Resource.INVOICES):
            assert len(invoice["LineItems"]) == 5
            read += 1
            numbers += str(invoice["InvoiceNumber"]).startswith("L-")
            first, last = first or str(invoice["InvoiceID"]), str(invoice["InvoiceID"])
            if read % PAGE == 0:
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
        client.close()
    # an object on the edge of two pages may come twice, none may be missing
    assert numbers >= COUNT - 1
    assert read <= COUNT + len(peaks)
    assert first != last
    # the second page is as large as any; what comes after a hundred pages is no larger
    assert max(peaks) < 1.25 * peaks[1]
    record_property(
        "figure",
        f"reading {read:,} invoices: {peaks[1] / 1e6:.1f} MB held after {2 * PAGE:,},"
        f" never more than {max(peaks) / 1e6:.1f} MB",
    )

"""What calls to Xero cost: CPU of client and local Xero for a batch, memory of a long reading.

`python -m tests.benchmarks.calls` prints it. Every figure stands beside another of the same run:
the machine's speed and load are in both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psutil
import requests

from xtiger.domain import exactjson
from xtiger.domain.resources import Resource, Verb
from xtiger.engine.services import SystemClock
from xtiger.ports import Access, Call
from xtiger.xero.client import XeroClient

BATCH = 50
LINES = 5

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the local Xero speaks http on loopback


@dataclass(frozen=True)
class LocalXero:
    """A local Xero in a process of its own."""

    told: dict[str, Any]
    process: psutil.Process

    def cpu(self) -> float:
        """Seconds of CPU so far, all threads."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def client(self) -> XeroClient:
        return XeroClient(
            login_url=self.told["identity_url"],
            identity_url=self.told["identity_url"],
            api_url=self.told["api_url"],
            clock=SystemClock(),
        )

    def access(self) -> Access:
        answer = requests.post(
            f"{self.told['identity_url']}/connect/token",
            data={"grant_type": "client_credentials"},
            auth=(self.told["client_id"], self.told["client_secret"]),
            timeout=30,
        )
        tenant = self.told["organisations"][0]["tenant_id"]
        return Access(str(answer.json()["access_token"]), tenant)


@contextmanager
def local_xero(*options: str) -> Iterator[LocalXero]:
    """Starts `xtiger sandbox` and ends it."""
    command = [sys.executable, "-m", "xtiger.sandbox", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield LocalXero(json.loads(child.stdout.readline()), psutil.Process(child.pid))
        finally:
            child.terminate()


def batch() -> bytes:
    """The body of one call: 50 authorised invoices of 5 lines."""
    line = {
        "Description": "Ethiopian beans, 1 kg",
        "Quantity": 3,
        "UnitAmount": 24.15,
        "AccountCode": "200",
        "TaxType": "OUTPUT2",
    }
    return exactjson.dumps(
        {
            "Invoices": [
                {
                    "Type": "ACCREC",
                    "InvoiceNumber": f"B-{uuid4()}",
                    "Contact": {"Name": "Harbour Cafe"},
                    "Date": "2026-11-21",
                    "DueDate": "2026-12-21",
                    "Status": "AUTHORISED",
                    "LineAmountTypes": "Exclusive",
                    "LineItems": [line] * LINES,
                }
                for _ in range(BATCH)
            ]
        }
    )


def writing(xero: LocalXero, calls: int) -> tuple[float, float, float]:
    """CPU seconds of client and local Xero, and seconds on the clock, of one batch each."""
    client, access = xero.client(), xero.access()
    bodies = [batch() for _ in range(calls + 3)]

    def send(body: bytes) -> None:
        call = Call(Resource.INVOICES, Verb.CREATE, body, str(uuid4()), BATCH)
        answer = client.save_many(access, call)
        assert all(one.stored for one in answer.elements)

    for body in bodies[:3]:
        send(body)
    own, other, began = time.process_time(), xero.cpu(), time.perf_counter()
    for body in bodies[3:]:
        send(body)
    spent = (
        time.process_time() - own,
        xero.cpu() - other,
        time.perf_counter() - began,
    )
    client.close()
    return tuple(value / calls for value in spent)  # type: ignore[return-value]


def main(calls: int = 60) -> None:
    """Prints one table."""
    print(f"A call of {BATCH} invoices x {LINES} lines, mean of {calls}:")
    print(f"{'local Xero':<24}{'client CPU':>12}{'its CPU':>12}{'ratio':>8}{'elapsed':>12}")
    for name, options in (("full", ()), ("plain", ("--plain",))):
        # the client paces itself by what the headers say is left
        with local_xero("--minute-limit", "1000000", *options) as xero:
            own, other, elapsed = writing(xero, calls)
        print(
            f"{name:<24}{own * 1000:>9.2f} ms{other * 1000:>9.2f} ms"
            f"{other / own:>8.1f}{elapsed * 1000:>9.2f} ms"
        )


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:]))

"""Faults, held answers and the log of requests of the local Xero."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from xtiger.sandbox import Running, start

from .conftest import SandboxClient


@pytest.fixture
def own() -> Iterator[SandboxClient]:
    with start() as running:
        yield SandboxClient(running)


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends, "waited ten seconds in vain"
        time.sleep(0.01)


def held(client: SandboxClient) -> int:
    count: int = client.control("held")["count"]
    return count


def test_held_answer_is_stored_while_the_client_is_killed(own: SandboxClient) -> None:
    own.control("hold", {"method": "PUT", "resource": "Invoices", "after_store": True})
    body = own.invoice()
    code = (
        "import sys, requests\n"
        "requests.put(sys.argv[1], data=sys.argv[2], headers={'Authorization': sys.argv[3],"
        "'xero-tenant-id': sys.argv[4], 'Idempotency-Key': 'k'}, timeout=60)"
    )
    url = f"{own.running.api_url}/api.xro/2.0/Invoices"
    arguments = [url, json.dumps(body), str(own.session.headers["Authorization"]), own.tenant]
    child = subprocess.Popen([sys.executable, "-c", code, *arguments])
    wait_for(lambda: held(own) == 1)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    wait_for(lambda: held(own) == 0)
    found = own.get("Invoices", params={"InvoiceNumbers": body["InvoiceNumber"]})
    assert len(found.json()["Invoices"]) == 1
    replay = own.call("PUT", "Invoices", data=json.dumps(body), headers={"Idempotency-Key": "k"})
    assert replay.status_code == 200
    counts = own.control("counts")[own.tenant]
    assert (counts["invoices"], counts["write_calls"], counts["write_replays"]) == (1, 1, 1)


def test_held_answer_goes_on_release(own: SandboxClient) -> None:
    own.control("hold", {"resource": "contacts"})
    answers: list[requests.Response] = []
    body = {"Name": "Held"}
    other = SandboxClient(own.running)
    thread = threading.Thread(target=lambda: answers.append(other.put("Contacts", body)))
    thread.start()
    wait_for(lambda: held(own) == 1)
    assert own.control("held")["held"][0]["stored"] is True
    assert own.get("Contacts", params={"where": 'Name=="Held"'}).json()["Contacts"]
    own.control("release", {})
    thread.join(5)
    assert answers[0].status_code == 200


def test_held_before_it_is_stored(own: SandboxClient) -> None:
    own.control("hold", {"resource": "contacts", "after_store": False})
    url = f"{own.running.api_url}/api.xro/2.0/Contacts"
    with pytest.raises(requests.ReadTimeout):
        own.session.put(url, json={"Name": "Never"}, timeout=0.1)
    wait_for(lambda: held(own) == 0)
    assert own.control("counts")[own.tenant]["contacts"] == 0


@pytest.mark.parametrize("status", [500, 503])
def test_status_fault_strikes_once_and_stores_nothing(own: SandboxClient, status: int) -> None:
    own.control("faults", [{"kind": "status", "status": status}])
    answer = own.put("Contacts", {"Name": "A"})
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert own.put("Contacts", {"Name": "A"}).status_code == 200
    log = own.control("requests")["requests"]
    assert [(one["status"], one.get("fault")) for one in log] == [(status, "status"), (200, None)]


def test_status_fault_after_store(own: SandboxClient) -> None:
    own.control("faults", {"kind": "status", "status": 500, "after_store": True})
    assert own.put("Contacts", {"Name": "A"}).status_code == 500
    assert own.control("counts")[own.tenant]["contacts"] == 1


@pytest.mark.parametrize(
    ("problem", "retry"), [("minute", "26"), ("day", "26"), ("concurrent", None)]
)
def test_limit_fault_has_the_measured_form(
    own: SandboxClient, problem: str, retry: str | None
) -> None:
    fault = {"kind": "limit", "problem": problem, "retry_after": int(retry) if retry else None}
    own.control("faults", [fault])
    answer = own.get("Contacts")
    assert (answer.status_code, answer.content) == (429, b"")
    assert "Content-Type" not in answer.headers
    assert answer.headers["X-Rate-Limit-Problem"] == problem
    assert answer.headers.get("Retry-After") == retry


@pytest.mark.parametrize(("after_store", "contacts"), [(True, 1), (False, 0)])
def test_reset_before_and_after_store(own: SandboxClient, after_store: bool, contacts: int) -> None:
    own.control("faults", {"kind": "reset", "method": "PUT", "after_store": after_store})
    with pytest.raises(requests.ConnectionError):
        own.put("Contacts", {"Name": "A"})
    assert own.control("counts")[own.tenant]["contacts"] == contacts


def test_half_a_body(own: SandboxClient) -> None:
    own.control("faults", {"kind": "half", "resource": "Contacts"})
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        own.put("Contacts", {"Name": "A"})
    assert own.control("counts")[own.tenant]["contacts"] == 1


def test_malformed_json_and_slow_answers(own: SandboxClient) -> None:
    own.control("faults", [{"kind": "malformed"}, {"kind": "slow", "seconds": 0.2}])
    with pytest.raises(requests.JSONDecodeError):
        own.get("Organisation").json()
    began = time.monotonic()
    assert own.get("Organisation").json()["Status"] == "OK"
    assert time.monotonic() - began >= 0.2


def test_lost_answer_of_the_token_endpoint(own: SandboxClient) -> None:
    own.control("faults", {"kind": "reset", "resource": "token", "after_store": True})
    with pytest.raises(requests.ConnectionError):
        own.token()
    assert own.token()["access_token"]


def test_fault_counts_down_and_leaves_other_calls_alone(own: SandboxClient) -> None:
    own.control("faults", {"kind": "status", "method": "GET", "resource": "Items", "count": 2})
    assert own.get("Contacts").status_code == 200
    assert [own.get("Items").status_code for _ in range(3)] == [503, 503, 200]


def test_nonsense_is_no_fault(own: SandboxClient) -> None:
    assert "error" in own.control("faults", {"kind": "earthquake"})
    assert "error" in own.control("faults", {"kind": "slow", "colour": "red"})


def test_log_tells_each_element(own: SandboxClient) -> None:
    batch = [
        own.invoice(Url="https://crm.example.com/1"),
        own.invoice(CurrencyCode="EUR"),
    ]
    own.put("Invoices?summarizeErrors=false", batch)
    own.get("Contacts")
    first, second = own.control("requests?after=0")["requests"]
    assert (first["method"], first["resource"], first["status"]) == ("PUT", "Invoices", 200)
    assert first["time"].endswith("+00:00")
    good, bad = first["elements"]
    assert (good["ok"], good["created"], good["url"]) == (True, True, "https://crm.example.com/1")
    assert good["number"] == batch[0]["InvoiceNumber"]
    assert (bad["ok"], bad["created"], bad["index"]) == (False, False, 1)
    assert bad["errors"] == ["Organisation is not subscribed to currency EUR"]
    assert second["sequence"] == first["sequence"] + 1
    assert own.control(f"requests?after={first['sequence']}")["requests"] == [second]
    own.control("requests/clear", {})
    assert own.control("requests")["requests"] == []
    own.get("Contacts")
    assert own.control("requests")["requests"][0]["sequence"] == second["sequence"] + 1


def test_foreign_web_page_cannot_command(sandbox: Running) -> None:
    answer = requests.post(
        f"{sandbox.api_url}/_control/faults",
        data="[]",
        headers={"Content-Type": "text/plain"},
        timeout=10,
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["tokens/expire", "release", "requests/clear"])
def test_foreign_web_page_cannot_command_with_an_empty_body(sandbox: Running, path: str) -> None:
    url = f"{sandbox.api_url}/_control/{path}"
    foreign = {"Origin": "https://elsewhere.example"}
    assert requests.post(url, headers=foreign, timeout=10).status_code == 403
    assert requests.post(url, headers={"Origin": "null"}, timeout=10).status_code == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("limits", []),
        ("limits", {"minute": "many"}),
        ("organisations/{}", {"PeriodLockDate": "some day"}),
        ("organisations/{}", 1),
        ("dial", "all"),
        ("webhooks", []),
        ("webhooks/mishaps", [1]),
        ("webhooks/mishaps", {"drop": 10**20}),
        ("webhooks/mishaps", {"drop": 1.5}),
        ("webhooks/mishaps", {"number": 1}),
        ("webhooks", {"url": f"http://localhost:{10**20}/"}),
        ("identity", None),
        ("hold", []),
    ],
)
def test_what_the_control_cannot_read_is_refused(
    sandbox_client: SandboxClient, path: str, body: object
) -> None:
    url = f"{sandbox_client.running.api_url}/_control/{path.format(sandbox_client.tenant)}"
    answer = requests.post(url, json=body, data="null" if body is None else None, timeout=10)
    assert answer.status_code in (400, 415)


@pytest.mark.parametrize(
    "path", ["/calls?before={}", "/calls?before=-{}", "/_control/requests?after={}"]
)
def test_sequences_beyond_all_numbers_find_nothing(sandbox: Running, path: str) -> None:
    answer = requests.get(sandbox.api_url + path.format("9" * 30), timeout=10)
    assert answer.status_code == 200


def test_counts_tell_every_kind(own: SandboxClient) -> None:
    lines = [{"Description": "x", "UnitAmount": 10, "AccountCode": "200"}]
    common = {"Contact": {"Name": "Ana"}, "Status": "AUTHORISED", "LineItems": lines}
    due = own.created("Invoices", common | {"Type": "ACCREC", "DueDate": "2026-12-01"})
    note = own.created("CreditNotes", common | {"Type": "ACCRECCREDIT"})
    part = {"Invoice": {"InvoiceID": due["InvoiceID"]}, "Amount": 1, "Date": "2026-11-01"}
    own.put(f"CreditNotes/{note['CreditNoteID']}/Allocations", part)
    own.call("PUT", f"Invoices/{due['InvoiceID']}/Attachments/a.txt", data=b"a")
    counts = own.control("counts")[own.tenant]
    assert (counts["invoices"], counts["creditnotes"], counts["allocations"]) == (1, 1, 1)
    assert counts["attachments"] == 1
    assert counts["historyrecords"] >= 4
    assert counts["accounts"] > 0
    assert "organisations" not in counts


@pytest.mark.parametrize("named", [True, False])
def test_sixth_call_at_once_is_refused_when_limits_are_enforced(*, named: bool) -> None:
    """A custom connection may leave the tenant's header out."""
    with start(enforce_limits=True) as running:
        client = SandboxClient(running)
        client.control("hold", {"resource": "Organisation", "count": 5})
        others = [SandboxClient(running) for _ in range(5)]
        for one in others if not named else []:
            del one.session.headers["xero-tenant-id"]
        threads = [threading.Thread(target=one.get, args=("Organisation",)) for one in others]
        for thread in threads:
            thread.start()
        wait_for(lambda: held(client) == 5)
        answer = client.get("Contacts")
        assert (answer.status_code, answer.content) == (429, b"")
        assert answer.headers["X-Rate-Limit-Problem"] == "concurrent"
        assert "Retry-After" not in answer.headers
        client.control("release", {})
        for thread in threads:
            thread.join(5)
        assert client.get("Contacts").status_code == 200

"""Idempotency-Key at the local Xero."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from uuid import uuid4

import requests

from xtiger.sandbox import start

from .conftest import SandboxClient


def keyed(key: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Idempotency-Key": key}}


def test_same_key_and_request_gets_the_same_bytes(sandbox_client: SandboxClient) -> None:
    body, key = sandbox_client.invoice(), str(uuid4())
    first = sandbox_client.put("Invoices", body, **keyed(key))
    again = sandbox_client.put("Invoices", body, **keyed(key))
    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    entries = sandbox_client.control("requests")["requests"][-2:]
    assert [one["replayed"] for one in entries] == [False, True]
    assert entries[1]["elements"] == entries[0]["elements"]
    assert entries[1]["idempotency_key"] == key


def test_key_with_another_request_is_refused(sandbox_client: SandboxClient) -> None:
    body, key = sandbox_client.invoice(), str(uuid4())
    sandbox_client.put("Invoices", body, **keyed(key))
    for method, path, other in (
        ("PUT", "Invoices", sandbox_client.invoice()),
        ("POST", "Invoices", body),
        ("PUT", "Invoices?unitdp=4", body),
    ):
        answer = sandbox_client.call(method, path, other, **keyed(key))
        assert answer.status_code == 400
        assert answer.json()["Message"] == (
            f"Idempotency Key: {key} is used with a different request."
        )
    assert sandbox_client.put("Invoices", body, **keyed(key)).status_code == 200


def test_errors_are_remembered_too(sandbox_client: SandboxClient) -> None:
    name, key = sandbox_client.name(), str(uuid4())
    contact = sandbox_client.created("Contacts", {"Name": name})
    first = sandbox_client.put("Contacts", {"Name": name}, **keyed(key))
    assert first.status_code == 400
    renamed = {"ContactID": contact["ContactID"], "Name": f"{name} moved"}
    assert sandbox_client.post("Contacts", renamed).status_code == 200
    again = sandbox_client.put("Contacts", {"Name": name}, **keyed(key))
    assert (again.status_code, again.content) == (400, first.content)
    assert sandbox_client.put("Contacts", {"Name": name}, **keyed(str(uuid4()))).ok


def test_key_is_ignored_on_get(sandbox_client: SandboxClient) -> None:
    key = str(uuid4())
    assert sandbox_client.get("Organisation", **keyed(key)).ok
    assert sandbox_client.get("Accounts", **keyed(key)).ok


def test_key_longer_than_128_is_refused(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.invoice()
    assert sandbox_client.put("Invoices", body, **keyed("k" * 129)).status_code == 400
    assert sandbox_client.put("Invoices", body, **keyed("k" * 128)).status_code == 200


def test_key_is_forgotten_after_six_minutes_of_sandbox_time() -> None:
    with start(time_factor=0.0005) as running:
        client = SandboxClient(running)
        body, key = client.invoice(), str(uuid4())
        first = client.put("Invoices", body, **keyed(key))
        assert client.put("Invoices", body, **keyed(key)).content == first.content
        time.sleep(0.25)
        late = client.put("Invoices", body, **keyed(key))
        assert late.status_code == 400
        assert "Invoice # must be unique." in late.text


def test_memory_survives_a_restart(tmp_path: Path) -> None:
    with start(state=tmp_path / "xero.db") as running:
        client = SandboxClient(running)
        body, key = client.invoice(), str(uuid4())
        first = client.put("Invoices", body, **keyed(key))
    with start(state=tmp_path / "xero.db") as running:
        client = SandboxClient(running)
        assert client.put("Invoices", body, **keyed(key)).content == first.content


def test_two_at_once_create_one(sandbox_client: SandboxClient) -> None:
    body, key = sandbox_client.invoice(), str(uuid4())
    del body["InvoiceNumber"]
    before = sandbox_client.control("counts")[sandbox_client.tenant]["invoices"]
    answers: list[bytes] = []

    def send() -> None:
        url = f"{sandbox_client.running.api_url}/api.xro/2.0/Invoices"
        headers = dict(sandbox_client.session.headers) | {"Idempotency-Key": key}
        answers.append(requests.put(url, json=body, headers=headers, timeout=10).content)

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    after = sandbox_client.control("counts")[sandbox_client.tenant]["invoices"]
    assert after == before + 1


def test_a_body_that_cannot_be_read_is_remembered_and_keeps_nothing(
    sandbox_client: SandboxClient,
) -> None:
    key, name = keyed(str(uuid4())), sandbox_client.name()
    body = {"Contacts": [{"Name": name}, {"Name": ["no", "text"]}]}
    first = sandbox_client.put("Contacts", body, **key)
    again = sandbox_client.put("Contacts", body, **key)
    assert (first.status_code, first.content) == (400, again.content)
    assert sandbox_client.put("Contacts", {"Name": name}).status_code == 200

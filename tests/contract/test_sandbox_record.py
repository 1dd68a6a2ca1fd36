"""The record of what goes over the wire: complete, in one file a process, without secrets."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from xtiger.sandbox import start
from xtiger.sandbox.records import Exchange, Shelf, described

from .conftest import SandboxClient


def lines(folder: Path) -> list[dict[str, Any]]:
    [file] = list(folder.glob("*.jsonl"))
    assert file.name == f"{os.getpid()}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def exchange(request: bytes = b"", answer: bytes = b"", **more: Any) -> Exchange:
    plain: dict[str, Any] = {
        "time": "t",
        "method": "PUT",
        "path": "/p",
        "request_headers": (),
        "request": request,
        "status": 200,
        "answer_headers": (),
        "answer": answer,
        "fault": None,
        "private": False,
    }
    return Exchange(**plain | more)


def test_every_exchange_is_recorded(tmp_path: Path) -> None:
    with start(record=tmp_path / "deep" / "folder") as running:
        client = SandboxClient(running)
        client.put("Contacts?summarizeErrors=false", {"Name": "Å"})
        client.get("Contacts/nobody")
        client.session.get(f"{running.api_url}/Connections")
        client.session.get(f"{running.api_url}/healthz")
        client.control("counts")
    found = lines(tmp_path / "deep" / "folder")
    assert [(one["method"], one["path"], one["status"]) for one in found] == [
        ("POST", "/connect/token", 200),
        ("PUT", "/api.xro/2.0/Contacts?summarizeErrors=false", 200),
        ("GET", "/api.xro/2.0/Contacts/nobody", 404),
        ("GET", "/Connections", 200),
    ]
    write = found[1]
    assert json.loads(write["request"]) == {"Name": "Å"}
    assert json.loads(write["answer"])["Contacts"][0]["Name"] == "Å"
    assert write["request_headers"]["xero-tenant-id"] == client.tenant
    assert write["request_headers"]["content-type"] == "application/json"
    assert write["answer_headers"]["content-type"] == "application/json; charset=utf-8"
    assert write["answer_headers"]["x-daylimit-remaining"] == "4999"
    assert write["answer_size"] == len(write["answer"].encode())
    assert write["fault"] is None


def test_secrets_are_left_out(tmp_path: Path) -> None:
    with start(record=tmp_path, auto_consent=True, webhook_url="http://localhost:1/") as running:
        base, back = running.identity_url, "http://localhost:1/back"
        secret = {"client_id": running.client_id, "client_secret": running.client_secret}
        asked = {
            "response_type": "code",
            "redirect_uri": back,
            "scope": "openid offline_access accounting.contacts",
            "client_id": running.client_id,
        }
        url = f"{base}/identity/connect/authorize"
        location = requests.get(url, params=asked, allow_redirects=False, timeout=5).headers[
            "Location"
        ]
        code = location.split("code=")[1].split("&")[0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        token = requests.post(f"{base}/connect/token", data=form | secret, timeout=5).json()
        bearer = {"Authorization": f"Bearer {token['access_token']}", "Cookie": "session=mine"}
        requests.get(f"{base}/connections", headers=bearer, timeout=5)
        renew = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
        second = requests.post(f"{base}/connect/token", data=renew | secret, timeout=5).json()
        requests.post(
            f"{base}/connect/revocation",
            data={"token": second["refresh_token"]} | secret,
            timeout=5,
        )
    text = (tmp_path / f"{os.getpid()}.jsonl").read_text()
    hidden = [code, running.client_secret, "session=mine"]
    hidden += [found[name] for found in (token, second) for name in found if "token" in name[-6:]]
    hidden = [one for one in hidden if one != "Bearer"]
    assert len(hidden) > 7
    assert [one for one in hidden if one in text] == []
    assert "authorization" not in lines(tmp_path)[2]["request_headers"]
    answer = json.loads(lines(tmp_path)[1]["answer"])
    assert (answer["access_token"], answer["expires_in"]) == ("hidden", 1800)
    assert "grant_type=authorization_code" in lines(tmp_path)[1]["request"]


def test_consent_page_is_not_recorded(tmp_path: Path) -> None:
    with start(record=tmp_path) as running:
        url = f"{running.identity_url}/identity/connect/authorize"
        requests.get(url, params={"client_id": "x"}, timeout=5)
    found = lines(tmp_path)[0]
    assert (found["status"], found["answer"]) == (400, None)
    assert found["answer_size"] > 100


@pytest.mark.parametrize(
    ("fault", "status"), [("503", 503), ("malformed", 200), ("half", 200), ("reset-after", 0)]
)
def test_faults_are_marked(tmp_path: Path, fault: str, status: int) -> None:
    with start(record=tmp_path) as running:
        client = SandboxClient(running)
        try:
            client.get("Organisation", headers={"X-Sandbox-Fault": fault})
        except requests.RequestException:
            assert fault in ("half", "reset-after")
    found = lines(tmp_path)[-1]
    assert (found["status"], bool(found["fault"])) == (status, True)


def test_large_exchanges_leave_their_sizes() -> None:
    found = described(exchange(b"a" * 1_500_000, b"b" * 600_000))
    assert (found["request_size"], found["answer_size"]) == (1_500_000, 600_000)
    assert "request" not in found
    assert "answer" not in found


def test_bytes_are_kept_as_base64() -> None:
    found = described(exchange(b"\xff\x00", b"{}"))
    assert base64.b64decode(found["request_base64"]) == b"\xff\x00"
    assert "request" not in found
    assert found["answer"] == "{}"


def test_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XTIGER_SANDBOX_RECORD", str(tmp_path))
    with start() as running:
        SandboxClient(running).get("Organisation")
    assert len(lines(tmp_path)) == 2


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XTIGER_SANDBOX_RECORD", raising=False)
    monkeypatch.chdir(tmp_path)
    with start() as running:
        SandboxClient(running).get("Organisation")
        assert running._sandbox.recorder is None
    assert list(tmp_path.iterdir()) == []


def test_two_sandboxes_of_a_process_share_a_file(tmp_path: Path) -> None:
    with start(record=tmp_path) as first, start(record=tmp_path) as second:

        def play(client: SandboxClient) -> None:
            for _ in range(30):
                client.get("Accounts")

        clients = [SandboxClient(one) for one in (first, second)]
        threads = [threading.Thread(target=play, args=(one,)) for one in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(lines(tmp_path)) == 62


def test_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with start(record=tmp_path) as running:
        SandboxClient(running)
    assert (tmp_path / f"{os.getpid()}.jsonl").stat().st_mode & 0o077 == 0


def test_the_shelf_forgets_the_oldest() -> None:
    shelf = Shelf()
    for number in range(30):
        shelf.keep(number, exchange(b"x" * 1_000_000))
    assert shelf.get(0) is None
    assert shelf.get(29) is not None
    shelf.clear()
    assert shelf.get(29) is None

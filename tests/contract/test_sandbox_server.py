"""The local Xero as a process: speed, one send, signals, state, limits."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from xtiger.sandbox import Running, server, start

from .conftest import SandboxClient

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """`python -m xtiger.sandbox --json` and its first line."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "xtiger.sandbox", "--json", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout
        self.told: dict[str, Any] = json.loads(self.child.stdout.readline())
        self.api_url: str = self.told["api_url"]
        self.identity_url: str = self.told["identity_url"]
        self.client_id: str = self.told["client_id"]
        self.client_secret: str = self.told["client_secret"]
        self.organisations: list[dict[str, str]] = self.told["organisations"]

    def end(self, number: int) -> int:
        self.child.send_signal(number)
        code = self.child.wait(10)
        self.child.communicate()
        return code


def client_of(process: Process) -> SandboxClient:
    return SandboxClient(process)  # type: ignore[arg-type]


def test_process_listens_when_it_says_so_and_ends_on_sigterm(tmp_path: Path) -> None:
    process = Process(
        "--port", "0", XTIGER_SANDBOX_CLIENT_ID="me", XTIGER_SANDBOX_CLIENT_SECRET="s"
    )
    assert requests.get(f"{process.api_url}/healthz", timeout=5).text == "ok"
    assert process.api_url.startswith("http://localhost:")
    assert (process.client_id, process.client_secret) == ("me", "s")
    assert [one["currency"] for one in process.organisations] == ["NZD", "GBP"]
    assert set(process.organisations[0]) == {"tenant_id", "name", "country", "currency"}
    began = time.monotonic()
    assert process.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5


def test_state_survives_sigkill_and_restart(tmp_path: Path) -> None:
    path = tmp_path / "xero.db"
    process = Process("--state", str(path))
    client = client_of(process)
    made = client.created("Invoices", client.invoice())
    process.end(signal.SIGKILL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    again = Process("--state", str(path))
    assert again.client_secret == process.client_secret
    assert again.organisations == process.organisations
    old_token = str(client.session.headers["Authorization"])
    fresh = client_of(again)
    fresh.session.headers["Authorization"] = old_token
    found = fresh.get(f"Invoices/{made['InvoiceID']}").json()["Invoices"][0]
    assert found["InvoiceNumber"] == made["InvoiceNumber"]
    assert fresh.control("requests")["requests"][0]["method"] == "PUT"
    assert again.end(signal.SIGINT) == 0


def test_answers_leave_in_one_send(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    class Counting(server._Handler):
        def setup(self) -> None:
            super().setup()
            write = self.wfile.write

            def counted(data: bytes) -> int:
                sent.append(bytes(data))
                return write(data)

            self.wfile.write = counted  # type: ignore[assignment,method-assign]

    monkeypatch.setattr(server, "_Handler", Counting)
    with start() as running:
        client = SandboxClient(running)
        sent.clear()
        for _ in range(3):
            client.get("Accounts")
    assert len(sent) == 3
    assert all(one.startswith(b"HTTP/1.1 200 OK\r\n") and one.endswith(b"]}") for one in sent)


def test_keep_alive_answers_quickly(sandbox_client: SandboxClient) -> None:
    """A stall of 40 ms would delay each answer; a busy machine only delays some."""
    took = []
    for _ in range(50):
        began = time.perf_counter()
        sandbox_client.get("Organisation")
        took.append(time.perf_counter() - began)
    assert min(took) < 0.03


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com:80", "10.0.0.1", ""])
def test_foreign_host_is_refused(sandbox: Running, host: str) -> None:
    answer = requests.get(f"{sandbox.api_url}/healthz", headers={"Host": host}, timeout=5)
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "LOCALHOST:80"])
def test_own_host_is_served(sandbox: Running, host: str) -> None:
    answer = requests.get(f"{sandbox.api_url}/healthz", headers={"Host": host}, timeout=5)
    assert answer.status_code == 200


def test_listens_on_loopback_only(sandbox: Running) -> None:
    assert sandbox._server.server_address[0] == "127.0.0.1"


def test_chunked_body_is_read(sandbox_client: SandboxClient) -> None:
    body = json.dumps({"Name": sandbox_client.name()}).encode()
    answer = sandbox_client.call("PUT", "Contacts", data=iter([body[:5], body[5:]]))
    assert answer.status_code == 200
    assert sandbox_client.get("Organisation").status_code == 200


def test_limits_are_counted_but_not_enforced_by_default() -> None:
    with start() as running:
        client = SandboxClient(running)
        for _ in range(62):
            answer = client.get("Organisation")
        assert answer.status_code == 200
        assert answer.headers["X-DayLimit-Remaining"] == "4938"
        assert answer.headers["X-MinLimit-Remaining"] == "0"
        assert answer.headers["X-AppMinLimit-Remaining"] == "9938"


def test_enforced_minute_limit_answers_429_until_the_window_ends() -> None:
    now = [1_800_000_000.0]
    with start(enforce_limits=True, clock=lambda: now[0]) as running:
        client = SandboxClient(running)
        codes = [client.get("Organisation").status_code for _ in range(60)]
        assert set(codes) == {200}
        now[0] += 58.5
        refused = client.get("Organisation")
        assert refused.status_code == 429
        assert refused.content == b""
        assert "Content-Type" not in refused.headers
        assert refused.headers["X-Rate-Limit-Problem"] == "minute"
        assert refused.headers["X-MinLimit-Remaining"] == "0"
        assert refused.headers["Retry-After"] == "2"
        now[0] += 1.4
        assert client.get("Organisation").status_code == 429
        now[0] += 0.2
        assert client.get("Organisation").status_code == 200


def test_enforced_day_limit() -> None:
    with start(enforce_limits=True, day_limit=2) as running:
        client = SandboxClient(running)
        codes = [client.get("Organisation") for _ in range(3)]
        assert [one.status_code for one in codes] == [200, 200, 429]
        assert codes[2].headers["X-Rate-Limit-Problem"] == "day"
        assert int(codes[2].headers["Retry-After"]) > 80000


def test_port_in_use_is_said_plainly(sandbox: Running) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "xtiger.sandbox", "--port", str(sandbox.port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 1
    assert f"cannot listen on port {sandbox.port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_command_line_sets_dial_webhook_and_custom_connection(tmp_path: Path) -> None:
    options = ["--dial", "100", "--dial-kind", "503-text", "--dial-seed", "5"]
    options += ["--webhook-url", "http://localhost:1/hook", "--custom", "Thames Supplies"]
    options += ["--minute-limit", "7", "--broad-scopes", "--record", str(tmp_path / "record")]
    process = Process(*options, XTIGER_SANDBOX_WEBHOOK_KEY="the key")
    assert process.told["webhook_key"] == "the key"
    client = client_of(process)
    client.tenant = process.organisations[1]["tenant_id"]
    client.session.headers["xero-tenant-id"] = client.tenant
    assert client.get("Organisation").status_code == 503
    assert client.control("dial")["seed"] == 5
    assert client.control("limits")["minute"] == 7
    client.control("dial", {"percent": 0})
    assert client.get("Organisation").json()["Organisations"][0]["Name"] == "Thames Supplies"
    assert client.token(scope="accounting.transactions")["access_token"]
    assert process.end(signal.SIGTERM) == 0
    [file] = (tmp_path / "record").iterdir()
    assert file.name == f"{process.child.pid}.jsonl"
    assert len(file.read_text().splitlines()) >= 4


def test_command_line_starts_plain_mode() -> None:
    process = Process("--plain")
    client = client_of(process)
    assert client.put("Contacts", [{"Name": "A"}, {"Name": "A"}]).status_code == 200
    assert process.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--custom", "Nobody"], "no organisation is called Nobody"),
        (["--webhook-url", "http://example.com/"], "only http addresses of this machine"),
        (["--dial", "101"], "between 0 and 100"),
        (["--dial-kind", "removed"], "is not one of"),
        (["--dial-seed", "9" * 20], "seed must be a whole number"),
        (["--port", "99999"], "is not in the range 0<=x<=65535"),
        (["--port", "-1"], "is not in the range 0<=x<=65535"),
        (["--day-limit", "9" * 20], "is not in the range"),
        (["--state", "{}/garbage"], "The state file {}/garbage is no database."),
        (["--state", "{}/foreign"], "is a database, but not of a local Xero."),
        (["--state", "{}/none/x"], "The folder of the state file {}/none/x doesn't exist."),
        (
            ["--state", "{}/garbage/x"],
            "The state file {}/garbage/x can't be used: Not a directory.",
        ),
        (["--record", "{}/garbage/x"], "The folder {}/garbage/x can't be used"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(options: list[str], said: str, tmp_path: Path) -> None:
    garbage, foreign = tmp_path / "garbage", tmp_path / "foreign"
    garbage.write_bytes(b"no database at all, but long enough to be one" * 100)
    with contextlib.closing(sqlite3.connect(foreign)) as database:
        database.execute("CREATE TABLE people (name TEXT)")
    before = [one.read_bytes() for one in (garbage, foreign)]
    ended = failed(*(one.replace("{}", str(tmp_path)) for one in options))
    assert said.replace("{}", str(tmp_path)) in ended
    assert [one.read_bytes() for one in (garbage, foreign)] == before


def failed(*options: str) -> str:
    """What a sandbox that can't start says."""
    ended = subprocess.run(
        [sys.executable, "-m", "xtiger.sandbox", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert "listen" not in ended.stderr
    return ended.stderr


def test_a_state_file_belongs_to_one_sandbox(tmp_path: Path) -> None:
    path, other = tmp_path / "xero.db", tmp_path / "other.db"
    other.symlink_to(path)
    process = Process("--state", str(path))
    for name in (path, other):
        assert f"Another local Xero is using the state file {name}." in failed("--state", str(name))
        with pytest.raises(ValueError, match="Another local Xero is using"):
            start(state=name)
    assert client_of(process).get("Organisation").status_code == 200
    process.end(signal.SIGKILL)
    with start(state=path), pytest.raises(ValueError, match="Another local Xero is using"):
        start(state=path)
    again = Process("--state", str(path))
    assert again.organisations == process.organisations
    assert again.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    "wrong", [{"custom": "Nobody"}, {"dial": 101}, {"webhook_url": "http://example.com/"}]
)
def test_a_start_that_fails_leaves_the_state_free(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "xero.db"
    with pytest.raises(ValueError):
        start(state=path, **wrong)
    with start(state=path) as running:
        assert len(running.organisations) == 2


def test_sandbox_imports_nothing_else_of_xtiger() -> None:
    code = (
        "import sys, xtiger.sandbox.command\n"
        "print([m for m in sys.modules if m.startswith('xtiger.') "
        "and not m.startswith('xtiger.sandbox')])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    assert ended.stdout.strip() == "[]"

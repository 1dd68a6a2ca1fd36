"""The figures for Prometheus: right, for those who may read them, without names or secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests import books
from tests.conftest import Engine, free_port
from tests.engine.scenes import (
    KAURI,
    THAMES,
    change_organisation,
    crm,
    invoices,
    sync,
    tick,
)
from tests.fleet.yard import Yard
from xtiger.engine import intake
from xtiger.engine.upkeep import figures
from xtiger.store import workers
from xtiger.store.schema import Database
from xtiger.telemetry import may_read_figures

#: Who asks on the machine itself.
HERE = {
    "authorization": "",
    "address": "127.0.0.1",
    "host": "localhost:5000",
    "forwarded": False,
    "site": "localhost",
}


def read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each figure by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(engine: Engine, name: str, **labels: str) -> float | None:
    found = read(figures.exposition(engine.services).decode())
    return found.get((name, frozenset(labels.items())))


def test_the_queue_is_told_by_organisation_and_state(engine: Engine) -> None:
    ids = engine.connect(KAURI, THAMES)
    one, two = str(ids[KAURI]), str(ids[THAMES])
    invoices(engine, 3)
    with crm(engine) as session:
        bad = books.invoice(session, "INV-X", books.contact(session, "Bad", email="not-an-address"))
    tick(engine, bad)
    intake.relay(engine.services)
    assert told(engine, "xtiger_up") == 1
    pending = told(engine, "xtiger_queue_items", organisation=one, state="pending")
    assert pending == 6, "four invoices and two contacts"
    assert told(engine, "xtiger_queue_items", organisation=two, state="pending") == 0
    age = told(engine, "xtiger_queue_oldest_due_seconds", organisation=one)
    assert 0 < (age or 0) < 30
    sync(engine)
    assert told(engine, "xtiger_queue_items", organisation=one, state="pending") == 0
    assert told(engine, "xtiger_queue_items", organisation=one, state="failed") == 1
    assert told(engine, "xtiger_queue_items", organisation=one, state="blocked") == 1
    assert told(engine, "xtiger_queue_oldest_due_seconds", organisation=one) == 0
    assert told(engine, "xtiger_attempts_open", organisation=one) == 0
    assert told(engine, "xtiger_drains_running") == 0
    left = told(engine, "xtiger_calls_left_today", organisation=one)
    assert 0 < (left or 0) < 5000
    assert told(engine, "xtiger_organisation_waits", organisation=one) == 0
    change_organisation(engine, paused_at=engine.services.clock.now(), paused_by="Ana")
    assert told(engine, "xtiger_organisation_waits", organisation=one) == 1


def test_calls_are_counted_with_their_seconds(sqlite_engine: Engine) -> None:
    sqlite_engine.connect(KAURI)
    before = told(sqlite_engine, "xtiger_calls_total", kind="write", outcome="200") or 0
    seconds = told(sqlite_engine, "xtiger_call_seconds_count", kind="write") or 0
    invoices(sqlite_engine)
    sync(sqlite_engine)
    assert told(sqlite_engine, "xtiger_calls_total", kind="write", outcome="200") == before + 2
    assert told(sqlite_engine, "xtiger_call_seconds_count", kind="write") == seconds + 2


def test_workers_are_told_with_the_age_of_their_heartbeat(sqlite_engine: Engine) -> None:
    now = sqlite_engine.services.clock.now()
    with sqlite_engine.database.write() as session:
        workers.beat(session, "vm:1:ab", kind="fleet", now=now - timedelta(seconds=40))
    age = told(sqlite_engine, "xtiger_worker_beat_age_seconds", worker="vm:1:ab", kind="fleet")
    assert 40 <= (age or 0) < 60


def test_names_of_companies_and_people_arent_told(sqlite_engine: Engine) -> None:
    sqlite_engine.connect(KAURI)
    invoices(sqlite_engine)
    sync(sqlite_engine)
    text = figures.exposition(sqlite_engine.services).decode()
    assert [word for word in ("Kauri", "Ana", "INV-1") if word in text] == []
    names = {name for name, _ in read(text)}
    assert all(name.startswith("xtiger_") for name in names)


def test_a_database_that_is_away_is_a_figure_too(sqlite_engine: Engine, tmp_path: Any) -> None:
    sqlite_engine.services.database = Database(f"sqlite:///{tmp_path / 'none' / 'x.sqlite'}")
    assert told(sqlite_engine, "xtiger_up") == 0


def test_without_a_token_only_the_machine_itself_reads_them() -> None:
    assert may_read_figures("", **HERE)
    assert may_read_figures("", **(HERE | {"address": "::1", "host": "[::1]:5000"}))
    assert not may_read_figures("", **(HERE | {"address": "10.0.0.7"}))


@pytest.mark.parametrize(
    "passed_on", [{"forwarded": True}, {"host": "crm.example.com"}, {"site": "crm.example.com"}]
)
def test_a_proxy_on_the_same_machine_doesnt_open_them_to_the_world(
    passed_on: dict[str, Any],
) -> None:
    assert not may_read_figures("", **(HERE | passed_on))


def test_a_proxy_that_says_nothing_of_itself_doesnt_either(yard: Yard) -> None:
    """nginx's plain proxy_pass sends the address behind it as Host, and no header of its own."""
    yard.more["XTIGER_PUBLIC_URL"] = "https://crm.example.com"
    port, pages = free_port(), free_port()
    yard.start("serve", "--port", str(pages))
    yard.start("worker", "--metrics-port", str(port))
    refused = requests.get(f"http://127.0.0.1:{pages}/metrics", timeout=60)
    assert refused.status_code == 403
    assert refused.text.startswith("Send the token of XTIGER_METRICS_TOKEN.")
    told = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60)
    assert told.status_code == 200, "a worker's port has no pages: no proxy stands before it"


def test_with_a_token_nobody_reads_them_without_it() -> None:
    there = HERE | {"address": "10.0.0.7", "host": "crm.example.com", "forwarded": True}
    assert may_read_figures("long-word", **(there | {"authorization": "Bearer long-word"}))
    assert not may_read_figures("long-word", **(there | {"authorization": "Bearer long"}))
    assert not may_read_figures("long-word", **HERE)
    assert not may_read_figures("long-word", **(HERE | {"authorization": "Bearer lång"}))


def test_a_worker_and_a_server_tell_theirs_over_http(yard: Yard) -> None:
    port, pages = free_port(), free_port()
    yard.start("worker", "--metrics-port", str(port))
    yard.start("serve", "--port", str(pages))
    for each in (port, pages):
        answer = requests.get(f"http://127.0.0.1:{each}/metrics", timeout=60)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        kinds = {dict(labels).get("kind") for name, labels in read(answer.text) if "beat" in name}
        assert "worker" in kinds
        passed_on = {"X-Forwarded-For": "203.0.113.9"}
        refused = requests.get(f"http://127.0.0.1:{each}/metrics", headers=passed_on, timeout=60)
        assert refused.status_code == 403
    assert requests.get(f"http://127.0.0.1:{port}/", timeout=60).status_code == 404


def test_a_worker_whose_port_is_taken_says_so(yard: Yard) -> None:
    port = free_port()
    yard.start("worker", "--metrics-port", str(port))
    told = yard.call("worker", "--metrics-port", str(port))
    assert told.returncode == 1
    assert told.stderr.startswith(f"Error: Port {port} can't be used")

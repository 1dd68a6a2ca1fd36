"""Tokens and secrets are in no log line, no journal and no table in the clear."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import MetaData, select
from sqlalchemy.exc import IntegrityError

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    attempts,
    control,
    fault,
    invoices,
    retry,
    rows_of,
    sync,
    work,
)
from xtiger.engine.connection import tokens
from xtiger.store import journal
from xtiger.store.models import Attempt, Connection
from xtiger.telemetry import configure, configure_if_unset, logger


@contextmanager
def untouched() -> Iterator[None]:
    """Our log as a host finds it; after it, as it was."""
    ours = logging.getLogger("xtiger")
    before = (ours.handlers, ours.level, ours.propagate)
    ours.handlers, ours.level, ours.propagate = [], logging.NOTSET, True
    try:
        yield
    finally:
        ours.handlers, ours.level, ours.propagate = before


@contextmanager
def standalone() -> Iterator[None]:
    """Our log as the standalone server writes it."""
    with untouched():
        configure(verbose=True)
        yield


def secrets_of(engine: Engine) -> list[str]:
    [row] = rows_of(engine, Connection)
    stored = engine.ring.open(row.tokens)
    return [stored["access"], stored["refresh"], engine.settings.xero_client_secret]


def everything_stored(engine: Engine) -> str:
    """Every row of every table, as text, and what is packed in the journal unpacked."""
    parts: list[str] = []
    with engine.database.engine.connect() as connection:
        found = MetaData()
        found.reflect(connection)
        for table in found.tables.values():
            parts += [str(row) for row in connection.execute(select(table))]
    for attempt in rows_of(engine, Attempt):
        parts += [journal.body_of(attempt).decode(), journal.answer_of(attempt).decode()]
    return "\n".join(parts)


def test_no_secret_reaches_the_logs_the_journal_or_a_table(
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with standalone():
        engine.connect(KAURI)
        hidden = secrets_of(engine)
        invoices(engine, 2)
        fault(engine, "status", resource="Contacts", status=404)
        sync(engine)
        control(engine, "tokens/expire", {})
        retry(engine, "Ana Lee Ltd")
        fault(engine, "reset", resource="Invoices", after_store=True)
        invoices(engine, 2, first=3)
        sync(engine)
        control(engine, "tokens/expire", {"refresh": True})
        work(engine)
        sync(engine)
        hidden += secrets_of(engine)
    output = capfd.readouterr()
    said = "\n".join(
        [output.out, output.err, *(f"{r.getMessage()} {r.exc_text or ''}" for r in caplog.records)]
    )
    stored = everything_stored(engine)
    assert len(set(hidden)) == 5
    for secret in hidden:
        assert secret not in said
        assert secret not in stored


def test_the_journal_holds_bodies_and_no_authorisation(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine)
    sync(engine)
    for attempt in attempts(engine):
        body = journal.body_of(attempt).decode()
        assert "Bearer" not in body
        names = {name.lower() for name in attempt.answer_headers}
        assert names <= journal.KEPT_HEADERS
        assert "x-daylimit-remaining" in names


def test_what_a_worker_prints_of_itself_holds_no_secret(engine: Engine) -> None:
    engine.connect(KAURI)
    shown: Any = repr(engine.services) + repr(rows_of(engine, Connection))
    for secret in secrets_of(engine):
        assert secret not in shown


def test_the_apps_secret_is_not_in_what_a_traceback_shows(engine: Engine) -> None:
    assert engine.settings.xero_client_secret not in repr(tokens.app(engine.services))


def failing_with(secret: str) -> None:
    """Writes of an exception under way, with a secret in a variable and another in its words."""
    try:
        held = f"{secret}-held"
        raise ValueError(f"Bearer {secret}-said" if held else "")
    except ValueError:
        logger("drain").exception("a call failed", organisation="Kauri", token=secret)


def test_a_host_that_sets_up_nothing_is_told_of_a_failure_without_secrets(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with untouched():
        failing_with("tiger-lily")
    [record] = caplog.records
    said = record.getMessage()
    assert (record.name, record.levelname) == ("xtiger.drain", "ERROR")
    assert said.startswith("event='a call failed' organisation='Kauri' token='[hidden]'")
    assert "ValueError: Bearer [hidden]" in said
    assert record.exc_info is None
    assert "tiger-lily" not in said + "".join(capfd.readouterr())


def test_the_standalone_server_writes_one_line_an_event_with_its_time_and_part(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with standalone():
        failing_with("tiger-lily")
    [line] = capfd.readouterr().err.splitlines()
    assert re.match(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ERROR xtiger\.drain event='a call failed' ", line
    )
    assert "tiger-lily" not in line


def test_what_others_write_into_our_log_is_one_line_and_hidden_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with standalone():
        try:
            raise ValueError("Authorization: Bearer tiger.lily")
        except ValueError:
            logging.getLogger("xtiger").exception("Exception on /queue [GET]")
    [line] = capfd.readouterr().err.splitlines()
    assert line.endswith("ValueError: Authorization: Bearer [hidden]")


def test_what_a_database_complains_of_names_no_values(engine: Engine) -> None:
    with pytest.raises(IntegrityError) as wrong, engine.database.write() as session:
        session.add(Connection(email="tiger@lily.test", scope=None, connected_at=None))
        session.flush()
    assert "tiger@lily.test" not in str(wrong.value)


def test_a_hosts_worker_without_any_logging_says_when_and_which_part(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with untouched():
        configure_if_unset()
        logger("housekeeping").info("house kept")
    [line] = capfd.readouterr().err.splitlines()
    assert line.endswith(" INFO xtiger.housekeeping event='house kept'")


def test_a_host_that_has_set_up_logging_keeps_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    with untouched():
        configure_if_unset()
        assert logging.getLogger("xtiger").handlers == []

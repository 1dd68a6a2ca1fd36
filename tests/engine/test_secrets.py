"""Tokens and secrets are in no log line, no journal and no table in the clear."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog
from sqlalchemy import MetaData, select

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
from xtiger.engine import tokens
from xtiger.store import journal
from xtiger.store.models import Attempt, Connection
from xtiger.telemetry import configure


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
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    configure(verbose=True)
    request.addfinalizer(structlog.reset_defaults)
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

"""Tokens are refreshed once; a dead consent stops all and burns no tries."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    THAMES,
    ShiftedClock,
    all_ended,
    ask,
    attempts,
    control,
    created,
    fault,
    invoices,
    items,
    organisation,
    queue_of,
    rows_of,
    runs,
    sync,
    work,
)
from xtiger.domain.errors import AuthorisationError, PermanentError, TransientError
from xtiger.engine import connect, intake, scheduler
from xtiger.ports import TokenSet
from xtiger.store import leases
from xtiger.store.crypto import KeyRing
from xtiger.store.models import Connection


class Counted:
    """The real Xero, counting how often tokens were rotated."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.refreshed: list[str] = []
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def refresh(self, **values: str) -> TokenSet:
        with self._lock:
            self.refreshed.append(values["refresh_token"])
        found: TokenSet = self._inner.refresh(**values)
        return found


def worn_out(engine: Engine, seconds: float = -1) -> None:
    """Lets the stored access token end so many seconds from now."""
    with engine.database.write() as session:
        for row in session.query(Connection):
            row.expires_at = engine.services.clock.now() + timedelta(seconds=seconds)


def test_a_token_that_ends_soon_is_renewed_before_the_call(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine)
    worn_out(engine, seconds=60)
    services = engine.worker("w")
    services.xero = counted = Counted(services.xero)
    sync(engine, services)
    assert len(counted.refreshed) == 1
    assert all_ended(engine)


def test_a_token_that_ended_in_the_middle_is_renewed_and_the_call_made_once_more(
    each_engine: Engine,
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)

    def expire(step: str) -> None:
        if step == "settled" and not ended:
            ended.append(step)
            control(engine, "tokens/expire", {})

    ended: list[str] = []
    services = engine.worker("w", observe=expire)
    services.xero = counted = Counted(services.xero)
    ask(engine, one)
    work(engine, services)
    assert len(counted.refreshed) == 1
    assert all_ended(engine)
    assert created(engine) == ["INV-1"]
    assert {attempt.outcome for attempt in attempts(engine)} == {"settled"}


def test_of_two_workers_on_one_consent_one_refreshes(each_engine: Engine) -> None:
    engine = each_engine
    ids = engine.connect()
    invoices(engine, 2)
    intake.relay(engine.services)
    invoices(engine, 2, first=3, currency="GBP")
    for one in ids.values():
        ask(engine, one)
    worn_out(engine)
    counted = Counted(engine.services.xero)
    workers = []
    for name in ("first", "second"):
        services = engine.worker(name)
        services.xero = counted
        workers.append(services)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(scheduler.work, workers, [ids[KAURI], ids[THAMES]]))
    assert len(counted.refreshed) == 1
    assert sorted(created(engine)) == ["INV-1", "INV-2"] or all_ended(engine)
    assert not any(row.broken for row in rows_of(engine, Connection))


def test_a_refresher_that_died_is_replaced_after_its_lease(engine: Engine) -> None:
    engine.connect(KAURI)
    [row] = rows_of(engine, Connection)
    worn_out(engine)
    now = engine.services.clock.now()
    assert leases.take_refresh(engine.database, row.id, holder="dead", now=now, seconds=60)
    invoices(engine)
    sync(engine, engine.worker("w", clock=ShiftedClock()))
    assert all_ended(engine)


def test_a_refresh_that_fails_for_the_moment_lets_others_try_at_once(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    worn_out(engine)
    fault(engine, "status", resource="token", status=503)
    ask(engine, one)
    work(engine)
    [row] = rows_of(engine, Connection)
    assert (row.refresh_until, row.broken) == (None, None)
    assert "gave no tokens just now" in str(organisation(engine).held_why)
    work(engine, engine.worker("w", clock=ShiftedClock(30)))
    assert all_ended(engine)


def test_a_consent_that_ended_stops_all_burns_no_tries_and_goes_on_after_reconnecting(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3)
    control(engine, "tokens/expire", {"refresh": True})
    worn_out(engine)
    ask(engine, one)
    work(engine)
    [row] = rows_of(engine, Connection)
    assert row.broken
    assert organisation(engine).held_why == row.broken
    [run] = runs(engine)
    assert (run.sentence, run.ended_at is not None) == (row.broken, True)
    assert {(item.state, item.tries) for item in items(engine)} == {("pending", 0)}
    order = [item.id for item in items(engine)]
    engine.connect(KAURI)
    assert organisation(engine).held_why is None
    work(engine)
    assert all_ended(engine)
    assert [item.id for item in items(engine)] == order
    assert created(engine) == ["INV-1", "INV-2", "INV-3"]


def test_a_wrong_client_secret_is_one_sentence_and_the_right_one_goes_on(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    right = engine.settings
    worn_out(engine)
    services = engine.worker("w")
    services.settings = replace(right, xero_client_id="", xero_client_secret="")
    connect.save_app(services, client_id=right.xero_client_id, secret="wrong", who="Ana")
    ask(engine, one)
    work(engine, services)
    [row] = rows_of(engine, Connection)
    assert "secret" in str(row.broken)
    assert str(row.broken).count(".") <= 3
    assert {(item.state, item.tries) for item in items(engine)} == {("pending", 0)}
    connect.save_app(
        services, client_id=right.xero_client_id, secret=right.xero_client_secret, who="Ana"
    )
    work(engine, services)
    assert all_ended(engine)
    assert not rows_of(engine, Connection)[0].broken


def test_a_key_that_does_not_fit_stops_the_organisation_and_fails_no_record(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3)
    ask(engine, one)
    services = engine.worker("w")
    services.ring = KeyRing([Fernet.generate_key().decode()])
    work(engine, services)
    assert {state for _label, state in queue_of(engine)} == {"pending"}
    assert "Put the old key behind the new one" in str(organisation(engine).held_why)
    scheduler.sync_now(engine.services, organisation_id=one, modules=None, who="Ana")
    work(engine)
    assert all_ended(engine)


def test_tokens_that_xero_refuses_to_give_for_another_reason_fail_no_record(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    worn_out(engine)
    ask(engine, one)

    class Odd:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine.services.xero, name)

        def refresh(self, **_: str) -> TokenSet:
            raise PermanentError("Xero gave no tokens and answered “odd”.")

    work(engine, replace(engine.services, xero=Odd()))
    assert {state for _label, state in queue_of(engine)} == {"pending"}
    assert rows_of(engine, Connection)[0].refresh_until is None


def test_a_broken_connection_can_still_be_disconnected(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    with engine.database.write() as session:
        session.query(Connection).one().broken = "The consent ended."
    with pytest.raises(AuthorisationError):
        connect.refresh_reference(engine.services, one)
    connect.disconnect(engine.services, one, who="Ana")
    assert organisation(engine).connection_id is None


def test_a_lost_lease_on_the_refresh_is_tried_again_and_breaks_nothing(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    worn_out(engine)

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine.services.xero, name)

        def refresh(self, **values: str) -> TokenSet:
            with engine.database.write() as session:
                session.query(Connection).one().refresh_fence += 1
            found: TokenSet = engine.services.xero.refresh(**values)
            return found

    with pytest.raises(TransientError):
        connect.refresh_reference(replace(engine.services, xero=Slow()), one)
    assert not rows_of(engine, Connection)[0].broken

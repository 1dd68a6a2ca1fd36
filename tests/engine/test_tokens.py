"""Tokens are refreshed once; a dead consent stops all and burns no tries."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from sqlalchemy import delete, update

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    THAMES,
    ShiftedClock,
    all_ended,
    ask,
    attempts,
    change_organisation,
    control,
    created,
    die_at,
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
from xtiger.engine import intake, scheduler
from xtiger.engine.connection import connect, tokens
from xtiger.ports import TokenSet
from xtiger.store import leases, logs
from xtiger.store.crypto import KeyRing
from xtiger.store.models import Connection, Organisation
from xtiger.store.schema import Database, migrate

ROOT = Path(__file__).parents[2]
#: A worker of its own: says when it is ready, waits to be told, makes one call with a token.
PROCESS = """
import os, sys
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
from xtiger.engine.connection import tokens
from xtiger.engine.services import Services, SystemClock
from xtiger.settings import Settings
from xtiger.store.crypto import KeyRing
from xtiger.store.models import Organisation
from xtiger.store.schema import Database
from xtiger.xero.client import XeroClient

settings = Settings.read()
services = Services(
    database=Database(settings.database_url),
    settings=settings,
    ring=KeyRing(settings.keys),
    crm=None,
    xero=XeroClient(
        login_url=settings.xero_login_url,
        identity_url=settings.xero_identity_url,
        api_url=settings.xero_api_url,
        clock=SystemClock(),
        time_factor=settings.time_factor,
    ),
    mail=None,
    worker=f"process {os.getpid()}",
)
with services.database.read() as session:
    row = session.get_one(Organisation, int(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
seen = []
def look(access):
    seen.append(access.access_token)
    return services.xero.read(access, "Organisation")
print(tokens.with_access(services, row, look)[0]["Name"], len(seen), seen[0][-24:], flush=True)
"""


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


def stored(engine: Engine) -> dict[str, Any]:
    """The token set as it is kept."""
    [row] = rows_of(engine, Connection)
    found: dict[str, Any] = engine.ring.open(row.tokens)
    return found


def refresh_tokens(engine: Engine) -> int:
    """How many refresh tokens the local Xero has ever given for this consent."""
    state = engine.xero.app.extensions["xero_sandbox"].state
    return len(state.grants.of("refresh"))


def quietly(engine: Engine, refresh_token: str) -> TokenSet:
    """A refresh that XTiger knows nothing of."""
    return engine.services.xero.refresh(
        client_id=engine.xero.client_id,
        secret=engine.xero.client_secret,
        refresh_token=refresh_token,
    )


def token_of(engine: Engine, clock: Any = None) -> str:
    """A token for a call, as any worker gets it."""
    services = engine.worker("w", **({"clock": clock} if clock else {}))
    return tokens.access_token(services, rows_of(engine, Connection)[0].id)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_eight_processes_at_the_same_moment_one_refreshes(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, local_xero: Any
) -> None:
    """Real processes on a real database: one refresh at Xero, and all eight make their call."""
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    if kind == "postgresql":
        url = str(request.getfixturevalue("postgres_url"))
    database = Database(url)
    migrate(database)
    key = Fernet.generate_key().decode()
    engine = Engine(database, local_xero)
    engine.ring = KeyRing([key])
    engine.services = engine.worker("first")
    one = engine.connect(KAURI)[KAURI]
    before = refresh_tokens(engine)
    # The first one's answer takes a while, so that the others surely come meanwhile.
    fault(engine, "slow", resource="token", seconds=1.5, count=8)
    worn_out(engine)
    environment = {
        "XTIGER_DATABASE_URL": url,
        "XTIGER_KEYS": key,
        "XTIGER_XERO_LOGIN_URL": local_xero.identity_url,
        "XTIGER_XERO_IDENTITY_URL": local_xero.identity_url,
        "XTIGER_XERO_API_URL": local_xero.api_url,
        "XTIGER_XERO_CLIENT_ID": local_xero.client_id,
        "XTIGER_XERO_CLIENT_SECRET": local_xero.client_secret,
        "PYTHONPATH": str(ROOT),
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(one)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        for _ in range(8)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            ready = worker.stdout.readline()
            assert ready == "ready\n", worker.communicate()[1]
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        said = [worker.communicate(timeout=60) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0] * 8, said
    assert len({out for out, _err in said}) == 1, "all made one call, with the same token"
    assert said[0][0].startswith(f"{KAURI} 1 ")
    assert refresh_tokens(engine) == before + 1
    [row] = rows_of(engine, Connection)
    assert (row.broken, row.refresh_until) == (None, None)
    engine.close()
    database.close()


def test_a_limit_of_xeros_holds_for_a_new_consent_too(engine: Engine) -> None:
    engine.connect(KAURI)
    until = engine.services.clock.now() + timedelta(seconds=50)
    change_organisation(engine, held_why="busy", held_until=until, held_by_xero=True)
    engine.connect(KAURI)
    assert organisation(engine).held_until == until
    change_organisation(engine, held_by_xero=False)
    engine.connect(KAURI)
    assert organisation(engine).held_until is None


@pytest.mark.parametrize("kind", ["reset", "half"])
def test_a_refresh_whose_answer_was_lost_is_made_again_within_the_grace(
    engine: Engine, kind: str
) -> None:
    engine.connect(KAURI)
    invoices(engine)
    first = stored(engine)["refresh"]
    worn_out(engine)
    fault(engine, kind, resource="token", after_store=True)
    with pytest.raises(TransientError):
        token_of(engine)
    assert stored(engine)["refresh"] == first, "what was lost was never stored"
    sync(engine, engine.worker("w"))
    assert all_ended(engine)
    assert not rows_of(engine, Connection)[0].broken
    assert stored(engine)["old"] == first


def test_a_refresh_that_never_answers_is_given_up_and_made_again(
    sqlite_engine: Engine, local_xero: Any
) -> None:
    engine = sqlite_engine
    engine.connect(KAURI)
    engine.settings = replace(engine.settings, time_factor=0.02)
    worn_out(engine)
    fault(engine, "hold", resource="token", after_store=True)
    with pytest.raises(TransientError):
        token_of(engine)
    control(engine, "release", {})
    assert token_of(engine)
    assert not rows_of(engine, Connection)[0].broken


def test_the_token_before_is_tried_once_where_xero_does_not_know_the_newest(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    worn_out(engine)
    token_of(engine)
    kept = stored(engine)
    # Somebody whose lease had run out came late with the same token: ours is dead by that.
    quietly(engine, kept["old"])
    with pytest.raises(AuthorisationError):
        quietly(engine, kept["refresh"])
    worn_out(engine)
    services = engine.worker("w")
    services.xero = counted = Counted(services.xero)
    found = tokens.access_token(services, rows_of(engine, Connection)[0].id)
    assert counted.refreshed == [kept["refresh"], kept["old"]]
    assert engine.services.xero.tenants(found)
    assert not rows_of(engine, Connection)[0].broken
    worn_out(engine)
    assert token_of(engine) != found, "and it goes on from there"


def test_the_token_before_is_not_tried_after_its_grace(engine: Engine) -> None:
    engine.connect(KAURI)
    worn_out(engine)
    token_of(engine)
    control(engine, "tokens/expire", {"refresh": True})
    worn_out(engine)
    services = engine.worker("w", clock=ShiftedClock(tokens.GRACE + 60))
    services.xero = counted = Counted(services.xero)
    with pytest.raises(AuthorisationError):
        tokens.access_token(services, rows_of(engine, Connection)[0].id)
    assert counted.refreshed == [stored(engine)["refresh"]]
    assert rows_of(engine, Connection)[0].broken


def test_where_xero_takes_neither_token_a_person_must_connect_again(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine)
    worn_out(engine)
    token_of(engine)
    control(engine, "tokens/expire", {"refresh": True})
    worn_out(engine)
    services = engine.worker("w")
    services.xero = counted = Counted(services.xero)
    with pytest.raises(AuthorisationError):
        tokens.access_token(services, rows_of(engine, Connection)[0].id)
    assert len(counted.refreshed) == 2
    with pytest.raises(AuthorisationError):
        tokens.access_token(services, rows_of(engine, Connection)[0].id)
    assert len(counted.refreshed) == 2, "a broken consent isn't asked again"
    assert scheduler.schedule_due(services) == [], "nor by the schedule"


def test_a_quiet_connection_is_renewed_once_a_day(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    first = stored(engine)["refresh"]
    assert tokens.keep_alive(engine.services) == 0, "it was renewed just now"
    later = ShiftedClock(25 * 3600)
    workers = [engine.worker(name, clock=later) for name in ("one", "two")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(tokens.keep_alive, workers))
    assert stored(engine)["old"] == first, "rotated exactly once"
    assert tokens.keep_alive(workers[0]) == 0
    [row] = rows_of(engine, Connection)
    assert row.refreshed_at > engine.services.clock.now() + timedelta(hours=24)
    assert row.checked_at is not None


def test_a_connection_that_can_not_be_kept_alive_does_not_keep_others_from_it(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    fault(engine, "status", resource="token", status=503)
    later = engine.worker("w", clock=ShiftedClock(25 * 3600))
    assert tokens.keep_alive(later) == 0
    assert tokens.keep_alive(later) == 1


def take_out(engine: Engine, name: str = KAURI) -> None:
    """A person takes an organisation out of the consent, in Xero's own pages."""
    engine.services.xero.disconnect(
        access_token=token_of(engine), connection_id=str(organisation(engine, name).link_id)
    )


def test_an_organisation_that_was_taken_out_is_noticed_by_its_next_call(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3)
    order = [item.id for item in items(engine)]
    take_out(engine)
    ask(engine, one)
    work(engine)
    row = organisation(engine)
    assert row.removed == (
        f"{KAURI} was taken out of the connection in Xero. Connect again and tick it there."
    )
    assert row.removed_at is not None
    [run] = runs(engine)
    assert run.sentence == row.removed
    assert {(item.state, item.tries) for item in items(engine)} == {("pending", 0)}
    assert not rows_of(engine, Connection)[0].broken, "the consent itself lives"
    engine.connect(KAURI)
    assert organisation(engine).removed is None
    work(engine)
    assert all_ended(engine)
    assert [item.id for item in items(engine)][: len(order)] == order


def test_the_daily_look_notices_what_was_taken_out_and_what_came_back(engine: Engine) -> None:
    engine.connect(KAURI)
    take_out(engine)
    take_out(engine, THAMES)
    tokens.keep_alive(engine.worker("w", clock=ShiftedClock(25 * 3600)))
    assert organisation(engine).removed
    assert organisation(engine, THAMES).connection_id is None, "it was only offered"
    assert organisation(engine, THAMES).removed is None
    begun = connect.begin(engine.services, who="Ana")
    requests.get(begun.url, allow_redirects=False, timeout=10)
    tokens.keep_alive(engine.worker("w", clock=ShiftedClock(50 * 3600)))
    assert organisation(engine).removed is None
    assert organisation(engine, THAMES).connection_id is not None, "offered again"


def test_an_organisation_that_was_added_is_offered(engine: Engine) -> None:
    engine.connect(KAURI)
    with engine.database.write() as session:
        session.delete(session.query(Organisation).filter_by(name=THAMES).one())
    tokens.keep_alive(engine.worker("w", clock=ShiftedClock(25 * 3600)))
    row = organisation(engine, THAMES)
    assert (row.chosen, row.connection_id) == (False, organisation(engine).connection_id)


def test_another_connections_organisation_stays_with_it(engine: Engine) -> None:
    engine.connect(KAURI)
    with engine.database.write() as session:
        other = Connection(connected_at=engine.services.clock.now())
        session.add(other)
        session.flush()
        session.query(Organisation).filter_by(name=THAMES).one().connection_id = other.id
    tokens.look(engine.services, organisation(engine).connection_id or 0)
    assert organisation(engine, THAMES).connection_id != organisation(engine).connection_id


def test_disconnecting_the_last_organisation_in_use_ends_the_consent(engine: Engine) -> None:
    ids = engine.connect(KAURI, THAMES)
    refresh_token = stored(engine)["refresh"]
    connect.disconnect(engine.services, ids[KAURI], who="Ana")
    assert rows_of(engine, Connection), "another one still needs it"
    connect.disconnect(engine.services, ids[THAMES], who="Ana")
    assert rows_of(engine, Connection) == []
    assert {row.connection_id for row in rows_of(engine, Organisation)} == {None}
    with pytest.raises(AuthorisationError):
        quietly(engine, refresh_token)


def test_a_consent_that_can_not_be_revoked_is_forgotten_all_the_same(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine.services.xero, name)

        def revoke(self, **_: str) -> None:
            raise TransientError("Xero is away.")

    connect.disconnect(replace(engine.services, xero=Away()), one, who="Ana")
    assert rows_of(engine, Connection) == []


def test_an_organisation_that_was_taken_out_can_still_be_disconnected(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    take_out(engine)
    tokens.look(engine.services, organisation(engine).connection_id or 0)
    assert organisation(engine).removed
    connect.disconnect(engine.services, one, who="Ana")
    row = organisation(engine)
    assert (row.chosen, row.removed, row.connection_id) == (False, None, None)


def custom(engine: Engine) -> int:
    """Connects by a custom connection, whose one organisation goes live."""
    connect.save_app(engine.services, client_id="", secret=None, who="Ana", kind="custom")
    [offered] = connect.connect_custom(engine.services, who="Ana")
    [row] = connect.choose(engine.services, [offered.tenant_id], who="Ana")
    connect.go_live(engine.services, row.id, who="Ana")
    return row.id


def test_a_custom_connection_needs_no_page_and_mints_its_tokens_anew(engine: Engine) -> None:
    custom(engine)
    [row] = rows_of(engine, Connection)
    assert (row.kind, row.email) == ("custom", None)
    assert "offline_access" not in row.scope
    assert stored(engine)["refresh"] is None
    invoices(engine)
    sync(engine)
    assert all_ended(engine)
    first = stored(engine)["access"]
    control(engine, "tokens/expire", {"refresh": True})
    worn_out(engine)
    invoices(engine, first=2)
    sync(engine, engine.worker("w"))
    assert all_ended(engine)
    assert stored(engine)["access"] != first


def test_a_custom_connection_is_looked_at_daily_and_disconnected_like_others(
    engine: Engine,
) -> None:
    one = custom(engine)
    assert tokens.keep_alive(engine.worker("w", clock=ShiftedClock(25 * 3600))) == 1
    connect.disconnect(engine.services, one, who="Ana")
    assert rows_of(engine, Connection) == []


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


def lost_answer(engine: Engine) -> int:
    """A call whose answer never came, and whose run is over."""
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    ask(engine, one)
    die_at(engine, one, "answered")
    with engine.database.write() as session:
        logs.end_runs(session, one, sentence="It ended.", now=engine.services.clock.now())
    return one


@pytest.mark.parametrize("ended", ["removed", "broken"])
def test_a_call_left_open_asks_for_no_run_before_somebody_has_connected_again(
    engine: Engine, ended: str
) -> None:
    lost_answer(engine)
    if ended == "removed":
        take_out(engine)
        tokens.keep_alive(engine.worker("w", clock=ShiftedClock(25 * 3600)))
        assert organisation(engine).removed
    else:
        with engine.database.write() as session:
            session.query(Connection).one().broken = "The consent ended."
    clock = ShiftedClock(1000)
    later = engine.worker("later", clock=clock)
    for _ in range(3):
        for one in scheduler.waiting(later):
            scheduler.work(later, one)
        clock.sleep(1000)
    assert len(runs(engine)) == 1
    engine.connect(KAURI)
    for one in scheduler.waiting(later):
        scheduler.work(later, one)
    assert all_ended(engine)


def test_who_mends_the_cause_of_a_stop_does_not_wait_for_an_old_limit(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    fault(engine, "limit", resource="Contacts", problem="minute", retry_after=5)
    ask(engine, one)
    work(engine)
    assert organisation(engine).held_by_xero
    with engine.database.write() as session:
        session.query(Connection).one().broken = "The consent ended."
    clock = ShiftedClock(70)
    work(engine, engine.worker("later", clock=clock))
    assert organisation(engine).held_why == "The consent ended."
    with engine.database.write() as session:
        session.query(Connection).one().broken = None
    sync(engine, engine.worker("later", clock=clock))
    assert all_ended(engine)


def test_a_consent_that_covers_no_organisation_is_not_called_connected(engine: Engine) -> None:
    class Empty:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine.services.xero, name)

        def tenants(self, _access_token: str) -> list[Any]:
            return []

    services = replace(engine.services, xero=Empty())
    with pytest.raises(PermanentError, match="no organisation"):
        connect.connect_custom(services, who="Ana")
    assert rows_of(engine, Connection) == []


def test_a_consent_that_somebody_ends_just_before_its_refresh_is_a_plain_error(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine.connect(KAURI)[KAURI]
    worn_out(engine)
    take = leases.take_refresh

    def ended(*arguments: Any, **options: Any) -> int | None:
        fence = take(*arguments, **options)
        with engine.database.write() as session:
            session.execute(update(Organisation).values(connection_id=None))
            session.execute(delete(Connection))
        return fence

    monkeypatch.setattr(leases, "take_refresh", ended)
    with pytest.raises(TransientError):
        connect.refresh_reference(engine.services, one)

"""Many organisations with long queues and few places: every one of them goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import crm, fault
from tests.fleet.yard import until
from xtiger import sandbox
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.engine import beats, drain, scheduler
from xtiger.engine.turns import Turns
from xtiger.sandbox.kept.countries import COUNTRIES
from xtiger.store.models import Binding, Organisation, Profile, QueueItem, Run
from xtiger.store.schema import Database

#: A full call, after which a drain looks whether others wait.
CLAIMED = 10
#: Organisations, places for them, and invoices of each: more than two calls, which no turn holds.
MANY, PLACES, EACH = 10, 2, 22
#: Seconds of a turn, and of a call: a turn is over after the buyer's call and one of invoices.
TURN, CALL = 0.15, 0.1


@pytest.fixture
def many(database: Database) -> Iterator[Engine]:
    """An engine with ten organisations."""
    with sandbox.start(auto_consent=True, countries=("NZ",)) as xero:
        state = xero.app.extensions["xero_sandbox"].state
        with state.transaction():
            for number in range(2, MANY + 1):
                state._found(replace(COUNTRIES["NZ"], name=f"Company {number}"))
        engine = Engine(
            database, xero, time_factor=TURN / 10, organisations_at_once=PLACES, sync_interval=3600
        )
        engine.connect()
        with database.write() as session:
            session.execute(update(Profile).values(enabled=True))
        yield engine
        engine.close()


def fill(engine: Engine, organisation_id: int) -> None:
    with crm(engine) as session:
        buyer = books.contact(session, f"Buyer {organisation_id}")
        made = [
            books.invoice(session, f"O{organisation_id}-{number}", buyer) for number in range(EACH)
        ]
    books.allow_all(engine.services, made, organisation_id)


def gone_over(engine: Engine) -> dict[int, int]:
    """How many invoices of each organisation are in Xero."""
    with engine.database.read() as session:
        found: Any = session.execute(
            select(Binding.organisation_id, func.count())
            .where(Binding.module == "Invoices")
            .group_by(Binding.organisation_id)
        )
        return dict(found.all())


def test_ten_long_queues_and_two_places_leave_nobody_behind(
    many: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "CLAIM", CLAIMED)
    small = replace(CATALOGUE[Resource.INVOICES], batch_size=CLAIMED)
    monkeypatch.setitem(CATALOGUE, Resource.INVOICES, small)  # type: ignore[arg-type]
    with many.database.read() as session:
        ids = list(session.scalars(select(Organisation.id).order_by(Organisation.id)))
    assert len(ids) == MANY
    for one in ids:
        fill(many, one)
    fault(many, "slow", method="PUT", seconds=CALL, count=100_000)
    services = many.worker("embedded")
    services.in_flight = 1
    services.dispatcher = embedded = beats.Embedded(services)
    begun: list[int] = []
    begin = Turns.begin

    def noted(turns: Turns, organisation_id: int) -> bool:
        good = begin(turns, organisation_id)
        if good:
            begun.append(organisation_id)
        return good

    monkeypatch.setattr(Turns, "begin", noted)
    scheduler.sync_now(services, organisation_id=None, modules=None, who="Ana")
    assert len(runs(many)) == MANY
    embedded.start()
    try:
        until(lambda: gone_over(many) == dict.fromkeys(ids, EACH), 120)
        until(lambda: all(run.ended_at for run in runs(many)))
    finally:
        embedded.stop()
    with many.database.read() as session:
        states = set(session.scalars(select(QueueItem.state)))
    assert states == {"succeeded"}
    assert len(begun) > MANY, "no turn holds all of an organisation's calls"
    places = {one: begun.index(one) for one in ids}
    early = begun[: max(places.values())]
    assert max(early.count(one) for one in ids) <= 2, f"somebody waited behind many: {begun}"
    assert len(runs(many)) == MANY, "a turn that ends doesn't end the run"


def runs(engine: Engine) -> list[Run]:
    with engine.database.read() as session:
        return list(session.scalars(select(Run)))


def test_nobody_gives_a_turn_away_before_it_is_over_or_without_need() -> None:
    wait = [True]
    turns = Turns(0.2, lambda: wait[0])
    assert turns.begin(1)
    assert not turns.crowded(), "it has just begun"
    time.sleep(0.25)
    assert turns.crowded()
    wait[0] = False
    assert not turns.crowded()
    assert turns.end(1), "and comes again"
    assert turns.begin(1)
    assert not turns.end(1)


def test_a_wake_during_a_turn_gives_one_more_after_it() -> None:
    turns = Turns(10, lambda: False)
    assert turns.begin(1)
    assert turns.busy(1)
    assert not turns.begin(1)
    assert not turns.busy(2)
    assert turns.end(1)
    assert not turns.busy(1)

"""Pauses of everything, an organisation or a module: each once, and resumed where work waits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    change_organisation,
    change_profile,
    invoices,
    organisation,
    runs,
)
from xtiger.domain.errors import PermanentError
from xtiger.domain.records import Module
from xtiger.engine import intake, pausing, scheduler
from xtiger.store import profiles


class Woken:
    """A dispatcher that remembers whom it woke."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def wake(self, organisation_id: int) -> None:
        self.ids.append(organisation_id)


@pytest.fixture
def one(each_engine: Engine) -> int:
    """A live organisation with invoices that wait, and nobody who works."""
    one = each_engine.connect(KAURI)[KAURI]
    invoices(each_engine, 2)
    intake.relay(each_engine.services)
    each_engine.services.dispatcher = Woken()
    return one


@pytest.mark.parametrize("what", ["everything", "organisation", "module"])
def test_a_pause_is_kept_once_and_resuming_asks_for_a_run(
    each_engine: Engine, one: int, what: str
) -> None:
    services = each_engine.services
    given: dict[str, object] = {
        "everything": {},
        "organisation": {"organisation_id": one},
        "module": {"organisation_id": one, "module": Module.INVOICES},
    }[what]

    def pause() -> profiles.Pause | None:
        with each_engine.database.read() as session:
            if what == "everything":
                return profiles.pause_of_all(session)
            if what == "module":
                return profiles.paused_modules(session, one).get(Module.INVOICES)
        row = organisation(each_engine)
        return profiles.Pause(row.paused_at, str(row.paused_by)) if row.paused_at else None

    pausing.pause(services, **given, who="Ana")  # type: ignore[arg-type]
    first = pause()
    pausing.pause(services, **given, who="Bo")  # type: ignore[arg-type]
    assert first is not None
    assert pause() == first
    assert first.by == "Ana"
    pausing.resume(services, **given, who="Bo")  # type: ignore[arg-type]
    assert pause() is None
    assert [run.requested_by for run in runs(each_engine)] == ["resumed by Bo"]
    assert services.dispatcher.ids == [one]  # type: ignore[attr-defined]
    pausing.resume(services, **given, who="Bo")  # type: ignore[arg-type]
    assert len(runs(each_engine)) == 1
    assert services.dispatcher.ids == [one]  # type: ignore[attr-defined]


def test_a_name_as_long_as_may_be_doesnt_keep_anything_paused(
    each_engine: Engine, one: int
) -> None:
    long = "A" * 255
    pausing.pause(each_engine.services, organisation_id=one, who=long)
    pausing.resume(each_engine.services, organisation_id=one, who=long)
    assert [run.requested_by for run in runs(each_engine)] == ["resumed by " + "A" * 244]


@pytest.mark.parametrize("everything", [True, False])
def test_while_all_is_paused_a_tick_does_nothing(
    each_engine: Engine, one: int, everything: bool
) -> None:
    """It asks for no run, and takes no lease to find out that it may not work."""
    services = each_engine.services
    paused = None if everything else one
    scheduler.sync_now(services, organisation_id=None, modules=None, who="Ana")
    pausing.pause(services, organisation_id=paused, who="Ana")
    assert scheduler.schedule_due(services) == []
    assert scheduler.waiting(services) == []
    before = organisation(each_engine).fence
    scheduler.work(services, one)  # a wake that came before the pause
    assert organisation(each_engine).fence == before
    assert [run.started_at for run in runs(each_engine)] == [None]
    pausing.resume(services, organisation_id=paused, who="Ana")
    assert scheduler.waiting(services) == [one]


def test_resuming_lifts_no_larger_pause_and_no_limit_of_xeros(
    each_engine: Engine, one: int
) -> None:
    services = each_engine.services
    until = services.clock.now() + timedelta(hours=1)
    pausing.pause(services, who="Ana")
    pausing.pause(services, organisation_id=one, who="Ana")
    pausing.resume(services, organisation_id=one, who="Ana")
    assert runs(each_engine) == []
    change_organisation(each_engine, held_until=until, held_why="Used up.", held_by_xero=True)
    pausing.resume(services, who="Ana")
    assert organisation(each_engine).held_why == "Used up."
    assert len(runs(each_engine)) == 1


def test_nothing_is_started_where_nothing_waits_or_auto_sync_is_off(
    each_engine: Engine, one: int
) -> None:
    services = each_engine.services
    change_organisation(each_engine, auto_sync=False)
    pausing.pause(services, organisation_id=one, who="Ana")
    pausing.resume(services, organisation_id=one, who="Ana")
    assert runs(each_engine) == []
    change_profile(each_engine, "Invoices", paused_at=services.clock.now(), paused_by="Ana")
    pausing.resume(services, organisation_id=one, module=Module.CONTACTS, who="Ana")
    with each_engine.database.read() as session:
        assert list(profiles.paused_modules(session, one)) == [Module.INVOICES]


def test_what_isnt_there_cant_be_paused(each_engine: Engine, one: int) -> None:
    services = each_engine.services
    for given in (
        {"organisation_id": 999},
        {"organisation_id": 999, "module": Module.INVOICES},
        {"module": Module.INVOICES},
    ):
        with pytest.raises(PermanentError):
            pausing.pause(services, **given, who="Ana")  # type: ignore[arg-type]

"""What Xero says of its limits is kept and handed on, and what calls took is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    all_ended,
    change_organisation,
    invoices,
    organisation,
    sync,
)
from xtiger.domain.errors import PermanentError, TransientError
from xtiger.engine.connection import connect, tokens
from xtiger.engine.connection.reference import RULES
from xtiger.ports import Access, Answer, Call, Minute, Usage
from xtiger.store import usage
from xtiger.store.models import UsageDay


class Watched:
    """The real Xero, noting what each write knew of the minute, and adding to its answer."""

    def __init__(self, inner: Any, **changes: Any) -> None:
        self._inner, self._changes = inner, changes
        self.known: list[Minute | None] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def usage(self) -> list[Usage]:
        return [replace(one, day_left=None, minute=None) for one in self._inner.usage()]

    def save_many(self, access: Access, call: Call) -> Answer:
        self.known.append(access.minute)
        answer: Answer = self._inner.save_many(access, call)
        return replace(answer, **self._changes)


def test_a_worker_goes_on_with_the_minute_of_the_one_before(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    minute = Minute(engine.services.clock.now(), 41)
    invoices(engine)
    first = engine.worker("first")
    first.xero = Watched(first.xero, minute=minute, day_left=812)
    sync(engine, first)
    row = organisation(engine)
    assert (row.minute_began, row.minute_left, row.day_left) == (minute.began, 41, 812)
    assert row.day_left_at is not None
    invoices(engine, first=2)
    second = engine.worker("second")
    second.xero = watched = Watched(second.xero)
    sync(engine, second)
    assert watched.known[0] == minute
    assert all_ended(engine)


def test_the_local_xeros_own_headers_are_learned(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine)
    sync(engine)
    row = organisation(engine)
    assert row.day_left is not None
    assert row.day_limit == 5000, "more were left than 1,000"
    assert row.minute_left is not None
    assert 0 <= row.minute_left < 60


def test_what_reads_tell_is_learned_too(engine: Engine) -> None:
    engine.connect(KAURI)
    row = organisation(engine)
    assert row.day_left is not None
    assert row.day_left == 5000 - len(engine.requests(tenant=row.tenant_id))


def test_an_answer_that_says_nothing_of_limits_leaves_them(engine: Engine) -> None:
    engine.connect(KAURI)
    change_organisation(engine, day_left=77, minute_left=None, minute_began=None)
    services = engine.worker("w")
    services.xero = Watched(services.xero, minute=None, day_left=None)
    invoices(engine)
    sync(engine, services)
    row = organisation(engine)
    assert (row.day_left, row.minute_left) == (77, None)


def test_what_calls_took_is_counted_by_day_and_equals_what_xero_saw(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    invoices(engine, 3, goods=True)
    services = engine.worker("w")
    sync(engine, services)
    [row] = rows_of_usage(engine)
    assert row.calls == len(engine.requests())
    assert row.bytes_out > 500
    assert row.bytes_in > row.bytes_out
    before = row.calls
    tokens.count_usage(services)
    assert rows_of_usage(engine)[0].calls == before, "nothing is counted twice"


def rows_of_usage(engine: Engine) -> list[UsageDay]:
    with engine.database.read() as session:
        found = usage.of_day(session, engine.services.clock.now().date())
    return list(found.values())


def test_the_day_limit_is_one_of_xeros(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    connect.set_day_limit(engine.services, one, 5000)
    assert organisation(engine).day_limit == 5000
    with pytest.raises(PermanentError):
        connect.set_day_limit(engine.services, one, 60)


def test_what_calls_took_is_kept_until_the_database_takes_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine.connect(KAURI)[KAURI]
    before = rows_of_usage(engine)[0].calls
    flush = usage.flush

    def full(*_: Any, **__: Any) -> None:
        raise TransientError("The database is full.")

    monkeypatch.setattr(usage, "flush", full)
    connect.refresh_reference(engine.services, one)
    assert rows_of_usage(engine)[0].calls == before
    monkeypatch.setattr(usage, "flush", flush)
    tokens.count_usage(engine.services)
    tokens.count_usage(engine.services)
    assert rows_of_usage(engine)[0].calls == before + len(RULES)

"""Prepared statements say and mean what SQLAlchemy's own do, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import DateTime, bindparam, func, insert, or_, select, update
from sqlalchemy.exc import DBAPIError

from tests.store.conftest import NOW
from xtiger.store.models import QueueItem, Setting
from xtiger.store.prepared import Prepared
from xtiger.store.schema import Database

SETTING = Setting.__table__
COLUMNS = ("name", "value", "sealed", "changed_by", "changed_at")
ADD = Prepared(insert(SETTING), sets=COLUMNS)  # type: ignore[arg-type]
READ = Prepared(
    select(*(SETTING.c[name] for name in COLUMNS))
    .where(SETTING.c.name.in_(bindparam("names", expanding=True)))
    .order_by(SETTING.c.name)
)


def row(name: str, **more: Any) -> dict[str, Any]:
    values = {"value": {"100 %": [1, None, "“x”"]}, "sealed": False, "changed_by": None}
    return {"name": name, **values, "changed_at": NOW} | more


def test_values_come_back_as_their_columns_types_have_them(database: Database) -> None:
    rows = [row("a"), row("b", sealed=True, changed_by="50 % of :it", changed_at=None)]
    with database.write() as session:
        ADD.many(session, rows)
    with database.read() as session:
        found = READ.rows(session, {"names": ["a", "b", "c"]})
        assert [dict(zip(COLUMNS, one, strict=True)) for one in found] == rows
        kept = session.get_one(Setting, "a")
        assert (kept.value, kept.changed_at) == (rows[0]["value"], NOW)


def test_nothing_is_in_an_empty_list(database: Database) -> None:
    with database.write() as session:
        ADD.run(session, row("a"))
        assert READ.rows(session, {"names": []}) == []


def test_constants_and_counts_of_rows(database: Database) -> None:
    seal = Prepared(
        update(SETTING)  # type: ignore[arg-type]
        .where(SETTING.c.name == bindparam("which"))
        .values(sealed=True, changed_by=None),
        sets=("changed_at",),
    )
    with database.write() as session:
        ADD.run(session, row("a", changed_by="Ana"))
        later = NOW + timedelta(hours=1)
        assert seal.run(session, {"which": "a", "changed_at": later}).rowcount == 1
        assert seal.run(session, {"which": "b", "changed_at": later}).rowcount == 0
        [[_name, _value, sealed, by, at]] = READ.rows(session, {"names": ["a"]})
        assert (sealed, by, at) == (True, None, later)


def test_a_name_stands_for_one_type(database: Database) -> None:
    column = QueueItem.__table__.c.not_before
    twice = select(func.count()).where(
        or_(column > bindparam("at"), column < bindparam("at", type_=DateTime()))
    )
    with database.read() as session, pytest.raises(TypeError, match="at stands for"):
        Prepared(twice).rows(session, {"at": NOW})


def test_a_drivers_error_is_told_like_any_other(database: Database) -> None:
    gone = Prepared(select(SETTING.c.name).where(func.no_such_function(SETTING.c.name) == 1))
    with pytest.raises(DBAPIError), database.read() as session:
        gone.rows(session, {})

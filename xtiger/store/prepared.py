"""Statements that every call runs: compiled once, then handed to the driver as text.

Building, caching and binding costs SQLAlchemy several times what a database takes for such a
statement. What each call of a drain runs is therefore prepared, and written as always:

    _CLOSE = Prepared(update(table).where(table.c.id == bindparam("this")), sets=("outcome",))
    _CLOSE.run(session, {"this": 7, "outcome": "settled"})
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import CursorResult, Delete, Dialect, Insert, SelectBase, Update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

Statement = SelectBase | Insert | Update | Delete
_Process = Callable[[Any], Any]
#: How the compiler leaves room for a list.
_LIST = re.compile(r"__\[POSTCOMPILE_(\w+)\]")


def insert_into(table: Any, where: Session | str) -> postgresql.Insert:
    """The INSERT that knows ON CONFLICT, as the database of a session, or a dialect, has it.

    Both have it in the same words; SQLAlchemy keeps them apart.
    """
    dialect = where if isinstance(where, str) else where.get_bind().dialect.name
    make: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    insert: postgresql.Insert = make(table)
    return insert


class Prepared:
    """One statement, compiled once for each kind of database that meets it.

    `sets` names columns that take their values from the parameters. Types do what they always
    do, both ways; what a table would fill in by itself, though, has to be given. A list goes
    into `bindparam(…, expanding=True)`, as it is: of numbers or texts.
    """

    def __init__(
        self, statement: Statement | Callable[[str], Statement], *, sets: Sequence[str] = ()
    ) -> None:
        """`statement` may be a function that makes it of a dialect's name."""
        self._statement = statement
        self._sets = list(sets)
        self._texts: dict[str, _Text] = {}

    def run(self, session: Session, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Runs it with these values; its rows come as the driver gives them."""
        connection = session.connection()
        sql, given = self._of(connection.dialect).filled(values)
        return connection.exec_driver_sql(sql, given)

    def rows(self, session: Session, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """Its rows, each value as its column's type has it."""
        return self.both(session, values)[1]

    def both(
        self, session: Session, values: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Sequence[Any]]:
        """Its rows as the driver gives them, and the same as their columns' types have them."""
        connection = session.connection()
        text = self._of(connection.dialect)
        sql, given = text.filled(values)
        raw = connection.exec_driver_sql(sql, given).fetchall()
        return raw, text.typed(raw)

    def many(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        """Runs it for each of these rows, in their order."""
        if rows:
            connection = session.connection()
            text = self._of(connection.dialect)
            connection.exec_driver_sql(text.sql, text.bound_all(rows))

    def _of(self, dialect: Dialect) -> _Text:
        text = self._texts.get(dialect.name)
        if text is None:
            made = self._statement
            statement = made(dialect.name) if callable(made) else made
            text = self._texts[dialect.name] = _Text(statement, self._sets, dialect)
        return text


class _Text:
    """A statement as one dialect's driver takes it."""

    def __init__(self, statement: Statement, sets: Sequence[str], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=list(sets) or None)
        self.sql: str = compiled.string
        self._lists = tuple(_LIST.findall(self.sql))
        binds: dict[str, Any] = {}
        for bind, name in compiled.bind_names.items():
            known = binds.setdefault(name, bind)
            if type(known.type) is not type(bind.type):
                raise TypeError(f"{name} stands for a {known.type!r} and for a {bind.type!r}")
        #: None where the driver takes values by name.
        self._places: list[str] | None = compiled.positiontup
        names = self._places if self._places is not None else list(binds)
        self._steps = [(name, _binding(binds[name].type, dialect)) for name in names]
        #: What the statement itself says, as the driver takes it.
        self._fixed = {
            name: step(binds[name].value) if step else binds[name].value
            for name, step in self._steps
            if not binds[name].required
        }
        columns = () if isinstance(statement, Insert) else statement.exported_columns
        reading = [_reading(column.type, dialect) for column in columns]
        self._reading = [(place, step) for place, step in enumerate(reading) if step]

    def bound(self, values: Mapping[str, Any]) -> Any:
        """One set of parameters."""
        fixed = self._fixed
        made = [
            fixed[name] if name in fixed else step(values[name]) if step else values[name]
            for name, step in self._steps
        ]
        if self._places is not None:
            return tuple(made)
        return dict(zip((name for name, _ in self._steps), made, strict=True))

    def bound_all(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The parameters of many rows: column by column, for what is the same in all is usual."""
        columns: list[Sequence[Any]] = []
        for name, step in self._steps:
            if name in self._fixed:
                columns.append([self._fixed[name]] * len(rows))
                continue
            column = [row[name] for row in rows]
            if step:
                last, made = column[0], step(column[0])
                for place, value in enumerate(column):
                    if value is not last:
                        last, made = value, step(value)
                    column[place] = made
            columns.append(column)
        bound = zip(*columns, strict=True)
        if self._places is not None:
            return list(bound)
        names = [name for name, _ in self._steps]
        return [dict(zip(names, row, strict=True)) for row in bound]

    def filled(self, values: Mapping[str, Any]) -> tuple[str, Any]:
        """The text with room for its lists, and the parameters."""
        if not self._lists:
            return self.sql, self.bound(values)
        sql = self.sql
        for name in self._lists:
            sql = sql.replace(f"__[POSTCOMPILE_{name}]", self._marks(name, len(values[name])))
        placed: list[Any] = []
        named: dict[str, Any] = {}
        for name, step in self._steps:
            if name in self._lists:
                placed += values[name]
                named |= {f"{name}_{at}": one for at, one in enumerate(values[name])}
                continue
            known = name in self._fixed
            value = self._fixed[name] if known else values[name]
            named[name] = step(value) if step and not known else value
            placed.append(named[name])
        return sql, named if self._places is None else tuple(placed)

    def _marks(self, name: str, count: int) -> str:
        if not count:
            return "NULL"  # nothing is in it
        if self._places is not None:
            return ", ".join("?" * count)
        return ", ".join(f"%({name}_{at})s" for at in range(count))

    def typed(self, rows: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Rows of the driver with the values that their columns' types make."""
        if not self._reading or not rows:
            return rows
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for place, step in self._reading:
            columns[place] = [step(value) for value in columns[place]]
        return list(zip(*columns, strict=True))


def _binding(kind: TypeEngine[Any], dialect: Dialect) -> _Process | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _reading(kind: TypeEngine[Any], dialect: Dialect) -> _Process | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)

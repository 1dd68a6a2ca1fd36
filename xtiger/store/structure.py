"""What the database itself must have: the queue's rules, its indexes in use, its counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, UniqueConstraint, event, func, inspect, select, text
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, Index

from xtiger.store import bindings, claims, inbox, journal, logs, queue
from xtiger.store.models import AttemptElement, Base, QueueItem

# -- positions ---------------------------------------------------------------------------------


def used_positions(session: Session) -> tuple[int, int]:
    """The highest position that was ever given, as far as rows tell, and the counter's own."""
    highest = max(
        session.scalar(select(func.max(QueueItem.id))) or 0,
        session.scalar(select(func.max(AttemptElement.item_id))) or 0,
    )
    if session.get_bind().dialect.name == "postgresql":
        last = session.scalar(
            text(
                "SELECT pg_sequence_last_value("
                "CAST(pg_get_serial_sequence('xtiger_queue', 'id') AS regclass))"
            )
        )
    else:
        last = session.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'xtiger_queue'"))
    return highest, int(last or 0)


def move_counter(session: Session) -> None:
    """Puts the counter of positions behind the highest that was ever given."""
    highest, last = used_positions(session)
    if last >= highest:
        return
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text("SELECT setval(pg_get_serial_sequence('xtiger_queue', 'id'), :highest)"),
            {"highest": highest},
        )
        return
    there = session.execute(
        text("UPDATE sqlite_sequence SET seq = :highest WHERE name = 'xtiger_queue'"),
        {"highest": highest},
    )
    if there.rowcount == 0:  # type: ignore[attr-defined]
        session.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES ('xtiger_queue', :highest)"),
            {"highest": highest},
        )


def reusing_tables(session: Session) -> list[str]:
    """Tables of a SQLite file that would give a deleted row's number again."""
    if session.get_bind().dialect.name != "sqlite":
        return []
    wanted = [
        table.name
        for table in Base.metadata.sorted_tables
        if table.dialect_options["sqlite"]["autoincrement"]
    ]
    rows = session.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    made = {str(name): str(sql).upper() for name, sql in rows}
    return [name for name in wanted if "AUTOINCREMENT" not in made.get(name, "")]


# -- the schema's own promises -----------------------------------------------------------------


def lost_rules(session: Session) -> list[str]:
    """Rules by which the database itself refuses wrong items, and which aren't there."""
    if session.get_bind().dialect.name == "postgresql":
        wanted = {"xtiger_queue_step", "ck_xtiger_queue_shape"}
        query = (
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'xtiger_queue'::regclass"
            " AND tgenabled <> 'D'"
            " UNION SELECT conname FROM pg_constraint WHERE conrelid = 'xtiger_queue'::regclass"
            " AND convalidated"
        )
    else:
        wanted = {"xtiger_queue_step", "xtiger_queue_shape", "xtiger_queue_new"}
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    return sorted(wanted - set(session.scalars(text(query))))


def lost_indexes(session: Session) -> tuple[list[Index], list[str]]:
    """Indexes that aren't there as they should be, and unique rules that aren't.

    An index counts only with its columns and its condition, and on PostgreSQL if it is valid.
    """
    connection = session.connection()
    look = inspect(connection)
    on_postgres = connection.dialect.name == "postgresql"
    conditions = _conditions(connection)
    lost: list[Index] = []
    rules: list[str] = []
    for table in Base.metadata.sorted_tables:
        made = {one["name"]: one for one in look.get_indexes(table.name)}
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            there = made.get(str(index.name))
            where = index.dialect_options[connection.dialect.name]["where"]
            found = conditions.get(str(index.name))
            right = (
                there is not None
                and index.name in conditions
                and there["column_names"] == [column.name for column in index.columns]
                and bool(there["unique"]) == bool(index.unique)
                # PostgreSQL words a condition in its own way.
                and (
                    (found is None) == (where is None)
                    if on_postgres
                    else found == (None if where is None else str(where))
                )
            )
            if not right:
                lost.append(index)
        unique = {tuple(one["column_names"]) for one in look.get_unique_constraints(table.name)}
        rules += [
            f"{table.name} ({', '.join(column.name for column in rule.columns)})"
            for rule in table.constraints
            if isinstance(rule, UniqueConstraint)
            and tuple(column.name for column in rule.columns) not in unique
        ]
    return lost, sorted(rules)


def _conditions(connection: Connection) -> dict[str, str | None]:
    """The condition of each valid index, as the database words it."""
    if connection.dialect.name == "postgresql":
        rows = connection.execute(
            text(
                "SELECT c.relname, pg_get_expr(i.indpred, i.indrelid) FROM pg_index i"
                " JOIN pg_class c ON c.oid = i.indexrelid"
                " WHERE i.indisvalid AND pg_table_is_visible(c.oid)"
            )
        )
        return {str(name): where for name, where in rows}
    made = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
    return {name: (sql or "").partition(" WHERE ")[2] or None for name, sql in made}


def make_index(session: Session, index: Index) -> None:
    """Makes an index anew; the table can't be written until it is done."""
    connection = session.connection()
    connection.exec_driver_sql(f'DROP INDEX IF EXISTS "{index.name}"')
    connection.execute(CreateIndex(index))


class _Seen(Exception):
    """A statement that was about to go out."""

    def __init__(self, statement: str, parameters: Any) -> None:
        super().__init__(statement)
        self.statement, self.parameters = statement, parameters


#: The questions that are asked all the time, and the indexes of which each must use one.
_MOMENT = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
HOT: Mapping[str, tuple[Callable[[Session], object], str]] = {
    "claim": (
        lambda session: claims.claim(
            session, 1, rank=50, up_to=10, after=0, limit=10, now=_MOMENT, run_id=None
        ),
        "ix_xtiger_queue_due",
    ),
    "turns": (
        lambda session: claims.due_ranks(session, 1, up_to=10, now=_MOMENT),
        "ix_xtiger_queue_due",
    ),
    "release": (lambda session: queue.release_children(session, [1]), "ix_xtiger_queue_blocked"),
    "stranded": (lambda session: queue.release_stranded(session, 1), "ix_xtiger_queue_"),
    "running": (lambda session: queue.running(session, 1), "ix_xtiger_queue_"),
    "calls": (lambda session: journal.still_open(session, 1), "ix_xtiger_attempt_open"),
    "runs": (lambda session: logs.unended_runs(session, 1), "ix_xtiger_run_asked"),
    "reports": (lambda session: logs.unreported_runs(session), "ix_xtiger_run_unreported"),
    "mails": (
        lambda session: logs.waiting_mails(session, now=_MOMENT),
        "ix_xtiger_mail_waiting",
    ),
    "unwritten": (
        lambda session: bindings.unwritten(session, 1),
        "ix_xtiger_binding_unwritten",
    ),
    "webhooks": (lambda session: inbox.waiting(session, limit=5), "ix_xtiger_webhook_handled"),
}


#: Rows from which on a plan must be right; beside fewer no plan costs anything.
MANY = 10_000


def slow_questions(session: Session) -> list[str]:
    """The hot questions that cost more with every row; none of them is carried out.

    SQLite must name the index where the table is large: without figures (`analyse`) it prefers a
    wrong one. PostgreSQL rightly reads a small table as a
    whole, so it is asked for its plan with that forbidden: only where no index serves it does.
    """
    connection = session.connection()
    on_postgres = connection.dialect.name == "postgresql"
    if on_postgres:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    slow = []
    for name, (ask, index) in HOT.items():
        seen = _statement(session, ask)
        if on_postgres:
            served = "Seq Scan" not in _plan(connection, "EXPLAIN ", seen, 0)
        else:
            plan = _plan(connection, "EXPLAIN QUERY PLAN ", seen, 3)
            served = index in plan or _newest(session, index) < MANY
        if not served:
            slow.append(name)
    return slow


def _newest(session: Session, index: str) -> int:
    """The highest number in the table of an index, by whose name it begins."""
    names = [name for name in Base.metadata.tables if index.startswith(f"ix_{name}_")]
    table = Base.metadata.tables[max(names, key=len)]
    return session.scalar(select(func.max(table.c.id))) or 0


def analyse(session: Session) -> None:
    """Gives the database the figures by which it chooses its plans; a few milliseconds."""
    connection = session.connection()
    on_postgres = connection.dialect.name == "postgresql"
    if not on_postgres:
        connection.exec_driver_sql("PRAGMA analysis_limit = 1000")
    for table in Base.metadata.sorted_tables:
        connection.exec_driver_sql(f"ANALYZE {table.name}")


def _statement(session: Session, ask: Callable[[Session], object]) -> _Seen:
    """The first statement of a question, stopped before it goes out."""

    def stop(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        raise _Seen(statement, parameters)

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", stop)
    try:
        ask(session)
    except _Seen as seen:
        return seen
    finally:
        event.remove(connection, "before_cursor_execute", stop)
    raise AssertionError("a question must ask something")


def _plan(connection: Connection, explain: str, seen: _Seen, column: int) -> str:
    rows = connection.exec_driver_sql(explain + seen.statement, seen.parameters)
    return "\n".join(str(row[column]) for row in rows)

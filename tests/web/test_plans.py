"""Each statement of the Queue's and the Logs' pages goes by an index, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from tests.benchmarks import pages
from xtiger.store.schema import Database, migrate
from xtiger.web import lists

ROWS = 50_000
#: The tables that grow for ever.
BIG = ("xtiger_queue", "xtiger_log", "xtiger_attempt", "xtiger_attempt_element", "xtiger_binding")
#: SQLite's steps that one statement may take beside 50,000 rows, with a window of 500 rows:
#: looking through one of the tables takes more than ten times as many.
STEPS = 40_000
WINDOW = 500
#: The item's own page beside the lists.
PATHS = {**pages.addresses(ROWS), "item": "/queue/777", "blocked item": f"/queue/{ROWS + 5}"}


def grown(url: str, folder: Path) -> Iterator[FlaskClient]:
    database = Database(url)
    migrate(database)
    pages.fill(database, ROWS, waiting=1_000)
    app = pages.app_on(database, folder)
    yield app.test_client()
    app.extensions["xtiger"].services.database.close()
    database.close()


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder = tmp_path_factory.mktemp("grown")
    yield from grown(f"sqlite:///{folder / 'x.sqlite'}", folder)


@pytest.fixture(scope="module")
def on_postgres(
    postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    from sqlalchemy import create_engine, text

    admin = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS page_plans WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE page_plans"))
    url = admin.url.set(database="page_plans").render_as_string(hide_password=False)
    yield from grown(url, tmp_path_factory.mktemp("grown"))
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE page_plans WITH (FORCE)"))
    admin.dispose()


@contextmanager
def plans(client: FlaskClient) -> Iterator[list[str]]:
    """The plan of each SELECT as it really goes out, behind the statement itself."""
    engine = client.application.extensions["xtiger"].services.database.engine
    found: list[str] = []
    asking = False

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        nonlocal asking
        if asking or not statement.lstrip().startswith("SELECT"):
            return
        asking = True
        word = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        rows = connection.exec_driver_sql(f"{word} {statement}", parameters).all()
        found.append("\n".join([statement, *(str(row[-1]) for row in rows)]))
        asking = False

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def test_no_page_reads_a_big_table_without_an_index_on_sqlite(on_sqlite: FlaskClient) -> None:
    for path in PATHS.values():
        with plans(on_sqlite) as found:
            assert on_sqlite.get(f"/xtiger{path}").status_code == 200
        for plan in found:
            for line in plan.splitlines():
                scanned = line.split("SCAN ")[-1].split()[0] if "SCAN " in line else ""
                assert scanned not in BIG or "USING COVERING INDEX" in line, f"{path}\n{plan}"


def test_no_page_reads_a_big_table_without_an_index_on_postgresql(
    on_postgres: FlaskClient,
) -> None:
    for path in PATHS.values():
        with plans(on_postgres) as found:
            assert on_postgres.get(f"/xtiger{path}").status_code == 200
        for plan in found:
            for table in BIG:
                assert f"Seq Scan on {table}" not in plan, f"{path}\n{plan}"


def test_no_statement_looks_through_more_than_its_window(
    on_sqlite: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index alone proves little: what it gives must be little too."""
    monkeypatch.setattr(lists, "WINDOW", WINDOW)
    monkeypatch.setattr(lists, "EXACT", WINDOW)
    engine = on_sqlite.application.extensions["xtiger"].services.database.engine
    steps: list[int] = []
    last: list[str] = []

    def begin(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        def count() -> int:
            steps[-1] += 1_000
            return 0

        steps.append(0)
        last.append(statement)
        connection.connection.driver_connection.set_progress_handler(count, 1_000)

    event.listen(engine, "before_cursor_execute", begin)
    worst = (0, "", "")
    try:
        for path in PATHS.values():
            steps.clear()
            last.clear()
            on_sqlite.get(f"/xtiger{path}")
            took = max(range(len(steps)), key=steps.__getitem__)
            worst = max(worst, (steps[took], path, last[took]))
    finally:
        event.remove(engine, "before_cursor_execute", begin)
    assert worst[0] <= STEPS, worst

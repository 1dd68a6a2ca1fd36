"""The number of a deleted record is never given to another one.

SQLite gives a deleted row's number away again unless a table is made with AUTOINCREMENT, and a
new contact would then meet the old one's place in Xero. PostgreSQL never does.
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "crm0002"
down_revision = "crm0001"
branch_labels = None
depends_on = None

_TABLES = ("crm_contact", "crm_product", "crm_invoice", "crm_invoice_line")
_MODULES = {"crm_contact": "Contacts", "crm_product": "Products", "crm_invoice": "Invoices"}


def upgrade() -> None:
    """SQLite's own way to change a table: make it anew, fill it, take the old one's name.

    Others may refer to these tables (views, triggers, tables of somebody's own): they do so by
    name, and keep to it. Foreign keys must be off, else dropping a table empties what refers to it.
    """
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    if connection.exec_driver_sql("PRAGMA foreign_keys").scalar():
        raise RuntimeError("Foreign keys must be off; xtiger.store.schema.migrate does that.")
    legacy = connection.exec_driver_sql("PRAGMA legacy_alter_table").scalar()
    # A name is just taken: nothing that refers to it is looked at, nor written anew.
    connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
    try:
        for name in _TABLES:
            _make_anew(connection, name)
    finally:
        connection.exec_driver_sql(f"PRAGMA legacy_alter_table={int(legacy or 0)}")


def _make_anew(connection: sa.Connection, name: str) -> None:
    rows = connection.execute(
        sa.text(
            "SELECT type, sql FROM sqlite_master WHERE tbl_name = :name AND sql IS NOT NULL"
            " ORDER BY rowid"
        ),
        {"name": name},
    ).all()
    [made] = [statement for kind, statement in rows if kind == "table"]
    used = _used(connection, name)
    connection.exec_driver_sql(_anew(made, name))
    connection.exec_driver_sql(f"INSERT INTO {name}_new SELECT * FROM {name}")  # noqa: S608
    connection.exec_driver_sql(f"DROP TABLE {name}")
    connection.exec_driver_sql(f"ALTER TABLE {name}_new RENAME TO {name}")
    connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
    connection.execute(
        sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)"),
        {"name": name, "seq": used},
    )
    # Its indexes, and triggers of somebody's own, went with the old one.
    for kind, statement in rows:
        if kind != "table":
            connection.exec_driver_sql(statement)


def _anew(statement: str, name: str) -> str:
    """The statement that made a table, for one beside it that remembers the numbers given."""
    beside = re.sub(rf'^CREATE TABLE "?{name}"?', f"CREATE TABLE {name}_new", statement, count=1)
    inline = "id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"
    inside = beside.replace("id INTEGER NOT NULL", inline, 1)
    return re.sub(r",\s*PRIMARY KEY \(id\)", "", inside, count=1)


def _used(connection: sa.Connection, name: str) -> int:
    """The largest number ever given in a table, as far as anything still tells."""
    used = [connection.exec_driver_sql(f"SELECT max(id) FROM {name}").scalar() or 0]  # noqa: S608
    for table in ("xtiger_binding", "xtiger_queue", "xtiger_flag"):
        if name in _MODULES and sa.inspect(connection).has_table(table):
            found = connection.execute(
                sa.text(
                    f"SELECT max(CAST(record_id AS INTEGER)) FROM {table} WHERE module = :module"  # noqa: S608
                ),
                {"module": _MODULES[name]},
            )
            used.append(found.scalar() or 0)
    return max(used)


def downgrade() -> None:
    """Numbers that were given stay given; an older program has no trouble with that."""

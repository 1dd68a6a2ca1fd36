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

#: What is referenced stands before what refers to it.
_TABLES = ("crm_contact", "crm_product", "crm_invoice", "crm_invoice_line")
_MODULES = {"crm_contact": "Contacts", "crm_product": "Products", "crm_invoice": "Invoices"}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    made = {
        (kind, name): statement
        for kind, name, statement in connection.execute(
            sa.text(
                "SELECT type, name, sql FROM sqlite_master "
                "WHERE tbl_name LIKE 'crm\\_%' ESCAPE '\\' AND sql IS NOT NULL"
            )
        )
    }
    used = {name: _used(connection, name) for name in _TABLES}
    for name in _TABLES:
        connection.exec_driver_sql(_anew(made["table", name]))
        connection.exec_driver_sql(f"INSERT INTO {name}_new SELECT * FROM {name}")  # noqa: S608
    # Children first: dropping a table deletes its rows, and with them what refers to them.
    for name in reversed(_TABLES):
        connection.exec_driver_sql(f"DROP TABLE {name}")
    for name in _TABLES:
        # Renaming a table renames it in the references of others too.
        connection.exec_driver_sql(f"ALTER TABLE {name}_new RENAME TO {name}")
        connection.execute(
            sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name}
        )
        connection.execute(
            sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)"),
            {"name": name, "seq": used[name]},
        )
    for (kind, _), statement in made.items():
        if kind != "table":
            connection.exec_driver_sql(statement)


def _anew(statement: str) -> str:
    """The statement that made a table, for one beside it that remembers the numbers given."""
    for name in _TABLES:
        for before in (f" {name} ", f'"{name}"', f" {name}("):
            statement = statement.replace(before, before.replace(name, f"{name}_new"))
    inline = "id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"
    inside = statement.replace("id INTEGER NOT NULL", inline, 1)
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

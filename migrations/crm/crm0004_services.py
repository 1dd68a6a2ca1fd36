"""Services beside products: a table of their own, and lines that name one; editions of records.

Organisations in use get what a new one has for services, a sync profile and a mapping, in the
state that products begin with; without them a service could go nowhere.
"""

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "crm0004"
down_revision = "crm0003"
branch_labels = None
depends_on = None

_KEY = "fk_crm_invoice_line_service_id"
_ONE = "ck_crm_invoice_line_one"
_ONE_OF = "product_id IS NULL OR service_id IS NULL"

_PROFILE = sa.table(
    "xtiger_profile",
    sa.column("organisation_id", sa.BigInteger()),
    sa.column("module", sa.String()),
    sa.column("enabled", sa.Boolean()),
    sa.column("rule", sa.String()),
    sa.column("statuses", sa.JSON()),
    sa.column("target_status", sa.String()),
    sa.column("add_needed", sa.Boolean()),
    sa.column("retries", sa.Integer()),
)
_TEMPLATE = sa.table(
    "xtiger_template",
    sa.column("organisation_id", sa.BigInteger()),
    sa.column("module", sa.String()),
    sa.column("document_type", sa.String()),
    sa.column("version", sa.Integer()),
    sa.column("body", sa.Text()),
    sa.column("author", sa.String()),
    sa.column("made_at", sa.DateTime(timezone=True)),
)


def _field(name: str) -> dict[str, Any]:
    return {"transform": "field", "field": name}


def _or(name: str, other: dict[str, Any]) -> dict[str, Any]:
    return {"transform": "default", "of": [_field(name), other]}


def _account(name: str, code: str) -> dict[str, Any]:
    return _or(name, {"transform": "constant", "value": code})


#: The mapping that services begin with, as it was when they came.
_MAPPING: dict[str, Any] = {
    "module": "Services",
    "fields": [
        {"to": "Code", "from": _field("code"), "required": True},
        {"to": "Name", "from": _field("name"), "too_long": "cut"},
        {"to": "Description", "from": _or("description", _field("name")), "too_long": "cut"},
        {"to": "SalesDetails.UnitPrice", "from": _field("price")},
        {"to": "SalesDetails.AccountCode", "from": _account("sales_account", "200")},
        {"to": "PurchaseDetails.UnitPrice", "from": _field("cost")},
        {"to": "PurchaseDetails.AccountCode", "from": _account("purchase_account", "300")},
    ],
}


def _money() -> sa.types.TypeEngine[object]:
    return sa.Numeric(24, 8).with_variant(sa.String(40), "sqlite")


#: Tables whose records people edit in forms: two of them at one moment must not lose anything.
_EDITED = ("crm_contact", "crm_product", "crm_service", "crm_invoice")


def upgrade() -> None:
    op.create_table(
        "crm_service",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("price", _money(), nullable=False),
        sa.Column("cost", _money(), nullable=True),
        sa.Column("tax_rate", _money(), nullable=False),
        sa.Column("sales_account", sa.String(length=10), nullable=True),
        sa.Column("purchase_account", sa.String(length=10), nullable=True),
        sa.Column("status", sa.String(length=30), nullable=False),
        sa.Column("xero_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_crm_service_code", "crm_service", ["code"])
    for table in _EDITED:
        edition = sa.Column("edition", sa.Integer(), server_default="1", nullable=False)
        op.add_column(table, edition)
        op.add_column(table, sa.Column("changed_by", sa.String(length=255), nullable=True))
        op.add_column(table, sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True))
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        # What refers to the table and whatever stands beside it stays: nothing is made anew.
        connection.exec_driver_sql(
            "ALTER TABLE crm_invoice_line ADD COLUMN service_id INTEGER"
            f" CONSTRAINT {_KEY} REFERENCES crm_service (id)"
            f" CONSTRAINT {_ONE} CHECK ({_ONE_OF})"
        )
    else:
        op.add_column("crm_invoice_line", sa.Column("service_id", sa.Integer(), nullable=True))
        op.create_foreign_key(_KEY, "crm_invoice_line", "crm_service", ["service_id"], ["id"])
        op.create_check_constraint(_ONE, "crm_invoice_line", sa.text(_ONE_OF))
    _set_up(connection)


def _set_up(connection: sa.Connection) -> None:
    """A profile and a mapping for each organisation that has those of products."""
    if not sa.inspect(connection).has_table("xtiger_profile"):
        return  # no organisation was ever connected
    for table, new in (
        (_PROFILE, _profile()),
        (_TEMPLATE, _template()),
    ):
        of = table.c.organisation_id
        there = sa.select(of).where(table.c.module == "Services")
        lacking = connection.scalars(
            sa.select(of).where(table.c.module == "Products", of.not_in(there)).distinct()
        ).all()
        if lacking:
            rows = [{"organisation_id": one, **new} for one in lacking]
            connection.execute(sa.insert(table), rows)


def _profile() -> dict[str, Any]:
    return {
        "module": "Services",
        "enabled": True,
        "rule": "ticked",
        "statuses": [],
        "target_status": "AUTHORISED",
        "add_needed": True,
        "retries": 0,
    }


def _template() -> dict[str, Any]:
    return {
        "module": "Services",
        "document_type": "",
        "version": 1,
        "body": json.dumps(_MAPPING),
        "author": "XTiger",
        "made_at": datetime.now(UTC),
    }


#: Where the core names modules; an older program knows no services.
_NAMING = ("profile", "template", "template_test", "flag", "outbox", "binding", "likeness")

_ENDED = sa.text(
    "UPDATE xtiger_queue SET state = 'cancelled', slot = NULL, blocked_by = NULL"
    " WHERE module = 'Services' AND state IN ('pending', 'blocked', 'failed', 'check')"
)


def downgrade() -> None:
    """Lines of services stay, as lines that name nothing; what was known of services goes."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("ALTER TABLE crm_invoice_line DROP COLUMN service_id")
    else:
        op.drop_constraint(_ONE, "crm_invoice_line", type_="check")
        op.drop_column("crm_invoice_line", "service_id")
    op.drop_table("crm_service")
    for table in _EDITED:
        if table != "crm_service":
            for column in ("edition", "changed_by", "changed_at"):
                op.drop_column(table, column)
    for name in _NAMING:
        if sa.inspect(connection).has_table(f"xtiger_{name}"):
            table = sa.table(f"xtiger_{name}", sa.column("module", sa.String()))
            connection.execute(sa.delete(table).where(table.c.module == "Services"))
    if sa.inspect(connection).has_table("xtiger_queue"):
        connection.execute(_ENDED)

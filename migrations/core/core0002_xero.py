"""Kinds of connection, limits and usage, webhooks and the inbox of what changed in Xero."""

import sqlalchemy as sa
from alembic import op

revision = "core0002"
down_revision = "core0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def _columns() -> dict[str, list[sa.Column]]:
    """What each table gains; rows of before get what the server puts in."""
    return {
        "xtiger_connection": [
            sa.Column("kind", sa.String(length=10), nullable=False, server_default="web"),
            sa.Column("refreshed_at", _MOMENT, nullable=True),
            sa.Column("checked_at", _MOMENT, nullable=True),
        ],
        "xtiger_organisation": [
            sa.Column("removed", sa.Text(), nullable=True),
            sa.Column("removed_at", _MOMENT, nullable=True),
            sa.Column("day_limit", sa.Integer(), nullable=False, server_default="1000"),
            sa.Column("day_left_at", _MOMENT, nullable=True),
            sa.Column("minute_began", _MOMENT, nullable=True),
            sa.Column("minute_left", sa.Integer(), nullable=True),
            sa.Column("webhook_at", _MOMENT, nullable=True),
            sa.Column("poll_from", _MOMENT, nullable=True),
        ],
    }


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    op.create_table(
        "xtiger_usage",
        sa.Column("organisation_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["xtiger_organisation.id"],
            name=op.f("fk_xtiger_usage_organisation_id"),
        ),
        sa.PrimaryKeyConstraint("organisation_id", "day", name=op.f("pk_xtiger_usage")),
    )
    op.create_table(
        "xtiger_webhook",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("handled_at", _MOMENT, nullable=True),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.Column("dropped", sa.Integer(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_xtiger_webhook")),
    )
    op.create_index("ix_xtiger_webhook_handled", "xtiger_webhook", ["handled_at", "id"])
    op.create_table(
        "xtiger_xero_change",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("organisation_id", _KEY, nullable=False),
        sa.Column("resource", sa.String(length=30), nullable=False),
        sa.Column("xero_id", sa.String(length=40), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.Column("noticed_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["xtiger_organisation.id"],
            name=op.f("fk_xtiger_xero_change_organisation_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_xtiger_xero_change")),
        sa.UniqueConstraint(
            "organisation_id",
            "resource",
            "xero_id",
            name=op.f("uq_xtiger_xero_change_organisation_id"),
        ),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("xtiger_xero_change")
    op.drop_index("ix_xtiger_webhook_handled", table_name="xtiger_webhook")
    op.drop_table("xtiger_webhook")
    op.drop_table("xtiger_usage")
    # Each by itself: a table copied anew would break what refers to it on SQLite.
    for table, columns in reversed(_columns().items()):
        for column in reversed(columns):
            op.drop_column(table, column.name)

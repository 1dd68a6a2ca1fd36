"""What Xero held before the CRM met it, which record it turned out to be, and what it keeps."""

import sqlalchemy as sa
from alembic import op

revision = "core0005"
down_revision = "core0004"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def _organisation(table: str) -> list[sa.Column | sa.Constraint]:
    return [
        sa.Column("organisation_id", _KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["xtiger_organisation.id"],
            name=op.f(f"fk_{table}_organisation_id"),
        ),
    ]


def upgrade() -> None:
    op.create_table(
        "xtiger_seen",
        *_organisation("xtiger_seen"),
        sa.Column("resource", sa.String(length=30), nullable=False),
        sa.Column("xero_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.String(length=255), nullable=False),
        sa.Column("account_number", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("number_key", sa.String(length=255), nullable=True),
        sa.Column("account_key", sa.String(length=255), nullable=True),
        sa.Column("name_key", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint(
            "organisation_id", "resource", "xero_id", name=op.f("pk_xtiger_seen")
        ),
    )
    for key in ("number", "account", "name"):
        columns = ["organisation_id", "resource", f"{key}_key"]
        op.create_index(f"ix_xtiger_seen_{key}", "xtiger_seen", columns)
    op.create_table(
        "xtiger_look",
        *_organisation("xtiger_look"),
        sa.Column("resource", sa.String(length=30), nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "resource", name=op.f("pk_xtiger_look")),
    )
    op.create_table(
        "xtiger_likeness",
        *_organisation("xtiger_likeness"),
        sa.Column("module", sa.String(length=30), nullable=False),
        sa.Column("record_id", sa.String(length=80), nullable=False),
        sa.Column("xero_id", sa.String(length=40), nullable=False),
        sa.Column("same", sa.Boolean(), nullable=True),
        sa.Column("who", sa.String(length=255), nullable=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint(
            "organisation_id", "module", "record_id", "xero_id", name=op.f("pk_xtiger_likeness")
        ),
    )
    op.add_column("xtiger_binding", sa.Column("met", sa.Text(), nullable=True))
    op.add_column("xtiger_profile", sa.Column("overwrites", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("xtiger_profile", "overwrites")
    op.drop_column("xtiger_binding", "met")
    for table in ("xtiger_likeness", "xtiger_look", "xtiger_seen"):
        op.drop_table(table)

"""Tests kept with mapping templates; what syncs: cut-off by date, schedules, locked periods."""

import sqlalchemy as sa
from alembic import op

revision = "core0004"
down_revision = "core0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def _profile() -> list[sa.Column]:
    """What profiles gain; those of before get what the server puts in."""
    return [
        sa.Column("dated_from", sa.Date(), nullable=True),
        sa.Column("dated_by", sa.String(length=80), nullable=True),
        sa.Column("schedule", sa.String(length=10), nullable=False, server_default="at once"),
        sa.Column("minutes", sa.Integer(), nullable=False, server_default="15"),
        sa.Column("daily_at", sa.String(length=5), nullable=False, server_default="02:00"),
        sa.Column("locked", sa.String(length=20), nullable=False, server_default="hold"),
        sa.Column("changed_by", sa.String(length=255), nullable=True),
        sa.Column("changed_at", _MOMENT, nullable=True),
    ]


def upgrade() -> None:
    for column in _profile():
        op.add_column("xtiger_profile", column)
    op.create_table(
        "xtiger_template_test",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("organisation_id", _KEY, nullable=False),
        sa.Column("module", sa.String(length=30), nullable=False),
        sa.Column("document_type", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sample", sa.Text(), nullable=False),
        sa.Column("expected", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["xtiger_organisation.id"],
            name=op.f("fk_xtiger_template_test_organisation_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_xtiger_template_test")),
        sa.UniqueConstraint(
            "organisation_id",
            "module",
            "document_type",
            "name",
            name=op.f("uq_xtiger_template_test_organisation_id"),
        ),
    )


def downgrade() -> None:
    op.drop_table("xtiger_template_test")
    for column in reversed(_profile()):
        op.drop_column("xtiger_profile", column.name)

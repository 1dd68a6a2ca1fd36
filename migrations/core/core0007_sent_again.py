"""Which mail repeats which, and who asked for it."""

import sqlalchemy as sa
from alembic import op

revision = "core0007"
down_revision = "core0006"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLE, _INDEX = "xtiger_mail", "ix_xtiger_mail_again"


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("again_of", _KEY, nullable=True))
    op.add_column(_TABLE, sa.Column("again_by", sa.String(length=255), nullable=True))
    where = sa.text("again_of IS NOT NULL")
    op.create_index(_INDEX, _TABLE, ["again_of"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(_INDEX, table_name=_TABLE)
    op.drop_column(_TABLE, "again_by")
    op.drop_column(_TABLE, "again_of")

"""Discounts as amounts, several taxes, charges, an adjustment and tax withheld.

All of it is empty on most documents: the columns are nullable, and SQLite adds them at once.
"""

import sqlalchemy as sa
from alembic import op

revision = "crm0003"
down_revision = "crm0002"
branch_labels = None
depends_on = None


def _money() -> sa.types.TypeEngine[object]:
    return sa.Numeric(24, 8).with_variant(sa.String(40), "sqlite")


def upgrade() -> None:
    op.add_column(
        "crm_invoice",
        sa.Column("tax_mode", sa.String(length=10), server_default="group", nullable=False),
    )
    for name in ("header_discount", "header_discount_amount", "adjustment", "withheld"):
        op.add_column("crm_invoice", sa.Column(name, _money(), nullable=True))
    op.add_column("crm_invoice", sa.Column("charges", sa.Text(), nullable=True))
    op.add_column("crm_invoice_line", sa.Column("discount_amount", _money(), nullable=True))
    op.add_column("crm_invoice_line", sa.Column("taxes", sa.Text(), nullable=True))


def downgrade() -> None:
    for name in ("taxes", "discount_amount"):
        op.drop_column("crm_invoice_line", name)
    for name in (
        "charges",
        "withheld",
        "adjustment",
        "header_discount_amount",
        "header_discount",
        "tax_mode",
    ):
        op.drop_column("crm_invoice", name)

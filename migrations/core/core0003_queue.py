"""The queue's rules kept by the database; urgency, doubts, pauses, strict order, workers."""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op

revision = "core0003"
down_revision = "core0002"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)

#: Every step that an item may take, as "before>after".
STEPS = (
    "pending>running",
    "pending>superseded",
    "pending>cancelled",
    "running>pending",
    "running>blocked",
    "running>failed",
    "running>check",
    "running>succeeded",
    "running>unchanged",
    "running>superseded",
    "running>cancelled",
    "blocked>pending",
    "blocked>superseded",
    "blocked>cancelled",
    "failed>pending",
    "failed>superseded",
    "failed>cancelled",
    "check>pending",
    "check>succeeded",
    "check>cancelled",
)
#: States with a slot, and those without.
WAITING = ("pending", "blocked", "failed", "check")
OTHERS = ("running", "succeeded", "unchanged", "superseded", "cancelled")


def one_of(column: str, values: Iterable[str]) -> str:
    """Not IN (…): for each row SQLite would make a table of such a list, a trigger's whole cost."""
    return "(" + " OR ".join(f"{column} = '{value}'" for value in values) + ")"


def step() -> str:
    """The condition of a step that isn't among STEPS."""
    after: dict[str, list[str]] = {}
    for each in STEPS:
        before, then = each.split(">")
        after.setdefault(before, []).append(then)
    allowed = " OR ".join(
        f"OLD.state = '{before}' AND {one_of('NEW.state', then)}" for before, then in after.items()
    )
    return f"OLD.state <> NEW.state AND NOT ({allowed})"


def shape(row: str) -> str:
    """A known state; a slot exactly while the item waits; a parent exactly while it is blocked."""
    state = f"{row}state"
    return (
        f"({one_of(state, OTHERS)} AND {row}slot IS NULL"
        f" OR {one_of(state, WAITING)} AND {row}slot IS NOT NULL)"
        f" AND ({state} = 'blocked') = ({row}blocked_by IS NOT NULL)"
    )


def _columns() -> dict[str, list[sa.Column]]:
    """What each table gains; rows of before get what the server puts in."""
    return {
        "xtiger_queue": [
            sa.Column("urgent", sa.Boolean(), nullable=False, server_default=sa.text("false")),
            sa.Column("doubts", sa.Integer(), nullable=False, server_default="0"),
        ],
        "xtiger_profile": [
            sa.Column("strict", sa.Boolean(), nullable=False, server_default=sa.text("false")),
            sa.Column("deleted", sa.String(length=10), nullable=False, server_default="leave"),
            sa.Column("paused_at", _MOMENT, nullable=True),
            sa.Column("paused_by", sa.String(length=255), nullable=True),
        ],
        "xtiger_run": [
            sa.Column("urgency", sa.Integer(), nullable=False, server_default="0"),
        ],
        "xtiger_attempt": [
            sa.Column("xero_id", sa.String(length=255), nullable=True),
            sa.Column("owner_resource", sa.String(length=30), nullable=True),
            sa.Column("owner_id", sa.String(length=40), nullable=True),
            sa.Column("content_type", sa.String(length=100), nullable=True),
        ],
        "xtiger_attempt_element": [
            sa.Column("equal_before", sa.Text(), nullable=True),
        ],
    }


def _indexes() -> dict[str, tuple[str, list[str], str | None]]:
    """Table, columns and condition of each new index; the last ones serve the pages' lists."""
    return {
        "ix_xtiger_queue_urgent": (
            "xtiger_queue",
            ["organisation_id", "rank", "id"],
            "state = 'pending' AND urgent = true",
        ),
        "ix_xtiger_queue_held": (
            "xtiger_queue",
            ["organisation_id", "rank", "id"],
            "state IN ('blocked', 'failed', 'check')",
        ),
        "ix_xtiger_attempt_bytes": (
            "xtiger_attempt",
            ["closed_at", "id"],
            "closed_at IS NOT NULL AND body IS NOT NULL",
        ),
        "ix_xtiger_queue_cause": (
            "xtiger_queue",
            ["cause", "id"],
            "state IN ('failed', 'check')",
        ),
        # Without what is pending, which claims find by an index of their own.
        "ix_xtiger_queue_organisation": (
            "xtiger_queue",
            ["organisation_id", "state", "id"],
            "state <> 'pending'",
        ),
        "ix_xtiger_log_organisation": ("xtiger_log", ["organisation_id", "id"], None),
        "ix_xtiger_log_at": ("xtiger_log", ["at"], None),
        "ix_xtiger_run_asked_at": ("xtiger_run", ["asked_at"], None),
    }


def upgrade() -> None:
    # A retried item once kept the name of the parent it had waited for. Before there are indexes
    # to write too, and without a touch on all that has ended.
    op.execute(
        "UPDATE xtiger_queue SET blocked_by = NULL"
        " WHERE state <> 'blocked' AND blocked_by IS NOT NULL"
    )
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    for name, (table, columns, condition) in _indexes().items():
        where = sa.text(condition) if condition else None
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "xtiger_worker",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("beat_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_xtiger_worker")),
    )
    wrong_step = step()
    wrong_shape = f"NOT ({shape('NEW.')})"
    if op.get_bind().dialect.name == "postgresql":
        op.create_check_constraint("ck_xtiger_queue_shape", "xtiger_queue", shape(""))
        op.execute(
            "CREATE FUNCTION xtiger_queue_step() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'a queue item can''t go from % to %', OLD.state, NEW.state"
            " USING ERRCODE = 'check_violation'; END $$"
        )
        op.execute(
            "CREATE TRIGGER xtiger_queue_step BEFORE UPDATE OF state ON xtiger_queue"
            f" FOR EACH ROW WHEN ({wrong_step}) EXECUTE FUNCTION xtiger_queue_step()"
        )
        return
    # SQLite can't add a constraint to a table that is there.
    for name, moment, wrong in (
        ("xtiger_queue_step", "UPDATE OF state", wrong_step),
        ("xtiger_queue_shape", "UPDATE OF state, slot, blocked_by", wrong_shape),
        ("xtiger_queue_new", "INSERT", wrong_shape),
    ):
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {moment} ON xtiger_queue WHEN {wrong}"
            " BEGIN SELECT RAISE(ABORT, 'a queue item can''t be so'); END"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER xtiger_queue_step ON xtiger_queue")
        op.execute("DROP FUNCTION xtiger_queue_step()")
        op.drop_constraint("ck_xtiger_queue_shape", "xtiger_queue")
    else:
        for name in ("xtiger_queue_step", "xtiger_queue_shape", "xtiger_queue_new"):
            op.execute(f"DROP TRIGGER {name}")
    op.drop_table("xtiger_worker")
    for name, (table, _fields, _condition) in reversed(_indexes().items()):
        op.drop_index(name, table_name=table)
    for table, columns in reversed(_columns().items()):
        for column in reversed(columns):
            op.drop_column(table, column.name)

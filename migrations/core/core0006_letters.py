"""Who asked for which mail, what was written of which run and period, and what is wrong."""

import json

import sqlalchemy as sa
from alembic import op

revision = "core0006"
down_revision = "core0005"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)
#: The setting that held the addresses before there were subscriptions, and what says that
#: somebody chose them on the page.
_OLD, _CHOSEN = "report_recipients", "report_recipients_chosen"


def _id() -> sa.Column:
    return sa.Column("id", _KEY, nullable=False)


def _moment(name: str, *, nullable: bool = True) -> sa.Column:
    return sa.Column(name, _MOMENT, nullable=nullable)


def _index(
    name: str, table: str, columns: list[str], condition: str | None = None, *, unique: bool = False
) -> None:
    where = sa.text(condition) if condition else None
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _of_organisation(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organisation_id"], ["xtiger_organisation.id"], name=op.f(f"fk_{table}_organisation_id")
    )


def upgrade() -> None:
    _subscriptions()
    _periods()
    _mails()
    _alerts()
    op.create_table(
        "xtiger_awake",
        _id(),
        _moment("began_at", nullable=False),
        _moment("last_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_xtiger_awake")),
    )
    _index("ix_xtiger_awake_last", "xtiger_awake", ["last_at"])
    op.add_column("xtiger_attempt_element", sa.Column("note", sa.Text(), nullable=True))
    _take_over()


def _subscriptions() -> None:
    table = "xtiger_subscription"
    kinds = ("after_sync", "daily", "weekly", "monthly", "alerts")
    op.create_table(
        table,
        _id(),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.Column("mailbox", sa.String(length=255), nullable=False),
        sa.Column("person", sa.String(length=255), nullable=True),
        sa.Column("organisation_id", _KEY, nullable=True),
        *(sa.Column(kind, sa.Boolean(), nullable=False) for kind in kinds),
        *(_moment(f"{kind}_from") for kind in ("daily", "weekly", "monthly")),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("modules", sa.Text(), nullable=True),
        sa.Column("only_failed", sa.Boolean(), nullable=False),
        sa.Column("attach_csv", sa.Boolean(), nullable=False),
        sa.Column("language", sa.String(length=5), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("made_by", sa.String(length=255), nullable=False),
        _moment("made_at", nullable=False),
        sa.Column("changed_by", sa.String(length=255), nullable=True),
        _moment("changed_at"),
        _moment("stopped_at"),
        _moment("refused_since"),
        sa.Column("refused_why", sa.Text(), nullable=True),
        _moment("grouped_at"),
        _moment("next_at"),
        _of_organisation(table),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sqlite_autoincrement=True,
    )
    one, every = "organisation_id IS NOT NULL", "organisation_id IS NULL"
    _index(f"uq_{table}_one", table, ["mailbox", "organisation_id"], one, unique=True)
    _index(f"uq_{table}_all", table, ["mailbox"], every, unique=True)
    _index(f"ix_{table}_next", table, ["next_at"])


def _periods() -> None:
    table = "xtiger_report_period"
    op.create_table(
        table,
        _id(),
        sa.Column("subscription_id", _KEY, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        _moment("start", nullable=False),
        _moment("end", nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("mail_id", _KEY, nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        _moment("made_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(
            "subscription_id", "kind", "starts_on", name=op.f(f"uq_{table}_subscription_id")
        ),
    )


def _mails() -> None:
    op.add_column(
        "xtiger_mail",
        sa.Column("kind", sa.String(length=12), nullable=False, server_default="after_sync"),
    )
    op.add_column(
        "xtiger_mail", sa.Column("doubts", sa.Integer(), nullable=False, server_default="0")
    )
    for name in ("subscription_id", "period_id", "alert_id", "organisation_id"):
        op.add_column("xtiger_mail", sa.Column(name, _KEY, nullable=True))
    op.add_column("xtiger_mail", sa.Column("attachment", sa.LargeBinary(), nullable=True))
    for name, length in (("attachment_name", 120), ("thread", 255), ("unsubscribe", 500)):
        op.add_column("xtiger_mail", sa.Column(name, sa.String(length=length), nullable=True))
    _index("ix_xtiger_mail_subscription", "xtiger_mail", ["subscription_id", "id"])
    _index("ix_xtiger_mail_alert", "xtiger_mail", ["alert_id"], "alert_id IS NOT NULL")
    _index("ix_xtiger_mail_failed", "xtiger_mail", ["not_before"], "state = 'failed'")
    table = "xtiger_run_mail"
    op.create_table(
        table,
        _id(),
        sa.Column("run_id", _KEY, nullable=False),
        sa.Column("mailbox", sa.String(length=255), nullable=False),
        sa.Column("subscription_id", _KEY, nullable=True),
        sa.Column("mail_id", _KEY, nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["xtiger_run.id"], name=op.f(f"fk_{table}_run_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["mail_id"], ["xtiger_mail.id"], name=op.f(f"fk_{table}_mail_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("run_id", "mailbox", name=op.f(f"uq_{table}_run_id")),
    )
    _index(f"ix_{table}_mail", table, ["mail_id"])
    _index(f"ix_{table}_waits", table, ["subscription_id", "run_id"], "mail_id IS NULL")


def _alerts() -> None:
    table = "xtiger_alert"
    op.create_table(
        table,
        _id(),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("organisation_id", _KEY, nullable=True),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=True),
        _moment("opened_at", nullable=False),
        _moment("last_seen_at", nullable=False),
        _moment("mailed_at"),
        sa.Column("times_mailed", sa.Integer(), nullable=False),
        _moment("next_mail_at"),
        _moment("closed_at"),
        _moment("recovered_mailed_at"),
        _of_organisation(table),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    one = "closed_at IS NULL AND organisation_id IS NOT NULL"
    every = "closed_at IS NULL AND organisation_id IS NULL"
    _index(f"uq_{table}_open", table, ["kind", "organisation_id", "key"], one, unique=True)
    _index(f"uq_{table}_open_all", table, ["kind", "key"], every, unique=True)
    _index(f"ix_{table}_closed", table, ["closed_at", "id"])
    # By which it is found how many records failed lately for one cause.
    _index(
        "ix_xtiger_log_failed",
        "xtiger_log",
        ["at", "organisation_id", "cause", "outcome", "item_id"],
        "cause IS NOT NULL",
    )


def _settings() -> sa.TableClause:
    return sa.table(
        "xtiger_setting",
        sa.column("name", sa.String),
        sa.column("value", sa.Text),
        sa.column("sealed", sa.Boolean),
        sa.column("changed_by", sa.String),
        sa.column("changed_at", _MOMENT),
    )


def _take_over() -> None:
    """What was mailed of runs, and the addresses that were chosen on the page."""
    op.execute(
        "INSERT INTO xtiger_run_mail (run_id, mailbox, mail_id)"
        " SELECT m.run_id, lower(m.recipient), min(m.id) FROM xtiger_mail m"
        " JOIN xtiger_run r ON r.id = m.run_id GROUP BY m.run_id, lower(m.recipient)"
    )
    connection, settings = op.get_bind(), _settings()
    row = connection.execute(sa.select(settings).where(settings.c.name == _OLD)).first()
    if row is None:
        return
    connection.execute(
        sa.update(settings).where(settings.c.name == _OLD).values(name=_CHOSEN, value="true")
    )
    organisations = sa.table("xtiger_organisation", sa.column("id"), sa.column("time_zone"))
    zone = connection.scalar(sa.select(organisations.c.time_zone).order_by(organisations.c.id))
    _subscribe(connection, json.loads(row.value) or [], row.changed_by, row.changed_at, zone)


def _subscribe(
    connection: sa.Connection,
    addresses: list[str],
    who: str | None,
    at: sa.DateTime | None,
    zone: str | None,
) -> None:
    from xtiger.domain.zones import zone_name

    booleans = ("daily", "weekly", "monthly", "alerts", "only_failed", "attach_csv")
    table = sa.table(
        "xtiger_subscription",
        *(sa.column(name) for name in ("address", "mailbox", "hour", "language", "zone")),
        *(sa.column(name, sa.Boolean) for name in ("after_sync", *booleans)),
        sa.column("made_by"),
        sa.column("made_at", _MOMENT),
    )
    for mailbox, address in {one.lower(): one for one in reversed(addresses)}.items():
        connection.execute(
            sa.insert(table).values(
                address=address,
                mailbox=mailbox,
                after_sync=True,
                hour=7,
                language="en",
                zone=zone_name(zone),
                made_by=who or "XTiger",
                made_at=at or sa.func.now(),
                **dict.fromkeys(booleans, False),
            )
        )


def _give_back() -> None:
    """The list of addresses, where somebody chose it: the older program knows no more of them."""
    connection, settings = op.get_bind(), _settings()
    addresses = connection.scalars(
        sa.text(
            "SELECT address FROM xtiger_subscription WHERE after_sync AND stopped_at IS NULL"
            " AND organisation_id IS NULL ORDER BY id"
        )
    ).all()
    connection.execute(
        sa.update(settings)
        .where(settings.c.name == _CHOSEN)
        .values(name=_OLD, value=json.dumps(list(addresses)))
    )


def downgrade() -> None:
    _give_back()
    op.drop_column("xtiger_attempt_element", "note")
    op.drop_index("ix_xtiger_log_failed", table_name="xtiger_log")
    for table in ("xtiger_awake", "xtiger_alert", "xtiger_run_mail", "xtiger_report_period"):
        op.drop_table(table)
    op.drop_table("xtiger_subscription")
    for name in ("alert", "failed", "subscription"):
        op.drop_index(f"ix_xtiger_mail_{name}", table_name="xtiger_mail")
    for name in (
        *("unsubscribe", "thread", "attachment_name", "attachment", "organisation_id"),
        *("alert_id", "period_id", "subscription_id", "doubts", "kind"),
    ):
        op.drop_column("xtiger_mail", name)

"""The core tables: all that XTiger remembers, apart from the CRM's own records."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from xtiger.domain import exactjson

#: One counter for every table: BIGINT on PostgreSQL, SQLite's own rowid.
Key = BigInteger().with_variant(Integer, "sqlite")


class Moment(TypeDecorator[datetime]):
    """An aware UTC moment; SQLite forgets zones, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone can't be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value


class Exact(TypeDecorator[Any]):
    """JSON as text with exact decimals: database drivers would make floats of them."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None or isinstance(value, exactjson.Written):
            return value
        return exactjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else exactjson.loads(value)


class Base(DeclarativeBase):
    """The core's tables, all under the prefix `xtiger_`, beside whatever a host has."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Connection(Base):
    """One OAuth2 consent: one token set, shared by the organisations it covers."""

    __tablename__ = "xtiger_connection"
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    #: web: a person's consent, renewed by its refresh token; custom: Xero's custom connection.
    kind: Mapped[str] = mapped_column(String(10), default="web", server_default="web")
    email: Mapped[str | None] = mapped_column(String(255))
    #: The permissions Xero granted, by blanks.
    scope: Mapped[str] = mapped_column(Text, default="")
    #: The token set, sealed by the key ring; never read outside engine/tokens.
    tokens: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    connected_at: Mapped[datetime] = mapped_column(Moment)
    #: When its tokens were last renewed, and when its organisations were last read.
    refreshed_at: Mapped[datetime | None] = mapped_column(Moment)
    checked_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Why a person must connect again, NULL while the consent works.
    broken: Mapped[str | None] = mapped_column(Text)
    broken_at: Mapped[datetime | None] = mapped_column(Moment)
    #: The refresh lease: one refreshes, the others wait and read again.
    refresher: Mapped[str | None] = mapped_column(String(80))
    refresh_fence: Mapped[int] = mapped_column(Integer, default=0)
    refresh_until: Mapped[datetime | None] = mapped_column(Moment)


class Organisation(Base):
    """A Xero tenant, with its lease and what holds it."""

    __tablename__ = "xtiger_organisation"
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    connection_id: Mapped[int | None] = mapped_column(ForeignKey("xtiger_connection.id"))
    tenant_id: Mapped[str] = mapped_column(String(40), unique=True)
    #: Xero's id of the link between consent and tenant (for disconnecting).
    link_id: Mapped[str | None] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(255))
    country: Mapped[str | None] = mapped_column(String(2))
    currency: Mapped[str | None] = mapped_column(String(3))
    short_code: Mapped[str | None] = mapped_column(String(20))
    time_zone: Mapped[str | None] = mapped_column(String(80))
    #: A person chose it; the others of a consent are only offered.
    chosen: Mapped[bool] = mapped_column(default=False)
    live_since: Mapped[datetime | None] = mapped_column(Moment)
    auto_sync: Mapped[bool] = mapped_column(default=False)
    paused_at: Mapped[datetime | None] = mapped_column(Moment)
    paused_by: Mapped[str | None] = mapped_column(String(255))
    #: A whole-call failure holds the organisation until then, with its sentence.
    held_until: Mapped[datetime | None] = mapped_column(Moment)
    held_why: Mapped[str | None] = mapped_column(Text)
    held_times: Mapped[int] = mapped_column(Integer, default=0)
    #: A limit of Xero's holds it, which no person can lift.
    held_by_xero: Mapped[bool] = mapped_column(default=False)
    #: Why Xero no longer lets us in although the consent lives, NULL while it does.
    removed: Mapped[str | None] = mapped_column(Text)
    removed_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Calls a day that the app's tier allows: 1,000 or 5,000.
    day_limit: Mapped[int] = mapped_column(Integer, default=1000, server_default="1000")
    #: Calls left today as Xero last said, and when it did.
    day_left: Mapped[int | None] = mapped_column(Integer)
    day_left_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Xero's window of a minute as it was last known, for whoever works on it next.
    minute_began: Mapped[datetime | None] = mapped_column(Moment)
    minute_left: Mapped[int | None] = mapped_column(Integer)
    #: The last webhook that told of it.
    webhook_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Webhooks since then went missing: what changed after it must be polled.
    poll_from: Mapped[datetime | None] = mapped_column(Moment)
    last_success_at: Mapped[datetime | None] = mapped_column(Moment)
    #: The drain lease (fenced): every write of a drain is guarded by this number.
    holder: Mapped[str | None] = mapped_column(String(80))
    fence: Mapped[int] = mapped_column(Integer, default=0)
    lease_until: Mapped[datetime | None] = mapped_column(Moment)


class Reference(Base):
    """What was read from Xero of one organisation: organisation, accounts, tax rates."""

    __tablename__ = "xtiger_reference"
    __table_args__ = (UniqueConstraint("organisation_id", "kind"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    kind: Mapped[str] = mapped_column(String(30))
    data: Mapped[Any] = mapped_column(Exact)
    read_at: Mapped[datetime] = mapped_column(Moment)


class UsageDay(Base):
    """What the calls to one organisation took on one day (UTC)."""

    __tablename__ = "xtiger_usage"
    organisation_id: Mapped[int] = mapped_column(
        ForeignKey("xtiger_organisation.id"), primary_key=True, autoincrement=False
    )
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    calls: Mapped[int] = mapped_column(BigInteger, default=0)
    #: Bodies and headers.
    bytes_out: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_in: Mapped[int] = mapped_column(BigInteger, default=0)


class Webhook(Base):
    """One delivery of Xero's webhooks, raw as it came."""

    __tablename__ = "xtiger_webhook"
    __table_args__ = (Index("ix_xtiger_webhook_handled", "handled_at", "id"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(Moment)
    #: When its events were put into the inbox, NULL while it waits.
    handled_at: Mapped[datetime | None] = mapped_column(Moment)
    #: How many events reached the inbox, and how many were of nobody here.
    taken: Mapped[int] = mapped_column(Integer, default=0)
    dropped: Mapped[int] = mapped_column(Integer, default=0)
    #: Why it couldn't be read.
    fault: Mapped[str | None] = mapped_column(Text)


class XeroChange(Base):
    """An object that changed in Xero and waits to be read: one row, however often it changed."""

    __tablename__ = "xtiger_xero_change"
    # Nor is a row's number here used again: a reader deletes by it what it has read.
    __table_args__ = (
        UniqueConstraint("organisation_id", "resource", "xero_id"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    resource: Mapped[str] = mapped_column(String(30))
    xero_id: Mapped[str] = mapped_column(String(40))
    #: How many events merged into it: a reader deletes it only if none came meanwhile.
    changes: Mapped[int] = mapped_column(Integer, default=1)
    #: The newest event's own moment, and when we were first told.
    changed_at: Mapped[datetime] = mapped_column(Moment)
    noticed_at: Mapped[datetime] = mapped_column(Moment)


class Profile(Base):
    """How one module goes to one organisation."""

    __tablename__ = "xtiger_profile"
    __table_args__ = (UniqueConstraint("organisation_id", "module"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    module: Mapped[str] = mapped_column(String(30))
    enabled: Mapped[bool] = mapped_column(default=True)
    rule: Mapped[str] = mapped_column(String(10), default="ticked")
    statuses: Mapped[list[str]] = mapped_column(JSON, default=list)
    created_from: Mapped[date | None] = mapped_column(Date)
    route_field: Mapped[str | None] = mapped_column(String(80))
    route_value: Mapped[str | None] = mapped_column(String(255))
    target_status: Mapped[str] = mapped_column(String(20), default="AUTHORISED")
    add_needed: Mapped[bool] = mapped_column(default=True)
    #: How often scheduled runs take a failed item again by themselves.
    retries: Mapped[int] = mapped_column(Integer, default=0)
    #: One batch in flight, and whatever fails or waits holds all that stands behind it.
    strict: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    #: What becomes of a bound object whose record is deleted in the CRM: leave, remove.
    deleted: Mapped[str] = mapped_column(String(10), default="leave", server_default="leave")
    #: Documents of earlier days stay out, by the day in this field of the CRM.
    dated_from: Mapped[date | None] = mapped_column(Date)
    dated_by: Mapped[str | None] = mapped_column(String(80))
    #: at once, every (so many minutes), daily (at that time of the organisation's day), by sync.
    schedule: Mapped[str] = mapped_column(String(10), default="at once", server_default="at once")
    minutes: Mapped[int] = mapped_column(Integer, default=15, server_default="15")
    daily_at: Mapped[str] = mapped_column(String(5), default="02:00", server_default="02:00")
    #: What becomes of a document of a locked period: hold, first open day, as draft.
    locked: Mapped[str] = mapped_column(String(20), default="hold", server_default="hold")
    #: Fields of a matched contact or item that the CRM's value goes over; NULL: the usual ones.
    overwrites: Mapped[list[str] | None] = mapped_column(Exact, nullable=True)
    #: Who saved it last, and when.
    changed_by: Mapped[str | None] = mapped_column(String(255))
    changed_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Nothing of the module is sent while a person has paused it.
    paused_at: Mapped[datetime | None] = mapped_column(Moment)
    paused_by: Mapped[str | None] = mapped_column(String(255))


class Template(Base):
    """One version of a mapping template; the newest of its kind is in use."""

    __tablename__ = "xtiger_template"
    __table_args__ = (UniqueConstraint("organisation_id", "module", "document_type", "version"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    module: Mapped[str] = mapped_column(String(30))
    #: Empty where the module holds no documents (NULLs would not be unique).
    document_type: Mapped[str] = mapped_column(String(20), default="")
    version: Mapped[int] = mapped_column(Integer, default=1)
    body: Mapped[Any] = mapped_column(Exact)
    author: Mapped[str] = mapped_column(String(255), default="XTiger")
    made_at: Mapped[datetime] = mapped_column(Moment)


class TemplateTest(Base):
    """A test kept with a mapping: a record as it was, and the values that must come out."""

    __tablename__ = "xtiger_template_test"
    __table_args__ = (UniqueConstraint("organisation_id", "module", "document_type", "name"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    module: Mapped[str] = mapped_column(String(30))
    #: Empty where the module holds no documents.
    document_type: Mapped[str] = mapped_column(String(20), default="")
    name: Mapped[str] = mapped_column(String(255))
    sample: Mapped[Any] = mapped_column(Exact)
    expected: Mapped[Any] = mapped_column(Exact)
    author: Mapped[str] = mapped_column(String(255))
    made_at: Mapped[datetime] = mapped_column(Moment)


class Flag(Base):
    """The sync flag of one record, and why it was last left out."""

    __tablename__ = "xtiger_flag"
    __table_args__ = (UniqueConstraint("module", "record_id"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    module: Mapped[str] = mapped_column(String(30))
    record_id: Mapped[str] = mapped_column(String(80))
    allow: Mapped[bool | None] = mapped_column()
    document_type: Mapped[str] = mapped_column(String(20), default="Invoice")
    organisation_id: Mapped[int | None] = mapped_column(ForeignKey("xtiger_organisation.id"))
    changed_by: Mapped[str | None] = mapped_column(String(255))
    changed_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Selection's last answer, kept so that nobody has to guess.
    reason: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime | None] = mapped_column(Moment)


class OutboxRow(Base):
    """A change, captured in the CRM's own transaction."""

    __tablename__ = "xtiger_outbox"
    # A row's number is never used again: a relay deletes by it what another one may have read.
    __table_args__ = ({"sqlite_autoincrement": True},)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    module: Mapped[str] = mapped_column(String(30))
    record_id: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(10))
    at: Mapped[datetime] = mapped_column(Moment)


class QueueItem(Base):
    """One record's transfer to one organisation; the id is its position, for ever.

    The database itself refuses states, steps between them and slots that
    `domain.queueing` doesn't know (migration core0003).
    """

    __tablename__ = "xtiger_queue"
    __table_args__ = (
        Index("uq_xtiger_queue_slot", "organisation_id", "slot", unique=True),
        Index(
            "ix_xtiger_queue_due",
            "organisation_id",
            "rank",
            "id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_xtiger_queue_urgent",
            "organisation_id",
            "rank",
            "id",
            sqlite_where=text("state = 'pending' AND urgent = true"),
            postgresql_where=text("state = 'pending' AND urgent = true"),
        ),
        Index(
            "ix_xtiger_queue_held",
            "organisation_id",
            "rank",
            "id",
            sqlite_where=text("state IN ('blocked', 'failed', 'check')"),
            postgresql_where=text("state IN ('blocked', 'failed', 'check')"),
        ),
        Index(
            "ix_xtiger_queue_blocked",
            "blocked_by",
            sqlite_where=text("state = 'blocked'"),
            postgresql_where=text("state = 'blocked'"),
        ),
        Index("ix_xtiger_queue_record", "module", "record_id", "id"),
        Index("ix_xtiger_queue_state", "state", "id"),
        # What the pages' lists go by; claims have their own index of what is pending.
        Index(
            "ix_xtiger_queue_organisation",
            "organisation_id",
            "state",
            "id",
            sqlite_where=text("state <> 'pending'"),
            postgresql_where=text("state <> 'pending'"),
        ),
        Index(
            "ix_xtiger_queue_cause",
            "cause",
            "id",
            sqlite_where=text("state IN ('failed', 'check')"),
            postgresql_where=text("state IN ('failed', 'check')"),
        ),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    module: Mapped[str] = mapped_column(String(30))
    record_id: Mapped[str] = mapped_column(String(80))
    label: Mapped[str] = mapped_column(String(255), default="")
    resource: Mapped[str] = mapped_column(String(30))
    #: Its turn in a pass (`domain.queueing.turn`): destructive ones come last, reversed.
    rank: Mapped[int] = mapped_column(Integer)
    action: Mapped[str] = mapped_column(String(10), default="Create")
    state: Mapped[str] = mapped_column(String(12), default="pending")
    #: "Module:id" while the item waits, NULL while it is in a call or ended.
    slot: Mapped[str | None] = mapped_column(String(120))
    blocked_by: Mapped[int | None] = mapped_column(Key)
    not_before: Mapped[datetime | None] = mapped_column(Moment)
    #: Somebody waits for it: it goes ahead of what the schedule sends.
    urgent: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    #: How often the item was refused; limits and lost leases don't count.
    tries: Mapped[int] = mapped_column(Integer, default=0)
    #: How often a call it was in failed as a whole: each time it goes in a smaller one.
    doubts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    #: How many changes merged into it.
    changes: Mapped[int] = mapped_column(Integer, default=1)
    #: A document's need added it; False where selection did.
    needed: Mapped[bool] = mapped_column(default=False)
    #: Cause and sentence of the last failure or wait.
    cause: Mapped[str | None] = mapped_column(String(120))
    sentence: Mapped[str | None] = mapped_column(Text)
    run_id: Mapped[int | None] = mapped_column(Key)
    requested_by: Mapped[str | None] = mapped_column(String(255))
    added_at: Mapped[datetime] = mapped_column(Moment)
    changed_at: Mapped[datetime] = mapped_column(Moment)


class Run(Base):
    """One execution for one organisation, with its figures and its mail."""

    __tablename__ = "xtiger_run"
    __table_args__ = (
        Index(
            "ix_xtiger_run_asked",
            "organisation_id",
            "id",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_xtiger_run_unreported",
            "id",
            sqlite_where=text("reported = false"),
            postgresql_where=text("reported = false"),
        ),
        Index("ix_xtiger_run_asked_at", "asked_at"),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    kind: Mapped[str] = mapped_column(String(12))  # instant, scheduled
    #: 2: asked for single records; 1: for all that is due; 0: by the schedule. Higher goes first.
    urgency: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    requested_by: Mapped[str] = mapped_column(String(255), default="schedule")
    asked_at: Mapped[datetime] = mapped_column(Moment)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Items that were due when it began.
    due: Mapped[int] = mapped_column(Integer, default=0)
    succeeded: Mapped[int] = mapped_column(Integer, default=0)
    unchanged: Mapped[int] = mapped_column(Integer, default=0)
    failed: Mapped[int] = mapped_column(Integer, default=0)
    blocked: Mapped[int] = mapped_column(Integer, default=0)
    calls: Mapped[int] = mapped_column(Integer, default=0)
    #: How it ended, in one sentence; `trouble`: it ended before its work was done.
    sentence: Mapped[str | None] = mapped_column(Text)
    trouble: Mapped[bool] = mapped_column(default=False)
    #: Its mails are written; False after its end means that somebody still has to.
    reported: Mapped[bool] = mapped_column(default=False)


class Attempt(Base):
    """The journal's line for one call: committed before it is sent, closed after."""

    __tablename__ = "xtiger_attempt"
    __table_args__ = (
        Index(
            "ix_xtiger_attempt_open",
            "organisation_id",
            "id",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index(
            "ix_xtiger_attempt_bytes",
            "closed_at",
            "id",
            sqlite_where=text("closed_at IS NOT NULL AND body IS NOT NULL"),
            postgresql_where=text("closed_at IS NOT NULL AND body IS NOT NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    run_id: Mapped[int | None] = mapped_column(Key)
    fence: Mapped[int] = mapped_column(Integer)
    resource: Mapped[str] = mapped_column(String(30))
    verb: Mapped[str] = mapped_column(String(6))
    #: The object a call addresses, and the one below which it writes, where it isn't a batch.
    xero_id: Mapped[str | None] = mapped_column(String(255))
    owner_resource: Mapped[str | None] = mapped_column(String(30))
    owner_id: Mapped[str | None] = mapped_column(String(40))
    #: Of an attachment's file; NULL for JSON.
    content_type: Mapped[str | None] = mapped_column(String(100))
    idempotency_key: Mapped[str] = mapped_column(String(128), unique=True)
    #: The exact bytes as sent, compressed by zlib; their hash stays as long as the call.
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    body_hash: Mapped[str] = mapped_column(String(64))
    opened_at: Mapped[datetime] = mapped_column(Moment)
    closed_at: Mapped[datetime | None] = mapped_column(Moment)
    #: How often the same bytes went out.
    sends: Mapped[int] = mapped_column(Integer, default=1)
    status: Mapped[int | None] = mapped_column(Integer)
    #: Headers of the answer (allow-list) and its body, compressed.
    answer_headers: Mapped[Any] = mapped_column(Exact, nullable=True)
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: settled, not sent, refused, due again, looked up, asked in vain
    outcome: Mapped[str | None] = mapped_column(String(20))


class AttemptElement(Base):
    """One element of a call, in the order of its body."""

    __tablename__ = "xtiger_attempt_element"
    __table_args__ = (UniqueConstraint("attempt_id", "place"), Index(None, "item_id"))
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("xtiger_attempt.id"))
    place: Mapped[int] = mapped_column(Integer)
    item_id: Mapped[int] = mapped_column(Key)
    #: What the answer must equal, and what the log prints of it.
    meant: Mapped[Any] = mapped_column(Exact)
    label: Mapped[str] = mapped_column(String(255), default="")
    record_version: Mapped[str] = mapped_column(String(80), default="")
    template_id: Mapped[int | None] = mapped_column(Key)
    amount: Mapped[Decimal | None] = mapped_column(Exact)
    currency: Mapped[str | None] = mapped_column(String(3))
    #: Which objects in Xero equalled it before it was sent; NULL where nobody looked.
    equal_before: Mapped[Any] = mapped_column(Exact, nullable=True)


class Binding(Base):
    """CRM record and Xero object that are the same thing, and what they last agreed on."""

    __tablename__ = "xtiger_binding"
    __table_args__ = (
        UniqueConstraint("organisation_id", "module", "record_id", name="uq_xtiger_binding_record"),
        UniqueConstraint("organisation_id", "resource", "xero_id", name="uq_xtiger_binding_xero"),
        Index(
            "ix_xtiger_binding_unwritten",
            "organisation_id",
            sqlite_where=text("written_back = false"),
            postgresql_where=text("written_back = false"),
        ),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    module: Mapped[str] = mapped_column(String(30))
    record_id: Mapped[str] = mapped_column(String(80))
    resource: Mapped[str] = mapped_column(String(30))
    document_type: Mapped[str | None] = mapped_column(String(20))
    xero_id: Mapped[str] = mapped_column(String(40))
    number: Mapped[str | None] = mapped_column(String(255))
    xero_status: Mapped[str | None] = mapped_column(String(20))
    #: Hash of the payload Xero last agreed to; NULL while it differs from what was meant.
    agreed_hash: Mapped[str | None] = mapped_column(String(64))
    agreed: Mapped[Any] = mapped_column(Exact, nullable=True)
    #: The CRM version that was agreed, to skip what can't have changed.
    record_version: Mapped[str | None] = mapped_column(String(80))
    template_id: Mapped[int | None] = mapped_column(Key)
    #: It went over because a document needed it, without a rule of its own.
    needed: Mapped[bool] = mapped_column(default=False)
    #: False until the CRM's record carries Xero's id and number.
    written_back: Mapped[bool] = mapped_column(default=False)
    bound_at: Mapped[datetime] = mapped_column(Moment)
    agreed_at: Mapped[datetime] = mapped_column(Moment)
    #: The payload of the CRM when they met: what was in Xero before, and equal to it now, stays.
    met: Mapped[Any] = mapped_column(Exact, nullable=True)


class Seen(Base):
    """A contact or item that Xero held when it was last read: a record may turn out to be it.

    The keys are the texts beside them as they are compared (`meeting.fold`), NULL for nothing.
    """

    __tablename__ = "xtiger_seen"
    __table_args__ = (
        Index("ix_xtiger_seen_number", "organisation_id", "resource", "number_key"),
        Index("ix_xtiger_seen_account", "organisation_id", "resource", "account_key"),
        Index("ix_xtiger_seen_name", "organisation_id", "resource", "name_key"),
    )
    organisation_id: Mapped[int] = mapped_column(
        ForeignKey("xtiger_organisation.id"), primary_key=True
    )
    resource: Mapped[str] = mapped_column(String(30), primary_key=True)
    xero_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[str] = mapped_column(String(255), default="")
    account_number: Mapped[str] = mapped_column(String(255), default="")
    email: Mapped[str] = mapped_column(String(255), default="")
    name: Mapped[str] = mapped_column(String(255), default="")
    status: Mapped[str] = mapped_column(String(20), default="ACTIVE")
    number_key: Mapped[str | None] = mapped_column(String(255))
    account_key: Mapped[str | None] = mapped_column(String(255))
    name_key: Mapped[str | None] = mapped_column(String(255))


class Look(Base):
    """How far an organisation's contacts or items are known to `Seen`."""

    __tablename__ = "xtiger_look"
    organisation_id: Mapped[int] = mapped_column(
        ForeignKey("xtiger_organisation.id"), primary_key=True
    )
    resource: Mapped[str] = mapped_column(String(30), primary_key=True)
    #: What changed in Xero before this moment is known.
    until: Mapped[datetime] = mapped_column(Moment)


class Likeness(Base):
    """A record and an object of Xero that may be the same: only a person can say."""

    __tablename__ = "xtiger_likeness"
    organisation_id: Mapped[int] = mapped_column(
        ForeignKey("xtiger_organisation.id"), primary_key=True
    )
    module: Mapped[str] = mapped_column(String(30), primary_key=True)
    record_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    xero_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: The person's word; NULL until somebody has said it.
    same: Mapped[bool | None]
    who: Mapped[str | None] = mapped_column(String(255))
    at: Mapped[datetime] = mapped_column(Moment)


class LogEntry(Base):
    """What happened to one record in one attempt; written once, never edited."""

    __tablename__ = "xtiger_log"
    __table_args__ = (
        Index("ix_xtiger_log_run", "run_id", "id"),
        Index("ix_xtiger_log_record", "module", "record_id", "id"),
        Index("ix_xtiger_log_outcome", "outcome", "id"),
        Index("ix_xtiger_log_organisation", "organisation_id", "id"),
        Index("ix_xtiger_log_at", "at"),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("xtiger_organisation.id"))
    run_id: Mapped[int | None] = mapped_column(Key)
    item_id: Mapped[int] = mapped_column(Key)
    attempt_id: Mapped[int | None] = mapped_column(Key)
    place: Mapped[int | None] = mapped_column(Integer)
    module: Mapped[str] = mapped_column(String(30))
    record_id: Mapped[str] = mapped_column(String(80))
    label: Mapped[str] = mapped_column(String(255), default="")
    xero_id: Mapped[str | None] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(10))
    outcome: Mapped[str] = mapped_column(String(12))
    cause: Mapped[str | None] = mapped_column(String(120))
    sentence: Mapped[str] = mapped_column(Text, default="")
    #: Xero's own words, a list.
    quoted: Mapped[Any] = mapped_column(Exact, nullable=True)
    amount: Mapped[Decimal | None] = mapped_column(Exact)
    currency: Mapped[str | None] = mapped_column(String(3))
    duration_ms: Mapped[int | None] = mapped_column(Integer)


class Mail(Base):
    """One mail to one recipient, kept before it is sent."""

    __tablename__ = "xtiger_mail"
    __table_args__ = (
        UniqueConstraint("run_id", "recipient"),
        Index(
            "ix_xtiger_mail_waiting",
            "id",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int | None] = mapped_column(Key)
    recipient: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    message_id: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(10), default="waiting")  # waiting, sent, failed
    tries: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime | None] = mapped_column(Moment)
    why: Mapped[str | None] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)


class Worker(Base):
    """One process that works on the queue, and when it last showed that it lives."""

    __tablename__ = "xtiger_worker"
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    #: serve, worker or fleet
    kind: Mapped[str] = mapped_column(String(10))
    started_at: Mapped[datetime] = mapped_column(Moment)
    beat_at: Mapped[datetime] = mapped_column(Moment)


class Setting(Base):
    """A setting a person made on a page; the environment wins over it."""

    __tablename__ = "xtiger_setting"
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    value: Mapped[Any] = mapped_column(Exact)
    #: True: `value` is sealed by the key ring.
    sealed: Mapped[bool] = mapped_column(default=False)
    changed_by: Mapped[str | None] = mapped_column(String(255))
    changed_at: Mapped[datetime | None] = mapped_column(Moment)

"""The core tables: all that XTiger remembers, apart from the CRM's own records."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from xtiger.store.base import Base as Base
from xtiger.store.base import Exact as Exact
from xtiger.store.base import Key as Key
from xtiger.store.base import Moment as Moment
from xtiger.store.letters import Alert as Alert
from xtiger.store.letters import Awake as Awake
from xtiger.store.letters import Mail as Mail
from xtiger.store.letters import ReportPeriod as ReportPeriod
from xtiger.store.letters import RunMail as RunMail
from xtiger.store.letters import Subscription as Subscription
from xtiger.store.setup import Connection as Connection
from xtiger.store.setup import Flag as Flag
from xtiger.store.setup import Organisation as Organisation
from xtiger.store.setup import Profile as Profile
from xtiger.store.setup import Reference as Reference
from xtiger.store.setup import Setting as Setting
from xtiger.store.setup import Template as Template
from xtiger.store.setup import TemplateTest as TemplateTest
from xtiger.store.setup import UsageDay as UsageDay
from xtiger.store.setup import Webhook as Webhook
from xtiger.store.setup import XeroChange as XeroChange


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
    #: What the log says besides once Xero has it: a date that was moved.
    note: Mapped[str | None] = mapped_column(Text)


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
        # What alerts count each minute: how many records failed lately for one cause.
        Index(
            "ix_xtiger_log_failed",
            "at",
            "organisation_id",
            "cause",
            "outcome",
            "item_id",
            sqlite_where=text("cause IS NOT NULL"),
            postgresql_where=text("cause IS NOT NULL"),
        ),
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


class Worker(Base):
    """One process that works on the queue, and when it last showed that it lives."""

    __tablename__ = "xtiger_worker"
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    #: serve, worker or fleet
    kind: Mapped[str] = mapped_column(String(10))
    started_at: Mapped[datetime] = mapped_column(Moment)
    beat_at: Mapped[datetime] = mapped_column(Moment)

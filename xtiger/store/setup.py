"""The tables of the set-up: connections, organisations, and what people choose for them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
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

from xtiger.store.base import Base, Exact, Key, Moment


class Connection(Base):
    """One OAuth2 consent: one token set, shared by the organisations it covers."""

    __tablename__ = "xtiger_connection"
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    #: web: a person's consent, renewed by its refresh token; custom: Xero's custom connection.
    kind: Mapped[str] = mapped_column(String(10), default="web", server_default="web")
    email: Mapped[str | None] = mapped_column(String(255))
    #: The permissions Xero granted, by blanks.
    scope: Mapped[str] = mapped_column(Text, default="")
    #: The token set, sealed by the key ring; never read outside engine/connection/tokens.
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


class Setting(Base):
    """A setting a person made on a page; the environment wins over it."""

    __tablename__ = "xtiger_setting"
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    value: Mapped[Any] = mapped_column(Exact)
    #: True: `value` is sealed by the key ring.
    sealed: Mapped[bool] = mapped_column(default=False)
    changed_by: Mapped[str | None] = mapped_column(String(255))
    changed_at: Mapped[datetime | None] = mapped_column(Moment)

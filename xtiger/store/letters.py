"""The tables of what XTiger writes to people: who asked for what, what was written, what is wrong.

The SQL that gives them meaning stands in `store.mailbox` (what is written and sent) and
`store.sums` (what a report counts); this file holds the tables alone.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
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
from sqlalchemy.orm import Mapped, mapped_column, validates

from xtiger.store.base import Base, Exact, Key, Moment

_WAITS = text("mail_id IS NULL")
_OPEN = text("closed_at IS NULL AND organisation_id IS NOT NULL")
_OPEN_OF_ALL = text("closed_at IS NULL AND organisation_id IS NULL")
_OF_ONE = text("organisation_id IS NOT NULL")
_OF_ALL = text("organisation_id IS NULL")
_WAITING = text("state = 'waiting'")
_GIVEN_UP = text("state = 'failed'")
_OF_ALERT = text("alert_id IS NOT NULL")
_REPEATS = text("again_of IS NOT NULL")


class Subscription(Base):
    """Which mails one address gets, about one organisation or all of them.

    Written by `engine.reporting.subscriptions`, which keeps `…_from` and `next_at` in step with
    the rest; `engine.alerting.alerts` adds the row that an administrator is welcomed with.
    """

    __tablename__ = "xtiger_subscription"
    # A row's number is never used again: mails, periods and links of an old one stay its own.
    __table_args__ = (
        Index(
            "uq_xtiger_subscription_one",
            "mailbox",
            "organisation_id",
            unique=True,
            sqlite_where=_OF_ONE,
            postgresql_where=_OF_ONE,
        ),
        Index(
            "uq_xtiger_subscription_all",
            "mailbox",
            unique=True,
            sqlite_where=_OF_ALL,
            postgresql_where=_OF_ALL,
        ),
        Index("ix_xtiger_subscription_next", "next_at"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    address: Mapped[str] = mapped_column(String(255))
    #: The address in small letters: one mailbox has one row.
    mailbox: Mapped[str] = mapped_column(String(255))
    #: The account's name or id, NULL for a plain address.
    person: Mapped[str | None] = mapped_column(String(255))
    #: NULL: about all organisations.
    organisation_id: Mapped[int | None] = mapped_column(ForeignKey("xtiger_organisation.id"))
    after_sync: Mapped[bool] = mapped_column(default=False)
    daily: Mapped[bool] = mapped_column(default=False)
    weekly: Mapped[bool] = mapped_column(default=False)
    monthly: Mapped[bool] = mapped_column(default=False)
    alerts: Mapped[bool] = mapped_column(default=False)
    #: Since when each kind is asked for: periods that were due before are never sent.
    daily_from: Mapped[datetime | None] = mapped_column(Moment)
    weekly_from: Mapped[datetime | None] = mapped_column(Moment)
    monthly_from: Mapped[datetime | None] = mapped_column(Moment)
    #: 0 to 23 by the reader's clock: of the next day, of Monday, of the 1st.
    hour: Mapped[int] = mapped_column(Integer, default=7)
    #: Names of modules, a list; NULL is all of them.
    modules: Mapped[list[str] | None] = mapped_column(Exact, nullable=True)
    only_failed: Mapped[bool] = mapped_column(default=False)
    attach_csv: Mapped[bool] = mapped_column(default=False)
    #: en, de
    language: Mapped[str] = mapped_column(String(5), default="en")
    #: The reader's zone by the tz database's name.
    zone: Mapped[str] = mapped_column(String(64), default="UTC")
    made_by: Mapped[str] = mapped_column(String(255))
    made_at: Mapped[datetime] = mapped_column(Moment)
    #: Who changed it last, and when.
    changed_by: Mapped[str | None] = mapped_column(String(255))
    changed_at: Mapped[datetime | None] = mapped_column(Moment)
    #: The reader pressed the link in a mail: nothing is written any more.
    stopped_at: Mapped[datetime | None] = mapped_column(Moment)
    #: The mail server refuses the address for good, in its words; a mail it takes clears both.
    refused_since: Mapped[datetime | None] = mapped_column(Moment)
    refused_why: Mapped[str | None] = mapped_column(Text)
    #: When the last mail was written about syncs that nobody pressed: they go in groups.
    grouped_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Before then no daily, weekly or monthly report is due; NULL: none is asked for.
    next_at: Mapped[datetime | None] = mapped_column(Moment)

    @validates("address")
    def _one_mailbox(self, _name: str, address: str) -> str:
        self.mailbox = address.lower()
        return address


class ReportPeriod(Base):
    """The claim on one period of one subscription: who writes this row writes the mail with it."""

    __tablename__ = "xtiger_report_period"
    __table_args__ = (UniqueConstraint("subscription_id", "kind", "starts_on"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    subscription_id: Mapped[int] = mapped_column(Key)
    #: daily, weekly, monthly
    kind: Mapped[str] = mapped_column(String(12))
    #: The reader's days: the first, and the first one behind.
    starts_on: Mapped[date] = mapped_column(Date)
    ends_on: Mapped[date] = mapped_column(Date)
    #: The same as moments: what was logged from the one on and before the other.
    start: Mapped[datetime] = mapped_column(Moment)
    end: Mapped[datetime] = mapped_column(Moment)
    zone: Mapped[str] = mapped_column(String(64))
    #: NULL: nothing was to be written; `why` says it.
    mail_id: Mapped[int | None] = mapped_column(Key)
    why: Mapped[str | None] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(Moment)


class Mail(Base):
    """One mail to one recipient, kept before it is sent."""

    __tablename__ = "xtiger_mail"
    __table_args__ = (
        UniqueConstraint("run_id", "recipient"),
        Index("ix_xtiger_mail_waiting", "id", sqlite_where=_WAITING, postgresql_where=_WAITING),
        Index(
            "ix_xtiger_mail_failed",
            "not_before",
            sqlite_where=_GIVEN_UP,
            postgresql_where=_GIVEN_UP,
        ),
        Index("ix_xtiger_mail_subscription", "subscription_id", "id"),
        Index(
            "ix_xtiger_mail_alert", "alert_id", sqlite_where=_OF_ALERT, postgresql_where=_OF_ALERT
        ),
        Index("ix_xtiger_mail_again", "again_of", sqlite_where=_REPEATS, postgresql_where=_REPEATS),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    #: after_sync, daily, weekly, monthly, alert, test
    kind: Mapped[str] = mapped_column(String(12), default="after_sync", server_default="after_sync")
    #: The run, where it tells of one alone; all that it tells of are in `RunMail`.
    run_id: Mapped[int | None] = mapped_column(Key)
    subscription_id: Mapped[int | None] = mapped_column(Key)
    period_id: Mapped[int | None] = mapped_column(Key)
    alert_id: Mapped[int | None] = mapped_column(Key)
    #: The mail that this one repeats because a person asked for it, and who did; a repeat of a
    #: repeat has the first one's number.
    again_of: Mapped[int | None] = mapped_column(Key)
    again_by: Mapped[str | None] = mapped_column(String(255))
    #: NULL: it is about several, or none.
    organisation_id: Mapped[int | None] = mapped_column(Key)
    recipient: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    #: A file that goes along, compressed by zlib, and its name.
    attachment: Mapped[bytes | None] = mapped_column(LargeBinary)
    attachment_name: Mapped[str | None] = mapped_column(String(120))
    #: The same at every try, so that a mail that came twice is seen to be one.
    message_id: Mapped[str] = mapped_column(String(255))
    #: The id under which mail programs gather a kind (References).
    thread: Mapped[str | None] = mapped_column(String(255))
    #: The link that ends the subscription without sign-in (List-Unsubscribe).
    unsubscribe: Mapped[str | None] = mapped_column(String(500))
    state: Mapped[str] = mapped_column(String(10), default="waiting")  # waiting, sent, failed
    tries: Mapped[int] = mapped_column(Integer, default=0)
    #: How many of its tries, one under way among them, may have brought it there without saying so.
    doubts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    #: When it may be tried again; each try puts it an hour off at most.
    not_before: Mapped[datetime | None] = mapped_column(Moment)
    why: Mapped[str | None] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)


class RunMail(Base):
    """One run that one recipient hears of: its mail, NULL while it waits to go with others."""

    __tablename__ = "xtiger_run_mail"
    __table_args__ = (
        UniqueConstraint("run_id", "mailbox"),
        Index("ix_xtiger_run_mail_mail", "mail_id"),
        Index(
            "ix_xtiger_run_mail_waits",
            "subscription_id",
            "run_id",
            sqlite_where=_WAITS,
            postgresql_where=_WAITS,
        ),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("xtiger_run.id", ondelete="CASCADE"))
    mailbox: Mapped[str] = mapped_column(String(255))
    subscription_id: Mapped[int | None] = mapped_column(Key)
    mail_id: Mapped[int | None] = mapped_column(ForeignKey("xtiger_mail.id", ondelete="CASCADE"))


class Alert(Base):
    """Something that is wrong until it is closed, whoever has been told how often."""

    __tablename__ = "xtiger_alert"
    __table_args__ = (
        Index(
            "uq_xtiger_alert_open",
            "kind",
            "organisation_id",
            "key",
            unique=True,
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        Index(
            "uq_xtiger_alert_open_all",
            "kind",
            "key",
            unique=True,
            sqlite_where=_OPEN_OF_ALL,
            postgresql_where=_OPEN_OF_ALL,
        ),
        Index("ix_xtiger_alert_closed", "closed_at", "id"),
    )
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    kind: Mapped[str] = mapped_column(String(30))
    #: NULL: it concerns the whole installation.
    organisation_id: Mapped[int | None] = mapped_column(ForeignKey("xtiger_organisation.id"))
    #: What tells two alerts of one kind and organisation apart (a fingerprint); often empty.
    key: Mapped[str] = mapped_column(String(120), default="")
    sentence: Mapped[str] = mapped_column(Text)
    details: Mapped[Any] = mapped_column(Exact, nullable=True)
    opened_at: Mapped[datetime] = mapped_column(Moment)
    last_seen_at: Mapped[datetime] = mapped_column(Moment)
    mailed_at: Mapped[datetime | None] = mapped_column(Moment)
    times_mailed: Mapped[int] = mapped_column(Integer, default=0)
    #: When it is told again if it still stands; NULL: not yet told, or told for the last time.
    next_mail_at: Mapped[datetime | None] = mapped_column(Moment)
    closed_at: Mapped[datetime | None] = mapped_column(Moment)
    #: When people were told that it is over.
    recovered_mailed_at: Mapped[datetime | None] = mapped_column(Moment)


class Awake(Base):
    """A span in which some process of XTiger worked: what lies between two, nobody was there."""

    __tablename__ = "xtiger_awake"
    __table_args__ = (Index("ix_xtiger_awake_last", "last_at"),)
    id: Mapped[int] = mapped_column(Key, primary_key=True)
    began_at: Mapped[datetime] = mapped_column(Moment)
    last_at: Mapped[datetime] = mapped_column(Moment)

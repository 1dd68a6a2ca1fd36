"""What is written to people and not yet sent, and who asked for it: the SQL of `store.letters`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, text, update
from sqlalchemy.orm import Session

from xtiger.store.letters import Awake, Mail, ReportPeriod, RunMail, Subscription

#: Ticks further apart than this had nobody between them.
_PAUSE = timedelta(minutes=30)
#: How often a tick is noted.
_NOTED = timedelta(minutes=1)
#: The next report is never further ahead, whatever the clocks do: of a day, of a week, of any.
_AHEAD = (timedelta(days=2), timedelta(days=9), timedelta(days=32))


# -- who asked ---------------------------------------------------------------------------------


def readers(
    session: Session, organisation_id: int | None, *, locked: bool = False
) -> list[Subscription]:
    """Who hears of each sync of an organisation (None: of all): one of each mailbox.

    A subscription to the organisation itself goes before one to all of them. `locked` ones stay
    as they are until this transaction ends: take them before any other rows, as they are locked
    in the order of their ids.
    """
    statement = (
        select(Subscription)
        .where(
            Subscription.stopped_at.is_(None),
            Subscription.after_sync,
            or_(
                Subscription.organisation_id.is_(None),
                Subscription.organisation_id == organisation_id,
            ),
        )
        .order_by(Subscription.id)
    )
    if locked:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    found: dict[str, Subscription] = {}
    for row in session.scalars(statement):
        had = found.get(row.mailbox)
        if had is None or had.organisation_id is None:
            found[row.mailbox] = row
    return list(found.values())


def due_for_period(session: Session, *, now: datetime, limit: int = 100) -> list[int]:
    """Subscriptions for which a daily, weekly or monthly report may be due.

    One whose next report lies too far ahead was looked at by a clock that ran ahead, and would
    wait for that day in silence: it is looked at again.
    """
    day, week, month = (now + ahead for ahead in _AHEAD)
    return list(
        session.scalars(
            select(Subscription.id)
            .where(
                or_(
                    Subscription.next_at <= now,
                    and_(Subscription.daily, Subscription.next_at > day),
                    and_(Subscription.weekly, Subscription.next_at > week),
                    Subscription.next_at > month,
                ),
                Subscription.stopped_at.is_(None),
            )
            .order_by(Subscription.next_at)
            .limit(limit)
        )
    )


def last_period(
    session: Session, subscription_id: int, kind: str, *, over: datetime | None = None
) -> ReportPeriod | None:
    """The newest period of a kind that was claimed for a subscription.

    Of those only that ended by `over`, where it is given: a later one was claimed by a clock
    that ran ahead.
    """
    statement = select(ReportPeriod).where(
        ReportPeriod.subscription_id == subscription_id, ReportPeriod.kind == kind
    )
    if over is not None:
        statement = statement.where(ReportPeriod.end <= over)
    return session.scalar(statement.order_by(ReportPeriod.starts_on.desc()).limit(1))


def claimed(session: Session, subscription_id: int, kind: str, first: date) -> ReportPeriod | None:
    """The claim on a period, by its first day, for a subscription; None while there is none."""
    return session.scalar(
        select(ReportPeriod).where(
            ReportPeriod.subscription_id == subscription_id,
            ReportPeriod.kind == kind,
            ReportPeriod.starts_on == first,
        )
    )


def lock(session: Session, subscription_id: int) -> Subscription | None:
    """A subscription as it is now, for this transaction alone; None once it was removed."""
    return session.get(Subscription, subscription_id, with_for_update=True, populate_existing=True)


def withdraw(session: Session, subscription_id: int, *, why: str) -> None:
    """Gives up the mails that still wait for a reader; that is no trouble of the mail server's."""
    session.execute(
        update(Mail)
        .where(
            Mail.subscription_id == subscription_id, Mail.state == "waiting", Mail.kind != "test"
        )
        .values(state="failed", why=why, not_before=None)
        .execution_options(synchronize_session=False)
    )


def hold(session: Session, mails: Iterable[int]) -> None:
    """Whoever repeats one of these mails waits until this transaction ends."""
    held = select(Mail.id).where(Mail.id.in_(mails)).order_by(Mail.id).with_for_update()
    session.execute(held)


def repeat(session: Session, first: int, *, since: datetime, now: datetime) -> Mail | None:
    """A mail's newest repeat that waits, or went between `since` and `now`."""
    return session.scalar(
        select(Mail)
        .where(
            text("again_of IS NOT NULL"),
            Mail.again_of == first,
            or_(
                Mail.state == "waiting",
                and_(Mail.state == "sent", Mail.sent_at > since, Mail.sent_at <= now),
            ),
        )
        .order_by(Mail.id.desc())
        .limit(1)
    )


def refused(session: Session, mailbox: str, *, why: str, now: datetime) -> None:
    """Notes that the mail server will never take a letter to an address."""
    for row in _held(session, Subscription.mailbox == mailbox.lower()):
        row.refused_since = row.refused_since or now
        row.refused_why = why


def taken(session: Session, mailbox: str) -> None:
    """Notes that the mail server took a letter to an address."""
    mine = Subscription.mailbox == mailbox.lower()
    for row in _held(session, mine, Subscription.refused_since.is_not(None)):
        row.refused_since = row.refused_why = None


def _held(session: Session, *which: ColumnElement[bool]) -> Sequence[Subscription]:
    """Some subscriptions, locked in the order of their ids as `readers` does: no deadlock."""
    return session.scalars(
        select(Subscription)
        .where(*which)
        .order_by(Subscription.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()


# -- runs that wait to be told together --------------------------------------------------------


def with_runs_waiting(session: Session) -> list[int]:
    """Subscriptions for which runs wait to be told."""
    return list(
        session.scalars(
            select(RunMail.subscription_id)
            .where(text("mail_id IS NULL"), RunMail.subscription_id.is_not(None))
            .distinct()
        )
    )


def waiting_runs(session: Session, subscription_id: int) -> list[RunMail]:
    """The runs of which a subscription hasn't heard yet, oldest first."""
    return list(
        session.scalars(
            select(RunMail)
            .where(text("mail_id IS NULL"), RunMail.subscription_id == subscription_id)
            .order_by(RunMail.run_id)
        )
    )


# -- when somebody was there -------------------------------------------------------------------


def note_awake(session: Session, *, now: datetime) -> None:
    """Notes that a process of XTiger works now; it belongs into a transaction that writes."""
    row = session.scalar(select(Awake).order_by(Awake.last_at.desc()).limit(1).with_for_update())
    if row is not None and now - row.last_at <= _PAUSE:
        row.last_at = max(row.last_at, now)
        return
    session.add(Awake(began_at=now, last_at=now))


def noted_lately(session: Session, *, now: datetime) -> bool:
    """Whether the last note is so young that none is needed."""
    last = session.scalar(select(func.max(Awake.last_at)))
    return last is not None and now - last < _NOTED


def asleep(
    session: Session, start: datetime, end: datetime
) -> list[tuple[datetime, datetime]] | None:
    """When within a time (UTC) no process worked, oldest first; None where nobody knows.

    Before the first note of all, nobody knows.
    """
    first = session.scalar(select(func.min(Awake.began_at)))
    if first is None or first > start:
        return None
    gaps = []
    at = start
    rows = session.execute(
        select(Awake.began_at, Awake.last_at)
        .where(Awake.last_at >= start, Awake.began_at < end)
        .order_by(Awake.began_at)
    )
    for began, last in rows:
        if began - at > _PAUSE:
            gaps.append((at, began))
        at = max(at, last)
    if end - at > _PAUSE:
        gaps.append((at, end))
    return gaps

"""The log and the runs: written once by a drain, read by pages and reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, insert, select, text, update
from sqlalchemy.orm import Session

from xtiger.domain.exactjson import Written
from xtiger.domain.queueing import State
from xtiger.store import wakes
from xtiger.store.claims import Claimed
from xtiger.store.models import LogEntry, Mail, Organisation, QueueItem, Run, RunMail
from xtiger.store.prepared import Prepared


def entry(
    item: QueueItem | Claimed,
    *,
    now: datetime,
    outcome: State,
    sentence: str,
    action: str,
    run_id: int | None,
    cause: str | None = None,
    quoted: Sequence[str] = (),
    xero_id: str | None = None,
    attempt_id: int | None = None,
    place: int | None = None,
    amount: Decimal | None = None,
    currency: str | None = None,
    duration_ms: int | None = None,
) -> dict[str, Any]:
    """What one item's step leaves in the log, a row for `append_many`."""
    return {
        "at": now,
        "organisation_id": item.organisation_id,
        "run_id": run_id,
        "item_id": item.id,
        "attempt_id": attempt_id,
        "place": place,
        "module": item.module,
        "record_id": item.record_id,
        "label": item.label,
        "xero_id": xero_id,
        "action": action,
        "outcome": outcome.value,
        "cause": cause,
        "sentence": sentence,
        "quoted": list(quoted) if quoted else _NOTHING,
        "amount": amount,
        "currency": currency,
        "duration_ms": duration_ms,
    }


_NOTHING = Written("[]")
_APPEND = Prepared(
    insert(LogEntry.__table__),  # type: ignore[arg-type]
    sets=[column.name for column in LogEntry.__table__.columns if column.name != "id"],
)
_RUN = Run.__table__.c
_FIGURES = ("succeeded", "unchanged", "failed", "blocked", "calls")
_COUNT = Prepared(
    update(Run.__table__)  # type: ignore[arg-type]
    .where(_RUN.id == bindparam("this_run"))
    .values({name: _RUN[name] + bindparam(f"more_{name}") for name in _FIGURES})
)
_MORE_URGENT = Prepared(
    select(_RUN.id)
    .where(
        _RUN.organisation_id == bindparam("of"),
        text("ended_at IS NULL"),
        _RUN.urgency > bindparam("than"),
    )
    .limit(1)
)


def append_many(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Writes entries, in their order; the only place that does."""
    if rows:
        _APPEND.many(session, rows)


def append(session: Session, item: QueueItem | Claimed, **said: Any) -> None:
    """Writes the one entry of one item's step (`entry`)."""
    append_many(session, [entry(item, **said)])


def ask_run(
    session: Session,
    organisation_id: int,
    *,
    kind: str,
    requested_by: str,
    now: datetime,
    single: bool = False,
) -> Run:
    """The run that waits for an organisation, or a new one: two clicks make one run.

    At one moment, too, where each of them locks the organisation first (`leases.lock`). A long
    `requested_by` is cut.
    `single`: it is for chosen records alone, and goes ahead of all others.
    """
    urgency = 2 if single else int(kind == "instant")
    requested_by = requested_by[: Run.requested_by.type.length]
    wakes.announce(session, organisation_id)
    waiting = session.scalar(
        select(Run)
        .where(
            Run.organisation_id == organisation_id,
            text("ended_at IS NULL"),
            Run.started_at.is_(None),
            (Run.urgency == 2) if single else (Run.urgency < 2),
        )
        .order_by(Run.id)
        .limit(1)
    )
    if waiting is not None:
        if kind == "instant" and waiting.kind != "instant":
            waiting.kind, waiting.requested_by = kind, requested_by
            waiting.urgency = urgency
        return waiting
    run = Run(
        organisation_id=organisation_id,
        kind=kind,
        urgency=urgency,
        requested_by=requested_by,
        asked_at=now,
        trouble=False,
        reported=False,
        **dict.fromkeys(("due", "succeeded", "unchanged", "failed", "blocked", "calls"), 0),
    )
    session.add(run)
    session.flush()
    return run


def unended_runs(session: Session, organisation_id: int | None = None) -> list[Run]:
    """Runs that wait to start, or whose worker stopped: most urgent first, then oldest."""
    statement = select(Run).where(text("ended_at IS NULL")).order_by(Run.urgency.desc(), Run.id)
    if organisation_id is not None:
        statement = statement.where(Run.organisation_id == organisation_id)
    return list(session.scalars(statement))


def more_urgent(session: Session, organisation_id: int, urgency: int) -> bool:
    """Whether a run waits that goes ahead of one of this urgency."""
    return bool(_MORE_URGENT.rows(session, {"of": organisation_id, "than": urgency}))


def unreported_runs(session: Session) -> list[int]:
    """Ended runs whose mails aren't written yet, oldest first."""
    return list(
        session.scalars(
            select(Run.id)
            .where(text("reported = false"), Run.ended_at.is_not(None))
            .order_by(Run.id)
        )
    )


def end_runs(session: Session, organisation_id: int, *, sentence: str, now: datetime) -> None:
    """Ends what an organisation's runs still wait for."""
    for run in unended_runs(session, organisation_id):
        sum_up(session, run)
        run.ended_at, run.sentence, run.trouble = now, sentence, True


def _last_entries(run_id: int) -> Any:
    """The last entry of each item in a run: what became of it, whatever came between."""
    return select(func.max(LogEntry.id)).where(LogEntry.run_id == run_id).group_by(LogEntry.item_id)


def sum_up(session: Session, run: Run) -> None:
    """Sets a run's figures to what became of each of its records."""
    rows = session.execute(
        select(LogEntry.outcome, func.count())
        .where(LogEntry.id.in_(_last_entries(run.id)))
        .group_by(LogEntry.outcome)
    )
    found: dict[str, int] = {str(outcome): int(number) for outcome, number in rows}
    run.succeeded = found.get(State.SUCCEEDED, 0)
    run.unchanged = found.get(State.UNCHANGED, 0)
    run.failed = found.get(State.FAILED, 0) + found.get(State.CHECK, 0)
    run.blocked = found.get(State.BLOCKED, 0)


def count(session: Session, run_id: int | None, **steps: int) -> None:
    """Adds to a run's figures."""
    if run_id is not None and any(steps.values()):
        more = {f"more_{name}": steps.get(name, 0) for name in _FIGURES}
        _COUNT.run(session, {"this_run": run_id, **more})


def failures_by_cause(session: Session, run_id: int) -> list[tuple[str, str, int]]:
    """Cause, sentence of one of its entries, and count, most frequent first."""
    rows = session.execute(
        select(LogEntry.cause, func.min(LogEntry.sentence), func.count())
        .where(LogEntry.id.in_(_last_entries(run_id)))
        .where(LogEntry.outcome.in_([State.FAILED.value, State.CHECK.value]))
        .group_by(LogEntry.cause)
        .order_by(func.count().desc(), LogEntry.cause)
    )
    return [(str(cause), str(sentence), int(number)) for cause, sentence, number in rows]


def entries_of_run(
    session: Session, run_id: int, *, outcome: State | None = None, limit: int | None = None
) -> list[LogEntry]:
    """The entries of a run, oldest first."""
    statement = select(LogEntry).where(LogEntry.run_id == run_id).order_by(LogEntry.id)
    if outcome is not None:
        statement = statement.where(LogEntry.outcome == outcome.value)
    return list(session.scalars(statement.limit(limit) if limit else statement))


#: What may have become of the mails about a run.
MAIL_STATES = ("sent", "waiting", "couldn't be sent", "not due")


def mail_state(mails: Sequence[Mail], *, untold: bool = False) -> str:
    """What happened to the mails of a run, in a word or two; the worst mail decides.

    `untold`: somebody is to hear of it in a mail that isn't written yet.
    """
    states = {mail.state for mail in mails}
    if "failed" in states:
        return "couldn't be sent"
    if untold or "waiting" in states:
        return "waiting"
    return "sent" if mails else "not due"


def mail_states(session: Session, run_ids: Sequence[int]) -> dict[int, str]:
    """The mail state of each of some runs."""
    mails = mails_of_runs(session, run_ids)
    untold = set(
        session.scalars(
            select(RunMail.run_id).where(text("mail_id IS NULL"), RunMail.run_id.in_(run_ids))
        )
    )
    return {one: mail_state(mails.get(one, []), untold=one in untold) for one in run_ids}


def mails_of_runs(session: Session, run_ids: Sequence[int]) -> dict[int, list[Mail]]:
    """The mails that tell of some runs, by run."""
    found: dict[int, list[Mail]] = {}
    rows = session.execute(
        select(RunMail.run_id, Mail)
        .join(Mail, Mail.id == RunMail.mail_id)
        .where(RunMail.run_id.in_(run_ids))
        .order_by(Mail.id)
    )
    for run_id, mail in rows:
        found.setdefault(run_id, []).append(mail)
    return found


def mailed(state: str) -> ColumnElement[bool]:
    """The condition on entries that the mails about their run are in one of MAIL_STATES."""
    told = select(RunMail.id).where(RunMail.run_id == LogEntry.run_id)
    by_mail = (
        select(RunMail.id)
        .join(Mail, Mail.id == RunMail.mail_id)
        .where(RunMail.run_id == LogEntry.run_id)
    )
    failed = by_mail.where(Mail.state == "failed").exists()
    waits = told.where(text("mail_id IS NULL")).exists() | (
        by_mail.where(Mail.state == "waiting").exists()
    )
    if state == "not due":
        return ~told.exists()
    if state == "couldn't be sent":
        return failed
    return waits & ~failed if state == "waiting" else told.exists() & ~waits & ~failed


def touch_success(session: Session, organisation_id: int, *, now: datetime) -> None:
    """Notes that Xero took something, and that nothing holds the organisation any more."""
    session.execute(
        update(Organisation)
        .where(Organisation.id == organisation_id)
        .values(last_success_at=now, held_until=None, held_why=None, held_times=0)
        .execution_options(synchronize_session=False)
    )


def waiting_mails(session: Session, *, now: datetime, limit: int = 50) -> list[Mail]:
    """Mails whose turn it is, oldest first."""
    return list(
        session.scalars(
            select(Mail)
            .where(
                text("state = 'waiting'"), (Mail.not_before.is_(None)) | (Mail.not_before <= now)
            )
            .order_by(Mail.id)
            .limit(limit)
        )
    )

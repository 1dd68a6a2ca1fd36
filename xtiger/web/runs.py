"""Runs: one execution as it happens, and the list of all."""

from __future__ import annotations

from typing import Any

from flask import abort, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xtiger.domain.queueing import State
from xtiger.engine.standing import held_sentence
from xtiger.store import logs, sums
from xtiger.store.models import LogEntry, Mail, Organisation, Run
from xtiger.web import formats, lists
from xtiger.web.access import needs
from xtiger.web.frame import clock_time, load, page, xt
from xtiger.web.routes import Routes
from xtiger.web.ui import fragment
from xtiger.web.words import say

routes = Routes()
#: The kind of a run as people say it.
KINDS = {"instant": "Sync", "scheduled": "Schedule"}


@routes.get("/runs")
@needs("queue.read")
def runs() -> Any:
    """All runs, newest first."""
    with xt().services.database.read() as session:
        values = _list(session)
    values.pop("frame")
    return page("xtiger/runs.html", **values)


@routes.get("/runs/_live")
@needs("queue.read")
def runs_live() -> Any:
    """The list as it is now."""
    with xt().services.database.read() as session:
        values = _list(session)
    return fragment("xtiger/_runs.html", **values)


def _list(session: Session) -> dict[str, Any]:
    frame = load(session)
    statement = select(Run)
    if frame.chosen:
        statement = statement.where(Run.organisation_id == frame.chosen.id)
    return {
        "frame": frame,
        "slice": lists.take(session, statement, Run.id, newest_first=True),
        "kinds": KINDS,
    }


@routes.get("/runs/<int:run_id>")
@needs("queue.read")
def run(run_id: int) -> Any:
    """One run: progress, figures, causes, records."""
    with xt().services.database.read() as session:
        values = _run(session, run_id)
    values.pop("frame")
    return page("xtiger/run.html", crumbs=[("Runs", url_for("xtiger.runs"))], **values)


@routes.get("/runs/<int:run_id>/_live")
@needs("queue.read")
def run_live(run_id: int) -> Any:
    """The run as it is now; once it has ended, nothing more comes."""
    with xt().services.database.read() as session:
        values = _run(session, run_id)
    answer = fragment("xtiger/_run.html", **values)
    answer.headers["X-Every"] = "1"
    mailed = all(mail.state != "waiting" for mail in values["mails"])
    if values["run"].ended_at and mailed and answer.status_code == 304:
        answer.headers["X-Ended"] = "1"
    return answer


def _run(session: Session, run_id: int) -> dict[str, Any]:
    frame = load(session)
    found = session.get(Run, run_id)
    if found is None:
        abort(404)
    settled = found.succeeded + found.unchanged + found.failed + found.blocked
    due = max(found.due, settled)
    modules = session.execute(
        select(LogEntry.module, func.count())
        .where(LogEntry.run_id == run_id)
        .group_by(LogEntry.module)
    ).all()
    percent = 100 if found.ended_at else min(99, 100 * settled // due) if due else 0
    entries = lists.take(
        session, select(LogEntry).where(LogEntry.run_id == run_id), LogEntry.id, newest_first=True
    )
    mails = logs.mails_of_runs(session, [run_id]).get(run_id, [])
    return {
        "frame": frame,
        "run": found,
        "kind": KINDS.get(found.kind, found.kind.capitalize()),
        "organisation": frame.organisation(found.organisation_id),
        "settled": settled,
        "due": due,
        "percent": percent,
        "sentence": run_sentence(found, settled, due, held=_held(session, found)),
        "modules": modules,
        "sums": sums.money_of_run(session, found),
        "causes": logs.failures_by_cause(session, run_id),
        "slice": entries,
        "mails": mails,
        "mail_sentence": mail_sentence(mails),
        "states": [State.SUCCEEDED, State.UNCHANGED, State.FAILED, State.BLOCKED],
    }


def _held(session: Session, found: Run) -> str | None:
    """What keeps a run that hasn't ended from going on."""
    if found.ended_at is not None:
        return None
    row = session.get(Organisation, found.organisation_id)
    return held_sentence(session, row, xt().services.clock.now()) if row else None


def run_sentence(found: Run, settled: int, due: int, *, held: str | None = None) -> str:
    """Where it stands, in one sentence."""
    if held:
        return held
    if found.ended_at is None and found.started_at is None:
        return say("run.waiting", time=clock_time(found.asked_at))
    if found.ended_at is None:
        return say("run.progress", done=f"{settled:,}", due=formats.counted(due, "record"))
    if found.sentence:
        return found.sentence
    if not settled:
        return say("run.nothing" if found.kind == "scheduled" else "run.nothing.asked")
    return say(
        "run.done",
        time=formats.lasted(found.started_at or found.asked_at, found.ended_at),
        succeeded=found.succeeded,
        unchanged=found.unchanged,
        failed=found.failed,
        blocked=found.blocked,
    )


def mail_sentence(mails: list[Mail]) -> str | None:
    """What happened to its mails, the worst first."""
    failed = next((mail for mail in mails if mail.state == "failed"), None)
    if failed is not None:
        return say("run.mail.failed", recipient=failed.recipient, why=failed.why or "")
    if not mails:
        return None
    count = formats.counted(len(mails), "person", "people")
    waits = any(mail.state == "waiting" for mail in mails)
    return say("run.mail.waiting" if waits else "run.mailed", count=count)

"""Logs: what happened to each record, for ever; and one entry with its call as it went."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from flask import abort, request, url_for
from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.queueing import State
from xtiger.domain.records import Module
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.store import journal
from xtiger.store import logs as store
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    LogEntry,
    Mail,
    Organisation,
    QueueItem,
    Template,
)
from xtiger.web import lists, sheets
from xtiger.web.access import can, needs, who
from xtiger.web.frame import load, page, xt, zone
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()
#: The columns of the exported file.
HEADER = (
    "Time",
    "Organisation",
    "Module",
    "CRM id",
    "Record",
    "Xero id",
    "Action",
    "Outcome",
    "Sentence",
    "Xero says",
    "Amount",
    "Currency",
    "Mail",
    "Duration ms",
    "Run",
    "Place",
)

OUTCOMES = (
    State.SUCCEEDED,
    State.UNCHANGED,
    State.FAILED,
    State.BLOCKED,
    State.CHECK,
    State.CANCELLED,
)
#: The mail states a filter offers, and what the mails of a run must look like.
MAIL_STATES = ("sent", "waiting", "couldn't be sent", "not due")


def _day(name: str, *, later: int = 0) -> datetime | None:
    """Midnight of a day of the query or some days later, in the reader's zone.

    None where the query has no day, or one at the end of all time.
    """
    try:
        day = datetime.fromisoformat(request.args.get(name, "")).date() + timedelta(days=later)
        return datetime.combine(day, time(), zone()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _filtered(organisation_id: int | None) -> Select[Any]:
    args = request.args
    statement = select(LogEntry)
    if organisation_id is not None:
        statement = statement.where(LogEntry.organisation_id == organisation_id)
    for name, column, known in (
        ("module", LogEntry.module, {one.value for one in Module}),
        ("outcome", LogEntry.outcome, {one.value for one in OUTCOMES}),
        ("action", LogEntry.action, {"Create", "Update"}),
    ):
        if args.get(name) in known:
            statement = statement.where(column == args[name])
    if args.get("record"):
        statement = statement.where(LogEntry.record_id == args["record"])
    if args.get("cause"):
        statement = statement.where(LogEntry.cause == args["cause"])
    if (run_id := lists.whole("run")) is not None:
        statement = statement.where(LogEntry.run_id == run_id)
    if start := _day("from"):
        statement = statement.where(LogEntry.at >= start)
    if end := _day("to", later=1):
        statement = statement.where(LogEntry.at < end)
    if args.get("mail") in MAIL_STATES:
        statement = statement.where(_mailed(args["mail"]))
    text = args.get("q", "").strip()
    if text:
        matches = LogEntry.label.icontains(text, autoescape=True)
        matches = matches | (LogEntry.record_id == text) | (LogEntry.xero_id == text.lower())
        statement = statement.where(matches)
    return statement


def _mailed(state: str) -> Any:
    """Entries whose run's mails are in a state, the worst mail deciding."""

    def some(*states: str) -> Any:
        mail = select(Mail.id).where(Mail.run_id == LogEntry.run_id)
        return exists(mail.where(Mail.state.in_(states)) if states else mail)

    if state == "not due":
        return ~some()
    if state == "couldn't be sent":
        return some("failed")
    if state == "waiting":
        return some("waiting") & ~some("failed")
    return some("sent") & ~some("failed", "waiting")


_FILTERS = ("module", "outcome", "action", "record", "cause", "run", "from", "to", "mail", "q")


@routes.get("/logs")
@needs("logs.read")
def logs() -> Any:
    """The list, newest first."""
    with xt().services.database.read() as session:
        frame = load(session)
        found = lists.take(
            session,
            _filtered(frame.chosen.id if frame.chosen else None),
            LogEntry.id,
            newest_first=True,
        )
        mails = _mail_states(session, found.rows)
    return page(
        "xtiger/logs.html",
        slice=found,
        mails=mails,
        module_pairs=[(one.value, one.value) for one in Module],
        outcome_pairs=[(one.value, one.value.capitalize()) for one in OUTCOMES],
        mail_pairs=[(one, one.capitalize()) for one in MAIL_STATES],
        filtered=any(request.args.get(one) for one in _FILTERS),
    )


def _mail_states(session: Session, entries: list[LogEntry]) -> dict[int, str]:
    """The mail state of each run among some entries."""
    ids = {entry.run_id for entry in entries if entry.run_id is not None}
    found = store.mails_of_runs(session, sorted(ids))
    return {run_id: store.mail_state(found.get(run_id, [])) for run_id in ids}


@routes.get("/logs.csv")
@needs("logs.read")
def logs_csv() -> Any:
    """Everything the filter matches."""
    database = xt().services.database
    with database.read() as session:
        frame = load(session)
        names = frame.names
    statement = _filtered(frame.chosen.id if frame.chosen else None)

    def rows(session: Session, entries: list[LogEntry]) -> Iterator[list[Any]]:
        mails = _mail_states(session, entries)
        for entry in entries:
            yield [
                entry.at,
                names.get(entry.organisation_id, ""),
                entry.module,
                entry.record_id,
                entry.label,
                entry.xero_id,
                entry.action,
                entry.outcome,
                entry.sentence,
                " | ".join(entry.quoted or []),
                entry.amount,
                entry.currency,
                mails.get(entry.run_id or 0, "not due"),
                entry.duration_ms,
                entry.run_id,
                entry.item_id,
            ]

    return sheets.download("logs.csv", HEADER, lists.every(database, statement, LogEntry.id, rows))


@dataclass(frozen=True, slots=True)
class Told:
    """A field of what was read back: what was meant and what Xero has."""

    field: str
    meant: Any
    has: Any
    same: bool


@dataclass(frozen=True, slots=True)
class Payload:
    """One call, as it was sent and answered: this record's part, and the whole."""

    url: str
    headers: tuple[tuple[str, str], ...]
    part: str
    whole: str
    answer_headers: tuple[tuple[str, str], ...]
    answer_part: str
    answer: str
    told: tuple[Told, ...]


@routes.get("/logs/<int:entry_id>")
@needs("logs.read")
def log(entry_id: int) -> Any:
    """One entry; the bodies only for those who may read them."""
    with xt().services.database.read() as session:
        frame = load(session)
        entry = session.get(LogEntry, entry_id)
        if entry is None:
            abort(404)
        attempt = session.get(Attempt, entry.attempt_id) if entry.attempt_id else None
        element = (
            session.scalar(
                select(AttemptElement).where(
                    AttemptElement.attempt_id == entry.attempt_id,
                    AttemptElement.item_id == entry.item_id,
                )
            )
            if attempt
            else None
        )
        template = (
            session.get(Template, element.template_id) if element and element.template_id else None
        )
        item = session.get(QueueItem, entry.item_id)
        mails = store.mails_of_runs(session, [entry.run_id or 0]).get(entry.run_id or 0, [])
        organisation = session.get(Organisation, entry.organisation_id)
    payload = None
    if attempt is not None and can("logs.payload"):
        payload = _payload(attempt, element, organisation)
    return page(
        "xtiger/log.html",
        entry=entry,
        attempt=attempt,
        template=template,
        item=item,
        mails=mails,
        mail_state=store.mail_state(mails),
        organisation=frame.organisation(entry.organisation_id) or organisation,
        payload=payload,
        no_payload=say("logs.no_payload", role=(who().role or "none").capitalize()),
        crumbs=[("Logs", url_for("xtiger.logs"))],
    )


def _payload(
    attempt: Attempt, element: AttemptElement | None, organisation: Organisation | None
) -> Payload:
    resource = Resource(attempt.resource)
    sent, came = journal.body_of(attempt), journal.answer_of(attempt)
    place = element.place if element else 0
    part, answer_part = _element(sent, resource, place), _element(came, resource, place)
    base = xt().services.settings.xero_api_url
    return Payload(
        url=f"{attempt.verb} {base}/api.xro/2.0/{resource.value}",
        headers=(
            ("Authorization", say("logs.hidden")),
            ("Xero-Tenant-Id", organisation.tenant_id if organisation else "–"),
            ("Idempotency-Key", attempt.idempotency_key),
            ("Content-Type", "application/json"),
        ),
        part=_pretty(part),
        whole=_text(sent),
        answer_headers=tuple(sorted((attempt.answer_headers or {}).items())),
        answer_part=_pretty(answer_part),
        answer=_text(came),
        told=_told(element.meant if element else None, answer_part),
    )


def _element(body: bytes, resource: Resource, place: int) -> Any:
    """This record's part of a call's body, None where the body isn't a list of them."""
    try:
        rows = exactjson.loads(body)[resource.value]
        return rows[place]
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def _told(meant: Any, answer: Any) -> tuple[Told, ...]:
    """What the answer had to equal, beside what it holds."""
    if not isinstance(meant, Mapping) or not isinstance(answer, Mapping):
        return ()
    info = [name for each in CATALOGUE.values() for name in each.agreed]
    names = sorted(meant, key=lambda name: (name not in info, name))
    found = []
    for name in names:
        if isinstance(meant[name], dict | list):
            continue
        has = answer.get(name)
        found.append(Told(name, meant[name], has, _equal(meant[name], has)))
    return tuple(found)


def _equal(meant: Any, has: Any) -> bool:
    numbers = (int, Decimal)
    if isinstance(meant, numbers) and isinstance(has, numbers):
        return Decimal(meant) == Decimal(has)
    return bool(str(meant) == str(has))


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _pretty(value: Any) -> str:
    """JSON for people, with numbers exactly as they stand in the body."""
    if value is None:
        return ""
    numbers: list[str] = []

    def mark(number: Any) -> str:
        numbers.append(format(number, "f"))
        return f"\u0000{len(numbers) - 1}\u0000"

    text = json.dumps(value, indent=2, ensure_ascii=False, default=mark)
    for place, number in enumerate(numbers):
        text = text.replace(f'"\\u0000{place}\\u0000"', number)
    return text

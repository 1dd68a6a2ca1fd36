"""Logs: what happened to each record, for ever; and one entry with its call as it went."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import abort, request, url_for
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from xtiger.domain import exactjson
from xtiger.domain.errors import PermanentError
from xtiger.domain.queueing import REMOVE, State
from xtiger.domain.records import Module
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.domain.values import written_out
from xtiger.store import journal
from xtiger.store import logs as store
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Binding,
    LogEntry,
    Organisation,
    QueueItem,
    Template,
)
from xtiger.web import filters, formats, lists, sheets
from xtiger.web.access import can, needs, who
from xtiger.web.frame import load, page, xt, zone
from xtiger.web.routes import GREATEST, Routes
from xtiger.web.words import say
from xtiger.xero.endpoints import of_call

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
#: What an attempt did in Xero, as entries say it.
ACTIONS = ("Create", "Update", REMOVE)
#: Entries of nearly one time that may stand in another order: each worker has its own clock.
_JUMBLED = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """The query's filters: what an index serves, and what only narrows that."""

    statement: Select[Any]
    narrow: tuple[lists.Test, ...]
    text: lists.Test | None = None
    #: Entries that the text names exactly, by a record's id or an object's.
    exact: tuple[int, ...] = ()

    @property
    def tests(self) -> list[lists.Test]:
        """What no index serves, the text included."""
        return [*self.narrow, *([] if self.text is None else [self.text])]


def _asked(session: Session, organisation_id: int | None) -> Asked:
    """One filter is served by its index, the rarest first; the others narrow what it gives."""
    args = request.args
    run_id = filters.number("run", args.get("run"))
    modules = [one.value for one in Module]
    module = filters.one_of("module", args.get("module"), modules)
    outcome = filters.one_of("outcome", args.get("outcome"), [one.value for one in OUTCOMES])
    action = filters.one_of("action", args.get("action"), ACTIONS)
    mail = filters.one_of("mail", args.get("mail"), store.MAIL_STATES)
    start = filters.day("from", args.get("from"), zone())
    end = filters.day("to", args.get("to"), zone(), later=1)
    statement = select(LogEntry)
    narrow: list[lists.Test] = []
    serving: list[tuple[Any, Any]] = []
    if args.get("record"):
        # The index on records begins with the module.
        statement = statement.where(LogEntry.module.in_([module] if module else modules))
        serving.append((LogEntry.record_id, args["record"][:80]))
    elif module:
        narrow.append(lists.plainly(LogEntry.module) == module)
    if run_id is not None:
        serving.append((LogEntry.run_id, run_id))
    if organisation_id is not None:
        serving.append((LogEntry.organisation_id, organisation_id))
    if outcome:
        serving.append((LogEntry.outcome, outcome))
    for place, (column, value) in enumerate(serving):
        if place:
            narrow.append(lists.plainly(column) == value)
        else:
            statement = statement.where(column == value)
    if action:
        narrow.append(lists.plainly(LogEntry.action) == action)
    if args.get("cause"):
        narrow.append(lists.plainly(LogEntry.cause) == args["cause"])
    for bound in _between(session, start, end):
        narrow.append(bound[1])
        statement = statement.where(bound[0])
    if mail:
        narrow.append(store.mailed(mail))
    asked = Asked(statement, tuple(narrow))
    words = args.get("q", "").strip()
    if not words:
        return asked
    like = LogEntry.label.icontains(words, autoescape=True)
    like = like | (lists.plainly(LogEntry.xero_id) == words.lower())
    return replace(asked, text=like, exact=tuple(_named(session, words)))


def _between(
    session: Session, start: datetime | None, end: datetime | None
) -> Iterator[tuple[Any, Any]]:
    """A span of time as a bound of ids, which an index serves, beside the exact test of time.

    Entries are written nearly in the order of time: the bound leaves room for some that aren't.
    """
    if start is not None:
        near = select(LogEntry.id).where(LogEntry.at >= start).order_by(LogEntry.at)
        first = session.scalar(select(func.min(near.limit(_JUMBLED).subquery().c.id)))
        yield LogEntry.id >= (GREATEST if first is None else first), LogEntry.at >= start
    if end is not None:
        near = select(LogEntry.id).where(LogEntry.at < end).order_by(LogEntry.at.desc())
        last = session.scalar(select(func.max(near.limit(_JUMBLED).subquery().c.id)))
        yield LogEntry.id <= (-1 if last is None else last), LogEntry.at < end


def _named(session: Session, words: str) -> list[int]:
    """The newest entries of a record with this id, or of the one bound to this object."""
    modules = [one.value for one in Module]
    records = [(modules, words[:80])]
    bound = select(Binding.module, Binding.record_id).where(
        Binding.organisation_id.in_(select(Organisation.id)),
        Binding.resource.in_([one.value for one in Resource]),
        Binding.xero_id == words.lower()[:40],
    )
    records += [([module], record_id) for module, record_id in session.execute(bound)]
    found: set[int] = set()
    for of, record_id in records:
        ids = select(LogEntry.id).where(LogEntry.module.in_(of), LogEntry.record_id == record_id)
        found |= set(session.scalars(ids.order_by(LogEntry.id.desc()).limit(lists.ROWS)))
    return sorted(found)


_FILTERS = ("module", "outcome", "action", "record", "cause", "run", "from", "to", "mail", "q")


@routes.get("/logs")
@needs("logs.read")
def logs() -> Any:
    """The list, newest first."""
    with xt().services.database.read() as session:
        frame = load(session)
        found = _slice(session, _asked(session, frame.chosen.id if frame.chosen else None))
        mails = _mail_states(session, found.rows)
    return page(
        "xtiger/logs.html",
        slice=found,
        days_by=filters.clock(),
        looked=say("logs.looked", looked=f"{found.looked:,}") if found.looked else None,
        mails=mails,
        module_pairs=[(one.value, one.value) for one in Module],
        action_pairs=[(one, one) for one in ACTIONS],
        outcome_pairs=[(one.value, one.value.capitalize()) for one in OUTCOMES],
        mail_pairs=[(one, one.capitalize()) for one in store.MAIL_STATES],
        filtered=any(request.args.get(one) for one in _FILTERS),
    )


def _slice(session: Session, asked: Asked) -> lists.Slice[Any]:
    """A page; what the text names exactly stands first, on the first page."""
    tests = asked.tests
    if asked.exact:
        tests.append(LogEntry.id.not_in(asked.exact))
    found = lists.take(session, asked.statement, LogEntry.id, newest_first=True, narrow=tests)
    if not asked.exact or lists.wanted() != (None, None):
        return found
    named = asked.statement.where(LogEntry.id.in_(asked.exact), *asked.narrow)
    rows = session.scalars(named.order_by(LogEntry.id.desc()))
    return replace(found, rows=[*rows, *found.rows])


def _mail_states(session: Session, entries: list[LogEntry]) -> dict[int, str]:
    """The mail state of each run among some entries."""
    ids = {entry.run_id for entry in entries if entry.run_id is not None}
    return store.mail_states(session, sorted(ids))


@routes.get("/logs.csv")
@needs("logs.read")
def logs_csv() -> Any:
    """Everything the filter matches."""
    database = xt().services.database
    with database.read() as session:
        frame = load(session)
        names = frame.names
        asked = _asked(session, frame.chosen.id if frame.chosen else None)
    statement = asked.statement.where(*asked.narrow)
    if asked.text is not None:
        statement = statement.where(LogEntry.id.in_(asked.exact) | asked.text)

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
    """One call, as it was sent and answered: this record's part, and the whole.

    Where there is no text to show, `instead` and `answer_instead` say why.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    part: str
    whole: str
    instead: str
    answer_headers: tuple[tuple[str, str], ...]
    answer_part: str
    answer: str
    answer_instead: str
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
        run_id = entry.run_id or 0
        mails = store.mails_of_runs(session, [run_id]).get(run_id, [])
        mail_state = store.mail_states(session, [run_id])[run_id]
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
        mail_state=mail_state,
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
    file = resource is Resource.ATTACHMENTS
    part = None if file else _element(sent, resource, place)
    answer_part = _element(came, resource, place)
    base = xt().services.settings.xero_api_url
    return Payload(
        url=f"{attempt.verb} {base}/api.xro/2.0/{_address(attempt)}",
        headers=(
            ("Authorization", say("logs.hidden")),
            ("Xero-Tenant-Id", organisation.tenant_id if organisation else "–"),
            ("Idempotency-Key", attempt.idempotency_key),
            ("Content-Type", attempt.content_type or journal.JSON),
        ),
        part=_pretty(part),
        whole="" if file else _text(sent),
        instead=_instead(attempt, sent),
        answer_headers=tuple(sorted((attempt.answer_headers or {}).items())),
        answer_part=_pretty(answer_part),
        answer=_text(came),
        answer_instead=_answer_instead(attempt),
        told=_told(element.meant if element else None, answer_part),
    )


def _address(attempt: Attempt) -> str:
    """Where a call went, without its switches: no address may stop the page from showing it."""
    try:
        return of_call(journal.call_of(attempt, 1)).partition("?")[0]
    except PermanentError:
        return attempt.resource


def _instead(attempt: Attempt, sent: bytes) -> str:
    """What the page says of a body that it doesn't print."""
    if attempt.body is None:
        return say("logs.forgotten", hash=attempt.body_hash[:16])
    if attempt.resource == Resource.ATTACHMENTS:
        kind = attempt.content_type or journal.JSON
        return say("logs.file", kind=kind, size=formats.size(len(sent)))
    return say("logs.no_body")


def _answer_instead(attempt: Attempt) -> str:
    """Why there is no answer to print."""
    if attempt.outcome == "refused":
        return say("logs.refused")
    # Retention takes both; what it finds closed without a status had no answer.
    if attempt.body is None and attempt.status is not None:
        return say("logs.forgotten.answer")
    return say("logs.no_answer")


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
        numbers.append(written_out(number))
        return f"\u0000{len(numbers) - 1}\u0000"

    text = json.dumps(value, indent=2, ensure_ascii=False, default=mark)
    for place, number in enumerate(numbers):
        text = text.replace(f'"\\u0000{place}\\u0000"', number)
    return text

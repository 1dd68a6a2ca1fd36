"""Unclear items: both sides beside each other, and what a person says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import abort, request, url_for
from sqlalchemy.orm import Session

from xtiger.domain.queueing import State
from xtiger.engine import checking
from xtiger.store.models import LogEntry, Organisation, QueueItem
from xtiger.web.access import needs
from xtiger.web.actions import done, fault, go, name, spoken
from xtiger.web.frame import load, page, xt
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something in Xero that comes near; `xero_id` None where the text is about several."""

    text: str
    xero_id: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class Sides:
    """What was sent, and what Xero has that comes near; `looked_at` None: nobody has looked."""

    case: checking.Case | None
    facts: list[tuple[str, str]]
    #: The entry whose page has the call's body, for those who may read it.
    entry_id: int | None
    candidates: list[Candidate]
    looked_at: datetime | None


def sides(session: Session, item: QueueItem, entries: Sequence[LogEntry]) -> Sides:
    """Both sides of an unclear item; its log entries are given, oldest first."""
    case = checking.case_of(session, item)
    organisation = session.get_one(Organisation, item.organisation_id)
    # The newest entry that tells what was sent also tells what Xero had then.
    told = next(
        (
            entry
            for entry in reversed(entries)
            if any(text.startswith(checking.SENT) for text in entry.quoted or ())
        ),
        None,
    )
    found = []
    for text in (told.quoted or ()) if told else ():
        if case is None or not text.startswith(checking.IN_XERO):
            continue
        xero_id = checking.xero_id_in(text)
        links = xt().services.links
        url = links.xero(organisation, case.resource, xero_id) if xero_id else None
        found.append(Candidate(text.removeprefix(checking.IN_XERO), xero_id, url))
    return Sides(
        case,
        case.facts() if case else [],
        next((entry.id for entry in reversed(entries) if entry.attempt_id), None),
        found,
        told.at if told else None,
    )


@routes.post("/queue/<int:position>/look")
@needs("queue.act")
def queue_look(position: int) -> Any:
    """Asks Xero what comes near an unclear item."""
    _item(position)
    with spoken():
        found = checking.look(xt().services, position, name())
        done(say("check.looked" if found else "check.looked.none", count=found))
    return go("queue_item", position=position)


@routes.get("/queue/<int:position>/say")
@needs("queue.act")
def queue_say_ask(position: int) -> Any:
    """Asks once more before what a person says is believed."""
    item = _item(position)
    said = request.args.get("said", "")
    if said not in ("there", "not-there"):
        abort(404)
    given = request.args.get("xero_id", "").strip() or request.args.get("candidate", "")
    xero_id = checking.xero_id_in(given)
    if item.state != State.CHECK:
        fault(say("check.gone", position=position))
        return go("queue_item", position=position)
    if said == "there" and xero_id is None:
        fault(say("check.choose"))
        return go("queue_item", position=position)
    with xt().services.database.read() as session:
        frame = load(session)
        case = checking.case_of(session, item)
    organisation = frame.organisation(item.organisation_id)
    link = None
    if case and xero_id and organisation:
        link = xt().services.links.xero(organisation, case.resource, xero_id)
    return page(
        "xtiger/queue_say.html",
        item=item,
        said=said,
        xero_id=xero_id,
        facts=case.facts() if case else [],
        link=link,
        question=say(f"check.confirm.{said}", label=item.label or item.record_id),
        crumbs=[
            ("Queue", url_for("xtiger.queue")),
            (f"#{position}", url_for("xtiger.queue_item", position=position)),
        ],
    )


@routes.post("/queue/<int:position>/say")
@needs("queue.act")
def queue_say(position: int) -> Any:
    """Believes what a person says: it is there, or it isn't."""
    item = _item(position)
    label = item.label or item.record_id
    with spoken():
        if request.form.get("said") == "there":
            state = checking.there(xt().services, position, request.form.get("xero_id", ""), name())
            done(say(f"check.there.{state.value}", label=label))
        elif request.form.get("said") == "not-there":
            checking.not_there(xt().services, position, name())
            done(say("check.not_there", label=label, position=position))
    return go("queue_item", position=position)


def _item(position: int) -> QueueItem:
    with xt().services.database.read() as session:
        item = session.get(QueueItem, position)
    if item is None:
        abort(404)
    return item

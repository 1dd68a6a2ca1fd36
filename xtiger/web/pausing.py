"""Pause and resume: of everything, an organisation, or one of its modules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import abort, request
from sqlalchemy.orm import Session

from xtiger.domain.records import Module
from xtiger.engine import pausing
from xtiger.store import profiles
from xtiger.store.models import Organisation
from xtiger.web.access import needs
from xtiger.web.actions import back, done, module_of, name, spoken
from xtiger.web.frame import Frame, xt
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()


@dataclass(frozen=True, slots=True)
class Pausable:
    """Something that may be paused; `organisation_id` None is everything."""

    what: str
    organisation_id: int | None = None
    module: str | None = None


@dataclass(frozen=True, slots=True)
class Paused:
    """Something that a person has paused; `organisation_id` None is everything."""

    what: str
    at: datetime
    by: str
    organisation_id: int | None = None
    module: str | None = None


def pauses(session: Session, frame: Frame) -> list[Paused]:
    """What is paused of what the page shows: everything, organisations, modules."""
    found: list[Paused] = []
    if everything := profiles.pause_of_all(session):
        found.append(Paused(say("pause.all"), everything.at, everything.by))
    for row in [frame.chosen] if frame.chosen else frame.organisations:
        if row.paused_at:
            found.append(Paused(row.name, row.paused_at, row.paused_by or "–", row.id))
        for module, pause in profiles.paused_modules(session, row.id).items():
            what = say("pause.module", module=module.value, organisation=row.name)
            found.append(Paused(what, pause.at, pause.by, row.id, module.value))
    return found


def pausables(session: Session, frame: Frame) -> list[Pausable]:
    """What a person may pause on the page: a module where one is filtered, else organisations."""
    shown = [frame.chosen] if frame.chosen else frame.organisations
    found: list[Pausable] = []
    chosen = next((one for one in Module if one.value == request.args.get("module")), None)
    for row in shown:
        if chosen is not None and chosen not in profiles.paused_modules(session, row.id):
            what = say("pause.module", module=chosen.value, organisation=row.name)
            found.append(Pausable(what, row.id, chosen.value))
    found += [Pausable(row.name, row.id) for row in shown if row.paused_at is None]
    if shown and profiles.pause_of_all(session) is None:
        found.append(Pausable(say("pause.all")))
    return found


@routes.post("/queue/pause")
@routes.post("/queue/pause/<int:organisation_id>")
@routes.post("/queue/pause/<int:organisation_id>/<module>")
@needs("queue.act")
def queue_pause(organisation_id: int | None = None, module: str | None = None) -> Any:
    """Holds everything, an organisation or one of its modules after the calls under way."""
    what, chosen = _named_pause(organisation_id, module)
    with spoken():
        pausing.pause(xt().services, organisation_id=organisation_id, module=chosen, who=name())
        done(say("queue.paused", what=what))
    return back("queue")


@routes.post("/queue/resume")
@routes.post("/queue/resume/<int:organisation_id>")
@routes.post("/queue/resume/<int:organisation_id>/<module>")
@needs("queue.act")
def queue_resume(organisation_id: int | None = None, module: str | None = None) -> Any:
    """Lets it go on, in order."""
    what, chosen = _named_pause(organisation_id, module)
    with spoken():
        pausing.resume(xt().services, organisation_id=organisation_id, module=chosen, who=name())
        done(say("queue.resumed", what=what))
    return back("queue")


def _named_pause(organisation_id: int | None, module: str | None) -> tuple[str, Module | None]:
    """What is paused or resumed, as sentences call it; 404 where there is no such thing."""
    if organisation_id is None:
        return say("pause.all"), None
    with xt().services.database.read() as session:
        row = session.get(Organisation, organisation_id)
    if row is None:
        abort(404)
    if module is None:
        return row.name, None
    chosen = module_of(module)
    return say("pause.module", module=chosen.value, organisation=row.name), chosen

"""First meeting: a person says which contact or item in Xero a record is, or that it is new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request
from sqlalchemy.orm import Session

from xtiger.domain.meeting import Side
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import Resource
from xtiger.engine import meeting
from xtiger.store import seen
from xtiger.store.models import Organisation, QueueItem
from xtiger.web.access import needs
from xtiger.web.actions import done, fault, go, name, spoken
from xtiger.web.frame import xt
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()


@dataclass(frozen=True, slots=True)
class Alike:
    """The record's own values beside those of the objects it may be."""

    ours: list[tuple[str, str]]
    theirs: list[tuple[Side, str | None]]


def alike(session: Session, item: QueueItem) -> Alike | None:
    """What a person compares of an item that waits for their word; None for all others."""
    if item.cause != meeting.UNCERTAIN or item.state != "failed":
        return None
    ref = RecordRef(Module(item.module), item.record_id)
    organisation = session.get_one(Organisation, item.organisation_id)
    resource, links = Resource(item.resource), xt().services.links
    record = xt().services.crm.fetch_many([ref]).get(ref)
    info = xt().services.crm.modules()[ref.module]
    fields = record.fields if record else {}
    ours = [
        (field.label, str(fields[field.name]))
        for field in info.fields
        if fields.get(field.name) not in (None, "") and not isinstance(fields[field.name], bool)
    ]
    found = seen.asked(session, item.organisation_id, ref)
    return Alike(ours, [(one, links.xero(organisation, resource, one.xero_id)) for one in found])


@routes.post("/queue/<int:position>/met")
@needs("queue.act")
def queue_met(position: int) -> Any:
    """Links a record with what Xero has, or says that it is none of it; it goes on in its place."""
    with spoken():
        if request.form.get("said") == "new":
            meeting.create_new(xt().services, position, who=name())
            done(say("met.new", position=position))
        elif chosen := request.form.get("xero_id", ""):
            label = meeting.link(xt().services, position, chosen, who=name())
            done(say("met.linked", label=label, position=position))
        else:
            fault(say("met.choose"))
    return go("queue_item", position=position)

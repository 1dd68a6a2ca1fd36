"""Xero Accounts, Replace with…: one account, tax rate or option for another wherever it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flask import abort, current_app, request, url_for

from xtiger.crm.rebooking import BOOKED, booked, rebook
from xtiger.domain.errors import XTigerError
from xtiger.domain.records import SOLD, Module
from xtiger.domain.resources import CATALOGUE, RESOURCE_OF
from xtiger.engine.connection import reference
from xtiger.engine.mapping import replacing, uses
from xtiger.engine.mapping.replacing import KINDS, Moved, Old, Sharer, Unfit, Users
from xtiger.store import profiles
from xtiger.web import formats
from xtiger.web.access import can, needs
from xtiger.web.actions import done, fault, go, name, spoken
from xtiger.web.frame import load, now, page, xt
from xtiger.web.mapping_page import place_values, why
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()
#: What stands before a mapping's name in the form, with the version that the person saw.
_SEEN = "seen:"


@routes.get("/xero-accounts/<int:organisation_id>/replace")
@needs("setup")
def xero_accounts_replace(organisation_id: int) -> Any:
    """Asks: `?kind=`, `?code=`; who uses it, and what could stand instead."""
    old = _old(organisation_id, request.args)
    return _ask(old, replacing.users(xt().services, old))


@routes.post("/xero-accounts/<int:organisation_id>/replace")
@needs("setup")
def xero_accounts_replaced(organisation_id: int) -> Any:
    """Does it: mappings one by one, then products and services; offers to retry what failed.

    Products and services that go to other organisations too are changed only if the account can
    be used there and is called the same, or once somebody has read where it isn't (`also`).
    """
    old = _old(organisation_id, request.form)
    services = xt().services
    found = replacing.users(services, old)
    new = request.form.get("new", "")
    with services.database.read() as session:
        known = reference.facts(session, organisation_id)
    legal = replacing.choices(old, known.facts, found.spots) if known else []
    if new not in {one.value for one in legal}:
        return _ask(old, found, status=422, faults=[say("replace.choose")])
    if request.form.get("also") != new and (doubts := list(_doubts(old, new, found))):
        doubts.append(say("replace.also"))
        return _ask(old, found, status=422, faults=doubts, chosen=new, also=new)
    seen = {
        field.removeprefix(_SEEN): int(value)
        for field, value in request.form.items()
        if field.startswith(_SEEN) and value.isascii() and value.isdigit() and len(value) < 10
    }
    try:
        saved = replacing.replace(services, old, new, seen=seen, who=name())
    except Moved as moved:
        said = [_saved(old, new, moved.saved)] if moved.saved else []
        who = moved.who or say("replace.somebody")
        said.append(say("replace.moved", who=who, mapping=moved.name))
        again = replacing.users(services, old)
        return _ask(old, again, status=409, faults=said, chosen=new)
    except Unfit as unfit:
        sentences = [*unfit.sentences, *(one for ran in unfit.failed for one in why(ran))]
        said = [_saved(old, new, unfit.saved)] if unfit.saved else []
        word = "replace.unfit.rest" if unfit.saved else "replace.unfit"
        said += [say(word, mapping=unfit.name, why=one) for one in sentences]
        again = replacing.users(services, old)
        return _ask(old, again, status=422, faults=said, chosen=new)
    changed: Counter[Module] = Counter()
    with spoken():
        try:
            for module, number in _rebook(old, new, found):
                changed[module] += number
            if not saved and not changed:
                fault(say("replace.nothing"))
        finally:
            # Whatever stopped it: what is done is done.
            if saved or changed:
                done(_saved(old, new, saved, _counted(changed)))
            if changed:
                _take_stock()
    _offer_retry(old)
    return go("xero_accounts", org=organisation_id, tab=old.kind)


def _old(organisation_id: int, given: Mapping[str, str]) -> Old:
    old = Old(organisation_id, given.get("kind", ""), given.get("code", "")[:200])
    if old.kind not in KINDS or not old.value:
        abort(404)
    with xt().services.database.read() as session:
        if organisation_id not in {one.id for one in profiles.organisations(session)}:
            abort(404)
    return old


def _ask(
    old: Old,
    found: Users,
    *,
    status: int = 200,
    faults: Sequence[str] = (),
    chosen: str = "",
    also: str = "",
) -> Any:
    """The page that asks, with what keeps it from being done above."""
    ours = _ours(old, found)
    booked = _booked(old, ours)
    sharers = replacing.sharers(xt().services, old, ours) if any(booked.values()) else []
    with xt().services.database.read() as session:
        frame = load(session)
        organisation = frame.organisation(old.organisation_id) or abort(404)
        known = reference.facts(session, old.organisation_id)
    choices = replacing.choices(old, known.facts, found.spots) if known else []
    return page(
        "xtiger/xero_replace.html",
        status=status,
        organisation=organisation,
        old=old,
        noun=_noun(old),
        faults=faults,
        chosen=chosen,
        spots=found.spots,
        seen=_SEEN,
        place_values=place_values,
        ours=_counted(booked),
        others=_listed([one.organisation for one in sharers]),
        calls=_calls(booked, [organisation.name, *(one.organisation for one in sharers)]),
        # Where the fields are ours, they are counted as they are now instead.
        rest="" if ours else _records(found),
        small=xt().small_crm,
        failed=formats.counted(found.use.failed, "record") if found.use.failed else "",
        also=also,
        choices=choices,
        apart=any(one.alike for one in choices) and not all(one.alike for one in choices),
        crumbs=[("Xero Accounts", url_for("xtiger.xero_accounts", org=old.organisation_id))],
    )


def _noun(old: Old) -> str:
    return "option" if old.kind == "tracking" else uses.WORDS[old.kind]


def _records(found: Users) -> str:
    """12 products and 1 service; empty where nobody's own field names it."""
    parts = ((found.use.products, "product"), (found.use.services, "service"))
    return _listed([formats.counted(number, noun) for number, noun in parts if number])


def _ours(old: Old, found: Users) -> dict[Module, tuple[str, ...]]:
    """The fields of the small CRM that can be set from here, by module; none in another CRM."""
    if not xt().small_crm or old.kind != "accounts":
        return {}
    ours = {
        module: tuple(one for one in fields if one in BOOKED)
        for module, fields in found.fields.items()
    }
    return {module: fields for module, fields in ours.items() if fields}


def _session() -> Any:
    """The CRM's own session, whose changes the outbox captures."""
    return current_app.extensions["sqlalchemy"].session


def _booked(old: Old, ours: Mapping[Module, Sequence[str]]) -> dict[Module, int]:
    """How many of the small CRM's records name it in these fields now, by module."""
    return {module: booked(_session(), module, names, old.code) for module, names in ours.items()}


def _rebook(old: Old, new: str, found: Users) -> Iterator[tuple[Module, int]]:
    """Puts the small CRM's products and services on the new account; yields how many, as it goes.

    Raises XTigerError where it can't go on.
    """
    for module, fields in _ours(old, found).items():
        done_now = rebook(_session(), module, fields, old.code, new, who=name(), now=now())
        yield from ((module, number) for number in done_now)


def _take_stock() -> None:
    """Counts anew who uses what: every organisation in use may share the records."""
    services = xt().services
    try:
        with services.database.read() as session:
            chosen = [one.id for one in profiles.organisations(session)]
        for one in chosen:
            uses.take_stock(services, one)
    except XTigerError:
        fault(say("replace.uncounted"))


def _doubts(old: Old, new: str, found: Users) -> Iterator[str]:
    """What speaks against the new account in other organisations that share its records."""
    ours = _ours(old, found)
    records = _counted(_booked(old, ours))
    sharers: Sequence[Sharer] = replacing.sharers(xt().services, old, ours, new) if records else ()
    for one in sharers:
        known = {"records": records, "organisation": one.organisation, "new": new}
        if one.wrong:
            yield say("replace.also.wrong", why=one.wrong, **known)
        elif one.name:
            yield say("replace.also.named", name=one.name, **known)


def _calls(counts: Mapping[Module, int], organisations: Sequence[str]) -> str:
    """1 call for Kauri Trading and 1 call for Thames Supplies: all of them sent in full batches."""
    most = {RESOURCE_OF[module]: CATALOGUE[RESOURCE_OF[module]].batch_size for module in SOLD}
    sent = Counter[Any]()
    for module, number in counts.items():
        sent[RESOURCE_OF[module]] += number
    calls = sum(-(-number // most[resource]) for resource, number in sent.items())
    return _listed([f"{formats.counted(calls, 'call')} for {one}" for one in organisations])


def _counted(counts: Mapping[Module, int]) -> str:
    """12 products and 1 service; empty for none."""
    some = [(number, module.singular.lower()) for module, number in counts.items() if number]
    return _listed([formats.counted(number, noun) for number, noun in some])


def _listed(parts: Sequence[str]) -> str:
    """Invoice, Bill and Products."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def _saved(old: Old, new: str, saved: Sequence[tuple[str, int]], records: str = "") -> str:
    mappings = _listed([f"{mapping} (v{version})" for mapping, version in saved])
    where = [say("replace.where.mappings", mappings=mappings)] if saved else []
    where += [say("replace.where.records", records=records)] if records else []
    noun = _noun(old).capitalize()
    return say("replace.done", noun=noun, old=old.value, new=new, where=" and".join(where))


def _offer_retry(old: Old) -> None:
    """A way to what failed for it, if somebody may retry and it still fails."""
    found = replacing.failing(xt().services, old)
    for cause, number in found.items() if can("queue.act") else ():
        count = formats.counted(number, "record")
        done(
            say("replace.failed", count=count, verb="fails" if number == 1 else "fail"),
            label=say("replace.retry", count=f"{number:,}"),
            url=url_for("xtiger.queue_confirm", cause=cause, org=old.organisation_id),
        )

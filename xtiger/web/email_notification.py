"""Email notification: who gets which mail, one row a subscription, each with its own form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import abort, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain.alerting import Limits
from xtiger.domain.errors import XTigerError
from xtiger.domain.phrases import LANGUAGES
from xtiger.domain.records import Module
from xtiger.engine.alerting import alerts
from xtiger.engine.reporting import letters, subscriptions
from xtiger.ports import AddressRefused
from xtiger.store.models import Mail, Organisation, Subscription
from xtiger.web.access import can, needs, who
from xtiger.web.actions import done, fault, go, name, spoken
from xtiger.web.email_notification_form import (
    KINDS,
    AlertsForm,
    SubscriptionForm,
    data_of,
    differences,
    fit,
    kinds_of,
    seen_of,
    wanted,
    zones,
)
from xtiger.web.formats import zone_name
from xtiger.web.frame import clock_time, load, page, xt, zone
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()


@dataclass(frozen=True, slots=True)
class Row:
    """One subscription as the list shows it."""

    row: Subscription
    organisation: str
    kinds: Sequence[str]
    modules: str
    language: str
    last_sent: datetime | None
    own: bool


@routes.get("/email-notification")
@needs("reports")
def email_notification() -> Any:
    """The list: all of it for administrators, their own rows for managers."""
    return _list(None)


def _list(limits: AlertsForm | None, *, status: int = 200) -> Any:
    found = _rows()
    with xt().services.database.read() as session:
        frame = load(session)
        last = {row.id: _last_sent(session, row.id) for row in found}
        now = alerts.limits(session)
    if limits is None and can("setup"):
        shown = {"hours": now.hours, "failures": now.failures}
        limits = AlertsForm(formdata=None, data=shown)
    own = who().email
    rows = [
        Row(
            row,
            _organisation(frame.names, row),
            kinds_of(row),
            ", ".join(row.modules) if row.modules else say("mail.every_module"),
            LANGUAGES.get(row.language, row.language),
            last[row.id],
            row.mailbox == own.lower(),
        )
        for row in found
    ]
    return page(
        "xtiger/email_notification.html",
        status=status,
        rows=rows,
        limits=limits if can("setup") else None,
        own=own,
        subscribed=any(one.own for one in rows),
        no_server=not letters.has_server(xt().services),
    )


def _rows() -> list[Subscription]:
    if can("setup"):
        return subscriptions.subscriptions(xt().services)
    own = who().email
    return subscriptions.subscriptions(xt().services, address=own) if own else []


def _organisation(names: Mapping[int, str], row: Subscription) -> str:
    if row.organisation_id is None:
        return say("mail.all")
    return names.get(row.organisation_id, "–")


def _last_sent(session: Session, subscription_id: int) -> datetime | None:
    """When its newest mail that was taken went out; the index gives them by subscription."""
    return session.scalar(
        select(Mail.sent_at)
        .where(Mail.subscription_id == subscription_id, Mail.state == "sent")
        .order_by(Mail.id.desc())
        .limit(1)
    )


@routes.get("/email-notification/new")
@needs("reports")
def email_new() -> Any:
    """An empty form, with what most people want ticked: alerts for administrators."""
    own = who().email
    modules = _modules()
    with xt().services.database.read() as session:
        frame = load(session)
    organisation = frame.chosen.id if frame.chosen else None
    kept = zone_name(zone())
    given = {
        "address": own,
        "organisation": "" if organisation is None else str(organisation),
        "daily": True,
        "alerts": can("setup"),
        "hour": "7",
        "zone": kept if kept != "UTC" else subscriptions.zone_for(xt().services, organisation),
        "language": "en",
        "modules": [one.value for one in modules],
    }
    form = fit(SubscriptionForm(formdata=None, data=given), frame.organisations, modules)
    return _form_page(form, None)


@routes.post("/email-notification/new")
@needs("reports")
def email_add() -> Any:
    """Adds a row; managers add their own address."""
    form = _fitted(SubscriptionForm())
    if not can("setup") and not _own_address(form):
        return _form_page(form, None, status=422)
    if not form.validate():
        return _form_page(form, None, status=422)
    choices = wanted(form, _modules(), person=_person(form.address.data))
    if not any(getattr(choices, kind) for kind in KINDS):
        return _form_page(form, None, status=422, refused=say("mail.kinds.none"))
    try:
        subscriptions.subscribe(xt().services, form.address.data, choices, who=name())
    except XTigerError as error:
        return _form_page(form, None, status=422, refused=error.sentence)
    done(say("mail.added", address=form.address.data, kinds=", ".join(kinds_of(choices))))
    return go("email_notification")


def _own_address(form: SubscriptionForm) -> bool:
    """Whether the form names the address of who sends it; says so at the field if not."""
    own = who().email
    if (form.address.data or "").strip().lower() == own.lower() != "":
        return True
    sentence = say("mail.address.own", address=own) if own else say("mail.no_address")
    form.validate()
    form.address.errors = [sentence]
    return False


def _person(address: str) -> str | None:
    """The account's name where somebody subscribes themselves."""
    return name() if address.lower() == who().email.lower() else None


@routes.get("/email-notification/<int:subscription_id>")
@needs("reports")
def email_edit(subscription_id: int) -> Any:
    """One row's form."""
    row = _row(subscription_id) or abort(404)
    form = _fitted(SubscriptionForm(formdata=None, data=data_of(row, _modules())), row)
    return _form_page(form, row)


@routes.post("/email-notification/<int:subscription_id>")
@needs("reports")
def email_save(subscription_id: int) -> Any:
    """Saves a row; somebody else's changes since are shown, not overwritten."""
    row = _row(subscription_id)
    if row is None:
        fault(say("mail.gone"))
        return go("email_notification")
    form = _fitted(SubscriptionForm(), row)
    form.address.data = row.address  # an address is what the row is about: another is another row
    if not form.validate():
        return _form_page(form, row, status=422)
    if form.seen.data != seen_of(row):
        return _stale(form, row)
    modules = _modules()
    choices = wanted(form, modules, person=row.person)
    if row.stopped_at is None and not any(differences(form, row, modules)):
        done(say("mail.saved.same", address=row.address))
        return go("email_notification")
    try:
        saved = subscriptions.change(
            xt().services,
            subscription_id,
            choices,
            who=name(),
            unless=lambda now: seen_of(now) != form.seen.data,
        )
    except XTigerError as error:
        return _form_page(form, row, status=422, refused=error.sentence)
    if not saved:
        again = _row(subscription_id) or abort(404)
        return _stale(form, again)
    key = "mail.saved" if row.stopped_at is None else "mail.again"
    done(say(key, address=row.address, kinds=", ".join(kinds_of(choices))))
    return go("email_notification")


def _stale(form: SubscriptionForm, row: Subscription) -> Any:
    """409 with both: what somebody saved meanwhile, and the entries as they were sent."""
    changed = list(differences(form, row, _modules()))
    form.seen.data = seen_of(row)
    form.seen.raw_data = None
    words = say("mail.changed", who=row.changed_by or "–", time=clock_time(row.changed_at))
    return _form_page(form, row, status=409, stale=words, changed=changed)


@routes.post("/email-notification/<int:subscription_id>/remove")
@needs("reports")
def email_remove(subscription_id: int) -> Any:
    """Takes a row out; twice is harmless."""
    row = _row(subscription_id)
    if row is not None:
        with spoken():
            subscriptions.remove(xt().services, subscription_id, who=name())
            done(say("mail.removed", address=row.address))
    return go("email_notification")


@routes.post("/email-notification/<int:subscription_id>/test")
@needs("reports")
def email_test(subscription_id: int) -> Any:
    """Sends the test mail to a row's address: so a refused one is tried again, too."""
    row = _row(subscription_id) or abort(404)
    if row.stopped_at is not None:
        fault(say("mail.stopped.kept", recipient=row.address))
        return go("email_notification")
    try:
        done(letters.send_test(xt().services, row.address, zone=zone()))
    except XTigerError as error:
        # Of an address that isn't there the settings know nothing.
        if can("setup") and not isinstance(error, AddressRefused):
            sentence = f"{error.sentence} {say('mail.check_settings')}"
            fault(sentence, label="Settings", url=url_for("xtiger.settings"))
        else:
            fault(error.sentence)
    return go("email_notification")


@routes.post("/email-notification/alerts")
@needs("setup")
def email_alerts() -> Any:
    """Stores when alerts are sent."""
    form = AlertsForm()
    if not form.validate():
        return _list(form, status=422)
    with spoken():
        wanted = Limits(form.hours.data or 0, form.failures.data or 0)
        changed = alerts.set_limits(xt().services, wanted, who=name())
        done(
            say("mail.alerts.saved", changes=", ".join(changed))
            if changed
            else say("mail.alerts.same")
        )
    return go("email_notification")


def welcome_administrator() -> None:
    """Alerts are on for administrators from the first time they are seen here.

    A page must come whether or not that can be stored now: the next one tries again.
    """
    if can("setup") and who().email:
        kept = zone_name(zone())
        with suppress(XTigerError):
            alerts.welcome(
                xt().services,
                who().email,
                person=name(),
                zone=kept if kept != "UTC" else None,
            )


def _row(subscription_id: int) -> Subscription | None:
    """A row that this person may change: their own, or any for administrators."""
    with xt().services.database.read() as session:
        row = session.get(Subscription, subscription_id)
    if row is not None and not can("setup") and row.mailbox != who().email.lower():
        abort(404)
    return row


def _modules() -> list[Module]:
    return list(xt().services.crm.modules())


def _fitted(form: SubscriptionForm, row: Subscription | None = None) -> SubscriptionForm:
    with xt().services.database.read() as session:
        organisations: list[Organisation] = list(load(session).organisations)
        if row is not None and row.organisation_id not in {
            None,
            *(one.id for one in organisations),
        }:
            # It isn't connected any more, but the row is still about it.
            organisations.append(session.get_one(Organisation, row.organisation_id))
    return fit(form, organisations, _modules())


def _form_page(
    form: SubscriptionForm,
    row: Subscription | None,
    *,
    status: int = 200,
    refused: str | None = None,
    stale: str | None = None,
    changed: Sequence[str] = (),
) -> Any:
    return page(
        "xtiger/email_notification_row.html",
        status=status,
        form=form,
        row=row,
        refused=refused,
        stale=stale,
        changed=changed,
        zones=zones(),
        crumbs=[("Email notification", url_for("xtiger.email_notification"))],
    )

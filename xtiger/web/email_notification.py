"""Email notification: who gets the mail after each sync, and how the last ones fared."""

from __future__ import annotations

from typing import Any

from flask import request
from sqlalchemy import select

from xtiger.engine import reports
from xtiger.store.models import Mail
from xtiger.web import formats
from xtiger.web.access import can, needs, who
from xtiger.web.actions import done, fault, go, name, spoken
from xtiger.web.forms import RecipientsForm
from xtiger.web.frame import load, page, xt
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()


@routes.get("/email-notification")
@needs("reports")
def email_notification() -> Any:
    """The list for administrators, their own address for managers."""
    addresses = reports.recipients(xt().services)
    form = RecipientsForm(formdata=None, data={"addresses": "\n".join(addresses)})
    return _page(form, addresses)


def _page(form: RecipientsForm, addresses: list[str], *, status: int = 200) -> Any:
    with xt().services.database.read() as session:
        load(session)
        mails = session.scalars(select(Mail).order_by(Mail.id.desc()).limit(20)).all()
    own = who().email
    return page(
        "xtiger/email_notification.html",
        status=status,
        form=form,
        addresses=addresses,
        own=own,
        subscribed=own.lower() in {address.lower() for address in addresses},
        mails=[mail for mail in mails if can("setup") or mail.recipient == own],
    )


@routes.post("/email-notification")
@needs("setup")
def email_save() -> Any:
    """Stores the whole list."""
    form = RecipientsForm()
    wanted = [line.strip() for line in (form.addresses.data or "").splitlines() if line.strip()]
    with spoken():
        reports.set_recipients(xt().services, wanted, who=name())
        if wanted:
            verb = "gets" if len(wanted) == 1 else "get"
            text = f"{formats.counted(len(wanted), 'address', 'addresses')} {verb}"
            done(say("mail.saved", count=text))
        else:
            done(say("mail.saved.none"))
        return go("email_notification")
    return _page(form, reports.recipients(xt().services), status=422)


@routes.post("/email-notification/own")
@needs("reports")
def email_own() -> Any:
    """A person's own subscription."""
    address = who().email
    others = [one for one in reports.recipients(xt().services) if one.lower() != address.lower()]
    on = request.form.get("on") == "1"
    with spoken():
        reports.set_recipients(xt().services, [*others, address] if on else others, who=name())
        done(say("mail.own.on", address=address) if on else say("mail.own.off"))
    return go("email_notification")


@routes.post("/email-notification/test")
@needs("setup")
def email_test() -> Any:
    """Sends the test mail to the given address, or to all that are saved."""
    given = request.form.get("address", "").strip()
    addresses = [given] if given else reports.recipients(xt().services)
    if not addresses:
        fault(say("mail.test.first"))
    for address in addresses[:20]:
        with spoken():
            done(reports.send_test(xt().services, address))
    return go("email_notification")

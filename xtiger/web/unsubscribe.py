"""Unsubscribe: ends a subscription by the signed link in its mails, without sign-in.

The link is the proof: only XTiger can make one, and it stands in the reader's own mails. Looking
at the page changes nothing, for programs look at every link of a mail. Mail programs post to the
same address by themselves (RFC 8058); neither they nor the page have a session, hence no token of
one.
"""

from __future__ import annotations

from typing import Any

from xtiger.engine.reporting import subscriptions
from xtiger.engine.reporting.subscriptions import choices_of
from xtiger.store.models import Organisation, Subscription
from xtiger.web.email_notification_form import kinds_of
from xtiger.web.frame import plain_page, xt
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()


@routes.get("/unsubscribe/<token>")
def unsubscribe(token: str) -> Any:
    """Only a button."""
    row = subscriptions.by_token(xt().services, token)
    if row is None:
        return _wrong()
    if row.stopped_at is not None:
        return _stopped(row, token)
    return _page(
        "Stop these mails",
        say("unsubscribe.ask", address=row.address),
        what=say("unsubscribe.what", what=_what(row), kinds=", ".join(kinds_of(row))),
        act="stop",
        token=token,
    )


@routes.post("/unsubscribe/<token>")
def unsubscribe_stop(token: str) -> Any:
    """Ends it, for the button as for the one click of a mail program; twice is harmless."""
    row = subscriptions.stop(xt().services, token)
    return _wrong() if row is None else _stopped(row, token)


@routes.post("/unsubscribe/<token>/again")
def unsubscribe_again(token: str) -> Any:
    """Takes back what the link ended."""
    services = xt().services
    row = subscriptions.by_token(services, token)
    if row is None:
        return _wrong()
    if row.stopped_at is not None:
        subscriptions.change(services, row.id, choices_of(row), who=row.address)
    sentence = say("unsubscribe.again", address=row.address, what=_what(row))
    return _page("Subscribed again", sentence)


def _stopped(row: Subscription, token: str) -> Any:
    sentence = say("unsubscribe.done", address=row.address, what=_what(row))
    return _page("Mails stopped", sentence, act="again", token=token)


def _wrong() -> Any:
    return _page("Nothing was changed", say("unsubscribe.wrong"), status=404)


def _what(row: Subscription) -> str:
    """What the mails are about."""
    if row.organisation_id is None:
        return say("unsubscribe.all")
    with xt().services.database.read() as session:
        organisation = session.get(Organisation, row.organisation_id)
    return organisation.name if organisation else "–"


def _page(title: str, sentence: str, *, status: int = 200, **values: Any) -> Any:
    answer = plain_page(
        "xtiger/unsubscribe.html",
        status=status,
        title=title,
        sentence=sentence,
        **({"act": None, "token": "", "what": None} | values),
    )
    # The address of this page is the key to the subscription: it goes nowhere else.
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["X-Robots-Tag"] = "noindex"
    return answer

"""Settings: how mails are handed over, tried on the spot; the environment's values are locked."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from flask import current_app, request

from xtiger.domain.errors import PermanentError, XTigerError
from xtiger.engine.reporting import letters
from xtiger.ports import MailServer
from xtiger.store.models import Setting
from xtiger.web.access import needs
from xtiger.web.actions import done, go, name
from xtiger.web.frame import clock_time, load, now, page, xt
from xtiger.web.routes import Routes
from xtiger.web.settings_form import MailServerForm, changes, data_of
from xtiger.web.words import say

routes = Routes()
#: Seconds after which whoever tries the connection reads what happened so far.
PATIENCE = 18.0


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a try."""

    good: bool
    sentence: str


@routes.get("/settings")
@needs("setup")
def settings() -> Any:
    """The whole page."""
    stored, seen = _stored()
    shown = stored or MailServer("", 587, "starttls", sender=xt().services.settings.mail_sender)
    form = MailServerForm(formdata=None, data=data_of(shown) | {"seen": seen})
    return _page(form, stored)


@routes.post("/settings")
@needs("setup")
def settings_save() -> Any:
    """Saves the mail server, or with `do` only tries what was entered."""
    stored, seen = _stored()
    test = request.form.get("do") == "test"
    if _locked():
        return _page(MailServerForm(formdata=None), None, tried=_try(None) if test else None)
    form = MailServerForm()
    if not form.fits(stored):
        return _page(form, stored, status=422)
    wanted = form.server(stored)
    if test:
        return _page(form, stored, tried=_try(wanted), unsaved=wanted != stored)
    if form.seen.data != seen:
        return _stale(form)
    changed = list(changes(stored, wanted))
    if changed and not letters.set_mail_server(
        xt().services, wanted, who=name(), unless=lambda row: _seen(row) != seen
    ):
        return _stale(form)
    done(say("settings.saved", changes=", ".join(changed)) if changed else say("settings.same"))
    return go("settings")


def _stored() -> tuple[MailServer | None, str]:
    """What the page stored, and what tells it from what anybody stores later.

    What no key opens is as good as not there: the form is empty then and can be saved anew.
    """
    if _locked():
        return None, ""
    with xt().services.database.read() as session:
        seen = _seen(session.get(Setting, letters.MAIL_SERVER))
    try:
        return letters.mail_server(xt().services), seen
    except PermanentError:
        return None, seen


def _seen(row: Setting | None) -> str:
    """When it was stored; never anything made of what is stored, for a password is in it."""
    return row.changed_at.isoformat() if row is not None and row.changed_at else ""


def _locked() -> str | None:
    """Why nothing can be chosen here, None where it can."""
    if "mail" in current_app.extensions:
        return say("settings.host")
    if xt().services.settings.mail_server:
        return say("settings.locked", name="XTIGER_MAIL_SERVER")
    return None


def _try(server: MailServer | None) -> Tried:
    """Connects, seals the line and signs in as a mail would, and says what happened.

    A server that says nothing is left to its own time-outs, so that the page comes in time.
    """
    services = xt().services
    mail = services.mail
    if mail is None or (server is None and not mail.has_server()):
        return Tried(False, say("settings.test.unset"))
    said: list[XTigerError | None] = []

    def ask() -> None:
        try:
            mail.check(server)
            said.append(None)
        except XTigerError as error:
            said.append(error)

    asking = threading.Thread(target=ask, daemon=True, name="mail-check")
    asking.start()
    asking.join(PATIENCE)
    known = server or _environments()
    place = f"{known.host}:{known.port}" if known else say("settings.test.server")
    if not said:
        return Tried(False, say("settings.test.slow", server=place, seconds=f"{PATIENCE:.0f}"))
    if said[0] is not None:
        return Tried(False, " ".join([said[0].sentence, *getattr(said[0], "__notes__", ())]))
    how = [say("settings.test.host")]
    if known:
        how = [say(f"settings.test.{known.security}")]
        login = "settings.test.login" if known.username else "settings.test.anonymous"
        how.append(say(login, username=known.username))
    good = say("settings.test.good", server=place, time=clock_time(now()), how=", ".join(how))
    return Tried(True, good)


def _environments() -> MailServer | None:
    """The server that the environment names; None where a host's own mail is used."""
    given = xt().services.settings
    if "mail" in current_app.extensions or not given.mail_server:
        return None
    return MailServer(
        host=given.mail_server,
        port=given.mail_port,
        security="starttls" if given.mail_tls else "none",
        username=given.mail_username,
        password=given.mail_password,
        sender=given.mail_sender,
    )


def _stale(form: MailServerForm) -> Any:
    """409: what somebody saved meanwhile isn't overwritten."""
    stored, _seen_before = _stored()
    with xt().services.database.read() as session:
        row = session.get(Setting, letters.MAIL_SERVER)
    form.seen.data, form.seen.raw_data = _seen(row), None
    words = say(
        "mail.changed",
        who=(row and row.changed_by) or "–",
        time=clock_time(row.changed_at if row else None),
    )
    changed = list(changes(stored, form.server(stored)))
    return _page(form, stored, status=409, stale=words, changed=changed)


def _page(
    form: MailServerForm, stored: MailServer | None, *, status: int = 200, **more: Any
) -> Any:
    with xt().services.database.read() as session:
        load(session)
    values = {"tried": None, "unsaved": False, "stale": None, "changed": ()} | more
    return page(
        "xtiger/settings.html",
        status=status,
        form=form,
        stored=stored,
        locked=_locked(),
        known=_environments(),
        **values,
    )

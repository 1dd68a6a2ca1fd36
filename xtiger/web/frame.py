"""What every page carries around its own content: menu, organisations, banner, footer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any, Protocol, cast

from flask import current_app, g, make_response, render_template, request, url_for
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from xtiger import __version__
from xtiger.domain.errors import XTigerError
from xtiger.engine.mapping import uses
from xtiger.engine.services import Services
from xtiger.store import alerts
from xtiger.store.models import Connection, Organisation, Run
from xtiger.store.profiles import organisations, pause_of_all, paused_modules
from xtiger.web import filters, formats, lists
from xtiger.web.access import NOBODY, Access, Person, access, can, who
from xtiger.web.words import all_of, names, say

THEMES = ("auto", "light", "dark")
#: A run that nobody began within this time has no worker.
_PATIENCE = timedelta(minutes=2)


class Extension(Protocol):
    """What a host's XTiger object has for the pages."""

    services: Services
    access: Access
    small_crm: bool


def xt() -> Extension:
    """The XTiger object of the app that serves this request."""
    return cast(Extension, current_app.extensions["xtiger"])


def now() -> datetime:
    """The present moment, the same all through one request."""
    if "xtiger_now" not in g:
        g.xtiger_now = xt().services.clock.now()
    return cast(datetime, g.xtiger_now)


def zone() -> tzinfo:
    """The reader's time zone, which the script keeps in a cookie; UTC without it."""
    return formats.zone_of(request.cookies.get("xtiger_zone"))


def theme() -> str:
    """The chosen appearance."""
    chosen = request.cookies.get("xtiger_theme", "auto")
    return chosen if chosen in THEMES else "auto"


@dataclass(frozen=True, slots=True)
class Banner:
    """The one worst thing; `ask` names who may press the button where the reader may not."""

    tone: str
    icon: str
    sentence: str
    label: str | None = None
    url: str | None = None
    ask: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as it is printed, and what it counts, for those who don't see where it stands."""

    text: str
    what: str


@dataclass(frozen=True, slots=True)
class NavLink:
    """One link of the menu; `count` is printed behind it, and `alarm` what needs somebody."""

    label: str
    url: str
    icon: str
    current: bool
    count: Figure | None = None
    alarm: Figure | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """Why Xero lets us into an organisation no more, and since when."""

    why: str
    at: datetime | None


@dataclass(slots=True)
class Frame:
    """Read once for each page."""

    person: Person
    organisations: list[Organisation] = field(default_factory=list)
    #: The one that `?org=` names, None for all.
    chosen: Organisation | None = None
    connections: Mapping[int, Connection] = field(default_factory=dict)
    #: What the organisations that are shown have in the Queue.
    queue: lists.InQueue = field(default_factory=lists.InQueue)
    #: What goes by itself once those that are gone are connected again.
    held_up: int = 0
    #: By organisation what is in use here and can't be used in Xero any more.
    warnings: Mapping[int, list[uses.Warning]] = field(default_factory=dict)
    banner: Banner | None = None
    version: str = __version__
    zone: str = "UTC"
    theme: str = "auto"
    small_crm: bool = False

    @property
    def shown(self) -> list[Organisation]:
        """The chosen organisation, or all."""
        return [self.chosen] if self.chosen else self.organisations

    @property
    def warned(self) -> list[tuple[Organisation, uses.Warning]]:
        """The warnings of what is shown."""
        return [(each, one) for each in self.shown for one in self.warnings.get(each.id, ())]

    @property
    def names(self) -> dict[int, str]:
        """The organisations' names by id."""
        return {each.id: each.name for each in self.organisations}

    def organisation(self, organisation_id: int | None) -> Organisation | None:
        """A chosen organisation by id."""
        return next((each for each in self.organisations if each.id == organisation_id), None)

    def broken(self, organisation: Organisation) -> Ended | None:
        """Why a person must connect an organisation again; None while it is connected."""
        # Who was taken out before the consent ended must be ticked in the next one, too.
        if organisation.removed:
            return Ended(organisation.removed, organisation.removed_at)
        found = self.connections.get(organisation.connection_id or 0)
        if found is not None and found.broken:
            return Ended(found.broken, found.broken_at)
        return None


def load(session: Session) -> Frame:
    """The frame of this request; kept, so that a page and its frame read once."""
    if "xtiger_frame" in g:
        return cast(Frame, g.xtiger_frame)
    frame = Frame(
        who(),
        organisations=organisations(session),
        zone=formats.zone_name(zone()),
        theme=theme(),
        small_crm="xtiger_crm" in current_app.blueprints,
    )
    frame.chosen = frame.organisation(lists.whole("org"))
    if (org := request.args.get("org")) and frame.chosen is None:
        filters.unknown("org", org)
    frame.connections = {each.id: each for each in session.scalars(select(Connection))}
    frame.queue = lists.in_queue(session, [each.id for each in frame.shown])
    if can("queue.read") or can("setup"):
        frame.warnings = uses.kept_warnings(session, [each.id for each in frame.organisations])
    frame.banner = _banner(session, frame)
    g.xtiger_frame = frame
    return frame


def waiting(number: int) -> str:
    """14 records wait, 1 record waits."""
    count = lists.printed(number)
    if number > lists.EXACT:
        return f"{count} records wait"
    return f"{formats.counted(number, 'record')} {'waits' if number == 1 else 'wait'}"


def _banner(session: Session, frame: Frame) -> Banner | None:
    """The worst that is true: reconnect, worker silent, held, paused, not live."""
    shown = frame.shown
    gone = [(each, ended) for each in shown if (ended := frame.broken(each))]
    if gone:
        frame.held_up = sum(alerts.waiting(session, each.id) for each, _why in gone)
        few = {0: ".none", 1: ".one"}.get(frame.held_up, "")
        queued = say(f"banner.held_up{few}", waiting=waiting(frame.held_up))
        each, ended = gone[0]
        if len(gone) > 1:
            sentence = say(
                "banner.disconnected.many",
                organisations=all_of([one.name for one, _why in gone]),
                waiting=queued,
            )
        else:
            sentence = say(
                "banner.disconnected",
                organisation=each.name,
                time=clock_time(ended.at),
                cause=_ended(ended.why),
                waiting=queued,
            )
        return _button("failed", "plug", sentence, "Reconnect", "setup", "api_details")
    silent = session.scalar(
        select(Run.asked_at)
        .where(text("ended_at IS NULL"), Run.started_at.is_(None), Run.asked_at < now() - _PATIENCE)
        .limit(1)
    )
    held = next((one for one in shown if one.held_until and one.held_until > now()), None)
    everything = pause_of_all(session)
    paused = everything is not None or any(each.paused_at for each in shown)
    if silent and held is None and not paused:
        sentence = say(
            "banner.worker", waiting=waiting(frame.queue.waiting), time=clock_time(silent)
        )
        return Banner("paused", "exclamation-triangle", sentence)
    if held is not None:
        return Banner("paused", "clock", say("banner.held", why=held.held_why or ""))
    if everything is not None:
        at = clock_time(everything.at)
        sentence = say("banner.paused.all", time=at, by=everything.by)
        return _button("paused", "pause-circle", sentence, "Open Queue", "queue.read", "queue")
    for each in shown:
        if each.paused_at:
            by = f" by {each.paused_by}" if each.paused_by else ""
            sentence = say(
                "banner.paused", organisation=each.name, time=clock_time(each.paused_at), by=by
            )
            return _button("paused", "pause-circle", sentence, "Open Queue", "queue.read", "queue")
    for each in shown:
        for module, pause in paused_modules(session, each.id).items():
            sentence = say(
                "banner.paused.module",
                module=module.value,
                organisation=each.name,
                time=clock_time(pause.at),
                by=pause.by,
            )
            return _button("paused", "pause-circle", sentence, "Open Queue", "queue.read", "queue")
    for each in shown:
        if each.live_since is None:
            sentence = say("banner.not_live", organisation=each.name)
            return _button(
                "pending", "info-circle", sentence, "API details", "setup", "api_details"
            )
    return None


def _button(
    tone: str, icon: str, sentence: str, label: str, capability: str, endpoint: str
) -> Banner:
    if can(capability):
        return Banner(tone, icon, sentence, label, url_for(f"xtiger.{endpoint}"))
    helpers = access().administrators()
    return Banner(tone, icon, sentence, ask=say("ask", names=names(helpers)) if helpers else None)


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def clock_time(value: datetime | None) -> str:
    """A moment inside a sentence, in the reader's zone."""
    return str(formats.moment(value, zone(), now()).striptags()) if value else "–"


def menu(frame: Frame) -> list[tuple[str, list[NavLink]]]:
    """The groups of the menu with the links this person may follow."""
    groups: list[tuple[str, list[tuple[str, str, str, str]]]] = [
        (
            "Work",
            [
                ("Dashboard", "dashboard", "speedometer2", "overview"),
                ("Records", "records_home", "people", "records.read"),
                ("Queue", "queue", "list-task", "queue.read"),
                ("Runs", "runs", "play-circle", "queue.read"),
                ("Logs", "logs", "journal-text", "logs.read"),
            ],
        ),
        ("Check", [("Reports", "reports", "envelope-check", "reports")]),
        (
            "Set up",
            [
                ("API details", "api_details", "key", "setup"),
                ("What syncs", "what_syncs", "sliders", "setup"),
                ("Mapping", "mapping", "shuffle", "setup"),
                ("Xero Accounts", "xero_accounts", "journal-check", "setup"),
                ("Email notification", "email_notification", "envelope", "reports"),
            ],
        ),
        ("System", [("Settings", "settings", "gear", "setup")]),
    ]
    here = (request.endpoint or "").removeprefix("xtiger.").removeprefix("xtiger_crm.")
    counts = {"queue": _figure(frame.queue.waiting, "menu.waits")}
    alarms = {
        "queue": _figure(frame.queue.needs, "menu.needs"),
        "xero_accounts": _figure(len(frame.warned), "menu.warned"),
    }
    org = frame.chosen.id if frame.chosen else None
    found = []
    for title, links in groups:
        drawn = [
            NavLink(
                label,
                url_for(f"xtiger.{endpoint}", org=org),
                icon,
                _section(here) == endpoint,
                counts.get(endpoint),
                alarms.get(endpoint),
            )
            for label, endpoint, icon, capability in links
            if can(capability)
        ]
        if drawn:
            found.append((title, drawn))
    return found


def _figure(number: int, what: str) -> Figure | None:
    """A figure of the menu; nought isn't printed."""
    return Figure(lists.printed(number), say(what)) if number else None


def _section(endpoint: str) -> str:
    """The menu entry a page belongs to."""
    for prefix, entry in (
        ("record", "records_home"),
        ("search", "records_home"),
        ("crm_", "records_home"),
        ("queue", "queue"),
        ("run", "runs"),
        ("log", "logs"),
        ("api_", "api_details"),
        ("what_", "what_syncs"),
        ("mapping", "mapping"),
        ("xero_accounts", "xero_accounts"),
        ("email_", "email_notification"),
        ("report", "reports"),
        ("settings", "settings"),
    ):
        if endpoint.startswith(prefix):
            return entry
    return endpoint


def page(template: str, /, *, status: int = 200, **values: Any) -> Any:
    """A whole page: its values and the frame."""
    if "xtiger_frame" not in g:
        with xt().services.database.read() as session:
            load(session)
    frame = cast(Frame, g.xtiger_frame)
    body = render_template(
        template,
        frame=frame,
        menu=menu(frame),
        as_of=now(),
        person=frame.person,
        sign_out=_sign_out(),
        **values,
    )
    return make_response(body, status)


def _sign_out() -> str | None:
    """Where to sign out; a host that has its own way needn't say."""
    leave = getattr(access(), "sign_out_url", None)
    return leave() if leave else None


def plain_page(template: str, /, *, status: int = 200, **values: Any) -> Any:
    """A page without menu, for when nobody is signed in or the database is away."""
    frame = Frame(who_or_nobody(), zone=formats.zone_name(zone()), theme=theme())
    return make_response(render_template(template, frame=frame, **values), status)


def who_or_nobody() -> Person:
    """Who asks, as far as that can be told now."""
    try:
        return who()
    except XTigerError:
        return NOBODY

"""Dashboard: is all well, and what needs me, in one sentence; and the two ways to send."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import redirect, request, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xtiger.domain.alerting import Kind
from xtiger.domain.queueing import State
from xtiger.engine import intake, scheduler
from xtiger.engine.alerting import alerts
from xtiger.engine.standing import held_sentence
from xtiger.store import profiles, queue
from xtiger.store.models import Organisation, QueueItem, Run
from xtiger.web import formats, lists
from xtiger.web.access import can, needs
from xtiger.web.actions import (
    back,
    done,
    go,
    modules_of,
    name,
    own_path,
    say_added,
    spoken,
    whole,
)
from xtiger.web.email_notification import welcome_administrator
from xtiger.web.frame import THEMES, Frame, clock_time, load, now, page, waiting, xt, zone
from xtiger.web.pausing import Paused, pauses
from xtiger.web.routes import Routes
from xtiger.web.ui import fragment
from xtiger.web.words import all_of, say

routes = Routes()
DAYS = 14
#: The most causes that the page shows one by one.
_SHOWN = 6
#: The alerts that the page doesn't tell in another place: by a card, a banner or a cause.
_TOLD_HERE = (Kind.WORKER, Kind.NOTHING, Kind.WEBHOOKS)


@dataclass(frozen=True, slots=True)
class Card:
    """One organisation's vital figures."""

    organisation: Organisation
    state: str
    why: str | None
    queue: lists.InQueue
    oldest: datetime | None
    paused: list[Paused]


@dataclass(frozen=True, slots=True)
class Cause:
    """Records that fail for the same reason."""

    state: str
    fingerprint: str
    sentence: str
    count: int


@dataclass(frozen=True, slots=True)
class Gone:
    """Something in use that Xero has archived, and who is concerned.

    `failing` is the cause under which most of its failing records stand in the Queue, or None.
    """

    organisation: Organisation
    sentence: str
    users: str
    tab: str
    failing: str | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of the chart; heights in its own units, from the ground up."""

    day: date
    good: int
    same: int
    bad: int


@routes.get("/")
@needs("overview")
def dashboard() -> Any:
    """The whole page."""
    welcome_administrator()
    with xt().services.database.read() as session:
        frame = load(session)
        values = _figures(session, frame)
    values.pop("frame")
    return page("xtiger/dashboard.html", modules=list(xt().services.crm.modules()), **values)


@routes.get("/_live")
@needs("overview")
def dashboard_live() -> Any:
    """What changes on its own."""
    with xt().services.database.read() as session:
        frame = load(session)
        values = _figures(session, frame)
    answer = fragment("xtiger/_dashboard.html", **values)
    answer.headers["X-Every"] = "1" if values["active"] else "10"
    return answer


@routes.post("/sync")
@needs("run")
def sync() -> Any:
    """Sends everything due of the chosen organisations now."""
    runs: list[int] = []
    with spoken():
        runs = scheduler.sync_now(
            xt().services,
            organisation_id=whole(request.form.get("organisation")),
            modules=modules_of(request.form.get("module", "")),
            who=name(),
        )
        if not runs:
            done(_why_none(whole(request.form.get("organisation"))))
    return go("run", run_id=runs[0]) if runs else back("dashboard")


def _why_none(organisation_id: int | None) -> str:
    """Why Sync had nothing to send: what is open waits for something, or all is in Xero."""
    with xt().services.database.read() as session:
        rows = [
            row
            for row in profiles.organisations(session)
            if organisation_id in (None, row.id) and row.chosen
        ]
        now = xt().services.clock.now()
        held = dict.fromkeys(filter(None, (held_sentence(session, row, now) for row in rows)))
        counts = queue.counts(session, organisation_id)
    waits = [
        say(f"sync.none.{state.value}", count=formats.counted(counts[state], "record"))
        for state in (State.PENDING, State.BLOCKED, State.FAILED, State.CHECK)
        if counts[state]
    ]
    if not waits:
        return say("sync.none")
    return " ".join([say("sync.none.open", what="; ".join(waits)), *held])


@routes.post("/add-to-queue")
@needs("run")
def add_to_queue() -> Any:
    """Adds what is selected; the schedule sends it."""
    module = request.form.get("module", "")
    with spoken():
        added = intake.add_selected(
            xt().services,
            organisation_id=whole(request.form.get("organisation")),
            modules=modules_of(module),
            who=name(),
        )
        noun = modules_of(module)[0].singular if module else "record"  # type: ignore[index]
        say_added(added.count, added.first, added.last, formats.counted(added.count, noun))
    return back("dashboard")


@routes.post("/appearance")
@needs("overview")
def appearance() -> Any:
    """Keeps the person's choice of light, dark, or as the system has it."""
    chosen = request.form.get("theme", "auto")
    root = url_for("xtiger.dashboard")
    answer = redirect(own_path(request.form.get("next", "")) or root, 303)
    if chosen in THEMES:
        answer.set_cookie(
            "xtiger_theme",
            chosen,
            max_age=31_536_000,
            path=root,
            samesite="Lax",
            httponly=True,
            secure=request.is_secure,
        )
    return answer


def _figures(session: Session, frame: Frame) -> dict[str, Any]:
    shown = frame.shown
    cards = [_card(session, frame, each) for each in shown]
    runs = _runs(session, shown)
    active = next((run for run in runs if run.started_at and not run.ended_at), None)
    went = _went_today(session, shown)
    gone, causes = _needs(session, frame) if can("queue.read") else ([], [])
    return {
        "frame": frame,
        "cards": cards,
        "sentence": health(frame, cards, active, went),
        "alerts": _alerts(session, frame) if can("reports") else [],
        "gone": gone,
        "causes": causes[:_SHOWN],
        "others": None if can("queue.read") else _need(cards),
        "more": _more(causes[_SHOWN:]),
        "runs": runs,
        "active": active,
        "bars": chart(_days(session, shown), now().astimezone(zone()).date()),
        "sync_org": frame.chosen,
        "unsent": _unsent(session) if can("reports") else None,
    }


def _unsent(session: Session) -> str | None:
    """That mails don't go out, which no mail can tell."""
    found = alerts.mail_trouble(session, now())
    if found is None:
        return None
    parts = (("wait", found.count - found.failed), ("failed", found.failed))
    counts = [
        say(f"dashboard.mail.{part}{'.one' if count == 1 else ''}", count=lists.printed(count))
        for part, count in parts
        if count
    ]
    # A server's own words end as it likes.
    time, why = clock_time(found.since), f"{found.why.rstrip('.')}."
    only = "" if found.failed < found.count else ".failed.only"
    return say(f"dashboard.mail{only}", time=time, why=why, waiting=", ".join(counts))


def _alerts(session: Session, frame: Frame) -> list[alerts.Open]:
    """What stands and no other part of the page tells, worst first."""
    chosen = frame.chosen.id if frame.chosen else None
    found = alerts.standing(session, now(), chosen)
    return [one for one in found if one.kind in _TOLD_HERE]


def _more(causes: list[Cause]) -> str | None:
    """What the list of causes leaves out."""
    if not causes:
        return None
    records = formats.counted(sum(one.count for one in causes), "record")
    return say("dashboard.more", causes=len(causes), records=records)


def _card(session: Session, frame: Frame, each: Organisation) -> Card:
    broken = frame.broken(each)
    paused = [one for one in pauses(session, frame) if one.organisation_id in (None, each.id)]
    if broken:
        state, why = "disconnected", broken.why
    elif any(one.module is None for one in paused):
        state, why = "paused", None
    elif each.held_until and each.held_until > now():
        state, why = "held", each.held_why
    elif each.live_since is None:
        state, why = "not live", None
    else:
        state, why = "connected", None
    return Card(
        each,
        state,
        why,
        lists.in_queue(session, [each.id]),
        _oldest(session, each.id),
        paused,
    )


def _oldest(session: Session, organisation_id: int) -> datetime | None:
    """When the first place was given of what waits now."""
    firsts = [
        session.scalar(select(func.min(rank_first.c.id)))
        for rank_first in (
            lists.in_state(State.PENDING, organisation_id)
            .with_only_columns(func.min(QueueItem.id).label("id"))
            .group_by(QueueItem.rank)
            .subquery(),
            lists.in_state(State.BLOCKED, organisation_id)
            .with_only_columns(QueueItem.id)
            .order_by(QueueItem.id)
            .limit(1)
            .subquery(),
        )
    ]
    known = [one for one in firsts if one is not None]
    item = session.get(QueueItem, min(known)) if known else None
    return item.added_at if item else None


def health(frame: Frame, cards: list[Card], active: Run | None, went: int) -> str:
    """The first sentence that is true, worst first."""
    if not cards:
        return say("health.none")
    if ended := [card for card in cards if frame.broken(card.organisation)]:
        return _disconnected(frame, sorted(ended, key=lambda card: -card.queue.waiting))
    held = next((card for card in cards if card.state == "held"), None)
    if held is not None:
        return say("health.held", why=held.why or "")
    if need := _need(cards):
        return say("health.need", need=need, went=f"{went:,}")
    if active is not None:
        settled = active.succeeded + active.unchanged + active.failed + active.blocked
        return say("health.sending", due=formats.counted(active.due, "record"), done=f"{settled:,}")
    asleep = next((card for card in cards if card.state == "not live"), None)
    if asleep is not None:
        return say("health.not_live", organisation=asleep.organisation.name)
    queued = sum(card.queue.waiting for card in cards)
    paused = next((card for card in cards if card.state == "paused"), None)
    if paused is not None and any(one.organisation_id is None for one in paused.paused):
        return say("health.paused.all", waiting=waiting(queued))
    if paused is not None:
        return say("health.paused", organisation=paused.organisation.name, waiting=waiting(queued))
    if queued:
        return say("health.waiting", waiting=waiting(queued), went=f"{went:,}")
    return say("health.well")


def _disconnected(frame: Frame, cards: list[Card]) -> str:
    """Which organisations can't be reached, and what waits in all of them."""
    queued = waiting(frame.held_up)
    moments = [one.at for card in cards if (one := frame.broken(card.organisation)) and one.at]
    time = clock_time(min(moments, default=None))
    known = len(moments) == len(cards)
    names = [card.organisation.name for card in cards]
    if len(names) == 1:
        return say("health.disconnected", organisation=names[0], time=time, waiting=queued)
    which = "many" if known and len({clock_time(one) for one in moments}) == 1 else "first"
    if not moments:
        which = "unknown"
    words = {"organisations": all_of(names), "time": time, "waiting": queued}
    return say(f"health.disconnected.{which}", **words)


def _need(cards: list[Card]) -> str | None:
    """How many records need a person: "you" only to who sees them in the Queue."""
    need = sum(card.queue.needs for card in cards)
    if not need:
        return None
    whom = "you" if can("queue.read") else "somebody"
    count = formats.counted(need, "record")
    return say(f"need.{whom}{'.one' if need == 1 else ''}", count=count)


def _runs(session: Session, shown: list[Organisation]) -> list[Run]:
    ids = [each.id for each in shown]
    return list(
        session.scalars(
            select(Run).where(Run.organisation_id.in_(ids)).order_by(Run.id.desc()).limit(6)
        )
    )


def _needs(session: Session, frame: Frame) -> tuple[list[Gone], list[Cause]]:
    """What can't be used in Xero any more, and the other causes; most records first."""
    rows = session.execute(
        select(
            QueueItem.organisation_id,
            QueueItem.state,
            QueueItem.cause,
            func.min(QueueItem.sentence),
            func.count(),
        )
        .where(lists.REFUSED, QueueItem.organisation_id.in_([each.id for each in frame.shown]))
        .group_by(QueueItem.organisation_id, QueueItem.state, QueueItem.cause)
    ).all()
    failing: Counter[tuple[int, str]] = Counter()
    for one, _state, cause, _text, number in rows:
        failing[one, str(cause)] += number
    gone: list[Gone] = []
    told: set[tuple[int, str]] = set()
    for organisation, warning in frame.warned:
        mine = [(organisation.id, cause) for cause in warning.causes]
        mine = [key for key in mine if key in failing]
        told |= set(mine)
        number = sum(failing[key] for key in mine)
        gone.append(
            Gone(
                organisation,
                warning.cause.removesuffix(" in Xero"),
                formats.counted(number, "record") if number else warning.users,
                warning.kind,
                max(mine, key=failing.__getitem__)[1] if mine else None,
            )
        )
    found: dict[tuple[str, str], Cause] = {}
    for one, state, cause, text, number in rows:
        if (one, str(cause)) in told:
            continue
        key = str(state), str(cause or "")
        before = found.get(key)
        words = min(str(text or "–"), before.sentence) if before else str(text or "–")
        found[key] = Cause(*key, words, number + (before.count if before else 0))
    return gone, sorted(found.values(), key=lambda each: -each.count)


def _went_today(session: Session, shown: list[Organisation]) -> int:
    start = datetime.combine(now().astimezone(zone()).date(), time(), zone()).astimezone(UTC)
    total = session.scalar(
        select(func.sum(Run.succeeded)).where(
            Run.organisation_id.in_([each.id for each in shown]), Run.asked_at >= start
        )
    )
    return int(total or 0)


def _days(session: Session, shown: list[Organisation]) -> dict[date, tuple[int, int, int]]:
    """Succeeded, unchanged and failed by day, counted from the runs."""
    since = now() - timedelta(days=DAYS)
    found: dict[date, tuple[int, int, int]] = {}
    rows = session.execute(
        select(Run.asked_at, Run.succeeded, Run.unchanged, Run.failed).where(
            Run.organisation_id.in_([each.id for each in shown]), Run.asked_at >= since
        )
    )
    for asked, good, same, bad in rows:
        day = asked.astimezone(zone()).date()
        before = found.get(day, (0, 0, 0))
        found[day] = (before[0] + good, before[1] + same, before[2] + bad)
    return found


def chart(days: dict[date, tuple[int, int, int]], today: date) -> list[Bar]:
    """A bar for each of the last days, empty ones too; nothing at all without any run."""
    if not any(sum(counts) for counts in days.values()):
        return []
    span = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    return [Bar(day, *days.get(day, (0, 0, 0))) for day in span]

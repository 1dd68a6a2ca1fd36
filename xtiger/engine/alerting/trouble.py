"""What is wrong now, as the database and the clock tell it; nothing here is kept or sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from xtiger.domain.alerting import Finding, Kind, Limits, Name
from xtiger.domain.records import Module
from xtiger.domain.resources import CATALOGUE, RESOURCE_OF, Resource
from xtiger.engine.alerting import failing
from xtiger.engine.connection import webhooks
from xtiger.engine.drain import left_alone
from xtiger.engine.services import Services
from xtiger.store import alerts, profiles, usage
from xtiger.store.failing import Fate
from xtiger.store.models import Alert, Organisation

#: A process that was silent for so long has ended: it beats each ten seconds.
SILENT = timedelta(minutes=15)
#: Only the day's limit holds for longer: Xero's others end within a minute, scaled as they are.
_LONG = timedelta(minutes=2)
#: Mails that were tried in vain for so long are told.
UNSENT = timedelta(minutes=15)
#: How soon Xero tells of a change; a delivery that goes wrong is tried again for a day.
_TELLS = timedelta(hours=1)
#: So many times longer than the longest distance of late, and silence isn't usual any more.
_UNUSUAL = 3
#: The modules of whose objects Xero's webhooks tell (FACTS section 8).
_TOLD_OF = frozenset(
    module.value
    for module, resource in RESOURCE_OF.items()
    if resource in (Resource.CONTACTS, Resource.INVOICES, Resource.CREDIT_NOTES)
)


@dataclass(frozen=True, slots=True)
class View:
    """What a look looks at. `standing` are the open alerts, by name."""

    services: Services
    session: Session
    now: datetime
    limits: Limits
    organisations: list[Organisation]
    standing: Mapping[Name, Alert]
    broken: Mapping[int, tuple[str, datetime | None]]
    pause: profiles.Pause | None

    @classmethod
    def of(cls, services: Services, session: Session, limits: Limits) -> View:
        """Read once for each look."""
        rows = {(Kind(a.kind), a.organisation_id, a.key): a for a in alerts.standing(session)}
        # What a look decides about them is written later, by its own transaction alone.
        for alert in rows.values():
            session.expunge(alert)
        return cls(
            services,
            session,
            services.clock.now(),
            limits,
            profiles.organisations(session),
            rows,
            alerts.broken(session),
            profiles.pause_of_all(session),
        )

    def ended(self, row: Organisation) -> bool:
        """Whether a person must connect an organisation again."""
        return bool(row.removed) or row.connection_id in self.broken or row.connection_id is None

    def idle(self, row: Organisation) -> bool:
        """Whether people know why nothing goes: it isn't connected, or is paused."""
        return self.ended(row) or row.paused_at is not None or self.pause is not None

    @property
    def live(self) -> list[Organisation]:
        """Organisations to which something is sent at all."""
        return [row for row in self.organisations if row.live_since is not None]


def findings(view: View) -> list[Finding]:
    """All that is wrong now, each once; what explains something else goes alone.

    1. Who must connect again, or has paused, knows why nothing goes: neither the day's limit nor
       "nothing happened" is told of that organisation.
    2. A worker that died explains that nothing happens anywhere.
    """
    found = [*_disconnected(view), *_paused(view)]
    limited = list(_day_limit(view))
    dead = list(_worker(view))
    silent = [] if dead else list(_nothing(view, {each.organisation_id for each in limited}))
    return [*found, *limited, *dead, *silent, *_failures(view), *_webhooks(view), *_mail(view)]


def _about(view: View, row: Organisation, **more: Any) -> dict[str, Any]:
    """What is told of every organisation."""
    return {"name": _plain(row), "waiting": alerts.waiting(view.session, row.id), **more}


def _plain(row: Organisation) -> str:
    return " ".join(row.name.split())


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _disconnected(view: View) -> Iterator[Finding]:
    for row in view.organisations:
        if row.removed:
            more = {"since": _iso(row.removed_at), "why": row.removed, "removed": True}
        elif row.connection_id in view.broken:
            why, at = view.broken[row.connection_id or 0]
            more = {"since": _iso(at), "why": why, "removed": False}
        else:
            continue
        yield Finding(Kind.DISCONNECTED, row.id, "", _about(view, row, **more))


def _paused(view: View) -> Iterator[Finding]:
    """What somebody paused so long ago that they may have forgotten it, while records wait."""
    late = view.now - view.limits.silence
    if view.pause is not None:
        if view.pause.at > late:
            return
        total = _all_waiting(view)
        if total:
            more = {"since": _iso(view.pause.at), "who": view.pause.by, "waiting": total}
            yield Finding(Kind.PAUSED, None, "", more)
        return
    for row in view.live:
        if view.ended(row):
            continue
        if row.paused_at is not None:
            more = {"since": _iso(row.paused_at), "who": row.paused_by or "somebody"}
            details = _about(view, row, **more)
            if row.paused_at <= late and details["waiting"]:
                yield Finding(Kind.PAUSED, row.id, "", details)
            continue
        for module, pause in profiles.paused_modules(view.session, row.id).items():
            if pause.at <= late and (number := _waiting_of(view, row, module)):
                yield Finding(
                    Kind.PAUSED,
                    row.id,
                    module.value,
                    {
                        "name": _plain(row),
                        "waiting": number,
                        "since": _iso(pause.at),
                        "who": pause.by,
                    },
                )


def _waiting_of(view: View, row: Organisation, module: Module) -> int:
    rank = CATALOGUE[RESOURCE_OF[module]].rank
    return alerts.waiting_of(view.session, row.id, module.value, rank)


def _all_waiting(view: View) -> int:
    total = sum(alerts.waiting(view.session, row.id) for row in view.live)
    return min(total + alerts.changes_waiting(view.session)[0], alerts.EXACT + 1)


def _day_limit(view: View) -> Iterator[Finding]:
    """Organisations that Xero takes no more calls for today, while records wait.

    Its other limits end within a minute; a hold that lasts longer is the day's.
    """
    factor = min(1, view.services.settings.time_factor)
    for row in view.live:
        if view.idle(row):
            continue
        until = row.held_until if row.held_by_xero else None
        stands = (Kind.DAY_LIMIT, row.id, "") in view.standing
        held = until is not None and until > view.now + (
            _LONG * factor if not stands else _LONG * 0
        )
        if not held and not usage.only_for_people(row, view.now):
            continue
        again = until if until is not None and until > view.now else None
        details = _about(view, row, until=_iso(again))
        if details["waiting"] or stands:
            yield Finding(Kind.DAY_LIMIT, row.id, "", details)


def _worker(view: View) -> Iterator[Finding]:
    """All worker processes fell silent, and none signed off: they were killed, or hang.

    Where records go over all the same, somebody works without a heartbeat (`sync --due`).
    """
    beat = alerts.newest_beat(view.session)
    if beat is None or beat > view.now - SILENT or not view.live:
        return
    if any(row.last_success_at and row.last_success_at > beat + SILENT for row in view.live):
        return
    yield Finding(Kind.WORKER, None, "", {"since": _iso(beat), "waiting": _all_waiting(view)})


def _nothing(view: View, limited: set[int | None]) -> Iterator[Finding]:
    """Records that might go wait, and Xero took nothing for longer than it may be.

    Only what would go by itself counts: not what only Sync takes, nor what is behind a pause, a
    strict order or the turn of its schedule.
    """
    cut = view.now - view.limits.silence
    found = False
    for row in view.live:
        last = max(filter(None, (row.last_success_at, row.live_since)))
        if view.idle(row) or row.id in limited or last > cut:
            continue
        asked = alerts.asked_before(view.session, row.id, cut)
        if not asked and not row.auto_sync:
            continue
        since = _waits_since(view, row, cut, asked=asked)
        if since is not None:
            found = True
            details = _about(view, row, since=_iso(max(last, since)), why=row.held_why)
            yield Finding(Kind.NOTHING, row.id, "", details | _who_works(view))
    number, oldest = alerts.changes_waiting(view.session)
    if not found and view.live and oldest is not None and oldest <= cut:
        more = {"since": _iso(oldest), "waiting": number, "why": None}
        yield Finding(Kind.NOTHING, None, "", more | _who_works(view))


def _waits_since(view: View, row: Organisation, cut: datetime, *, asked: bool) -> datetime | None:
    narrow = left_alone(view.session, row.id, view.now, view.services.settings.day_reserve)
    # A person who asked doesn't wait for the schedule.
    schedules = {} if asked else profiles.schedules(view.session, row.id)
    return alerts.waits_since(
        view.session,
        row.id,
        now=view.now,
        cut=cut,
        turns={module.value: one.last_turn(cut) for module, one in schedules.items()},
        left_alone=narrow.paused,
        caps=narrow.caps,
    )


def _who_works(view: View) -> dict[str, Any]:
    beat = alerts.newest_beat(view.session)
    alone = len(view.live) == 1
    return {"no_worker": beat is None or beat <= view.now - SILENT, "alone": alone}


def _failures(view: View) -> Iterator[Finding]:
    return failing.findings(
        view.session,
        now=view.now,
        limit=view.limits.failures,
        names={row.id: _plain(row) for row in view.organisations},
        known={(one, key) for kind, one, key in view.standing if kind is Kind.FAILURES and one},
    )


def _webhooks(view: View) -> Iterator[Finding]:
    """Organisations of which Xero's webhooks told, and tell no more although records changed.

    Xero tells of what XTiger itself writes, too: so XTiger's own log says what was to be told.
    Once open, only a delivery ends it.
    """
    if not webhooks.state(view.services, view.session).key_set:
        return
    usual = alerts.longest_gap(view.session) or timedelta(0)
    wait = max(view.limits.silence, _UNUSUAL * usual)
    for row in view.live:
        last = row.webhook_at
        if last is None or view.idle(row):
            continue
        open_one = view.standing.get((Kind.WEBHOOKS, row.id, ""))
        stands = open_one is not None and last <= open_one.opened_at
        if stands or (
            view.now - last > wait
            and alerts.written_between(
                view.session, row.id, _TOLD_OF, after=last + _TELLS, before=view.now - _TELLS
            )
        ):
            yield Finding(Kind.WEBHOOKS, row.id, "", {"name": _plain(row), "since": _iso(last)})


def _mail(view: View) -> Iterator[Finding]:
    waiting, failed, oldest = alerts.unsent(view.session, before=view.now - UNSENT)
    if oldest is not None:
        number = waiting + failed
        more = {"count": number, "since": _iso(oldest.made_at), "why": oldest.why or ""}
        yield Finding(Kind.MAIL, None, "", more)


def mended(view: View, alert: Alert, became: Fate | None = None) -> bool:
    """Whether an alert that isn't found any more was mended, so that people may be told so.

    `became` is what became of records that failed, for an alert about these.

    Else something else took its place: it was paused meanwhile, cancelled, or taken out.
    """
    kind = Kind(alert.kind)
    if alert.organisation_id is None:
        return _mended_here(view, kind)
    row = next((one for one in view.organisations if one.id == alert.organisation_id), None)
    if row is None or view.ended(row):
        return False
    match kind:
        case Kind.PAUSED:
            modules = profiles.paused_modules(view.session, row.id)
            still = Module(alert.key) in modules if alert.key else row.paused_at is not None
            return not still and view.pause is None
        case Kind.NOTHING:
            return row.last_success_at is not None and row.last_success_at > alert.opened_at
        case Kind.DAY_LIMIT:
            return not view.idle(row)
        case Kind.WEBHOOKS:
            return row.webhook_at is not None and row.webhook_at > alert.opened_at
        case Kind.FAILURES if became is not None:
            return failing.mended(became, alert.key)
        case _:
            return True


def _mended_here(view: View, kind: Kind) -> bool:
    match kind:
        case Kind.PAUSED:
            return view.pause is None
        case Kind.WORKER:
            beat = alerts.newest_beat(view.session)
            return beat is not None and beat > view.now - SILENT
        case _:
            return True


def _waits_now(view: View, row: Organisation | None, module: str) -> int:
    if row is None:
        return _all_waiting(view)
    return (
        _waiting_of(view, row, Module(module)) if module else alerts.waiting(view.session, row.id)
    )


def after(view: View, alert: Alert) -> Finding:
    """The figures of an alert that is over: what waits now goes over by itself."""
    row = next((one for one in view.organisations if one.id == alert.organisation_id), None)
    details = {key: value for key, value in (alert.details or {}).items() if key != "told"}
    if Kind(alert.kind) is not Kind.FAILURES:
        details["waiting"] = _waits_now(view, row, alert.key)
    return replace(
        Finding(Kind(alert.kind), alert.organisation_id, alert.key),
        details=details | {"opened": _iso(alert.opened_at)},
    )

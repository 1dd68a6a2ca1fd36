"""The figures of any day, week or month, as the mails tell them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from flask import abort, request, url_for
from sqlalchemy import select

from xtiger.domain.errors import PermanentError
from xtiger.domain.phrases import period_words
from xtiger.domain.reporting import FIRST, PERIODIC, Kind, Period
from xtiger.domain.zones import UNKNOWN, zone_name
from xtiger.domain.zones import zone as zone_of
from xtiger.engine.reporting import figures, subscriptions
from xtiger.engine.reporting.figures import Report
from xtiger.engine.reporting.words import words_of
from xtiger.store.models import Subscription
from xtiger.web import formats, sheets
from xtiger.web.access import needs
from xtiger.web.frame import Frame, load, now, page, xt, zone
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()
#: Before this day there was no Xero that could have been synced.
#: The columns of the exported file; amounts of a second currency have a line of their own.
HEADER = (
    *("From", "Until", "Zone", "Organisation", "Module"),
    *("Succeeded", "Unchanged", "Failed", "Blocked", "Currency", "Amount"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the query asks for; `fault` is why nothing can be shown."""

    zone: str
    kind: Kind
    day: date
    fault: str | None = None

    @property
    def period(self) -> Period:
        """The days it means."""
        return Period.of(self.kind, self.day, self.zone)


def _asked(frame: Frame) -> Asked:
    """Of the query: `of` is daily, weekly or monthly, `day` any day in it; else yesterday.

    `zone` says whose days they are; else they are the organisation's, as for `xtiger report`.
    """
    own = subscriptions.zone_for(xt().services, frame.chosen.id if frame.chosen else None)
    zone = request.args.get("zone", "").strip() or own
    known = _is_known(zone)
    of = partial(Asked, zone if known else own)
    today = now().astimezone(zone_of(of.args[0])).date()
    yesterday = today - timedelta(days=1)
    kind = next((one for one in PERIODIC if one == request.args.get("of", Kind.DAILY)), None)
    if kind is None:
        return of(Kind.DAILY, yesterday, say("figures.kind.bad"))
    if not known:
        return of(kind, yesterday, say("mail.zone.bad", value=zone))
    given = request.args.get("day", "").strip()
    try:
        day = date.fromisoformat(given) if given else yesterday
    except ValueError:
        return of(kind, yesterday, say("figures.day.bad", value=given))
    if day < FIRST:
        return of(kind, yesterday, say("figures.day.bad", value=given))
    asked = of(kind, min(day, today))
    if day > today and asked.period.last < day:
        return of(kind, yesterday, say("figures.day.later", day=formats.day(day)))
    return asked


def _is_known(name: str) -> bool:
    try:
        subscriptions.known_zone(name)
    except PermanentError:
        return False
    return True


def _offered(frame: Frame) -> list[str]:
    """The zones that people may mean: the organisations', the readers', their own clock's."""
    theirs = [zone_name(one.time_zone) for one in frame.organisations]
    with xt().services.database.read() as session:
        readers = session.scalars(select(Subscription.zone).distinct().order_by(Subscription.zone))
        return list(dict.fromkeys([*theirs, *readers, formats.zone_name(zone()), UNKNOWN]))


def form(frame: Frame) -> dict[str, Any]:
    """What the form that asks for a period shows."""
    asked = _asked(frame)
    chosen = asked.zone if request.args.get("zone", "").strip() else ""
    offered = dict.fromkeys([*_offered(frame), *filter(None, [chosen])])
    return {
        "org_pairs": [(one.id, one.name) for one in frame.organisations],
        "period_pairs": [(one.value, say(f"figures.{one.value}")) for one in PERIODIC],
        "zone_pairs": [(one, one) for one in offered],
        "of": asked.kind.value,
        "day": asked.day.isoformat(),
        "by": chosen,
    }


def _report(frame: Frame, asked: Asked) -> Report:
    return figures.of_period(
        xt().services,
        asked.kind,
        asked.day,
        zone=asked.zone,
        organisation_id=frame.chosen.id if frame.chosen else None,
    )


@routes.get("/reports/figures")
@needs("reports")
def reports_figures() -> Any:
    """One period's report, in the words of its mail."""
    with xt().services.database.read() as session:
        frame = load(session)
    asked = _asked(frame)
    period = asked.period
    words = so_far = None
    if asked.fault is None:
        report = _report(frame, asked)
        words = words_of(report, language="en")
        if report.made_at < period.end:
            until = formats.moment(report.made_at, zone_of(asked.zone), now()).striptags()
            so_far = say("figures.so_far", time=until)
    org = frame.chosen.id if frame.chosen else None
    days: dict[str, Any] = {"from": period.first.isoformat(), "to": period.last.isoformat()}
    if asked.zone != formats.zone_name(zone()):
        days["zone"] = asked.zone
    return page(
        "xtiger/reports_figures.html",
        status=200 if asked.fault is None else 422,
        fault=asked.fault,
        words=words,
        so_far=so_far,
        days_by=say("figures.zone", zone=asked.zone),
        title=say("figures.title", period=period_words("en", period)),
        earlier=period.before.first.isoformat(),
        later=period.behind.isoformat() if period.end <= now() else None,
        logs_url=url_for("xtiger.logs", org=org, **days),
        crumbs=[("Reports", url_for("xtiger.reports", org=org))],
        **form(frame),
    )


@routes.get("/reports/figures.csv")
@needs("reports")
def reports_figures_csv() -> Any:
    """The table by organisation and module, each currency apart."""
    with xt().services.database.read() as session:
        frame = load(session)
    asked = _asked(frame)
    if asked.fault is not None:
        abort(400)
    period = asked.period
    name = f"xtiger-{asked.kind}-{period.first.isoformat()}.csv"
    return sheets.download(name, HEADER, list(_rows(_report(frame, asked), period)))


def _rows(report: Report, period: Period) -> Iterator[list[Any]]:
    for line in report.lines:
        tally = line.tally
        counts: list[Any] = [tally.succeeded, tally.unchanged, tally.failed, tally.blocked]
        sums: list[tuple[Any, Any]] = list(line.money.items()) or [(None, None)]
        for currency, amount in sums:
            days = [period.first, period.last, period.zone]
            yield [*days, line.organisation, line.module, *counts, currency, amount]
            counts = [None] * 4  # a line's records are counted once

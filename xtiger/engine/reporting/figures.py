"""The figures of a report, counted from the log; in no language, for mails and pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain import zones
from xtiger.domain.queueing import State
from xtiger.domain.records import Module
from xtiger.domain.reporting import MOST_MISSED, Kind, Period
from xtiger.domain.resources import RESOURCE_OF
from xtiger.engine.services import Services
from xtiger.engine.standing import held_sentence
from xtiger.store import mailbox, profiles, sums, usage
from xtiger.store.models import LogEntry, Organisation, Run
from xtiger.store.sums import Scope

#: What a report lists of each kind.
MOST_CAUSES, MOST_RECORDS = 10, 20
#: How long after a period its report tells what failed since.
_LATELY = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Tally:
    """Transfers by what became of them."""

    succeeded: int = 0
    unchanged: int = 0
    failed: int = 0
    blocked: int = 0

    @property
    def all(self) -> int:
        """All of them."""
        return self.succeeded + self.unchanged + self.failed + self.blocked


@dataclass(frozen=True, slots=True)
class ModuleLine:
    """One module of one organisation. `money` is by currency, never summed across."""

    organisation: str
    module: str
    tally: Tally
    money: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why some records need somebody, since when (UTC), and where they are listed."""

    organisation: str
    sentence: str
    count: int
    since: datetime
    labels: tuple[str, ...]
    url: str


@dataclass(frozen=True, slots=True)
class Went:
    """One record that went over."""

    label: str
    module: str
    amount: Decimal | None
    currency: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """One bar of the chart: so many records went over between two moments (UTC)."""

    day: date
    start: datetime
    end: datetime
    succeeded: int


@dataclass(frozen=True, slots=True)
class Wait:
    """What waits in an organisation's queue now."""

    organisation: str
    count: int
    blocked: int
    oldest: datetime
    #: What holds the organisation, in a sentence; None where nothing does.
    why: str | None


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls to Xero used today, and left where Xero has said it."""

    organisation: str
    used: int
    left: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in a period, or in some runs.

    `fresh` are causes for which records failed in it for the first time, `still` those for which
    they had failed before. `need` is how many records stood failed when it ended, and what ended
    a run before its work was done; but not what the organisations in `broken` lack, that is: a
    person who connects them again.
    """

    kind: Kind
    scope: Scope
    zone: str
    organisations: tuple[str, ...]
    tally: Tally
    money: Mapping[str, Decimal]
    lines: tuple[ModuleLine, ...]
    fresh: tuple[Cause, ...]
    still: tuple[Cause, ...]
    #: Sentences of runs that ended before their work was done.
    troubles: tuple[str, ...]
    need: int
    #: How many stand failed by now, where none did when the period ended.
    since: int
    #: Organisations that must be connected again, as things stand now.
    broken: tuple[str, ...]
    went: tuple[Went, ...]
    waits: tuple[Wait, ...]
    calls: tuple[Calls, ...]
    made_at: datetime
    period: Period | None = None
    parts: tuple[Part, ...] = ()
    before: Tally | None = None
    #: When nobody worked in it (UTC), None where nobody knows.
    asleep: tuple[tuple[datetime, datetime], ...] | None = None
    runs: tuple[Run, ...] = ()
    connect_url: str = ""
    queue_url: str = ""
    logs_url: str = ""
    runs_urls: Mapping[int, str] = field(default_factory=dict)

    @property
    def quiet(self) -> bool:
        """Nothing happened, and nothing needs anybody."""
        return not (self.tally.all or self.need or self.since or self.broken)

    @property
    def held_up(self) -> int:
        """How many records wait where some did so when the period ended.

        Of a period that ended so long ago that its report isn't caught up any more it is 0: what
        waits now says little of it.
        """
        period = self.period
        if period is None:
            return 0
        near = period.end + MOST_MISSED[period.kind] * (period.end - period.start)
        if self.made_at > near:
            return 0
        return sum(one.count for one in self.waits if one.oldest < period.end)


def of_period(
    services: Services,
    kind: Kind,
    day: date,
    *,
    zone: str,
    organisation_id: int | None = None,
    modules: Sequence[str] | None = None,
) -> Report:
    """The figures of the day, week or month that holds a day, by the clock of a zone.

    A period that isn't over is counted up to now. Raises ValueError for kinds without a period.
    """
    now = services.clock.now()
    period = Period.of(kind, day, zone)
    chosen = None if modules is None else tuple(modules)
    scope = Scope(period.start, period.end, None, organisation_id, chosen)
    earlier = period.before
    parts = period.parts()
    with services.database.read() as session:
        counted = sums.counts(session, scope, [start for _day, start, _end in parts[1:]])
        before = sums.counts(
            session, Scope(earlier.start, earlier.end, None, organisation_id, chosen)
        )
        asleep = mailbox.asleep(session, period.start, min(period.end, now))
        return _report(
            services,
            session,
            kind=kind,
            scope=scope,
            zone=zone,
            now=now,
            counted=counted,
            period=period,
            before=_tally(before),
            parts=tuple(
                Part(
                    day,
                    start,
                    end,
                    _tally(one for one in counted if one.part == place).succeeded,
                )
                for place, (day, start, end) in enumerate(parts)
            ),
            asleep=None if asleep is None else tuple(asleep),
        )


def of_runs(
    services: Services,
    run_ids: Sequence[int],
    *,
    zone: str,
    modules: Sequence[str] | None = None,
) -> Report:
    """The figures of some runs, taken together."""
    now = services.clock.now()
    chosen = None if modules is None else tuple(modules)
    with services.database.read() as session:
        runs = sums.runs(session, run_ids)
        homes = {run.organisation_id for run in runs}
        start = min((run.started_at or run.asked_at for run in runs), default=now)
        # What failed meanwhile elsewhere is told by the report of that.
        one = homes.pop() if len(homes) == 1 else None
        scope = Scope(start, now, tuple(run_ids), one, chosen)
        return _report(
            services,
            session,
            kind=Kind.AFTER_SYNC,
            scope=scope,
            zone=zone,
            now=now,
            counted=sums.counts(session, scope),
            runs=tuple(runs),
        )


def _report(
    services: Services,
    session: Session,
    *,
    kind: Kind,
    scope: Scope,
    zone: str,
    now: datetime,
    counted: Sequence[sums.Count],
    period: Period | None = None,
    before: Tally | None = None,
    parts: tuple[Part, ...] = (),
    asleep: tuple[tuple[datetime, datetime], ...] | None = None,
    runs: tuple[Run, ...] = (),
) -> Report:
    # One `now` from the start: a scope that ends with it ends now, by a clock that goes on too.
    rows = list(session.scalars(select(Organisation).order_by(Organisation.id)))
    about = _about(rows, scope, counted, runs)
    by_id = {row.id: row for row in rows}
    names = {row.id: row.name for row in rows}
    money = sums.amounts(session, scope)
    stands = _standing(session, scope, about, now)
    broken = _broken(session, about) if period is None or _is_recent(period, now) else []
    since: list[sums.Standing] = []
    if period and not stands and period.end <= now <= period.end + _LATELY:
        # Who reads that nothing is to do believes it of now.
        since = _standing(session, replace(scope, end=now), about, now)
    apart = {row.id for row in broken}
    troubles = _troubles(runs)
    ids = [row.id for row in about]
    links = services.links
    of = urlencode(
        {"org": scope.organisation_id} if scope.organisation_id and len(rows) > 1 else {}
    )
    return Report(
        kind=kind,
        scope=scope,
        zone=zone,
        organisations=tuple(row.name for row in about),
        tally=_tally(counted),
        money=_by_currency(money),
        lines=_lines(counted, money, names),
        fresh=tuple(_cause(services, names, one) for one in stands if one.fresh),
        still=tuple(
            sorted(
                (_cause(services, names, one) for one in stands if not one.fresh),
                key=lambda one: one.since,
            )
        ),
        troubles=troubles,
        need=sum(one.count for one in stands)
        + len(_troubles(run for run in runs if run.organisation_id not in apart)),
        since=sum(one.count for one in since),
        broken=tuple(row.name for row in broken),
        went=tuple(
            _went(services, by_id, entry) for entry in sums.went(session, scope, MOST_RECORDS)
        ),
        waits=tuple(
            Wait(
                names[one.organisation_id],
                one.count,
                one.blocked,
                one.oldest,
                held_sentence(session, by_id[one.organisation_id], now),
            )
            for one in sums.waiting(session, ids, scope.modules)
        ),
        calls=_calls(session, about, now),
        made_at=now,
        period=period,
        parts=parts,
        before=before,
        asleep=asleep,
        runs=runs,
        connect_url=links.page("api-details"),
        queue_url=links.page(f"queue?state=failed&{of}" if of else "queue?state=failed"),
        logs_url=links.page(f"logs?{of}" if of else "logs"),
        runs_urls={run.id: links.page(f"runs/{run.id}") for run in runs},
    )


def _standing(
    session: Session, scope: Scope, about: Sequence[Organisation], now: datetime
) -> list[sums.Standing]:
    """What stood failed in the organisations that a report is about, when its time ended."""
    ids = {row.id for row in about}
    return [one for one in sums.standing(session, scope, now=now) if one.organisation_id in ids]


def _troubles(runs: Iterable[Run]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(run.sentence for run in runs if run.trouble and run.sentence))


def _broken(session: Session, about: Sequence[Organisation]) -> list[Organisation]:
    """Those that a person must connect again, or whose consent somebody took away."""
    connections = profiles.broken_connections(session)
    return [
        row
        for row in about
        if row.connection_id is not None and (row.removed or row.connection_id in connections)
    ]


def _is_recent(period: Period, now: datetime) -> bool:
    """Whether it is the present period or the one before: what stands now belongs to its report."""
    present = Period.of(period.kind, now.astimezone(zones.zone(period.zone)).date(), period.zone)
    return period.first >= present.before.first


def _about(
    rows: Sequence[Organisation], scope: Scope, counted: Sequence[sums.Count], runs: Sequence[Run]
) -> list[Organisation]:
    """The organisations that a report is about: those of its runs, else all that are connected.

    One that was disconnected since is among them if it was asked for, or if something of it was
    counted.
    """
    if runs:
        homes = {run.organisation_id for run in runs}
        return [row for row in rows if row.id in homes]
    if scope.organisation_id is not None:
        return [row for row in rows if row.id == scope.organisation_id]
    seen = {one.organisation_id for one in counted}
    return [row for row in rows if row.chosen or row.id in seen]


def _tally(counted: Iterable[sums.Count]) -> Tally:
    found: dict[str, int] = {}
    for one in counted:
        found[one.outcome] = found.get(one.outcome, 0) + one.count
    return Tally(
        succeeded=found.get(State.SUCCEEDED, 0),
        unchanged=found.get(State.UNCHANGED, 0),
        failed=found.get(State.FAILED, 0) + found.get(State.CHECK, 0),
        blocked=found.get(State.BLOCKED, 0),
    )


def _by_currency(money: Mapping[tuple[int, str, str], Decimal]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for (_home, _module, currency), amount in sorted(money.items(), key=lambda one: one[0][2]):
        found[currency] = found.get(currency, Decimal(0)) + amount
    return found


def _lines(
    counted: Sequence[sums.Count],
    money: Mapping[tuple[int, str, str], Decimal],
    names: Mapping[int, str],
) -> tuple[ModuleLine, ...]:
    order = {module.value: place for place, module in enumerate(Module)}
    keys = sorted(
        {(one.organisation_id, one.module) for one in counted},
        key=lambda key: (key[0], order.get(key[1], len(order))),
    )
    lines = []
    for home, module in keys:
        mine = [one for one in counted if (one.organisation_id, one.module) == (home, module)]
        amounts = {
            currency: amount
            for (of, kind, currency), amount in sorted(money.items())
            if (of, kind) == (home, module)
        }
        tally = _tally(mine)
        if tally.all:
            lines.append(ModuleLine(names[home], module, tally, amounts))
    return tuple(lines)


def _cause(services: Services, names: Mapping[int, str], one: sums.Standing) -> Cause:
    wanted = {"state": "failed"} | ({"cause": one.cause} if one.cause else {})
    if len(names) > 1:
        wanted["org"] = str(one.organisation_id)
    url = services.links.page(f"queue?{urlencode(wanted)}")
    return Cause(names[one.organisation_id], one.sentence, one.count, one.since, one.labels, url)


def _went(services: Services, rows: Mapping[int, Organisation], entry: LogEntry) -> Went:
    resource = RESOURCE_OF.get(Module(entry.module))
    home = rows[entry.organisation_id]
    url = None
    if resource is not None and entry.xero_id:
        url = services.links.xero(home, resource, entry.xero_id)
    amount = None if entry.amount is None else Decimal(entry.amount)
    return Went(entry.label, entry.module, amount, entry.currency, url)


def _calls(session: Session, about: Sequence[Organisation], now: datetime) -> tuple[Calls, ...]:
    used = usage.of_day(session, now.date())
    return tuple(
        Calls(row.name, used[row.id].calls if row.id in used else 0, usage.left(row, now))
        for row in about
        if row.chosen
    )


def oldest(report: Report) -> timedelta | None:
    """How long the oldest record has been waiting, None where none waits."""
    return max((report.made_at - one.oldest for one in report.waits), default=None)

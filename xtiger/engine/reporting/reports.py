"""Reports by mail: who hears of which run and which period, written once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import Enum, auto

from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain import phrases, reporting
from xtiger.domain.errors import TransientError
from xtiger.domain.reporting import PERIODIC, Kind, Period
from xtiger.engine.reporting import figures, letters, subscriptions, words
from xtiger.engine.reporting.figures import Report
from xtiger.engine.reporting.letters import Written
from xtiger.engine.reporting.subscriptions import Choices, choices_of
from xtiger.engine.services import Services
from xtiger.store import logs, mailbox, profiles, sums
from xtiger.store.models import Mail, ReportPeriod, Run, RunMail, Subscription
from xtiger.telemetry import logger

#: Runs that nobody pressed are told together: one mail a subscription in so long a time.
TOGETHER = timedelta(minutes=15)
#: How many runs one mail tells of, at most; the rest goes with the next.
MOST_RUNS = 500
#: How often letters of a run are written anew for choices that changed meanwhile.
_ROUNDS = 3
#: After a fault of ours in one subscription's report it is tried again so much later.
_LATER = timedelta(minutes=15)
#: The longest pause before a run that can't be told is tried again.
_LATEST = timedelta(days=1)
#: The setting of runs that couldn't be told: by number, how often and until when they are left.
_BROKE = "report_runs_broke"

#: The reports of one look at what is due: kind, first day, zone, organisation, modules.
_Counted = dict[tuple[Kind, date, str, int | None, tuple[str, ...] | None], Report]

log = logger("reports")


class _Told(Enum):
    """Who wrote the mail about a period."""

    HERE = auto()
    ELSEWHERE = auto()  #: another process, or an earlier look
    NOBODY = auto()  #: there was nothing to tell, or not yet


def report_ended(services: Services) -> None:
    """What a tick does: tells ended runs and periods that are over, and sends what waits.

    A worker that dies in between leaves the rest to the next tick. What breaks of it keeps
    nothing else from going. Raises TransientError where the database is away.
    """
    for step in (
        _note_awake,
        subscriptions.take_in,
        _report_runs,
        tell_together,
        send_due,
        letters.send_waiting,
    ):
        try:
            step(services)
        except TransientError:
            raise
        except Exception:
            log.exception("reporting broke", step=step.__name__)


def _report_runs(services: Services) -> None:
    """Tells ended runs; one that can't be told is put off, the longer the more often it broke."""
    now = services.clock.now()
    with services.database.read() as session:
        ended = logs.unreported_runs(session)
        broke = profiles.setting(session, _BROKE) if ended else None
    held = {int(one): datetime.fromisoformat(kept["until"]) for one, kept in (broke or {}).items()}
    for run_id in ended:
        if run_id in held and held[run_id] > now:
            continue
        try:
            report_run(services, run_id)
        except TransientError:
            raise
        except Exception:
            log.exception("report broke", run=run_id)
            _put_off_run(services, run_id, now)


def _put_off_run(services: Services, run_id: int, now: datetime) -> None:
    """Notes that a run can't be told, and for how long to leave it; after two weeks for good."""
    with services.database.write() as session:
        run = session.get_one(Run, run_id, with_for_update=True)
        if run.ended_at is not None and now - run.ended_at >= letters.MOST_AGE:
            run.reported = True
        kept = dict(profiles.hold_setting(session, _BROKE).value or {})
        times = int(kept.get(str(run_id), {}).get("times", 0)) + 1
        until = now + min(_LATER * 2 ** min(10, times - 1), _LATEST)
        # Those that were told in the end, or never will be, needn't be remembered.
        still = {str(one) for one in logs.unreported_runs(session)}
        kept |= {str(run_id): {"times": times, "until": until.isoformat()}}
        kept = {one: value for one, value in kept.items() if one in still}
        profiles.put_setting(session, _BROKE, kept, who="XTiger", now=now)


def _note_awake(services: Services) -> None:
    now = services.clock.now()
    with services.database.read() as session:
        if mailbox.noted_lately(session, now=now):
            return
    with services.database.write() as session:
        mailbox.note_awake(session, now=now)


# -- after a sync ------------------------------------------------------------------------------


def report_run(services: Services, run_id: int) -> None:
    """Notes who hears of an ended run; of one that a person asked for, the mail is written now.

    A run that is reported already is told nobody again: (run, mailbox) is unique. Letters are
    written first, which takes its time; if somebody was put in or taken out, or chose anew,
    meanwhile, they are written once more. After a few such rounds the next look goes on.
    """
    for _round in range(_ROUNDS):
        with services.database.read() as session:
            run = session.get_one(Run, run_id)
            asked = mailbox.readers(session, run.organisation_id)
        if run.reported or _noted(services, run, asked):
            return


def _noted(services: Services, run: Run, asked: Sequence[Subscription]) -> bool:
    """Whether a run is noted as reported; False where those who asked changed meanwhile."""
    found: dict[tuple[str, ...], Report] = {}
    hears = []
    for row in asked:
        modules = tuple(row.modules or ())
        if modules not in found:
            found[modules] = figures.of_runs(services, [run.id], zone=row.zone, modules=row.modules)
        if _worth(services, run, row, found[modules]):
            hears.append(row)
    at_once = run.kind == "instant"
    written = {row.id: _of_runs(services, [run.id], row) for row in hears} if at_once else {}
    now = services.clock.now()
    with services.database.write() as session:
        # Whoever is taken out or stops now waits for us, and then takes back what is noted here.
        present = mailbox.readers(session, run.organisation_id, locked=True)
        held = session.get_one(Run, run.id, with_for_update=True, populate_existing=True)
        if held.reported:
            return True
        if _chosen(present) != _chosen(asked):
            return False
        held.reported = True
        told = set(session.scalars(select(RunMail.mailbox).where(RunMail.run_id == held.id)))
        for row in hears:
            if row.mailbox in told:
                continue
            mail = None
            if at_once:
                mail = _put(session, services, row, [held], written[row.id], now)
            session.add(
                RunMail(
                    run_id=held.id,
                    mailbox=row.mailbox,
                    subscription_id=row.id,
                    mail_id=mail.id if mail else None,
                )
            )
        return True


def _chosen(rows: Sequence[Subscription]) -> dict[int, Choices]:
    return {row.id: choices_of(row) for row in rows}


def _worth(services: Services, run: Run, reader: Subscription, report: Report) -> bool:
    """Whether a run says anything new to somebody.

    Nothing done is no news, nor is the same trouble again. What a person asked for is told,
    where it did anything at all.
    """
    tally = report.tally
    trouble = run.trouble and not _same_trouble(services, run)
    if reader.only_failed and not (report.fresh or trouble):
        return bool(run.kind == "instant" and tally.failed)
    if tally.succeeded + tally.unchanged + tally.blocked or report.fresh or trouble:
        return True
    return bool(run.kind == "instant" and tally.all)


def _same_trouble(services: Services, run: Run) -> bool:
    with services.database.read() as session:
        before = session.scalar(
            select(Run)
            .where(Run.organisation_id == run.organisation_id, Run.id < run.id)
            .order_by(Run.id.desc())
            .limit(1)
        )
    return before is not None and before.sentence == run.sentence


def _of_runs(services: Services, run_ids: Sequence[int], reader: Subscription) -> Written:
    report = figures.of_runs(services, run_ids, zone=reader.zone, modules=reader.modules)
    return words.written(services, report, language=reader.language, reader=reader)


def _put(
    session: Session,
    services: Services,
    reader: Subscription,
    runs: Sequence[Run],
    letter: Written,
    now: datetime,
) -> Mail:
    homes = {run.organisation_id for run in runs}
    return letters.put(
        session,
        services,
        kind=Kind.AFTER_SYNC,
        letter=letter,
        reader=reader,
        organisation_id=homes.pop() if len(homes) == 1 else None,
        run_id=runs[0].id if len(runs) == 1 else None,
        now=now,
    )


def tell_together(services: Services) -> None:
    """Writes the mails about runs that nobody pressed: the first at once, the next ones together.

    A subscription hears of them at most every TOGETHER, however many there were.
    """
    now = services.clock.now()
    with services.database.read() as session:
        rows = [
            row
            for row in (
                session.get(Subscription, one) for one in mailbox.with_runs_waiting(session)
            )
            if row is not None and _may_hear(row, now)
        ]
    for row in rows:
        try:
            _tell(services, row)
        except TransientError:
            raise
        except Exception:
            # One report that can't be written must not keep the others from going.
            log.exception("report broke", subscription=row.id)
            _put_off(services, row.id)


def _may_hear(row: Subscription, now: datetime) -> bool:
    # A clock that was put back must not keep anybody waiting.
    return row.grouped_at is None or not now - TOGETHER < row.grouped_at <= now


def _tell(services: Services, row: Subscription) -> None:
    with services.database.read() as session:
        waiting = [one.run_id for one in mailbox.waiting_runs(session, row.id)][:MOST_RUNS]
        runs = [
            run
            for run in sums.runs(session, waiting)
            # A reader of another organisation by now hears no more of what waits of this one.
            if row.organisation_id in (None, run.organisation_id)
        ]
    if not waiting:
        return
    letter = None
    if runs and row.after_sync and row.stopped_at is None:
        ids = [run.id for run in runs]
        report = figures.of_runs(services, ids, zone=row.zone, modules=row.modules)
        # Of the modules that are chosen by now there may be nothing to tell.
        if not report.quiet:
            letter = words.written(services, report, language=row.language, reader=row)
    now = services.clock.now()
    with services.database.write() as session:
        held = mailbox.lock(session, row.id)
        if held is None or not _may_hear(held, now):
            return
        if choices_of(held) != choices_of(row):
            return  # written for what was chosen before; the next look writes it anew
        rows = [one for one in mailbox.waiting_runs(session, row.id) if one.run_id in set(waiting)]
        if [one.run_id for one in rows] != waiting:
            return  # somebody else told some of them meanwhile
        if letter is None or held.stopped_at is not None:
            for one in rows:
                session.delete(one)
            return
        mail = _put(session, services, held, runs, letter, now)
        held.grouped_at = now
        told = {run.id for run in runs}
        for one in rows:
            if one.run_id in told:
                one.mail_id = mail.id
            else:
                session.delete(one)


def _put_off(services: Services, subscription_id: int) -> None:
    now = services.clock.now()
    with services.database.write() as session:
        row = mailbox.lock(session, subscription_id)
        if row is not None:
            row.grouped_at = now


# -- daily, weekly, monthly --------------------------------------------------------------------


def send_due(services: Services) -> int:
    """Writes the reports of periods that are over; answers with how many mails that are.

    Each period of a subscription is claimed in the transaction that writes its mail: whoever
    looks how often, in however many processes, it is written once. What nobody was awake for is
    caught up, the newest few one by one.
    """
    now = services.clock.now()
    with services.database.read() as session:
        ids = mailbox.due_for_period(session, now=now)
    made = 0
    counted: _Counted = {}
    for one in ids:
        if services.stopping():
            break
        try:
            made += _catch_up(services, one, now, counted)
        except TransientError:
            raise
        except Exception:
            log.exception("report broke", subscription=one)
            with services.database.write() as session:
                row = mailbox.lock(session, one)
                if row is not None:
                    row.next_at = now + _LATER
    return made


def _catch_up(services: Services, subscription_id: int, now: datetime, counted: _Counted) -> int:
    """Writes what is due for one subscription, and notes when to look again."""
    with services.database.read() as session:
        row = session.get(Subscription, subscription_id)
        if row is None:
            return 0
        last = {kind: mailbox.last_period(session, row.id, kind, over=now) for kind in PERIODIC}
    made = 0
    for kind in PERIODIC:
        if not getattr(row, kind):
            continue
        had = last[kind]
        due = reporting.due(
            kind,
            now,
            hour=row.hour,
            zone=row.zone,
            last=had.starts_on if had else None,
            since=getattr(row, f"{kind}_from") or row.made_at,
        )
        notes = _left_out(row.language, due.left_out)
        for period in due.periods:
            told = _write_period(services, row, period, notes, counted)
            made += told is _Told.HERE
            if told is not _Told.NOBODY:
                notes = []
    with services.database.write() as session:
        held = mailbox.lock(session, row.id)
        # Choices that changed meanwhile ask for another look.
        if held is not None and held.next_at == row.next_at:
            held.next_at = subscriptions.next_look(held, now)
    return made


def _left_out(language: str, periods: Sequence[Period]) -> list[str]:
    if not periods:
        return []
    first, last = (phrases.period_words(language, one) for one in (periods[0], periods[-1]))
    return [phrases.say(language, "left out", count=len(periods), first=first, last=last)]


def _figures(services: Services, row: Subscription, period: Period, known: _Counted) -> Report:
    """A period's report, counted once for all who chose the same."""
    modules = None if row.modules is None else tuple(sorted(row.modules))
    key = (period.kind, period.first, row.zone, row.organisation_id, modules)
    if key not in known:
        known[key] = figures.of_period(
            services,
            period.kind,
            period.first,
            zone=row.zone,
            organisation_id=row.organisation_id,
            modules=modules,
        )
    return known[key]


def _write_period(
    services: Services,
    row: Subscription,
    period: Period,
    notes: Sequence[str],
    counted: _Counted,
) -> _Told:
    """Claims one period and writes its mail in the same transaction."""
    report = _figures(services, row, period, counted)
    good = not (report.need or report.broken or report.tally.failed)
    silent = row.only_failed and good
    letter = None
    if not silent:
        letter = words.written(services, report, language=row.language, reader=row, notes=notes)
    now = services.clock.now()
    with services.database.write() as session:
        held = mailbox.lock(session, row.id)
        if held is None or held.stopped_at is not None or choices_of(held) != choices_of(row):
            return _Told.NOBODY  # what was chosen meanwhile asks for another look
        had = mailbox.claimed(session, row.id, period.kind, period.first)
        if had is not None:
            return _Told.NOBODY if had.mail_id is None else _Told.ELSEWHERE
        claim = ReportPeriod(
            subscription_id=row.id,
            kind=period.kind.value,
            starts_on=period.first,
            ends_on=period.behind,
            start=period.start,
            end=period.end,
            zone=period.zone,
            why="Nothing failed." if silent else None,
            made_at=now,
        )
        session.add(claim)
        session.flush()
        if letter is None:
            return _Told.NOBODY
        mail = letters.put(
            session,
            services,
            kind=period.kind,
            letter=letter,
            reader=held,
            organisation_id=row.organisation_id,
            period_id=claim.id,
            now=now,
        )
        claim.mail_id = mail.id
        return _Told.HERE

"""What one look comes to: which alerts open and end, and who hears of what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from xtiger.domain import alerting, reporting
from xtiger.domain.alerting import ORDER, RULES, Finding, Kind, Told
from xtiger.engine.alerting import failing, trouble, words
from xtiger.engine.alerting.trouble import View
from xtiger.engine.reporting import letters
from xtiger.engine.reporting.letters import Written
from xtiger.engine.services import Services
from xtiger.store import alerts
from xtiger.store import failing as facts
from xtiger.store.models import Alert, Subscription
from xtiger.telemetry import logger

_DAY = timedelta(days=1)
#: The kinds of which a reader who chose modules hears less.
_OF_MODULES = (Kind.FAILURES, Kind.PAUSED)
#: What a look knows of a finding and needn't keep.
_OF_A_LOOK = ("opened", "where")

log = logger("alerts")


@dataclass(slots=True)
class Case:
    """One alert while a look decides about it; `told` by mailbox, as kept in its details."""

    alert: Alert
    finding: Finding
    told: dict[str, Told]
    #: It was found by this look, and may be told.
    seen: bool = True
    #: It is over now; `mended`: so that those who were told are told so.
    over: bool = False
    mended: bool = False

    @property
    def kind(self) -> Kind:
        return self.finding.kind


def judged(view: View, found: Iterable[Finding]) -> list[Case]:
    """The alerts that are open now, new ones among them, and those that are over."""
    for alert in view.standing.values():
        _righted(alert, view.now)
    compared = alerting.judge(view.standing, found)
    cases = []
    for new in compared.opened:
        alert = Alert(
            kind=new.kind.value,
            organisation_id=new.organisation_id,
            key=new.key,
            opened_at=view.now,
            times_mailed=0,
        )
        cases.append(_seen(view, alert, new))
    cases += [_seen(view, view.standing[name], each) for name, each in compared.seen.items()]
    cases += [_unseen(view, view.standing[name]) for name in compared.unseen]
    return sorted(cases, key=lambda one: (ORDER[one.kind], one.alert.opened_at))


def _righted(alert: Alert, now: datetime) -> None:
    """What a clock that ran ahead left counts as now: else nothing is told or over until then."""
    alert.opened_at = min(alert.opened_at, now)
    alert.last_seen_at = min(alert.last_seen_at, now)


def _seen(view: View, alert: Alert, finding: Finding) -> Case:
    if finding.kind is Kind.FAILURES:
        # Its end tells of so many causes as it ever had.
        most = max(int((alert.details or {}).get("most") or 0), finding.details.get("number", 1))
        finding = replace(finding, details={**finding.details, "most": most})
    alert.last_seen_at = view.now
    alert.sentence = words.sentence(finding, view.now)
    return Case(alert, finding, _told(alert, view.now))


def _unseen(view: View, alert: Alert) -> Case:
    """One that isn't found any more: over after a while, unless its records are still retried."""
    case = Case(alert, trouble.after(view, alert), _told(alert, view.now), seen=False)
    became = None
    if case.kind is Kind.FAILURES:
        became = failing.fate(view.session, alert)
        if became.open:
            alert.last_seen_at = view.now
            alert.sentence = words.retried(case.finding, view.now)
            return case
        case.finding = failing.ended(case.finding, became)
    if alerting.over(case.kind, last_seen_at=alert.last_seen_at, now=view.now):
        case.over, case.mended = True, trouble.mended(view, alert, became)
        alert.closed_at = view.now
    return case


def _told(alert: Alert, now: datetime) -> dict[str, Told]:
    return {mailbox: one.righted(now) for mailbox, one in _kept(alert).items()}


def _kept(alert: Alert) -> dict[str, Told]:
    kept = (alert.details or {}).get("told") or {}
    return {mailbox: Told.of(one) for mailbox, one in kept.items()}


@dataclass(frozen=True, slots=True)
class _Heard:
    """One alert as one reader hears of it, by the modules that they chose."""

    case: Case
    reader: Subscription
    finding: Finding
    seen: bool
    mended: bool

    @property
    def told(self) -> Told | None:
        """What they heard of it before; of what was over for them meanwhile, nothing."""
        told = self.case.told.get(self.reader.mailbox)
        return None if told is not None and told.over else told


@dataclass(slots=True)
class _Letter:
    """One mail that is to be queued, and the alert it is filed under."""

    reader: Subscription
    cases: Sequence[Case]
    letter: Written


@dataclass(slots=True)
class Plan:
    """What one look comes to."""

    services: Services
    view: View
    cases: list[Case]
    readers: list[Subscription]
    letters: list[_Letter] = field(default_factory=list)
    #: Failures of some modules, by alert and modules: asked once for all who chose the same.
    narrow: dict[tuple[int, frozenset[str]], Finding] = field(default_factory=dict)
    #: The moments of the mails that each mailbox had of each kind within a day, this look's too.
    recent: dict[tuple[str, Kind], list[datetime]] = field(default_factory=dict)

    def decide(self) -> None:
        """Decides for each mailbox and kind whether it hears something now: at most one mail."""
        self.recent = self._recent()
        mailboxes = list(dict.fromkeys(row.mailbox for row in self.readers))
        for mailbox in mailboxes:
            rows = [row for row in self.readers if row.mailbox == mailbox]
            for kind in Kind:
                if not RULES[kind].mailed:
                    continue
                mine = [
                    heard
                    for case in self.cases
                    if case.kind is kind and (heard := self._heard(case, rows)) is not None
                ]
                self._tell(kind, mailbox, mine)
                self._tell_over(kind, mailbox, mine)
        for case in self.cases:
            self._keep(case)

    def _recent(self) -> dict[tuple[str, Kind], list[datetime]]:
        """The mails before this look: each alert that was in one knows those of its day."""
        now = self.view.now
        found: dict[tuple[str, Kind], set[datetime]] = {}
        for alert, told in [
            *((one, _kept(one)) for one in alerts.closed_since(self.view.session, now - _DAY)),
            *((case.alert, case.told) for case in self.cases),
        ]:
            for mailbox, one in told.items():
                found.setdefault((mailbox, Kind(alert.kind)), set()).update(one.mails)
        return {key: sorted(alerting.within_a_day(each, now)) for key, each in found.items()}

    # -- what one reader hears -----------------------------------------------------------------

    def _heard(self, case: Case, rows: Sequence[Subscription]) -> _Heard | None:
        """An alert as a mailbox hears of it by its rows; None: nothing of it is theirs.

        Any row that asks for it is enough; that it is over goes by the row that the mail went by.
        Who chose modules hears of the records of these, and of their pause; what holds a whole
        organisation concerns them, too.
        """
        fitting = _fitting(rows, case)
        if not fitting:
            return None
        had = case.told.get(fitting[0].mailbox)
        by = next((row for row in fitting if had and row.id == had.reader), fitting[0])
        reader = next((row for row in fitting if self._asks(case, row)), by)
        whole = _Heard(case, reader, case.finding, case.seen, case.mended)
        modules = _modules(fitting)
        if modules is None or case.kind not in _OF_MODULES:
            return whole
        if case.kind is Kind.PAUSED:
            return whole if not case.alert.key or case.alert.key in modules else None
        told = case.told.get(reader.mailbox)
        if not case.seen:
            return self._as_over(whole, modules, told) if case.mended and told else None
        finding = self._of_modules(case, modules)
        if finding.details["failing"]:
            if told is not None and told.gone_at is not None and not told.over:
                case.told[reader.mailbox] = replace(told, gone_at=None)
            return replace(whole, finding=finding)
        if told is None or told.over or told.by_report:
            return None
        return self._gone(whole, modules, told)

    def _asks(self, case: Case, row: Subscription) -> bool:
        """Whether a row alone would have an alert told: the mail's link ends that one."""
        if row.modules is None or case.kind not in _OF_MODULES:
            return True
        if case.kind is Kind.PAUSED:
            return not case.alert.key or case.alert.key in row.modules
        modules = frozenset(row.modules)
        return case.seen and bool(self._of_modules(case, modules).details["failing"])

    def _of_modules(self, case: Case, modules: frozenset[str]) -> Finding:
        name = id(case), modules
        if name not in self.narrow:
            self.narrow[name] = failing.of_modules(self.view.session, case.finding, modules)
        return self.narrow[name]

    def _gone(self, whole: _Heard, modules: frozenset[str], told: Told) -> _Heard | None:
        """Of a reader's modules nothing fails any more, though the alert stands for others."""
        case, now = whole.case, self.view.now
        became = failing.fate(self.view.session, case.alert, modules)
        gone_at = None if became.open else told.gone_at or now
        case.told[whole.reader.mailbox] = replace(told, gone_at=gone_at)
        if gone_at is None or not alerting.over(case.kind, last_seen_at=gone_at, now=now):
            return None
        return self._as_over(replace(whole, seen=False, mended=True), modules, told)

    def _as_over(self, heard: _Heard, modules: frozenset[str], told: Told) -> _Heard:
        """What is over in the words that the reader heard: the rest was never theirs."""
        alert = heard.case.alert
        finding = trouble.after(self.view, alert)
        # Who heard of all before they chose modules has no sentence of their own.
        sentence = told.sentence or finding.details.get("sentence")
        details = {**finding.details, "sentence": sentence, "causes": ()}
        became = failing.fate(self.view.session, alert, modules)
        return replace(heard, finding=failing.ended(replace(finding, details=details), became))

    # -- mails ---------------------------------------------------------------------------------

    def _tell(self, kind: Kind, mailbox: str, mine: Sequence[_Heard]) -> None:
        """The mail about what stands: what is due, and with it what goes along.

        Who reads of the failures in the report of their run isn't told the same again so soon.
        """
        now, name = self.view.now, (mailbox, kind)
        recent = self.recent.get(name, [])
        standing: list[tuple[_Heard, Told | None]] = []
        for heard in mine:
            if not heard.seen:
                continue
            told = self._told_of(heard)
            if told is None and (reports := self._in_report(heard)):
                heard.case.told[mailbox] = Told(
                    1, now, by_report=True, reports=tuple(reports), earlier=tuple(recent)
                )
                continue
            standing.append((heard, told))
        moments = [(heard.case.alert.opened_at, told) for heard, told in standing]
        places = alerting.together(kind, moments, recent=recent, now=now)
        if not places:
            return
        told_now = [standing[place][0] for place in places]
        new = sum(standing[place][1] is None for place in places)
        for heard in told_now:
            had = heard.told
            told = had.again(now, recent) if had else Told(1, now, earlier=tuple(recent))
            if heard.finding is not heard.case.finding:
                told = replace(told, sentence=str(heard.finding.details.get("sentence") or ""))
            heard.case.told[mailbox] = replace(told, reader=told_now[0].reader.id)
        self.recent[name] = [*recent, now]
        again = min(filter(None, (self._next(heard.case, mailbox) for heard in told_now)))
        reader = told_now[0].reader
        findings = [heard.finding for heard in told_now]
        written = words.telling(
            self.services, kind, findings, reader, new=new, again=again, now=now
        )
        self.letters.append(_Letter(reader, [heard.case for heard in told_now], written))

    def _told_of(self, heard: _Heard) -> Told | None:
        """What a reader heard; from a report only while its mail wasn't given up."""
        told = heard.told
        if told is None or not told.reports or facts.reports_stand(self.view.session, told.reports):
            return told
        del heard.case.told[heard.reader.mailbox]
        return None

    def _in_report(self, heard: _Heard) -> list[int]:
        """The reports by which a reader hears of all that fails."""
        if heard.case.kind is not Kind.FAILURES:
            return []
        where = heard.finding.details.get("where") or ()
        return facts.reports_of(self.view.session, where, heard.reader.mailbox)

    def _next(self, case: Case, mailbox: str) -> datetime | None:
        told, recent = case.told.get(mailbox), self.recent.get((mailbox, case.kind), ())
        return alerting.due_at(case.kind, opened_at=case.alert.opened_at, told=told, recent=recent)

    def _tell_over(self, kind: Kind, mailbox: str, mine: Sequence[_Heard]) -> None:
        """The mail that it is over, to whom was mailed that it wasn't."""
        ended = [
            heard
            for heard in mine
            if heard.mended and (told := heard.told) is not None and not told.by_report
        ]
        if not ended:
            return
        for heard in ended:
            if heard.case.over:
                heard.case.alert.recovered_mailed_at = self.view.now
            else:
                heard.case.told[mailbox] = replace(heard.case.told[mailbox], over=True)
        reader = ended[0].reader
        findings = [heard.finding for heard in ended]
        written = words.recovery(self.services, kind, findings, reader, now=self.view.now)
        self.letters.append(_Letter(reader, [heard.case for heard in ended], written))

    # -- what is stored ------------------------------------------------------------------------

    def _keep(self, case: Case) -> None:
        """Puts what was decided into the alert's row."""
        details = case.finding.details
        kept = {key: value for key, value in details.items() if key not in _OF_A_LOOK}
        case.alert.details = kept | {
            "told": {mailbox: one.kept() for mailbox, one in case.told.items()}
        }
        mailed = [one for one in case.told.values() if not one.by_report]
        case.alert.times_mailed = max((one.times for one in mailed), default=0)
        case.alert.mailed_at = max((one.at for one in mailed), default=None)
        nexts = [self._next(case, mailbox) for mailbox, one in case.told.items() if not one.over]
        case.alert.next_mail_at = None if case.over else min(filter(None, nexts), default=None)

    def write(self, session: Session) -> int:
        """Stores the alerts and queues the mails; answers with their number."""
        kept = {id(case): session.merge(case.alert) for case in self.cases}
        session.flush()
        now = self.view.now
        for each in self.letters:
            rows = [kept[id(case)] for case in each.cases]
            about = {row.organisation_id for row in rows}
            letters.put(
                session,
                self.services,
                kind=reporting.Kind.ALERT,
                letter=each.letter,
                reader=each.reader,
                organisation_id=about.pop() if len(about) == 1 else None,
                alert_id=rows[0].id,
                now=now,
            )
        for case in self.cases:
            if case.alert.opened_at == now:
                log.warning("alert opened", kind=case.kind.value, sentence=case.alert.sentence)
            elif case.over:
                log.info("alert over", kind=case.kind.value, mended=case.mended)
        return len(self.letters)


def _fitting(rows: Sequence[Subscription], case: Case) -> list[Subscription]:
    """The rows of a mailbox that are about an alert's organisation, the one to write by first.

    One that asks for all modules goes before one that doesn't, where that matters, and then one
    to the organisation itself before one to all. What is wrong with the whole installation
    concerns everybody.
    """
    about = case.alert.organisation_id

    def order(row: Subscription) -> tuple[bool, bool]:
        less = case.kind in _OF_MODULES and row.modules is not None
        return less, (row.organisation_id is None) != (about is None)

    return sorted((row for row in rows if about in (None, row.organisation_id or about)), key=order)


def _modules(rows: Sequence[Subscription]) -> frozenset[str] | None:
    """The modules that any of the rows asks for; None: all."""
    if any(row.modules is None for row in rows):
        return None
    return frozenset(module for row in rows for module in row.modules or ())

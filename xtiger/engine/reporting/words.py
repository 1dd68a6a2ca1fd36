"""A report in words: the same ones in both parts of a mail, in the reader's language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from xtiger.domain import phrases, sheets, zones
from xtiger.domain.reporting import Kind, Period
from xtiger.engine.reporting import letters
from xtiger.engine.reporting.figures import MOST_CAUSES, MOST_RECORDS, Cause, Report, Tally
from xtiger.engine.reporting.letters import Frame, Written
from xtiger.engine.services import Services
from xtiger.store import sums
from xtiger.store.models import Subscription

#: Log entries that go along as a file, at most: about 5 MB, which every mail server takes.
MOST_ENTRIES = 20_000
#: How wide the longest bar is, in signs of the text part.
BAR = 40
#: How many times without anybody at work are named.
MOST_GAPS = 3
_COLUMNS = (
    *("Time", "Organisation", "Module", "CRM id", "Record", "Xero id", "Action", "Outcome"),
    *("Sentence", "Xero says", "Amount", "Currency", "Duration ms", "Run", "Place"),
)


@dataclass(frozen=True, slots=True)
class CauseWords:
    """A line below “Needs somebody”."""

    count: str
    sentence: str
    labels: str
    url: str


@dataclass(frozen=True, slots=True)
class Section:
    """“Needs somebody”, or “Still open since 18 Nov”, with its causes."""

    title: str
    causes: tuple[CauseWords, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table by module: name, figures, sums."""

    name: str
    figures: tuple[str, ...]
    money: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: `width` of BAR, as in the text part; `percent` of the longest one."""

    label: str
    value: str
    width: int
    percent: int


@dataclass(frozen=True, slots=True)
class Gone:
    """A record that went over."""

    module: str
    label: str
    money: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Words:
    """All that a report's mail says."""

    subject: str
    title: str
    sentence: str
    notes: tuple[str, ...]
    figures: tuple[tuple[str, str], ...]
    money: tuple[str, ...]
    before: tuple[str, ...]
    sections: tuple[Section, ...]
    more_causes: str
    links: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    chart: str
    bars: tuple[Bar, ...]
    waits: tuple[str, ...]
    went: tuple[Gone, ...]
    more_went: str
    calls: tuple[str, ...]
    file: str
    runs: tuple[tuple[str, str], ...]
    times: str


def name_of(language: str, names: Sequence[str]) -> str:
    """Acme NZ · Acme NZ and Kauri · 3 organisations."""
    if len(names) == 1:
        return names[0]
    if len(names) == 2:
        return phrases.say(language, "and", first=names[0], second=names[1])
    if not names:
        return phrases.say(language, "no organisation")
    return phrases.say(language, "organisations", count=len(names))


def headline(language: str, report: Report) -> str:
    """208 synced, 3 need you · 208 synced, nothing to do · must be connected again; 208 synced."""
    synced = _synced(language, report.tally)
    if report.quiet and report.held_up:
        return f"{synced}, {phrases.say(language, 'still waiting', count=report.held_up)}"
    if not report.broken:
        return f"{synced}, {_rest(language, report)}"
    rest = f"{synced}, {_rest(language, report)}" if report.need else synced
    # The subject has named the one that a report is about.
    return _connect(language, report, rest, named=len(report.organisations) > 1)


def _connect(language: str, report: Report, rest: str, *, named: bool = True) -> str:
    """What must be connected again, before the rest."""
    return phrases.say(
        language,
        "sentence.connect",
        names=name_of(language, report.broken) if named else "",
        connect=phrases.say(language, "connect", count=len(report.broken)),
        rest=rest,
    ).strip()


def subject_of(language: str, report: Report) -> str:
    """`[XTiger] Acme NZ, 20 Nov: 412 synced, 3 need you`."""
    name = " ".join(name_of(language, report.organisations).split())
    rest = headline(language, report)
    if report.period is None:
        return phrases.say(language, "subject", name=name, rest=rest)
    period = phrases.period_words(language, report.period)
    return phrases.say(language, "subject.period", name=name, period=period, rest=rest)


def sentence_of(language: str, report: Report) -> str:
    """What a manager must know first."""
    if report.quiet and report.period is not None:
        return _quiet(language, report, report.period)
    synced = _synced(language, report.tally)
    if report.broken:
        rest = f"{synced}, {_rest(language, report)}" if report.need else synced
        return f"{_connect(language, report, rest)}."
    if report.need or report.since:
        return phrases.say(language, "sentence.need", synced=synced, need=_rest(language, report))
    if report.tally.blocked:
        return phrases.say(language, "sentence.wait", synced=synced, count=report.tally.blocked)
    return phrases.say(language, "sentence.done", synced=synced)


def _synced(language: str, tally: Tally) -> str:
    return phrases.say(language, "synced", count=tally.succeeded)


def _rest(language: str, report: Report) -> str:
    if report.need:
        return phrases.say(language, "need", count=report.need)
    if report.since:
        return phrases.say(language, "need since", count=report.since)
    return phrases.say(language, "nothing to do")


def _quiet(language: str, report: Report, period: Period) -> str:
    kind = report.kind
    words = phrases.period_words(language, period)
    if report.held_up:
        said = [phrases.say(language, f"held up.{kind}", period=words, count=report.held_up)]
    else:
        said = [phrases.say(language, f"quiet.{kind}", period=words)]
    # Only of what is over can be said that XTiger was there all the time.
    if report.asleep == () and report.made_at >= period.end:
        said.append(phrases.say(language, f"awake.{kind}"))
    return " ".join(said)


def words_of(report: Report, *, language: str, notes: Sequence[str] = (), file: str = "") -> Words:
    """A report in the words of a language; `notes` follow its first sentence."""
    say = _Saying(language, report.zone)
    tally = report.tally
    listed = [*report.fresh[:MOST_CAUSES]]
    still = [*report.still[: MOST_CAUSES - len(listed)]]
    left = len(report.fresh) + len(report.still) - len(listed) - len(still)
    several = len(report.organisations) > 1
    return Words(
        subject=subject_of(language, report),
        title=f"{say(report.kind.value)} · {name_of(language, report.organisations)}",
        sentence=sentence_of(language, report),
        notes=(*notes, *_asleep(say, report)),
        figures=tuple(
            (say(name), say.number(figure))
            for name, figure in (
                ("Succeeded", tally.succeeded),
                ("Unchanged", tally.unchanged),
                ("Failed", tally.failed),
                ("Blocked", tally.blocked),
            )
        ),
        money=tuple(
            say("sent", money=phrases.money(language, amount, currency))
            for currency, amount in report.money.items()
        ),
        before=_before(say, report),
        sections=_sections(say, listed, still, report.troubles, several=several),
        more_causes=say("and more", count=left) if left else "",
        links=_links(say, report),
        rows=_rows(say, report, several=several),
        chart=say(f"chart.{report.kind}"),
        bars=_bars(say, report),
        waits=_waits(say, report),
        went=tuple(
            Gone(
                one.module,
                one.label,
                "" if one.amount is None else phrases.money(language, one.amount, one.currency),
                one.url,
            )
            for one in report.went
        ),
        more_went=_more_went(say, report),
        calls=_calls(say, report),
        file=file,
        runs=tuple((say("Run", number=one), url) for one, url in _runs(report)),
        times=say("times", zone=phrases.local_time(language, report.zone)) if report.period else "",
    )


class _Saying:
    """The phrases of one language, and days and times of one zone."""

    def __init__(self, language: str, zone: str) -> None:
        self.language = language
        self._zone = zones.zone(zone)

    def __call__(self, phrase: str, /, **values: Any) -> str:
        return phrases.say(self.language, phrase, **values)

    def number(self, value: int) -> str:
        return phrases.number(self.language, value)

    def day(self, value: datetime | date) -> str:
        plain = value.astimezone(self._zone).date() if isinstance(value, datetime) else value
        return phrases.day(self.language, plain)

    def time(self, value: datetime) -> str:
        return f"{value.astimezone(self._zone):%H:%M}"

    def span(self, seconds: float, *, since: bool = True) -> str:
        return phrases.span(self.language, seconds, since=since)


def _asleep(say: _Saying, report: Report) -> list[str]:
    """When nobody worked in the period, if it is known."""
    if not report.asleep or report.period is None:
        return []
    gaps = report.asleep
    one_day = report.kind is Kind.DAILY
    spans = []
    for start, end in gaps[:MOST_GAPS]:
        begin = say.time(start) if one_day else f"{say.day(start)} {say.time(start)}"
        until = say.time(end) if one_day else f"{say.day(end)} {say.time(end)}"
        spans.append(say("asleep.span", start=begin, end=until))
    told = ", ".join(spans)
    if len(gaps) > MOST_GAPS:
        told = f"{told} {say('asleep.more', count=len(gaps) - MOST_GAPS)}"
    length = sum((end - start).total_seconds() for start, end in gaps)
    return [say("asleep", length=say.span(length, since=False), spans=told)]


def _before(say: _Saying, report: Report) -> tuple[str, ...]:
    """The change against the period before."""
    then, period = report.before, report.period
    if then is None or period is None or not (then.all or report.tally.all):
        return ()
    words = phrases.period_words(say.language, period.before)
    more = report.tally.succeeded - then.succeeded
    if more:
        change = say("more" if more > 0 else "fewer", count=abs(more))
        said = say(f"before.{report.kind}", change=change, period=words)
    else:
        said = say(f"same.{report.kind}", period=words)
    failed = say("failed.before", now=report.tally.failed, then=then.failed)
    return (said, failed) if report.tally.failed or then.failed else (said,)


def _sections(
    say: _Saying,
    fresh: Sequence[Cause],
    still: Sequence[Cause],
    troubles: Sequence[str],
    *,
    several: bool,
) -> tuple[Section, ...]:
    found = []
    if fresh or troubles:
        told = tuple(CauseWords("", sentence, "", "") for sentence in troubles)
        causes = tuple(_cause(say, one, several=several) for one in fresh)
        found.append(Section(say("Needs somebody"), told + causes))
    days: dict[str, list[CauseWords]] = {}
    for one in still:
        days.setdefault(say.day(one.since), []).append(_cause(say, one, several=several))
    found += [
        Section(say("Still open since", day=day), tuple(causes)) for day, causes in days.items()
    ]
    return tuple(found)


def _cause(say: _Saying, one: Cause, *, several: bool) -> CauseWords:
    count = say("records", count=one.count)
    labels = ", ".join(one.labels)
    if len(one.labels) < one.count and labels:
        labels = say("first ones", labels=labels)
    return CauseWords(
        f"{one.organisation}: {count}" if several else count, one.sentence, labels, one.url
    )


def _links(say: _Saying, report: Report) -> tuple[tuple[str, str], ...]:
    """Where what needs somebody is mended: the Queue doesn't connect an organisation again."""
    found = []
    if report.broken:
        found.append((say("Reconnect"), report.connect_url))
    if report.need or report.since:
        found.append((say("Open the Queue"), report.queue_url))
    return tuple(found)


def _rows(say: _Saying, report: Report, *, several: bool) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"{line.module} · {line.organisation}" if several else line.module,
            tuple(
                say.number(figure)
                for figure in (
                    line.tally.succeeded,
                    line.tally.unchanged,
                    line.tally.failed,
                    line.tally.blocked,
                )
            ),
            tuple(
                phrases.money(say.language, amount, currency)
                for currency, amount in line.money.items()
            ),
        )
        for line in report.lines
    )


def _bars(say: _Saying, report: Report) -> tuple[Bar, ...]:
    most = max((part.succeeded for part in report.parts), default=0)
    if not most:
        return ()
    bars = []
    for part in report.parts:
        if report.kind is Kind.DAILY:
            label = f"{say.time(part.start)}–{say.time(part.end)}"
        elif report.kind is Kind.WEEKLY:
            label = f"{phrases.weekday(say.language, part.day)} {say.day(part.day)}"
        else:
            label = f"{say('from')} {say.day(part.day)}"
        # What is not nothing shows.
        width = -(-part.succeeded * BAR // most)
        percent = -(-part.succeeded * 100 // most)
        bars.append(Bar(label, say.number(part.succeeded), width, percent))
    return tuple(bars)


def _waits(say: _Saying, report: Report) -> tuple[str, ...]:
    told = []
    for one in report.waits:
        age = say.span((report.made_at - one.oldest).total_seconds())
        told.append(say("waits", name=one.organisation, count=one.count, age=age))
        if one.blocked:
            phrase = "waits.blocked.alone" if one.count == 1 else "waits.blocked"
            told[-1] += " " + say(phrase, count=one.blocked)
        if one.why:
            told[-1] += " " + one.why
    return tuple(told)


def _more_went(say: _Saying, report: Report) -> str:
    more = report.tally.succeeded - len(report.went)
    if more <= 0 or len(report.went) < MOST_RECORDS:
        return ""
    return say("and more went.plain", count=more)


def _calls(say: _Saying, report: Report) -> tuple[str, ...]:
    told = []
    if report.runs:
        told.append(say("calls.run", count=sum(run.calls for run in report.runs)))
    for one in report.calls:
        if one.left is None:
            told.append(say("calls.used", name=one.organisation, count=one.used))
        else:
            told.append(say("calls", name=one.organisation, count=one.used, left=one.left))
    return tuple(told)


def _runs(report: Report) -> list[tuple[int, str]]:
    """The runs with their links; of many only the first and the last ones."""
    found = list(report.runs_urls.items())
    return found if len(found) <= 6 else [*found[:3], *found[-3:]]


def written(
    services: Services,
    report: Report,
    *,
    language: str = "en",
    reader: Subscription | None = None,
    notes: Sequence[str] = (),
) -> Written:
    """The mail of a report, to a reader or (None) as anybody may see it."""
    name = content = None
    told = ""
    if reader is not None and reader.attach_csv:
        name, content, told = _file(services, report, language)
    words = words_of(report, language=language, notes=notes, file=told)
    frame: Frame | None = None
    if reader is not None:
        frame = letters.frame_of(services, report.kind, reader)
    text, html = letters.render("report", language, subject=words.subject, words=words, frame=frame)
    return Written(words.subject, text, html, content, name)


def _file(services: Services, report: Report, language: str) -> tuple[str, bytes, str]:
    """The log entries behind a report: the file's name, the file, and what the mail says of it."""
    with services.database.read() as session:
        rows, count = sums.entries(session, report.scope, limit=MOST_ENTRIES)
        names = sums.names(session)
    lines = sheets.lines(
        _COLUMNS,
        (
            [
                row.at,
                names.get(row.organisation_id, ""),
                row.module,
                row.record_id,
                row.label,
                row.xero_id,
                row.action,
                row.outcome,
                row.sentence,
                " | ".join(row.quoted or []),
                row.amount,
                row.currency,
                row.duration_ms,
                row.run_id,
                row.item_id,
            ]
            for row in rows
        ),
    )
    when = report.period.first if report.period else report.made_at.date()
    name = f"xtiger-{report.kind.value.replace('_', '-')}-{when.isoformat()}.csv"
    if count > len(rows):
        told = phrases.say(language, "csv.cut", name=name, count=len(rows), all=count)
    else:
        told = phrases.say(language, "csv", name=name, count=count)
    return name, "".join(lines).encode(), told

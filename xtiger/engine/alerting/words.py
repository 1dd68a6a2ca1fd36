"""What an alert, or its end, says to one reader: subject, sentence, what to do, and a link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from xtiger.domain import phrases, reporting, zones
from xtiger.domain.alert_phrases import opening, say
from xtiger.domain.alerting import Finding, Kind
from xtiger.engine.reporting.letters import Written, frame_of, render
from xtiger.engine.services import Services
from xtiger.store.alerts import EXACT
from xtiger.store.models import Subscription

#: What one mail lists: organisations, causes, and records of a cause.
_MOST = 10
#: Signs of a logged sentence, and of a record's name.
_LONGEST, _LONGEST_NAME = 600, 60
#: Hours up to which a length of time is said in hours.
_HOURS = 72
#: The page of ours that helps.
PATHS = {
    Kind.DISCONNECTED: "api-details",
    Kind.WORKER: "queue",
    Kind.NOTHING: "queue",
    Kind.DAY_LIMIT: "queue",
    Kind.FAILURES: "queue?state=failed",
    Kind.PAUSED: "queue",
    Kind.WEBHOOKS: "api-details",
    Kind.MAIL: "reports?state=waiting",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One organisation of a mail, or one cause: `count` stands before a cause."""

    sentence: str
    advice: str = ""
    count: str = ""
    labels: str = ""
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """A whole mail in words."""

    subject: str
    title: str
    sentence: str
    parts: Sequence[Part] = ()
    more: str = ""
    advice: str = ""
    link: str = ""
    url: str = ""
    again: str = ""
    times: str = ""


@dataclass(frozen=True, slots=True)
class Voice:
    """The language, the zone and the moment in which something is said."""

    language: str
    zone: str
    now: datetime

    def say(self, phrase: str, /, **values: Any) -> str:
        """A phrase of alerts."""
        return say(self.language, phrase, **values)

    def time(self, told: str | None) -> str:
        """20 Nov, 18:02: a moment as details hold it, by the reader's clock."""
        if not told:
            return "–"
        local = datetime.fromisoformat(told).astimezone(zones.zone(self.zone))
        return f"{phrases.day(self.language, local.date())}, {local:%H:%M}"

    def length(self, begun: str | None, *, since: bool = True) -> str:
        """26 h, 4 days: how long something has lasted; `since` as in phrases.span."""
        if not begun:
            return "–"
        seconds = (self.now - datetime.fromisoformat(begun)).total_seconds()
        if 3600 <= seconds < _HOURS * 3600:
            return self.say("hours", count=int(seconds // 3600))
        return phrases.span(self.language, seconds, since=since)

    def counted(self, phrase: str, number: int, **more: Any) -> str:
        """214 records wait; more than are counted: 10,000+ records wait."""
        if number <= EXACT:
            return self.say(phrase, count=number, **more)
        return self.say(phrase, count=f"{phrases.number(self.language, EXACT)}+", **more)

    def values(self, finding: Finding) -> dict[str, Any]:
        """What the phrases of a finding are filled with."""
        told = finding.details
        waits = self.counted("waits", int(told.get("waiting") or 0))
        until = self.time(told.get("until")).removeprefix(self.time(self.now.isoformat())[:-5])
        return {
            "name": self.name(finding),
            "waits": waits,
            "Waits": opening(waits),
            "goes": opening(self.counted("goes", int(told.get("waiting") or 0), time=until)),
            "way": self.counted("way", int(told.get("waiting") or 0)),
            "time": self.time(told.get("since")),
            "length": self.length(told.get("since")),
            "why": str(told.get("why") or "")[:_LONGEST],
            "who": told.get("who") or "",
        }

    def name(self, finding: Finding) -> str:
        """The organisation, one of its modules, or everything."""
        name = str(finding.details.get("name") or "")
        if finding.organisation_id is None:
            return self.say("all")
        if finding.kind is Kind.PAUSED and finding.key:
            return self.say("module", module=finding.key, name=name)
        return name

    def sentence(self, finding: Finding) -> str:
        """What is wrong."""
        told, values = finding.details, self.values(finding)
        match finding.kind:
            case Kind.DISCONNECTED if told.get("removed") or not told.get("since"):
                phrase = "disconnected.sentence.removed"
            case Kind.NOTHING if told.get("no_worker"):
                phrase = "nothing.sentence.no worker"
            case Kind.NOTHING if finding.organisation_id is None:
                phrase = "nothing.sentence.all"
            case Kind.DAY_LIMIT if told.get("until"):
                phrase = "day_limit.sentence.until"
            case Kind.FAILURES:
                several = int(told.get("number") or 1)
                causes = self.say("causes", count=several)
                number = int(told.get("failing") or 0)
                head = self.counted("failures.sentence", number, name=values["name"], causes=causes)
                cause = str(told.get("sentence") or "")[:_LONGEST]
                if cause and several > 1:
                    cause = self.say("largest", sentence=cause)
                return f"{head} {cause}".strip()
            case Kind.MAIL:
                count = int(told.get("count") or 0)
                return self.counted("mail.sentence", count, time=values["time"], why=values["why"])
            case _:
                phrase = f"{finding.kind}.sentence"
        return opening(self.say(phrase, **values))

    def advice(self, finding: Finding) -> str:
        """What to do."""
        values = self.values(finding)
        if finding.kind is Kind.NOTHING and finding.details.get("no_worker"):
            return self.say("nothing.advice.no worker")
        if finding.kind is Kind.NOTHING and values["why"]:
            return self.say("nothing.advice.why", **values)
        return self.say(f"{finding.kind}.advice", **values)

    def over(self, finding: Finding) -> str:
        """That it is over."""
        values = self.values(finding)
        if finding.kind is Kind.FAILURES:
            cause = str(finding.details.get("sentence") or "")[:_LONGEST]
            out = self.say("failures.out") if finding.details.get("taken_out") else ""
            return f"{cause} {out}".strip()
        if finding.kind is Kind.NOTHING and finding.organisation_id is None:
            return self.say("nothing.over.sentence.all", **values)
        return opening(self.say(f"{finding.kind}.over.sentence", **values))

    def title(self) -> str:
        """What kind of mail it is."""
        return phrases.say(self.language, "alert")


def sentence(finding: Finding, now: datetime) -> str:
    """What is wrong, in English and UTC, as it is kept for pages."""
    return Voice("en", zones.UNKNOWN, now).sentence(finding)


def retried(finding: Finding, now: datetime) -> str:
    """The same of failures that none is any more, while their records wait to be tried again."""
    voice = Voice("en", zones.UNKNOWN, now)
    causes = voice.say("causes", count=_causes([finding], "most"))
    return opening(voice.say("failures.retried", name=voice.name(finding), causes=causes))


def telling(
    services: Services,
    kind: Kind,
    findings: Sequence[Finding],
    reader: Subscription,
    *,
    new: int,
    again: datetime | None,
    now: datetime,
) -> Written:
    """The mail that tells one reader of all that is wrong of one kind.

    The first `new` findings are those they never heard of: they stand first, else ten old causes
    with more records would leave no room for them.
    """
    voice = Voice(reader.language, reader.zone, now)
    told = list(findings)
    subject = _subject(voice, kind, told)
    more = _more(voice, len(told))
    if kind is Kind.FAILURES:
        listed = [*_by_size(told[:new]), *_by_size(told[new:])]
        parts = [_cause(services, voice, each, told) for each in listed[:_MOST]]
        more = _more(voice, sum(int(each.details.get("number") or 1) for each in told))
        headline, advice = phrases.ended(opening(_bare(subject))), voice.say("failures.advice")
    elif len(told) == 1:
        parts, headline, advice = [], voice.sentence(told[0]), voice.advice(told[0])
    else:
        # What all have in common is said once.
        common = {voice.advice(each) for each in told}
        advice = common.pop() if len(common) == 1 else ""
        parts = [
            Part(voice.sentence(each), "" if advice else voice.advice(each))
            for each in told[:_MOST]
        ]
        headline = phrases.ended(opening(_bare(subject)))
    words = Words(
        subject,
        voice.title(),
        headline,
        parts,
        more=more,
        advice=advice,
        link=voice.say(f"{kind}.link"),
        url=services.links.page(PATHS[kind]),
        again=voice.say("again", time=voice.time(again.isoformat())) if again else "",
        times=phrases.say(
            reader.language, "times", zone=phrases.local_time(reader.language, reader.zone)
        ),
    )
    return _written(services, words, reader)


def recovery(
    services: Services,
    kind: Kind,
    findings: Sequence[Finding],
    reader: Subscription,
    *,
    now: datetime,
) -> Written:
    """The mail that tells one reader that all of it is over."""
    voice = Voice(reader.language, reader.zone, now)
    told = list(findings)
    subject = _over_subject(voice, kind, told)
    more = _more(voice, len(told))
    if kind is Kind.FAILURES:
        listed = _each_cause(told)
        parts = [Part(voice.over(each)) for each in listed[:_MOST]]
        more = _more(voice, len(listed))
        headline = phrases.ended(opening(_bare(subject)))
    elif len(told) == 1:
        parts, headline = [], voice.over(told[0])
    else:
        parts = [Part(voice.over(each)) for each in told[:_MOST]]
        headline = phrases.ended(opening(_bare(subject)))
    words = Words(
        subject,
        voice.title(),
        headline,
        parts,
        more=more,
        advice=_lasted(voice, told[0]) if len(told) == 1 else "",
        link=voice.say("worker.link"),
        url=services.links.page("queue"),
    )
    return _written(services, words, reader)


def _written(services: Services, words: Words, reader: Subscription) -> Written:
    frame = frame_of(services, reporting.Kind.ALERT, reader)
    text, html = render("alert", reader.language, words=words, frame=frame, subject=words.subject)
    return Written(words.subject, text, html)


def _lasted(voice: Voice, finding: Finding) -> str:
    return voice.say("lasted", length=voice.length(finding.details["opened"], since=False))


def _bare(subject: str) -> str:
    return subject.removeprefix("[XTiger] ")


def _more(voice: Voice, number: int) -> str:
    return voice.say("more", count=number - _MOST) if number > _MOST else ""


def _each_cause(told: Sequence[Finding]) -> list[Finding]:
    """One finding for each cause that is known by name: an alert may be about several."""
    found = []
    for each in told:
        several = each.details.get("causes")
        if not several:
            found.append(each)
        for one in several or ():
            known = {name: each.details.get(name) for name in ("name", "taken_out")}
            details = known | dict(one)
            found.append(Finding(each.kind, each.organisation_id, one["cause"], details))
    return found


def _by_size(told: Sequence[Finding]) -> list[Finding]:
    """Their causes, those with the most records first."""
    return sorted(_each_cause(told), key=lambda each: -int(each.details.get("failing") or 0))


def _causes(told: Sequence[Finding], figure: str = "number") -> int:
    """How many causes that are; one in two organisations is one."""
    alone = {each.key for each in told if not each.details.get("causes")}
    return len(alone) + sum(
        int(each.details.get(figure) or 1) for each in told if each.details.get("causes")
    )


def _named(voice: Voice, told: Sequence[Finding]) -> str:
    """Acme NZ; Acme NZ and 2 more."""
    names = list(dict.fromkeys(voice.name(each) for each in told))
    if len(names) == 1:
        return names[0]
    return voice.say("names", first=names[0], count=len(names) - 1)


def _summed(told: Sequence[Finding], figure: str) -> int:
    return sum(int(each.details.get(figure) or 0) for each in told)


def _subject(voice: Voice, kind: Kind, told: Sequence[Finding]) -> str:
    name = _named(voice, told)
    since = min((str(each.details.get("since") or "") for each in told), default="")
    values = {
        "name": name,
        "waits": voice.counted("waits", _summed(told, "waiting")),
        "length": voice.length(since),
    }
    if kind is Kind.FAILURES:
        causes = voice.say("causes", count=_causes(told))
        return voice.counted("failures.subject", _summed(told, "failing"), name=name, causes=causes)
    if kind is Kind.NOTHING:
        known = told[0].organisation_id is None or told[0].details.get("alone")
        return voice.say("nothing.subject" if known else "nothing.subject.of", **values)
    many = len(told) > 1 and kind in (Kind.DISCONNECTED, Kind.DAY_LIMIT)
    return voice.say(f"{kind}.subject{'.many' if many else ''}", **values)


def _over_subject(voice: Voice, kind: Kind, told: Sequence[Finding]) -> str:
    values = {
        "name": _named(voice, told),
        "way": voice.counted("way", _summed(told, "waiting")),
        "causes": voice.say("causes", count=_causes(told, "most")),
    }
    if kind is Kind.FAILURES and all(each.details.get("taken_out") for each in told):
        return voice.say("failures.over.out", **values)
    if kind is Kind.NOTHING and told[0].organisation_id is None:
        return voice.say("nothing.over.all", **values)
    many = len(told) > 1 and kind in (Kind.DISCONNECTED, Kind.DAY_LIMIT)
    return voice.say(f"{kind}.over{'.many' if many else ''}", **values)


def _cause(services: Services, voice: Voice, each: Finding, told: Sequence[Finding]) -> Part:
    """One cause: how many, why, the first records, and where they are."""
    number = int(each.details.get("failing") or 0)
    several = len({one.organisation_id for one in told}) > 1
    count = phrases.say(voice.language, "records", count=number)
    if number > EXACT:
        count = phrases.say(
            voice.language, "records", count=f"{phrases.number(voice.language, EXACT)}+"
        )
    first = [str(name)[:_LONGEST_NAME] for name in each.details.get("first") or ()]
    rest = number - len(first)
    labels = voice.say(
        "first.more" if rest > 0 else "first",
        labels=", ".join(first),
        count=rest if number <= EXACT else f"{phrases.number(voice.language, rest - 1)}+",
    )
    asked = {
        "state": each.details.get("state", "failed"),
        "cause": each.key,
        "org": each.organisation_id,
    }
    return Part(
        str(each.details.get("sentence") or "")[:_LONGEST],
        count=f"{voice.name(each)}: {count}" if several else count,
        labels=labels if first else "",
        url=services.links.page(f"queue?{urlencode(asked)}"),
    )

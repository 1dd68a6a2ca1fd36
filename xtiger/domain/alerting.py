"""What is worth an alert: when it is mailed, how often again, and when it is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

_NOW = timedelta(0)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
#: Mails about one thing that stands come at once, after an hour, after four more, then daily.
_GROWING = (_HOUR, 4 * _HOUR, _DAY)
#: Where nothing changes until a person acts, or by itself at a known time: once, then daily.
_DAILY = (_DAY,)
#: How long after the last mail of a kind the next one is mailed to one reader, by how many they had
#: within a day: what comes and goes, comes in many organisations or stands for weeks is gathered.
#: So 24 hours bring eight at the most: 0, ¼, 1¼, 5¼, 9¼, 13¼, 17¼, 21¼ h.
_PACE = (_NOW, timedelta(minutes=15), _HOUR, 4 * _HOUR)


class Kind(StrEnum):
    """What may be wrong, worst first."""

    DISCONNECTED = "disconnected"  #: Xero doesn't let us in until a person connects again
    WORKER = "worker"  #: every worker process fell silent without signing off
    NOTHING = "nothing"  #: records wait, might go, and nothing was sent for too long
    DAY_LIMIT = "day_limit"  #: Xero takes no more calls today
    FAILURES = "failures"  #: many records fail: for one cause, one family of causes, or in all
    PAUSED = "paused"  #: a person paused it so long ago that it may be forgotten
    WEBHOOKS = "webhooks"  #: Xero told of changes, and tells no more
    MAIL = "mail"  #: mails can't be sent: told on the Dashboard alone


#: From the worst to the least.
ORDER: Mapping[Kind, int] = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Rule:
    """How a kind is told."""

    #: From the first sight to the first mail: what mends itself meanwhile is never told.
    patience: timedelta = _NOW
    #: For how long it must be out of sight to be over.
    settled: timedelta = _NOW
    #: Between two mails while it stands; the last one holds for all that follow.
    pauses: Sequence[timedelta] = _GROWING
    mailed: bool = True


RULES: Mapping[Kind, Rule] = {
    Kind.DISCONNECTED: Rule(pauses=_DAILY),
    # A machine that slept wakes with a silent worker, which beats a moment later.
    Kind.WORKER: Rule(patience=timedelta(minutes=2)),
    Kind.NOTHING: Rule(patience=timedelta(minutes=5)),
    # Every hour one call asks whether Xero takes more; between the two nothing is held.
    Kind.DAY_LIMIT: Rule(settled=timedelta(minutes=10), pauses=_DAILY),
    # The causes of a first load come one after the other: they go in one mail. What is being
    # retried fails no more, for a while.
    Kind.FAILURES: Rule(patience=timedelta(minutes=10), settled=timedelta(minutes=10)),
    Kind.PAUSED: Rule(pauses=_DAILY),
    Kind.WEBHOOKS: Rule(pauses=_DAILY),
    Kind.MAIL: Rule(mailed=False),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What administrators choose."""

    #: Hours after which "nothing happened", a pause with records waiting, or silence is told.
    hours: int = 24
    #: So many records that failed within an hour and still fail are told: for one cause, one
    #: family of causes or one organisation.
    failures: int = 10

    @property
    def silence(self) -> timedelta:
        """The hours as a length of time."""
        return timedelta(hours=self.hours)


#: The least and the most that may be chosen.
HOURS, FAILURES = (1, 168), (1, 10_000)

#: Kind, organisation (None: the whole installation) and key: an alert is open once for each.
Name = tuple[Kind, int | None, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong now. `details` are figures for its words, as JSON holds them."""

    kind: Kind
    organisation_id: int | None = None
    key: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> Name:
        """By which it is known again."""
        return self.kind, self.organisation_id, self.key


@dataclass(frozen=True, slots=True)
class Told:
    """What one mailbox heard of an alert: how often, and when last (UTC).

    `by_report`: only from the report of the run, not by a mail of the alert's own; `reports` are
    what told it. Of who hears of some modules alone `gone_at` says since when nothing is left for
    them though the alert stands, `over` that they were told so, `sentence` what they heard.
    `earlier` are the moments of all mails of the kind that they had within a day before. `reader`
    is the subscription that the last mail went by.
    """

    times: int
    at: datetime
    by_report: bool = False
    reports: tuple[int, ...] = ()
    gone_at: datetime | None = None
    over: bool = False
    sentence: str = ""
    earlier: tuple[datetime, ...] = ()
    reader: int | None = None

    def again(self, now: datetime, recent: Iterable[datetime] = ()) -> Told:
        """The same after a mail more; `recent` are those of the kind within a day before it."""
        return Told(self.times + 1, now, earlier=tuple(recent))

    def righted(self, now: datetime) -> Told:
        """The same for a clock that ran ahead once: what would be still to come was now."""
        if max(self.at, self.gone_at or self.at, *self.earlier) <= now:
            return self
        return replace(
            self,
            at=min(self.at, now),
            gone_at=min(self.gone_at, now) if self.gone_at else None,
            earlier=tuple(each for each in self.earlier if each <= now),
        )

    @property
    def mails(self) -> tuple[datetime, ...]:
        """The moments of mails of the kind that it knows of."""
        return self.earlier if self.by_report else (*self.earlier, self.at)

    def kept(self) -> dict[str, Any]:
        """As JSON keeps it."""
        kept: dict[str, Any] = {
            "times": self.times,
            "at": self.at.isoformat(),
            "by_report": self.by_report,
        }
        rest = {
            "reports": list(self.reports),
            "gone_at": self.gone_at.isoformat() if self.gone_at else None,
            "over": self.over,
            "sentence": self.sentence,
            "earlier": [each.isoformat() for each in self.earlier],
            "reader": self.reader,
        }
        return kept | {name: value for name, value in rest.items() if value}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Told:
        """From how JSON keeps it."""
        gone_at = kept.get("gone_at")
        return cls(
            int(kept["times"]),
            datetime.fromisoformat(kept["at"]),
            bool(kept["by_report"]),
            tuple(kept.get("reports") or ()),
            datetime.fromisoformat(gone_at) if gone_at else None,
            bool(kept.get("over")),
            str(kept.get("sentence") or ""),
            tuple(datetime.fromisoformat(each) for each in kept.get("earlier") or ()),
            kept.get("reader"),
        )


def _pause(kind: Kind, told: Told) -> timedelta:
    """From what they heard to the next mail of the same."""
    pauses = RULES[kind].pauses
    return pauses[-1 if told.by_report else min(told.times, len(pauses)) - 1]


def due_at(
    kind: Kind, *, opened_at: datetime, told: Told | None, recent: Iterable[datetime] = ()
) -> datetime | None:
    """When (UTC) one reader is to be told of an alert that stands; None: never by mail.

    `told` is what they heard of it, `recent` the moments of all mails of the kind that they had
    within a day.

    1. Who hasn't heard of it hears when its patience is over.
    2. Who has, hears again after the rule's pauses; who read it in a report, after the longest.
    3. Neither comes sooner after the mail before than the pace of the kind allows.
    """
    rule = RULES[kind]
    if not rule.mailed:
        return None
    at = opened_at + rule.patience if told is None else told.at + _pause(kind, told)
    before = sorted(set(recent))
    if not before:
        return at
    return max(at, before[-1] + _PACE[min(len(before), len(_PACE) - 1)])


def together(
    kind: Kind,
    standing: Sequence[tuple[datetime, Told | None]],
    *,
    recent: Iterable[datetime],
    now: datetime,
) -> list[int]:
    """The places of the alerts of one kind that one reader is mailed of now; empty: no mail.

    `standing` says of each when it opened and what they heard of it.

    1. A mail goes if one is due.
    2. It takes along what they never heard of, and what is past half the distance to its next
       mail: so what stands falls in step, and needs one mail a day however much it is.
    3. What they never heard of goes first, then what is due.
    """
    recent = list(recent)
    due, new, along = [], [], []
    for place, (opened_at, told) in enumerate(standing):
        at = due_at(kind, opened_at=opened_at, told=told, recent=recent)
        if at is not None and at <= now:
            due.append(place)
        elif told is None:
            new.append(place)
        elif now - told.at >= _pause(kind, told) / 2:
            along.append(place)
    if not due:
        return []
    return sorted([*due, *new, *along], key=lambda place: standing[place][1] is not None)


def within_a_day(moments: Iterable[datetime], now: datetime) -> list[datetime]:
    """Those that are less than a day old; what a clock that ran ahead left isn't among them."""
    return [each for each in moments if _NOW <= now - each < _DAY]


def over(kind: Kind, *, last_seen_at: datetime, now: datetime) -> bool:
    """Whether an alert that isn't found any more counts as over."""
    return now - last_seen_at >= RULES[kind].settled


@dataclass(frozen=True, slots=True)
class Judged:
    """What a look comes to: findings to open an alert for, alerts still seen, alerts not seen."""

    opened: tuple[Finding, ...]
    seen: Mapping[Name, Finding]
    unseen: tuple[Name, ...]


def judge(standing: Iterable[Name], found: Iterable[Finding]) -> Judged:
    """Compares the alerts that are open with what is wrong now."""
    by_name = {each.name: each for each in found}
    known = list(dict.fromkeys(standing))
    return Judged(
        tuple(each for name, each in by_name.items() if name not in known),
        {name: by_name[name] for name in known if name in by_name},
        tuple(name for name in known if name not in by_name),
    )

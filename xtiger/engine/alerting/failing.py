"""Which failures are an alert: many of one cause, of one family of causes, or altogether."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from xtiger.domain.alerting import Finding, Kind
from xtiger.domain.queueing import State
from xtiger.store import failing as facts
from xtiger.store.failing import Causes, Fate
from xtiger.store.models import Alert

#: What an alert lists of the records that fail for a cause, and of the causes of several.
FIRST = 10
_HOUR = timedelta(hours=1)
#: What failed so long before an alert opened belongs to it, too, if it fails for the same.
_BEFORE = timedelta(days=7)


def findings(
    session: Session,
    *,
    now: datetime,
    limit: int,
    names: Mapping[int, str],
    known: Collection[tuple[int, str]],
) -> Iterator[Finding]:
    """What many records failed for within an hour and still fail; what is `known`, for any.

    1. Each cause that has reached the limit goes alone.
    2. What is left of a family (what differs in its value alone, such as the account's number)
       goes together, if that reaches the limit.
    3. So goes what is left of the organisation.

    `names` are the organisations by id, `known` (organisation, key) of the alerts that stand.
    """
    recent = facts.failed_since(session, now - _HOUR)
    for one in sorted({*(one for one, _cause in recent), *(one for one, _key in known)}):
        if one not in names:
            continue
        own: set[str] = set()
        for key_of in (str, facts.family, _all):
            left = Counter[str]()
            for (organisation_id, cause), number in recent.items():
                if organisation_id == one and not _has_own(own, cause):
                    left[key_of(cause)] += number
            stands = {key for each, key in known if each == one and _level(key) is key_of}
            many = {
                key for key, number in left.items() if number >= limit and _level(key) is key_of
            }
            # Both are judged by what was left to their level: they are of different causes.
            without = frozenset(own)
            for key in sorted(stands | many):
                causes = Causes(one, key, without if key_of is not str else frozenset())
                finding = _of(session, causes, names[one])
                number = finding.details["failing"]
                if number and (number >= limit or key in stands):
                    own.add(key)
                    yield finding


def _all(_cause: str) -> str:
    return ""


def _level(key: str) -> Any:
    """How the causes of a key are told: alone, by family, or all together."""
    if not key:
        return _all
    return facts.family if key.endswith(":") else str


def _has_own(own: Collection[str], cause: str) -> bool:
    return cause in own or facts.family(cause) in own


def _of(
    session: Session, causes: Causes, name: str, modules: Collection[str] | None = None
) -> Finding:
    found = facts.failing(session, causes, modules=modules)
    largest = [
        _cause(session, causes.organisation_id, cause, number, modules)
        for cause, number in list(found.by_cause.items())[:FIRST]
    ]
    head = largest[0] if largest else {"sentence": "", "state": State.FAILED.value, "first": []}
    several = not causes.key or causes.key.endswith(":")
    details = {
        **head,
        "name": name,
        "failing": found.number,
        "where": sorted(found.where, key=str),
    }
    if several:
        details |= {
            "causes": largest,
            "number": len(found.by_cause),
            "without": sorted(causes.without),
        }
    return Finding(Kind.FAILURES, causes.organisation_id, causes.key, details)


def _cause(
    session: Session,
    organisation_id: int,
    cause: str,
    number: int,
    modules: Collection[str] | None,
) -> dict[str, Any]:
    rows = facts.first(session, organisation_id, cause, modules=modules, limit=FIRST)
    return {
        "cause": cause,
        "failing": number,
        "sentence": (rows[0].sentence or "") if rows else "",
        "state": rows[0].state if rows else State.FAILED.value,
        "first": [item.label or item.record_id for item in rows],
    }


def of_modules(session: Session, finding: Finding, modules: Collection[str]) -> Finding:
    """The same for who hears of some modules alone; `failing` 0: nothing is left for them."""
    told = finding.details
    causes = _causes_of(finding.organisation_id, finding.key, told)
    return _of(session, causes, str(told.get("name") or ""), modules)


def fate(session: Session, alert: Alert, modules: Collection[str] | None = None) -> Fate:
    """What became of the records of an alert."""
    causes = _causes_of(alert.organisation_id, alert.key, alert.details or {})
    return facts.fate(session, causes, since=alert.opened_at - _BEFORE, modules=modules)


def _causes_of(organisation_id: int | None, key: str, details: Mapping[str, Any]) -> Causes:
    return Causes(organisation_id or 0, key, frozenset(details.get("without") or ()))


def ended(finding: Finding, became: Fate) -> Finding:
    """Says of a finding that is over whether its records were taken out, all of them."""
    taken_out = bool(became.taken_out) and not became.other
    return replace(finding, details={**finding.details, "taken_out": taken_out})


def mended(became: Fate, key: str) -> bool:
    """Whether people are told that it is over; what alerts of their own took over isn't."""
    alone = bool(key) and not key.endswith(":")
    return alone or bool(became.taken_out or became.other)

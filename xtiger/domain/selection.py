"""Which records go, and where: the selection rule and the routing, each answer with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from xtiger.domain import zones
from xtiger.domain.records import DOCUMENTS, Module, Record, SyncFlag
from xtiger.domain.schedules import AT_ONCE, Schedule


class RuleKind(StrEnum):
    """Which records of a module go."""

    ALL = "all"
    TICKED = "ticked"
    STATUS = "status"


class Locked(StrEnum):
    """What becomes of a document whose date lies in a period that Xero has locked."""

    HOLD = "hold"  #: it fails, and says so
    FIRST_OPEN_DAY = "first open day"  #: it is dated the first day that isn't locked
    AS_DRAFT = "as draft"  #: Xero takes drafts of any day


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """All, only ticked, or by status, and two cut-offs (plain days, both of them included).

    `created_from` is about the day a record was made, by the clocks of its organisation;
    `dated_from` about a document's own date, which stands in its field `dated_by`.
    """

    kind: RuleKind = RuleKind.TICKED
    statuses: frozenset[str] = frozenset()
    created_from: date | None = None
    dated_from: date | None = None
    dated_by: str = "date"


@dataclass(frozen=True, slots=True)
class SyncProfile:
    """How one module goes to one organisation.

    For documents, `route_field` = `route_value` is the routing condition; without one the
    profile is the module's default. `target_status` is the status a document gets in Xero.
    `zone` is the organisation's, by the tz database's name.
    """

    organisation_id: int
    organisation: str
    module: Module
    enabled: bool = True
    rule: SelectionRule = SelectionRule()
    route_field: str | None = None
    route_value: str | None = None
    target_status: str = "AUTHORISED"
    add_needed: bool = True
    retries: int = 0
    #: One batch in flight, and whatever fails or waits holds all that stands behind it.
    strict: bool = False
    #: What is bound goes from Xero when its record is deleted in the CRM.
    removes: bool = False
    schedule: Schedule = AT_ONCE
    locked: Locked = Locked.HOLD
    zone: str = zones.UNKNOWN
    #: What goes over a matched contact's or item's own values; None: `meeting.OVERWRITES`.
    overwrites: tuple[str, ...] | None = None


class Reason(StrEnum):
    """Why a record goes or stays."""

    RULE = "rule"
    NEEDED = "needed"
    NOT_CONNECTED = "not connected"
    SWITCHED_OFF = "switched off"
    TOO_OLD = "too old"
    DATED_BEFORE = "dated before"
    NOT_TICKED = "not ticked"
    STATUS = "status"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a record goes to one organisation, and the sentence that says why."""

    selected: bool
    reason: Reason
    sentence: str
    organisation_id: int | None = None


def route(record: Record, flag: SyncFlag, profiles: Sequence[SyncProfile]) -> SyncProfile | None:
    """The one profile a document goes by: its own choice, else a condition, else the default.

    A profile that is switched off takes nothing from one that is on; it is the answer only
    where no other is, so that a page can say why the document stays.
    """
    if flag.organisation_id is not None:
        return next((p for p in profiles if p.organisation_id == flag.organisation_id), None)
    for on in (True, False):
        default = None
        for profile in profiles:
            if profile.enabled is not on:
                continue
            if profile.route_field is None:
                default = default or profile
            elif plain_value(record.fields.get(profile.route_field)) == _wanted(profile):
                return profile
        if default is not None:
            return default
    return None


#: What people and CRMs write for the two values of a yes-or-no field.
_WORDS = {"true": "yes", "on": "yes", "1": "yes", "false": "no", "off": "no", "0": "no"}


def plain_value(value: Any) -> str:
    """A field's value as conditions compare it: blanks and capitals don't matter, 1 is yes."""
    text = " ".join(str("" if value is None else value).split()).casefold()
    return _WORDS.get(text, text)


def _wanted(profile: SyncProfile) -> str:
    return plain_value(profile.route_value)


def select(
    record: Record,
    flag: SyncFlag,
    profiles: Sequence[SyncProfile],
    *,
    needed_by: frozenset[int] = frozenset(),
) -> list[Decision]:
    """Decides for one record, a Decision for each organisation that comes into question.

    A document gets exactly one. `needed_by` are the organisations that have the record
    already because a document there needs it; there its changes go over even without a tick,
    unless somebody took the tick away.
    """
    mine = [profile for profile in profiles if profile.module is record.ref.module]
    if not mine:
        return [Decision(False, Reason.NOT_CONNECTED, "Its organisation isn't connected.")]
    if record.ref.module in DOCUMENTS:
        chosen = route(record, flag, mine)
        if chosen is None and flag.organisation_id is not None:
            return [Decision(False, Reason.NOT_CONNECTED, "Its organisation isn't connected.")]
        if chosen is None:
            return [
                Decision(
                    False,
                    Reason.ELSEWHERE,
                    "No organisation is chosen for it, and no routing rule names one.",
                )
            ]
        return [_judge(record, flag, chosen)]
    if flag.organisation_id is not None:
        mine = [p for p in mine if p.organisation_id == flag.organisation_id] or mine
    return [_judge(record, flag, profile, profile.organisation_id in needed_by) for profile in mine]


def _judge(record: Record, flag: SyncFlag, profile: SyncProfile, needed: bool = False) -> Decision:
    """One record against one profile; the sentences are the record page's."""
    rule, name = profile.rule, profile.organisation

    def no(reason: Reason, sentence: str) -> Decision:
        return Decision(False, reason, sentence, profile.organisation_id)

    if not profile.enabled:
        return no(Reason.SWITCHED_OFF, f"{record.ref.module.value} aren't switched on for {name}.")
    if rule.created_from:
        # The day by the organisation's own clocks: in Auckland a morning is UTC's day before.
        created = record.created_at.astimezone(zones.zone(profile.zone)).date()
        if created < rule.created_from:
            return no(
                Reason.TOO_OLD,
                f"It was created on {plain_day(created)}; syncing starts with "
                f"{plain_day(rule.created_from)}.",
            )
    if rule.dated_from and record.ref.module in DOCUMENTS:
        dated, since = _day(record.fields.get(rule.dated_by)), plain_day(rule.dated_from)
        if dated is None:
            what = f"only {record.ref.module.value.lower()} dated from {since} on go over."
            return no(Reason.DATED_BEFORE, f"It has no date; {what}")
        if dated < rule.dated_from:
            return no(
                Reason.DATED_BEFORE,
                f"It is dated {plain_day(dated)}; syncing starts with the date {since}.",
            )
    if needed and flag.allow is not False:
        return Decision(
            True, Reason.NEEDED, "A document in Xero needs it.", profile.organisation_id
        )
    if rule.kind is RuleKind.TICKED and not flag.allow:
        return no(Reason.NOT_TICKED, "Allow Xero Sync isn't ticked.")
    if rule.kind is RuleKind.STATUS and record.status not in rule.statuses:
        wanted = " and ".join(sorted(rule.statuses)) or "no status"
        return no(Reason.STATUS, f"Its status is {record.status}; only {wanted} go over.")
    return Decision(True, Reason.RULE, "It is selected.", profile.organisation_id)


def _day(value: Any) -> date | None:
    return (
        value.date() if isinstance(value, datetime) else value if isinstance(value, date) else None
    )


def overlaps(
    profiles: Sequence[SyncProfile], labels: Mapping[str, str] | None = None
) -> str | None:
    """The sentence that refuses profiles by which one document could go to two places.

    Two conditions can't both be true only if they ask for different values of one field.
    `labels` are what people call the fields.
    """
    seen: dict[Module, list[SyncProfile]] = {}
    for profile in profiles:
        if profile.module not in DOCUMENTS or not profile.enabled:
            continue
        for other in seen.get(profile.module, ()):
            why = _both(other, profile, labels or {})
            if why is not None:
                return (
                    f"{profile.module.value} would go to {other.organisation} and to "
                    f"{profile.organisation}: {why}"
                )
        seen.setdefault(profile.module, []).append(profile)
    return None


def _both(one: SyncProfile, other: SyncProfile, labels: Mapping[str, str]) -> str | None:
    """How a document could meet both conditions, and what to do; None where none can."""
    if one.route_field is None or other.route_field is None:
        if one.route_field is not other.route_field:
            return None
        return "both are the default. Give one of them a condition of its own."
    names = [labels.get(name, name) for name in (one.route_field, other.route_field)]
    if one.route_field == other.route_field:
        if _wanted(one) != _wanted(other):
            return None
        what = f"both take {names[0]} = {other.route_value}"
        return f"{what}. Give one of them a condition of its own."
    what = f"one may have {names[0]} = {one.route_value} and {names[1]} = {other.route_value}"
    return f"{what}. Let both ask for the same field."


def plain_day(day: date) -> str:
    """A day as pages print it: 3 Oct 2026."""
    return f"{day.day} {day:%b %Y}"

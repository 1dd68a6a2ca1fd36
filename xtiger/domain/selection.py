"""Which records go, and where: the selection rule and the routing, each answer with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from xtiger.domain.records import DOCUMENTS, Module, Record, SyncFlag


class RuleKind(StrEnum):
    """Which records of a module go."""

    ALL = "all"
    TICKED = "ticked"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """All, only ticked, or by status; `created_from` is the cut-off (a plain day)."""

    kind: RuleKind = RuleKind.TICKED
    statuses: frozenset[str] = frozenset()
    created_from: date | None = None


@dataclass(frozen=True, slots=True)
class SyncProfile:
    """How one module goes to one organisation.

    For documents, `route_field` = `route_value` is the routing condition; without one the
    profile is the module's default. `target_status` is the status a document gets in Xero.
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


class Reason(StrEnum):
    """Why a record goes or stays."""

    RULE = "rule"
    NEEDED = "needed"
    NOT_CONNECTED = "not connected"
    SWITCHED_OFF = "switched off"
    TOO_OLD = "too old"
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
    """The one profile a document goes by: its own choice, else a condition, else the default."""
    if flag.organisation_id is not None:
        return next((p for p in profiles if p.organisation_id == flag.organisation_id), None)
    default = None
    for profile in profiles:
        if profile.route_field is None:
            default = default or profile
        elif str(record.fields.get(profile.route_field) or "") == profile.route_value:
            return profile
    return default


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
    created = record.created_at.date()
    if rule.created_from and created < rule.created_from:
        return no(
            Reason.TOO_OLD,
            f"It was created on {plain_day(created)}; syncing starts with "
            f"{plain_day(rule.created_from)}.",
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


def overlaps(profiles: Sequence[SyncProfile]) -> str | None:
    """The sentence that refuses profiles by which one document could go to two places."""
    seen: Mapping[tuple[Module, str | None, str | None], SyncProfile] = {}
    taken = dict(seen)
    for profile in profiles:
        if profile.module not in DOCUMENTS or not profile.enabled:
            continue
        key = (profile.module, profile.route_field, profile.route_value)
        other = taken.setdefault(key, profile)
        if other is not profile:
            where = (
                "both are the default"
                if profile.route_field is None
                else f"both take {profile.route_field} = {profile.route_value}"
            )
            return (
                f"{profile.module.value} would go to {other.organisation} and to "
                f"{profile.organisation}: {where}. Give one of them a condition of its own."
            )
    return None


def plain_day(day: date) -> str:
    """A day as pages print it: 3 Oct 2026."""
    return f"{day.day} {day:%b %Y}"

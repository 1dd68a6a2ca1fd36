"""What administrators set: organisations, profiles, templates, flags, settings, reference data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, or_, select
from sqlalchemy.orm import Session

from xtiger.domain.records import DocumentType, Module, RecordRef, SyncFlag
from xtiger.domain.schedules import Schedule, When, clock_time
from xtiger.domain.selection import Locked, RuleKind, SelectionRule, SyncProfile
from xtiger.domain.zones import zone_name
from xtiger.store.crypto import KeyRing
from xtiger.store.models import (
    Connection,
    Flag,
    Organisation,
    Profile,
    Reference,
    Setting,
)
from xtiger.store.prepared import Prepared, insert_into


def organisations(session: Session, *, chosen: bool | None = True) -> list[Organisation]:
    """Organisations in the order they were connected; `chosen` None gives the offered ones too."""
    statement = select(Organisation).order_by(Organisation.id)
    if chosen is not None:
        statement = statement.where(Organisation.chosen.is_(chosen))
    return list(session.scalars(statement))


def broken_connections(session: Session) -> set[int]:
    """The consents for which a person must connect again."""
    return set(session.scalars(select(Connection.id).where(Connection.broken.is_not(None))))


def profiles(session: Session) -> list[SyncProfile]:
    """Every profile of the chosen organisations, the oldest organisation's first."""
    rows = session.execute(
        select(Profile, Organisation)
        .join(Organisation, Organisation.id == Profile.organisation_id)
        .where(Organisation.chosen.is_(True))
        .order_by(Profile.organisation_id, Profile.id)
    )
    return [profile_of(row, organisation) for row, organisation in rows]


def profile_of(row: Profile, organisation: Organisation) -> SyncProfile:
    """A profile row as the domain's value."""
    zone = zone_name(organisation.time_zone)
    return SyncProfile(
        organisation_id=row.organisation_id,
        organisation=organisation.name,
        module=Module(row.module),
        enabled=row.enabled,
        rule=SelectionRule(
            RuleKind(row.rule),
            frozenset(row.statuses or ()),
            row.created_from,
            row.dated_from,
            row.dated_by or "date",
        ),
        route_field=row.route_field,
        route_value=row.route_value,
        target_status=row.target_status,
        add_needed=row.add_needed,
        retries=row.retries,
        strict=row.strict,
        removes=row.deleted == "remove",
        schedule=_schedule(row.schedule, row.minutes, row.daily_at, zone),
        locked=Locked(row.locked),
        zone=zone,
        overwrites=None if row.overwrites is None else tuple(row.overwrites),
    )


def _schedule(when: str, minutes: int, daily_at: str, zone: str) -> Schedule:
    return Schedule(When(when), minutes, clock_time(daily_at) or Schedule().daily, zone)


def schedules(session: Session, organisation_id: int) -> dict[Module, Schedule]:
    """The schedules of an organisation's modules; those that go at once aren't among them."""
    rows = session.execute(
        select(
            Profile.module,
            Profile.schedule,
            Profile.minutes,
            Profile.daily_at,
            Organisation.time_zone,
        )
        .join(Organisation, Organisation.id == Profile.organisation_id)
        .where(Profile.organisation_id == organisation_id, Profile.schedule != When.AT_ONCE.value)
    )
    return {
        Module(module): _schedule(when, minutes, daily_at, zone_name(zone))
        for module, when, minutes, daily_at, zone in rows
    }


def flags(session: Session, refs: Iterable[RecordRef]) -> dict[RecordRef, Flag]:
    """The flag rows of these records; most records have none."""
    by_module: dict[Module, list[str]] = {}
    for ref in dict.fromkeys(refs):
        by_module.setdefault(ref.module, []).append(ref.id)
    found: dict[RecordRef, Flag] = {}
    for module, ids in by_module.items():
        for start in range(0, len(ids), 500):
            for row in session.scalars(
                select(Flag).where(
                    Flag.module == module.value, Flag.record_id.in_(ids[start : start + 500])
                )
            ):
                found[RecordRef(module, row.record_id)] = row
    return found


def sync_flags(session: Session, refs: Iterable[RecordRef]) -> dict[RecordRef, SyncFlag]:
    """The flags of those of these records that have any, as the domain's values."""
    by_module: dict[Module, list[str]] = {}
    for ref in dict.fromkeys(refs):
        by_module.setdefault(ref.module, []).append(ref.id)
    found: dict[RecordRef, SyncFlag] = {}
    for module, ids in by_module.items():
        for start in range(0, len(ids), 500):
            some = {"of": module.value, "ids": ids[start : start + 500]}
            for record_id, allow, kind, organisation_id in _FLAGS.rows(session, some):
                flag = SyncFlag(allow, DocumentType(kind), organisation_id)
                found[RecordRef(module, record_id)] = flag
    return found


def flag_of(row: Flag | None) -> SyncFlag:
    """A flag row, or its absence, as the domain's value."""
    if row is None:
        return SyncFlag()
    return SyncFlag(row.allow, DocumentType(row.document_type), row.organisation_id)


def set_flag(
    session: Session,
    ref: RecordRef,
    *,
    now: datetime,
    who: str,
    allow: bool | None = None,
    document_type: DocumentType | None = None,
    organisation_id: int | None = None,
) -> Flag:
    """Changes what is given of a record's flag; the caller writes the outbox in the same session.

    `organisation_id` 0 takes the record's own choice away.
    """
    row = _flag_row(session, ref)
    if allow is not None:
        row.allow = allow
    if document_type is not None:
        row.document_type = document_type.value
    if organisation_id is not None:
        row.organisation_id = organisation_id or None
    row.changed_by, row.changed_at = who, now
    session.flush()
    return row


def _flag_row(session: Session, ref: RecordRef) -> Flag:
    """The flag of a record, made if it has none; a page and the relay may both make it."""
    session.execute(
        insert_into(Flag, session)
        .values(module=ref.module.value, record_id=ref.id, document_type="Invoice")
        .on_conflict_do_nothing(index_elements=["module", "record_id"])
    )
    return session.scalars(
        select(Flag).where(Flag.module == ref.module.value, Flag.record_id == ref.id)
    ).one()


def keep_reasons(session: Session, reasons: Mapping[RecordRef, str | None], now: datetime) -> None:
    """Keeps selection's answer on the records that have one; None: it was selected."""
    rows = flags(session, reasons)
    for ref, reason in reasons.items():
        row = rows.get(ref)
        if row is None:
            if reason is None:
                continue
            row = _flag_row(session, ref)
        row.reason, row.decided_at = reason, now


def put_reference(
    session: Session, organisation_id: int, data: Mapping[str, Sequence[Any]], now: datetime
) -> None:
    """Replaces what was read from Xero of an organisation, by kind; any number may at once."""
    # Always in the same order: two then never wait for each other in a circle.
    for kind in sorted(data):
        statement = insert_into(Reference, session).values(
            organisation_id=organisation_id, kind=kind, data=list(data[kind]), read_at=now
        )
        read = {name: statement.excluded[name] for name in ("data", "read_at")}
        session.execute(
            statement.on_conflict_do_update(index_elements=["organisation_id", "kind"], set_=read)
        )


def reference(session: Session, organisation_id: int) -> dict[str, Reference]:
    """What was read from Xero of an organisation, by kind, with its age."""
    return {
        row.kind: row
        for row in session.scalars(
            select(Reference)
            .where(Reference.organisation_id == organisation_id)
            .execution_options(populate_existing=True)
        )
    }


def setting(session: Session, name: str, ring: KeyRing | None = None) -> Any:
    """A setting's value, None if never set; a sealed one needs the ring."""
    row = session.get(Setting, name)
    if row is None:
        return None
    if not row.sealed:
        return row.value
    return ring.open(str(row.value).encode()) if ring else None


def has_setting(session: Session, name: str) -> bool:
    """Whether somebody has set it."""
    return session.get(Setting, name) is not None


def put_setting(
    session: Session,
    name: str,
    value: Any,
    *,
    who: str,
    now: datetime,
    ring: KeyRing | None = None,
) -> None:
    """Stores a setting; with a ring it is sealed."""
    row = hold_setting(session, name)
    row.value = ring.seal(value).decode() if ring else value
    row.sealed = ring is not None
    row.changed_by, row.changed_at = who, now


def hold_setting(session: Session, name: str) -> Setting:
    """A setting's row, nobody else's until the transaction ends; one never set is made, with "".

    Two processes that both find none would both add it, and one of them break.
    """
    row = session.get(Setting, name, with_for_update=True, populate_existing=True)
    if row is None:
        statement = insert_into(Setting, session).values(name=name, value="", sealed=False)
        session.execute(statement.on_conflict_do_nothing(index_elements=["name"]))
        row = session.get_one(Setting, name, with_for_update=True, populate_existing=True)
    return row


def drop_setting(session: Session, name: str) -> None:
    """Takes a setting out; one never set is fine."""
    session.execute(delete(Setting).where(Setting.name == name))


#: The setting that a pause of everything leaves: {"at": ISO moment, "by": name}.
PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when something is paused, and by whom."""

    at: datetime
    by: str


def pause_of_all(session: Session) -> Pause | None:
    """The pause of everything, None while there is none."""
    found = setting(session, PAUSED)
    return Pause(datetime.fromisoformat(found["at"]), str(found["by"])) if found else None


_ALL_PAUSED = (
    select(Setting.__table__.c.name)
    .where(Setting.__table__.c.name == PAUSED, Setting.__table__.c.value.is_not(None))
    .exists()
)
_PROFILE = Profile.__table__.c
_MODULE_PAUSED = (
    select(_PROFILE.id)
    .where(
        _PROFILE.organisation_id == Organisation.__table__.c.id,
        _PROFILE.module.in_(bindparam("kinds", expanding=True)),
        _PROFILE.paused_at.is_not(None),
    )
    .exists()
)
_IS_PAUSED = Prepared(
    select(or_(Organisation.__table__.c.paused_at.is_not(None), _ALL_PAUSED, _MODULE_PAUSED)).where(
        Organisation.__table__.c.id == bindparam("of")
    )
)
_FLAG = Flag.__table__.c
_FLAGS = Prepared(
    select(_FLAG.record_id, _FLAG.allow, _FLAG.document_type, _FLAG.organisation_id).where(
        _FLAG.module == bindparam("of"), _FLAG.record_id.in_(bindparam("ids", expanding=True))
    )
)


def is_paused(session: Session, organisation_id: int, modules: Collection[str] = ()) -> bool:
    """Whether an organisation, one of these modules or everything is paused now.

    Asked before each call.
    """
    found = _IS_PAUSED.rows(session, {"of": organisation_id, "kinds": list(modules)})
    return bool(found and found[0][0])


def strict_modules(session: Session, organisation_id: int) -> list[str]:
    """The modules of an organisation that go in strict order."""
    return list(
        session.scalars(
            select(Profile.module).where(
                Profile.organisation_id == organisation_id, Profile.strict.is_(True)
            )
        )
    )


def paused_modules(session: Session, organisation_id: int) -> dict[Module, Pause]:
    """The modules of an organisation of which nothing may be sent now."""
    rows = session.execute(
        select(Profile.module, Profile.paused_at, Profile.paused_by).where(
            Profile.organisation_id == organisation_id, Profile.paused_at.is_not(None)
        )
    )
    return {Module(module): Pause(at, by or "somebody") for module, at, by in rows if at}

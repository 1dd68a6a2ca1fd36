"""Pausing: all, an organisation, or one of its modules sends nothing until a person resumes it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain.errors import PermanentError
from xtiger.domain.records import Module
from xtiger.engine.connection import tokens
from xtiger.engine.services import Services
from xtiger.store import claims, journal, leases, profiles
from xtiger.store.models import Organisation, Profile


def pause(
    services: Services,
    *,
    organisation_id: int | None = None,
    module: Module | None = None,
    who: str,
) -> None:
    """Holds a module of an organisation, an organisation, or (neither given) everything.

    Calls under way finish; changes are still captured and queued. What is paused already stays
    paused since then and by that person. Raises PermanentError where there is no such module.
    """
    now = services.clock.now()
    with services.database.write() as session:
        if organisation_id is None:
            _no_module(module)
            if profiles.pause_of_all(session) is None:
                value = {"at": now.isoformat(), "by": who}
                profiles.put_setting(session, profiles.PAUSED, value, who=who, now=now)
            return
        row = _row(session, organisation_id, module)
        if row.paused_at is None:
            row.paused_at, row.paused_by = now, who


def resume(
    services: Services,
    *,
    organisation_id: int | None = None,
    module: Module | None = None,
    who: str,
) -> None:
    """Lets it go on, in order: where work waits, a run is asked for and the dispatcher woken.

    A pause of something larger still holds it, and so do Xero's own limits; a back-off doesn't.
    What isn't paused is left alone. Raises PermanentError where there is no such module.
    """
    now = services.clock.now()
    with services.database.write() as session:
        if organisation_id is None:
            _no_module(module)
            resumed = profiles.pause_of_all(session) is not None
            profiles.drop_setting(session, profiles.PAUSED)
            rows = profiles.organisations(session)
        else:
            held = _row(session, organisation_id, module)
            resumed = held.paused_at is not None
            held.paused_at = held.paused_by = None
            rows = [session.get_one(Organisation, organisation_id)]
        if not resumed:
            return
        session.flush()
        everything = profiles.pause_of_all(session) is not None
        leases.lock(session, [row.id for row in rows])
        awake = [row for row in rows if row.paused_at is None and not everything]
        for row in awake:
            if not row.held_by_xero:
                row.held_until = row.held_why = None
            due = claims.due_count(session, row.id, now=now)
            if row.auto_sync and (due or journal.still_open(session, row.id)):
                tokens.carry_on(session, row, f"resumed by {who}", now)
    _wake(services, awake)


def _no_module(module: Module | None) -> None:
    if module is not None:
        raise PermanentError("Say of which organisation the module is to be paused.")


def _row(session: Session, organisation_id: int, module: Module | None) -> Organisation | Profile:
    """What carries the pause, locked."""
    if module is None:
        found: Organisation | Profile | None = session.get(
            Organisation, organisation_id, with_for_update=True
        )
    else:
        found = session.scalar(
            select(Profile)
            .where(Profile.organisation_id == organisation_id, Profile.module == module.value)
            .with_for_update()
        )
    if found is None:
        raise PermanentError("There is no such organisation or module here.")
    return found


def _wake(services: Services, rows: Iterable[Organisation]) -> None:
    for row in rows:
        services.dispatcher.wake(row.id)

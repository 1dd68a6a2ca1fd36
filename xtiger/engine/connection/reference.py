"""Reference data: what was read of an organisation's accounts, taxes and the like, and its age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from xtiger.domain.errors import XTigerError
from xtiger.domain.facts import OrganisationFacts
from xtiger.domain.schedules import Schedule, When
from xtiger.domain.zones import zone_name
from xtiger.engine.connection import tokens
from xtiger.engine.mapping import uses
from xtiger.engine.services import Services
from xtiger.ports import Access
from xtiger.store import leases, profiles, usage
from xtiger.store.models import Organisation
from xtiger.telemetry import logger

#: What rules go by, read before anything is built by data that is old, and Xero's names for it.
RULES: Mapping[str, str] = {
    "organisation": "Organisation",
    "accounts": "Accounts",
    "tax_rates": "TaxRates",
    "currencies": "Currencies",
}
#: What is read besides on request and each night.
BESIDES: Mapping[str, str] = {
    "tracking": "TrackingCategories?includeArchived=true",
    "branding_themes": "BrandingThemes",
    "items": "Items",
}
#: Calls that a person's Refresh takes.
CALLS = len(RULES) + len(BESIDES)
#: When an organisation's night is there, by its own clocks, and how soon a failed try is repeated.
NIGHT, AGAIN = time(1, 30), timedelta(hours=1)

log = logger("reference")


class Known(NamedTuple):
    """What rules must know of an organisation, and when the oldest of it was read."""

    facts: OrganisationFacts
    read_at: datetime


def facts(session: Session, organisation_id: int) -> Known | None:
    """What was read of an organisation, None where nothing was yet."""
    known = profiles.reference(session, organisation_id)
    if not {"organisation", "accounts", "tax_rates"} <= known.keys():
        return None
    currencies, items = known.get("currencies"), known.get("items")
    tracking = known.get("tracking")
    return Known(
        OrganisationFacts.from_xero(
            known["organisation"].data[0],
            known["accounts"].data,
            known["tax_rates"].data,
            currencies.data if currencies else (),
            tracking=tracking.data if tracking else None,
            items=items.data if items else (),
        ),
        min(known[kind].read_at for kind in RULES if kind in known),
    )


def refresh_reference(services: Services, organisation_id: int, *, whole: bool = False) -> None:
    """Reads from Xero what rules go by (4 calls), or everything that is kept (7), and keeps it.

    Where a mapping tracks lines, their categories are a rule too (5 calls). Raises the four
    errors; what was read before stays then as it is.
    """
    with services.database.read() as session:
        row = session.get_one(Organisation, organisation_id)
        paths = {**RULES, **BESIDES} if whole else dict(RULES)
        if not whole and uses.tracks(session, organisation_id):
            paths["tracking"] = BESIDES["tracking"]
    read = {
        kind: _trimmed(kind, tokens.with_access(services, row, partial(_read, services, path)))
        for kind, path in paths.items()
    }
    now = services.clock.now()
    with services.database.write() as session:
        profiles.put_reference(session, organisation_id, read, now)
        kept = session.get_one(Organisation, organisation_id)
        found = read["organisation"][0] if read["organisation"] else {}
        kept.name = str(found.get("Name") or kept.name)
        kept.country = found.get("CountryCode")
        kept.currency = found.get("BaseCurrency")
        kept.short_code = found.get("ShortCode")
        kept.time_zone = found.get("Timezone")
        uses.keep_warnings(session, organisation_id, now)
    if whole:
        uses.take_stock(services, organisation_id)
    tokens.count_usage(services)


def nightly(services: Services) -> list[int]:
    """Reads everything of each organisation once in its night; answers with those it read.

    Any number of schedulers may ask at any time: one of them reads. What can't be read is tried
    again an hour later, and an organisation that a person must connect again is left alone.
    What is used and was archived in Xero meanwhile is warned of.
    """
    now = services.clock.now()
    with services.database.read() as session:
        broken = profiles.broken_connections(session)
        due = [
            row.id
            for row in profiles.organisations(session)
            if row.connection_id not in broken
            and row.connection_id is not None
            and not row.removed
            and not (row.held_by_xero and row.held_until and row.held_until > now)
            and not usage.only_for_people(row, now)
            and _is_old(session, row, now)
        ]
    done = []
    for one in due:
        if services.stopping():
            break
        if not _claim(services, one, now):
            continue
        try:
            refresh_reference(services, one, whole=True)
        except XTigerError as failure:
            log.warning("reference data not read", organisation=one, why=failure.sentence)
            continue
        done.append(one)
        with services.database.read() as session:
            for warning in uses.warnings(session, one):
                log.warning("used, but not usable in Xero", organisation=one, what=warning.sentence)
    return done


def _is_old(session: Session, row: Organisation, now: datetime) -> bool:
    """Whether what is kept was read before the organisation's last night."""
    night = Schedule(When.DAILY, daily=NIGHT, zone=zone_name(row.time_zone)).last_turn(now)
    known = profiles.reference(session, row.id)
    read = min((known[kind].read_at for kind in BESIDES if kind in known), default=None)
    return night is not None and (read is None or read < night)


def _claim(services: Services, organisation_id: int, now: datetime) -> bool:
    """Takes the reading of an organisation for this process, if nobody tried within the hour."""
    with services.database.write() as session:
        leases.lock(session, [organisation_id])
        name = f"reference.read.{organisation_id}"
        last = profiles.setting(session, name)
        if last is not None and timedelta() <= now - datetime.fromisoformat(last) < AGAIN:
            return False
        profiles.put_setting(session, name, now.isoformat(), who="schedule", now=now)
    return True


def _trimmed(kind: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """What is kept: of items, of which there may be thousands, only what tells one from another."""
    if kind != "items":
        return rows
    kept = ("ItemID", "Code", "Name", "IsTrackedAsInventory")
    return [{name: row[name] for name in kept if row.get(name)} for row in rows]


def _read(services: Services, path: str, access: Access) -> Sequence[Mapping[str, Any]]:
    return services.xero.read(access, path)

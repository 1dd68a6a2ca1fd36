"""Reports that somebody asks for by hand: any day, week or month, printed or mailed to anybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from xtiger.domain import phrases, zones
from xtiger.domain.errors import PermanentError
from xtiger.domain.reporting import FIRST, Kind, Period
from xtiger.engine.reporting import figures, letters, subscriptions, words
from xtiger.engine.reporting.letters import Written
from xtiger.engine.services import Services
from xtiger.store import profiles
from xtiger.store.models import Mail


@dataclass(frozen=True, slots=True)
class Asked:
    """A report that somebody asks for: `day` lies in its period, None is yesterday.

    `organisation` is a name or a number, None all of them; `zone` by default the organisation's,
    as on the page Reports.
    """

    kind: Kind
    day: date | None = None
    organisation: str | None = None
    zone: str | None = None
    language: str = "en"


def by_hand(services: Services, asked: Asked) -> Written:
    """A report, as it would be mailed; what isn't over by the zone's clock is told so far.

    Raises PermanentError for what nobody knows by its name, and for a day that lies ahead or
    before all reports.
    """
    one, zone = _by_name(services, asked.organisation), zone_of(services, asked)
    today = services.clock.now().astimezone(zones.zone(zone)).date()
    day = asked.day or today - timedelta(days=1)
    if day > today:
        raise PermanentError(
            f"{phrases.day('en', day, year=True)} lies ahead. Ask for today or an earlier day."
        )
    if day < FIRST:
        raise PermanentError(f"There was no Xero before {FIRST.year}. Ask for a later day.")
    report = figures.of_period(services, asked.kind, day, zone=zone, organisation_id=one)
    notes = _so_far(asked.language, Period.of(asked.kind, day, zone), report.made_at)
    return words.written(services, report, language=asked.language, notes=notes)


def zone_of(services: Services, asked: Asked) -> str:
    """Whose days a report covers. Raises PermanentError for a zone that nobody knows."""
    one = _by_name(services, asked.organisation)
    zone = asked.zone or subscriptions.zone_for(services, one)
    subscriptions.known_zone(zone)
    return zone


def _so_far(language: str, period: Period, now: datetime) -> list[str]:
    if period.end <= now:
        return []
    return [phrases.say(language, "so far", period=phrases.period_words(language, period))]


def mail_by_hand(services: Services, asked: Asked, letter: Written, address: str) -> str:
    """Queues such a report to any address and tries to send it; answers with a sentence.

    Raises PermanentError where it can't be mailed, or to whom stopped these mails.
    """
    address = subscriptions.address_of(address)
    if subscriptions.has_left(services, address):
        raise PermanentError(
            f"{address} stopped these mails by their link, so nothing was sent. "
            "Start the row again first, if they ask for it."
        )
    named = letters.mail_server(services)  # raises where no key opens it
    if named is None and not letters.has_server(services):
        raise PermanentError(
            "No mail server is set. Name one on the page Settings or in XTIGER_MAIL_SERVER."
        )
    one = _by_name(services, asked.organisation)
    with services.database.write() as session:
        mail = letters.put(
            session,
            services,
            kind=asked.kind,
            letter=letter,
            reader=None,
            recipient=address,
            organisation_id=one,
            now=services.clock.now(),
        )
    letters.send_waiting(services)
    with services.database.read() as session:
        mail = session.get_one(Mail, mail.id)
    if mail.state == "sent":
        return f"Mailed to {address}."
    if mail.state == "failed":
        raise PermanentError(mail.why or "The mail server refused it.")
    return f"The mail to {address} waits: {mail.why or 'others go first.'}"


def _by_name(services: Services, name: str | None) -> int | None:
    if name is None:
        return None
    with services.database.read() as session:
        rows = profiles.organisations(session)
    for row in rows:
        if row.name.casefold() == name.strip().casefold() or str(row.id) == name.strip():
            return row.id
    known = ", ".join(row.name for row in rows) or "none is connected"
    raise PermanentError(f"No organisation is called {name}. Known: {known}.")

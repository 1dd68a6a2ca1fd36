"""Alerts: what is wrong is noticed, told once, told again at growing distance, and told as over.

Any process that is alive may look, each minute: one of them does.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain import alerting
from xtiger.domain.alerting import ORDER, RULES, Kind, Limits
from xtiger.domain.errors import PermanentError, XTigerError
from xtiger.engine.alerting import trouble, words
from xtiger.engine.alerting.plan import Plan, judged
from xtiger.engine.alerting.trouble import View
from xtiger.engine.reporting import letters, subscriptions
from xtiger.engine.services import Services
from xtiger.store import alerts, profiles, workers
from xtiger.store.models import Subscription
from xtiger.store.prepared import insert_into
from xtiger.telemetry import logger

#: Seconds between two looks, however many processes look.
LOOK = 60
#: The setting that says when somebody last looked: an ISO moment, UTC.
BEAT = "alerts.beat"
#: The setting that counts the looks that ended.
_ENDED = "alerts.ended"
#: A process that only serves pages looks in place of workers that didn't for so long.
_MISSED = timedelta(minutes=3)
#: The settings that administrators choose, and the mailboxes that were welcomed.
_HOURS, _FAILURES, _WELCOMED = "alert_hours", "alert_failures", "alert_welcomed"
#: Who made a subscription that no person asked for.
_OURSELVES = "XTiger"

log = logger("alerts")


# -- what people choose ------------------------------------------------------------------------


def limits(session: Session) -> Limits:
    """After how many hours, and from how many failures, an alert is told."""
    usual = Limits()
    return Limits(
        int(profiles.setting(session, _HOURS) or usual.hours),
        int(profiles.setting(session, _FAILURES) or usual.failures),
    )


def set_limits(services: Services, wanted: Limits, *, who: str) -> list[str]:
    """Stores them; answers with what changed, a few words each.

    Raises PermanentError with its sentence where one is out of its bounds.
    """
    for number, (least, most), what in (
        (wanted.hours, alerting.HOURS, "The hours"),
        (wanted.failures, alerting.FAILURES, "The number of failures"),
    ):
        if not least <= number <= most:
            raise PermanentError(f"{what} must be from {least:,} to {most:,}. Nothing was saved.")
    now = services.clock.now()
    changed = []
    with services.database.write() as session:
        had = limits(session)
        for name, before, after, what in (
            (_HOURS, had.hours, wanted.hours, "hours"),
            (_FAILURES, had.failures, wanted.failures, "failures"),
        ):
            if before != after:
                profiles.put_setting(session, name, after, who=who, now=now)
                changed.append(f"{what} {before:,} → {after:,}")
    return changed


def welcome(
    services: Services, address: str, *, person: str | None = None, zone: str | None = None
) -> bool:
    """Subscribes an administrator to alerts about all organisations, the first time they are seen.

    A row that a person made or changed, or took out since, is left as it is. Answers whether
    alerts go to the address since now; what isn't an address gets none.
    """
    try:
        address = subscriptions.address_of(address)
    except PermanentError:
        return False
    with services.database.read() as session:
        if address.lower() in (profiles.setting(session, _WELCOMED) or ()):
            return False
    subscriptions.take_in(services)
    zone = zone or subscriptions.zone_for(services, None)
    now = services.clock.now()
    with services.database.write() as session:
        known = list(profiles.hold_setting(session, _WELCOMED).value or ())
        if address.lower() in known:
            return False
        profiles.put_setting(session, _WELCOMED, [*known, address.lower()], who="XTiger", now=now)
        statement = insert_into(Subscription, session).values(
            address=address,
            mailbox=address.lower(),
            person=person,
            alerts=True,
            zone=zone,
            made_by=_OURSELVES,
            made_at=now,
        )
        made = session.execute(statement.on_conflict_do_nothing().returning(Subscription.id))
        if made.first() is not None:
            return True
        # XTIGER_REPORT_RECIPIENTS made it, and no person has said anything else since.
        untouched = (
            Subscription.mailbox == address.lower(),
            Subscription.organisation_id.is_(None),
            Subscription.made_by == _OURSELVES,
            Subscription.changed_by.is_(None),
        )
        found = session.scalar(select(Subscription).where(*untouched).with_for_update())
        if found is None:
            return False
        found.alerts, found.person = True, found.person or person
        return True


# -- what pages show ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """An alert that stands; `path` is the page of ours that helps."""

    kind: Kind
    organisation_id: int | None
    sentence: str
    since: datetime
    path: str


@dataclass(frozen=True, slots=True)
class MailTrouble:
    """Mails that wait in vain for more than a quarter of an hour, or were given up within a day."""

    count: int
    since: datetime
    why: str
    #: So many of them were given up, and don't go by themselves any more.
    failed: int = 0


def standing(session: Session, now: datetime, organisation_id: int | None = None) -> list[Open]:
    """The alerts that stand, worst first; of one organisation also those about all of them.

    What may mend itself in its first minutes isn't among them yet.
    """
    found = [
        Open(
            Kind(row.kind),
            row.organisation_id,
            row.sentence,
            row.opened_at,
            words.PATHS[Kind(row.kind)],
        )
        for row in alerts.standing(session)
        if now - row.opened_at >= RULES[Kind(row.kind)].patience
        and (organisation_id is None or row.organisation_id in (None, organisation_id))
    ]
    return sorted(found, key=lambda each: (ORDER[each.kind], each.since))


def mail_trouble(session: Session, now: datetime) -> MailTrouble | None:
    """That mails can't be sent, which no mail can tell; None while they can."""
    waiting, failed, oldest = alerts.unsent(session, before=now - trouble.UNSENT)
    if oldest is None:
        return None
    return MailTrouble(waiting + failed, oldest.made_at, oldest.why or "", failed)


# -- looking -----------------------------------------------------------------------------------


def look(services: Services) -> int:
    """Looks what is wrong, and writes the mails that are due; answers with their number.

    1. One process takes the minute, in a transaction of its own; the others do nothing.
    2. What is wrong now is read and compared with the alerts that are open. All is decided.
    3. Alerts and mails are written in one transaction, unless another look ended meanwhile: what
       this one read is outdated then, and might be told twice. It isn't enough that another
       began: where each look takes longer than a minute, all would be overtaken and none
       written. A look that dies is made up for by the next.
    """
    if not _take(services):
        return 0
    with services.database.read() as session:
        # First: what ends behind it is missing in what is read.
        before = profiles.setting(session, _ENDED)
        view = View.of(services, session, limits(session))
        found = trouble.findings(view)
        plan = None
        if found or view.standing:
            plan = Plan(services, view, judged(view, found), alerts.listeners(session))
            plan.decide()
    with services.database.write() as session:
        row = profiles.hold_setting(session, _ENDED)
        if (row.value or 0) != (before or 0):
            return 0
        row.value = int(row.value or 0) + 1
        return plan.write(session) if plan else 0


def _take(services: Services) -> bool:
    """Takes this minute's look; answers whether it was due and nobody has it."""
    database, now = services.database, services.clock.now()
    every = timedelta(seconds=LOOK * min(1, services.settings.time_factor))
    with database.read() as session:
        if not workers.schedule_is_due(session, now=now, every=every, name=BEAT):
            return False
    with database.write() as session:
        return workers.take_schedule(session, now=now, every=every, name=BEAT)


# -- who looks where no worker does ------------------------------------------------------------


def stand_in(services: Services) -> bool:
    """Looks, and sends what waits, if no worker did for minutes; answers whether it did.

    It is for processes that only serve pages: if all workers die, these are left to tell it.
    """
    now = services.clock.now()
    with services.database.read() as session:
        every = _MISSED * min(1, services.settings.time_factor)
        missed = workers.schedule_is_due(session, now=now, every=every, name=BEAT)
    if not missed:
        return False
    look(services)
    letters.send_waiting(services)
    return True


class Lookout:
    """A thread that stands in for workers each minute, beside a server of pages alone."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xtiger-lookout", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it; a mail under way is finished by whoever looks next."""
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.wait(LOOK * min(1, self._services.settings.time_factor)):
            try:
                stand_in(self._services)
            except XTigerError as failure:
                log.warning("not looked", why=failure.sentence)
            except Exception:
                # What tells that others have ended must not end itself.
                log.exception("looking broke")

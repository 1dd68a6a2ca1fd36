"""Who gets which mails, and the link in each of them that ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.utils import parseaddr

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from xtiger.domain import phrases, reporting, zones
from xtiger.domain.errors import PermanentError
from xtiger.domain.records import Module
from xtiger.domain.reporting import PERIODIC, Kind
from xtiger.engine.services import Services
from xtiger.store import mailbox, profiles
from xtiger.store.models import Organisation, Subscription
from xtiger.store.prepared import insert_into

#: The setting that says that somebody changed the list.
_CHOSEN = "report_recipients_chosen"
#: Rows that XTiger made, that no person has touched, and that ask for no mail after a sync.
_GIVEN = (
    Subscription.made_by == "XTiger",
    Subscription.changed_by.is_(None),
    Subscription.stopped_at.is_(None),
    Subscription.after_sync.is_(False),
)


@dataclass(frozen=True, slots=True)
class Choices:
    """What one address asks for; the fields are those of `Subscription`."""

    after_sync: bool = False
    daily: bool = False
    weekly: bool = False
    monthly: bool = False
    alerts: bool = False
    #: 0 to 23 by the reader's clock.
    hour: int = 7
    organisation_id: int | None = None
    person: str | None = None
    modules: Sequence[str] | None = None
    only_failed: bool = False
    attach_csv: bool = False
    language: str = "en"
    zone: str = zones.UNKNOWN


def choices_of(row: Subscription) -> Choices:
    """What a subscription asks for now."""
    return Choices(**{each.name: getattr(row, each.name) for each in fields(Choices)})


def subscriptions(
    services: Services, *, person: str | None = None, address: str | None = None
) -> list[Subscription]:
    """All subscriptions, or those of one person or address, in the order they were made."""
    take_in(services)
    statement = select(Subscription).order_by(Subscription.id)
    if person is not None:
        statement = statement.where(Subscription.person == person)
    if address is not None:
        statement = statement.where(Subscription.mailbox == address.strip().lower())
    with services.database.read() as session:
        return list(session.scalars(statement))


def take_in(services: Services) -> None:
    """Subscribes the addresses of XTIGER_REPORT_RECIPIENTS, until somebody changed the list."""
    wanted = services.settings.report_recipients
    if not wanted:
        return
    with services.database.read() as session:
        if profiles.has_setting(session, _CHOSEN):
            return
        known = set(session.scalars(select(Subscription.mailbox)))
        # An administrator who was only given alerts so far, by us.
        given = set(session.scalars(select(Subscription.mailbox).where(*_GIVEN)))
    new = {address.lower(): address for address in wanted if address.lower() not in known}
    more = given.intersection(address.lower() for address in wanted)
    if not new and not more:
        return
    zone = zone_for(services, None)
    now = services.clock.now()
    with services.database.write() as session:
        for key, address in new.items():
            statement = insert_into(Subscription, session).values(
                address=address,
                mailbox=key,
                after_sync=True,
                zone=zone,
                made_by="XTiger",
                made_at=now,
            )
            # Two processes that begin at once add each address once.
            session.execute(statement.on_conflict_do_nothing())
        session.execute(
            update(Subscription)
            .where(Subscription.mailbox.in_(more), *_GIVEN)
            .values(after_sync=True)
            .execution_options(synchronize_session=False)
        )


def zone_for(services: Services, organisation_id: int | None) -> str:
    """The zone a new reader probably lives in: the organisation's, or the first one's."""
    with services.database.read() as session:
        rows = profiles.organisations(session)
    row = next((one for one in rows if organisation_id in (None, one.id)), None)
    return zones.zone_name(row.time_zone if row else None)


def subscribe(services: Services, address: str, choices: Choices, *, who: str) -> int:
    """Adds an address; answers with the subscription's id.

    Raises PermanentError where it isn't an address, or has a subscription to the same.
    """
    address = address_of(address)
    _sound(choices)
    take_in(services)
    now = services.clock.now()
    with services.database.write() as session:
        _mark(session, who, now)
        with _alone(f"{address} is on the list already. Change it there."):
            return _add(session, address, choices, who=who, now=now).id


def change(
    services: Services,
    subscription_id: int,
    choices: Choices,
    *,
    who: str,
    unless: Callable[[Subscription], bool] | None = None,
) -> bool:
    """Stores new choices; one that its reader had stopped goes on.

    False where `unless`, asked under the row's lock, says that nothing is to be stored. Raises
    PermanentError where it is gone, or the address has another one to the same.
    """
    _sound(choices)
    now = services.clock.now()
    with services.database.write() as session:
        row = mailbox.lock(session, subscription_id)
        if row is None:
            raise PermanentError("This address was removed from the list meanwhile.")
        if unless is not None and unless(row):
            return False
        _mark(session, who, now)
        address = row.address
        _choose(row, choices, now)
        row.changed_by, row.changed_at = who[:255], now
        with _alone(f"{address} is on the list for the same already."):
            session.flush()
        return True


def remove(services: Services, subscription_id: int, *, who: str) -> None:
    """Takes a subscription out; mails already written to it are still sent."""
    with services.database.write() as session:
        row = mailbox.lock(session, subscription_id)  # first, as whoever changes it does
        _mark(session, who, services.clock.now())
        if row is not None:
            for waiting in mailbox.waiting_runs(session, subscription_id):
                session.delete(waiting)
            session.delete(row)


def address_of(address: str) -> str:
    """An address as it was typed, without blanks. Raises PermanentError where it isn't one."""
    address = address.strip()
    if not _is_address(address):
        raise PermanentError(f"Not an e-mail address: {address}. Nothing was saved.")
    return address


def _is_address(address: str) -> bool:
    name, _, host = parseaddr(address)[1].rpartition("@")
    plain = (
        address.isascii() and address.isprintable() and not any(sign in address for sign in " <>,;")
    )
    return bool(name and host) and plain


def _sound(choices: Choices) -> None:
    if not 0 <= choices.hour <= 23:
        raise PermanentError("The hour must be from 0 to 23. Nothing was saved.")
    if choices.language not in phrases.LANGUAGES:
        raise PermanentError(f"There are no mails in {choices.language!r}. Nothing was saved.")
    known_zone(choices.zone)
    known = {module.value for module in Module}
    for name in choices.modules or ():
        if name not in known:
            raise PermanentError(f"No module is called {name}. Nothing was saved.")


def known_zone(name: str) -> None:
    """Raises PermanentError for a zone that this machine doesn't know by the tz database's name."""
    if name != zones.UNKNOWN and zones.zone(name) is UTC:
        raise PermanentError(f"No time zone is called {name}. Write it like Pacific/Auckland.")


@contextmanager
def _alone(sentence: str) -> Iterator[None]:
    """The database lets an address be once on the list for the same, whoever adds it meanwhile."""
    try:
        yield
    except IntegrityError:
        raise PermanentError(sentence) from None


def _mark(session: Session, who: str, now: datetime) -> None:
    """From now on the list is what people made of it, whatever the environment says."""
    profiles.put_setting(session, _CHOSEN, True, who=who, now=now)


def _add(
    session: Session, address: str, choices: Choices, *, who: str, now: datetime
) -> Subscription:
    row = Subscription(address=address, made_by=who[:255], made_at=now)
    for kind in (*PERIODIC, Kind.AFTER_SYNC):
        setattr(row, kind, False)
    _choose(row, choices, now)
    session.add(row)
    session.flush()
    return row


def _choose(row: Subscription, choices: Choices, now: datetime) -> None:
    """Puts choices into a row: a kind that was off, or stopped, begins now."""
    for kind in PERIODIC:
        begins = getattr(choices, kind) and (not getattr(row, kind) or row.stopped_at)
        if begins:
            setattr(row, f"{kind}_from", now)
    for each in fields(Choices):
        setattr(row, each.name, getattr(choices, each.name))
    row.modules = None if choices.modules is None else list(choices.modules)
    row.stopped_at = None
    row.next_at = now  # the next look finds out


def next_look(row: Subscription, now: datetime) -> datetime | None:
    """When the next daily, weekly or monthly report of a subscription falls due; UTC."""
    moments = [
        reporting.next_due(kind, now, hour=row.hour, zone=row.zone)
        for kind in PERIODIC
        if getattr(row, kind)
    ]
    return min(moments, default=None)


# -- the link that ends a subscription ---------------------------------------------------------


def unsubscribe_link(services: Services, subscription_id: int) -> str:
    """The page that ends a subscription without sign-in; only we can make such a link."""
    signature = services.ring.sign(f"unsubscribe {subscription_id}")
    return services.links.page(f"unsubscribe/{subscription_id}.{signature}")


def by_token(services: Services, token: str) -> Subscription | None:
    """The subscription of a link's last part; None where the link isn't ours, or it is gone."""
    number, _, signature = token.partition(".")
    if not number.isascii() or not number.isdigit() or len(number) > 15:
        return None
    if not services.ring.signed(f"unsubscribe {int(number)}", signature):
        return None
    with services.database.read() as session:
        return session.get(Subscription, int(number))


def stop(services: Services, token: str) -> Subscription | None:
    """Ends the subscription of a link; again does nothing more. None as in `by_token`."""
    found = by_token(services, token)
    if found is None:
        return None
    with services.database.write() as session:
        row = mailbox.lock(session, found.id)
        if row is not None and row.stopped_at is None:
            row.stopped_at = services.clock.now()
            for waiting in mailbox.waiting_runs(session, row.id):
                session.delete(waiting)
    # Apart from the row's lock: whoever settles a mail holds the mail and then wants its reader.
    with services.database.write() as session:
        mailbox.withdraw(session, found.id, why="Its reader wants no more mails.")
    return row


def has_left(services: Services, address: str) -> bool:
    """Whether whoever reads an address stopped all mails that went there."""
    rows = subscriptions(services, address=address)
    return bool(rows) and all(row.stopped_at is not None for row in rows)


def organisations_of(session: Session, organisation_id: int | None) -> list[Organisation]:
    """The organisations that a subscription is about."""
    rows = profiles.organisations(session)
    return [row for row in rows if organisation_id in (None, row.id)]

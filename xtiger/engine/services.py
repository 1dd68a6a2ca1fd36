"""What a run needs: the ports, the database, keys and settings; handed in, never looked up."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote

from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import Resource
from xtiger.ports import Clock, CrmPort, Dispatcher, MailPort, Observer, Usage, XeroPort
from xtiger.settings import Settings
from xtiger.store.crypto import KeyRing
from xtiger.store.models import Organisation
from xtiger.store.schema import Database


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class NoDispatcher:
    """Wakes nobody: a worker's next tick finds the work."""

    def wake(self, organisation_id: int) -> None:
        return None


def unseen(_step: str) -> None:
    """The observer of a normal run."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


class Event(Protocol):
    """One event of a webhook delivery: an object of an organisation that changed.

    `resource` is None where it's none of XTiger's; `at` is UTC by Xero's clock, None where it
    can't be read.
    """

    @property
    def tenant_id(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def resource(self) -> Resource | None: ...
    @property
    def resource_id(self) -> str: ...
    @property
    def at(self) -> datetime | None: ...


class Delivery(Protocol):
    """One delivery of Xero's webhooks: its events, numbered from `first` to `last`."""

    @property
    def events(self) -> Sequence[Event]: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


def no_webhooks(_body: bytes) -> Delivery:
    """Reads no delivery: whoever takes webhooks hands in what reads them."""
    raise ValueError("nothing here reads webhooks")


@dataclass(frozen=True, slots=True)
class Links:
    """The one place that builds addresses of our own pages and of Xero's."""

    public_url: str
    xero_app_url: str

    def record(self, ref: RecordRef) -> str:
        """Our page of a record; it is also our mark on documents in Xero."""
        return f"{self.public_url}/records/{ref.module.value}/{quote(ref.id, safe='')}"

    def page(self, path: str) -> str:
        """One of our pages, for mails."""
        return f"{self.public_url}/{path.lstrip('/')}"

    def callback(self) -> str:
        """The redirect URL that Xero's app must know letter by letter."""
        return f"{self.public_url}/connection/callback"

    def webhooks(self) -> str:
        """Where Xero sends its webhooks."""
        return f"{self.public_url}/webhooks/xero"

    def xero(self, organisation: Organisation, resource: Resource, xero_id: str) -> str | None:
        """Where a person sees the object in Xero, None where no shape of link is known."""
        shapes = {
            Resource.INVOICES: "invoicing/view",
            Resource.CONTACTS: "contacts/contact",
        }
        if resource not in shapes or not organisation.short_code:
            return None
        return f"{self.xero_app_url}/app/{organisation.short_code}/{shapes[resource]}/{xero_id}"


@dataclass(frozen=True, slots=True)
class Patience:
    """All of Xero's windows in seconds (DESIGN: exactly once), scaled by one factor."""

    call: float
    lease: float
    replay: float
    look_up: float

    @classmethod
    def scaled(cls, factor: float) -> Patience:
        """Xero remembers an Idempotency-Key about six minutes; we replay until five."""
        return cls(
            call=60 * factor,
            lease=180 * factor,
            replay=300 * factor,
            look_up=420 * factor,
        )

    def start_until(self, renewed: datetime) -> datetime:
        """The last moment at which a call may start under a lease renewed then."""
        return renewed + timedelta(seconds=self.lease - self.call)


#: What tells records of different modules apart in our marks.
_LETTERS: Mapping[Module, str] = {
    Module.CONTACTS: "C",
    Module.PRODUCTS: "P",
    Module.SERVICES: "S",
    Module.INVOICES: "I",
}


@dataclass(slots=True)
class Services:
    """Everything a run touches. `worker` names this process in leases."""

    database: Database
    settings: Settings
    ring: KeyRing
    crm: CrmPort
    xero: XeroPort
    mail: MailPort | None
    worker: str
    clock: Clock = field(default_factory=SystemClock)
    dispatcher: Dispatcher = field(default_factory=NoDispatcher)
    observe: Observer = unseen
    #: Reads the raw body of a webhook delivery; ValueError or XTigerError where it can't.
    read_delivery: Callable[[bytes], Delivery] = no_webhooks
    #: What calls took and no database has kept yet.
    uncounted: deque[Usage] = field(default_factory=deque)
    #: Whether this process is ending: a drain then stops after the calls under way.
    stopping: Callable[[], bool] = never
    #: The drains under way, by thread: the organisation and when it began (time.monotonic).
    under_way: dict[int, tuple[int, float]] = field(default_factory=dict)
    #: Whether this thread's turn is over since other organisations wait: its drain then gives it.
    crowded: Callable[[], bool] = never
    #: Calls of one resource at once for one organisation; Xero takes five, one is for people.
    in_flight: int = 4
    #: What spreads back-offs: a number in [0, 1) that nobody can tell before.
    chance: Callable[[], float] = random.random

    @property
    def links(self) -> Links:
        """Addresses of our pages and Xero's."""
        return Links(self.settings.public_url, self.settings.xero_app_url)

    @property
    def patience(self) -> Patience:
        """How long to wait for what."""
        return Patience.scaled(self.settings.time_factor)

    def marker(self, ref: RecordRef) -> str:
        """What marks a contact in Xero as this CRM's record (ContactNumber)."""
        return f"{self.crm.key}-{_LETTERS[ref.module]}{ref.id}"

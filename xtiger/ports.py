"""The five edges of the engine: CRM, Xero, mail, dispatcher and clock, as Protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from xtiger.domain.errors import PermanentError, TransientError
from xtiger.domain.records import Module, ModuleInfo, Record, RecordRef, XeroLink
from xtiger.domain.resources import Resource, Verb


class Clock(Protocol):
    """Time; everything that waits or dates goes through it."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


class CrmPort(Protocol):
    """A CRM whose records are kept in step."""

    #: Short and stable; part of every marker XTiger leaves in Xero.
    key: str

    def modules(self) -> Mapping[Module, ModuleInfo]:
        """The modules this CRM has."""

    def fetch_many(self, refs: Sequence[RecordRef]) -> dict[RecordRef, Record]:
        """The records as they are now; one that is gone is absent."""

    def scan(self, module: Module, *, after: str | None, limit: int) -> Sequence[Record]:
        """Records of a module in the order of their ids, those behind `after`."""

    def browse(
        self,
        module: Module,
        *,
        text: str | None,
        status: str | None,
        before: str | None,
        limit: int,
    ) -> Sequence[Record]:
        """Records for a list page, newest first: those below `before` that match."""

    def write_back(self, links: Mapping[RecordRef, XeroLink]) -> None:
        """Stores ids, numbers and status on the CRM's records; must not echo as a change."""


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What Xero's token endpoint gave. `expires_at` is UTC. `email` names who consented."""

    access_token: str = field(repr=False)
    expires_at: datetime
    scope: str
    refresh_token: str | None = field(default=None, repr=False)
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One organisation of a consent, as GET /connections lists it."""

    connection_id: str
    tenant_id: str
    name: str
    auth_event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Minute:
    """Xero's fixed window of calls for one organisation, as far as it is known.

    `began` is UTC and never later than the true beginning plus the time of one call; `left` are
    the calls left in it. A worker that takes an organisation over goes on with it.
    """

    began: datetime
    left: int


def unheard() -> None:
    """Nobody waits to hear it."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a call to one organisation needs; `minute` is what another worker last knew of it.

    `entered` is called once the call has its place with Xero's limits: who starts several at
    once waits for it, so that they go out in the order in which they were started.
    """

    access_token: str = field(repr=False)
    tenant_id: str
    minute: Minute | None = None
    entered: Callable[[], None] = field(default=unheard, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls to one organisation took: their number and bytes, bodies and headers.

    `day_left` and `minute` are what the last of them told of Xero's limits.
    """

    tenant_id: str
    calls: int
    bytes_out: int
    bytes_in: int
    day_left: int | None = None
    minute: Minute | None = None


@dataclass(frozen=True, slots=True)
class Element:
    """Xero's answer about one element of a batch, in the order of the request.

    `stored` is None where the answer says nothing believable about the element. `faults` are
    all of Xero's messages, in its own words. `data` is the object as Xero now has it.
    """

    stored: bool | None
    xero_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    #: It was there before this call: found by its key, perhaps with older content.
    earlier: bool = False
    #: What was sent and what Xero has instead, in a few words each, for the log.
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One settled call: the elements, and the bytes as they came."""

    elements: tuple[Element, ...]
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    #: Calls left today, None where Xero didn't say.
    day_left: int | None = None
    minute: Minute | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The object below which a call writes: a credit note's allocations, an invoice's files."""

    resource: Resource
    xero_id: str


@dataclass(frozen=True, slots=True)
class Call:
    """One write, exactly as it goes out and as the journal keeps it.

    `xero_id` addresses one object (every DELETE, and updates of resources that are written
    alone). `owner` is the object below which it goes. An attachment's body is the file itself,
    `xero_id` its name and `content_type` its kind.
    """

    resource: Resource
    verb: Verb
    body: bytes = field(repr=False)
    idempotency_key: str
    count: int
    xero_id: str | None = None
    owner: Owner | None = None
    content_type: str = "application/json"


class XeroPort(Protocol):
    """Xero. Every method raises only the four errors of `domain.errors`."""

    # consent

    def authorise_url(
        self, *, client_id: str, redirect_uri: str, scopes: str, state: str, verifier: str
    ) -> str:
        """The page of Xero where a person gives consent (code flow with state and PKCE)."""

    def exchange(
        self, *, client_id: str, secret: str, redirect_uri: str, code: str, verifier: str
    ) -> TokenSet:
        """Turns a consent's code into tokens."""

    def refresh(self, *, client_id: str, secret: str, refresh_token: str) -> TokenSet:
        """Rotates the tokens. `AuthorisationError` on invalid_grant: reconnect needed."""

    def client_credentials(self, *, client_id: str, secret: str, scopes: str) -> TokenSet:
        """Tokens of a custom connection (one organisation, no consent page, no refresh token)."""

    def revoke(self, *, client_id: str, secret: str, refresh_token: str) -> None:
        """Ends a consent with all of its tokens and connections; one already ended is fine."""

    def tenants(self, access_token: str) -> Sequence[Tenant]:
        """The organisations of the consent."""

    def disconnect(self, *, access_token: str, connection_id: str) -> None:
        """Takes one organisation out of the consent."""

    # writing

    def save_many(self, access: Access, call: Call) -> Answer:
        """Sends one batch, or one object, part or file. `UnknownOutcome` if it may be stored."""

    # reading

    def read(self, access: Access, path: str) -> Sequence[Mapping[str, Any]]:
        """All of a small collection: Organisation, Accounts, TaxRates, an object's history."""

    def find(
        self, access: Access, resource: Resource, keys: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        """The objects that have these natural keys, in as few calls as the URL allows."""

    def get_many(
        self, access: Access, resource: Resource, xero_ids: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        """The objects of these ids, in as few calls as the URL allows; unknown ones are absent."""

    def changes(
        self,
        access: Access,
        resource: Resource,
        *,
        since: datetime | None = None,
        mine: bool = False,
    ) -> Iterator[Mapping[str, Any]]:
        """The objects changed since a moment (UTC, whole seconds), all without one; streamed.

        Memory holds one page. None is missed while Xero goes on changing; one may come twice.
        `mine`: only what this app made, where Xero can tell (invoices).
        """

    # what it cost

    def usage(self) -> Sequence[Usage]:
        """What calls took since the last time this was asked, one for each organisation."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes along with a letter."""

    name: str
    content: bytes = field(repr=False)
    media_type: str = "text/csv"


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail to one recipient."""

    recipient: str
    subject: str
    text: str
    html: str
    message_id: str
    #: The id under which mail programs gather letters of a kind (References).
    thread: str | None = None
    #: The address that ends the subscription by one POST, without sign-in.
    unsubscribe: str | None = None
    attachment: Attachment | None = None


@dataclass(frozen=True, slots=True)
class MailServer:
    """How letters are handed over. `security` is none, starttls or tls."""

    host: str
    port: int = 25
    security: str = "none"
    username: str = ""
    password: str = field(default="", repr=False)
    sender: str = "xtiger@localhost"


class AddressRefused(PermanentError):
    """The mail server will never take a letter to this address: it has no such mailbox."""


class ServerAway(TransientError):
    """The mail server can't be reached, trusted or signed in to: no other letter will go either."""


class MailPort(Protocol):
    """Sends mail. Raises TransientError, PermanentError or UnknownOutcome.

    UnknownOutcome: the whole letter went out and the line broke before the server's answer.
    """

    def has_server(self) -> bool:
        """Whether it knows a mail server of its own."""

    def send(self, letter: Letter, server: MailServer | None = None) -> None:
        """Hands one letter to that mail server, or to its own."""

    def check(self, server: MailServer | None = None) -> None:
        """Connects and signs in as `send` does, and leaves again without a letter."""


class Dispatcher(Protocol):
    """Starts work on an organisation somewhere, soon. Losing or doubling a wake is harmless."""

    def wake(self, organisation_id: int) -> None:
        """Asks that the organisation be drained now."""


class Observer(Protocol):
    """Sees each named step of a drain; tests stop or kill the process there."""

    def __call__(self, step: str, /) -> None: ...

"""One organisation's books for the time of one call: what its documents may refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from xtiger.sandbox.kept.cabinet import Place
from xtiger.sandbox.kept.state import Organisation, State, Stored, fold
from xtiger.sandbox.wire import Json

if TYPE_CHECKING:
    from xtiger.sandbox.accounting.queries import Query
    from xtiger.sandbox.wire import Reply


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one element of a write; `body` is as it goes out."""

    id: str
    body: Json
    errors: list[str]
    created: bool
    trace: Json = field(default_factory=dict)  #: natural keys, for the log of requests


#: Methods at a resource's own address, and (with "/id") at that of one of its objects.
READ = frozenset({"GET", "GET/id"})
#: PUT creates, POST creates or updates, POST at an object's address updates it.
READ_WRITE = READ | {"PUT", "POST", "POST/id"}


class Resource(Protocol):
    """One endpoint of the Accounting API."""

    plural: str  #: as in the address and the envelope
    kind: str  #: as in the state
    id_field: str
    error_flag: str  #: the field that marks a refused element, empty where the schema has none
    paged: bool
    sized: bool  #: whether `pageSize` counts
    fields: dict[str, str]  #: what `where` and `order` may name -> SQL
    scopes: tuple[str, ...]  #: any one of them grants it; with `.read` only reading
    methods: frozenset[str]
    parts: Mapping[str, Part]  #: what lies below one object, by its lower-case word
    single: bool  #: whether only the first element of a write counts
    filtered: bool  #: whether `where` and the other filters that most lists have count

    def offered(self, books: Books) -> bool:
        """Whether the organisation has this at all; if not, the address isn't there."""

    def dressed(self, reply: Reply, *, together: bool) -> Reply:
        """The finished answer, where this endpoint's differs from others."""

    def find(self, books: Books, key: str) -> Stored | None:
        """By id, or by number or code where Xero allows it."""

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        """As it goes out; without detail as a member of an unpaged list."""

    def show_alone(self, books: Books, stored: Stored) -> Json:
        """As a GET at its own address shows it."""

    def members(self, books: Books, query: Query, *, detail: bool) -> list[Json]:
        """What a list shows, one page of it if it comes in pages."""

    def narrow(self, books: Books, query: Query, asked: Mapping[str, str]) -> None:
        """Applies the parameters that only this endpoint has; names in lower case."""

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """Creates or updates one element, or says why not; `target` is the id in the address."""

    def remove(self, books: Books, stored: Stored) -> Outcome | None:
        """Carries out DELETE; None answers 204, an Outcome shows the object or why not."""


@dataclass(frozen=True, slots=True)
class PartCall:
    """A request below an object: `/CreditNotes/{id}/Allocations/{key}`."""

    method: str
    key: str | None
    body: bytes
    content_type: str
    arguments: Mapping[str, str]
    detail: str | None = None  #: what follows the key in the address


class Part(Protocol):
    """What lies below the objects of a resource: allocations, options, files, notes."""

    plural: str  #: as in the address
    scopes: tuple[str, ...] | None  #: None: those of the resource

    def call(self, books: Books, owner: Stored, call: PartCall) -> Reply:
        """Answers one request. Raises Malformed."""


class Endpoint:
    """What most endpoints have in common; each names the rest."""

    kind: str
    error_flag = "HasErrors"
    paged = False
    sized = False
    scopes: tuple[str, ...] = ("accounting.settings",)
    methods: frozenset[str] = READ
    parts: Mapping[str, Part] = MappingProxyType({})
    filtered = True
    single = False

    def offered(self, books: Books) -> bool:
        return True

    def dressed(self, reply: Reply, *, together: bool) -> Reply:
        return reply

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        raise NotImplementedError

    def show_alone(self, books: Books, stored: Stored) -> Json:
        return self.show(books, stored, detail=True)

    def members(self, books: Books, query: Query, *, detail: bool) -> list[Json]:
        return [self.show(books, one, detail=detail) for one in books.rows(self.kind, query)]

    def narrow(self, books: Books, query: Query, asked: Mapping[str, str]) -> None:
        return None

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        raise NotImplementedError

    def remove(self, books: Books, stored: Stored) -> Outcome | None:
        raise NotImplementedError


class Books:
    """Look-ups in one organisation; accounts and tax rates are read once per call."""

    def __init__(self, state: State, organisation: Organisation, app: str, four: bool) -> None:
        self.state = state
        self.organisation = organisation
        self.tenant = organisation.tenant
        self.app = app  #: client id of the calling app
        self.four = four  #: whether unit amounts keep 4 decimals in this call
        self.backorders = False  #: whether tracked items may be sold beyond their stock
        self._known: dict[tuple[str, str], Json | None] = {}
        self._exact: Books | None = None
        self._groups: dict[str, list[tuple[str, str]]] | None = None

    def has_files(self, kind: str, identifier: str) -> bool:
        return self.state.cabinet.holds(Place(self.tenant, kind, identifier))

    def at_four(self) -> Books:
        """The same books, unit amounts with 4 decimals."""
        if self.four:
            return self
        if self._exact is None:
            self._exact = Books(self.state, self.organisation, self.app, four=True)
            self._exact.backorders = self.backorders
            self._exact._known = self._known
        return self._exact

    def today(self) -> date:
        """The organisation's own day: the default of a document's date."""
        try:
            zone: tzinfo = ZoneInfo(self.organisation.zone)
        except ZoneInfoNotFoundError:  # a system without time zone data
            zone = UTC
        return datetime.fromtimestamp(self.state.now(), zone).date()

    def get(self, kind: str, identifier: str) -> Stored | None:
        return self.state.get(self.tenant, kind, identifier)

    def rows(self, kind: str, query: Query) -> list[Stored]:
        """The objects that a query wants: its page, or all of them."""
        paged = query.page is not None
        return self.state.objects(
            self.tenant,
            kind,
            query.condition,
            query.values,
            order=query.order,
            limit=query.size if paged else -1,
            offset=((query.page or 1) - 1) * query.size if paged else 0,
        )

    def named(self, kind: str, name: str) -> list[Stored]:
        """Objects with that name, code or number, in any case, oldest first."""
        return self.state.objects(self.tenant, kind, "name = ?", (fold(name),))

    def numbered(self, kind: str, number: str) -> list[Stored]:
        return self.state.objects(self.tenant, kind, "number = ?", (fold(number),))

    def _once(self, kind: str, name: str) -> Json | None:
        key = (kind, name)
        if key not in self._known:
            found = self.named(kind, name)
            self._known[key] = found[0].body if found else None
        return self._known[key]

    def account(self, code: str) -> Json | None:
        return self._once("account", code)

    def account_of(self, identifier: str) -> Json | None:
        key = ("account id", identifier)
        if key not in self._known:
            found = self.get("account", identifier)
            self._known[key] = found.body if found else None
        return self._known[key]

    def tax_rate(self, tax_type: str) -> Json | None:
        return self._once("taxrate", tax_type)

    def tax_code(self, code: str, account_class: str) -> str:
        """The TaxType meant; in Australia two older ones stand for others.

        Xero: changes to tax codes in Australia (2013).
        """
        if self.organisation.body["CountryCode"] == "AU":
            if code.upper() == "NONE" and account_class == "EXPENSE":
                return "EXEMPTEXPENSES"
            if code.upper() in ("NONE", "EXEMPTINPUT"):
                return "BASEXCLUDED"
        return code

    def groups_of(self, contact: str) -> list[tuple[str, str]]:
        """Id and name of the contact's groups; all groups are read once per call."""
        if self._groups is None:
            self._groups = {}
            for group in self.state.objects(self.tenant, "contactgroup", "status = 'ACTIVE'"):
                for member in group.body["Members"]:
                    self._groups.setdefault(member, []).append((group.id, group.body["Name"]))
        return self._groups.get(contact, [])

    def item(self, code: str) -> Json | None:
        """Read each time: the same call may have written it."""
        found = self.named("item", code)
        return found[0].body if found else None

    def system_lock(self) -> str:
        """The later of the two lock dates as `YYYY-MM-DD`, or empty."""
        body: dict[str, Any] = self.organisation.body
        return max(str(body.get("PeriodLockDate") or ""), str(body.get("EndOfYearLockDate") or ""))

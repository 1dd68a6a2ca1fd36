"""One organisation's books for the time of one call: what its documents may refer to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from xtiger.sandbox.state import Organisation, State, Stored, fold
from xtiger.sandbox.wire import Json


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one element of a write; `body` is as it goes out."""

    id: str
    body: Json
    errors: list[str]
    created: bool
    trace: Json = field(default_factory=dict)  #: natural keys, for the log of requests


class Resource(Protocol):
    """One endpoint of the Accounting API."""

    plural: str  #: as in the address and the envelope
    kind: str  #: as in the state
    id_field: str
    error_flag: str  #: the field that marks a refused element
    paged: bool
    fields: dict[str, str]  #: what `where` and `order` may name -> SQL
    scopes: tuple[str, ...]  #: any one of them grants it; with `.read` only reading
    writable: bool

    def find(self, books: Books, key: str) -> Stored | None:
        """By id, or by number or code where Xero allows it."""

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        """As it goes out; without detail as a member of an unpaged list."""

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """Creates or updates one element, or says why not; `target` is the id in the address."""


class Books:
    """Look-ups in one organisation; accounts and tax rates are read once per call."""

    def __init__(self, state: State, organisation: Organisation, app: str, four: bool) -> None:
        self.state = state
        self.organisation = organisation
        self.tenant = organisation.tenant
        self.app = app  #: client id of the calling app
        self.four = four  #: whether unit amounts keep 4 decimals in this call
        self._known: dict[tuple[str, str], Json | None] = {}

    def today(self) -> date:
        """The organisation's own day: the default of a document's date."""
        try:
            return datetime.now(ZoneInfo(self.organisation.zone)).date()
        except ZoneInfoNotFoundError:  # a system without time zone data
            return datetime.now(UTC).date()

    def get(self, kind: str, identifier: str) -> Stored | None:
        return self.state.get(self.tenant, kind, identifier)

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

    def item(self, code: str) -> Json | None:
        """Read each time: the same call may have written it."""
        found = self.named("item", code)
        return found[0].body if found else None

    def system_lock(self) -> str:
        """The later of the two lock dates as `YYYY-MM-DD`, or empty."""
        body: dict[str, Any] = self.organisation.body
        return max(str(body.get("PeriodLockDate") or ""), str(body.get("EndOfYearLockDate") or ""))

"""A Xero in memory: the rules its promises rest on, and every way in which an answer goes wrong."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from xtiger.domain import exactjson
from xtiger.domain.errors import (
    AuthorisationError,
    PermanentError,
    TransientError,
    UnknownOutcome,
    XTigerError,
)
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.ports import Access, Answer, Call, Clock, Element, Tenant, TokenSet, Usage

#: How long Xero remembers an Idempotency-Key and its first answer, errors too.
MEMORY = timedelta(minutes=6)
#: How long an access token lives.
TOKEN = timedelta(minutes=30)
#: Words that make Xero refuse, or break over, every call whose body has them.
REFUSED, BREAKS = "poison-refused", "poison-breaks"

#: What may go wrong with the next writing calls.
FAULTS = (
    "outage",
    "minute",
    "day",
    "forbidden",
    "expired",
    "lost before",
    "lost after",
    "late",
    "500 before",
    "500 after",
    "garbled",
    "refused",
    "slow",
)
#: What may go wrong with the next reading ones.
READ_FAULTS = ("outage", "minute", "forbidden", "unreadable")

_TROUBLE = "Xero has trouble of its own."
_CENT = Decimal("0.01")
_VERSION = re.compile(r"\bv(\d+)\b")
_RATES = {"OUTPUT2": Decimal(15), "INPUT2": Decimal(15), "NONE": Decimal(0)}
_ENDED = frozenset({"VOIDED", "DELETED", "ARCHIVED"})

#: (module, record id): whose transfer made an object.
Owner = tuple[str, str]


@dataclass(slots=True)
class Kept:
    """One object. `owner` is the record whose call made it, None for a stranger's."""

    resource: Resource
    data: dict[str, Any]
    owner: Owner | None
    updated: datetime
    #: The version each of our writes carried, in the order in which they were stored.
    versions: list[int] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        status = self.data.get(CATALOGUE[self.resource].status_field or "")
        return status in _ENDED

    @property
    def shown(self) -> dict[str, Any]:
        """As Xero reads it out."""
        changed = round(self.updated.timestamp() * 1000)
        return {**self.data, "UpdatedDateUTC": f"/Date({changed}+0000)/"}

    @property
    def xero_id(self) -> str:
        return str(self.data[CATALOGUE[self.resource].id_field])


@dataclass(slots=True)
class Consent:
    """Tokens of the one consent: what Xero still takes."""

    access: dict[str, datetime] = field(default_factory=dict)
    refresh: set[str] = field(default_factory=set)
    given: int = 0
    alive: bool = False


#: Hears of every call before Xero does; answers with the owners of its elements.
Witness = Callable[[str, Call], Sequence[Owner | None]]


def nobody(_tenant: str, call: Call) -> Sequence[Owner | None]:
    """Witnesses nothing."""
    return [None] * call.count


@dataclass(slots=True)
class ModelXero:
    """An XeroPort for some organisations; safe to call from several threads.

    `script` and `read_script` are the faults of the calls to come, oldest first; "" is none.
    `broken` collects the promises that a call was seen to break.
    """

    clock: Clock
    #: Tenant id to its currency.
    currencies: Mapping[str, str]
    consent: Consent = field(default_factory=Consent)
    witness: Witness = nobody
    script: list[str] = field(default_factory=list)
    read_script: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    played: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    books: dict[str, dict[str, Kept]] = field(default_factory=dict)
    #: Numbers of documents whose total Xero rounds a cent off, once.
    cents: set[str] = field(default_factory=set)
    _first: dict[tuple[str, str], _First] = field(default_factory=dict)
    _in_the_air: list[_Late] = field(default_factory=list)
    _usage: Counter[str] = field(default_factory=Counter)
    _made: int = 0
    _at: datetime | None = None
    _lock: Any = field(default_factory=threading.RLock)

    # -- consent ----------------------------------------------------------------------------------

    def authorise_url(
        self, *, client_id: str, redirect_uri: str, scopes: str, state: str, verifier: str
    ) -> str:
        return f"https://login.example.com/authorize?state={state}"

    def exchange(
        self, *, client_id: str, secret: str, redirect_uri: str, code: str, verifier: str
    ) -> TokenSet:
        with self._lock:
            self.consent.alive = True
            return self._tokens()

    def refresh(self, *, client_id: str, secret: str, refresh_token: str) -> TokenSet:
        with self._lock:
            if not self.consent.alive or refresh_token not in self.consent.refresh:
                raise AuthorisationError("The consent has ended. Connect again.")
            return self._tokens()

    def client_credentials(self, *, client_id: str, secret: str, scopes: str) -> TokenSet:
        raise PermanentError("This app has no custom connection.")

    def revoke(self, *, client_id: str, secret: str, refresh_token: str) -> None:
        with self._lock:
            self.consent.alive = False
            self.consent.access.clear()
            self.consent.refresh.clear()

    def tenants(self, access_token: str) -> Sequence[Tenant]:
        with self._lock:
            ends = self.consent.access.get(access_token)
            if ends is None or ends <= self.clock.now():
                raise AuthorisationError("The access token has ended.", expired=True)
        return [Tenant(one, one, f"Books {one[:4]}") for one in self.currencies]

    def _tokens(self) -> TokenSet:
        self.consent.given += 1
        access, renew = f"access-{self.consent.given}", f"refresh-{self.consent.given}"
        ends = self.clock.now() + TOKEN
        self.consent.access[access] = ends
        self.consent.refresh.add(renew)
        return TokenSet(
            access, ends, "offline_access accounting.invoices", renew, "ana@example.com"
        )

    def disconnect(self, *, access_token: str, connection_id: str) -> None:
        raise PermanentError("Nobody disconnects here.")

    # -- writing ----------------------------------------------------------------------------------

    def save_many(self, access: Access, call: Call) -> Answer:
        with self._lock:
            getattr(access, "entered", lambda: None)()
            self.calls += 1
            self._usage[access.tenant_id] += 1
            self.land()
            owners = self.witness(access.tenant_id, call)
            self._let_in(access)
            fault = self.script.pop(0) if self.script else ""
            self.played[fault] += bool(fault)
            return self._played(fault, access, call, owners)

    def _played(
        self, fault: str, access: Access, call: Call, owners: Sequence[Owner | None]
    ) -> Answer:
        """The call as the scripted fault lets it end."""
        tenant = access.tenant_id
        self._refuse(fault, access)
        lost = UnknownOutcome("Xero's answer was lost.")
        match fault:
            case "lost before":
                raise lost
            case "late":
                due = self.clock.now() + timedelta(seconds=50)
                self._in_the_air.append(_Late(due, tenant, call, owners))
                raise lost
            case "lost after":
                self._quietly(tenant, call, owners)
                raise lost
            case "500 before" | "500 after" | "refused":
                error: XTigerError = UnknownOutcome(_TROUBLE, answered=True)
                if fault == "refused":
                    error = PermanentError("Xero refused the call: “Not now”.")
                return self._answered(
                    tenant, call, owners, error=error, stores=fault == "500 after"
                )
            case "slow":
                self.clock.sleep(45)
        answer = self._answered(tenant, call, owners)
        if fault == "garbled":
            first, *rest = answer.elements
            elements = (Element(stored=None, data=first.data), *rest)
            return Answer(elements, answer.status, answer.headers, answer.body)
        return answer

    def _refuse(self, fault: str, access: Access) -> None:
        """The faults that keep a call of any kind from being carried out."""
        match fault:
            case "outage":
                raise TransientError("Xero doesn't answer. XTiger tries again by itself.")
            case "minute":
                raise TransientError("60 calls a minute are used up.", retry_after=26, counts=False)
            case "day":
                raise TransientError("Today's calls are used up.", retry_after=7200, counts=False)
            case "unreadable":
                raise PermanentError("Xero refused the call: “A filter is invalid”.")
            case "forbidden":
                raise AuthorisationError("Xero doesn't let XTiger in.")
            case "expired":
                self.consent.access.pop(access.access_token, None)
                raise AuthorisationError("The access token has ended.", expired=True)

    def _let_in(self, access: Access) -> None:
        if access.tenant_id not in self.currencies:
            raise AuthorisationError("Xero doesn't know this organisation.")
        ends = self.consent.access.get(access.access_token)
        if ends is None or ends <= self.clock.now():
            raise AuthorisationError("The access token has ended.", expired=True)

    def land(self) -> None:
        """Carries out the calls that were long on their way."""
        with self._lock:
            now = self.clock.now()
            landed = [each for each in self._in_the_air if each.due <= now]
            self._in_the_air = [each for each in self._in_the_air if each.due > now]
            for each in landed:
                self._at = each.due
                self._quietly(each.tenant, each.call, each.owners)
            self._at = None

    def _now(self) -> datetime:
        """The present, or the moment at which something reached Xero unseen."""
        return self._at or self.clock.now()

    def settle_down(self) -> None:
        """Nothing goes wrong any more; what is on its way still lands."""
        with self._lock:
            self.script.clear()
            self.read_script.clear()

    def _quietly(self, tenant: str, call: Call, owners: Sequence[Owner | None]) -> None:
        try:
            self._answered(tenant, call, owners)
        except XTigerError:
            return  # Xero said so to nobody

    def _answered(
        self,
        tenant: str,
        call: Call,
        owners: Sequence[Owner | None],
        *,
        error: XTigerError | None = None,
        stores: bool = True,
    ) -> Answer:
        """The first answer to a key, kept for six minutes, errors too; the same again after."""
        now = self._now()
        seen = hashlib.sha256(b"%s %s" % (call.verb.value.encode(), call.body)).hexdigest()
        where = (tenant, call.idempotency_key)
        known = self._first.get(where)
        if known is None or known.until <= now:
            answer: Answer | XTigerError
            try:
                answer = (
                    self._carried_out(tenant, call, owners) if stores else Answer((), 0, {}, b"")
                )
            except XTigerError as refusal:
                answer = refusal
            known = self._first[where] = _First(now + MEMORY, seen, error or answer)
        elif known.body != seen:
            self.broken.append(f"the key {call.idempotency_key} was used for another body")
        if isinstance(known.answer, UnknownOutcome):
            raise UnknownOutcome(known.answer.sentence, answered=known.answer.answered)
        if isinstance(known.answer, XTigerError):
            raise type(known.answer)(known.answer.sentence)
        return known.answer

    def _carried_out(self, tenant: str, call: Call, owners: Sequence[Owner | None]) -> Answer:
        body = call.body.decode()
        if REFUSED in body:
            raise PermanentError("Xero refused the call: “A value is invalid”.")
        if BREAKS in body:
            raise UnknownOutcome(_TROUBLE, answered=True)
        if call.verb is Verb.DELETE:
            elements = [self._deleted(tenant, call)]
        else:
            sent = exactjson.loads(call.body)[call.resource.value]
            if len(sent) != call.count or len(owners) != call.count:
                self.broken.append(f"{len(sent)} elements sent as {call.count}")
            elements = [
                self._written(tenant, call, payload, owner)
                for payload, owner in zip(sent, owners, strict=True)
            ]
        shown = exactjson.dumps({call.resource.value: [each.data for each in elements]})
        return Answer(tuple(elements), 200, {}, shown)

    def _written(
        self, tenant: str, call: Call, payload: Mapping[str, Any], owner: Owner | None
    ) -> Element:
        """One element: refused with Xero's words, or stored and shown."""
        info = CATALOGUE[call.resource]
        given = payload.get(info.id_field)
        kept: Kept | None = None
        if call.verb is Verb.UPDATE:
            if not given:
                self.broken.append(f"an update of {call.resource} goes without its id")
            kept = self._of(tenant).get(str(given))
            if kept is None or kept.resource is not call.resource:
                return _no(
                    f"An existing {_ONE[call.resource]} with the specified "
                    f"{info.id_field} could not be found"
                )
        elif given:
            self.broken.append(f"a create of {call.resource} names an id")
        fault = self._wrong(tenant, call.resource, payload, kept)
        if fault:
            return _no(fault)
        if kept is None:
            kept = self._created(tenant, call.resource, owner)
        elif owner != kept.owner:
            self.broken.append(f"{owner} overwrote what belongs to {kept.owner}")
        self._stored(kept, payload)
        return Element(stored=True, xero_id=kept.xero_id, data=dict(kept.data))

    def _created(self, tenant: str, resource: Resource, owner: Owner | None) -> Kept:
        self._made += 1
        one = str(uuid5(NAMESPACE_URL, f"{tenant}/{self._made}"))
        if owner is not None:
            for other in self.made_for(tenant, owner):
                self.broken.append(f"{owner} was made twice: {other.data} was there")
        kept = Kept(resource, {CATALOGUE[resource].id_field: one}, owner, self._now())
        if resource is Resource.CONTACTS:
            kept.data["ContactStatus"] = "ACTIVE"
        self._of(tenant)[one] = kept
        return kept

    def _stored(self, kept: Kept, payload: Mapping[str, Any]) -> None:
        kept.data |= payload
        kept.updated = self._now()
        if kept.resource is Resource.INVOICES and "LineItems" in payload:
            self._count(kept.data)
        version = version_of(kept.resource, payload)
        if version is not None:
            if kept.versions and version < kept.versions[-1]:
                self.broken.append(
                    f"{kept.owner} went back from v{kept.versions[-1]} to v{version}"
                )
            kept.versions.append(version)

    def _deleted(self, tenant: str, call: Call) -> Element:
        kept = self._of(tenant).pop(str(call.xero_id), None)
        if kept is not None and kept.resource is not call.resource:
            self.broken.append(f"{call.xero_id} was deleted as {call.resource}")
        return Element(stored=True, xero_id=call.xero_id)

    # -- its rules --------------------------------------------------------------------------------

    def _wrong(
        self, tenant: str, resource: Resource, payload: Mapping[str, Any], kept: Kept | None
    ) -> str | None:
        rules = {
            Resource.CONTACTS: self._wrong_contact,
            Resource.ITEMS: self._wrong_item,
            Resource.INVOICES: self._wrong_invoice,
        }
        return rules[resource](tenant, payload, kept)

    def _wrong_contact(
        self, tenant: str, payload: Mapping[str, Any], kept: Kept | None
    ) -> str | None:
        if kept is not None and kept.ended:
            return (
                "The specified contact details matched an archived contact. Archived contacts "
                "cannot currently be edited via the API."
            )
        name, number = str(payload.get("Name") or ""), payload.get("ContactNumber")
        for other in self._others(tenant, Resource.CONTACTS, kept):
            if name and not other.ended and _folded(other.data["Name"]) == _folded(name):
                return (
                    f"The contact name {name} is already assigned to another contact. The "
                    "contact name must be unique across all active contacts."
                )
            if number and other.data.get("ContactNumber") == number:
                return (
                    "Another contact has this contact number. Please enter a different contact "
                    "number."
                )
        if "@" not in str(payload.get("EmailAddress") or "@"):
            return "Email address must be valid."
        return None

    def _wrong_item(self, tenant: str, payload: Mapping[str, Any], kept: Kept | None) -> str | None:
        code = payload.get("Code")
        for other in self._others(tenant, Resource.ITEMS, kept):
            if code and _folded(other.data["Code"]) == _folded(code):
                return f"Price List Item with Code '{code}' already exists"
        return None

    def _wrong_invoice(
        self, tenant: str, payload: Mapping[str, Any], kept: Kept | None
    ) -> str | None:
        if kept is not None and kept.ended:
            return "Invoice not of valid status for modification"
        number = payload.get("InvoiceNumber")
        kind = payload.get("Type") or (kept.data["Type"] if kept else None)
        if kind == "ACCREC":
            for other in self._others(tenant, Resource.INVOICES, kept):
                taken = other.data.get("Type") == "ACCREC" and not other.ended
                if taken and number and _folded(other.data["InvoiceNumber"]) == _folded(number):
                    return "Invoice # must be unique."
        if "Contact" in payload:
            buyer = self._of(tenant).get(str(payload["Contact"].get("ContactID")))
            if buyer is None or buyer.resource is not Resource.CONTACTS:
                self.broken.append(f"invoice {number} was sent before its contact")
                return "A Contact must be specified for this type of transaction"
            if buyer.ended and kept is None:
                return (
                    "The specified contact details matched an archived contact. Archived "
                    "contacts cannot currently be edited via the API."
                )
        codes = {_folded(one.data["Code"]) for one in self._others(tenant, Resource.ITEMS, None)}
        for line in payload.get("LineItems") or ():
            code = line.get("ItemCode")
            if code and _folded(code) not in codes:
                self.broken.append(f"invoice {number} was sent before its item {code}")
                return f"Item code '{code}' is not valid"
        return None

    def _others(self, tenant: str, resource: Resource, kept: Kept | None) -> Iterator[Kept]:
        for other in list(self._of(tenant).values()):
            if other.resource is resource and other is not kept:
                yield other

    def _count(self, data: dict[str, Any]) -> None:
        """Amounts as Xero counts them: tax by line, rounded half up, then added."""
        subtotal = tax = Decimal(0)
        pinned = True
        for line in data["LineItems"]:
            net = Decimal(line["Quantity"]) * Decimal(line["UnitAmount"])
            net = net.quantize(_CENT, ROUND_HALF_UP)
            given = line.get("TaxAmount")
            pinned = pinned and given is not None
            part = net * _RATES[line["TaxType"]] / 100 if given is None else Decimal(given)
            subtotal += net
            tax += part.quantize(_CENT, ROUND_HALF_UP)
        if data.get("InvoiceNumber") in self.cents and not pinned:
            tax += _CENT
        data |= {"SubTotal": subtotal, "TotalTax": tax, "Total": subtotal + tax}

    # -- reading ----------------------------------------------------------------------------------

    def read(self, access: Access, path: str) -> Sequence[Mapping[str, Any]]:
        self._reading(access)
        named = {
            "Organisation": [_organisation(access.tenant_id, self.currencies[access.tenant_id])],
            "Accounts": _ACCOUNTS,
            "TaxRates": _TAX_RATES,
            "Currencies": [{"Code": code} for code in sorted(set(self.currencies.values()))],
            "TrackingCategories": [],
            "BrandingThemes": [],
            "Items": [],
        }
        name = path.partition("?")[0]
        if name not in named:
            raise PermanentError("Xero has nothing at the address that XTiger called.")
        return named[name]

    def find(
        self, access: Access, resource: Resource, keys: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        self._reading(access)
        name = CATALOGUE[resource].key_field
        with self._lock:
            return [
                kept.shown
                for kept in self._others(access.tenant_id, resource, None)
                if str(kept.data.get(name)) in keys
            ]

    def get_many(
        self, access: Access, resource: Resource, xero_ids: Sequence[str]
    ) -> Sequence[Mapping[str, Any]]:
        self._reading(access)
        with self._lock:
            return [
                kept.shown
                for kept in self._others(access.tenant_id, resource, None)
                if kept.xero_id in xero_ids
            ]

    def changes(
        self,
        access: Access,
        resource: Resource,
        *,
        since: datetime | None = None,
        mine: bool = False,
    ) -> Iterator[Mapping[str, Any]]:
        self._reading(access)
        with self._lock:
            found = [
                kept.shown
                for kept in self._others(access.tenant_id, resource, None)
                if (since is None or kept.updated >= since.replace(microsecond=0))
                and not (mine and kept.owner is None)
            ]
        yield from found

    def _reading(self, access: Access) -> None:
        with self._lock:
            getattr(access, "entered", lambda: None)()
            self._usage[access.tenant_id] += 1
            self.land()
            self._let_in(access)
            fault = self.read_script.pop(0) if self.read_script else ""
            self.played[f"read {fault}"] += bool(fault)
            self._refuse(fault, access)

    def usage(self) -> Sequence[Usage]:
        with self._lock:
            taken, self._usage = self._usage, Counter()
        return [Usage(tenant, calls, 500 * calls, 500 * calls) for tenant, calls in taken.items()]

    # -- what others do in it, and what tests look at ---------------------------------------------

    def _of(self, tenant: str) -> dict[str, Kept]:
        return self.books.setdefault(tenant, {})

    def made_for(self, tenant: str, owner: Owner) -> list[Kept]:
        """The objects our calls made for a record."""
        return [kept for kept in self._of(tenant).values() if kept.owner == owner]

    def objects(self, tenant: str) -> list[Kept]:
        """Everything an organisation has."""
        return list(self._of(tenant).values())

    def stranger(self, tenant: str, resource: Resource, key: str) -> None:
        """Somebody else takes a name, a code or a number, if it is free."""
        fields: dict[Resource, dict[str, Any]] = {
            Resource.CONTACTS: {"Name": key},
            Resource.ITEMS: {"Code": key, "Name": "Of somebody else"},
            Resource.INVOICES: {
                "InvoiceNumber": key,
                "Type": "ACCREC",
                "Status": "DRAFT",
                "LineItems": [],
            },
        }
        with self._lock:
            if self._wrong(tenant, resource, fields[resource], None) is None:
                self._created(tenant, resource, None).data |= fields[resource]

    def strangers_leave(self) -> None:
        """Strangers give up the names, codes and numbers that they took."""
        with self._lock:
            for books in self.books.values():
                for one in [one for one, kept in books.items() if kept.owner is None]:
                    del books[one]

    def person_edits(self, kept: Kept) -> None:
        """Somebody changes one of our objects in Xero itself."""
        with self._lock:
            kept.data["Reference"] = "by hand"
            kept.updated = self.clock.now()

    def person_ends(self, kept: Kept) -> None:
        """Somebody archives one of our contacts, or voids one of our documents."""
        with self._lock:
            if kept.resource is Resource.CONTACTS:
                kept.data["ContactStatus"] = "ARCHIVED"
            elif kept.resource is Resource.INVOICES:
                kept.data["Status"] = "VOIDED"
            kept.updated = self.clock.now()


@dataclass(frozen=True, slots=True)
class _First:
    """What was answered first to a key, and until when Xero knows it."""

    until: datetime
    body: str
    answer: Answer | XTigerError


@dataclass(frozen=True, slots=True)
class _Late:
    """A call whose caller gave up before it reached Xero."""

    due: datetime
    tenant: str
    call: Call
    owners: Sequence[Owner | None]


_ONE = {Resource.CONTACTS: "Contact", Resource.ITEMS: "Item", Resource.INVOICES: "Invoice"}


def version_of(resource: Resource, payload: Mapping[str, Any]) -> int | None:
    """The CRM's version that a payload carries; None where it says nothing of it."""
    if resource is Resource.CONTACTS:
        text = str(payload.get("AccountNumber") or "")
    elif resource is Resource.ITEMS:
        text = str(payload.get("Description") or "")
    else:
        text = " ".join(str(line.get("Description")) for line in payload.get("LineItems") or ())
    found = _VERSION.search(text)
    return int(found.group(1)) if found else None


def _no(words: str) -> Element:
    return Element(stored=False, faults=(words,))


def _folded(value: Any) -> str:
    return " ".join(str(value).split()).casefold()


def _organisation(tenant: str, currency: str) -> dict[str, Any]:
    return {
        "OrganisationID": tenant,
        "Name": f"Books {tenant[:4]}",
        "CountryCode": "NZ",
        "BaseCurrency": currency,
        "ShortCode": f"!{tenant[:5]}",
        "Timezone": "NEWZEALANDSTANDARDTIME",
    }


_ACCOUNTS: list[dict[str, Any]] = [
    {
        "Code": code,
        "Name": name,
        "Type": type_,
        "Class": type_,
        "TaxType": tax,
        "Status": "ACTIVE",
    }
    for code, name, type_, tax in (
        ("200", "Sales", "REVENUE", "OUTPUT2"),
        ("300", "Purchases", "EXPENSE", "INPUT2"),
    )
]
_TAX_RATES: list[dict[str, Any]] = [
    {
        "Name": name,
        "TaxType": tax,
        "EffectiveRate": rate,
        "Status": "ACTIVE",
        "CanApplyToRevenue": revenue,
        "CanApplyToExpenses": not revenue,
    }
    for name, tax, rate, revenue in (
        ("15% GST on Income", "OUTPUT2", _RATES["OUTPUT2"], True),
        ("15% GST on Expenses", "INPUT2", _RATES["INPUT2"], False),
    )
]

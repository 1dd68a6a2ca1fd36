"""What Xero would refuse, found before the call: its fields, its limits, the organisation."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

from xtiger.domain.hints import Fault, fault
from xtiger.domain.money import RATE_TOLERANCE
from xtiger.domain.records import DocumentType
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.domain.selection import plain_day
from xtiger.domain.transforms import as_day, as_number, as_text, plain

# -- fields of Xero ---------------------------------------------------------------------------


#: The places of a price with unitdp=4.
_UNIT = Decimal("0.0001")


class TargetKind(StrEnum):
    """What a Xero field takes."""

    TEXT = "text"
    LINE = "line"  #: one line of text: blanks are collapsed
    DATE = "date"
    NUMBER = "number"  #: four places at most
    LINK = "link"  #: another Xero object


@dataclass(frozen=True, slots=True)
class Target:
    """One Xero field that a mapping may fill.

    `longest` is in characters, 0: no limit known. `clears` says that Xero takes "" for nothing;
    without it an emptied field keeps what Xero has. `missing` is the cause that hints names
    where a required value is empty.
    """

    kind: TargetKind = TargetKind.LINE
    longest: int = 0
    required: bool = False
    sales_only: bool = False
    clears: bool = False
    missing: str = "required"

    def shaper(self, *, cut: bool) -> Callable[[Any], Any] | None:
        """The closure that makes a value as JSON has it, None for nothing; None for links.

        It may raise ValueFault.
        """
        longest = self.longest if cut else 0
        if self.kind is TargetKind.LINK:
            return None
        if self.kind is TargetKind.DATE:
            return _iso_day
        if self.kind is TargetKind.NUMBER:
            return _four_places
        inside = self.kind is TargetKind.LINE

        def text(value: Any) -> str | None:
            made = value if type(value) is str else as_text(value)
            made = " ".join(made.split()) if inside else made.strip()
            if longest and len(made) > longest:
                made = made[:longest].rstrip()
            return made or None

        return text


def _iso_day(value: Any) -> str | None:
    day = as_day(value)
    return None if day is None else day.isoformat()


def _four_places(value: Any) -> Decimal:
    return plain(as_number(value).quantize(_UNIT, ROUND_HALF_UP))


def _texts(**longest: int) -> dict[str, Target]:
    return {name: Target(longest=length, clears=True) for name, length in longest.items()}


def _parts(*groups: str, **longest: int) -> dict[str, Target]:
    parts = _texts(**longest)
    return {f"{group}.{name}": target for group in groups for name, target in parts.items()}


#: Fields of each resource by dotted name, lengths from the OpenAPI schemas. What XTiger sets
#: itself (ids, ContactNumber, Type, Status, Url, LineAmountTypes) isn't among them.
#: Only free text is emptied by "": days, prices, numbers and codes of accounts, taxes and
#: currencies have no empty value that Xero is known to take. A side of an item that lost its
#: price is cleared by IsSold or IsPurchased being false (Xero: items page).
TARGETS: Mapping[Resource, Mapping[str, Target]] = {
    Resource.CONTACTS: {
        "Name": Target(longest=255, required=True, missing="name-missing"),
        **_texts(FirstName=255, LastName=255, EmailAddress=255, AccountNumber=50),
        **_texts(TaxNumber=50, CompanyNumber=50),
        **_parts(
            *(f"Phones.{kind}" for kind in ("DEFAULT", "DDI", "FAX", "MOBILE")),
            PhoneNumber=50,
            PhoneAreaCode=10,
            PhoneCountryCode=20,
        ),
        **_parts(
            *(f"Addresses.{kind}" for kind in ("POBOX", "STREET")),
            **{f"AddressLine{number}": 500 for number in range(1, 5)},
            City=255,
            Region=255,
            PostalCode=50,
            Country=50,
            AttentionTo=255,
        ),
    },
    Resource.ITEMS: {
        "Code": Target(longest=30, required=True, missing="code-missing"),
        "Name": Target(longest=50, clears=True),
        "Description": Target(TargetKind.TEXT, 4000, clears=True),
        "PurchaseDescription": Target(TargetKind.TEXT, 4000, clears=True),
        **{
            f"{side}.{name}": target
            for side in ("SalesDetails", "PurchaseDetails")
            for name, target in {
                "UnitPrice": Target(TargetKind.NUMBER),
                "AccountCode": Target(longest=10),
                "TaxType": Target(longest=50),
            }.items()
        },
    },
    Resource.INVOICES: {
        "InvoiceNumber": Target(longest=255),
        "Contact": Target(TargetKind.LINK, required=True, missing="contact-missing"),
        "Date": Target(TargetKind.DATE, missing="date-missing"),
        "DueDate": Target(TargetKind.DATE, missing="due-date-missing"),
        "Reference": Target(longest=255, sales_only=True, clears=True),
        "CurrencyCode": Target(longest=3),
    },
}

#: Fields of a line; amounts and taxes come from the money rules.
LINE_TARGETS: Mapping[str, Target] = {
    "Description": Target(TargetKind.TEXT, 4000),
    "ItemCode": Target(TargetKind.LINK, 30),
    "AccountCode": Target(longest=10, required=True, missing="account-missing"),
    "TaxType": Target(longest=50),
}

# -- the organisation -------------------------------------------------------------------------

#: The classes of accounts, and the flag of a tax rate that says it may be used with them.
_APPLIES = {
    "ASSET": "CanApplyToAssets",
    "EQUITY": "CanApplyToEquity",
    "EXPENSE": "CanApplyToExpenses",
    "LIABILITY": "CanApplyToLiabilities",
    "REVENUE": "CanApplyToRevenue",
}


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the organisation's chart."""

    code: str
    name: str
    type: str
    class_: str
    status: str = "ACTIVE"
    tax_type: str = ""
    system_account: str = ""


@dataclass(frozen=True, slots=True)
class TaxRate:
    """One tax rate; `rate` is the effective one in percent, `applies_to` account classes."""

    tax_type: str
    name: str
    rate: Decimal
    status: str = "ACTIVE"
    applies_to: frozenset[str] = frozenset()

    def fits(self, rate: Decimal) -> bool:
        """Whether a CRM's rate in percent is this one."""
        return abs(self.rate - rate) <= RATE_TOLERANCE


@dataclass(frozen=True)
class OrganisationFacts:
    """What rules must know of one organisation, as last read from Xero.

    `currencies` are those it subscribes to, empty where they weren't read.
    """

    name: str = ""
    currency: str = ""
    country: str = ""
    accounts: tuple[Account, ...] = ()
    tax_rates: tuple[TaxRate, ...] = ()
    period_lock_date: date | None = None
    end_of_year_lock_date: date | None = None
    currencies: frozenset[str] = frozenset()

    @classmethod
    def from_xero(
        cls,
        organisation: Mapping[str, Any],
        accounts: Sequence[Mapping[str, Any]],
        tax_rates: Sequence[Mapping[str, Any]],
        currencies: Sequence[Mapping[str, Any]] = (),
    ) -> OrganisationFacts:
        """Reads Xero's own JSON: an Organisation, its Accounts, TaxRates and Currencies."""
        return cls(
            name=str(organisation.get("Name") or ""),
            currency=str(organisation.get("BaseCurrency") or ""),
            country=str(organisation.get("CountryCode") or ""),
            accounts=tuple(_account(each) for each in accounts),
            tax_rates=tuple(_tax_rate(each) for each in tax_rates),
            period_lock_date=xero_day(organisation.get("PeriodLockDate")),
            end_of_year_lock_date=xero_day(organisation.get("EndOfYearLockDate")),
            currencies=frozenset(str(each["Code"]) for each in currencies),
        )

    @cached_property
    def by_code(self) -> Mapping[str, Account]:
        """Accounts by their code, upper case."""
        return {account.code.upper(): account for account in self.accounts if account.code}

    @cached_property
    def usable(self) -> Mapping[str, Account]:
        """Accounts that lines may use, by their code as it is written in Xero."""
        if not self.tax_rates:
            return {}
        able = (each for each in self.by_code.values() if not account_fault(self, each.code, ""))
        return {account.code: account for account in able}

    @cached_property
    def by_tax_type(self) -> Mapping[str, TaxRate]:
        """Tax rates by their TaxType, upper case."""
        return {rate.tax_type.upper(): rate for rate in self.tax_rates}

    @cached_property
    def rounding_account(self) -> str | None:
        """The code of the account that Xero itself rounds to."""
        found = (each.code for each in self.accounts if each.system_account == "ROUNDING")
        return next(found, None)

    @cached_property
    def locked_until(self) -> date | None:
        """The last locked day: the later of the two lock dates."""
        days = [day for day in (self.period_lock_date, self.end_of_year_lock_date) if day]
        return max(days, default=None)

    @cached_property
    def judged(self) -> dict[tuple[str, str, str], tuple[Fault, ...]]:
        """What is wrong with an account and a TaxType together, as far as it was asked."""
        return {}

    @cached_property
    def _chosen(self) -> dict[tuple[Decimal, str, DocumentType], TaxRate | None]:
        return {}

    def tax_for(self, rate: Decimal, account: Account, kind: DocumentType) -> TaxRate | None:
        """The tax rate for a CRM's rate in percent on an account, None where there is none.

        1. In question come active rates of that percentage which the account's class may
           carry, and revenue (invoices) or expense accounts (bills) too.
        2. The account's own default wins; at 0 % then NONE.
        3. Then one named for the side (OUTPUT…, INPUT…), the shorter name, the alphabet.
        """
        key = rate, account.code, kind
        if key not in self._chosen:
            self._chosen[key] = self._choose(rate, account, kind)
        return self._chosen[key]

    def _choose(self, rate: Decimal, account: Account, kind: DocumentType) -> TaxRate | None:
        sales = kind is DocumentType.INVOICE
        side = "REVENUE" if sales else "EXPENSE"
        able = [
            each
            for each in self.tax_rates
            if each.status == "ACTIVE"
            and each.fits(rate)
            and {side, account.class_} <= each.applies_to
        ]
        word = "OUTPUT" if sales else "INPUT"

        def order(each: TaxRate) -> tuple[bool, bool, bool, int, str]:
            name = each.tax_type
            default = name == account.tax_type
            none = not each.rate and name == "NONE"
            return not default, not none, not name.startswith(word), len(name), name

        return min(able, key=order, default=None)

    def legal_taxes(self, account: Account) -> str:
        """The TaxTypes an account may carry, as pages list them: "INPUT2, NONE"."""
        names = sorted(
            each.tax_type
            for each in self.tax_rates
            if each.status == "ACTIVE" and account.class_ in each.applies_to
        )
        return ", ".join(names)


def xero_day(value: Any) -> date | None:
    """The day of `/Date(1546214400000+0000)/` (milliseconds UTC) or of ISO text, else None."""
    text = str(value or "")
    if not text.startswith("/Date("):
        return date.fromisoformat(text[:10]) if text else None
    number = text.removeprefix("/Date(").removesuffix(")/")
    sign, digits = number[:1], number[1:].partition("+")[0].partition("-")[0]
    return datetime.fromtimestamp(int(sign + digits) / 1000, UTC).date()


def _account(raw: Mapping[str, Any]) -> Account:
    return Account(
        code=str(raw.get("Code") or ""),
        name=str(raw.get("Name") or ""),
        type=str(raw.get("Type") or ""),
        class_=str(raw.get("Class") or ""),
        status=str(raw.get("Status") or "ACTIVE"),
        tax_type=str(raw.get("TaxType") or ""),
        system_account=str(raw.get("SystemAccount") or ""),
    )


def _tax_rate(raw: Mapping[str, Any]) -> TaxRate:
    return TaxRate(
        tax_type=str(raw.get("TaxType") or ""),
        name=str(raw.get("Name") or ""),
        rate=Decimal(str(raw.get("EffectiveRate") or 0)),
        status=str(raw.get("Status") or "ACTIVE"),
        applies_to=frozenset(name for name, flag in _APPLIES.items() if raw.get(flag)),
    )


# -- the checks -------------------------------------------------------------------------------

#: The statuses a document may be created in, and those an update may give it besides.
CREATED_AS = frozenset({"DRAFT", "SUBMITTED", "AUTHORISED"})
_CHANGED_TO = CREATED_AS | {"DELETED", "VOIDED"}
#: System accounts that no line may use.
_CLOSED = frozenset({"DEBTORS", "CREDITORS", "RETAINEDEARNINGS", "HISTORICAL", "UNPAIDEXPCLM"})


def check(
    payload: Mapping[str, Any],
    resource: Resource,
    facts: OrganisationFacts,
    *,
    known_numbers: Container[str] = frozenset(),
) -> tuple[Fault, ...]:
    """Everything for which Xero would refuse a built payload, as far as it can be known here.

    `known_numbers` are invoice numbers known to be taken in Xero by other documents. Whether
    an e-mail address is good, and who has which name, is left to Xero. The words are those
    that `hints` gives for Xero's own messages.
    """
    label = str(payload.get(CATALOGUE[resource].label_field) or "")
    faults = list(_too_long(payload, resource, label))
    if resource is Resource.CONTACTS:
        faults += _contact(payload)
    elif resource is Resource.ITEMS:
        faults += _item(payload, facts)
    else:
        faults += _document(payload, facts, label, known_numbers)
    return tuple(dict.fromkeys(faults))


def _too_long(payload: Mapping[str, Any], resource: Resource, label: str) -> Iterator[Fault]:
    lengths = _LENGTHS[resource]
    for name, value in _flat(payload):
        if type(value) is str and len(value) > (longest := lengths.get(name, 0)) > 0:
            yield from long_fault(name, value, longest, label)
    for line in payload.get("LineItems") or ():
        for name, longest in _LINE_LENGTHS:
            value = line.get(name)
            if value and len(value) > longest:
                yield from long_fault(name, value, longest, label)


#: The longest texts of a resource's fields, and of a line's.
_LENGTHS = {
    resource: {name: target.longest for name, target in targets.items()}
    for resource, targets in TARGETS.items()
}
_LINE_LENGTHS = tuple((name, target.longest) for name, target in LINE_TARGETS.items())


def long_fault(name: str, value: str, longest: int, label: str) -> Iterator[Fault]:
    """The fault of a text longer than Xero takes, if it is."""
    if len(value) > longest:
        short = label if len(label) <= 40 else label[:39] + "…"
        known = {"longest": f"{longest:,}", "length": f"{len(value):,}", "label": short or "it"}
        yield fault(name, "too-long", field=name, **known)


#: Lists whose members are told apart by their type, and the field that holds it.
TYPE_FIELDS: Mapping[str, str] = {"Phones": "PhoneType", "Addresses": "AddressType"}


def put(payload: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Sets a dotted field: `SalesDetails.UnitPrice`, or `Phones.DEFAULT.PhoneNumber` in a list."""
    if len(path) == 1:
        payload[path[0]] = value
    elif len(path) == 2:
        payload.setdefault(path[0], {})[path[1]] = value
    else:
        group, kind, name = path
        kind_field = TYPE_FIELDS[group]
        members: list[dict[str, Any]] = payload.setdefault(group, [])
        for member in members:
            if member[kind_field] == kind:
                member[name] = value
                return
        members.append({kind_field: kind, name: value})


def _flat(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values by the dotted names of the targets; lines aside."""
    for name, value in payload.items():
        if type(value) is str:
            yield name, value
        elif isinstance(value, dict):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        elif name in TYPE_FIELDS:
            for part in value:
                kind = part.get(TYPE_FIELDS[name])
                yield from ((f"{name}.{kind}.{inner}", each) for inner, each in part.items())
        else:
            yield name, value


def _contact(payload: Mapping[str, Any]) -> Iterator[Fault]:
    name = str(payload.get("Name") or "")
    if not name.strip():
        yield fault("Name", "name-missing")
    if "<" in name or ">" in name:
        yield fault("Name", "name-characters")
    for address in payload.get("Addresses") or ():
        country = str(address.get("Country") or "")
        if not all(letter.isalpha() or letter in " .,'’()&-" for letter in country):
            where = f"Addresses.{address.get('AddressType')}.Country"
            yield fault(where, "country-letters", country=country)


def _item(payload: Mapping[str, Any], facts: OrganisationFacts) -> Iterator[Fault]:
    if not str(payload.get("Code") or "").strip():
        yield fault("Code", "code-missing")
    for side in ("SalesDetails", "PurchaseDetails"):
        details = payload.get(side) or {}
        yield from _booked(details, facts, f"{side}.")


def _document(
    payload: Mapping[str, Any], facts: OrganisationFacts, label: str, known: Container[str]
) -> Iterator[Fault]:
    status = str(payload.get("Status") or "DRAFT")
    new = not payload.get("InvoiceID")
    number = str(payload.get("InvoiceNumber") or "")
    if payload.get("Type") not in ("ACCREC", "ACCPAY"):
        yield fault("Type", "type-wrong")
    if status not in (CREATED_AS if new else _CHANGED_TO):
        yield fault("Status", "status-create", status=status.capitalize())
    if not (payload.get("Contact") or {}).get("ContactID"):
        yield fault("Contact", "contact-missing")
    if not all(" " <= letter <= "~" for letter in number):
        yield fault("InvoiceNumber", "number-characters", number=number)
    if new and number and payload.get("Type") == "ACCREC" and number in known:
        yield fault("InvoiceNumber", "number-taken", label=label)
    currency = str(payload.get("CurrencyCode") or facts.currency)
    if facts.currencies and currency not in facts.currencies | {facts.currency}:
        names = {"organisation": facts.name, "currency": currency}
        yield fault("CurrencyCode", "currency-missing", **names)
    if status == "AUTHORISED":
        yield from _dates(payload, facts)
    lines = payload.get("LineItems") or ()
    if not lines:
        yield fault("LineItems", "lines-missing")
    for line in lines:
        if not str(line.get("Description") or "").strip():
            yield fault("LineItems.Description", "description-missing")
        if not line.get("AccountCode") and status == "AUTHORISED":
            yield fault("LineItems.AccountCode", "account-missing")
        yield from _booked(line, facts, "LineItems.")


def _dates(payload: Mapping[str, Any], facts: OrganisationFacts) -> Iterator[Fault]:
    """An approved document needs its due date, and a day that isn't locked."""
    if not payload.get("DueDate"):
        yield fault("DueDate", "due-date-missing")
    day, locked = xero_day(payload.get("Date")), facts.locked_until
    if day and locked and day <= locked:
        days = {"date": plain_day(day), "until": plain_day(locked)}
        yield fault("Date", "period-locked", **days)


def _booked(values: Mapping[str, Any], facts: OrganisationFacts, prefix: str) -> Iterable[Fault]:
    """An account and a tax rate that exist, are active, and go together."""
    code, tax = str(values.get("AccountCode") or ""), str(values.get("TaxType") or "")
    key = code, tax, prefix
    # The same few pairs stand on every line of every document.
    if (known := facts.judged.get(key)) is not None:
        return known
    found = []
    account = facts.by_code.get(code.upper())
    if code and facts.accounts:
        found.append(account_fault(facts, code, f"{prefix}AccountCode"))
    if tax and facts.tax_rates:
        found.append(tax_fault(facts, tax, account, f"{prefix}TaxType"))
    facts.judged[key] = faults = tuple(each for each in found if each is not None)
    return faults


def account_fault(facts: OrganisationFacts, code: str, field: str) -> Fault | None:
    """Why a line or item can't use an account."""
    account = facts.by_code.get(code.upper())
    if account is not None and account.status != "ACTIVE":
        return fault(field, "account-archived", code=code)
    if account is None or account.type == "BANK" or account.system_account in _CLOSED:
        return fault(field, "account-unusable", code=code)
    return None


def tax_fault(
    facts: OrganisationFacts, tax: str, account: Account | None, field: str
) -> Fault | None:
    """Why a tax rate can't be used, or not with this account."""
    rate = facts.by_tax_type.get(tax.upper())
    if rate is None or rate.status != "ACTIVE":
        return fault(field, "tax-unknown", tax=tax)
    if account is not None and account.class_ not in rate.applies_to:
        legal = facts.legal_taxes(account)
        return fault(field, "tax-account", tax=tax, code=account.code, legal=legal)
    return None

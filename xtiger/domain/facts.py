"""What rules know of one organisation: its accounts, taxes and tracking, as last read from Xero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

from xtiger.domain.apportion import UNTAXED, Tax, TaxType
from xtiger.domain.hints import Fault, fault
from xtiger.domain.money import RATE_TOLERANCE
from xtiger.domain.records import DocumentType

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


class Component(NamedTuple):
    """One part of a tax rate; `rate` in percent. A compound one is taken on the others too."""

    name: str
    rate: Decimal
    compound: bool = False


@dataclass(frozen=True, slots=True)
class TaxRate:
    """One tax rate; `rate` is the effective one in percent, `applies_to` account classes.

    `components` are its parts but those of 0 %, None where Xero didn't say.
    """

    tax_type: str
    name: str
    rate: Decimal
    status: str = "ACTIVE"
    applies_to: frozenset[str] = frozenset()
    components: tuple[Component, ...] | None = None

    def fits(self, rate: Decimal) -> bool:
        """Whether a CRM's rate in percent is this one."""
        return abs(self.rate - rate) <= RATE_TOLERANCE

    def made_of(self, parts: Sequence[Tax]) -> bool:
        """Whether these are its parts, whatever they are called."""
        if self.components is None:
            return True
        mine, theirs = _order(self.components), _order(parts)
        return len(mine) == len(theirs) and all(
            one[0] == other[0] and abs(one[1] - other[1]) <= RATE_TOLERANCE
            for one, other in zip(mine, theirs, strict=True)
        )

    def named_as(self, parts: Sequence[Tax]) -> bool:
        """Whether its parts are called as these are."""
        mine = sorted(folded(one.name) for one in self.components or ())
        return mine == sorted(folded(one.name) for one in parts)


def _order(parts: Sequence[Tax | Component]) -> list[tuple[bool, Decimal]]:
    """Parts in an order of their own; one that stands alone has nothing to be compound on."""
    alone = len(parts) == 1
    return sorted((one.compound and not alone, one.rate) for one in parts)


class TrackingCategory(NamedTuple):
    """What lines can be tracked by; `options` are names and whether each is active."""

    name: str
    active: bool
    options: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True)
class OrganisationFacts:
    """What rules must know of one organisation, as last read from Xero.

    `currencies` are those it subscribes to, empty where they weren't read; `tracking` is None
    then. `stock_items` are the ids of the items whose stock Xero counts.
    """

    name: str = ""
    currency: str = ""
    country: str = ""
    accounts: tuple[Account, ...] = ()
    tax_rates: tuple[TaxRate, ...] = ()
    period_lock_date: date | None = None
    end_of_year_lock_date: date | None = None
    currencies: frozenset[str] = frozenset()
    tracking: tuple[TrackingCategory, ...] | None = None
    stock_items: frozenset[str] = frozenset()

    @classmethod
    def from_xero(
        cls,
        organisation: Mapping[str, Any],
        accounts: Sequence[Mapping[str, Any]],
        tax_rates: Sequence[Mapping[str, Any]],
        currencies: Sequence[Mapping[str, Any]] = (),
        *,
        tracking: Sequence[Mapping[str, Any]] | None = None,
        items: Sequence[Mapping[str, Any]] = (),
    ) -> OrganisationFacts:
        """Reads Xero's own JSON: an Organisation, its Accounts, its TaxRates and so on."""
        return cls(
            name=str(organisation.get("Name") or ""),
            currency=str(organisation.get("BaseCurrency") or ""),
            country=str(organisation.get("CountryCode") or ""),
            accounts=tuple(_account(each) for each in accounts),
            tax_rates=tuple(_tax_rate(each) for each in tax_rates),
            period_lock_date=xero_day(organisation.get("PeriodLockDate")),
            end_of_year_lock_date=xero_day(organisation.get("EndOfYearLockDate")),
            currencies=frozenset(str(each["Code"]) for each in currencies),
            tracking=None if tracking is None else tuple(_category(each) for each in tracking),
            stock_items=frozenset(
                str(each.get("ItemID")) for each in items if each.get("IsTrackedAsInventory")
            ),
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
    def untaxed(self) -> TaxType:
        """What lines bear that have nothing to do with tax: NONE, in Australia BASEXCLUDED."""
        found = (self.by_tax_type.get(code) for code in ("NONE", "BASEXCLUDED"))
        known = next((each for each in found if each and each.status == "ACTIVE"), None)
        return TaxType(known.tax_type, Decimal(0)) if known else UNTAXED

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
    def _chosen(self) -> dict[_TaxKey, tuple[TaxRate, ...]]:
        return {}

    def taxes_for(
        self, rate: Decimal, account: Account, kind: DocumentType, parts: tuple[Tax, ...] = ()
    ) -> tuple[TaxRate, ...]:
        """The tax rate for a CRM's tax on an account; () is none, several: only people know.

        `rate` is in percent; `parts` are its taxes, () where the CRM only has a percentage.

        1. In question come active rates of that percentage which the account's class may
           carry, and revenue (invoices) or expense accounts (bills) too, with the same parts. A
           percentage alone is one tax; several together may be meant only where no rate is one.
        2. The account's own default wins; at 0 % then NONE.
        3. Of several those whose parts are called as the CRM's, then those which Xero itself
           has for the side (OUTPUT…, INPUT…).
        """
        key = rate, account.code, kind, parts
        if key not in self._chosen:
            self._chosen[key] = tuple(self._choose(rate, account, kind, parts))
        return self._chosen[key]

    def _choose(
        self, rate: Decimal, account: Account, kind: DocumentType, parts: tuple[Tax, ...]
    ) -> list[TaxRate]:
        sales = kind is DocumentType.INVOICE
        side = "REVENUE" if sales else "EXPENSE"
        able = [
            each
            for each in self.tax_rates
            if each.status == "ACTIVE"
            and each.fits(rate)
            and {side, account.class_} <= each.applies_to
        ]
        if parts:
            able = [each for each in able if each.made_of(parts)]
        else:
            able = [each for each in able if len(each.components or ()) < 2] or able
        for sure in (account.tax_type, "" if rate else "NONE"):
            if found := [each for each in able if each.tax_type == sure]:
                return found[:1]
        able = [each for each in able if each.named_as(parts)] or able
        word = "OUTPUT" if sales else "INPUT"
        return [each for each in able if each.tax_type.startswith(word)] or able

    @cached_property
    def categories(self) -> Mapping[str, TrackingCategory]:
        """The active tracking categories by their folded names."""
        return {folded(each.name): each for each in self.tracking or () if each.active}

    @cached_property
    def _options(self) -> Mapping[tuple[str, str], tuple[str, str]]:
        return {
            (key, folded(option)): (category.name, option)
            for key, category in self.categories.items()
            for option, active in category.options
            if active
        }

    def tracked(self, category: str, option: str) -> tuple[str, str] | None:
        """A tracking category and its option as Xero writes them, None unless both are active."""
        return self._options.get((folded(category), folded(option)))

    def legal_taxes(self, account: Account) -> str:
        """The TaxTypes an account may carry, as pages list them: "INPUT2, NONE"."""
        names = sorted(
            each.tax_type
            for each in self.tax_rates
            if each.status == "ACTIVE" and account.class_ in each.applies_to
        )
        return ", ".join(names)


_TaxKey = tuple[Decimal, str, DocumentType, tuple[Tax, ...]]


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
        components=_components(raw.get("TaxComponents")),
    )


def _components(raw: Any) -> tuple[Component, ...] | None:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        return None
    found = (
        Component(
            str(each.get("Name") or ""),
            Decimal(str(each.get("Rate") or 0)),
            bool(each.get("IsCompound")),
        )
        for each in raw
    )
    return tuple(one for one in found if one.rate)


def _category(raw: Mapping[str, Any]) -> TrackingCategory:
    options = raw.get("Options") or ()
    return TrackingCategory(
        str(raw.get("Name") or ""),
        _is_active(raw),
        tuple((str(one.get("Name") or ""), _is_active(one)) for one in options),
    )


def _is_active(raw: Mapping[str, Any]) -> bool:
    return str(raw.get("Status") or "ACTIVE") == "ACTIVE"


def folded(name: str) -> str:
    """A name as Xero compares it: capitals and blanks don't count."""
    return " ".join(name.split()).casefold()


# -- what a record may use --------------------------------------------------------------------

#: System accounts that no line may use.
_CLOSED = frozenset({"DEBTORS", "CREDITORS", "RETAINEDEARNINGS", "HISTORICAL", "UNPAIDEXPCLM"})


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


def tracking_fault(
    facts: OrganisationFacts, category: str, option: str, field: str
) -> Fault | None:
    """Why a line can't be tracked so; `option` is "" where the record decides."""
    if facts.tracking is None:
        return fault(field, "tracking-unread")
    known = facts.categories.get(folded(category))
    if known is None:
        return fault(field, "tracking-category", category=category)
    if option and facts.tracked(category, option) is None:
        return fault(field, "tracking-option", option=option, category=known.name)
    return None

"""What an organisation's books begin with: its chart, tax rates, currencies, themes and people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from xtiger.sandbox.kept import currencies
from xtiger.sandbox.kept.countries import Country
from xtiger.sandbox.wire import Json

#: people of every organisation: first name, last name, role, whether the subscriber
_PEOPLE = (
    ("Rowan", "Ellis", "FINANCIALADVISER", True),
    ("Kim", "Marlow", "STANDARD", False),
)
#: branding themes of every organisation, the default one first
_THEMES = ("Standard", "Wholesale")


@dataclass(frozen=True, slots=True)
class Begun:
    """One object to begin with; `name` is what it is found by."""

    kind: str
    name: str
    body: Json
    status: str = "ACTIVE"
    id: str = field(default_factory=lambda: str(uuid4()))


def books(country: Country) -> Iterator[Begun]:
    """What differs from country to country."""
    for account in country.accounts:
        found = Begun("account", account.code, account.body(country.currency), account.status)
        found.body["AccountID"] = found.id
        yield found
    for rate in country.tax_rates:
        yield Begun("taxrate", rate.type, rate.body(), rate.status)


def furniture(name: str, codes: Iterable[str], now: int) -> Iterator[Begun]:
    """What every organisation has; `codes` are its currencies, `now` is in milliseconds."""
    for code in codes:
        yield currency(code)
    for place, theme in enumerate(_THEMES):
        body: Json = {"Name": theme, "Type": "INVOICE", "SortOrder": place}
        yield Begun("brandingtheme", theme, body | {"CreatedDateUTC": now})
    host = "".join(sign for sign in name.lower() if sign.isalnum())
    for first, last, role, subscriber in _PEOPLE:
        email = f"{first}.{last}@{host}.example.com".lower()
        body = {
            "EmailAddress": email,
            "FirstName": first,
            "LastName": last,
            "IsSubscriber": subscriber,
            "OrganisationRole": role,
        }
        yield Begun("user", email, body)


def currency(code: str) -> Begun:
    return Begun("currency", code, {"Code": code, "Description": currencies.name(code)})

"""What Xero would refuse, found before the call: lengths, numbers, dates, accounts, taxes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from xtiger.domain.facts import (
    OrganisationFacts,
    account_fault,
    folded,
    tax_fault,
    tracking_fault,
    xero_day,
)
from xtiger.domain.hints import Fault, fault
from xtiger.domain.resources import CATALOGUE, Resource
from xtiger.domain.selection import plain_day
from xtiger.domain.targets import LINE_TARGETS, TARGETS, TYPE_FIELDS, long_fault

#: The statuses a document may be created in, and those an update may give it besides.
CREATED_AS = frozenset({"DRAFT", "SUBMITTED", "AUTHORISED"})
_CHANGED_TO = CREATED_AS | {"DELETED", "VOIDED"}


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
_LINE_LENGTHS = tuple(
    (name, target.longest) for name, target in LINE_TARGETS.items() if not target.tracks
)


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
        if tracking := line.get("Tracking"):
            yield from _tracked(tracking, facts)


def _tracked(tracking: Sequence[Mapping[str, Any]], facts: OrganisationFacts) -> Iterator[Fault]:
    """At most two categories, each once, and options that are active."""
    if len(tracking) > 2:
        yield fault("LineItems.Tracking", "tracking-many")
    names = [str(one.get("Name") or "") for one in tracking]
    if len({folded(name) for name in names}) < len(names):
        yield fault("LineItems.Tracking", "tracking-twice")
    for name, one in zip(names, tracking, strict=True):
        wrong = tracking_fault(facts, name, str(one.get("Option") or ""), "LineItems.Tracking")
        if wrong is not None:
            yield wrong


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

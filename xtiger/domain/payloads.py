"""What building a payload is given and what it gives: the context of a record, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from xtiger.domain.facts import OrganisationFacts
from xtiger.domain.money import Tax, TaxType
from xtiger.domain.records import DocumentType, RecordRef
from xtiger.domain.values import ValueFault, as_yes_no


class Parent(NamedTuple):
    """A linked record that is in Xero. `key` is an item's code; `fields` are the CRM's own.

    `stock_tracked`: Xero counts the stock of this item, so the quantities of its lines must be
    the real ones.
    """

    xero_id: str
    key: str | None = None
    label: str = ""
    fields: Mapping[str, Any] = {}
    stock_tracked: bool = False


def counts_stock(fields: Mapping[str, Any]) -> bool:
    """Whether the CRM says of a product that Xero counts its stock; a word that isn't no does."""
    try:
        return as_yes_no(fields.get("stock_tracked"))
    except ValueFault:
        return True


#: What a line is tracked under, as Xero takes it: [{"Name": "Region", "Option": "North"}].
Tracking = tuple[Mapping[str, str], ...]


class Booking(NamedTuple):
    """Where a line is booked; the money rules pass it through."""

    account: str
    tax: TaxType
    tracking: Tracking = ()


@dataclass(slots=True)
class Memory:
    """What was found out for one record and holds for the next.

    One serves the records of one mapper and one document type, as long as their organisation's
    facts and their parents are the same ones.
    """

    #: By account, percentage, its parts, named tax rate and whether there is tax at all.
    bookings: dict[tuple[str, Decimal, tuple[Tax, ...], str | None, bool], Booking] = field(
        default_factory=dict
    )
    #: The same with exclusive amounts by account alone: few percentages are quickly gone through.
    booked: dict[str, list[tuple[Decimal, str | None, Booking]]] = field(default_factory=dict)
    #: What the steps make of a linked record that read nothing else, by the link.
    linked: dict[Any, dict[str, Any]] = field(default_factory=dict)
    #: What lines are tracked under, by a row of the mapping and what the CRM says.
    tracked: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class BuildContext:
    """What a record's payload depends on besides the record.

    `xero_id` is the bound id: with it the payload is an update, which empties in Xero what is
    empty in the CRM. `marker` is the ContactNumber that a new contact gets. `pinned` asks for
    lines that leave Xero nothing to round. `memory` is shared by records that may: see Memory.
    """

    organisation: OrganisationFacts
    parents: Mapping[RecordRef, Parent] = field(default_factory=dict)
    document_type: DocumentType | None = None
    target_status: str = "AUTHORISED"
    record_url: str | None = None
    marker: str | None = None
    xero_id: str | None = None
    pinned: bool = False
    memory: Memory | None = None


class Built(NamedTuple):
    """A payload, and what Xero's answer must equal."""

    payload: dict[str, Any]
    meant: Mapping[str, Any]
    amount: Decimal | None = None
    currency: str | None = None
    #: What was changed of the record's own on its way, a sentence for the log; empty: nothing.
    note: str = ""

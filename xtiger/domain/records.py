"""What a CRM holds, as XTiger sees it: modules, records, and what happened to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple


class Module(StrEnum):
    """A kind of CRM record."""

    CONTACTS = "Contacts"
    PRODUCTS = "Products"
    SERVICES = "Services"
    INVOICES = "Invoices"

    # Every look-up by a record's name hashes its module: as text that is quick.
    __hash__ = str.__hash__

    @property
    def singular(self) -> str:
        """The module's word inside a sentence: "contact", "product", "service"."""
        return self.value.lower().removesuffix("s")


#: Modules whose records are documents: each goes to exactly one organisation.
DOCUMENTS = frozenset({Module.INVOICES})
#: Modules whose records a line of a document may name: each is an item in Xero.
SOLD = (Module.PRODUCTS, Module.SERVICES)


class DocumentType(StrEnum):
    """What a document becomes in Xero."""

    INVOICE = "Invoice"  #: you are owed: ACCREC
    BILL = "Bill"  #: you owe: ACCPAY


class RecordRef(NamedTuple):
    """Names one record of one module; `id` is the CRM's own id as text."""

    module: Module
    id: str

    def __str__(self) -> str:
        return f"{self.module}:{self.id}"


class FieldKind(StrEnum):
    """The type of a CRM field."""

    TEXT = "text"
    NUMBER = "number"  #: Decimal
    DATE = "date"  #: a plain day
    YES_NO = "yes_no"
    LINK = "link"  #: a RecordRef
    LIST = "list"  #: a few small objects, such as a document's charges; only amounts read it


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a module, as the mapping page offers it."""

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    #: Added by the CRM's own users, not part of it.
    custom: bool = False
    #: The modules that a link may lead to; empty: the one that its name says.
    leads_to: tuple[Module, ...] = ()


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """How a CRM describes one of its modules."""

    module: Module
    fields: tuple[Field, ...]
    line_fields: tuple[Field, ...] = ()
    statuses: tuple[str, ...] = ()


@dataclass(slots=True)
class Record:
    """One record as it is in the CRM at the moment of reading.

    `label` is its number or name for people. `version` changes with every save. Numbers in
    `fields` and `lines` are Decimal, document dates plain days, links `RecordRef`.
    """

    ref: RecordRef
    label: str
    version: str
    created_at: datetime
    fields: Mapping[str, Any]
    lines: tuple[Mapping[str, Any], ...] = ()
    status: str | None = None
    #: Why it can't be read, a sentence; its fields are empty then. It can't go, and says why.
    fault: str | None = None
    #: The id in Xero that the CRM itself keeps of it, if it does.
    xero_id: str | None = None
    _parents: tuple[RecordRef, ...] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def parents(self) -> tuple[RecordRef, ...]:
        """The records this one needs in Xero first: links in its fields, then in its lines."""
        if self._parents is None:
            links = [value for value in self.fields.values() if type(value) is RecordRef]
            for line in self.lines:
                links += [value for value in line.values() if type(value) is RecordRef]
            self._parents = tuple(dict.fromkeys(links))
        return self._parents


class ChangeKind(StrEnum):
    """What happened to a record."""

    SAVED = "saved"
    DELETED = "deleted"
    FLAGGED = "flagged"  #: its sync flag changed, not the record


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened to one record."""

    ref: RecordRef
    kind: ChangeKind
    at: datetime


@dataclass(frozen=True, slots=True)
class SyncFlag:
    """Allow Xero Sync, document type and organisation of one record; None: never touched."""

    allow: bool | None = None
    document_type: DocumentType = DocumentType.INVOICE
    organisation_id: int | None = None


@dataclass(frozen=True, slots=True)
class XeroLink:
    """What is written back to the CRM once a record is in Xero."""

    xero_id: str
    number: str | None = None
    status: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

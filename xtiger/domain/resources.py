"""The catalogue of Xero resources: where each lives, its keys, rank, verbs and scopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from xtiger.domain.records import DocumentType, Module


class Resource(StrEnum):
    """A kind of Xero object; the value is its path below the API and its plural in bodies."""

    ORGANISATION = "Organisation"
    USERS = "Users"
    CURRENCIES = "Currencies"
    BRANDING_THEMES = "BrandingThemes"
    TAX_RATES = "TaxRates"
    ACCOUNTS = "Accounts"
    TRACKING_CATEGORIES = "TrackingCategories"
    TRACKING_OPTIONS = "Options"  #: below a tracking category
    CONTACTS = "Contacts"
    CONTACT_GROUPS = "ContactGroups"
    ITEMS = "Items"
    QUOTES = "Quotes"
    PURCHASE_ORDERS = "PurchaseOrders"
    INVOICES = "Invoices"
    RECEIPTS = "Receipts"
    BANK_TRANSACTIONS = "BankTransactions"
    CREDIT_NOTES = "CreditNotes"
    PAYMENTS = "Payments"
    OVERPAYMENTS = "Overpayments"
    PREPAYMENTS = "Prepayments"
    ALLOCATIONS = "Allocations"  #: below a credit note, overpayment or prepayment
    ATTACHMENTS = "Attachments"  #: below a document, contact or account; one file a call
    HISTORY = "HistoryRecords"  #: notes below a document, contact or item; at `/History`


class Verb(StrEnum):
    """How an element is written: a create is PUT, an update is POST with the bound id.

    POST without an id would overwrite somebody else's document that has our number.
    """

    CREATE = "PUT"
    UPDATE = "POST"
    DELETE = "DELETE"


class Removal(StrEnum):
    """What deleting an object means in Xero."""

    NONE = "none"  #: Xero keeps it for good
    ARCHIVE = "archive"  #: it is archived by an update; its name stays taken or is freed
    STATUS = "status"  #: an update to DELETED, or VOIDED once it is authorised
    DELETE = "delete"  #: the DELETE verb; refused once it is used


class Trace(StrEnum):
    """Where a write whose answer was lost is looked for (docs/exactly-once.md)."""

    KEY = "key"  #: by its natural key, which Xero keeps unique
    CHANGES = "changes"  #: among what changed since, by our mark or by its content
    OWNER = "owner"  #: among what lies below the object it belongs to


#: Statuses of what was removed.
GONE = frozenset({"DELETED", "VOIDED", "ARCHIVED"})

_READ: frozenset[Verb] = frozenset()
_WRITE = frozenset({Verb.CREATE, Verb.UPDATE})
_ALL = _WRITE | {Verb.DELETE}


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """What XTiger must know of one resource (Xero's OpenAPI data; FACTS sections 1 and 6).

    `key_field` is the natural key (the field Xero keeps unique, empty where there is none),
    `rank` the order in a pass. `agreed` are the fields of an answer that must equal what was
    meant. `scopes` are granular ones, any of which grants it; `.read` added grants reading.

    `trace`, `keyed`, `freed`, `marks`, `content` and `counted` say how a lost write is found
    again and told from a stranger's; `domain.identity` holds the rules, recovery needs no other.
    """

    resource: Resource
    id_field: str
    key_field: str
    label_field: str
    rank: int
    scopes: tuple[str, ...]
    agreed: tuple[str, ...] = ()
    status_field: str | None = None
    verbs: frozenset[Verb] = _WRITE
    removal: Removal = Removal.NONE
    #: The most elements one call carries; 1 where Xero takes an update at its own address only.
    batch_size: int = 50
    #: Whether lists come in pages, and whether the caller chooses their size (up to 1,000).
    paged: bool = False
    page_size: bool = False
    #: Whether updates go to the collection although they go one a call.
    collected: bool = False
    trace: Trace = Trace.CHANGES
    #: The Types of which Xero keeps the key unique; empty where it does so of all.
    keyed: frozenset[str] = frozenset()
    #: Statuses in which an object has given its key free.
    freed: frozenset[str] = frozenset()
    #: Fields that carry our mark: an object with it is ours, one without it isn't.
    marks: tuple[str, ...] = ()
    #: Whether it never changes once it is made: with the mark its content must be the same too.
    fixed: bool = False
    #: What must be known and equal in both before all else that was sent is compared. Where
    #: it is equal and the rest isn't, a person decides. "Total" is taken from what was meant.
    content: tuple[str, ...] = ()
    #: Whether equal ones are counted before sending: nothing else tells an old one from ours.
    counted: bool = False

    @property
    def alone(self) -> bool:
        """Whether an update goes to the object's own address, one a call."""
        return self.batch_size == 1 and not self.collected


_DEAD = frozenset({"DELETED", "VOIDED"})
_DOCUMENT = ("Contact", "Date", "Total")
_INVOICES = ("accounting.invoices",)
_SETTINGS = ("accounting.settings",)
_CONTACTS = ("accounting.contacts",)
_PAYMENTS = ("accounting.payments",)


def _info(resource: Resource, id_field: str, key: str, rank: int, **more: Any) -> ResourceInfo:
    label = more.pop("label_field", key or id_field)
    return ResourceInfo(resource, id_field, key, label, rank, **more)


CATALOGUE: Mapping[Resource, ResourceInfo] = {
    info.resource: info
    for info in (
        _info(Resource.ORGANISATION, "OrganisationID", "Name", 0, scopes=_SETTINGS, verbs=_READ),
        _info(Resource.USERS, "UserID", "EmailAddress", 0, scopes=_SETTINGS, verbs=_READ),
        _info(
            Resource.CURRENCIES,
            "Code",
            "Code",
            0,
            scopes=_SETTINGS,
            verbs=frozenset({Verb.CREATE}),
            batch_size=1,
            trace=Trace.KEY,
        ),
        _info(
            Resource.BRANDING_THEMES, "BrandingThemeID", "Name", 0, scopes=_SETTINGS, verbs=_READ
        ),
        _info(
            Resource.TAX_RATES,
            "TaxType",
            "Name",
            10,
            scopes=_SETTINGS,
            agreed=("Name",),
            status_field="Status",
            removal=Removal.STATUS,
            batch_size=1,
            collected=True,
            trace=Trace.KEY,
            freed=_DEAD,
        ),
        _info(
            Resource.ACCOUNTS,
            "AccountID",
            "Code",
            10,
            scopes=_SETTINGS,
            agreed=("Code", "Name"),
            status_field="Status",
            verbs=_ALL,
            removal=Removal.ARCHIVE,
            batch_size=1,
            trace=Trace.KEY,
            freed=_DEAD,
        ),
        _info(
            Resource.TRACKING_CATEGORIES,
            "TrackingCategoryID",
            "Name",
            10,
            scopes=_SETTINGS,
            agreed=("Name",),
            status_field="Status",
            verbs=_ALL,
            removal=Removal.ARCHIVE,
            batch_size=1,
            trace=Trace.KEY,
            freed=_DEAD,
        ),
        _info(
            Resource.TRACKING_OPTIONS,
            "TrackingOptionID",
            "Name",
            10,
            scopes=_SETTINGS,
            agreed=("Name",),
            status_field="Status",
            verbs=_ALL,
            removal=Removal.ARCHIVE,
            batch_size=1,
            trace=Trace.KEY,
            freed=_DEAD,
        ),
        _info(
            Resource.CONTACTS,
            "ContactID",
            "ContactNumber",
            20,
            label_field="Name",
            scopes=_CONTACTS,
            agreed=("Name",),
            status_field="ContactStatus",
            removal=Removal.ARCHIVE,
            paged=True,
            page_size=True,
            trace=Trace.KEY,
            marks=("ContactNumber",),
        ),
        _info(
            Resource.CONTACT_GROUPS,
            "ContactGroupID",
            "Name",
            20,
            scopes=_CONTACTS,
            agreed=("Name",),
            status_field="Status",
            removal=Removal.STATUS,
            batch_size=1,
            trace=Trace.KEY,
            freed=_DEAD,
        ),
        _info(
            Resource.ITEMS,
            "ItemID",
            "Code",
            30,
            scopes=(*_SETTINGS, *_INVOICES),
            agreed=("Code",),
            verbs=_ALL,
            removal=Removal.DELETE,
            trace=Trace.KEY,
        ),
        _info(
            Resource.QUOTES,
            "QuoteID",
            "QuoteNumber",
            40,
            scopes=_INVOICES,
            agreed=("Status",),
            status_field="Status",
            removal=Removal.STATUS,
            paged=True,
            trace=Trace.KEY,
            freed=_DEAD,
            content=_DOCUMENT,
        ),
        _info(
            Resource.PURCHASE_ORDERS,
            "PurchaseOrderID",
            "PurchaseOrderNumber",
            40,
            scopes=_INVOICES,
            agreed=("Status",),
            status_field="Status",
            removal=Removal.STATUS,
            paged=True,
            page_size=True,
            trace=Trace.KEY,
            content=_DOCUMENT,
        ),
        _info(
            Resource.INVOICES,
            "InvoiceID",
            "InvoiceNumber",
            50,
            scopes=_INVOICES,
            agreed=("Type", "Status"),
            status_field="Status",
            removal=Removal.STATUS,
            paged=True,
            page_size=True,
            trace=Trace.KEY,
            keyed=frozenset({"ACCREC"}),
            freed=_DEAD,
            marks=("Url",),
            content=("Type", *_DOCUMENT),
        ),
        _info(
            Resource.RECEIPTS,
            "ReceiptID",
            "",
            50,
            label_field="ReceiptNumber",
            scopes=("accounting.classicexpenses",),
            agreed=("Status",),
            status_field="Status",
            removal=Removal.STATUS,
            batch_size=1,
            content=("User", *_DOCUMENT),
        ),
        _info(
            Resource.BANK_TRANSACTIONS,
            "BankTransactionID",
            "",
            50,
            label_field="Reference",
            scopes=("accounting.banktransactions",),
            agreed=("Type", "Status"),
            status_field="Status",
            removal=Removal.STATUS,
            paged=True,
            page_size=True,
            marks=("Url",),
            content=("Type", "BankAccount", *_DOCUMENT),
        ),
        _info(
            Resource.CREDIT_NOTES,
            "CreditNoteID",
            "CreditNoteNumber",
            60,
            scopes=_INVOICES,
            agreed=("Type", "Status"),
            status_field="Status",
            removal=Removal.STATUS,
            paged=True,
            page_size=True,
            trace=Trace.KEY,
            keyed=frozenset({"ACCRECCREDIT"}),
            freed=_DEAD,
            content=("Type", *_DOCUMENT),
        ),
        _info(
            Resource.PAYMENTS,
            "PaymentID",
            "",
            70,
            label_field="Reference",
            scopes=_PAYMENTS,
            agreed=("Amount", "Status"),
            status_field="Status",
            removal=Removal.STATUS,
            paged=True,
            page_size=True,
            marks=("Reference",),
            content=("Invoice", "Account", "Date", "Amount"),
            fixed=True,
        ),
        _info(
            Resource.OVERPAYMENTS,
            "OverpaymentID",
            "",
            70,
            scopes=_PAYMENTS,
            verbs=_READ,
            paged=True,
            page_size=True,
        ),
        _info(
            Resource.PREPAYMENTS,
            "PrepaymentID",
            "",
            70,
            scopes=_PAYMENTS,
            verbs=_READ,
            paged=True,
            page_size=True,
        ),
        _info(
            Resource.ALLOCATIONS,
            "AllocationID",
            "",
            70,
            scopes=(*_INVOICES, *_PAYMENTS),
            agreed=("Amount",),
            verbs=frozenset({Verb.CREATE, Verb.DELETE}),
            removal=Removal.DELETE,
            trace=Trace.OWNER,
            content=("Invoice", "Date", "Amount"),
            counted=True,
        ),
        _info(
            Resource.ATTACHMENTS,
            "AttachmentID",
            "FileName",
            80,
            scopes=("accounting.attachments",),
            agreed=("FileName",),
            batch_size=1,
            trace=Trace.OWNER,
            content=("FileName", "ContentLength"),
        ),
        _info(
            Resource.HISTORY,
            "",
            "",
            80,
            label_field="Details",
            scopes=(*_INVOICES, *_CONTACTS, *_SETTINGS, *_PAYMENTS),
            verbs=frozenset({Verb.CREATE}),
            trace=Trace.OWNER,
            content=("Details",),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Removed:
    """How an object is taken out: the element that is sent, and what Xero must answer."""

    verb: Verb
    payload: Mapping[str, Any]
    meant: Mapping[str, Any]


def removal(resource: Resource, xero_id: str, status: str | None) -> Removed | None:
    """What takes an object out of Xero, None where Xero keeps it for good.

    `status` is the one Xero last told: an authorised invoice or credit note is voided, all else
    deleted (FACTS section 6). Contacts are archived.
    """
    info = CATALOGUE[resource]
    if info.removal is Removal.DELETE:
        return Removed(Verb.DELETE, {}, {})
    if info.removal is Removal.NONE or info.status_field is None:
        return None
    after = "ARCHIVED" if info.removal is Removal.ARCHIVE else "DELETED"
    if resource in {Resource.INVOICES, Resource.CREDIT_NOTES} and status not in _NOT_APPROVED:
        after = "VOIDED"
    meant = {info.status_field: after}
    return Removed(Verb.UPDATE, {info.id_field: xero_id, **meant}, meant)


#: A document with such a status is deleted, not voided.
_NOT_APPROVED = frozenset({"DRAFT", "SUBMITTED"})

#: Where the records of a module go.
RESOURCE_OF: Mapping[Module, Resource] = {
    Module.CONTACTS: Resource.CONTACTS,
    Module.PRODUCTS: Resource.ITEMS,
    Module.SERVICES: Resource.ITEMS,
    Module.INVOICES: Resource.INVOICES,
}

#: Xero's Type of a document (OpenAPI Invoice.Type).
XERO_TYPE: Mapping[DocumentType, str] = {
    DocumentType.INVOICE: "ACCREC",
    DocumentType.BILL: "ACCPAY",
}

#: The most bytes one call may carry. Xero takes 3.5 MB; the rest is room for headers.
MOST_BYTES = 3_000_000


def unique_key(resource: Resource, payload: Mapping[str, Any]) -> str | None:
    """The key by which a lost create is found again, None where Xero keeps none unique.

    The number of a bill (ACCPAY) isn't unique in Xero: only its Url marks it as ours. Nor is
    that of a supplier's credit note (ACCPAYCREDIT).
    """
    info = CATALOGUE[resource]
    if info.trace is not Trace.KEY or (info.keyed and payload.get("Type") not in info.keyed):
        return None
    value = payload.get(info.key_field)
    return str(value) if value else None

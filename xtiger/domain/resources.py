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


_READ: frozenset[Verb] = frozenset()
_WRITE = frozenset({Verb.CREATE, Verb.UPDATE})
_ALL = _WRITE | {Verb.DELETE}


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """What XTiger must know of one resource (Xero's OpenAPI data; FACTS sections 1 and 6).

    `key_field` is the natural key (the field Xero keeps unique, empty where there is none),
    `rank` the order in a pass. `agreed` are the fields of an answer that must equal what was
    meant. `scopes` are granular ones, any of which grants it; `.read` added grants reading.
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

    @property
    def alone(self) -> bool:
        """Whether an update goes to the object's own address, one a call."""
        return self.batch_size == 1


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
        ),
        _info(
            Resource.ATTACHMENTS,
            "AttachmentID",
            "FileName",
            80,
            scopes=("accounting.attachments",),
            agreed=("FileName",),
            batch_size=1,
        ),
        _info(
            Resource.HISTORY,
            "",
            "",
            80,
            label_field="Details",
            scopes=(*_INVOICES, *_CONTACTS, *_SETTINGS, *_PAYMENTS),
            verbs=frozenset({Verb.CREATE}),
        ),
    )
}

#: Where the records of a module go.
RESOURCE_OF: Mapping[Module, Resource] = {
    Module.CONTACTS: Resource.CONTACTS,
    Module.PRODUCTS: Resource.ITEMS,
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
    numbered = {Resource.INVOICES: "ACCREC", Resource.CREDIT_NOTES: "ACCRECCREDIT"}
    if resource in numbered and payload.get("Type") != numbered[resource]:
        return None
    value = payload.get(CATALOGUE[resource].key_field)
    return str(value) if value else None

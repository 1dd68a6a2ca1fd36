"""The catalogue of Xero resources: where each lives, its keys, its rank, what finds it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from xtiger.domain.records import DocumentType, Module


class Resource(StrEnum):
    """A kind of Xero object; the value is its path below the API and its plural in bodies."""

    CONTACTS = "Contacts"
    ITEMS = "Items"
    INVOICES = "Invoices"


class Verb(StrEnum):
    """How an element is written: a create is PUT, an update is POST with the bound id.

    POST without an id would overwrite somebody else's document that has our number.
    """

    CREATE = "PUT"
    UPDATE = "POST"


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """What XTiger must know of one resource.

    `key_field` is the natural key (the field Xero keeps unique), `rank` the order in a pass.
    `agreed` are the fields of an answer that must equal what was meant.
    """

    resource: Resource
    id_field: str
    key_field: str
    label_field: str
    rank: int
    scope: str
    agreed: tuple[str, ...]
    status_field: str | None = None
    batch_size: int = 50


CATALOGUE: Mapping[Resource, ResourceInfo] = {
    Resource.CONTACTS: ResourceInfo(
        resource=Resource.CONTACTS,
        id_field="ContactID",
        key_field="ContactNumber",
        label_field="Name",
        rank=20,
        scope="accounting.contacts",
        agreed=("Name",),
        status_field="ContactStatus",
    ),
    Resource.ITEMS: ResourceInfo(
        resource=Resource.ITEMS,
        id_field="ItemID",
        key_field="Code",
        label_field="Code",
        rank=30,
        scope="accounting.settings",
        agreed=("Code",),
    ),
    Resource.INVOICES: ResourceInfo(
        resource=Resource.INVOICES,
        id_field="InvoiceID",
        key_field="InvoiceNumber",
        label_field="InvoiceNumber",
        rank=50,
        scope="accounting.invoices",
        agreed=("Type", "Status"),
        status_field="Status",
    ),
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

    The number of a bill (ACCPAY) isn't unique in Xero: only its Url marks it as ours.
    """
    if resource is Resource.INVOICES and payload.get("Type") != "ACCREC":
        return None
    value = payload.get(CATALOGUE[resource].key_field)
    return str(value) if value else None

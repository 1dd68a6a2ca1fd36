"""Where everything lives in Xero's API: the address of each write, and what reads may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from xtiger.domain.errors import PermanentError
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.ports import Call

#: The longest address that is sent: about 50 GUIDs fit (XeroAPI/Xero-OpenAPI issue 534).
MOST_ADDRESS = 1900
#: Characters of an address kept free for the resource, paging and other switches.
SWITCHES = 120
#: The most rows of a page, where the caller chooses; else Xero gives 100 (FACTS section 3).
PAGE_SIZE = 1000

# The tables below follow Xero's OpenAPI data, operation by operation.

#: Collections whose writes tell each element's fate with summarizeErrors=false. Xero's data has
#: no such switch for tax rates; where it isn't known it does no harm, and without it one bad
#: element hides what became of the others.
_TELLS_EACH = frozenset(
    {
        Resource.BANK_TRANSACTIONS,
        Resource.CONTACTS,
        Resource.CREDIT_NOTES,
        Resource.INVOICES,
        Resource.ITEMS,
        Resource.PAYMENTS,
        Resource.PURCHASE_ORDERS,
        Resource.QUOTES,
        Resource.TAX_RATES,
    }
)
#: What keeps 4 decimals of a unit amount only when asked, in writes and in reads.
_FOUR_WRITTEN = frozenset(
    {
        Resource.BANK_TRANSACTIONS,
        Resource.CREDIT_NOTES,
        Resource.INVOICES,
        Resource.ITEMS,
        Resource.RECEIPTS,
    }
)
_FOUR_READ = _FOUR_WRITTEN | {Resource.OVERPAYMENTS, Resource.PREPAYMENTS}
#: Lists that can be asked for what changed since a moment. The others are short.
DATED = frozenset(
    {
        Resource.ACCOUNTS,
        Resource.BANK_TRANSACTIONS,
        Resource.CONTACTS,
        Resource.CREDIT_NOTES,
        Resource.INVOICES,
        Resource.ITEMS,
        Resource.OVERPAYMENTS,
        Resource.PAYMENTS,
        Resource.PREPAYMENTS,
        Resource.PURCHASE_ORDERS,
        Resource.QUOTES,
        Resource.RECEIPTS,
        Resource.USERS,
    }
)
#: Lists that take a `where`.
_TAKES_WHERE = frozenset(
    {
        Resource.ACCOUNTS,
        Resource.BANK_TRANSACTIONS,
        Resource.CONTACTS,
        Resource.CONTACT_GROUPS,
        Resource.CREDIT_NOTES,
        Resource.CURRENCIES,
        Resource.INVOICES,
        Resource.ITEMS,
        Resource.TAX_RATES,
        Resource.TRACKING_CATEGORIES,
        Resource.USERS,
    }
)
#: What has an address by its natural key too. Xero's data says so of contacts, invoices and
#: orders; items by code and credit notes by number are in Xero's guides.
_KEYED_ADDRESS = frozenset(
    {
        Resource.CONTACTS,
        Resource.CREDIT_NOTES,
        Resource.INVOICES,
        Resource.ITEMS,
        Resource.PURCHASE_ORDERS,
    }
)
#: What has no address by its id: the whole, short list is read instead.
NO_ADDRESS = frozenset({Resource.CURRENCIES, Resource.ORGANISATION})
#: What is short enough that one call for all of it is cheaper than two for two of it.
SHORT = NO_ADDRESS | {
    Resource.ACCOUNTS,
    Resource.BRANDING_THEMES,
    Resource.CONTACT_GROUPS,
    Resource.TAX_RATES,
    Resource.TRACKING_CATEGORIES,
    Resource.USERS,
}
#: Lists that take `IDs`.
LISTS_IDS = frozenset({Resource.CONTACTS, Resource.INVOICES})
#: Lists that hide what is archived unless asked.
_HIDES_ARCHIVED = frozenset({Resource.CONTACTS, Resource.INVOICES, Resource.TRACKING_CATEGORIES})
#: What exists only below another object.
PARTS = frozenset({Resource.ALLOCATIONS, Resource.ATTACHMENTS, Resource.HISTORY})


def segment(resource: Resource) -> str:
    """The part of an address that names a resource."""
    return "History" if resource is Resource.HISTORY else resource.value


def quoted(text: str) -> str:
    """One part of an address. Raises PermanentError for a text that can't be one."""
    if text in ("", ".", ".."):
        raise PermanentError(f"“{text}” can't stand in an address of Xero, so nothing was sent.")
    return quote(text, safe="")


def of_call(call: Call) -> str:
    """The address of a write, below the API's own.

    | a write of | goes to |
    | --- | --- |
    | a batch | the collection |
    | one object (`xero_id`) | the object |
    | a part (`owner`) | the same, below the owner |

    Raises PermanentError for a DELETE that names no object: it would empty the collection.
    """
    if call.verb is Verb.DELETE and not call.xero_id:
        raise PermanentError("A call that deletes must name one object, so nothing was sent.")
    path = segment(call.resource)
    if call.owner:
        path = f"{segment(call.owner.resource)}/{quoted(call.owner.xero_id)}/{path}"
    if call.xero_id:
        path += f"/{quoted(call.xero_id)}"
    switches = []
    if call.verb is not Verb.DELETE and not call.xero_id:
        own = call.owner is None and call.resource in _TELLS_EACH
        if own or call.resource is Resource.ALLOCATIONS:
            switches.append("summarizeErrors=false")
    if call.verb is not Verb.DELETE and call.owner is None and call.resource in _FOUR_WRITTEN:
        switches.append("unitdp=4")
    return f"{path}?{'&'.join(switches)}" if switches else path


def scopes_of(call: Call) -> Sequence[str]:
    """Any of these grants the write; a part needs what its owner needs, a file its own."""
    if call.owner and call.resource is not Resource.ATTACHMENTS:
        return CATALOGUE[call.owner.resource].scopes
    return CATALOGUE[call.resource].scopes


def scopes_to_read(path: str) -> Sequence[str]:
    """Any of these (or its `.read`) grants reading an address below the API's own."""
    parts = path.partition("?")[0].split("/")
    if Resource.ATTACHMENTS.value in parts[1:]:
        return CATALOGUE[Resource.ATTACHMENTS].scopes
    known = next((info for info in CATALOGUE.values() if segment(info.resource) == parts[0]), None)
    return (known or CATALOGUE[Resource.ORGANISATION]).scopes


def list_path(resource: Resource, *switches: str) -> str:
    """The address of a list with every switch it needs to tell all."""
    every = [switch for switch in switches if switch]
    if resource in _HIDES_ARCHIVED:
        every.append("includeArchived=true")
    if resource in _FOUR_READ:
        every.append("unitdp=4")
    return f"{segment(resource)}?{'&'.join(every)}" if every else segment(resource)


def page_path(resource: Resource, page: int, *switches: str) -> str:
    """The address of one page of a list. Only pages of documents carry their lines."""
    info = CATALOGUE[resource]
    if not info.paged:
        return list_path(resource, *switches)
    size = f"pageSize={PAGE_SIZE}" if info.page_size else ""
    return list_path(resource, *switches, f"page={page}", size)


def object_path(resource: Resource, key: str) -> str:
    """The address of one object, by its id or natural key."""
    four = "?unitdp=4" if resource in _FOUR_WRITTEN else ""
    return f"{segment(resource)}/{quoted(key)}{four}"


def lookups(resource: Resource, keys: Sequence[str], room: int) -> tuple[list[str], list[str]]:
    """Queries that find natural keys, and the keys that can only be asked for by address.

    A query is what `list_path` takes; an empty one stands for the whole list. `room` is in
    characters. A `where` has no way to escape a quote (XeroAPI/Xero-Java issue 347), and a list
    of invoice numbers none for a comma.
    """
    key_field = CATALOGUE[resource].key_field
    if resource is Resource.QUOTES:
        return [f"QuoteNumber={quote(key, safe='')}" for key in keys], []
    if resource is Resource.PURCHASE_ORDERS:
        return [], list(keys)
    if resource not in _TAKES_WHERE:
        return [""], []
    alone = [key for key in keys if '"' in key or "\\" in key]
    keys = [key for key in keys if key not in alone]
    if alone and resource not in _KEYED_ADDRESS:
        return [""], []
    queries: list[str] = []
    if resource is Resource.INVOICES:
        plain = [quote(key, safe="") for key in keys if "," not in key]
        queries += [f"InvoiceNumbers={one}" for one in joined(plain, ",", room)]
        keys = [key for key in keys if "," in key]
    tests = [quote(f'{key_field}=="{key}"', safe="") for key in keys]
    either = quote(" OR ", safe="")
    queries += [f"where={one}" for one in joined(tests, either, room)]
    return queries, alone


def joined(parts: Iterable[str], glue: str, room: int) -> Iterator[str]:
    """The parts glued into as few texts as fit; one that is too long goes alone."""
    text = ""
    for part in parts:
        if text and len(text) + len(glue) + len(part) > room:
            yield text
            text = ""
        text = f"{text}{glue}{part}" if text else part
    if text:
        yield text


def list_of(envelope: Mapping[str, Any], plural: str) -> list[Mapping[str, Any]] | None:
    """The list under a plural in any case (Organisation comes under Organisations)."""
    names = (plural.lower(), f"{plural.lower()}s")
    for name, value in envelope.items():
        if name.lower() in names and isinstance(value, list):
            return value if all(isinstance(row, dict) for row in value) else None
    return None

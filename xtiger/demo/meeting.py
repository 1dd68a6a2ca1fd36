"""`--scenario first-meeting`: organisations that hold the same contacts and items already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import requests
from sqlalchemy import select

from xtiger.crm.builtin import Contact, Invoice, InvoiceLine, Product
from xtiger.demo.books import Books, consent_token, read_books
from xtiger.demo.instance import Instance
from xtiger.demo.stage import Figures, Stage
from xtiger.domain.records import Module, RecordRef
from xtiger.engine import meeting
from xtiger.store.models import QueueItem

#: What a contact of the CRM shares with one of Xero, by turns.
ACCOUNT, EMAIL, NAME, OTHER, ARCHIVED, NEW = _KINDS = (
    "account number",
    "e-mail and name",
    "name",
    "name, but another e-mail",
    "name, but archived",
    "nothing",
)
#: What may go over a matched contact's own values: the list that organisations begin with.
_LISTED = {"EmailAddress", "Phones"}
#: What Xero changes by itself: when, and what contacts become by their documents.
_MOVES = {"UpdatedDateUTC", "IsCustomer", "IsSupplier", "Balances", "_tenant"}


@dataclass(slots=True)
class _Made:
    """The CRM's records."""

    contacts: dict[str, list[RecordRef]] = field(default_factory=dict)
    items: list[RecordRef] = field(default_factory=list)
    invoices: list[RecordRef] = field(default_factory=list)

    def ticked(self) -> Iterator[RecordRef]:
        for some in self.contacts.values():
            yield from some
        yield from self.items
        yield from self.invoices


def first_meeting(instance: Instance, records: int) -> tuple[Figures, bool]:
    """Contacts and items are synced that Xero mostly has: a third of `records` are contacts.

    Nothing may be doubled, and only listed fields overwritten. What is uncertain waits; then a
    person links it, or renames it in the CRM, and all that waited for it goes over.
    """
    count = max(2 * len(_KINDS), records // 3)
    stage = Stage(instance)
    _hold(instance, count)
    before = read_books(instance.xero, archived=True)
    made = _Made()
    stage.edit(lambda session: _seed(session, count, made))
    stage.open()
    stage.tick(list(made.ticked()))
    stage.sync()
    waiting = meeting.waiting(instance.services, limit=count * 10)
    blocked = _states(stage)["blocked"]
    met = read_books(instance.xero, archived=True)
    unlisted, listed = _overwritten(before, met)
    _decide(stage, waiting, made)
    after = read_books(instance.xero, archived=True)
    # Contacts and items go to every organisation, documents to one.
    places = len(instance.xero["organisations"])
    uncertain = len(made.contacts[OTHER]) + len(made.contacts[ARCHIVED])
    expected = len(before.contacts) + places * len(made.contacts[NEW])
    left = _states(stage)
    figures: Figures = {
        "scenario": "first-meeting",
        "in_xero_before": len(before.contacts) + len(before.items),
        "synced": len(list(made.ticked())),
        "waiting_for_a_person": len(waiting),
        "blocked_by_them": blocked,
        "overwritten": dict(sorted(listed.items())),
        "overwritten_unlisted": unlisted,
        "doubled": len(met.contacts) - expected + _twice(met) + _twice(after),
        "left_after_a_persons_word": left["failed"] + left["blocked"] + left["pending"],
        "invoices": len(after.invoices),
    }
    holds = (
        len(waiting) == places * uncertain
        and not figures["doubled"]
        and not unlisted
        and set(listed) == _LISTED
        and not figures["left_after_a_persons_word"]
        and len(after.invoices) == len(made.invoices)
        # An archived one can't be linked: its record was renamed, and is a contact of its own.
        and len(after.contacts) == expected + places * len(made.contacts[ARCHIVED])
    )
    return figures, holds


# -- what is there before ---------------------------------------------------------------------


def _hold(instance: Instance, count: int) -> None:
    """Fills every organisation of the local Xero as its owners did, long before XTiger."""
    api, token = instance.xero["api_url"], consent_token(instance.xero)
    for organisation in instance.xero["organisations"]:
        session = requests.Session()
        session.headers.update(
            {
                "Authorization": f"Bearer {token}",
                "xero-tenant-id": organisation["tenant_id"],
                "Accept": "application/json",
            }
        )

        def write(method: str, resource: str, rows: Sequence[Mapping[str, Any]]) -> Any:
            found: list[Any] = []
            for start in range(0, len(rows), 50):
                answer = session.request(  # noqa: B023
                    method,
                    f"{api}/api.xro/2.0/{resource}",
                    json={resource: rows[start : start + 50]},
                    timeout=60,
                )
                answer.raise_for_status()
                found += answer.json()[resource]
            return found

        kept = [_theirs(number) for number in range(count) if _kind(number) != NEW]
        rows = write("PUT", "Contacts", kept)
        gone = [
            {"ContactID": row["ContactID"], "ContactStatus": "ARCHIVED"}
            for row, number in zip(rows, (n for n in range(count) if _kind(n) != NEW), strict=True)
            if _kind(number) == ARCHIVED
        ]
        write("POST", "Contacts", gone)
        write(
            "PUT",
            "Items",
            [{"Code": f"G-{n:04}", "Name": f"Their item {n}"} for n in range(count // 2)],
        )


def _kind(number: int) -> str:
    return _KINDS[number % len(_KINDS)]


def _theirs(number: int) -> dict[str, Any]:
    kind = _kind(number)
    name = f"Customer {number:04}"
    found: dict[str, Any] = {
        "Name": f"{name} Limited" if kind == ACCOUNT else name,
        "FirstName": "Their",
        "Addresses": [{"AddressType": "POBOX", "AddressLine1": "PO Box 9", "City": "Nelson"}],
    }
    if kind == ACCOUNT:
        found["AccountNumber"] = f"C-{number:04}"
    if kind == EMAIL:
        found["EmailAddress"] = f"c{number}@example.com"
    if kind == OTHER:
        found["EmailAddress"] = f"theirs{number}@example.com"
    return found


def _seed(session: Any, count: int, made: _Made) -> None:
    """The CRM's side: the same customers with other details, half the items, some invoices."""
    goods = []
    for number in range(count):
        item = Product(
            code=f"g-{number:04}" if number % 4 == 0 else f"G-{number:04}",
            name=f"Item {number}",
            price=Decimal("12.50"),  # without a rate: the organisations are of two countries
        )
        goods.append(item)
    people = [
        Contact(
            name=f"Customer {number:04}",
            first_name="Ours",
            email=f"c{number}@example.com",
            phone="04 555 0100",
            city="Wellington",
            account_number=f"c-{number:04}" if _kind(number) == ACCOUNT else None,
        )
        for number in range(count)
    ]
    session.add_all([*goods, *people])
    session.flush()
    for number, one in enumerate(people):
        made.contacts.setdefault(_kind(number), []).append(RecordRef(Module.CONTACTS, str(one.id)))
    made.items += [RecordRef(Module.PRODUCTS, str(one.id)) for one in goods]
    today = datetime.now(UTC).date()
    for number, (buyer, item) in enumerate(zip(people, goods, strict=True)):
        if number % 2:
            continue
        invoice = Invoice(
            number=f"INV-{number:04}",
            contact_id=buyer.id,
            date=today,
            due_date=today,
            currency="NZD",
            amounts="exclusive",
            status="Approved",
            lines=[
                InvoiceLine(
                    place=0,
                    product_id=item.id,
                    quantity=Decimal(2),
                    unit_price=Decimal("12.50"),
                    discount=Decimal(0),
                    tax_rate=Decimal(15),
                )
            ],
        )
        invoice.count()
        session.add(invoice)
        session.flush()
        made.invoices.append(RecordRef(Module.INVOICES, str(invoice.id)))


# -- what became of it ------------------------------------------------------------------------


def _overwritten(before: Books, after: Books) -> tuple[int, Counter[str]]:
    """Changed fields of what Xero had: how many that no list names, and the others by name."""
    unlisted, listed = 0, Counter[str]()
    for old, new in _pairs(before.contacts, after.contacts, "ContactID"):
        for name in (old.keys() | new.keys()) - _MOVES:
            if old.get(name) == new.get(name):
                continue
            if name in _LISTED:
                listed[name] += 1
            else:
                unlisted += 1
    for old, new in _pairs(before.items, after.items, "ItemID"):
        unlisted += sum(old.get(name) != new.get(name) for name in old.keys() - _MOVES)
    return unlisted, listed


def _pairs(
    old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]], key: str
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    by_id = {one[key]: one for one in new}
    for one in old:
        yield one, by_id[one[key]]


def _twice(books: Books) -> int:
    """Objects beyond the first of one name, account number or code in one organisation."""
    keys = [
        *((one["_tenant"], "name", one["Name"].casefold()) for one in books.contacts),
        *((one["_tenant"], "number", one.get("AccountNumber")) for one in books.contacts),
        *((one["_tenant"], "item", one["Code"].casefold()) for one in books.items),
    ]
    return sum(count - 1 for key, count in Counter(keys).items() if key[2] and count > 1)


def _decide(stage: Stage, waiting: Sequence[meeting.Waiting], made: _Made) -> None:
    """A person links what may be linked, on the items' pages, and renames the rest in the CRM."""
    archived = set(made.contacts[ARCHIVED])
    for one in waiting:
        if RecordRef(Module.CONTACTS, one.item.record_id) not in archived:
            stage.browser.open(f"{stage.instance.url}/queue/{one.item.id}")
            stage.browser.press("Link them", xero_id=one.maybe[0].xero_id)
    ids = [int(ref.id) for ref in archived]

    def rename(session: Any) -> None:
        for row in session.scalars(select(Contact).where(Contact.id.in_(ids))):
            row.name += " (new)"

    stage.edit(rename)
    stage.sync()


def _states(stage: Stage) -> Counter[str]:
    with stage.instance.services.database.read() as session:
        return Counter(session.scalars(select(QueueItem.state)))

"""The verdict: Xero's books and log, and XTiger's own tables, held against the CRM's records."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from tests.chaos.order import Ordered, ordered, version_in
from tests.chaos.stage import REMOVES, Stage
from tests.chaos.writer import Tombstone, number_in, tombstones
from xtiger.crm.builtin import Contact, Invoice, Product
from xtiger.demo.books import Books, read_books
from xtiger.domain import exactjson
from xtiger.domain.queueing import OPEN, REMOVE, State
from xtiger.domain.records import Module, RecordRef
from xtiger.store import logs
from xtiger.store.models import (
    Attempt,
    Flag,
    Organisation,
    OutboxRow,
    QueueItem,
)

#: A record in one organisation: the organisation's tenant and the record.
Place = tuple[str, RecordRef]


@dataclass(slots=True)
class Verdict:
    """Sentences about whatever is wrong, by the five counts."""

    records: int = 0
    duplicates: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    order_violations: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)
    #: What happened beside: how much of that which could have gone wrong.
    more: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """The five counts."""
        return {name: len(found) for name, found in self.found().items()}

    def found(self) -> dict[str, list[str]]:
        """The sentences by count."""
        return {
            "duplicates": self.duplicates,
            "lost": self.lost,
            "order_violations": self.order_violations,
            "stuck": self.stuck,
            "check": self.check,
        }


def judge(stage: Stage) -> Verdict:
    """Judges a stage that is quiet; the local Xero must be calm. It leaves the papers there."""
    verdict = Verdict()
    books = read_books(stage.xero, archived=True)
    calls = stage.ask_xero("requests?after=0")["requests"]
    (stage.folder / "requests.json").write_text(json.dumps(calls, indent=1))
    (stage.folder / "books.json").write_bytes(
        exactjson.dumps([books.contacts, books.items, books.invoices])
    )
    with stage.app.app_context(), stage.services.database.read() as session:
        records = _Records(stage, stage.session, session)
        gone = tombstones(stage.folder)
        verdict.records = len(records.all)
        _compare(records, gone, books, verdict)
        order = ordered(stage.folder, session, calls)
        verdict.order_violations += order.violations
        verdict.more = _more(session, order, gone)
        verdict.stuck += left(session)
        checks = session.scalars(select(QueueItem).where(QueueItem.state == State.CHECK.value))
        verdict.check += [_told(item) for item in checks]
    return verdict


def left(session: Session) -> list[str]:
    """Whatever is open in XTiger's own tables, apart from items that wait for a person."""
    states = [state.value for state in OPEN if state is not State.CHECK]
    items = session.scalars(
        select(QueueItem).where(QueueItem.state.in_(states)).order_by(QueueItem.id)
    )
    found = [_told(item) for item in items]
    calls = session.scalars(select(Attempt).where(text("closed_at IS NULL"))).all()
    found += [f"attempt {one.id} ({one.resource} {one.verb}) is open" for one in calls]
    found += [f"run {run.id} hasn't ended: {run.sentence}" for run in logs.unended_runs(session)]
    changes = session.scalar(select(func.count()).select_from(OutboxRow))
    return found + ([f"{changes} changes weren't relayed"] if changes else [])


def _more(session: Session, order: Ordered, gone: list[Tombstone]) -> dict[str, int]:
    """How much happened of what could have gone wrong."""
    removed = select(func.count()).where(
        QueueItem.action == REMOVE, QueueItem.state == State.SUCCEEDED.value
    )
    late = ["looked up", "due again"]
    return {
        "deleted": len(gone),
        "removed": session.scalar(removed) or 0,
        "never_sent": sum(one.ref not in order.sent for one in gone),
        "changed_in_call": order.mid_call,
        "attempts": order.attempts,
        "at_once": order.in_flight,
        "replayed": session.scalar(select(func.count()).where(Attempt.sends > 1)) or 0,
        "found_out_later": session.scalar(select(func.count()).where(Attempt.outcome.in_(late)))
        or 0,
    }


def _told(item: QueueItem) -> str:
    return (
        f"#{item.id} {item.module} {item.record_id} ({item.label}) is {item.state}: "
        f"{item.sentence or ''} [blocked by {item.blocked_by}, tries {item.tries}]"
    )


# what is in Xero


class _Records:
    """The CRM's records by their place, those that belong in Xero and those that may be there."""

    def __init__(self, stage: Stage, crm: Any, session: Session) -> None:
        self.stage = stage
        self.all: dict[Place, Any] = {}
        tenants = {row.id: row.tenant_id for row in session.scalars(select(Organisation))}
        #: Tenants by the currency that routes documents to them.
        self.ours = {currency: tenants[one] for currency, one in stage.organisations.items()}
        people = {row.id: row for row in crm.scalars(select(Contact))}
        things = {row.id: row for row in crm.scalars(select(Product))}
        #: A document that needed them may be gone since.
        self.may: dict[Place, Any] = {
            (tenant, RecordRef(module, str(row.id))): row
            for tenant in tenants.values()
            for module, rows in ((Module.CONTACTS, people), (Module.PRODUCTS, things))
            for row in rows.values()
        }
        ticked = {
            RecordRef(Module(row.module), row.record_id): row
            for row in session.scalars(select(Flag).where(Flag.allow.is_(True)))
        }
        for module, rows in ((Module.CONTACTS, people), (Module.PRODUCTS, things)):
            for row in rows.values():
                flag = ticked.get(RecordRef(module, str(row.id)))
                if flag is not None:
                    self._add(tenants[flag.organisation_id or 0], module, row)
        for row in crm.scalars(select(Invoice)):
            if RecordRef(Module.INVOICES, str(row.id)) not in ticked:
                continue
            tenant = self.ours[row.currency]
            self._add(tenant, Module.INVOICES, row)
            self._add(tenant, Module.CONTACTS, people[row.contact_id])
            for line in row.lines:
                if line.product_id:
                    self._add(tenant, Module.PRODUCTS, things[line.product_id])

    def _add(self, tenant: str, module: Module, row: Any) -> None:
        self.all[tenant, RecordRef(module, str(row.id))] = row

    def mark(self, ref: RecordRef, code: str | None) -> str:
        """By what a record's object in Xero is known; `code` is a product's."""
        if ref.module is Module.CONTACTS:
            return self.stage.services.marker(ref)
        if ref.module is Module.PRODUCTS:
            return str(code)
        return self.stage.services.links.record(ref)

    def contact_mark(self, invoice: Invoice) -> str:
        ref = RecordRef(Module.CONTACTS, str(invoice.contact_id))
        return self.stage.services.marker(ref)


def _compare(records: _Records, gone: list[Tombstone], books: Books, verdict: Verdict) -> None:
    """Each record is there once, as the CRM has it, and nothing else is there.

    What was deleted in the CRM is out of use where that is asked for, else as it was.
    """
    objects: dict[tuple[str, Module, str], list[dict[str, Any]]] = defaultdict(list)
    marks = {one["ContactID"]: str(one.get("ContactNumber") or "") for one in books.contacts}
    for one in books.contacts:
        mark = marks[one["ContactID"]] or f"without a mark: {one['Name']}"
        objects[one["_tenant"], Module.CONTACTS, mark].append(one)
    for one in books.items:
        objects[one["_tenant"], Module.PRODUCTS, one["Code"]].append(one)
    for one in books.invoices:
        objects[one["_tenant"], Module.INVOICES, str(one.get("Url"))].append(one)

    def taken(tenant: str, ref: RecordRef, label: str, code: str | None) -> list[dict[str, Any]]:
        found = objects.pop((tenant, ref.module, records.mark(ref, code)), [])
        again = [one[_ID[ref.module]] for one in found[1:]]
        verdict.duplicates += [f"{ref} ({label}) is in Xero again as {one}" for one in again]
        return found

    for (tenant, ref), row in records.all.items():
        found = taken(tenant, ref, row.label, getattr(row, "code", None))
        ids = [one[_ID[ref.module]] for one in found]
        if not found:
            verdict.lost.append(f"{ref} ({row.label}) isn't in Xero")
            continue
        apart = list(_apart(ref, row, found[0], marks, records))
        if not apart and row.xero_id not in ids:
            apart = [f"its id in the CRM is {row.xero_id}"]
        if apart:
            verdict.lost.append(f"{ref} ({row.label}, {ids[0]}): {'; '.join(apart)}")
    for dead in gone:
        tenant = records.ours[dead.currency]
        found = taken(tenant, dead.ref, dead.label, dead.code)
        live = [one for one in found if not _is_out_of_use(one)]
        if dead.currency == REMOVES:
            verdict.lost += [
                f"the removal of {dead.ref} ({dead.label}): {one[_ID[dead.ref.module]]} is live"
                for one in live
            ]
        elif dead.bound and not live:
            verdict.lost.append(f"{dead.ref} ({dead.label}) was to stay in Xero")
    for (tenant, ref), row in records.may.items():
        if (tenant, ref) not in records.all:
            taken(tenant, ref, row.label, getattr(row, "code", None))
    for (_, module, mark), extra in objects.items():
        verdict.duplicates += [f"{one[_ID[module]]} ({mark}) is no record's" for one in extra]


def _is_out_of_use(one: Mapping[str, Any]) -> bool:
    return one.get("ContactStatus") == "ARCHIVED" or one.get("Status") in ("VOIDED", "DELETED")


_ID = {
    Module.CONTACTS: "ContactID",
    Module.PRODUCTS: "ItemID",
    Module.INVOICES: "InvoiceID",
}


def _apart(
    ref: RecordRef, row: Any, one: Mapping[str, Any], marks: Mapping[str, str], records: _Records
) -> Iterator[str]:
    """In what Xero's object differs from the CRM's record."""
    pairs: dict[str, tuple[Any, Any]] = {}
    if ref.module is Module.CONTACTS:
        pairs["name"] = (one.get("Name"), row.name)
        pairs["e-mail"] = (one.get("EmailAddress"), row.email)
        pairs["version"] = (version_in(one), number_in(row.street))
    elif ref.module is Module.PRODUCTS:
        pairs["price"] = (Decimal(one["SalesDetails"]["UnitPrice"]), row.price)
        pairs["version"] = (version_in(one), number_in(row.description))
    else:
        pairs["number"] = (one.get("InvoiceNumber"), row.number)
        pairs["type"] = (one.get("Type"), "ACCPAY" if row.reference == "bill" else "ACCREC")
        pairs["total"] = (Decimal(one["Total"]), row.total)
        pairs["tax"] = (Decimal(one["TotalTax"]), row.tax_total)
        pairs["lines"] = (len(one["LineItems"]), len(row.lines))
        pairs["status"] = (one.get("Status"), "AUTHORISED")
        pairs["contact"] = (marks.get(one["Contact"]["ContactID"]), records.contact_mark(row))
        pairs["version"] = (version_in(one), number_in(row.lines[0].description))
    for name, (there, here) in pairs.items():
        if there != here:
            yield f"{name} is {there} in Xero and {here} in the CRM"

"""Calls journalled by hand for every resource, so that any of their answers can be lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from tests.conftest import Engine
from tests.contract.test_xero_port import Books
from tests.engine.scenes import KAURI, ShiftedClock, control, organisation
from xtiger.domain.queueing import REMOVE
from xtiger.domain.resources import CATALOGUE, Resource, Verb
from xtiger.engine import lookup, recovery
from xtiger.engine.connection import connect, tokens
from xtiger.engine.connection.permissions import EXTRAS
from xtiger.engine.services import Services
from xtiger.ports import Access, Answer, Owner
from xtiger.store import journal, leases
from xtiger.store.leases import Lease
from xtiger.store.models import Attempt, LogEntry, QueueItem

R = Resource
#: Seconds after the loss: Xero still knows the key; too late for that and too early to look; Xero
#: has surely forgotten it.
REPLAYED, BETWEEN, LOOKED_UP = 200, 350, 500
#: What the total of a document of `Books.element` comes to: 2 x 25.06 and 15 % tax.
TOTAL = Decimal("57.64")
_DOCUMENTS = {R.QUOTES, R.PURCHASE_ORDERS, R.INVOICES, R.RECEIPTS, R.BANK_TRANSACTIONS}
_DOCUMENTS |= {R.CREDIT_NOTES}


@dataclass
class Lost:
    """One connected organisation, its local Xero, and calls whose answers nobody gets."""

    engine: Engine
    books: Books
    one: int
    made: int = 0
    #: The steps that recovery showed.
    steps: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, engine: Engine) -> Lost:
        connect.save_app(
            engine.services,
            client_id=engine.xero.client_id,
            secret=engine.xero.client_secret,
            who="T",
            extras=EXTRAS,
        )
        one = engine.connect(KAURI)[KAURI]
        tenant = organisation(engine).tenant_id
        control(engine, f"organisations/{tenant}", {"ClassicExpenses": True})
        lost = cls(engine, None, one)  # type: ignore[arg-type]
        access = lost.call(lambda access: access)
        lost.books = Books(engine.services.xero, Access(access.access_token, access.tenant_id))
        return lost

    def lease(self, services: Services | None = None) -> Lease:
        services = services or self.engine.services
        lease = leases.take(
            services.database, self.one, holder="t", now=services.clock.now(), seconds=180
        )
        assert lease is not None
        return lease

    def call(self, send: Any) -> Any:
        lease = self.lease()
        try:
            return tokens.call(self.engine.services, lease, send)
        finally:
            leases.release(self.engine.services.database, lease)

    # journalling

    def item(self, resource: Resource, record: str = "", **fields: Any) -> int:
        """A running item, as a claim leaves it."""
        self.made += 1
        now = self.engine.services.clock.now()
        with self.engine.database.write() as session:
            row = QueueItem(
                **{
                    "organisation_id": self.one,
                    "module": "Invoices",
                    "record_id": record or f"{resource.value}-{self.made}",
                    "label": f"{resource.value} {self.made}",
                    "resource": resource.value,
                    "rank": CATALOGUE[resource].rank,
                    "state": "running",
                    "added_at": now,
                    "changed_at": now,
                    **fields,
                }
            )
            session.add(row)
            session.flush()
            return int(row.id)

    def journalled(
        self,
        resource: Resource,
        *elements: dict[str, Any],
        verb: Verb = Verb.CREATE,
        body: bytes | None = None,
        owner: Owner | None = None,
        xero_id: str | None = None,
        content_type: str | None = None,
        removes: bool = False,
        records: Sequence[str] = (),
        ago: float = 0,
    ) -> int:
        """Opens an attempt for a call of `Books`, as a drain does before it sends."""
        count = max(1, len(elements))
        if verb is Verb.CREATE and body is None:
            call = self.books.create(resource, *elements)
            body, content_type = call.body, call.content_type
            owner, xero_id = owner or call.owner, xero_id or call.xero_id
        before: list[Any] = [None] * count
        if CATALOGUE[resource].counted and verb is Verb.CREATE and owner:
            lease = self.lease()
            before = [
                *lookup.equal_before(self.engine.services, lease, resource, elements, owner=owner)
            ]
            leases.release(self.engine.services.database, lease)
        names = list(records) or [""] * count
        action = REMOVE if removes else "Create"
        ids = [self.item(resource, name, action=action) for name in names]
        meant: dict[str, Any] = {}
        if verb is Verb.CREATE and resource in _DOCUMENTS:
            meant = {"Total": TOTAL}
        services = self.engine.worker("opener", clock=ShiftedClock(-ago))
        lease = self.lease()
        with services.database.write() as session:
            attempt_id = journal.open_attempt(
                session,
                lease,
                resource=resource,
                verb=verb,
                body=body or b"",
                elements=[
                    journal.Meant(one, "label", "v1", None, meant, equal_before=known)
                    for one, known in zip(ids, before, strict=True)
                ],
                run_id=None,
                now=services.clock.now(),
                xero_id=xero_id,
                owner=owner,
                content_type=content_type,
            )
        leases.release(services.database, lease)
        return attempt_id

    def send(self, attempt_id: int) -> Answer:
        """Sends what was journalled; whoever calls this forgets the answer."""
        with self.engine.database.read() as session:
            attempt = session.get_one(Attempt, attempt_id)
            count = len(journal.elements_of(session, attempt_id))
            call = journal.call_of(attempt, count)
        answer: Answer = self.call(lambda access: self.engine.services.xero.save_many(access, call))
        assert all(one.stored for one in answer.elements), answer.elements
        return answer

    def recover(self, seconds: float) -> None:
        """Another worker, so many seconds later, settles what is open. Raises what it raises."""
        services = self.engine.worker(
            "survivor", clock=ShiftedClock(seconds), observe=self.steps.append
        )
        lease = self.lease(services)
        try:
            recovery.settle_open(services, lease)
        finally:
            leases.release(services.database, lease)

    # looking

    def total(self, resource: Resource) -> int:
        """How many objects of a kind Xero has, of parts those below the usual owner."""
        xero, access = self.books.xero, self.books.access
        owner = self.books.owner(resource)
        if owner is None or resource is R.TRACKING_OPTIONS:
            rows = list(xero.changes(access, resource))
            status = CATALOGUE[resource].status_field
            return sum(row.get(status or "") not in ("DELETED", "VOIDED") for row in rows)
        place = f"{owner.resource.value}/{owner.xero_id}"
        if resource is R.ALLOCATIONS:
            [source] = xero.get_many(access, owner.resource, [owner.xero_id])
            return len(source["Allocations"])
        part = "History" if resource is R.HISTORY else resource.value
        rows = list(xero.read(access, f"{place}/{part}"))
        return sum(row.get("Changes") == "Note" or "FileName" in row for row in rows)

    def writes(self) -> list[dict[str, Any]]:
        """The calls that wrote, as Xero saw them."""
        return [row for row in self.engine.requests() if row["method"] != "GET"]

    def states(self) -> list[str]:
        with self.engine.database.read() as session:
            return list(session.scalars(select(QueueItem.state).order_by(QueueItem.id)))

    def items(self) -> list[QueueItem]:
        with self.engine.database.read() as session:
            return list(session.scalars(select(QueueItem).order_by(QueueItem.id)))

    def entries(self) -> list[LogEntry]:
        with self.engine.database.read() as session:
            return list(session.scalars(select(LogEntry).order_by(LogEntry.id)))

    def outcomes(self) -> list[str | None]:
        with self.engine.database.read() as session:
            return list(session.scalars(select(Attempt.outcome).order_by(Attempt.id)))

"""The people at the CRM: they add, change and delete records, tick them and press Retry."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from tests.chaos.worker import into_file
from xtiger.app import create_app
from xtiger.crm.builtin import Contact, Invoice, InvoiceLine, Product
from xtiger.domain.errors import XTigerError
from xtiger.domain.queueing import OPEN, State
from xtiger.domain.records import DocumentType, Module, RecordRef
from xtiger.engine import intake, scheduler
from xtiger.engine.services import Services
from xtiger.store import queue
from xtiger.store.models import Binding, QueueItem

#: An address that Xero refuses; who has it is mended later.
BROKEN = "not-an-address"
#: Documents that go with a contact or product that is deleted, at most.
_WITH_IT = 2
#: Models by module.
_MODELS = {Module.CONTACTS: Contact, Module.PRODUCTS: Product, Module.INVOICES: Invoice}
#: Currency, tax per cent and country of the two organisations' own records.
_PLACES = (("NZD", Decimal(15), "New Zealand"), ("GBP", Decimal(20), "United Kingdom"))


def _today() -> date:
    return datetime.now(UTC).date()


def version(number: int) -> str:
    """The words by which a record says how often it was changed."""
    return f"Version {number}"


def number_in(words: str | None) -> int:
    """The number in them, 0 without one; XTiger may have added words behind it."""
    found = re.match(r"Version (\d+)", words or "")
    return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A record that was deleted: whose it was, a product's code, and whether it was in Xero."""

    ref: RecordRef
    label: str
    code: str | None
    currency: str
    bound: bool


def tombstones(folder: Path) -> list[Tombstone]:
    """All that were deleted on a stage."""
    file = folder / "deleted.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    told = [json.loads(line) for line in lines]
    return [
        Tombstone(RecordRef(Module(module), record_id), *more) for module, record_id, *more in told
    ]


@dataclass(frozen=True, slots=True)
class Plan:
    """How many records there are to be in the end, and how fast the first ones come."""

    records: int
    seed: int
    #: Seconds between two acts.
    pause: float = 0.12
    #: The control: bills, which Xero takes twice, and nothing else is done.
    bills: bool = False


def run(
    folder: Path,
    environment: Mapping[str, str],
    plan: Plan,
    enough: Any,
    organisations: Mapping[str, int],
) -> None:
    """Acts until everything is made and `enough` is set; mends what is broken before it ends."""
    into_file(folder / "writer.log")
    app = create_app(instance=folder, environment=environment)
    with app.app_context():
        office = _Office(
            app.extensions["xtiger"].services,
            app.extensions["sqlalchemy"].session,
            random.Random(plan.seed),
            plan,
            organisations,
            folder / "deleted.jsonl",
        )
        for _ in range(plan.records // 4):
            office.add()
        while office.wanted > 0 or not (enough.is_set() or plan.bills):
            # Once there were kills enough, what is missing is made without ado.
            office.add() if plan.bills or enough.is_set() else office.act()
            time.sleep(0 if enough.is_set() else plan.pause * office.chance.uniform(0.2, 1.8))
        office.mend_all()


class _Office:
    """The CRM's people on one session."""

    def __init__(
        self,
        services: Services,
        session: Any,
        chance: random.Random,
        plan: Plan,
        where: Mapping[str, int],
        graves: Path,
    ) -> None:
        self.services = services
        self.session = session
        self.chance = chance
        self.wanted = plan.records
        self.kinds = ("bill",) if plan.bills else ("bill", "invoice")
        self.where = where
        self.graves = graves
        self.made = 0

    def act(self) -> None:
        """One thing that a person does."""
        acts: list[tuple[Callable[[], None], int]] = [
            (self.add, 8 if self.wanted else 0),
            (self.change_document, 6),
            (self.change_contact, 3),
            (self.change_product, 2),
            (self.change_in_call, 4),
            (self.delete_unsent, 1),
            (self.delete_in_call, 1),
            (self.delete_sent, 1),
            (self.mend_one, 1),
            (self.press_retry, 2),
            (self.press_sync, 1),
        ]
        [what] = self.chance.choices([one for one, _ in acts], [weight for _, weight in acts])
        what()

    def saved(self, change: Callable[[], Any]) -> Any:
        """Saves a change as a form does; a busy database is asked again."""
        while True:
            try:
                found = change()
                self.session.commit()
                return found
            except OperationalError:
                self.session.rollback()
                time.sleep(0.05)

    # adding

    def add(self) -> None:
        """A new contact, product, invoice or bill; people and things come first."""
        self.made += 1
        self.wanted -= 1
        place = self.made % 2 if self.made <= 4 else self.chance.randrange(2)
        kind = (self.made - 1) // 2 * 0.12 if self.made <= 4 else self.chance.random()
        kind += len(self.kinds) == 1 and self.made > 4
        if kind < 0.12:
            row = self.saved(lambda: self._new_contact(place))
        elif kind < 0.22:
            row = self.saved(lambda: self._new_product(place))
        else:
            row = self.saved(lambda: self._new_document(place))
        # People and things without a tick go when a document needs them.
        if row.xtiger_module is Module.INVOICES or self.chance.random() < 0.5:
            self._tick(row, place)

    def _tick(self, row: Any, place: int) -> None:
        ref = RecordRef(Module(row.xtiger_module), str(row.id))
        more: dict[str, Any] = {}
        if ref.module is Module.INVOICES:
            kind = DocumentType.BILL if row.reference == "bill" else DocumentType.INVOICE
            more["document_type"] = kind
        else:
            more["organisation_id"] = self.where[_PLACES[place][0]]
        while True:
            try:
                intake.set_flag(self.services, ref, who="Bo", allow=True, **more)
                return
            except XTigerError:
                time.sleep(0.05)

    def _new_contact(self, place: int) -> Contact:
        row = Contact(
            name=f"Buyer {self.made:05}",
            email=BROKEN if self.chance.random() < 0.1 else f"b{self.made}@example.com",
            street=version(1),
            city="Wellington",
            country=_PLACES[place][2],
        )
        self.session.add(row)
        return row

    def _new_product(self, place: int) -> Product:
        row = Product(
            code=f"P-{self.made:05}",
            name=f"Thing {self.made}",
            description=version(1),
            price=self._price(),
            tax_rate=_PLACES[place][1],
        )
        self.session.add(row)
        return row

    def _new_document(self, place: int) -> Invoice:
        currency, rate, country = _PLACES[place]
        buyers = list(self.session.scalars(select(Contact).where(Contact.country == country)))
        things = list(self.session.scalars(select(Product).where(Product.tax_rate == rate)))
        row = Invoice(
            number=f"D-{self.made:05}",
            contact_id=self.chance.choice(buyers).id,
            date=_today(),
            due_date=_today() + timedelta(days=20),
            reference=self.chance.choice(self.kinds),
            currency=currency,
            amounts="exclusive",
            status="Approved",
        )
        row.lines.append(self._line(0, None, rate, version(1)))
        for thing in self.chance.sample(things, min(len(things), self.chance.randrange(3))):
            row.lines.append(self._line(len(row.lines), thing, rate, thing.name))
        row.count()
        self.session.add(row)
        return row

    def _line(self, place: int, thing: Product | None, rate: Decimal, words: str) -> InvoiceLine:
        return InvoiceLine(
            place=place,
            product_id=thing.id if thing else None,
            description=words,
            quantity=Decimal(self.chance.randrange(1, 9)),
            unit_price=self._price(),
            discount=Decimal(0),
            tax_rate=rate,
        )

    def _price(self) -> Decimal:
        return Decimal(self.chance.randrange(100, 90_000)) / 100

    # changing

    def _some(self, model: Any) -> Any:
        """A record, newer ones rather than old ones: they are on their way."""
        ids = list(self.session.scalars(select(model.id).order_by(model.id)))
        if not ids:
            return None
        place = int(len(ids) * max(self.chance.random(), self.chance.random()))
        return self.session.get(model, ids[place])

    def change_document(self) -> None:
        self.saved(lambda: self._change(self._some(Invoice)))

    def change_contact(self) -> None:
        self.saved(lambda: self._change(self._some(Contact)))

    def change_product(self) -> None:
        self.saved(lambda: self._change(self._some(Product)))

    def change_in_call(self) -> None:
        """Changes what is in a call now, or was claimed for one."""
        self.saved(lambda: self._change(self._queued([State.RUNNING])))

    def _change(self, row: Any) -> None:
        if isinstance(row, Invoice):
            first = row.lines[0]
            first.description = version(number_in(first.description) + 1)
            self.chance.choice(row.lines).unit_price = self._price()
            row.count()
        elif isinstance(row, Product):
            row.description = version(number_in(row.description) + 1)
            row.price = self._price()
        elif isinstance(row, Contact):
            row.street = version(number_in(row.street) + 1)

    def _queued(self, states: Sequence[State], *, bound: bool | None = None) -> Any:
        """A record whose item is in one of these states, and is in Xero or isn't."""
        there = self._binding(QueueItem.module, QueueItem.record_id)
        chosen = select(QueueItem.module, QueueItem.record_id).where(QueueItem.state.in_(states))
        if bound is not None:
            chosen = chosen.where(there if bound else ~there)
        rows = self.session.execute(chosen.order_by(QueueItem.id)).all()
        if not rows:
            return None
        module, record_id = self.chance.choice(rows)
        return self.session.get(_MODELS[Module(module)], int(record_id))

    @staticmethod
    def _binding(module: Any, record_id: Any) -> Any:
        found = select(Binding.id).where(Binding.module == module, Binding.record_id == record_id)
        return found.exists()

    # deleting

    def delete_unsent(self) -> None:
        """Deletes what waits in the queue and never was in Xero."""
        waiting = [state for state in OPEN if state not in (State.RUNNING, State.CHECK)]
        self._delete(lambda: self._queued(waiting, bound=False))

    def delete_in_call(self) -> None:
        """Deletes what is in a call now, or was claimed for one."""
        self._delete(lambda: self._queued([State.RUNNING]))

    def delete_sent(self) -> None:
        """Deletes any record; most are in Xero."""
        self._delete(lambda: self._some(self.chance.choice((Contact, Product, Invoice, Invoice))))

    def _delete(self, choose: Callable[[], Any]) -> None:
        """Deletes a record with the few documents that need it; others take their place."""

        def change() -> list[Tombstone]:
            row = choose()
            doomed = [] if row is None else [*self._needing(row), row]
            # SQLite gives the number of a deleted last row to the next one: it stays.
            if len(doomed) > _WITH_IT + 1 or any(self._is_last(one) for one in doomed):
                return []
            graves = [self._tombstone(one) for one in doomed]
            for one in doomed:
                self.session.delete(one)
                self.session.flush()
            return graves

        graves = self.saved(change)
        self.wanted += len(graves)
        with self.graves.open("a") as file:
            for one in graves:
                told = (one.ref.module.value, one.ref.id, one.label, one.code, one.currency)
                file.write(json.dumps([*told, one.bound]) + "\n")

    def _needing(self, row: Any) -> list[Invoice]:
        """The documents that name a contact or product."""
        found = select(Invoice)
        if isinstance(row, Contact):
            found = found.where(Invoice.contact_id == row.id)
        elif isinstance(row, Product):
            found = found.where(Invoice.lines.any(InvoiceLine.product_id == row.id))
        else:
            return []
        return list(self.session.scalars(found.order_by(Invoice.id).limit(_WITH_IT + 1)))

    def _is_last(self, row: Any) -> bool:
        """Whether it is the youngest row, or one of the few of its kind that documents need."""
        model = type(row)
        last = self.session.scalar(select(func.max(model.id)))
        count = self.session.scalar(select(func.count()).select_from(model))
        return bool(row.id == last or (count or 0) <= 4 or row.id <= 2)

    def _tombstone(self, row: Any) -> Tombstone:
        ref = RecordRef(Module(row.xtiger_module), str(row.id))
        there = select(self._binding(ref.module.value, ref.id))
        kinds = {"country": 2, "tax_rate": 1, "currency": 0}
        place = next(
            place
            for place in _PLACES
            for name, at in kinds.items()
            if getattr(row, name, None) == place[at]
        )
        code = row.code if isinstance(row, Product) else None
        return Tombstone(ref, row.label, code, place[0], bool(self.session.scalar(there)))

    def mend_one(self) -> None:
        self._mend(1)

    def mend_all(self) -> None:
        self._mend(None)

    def _mend(self, most: int | None) -> None:
        def change() -> None:
            broken = select(Contact).where(Contact.email == BROKEN).limit(most)
            for row in self.session.scalars(broken):
                row.email = f"mended{row.id}@example.com"
                row.street = version(number_in(row.street) + 1)

        self.saved(change)

    # pressing

    def press_retry(self) -> None:
        """Retry of some failed items; the schedule takes them along."""
        press_retry(self.services, most=self.chance.randrange(1, 6))

    def press_sync(self) -> None:
        """Sync of everything, now and then."""
        try:
            scheduler.sync_now(self.services, organisation_id=None, modules=None, who="Ana")
        except XTigerError as failure:
            print("sync refused:", failure.sentence, flush=True)


def press_retry(services: Services, *, most: int) -> int:
    """Retries failed items, as the button on the Queue does; answers with how many."""
    with services.database.write() as session:
        failed = session.scalars(
            select(QueueItem.id).where(QueueItem.state == State.FAILED.value).limit(most)
        ).all()
        return queue.retry(session, failed, now=services.clock.now())

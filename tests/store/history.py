"""Rows of a long, healthy history, written straight into the tables."""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select

from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Binding,
    LogEntry,
    Mail,
    Organisation,
    QueueItem,
    Run,
    RunMail,
)
from xtiger.store.schema import Database

BODY = zlib.compress(b'{"Invoices":[{"InvoiceNumber":"INV-1"}]}')


_TABLES = (Run, Attempt, AttemptElement, QueueItem, LogEntry, Mail, RunMail, Binding)


def fill(
    database: Database,
    organisations: Sequence[int],
    *,
    begin: datetime,
    runs: int,
    calls: int = 2,
    batch: int = 10,
    step: timedelta = timedelta(days=1),
    seed: int = 1,
    first: int = 1,
) -> int:
    """Runs a `step` apart, each with so many calls of so many records, all ended.

    They are numbered from `first`, as are their calls and records in proportion.
    One record in ten ended otherwise than by success. Answers with the number of items.
    """
    dice = random.Random(seed)
    rows: dict[type, list[dict[str, Any]]] = {model: [] for model in _TABLES}
    attempt = (first - 1) * calls
    item = attempt * batch
    for number in range(first, first + runs):
        at = begin + (number - first + 1) * step
        home = organisations[number % len(organisations)]
        rows[Run].append(
            {
                "id": number,
                "organisation_id": home,
                "kind": "scheduled",
                "requested_by": "schedule",
                "asked_at": at,
                "started_at": at,
                "ended_at": at + timedelta(minutes=1),
                "due": calls * batch,
                "succeeded": calls * batch,
                "reported": True,
            }
        )
        rows[Mail].append(
            {
                "id": number,
                "run_id": number,
                "recipient": "ana@example.com",
                "subject": "s",
                "text": "t",
                "html": "h",
                "message_id": f"<{number}@example.com>",
                "state": "sent",
                "made_at": at + timedelta(minutes=1),
                "sent_at": at + timedelta(minutes=2),
            }
        )
        rows[RunMail].append({"run_id": number, "mailbox": "ana@example.com", "mail_id": number})
        for _call in range(calls):
            attempt += 1
            rows[Attempt].append(
                {
                    "id": attempt,
                    "organisation_id": home,
                    "run_id": number,
                    "fence": 1,
                    "resource": "Invoices",
                    "verb": "PUT",
                    "idempotency_key": f"key-{attempt}",
                    "body": BODY,
                    "answer": BODY,
                    "answer_headers": {"xero-correlation-id": str(attempt)},
                    "body_hash": hashlib.sha256(str(attempt).encode()).hexdigest(),
                    "opened_at": at,
                    "closed_at": at + timedelta(seconds=1),
                    "status": 200,
                    "outcome": "settled",
                }
            )
            for place in range(batch):
                item += 1
                outcome = "succeeded" if dice.random() < 0.9 else dice.choice(_OTHERS)
                rows[QueueItem].append(
                    {
                        "id": item,
                        "organisation_id": home,
                        "module": "Invoices",
                        "record_id": str(item),
                        "label": f"INV-{item}",
                        "resource": "Invoices",
                        "rank": 50,
                        "state": outcome,
                        "run_id": number,
                        "added_at": at,
                        "changed_at": at,
                    }
                )
                rows[AttemptElement].append(
                    {
                        "attempt_id": attempt,
                        "place": place,
                        "item_id": item,
                        "meant": {"InvoiceNumber": f"INV-{item}"},
                        "label": f"INV-{item}",
                    }
                )
                rows[LogEntry].append(
                    {
                        "at": at + timedelta(seconds=1),
                        "organisation_id": home,
                        "run_id": number,
                        "item_id": item,
                        "attempt_id": attempt,
                        "place": place,
                        "module": "Invoices",
                        "record_id": str(item),
                        "label": f"INV-{item}",
                        "action": "Create",
                        "outcome": outcome,
                        "sentence": "Created in Xero and read back.",
                    }
                )
                if outcome == "succeeded":
                    rows[Binding].append(
                        {
                            "organisation_id": home,
                            "module": "Invoices",
                            "record_id": str(item),
                            "resource": "Invoices",
                            "xero_id": f"xero-{item}",
                            "written_back": True,
                            "bound_at": at,
                            "agreed_at": at,
                        }
                    )
    with database.write() as session:
        for model, made in rows.items():
            session.execute(insert(model), made)
        if database.engine.dialect.name == "postgresql":
            for model in (Run, Attempt, QueueItem, Mail):
                sequence = func.pg_get_serial_sequence(model.__tablename__, "id")
                session.execute(select(func.setval(sequence, func.max(model.id))))
    return item


_OTHERS = ("unchanged", "superseded", "cancelled")


def organisations(database: Database, *names: str) -> list[int]:
    """Live organisations that nobody works on."""
    with database.write() as session:
        made = [Organisation(tenant_id=name, name=name, chosen=True) for name in names]
        session.add_all(made)
        session.flush()
        return [row.id for row in made]

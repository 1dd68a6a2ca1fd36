"""(a) How many calls a first load takes beside the fewest possible, and how many a repeat."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from math import ceil
from typing import Any

from sqlalchemy import update

from tests.benchmarks.stage import Books, Stage, stage, verdict
from xtiger.crm.builtin import Contact, Invoice, Product
from xtiger.domain.records import Change, ChangeKind, Module, RecordRef
from xtiger.engine import scheduler
from xtiger.store import outbox
from xtiger.store.models import Run

BATCH = 50
MOST = 1.01
_READS = (
    "3 of reference data when an organisation is chosen and each hour of a run; before the first "
    "contacts and items are created 1 for each 1,000 contacts that Xero holds and 1 for its "
    "items; 0 a record"
)


def measure(records: int = 10_000) -> dict[str, Any]:
    """Counts what the local Xero saw: a first Sync, a second, and one after every record was saved.

    Contacts, items, and invoices with bills among them. The saves change what Xero isn't told
    (a status, a supplier's mark), so every record is looked at again and none goes over.
    """
    books = Books.of(records)
    fewest = sum(ceil(each / BATCH) for each in (books.contacts, books.products, books.documents))
    with stage(books) as made:
        first = _sync(made)
        second = _sync(made)
        _save_all(made, books)
        saved = _sync(made)
        found = made.control("counts")
        kept = next(each for each in found.values() if each["name"] == "Kauri Trading")
    ratio = first["writes"] / fewest
    looked_at = saved["records looked at, unchanged"] == records == first["records sent"]
    quiet = not second["writes"] and not saved["writes"]
    holds = verdict(ratio, most=MOST) and quiet and looked_at
    return {
        "what": "write calls of a first load / the fewest possible",
        "records": records,
        "of": {"contacts": books.contacts, "items": books.products, "documents": books.documents},
        "in Xero": {kind: kept[kind] for kind in ("contacts", "items", "invoices")},
        "write calls": first["writes"],
        "fewest possible": fewest,
        "read calls": first["reads"],
        "read calls' formula": _READS,
        "second sync": second,
        "sync after every record was saved": saved,
        "ratio": round(ratio, 4),
        "bound": f"<= {MOST}, and 0 write calls where nothing changed",
        "holds": holds,
    }


def _sync(made: Stage) -> dict[str, int]:
    """One Sync, carried out here: the calls it took, and what became of the records."""
    before = _calls(made)
    ids = scheduler.sync_now(made.services, organisation_id=None, modules=None, who="Bench")
    scheduler.work(made.services, made.organisation_id)
    after = _calls(made)
    with made.database.read() as session:
        runs = [session.get_one(Run, one) for one in ids]
    return {
        "writes": after["writes"] - before["writes"],
        "reads": after["reads"] - before["reads"],
        "records sent": sum(run.succeeded for run in runs),
        "records looked at, unchanged": sum(run.unchanged for run in runs),
    }


def _calls(made: Stage) -> Counter[str]:
    seen = made.control("requests?after=0")["requests"]
    return Counter("reads" if one["method"] == "GET" else "writes" for one in seen)


def _save_all(made: Stage, books: Books) -> None:
    """Saves every record as an import does: its rows, and the outbox row of each."""
    now = datetime.now(UTC)
    with made.database.write() as session:
        for model, values in (
            (Contact, {"is_supplier": True}),
            (Product, {"status": "Discontinued"}),
            (Invoice, {"status": "Sent"}),
        ):
            session.execute(update(model).values(**values))
        for module, count in (
            (Module.CONTACTS, books.contacts),
            (Module.PRODUCTS, books.products),
            (Module.INVOICES, books.documents),
        ):
            refs = (RecordRef(module, str(one)) for one in range(1, count + 1))
            outbox.add(session, [Change(ref, ChangeKind.SAVED, now) for ref in refs])

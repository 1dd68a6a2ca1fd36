"""Changes are captured in the CRM's own transaction, and none is forgotten unread."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select

from tests import books
from tests.store.conftest import NOW, ref
from xtiger.crm.builtin import Contact, Invoice, InvoiceLine, crm_of
from xtiger.domain.records import Change, ChangeKind, Module, RecordRef, XeroLink
from xtiger.store import outbox
from xtiger.store.models import OutboxRow
from xtiger.store.schema import Database


def changes(database: Database) -> list[tuple[str, str]]:
    with database.read() as session:
        rows = session.scalars(select(OutboxRow).order_by(OutboxRow.id)).all()
    return [(f"{row.module}:{row.record_id}", row.kind) for row in rows]


def empty(database: Database) -> None:
    with database.write() as session:
        session.execute(delete(OutboxRow))


def test_a_saved_record_leaves_a_change_in_the_same_commit(database: Database, host: Any) -> None:
    with host.begin() as session:
        row = books.contact(session)
    assert changes(database) == [(f"Contacts:{row.id}", "saved")]


def test_a_record_rolled_back_leaves_no_change(database: Database, host: Any) -> None:
    with host() as session:
        books.contact(session)
        session.rollback()
    assert changes(database) == []
    with host() as session:
        assert session.scalar(select(func.count()).select_from(Contact)) == 0


def test_a_change_of_a_line_names_its_invoice(database: Database, host: Any) -> None:
    with host.begin() as session:
        document = books.invoice(session, "INV-1", books.contact(session))
    empty(database)
    with host.begin() as session:
        session.scalars(select(InvoiceLine)).one().description = "Other work"
    assert changes(database) == [(f"Invoices:{document.id}", "saved")]


def test_a_deleted_line_is_a_saved_invoice(database: Database, host: Any) -> None:
    with host.begin() as session:
        buyer = books.contact(session)
        document = books.invoice(session, "INV-1", buyer, (None, "1", "5"), (None, "1", "6"))
    empty(database)
    with host.begin() as session:
        session.delete(session.scalars(select(InvoiceLine)).first())
    assert changes(database) == [(f"Invoices:{document.id}", "saved")]


def test_a_deleted_invoice_is_a_deletion_though_its_lines_go_too(
    database: Database, host: Any
) -> None:
    with host.begin() as session:
        document = books.invoice(session, "INV-1", books.contact(session))
    empty(database)
    with host.begin() as session:
        session.delete(session.get(Invoice, document.id))
    assert changes(database) == [(f"Invoices:{document.id}", "deleted")]


def test_reading_and_saving_nothing_new_leaves_no_change(database: Database, host: Any) -> None:
    with host.begin() as session:
        books.contact(session, name="Ana")
    empty(database)
    with host.begin() as session:
        session.scalars(select(Contact)).one().name = "Ana"
    assert changes(database) == []


def test_writing_ids_back_does_not_echo(database: Database, host: Any) -> None:
    with host.begin() as session:
        document = books.invoice(session, "INV-1", books.contact(session))
    empty(database)
    crm_of(host).write_back({books.ref(document): XeroLink("abc", "INV-1", "AUTHORISED")})
    assert changes(database) == []
    with host() as session:
        assert session.get(Invoice, document.id).xero_id == "abc"


def test_changes_of_one_record_are_read_as_one_and_a_deletion_wins(database: Database) -> None:
    made = [
        Change(ref(1), ChangeKind.SAVED, NOW),
        Change(ref(2), ChangeKind.SAVED, NOW),
        Change(ref(1), ChangeKind.DELETED, NOW),
        Change(ref(1), ChangeKind.FLAGGED, NOW),
    ]
    with database.write() as session:
        outbox.add(session, made)
    with database.read() as session:
        rows, read = outbox.take(session, limit=10)
    assert len(rows) == 4
    assert {(change.ref, change.kind) for change in read} == {
        (ref(1), ChangeKind.DELETED),
        (ref(2), ChangeKind.SAVED),
    }


def test_the_oldest_changes_are_read_first_and_stay_until_they_are_forgotten(
    database: Database,
) -> None:
    with database.write() as session:
        outbox.add(session, [Change(ref(n), ChangeKind.SAVED, NOW) for n in range(5)])
    with database.read() as session:
        rows, read = outbox.take(session, limit=2)
    assert [change.ref for change in read] == [ref(0), ref(1)]
    assert len(changes(database)) == 5
    with database.write() as session:
        outbox.forget(session, outbox.still_there(session, rows))
    assert changes(database) == [(f"Invoices:{n}", "saved") for n in (2, 3, 4)]


def test_a_change_that_got_a_forgotten_ones_number_is_not_forgotten_with_it(
    database: Database,
) -> None:
    """SQLite gives the number of a deleted last row to the next one."""
    with database.write() as session:
        outbox.add(session, [Change(ref(1), ChangeKind.SAVED, NOW)])
    with database.read() as session:
        slow, _ = outbox.take(session, limit=10)
    with database.write() as session:
        quick, _ = outbox.take(session, limit=10)
        outbox.forget(session, outbox.still_there(session, quick))
    later = RecordRef(Module.CONTACTS, "9")
    with database.write() as session:
        outbox.add(session, [Change(later, ChangeKind.SAVED, NOW + timedelta(seconds=1))])
    with database.write() as session:
        left = outbox.still_there(session, slow)
        outbox.forget(session, left)
    assert left == []
    assert changes(database) == [("Contacts:9", "saved")]

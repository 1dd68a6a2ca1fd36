"""What Xero has from us and XTiger no longer knows of: found by our mark, not sent twice."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import delete

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    all_ended,
    ask,
    bindings_of,
    created,
    crm,
    in_xero,
    invoices,
    item_of,
    items,
    kept,
    stranger,
    sync,
    tick,
    work,
)
from xtiger.crm.builtin import Contact, Invoice
from xtiger.domain.identity import is_ours
from xtiger.domain.resources import Resource
from xtiger.store.models import Binding, QueueItem


def put_back(engine: Engine) -> None:
    """The database as it was before anything was sent: an older copy of it."""
    with engine.database.write() as session:
        session.execute(delete(Binding))
        session.execute(delete(QueueItem))


def test_a_database_put_back_doubles_nothing(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    invoices(engine, 3, goods=True)
    sync(engine)
    before = {name: row.xero_id for name, row in bindings_of(engine).items()}
    before_books = kept(engine)
    put_back(engine)
    sync(engine)
    assert all_ended(engine, ["succeeded"])
    assert kept(engine) == before_books
    assert {name: row.xero_id for name, row in bindings_of(engine).items()} == before
    assert created(engine) == ["INV-1", "INV-2", "INV-3"]


def test_what_changed_meanwhile_goes_over_as_an_update(engine: Engine) -> None:
    engine.connect(KAURI)
    row = invoices(engine)[0]
    sync(engine)
    put_back(engine)
    with crm(engine) as session:
        changed = session.get_one(Invoice, row.id)
        changed.lines[0].quantity = Decimal(2)
        changed.count()
    sync(engine)
    # found, bound, seen to differ; then sent as an update of what is there
    item = item_of(engine, "INV-1")
    assert (item.state, item.sentence) == ("succeeded", None)
    assert kept(engine)["invoices"] == 1
    assert created(engine) == ["INV-1"]


def test_what_the_totals_do_not_show_goes_over_too(engine: Engine) -> None:
    engine.connect(KAURI)
    row = invoices(engine)[0]
    sync(engine)
    put_back(engine)
    with crm(engine) as session:
        session.get_one(Invoice, row.id).reference = "later"
        session.query(Contact).one().city = "Later"
    sync(engine)
    assert all_ended(engine, ["succeeded"])
    assert [one["Reference"] for one in in_xero(engine, "Invoices")] == ["later"]
    assert _cities(engine) == {"Later"}


def _cities(engine: Engine) -> set[str]:
    contacts = in_xero(engine, "Contacts")
    return {one["City"] for contact in contacts for one in contact["Addresses"] if one["City"]}


def test_every_change_of_what_a_document_needs_goes_over(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    sync(engine)
    for words in ("first", "second", "third"):
        with crm(engine) as session:
            session.query(Contact).one().city = words
        ask(engine, one)
        work(engine)
        assert _cities(engine) == {words}


def test_a_strangers_number_stays_refused(engine: Engine) -> None:
    engine.connect(KAURI)
    other = stranger(engine)
    other.created("Invoices", other.invoice(InvoiceNumber="INV-1"))
    invoices(engine, 2)
    sync(engine)
    assert [(item.label, item.state) for item in items(engine, "Invoices")] == [
        ("INV-1", "failed"),
        ("INV-2", "succeeded"),
    ]
    assert "INV-1 exists in Xero" in str(item_of(engine, "INV-1").sentence)


def test_a_strangers_item_that_differs_in_anything_sent_stays_the_strangers(
    engine: Engine,
) -> None:
    engine.connect(KAURI)
    with crm(engine) as session:
        row = books.product(session)
    tick(engine, row)
    theirs = {
        "Code": "W-1",
        "Name": "Widget W-1",
        "Description": "Widget W-1",
        "SalesDetails": {"UnitPrice": "100", "AccountCode": "260"},
        "IsPurchased": False,
    }
    stranger(engine).created("Items", theirs)
    sync(engine)
    assert item_of(engine, "W-1").state == "failed"
    assert bindings_of(engine) == {}


def test_a_document_without_our_link_is_nobodys_but_a_strangers() -> None:
    sent = {"Type": "ACCREC", "InvoiceNumber": "INV-1", "Date": "2026-11-21", "LineItems": [{}]}
    assert not is_ours(Resource.INVOICES, sent, {**sent, "DateString": "2026-11-21", "Total": 5})

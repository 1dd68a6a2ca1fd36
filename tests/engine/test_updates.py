"""Updates go to the bound id, unchanged costs no call, and nothing of a stranger is overwritten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

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
    log_of,
    retry,
    runs,
    stranger,
    survive,
    sync,
    tick,
    work,
    writes,
)
from xtiger.crm.builtin import Contact, Invoice
from xtiger.domain.records import DocumentType
from xtiger.engine import intake
from xtiger.ports import Access, Answer, Call, Element
from xtiger.store import queue


class Altered:
    """Xero whose answers to writes are changed on their way; everything else is the real one."""

    def __init__(self, inner: Any, change: Callable[[Call, Element], Element]) -> None:
        self._inner = inner
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def save_many(self, access: Access, call: Call) -> Answer:
        answer = self._inner.save_many(access, call)
        return replace(answer, elements=tuple(self._change(call, e) for e in answer.elements))


def cent_less(call: Call, element: Element) -> Element:
    if "Total" not in element.data:
        return element
    return replace(element, data={**element.data, "Total": element.data["Total"] - Decimal("0.01")})


def test_saving_without_a_change_of_what_is_mapped_costs_no_call(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    [document] = invoices(engine)
    sync(engine)
    before = len(writes(engine))
    tick(engine, document)
    ask(engine, one)
    work(engine)
    assert len(writes(engine)) == before
    assert [item.state for item in items(engine, "Invoices")] == ["succeeded", "unchanged"]
    assert runs(engine)[-1].unchanged == 1


def test_sync_adds_nothing_that_xero_has_as_it_is(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine, 3)
    sync(engine)
    count = len(items(engine))
    sync(engine)
    assert len(items(engine)) == count


def test_an_edit_is_an_update_of_the_bound_object(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    [document] = invoices(engine)
    sync(engine)
    bound = bindings_of(engine)[f"Invoices:{document.id}"].xero_id
    with crm(engine) as session:
        session.get(Invoice, document.id).reference = "PO 7"
    sync(engine)
    first, second = writes(engine, "Invoices")
    assert (first["method"], second["method"]) == ("PUT", "POST")
    assert [element["id"] for element in second["elements"]] == [bound]
    assert in_xero(engine, "Invoices")[0]["Reference"] == "PO 7"
    assert kept(engine)["invoices"] == 1


def test_a_document_marked_as_bill_becomes_a_bill(engine: Engine) -> None:
    engine.connect(KAURI)
    with crm(engine) as session:
        row = books.invoice(session, "B-1", books.contact(session, is_supplier=True))
    tick(engine, row, document_type=DocumentType.BILL)
    sync(engine)
    [bill] = in_xero(engine, "Invoices")
    assert (bill["Type"], bill["InvoiceNumber"], bill["Total"]) == ("ACCPAY", "B-1", 115)
    assert bill["Url"] == f"http://localhost:5999/records/Invoices/{row.id}"
    assert bindings_of(engine)[f"Invoices:{row.id}"].document_type == "Bill"


def test_two_bills_may_have_the_same_number(engine: Engine) -> None:
    engine.connect(KAURI)
    stranger(engine).created(
        "Invoices", stranger(engine).invoice(Type="ACCPAY", InvoiceNumber="B-1")
    )
    with crm(engine) as session:
        row = books.invoice(session, "B-1", books.contact(session))
    tick(engine, row, document_type=DocumentType.BILL)
    sync(engine)
    assert all_ended(engine)
    assert kept(engine)["invoices"] == 2


def test_a_number_that_a_stranger_has_is_failed_and_never_overwritten(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    theirs = stranger(engine).created("Invoices", stranger(engine).invoice(InvoiceNumber="INV-1"))
    invoices(engine, 2)
    sync(engine)
    item = item_of(engine, "INV-1")
    assert item.state == "failed"
    assert str(item.cause).startswith("number-taken")
    assert item_of(engine, "INV-2").state == "succeeded"
    sync(engine)
    assert {call["method"] for call in writes(engine, "Invoices")} == {"PUT"}
    [now] = [row for row in in_xero(engine, "Invoices") if row["InvoiceNumber"] == "INV-1"]
    assert (now["InvoiceID"], now["Total"]) == (theirs["InvoiceID"], theirs["Total"])


def test_what_differs_by_a_cent_goes_once_more_by_itself_and_then_waits_for_a_person(
    each_engine: Engine,
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    [document] = invoices(engine)
    wrong = engine.worker("first")
    wrong.xero = Altered(wrong.xero, cent_less)
    sync(engine, wrong)
    item = item_of(engine, "INV-1")
    assert (item.state, item.cause) == ("failed", "differs")
    assert item.sentence == (
        "It is in Xero, but differs: Total is 114.99 in Xero and 115.00 in the CRM."
    )
    bound = bindings_of(engine)[f"Invoices:{document.id}"]
    assert (bound.agreed_hash, bound.record_version) == (None, None)
    with engine.database.write() as session:
        assert queue.retry(session, [item.id], now=engine.services.clock.now()) == 1
    ask(engine, one)
    work(engine)
    methods = [call["method"] for call in writes(engine, "Invoices")]
    assert methods == ["PUT", "POST", "POST"]
    ids = {call["elements"][0]["id"] for call in writes(engine, "Invoices")}
    assert ids == {bound.xero_id}
    assert all_ended(engine)
    assert kept(engine)["invoices"] == 1


def test_the_children_of_a_bound_parent_that_differs_wait(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine)

    def renamed(call: Call, element: Element) -> Element:
        data = {**element.data, "Name": "Other"} if call.resource == "Contacts" else element.data
        return replace(element, data=data)

    wrong = engine.worker("first")
    wrong.xero = Altered(wrong.xero, renamed)
    sync(engine, wrong)
    parent, child = items(engine)
    assert (parent.state, child.state, child.blocked_by) == ("failed", "blocked", parent.id)
    assert "Contacts:1" in bindings_of(engine)
    retry(engine, "Ana Lee Ltd")
    assert all_ended(engine)


def test_an_answer_that_says_nothing_about_a_record_is_found_out_before_it_is_sent_again(
    engine: Engine,
) -> None:
    """Were it taken for a refusal, its retry would make a second bill."""
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        row = books.invoice(session, "B-1", books.contact(session))
    tick(engine, row, document_type=DocumentType.BILL)

    def silent(call: Call, element: Element) -> Element:
        return replace(element, stored=None) if call.resource == "Invoices" else element

    vague = engine.worker("first")
    vague.xero = Altered(vague.xero, silent)
    sync(engine, vague)
    assert item_of(engine, "B-1").state == "running"
    survive(engine, one, 500)
    assert item_of(engine, "B-1").state == "succeeded"
    assert kept(engine)["invoices"] == 1


def test_totals_are_exact_to_the_cent_in_xero(engine: Engine) -> None:
    engine.connect(KAURI)
    with crm(engine) as session:
        buyer, goods = books.contact(session), books.product(session)
        row = books.invoice(
            session, "INV-17", buyer, (goods, "3", "25.06"), (None, "1", "25.61", "10")
        )
        total = row.total
    tick(engine, row)
    sync(engine)
    assert all_ended(engine)
    [found] = in_xero(engine, "Invoices")
    assert Decimal(str(found["Total"])) == total
    [entry] = log_of(engine, "INV-17")
    assert (Decimal(entry.amount), entry.currency) == (total, "NZD")


def test_a_deleted_record_stays_in_xero_and_is_not_sent_again(engine: Engine) -> None:
    engine.connect(KAURI)
    with crm(engine) as session:
        row = books.contact(session)
    tick(engine, row)
    sync(engine)
    with crm(engine) as session:
        session.delete(session.get(Contact, row.id))
    sync(engine)
    intake.relay(engine.services)
    assert created(engine, "Contacts") == ["Ana Lee Ltd"]
    assert len(writes(engine)) == 1
    assert kept(engine)["contacts"] == 1


def test_a_name_that_xero_takes_otherwise_is_said_in_the_log_once(engine: Engine) -> None:
    """Xero takes no < or > in a contact's name; the record goes, and its log says how."""
    engine.connect(KAURI)
    with crm(engine) as session:
        row = books.contact(session, "Aroha & Söhne <Ltd>")
    tick(engine, row)
    sync(engine)
    [found] = in_xero(engine, "Contacts")
    assert found["Name"] == "Aroha & Söhne Ltd"
    label = "Aroha & Söhne <Ltd>"
    said = "Xero takes no < or > in a name: “Aroha & Söhne <Ltd>” is “Aroha & Söhne Ltd” there."
    assert [one.sentence for one in log_of(engine, label)] == [
        f"Created in Xero and read back. {said}"
    ]
    for changes in ({"phone": "+64 21 000 000"}, {"name": "Aroha > Söhne"}):
        with crm(engine) as session:
            for name, value in changes.items():
                setattr(session.get(Contact, row.id), name, value)
        sync(engine)
    assert log_of(engine, label)[-1].sentence == "Updated in Xero and read back."
    assert log_of(engine, "Aroha > Söhne")[-1].sentence == (
        "Updated in Xero and read back. Xero takes no < or > in a name: “Aroha > Söhne” is “Aroha "
        "Söhne” there."
    )

"""Services go to Xero as items beside products: with documents, by themselves, never over one."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    ShiftedClock,
    all_ended,
    bindings_of,
    change_profile,
    created,
    crm,
    fault,
    in_xero,
    item_of,
    items,
    queue_of,
    retry,
    rows_of,
    stranger,
    sync,
    tick,
    writes,
)
from xtiger.crm.builtin import Contact, InvoiceLine, Product, Service
from xtiger.domain.records import DocumentType, Module, RecordRef
from xtiger.domain.selection import RuleKind
from xtiger.engine.codes import SHARED
from xtiger.engine.connection import connect
from xtiger.engine.mapping import checks, mappings, uses
from xtiger.store.models import Attempt, Binding, LogEntry, Look, Profile, QueueItem, Template
from xtiger.store.templates import Place


def sold(engine: Engine, make: Any, code: str, *, ticked: bool = True, **fields: Any) -> Any:
    """A product or service, ticked unless said."""
    with crm(engine) as session:
        row = make(session, code, **fields)
    if ticked:
        tick(engine, row)
    return row


def document(engine: Engine, number: str, *lines: tuple[Any, ...], **more: Any) -> Any:
    """A ticked document of one buyer."""
    with crm(engine) as session:
        buyer = session.scalars(select(Contact)).first() or books.contact(session)
        row = books.invoice(session, number, buyer, *lines)
    tick(engine, row, **more)
    return row


def test_an_invoice_of_a_product_and_a_service_goes_over_with_both(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    goods = sold(engine, books.product, "W-1", ticked=False)
    work = sold(engine, books.service, "S-1", ticked=False, sales_account="260")
    document(engine, "INV-1", (goods, "2", "100.00"), (work, "1.5", "80.00"), (None, "1", "5.00"))
    sync(engine)
    assert all_ended(engine)
    found = {row["Code"]: row for row in in_xero(engine, "Items")}
    assert set(found) == {"W-1", "S-1"}
    service = found["S-1"]
    assert service["IsTrackedAsInventory"] is False
    assert (service["IsSold"], service["IsPurchased"]) == (True, False)
    assert service["SalesDetails"]["AccountCode"] == "260"
    assert service["SalesDetails"]["TaxType"] == "OUTPUT2"
    [invoice] = in_xero(engine, "Invoices")
    lines = [(line.get("ItemCode"), line["AccountCode"]) for line in invoice["LineItems"]]
    assert lines == [("W-1", "200"), ("S-1", "260"), (None, "200")]
    assert Decimal(str(invoice["Total"])) == Decimal("373.75")
    # A service and a product of one number are two records.
    assert goods.id == work.id
    bound = bindings_of(engine)
    assert {bound["Products:1"].xero_id, bound["Services:1"].xero_id} == {
        row["ItemID"] for row in found.values()
    }
    with crm(engine) as session:
        assert session.get_one(Service, 1).xero_id == service["ItemID"]
        assert session.get_one(Product, 1).xero_id == found["W-1"]["ItemID"]


def test_a_bill_takes_a_services_purchase_account(engine: Engine) -> None:
    engine.connect(KAURI)
    work = sold(engine, books.service, "S-1", ticked=False, cost=50, purchase_account="310")
    document(engine, "BILL-1", (work, "1", "50.00"), document_type=DocumentType.BILL)
    sync(engine)
    assert all_ended(engine)
    [bill] = in_xero(engine, "Invoices")
    assert (bill["Type"], bill["LineItems"][0]["AccountCode"]) == ("ACCPAY", "310")


def test_a_ticked_service_goes_alone_and_its_changes_follow(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    work = sold(engine, books.service, "S-1", cost=20, description="By the hour")
    sold(engine, books.service, "S-2", ticked=False)
    sync(engine)
    assert created(engine, "Items") == ["S-1"]
    with crm(engine) as session:
        session.get_one(Service, work.id).price = Decimal("95.5")
    sync(engine)
    [item] = in_xero(engine, "Items")
    assert Decimal(str(item["SalesDetails"]["UnitPrice"])) == Decimal("95.5")


def test_deleted_where_the_profile_says_so_the_service_is_removed_in_xero(engine: Engine) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Services", deleted="remove")
    work = sold(engine, books.service, "S-1")
    sync(engine)
    with crm(engine) as session:
        session.delete(session.get_one(Service, work.id))
    sync(engine)
    assert in_xero(engine, "Items") == []
    assert item_of(engine, "S-1").state == "succeeded"


def test_a_document_waits_for_its_service_where_needed_records_wait(engine: Engine) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Invoices", add_needed=False)
    with crm(engine) as session:
        tick_first = books.contact(session)
    tick(engine, tick_first)
    work = sold(engine, books.service, "S-1", ticked=False)
    document(engine, "INV-1", (work, "1", "80.00"))
    sync(engine)
    waiting = item_of(engine, "INV-1")
    assert (waiting.state, waiting.cause) == ("failed", "parent-not-selected:Services")
    assert waiting.sentence == (
        "It needs service S-1 in Xero first. Tick Allow Xero Sync there, or let What syncs add "
        "needed records."
    )
    tick(engine, work)
    sync(engine)
    retry(engine, "INV-1")
    assert item_of(engine, "INV-1").state == "succeeded"


def test_a_service_without_a_part_number_fails_and_holds_its_document(engine: Engine) -> None:
    engine.connect(KAURI)
    work = sold(engine, books.service, "", ticked=False, name="Advice")
    document(engine, "INV-1", (work, "1", "80.00"))
    sync(engine)
    assert item_of(engine, "Advice").state == "failed"
    assert "Give a part number" in str(item_of(engine, "Advice").sentence)
    held = item_of(engine, "INV-1")
    assert held.state == "blocked"
    assert str(held.sentence).startswith(
        f"Waits for #{item_of(engine, 'Advice').id} service Advice"
    )


def test_switched_off_services_say_so(engine: Engine) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Services", enabled=False)
    work = sold(engine, books.service, "S-1", ticked=False)
    document(engine, "INV-1", (work, "1", "80.00"))
    sync(engine)
    assert "Services aren't switched on" in str(item_of(engine, "INV-1").sentence)
    assert in_xero(engine, "Items") == []


# -- one space of codes -----------------------------------------------------------------------


@pytest.mark.parametrize("first", ["product", "service"])
def test_one_code_in_one_call_goes_to_the_first_and_the_other_is_told(
    each_engine: Engine, first: str
) -> None:
    engine = each_engine
    engine.connect(KAURI)
    second = "service" if first == "product" else "product"
    sold(engine, getattr(books, first), "X-1", name="The first")
    sold(engine, getattr(books, second), "x-1", name="The second")
    sync(engine)
    assert queue_of(engine) == [("X-1", "succeeded"), ("x-1", "failed")]
    refused = item_of(engine, "x-1")
    assert refused.cause == SHARED
    assert refused.sentence == (
        f"The {first} X-1 has the item code x-1 too, and Xero takes each once. Give one of the "
        "two another part number."
    )
    [item] = in_xero(engine, "Items")
    assert (item["Code"], item["Name"]) == ("X-1", "The first")
    # Refused here: Xero wasn't asked about the second at all.
    assert [len(call["elements"]) for call in writes(engine, "Items")] == [1]


def test_a_code_that_is_in_xero_stays_whose_it_is_until_it_is_given_up(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    goods = sold(engine, books.product, "X-1", name="Thing")
    sync(engine)
    work = sold(engine, books.service, "X-1", name="Work")
    sync(engine)
    assert item_of(engine, "X-1").module == "Services"
    assert "The product X-1 has the item code X-1 too" in str(item_of(engine, "X-1").sentence)
    [item] = in_xero(engine, "Items")
    assert item["Name"] == "Thing"
    # Another code on either side, and both are there.
    with crm(engine) as session:
        session.get_one(Product, goods.id).code = "X-0"
    sync(engine)
    retry(engine, "X-1")
    assert all_ended(engine)
    assert {row["Code"]: row["Name"] for row in in_xero(engine, "Items")} == {
        "X-0": "Thing",
        "X-1": "Work",
    }
    assert bindings_of(engine)[f"Services:{work.id}"].number == "X-1"


def test_a_code_that_a_rename_frees_goes_to_who_waits_for_it(each_engine: Engine) -> None:
    """The product's new code is on its way in the same Sync: the service goes right after it."""
    engine = each_engine
    engine.connect(KAURI)
    goods = sold(engine, books.product, "W-1")
    sync(engine)
    sold(engine, books.service, "W-1", name="Work")
    with crm(engine) as session:
        session.get_one(Product, goods.id).code = "W-2"
    sync(engine)
    assert all_ended(engine)
    found = {row["Code"]: row["ItemID"] for row in in_xero(engine, "Items")}
    bound = bindings_of(engine)
    assert {"W-2": bound["Products:1"].xero_id, "W-1": bound["Services:1"].xero_id} == found


def test_in_strict_order_too_the_one_that_frees_a_code_goes_first(engine: Engine) -> None:
    """It stands behind the one that waits for it: that one holds nothing of its own module."""
    engine.connect(KAURI)
    change_profile(engine, "Products", strict=True)
    goods = sold(engine, books.product, "W-1")
    sync(engine)
    sold(engine, books.product, "W-1", name="Second")
    with crm(engine) as session:
        session.get_one(Product, goods.id).code = "W-2"
    sync(engine)
    assert all_ended(engine)
    assert {row["Code"] for row in in_xero(engine, "Items")} == {"W-1", "W-2"}


def test_two_that_change_codes_with_each_other_are_told(engine: Engine) -> None:
    """Xero can't either: neither goes, nobody waits in a circle."""
    engine.connect(KAURI)
    goods = sold(engine, books.product, "W-1")
    work = sold(engine, books.service, "W-2")
    sync(engine)
    with crm(engine) as session:
        session.get_one(Product, goods.id).code = "W-2"
        session.get_one(Service, work.id).code = "W-1"
    sync(engine)
    waiting = [row for row in rows_of(engine, QueueItem) if row.state != "succeeded"]
    assert [row.cause for row in waiting] == ["blocked", SHARED]
    assert waiting[0].blocked_by == waiting[1].id
    with crm(engine) as session:
        session.get_one(Service, work.id).code = "W-3"
    sync(engine)
    assert all_ended(engine)
    assert {row["Code"] for row in in_xero(engine, "Items")} == {"W-2", "W-3"}


def test_a_service_that_takes_a_products_code_leaves_both_items_as_they_are(engine: Engine) -> None:
    engine.connect(KAURI)
    sold(engine, books.product, "X-1", name="Thing")
    work = sold(engine, books.service, "S-1", name="Work")
    sync(engine)
    with crm(engine) as session:
        session.get_one(Service, work.id).code = "X-1"
    sync(engine)
    assert (item_of(engine, "X-1").state, item_of(engine, "X-1").cause) == ("failed", SHARED)
    names = {row["Code"]: row["Name"] for row in in_xero(engine, "Items")}
    assert names == {"X-1": "Thing", "S-1": "Work"}


def test_a_lost_answer_isnt_taken_for_the_other_ones(engine: Engine) -> None:
    """Equal to the last letter: only whose it was tells the two apart."""
    engine.connect(KAURI)
    same = {"name": "Twin", "price": "10.00"}
    sold(engine, books.product, "X-1", **same)
    sync(engine)
    bound = bindings_of(engine)["Products:1"].xero_id
    sold(engine, books.service, "X-2", **same)
    fault(engine, "reset", method="PUT", resource="Items", after_store=True)
    sync(engine)
    clock = ShiftedClock(500)
    sync(engine, engine.worker("later", clock=clock))
    assert all_ended(engine)
    assert bindings_of(engine)["Products:1"].xero_id == bound
    both = {row.xero_id for row in bindings_of(engine).values()}
    assert len(both) == 2
    assert sorted(row["Code"] for row in in_xero(engine, "Items")) == ["X-1", "X-2"]


def test_of_a_deleted_record_only_xero_says_that_its_code_is_taken(engine: Engine) -> None:
    engine.connect(KAURI)
    gone = sold(engine, books.product, "X-1", name="Thing")
    sync(engine)
    with crm(engine) as session:
        session.delete(session.get_one(Product, gone.id))
    sold(engine, books.service, "X-1", name="Work")
    sync(engine)
    refused = item_of(engine, "X-1")
    assert refused.state == "failed"
    assert str(refused.cause).startswith("code-taken")
    assert [row["Name"] for row in in_xero(engine, "Items")] == ["Thing"]


def test_an_item_that_xero_had_before_becomes_one_of_the_two(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI, met=False)
    theirs = stranger(engine).created("Items", {"Code": "X-1", "Name": "Theirs"})
    sold(engine, books.service, "X-1", name="Ours")
    sold(engine, books.product, "X-1", name="Ours too")
    sync(engine)
    assert bindings_of(engine)["Services:1"].xero_id == theirs["ItemID"]
    assert "Products:1" not in bindings_of(engine)
    assert [item.state for item in items(engine, "Products")] == ["failed"]
    [item] = in_xero(engine, "Items")
    assert item["Name"] == "Theirs"


def test_after_our_data_was_lost_each_finds_its_own(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    sold(engine, books.product, "W-1")
    sold(engine, books.service, "S-1")
    sync(engine)
    before = {ref: row.xero_id for ref, row in bindings_of(engine).items()}
    with engine.database.write() as session:
        session.execute(delete(Binding))
        session.execute(delete(Look))
    with crm(engine) as session:
        session.get_one(Product, 1).price = Decimal(7)
        session.get_one(Service, 1).price = Decimal(8)
    sync(engine)
    assert all_ended(engine)
    assert {ref: row.xero_id for ref, row in bindings_of(engine).items()} == before
    assert len(in_xero(engine, "Items")) == 2


# -- marks, mapping and counts ----------------------------------------------------------------


def test_each_module_has_a_mark_of_its_own(engine: Engine) -> None:
    marks = {engine.services.marker(RecordRef(module, "7")) for module in Module}
    assert len(marks) == len(Module)


def test_a_new_organisation_has_a_profile_and_a_mapping_as_products_have(engine: Engine) -> None:
    engine.connect(KAURI)
    rows = {row.module: row for row in rows_of(engine, Profile)}
    for name in (
        "enabled",
        "rule",
        "target_status",
        "add_needed",
        "retries",
        "deleted",
        "schedule",
    ):
        assert getattr(rows["Services"], name) == getattr(rows["Products"], name), name
    bodies = {row.module: row.body for row in rows_of(engine, Template) if not row.document_type}
    assert bodies["Services"] == {**bodies["Products"], "module": "Services"}


def test_the_mapping_of_invoices_knows_a_services_fields_and_code(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        books.contact(session)
        work = books.service(session, "S-1")
        session.add(Service(name="No part number", price=Decimal(1)))
    document(engine, "INV-1", (work, "1", "80.00"))
    on = mappings.bench(engine.services, Place(one, Module.INVOICES, DocumentType.INVOICE))
    [subject] = mappings.subjects(engine.services, on, mappings.records_here(engine.services, on))
    assert subject.parents[books.ref(work)].key == "S-1"
    assert "service S-1" in subject.missing
    product = next(one for one in on.info.line_fields if one.name == "product")
    assert mappings.linked_modules(product, on.modules) == [Module.PRODUCTS, Module.SERVICES]
    template = mappings.MappingTemplate.from_json(on.latest.body if on.latest else None)
    said = [
        one.values["count"]
        for one in checks.checks(engine.services, on, template)
        if one.code == "blank"
    ]
    assert said == ["1 service"]


def test_services_count_among_the_users_of_an_account(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        books.product(session, "W-1", sales_account="260")
        for number in range(2):
            books.service(session, f"S-{number}", sales_account="260")
    uses.take_stock(engine.services, one)
    with engine.database.read() as session:
        assert uses.uses(session, one)["accounts"]["260"].words == "1 product, 2 services"


def test_all_services_by_rule_and_by_status(engine: Engine) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Services", rule=RuleKind.STATUS.value, statuses=["Active"])
    sold(engine, books.service, "S-1", ticked=False)
    sold(engine, books.service, "S-2", ticked=False, status="Discontinued")
    sync(engine)
    assert created(engine, "Items") == ["S-1"]
    change_profile(engine, "Services", rule=RuleKind.ALL.value)
    sync(engine)
    assert created(engine, "Items") == ["S-1", "S-2"]


def test_a_line_keeps_to_one_of_the_two(each_engine: Engine) -> None:
    engine = each_engine
    with crm(engine) as session:
        goods, work = books.product(session), books.service(session)
        books.invoice(session, "INV-1", books.contact(session), (goods, "1", "1"))
        with pytest.raises(Exception, match="ck_crm_invoice_line_one"):
            session.execute(update(InvoiceLine).values(service_id=work.id))
        session.rollback()


def test_a_line_without_words_is_called_what_its_service_is_called(each_engine: Engine) -> None:
    engine = each_engine
    with crm(engine) as session:
        goods, work = books.product(session), books.service(session, name="Fitting")
        row = books.invoice(
            session, "INV-1", books.contact(session), (work, "1", "1"), (goods, "1", "1")
        )
        for line in row.lines:
            line.description = None
    read = engine.crm.fetch_many([books.ref(row)])[books.ref(row)]
    assert [line["description"] for line in read.lines] == ["Fitting", "Widget W-1"]
    assert read.parents()[1:] == (books.ref(work), books.ref(goods))
    before = read.version
    with crm(engine) as session:
        session.get_one(Service, work.id).name = "Fitting and more"
    assert engine.crm.fetch_many([books.ref(row)])[books.ref(row)].version != before


def test_what_is_journalled_of_a_service_is_an_item(engine: Engine) -> None:
    engine.connect(KAURI)
    sold(engine, books.service, "S-1", price="80.1234")
    sync(engine)
    [call] = [row for row in rows_of(engine, Attempt) if row.resource == "Items"]
    [entry] = [row for row in rows_of(engine, LogEntry) if row.module == "Services"]
    assert (entry.attempt_id, entry.outcome) == (call.id, "succeeded")
    assert json.dumps("IsTrackedAsInventory") not in str(call.body)


def test_a_crm_that_gets_services_later_gets_their_rules_with_them(each_engine: Engine) -> None:
    """As `xtiger migrate` does for hosts, whose own tables are none of ours."""
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    with engine.database.write() as session:
        session.execute(delete(Profile).where(Profile.module == "Services"))
        session.execute(delete(Template).where(Template.module == "Services"))
    change_profile(engine, "Products", enabled=False)
    sold(engine, books.service, "S-1")
    sync(engine)
    assert queue_of(engine) == []
    connect.complete(engine.services)
    connect.complete(engine.services)
    found = {row.module: row for row in rows_of(engine, Profile)}
    assert (found["Services"].organisation_id, found["Services"].enabled) == (one, True)
    assert found["Products"].enabled is False
    assert len(rows_of(engine, Profile)) == len(Module)
    sync(engine)
    assert queue_of(engine) == [("S-1", "succeeded")]

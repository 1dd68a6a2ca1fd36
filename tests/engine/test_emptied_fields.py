"""What is emptied in the CRM is emptied in Xero, and what was always empty costs no call."""

from __future__ import annotations

from typing import Any

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import KAURI, all_ended, ask, crm, in_xero, items, sync, tick, work, writes
from xtiger.crm.builtin import Contact, Invoice, Product

_KINDS = ("Contacts", "Items", "Invoices")


def phones(shown: dict[str, Any]) -> list[str]:
    numbers = [str(phone.get("PhoneNumber") or "") for phone in shown.get("Phones", ())]
    return [number for number in numbers if number]


@pytest.fixture
def filled(engine: Engine) -> tuple[Contact, Product, Invoice]:
    """One record of each kind in Xero, with every field that may be emptied."""
    engine.connect(KAURI)
    with crm(engine) as session:
        buyer = books.contact(session, "Bo Tan", email="bo@old.nz", phone="04 123")
        goods = books.product(session, "W-1", description="The old words")
        row = books.invoice(session, "INV-1", buyer, (goods, "1", "5"), reference="PO 4711")
    tick(engine, buyer, goods, row)
    sync(engine)
    [contact], [item], [invoice] = (in_xero(engine, what) for what in _KINDS)
    assert contact["EmailAddress"] == "bo@old.nz"
    assert len(phones(contact)) == 1
    assert item["Description"] == "The old words"
    assert invoice["Reference"] == "PO 4711"
    return buyer, goods, row


def test_emptied_fields_of_contact_item_and_invoice_reach_xero(
    engine: Engine, filled: tuple[Contact, Product, Invoice]
) -> None:
    buyer, goods, row = filled
    with crm(engine) as session:
        kept_buyer = session.get(Contact, buyer.id)
        kept_buyer.email = kept_buyer.phone = None
        session.get(Product, goods.id).description = None
        session.get(Invoice, row.id).reference = None
    sync(engine)
    assert all_ended(engine, ["succeeded"])
    [contact], [item], [invoice] = (in_xero(engine, what) for what in _KINDS)
    assert not contact.get("EmailAddress")
    assert phones(contact) == []
    # Xero shows items without words of their own by their name, and so does the mapping.
    assert item["Description"] == "Widget W-1"
    assert not invoice.get("Reference")


def test_one_emptied_field_leaves_the_others(
    engine: Engine, filled: tuple[Contact, Product, Invoice]
) -> None:
    with crm(engine) as session:
        session.get(Contact, filled[0].id).email = None
    sync(engine)
    [contact] = in_xero(engine, "Contacts")
    assert not contact.get("EmailAddress")
    assert len(phones(contact)) == 1


def test_fields_that_were_always_empty_cost_no_call(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        buyer = books.contact(session)
        row = books.invoice(session, "INV-1", buyer, (books.product(session), "1", "5"))
    tick(engine, buyer, row)
    sync(engine)
    before = len(writes(engine))
    tick(engine, buyer, row)
    ask(engine, one)
    work(engine)
    assert len(writes(engine)) == before
    assert [item.state for item in items(engine)][-2:] == ["unchanged", "unchanged"]

"""Lines of items whose stock Xero counts keep their real quantity, to the cent all the same."""

from __future__ import annotations

from typing import Any

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.mapping_scenes import bench, newest
from tests.engine.scenes import KAURI, all_ended, crm, items, stranger, sync, tick
from xtiger.crm.builtin import Invoice
from xtiger.domain.payloads import counts_stock
from xtiger.engine.connection import reference


def item(engine: Engine, *, stock: bool) -> dict[str, Any]:
    """Somebody has an item W-1 in Xero already, of which 2,000 were bought."""
    client = stranger(engine)
    counted = {
        "InventoryAssetAccountCode": "630",
        "PurchaseDetails": {"UnitPrice": "0.04", "COGSAccountCode": "310"},
    }
    made = client.created(
        "Items",
        {
            "Code": "W-1",
            "Name": "Screws",
            "SalesDetails": {"UnitPrice": 1, "AccountCode": "200"},
            **(counted if stock else {}),
        },
    )
    body = client.invoice(
        Type="ACCPAY",
        Status="AUTHORISED",
        Date="2026-09-14",
        DueDate="2026-10-14",
        LineItems=[
            {
                "ItemCode": "W-1",
                "Quantity": 2000,
                "UnitAmount": "0.04",
                "AccountCode": "630" if stock else "300",
            }
        ],
    )
    client.created("Invoices", body)
    return made


def sold(engine: Engine) -> Invoice:
    """1,000 screws at 0.061171."""
    with crm(engine) as session:
        screws = books.product(session, "W-1", "0.061171", name="Screws")
        row = books.invoice(session, "INV-1", books.contact(session), (screws, "1000", "0.061171"))
    tick(engine, row)
    return row


def lines(engine: Engine) -> list[tuple[Any, ...]]:
    """(item, quantity, price, amount, tax) of each line of INV-1 in Xero; its total last."""
    rows = stranger(engine).get("Invoices?page=1&unitdp=4").json()["Invoices"]
    [found] = [row for row in rows if row["InvoiceNumber"] == "INV-1"]
    names = ("ItemCode", "Quantity", "UnitAmount", "LineAmount", "TaxAmount")
    made = [tuple(line.get(name) for name in names) for line in found["LineItems"]]
    return [*made, (found["SubTotal"], found["TotalTax"], found["Total"])]


@pytest.mark.parametrize(
    ("stock", "expected"),
    [
        (
            True,
            [("W-1", 1000, 0.0612, 61.20, 9.18), (None, 1, -0.03, -0.03, 0), (61.17, 9.18, 70.35)],
        ),
        (False, [("W-1", 1, 61.17, 61.17, 9.18), (61.17, 9.18, 70.35)]),
    ],
)
def test_the_quantity_is_real_where_xero_counts_stock(
    engine: Engine, stock: bool, expected: list[tuple[Any, ...]]
) -> None:
    """MONEY's example of a price that four places can't hold, with stock and without."""
    kauri = engine.connect(KAURI, met=False)[KAURI]
    made = item(engine, stock=stock)
    reference.refresh_reference(engine.services, kauri, whole=True)
    sold(engine)
    assert newest(engine, bench(engine, kauri)).parents
    sync(engine)
    assert all_ended(engine), [one.sentence for one in items(engine)]
    assert lines(engine) == expected
    tried = newest(engine, bench(engine, kauri))
    assert [one.stock_tracked for one in tried.parents.values() if one.key == "W-1"] == [stock]
    if stock:
        kept = stranger(engine).get(f"Items/{made['ItemID']}").json()["Items"][0]
        assert kept["QuantityOnHand"] == 1000
        sync(engine)
        assert all_ended(engine)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (None, False),
        ("", False),
        ("no", False),
        (False, False),
        (True, True),
        ("yes", True),
        ("perhaps", True),
    ],
)
def test_a_crm_may_say_it_of_its_products_itself(said: Any, counted: bool) -> None:
    """A word that isn't no is taken for yes: the line is right both ways, stock only one way."""
    assert counts_stock({"stock_tracked": said}) is counted
    assert counts_stock({}) is False

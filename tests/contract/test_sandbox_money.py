"""Xero's money arithmetic as the local Xero does it, read from real answers."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from .conftest import SandboxClient, exact


def lines(*amounts: Any, **more: Any) -> list[dict[str, Any]]:
    return [
        {"Description": "x", "Quantity": 1, "UnitAmount": one, "AccountCode": "200"} | more
        for one in amounts
    ]


def totals(found: dict[str, Any]) -> tuple[D, D, D]:
    return found["SubTotal"], found["TotalTax"], found["Total"]


def made(client: SandboxClient, path: str = "Invoices", **fields: Any) -> dict[str, Any]:
    return client.created(path, client.invoice(**fields))


def test_tax_is_rounded_per_line_then_summed(sandbox_client: SandboxClient) -> None:
    found = made(sandbox_client, LineItems=lines("25.06", "25.61", "25.63"))
    assert [one["TaxAmount"] for one in found["LineItems"]] == [D("3.76"), D("3.84"), D("3.84")]
    assert totals(found) == (D("76.30"), D("11.44"), D("87.74"))


def test_inclusive_tax_is_taken_out_of_each_line(sandbox_client: SandboxClient) -> None:
    items = lines("541.25", "500")
    found = made(sandbox_client, LineAmountTypes="Inclusive", LineItems=items)
    assert [one["TaxAmount"] for one in found["LineItems"]] == [D("70.60"), D("65.22")]
    assert totals(found) == (D("905.43"), D("135.82"), D("1041.25"))


def test_no_tax_means_no_tax(sandbox_client: SandboxClient) -> None:
    found = made(sandbox_client, LineAmountTypes="NoTax", LineItems=lines("541.25"))
    assert totals(found) == (D("541.25"), D(0), D("541.25"))


def test_unit_amount_is_rounded_to_cents_before_multiplying(
    sandbox_client: SandboxClient,
) -> None:
    items = lines("0.061171", Quantity=1000)
    assert made(sandbox_client, LineItems=items)["SubTotal"] == D("60.00")
    found = made(sandbox_client, "Invoices?unitdp=4", LineItems=items)
    assert found["SubTotal"] == D("61.20")
    assert found["LineItems"][0]["UnitAmount"] == D("0.0612")
    path = f"Invoices/{found['InvoiceID']}"
    short = exact(sandbox_client.get(path))["Invoices"][0]
    assert short["LineItems"][0]["UnitAmount"] == D("0.06")
    full = exact(sandbox_client.get(path, params={"unitdp": 4}))["Invoices"][0]
    assert full["LineItems"][0]["UnitAmount"] == D("0.0612")


@pytest.mark.parametrize(
    ("quantity", "price", "amount"),
    [("0.5", "0.01", "0.01"), ("0.5", "-0.01", "-0.01"), ("3", "3.33", "9.99")],
)
def test_half_a_cent_goes_away_from_zero(
    sandbox_client: SandboxClient, quantity: str, price: str, amount: str
) -> None:
    items = lines(price, Quantity=quantity)
    found = made(sandbox_client, LineItems=items)
    assert found["LineItems"][0]["LineAmount"] == D(amount)


def test_discount_rate_lowers_the_line(sandbox_client: SandboxClient) -> None:
    found = made(sandbox_client, LineItems=lines("12.50", Quantity=4, DiscountRate=10))
    assert totals(found) == (D("45.00"), D("6.75"), D("51.75"))
    assert found["TotalDiscount"] == D("5.00")
    assert found["IsDiscounted"] is True


def test_discount_rate_is_kept_to_two_decimals(sandbox_client: SandboxClient) -> None:
    found = made(sandbox_client, LineItems=lines("1000", DiscountRate="33.336"))
    assert found["LineItems"][0]["DiscountRate"] == D("33.34")
    assert found["SubTotal"] == D("666.60")


def test_discount_amount_lowers_the_line(sandbox_client: SandboxClient) -> None:
    found = made(sandbox_client, LineItems=lines("12.50", Quantity=4, DiscountAmount="5.01"))
    assert found["SubTotal"] == D("44.99")


def test_tax_amount_sent_along_replaces_the_worked_out_one(
    sandbox_client: SandboxClient,
) -> None:
    found = made(sandbox_client, LineItems=lines("25.63", TaxAmount="3.85"))
    assert totals(found) == (D("25.63"), D("3.85"), D("29.48"))


def test_any_two_of_quantity_price_and_amount_give_the_third(
    sandbox_client: SandboxClient,
) -> None:
    base = {"Description": "x", "AccountCode": "200"}
    found = made(
        sandbox_client,
        LineItems=[
            base | {"Quantity": 4, "LineAmount": 10},
            base | {"UnitAmount": 4, "LineAmount": 10},
            base | {"LineAmount": 10},
            base | {"UnitAmount": 4},
        ],
    )
    assert [(one["Quantity"], one["UnitAmount"]) for one in found["LineItems"]] == [
        (4, D("2.5")),
        (D("2.5"), 4),
        (1, 10),
        (1, 4),
    ]


def test_total_that_was_sent_is_ignored(sandbox_client: SandboxClient) -> None:
    assert made(sandbox_client, Total=999, LineItems=lines("10"))["Total"] == D("11.50")


def test_tax_type_comes_from_the_account(sandbox_client: SandboxClient) -> None:
    found = made(sandbox_client, LineItems=lines("10") + lines("10", AccountCode="270"))
    assert [one["TaxType"] for one in found["LineItems"]] == ["OUTPUT2", "NONE"]
    bill = made(sandbox_client, Type="ACCPAY", LineItems=lines("10", AccountCode="300"))
    assert bill["LineItems"][0]["TaxType"] == "INPUT2"


def test_item_fills_in_its_sales_or_purchase_side(sandbox_client: SandboxClient) -> None:
    code = sandbox_client.name("I")
    sandbox_client.created(
        "Items",
        {
            "Code": code,
            "Name": "Beans",
            "Description": "Beans, sold",
            "PurchaseDescription": "Beans, bought",
            "SalesDetails": {"UnitPrice": 20, "AccountCode": "260", "TaxType": "ZERORATED"},
            "PurchaseDetails": {"UnitPrice": 8, "AccountCode": "310"},
        },
    )
    item = [{"ItemCode": code, "Quantity": 2}]
    sale = made(sandbox_client, LineItems=item)
    assert totals(sale) == (40, 0, 40)
    assert sale["LineItems"][0]["Description"] == "Beans, sold"
    bill = made(sandbox_client, Type="ACCPAY", LineItems=item)
    assert totals(bill) == (16, D("2.40"), D("18.40"))
    assert bill["LineItems"][0]["AccountCode"] == "310"


def test_numbers_leave_exactly(sandbox_client: SandboxClient) -> None:
    items = lines("9007199.25", Quantity="900.0001", TaxType="NONE")
    answer = sandbox_client.put("Invoices", sandbox_client.invoice(LineItems=items))
    assert '"Total":8106480225.72,' in answer.text
    assert '"Quantity":900.0001,' in answer.text


def test_foreign_currency_keeps_its_rate(sandbox_client: SandboxClient) -> None:
    found = made(sandbox_client, CurrencyCode="AUD")
    assert found["CurrencyRate"] == D("0.91")
    found = made(sandbox_client, CurrencyCode="AUD", CurrencyRate="0.9054321")
    assert found["CurrencyRate"] == D("0.905432")
    assert made(sandbox_client, CurrencyRate=2)["CurrencyRate"] == 1


def test_amounts_beyond_all_measure_are_refused_in_words(sandbox_client: SandboxClient) -> None:
    line = lines("1000000000000000", Quantity="1000000000000000")
    found = sandbox_client.errors("PUT", "Invoices", sandbox_client.invoice(LineItems=line))
    assert "The line amount must not exceed 9,999,999,999.99" in found


@pytest.mark.parametrize(
    ("quantity", "good"),
    [("12345678.1234", True), ("123456789.1234", False), ("1000000000", True), ("0.00004", True)],
)
def test_a_quantity_has_at_most_13_characters(
    sandbox_client: SandboxClient, quantity: str, good: bool
) -> None:
    body = sandbox_client.invoice(LineItems=lines("0.01", Quantity=quantity))
    answer = sandbox_client.put("Invoices", body)
    assert answer.status_code == (200 if good else 400)
    assert good or "The Quantity must not exceed 13 characters" in answer.text

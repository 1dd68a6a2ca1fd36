# ruff: noqa: F811
"""Items of the local Xero: the price list, and the stock of tracked ones."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from . import test_sandbox_schema as schema
from .conftest import SandboxClient, exact
from .test_sandbox_sdk import accounting, api, api_client, tenant  # noqa: F401

COGS = "A tracked item needs a COGSAccountCode in its PurchaseDetails"


@pytest.fixture
def tracked(sandbox_client: SandboxClient) -> dict[str, Any]:
    """A tracked item without stock."""
    return sandbox_client.created(
        "Items",
        {
            "Code": sandbox_client.name("T"),
            "Name": "Beans",
            "InventoryAssetAccountCode": "630",
            "PurchaseDetails": {"UnitPrice": 4, "COGSAccountCode": "310"},
            "SalesDetails": {"UnitPrice": 10, "AccountCode": "200"},
        },
    )


def moved(
    client: SandboxClient, kind: str, item: dict[str, Any], quantity: int, **fields: Any
) -> dict[str, Any]:
    """An approved invoice or bill of the item."""
    line = {"ItemCode": item["Code"], "Quantity": quantity} | fields.pop("line", {})
    body = client.invoice(
        Type=kind, Status="AUTHORISED", Date="2026-09-14", DueDate="2026-10-14", LineItems=[line]
    )
    return client.created("Invoices", body | fields)


def stock(client: SandboxClient, item: dict[str, Any]) -> tuple[Any, Any]:
    found = exact(client.get(f"Items/{item['ItemID']}"))["Items"][0]
    return found["QuantityOnHand"], found["TotalCostPool"]


def test_both_accounts_make_an_item_tracked(tracked: dict[str, Any]) -> None:
    assert tracked["IsTrackedAsInventory"] is True
    assert tracked["InventoryAssetAccountCode"] == "630"
    assert (tracked["QuantityOnHand"], tracked["TotalCostPool"]) == (0, 0)
    assert tracked["PurchaseDetails"] == {
        "UnitPrice": 4,
        "COGSAccountCode": "310",
        "TaxType": "INPUT2",
    }


def test_a_tracked_item_has_no_purchase_account(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    change = {"PurchaseDetails": {"AccountCode": "300", "UnitPrice": 5}}
    found = sandbox_client.post(f"Items/{tracked['ItemID']}", change).json()["Items"][0]
    assert found["PurchaseDetails"] == {
        "UnitPrice": 5,
        "COGSAccountCode": "310",
        "TaxType": "INPUT2",
    }


def test_an_untracked_item_has_no_stock(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Items", {"Code": sandbox_client.name("U")})
    assert made["IsTrackedAsInventory"] is False
    assert "QuantityOnHand" not in made


TRACKING_REFUSED = [
    (
        {"InventoryAssetAccountCode": "300"},
        "The InventoryAssetAccountCode must be an account of type INVENTORY",
    ),
    (
        {"InventoryAssetAccountCode": "999"},
        "The InventoryAssetAccountCode must be an account of type INVENTORY",
    ),
    ({"PurchaseDetails": {"UnitPrice": 1}}, COGS),
    ({"PurchaseDetails": None}, COGS),
    (
        {"InventoryAssetAccountCode": None},
        "A COGSAccountCode can only be given for a tracked item",
    ),
    (
        {"PurchaseDetails": {"COGSAccountCode": "999"}},
        "Account code '999' is not a valid code for this document.",
    ),
    (
        {"PurchaseDetails": {"COGSAccountCode": "490"}},
        "Account code '490' has been archived, or has been deleted."
        " Each line item must reference a valid account.",
    ),
]


@pytest.mark.parametrize(("fields", "message"), TRACKING_REFUSED)
def test_tracking_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], message: str
) -> None:
    body = {
        "Code": sandbox_client.name("T"),
        "InventoryAssetAccountCode": "630",
        "PurchaseDetails": {"COGSAccountCode": "310"},
    }
    assert sandbox_client.errors("PUT", "Items", body | fields) == [message]


def test_an_item_in_use_cannot_become_tracked(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Items", {"Code": sandbox_client.name("U"), "Name": "x"})
    line = {"ItemCode": made["Code"], "Quantity": 1, "UnitAmount": 1, "AccountCode": "200"}
    change = {
        "InventoryAssetAccountCode": "630",
        "PurchaseDetails": {"COGSAccountCode": "310"},
    }
    path = f"Items/{made['ItemID']}"
    sandbox_client.created("Invoices", sandbox_client.invoice(LineItems=[line]))
    found = sandbox_client.errors("POST", path, change)
    assert found == ["An item with stock or transactions cannot change its tracking"]


def test_a_bill_brings_stock_in_on_the_inventory_account(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    bill = moved(sandbox_client, "ACCPAY", tracked, 10)
    line = bill["LineItems"][0]
    assert (line["AccountCode"], line["UnitAmount"], line["TaxType"]) == ("630", 4, "INPUT2")
    assert stock(sandbox_client, tracked) == (10, 40)


def test_the_value_of_stock_is_net_of_tax(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    moved(
        sandbox_client,
        "ACCPAY",
        tracked,
        10,
        LineAmountTypes="Inclusive",
        line={"UnitAmount": "1.15"},
    )
    assert stock(sandbox_client, tracked) == (10, 10)


def test_a_sale_takes_stock_out_at_average_cost(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    moved(sandbox_client, "ACCPAY", tracked, 10)
    moved(sandbox_client, "ACCPAY", tracked, 10, line={"UnitAmount": 8})
    sale = moved(sandbox_client, "ACCREC", tracked, 5)
    assert sale["LineItems"][0]["AccountCode"] == "200"
    assert stock(sandbox_client, tracked) == (15, 90)
    sandbox_client.post(f"Invoices/{sale['InvoiceID']}", {"Status": "VOIDED"})
    assert stock(sandbox_client, tracked) == (20, 120)


def test_nothing_is_sold_beyond_the_stock(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    line = {"ItemCode": tracked["Code"], "Quantity": 3}
    body = sandbox_client.invoice(Status="AUTHORISED", DueDate="2026-10-14", LineItems=[line])
    short = f"Item '{tracked['Code']}' is tracked and has only "
    assert sandbox_client.errors("PUT", "Invoices", body) == [f"{short}0.0000 on hand"]
    moved(sandbox_client, "ACCPAY", tracked, 2)
    assert sandbox_client.errors("PUT", "Invoices", body) == [f"{short}2.0000 on hand"]
    moved(sandbox_client, "ACCPAY", tracked, 1)
    sandbox_client.created("Invoices", body)
    assert stock(sandbox_client, tracked) == (0, 0)


def test_two_lines_of_one_item_count_together(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    moved(sandbox_client, "ACCPAY", tracked, 3)
    line = {"ItemCode": tracked["Code"], "Quantity": 2}
    body = sandbox_client.invoice(Status="AUTHORISED", DueDate="2026-10-14", LineItems=[line, line])
    assert len(sandbox_client.errors("PUT", "Invoices", body)) == 1


def test_two_invoices_of_one_batch_count_together(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    moved(sandbox_client, "ACCPAY", tracked, 3)
    line = {"ItemCode": tracked["Code"], "Quantity": 2}
    batch = [
        sandbox_client.invoice(Status="AUTHORISED", DueDate="2026-10-14", LineItems=[line])
        for _ in range(2)
    ]
    answer = sandbox_client.put("Invoices?summarizeErrors=false", {"Invoices": batch}).json()
    found = [one["StatusAttributeString"] for one in answer["Invoices"]]
    assert found == ["OK", "ERROR"]
    assert stock(sandbox_client, tracked)[0] == 1
    assert sandbox_client.put("Invoices", {"Invoices": batch}).status_code == 400
    assert stock(sandbox_client, tracked)[0] == 1


def test_back_orders_are_allowed_on_request(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    line = {"ItemCode": tracked["Code"], "Quantity": 3}
    body = sandbox_client.invoice(Status="AUTHORISED", DueDate="2026-10-14", LineItems=[line])
    sandbox_client.created("Invoices?allowBackorders=true", body)
    assert stock(sandbox_client, tracked) == (0, 0)
    moved(sandbox_client, "ACCPAY", tracked, 5)
    assert stock(sandbox_client, tracked)[0] == 2


def test_a_draft_moves_no_stock(sandbox_client: SandboxClient, tracked: dict[str, Any]) -> None:
    line = {"ItemCode": tracked["Code"], "Quantity": 3}
    sandbox_client.created("Invoices", sandbox_client.invoice(LineItems=[line]))
    sandbox_client.created("Invoices", sandbox_client.invoice(Type="ACCPAY", LineItems=[line]))
    assert stock(sandbox_client, tracked) == (0, 0)


def test_an_edited_bill_moves_only_the_difference(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    bill = moved(sandbox_client, "ACCPAY", tracked, 10)
    change = {"LineItems": [{"ItemCode": tracked["Code"], "Quantity": 7}]}
    sandbox_client.post(f"Invoices/{bill['InvoiceID']}", change)
    assert stock(sandbox_client, tracked) == (7, 28)


def test_a_bill_whose_goods_are_sold_cannot_be_voided(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    bill = moved(sandbox_client, "ACCPAY", tracked, 10)
    sale = moved(sandbox_client, "ACCREC", tracked, 1)
    path = f"Invoices/{bill['InvoiceID']}"
    assert len(sandbox_client.errors("POST", path, {"Status": "VOIDED"})) == 1
    sandbox_client.post(f"Invoices/{sale['InvoiceID']}", {"Status": "VOIDED"})
    assert sandbox_client.post(path, {"Status": "VOIDED"}).status_code == 200
    assert stock(sandbox_client, tracked) == (0, 0)


@pytest.mark.parametrize(
    ("plural", "fields", "account", "left"),
    [
        ("CreditNotes", {"Type": "ACCRECCREDIT"}, "200", (12, 48)),
        ("CreditNotes", {"Type": "ACCPAYCREDIT"}, None, (8, 28)),
        ("BankTransactions", {"Type": "RECEIVE"}, "200", (8, 32)),
        ("BankTransactions", {"Type": "SPEND"}, None, (12, 52)),
    ],
)
def test_credit_notes_and_cash_move_stock_too(
    sandbox_client: SandboxClient,
    tracked: dict[str, Any],
    plural: str,
    fields: dict[str, str],
    account: str | None,
    left: tuple[int, int],
) -> None:
    moved(sandbox_client, "ACCPAY", tracked, 10)
    line = {"ItemCode": tracked["Code"], "Quantity": 2, "UnitAmount": 6}
    if account:
        line["AccountCode"] = account
    body = {
        "Contact": {"Name": sandbox_client.name()},
        "Date": "2026-09-14",
        "Status": "AUTHORISED",
        "LineItems": [line],
    } | fields
    if plural == "BankTransactions":
        body["BankAccount"] = {"Code": "090"}
    made = sandbox_client.created(plural, body)
    assert made["LineItems"][0]["AccountCode"] == (account or "630")
    assert stock(sandbox_client, tracked) == left


def test_stock_moves_do_not_touch_the_item(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    moved(sandbox_client, "ACCPAY", tracked, 10)
    found = sandbox_client.get(f"Items/{tracked['ItemID']}").json()["Items"][0]
    assert found["UpdatedDateUTC"] == tracked["UpdatedDateUTC"]


def test_the_inventory_account_is_for_the_item_alone(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    line = {"Description": "x", "Quantity": 1, "UnitAmount": 1, "AccountCode": "630"}
    body = sandbox_client.invoice(Type="ACCPAY", LineItems=[line])
    found = sandbox_client.errors("PUT", "Invoices", body)
    assert found == ["Account code '630' is not a valid code for this document."]


@pytest.mark.parametrize(
    ("flag", "side", "words"),
    [
        ("IsSold", "SalesDetails", "Description"),
        ("IsPurchased", "PurchaseDetails", "PurchaseDescription"),
    ],
)
def test_a_side_that_is_closed_is_cleared(
    sandbox_client: SandboxClient, flag: str, side: str, words: str
) -> None:
    account = "200" if flag == "IsSold" else "300"
    body = {"Code": sandbox_client.name("I"), side: {"UnitPrice": 1, "AccountCode": account}}
    made = sandbox_client.created("Items", body | {words: "words"})
    assert made[side]["TaxType"] == ("OUTPUT2" if flag == "IsSold" else "INPUT2")
    found = sandbox_client.post(f"Items/{made['ItemID']}", {flag: False}).json()["Items"][0]
    assert found[flag] is False
    assert found[side] == {}
    assert words not in found
    again = sandbox_client.post(f"Items/{made['ItemID']}", {flag: True}).json()["Items"][0]
    assert again[side] == {}


def test_put_refuses_a_known_code_and_post_updates_it(sandbox_client: SandboxClient) -> None:
    code = sandbox_client.name("I")
    made = sandbox_client.created("Items", {"Code": code, "Name": "a"})
    assert sandbox_client.errors("PUT", "Items", {"Code": code}) == [
        f"Price List Item with Code '{code}' already exists"
    ]
    found = sandbox_client.post("Items", {"Code": code, "Name": "b"}).json()["Items"][0]
    assert (found["ItemID"], found["Name"]) == (made["ItemID"], "b")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Code": ""}, "Price List Item Code must be specified"),
        ({"Code": "x" * 31}, "The Code must not exceed 30 characters"),
        ({"Name": "x" * 51}, "The Name must not exceed 50 characters"),
        ({"Description": "x" * 4001}, "The Description must not exceed 4000 characters"),
        (
            {"PurchaseDescription": "x" * 4001},
            "The PurchaseDescription must not exceed 4000 characters",
        ),
        (
            {"SalesDetails": {"AccountCode": "999"}},
            "Account code '999' is not a valid code for this document.",
        ),
        (
            {"SalesDetails": {"AccountCode": "090"}},
            "Account code '090' is not a valid code for this document.",
        ),
        (
            {"SalesDetails": {"TaxType": "NOPE"}},
            "The TaxType code 'NOPE' does not exist or cannot be used for this type of"
            " transaction.",
        ),
    ],
)
def test_item_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], message: str
) -> None:
    body = {"Code": sandbox_client.name("I")} | fields
    assert sandbox_client.errors("PUT", "Items", body) == [message]


@pytest.mark.parametrize("by", ["ItemID", "Code"])
def test_item_is_deleted(sandbox_client: SandboxClient, by: str) -> None:
    made = sandbox_client.created("Items", {"Code": sandbox_client.name("I")})
    answer = sandbox_client.call("DELETE", f"Items/{made[by]}")
    assert (answer.status_code, answer.text) == (204, "")
    assert sandbox_client.get(f"Items/{made['ItemID']}").status_code == 404
    assert sandbox_client.call("DELETE", f"Items/{made['ItemID']}").status_code == 404
    sandbox_client.created("Items", {"Code": made["Code"]})


@pytest.mark.parametrize(
    "where",
    [
        'Code=="{code}"',
        'Name.StartsWith("only ")',
        "SalesDetails.UnitPrice==7.77",
        'Code=="{code}" AND IsSold==true AND IsTrackedAsInventory==false',
    ],
)
def test_items_are_found(sandbox_client: SandboxClient, where: str) -> None:
    code = sandbox_client.name("W")
    for one in sandbox_client.get('Items?where=Name=="only one"').json()["Items"]:
        sandbox_client.call("DELETE", f"Items/{one['ItemID']}")
    body = {"Code": code, "Name": "Only One", "SalesDetails": {"UnitPrice": "7.77"}}
    sandbox_client.created("Items", body)
    found = sandbox_client.get("Items", params={"where": where.format(code=code)}).json()
    assert [one["Code"] for one in found["Items"]] == [code]


@schema.pytestmark
def test_answers_fit_the_description(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    body = sandbox_client.get("Items").json()
    schema.check(body, "Items")
    for one in body["Items"]:
        schema.known_fields(one, "Item")


def test_sdk_drives_items(api: Any, tenant: str, sandbox_client: SandboxClient) -> None:
    code = sandbox_client.name("SDK")
    body = accounting.Items(
        items=[
            accounting.Item(
                code=code,
                name="Beans",
                inventory_asset_account_code="630",
                purchase_details=accounting.Purchase(unit_price=1.2345, cogs_account_code="310"),
                sales_details=accounting.Purchase(unit_price=2, account_code="200"),
            )
        ]
    )
    made = api.create_items(tenant, body, unitdp=4).items[0]
    assert made.is_tracked_as_inventory is True
    assert made.purchase_details.unit_price == D("1.2345")
    assert made.quantity_on_hand == 0
    change = accounting.Items(items=[accounting.Item(code=code, name="Peas")])
    assert api.update_item(tenant, made.item_id, change).items[0].name == "Peas"
    assert api.update_or_create_items(tenant, change).items[0].item_id == made.item_id
    assert api.get_item(tenant, made.item_id).items[0].code == code
    listed = api.get_items(tenant, where=f'Code=="{code}"', order="Code ASC").items
    assert [one.item_id for one in listed] == [made.item_id]
    api.delete_item(tenant, made.item_id)
    assert sandbox_client.get(f"Items/{code}").status_code == 404


def test_documents_follow_an_item_whose_code_changes(
    sandbox_client: SandboxClient, tracked: dict[str, Any]
) -> None:
    moved(sandbox_client, "ACCPAY", tracked, 10)
    sale = moved(sandbox_client, "ACCREC", tracked, 4)
    code = sandbox_client.name("IT")
    answer = sandbox_client.post(f"Items/{tracked['ItemID']}", {"Code": code})
    assert answer.status_code == 200
    path = f"Invoices/{sale['InvoiceID']}"
    shown = sandbox_client.get(path).json()["Invoices"][0]
    assert shown["LineItems"][0]["ItemCode"] == code
    assert shown["UpdatedDateUTC"] == sale["UpdatedDateUTC"]
    assert sandbox_client.post(path, {"Status": "VOIDED"}).status_code == 200
    assert stock(sandbox_client, tracked | {"Code": code}) == (10, 40)

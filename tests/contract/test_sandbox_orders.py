# ruff: noqa: F811
"""Purchase orders of the local Xero."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D
from typing import Any

import pytest

from . import test_sandbox_schema as schema
from .conftest import SandboxClient, exact
from .test_sandbox_sdk import accounting, api, api_client, tenant  # noqa: F401

ZERO = "00000000-0000-0000-0000-000000000000"
STATUS = "PurchaseOrder status change is invalid"
DELETED = "Deleted PurchaseOrders cannot be updated"
SENT = "Only AUTHORISED and BILLED purchase orders may have SentToContact updated."
LINE = {"Description": "Beans", "Quantity": 1, "UnitAmount": 10, "AccountCode": "300"}


@pytest.fixture(scope="module")
def supplier(sandbox_client: SandboxClient) -> dict[str, str]:
    made = sandbox_client.created("Contacts", {"Name": sandbox_client.name("Supplier")})
    return {"ContactID": made["ContactID"]}


@pytest.fixture
def order(sandbox_client: SandboxClient, supplier: dict[str, str]) -> dict[str, Any]:
    """An acceptable order of a number nobody has used."""
    return {
        "PurchaseOrderNumber": sandbox_client.name("P"),
        "Contact": supplier,
        "LineItems": [LINE],
    }


def changed(client: SandboxClient, made: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = client.post(f"PurchaseOrders/{made['PurchaseOrderID']}", fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = exact(answer)["PurchaseOrders"][0]
    return found


def test_order_is_shown_with_tax_of_the_purchase_account(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    made = sandbox_client.created(
        "PurchaseOrders",
        order
        | {
            "Date": "2026-09-14",
            "DeliveryDate": "2026-09-20",
            "DeliveryAddress": "1 Quay\nNelson",
            "AttentionTo": "Ana",
            "Telephone": "64 3 555",
            "DeliveryInstructions": "Back door",
            "Reference": "R-1",
        },
    )
    assert made["Status"] == "DRAFT"
    assert made["Type"] == "PURCHASEORDER"
    assert (made["SubTotal"], made["TotalTax"], made["Total"]) == (10, D("1.50"), D("11.50"))
    assert made["DateString"] == "2026-09-14T00:00:00"
    assert made["DeliveryDateString"] == "2026-09-20T00:00:00"
    assert made["DeliveryDate"] == "/Date(1789862400000+0000)/"
    assert made["LineItems"][0]["TaxType"] == "INPUT2"
    assert made["DeliveryAddress"] == "1 Quay\nNelson"
    assert made["Contact"]["Addresses"][0]["AddressType"] == "STREET"
    read = exact(sandbox_client.get(f"PurchaseOrders/{made['PurchaseOrderID']}"))
    assert read["PurchaseOrders"][0] == made


def test_unit_amounts_always_keep_four_decimals(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    body = order | {"LineItems": [LINE | {"Quantity": 100, "UnitAmount": "1.23456"}]}
    made = sandbox_client.created("PurchaseOrders", body)
    assert made["LineItems"][0]["UnitAmount"] == D("1.2346")
    assert made["LineItems"][0]["LineAmount"] == D("123.46")
    listed = exact(sandbox_client.get("PurchaseOrders?order=UpdatedDateUTC DESC&pageSize=1"))
    assert listed["PurchaseOrders"][0]["LineItems"][0]["UnitAmount"] == D("1.2346")


def test_discount_rate_is_taken_off(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    body = order | {"LineItems": [LINE | {"DiscountRate": 10}]}
    made = sandbox_client.created("PurchaseOrders", body)
    assert (made["SubTotal"], made["TotalDiscount"], made["IsDiscounted"]) == (9, 1, True)


def test_an_account_is_not_needed_even_when_approved(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    line = {"Description": "Only words"}
    made = sandbox_client.created(
        "PurchaseOrders", order | {"Status": "AUTHORISED", "LineItems": [line]}
    )
    assert made["Status"] == "AUTHORISED"


REFUSED = [
    ({"Contact": None}, "A Contact must be specified for this type of transaction"),
    ({"Contact": {"Name": "Nobody Known"}}, "A Contact must be specified for this type of tr"),
    ({"Contact": {"Name": "Harbour Cafe"}}, "A Contact must be specified for this type of tr"),
    ({"Contact": {"ContactID": ZERO[:-1] + "9"}}, "An existing Contact with the specified"),
    ({"LineItems": []}, "One or more line items must be specified"),
    ({"LineItems": None}, "One or more line items must be specified"),
    ({"DeliveryInstructions": "x" * 501}, "The DeliveryInstructions must not exceed 500 char"),
    ({"Reference": "x" * 256}, "The Reference must not exceed 255 characters"),
    ({"PurchaseOrderNumber": "x" * 256}, "The PurchaseOrderNumber must not exceed 255 char"),
    ({"CurrencyCode": "EUR"}, "Organisation is not subscribed to currency EUR"),
    ({"Status": "DELETED"}, STATUS),
    ({"Status": "PAID"}, STATUS),
    ({"LineItems": [{"Quantity": 1}]}, "A description must be specified for each line item"),
    ({"LineItems": [LINE | {"AccountCode": "999"}]}, "Account code '999' is not a valid code"),
    ({"LineItems": [LINE | {"TaxType": "NOPE"}]}, "The TaxType code 'NOPE' does not exist or"),
    ({"LineItems": [LINE | {"DiscountRate": 101}]}, "The DiscountRate must be between 0 and"),
    ({"LineItems": [LINE | {"DiscountAmount": 1}]}, "Purchase orders only support a Discount"),
    ({"LineItems": [LINE | {"LineAmount": 11}]}, "The line total 11.00 does not match the exp"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_order_is_refused(
    sandbox_client: SandboxClient, order: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    sandbox_client.put("Contacts?summarizeErrors=false", {"Name": "Harbour Cafe"})
    found = sandbox_client.errors("PUT", "PurchaseOrders", order | fields)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_no_contact_is_ever_created(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    name = sandbox_client.name("Never")
    sandbox_client.put("PurchaseOrders", order | {"Contact": {"Name": name}})
    found = sandbox_client.get("Contacts", params={"where": f'Name=="{name}"'}).json()
    assert found["Contacts"] == []


def test_contact_may_be_given_by_its_number(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    number = sandbox_client.name("K")
    contact = {"Name": sandbox_client.name(), "ContactNumber": number}
    made = sandbox_client.created("Contacts", contact)
    body = order | {"Contact": {"ContactNumber": number}}
    found = sandbox_client.created("PurchaseOrders", body)
    assert found["Contact"]["ContactID"] == made["ContactID"]


def test_refusal_flags_the_element(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    answer = sandbox_client.put("PurchaseOrders", order | {"LineItems": []}).json()
    assert answer["Elements"][0]["HasErrors"] is True
    assert answer["Elements"][0]["PurchaseOrderID"] == ZERO


def test_numbers_count_up(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    del order["PurchaseOrderNumber"]
    first = sandbox_client.created("PurchaseOrders", order)["PurchaseOrderNumber"]
    second = sandbox_client.created("PurchaseOrders", order)["PurchaseOrderNumber"]
    assert first.startswith("PO-")
    assert len(first) == 7
    assert int(second[3:]) == int(first[3:]) + 1


def test_put_refuses_a_taken_number(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    sandbox_client.created("PurchaseOrders", order)
    found = sandbox_client.errors("PUT", "PurchaseOrders", order)
    assert found == ["Order number must be unique"]


def test_post_with_the_number_of_a_live_order_updates_it(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    made = sandbox_client.created("PurchaseOrders", order)
    answer = sandbox_client.post("PurchaseOrders", order | {"Reference": "silently"})
    found = answer.json()["PurchaseOrders"][0]
    assert found["PurchaseOrderID"] == made["PurchaseOrderID"]
    assert found["Reference"] == "silently"


def test_post_with_the_number_of_a_deleted_order_is_refused_twice(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    made = sandbox_client.created("PurchaseOrders", order)
    changed(sandbox_client, made, Status="DELETED")
    answer = sandbox_client.post("PurchaseOrders?summarizeErrors=false", order)
    assert answer.status_code == 200
    found = answer.json()["PurchaseOrders"][0]
    assert found["PurchaseOrderID"] == ZERO
    assert found["StatusAttributeString"] == "ERROR"
    assert [one["Message"] for one in found["ValidationErrors"]] == [STATUS, DELETED]
    assert sandbox_client.errors("PUT", "PurchaseOrders", order) == ["Order number must be unique"]


def test_renumbering_to_a_taken_number_is_refused(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    made = sandbox_client.created("PurchaseOrders", order)
    other = sandbox_client.created(
        "PurchaseOrders", order | {"PurchaseOrderNumber": sandbox_client.name("P")}
    )
    path = f"PurchaseOrders/{other['PurchaseOrderID']}"
    body = {"PurchaseOrderNumber": made["PurchaseOrderNumber"].lower()}
    assert sandbox_client.errors("POST", path, body) == ["Order number must be unique"]


def test_unknown_id_is_refused_in_the_body_and_missing_in_the_address(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    known_to_nobody = ZERO[:-1] + "7"
    body = order | {"PurchaseOrderID": known_to_nobody}
    found = sandbox_client.errors("POST", "PurchaseOrders", body)
    assert found == [
        "An existing PurchaseOrder with the specified PurchaseOrderID could not be found"
    ]
    assert sandbox_client.post(f"PurchaseOrders/{known_to_nobody}", order).status_code == 404
    assert sandbox_client.get("PurchaseOrders/no-such-number").status_code == 404


LEGAL = [
    ("DRAFT", "SUBMITTED"),
    ("DRAFT", "AUTHORISED"),
    ("DRAFT", "BILLED"),
    ("DRAFT", "DELETED"),
    ("SUBMITTED", "DRAFT"),
    ("SUBMITTED", "AUTHORISED"),
    ("SUBMITTED", "DELETED"),
    ("AUTHORISED", "BILLED"),
    ("AUTHORISED", "DELETED"),
    ("BILLED", "DELETED"),
]
ILLEGAL = [
    ("AUTHORISED", "DRAFT"),
    ("AUTHORISED", "SUBMITTED"),
    ("BILLED", "DRAFT"),
    ("BILLED", "SUBMITTED"),
]


@pytest.mark.parametrize(("before", "after"), LEGAL)
def test_status_may_change(
    sandbox_client: SandboxClient, order: dict[str, Any], before: str, after: str
) -> None:
    made = sandbox_client.created("PurchaseOrders", order | {"Status": before})
    assert changed(sandbox_client, made, Status=after)["Status"] == after


@pytest.mark.parametrize(("before", "after"), ILLEGAL)
def test_status_may_not_change(
    sandbox_client: SandboxClient, order: dict[str, Any], before: str, after: str
) -> None:
    made = sandbox_client.created("PurchaseOrders", order | {"Status": before})
    path = f"PurchaseOrders/{made['PurchaseOrderID']}"
    assert sandbox_client.errors("POST", path, {"Status": after}) == [STATUS]


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({"Reference": "late"}, [DELETED]),
        ({"Status": "DELETED"}, [DELETED]),
        ({"Status": "DRAFT"}, [STATUS, DELETED]),
    ],
)
def test_deleted_is_final(
    sandbox_client: SandboxClient,
    order: dict[str, Any],
    fields: dict[str, Any],
    messages: list[str],
) -> None:
    made = sandbox_client.created("PurchaseOrders", order)
    changed(sandbox_client, made, Status="DELETED")
    path = f"PurchaseOrders/{made['PurchaseOrderID']}"
    assert sandbox_client.errors("POST", path, fields) == messages


def test_sent_mark_of_an_unapproved_order_is_only_warned_about(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    made = sandbox_client.created("PurchaseOrders", order | {"SentToContact": True})
    assert made["SentToContact"] is False
    assert made["Warnings"] == [{"Message": SENT}]
    assert "ValidationErrors" not in made
    approved = changed(sandbox_client, made, Status="AUTHORISED", SentToContact=True)
    assert approved["SentToContact"] is True
    assert "Warnings" not in approved


def test_lock_dates_do_not_concern_orders(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    path = f"organisations/{sandbox_client.tenant}"
    sandbox_client.control(path, {"PeriodLockDate": "2026-06-30"})
    try:
        made = sandbox_client.created("PurchaseOrders", order | {"Date": "2026-01-01"})
        assert changed(sandbox_client, made, Reference="R")["Reference"] == "R"
    finally:
        sandbox_client.control(path, {"PeriodLockDate": None})


def test_list_is_always_paged_and_shows_lines(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    for _ in range(2):
        number = {"PurchaseOrderNumber": sandbox_client.name("P")}
        sandbox_client.created("PurchaseOrders", order | number)
    body = sandbox_client.get("PurchaseOrders").json()
    assert list(body)[:4] == ["Id", "Status", "ProviderName", "DateTimeUTC"]
    assert body["pagination"]["page"] == 1
    assert body["pagination"]["pageSize"] == 100
    assert all(one["LineItems"] for one in body["PurchaseOrders"])
    second = sandbox_client.get("PurchaseOrders?page=2&pageSize=1").json()
    assert second["pagination"]["pageSize"] == 1
    assert second["PurchaseOrders"][0] == body["PurchaseOrders"][1]


def test_list_is_narrowed_by_status_and_dates(
    sandbox_client: SandboxClient, order: dict[str, Any]
) -> None:
    numbers = []
    for day, status in (
        ("2031-01-01", "DRAFT"),
        ("2031-01-02", "SUBMITTED"),
        ("2031-01-03", "SUBMITTED"),
    ):
        numbers.append(sandbox_client.name("P"))
        body = order | {"PurchaseOrderNumber": numbers[-1], "Date": day, "Status": status}
        sandbox_client.created("PurchaseOrders", body)

    def found(query: str) -> list[str]:
        members = sandbox_client.get(f"PurchaseOrders?{query}").json()["PurchaseOrders"]
        return [one["PurchaseOrderNumber"] for one in members]

    assert found("DateFrom=2031-01-02&DateTo=2031-12-31") == numbers[1:]
    assert found("DateFrom=2031-01-01&DateTo=2031-01-01") == numbers[:1]
    assert found("Status=SUBMITTED&dateFrom=2031-01-01&order=Date DESC") == [
        numbers[2],
        numbers[1],
    ]
    assert found("DateFrom=2031-01-01&where=Status%3D%3D%22DRAFT%22") == numbers
    answer = sandbox_client.get("PurchaseOrders?DateFrom=soon")
    assert answer.status_code == 400
    assert answer.json()["Type"] == "QueryParseException"


def test_list_of_changed_orders(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    sandbox_client.created("PurchaseOrders", order)
    later = {"If-Modified-Since": "2099-01-01T00:00:00"}
    assert sandbox_client.get("PurchaseOrders", headers=later).json()["PurchaseOrders"] == []


def test_order_is_found_by_number(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    made = sandbox_client.created("PurchaseOrders", order)
    found = sandbox_client.get(f"PurchaseOrders/{order['PurchaseOrderNumber']}").json()
    assert found["PurchaseOrders"][0]["PurchaseOrderID"] == made["PurchaseOrderID"]


@pytest.mark.parametrize("scopes", ["accounting.contacts", "accounting.payments"])
def test_scope_is_needed(sandbox_client: SandboxClient, scopes: str) -> None:
    token = sandbox_client.token(scope=scopes)["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert sandbox_client.get("PurchaseOrders", headers=headers).status_code == 401


def test_reading_scope_does_not_write(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    token = sandbox_client.token(scope="accounting.invoices.read")["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert sandbox_client.get("PurchaseOrders", headers=headers).status_code == 200
    assert sandbox_client.put("PurchaseOrders", order, headers=headers).status_code == 401


def test_delete_is_not_a_method(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    made = sandbox_client.created("PurchaseOrders", order)
    path = f"PurchaseOrders/{made['PurchaseOrderID']}"
    assert sandbox_client.call("DELETE", path).status_code == 405


@schema.pytestmark
def test_answers_fit_the_description(sandbox_client: SandboxClient, order: dict[str, Any]) -> None:
    full = order | {
        "Date": "2026-09-14",
        "DeliveryDate": "2026-09-20",
        "ExpectedArrivalDate": "2026-09-21",
        "DeliveryAddress": "1 Quay",
        "Status": "AUTHORISED",
        "SentToContact": True,
        "LineItems": [LINE | {"DiscountRate": 5}],
    }
    bad = order | {"PurchaseOrderNumber": "x", "LineItems": []}
    batch = {"PurchaseOrders": [full, bad]}
    written = sandbox_client.put("PurchaseOrders?summarizeErrors=false", batch).json()
    listed = sandbox_client.get("PurchaseOrders").json()
    refused = sandbox_client.put("PurchaseOrders", bad).json()
    schema.check(written, "PurchaseOrders")
    schema.check(listed, "PurchaseOrders")
    schema.check(refused, "Error")
    known = schema.registry()["xero:"].contents["components"]["schemas"]["PurchaseOrder"]
    told_by_examples = {
        "DateString",
        "DeliveryDateString",
        "ExpectedArrivalDateString",
        "HasErrors",
        "IsDiscounted",
        "Type",
    }
    for one in written["PurchaseOrders"] + listed["PurchaseOrders"]:
        assert set(one) - set(known["properties"]) <= told_by_examples


def test_sdk_drives_orders(
    api: Any, tenant: str, sandbox_client: SandboxClient, supplier: dict[str, str]
) -> None:
    number = sandbox_client.name("SDK")
    body = accounting.PurchaseOrders(
        purchase_orders=[
            accounting.PurchaseOrder(
                purchase_order_number=number,
                contact=accounting.Contact(contact_id=supplier["ContactID"]),
                date=dt.date(2026, 9, 14),
                delivery_date=dt.date(2026, 9, 20),
                line_items=[
                    accounting.LineItem(
                        description="Beans", quantity=2, unit_amount=1.2345, account_code="300"
                    )
                ],
            )
        ]
    )
    made = api.create_purchase_orders(tenant, body).purchase_orders[0]
    assert (made.sub_total, made.line_items[0].unit_amount) == (D("2.47"), D("1.2345"))
    assert made.delivery_date == dt.date(2026, 9, 20)
    change = accounting.PurchaseOrders(
        purchase_orders=[
            accounting.PurchaseOrder(
                purchase_order_id=made.purchase_order_id, status="AUTHORISED", attention_to="Ana"
            )
        ]
    )
    updated = api.update_purchase_order(tenant, made.purchase_order_id, change)
    assert updated.purchase_orders[0].attention_to == "Ana"
    again = api.update_or_create_purchase_orders(tenant, change).purchase_orders[0]
    assert again.status == "AUTHORISED"
    by_number = api.get_purchase_order_by_number(tenant, number).purchase_orders[0]
    assert by_number.purchase_order_id == made.purchase_order_id
    assert api.get_purchase_order(tenant, made.purchase_order_id).purchase_orders
    listed = api.get_purchase_orders(
        tenant,
        status="AUTHORISED",
        date_from="2026-09-14",
        date_to="2026-09-14",
        order="PurchaseOrderNumber ASC",
        page=1,
        page_size=1000,
    )
    assert number in {one.purchase_order_number for one in listed.purchase_orders}

# ruff: noqa: F811
"""Receipts of classic expenses, for organisations that still have them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest

from . import test_sandbox_schema as schema
from .conftest import SandboxClient, exact
from .test_sandbox_sdk import accounting, api, api_client, tenant  # noqa: F401

ZERO = "00000000-0000-0000-0000-000000000000"
STATUS = "Receipt not of valid status for creation or modification"
LINE = {"Description": "Taxi", "Quantity": 2, "UnitAmount": 20, "AccountCode": "493"}


def switch(client: SandboxClient, *, on: bool) -> None:
    client.control(f"organisations/{client.tenant}", {"ClassicExpenses": on})


@pytest.fixture(autouse=True)
def classic(sandbox_client: SandboxClient) -> Iterator[None]:
    switch(sandbox_client, on=True)
    yield
    switch(sandbox_client, on=False)


@pytest.fixture
def receipt(sandbox_client: SandboxClient) -> dict[str, Any]:
    user = sandbox_client.get("Users").json()["Users"][0]["UserID"]
    return {
        "Date": "2026-09-14",
        "Contact": {"Name": "City Taxis"},
        "User": {"UserID": user},
        "LineItems": [LINE],
    }


def test_organisations_do_not_have_receipts_unless_switched_on(
    sandbox_client: SandboxClient, receipt: dict[str, Any]
) -> None:
    made = sandbox_client.created("Receipts", receipt)
    switch(sandbox_client, on=False)
    for method, path in (
        ("GET", "Receipts"),
        ("GET", f"Receipts/{made['ReceiptID']}"),
        ("GET", f"Receipts/{made['ReceiptID']}/History"),
        ("PUT", "Receipts"),
    ):
        answer = sandbox_client.call(method, path, receipt if method == "PUT" else None)
        assert (answer.status_code, answer.text) == (404, "")
    switch(sandbox_client, on=True)
    assert sandbox_client.get(f"Receipts/{made['ReceiptID']}").status_code == 200


def test_the_switch_is_not_shown_in_the_organisation(sandbox_client: SandboxClient) -> None:
    found = sandbox_client.get("Organisation").json()["Organisations"][0]
    assert "ClassicExpenses" not in found


def test_receipt_is_shown(sandbox_client: SandboxClient, receipt: dict[str, Any]) -> None:
    body = receipt | {"Reference": "R", "LineAmountTypes": "Inclusive"}
    made = sandbox_client.created("Receipts", body)
    assert made["Status"] == "DRAFT"
    assert made["LineAmountTypes"] == "Inclusive"
    assert (made["SubTotal"], made["TotalTax"], made["Total"]) == (D("34.78"), D("5.22"), 40)
    assert made["User"]["UserID"] == receipt["User"]["UserID"]
    assert made["User"]["FirstName"]
    assert made["Date"] == "/Date(1789344000000+0000)/"
    assert made["Contact"]["Name"] == "City Taxis"
    read = exact(sandbox_client.get(f"Receipts/{made['ReceiptID']}"))["Receipts"][0]
    assert read == made


def test_numbers_count_up_per_user(sandbox_client: SandboxClient, receipt: dict[str, Any]) -> None:
    first = int(sandbox_client.created("Receipts", receipt)["ReceiptNumber"])
    second = int(sandbox_client.created("Receipts", receipt)["ReceiptNumber"])
    assert second == first + 1
    other = sandbox_client.get("Users").json()["Users"][1]["UserID"]
    theirs = sandbox_client.created("Receipts", receipt | {"User": {"UserID": other}})
    assert theirs["ReceiptNumber"] == "1"


REFUSED = [
    ({"Date": None}, "The Date of a receipt must be specified"),
    ({"Contact": None}, "A Contact must be specified for this type of transaction"),
    ({"LineItems": []}, "One or more line items must be specified"),
    ({"User": None}, "A valid user should be identified using the UserID."),
    ({"User": {}}, "A valid user should be identified using the UserID."),
    ({"User": {"UserID": ZERO}}, "A valid user should be identified using the UserID."),
    ({"Status": "AUTHORISED"}, STATUS),
    ({"Status": "DECLINED"}, STATUS),
    ({"Status": "VOIDED"}, STATUS),
    ({"Reference": "x" * 256}, "The Reference must not exceed 255 characters"),
    ({"LineItems": [LINE | {"AccountCode": "999"}]}, "Account code '999' is not a valid code"),
    ({"LineItems": [LINE | {"DiscountRate": 5}]}, "Discounts can only be applied to ACCREC"),
    (
        {"Status": "SUBMITTED", "LineItems": [{"Description": "x", "UnitAmount": 1}]},
        "An account code must be specified for each line of an approved invoice",
    ),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_receipt_is_refused(
    sandbox_client: SandboxClient, receipt: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    found = sandbox_client.errors("PUT", "Receipts", receipt | fields)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_lock_dates_concern_receipts(
    sandbox_client: SandboxClient, receipt: dict[str, Any]
) -> None:
    path = f"organisations/{sandbox_client.tenant}"
    sandbox_client.control(path, {"PeriodLockDate": "2026-09-14"})
    try:
        found = sandbox_client.errors("PUT", "Receipts", receipt)
    finally:
        sandbox_client.control(path, {"PeriodLockDate": None})
    assert found == ["The document date cannot be before the period lock date"]


@pytest.mark.parametrize(
    ("before", "after", "legal"),
    [
        ("DRAFT", "SUBMITTED", True),
        ("SUBMITTED", "DRAFT", True),
        ("DRAFT", "AUTHORISED", False),
        ("SUBMITTED", "AUTHORISED", False),
        ("SUBMITTED", "DECLINED", False),
        ("DRAFT", "VOIDED", False),
    ],
)
def test_status_changes(
    sandbox_client: SandboxClient, receipt: dict[str, Any], before: str, after: str, legal: bool
) -> None:
    made = sandbox_client.created("Receipts", receipt | {"Status": before})
    path = f"Receipts/{made['ReceiptID']}"
    if legal:
        answer = sandbox_client.post(path, {"Status": after})
        assert answer.json()["Receipts"][0]["Status"] == after
    else:
        assert sandbox_client.errors("POST", path, {"Status": after}) == [STATUS]


def test_update_keeps_what_is_absent(
    sandbox_client: SandboxClient, receipt: dict[str, Any]
) -> None:
    made = sandbox_client.created("Receipts", receipt)
    body = {"ReceiptID": made["ReceiptID"], "Reference": "later"}
    found = exact(sandbox_client.post("Receipts", body))["Receipts"][0]
    assert found["Reference"] == "later"
    assert found["ReceiptNumber"] == made["ReceiptNumber"]
    assert found["LineItems"] == made["LineItems"]


def test_list_has_no_lines_and_takes_where(
    sandbox_client: SandboxClient, receipt: dict[str, Any]
) -> None:
    made = sandbox_client.created("Receipts", receipt | {"Status": "SUBMITTED"})
    where = 'Status=="SUBMITTED" AND Date==DateTime(2026,09,14)'
    answer = sandbox_client.get(
        "Receipts", params={"where": where, "order": "ReceiptNumber DESC", "page": 1}
    ).json()
    assert "pagination" not in answer
    newest = answer["Receipts"][0]
    assert newest["ReceiptID"] == made["ReceiptID"]
    assert newest["LineItems"] == []
    assert newest["Contact"]["Addresses"] == []
    assert (
        sandbox_client.get("Receipts", params={"where": 'Status=="DECLINED"'}).json()["Receipts"]
        == []
    )


@pytest.mark.parametrize("scope", ["accounting.invoices", "accounting.classicexpenses.read"])
def test_writing_needs_the_scope(
    sandbox_client: SandboxClient, receipt: dict[str, Any], scope: str
) -> None:
    headers = {"Authorization": f"Bearer {sandbox_client.token(scope=scope)['access_token']}"}
    assert sandbox_client.put("Receipts", receipt, headers=headers).status_code == 401
    status = 200 if scope.endswith(".read") else 401
    assert sandbox_client.get("Receipts", headers=headers).status_code == status


@schema.pytestmark
def test_answers_fit_the_description(
    sandbox_client: SandboxClient, receipt: dict[str, Any]
) -> None:
    made = sandbox_client.put("Receipts", receipt).json()
    sandbox_client.call(
        "PUT",
        f"Receipts/{made['Receipts'][0]['ReceiptID']}/Attachments/a.txt",
        data=b"x",
    )
    read = sandbox_client.get(f"Receipts/{made['Receipts'][0]['ReceiptID']}").json()
    assert read["Receipts"][0]["HasAttachments"] is True
    assert len(read["Receipts"][0]["Attachments"]) == 1
    for body in (made, read, sandbox_client.get("Receipts").json()):
        schema.check(body, "Receipts")
        for one in body["Receipts"]:
            schema.known_fields({k: v for k, v in one.items() if k != "ID"}, "Receipt")
    schema.check(sandbox_client.put("Receipts", {"Date": "2026-09-14"}).json(), "Error")


def test_sdk_drives_receipts(api: Any, tenant: str, receipt: dict[str, Any]) -> None:
    user = accounting.User(user_id=receipt["User"]["UserID"])
    body = accounting.Receipts(
        receipts=[
            accounting.Receipt(
                date=dt.date(2026, 9, 14),
                contact=accounting.Contact(name="City Taxis"),
                user=user,
                line_amount_types=accounting.LineAmountTypes.NOTAX,
                line_items=[
                    accounting.LineItem(
                        description="Taxi", quantity=2, unit_amount=20, account_code="493"
                    )
                ],
            )
        ]
    )
    made = api.create_receipt(tenant, body, unitdp=4).receipts[0]
    assert (made.total, made.line_items[0].tax_type) == (40, "NONE")
    change = accounting.Receipts(receipts=[accounting.Receipt(user=user, reference="R")])
    assert api.update_receipt(tenant, made.receipt_id, change).receipts[0].reference == "R"
    assert api.get_receipt(tenant, made.receipt_id).receipts[0].date == dt.date(2026, 9, 14)
    listed = api.get_receipts(tenant, where='Status=="DRAFT"', order="ReceiptNumber ASC")
    assert made.receipt_id in {one.receipt_id for one in listed.receipts}

"""Every refusal of the local Xero, in Xero's words where they are known."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import SandboxClient, exact

LINE = {"Description": "x", "Quantity": 1, "UnitAmount": 10, "AccountCode": "200"}


def line(**fields: Any) -> dict[str, Any]:
    found = LINE | fields
    return {"LineItems": [{k: v for k, v in found.items() if v is not None}]}


INVOICES = [
    ({"LineItems": []}, "One or more line items must be specified"),
    ({"Contact": None}, "A Contact must be specified for this type of transaction"),
    ({"Contact": {}}, "A Contact must be specified for this type of transaction"),
    ({"Status": "PAID"}, "Invoice not of valid status for creation"),
    ({"Status": "VOIDED"}, "Invoice not of valid status for creation"),
    (line(AccountCode="999"), "Account code '999' is not a valid code for this document."),
    (line(AccountCode="610"), "Account code '610' is not a valid code for this document."),
    (line(AccountCode="090"), "Account code '090' is not a valid code for this document."),
    (
        line(AccountCode="490", TaxType="NONE"),
        "Account code '490' has been archived, or has been deleted."
        " Each line item must reference a valid account.",
    ),
    (
        line(TaxType="NOPE"),
        "The TaxType code 'NOPE' does not exist or cannot be used for this type of transaction.",
    ),
    (
        line(TaxType="OUTPUT"),
        "The TaxType code 'OUTPUT' does not exist or cannot be used for this type of transaction.",
    ),
    (
        line(TaxType="INPUT2"),
        "The TaxType code 'INPUT2' cannot be used with account code '200'.",
    ),
    (
        line(LineAmount="9.99"),
        "The line total 9.99 does not match the expected line total 10.00",
    ),
    ({"CurrencyCode": "EUR"}, "Organisation is not subscribed to currency EUR"),
    ({"Type": "SALE"}, "The Type of an invoice must be ACCREC or ACCPAY"),
    ({"InvoiceNumber": "Nº 1"}, "The InvoiceNumber may only hold printable ASCII characters"),
    ({"Reference": "r" * 256}, "The Reference must not exceed 255 characters"),
    ({"Url": "not a url"}, "The Url must be a valid absolute URL"),
    ({"Status": "AUTHORISED"}, "The DueDate must be specified for an approved invoice"),
    (
        {"Status": "AUTHORISED", "DueDate": "2026-12-01"} | line(AccountCode=None),
        "An account code must be specified for each line of an approved invoice",
    ),
    (line(Description=None), "A description must be specified for each line item"),
    (line(Description="d" * 4001), "The Description must not exceed 4000 characters"),
    (line(ItemCode="no such"), "Item code 'no such' is not valid"),
    (line(DiscountRate=101), "The DiscountRate must be between 0 and 100"),
    (line(UnitAmount=10**10), "The line amount must not exceed 9,999,999,999.99"),
    (
        {"Type": "ACCPAY"} | line(AccountCode="300", DiscountRate=5),
        "Discounts can only be applied to ACCREC invoices",
    ),
    (
        {"Contact": {"ContactID": "11111111-1111-4111-8111-111111111111"}},
        "An existing Contact with the specified ContactID could not be found",
    ),
]


@pytest.mark.parametrize(("fields", "message"), INVOICES)
def test_invoice_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], message: str
) -> None:
    body = sandbox_client.invoice(**fields)
    assert sandbox_client.errors("PUT", "Invoices", body) == [message]


def test_all_faults_of_an_element_are_told_at_once(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.invoice(CurrencyCode="EUR", **line(AccountCode="999", TaxType="NOPE"))
    assert len(sandbox_client.errors("PUT", "Invoices", body)) == 3


def test_refused_line_carries_its_own_errors(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.invoice(LineItems=[LINE, LINE | {"AccountCode": "999"}])
    element = sandbox_client.put("Invoices", body).json()["Elements"][0]
    assert element["HasErrors"] is True
    assert element["LineItems"][0]["ValidationErrors"] == []
    assert element["LineItems"][1]["ValidationErrors"] == element["ValidationErrors"]


def test_error_body_has_the_measured_form(sandbox_client: SandboxClient) -> None:
    answer = sandbox_client.put("Contacts", {"Name": "", "EmailAddress": "nobody"})
    body = answer.json()
    assert answer.status_code == 400
    assert (body["ErrorNumber"], body["Type"], body["Message"]) == (
        10,
        "ValidationException",
        "A validation exception occurred",
    )
    assert body["Elements"][0]["HasValidationErrors"] is True
    assert body["Elements"][0]["ValidationErrors"] == [
        {"Message": "Contact name cannot be empty"},
        {"Message": "Email address must be valid."},
    ]


@pytest.mark.parametrize("address", ["nobody", "a@b", "ä@example.com", "a b@example.com", "a@.de"])
def test_bad_email_is_refused(sandbox_client: SandboxClient, address: str) -> None:
    body = {"Name": sandbox_client.name(), "EmailAddress": address}
    assert sandbox_client.errors("PUT", "Contacts", body) == ["Email address must be valid."]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Name": "<b>"}, "The contact name cannot contain < or >"),
        ({"FirstName": "f" * 256}, "The FirstName must not exceed 255 characters"),
        ({"ContactNumber": "1" * 51}, "The ContactNumber must not exceed 50 characters"),
        (
            {"Phones": [{"PhoneType": "DDI", "PhoneAreaCode": "1" * 11}]},
            "The DDI PhoneAreaCode must not exceed 10 characters",
        ),
        (
            {"Addresses": [{"AddressType": "STREET", "Country": "NZ1"}]},
            "The Country of an address may only hold letters",
        ),
        ({"DefaultCurrency": "USD"}, "Organisation is not subscribed to currency USD"),
    ],
)
def test_contact_is_refused(
    sandbox_client: SandboxClient, fields: dict[str, Any], message: str
) -> None:
    body = {"Name": sandbox_client.name()} | fields
    assert sandbox_client.errors("PUT", "Contacts", body) == [message]


def test_contact_name_is_unique_in_any_case(sandbox_client: SandboxClient) -> None:
    name = sandbox_client.name()
    sandbox_client.created("Contacts", {"Name": name})
    assert sandbox_client.errors("PUT", "Contacts", {"Name": name.upper()}) == [
        f"The contact name {name.upper()} is already assigned to another contact."
        " The contact name must be unique across all active contacts."
    ]


def test_contact_number_is_unique(sandbox_client: SandboxClient) -> None:
    number = sandbox_client.name("K")
    sandbox_client.created("Contacts", {"Name": sandbox_client.name(), "ContactNumber": number})
    body = {"Name": sandbox_client.name(), "ContactNumber": number}
    assert sandbox_client.errors("PUT", "Contacts", body) == [
        "Another contact has this contact number. Please enter a different contact number."
    ]


ARCHIVED = (
    "The specified contact details matched an archived contact."
    " Archived contacts cannot currently be edited via the API."
)


def test_archived_contact_cannot_be_touched_and_frees_its_name(
    sandbox_client: SandboxClient,
) -> None:
    name = sandbox_client.name()
    old = sandbox_client.created("Contacts", {"Name": name})["ContactID"]
    archive = {"ContactID": old, "ContactStatus": "ARCHIVED"}
    assert sandbox_client.post("Contacts", archive).status_code == 200
    for status in ("ARCHIVED", "ACTIVE"):
        body = {"ContactID": old, "ContactStatus": status}
        assert sandbox_client.errors("POST", "Contacts", body) == [ARCHIVED]
    invoice = sandbox_client.invoice(Contact={"ContactID": old})
    assert sandbox_client.errors("PUT", "Invoices", invoice) == [ARCHIVED]
    assert sandbox_client.created("Contacts", {"Name": name})["ContactID"] != old


def test_item_code_in_use_is_refused(sandbox_client: SandboxClient) -> None:
    code = sandbox_client.name("I")
    sandbox_client.created("Items", {"Code": code})
    assert sandbox_client.errors("PUT", "Items", {"Code": code}) == [
        f"Price List Item with Code '{code}' already exists"
    ]


def test_item_needs_a_code_of_thirty_characters(sandbox_client: SandboxClient) -> None:
    assert sandbox_client.errors("PUT", "Items", {"Name": "x"}) == [
        "Price List Item Code must be specified"
    ]
    assert sandbox_client.errors("PUT", "Items", {"Code": "c" * 31}) == [
        "The Code must not exceed 30 characters"
    ]


def test_invoice_number_in_use_is_refused(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.invoice()
    sandbox_client.created("Invoices", body)
    assert sandbox_client.errors("PUT", "Invoices", body) == ["Invoice # must be unique."]


def test_number_twice_in_one_batch_is_refused(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.invoice()
    answer = sandbox_client.put("Invoices?summarizeErrors=false", {"Invoices": [body, body]})
    assert [one["StatusAttributeString"] for one in answer.json()["Invoices"]] == ["OK", "ERROR"]


def test_bills_may_share_a_number(sandbox_client: SandboxClient) -> None:
    bill = sandbox_client.invoice(Type="ACCPAY", **line(AccountCode="300"))
    first = sandbox_client.created("Invoices", bill)
    assert sandbox_client.created("Invoices", bill)["InvoiceID"] != first["InvoiceID"]
    posted = sandbox_client.post("Invoices", bill).json()["Invoices"][0]
    assert posted["InvoiceID"] != first["InvoiceID"]


def test_unknown_invoice_id_is_refused(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.invoice(InvoiceID="11111111-1111-4111-8111-111111111111")
    assert sandbox_client.errors("POST", "Invoices", body) == [
        "An existing Invoice with the specified InvoiceID could not be found"
    ]


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        ("DRAFT", "SUBMITTED", True),
        ("DRAFT", "AUTHORISED", True),
        ("DRAFT", "DELETED", True),
        ("DRAFT", "VOIDED", False),
        ("SUBMITTED", "DRAFT", True),
        ("SUBMITTED", "DELETED", True),
        ("AUTHORISED", "VOIDED", True),
        ("AUTHORISED", "DRAFT", False),
        ("AUTHORISED", "DELETED", False),
        ("AUTHORISED", "PAID", False),
    ],
)
def test_only_legal_changes_of_status(
    sandbox_client: SandboxClient, before: str, after: str, allowed: bool
) -> None:
    body = sandbox_client.invoice(Status=before, DueDate="2026-12-01")
    made = sandbox_client.created("Invoices", body)
    change = {"InvoiceID": made["InvoiceID"], "Status": after}
    if not allowed:
        assert sandbox_client.errors("POST", "Invoices", change) == [
            "Invoice not of valid status for modification"
        ]
        return
    changed = exact(sandbox_client.post("Invoices", change))["Invoices"][0]
    assert changed["Status"] == after
    if after in ("DELETED", "VOIDED"):
        edit = {"InvoiceID": made["InvoiceID"], "Reference": "late"}
        assert sandbox_client.errors("POST", "Invoices", edit) == [
            "Invoice not of valid status for modification"
        ]


def test_type_cannot_change(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Invoices", sandbox_client.invoice())
    change = {"InvoiceID": made["InvoiceID"], "Type": "ACCPAY"}
    assert sandbox_client.errors("POST", "Invoices", change) == [
        "The Type of an invoice cannot be changed"
    ]


def test_locked_period_refuses_new_and_old_documents(sandbox_client: SandboxClient) -> None:
    message = ["The document date cannot be before the period lock date"]
    approved = {"Status": "AUTHORISED", "DueDate": "2020-06-30"}
    old = sandbox_client.created("Invoices", sandbox_client.invoice(Date="2020-03-31", **approved))
    draft = sandbox_client.created("Invoices", sandbox_client.invoice(Date="2020-03-31"))
    path = f"organisations/{sandbox_client.tenant}"
    sandbox_client.control(path, {"PeriodLockDate": "2020-03-31"})
    try:
        body = sandbox_client.invoice(Date="2020-03-30", **approved)
        assert sandbox_client.errors("PUT", "Invoices", body) == message
        # A draft counts nowhere yet: it may be there, but not be approved.
        sandbox_client.created("Invoices", body | {"Status": "DRAFT"})
        wanted = {"InvoiceID": draft["InvoiceID"], **approved}
        assert sandbox_client.errors("POST", "Invoices", wanted) == message
        change = {"InvoiceID": old["InvoiceID"], "Reference": "late"}
        assert sandbox_client.errors("POST", "Invoices", change) == message
        sandbox_client.created("Invoices", sandbox_client.invoice(Date="2020-04-01"))
        shown = sandbox_client.get("Organisation").json()["Organisations"][0]
        assert shown["PeriodLockDate"] == "/Date(1585612800000+0000)/"
    finally:
        sandbox_client.control(path, {"PeriodLockDate": None})


@pytest.mark.parametrize(
    "body", ["{", '{"Invoices": "x"}', "[]", "3", '{"Type": "ACCREC", "LineItems": "x"}']
)
def test_unreadable_body_is_post_data_invalid(sandbox_client: SandboxClient, body: str) -> None:
    answer = sandbox_client.call("PUT", "Invoices", data=body)
    assert answer.status_code == 400
    assert answer.json()["ErrorNumber"] == 14


@pytest.mark.parametrize("value", ["two", "NaN", "1e999", True, [1]])
def test_number_that_is_none_is_post_data_invalid(
    sandbox_client: SandboxClient, value: object
) -> None:
    body = sandbox_client.invoice(LineItems=[LINE | {"Quantity": value}])
    answer = sandbox_client.put("Invoices", body)
    assert (answer.status_code, answer.json()["ErrorNumber"]) == (400, 14)

# ruff: noqa: F811
"""Quotes of the local Xero, and how they differ from its other documents."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D
from typing import Any

import pytest

from . import test_sandbox_schema as schema
from .conftest import SandboxClient, exact
from .test_sandbox_sdk import accounting, api, api_client, tenant  # noqa: F401

ZERO = "00000000-0000-0000-0000-000000000000"
STATUS = "Quote status change is invalid"
LINE = {"Description": "Beans", "Quantity": 1, "UnitAmount": 10, "AccountCode": "200"}
STATUSES = ("DRAFT", "SENT", "DECLINED", "ACCEPTED", "INVOICED", "DELETED")


@pytest.fixture(scope="module")
def customer(sandbox_client: SandboxClient) -> dict[str, str]:
    body = {"Name": sandbox_client.name("Customer"), "EmailAddress": "ana@example.com"}
    made = sandbox_client.created("Contacts", body)
    return {"ContactID": made["ContactID"]}


@pytest.fixture
def quote(sandbox_client: SandboxClient, customer: dict[str, str]) -> dict[str, Any]:
    """An acceptable quote of a number nobody has used."""
    return {
        "QuoteNumber": sandbox_client.name("Q"),
        "Contact": customer,
        "Date": "2026-09-14",
        "LineItems": [LINE],
    }


def changed(client: SandboxClient, made: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = client.post(f"Quotes/{made['QuoteID']}", fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = exact(answer)["Quotes"][0]
    return found


def test_quote_is_shown_as_measured(
    sandbox_client: SandboxClient, quote: dict[str, Any], customer: dict[str, str]
) -> None:
    body = quote | {"ExpiryDate": "2026-10-14", "Title": "T", "Summary": "S", "Terms": "Cash"}
    answer = sandbox_client.put("Quotes", body)
    assert answer.headers["Content-Type"] == "application/json"
    made = exact(answer)["Quotes"][0]
    assert made["Status"] == "DRAFT"
    assert made["LineAmountTypes"] == "EXCLUSIVE"
    assert set(made["Contact"]) == {"ContactID", "Name", "EmailAddress"}
    assert made["Contact"]["EmailAddress"] == "ana@example.com"
    assert made["Date"] == "/Date(1789344000000)/"
    assert made["DateString"] == "2026-09-14T00:00:00"
    assert made["ExpiryDate"] == "/Date(1791936000000)/"
    assert made["UpdatedDateUTC"].endswith(")/")
    assert "+" not in made["UpdatedDateUTC"]
    assert made["StatusAttributeString"] == "OK"
    assert (made["SubTotal"], made["TotalTax"], made["Total"]) == (10, D("1.50"), D("11.50"))
    assert made["LineItems"][0]["TaxType"] == "OUTPUT2"
    assert (made["Title"], made["Summary"], made["Terms"]) == ("T", "S", "Cash")
    read = sandbox_client.get(f"Quotes/{made['QuoteID']}")
    assert read.headers["Content-Type"] == "application/json"
    assert exact(read)["Quotes"][0] == made


@pytest.mark.parametrize(
    ("query", "together"), [("", True), ("?summarizeErrors=false", False), ("?page=1", True)]
)
def test_envelope_begins_with_summarize_errors(
    sandbox_client: SandboxClient, quote: dict[str, Any], query: str, together: bool
) -> None:
    answers = [sandbox_client.get(f"Quotes{query}").json()]
    if "page" not in query:
        answers.append(sandbox_client.post(f"Quotes{query}", quote).json())
    for body in answers:
        assert list(body) == [
            "SummarizeErrors",
            "Id",
            "Status",
            "ProviderName",
            "DateTimeUTC",
            "Quotes",
        ]
        assert body["SummarizeErrors"] is together


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("Exclusive", "EXCLUSIVE"),
        ("inclusive", "INCLUSIVE"),
        ("NOTAX", "NOTAX"),
        ("NoTax", "NOTAX"),
        (None, "EXCLUSIVE"),
    ],
)
def test_amount_types_go_out_in_upper_case(
    sandbox_client: SandboxClient, quote: dict[str, Any], sent: str | None, shown: str
) -> None:
    made = sandbox_client.created("Quotes", quote | {"LineAmountTypes": sent})
    assert made["LineAmountTypes"] == shown
    assert made["TotalTax"] == {
        "EXCLUSIVE": D("1.50"),
        "INCLUSIVE": D("1.30"),
        "NOTAX": D("0.00"),
    }.get(shown)


def test_unit_amounts_always_keep_four_decimals(
    sandbox_client: SandboxClient, quote: dict[str, Any]
) -> None:
    body = quote | {"LineItems": [LINE | {"Quantity": 100, "UnitAmount": "1.23456"}]}
    made = sandbox_client.created("Quotes", body)
    assert made["LineItems"][0]["UnitAmount"] == D("1.2346")
    assert made["LineItems"][0]["LineAmount"] == D("123.46")


@pytest.mark.parametrize("discount", [{"DiscountRate": 10}, {"DiscountAmount": 1}])
def test_discounts_are_allowed(
    sandbox_client: SandboxClient, quote: dict[str, Any], discount: dict[str, int]
) -> None:
    made = sandbox_client.created("Quotes", quote | {"LineItems": [LINE | discount]})
    assert (made["SubTotal"], made["TotalDiscount"]) == (9, 1)


REFUSED = [
    ({"Contact": None}, "A Contact must be specified for this type of transaction"),
    ({"Date": None}, "The Date of a quote must be specified"),
    ({"LineItems": []}, "One or more line items must be specified"),
    ({"LineItems": None}, "One or more line items must be specified"),
    ({"QuoteNumber": "x" * 256}, "The QuoteNumber must not exceed 255 characters"),
    ({"Title": "x" * 101}, "The Title must not exceed 100 characters"),
    ({"Summary": "x" * 3001}, "The Summary must not exceed 3000 characters"),
    ({"Terms": "x" * 4001}, "The Terms must not exceed 4000 characters"),
    ({"Reference": "x" * 4001}, "The Reference must not exceed 4000 characters"),
    ({"ExpiryDate": "2026-09-13"}, "The ExpiryDate cannot be before the Date of the quote"),
    ({"Status": "DELETED"}, STATUS),
    ({"Status": "AUTHORISED"}, STATUS),
    ({"CurrencyCode": "EUR"}, "Organisation is not subscribed to currency EUR"),
    ({"LineItems": [LINE | {"AccountCode": "999"}]}, "Account code '999' is not a valid code"),
    ({"LineItems": [LINE | {"TaxType": "INPUT2"}]}, "The TaxType code 'INPUT2' cannot be used"),
    ({"LineItems": [LINE | {"LineAmount": 11}]}, "The line total 11.00 does not match the exp"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_quote_is_refused(
    sandbox_client: SandboxClient, quote: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    found = sandbox_client.errors("PUT", "Quotes", quote | fields)
    assert len(found) == 1
    assert found[0].startswith(message)


@pytest.mark.parametrize(
    "fields",
    [
        {"Title": "x" * 100},
        {"Summary": "x" * 3000},
        {"Terms": "x" * 4000},
        {"Reference": "x" * 4000},
    ],
)
def test_longest_texts_are_kept(
    sandbox_client: SandboxClient, quote: dict[str, Any], fields: dict[str, str]
) -> None:
    made = sandbox_client.created("Quotes", quote | fields)
    assert made | fields == made


def test_refused_quote_is_marked(sandbox_client: SandboxClient, quote: dict[str, Any]) -> None:
    bad = quote | {"LineItems": []}
    found = sandbox_client.put("Quotes?summarizeErrors=false", bad).json()["Quotes"][0]
    assert (found["QuoteID"], found["StatusAttributeString"]) == (ZERO, "ERROR")
    element = sandbox_client.put("Quotes", bad).json()["Elements"][0]
    assert element["StatusAttributeString"] == "ERROR"
    assert "HasErrors" not in element


def test_numbers_count_up(sandbox_client: SandboxClient, quote: dict[str, Any]) -> None:
    del quote["QuoteNumber"]
    first = sandbox_client.created("Quotes", quote)["QuoteNumber"]
    second = sandbox_client.created("Quotes", quote)["QuoteNumber"]
    assert first.startswith("QU-")
    assert int(second[3:]) == int(first[3:]) + 1


def test_number_is_unique(sandbox_client: SandboxClient, quote: dict[str, Any]) -> None:
    made = sandbox_client.created("Quotes", quote)
    assert sandbox_client.errors("PUT", "Quotes", quote) == ["Quote number must be unique"]
    answer = sandbox_client.post("Quotes", quote | {"Title": "again"})
    found = answer.json()["Quotes"][0]
    assert (found["QuoteID"], found["Title"]) == (made["QuoteID"], "again")


LEGAL = {
    "DRAFT": ("DRAFT", "SENT", "DECLINED", "ACCEPTED", "INVOICED", "DELETED"),
    "SENT": ("SENT", "DRAFT", "DECLINED", "ACCEPTED", "INVOICED", "DELETED"),
    "DECLINED": ("DECLINED", "DRAFT", "SENT", "ACCEPTED", "DELETED"),
    "ACCEPTED": ("ACCEPTED", "DRAFT", "SENT", "DECLINED", "INVOICED", "DELETED"),
    "INVOICED": ("INVOICED", "DRAFT", "SENT", "ACCEPTED", "DELETED"),
    "DELETED": (),
}


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("after", STATUSES)
def test_status_changes(
    sandbox_client: SandboxClient, quote: dict[str, Any], before: str, after: str
) -> None:
    first = "DRAFT" if before == "DELETED" else before
    made = sandbox_client.created("Quotes", quote | {"Status": first})
    if before == "DELETED":
        changed(sandbox_client, made, Status=before)
    path = f"Quotes/{made['QuoteID']}"
    if after in LEGAL[before]:
        assert changed(sandbox_client, made, Status=after)["Status"] == after
    else:
        assert sandbox_client.errors("POST", path, {"Status": after}) == [STATUS]


def test_update_keeps_what_is_absent(sandbox_client: SandboxClient, quote: dict[str, Any]) -> None:
    made = sandbox_client.created("Quotes", quote | {"Terms": "Cash"})
    found = changed(sandbox_client, made, Reference="R")
    assert (found["Terms"], found["Reference"], found["Date"]) == ("Cash", "R", made["Date"])
    assert found["LineItems"] == made["LineItems"]


def test_list_comes_without_pagination_and_with_lines(
    sandbox_client: SandboxClient, quote: dict[str, Any]
) -> None:
    made = sandbox_client.created("Quotes", quote)
    whole = sandbox_client.get("Quotes").json()
    paged = sandbox_client.get("Quotes?page=1&pageSize=1").json()
    assert "pagination" not in whole
    assert "pagination" not in paged
    assert len(paged["Quotes"]) == min(100, len(whole["Quotes"])) > 1
    assert sandbox_client.get("Quotes?page=99").json()["Quotes"] == []
    listed = sandbox_client.get(f"Quotes?QuoteNumber={made['QuoteNumber']}").json()["Quotes"]
    assert listed[0]["LineItems"][0]["Description"] == "Beans"


def test_list_is_narrowed(sandbox_client: SandboxClient, quote: dict[str, Any]) -> None:
    contact = sandbox_client.created("Contacts", {"Name": sandbox_client.name()})
    whose = {"Contact": {"ContactID": contact["ContactID"]}}
    numbers = []
    for day, expiry, status in (
        ("2031-01-01", "2031-02-01", "DRAFT"),
        ("2031-01-02", "2031-02-02", "SENT"),
        ("2031-01-03", "2031-02-03", "SENT"),
    ):
        numbers.append(sandbox_client.name("Q"))
        fields = {"QuoteNumber": numbers[-1], "Date": day, "ExpiryDate": expiry, "Status": status}
        sandbox_client.created("Quotes", quote | whose | fields)

    def found(query: str) -> list[str]:
        whom = f"ContactID={contact['ContactID']}&"
        members = sandbox_client.get(f"Quotes?{whom}{query}").json()["Quotes"]
        return [one["QuoteNumber"] for one in members]

    assert found("") == numbers
    assert found("DateFrom=2031-01-02") == numbers[1:]
    assert found("DateTo=2031-01-02") == numbers[:2]
    assert found("ExpiryDateFrom=2031-02-02&ExpiryDateTo=2031-02-02") == [numbers[1]]
    assert found("Status=SENT&order=Date DESC") == [numbers[2], numbers[1]]
    assert found(f"QuoteNumber={numbers[0].lower()}") == [numbers[0]]
    assert found("where=Status%3D%3D%22DRAFT%22") == numbers


@pytest.mark.parametrize("scope", ["accounting.contacts", "accounting.invoices.read"])
def test_writing_needs_the_scope(
    sandbox_client: SandboxClient, quote: dict[str, Any], scope: str
) -> None:
    headers = {"Authorization": f"Bearer {sandbox_client.token(scope=scope)['access_token']}"}
    assert sandbox_client.put("Quotes", quote, headers=headers).status_code == 401
    status = 200 if scope.endswith(".read") else 401
    assert sandbox_client.get("Quotes", headers=headers).status_code == status


def test_lock_dates_do_not_concern_quotes(
    sandbox_client: SandboxClient, quote: dict[str, Any]
) -> None:
    path = f"organisations/{sandbox_client.tenant}"
    sandbox_client.control(path, {"PeriodLockDate": "2026-12-31"})
    try:
        sandbox_client.created("Quotes", quote)
    finally:
        sandbox_client.control(path, {"PeriodLockDate": None})


@schema.pytestmark
def test_answers_fit_the_description(sandbox_client: SandboxClient, quote: dict[str, Any]) -> None:
    full = quote | {
        "ExpiryDate": "2026-10-14",
        "Title": "T",
        "Summary": "S",
        "LineItems": [LINE | {"DiscountRate": 5}],
    }
    bad = {"QuoteNumber": "x"}
    written = sandbox_client.put("Quotes?summarizeErrors=false", {"Quotes": [full, bad]}).json()
    listed = sandbox_client.get("Quotes").json()
    schema.check(written, "Quotes")
    schema.check(listed, "Quotes")
    schema.check(sandbox_client.put("Quotes", bad).json(), "Error")
    for one in written["Quotes"] + listed["Quotes"]:
        schema.known_fields(one, "Quote")


def test_sdk_drives_quotes(
    api: Any, tenant: str, sandbox_client: SandboxClient, customer: dict[str, str]
) -> None:
    number = sandbox_client.name("SDK")
    contact = accounting.Contact(contact_id=customer["ContactID"])
    line = accounting.LineItem(
        description="Beans", quantity=2, unit_amount=1.2345, account_code="200"
    )
    body = accounting.Quotes(
        quotes=[
            accounting.Quote(
                quote_number=number,
                contact=contact,
                date=dt.date(2026, 9, 14),
                expiry_date=dt.date(2026, 10, 14),
                line_amount_types=accounting.QuoteLineAmountTypes.INCLUSIVE,
                line_items=[line],
            )
        ]
    )
    made = api.create_quotes(tenant, body).quotes[0]
    assert made.line_amount_types.value == "INCLUSIVE"
    assert (made.date, made.expiry_date) == (dt.date(2026, 9, 14), dt.date(2026, 10, 14))
    assert made.total == D("2.47")
    sent = accounting.Quotes(
        quotes=[
            accounting.Quote(
                quote_id=made.quote_id, status=accounting.QuoteStatusCodes.SENT, contact=contact
            )
        ]
    )
    assert api.update_quote(tenant, made.quote_id, sent).quotes[0].status.value == "SENT"
    assert api.update_or_create_quotes(tenant, sent).quotes[0].quote_id == made.quote_id
    assert api.get_quote(tenant, made.quote_id).quotes[0].quote_number == number
    listed = api.get_quotes(
        tenant,
        date_from="2026-09-14",
        date_to="2026-09-14",
        expiry_date_from="2026-10-14",
        expiry_date_to="2026-10-14",
        contact_id=customer["ContactID"],
        status="SENT",
        page=1,
        order="QuoteNumber ASC",
        quote_number=number,
    )
    assert [one.quote_id for one in listed.quotes] == [made.quote_id]

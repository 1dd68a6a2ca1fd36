"""PUT, POST and batches against the local Xero."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from .conftest import SandboxClient, exact

ZERO = "00000000-0000-0000-0000-000000000000"


def test_post_with_a_taken_number_updates_that_invoice(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Invoices", sandbox_client.invoice())
    other = sandbox_client.invoice(InvoiceNumber=made["InvoiceNumber"], Reference="overwritten")
    answer = exact(sandbox_client.post("Invoices", other))["Invoices"][0]
    assert answer["InvoiceID"] == made["InvoiceID"]
    assert answer["Reference"] == "overwritten"


def test_post_without_a_match_creates(sandbox_client: SandboxClient) -> None:
    answer = sandbox_client.post("Invoices", sandbox_client.invoice())
    assert answer.json()["Invoices"][0]["InvoiceID"] != ZERO


def test_post_to_an_id_updates_and_keeps_what_is_absent(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Invoices", sandbox_client.invoice(Reference="kept"))
    path = f"Invoices/{made['InvoiceID']}"
    changed = exact(sandbox_client.post(path, {"DueDate": "2026-12-24"}))["Invoices"][0]
    assert changed["Reference"] == "kept"
    assert changed["DueDateString"] == "2026-12-24T00:00:00"
    assert changed["LineItems"] == made["LineItems"]
    assert sandbox_client.post(f"Invoices/{ZERO[:-1]}1", {}).status_code == 404
    assert sandbox_client.put(path, {}).status_code == 405


def test_lines_are_replaced_and_matched_by_their_id(sandbox_client: SandboxClient) -> None:
    line = {"Description": "a", "Quantity": 2, "UnitAmount": 10, "AccountCode": "200"}
    body = sandbox_client.invoice(LineItems=[line, line | {"Description": "b"}])
    made = sandbox_client.created("Invoices", body)
    kept = made["LineItems"][1]["LineItemID"]
    change = {
        "InvoiceID": made["InvoiceID"],
        "LineItems": [{"LineItemID": kept, "UnitAmount": 7}, line | {"Description": "c"}],
    }
    found = exact(sandbox_client.post("Invoices", change))["Invoices"][0]["LineItems"]
    assert [one["Description"] for one in found] == ["b", "c"]
    assert found[0]["LineItemID"] == kept
    assert found[0]["LineAmount"] == 14
    assert found[1]["LineItemID"] not in {one["LineItemID"] for one in made["LineItems"]}


def test_change_of_amount_types_works_the_lines_out_again(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Invoices", sandbox_client.invoice())
    change = {"InvoiceID": made["InvoiceID"], "LineAmountTypes": "INCLUSIVE"}
    found = exact(sandbox_client.post("Invoices", change))["Invoices"][0]
    assert (found["LineAmountTypes"], found["Total"], found["TotalTax"]) == (
        "Inclusive",
        10,
        D("1.30"),
    )


def test_number_is_given_when_absent(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.invoice()
    del body["InvoiceNumber"]
    first = sandbox_client.created("Invoices", body)["InvoiceNumber"]
    second = sandbox_client.created("Invoices", body)["InvoiceNumber"]
    assert first.startswith("INV-")
    assert int(second[4:]) == int(first[4:]) + 1


def test_contact_known_by_name_only_is_created_silently(sandbox_client: SandboxClient) -> None:
    name = sandbox_client.name("New Customer")
    made = sandbox_client.created("Invoices", sandbox_client.invoice(Contact={"Name": name}))
    again = sandbox_client.created(
        "Invoices", sandbox_client.invoice(Contact={"Name": name.lower()})
    )
    assert again["Contact"]["ContactID"] == made["Contact"]["ContactID"]
    assert again["Contact"]["Name"] == name


def test_refused_invoice_creates_no_contact(sandbox_client: SandboxClient) -> None:
    name = sandbox_client.name("Nobody")
    body = sandbox_client.invoice(Contact={"Name": name}, CurrencyCode="EUR")
    sandbox_client.put("Invoices?summarizeErrors=false", body)
    found = sandbox_client.get("Contacts", params={"where": f'Name=="{name}"'})
    assert found.json()["Contacts"] == []


def test_roles_follow_from_documents(sandbox_client: SandboxClient) -> None:
    body = {"Name": sandbox_client.name(), "IsCustomer": True, "IsSupplier": True}
    made = sandbox_client.created("Contacts", body)
    assert (made["IsCustomer"], made["IsSupplier"]) == (False, False)
    contact = {"ContactID": made["ContactID"]}
    sandbox_client.created("Invoices", sandbox_client.invoice(Contact=contact))
    found = sandbox_client.get(f"Contacts/{made['ContactID']}").json()["Contacts"][0]
    assert (found["IsCustomer"], found["IsSupplier"]) == (True, False)
    assert found["UpdatedDateUTC"] == made["UpdatedDateUTC"]


def test_contact_is_updated_by_number_and_by_name(sandbox_client: SandboxClient) -> None:
    name, number = sandbox_client.name(), sandbox_client.name("K")
    made = sandbox_client.created("Contacts", {"Name": name, "ContactNumber": number})
    renamed = {"ContactNumber": number, "Name": f"{name} Limited", "TaxNumber": "1-2"}
    found = sandbox_client.post("Contacts", renamed).json()["Contacts"][0]
    assert (found["ContactID"], found["Name"]) == (made["ContactID"], f"{name} Limited")
    by_name = {"Name": f"{name} limited", "FirstName": "Ana"}
    found = sandbox_client.post("Contacts", by_name).json()["Contacts"][0]
    assert found["ContactID"] == made["ContactID"]
    assert (found["FirstName"], found["TaxNumber"]) == ("Ana", "1-2")


def test_phones_and_addresses_merge_by_type(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created(
        "Contacts",
        {
            "Name": sandbox_client.name(),
            "Phones": [{"PhoneType": "MOBILE", "PhoneNumber": "1"}],
            "Addresses": [{"AddressType": "STREET", "City": "Nelson", "Country": "New Zealand"}],
        },
    )
    change = {
        "ContactID": made["ContactID"],
        "Phones": [{"PhoneType": "DDI", "PhoneNumber": "2"}],
        "Addresses": [{"AddressType": "STREET", "Region": "Tasman"}],
    }
    found = sandbox_client.post("Contacts", change).json()["Contacts"][0]
    assert {one["PhoneType"]: one["PhoneNumber"] for one in found["Phones"]} == {
        "DDI": "2",
        "DEFAULT": "",
        "FAX": "",
        "MOBILE": "1",
    }
    street = next(one for one in found["Addresses"] if one["AddressType"] == "STREET")
    assert (street["City"], street["Region"]) == ("Nelson", "Tasman")
    assert len(found["Addresses"]) == 2


def test_item_is_updated_by_code_and_deleted(sandbox_client: SandboxClient) -> None:
    code = sandbox_client.name("I")
    made = sandbox_client.created("Items", {"Code": code, "Name": "One"})
    change = {"Code": code, "Name": "Two", "SalesDetails": {"AccountCode": "200"}}
    found = sandbox_client.post("Items", change).json()["Items"][0]
    assert (found["ItemID"], found["Name"]) == (made["ItemID"], "Two")
    assert found["SalesDetails"] == {"AccountCode": "200", "TaxType": "OUTPUT2"}
    change = {"ItemID": made["ItemID"], "Code": code, "IsSold": False}
    found = sandbox_client.post("Items", change).json()["Items"][0]
    assert found["SalesDetails"] == {}
    assert sandbox_client.call("DELETE", f"Items/{made['ItemID']}").status_code == 204
    assert sandbox_client.get(f"Items/{code}").status_code == 404


def test_one_bad_element_refuses_the_whole_batch(sandbox_client: SandboxClient) -> None:
    good, bad = sandbox_client.invoice(), sandbox_client.invoice(CurrencyCode="EUR")
    before = sandbox_client.control("counts")[sandbox_client.tenant]["invoices"]
    answer = sandbox_client.put("Invoices", {"Invoices": [good, bad]})
    assert answer.status_code == 400
    first, second = answer.json()["Elements"]
    assert (first["InvoiceID"], first["ValidationErrors"]) == (ZERO, [])
    assert (second["InvoiceID"], len(second["ValidationErrors"])) == (ZERO, 1)
    assert sandbox_client.control("counts")[sandbox_client.tenant]["invoices"] == before
    sandbox_client.created("Invoices", good)


def test_without_summary_good_elements_are_kept_in_order(sandbox_client: SandboxClient) -> None:
    batch = [
        sandbox_client.invoice(),
        sandbox_client.invoice(CurrencyCode="EUR"),
        sandbox_client.invoice(),
    ]
    for spelling in ("false", "False"):
        answer = sandbox_client.put(f"Invoices?summarizeErrors={spelling}", {"invoices": batch})
        assert answer.status_code == 200
        found = answer.json()["Invoices"]
        assert [one["InvoiceNumber"] for one in found] == [one["InvoiceNumber"] for one in batch]
        if spelling == "false":
            assert [one["StatusAttributeString"] for one in found] == ["OK", "ERROR", "OK"]
            assert found[1]["InvoiceID"] == ZERO
            assert found[1]["ValidationErrors"] == [
                {"Message": "Organisation is not subscribed to currency EUR"}
            ]
        else:
            assert {one["StatusAttributeString"] for one in found} == {"ERROR"}


def test_dates_are_taken_in_three_forms(sandbox_client: SandboxClient) -> None:
    for sent in ("2026-09-14", "2026-09-14T00:00:00", "/Date(1789344000000+0000)/"):
        made = sandbox_client.created("Invoices", sandbox_client.invoice(Date=sent))
        assert made["DateString"] == "2026-09-14T00:00:00"
        assert made["Date"] == "/Date(1789344000000+0000)/"


def test_other_organisation_has_its_own_books() -> None:
    from xtiger.sandbox import start

    with start() as running:
        client = SandboxClient(running)
        made = client.created("Invoices", client.invoice())
        assert made["CurrencyCode"] == "NZD"
        thames = running.organisations[1]
        assert (thames["name"], thames["country"], thames["currency"]) == (
            "Thames Supplies",
            "GB",
            "GBP",
        )
        counts = client.control("counts")
        assert counts[client.tenant]["invoices"] == 1
        assert counts[thames["tenant_id"]]["invoices"] == 0


def test_what_does_not_exist_is_404_or_405(sandbox_client: SandboxClient) -> None:
    answer = sandbox_client.get("Employees")
    assert (answer.status_code, answer.text) == (404, "")
    assert sandbox_client.post("Accounts", {"Code": "1"}).status_code == 405
    assert sandbox_client.call("DELETE", f"Invoices/{ZERO}").status_code == 405


@pytest.mark.parametrize("how", ["", "?summarizeErrors=false"])
def test_a_body_that_cannot_be_read_keeps_none_of_its_elements(
    sandbox_client: SandboxClient, how: str
) -> None:
    contact = sandbox_client.name()
    good = sandbox_client.invoice(Contact={"Name": contact})
    bad = sandbox_client.invoice(LineItems="none")
    answer = sandbox_client.put(f"Invoices{how}", {"Invoices": [good, bad]})
    assert (answer.status_code, answer.json()["ErrorNumber"]) == (400, 14)
    assert sandbox_client.get(f"Invoices/{good['InvoiceNumber']}").status_code == 404
    found = sandbox_client.get("Contacts", params={"searchTerm": contact}).json()["Contacts"]
    assert found == []


@pytest.mark.parametrize("path", ["Invoices", "CreditNotes", "PurchaseOrders", "Quotes"])
@pytest.mark.parametrize("rate", [0, -1, "0.0000001"])
def test_a_currency_rate_must_be_more_than_nothing(
    sandbox_client: SandboxClient, path: str, rate: object
) -> None:
    known = {"Name": "Harbour Cafe", "ContactNumber": "RATES"}
    sandbox_client.post("Contacts", known)
    body = sandbox_client.invoice(CurrencyCode="AUD", CurrencyRate=rate, Contact=known)
    body |= {"Date": "2026-10-01", "Type": {"CreditNotes": "ACCRECCREDIT"}.get(path, "ACCREC")}
    found = sandbox_client.errors("PUT", path, body)
    assert found == ["The CurrencyRate must be greater than zero"]


def test_a_currency_rate_stays_until_the_currency_changes(sandbox_client: SandboxClient) -> None:
    body = sandbox_client.invoice(CurrencyCode="AUD", CurrencyRate="0.123456")
    path = f"Invoices/{sandbox_client.created('Invoices', body)['InvoiceID']}"
    same = {"CurrencyCode": "AUD", "Reference": "again"}
    kept = exact(sandbox_client.post(path, same))["Invoices"][0]
    assert kept["CurrencyRate"] == D("0.123456")
    base = exact(sandbox_client.post(path, {"CurrencyCode": "NZD"}))["Invoices"][0]
    assert base["CurrencyRate"] == 1
    fresh = exact(sandbox_client.post(path, {"CurrencyCode": "AUD"}))["Invoices"][0]
    assert fresh["CurrencyRate"] not in (1, D("0.123456"))


def test_an_account_sent_by_its_id_replaces_that_of_the_line(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Invoices", sandbox_client.invoice())
    accounts = {one["Code"]: one for one in sandbox_client.get("Accounts").json()["Accounts"]}
    line = {
        "LineItemID": made["LineItems"][0]["LineItemID"],
        "AccountID": accounts["260"]["AccountID"],
    }
    answer = sandbox_client.post(f"Invoices/{made['InvoiceID']}", {"LineItems": [line]})
    assert answer.json()["Invoices"][0]["LineItems"][0]["AccountCode"] == "260"


def test_a_discount_sent_alone_replaces_that_of_the_line(sandbox_client: SandboxClient) -> None:
    line = {"Description": "x", "UnitAmount": 10, "AccountCode": "200", "DiscountRate": 10}
    made = sandbox_client.created("Invoices", sandbox_client.invoice(LineItems=[line]))
    change = {"LineItemID": made["LineItems"][0]["LineItemID"], "DiscountAmount": 5}
    answer = sandbox_client.post(f"Invoices/{made['InvoiceID']}", {"LineItems": [change]})
    found = exact(answer)["Invoices"][0]["LineItems"][0]
    assert (found["DiscountAmount"], found["LineAmount"]) == (5, 5)
    assert "DiscountRate" not in found


def test_a_contact_made_by_a_document_obeys_the_lengths_of_contacts(
    sandbox_client: SandboxClient,
) -> None:
    contact = {"Name": sandbox_client.name(), "ContactNumber": "9" * 51}
    found = sandbox_client.errors("PUT", "Invoices", sandbox_client.invoice(Contact=contact))
    assert found == ["The ContactNumber must not exceed 50 characters"]


def test_a_name_of_null_is_absent(sandbox_client: SandboxClient) -> None:
    made = sandbox_client.created("Contacts", {"Name": sandbox_client.name()})
    body = {"ContactID": made["ContactID"], "Name": None, "FirstName": "Ana"}
    assert sandbox_client.post("Contacts", body).json()["Contacts"][0]["Name"] == made["Name"]

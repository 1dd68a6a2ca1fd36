"""What people see and do on the pages of the local Xero, through its own forms."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from xtiger.sandbox import start
from xtiger.sandbox.accounting.api import RESOURCES

from .conftest import SandboxClient


class Person:
    """Uses the pages as a browser without script and cookies does."""

    def __init__(self, client: SandboxClient) -> None:
        self.client = client
        self.base = client.running.api_url

    def page(self, path: str, status: int = 200) -> str:
        answer = requests.get(f"{self.base}{path}", timeout=10)
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"].startswith("text/html")
        return answer.text

    def see(self, path: str) -> str:
        """A page's words, without its marks."""
        return words(self.page(path))

    def fill(self, path: str, target: str, **fields: Any) -> requests.Response:
        """Sends one form of a page with some of its fields filled in."""
        text = self.page(path)
        address = target if target.startswith("/") else f"{path}/{target}"
        found = re.search(
            rf'<form method="post" action="{re.escape(address)}">(.*?)</form>', text, re.S
        )
        assert found, f"no form for {address} on {path}"
        form: dict[str, Any] = {}
        for tag in re.findall(r"<input [^>]*>", found[1]):
            name, value = attribute(tag, "name"), attribute(tag, "value")
            if 'type="checkbox"' in tag and " checked" not in tag:
                continue
            form[name] = [*form.get(name, []), value] if 'type="checkbox"' in tag else value
        for name, options in re.findall(r'<select name="(\w+)">(.*?)</select>', found[1], re.S):
            chosen = re.search(r'value="([^"]*)" selected', options)
            form[name] = (chosen or re.search(r'<option(?: value="([^"]*)")?', options))[1]  # type: ignore[index]
        for name in fields:
            assert name in form or 'type="checkbox"' in found[1], f"{name} is no field of the form"
        return requests.post(
            f"{self.base}{address}", data=form | fields, allow_redirects=False, timeout=10
        )

    def sure(self, path: str, target: str) -> requests.Response:
        """Presses a button that asks first, and answers its question with yes."""
        asked = self.fill(path, target)
        assert asked.status_code == 200
        assert "Back" in words(asked.text)
        return requests.post(
            f"{self.base}{path}/{target}",
            data={"form_token": token(asked.text), "sure": "yes"},
            allow_redirects=False,
            timeout=10,
        )

    def done(self, answer: requests.Response) -> str:
        """Follows the redirect after a form. Returns the words of that page."""
        assert answer.status_code == 303, answer.text
        return self.see(answer.headers["Location"])


def attribute(tag: str, name: str) -> str:
    found = re.search(rf'\b{name}="([^"]*)"', tag)
    return html.unescape(found[1]) if found else ""


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.fixture
def client() -> Iterator[SandboxClient]:
    with start() as running:
        yield SandboxClient(running)


@pytest.fixture
def person(client: SandboxClient) -> Person:
    return Person(client)


def approved(client: SandboxClient, **more: Any) -> dict[str, Any]:
    line = {"Description": "Coffee", "Quantity": 1, "UnitAmount": 100, "AccountCode": "200"}
    plain = {"Status": "AUTHORISED", "DueDate": "2026-12-20", "LineItems": [line]}
    return client.created("Invoices", client.invoice(**plain | more))


def at(client: SandboxClient, tab: str, key: str = "") -> str:
    return f"/organisations/{client.tenant}/{tab}" + (f"/{key}" if key else "")


def kept(client: SandboxClient, path: str) -> dict[str, Any]:
    body = client.get(path).json()
    found: dict[str, Any] = body[path.split("/")[0]][0]
    return found


# seeing


def test_every_kind_has_a_list_and_every_object_a_page(client: SandboxClient) -> None:
    person = Person(client)
    client.control(f"organisations/{client.tenant}", {"ClassicExpenses": True})
    furnish(client)
    menu = person.page(at(client, "invoices"))
    tabs = re.findall(rf'href="{at(client, "")}([a-z]+)"', menu)
    shown = {one.plural.lower() for one in RESOURCES.values()} - {"organisations"}
    assert set(tabs) == shown | {"bills"}
    for tab in tabs:
        text = person.page(at(client, tab))
        known = RESOURCES["invoices" if tab == "bills" else tab]
        links = set(re.findall(rf'href="({at(client, known.plural.lower())}/[^"/]+)"', text))
        for link in sorted(links)[:3]:
            person.page(link)
        if "GET/id" in known.methods and known.id_field:
            assert links or "Nothing here yet." in text, tab


def furnish(client: SandboxClient) -> None:
    invoice = approved(client)
    contact = {"ContactID": invoice["Contact"]["ContactID"]}
    line = {"Description": "Coffee", "Quantity": 1, "UnitAmount": 100, "AccountCode": "200"}
    client.created("Invoices", client.invoice(Type="ACCPAY", Contact={"Name": "Mill & Co"}))
    client.created("Items", {"Code": "BEANS", "SalesDetails": {"UnitPrice": "24.5"}})
    note = {"Type": "ACCRECCREDIT", "Contact": contact, "LineItems": [line]}
    client.created("CreditNotes", note | {"Status": "AUTHORISED"})
    client.created("Quotes", {"Contact": contact, "Date": "2026-11-01", "LineItems": [line]})
    client.created("PurchaseOrders", {"Contact": contact, "LineItems": [line]})
    spend = {"Contact": contact, "BankAccount": {"Code": "090"}, "LineItems": [line]}
    client.created("BankTransactions", spend | {"Type": "RECEIVE"})
    client.created("BankTransactions", spend | {"Type": "RECEIVE-PREPAYMENT"})
    client.created(
        "Payments",
        {
            "Invoice": {"InvoiceID": invoice["InvoiceID"]},
            "Account": {"Code": "090"},
            "Date": "2026-11-20",
            "Amount": 5,
        },
    )
    client.created("ContactGroups", {"Name": "VIP"})
    client.created("TrackingCategories", {"Name": "Region"})


def test_an_invoice_is_shown_as_an_accountant_reads_it(
    client: SandboxClient, person: Person
) -> None:
    made = approved(client, InvoiceNumber="INV-9", Reference="PO 7", Url="https://crm.example.com/")
    text = person.see(at(client, "invoices", made["InvoiceID"]))
    for part in (
        "INV-9 Authorised",
        "Contact Harbour Cafe",
        "Reference PO 7",
        "Due date 2026-12-20",
        "Type Sales invoice",
        "Subtotal 100.00 Tax 15.00 Total 115.00 Due 115.00",
        "https://crm.example.com/",
        "History",
    ):
        assert part in text


def test_bills_have_their_own_list(client: SandboxClient, person: Person) -> None:
    client.created("Invoices", client.invoice(Type="ACCPAY", InvoiceNumber="B-77"))
    client.created("Invoices", client.invoice(InvoiceNumber="S-1"))
    assert "B-77" in person.see(at(client, "bills"))
    assert "S-1" not in person.see(at(client, "bills"))
    assert "B-77" not in person.see(at(client, "invoices"))


def test_lists_can_be_searched(client: SandboxClient, person: Person) -> None:
    client.created("Invoices", client.invoice(InvoiceNumber="A_1", Contact={"Name": "Anchor"}))
    client.created("Invoices", client.invoice(InvoiceNumber="AX1", Contact={"Name": "Bell"}))
    assert "A_1" in person.see(at(client, "invoices") + "?q=a_1")
    assert "AX1" not in person.see(at(client, "invoices") + "?q=a_1")
    assert "AX1" in person.see(at(client, "invoices") + "?q=bell")
    assert "Nothing found." in person.see(at(client, "invoices") + "?q=%25")


def test_a_contact_shows_all_its_documents(client: SandboxClient, person: Person) -> None:
    furnish(client)
    contact = client.get("Contacts").json()["Contacts"][0]["ContactID"]
    text = person.see(at(client, "contacts", contact))
    for heading in ("Invoices", "Quotes", "Purchase orders", "Credit notes", "Bank transactions"):
        assert heading in text


@pytest.mark.parametrize(
    "path",
    [
        "/organisations/nobody",
        "/organisations/{tenant}/nothing",
        "/organisations/{tenant}/organisations",
        "/organisations/{tenant}/receipts",
        "/organisations/{tenant}/invoices/nobody",
        "/organisations/{tenant}/taxrates/NOPE",
        "/organisations/{tenant}/currencies/NZD",
        "/calls/999",
        "/calls/99999999999999999999999",
        "/calls/" + "9" * 5000,
        "/calls/-1",
        "/calls/\uff11",
        "/nothing",
    ],
)
def test_what_is_not_there_is_404(client: SandboxClient, path: str) -> None:
    client.get("Organisation")
    answer = requests.get(client.running.api_url + path.format(tenant=client.tenant), timeout=5)
    assert answer.status_code == 404
    assert "Faults and limits" in answer.text
    assert "There is nothing here" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_what_programs_ask_for_has_no_frame(client: SandboxClient) -> None:
    for path in ("/api.xro/1.0/Contacts", "/_control/nothing", "/_static/nothing.css"):
        answer = requests.get(client.running.api_url + path, timeout=5)
        assert answer.status_code == 404
        assert "Faults and limits" not in answer.text


def paid(client: SandboxClient, amount: object) -> str:
    """The id of a payment of a new invoice."""
    body = {
        "Invoice": {"InvoiceID": approved(client)["InvoiceID"]},
        "Account": {"Code": "090"},
        "Date": "2026-11-20",
        "Amount": amount,
    }
    return str(client.created("Payments", body)["PaymentID"])


def test_what_has_no_number_is_called_by_its_kind(client: SandboxClient, person: Person) -> None:
    furnish(client)
    payment = paid(client, 20)
    text = person.page(at(client, "payments", payment))
    assert "<h1>Payment of 20.00 " in text
    assert "<title>Payment of 20.00 " in text
    assert "Payment of 20.00" in person.see(at(client, "payments"))
    for tab in re.findall(rf'href="{at(client, "")}([a-z]+)"', person.page(at(client, "payments"))):
        listed = person.see(at(client, tab))
        assert "(no number)" not in listed, tab
        assert "Has account" not in listed, tab
    assert "Has account" not in words(text)
    bank = client.get("BankTransactions").json()["BankTransactions"][0]["BankTransactionID"]
    assert "Bank transaction of " in person.see(at(client, "banktransactions", bank))


def test_an_account_is_headed_by_code_and_name(client: SandboxClient, person: Person) -> None:
    account = kept(client, "Accounts/090")
    text = person.page(at(client, "accounts", account["AccountID"]))
    assert f"<h1>090 {account['Name']} " in text
    assert "<dt>Name</dt>" not in text


def test_pages_are_strict(client: SandboxClient) -> None:
    made = approved(client, Reference='<script>"x"')
    for path in (
        "/",
        f"/organisations/{client.tenant}",
        at(client, "invoices"),
        at(client, "invoices", made["InvoiceID"]),
        "/faults",
        "/webhooks",
        "/calls",
        "/calls/1",
    ):
        answer = requests.get(client.running.api_url + path, timeout=5)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert "Set-Cookie" not in answer.headers
        assert not re.search(r"<script|style=|<style|\bon\w+=", answer.text), path
        for label in re.findall(r"<(?:input|select)(?![^>]*hidden)[^>]*>", answer.text):
            before = answer.text[: answer.text.index(label)]
            assert before.rfind("<label") > before.rfind("</label"), label


# doing


def test_a_contact_is_edited(client: SandboxClient, person: Person) -> None:
    phone = {"PhoneType": "DEFAULT", "PhoneNumber": "1", "PhoneAreaCode": "09"}
    made = client.created("Contacts", {"Name": "Old", "FirstName": "Ana", "Phones": [phone]})
    path = at(client, "contacts", made["ContactID"])
    fields = {"Name": "New", "EmailAddress": "ana@example.com", "Phone": "555"}
    assert "Saved." in person.done(person.fill(path, "edit", **fields))
    found = kept(client, f"Contacts/{made['ContactID']}")
    assert (found["Name"], found["EmailAddress"]) == ("New", "ana@example.com")
    assert found["FirstName"] == "Ana"
    phone = next(one for one in found["Phones"] if one["PhoneType"] == "DEFAULT")
    assert (phone["PhoneNumber"], phone["PhoneAreaCode"]) == ("555", "09")


def test_refusals_are_xeros_and_keep_what_was_entered(
    client: SandboxClient, person: Person
) -> None:
    client.created("Contacts", {"Name": "Taken"})
    made = client.created("Contacts", {"Name": "Mine"})
    path = at(client, "contacts", made["ContactID"])
    answer = person.fill(path, "edit", Name="Taken", EmailAddress="no at")
    assert answer.status_code == 400
    text = words(answer.text)
    assert "The contact name Taken is already assigned to another contact." in text
    assert "Email address must be valid." in text
    assert 'value="no at"' in answer.text
    assert kept(client, f"Contacts/{made['ContactID']}")["Name"] == "Mine"


def test_a_contact_is_archived_for_good(client: SandboxClient, person: Person) -> None:
    made = client.created("Contacts", {"Name": "A"})
    path = at(client, "contacts", made["ContactID"])
    assert "Archived" in person.done(person.sure(path, "archive"))
    assert "<form method" not in person.page(path)
    assert "This contact stays archived" in person.see(path)
    assert kept(client, f"Contacts/{made['ContactID']}")["ContactStatus"] == "ARCHIVED"


def test_a_payment_is_recorded_and_removed(client: SandboxClient, person: Person) -> None:
    made = approved(client)
    path = at(client, "invoices", made["InvoiceID"])
    text = person.done(person.fill(path, "pay", Amount="40", Reference="part"))
    assert "Less paid 40.00 Due 75.00" in text
    too_much = person.fill(path, "pay", Amount="75.01")
    assert too_much.status_code == 400
    assert "Payment amount exceeds the amount outstanding on this document" in too_much.text
    assert 'value="75.01"' in too_much.text
    assert "Paid" in person.done(person.fill(path, "pay"))
    found = kept(client, f"Invoices/{made['InvoiceID']}")
    assert (found["Status"], found["AmountDue"]) == ("PAID", 0)
    assert found["FullyPaidOnDate"]
    payment = found["Payments"][0]["PaymentID"]
    gone = person.sure(at(client, "payments", payment), "status-DELETED")
    assert "Payment removed." in person.done(gone)
    assert kept(client, f"Invoices/{made['InvoiceID']}")["Status"] == "AUTHORISED"


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("", ""),
        ("-1", ""),
        ("many", "Amount must be an amount such as 1,000.00."),
        ("1e2", "Amount must be an amount such as 1,000.00."),
        ("1_0", "Amount must be an amount such as 1,000.00."),
        ("10,00", "Amount must be an amount such as 1,000.00."),
        ("\uff11\uff10", "Amount must be an amount such as 1,000.00."),
        ("10.005", "Amount can have no more than two decimals."),
        ("9" * 400, "Amount must be an amount such as 1,000.00."),
        ("9" * 30, ""),
    ],
)
def test_nonsense_amounts_are_refused(
    client: SandboxClient, person: Person, amount: str, said: str
) -> None:
    made = approved(client)
    answer = person.fill(at(client, "invoices", made["InvoiceID"]), "pay", Amount=amount)
    assert answer.status_code == 400
    assert f"That was refused: {said}" in words(answer.text)
    assert kept(client, f"Invoices/{made['InvoiceID']}")["Payments"] == []


def test_amounts_are_taken_as_they_are_printed(client: SandboxClient, person: Person) -> None:
    line = {"Description": "Coffee", "Quantity": 1, "UnitAmount": 2000, "AccountCode": "200"}
    made = approved(client, LineItems=[line])
    path = at(client, "invoices", made["InvoiceID"])
    assert 'value="2,300.00"' in person.page(path)
    text = person.done(person.fill(path, "pay", Amount="1,000.00"))
    assert "Payment recorded." in text
    assert "Less paid 1,000.00 Due 1,300.00" in text


def test_full_width_digits_are_no_amount(client: SandboxClient) -> None:
    for amount in ("\uff11\uff10", "1_0"):
        line = {"Description": "x", "UnitAmount": amount, "AccountCode": "200"}
        answer = client.put("Invoices", client.invoice(LineItems=[line]))
        assert answer.status_code == 400


@pytest.mark.parametrize("step", ["archive", "status-VOIDED", "status-DELETED", "remove"])
def test_what_ends_something_asks_first(client: SandboxClient, person: Person, step: str) -> None:
    tab, field, made = {
        "archive": ("contacts", "ContactID", client.created("Contacts", {"Name": "Mine"})),
        "status-VOIDED": ("invoices", "InvoiceID", approved(client, InvoiceNumber="INV-101")),
        "status-DELETED": ("payments", "PaymentID", {"PaymentID": paid(client, 20)}),
        "remove": ("items", "ItemID", client.created("Items", {"Code": "B", "Name": "N"})),
    }[step]
    path = at(client, tab, made[field])
    before = client.get(f"{tab}/{path.split('/')[-1]}").json()
    answer = person.fill(path, step)
    question = {
        "archive": "Archive Mine?",
        "status-VOIDED": "Void INV-101?",
        "status-DELETED": "Remove the payment of 20.00?",
        "remove": "Delete B N?",
    }[step]
    assert f"{question} It can't be undone." in words(answer.text)
    assert f'href="{path}">Back</a>' in answer.text
    assert not re.search(r"<script|style=", answer.text)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    after = client.get(f"{tab}/{path.split('/')[-1]}").json()
    assert list(before.values())[-1] == list(after.values())[-1]


def test_a_form_that_forgot_to_ask_does_nothing(client: SandboxClient, person: Person) -> None:
    """Also where the page offers the action no more."""
    made = client.created("Invoices", client.invoice())
    path = at(client, "invoices", made["InvoiceID"])
    given = {"form_token": token(person.page(path))}
    answer = requests.post(f"{person.base}{path}/status-VOIDED", data=given, timeout=5)
    assert answer.status_code == 200
    assert kept(client, f"Invoices/{made['InvoiceID']}")["Status"] == "DRAFT"
    for name in ("status-", "status-NOTHING", "nothing", "restore"):
        answer = requests.post(f"{person.base}{path}/{name}", data=given, timeout=5)
        assert answer.status_code == 400
        assert "This can no longer be done here." in answer.text


def test_the_address_of_a_form_leads_back(client: SandboxClient, person: Person) -> None:
    made = client.created("Contacts", {"Name": "Mine"})
    path = at(client, "contacts", made["ContactID"])
    for address, home in (
        (f"{path}/edit", path),
        (f"{path}/archive", path),
        (f"/organisations/{client.tenant}/locks", f"/organisations/{client.tenant}"),
        ("/faults/dial", "/faults"),
        ("/faults/limits", "/faults"),
        ("/webhooks/mishaps", "/webhooks"),
    ):
        answer = requests.get(person.base + address, timeout=5)
        assert answer.status_code == 200, address
        assert answer.url == person.base + home


def test_history_tells_pages_from_the_api(client: SandboxClient, person: Person) -> None:
    made = approved(client)
    path = at(client, "invoices", made["InvoiceID"])
    person.done(person.fill(path, "pay", Amount="1"))
    records = client.get(f"Invoices/{made['InvoiceID']}/History").json()["HistoryRecords"]
    assert [(one["User"], one["Details"]) for one in records] == [
        ("Rowan Ellis", "Changed on the page"),
        ("System Generated", "Received through the Xero API from Local Xero"),
    ]


def test_an_account_is_restored(client: SandboxClient, person: Person) -> None:
    account = kept(client, "Accounts/260")["AccountID"]
    path = at(client, "accounts", account)
    assert "Nothing can be booked to it until it is restored." in words(
        person.fill(path, "archive").text
    )
    person.done(person.sure(path, "archive"))
    text = person.done(person.fill(path, "restore"))
    assert "Restored." in text
    assert kept(client, "Accounts/260")["Status"] == "ACTIVE"
    assert "Restore" not in person.see(path)


def test_a_credit_note_is_refunded(client: SandboxClient, person: Person) -> None:
    furnish(client)
    note = client.get("CreditNotes").json()["CreditNotes"][0]["CreditNoteID"]
    text = person.done(person.fill(at(client, "creditnotes", note), "pay"))
    assert "Left 0.00" in text
    assert kept(client, f"CreditNotes/{note}")["Status"] == "PAID"


def test_an_invoice_is_voided_but_not_once_paid(client: SandboxClient, person: Person) -> None:
    made = approved(client)
    path = at(client, "invoices", made["InvoiceID"])
    stale = token(person.page(path))
    person.fill(path, "pay", Amount="1")
    answer = requests.post(
        f"{person.base}{path}/status-VOIDED",
        data={"form_token": stale, "sure": "yes"},
        timeout=5,
    )
    assert answer.status_code == 400
    assert "payments or credit notes allocated to it" in answer.text
    other = approved(client)
    path = at(client, "invoices", other["InvoiceID"])
    assert "Voided." in person.done(person.sure(path, "status-VOIDED"))
    assert kept(client, f"Invoices/{other['InvoiceID']}")["Status"] == "VOIDED"


def test_a_draft_is_approved_or_deleted(client: SandboxClient, person: Person) -> None:
    first = client.created("Invoices", client.invoice())
    path = at(client, "invoices", first["InvoiceID"])
    assert "Authorised" in person.done(person.fill(path, "status-AUTHORISED", DueDate="2026-12-31"))
    found = kept(client, f"Invoices/{first['InvoiceID']}")
    assert found["DueDateString"] == "2026-12-31T00:00:00"
    second = client.created("Invoices", client.invoice())
    path = at(client, "invoices", second["InvoiceID"])
    assert "Deleted." in person.done(person.sure(path, "status-DELETED"))
    assert "DELETED" in kept(client, f"Invoices/{second['InvoiceID']}")["Status"]
    assert "<form method" not in person.page(path)


def test_a_quote_is_sent_and_accepted(client: SandboxClient, person: Person) -> None:
    furnish(client)
    quote = client.get("Quotes").json()["Quotes"][0]["QuoteID"]
    path = at(client, "quotes", quote)
    assert "Sent" in person.done(person.fill(path, "status-SENT"))
    assert "Accepted" in person.done(person.fill(path, "status-ACCEPTED"))


def test_an_account_is_archived(client: SandboxClient, person: Person) -> None:
    accounts = client.get("Accounts").json()["Accounts"]
    code = next(one for one in accounts if one["Code"] == "260")
    path = at(client, "accounts", code["AccountID"])
    assert "Archived" in person.done(person.sure(path, "archive"))
    line = {"Description": "x", "Quantity": 1, "UnitAmount": 1, "AccountCode": "260"}
    refused = client.errors("PUT", "Invoices", client.invoice(LineItems=[line]))
    assert "has been archived, or has been deleted" in refused[0]


def test_an_item_is_deleted(client: SandboxClient, person: Person) -> None:
    made = client.created("Items", {"Code": "GONE"})
    text = person.done(person.sure(at(client, "items", made["ItemID"]), "remove"))
    assert "Deleted." in text
    assert client.get("Items/GONE").status_code == 404


def test_lock_dates_are_set_and_cleared(client: SandboxClient, person: Person) -> None:
    path = f"/organisations/{client.tenant}"
    person.done(person.fill(path, "locks", PeriodLockDate="2026-06-30"))
    body = client.invoice(Date="2026-06-30", DueDate="2026-07-30", Status="AUTHORISED")
    assert "The document date cannot be before the period lock date" in str(
        client.errors("PUT", "Invoices", body)
    )
    assert 'value="2026-06-30"' in person.page(path)
    person.done(person.fill(path, "locks", PeriodLockDate=""))
    assert client.put("Invoices", body).status_code == 200
    assert person.fill(path, "locks", PeriodLockDate="soon").status_code == 400


def test_what_people_do_is_told_by_webhook(client: SandboxClient, person: Person) -> None:
    heard: list[Any] = []
    client.running._sandbox.state.listeners.append(heard.extend)
    made = approved(client)
    heard.clear()
    person.sure(at(client, "invoices", made["InvoiceID"]), "status-VOIDED")
    assert [(one.kind, one.id, one.created) for one in heard] == [
        ("invoice", made["InvoiceID"], False)
    ]


# forms no page of ours sent


def token(text: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', text)
    assert found
    return found[1]


@pytest.mark.parametrize("given", [{}, {"form_token": ""}, {"form_token": "x"}])
def test_a_form_without_our_token_is_refused(
    client: SandboxClient, person: Person, given: dict[str, str]
) -> None:
    made = client.created("Contacts", {"Name": "A"})
    for path in (
        at(client, "contacts", made["ContactID"]) + "/archive",
        f"/organisations/{client.tenant}/locks",
        "/faults",
        "/faults/dial",
        "/faults/limits",
        "/webhooks",
        "/webhooks/mishaps",
    ):
        answer = requests.post(person.base + path, data=given, timeout=5)
        assert answer.status_code == 400, path
    assert kept(client, f"Contacts/{made['ContactID']}")["ContactStatus"] == "ACTIVE"
    assert client.control("dial")["percent"] == 0


def test_a_form_of_another_origin_is_refused(client: SandboxClient, person: Person) -> None:
    data = {"form_token": token(person.page("/faults")), "fault": "503"}
    for origin, status in (
        ("http://evil.example.com", 400),
        ("http://localhost:1", 400),
        ("null", 303),
        (client.running.api_url, 303),
    ):
        answer = requests.post(
            f"{person.base}/faults",
            data=data,
            headers={"Origin": origin},
            allow_redirects=False,
            timeout=5,
        )
        assert answer.status_code == status, origin


# faults, limits, webhooks, calls


def test_a_fault_is_ordered_and_cleared_on_its_page(client: SandboxClient, person: Person) -> None:
    answer = person.fill("/faults", "/faults", fault="503-text", resource="Contacts", method="GET")
    assert "503 in plain text: GET Contacts" in person.done(answer)
    assert client.get("Items").status_code == 200
    assert client.get("Contacts").status_code == 503
    person.fill("/faults", "/faults", fault="slow", seconds="9", count="3")
    assert "The answer comes late: any call about anything, 3 times" in person.see("/faults")
    person.fill("/faults", "/faults/clear")
    assert client.control("faults")["coming"] == []


@pytest.mark.parametrize(
    ("target", "fields", "said"),
    [
        (
            "/faults",
            {"count": "0"},
            "How many calls must be a whole number between 1 and 1,000,000.",
        ),
        ("/faults", {"count": "x"}, "How many calls must be"),
        ("/faults", {"count": "-3"}, "How many calls must be"),
        ("/faults", {"count": "1.5"}, "How many calls must be"),
        ("/faults", {"count": "\uff13"}, "How many calls must be"),
        ("/faults", {"count": "9" * 20}, "How many calls must be"),
        ("/faults", {"count": "9" * 5000}, "How many calls must be"),
        ("/faults", {"seconds": "301"}, "Seconds, if late must be a number between 0 and 300."),
        ("/faults", {"seconds": "nan"}, "Seconds, if late must be"),
        ("/faults", {"fault": "earthquake"}, "Choose what happens from the list."),
        ("/faults/dial", {"percent": "200"}, "Per cent must be a number between 0 and 100."),
        ("/faults/dial", {"percent": "1", "kinds": "removed"}, "removed lasts"),
        ("/faults/dial", {"seed": "x"}, "Seed must be a whole number"),
        ("/faults/dial", {"seed": "9" * 20}, "Seed must be a whole number"),
        ("/faults/limits", {"day": "x"}, "Calls a day must be a whole number"),
        ("/faults/limits", {"day": "0"}, "Calls a day must be a whole number"),
        ("/faults/limits", {"minute": "9" * 20}, "Calls a minute must be a whole number"),
    ],
)
def test_what_cannot_be_set_is_said(
    client: SandboxClient, person: Person, target: str, fields: dict[str, str], said: str
) -> None:
    answer = person.fill("/faults", target, **fields)
    assert answer.status_code == 400
    assert f"That was refused: {said}" in words(answer.text)
    for path in ("faults", "dial", "limits"):
        client.control(path)


def test_mishaps_beyond_all_numbers_are_refused(client: SandboxClient, person: Person) -> None:
    for given in ("9" * 20, "-1"):
        answer = person.fill("/webhooks", "/webhooks/mishaps", drop=given)
        assert answer.status_code == 400
        assert "Lose must be a whole number between 0 and 1,000,000." in answer.text
    assert client.control("webhooks/mishaps", {})["drop"] == 0


def test_every_fault_of_the_list_can_be_ordered(client: SandboxClient, person: Person) -> None:
    text = person.page("/faults")
    names = re.findall(r'<select name="fault">(.*?)</select>', text, re.S)[0]
    for name in re.findall(r'value="([^"]+)"', names):
        assert person.fill("/faults", "/faults", fault=name).status_code == 303, name
        client.control("faults", [])


def test_the_dial_is_set_on_its_page(client: SandboxClient, person: Person) -> None:
    answer = person.fill("/faults", "/faults/dial", percent="12.5", seed="4", kinds=["500", "slow"])
    assert "12.5 % of the calls go wrong from now on." in person.done(answer)
    told = client.control("dial")
    assert (told["percent"], told["seed"], told["kinds"]) == (12.5, 4, ["500", "slow"])
    assert "The dial is off." in person.done(person.fill("/faults", "/faults/dial", percent="0"))


def test_limits_are_shown_and_enforced(client: SandboxClient, person: Person) -> None:
    client.get("Contacts")
    assert "Kauri Trading 59 of 60 4999 of 5000" in person.see("/faults")
    person.fill("/faults", "/faults/limits", enforced="yes", minute="2")
    assert client.get("Contacts").status_code == 200
    assert client.get("Contacts").status_code == 429
    answer = person.fill("/faults", "/faults/limits", reset="yes")
    assert "Calls over the limits are refused." in person.done(answer)
    assert client.get("Contacts").status_code == 200


def test_held_answers_are_shown_and_released(client: SandboxClient, person: Person) -> None:
    client.control("hold", {"resource": "contacts"})
    url = f"{client.running.api_url}/api.xro/2.0/Contacts"
    with pytest.raises(requests.ReadTimeout):
        client.session.put(url, json={"Name": "A"}, timeout=0.05)
    assert "Faults and limits" in person.see("/faults")


def test_webhooks_are_set_on_their_page(client: SandboxClient, person: Person) -> None:
    answer = person.fill(
        "/webhooks", "/webhooks", owner=client.tenant, url="http://localhost:1/x", key="k"
    )
    text = person.done(answer)
    assert "Kauri Trading Intent" in text
    assert "http://localhost:1/x" in text
    assert client.control("webhooks")["subscriptions"][0]["owner"] == client.tenant
    refused = person.fill("/webhooks", "/webhooks/mishaps", drop="many")
    assert refused.status_code == 400
    person.done(person.fill("/webhooks", "/webhooks/mishaps", drop="2"))
    assert 'name="drop" value="2"' in person.page("/webhooks")
    person.done(person.fill("/webhooks", "/webhooks/end"))
    assert client.control("webhooks")["subscriptions"] == []


def test_foreign_receivers_are_refused_on_the_page(person: Person) -> None:
    text = person.page("/webhooks")
    answer = requests.post(
        f"{person.base}/webhooks",
        data={"form_token": token(text), "url": "http://example.com/"},
        timeout=5,
    )
    assert answer.status_code == 400
    assert "only http addresses of this machine can be told" in answer.text


def test_calls_tell_what_happened(client: SandboxClient, person: Person) -> None:
    client.put("Contacts?summarizeErrors=false", [{"Name": "A"}, {"Name": "A"}, {"Name": ""}])
    client.get("Items", headers={"X-Sandbox-Fault": "503"})
    client.get("Items", headers={"Authorization": "Bearer x"})
    text = person.see("/calls")
    assert text.index("401") < text.index("503 fault: status") < text.index("1 good, 2 refused")
    assert "Contact name cannot be empty" in text
    first = client.control("requests")["requests"][0]["sequence"]
    text = person.see(f"/calls/{first}")
    assert "PUT /api.xro/2.0/Contacts?summarizeErrors=false" in text
    assert '"Name": "A"' in text
    assert "created" in text
    assert "refused" in text
    bearer = str(client.session.headers["Authorization"]).split()[1]
    assert bearer not in person.page(f"/calls/{first}")
    assert "Fault status, asked by the call itself, before it was read" in person.see(
        f"/calls/{first + 1}"
    )


def test_calls_come_by_hundreds(client: SandboxClient, person: Person) -> None:
    for _ in range(103):
        client.get("Organisation")
    text = person.page("/calls")
    numbers = [int(one) for one in re.findall(r'/calls/(\d+)"', text)]
    assert len(numbers) == 100
    assert numbers == sorted(numbers, reverse=True)
    older = re.findall(r'href="(/calls\?before=\d+)"', text)[0]
    rest = [int(one) for one in re.findall(r'/calls/(\d+)"', person.page(older))]
    assert rest == [3, 2, 1]


def test_calls_of_before_a_restart_have_no_bodies(client: SandboxClient, person: Person) -> None:
    client.get("Organisation")
    client.running._sandbox.shelf.clear()
    number = client.control("requests")["requests"][0]["sequence"]
    assert "no longer in memory" in person.see(f"/calls/{number}")

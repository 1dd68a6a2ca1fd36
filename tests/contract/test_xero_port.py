"""What XeroPort promises, kept by the client against the local Xero, resource by resource."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.played import StillClock
from tests.contract.test_xero_client import client_for, consent, refuses, tell
from xtiger.domain import exactjson
from xtiger.domain.errors import AuthorisationError, PermanentError
from xtiger.domain.resources import CATALOGUE, Removal, Resource, Verb
from xtiger.ports import Access, Answer, Call, Element, Owner, XeroPort
from xtiger.sandbox import Running, start
from xtiger.xero.client import XeroClient
from xtiger.xero.endpoints import PARTS

R = Resource
#: Everything XTiger asks for and may be given on top.
SCOPES = (
    "openid profile email offline_access accounting.contacts accounting.settings"
    " accounting.invoices accounting.payments accounting.attachments accounting.banktransactions"
    " accounting.classicexpenses"
)
#: Below what a part is written here.
ABOVE = {
    R.ALLOCATIONS: R.CREDIT_NOTES,
    R.ATTACHMENTS: R.INVOICES,
    R.HISTORY: R.INVOICES,
    R.TRACKING_OPTIONS: R.TRACKING_CATEGORIES,
}
#: Whose update at its own address takes the object itself (Xero's OpenAPI data: PaymentDelete,
#: TrackingCategory, TrackingOption), not a list of one.
BARE = (R.PAYMENTS, R.TRACKING_CATEGORIES, R.TRACKING_OPTIONS)
UNKNOWN_ID = "0e0e0e0e-5d8c-4a7e-9a55-0c4a7d2f1b11"
_numbers = count(1)


@pytest.fixture(autouse=True)
def _http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture
def xero() -> Iterator[Running]:
    with start(auto_consent=True) as running:
        yield running


@pytest.fixture
def client(xero: Running) -> Iterator[XeroClient]:
    with closing(client_for(xero.api_url, StillClock())) as made:
        yield made


def unique(prefix: str = "", length: int = 8) -> str:
    return f"{prefix}{uuid4().hex[:length]}"


def line(**more: Any) -> dict[str, Any]:
    return {
        "Description": "Work",
        "Quantity": 2,
        "UnitAmount": Decimal("25.06"),
        "AccountCode": "200",
        **more,
    }


@dataclass
class Books:
    """One organisation of the sandbox, and how to make an object of every resource in it."""

    xero: XeroPort
    access: Access
    kept: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    # what elements refer to

    def contact(self) -> dict[str, Any]:
        return {"ContactID": self.once("contact", lambda: self.made(R.CONTACTS).xero_id)}

    def bank(self) -> dict[str, Any]:
        def first() -> str:
            accounts = self.xero.read(self.access, "Accounts")
            return next(str(one["AccountID"]) for one in accounts if one["Type"] == "BANK")

        return {"AccountID": self.once("bank", first)}

    def user(self) -> dict[str, Any]:
        users = self.once("users", lambda: self.xero.read(self.access, "Users"))
        return {"UserID": users[0]["UserID"]}

    def owner(self, resource: Resource) -> Owner | None:
        above = ABOVE.get(resource)
        if above is None:
            return None
        made = self.once(f"owner {above}", lambda: self.made(above).xero_id)
        return Owner(above, made)

    # elements

    def element(self, resource: Resource) -> dict[str, Any]:
        number = next(_numbers)
        document = {"Date": "2026-11-21", "LineItems": [line()]}
        match resource:
            case R.CURRENCIES:
                has = {one["Code"] for one in self.xero.read(self.access, "Currencies")}
                code = next(one for one in ("SGD", "CAD", "CHF", "JPY") if one not in has)
                return {"Code": code, "Description": "Money"}
            case R.TAX_RATES:
                part = {"Name": "State", "Rate": Decimal("2.25")}
                return {"Name": unique("Tax "), "ReportTaxType": "INPUT", "TaxComponents": [part]}
            case R.ACCOUNTS:
                return {"Code": unique("A", 6), "Name": unique("Account "), "Type": "EXPENSE"}
            case R.TRACKING_CATEGORIES | R.TRACKING_OPTIONS | R.CONTACT_GROUPS:
                return {"Name": unique(f"{resource.value} ")}
            case R.CONTACTS:
                return {"Name": unique("Contact "), "ContactNumber": unique("demo:Contacts:")}
            case R.ITEMS:
                return {"Code": unique("I-"), "Name": "Thing"}
            case R.QUOTES:
                return {**document, "Contact": self.contact(), "QuoteNumber": unique("QU-")}
            case R.PURCHASE_ORDERS:
                return {
                    **document,
                    "Contact": self.contact(),
                    "PurchaseOrderNumber": unique("PO-"),
                }
            case R.INVOICES:
                return {
                    **document,
                    "Type": "ACCREC",
                    "Status": "AUTHORISED",
                    "Contact": self.contact(),
                    "InvoiceNumber": unique("INV-"),
                    "DueDate": "2026-12-21",
                }
            case R.RECEIPTS:
                return {
                    **document,
                    "Contact": self.contact(),
                    "User": self.user(),
                    "LineItems": [line(AccountCode="429")],
                }
            case R.BANK_TRANSACTIONS:
                return {
                    **document,
                    "Type": "SPEND",
                    "Contact": self.contact(),
                    "BankAccount": self.bank(),
                    "LineItems": [line(AccountCode="429")],
                    "Reference": unique("B-"),
                }
            case R.CREDIT_NOTES:
                return {
                    **document,
                    "Type": "ACCRECCREDIT",
                    "Status": "AUTHORISED",
                    "Contact": self.contact(),
                    "CreditNoteNumber": unique("CN-"),
                }
            case R.PAYMENTS:
                return {
                    "Invoice": {"InvoiceID": self.made(R.INVOICES).xero_id},
                    "Account": self.bank(),
                    "Date": "2026-11-21",
                    "Amount": Decimal("10.50"),
                    "Reference": unique("P-"),
                }
            case R.ALLOCATIONS:
                return {
                    "Invoice": {"InvoiceID": self.made(R.INVOICES).xero_id},
                    "Amount": Decimal("1.25"),
                    "Date": "2026-11-21",
                }
            case R.HISTORY:
                return {"Details": f"Note {number}"}
        raise AssertionError(resource)

    def create(self, resource: Resource, *elements: dict[str, Any]) -> Call:
        """The call that makes one or more objects of a resource."""
        key = str(uuid4())
        if resource is R.ATTACHMENTS:
            name = unique("file ") + ".txt"
            owner = self.owner(resource)
            return Call(resource, Verb.CREATE, b"\x00text", key, 1, name, owner, "text/plain")
        rows = list(elements) or [self.element(resource)]
        body = exactjson.dumps({resource.value: rows})
        if CATALOGUE[resource].batch_size == 1:
            body = exactjson.dumps(rows[0])
        return Call(resource, Verb.CREATE, body, key, len(rows), owner=self.owner(resource))

    def send(self, call: Call) -> Answer:
        return self.xero.save_many(self.access, call)

    def made(self, resource: Resource) -> Element:
        (element,) = self.send(self.create(resource)).elements
        assert element.stored, (resource, element.faults)
        return element

    def changed(self, resource: Resource, xero_id: str, **fields: Any) -> Element:
        """Updates one object as the catalogue says: in a batch by its id, or at its address."""
        info = CATALOGUE[resource]
        row = {**fields, info.id_field: xero_id}
        alone = info.alone or resource is R.PAYMENTS
        body = fields if resource in BARE else {resource.value: [fields if alone else row]}
        call = Call(
            resource,
            Verb.UPDATE,
            exactjson.dumps(body),
            str(uuid4()),
            1,
            xero_id if alone else None,
            self.owner(resource),
        )
        (element,) = self.send(call).elements
        return element


@pytest.fixture
def books(client: XeroClient, xero: Running) -> Books:
    token = consent(client, xero, SCOPES).access_token
    tenant = xero.organisations[0]["tenant_id"]
    tell(xero, f"organisations/{tenant}", {"ClassicExpenses": True})
    return Books(client, Access(token, tenant))


WRITTEN = [one for one, info in CATALOGUE.items() if Verb.CREATE in info.verbs]
UNOWNED = [one for one in WRITTEN if one not in PARTS]
LISTED = [one for one in CATALOGUE if one not in PARTS]
KEYED = [one for one in WRITTEN if CATALOGUE[one].key_field and one not in PARTS]


# writing


@pytest.mark.parametrize("resource", WRITTEN)
def test_what_is_created_comes_back_with_its_id(books: Books, resource: Resource) -> None:
    element = books.made(resource)
    if resource is not R.HISTORY:
        assert element.xero_id
    assert element.data


@pytest.mark.parametrize("resource", WRITTEN)
def test_the_same_call_again_is_answered_the_same_and_stores_nothing(
    books: Books, resource: Resource
) -> None:
    call = books.create(resource)
    first, second = books.send(call), books.send(call)
    assert first.body == second.body
    assert first.elements == second.elements


@pytest.mark.parametrize(
    "resource",
    [one for one in WRITTEN if CATALOGUE[one].batch_size > 1 and one is not R.TAX_RATES],
)
def test_a_batch_is_answered_in_its_order_and_one_bad_element_spoils_no_other(
    books: Books, resource: Resource
) -> None:
    if resource is R.HISTORY:
        rows = [books.element(resource) for _ in range(3)]
        assert [one.stored for one in books.send(books.create(resource, *rows)).elements] == [
            True
        ] * 3
        return
    good, other = books.element(resource), books.element(resource)
    answer = books.send(books.create(resource, good, broken(resource, other), other))
    assert [one.stored for one in answer.elements] == [True, False, True]
    assert answer.elements[1].faults
    assert answer.elements[1].xero_id is None


def broken(resource: Resource, element: dict[str, Any]) -> dict[str, Any]:
    """An element that Xero refuses."""
    match resource:
        case R.CONTACTS:
            return {**element, "Name": unique(), "EmailAddress": "none", "ContactNumber": unique()}
        case R.ITEMS:
            return {**element, "Code": "x" * 31}
        case R.PAYMENTS | R.ALLOCATIONS:
            return {**element, "Amount": Decimal("999999.99")}
    return {**element, **dict.fromkeys(_NUMBERS, unique()), "LineItems": []}


_NUMBERS = ("InvoiceNumber", "CreditNoteNumber", "QuoteNumber", "PurchaseOrderNumber")

#: A field of each resource that may change, and what it becomes.
CHANGES: Mapping[Resource, tuple[str, Any]] = {
    R.TAX_RATES: ("Name", "Renamed tax"),
    R.ACCOUNTS: ("Name", "Renamed account"),
    R.TRACKING_CATEGORIES: ("Name", "Renamed category"),
    R.TRACKING_OPTIONS: ("Name", "Renamed option"),
    R.CONTACTS: ("EmailAddress", "new@example.com"),
    R.CONTACT_GROUPS: ("Name", "Renamed group"),
    R.ITEMS: ("Name", "Renamed thing"),
    R.QUOTES: ("Reference", "changed"),
    R.PURCHASE_ORDERS: ("Reference", "changed"),
    R.INVOICES: ("Reference", "changed"),
    R.RECEIPTS: ("Reference", "changed"),
    R.BANK_TRANSACTIONS: ("Reference", "changed"),
    R.CREDIT_NOTES: ("Reference", "changed"),
}
#: What an update of the field must bring along.
WITH = {
    R.TAX_RATES: ("ReportTaxType", "TaxComponents"),
    R.ITEMS: ("Code",),
    R.QUOTES: ("Contact", "Date", "LineItems"),
    R.RECEIPTS: ("Contact", "Date", "LineItems", "User"),
    R.BANK_TRANSACTIONS: ("Type", "Contact", "BankAccount", "LineItems"),
}


@pytest.mark.parametrize("resource", CHANGES)
def test_an_update_reaches_the_object_it_names(books: Books, resource: Resource) -> None:
    wanted = books.element(resource)
    (made,) = books.send(books.create(resource, wanted)).elements
    assert made.xero_id, made.faults
    name, value = CHANGES[resource]
    along = {one: wanted[one] for one in WITH.get(resource, ())}
    changed = books.changed(resource, made.xero_id, **along, **{name: value})
    assert changed.stored, changed.faults
    assert changed.xero_id == made.xero_id
    assert changed.data[name] == value


def test_a_payment_is_deleted_by_its_status(books: Books) -> None:
    known = books.made(R.PAYMENTS).xero_id
    assert known
    gone = books.changed(R.PAYMENTS, known, Status="DELETED")
    assert (gone.stored, gone.data["Status"]) == (True, "DELETED")


@pytest.mark.parametrize(
    "resource", [one for one in WRITTEN if Verb.DELETE in CATALOGUE[one].verbs]
)
def test_what_is_deleted_is_gone_and_may_be_deleted_again(books: Books, resource: Resource) -> None:
    known = books.made(resource).xero_id
    call = Call(resource, Verb.DELETE, b"", str(uuid4()), 1, known, books.owner(resource))
    (element,) = books.send(call).elements
    assert (element.stored, element.xero_id) == (True, known)
    again = Call(resource, Verb.DELETE, b"", str(uuid4()), 1, known, books.owner(resource))
    assert books.send(again).elements[0].stored
    if resource in (R.ITEMS, R.TRACKING_OPTIONS):
        assert known
        assert not books.xero.get_many(books.access, resource, [known])


def test_contacts_are_put_into_a_group_and_taken_out_again(books: Books) -> None:
    group = Owner(R.CONTACT_GROUPS, str(books.made(R.CONTACT_GROUPS).xero_id))
    member = books.contact()
    body = exactjson.dumps({"Contacts": [member]})
    put = Call(R.CONTACTS, Verb.CREATE, body, str(uuid4()), 1, None, group)
    (element,) = books.send(put).elements
    assert (element.stored, element.xero_id) == (True, member["ContactID"])
    (found,) = books.xero.get_many(books.access, R.CONTACT_GROUPS, [group.xero_id])
    assert [one["ContactID"] for one in found["Contacts"]] == [member["ContactID"]]
    out = Call(R.CONTACTS, Verb.DELETE, b"", str(uuid4()), 1, member["ContactID"], group)
    assert books.send(out).elements[0].stored
    (found,) = books.xero.get_many(books.access, R.CONTACT_GROUPS, [group.xero_id])
    assert not found["Contacts"]


@pytest.mark.parametrize(
    "resource",
    [
        one
        for one in CHANGES
        # a receipt ends by the approval of its expense claim
        if CATALOGUE[one].removal is Removal.STATUS and one is not R.RECEIPTS
    ],
)
def test_what_is_removed_by_its_status_says_so(books: Books, resource: Resource) -> None:
    wanted = books.element(resource)
    (made,) = books.send(books.create(resource, wanted)).elements
    assert made.xero_id
    status = "VOIDED" if wanted.get("Status") == "AUTHORISED" else "DELETED"
    along = {one: wanted[one] for one in WITH.get(resource, ())}
    along |= {"Name": wanted["Name"]} if resource is R.TAX_RATES else {}
    if resource is R.QUOTES:
        along["QuoteNumber"] = wanted["QuoteNumber"]
    gone = books.changed(resource, made.xero_id, **along, Status=status)
    assert gone.stored, gone.faults
    assert gone.data["Status"] == status


def test_money_keeps_its_digits_both_ways(books: Books) -> None:
    row = books.element(R.INVOICES) | {"LineItems": [line(UnitAmount=Decimal("25.0625"))]}
    (made,) = books.send(books.create(R.INVOICES, row)).elements
    assert made.data["LineItems"][0]["UnitAmount"] == Decimal("25.0625")
    (found,) = books.xero.get_many(books.access, R.INVOICES, [str(made.xero_id)])
    assert found["LineItems"][0]["UnitAmount"] == Decimal("25.0625")
    assert not [value for value in found.values() if isinstance(value, float)]


def test_notes_and_files_are_read_below_their_object(books: Books) -> None:
    note, file = books.create(R.HISTORY), books.create(R.ATTACHMENTS)
    books.send(note)
    books.send(file)
    owner = books.owner(R.HISTORY)
    assert owner
    below = f"Invoices/{owner.xero_id}"
    notes = books.xero.read(books.access, f"{below}/History")
    assert exactjson.loads(note.body)["HistoryRecords"][0]["Details"] in {
        one.get("Details") for one in notes
    }
    (found,) = books.xero.read(books.access, f"{below}/Attachments")
    assert found["FileName"] == file.xero_id
    assert found["MimeType"] == "text/plain"


def test_an_answer_tells_what_is_left_and_usage_what_it_took(books: Books) -> None:
    books.xero.usage()
    answer = books.send(books.create(R.CONTACTS))
    assert answer.day_left is not None
    assert answer.minute is not None
    assert answer.minute.began <= datetime.now(UTC)
    (used,) = books.xero.usage()
    assert (used.tenant_id, used.calls) == (books.access.tenant_id, 1)
    assert used.bytes_in > len(answer.body)
    assert used.bytes_out > 200
    assert not books.xero.usage()


# reading


@pytest.mark.parametrize("resource", KEYED)
def test_an_object_is_found_by_its_key(books: Books, resource: Resource) -> None:
    element = books.element(resource)
    (made,) = books.send(books.create(resource, element)).elements
    assert made.stored, made.faults
    books.made(resource) if resource is not R.TRACKING_CATEGORIES else None
    info = CATALOGUE[resource]
    key = element[info.key_field]
    found = books.xero.find(books.access, resource, [key, f"no {key}", ""])
    assert [one[info.id_field] for one in found] == [made.xero_id]
    assert not books.xero.find(books.access, resource, [f"no {key}"])
    assert not books.xero.find(books.access, resource, [])


AWKWARD = ('a "quoted" one', "back\\slash", "comma, one", "sla/sh?", "am&p #1 =%", "ünï ✓")


@pytest.mark.parametrize(
    "resource",
    [
        R.ACCOUNTS,
        R.TAX_RATES,
        R.CONTACT_GROUPS,
        R.CONTACTS,
        R.ITEMS,
        R.QUOTES,
        R.PURCHASE_ORDERS,
        R.INVOICES,
        R.CREDIT_NOTES,
    ],
)
def test_awkward_keys_are_found_exactly(books: Books, resource: Resource) -> None:
    info = CATALOGUE[resource]
    keys = []
    for text in AWKWARD[:5] if "Number" in info.key_field else AWKWARD:
        key = text[:10] if resource is R.ACCOUNTS else f"{text} {unique('', 4)}"
        call = books.create(resource, {**books.element(resource), info.key_field: key})
        if books.send(call).elements[0].stored:
            keys.append(key)
    assert len(keys) >= 3
    found = books.xero.find(books.access, resource, keys)
    assert {one[info.key_field] for one in found} == set(keys)
    assert not books.xero.find(books.access, resource, [keys[0].upper() + "x"])


@pytest.mark.parametrize("resource", UNOWNED)
def test_objects_are_got_by_their_ids_and_unknown_ones_are_absent(
    books: Books, resource: Resource
) -> None:
    made = [str(books.made(resource).xero_id) for _ in range(2)]
    id_field = CATALOGUE[resource].id_field
    asked = [made[1], UNKNOWN_ID, made[0].upper()]
    found = books.xero.get_many(books.access, resource, asked)
    assert [one[id_field] for one in found] == [made[1], made[0]]
    assert not books.xero.get_many(books.access, resource, [UNKNOWN_ID])
    assert not books.xero.get_many(books.access, resource, [])
    (alone,) = books.xero.get_many(books.access, resource, made[:1])
    assert alone[id_field] == made[0]


def test_an_archived_contact_is_found_got_and_among_the_changes(books: Books) -> None:
    element = books.element(R.CONTACTS)
    known = str(books.send(books.create(R.CONTACTS, element)).elements[0].xero_id)
    assert books.changed(R.CONTACTS, known, ContactStatus="ARCHIVED").stored
    for found in (
        books.xero.find(books.access, R.CONTACTS, [element["ContactNumber"]]),
        books.xero.get_many(books.access, R.CONTACTS, [known]),
        [one for one in books.xero.changes(books.access, R.CONTACTS) if one["ContactID"] == known],
    ):
        assert [one["ContactStatus"] for one in found] == ["ARCHIVED"]


@pytest.mark.parametrize("resource", UNOWNED)
def test_what_changed_comes_and_what_did_not_stays_away(books: Books, resource: Resource) -> None:
    made = books.made(resource)
    id_field = CATALOGUE[resource].id_field
    now = datetime.now(UTC)

    def ids(since: datetime | None) -> set[str]:
        found = books.xero.changes(books.access, resource, since=since)
        return {str(one[id_field]) for one in found}

    assert made.xero_id in ids(None)
    assert made.xero_id in ids(now - timedelta(minutes=1))
    if "UpdatedDateUTC" in made.data:
        assert made.xero_id not in ids(now + timedelta(minutes=1))


def test_documents_among_the_changes_carry_their_lines(books: Books) -> None:
    for resource in (R.INVOICES, R.CREDIT_NOTES, R.PURCHASE_ORDERS, R.BANK_TRANSACTIONS):
        made = books.made(resource)
        (found,) = (
            one
            for one in books.xero.changes(books.access, resource)
            if one[CATALOGUE[resource].id_field] == made.xero_id
        )
        assert found["LineItems"], resource


def test_invoices_others_made_are_left_out_where_only_ours_are_wanted(
    books: Books, xero: Running
) -> None:
    ours = books.made(R.INVOICES).xero_id
    found = books.xero.changes(books.access, R.INVOICES, mine=True)
    assert [one["InvoiceID"] for one in found] == [ours]


def test_changes_go_over_many_pages(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xtiger.xero.endpoints.PAGE_SIZE", 10)
    rows = [books.element(R.CONTACTS) for _ in range(34)]
    made = {one.xero_id for one in books.send(books.create(R.CONTACTS, *rows)).elements}
    found = [one["ContactID"] for one in books.xero.changes(books.access, R.CONTACTS)]
    assert made <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("resource", [one for one in LISTED if one not in ABOVE])
def test_every_list_can_be_read(books: Books, resource: Resource) -> None:
    rows = list(books.xero.changes(books.access, resource))
    id_field = CATALOGUE[resource].id_field
    assert all(one.get(id_field) for one in rows)
    if resource in (R.ORGANISATION, R.USERS, R.CURRENCIES, R.BRANDING_THEMES, R.ACCOUNTS):
        assert rows
        assert books.xero.read(books.access, resource.value)
        key = rows[0][CATALOGUE[resource].key_field]
        assert rows[0] in books.xero.find(books.access, resource, [key])
        known = str(rows[0][id_field])
        (got,) = books.xero.get_many(books.access, resource, [known])
        assert got[id_field] == known


@pytest.mark.parametrize(
    ("resource", "kind"), [(R.OVERPAYMENTS, "OVERPAYMENT"), (R.PREPAYMENTS, "PREPAYMENT")]
)
def test_overpayments_and_prepayments_are_read_and_allocated(
    books: Books, resource: Resource, kind: str
) -> None:
    row = books.element(R.BANK_TRANSACTIONS) | {"Type": f"RECEIVE-{kind}"}
    plain = {"Description": "Too much", "Quantity": 1, "UnitAmount": Decimal("40.00")}
    if kind == "OVERPAYMENT":
        accounts = books.xero.read(books.access, "Accounts")
        debtors = next(one for one in accounts if one.get("SystemAccount") == "DEBTORS")
        row |= {"LineItems": [plain | {"AccountCode": debtors["Code"]}]}
        row["LineAmountTypes"] = "NoTax"
    else:
        row |= {"LineItems": [plain | {"AccountCode": "200"}]}
    (made,) = books.send(books.create(R.BANK_TRANSACTIONS, row)).elements
    assert made.stored, made.faults
    id_field = CATALOGUE[resource].id_field
    (one,) = books.xero.changes(books.access, resource)
    assert books.xero.get_many(books.access, resource, [one[id_field]])
    owner = Owner(resource, one[id_field])
    body = exactjson.dumps({"Allocations": [books.element(R.ALLOCATIONS)]})
    allocated = books.send(Call(R.ALLOCATIONS, Verb.CREATE, body, str(uuid4()), 1, None, owner))
    assert allocated.elements[0].stored, allocated.elements[0].faults


# consent


def test_a_custom_connection_reaches_its_organisation(client: XeroClient, xero: Running) -> None:
    tokens = client.client_credentials(
        client_id=xero.client_id, secret=xero.client_secret, scopes="accounting.settings"
    )
    assert tokens.refresh_token is None
    (tenant,) = client.tenants(tokens.access_token)[:1]
    assert client.read(Access(tokens.access_token, tenant.tenant_id), "Organisation")


def test_a_custom_connection_with_a_wrong_secret_or_scope_is_told_so(
    client: XeroClient, xero: Running
) -> None:
    with refuses(AuthorisationError):
        client.client_credentials(client_id=xero.client_id, secret="no", scopes="openid")
    with refuses(PermanentError) as caught:
        client.client_credentials(
            client_id=xero.client_id, secret=xero.client_secret, scopes="accounting.nonsense"
        )
    assert "invalid_scope" in caught[0].sentence


@pytest.mark.parametrize("in_body", [False, True])
def test_the_whole_life_of_a_consent(xero: Running, in_body: bool) -> None:
    url = xero.api_url
    made = XeroClient(
        login_url=url,
        identity_url=url,
        api_url=url,
        clock=StillClock(),
        secret_in_body=in_body,
    )
    with closing(made) as client:
        app = {"client_id": xero.client_id, "secret": xero.client_secret}
        tokens = consent(client, xero, SCOPES)
        assert tokens.refresh_token
        tokens = client.refresh(**app, refresh_token=tokens.refresh_token)
        before = client.tenants(tokens.access_token)
        client.disconnect(access_token=tokens.access_token, connection_id=before[0].connection_id)
        assert len(client.tenants(tokens.access_token)) == len(before) - 1
        assert tokens.refresh_token
        client.revoke(**app, refresh_token=tokens.refresh_token)
        client.revoke(**app, refresh_token=tokens.refresh_token)
        with refuses(AuthorisationError):
            client.refresh(**app, refresh_token=tokens.refresh_token)
        with refuses(AuthorisationError):
            client.read(Access(tokens.access_token, before[1].tenant_id), "Organisation")


@pytest.mark.parametrize(
    ("resource", "lacking"),
    [
        (R.PAYMENTS, "accounting.payments"),
        (R.ACCOUNTS, "accounting.settings"),
        (R.BANK_TRANSACTIONS, "accounting.banktransactions"),
        (R.ATTACHMENTS, "accounting.attachments"),
    ],
)
def test_a_connection_that_is_too_narrow_says_what_it_lacks(
    books: Books, client: XeroClient, xero: Running, resource: Resource, lacking: str
) -> None:
    call = books.create(resource)
    narrow = " ".join(one for one in SCOPES.split() if one != lacking)
    tokens = consent(client, xero, narrow)
    access = Access(tokens.access_token, books.access.tenant_id)
    with refuses(AuthorisationError) as caught:
        client.save_many(access, call)
    assert f"The connection lacks “{lacking}”" in caught[0].sentence


def test_a_permission_to_read_is_enough_for_reading(client: XeroClient, xero: Running) -> None:
    tokens = consent(client, xero, "offline_access accounting.settings.read")
    access = Access(tokens.access_token, xero.organisations[0]["tenant_id"])
    assert client.read(access, "Accounts")
    with refuses(AuthorisationError):
        client.save_many(access, Books(client, access).create(R.ITEMS))


def test_a_consent_that_was_revoked_elsewhere_asks_for_a_new_one(books: Books) -> None:
    other = client_for(books.xero._api_url, StillClock())  # type: ignore[attr-defined]
    with closing(other), refuses(AuthorisationError) as caught:
        other.read(Access("no token of anybody", books.access.tenant_id), "Organisation")
    assert caught[0].expired

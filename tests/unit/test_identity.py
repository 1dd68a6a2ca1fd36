"""Who an object in Xero belongs to after a lost answer: ours, a stranger's, or a person decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtiger.domain.identity import (
    Fate,
    Finding,
    Sought,
    changed_at,
    day_of,
    equal_ones,
    is_gone,
    is_ours,
    judge,
    portrait,
    removes,
)
from xtiger.domain.resources import CATALOGUE, Resource, Trace, Verb, unique_key

R = Resource
SINCE = datetime(2026, 11, 21, 9, tzinfo=UTC)
NET_DAY = "/Date(1795219200000+0000)/"  # 2026-11-21
LATER = "/Date(1795255200000+0000)/"  # that day at 10:00


def bill(**more: Any) -> dict[str, Any]:
    return {
        "Type": "ACCPAY",
        "InvoiceNumber": "B-1",
        "Contact": {"ContactID": "c1"},
        "Date": "2026-11-21",
        "LineItems": [{"Description": "Work", "Quantity": 1, "UnitAmount": Decimal("100.00")}],
        **more,
    }


def stored(sent: dict[str, Any], **more: Any) -> dict[str, Any]:
    """How Xero shows a document: with what it adds, in its own forms."""
    lines = [{**line, "LineItemID": "l", "TaxAmount": 15} for line in sent.get("LineItems", [])]
    return {
        **sent,
        "Contact": {**sent["Contact"], "Name": "Ana Lee Ltd", "Addresses": []},
        "Date": NET_DAY,
        "DateString": "2026-11-21T00:00:00",
        "LineItems": lines,
        "Status": "DRAFT",
        "Total": Decimal("115.0"),
        "UpdatedDateUTC": LATER,
        **more,
    }


def payment(**more: Any) -> dict[str, Any]:
    return {
        "Invoice": {"InvoiceID": "i1"},
        "Account": {"Code": "090"},
        "Date": "2026-11-21",
        "Amount": Decimal("50.00"),
        **more,
    }


def paid(sent: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        **sent,
        "Date": NET_DAY,
        "Amount": Decimal("50.0"),
        "Invoice": {"InvoiceID": "i1", "InvoiceNumber": "INV-1", "Type": "ACCREC"},
        "Account": {"AccountID": "a", "Code": "090"},
        "PaymentID": "p1",
        "Status": "AUTHORISED",
        **more,
    }


MEANT = {"Total": Decimal("115.00")}


def one(resource: Resource, sought: Sought, *rows: dict[str, Any], **more: Any) -> Finding:
    [found] = judge(resource, [sought], rows, **more)
    return found


# marks


def test_a_mark_decides_whatever_else_somebody_changed_since() -> None:
    sent = bill(Url="http://crm/1")
    theirs = stored(sent, InvoiceID="x", Contact={"ContactID": "c9"}, Total=9, LineItems=[])
    assert one(R.INVOICES, Sought(sent), theirs) == Finding(Fate.ARRIVED, (theirs,))


def test_without_our_mark_the_very_same_content_is_a_strangers() -> None:
    sent = bill(Url="http://crm/1")
    theirs = stored(bill(), InvoiceID="x")
    assert one(R.INVOICES, Sought(sent, MEANT), theirs).fate is Fate.ABSENT


def test_a_payments_reference_is_no_proof_without_its_amount() -> None:
    sent = payment(Reference="Thanks")
    assert one(R.PAYMENTS, Sought(sent), paid(sent)).fate is Fate.ARRIVED
    assert one(R.PAYMENTS, Sought(sent), paid(sent, Amount=49)).fate is Fate.ABSENT
    assert one(R.PAYMENTS, Sought(sent), paid(sent, Reference="other")).fate is Fate.ABSENT


@pytest.mark.parametrize("name", ["Invoice", "CreditNote", "Prepayment", "Overpayment"])
def test_xero_shows_whatever_a_payment_settles_as_its_invoice(name: str) -> None:
    sent = payment()
    del sent["Invoice"]
    sent[name] = {f"{name}ID": "i1"}
    assert is_ours(R.PAYMENTS, sent, paid(payment()))
    assert not is_ours(R.PAYMENTS, sent | {name: {f"{name}ID": "i2"}}, paid(payment()))


# content


def test_without_a_mark_all_that_was_sent_must_be_equal() -> None:
    sent = bill()
    assert one(R.INVOICES, Sought(sent, MEANT), stored(sent, InvoiceID="x")).fate is Fate.ARRIVED


@pytest.mark.parametrize(
    "differs",
    [
        {"Contact": {"ContactID": "c2"}},
        {"Date": "/Date(1795305600000+0000)/"},
        {"Total": Decimal("115.01")},
    ],
)
def test_another_contact_day_or_total_is_another_document(differs: dict[str, Any]) -> None:
    row = stored(bill(), InvoiceID="x", **differs)
    assert one(R.INVOICES, Sought(bill(), MEANT), row).fate is Fate.ABSENT


def test_what_looks_like_it_but_has_other_lines_is_for_a_person() -> None:
    row = stored(bill(), InvoiceID="x", LineItems=[{"Description": "Other"}])
    assert one(R.INVOICES, Sought(bill(), MEANT), row) == Finding(Fate.UNCLEAR, (row,))


def test_what_was_not_sent_and_not_meant_proves_nothing() -> None:
    """Xero fills in the day and the total by itself."""
    undated = bill()
    del undated["Date"]
    row = stored(bill(), InvoiceID="x")
    assert one(R.INVOICES, Sought(undated, MEANT), row).fate is Fate.UNCLEAR
    assert one(R.INVOICES, Sought(bill()), row).fate is Fate.UNCLEAR
    assert one(R.INVOICES, Sought(bill())).fate is Fate.ABSENT


def test_what_belongs_to_a_record_already_was_not_lost() -> None:
    row = stored(bill(), InvoiceID="x")
    assert one(R.INVOICES, Sought(bill(), MEANT), row, bound={"x"}).fate is Fate.ABSENT


def test_two_equal_ones_for_one_that_was_sent_are_for_a_person() -> None:
    rows = [stored(bill(), InvoiceID="x"), stored(bill(), InvoiceID="y")]
    assert one(R.INVOICES, Sought(bill(), MEANT), *rows) == Finding(Fate.UNCLEAR, tuple(rows))


def test_an_object_of_two_elements_that_differ_makes_both_unclear() -> None:
    """One says less than the other and is equal to it for the rest."""
    longer = payment(Particulars="rent")
    row = paid(longer)
    found = judge(R.PAYMENTS, [Sought(payment()), Sought(longer)], [row])
    assert [each.fate for each in found] == [Fate.UNCLEAR, Fate.UNCLEAR]


# keys

KEYED = [
    (R.CONTACTS, {"ContactNumber": "vt-C1", "Name": "Ana"}),
    (R.ITEMS, {"Code": "W-1", "Name": "Widget", "SalesDetails": {"UnitPrice": Decimal("1.50")}}),
    (R.ACCOUNTS, {"Code": "260", "Name": "Other revenue", "Type": "REVENUE"}),
    (R.TAX_RATES, {"Name": "State", "TaxComponents": [{"Name": "S", "Rate": Decimal("2.25")}]}),
    (R.TRACKING_CATEGORIES, {"Name": "Region"}),
    (R.TRACKING_OPTIONS, {"Name": "North"}),
    (R.CONTACT_GROUPS, {"Name": "VIP"}),
]
CHANGED = {
    R.ITEMS: {"SalesDetails": {"UnitPrice": 2}},
    R.ACCOUNTS: {"Name": "Another"},
    R.TAX_RATES: {"TaxComponents": [{"Name": "S", "Rate": 3}]},
}


@pytest.mark.parametrize(("resource", "sent"), KEYED, ids=lambda each: str(each)[:12])
def test_the_holder_of_our_key_is_ours_if_it_says_what_was_sent(
    resource: Resource, sent: dict[str, Any]
) -> None:
    row = {**sent, CATALOGUE[resource].id_field: "x", "HasAttachments": False}
    assert one(resource, Sought(sent), row).fate is Fate.ARRIVED
    assert one(resource, Sought(sent)).fate is Fate.ABSENT
    assert one(resource, Sought(sent), row, bound={"x"}).fate is Fate.TAKEN
    if resource in CHANGED:
        assert one(resource, Sought(sent), {**row, **CHANGED[resource]}).fate is Fate.TAKEN


@pytest.mark.parametrize(
    ("resource", "number"),
    [(R.QUOTES, "QuoteNumber"), (R.PURCHASE_ORDERS, "PurchaseOrderNumber")],
)
def test_a_document_with_our_number_is_ours_unclear_or_a_strangers(
    resource: Resource, number: str
) -> None:
    sent = {**bill(), number: "N-1"}
    row = stored(sent, **{CATALOGUE[resource].id_field: "x"})
    assert one(resource, Sought(sent, MEANT), row).fate is Fate.ARRIVED
    other_lines = {**row, "LineItems": []}
    assert one(resource, Sought(sent, MEANT), other_lines).fate is Fate.UNCLEAR
    other_total = {**row, "Total": 9}
    assert one(resource, Sought(sent, MEANT), other_total).fate is Fate.TAKEN


def test_only_the_type_whose_numbers_are_unique_holds_a_number() -> None:
    sent = {**bill(), "Type": "ACCREC", "Url": "http://crm/1"}
    theirs = stored({**sent, "Type": "ACCPAY", "Url": ""}, InvoiceID="x")
    assert one(R.INVOICES, Sought(sent), theirs).fate is Fate.ABSENT
    theirs = stored({**sent, "Url": "http://other"}, InvoiceID="x")
    assert one(R.INVOICES, Sought(sent, MEANT), theirs).fate is Fate.TAKEN


@pytest.mark.parametrize("status", ["VOIDED", "DELETED"])
def test_what_was_voided_has_given_its_number_free_unless_it_is_ours(status: str) -> None:
    sent = {**bill(), "Type": "ACCREC", "Url": "http://crm/1"}
    ours = stored(sent, InvoiceID="x", Status=status)
    assert one(R.INVOICES, Sought(sent), ours, since=SINCE).fate is Fate.ARRIVED
    before = {**ours, "UpdatedDateUTC": "/Date(1795100000000+0000)/"}
    assert one(R.INVOICES, Sought(sent), before, since=SINCE).fate is Fate.ABSENT
    theirs = {**ours, "Url": "http://other"}
    assert one(R.INVOICES, Sought(sent), theirs, since=SINCE).fate is Fate.ABSENT


def test_a_currency_and_a_groups_member_are_there_or_not() -> None:
    euro = Sought({"Code": "EUR", "Description": "Euro"})
    assert one(R.CURRENCIES, euro, {"Code": "EUR", "Description": "€"}).fate is Fate.ARRIVED
    assert one(R.CURRENCIES, euro, {"Code": "USD"}).fate is Fate.ABSENT
    member = Sought({"ContactID": "c1"})
    found = one(R.CONTACTS, member, {"ContactID": "c1", "Name": "Ana"}, bound={"c1"})
    assert found.fate is Fate.ARRIVED
    assert one(R.CONTACTS, member, {"ContactID": "c2"}).fate is Fate.ABSENT


def test_two_elements_with_one_key_are_never_bound_to_one_object() -> None:
    item = {"Code": "W-1", "Name": "Widget"}
    found = judge(R.ITEMS, [Sought(item), Sought(item)], [{**item, "ItemID": "x"}])
    assert [each.fate for each in found] == [Fate.ARRIVED, Fate.TAKEN]


# counted before


def allocation(name: str = "", **more: Any) -> dict[str, Any]:
    row = {"Invoice": {"InvoiceID": "i1"}, "Amount": Decimal("5.00"), "Date": "2026-11-21", **more}
    return row | ({"AllocationID": name, "Date": NET_DAY} if name else {})


def test_one_more_than_before_arrived_and_as_many_as_before_did_not() -> None:
    sent = Sought(allocation(), before=("a", "b"))
    old = [allocation("a"), allocation("b")]
    assert one(R.ALLOCATIONS, sent, *old).fate is Fate.ABSENT
    new = allocation("c")
    assert one(R.ALLOCATIONS, sent, *old, new) == Finding(Fate.ARRIVED, (new,))
    assert one(R.ALLOCATIONS, sent, *old, new, allocation("d")).fate is Fate.UNCLEAR
    assert one(R.ALLOCATIONS, sent, *old, allocation("c", Amount=4)).fate is Fate.ABSENT


def test_uncounted_an_equal_allocation_proves_nothing() -> None:
    assert one(R.ALLOCATIONS, Sought(allocation()), allocation("a")).fate is Fate.UNCLEAR
    assert one(R.ALLOCATIONS, Sought(allocation())).fate is Fate.ABSENT
    assert equal_ones(R.ALLOCATIONS, allocation(), [allocation("a"), {"Amount": 1}]) == ("a",)


def test_files_and_notes_are_told_by_what_they_are() -> None:
    file = Sought({"FileName": "a.pdf", "ContentLength": 10, "MimeType": "application/pdf"})
    row = {"AttachmentID": "f", "FileName": "a.pdf", "ContentLength": 10}
    row["MimeType"] = "application/pdf"
    assert one(R.ATTACHMENTS, file, row).fate is Fate.ARRIVED
    assert one(R.ATTACHMENTS, file, {**row, "ContentLength": 11}).fate is Fate.ABSENT
    note = {"Details": "Sent", "DateUTC": LATER}
    assert one(R.HISTORY, Sought({"Details": "Sent"}), note).fate is Fate.ARRIVED
    assert one(R.HISTORY, Sought({"Details": "Sent"}), note, note).fate is Fate.UNCLEAR
    twice = judge(R.HISTORY, [Sought({"Details": "Sent"})] * 2, [note, note])
    assert [each.fate for each in twice] == [Fate.ARRIVED] * 2


# never twice, never lost

_payloads = st.builds(
    lambda number, amount: payment(
        Amount=Decimal(amount), **({"Reference": f"vt-P{number}"} if number else {})
    ),
    st.integers(0, 3),
    st.integers(1, 2),
)


@given(st.data())
def test_nothing_that_arrived_is_sent_again_and_nothing_is_bound_twice(data: st.DataObject) -> None:
    """Whatever arrived, whatever strangers did, in whatever order Xero lists it."""
    sent = data.draw(st.lists(_payloads, min_size=1, max_size=6))
    arrived = data.draw(st.lists(st.booleans(), min_size=len(sent), max_size=len(sent)))
    strangers = data.draw(st.lists(_payloads, max_size=3))
    real = [paid(each, Amount=each["Amount"], PaymentID=f"ours{place}")
            for place, each in enumerate(sent) if arrived[place]]  # fmt: skip
    theirs = [paid(each, Amount=each["Amount"], PaymentID=f"theirs{place}")
              for place, each in enumerate(strangers)]  # fmt: skip
    rows = data.draw(st.permutations(real + theirs))
    found = judge(R.PAYMENTS, [Sought(each) for each in sent], rows)
    bound = [each.found[0]["PaymentID"] for each in found if each.fate is Fate.ARRIVED]
    assert len(bound) == len(set(bound))
    for payload in sent:
        same = [place for place, each in enumerate(sent) if each == payload]
        missing = sum(not arrived[place] for place in same)
        assert sum(found[place].fate is Fate.ABSENT for place in same) <= missing
    for payload, finding in zip(sent, found, strict=True):
        if finding.fate is Fate.ARRIVED:
            assert finding.found[0]["Amount"] == payload["Amount"]
            assert finding.found[0].get("Reference") == payload.get("Reference") or (
                "Reference" not in payload
            )
    if not strangers and all("Reference" in each for each in sent):
        assert sum(each.fate is Fate.ARRIVED for each in found) == sum(arrived)
        assert not any(each.fate is Fate.UNCLEAR for each in found)


@given(st.data())
def test_marked_documents_are_never_unclear_whatever_strangers_did(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    arrived = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    sent = [bill(Url=f"http://crm/{number}") for number in range(count)]
    real = [
        stored(each, InvoiceID=each["Url"]) for place, each in enumerate(sent) if arrived[place]
    ]
    theirs = [stored(bill(), InvoiceID=f"s{n}") for n in range(data.draw(st.integers(0, 4)))]
    rows = data.draw(st.permutations(real + theirs))
    found = judge(R.INVOICES, [Sought(each, MEANT) for each in sent], rows)
    assert [each.fate is Fate.ARRIVED for each in found] == arrived
    assert {each.fate for each in found} <= {Fate.ARRIVED, Fate.ABSENT}


# the catalogue


@pytest.mark.parametrize(
    "resource", [one for one, info in CATALOGUE.items() if Verb.CREATE in info.verbs]
)
def test_every_resource_that_is_written_can_be_found_again(resource: Resource) -> None:
    """A new resource of the catalogue without a way back fails here."""
    info = CATALOGUE[resource]
    if info.trace is Trace.KEY:
        assert info.key_field
    if not info.key_field or info.trace is not Trace.KEY or info.keyed:
        assert info.content
    else:
        kind = {"Type": next(iter(info.keyed), "")}
        assert unique_key(resource, {info.key_field: "k", **kind}) == "k"


def test_removals_are_known_by_verb_and_by_status() -> None:
    assert removes(R.ITEMS, Verb.DELETE, {})
    assert removes(R.INVOICES, Verb.UPDATE, {"Status": "VOIDED"})
    assert removes(R.CONTACTS, Verb.UPDATE, {"ContactStatus": "ARCHIVED"})
    assert not removes(R.INVOICES, Verb.UPDATE, {"Status": "AUTHORISED"})
    assert not removes(R.INVOICES, Verb.CREATE, {"Status": "VOIDED"})
    assert is_gone(R.ITEMS, None)
    assert is_gone(R.INVOICES, {"Status": "DELETED"})
    assert not is_gone(R.INVOICES, {"Status": "PAID"})


def test_moments_and_days_are_read_in_each_of_xeros_forms() -> None:
    assert day_of(NET_DAY) == day_of("2026-11-21") == day_of("2026-11-21T00:00:00") == "2026-11-21"
    assert day_of("soon") is day_of(None) is None
    assert changed_at({"UpdatedDateUTC": LATER}) == SINCE + timedelta(hours=1)
    assert changed_at({"DateUTC": "2026-11-21T10:00:00"}) == SINCE + timedelta(hours=1)
    assert changed_at({}) is None


def test_both_sides_are_told_in_a_few_words() -> None:
    row = stored(bill(), InvoiceID="x1", CurrencyCode="NZD")
    assert portrait(R.INVOICES, row) == "B-1, Ana Lee Ltd, 2026-11-21, 115.00 NZD, DRAFT, id x1"
    assert portrait(R.PAYMENTS, paid(payment(Reference="vt-P1"))) == (
        "vt-P1, for INV-1, 2026-11-21, 50.00, AUTHORISED, id p1"
    )
    assert len(portrait(R.HISTORY, {"Details": "x" * 999})) == 250

"""The ladder by which a record meets what Xero has already, and what stays Xero's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import trying
from xtiger.domain.meeting import Met, Rung, Side, fold, left_to_xero, meet, side
from xtiger.domain.resources import Resource

OURS = Side("", "xt-Contacts-7", "C-7", "ana@lee.nz", "Ana Lee Ltd")


def contact(xero_id: str = "x1", **more: str) -> Side:
    return Side(xero_id=xero_id, label=more.get("name", ""))._replace(**more)


def met(*theirs: Side, ours: Side = OURS, **more: Any) -> Met:
    return meet(Resource.CONTACTS, ours, theirs, taken=more.pop("taken", ()), **more)


@pytest.mark.parametrize(
    ("theirs", "rung"),
    [
        (contact(number="xt-Contacts-7", name="Other", account_number="C-9"), Rung.NUMBER),
        (
            contact(account_number=" c-7", name="Ana Lee Limited", email="a@b.nz"),
            Rung.ACCOUNT_NUMBER,
        ),
        (contact(email="ANA@lee.nz", name="ana  lee ltd"), Rung.EMAIL_AND_NAME),
        (contact(name="ANA LEE LTD"), Rung.NAME),
        (contact("X9", name="Quite another"), Rung.ID),
    ],
)
def test_the_rungs_of_the_ladder(theirs: Side, rung: Rung) -> None:
    ours = OURS._replace(xero_id="x9") if rung is Rung.ID else OURS
    found = met(theirs, ours=ours)
    assert (found.certain, found.by, found.sentence) == (theirs, rung, "")


@pytest.mark.parametrize(
    "theirs",
    [
        contact(email="ana@lee.nz", name="Somebody else"),  # an e-mail alone is nobody's
        contact(name="Ana Lee"),
        contact(number="XT-Contacts-7"),  # our marker is written one way
        contact(number="xt-Contacts-70"),
        contact(),
    ],
)
def test_what_is_merely_alike_isnt_met(theirs: Side) -> None:
    assert met(theirs) == Met()
    blank = Side(label="no words at all")
    assert met(theirs, blank, ours=Side(number="xt-Contacts-7")) == Met()


@pytest.mark.parametrize(
    "theirs",
    [
        contact(name="Ana Lee Ltd", email="ana@other.nz"),
        contact(name="Ana Lee Ltd", account_number="C-8"),
    ],
)
def test_a_name_that_is_contradicted_waits_for_a_person(theirs: Side) -> None:
    found = met(theirs)
    assert (found.certain, found.maybe) == (None, (theirs,))
    assert (
        found.sentence == "Another contact in Xero is called Ana Lee Ltd. Link them or rename one."
    )
    assert met(theirs, apart=["x1"]) == Met()
    assert met(theirs, chosen="x1")[:2] == (theirs, Rung.PERSON)


def test_two_that_may_be_it_wait_for_a_person_the_likeliest_first() -> None:
    by_name, by_number = contact("x1", name="Ana Lee Ltd"), contact("x2", account_number="C-7")
    found = met(by_name, by_number._replace(label="Lee"))
    assert [one.xero_id for one in found.maybe] == ["x2", "x1"]
    assert found.sentence == (
        "More than one contact in Xero may be it: Lee (its account number) and Ana Lee Ltd "
        "(its name). Link one of them."
    )
    # An archived one doesn't stand in the way of one in use.
    assert met(by_name, by_number._replace(status="ARCHIVED")).certain == by_name


def test_an_archived_one_and_one_of_another_record_are_said() -> None:
    archived = contact(name="Ana Lee Ltd", status="ARCHIVED")
    assert met(archived).sentence.startswith("This contact is archived in Xero.")
    # One that is another record's is another one: the CRM says so.
    assert met(contact(name="Ana Lee Ltd"), taken={"x1"}) == Met()
    own = met(contact("x9", name="Bo"), ours=OURS._replace(xero_id="x9"), taken={"x9"})
    assert own == Met()


def test_items_meet_by_their_code_alone() -> None:
    ours = side(Resource.ITEMS, {"Code": "W-1", "Name": "Widget"})
    theirs = side(Resource.ITEMS, {"ItemID": "i", "Code": "w-1", "Name": "Their widget"})
    found = meet(Resource.ITEMS, ours, [theirs], taken=())
    assert (found.certain, found.by) == (theirs, Rung.NUMBER)


texts = st.sampled_from(["", "a", "A ", "b", "c"])
sides = st.builds(
    Side,
    xero_id=st.sampled_from(["x1", "x2", "x3", "x4"]),
    number=texts,
    account_number=texts,
    email=texts,
    name=texts,
    status=st.sampled_from(["ACTIVE", "ACTIVE", "ARCHIVED"]),
)


@trying(max_examples=400)
@given(
    ours=sides.map(lambda one: one._replace(xero_id="")),
    theirs=st.lists(sides, max_size=4, unique_by=lambda one: one.xero_id),
    taken=st.sets(st.sampled_from(["x1", "x2"])),
    apart=st.sets(st.sampled_from(["x3", "x4"])),
)
def test_nothing_is_linked_that_shares_nothing_or_isnt_free(
    ours: Side, theirs: list[Side], taken: set[str], apart: set[str]
) -> None:
    found = meet(Resource.CONTACTS, ours, theirs, taken=taken, apart=apart)
    assert (found.certain is None) or not (found.maybe or found.sentence)
    assert bool(found.maybe) == bool(found.sentence)
    if (one := found.certain) is not None:
        assert one.xero_id not in taken
        assert one.xero_id not in apart
        assert one.number == ours.number != "" or any(
            fold(a) and fold(a) == fold(b)
            for a, b in ((ours.account_number, one.account_number), (ours.name, one.name))
        )
        alike = [
            each
            for each in theirs
            if each.xero_id not in apart
            and each.xero_id not in taken
            and each.status != "ARCHIVED"
            and fold(each.account_number) == fold(ours.account_number) != ""
        ]
        assert found.by in (Rung.NUMBER, Rung.ID) or all(each == one for each in alike)
    # The order in which Xero tells them decides nothing.
    again = meet(Resource.CONTACTS, ours, theirs[::-1], taken=taken, apart=apart)
    assert again.certain == found.certain or ours.number


PAYLOAD = {
    "ContactID": "x1",
    "Name": "Ana Lee Ltd",
    "FirstName": "Ana",
    "EmailAddress": "ana@lee.nz",
    "Phones": [
        {"PhoneType": "DEFAULT", "PhoneNumber": "04 1"},
        {"PhoneType": "DDI", "PhoneNumber": "5"},
    ],
    "Addresses": [{"AddressType": "POBOX", "City": "Nelson"}],
}
LISTED = ("EmailAddress", "Phones.DEFAULT")


def test_a_matched_contact_keeps_what_isnt_listed() -> None:
    assert left_to_xero(Resource.CONTACTS, PAYLOAD, PAYLOAD, {}, LISTED) == {
        "ContactID": "x1",
        "EmailAddress": "ana@lee.nz",
        "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": "04 1"}],
    }


def test_a_listed_field_that_is_empty_overwrites_nothing() -> None:
    blank = PAYLOAD | {"EmailAddress": "", "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": ""}]}
    created = {k: v for k, v in PAYLOAD.items() if k not in ("EmailAddress", "Phones", "ContactID")}
    assert left_to_xero(Resource.CONTACTS, blank, created, {}, LISTED) == {"ContactID": "x1"}


def test_what_changed_since_the_meeting_goes_whatever_the_list_says() -> None:
    now = PAYLOAD | {
        "FirstName": "Anna",
        "EmailAddress": "",
        "Addresses": [{"AddressType": "POBOX", "City": "Picton"}],
    }
    assert left_to_xero(Resource.CONTACTS, now, PAYLOAD, {}, ()) == {
        "ContactID": "x1",
        "FirstName": "Anna",
        "EmailAddress": "",
        "Addresses": [{"AddressType": "POBOX", "City": "Picton"}],
    }


def test_what_ever_went_over_goes_on_being_ours() -> None:
    agreed = {"FirstName": "Anna"}
    assert left_to_xero(Resource.CONTACTS, PAYLOAD, PAYLOAD, agreed, ()) == {
        "ContactID": "x1",
        "FirstName": "Ana",
    }


def test_members_of_an_items_details_are_told_apart() -> None:
    met = {"Code": "W-1", "SalesDetails": {"UnitPrice": 5, "AccountCode": "200"}, "IsSold": True}
    now = met | {"ItemID": "i", "SalesDetails": {"UnitPrice": 7, "AccountCode": "200"}}
    kept = left_to_xero(Resource.ITEMS, now, met, {}, ())
    assert kept == {"ItemID": "i", "SalesDetails": {"UnitPrice": 7}}
    whole = left_to_xero(Resource.ITEMS, now, met, {}, ("SalesDetails",))
    assert whole == {"ItemID": "i", "SalesDetails": {"UnitPrice": 7, "AccountCode": "200"}}
    assert left_to_xero(Resource.ITEMS, met | {"ItemID": "i"}, met, {}, ()) == {"ItemID": "i"}

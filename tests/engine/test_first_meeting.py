"""Contacts and items that Xero had before: found, not doubled, and left as they are."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    all_ended,
    bindings_of,
    change_profile,
    created,
    crm,
    in_xero,
    invoices,
    item_of,
    items,
    kept,
    retry,
    stranger,
    sync,
    tick,
    writes,
)
from xtiger.crm.builtin import Contact, Product
from xtiger.domain.errors import PermanentError, TransientError
from xtiger.engine import meeting
from xtiger.store import seen
from xtiger.store.models import Binding, LogEntry, Look, Profile, Seen, Template

ANA = {
    "Name": "Ana Lee Limited",
    "FirstName": "Ana Maria",
    "EmailAddress": "books@lee.nz",
    "AccountNumber": "C-17",
    "Addresses": [{"AddressType": "POBOX", "AddressLine1": "PO Box 9", "City": "Nelson"}],
}


def contact(engine: Engine, name: str, **fields: Any) -> Contact:
    with crm(engine) as session:
        row = books.contact(session, name, **fields)
    tick(engine, row)
    return row


def sentences(engine: Engine, label: str) -> list[str]:
    with engine.database.read() as session:
        rows = session.scalars(
            select(LogEntry).where(LogEntry.label == label).order_by(LogEntry.id)
        )
        return [str(row.sentence) for row in rows]


def test_a_contact_is_found_by_its_account_number_and_keeps_what_xero_has(
    each_engine: Engine,
) -> None:
    engine = each_engine
    engine.connect(KAURI, met=False)
    theirs = stranger(engine).created("Contacts", ANA)
    contact(
        engine,
        "Ana Lee Ltd",
        first_name="Ana",
        email="ana@lee.nz",
        account_number="c-17 ",
        city="Wellington",
        phone="04 123",
    )
    sync(engine)
    assert kept(engine)["contacts"] == 1
    [now] = in_xero(engine, "Contacts")
    assert now["ContactID"] == theirs["ContactID"] == bindings_of(engine)["Contacts:1"].xero_id
    # Only the listed fields went over, and only where the CRM has something to say.
    assert now["EmailAddress"] == "ana@lee.nz"
    assert "04 123" in str(now["Phones"])
    assert (now["Name"], now["FirstName"]) == ("Ana Lee Limited", "Ana Maria")
    assert "Nelson" in str(now["Addresses"])
    assert "Wellington" not in str(now["Addresses"])
    assert sentences(engine, "Ana Lee Ltd")[0] == (
        "Linked with Xero's Ana Lee Limited by its account number."
    )
    with engine.crm_sessions() as session:
        assert session.get(Contact, 1).xero_id == theirs["ContactID"]


def test_what_changes_in_the_crm_after_the_meeting_goes_over(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    stranger(engine).created("Contacts", ANA)
    row = contact(engine, "Ana Lee Ltd", account_number="C-17", city="Wellington")
    sync(engine)
    assert writes(engine, "Contacts")[1:] == []  # nothing of it had to change
    assert item_of(engine, "Ana Lee Ltd").state == "unchanged"
    with crm(engine) as session:
        session.get(Contact, row.id).first_name = "Anna"
    sync(engine)
    [now] = in_xero(engine, "Contacts")
    assert (now["FirstName"], now["Name"]) == ("Anna", "Ana Lee Limited")
    assert "Nelson" in str(now["Addresses"])
    with crm(engine) as session:
        session.get(Contact, row.id).city = "Picton"
    sync(engine)
    [now] = in_xero(engine, "Contacts")
    assert "Picton" in str(now["Addresses"])
    assert now["FirstName"] == "Anna"
    sync(engine)
    assert len(writes(engine, "Contacts")) == 3


def test_the_profile_lists_what_goes_over_xeros_own(engine: Engine) -> None:
    one = engine.connect(KAURI, met=False)[KAURI]
    with engine.database.write() as session:
        profile = session.scalars(
            select(Profile).where(Profile.organisation_id == one, Profile.module == "Contacts")
        ).one()
        profile.overwrites = ["Name", "Addresses.POBOX"]
    stranger(engine).created("Contacts", ANA)
    contact(engine, "Ana Lee Ltd", account_number="C-17", email="ana@lee.nz", city="Wellington")
    sync(engine)
    [now] = in_xero(engine, "Contacts")
    assert (now["Name"], now["EmailAddress"]) == ("Ana Lee Ltd", "books@lee.nz")
    assert "Wellington" in str(now["Addresses"])


def test_an_item_is_found_by_its_code_and_invoices_use_it(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    stranger(engine).created("Items", {"Code": "W-1", "Name": "Their widget"})
    invoices(engine, goods=True)
    sync(engine)
    assert all_ended(engine)
    assert created(engine) == ["INV-1"]
    [item] = in_xero(engine, "Items")
    assert item["Name"] == "Their widget"
    assert kept(engine)["items"] == 1
    assert item_of(engine, "W-1").state == "unchanged"


def test_an_uncertain_one_waits_for_a_person_and_what_needs_it_waits_too(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    theirs = stranger(engine).created("Contacts", ANA | {"Name": "Ana Lee Ltd"})
    row = contact(engine, "Ana Lee Ltd", email="ana@other.nz")
    invoices(engine)
    sync(engine)
    item = item_of(engine, "Ana Lee Ltd")
    assert (item.state, item.cause) == ("failed", meeting.UNCERTAIN)
    assert (
        item.sentence == "Another contact in Xero is called Ana Lee Ltd. Link them or rename one."
    )
    assert item_of(engine, "INV-1").state == "blocked"
    assert kept(engine)["contacts"] == 1
    [waiting] = meeting.waiting(engine.services)
    assert waiting.item.record_id == str(row.id)
    assert [one.email for one in waiting.maybe] == ["books@lee.nz"]
    assert meeting.link(engine.services, item.id, theirs["ContactID"], who="Ana") == "Ana Lee Ltd"
    sync(engine)
    assert all_ended(engine)
    assert kept(engine)["contacts"] == 1
    assert item_of(engine, "Ana Lee Ltd").id == item.id
    [now] = in_xero(engine, "Contacts")
    assert now["EmailAddress"] == "ana@other.nz"
    assert meeting.waiting(engine.services) == []
    with pytest.raises(PermanentError, match="doesn't wait for that any more"):
        meeting.link(engine.services, item.id, theirs["ContactID"], who="Ana")


def test_a_person_may_say_that_it_is_another(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    for name in ("Lee North", "Lee South"):
        stranger(engine).created("Contacts", {"Name": name, "AccountNumber": name[-5:]})
    contact(engine, "Lee North", account_number="south")
    sync(engine)
    item = item_of(engine, "Lee North")
    assert item.sentence == (
        "More than one contact in Xero may be it: Lee South (its account number) and Lee North "
        "(its name). Link one of them."
    )
    with crm(engine) as session:
        session.get(Contact, 1).name = "Lee West"
    retry(engine, "Lee North")
    # By its account number alone it is certain now; a person hasn't been asked in vain.
    assert items(engine)[-1].state in ("succeeded", "unchanged")
    assert kept(engine)["contacts"] == 2

    contact(engine, "Lee North", email="north@other.nz", account_number="N-2")
    sync(engine)
    again = items(engine)[-1]
    assert again.cause == meeting.UNCERTAIN
    meeting.create_new(engine.services, again.id, who="Ana")
    sync(engine)
    # Xero itself refuses a second active contact of that name; it says so in its own words.
    assert item_of(engine, "Lee North").cause != meeting.UNCERTAIN
    with crm(engine) as session:
        session.get(Contact, 2).name = "Lee North (2)"
    sync(engine)
    assert kept(engine)["contacts"] == 3


def test_an_archived_one_is_named(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    theirs = stranger(engine).created("Contacts", {"Name": "Gone Ltd"})
    stranger(engine).post(
        "Contacts", {"ContactID": theirs["ContactID"], "ContactStatus": "ARCHIVED"}
    )
    contact(engine, "Gone Ltd")
    sync(engine)
    item = item_of(engine, "Gone Ltd")
    assert item.sentence == (
        "This contact is archived in Xero. Restore it there and press Retry, or link another."
    )
    with pytest.raises(PermanentError, match="is archived in Xero"):
        meeting.link(engine.services, item.id, theirs["ContactID"], who="Ana")


def test_after_xero_refused_a_name_a_retry_finds_whose_it_is(engine: Engine) -> None:
    engine.connect(KAURI)  # looked at just now
    theirs = stranger(engine).created("Contacts", {"Name": "Newcomer Ltd"})
    contact(engine, "Newcomer Ltd")
    sync(engine)
    assert str(item_of(engine, "Newcomer Ltd").cause).startswith("name-taken")
    retry(engine, "Newcomer Ltd")
    assert item_of(engine, "Newcomer Ltd").state == "unchanged"
    assert bindings_of(engine)["Contacts:1"].xero_id == theirs["ContactID"]


def test_two_records_of_one_contact_dont_both_become_it(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    stranger(engine).created("Contacts", {"Name": "Twin Ltd"})
    contact(engine, "Twin Ltd")
    contact(engine, "twin  ltd")
    sync(engine)
    first, second = items(engine)
    assert first.state == "unchanged"
    # Xero refuses it, and says why: the CRM has it twice.
    assert second.state == "failed"
    assert str(second.cause).startswith("name-taken")
    assert kept(engine)["contacts"] == 1


def test_after_our_data_was_lost_the_crms_own_id_and_our_number_find_everything(
    engine: Engine,
) -> None:
    engine.connect(KAURI, met=False)
    contact(engine, "By id")
    contact(engine, "By number")
    with crm(engine) as session:
        product = books.product(session, "W-1")
    tick(engine, product)
    sync(engine)
    with engine.database.write() as session:
        for binding in session.scalars(select(Binding)):
            session.delete(binding)
    with crm(engine) as session:
        session.get(Contact, 1).name = "By id, renamed"
        session.get(Contact, 2).name = "By number, renamed"
        session.get(Contact, 2).xero_id = None
        session.get(Product, 1).price = 7
    with engine.database.write() as session:
        session.execute(delete(Look))
    sync(engine)
    assert all_ended(engine)
    assert kept(engine) == {"contacts": 2, "items": 1, "invoices": 0}
    assert "by its Xero id" in sentences(engine, "By id, renamed")[0]
    assert "by our number" in sentences(engine, "By number, renamed")[0]


def test_the_look_is_once_and_then_at_what_changed(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    contact(engine, "First")
    sync(engine)
    contact(engine, "Second")
    sync(engine)
    reads = [row for row in engine.requests(method="GET") if row["resource"] == "Contacts"]
    assert len(reads) == 1
    with crm(engine) as session:
        session.get(Contact, 1).city = "Nelson"
    with engine.database.write() as session:
        session.execute(delete(Look))
    sync(engine)  # an update alone needs no look
    assert len([r for r in engine.requests(method="GET") if r["resource"] == "Contacts"]) == 1


def product(engine: Engine, code: str, **fields: Any) -> Product:
    with crm(engine) as session:
        row = books.product(session, code, **fields)
    tick(engine, row)
    return row


def test_items_of_one_name_are_two(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    stranger(engine).created("Items", {"Code": "TS-S", "Name": "T-shirt"})
    product(engine, "TS-M", name="T-shirt")
    product(engine, "TS-S", name="T-shirt")
    sync(engine)
    assert all_ended(engine)
    assert sorted(row["Code"] for row in in_xero(engine, "Items")) == ["TS-M", "TS-S"]


def test_what_xero_has_no_more_isnt_linked(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI, met=False)[KAURI]
    theirs = stranger(engine).created("Items", {"Code": "W-1", "Name": "Theirs"})
    product(engine, "W-0")
    sync(engine)  # it is seen
    stranger(engine).call("DELETE", f"Items/{theirs['ItemID']}")
    with engine.database.write() as session:
        # Some time ago, but not so long that everything is read anew.
        look = session.get(Look, (one, "Items"))
        assert look is not None
        look.until -= timedelta(minutes=30) * engine.settings.time_factor
    product(engine, "W-1")
    sync(engine)
    assert item_of(engine, "W-1").state == "succeeded"
    assert sorted(row["Code"] for row in in_xero(engine, "Items")) == ["W-0", "W-1"]


def test_what_we_removed_ourselves_isnt_linked(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    change_profile(engine, "Products", deleted="remove")
    product(engine, "W-0")
    stranger(engine).created("Items", {"Code": "W-1", "Name": "Theirs"})
    gone = product(engine, "W-1")
    sync(engine)
    with crm(engine) as session:
        session.delete(session.get(Product, gone.id))
    sync(engine)
    assert [row["Code"] for row in in_xero(engine, "Items")] == ["W-0"]
    product(engine, "W-1", name="A new one")
    sync(engine)
    assert item_of(engine, "W-1").state == "succeeded"
    assert len(in_xero(engine, "Items")) == 2


def test_a_value_that_goes_back_to_what_it_was_at_the_meeting_goes_over(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    stranger(engine).created("Contacts", ANA)
    row = contact(engine, "Ana Lee Ltd", account_number="C-17", first_name="Ana")
    sync(engine)
    for name in ("Anna", "Ana", "Anne", ""):
        with crm(engine) as session:
            session.get(Contact, row.id).first_name = name
        sync(engine)
        [now] = in_xero(engine, "Contacts")
        assert now.get("FirstName", "") == name
    count = len(writes(engine, "Contacts"))
    sync(engine)
    assert len(writes(engine, "Contacts")) == count


def test_an_items_account_stays_when_its_price_changes(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    details = {"UnitPrice": 50, "AccountCode": "260"}
    stranger(engine).created("Items", {"Code": "W-1", "Name": "Theirs", "SalesDetails": details})
    row = product(engine, "W-1", price="100.00")
    sync(engine)
    with crm(engine) as session:
        session.get(Product, row.id).price = 75
    sync(engine)
    [item] = in_xero(engine, "Items")
    assert item["SalesDetails"]["UnitPrice"] == 75
    assert item["SalesDetails"]["AccountCode"] == "260"
    assert item["Name"] == "Theirs"


def test_only_while_empty_doesnt_overwrite_what_was_there_before(engine: Engine) -> None:
    one = engine.connect(KAURI, met=False)[KAURI]
    with engine.database.write() as session:
        template = session.scalars(
            select(Template).where(Template.organisation_id == one, Template.module == "Contacts")
        ).one()
        body = json.loads(json.dumps(template.body))
        for entry in body["fields"]:
            if entry["to"] == "EmailAddress":
                entry["overwrite"] = "blank"
        template.body = body
    stranger(engine).created("Contacts", ANA)
    contact(engine, "Ana Lee Ltd", account_number="C-17", email="ana@lee.nz")
    sync(engine)
    [now] = in_xero(engine, "Contacts")
    assert now["EmailAddress"] == "books@lee.nz"


def test_the_more_certain_record_has_it_whichever_stands_first(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    stranger(engine).created("Contacts", {"Name": "Acme", "AccountNumber": "A-9"})
    contact(engine, "Acme")
    contact(engine, "Acme Trading", account_number="A-9")
    sync(engine)
    states = {item.label: item.state for item in items(engine)}
    assert states == {"Acme": "failed", "Acme Trading": "unchanged"}


def test_none_of_those_can_be_taken_back(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    theirs = stranger(engine).created("Contacts", ANA | {"Name": "Ana Lee Ltd"})
    contact(engine, "Ana Lee Ltd", email="ana@other.nz")
    sync(engine)
    meeting.create_new(engine.services, item_of(engine, "Ana Lee Ltd").id, who="Ana")
    sync(engine)
    item = item_of(engine, "Ana Lee Ltd")
    assert str(item.cause).startswith("name-taken")  # Xero said so
    retry(engine, "Ana Lee Ltd")
    again = item_of(engine, "Ana Lee Ltd")
    assert (again.id, again.cause) == (item.id, meeting.UNCERTAIN)
    meeting.link(engine.services, item.id, theirs["ContactID"], who="Ana")
    sync(engine)
    assert all_ended(engine)
    assert kept(engine)["contacts"] == 1


def test_what_was_renamed_here_doesnt_stand_in_the_way_of_its_old_name(engine: Engine) -> None:
    engine.connect(KAURI, met=False)
    row = contact(engine, "Acme")
    sync(engine)
    with engine.database.write() as session:
        session.execute(delete(Look))  # so that Xero's Acme is seen under its old name
    contact(engine, "Other")
    sync(engine)
    with crm(engine) as session:
        session.get(Contact, row.id).name = "Acme Trading"
    sync(engine)
    contact(engine, "Acme")
    sync(engine)
    assert all_ended(engine)
    assert kept(engine)["contacts"] == 3


def test_a_long_look_that_breaks_goes_on_where_it_was(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.connect(KAURI, met=False)
    monkeypatch.setattr(meeting, "_SOME", 2)
    for number in range(6):
        stranger(engine).created("Contacts", {"Name": f"Theirs {number}"})
    put = seen.put
    calls: list[int] = []

    def breaks(session: Any, where: int, resource: Any, sides: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise TransientError("The database is full.")
        put(session, where, resource, sides)

    monkeypatch.setattr(seen, "put", breaks)
    contact(engine, "Ours")
    sync(engine)
    with engine.database.read() as session:
        assert len(session.scalars(select(Seen)).all()) == 4
        assert session.scalars(select(Look)).one().until is not None
    assert created(engine, "Contacts")[6:] == []  # nothing goes before everything is known

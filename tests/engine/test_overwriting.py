"""Fields that aren't overwritten: what people have in Xero stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine import scenes
from tests.engine.mapping_scenes import (
    bench,
    changed,
    field,
    in_use,
    newest,
)
from xtiger.crm.builtin import Contact
from xtiger.domain.records import Module
from xtiger.engine.mapping import trials
from xtiger.engine.mapping.versions import (
    save,
)


@pytest.fixture
def kauri(engine: Engine) -> int:
    return engine.connect(scenes.KAURI)[scenes.KAURI]


def of_contact(engine: Engine, name: str = "Ana Lee Ltd") -> dict[str, Any]:
    """A contact as Xero shows it, its phones and addresses by type."""
    row = next(one for one in scenes.in_xero(engine, "Contacts") if one["Name"] == name)
    row["Phones"] = {one["PhoneType"]: one["PhoneNumber"] for one in row["Phones"]}
    row["Addresses"] = {one["AddressType"]: one["City"] for one in row["Addresses"]}
    return row


@pytest.mark.parametrize("overwrite", ["never", "blank"])
def test_what_isnt_overwritten_stays_as_xero_has_it(
    engine: Engine, kauri: int, overwrite: str
) -> None:
    """A person changes phone, city and mail in Xero; the CRM changes them too, and the name."""
    at = bench(engine, kauri, Module.CONTACTS)
    template = in_use(at)
    for to, name in (
        ("Phones.DEFAULT.PhoneNumber", "phone"),
        ("Addresses.POBOX.City", "city"),
        ("EmailAddress", "email"),
    ):
        template = changed(template, to, field(name), overwrite=overwrite)
    save(engine.services, at, template, seen=1, who="Ana")
    with scenes.crm(engine) as session:
        made = books.contact(session, phone="1", city="Wellington", email="a@lee.test")
    scenes.tick(engine, made)
    scenes.sync(engine)
    assert of_contact(engine)["Phones"]["DEFAULT"] == "1"
    scenes.sync(engine)
    assert [state for _, state in scenes.queue_of(engine)] == ["succeeded"], "created is agreed"

    one = of_contact(engine)
    theirs = {
        "ContactID": one["ContactID"],
        "EmailAddress": "x@xero.test",
        "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": "7"}],
        "Addresses": [{"AddressType": "POBOX", "City": "Xanadu"}],
    }
    scenes.stranger(engine).post("Contacts", {"Contacts": [theirs]})
    with scenes.crm(engine) as session:
        row = session.get_one(Contact, made.id)
        row.phone, row.city, row.email, row.last_name = "2", "Porirua", "b@lee.test", "Lee"
    tried = mappings_trial(engine, kauri)
    element = json.loads(tried.request)["Contacts"][0]
    assert set(element) == {"ContactID", "Name", "LastName"}
    scenes.sync(engine)
    now = of_contact(engine)
    assert now["LastName"] == "Lee"
    assert now["EmailAddress"] == "x@xero.test"
    assert now["Phones"]["DEFAULT"] == "7"
    assert now["Addresses"]["POBOX"] == "Xanadu"
    calls = len(scenes.writes(engine, "Contacts"))
    with scenes.crm(engine) as session:
        session.get_one(Contact, made.id).phone = "3"
    scenes.sync(engine)
    assert len(scenes.writes(engine, "Contacts")) == calls, "what isn't sent is no change"


def test_a_field_only_written_while_blank_is_written_once(engine: Engine, kauri: int) -> None:
    at = bench(engine, kauri, Module.CONTACTS)
    template = changed(in_use(at), "EmailAddress", field("email"), overwrite="blank")
    save(engine.services, at, template, seen=1, who="Ana")
    with scenes.crm(engine) as session:
        made = books.contact(session)
    scenes.tick(engine, made)
    scenes.sync(engine)
    for mail, there in (("a@lee.test", "a@lee.test"), ("b@lee.test", "a@lee.test")):
        with scenes.crm(engine) as session:
            session.get_one(Contact, made.id).email = mail
        scenes.sync(engine)
        assert of_contact(engine)["EmailAddress"] == there


def mappings_trial(engine: Engine, organisation: int) -> trials.Trial:
    at = bench(engine, organisation, Module.CONTACTS)
    return trials.trial(engine.services, at, in_use(at), newest(engine, at))


@pytest.mark.parametrize("seconds", [200, 500])
@pytest.mark.parametrize("overwrite", ["never", "blank"])
def test_an_update_whose_answer_was_lost_forgets_nothing_of_what_isnt_overwritten(
    engine: Engine, kauri: int, overwrite: str, seconds: float
) -> None:
    """Replayed, or sent anew after a look-up: its bytes don't name the fields that were held."""
    at = bench(engine, kauri, Module.CONTACTS)
    template = changed(in_use(at), "EmailAddress", field("email"), overwrite=overwrite)
    number = changed(template, "Phones.DEFAULT.PhoneNumber", field("phone"), overwrite=overwrite)
    save(engine.services, at, number, seen=1, who="Ana")
    with scenes.crm(engine) as session:
        made = books.contact(session, phone="1", email="a@lee.test")
    scenes.tick(engine, made)
    scenes.sync(engine)
    with scenes.crm(engine) as session:
        row = session.get_one(Contact, made.id)
        row.phone, row.email, row.last_name = "2", "b@lee.test", "Lee"
    scenes.ask(engine, kauri)
    scenes.die_at(engine, kauri, "answered")
    scenes.survive(engine, kauri, seconds)
    assert scenes.all_ended(engine)
    calls = len(scenes.writes(engine, "Contacts"))
    with scenes.crm(engine) as session:
        row = session.get_one(Contact, made.id)
        row.phone, row.email = "3", "c@lee.test"
    scenes.sync(engine)
    one = of_contact(engine)
    assert (one["Phones"]["DEFAULT"], one["EmailAddress"]) == ("1", "a@lee.test")
    assert one["LastName"] == "Lee"
    assert len(scenes.writes(engine, "Contacts")) == calls, "what isn't sent is no change"

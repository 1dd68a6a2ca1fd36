"""Reference data is kept with its age, read on request and each night, and warned of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    THAMES,
    ShiftedClock,
    change_organisation,
    crm,
    fault,
    invoices,
    item_of,
    organisation,
    retry,
    stranger,
    sync,
    tick,
)
from xtiger.crm.builtin import Product
from xtiger.domain.errors import XTigerError
from xtiger.domain.schedules import Schedule, When
from xtiger.engine.connection import reference
from xtiger.engine.connection.reference import BESIDES, CALLS, NIGHT, RULES
from xtiger.engine.mapping import uses
from xtiger.engine.services import Services
from xtiger.engine.upkeep import doctor
from xtiger.store import profiles


def kept(engine: Engine, one: int) -> dict[str, Any]:
    with engine.database.read() as session:
        return profiles.reference(session, one)


def warned(engine: Engine, one: int) -> list[str]:
    with engine.database.read() as session:
        return [each.sentence for each in uses.warnings(session, one)]


def reads(engine: Engine) -> int:
    return len(engine.requests(method="GET"))


def night(engine: Engine, name: str = "Pacific/Auckland", nights: int = 1) -> Services:
    """A worker just after a coming night has begun there."""
    turn = Schedule(When.DAILY, daily=NIGHT, zone=name).next_turn(datetime.now(UTC))
    assert turn is not None
    ahead = turn + timedelta(days=nights - 1, seconds=5) - datetime.now(UTC)
    return engine.worker(f"night {nights}", clock=ShiftedClock(ahead.total_seconds()))


def archive(engine: Engine, code: str) -> None:
    """Somebody archives an account in Xero."""
    client = stranger(engine)
    [row] = [each for each in client.get("Accounts").json()["Accounts"] if each.get("Code") == code]
    answer = client.call(
        "POST",
        f"Accounts/{row['AccountID']}",
        json={"AccountID": row["AccountID"], "Status": "ARCHIVED"},
    )
    assert answer.status_code == 200, answer.text


def test_everything_is_kept_by_kind_with_its_age(each_engine: Engine) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    known = kept(engine, one)
    assert {*RULES, *BESIDES} <= known.keys()
    for kind, count in (("accounts", 20), ("tax_rates", 4), ("currencies", 1)):
        assert len(known[kind].data) >= count
    assert {row["Code"] for row in known["currencies"].data} >= {"NZD"}
    assert all(datetime.now(UTC) - row.read_at < timedelta(minutes=1) for row in known.values())
    before = reads(engine)
    reference.refresh_reference(engine.services, one, whole=True)
    assert reads(engine) - before == CALLS == 7
    before = reads(engine)
    reference.refresh_reference(engine.services, one)
    assert reads(engine) - before == 4


def test_items_are_kept_without_what_nobody_asks_for(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    stranger(engine).created(
        "Items", {"Code": "W-9", "Name": "Widget", "Description": "A long one"}
    )
    reference.refresh_reference(engine.services, one, whole=True)
    [item] = kept(engine, one)["items"].data
    assert item.keys() == {"ItemID", "Code", "Name"}


def test_a_currency_that_xero_lacks_is_said_before_the_call(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine, currency="CHF")
    sync(engine)
    assert item_of(engine, "INV-1").sentence == (
        f"{KAURI} has no CHF. Add the currency in Xero, then retry."
    )
    assert engine.requests(method="PUT", resource="Invoices") == []
    stranger(engine).call("PUT", "Currencies", json={"Code": "CHF", "Description": "Franc"})
    retry(engine, "INV-1")
    assert item_of(engine, "INV-1").state == "succeeded"


def test_each_night_is_read_once_however_many_schedulers_ask(each_engine: Engine) -> None:
    engine = each_engine
    ids = engine.connect()
    assert reference.nightly(engine.services) == [], "it was read a moment ago"
    nights = {ids[KAURI]: night(engine), ids[THAMES]: night(engine, "Europe/London")}
    for one, services in sorted(nights.items(), key=lambda each: each[1].clock.now()):
        assert reference.nightly(services) == [one], "where it is night"
        assert reference.nightly(services) == []
        assert reference.nightly(engine.worker("other", clock=services.clock)) == []
    assert ids[KAURI] in reference.nightly(night(engine, nights=2))


def test_a_failed_night_is_tried_again_an_hour_later(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    services = night(engine)
    clock = services.clock
    assert isinstance(clock, ShiftedClock)
    before = kept(engine, one)["accounts"].read_at
    fault(engine, "status", status=503, resource="Accounts", method="GET", count=1)
    assert reference.nightly(services) == []
    assert kept(engine, one)["accounts"].read_at == before, "what was read stays"
    assert reference.nightly(services) == [], "not at once"
    clock.shift += timedelta(minutes=61)
    assert reference.nightly(services) == [one]


@pytest.mark.parametrize(
    "values", [{"removed": "Gone."}, {"chosen": False}, {"connection_id": None}]
)
def test_an_organisation_that_nobody_may_read_is_left_alone(
    engine: Engine, values: dict[str, Any]
) -> None:
    engine.connect(KAURI)
    change_organisation(engine, **values)
    before = reads(engine)
    assert reference.nightly(night(engine)) == []
    assert reads(engine) == before


def test_who_uses_an_account_is_counted(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        for number in range(3):
            books.product(session, f"W-{number}").sales_account = "260"
    reference.refresh_reference(engine.services, one, whole=True)
    with engine.database.read() as session:
        found = uses.uses(session, one)["accounts"]
    assert (found["260"].words, found["200"].words) == ("3 products", "3 mappings")
    assert found["200"].mappings == ["Products", "Services", "Invoice"]


def test_the_night_warns_of_an_archived_account_until_nobody_uses_it(
    each_engine: Engine,
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        goods = books.product(session)
        goods.sales_account = "260"
    assert warned(engine, one) == []
    archive(engine, "260")
    archive(engine, "300")
    assert warned(engine, one) == [], "nobody knows yet"
    reference.nightly(night(engine))
    assert warned(engine, one) == [
        "Account 260 is archived in Xero, used by 1 product.",
        "Account 300 is archived in Xero, used by 3 mappings.",
    ]
    with crm(engine) as session:
        session.get(Product, goods.id).sales_account = "200"
    reference.refresh_reference(engine.services, one, whole=True)
    assert warned(engine, one) == ["Account 300 is archived in Xero, used by 3 mappings."]
    [finding] = [
        each for each in doctor.examine(engine.services).findings if each.check == "archived"
    ]
    assert finding.sentence == f"{KAURI}: Account 300 is archived in Xero, used by 3 mappings."
    with engine.database.read() as session:
        shown = uses.kept_warnings(session, [one])
    assert [(each.cause, each.users) for each in shown[one]] == [
        ("Account 300 is archived in Xero", "3 mappings")
    ], "what every page shows is what was found"


def test_records_that_fail_for_it_are_counted_in_the_warning(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    archive(engine, "200")
    invoices(engine, 3)
    reference.refresh_reference(engine.services, one, whole=True)
    sync(engine)
    assert warned(engine, one) == [
        "Account 200 is archived in Xero, used by 3 mappings, 3 failed records."
    ]


def test_an_item_that_was_deleted_in_xero_is_warned_of(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        goods = books.product(session)
    tick(engine, goods)
    sync(engine)
    client = stranger(engine)
    [item] = client.get("Items").json()["Items"]
    assert client.call("DELETE", f"Items/{item['ItemID']}").status_code == 204
    services = night(engine)
    reference.nightly(services)
    assert warned(engine, one) == [
        f"Item {item['Code']} isn't in Xero any more, used by 1 product."
    ]


def test_a_refusal_leaves_what_was_read_before(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    before = {kind: row.read_at for kind, row in kept(engine, one).items()}
    fault(engine, "status", status=503, resource="TaxRates", method="GET", count=9)
    with pytest.raises(XTigerError):
        reference.refresh_reference(engine.services, one, whole=True)
    assert {kind: row.read_at for kind, row in kept(engine, one).items()} == before
    assert organisation(engine).name == KAURI


def test_whatever_reads_the_accounts_finds_what_is_archived(each_engine: Engine) -> None:
    """Before a run only what rules go by is read; what every page shows follows at once."""
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]

    def shown() -> list[str]:
        with engine.database.read() as session:
            found = uses.kept_warnings(session, [one])
        return [each.cause for each in found.get(one, [])]

    assert shown() == []
    archive(engine, "300")
    reference.refresh_reference(engine.services, one)
    assert shown() == ["Account 300 is archived in Xero"]
    with engine.database.read() as session:
        assert shown() == [each.cause for each in uses.warnings(session, one)]

"""Lines reach Xero under the tracking options that the mapping gives them, and stay there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.mapping_scenes import bench, changed, constant, field, in_use, newest
from tests.engine.scenes import (
    KAURI,
    all_ended,
    ask,
    bindings_of,
    crm,
    die_at,
    in_xero,
    invoices,
    item_of,
    retry,
    stranger,
    survive,
    sync,
    tick,
    writes,
)
from xtiger.crm.builtin import Invoice
from xtiger.domain.records import DocumentType
from xtiger.engine.connection import reference
from xtiger.engine.mapping import checks, mappings, trials, uses
from xtiger.engine.mapping.versions import Refused, save

REGION = {"Name": "Region", "Options": [{"Name": "North"}, {"Name": "South Island"}]}
CAMPAIGN = {"Name": "Campaign", "Options": [{"Name": "Spring"}]}


def categories(engine: Engine, *wanted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Tracking categories of Xero, made there with their options, by name."""
    client = stranger(engine)
    made = {}
    for one in wanted:
        category = client.created("TrackingCategories", {"Name": one["Name"]})
        for option in one["Options"]:
            path = f"TrackingCategories/{category['TrackingCategoryID']}/Options"
            assert client.put(path, option).status_code == 200
        path = f"TrackingCategories/{category['TrackingCategoryID']}"
        made[one["Name"]] = client.get(path).json()["TrackingCategories"][0]
    return made


def archive(engine: Engine, category: dict[str, Any], option: str) -> None:
    [found] = [one for one in category["Options"] if one["Name"] == option]
    path = f"TrackingCategories/{category['TrackingCategoryID']}/Options"
    body = {"Name": option, "Status": "ARCHIVED"}
    answer = stranger(engine).post(f"{path}/{found['TrackingOptionID']}", body)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def kauri(engine: Engine) -> int:
    return engine.connect(KAURI)[KAURI]


@pytest.fixture
def region(engine: Engine, kauri: int) -> dict[str, Any]:
    """Kauri's categories, read."""
    made = categories(engine, REGION, CAMPAIGN)
    reference.refresh_reference(engine.services, kauri, whole=True)
    return made["Region"]


def track(engine: Engine, kauri: int, source: dict[str, Any], category: str = "Region") -> None:
    on = bench(engine, kauri)
    template = changed(in_use(on), "Tracking1", source, category=category)
    template = changed(template, "Tracking2", constant("Spring"), category="Campaign")
    save(engine.services, on, template, seen=on.seen, who="Ana")


def tracked(engine: Engine) -> list[list[tuple[str, str]]]:
    """Category and option of each line of the one document in Xero."""
    [found] = in_xero(engine, "Invoices")
    return [
        [(one["Name"], one["Option"]) for one in line["Tracking"]] for line in found["LineItems"]
    ]


BY_DESCRIPTION = {
    "transform": "lookup",
    "of": field("description"),
    "table": {"Work": "north", "Freight": "SOUTH island"},
    "unmatched": "default",
}


def test_lines_are_tracked_in_xero_and_what_is_the_same_costs_no_call(
    engine: Engine, kauri: int, region: dict[str, Any]
) -> None:
    track(engine, kauri, BY_DESCRIPTION)
    [row] = invoices(engine)
    sync(engine)
    assert all_ended(engine)
    assert tracked(engine) == [[("Campaign", "Spring"), ("Region", "North")]]
    calls = len(writes(engine))
    tick(engine, row)
    sync(engine)
    assert len(writes(engine)) == calls
    with crm(engine) as session:
        session.get_one(Invoice, row.id).lines[0].description = "Freight"
    sync(engine)
    assert tracked(engine) == [[("Campaign", "Spring"), ("Region", "South Island")]]
    with crm(engine) as session:
        session.get_one(Invoice, row.id).lines[0].description = "Nothing"
    sync(engine)
    assert tracked(engine) == [[("Campaign", "Spring")]]


def test_an_option_that_xero_hasnt_fails_with_its_name_and_goes_once_it_is_there(
    engine: Engine, kauri: int, region: dict[str, Any]
) -> None:
    track(engine, kauri, field("description"))
    invoices(engine)
    sync(engine)
    item = item_of(engine, "INV-1")
    assert item.sentence == (
        "Xero's tracking category “Region” has no active option “Work”. "
        "Choose another, or add it in Xero."
    )
    assert item.cause == "tracking-option:Region:Work"
    assert writes(engine, "Invoices") == []
    path = f"TrackingCategories/{region['TrackingCategoryID']}/Options"
    assert stranger(engine).put(path, {"Name": "Work"}).status_code == 200
    # What was read is older than the retry: the categories are read again with the rest.
    retry(engine, "INV-1")
    assert item_of(engine, "INV-1").state == "succeeded"
    assert tracked(engine) == [[("Campaign", "Spring"), ("Region", "Work")]]


def test_an_option_that_xero_refuses_meanwhile_is_said_in_the_same_words(
    engine: Engine, kauri: int, region: dict[str, Any]
) -> None:
    track(engine, kauri, BY_DESCRIPTION)
    archive(engine, region, "North")
    invoices(engine)
    sync(engine)
    item = item_of(engine, "INV-1")
    assert len(writes(engine, "Invoices")) == 1, "only Xero knew"
    assert item.cause == "tracking-option:Region:North"
    assert item.sentence == (
        "Xero's tracking category “Region” has no active option “North”. "
        "Choose another, or add it in Xero."
    )


def test_a_tracked_bill_whose_answer_was_lost_is_found_again(
    engine: Engine, kauri: int, region: dict[str, Any]
) -> None:
    """Xero answers with ids and names of its own beside what was sent."""
    on = bench(engine, kauri)
    bill = replace(on.place, document_type=DocumentType.BILL)
    on = mappings.bench(engine.services, bill)
    template = changed(in_use(on), "Tracking1", constant("North"), category="Region")
    save(engine.services, on, template, seen=on.seen, who="Ana")
    with crm(engine) as session:
        row = books.invoice(session, "B-1", books.contact(session))
    tick(engine, row, document_type=DocumentType.BILL)
    ask(engine, kauri)
    die_at(engine, kauri, "answered", nth=2)
    survive(engine, kauri, 500)
    assert all_ended(engine)
    assert tracked(engine) == [[("Region", "North")]]
    assert bindings_of(engine)[f"Invoices:{row.id}"].agreed_hash


def test_what_is_wrong_with_tracking_is_said_on_saving_with_a_guess(
    engine: Engine, kauri: int, region: dict[str, Any]
) -> None:
    on = bench(engine, kauri)
    template = in_use(on)
    archive(engine, region, "South Island")
    reference.refresh_reference(engine.services, kauri, whole=True)
    on = bench(engine, kauri)
    for category, option, sentence in (
        (
            "Regoin",
            "North",
            "Xero has no active tracking category “Regoin”. Choose another in the mapping, or "
            "restore it in Xero. Did you mean “Region”?",
        ),
        (
            "Region",
            "Nort",
            "Xero's tracking category “Region” has no active option “Nort”. Choose another, or "
            "add it in Xero. Did you mean “North”?",
        ),
        (
            "Region",
            "South Island",
            "Xero's tracking category “Region” has no active option “South Island”. Choose "
            "another, or add it in Xero.",
        ),
    ):
        wrong = changed(template, "Tracking1", constant(option), category=category)
        found = checks.problems(on, wrong)
        assert [(one.where, one.to, one.sentence) for one in found] == [
            ("lines", "Tracking1", sentence)
        ]
        with pytest.raises(Refused):
            save(engine.services, on, wrong, seen=on.seen, who="Ana")
    twice = changed(template, "Tracking1", constant("North"), category="Region")
    twice = changed(twice, "Tracking2", constant("North"), category="region")
    [found_one] = checks.problems(on, twice)
    assert found_one.to == "Tracking2"
    good = changed(template, "Tracking1", constant("north"), category="region")
    assert checks.problems(on, good) == ()
    invoices(engine)
    trial = trials.trial(engine.services, on, good, newest(engine, on))
    assert '"Tracking"' in trial.request
    assert trial.faults == ()


def test_the_night_warns_of_an_option_that_was_archived(
    engine: Engine, kauri: int, region: dict[str, Any]
) -> None:
    track(engine, kauri, BY_DESCRIPTION)

    def warned() -> list[str]:
        with engine.database.read() as session:
            return [each.sentence for each in uses.warnings(session, kauri)]

    assert warned() == []
    archive(engine, region, "North")
    reference.refresh_reference(engine.services, kauri, whole=True)
    assert warned() == ["Tracking Region: north is archived in Xero, used by 1 mapping."]
    invoices(engine)
    sync(engine)
    assert warned() == [
        "Tracking Region: north is archived in Xero, used by 1 mapping, 1 failed record."
    ]


def test_categories_are_read_with_the_rules_only_where_a_mapping_tracks(
    engine: Engine, kauri: int, region: dict[str, Any]
) -> None:
    def reads() -> int:
        return len(engine.requests(method="GET", resource="TrackingCategories"))

    before = reads()
    reference.refresh_reference(engine.services, kauri)
    assert reads() == before
    track(engine, kauri, BY_DESCRIPTION)
    reference.refresh_reference(engine.services, kauri)
    assert reads() == before + 1

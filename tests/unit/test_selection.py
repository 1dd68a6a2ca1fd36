"""Selection and routing: which records go, where, and the sentence when they don't."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from xtiger.domain.records import Module, Record, RecordRef, SyncFlag
from xtiger.domain.selection import (
    Reason,
    RuleKind,
    SelectionRule,
    SyncProfile,
    overlaps,
    select,
)

NZ, GB = 1, 2


def record(module: Module = Module.INVOICES, **changes: Any) -> Record:
    return Record(
        ref=RecordRef(module, "7"),
        label="INV-7",
        version="1",
        created_at=changes.pop("created_at", datetime(2026, 11, 3, tzinfo=UTC)),
        fields={"currency": changes.pop("currency", "NZD")},
        status=changes.pop("status", "Approved"),
    )


def profile(
    organisation: int = NZ, module: Module = Module.INVOICES, **changes: Any
) -> SyncProfile:
    name = {NZ: "Acme NZ", GB: "Acme UK"}[organisation]
    return SyncProfile(organisation, name, module, **changes)


TICKED = SyncFlag(allow=True)


@pytest.mark.parametrize(
    ("given", "flag", "rule", "sentence"),
    [
        ({}, SyncFlag(), SelectionRule(), "Allow Xero Sync isn't ticked."),
        (
            {"status": "Created"},
            TICKED,
            SelectionRule(RuleKind.STATUS, frozenset({"Approved", "Paid"})),
            "Its status is Created; only Approved and Paid go over.",
        ),
        (
            {"created_at": datetime(2026, 10, 3, tzinfo=UTC)},
            TICKED,
            SelectionRule(created_from=date(2026, 11, 1)),
            "It was created on 3 Oct 2026; syncing starts with 1 Nov 2026.",
        ),
    ],
)
def test_what_stays_says_why(given: Any, flag: Any, rule: Any, sentence: str) -> None:
    [decision] = select(record(**given), flag, [profile(rule=rule)])
    assert not decision.selected
    assert decision.sentence == sentence


@pytest.mark.parametrize(
    ("flag", "rule"),
    [
        (TICKED, SelectionRule()),
        (SyncFlag(), SelectionRule(RuleKind.ALL)),
        (SyncFlag(), SelectionRule(RuleKind.STATUS, frozenset({"Approved"}))),
    ],
)
def test_each_rule_lets_its_records_go(flag: SyncFlag, rule: SelectionRule) -> None:
    [decision] = select(record(), flag, [profile(rule=rule)])
    assert (decision.selected, decision.organisation_id) == (True, NZ)


def test_a_switched_off_module_and_no_organisation_say_so() -> None:
    [off] = select(record(), TICKED, [profile(enabled=False)])
    assert off.sentence == "Invoices aren't switched on for Acme NZ."
    [none] = select(record(), TICKED, [])
    assert none.reason is Reason.NOT_CONNECTED


def test_a_document_goes_to_exactly_one_organisation() -> None:
    both = [profile(NZ), profile(GB, route_field="currency", route_value="GBP")]
    for currency, where in (("NZD", NZ), ("GBP", GB)):
        chosen = [one for one in select(record(currency=currency), TICKED, both) if one.selected]
        assert [one.organisation_id for one in chosen] == [where]


def test_the_records_own_choice_comes_first() -> None:
    both = [profile(NZ), profile(GB, route_field="currency", route_value="GBP")]
    [decision] = select(record(), SyncFlag(allow=True, organisation_id=GB), both)
    assert decision.organisation_id == GB


def test_a_needed_contact_stays_in_step_until_somebody_unticks_it() -> None:
    rules = [profile(module=Module.CONTACTS)]
    contact = record(Module.CONTACTS)
    assert select(contact, SyncFlag(), rules, needed_by=frozenset({NZ}))[0].selected
    assert not select(contact, SyncFlag(allow=False), rules, needed_by=frozenset({NZ}))[0].selected


def test_overlapping_routes_are_refused_with_both_names() -> None:
    sentence = overlaps([profile(NZ), profile(GB)])
    assert sentence is not None
    assert "Acme NZ and to Acme UK: both are the default" in sentence
    assert overlaps([profile(NZ), profile(GB, route_field="currency", route_value="GBP")]) is None
    contacts = [profile(NZ, Module.CONTACTS), profile(GB, Module.CONTACTS)]
    assert overlaps(contacts) is None


def test_a_cut_off_counts_days_by_the_organisations_clocks() -> None:
    rule = SelectionRule(RuleKind.ALL, created_from=date(2026, 11, 1))
    auckland = profile(rule=rule, zone="Pacific/Auckland")
    made = datetime(2026, 10, 31, 11, 0, tzinfo=UTC)  # midnight there
    assert select(record(created_at=made), TICKED, [auckland])[0].selected
    [decision] = select(record(created_at=made - timedelta(minutes=1)), TICKED, [auckland])
    assert decision.sentence == ("It was created on 31 Oct 2026; syncing starts with 1 Nov 2026.")


@pytest.mark.parametrize(
    ("day", "sentence"),
    [
        (date(2026, 11, 1), "It is selected."),
        (
            date(2026, 10, 31),
            "It is dated 31 Oct 2026; syncing starts with the date 1 Nov 2026.",
        ),
        (None, "It has no date; only invoices dated from 1 Nov 2026 on go over."),
    ],
)
def test_dated_from_goes_by_the_documents_own_day(day: date | None, sentence: str) -> None:
    rule = SelectionRule(RuleKind.ALL, dated_from=date(2026, 11, 1), dated_by="invoicedate")
    dated = replace(record(), fields={"currency": "NZD", "invoicedate": day})
    [decision] = select(dated, SyncFlag(), [profile(rule=rule)])
    assert decision.sentence == sentence
    contact = select(record(Module.CONTACTS), TICKED, [profile(module=Module.CONTACTS, rule=rule)])
    assert contact[0].selected, "contacts have no day of their own"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("gbp", "GBP"),
        (" GBP ", "gbp"),
        ("New  Zealand", "new zealand"),
        ("Yes", True),
        ("yes", "1"),
        ("No", False),
        ("STRASSE", "straße"),
    ],
)
def test_conditions_look_past_capitals_and_blanks(written: str, value: Any) -> None:
    both = [profile(NZ), profile(GB, route_field="currency", route_value=written)]
    [decision] = select(record(currency=value), TICKED, both)
    assert decision.organisation_id == GB
    assert overlaps(
        [
            profile(NZ, route_field="currency", route_value=written),
            profile(GB, route_field="currency", route_value=str(value)),
        ]
    )


def test_conditions_on_two_fields_can_both_be_true_and_are_refused() -> None:
    both = [
        profile(NZ, route_field="region", route_value="North"),
        profile(GB, route_field="currency", route_value="GBP"),
    ]
    assert overlaps(both, {"region": "Region", "currency": "Currency"}) == (
        "Invoices would go to Acme NZ and to Acme UK: one may have Region = North and Currency = "
        "GBP. Let both ask for the same field."
    )
    assert overlaps([both[0], replace(both[1], enabled=False)]) is None


def test_three_organisations_are_looked_at_two_by_two() -> None:
    third = SyncProfile(3, "Acme AU", Module.INVOICES, route_field="currency", route_value="gbp")
    first = profile(NZ)
    second = profile(GB, route_field="currency", route_value="GBP")
    sentence = overlaps([first, second, third])
    assert sentence is not None
    assert "to Acme UK and to Acme AU: both take currency = gbp" in sentence


def test_what_is_switched_off_takes_no_document_from_what_is_on() -> None:
    both = [profile(NZ, enabled=False), profile(GB)]
    [decision] = select(record(), TICKED, both)
    assert (decision.selected, decision.organisation_id) == (True, GB)
    [decision] = select(record(), TICKED, both[:1])
    assert decision.sentence == "Invoices aren't switched on for Acme NZ."

"""Selection and routing: which records go, where, and the sentence when they don't."""

from datetime import UTC, date, datetime
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

"""Xero's words turned into a cause, a fix and a fingerprint."""

from __future__ import annotations

import re
import time
from string import Formatter

import pytest

from xtiger.domain.hints import CAUSES, MESSAGES, explain, fault, hint, message_pattern

NAME_TAKEN = (
    "The contact name Ana Lee Ltd is already assigned to another contact. "
    "The contact name must be unique across all active contacts."
)
ARCHIVED = (
    "Account code '200' has been archived, or has been deleted. "
    "Each line item must reference a valid account."
)
FORBIDDEN = (
    "error occurred",
    "something went wrong",
    "invalid",
    "oops",
    "please",
    "successfully",
    "try again later",
    "unknown error",
    "!",
)


def test_a_taken_contact_name_is_named_with_what_to_do() -> None:
    found = explain([NAME_TAKEN])
    assert found.sentence == (
        "Another contact in Xero is called Ana Lee Ltd. Link them or rename one."
    )
    assert found.fingerprint == "name-taken:Ana Lee Ltd"
    assert found.cause == "Another contact in Xero is called Ana Lee Ltd."
    assert found.fix == "Link them or rename one."


def test_an_archived_account_groups_by_its_code() -> None:
    found = explain([ARCHIVED])
    assert found.fingerprint == "account-archived:200"
    assert found.sentence == "Account 200 is archived. Choose another account."


@pytest.mark.parametrize(
    ("message", "fingerprint", "sentence"),
    [
        (
            "The specified contact details matched an archived contact. Archived contacts cannot "
            "currently be edited via the API.",
            "contact-archived",
            "This contact is archived in Xero. Restore it there or link another.",
        ),
        (
            "The document date cannot be before the period lock date of 30 June 2026.",
            "period-locked",
            "Its date is in a period locked until 30 June 2026. Unlock the period in Xero or "
            "choose another date.",
        ),
        (
            "The document date cannot be before the period lock date",
            "period-locked",
            "Its date is in a period locked in Xero. Unlock the period in Xero or choose "
            "another date.",
        ),
        (
            "Organisation is not subscribed to currency EUR",
            "currency-missing:EUR",
            "Acme NZ has no EUR. Add the currency in Xero, then retry.",
        ),
        (
            "Invoice # must be unique.",
            "number-taken",
            "INV-17 exists in Xero. Same total and contact: link it; else give a new number.",
        ),
        (
            "This document cannot be edited as it has a payment or credit note allocated to it.",
            "paid",
            "INV-17 has a payment in Xero; lines and amounts can't change. Credit note, accept "
            "Xero, or unlink.",
        ),
        (
            "The TaxType code 'OUTPUT2' cannot be used with account code '400'.",
            "tax-account:OUTPUT2:400",
            "OUTPUT2 can't be used with account 400. Choose another tax rate in the mapping.",
        ),
        (
            "The TaxType code OUTPUT9 does not exist or cannot be used for this type of "
            "transaction",
            "tax-unknown:OUTPUT9",
            "Xero has no tax rate OUTPUT9 for this record. Choose another tax rate in the mapping.",
        ),
        (
            "Email address must be valid.",
            "email",
            "Xero doesn't take the e-mail address. Correct it on the contact.",
        ),
    ],
)
def test_xeros_words_become_ours(message: str, fingerprint: str, sentence: str) -> None:
    found = explain([message], label="INV-17", organisation="Acme NZ")
    assert (found.fingerprint, found.sentence) == (fingerprint, sentence)


def test_case_blanks_and_a_final_dot_do_not_matter() -> None:
    assert explain(["invoice  # must be UNIQUE"]).fingerprint == "number-taken"


def test_without_the_label_the_sentence_still_stands() -> None:
    assert explain(["Invoice # must be unique."]).sentence.startswith("Its number exists in Xero.")


def test_several_messages_say_all_causes_and_keep_the_first_of_the_table() -> None:
    found = explain([ARCHIVED, "Email address must be valid.", ARCHIVED])
    assert found.fingerprint == "email"
    assert found.sentence == (
        "Xero doesn't take the e-mail address. Correct it on the contact. "
        "Account 200 is archived. Choose another account."
    )


def test_a_payment_on_a_draft_is_one_cause_though_xero_says_two() -> None:
    found = explain(
        [
            "Payment amount exceeds the amount outstanding on this document",
            "Payments can only be made against Authorised documents",
        ]
    )
    assert found.fingerprint == "payment-draft"
    assert found.sentence == "The document is still a draft in Xero. Approve it there, then retry."


def test_unknown_words_are_quoted_and_group_by_what_does_not_vary() -> None:
    one = explain(["Widget 'W-1' of 21 Nov 2026 has 3 faults."])
    other = explain(["Widget 'W-22' of 3 Oct 2025 has 4 faults."])
    assert one.sentence == "Xero says: “Widget 'W-1' of 21 Nov 2026 has 3 faults.”"
    assert re.fullmatch("xero:[0-9a-f]{12}", one.fingerprint)
    assert explain(["Widget 'W-9' of 9 Nov 2026 has 8 faults."]).fingerprint == one.fingerprint
    assert other.fingerprint != explain(["Gadget 'W-22' has 4 faults."]).fingerprint


def test_a_known_cause_goes_before_an_unknown_one() -> None:
    assert explain(["Quite new words.", ARCHIVED]).fingerprint == "account-archived:200"


def test_no_message_at_all_still_gives_a_hint() -> None:
    assert explain([]).sentence == "Xero says: “(no words)”"


def test_a_fault_says_what_a_hint_says() -> None:
    made = fault("LineItems.AccountCode", "account-archived", code="200")
    assert made.sentence == explain([ARCHIVED]).sentence
    assert made.fingerprint == explain([ARCHIVED]).fingerprint


def test_every_message_leads_to_a_cause_of_the_table_and_matches_itself() -> None:
    for template, code in MESSAGES:
        names = {name for _, name, _, _ in Formatter().parse(template) if name}
        said = template.format_map(dict.fromkeys(names, "X1"))
        assert code in CAUSES
        assert explain([said]).fingerprint.partition(":")[0] == code, template


def test_no_sentence_holds_a_word_that_pages_do_not_use() -> None:
    for code in CAUSES:
        for cause in CAUSES[code].causes:
            for fix in CAUSES[code].fixes:
                sentence = f"{cause} {fix}".lower()
                assert not [word for word in FORBIDDEN if word in sentence], sentence


def test_every_cause_reads_as_a_sentence_with_nothing_known() -> None:
    for code in CAUSES:
        found = hint(code)
        assert found.cause.endswith((".", ".”"))
        assert "{" not in found.sentence


def test_a_pattern_takes_time_in_proportion_to_a_hostile_message() -> None:
    hostile = "The TaxType code '" + "' cannot be used with account code '" * 400
    began = time.perf_counter()
    explain([hostile])
    assert time.perf_counter() - began < 0.5


def test_signs_in_a_message_are_only_signs() -> None:
    assert message_pattern("A (b) [c] {d} e+").fullmatch("A (b) [c] x e+")
    assert not message_pattern("A.").fullmatch("Ab")


def test_a_message_of_a_line_is_the_same_cause_as_the_preflight_s() -> None:
    texts = [
        "Account code '260' has been archived, or has been deleted. "
        "Each line item must reference a valid account.",
        "The TaxType code 'INPUT2' cannot be used with account code '200'.",
    ]
    for text in texts:
        plain = explain([text])
        assert plain.fix
        assert explain([f"Line 2: {text}", f"Line 31: {text}"]) == plain
    strange = explain(["Line 2: Something new."])
    assert strange.sentence == "Xero says: “Line 2: Something new.”"
    assert strange.fingerprint == explain(["Line 7: Something new."]).fingerprint

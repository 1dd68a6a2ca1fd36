"""Tracking of lines, and what rounds amounts, on the mapping page."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest

from tests.web.conftest import NOW, Browser
from tests.web.mapping_client import (
    PAGE,
    entries,
    newest,
    press,
    read_reference,
    result_of,
    text_of,
    versions,
)
from xtiger.store import profiles

REGION = {
    "Name": "Region",
    "Status": "ACTIVE",
    "Options": [
        {"Name": "North", "Status": "ACTIVE"},
        {"Name": "Old", "Status": "ARCHIVED"},
    ],
}
FORMER = {"Name": "Former", "Status": "ARCHIVED", "Options": []}
NORTH = {
    "lines:Tracking1|src": "fixed",
    "lines:Tracking1|fixed": "north",
    "lines:Tracking1|category": "Region",
}


@pytest.fixture
def unread(browser: Browser) -> Browser:
    """An organisation whose accounts were read, but not its tracking."""
    return read_reference(browser)


@pytest.fixture
def read(unread: Browser) -> Browser:
    """An organisation with a category of two options, one of them archived."""
    with unread.services.database.write() as session:
        profiles.put_reference(session, 1, {"tracking": [REGION, FORMER]}, NOW)
    return unread


def test_a_line_is_tracked_by_a_category_of_xero_and_the_result_says_both(read: Browser) -> None:
    page = read.get(PAGE).text
    assert 'aria-label="Tracking category of Tracking1"' in page
    assert ">Former</option>" not in page
    shown = press(read, "show", **NORTH)
    assert "Region: North" in result_of(shown.text, "lines-Tracking1")
    tested = text_of(press(read, "test", shown.text))
    assert '"Tracking": [' in tested
    assert '"Option": "North"' in tested
    read.after(press(read, "save", shown.text))
    saved = newest(read).lines[-1]
    assert (saved.to, saved.category) == ("Tracking1", "Region")
    again = entries(read.get(PAGE).text)
    assert again["lines:Tracking1|category"] == ["Region"]
    listed = unescape(read.get("/xero-accounts?tab=tracking").text)
    assert listed.count('<td data-label="Used by"><span title="Invoice">1 mapping</span>') == 1
    read.after(press(read, "save", **{"lines:Tracking1|fixed": "North"}))
    differs = unescape(read.get("/mapping/1/Invoices/versions?type=Invoice&old=1").text)
    assert "an option of Region" in differs


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lines:Tracking1|category": ""}, "Choose the tracking category that Tracking1 is of."),
        (
            {"lines:Tracking1|category": "Regon"},
            "Xero has no active tracking category “Regon”. Choose another in the mapping, or "
            "restore it in Xero. Did you mean “Region”?",
        ),
        (
            {"lines:Tracking1|fixed": "Noth"},
            "Xero's tracking category “Region” has no active option “Noth”. Choose another, or "
            "add it in Xero. Did you mean “North”?",
        ),
        (
            {"lines:Tracking1|fixed": "Old"},
            "Xero's tracking category “Region” has no active option “Old”.",
        ),
        (
            {
                "lines:Tracking2|src": "fixed",
                "lines:Tracking2|fixed": "North",
                "lines:Tracking2|category": "Region",
            },
            "Lines have the tracking category “Region” already: choose another.",
        ),
        ({"money|rounding_account": "245"}, "Account 245 is archived. Choose another account."),
        ({"money|adjustment_account": "999"}, "Xero has no account 999 that this record can use."),
        (
            {"money|rounding_limit": "five"},
            "A rounding line is at most 0.00 to 1.00, in whole cents.",
        ),
        ({"money|decimals": "decimal"}, "There is no field 'decimal'"),
    ],
)
def test_what_xero_hasnt_is_said_on_saving(
    read: Browser, changes: dict[str, Any], sentence: str
) -> None:
    answer = press(read, "save", **(NORTH | changes))
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert "1 entry to correct. Nothing was saved." in text_of(answer)
    assert len(versions(read)) == 1
    kept = entries(answer.text)
    for name, value in changes.items():
        assert kept[name] == [value]


def test_before_tracking_was_read_the_row_says_so(unread: Browser) -> None:
    page = unescape(unread.get(PAGE).text)
    assert "Xero's tracking categories haven't been read yet: Xero Accounts, Refresh." in page
    answer = press(unread, "save", **NORTH)
    assert answer.status_code == 422
    assert (
        "The tracking categories of Xero aren't read yet. Read them on Xero Accounts."
        in text_of(answer)
    )


def test_what_rounding_may_be_and_where_it_goes_is_chosen_and_kept(read: Browser) -> None:
    page = unescape(read.get(PAGE).text)
    assert "the one that Xero itself rounds to" in page
    form = entries(page)
    assert form["money|rounding_limit"] == ["0.05"]
    chosen = {"money|rounding_limit": "0.50", "money|rounding_account": "300"}
    read.after(press(read, "save", **chosen))
    saved = newest(read).money
    assert (saved.rounding_limit, saved.rounding_account) == ("0.50", "300")
    form = entries(read.get(PAGE).text)
    assert form["money|rounding_limit"] == ["0.50"]
    assert form["money|rounding_account"] == ["300"]

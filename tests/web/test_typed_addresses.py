"""Addresses that somebody typed: whatever they hold, the answer is a page, never a fault."""

from __future__ import annotations

import pytest

from tests.web.conftest import Browser
from tests.web.test_access import rules

#: More than any database's whole number can hold.
HUGE = "9" * 23


@pytest.mark.parametrize("number", [HUGE, "9" * 5000, str(2**63), "-1"])
def test_a_number_no_row_can_have_is_no_page(browser: Browser, number: str) -> None:
    for rule in rules(browser.app, "GET").values():
        if "int" not in {type(one).__name__[:3].lower() for one in rule._converters.values()}:
            continue
        values = {"module": "Invoices", "record_id": "2"}
        path = rule.rule
        for name in rule.arguments:
            given = values.get(name, number)
            path = path.replace(path[path.index("<") : path.index(">") + 1], given, 1)
        assert browser.client.get(path).status_code == 404, path


@pytest.mark.parametrize("path", ["/logs?q=%00", "/queue?%00=1", "/reports?to=%00"])
def test_a_sign_that_no_text_may_hold_is_told(browser: Browser, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 400
    assert "This address or form can&#39;t be read, so nothing was done." in answer.text


def test_the_greatest_number_is_only_a_row_that_isnt_there(browser: Browser) -> None:
    for path in ("/runs", "/queue", "/logs"):
        assert browser.get(f"{path}/{2**63 - 1}").status_code == 404, path


@pytest.mark.parametrize(
    "query",
    ["to=9999-12-31", "from=9999-12-31", "from=0001-01-01", "to=0001-01-01", "from=2026-13-40"],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_days_at_the_ends_of_time_filter_or_are_left_out(
    browser: Browser, query: str, zone: str
) -> None:
    browser.client.set_cookie("xtiger_zone", zone)
    assert browser.get(f"/logs?{query}").status_code == 200
    assert browser.get(f"/logs.csv?{query}").status_code == 200


def test_until_the_last_day_of_all_is_everything(browser: Browser) -> None:
    assert "INV-2" in browser.get("/logs?to=9999-12-31").text
    assert "INV-2" in browser.get("/logs?to=2026-11-21").text
    assert "INV-2" not in browser.get("/logs?to=2026-11-20").text


@pytest.mark.parametrize(
    "path",
    [
        f"/queue?state=all&after={HUGE}",
        f"/logs?run={HUGE}",
        f"/?org={HUGE}",
        f"/records/Invoices/{HUGE}",
        f"/records/Invoices?after={HUGE}",
        f"/search?q={HUGE}",
        f"/crm/Invoices/{HUGE}/edit",
        f"/queue?state=all&q={HUGE}",
        f"/logs?q={HUGE}",
    ],
)
def test_huge_numbers_elsewhere_in_an_address_break_nothing(browser: Browser, path: str) -> None:
    assert browser.get(path).status_code in {200, 302, 404}

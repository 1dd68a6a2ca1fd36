"""Xero Accounts: the lists, their age, who uses what, warnings, and what is empty."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import Engine
from tests.engine.scenes import KAURI
from tests.web.conftest import HOSTILE, NOW, Browser
from xtiger.store.models import Reference

READ = {
    "organisation": [{"Name": "Acme NZ", "PeriodLockDate": "2026-06-30"}],
    "accounts": [
        {"Code": "200", "Name": "Sales", "Type": "REVENUE", "Class": "REVENUE", "Status": "ACTIVE"},
        {"Code": "260", "Name": HOSTILE, "Type": "CURRLIAB", "Status": "ACTIVE"},
        {"Code": "300", "Name": "Purchases", "Type": "DIRECTCOSTS", "Status": "ARCHIVED"},
        {"Name": "Bank without a code", "Type": "BANK", "Status": "ACTIVE"},
    ],
    "tax_rates": [
        {
            "TaxType": "OUTPUT2",
            "Name": "15% GST on Income",
            "EffectiveRate": 15,
            "Status": "ACTIVE",
            "CanApplyToRevenue": True,
        }
    ],
    "tracking": [
        {
            "Name": "Region",
            "Status": "ACTIVE",
            "Options": [
                {"Name": "North", "Status": "ACTIVE"},
                {"Name": "Old", "Status": "ARCHIVED"},
            ],
        },
        {"Name": "Season", "Status": "ARCHIVED", "Options": []},
    ],
    "currencies": [{"Code": "NZD", "Description": "New Zealand Dollar"}],
    "branding_themes": [{"Name": "Standard", "SortOrder": 0}],
    "items": [],
    "uses": [{"kind": "accounts", "code": "260", "products": 12}],
}


@pytest.fixture
def read(browser: Browser) -> Browser:
    """The browser after Xero was read four hours ago."""
    with browser.services.database.write() as session:
        for kind, data in READ.items():
            at = NOW - timedelta(hours=4)
            session.add(Reference(organisation_id=1, kind=kind, data=data, read_at=at))
    return browser


def shown(browser: Browser, path: str = "/xero-accounts") -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return html.unescape(re.sub(r"\s+", " ", answer.text))


def cells(page: str) -> list[list[str]]:
    """The table's rows as text."""
    body = page.split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    return [
        [re.sub(r"<[^>]*>", "", each).strip() for each in re.findall(r"<t[hd][^>]*>(.*?)</t", row)]
        for row in re.findall(r"<tr.*?</tr>", body)
    ]


def test_accounts_stand_in_order_with_who_uses_them(read: Browser) -> None:
    raw = read.get("/xero-accounts").text
    assert HOSTILE not in raw, "text of Xero is text"
    page = re.sub(r"\s+", " ", raw)
    assert cells(page) == [
        ["200", "Sales", "Revenue", "–", "Active", "3 mappings"],
        [
            "260",
            html.escape(HOSTILE).replace("&quot;", "&#34;"),
            "Current liability",
            "–",
            "Active",
            "12 products",
        ],
        ["–", "Bank without a code", "Bank", "–", "Active", "–"],
        ["300", "Purchases", "Direct costs", "–", "Archived", "3 mappings"],
    ]
    assert "Accounts of Acme NZ as of 20 Nov, 23:00 (4 h ago)." in html.unescape(page)
    assert "Refresh, 7 calls" in page


def test_what_is_archived_and_used_is_warned_of(read: Browser) -> None:
    page = shown(read)
    assert "One thing in use can't be used in Xero any more" in page
    assert "Account 300 is archived in Xero, used by 3 mappings." in page
    assert "choose another in the mapping or on the product, or restore it in Xero" in page


@pytest.mark.parametrize(
    ("tab", "row"),
    [
        ("tax_rates", ["OUTPUT2", "15% GST on Income", "15 %", "revenue", "Active", "–"]),
        ("tracking", ["Region", "North", "Active", "–"]),
        ("currencies", ["NZD", "New Zealand Dollar", "Active"]),
        ("branding_themes", ["Standard", "0", "Active"]),
    ],
)
def test_each_tab_has_its_list(read: Browser, tab: str, row: list[str]) -> None:
    page = shown(read, f"/xero-accounts?tab={tab}")
    assert cells(page)[0] == row
    assert ("1 of 2 categories in use." in page) is (tab == "tracking")


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("status=archived", ["300"]),
        ("status=active", ["200", "260", "–"]),
        ("q=sAL", ["200"]),
        ("q=Direct&status=archived", ["300"]),
        ("q=%F0%9F%90%AF", None),
    ],
)
def test_a_list_is_filtered(read: Browser, query: str, codes: list[str] | None) -> None:
    page = shown(read, f"/xero-accounts?{query}")
    if codes is None:
        assert "Nothing matches “🐯”." in page
    else:
        assert [row[0] for row in cells(page)] == codes


def test_what_was_never_read_says_so(browser: Browser) -> None:
    page = shown(browser)
    assert "Nothing read yet." in page
    assert "Read from Xero, 7 calls" in page


def test_an_empty_list_isnt_an_unread_one(read: Browser) -> None:
    with read.services.database.write() as session:
        session.query(Reference).filter_by(kind="tracking").one().data = []
    assert "Acme NZ has none in Xero." in shown(read, "/xero-accounts?tab=tracking")


def test_without_an_organisation_there_is_a_way_to_one(empty: Browser) -> None:
    page = shown(empty)
    assert "No organisation is connected yet, so nothing was read." in page
    assert ">API details</a>" in page


def test_a_refresh_that_fails_says_why_and_keeps_what_was_read(read: Browser) -> None:
    said = read.after(read.post("/xero-accounts/1/refresh", tab="currencies"))
    assert "flash-fault" in said
    assert "New Zealand Dollar" in said


@pytest.mark.parametrize("path", ["/xero-accounts?tab=nothing", "/xero-accounts?tab="])
def test_another_tab_is_no_page(read: Browser, path: str) -> None:
    assert read.get(path).status_code == 404


def test_another_organisation_cant_be_refreshed(read: Browser) -> None:
    assert read.post("/xero-accounts/9/refresh").status_code == 404


def test_the_menu_leads_there(read: Browser) -> None:
    page: Any = shown(read, "/")
    assert 'href="/xtiger/xero-accounts"' in page


@pytest.mark.parametrize("page", ["api-details", "xero-accounts"])
def test_both_pages_read_the_same_and_say_the_calls_it_takes(
    empty: Browser, sqlite_engine: Engine, page: str
) -> None:
    one = sqlite_engine.connect(KAURI)[KAURI]
    empty.app.extensions["xtiger"].services = sqlite_engine.services
    [button] = re.findall(r">\s*Refresh, (\d+) calls<", empty.get(f"/{page}").text)
    before = len(sqlite_engine.requests())
    said = empty.after(empty.post(f"/{page}/{one}/refresh"))
    assert len(sqlite_engine.requests()) - before == int(button)
    assert f"{KAURI} was read from Xero ({button} calls): " in said

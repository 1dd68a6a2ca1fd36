"""What is in use here and archived in Xero is shown wherever somebody looks, at one statement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import pytest
from sqlalchemy import event

from tests.web.conftest import ADDRESSES, NOW, Browser, People
from tests.web.mapping_client import ACCOUNTS, PAGE, press, read_reference
from tests.web.test_queue_pages import add
from xtiger.engine.mapping import uses
from xtiger.store import profiles
from xtiger.store.models import Organisation

GONE = "Account 300 is archived"


def archive(browser: Browser, *codes: str, organisation: int = 1) -> None:
    """Xero was read, and these accounts are archived there."""
    rows = [
        each | ({"Status": "ARCHIVED"} if each["Code"] in codes else {})
        for each in ACCOUNTS
        if each["Code"] != "245"
    ]
    with browser.services.database.write() as session:
        profiles.put_reference(session, organisation, {"accounts": rows}, NOW)
    uses.take_stock(browser.services, organisation)


@pytest.fixture
def read(browser: Browser) -> Browser:
    return read_reference(browser)


def text_of(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return unescape(
        re.sub(r"\s+", " ", re.sub(r"<(?!a |/a|li|/li|tr|/tr)[^>]*>", " ", answer.text))
    )


def badge(browser: Browser, path: str = "/runs") -> str | None:
    """What the menu counts beside Xero Accounts."""
    page = browser.get(path).text
    found = re.search(r"<span>Xero Accounts</span>(?:<span class=\"count[^>]*>([^<]*)<)?", page)
    assert found
    return found[1]


def needs(browser: Browser, path: str = "/") -> list[str]:
    """The rows of “Needs you”."""
    part = text_of(browser, path).split("Needs you", 1)[1].split("Runs", 1)[0]
    rows = re.findall(r"<li>(.*?)</li>", part)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", each)).strip() for each in rows]


def test_without_a_warning_nothing_is_counted(read: Browser) -> None:
    archive(read)
    assert badge(read) is None
    assert not [row for row in needs(read) if "archived" in row and "Fix" in row]
    assert "row-warned" not in read.get("/mapping").text


def test_the_menu_the_dashboard_and_the_mappings_show_it(read: Browser) -> None:
    archive(read, "300")
    assert badge(read) == "1"
    assert needs(read)[0] == f"{GONE} 3 mappings Fix"
    page = text_of(read, "/mapping")
    rows = {
        row.split("</a>")[0].rpartition(">")[2]: row for row in re.findall(r"<tr.*?</tr>", page)
    }
    warned = {name.strip() for name, row in rows.items() if f"{GONE} in Xero" in row}
    assert warned == {"Products", "Services", "Bill"}
    fix = re.search(r'href="([^"]*)" aria-label="Fix: Account 300 is archived"', read.get("/").text)
    assert fix
    there = read.client.get(unescape(fix[1])).text
    assert "Account 300 is archived in Xero, used by 3 mappings." in unescape(there)
    assert 'href="/xtiger/mapping/1/Invoices?type=Bill">Bill</a>' in there


def test_records_that_fail_for_it_stand_in_its_row_and_in_no_other(read: Browser) -> None:
    for number, cause in ((11, "account-archived:300"), (12, "account-archived:300")):
        add(read, f"INV-{number}", "failed", record_id=str(number), cause=cause,
            sentence="Account 300 is archived in Xero. Choose another account.")  # fmt: skip
    assert [row for row in needs(read) if "300" in row] == [
        "Account 300 is archived in Xero. Choose another account. 2 records Open"
    ]
    archive(read, "300")
    found = [row for row in needs(read) if "300" in row]
    assert found == [f"{GONE} 2 records Fix"]
    page = read.get("/").text
    assert "cause=account-archived:300&amp;org=1" in page.replace("%3A", ":")
    assert "Account 300 is archived in Xero, used by 3 mappings, 2 failed records." in unescape(
        read.get("/xero-accounts").text
    )


def test_a_mapping_saved_with_another_account_takes_the_warning_away(read: Browser) -> None:
    archive(read, "200")
    assert badge(read) == "1"
    for path, name in (
        (PAGE, "lines:AccountCode|empty"),
        ("/mapping/1/Products", "fields:SalesDetails.AccountCode|empty"),
        ("/mapping/1/Services", "fields:SalesDetails.AccountCode|empty"),
    ):
        answer = press(read, "save", read.get(path).text, path, **{name: "860"})
        assert answer.status_code == 303, answer.text
    assert badge(read) is None
    assert needs(read)[0].endswith("Open")


def test_each_organisation_has_its_own(read: Browser) -> None:
    with read.services.database.write() as session:
        session.add(
            Organisation(tenant_id="t2", name="Acme UK", currency="GBP", chosen=True,
                         connection_id=1, live_since=NOW)
        )  # fmt: skip
    archive(read, "300")
    assert badge(read, "/runs") == badge(read, "/runs?org=1") == "1"
    assert badge(read, "/runs?org=2") is None
    assert needs(read, "/?org=2") == []
    assert needs(read)[0] == f"{GONE} Acme NZ 3 mappings Fix"


def test_managers_see_it_without_a_way_to_mend_it_and_users_dont(
    read: Browser, people: People
) -> None:
    archive(read, "300")
    people.be("manager")
    assert needs(read)[0] == f"{GONE} 3 mappings"
    people.be("user")
    assert GONE not in read.get("/").text


@contextmanager
def statements(browser: Browser) -> Iterator[list[str]]:
    found: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    engine = browser.services.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("name", ["runs", "queue", "logs", "records", "api_details"])
def test_a_page_asks_one_statement_for_it_however_much_is_warned_of(
    read: Browser, name: str
) -> None:
    """The frame is drawn on every page: it reads what was kept, and nothing else."""
    path = ADDRESSES[name]
    archive(read)
    with statements(read) as before:
        assert read.get(path).status_code == 200
    archive(read, "200", "300")
    with statements(read) as after:
        assert read.get(path).status_code == 200
    assert len(after) == len(before)
    asked = [one for one in after if "xtiger_reference" in one]
    if name != "api_details":
        assert len(asked) == 1
        assert "xtiger_template" not in " ".join(after)
    with read.services.database.read() as session:
        engine = read.services.database.engine
        kept = next(one for one in after if "xtiger_reference" in one)
        plan = session.connection().exec_driver_sql(
            f"EXPLAIN QUERY PLAN {kept}", tuple([1, "warnings"][: kept.count("?")])
        )
        if engine.dialect.name == "sqlite":
            assert all("SCAN xtiger_reference" not in str(row) for row in plan)

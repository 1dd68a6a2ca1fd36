"""Mappings saved, tested, restored, imported and copied through the pages."""

from __future__ import annotations

import io
import json
from html import unescape

import pytest
from sqlalchemy import select

from tests.web.conftest import NOW, Browser
from tests.web.mapping_client import (
    ACCOUNTS,
    PAGE,
    TAX_RATES,
    entries,
    newest,
    press,
    read_reference,
    row,
    text_of,
    versions,
)
from xtiger.domain import exactjson
from xtiger.domain.records import DocumentType, Module
from xtiger.store import profiles, templates
from xtiger.store.models import Binding, Organisation, QueueItem, TemplateTest
from xtiger.store.templates import Place


@pytest.fixture
def read(browser: Browser) -> Browser:
    """An organisation whose accounts and tax rates were read."""
    return read_reference(browser)


# -- saving, two at once, what it changes -----------------------------------------------------


def bind(browser: Browser, *numbers: int) -> None:
    """Records that are in Xero, with something else than the mapping makes of them."""
    with browser.services.database.write() as session:
        for number in numbers:
            session.add(
                Binding(organisation_id=1, module="Invoices", record_id=str(number),
                        resource="Invoices", document_type="Invoice", xero_id=f"x-{number}",
                        agreed_hash="h", agreed={}, bound_at=NOW, agreed_at=NOW)
            )  # fmt: skip
        for module, one in (("Contacts", "Contacts"), ("Products", "Items")):
            session.add(
                Binding(organisation_id=1, module=module, record_id="1", resource=one,
                        xero_id=f"x-{module}", number="W-1", agreed_hash="h", agreed={},
                        bound_at=NOW, agreed_at=NOW)
            )  # fmt: skip


def test_saving_says_how_many_records_would_change_and_adds_them_on_demand(read: Browser) -> None:
    bind(read, 2, 3)
    page = unescape(read.after(press(read, "save", **{"fields:DueDate|src": "field:date"})))
    assert (
        "Saved as v2. 3 records in Xero would change; they aren't sent until you add them." in page
    )
    for number in (1, 2, 3):
        read.post(f"/records/Invoices/{number}/flag", fields="allow", allow="1")
    moved = read.after(read.post(f"{PAGE}/add", type="Invoice", count="2"))
    assert "There are now 3. Nothing was done; look again." in moved
    page = read.after(read.post(f"{PAGE}/add", type="Invoice", count="3"))
    assert "to the Queue, place" in page
    with read.services.database.read() as session:
        waiting = session.scalars(select(QueueItem).where(QueueItem.state == "pending")).all()
        assert {item.label for item in waiting} == {"INV-1", "INV-2", "INV-3"}


def test_records_that_couldnt_go_any_more_are_named(read: Browser) -> None:
    bind(read, 3)
    page = press(read, "test", **{"fields:DueDate|src": "field:number"}).text
    assert "couldn't be sent any more" in unescape(page)


def test_two_who_save_the_same_get_the_words_and_lose_nothing(read: Browser) -> None:
    mine = read.get(PAGE).text
    read.after(press(read, "save", **{"fields:Reference|empty": "theirs"}))
    answer = press(read, "save", mine, **{"fields:Reference|empty": "mine"})
    assert answer.status_code == 409
    page = text_of(answer)
    assert "Administrator saved this at 03:00. Your entries are below, unsaved; compare and save " \
        "again." in page  # fmt: skip
    assert entries(answer.text)["fields:Reference|empty"] == ["mine"]
    assert "<del>" in page
    assert "theirs" in page.split("What differs", 1)[1]
    assert len(versions(read)) == 2
    assert press(read, "save", answer.text).status_code == 303
    assert row(newest(read), "Reference")["of"][1]["value"] == "mine"
    assert len(versions(read)) == 3


# -- kept tests -------------------------------------------------------------------------------


def test_a_kept_test_stops_a_save_that_makes_other_values(read: Browser) -> None:
    page = press(read, "test").text
    page = press(read, "keep:3", page).text
    assert "Kept as the test “INV-3”. It runs on each save." in unescape(page)
    assert "Passes" in page
    answer = press(read, "save", page, **{"fields:Reference|empty": "none"})
    assert answer.status_code == 303, "a value that no test expects may come"
    moved = press(read, "show", **{"fields:Date|how": "date"}).text
    answer = press(read, "save", moved, **{"fields:Date|add_days": "1"})
    assert answer.status_code == 422
    said = "The test “INV-3” fails: Date is 2026-11-04, 2026-11-03 is expected."
    assert said in text_of(answer)
    assert "Fails" in answer.text
    with read.services.database.read() as session:
        one = session.scalars(select(TemplateTest)).one().id
    dropped = press(read, f"drop:{one}", answer.text)
    assert "The test “INV-3” is removed." in unescape(dropped.text)
    assert press(read, "save", dropped.text).status_code == 303


def test_one_to_five_records_are_tested(read: Browser) -> None:
    page = press(read, "test", on=["1", "2", "3"]).text
    assert page.count("The request as JSON") == 3
    assert page.count("Total as Xero counts") == 3
    answer = press(read, "test", on=["7", "8"])
    assert answer.status_code == 422
    assert "Choose one to five records to test." in answer.text


# -- versions ---------------------------------------------------------------------------------


def test_versions_are_listed_compared_and_restored(read: Browser) -> None:
    read.after(press(read, "save", **{"fields:Reference|src": ""}))
    page = unescape(read.get(f"{PAGE}/versions?type=Invoice&old=1").text)
    assert "v1 and v2" in page
    assert "<del>Reference · cut if too long</del>" in page
    assert "Restore v1" in page
    answer = read.post(f"{PAGE}/restore", type="Invoice", version="1", seen="2")
    page = unescape(read.after(answer))
    assert "v1 is in use again, as v3." in page
    assert [one.version for one in versions(read)] == [3, 2, 1]
    assert row(newest(read), "Reference") == {"transform": "field", "field": "reference"}
    stale = read.post(f"{PAGE}/restore", type="Invoice", version="2", seen="2")
    assert stale.status_code == 409
    page = read.after(read.post(f"{PAGE}/restore", type="Invoice", version="9", seen="3"))
    assert "There is no version 9." in page


def test_a_kept_test_stops_a_restore_too(read: Browser) -> None:
    read.after(press(read, "save", **{"fields:Reference|empty": "none"}))
    press(read, "keep:3")
    answer = read.post(f"{PAGE}/restore", type="Invoice", version="1", seen="2")
    assert answer.status_code == 422
    assert "Reference is empty, none is expected." in text_of(answer)


def test_export_and_import_carry_mapping_and_tests(read: Browser) -> None:
    press(read, "keep:3")
    read.after(press(read, "save", **{"fields:Reference|empty": "none"}))
    answer = read.get(f"{PAGE}.json?type=Invoice")
    assert answer.mimetype == "application/json"
    assert 'filename="mapping-invoice-v2.json"' in answer.headers["Content-Disposition"]
    data = exactjson.loads(answer.data)
    assert [one["name"] for one in data["tests"]] == ["INV-3"]
    read.post(f"{PAGE}/restore", type="Invoice", version="1", seen="2")
    with read.services.database.write() as session:
        session.delete(session.scalars(select(TemplateTest)).one())
    shown = read.post(f"{PAGE}/import", type="Invoice", file=(io.BytesIO(answer.data), "m.json"))
    assert shown.status_code == 200
    assert "Imported, not saved yet." in shown.text
    assert "1 test came with it." in shown.text
    assert len(versions(read)) == 3
    assert press(read, "save", shown.text).status_code == 303
    assert row(newest(read), "Reference")["of"][1]["value"] == "none"
    with read.services.database.read() as session:
        assert session.scalars(select(TemplateTest.name)).all() == ["INV-3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Choose a file, or paste its text."),
        ("<html>", "This isn't a mapping's file: it can't be read as JSON."),
        ("[" * 50_000, "This isn't a mapping's file: it can't be read as JSON."),
        ('{"module": "\\ud800"}', "This isn't a mapping's file: it can't be read as JSON."),
        ('{"module": "Contacts"}', "This is a mapping of Contacts, not of Invoices."),
        (json.dumps({"module": "Invoices", "document_type": "Invoice", "<b>": 1}), "has no part"),
    ],
)
def test_a_file_that_is_none_gets_a_sentence(read: Browser, text: str, said: str) -> None:
    page = read.after(read.post(f"{PAGE}/import", type="Invoice", text=text))
    assert said in unescape(page)
    assert "<b>" not in page.split("<main", 1)[1]
    assert len(versions(read)) == 1


def test_a_large_file_goes_through_the_form_and_a_larger_one_gets_words(read: Browser) -> None:
    """Close to a million bytes, most of them signs that a form writes as three."""
    data = exactjson.loads(read.get(f"{PAGE}.json?type=Invoice").data)
    sample = {"record": "Invoices:3", "label": "x", "fields": {"note": '"' * 45_000}}
    data["tests"] = [
        {"name": f"{n}", "sample": sample, "expected": {"Date": "2026-11-03"}} for n in range(10)
    ]
    text = exactjson.dumps(data)
    assert 900_000 < len(text) < 1_000_000
    shown = read.post(f"{PAGE}/import", type="Invoice", file=(io.BytesIO(text), "m.json"))
    assert "10 tests came with it." in shown.text
    answer = press(read, "save", shown.text)
    assert answer.status_code == 422, "its tests run"
    assert "The test “0” fails" in text_of(answer)
    more = {"text": "x" * 600_000, "file": (io.BytesIO(b""), "m.json")}
    answer = read.post(f"{PAGE}/import", type="Invoice", **more)
    assert answer.status_code == 400
    assert "This address or form can't be read, so nothing was done." in text_of(answer)


def second(browser: Browser, *accounts: dict[str, str]) -> None:
    with browser.services.database.write() as session:
        session.add(Organisation(id=2, tenant_id="t2", name="{0} UK", currency="NZD", chosen=True))
        session.flush()
        facts = {"Name": "Acme UK", "BaseCurrency": "NZD"}
        read_from = {"organisation": [facts], "accounts": accounts, "tax_rates": TAX_RATES}
        profiles.put_reference(session, 2, read_from, NOW)


def test_a_mapping_is_copied_to_another_organisation(read: Browser) -> None:
    second(read, *ACCOUNTS)
    press(read, "keep:3")
    answer = read.post(f"{PAGE}/copy", type="Invoice", to="2")
    assert answer.headers["Location"].startswith("/xtiger/mapping/2/Invoices?")
    assert "Copied from Acme NZ as v1." in read.after(answer)
    there = Place(2, Module.INVOICES, DocumentType.INVOICE)
    assert newest(read, there).differences(newest(read)) == ()
    with read.services.database.read() as session:
        assert len(templates.tests(session, there)) == 1
    again = read.after(read.post(f"{PAGE}/copy", type="Invoice", to="2"))
    assert "{0} UK has exactly this mapping already." in again


def test_a_copy_that_doesnt_fit_opens_there_unsaved(read: Browser) -> None:
    second(read, ACCOUNTS[3])
    answer = read.post(f"{PAGE}/copy", type="Invoice", to="2")
    assert answer.status_code == 422
    page = text_of(answer)
    assert "Invoices for {0} UK" in page
    assert "Xero has no account 200 that this record can use." in page
    assert "This is the mapping of Acme NZ, not saved here yet" in page
    assert versions(read, Place(2, Module.INVOICES, DocumentType.INVOICE)) == []
    fixed = press(read, "save", answer.text, path="/mapping/2/Invoices",
                  **{"lines:AccountCode|empty": "860"})  # fmt: skip
    assert fixed.status_code == 303


@pytest.mark.parametrize("to", ["1", "9", "x", ""])
def test_a_copy_to_nowhere_is_404(read: Browser, to: str) -> None:
    assert read.post(f"{PAGE}/copy", type="Invoice", to=to).status_code == 404

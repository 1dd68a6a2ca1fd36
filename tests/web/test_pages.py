"""The pages at work: what each shows and does, with real rows behind it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests.web.conftest import NOW, XERO_ID, Browser, People
from tests.web.test_queue_pages import add
from xtiger.domain.records import Module
from xtiger.store import profiles
from xtiger.store.models import (
    Connection,
    Flag,
    Organisation,
    OutboxRow,
    Profile,
    QueueItem,
    Run,
    Setting,
)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", "XTiger isn't connected with Xero yet."),
        ("/records/Invoices", "No invoices in the CRM yet."),
        ("/records/Invoices?q=x", "No invoice matches these filters."),
        ("/queue", "Nothing waits. New changes of selected records appear here."),
        ("/queue?state=failed", "Nothing failed."),
        ("/queue?state=blocked", "Nothing waits for another record."),
        ("/runs", "No run yet."),
        ("/logs", "Nothing has been logged yet."),
        ("/api-details", "No organisation is connected yet."),
        ("/what-syncs", "No organisation is connected yet, so nothing syncs."),
        ("/email-notification", "Nobody gets a mail yet."),
        ("/mapping", "No mapping template is in use"),
        ("/search?q=zebra", "Nothing is called “zebra”."),
    ],
)
def test_an_empty_page_says_what_comes_here(empty: Browser, path: str, said: str) -> None:
    assert said.replace("'", "&#39;") in empty.get(path).text


def test_the_dashboard_says_what_needs_somebody(browser: Browser) -> None:
    page = browser.get("/").text
    assert "1 record needs you; 1 went over today." in page
    assert "Account 200 is archived in Xero." in page
    assert 'aria-pressed="true"' in page


def test_who_sees_no_queue_reads_whose_records_need_somebody(
    browser: Browser, people: People
) -> None:
    people.be("user")
    for path in ("/", "/_live"):
        page = browser.get(path).text.replace("&#39;", "'")
        assert "1 record needs somebody; 1 went over today." in page
        assert "1 record needs somebody, counting all users' records." in page
        assert "eeds you" not in page
        assert "Account 200" not in page
        assert 'href="/xtiger/records"' in page
    with browser.services.database.write() as session:
        session.get_one(QueueItem, 2).state = "pending"
    page = browser.get("/").text
    assert "omebody" not in page
    assert "Nothing needs you." in page


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ({2: 0}, "Acme UK: its consent ended 03:00. 2 records wait."),
        ({1: 0, 2: 0}, "Acme UK and Acme NZ: their consent ended 03:00. 2 records wait."),
        (
            {1: 2, 2: 0, 3: 1},
            "Acme UK, Kauri and Acme NZ: their consent ended, the first 01:00. 3 records wait.",
        ),
        ({1: None, 2: None}, "Acme UK and Acme NZ: their consent ended. 2 records wait."),
        (
            {1: None, 2: 0},
            "Acme UK and Acme NZ: their consent ended, the first 03:00. 2 records wait.",
        ),
        (
            {1: 0, 2: 0, 3: 0, 4: 0},
            "Acme UK, Kauri and 2 more: their consent ended 03:00. 3 records wait.",
        ),
    ],
)
def test_the_dashboard_names_all_that_must_be_connected_again(
    browser: Browser, ended: dict[int, int | None], said: str
) -> None:
    with browser.services.database.write() as session:
        for number, name in ((2, "Acme UK"), (3, "Kauri"), (4, "Rimu")):
            session.add(Organisation(id=number, tenant_id=name, name=name, chosen=True))
        session.flush()
        for number, hours in ended.items():
            each = session.get_one(Organisation, number)
            each.removed = "It was taken out."
            each.removed_at = None if hours is None else NOW - timedelta(hours=hours)
    for number, organisation in enumerate((2, 2, 3)):
        add(browser, f"C-{number}", "pending", organisation_id=organisation)
    page = browser.get("/").text.replace("&#39;", "'")
    assert f">XTiger can't reach {said}</p>" in page


def test_a_record_in_xero_links_there(browser: Browser) -> None:
    page = browser.get("/records/Invoices/1").text
    assert "It is in Xero as INV-1 since" in page
    assert f"https://go.xero.com/app/!aBc1/invoicing/view/{XERO_ID}" in page
    assert "INV-1 is an Invoice in Xero; the type can&#39;t change." in page


def test_a_record_that_failed_says_why_and_offers_a_retry(browser: Browser) -> None:
    page = browser.get("/records/Invoices/2").text
    assert "Why is this not in Xero?" in page
    assert "Account 200 is archived in Xero. Choose another account." in page
    assert 'aria-label="Retry INV-2"' in page


def test_ticking_is_kept_and_captured(browser: Browser) -> None:
    assert "Allow Xero Sync isn&#39;t ticked." in browser.get("/records/Invoices/3").text
    answer = browser.post(
        "/records/Invoices/3/flag", fields="allow", allow="1", document_type="Bill"
    )
    assert "INV-3 is ticked" in browser.after(answer)
    with browser.services.database.read() as session:
        flag = session.scalar(select(Flag).where(Flag.record_id == "3"))
        assert flag
        assert (flag.allow, flag.document_type) == (True, "Bill")
        assert flag.changed_by == "Administrator"
        assert session.scalar(
            select(func.count()).select_from(OutboxRow).where(OutboxRow.kind == "flagged")
        )


def test_an_empty_box_unticks_and_a_small_form_leaves_the_tick_alone(browser: Browser) -> None:
    browser.post("/records/Invoices/2/flag", document_type="Bill")
    with browser.services.database.read() as session:
        flag = session.scalar(select(Flag).where(Flag.record_id == "2"))
        assert flag
        assert (flag.allow, flag.document_type) == (True, "Bill")
    page = browser.after(browser.post("/records/Invoices/1/flag", fields="allow"))
    assert "It stays in Xero; later changes aren&#39;t sent." in page


def test_ticked_rows_are_ticked_together(browser: Browser) -> None:
    page = browser.after(browser.post("/records/Invoices/bulk", ids=["2", "3"], action="tick"))
    assert "2 invoices ticked." in page
    page = browser.after(browser.post("/records/Invoices/bulk", ids=["1", "3"], action="type:Bill"))
    assert "INV-1: It is an Invoice in Xero" in page.replace("&#39;", "'")
    assert "1 invoice set to Bill." in page
    assert "Tick at least one record first." in browser.after(
        browser.post("/records/Invoices/bulk", action="tick")
    )


@pytest.mark.parametrize("action", ["", "fly"])
def test_what_no_button_asks_for_changes_no_tick(browser: Browser, action: str) -> None:
    answer = browser.post("/records/Invoices/bulk", ids=["2", "3"], action=action)
    assert answer.status_code == 400
    assert "unticked" not in browser.get("/records/Invoices").text


def test_sync_starts_a_run_and_shows_it(browser: Browser) -> None:
    answer = browser.post("/sync")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/xtiger/runs/2"
    page = browser.client.get(answer.headers["Location"]).text
    assert "Waits for a worker since" in page
    assert browser.post("/sync").headers["Location"] == "/xtiger/runs/2", "two clicks, one run"


def test_add_to_queue_names_the_places(browser: Browser) -> None:
    browser.post("/records/Invoices/3/flag", fields="allow", allow="1")
    page = browser.after(browser.post("/records/Invoices/3/add-to-queue"))
    assert "Added INV-3 to the Queue, place" in page


def test_a_record_that_isnt_selected_isnt_added(browser: Browser) -> None:
    page = browser.after(browser.post("/records/Invoices/3/add-to-queue"))
    assert "INV-3 has nothing to send." in page
    page = browser.after(browser.post("/records/Invoices/3/sync"))
    assert "Nothing of it is selected" in page


def test_retry_puts_an_item_back_in_its_old_place_and_asks_for_a_run(browser: Browser) -> None:
    page = browser.after(browser.post("/queue/bulk", retry_one="2"))
    assert "Retrying 1 record, in the old place #2." in page
    with browser.services.database.read() as session:
        assert session.get_one(QueueItem, 2).state == "pending"
        assert session.scalar(select(func.count()).select_from(Run)) == 2
    assert "Nothing was retried" in browser.after(browser.post("/queue/bulk", retry_one="2"))


def test_cancel_takes_out_what_waits(browser: Browser) -> None:
    page = browser.after(browser.post("/queue/bulk", ids=["1", "2"], action="cancel"))
    assert "Taken out: 1 record." in page
    with browser.services.database.read() as session:
        assert session.get_one(QueueItem, 2).state == "cancelled"
        assert session.get_one(QueueItem, 1).state == "succeeded"


def test_retrying_a_cause_asks_first_and_notices_that_the_count_moved(browser: Browser) -> None:
    cause = "account archived 200"
    page = browser.get(f"/queue/retry?cause={cause}").text
    assert "Retry 1 record? They go in their old places; about 1 call of 812 left." in page
    answer = browser.post("/queue/retry", cause=cause, count="2")
    assert "There are now 1. Nothing was done; look again." in browser.after(answer)
    assert "Retrying 1 record" in browser.after(
        browser.post("/queue/retry", cause=cause, count="1")
    )


def test_an_organisation_is_paused_and_resumed(browser: Browser) -> None:
    page = browser.after(browser.post("/queue/pause/1"))
    assert "Paused: Acme NZ." in page
    assert "Resume Acme NZ" in page
    assert "Resumed: Acme NZ. What waits goes on, in order." in browser.after(
        browser.post("/queue/resume/1")
    )
    assert browser.post("/queue/pause/99").status_code == 404


def hold(browser: Browser, **values: Any) -> None:
    with browser.services.database.write() as session:
        row = session.scalars(select(Organisation)).one()
        for name, value in values.items():
            setattr(row, name, value)


def test_the_queue_says_why_everything_of_an_organisation_waits(browser: Browser) -> None:
    with browser.services.database.write() as session:
        session.get_one(QueueItem, 2).state = "pending"
    hold(browser, held_why="Today's calls are used up.", held_until=NOW + timedelta(hours=1))
    assert (
        "calls are used up. It goes on at about 04:00" in browser.get("/queue?state=pending").text
    )
    hold(browser, removed="Acme NZ was taken out of the connection.")
    assert "was taken out of the connection." in browser.get("/queue?state=pending").text


def test_a_run_that_waits_for_xero_says_so_and_not_for_a_worker(browser: Browser) -> None:
    with browser.services.database.write() as session:
        run = session.scalars(select(Run)).first()
        run.started_at = run.ended_at = run.sentence = None
        run_id = run.id
    assert "Waits for a worker" in browser.get(f"/runs/{run_id}").text
    hold(browser, held_why="Xero is away.", held_until=NOW + timedelta(minutes=5))
    page = browser.get(f"/runs/{run_id}").text
    assert "Xero is away. It goes on at about 03:05" in page
    assert "Waits for a worker" not in page


@pytest.mark.parametrize("client_id", ["<script>alert(1)</script>", "ключ", "A B"])
def test_a_client_id_that_cant_be_one_is_refused(browser: Browser, client_id: str) -> None:
    page = browser.after(browser.post("/api-details", client_id=client_id))
    assert "has only letters and digits" in page
    with browser.services.database.read() as session:
        assert not profiles.setting(session, "xero_client_id")


def test_lists_go_on_by_key_in_both_directions(browser: Browser) -> None:
    with browser.services.database.write() as session:
        for number in range(100):
            session.add(
                QueueItem(
                    organisation_id=1,
                    module="Contacts",
                    record_id=f"c{number}",
                    slot=f"Contacts:c{number}",
                    label=f"Contact {number}",
                    resource="Contacts",
                    rank=20,
                    added_at=NOW,
                    changed_at=NOW,
                )
            )
    first = browser.get("/queue?state=pending").text
    assert ">#3<" in first
    assert ">#52<" in first
    assert ">#53<" not in first
    second = browser.get("/queue?state=pending&after=52").text
    assert ">#53<" in second
    assert ">#52<" not in second
    assert "before=53" in second
    again = browser.get("/queue?state=pending&before=53").text
    assert ">#3<" in again
    assert ">#52<" in again


def test_a_log_entry_shows_this_records_part_and_what_was_read_back(browser: Browser) -> None:
    page = browser.get("/logs/1").text
    assert "PUT https://api.xero.com/api.xro/2.0/Invoices" in page
    assert "&#34;InvoiceNumber&#34;: &#34;INV-1&#34;" in page
    assert "Read back" in page
    assert "Same" in page
    assert "key-1" in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("outcome=failed", {"INV-2"}),
        ("mail=sent", {"INV-1", "INV-2"}),
        ("mail=not+due", set()),
        ("run=1&action=Create", {"INV-1", "INV-2"}),
        (f"q={XERO_ID}", {"INV-1"}),
        ("from=2026-11-22", set()),
        ("to=2026-11-21&module=Invoices", {"INV-1", "INV-2"}),
        ("from=yesterday&run=x", {"INV-1", "INV-2"}),
    ],
)
def test_logs_are_filtered(browser: Browser, query: str, shown: set[str]) -> None:
    page = browser.get(f"/logs?{query}").text
    assert {label for label in ("INV-1", "INV-2") if f">{label}</a>" in page} == shown


def test_search_opens_an_exact_number_and_lists_the_rest(browser: Browser) -> None:
    answer = browser.get("/search?q=inv-2")
    assert answer.headers["Location"] == "/xtiger/records/Invoices/2"
    answer = browser.get(f"/search?q={XERO_ID}")
    assert answer.headers["Location"] == "/xtiger/records/Invoices/1"
    assert "INV-3" in browser.get("/search?q=inv").text


def test_live_fragments_cost_nothing_while_nothing_changes(browser: Browser) -> None:
    for path in ("/_live", "/queue/_live", "/runs/1/_live", "/records/Invoices/2/_live"):
        first = browser.get(path)
        assert first.status_code == 200
        assert "<html" not in first.text
        again = browser.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304, path
    with browser.services.database.write() as session:
        session.get_one(QueueItem, 2).sentence = "Something else."
    tag = {"If-None-Match": first.headers["ETag"]}
    assert browser.get("/records/Invoices/2/_live", headers=tag).status_code == 200


def test_the_worst_thing_is_said_on_every_page(browser: Browser, people: People) -> None:
    with browser.services.database.write() as session:
        row = session.scalars(select(Connection)).one()
        row.broken, row.broken_at = "Xero says the consent has ended.", NOW - timedelta(minutes=9)
        session.scalars(select(Organisation)).one().paused_at = NOW
    for path in ("/", "/records/Invoices", "/logs"):
        page = browser.get(path).text
        assert "Acme NZ is disconnected since 02:51: Xero says the consent has ended." in page
        assert ">Reconnect</a>" in page
    people.be("user")
    assert "Ask Ana or Bea." in browser.get("/").text


def test_what_syncs_is_saved_and_sends_nothing(browser: Browser) -> None:
    form = _profile(browser)
    answer = browser.post(
        "/what-syncs/1/Invoices",
        **form | {"rule": "status", "statuses": ["Approved", "Paid"], "target_status": "DRAFT"},
    )
    assert "Saved. 1 invoice is now selected." in browser.after(answer)
    with browser.services.database.read() as session:
        row = session.scalars(select(Profile).where(Profile.module == "Invoices")).one()
        assert (row.rule, row.statuses, row.target_status) == (
            "status",
            ["Approved", "Paid"],
            "DRAFT",
        )
        assert session.scalar(select(func.count()).select_from(QueueItem)) == 2
    stale = browser.post("/what-syncs/1/Invoices", **form)
    assert stale.status_code == 409
    assert "Administrator saved this at 03:00. Your entries are below, unsaved;" in stale.text


@pytest.mark.parametrize("module", Module)
def test_each_modules_page_can_be_saved_as_it_is_shown(browser: Browser, module: Module) -> None:
    """What the page doesn't show is asked of nobody."""
    address = f"/what-syncs/1/{module.value}"
    form = shown(browser.get(address).text, "what-syncs")
    saved = browser.post(address, **form | {"order": "strict", "deleted": "remove"})
    assert "Saved. Nothing was sent" in browser.after(saved)
    with browser.services.database.read() as session:
        query = select(Profile).where(Profile.module == module.value, Profile.organisation_id == 1)
        row = session.scalars(query).one()
        assert (row.strict, row.deleted) == (True, "remove")


def shown(page: str, action: str) -> dict[str, Any]:
    """What a browser sends of the page's form to such an address, nothing changed."""
    form = re.search(rf'<form[^>]*action="[^"]*{action}[^"]*"[^>]*>(.*?)</form>', page, re.S)
    assert form is not None
    found: dict[str, Any] = {}
    for field in re.findall(r"<input[^>]*>", form[1]):
        parts = dict(re.findall(r'([\w-]+)="([^"]*)"', field))
        kind = parts.get("type", "text")
        if kind in ("checkbox", "radio") and " checked" not in field:
            continue
        if "name" in parts and kind != "submit":
            found[parts["name"]] = parts.get("value", "on")
    for name, options in re.findall(r'<select[^>]*name="(\w+)"[^>]*>(.*?)</select>', form[1], re.S):
        chosen = re.search(r'<option[^>]*selected[^>]*value="([^"]*)"', options)
        found[name] = chosen[1] if chosen else ""
    return found


def test_sync_says_what_waits_where_it_has_nothing_to_send(browser: Browser) -> None:
    browser.post("/sync", organisation="1")
    with browser.services.database.write() as session:
        for step in (
            {"state": "running", "slot": None},
            {
                "state": "failed",
                "slot": QueueItem.module + ":" + QueueItem.record_id,
                "sentence": "No.",
            },
        ):
            session.execute(
                update(QueueItem).where(QueueItem.state.in_(["pending", "running"])).values(step)
            )
        session.execute(update(Run).values(ended_at=NOW))
    said = browser.after(browser.post("/sync", organisation="1"))
    assert re.search(r"Nothing can go now: \d records? failed, for Retry once the cause is", said)
    assert "The Queue says why." in said


def test_the_form_names_its_faults(browser: Browser) -> None:
    form = _profile(browser)
    answer = browser.post(
        "/what-syncs/1/Invoices",
        **form | {"rule": "status", "created_from": "soon", "route_field": "currency"},
    )
    assert answer.status_code == 422
    page = answer.text.replace("&#39;", "'")
    assert "soon isn't a day. Write it like 2026-11-21." in page
    assert "Choose at least one status, or another rule." in page
    assert "Give both the field and its value, or leave both empty." in page
    assert 'value="soon"' in page, "what was entered is kept"


def test_profiles_that_overlap_are_refused_with_the_reason(browser: Browser) -> None:
    with browser.services.database.write() as session:
        other = Organisation(tenant_id="t2", name="Acme UK", chosen=True)
        session.add(other)
        session.flush()
        session.add(
            Profile(
                organisation_id=other.id,
                module="Invoices",
                rule="ticked",
                statuses=[],
                route_field="currency",
                route_value="GBP",
            )
        )
    form = _profile(browser)
    answer = browser.post(
        "/what-syncs/1/Invoices", **form | {"route_field": "currency", "route_value": "GBP"}
    )
    assert answer.status_code == 422
    assert "Invoices would go to Acme NZ and to Acme UK" in answer.text


def test_what_a_rule_selects_is_counted_on_demand(browser: Browser) -> None:
    assert (
        "Selects 2 of 3 invoices; saving changes nothing"
        in browser.get("/what-syncs/1/Invoices?count=1").text
    )


def _profile(browser: Browser) -> dict[str, str]:
    """The form as the page hands it out."""
    import html
    import re

    found = re.search(
        r'name="seen"[^>]*value="([^"]*)"', browser.get("/what-syncs/1/Invoices").text
    )
    assert found
    return {
        "seen": html.unescape(found[1]),
        "enabled": "y",
        "rule": "ticked",
        "target_status": "AUTHORISED",
        "add_needed": "1",
        "route_field": "",
        "route_value": "",
        "retries": "0",
        "order": "normal",
        "deleted": "leave",
        "created_from": "",
        "dated_from": "",
        "locked": "hold",
        "schedule": "at once",
        "minutes": "15",
        "daily_at": "02:00",
    }


def test_the_secret_is_stored_sealed_and_never_shown(browser: Browser) -> None:
    page = browser.after(
        browser.post("/api-details", client_id="MYAPP", client_secret="very-secret-4f2a")
    )
    assert "http://localhost/xtiger/connection/callback" in page
    assert "MYAPP" in page
    assert "ends 4f2a" in page
    assert "very-secret" not in page
    with browser.services.database.read() as session:
        assert "very-secret" not in str(session.get_one(Setting, "xero_client_secret").value)
        assert profiles.setting(session, "xero_client_id") == "MYAPP"


def test_connect_goes_to_xero_and_an_answer_of_elsewhere_is_refused(browser: Browser) -> None:
    browser.post("/api-details", client_id="MYAPP", client_secret="very-secret-4f2a")
    answer = browser.post("/api-details/connect")
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("https://login.xero.test/")
    assert "code_challenge=" in answer.headers["Location"]
    page = browser.after(browser.get("/connection/callback?code=x&state=made-up"))
    assert "This answer doesn&#39;t belong to the Connect you started here." in page


def test_appearance_is_kept_for_the_person(browser: Browser) -> None:
    page = browser.after(browser.post("/appearance", theme="dark", next="/xtiger/queue"))
    assert 'data-bs-theme="dark"' in page
    browser.post("/appearance", theme="neon")
    assert 'data-bs-theme="dark"' in browser.get("/").text


def test_times_follow_the_readers_zone(browser: Browser) -> None:
    browser.client.set_cookie("xtiger_zone", "Pacific/Auckland")
    page = browser.get("/runs/1").text
    assert "Times in Pacific/Auckland" in page
    assert "15:55:00" in page


def test_a_page_that_breaks_gives_a_reference(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("xtiger.web.runs._list", fall)
    answer = browser.get("/runs")
    assert answer.status_code == 500
    assert "This page broke; your data is safe. Reference" in answer.text
    assert "a fault of ours" not in answer.text

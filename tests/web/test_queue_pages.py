"""The queue's pages: pauses, reasons, unclear items, filters and what they leave uncounted."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from tests.web.conftest import NOW, XERO_ID, Browser, People
from xtiger.app import create_app
from xtiger.store import leases, logs, profiles, workers
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Connection,
    LogEntry,
    Organisation,
    Profile,
    QueueItem,
    Run,
)
from xtiger.store.schema import MOST_ROWS, migrate
from xtiger.web import lists
from xtiger.web.queue import again


def add(browser: Browser, label: str, state: str, **values: Any) -> int:
    """An item in some state; its place."""
    waits = state in ("pending", "blocked", "failed", "check")
    given = {"module": "Contacts", "organisation_id": 1, "record_id": label} | values
    with browser.services.database.write() as session:
        item = QueueItem(
            label=label,
            resource="Contacts",
            rank=20,
            state=state,
            slot=f"{given['module']}:{given['record_id']}" if waits else None,
            added_at=NOW,
            changed_at=NOW,
            **given,
        )
        session.add(item)
        session.flush()
        return item.id


def change(browser: Browser, model: Any, one: int, **values: Any) -> None:
    with browser.services.database.write() as session:
        row = session.get_one(model, one)
        for name, value in values.items():
            setattr(row, name, value)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("", "Everything"),
        ("/1", "Acme NZ"),
        ("/1/Invoices", "Invoices for Acme NZ"),
    ],
)
def test_whatever_is_paused_says_who_and_since_when_and_can_be_resumed(
    browser: Browser, people: People, path: str, what: str
) -> None:
    add(browser, "Smith", "pending", module="Invoices")
    assert f"Paused: {what}." in browser.after(browser.post(f"/queue/pause{path}"))
    for page in (browser.get("/queue?state=pending").text, browser.get("/").text):
        assert f"{what}: paused since 03:00 by Administrator. Nothing of it is sent." in page
        assert f'aria-label="Resume {what}"' in page
    assert "paused since 03:00 UTC by Administrator." in browser.get("/queue?state=pending").text
    assert 'class="banner tone-paused"' in browser.get("/runs").text
    people.be("manager")
    assert f'aria-label="Resume {what}"' not in browser.get("/queue").text
    people.be("administrator")
    assert f"Resumed: {what}. What waits goes on" in browser.after(
        browser.post(f"/queue/resume{path}")
    )
    assert "paused since" not in browser.get("/queue?state=pending").text
    with browser.services.database.read() as session:
        assert profiles.pause_of_all(session) is None
        assert [run.requested_by for run in session.scalars(select(Run)).all()][1:] == [
            "resumed by Administrator"
        ]


def test_a_module_is_paused_where_it_is_set_up_and_where_it_is_filtered(browser: Browser) -> None:
    page = browser.get("/what-syncs/1/Invoices").text
    assert 'action="/xtiger/queue/pause/1/Invoices"' in page
    assert 'action="/xtiger/queue/pause/1/Contacts"' in browser.get("/queue?module=Contacts").text
    assert browser.post("/queue/pause/1/Nothing").status_code == 404
    browser.post("/queue/pause/1/Invoices")
    assert "Invoices: paused since" in browser.get("/what-syncs/1/Invoices").text
    assert ">Paused<" in browser.get("/what-syncs").text.replace("</svg>", ">")


def test_order_and_deleting_are_chosen_and_explained(browser: Browser) -> None:
    page = browser.get("/what-syncs/1/Contacts").text.replace("&#39;", "'")
    assert "What fails or waits holds everything behind it" in page
    assert "Xero has no delete for contacts; they are archived." in page
    page = browser.get("/what-syncs/1/Invoices").text
    assert "delete or void in Xero" in page
    seen = page.split('name="seen"', 1)[1].split('value="', 1)[1].split('"', 1)[0]
    form = {
        "seen": seen,
        "enabled": "y",
        "rule": "ticked",
        "target_status": "AUTHORISED",
        "add_needed": "1",
        "order": "strict",
        "deleted": "remove",
        "route_field": "",
        "route_value": "",
        "retries": "0",
        "created_from": "",
        "locked": "hold",
        "schedule": "at once",
    }
    assert "Saved." in browser.after(browser.post("/what-syncs/1/Invoices", **form))
    with browser.services.database.read() as session:
        row = session.scalars(select(Profile).where(Profile.module == "Invoices")).one()
        assert (row.strict, row.deleted) == (True, "remove")


def test_a_blocked_item_names_what_it_waits_for_up_to_the_cause(browser: Browser) -> None:
    first = add(browser, "Smith", "failed", sentence="Name is taken. Rename it.", cause="name")
    middle = add(browser, "W-1", "blocked", blocked_by=first, module="Products")
    last = add(browser, "INV-9", "blocked", blocked_by=middle, module="Invoices")
    said = (
        f"It waits for #{middle} (product W-1, blocked), "
        f"which waits for #{first} (contact Smith, failed: Name is taken. Rename it)."
    )
    assert said in browser.get("/queue?state=blocked").text
    assert said in browser.get(f"/queue/{last}").text
    assert said in browser.get("/queue.csv?state=blocked").text


def test_every_open_item_says_why_it_isnt_in_xero(browser: Browser) -> None:
    change(browser, QueueItem, 2, sentence=None)
    for number, state in enumerate(("pending", "running", "check")):
        add(browser, f"C-{number}", state)
    for state, said in (
        ("pending", "It waits its turn."),
        ("running", "It was taken out to be sent and wasn't; it goes from its old place."),
        ("failed", "It was refused. Mend the cause, then retry it"),
        ("check", "It was sent and Xero's answer was lost."),
    ):
        assert said in browser.get(f"/queue?state={state}").text.replace("&#39;", "'"), state
    change(browser, Organisation, 1, auto_sync=False)
    assert "Auto-sync is off for Acme NZ" in browser.get("/queue?state=pending").text
    change(browser, Organisation, 1, live_since=None)
    assert (
        "Nothing is sent to Acme NZ until it goes live." in browser.get("/queue?state=pending").text
    )


@pytest.mark.parametrize(
    ("sent", "silent", "said"),
    [
        (True, 30, "It is at Xero now."),
        (False, 30, "It is on its way to Xero."),
        (
            True,
            90,
            "Its worker has ended, last heard of at 02:58 UTC. From 03:01 UTC on Xero is asked "
            "whether it arrived.",
        ),
        (
            False,
            90,
            "Its worker has ended, last heard of at 02:58 UTC. From 03:01 UTC on Xero gets it "
            "from its old place.",
        ),
    ],
)
def test_what_a_worker_that_ended_had_in_hand_isnt_said_to_be_at_xero(
    browser: Browser, sent: bool, silent: int, said: str
) -> None:
    place = add(browser, "Smith", "running")
    change(browser, Organisation, 1, holder="gone", lease_until=NOW + timedelta(minutes=1))
    with browser.services.database.write() as session:
        workers.beat(session, "gone", kind="worker", now=NOW - timedelta(seconds=silent))
        if sent:
            attempt = Attempt(
                organisation_id=1,
                fence=1,
                resource="Contacts",
                verb="create",
                idempotency_key="k",
                body_hash="h",
                opened_at=NOW,
            )
            session.add(attempt)
            session.flush()
            element = AttemptElement(attempt_id=attempt.id, place=0, item_id=place, meant={})
            session.add(element)
    assert said in browser.get("/queue?state=running").text


def test_retrying_all_stays_within_the_organisation_and_the_filters(browser: Browser) -> None:
    with browser.services.database.write() as session:
        session.add(Organisation(id=2, tenant_id="t2", name="Acme UK", chosen=True))
    cause = "account archived 200"
    add(browser, "Smith", "failed", cause=cause)
    add(browser, "Jones", "failed", cause=cause, organisation_id=2)
    assert "Retry 3 records?" in browser.get(f"/queue/retry?cause={cause}").text
    page = browser.get(f"/queue/retry?cause={cause}&org=1&module=Contacts").text
    assert "Retry 1 record?" in page
    assert "Only of: Acme NZ, Contacts." in page
    said = browser.after(
        browser.post("/queue/retry", cause=cause, org="1", module="Contacts", count="1")
    )
    assert "Retrying 1 record" in said
    with browser.services.database.read() as session:
        failed = select(QueueItem.label).where(QueueItem.state == "failed")
        assert sorted(session.scalars(failed)) == ["INV-2", "Jones"]


def test_causes_beyond_six_are_counted_not_dropped(browser: Browser) -> None:
    for number in range(8):
        add(browser, f"C-{number}", "failed", cause=f"cause {number}", sentence=f"Why {number}.")
    assert "and 3 more, 3 records." in browser.get("/").text


def test_a_filter_without_an_index_looks_so_far_and_says_so(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "WINDOW", 20)
    places = [add(browser, f"C-{number}", "pending") for number in range(60)]
    found = add(browser, "Zebra", "pending")
    page = browser.get("/queue?state=pending&q=zebra").text
    assert "The 20 places from here were looked through." in page
    seen = 0
    while "Zebra</a>" not in page:
        assert f"after={places[20 * (seen + 1) - 1]}" in page
        page = browser.get(f"/queue?state=pending&q=zebra&after={places[20 * (seen + 1) - 1]}").text
        seen += 1
    assert seen == 3
    assert f">#{found}<" in page
    # A place or a record's own id is found at once, wherever it stands.
    assert f">#{found}<" in browser.get(f"/queue?state=pending&q=%23{found}").text

    assert f">#{places[59]}<" in browser.get("/queue?state=pending&q=C-59").text


def test_the_log_is_looked_through_by_time_and_text_too(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "WINDOW", 1)
    assert "The 1 entries from here" in browser.get("/logs?q=nothing").text
    assert "INV-1" in browser.get(f"/logs?q={XERO_ID}").text
    monkeypatch.undo()
    assert "INV-1" in browser.get("/logs?from=2026-11-21&to=2026-11-21").text
    assert "No entry matches" in browser.get("/logs?to=2026-11-20").text
    assert "No entry matches" in browser.get("/logs?from=2026-11-22").text


def test_the_banner_names_all_that_are_disconnected_and_counts_what_waits(
    browser: Browser,
) -> None:
    add(browser, "Smith", "pending")
    change(browser, Connection, 1, broken="The consent was revoked.", broken_at=NOW)
    page = browser.get("/runs").text
    assert "Acme NZ is disconnected since" in page
    assert "1 record waits and goes by itself" in page, "the failed one doesn't"
    with browser.services.database.write() as session:
        session.add(
            Organisation(
                id=2, tenant_id="t2", name="Acme UK", chosen=True, removed="Gone.", removed_at=NOW
            )
        )
    add(browser, "Jones", "pending", organisation_id=2)
    page = browser.get("/runs").text
    assert "Acme NZ and Acme UK are disconnected. 2 records wait in order" in page


def unclear(browser: Browser) -> None:
    """INV-2's call is one whose fate nobody can tell."""
    with browser.services.database.write() as session:
        item = session.get_one(QueueItem, 2)
        item.state = "pending"
        session.flush()
        item.state, item.slot = "running", None
        session.flush()
        item.state, item.slot, item.sentence = "check", "Invoices:2", None
        session.add(
            LogEntry(
                at=NOW,
                organisation_id=1,
                item_id=2,
                attempt_id=2,
                place=0,
                module="Invoices",
                record_id="2",
                label="INV-2",
                action="Create",
                outcome="check",
                sentence="It was sent.",
                quoted=["Sent: INV-2, 115.00", f"In Xero: INV-2, Ana, 115.00, id {XERO_ID}"],
            )
        )


def test_an_unclear_item_shows_both_sides_and_asks_before_it_believes(
    browser: Browser, people: People
) -> None:
    unclear(browser)
    page = browser.get("/queue/2").text
    assert "What was sent" in page
    assert "INV-2" in page
    assert f'value="{XERO_ID}"' in page
    assert "Look in Xero, 1 call" in page
    asked = browser.get(f"/queue/2/say?said=there&candidate={XERO_ID}").text
    assert "INV-2 arrived, and it is this one in Xero?" in asked
    assert XERO_ID in asked
    link = f"https://go.xero.com/app/!x/invoicing/view/{XERO_ID}"
    pasted = browser.get("/queue/2/say", query_string={"said": "there", "xero_id": link})
    assert XERO_ID in pasted.text
    assert "Choose one of those Xero has" in browser.after(browser.get("/queue/2/say?said=there"))
    assert "INV-2 never arrived in Xero?" in browser.get("/queue/2/say?said=not-there").text
    assert browser.get("/queue/2/say?said=perhaps").status_code == 404
    said = browser.after(browser.post("/queue/2/say", said="not-there")).replace("&#39;", "'")
    assert "INV-2 goes again in its old place, #2." in said
    assert "Administrator said “It isn't”" in said
    with browser.services.database.read() as session:
        assert session.get_one(QueueItem, 2).state == "pending"
    assert "isn't unclear any more" in browser.after(
        browser.post("/queue/2/say", said="not-there")
    ).replace("&#39;", "'")
    unclear(browser)
    people.be("manager")
    assert "Look in Xero, 1 call" not in browser.get("/queue/2").text


def test_many_are_retried_in_small_transactions(browser: Browser) -> None:
    """Others get their turn in between; one run is asked for in the end."""
    ids = [add(browser, f"C{number}", "failed") for number in range(MOST_ROWS + 30)]
    steps: list[int] = []

    def touch(_c: Any, cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("UPDATE xtiger_queue"):
            steps.append(cursor.rowcount)

    def commit(_connection: Any) -> None:
        steps.append(0)

    engine = browser.services.database.engine
    event.listen(engine, "after_cursor_execute", touch)
    event.listen(engine, "commit", commit)
    try:
        with browser.app.test_request_context():
            done = again([*ids, 2], who="Ana")
    finally:
        event.remove(engine, "after_cursor_execute", touch)
        event.remove(engine, "commit", commit)
    assert len(done) == MOST_ROWS + 31
    assert steps == [MOST_ROWS, 0, 31, 0, 0]
    with browser.services.database.read() as session:
        asked = select(Run).where(Run.ended_at.is_(None))
        assert [run.requested_by for run in session.scalars(asked)] == ["Ana"]


def test_two_who_retry_at_one_moment_ask_for_one_run(postgres_url: str, tmp_path: Path) -> None:
    """The second waits until the first has asked."""
    app = create_app(
        instance=tmp_path / "instance", environment={"XTIGER_DATABASE_URL": postgres_url}
    )
    database = app.extensions["xtiger"].services.database
    migrate(database)
    with database.write() as session:
        one = Organisation(tenant_id="t", name="Kauri", chosen=True, auto_sync=True, live_since=NOW)
        session.add(one)
        session.flush()
        for number in (1, 2):
            session.add(
                QueueItem(
                    organisation_id=one.id,
                    module="Contacts",
                    record_id=str(number),
                    resource="Contacts",
                    rank=20,
                    state="failed",
                    slot=f"Contacts:{number}",
                    added_at=NOW,
                    changed_at=NOW,
                )
            )
    retried: list[int] = []

    def second() -> None:
        with app.test_request_context():
            retried.extend(item.id for item in again([2], who="Bo"))

    thread = threading.Thread(target=second)
    with database.write() as session:
        leases.lock(session, [one.id])
        logs.ask_run(session, one.id, kind="instant", requested_by="Ana", now=NOW)
        thread.start()
        thread.join(1)
        assert thread.is_alive()
    thread.join(30)
    assert retried == [2]
    with database.read() as session:
        assert [run.requested_by for run in session.scalars(select(Run))] == ["Ana"]
    database.close()
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()

"""Who hears of which failures: by their modules, beside no report that left them out; and the end
of failures is told when it is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import insert, update

from tests import books
from tests.conftest import Engine
from tests.engine.alert_scenes import (
    ANA,
    HOUR,
    MINUTE,
    Watch,
    html_of,
    looked_at,
    text_of,
    watching,
)
from tests.engine.scenes import KAURI, ask, change_organisation, crm, items, rows_of, tick
from tests.engine.test_alert_failures import bad_invoices, cancel_all
from xtiger.domain.queueing import State
from xtiger.domain.records import Module
from xtiger.engine import pausing
from xtiger.engine.alerting import alerts
from xtiger.engine.reporting import letters, subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.store import queue
from xtiger.store.models import LogEntry, Mail, QueueItem

BO = "bo@example.com"


@pytest.fixture
def watch(engine: Engine) -> Iterator[Watch]:
    with watching(engine) as found:
        yield found


def to(watch: Watch, address: str) -> list[str]:
    """The subjects of all that somebody got."""
    return [str(each["Subject"]).strip() for each in watch.box.taken if str(each["To"]) == address]


def fails(watch: Watch, one: int, causes: Sequence[str], *, module: str = "Invoices") -> list[int]:
    """The queue and the log as records leave them that fail just now, one for each cause given."""
    now = watch.clock.now()
    first = len(items(watch.engine))
    about = [
        {"organisation_id": one, "module": module, "record_id": f"{module}{first + n}", "run_id": 1}
        for n in range(len(causes))
    ]
    with watch.engine.database.write() as session:
        places = []
        for each, cause in zip(about, causes, strict=True):
            values = each | {
                "label": each["record_id"],
                "resource": module,
                "rank": 50,
                "state": "failed",
                "slot": f"{module}:{each['record_id']}",
                "cause": cause,
                "sentence": f"{module} fail for {cause}.",
                "added_at": now,
                "changed_at": now,
            }
            made = session.execute(insert(QueueItem).values(values).returning(QueueItem.id))
            places.append(made.scalar_one())
            entry = {"action": "Create", "outcome": "failed", "cause": cause, "quoted": []}
            values = each | entry | {"at": now, "item_id": places[-1], "sentence": ""}
            session.execute(insert(LogEntry).values(values))
    return places


def becomes(watch: Watch, places: Sequence[int], *states: str) -> None:
    """The items take these steps."""
    with watch.engine.database.write() as session:
        for state in states:
            if state == "succeeded":
                queue.end(session, places, State.SUCCEEDED)
                continue
            slot = None if state == "running" else QueueItem.module + ":" + QueueItem.record_id
            rows = update(QueueItem).where(QueueItem.id.in_(places))
            # The last one of the queue is the parent.
            parent = len(items(watch.engine)) if state == "blocked" else None
            session.execute(rows.values(state=state, slot=slot, blocked_by=parent))


def retry_all(watch: Watch) -> None:
    with watch.engine.database.write() as session:
        ids = [row.id for row in session.query(QueueItem) if row.state == "failed"]
        assert queue.retry(session, ids, now=watch.clock.now()) == len(ids) > 0


# -- when it is over ---------------------------------------------------------------------------


def test_records_that_wait_to_be_tried_again_are_not_mended(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    bad_invoices(watch, 12)
    ask(engine, one)
    watch.work()
    assert len(watch.pass_time(30 * MINUTE)) == 1
    change_organisation(engine, paused_at=watch.clock.now(), paused_by="Ana")
    retry_all(watch)
    assert watch.pass_time(3 * HOUR) == []
    with engine.database.read() as session:
        [stands] = alerts.standing(session, watch.clock.now())
    assert stands.sentence == "Kauri Trading: what failed for one cause waits to be tried again."
    # They fail again: nobody was told of an end, and it is still the same alert.
    change_organisation(engine, paused_at=None, paused_by=None)
    ask(engine, one)
    watch.work()
    assert watch.pass_time(10 * MINUTE) == ["[XTiger] Kauri Trading: 12 records fail for one cause"]
    assert len(watch.alerts()) == 1


@pytest.mark.parametrize("state", ["running", "blocked"])
def test_records_in_a_call_or_behind_another_are_not_mended(watch: Watch, state: str) -> None:
    one = watch.engine.connect(KAURI)[KAURI]
    places = fails(watch, one, ["account-unusable:900"] * 12)
    fails(watch, one, ["name-missing"], module="Contacts")
    assert len(watch.pass_time(30 * MINUTE)) == 1
    # Behind a parent an item's cause is that it waits; for what it failed stands in the log.
    becomes(watch, places, "pending", "running", *(["blocked"] if state == "blocked" else []))
    with watch.engine.database.write() as session:
        session.execute(update(QueueItem).values(cause="blocked"))
    assert watch.pass_time(HOUR) == []
    becomes(watch, places[:1], *(["pending", "running"] if state == "blocked" else []), "succeeded")
    assert watch.pass_time(HOUR) == []
    becomes(watch, places[1:], *(["pending", "running"] if state == "blocked" else []), "succeeded")
    assert watch.pass_time(HOUR) == [
        "[XTiger] Kauri Trading: no record fails any more for one cause"
    ]


def test_what_was_taken_out_is_told_as_that(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    bad_invoices(watch, 12)
    ask(engine, one)
    watch.work()
    assert len(watch.pass_time(30 * MINUTE)) == 1
    cancel_all(watch)
    assert watch.pass_time(30 * MINUTE) == [
        "[XTiger] Kauri Trading: what failed for one cause was taken out of the queue"
    ]
    text = " ".join(looked_at(watch.box.taken[-1]).split())
    assert "All of it was taken out of the queue." in text
    assert "any more" not in text


# -- modules -----------------------------------------------------------------------------------


def hears_of(watch: Watch, *modules: str, address: str = BO, language: str = "en") -> None:
    choices = Choices(alerts=True, modules=list(modules), language=language)
    subscriptions.subscribe(watch.services, address, choices, who="Ana")


def test_who_chose_other_modules_hears_nothing(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    hears_of(watch, "Contacts")
    hears_of(watch, "Invoices", address="cy@example.com")
    bad_invoices(watch, 12)
    ask(engine, one)
    watch.work()
    watch.pass_time(30 * MINUTE)
    cancel_all(watch)
    watch.pass_time(30 * MINUTE)
    assert to(watch, BO) == []
    assert to(watch, "cy@example.com") == to(watch, ANA)
    assert len(to(watch, ANA)) == 2


def test_each_hears_of_their_modules_and_of_their_own_end(watch: Watch) -> None:
    one = watch.engine.connect(KAURI)[KAURI]
    hears_of(watch, "Contacts")
    places = fails(watch, one, ["xero:abc"] * 3, module="Contacts")
    fails(watch, one, ["xero:abc"] * 12)
    watch.pass_time(30 * MINUTE)
    assert to(watch, ANA) == ["[XTiger] Kauri Trading: 15 records fail for one cause"]
    assert to(watch, BO) == ["[XTiger] Kauri Trading: 3 records fail for one cause"]
    [mine] = [each for each in watch.box.taken if str(each["To"]) == BO]
    for said in (text_of(mine), html_of(mine)):
        assert "Invoices" not in said
        assert "Contacts fail for xero:abc." in said
    becomes(watch, places, "pending")
    assert BO not in {str(each["To"]) for each in watch.box.taken[2:]}
    watch.pass_time(30 * MINUTE)
    assert len(to(watch, BO)) == 1  # they wait to be tried again
    becomes(watch, places, "running", "succeeded")
    watch.pass_time(20 * MINUTE)
    over = "[XTiger] Kauri Trading: no record fails any more for one cause"
    assert to(watch, BO)[1:] == [over]
    assert "Invoices" not in text_of([m for m in watch.box.taken if str(m["To"]) == BO][-1])
    watch.pass_time(2 * HOUR)
    assert to(watch, BO)[2:] == []
    assert over not in to(watch, ANA)
    # Of what comes back they hear anew.
    fails(watch, one, ["xero:abc"] * 2, module="Contacts")
    watch.pass_time(HOUR)
    assert to(watch, BO)[2:] == ["[XTiger] Kauri Trading: 2 records fail for one cause"]


@pytest.mark.parametrize(("narrow", "wide"), [("Contacts", None), ("Contacts", "Invoices")])
def test_of_two_rows_of_a_mailbox_any_that_asks_is_enough(
    watch: Watch, narrow: str, wide: str | None
) -> None:
    """A row about one organisation, of other modules, doesn't silence the one about all."""
    one = watch.engine.connect(KAURI)[KAURI]
    its = Choices(alerts=True, organisation_id=one, modules=[narrow])
    subscriptions.subscribe(watch.services, BO, its, who="Ana")
    modules = [wide] if wide else None
    whole = Choices(alerts=True, modules=modules, language="de")
    asks = subscriptions.subscribe(watch.services, BO, whole, who="Ana")
    places = fails(watch, one, ["xero:abc"] * 12)
    watch.pass_time(30 * MINUTE)
    assert to(watch, BO) == ["[XTiger] Kauri Trading: 12 Datensätze scheitern, eine Ursache"]
    # It ends by its link what brought it.
    assert {row.subscription_id for row in rows_of(watch.engine, Mail) if row.recipient == BO} == {
        asks
    }
    becomes(watch, places, "pending", "running", "succeeded")
    watch.pass_time(30 * MINUTE)
    assert to(watch, BO)[1:] == [
        "[XTiger] Kauri Trading: kein Datensatz scheitert mehr (eine Ursache)"
    ]
    assert rows_of(watch.engine, Mail)[-1].subscription_id == asks
    # And of both rows' modules the records are told together.
    fails(watch, one, ["xero:def"] * 12)
    fails(watch, one, ["xero:def"] * 3, module="Contacts")
    watch.pass_time(HOUR)
    assert "15 " in to(watch, BO)[2]


def test_a_module_s_pause_is_told_by_the_row_that_asks_for_the_module(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    its = Choices(alerts=True, organisation_id=one, modules=["Contacts"])
    subscriptions.subscribe(watch.services, BO, its, who="Ana")
    hears_of(watch, "Invoices")
    bad_invoices(watch, 1)
    pausing.pause(watch.services, organisation_id=one, module=Module.INVOICES, who="Ana")
    ask(engine, one)
    watch.pass_time(26 * HOUR, every=HOUR)
    assert len([each for each in to(watch, BO) if "Paused" in each]) == 1


# -- reports -----------------------------------------------------------------------------------


def test_a_report_that_left_the_failures_out_withholds_no_alert(watch: Watch) -> None:
    """The report tells of contacts alone; of alerts the same mailbox wants all."""
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    services = watch.services
    reads = Choices(after_sync=True, modules=["Contacts"])
    subscriptions.subscribe(services, BO, reads, who="Ana")
    hears = Choices(alerts=True, organisation_id=one)
    subscriptions.subscribe(services, BO, hears, who="Ana")
    bad_invoices(watch, 12)
    ask(engine, one)
    watch.work()
    [report] = to(watch, BO)
    assert "1 synced" in report
    watch.pass_time(30 * MINUTE)
    assert to(watch, BO)[1:] == ["[XTiger] Kauri Trading: 12 records fail for one cause"]


@pytest.mark.parametrize("late", [False, True])
def test_a_report_that_could_not_be_mailed_withholds_no_alert(watch: Watch, late: bool) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    choices = Choices(after_sync=True, alerts=True)
    subscriptions.subscribe(watch.services, BO, choices, who="Ana")
    bad_invoices(watch, 12)
    ask(engine, one)
    watch.box.refuse = "451 later"
    watch.work()
    if late:
        alerts.look(watch.services)
        watch.clock.sleep(MINUTE + 1)
        alerts.look(watch.services)
        [row] = watch.alerts()
        assert row.details["told"][BO]["by_report"]
    with engine.database.write() as session:
        done = session.execute(
            update(Mail)
            .where(Mail.recipient == BO, Mail.kind == "after_sync")
            .values(state="failed", why="No such mailbox.")
        )
        assert done.rowcount == 1  # type: ignore[attr-defined]
    watch.box.refuse = None
    watch.pass_time(30 * MINUTE)
    letters.send_waiting(watch.services)
    assert to(watch, BO) == ["[XTiger] Kauri Trading: 12 records fail for one cause"]


# -- many causes -------------------------------------------------------------------------------


def test_many_records_with_as_many_accounts_are_one_alert(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    with crm(engine) as session:
        made = [
            books.product(session, f"P-{number}", sales_account=f"9{number:02d}")
            for number in range(12)
        ]
    tick(engine, *made)
    ask(engine, one)
    watch.work()
    failed = {item.cause for item in items(engine) if item.state == "failed"}
    assert len(failed) == 12
    assert watch.pass_time(30 * MINUTE) == ["[XTiger] Kauri Trading: 12 records fail for 12 causes"]
    text = looked_at(watch.box.taken[-1])
    assert text.count("- 1 record\n") == 10
    assert "and 2 more." in text
    assert "cause=account-unusable%3A900" in text
    [row] = watch.alerts()
    assert row.key == "account-unusable:"
    assert "12 records fail for 12 causes. The most of them: " in row.sentence
    cancel_all(watch)
    assert watch.pass_time(30 * MINUTE) == [
        "[XTiger] Kauri Trading: what failed for 12 causes was taken out of the queue"
    ]


def test_a_cause_that_grows_goes_alone_and_the_rest_together(watch: Watch) -> None:
    one = watch.engine.connect(KAURI)[KAURI]
    fails(watch, one, ["account-unusable:900"] * 11)
    fails(watch, one, [f"account-unusable:{900 + n}" for n in range(1, 11)])
    fails(watch, one, [*(f"cause {n}" for n in range(8)), "value:Date", "xero:abc"])
    hears_of(watch, "Invoices", language="de")
    watch.pass_time(30 * MINUTE)
    assert to(watch, ANA) == ["[XTiger] Kauri Trading: 31 records fail for 21 causes"]
    assert to(watch, BO) == ["[XTiger] Kauri Trading: 31 Datensätze scheitern, 21 Ursachen"]
    mine, his = watch.box.taken[-2:]
    assert "- 11 records Invoices fail for account-unusable:900." in " ".join(
        looked_at(mine).split()
    )
    assert "and 11 more." in looked_at(mine)
    assert "und 11 weitere." in looked_at(his)
    assert sorted(row.key for row in watch.alerts()) == [
        "",
        "account-unusable:",
        "account-unusable:900",
    ]
    assert watch.pass_time(30 * MINUTE) == []


def test_a_few_records_for_as_many_causes_are_the_report_s_news(watch: Watch) -> None:
    one = watch.engine.connect(KAURI)[KAURI]
    fails(watch, one, [f"account-unusable:{900 + n}" for n in range(9)])
    assert watch.pass_time(HOUR) == []
    assert watch.alerts() == []

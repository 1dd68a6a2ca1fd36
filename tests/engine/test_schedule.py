"""Schedules at work: what goes by itself and when, what waits, and what a person hurries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import insert

from tests import books
from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    THAMES,
    ShiftedClock,
    all_ended,
    change_organisation,
    change_profile,
    created,
    crm,
    invoices,
    item_of,
    items,
    queue_of,
    runs,
    sync,
    tick,
    work,
)
from xtiger.crm.builtin import Contact, Invoice
from xtiger.domain.schedules import Schedule, When
from xtiger.engine import intake, scheduler, standing
from xtiger.engine.beats import Beats
from xtiger.engine.services import Services
from xtiger.store.models import QueueItem

#: Where Kauri Trading is.
AUCKLAND = "Pacific/Auckland"


class SetClock(ShiftedClock):
    """A clock that is set to a moment and goes on from there."""

    def set(self, moment: datetime) -> None:
        self.shift = moment - datetime.now(UTC)


def at(engine: Engine, moment: datetime) -> Services:
    """A worker of that moment."""
    clock = SetClock()
    clock.set(moment)
    return engine.worker("by-clock", clock=clock)


def due(engine: Engine, services: Services) -> list[int]:
    """One beat of the schedule, and the runs it asked for."""
    found = scheduler.schedule_due(services)
    work(engine, services)
    return found


def soon(schedule: Schedule) -> datetime:
    """Just after the schedule's next turn."""
    turn = schedule.next_turn(datetime.now(UTC))
    assert turn is not None
    return turn + timedelta(seconds=1)


def states(engine: Engine) -> dict[str, str]:
    return dict(queue_of(engine))


def test_a_daily_module_waits_for_its_hour_and_goes_then_with_what_it_needs(
    each_engine: Engine,
) -> None:
    engine = each_engine
    one = engine.connect(KAURI)[KAURI]
    change_profile(engine, "Invoices", schedule="daily", daily_at="02:00")
    change_profile(engine, "Contacts", schedule="by sync")
    invoices(engine)
    assert due(engine, engine.services) == []
    assert set(states(engine).values()) == {"pending"}
    night = soon(Schedule(When.DAILY, zone=AUCKLAND))
    assert due(engine, at(engine, night)) == [one]
    assert all_ended(engine)
    assert created(engine, "Contacts") == ["Ana Lee Ltd"]
    assert created(engine) == ["INV-1"]
    assert [(run.kind, run.requested_by) for run in runs(engine)] == [("scheduled", "schedule")]


def test_a_turn_nobody_was_awake_for_is_caught_up_once(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    schedule = Schedule(When.EVERY, 30)
    change_profile(engine, "Invoices", schedule="every", minutes=30)
    change_profile(engine, "Contacts", schedule="every", minutes=30)
    invoices(engine)
    assert due(engine, engine.services) == []
    late = soon(schedule) + timedelta(hours=7)
    assert due(engine, at(engine, late)) == [one]
    assert created(engine) == ["INV-1"]
    assert due(engine, at(engine, late + timedelta(hours=1))) == []
    assert len(runs(engine)) == 1


def test_what_comes_after_the_turn_waits_for_the_next_one(engine: Engine) -> None:
    engine.connect(KAURI)
    schedule = Schedule(When.EVERY, 60)
    for module in ("Invoices", "Contacts"):
        change_profile(engine, module, schedule="every", minutes=60)
    invoices(engine)
    intake.relay(engine.services)
    first = soon(schedule)
    invoices(engine, first=2)
    intake.relay(at(engine, first + timedelta(minutes=1)))
    due(engine, at(engine, first + timedelta(minutes=2)))
    assert states(engine)["INV-1"] == "succeeded"
    assert states(engine)["INV-2"] == "pending"
    due(engine, at(engine, first + timedelta(hours=1)))
    assert states(engine)["INV-2"] == "succeeded"


def test_a_record_that_keeps_changing_goes_at_the_next_turn_all_the_same(engine: Engine) -> None:
    engine.connect(KAURI)
    for module in ("Invoices", "Contacts"):
        change_profile(engine, module, schedule="every", minutes=60)
    [row] = invoices(engine)
    intake.relay(engine.services)
    turn = soon(Schedule(When.EVERY, 60))
    tick(engine, row)
    intake.relay(at(engine, turn + timedelta(seconds=30)))
    assert item_of(engine, "INV-1").changes > 1
    due(engine, at(engine, turn + timedelta(minutes=1)))
    assert states(engine)["INV-1"] == "succeeded"


def test_only_by_sync_goes_by_no_schedule_and_by_sync_at_once(engine: Engine) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Invoices", schedule="by sync")
    invoices(engine)
    for hours in (1, 30, 24 * 40):
        due(engine, at(engine, datetime.now(UTC) + timedelta(hours=hours)))
    assert states(engine)["INV-1"] == "pending"
    sync(engine)
    assert states(engine)["INV-1"] == "succeeded"


def test_a_schedule_is_its_organisations_alone(engine: Engine) -> None:
    ids = engine.connect()
    for module in ("Invoices", "Contacts"):
        change_profile(engine, module, KAURI, schedule="by sync")
    invoices(engine, currency="NZD")
    with crm(engine) as session:
        buyer = session.query(Contact).first()
        there = books.invoice(session, "INV-9", buyer, (None, "1", "10", "0", "20"), currency="GBP")
    tick(engine, there)
    assert due(engine, engine.services) == [ids[THAMES]]
    assert states(engine)["INV-9"] == "succeeded"
    assert states(engine)["INV-1"] == "pending"


def test_sync_of_one_record_does_not_wait_for_the_hour(engine: Engine) -> None:
    engine.connect(KAURI)
    for module in ("Invoices", "Contacts"):
        change_profile(engine, module, schedule="daily")
    first, second = invoices(engine, 2)
    scheduler.sync_records(engine.services, [books.ref(second)], who="Ana")
    work(engine)
    assert states(engine)[second.number] == "succeeded"
    assert states(engine)[first.number] == "pending"


def test_failed_items_of_a_scheduled_module_are_retried_once_a_turn(engine: Engine) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Invoices", schedule="every", minutes=60, retries=9)
    with crm(engine) as session:
        buyer = books.contact(session)
        row = books.invoice(session, "INV-1", buyer)
        row.due_date = None
    tick(engine, row)
    sync(engine)
    assert (item_of(engine, "INV-1").state, item_of(engine, "INV-1").tries) == ("failed", 1)
    turn = soon(Schedule(When.EVERY, 60))
    for tries, moment in ((2, turn), (2, turn + timedelta(minutes=30))):
        due(engine, at(engine, moment))
        assert item_of(engine, "INV-1").tries == tries
    due(engine, at(engine, turn + timedelta(hours=1)))
    assert item_of(engine, "INV-1").tries == 3
    change_profile(engine, "Invoices", schedule="by sync")
    due(engine, at(engine, turn + timedelta(hours=5)))
    assert item_of(engine, "INV-1").tries == 3


def test_the_record_page_says_when_it_goes(engine: Engine) -> None:
    engine.connect(KAURI)
    [row] = invoices(engine)
    intake.relay(engine.services)

    def why() -> str:
        [found] = standing.standing(engine.services, books.ref(row))
        return found.sentence

    change_profile(engine, "Invoices", schedule="by sync")
    assert why() == f"Invoices for {KAURI} go only by Sync."
    change_profile(engine, "Invoices", schedule="daily", daily_at="02:00")
    local = soon(Schedule(When.DAILY, zone=AUCKLAND)).astimezone(ZoneInfo(AUCKLAND))
    assert why() == (
        f"Invoices for {KAURI} go daily at 02:00, Auckland time; next on "
        f"{local.day} {local:%b %Y}, 02:00."
    )
    change_profile(engine, "Invoices", schedule="every", minutes=1440)
    assert why().startswith(f"Invoices for {KAURI} go every 1440 minutes; next on ")
    change_profile(engine, "Invoices", schedule="at once")
    assert "go " not in why()


def test_a_beat_sends_at_once_and_takes_failed_ones_again_only_now_and_then(
    engine: Engine,
) -> None:
    one = engine.connect(KAURI)[KAURI]
    woken: list[int] = []
    clock = SetClock()
    services = engine.worker("beating", clock=clock)
    beats = Beats(services, "worker")
    beats.wake = woken.append  # type: ignore[method-assign]
    change_profile(engine, "Invoices", retries=9)
    beats.due()  # the first beat only notes when
    with crm(engine) as session:
        row = books.invoice(session, "INV-1", books.contact(session))
        row.due_date = None
    tick(engine, row)
    clock.shift += timedelta(seconds=engine.settings.sync_interval + 1)
    beats.due()
    assert woken == [one]
    work(engine, services)
    assert item_of(engine, "INV-1").tries == 1
    for seconds, tries in ((10, 1), (60, 1), (300, 2), (10, 2)):
        clock.shift += timedelta(seconds=seconds)
        beats.due()
        work(engine, services)
        assert item_of(engine, "INV-1").tries == tries


def test_a_document_that_waits_for_a_contact_goes_once_somebody_sent_that(
    each_engine: Engine,
) -> None:
    engine = each_engine
    engine.connect(KAURI)
    change_profile(engine, "Invoices", add_needed=False)
    [row] = invoices(engine)
    due(engine, engine.services)
    item = item_of(engine, "INV-1")
    assert item.state == "failed"
    assert str(item.sentence).startswith("It needs contact Ana Lee Ltd in Xero first.")
    due(engine, engine.services)
    assert item_of(engine, "INV-1").tries == 1, "nothing changed, so nothing is tried"
    with engine.crm_sessions() as session:
        tick(engine, session.get(Contact, row.contact_id))
    due(engine, engine.services)  # the contact goes
    due(engine, engine.services)  # and then what waited for it, in its old place
    assert item_of(engine, "INV-1").state == "succeeded"
    assert item_of(engine, "INV-1").id == item.id


def first_and_last_waiting(engine: Engine, between: int) -> Invoice:
    """INV-1 and INV-2 wait for their contact, and between them 5,000 for one nobody will send.

    `between` is the organisation of those; answers with INV-2.
    """
    change_profile(engine, "Invoices", add_needed=False)
    invoices(engine)
    due(engine, engine.services)
    item = item_of(engine, "INV-1")
    names = [column.name for column in QueueItem.__table__.columns if column.name != "id"]
    one = {name: getattr(item, name) for name in names} | {"label": "between"}
    one["organisation_id"] = between
    rows = [one | {"record_id": f"9{n:06}", "slot": f"Invoices:9{n:06}"} for n in range(5_000)]
    with engine.database.write() as session:
        session.execute(insert(QueueItem), rows)
    [last] = invoices(engine, first=2)
    due(engine, engine.services)
    assert item_of(engine, "INV-2").state == "failed"
    return last


def send_contact(engine: Engine, row: Invoice) -> None:
    with engine.crm_sessions() as session:
        tick(engine, session.get(Contact, row.contact_id))
    due(engine, engine.services)
    assert created(engine, "Contacts") == ["Ana Lee Ltd"]


def test_however_many_wait_in_front_each_waiting_document_has_its_turn(
    each_engine: Engine,
) -> None:
    """A pass, of whatever process, goes on where the last one stopped; after the end, anew."""
    engine = each_engine
    last = first_and_last_waiting(engine, engine.connect(KAURI)[KAURI])
    send_contact(engine, last)  # here a pass came to the end
    due(engine, engine.worker("second"))
    assert item_of(engine, "INV-1").state == "succeeded"
    assert item_of(engine, "INV-2").state == "failed", "one pass looks at 5,000"
    due(engine, engine.worker("third"))
    assert item_of(engine, "INV-2").state == "succeeded"
    assert {item.state for item in items(engine) if item.label == "between"} == {"failed"}


def test_what_waits_for_a_paused_organisation_takes_nobodys_turn(each_engine: Engine) -> None:
    engine = each_engine
    ids = engine.connect(KAURI, THAMES)
    for module in ("Invoices", "Contacts", "Products"):
        change_profile(engine, module, THAMES, enabled=False)
    change_organisation(engine, THAMES, paused_at=datetime.now(UTC))
    send_contact(engine, first_and_last_waiting(engine, ids[THAMES]))
    due(engine, engine.services)
    for label in ("INV-1", "INV-2"):
        assert item_of(engine, label).state == "succeeded"


def test_a_paused_or_sleeping_organisation_is_left_alone(engine: Engine) -> None:
    engine.connect(KAURI)
    invoices(engine)
    for off in ({"auto_sync": False}, {"live_since": None}, {"paused_at": datetime.now(UTC)}):
        before = {"auto_sync": True, "live_since": datetime.now(UTC), "paused_at": None}
        change_organisation(engine, **{**before, **off})
        assert due(engine, engine.services) == []
    change_organisation(engine, **before)
    assert due(engine, engine.services) != []


def test_a_pass_for_cron_follows_the_schedules_too(engine: Engine) -> None:
    engine.connect(KAURI)
    for module in ("Invoices", "Contacts"):
        change_profile(engine, module, schedule="every", minutes=60)
    invoices(engine)
    done = scheduler.once(engine.services)
    assert (done.sent, done.waiting) == (0, 2)
    said = f"Invoices for {KAURI} go every 60 minutes; next on "
    assert any(each.startswith(said) for each in done.why)
    done = scheduler.once(at(engine, soon(Schedule(When.EVERY, 60))))
    assert done.sent == 2
    assert all_ended(engine)


def test_two_schedulers_at_once_ask_for_one_run(each_engine: Engine) -> None:
    engine = each_engine
    engine.connect(KAURI)
    invoices(engine)
    for name in ("a", "b"):
        scheduler.schedule_due(engine.worker(name))
    assert len(runs(engine)) == 1


def test_a_run_of_the_schedule_counts_only_what_it_may_send(engine: Engine) -> None:
    engine.connect(KAURI)
    change_profile(engine, "Products", schedule="by sync")
    with crm(engine) as session:
        tick_later = [books.contact(session), books.product(session)]
    tick(engine, *tick_later)
    due(engine, engine.services)
    [run] = runs(engine)
    assert (run.due, run.succeeded) == (1, 1)

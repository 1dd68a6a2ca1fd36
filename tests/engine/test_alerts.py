"""Each alert comes up in the real engine, is told once, and is told as over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests import books
from tests.conftest import Engine
from tests.engine.alert_scenes import (
    ANA,
    DAY,
    HOUR,
    MINUTE,
    Watch,
    html_of,
    looked_at,
    text_of,
    watching,
)
from tests.engine.scenes import (
    KAURI,
    THAMES,
    all_ended,
    ask,
    change_organisation,
    control,
    crm,
    fault,
    invoices,
    organisation,
    rows_of,
    tick,
)
from xtiger.domain.alerting import Kind, Limits
from xtiger.domain.records import Module
from xtiger.engine import intake, pausing, scheduler
from xtiger.engine.alerting import alerts
from xtiger.engine.reporting import subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.store import alerts as stored
from xtiger.store import profiles, workers
from xtiger.store.models import Connection, QueueItem, Subscription


@pytest.fixture
def watch(engine: Engine) -> Iterator[Watch]:
    """An administrator hears of alerts; somebody has looked before."""
    with watching(engine) as found:
        yield found


def revoked(engine: Engine) -> None:
    """Somebody ended the consent in Xero; the next call finds out."""
    control(engine, "tokens/expire", {"refresh": True})
    with engine.database.write() as session:
        for row in session.query(Connection):
            row.expires_at = engine.services.clock.now() - timedelta(seconds=1)


def test_a_lost_consent_is_told_once_then_daily_and_as_connected_again(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 3)
    assert watch.look() == []
    revoked(engine)
    ask(engine, one)
    watch.work()
    assert watch.look() == ["[XTiger] Kauri Trading is disconnected: 4 records wait"]
    text = looked_at(watch.box.taken[-1])
    assert "XTiger can't reach Kauri Trading: its consent ended" in text
    assert f"{engine.settings.public_url}/api-details" in text
    assert "/api-details" in html_of(watch.box.taken[-1])
    # What waits doesn't move, and only that is told: no "nothing happened" beside it.
    assert watch.pass_time(23 * HOUR, HOUR) == []
    assert watch.pass_time(2 * HOUR, HOUR) == [
        "[XTiger] Kauri Trading is disconnected: 4 records wait"
    ]
    engine.connect(KAURI)
    assert watch.look() == ["[XTiger] Kauri Trading is connected again; 4 records are on their way"]
    looked_at(watch.box.taken[-1])
    watch.work()
    assert all_ended(engine)
    assert watch.pass_time(HOUR) == []
    [row] = [one for one in watch.alerts() if one.kind == Kind.DISCONNECTED]
    assert (row.times_mailed, row.closed_at is not None) == (2, True)
    assert row.recovered_mailed_at is not None


def test_organisations_of_one_consent_are_told_in_one_mail(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI, THAMES)[KAURI]
    invoices(engine, 1)
    revoked(engine)
    ask(engine, one)
    watch.work()
    [subject] = watch.look()
    assert subject.endswith(" and 1 more are disconnected: 2 records wait")
    text = looked_at(watch.box.taken[-1])
    assert text.count(f"can't reach {KAURI}") == text.count(f"can't reach {THAMES}") == 1
    engine.connect(KAURI, THAMES)
    [subject] = watch.look()
    assert subject.endswith(" and 1 more are connected again; 2 records are on their way")


def test_the_day_s_limit_is_told_and_that_xero_takes_calls_again(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 2)
    fault(engine, "limit", problem="day", retry_after=7200)
    ask(engine, one)
    watch.work()
    assert watch.look() == ["[XTiger] Kauri Trading has used up today's calls: 3 records wait"]
    assert "3 records wait and go on at about" in " ".join(looked_at(watch.box.taken[-1]).split())
    assert watch.pass_time(2 * HOUR) == []
    watch.work()
    assert all_ended(engine)
    assert watch.pass_time(15 * MINUTE) == [
        "[XTiger] Kauri Trading takes calls again; nothing was held up"
    ]


def test_a_limit_of_a_minute_is_nobody_s_news(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 2)
    fault(engine, "limit", problem="minute", retry_after=60)
    ask(engine, one)
    watch.work()
    assert organisation(engine).held_by_xero
    assert watch.pass_time(HOUR) == []
    assert watch.alerts() == []


def test_a_pause_over_lunch_mails_nobody_and_one_of_a_day_is_told(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 2)
    intake.relay(watch.services)
    pausing.pause(watch.services, organisation_id=one, who="Bo")
    assert watch.pass_time(23 * HOUR, HOUR) == []
    assert watch.pass_time(2 * HOUR, HOUR) == [
        "[XTiger] Paused for 24 h: Kauri Trading, 3 records wait"
    ]
    assert "by Bo" in looked_at(watch.box.taken[-1])
    pausing.resume(watch.services, organisation_id=one, who="Bo")
    assert watch.look() == ["[XTiger] Resumed: Kauri Trading; 3 records are on their way"]


@pytest.mark.parametrize("what", ["module", "everything"])
def test_a_paused_module_and_a_pause_of_all_are_told_by_their_names(
    watch: Watch, what: str
) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 2)
    intake.relay(watch.services)
    given: dict[str, Any] = {}
    name, count = "everything", 3
    if what == "module":
        given = {"organisation_id": one, "module": Module.INVOICES}
        name, count = f"Invoices for {KAURI}", 2
    pausing.pause(watch.services, who="Bo", **given)
    assert watch.look(25 * HOUR) == [f"[XTiger] Paused for 25 h: {name}, {count} records wait"]
    pausing.resume(watch.services, who="Bo", **given)
    assert watch.look() == [f"[XTiger] Resumed: {name}; {count} records are on their way"]


def test_a_pause_with_nothing_waiting_is_nobody_s_news(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    pausing.pause(watch.services, organisation_id=one, who="Bo")
    assert watch.look(3 * DAY) == []
    assert watch.alerts() == []


def silent_worker(watch: Watch) -> None:
    """A worker that beat, and was killed: nobody signed it off."""
    with watch.engine.database.write() as session:
        workers.beat(session, "killed", kind="worker", now=watch.clock.now())


def test_a_dead_worker_is_told_by_whoever_is_alive(watch: Watch) -> None:
    engine = watch.engine
    engine.connect(KAURI)
    silent_worker(watch)
    invoices(engine, 2)
    assert watch.look(10 * MINUTE) == []
    # First noticed, then told if it is still so: a machine that slept wakes with it.
    assert watch.look(6 * MINUTE) == []
    pages = watch.another("pages")
    watch.clock.sleep(4 * MINUTE)
    assert alerts.stand_in(pages)
    assert watch.came() == ["[XTiger] No worker is running: 3 records wait"]
    assert "nothing is lost" in looked_at(watch.box.taken[-1])
    # Again after an hour, after four more, then daily.
    assert len(watch.pass_time(50 * MINUTE)) == 0
    assert len(watch.pass_time(20 * MINUTE)) == 1
    assert len(watch.pass_time(3 * HOUR)) == 0
    assert len(watch.pass_time(2 * HOUR)) == 1
    assert len(watch.pass_time(23 * HOUR, HOUR)) == 1
    with engine.database.write() as session:
        workers.beat(session, "new", kind="worker", now=watch.clock.now())
    assert watch.look() == ["[XTiger] A worker is running again; 3 records are on their way"]


def test_a_worker_that_signed_off_or_that_slept_is_nobody_s_news(watch: Watch) -> None:
    engine = watch.engine
    engine.connect(KAURI)
    silent_worker(watch)
    with engine.database.write() as session:
        workers.leave(session, "killed")
    invoices(engine, 2)
    assert watch.pass_time(2 * HOUR) == []
    silent_worker(watch)
    assert watch.look(9 * HOUR) == []
    silent_worker(watch)
    assert watch.pass_time(10 * MINUTE, 2 * MINUTE) == []
    assert {one.closed_at is not None for one in watch.alerts()} <= {True}


def test_where_only_cron_works_an_old_worker_is_nobody_s_news(watch: Watch) -> None:
    engine = watch.engine
    engine.connect(KAURI)
    silent_worker(watch)
    watch.clock.sleep(DAY)
    invoices(engine, 2)
    scheduler.sync_now(watch.services, organisation_id=None, modules=None, who="Ana")
    watch.work()
    assert all_ended(engine)
    assert watch.pass_time(HOUR) == []


def waiting_for_nobody(watch: Watch) -> None:
    """Records that the schedule would send, and nobody works."""
    watch.engine.connect(KAURI)
    invoices(watch.engine, 14)
    intake.relay(watch.services)


def test_nothing_sent_for_a_day_although_records_wait_is_told(watch: Watch) -> None:
    waiting_for_nobody(watch)
    assert watch.pass_time(24 * HOUR - 10 * MINUTE, HOUR) == []
    [subject] = watch.pass_time(30 * MINUTE)
    assert subject == "[XTiger] Nothing sent for 24 h although 15 records wait"
    text = " ".join(looked_at(watch.box.taken[-1]).split())
    assert "Nothing was sent for 24 h although 15 records wait: no worker is running." in text
    scheduler.once(watch.services)
    assert all_ended(watch.engine)
    assert "[XTiger] Records go to Kauri Trading again; nothing was held up" in [
        *watch.came(),
        *watch.look(),
    ]


def test_the_hours_are_what_an_administrator_chose(watch: Watch) -> None:
    assert alerts.set_limits(watch.services, Limits(hours=2), who="Ana") == ["hours 24 → 2"]
    waiting_for_nobody(watch)
    assert watch.pass_time(2 * HOUR - 10 * MINUTE) == []
    assert watch.pass_time(20 * MINUTE) == [
        "[XTiger] Nothing sent for 2 h although 15 records wait"
    ]


def test_changes_that_nobody_looks_at_are_told_too(watch: Watch) -> None:
    watch.engine.connect(KAURI)
    invoices(watch.engine, 2)
    assert watch.pass_time(24 * HOUR, HOUR) == []
    assert watch.pass_time(30 * MINUTE) == [
        "[XTiger] Nothing sent for 24 h although 3 records wait"
    ]


@pytest.mark.parametrize("why", ["by sync", "auto-sync off", "young", "strict"])
def test_what_would_not_go_by_itself_is_no_news(watch: Watch, why: str) -> None:
    engine = watch.engine
    waiting_for_nobody(watch)
    if why == "auto-sync off":
        change_organisation(engine, auto_sync=False)
    elif why == "by sync":
        with engine.database.write() as session:
            for row in session.query(profiles.Profile):
                row.schedule = "by sync"
    elif why == "strict":
        pausing.pause(watch.services, organisation_id=organisation(engine).id, who="Bo")
        assert alerts.set_limits(watch.services, Limits(hours=168), who="Ana")
    else:
        # The last success was long ago, but what waits came an hour ago.
        scheduler.once(watch.services)
        watch.clock.sleep(3 * DAY)
        invoices(engine, 1, first=50)
        intake.relay(watch.services)
        assert watch.pass_time(HOUR) == []
        return
    assert watch.pass_time(30 * HOUR, HOUR) == []
    assert watch.alerts() == []


def test_xero_away_for_a_day_is_told_with_the_last_try_s_words(watch: Watch) -> None:
    engine = watch.engine
    waiting_for_nobody(watch)
    one = organisation(engine).id
    fault(engine, "status", status=503, count=500)
    with engine.database.write() as session:
        workers.beat(session, "alive", kind="worker", now=watch.clock.now())
    for _ in range(26):
        watch.clock.sleep(HOUR)
        with engine.database.write() as session:
            workers.beat(session, "alive", kind="worker", now=watch.clock.now())
        ask(engine, one)
        watch.work()
        watch.look()
    subjects = [str(message["Subject"]) for message in watch.box.taken]
    assert subjects[0] == "[XTiger] Nothing sent for 25 h although 15 records wait"
    assert "The last try ended so: “" in " ".join(looked_at(watch.box.taken[-1]).split())


def test_mails_that_can_not_go_are_told_on_the_dashboard_alone(watch: Watch) -> None:
    engine = watch.engine
    one = engine.connect(KAURI)[KAURI]
    watch.box.refuse = "451 come back later"
    revoked(engine)
    invoices(engine, 1)
    ask(engine, one)
    watch.work()
    watch.look()
    watch.look(20 * MINUTE)
    with engine.database.read() as session:
        trouble = alerts.mail_trouble(session, watch.clock.now())
        stands = alerts.standing(session, watch.clock.now())
    assert trouble is not None
    assert trouble.count == 1
    assert "451" in trouble.why
    assert [one.kind for one in stands] == [Kind.DISCONNECTED, Kind.MAIL]
    watch.box.refuse = None
    watch.clock.sleep(HOUR)
    watch.look()
    assert len(watch.box.taken) == 1
    watch.look()
    with engine.database.read() as session:
        assert alerts.mail_trouble(session, watch.clock.now()) is None
        assert [one.kind for one in alerts.standing(session, watch.clock.now())] == [
            Kind.DISCONNECTED
        ]
    assert len(watch.box.taken) == 1


def test_each_reader_hears_of_its_organisations_in_its_language(watch: Watch) -> None:
    engine = watch.engine
    ids = engine.connect(KAURI, THAMES)
    german = Choices(alerts=True, organisation_id=ids[THAMES], language="de", zone="Europe/Berlin")
    subscriptions.subscribe(watch.services, "udo@example.de", german, who="Ana")
    pausing.pause(watch.services, organisation_id=ids[KAURI], who="Bo")
    invoices(engine, 2)
    revoked(engine)
    with crm(engine) as session:
        row = books.contact(session, "Udo")
    tick(engine, row, organisation_id=ids[THAMES])
    ask(engine, ids[THAMES])
    watch.work()
    watch.look()
    got = {str(m["To"]): m for m in watch.box.taken}
    assert str(got["udo@example.de"]["Subject"]).startswith(
        "[XTiger] Thames Supplies ist nicht verbunden: "
    )
    text = looked_at(got["udo@example.de"])
    assert "Alle Zeiten: Ortszeit Berlin." in text
    assert KAURI not in text
    assert KAURI in text_of(got[ANA])


def test_who_unsubscribed_or_asked_for_no_alerts_gets_none(watch: Watch) -> None:
    engine = watch.engine
    with engine.database.write() as session:
        session.query(Subscription).one().stopped_at = watch.clock.now()
    subscriptions.subscribe(watch.services, "no@example.com", Choices(daily=True), who="Ana")
    one = engine.connect(KAURI)[KAURI]
    revoked(engine)
    invoices(engine, 1)
    ask(engine, one)
    watch.work()
    assert watch.look() == []
    with engine.database.read() as session:
        [alert] = alerts.standing(session, watch.clock.now())
    assert alert.sentence.startswith("XTiger can't reach Kauri Trading: its consent ended ")
    assert alert.path == "api-details"


def test_what_comes_and_goes_is_told_at_growing_distance(watch: Watch) -> None:
    """A consent that breaks every quarter of an hour, for twelve hours."""
    engine = watch.engine
    engine.connect(KAURI)
    for _turn in range(48):
        with engine.database.write() as session:
            row = session.query(Connection).one()
            row.broken, row.broken_at = "The consent ended.", watch.clock.now()
        watch.look(8 * MINUTE)
        with engine.database.write() as session:
            session.query(Connection).one().broken = None
        watch.look(7 * MINUTE)
    subjects = [str(message["Subject"]) for message in watch.box.taken]
    told = [subject for subject in subjects if "is disconnected" in subject]
    assert 2 <= len(told) <= 8
    assert len(subjects) == 2 * len(told)


def test_an_administrator_is_welcomed_once(watch: Watch) -> None:
    [row] = rows_of(watch.engine, Subscription)
    assert (row.address, row.alerts, row.after_sync, row.organisation_id) == (
        ANA,
        True,
        False,
        None,
    )
    assert not alerts.welcome(watch.services, ANA.upper())
    subscriptions.remove(watch.services, row.id, who="Ana")
    assert not alerts.welcome(watch.services, ANA)
    assert rows_of(watch.engine, Subscription) == []
    assert not alerts.welcome(watch.services, "no address")
    choices = Choices(daily=True)
    subscriptions.subscribe(watch.services, "bo@example.com", choices, who="Ana")
    assert not alerts.welcome(watch.services, "bo@example.com")
    [row] = rows_of(watch.engine, Subscription)
    assert not row.alerts


def test_an_administrator_who_gets_reports_by_the_environment_gets_both(watch: Watch) -> None:
    watch.services.settings = replace(
        watch.services.settings, report_recipients=("bo@example.com", "eve@example.com")
    )
    assert alerts.welcome(watch.services, "bo@example.com", person="Bo")
    rows = {row.address: row for row in rows_of(watch.engine, Subscription)}
    told = {address: (row.after_sync, row.alerts) for address, row in rows.items()}
    assert told == {
        ANA: (False, True),
        "bo@example.com": (True, True),
        "eve@example.com": (True, False),
    }
    asked = subscriptions.choices_of(rows["eve@example.com"])
    subscriptions.change(watch.services, rows["eve@example.com"].id, asked, who="Eve")
    assert not alerts.welcome(watch.services, "eve@example.com")


def test_an_administrator_named_by_the_environment_later_gets_reports_too(watch: Watch) -> None:
    """Who had alerts alone, given by XTiger; once they stopped them themselves, nothing more."""
    watch.services.settings = replace(watch.services.settings, report_recipients=(ANA,))
    subscriptions.take_in(watch.services)
    [row] = rows_of(watch.engine, Subscription)
    assert (row.address, row.after_sync, row.alerts) == (ANA, True, True)
    asked = replace(subscriptions.choices_of(row), after_sync=False)
    subscriptions.change(watch.services, row.id, asked, who="Ana")
    subscriptions.take_in(watch.services)
    [row] = rows_of(watch.engine, Subscription)
    assert not row.after_sync


def test_limits_out_of_bounds_are_refused_with_a_sentence(watch: Watch) -> None:
    from xtiger.domain.errors import PermanentError

    with pytest.raises(PermanentError, match="The hours must be from 1 to 168"):
        alerts.set_limits(watch.services, Limits(hours=0), who="Ana")
    with pytest.raises(PermanentError, match="from 1 to 10,000"):
        alerts.set_limits(watch.services, Limits(failures=0), who="Ana")
    assert alerts.set_limits(watch.services, Limits(), who="Ana") == []


def test_what_a_failed_record_blocks_isnt_counted_among_what_goes_by_itself(watch: Watch) -> None:
    one = watch.engine.connect(KAURI)[KAURI]
    with watch.engine.database.write() as session:
        for place, state, parent in (
            (1, "failed", None),
            (2, "blocked", 1),
            (3, "pending", None),
            (4, "blocked", 3),
        ):
            session.add(
                QueueItem(
                    id=place,
                    organisation_id=one,
                    module="Contacts",
                    record_id=str(place),
                    slot=f"Contacts/{place}",
                    resource="Contacts",
                    rank=10,
                    state=state,
                    blocked_by=parent,
                    added_at=watch.clock.now(),
                    changed_at=watch.clock.now(),
                )
            )
            session.flush()
        assert stored.waiting(session, one) == 2

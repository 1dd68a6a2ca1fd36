"""What a run says of itself: its records, not its events, and its mail whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.conftest import Engine
from tests.engine.scenes import (
    KAURI,
    Death,
    ShiftedClock,
    all_ended,
    ask,
    change_organisation,
    created,
    fault,
    hear,
    invoices,
    items,
    kept,
    log_of,
    organisation,
    queue_of,
    rows_of,
    runs,
    work,
    writes,
)
from xtiger.engine import intake, pausing, scheduler
from xtiger.engine.connection import connect
from xtiger.engine.reporting import letters, reports, subscriptions
from xtiger.ports import Letter, MailServer
from xtiger.store import logs, profiles, queue
from xtiger.store.models import Connection, Mail, QueueItem, RunMail


def test_a_run_counts_its_records_and_not_how_often_each_was_looked_at(engine: Engine) -> None:
    """The invoice is blocked first, by a contact that goes in the same run."""
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    intake.relay(engine.services)
    with engine.database.write() as session:
        ids = session.scalars(select(QueueItem.id).where(QueueItem.module == "Contacts")).all()
        queue.cancel(session, ids, who="Ana")
    ask(engine, one)
    work(engine)
    assert [entry.outcome for entry in log_of(engine, "INV-1")] == ["blocked", "succeeded"]
    [run] = runs(engine)
    assert (run.succeeded, run.unchanged, run.failed, run.blocked) == (2, 0, 0, 0)
    assert str(run.sentence).endswith("2 succeeded, 0 unchanged, 0 failed, 0 blocked.")


@pytest.mark.parametrize("seconds", [60, 600], ids=["replayed", "looked up"])
def test_what_is_found_out_later_counts_for_the_run_that_found_it_out(
    engine: Engine, seconds: int
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    fault(engine, "reset", resource="Invoices", method="PUT", after_store=True)
    ask(engine, one)
    work(engine)
    now = engine.services.clock.now()
    with engine.database.write() as session:
        logs.end_runs(session, one, sentence="The consent ended.", now=now)
        logs.ask_run(session, one, kind="scheduled", requested_by="reconnected", now=now)
    work(engine, engine.worker("w", clock=ShiftedClock(seconds)))
    first, second = runs(engine)
    assert (first.succeeded, second.succeeded) == (1, 1)
    assert [entry.run_id for entry in log_of(engine, "INV-1")] == [second.id]
    assert kept(engine)["invoices"] == 1


def test_the_mail_of_a_run_survives_a_death_right_after_its_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    hear(engine.services, ["ana@example.com"])
    ask(engine, one)

    def die(*_: Any) -> None:
        raise Death

    monkeypatch.setattr(reports, "report_run", die)
    scheduler.work(engine.services, one)
    with pytest.raises(Death):
        reports.report_ended(engine.services)
    monkeypatch.undo()
    [run] = runs(engine)
    assert (run.ended_at is not None, run.reported, rows_of(engine, Mail)) == (True, False, [])
    for _ in range(2):
        scheduler.once(engine.services)
    [mail] = rows_of(engine, Mail)
    assert (mail.run_id, mail.recipient, mail.state) == (run.id, "ana@example.com", "waiting")


class Meanwhile(ShiftedClock):
    """The real time; the first who asks for it has somebody change something right before."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__()
        self.changes = [change]

    def now(self) -> Any:
        if self.changes:
            self.changes.pop()()
        return super().now()


@pytest.mark.parametrize(("kind", "mails"), [("instant", 1), ("scheduled", 0)])
def test_who_hears_of_a_run_is_as_it_stands_when_that_is_noted(
    engine: Engine, kind: str, mails: int
) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    hear(engine.services, ["ana@example.com"])
    with engine.database.write() as session:
        now = engine.services.clock.now()
        run = logs.ask_run(session, one, kind=kind, requested_by="Ana", now=now)
    scheduler.work(engine.services, one)
    [ana] = subscriptions.subscriptions(engine.services)

    def another() -> None:
        """Ana is taken out and Bo put in while the run's figures are being counted."""
        subscriptions.remove(engine.services, ana.id, who="Cy")
        hear(engine.services, ["bo@example.com"])

    reports.report_run(engine.worker("second", clock=Meanwhile(another)), run.id)
    assert [row.mailbox for row in rows_of(engine, RunMail)] == ["bo@example.com"]
    assert [mail.recipient for mail in rows_of(engine, Mail)] == ["bo@example.com"] * mails
    assert runs(engine)[0].reported


def test_a_letter_that_cannot_be_written_does_not_stop_the_others(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    addresses = [f"m{n}@example.com" for n in range(3)]
    hear(engine.services, addresses)
    taken: list[str] = []

    class Fragile:
        def has_server(self) -> bool:
            return True

        def send(self, letter: Letter, _server: MailServer | None = None) -> None:
            if letter.recipient == "m0@example.com":
                raise LookupError("unknown encoding")
            taken.append(letter.recipient)

        def check(self, _server: MailServer | None = None) -> None:
            return None

    ask(engine, one)
    services = replace(engine.services, mail=Fragile())
    work(engine, services)
    assert taken == ["m1@example.com", "m2@example.com"]
    mails = {mail.recipient: mail for mail in rows_of(engine, Mail)}
    assert mails["m0@example.com"].state == "waiting"
    assert mails["m0@example.com"].why == "It couldn't be sent: LookupError. The log says more."
    for days in range(1, 16):
        letters.send_waiting(replace(services, clock=ShiftedClock(days * 86_400)))
    mails = {mail.recipient: mail for mail in rows_of(engine, Mail)}
    assert (mails["m0@example.com"].state, mails["m0@example.com"].tries) == ("failed", 15)
    assert taken == ["m1@example.com", "m2@example.com"]


def test_disconnecting_ends_the_runs_that_wait(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    pausing.pause(engine.services, organisation_id=one, who="Ana")
    scheduler.sync_now(engine.services, organisation_id=one, modules=None, who="Ana")
    connect.disconnect(engine.services, one, who="Ana")
    [run] = runs(engine)
    assert run.ended_at is not None
    assert run.sentence == f"{KAURI} was disconnected."
    scheduler.once(engine.services)
    assert writes(engine) == []
    assert queue_of(engine) == [("Ana Lee Ltd", "pending"), ("INV-1", "pending")]


def test_disconnecting_a_parked_run_keeps_what_it_did(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    fault(engine, "limit", resource="Invoices", problem="minute", retry_after=60)
    ask(engine, one)
    work(engine)
    connect.disconnect(engine.services, one, who="Ana")
    [run] = runs(engine)
    assert (run.ended_at is not None, run.succeeded, run.trouble) == (True, 1, True)


def test_no_tokens_are_kept_of_a_consent_that_nothing_uses(each_engine: Engine) -> None:
    engine = each_engine
    ids = engine.connect(KAURI)
    offered = rows_of(engine, Connection)
    assert [row.tokens is not None for row in offered] == [True]
    with engine.database.read() as session:
        names = {row.name for row in profiles.organisations(session, chosen=None)}
    for name in names:
        connect.disconnect(engine.services, organisation(engine, name).id, who="Ana")
    assert rows_of(engine, Connection) == []
    assert organisation(engine).connection_id is None
    again = engine.connect(KAURI)
    assert again == ids
    assert [row.tokens is not None for row in rows_of(engine, Connection)] == [True]


def test_sync_does_not_lift_what_xero_itself_limits(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine)
    change_organisation(engine, held_times=1)
    fault(engine, "limit", problem="day", retry_after=7200)
    ask(engine, one)
    work(engine)
    row = organisation(engine)
    assert row.held_by_xero
    until = row.held_until
    assert until is not None
    assert until - engine.services.clock.now() > timedelta(hours=1)
    scheduler.sync_now(engine.services, organisation_id=one, modules=None, who="Ana")
    work(engine)
    assert organisation(engine).held_until == until
    assert created(engine) == []
    work(engine, engine.worker("later", clock=ShiftedClock(7300)))
    assert all_ended(engine)
    row = organisation(engine)
    assert (row.held_until, row.held_why) == (None, None)


def test_a_worker_that_is_asked_to_stop_stops_after_the_call_under_way(engine: Engine) -> None:
    one = engine.connect(KAURI)[KAURI]
    invoices(engine, 120)
    ask(engine, one)
    asked: list[str] = []

    def observe(step: str) -> None:
        if step == "journalled" and created(engine, "Contacts"):
            asked.append(step)

    ending = engine.worker("ending", observe=observe, stopping=lambda: bool(asked))
    scheduler.work(ending, one)
    assert created(engine) == [f"INV-{number}" for number in range(1, 51)]
    assert len(asked) == 1
    states = [item.state for item in items(engine, "Invoices")]
    assert states == ["succeeded"] * 50 + ["pending"] * 70
    row = organisation(engine)
    assert (row.lease_until, row.held_times) == (None, 0)
    [run] = runs(engine)
    assert (run.ended_at, run.sentence) == (
        None,
        "The worker stopped; XTiger goes on with the next.",
    )
    work(engine, engine.worker("next", clock=ShiftedClock(1)))
    assert created(engine) == [f"INV-{number}" for number in range(1, 121)]
    assert all_ended(engine)
    [run] = runs(engine)
    assert (run.ended_at is not None, run.succeeded) == (True, 121)

"""Mails that can't go: none is lost for what passes, and no silence about those that are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from flask import Flask

from tests.conftest import Engine
from tests.engine.alert_scenes import HOUR, MINUTE, Watch, watching
from tests.engine.post import Scripted
from tests.engine.scenes import KAURI, ask, hear, invoices, rows_of, runs
from xtiger.domain.errors import PermanentError, TransientError, XTigerError
from xtiger.engine import beats, scheduler
from xtiger.engine.alerting import alerts
from xtiger.engine.reporting import figures, letters, reports, subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.engine.upkeep import keys
from xtiger.mail import FlaskMail
from xtiger.ports import AddressRefused, Letter, MailServer, ServerAway
from xtiger.settings import Settings
from xtiger.store import profiles
from xtiger.store.crypto import KeyRing
from xtiger.store.models import Mail, Setting


@pytest.fixture
def watch(each_engine: Engine) -> Iterator[Watch]:
    with watching(each_engine) as found:
        yield found


@contextmanager
def scripted(greeting: str = "220 here", **answers: str) -> Iterator[Scripted]:
    server = Scripted(greeting, **answers)
    yield server
    server.stop()


def move(watch: Watch, port: int) -> None:
    """Mails go to another server from now on."""
    settings = replace(watch.services.settings, mail_port=port)
    watch.services.settings = settings
    watch.services.mail = FlaskMail(Flask("host"), settings)


def trouble(watch: Watch) -> alerts.MailTrouble | None:
    with watch.engine.database.read() as session:
        return alerts.mail_trouble(session, watch.clock.now())


def put(watch: Watch, recipient: str = "cy@example.com") -> Mail:
    """A mail that waits."""
    with watch.engine.database.write() as session:
        return letters.put(
            session,
            watch.services,
            kind=reports.Kind.DAILY,
            letter=letters.Written("s", "t", "h"),
            reader=None,
            recipient=recipient,
            now=watch.clock.now(),
        )


# -- what a mail server's refusal comes to -----------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"greeting": "554 5.7.1 Your address is blocked, try later"}, ServerAway),
        ({"greeting": "550 go away"}, ServerAway),
        ({"greeting": "421 busy"}, ServerAway),
        ({"EHLO": "550 no", "HELO": "550 no"}, ServerAway),
        ({"MAIL": "550 5.7.1 sender not allowed"}, TransientError),
        ({"MAIL": "552 5.3.4 message size exceeds fixed limit"}, PermanentError),
        ({"RCPT": "550 relay not permitted"}, TransientError),
        ({"RCPT": "550 5.7.1 relaying denied"}, TransientError),
        ({"RCPT": "550 Sender verify failed: no such user here"}, TransientError),
        ({"RCPT": "550 rejected, 195.1.1.20 is on a list"}, TransientError),
        ({"RCPT": "552 5.2.2 mailbox is full"}, TransientError),
        ({"RCPT": "450 5.1.1 greylisted"}, TransientError),
        ({"RCPT": "550 5.1.1 <cy@example.com>: rejected"}, AddressRefused),
        ({"RCPT": "550 Unknown user"}, AddressRefused),
        ({"DATA": "554 5.7.1 rate limited for sender"}, TransientError),
        ({"LETTER": "554 5.7.1 looks like spam"}, TransientError),
        ({"LETTER": "552 5.2.2 over quota"}, TransientError),
        ({"LETTER": "554 transaction failed"}, TransientError),
        ({"LETTER": "550 5.1.1 no such mailbox"}, AddressRefused),
        ({"LETTER": "552 5.3.4 message too big"}, PermanentError),
        ({"LETTER": "554 5.6.0 message content rejected"}, PermanentError),
    ],
    ids=str,
)
def test_only_what_is_said_of_the_letter_or_the_address_is_for_good(
    said: dict[str, str], kind: type[XTigerError]
) -> None:
    letter = Letter("cy@example.com", "s", "t", "h", "<1@x>")
    with scripted(**said) as server, pytest.raises(kind) as caught:
        FlaskMail(Flask("host"), Settings()).send(letter, MailServer("127.0.0.1", server.port))
    assert caught.type is kind
    assert next(iter(said.values())).partition(" ")[2] in caught.value.sentence


def test_a_server_that_does_not_offer_tls_today_is_away() -> None:
    letter = Letter("cy@example.com", "s", "t", "h", "<1@x>")
    ours = "250-here\r\n250 STARTTLS"
    with scripted(EHLO=ours, STAR="554 TLS broke") as server, pytest.raises(ServerAway):
        named = MailServer("127.0.0.1", server.port, "starttls")
        FlaskMail(Flask("host"), Settings()).send(letter, named)


def test_no_mail_is_lost_while_a_server_turns_us_away_at_its_door(watch: Watch) -> None:
    one = watch.engine.connect(KAURI)[KAURI]
    hear(watch.services, ["bo@example.com", "cy@example.com"])
    port = watch.box.port
    with scripted("554 5.7.1 Service unavailable; try later") as server:
        move(watch, server.port)
        invoices(watch.engine, 1)
        ask(watch.engine, one)
        watch.work()
        watch.pass_time(HOUR)
    assert {mail.state for mail in rows_of(watch.engine, Mail)} == {"waiting"}
    found = trouble(watch)
    assert found is not None
    assert (found.count, found.failed) == (2, 0)
    assert "Service unavailable; try later" in found.why
    move(watch, port)
    watch.pass_time(3 * HOUR)
    assert {mail.state for mail in rows_of(watch.engine, Mail)} == {"sent"}
    assert trouble(watch) is None


def test_a_mail_that_was_given_up_is_told_for_a_day(watch: Watch) -> None:
    with scripted(RCPT="550 5.1.1 no such mailbox") as server:
        move(watch, server.port)
        put(watch)
        watch.look()
        watch.look()
    found = trouble(watch)
    assert found is not None
    assert (found.count, found.failed) == (1, 1)
    assert "550 5.1.1 no such mailbox" in found.why
    with watch.engine.database.read() as session:
        assert alerts.Kind.MAIL in {one.kind for one in alerts.standing(session, watch.clock.now())}
    watch.clock.sleep(25 * HOUR)
    assert trouble(watch) is None


# -- reports that break ------------------------------------------------------------------------


def test_a_run_that_can_not_be_told_keeps_nothing_else_from_going(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, services = watch.engine, watch.services
    one = engine.connect(KAURI)[KAURI]
    hear(services, ["bo@example.com"])
    real, tried = figures.of_runs, 0

    def broken(services: Any, run_ids: Any, **more: Any) -> Any:
        nonlocal tried
        if first in run_ids:
            tried += 1
            raise KeyError("one bad row")
        return real(services, run_ids, **more)

    monkeypatch.setattr(figures, "of_runs", broken)
    invoices(engine, 1)
    ask(engine, one)
    [first] = [run.id for run in runs(engine)]
    put(watch)
    watch.work()
    assert [str(message["To"]) for message in watch.box.taken] == ["cy@example.com"]
    # It isn't tried at every tick; and a later run is told although the first one can't.
    for _ in range(5):
        reports.report_ended(services)
    assert tried == 1
    invoices(engine, 1, first=2)
    ask(engine, one)
    watch.work()
    assert {run.id: run.reported for run in runs(engine)}[first] is False
    assert any("bo@example.com" in str(message["To"]) for message in watch.box.taken)
    watch.clock.sleep(HOUR)
    reports.report_ended(services)
    assert tried == 2
    # Once it can be told, it is, and nothing is remembered of it.
    monkeypatch.undo()
    watch.clock.sleep(HOUR)
    reports.report_ended(services)
    assert all(run.reported for run in runs(engine))


def test_a_run_that_can_never_be_told_is_given_up_after_two_weeks(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = watch.engine.connect(KAURI)[KAURI]
    hear(watch.services, ["bo@example.com"])
    tried = 0

    def broken(*_: Any, **_more: Any) -> None:
        nonlocal tried
        tried += 1
        raise KeyError("one bad row")

    monkeypatch.setattr(figures, "of_runs", broken)
    invoices(watch.engine, 1)
    ask(watch.engine, one)
    watch.work()
    for _ in range(16 * 24):
        watch.clock.sleep(HOUR)
        reports.report_ended(watch.services)
    [run] = runs(watch.engine)
    assert run.reported
    assert 14 <= tried <= 22
    with watch.engine.database.read() as session:
        assert profiles.setting(session, "report_runs_broke") == {}


def test_one_reader_s_report_that_is_refused_keeps_no_other_from_going(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.engine.connect(KAURI)
    for name in ("bo", "cy"):
        address = f"{name}@example.com"
        subscriptions.subscribe(watch.services, address, Choices(daily=True), who="Ana")
    real = figures.of_period
    asked = 0

    def broken(*given: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise PermanentError("This can't be counted.")
        return real(*given, **more)

    monkeypatch.setattr(figures, "of_period", broken)
    watch.clock.sleep(24 * HOUR)
    reports.report_ended(watch.services)
    assert [str(message["To"]) for message in watch.box.taken] == ["cy@example.com"]
    watch.clock.sleep(HOUR)
    reports.report_ended(watch.services)
    came = [str(message["To"]) for message in watch.box.taken]
    assert came == ["cy@example.com", "bo@example.com"]


def test_alerts_are_looked_for_whatever_breaks_in_the_reports(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("one bad row")

    looked = []
    monkeypatch.setattr(reports, "report_ended", broken)
    monkeypatch.setattr(alerts, "look", looked.append)
    beats.Beats(watch.services, "worker").post()
    assert looked == [watch.services]


def test_records_go_however_slow_the_mail_server_is(watch: Watch) -> None:
    """A run's mail is nobody's reason to keep the next run of its organisation waiting."""
    one = watch.engine.connect(KAURI)[KAURI]
    hear(watch.services, ["bo@example.com"])

    class Never:
        def has_server(self) -> bool:
            return True

        def send(self, *_: Any) -> None:
            pytest.fail("It waited for the mail server.")

        def check(self, *_: Any) -> None:
            return None

    invoices(watch.engine, 1)
    ask(watch.engine, one)
    scheduler.work(replace(watch.services, mail=Never()), one)
    [run] = runs(watch.engine)
    assert run.ended_at is not None
    reports.report_ended(watch.services)
    assert [str(message["To"]) for message in watch.box.taken] == ["bo@example.com"]


# -- keys --------------------------------------------------------------------------------------


def named(watch: Watch) -> KeyRing:
    """The mail server is named on the page alone, sealed by the ring that this answers with."""
    services = watch.services
    services.settings = replace(services.settings, mail_server="")
    services.mail = FlaskMail(Flask("host"), services.settings)
    server = MailServer("127.0.0.1", watch.box.port, sender="x@example.com")
    letters.set_mail_server(services, server, who="Ana")
    return services.ring


def stored(watch: Watch, name: str) -> Setting:
    with watch.engine.database.read() as session:
        return session.get_one(Setting, name)


def test_a_mail_server_that_no_key_opens_is_told_and_loses_no_mail(watch: Watch) -> None:
    ring = named(watch)
    watch.services.ring = KeyRing([Fernet.generate_key().decode()])
    put(watch)
    for _ in range(4):
        watch.clock.sleep(5 * MINUTE)
        reports.report_ended(watch.services)
    [mail] = rows_of(watch.engine, Mail)
    assert (mail.state, mail.tries) == ("waiting", 0)
    found = trouble(watch)
    assert found is not None
    assert (found.count, found.failed) == (1, 0)
    assert "XTIGER_KEYS" in found.why
    assert not letters.has_server(watch.services)
    watch.services.ring = ring
    reports.report_ended(watch.services)
    assert [mail.state for mail in rows_of(watch.engine, Mail)] == ["sent"]
    assert rows_of(watch.engine, Mail)[0].why is None
    assert trouble(watch) is None


def test_a_new_key_seals_settings_anew_so_that_the_old_one_can_go(watch: Watch) -> None:
    old = Fernet.generate_key().decode()
    new = Fernet.generate_key().decode()
    watch.services.ring = KeyRing([old])
    named(watch)
    before = stored(watch, "mail_server")
    with watch.engine.database.write() as session:
        stranger = KeyRing([Fernet.generate_key().decode()])
        now = watch.clock.now()
        profiles.put_setting(session, "theirs", "x", who="Bo", now=now, ring=stranger)
    watch.services.ring = KeyRing([new, old])
    assert keys.seal_anew(watch.services) == 1
    assert keys.seal_anew(watch.services) == 0
    watch.services.ring = KeyRing([new])
    found = letters.mail_server(watch.services)
    assert found is not None
    assert found.port == watch.box.port
    after = stored(watch, "mail_server")
    assert after.value != before.value
    # The page takes the moment of a change for its version, and nobody changed anything.
    assert after.changed_at == before.changed_at
    assert stranger.open(str(stored(watch, "theirs").value).encode()) == "x"

"""Whatever the mail server does, no report is lost, and none comes more than twice."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask_mail import email_dispatched

from tests.conftest import Engine
from tests.engine.post import (
    PASSWORD,
    USER,
    Breaking,
    PostOffice,
    both_say_the_same,
    certificate,
    mailing,
    opened,
    text_of,
)
from tests.engine.scenes import KAURI, MiddayClock, hear, invoices, organisation, rows_of, sync
from xtiger.domain.errors import PermanentError, TransientError
from xtiger.engine import intake, pausing
from xtiger.engine.reporting import letters, reports, subscriptions
from xtiger.engine.reporting.subscriptions import Choices
from xtiger.engine.services import Services
from xtiger.mail import FlaskMail
from xtiger.ports import Letter, MailServer
from xtiger.store import alerts
from xtiger.store.models import Mail, Setting, Subscription


@pytest.fixture
def office() -> PostOffice:
    return PostOffice()


def three(engine: Engine, services: Services) -> list[str]:
    """Three people hear of one sync."""
    engine.connect(KAURI)
    names = [f"{name}@example.com" for name in ("ana", "bo", "cy")]
    hear(services, names)
    invoices(engine)
    return names


def test_a_server_that_refuses_for_an_hour_gets_them_all_afterwards(
    each_engine: Engine, office: PostOffice
) -> None:
    engine = each_engine
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        names = three(engine, services)
        office.refuse = "421 too busy"
        sync(engine, services)
        began = clock.shift
        while clock.shift - began < timedelta(hours=1):
            clock.shift += timedelta(minutes=2)
            letters.send_waiting(services)
        assert {mail.state for mail in rows_of(engine, Mail)} == {"waiting"}
        assert max(mail.tries for mail in rows_of(engine, Mail)) <= 6
        office.refuse = None
        for _ in range(40):
            clock.shift += timedelta(minutes=2)
            letters.send_waiting(services)
    finally:
        server.stop()
    assert sorted(to for to, _message in office.taken) == sorted(names)
    assert {mail.state for mail in rows_of(engine, Mail)} == {"sent"}


def test_a_server_that_is_away_for_days_loses_none(engine: Engine, office: PostOffice) -> None:
    server = opened(office)
    port = server.port
    server.stop()
    clock = MiddayClock()
    services = mailing(engine, port, clock)
    names = three(engine, services)
    sync(engine, services)
    for _ in range(4 * 24):
        clock.shift += timedelta(hours=1)
        letters.send_waiting(services)
    mails = rows_of(engine, Mail)
    assert {mail.state for mail in mails} == {"waiting"}
    assert "can't be reached" in str(mails[0].why)
    server = opened(office, port=port)
    try:
        clock.shift += timedelta(hours=1, minutes=1)
        letters.send_waiting(services)
    finally:
        server.stop()
    assert sorted(to for to, _message in office.taken) == sorted(names)


def test_what_waits_is_told_with_its_why(engine: Engine, office: PostOffice) -> None:
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        engine.connect(KAURI)
        subscriptions.subscribe(services, "ana@example.com", Choices(daily=True), who="Ana")
        invoices(engine)
        intake.relay(services)
        pausing.pause(services, organisation_id=organisation(engine).id, who="Bo")
        clock.shift += timedelta(days=1)
        reports.report_ended(services)
    finally:
        server.stop()
    [(_to, message)] = office.taken
    both_say_the_same(message)
    text = " ".join(text_of(message).split())
    assert "- Kauri Trading: 2 records wait, the oldest for " in text
    assert re.search(r"Kauri Trading is paused since \d\d:\d\d UTC by Bo\.", text)


def test_reports_of_long_ago_are_not_sent_at_once_when_a_server_is_set_at_last(
    engine: Engine, office: PostOffice
) -> None:
    clock = MiddayClock()
    quiet = engine.worker("quiet", clock=clock)
    engine.connect(KAURI)
    subscriptions.subscribe(quiet, "ana@example.com", Choices(daily=True), who="Ana")
    for _ in range(20):
        clock.shift += timedelta(days=1)
        reports.report_ended(quiet)
    server = opened(office)
    try:
        letters.send_waiting(mailing(engine, server.port, clock))
    finally:
        server.stop()
    states = [mail.state for mail in rows_of(engine, Mail)]
    assert states == ["failed"] * 6 + ["sent"] * 14
    assert rows_of(engine, Mail)[0].why == "No mail server was set for two weeks."
    assert len(office.taken) == 14


def test_a_server_that_breaks_off_within_the_letter_gets_it_again(
    engine: Engine, office: PostOffice
) -> None:
    breaking = Breaking()
    clock = MiddayClock()
    services = mailing(engine, breaking.port, clock)
    hear(services, ["ana@example.com"])
    engine.connect(KAURI)
    invoices(engine)
    sync(engine, services)
    breaking.stop()
    [mail] = rows_of(engine, Mail)
    assert (mail.state, breaking.begun) == ("waiting", 1)
    server = opened(office)
    try:
        clock.shift += timedelta(minutes=5)
        letters.send_waiting(mailing(engine, server.port, clock))
    finally:
        server.stop()
    [(_to, message)] = office.taken
    assert message["Message-ID"] == mail.message_id
    assert rows_of(engine, Mail)[0].state == "sent"


@pytest.mark.parametrize(("silent", "copies", "state"), [(1, 2, "sent"), (9, 2, "failed")])
def test_a_letter_that_may_have_arrived_is_repeated_once_under_its_id(
    engine: Engine, office: PostOffice, silent: int, copies: int, state: str
) -> None:
    server = opened(office)
    office.silent = silent
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        hear(services, ["ana@example.com"])
        engine.connect(KAURI)
        invoices(engine)
        sync(engine, services)
        assert rows_of(engine, Mail)[0].state == "waiting"
        for _ in range(20):
            clock.shift += timedelta(hours=1)
            letters.send_waiting(services)
    finally:
        server.stop()
    [mail] = rows_of(engine, Mail)
    assert mail.state == state
    assert [message["Message-ID"] for _to, message in office.taken] == [mail.message_id] * copies
    if state == "failed":
        assert str(mail.why).endswith("It may have arrived; it isn't sent again by itself.")
        again = letters.send_again(services, mail.id, who="Ana")
        copy = next(row for row in rows_of(engine, Mail) if row.id == again.mail_id)
        assert copy.message_id != mail.message_id
        assert (copy.subject, copy.text, copy.state) == (mail.subject, mail.text, "waiting")


def test_one_of_three_recipients_is_rejected(each_engine: Engine, office: PostOffice) -> None:
    engine = each_engine
    office.unknown = frozenset({"bo@example.com"})
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        three(engine, services)
        sync(engine, services)
        states = {mail.recipient: mail.state for mail in rows_of(engine, Mail)}
        assert states == {
            "ana@example.com": "sent",
            "bo@example.com": "failed",
            "cy@example.com": "sent",
        }
        rows = {row.address: row for row in rows_of(engine, Subscription)}
        assert rows["ana@example.com"].refused_since is None
        assert rows["bo@example.com"].refused_since is not None
        assert "550 5.1.1 no such mailbox" in str(rows["bo@example.com"].refused_why)
        # Once it takes a letter, nothing is wrong with it any more.
        office.unknown = frozenset()
        letters.send_test(services, "bo@example.com")
    finally:
        server.stop()
    rows = {row.address: row for row in rows_of(engine, Subscription)}
    assert rows["bo@example.com"].refused_since is None


def test_a_test_mail_says_why_it_did_not_go_and_is_not_tried_again(
    engine: Engine, office: PostOffice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    server = opened(office, pem=pem)
    try:
        clock = MiddayClock()
        services = mailing(
            engine, server.port, clock, mail_tls=True, mail_username=USER, mail_password="wrong"
        )
        for call in (
            lambda: letters.send_test(services, "ana@example.com"),
            lambda: services.mail and services.mail.check(),
        ):
            with pytest.raises(TransientError, match=r"refused it: 535 authentication\.(\n|$)"):
                call()
        with pytest.raises(PermanentError, match="Not an e-mail address: ana"):
            letters.send_test(services, "ana")
        clock.shift += timedelta(days=1)
        assert letters.send_waiting(services) == 0
    finally:
        server.stop()
    [mail] = rows_of(engine, Mail)
    assert (mail.kind, mail.state, mail.tries) == ("test", "failed", 1)


def test_a_server_named_on_the_page_is_used_without_a_restart(
    engine: Engine, office: PostOffice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    services = engine.worker("mailing", clock=MiddayClock())
    services.mail = FlaskMail(Flask("host"), services.settings)
    assert not letters.has_server(services)
    with pytest.raises(PermanentError, match="No mail server is set"):
        letters.send_test(services, "ana@example.com")
    server = opened(office, pem=pem)
    named = MailServer(
        "127.0.0.1", server.port, "starttls", USER, PASSWORD, sender="books@example.com"
    )
    try:
        letters.set_mail_server(services, named, who="Ana")
        assert letters.mail_server(services) == named
        services.mail.check(named)
        letters.send_test(services, "ana@example.com")
    finally:
        server.stop()
    [(_to, message)] = office.taken
    assert message["From"] == "books@example.com"
    with engine.database.read() as session:
        assert PASSWORD not in str(session.get_one(Setting, "mail_server").value)


# -- processes that are killed -----------------------------------------------------------------


class Killed(BaseException):
    """The process ends here and settles nothing."""


class Deadly:
    """A mail port whose process is killed so many times, before or after the server's answer."""

    def __init__(self, real: FlaskMail, kills: int) -> None:
        self.real, self.kills = real, kills

    def has_server(self) -> bool:
        return True

    def send(self, letter: Letter, server: MailServer | None = None) -> None:
        self.real.send(letter, server)
        if self.kills:
            self.kills -= 1
            raise Killed

    def check(self, server: MailServer | None = None) -> None:
        self.real.check(server)


class Leaving(Deadly):
    """A mail adapter whose letter's reader presses the link while it is on its way."""

    def __init__(self, real: FlaskMail, services: Services) -> None:
        super().__init__(real, 0)
        self.services = services

    def send(self, letter: Letter, server: MailServer | None = None) -> None:
        assert letter.unsubscribe
        assert subscriptions.stop(self.services, letter.unsubscribe.rpartition("/")[2])
        super().send(letter, server)


@pytest.mark.parametrize(
    ("answer", "state", "why"),
    [
        (None, "sent", None),
        ("451 later", "failed", "Its reader wants no more mails."),
    ],
)
def test_what_its_reader_ended_on_its_way_is_no_trouble(
    each_engine: Engine, office: PostOffice, answer: str | None, state: str, why: str | None
) -> None:
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(each_engine, server.port, clock)
        assert isinstance(services.mail, FlaskMail)
        reader = subscriptions.subscribe(services, "ana@example.com", Choices(), who="Ana")
        waiting(each_engine, services, reader)
        services.mail = Leaving(services.mail, services)
        office.refuse = answer
        letters.send_waiting(services)
        clock.shift += timedelta(hours=1)
        assert letters.send_waiting(services) == 0
    finally:
        server.stop()
    [mail] = rows_of(each_engine, Mail)
    assert (mail.state, mail.why) == (state, why)
    with services.database.read() as session:
        assert alerts.unsent(session, before=services.clock.now())[:2] == (0, 0)


@pytest.mark.parametrize(("kills", "copies", "state"), [(1, 2, "sent"), (9, 2, "failed")])
def test_a_letter_whose_sender_was_killed_is_repeated_once(
    each_engine: Engine, office: PostOffice, kills: int, copies: int, state: str
) -> None:
    engine = each_engine
    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        assert isinstance(services.mail, FlaskMail)
        waiting(engine, services)
        services.mail = Deadly(services.mail, kills)
        for _ in range(6):
            with suppress(Killed):
                letters.send_waiting(services)
            clock.shift += timedelta(hours=1)
    finally:
        server.stop()
    [mail] = rows_of(engine, Mail)
    assert mail.state == state
    assert [message["Message-ID"] for _to, message in office.taken] == [mail.message_id] * copies
    if state == "failed":
        assert mail.why == (
            "XTiger stopped while it sent it. It may have arrived; it isn't sent again by itself."
        )
        assert mail.not_before is not None
        assert letters.send_again(services, mail.id, who="Ana").mail_id != mail.id


def test_a_known_failure_is_no_doubt(engine: Engine, office: PostOffice) -> None:
    server = opened(office)
    office.refuse = "421 too busy"
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        assert isinstance(services.mail, FlaskMail)
        waiting(engine, services)
        for _ in range(5):
            letters.send_waiting(services)
            clock.shift += timedelta(hours=1)
        [mail] = rows_of(engine, Mail)
        assert (mail.state, mail.tries, mail.doubts) == ("waiting", 5, 0)
        # One that was killed stays counted, whatever is known of the others.
        services.mail = Deadly(services.mail, 1)
        office.refuse = None
        with suppress(Killed):
            letters.send_waiting(services)
        office.refuse = "421 too busy"
        clock.shift += timedelta(hours=1)
        letters.send_waiting(services)
        assert rows_of(engine, Mail)[0].doubts == 1
    finally:
        server.stop()


@pytest.mark.parametrize("fault", [KeyError("host"), ConnectionError("host")], ids=repr)
def test_a_host_that_breaks_over_a_mail_that_went_gets_it_once(
    engine: Engine, office: PostOffice, fault: Exception
) -> None:
    def broken(_app: Flask, **_more: object) -> None:
        raise fault

    server = opened(office)
    try:
        clock = MiddayClock()
        services = mailing(engine, server.port, clock)
        waiting(engine, services)
        with email_dispatched.connected_to(broken):
            for _ in range(3):
                letters.send_waiting(services)
                clock.shift += timedelta(hours=1)
    finally:
        server.stop()
    [mail] = rows_of(engine, Mail)
    assert (mail.state, mail.tries, mail.doubts, len(office.taken)) == ("sent", 1, 0, 1)


def waiting(engine: Engine, services: Services, reader: int | None = None) -> None:
    """One mail that waits; `reader` is the subscription that it is for."""
    with engine.database.write() as session:
        letters.put(
            session,
            services,
            kind=reports.Kind.DAILY,
            letter=letters.Written("s", "t", "h"),
            reader=None if reader is None else session.get(Subscription, reader),
            recipient="ana@example.com",
            now=services.clock.now(),
        )


# -- the server that the page names ------------------------------------------------------------


def test_of_two_first_saves_at_once_one_is_told_of_the_other(each_engine: Engine) -> None:
    services = each_engine.worker("page")
    both = threading.Barrier(2, timeout=0.5)

    def save(host: str) -> bool:
        def unless(row: Setting | None) -> bool:
            taken = row is not None
            with suppress(threading.BrokenBarrierError):
                both.wait()
            return taken

        return letters.set_mail_server(services, MailServer(host), who=host, unless=unless)

    hosts = ("a.example.com", "b.example.com")
    with ThreadPoolExecutor(2) as pool:
        saved = dict(zip(hosts, pool.map(save, hosts), strict=True))
    assert sorted(saved.values()) == [False, True]
    found = letters.mail_server(services)
    assert found is not None
    assert saved[found.host]


def test_a_first_save_that_is_refused_leaves_nothing(each_engine: Engine) -> None:
    services = each_engine.worker("page")
    named = MailServer("a.example.com")
    seen: list[Setting | None] = []

    def refuse(row: Setting | None) -> bool:
        seen.append(row)
        return True

    assert not letters.set_mail_server(services, named, who="Ana", unless=refuse)
    assert seen == [None]
    with each_engine.database.read() as session:
        assert session.get(Setting, "mail_server") is None
    assert letters.mail_server(services) is None
    # Nor does forgetting one that was never named.
    assert letters.set_mail_server(services, None, who="Ana")
    with each_engine.database.read() as session:
        assert session.get(Setting, "mail_server") is None

"""One report a run and recipient, kept until the mail server takes it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from flask import Flask

from tests import books
from tests.conftest import Engine, free_port
from tests.engine.scenes import (
    KAURI,
    ShiftedClock,
    change_organisation,
    crm,
    hear,
    invoices,
    rows_of,
    runs,
    stranger,
    sync,
    tick,
    work,
)
from xtiger.domain.errors import PermanentError
from xtiger.domain.reporting import Kind
from xtiger.engine import scheduler
from xtiger.engine.reporting import letters, reports, subscriptions
from xtiger.engine.reporting.asked import Asked, by_hand
from xtiger.engine.services import Services
from xtiger.mail import FlaskMail
from xtiger.store.models import Connection, Mail

TO = ("ana@example.com", "ben@example.com")


class Postbox:
    """What the mail server took, and what it answers now."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.refuse: str | None = None

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.refuse:
            return self.refuse
        self.taken.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 taken"


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    box = Postbox()
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    box.port = server.port  # type: ignore[attr-defined]
    yield box
    server.stop()


def mailing(engine: Engine, postbox: Any, *, seconds: float = 0, to: Any = TO) -> Services:
    services = engine.worker("mailing", clock=ShiftedClock(seconds))
    services.settings = replace(
        engine.settings,
        mail_server="127.0.0.1",
        mail_port=postbox.port,
        mail_sender="xtiger@example.com",
        report_recipients=to,
    )
    services.mail = FlaskMail(Flask("host"), services.settings)
    return services


def test_each_recipient_gets_one_mail_a_run(each_engine: Engine, postbox: Postbox) -> None:
    engine = each_engine
    engine.connect(KAURI)
    invoices(engine, 2)
    services = mailing(engine, postbox)
    sync(engine, services)
    assert sorted(to for [to], _message in postbox.taken) == sorted(TO)
    [subject] = {message["Subject"] for _to, message in postbox.taken}
    assert subject == "[XTiger] Kauri Trading: 3 synced, nothing to do"
    [run] = runs(engine)
    reports.report_run(services, run.id)
    letters.send_waiting(services)
    assert len(postbox.taken) == 2
    assert {mail.state for mail in rows_of(engine, Mail)} == {"sent"}


def test_the_mail_counts_what_needs_somebody_and_says_what_it_added_up_to(
    engine: Engine, postbox: Postbox
) -> None:
    engine.connect(KAURI)
    stranger(engine).created("Invoices", stranger(engine).invoice(InvoiceNumber="INV-1"))
    invoices(engine, 2)
    sync(engine, mailing(engine, postbox, to=("ana@example.com",)))
    [(_to, message)] = postbox.taken
    assert message["Subject"] == "[XTiger] Kauri Trading: 2 synced, 1 needs you"
    text = "".join(
        part.get_payload(decode=True).decode().replace("\r\n", "\n")
        for part in message.walk()
        if part.get_content_type() == "text/plain"
    )
    assert "NZD 115.00" in text
    assert "INV-1" in text
    # Reads aren't among them: the organisation's page counts those too.
    [run] = runs(engine)
    assert f"Write calls: {run.calls}\n" in text
    assert run.calls > 0
    assert "Calls used" not in text


def test_a_mail_that_is_refused_for_now_waits_and_goes_later_once(
    engine: Engine, postbox: Postbox
) -> None:
    engine.connect(KAURI)
    invoices(engine)
    postbox.refuse = "451 try again later"
    sync(engine, mailing(engine, postbox, to=("ana@example.com",)))
    [mail] = rows_of(engine, Mail)
    assert (mail.state, mail.tries) == ("waiting", 1)
    assert "451" in str(mail.why)
    letters.send_waiting(mailing(engine, postbox, seconds=5))
    assert rows_of(engine, Mail)[0].tries == 1
    postbox.refuse = None
    letters.send_waiting(mailing(engine, postbox, seconds=100))
    letters.send_waiting(mailing(engine, postbox, seconds=5000))
    assert len(postbox.taken) == 1
    assert rows_of(engine, Mail)[0].state == "sent"


def test_a_mail_server_that_never_takes_it_is_given_up_after_two_weeks(
    engine: Engine, postbox: Postbox
) -> None:
    engine.connect(KAURI)
    invoices(engine)
    postbox.refuse = "451 no"
    sync(engine, mailing(engine, postbox, to=("ana@example.com",)))
    for hours in range(1, 14 * 24, 6):
        letters.send_waiting(mailing(engine, postbox, seconds=hours * 3600))
    [mail] = rows_of(engine, Mail)
    assert (mail.state, mail.tries) == ("waiting", 57)
    letters.send_waiting(mailing(engine, postbox, seconds=15 * 86_400))
    [mail] = rows_of(engine, Mail)
    assert mail.state == "failed"
    assert "451 no" in str(mail.why)


def test_a_mail_refused_for_good_is_not_sent_again(engine: Engine, postbox: Postbox) -> None:
    engine.connect(KAURI)
    invoices(engine)
    postbox.refuse = "550 no such user"
    sync(engine, mailing(engine, postbox, to=("ana@example.com",)))
    assert rows_of(engine, Mail)[0].state == "failed"
    postbox.refuse = None
    assert letters.send_waiting(mailing(engine, postbox, seconds=5000)) == 0


def test_no_address_can_put_lines_into_the_header(engine: Engine, postbox: Postbox) -> None:
    services = mailing(engine, postbox, to=())
    for address in ("a@example.com\r\nBcc: all@example.com", "a@example.com,b@example.com", "x"):
        with pytest.raises(PermanentError, match="Not an e-mail address"):
            hear(services, [address])
    hear(services, [" ana@example.com "])
    assert [row.address for row in subscriptions.subscriptions(services)] == ["ana@example.com"]


def test_no_name_from_the_crm_or_xero_can_put_lines_into_the_header(
    engine: Engine, postbox: Postbox
) -> None:
    engine.connect(KAURI)
    change_organisation(engine, name="Kauri\r\nBcc: all@example.com")
    with crm(engine) as session:
        row = books.contact(session, "Ana\nBcc: all@example.com")
    tick(engine, row)
    services = mailing(engine, postbox, to=("ana@example.com",))
    scheduler.sync_now(services, organisation_id=None, modules=None, who="Ana")
    work(engine, services)
    assert all(message["Bcc"] is None for _to, message in postbox.taken)
    assert len(rows_of(engine, Mail)) == 1
    assert len(postbox.taken) == 1, rows_of(engine, Mail)[0].why


def test_the_same_trouble_is_mailed_once(engine: Engine, postbox: Postbox) -> None:
    engine.connect(KAURI)
    invoices(engine)
    services = mailing(engine, postbox, to=("ana@example.com",))
    for _ in range(3):
        with engine.database.write() as session:
            session.query(Connection).one().broken = "The consent ended. Connect again."
        sync(engine, services)
    assert len(runs(engine)) == 3
    assert [message["Subject"] for _to, message in postbox.taken] == [
        "[XTiger] Kauri Trading: must be connected again; 0 synced"
    ]


def test_a_broken_consent_is_named_apart_from_records(engine: Engine, postbox: Postbox) -> None:
    engine.connect(KAURI)
    stranger(engine).created("Invoices", stranger(engine).invoice(InvoiceNumber="INV-9"))
    invoices(engine, first=9)  # its number is taken: it needs somebody
    sync(engine)
    invoices(engine)
    with engine.database.write() as session:
        session.query(Connection).one().broken = "The consent ended. Connect again."
    sync(engine, mailing(engine, postbox, to=("ana@example.com",)))
    [mail] = rows_of(engine, Mail)
    assert mail.subject == "[XTiger] Kauri Trading: must be connected again; 0 synced, 1 needs you"
    assert "Kauri Trading must be connected again; 0 synced, 1 needs you." in mail.text
    assert "- The consent ended. Connect again." in mail.text
    day = engine.services.clock.now().date()
    asked = Asked(Kind.DAILY, day, zone="UTC", language="de")
    letter = by_hand(engine.services, asked)
    sentence = "Kauri Trading muss neu verbunden werden; 1 übertragen, 1 wartet auf Sie."
    assert sentence in " ".join(letter.text.split())
    long_ago = replace(asked, day=day - timedelta(days=9))
    told = by_hand(engine.services, long_ago).text
    assert "verbunden" not in told.split("Was jetzt")[0]


def test_a_mail_claimed_by_two_processes_is_sent_once(
    each_engine: Engine, postbox: Postbox
) -> None:
    engine = each_engine
    engine.connect(KAURI)
    invoices(engine)
    quiet = engine.worker("quiet")
    quiet.settings = replace(engine.settings, report_recipients=TO)
    sync(engine, quiet)
    assert len(rows_of(engine, Mail)) == 2
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(letters.send_waiting, [mailing(engine, postbox) for _ in range(3)]))
    assert len(postbox.taken) == 2

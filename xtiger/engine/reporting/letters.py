"""Mails: how they are written, and the queue they wait in until the mail server takes them."""

from __future__ import annotations

import textwrap
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import make_msgid
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from sqlalchemy import update
from sqlalchemy.orm import Session

from xtiger.domain import phrases
from xtiger.domain.errors import PermanentError, TransientError, UnknownOutcome, XTigerError
from xtiger.domain.reporting import Kind
from xtiger.engine.reporting.subscriptions import address_of, subscriptions, unsubscribe_link
from xtiger.engine.services import Services
from xtiger.ports import AddressRefused, Attachment, Letter, MailServer, ServerAway
from xtiger.store import logs, mailbox, profiles
from xtiger.store.models import Mail, Setting, Subscription
from xtiger.telemetry import logger

#: For so long a mail is tried, and the longest pause between two tries.
MOST_AGE = timedelta(days=14)
LONGEST_PAUSE = 3600
#: Seconds before the second try; each later pause is twice the one before.
FIRST_PAUSE = 200
#: Seconds after which a try has surely ended, if its process lives: the mail adapter's LONGEST,
#: a last answer, and what the machine itself takes.
LONGEST_SENDING = 400
#: How many tries of a mail may end without anybody knowing how: it is repeated once.
MOST_DOUBTS = 2
_IN_DOUBT = "It may have arrived; it isn't sent again by itself."
#: Columns of the text part; only a link may be longer.
COLUMNS = 72
#: The setting of the mail server that was named on the page.
MAIL_SERVER = "mail_server"
#: A mail that was sent again is not repeated for so long: that was one press, come twice.
ONE_PRESS = timedelta(minutes=1)

log = logger("letters")


# -- writing -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """What a mail says, in both its parts, and the file that goes along."""

    subject: str
    text: str
    html: str
    attachment: bytes | None = None
    attachment_name: str | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands below every mail: why it came, and how to change that."""

    why: str
    settings_url: str
    unsubscribe_url: str | None


def frame_of(services: Services, kind: Kind, reader: Subscription | None, to: str = "") -> Frame:
    """The frame of a mail of a kind to a reader, or to a plain address `to`."""
    language = reader.language if reader else "en"
    why = phrases.say(language, f"why.{kind}", address=reader.address if reader else to)
    link = unsubscribe_link(services, reader.id) if reader else None
    return Frame(why, services.links.page("email-notification"), link)


def render(name: str, language: str, **values: Any) -> tuple[str, str]:
    """The text and the HTML part of templates/xtiger/mail/<name>.txt and .html.

    They get `say`, `money`, `number`, `day` and `language` bound to the language, and `fill`,
    which breaks text at COLUMNS.
    """
    words = {
        name: partial(getattr(phrases, name), language)
        for name in ("say", "money", "number", "day")
    }
    known = {**words, "language": language, **values}
    text, html = (
        _templates().get_template(f"{name}.{kind}").render(known) for kind in ("txt", "html")
    )
    return text.strip() + "\n", html


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("xtiger.templates", "xtiger/mail"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fill"] = fill
    return environment


def fill(text: str, begin: str = "", behind: str = "") -> str:
    """Text in lines of at most COLUMNS, the first behind `begin`, the others behind `behind`.

    Words too long for a line are broken; links aren't, for a broken one leads nowhere.
    """
    words = " ".join(str(text).split())
    return "\n".join(
        textwrap.wrap(
            words,
            COLUMNS,
            initial_indent=begin,
            subsequent_indent=behind,
            break_long_words="://" not in words,
            break_on_hyphens=False,
        )
    )


def put(
    session: Session,
    services: Services,
    *,
    kind: Kind,
    letter: Written,
    reader: Subscription | None,
    recipient: str | None = None,
    organisation_id: int | None = None,
    alert_id: int | None = None,
    period_id: int | None = None,
    run_id: int | None = None,
    now: datetime,
) -> Mail:
    """Queues a mail to a reader, or to a plain `recipient`: the only place that does.

    It belongs into the transaction that claims what the mail tells of. Message-ID, thread and
    the link that ends the subscription are set here; the caller's `now` is UTC.
    """
    host = urlsplit(services.settings.public_url).hostname or "localhost"
    mail = Mail(
        kind=kind.value,
        run_id=run_id,
        subscription_id=reader.id if reader else None,
        period_id=period_id,
        alert_id=alert_id,
        organisation_id=organisation_id,
        recipient=reader.address if reader else recipient,
        subject=" ".join(letter.subject.split()),  # a header holds no line breaks
        text=letter.text,
        html=letter.html,
        attachment=None if letter.attachment is None else zlib.compress(letter.attachment),
        attachment_name=letter.attachment_name,
        message_id=make_msgid(domain=host),
        thread=f"<xtiger.{kind}.{reader.id}@{host}>" if reader else None,
        unsubscribe=unsubscribe_link(services, reader.id) if reader else None,
        state="waiting",
        tries=0,
        doubts=0,
        made_at=now,
    )
    session.add(mail)
    session.flush()
    return mail


@dataclass(frozen=True, slots=True)
class Again:
    """A mail sent once more: its number, and whether it was there already.

    `waits` since it was asked for, or `went`; both None: it is new.
    """

    mail_id: int
    waits: datetime | None = None
    went: datetime | None = None


def send_again(services: Services, mail_id: int, *, who: str) -> Again:
    """Queues a mail once more, as it was, under an id of its own.

    While a repeat of it waits, or for a minute after one went, there is no other: the answer is
    that one. Raises PermanentError where the mail is gone, or waits to be sent anyway.
    """
    now = services.clock.now()
    with services.database.write() as session:
        mail = session.get(Mail, mail_id)
        if mail is None:
            raise PermanentError("This mail is no longer kept.")
        if mail.state == "waiting":
            raise PermanentError("It waits to be sent; XTiger goes on trying by itself.")
        first = mail.again_of or mail.id
        mailbox.hold(session, {first, mail.id})
        had = mailbox.repeat(session, first, since=now - ONE_PRESS, now=now)
        if had is not None:
            return Again(had.id, None if had.sent_at else had.made_at, had.sent_at)
        host = urlsplit(services.settings.public_url).hostname or "localhost"
        copied = {
            column.key: getattr(mail, column.key)
            for column in Mail.__table__.columns
            if column.key not in ("id", "run_id", "not_before", "why", "sent_at")
        }
        again = Mail(
            **copied
            | {
                "message_id": make_msgid(domain=host),
                "state": "waiting",
                "tries": 0,
                "doubts": 0,
                "made_at": now,
                "again_of": first,
                "again_by": who[:255],
            }
        )
        session.add(again)
        session.flush()
        return Again(again.id)


# -- sending -----------------------------------------------------------------------------------


def mail_server(services: Services) -> MailServer | None:
    """The mail server that was named on the page; None where none was, or another one holds.

    The environment's and a host's own go before it. Raises PermanentError where no key opens
    what is stored.
    """
    if services.settings.mail_server or (services.mail and services.mail.has_server()):
        return None
    with services.database.read() as session:
        try:
            stored = profiles.setting(session, MAIL_SERVER, services.ring)
        except PermanentError:
            raise PermanentError(
                "The mail server that is stored can't be opened with the keys in use. Put the old "
                "key behind the new one in XTIGER_KEYS, or enter the mail server anew in Settings."
            ) from None
    return MailServer(**stored) if stored else None


def set_mail_server(
    services: Services,
    server: MailServer | None,
    *,
    who: str,
    unless: Callable[[Setting | None], bool] | None = None,
) -> bool:
    """Stores the mail server, sealed; None forgets it.

    False where `unless`, asked of the stored row inside the transaction, says that nothing is to
    be stored.
    """
    now = services.clock.now()
    with services.database.write() as session:
        # Made where there is none, so that of two first saves the second sees what the first did.
        row = profiles.hold_setting(session, MAIL_SERVER)
        stored = row if row.changed_at else None
        if unless is not None and unless(stored):
            if stored is None:
                profiles.drop_setting(session, MAIL_SERVER)
            return False
        if server is None:
            profiles.drop_setting(session, MAIL_SERVER)
            return True
        value = {each.name: getattr(server, each.name) for each in fields(MailServer)}
        profiles.put_setting(session, MAIL_SERVER, value, who=who, now=now, ring=services.ring)
    return True


def send_waiting(services: Services) -> int:
    """Sends mails whose turn it is; answers with how many went. A failure waits and is retried.

    Where the mail server itself can't be used, the others wait for the next look.
    """
    if services.mail is None:
        return 0
    now = services.clock.now()
    with services.database.read() as session:
        waiting = logs.waiting_mails(session, now=now)
    if not waiting:
        return 0
    try:
        server = mail_server(services)
    except PermanentError as closed:
        # For these mails that is a server out of reach, until somebody mends the keys.
        _explain(services, waiting, closed.sentence)
        return 0
    if server is None and not services.mail.has_server():
        return 0
    sent = 0
    for mail in waiting:
        if services.stopping():
            break
        if not _claim(services, mail):
            continue
        failure = _send(services, mail, server)
        sent += failure is None
        if isinstance(failure, ServerAway):
            break
    return sent


def _explain(services: Services, waiting: Sequence[Mail], why: str) -> None:
    """Notes why mails can't even be tried, where it isn't noted yet."""
    ids = [mail.id for mail in waiting if mail.why != why]
    if not ids:
        return
    log.warning("no mail goes", why=why)
    with services.database.write() as session:
        session.execute(
            update(Mail)
            .where(Mail.id.in_(ids), Mail.state == "waiting")
            .values(why=why)
            .execution_options(synchronize_session=False)
        )


def _send(services: Services, mail: Mail, server: MailServer | None) -> XTigerError | None:
    """Tries a claimed mail once and keeps what became of it; answers with why it didn't go."""
    assert services.mail is not None
    given_up = services.clock.now() - mail.made_at >= MOST_AGE
    failed: XTigerError | None = None
    try:
        letter = _letter(mail)
        if server is None:
            services.mail.send(letter)
        else:
            services.mail.send(letter, server)
    except (TransientError, UnknownOutcome, PermanentError) as failure:
        failed = failure
    except Exception as fault:
        # One letter that can't be written must not keep the others from going.
        log.exception("mail broke", recipient=mail.recipient)
        failed = TransientError(f"It couldn't be sent: {type(fault).__name__}. The log says more.")
    why = failed.sentence if failed else None
    now = services.clock.now()
    with services.database.write() as session:
        row = session.get(Mail, mail.id, with_for_update=True)
        if row is not None:
            row.doubts -= not isinstance(failed, UnknownOutcome)
            if failed is None:
                row.state, row.sent_at, row.why = "sent", now, None
            elif row.state == "waiting":  # else its reader left, or another process sent it
                row.not_before = now + _pause(row.tries)
                if row.doubts >= MOST_DOUBTS:
                    given_up, why = True, f"{why} {_IN_DOUBT}"
                if given_up or isinstance(failed, PermanentError):
                    row.state = "failed"
                row.why = why
        if isinstance(failed, AddressRefused):
            mailbox.refused(session, mail.recipient, why=failed.sentence, now=now)
        elif failed is None:
            mailbox.taken(session, mail.recipient)
    if failed is not None:
        log.warning("mail not sent", recipient=mail.recipient, why=why)
    return failed


def _letter(mail: Mail) -> Letter:
    file = None
    if mail.attachment is not None:
        name = mail.attachment_name or "report.csv"
        file = Attachment(name, zlib.decompress(mail.attachment))
    return Letter(
        recipient=mail.recipient,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        message_id=mail.message_id,
        thread=mail.thread,
        unsubscribe=mail.unsubscribe,
        attachment=file,
    )


def _claim(services: Services, mail: Mail) -> bool:
    """Takes a mail for this process: counts the try and puts the next one off.

    Each try begins as a doubt, which `_send` takes back once it knows: a process that is killed
    can't say whether the server has taken it.
    """
    now = services.clock.now()
    with services.database.write() as session:
        row = session.get_one(Mail, mail.id, with_for_update=True)
        if row.state != "waiting" or (row.not_before and row.not_before > now):
            return False
        if not row.tries and now - row.made_at >= MOST_AGE:
            # There was no mail server all the time: nobody wants last month's reports at once.
            row.state = "failed"
            row.why = row.why or "No mail server was set for two weeks."
            return False
        if row.doubts >= MOST_DOUBTS:
            row.state, row.not_before = "failed", now
            row.why = f"XTiger stopped while it sent it. {_IN_DOUBT}"
            return False
        row.tries += 1
        row.doubts += 1
        # Longer than a sending can take, so that nobody else takes it meanwhile.
        row.not_before = now + max(timedelta(seconds=LONGEST_SENDING), _pause(row.tries))
        return True


def _pause(tries: int) -> timedelta:
    """How long a mail waits after so many tries."""
    return timedelta(seconds=min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(10, tries - 1)))


def has_server(services: Services) -> bool:
    """Whether there is a mail server to send by; one that no key opens is none."""
    if services.mail is None:
        return False
    if services.mail.has_server():
        return True
    try:
        return mail_server(services) is not None
    except PermanentError:
        return False


def send_test(
    services: Services, address: str, *, language: str | None = None, zone: tzinfo | None = None
) -> str:
    """Sends the test mail now; answers with the page's sentence.

    `language` is by default the one its subscription asks for, `zone` that of whoever reads the
    sentence. Raises PermanentError where it
    isn't an address or no server is set, and what the mail server's refusal is.
    """
    address = address_of(address)
    server = mail_server(services)
    if services.mail is None or (server is None and not services.mail.has_server()):
        raise PermanentError("No mail server is set.")
    rows = [row for row in subscriptions(services, address=address) if not row.stopped_at]
    reader = rows[0] if rows else None
    language = language or (reader.language if reader else "en")
    now = services.clock.now()
    subject = phrases.say(language, "test.subject")
    frame = frame_of(services, Kind.TEST, reader, address)
    text, html = render("test", language, frame=frame, subject=subject)
    with services.database.write() as session:
        mail = put(
            session,
            services,
            kind=Kind.TEST,
            letter=Written(subject, text, html),
            reader=reader,
            recipient=address,
            now=now,
        )
        # Tried once, here and now: whoever asked for it reads what became of it.
        mail.tries, mail.doubts = 1, 1
        mail.not_before = now + timedelta(seconds=LONGEST_SENDING)
    failure = _send(services, mail, server)
    if failure is not None:
        _end_test(services, mail)
        raise failure
    host = server.host if server else services.settings.mail_server
    by = f" by {host}" if host else ""
    utc = "" if zone else " UTC"
    return f"Test mail sent to {address} at {now.astimezone(zone or UTC):%H:%M}{utc}{by}."


def _end_test(services: Services, mail: Mail) -> None:
    """A test that didn't go isn't tried again by itself."""
    with services.database.write() as session:
        row = session.get(Mail, mail.id, with_for_update=True)
        if row is not None and row.state == "waiting":
            row.state = "failed"

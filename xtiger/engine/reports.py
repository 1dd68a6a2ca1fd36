"""The sync report: one mail a recipient after each run, kept in the database until it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from email.utils import make_msgid, parseaddr
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, select_autoescape
from sqlalchemy import select

from xtiger.domain.errors import PermanentError, TransientError
from xtiger.domain.queueing import State
from xtiger.domain.records import Module
from xtiger.domain.resources import RESOURCE_OF
from xtiger.engine.services import Services
from xtiger.ports import Letter
from xtiger.store import logs, profiles
from xtiger.store.models import LogEntry, Mail, Organisation, Run
from xtiger.telemetry import logger

#: Tries after which a mail that can't be sent is given up, and the longest pause (seconds).
MOST_TRIES = 12
LONGEST_PAUSE = 3600
#: Seconds after which a mail server must have answered all of one letter's questions.
LONGEST_SENDING = 200
#: What a report lists of each kind.
MOST_CAUSES, MOST_RECORDS = 10, 20

log = logger("reports")


@dataclass(frozen=True, slots=True)
class Line:
    """One record that went over."""

    label: str
    module: str
    money: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one run, as mail and pages print them."""

    organisation: str
    run: Run
    sentence: str
    sums: Sequence[str]
    causes: Sequence[tuple[str, int]]
    more_causes: int
    went: Sequence[Line]
    more_went: int
    queue_url: str
    run_url: str
    settings_url: str

    @property
    def need(self) -> int:
        """How many records need somebody."""
        return self.run.failed

    @property
    def subject(self) -> str:
        """`[XTiger] Acme NZ: 208 synced, 3 need you`."""
        rest = f"{self.need} need you" if self.need else "nothing to do"
        if self.need == 1:
            rest = "1 needs you"
        name = " ".join(self.organisation.split())  # a header holds no line breaks
        return f"[XTiger] {name}: {self.run.succeeded} synced, {rest}"


def recipients(services: Services) -> list[str]:
    """Who gets the mail after each run."""
    with services.database.read() as session:
        chosen = profiles.setting(session, "report_recipients")
    return list(services.settings.report_recipients if chosen is None else chosen)


def set_recipients(services: Services, addresses: Sequence[str], *, who: str) -> None:
    """Stores the addresses. Raises PermanentError naming those that aren't any."""
    cleaned = list(dict.fromkeys(address.strip() for address in addresses if address.strip()))
    bad = [
        address
        for address in cleaned
        if "@" not in parseaddr(address)[1] or any(sign in address for sign in "\r\n <>,;")
    ]
    if bad:
        raise PermanentError(f"Not an e-mail address: {', '.join(bad)}. Nothing was saved.")
    with services.database.write() as session:
        profiles.put_setting(
            session, "report_recipients", cleaned, who=who, now=services.clock.now()
        )


def report_ended(services: Services) -> None:
    """Reports every run that ended and isn't reported yet, and sends what waits.

    A worker that dies between the two leaves the run to the next look.
    """
    with services.database.read() as session:
        ended = logs.unreported_runs(session)
    for run_id in ended:
        report_run(services, run_id)
    send_waiting(services)


def report_run(services: Services, run_id: int) -> None:
    """Writes the mails of an ended run.

    A run that is reported already gets no second mail: (run, recipient) is unique.
    """
    addresses = recipients(services) if _worth(services, run_id) else []
    text = html = subject = ""
    if addresses:
        report = figures(services, run_id)
        subject = report.subject
        text = _render("after_sync.txt", report)
        html = _render("after_sync.html", report)
    now = services.clock.now()
    with services.database.write() as session:
        run = session.get_one(Run, run_id, with_for_update=True)
        run.reported = True
        present = {mail.recipient for mail in logs.mails_of_runs(session, [run_id]).get(run_id, [])}
        session.add_all(
            Mail(
                run_id=run_id,
                recipient=address,
                subject=subject,
                text=text,
                html=html,
                message_id=_message_id(services),
                state="waiting",
                tries=0,
                made_at=now,
            )
            for address in addresses
            if address not in present
        )


def _worth(services: Services, run_id: int) -> bool:
    """Whether a run says anything new: nothing done is no news, nor is the same trouble again."""
    with services.database.read() as session:
        run = session.get_one(Run, run_id)
        if run.succeeded + run.failed + run.unchanged + run.blocked:
            return True
        before = session.scalar(
            select(Run)
            .where(Run.organisation_id == run.organisation_id, Run.id < run_id)
            .order_by(Run.id.desc())
            .limit(1)
        )
        return run.trouble and (before is None or before.sentence != run.sentence)


def _message_id(services: Services) -> str:
    return make_msgid(domain=urlsplit(services.settings.public_url).hostname or "localhost")


def figures(services: Services, run_id: int) -> Report:
    """Counts a run from its log."""
    with services.database.read() as session:
        run = session.get_one(Run, run_id)
        organisation = session.get_one(Organisation, run.organisation_id)
        causes = logs.failures_by_cause(session, run_id)
        went = logs.entries_of_run(session, run_id, outcome=State.SUCCEEDED, limit=MOST_RECORDS)
        sums = logs.sums_by_currency(session, run_id)
    links = services.links
    return Report(
        organisation=organisation.name,
        run=run,
        sentence=run_sentence(run),
        sums=[money(amount, currency) for currency, amount in sorted(sums.items())],
        causes=[(sentence, count) for _cause, sentence, count in causes[:MOST_CAUSES]],
        more_causes=max(0, len(causes) - MOST_CAUSES),
        went=[_line(services, organisation, entry) for entry in went],
        more_went=max(0, run.succeeded - len(went)),
        queue_url=links.page("queue?state=failed"),
        run_url=links.page(f"runs/{run.id}"),
        settings_url=links.page("email-notification"),
    )


def run_sentence(run: Run) -> str:
    """What a manager must know first."""
    if run.succeeded + run.failed + run.unchanged + run.blocked == 0 and run.sentence:
        return run.sentence
    synced = f"{run.succeeded} synced"
    if run.failed:
        return f"{synced}, {run.failed} {'needs' if run.failed == 1 else 'need'} you."
    if run.blocked:
        return f"{synced}; {run.blocked} wait for another record."
    return f"{synced}, nothing to do."


def _line(services: Services, organisation: Organisation, entry: LogEntry) -> Line:
    resource = RESOURCE_OF[Module(entry.module)]
    url = services.links.xero(organisation, resource, entry.xero_id) if entry.xero_id else None
    amount = money(entry.amount, entry.currency) if entry.amount is not None else ""
    return Line(entry.label, entry.module, amount, url)


def money(amount: Decimal, currency: str | None) -> str:
    """NZD 1,150.00: always with its code, always with cents."""
    return f"{currency or ''} {Decimal(amount):,.2f}".strip()


def _render(name: str, report: Report) -> str:
    environment = Environment(
        loader=PackageLoader("xtiger.templates", "xtiger/mail"),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(report=report, run=report.run)


def send_waiting(services: Services) -> int:
    """Sends mails whose turn it is; answers with how many went. A failure waits and is retried."""
    if services.mail is None:
        return 0
    sent = 0
    now = services.clock.now()
    with services.database.read() as session:
        waiting = logs.waiting_mails(session, now=now)
    for mail in waiting:
        if not _claim(services, mail):
            continue
        state, why = "sent", None
        try:
            services.mail.send(
                Letter(mail.recipient, mail.subject, mail.text, mail.html, mail.message_id)
            )
            sent += 1
        except TransientError as failure:
            state, why = "waiting" if mail.tries + 1 < MOST_TRIES else "failed", failure.sentence
        except PermanentError as refusal:
            state, why = "failed", refusal.sentence
        except Exception as fault:
            # One letter that can't be written must not keep the others from going.
            log.exception("mail broke", recipient=mail.recipient)
            state = "waiting" if mail.tries + 1 < MOST_TRIES else "failed"
            why = f"It couldn't be sent: {type(fault).__name__}. The log says more."
        with services.database.write() as session:
            row = session.get_one(Mail, mail.id)
            row.state, row.why = state, why
            row.sent_at = services.clock.now() if state == "sent" else None
        if why:
            log.warning("mail not sent", recipient=mail.recipient, why=why)
    return sent


def _claim(services: Services, mail: Mail) -> bool:
    """Takes a mail for this process: counts the try and puts the next one off."""
    now = services.clock.now()
    with services.database.write() as session:
        row = session.get_one(Mail, mail.id, with_for_update=True)
        if row.state != "waiting" or (row.not_before and row.not_before > now):
            return False
        row.tries += 1
        # Longer than a sending can take, so that nobody else takes it meanwhile.
        pause = min(LONGEST_PAUSE, LONGEST_SENDING * 2 ** min(10, row.tries - 1))
        row.not_before = now + timedelta(seconds=pause)
        return True


def send_test(services: Services, address: str) -> str:
    """Sends the test mail now; answers with the page's sentence."""
    if services.mail is None:
        return "No mail server is set. Set XTIGER_MAIL_SERVER."
    clock = services.clock.now()
    body = "This address gets XTiger's sync reports."
    try:
        services.mail.send(
            Letter(
                address,
                "[XTiger] Test mail: this address works",
                body,
                f"<p>{body}</p>",
                _message_id(services),
            )
        )
    except (TransientError, PermanentError) as failure:
        return failure.sentence
    return f"Test mail sent to {address} at {clock:%H:%M} UTC by {services.settings.mail_server}."

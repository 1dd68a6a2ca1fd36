"""Reports: the mails as they were sent, and the same figures of any day, week or month."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, abort, make_response, request, url_for
from markupsafe import escape
from sqlalchemy import Select, select, text
from sqlalchemy.orm import Session, defer

from xtiger.domain.reporting import Kind
from xtiger.engine.reporting import letters
from xtiger.store.models import Mail, RunMail, Subscription
from xtiger.web import filters, lists, reports_figures, sheets
from xtiger.web.access import can, needs, who
from xtiger.web.actions import done, fault, go, name, spoken
from xtiger.web.errors import not_theirs
from xtiger.web.frame import clock_time, load, page, xt, zone
from xtiger.web.routes import Routes
from xtiger.web.words import say

routes = Routes()
#: The states of a mail as they are stored, and as the page says them.
STATES = {"sent": "Sent", "waiting": "Waiting", "failed": "Couldn't be sent"}
#: A rendered mail is a page of its own: it may look as it likes, and do nothing.
SHOWN_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
#: The columns of the exported file.
HEADER = (
    *("Written", "Sent", "Kind", "Organisation", "To", "Subject", "Status", "Reason"),
    *("Repeat asked for by", "Id"),
)
_FILTERS = ("kind", "state", "to", "from", "until")


def kinds() -> dict[str, str]:
    """The kinds of mail as people say them."""
    return {kind.value: say(f"mail.kinds.{kind.value}") for kind in Kind}


@dataclass(frozen=True, slots=True)
class Asked:
    """The query's filters: where no index serves one, each page looks through its window."""

    statement: Select[Any]
    narrow: tuple[lists.Test, ...]


def _asked(organisation_id: int | None) -> Asked:
    args = request.args
    narrow: list[lists.Test] = []
    if organisation_id is not None:
        narrow.append(Mail.organisation_id == organisation_id)
    if kind := filters.one_of("kind", args.get("kind"), kinds()):
        narrow.append(lists.plainly(Mail.kind) == kind)
    statement = select(Mail)
    state = filters.one_of("mail", args.get("state"), STATES)
    if state == "waiting":
        statement = statement.where(text("state = 'waiting'"))  # these have an index of their own
    elif state:
        narrow.append(lists.plainly(Mail.state) == state)
    if to := args.get("to", "").strip():
        narrow.append(Mail.recipient.icontains(to, autoescape=True))
    if (start := filters.day("from", args.get("from"), zone())) is not None:
        narrow.append(Mail.made_at >= start)
    if (end := filters.day("to", args.get("until"), zone(), later=1)) is not None:
        narrow.append(Mail.made_at < end)
    # A list shows no bodies, and fifty of them are megabytes.
    bodies = (defer(one) for one in (Mail.text, Mail.html, Mail.attachment))
    return Asked(statement.options(*bodies), tuple(narrow))


@routes.get("/reports")
@needs("reports")
def reports() -> Any:
    """The mails, newest first."""
    with xt().services.database.read() as session:
        frame = load(session)
        asked = _asked(frame.chosen.id if frame.chosen else None)
        found = lists.take(
            session, asked.statement, Mail.id, newest_first=True, narrow=asked.narrow
        )
    return page(
        "xtiger/reports.html",
        slice=found,
        looked=say("logs.looked", looked=f"{found.looked:,}") if found.looked else None,
        kinds=kinds(),
        kind_pairs=list(kinds().items()),
        state_pairs=list(STATES.items()),
        may_send=_may_send,
        filtered=any(request.args.get(one) for one in _FILTERS) or frame.chosen is not None,
        **reports_figures.form(frame),
    )


@routes.get("/reports.csv")
@needs("reports")
def reports_csv() -> Any:
    """Everything the filter matches."""
    database = xt().services.database
    with database.read() as session:
        frame = load(session)
        names = frame.names
        asked = _asked(frame.chosen.id if frame.chosen else None)
    words = kinds()

    def rows(_session: Session, mails: list[Mail]) -> Iterator[list[Any]]:
        for mail in mails:
            yield [
                mail.made_at,
                mail.sent_at,
                words.get(mail.kind, mail.kind),
                names.get(mail.organisation_id or 0, ""),
                mail.recipient,
                mail.subject,
                STATES.get(mail.state, mail.state),
                mail.why if mail.state != "sent" else "",
                mail.again_by or "",
                mail.message_id,
            ]

    every = lists.every(database, asked.statement.where(*asked.narrow), Mail.id, rows)
    return sheets.download("reports.csv", HEADER, every)


@routes.get("/reports/<int:mail_id>")
@needs("reports")
def report(mail_id: int) -> Any:
    """One mail with what became of it."""
    mail = _mail(mail_id)
    with xt().services.database.read() as session:
        frame = load(session)
        runs = session.scalars(
            select(RunMail.run_id).where(RunMail.mail_id == mail_id).order_by(RunMail.run_id)
        ).all()
    return page(
        "xtiger/report.html",
        mail=mail,
        may_send=_may_send(mail),
        kind=kinds().get(mail.kind, mail.kind),
        organisation=_about(mail, frame.names),
        runs=runs or ([mail.run_id] if mail.run_id else []),
        text=_without_link(mail, mail.text, say("mail.unsubscribe.hidden")),
        attached=len(_file(mail)),
        first=_kept(mail.again_of),
        crumbs=[("Reports", url_for("xtiger.reports"))],
    )


@routes.get("/reports/<int:mail_id>/shown")
@needs("reports")
def report_shown(mail_id: int) -> Any:
    """The mail's HTML as its reader saw it, in a response that can do nothing."""
    mail = _mail(mail_id)
    answer = make_response(_without_link(mail, mail.html, "#"))
    answer.headers["Content-Security-Policy"] = SHOWN_POLICY
    answer.headers["X-Frame-Options"] = "SAMEORIGIN"
    return answer


@routes.get("/reports/<int:mail_id>/file")
@needs("reports")
def report_file(mail_id: int) -> Any:
    """The file that went along."""
    mail = _mail(mail_id)
    if mail.attachment is None:
        abort(404)
    answer = Response(_file(mail), mimetype="text/csv")
    name = mail.attachment_name or "report.csv"
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


@routes.post("/reports/<int:mail_id>/again")
@needs("reports")
def report_again(mail_id: int) -> Any:
    """Sends it once more, to the same recipient only; managers only what was theirs."""
    mail = _mail(mail_id)
    if not _may_send(mail):
        own = who().email
        theirs = f" {say('mail.again.own', own=own)}" if own else ""
        not_theirs(say("mail.again.refused", recipient=mail.recipient) + theirs)
    if _stopped(mail):
        fault(say("mail.stopped.kept", recipient=mail.recipient))
        return go("report", mail_id=mail_id)
    with spoken():
        again = letters.send_again(xt().services, mail_id, who=name())
        if again.went is not None:
            done(say("mail.sent_again.went", time=clock_time(again.went)))
        elif again.waits is not None:
            done(say("mail.sent_again.waits", time=clock_time(again.waits)))
        else:
            done(say("mail.sent_again", recipient=mail.recipient))
        return go("report", mail_id=again.mail_id)
    return go("report", mail_id=mail_id)


def _may_send(mail: Mail) -> bool:
    """Whether who asks may send it again: an administrator any, others what was to them."""
    own = who().email.lower()
    return can("setup") or (bool(own) and mail.recipient.lower() == own)


def _stopped(mail: Mail) -> bool:
    """Whether its reader has stopped such mails: then nothing of the kind goes any more."""
    with xt().services.database.read() as session:
        row = session.get(Subscription, mail.subscription_id or 0)
    return row is not None and row.stopped_at is not None


def _about(mail: Mail, names: Mapping[int, str]) -> str:
    if mail.organisation_id is None:
        return "–" if mail.kind == Kind.TEST else say("mail.all")
    return names.get(mail.organisation_id, "–")


def _mail(mail_id: int) -> Mail:
    with xt().services.database.read() as session:
        mail = session.get(Mail, mail_id)
    return mail or abort(404)


def _kept(mail_id: int | None) -> int | None:
    """The number of a mail that is still kept."""
    with xt().services.database.read() as session:
        found: int | None = session.scalar(select(Mail.id).where(Mail.id == (mail_id or 0)))
    return found


def _without_link(mail: Mail, body: str, instead: str) -> str:
    """A body without the link that ends its reader's subscription: it is the reader's alone."""
    if not mail.unsubscribe:
        return body
    return body.replace(str(escape(mail.unsubscribe)), instead).replace(mail.unsubscribe, instead)


def _file(mail: Mail) -> bytes:
    return b"" if mail.attachment is None else zlib.decompress(mail.attachment)

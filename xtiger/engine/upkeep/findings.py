"""What the doctor looks at: each check says in plain words what doesn't hold and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from xtiger.domain.errors import XTigerError
from xtiger.engine.mapping import uses
from xtiger.engine.services import Services
from xtiger.store import invariants, profiles, structure
from xtiger.store.invariants import Row
from xtiger.store.models import Connection, Setting

#: Seconds after which a worker would have looked: work that waits longer has nobody.
GRACE = 60
#: Seconds within which a host that only has cron looks at what changed.
CRON = 600
#: Seconds by which clocks may differ: Xero remembers a key a minute longer than we rely on it.
APART = 30
#: Rows that a finding names.
NAMED = 5

_MEND = "Run: xtiger doctor --repair"
_WORKER = (
    "See that a worker runs (xtiger serve, xtiger worker, or xtiger sync --due by cron) and "
    "what its log says."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that doesn't hold.

    `rows` are how many rows break it, `named` the first of them; `repairable` means that
    `--repair` can mend it without a risk.
    """

    check: str
    sentence: str
    action: str
    rows: int
    named: tuple[str, ...] = ()
    repairable: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """One moment of the database, and what a check must know beside it."""

    session: Session
    services: Services
    now: datetime

    def ago(self, seconds: float) -> datetime:
        """The moment so many seconds before."""
        return self.now - timedelta(seconds=seconds)


def _names(rows: Sequence[Row], sign: str = "#") -> tuple[str, ...]:
    return tuple(f"{sign}{row.id}" for row in rows[:NAMED])


def _say(
    check: str,
    rows: Sequence[Row],
    one: str,
    many: str,
    action: str,
    *,
    sign: str = "#",
    repairable: bool = False,
) -> Iterator[Finding]:
    """A finding where there are rows; `many` holds their number as {}."""
    if rows:
        sentence = one if len(rows) == 1 else many.format(f"{len(rows):,}")
        yield Finding(check, sentence, action, len(rows), _names(rows, sign), repairable)


def _homeless(view: View) -> Iterator[Finding]:
    yield from _say(
        "organisation",
        invariants.homeless(view.session),
        "One open item belongs to an organisation that doesn't exist.",
        "{} open items belong to organisations that don't exist.",
        "Somebody deleted the organisation's row by hand: put it back from a backup, or cancel "
        "the items on the Queue page.",
    )


def _strange(view: View) -> Iterator[Finding]:
    yield from _say(
        "module",
        invariants.strange(view.session),
        "One open item is of a module or kind of Xero object that this version doesn't know.",
        "{} open items are of modules or kinds of Xero objects that this version doesn't know.",
        "Run the newest version of XTiger on every machine; an older one can't send them.",
    )


def _misplaced(view: View) -> Iterator[Finding]:
    yield from _say(
        "rank",
        invariants.misplaced(view.session),
        "One open item has another record's turn in a pass.",
        "{} open items have other records' turns in a pass.",
        _MEND,
        repairable=True,
    )


def _claimed(view: View) -> Iterator[Finding]:
    yield from _say(
        "running",
        invariants.claimed_by_nobody(view.session, now=view.now),
        "One item was claimed by a worker that is gone, and never sent.",
        "{} items were claimed by a worker that is gone, and never sent.",
        f"{_MEND} (the next worker does the same by itself)",
        repairable=True,
    )


def _stranded(view: View) -> Iterator[Finding]:
    yield from _say(
        "parents",
        invariants.stranded(view.session, now=view.now),
        "One item waits for another that has ended or is gone.",
        "{} items wait for others that have ended or are gone.",
        _MEND,
        repairable=True,
    )


def _circles(view: View) -> Iterator[Finding]:
    yield from _say(
        "circles",
        invariants.circles(view.session),
        "One item waits for itself.",
        "{} items wait for each other in a circle.",
        "Cancel one of them on the Queue page, mend the link between the records in the CRM, "
        "and add it again.",
    )


def _slots(view: View) -> Iterator[Finding]:
    yield from _say(
        "slots",
        invariants.wrong_slots(view.session),
        "One item doesn't hold the slot of its record as its state asks for.",
        "{} items don't hold the slots of their records as their states ask for.",
        "Cancel those that wait on the Queue page and add their records again. No version of "
        "XTiger does this: ask who wrote to the table.",
    )


def _twice(view: View) -> Iterator[Finding]:
    yield from _say(
        "waiting twice",
        invariants.waiting_twice(view.session),
        "One record waits twice for the same organisation; the younger item is named.",
        "{} records wait twice for the same organisation; the younger items are named.",
        "Cancel the younger ones on the Queue page; the older ones send the newest version.",
    )


def _calls(view: View) -> Iterator[Finding]:
    if profiles.pause_of_all(view.session) is not None:
        return
    patience = view.services.patience
    left, stuck = invariants.open_calls(
        view.session,
        now=view.now,
        young=view.ago(GRACE),
        old=view.ago(patience.look_up + patience.lease + GRACE),
    )
    yield from _say(
        "calls left",
        left,
        "One call to Xero was left open, and no worker finds out what came of it.",
        "{} calls to Xero were left open, and no worker finds out what came of them.",
        _WORKER,
        sign="call ",
    )
    yield from _say(
        "calls stuck",
        stuck,
        "One call to Xero stays open although a worker has its organisation.",
        "{} calls to Xero stay open although a worker has their organisation.",
        "Restart the worker; if it stays so, its log says why.",
        sign="call ",
    )


def _steps(view: View) -> Iterator[Finding]:
    yield from _say(
        "sent and waiting",
        invariants.out_of_step(view.session),
        "One item is in an open call but isn't claimed by it alone: it could be sent twice.",
        "{} items are in open calls but aren't claimed by them alone: they could be sent twice.",
        "Pause the organisation, look in Xero whether they arrived, and ask for help before you "
        "resume it.",
    )
    yield from _say(
        "bytes",
        invariants.without_bytes(view.session),
        "The bytes of one open call are gone, so that Xero can't be asked with them again.",
        "The bytes of {} open calls are gone, so that Xero can't be asked with them again.",
        "Pause the organisation, look in Xero whether its records arrived, and ask for help "
        "before you resume it.",
        sign="call ",
    )


def _bindings(view: View) -> Iterator[Finding]:
    yield from _say(
        "bound twice",
        invariants.bound_twice(view.session),
        "One binding shares its record or its Xero object with an older one.",
        "{} bindings share their records or their Xero objects with older ones.",
        "Look in Xero which object is the record's, and delete the other binding's row.",
        sign="binding ",
    )
    yield from _say(
        "bound nowhere",
        invariants.bound_nowhere(view.session),
        "One binding points to an organisation that doesn't exist.",
        "{} bindings point to organisations that don't exist.",
        "Somebody deleted the organisation's row by hand: put it back from a backup.",
        sign="binding ",
    )


def _runs(view: View) -> Iterator[Finding]:
    if profiles.pause_of_all(view.session) is not None:
        return
    yield from _say(
        "runs",
        invariants.idle_runs(view.session, now=view.now, asked_before=view.ago(GRACE)),
        "One run isn't over although nothing is left to send.",
        "{} runs aren't over although nothing is left to send.",
        f"{_MEND} (a worker does the same by itself)",
        sign="run ",
        repairable=True,
    )


def _archived(view: View) -> Iterator[Finding]:
    for row in profiles.organisations(view.session):
        for warning in uses.warnings(view.session, row.id):
            yield Finding(
                "archived",
                f"{row.name}: {warning.sentence}",
                "Choose another in the mapping or on the product or service, or restore it in "
                "Xero; then press Refresh on the page Xero Accounts.",
                max(1, warning.use.products + warning.use.services),
            )


def _outbox(view: View) -> Iterator[Finding]:
    # A host that only has cron looks once in a while.
    patience = max(CRON, 2 * view.services.settings.sync_interval)
    late = invariants.late_changes(view.session, before=view.ago(patience))
    if late:
        yield Finding(
            "outbox",
            f"{late:,} changes of the CRM wait to be looked at for more than "
            f"{max(1, patience // 60)} minutes.",
            _WORKER,
            late,
        )


def _positions(view: View) -> Iterator[Finding]:
    highest, counter = structure.used_positions(view.session)
    if counter < highest:
        yield Finding(
            "positions",
            f"The queue's counter stands at {counter}, but #{highest} was given already: places "
            "would be used again.",
            _MEND,
            highest - counter,
            repairable=True,
        )
    for table in structure.reusing_tables(view.session):
        yield Finding(
            "autoincrement",
            f"The table {table} gives the number of a deleted row again.",
            "Restore the table as xtiger migrate makes it in an empty database.",
            1,
            (table,),
        )


def _structure(view: View) -> Iterator[Finding]:
    for rule in structure.lost_rules(view.session):
        yield Finding(
            "rules",
            f"The rule {rule}, by which the database refuses wrong items, isn't there.",
            "Restore it as xtiger migrate makes it in an empty database.",
            1,
            (rule,),
        )
    indexes, unique = structure.lost_indexes(view.session)
    for index in indexes:
        # Making a unique one can fail over rows that break it: those come first.
        yield Finding(
            "unique indexes" if index.unique else "indexes",
            f"The index {index.name} isn't there as it should be.",
            "Mend what else is named here, then make it as xtiger migrate does in an empty "
            "database."
            if index.unique
            else f"{_MEND} (nobody can write to its table meanwhile)",
            1,
            (str(index.name),),
            repairable=not index.unique,
        )
    for rule in unique:
        yield Finding(
            "unique rules",
            f"The database doesn't keep {rule} unique.",
            "Restore the rule as xtiger migrate makes it in an empty database.",
            1,
            (rule,),
        )
    if indexes:
        return  # what they serve is slow for that reason
    for question in structure.slow_questions(view.session):
        yield Finding(
            "plans",
            f"The question “{question}” doesn't use its index, so that it costs more with every "
            "row.",
            f"{_MEND} (it renews the database's figures), then start the workers anew.",
            1,
            (question,),
            repairable=True,
        )


def _keys(view: View) -> Iterator[Finding]:
    ring = view.services.ring
    shut: list[str] = []
    for id, tokens in view.session.execute(select(Connection.id, Connection.tokens)):
        if tokens is not None and not _opens(partial(ring.open, tokens)):
            shut.append(f"connection {id}")
    for row in view.session.scalars(select(Setting).where(Setting.sealed.is_(True))):
        if not _opens(partial(ring.open, str(row.value).encode())):
            shut.append(f"setting {row.name}")
    if shut:
        yield Finding(
            "keys",
            f"The keys in use don't open what is stored: {', '.join(shut[:NAMED])}.",
            "Put the old key behind the new one in XTIGER_KEYS, or connect again under API "
            "details.",
            len(shut),
            tuple(shut[:NAMED]),
        )


def _opens(open: Callable[[], object]) -> bool:
    try:
        open()
    except XTigerError:
        return False
    return True


def _clocks(view: View) -> Iterator[Finding]:
    def differs(whose: str, seconds: float) -> Finding:
        way = "ahead of" if seconds > 0 else "behind"
        return Finding(
            "clocks",
            f"This machine's clock is {abs(seconds):,.0f} s {way} {whose}.",
            "Set the clocks of all machines by a time server (NTP).",
            1,
            (whose,),
        )

    theirs = invariants.database_clock(view.session)
    if theirs is not None:
        seconds = (view.services.clock.now() - theirs).total_seconds()
        if abs(seconds) > APART:
            yield differs("the database's", seconds)
    answer = invariants.last_answer(view.session)
    if answer is not None:
        try:
            seconds = (answer[1] - parsedate_to_datetime(answer[0])).total_seconds()
        except (TypeError, ValueError):
            seconds = 0.0  # a Date that can't be read tells nothing
        if abs(seconds) > APART + view.services.patience.call:
            yield differs("Xero's", seconds)
    ahead = invariants.beats_ahead(view.session, after=view.now + timedelta(seconds=APART))
    if ahead:
        yield Finding(
            "clocks",
            f"A worker's last beat is still to come: {', '.join(ahead[:NAMED])}.",
            "Set the clocks of all machines by a time server (NTP).",
            len(ahead),
            tuple(ahead[:NAMED]),
        )
    longest = timedelta(seconds=view.services.patience.lease + APART)
    yield from _say(
        "leases",
        invariants.leases_ahead(view.session, after=view.now + longest),
        "One organisation is leased for longer than any worker takes a lease.",
        "{} organisations are leased for longer than any worker takes a lease.",
        "Set the clocks of all machines by a time server (NTP); a lease that is left over ends "
        "by itself once its time has come.",
        sign="organisation ",
    )


#: Every check. Each yields what doesn't hold.
CHECKS: tuple[Callable[[View], Iterator[Finding]], ...] = (
    _homeless,
    _strange,
    _misplaced,
    _claimed,
    _stranded,
    _circles,
    _slots,
    _twice,
    _calls,
    _steps,
    _bindings,
    _runs,
    _outbox,
    _archived,
    _positions,
    _structure,
    _keys,
    _clocks,
)

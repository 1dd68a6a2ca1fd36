"""Queue: every transfer in order with its reason; retry, cancel, pause and resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import abort, request, url_for
from sqlalchemy import Select, select, text
from sqlalchemy.orm import Session

from xtiger.domain.queueing import ENDED, REMOVE, SENTENCES, State
from xtiger.domain.records import Module
from xtiger.engine.standing import reasons
from xtiger.store import leases, logs
from xtiger.store import queue as store
from xtiger.store.models import Attempt, AttemptElement, LogEntry, Organisation, QueueItem
from xtiger.store.schema import MOST_ROWS
from xtiger.web import filters, formats, lists, sheets
from xtiger.web.access import needs
from xtiger.web.actions import back, done, fault, go, name, spoken, ticked, whole
from xtiger.web.adding import cost
from xtiger.web.checking import sides
from xtiger.web.frame import Frame, load, now, page, xt
from xtiger.web.meeting import alike
from xtiger.web.pausing import pausables, pauses
from xtiger.web.routes import Routes
from xtiger.web.states import look
from xtiger.web.ui import fragment
from xtiger.web.words import places, say

routes = Routes()
#: The columns of the exported file.
HEADER = (
    "Place",
    "Organisation",
    "Module",
    "CRM id",
    "Record",
    "Action",
    "State",
    "Cause",
    "Sentence",
    "Tries",
    "Changes",
    "Run",
    "Requested by",
    "Added",
    "Changed",
)

#: The tabs in their order.
TABS = (
    State.PENDING,
    State.RUNNING,
    State.BLOCKED,
    State.FAILED,
    State.CHECK,
    State.SUCCEEDED,
    State.UNCHANGED,
    State.SUPERSEDED,
    State.CANCELLED,
)
#: What an item does in Xero, as the list says it.
ACTIONS = ("Create", "Update", REMOVE)
_ENDED = frozenset(state.value for state in ENDED)
#: The most items that one press may retry.
_MOST = 50_000
#: The filters that a query may carry, apart from tab and organisation.
_FILTERS = ("module", "action", "cause", "run", "q")
#: The most causes that the page offers to retry by themselves.
_CAUSES = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters of a request: what an index serves, and what only narrows that."""

    organisation_id: int | None
    cause: str | None
    narrow: tuple[lists.Test, ...] = ()
    text: lists.Test | None = None
    #: Items that the text names exactly: found at once, wherever they stand.
    exact: tuple[int, ...] = ()

    @property
    def tests(self) -> list[lists.Test]:
        """What no index serves, the text included."""
        return [*self.narrow, *([] if self.text is None else [self.text])]

    def statement(self, tab: str) -> tuple[Select[Any], list[lists.Test]]:
        """A tab's items as an index gives them, and what narrows them apart from `tests`."""
        of_cause = lists.plainly(QueueItem.cause) == self.cause
        mine = lists.plainly(QueueItem.organisation_id) == self.organisation_id
        narrow: list[lists.Test] = []
        if self.cause and tab in (State.FAILED, State.CHECK):
            statement = select(QueueItem).where(lists.REFUSED, QueueItem.cause == self.cause)
            narrow.append(lists.plainly(QueueItem.state) == tab)
        elif self.cause:
            statement = select(QueueItem) if tab == "all" else lists.in_state(tab)
            narrow.append(of_cause)
        elif tab == "all":
            statement = select(QueueItem)
        elif tab == State.PENDING:
            statement = lists.in_state(tab)
        else:
            return lists.in_state(tab, self.organisation_id), narrow
        if self.organisation_id is not None:
            narrow.append(mine)
        return statement, narrow

    def count(self, session: Session, tab: str) -> lists.Count | None:
        """How many items a tab has; None where finding that out would cost too much."""
        if not self.tests and not self.cause:
            return lists.count_state(session, tab, self.organisation_id)
        if tab in _ENDED:
            return None
        statement, narrow = self.statement(tab)
        return lists.count_narrow(session, statement, [*narrow, *self.tests])


def _kept(args: Mapping[str, str]) -> dict[str, str]:
    """The filters that mean something; what doesn't is told."""
    found = {one: args[one] for one in _FILTERS if args.get(one)}
    known = {
        "module": filters.one_of("module", args.get("module"), [one.value for one in Module]),
        "action": filters.one_of("action", args.get("action"), ACTIONS),
        "run": filters.number("run", args.get("run")),
    }
    return {one: value for one, value in found.items() if known.get(one, value) is not None}


def _asked(session: Session, args: Mapping[str, str], organisation_id: int | None) -> Asked:
    """The filters as a query or a form carries them."""
    kept = _kept(args)
    narrow: list[lists.Test] = []
    if "module" in kept:
        narrow.append(lists.plainly(QueueItem.module) == kept["module"])
    if "action" in kept:
        narrow.append(lists.plainly(QueueItem.action) == kept["action"])
    if "run" in kept:
        narrow.append(lists.plainly(QueueItem.run_id) == int(kept["run"]))
    asked = Asked(organisation_id, kept.get("cause"), tuple(narrow))
    words = kept.get("q", "").strip()
    if not words:
        return asked
    like = QueueItem.label.icontains(words, autoescape=True)
    return replace(asked, text=like, exact=tuple(_named(session, words)))


def _named(session: Session, words: str) -> list[int]:
    """The items whose place, or whose record's id, is this text; the newest fifty."""
    records = select(QueueItem.id).where(
        QueueItem.module.in_([one.value for one in Module]), QueueItem.record_id == words[:80]
    )
    found = set(session.scalars(records.order_by(QueueItem.id.desc()).limit(lists.ROWS)))
    position = whole(words.removeprefix("#"))
    if position is not None and session.get(QueueItem, position) is not None:
        found.add(position)
    return sorted(found)


def _reserve() -> int:
    return xt().services.settings.day_reserve


def _values(session: Session) -> dict[str, Any]:
    frame = load(session)
    asked = _asked(session, request.args, frame.chosen.id if frame.chosen else None)
    counts = {state.value: asked.count(session, state.value) for state in TABS}
    tab = request.args.get("state", "")
    if tab not in {*counts, "all"}:
        given, tab = tab, State.FAILED if counts[State.FAILED.value] else State.PENDING
        filters.one_of("state", given, (), shown=look(tab).word)
    newest_first = tab == "all" or tab in _ENDED
    found = _slice(session, asked, tab, newest_first=newest_first)
    failed = tab == State.FAILED.value
    return {
        "frame": frame,
        "counts": counts,
        "tab": tab,
        "slice": found,
        "looked": say("queue.looked", looked=f"{found.looked:,}") if found.looked else None,
        "reasons": reasons(session, found.rows, now(), reserve=_reserve()),
        "causes": _causes(session, asked, found.rows) if failed else [],
        "tabs": TABS,
        "filtered": any(request.args.get(one) for one in _FILTERS),
        "newest_first": newest_first,
        "active": bool(counts[State.RUNNING.value]),
        "pauses": pauses(session, frame),
    }


def _slice(session: Session, asked: Asked, tab: str, *, newest_first: bool) -> lists.Slice[Any]:
    """A page of a tab; what the text names exactly stands first, on the first page."""
    statement, narrow = asked.statement(tab)
    tests = [*narrow, *asked.tests]
    if asked.exact:
        tests.append(QueueItem.id.not_in(asked.exact))
    found = lists.take(session, statement, QueueItem.id, newest_first=newest_first, narrow=tests)
    if not asked.exact or lists.wanted() != (None, None):
        return found
    named = statement.where(QueueItem.id.in_(asked.exact), *narrow, *asked.narrow)
    return replace(found, rows=[*session.scalars(named.order_by(QueueItem.id)), *found.rows])


def _causes(
    session: Session, asked: Asked, rows: Sequence[QueueItem]
) -> list[tuple[str, str, lists.Count, str]]:
    """The causes on this page, how many records of the filter each holds up, and one of them."""
    found: dict[str, tuple[str, str, lists.Count, str]] = {}
    for row in rows:
        if not row.cause or row.cause in found or len(found) >= _CAUSES:
            continue
        number = lists.count(session, _failed(replace(asked, cause=row.cause)))
        found[row.cause] = (row.cause, row.sentence or "", number, row.label)
    return list(found.values())


def _failed(asked: Asked) -> Select[Any]:
    """The places of all that fails within the filters."""
    statement = select(QueueItem.id).where(lists.REFUSED, QueueItem.state == State.FAILED.value)
    if asked.cause:
        statement = statement.where(QueueItem.cause == asked.cause)
    if asked.organisation_id is not None:
        statement = statement.where(QueueItem.organisation_id == asked.organisation_id)
    if asked.exact:
        statement = statement.where(QueueItem.id.in_(asked.exact) | asked.text, *asked.narrow)
    else:
        statement = statement.where(*asked.tests)
    return statement


@routes.get("/queue")
@needs("queue.read")
def queue() -> Any:
    """The list."""
    with xt().services.database.read() as session:
        values = _values(session)
        pausable = pausables(session, load(session))
    chosen = values.pop("frame").chosen
    return page(
        "xtiger/queue.html",
        module_pairs=[(one.value, one.value) for one in Module],
        action_pairs=[(one, one) for one in ACTIONS],
        pausable=pausable,
        kept=_kept(request.args) | ({"org": chosen.id} if chosen else {}),
        **values,
    )


@routes.get("/queue/_live")
@needs("queue.read")
def queue_live() -> Any:
    """The list as it is now."""
    with xt().services.database.read() as session:
        values = _values(session)
    answer = fragment("xtiger/_queue.html", **values)
    answer.headers["X-Every"] = "1" if values["active"] else "10"
    return answer


@routes.get("/queue.csv")
@needs("queue.read")
def queue_csv() -> Any:
    """Everything the filter matches."""
    database = xt().services.database
    with database.read() as session:
        frame = load(session)
        names = frame.names
        asked = _asked(session, request.args, frame.chosen.id if frame.chosen else None)
    tab = request.args.get("state") or "all"
    statement, narrow = asked.statement(tab if tab in {state.value for state in TABS} else "all")
    statement = statement.where(*narrow, *asked.narrow)
    if asked.text is not None:
        statement = statement.where(QueueItem.id.in_(asked.exact) | asked.text)
    at, reserve = now(), _reserve()

    def rows(session: Session, items: list[QueueItem]) -> Iterator[list[Any]]:
        why = reasons(session, items, at, reserve=reserve)
        for item in items:
            yield [
                item.id,
                names.get(item.organisation_id, ""),
                item.module,
                item.record_id,
                item.label,
                item.action,
                item.state,
                item.cause,
                why.get(item.id) or item.sentence,
                item.tries,
                item.changes,
                item.run_id,
                item.requested_by,
                item.added_at,
                item.changed_at,
            ]

    return sheets.download(
        "queue.csv", HEADER, lists.every(database, statement, QueueItem.id, rows)
    )


@routes.post("/queue/bulk")
@needs("queue.act")
def queue_bulk() -> Any:
    """Retries or cancels the ticked rows, or the one whose button was pressed."""
    one = whole(request.form.get("retry_one"))
    ids = [one] if one is not None else [int(each) for each in ticked() if whole(each) is not None]
    if not ids:
        fault(say("queue.tick_first"))
        return back("queue")
    with spoken():
        if one is not None or request.form.get("action") == "retry":
            _say_retried(again(ids, who=name()))
        elif request.form.get("action") == "cancel":
            with xt().services.database.write() as session:
                count = store.cancel(session, ids, who=name())
            if count:
                done(say("queue.cancelled", count=formats.counted(count, "record")))
            else:
                fault(say("queue.cancelled.none"))
    return back("queue")


def again(ids: Sequence[int], *, who: str) -> list[QueueItem]:
    """Puts failed items back in their old places and, where Auto-sync is on, asks for a run."""
    services = xt().services
    ids = list(ids)[:_MOST]
    items: list[QueueItem] = []
    for start in range(0, len(ids), MOST_ROWS):
        chosen = QueueItem.id.in_(ids[start : start + MOST_ROWS])
        with services.database.write() as session:
            leases.lock(
                session, session.scalars(select(QueueItem.organisation_id).where(chosen).distinct())
            )
            failed = session.scalars(
                select(QueueItem).where(chosen, QueueItem.state == State.FAILED.value)
            ).all()
            store.retry(session, [item.id for item in failed], now=services.clock.now())
            items.extend(failed)
    touched = {item.organisation_id for item in items}
    with services.database.write() as session:
        leases.lock(session, touched)
        running = [
            row for row in _organisations(session, touched) if row.live_since and row.auto_sync
        ]
        for row in running:
            logs.ask_run(
                session, row.id, kind="instant", requested_by=who, now=services.clock.now()
            )
    for row in running:
        services.dispatcher.wake(row.id)
    return items


def _organisations(session: Session, ids: set[int]) -> Sequence[Organisation]:
    return session.scalars(select(Organisation).where(Organisation.id.in_(ids))).all()


def _say_retried(items: Sequence[QueueItem]) -> None:
    if not items:
        fault(say("queue.retried.none"))
        return
    positions = sorted(item.id for item in items)
    count = formats.counted(len(items), "record")
    said = say("queue.retried", count=count, places=places(positions[0], positions[-1]))
    with xt().services.database.read() as session:
        rows = _organisations(session, {item.organisation_id for item in items})
    if not all(row.live_since and row.auto_sync for row in rows):
        said = f"{said} {say('queue.retried.manual')}"
    done(said)


@routes.get("/queue/retry")
@needs("queue.act")
def queue_confirm() -> Any:
    """Asks before many records go again: how many, and whether the cause is gone."""
    with xt().services.database.read() as session:
        frame = load(session)
        asked = _asked(session, request.args, frame.chosen.id if frame.chosen else None)
        ids = _ids(session, asked)
        example = session.get(QueueItem, ids[0]) if ids and asked.cause else None
    if not ids:
        done(say("queue.gone"))
        return go("queue")
    calls = -(-len(ids) // 50)
    question = say(
        "queue.confirm",
        count=formats.counted(len(ids), "record"),
        calls=cost(calls, frame.shown[0] if len(frame.shown) == 1 else None),
    )
    if len(ids) == _MOST:
        question = f"{question} {say('queue.confirm.most', most=f'{_MOST:,}')}"
    return page(
        "xtiger/queue_confirm.html",
        count=len(ids),
        chosen=frame.chosen,
        scope=_scope(frame),
        cause=asked.cause,
        kept=list(_kept(request.args).items()),
        sentence=example.sentence if example else None,
        question=question,
    )


def _scope(frame: Frame) -> str | None:
    """To what the filters limit a press, where they do."""
    known = _kept(request.args)
    kept = [known[one] for one in ("module", "action", "q") if one in known]
    if "run" in known:
        kept.append(f"Run {known['run']}")
    if frame.chosen:
        kept.insert(0, frame.chosen.name)
    return say("queue.confirm.scope", scope=", ".join(kept)) if kept else None


def _ids(session: Session, asked: Asked) -> list[int]:
    """The places of what fails within the filters, oldest first, so many as one press retries."""
    statement = _failed(asked).order_by(QueueItem.id).limit(_MOST)
    return list(session.scalars(statement))


@routes.post("/queue/retry")
@needs("queue.act")
def queue_retry_all() -> Any:
    """Retries all that fail within the filters, if they are still as many as the person saw."""
    form = request.form
    organisation_id = whole(form.get("org"))
    kept = _kept(form)
    with spoken():
        with xt().services.database.read() as session:
            ids = _ids(session, _asked(session, kept, organisation_id))
        if len(ids) != whole(form.get("count")):
            fault(say("queue.moved", count=f"{len(ids):,}"))
            return go("queue_confirm", org=organisation_id, **kept) if ids else go("queue")
        _say_retried(again(ids, who=name()))
    return go("queue", org=organisation_id)


@routes.get("/queue/<int:position>")
@needs("queue.read")
def queue_item(position: int) -> Any:
    """One item: its place, what it waits for and what waits for it, its attempts."""
    with xt().services.database.read() as session:
        load(session)
        item = session.get(QueueItem, position)
        if item is None:
            abort(404)
        up: list[QueueItem] = []
        at = item
        while at.blocked_by and len(up) < 10:
            above = session.get(QueueItem, at.blocked_by)
            if above is None:
                break
            up.append(above)
            at = above
        down = session.scalars(
            select(QueueItem)
            .where(text("state = 'blocked'"), QueueItem.blocked_by == position)
            .order_by(QueueItem.id)
            .limit(50)
        ).all()
        attempts = session.execute(
            select(Attempt, AttemptElement)
            .join(AttemptElement, AttemptElement.attempt_id == Attempt.id)
            .where(AttemptElement.item_id == position)
            .order_by(Attempt.id)
            .limit(100)
        ).all()
        sentence = reasons(session, [item], now(), reserve=_reserve()).get(item.id) or item.sentence
        entries = _entries(session, item)
        two = sides(session, item, entries) if item.state == State.CHECK else None
        met = alike(session, item)
    return page(
        "xtiger/queue_item.html",
        item=item,
        up=list(reversed(up)),
        down=down,
        attempts=attempts,
        entries=entries,
        sentence=sentence or SENTENCES[State(item.state)],
        sides=two,
        alike=met,
        crumbs=[("Queue", url_for("xtiger.queue"))],
    )


def _entries(session: Session, item: QueueItem) -> Sequence[LogEntry]:
    """The log entries of an item, oldest first."""
    return session.scalars(
        select(LogEntry)
        # By the index on records: a record has few entries.
        .where(LogEntry.module == item.module, LogEntry.record_id == item.record_id)
        .where(lists.plainly(LogEntry.item_id) == item.id)
        .order_by(LogEntry.id)
        .limit(100)
    ).all()

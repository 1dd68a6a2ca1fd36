"""Queue: every transfer in order with its reason; retry, cancel, pause and resume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flask import abort, request, url_for
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from xtiger.domain.queueing import ENDED, OPEN, State
from xtiger.domain.records import Module
from xtiger.engine import connect
from xtiger.engine.standing import reason
from xtiger.store import logs, profiles
from xtiger.store import queue as store
from xtiger.store.models import Attempt, AttemptElement, LogEntry, Organisation, QueueItem
from xtiger.web import formats, lists, sheets
from xtiger.web.access import needs
from xtiger.web.actions import back, done, fault, go, name, spoken, ticked, whole
from xtiger.web.frame import load, page, xt
from xtiger.web.routes import Routes
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
_ENDED = frozenset(state.value for state in ENDED)
#: The most items that one press may retry.
_MOST = 50_000


def _filtered(statement: Select[Any], *, organisation_id: int | None) -> Select[Any]:
    """The query's filters, but not its tab."""
    args = request.args
    if organisation_id is not None:
        statement = statement.where(QueueItem.organisation_id == organisation_id)
    module = args.get("module", "")
    if module in {one.value for one in Module}:
        statement = statement.where(QueueItem.module == module)
    if args.get("action") in {"Create", "Update"}:
        statement = statement.where(QueueItem.action == args["action"])
    if args.get("cause"):
        statement = statement.where(QueueItem.cause == args["cause"])
    if (run_id := lists.whole("run")) is not None:
        statement = statement.where(QueueItem.run_id == run_id)
    text = args.get("q", "").strip()
    if text:
        position = whole(text.removeprefix("#"))
        matches = QueueItem.label.icontains(text, autoescape=True)
        if position is not None:
            matches = matches | (QueueItem.id == position) | (QueueItem.record_id == text)
        statement = statement.where(matches)
    return statement


def _in_tab(statement: Select[Any], tab: str) -> Select[Any]:
    return statement if tab == "all" else statement.where(QueueItem.state == tab)


def _filters_active() -> bool:
    return any(request.args.get(one) for one in ("module", "action", "cause", "run", "q"))


def _values(session: Session) -> dict[str, Any]:
    frame = load(session)
    organisation_id = frame.chosen.id if frame.chosen else None
    base = _filtered(select(QueueItem), organisation_id=organisation_id)
    counts = {
        state.value: lists.count(
            session, _in_tab(base, state.value).with_only_columns(QueueItem.id)
        )
        for state in TABS
    }
    tab = request.args.get("state", "")
    if tab not in {*counts, "all"}:
        tab = State.FAILED.value if counts[State.FAILED.value] else State.PENDING.value
    found = lists.take(
        session,
        _in_tab(base, tab),
        QueueItem.id,
        newest_first=tab == "all" or tab in _ENDED,
    )
    reasons = _reasons(session, found.rows)
    return {
        "frame": frame,
        "counts": counts,
        "total": sum(counts.values()),
        "tab": tab,
        "slice": found,
        "reasons": reasons,
        "causes": _causes(session, found.rows) if tab == State.FAILED.value else [],
        "tabs": TABS,
        "filtered": _filters_active(),
        "newest_first": tab == "all" or tab in _ENDED,
        "active": counts[State.RUNNING.value] > 0,
    }


def _reasons(session: Session, rows: Sequence[QueueItem]) -> dict[int, str]:
    """Why items wait that have no sentence of their own: for another record, or all of them."""
    now = xt().services.clock.now()
    owners = {row.id: row for row in profiles.organisations(session, chosen=None)}
    reasons = {item.id: reason(session, owners[item.organisation_id], item, now) for item in rows}
    return {position: why for position, why in reasons.items() if why}


def _causes(session: Session, rows: Sequence[QueueItem]) -> list[tuple[str, str, int]]:
    """The causes on this page with how many records each holds up."""
    found = []
    seen: set[str] = set()
    for row in rows:
        if not row.cause or row.cause in seen or len(seen) >= 5:
            continue
        seen.add(row.cause)
        found.append((row.cause, row.sentence or "", _count_cause(session, row.cause)))
    return found


def _failed(cause: str | None) -> Select[Any]:
    statement = select(QueueItem.id).where(QueueItem.state == State.FAILED.value)
    return statement.where(QueueItem.cause == cause) if cause else statement


def _count_cause(session: Session, cause: str | None) -> int:
    return lists.count(session, _failed(cause))


@routes.get("/queue")
@needs("queue.read")
def queue() -> Any:
    """The list."""
    with xt().services.database.read() as session:
        values = _values(session)
    values.pop("frame")
    pairs = [(one.value, one.value) for one in Module]
    return page("xtiger/queue.html", module_pairs=pairs, **values)


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
        statement = _filtered(
            select(QueueItem), organisation_id=frame.chosen.id if frame.chosen else None
        )
    tab = request.args.get("state") or "all"
    statement = _in_tab(statement, tab if tab in {state.value for state in TABS} else "all")

    def rows(_session: Session, items: list[QueueItem]) -> Iterator[list[Any]]:
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
                item.sentence,
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
    with services.database.write() as session:
        items: list[QueueItem] = []
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            failed = session.scalars(
                select(QueueItem).where(
                    QueueItem.id.in_(part), QueueItem.state == State.FAILED.value
                )
            ).all()
            store.retry(session, [item.id for item in failed], now=services.clock.now())
            items.extend(failed)
        running = [
            row
            for row in _organisations(session, {item.organisation_id for item in items})
            if row.live_since and row.auto_sync
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
    cause = request.args.get("cause") or None
    with xt().services.database.read() as session:
        load(session)
        count = _count_cause(session, cause)
        example = session.scalar(
            select(QueueItem.sentence).where(QueueItem.id.in_(_failed(cause).limit(1)))
        )
    if not count:
        done(say("queue.gone"))
        return go("queue")
    calls = -(-count // 50)
    return page(
        "xtiger/queue_confirm.html",
        cause=cause,
        count=count,
        sentence=example if cause else None,
        question=say(
            "queue.confirm",
            count=formats.counted(count, "record"),
            calls=formats.counted(calls, "call"),
        ),
    )


@routes.post("/queue/retry")
@needs("queue.act")
def queue_retry_all() -> Any:
    """Retries all that fail for a cause, if they are still as many as the person saw."""
    cause = request.form.get("cause") or None
    with spoken():
        with xt().services.database.read() as session:
            ids = list(session.scalars(_failed(cause).order_by(QueueItem.id)))
        if len(ids) != whole(request.form.get("count")):
            fault(say("queue.moved", count=formats.counted(len(ids), "record")))
            return go("queue_confirm", cause=cause) if ids else go("queue")
        _say_retried(again(ids, who=name()))
    return go("queue")


@routes.post("/queue/pause/<int:organisation_id>")
@needs("queue.act")
def queue_pause(organisation_id: int) -> Any:
    """Holds an organisation after the calls under way."""
    row = _organisation(organisation_id)
    with spoken():
        connect.pause(xt().services, organisation_id, who=name())
        done(say("queue.paused", organisation=row.name))
    return back("queue")


@routes.post("/queue/resume/<int:organisation_id>")
@needs("queue.act")
def queue_resume(organisation_id: int) -> Any:
    """Lets it go on, in order."""
    row = _organisation(organisation_id)
    with spoken():
        connect.resume(xt().services, organisation_id)
        done(say("queue.resumed", organisation=row.name))
    return back("queue")


def _organisation(organisation_id: int) -> Organisation:
    with xt().services.database.read() as session:
        row = session.get(Organisation, organisation_id)
    if row is None:
        abort(404)
    return row


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
            .where(QueueItem.blocked_by == position)
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
        sentence = _reasons(session, [item]).get(item.id) or item.sentence
        entries = _entries(session, position)
    return page(
        "xtiger/queue_item.html",
        item=item,
        up=list(reversed(up)),
        down=down,
        attempts=attempts,
        entries=entries,
        sentence=sentence,
        open_states={state.value for state in OPEN},
        crumbs=[("Queue", url_for("xtiger.queue"))],
    )


def _entries(session: Session, position: int) -> Sequence[LogEntry]:
    """The log entries of an item, oldest first."""
    return session.scalars(
        select(LogEntry).where(LogEntry.item_id == position).order_by(LogEntry.id).limit(100)
    ).all()

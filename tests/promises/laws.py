"""What must hold at every moment, after every step, and once everything has come to rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, text

from tests.promises.model_xero import Owner, version_of
from tests.promises.world import BrokenPromise, Life, World
from xtiger.domain import exactjson
from xtiger.domain.queueing import ENDED, OPEN, WAITING, State, allowed
from xtiger.domain.records import Module, RecordRef
from xtiger.domain.resources import Verb
from xtiger.engine.drain import URGENT
from xtiger.engine.standing import standings
from xtiger.ports import Call
from xtiger.store import journal, profiles
from xtiger.store.models import (
    Attempt,
    AttemptElement,
    Binding,
    LogEntry,
    Organisation,
    Profile,
    QueueItem,
    Run,
)

#: Xero remembers a key for six minutes; we replay for five.
KEY_LIVES = timedelta(minutes=5)

_OPEN = frozenset(state.value for state in OPEN)
_WAITING = frozenset(state.value for state in WAITING)
#: What holds a strict lane.
_HOLDS = frozenset({State.BLOCKED.value, State.FAILED.value, State.CHECK.value})
_ENDED = frozenset(state.value for state in ENDED)
#: What ends with an entry of its own in the log.
_LOGGED = frozenset({State.SUCCEEDED.value, State.UNCHANGED.value})

#: What `Laws.hold` reads; made once, since it reads after every step.
_ALL_ITEMS = select(QueueItem.__table__)
_ALL_CALLS = select(
    AttemptElement.item_id, AttemptElement.attempt_id, AttemptElement.place, Attempt.closed_at
).join(Attempt, Attempt.id == AttemptElement.attempt_id)
_ALL_BINDINGS = select(Binding.organisation_id, Binding.module, Binding.record_id, Binding.xero_id)
_ALL_ENTRIES = select(
    LogEntry.item_id, LogEntry.attempt_id, LogEntry.place, LogEntry.outcome, LogEntry.sentence
).order_by(LogEntry.id)
_NEW_STEPS = text(
    "SELECT id, item, before, after, tries_before, tries_after, paused FROM audit"
    " WHERE id > :seen ORDER BY id"
)

#: Everything a drain may write of an organisation.
_GUARDED = (QueueItem, Attempt, AttemptElement, Binding, LogEntry)


@dataclass(slots=True)
class Laws:
    """Holds a world to the queue's promises; remembers what it saw before."""

    world: World
    _ended: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    _places: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    #: By organisation and fence: what was due when that drain made its first claim.
    _due: dict[tuple[int, int], frozenset[int]] = field(default_factory=dict)
    #: What that drain has sent.
    _went: dict[tuple[int, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    #: The version each record's last new call carried.
    _sent: dict[tuple[int, Owner], int] = field(default_factory=dict)
    _keys: Counter[str] = field(default_factory=Counter)
    _audited: int = 0
    #: By item, how often it was counted as refused.
    _tries: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.world.xero.witness = self.witness
        self.world.heard = self.heard

    def say(self, what: str) -> None:
        """Notes a broken promise from inside the engine's own work."""
        self.world.broken.append(what)

    # -- while a call goes out --------------------------------------------------------------------

    def heard(self, step: str) -> None:
        """A drain has claimed: what is due now stood before whatever it sends from here on."""
        if step != "claimed":
            return
        with self.world.database.read() as session:
            for row in session.execute(
                select(Organisation.id, Organisation.fence, Organisation.holder)
            ):
                if row.holder and (row.id, row.fence) not in self._due:
                    self._due[row.id, row.fence] = frozenset(
                        session.scalars(
                            select(QueueItem.id).where(
                                QueueItem.organisation_id == row.id,
                                QueueItem.state == State.PENDING.value,
                                QueueItem.not_before.is_(None)
                                | (QueueItem.not_before <= self.world.clock.now()),
                            )
                        )
                    )

    def witness(self, tenant: str, call: Call) -> Sequence[Owner | None]:
        """Holds a call that goes out to the journal; answers with its elements' records."""
        nobody: list[Owner | None] = [None] * call.count
        if self.world.in_flight == 1 and self.world.database.engine.pool.checkedout():  # type: ignore[attr-defined]
            self.say("a call went out inside a transaction")
        with self.world.database.read() as session:
            attempt = session.scalar(
                select(Attempt).where(Attempt.idempotency_key == call.idempotency_key)
            )
            if attempt is None:
                self.say(f"a call of {call.resource} isn't in the journal")
                return nobody
            elements = journal.elements_of(session, attempt.id)
            chosen = [element.item_id for element in elements]
            rows = {
                row.id: row
                for row in session.execute(
                    select(QueueItem.__table__).where(
                        QueueItem.organisation_id == attempt.organisation_id
                    )
                )
            }
            others = session.execute(
                select(AttemptElement.item_id)
                .join(Attempt, Attempt.id == AttemptElement.attempt_id)
                .where(
                    text("closed_at IS NULL"),
                    Attempt.id != attempt.id,
                    Attempt.organisation_id == attempt.organisation_id,
                )
            ).all()
            bound = {
                (module, record)
                for module, record in session.execute(
                    select(Binding.module, Binding.record_id).where(
                        Binding.organisation_id == attempt.organisation_id
                    )
                )
            }
            rules = session.scalars(
                select(Profile).where(Profile.organisation_id == attempt.organisation_id)
            ).all()
            paused = {str(rule.module) for rule in rules if rule.paused_at}
            strict = {str(rule.module) for rule in rules if rule.strict}
            row = session.get_one(Organisation, attempt.organisation_id)
            everything = profiles.pause_of_all(session)
            run = session.get(Run, attempt.run_id) if attempt.run_id else None
        self._journalled(tenant, call, attempt, elements)
        items = [rows[one] for one in chosen]
        owners = [(each.module, each.record_id) for each in items]
        elsewhere = {(rows[one].module, rows[one].record_id) for (one,) in others if one in rows}
        if elsewhere & set(owners):
            self.say(f"{elsewhere & set(owners)} went out while another call of it was open")
        for item in items:
            if item.state != State.RUNNING.value:
                self.say(f"#{item.id} is {item.state} while its call goes out")
        self._keys[call.idempotency_key] += 1
        if self._keys[call.idempotency_key] == 1:
            self._first_time(attempt, call, items, owners, bound)
            alone = run is not None and run.urgency == URGENT
            # A run for single records leaves all others alone.
            its = {
                one: row
                for one, row in rows.items()
                if not alone or row.run_id == attempt.run_id or one in chosen
            }
            self._in_order(attempt, its, chosen, {one for (one,) in others}, bound, paused)
            self._in_its_time(attempt, row, everything and everything.at, len(others))
            self._strictly(items, rows, strict, {one for (one,) in others})
            self._went[attempt.organisation_id, attempt.fence].update(chosen)
            if alone and any(item.run_id != attempt.run_id for item in items):
                self.say(f"run {attempt.run_id} is for single records and took {chosen} along")
        return owners

    def _journalled(self, tenant: str, call: Call, attempt: Attempt, elements: Any) -> None:
        """What goes out is what was written down, for as long as it may."""
        what = f"attempt {attempt.id}"
        if attempt.closed_at is not None:
            self.say(f"{what} went out again after it was closed ({attempt.outcome})")
        if journal.body_of(attempt) != call.body or attempt.verb != call.verb.value:
            self.say(f"{what} went out with other bytes than were written down")
        if self.world.tenants[attempt.organisation_id] != tenant:
            self.say(f"{what} went to another organisation")
        if len(elements) != call.count:
            self.say(f"{what} has {len(elements)} elements and went out with {call.count}")
        if self.world.clock.now() - attempt.opened_at > KEY_LIVES:
            age = self.world.clock.now() - attempt.opened_at
            self.say(f"{what} went out {age} after it was opened")

    def _first_time(
        self, attempt: Attempt, call: Call, items: Any, owners: list[Owner], bound: set[Owner]
    ) -> None:
        """Creates are of what isn't bound; versions never go back."""
        for owner in owners:
            if call.verb is Verb.CREATE and owner in bound:
                self.say(f"{owner} is bound and goes out as a create")
        if call.verb is Verb.DELETE or not call.body:
            return
        payloads = exactjson.loads(call.body)[call.resource.value]
        for owner, payload in zip(owners, payloads, strict=True):
            version = version_of(call.resource, payload)
            key = (attempt.organisation_id, owner)
            if version is None:
                continue
            if version < self._sent.get(key, 0):
                self.say(f"{owner} v{version} goes out behind its v{self._sent[key]}")
            self._sent[key] = version

    def _in_order(
        self,
        attempt: Attempt,
        rows: dict[int, Row[Any]],
        chosen: list[int],
        in_calls: set[int],
        bound: set[Owner],
        paused: set[str],
    ) -> None:
        """Nothing of the same rank that stood there before is overtaken."""
        if chosen != sorted(chosen):
            self.say(f"attempt {attempt.id} has its elements out of order: {chosen}")
        last = rows[max(chosen)]
        hurried = any(rows[one].urgent for one in chosen)
        drain = (attempt.organisation_id, attempt.fence)
        before, went = self._due.get(drain, frozenset()), self._went[drain]
        for row in rows.values():
            if row.id in chosen or row.id > last.id or row.rank != last.rank:
                continue
            # One that was sent by this drain already goes again with its next pass.
            waits = row.state == State.PENDING.value and row.id in before - went
            waits = waits and row.module not in paused and not (hurried and not row.urgent)
            if waits:
                self.say(f"#{last.id} goes out ahead of #{row.id}, which was due before")
            verb = Verb.UPDATE if (row.module, row.record_id) in bound else Verb.CREATE
            ready = row.state == State.RUNNING.value and row.id not in in_calls
            if ready and verb.value == attempt.verb and not (hurried and not row.urgent):
                self.say(f"#{last.id} goes out ahead of #{row.id}, which was claimed with it")

    def _in_its_time(
        self, attempt: Attempt, row: Organisation, everything: datetime | None, others: int
    ) -> None:
        """Nothing new goes out during a pause, a limit of Xero's, or while a call is open."""
        for pause in (row.paused_at, everything):
            if pause is not None and pause < attempt.opened_at:
                self.say(f"attempt {attempt.id} was opened after {row.name} was paused")
        if row.held_until and row.held_until > attempt.opened_at and row.held_by_xero:
            self.say(f"attempt {attempt.id} was opened while {row.name} waits for Xero's limits")
        if others and self.world.in_flight == 1:
            self.say(f"attempt {attempt.id} was opened while another call is open")

    def _strictly(
        self, items: Any, rows: dict[int, Row[Any]], strict: set[str], in_calls: set[int]
    ) -> None:
        """In a strict lane one call is under way, and what failed or waits holds the rest."""
        for item in items:
            if item.module not in strict:
                continue
            for row in rows.values():
                if row.module != item.module:
                    continue
                if row.id in in_calls:
                    self.say(f"#{item.id} goes out beside #{row.id}, in a strict lane")
                if row.id < item.id and row.state in _HOLDS:
                    self.say(f"#{item.id} goes out behind #{row.id}, which is {row.state}: strict")

    # -- after every step -------------------------------------------------------------------------

    def hold(self) -> None:
        """All that must be so whatever happened; raises BrokenPromise."""
        world = self.world
        world.xero.land()
        with world.database.read() as session:
            items = session.execute(_ALL_ITEMS).all()
            calls = session.execute(_ALL_CALLS).all()
            bound = session.execute(_ALL_BINDINGS).all()
            entries = session.execute(_ALL_ENTRIES).all()
            steps = session.execute(_NEW_STEPS, {"seen": self._audited}).all()
        self._steps(steps)
        self._items(items)
        self._calls(items, calls)
        self._bindings(bound)
        self._log(items, entries)
        if world.broken:
            raise BrokenPromise("\n".join(dict.fromkeys(world.broken)))

    def _steps(self, steps: Sequence[Row[Any]]) -> None:
        """No step is taken that the rules don't know."""
        for step in steps:
            self._audited = step.id
            changed = step.before != step.after
            self.world.figures[f"became {step.after}"] += changed
            if step.paused and step.after == State.RUNNING.value:
                self.say(f"#{step.item} was claimed while its module is paused")
            if changed and not allowed(State(step.before), State(step.after)):
                self.say(f"#{step.item} went from {step.before} to {step.after}")
            if step.tries_after > step.tries_before:
                self._tries[step.item] += step.tries_after - step.tries_before
                if step.before != State.RUNNING.value:
                    self.say(f"#{step.item} counts a try while it is {step.before}")

    def _items(self, items: Sequence[Row[Any]]) -> None:
        """Places are for ever, what has ended stays as it is, and one change waits at a time."""
        by_id = {row.id: row for row in items}
        for gone in self._places.keys() - by_id.keys():
            self.say(f"#{gone} is gone")
        open_of: dict[tuple[Any, ...], list[Row[Any]]] = defaultdict(list)
        for row in items:
            place = (row.organisation_id, row.module, row.record_id)
            if self._places.setdefault(row.id, place) != place:
                self.say(f"#{row.id} was {self._places[row.id]} and is {place}")
            if row.state in _ENDED:
                if self._ended.setdefault(row.id, tuple(row)) != tuple(row):
                    self.say(f"#{row.id} had ended and changed: {self._ended[row.id]} {row}")
            else:
                open_of[place].append(row)
            if row.state == State.BLOCKED.value:
                parent = by_id.get(row.blocked_by)
                if parent is None or parent.state in _ENDED:
                    self.say(f"#{row.id} waits for #{row.blocked_by}, which has ended")
        for place, rows in open_of.items():
            waiting = [row.id for row in rows if row.state in _WAITING]
            running = [row.id for row in rows if row.state == State.RUNNING.value]
            if len(waiting) > 1 or len(running) > 1:
                self.say(f"{place} is open as {waiting} and {running}")
            if waiting and running and waiting[0] < running[0]:
                self.say(f"{place}: #{running[0]} has overtaken #{waiting[0]}")

    def _calls(self, items: Sequence[Row[Any]], calls: Sequence[Row[Any]]) -> None:
        """What is in an open call is running, in that one alone."""
        states = {row.id: row.state for row in items}
        open_calls: dict[int, list[int]] = defaultdict(list)
        for element in calls:
            if element.closed_at is None:
                open_calls[element.item_id].append(element.attempt_id)
        for item, attempts in open_calls.items():
            if len(attempts) > 1:
                self.say(f"#{item} is in the open calls {attempts}")
            if states.get(item) != State.RUNNING.value:
                self.say(f"#{item} is {states.get(item)} and in the open call {attempts[0]}")

    def _bindings(self, bound: Sequence[Row[Any]]) -> None:
        """Each binding is of the object that this record's own call made."""
        for row in bound:
            kept = self.world.xero.books[self.world.tenants[row.organisation_id]].get(row.xero_id)
            if kept is not None and kept.owner != (row.module, row.record_id):
                self.say(f"{row.module}:{row.record_id} is bound to what {kept.owner} made")
        for name, values in (
            ("record", [row[:3] for row in bound]),
            ("object", [(row.organisation_id, row.xero_id) for row in bound]),
        ):
            twice = [value for value, count in Counter(map(tuple, values)).items() if count > 1]
            if twice:
                self.say(f"the same {name} is bound twice: {twice}")

    def _log(self, items: Sequence[Row[Any]], entries: Sequence[Row[Any]]) -> None:
        """Each outcome is told once, in a sentence; what counts as a try was refused."""
        # What a person said of an unclear one stands beside what came of it.
        told = Counter(
            (one.attempt_id, one.place)
            for one in entries
            if one.attempt_id and one.outcome != State.CHECK.value
        )
        for element, count in told.items():
            if count > 1:
                self.say(f"element {element} is in the log {count} times")
        outcomes: dict[int, list[str]] = defaultdict(list)
        for one in entries:
            outcomes[one.item_id].append(one.outcome)
            if not one.sentence:
                self.say(f"#{one.item_id}: its {one.outcome} is in the log without a sentence")
        for row in items:
            good = [one for one in outcomes[row.id] if one in _LOGGED]
            wanted = [row.state] if row.state in _LOGGED else []
            if good != wanted:
                self.say(f"#{row.id} is {row.state}, and the log says {outcomes[row.id]}")
            refused = outcomes[row.id].count(State.FAILED.value)
            if self._tries[row.id] > refused:
                self.say(f"#{row.id} counts {self._tries[row.id]} tries, {refused} were refused")

    def sentences(self) -> None:
        """Whoever looks at a record with something open is told why."""
        if self.world.crm.away:
            return  # nor could a page read the record
        refs = {RecordRef(Module(row.module), row.record_id) for row in self.leftovers()}
        records = self.world.crm.fetch_many(sorted(refs, key=str))
        for ref, one in standings(self.world.page, list(records.values())).items():
            if not one.sentence.strip() or "None" in one.sentence:
                self.say(f"{ref} stands there with “{one.sentence}”")

    # -- a worker that lost its lease -------------------------------------------------------------

    def guarded(self) -> dict[str, Any]:
        """All that only the holder of a lease may write."""
        with self.world.database.read() as session:
            kept: dict[str, Any] = {
                model.__tablename__: [
                    tuple(row)
                    for row in session.execute(select(model.__table__).order_by(model.id))
                ]
                for model in _GUARDED
            }
            kept["organisations"] = [
                tuple(row)
                for row in session.execute(
                    select(
                        Organisation.id,
                        Organisation.fence,
                        Organisation.held_until,
                        Organisation.held_why,
                        Organisation.held_times,
                    ).order_by(Organisation.id)
                )
            ]
        return kept

    def nothing_written(self, before: dict[str, Any], life: Life) -> None:
        """What a worker that lost its lease left behind: nothing."""
        after = self.guarded()
        fences = [[row[:2] for row in each["organisations"]] for each in (before, after)]
        if fences[0] != fences[1]:
            return  # it has taken a lease anew since
        for table, rows in before.items():
            if rows != after[table]:
                changed = [row for row in after[table] if row not in rows]
                self.say(f"{life.name} lost its lease and wrote {table}: {changed}")

    # -- at rest ----------------------------------------------------------------------------------

    def runs_tell_the_log(self) -> None:
        """The figures of every run that is over are what the log says."""
        with self.world.database.read() as session:
            runs = session.scalars(select(Run).where(Run.ended_at.is_not(None))).all()
            rows = session.execute(
                select(LogEntry.run_id, LogEntry.item_id, LogEntry.outcome).order_by(LogEntry.id)
            ).all()
        last: dict[int, dict[int, str]] = defaultdict(dict)
        for run_id, item_id, outcome in rows:
            last[run_id][item_id] = outcome
        for run in runs:
            found = Counter(last[run.id].values())
            said = {
                State.SUCCEEDED: run.succeeded,
                State.UNCHANGED: run.unchanged,
                State.BLOCKED: run.blocked,
            }
            failed = found[State.FAILED.value] + found[State.CHECK.value]
            wrong = [state for state, count in said.items() if found[state.value] != count]
            if wrong or failed != run.failed:
                self.say(f"run {run.id} says {said}, {run.failed} failed; the log {found}")

    def leftovers(self) -> list[Row[Any]]:
        """What is still open."""
        with self.world.database.read() as session:
            return list(
                session.execute(
                    select(QueueItem.__table__).where(QueueItem.state.in_(sorted(_OPEN)))
                )
            )

    def held_by_strictness(self) -> set[int]:
        """What waits in a strict lane behind something that failed or waits."""
        with self.world.database.read() as session:
            lanes = session.execute(
                select(Profile.organisation_id, Profile.module).where(Profile.strict.is_(True))
            ).all()
        held: set[int] = set()
        for lane in lanes:
            rows = [row for row in self.leftovers() if (row.organisation_id, row.module) == lane]
            first = min((row.id for row in rows if row.state in _HOLDS), default=None)
            held |= {row.id for row in rows if first is not None and row.id > first}
        return held

    def unanswered(self) -> int:
        """How many calls are open."""
        with self.world.database.read() as session:
            return len(session.scalars(select(Attempt.id).where(text("closed_at IS NULL"))).all())

    def held_until(self) -> datetime | None:
        """When the last hold ends."""
        with self.world.database.read() as session:
            found = session.scalars(select(Organisation.held_until)).all()
        return max((one for one in found if one), default=None)

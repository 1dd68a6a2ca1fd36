"""The state machine: what people, workers, Xero and bad luck do, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from sqlalchemy import select, update

from tests.promises.laws import Laws
from tests.promises.model_crm import Row
from tests.promises.model_xero import BREAKS, FAULTS, READ_FAULTS, REFUSED, Kept, Owner
from tests.promises.world import BrokenPromise, Life, World, Worlds
from xtiger.domain.errors import XTigerError
from xtiger.domain.queueing import REMOVE, State
from xtiger.domain.records import DocumentType, Module, RecordRef
from xtiger.domain.resources import RESOURCE_OF
from xtiger.engine import checking, intake, pausing, scheduler
from xtiger.engine.connection import connect
from xtiger.store import queue
from xtiger.store.models import Profile, QueueItem

#: How often a world is worked on until it must have come to rest.
ROUNDS = 25
#: Those that the CRM has.
MODULES = (Module.INVOICES, Module.CONTACTS, Module.PRODUCTS)
#: Longer than any lease, hold or look-up takes, except a day's limit.
LONG = 1000

WHICH = st.integers(0, 40)
#: What may happen at each kind of moment; in a transaction only the process can end.
HAPPENINGS = (
    "die",
    "overtaken",
    "edit",
    "delete",
    "untick",
    "tick",
    "retry",
    "cancel",
    "sync",
    "pause",
    "other",
)
SAVINGS = (
    "edits",
    "edits",
    "renames",
    "spoils",
    "mends",
    "deletes",
    "ticks",
    "unticks",
    "a contact",
    "a product",
    REFUSED,
    BREAKS,
)
COMMANDS = (
    "retries all",
    "retries one",
    "retries a cause",
    "cancels",
    "syncs",
    "syncs one",
    "pauses",
    "resumes",
    "resumes",
    "sets retries",
    "makes strict",
    "lets deletions remove",
    "connects again",
    "connects again",
    "looks in Xero",
)
#: What recovery is for.
LOSSES = ("lost before", "lost after", "late", "500 before", "500 after", "garbled")
#: Seconds: within the life of a key, after its replays, after Xero has forgotten it, much later.
SILENCES = (10, 310, 430, 1000)
#: How the next calls to Xero go.
LUCK = st.lists(
    st.sampled_from(LOSSES) | st.sampled_from(FAULTS) | st.just(""), min_size=0, max_size=3
)
MISHAPS = (
    "reading fails",
    "a stranger takes a name",
    "a person edits in Xero",
    "a person ends it in Xero",
    "Xero rounds a cent off",
    "the consent is revoked",
    "the CRM is away",
)
MOMENTS = ("claimed", "journalled", "answered", "settled", "sending", "sent", "replaying")


class Promises(RuleBasedStateMachine):
    """One world, and everybody in it."""

    worlds: ClassVar[Worlds]
    figures: ClassVar[Counter[str]]
    in_flight: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.world: World = self.worlds.make(in_flight=self.in_flight, figures=self.figures)
        self.laws = Laws(self.world)
        self.ticked: dict[RecordRef, bool] = {}
        #: Deleted records, and by organisation that their objects are to go from Xero.
        self.removing: set[tuple[RecordRef, int]] = set()
        #: Records a person took out of the queue, until they change again.
        self.excused: set[RecordRef] = set()
        self.figures["runs"] += 1

    # -- the CRM's users ------------------------------------------------------------------------

    @initialize(count=st.integers(1, 4), bill=st.booleans(), goods=st.booleans())
    def begins_with_documents(self, count: int, bill: bool, goods: bool) -> None:
        self.world.crm.add(Module.CONTACTS)
        if goods:
            self.world.crm.add(Module.PRODUCTS)
        for _each in range(count):
            self.adds_document(0, bill, False, goods, True)

    @rule(
        buyer=WHICH,
        bill=st.booleans(),
        abroad=st.booleans(),
        goods=st.booleans(),
        tick=st.booleans(),
    )
    def adds_document(self, buyer: int, bill: bool, abroad: bool, goods: bool, tick: bool) -> None:
        buyers, products = self._rows(Module.CONTACTS), self._rows(Module.PRODUCTS)
        if not buyers:
            return
        links = [buyers[buyer % len(buyers)].ref]
        if goods and products:
            links.append(products[buyer % len(products)].ref)
        row = self.world.crm.add(
            Module.INVOICES,
            links=tuple(links),
            bill=bill,
            currency="AUD" if abroad else "NZD",
        )
        self._tick(row.ref, tick, bill=bill)

    @rule(buyer=WHICH, count=st.integers(2, 7), bill=st.booleans())
    def adds_many(self, buyer: int, count: int, bill: bool) -> None:
        for _each in range(count):
            self.adds_document(buyer, bill, False, False, True)

    @rule(what=st.sampled_from(SAVINGS), which=WHICH)
    def a_user_saves(self, what: str, which: int) -> None:
        row = self._row(which)
        if what in ("a contact", "a product"):
            kind = Module.CONTACTS if what == "a contact" else Module.PRODUCTS
            self._tick(self.world.crm.add(kind).ref, True)
        elif what == "mends" or row is None:
            wrong = [row for row in self.world.crm.rows.values() if row.spoiled or row.poison]
            if wrong:
                self._edit(wrong[which % len(wrong)], spoiled=False, poison="")
        elif what == "renames":
            self._edit(row, name=f"{row.name}x")
        elif what == "spoils":
            self._edit(row, spoiled=True)
        elif what in (REFUSED, BREAKS):
            self._edit(row, poison=what)
        elif what == "deletes":
            self._delete(row)
        elif what in ("ticks", "unticks"):
            self._tick(row.ref, what == "ticks")
        else:
            self._edit(row)

    def _rows(self, module: Module) -> list[Row]:
        return [row for ref, row in self.world.crm.rows.items() if ref.module is module]

    def _row(self, which: int) -> Row | None:
        rows = list(self.world.crm.rows.values())
        return rows[-1 - which % len(rows)] if rows else None

    def _edit(self, row: Row, **fields: Any) -> None:
        self.excused.discard(row.ref)
        self.world.crm.edit(row, **fields)

    def _delete(self, row: Row) -> None:
        with self.world.database.read() as session:
            removing = session.scalars(
                select(Profile.organisation_id).where(
                    Profile.module == row.ref.module.value, Profile.deleted == "remove"
                )
            ).all()
        self.removing |= {(row.ref, one) for one in removing}
        self.world.crm.delete(row)

    def _tick(self, ref: RecordRef, allow: bool, *, bill: bool | None = None) -> None:
        kind = None if bill is None else DocumentType.BILL if bill else DocumentType.INVOICE
        with self._told():
            intake.set_flag(self.world.page, ref, who="Ana", allow=allow, document_type=kind)
            self.ticked[ref] = allow
            self.excused.discard(ref)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A page shows the sentence of what can't be done."""
        try:
            yield
        except XTigerError as told:
            if not told.sentence.strip():
                raise BrokenPromise(f"a page says nothing: {told!r}") from told

    # -- administrators -------------------------------------------------------------------------

    @rule(what=st.sampled_from(COMMANDS), which=WHICH)
    def an_administrator_does(self, what: str, which: int) -> None:
        failed = self._items(State.FAILED)
        one = failed[which % len(failed)] if failed else None
        match what:
            case "retries all":
                self._retry(failed)
            case "retries one" if one:
                self._retry([one])
            case "retries a cause" if one:
                self._retry([item for item in failed if item.cause == one.cause])
            case "cancels":
                items = self._items(State.PENDING, State.FAILED, State.BLOCKED)
                if items:
                    self._cancel(items[which % len(items)])
            case "syncs":
                self._sync()
            case "syncs one":
                self._sync_one(which)
            case "pauses":
                self._pause(which)
            case "resumes":
                self._resume()
            case "sets retries":
                self._set_profile(which, retries=which % 4)
            case "makes strict":
                self._set_profile(which, strict=bool(which % 2))
            case "lets deletions remove":
                self._set_profile(which, deleted="remove" if which % 2 else "leave")
            case "connects again" if not self.world.xero.consent.alive:
                self._connect()
            case "looks in Xero":
                self._answer_for_xero()

    def _answer_for_xero(self) -> None:
        """A person looks what became of unclear ones, and says what is true."""
        for item in self._items(State.CHECK):
            owner = (item.module, item.record_id)
            made = self.world.xero.made_for(self.world.tenants[item.organisation_id], owner)
            with self._told():
                checking.look(self.world.page, item.id, "Ana")
                if not made:
                    checking.not_there(self.world.page, item.id, "Ana")
                elif not made[0].ended:
                    checking.there(self.world.page, item.id, made[0].xero_id, "Ana")

    def _sync(self) -> None:
        with self._told():
            scheduler.sync_now(self.world.page, organisation_id=None, modules=None, who="Ana")
            self.excused.clear()

    def _sync_one(self, which: int) -> None:
        if row := self._row(which):
            with self._told():
                scheduler.sync_records(self.world.page, [row.ref], who="Ana")
                self.excused.discard(row.ref)

    def _connect(self) -> None:
        begun = connect.begin(self.world.page, who="Ana")
        args = {"state": begun.state, "code": "code"}
        connect.finish(self.world.page, sealed=begun.sealed, args=args, who="Ana")

    def _pause(self, which: int) -> None:
        """An organisation, one of its modules, or everything."""
        one, module = self._organisation(which), MODULES[which // 2 % len(MODULES)]
        where: list[dict[str, Any]] = [
            {"organisation_id": one},
            {"organisation_id": one, "module": module},
            {},
        ]
        pausing.pause(self.world.page, who="Ana", **where[which // 6 % 3])

    def _resume(self) -> None:
        """All of it."""
        pausing.resume(self.world.page, who="Ana")
        for one in self.world.tenants:
            pausing.resume(self.world.page, organisation_id=one, who="Ana")
            for module in MODULES:
                pausing.resume(self.world.page, organisation_id=one, module=module, who="Ana")

    def _set_profile(self, which: int, **values: Any) -> None:
        module, one = MODULES[which % len(MODULES)], self._organisation(which // 3)
        with self.world.database.write() as session:
            session.execute(
                update(Profile)
                .where(Profile.organisation_id == one, Profile.module == module.value)
                .values(**values)
            )
        if values.get("deleted") == "leave":
            # What was deleted just before may be read by the new rule.
            self.removing = {
                each for each in self.removing if (each[0].module, each[1]) != (module, one)
            }

    def _organisation(self, which: int) -> int:
        return list(self.world.tenants)[which % len(self.world.tenants)]

    def _items(self, *states: State) -> list[QueueItem]:
        with self.world.database.read() as session:
            return list(
                session.scalars(
                    select(QueueItem).where(QueueItem.state.in_(states)).order_by(QueueItem.id)
                )
            )

    def _retry(self, items: list[QueueItem]) -> None:
        with self.world.database.write() as session:
            queue.retry(session, [item.id for item in items], now=self.world.clock.now())

    def _cancel(self, item: QueueItem) -> None:
        with self.world.database.write() as session:
            if queue.cancel(session, [item.id], who="Ana"):
                ref = RecordRef(Module(item.module), item.record_id)
                self.excused.add(ref)
                self.removing.discard((ref, item.organisation_id))

    # -- workers --------------------------------------------------------------------------------

    @rule(asks=st.booleans(), luck=LUCK)
    def works(self, asks: bool, luck: list[str]) -> None:
        self.world.xero.script.extend(luck)
        self.world.beat(asks=asks)
        self.laws.sentences()

    @rule(nth=st.integers(0, 60), before=st.booleans())
    def dies_at_a_commit(self, nth: int, before: bool) -> None:
        self._interrupted("commit" if before else "written", nth, "die", 0)

    @initialize(seed=st.integers(0, 2**31))
    def begins_roughly(self, seed: int) -> None:
        """So that no history, however short, goes by in peace."""
        self.has_a_rough_hour(seed)

    @rule(seed=st.integers(0, 2**31))
    def has_a_rough_hour(self, seed: int) -> None:
        """Much at once, as the seed will have it: what single steps seldom bring together."""
        chance = Random(seed)
        for _each in range(chance.randint(1, 3)):
            which = chance.randint(0, 40)
            doing = chance.randint(0, 5)
            if doing <= 2:
                bill, abroad, goods = (chance.random() < 0.5 for _one in range(3))
                self.adds_document(which, bill, abroad and goods, goods, True)
            elif doing == 3:
                self.a_user_saves(chance.choice(SAVINGS), which)
            elif doing == 4:
                self.an_administrator_does(chance.choice(COMMANDS), which)
            else:
                self.something_else_goes_wrong(chance.choice(MISHAPS), which)
        if chance.random() < 0.5:
            self.world.xero.script.extend(chance.choices(("", *LOSSES, *FAULTS), k=2))
        # Weighted to what recovery is for; a work that ends sooner isn't interrupted at all.
        moment = chance.choice((*MOMENTS, "write", "commit", "commit"))
        nth = chance.randint(0, 1) if moment in MOMENTS else chance.randint(0, 25)
        happenings = (*["die"] * 6, *["overtaken"] * 3, *HAPPENINGS)
        what = "die" if moment == "commit" else chance.choice(happenings)
        self._interrupted(moment, nth, what, chance.randint(0, 40))
        self.world.clock.at += timedelta(seconds=chance.choice((1, 20, *SILENCES)))
        self.world.beat()

    @rule(
        loss=st.sampled_from(LOSSES),
        bill=st.booleans(),
        seconds=st.sampled_from(SILENCES),
        vain=st.booleans(),
    )
    def loses_an_answer(self, loss: str, bill: bool, seconds: int, vain: bool = False) -> None:
        """And nobody looks after it for a while. `vain`: then Xero doesn't tell what became."""
        self.adds_document(0, bill, False, False, True)
        self.world.beat()
        self.adds_document(0, bill, False, False, True)
        self.world.xero.script[:] = [loss]
        self.world.beat()
        self.world.clock.at += timedelta(seconds=seconds)
        if vain:
            self.world.clock.at += timedelta(seconds=3600)
            self.world.xero.read_script[:] = ["unreadable"] * 2
        self.world.beat()

    @rule(moment=st.sampled_from(MOMENTS), nth=st.integers(0, 3), luck=LUCK)
    def dies_at_a_step(self, moment: str, nth: int, luck: list[str]) -> None:
        self.world.xero.script.extend(luck)
        self._interrupted(moment, nth, "die", 0)

    @rule(
        moment=st.sampled_from(MOMENTS),
        nth=st.integers(0, 3),
        what=st.sampled_from(HAPPENINGS),
        which=WHICH,
        luck=LUCK,
    )
    def is_interrupted(self, moment: str, nth: int, what: str, which: int, luck: list[str]) -> None:
        self.world.xero.script.extend(luck)
        self._interrupted(moment, nth, what, which)

    @rule(nth=st.integers(0, 60), what=st.sampled_from(HAPPENINGS), which=WHICH)
    def is_interrupted_anywhere(self, nth: int, what: str, which: int) -> None:
        self._interrupted("write", nth, what, which)

    def _interrupted(self, moment: str, nth: int, what: str, which: int) -> None:
        """A worker's work with something in the middle of it, if it comes so far."""
        if what == "overtaken" and moment == "sending":
            # Nobody can stand still between the last look at the clock and the wire: what has
            # left is at Xero within the time a call may take ("late").
            moment = "journalled"
        life = self.world.life()
        kept: list[dict[str, Any]] = []

        def happens(life: Life) -> None:
            self.figures[f"in the middle: {what}"] += 1
            self._happens(life, what, which)
            if life.stale:
                kept.append(self.laws.guarded())

        life.plan = (moment, nth, happens)
        self.world.beat(life)
        if kept:
            self.laws.nothing_written(kept[0], life)

    def _happens(self, life: Life, what: str, which: int) -> None:
        items = self._items(State.PENDING, State.FAILED, State.BLOCKED)
        row = self._row(which)
        doings: dict[str, Callable[[], object]] = {
            "die": life.die,
            "overtaken": lambda: self.world.overtakes(life),
            "edit": lambda: row and self._edit(row),
            "delete": lambda: row and self._delete(row),
            "untick": lambda: row and self._tick(row.ref, False),
            "tick": lambda: row and self._tick(row.ref, True),
            "retry": lambda: self._retry(self._items(State.FAILED)),
            "cancel": lambda: items and self._cancel(items[which % len(items)]),
            "sync": lambda: self._sync_one(which),
            "pause": lambda: self._pause(which),
            "other": self.world.beat,
        }
        doings[what]()

    @rule(seconds=st.sampled_from([1, 30, 61, 200, 301, 430, 4000, 90_000]))
    def waits(self, seconds: int) -> None:
        self.world.clock.at += timedelta(seconds=seconds)

    # -- Xero, and bad luck -----------------------------------------------------------------------

    @rule(faults=st.lists(st.sampled_from(["", *FAULTS]), min_size=1, max_size=4))
    def xero_fails(self, faults: list[str]) -> None:
        self.world.xero.script.extend(faults)

    @rule(what=st.sampled_from(MISHAPS), which=WHICH)
    def something_else_goes_wrong(self, what: str, which: int) -> None:
        row, objects = self._row(which), self._ours()
        match what:
            case "reading fails":
                self.world.xero.read_script.append(READ_FAULTS[which % len(READ_FAULTS)])
            case "a stranger takes a name" if row:
                for tenant in self.world.tenants.values():
                    self.world.xero.stranger(tenant, RESOURCE_OF[row.ref.module], row.name)
            case "a person edits in Xero" if objects:
                self.world.xero.person_edits(objects[which % len(objects)])
            case "a person ends it in Xero" if objects:
                self.world.xero.person_ends(objects[which % len(objects)])
            case "Xero rounds a cent off" if row:
                self.world.xero.cents.add(row.name)
            case "the consent is revoked":
                self.world.xero.revoke(client_id="", secret="", refresh_token="")
            case "the CRM is away":
                self.world.crm.away += 1

    def _ours(self) -> list[Kept]:
        return [
            kept
            for tenant in self.world.tenants.values()
            for kept in self.world.xero.objects(tenant)
            if kept.owner is not None and not kept.ended
        ]

    # -- the promises ---------------------------------------------------------------------------

    @invariant()
    def promises_hold(self) -> None:
        self.laws.hold()

    def teardown(self) -> None:
        try:
            # An example that failed already needs no second verdict.
            if not self.world.broken:
                self.comes_to_rest()
        finally:
            with self.world.database.read() as session:
                self.figures["items"] += len(session.scalars(select(QueueItem.id)).all())
            self.figures["calls"] += self.world.xero.calls
            self.figures["faults"] += sum(self.world.xero.played.values())

    def comes_to_rest(self) -> None:
        """Faults end, then causes too: everything arrives, or says why it can't."""
        self.world.xero.settle_down()
        self.world.crm.away = 0
        for row in [row for row in self.world.crm.rows.values() if row.poison == BREAKS]:
            self._edit(row, poison="")
        if not self.world.xero.consent.alive:
            self._connect()
        self._resume()
        self._works_on(retrying=False)
        self._all_arrived(mended=False)
        self.laws.runs_tell_the_log()
        self.laws.hold()
        for row in list(self.world.crm.rows.values()):
            if row.spoiled or row.poison:
                self._edit(row, spoiled=False, poison="")
        self.world.xero.strangers_leave()
        with self.world.database.write() as session:
            # What can't be mended here would hold a strict lane for good.
            session.execute(update(Profile).values(strict=False))
        self._answer_for_xero()
        self._sync()
        self._works_on(retrying=True)
        self._all_arrived(mended=True)
        self.laws.runs_tell_the_log()
        self.laws.hold()

    def _works_on(self, *, retrying: bool) -> None:
        """Workers work until nothing is left that they could do."""
        for again in range(ROUNDS):
            if retrying:
                self._retry(self._items(State.FAILED))
            self.world.clock.at += timedelta(seconds=LONG)
            self.world.beat()
            self.laws.hold()
            held = self.laws.held_by_strictness()
            busy = [
                item for item in self._items(State.PENDING, State.RUNNING) if item.id not in held
            ]
            failed = self._items(State.FAILED) if retrying and again < 3 else []
            if not busy and not failed and not self.laws.unanswered():
                self.laws.sentences()
                return
        said = [(item.id, item.state, item.sentence) for item in busy]
        raise BrokenPromise(f"stuck: {said}, {self.laws.unanswered()} calls open")

    def _all_arrived(self, *, mended: bool) -> None:
        """What is selected is in Xero as it is now, or something open says why not."""
        crm, left = self.world.crm, self.laws.leftovers()
        faults = []
        told = {}
        for item in left:
            told[item.organisation_id, item.module, item.record_id] = item
            if not item.sentence and item.state != State.PENDING:
                faults.append(f"#{item.id} {item.state} has no sentence")
        for ref, one, newest in self._selected():
            row = crm.rows[ref]
            made = self.world.xero.made_for(self.world.tenants[one], _owner(ref))
            if made and (not newest or made[-1].versions[-1] == row.version):
                continue
            item = told.get((one, *_owner(ref)))
            if item is None and not mended and ref in self.excused:
                continue
            if item is None:
                faults.append(f"{ref} v{row.version} is lost: {[each.versions for each in made]}")
            elif mended and not self._hopeless(ref, one):
                faults.append(f"{ref} v{row.version} is {item.state}: {item.sentence}")
        for item in left:
            gone = RecordRef(Module(item.module), item.record_id) not in crm.rows
            if gone and item.action != REMOVE and item.state != State.CHECK:
                faults.append(f"#{item.id} is {item.state} though its record was deleted")
        for ref, one in sorted(self.removing, key=str):
            made = self.world.xero.made_for(self.world.tenants[one], _owner(ref))
            left_there = [kept.data for kept in made if not kept.ended]
            if left_there and (mended or (one, *_owner(ref)) not in told):
                faults.append(f"{ref} was deleted and is in Xero still: {left_there}")
        if faults:
            raise BrokenPromise("\n".join(faults))

    def _selected(self) -> Iterator[tuple[RecordRef, int, bool]]:
        """(record, organisation, whether its newest version must be there)."""
        one, two = self.world.tenants
        for ref, row in self.world.crm.rows.items():
            if not self.ticked.get(ref):
                continue
            if ref.module is not Module.INVOICES:
                yield ref, one, True
                yield ref, two, True
                continue
            where = two if row.currency == "AUD" else one
            yield ref, where, True

    def _hopeless(self, ref: RecordRef, one: int) -> bool:
        """Whether a person must mend it in Xero, or choose another parent."""
        row = self.world.crm.rows.get(ref)
        if row is None:
            return True
        made = self.world.xero.made_for(self.world.tenants[one], _owner(ref))
        return any(kept.ended for kept in made) or any(
            self._hopeless(parent, one) for parent in row.links
        )


def _owner(ref: RecordRef) -> Owner:
    return (ref.module.value, ref.id)


def described(figures: Counter[str]) -> str:
    """What a whole run came to, for the summary."""
    names = ("runs", "calls", "items", "crashes", "stalls", "faults")
    return ", ".join(f"{figures[name]:,} {name}" for name in names)

"""The queue's promises, each as one statement can break it: places, merging, parents, ends."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tests.store.conftest import NOW, add_organisation, ref, refused
from xtiger.domain.queueing import ENDED, OPEN, State, allowed
from xtiger.domain.records import Module, RecordRef
from xtiger.store import claims, queue
from xtiger.store.models import QueueItem
from xtiger.store.schema import Database

RANK = 50


class Line:
    """One organisation's queue, each step a transaction of its own."""

    def __init__(self, database: Database, organisation: int) -> None:
        self.database = database
        self.organisation = organisation

    def add(self, *refs: RecordRef, **more: Any) -> list[int]:
        entries = [queue.Entry(self.organisation, one, label=str(one), **more) for one in refs]
        with self.database.write() as session:
            places = queue.enqueue(session, entries, now=NOW)
        return [places[one] for one in refs]

    def claim(self, limit: int = 10, rank: int = RANK, after: int = 0) -> list[claims.Claimed]:
        with self.database.write() as session:
            return claims.claim(
                session,
                self.organisation,
                rank=rank,
                up_to=claims.mark(session),
                after=after,
                limit=limit,
                now=NOW,
                run_id=None,
            )

    def park(self, item: claims.Claimed, state: State, **more: Any) -> None:
        with self.database.write() as session:
            queue.park(session, item, state, cause="c", sentence="No.", **more)

    def end(self, item: claims.Claimed | int, state: State) -> None:
        with self.database.write() as session:
            queue.end(session, [item if isinstance(item, int) else item.id], state)

    def item(self, place: int) -> QueueItem:
        with self.database.read() as session:
            return session.get_one(QueueItem, place)

    def states(self, places: Sequence[int]) -> list[str]:
        return [self.item(place).state for place in places]


@pytest.fixture
def line(database: Database, organisation: int) -> Line:
    return Line(database, organisation)


def test_a_newer_change_merges_at_the_old_position(line: Line) -> None:
    first, second = line.add(ref(1), ref(2))
    assert line.add(ref(1)) == [first]
    assert line.item(first).changes == 2
    assert [item.id for item in line.claim()] == [first, second]


def test_there_is_one_open_item_for_a_record_in_each_organisation(
    line: Line, database: Database
) -> None:
    other = Line(database, add_organisation(database, "Thames Supplies"))
    [here], [there] = line.add(ref(1)), other.add(ref(1))
    assert here != there
    with refused(database, IntegrityError) as session:
        twin = line.item(here)
        session.add(
            QueueItem(
                organisation_id=twin.organisation_id,
                module=twin.module,
                record_id=twin.record_id,
                resource=twin.resource,
                rank=twin.rank,
                slot=twin.slot,
                added_at=NOW,
                changed_at=NOW,
            )
        )


def test_a_change_during_a_call_opens_a_second_item(line: Line) -> None:
    [first] = line.add(ref(1))
    line.claim()
    [second] = line.add(ref(1))
    assert second > first
    assert line.states([first, second]) == ["running", "pending"]


def test_a_failed_item_takes_the_newer_version_and_the_second_is_superseded(line: Line) -> None:
    [first] = line.add(ref(1))
    [item] = line.claim()
    [second] = line.add(ref(1))
    line.park(item, State.FAILED, counts=True)
    assert line.states([first, second]) == ["pending", "superseded"]
    assert (line.item(first).tries, line.item(first).changes) == (0, 2)


def test_what_waited_for_the_superseded_item_waits_for_the_older_one(line: Line) -> None:
    [parent] = line.add(ref(1, Module.CONTACTS))
    [running] = line.claim(rank=20)
    [second] = line.add(ref(1, Module.CONTACTS))
    [child] = line.add(ref(7))
    [claimed] = line.claim()
    line.park(claimed, State.BLOCKED, blocked_by=second)
    line.park(running, State.FAILED, counts=True)
    assert (line.item(child).state, line.item(child).blocked_by) == ("blocked", parent)


def test_a_failed_item_without_a_newer_change_stays_failed_and_counts_a_try(line: Line) -> None:
    [place] = line.add(ref(1))
    [item] = line.claim()
    line.park(item, State.FAILED, counts=True)
    kept = line.item(place)
    assert (kept.state, kept.tries, kept.sentence, kept.slot) == ("failed", 1, "No.", "Invoices:1")


def test_a_failed_item_whose_record_changes_goes_again_in_its_old_place(line: Line) -> None:
    [old] = line.add(ref(1))
    [item] = line.claim()
    line.park(item, State.FAILED, counts=True)
    younger = line.add(*(ref(n) for n in range(2, 12)))
    assert line.add(ref(1)) == [old]
    assert [one.id for one in line.claim(limit=20)] == [old, *younger]


def test_a_retried_item_goes_ahead_of_everything_younger(line: Line) -> None:
    [old] = line.add(ref(1))
    [item] = line.claim()
    line.park(item, State.FAILED, counts=True)
    younger = line.add(*(ref(n) for n in range(2, 12)))
    with line.database.write() as session:
        assert queue.retry(session, [old, *younger], now=NOW) == 1
    assert [one.id for one in line.claim(limit=20)] == [old, *younger]


def test_the_schedule_retries_as_often_as_the_profile_says(line: Line) -> None:
    [place] = line.add(ref(1))
    for tries in (1, 2, 3):
        [item] = line.claim()
        line.park(item, State.FAILED, counts=True)
        with line.database.write() as session:
            queue.retry_by_schedule(session, line.organisation, Module.INVOICES, most=2, now=NOW)
        assert line.item(place).state == ("pending" if tries <= 2 else "failed")


def test_an_unclear_item_is_never_due_again_by_itself(line: Line) -> None:
    [place] = line.add(ref(1))
    [item] = line.claim()
    line.park(item, State.CHECK)
    with line.database.write() as session:
        queue.retry(session, [place], now=NOW)
        queue.cancel(session, [place], who="Ana")
    line.add(ref(1))
    assert line.item(place).state == "check"
    assert line.claim() == []


def test_items_are_claimed_in_the_order_of_their_positions_in_chunks(line: Line) -> None:
    places = line.add(*(ref(n) for n in range(7)))
    first = line.claim(limit=3)
    second = line.claim(limit=3, after=first[-1].id)
    assert [one.id for one in [*first, *second]] == places[:6]
    rows = [line.item(one.id) for one in first]
    assert all(one.slot is None and one.state == "running" for one in rows)


def test_what_came_after_the_pass_began_is_left_to_the_next(line: Line) -> None:
    [old] = line.add(ref(1))
    with line.database.read() as session:
        mark = claims.mark(session)
    line.add(ref(2))
    with line.database.write() as session:
        claimed = claims.claim(
            session,
            line.organisation,
            rank=RANK,
            up_to=mark,
            after=0,
            limit=9,
            now=NOW,
            run_id=None,
        )
    assert [one.id for one in claimed] == [old]


@pytest.mark.parametrize("end", [State.SUCCEEDED, State.UNCHANGED, State.CANCELLED])
def test_the_end_of_a_parent_releases_its_children_at_their_places(line: Line, end: State) -> None:
    [parent] = line.add(ref(1, Module.CONTACTS))
    children = line.add(ref(1), ref(2))
    for item in line.claim():
        line.park(item, State.BLOCKED, blocked_by=parent)
    assert line.claim() == []
    line.claim(rank=20)
    line.end(parent, end)
    assert [one.id for one in line.claim()] == children


def test_a_child_blocked_by_a_parent_that_ended_meanwhile_is_released(line: Line) -> None:
    [parent] = line.add(ref(1, Module.CONTACTS))
    [child] = line.add(ref(1))
    [item] = line.claim()
    line.claim(rank=20)
    line.end(parent, State.SUCCEEDED)
    line.park(item, State.BLOCKED, blocked_by=parent)
    with line.database.write() as session:
        queue.release_stranded(session, line.organisation)
    assert line.item(child).state == "pending"


def test_a_waiting_item_can_be_taken_out_and_one_in_a_call_cannot(line: Line) -> None:
    places = line.add(ref(1), ref(2))
    line.claim(limit=1)
    with line.database.write() as session:
        assert queue.cancel(session, places, who="Ana") == 1
    assert line.states(places) == ["running", "cancelled"]
    assert line.item(places[1]).sentence == "Taken out by Ana."


def test_dropping_a_record_leaves_what_is_in_a_call_and_ends_what_waits_behind_it(
    line: Line,
) -> None:
    [first] = line.add(ref(1))
    line.claim()
    [second] = line.add(ref(1))
    with line.database.write() as session:
        dropped = queue.drop(session, line.organisation, ref(1), sentence="Not ticked.")
    assert dropped == [second]
    assert line.states([first, second]) == ["running", "cancelled"]
    assert line.item(second).sentence == "Not ticked."


@pytest.mark.parametrize("before", State)
def test_the_database_takes_the_steps_of_the_state_machine_and_no_others(
    line: Line, before: State
) -> None:
    [parent] = line.add(ref(99))

    def shaped(state: State) -> dict[str, Any]:
        return {
            "state": state.value,
            "slot": f"s{state}" if state in OPEN and state is not State.RUNNING else None,
            "blocked_by": parent if state is State.BLOCKED else None,
        }

    taken: dict[State, bool] = {}
    for number, after in enumerate(State):
        if after is before:
            continue
        with line.database.write() as session:
            whole = {name: getattr(line.item(parent), name) for name in _COLUMNS}
            place = 1000 + number
            session.execute(insert(QueueItem).values(whole | {"id": place} | shaped(before)))
        try:
            with line.database.write() as session:
                change = update(QueueItem).where(QueueItem.id == place).values(shaped(after))
                session.execute(change)
            taken[after] = True
        except IntegrityError:
            taken[after] = False
        with line.database.write() as session:
            session.execute(delete(QueueItem).where(QueueItem.id == place))
    assert taken == {after: allowed(before, after) for after in State if after is not before}


#: What a row must say.
_COLUMNS = [column.name for column in QueueItem.__table__.columns]


@pytest.mark.parametrize("ended", ENDED)
def test_an_ended_item_never_changes_again(line: Line, ended: State) -> None:
    [place] = line.add(ref(1))
    [item] = line.claim()
    line.end(item, ended)
    for state in OPEN:
        if state is not State.RUNNING:
            line.park(item, state)
    for state in ENDED:
        line.end(item, state)
    with line.database.write() as session:
        queue.retry(session, [place], now=NOW)
        queue.cancel(session, [place], who="Ana")
    assert line.item(place).state == ended.value
    assert not any(allowed(ended, state) for state in State)


def test_a_record_that_changes_after_its_item_ended_gets_a_new_one(line: Line) -> None:
    [first] = line.add(ref(1))
    [item] = line.claim()
    line.end(item, State.SUCCEEDED)
    [second] = line.add(ref(1))
    assert second > first


def test_a_position_is_never_given_twice(line: Line) -> None:
    [first] = line.add(ref(1))
    with line.database.write() as session:
        session.delete(session.get_one(QueueItem, first))
    [second] = line.add(ref(2))
    assert second > first


def test_put_back_items_are_due_again_and_count_no_try(line: Line) -> None:
    places = line.add(ref(1), ref(2))
    items = line.claim()
    with line.database.write() as session:
        queue.put_back(session, items)
    assert [one.id for one in line.claim()] == places
    assert [line.item(place).tries for place in places] == [0, 0]


def test_selections_own_choice_outlives_the_need_of_a_document(line: Line) -> None:
    [place] = line.add(ref(1), needed=True)
    line.add(ref(1), needed=False)
    line.add(ref(1), needed=True)
    assert line.item(place).needed is False


def test_only_a_runs_own_items_are_claimed_where_a_run_is_named(line: Line) -> None:
    places = line.add(ref(1), ref(2))
    with line.database.write() as session:
        claims.reserve(session, line.organisation, [ref(2)], run_id=7)
        mark = claims.mark(session)
        assert (
            claims.due_ranks(
                session, line.organisation, up_to=mark, now=NOW, narrow=claims.Narrow(only_run=8)
            )
            == []
        )
        claimed = claims.claim(
            session,
            line.organisation,
            rank=RANK,
            up_to=mark,
            after=0,
            limit=9,
            now=NOW,
            run_id=7,
            narrow=claims.Narrow(only_run=7),
        )
    assert [one.id for one in claimed] == places[1:]


def test_the_counts_tell_every_state(line: Line) -> None:
    line.add(ref(1), ref(2), ref(3))
    line.claim(limit=1)
    with line.database.read() as session:
        found = queue.counts(session, line.organisation)
        total = session.scalar(select(func.count()).select_from(QueueItem))
    assert (found[State.PENDING], found[State.RUNNING], found[State.FAILED]) == (2, 1, 0)
    assert sum(found.values()) == total


def test_an_item_taken_out_between_reading_and_claiming_is_not_claimed(
    line: Line, database: Database
) -> None:
    """PostgreSQL lets both transactions read; the claim must look again when it writes."""
    if database.url.get_backend_name() == "sqlite":
        pytest.skip("on SQLite only one transaction writes at a time")
    places = line.add(ref(1), ref(2))
    with database.write() as other:
        other.execute(
            update(QueueItem).where(QueueItem.id == places[0]).values(state="cancelled", slot=None)
        )
        claimed = _while_waiting(line, other)
    assert [one.id for one in claimed()] == places[1:]
    assert line.states(places) == ["cancelled", "running"]


def _while_waiting(line: Line, other: Any) -> Any:
    """Starts a claim that waits for the other transaction's row, then lets that one commit."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(line.claim)
    sleep(0.3)
    assert not future.done()
    return future.result

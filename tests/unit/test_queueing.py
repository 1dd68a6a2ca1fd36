"""States and batches of the queue, as rules without a database."""

from hypothesis import given
from hypothesis import strategies as st

from xtiger.domain.queueing import ENDED, OPEN, Planned, State, allowed, batches
from xtiger.domain.resources import Verb


def test_an_ended_item_never_changes_again() -> None:
    assert not [(a, b) for a in ENDED for b in State if allowed(a, b)]


def test_every_open_state_can_end() -> None:
    for state in OPEN:
        assert any(allowed(state, end) for end in ENDED)


def test_what_is_unclear_is_never_sent_again_by_itself() -> None:
    assert not allowed(State.CHECK, State.RUNNING)
    assert not allowed(State.FAILED, State.RUNNING)


elements = st.lists(
    st.tuples(st.sampled_from(Verb), st.integers(10, 900), st.sampled_from([0, 0, 0, 1, 3, 9])),
    min_size=1,
    max_size=200,
).map(lambda rows: [Planned(place, *row) for place, row in enumerate(rows, 1)])


@given(elements)
def test_batches_keep_order_limits_and_every_element(planned: list[Planned]) -> None:
    made = batches(planned, most=50, most_bytes=10_000)
    assert sorted(one for batch in made for one in batch.positions) == [
        each.position for each in planned
    ]
    sizes = {each.position: each.size for each in planned}
    verbs = {each.position: each.verb for each in planned}
    doubts = {each.position: each.doubts for each in planned}
    for batch in made:
        (doubted,) = {doubts[one] for one in batch.positions}
        assert len(batch.positions) <= max(1, 50 >> doubted)
        assert list(batch.positions) == sorted(batch.positions)
        assert sum(sizes[one] for one in batch.positions) <= 10_000
        assert {verbs[one] for one in batch.positions} == {batch.verb}
    for verb in Verb:
        mine = [one for batch in made if batch.verb is verb for one in batch.positions]
        assert mine == sorted(mine), "an older element of a verb never goes after a younger one"
        # What may wait for more is the last of its verb, and nobody doubted it.
        waiting = [batch for batch in made if batch.verb is verb and not batch.full]
        assert all(batch.positions[-1] == mine[-1] for batch in waiting)
        assert not any(doubts[one] for batch in waiting for one in batch.positions)


def test_full_batches_are_as_few_as_can_be() -> None:
    planned = [Planned(place, Verb.CREATE, 10) for place in range(1, 121)]
    assert [len(batch.positions) for batch in batches(planned, most=50)] == [50, 50, 20]

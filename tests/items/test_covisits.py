"""Co-visitation: against plain dicts where rows have room, and by its bounds where they have not."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.items.covisits import CoVisits

ITEMS = 12
LENGTH = 4
WEIGHT = 12  # divisible by every step of a context of four, so that all weights are whole and sums exact


def fold(covisits: CoVisits, *visits: tuple[int, list[int]], weight: float = 1.0) -> None:
    """Fold in one batch of (item, context)."""
    contexts = np.full((len(visits), LENGTH), -1)
    for n, (_, context) in enumerate(visits):
        contexts[n, : len(context)] = context
    items = np.array([item for item, _ in visits], np.int64)
    covisits.add(items, contexts, np.full(len(visits), weight, np.float32))


def neighbours(covisits: CoVisits, item: int) -> dict[int, tuple[float, float]]:
    """Neighbour: (forward, together) of a row; each neighbour has one slot only."""
    held = covisits.neighbours[item].tolist()
    row = {
        other: (float(covisits.forward[item, slot]), float(covisits.together[item, slot]))
        for slot, other in enumerate(held)
        if other >= 0
    }
    assert len(row) == sum(other >= 0 for other in held), f"two slots for one neighbour: {held}"
    return row


class PlainCoVisits:
    """The definition, in plain dicts and without a bound."""

    def __init__(self) -> None:
        self.rows = defaultdict(lambda: defaultdict(lambda: (0.0, 0.0)))

    def add(self, item: int, context: list[int], weight: float) -> None:
        for step, other in enumerate(context, start=1):
            if other != item:
                self._add(other, item, weight / step, weight)
                self._add(item, other, 0.0, weight)

    def _add(self, x: int, y: int, forward: float, together: float) -> None:
        old = self.rows[x][y]
        self.rows[x][y] = (old[0] + forward, old[1] + together)

    def sums(self, x: int) -> tuple[float, float]:
        return sum(f for f, _ in self.rows[x].values()), sum(t for _, t in self.rows[x].values())


items = st.integers(0, ITEMS - 1)
visits = st.tuples(items, st.lists(items, max_size=LENGTH))
batches = st.lists(st.tuples(st.lists(visits, max_size=8), st.integers(1, 3)), max_size=8)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(batches)
def test_rows_with_room_hold_exactly_the_definition(batches):
    covisits, plain = CoVisits(ITEMS, ITEMS), PlainCoVisits()
    for batch, scale in batches:
        fold(covisits, *batch, weight=WEIGHT * scale)
        for item, context in batch:
            plain.add(item, context, WEIGHT * scale)
    for item in range(ITEMS):
        assert neighbours(covisits, item) == dict(plain.rows[item])
        assert (covisits.forward_sum[item], covisits.together_sum[item]) == plain.sums(item)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(visits, max_size=20))
def test_one_batch_or_one_visit_at_a_time_is_the_same_where_rows_have_room(visits):
    at_once, singly = CoVisits(ITEMS, ITEMS), CoVisits(ITEMS, ITEMS)
    fold(at_once, *visits, weight=WEIGHT)
    for visit in visits:
        fold(singly, visit, weight=WEIGHT)
    for item in range(ITEMS):
        assert neighbours(at_once, item) == neighbours(singly, item)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(batches, st.integers(1, 4))
def test_full_rows_stay_full_bounded_and_without_doubles(batches, slots):
    covisits, plain = CoVisits(slots, ITEMS), PlainCoVisits()
    for batch, _ in batches:
        fold(covisits, *batch, weight=WEIGHT)
        for item, context in batch:
            plain.add(item, context, WEIGHT)
        for item in range(ITEMS):
            held, true = neighbours(covisits, item), plain.rows[item]
            assert len(held) == min(slots, len(true))
            assert all(other in true for other in held)
            assert all(0 < together <= true[other][1] for other, (_, together) in held.items())
            assert all(forward <= true[other][0] for other, (forward, _) in held.items())
            assert (covisits.forward_sum[item], covisits.together_sum[item]) == plain.sums(item)


def test_the_next_item_counts_forward_and_both_count_together():
    covisits = CoVisits(4, 3)
    fold(covisits, (2, [1, 0]))
    assert neighbours(covisits, 0) == {2: (0.5, 1)}
    assert neighbours(covisits, 1) == {2: (1, 1)}
    assert neighbours(covisits, 2) == {1: (0, 1), 0: (0, 1)}


@pytest.mark.parametrize("visit", [(1, []), (1, [1])], ids=["no context", "itself"])
def test_an_item_without_company_adds_nothing(visit):
    covisits = CoVisits(4, 3)
    fold(covisits, visit)
    assert (covisits.neighbours == -1).all()
    assert not covisits.together_sum.any()


def test_an_empty_batch_adds_nothing():
    covisits = CoVisits(4, 3)
    fold(covisits)
    assert (covisits.neighbours == -1).all()


def test_a_full_row_gives_up_the_neighbour_least_often_together():
    covisits = CoVisits(2, 4)
    for item in (1, 1, 2, 3):
        fold(covisits, (item, [0]))
    assert neighbours(covisits, 0) == {1: (2, 2), 3: (1, 1)}


@pytest.mark.parametrize("visits", [[(0, [1]), (2, [0])], [(2, [0]), (0, [1])]], ids=["first", "last"])
def test_among_equals_a_full_row_gives_up_the_one_that_followed_least(visits):
    covisits = CoVisits(2, 4)
    for visit in visits:  # 1 came before 0, and 2 after it
        fold(covisits, visit)
    fold(covisits, (3, [0]))
    assert set(neighbours(covisits, 0)) == {2, 3}


def test_a_neighbour_that_comes_back_starts_from_nothing():
    covisits = CoVisits(1, 4)
    for item in (1, 1, 2, 1):
        fold(covisits, (item, [0]))
    assert neighbours(covisits, 0) == {1: (1, 1)}
    assert covisits.together_sum[0] == 4


def test_more_new_neighbours_at_once_than_slots_fill_the_row():
    covisits = CoVisits(3, 9)
    fold(covisits, *((item, [0]) for item in range(1, 9)))
    assert len(neighbours(covisits, 0)) == 3
    assert covisits.together_sum[0] == 8


@settings(deadline=None, derandomize=True, max_examples=50)
@given(batches, st.sets(items, min_size=1), st.integers(1, ITEMS))
def test_dropped_rows_are_gone_everywhere_and_others_keep_theirs(batches, dropped, slots):
    covisits = CoVisits(slots, ITEMS)
    for batch, _ in batches:
        fold(covisits, *batch)
    before = [neighbours(covisits, item) for item in range(ITEMS)]
    covisits.drop(np.array(sorted(dropped)))
    for item in range(ITEMS):
        kept = {} if item in dropped else {y: w for y, w in before[item].items() if y not in dropped}
        assert neighbours(covisits, item) == kept
    assert not covisits.together_sum[sorted(dropped)].any()
    assert not covisits.forward_sum[sorted(dropped)].any()
    assert not covisits.together[covisits.neighbours == -1].any()


def test_a_dropped_row_can_be_filled_anew():
    covisits = CoVisits(1, 3)
    fold(covisits, (1, [0]), (1, [0]))
    covisits.drop(np.array([1]))
    fold(covisits, (1, [0]))
    assert neighbours(covisits, 0) == {1: (1, 1)}
    assert neighbours(covisits, 1) == {0: (0, 1)}


def test_growing_keeps_what_is_there_and_makes_empty_rows():
    covisits = CoVisits(4, 2)
    fold(covisits, (1, [0]))
    covisits.grow(5)
    assert neighbours(covisits, 0) == {1: (1, 1)}
    assert (covisits.forward_sum[0], covisits.together_sum[1]) == (1, 1)
    assert [neighbours(covisits, item) for item in (2, 3, 4)] == [{}, {}, {}]
    fold(covisits, (4, [0]))
    assert set(neighbours(covisits, 0)) == {1, 4}

"""Co-visitation: against plain dicts where rows have room, and slot by slot against plain lists where they have not."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.items.covisitation import COOCCURRENCE, FORWARD, NEXT_VISIT, CoVisits, add_pairs

ITEMS = 12
LENGTH = 4
WEIGHT = 12  # divisible by every step of a context of four, so that all weights are whole and sums exact
NOBODY = -1


def fold(covisits: CoVisits, *visits: tuple[int, list[int]], weight: float = 1.0) -> None:
    """Fold in (item, context) one after the other."""
    for item, context in visits:
        rows = np.array(context + [NOBODY] * (LENGTH - len(context)), np.int32)
        add_pairs(covisits.neighbours, covisits.weights, covisits.sums, np.int32(item), rows, float(weight))


def neighbours(covisits: CoVisits, item: int) -> dict[int, tuple[float, float, float]]:
    """Neighbour: (forward, together, follow) of a row; each neighbour has one slot only."""
    held = covisits.neighbours[item].tolist()
    row = {other: tuple(covisits.weights[item, slot].tolist()) for slot, other in enumerate(held) if other >= 0}
    assert len(row) == sum(other >= 0 for other in held), f"two slots for one neighbour: {held}"
    return row


def sums(covisits: CoVisits, item: int) -> tuple[float, float, float]:
    return tuple(covisits.sums[item].tolist())


def pairs(item: int, context: list[int], weight: float):
    """The definition: what a visit adds, as (row, neighbour, forward, together, follow)."""
    for step, other in enumerate(context, start=1):
        if other not in (item, NOBODY):
            yield other, item, weight / step, weight, weight if step == 1 else 0.0
            yield item, other, 0.0, weight, 0.0


class Unbounded:
    """Weights and their sums in plain dicts."""

    def __init__(self) -> None:
        self.rows = defaultdict(lambda: defaultdict(lambda: (0.0, 0.0, 0.0)))

    def add(self, item: int, context: list[int], weight: float) -> None:
        for x, y, *more in pairs(item, context, weight):
            self.rows[x][y] = tuple(old + new for old, new in zip(self.rows[x][y], more, strict=True))

    def sums(self, x: int) -> tuple[float, ...]:
        return tuple(sum(weights[n] for weights in self.rows[x].values()) for n in range(3))


class Bounded:
    """Rows of at most so many slots, by falling together, those that have had theirs for longest first.

    A full row gives up its weakest, by together, then forward, then place.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.rows = defaultdict(list)

    def add(self, item: int, context: list[int], weight: float) -> None:
        for x, y, *more in pairs(item, context, weight):
            row, old = self.rows[x], (0.0, 0.0, 0.0)
            at = next((n for n, (other, _) in enumerate(row) if other == y), None)
            if at is not None:
                _, old = row.pop(at)
            elif len(row) == self.slots:
                row.pop(min(range(len(row)), key=lambda n: (row[n][1][COOCCURRENCE], row[n][1][FORWARD], n)))
            new = tuple(was + adds for was, adds in zip(old, more, strict=True))
            before = [other for other, weights in row if weights[COOCCURRENCE] >= new[COOCCURRENCE]]
            row.insert(len(before) if at is None else min(len(before), at), (y, new))


items = st.integers(0, ITEMS - 1)
visits = st.tuples(items, st.lists(items | st.just(NOBODY), max_size=LENGTH))
weighted = st.lists(st.tuples(visits, st.integers(1, 3)), max_size=40)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(weighted)
def test_rows_with_room_hold_exactly_the_definition(weighted):
    covisits, plain = CoVisits.empty(ITEMS, ITEMS), Unbounded()
    for (item, context), scale in weighted:
        fold(covisits, (item, context), weight=WEIGHT * scale)
        plain.add(item, context, WEIGHT * scale)
    for item in range(ITEMS):
        assert neighbours(covisits, item) == dict(plain.rows[item])
        assert sums(covisits, item) == plain.sums(item)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(weighted, st.integers(1, 4))
def test_full_rows_hold_slot_by_slot_what_giving_up_the_weakest_leaves(weighted, slots):
    covisits, plain = CoVisits.empty(ITEMS, slots), Bounded(slots)
    for (item, context), scale in weighted:
        fold(covisits, (item, context), weight=WEIGHT * scale)
        plain.add(item, context, WEIGHT * scale)
    for item in range(ITEMS):
        assert list(neighbours(covisits, item).items()) == plain.rows[item]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(weighted, st.integers(1, 4))
def test_full_rows_stay_full_and_below_the_truth_and_their_sums_stay_exact(weighted, slots):
    covisits, plain = CoVisits.empty(ITEMS, slots), Unbounded()
    for (item, context), scale in weighted:
        fold(covisits, (item, context), weight=WEIGHT * scale)
        plain.add(item, context, WEIGHT * scale)
    for item in range(ITEMS):
        held, true = neighbours(covisits, item), plain.rows[item]
        assert len(held) == min(slots, len(true))
        assert all(held[other][COOCCURRENCE] > 0 for other in held)
        assert all(weight <= most for other in held for weight, most in zip(held[other], true[other], strict=True))
        assert sums(covisits, item) == plain.sums(item)


def test_a_heavy_neighbour_stays_however_many_light_ones_come():
    covisits = CoVisits.empty(200, 4)
    fold(covisits, *[(1, [0])] * 3)
    fold(covisits, *((item, [0]) for item in range(2, 200)))
    assert neighbours(covisits, 0)[1] == (3, 3, 3)


def test_the_next_item_counts_forward_and_both_count_together():
    covisits = CoVisits.empty(3, 4)
    fold(covisits, (2, [1, 0]))
    assert neighbours(covisits, 0) == {2: (0.5, 1, 0)}
    assert neighbours(covisits, 1) == {2: (1, 1, 1)}
    assert neighbours(covisits, 2) == {1: (0, 1, 0), 0: (0, 1, 0)}


def test_an_item_behind_an_unknown_one_did_not_come_right_after():
    covisits = CoVisits.empty(3, 4)
    fold(covisits, (2, [NOBODY, 1]))
    assert neighbours(covisits, 1) == {2: (0.5, 1, 0)}
    assert covisits.sums[1, NEXT_VISIT] == 0


@pytest.mark.parametrize("visit", [(1, []), (1, [1])], ids=["no context", "itself"])
def test_an_item_without_company_adds_nothing(visit):
    covisits = CoVisits.empty(3, 4)
    fold(covisits, visit)
    assert (covisits.neighbours == NOBODY).all()
    assert not covisits.sums.any()


def test_a_full_row_gives_up_the_neighbour_least_often_together():
    covisits = CoVisits.empty(4, 2)
    for item in (1, 1, 2, 3):
        fold(covisits, (item, [0]))
    assert neighbours(covisits, 0) == {1: (2, 2, 2), 3: (1, 1, 1)}


@pytest.mark.parametrize("visits", [[(0, [1]), (2, [0])], [(2, [0]), (0, [1])]], ids=["first", "last"])
def test_among_equals_a_full_row_gives_up_the_one_that_followed_least(visits):
    covisits = CoVisits.empty(4, 2)
    for visit in visits:  # 1 came before 0, and 2 after it
        fold(covisits, visit)
    fold(covisits, (3, [0]))
    assert set(neighbours(covisits, 0)) == {2, 3}


def test_a_neighbour_that_comes_back_starts_from_nothing():
    covisits = CoVisits.empty(4, 1)
    for item in (1, 1, 2, 1):
        fold(covisits, (item, [0]))
    assert neighbours(covisits, 0) == {1: (1, 1, 1)}
    assert covisits.sums[0, COOCCURRENCE] == 4


def test_sums_count_single_visits_beyond_what_float32_can():
    covisits = CoVisits.empty(2, 4)
    covisits.sums[:] = 2**24
    fold(covisits, (1, [0]))
    assert covisits.sums[0].tolist() == [2**24 + 1] * 3


@settings(deadline=None, derandomize=True, max_examples=50)
@given(weighted, st.sets(items, min_size=1), st.integers(1, ITEMS))
def test_dropped_rows_are_gone_everywhere_and_others_keep_theirs(weighted, dropped, slots):
    covisits = CoVisits.empty(ITEMS, slots)
    fold(covisits, *(visit for visit, _ in weighted))
    before = [neighbours(covisits, item) for item in range(ITEMS)]
    covisits.drop(np.array(sorted(dropped)))
    for item in range(ITEMS):
        kept = {} if item in dropped else {y: w for y, w in before[item].items() if y not in dropped}
        assert neighbours(covisits, item) == kept
    assert not covisits.sums[sorted(dropped)].any()
    assert not covisits.weights[covisits.neighbours == NOBODY].any()


def test_a_dropped_row_can_be_filled_anew():
    covisits = CoVisits.empty(3, 1)
    fold(covisits, (1, [0]), (1, [0]))
    covisits.drop(np.array([1]))
    fold(covisits, (1, [0]))
    assert neighbours(covisits, 0) == {1: (1, 1, 1)}
    assert neighbours(covisits, 1) == {0: (0, 1, 0)}


def test_a_slot_that_became_free_is_taken_before_any_other_is_given_up():
    covisits = CoVisits.empty(5, 3)
    fold(covisits, *((item, [0]) for item in (1, 2, 3)))
    covisits.drop(np.array([2]))
    fold(covisits, (4, [0]))
    assert list(neighbours(covisits, 0)) == [1, 3, 4]


def test_growing_keeps_what_is_there_and_makes_empty_rows():
    covisits = CoVisits.empty(2, 4)
    fold(covisits, (1, [0]))
    covisits = covisits.with_capacity(5)
    assert neighbours(covisits, 0) == {1: (1, 1, 1)}
    assert (covisits.sums[0, FORWARD], covisits.sums[1, COOCCURRENCE]) == (1, 1)
    assert [neighbours(covisits, item) for item in (2, 3, 4)] == [{}, {}, {}]
    fold(covisits, (4, [0]))
    assert set(neighbours(covisits, 0)) == {1, 4}

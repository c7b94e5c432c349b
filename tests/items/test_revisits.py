"""Going back to an item: counts against their definition, and the rates that start from a prior."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.items.revisits import Revisits, count_revisit, immediate_repeat_rate, revisit_rate

ITEMS = 4
LENGTH = 3


def counted(*visits: tuple[int, tuple[int, ...]]) -> Revisits:
    """Returns after visits (item, context)."""
    returns = Revisits.empty(ITEMS)
    for item, context in visits:
        rows = np.array([*context, *[-1] * LENGTH][:LENGTH], np.int32)
        count_revisit(returns.counts, np.int32(item), rows)
    return returns


def test_a_visit_with_the_item_in_its_context_is_a_return():
    counts = counted((0, ()), (0, (1, 0)), (1, (0,))).counts
    assert counts[:, :2].tolist() == [[2, 1], [1, 0], [0, 0], [0, 0]]
    assert [revisit_rate(counts, row) for row in (0, 1, 2)] == pytest.approx([1.5 / 4, 0.5 / 3, 0.5 / 2])


def test_the_same_item_right_after_itself_is_a_stay():
    counts = counted((0, ()), (0, (0,)), (1, (0,)), (0, (1, 0))).counts
    assert counts[:, 2:].tolist() == [[2, 1], [1, 0], [0, 0], [0, 0]]
    assert [immediate_repeat_rate(counts, row) for row in (0, 1, 2)] == pytest.approx([1.5 / 4, 0.5 / 3, 0.5 / 2])


def test_an_item_twice_in_a_context_is_one_return():
    assert counted((0, (0, 1, 0))).counts[0].tolist() == [1, 1, 1, 1]


items = st.integers(0, ITEMS - 1)
visits = st.lists(st.tuples(items, st.lists(items | st.just(-1), max_size=LENGTH).map(tuple)), max_size=30)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(visits)
def test_counts_are_those_of_the_definition(visits):
    expected = [
        [
            sum(item == row for item, _ in visits),
            sum(item == row and row in context for item, context in visits),
            sum(context[:1] == (row,) for _, context in visits),
            sum(context[:1] == (row,) and item == row for item, context in visits),
        ]
        for row in range(ITEMS)
    ]
    assert counted(*visits).counts.tolist() == expected


def test_what_is_dropped_starts_anew_and_growing_keeps_the_rest():
    returns = counted((0, (0,)), (1, (1,)))
    returns.drop(np.array([0]))
    assert returns.with_capacity(6).counts.tolist() == [[0] * 4, [1] * 4, *[[0] * 4] * 4]

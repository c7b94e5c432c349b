"""Figures of progressive validation, against values worked out by hand."""

from math import log2

import numpy as np
import pytest

from freshflow.metrics.ranking_metrics import MISSED, NOT_COUNTED, Figures, figures, parts, rank_of


def ranks(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)


def test_figures_are_means_over_what_is_counted():
    found = figures(ranks(1, 2, 10, 11, 20, MISSED, NOT_COUNTED, NOT_COUNTED))
    assert found.events == 6
    assert found.hr10 == pytest.approx(3 / 6)
    assert found.hr20 == pytest.approx(5 / 6)
    assert found.mrr20 == pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 11 + 1 / 20) / 6)
    assert found.ndcg20 == pytest.approx((1 + sum(1 / log2(1 + rank) for rank in (2, 10, 11, 20))) / 6)


def test_the_first_place_gives_one_and_a_miss_nothing():
    assert figures(ranks(1, 1)) == Figures(2, 1, 1, 1, 1)
    assert figures(ranks(MISSED)) == Figures(1, 0, 0, 0, 0)


@pytest.mark.parametrize("nothing", [ranks(), ranks(NOT_COUNTED)])
def test_without_a_counted_event_there_are_zeros(nothing):
    assert figures(nothing) == Figures(0, 0, 0, 0, 0)


def test_a_rank_is_the_place_among_what_is_left():
    items = [f"i{n}" for n in range(1, 31)]
    assert rank_of("i1", items) == 1
    assert rank_of("i20", items) == 20
    assert rank_of("i21", items) == MISSED
    assert rank_of("i21", items, without={"i3", "i5"}) == 19
    assert rank_of("i3", items, without={"i3"}) == MISSED
    assert rank_of("x", items) == rank_of("x", []) == MISSED


def test_parts_follow_each_other_and_miss_nothing():
    stream = ranks(1, 1, MISSED, 2, 2, 2, NOT_COUNTED)
    assert [part.events for part in parts(stream, 3)] == [3, 2, 1]
    assert [part.hr20 for part in parts(stream, 3)] == pytest.approx([2 / 3, 1, 1])
    assert len(parts(ranks(1), 10)) == 10

"""Figures of progressive validation, against values worked out by hand."""

from math import log2

import numpy as np
import pytest

from freshflow.metrics.ranking_metrics import (
    NOT_COUNTED,
    NOT_RANKED,
    MetricValues,
    compute_metrics,
    compute_metrics_by_part,
    rank_in_list,
)


def ranks(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)


def test_figures_are_means_over_what_is_counted():
    found = compute_metrics(ranks(1, 2, 10, 11, 20, NOT_RANKED, NOT_COUNTED, NOT_COUNTED))
    assert found.events == 6
    assert found.hr10 == pytest.approx(3 / 6)
    assert found.hr20 == pytest.approx(5 / 6)
    assert found.mrr20 == pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 11 + 1 / 20) / 6)
    assert found.ndcg20 == pytest.approx((1 + sum(1 / log2(1 + rank) for rank in (2, 10, 11, 20))) / 6)


def test_the_first_place_gives_one_and_a_miss_nothing():
    assert compute_metrics(ranks(1, 1)) == MetricValues(2, 1, 1, 1, 1)
    assert compute_metrics(ranks(NOT_RANKED)) == MetricValues(1, 0, 0, 0, 0)


@pytest.mark.parametrize("nothing", [ranks(), ranks(NOT_COUNTED)])
def test_without_a_counted_event_there_are_zeros(nothing):
    assert compute_metrics(nothing) == MetricValues(0, 0, 0, 0, 0)


def test_a_rank_is_the_place_among_what_is_left():
    items = [f"i{n}" for n in range(1, 31)]
    assert rank_in_list("i1", items) == 1
    assert rank_in_list("i20", items) == 20
    assert rank_in_list("i21", items) == NOT_RANKED
    assert rank_in_list("i21", items, excluded={"i3", "i5"}) == 19
    assert rank_in_list("i3", items, excluded={"i3"}) == NOT_RANKED
    assert rank_in_list("x", items) == rank_in_list("x", []) == NOT_RANKED


def test_parts_follow_each_other_and_miss_nothing():
    stream = ranks(1, 1, NOT_RANKED, 2, 2, 2, NOT_COUNTED)
    assert [part.events for part in compute_metrics_by_part(stream, 3)] == [3, 2, 1]
    assert [part.hr20 for part in compute_metrics_by_part(stream, 3)] == pytest.approx([2 / 3, 1, 1])
    assert len(compute_metrics_by_part(ranks(1), 10)) == 10

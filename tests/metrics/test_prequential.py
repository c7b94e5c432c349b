"""Hit rate and mean reciprocal rank, over all events and over the last ones."""

import pickle
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.metrics.prequential import CUTOFF, ROLLING_WINDOW_EVENTS, PrequentialMetrics, RankingMetrics


def figures(*ranks: int) -> dict[str, float]:
    rate = RankingMetrics()
    rate.add(ranks)
    return rate.values()


def random_ranks(count: int) -> list[int]:
    draw = Random(count).randrange
    return [draw(31) for _ in range(count)]


def test_before_the_first_event_all_figures_are_zero():
    assert figures() == {"hr20": 0, "mrr20": 0, "recent_hr20": 0, "recent_mrr20": 0}


def test_the_last_place_of_the_list_is_a_hit_and_the_next_is_none():
    assert CUTOFF == 20
    assert (figures(20)["hr20"], figures(20)["mrr20"]) == (1, 1 / 20)
    assert (figures(21)["hr20"], figures(21)["mrr20"]) == (0, 0)


def test_an_item_on_no_list_counts_as_a_miss():
    assert (figures(0, 1)["hr20"], figures(0, 1)["mrr20"]) == (0.5, 0.5)


def test_figures_are_means_over_all_events():
    now = figures(1, 2, 4, 0)
    assert now["hr20"] == 3 / 4
    assert now["mrr20"] == pytest.approx((1 + 1 / 2 + 1 / 4) / 4)


def test_recent_figures_forget_what_is_older_than_their_window():
    rate = RankingMetrics()
    rate.add([1] * 100)
    rate.add([0] * (ROLLING_WINDOW_EVENTS - 1))
    assert rate.values()["recent_hr20"] == 1 / ROLLING_WINDOW_EVENTS
    rate.add([0])
    assert (rate.values()["recent_hr20"], rate.values()["recent_mrr20"]) == (0, 0)
    assert rate.values()["hr20"] == 100 / (ROLLING_WINDOW_EVENTS + 100)


def test_recent_figures_are_those_of_the_last_events_alone():
    ranks = random_ranks(3 * ROLLING_WINDOW_EVENTS + 123)
    rate, last = RankingMetrics(), RankingMetrics()
    rate.add(ranks)
    last.add(ranks[-ROLLING_WINDOW_EVENTS:])
    assert rate.values()["recent_hr20"] == last.values()["hr20"]
    assert rate.values()["recent_mrr20"] == last.values()["mrr20"]


@pytest.mark.parametrize(
    "cut", [0, 1, 100, ROLLING_WINDOW_EVENTS - 1, ROLLING_WINDOW_EVENTS, ROLLING_WINDOW_EVENTS + 100]
)
def test_restored_metrics_continue_as_if_uninterrupted(cut):
    ranks = random_ranks(2 * ROLLING_WINDOW_EVENTS)
    whole, first = RankingMetrics(), RankingMetrics()
    whole.add(ranks)
    first.add(ranks[:cut])
    second = RankingMetrics()
    second.restore(first.state())
    assert second.values() == first.values()
    second.add(ranks[cut:])
    assert second.events == whole.events
    assert second.values() == whole.values()
    assert pickle.dumps(vars(second)) == pickle.dumps(vars(whole))


def test_memory_is_bounded():
    rate = RankingMetrics()
    rate.add(random_ranks(ROLLING_WINDOW_EVENTS))
    full = len(pickle.dumps(rate))
    rate.add(random_ranks(4 * ROLLING_WINDOW_EVENTS))
    assert len(pickle.dumps(rate)) < full + 100


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 30), max_size=10), max_size=5))
def test_ranks_in_batches_count_as_one_by_one(batches):
    in_batches, singly = RankingMetrics(), RankingMetrics()
    for batch in batches:
        in_batches.add(batch)
        for rank in batch:
            singly.add([rank])
    ranks = [rank for batch in batches for rank in batch]
    assert in_batches.events == singly.events == len(ranks)
    assert in_batches.values() == pytest.approx(singly.values())
    hits = [rank for rank in ranks if 1 <= rank <= 20]
    assert in_batches.values()["hr20"] == pytest.approx(len(hits) / max(1, len(ranks)))
    assert in_batches.values()["mrr20"] == pytest.approx(sum(1 / rank for rank in hits) / max(1, len(ranks)))


def test_two_validations_share_nothing():
    first, second = PrequentialMetrics(), PrequentialMetrics()
    first.fresh.add([1])
    assert first.popularity.events == second.fresh.events == 0

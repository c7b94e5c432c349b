"""Hit rate and mean reciprocal rank, over all events and over the last ones."""

import pickle
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.metrics.prequential import CUTOFF, WINDOW, HitRate, Validation


def figures(*ranks: int) -> dict[str, float]:
    rate = HitRate()
    rate.add(ranks)
    return rate.figures()


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
    rate = HitRate()
    rate.add([1] * 100)
    rate.add([0] * (WINDOW - 1))
    assert rate.figures()["recent_hr20"] == 1 / WINDOW
    rate.add([0])
    assert (rate.figures()["recent_hr20"], rate.figures()["recent_mrr20"]) == (0, 0)
    assert rate.figures()["hr20"] == 100 / (WINDOW + 100)


def test_recent_figures_are_those_of_the_last_events_alone():
    ranks = random_ranks(3 * WINDOW + 123)
    rate, last = HitRate(), HitRate()
    rate.add(ranks)
    last.add(ranks[-WINDOW:])
    assert rate.figures()["recent_hr20"] == last.figures()["hr20"]
    assert rate.figures()["recent_mrr20"] == last.figures()["mrr20"]


@pytest.mark.parametrize("cut", [0, 1, 100, WINDOW - 1, WINDOW, WINDOW + 100])
def test_rate_that_was_pickled_on_its_way_goes_on_as_if_it_was_not(cut):
    ranks = random_ranks(2 * WINDOW)
    whole, first = HitRate(), HitRate()
    whole.add(ranks)
    first.add(ranks[:cut])
    second = pickle.loads(pickle.dumps(first))
    assert second.figures() == first.figures()
    second.add(ranks[cut:])
    assert second.events == whole.events
    assert second.figures() == whole.figures()
    assert pickle.dumps(second) == pickle.dumps(whole)


def test_memory_is_bounded():
    rate = HitRate()
    rate.add(random_ranks(WINDOW))
    full = len(pickle.dumps(rate))
    rate.add(random_ranks(4 * WINDOW))
    assert len(pickle.dumps(rate)) < full + 100


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 30), max_size=10), max_size=5))
def test_ranks_in_batches_count_as_one_by_one(batches):
    in_batches, singly = HitRate(), HitRate()
    for batch in batches:
        in_batches.add(batch)
        for rank in batch:
            singly.add([rank])
    ranks = [rank for batch in batches for rank in batch]
    assert in_batches.events == singly.events == len(ranks)
    assert in_batches.figures() == pytest.approx(singly.figures())
    hits = [rank for rank in ranks if 1 <= rank <= 20]
    assert in_batches.figures()["hr20"] == pytest.approx(len(hits) / max(1, len(ranks)))
    assert in_batches.figures()["mrr20"] == pytest.approx(sum(1 / rank for rank in hits) / max(1, len(ranks)))


def test_two_validations_share_nothing():
    first, second = Validation(), Validation()
    first.ours.add([1])
    assert first.popularity.events == second.ours.events == 0

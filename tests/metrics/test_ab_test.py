"""How far two groups of users are apart: against a bootstrap over users, and against what is true."""

import numpy as np
import pytest

from freshflow.metrics.ab_test import (
    EMPTY_SUMS,
    METRIC_NAMES,
    MIN_GROUPS,
    N_USER_GROUPS,
    Z_95,
    UserGroups,
    combine_sums,
    metric_difference,
    paired_difference,
    sums_from_table,
)

HR = "hr20"


def users(random: np.random.Generator, count: int, level: float = 0.4) -> np.ndarray:
    """Events and hits of so many users, each with a hit rate of their own and from 1 to many events."""
    events = random.geometric(0.05, count)
    hits = random.binomial(events, random.beta(3 * level, 3 * (1 - level), count))
    return np.column_stack([events, hits]).astype(float)


def rate(of: np.ndarray) -> float:
    return of[:, 1].sum() / of[:, 0].sum()


def test_the_interval_is_as_wide_as_a_bootstrap_over_users_makes_it():
    random = np.random.default_rng(1)
    one, other = users(random, 400), users(random, 300, level=0.5)
    apart = metric_difference(sums_from_table(one, [HR]), sums_from_table(other, [HR]), HR)
    drawn = [rate(random.choice(other, len(other))) - rate(random.choice(one, len(one))) for _ in range(4000)]
    assert apart.by == pytest.approx(rate(other) - rate(one))
    assert (apart.high - apart.low) / 2 == pytest.approx(Z_95 * np.std(drawn), rel=0.05)


def test_it_holds_the_true_difference_in_95_of_100_experiments_where_one_over_events_does_in_far_fewer():
    random = np.random.default_rng(2)
    held = binomial = 0
    for _ in range(1000):
        one, other = users(random, 150), users(random, 150)
        apart = metric_difference(sums_from_table(one, [HR]), sums_from_table(other, [HR]), HR)
        held += apart.low <= 0 <= apart.high
        half = Z_95 * np.sqrt(sum(rate(of) * (1 - rate(of)) / of[:, 0].sum() for of in (one, other)))
        binomial += abs(apart.by) <= half
    assert 930 <= held <= 965
    assert binomial < 750


def test_sums_of_parts_add_up_to_those_of_the_whole():
    random = np.random.default_rng(3)
    table = np.column_stack([random.integers(0, 9, 200), random.random((200, len(METRIC_NAMES)))])
    whole, parts = (
        sums_from_table(table),
        combine_sums([sums_from_table(table[:70]), EMPTY_SUMS, sums_from_table(table[70:])]),
    )
    assert (parts.groups, parts.events, parts.events_squares) == (
        whole.groups,
        whole.events,
        whole.events_squares,
    )
    assert whole.groups == np.count_nonzero(table[:, 0])
    for figure in METRIC_NAMES:
        assert parts.mean(figure) == pytest.approx(whole.mean(figure))
        assert parts.variance(figure) == pytest.approx(whole.variance(figure))


def test_what_users_found_is_summed_by_group_and_a_rank_beyond_the_twentieth_is_none():
    groups = UserGroups()
    groups.add([7, 7 + N_USER_GROUPS, 8], ranks=[1, 4, 0], published_ranks=[20, 21, 2])
    groups.add([], [], [])
    assert groups.table[7].tolist() == [2, 2, 1.25, 1, 0.05]
    assert groups.table[8].tolist() == [1, 0, 0, 1, 0.5]
    sums = groups.sums()
    assert (sums.groups, sums.events, sums.events_squares) == (2, 3, 5)
    assert sums.mean(HR) == 2 / 3


def test_with_few_groups_of_users_there_is_a_difference_and_no_interval():
    table = np.ones((MIN_GROUPS, 2))
    enough, few = sums_from_table(table, [HR]), sums_from_table(table[1:], [HR])
    assert metric_difference(enough, enough, HR).low == 0
    for apart in (metric_difference(few, enough, HR), metric_difference(enough, few, HR), paired_difference(few, HR)):
        assert (apart.low, apart.high) == (None, None)


def test_without_an_event_all_figures_are_0():
    assert EMPTY_SUMS.mean(HR) == 0
    assert metric_difference(EMPTY_SUMS, EMPTY_SUMS, HR).by == 0
    assert UserGroups().sums() == EMPTY_SUMS


def test_where_both_answered_for_the_same_users_the_interval_is_that_of_the_mean_of_differences():
    random = np.random.default_rng(4)
    events = np.ones(500)
    more = random.choice([-1.0, 0.0, 1.0], 500, p=[0.1, 0.7, 0.2])
    apart = paired_difference(sums_from_table(np.column_stack([events, more]), [HR]), HR)
    assert apart.by == pytest.approx(more.mean())
    assert apart.high - apart.by == pytest.approx(Z_95 * more.std(ddof=1) / np.sqrt(500))

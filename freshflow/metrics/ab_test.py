"""A/B test of two variants: the difference of their metrics, with a confidence interval.

Users are assigned to variants at random, so users are the unit of analysis, not events: the events of one user are
correlated, and an interval that takes events for independent is too narrow. A metric of a variant is a ratio. With N_g
events and X_g hits (or summed reciprocal ranks) of the users in group g of G,

    R = sum X_g / sum N_g,        V(R) = G / (G - 1) * sum (X_g - R N_g)^2 / (sum N_g)^2.

This is the variance of a ratio estimator by the delta method [1, 2]. Two variants have no user in common, so the
difference of their metrics has the sum of both variances, and R_2 - R_1 ± 1.96 sqrt(V(R_1) + V(R_2)) holds the true one
in 95 of 100 experiments.

Groups are `N_USER_GROUPS` classes of users by a hash, which bounds the state; with few users almost every user is a
group. The square expands to sums over groups of X^2, X N and N^2, which add up over partitions, as these have different
users.

[1] Cochran, Sampling Techniques, 3rd edition, 1977, section 6.4 and, for groups, 9A.
[2] Deng, Knoblich and Lu, Applying the delta method in metric analytics, KDD 2018.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from math import sqrt
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from freshflow._state_tables import StateTable
from freshflow.metrics.ranking_metrics import CUTOFF

N_USER_GROUPS = 1000
# Minimum number of groups with events for an interval: with fewer the normal distribution is too narrow.
MIN_GROUPS = 30
Z_95 = 1.959964  # the 97.5 % quantile of the normal distribution
METRIC_NAMES = ("hr20", "mrr20", "published_hr20", "published_mrr20")
FRESH_METRICS, PUBLISHED_METRICS = METRIC_NAMES[:2], METRIC_NAMES[2:]


class MetricSums(msgspec.Struct, frozen=True):
    """Sums of X, of X^2 and of X N of one metric over groups of users."""

    total: float = 0.0
    squares: float = 0.0
    with_events: float = 0.0


class VariantSums(msgspec.Struct, frozen=True):
    """Sums over `groups` of users with events: of N, of N^2, and by metric of X."""

    groups: int
    events: int
    events_squares: int
    found: dict[str, MetricSums]

    def mean(self, metric: str) -> float:
        """Return R of a metric; 0 without events."""
        return self.found[metric].total / self.events if self.events else 0.0

    def variance(self, metric: str) -> float:
        """Return V(R) of a metric; it needs two groups."""
        metric_sums, mean = self.found[metric], self.mean(metric)
        squares = metric_sums.squares - 2 * mean * metric_sums.with_events + mean**2 * self.events_squares
        return self.groups / (self.groups - 1) * max(0.0, squares) / self.events**2


EMPTY_SUMS = VariantSums(0, 0, 0, {metric: MetricSums() for metric in METRIC_NAMES})


class Difference(msgspec.Struct, frozen=True):
    """Difference of a metric, the second variant less the first, and its 95 % interval, if there is one."""

    by: Annotated[float, Meta(description="The difference.")]
    low: Annotated[float | None, Meta(description="Lower end of the interval; null without an interval.")]
    high: Annotated[float | None, Meta(description="Upper end of the interval.")]


def metric_difference(first: VariantSums, second: VariantSums, metric: str) -> Difference:
    """Return the difference of a metric; without an interval if a variant has fewer than `MIN_GROUPS` groups."""
    delta = second.mean(metric) - first.mean(metric)
    if min(first.groups, second.groups) < MIN_GROUPS:
        return Difference(delta, None, None)
    half_width = Z_95 * sqrt(first.variance(metric) + second.variance(metric))
    return Difference(delta, delta - half_width, delta + half_width)


def paired_difference(differences: VariantSums, metric: str) -> Difference:
    """Return the difference of a metric of two systems on the same events, from sums over the differences of X."""
    delta = differences.mean(metric)
    if differences.groups < MIN_GROUPS:
        return Difference(delta, None, None)
    half_width = Z_95 * sqrt(differences.variance(metric))
    return Difference(delta, delta - half_width, delta + half_width)


def combine_sums(parts: Iterable[VariantSums]) -> VariantSums:
    """Add the sums of partitions, which have different users."""
    return reduce(_add_sums, parts, EMPTY_SUMS)


def _add_sums(first: VariantSums, second: VariantSums) -> VariantSums:
    metric_sums = {}
    for metric in METRIC_NAMES:
        a, b = first.found[metric], second.found[metric]
        metric_sums[metric] = MetricSums(a.total + b.total, a.squares + b.squares, a.with_events + b.with_events)
    return VariantSums(
        first.groups + second.groups,
        first.events + second.events,
        first.events_squares + second.events_squares,
        metric_sums,
    )


def sums_from_table(table: NDArray[np.float64], metrics: Sequence[str] = METRIC_NAMES) -> VariantSums:
    """Return the sums over the rows of a table (G, 1 + F) of N and of X of F metrics."""
    products = table.T @ table
    totals = table.sum(axis=0)
    metric_sums = {
        metric: MetricSums(float(totals[column]), float(products[column, column]), float(products[0, column]))
        for column, metric in enumerate(metrics, start=1)
    }
    return VariantSums(int(np.count_nonzero(table[:, 0])), int(totals[0]), int(products[0, 0]), metric_sums)


class UserGroupsState(StateTable, frozen=True):
    """State of `UserGroups`: the sums (GROUPS, 5)."""

    table: NDArray[np.float64]


class UserGroups:
    """Sums over the users of a partition by group: `table` (N_USER_GROUPS, 5) holds N, and X of each metric.

    The group of a user is a hash of the id, such as crc32, modulo `N_USER_GROUPS`.
    """

    def __init__(self) -> None:
        self.table = np.zeros((N_USER_GROUPS, 1 + len(METRIC_NAMES)))

    def add(self, users: Sequence[int], ranks: Sequence[int], published_ranks: Sequence[int]) -> None:
        """Count N events.

        Args:
            users: Hashes of their users (N,).
            ranks: Ranks of their items (N,) from 1 on the lists made just before; 0 for none.
            published_ranks: Ranks of their items (N,) on the lists published last.
        """
        groups = np.array(users, np.int64) % N_USER_GROUPS
        columns = [np.ones(len(groups)), *_hits_and_reciprocals(ranks), *_hits_and_reciprocals(published_ranks)]
        np.add.at(self.table, groups, np.array(columns).T)

    def sums(self) -> VariantSums:
        """Return the sums over all groups."""
        return sums_from_table(self.table)

    def state(self) -> UserGroupsState:
        """Return the state."""
        return UserGroupsState(self.table)

    def restore(self, state: UserGroupsState) -> None:
        """Continue from a state."""
        self.table = state.table


def _hits_and_reciprocals(ranks: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for ranks (N,) from 1, or 0 for none, the hits (N,) and the reciprocal ranks (N,)."""
    rank_array = np.array(ranks, np.int64)
    hits = (rank_array > 0) & (rank_array <= CUTOFF)
    return hits.astype(np.float64), np.where(hits, 1 / np.maximum(rank_array, 1), 0.0)

"""How two groups of users fare, and how far their figures are apart, with a confidence interval.

Users are what is assigned to a variant at random, so they are the unit, not events: what one user does is correlated,
and an interval that takes events for independent is too narrow. A figure of a variant is a ratio, of what its users
found to what they did. With N_g events and X_g found (hits, or reciprocal ranks summed) of the users in group g, of G,

    R = sum X_g / sum N_g,        V(R) = G / (G - 1) * sum (X_g - R N_g)^2 / (sum N_g)^2.

This is the variance of a ratio estimator by the delta method [1, 2]. Two variants have no user in common, so the
difference of their figures has the sum of both variances, and R_2 - R_1 ± 1.96 sqrt(V(R_1) + V(R_2)) holds the true one
in 95 of 100 experiments.

Groups are `GROUPS` classes of users by a hash, so that the state is bounded; with fewer users almost each is alone. The
square expands to sums over groups of X^2, X N and N^2, and these add up over partitions: their users are others.

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

from freshflow.metrics.ranking_metrics import CUTOFF

__all__ = [
    "METRIC_NAMES",
    "N_USER_GROUPS",
    "EMPTY_SUMS",
    "Difference",
    "MetricSums",
    "VariantSums",
    "UserGroups",
    "metric_difference",
    "paired_difference",
    "sums_from_table",
    "combine_sums",
]

N_USER_GROUPS = 1000
# Groups with events that a variant must have for an interval: with fewer the normal distribution is too narrow.
MIN_GROUPS = 30
Z_95 = 1.959964  # the 97.5 % quantile of the normal distribution
METRIC_NAMES = ("hr20", "mrr20", "published_hr20", "published_mrr20")
FRESH_METRICS, PUBLISHED_METRICS = METRIC_NAMES[:2], METRIC_NAMES[2:]


class MetricSums(msgspec.Struct, frozen=True):
    """Of one figure, over groups of users: the sums of X, of X^2 and of X N."""

    total: float = 0.0
    squares: float = 0.0
    with_events: float = 0.0


class VariantSums(msgspec.Struct, frozen=True):
    """Over `groups` of users that had events: the sums of N and of N^2, and of what was found by figure."""

    groups: int
    events: int
    events_squares: int
    found: dict[str, MetricSums]

    def mean(self, metric: str) -> float:
        """R of a figure; 0 without events."""
        return self.found[metric].total / self.events if self.events else 0.0

    def variance(self, metric: str) -> float:
        """V(R) of a figure; it needs two groups."""
        metric_sums, mean = self.found[metric], self.mean(metric)
        squares = metric_sums.squares - 2 * mean * metric_sums.with_events + mean**2 * self.events_squares
        return self.groups / (self.groups - 1) * max(0.0, squares) / self.events**2


EMPTY_SUMS = VariantSums(0, 0, 0, {metric: MetricSums() for metric in METRIC_NAMES})


class Difference(msgspec.Struct, frozen=True):
    """How much more a figure is in the second variant than in the first, and the 95 % interval, if there is one."""

    by: Annotated[float, Meta(description="How much more.")]
    low: Annotated[float | None, Meta(description="The lower end of the interval; null where there is none.")]
    high: Annotated[float | None, Meta(description="Its upper end.")]


def metric_difference(first: VariantSums, second: VariantSums, metric: str) -> Difference:
    """The difference of a figure; without an interval where a variant has fewer than `MIN_GROUPS` groups of users."""
    delta = second.mean(metric) - first.mean(metric)
    if min(first.groups, second.groups) < MIN_GROUPS:
        return Difference(delta, None, None)
    half_width = Z_95 * sqrt(first.variance(metric) + second.variance(metric))
    return Difference(delta, delta - half_width, delta + half_width)


def paired_difference(differences: VariantSums, metric: str) -> Difference:
    """The same where both answered for the same events: of sums over what the second found more than the first."""
    delta = differences.mean(metric)
    if differences.groups < MIN_GROUPS:
        return Difference(delta, None, None)
    half_width = Z_95 * sqrt(differences.variance(metric))
    return Difference(delta, delta - half_width, delta + half_width)


def combine_sums(parts: Iterable[VariantSums]) -> VariantSums:
    """The sums over partitions, none of which has a user of another."""
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
    """The sums over the rows of a `table` (G, 1 + F): N, and X of each figure."""
    products = table.T @ table
    totals = table.sum(axis=0)
    metric_sums = {
        metric: MetricSums(float(totals[column]), float(products[column, column]), float(products[0, column]))
        for column, metric in enumerate(metrics, start=1)
    }
    return VariantSums(int(np.count_nonzero(table[:, 0])), int(totals[0]), int(products[0, 0]), metric_sums)


class UserGroups:
    """The state of a partition: `table` (GROUPS, 5), how many events a group of users had, and what was found for them.

    A user's group is a number of theirs, such as crc32 of the id, modulo `N_USER_GROUPS`.
    """

    def __init__(self, table: NDArray[np.float64] | None = None) -> None:
        self.table = np.zeros((N_USER_GROUPS, 1 + len(METRIC_NAMES))) if table is None else table

    def add(self, users: Sequence[int], ranks: Sequence[int], published_ranks: Sequence[int]) -> None:
        """Count events of users by number, whose items stood at `ranks`, and at `published_ranks` on the list last sent."""
        groups = np.array(users, np.int64) % N_USER_GROUPS
        columns = [np.ones(len(groups)), *_hits_and_reciprocals(ranks), *_hits_and_reciprocals(published_ranks)]
        np.add.at(self.table, groups, np.array(columns).T)

    def sums(self) -> VariantSums:
        """What there is to report."""
        return sums_from_table(self.table)


def _hits_and_reciprocals(ranks: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of ranks from 1, or 0 for none: whether each is a hit, and its reciprocal."""
    rank_array = np.array(ranks, np.int64)
    hits = (rank_array > 0) & (rank_array <= CUTOFF)
    return hits.astype(np.float64), np.where(hits, 1 / np.maximum(rank_array, 1), 0.0)

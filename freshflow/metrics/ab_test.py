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
    "FIGURES",
    "GROUPS",
    "NO_SUMS",
    "Difference",
    "Found",
    "Sums",
    "UserGroups",
    "difference",
    "mean_difference",
    "sums_of",
    "total",
]

GROUPS = 1000
# Groups with events that a variant must have for an interval: with fewer the normal distribution is too narrow.
ENOUGH = 30
Z_95 = 1.959964  # the 97.5 % quantile of the normal distribution
FIGURES = ("hr20", "mrr20", "published_hr20", "published_mrr20")
OURS, PUBLISHED = FIGURES[:2], FIGURES[2:]


class Found(msgspec.Struct, frozen=True):
    """Of one figure, over groups of users: the sums of X, of X^2 and of X N."""

    total: float = 0.0
    squares: float = 0.0
    with_events: float = 0.0


class Sums(msgspec.Struct, frozen=True):
    """Over `groups` of users that had events: the sums of N and of N^2, and of what was found by figure."""

    groups: int
    events: int
    events_squares: int
    found: dict[str, Found]

    def mean(self, figure: str) -> float:
        """R of a figure; 0 without events."""
        return self.found[figure].total / self.events if self.events else 0.0

    def variance(self, figure: str) -> float:
        """V(R) of a figure; it needs two groups."""
        of, mean = self.found[figure], self.mean(figure)
        squares = of.squares - 2 * mean * of.with_events + mean**2 * self.events_squares
        return self.groups / (self.groups - 1) * max(0.0, squares) / self.events**2


NO_SUMS = Sums(0, 0, 0, {figure: Found() for figure in FIGURES})


class Difference(msgspec.Struct, frozen=True):
    """How much more a figure is in the second variant than in the first, and the 95 % interval, if there is one."""

    by: Annotated[float, Meta(description="How much more.")]
    low: Annotated[float | None, Meta(description="The lower end of the interval; null where there is none.")]
    high: Annotated[float | None, Meta(description="Its upper end.")]


def difference(first: Sums, second: Sums, figure: str) -> Difference:
    """The difference of a figure; without an interval where a variant has fewer than `ENOUGH` groups of users."""
    by = second.mean(figure) - first.mean(figure)
    if min(first.groups, second.groups) < ENOUGH:
        return Difference(by, None, None)
    half = Z_95 * sqrt(first.variance(figure) + second.variance(figure))
    return Difference(by, by - half, by + half)


def mean_difference(apart: Sums, figure: str) -> Difference:
    """The same where both answered for the same events: of sums over what the second found more than the first."""
    by = apart.mean(figure)
    if apart.groups < ENOUGH:
        return Difference(by, None, None)
    half = Z_95 * sqrt(apart.variance(figure))
    return Difference(by, by - half, by + half)


def total(several: Iterable[Sums]) -> Sums:
    """The sums over partitions, none of which has a user of another."""
    return reduce(_added, several, NO_SUMS)


def _added(one: Sums, other: Sums) -> Sums:
    found = {}
    for figure in FIGURES:
        a, b = one.found[figure], other.found[figure]
        found[figure] = Found(a.total + b.total, a.squares + b.squares, a.with_events + b.with_events)
    return Sums(one.groups + other.groups, one.events + other.events, one.events_squares + other.events_squares, found)


def sums_of(table: NDArray[np.float64], figures: Sequence[str] = FIGURES) -> Sums:
    """The sums over the rows of a `table` (G, 1 + F): N, and X of each figure."""
    products = table.T @ table
    totals = table.sum(axis=0)
    found = {
        figure: Found(float(totals[at]), float(products[at, at]), float(products[0, at]))
        for at, figure in enumerate(figures, start=1)
    }
    return Sums(int(np.count_nonzero(table[:, 0])), int(totals[0]), int(products[0, 0]), found)


class UserGroups:
    """The state of a partition: `table` (GROUPS, 5), how many events a group of users had, and what was found for them.

    A user's group is a number of theirs, such as crc32 of the id, modulo `GROUPS`.
    """

    def __init__(self, table: NDArray[np.float64] | None = None) -> None:
        self.table = np.zeros((GROUPS, 1 + len(FIGURES))) if table is None else table

    def add(self, users: Sequence[int], ranks: Sequence[int], published: Sequence[int]) -> None:
        """Count events of users by number, whose items stood at `ranks`, and at `published` on the list last sent."""
        groups = np.array(users, np.int64) % GROUPS
        columns = [np.ones(len(groups)), *_found(ranks), *_found(published)]
        np.add.at(self.table, groups, np.array(columns).T)

    def sums(self) -> Sums:
        """What there is to report."""
        return sums_of(self.table)


def _found(ranks: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of ranks from 1, or 0 for none: whether each is a hit, and its reciprocal."""
    at = np.array(ranks, np.int64)
    hits = (at > 0) & (at <= CUTOFF)
    return hits.astype(np.float64), np.where(hits, 1 / np.maximum(at, 1), 0.0)

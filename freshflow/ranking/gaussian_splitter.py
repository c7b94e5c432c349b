"""The observer of a numeric feature in our Hoeffding trees: a normal distribution per class."""

import math
from typing import Any

from freshflow._river import stats, trees, utils


class GaussianSplitter(trees.splitter.Splitter):  # type: ignore[misc]
    """Proposes split points for a feature from one normal distribution per class.

    It proposes the same splits as River's `GaussianSplitter`. That one keeps a random generator in each distribution
    to draw samples, seeded by the operating system: 2.5 kB each, and snapshots of equal trees would differ.

    Args:
        n_splits: The number of split points to try, at equal distances between the least and the greatest value.
    """

    def __init__(self, n_splits: int = 10) -> None:
        super().__init__()
        self.n_splits = n_splits
        self.variances: dict[Any, stats.Var] = {}
        self.ranges: dict[Any, tuple[float, float]] = {}

    def update(self, att_val: float | None, target_val: Any, w: float) -> None:
        """Count a value of the feature.

        Args:
            att_val: The value; None is ignored.
            target_val: The class of the example.
            w: The sample weight.
        """
        if att_val is None:
            return
        if target_val not in self.variances:
            self.variances[target_val], self.ranges[target_val] = stats.Var(ddof=1), (att_val, att_val)
        low, high = self.ranges[target_val]
        self.ranges[target_val] = min(low, att_val), max(high, att_val)
        self.variances[target_val].update(att_val, w)

    def cond_proba(self, att_val: float, target_val: Any) -> float:
        """Return the density of a value given the class; 0 where the class has no spread."""
        variance = self.variances.get(target_val)
        sigma = math.sqrt(variance.get()) if variance is not None else 0.0
        if variance is None or not sigma:
            return 0.0
        density: float = utils.math.norm_pdf((att_val - variance.mean.get()) / sigma) / sigma
        return density

    def best_evaluated_split_suggestion(
        self, criterion: Any, pre_split_dist: dict[Any, float], att_idx: Any, binary_only: bool
    ) -> trees.utils.BranchFactory:
        """Return the split point with the greatest merit.

        Args:
            criterion: Measures the merit of a split.
            pre_split_dist: The weight of each class before the split.
            att_idx: The name of the feature.
            binary_only: Ignored; all splits are binary.
        """
        best_split = trees.utils.BranchFactory()
        for split_value in self._split_points():
            post_split_dist = self._split_weights(split_value)
            merit = criterion.merit_of_split(pre_split_dist, post_split_dist)
            if merit > best_split.merit:
                best_split = trees.utils.BranchFactory(merit, att_idx, split_value, post_split_dist)
        return best_split

    def _split_points(self) -> list[float]:
        if not self.ranges:
            return []
        low, high = min(low for low, _ in self.ranges.values()), max(high for _, high in self.ranges.values())
        distance = (high - low) / (self.n_splits + 1.0)
        points = [low + distance * (n + 1) for n in range(self.n_splits)]
        return [point for point in points if low < point < high]

    def _split_weights(self, split_value: float) -> list[dict[Any, float]]:
        """Return the expected weight of each class up to the split point and above it."""
        below: dict[Any, float] = {}
        above: dict[Any, float] = {}
        for label, variance in self.variances.items():
            low, high = self.ranges[label]
            if split_value < low:
                above[label] = variance.n
            elif split_value >= high:
                below[label] = variance.n
            else:
                below[label] = _normal_cdf(split_value, variance) * variance.n
                above[label] = variance.n - below[label]
        return [below, above]


def _normal_cdf(value: float, variance: stats.Var) -> float:
    sigma = math.sqrt(variance.get())
    cdf: float = utils.math.norm_cdf((value - variance.mean.get()) / sigma) if sigma else 0.0
    return cdf

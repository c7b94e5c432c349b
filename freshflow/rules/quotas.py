"""At most n items of a category, or of a brand: the best of each stay."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import Ranked

__all__ = ["capped", "within"]


def capped(ranked: Ranked, groups: NDArray[np.int32], most: int, taken: NDArray[np.int32]) -> Ranked:
    """The best items such that no group has more than `most`, those in `taken` (M,) counted.

    `groups` (rows, G) are the groups of each item, -1 where there are fewer; an item in none is always kept.
    """
    return ranked.take(within(groups[ranked.rows], most, taken))


def within(groups: NDArray[np.int32], most: int, taken: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of items (N, G), taken in this order, fit into their groups beside `taken`."""
    count = Counter(group for group in taken.ravel().tolist() if group >= 0)
    fits = np.zeros(len(groups), np.bool_)
    for n, of_item in enumerate(groups.tolist()):
        own = {group for group in of_item if group >= 0}
        fits[n] = all(count[group] < most for group in own)
        if fits[n]:
            count.update(own)
    return fits

"""At most n items of a category, or of a brand: the best of each stay."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import CandidateList

__all__ = ["cap_groups", "mask_within_caps"]


def cap_groups(
    candidates: CandidateList, groups: NDArray[np.int32], max_per_group: int, occupied_groups: NDArray[np.int32]
) -> CandidateList:
    """The best items such that no group has more than `max_per_group`, those in `occupied_groups` (M,) counted.

    `groups` (rows, G) are the groups of each item, -1 where there are fewer; an item in none is always kept.
    """
    return candidates.select(mask_within_caps(groups[candidates.rows], max_per_group, occupied_groups))


def mask_within_caps(
    groups: NDArray[np.int32], max_per_group: int, occupied_groups: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Which of items (N, G), taken in this order, fit into their groups beside `occupied_groups`."""
    group_counts = Counter(group for group in occupied_groups.ravel().tolist() if group >= 0)
    is_allowed = np.zeros(len(groups), np.bool_)
    for n, padded_groups in enumerate(groups.tolist()):
        item_groups = {group for group in padded_groups if group >= 0}
        is_allowed[n] = all(group_counts[group] < max_per_group for group in item_groups)
        if is_allowed[n]:
            group_counts.update(item_groups)
    return is_allowed

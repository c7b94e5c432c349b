"""Rules `category` and `brand`: at most n items of each group; the best of each group stay."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import CandidateList
from freshflow.rules.registry import ListSelection, Rule, register_rule


class GroupCapRule(Rule):
    """Rule that limits the number of items per group, pinned items included."""

    @property
    def groups(self) -> NDArray[np.int32]:
        """Groups of all items (rows, G), -1 padded."""
        raise NotImplementedError

    @property
    def max_per_group(self) -> int:
        """Maximum number of items of one group."""
        raise NotImplementedError

    def apply(self, candidates: CandidateList, selection: ListSelection) -> CandidateList:
        """Remove the items beyond the limit of a group."""
        groups = self.groups
        return cap_groups(candidates, groups, self.max_per_group, groups[selection.pinned_items.rows])

    def can_add(self, listed_rows: NDArray[np.int32], row: int) -> bool:
        """Return whether the groups of the item in `row` have room beside the items in `listed_rows` (N,)."""
        groups = self.groups
        return bool(mask_within_caps(groups[[row]], self.max_per_group, groups[listed_rows])[0])


@register_rule("category", order=40, is_on=lambda config: config.rules.per_category > 0)
class CategoryCapRule(GroupCapRule):
    """Rule of `rules.per_category`."""

    @property
    def groups(self) -> NDArray[np.int32]:
        """Categories of all items (rows, 4), -1 padded."""
        return self.inputs.item_attributes.categories

    @property
    def max_per_group(self) -> int:
        """Maximum number of items of one category."""
        return int(self.settings.per_category)


@register_rule("brand", order=45, is_on=lambda config: config.rules.per_brand > 0)
class BrandCapRule(GroupCapRule):
    """Rule of `rules.per_brand`."""

    @property
    def groups(self) -> NDArray[np.int32]:
        """Brands of all items (rows, 1), -1 where unknown."""
        return self.inputs.item_attributes.brands

    @property
    def max_per_group(self) -> int:
        """Maximum number of items of one brand."""
        return int(self.settings.per_brand)


def cap_groups(
    candidates: CandidateList, groups: NDArray[np.int32], max_per_group: int, occupied_groups: NDArray[np.int32]
) -> CandidateList:
    """Keep the best items such that no group has more than `max_per_group`.

    Args:
        candidates: The items, the best first.
        groups: Groups of all items (rows, G), -1 padded. An item without a group is always kept.
        max_per_group: The limit.
        occupied_groups: Groups of items (M, G) that count, too.

    Returns:
        The items that stay.
    """
    return candidates.select(mask_within_caps(groups[candidates.rows], max_per_group, occupied_groups))


def mask_within_caps(
    groups: NDArray[np.int32], max_per_group: int, occupied_groups: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Mark the items that fit into their groups, taken in this order.

    Args:
        groups: Groups of the items (N, G), -1 padded.
        max_per_group: The limit.
        occupied_groups: Groups of items (M, G) that are listed already.

    Returns:
        A mask (N,).
    """
    group_counts = Counter(group for group in occupied_groups.ravel().tolist() if group >= 0)
    is_allowed = np.zeros(len(groups), np.bool_)
    for n, padded_groups in enumerate(groups.tolist()):
        item_groups = {group for group in padded_groups if group >= 0}
        is_allowed[n] = all(group_counts[group] < max_per_group for group in item_groups)
        if is_allowed[n]:
            group_counts.update(item_groups)
    return is_allowed

"""Rule `blocked`: blocked items are on no list."""

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import CandidateList
from freshflow.rules.registry import ListSelection, Rule, register_rule


@register_rule("blocked", order=10, is_on=lambda config: bool(config.rules.blocked))
class BlockedRule(Rule):
    """Rule that removes the items of `rules.blocked`."""

    def apply(self, candidates: CandidateList, selection: ListSelection) -> CandidateList:
        """Remove blocked items."""
        return remove_blocked(candidates, self.inputs.item_attributes.is_blocked)


def remove_blocked(candidates: CandidateList, is_blocked: NDArray[np.bool_]) -> CandidateList:
    """Remove the items whose row is set in `is_blocked` (rows,)."""
    is_hidden = is_blocked[candidates.rows]
    return candidates.select(~is_hidden) if is_hidden.any() else candidates

"""Rules that take items off a list."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import CandidateList

__all__ = ["remove_blocked", "remove_purchased"]


def remove_blocked(candidates: CandidateList, is_blocked: NDArray[np.bool_]) -> CandidateList:
    """Without the items that nobody is shown; `is_blocked` (rows,) says which."""
    is_hidden = is_blocked[candidates.rows]
    return candidates.select(~is_hidden) if is_hidden.any() else candidates


def remove_purchased(candidates: CandidateList, purchased_rows: Collection[int]) -> CandidateList:
    """Without the rows that the user has `purchased_rows` lately."""
    if not purchased_rows:
        return candidates
    return candidates.select(np.array([row not in purchased_rows for row in candidates.rows.tolist()], np.bool_))

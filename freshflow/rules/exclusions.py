"""Rules that take items off a list."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import Ranked

__all__ = ["without_blocked", "without_bought"]


def without_blocked(ranked: Ranked, blocked: NDArray[np.bool_]) -> Ranked:
    """Without the items that nobody is shown; `blocked` (rows,) says which."""
    hidden = blocked[ranked.rows]
    return ranked.take(~hidden) if hidden.any() else ranked


def without_bought(ranked: Ranked, bought: Collection[int]) -> Ranked:
    """Without the rows that the user has `bought` lately."""
    if not bought:
        return ranked
    return ranked.take(np.array([row not in bought for row in ranked.rows.tolist()], np.bool_))

"""How often people come back to an item, at all and at once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import lean
from freshflow.items.index import grown

__all__ = ["Returns", "add_return", "return_rate", "stay_rate"]

VISITS, RETURNS, LEFT, STAYS = range(4)

# An item that nobody has visited is taken to be returned to one time in four, with the weight of two visits.
PRIOR_RETURNS, PRIOR_VISITS = 0.5, 2.0


class Returns(NamedTuple):
    """`counts` (rows, 4): visits; visits with the item in their context; and, of the events that came right after a
    visit of the item: all of them, and those with the same item again.
    """

    counts: NDArray[np.float64]

    @classmethod
    def empty(cls, capacity: int) -> "Returns":
        """Room for `capacity` items."""
        return cls(np.zeros((capacity, 4)))

    def grown(self, capacity: int) -> "Returns":
        """The same with room for `capacity` items."""
        return Returns(grown(self.counts, capacity))

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forget `rows`."""
        self.counts[rows] = 0


@lean
def add_return(counts: NDArray[np.float64], item: int, context: NDArray[np.int32]) -> None:
    """Count a visit of `item` in `context` (L,), the most recent first, -1 where an item is not known."""
    counts[item, VISITS] += 1
    for other in context:
        if other == item:
            counts[item, RETURNS] += 1
            break
    last = context[0]
    if last >= 0:
        counts[last, LEFT] += 1
        if last == item:
            counts[last, STAYS] += 1


@lean
def return_rate(counts: NDArray[np.float64], row: int) -> float:
    """(returns + 0.5) / (visits + 2): how often a visit is by someone who had the item in mind already."""
    rate: float = (counts[row, RETURNS] + PRIOR_RETURNS) / (counts[row, VISITS] + PRIOR_VISITS)
    return rate


@lean
def stay_rate(counts: NDArray[np.float64], row: int) -> float:
    """(stays + 0.5) / (left + 2): how often the next event after a visit is the same item again."""
    rate: float = (counts[row, STAYS] + PRIOR_RETURNS) / (counts[row, LEFT] + PRIOR_VISITS)
    return rate

"""How often people come back to an item, at all and at once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount
from freshflow.items.index import extend_rows

__all__ = ["Revisits", "count_revisit", "revisit_rate", "immediate_repeat_rate"]

VISITS, REVISITS, NEXT_EVENTS, IMMEDIATE_REPEATS = range(4)

# An item that nobody has visited is taken to be returned to one time in four, with the weight of two visits.
PRIOR_REVISITS, PRIOR_VISITS = 0.5, 2.0


class Revisits(NamedTuple):
    """`counts` (rows, 4): visits; visits with the item in their context; and, of the events that came right after a
    visit of the item: all of them, and those with the same item again.
    """

    counts: NDArray[np.float64]

    @classmethod
    def empty(cls, capacity: int) -> "Revisits":
        """Room for `capacity` items."""
        return cls(np.zeros((capacity, 4)))

    def with_capacity(self, capacity: int) -> "Revisits":
        """The same with room for `capacity` items."""
        return Revisits(extend_rows(self.counts, capacity))

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forget `rows`."""
        self.counts[rows] = 0


@jit_no_refcount
def count_revisit(counts: NDArray[np.float64], item: int, context: NDArray[np.int32]) -> None:
    """Count a visit of `item` in `context` (L,), the most recent first, -1 where an item is not known."""
    counts[item, VISITS] += 1
    for context_item in context:
        if context_item == item:
            counts[item, REVISITS] += 1
            break
    previous_item = context[0]
    if previous_item >= 0:
        counts[previous_item, NEXT_EVENTS] += 1
        if previous_item == item:
            counts[previous_item, IMMEDIATE_REPEATS] += 1


@jit_no_refcount
def revisit_rate(counts: NDArray[np.float64], row: int) -> float:
    """(returns + 0.5) / (visits + 2): how often a visit is by someone who had the item in mind already."""
    rate: float = (counts[row, REVISITS] + PRIOR_REVISITS) / (counts[row, VISITS] + PRIOR_VISITS)
    return rate


@jit_no_refcount
def immediate_repeat_rate(counts: NDArray[np.float64], row: int) -> float:
    """(stays + 0.5) / (left + 2): how often the next event after a visit is the same item again."""
    rate: float = (counts[row, IMMEDIATE_REPEATS] + PRIOR_REVISITS) / (counts[row, NEXT_EVENTS] + PRIOR_VISITS)
    return rate

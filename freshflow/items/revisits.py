"""Revisits: how often users return to an item, at all and immediately."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount
from freshflow.items.index import extend_rows

VISITS, REVISITS, NEXT_EVENTS, IMMEDIATE_REPEATS = range(4)

# The prior of an item without visits: it is revisited one time in four, with the weight of two visits.
PRIOR_REVISITS, PRIOR_VISITS = 0.5, 2.0


class Revisits(NamedTuple):
    """Revisit counts of all items.

    Attributes:
        counts: (rows, 4) visits; visits with the item in their context; next events after a visit; those of the same
            item again.
    """

    counts: NDArray[np.float64]

    @classmethod
    def empty(cls, capacity: int) -> "Revisits":
        """Return room for `capacity` items."""
        return cls(np.zeros((capacity, 4)))

    def with_capacity(self, capacity: int) -> "Revisits":
        """Return a copy with room for `capacity` items."""
        return Revisits(extend_rows(self.counts, capacity))

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Clear `rows`."""
        self.counts[rows] = 0


@jit_no_refcount
def count_revisit(counts: NDArray[np.float64], item: int, context: NDArray[np.int32]) -> None:
    """Count a visit of an item in a context.

    Args:
        counts: (rows, 4) of `Revisits`.
        item: The row of the item.
        context: (L,) item rows, the latest first, -1 for unknown items.
    """
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
    """Return (revisits + 0.5) / (visits + 2), the share of visits by users with the item in their context."""
    rate: float = (counts[row, REVISITS] + PRIOR_REVISITS) / (counts[row, VISITS] + PRIOR_VISITS)
    return rate


@jit_no_refcount
def immediate_repeat_rate(counts: NDArray[np.float64], row: int) -> float:
    """Return (repeats + 0.5) / (next events + 2), the share of next events that are the same item again."""
    rate: float = (counts[row, IMMEDIATE_REPEATS] + PRIOR_REVISITS) / (counts[row, NEXT_EVENTS] + PRIOR_VISITS)
    return rate

"""How often people come back to an item: the share of its visits by someone who had it in mind already."""

import numpy as np
from numpy.typing import NDArray

from freshflow.items.rows import grown

__all__ = ["Returns"]

Rows = NDArray[np.int64]

# An item that nobody has visited is taken to be returned to one time in four, with the weight of two visits.
PRIOR_RETURNS, PRIOR_VISITS = 0.5, 2.0


class Returns:
    """`visits` and `returns` (rows,): all visits of an item, and those with the item in their own context."""

    def __init__(self, capacity: int = 0) -> None:
        self.visits = np.zeros(capacity)
        self.returns = np.zeros(capacity)

    def add(self, items: Rows, contexts: Rows) -> None:
        """Count visits of `items` (B,) in `contexts` (B, L), -1 padded."""
        np.add.at(self.visits, items, 1)
        np.add.at(self.returns, items, (contexts == items[:, None]).any(axis=1))

    def rate(self, items: Rows) -> NDArray[np.float64]:
        """(returns + 0.5) / (visits + 2) of rows `items` (...)."""
        rate: NDArray[np.float64] = (self.returns[items] + PRIOR_RETURNS) / (self.visits[items] + PRIOR_VISITS)
        return rate

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.visits, self.returns = grown(self.visits, capacity), grown(self.returns, capacity)

    def drop(self, rows: Rows) -> None:
        """Forget `rows`."""
        self.visits[rows] = self.returns[rows] = 0

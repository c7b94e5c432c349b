"""Co-visitation: which items come together, and in which order.

For each item x a row of M neighbour slots y with three weights:

    forward[x, y]  += 1 / n   when y came n steps after x (directed)
    together[x, y] += 1       when x and y stood in one context (undirected, kept in both rows)
    follow[x, y]   += 1       when y came right after x (directed)

and the sums of all that was ever added to the row. A full row gives up its weakest slot (by `together`, then by
`forward`), so a row is the heavy part of the item's true neighbours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.compiled import compiled
from freshflow.items.rows import grown

__all__ = ["FOLLOW", "FORWARD", "TOGETHER", "CoVisits", "add_pairs"]

FORWARD, TOGETHER, FOLLOW = range(3)
EMPTY = -1


class CoVisits(NamedTuple):
    """Neighbour slots of all items: `neighbours` (rows, M) int32, `weights` (rows, M, 3) float32, `sums` (rows, 3).

    The sums are float64: float32 stops counting single increments at 2^24, some million events of a hot item.
    """

    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32]
    sums: NDArray[np.float64]

    @classmethod
    def empty(cls, capacity: int, slots: int) -> "CoVisits":
        """Room for `capacity` items with `slots` neighbours each."""
        neighbours = np.full((capacity, slots), EMPTY, np.int32)
        return cls(neighbours, np.zeros((capacity, slots, 3), np.float32), np.zeros((capacity, 3)))

    def grown(self, capacity: int) -> "CoVisits":
        """The same with room for `capacity` items."""
        return CoVisits(
            grown(self.neighbours, capacity, EMPTY), grown(self.weights, capacity), grown(self.sums, capacity)
        )

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Clear `rows`, and every slot in which they are someone's neighbour."""
        gone = np.zeros(len(self.neighbours) + 1, np.bool_)  # the last entry answers for EMPTY
        gone[rows] = True
        self.neighbours[rows] = EMPTY
        self.sums[rows] = 0
        lost = gone[self.neighbours]
        lost[rows] = True
        self.neighbours[lost] = EMPTY
        self.weights[lost] = 0


@compiled
def add_pairs(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    item: int,
    context: NDArray[np.int32],
    weight: float,
) -> None:
    """Fold in that `item` came in `context` (L,), the most recent first, -1 where an item is not known.

    The arrays are those of `CoVisits`; `weight` scales the increments. An item in its own context makes no pair.
    """
    for n in range(len(context)):
        other = context[n]
        if other >= 0 and other != item:
            follow = weight if n == 0 else 0.0
            for x, y, forward, right_after in ((other, item, weight / (n + 1), follow), (item, other, 0.0, 0.0)):
                slot = _slot_of(neighbours[x], weights[x], y)
                if neighbours[x, slot] != y:
                    neighbours[x, slot] = y
                    weights[x, slot] = 0
                weights[x, slot, FORWARD] += np.float32(forward)
                weights[x, slot, TOGETHER] += np.float32(weight)
                weights[x, slot, FOLLOW] += np.float32(right_after)
                sums[x, FORWARD] += forward
                sums[x, TOGETHER] += weight
                sums[x, FOLLOW] += right_after


@compiled
def _slot_of(neighbours: NDArray[np.int32], weights: NDArray[np.float32], y: int) -> int:
    """The slot of neighbour `y`, or the first free one, or the weakest."""
    weakest, free = 0, -1
    for slot in range(len(neighbours)):
        if neighbours[slot] == y:
            return slot
        if neighbours[slot] == EMPTY and free < 0:
            free = slot
    if free >= 0:
        return free
    for slot in range(1, len(neighbours)):
        less = weights[slot, TOGETHER] - weights[weakest, TOGETHER]
        if less < 0 or (less == 0 and weights[slot, FORWARD] < weights[weakest, FORWARD]):
            weakest = slot
    return weakest

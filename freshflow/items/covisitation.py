"""Co-visitation: which items come together, and in which order.

For each item x a row of M neighbour slots y with three weights:

    forward[x, y]  += 1 / n   when y came n steps after x (directed)
    together[x, y] += 1       when x and y stood in one context (undirected, kept in both rows)
    follow[x, y]   += 1       when y came right after x (directed)

and the sums of all that was ever added to the row. The slots are in order: by falling `together`, those that have had
theirs for longest first, and free ones behind them, so who reads can stop early. A full row gives up its weakest slot
(by `together`, then by `forward`), so it is the heavy part of the item's true neighbours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import compiled, inlined, lean
from freshflow.items.index import grown

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

    def first(self, rows: int) -> "CoVisits":
        """The same of the first `rows` items alone."""
        return CoVisits(self.neighbours[:rows], self.weights[:rows], self.sums[:rows])

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Clear `rows`, and every slot in which they are someone's neighbour."""
        gone = np.zeros(len(self.neighbours), np.bool_)
        gone[rows] = True
        self.sums[rows] = 0
        self.neighbours[rows] = EMPTY
        self.weights[rows] = 0
        _close_ranks(self.neighbours, self.weights, gone)


@compiled
def _close_ranks(neighbours: NDArray[np.int32], weights: NDArray[np.float32], gone: NDArray[np.bool_]) -> None:
    """Take neighbours that are `gone` (rows,) out of all slots; those behind them move up."""
    for x in range(len(neighbours)):
        kept = 0
        for n in range(neighbours.shape[1]):
            y = neighbours[x, n]
            if y == EMPTY:
                break
            if gone[y] or kept < n:
                if not gone[y]:
                    neighbours[x, kept], weights[x, kept] = y, weights[x, n]
                neighbours[x, n], weights[x, n] = EMPTY, 0
            if not gone[y]:
                kept += 1


@lean
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
                _strengthen(neighbours[x], weights[x], y, forward, weight, right_after)
                sums[x, FORWARD] += forward
                sums[x, TOGETHER] += weight
                sums[x, FOLLOW] += right_after


@lean
def _strengthen(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    y: int,
    forward: float,
    together: float,
    follow: float,
) -> None:
    """Add to the weights of neighbour `y`, in its slot, the first free one or the weakest; and keep the slots in order.

    `neighbours` (M,) and `weights` (M, 3) are those of one item.
    """
    slot = 0
    while slot < len(neighbours) and neighbours[slot] != y and neighbours[slot] != EMPTY:
        slot += 1
    if slot == len(neighbours):
        slot = _weakest(weights)
        for later in range(slot, len(neighbours) - 1):
            _move(neighbours, weights, later + 1, later)
        slot = len(neighbours) - 1
        neighbours[slot] = EMPTY
    old = neighbours[slot] != EMPTY
    now_forward = np.float32(forward) + weights[slot, FORWARD] * old
    now_together = np.float32(together) + weights[slot, TOGETHER] * old
    now_follow = np.float32(follow) + weights[slot, FOLLOW] * old
    while slot > 0 and weights[slot - 1, TOGETHER] < now_together:
        _move(neighbours, weights, slot - 1, slot)
        slot -= 1
    neighbours[slot] = y
    weights[slot, FORWARD], weights[slot, TOGETHER], weights[slot, FOLLOW] = now_forward, now_together, now_follow


@inlined
def _move(neighbours: NDArray[np.int32], weights: NDArray[np.float32], source: int, target: int) -> None:
    neighbours[target] = neighbours[source]
    for n in range(3):
        weights[target, n] = weights[source, n]


@lean
def _weakest(weights: NDArray[np.float32]) -> int:
    """The slot of a full row that has the least `together`, then the least `forward`, then for longest."""
    last = len(weights) - 1
    weakest = last
    for slot in range(last - 1, -1, -1):
        if weights[slot, TOGETHER] > weights[last, TOGETHER]:
            break
        if weights[slot, FORWARD] <= weights[weakest, FORWARD]:
            weakest = slot
    return weakest

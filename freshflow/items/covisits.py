"""Co-visitation: which items come together, and in which order.

For each item x a row of M neighbour slots y with two weights:

    forward[x, y]  += 1 / n   when y came n steps after x (directed)
    together[x, y] += 1       when x and y stood in one context (undirected, kept in both rows)

and the sums of all that was ever added to the row. A full row gives up its weakest slot (by `together`, then by
`forward`), so a row is the heavy part of the item's true neighbours.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow.items.rows import grown

__all__ = ["CoVisits"]

Rows = NDArray[np.int64]

EMPTY = -1


class CoVisits:
    """Neighbour slots of all items: `neighbours` (rows, M) int32, `forward` and `together` (rows, M) float32.

    The sums of rows are float64: float32 stops counting single increments at 2^24, some million events of a hot item.
    """

    def __init__(self, slots: int, capacity: int = 0) -> None:
        self.slots = slots
        self.neighbours = np.full((capacity, slots), EMPTY, np.int32)
        self.forward = np.zeros((capacity, slots), np.float32)
        self.together = np.zeros((capacity, slots), np.float32)
        self.forward_sum = np.zeros(capacity)
        self.together_sum = np.zeros(capacity)

    def add(self, items: Rows, contexts: Rows, weights: NDArray[np.float32]) -> None:
        """Fold in that item `items[i]` (B,) came in context `contexts[i]` (B, L), most recent first, -1 padded.

        `weights` (B,) scale the increments. An item in its own context makes no pair.
        """
        steps = np.broadcast_to(np.arange(1, contexts.shape[1] + 1), contexts.shape)
        target = np.broadcast_to(items[:, None], contexts.shape)
        weight = np.broadcast_to(weights[:, None], contexts.shape)
        real = (contexts >= 0) & (contexts != target)
        before, after, weight, steps = contexts[real], target[real], weight[real], steps[real]
        if not before.size:
            return
        self._add_pairs(
            np.concatenate([before, after]),
            np.concatenate([after, before]),
            np.concatenate([weight / steps, np.zeros(len(after))]),
            np.concatenate([weight, weight]),
        )

    def _add_pairs(self, x: Rows, y: Rows, forward: NDArray[np.float64], together: NDArray[np.float64]) -> None:
        """Add to the slots of (x, y), once for each distinct pair, making room where y is new to x."""
        key, inverse = np.unique((x << 32) | y, return_inverse=True)
        forward = np.bincount(inverse, forward).astype(np.float32)
        together = np.bincount(inverse, together).astype(np.float32)
        x, y = key >> 32, key & 0xFFFFFFFF
        np.add.at(self.forward_sum, x, forward)
        np.add.at(self.together_sum, x, together)

        slot = (self.neighbours[x] == y[:, None]).argmax(axis=1)
        known = self.neighbours[x, slot] == y
        slot = np.where(known, slot, self._slots_for_new(x, y, known))
        kept = slot < self.slots
        x, y, slot, known = x[kept], y[kept], slot[kept], known[kept]
        self.neighbours[x, slot] = y
        self.forward[x, slot] = np.where(known, self.forward[x, slot], 0) + forward[kept]
        self.together[x, slot] = np.where(known, self.together[x, slot], 0) + together[kept]

    def _slots_for_new(self, x: Rows, y: Rows, known: NDArray[np.bool_]) -> Rows:
        """For each pair that is not known, a slot of row x of its own, the weakest first; M where none is left.

        `x` is sorted. Slots that this very call adds to are not given away.
        """
        slot = np.full(len(x), self.slots)
        new = np.flatnonzero(~known)
        if not new.size:
            return slot
        rows, first, place = np.unique(x[new], return_index=True, return_inverse=True)
        nth = np.arange(len(new)) - first[place]  # the nth new neighbour of its row
        strength = self.together[rows] + 1e-3 * np.minimum(self.forward[rows], 999)
        strength[self.neighbours[rows] == EMPTY] = -1
        row_place = np.full(len(self.neighbours), -1)
        row_place[rows] = np.arange(len(rows))
        held = np.flatnonzero(known & (row_place[x] >= 0))
        held_slot = (self.neighbours[x[held]] == y[held][:, None]).argmax(axis=1)
        strength[row_place[x[held]], held_slot] = np.inf
        order = np.argsort(strength, axis=1, kind="stable")
        fits = nth < self.slots - np.isinf(strength).sum(axis=1)[place]
        slot[new] = np.where(fits, order[place, np.minimum(nth, self.slots - 1)], self.slots)
        return slot

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.neighbours = grown(self.neighbours, capacity, EMPTY)
        self.forward, self.together = grown(self.forward, capacity), grown(self.together, capacity)
        self.forward_sum = grown(self.forward_sum, capacity)
        self.together_sum = grown(self.together_sum, capacity)

    def drop(self, rows: Rows) -> None:
        """Clear `rows`, and every slot in which they are someone's neighbour."""
        gone = np.zeros(len(self.neighbours) + 1, np.bool_)  # the last entry answers for EMPTY
        gone[rows] = True
        self.neighbours[rows] = EMPTY
        self.forward_sum[rows] = self.together_sum[rows] = 0
        lost = gone[self.neighbours]
        lost[rows] = True
        self.neighbours[lost] = EMPTY
        self.forward[lost] = self.together[lost] = 0

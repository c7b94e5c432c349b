"""Co-visitation: counts of items visited together, by order.

For each item x a row of M neighbour slots y with three weights:

    forward[x, y]  += 1 / n   when y came n steps after x (directed)
    together[x, y] += 1       when x and y were in one context (undirected, stored in both rows)
    follow[x, y]   += 1       when y came right after x (directed)

and the sums of all increments of the row. Slots are sorted by falling `together`, ties by age, free slots last, so a
reader can stop early. A full row gives up its weakest slot (by `together`, then by `forward`), so it holds the heaviest
of the item's true neighbours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_inline, jit_no_refcount
from freshflow.items.index import extend_rows

FORWARD, COOCCURRENCE, NEXT_VISIT = range(3)
EMPTY_SLOT = -1


class CoVisits(NamedTuple):
    """Neighbour slots of all items.

    Attributes:
        neighbours: (rows, M) int32 item rows.
        weights: (rows, M, 3) float32.
        sums: (rows, 3) float64: float32 stops counting single increments at 2^24, some million events of a hot item.
    """

    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32]
    sums: NDArray[np.float64]

    @classmethod
    def empty(cls, capacity: int, slots: int) -> "CoVisits":
        """Return room for `capacity` items with `slots` neighbours each."""
        neighbours = np.full((capacity, slots), EMPTY_SLOT, np.int32)
        return cls(neighbours, np.zeros((capacity, slots, 3), np.float32), np.zeros((capacity, 3)))

    def with_capacity(self, capacity: int) -> "CoVisits":
        """Return a copy with room for `capacity` items."""
        return CoVisits(
            extend_rows(self.neighbours, capacity, EMPTY_SLOT),
            extend_rows(self.weights, capacity),
            extend_rows(self.sums, capacity),
        )

    def head(self, n_rows: int) -> "CoVisits":
        """Return views of the first `n_rows` items."""
        return CoVisits(self.neighbours[:n_rows], self.weights[:n_rows], self.sums[:n_rows])

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Clear `rows`, and every slot in which they are neighbours."""
        is_removed = np.zeros(len(self.neighbours), np.bool_)
        is_removed[rows] = True
        self.sums[rows] = 0
        self.neighbours[rows] = EMPTY_SLOT
        self.weights[rows] = 0
        _compact_slots(self.neighbours, self.weights, is_removed)


@jit
def _compact_slots(neighbours: NDArray[np.int32], weights: NDArray[np.float32], is_removed: NDArray[np.bool_]) -> None:
    """Remove neighbours that are `is_removed` (rows,) from all slots; those behind them move up."""
    for x in range(len(neighbours)):
        n_kept = 0
        for n in range(neighbours.shape[1]):
            y = neighbours[x, n]
            if y == EMPTY_SLOT:
                break
            if is_removed[y] or n_kept < n:
                if not is_removed[y]:
                    neighbours[x, n_kept], weights[x, n_kept] = y, weights[x, n]
                neighbours[x, n], weights[x, n] = EMPTY_SLOT, 0
            if not is_removed[y]:
                n_kept += 1


@jit_no_refcount
def add_pairs(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    item: int,
    context: NDArray[np.int32],
    weight: float,
) -> None:
    """Count that an item was visited in a context; an item in its own context makes no pair.

    Args:
        neighbours: (rows, M) of `CoVisits`.
        weights: (rows, M, 3) of `CoVisits`.
        sums: (rows, 3) of `CoVisits`.
        item: The row of the visited item.
        context: (L,) item rows, the latest first, -1 for unknown items.
        weight: Scales the increments.
    """
    for n in range(len(context)):
        context_item = context[n]
        if context_item >= 0 and context_item != item:
            next_weight = weight if n == 0 else 0.0
            for x, y, forward, next_visit in (
                (context_item, item, weight / (n + 1), next_weight),
                (item, context_item, 0.0, 0.0),
            ):
                _add_weights(neighbours[x], weights[x], y, forward, weight, next_visit)
                sums[x, FORWARD] += forward
                sums[x, COOCCURRENCE] += weight
                sums[x, NEXT_VISIT] += next_visit


@jit_no_refcount
def _add_weights(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    y: int,
    forward: float,
    cooccurrence: float,
    next_visit: float,
) -> None:
    """Add to the weights of neighbour `y` in its slot, the first free or the weakest, and keep the slots sorted.

    Args:
        neighbours: (M,) of one item.
        weights: (M, 3) of one item.
        y: The row of the neighbour.
        forward: The increment of `forward`.
        cooccurrence: The increment of `together`.
        next_visit: The increment of `follow`.
    """
    slot = 0
    while slot < len(neighbours) and neighbours[slot] != y and neighbours[slot] != EMPTY_SLOT:
        slot += 1
    if slot == len(neighbours):
        slot = _weakest_slot(weights)
        for target_slot in range(slot, len(neighbours) - 1):
            _move_slot(neighbours, weights, target_slot + 1, target_slot)
        slot = len(neighbours) - 1
        neighbours[slot] = EMPTY_SLOT
    is_occupied = neighbours[slot] != EMPTY_SLOT
    new_forward = np.float32(forward) + weights[slot, FORWARD] * is_occupied
    new_cooccurrence = np.float32(cooccurrence) + weights[slot, COOCCURRENCE] * is_occupied
    new_next_visit = np.float32(next_visit) + weights[slot, NEXT_VISIT] * is_occupied
    while slot > 0 and weights[slot - 1, COOCCURRENCE] < new_cooccurrence:
        _move_slot(neighbours, weights, slot - 1, slot)
        slot -= 1
    neighbours[slot] = y
    weights[slot, FORWARD], weights[slot, COOCCURRENCE], weights[slot, NEXT_VISIT] = (
        new_forward,
        new_cooccurrence,
        new_next_visit,
    )


@jit_inline
def _move_slot(neighbours: NDArray[np.int32], weights: NDArray[np.float32], source_slot: int, target_slot: int) -> None:
    neighbours[target_slot] = neighbours[source_slot]
    for n in range(3):
        weights[target_slot, n] = weights[source_slot, n]


@jit_no_refcount
def _weakest_slot(weights: NDArray[np.float32]) -> int:
    """Return the slot of a full row with the least `together`, then the least `forward`, then the greatest age."""
    last_slot = len(weights) - 1
    weakest_slot = last_slot
    for slot in range(last_slot - 1, -1, -1):
        if weights[slot, COOCCURRENCE] > weights[last_slot, COOCCURRENCE]:
            break
        if weights[slot, FORWARD] <= weights[weakest_slot, FORWARD]:
            weakest_slot = slot
    return weakest_slot

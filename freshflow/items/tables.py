"""All tables of item knowledge together, and how a visit is folded into them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import lean
from freshflow.items.covisitation import CoVisits, add_pairs
from freshflow.items.embeddings import Contents
from freshflow.items.popularity import EVENTS, Popularity, count, leaders
from freshflow.items.revisits import Returns, add_return

__all__ = ["LEADERS", "Leading", "Tables", "fold"]

# (window, found anew after so many events) of all visits, and of opening ones. To look through 2,000 costs more.
LEADERS = ((1, 8), (2, 64), (1, 8), (2, 64))


class Leading(NamedTuple):
    """What is popular, for candidates: `rows` (4, N), of which `sizes` (4,) are filled; at most `wanted` (4,) each."""

    rows: NDArray[np.int32]
    sizes: NDArray[np.int64]
    wanted: NDArray[np.int64]

    @classmethod
    def empty(cls, wanted: tuple[int, int, int, int]) -> "Leading":
        """Room for as many as are `wanted`: right now and for a while, of all visits and of opening ones."""
        rows = np.full((len(LEADERS), max(*wanted, 1)), -1, np.int32)
        return cls(rows, np.zeros(len(LEADERS), np.int64), np.array(wanted, np.int64))


class Tables(NamedTuple):
    """What is known of items, by row; `openings` is the popularity of visits that opened a session."""

    covisits: CoVisits
    returns: Returns
    popularity: Popularity
    openings: Popularity
    leading: Leading
    available: NDArray[np.bool_]
    contents: Contents


@lean
def fold(tables: Tables, item: int, context: NDArray[np.int32], ts_ms: int, opens: bool, weight: float) -> None:
    """Learn a visit of row `item` at `ts_ms` in `context` (L,) rows, the most recent first, -1 where not known."""
    covisits, leading = tables.covisits, tables.leading
    add_pairs(covisits.neighbours, covisits.weights, covisits.sums, item, context, weight)
    add_return(tables.returns.counts, item, context)
    for number in range(2 if opens else 1):
        memories, ring, clock = tables.popularity if number == 0 else tables.openings
        count(memories, ring, clock, item, ts_ms)
        for n in range(2 * number, 2 * number + 2):
            window, every = LEADERS[n]
            if clock[EVENTS] % every == 0 or clock[EVENTS] < every:
                leading.sizes[n] = leaders(memories, ring, clock, window, leading.rows[n, : leading.wanted[n]])

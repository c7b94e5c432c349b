"""All tables of item knowledge together, and how a visit is folded into them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount
from freshflow.items.covisitation import CoVisits, add_pairs
from freshflow.items.embeddings import ItemEmbeddings
from freshflow.items.popularity import N_EVENTS, ItemPopularity, count_event, find_top_rows
from freshflow.items.revisits import Revisits, count_revisit

__all__ = ["TOP_ITEM_WINDOWS", "TopItems", "ItemTables", "update_tables"]

# (window, found anew after so many events) of all visits, and of opening ones. To look through 2,000 costs more.
TOP_ITEM_WINDOWS = ((1, 8), (2, 64), (1, 8), (2, 64))


class TopItems(NamedTuple):
    """What is popular, for candidates: `rows` (4, N), of which `sizes` (4,) are filled; at most `limits` (4,) each."""

    rows: NDArray[np.int32]
    sizes: NDArray[np.int64]
    limits: NDArray[np.int64]

    @classmethod
    def empty(cls, limits: tuple[int, int, int, int]) -> "TopItems":
        """Room for as many as are `limits`: right now and for a while, of all visits and of opening ones."""
        rows = np.full((len(TOP_ITEM_WINDOWS), max(*limits, 1)), -1, np.int32)
        return cls(rows, np.zeros(len(TOP_ITEM_WINDOWS), np.int64), np.array(limits, np.int64))


class ItemTables(NamedTuple):
    """What is known of items, by row; `session_start_popularity` is the popularity of visits that opened a session."""

    covisits: CoVisits
    revisits: Revisits
    popularity: ItemPopularity
    session_start_popularity: ItemPopularity
    top_items: TopItems
    available: NDArray[np.bool_]
    embeddings: ItemEmbeddings


@jit_no_refcount
def update_tables(
    tables: ItemTables, item: int, context: NDArray[np.int32], ts_ms: int, is_session_start: bool, weight: float
) -> None:
    """Learn a visit of row `item` at `ts_ms` in `context` (L,) rows, the most recent first, -1 where not known."""
    covisits, top_items = tables.covisits, tables.top_items
    add_pairs(covisits.neighbours, covisits.weights, covisits.sums, item, context, weight)
    count_revisit(tables.revisits.counts, item, context)
    for table in range(2 if is_session_start else 1):
        memories, ring, clock = tables.popularity if table == 0 else tables.session_start_popularity
        count_event(memories, ring, clock, item, ts_ms)
        for n in range(2 * table, 2 * table + 2):
            window, update_interval = TOP_ITEM_WINDOWS[n]
            if clock[N_EVENTS] % update_interval == 0 or clock[N_EVENTS] < update_interval:
                top_items.sizes[n] = find_top_rows(
                    memories, ring, clock, window, top_items.rows[n, : top_items.limits[n]]
                )

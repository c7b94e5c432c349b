"""All arrays of the item statistics together, and how a visit updates them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount
from freshflow.items.covisitation import CoVisits, add_pairs
from freshflow.items.embeddings import ItemEmbeddings
from freshflow.items.popularity import N_EVENTS, ItemPopularity, count_event, find_top_rows
from freshflow.items.revisits import Revisits, count_revisit

# (window, update interval in events) of all visits, then of session starts. A scan of 2,000 events costs more.
TOP_ITEM_WINDOWS = ((1, 8), (2, 64), (1, 8), (2, 64))


class TopItems(NamedTuple):
    """Popular items for candidates.

    Attributes:
        rows: (4, N) item rows: over a short and a long window, of all visits and of session starts.
        sizes: (4,) number of rows that are filled.
        limits: (4,) the greatest number of each.
    """

    rows: NDArray[np.int32]
    sizes: NDArray[np.int64]
    limits: NDArray[np.int64]

    @classmethod
    def empty(cls, limits: tuple[int, int, int, int]) -> "TopItems":
        """Return room for `limits` items of each kind."""
        rows = np.full((len(TOP_ITEM_WINDOWS), max(*limits, 1)), -1, np.int32)
        return cls(rows, np.zeros(len(TOP_ITEM_WINDOWS), np.int64), np.array(limits, np.int64))


class ItemTables(NamedTuple):
    """The arrays of the item statistics, by item row; `session_start_popularity` counts visits that start a session."""

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
    """Count a visit.

    Args:
        tables: Updated in place.
        item: The row of the item.
        context: (L,) item rows, the latest first, -1 for unknown items.
        ts_ms: Event time.
        is_session_start: The visit starts a session.
        weight: The sample weight of its co-visitation.
    """
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

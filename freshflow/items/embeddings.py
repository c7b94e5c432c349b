"""Content of items for those that few users have visited: embeddings, categories and launch times.

An embedding e is stored as the integers v = round(127 e / max |e|), a byte each, and as 1 / |v|, so that

    like(x, y) = v_x . v_y / (|v_x| |v_y|),   within some hundredths of a percent of the cosine of the embeddings.

The *pool* holds the newest items with content and few visits, which co-visitation cannot recommend yet. Where the
newest items are wanted, it is enough that an item is new: its event has a publication time, or precedes all visits.
The pool is sorted by launch time; when it is full, visited items leave it first, then the oldest.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._state_tables import StateTable
from freshflow.config.schema import ContentConfig
from freshflow.events.model import ItemUpdate
from freshflow.items.index import NO_ROW, extend_rows

WARM_VISITS = 20  # from this many on, co-visitation finds the item
MAX_CATEGORIES_PER_ITEM = 8  # the first that an item event names
MAX_CATEGORIES = 10_000  # later categories are ignored
NO_CATEGORY = -1
QUANTIZATION_MAX = 127  # of a signed byte

# Positions in `ItemEmbeddings.counts`.
N_IN_POOL, N_NEAREST, N_NEWEST, N_CATEGORISED = range(4)


class ItemEmbeddings(NamedTuple):
    """Arrays by item row; they have no rows where content is off.

    Attributes:
        vectors: (rows, D) int8, v.
        inverse_norms: (rows,) float32, 1 / |v|, 0 without an embedding.
        categories: (rows, 8) category codes, -1 for none.
        launch_ms: (rows,) launch time, 0 for none.
        is_hidden: (rows,) never a candidate.
        centroid: (D,) the mean of v / |v| over all items.
        category_sizes: (C,) number of items of each category.
        pool: (P,) item rows by rising launch time.
        counts: (4,) items in the pool; candidates wanted of the nearest and of the newest; items with categories.
    """

    vectors: NDArray[np.int8]
    inverse_norms: NDArray[np.float32]
    categories: NDArray[np.int32]
    launch_ms: NDArray[np.int64]
    is_hidden: NDArray[np.bool_]
    centroid: NDArray[np.float32]
    category_sizes: NDArray[np.int32]
    pool: NDArray[np.int32]
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, config: ContentConfig) -> "ItemEmbeddings":
        """Return arrays for no items."""
        width = config.dimensions
        return cls(
            vectors=np.zeros((0, width), np.int8),
            inverse_norms=np.zeros(0, np.float32),
            categories=np.zeros((0, MAX_CATEGORIES_PER_ITEM), np.int32),
            launch_ms=np.zeros(0, np.int64),
            is_hidden=np.zeros(0, np.bool_),
            centroid=np.zeros(width, np.float32),
            category_sizes=np.zeros(MAX_CATEGORIES if config.is_enabled else 0, np.int32),
            pool=np.full(config.pool if config.is_enabled else 0, NO_ROW, np.int32),
            counts=np.array([0, config.nearest, config.newest, 0], np.int64),
        )

    def with_capacity(self, capacity: int) -> "ItemEmbeddings":
        """Return a copy with room for `capacity` items."""
        return self._replace(
            vectors=extend_rows(self.vectors, capacity),
            inverse_norms=extend_rows(self.inverse_norms, capacity),
            categories=extend_rows(self.categories, capacity, NO_CATEGORY),
            launch_ms=extend_rows(self.launch_ms, capacity),
            is_hidden=extend_rows(self.is_hidden, capacity),
        )

    def head(self, n_rows: int) -> "ItemEmbeddings":
        """Return views of the first `n_rows` items."""
        return self._replace(
            vectors=self.vectors[:n_rows],
            inverse_norms=self.inverse_norms[:n_rows],
            categories=self.categories[:n_rows],
            launch_ms=self.launch_ms[:n_rows],
            is_hidden=self.is_hidden[:n_rows],
        )

    @property
    def pooled_rows(self) -> NDArray[np.int32]:
        """The rows in the pool, the oldest first."""
        return self.pool[: self.counts[N_IN_POOL]]


class EmbeddingsState(StateTable, frozen=True):
    """State of an embedding store: the columns of `ItemEmbeddings`, and how they continue to be filled.

    `category_codes` gives the number of a category by name. `vector_sum` (D,) is the sum of v / |v| over the
    `n_embedded` items that have an embedding.
    """

    vectors: NDArray[np.int8]
    inverse_norms: NDArray[np.float32]
    categories: NDArray[np.int32]
    launch_ms: NDArray[np.int64]
    is_hidden: NDArray[np.bool_]
    centroid: NDArray[np.float32]
    category_sizes: NDArray[np.int32]
    pool: NDArray[np.int32]
    counts: NDArray[np.int64]
    category_codes: dict[str, int]
    vector_sum: NDArray[np.float64]
    n_embedded: int
    n_dimension_mismatches: int


class EmbeddingStore:
    """The arrays of item content, filled from item events; empty unless content is on.

    The first embedding fixes the number of dimensions, unless `config.dimensions` does. Embeddings with another number
    are ignored and counted in `n_dimension_mismatches`; embeddings of zeros are ignored. Items with `blocked_ids` are
    hidden.
    """

    def __init__(self, config: ContentConfig, blocked_ids: Collection[str] = ()) -> None:
        self.config = config
        self.blocked_ids = frozenset(blocked_ids)
        self.arrays = ItemEmbeddings.empty(config)
        self.category_codes: dict[str, int] = {}
        self.vector_sum = np.zeros(config.dimensions)  # of v / |v|
        self.n_embedded = self.n_dimension_mismatches = 0

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        if self.config.is_enabled:
            self.arrays = self.arrays.with_capacity(capacity)

    def update(self, row: int, update: ItemUpdate, visits: NDArray[np.float64]) -> None:
        """Store the content of an item event.

        Args:
            row: The row of the item.
            update: The item event.
            visits: (rows,) visits of all items.
        """
        if not self.config.is_enabled:
            return
        if update.categories is not None:
            self._set_categories(row, update.categories)
        if update.embedding is not None:
            self._set_embedding(row, np.array(update.embedding))
        arrays = self.arrays
        arrays.is_hidden[row] = update.item_id in self.blocked_ids
        has_content = arrays.inverse_norms[row] > 0 or arrays.categories[row, 0] != NO_CATEGORY
        is_new = self.config.newest > 0 and (update.published_ms is not None or not visits[row])
        if (has_content or is_new) and not arrays.launch_ms[row]:
            published_ms = update.ts_ms if update.published_ms is None else update.published_ms
            arrays.launch_ms[row] = min(published_ms, update.ts_ms) or 1  # 0 means never launched
            if visits[row] < WARM_VISITS:
                self._add_to_pool(row, visits)

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Clear `rows`."""
        if not self.config.is_enabled:
            return
        arrays, is_dropped = self.arrays, np.zeros(len(self.arrays.inverse_norms), np.bool_)
        is_dropped[rows] = True
        self._filter_pool(~is_dropped[arrays.pooled_rows])
        for row in rows.tolist():
            self._clear_vector(row)
        categories = arrays.categories[rows]
        arrays.counts[N_CATEGORISED] -= np.count_nonzero(categories[:, 0] != NO_CATEGORY)
        np.subtract.at(arrays.category_sizes, categories[categories != NO_CATEGORY], 1)
        arrays.categories[rows] = NO_CATEGORY
        arrays.launch_ms[rows] = 0
        arrays.is_hidden[rows] = False

    def state(self, n_rows: int) -> EmbeddingsState:
        """Return the state of the first `n_rows` rows, which are those in use."""
        arrays = self.arrays.head(n_rows)
        return EmbeddingsState(
            vectors=arrays.vectors,
            inverse_norms=arrays.inverse_norms,
            categories=arrays.categories,
            launch_ms=arrays.launch_ms,
            is_hidden=arrays.is_hidden,
            centroid=arrays.centroid,
            category_sizes=arrays.category_sizes,
            pool=arrays.pool,
            counts=arrays.counts,
            category_codes=self.category_codes,
            vector_sum=self.vector_sum,
            n_embedded=self.n_embedded,
            n_dimension_mismatches=self.n_dimension_mismatches,
        )

    def restore(self, state: EmbeddingsState, ids: Sequence[str]) -> None:
        """Continue from a state, with items of these `ids` by row.

        If the pool has another size now, the newest items stay in it. Items blocked since then are hidden.
        """
        self.category_codes, self.vector_sum = state.category_codes, state.vector_sum
        self.n_embedded, self.n_dimension_mismatches = state.n_embedded, state.n_dimension_mismatches
        arrays = ItemEmbeddings(
            vectors=state.vectors,
            inverse_norms=state.inverse_norms,
            categories=state.categories,
            launch_ms=state.launch_ms,
            is_hidden=state.is_hidden,
            centroid=state.centroid,
            category_sizes=state.category_sizes,
            pool=state.pool,
            counts=state.counts,
        )
        empty_arrays = ItemEmbeddings.empty(self.config)
        newest_rows = arrays.pooled_rows[max(0, len(arrays.pooled_rows) - len(empty_arrays.pool)) :]
        empty_arrays.pool[: len(newest_rows)], empty_arrays.counts[N_IN_POOL] = newest_rows, len(newest_rows)
        empty_arrays.counts[N_CATEGORISED] = arrays.counts[N_CATEGORISED]
        self.arrays = arrays._replace(pool=empty_arrays.pool, counts=empty_arrays.counts)
        for row in self.arrays.pooled_rows.tolist():
            self.arrays.is_hidden[row] = ids[row] in self.blocked_ids

    def _set_categories(self, row: int, names: tuple[str, ...]) -> None:
        arrays, codes = self.arrays, []
        for name in dict.fromkeys(names[:MAX_CATEGORIES_PER_ITEM]):
            if name not in self.category_codes and len(self.category_codes) < MAX_CATEGORIES:
                self.category_codes[name] = len(self.category_codes)
            codes += [self.category_codes[name]] if name in self.category_codes else []
        old_codes = arrays.categories[row].copy()
        arrays.category_sizes[old_codes[old_codes != NO_CATEGORY]] -= 1
        arrays.categories[row] = NO_CATEGORY
        arrays.categories[row, : len(codes)] = codes
        arrays.category_sizes[codes] += 1
        arrays.counts[N_CATEGORISED] += int(bool(codes)) - int(old_codes[0] != NO_CATEGORY)

    def _set_embedding(self, row: int, embedding: NDArray[np.float64]) -> None:
        if not self.arrays.vectors.shape[1]:
            width, n_rows = len(embedding), len(self.arrays.inverse_norms)
            self.arrays = self.arrays._replace(
                vectors=np.zeros((n_rows, width), np.int8), centroid=np.zeros(width, np.float32)
            )
            self.vector_sum = np.zeros(width)
        arrays, largest = self.arrays, np.abs(embedding).max()
        if len(embedding) != arrays.vectors.shape[1]:
            self.n_dimension_mismatches += 1
            return
        if not largest:
            return
        self._clear_vector(row)
        vector = np.rint(embedding / largest * QUANTIZATION_MAX)
        arrays.vectors[row] = vector
        arrays.inverse_norms[row] = 1 / np.linalg.norm(vector)
        self._add_to_centroid(row, 1)

    def _clear_vector(self, row: int) -> None:
        if self.arrays.inverse_norms[row] > 0:
            self._add_to_centroid(row, -1)
            self.arrays.vectors[row] = 0
            self.arrays.inverse_norms[row] = 0

    def _add_to_centroid(self, row: int, sign: int) -> None:
        """Add the vector of `row` to the centroid (`sign` 1) or remove it (`sign` -1)."""
        arrays = self.arrays
        self.vector_sum += sign * (arrays.vectors[row] * np.float64(arrays.inverse_norms[row]))
        self.n_embedded += sign
        arrays.centroid[:] = self.vector_sum / max(self.n_embedded, 1)

    def _add_to_pool(self, row: int, visits: NDArray[np.float64]) -> None:
        """Insert an item into the pool by launch time, if there is room or it is not the oldest."""
        arrays, counts = self.arrays, self.arrays.counts
        if counts[N_IN_POOL] == len(arrays.pool):
            self._filter_pool(visits[arrays.pooled_rows] < WARM_VISITS)
        position = int(np.searchsorted(arrays.launch_ms[arrays.pooled_rows], arrays.launch_ms[row], side="right"))
        if counts[N_IN_POOL] == len(arrays.pool):
            if position == 0:
                return
            arrays.pool[: position - 1] = arrays.pool[1:position].copy()
            arrays.pool[position - 1] = row
            return
        counts[N_IN_POOL] += 1
        pooled_rows = arrays.pooled_rows
        pooled_rows[position + 1 :] = pooled_rows[position:-1].copy()
        pooled_rows[position] = row

    def _filter_pool(self, is_kept: NDArray[np.bool_]) -> None:
        rows = self.arrays.pooled_rows[is_kept]
        self.arrays.pool[: len(rows)] = rows
        self.arrays.counts[N_IN_POOL] = len(rows)

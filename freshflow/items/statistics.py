"""Item statistics of a partition: its rows, co-visitation, popularity, content and catalogue."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from freshflow._state_tables import StateTable
from freshflow.config.schema import ContentConfig, ItemsConfig, RankingConfig
from freshflow.events.model import ItemUpdate
from freshflow.items.catalogue import ItemCatalogue
from freshflow.items.covisitation import CoVisits
from freshflow.items.embeddings import EmbeddingStore
from freshflow.items.index import NO_ROW, ItemIndex
from freshflow.items.popularity import FIRST_MS, HALF_LIVES_MS, LAST_MS, WEEK, ItemPopularity, find_recent_rows
from freshflow.items.revisits import VISITS, Revisits
from freshflow.items.tables import ItemTables, TopItems

INITIAL_ROWS = 1024
CLOCK_SAMPLE_VISITS = 63  # latest visits whose median is the current time, so that one from the future has no effect
ITEM_EVICTION_DIVISOR = 16  # a full table evicts its least popular sixteenth at once, so that evictions are rare


class ItemsState(StateTable, frozen=True):
    """State of item statistics beside index, catalogue and embeddings: the columns of `ItemTables`, and counts."""

    covisit_neighbours: NDArray[np.int32]
    covisit_weights: NDArray[np.float32]
    covisit_sums: NDArray[np.float64]
    revisit_counts: NDArray[np.float64]
    popularity_counters: NDArray[np.float64]
    popularity_ring: NDArray[np.int32]
    popularity_clock: NDArray[np.float64]
    session_start_counters: NDArray[np.float64]
    session_start_ring: NDArray[np.int32]
    session_start_clock: NDArray[np.float64]
    top_item_rows: NDArray[np.int32]
    top_item_sizes: NDArray[np.int64]
    top_item_limits: NDArray[np.int64]
    n_evicted: int
    n_idle_evicted: int


class ItemStatistics:
    """Statistics of at most `config.max` items; the least popular (half-life of a week) are evicted first.

    Items without an event for `config.idle_s` are evicted by `evict_idle`; `n_evicted` counts all evictions. `tables`
    are indexed by row, change in place (`freshflow.items.tables`) and are replaced when they grow.
    """

    def __init__(
        self,
        config: ItemsConfig,
        ranking: RankingConfig,
        content: ContentConfig | None = None,
        blocked_ids: Collection[str] = (),
    ) -> None:
        self.config = config
        self.index = ItemIndex(config.max)
        self.catalogue = ItemCatalogue()
        self.embedding_store = EmbeddingStore(content or ContentConfig(), blocked_ids)
        limits = (ranking.popular_recent, ranking.popular, ranking.opening_recent, ranking.opening)
        self.tables = ItemTables(
            covisits=CoVisits.empty(0, config.neighbours),
            revisits=Revisits.empty(0),
            popularity=ItemPopularity.empty(0),
            session_start_popularity=ItemPopularity.empty(0),
            top_items=TopItems.empty(limits),
            available=self.catalogue.available,
            embeddings=self.embedding_store.arrays,
        )
        self.n_evicted = self.n_idle_evicted = 0
        self.evicted_rows = np.empty(0, np.int64)  # since the last call of `drain_evicted_rows`

    def admission_affects_others(self, item_id: str) -> bool:
        """Return True if admitting an item would change the statistics of others, or bring back an evicted one."""
        return self.index.get(item_id) == NO_ROW and (self.n_evicted > 0 or self.index.is_full)

    def admit(self, item_id: str, now_ms: int) -> None:
        """Assign a row to an item, with no statistics yet; may evict the least popular others."""
        if self.index.get(item_id) != NO_ROW:
            return
        if self.index.is_full:
            self._evict_least_popular(now_ms)
        if self.index.add(item_id) >= self.capacity:
            self._grow()

    def drain_evicted_rows(self) -> NDArray[np.int64]:
        """Return the rows evicted since the last call; they may belong to other items by now."""
        evicted_rows, self.evicted_rows = self.evicted_rows, np.empty(0, np.int64)
        return evicted_rows

    @property
    def capacity(self) -> int:
        """The number of rows of the tables."""
        return len(self.tables.available)

    def state(self) -> ItemsState:
        """Return the state of the rows in use; index, catalogue and embeddings have states of their own."""
        tables, n_rows = self.tables, len(self.index.ids)
        covisits = tables.covisits.head(n_rows)
        return ItemsState(
            covisit_neighbours=covisits.neighbours,
            covisit_weights=covisits.weights,
            covisit_sums=covisits.sums,
            revisit_counts=tables.revisits.counts[:n_rows],
            popularity_counters=tables.popularity.counters[:n_rows],
            popularity_ring=tables.popularity.ring,
            popularity_clock=tables.popularity.clock,
            session_start_counters=tables.session_start_popularity.counters[:n_rows],
            session_start_ring=tables.session_start_popularity.ring,
            session_start_clock=tables.session_start_popularity.clock,
            top_item_rows=tables.top_items.rows,
            top_item_sizes=tables.top_items.sizes,
            top_item_limits=tables.top_items.limits,
            n_evicted=self.n_evicted,
            n_idle_evicted=self.n_idle_evicted,
        )

    def restore(self, state: ItemsState) -> None:
        """Continue from a state; index, catalogue and embeddings have been restored before.

        If the configuration asks for another number of top items now, they are found anew with the next visits.
        """
        stored_top_items = TopItems(state.top_item_rows, state.top_item_sizes, state.top_item_limits)
        has_same_limits = np.array_equal(stored_top_items.limits, self.tables.top_items.limits)
        self.tables = ItemTables(
            covisits=CoVisits(state.covisit_neighbours, state.covisit_weights, state.covisit_sums),
            revisits=Revisits(state.revisit_counts),
            popularity=ItemPopularity(state.popularity_counters, state.popularity_ring, state.popularity_clock),
            session_start_popularity=ItemPopularity(
                state.session_start_counters, state.session_start_ring, state.session_start_clock
            ),
            top_items=stored_top_items if has_same_limits else self.tables.top_items,
            available=self.catalogue.available,
            embeddings=self.embedding_store.arrays,
        )
        self.n_evicted, self.n_idle_evicted = state.n_evicted, state.n_idle_evicted

    def decay_covisits(self, factor: float) -> None:
        """Multiply all co-visitation counts by `factor`."""
        if factor == 1:
            return
        covisits = self.tables.covisits
        for weights in (covisits.weights, covisits.sums):
            weights *= factor

    def update_catalogue(self, update: ItemUpdate) -> None:
        """Store an item event; an item without visits gets a row, too."""
        self.admit(update.item_id, update.ts_ms)
        row = self.index.get(update.item_id)
        self.catalogue.update(row, update)
        self._update_embeddings(row, update)

    def _update_embeddings(self, row: int, update: ItemUpdate) -> None:
        embedding_store, item_counters = self.embedding_store, self.tables.popularity.counters[row]
        embedding_store.update(row, update, self.tables.revisits.counts[:, VISITS])
        if embedding_store.arrays is not self.tables.embeddings:
            self.tables = self.tables._replace(embeddings=embedding_store.arrays)
        if (
            embedding_store.config.is_enabled and not item_counters[WEEK]
        ):  # before its first visit it ages from its launch
            item_counters[FIRST_MS] = item_counters[LAST_MS] = embedding_store.arrays.launch_ms[row]

    def is_available(self, item_id: str) -> bool:
        """Return True if an item is available; items without an entry in the catalogue are."""
        row = self.index.get(item_id)
        return row == NO_ROW or bool(self.catalogue.available[row])

    def _grow(self) -> None:
        capacity = min(max(INITIAL_ROWS, 2 * self.capacity), self.config.max)
        self.catalogue.grow(capacity)
        self.embedding_store.grow(capacity)
        tables = self.tables
        self.tables = tables._replace(
            covisits=tables.covisits.with_capacity(capacity),
            revisits=tables.revisits.with_capacity(capacity),
            popularity=tables.popularity.with_capacity(capacity),
            session_start_popularity=tables.session_start_popularity.with_capacity(capacity),
            available=self.catalogue.available,
            embeddings=self.embedding_store.arrays,
        )

    def _evict_least_popular(self, now_ms: int) -> None:
        """Evict a share of the least popular items at once, items in the pool of content last."""
        known_rows = np.flatnonzero([bool(item) for item in self.index.ids])
        popularity = self.tables.popularity
        age_ms = np.maximum(now_ms - popularity.counters[known_rows, LAST_MS], 0)
        week_counts = popularity.counters[known_rows, WEEK] * np.exp2(-age_ms / HALF_LIVES_MS[2])
        is_pooled = np.isin(known_rows, self.embedding_store.arrays.pooled_rows)
        self._evict(known_rows[np.lexsort((week_counts, is_pooled))[: self._max_evictions]])

    def evict_idle(self) -> None:
        """Evict items without a visit or an item event for `config.idle_s`, the longest idle first.

        At most as many are evicted at once as when the table is full.
        """
        if not self.config.idle_s:
            return
        popularity, entries = self.tables.popularity, self.catalogue.entries
        latest_rows = np.empty(CLOCK_SAMPLE_VISITS, np.int32)
        latest_rows = latest_rows[: find_recent_rows(popularity.ring, popularity.clock, latest_rows)]
        if not len(latest_rows):
            return
        oldest_ms = np.median(popularity.counters[latest_rows, LAST_MS]) - self.config.idle_s * 1000
        last_active_ms = popularity.counters[: len(self.index.ids), LAST_MS].copy()
        idle_rows = [row for row in np.flatnonzero(last_active_ms < oldest_ms).tolist() if self.index.ids[row]]
        for row in idle_rows:
            if row in entries:
                last_active_ms[row] = max(last_active_ms[row], entries[row].ts_ms)
        rows = np.array([row for row in idle_rows if last_active_ms[row] < oldest_ms], np.int64)
        rows = rows[np.argsort(last_active_ms[rows], kind="stable")[: self._max_evictions]]
        if len(rows):
            self._evict(rows)
            self.n_idle_evicted += len(rows)

    @property
    def _max_evictions(self) -> int:
        return max(1, self.config.max // ITEM_EVICTION_DIVISOR)

    def _evict(self, rows: NDArray[np.int64]) -> None:
        tables = self.tables
        item_tables = (tables.covisits, tables.revisits, tables.popularity, tables.session_start_popularity)
        for table in (*item_tables, self.catalogue, self.embedding_store, self.index):
            table.drop(rows)
        self.evicted_rows = np.concatenate([self.evicted_rows, rows])
        tables.top_items.rows[np.isin(tables.top_items.rows, rows)] = NO_ROW
        self.n_evicted += len(rows)

"""Publication of lists of related items: the choice of lists to publish, within a budget.

After every `RELATED_CHECK_INTERVAL` examples a partition checks items with changed co-visitation, the largest relative
changes first, and publishes the lists that differ enough from the last published ones, as many as the budget allows.
Every partition knows all items; a hash of the item id selects the partition that publishes the item's list.
"""

from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow._state_tables import ValueColumn
from freshflow.config.schema import RelatedConfig
from freshflow.items.covisitation import COOCCURRENCE
from freshflow.items.index import NO_ROW, extend_rows
from freshflow.items.popularity import N_EVENTS
from freshflow.items.statistics import ItemStatistics
from freshflow.outputs.records import RelatedItem
from freshflow.related.similarity import SIMILARITY_SCALE, discounted_list_change, find_due_rows, find_related_rows

RELATED_CHECK_INTERVAL = 128  # examples between two checks, a multiple of the ranker's update intervals
# Rows scanned for changes, in turn, and rows whose lists are recomputed, in one check.
MAX_SCANNED_ROWS, MAX_RECOMPUTED_ROWS = 50_000, 256
MAX_RELATED_TOKENS = 100.0  # lists that the budget saves for a burst
NEVER_PUBLISHED_MS = -(1 << 62)


class RelatedList(NamedTuple):
    """The list of an item to publish; an empty one deletes the published list."""

    item_id: str
    items: tuple[RelatedItem, ...]


class PublisherState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of a publisher of related items, by item row (R,), and its budget."""

    ids: ValueColumn[str]
    list_rows: NDArray[np.int32]
    checked_sums: NDArray[np.float64]
    published_ms: NDArray[np.int64]
    tokens: float
    n_counted_visits: int
    next_row: int


class RelatedPublisher:
    """The last published list of each item row, and the budget (a token bucket).

    Attributes:
        ids: Ids of the items with a list, by row; "" for other rows.
        list_rows: (R, K) rows of the related items, -1 padded.
        checked_sums: (R,) sum of the item's co-visitation at the last check.
        published_ms: (R,) event time of the list.
    """

    def __init__(self, config: RelatedConfig, number: int, partitions: int) -> None:
        self.config = config
        self.number = number
        self.partitions = partitions
        self.ids: list[str] = []
        self.list_rows = np.empty((0, config.k), np.int32)
        self.checked_sums = np.empty(0)
        self.published_ms = np.empty(0, np.int64)
        self.tokens = MAX_RELATED_TOKENS
        self.n_counted_visits = 0  # visits already added to the budget
        self.next_row = 0  # row at which the next scan starts

    def collect_due_lists(self, item_statistics: ItemStatistics, now_ms: int) -> list[RelatedList]:
        """Return the lists to publish at `now_ms` (event time)."""
        self._grow(item_statistics)
        self._add_tokens(item_statistics)
        lists: list[RelatedList] = []
        for row in self._due_rows(item_statistics, now_ms).tolist():
            if self.tokens < 1:
                break
            related_list = self._build_list(item_statistics, row, now_ms, min_change=self.config.min_change)
            if related_list is not None:
                lists.append(related_list)
                self.tokens -= 1
        return lists

    def withdraw_item(self, item_statistics: ItemStatistics, item_id: str, now_ms: int) -> list[RelatedList]:
        """Return the lists that contain an unavailable item, made again without it, and the deletion of its own list.

        They are published regardless of the budget.

        Args:
            item_statistics: The items.
            item_id: The unavailable item.
            now_ms: The event time.
        """
        row = item_statistics.index.get(item_id)
        if row >= len(self.ids):
            return []
        lists = [RelatedList(item_id, ())] if self.ids[row] else []
        self._clear_row(row)
        if not item_statistics.tables.covisits.sums[row].any():  # without co-visitation it is in no list
            return lists
        for holder in np.flatnonzero((self.list_rows == row).any(axis=1)).tolist():
            related_list = self._build_list(item_statistics, holder, now_ms, min_change=0)
            if related_list is not None:
                lists.append(related_list)
        return lists

    def on_item_available(self, item_statistics: ItemStatistics, item_id: str) -> None:
        """Mark the lists that an available item may join for an early check."""
        row = item_statistics.index.get(item_id)
        neighbours = item_statistics.tables.covisits.neighbours[row]
        self.checked_sums[neighbours[(neighbours != NO_ROW) & (neighbours < len(self.checked_sums))]] = 0

    def drop_items(self, rows: NDArray[np.int64]) -> list[RelatedList]:
        """Delete the lists of evicted `rows`, and mark the lists that contain the rows for an early check."""
        rows = rows[rows < len(self.ids)]
        lists = [RelatedList(self.ids[row], ()) for row in rows.tolist() if self.ids[row]]
        for row in rows.tolist():
            self._clear_row(row)
        is_dropped = np.zeros(len(self.ids) + 1, np.bool_)  # the last element is for padding, row -1
        is_dropped[rows] = True
        holds_dropped = is_dropped[self.list_rows]
        self.list_rows[holds_dropped] = NO_ROW
        self.checked_sums[holds_dropped.any(axis=1)] = 0
        return lists

    def state(self, n_rows: int) -> PublisherState:
        """Return the state of the first `n_rows` rows, which are those in use."""
        return PublisherState(
            ids=ValueColumn(self.ids[:n_rows]),
            list_rows=self.list_rows[:n_rows],
            checked_sums=self.checked_sums[:n_rows],
            published_ms=self.published_ms[:n_rows],
            tokens=self.tokens,
            n_counted_visits=self.n_counted_visits,
            next_row=self.next_row,
        )

    def restore(self, state: PublisherState) -> None:
        """Continue from a state; lists may have had another length."""
        self.ids, self.list_rows = list(state.ids.values), state.list_rows
        self.checked_sums, self.published_ms = state.checked_sums, state.published_ms
        self.tokens, self.n_counted_visits, self.next_row = state.tokens, state.n_counted_visits, state.next_row
        list_rows, k = self.list_rows, self.config.k
        if list_rows.shape[1] != k:
            self.list_rows = np.full((len(list_rows), k), NO_ROW, np.int32)
            self.list_rows[:, : list_rows.shape[1]] = list_rows[:, :k]
            self.checked_sums[:] = 0

    def _due_rows(self, item_statistics: ItemStatistics, now_ms: int) -> NDArray[np.int32]:
        """Return the rows to recompute: of the rows in turn that this partition publishes, the most changed."""
        n_items = len(item_statistics.index.ids)
        start = self.next_row if self.next_row < n_items else 0
        end = min(start + MAX_SCANNED_ROWS, n_items)
        self.next_row = end if end < n_items else 0
        rows, changes = np.empty(end - start, np.int32), np.empty(end - start)
        interval_ms = int(self.config.interval_s * 1000)
        tables, min_support = item_statistics.tables, self.config.min_support
        n_due = find_due_rows(
            tables, self.checked_sums, self.published_ms, start, end, now_ms, interval_ms, min_support, rows, changes
        )
        rows, changes = rows[:n_due], changes[:n_due]
        if self.partitions > 1:
            ids = item_statistics.index.ids
            is_owned = np.array(
                [owner_partition(ids[row], self.partitions) == self.number for row in rows.tolist()], np.bool_
            )
            rows, changes = rows[is_owned], changes[is_owned]
        return rows[np.argsort(-changes, kind="stable")[:MAX_RECOMPUTED_ROWS]]

    def _build_list(
        self, item_statistics: ItemStatistics, row: int, now_ms: int, min_change: float
    ) -> RelatedList | None:
        """Return the list of an item if it differs by at least `min_change` from the last published one, else None."""
        tables, ids, k = item_statistics.tables, item_statistics.index.ids, self.config.k
        max_neighbours = tables.covisits.neighbours.shape[1]
        rows, scores = np.empty(max_neighbours, np.int32), np.empty(max_neighbours)
        n_neighbours = find_related_rows(tables, row, self.config.min_support, rows, scores)
        if n_neighbours > k:  # includes ties with the last position
            n_neighbours = k + int(np.count_nonzero(scores[k:n_neighbours] == scores[k - 1]))
        neighbours = _sort_by_score(rows[:n_neighbours].tolist(), scores[:n_neighbours].tolist(), ids)[:k]
        new_rows = np.full(k, NO_ROW, np.int32)
        new_rows[: len(neighbours)] = [neighbour for neighbour, _ in neighbours]
        self.checked_sums[row] = tables.covisits.sums[row, COOCCURRENCE]
        change = discounted_list_change(self.list_rows[row], new_rows)
        if change == 0 or change < min_change:
            return None
        self.list_rows[row] = new_rows
        self.published_ms[row] = now_ms
        self.ids[row] = ids[row] if neighbours else ""
        return RelatedList(
            ids[row], tuple(RelatedItem(ids[neighbour], score / SIMILARITY_SCALE) for neighbour, score in neighbours)
        )

    def _clear_row(self, row: int) -> None:
        self.ids[row] = ""
        self.list_rows[row] = NO_ROW
        self.checked_sums[row] = 0
        self.published_ms[row] = NEVER_PUBLISHED_MS

    def _grow(self, item_statistics: ItemStatistics) -> None:
        capacity = item_statistics.capacity
        if len(self.ids) >= capacity:
            return
        self.ids += [""] * (capacity - len(self.ids))
        self.list_rows = extend_rows(self.list_rows, capacity, NO_ROW)
        self.checked_sums = extend_rows(self.checked_sums, capacity)
        self.published_ms = extend_rows(self.published_ms, capacity, NEVER_PUBLISHED_MS)

    def _add_tokens(self, item_statistics: ItemStatistics) -> None:
        """Add the share of one partition for the visits since the last call to the budget."""
        n_visits = int(item_statistics.tables.popularity.clock[N_EVENTS])
        new_tokens = (n_visits - self.n_counted_visits) * self.config.max_updates_per_100_events / 100 / self.partitions
        self.tokens = min(self.tokens + new_tokens, MAX_RELATED_TOKENS)
        self.n_counted_visits = n_visits


def owner_partition(item_id: str, partitions: int) -> int:
    """Return the partition that publishes an item's list: the same in every process."""
    return crc32(item_id.encode("utf-8", "surrogatepass")) % partitions


def _sort_by_score(rows: Iterable[int], scores: Iterable[float], ids: list[str]) -> list[tuple[int, float]]:
    return sorted(zip(rows, scores, strict=True), key=lambda pair: (-pair[1], ids[pair[0]]))

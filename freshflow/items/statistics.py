"""Item knowledge: rows, co-visitation, popularity and catalogue of a partition, grown and bounded together."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from freshflow.config.schema import ContentConfig, ItemsConfig, RankingConfig
from freshflow.events.model import ItemUpdate
from freshflow.items.catalogue import Catalogue
from freshflow.items.covisitation import CoVisits
from freshflow.items.embeddings import ItemContents
from freshflow.items.index import NO_ROW, ItemRows
from freshflow.items.popularity import FIRST_MS, HALF_LIVES_MS, LAST_MS, WEEK, Popularity, recent
from freshflow.items.revisits import VISITS, Returns
from freshflow.items.tables import Leading, Tables

__all__ = ["ItemKnowledge"]

FIRST_ROWS = 1024
WITNESSES = 63  # latest visits whose items' clocks say what time it is, which one from the future does not move
EVICTED_SHARE = 16  # a full table drops its least popular sixteenth at once, so that the search for them is rare


class ItemKnowledge:
    """What a partition knows of items: at most `config.max`, the least popular (half-life of a week) go first.

    Those of which nothing was heard for `config.idle_s` go when `drop_idle` is called; `evicted` counts all who went.
    `tables` are indexed by row and change in place (`freshflow.items.tables`); they are replaced when they grow.
    """

    def __init__(
        self,
        config: ItemsConfig,
        ranking: RankingConfig,
        content: ContentConfig | None = None,
        blocked: Collection[str] = (),
    ) -> None:
        self.config = config
        self.rows = ItemRows(config.max)
        self.catalogue = Catalogue()
        self.contents = ItemContents(content or ContentConfig(), blocked)
        wanted = (ranking.popular_recent, ranking.popular, ranking.opening_recent, ranking.opening)
        self.tables = Tables(
            covisits=CoVisits.empty(0, config.neighbours),
            returns=Returns.empty(0),
            popularity=Popularity.empty(0),
            openings=Popularity.empty(0),
            leading=Leading.empty(wanted),
            available=self.catalogue.available,
            contents=self.contents.arrays,
        )
        self.evicted = self.idle = 0
        self.dropped = np.empty(0, np.int64)  # rows that were given up since someone last asked

    def is_in_the_way(self, item_id: str) -> bool:
        """Whether admitting the item would change what is known of others, or make one known again that was dropped."""
        return self.rows.get(item_id) == NO_ROW and (self.evicted > 0 or self.rows.full)

    def admit(self, item_id: str, now_ms: int) -> None:
        """Give an item a row; what is known of it does not change yet. May drop the least popular others."""
        if self.rows.get(item_id) != NO_ROW:
            return
        if self.rows.full:
            self._make_room(now_ms)
        if self.rows.add(item_id) >= self.capacity:
            self._grow()

    def take_dropped(self) -> NDArray[np.int64]:
        """The rows that were given up since the last call: they may mean other items by now."""
        dropped, self.dropped = self.dropped, np.empty(0, np.int64)
        return dropped

    @property
    def capacity(self) -> int:
        """How many rows the tables have."""
        return len(self.tables.available)

    def fade(self, share: float) -> None:
        """Let all that came together so far count `share` of what it did."""
        if share == 1:
            return
        covisits = self.tables.covisits
        for part in (covisits.weights, covisits.sums):
            part *= share

    def update_catalogue(self, update: ItemUpdate) -> None:
        """Take over an item event; an item that nobody has touched gets a row, too."""
        self.admit(update.item_id, update.ts_ms)
        row = self.rows.get(update.item_id)
        self.catalogue.update(row, update)
        self._learn_content(row, update)

    def _learn_content(self, row: int, update: ItemUpdate) -> None:
        contents, memory = self.contents, self.tables.popularity.memories[row]
        contents.learn(row, update, self.tables.returns.counts[:, VISITS])
        if contents.arrays is not self.tables.contents:
            self.tables = self.tables._replace(contents=contents.arrays)
        if contents.config.on and not memory[WEEK]:  # so it is as old as its launch until somebody comes
            memory[FIRST_MS] = memory[LAST_MS] = contents.arrays.launched_ms[row]

    def is_available(self, item_id: str) -> bool:
        """Whether the catalogue allows the item; what it does not know is available."""
        row = self.rows.get(item_id)
        return row == NO_ROW or bool(self.catalogue.available[row])

    def _grow(self) -> None:
        capacity = min(max(FIRST_ROWS, 2 * self.capacity), self.config.max)
        self.catalogue.grow(capacity)
        self.contents.grow(capacity)
        tables = self.tables
        self.tables = tables._replace(
            covisits=tables.covisits.grown(capacity),
            returns=tables.returns.grown(capacity),
            popularity=tables.popularity.grown(capacity),
            openings=tables.openings.grown(capacity),
            available=self.catalogue.available,
            contents=self.contents.arrays,
        )

    def _make_room(self, now_ms: int) -> None:
        """Drop the least popular items, a share of them at once, what is still to be found by content last."""
        known = np.flatnonzero([bool(item) for item in self.rows.ids])
        popularity = self.tables.popularity
        age_ms = np.maximum(now_ms - popularity.memories[known, LAST_MS], 0)
        week = popularity.memories[known, WEEK] * np.exp2(-age_ms / HALF_LIVES_MS[2])
        pooled = np.isin(known, self.contents.arrays.pooled)
        self._drop(known[np.lexsort((week, pooled))[: self._at_once]])

    def drop_idle(self) -> None:
        """Drop items that were neither visited nor in an item event for `config.idle_s`, the longest gone first.

        No more go at once than when the table is full.
        """
        if not self.config.idle_s:
            return
        popularity, entries = self.tables.popularity, self.catalogue.entries
        latest = np.empty(WITNESSES, np.int32)
        latest = latest[: recent(popularity.ring, popularity.clock, latest)]
        if not len(latest):
            return
        oldest_ms = np.median(popularity.memories[latest, LAST_MS]) - self.config.idle_s * 1000
        heard_ms = popularity.memories[: len(self.rows.ids), LAST_MS].copy()
        silent = [row for row in np.flatnonzero(heard_ms < oldest_ms).tolist() if self.rows.ids[row]]
        for row in silent:
            if row in entries:
                heard_ms[row] = max(heard_ms[row], entries[row].ts_ms)
        rows = np.array([row for row in silent if heard_ms[row] < oldest_ms], np.int64)
        rows = rows[np.argsort(heard_ms[rows], kind="stable")[: self._at_once]]
        if len(rows):
            self._drop(rows)
            self.idle += len(rows)

    @property
    def _at_once(self) -> int:
        return max(1, self.config.max // EVICTED_SHARE)

    def _drop(self, rows: NDArray[np.int64]) -> None:
        tables = self.tables
        by_row = (tables.covisits, tables.returns, tables.popularity, tables.openings)
        for part in (*by_row, self.catalogue, self.contents, self.rows):
            part.drop(rows)
        self.dropped = np.concatenate([self.dropped, rows])
        tables.leading.rows[np.isin(tables.leading.rows, rows)] = NO_ROW
        self.evicted += len(rows)

"""Item knowledge: rows, co-visitation, popularity and catalogue of a partition, grown and bounded together."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.config import ItemsConfig
from freshflow.events.types import ItemUpdate
from freshflow.items.catalogue import Catalogue
from freshflow.items.covisits import CoVisits
from freshflow.items.popularity import Popularity, PopularityAt, decay
from freshflow.items.returns import Returns
from freshflow.items.rows import NO_ROW, ItemRows
from freshflow.items.visits import Visit

__all__ = ["Chunk", "ItemKnowledge"]

FIRST_ROWS = 1024
EVICTED_SHARE = 16  # a full table drops its least popular sixteenth at once, so that the search for them is rare


class Chunk(msgspec.Struct, frozen=True):
    """Visits in arrays: `items` (B,), `contexts` (B, L) -1 padded, `ts_ms` (B,), `opens` (B,) a session or not.

    `popularity` is that of all visits as of each of them, `openings` that of opening visits, by their own positions.
    """

    items: NDArray[np.int64]
    contexts: NDArray[np.int64]
    ts_ms: NDArray[np.int64]
    opens: NDArray[np.bool_]
    popularity: PopularityAt
    openings: PopularityAt

    def openings_before(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of the first `position` (...) visits opened a session: the position among `openings`."""
        return np.concatenate([[0], np.cumsum(self.opens)])[position]


class ItemKnowledge:
    """What a partition knows of items: at most `config.max`, the least popular (half-life of a week) go first."""

    def __init__(self, config: ItemsConfig) -> None:
        self.config = config
        self.rows = ItemRows(config.max)
        self.covisits = CoVisits(config.neighbours)
        self.popularity = Popularity()
        self.openings = Popularity()  # of visits that opened a session: where people come in
        self.returns = Returns()
        self.catalogue = Catalogue()
        self.evicted = 0

    def admit(self, visits: Sequence[Visit]) -> "Chunk":
        """Give every visited item a row and put the visits into arrays; what is known of items does not change yet."""
        self._make_room({visit.item_id for visit in visits}, max((visit.ts_ms for visit in visits), default=0))
        items = np.array([self._row(visit.item_id) for visit in visits], np.int64)
        ts_ms = np.array([visit.ts_ms for visit in visits], np.int64)
        contexts = np.full((len(visits), self.config.context), NO_ROW)
        for n, visit in enumerate(visits):
            known = self.rows.rows(visit.context[: self.config.context])
            contexts[n, : len(known)] = known
        opens = np.array([visit.opens for visit in visits], np.bool_)
        return Chunk(
            items,
            contexts,
            ts_ms,
            opens,
            PopularityAt(self.popularity, items, ts_ms),
            PopularityAt(self.openings, items[opens], ts_ms[opens]),
        )

    def fold(self, chunk: "Chunk") -> None:
        """Learn the visits of a chunk, in stream order."""
        if len(chunk.items):
            self.covisits.add(chunk.items, chunk.contexts, np.ones(len(chunk.items), np.float32))
            self.returns.add(chunk.items, chunk.contexts)
            self.popularity.add(chunk.items, chunk.ts_ms)
        if chunk.opens.any():
            self.openings.add(chunk.items[chunk.opens], chunk.ts_ms[chunk.opens])

    def update_catalogue(self, update: ItemUpdate) -> None:
        """Take over an item event; an item that nobody has touched gets a row, too."""
        self._make_room({update.item_id}, update.ts_ms)
        self.catalogue.update(self._row(update.item_id), update)

    def is_available(self, item_id: str) -> bool:
        """Whether the catalogue allows the item; what it does not know is available."""
        row = self.rows.get(item_id)
        return row == NO_ROW or bool(self.catalogue.available[row])

    def _row(self, item_id: str) -> int:
        row = self.rows.add(item_id)
        if row >= len(self.popularity.last_ms):
            self._grow()
        return row

    def _grow(self) -> None:
        capacity = min(max(FIRST_ROWS, 2 * len(self.popularity.last_ms)), self.config.max)
        for part in (self.covisits, self.returns, self.popularity, self.openings, self.catalogue):
            part.grow(capacity)

    def _make_room(self, item_ids: set[str], now_ms: int) -> None:
        """Drop the least popular items, none of `item_ids`, if these do not all fit beside them."""
        known = self.rows.rows(item_ids)
        wanted = len(self.rows) + len(item_ids) - len(known) - self.config.max
        if wanted <= 0:
            return
        others = np.setdiff1d(np.flatnonzero([bool(item) for item in self.rows.ids]), known)
        age_ms = np.maximum(now_ms - self.popularity.last_ms[others], 0)
        week = self.popularity.decayed[others, 2] * decay(age_ms)[:, 2]
        rows = others[np.argsort(week, kind="stable")[: max(wanted, self.config.max // EVICTED_SHARE)]]
        for part in (self.covisits, self.returns, self.popularity, self.openings, self.catalogue, self.rows):
            part.drop(rows)
        self.evicted += len(rows)

"""What items are, for those that nobody has touched yet: their embeddings and categories, and which are the newest.

An embedding e is kept as the whole numbers v = round(127 e / max |e|) in a byte each, and as 1 / |v|, so that

    like(x, y) = v_x . v_y / (|v_x| |v_y|),   within some hundredths of a percent of the cosine of what was given.

The *pool* are the newest items of which anything is known that few have visited: what company cannot recommend yet.
Where the newest are wanted, it is enough to know that an item is new: its event says when it was published, or comes
before all visits. The pool is in the order of launches; where it is full, visited items leave it first, then the
oldest.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.config.schema import ContentConfig
from freshflow.events.model import ItemUpdate
from freshflow.items.index import NO_ROW, grown

__all__ = ["CATEGORIES_AN_ITEM", "CATEGORISED", "IN_POOL", "NEAREST", "NEWEST", "WARM", "Contents", "ItemContents"]

WARM = 20  # visits from which on an item has company enough to be found by it
CATEGORIES_AN_ITEM = 8  # of which anything is kept: the first that an item event names
MOST_CATEGORIES = 10_000  # different ones; those that are met later are not told apart from none
NO_CATEGORY = -1
FINEST = 127  # of a byte with a sign

# Places of `Contents.facts`.
IN_POOL, NEAREST, NEWEST, CATEGORISED = range(4)


class Contents(NamedTuple):
    """Arrays by item row; all have no rows where content is off.

    `vectors` (rows, D) int8 and `lengths` (rows,) = 1 / |v|, 0 where there is none; `categories` (rows, 8) numbers, or
    -1; `launched_ms` (rows,); `hidden` (rows,) are never to be candidates. `centre` (D,) is the mean of v / |v| over
    all items, `sizes` (C,) says how many items a category has. `pool` (P,) holds rows by rising time of launch.
    `facts` (4,): how many are in the pool, how many of the nearest and of the newest are wanted as candidates, and how
    many items have categories.
    """

    vectors: NDArray[np.int8]
    lengths: NDArray[np.float32]
    categories: NDArray[np.int32]
    launched_ms: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    centre: NDArray[np.float32]
    sizes: NDArray[np.int32]
    pool: NDArray[np.int32]
    facts: NDArray[np.int64]

    @classmethod
    def empty(cls, config: ContentConfig) -> "Contents":
        """What is known of no item yet."""
        width = config.dimensions
        return cls(
            vectors=np.zeros((0, width), np.int8),
            lengths=np.zeros(0, np.float32),
            categories=np.zeros((0, CATEGORIES_AN_ITEM), np.int32),
            launched_ms=np.zeros(0, np.int64),
            hidden=np.zeros(0, np.bool_),
            centre=np.zeros(width, np.float32),
            sizes=np.zeros(MOST_CATEGORIES if config.on else 0, np.int32),
            pool=np.full(config.pool if config.on else 0, NO_ROW, np.int32),
            facts=np.array([0, config.nearest, config.newest, 0], np.int64),
        )

    def grown(self, capacity: int) -> "Contents":
        """The same with room for `capacity` items."""
        return self._replace(
            vectors=grown(self.vectors, capacity),
            lengths=grown(self.lengths, capacity),
            categories=grown(self.categories, capacity, NO_CATEGORY),
            launched_ms=grown(self.launched_ms, capacity),
            hidden=grown(self.hidden, capacity),
        )

    def first(self, rows: int) -> "Contents":
        """The same of the first `rows` items alone."""
        return self._replace(
            vectors=self.vectors[:rows],
            lengths=self.lengths[:rows],
            categories=self.categories[:rows],
            launched_ms=self.launched_ms[:rows],
            hidden=self.hidden[:rows],
        )

    @property
    def pooled(self) -> NDArray[np.int32]:
        """The rows in the pool, the oldest first."""
        return self.pool[: self.facts[IN_POOL]]


class ItemContents:
    """Keeps `arrays` as item events fill them; nothing is kept unless content is on.

    The first embedding says how many numbers an embedding has, unless `config.dimensions` does; another one with
    another number of them is left out, and counted in `misfits`. An embedding of zeros says nothing, and is left out.
    Items of these `blocked` ids are hidden.
    """

    def __init__(self, config: ContentConfig, blocked: Collection[str] = ()) -> None:
        self.config = config
        self.blocked = frozenset(blocked)
        self.arrays = Contents.empty(config)
        self.codes: dict[str, int] = {}
        self.total = np.zeros(config.dimensions)  # of v / |v|
        self.embedded = self.misfits = 0

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        if self.config.on:
            self.arrays = self.arrays.grown(capacity)

    def learn(self, row: int, update: ItemUpdate, visits: NDArray[np.float64]) -> None:
        """Take over what an item event says of the item in `row`; `visits` (rows,) are those of all items."""
        if not self.config.on:
            return
        if update.categories is not None:
            self._categorise(row, update.categories)
        if update.embedding is not None:
            self._embed(row, np.array(update.embedding))
        arrays = self.arrays
        arrays.hidden[row] = update.item_id in self.blocked
        says_something = arrays.lengths[row] > 0 or arrays.categories[row, 0] != NO_CATEGORY
        is_new = self.config.newest > 0 and (update.published_ms is not None or not visits[row])
        if (says_something or is_new) and not arrays.launched_ms[row]:
            published_ms = update.ts_ms if update.published_ms is None else update.published_ms
            arrays.launched_ms[row] = min(published_ms, update.ts_ms) or 1  # 0 is for what was never launched
            if visits[row] < WARM:
                self._launch(row, visits)

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forget `rows`."""
        if not self.config.on:
            return
        arrays, gone = self.arrays, np.zeros(len(self.arrays.lengths), np.bool_)
        gone[rows] = True
        self._keep_in_pool(~gone[arrays.pooled])
        for row in rows.tolist():
            self._forget_vector(row)
        categories = arrays.categories[rows]
        arrays.facts[CATEGORISED] -= np.count_nonzero(categories[:, 0] != NO_CATEGORY)
        np.subtract.at(arrays.sizes, categories[categories != NO_CATEGORY], 1)
        arrays.categories[rows] = NO_CATEGORY
        arrays.launched_ms[rows] = 0
        arrays.hidden[rows] = False

    def state(self) -> dict[str, Any]:
        """All there is to keep beside `arrays`; see `restore`."""
        return {name: getattr(self, name) for name in ("codes", "total", "embedded", "misfits")}

    def restore(self, state: dict[str, Any], arrays: Contents, ids: Sequence[str]) -> None:
        """Go on from a `state` and its arrays, with items of these `ids` by row.

        The pool may have another size by now; the newest stay in it. Other items may be blocked.
        """
        vars(self).update(state)
        fresh = Contents.empty(self.config)
        newest = arrays.pooled[max(0, len(arrays.pooled) - len(fresh.pool)) :]
        fresh.pool[: len(newest)], fresh.facts[IN_POOL] = newest, len(newest)
        fresh.facts[CATEGORISED] = arrays.facts[CATEGORISED]
        self.arrays = arrays._replace(pool=fresh.pool, facts=fresh.facts)
        for row in self.arrays.pooled.tolist():
            self.arrays.hidden[row] = ids[row] in self.blocked

    def _categorise(self, row: int, names: tuple[str, ...]) -> None:
        arrays, codes = self.arrays, []
        for name in dict.fromkeys(names[:CATEGORIES_AN_ITEM]):
            if name not in self.codes and len(self.codes) < MOST_CATEGORIES:
                self.codes[name] = len(self.codes)
            codes += [self.codes[name]] if name in self.codes else []
        before = arrays.categories[row].copy()
        arrays.sizes[before[before != NO_CATEGORY]] -= 1
        arrays.categories[row] = NO_CATEGORY
        arrays.categories[row, : len(codes)] = codes
        arrays.sizes[codes] += 1
        arrays.facts[CATEGORISED] += int(bool(codes)) - int(before[0] != NO_CATEGORY)

    def _embed(self, row: int, embedding: NDArray[np.float64]) -> None:
        if not self.arrays.vectors.shape[1]:
            width, rows = len(embedding), len(self.arrays.lengths)
            self.arrays = self.arrays._replace(
                vectors=np.zeros((rows, width), np.int8), centre=np.zeros(width, np.float32)
            )
            self.total = np.zeros(width)
        arrays, largest = self.arrays, np.abs(embedding).max()
        if len(embedding) != arrays.vectors.shape[1]:
            self.misfits += 1
            return
        if not largest:
            return
        self._forget_vector(row)
        vector = np.rint(embedding / largest * FINEST)
        arrays.vectors[row] = vector
        arrays.lengths[row] = 1 / np.linalg.norm(vector)
        self._count(row, 1)

    def _forget_vector(self, row: int) -> None:
        if self.arrays.lengths[row] > 0:
            self._count(row, -1)
            self.arrays.vectors[row] = 0
            self.arrays.lengths[row] = 0

    def _count(self, row: int, times: int) -> None:
        """Let the vector of `row` count in the centre, or no more."""
        arrays = self.arrays
        self.total += times * (arrays.vectors[row] * np.float64(arrays.lengths[row]))
        self.embedded += times
        arrays.centre[:] = self.total / max(self.embedded, 1)

    def _launch(self, row: int, visits: NDArray[np.float64]) -> None:
        """Put an item into the pool where its time of launch belongs, if there is room or it is not the oldest."""
        arrays, facts = self.arrays, self.arrays.facts
        if facts[IN_POOL] == len(arrays.pool):
            self._keep_in_pool(visits[arrays.pooled] < WARM)
        place = int(np.searchsorted(arrays.launched_ms[arrays.pooled], arrays.launched_ms[row], side="right"))
        if facts[IN_POOL] == len(arrays.pool):
            if place == 0:
                return
            arrays.pool[: place - 1] = arrays.pool[1:place].copy()
            arrays.pool[place - 1] = row
            return
        facts[IN_POOL] += 1
        pooled = arrays.pooled
        pooled[place + 1 :] = pooled[place:-1].copy()
        pooled[place] = row

    def _keep_in_pool(self, kept: NDArray[np.bool_]) -> None:
        rows = self.arrays.pooled[kept]
        self.arrays.pool[: len(rows)] = rows
        self.arrays.facts[IN_POOL] = len(rows)

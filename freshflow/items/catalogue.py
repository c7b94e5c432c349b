"""The catalogue: what item events said of an item. Items without an entry are taken to be available."""

import numpy as np
from numpy.typing import NDArray

from freshflow.events.types import ItemUpdate
from freshflow.items.rows import grown

__all__ = ["Catalogue"]


class Catalogue:
    """`available` (rows,) bool, read by every ranking; the rest of an entry stands in `entries`, by row."""

    def __init__(self, capacity: int = 0) -> None:
        self.available = np.ones(capacity, np.bool_)
        self.entries: dict[int, ItemUpdate] = {}

    def update(self, row: int, update: ItemUpdate) -> None:
        """Take over what `update` says of the item in `row`; what it leaves out stays."""
        if update.available is not None:
            self.available[row] = update.available
        old = self.entries.get(row)
        self.entries[row] = update if old is None else _merged(old, update)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.available = grown(self.available, capacity, True)

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forget `rows`."""
        self.available[rows] = True
        for row in rows.tolist():
            self.entries.pop(row, None)


def _merged(old: ItemUpdate, new: ItemUpdate) -> ItemUpdate:
    fields = ("title", "categories", "price", "available", "published_ms", "embedding")
    said = {name: getattr(old if getattr(new, name) is None else new, name) for name in fields}
    return ItemUpdate(new.position, new.item_id, new.ts_ms, **said)

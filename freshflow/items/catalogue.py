"""The catalogue: what item events said of an item. Items without an entry are taken to be available."""

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from freshflow.events.model import ItemUpdate
from freshflow.items.index import grown

__all__ = ["Catalogue"]


class Catalogue:
    """`available` (rows,) bool, read by every ranking; the rest of an entry stands in `entries`, by row.

    `first_ms` (rows,) is the event time of an item's first entry; it means nothing where there is none. An embedding is
    left out: as numbers of Python's it takes twenty kilobytes (see `freshflow.items.embeddings`).
    """

    def __init__(self, capacity: int = 0) -> None:
        self.available = np.ones(capacity, np.bool_)
        self.first_ms = np.zeros(capacity, np.int64)
        self.entries: dict[int, ItemUpdate] = {}

    @classmethod
    def of(
        cls, available: NDArray[np.bool_], entries: dict[int, ItemUpdate], first_ms: NDArray[np.int64]
    ) -> "Catalogue":
        """The catalogue with these columns and entries."""
        catalogue = cls()
        catalogue.available, catalogue.entries, catalogue.first_ms = available, entries, first_ms
        return catalogue

    def update(self, row: int, update: ItemUpdate) -> None:
        """Take over what `update` says of the item in `row`; what it leaves out stays."""
        if update.available is not None:
            self.available[row] = update.available
        if update.embedding is not None:
            update = structs.replace(update, embedding=None)
        old = self.entries.get(row)
        if old is None or update.ts_ms < self.first_ms[row]:
            self.first_ms[row] = update.ts_ms
        self.entries[row] = update if old is None else _merged(old, update)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.available = grown(self.available, capacity, True)
        self.first_ms = grown(self.first_ms, capacity)

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forget `rows`."""
        self.available[rows] = True
        for row in rows.tolist():
            self.entries.pop(row, None)


def _merged(old: ItemUpdate, new: ItemUpdate) -> ItemUpdate:
    fields = ("title", "categories", "price", "available", "published_ms", "brand", "margin")
    said = {name: getattr(old if getattr(new, name) is None else new, name) for name in fields}
    return ItemUpdate(new.position, new.item_id, new.ts_ms, **said)

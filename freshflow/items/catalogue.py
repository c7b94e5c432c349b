"""The catalogue: the attributes of items from item events. Items without an entry count as available."""

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from freshflow.events.model import ItemUpdate
from freshflow.items.index import extend_rows


class ItemCatalogue:
    """The catalogue of a partition.

    An entry leaves out the embedding, which would take twenty kilobytes as Python numbers (see
    `freshflow.items.embeddings`).

    Attributes:
        available: (rows,) bool, read by every ranking.
        first_entry_ms: (rows,) event time of an item's first entry; undefined for rows without one.
        entries: The merged item events by row.
    """

    def __init__(self, capacity: int = 0) -> None:
        self.available = np.ones(capacity, np.bool_)
        self.first_entry_ms = np.zeros(capacity, np.int64)
        self.entries: dict[int, ItemUpdate] = {}

    @classmethod
    def from_columns(
        cls, available: NDArray[np.bool_], entries: dict[int, ItemUpdate], first_entry_ms: NDArray[np.int64]
    ) -> "ItemCatalogue":
        """Build a catalogue from its columns and entries.

        Args:
            available: (rows,) availability.
            entries: The merged item events by row.
            first_entry_ms: (rows,) event time of the first entry.
        """
        catalogue = cls()
        catalogue.available, catalogue.entries, catalogue.first_entry_ms = available, entries, first_entry_ms
        return catalogue

    def update(self, row: int, update: ItemUpdate) -> None:
        """Merge `update` into the entry of a row; fields that it leaves out stay."""
        if update.available is not None:
            self.available[row] = update.available
        if update.embedding is not None:
            update = structs.replace(update, embedding=None)
        old = self.entries.get(row)
        if old is None or update.ts_ms < self.first_entry_ms[row]:
            self.first_entry_ms[row] = update.ts_ms
        self.entries[row] = update if old is None else _merge_updates(old, update)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.available = extend_rows(self.available, capacity, True)
        self.first_entry_ms = extend_rows(self.first_entry_ms, capacity)

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Remove the entries of `rows`."""
        self.available[rows] = True
        for row in rows.tolist():
            self.entries.pop(row, None)


def _merge_updates(old: ItemUpdate, new: ItemUpdate) -> ItemUpdate:
    fields = ("title", "categories", "price", "available", "published_ms", "brand", "margin")
    merged_fields = {name: getattr(old if getattr(new, name) is None else new, name) for name in fields}
    return ItemUpdate(new.position, new.item_id, new.ts_ms, **merged_fields)

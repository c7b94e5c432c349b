"""Item ids and their rows, which index every array of the item statistics."""

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow._state_tables import StateTable, ValueColumn

NO_ROW = -1


class IndexState(StateTable, frozen=True):
    """State of an item index: `ids` by row, and `free_rows`, of which the last is given out first."""

    ids: ValueColumn[str]
    free_rows: NDArray[np.int64]


class ItemIndex:
    """A bounded two-way table of item ids and rows. Rows of dropped items are reused."""

    def __init__(self, max_items: int) -> None:
        self.max_items = max_items
        self.ids: list[str] = []
        self._row_of: dict[str, int] = {}
        self._free_rows: list[int] = []

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def is_full(self) -> bool:
        """True if another id needs an eviction first."""
        return len(self._row_of) >= self.max_items

    def get(self, item_id: str) -> int:
        """Return the row of an id, or `NO_ROW`."""
        return self._row_of.get(item_id, NO_ROW)

    def known_rows(self, item_ids: Iterable[str]) -> list[int]:
        """Return the rows of known ids in order; unknown ids are left out."""
        get = self._row_of.get
        return [row for item in item_ids if (row := get(item)) is not None]

    def lookup_rows(self, item_ids: Iterable[str]) -> list[int]:
        """Return the row of each id in order, `NO_ROW` for unknown ones."""
        return list(map(self._row_of.get, item_ids, repeat(NO_ROW)))

    def padded_rows(self, id_lists: Sequence[Sequence[str]], length: int) -> NDArray[np.int32]:
        """Return the rows (N, length) of N lists of at most `length` ids, `NO_ROW` for unknown ids and as padding."""
        padded_rows = np.full((len(id_lists), length), NO_ROW, np.int32)
        lengths = np.array([len(ids) for ids in id_lists], np.int64)
        padded_rows[np.arange(length) < lengths[:, None]] = self.lookup_rows(chain.from_iterable(id_lists))
        return padded_rows

    def add(self, item_id: str) -> int:
        """Return the row of an id, assigning one if it is new.

        Raises:
            IndexError: The table is full.
        """
        row = self._row_of.get(item_id)
        if row is not None:
            return row
        if self.is_full:
            raise IndexError(f"all {self.max_items} item rows are taken")
        if self._free_rows:
            row = self._free_rows.pop()
            self.ids[row] = item_id
        else:
            row = len(self.ids)
            self.ids.append(item_id)
        self._row_of[item_id] = row
        return row

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Remove the ids of `rows`, which become free."""
        for row in rows.tolist():
            del self._row_of[self.ids[row]]
            self.ids[row] = ""
            self._free_rows.append(row)

    def state(self) -> IndexState:
        """Return the ids by row, and the free rows."""
        return IndexState(ValueColumn(self.ids), np.array(self._free_rows, np.int64))

    def restore(self, state: IndexState) -> None:
        """Continue from a state."""
        self.ids, self._free_rows = list(state.ids.values), state.free_rows.tolist()
        unused_rows = set(self._free_rows)
        self._row_of = {item_id: row for row, item_id in enumerate(self.ids) if row not in unused_rows}


def extend_rows(array: NDArray[Any], n_rows: int, fill: float = 0) -> NDArray[Any]:
    """Return a copy of `array` with `n_rows` rows, the new ones filled with `fill`."""
    extended = np.full((n_rows, *array.shape[1:]), fill, array.dtype)
    extended[: len(array)] = array
    return extended

"""Item ids and the rows their numbers stand in: every array of the item knowledge is indexed by these rows."""

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_ROW", "ItemRows", "grown"]

NO_ROW = -1


class ItemRows:
    """A bounded two-way table of item id and row. Rows of dropped items are given to new ones."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.ids: list[str] = []
        self._row_of: dict[str, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def full(self) -> bool:
        """Whether another id needs an eviction first."""
        return len(self._row_of) >= self.bound

    def get(self, item_id: str) -> int:
        """The row of an id, or `NO_ROW`."""
        return self._row_of.get(item_id, NO_ROW)

    def rows(self, item_ids: Iterable[str]) -> list[int]:
        """The rows of known ids, in order; unknown ids are left out."""
        get = self._row_of.get
        return [row for item in item_ids if (row := get(item)) is not None]

    def rows_or_none(self, item_ids: Iterable[str]) -> list[int]:
        """The row of each id, in order, `NO_ROW` for unknown ones."""
        return list(map(self._row_of.get, item_ids, repeat(NO_ROW)))

    def padded(self, several: Sequence[Sequence[str]], length: int) -> NDArray[np.int32]:
        """The rows of several times at most `length` ids (N, length), `NO_ROW` for unknown ones and behind the last."""
        padded = np.full((len(several), length), NO_ROW, np.int32)
        lengths = np.array([len(ids) for ids in several], np.int64)
        padded[np.arange(length) < lengths[:, None]] = self.rows_or_none(chain.from_iterable(several))
        return padded

    def add(self, item_id: str) -> int:
        """The row of an id, giving it one if it is new. Raises `IndexError` when the table is full."""
        row = self._row_of.get(item_id)
        if row is not None:
            return row
        if self.full:
            raise IndexError(f"all {self.bound} item rows are taken")
        if self._free:
            row = self._free.pop()
            self.ids[row] = item_id
        else:
            row = len(self.ids)
            self.ids.append(item_id)
        self._row_of[item_id] = row
        return row

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forget the ids of `rows`, which become free."""
        for row in rows.tolist():
            del self._row_of[self.ids[row]]
            self.ids[row] = ""
            self._free.append(row)

    def state(self) -> tuple[list[str], list[int]]:
        """The ids by row, and the free rows in the order in which they will be given out."""
        return list(self.ids), list(self._free)

    @classmethod
    def from_state(cls, bound: int, ids: Sequence[str], free: Sequence[int]) -> "ItemRows":
        """The table whose `state` these are."""
        table = cls(bound)
        table.ids, table._free = list(ids), list(free)
        empty = set(free)
        table._row_of = {item: row for row, item in enumerate(ids) if row not in empty}
        return table


def grown(array: NDArray[Any], rows: int, fill: float = 0) -> NDArray[Any]:
    """A copy of `array` with `rows` rows, the new ones holding `fill`."""
    larger = np.full((rows, *array.shape[1:]), fill, array.dtype)
    larger[: len(array)] = array
    return larger

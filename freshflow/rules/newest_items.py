"""Newest items, visited or not: the source of fresh items."""

from bisect import insort

import numpy as np
from numpy.typing import NDArray

MAX_NEWEST_ITEMS = 256  # bound of the list; unavailable items among them are not replaced by older ones
NEVER_SEEN_MS = np.iinfo(np.int64).min  # time of an unknown item: never fresh


class NewestItems:
    """The `MAX_NEWEST_ITEMS` newest items by first-seen time, the newest first, ties by row."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int]] = []  # (-first_seen_ms, row)
        self._is_stale = False

    def update_first_seen(self, row: int, first_seen_ms: int, previous_ms: int) -> None:
        """Change the first-seen time of an item from `previous_ms` to `first_seen_ms`."""
        if previous_ms != NEVER_SEEN_MS:
            self._is_stale = True
        elif first_seen_ms != NEVER_SEEN_MS and not self._is_stale:
            insort(self._entries, (-first_seen_ms, row))
            del self._entries[MAX_NEWEST_ITEMS:]

    def rows_after(self, first_seen_ms: NDArray[np.int64], after_ms: int) -> list[int]:
        """Return the rows of items first seen after `after_ms`; `first_seen_ms` (rows,) are the times of all items."""
        if self._is_stale:
            known_rows = np.flatnonzero(first_seen_ms != NEVER_SEEN_MS)
            newest_rows = known_rows[np.argsort(-first_seen_ms[known_rows], kind="stable")[:MAX_NEWEST_ITEMS]]
            self._entries = [(-int(first_seen_ms[row]), row) for row in newest_rows.tolist()]
            self._is_stale = False
        return [row for negative_ms, row in self._entries if -negative_ms > after_ms]

"""The newest items there are, whether anybody has come for them or not: where fresh items are found."""

from bisect import insort

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEVER_SEEN_MS", "NewestItems"]

MAX_NEWEST_ITEMS = 256  # of the newest items; what is not available among them is not looked for beyond
NEVER_SEEN_MS = np.iinfo(np.int64).min  # the age of what nothing is known of: never fresh


class NewestItems:
    """The `MAX_NEWEST_ITEMS` newest items by the times since when they are there, the newest first, ties by row."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int]] = []  # (-since, row)
        self._is_stale = False

    def update_first_seen(self, row: int, first_seen_ms: int, previous_ms: int) -> None:
        """An item is there `first_seen_ms`, where it was said `previous_ms` that it was."""
        if previous_ms != NEVER_SEEN_MS:
            self._is_stale = True
        elif first_seen_ms != NEVER_SEEN_MS and not self._is_stale:
            insort(self._entries, (-first_seen_ms, row))
            del self._entries[MAX_NEWEST_ITEMS:]

    def rows_after(self, first_seen_ms: NDArray[np.int64], after_ms: int) -> list[int]:
        """The rows of items that are there since later than `after_ms`; `first_seen_ms` (rows,) are the times of all."""
        if self._is_stale:
            known_rows = np.flatnonzero(first_seen_ms != NEVER_SEEN_MS)
            newest_rows = known_rows[np.argsort(-first_seen_ms[known_rows], kind="stable")[:MAX_NEWEST_ITEMS]]
            self._entries = [(-int(first_seen_ms[row]), row) for row in newest_rows.tolist()]
            self._is_stale = False
        return [row for negative_ms, row in self._entries if -negative_ms > after_ms]

"""The newest items there are, whether anybody has come for them or not: where fresh items are found."""

from bisect import insort

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNHEARD_OF", "Newest"]

KNOWN = 256  # of the newest items; what is not available among them is not looked for beyond
UNHEARD_OF = np.iinfo(np.int64).min  # the age of what nothing is known of: never fresh


class Newest:
    """The `KNOWN` newest items by the times since when they are there, the newest first, ties by row."""

    def __init__(self) -> None:
        self._order: list[tuple[int, int]] = []  # (-since, row)
        self._stale = False

    def note(self, row: int, since_ms: int, before_ms: int) -> None:
        """An item is there `since_ms`, where it was said `before_ms` that it was."""
        if before_ms != UNHEARD_OF:
            self._stale = True
        elif since_ms != UNHEARD_OF and not self._stale:
            insort(self._order, (-since_ms, row))
            del self._order[KNOWN:]

    def rows(self, since_ms: NDArray[np.int64], after_ms: int) -> list[int]:
        """The rows of items that are there since later than `after_ms`; `since_ms` (rows,) are the times of all."""
        if self._stale:
            known = np.flatnonzero(since_ms != UNHEARD_OF)
            newest = known[np.argsort(-since_ms[known], kind="stable")[:KNOWN]]
            self._order = [(-int(since_ms[row]), row) for row in newest.tolist()]
            self._stale = False
        return [row for negative_ms, row in self._order if -negative_ms > after_ms]

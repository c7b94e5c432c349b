"""Popularity of items over five memories: the last 200 and 2,000 events, and half-lives of an hour, a day, a week.

A decayed count after events at times t_i is  c(t) = sum_i 2^(-(t - t_i) / h). It is kept as its value at the item's
latest event and decayed when read, so time costs nothing (forward decay: Cormode et al., ICDE 2009).

Popularity is what ages fastest: on a news-like stream one event in five goes to an item that nobody had touched 64
events before. So it is never read as of a chunk's start but as of each event: `PopularityAt` holds what the chunk's
own visits add, by position, without looking ahead.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow.items.rows import grown

__all__ = ["HALF_LIVES_MS", "RECENT", "WINDOWS", "Popularity", "PopularityAt"]

HALF_LIVES_MS = np.array([3_600_000, 86_400_000, 604_800_000], np.float64)  # an hour, a day, a week
WINDOWS = (200, 2_000)  # in events: what is popular right now, and what has been for a while
RECENT = 64  # in events: whatever was touched this recently is worth a look

NEVER = np.int64(2**62)

Rows = NDArray[np.int64]
Times = NDArray[np.int64]
Floats = NDArray[np.float64]


class Popularity:
    """`decayed` (rows, 3) as of `last_ms`; `in_window` (2, rows) counts in the last 200 and 2,000 events."""

    def __init__(self, capacity: int = 0) -> None:
        self.decayed = np.zeros((capacity, len(HALF_LIVES_MS)))
        self.first_ms = np.zeros(capacity, np.int64)
        self.last_ms = np.zeros(capacity, np.int64)
        self.in_window = np.zeros((len(WINDOWS), capacity), np.int32)
        self.ring = np.full(WINDOWS[-1], -1, np.int64)
        self.events = 0
        self.total = np.zeros(len(HALF_LIVES_MS))
        self.total_ms = 0

    def add(self, items: Rows, ts_ms: Times) -> None:
        """Count events on rows `items` (B,) at event times `ts_ms` (B,), in stream order."""
        rows, inverse = np.unique(items, return_inverse=True)
        before = self.last_ms[rows]
        latest = before.copy()
        np.maximum.at(latest, inverse, ts_ms)
        grown_counts = self.decayed[rows] * decay(latest - before)
        np.add.at(grown_counts, inverse, decay(latest[inverse] - ts_ms))
        earliest = np.where(before == 0, latest, self.first_ms[rows])
        np.minimum.at(earliest, inverse, ts_ms)
        self.decayed[rows], self.first_ms[rows], self.last_ms[rows] = grown_counts, earliest, latest

        now = max(int(ts_ms.max()), self.total_ms)
        self.total = self.total * decay(np.array(now - self.total_ms)) + decay(now - ts_ms).sum(axis=0)
        self.total_ms = now
        for start in range(0, len(items), RECENT):
            self._add_to_windows(items[start : start + RECENT])

    def _add_to_windows(self, items: Rows) -> None:
        for n in range(len(WINDOWS)):
            np.subtract.at(self.in_window[n], (gone := self._leaving(n, len(items)))[gone >= 0], 1)
            np.add.at(self.in_window[n], items, 1)
        self.ring[(self.events + np.arange(len(items))) % len(self.ring)] = items
        self.events += len(items)

    def _leaving(self, window: int, n: int) -> Rows:
        """The rows that leave a window with each of the next `n` events, or -1."""
        places = self.events + np.arange(n) - WINDOWS[window]
        return np.where(places >= 0, self.ring[places % len(self.ring)], -1)

    def top(self, window: int, n: int) -> Rows:
        """The rows most frequent in window 0 or 1, at most `n`, ties by row; what is not in it is left out."""
        counts = self.in_window[window]
        floor = 1
        if 0 < n < len(counts):
            floor = max(1, int(np.partition(counts, len(counts) - n)[len(counts) - n]))
        rows = np.flatnonzero(counts >= floor)
        return rows[np.argsort(-counts[rows], kind="stable")[:n]]

    def recent(self) -> Rows:
        """The distinct rows of the last `RECENT` events."""
        last = self.ring[(self.events - 1 - np.arange(min(RECENT, self.events))) % len(self.ring)]
        return np.unique(last[last >= 0])

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.decayed = grown(self.decayed, capacity)
        self.first_ms, self.last_ms = grown(self.first_ms, capacity), grown(self.last_ms, capacity)
        self.in_window = np.ascontiguousarray(grown(self.in_window.T, capacity).T)

    def drop(self, rows: Rows) -> None:
        """Forget `rows`."""
        self.decayed[rows] = 0
        self.first_ms[rows] = self.last_ms[rows] = 0
        self.in_window[:, rows] = 0
        self.ring[np.isin(self.ring, rows)] = -1


class PopularityAt:
    """Popularity as of each position of a chunk: position p knows the chunk's first p visits and nothing after them.

    Built from the popularity at the chunk's start and the chunk's visits: rows `items` (B,) at `ts_ms` (B,).
    """

    def __init__(self, base: Popularity, items: Rows, ts_ms: Times) -> None:
        self.base = base
        leaving = [base._leaving(n, len(items)) for n in range(len(WINDOWS))]
        self.touched, first_touch = np.unique(items, return_index=True)
        self.first_touch = first_touch
        rows = np.unique(np.concatenate([items, *leaving]))
        self._local = np.zeros(len(base.last_ms), np.int64)  # column of a row; column 0 stands for "unchanged"
        self._local[rows[rows >= 0]] = np.arange(1, (rows >= 0).sum() + 1)
        shape = (len(items) + 1, int((rows >= 0).sum()) + 1)
        step, column = np.arange(1, len(items) + 1), self._local[items]

        self._in_window = np.zeros((len(WINDOWS), *shape), np.int32)
        for n, gone in enumerate(leaving):
            self._in_window[n, step, column] += 1
            self._in_window[n, step[gone >= 0], self._local[gone[gone >= 0]]] -= 1
        self._in_window = self._in_window.cumsum(axis=1)

        self._last_ms = np.zeros(shape, np.int64)
        self._last_ms[step, column] = ts_ms
        self._last_ms = np.maximum.accumulate(self._last_ms, axis=0)
        self._first_ms = np.full(shape, NEVER)
        self._first_ms[step, column] = ts_ms
        self._first_ms = np.minimum.accumulate(self._first_ms, axis=0)
        self._latest_ms = np.maximum.accumulate(np.concatenate([[base.total_ms], ts_ms]))

        # Gains are kept as of the chunk's latest event; chunks are cut so that this stays within float64's range.
        self._now_ms = int(ts_ms.max(initial=0))
        gained = np.zeros((*shape, len(HALF_LIVES_MS)))
        gained[step, column] = decay(self._now_ms - ts_ms)
        self._gained = gained.cumsum(axis=0)
        self._gained_total = self._gained.sum(axis=1)

    def in_window(self, rows: Rows, position: Rows) -> NDArray[np.int32]:
        """Counts (2, ...) of `rows` (...) in the last 200 and 2,000 events as of `position` (...)."""
        return self.base.in_window[:, rows] + self._in_window[:, position, self._local[rows]]

    def window_sizes(self, position: Rows) -> NDArray[np.int64]:
        """How many events the two windows hold (2, ...) as of `position` (...)."""
        windows = np.array(WINDOWS).reshape(2, *(1 for _ in position.shape))
        sizes: NDArray[np.int64] = np.minimum(windows, self.base.events + position)
        return sizes

    def decayed(self, rows: Rows, position: Rows, now_ms: Times) -> Floats:
        """Decayed counts (..., 3) of `rows` (...) as of `position` (...), at event time `now_ms` (...)."""
        now_ms = np.maximum(now_ms, self.last_ms(rows, position))  # no count is higher before its latest event
        base = self.base.decayed[rows] * decay(now_ms - self.base.last_ms[rows])
        return np.add(base, self._gained[position, self._local[rows]] * decay(now_ms - self._now_ms))

    def total(self, position: Rows, now_ms: Times) -> Floats:
        """Decayed counts of all items together (..., 3)."""
        now_ms = np.maximum(now_ms, self._latest_ms[position])
        base = self.base.total * decay(now_ms - self.base.total_ms)
        total: Floats = base + self._gained_total[position] * decay(now_ms - self._now_ms)
        return total

    def first_ms(self, rows: Rows, position: Rows) -> Times:
        """Event time of the first event with each of `rows` (...); 0 where there is none yet."""
        base = self.base.first_ms[rows]
        first = np.minimum(np.where(base > 0, base, NEVER), self._first_ms[position, self._local[rows]])
        return np.where(first < NEVER, first, 0)

    def last_ms(self, rows: Rows, position: Rows) -> Times:
        """Event time of the latest event with each of `rows` (...); 0 where there is none yet."""
        return np.maximum(self.base.last_ms[rows], self._last_ms[position, self._local[rows]])

    def touched_before(self, position: Rows) -> tuple[Rows, Rows]:
        """All pairs (n, row) such that a visit of the chunk before `position[n]` touched the row."""
        n, column = np.nonzero(position[:, None] > self.first_touch)
        return n, self.touched[column]


def decay(age_ms: Times) -> Floats:
    """2^(-age / half-life) for the three half-lives: (..., 3)."""
    return np.exp2(-age_ms[..., None] / HALF_LIVES_MS)

"""Popularity of items over three windows (50, 200 and 2,000 events) and three half-lives (an hour, a day, a week).

A decayed count after events at times t_i is  c(t) = sum_i 2^(-(t - t_i) / h). It is stored as of the item's latest
event and decayed when read, so passing time costs nothing (forward decay: Cormode et al., ICDE 2009).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.items.index import NO_ROW, extend_rows

HALF_LIVES_MS = (3_600_000.0, 86_400_000.0, 604_800_000.0)  # an hour, a day, a week
WINDOWS = (50, 200, 2_000)  # in events
RING_SIZE = max(WINDOWS)

# Columns of `ItemPopularity.counters` and positions in `ItemPopularity.clock`.
FIRST_MS, LAST_MS, HOUR, DAY, WEEK, FIRST_WINDOW = range(6)
N_EVENTS, LATEST_MS, TOTAL_HOUR, TOTAL_DAY, TOTAL_WEEK = range(5)


class ItemPopularity(NamedTuple):
    """Popularity counters of all items.

    Attributes:
        counters: (rows, 8) first and latest event time; decayed counts as of the latter for an hour, a day and a week;
            counts in the last 50, 200 and 2,000 events. Times are undefined for items without events.
        ring: (2000,) item rows of the latest events.
        clock: (5,) number of events; latest event time; decayed counts of all items together as of then.
    """

    counters: NDArray[np.float64]
    ring: NDArray[np.int32]
    clock: NDArray[np.float64]

    @classmethod
    def empty(cls, capacity: int) -> "ItemPopularity":
        """Return room for `capacity` items."""
        return cls(np.zeros((capacity, FIRST_WINDOW + len(WINDOWS))), np.full(RING_SIZE, NO_ROW, np.int32), np.zeros(5))

    def with_capacity(self, capacity: int) -> "ItemPopularity":
        """Return a copy with room for `capacity` items."""
        return self._replace(counters=extend_rows(self.counters, capacity))

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Clear `rows`."""
        self.counters[rows] = 0
        self.ring[np.isin(self.ring, rows)] = NO_ROW


@jit_no_refcount
def decay_factors(age_ms: float) -> tuple[float, float, float]:
    """Return 2^(-age / half-life) for an hour, a day and a week; an hour's is the 24th power of a day's, and so on."""
    week = np.exp2(-age_ms / HALF_LIVES_MS[2])
    week_3 = week * week * week
    day = week_3 * week_3 * week
    day_3 = day * day * day
    day_12 = (day_3 * day_3) * (day_3 * day_3)
    return day_12 * day_12, day, week


@jit_no_refcount
def count_event(
    counters: NDArray[np.float64], ring: NDArray[np.int32], clock: NDArray[np.float64], row: int, ts_ms: int
) -> None:
    """Count an event on an item.

    Args:
        counters: (rows, 8) of `ItemPopularity`.
        ring: (2000,) of `ItemPopularity`.
        clock: (5,) of `ItemPopularity`.
        row: The item.
        ts_ms: Event time.
    """
    item_counters, n_events = counters[row], int(clock[N_EVENTS])
    is_first = item_counters[WEEK] == 0
    _decay_and_increment(item_counters[HOUR : WEEK + 1], 0.0 if is_first else ts_ms - item_counters[LAST_MS])
    if is_first or ts_ms < item_counters[FIRST_MS]:
        item_counters[FIRST_MS] = ts_ms
    if is_first or ts_ms > item_counters[LAST_MS]:
        item_counters[LAST_MS] = ts_ms
    _decay_and_increment(clock[TOTAL_HOUR : TOTAL_WEEK + 1], 0.0 if n_events == 0 else ts_ms - clock[LATEST_MS])
    if n_events == 0 or ts_ms > clock[LATEST_MS]:
        clock[LATEST_MS] = ts_ms
    for n in range(len(WINDOWS)):
        if n_events >= WINDOWS[n]:
            expired_row = ring[(n_events - WINDOWS[n]) % RING_SIZE]
            if expired_row != NO_ROW:
                counters[expired_row, FIRST_WINDOW + n] -= 1
        item_counters[FIRST_WINDOW + n] += 1
    ring[n_events % RING_SIZE] = row
    clock[N_EVENTS] = n_events + 1


@jit_no_refcount
def _decay_and_increment(counts: NDArray[np.float64], elapsed_ms: float) -> None:
    """Decay `counts` (3,) by the elapsed time and add one; a late event is decayed itself instead."""
    hour, day, week = decay_factors(abs(elapsed_ms))
    if elapsed_ms >= 0:
        counts[0] = counts[0] * hour + 1
        counts[1] = counts[1] * day + 1
        counts[2] = counts[2] * week + 1
    else:
        counts[0] += hour
        counts[1] += day
        counts[2] += week


@jit
def find_top_rows(
    counters: NDArray[np.float64],
    ring: NDArray[np.int32],
    clock: NDArray[np.float64],
    window: int,
    out_rows: NDArray[np.int32],
) -> int:
    """Write the most frequent items of a window, ties to the latest.

    Args:
        counters: (rows, 8) of `ItemPopularity`; negated for a moment to mark rows.
        ring: (2000,) of `ItemPopularity`.
        clock: (5,) of `ItemPopularity`.
        window: The index of the window.
        out_rows: (N,) int32, overwritten.

    Returns:
        The number of rows written.
    """
    n_events = int(clock[N_EVENTS])
    size = min(WINDOWS[window], n_events)
    column = FIRST_WINDOW + window
    rows = np.empty(size, np.int32)
    counts = np.empty(size, np.int64)
    n_distinct = 0
    for age in range(size):
        row = ring[(n_events - 1 - age) % RING_SIZE]
        if row != NO_ROW and counters[row, column] > 0:
            rows[n_distinct], counts[n_distinct] = row, int(counters[row, column])
            counters[row, column] *= -1  # marks the row as found
            n_distinct += 1
    highest = 0
    for i in range(n_distinct):
        counters[rows[i], column] = counts[i]
        highest = max(highest, counts[i])
    # A counting sort by falling count, the latest first within a count: ranks start at the number of higher counts.
    n_higher = np.zeros(highest + 2, np.int64)
    for i in range(n_distinct):
        n_higher[counts[i]] += 1
    n_above = 0
    for level in range(highest, 0, -1):
        n_higher[level], n_above = n_above, n_above + n_higher[level]
    n_written = 0
    for i in range(n_distinct):
        rank = n_higher[counts[i]]
        n_higher[counts[i]] += 1
        if rank < len(out_rows):
            out_rows[rank] = rows[i]
            n_written += 1
    return n_written


@jit_no_refcount
def find_recent_rows(ring: NDArray[np.int32], clock: NDArray[np.float64], out_rows: NDArray[np.int32]) -> int:
    """Write the rows of the latest events, repeats included.

    Args:
        ring: (2000,) of `ItemPopularity`.
        clock: (5,) of `ItemPopularity`.
        out_rows: (N,) int32, overwritten.

    Returns:
        The number of rows written.
    """
    n_events, n_written = int(clock[N_EVENTS]), 0
    for age in range(min(len(out_rows), n_events)):
        row = ring[(n_events - 1 - age) % RING_SIZE]
        if row != NO_ROW:
            out_rows[n_written] = row
            n_written += 1
    return n_written

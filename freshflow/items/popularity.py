"""Popularity of items over six memories: the last 50, 200 and 2,000 events, and half-lives of an hour, a day, a week.

A decayed count after events at times t_i is  c(t) = sum_i 2^(-(t - t_i) / h). It is kept as its value at the item's
latest event and decayed when read, so time costs nothing (forward decay: Cormode et al., ICDE 2009).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import compiled, lean
from freshflow.items.index import NO_ROW, grown

__all__ = ["HALF_LIVES_MS", "WINDOWS", "Popularity", "count", "decay", "leaders", "recent"]

HOUR_MS = 3_600_000.0
DAY_HOURS, WEEK_DAYS = 24, 7
HALF_LIVES_MS = (HOUR_MS, HOUR_MS * DAY_HOURS, HOUR_MS * DAY_HOURS * WEEK_DAYS)  # an hour, a day, a week
WINDOWS = (50, 200, 2_000)  # in events: what is popular at this moment, right now, and has been for a while
RING = max(WINDOWS)

# Columns of `Popularity.memories` and places of `Popularity.clock`.
FIRST_MS, LAST_MS, HOUR, DAY, WEEK, IN_WINDOW = range(6)
EVENTS, NOW_MS, ALL_HOUR, ALL_DAY, ALL_WEEK = range(5)


class Popularity(NamedTuple):
    """`memories` (rows, 8) of each item: first and latest event time, decayed counts as of the latter (an hour's, a
    day's, a week's), counts in the last 50, 200 and 2,000 events. Times mean nothing where nothing was counted.

    `ring` holds the rows of the last 2,000 events. `clock` (5,) counts the events, and holds the latest event time and
    the decayed counts of all items together as of then.
    """

    memories: NDArray[np.float64]
    ring: NDArray[np.int32]
    clock: NDArray[np.float64]

    @classmethod
    def empty(cls, capacity: int) -> "Popularity":
        """Room for `capacity` items."""
        return cls(np.zeros((capacity, IN_WINDOW + len(WINDOWS))), np.full(RING, NO_ROW, np.int32), np.zeros(5))

    def grown(self, capacity: int) -> "Popularity":
        """The same with room for `capacity` items."""
        return self._replace(memories=grown(self.memories, capacity))

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forget `rows`."""
        self.memories[rows] = 0
        self.ring[np.isin(self.ring, rows)] = NO_ROW


@lean
def decay(age_ms: float) -> tuple[float, float, float]:
    """2^(-age / half-life) for an hour, a day and a week; an hour's is the 24th power of a day's, and so on."""
    week = np.exp2(-age_ms / HALF_LIVES_MS[2])
    week_3 = week * week * week
    day = week_3 * week_3 * week
    day_3 = day * day * day
    day_12 = (day_3 * day_3) * (day_3 * day_3)
    return day_12 * day_12, day, week


@lean
def count(
    memories: NDArray[np.float64], ring: NDArray[np.int32], clock: NDArray[np.float64], row: int, ts_ms: int
) -> None:
    """Count an event on `row` at event time `ts_ms`; the arrays are those of `Popularity`."""
    memory, events = memories[row], int(clock[EVENTS])
    is_first = memory[WEEK] == 0
    _age(memory[HOUR : WEEK + 1], 0.0 if is_first else ts_ms - memory[LAST_MS])
    if is_first or ts_ms < memory[FIRST_MS]:
        memory[FIRST_MS] = ts_ms
    if is_first or ts_ms > memory[LAST_MS]:
        memory[LAST_MS] = ts_ms
    _age(clock[ALL_HOUR : ALL_WEEK + 1], 0.0 if events == 0 else ts_ms - clock[NOW_MS])
    if events == 0 or ts_ms > clock[NOW_MS]:
        clock[NOW_MS] = ts_ms
    for n in range(len(WINDOWS)):
        if events >= WINDOWS[n]:
            gone = ring[(events - WINDOWS[n]) % RING]
            if gone != NO_ROW:
                memories[gone, IN_WINDOW + n] -= 1
        memory[IN_WINDOW + n] += 1
    ring[events % RING] = row
    clock[EVENTS] = events + 1


@lean
def _age(counts: NDArray[np.float64], since_ms: float) -> None:
    """Decay `counts` (3,) by `since_ms` and add one; an event from the past is decayed itself instead."""
    hour, day, week = decay(abs(since_ms))
    if since_ms >= 0:
        counts[0] = counts[0] * hour + 1
        counts[1] = counts[1] * day + 1
        counts[2] = counts[2] * week + 1
    else:
        counts[0] += hour
        counts[1] += day
        counts[2] += week


@compiled
def leaders(
    memories: NDArray[np.float64],
    ring: NDArray[np.int32],
    clock: NDArray[np.float64],
    window: int,
    found: NDArray[np.int32],
) -> int:
    """Write the rows most frequent in window number `window` to `found` (N,), ties to the latest; how many."""
    events = int(clock[EVENTS])
    size = min(WINDOWS[window], events)
    column = IN_WINDOW + window
    rows = np.empty(size, np.int32)
    counts = np.empty(size, np.int64)
    distinct = 0
    for back in range(size):
        row = ring[(events - 1 - back) % RING]
        if row != NO_ROW and memories[row, column] > 0:
            rows[distinct], counts[distinct] = row, int(memories[row, column])
            memories[row, column] *= -1  # marked as found
            distinct += 1
    highest = 0
    for at in range(distinct):
        memories[rows[at], column] = counts[at]
        highest = max(highest, counts[at])
    # By falling count, and within a count the latest first: as many places as have a higher count come before.
    higher = np.zeros(highest + 2, np.int64)
    for at in range(distinct):
        higher[counts[at]] += 1
    above = 0
    for value in range(highest, 0, -1):
        higher[value], above = above, above + higher[value]
    written = 0
    for at in range(distinct):
        place = higher[counts[at]]
        higher[counts[at]] += 1
        if place < len(found):
            found[place] = rows[at]
            written += 1
    return written


@lean
def recent(ring: NDArray[np.int32], clock: NDArray[np.float64], found: NDArray[np.int32]) -> int:
    """Write the rows of the last events to `found` (N,), repeats included; how many."""
    events, written = int(clock[EVENTS]), 0
    for back in range(min(len(found), events)):
        row = ring[(events - 1 - back) % RING]
        if row != NO_ROW:
            found[written] = row
            written += 1
    return written

"""Related items: whose company has changed, and who an item's nearest are.

The similarity of two items is the cosine of their undirected co-visitation, shrunk towards 0 where little supports it:

    s(x, y) = n / sqrt(S_x S_y) * n / (n + SHRINKAGE)

with n = together[x, y] and S the sums of all that was ever together with x and with y (`freshflow.items.covisitation`),
which fade as item knowledge does. The cosine is that of item-based collaborative filtering (Sarwar et al., WWW 2001),
the shrinkage that of Bell and Koren (ICDM 2007).
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import compiled
from freshflow.items.covisitation import EMPTY, TOGETHER
from freshflow.items.tables import Tables

__all__ = ["UNIT", "difference", "due", "nearest"]

SHRINKAGE = 10.0  # pairs; where n is as much, the cosine counts half
GROWTH = 0.1  # share by which an item's company must have changed for its nearest to be looked for again
UNIT = 1_000_000  # scores are whole millionths, so that a list is in order as it is read


@compiled
def due(
    tables: Tables,
    seen: NDArray[np.float64],
    published_ms: NDArray[np.int64],
    start: int,
    end: int,
    now_ms: int,
    interval_ms: int,
    support: float,
    rows: NDArray[np.int32],
    changes: NDArray[np.float64],
) -> int:
    """Write the `rows` from `start` to `end` whose nearest may be others by now, and their `changes`; how many.

    `seen` (R,) are the sums of their company when they were last looked at, `published_ms` (R,) when a list of theirs
    was last published. A change is relative to what there was, so that
    new items come first. An item whose whole company is less than `support` has no nearest.
    """
    sums, found = tables.covisits.sums, 0
    for row in range(start, end):
        change = abs(sums[row, TOGETHER] - seen[row])
        if change == 0 or change < GROWTH * seen[row] or max(sums[row, TOGETHER], seen[row]) < support:
            continue
        if tables.available[row] and now_ms - published_ms[row] >= interval_ms:
            rows[found], changes[found] = row, change / (1 + seen[row])
            found += 1
    return found


@compiled
def nearest(tables: Tables, row: int, support: float, rows: NDArray[np.int32], scores: NDArray[np.float64]) -> int:
    """Write the neighbours of `row` and their similarities, times `UNIT`, the most similar first; how many.

    `rows` and `scores` have room for as many as there are slots. Neighbours that are not available, or were together
    with it less than `support`, are left out.
    """
    neighbours, weights, sums = tables.covisits.neighbours[row], tables.covisits.weights[row], tables.covisits.sums
    found = 0
    for slot in range(len(neighbours)):
        other, together = neighbours[slot], np.float64(weights[slot, TOGETHER])
        if other == EMPTY or together < support or together <= 0:
            break  # slots are in order of `together`
        if not tables.available[other]:
            continue
        cosine = together / np.sqrt(sums[row, TOGETHER] * sums[other, TOGETHER])
        score = np.rint(cosine * together / (together + SHRINKAGE) * UNIT)
        place = found
        while place > 0 and scores[place - 1] < score:
            rows[place], scores[place] = rows[place - 1], scores[place - 1]
            place -= 1
        rows[place], scores[place] = other, score
        found += 1
    return found


@compiled
def difference(old: NDArray[np.int32], new: NDArray[np.int32]) -> float:
    """How much of the attention that a list gets falls on places that hold another item than before, from 0 to 1.

    `old` and `new` (K,) are rows, -1 where there are no more. Place r, from 1, gets 1 / log2(r + 1) of it, as in DCG.
    """
    other = whole = 0.0
    for place in range(len(new)):
        if old[place] == EMPTY and new[place] == EMPTY:
            continue
        weight = 1 / np.log2(place + 2)
        whole += weight
        other += weight * (old[place] != new[place])
    return other / whole if whole > 0 else 0.0

"""Related items: whose company has changed, and who an item's nearest are.

The similarity of two items is the cosine of their undirected co-visitation, shrunk towards 0 where little supports it:

    s(x, y) = n / sqrt(S_x S_y) * n / (n + SHRINKAGE)

with n = together[x, y] and S the sums of all that was ever together with x and with y (`freshflow.items.covisitation`),
which fade as item knowledge does. The cosine is that of item-based collaborative filtering (Sarwar et al., WWW 2001),
the shrinkage that of Bell and Koren (ICDM 2007).
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit
from freshflow.items.covisitation import COOCCURRENCE, EMPTY_SLOT
from freshflow.items.tables import ItemTables

__all__ = ["SIMILARITY_SCALE", "discounted_list_change", "find_due_rows", "find_related_rows"]

SHRINKAGE = 10.0  # pairs; where n is as much, the cosine counts half
MIN_RELATIVE_CHANGE = 0.1  # share by which an item's company must have changed for its nearest to be looked for again
SIMILARITY_SCALE = 1_000_000  # scores are whole millionths, so that a list is in order as it is read


@jit
def find_due_rows(
    tables: ItemTables,
    last_sums: NDArray[np.float64],
    published_ms: NDArray[np.int64],
    start_row: int,
    end_row: int,
    now_ms: int,
    interval_ms: int,
    min_support: float,
    rows: NDArray[np.int32],
    changes: NDArray[np.float64],
) -> int:
    """Write the `rows` from `start_row` to `end_row` whose nearest may be others by now, and their `changes`; how many.

    `last_sums` (R,) are the sums of their company when they were last looked at, `published_ms` (R,) when a list of theirs
    was last published. A change is relative to what there was, so that
    new items come first. An item whose whole company is less than `min_support` has no nearest.
    """
    sums, n_found = tables.covisits.sums, 0
    for row in range(start_row, end_row):
        change = abs(sums[row, COOCCURRENCE] - last_sums[row])
        if (
            change == 0
            or change < MIN_RELATIVE_CHANGE * last_sums[row]
            or max(sums[row, COOCCURRENCE], last_sums[row]) < min_support
        ):
            continue
        if tables.available[row] and now_ms - published_ms[row] >= interval_ms:
            rows[n_found], changes[n_found] = row, change / (1 + last_sums[row])
            n_found += 1
    return n_found


@jit
def find_related_rows(
    tables: ItemTables, row: int, min_support: float, rows: NDArray[np.int32], scores: NDArray[np.float64]
) -> int:
    """Write the neighbours of `row` and their similarities, times `SIMILARITY_SCALE`, the most similar first; how many.

    `rows` and `scores` have room for as many as there are slots. Neighbours that are not available, or were together
    with it less than `min_support`, are left out.
    """
    neighbours, weights, sums = tables.covisits.neighbours[row], tables.covisits.weights[row], tables.covisits.sums
    n_found = 0
    for slot in range(len(neighbours)):
        neighbour, cooccurrence = neighbours[slot], np.float64(weights[slot, COOCCURRENCE])
        if neighbour == EMPTY_SLOT or cooccurrence < min_support or cooccurrence <= 0:
            break  # slots are in order of `together`
        if not tables.available[neighbour]:
            continue
        cosine = cooccurrence / np.sqrt(sums[row, COOCCURRENCE] * sums[neighbour, COOCCURRENCE])
        score = np.rint(cosine * cooccurrence / (cooccurrence + SHRINKAGE) * SIMILARITY_SCALE)
        position = n_found
        while position > 0 and scores[position - 1] < score:
            rows[position], scores[position] = rows[position - 1], scores[position - 1]
            position -= 1
        rows[position], scores[position] = neighbour, score
        n_found += 1
    return n_found


@jit
def discounted_list_change(old_rows: NDArray[np.int32], new_rows: NDArray[np.int32]) -> float:
    """How much of the attention that a list gets falls on places that hold another item than before, from 0 to 1.

    `old_rows` and `new_rows` (K,) are rows, -1 where there are no more. Place r, from 1, gets 1 / log2(r + 1) of it, as in DCG.
    """
    changed_weight = total_weight = 0.0
    for position in range(len(new_rows)):
        if old_rows[position] == EMPTY_SLOT and new_rows[position] == EMPTY_SLOT:
            continue
        weight = 1 / np.log2(position + 2)
        total_weight += weight
        changed_weight += weight * (old_rows[position] != new_rows[position])
    return changed_weight / total_weight if total_weight > 0 else 0.0

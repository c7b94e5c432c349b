"""Similarity of items by co-visitation, and detection of changed co-visitation.

The similarity of two items is the cosine of their undirected co-visitation, shrunk towards 0 where support is low:

    s(x, y) = n / sqrt(S_x S_y) * n / (n + SHRINKAGE)

with n = together[x, y] and S_x, S_y the sums of `together` of x and of y with all items
(`freshflow.items.covisitation`), which are down-weighted together with the counts. The cosine is that of item-based
collaborative filtering (Sarwar et al., WWW 2001), the shrinkage that of Bell and Koren (ICDM 2007).
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit
from freshflow.items.covisitation import COOCCURRENCE, EMPTY_SLOT
from freshflow.items.tables import ItemTables

SHRINKAGE = 10.0  # pairs; at n = SHRINKAGE the cosine is halved
MIN_RELATIVE_CHANGE = 0.1  # relative change of an item's co-visitation that makes its list due
SIMILARITY_SCALE = 1_000_000  # scores are whole millionths, so that the published order equals the computed one


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
    """Write the rows with changed co-visitation and their relative changes; new items change most.

    Args:
        tables: The item tables.
        last_sums: (R,) sum of each row's co-visitation at the last check.
        published_ms: (R,) event time of the last published list.
        start_row: The first row of the scan.
        end_row: The end of the scan, exclusive.
        now_ms: The event time.
        interval_ms: The least time between two lists of an item.
        min_support: The least sum of co-visitation of an item with related items.
        rows: Output for the rows.
        changes: Output for the relative changes.

    Returns:
        The number of rows written.
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
    """Write the neighbours of a row and their similarities, the most similar first.

    Args:
        tables: The item tables.
        row: The row of the item.
        min_support: The least co-visitation of a neighbour; unavailable neighbours are left out, too.
        rows: (slots,) output for the rows of the neighbours.
        scores: (slots,) output for the similarities times `SIMILARITY_SCALE`.

    Returns:
        The number of neighbours written.
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
    """Return the discounted share of positions whose item has changed, from 0 to 1.

    Position r (from 1) has the weight 1 / log2(r + 1), as in DCG.

    Args:
        old_rows: (K,) item rows of the old list, -1 padded.
        new_rows: (K,) item rows of the new list, -1 padded.
    """
    changed_weight = total_weight = 0.0
    for position in range(len(new_rows)):
        if old_rows[position] == EMPTY_SLOT and new_rows[position] == EMPTY_SLOT:
            continue
        weight = 1 / np.log2(position + 2)
        total_weight += weight
        changed_weight += weight * (old_rows[position] != new_rows[position])
    return changed_weight / total_weight if total_weight > 0 else 0.0

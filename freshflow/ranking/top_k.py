"""The best k of scored candidates, and the rank of one of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount


@jit_no_refcount
def rank_by_value(values: NDArray[np.floating[Any]], index: int) -> int:
    """Return the rank, from 1, of the candidate at `index` by falling value (C,); ties go to the lower index."""
    rank = 1
    for i in range(len(values)):
        rank += values[i] > values[index] or (values[i] == values[index] and i < index)
    return rank


@jit_no_refcount
def select_top_k(
    scores: NDArray[np.float64], skip_marks: NDArray[np.int32], k: int, indices: NDArray[np.int32]
) -> tuple[int, bool]:
    """Write the indices of the `k` highest scores, the highest first.

    Args:
        scores: (C,).
        skip_marks: (C,); candidates with a mark of 0 or more are left out.
        k: The number of candidates to select.
        indices: (at least k,) int32, overwritten.

    Returns:
        The number selected, and whether any two of them, or the last and one left out, have the same score.
    """
    n, tied = 0, False
    for c in range(len(scores)):
        if skip_marks[c] >= 0:
            continue
        value = scores[c]
        if n == k:
            if n == 0 or value < scores[indices[n - 1]]:
                continue
            if value == scores[indices[n - 1]]:
                tied = True
                continue
        position = n if n < k else n - 1
        while position > 0 and scores[indices[position - 1]] < value:
            indices[position] = indices[position - 1]
            position -= 1
        tied |= position > 0 and scores[indices[position - 1]] == value
        indices[position] = c
        n = min(n + 1, k)
    return n, tied


@jit_no_refcount
def append_tied_candidates(
    scores: NDArray[np.float64], skip_marks: NDArray[np.int32], candidate_indices: NDArray[np.int32], n_listed: int
) -> int:
    """Write all candidates that score as the last of a list behind those that score more.

    Args:
        scores: (C,).
        skip_marks: (C,); candidates with a mark of 0 or more are left out.
        candidate_indices: (at least C,) int32; the list, overwritten from its first tied place on.
        n_listed: The length of the list.

    Returns:
        The number of candidates written.
    """
    last_score, n = scores[candidate_indices[n_listed - 1]], 0
    while scores[candidate_indices[n]] > last_score:
        n += 1
    for i in range(len(scores)):
        if scores[i] == last_score and skip_marks[i] < 0:
            candidate_indices[n] = i
            n += 1
    return n

"""Pruning: the most promising candidates of a query where there are more than the ranker scores."""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.ranking.candidate_buffer import (
    COSINE,
    FLAG_COLD_START,
    FLAG_HISTORY,
    FLAG_POPULAR,
    FORWARD_SUM,
    META_FLAGS,
    N_METADATA,
    TOGETHER_SUM,
    TWO_STEPS,
)
from freshflow.ranking.math_kernels import round_up_to_simd_width

# Own and popular items outrank any neighbour: they are few, and no row of neighbours contains them.
HISTORY_PRIOR, POPULAR_PRIOR = np.float32(20.0), np.float32(10.0)


@jit
def prune_candidates(
    metadata: NDArray[np.int32], covisit_features: NDArray[np.float32], n_candidates: int, max_candidates: int
) -> int:
    """Keep the candidates with the strongest co-visitation, ties in the order in which they were found.

    Args:
        metadata: (G, 7) of `CandidateBuffer`; rows that are kept move up.
        covisit_features: (G, E + 1) of `CandidateBuffer`.
        n_candidates: The number of candidates.
        max_candidates: The number to keep.

    Returns:
        The number kept.
    """
    prior = np.zeros(round_up_to_simd_width(n_candidates), np.float32)
    for i in range(n_candidates):
        prior[i] = covisit_features[i, FORWARD_SUM] + covisit_features[i, TOGETHER_SUM] + covisit_features[i, COSINE]
        prior[i] += covisit_features[i, TWO_STEPS]
        if metadata[i, META_FLAGS] & FLAG_HISTORY:
            prior[i] += HISTORY_PRIOR
        if metadata[i, META_FLAGS] & (FLAG_POPULAR | FLAG_COLD_START):
            prior[i] += POPULAR_PRIOR
    bits = prior.view(np.int32)  # bits of non-negative floats have the order of the floats
    floor, n_at_floor = _nth_largest(bits, max_candidates), max_candidates
    for i in range(n_candidates):
        n_at_floor -= bits[i] > floor
    n_kept = 0
    for i in range(n_candidates):
        if bits[i] > floor or (bits[i] == floor and n_at_floor > 0):
            n_at_floor -= bits[i] == floor
            for n in range(N_METADATA):
                metadata[n_kept, n] = metadata[i, n]
            n_kept += 1
    return n_kept


@jit_no_refcount
def _nth_largest(values: NDArray[np.int32], rank: int) -> int:
    """Return the greatest threshold that at least `rank` of the values (N,) reach; values must not be negative.

    A radix select: it finds the threshold bit by bit from the top. About 20 vectorised counts over all values take less
    time than sorting them. It stops early at a threshold that exactly `rank` values reach.
    """
    floor = np.int32(0)
    for bit in range(30, -1, -1):
        trial, n_reaching = floor | np.int32(1 << bit), np.int32(0)
        for n in range(len(values)):
            n_reaching += np.int32(values[n] >= trial)
        if n_reaching >= rank:
            floor = trial
        if n_reaching == rank:
            break
    return int(floor)

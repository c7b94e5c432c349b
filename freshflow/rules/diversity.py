"""Diversity: what stands next is good, and unlike what stands above it (maximal marginal relevance).

With d the knob, R(c) the score of c scaled to 0..1 over the candidates, and S the items that stand already, the next is

    argmax_c  (1 - d) R(c) - d max_{s in S} sim(c, s)

(Carbonell & Goldstein, SIGIR 1998, with lambda = 1 - d). Two items are as alike as the larger says of the share of
their categories (Jaccard) and of how often they are visited together (cosine of co-visitation).
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit
from freshflow.items.covisitation import COOCCURRENCE, CoVisits
from freshflow.rules.candidate_list import CandidateList

__all__ = ["diversify"]


def diversify(
    candidates: CandidateList,
    categories: NDArray[np.int32],
    covisits: CoVisits,
    index_by_row: NDArray[np.int32],
    diversity: float,
    k: int,
) -> CandidateList:
    """The first `k` chosen one after the other, then the rest as they were.

    `categories` (rows, G) are those of items, -1 padded; `index_by_row` (rows,) is -1 before and after.
    """
    order = np.empty(candidates.size, np.int64)
    if candidates.size:
        lowest, highest = candidates.scores.min(), candidates.scores.max()
        relevance = (candidates.scores - lowest) / (highest - lowest) if highest > lowest else np.ones(candidates.size)
        item_categories = categories[candidates.rows]
        _select_by_marginal_relevance(
            candidates.rows,
            relevance,
            item_categories,
            *covisits,
            index_by_row,
            diversity,
            min(k, candidates.size),
            order,
        )
    return candidates.select(order)


@jit
def _select_by_marginal_relevance(
    rows: NDArray[np.int32],
    relevance: NDArray[np.float64],
    categories: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    index_by_row: NDArray[np.int32],
    diversity: float,
    k: int,
    order: NDArray[np.int64],
) -> None:
    """Write the places of items (N,) to `order`; ties to the one that stands first."""
    size = len(rows)
    is_chosen, max_similarity = np.zeros(size, np.bool_), np.zeros(size)
    for n in range(size):
        index_by_row[rows[n]] = n
    for position in range(k):
        best, best_margin = -1, -np.inf
        for c in range(size):
            if not is_chosen[c]:
                margin = (1 - diversity) * relevance[c] - diversity * max_similarity[c]
                if margin > best_margin:
                    best, best_margin = c, margin
        is_chosen[best] = True
        order[position] = best
        x = rows[best]
        for slot in range(neighbours.shape[1]):
            y = neighbours[x, slot]
            if y < 0:
                break
            if index_by_row[y] >= 0 and sums[x, COOCCURRENCE] > 0 and sums[y, COOCCURRENCE] > 0:
                cosine = weights[x, slot, COOCCURRENCE] / np.sqrt(sums[x, COOCCURRENCE] * sums[y, COOCCURRENCE])
                max_similarity[index_by_row[y]] = max(max_similarity[index_by_row[y]], min(cosine, 1.0))
        for c in range(size):
            if not is_chosen[c]:
                max_similarity[c] = max(max_similarity[c], _jaccard(categories[best], categories[c]))
    position = k
    for n in range(size):
        index_by_row[rows[n]] = -1
        if not is_chosen[n]:
            order[position] = n
            position += 1


@jit
def _jaccard(first: NDArray[np.int32], second: NDArray[np.int32]) -> float:
    """The share of categories (G,) of either item that both have; 0 where none are known."""
    n_common = n_first = n_second = 0
    for a in first:
        n_first += a >= 0
        for b in second:
            n_common += a >= 0 and a == b
    for b in second:
        n_second += b >= 0
    return n_common / max(n_first + n_second - n_common, 1)

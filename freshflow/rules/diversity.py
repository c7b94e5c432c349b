"""Diversity: what stands next is good, and unlike what stands above it (maximal marginal relevance).

With d the knob, R(c) the score of c scaled to 0..1 over the candidates, and S the items that stand already, the next is

    argmax_c  (1 - d) R(c) - d max_{s in S} sim(c, s)

(Carbonell & Goldstein, SIGIR 1998, with lambda = 1 - d). Two items are as alike as the larger says of the share of
their categories (Jaccard) and of how often they are visited together (cosine of co-visitation).
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import compiled
from freshflow.items.covisitation import TOGETHER, CoVisits
from freshflow.rules.candidate_list import Ranked

__all__ = ["diverse"]


def diverse(
    ranked: Ranked, categories: NDArray[np.int32], covisits: CoVisits, number: NDArray[np.int32], knob: float, k: int
) -> Ranked:
    """The first `k` chosen one after the other, then the rest as they were.

    `categories` (rows, G) are those of items, -1 padded; `number` (rows,) is -1 before and after.
    """
    order = np.empty(ranked.size, np.int64)
    if ranked.size:
        lowest, highest = ranked.scores.min(), ranked.scores.max()
        relevance = (ranked.scores - lowest) / (highest - lowest) if highest > lowest else np.ones(ranked.size)
        of_items = categories[ranked.rows]
        _choose(ranked.rows, relevance, of_items, *covisits, number, knob, min(k, ranked.size), order)
    return ranked.take(order)


@compiled
def _choose(
    rows: NDArray[np.int32],
    relevance: NDArray[np.float64],
    categories: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    number: NDArray[np.int32],
    knob: float,
    k: int,
    order: NDArray[np.int64],
) -> None:
    """Write the places of items (N,) to `order`; ties to the one that stands first."""
    size = len(rows)
    chosen, alike = np.zeros(size, np.bool_), np.zeros(size)
    for n in range(size):
        number[rows[n]] = n
    for at in range(k):
        best, value = -1, -np.inf
        for c in range(size):
            if not chosen[c]:
                margin = (1 - knob) * relevance[c] - knob * alike[c]
                if margin > value:
                    best, value = c, margin
        chosen[best] = True
        order[at] = best
        x = rows[best]
        for slot in range(neighbours.shape[1]):
            y = neighbours[x, slot]
            if y < 0:
                break
            if number[y] >= 0 and sums[x, TOGETHER] > 0 and sums[y, TOGETHER] > 0:
                cosine = weights[x, slot, TOGETHER] / np.sqrt(sums[x, TOGETHER] * sums[y, TOGETHER])
                alike[number[y]] = max(alike[number[y]], min(cosine, 1.0))
        for c in range(size):
            if not chosen[c]:
                alike[c] = max(alike[c], _jaccard(categories[best], categories[c]))
    at = k
    for n in range(size):
        number[rows[n]] = -1
        if not chosen[n]:
            order[at] = n
            at += 1


@compiled
def _jaccard(one: NDArray[np.int32], other: NDArray[np.int32]) -> float:
    """The share of categories (G,) of either item that both have; 0 where none are known."""
    both = of_one = of_other = 0
    for a in one:
        of_one += a >= 0
        for b in other:
            both += a >= 0 and a == b
    for b in other:
        of_other += b >= 0
    return both / max(of_one + of_other - both, 1)

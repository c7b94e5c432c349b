"""Rule `diversity`: the next item has a high score and differs from those above it (maximal marginal relevance).

With d = `rules.diversity`, R(c) the score of c scaled to 0..1 over the candidates, and S the selected items, the next
is

    argmax_c  (1 - d) R(c) - d max_{s in S} sim(c, s)

(Carbonell & Goldstein, SIGIR 1998, with lambda = 1 - d). The similarity of two items is the larger of the Jaccard index
of their categories and the cosine of their co-visitation counts.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit
from freshflow.items.covisitation import COOCCURRENCE, CoVisits
from freshflow.items.index import NO_ROW
from freshflow.rules.candidate_list import CandidateList
from freshflow.rules.registry import ListSelection, Rule, RuleInputs, register_rule


@register_rule("diversity", order=50, is_on=lambda config: config.rules.diversity > 0)
class DiversityRule(Rule):
    """Rule of `rules.diversity`."""

    def __init__(self, settings: Any, inputs: RuleInputs) -> None:
        super().__init__(settings, inputs)
        self._index_by_row = np.empty(0, np.int32)

    def apply(self, candidates: CandidateList, selection: ListSelection) -> CandidateList:
        """Re-order the free positions of the list."""
        item_statistics = self.inputs.item_statistics
        if len(self._index_by_row) < item_statistics.capacity:
            self._index_by_row = np.full(item_statistics.capacity, NO_ROW, np.int32)
        return diversify(
            candidates,
            self.inputs.item_attributes.categories,
            item_statistics.tables.covisits,
            self._index_by_row,
            self.settings.diversity,
            selection.n_free,
        )


def diversify(
    candidates: CandidateList,
    categories: NDArray[np.int32],
    covisits: CoVisits,
    index_by_row: NDArray[np.int32],
    diversity: float,
    k: int,
) -> CandidateList:
    """Select the first `k` items one after the other; the rest keep their order.

    Args:
        candidates: The items (N), the best first.
        categories: Categories of all items (rows, G), -1 padded.
        covisits: Co-visitation counts of all items.
        index_by_row: Scratch space (rows,), -1 before and after.
        diversity: The weight d of dissimilarity, 0 to 1.
        k: Number of items to select.

    Returns:
        All items in their new order.
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
    """Write the new order of the items (N,) to `order`; of equal items the first wins."""
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
    """Return the share of the categories (G,) of either item that both have; 0 without categories."""
    n_common = n_first = n_second = 0
    for a in first:
        n_first += a >= 0
        for b in second:
            n_common += a >= 0 and a == b
    for b in second:
        n_second += b >= 0
    return n_common / max(n_first + n_second - n_common, 1)

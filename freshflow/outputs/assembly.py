"""Assembly of published lists from ranking results: items with scores, reasons and contributions."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW
from freshflow.outputs.reasons import NOT_A_CANDIDATE, PUBLISHED_REASONS
from freshflow.outputs.records import ListItem
from freshflow.ranking.kernel import (
    ENTRY_CANDIDATE,
    ENTRY_REASON,
    ENTRY_ROW,
    ENTRY_SOURCE_ROW,
    N_LISTED,
    N_TIED,
    RankingResults,
)
from freshflow.ranking.query import Query
from freshflow.ranking.scoring import Weights
from freshflow.ranking.tie_breaking import break_ties, explain_score


class ListArrays(NamedTuple):
    """N lists of at most K items, as arrays.

    Attributes:
        rows: Item rows, shape (N, K).
        scores: Scores, shape (N, K).
        reasons: Indices into `PUBLISHED_REASONS`, shape (N, K).
        sources: Rows of the items that explain the reason, shape (N, K); `NO_ROW` for none.
        sizes: Number of items of each list, shape (N,).
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float64]
    reasons: NDArray[np.int32]
    sources: NDArray[np.int32]
    sizes: NDArray[np.int32]

    def select(self, list_index: int) -> "ListArrays":
        """Return list number `list_index` alone."""
        row_range = slice(list_index, list_index + 1)
        return ListArrays(
            self.rows[row_range],
            self.scores[row_range],
            self.reasons[row_range],
            self.sources[row_range],
            self.sizes[row_range],
        )


def resolve_ties(query_indices: Sequence[int], rankings: RankingResults, ids: list[str]) -> None:
    """Order the lists of queries where scores are tied.

    Args:
        query_indices: Numbers of the queries.
        rankings: The results of all queries; their entries are reordered in place.
        ids: Item ids by row.
    """
    for q, n_tied in zip(query_indices, rankings.results[query_indices, N_TIED].tolist(), strict=True):
        if n_tied:
            break_ties(q, rankings, ids)


def extract_lists(query_indices: Sequence[int], lengths: Sequence[int], rankings: RankingResults) -> ListArrays:
    """Return the lists of queries.

    Args:
        query_indices: Numbers of the N queries.
        lengths: Maximum length of each list.
        rankings: The results of all queries.
    """
    max_length = max(lengths, default=0)
    entries = rankings.entries[query_indices, :max_length]
    sizes = np.minimum(rankings.results[query_indices, N_LISTED], np.array(lengths, np.int32))
    scores = rankings.entry_scores[query_indices, :max_length]
    return ListArrays(
        entries[..., ENTRY_ROW], scores, entries[..., ENTRY_REASON], entries[..., ENTRY_SOURCE_ROW], sizes
    )


def build_list_items(lists: ListArrays, ids: list[str]) -> list[list[ListItem]]:
    """Return the items of each list; `ids` are item ids by row."""
    rows, scores, reasons, sources, sizes = lists
    is_filled = np.arange(rows.shape[1]) < sizes[:, None]
    items = map(
        ListItem,
        map(ids.__getitem__, rows[is_filled].tolist()),
        scores[is_filled].tolist(),
        map(PUBLISHED_REASONS.__getitem__, reasons[is_filled].tolist()),
        [() if source == NO_ROW else (ids[source],) for source in sources[is_filled].tolist()],
    )
    return [list(islice(items, size)) for size in sizes.tolist()]


def add_propensities(items: Sequence[ListItem], propensity_by_position: Mapping[int, float]) -> list[ListItem]:
    """Return items with the probabilities of those at explored positions."""
    return [
        structs.replace(item, propensity=propensity_by_position.get(position)) for position, item in enumerate(items)
    ]


def add_contributions(
    items: list[ListItem],
    query: Query,
    q: int,
    rankings: RankingResults,
    weights: Weights,
    adjustments: Sequence[dict[str, float]] = (),
) -> list[ListItem]:
    """Return items with the contributions to their scores: of each ranker feature, and of each rule.

    Args:
        items: The items of the list of query number `q`.
        query: The query.
        q: Its number in `rankings`.
        rankings: The results of the query.
        weights: The weights that ranked it.
        adjustments: For each position, the amounts that rules added; empty where none did.
    """
    contributions: list[dict[str, float]] = []
    for position, candidate in enumerate(rankings.entries[q, : len(items), ENTRY_CANDIDATE].tolist()):
        if candidate == NOT_A_CANDIDATE:
            contributions.append({})  # the adjustments are those of the item that was replaced
            continue
        contribution = explain_score(q, candidate, rankings, weights, query.model_index)
        contributions.append(contribution | adjustments[position] if adjustments else contribution)
    return [
        structs.replace(item, contributions=contribution)
        for item, contribution in zip(items, contributions, strict=True)
    ]

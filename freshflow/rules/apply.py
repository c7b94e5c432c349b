"""Application of rules to ranked lists: the chosen items replace the ranked ones in the results."""

from collections.abc import Sequence

import numpy as np

from freshflow.items.index import NO_ROW
from freshflow.ranking.kernel import (
    ENTRY_CANDIDATE,
    ENTRY_REASON,
    ENTRY_ROW,
    ENTRY_SOURCE_ROW,
    N_LISTED,
    RankingResults,
)
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import ADJUSTMENTS, CandidateList
from freshflow.rules.pipeline import Rules


def apply_rules(
    rules: Rules,
    query_indices: Sequence[int],
    lengths: Sequence[int],
    queries: Sequence[Query],
    rankings: RankingResults,
) -> dict[int, CandidateList]:
    """Apply rules to lists and write the chosen items to `rankings`, in which ties must be broken already.

    Args:
        rules: The rules of the partition.
        query_indices: The numbers of the queries that rank the lists.
        lengths: The maximum number of items of each list.
        queries: All queries of the micro-batch.
        rankings: Their results, changed in place.

    Returns:
        The chosen items by query number. Search results have none: the search feature orders them.
    """
    candidate_lists: dict[int, CandidateList] = {}
    for q, k in zip(query_indices, lengths, strict=True):
        query = queries[q]
        if query.restrict_to is not None:
            continue
        candidate_lists[q] = rules.apply(to_candidate_list(q, rankings), query, k)
        write_candidate_list(candidate_lists[q], q, rankings)
    return candidate_lists


def to_candidate_list(q: int, rankings: RankingResults) -> CandidateList:
    """Return the ranked candidates of query number `q`."""
    n = rankings.results[q, N_LISTED]
    columns = rankings.entries[q, :n].T.copy()
    scores, rule_amounts = rankings.entry_scores[q, :n].copy(), np.zeros((n, len(ADJUSTMENTS)))
    return CandidateList(
        columns[ENTRY_ROW],
        scores,
        columns[ENTRY_REASON],
        columns[ENTRY_SOURCE_ROW],
        columns[ENTRY_CANDIDATE],
        rule_amounts,
    )


def write_candidate_list(candidate_list: CandidateList, q: int, rankings: RankingResults) -> None:
    """Replace the ranked list of query number `q` in `rankings`.

    Args:
        candidate_list: The items of the list, in order.
        q: The number of the query.
        rankings: The results to change.
    """
    n = candidate_list.size
    entries = rankings.entries[q]
    for column, values in (
        *((ENTRY_CANDIDATE, candidate_list.candidate_numbers), (ENTRY_ROW, candidate_list.rows)),
        *((ENTRY_REASON, candidate_list.reasons), (ENTRY_SOURCE_ROW, candidate_list.sources)),
    ):
        entries[:n, column] = values
    entries[n:, ENTRY_ROW] = NO_ROW
    rankings.entry_scores[q, :n] = candidate_list.scores
    rankings.results[q, N_LISTED] = n


def named_adjustments(candidate_list: CandidateList) -> list[dict[str, float]]:
    """Return for each item the amounts that rules added to its score, by name; zeros are left out."""
    return [
        {name: amount for name, amount in zip(ADJUSTMENTS, amounts, strict=True) if amount}
        for amounts in candidate_list.adjustments.tolist()
    ]
